/* A pair of the shipped apps (troupe/app.h) on two nodes, and a program beside each that puts items: after whatever
 * happened it asks how many came through, and goes on behind them. At the end both journals are the same, have each item
 * once and in order, and those at the numbers that were told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/app.h>

#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"

#define PROGRAMS    2
#define ITEMS_MAX   300 /* of a program */
#define PADDING_MAX 3000

/* What the programs were told; of the simulation with that number. */
static struct {
    uint64_t run;
    uint64_t numbers[PROGRAMS][ITEMS_MAX]; /* of their items, in the journal; 0: not told */
    uint64_t told[PROGRAMS];               /* so many */
} known;

static void know(void)
{
    if (known.run == sim_now_running->number)
        return;
    memset(&known, 0, sizeof(known));
    known.run = sim_now_running->number;
}

static uint32_t here(void)
{
    return sim_now_running->current->index;
}

/* ---- a program ----------------------------------------------------------------------------------------- */

static bool goes_on(void)
{
    return sim_now_running->faults_on;
}

/* Its k-th item: "k" and more or less behind it. */
static tr_err put(tr_actor *self, tr_addr app, uint64_t k, uint64_t *number)
{
    static const char padding[PADDING_MAX];
    char data[16 + PADDING_MAX];
    const tr_app_put_done *done;
    size_t size = (size_t)snprintf(data, 16, "%" PRIu64, k) + 1;
    size_t more = tr_random(self) % 4 ? 0 : (size_t)(tr_random(self) % PADDING_MAX);
    memcpy(data + size, padding, more);
    TR_TRY(tr_await(self, tr_ask(self, app, TR_SECONDS(5), tr_app_put, .data = {data, size + more}),
                    tr_app_put_done, &done));
    *number = done->number;
    return TR_OK;
}

/* As long as nothing goes wrong. */
static void put_items(tr_actor *self, tr_addr app, uint64_t k)
{
    uint64_t number;
    while (goes_on() && k < ITEMS_MAX && put(self, app, k, &number) == TR_OK) {
        if (sim_counts()) {
            known.numbers[here()][k] = number;
            known.told[here()] = ++k;
        }
        if (tr_sleep(self, TR_MILLIS(tr_random(self) % 150)) == TR_EKILLED)
            return;
    }
    tr_sometimes(self, goes_on() && k < ITEMS_MAX, "an app doesn't take an item");
}

static tr_err program(tr_actor *self, void *arg)
{
    const tr_app_status *status;
    (void)arg;
    while (goes_on() && tr_sleep(self, TR_MILLIS(20)) != TR_EKILLED) {
        tr_addr app = tr_whereis(self, "app");
        if (tr_addr_is_none(app) ||
            tr_await(self, tr_ask(self, app, TR_SECONDS(4), tr_app_query, .together = true), tr_app_status,
                     &status) != TR_OK)
            continue;
        if (sim_counts() && status->own < known.told[here()])
            tr_sim_fail(sim_now_running, "n%u was told that %" PRIu64 " items came through, and now %" PRIu64,
                        here(), known.told[here()], status->own);
        tr_sometimes(self, status->own > known.told[here()], "an item came through, and nobody was told");
        put_items(self, app, status->own);
    }
    return TR_OK;
}

static const tr_actor_def program_def = {.name = "program", .run = program, .stack_size = 128 * 1024};

/* ---- a node -------------------------------------------------------------------------------------------- */

static void have_app(tr_actor *self, uint32_t index)
{
    if (tr_addr_is_none(tr_whereis(self, "app")))
        tr_spawn_with(self, &tr_app,
                      &(tr_app_opts){.name = index ? "other" : "one",
                                     .id = index ? "b" : "a",
                                     .peer = index ? "n0/app" : "n1/app"},
                      &(tr_spawn_opts){.name = "app", .place = TR_PLACE_SPREAD});
    if (goes_on() && tr_addr_is_none(tr_whereis(self, "program")))
        tr_spawn_with(self, &program_def, NULL, &(tr_spawn_opts){.name = "program"});
}

static tr_err start(tr_actor *self, uint32_t index)
{
    know();
    do {
        tr_addr app = tr_whereis(self, "app");
        if (goes_on() && tr_random(self) % 20 == 0 && !tr_addr_is_none(app))
            tr_stop(self, app, TR_EXIT_KILLED);
        have_app(self, index);
    } while (tr_sleep(self, TR_MILLIS(300)) != TR_EKILLED);
    return TR_OK;
}

/* ---- at the end ---------------------------------------------------------------------------------------- */

static tr_err app_of(tr_actor *self, uint32_t index, tr_addr *app)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, tr_fmt(self, "n%u/app", index), TR_SECONDS(20)), tr_found, &found));
    *app = found->actor;
    return TR_OK;
}

static tr_err status_of(tr_actor *self, uint32_t index, tr_app_status *out, char digest[65])
{
    const tr_app_status *status;
    tr_addr app;
    TR_TRY(app_of(self, index, &app));
    TR_TRY(tr_await(self, tr_ask(self, app, TR_SECONDS(20), tr_app_query, .together = true), tr_app_status,
                    &status));
    snprintf(digest, 65, "%s", status->digest);
    *out = *status; /* its texts aren't used */
    return TR_OK;
}

/* Each program's items count up, and are where they were told to be. */
static tr_err read_all(tr_actor *self, uint32_t index, uint64_t last)
{
    uint64_t next[PROGRAMS] = {0};
    const tr_app_item *item;
    tr_addr app;
    TR_TRY(app_of(self, index, &app));
    for (uint64_t n = 1; n <= last; n++) {
        TR_TRY(tr_await(self, tr_ask(self, app, TR_SECONDS(5), tr_app_get, .number = n), tr_app_item, &item));
        uint32_t of = item->origin[0] == 'b';
        uint64_t k = strtoull(item->data.data, NULL, 10);
        if (k != next[of]++)
            return tr_fail(self, TR_EAPP,
                           "entry %" PRIu64 " of n%u is item %" PRIu64 " of n%u, and should be %" PRIu64, n,
                           index, k, of, next[of] - 1);
        if (known.numbers[of][k] && known.numbers[of][k] != n)
            return tr_fail(self, TR_EAPP,
                           "item %" PRIu64 " of n%u was told to be entry %" PRIu64 ", and is %" PRIu64, k, of,
                           known.numbers[of][k], n);
    }
    for (uint32_t of = 0; of < PROGRAMS; of++)
        if (next[of] < known.told[of])
            return tr_fail(self, TR_EAPP,
                           "n%u was told that %" PRIu64 " items came through, and %" PRIu64 " did", of,
                           known.told[of], next[of]);
    return TR_OK;
}

static tr_err check(tr_actor *self)
{
    tr_app_status a, b;
    char of_a[65], of_b[65];
    TR_TRY(status_of(self, 0, &a, of_a));
    TR_TRY(status_of(self, 1, &b, of_b));
    if (strcmp(of_a, of_b) != 0 || a.last != b.last || a.own != b.other || a.other != b.own)
        return tr_fail(self, TR_EAPP,
                       "n0 has %" PRIu64 " entries (%" PRIu64 " own), n1 %" PRIu64 " (%" PRIu64 ")", a.last,
                       a.own, b.last, b.own);
    TR_TRY(read_all(self, 0, a.last));
    return read_all(self, 1, a.last);
}

const tr_scenario sim_exchange = {.size = sizeof(tr_scenario),
                                  .name = "exchange",
                                  .nodes = PROGRAMS,
                                  .run_ns = TR_SECONDS(15),
                                  .data = true,
                                  .start = start,
                                  .check = check};
