/* A bank that emits (outbox.c), whose nodes decide in a store that they share: a node that decides, and is away, holds up
 * nobody for long. */
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

static tr_err start(tr_actor *self, uint32_t index)
{
    tx_history_now()->emits = true;
    return tx_load_start(self, index, tx_plan_moves);
}

static tr_err check(tr_actor *self)
{
    TR_TRY(tx_load_check(self));
    tx_check_emits();
    return TR_OK;
}

const tr_scenario sim_together = {.size = sizeof(tr_scenario),
                                  .name = SIM_TOGETHER,
                                  .nodes = 3,
                                  .run_ns = TR_SECONDS(15),
                                  .data = true,
                                  .start = start,
                                  .check = check};
