/* Transactions in doubt on simulated nodes: who is asked, and which rows of the crash table the faults of a campaign hit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/remote/peer.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/rows.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"
#include "transport/link.h"

static tr_sim *make(const tr_scenario *scenario, uint64_t seed, uint32_t faults)
{
    tr_error error = {.code = TR_OK};
    tr_sim_destroy(sim_now_running); /* of a test that failed */
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = scenario, .faults = faults}, &error);
    if (!sim)
        fail_msg("seed %llu: %s", (unsigned long long)seed, error.text);
    return sim;
}

static void run(tr_sim *sim, uint64_t seed)
{
    tr_sim_result result;
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    if (result.failed)
        fail_msg("seed %llu: %s", (unsigned long long)seed, result.what);
}

/* ---- who is asked -------------------------------------------------------------------------------------- */

static uint64_t asked; /* n2, by others */

/* Something on all three, and n0 or n1 decides. */
static void plan(tr_actor *self, tx_record *record)
{
    uint32_t first = 2 * (uint32_t)tx_draw(self, 2);
    tx_op_add(record, first, true, 0);
    tx_op_add(record, 2 - first, true, 0);
    tx_op_add(record, 4, true, 0);
}

static tr_err start(tr_actor *self, uint32_t index)
{
    return tx_load_start(self, index, plan);
}

static tr_err look_then_check(tr_actor *self)
{
    tr__tx_figures figures;
    tr__tx_figures_of(sim_now_running->nodes[2].node->transactions->tx, &figures);
    asked += figures.asked;
    return tx_load_check(self);
}

/* n0 and n1 don't hear each other now and then: who of them is in doubt because of the other can ask n2. */
static void run_cut(const tr_scenario *scenario, uint64_t seed, bool earlier)
{
    tr_sim *sim = make(scenario, seed, 0);
    if (earlier) /* no node starts again here, so it stays one */
        tr_sim_node(sim, 2)->remote->endpoint->config.self.capabilities &= ~TR__CAPABILITY_SIBLINGS;
    for (uint32_t node = 0; node < 3; node++) /* forces take long, so much is in doubt at any time */
        sim->nodes[node].disk_slow_until = TR_FOREVER;
    for (int i = 0; i < 4; i++) {
        tr_sim_step(sim, TR_MILLIS(300));
        tr_sim_cut(sim, 0, 1);
        tr_sim_cut(sim, 1, 0);
        tr_sim_step(sim, TR_SECONDS(4));
        tr_sim_heal(sim, 0, 1);
        tr_sim_heal(sim, 1, 0);
    }
    run(sim, seed);
    tr_sim_destroy(sim);
}

static void an_earlier_node_is_not_asked(void **state)
{
    tr_scenario scenario = sim_append;
    (void)state;
    scenario.start = start;
    scenario.check = look_then_check;
    for (int earlier = 0; earlier < 2; earlier++) {
        asked = 0;
        for (uint64_t seed = 1; seed <= 6; seed++)
            run_cut(&scenario, seed, earlier);
        assert_true(earlier ? asked == 0 : asked > 0);
    }
}

/* ---- who has just come ---------------------------------------------------------------------------------- */

/* Its frames go straight to the manager, and that it has come goes by the warden: they may be there before. What is about what
 * both are in the middle of isn't dropped for that. */
static uint64_t dropped_while_they_come(uint64_t seed, size_t kept_bytes)
{
    uint64_t dropped = 0;
    tr_scenario scenario = sim_append;
    scenario.loops = 2;
    tr_sim *sim = make(&scenario, seed, 1u << TR_SIM_LATENCY | 1u << TR_SIM_SLOW);
    for (uint32_t node = 0; node < 3; node++)
        tr_sim_node(sim, node)->transactions->early_bytes = kept_bytes;
    for (int i = 0; i < 40; i++) {
        tr_sim_step(sim, TR_MILLIS(250));
        tr_sim_reset(sim, i % 3, (i + 1) % 3);
    }
    for (uint32_t node = 0; node < 3; node++)
        dropped += tr_sim_node(sim, node)->transactions->refused;
    tr_sim_step(sim, TR_SECONDS(5)); /* all have come */
    for (uint32_t node = 0; node < 3; node++) {
        assert_int_equal(tr_sim_node(sim, node)->transactions->early_count, 0);
        assert_int_equal(tr_sim_node(sim, node)->transactions->early_bytes, kept_bytes);
    }
    run(sim, seed);
    tr_sim_destroy(sim);
    return dropped;
}

static void frames_of_a_node_that_has_just_come_are_heard(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++)
        if (dropped_while_they_come(seed, 0))
            fail_msg("seed %llu: frames were dropped", (unsigned long long)seed);
}

/* What waits is bounded; what gets lost is asked for again. */
static void no_more_bytes_of_early_frames_wait_than_may(void **state)
{
    uint64_t dropped = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        dropped += dropped_while_they_come(seed, TR__TX_BYTES_MAX);
    assert_true(dropped > 0);
}

/* ---- the crash table ----------------------------------------------------------------------------------- */

static uint64_t hits_of(const tr_sim *sim, const char *name)
{
    const tr_sim_assertion *a;
    for (uint32_t i = 0; (a = tr_sim_assertion_at(sim, i)); i++)
        if (strcmp(a->name, name) == 0)
            return a->held;
    return 0;
}

static void a_campaign_hits_each_row_of_the_crash_table(void **state)
{
    static const char *const names[] = {
#define ROW(number, name) name,
        SIM_ROWS(ROW)
#undef ROW
    };
    uint64_t hits[TR_COUNT(names)] = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        tr_sim *sim = make(seed % 2 ? &sim_bank : &sim_append, seed, TR_SIM_ALL_FAULTS);
        run(sim, seed);
        for (size_t row = 0; row < TR_COUNT(names); row++)
            hits[row] += hits_of(sim, names[row]);
        tr_sim_destroy(sim);
    }
    for (size_t row = 0; row < TR_COUNT(names); row++) {
        print_message("%6llu  %s\n", (unsigned long long)hits[row], names[row]);
        assert_true(hits[row] > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_earlier_node_is_not_asked),
        cmocka_unit_test(frames_of_a_node_that_has_just_come_are_heard),
        cmocka_unit_test(no_more_bytes_of_early_frames_wait_than_may),
        cmocka_unit_test(a_campaign_hits_each_row_of_the_crash_table),
    };
    return cmocka_run_group_tests_name("sim_doubt", tests, NULL, NULL);
}
