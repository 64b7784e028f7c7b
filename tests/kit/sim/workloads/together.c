/* A bank that emits (outbox.c), whose nodes decide in a store that they share: a node that decides, and is away, holds up
 * nobody for long. */
#include "actors/node.h"
#include "actors/tx/manager.h"
#include "actors/tx/state.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

#define LOOK_NS TR_MILLIS(500)
#define LATE_NS \
    TR_SECONDS( \
        40) /* in doubt for so long, with the store up: asks get lost and are late, but not all of them */

/* By time that this node has run: it may stand still. */
static tr_err watch(tr_actor *self, void *arg)
{
    uint32_t *index = arg;
    while (tr_sleep(self, LOOK_NS) != TR_EKILLED && sim_counts()) {
        const tr__tx *tx = sim_now_running->nodes[*index].node->transactions->tx;
        for (const tr__tx_branch *b = tx->branches; b; b = b->hh.next) {
            bool away = !sim_node_is_up(&sim_now_running->nodes[b->decider[1] - '0']);
            if (b->state != TR__BRANCH_PREPARED)
                continue;
            sim_reaches(sim_now_running, away, "who decides is down while others are in doubt");
            if (away && tr__tx_now(tx) - b->since_ns > LATE_NS)
                tr_sim_fail(sim_now_running, "n%u: in doubt for 40 s, and the store isn't away", *index);
        }
    }
    return TR_OK;
}

static tr_err start(tr_actor *self, uint32_t index)
{
    static uint32_t indices[] = {0, 1, 2};
    static const tr_actor_def watch_def = {.name = "watch", .run = watch};
    tx_history_now()->emits = true;
    tr_spawn(self, &watch_def, &indices[index]);
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
