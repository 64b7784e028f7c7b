/* What transactions emit, on simulated nodes of which one is an earlier one: it isn't sent there, waits, and holds up nobody
 * else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/remote/peer.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"
#include "transport/link.h"

static const tr__tx *tx_of(uint32_t node)
{
    return sim_now_running->nodes[node].node->transactions->tx;
}

static uint32_t waiting; /* on n0 and n1 */

/* All that is left is for n2, and the outbox says why. */
static tr_err check(tr_actor *self)
{
    waiting = 0;
    TR_TRY(tx_load_check(self));
    for (uint32_t node = 0; node < 3; node++)
        for (const tr__tx_outlet *outlet = tx_of(node)->outlets; outlet; outlet = outlet->hh.next) {
            if (node == 2 || strcmp(outlet->node, "n2") != 0 || !strstr(outlet->why, "earlier one"))
                return tr_fail(self, TR_EAPP, "n%u still has something for %s: %s", node, outlet->path,
                               outlet->why);
            waiting++;
        }
    return TR_OK;
}

static void an_earlier_node_gets_none_and_holds_up_no_other(void **state)
{
    tr_scenario scenario = sim_outbox;
    tr_error error = {.code = TR_OK};
    tr_sim_result result;
    (void)state;
    scenario.check = check;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = &scenario}, &error);
        assert_non_null(sim);
        tr_sim_node(sim, 2)->remote->endpoint->config.self.capabilities &= ~TR__CAPABILITY_EMIT;
        tr_sim_run(sim);
        tr_sim_result_get(sim, &result);
        if (result.failed)
            fail_msg("seed %llu: %s", (unsigned long long)seed, result.what);
        assert_int_equal(4, waiting); /* the audit and the ledger there, from two nodes */
        tr_sim_destroy(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_earlier_node_gets_none_and_holds_up_no_other),
    };
    return cmocka_run_group_tests_name("sim_outbox", tests, NULL, NULL);
}
