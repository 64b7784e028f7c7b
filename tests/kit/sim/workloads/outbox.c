/* A bank whose accounts emit what they did, to audits, which are participants, and to ledgers, which aren't: what is committed
 * arrives, nothing else does, and once at an audit. */
#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

void tx_plan_moves(tr_actor *self, tx_record *record)
{
    uint32_t from = (uint32_t)tx_draw(self, TX_PLACES), to = (uint32_t)tx_draw(self, TX_PLACES - 1);
    int64_t amount = (int64_t)tx_draw(self, 80);
    if (tx_draw(self, 6) == 0) { /* more than there is, and nobody hears of the first half */
        tx_op_add(record, to < from ? to : to + 1, true, 1000);
        tx_op_add(record, from, true, -1000);
        record->refused = true;
        return;
    }
    tx_op *op = tx_op_add(record, from, true, -amount);
    if (tx_draw(self, 3) == 0)
        op->padding = (uint32_t)tx_draw(self, 4096);
    tx_op_add(record, to < from ? to : to + 1, true, amount);
}

static tr_err start(tr_actor *self, uint32_t index)
{
    tx_history_now()->emits = true;
    return tx_load_start(self, index, tx_plan_moves);
}

/* ---- what must hold ------------------------------------------------------------------------------------ */

/* In all journals; all or nothing was looked at before. */
static uint32_t writes_done(const tx_record *record)
{
    uint32_t done = 0;
    for (uint32_t place = 0; place < TX_PLACES; place++) {
        uint32_t length;
        const char *journal = tx_journal(place, &length);
        for (uint32_t i = 0; i < length; i++)
            done += tx_journal_at(journal, i) == record->number;
    }
    return done;
}

static uint32_t notes_of(const tx_record *record)
{
    uint32_t times = 0, length;
    const char *notes = tx_kept(tx_emit_node(record->number), "audit", "audit", &length);
    for (uint32_t i = 0; i < length; i++)
        times += tx_journal_at(notes, i) == record->number;
    return times;
}

static void check_record(const tx_record *record, uint32_t posted)
{
    uint32_t writes = writes_done(record), notes = notes_of(record);
    bool died = sim_now_running->nodes[tx_emit_node(record->number)].life > 1;
    if (notes != writes)
        tr_sim_fail(sim_now_running,
                    "transaction %u has written %u times, and its audit has noted it %u times",
                    record->number, writes, notes);
    if ((posted && !writes) || (posted < writes && !died))
        tr_sim_fail(sim_now_running, "transaction %u has written %u times, and came to its ledger %u times",
                    record->number, writes, posted);
    sim_reaches(sim_now_running, posted > writes, "a ledger gets an emitted message twice");
}

void tx_check_emits(void)
{
    const tx_history *h = tx_history_now();
    for (uint32_t i = 0; i < h->count; i++)
        check_record(&h->records[i], h->posted[i]);
    for (uint32_t node = 0; node < sim_now_running->node_count; node++) {
        const tr__tx *tx = sim_now_running->nodes[node].node->transactions->tx;
        if (tx->emits || tx->outlets || tx->emit_count || tx->emit_bytes || tx->deliveries)
            tr_sim_fail(sim_now_running, "n%u: emitted messages, or what is counted of them, are left", node);
        if (tx->emits_refused)
            tr_sim_fail(sim_now_running, "n%u: emitted messages were refused", node);
    }
}

static tr_err check(tr_actor *self)
{
    TR_TRY(tx_load_check(self));
    tx_check_emits();
    return TR_OK;
}

const tr_scenario sim_outbox = {.size = sizeof(tr_scenario),
                                .name = "outbox",
                                .nodes = 3,
                                .run_ns = TR_SECONDS(15),
                                .data = true,
                                .start = start,
                                .check = check};
