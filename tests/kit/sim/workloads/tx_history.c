/* See tx_history.h. */
#include "tests/kit/sim/workloads/tx_history.h"

#include <stdio.h>
#include <string.h>

#include "tests/kit/sim/sim.h"

static tx_history history;

tx_history *tx_history_now(void)
{
    if (history.run != sim_now_running->number) {
        memset(&history, 0, sizeof(history));
        history.run = sim_now_running->number;
    }
    return &history;
}

tx_record *tx_record_begin(uint32_t node)
{
    tx_history *h = tx_history_now();
    if (h->count == TX_RECORDS || !sim_counts())
        return NULL;
    tx_record *record = &h->records[h->count++];
    record->number = h->count - 1;
    record->node = node;
    record->life = sim_now_running->nodes[node].life;
    record->begun = ++h->moment;
    return record;
}

tx_op *tx_op_add(tx_record *record, uint32_t place, bool writes, int64_t amount)
{
    if (record->count == TX_OPS)
        return NULL;
    tx_op *op = &record->ops[record->count++];
    *op = (tx_op){.place = place, .writes = writes, .amount = amount};
    return op;
}

const char *tx_path(uint32_t place)
{
    static const char *const paths[TX_PLACES] = {"n0/a", "n0/b", "n1/a", "n1/b", "n2/a", "n2/b"};
    return paths[place];
}

void tx_record_told(tx_record *record, const tr_tx_outcome *out)
{
    tx_history *h = tx_history_now();
    if (!sim_counts() || out->status == TR_TX_UNKNOWN)
        return;
    if (record->settled && record->status != out->status)
        tr_sim_fail(sim_now_running, "transaction %u was told %s, and now %s (%s)", record->number,
                    record->status == TR_TX_COMMITTED ? "committed" : "aborted",
                    out->status == TR_TX_COMMITTED ? "committed" : "aborted", out->text);
    if (record->ts && out->commit_ts && record->ts != out->commit_ts)
        tr_sim_fail(sim_now_running, "transaction %u was told two commit times, %llu and %llu",
                    record->number, (unsigned long long)record->ts, (unsigned long long)out->commit_ts);
    record->settled = true;
    record->status = out->status;
    if (out->commit_ts)
        record->ts = out->commit_ts;
    if (out->status == TR_TX_COMMITTED && !record->told)
        record->told = ++h->moment;
}

void tx_record_aborted(tx_record *record)
{
    tr_tx_outcome out = {.status = TR_TX_ABORTED, .text = "given up"};
    record->over = record->over || sim_counts();
    tx_record_told(record, &out);
}
