/* Nodes that decide in a store that they share (scenario `together`), and one of them is lost: nobody waits for it. Beside it
 * the same with each in its own log. Thousands of seeds are troupe-sim's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"

#define LOST 1 /* n1 */

static tr_sim *make(const tr_scenario *scenario, uint64_t seed)
{
    tr_error error = {.code = TR_OK};
    tr_sim_destroy(sim_now_running); /* of a test that failed */
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = scenario}, &error);
    if (!sim)
        fail_msg("seed %llu: %s", (unsigned long long)seed, error.text);
    return sim;
}

/* On the others, of what n1 decides. */
static uint32_t in_doubt(const tr_sim *sim)
{
    uint32_t count = 0;
    for (uint32_t node = 0; node < 3; node++) {
        if (node == LOST)
            continue;
        const tr__tx *tx = sim->nodes[node].node->transactions->tx;
        for (const tr__tx_branch *b = tx->branches; b; b = b->hh.next)
            count += b->state == TR__BRANCH_PREPARED && strcmp(b->decider, "n1") == 0;
    }
    return count;
}

static void a_node_that_decides_and_is_lost_holds_up_nobody(void **state)
{
    (void)state;
    for (int together = 0; together < 2; together++) {
        uint32_t at_first = 0, later = 0;
        for (uint64_t seed = 1; seed <= 12; seed++) {
            tr_sim_result result;
            tr_sim *sim = make(together ? &sim_together : &sim_outbox, seed);
            for (uint32_t node = 0; node < 3; node++) /* forces take long, so much is in doubt at any time */
                sim->nodes[node].disk_slow_until = TR_FOREVER;
            tr_sim_step(sim, TR_SECONDS(3));
            tr_sim_kill(sim, LOST, false);
            tr_sim_step(sim, TR_MILLIS(500));
            at_first += in_doubt(sim);
            tr_sim_step(sim, TR_SECONDS(10));
            later += in_doubt(sim);
            tr_sim_run(sim); /* n1 comes back, and all is looked at */
            tr_sim_result_get(sim, &result);
            if (result.failed)
                fail_msg("seed %llu: %s", (unsigned long long)seed, result.what);
            tr_sim_destroy(sim);
        }
        print_message("%s: %u in doubt when n1 is lost, %u 10 s later\n", together ? "together" : "own logs",
                      at_first, later);
        assert_true(at_first > 0);
        assert_true(together ? later == 0 : later > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_decides_and_is_lost_holds_up_nobody),
    };
    return cmocka_run_group_tests_name("sim_together", tests, NULL, NULL);
}
