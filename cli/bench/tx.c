/* Transactions by callers who each do one after the other: over two nodes, on one, and reading only. Callers have accounts of
 * their own, so nobody waits for another's lock: that is tx-hot's. The disk alone is measured before each run, and what the
 * log alone does at the same group size after it. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "cli/bench/tx.h"

#define DISK_FOR_NS TR_MILLIS(200)
#define FIND_WITHIN TR_SECONDS(10)
#define REST_NS     TR_MILLIS(200) /* by then what was appended when the logs were made is forced */

typedef struct job {
    bench_run *run;
    tr_addr home;
    bool peer, writes;
    uint32_t participants; /* a transaction */
    _Atomic uint64_t left; /* transactions that nobody has begun */
    double disk;
    bench_tx_figures before, after;
} job;

typedef struct caller {
    job *job;
    bench_tx_path paths[TR_TX_PARTICIPANTS_MAX];
    bench_tally tally;
} caller;

/* ---- a caller ------------------------------------------------------------------------------------------ */

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    const caller *c = arg;
    const bench_tx_is *is;
    (void)self;
    for (uint32_t i = 0; i < c->job->participants; i++)
        if (c->job->writes)
            TR_TRY(tr_tx_await(tx, c->paths[i].text, bench_tx_add, .number = 0, .amount = i % 2 ? 1 : -1));
        else
            TR_TRY(tr_tx_await_reply(tx, c->paths[i].text, bench_tx_is, &is, bench_tx_look));
    return TR_OK;
}

static bool take_one(job *j)
{
    uint64_t left = atomic_load_explicit(&j->left, memory_order_relaxed);
    while (left)
        if (atomic_compare_exchange_weak(&j->left, &left, left - 1))
            return true;
    return false;
}

static tr_err call_on(tr_actor *self, void *arg)
{
    caller *c = arg;
    uint64_t count = 0;
    for (; take_one(c->job); count++) {
        uint64_t began = bench_now();
        tr_tx_outcome out = tr_tx_run(self, body, c, NULL);
        bench_tally_add(&c->tally, &out, began);
    }
    return tr_send(self, c->job->home, bench_done, .count = count, .wrong = 0);
}
TR_ACTOR(tx_caller_def, .run = call_on);

/* ---- a run --------------------------------------------------------------------------------------------- */

/* With both nodes in turn; on one node each has as many accounts as it writes. */
static void give_accounts(const job *j, caller *c, uint64_t number)
{
    for (uint32_t i = 0; i < j->participants; i++)
        c->paths[i] = bench_tx_account(j->peer && i % 2,
                                       j->peer ? number : (number * j->participants + i) % BENCH_ACCOUNTS);
}

static tr_err check(tr_actor *self, const job *j, const bench_tally *all)
{
    bench_tx_is sum = {0};
    uint64_t other = bench_tally_other(all);
    if (all->unknown || other)
        return tr_fail(self, TR_EAPP,
                       "%" PRIu64 " transactions are unknown, %" PRIu64
                       " were refused: this run is no result: %s",
                       all->unknown, other, all->text);
    uint64_t callers = j->run->given[BENCH_CALLERS], here = j->peer ? callers : callers * j->participants;
    TR_TRY(bench_tx_sum(self, false, 0, here < BENCH_ACCOUNTS ? here : BENCH_ACCOUNTS, &sum));
    if (j->peer)
        TR_TRY(bench_tx_sum(self, true, 0, callers, &sum));
    uint64_t due = j->writes ? all->committed * j->participants : 0;
    int64_t balance = j->participants % 2 && j->writes ? -(int64_t)all->committed : 0;
    if (sum.entries == due && sum.balance == balance)
        return TR_OK;
    return tr_fail(self, TR_EMISMATCH,
                   "%" PRIu64 " entries where %" PRIu64 " are due, their sum is %" PRId64 " where %" PRId64
                   " is: this run is no result",
                   sum.entries, due, sum.balance, balance);
}

static void fill(const job *j, const bench_tally *all, uint64_t took_ns, double log)
{
    double *values = j->run->values, committed = all->committed ? (double)all->committed : 1;
    double forces = (double)(j->after.forces - j->before.forces);
    values[0] = (double)all->committed * 1e9 / (double)took_ns;
    values[1] = (double)tr__histogram_at(&all->took, 500000) / 1000;
    values[2] = (double)tr__histogram_at(&all->took, 990000) / 1000;
    values[3] = forces / committed;
    values[4] = forces > 0 ? (double)(j->after.records - j->before.records) / forces : 0;
    values[5] = j->disk;
    bench_tally_aborted(all, values + 6);
    values[10] = log;
    values[11] = log > 0 ? values[0] * 100 / log : 0;
}

/* What the log alone does with as many records a force as there were. */
static tr_err log_alone(tr_actor *self, const job *j, double *log)
{
    tr_error error = {0};
    uint64_t forces = j->after.forces - j->before.forces;
    uint64_t group = forces ? (j->after.records - j->before.records + forces / 2) / forces : 1;
    tr_err err = bench_log(j->run->folder, BENCH_RECORD, group ? group : 1, DISK_FOR_NS, log, NULL, &error);
    return err == TR_OK ? TR_OK : tr_fail(self, err, "%s", error.text);
}

static tr_err run_callers(tr_actor *self, job *j, caller *callers)
{
    uint64_t count = j->run->given[BENCH_CALLERS];
    static bench_tally all;
    double log = 0;
    all = (bench_tally){0};
    tr__histogram_reset(&all.took);
    for (uint64_t i = 0; i < count; i++) {
        callers[i].job = j;
        tr__histogram_reset(&callers[i].tally.took);
        give_accounts(j, &callers[i], i);
    }
    TR_TRY(bench_tx_figures_now(self, j->peer, &j->before));
    uint64_t began = bench_now();
    for (uint64_t i = 0; i < count; i++)
        if (tr_addr_is_none(tr_spawn_with(self, &tx_caller_def, &callers[i], &bench_spread)))
            return tr_last_error(self)->code;
    TR_TRY(bench_wait(self, count, j->run->given[BENCH_MESSAGES]));
    uint64_t took = bench_now() - began;
    TR_TRY(bench_tx_figures_now(self, j->peer, &j->after));
    for (uint64_t i = 0; i < count; i++)
        bench_tally_merge(&all, &callers[i].tally);
    TR_TRY(check(self, j, &all));
    if (j->writes && !j->peer)
        TR_TRY(log_alone(self, j, &log));
    fill(j, &all, took, log);
    return TR_OK;
}

static tr_err start(tr_actor *self, job *j)
{
    tr_error error = {0};
    const tr_found *found;
    j->home = tr_self(self);
    atomic_store(&j->left, j->run->given[BENCH_MESSAGES]);
    tr_err err = bench_disk(j->run->folder, BENCH_RECORD, DISK_FOR_NS, &j->disk, &error);
    if (err != TR_OK)
        return tr_fail(self, err, "%s", error.text);
    TR_TRY(bench_tx_open_accounts(self));
    if (j->peer)
        TR_TRY(tr_await(self, tr_lookup(self, "peer/a1023", FIND_WITHIN), tr_found, &found));
    TR_TRY(tr_sleep(self, REST_NS));
    caller *callers = calloc(j->run->given[BENCH_CALLERS], sizeof(*callers));
    err = callers ? run_callers(self, j, callers) : tr_fail(self, TR_ENOMEM, "no memory for the callers");
    free(callers);
    return err;
}

static tr_err start_two(tr_actor *self, void *run)
{
    job j = {.run = run, .peer = true, .writes = true, .participants = 2};
    return start(self, &j);
}

static tr_err start_one(tr_actor *self, void *run)
{
    job j = {.run = run, .writes = true, .participants = (uint32_t)((bench_run *)run)->given[BENCH_ACTORS]};
    return start(self, &j);
}

static tr_err start_read(tr_actor *self, void *run)
{
    job j = {.run = run, .peer = true, .participants = 2};
    return start(self, &j);
}

#define CALLERS                              \
    {                                        \
        BENCH_CALLERS, 64, 1, BENCH_ACCOUNTS \
    }
#define MESSAGES                          \
    {                                     \
        BENCH_MESSAGES, 20000, 1, 1000000 \
    }
#define RATES                                            \
    {"rate", "commits/s"}, {"p50", "us"}, {"p99", "us"}, \
    {                                                    \
        "forces", "a transaction"                        \
    }
#define DISKS                   \
    {"group", "records/force"}, \
    {                           \
        "disk", "forces/s"      \
    }

const bench bench_tx_two = {
    .name = "tx-two",
    .what = "two processes, transactions that write one participant on each",
    .takes = {CALLERS, MESSAGES},
    .metrics = {RATES, DISKS, BENCH_TX_ABORTED},
    .remote = true,
    .data = true,
    .start = start_two,
};

const bench bench_tx_one = {
    .name = "tx-one",
    .what = "transactions that write --actors participants of one node; log: what that alone does with such "
            "groups",
    .takes = {CALLERS, MESSAGES, {BENCH_ACTORS, 2, 1, TR_TX_PARTICIPANTS_MAX}},
    .metrics = {RATES, DISKS, BENCH_TX_ABORTED, {"log", "records/s"}, {"share", "% of log"}},
    .data = true,
    .start = start_one,
};

const bench bench_tx_read = {
    .name = "tx-read",
    .what = "two processes, transactions that read one participant on each",
    .takes = {CALLERS, MESSAGES},
    .metrics = {RATES, DISKS, BENCH_TX_ABORTED},
    .remote = true,
    .data = true,
    .start = start_read,
};
