/* Journals on three nodes: each transaction appends its number to two or more, with more or less beside it, and some read
 * them. */
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

static void plan(tr_actor *self, tx_record *record)
{
    uint32_t at = (uint32_t)tx_draw(self, TX_PLACES), count = 2 + (uint32_t)tx_draw(self, 3);
    bool reads = tx_draw(self, 4) == 0, mixes = tx_draw(self, 4) == 0, ordered = tx_draw(self, 10);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = ordered ? at + i : (uint32_t)tx_draw(self, TX_PLACES);
        if (place >= TX_PLACES)
            break;
        tx_op *op = tx_op_add(record, place, !reads && !(mixes && tx_draw(self, 2)), 0);
        if (op->writes && tx_draw(self, 6) == 0)
            op->padding = 1 + (uint32_t)tx_draw(self, 4096);
    }
}

static tr_err start(tr_actor *self, uint32_t index)
{
    return tx_load_start(self, index, plan);
}

const tr_scenario sim_append = {.size = sizeof(tr_scenario),
                                .name = "append",
                                .nodes = 3,
                                .run_ns = TR_SECONDS(15),
                                .data = true,
                                .start = start,
                                .check = tx_load_check};
