/* A hot key: every transaction writes the one account a0 of the other node, and one of many here, half of them in each
 * order. First by as many callers as keep it busy, which gives what it can carry; then as many a second are begun as --load
 * says, whether or not those before are over; then by callers again, for what the disk does changes from second to second.
 * What counts is how many are committed while as many are begun, beside the mean of what it can carry before and after. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/bench/tx.h"

#define CALLERS_ALONE 16
#define LIVE_MAX      20000 /* beyond it one more is refused at its caller */
#define DRAIN_NS      TR_SECONDS(60)
#define STEP_NS       TR_MILLIS(1)
#define FIND_WITHIN   TR_SECONDS(10)

typedef struct hot {
    bench_run *run;
    uint64_t from_ns, until_ns; /* what is committed then counts */
    uint64_t live, begun, counted, refused;
    bool closed; /* by callers, who go on until then */
    bench_tally tally;
    uint64_t committed; /* in all that is over */
} hot;

/* One that was begun, or a caller. All are on the loop of `start`. */
typedef struct arrival {
    hot *hot;
    bench_tx_path cold;
    bool hot_first;
} arrival;

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    const arrival *a = arg;
    (void)self;
    if (!a->hot_first)
        TR_TRY(tr_tx_await(tx, a->cold.text, bench_tx_add, .number = 0, .amount = 1));
    TR_TRY(tr_tx_await(tx, "peer/a0", bench_tx_add, .number = 0, .amount = -1));
    return a->hot_first ? tr_tx_await(tx, a->cold.text, bench_tx_add, .number = 0, .amount = 1) : TR_OK;
}

static tr_err arrive(tr_actor *self, void *arg)
{
    arrival *a = arg;
    hot *h = a->hot;
    do {
        uint64_t began = bench_now(), random = tr_random(self);
        a->cold = bench_tx_account(false, random % BENCH_ACCOUNTS);
        a->hot_first = random >> 32 & 1;
        tr_tx_outcome out = tr_tx_run(self, body, a, NULL);
        bench_tally_add(&h->tally, &out, began);
        uint64_t now = bench_now();
        h->counted += out.status == TR_TX_COMMITTED && now >= h->from_ns && now < h->until_ns;
    } while (h->closed && bench_now() < h->until_ns);
    h->live--;
    free(a);
    return TR_OK;
}
TR_ACTOR(arrival_def, .run = arrive);

static tr_err begin_one(tr_actor *self, hot *h)
{
    static const tr_spawn_opts here = {.place = TR_PLACE_HERE};
    h->begun++;
    if (h->live >= LIVE_MAX) {
        h->refused++;
        return TR_OK;
    }
    arrival *a = calloc(1, sizeof(*a));
    if (!a)
        return tr_fail(self, TR_ENOMEM, "no memory for a transaction's caller");
    a->hot = h;
    h->live++;
    if (!tr_addr_is_none(tr_spawn_with(self, &arrival_def, a, &here)))
        return TR_OK;
    free(a);
    return tr_last_error(self)->code;
}

static tr_err drain(tr_actor *self, const hot *h)
{
    uint64_t until = bench_now() + DRAIN_NS;
    while (h->live && bench_now() < until)
        TR_TRY(tr_sleep(self, TR_MILLIS(5)));
    return h->live
               ? tr_fail(self, TR_EDEADLINE, "%" PRIu64 " transactions haven't ended a minute later", h->live)
               : TR_OK;
}

static void open_window(hot *h, bool closed)
{
    h->closed = closed;
    h->begun = h->counted = h->refused = 0;
    h->from_ns = bench_now();
    h->until_ns = h->from_ns + TR_MILLIS(h->run->given[BENCH_N]);
    h->tally = (bench_tally){0};
    tr__histogram_reset(&h->tally.took);
}

static tr_err check(tr_actor *self, hot *h)
{
    bench_tx_is warm = {0}, cold = {0};
    h->committed += h->tally.committed;
    if (h->tally.unknown || bench_tally_other(&h->tally))
        return tr_fail(self, TR_EAPP, "some are unknown, or were refused: this run is no result: %s",
                       h->tally.text);
    TR_TRY(bench_tx_sum(self, true, 0, 1, &warm));
    TR_TRY(bench_tx_sum(self, false, 0, BENCH_ACCOUNTS, &cold));
    if (warm.entries == h->committed && cold.entries == h->committed && warm.balance + cold.balance == 0)
        return TR_OK;
    return tr_fail(self, TR_EMISMATCH,
                   "%" PRIu64 " were committed, the hot account has %" PRIu64 ", the others %" PRIu64
                   ": this run is no result",
                   h->committed, warm.entries, cold.entries);
}

/* What it can carry, a second. */
static tr_err alone(tr_actor *self, hot *h, double *capacity)
{
    open_window(h, true);
    for (int i = 0; i < CALLERS_ALONE; i++)
        TR_TRY(begin_one(self, h));
    TR_TRY(drain(self, h));
    *capacity = (double)h->counted * 1e9 / (double)(h->until_ns - h->from_ns);
    return check(self, h);
}

static tr_err offer(tr_actor *self, hot *h, double a_second)
{
    open_window(h, false);
    for (uint64_t now; (now = bench_now()) < h->until_ns;) {
        uint64_t due = (uint64_t)((double)(now - h->from_ns) * a_second / 1e9);
        while (h->begun < due)
            TR_TRY(begin_one(self, h));
        TR_TRY(tr_sleep(self, STEP_NS));
    }
    return drain(self, h);
}

/* All but what it can carry. */
static void fill(const hot *h)
{
    double *values = h->run->values, seconds = (double)(h->until_ns - h->from_ns) / 1e9;
    bench_tally tally = h->tally;
    tally.aborted[TR_TX_OVERLOAD] += h->refused;
    values[0] = (double)h->counted / seconds;
    values[1] = (double)h->begun / seconds;
    values[4] = (double)tr__histogram_at(&tally.took, 500000) / 1000;
    values[5] = (double)tr__histogram_at(&tally.took, 990000) / 1000;
    bench_tally_aborted(&tally, values + 6);
}

static tr_err start(tr_actor *self, void *arg)
{
    static hot h; /* two histograms are large for a fiber's stack; one run at a time */
    const tr_found *found;
    double before, after;
    h = (hot){.run = arg};
    double *values = h.run->values;
    TR_TRY(bench_tx_open_accounts(self));
    TR_TRY(tr_await(self, tr_lookup(self, "peer/a0", FIND_WITHIN), tr_found, &found));
    TR_TRY(alone(self, &h, &before));
    TR_TRY(offer(self, &h, before * (double)h.run->given[BENCH_LOAD]));
    TR_TRY(check(self, &h));
    fill(&h);
    TR_TRY(alone(self, &h, &after));
    values[2] = (before + after) / 2;
    values[3] = values[2] > 0 ? values[0] * 100 / values[2] : 0;
    return TR_OK;
}

const bench bench_tx_hot = {
    .name = "tx-hot",
    .what = "two processes, one hot participant: --load times what it can carry is begun, for --n ms",
    .takes = {{BENCH_LOAD, 10, 1, 100}, {BENCH_N, 3000, 50, 60000}},
    .metrics = {{"rate", "commits/s"},
                {"offered", "begun/s"},
                {"capacity", "commits/s"},
                {"share", "% of capacity"},
                {"p50", "us"},
                {"p99", "us"},
                BENCH_TX_ABORTED},
    .remote = true,
    .data = true,
    .start = start,
};
