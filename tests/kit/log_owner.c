/* See log_owner.h. The test's thread. */
#include "tests/kit/log_owner.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

static uint8_t scratch[TR__LOG_PAYLOAD_MAX + 64];

/* The bytes a key stands for. */
static void fill(uint8_t *bytes, size_t length, uint64_t key)
{
    uint64_t word = key * 0x9e3779b97f4a7c15ull + 1;
    for (size_t i = 0; i < length; i++) {
        if (i % 8 == 0)
            word = (word ^ (word >> 29)) * 0xbf58476d1ce4e5b9ull + i;
        bytes[i] = (uint8_t)(word >> (8 * (i % 8)));
    }
}

static tr_err record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                     tr_error *error)
{
    log_owner *owner = context;
    (void)error;
    owner->replayed++;
    if (lsn != owner->replayed)
        snprintf(owner->wrong, sizeof owner->wrong, "record %llu was replayed as LSN %llu",
                 (unsigned long long)owner->replayed, (unsigned long long)lsn);
    if (!owner->judge)
        return TR_OK;
    if (lsn > owner->count || owner->records[lsn - 1].type != type ||
        owner->records[lsn - 1].length != length) {
        snprintf(owner->wrong, sizeof owner->wrong, "record %llu is none that was appended",
                 (unsigned long long)lsn);
        return TR_OK;
    }
    fill(scratch, length, owner->records[lsn - 1].key);
    if (memcmp(scratch, payload, length) != 0)
        snprintf(owner->wrong, sizeof owner->wrong, "record %llu has other bytes", (unsigned long long)lsn);
    return TR_OK;
}

static void forced(void *context, uint64_t durable)
{
    log_owner *owner = context;
    owner->forced++;
    if (durable < owner->told || durable > owner->count)
        snprintf(owner->wrong, sizeof owner->wrong, "told durable up to %llu after %llu, of %llu",
                 (unsigned long long)durable, (unsigned long long)owner->told,
                 (unsigned long long)owner->count);
    owner->told = durable;
}

static void failed(void *context, const tr_error *error)
{
    log_owner *owner = context;
    owner->failed++;
    owner->error = *error;
}

static const tr__log_upcalls upcalls = {.record = record, .forced = forced, .failed = failed};

bool log_owner_open(log_owner *owner, tr__log_store *store, const tr__log_options *options)
{
    tr__check(!owner->log, "it is open");
    tr__log_base base = {.lsn = owner->base};
    memcpy(base.id, owner->id, sizeof base.id);
    owner->replayed = owner->base;
    owner->forced = owner->failed = 0;
    owner->error = (tr_error){0};
    owner->log = tr__log_open(store, options, owner->base ? &base : NULL, &upcalls, owner, &owner->error);
    if (!owner->log) {
        store->close(store);
        return false;
    }
    if (owner->replayed < owner->told)
        snprintf(owner->wrong, sizeof owner->wrong, "%llu records were told to be durable, %llu are there",
                 (unsigned long long)owner->told, (unsigned long long)owner->replayed);
    if (tr__log_last(owner->log) != owner->replayed || tr__log_durable(owner->log) != owner->replayed)
        snprintf(owner->wrong, sizeof owner->wrong, "the log's last LSN isn't that of the last record");
    memcpy(owner->id, tr__log_id(owner->log), sizeof owner->id);
    owner->count = owner->told = owner->replayed;
    return true;
}

void log_owner_close(log_owner *owner)
{
    tr__log_close(owner->log);
    owner->log = NULL;
}

tr_err log_owner_append(log_owner *owner, size_t length, bool finishes)
{
    tr__check(owner->count < LOG_OWNER_RECORDS, "more records than the model holds");
    uint64_t key = ++owner->next_key, lsn;
    uint8_t type = (uint8_t)(key % 251);
    size_t cut = length / 3;
    static uint8_t bytes[sizeof scratch];
    if (length <= sizeof bytes)
        fill(bytes, length, key);
    tr__iov iov[2] = {{bytes, cut}, {bytes + cut, length - cut}};
    tr_err code = tr__log_append(owner->log, type, finishes, iov, 2, &lsn, &owner->error);
    if (code != TR_OK)
        return code;
    owner->records[owner->count].type = type;
    owner->records[owner->count].length = length;
    owner->records[owner->count++].key = key;
    if (lsn != owner->count)
        snprintf(owner->wrong, sizeof owner->wrong, "LSN %llu was given to record %llu",
                 (unsigned long long)lsn, (unsigned long long)owner->count);
    return TR_OK;
}
