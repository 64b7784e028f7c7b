/* What the disk and the log do alone: the measure of all that is forced. The calling thread, and the store's own. The file
 * is made for it, and extended before it is measured, as the log does it. */
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/tx/log.h"
#include "base/err.h"
#include "cli/bench/tx.h"

#define DISK_BYTES (16u * 1024 * 1024)

static void woken(void *context)
{
    sem_post(context);
}

static tr__log_store *open_store(const char *folder, sem_t *wake, tr_error *error)
{
    char path[320];
    snprintf(path, sizeof(path), "%s/measure.txlog", folder);
    sem_init(wake, 0, 0);
    return tr__log_store_open_os(path, woken, wake, error);
}

/* A published one stays behind as a file: the next measurement needs a new one. */
static void remove_store(const char *folder)
{
    char path[320];
    snprintf(path, sizeof(path), "%s/measure.txlog", folder);
    for (unsigned segment = 2; unlink(path) == 0; segment++)
        snprintf(path, sizeof(path), "%s/measure.txlog.%u", folder, segment);
}

static uint8_t record[1u << 20];

tr_err bench_disk(const char *folder, uint64_t bytes, uint64_t for_ns, double *forces, tr_error *error)
{
    sem_t wake;
    tr__log_store *store = open_store(folder, &wake, error);
    if (!store)
        return error->code;
    tr_err err = store->grow(store, 1, DISK_BYTES, error);
    err = err == TR_OK ? store->force(store, 1, error) : err;
    uint64_t began = bench_now(), at = 0, count = 0;
    for (; err == TR_OK && bench_now() - began < for_ns; count++) {
        at = at + bytes > DISK_BYTES ? 0 : at;
        err = store->write(store, 1, at, record, bytes, error);
        err = err == TR_OK ? store->force(store, 1, error) : err;
        at += bytes;
    }
    *forces = (double)count * 1e9 / (double)(bench_now() - began);
    store->close(store); /* unpublished: it leaves nothing */
    return err;
}

/* ---- the log ------------------------------------------------------------------------------------------- */

static tr_err no_record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                        tr_error *error)
{
    (void)context, (void)type, (void)lsn, (void)payload, (void)length, (void)error;
    return TR_OK;
}

static void forced(void *context, uint64_t durable)
{
    (void)context, (void)durable;
}

static void failed(void *context, const tr_error *error)
{
    *(tr_error *)context = *error;
}

static tr_err one_group(tr__log *log, sem_t *wake, uint64_t bytes, uint64_t group, tr_error *error)
{
    uint64_t lsn = 0;
    const tr__iov payload = {record, bytes};
    for (uint64_t i = 0; i < group; i++)
        TR_TRY(tr__log_append(log, 1, false, &payload, 1, &lsn, error));
    if (tr__log_force(log, lsn))
        return TR_OK;
    while (tr__log_durable(log) < lsn && error->code == TR_OK) {
        while (sem_wait(wake) != 0)
            ;
        tr__log_poll(log);
    }
    return error->code;
}

tr_err bench_log(const char *folder, uint64_t bytes, uint64_t group, uint64_t for_ns, double *records,
                 tr__histogram *took, tr_error *error)
{
    static const tr__log_upcalls upcalls = {.record = no_record, .forced = forced, .failed = failed};
    sem_t wake;
    tr__log_store *store = open_store(folder, &wake, error);
    tr__log *log = store ? tr__log_open(store, NULL, NULL, &upcalls, error, error) : NULL;
    if (!log) {
        if (store)
            store->close(store);
        return error->code;
    }
    tr_err err = TR_OK;
    uint64_t began = bench_now(), now = began, count = 0;
    while (err == TR_OK && now - began < for_ns) {
        uint64_t before = now;
        err = one_group(log, &wake, bytes, group, error);
        count += group;
        now = bench_now();
        if (took)
            tr__histogram_add(took, now - before);
    }
    *records = (double)count * 1e9 / (double)(now - began);
    tr__log_close(log);
    remove_store(folder);
    return err;
}

/* ---- the benchmark ------------------------------------------------------------------------------------- */

static tr_err force(tr_actor *self, void *arg)
{
    static tr__histogram took;
    bench_run *run = arg;
    tr_error error = {0};
    uint64_t for_ns = TR_MILLIS(run->given[BENCH_N]), bytes = run->given[BENCH_SIZE];
    tr__histogram_reset(&took);
    tr_err err = bench_disk(run->folder, bytes, for_ns, &run->values[0], &error);
    if (err == TR_OK)
        err = bench_log(run->folder, bytes, run->given[BENCH_OUTSTANDING], for_ns, &run->values[1], &took,
                        &error);
    run->values[2] = (double)tr__histogram_at(&took, 500000) / 1000;
    run->values[3] = (double)tr__histogram_at(&took, 990000) / 1000;
    return err == TR_OK ? TR_OK : tr_fail(self, err, "%s", error.text);
}

const bench bench_tx_force = {
    .name = "tx-force",
    .what = "the disk alone, a record a force, and the log with --outstanding records a force, --n ms each",
    .takes = {{BENCH_OUTSTANDING, 1, 1, 1000}, {BENCH_SIZE, BENCH_RECORD, 1, 4096}, {BENCH_N, 500, 1, 5000}},
    .metrics = {{"disk", "forces/s"}, {"rate", "records/s"}, {"p50", "us"}, {"p99", "us"}},
    .data = true,
    .start = force,
};
