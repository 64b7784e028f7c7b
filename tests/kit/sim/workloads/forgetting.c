/* A bank whose nodes forget what they decided after two seconds, one of them the oldest of more than eight: who asks later may hear that it is too late, and never
 * anything untrue; and what a participant still needs is kept. */
#include "actors/node.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

#define KEEP TR_SECONDS(2)
#define MOST 8

static void plan(tr_actor *self, tx_record *record)
{
    uint32_t from = (uint32_t)tx_draw(self, TX_PLACES), to = (uint32_t)tx_draw(self, TX_PLACES - 1);
    int64_t amount = (int64_t)tx_draw(self, 40);
    if (tx_draw(self, 8) == 0) {
        for (uint32_t place = 0; place < TX_PLACES; place++)
            tx_op_add(record, place, false, 0);
        return;
    }
    tx_op *op = tx_op_add(record, from, true, -amount);
    if (tx_draw(self, 3) == 0)
        op->padding = (uint32_t)tx_draw(self, 4096);
    tx_op_add(record, to < from ? to : to + 1, true, amount);
}

static tr_err start(tr_actor *self, uint32_t index)
{
    tx_history_now()->may_expire = true;
    if (sim_counts()) {
        tr__tx *tx = sim_now_running->nodes[index].node->transactions->tx;
        tr__tx_keep_outcomes(tx, KEEP);
        if (index == 1)
            tr__tx_outcomes_most(tx, MOST);
    }
    return tx_load_start(self, index, plan);
}

const tr_scenario sim_forgetting = {.size = sizeof(tr_scenario),
                                    .name = "forgetting",
                                    .nodes = 3,
                                    .run_ns = TR_SECONDS(15),
                                    .data = true,
                                    .start = start,
                                    .check = tx_load_check};
