/* Accounts, outcomes and figures of the benchmarks of transactions: see tx.h. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/node.h>

#include "actors/transactions.h"
#include "cli/bench/tx.h"

#define LOOK_WITHIN TR_SECONDS(10)

/* ---- accounts ------------------------------------------------------------------------------------------ */

uint64_t bench_tx_digest(uint64_t digest, uint64_t number, int64_t amount)
{
    return (digest ^ number ^ (uint64_t)amount << 32) * 1099511628211u + 1;
}

static const char *entry_key(uint64_t number, char key[32])
{
    snprintf(key, 32, "entry %" PRIu64, number);
    return key;
}

static tr_err tell(tr_txview *v, uint64_t entries, bool audit)
{
    char key[32];
    uint64_t digest = 0;
    for (uint64_t n = 1; audit && n <= entries; n++)
        digest = bench_tx_digest(digest, n, tr_view_i64(v, entry_key(n, key), 0));
    return tr_view_reply(v, bench_tx_is, .entries = entries, .balance = tr_view_i64(v, "balance", 0),
                         .digest = digest);
}

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    char key[32];
    uint64_t entries = (uint64_t)tr_view_i64(v, "entries", 0);
    const bench_tx_add *add = tr_match(msg, bench_tx_add);
    if (!add)
        return tell(v, entries, tr_match(msg, bench_tx_audit) != NULL);
    if (add->number && add->number != entries + 1)
        return tr_refuse(v, "entry %" PRIu64 " came where %" PRIu64 " was due", add->number, entries + 1);
    if (add->number)
        TR_TRY(tr_view_put_i64(v, entry_key(add->number, key), add->amount));
    TR_TRY(tr_view_put_i64(v, "entries", (int64_t)entries + 1));
    return tr_view_put_i64(v, "balance", tr_view_i64(v, "balance", 0) + add->amount);
}
TR_ACTOR(account_def, .transact = account);

tr_err bench_tx_open_accounts(tr_actor *self)
{
    char name[24];
    for (uint64_t i = 0; i < 2 * BENCH_ACCOUNTS; i++) {
        snprintf(name, sizeof(name), "%c%" PRIu64, i < BENCH_ACCOUNTS ? 'a' : 'b', i % BENCH_ACCOUNTS);
        tr_spawn_opts opts = {.name = name, .place = TR_PLACE_SPREAD};
        if (tr_addr_is_none(tr_spawn_with(self, &account_def, NULL, &opts)))
            return tr_last_error(self)->code;
    }
    return TR_OK;
}

bench_tx_path bench_tx_account(bool at_peer, uint64_t number)
{
    bench_tx_path path;
    snprintf(path.text, sizeof(path.text), "%sa%" PRIu64, at_peer ? "peer/" : "", number);
    return path;
}

bench_tx_path bench_tx_second(uint64_t number)
{
    bench_tx_path path;
    snprintf(path.text, sizeof(path.text), "peer/b%" PRIu64, number);
    return path;
}

typedef struct auditing {
    bench_tx_path path;
    bench_tx_is is;
} auditing;

static tr_err audit_body(tr_actor *self, tr_tx *tx, void *arg)
{
    auditing *a = arg;
    const bench_tx_is *is;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, a->path.text, bench_tx_is, &is, bench_tx_audit));
    a->is = *is;
    return TR_OK;
}

tr_err bench_tx_audited(tr_actor *self, bench_tx_path path, bench_tx_is *is)
{
    auditing a = {.path = path};
    tr_tx_outcome out = tr_tx_run(self, audit_body, &a, NULL);
    if (out.status != TR_TX_COMMITTED)
        return tr_fail(self, TR_EAPP, "%s can't be read: %s", path.text, out.text);
    *is = a.is;
    return TR_OK;
}

tr_err bench_tx_sum(tr_actor *self, bool at_peer, uint64_t first, uint64_t count, bench_tx_is *sum)
{
    for (uint64_t i = first; i < first + count; i++) {
        bench_tx_is is;
        TR_TRY(bench_tx_audited(self, bench_tx_account(at_peer, i), &is));
        sum->entries += is.entries;
        sum->balance += is.balance;
    }
    return TR_OK;
}

/* ---- outcomes ------------------------------------------------------------------------------------------ */

static bool is_of_load(unsigned reason)
{
    return reason == TR_TX_WOUNDED || reason == TR_TX_OVERLOAD || reason == TR_TX_LOCK_TIMEOUT ||
           reason == TR_TX_DEADLINE;
}

void bench_tally_add(bench_tally *tally, const tr_tx_outcome *out, uint64_t began_ns)
{
    if (out->status == TR_TX_COMMITTED) {
        tally->committed++;
        tr__histogram_add(&tally->took, bench_now() - began_ns);
    } else if (out->status == TR_TX_UNKNOWN) {
        tally->unknown++;
    } else {
        tally->aborted[out->reason]++;
    }
    if (out->status == TR_TX_UNKNOWN || (out->status == TR_TX_ABORTED && !is_of_load(out->reason)))
        snprintf(tally->text, sizeof(tally->text), "%s", out->text);
}

void bench_tally_merge(bench_tally *into, const bench_tally *from)
{
    tr__histogram_merge(&into->took, &from->took);
    into->committed += from->committed;
    into->unknown += from->unknown;
    for (unsigned i = 0; i < TR_TX_REASON_COUNT; i++)
        into->aborted[i] += from->aborted[i];
    if (from->text[0])
        memcpy(into->text, from->text, sizeof(into->text));
}

uint64_t bench_tally_other(const bench_tally *tally)
{
    uint64_t other = 0;
    for (unsigned i = 0; i < TR_TX_REASON_COUNT; i++)
        other += is_of_load(i) ? 0 : tally->aborted[i];
    return other;
}

void bench_tally_aborted(const bench_tally *tally, double *values)
{
    double committed = tally->committed ? (double)tally->committed : 1;
    values[0] = (double)tally->aborted[TR_TX_WOUNDED] * 1000 / committed;
    values[1] = (double)tally->aborted[TR_TX_OVERLOAD] * 1000 / committed;
    values[2] =
        (double)(tally->aborted[TR_TX_LOCK_TIMEOUT] + tally->aborted[TR_TX_DEADLINE]) * 1000 / committed;
    values[3] = (double)bench_tally_other(tally) * 1000 / committed;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static tr_err figures_of(tr_actor *self, const char *manager, bench_tx_figures *figures)
{
    const tr_found *found;
    const tr_tx_listing *listing;
    TR_TRY(tr_await(self, tr_lookup(self, manager, LOOK_WITHIN), tr_found, &found));
    TR_TRY(tr_await(self, tr_ask(self, found->actor, LOOK_WITHIN, tr_tx_list, .most = 1), tr_tx_listing,
                    &listing));
    json_t *told = json_loads(listing->json, 0, NULL);
    const json_t *of = json_object_get(told, "figures");
    figures->forces += (uint64_t)json_integer_value(json_object_get(of, "forces"));
    figures->records += (uint64_t)json_integer_value(json_object_get(of, "records"));
    json_decref(told);
    return TR_OK;
}

tr_err bench_tx_figures_now(tr_actor *self, bool peer, bench_tx_figures *figures)
{
    *figures = (bench_tx_figures){0};
    TR_TRY(figures_of(self, "tx", figures));
    return peer ? figures_of(self, "peer/tx", figures) : TR_OK;
}
