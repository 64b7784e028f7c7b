/* Strict serialisability: one order of all that was committed that each journal, each read and the real times of begins
 * and answers agree with. */
#include <string.h>

#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/tx_history.h"

/* before[a][b]: a comes before b. */
static struct {
    bool counts[TX_RECORDS];
    bool before[TX_RECORDS][TX_RECORDS];
} order;

/* The one before it, by the journal. */
static void order_journal(uint32_t place)
{
    tx_history *h = tx_history_now();
    uint32_t length;
    const char *journal = tx_journal(place, &length);
    uint64_t ts = 0;
    for (uint32_t i = 0; i < length; i++) {
        const tx_record *record = &h->records[tx_journal_at(journal, i)];
        uint32_t last = i ? tx_journal_at(journal, i - 1) : record->number;
        if (last == record->number && i)
            continue; /* it wrote twice */
        order.counts[record->number] = true;
        order.before[last][record->number] = last != record->number;
        if (record->ts && record->ts <= ts)
            tr_sim_fail(sim_now_running,
                        "transaction %u is in %s behind one that was committed at a later time",
                        record->number, tx_path(place));
        ts = record->ts ? record->ts : ts;
    }
}

/* What it saw stood between two writers. */
static void order_op(const tx_record *record, const tx_op *op)
{
    uint32_t length;
    const char *journal = tx_journal(op->place, &length);
    if (!op->answered)
        return;
    if (op->seen > length) {
        tr_sim_fail(sim_now_running, "transaction %u saw at %s what was never committed", record->number,
                    tx_path(op->place));
        return;
    }
    for (uint32_t i = op->seen; i > 0; i--) {
        uint32_t writer = tx_journal_at(journal, i - 1);
        order.before[writer][record->number] |= writer != record->number;
        if (writer != record->number)
            break;
    }
    for (uint32_t i = op->seen; i < length; i++) {
        uint32_t writer = tx_journal_at(journal, i);
        order.before[record->number][writer] |= writer != record->number;
        if (writer != record->number)
            break;
    }
}

static void order_all(tx_history *h)
{
    for (uint32_t place = 0; place < TX_PLACES; place++)
        order_journal(place);
    for (uint32_t a = 0; a < h->count; a++) {
        const tx_record *record = &h->records[a];
        order.counts[a] |= record->settled && record->status == TR_TX_COMMITTED;
        for (uint32_t i = 0; order.counts[a] && i < record->count; i++)
            order_op(record, &record->ops[i]);
        for (uint32_t b = 0; b < h->count && record->told; b++)
            order.before[a][b] |= record->told < h->records[b].begun;
    }
}

/* Takes away who has nobody before it, until nobody is left. */
void tx_check_order(void)
{
    static uint32_t behind[TX_RECORDS], free_ones[TX_RECORDS];
    tx_history *h = tx_history_now();
    uint32_t left = 0, count = 0;
    memset(&order, 0, sizeof(order));
    order_all(h);
    for (uint32_t b = 0; b < h->count; b++) {
        behind[b] = 0;
        for (uint32_t a = 0; a < h->count && order.counts[b]; a++)
            behind[b] += order.counts[a] && order.before[a][b];
        left += order.counts[b];
        if (order.counts[b] && !behind[b])
            free_ones[count++] = b;
    }
    for (; count > 0; left--) {
        uint32_t a = free_ones[--count];
        for (uint32_t b = 0; b < h->count; b++)
            if (order.counts[b] && order.before[a][b] && --behind[b] == 0)
                free_ones[count++] = b;
    }
    if (left)
        tr_sim_fail(sim_now_running, "there is no order of all that was committed: %u go round in a circle",
                    left);
}
