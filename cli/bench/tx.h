/* What the benchmarks of transactions share. Each keeps accounts on two nodes, "bench" and "peer": participants that count
 * what was done to them, so that at the end a run can be checked: each account has as many entries as transactions were
 * committed that wrote it, and nothing was made or lost. */
#ifndef TR_CLI_BENCH_TX_H
#define TR_CLI_BENCH_TX_H

#include <troupe/troupe.h>

#include "base/histogram.h"
#include "cli/bench/bench.h"

#define BENCH_ACCOUNTS 1024 /* on each node: a0 to a1023, and as many that begin with b */
#define BENCH_RECORD   200  /* bytes of a typical record of the log */

/* ---- accounts (tx_account.c) --------------------------------------------------------------------------- */

/* Enter an amount; with a number other than 0 it is entered into a journal, where that number must be due. */
TR_MESSAGE(bench_tx_add, TR_WRITES, (u64, number), (i64, amount))
TR_MESSAGE(bench_tx_look)
/* The same, and the digest of its journal. */
TR_MESSAGE(bench_tx_audit)
TR_MESSAGE(bench_tx_is, (u64, entries), (i64, balance), (u64, digest))

/* In the fiber `start` of a node that keeps a log. */
tr_err bench_tx_open_accounts(tr_actor *self);
/* Of a journal, entry by entry; begins with 0. */
uint64_t bench_tx_digest(uint64_t digest, uint64_t number, int64_t amount);

typedef struct bench_tx_path {
    char text[24];
} bench_tx_path;
/* "peer/a7", or "a7" here. */
bench_tx_path bench_tx_account(bool at_peer, uint64_t number);
/* "peer/b7" */
bench_tx_path bench_tx_second(uint64_t number);
/* What an account has, by a transaction. */
tr_err bench_tx_audited(tr_actor *self, bench_tx_path path, bench_tx_is *is);
/* Entries and balances of accounts `first` and so many behind it, added to *sum. */
tr_err bench_tx_sum(tr_actor *self, bool at_peer, uint64_t first, uint64_t count, bench_tx_is *sum);

/* ---- outcomes, figures (tx_account.c) -------------------------------------------------------------------- */

typedef struct bench_tally {
    tr__histogram took; /* of those that were committed, ns */
    uint64_t committed, unknown, aborted[TR_TX_REASON_COUNT];
    char text[TR_ERROR_TEXT_MAX]; /* of the last one that was aborted for a reason that isn't load's */
} bench_tally;

void bench_tally_add(bench_tally *tally, const tr_tx_outcome *out, uint64_t began_ns);
void bench_tally_merge(bench_tally *into, const bench_tally *from);
/* Those for which there is no metric of their own. */
uint64_t bench_tally_other(const bench_tally *tally);

/* The last four metrics of each; of 1,000 that were committed. */
#define BENCH_TX_ABORTED                                                     \
    {"wounded", "per 1000"}, {"overload", "per 1000"}, {"late", "per 1000"}, \
    {                                                                        \
        "refused", "per 1000"                                                \
    }
/* Fills those four. */
void bench_tally_aborted(const bench_tally *tally, double *values);

typedef struct bench_tx_figures {
    uint64_t forces, records; /* of the logs of both nodes, or of one if there is no other */
} bench_tx_figures;
tr_err bench_tx_figures_now(tr_actor *self, bool peer, bench_tx_figures *figures);

/* ---- the disk (tx_force.c) ------------------------------------------------------------------------------ */

/* Append a record and force it, again and again for so long, straight through the log's store: forces a second. */
tr_err bench_disk(const char *folder, uint64_t bytes, uint64_t for_ns, double *forces, tr_error *error);
/* The same through the log, so many records a force: records a second, and how long a force takes. */
tr_err bench_log(const char *folder, uint64_t bytes, uint64_t group, uint64_t for_ns, double *records,
                 tr__histogram *took, tr_error *error);

#endif
