/* A simulation driven by hand: probes, time that the test moves, cuts, kills, pauses, clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/sim.h"

TR_MESSAGE(ping, (u64, n))
TR_MESSAGE(pong, (u64, n))
TR_MESSAGE(subscribe)

/* ---- a server on each node: pings are answered to who asks first ------------------------------------------- */

static void server(tr_actor *self, void *state, const tr_msg *msg)
{
    tr_addr *to = state;
    const ping *p = tr_match(msg, ping);
    if (tr_match(msg, subscribe))
        *to = tr_msg_sender(msg);
    if (p)
        tr_send(self, *to, pong, .n = p->n);
}
TR_ACTOR(server_def, .receive = server, .state_size = sizeof(tr_addr));

static uint64_t clock_of[3], wall_of[3];

static tr_err start(tr_actor *self, uint32_t index)
{
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "server"});
    for (uint64_t last = 0;;) {
        uint64_t now = tr_now(self);
        assert_true(now >= last);
        clock_of[index] = last = now;
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
}

static const tr_scenario servers = {
    .size = sizeof(tr_scenario), .name = "servers", .nodes = 2, .loops = 1, .start = start};

static tr_sim *sim;
static tr_probe *probe;
static tr_addr far; /* the server on n1, as n0 has it */

static int set_up(void **state)
{
    (void)state;
    sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .scenario = &servers}, NULL);
    assert_non_null(sim);
    probe = tr_probe_open(sim, 0);
    assert_non_null(probe);
    far = tr_probe_lookup(probe, "n1/server", TR_SECONDS(1));
    assert_false(tr_addr_is_none(far));
    assert_int_equal(tr_probe_send(probe, far, subscribe), TR_OK);
    tr_sim_step(sim, TR_MILLIS(1)); /* it has arrived */
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_sim_destroy(sim);
    return 0;
}

static tr_sim_result result(void)
{
    tr_sim_result r;
    tr_sim_result_get(sim, &r);
    return r;
}

static void holds(void)
{
    tr_sim_result r = result();
    if (r.failed)
        fail_msg("%s", r.what);
}

static void failed_with(const char *text)
{
    tr_sim_result r = result();
    assert_true(r.failed);
    assert_string_equal(r.what, text);
}

/* The next pong's number, within a second. */
static uint64_t expected_pong(void)
{
    const pong *p = tr_probe_expect(probe, TR_SECONDS(1), pong);
    holds();
    return p->n;
}

/* ---- probes -------------------------------------------------------------------------------------------- */

static void a_probe_sends_and_expects(void **state)
{
    (void)state;
    assert_int_equal(tr_probe_address(probe).node, tr_node_id(tr_sim_node(sim, 0)));
    for (uint64_t n = 1; n <= 3; n++)
        assert_int_equal(tr_probe_send(probe, far, ping, .n = n), TR_OK);
    for (uint64_t n = 1; n <= 3; n++) {
        const pong *p = tr_probe_expect(probe, TR_MILLIS(10), pong);
        assert_non_null(p);
        assert_int_equal(p->n, n);
    }
    tr_probe_expect_nothing(probe, TR_SECONDS(1));
    holds();
}

static void what_came_before_the_expected_is_dropped(void **state)
{
    (void)state;
    tr_probe *other = tr_probe_open(sim, 1);
    assert_int_equal(tr_probe_send(other, tr_probe_address(probe), ping, .n = 1), TR_OK);
    assert_int_equal(tr_probe_send(other, tr_probe_address(probe), pong, .n = 2), TR_OK);
    assert_int_equal(tr_probe_expect(probe, TR_MILLIS(10), pong)->n, 2);
    tr_probe_expect_nothing(probe, TR_MILLIS(10));
    holds();
}

static void what_is_expected_and_does_not_come_fails_the_run(void **state)
{
    uint64_t begun = tr_sim_now(sim);
    (void)state;
    assert_null(tr_probe_expect(probe, TR_MILLIS(250), pong));
    failed_with("the probe on n0 got no pong within 250 ms");
    assert_in_range(result().failed_at - begun, TR_MILLIS(250), TR_MILLIS(251));
}

static void what_is_not_expected_and_comes_fails_the_run(void **state)
{
    (void)state;
    tr_probe_send(probe, far, ping, .n = 1);
    tr_probe_expect_nothing(probe, TR_MILLIS(10));
    failed_with("the probe on n0 got pong");
}

static void a_name_that_is_not_found_fails_the_run(void **state)
{
    (void)state;
    assert_true(tr_addr_is_none(tr_probe_lookup(probe, "n1/nobody", TR_MILLIS(100))));
    failed_with("the probe on n0 found no n1/nobody within 100 ms");
}

static void a_probe_goes_with_its_node(void **state)
{
    (void)state;
    tr_probe_send(probe, far, ping, .n = 1);
    assert_non_null(tr_probe_expect(probe, TR_MILLIS(10), pong));
    tr_sim_kill(sim, 0, false);
    assert_null(tr_probe_open(sim, 0));
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_ENOACTOR);
    holds();
    assert_null(tr_probe_expect(probe, TR_MILLIS(10), pong));
    failed_with("the probe on n0 got no pong within 10 ms: its node crashed");
}

static void a_probe_of_a_node_that_stands_still_is_too_late_and_its_order_is_void(void **state)
{
    (void)state;
    tr_sim_pause(sim, 0, TR_FOREVER);
    uint64_t begun = tr_sim_now(sim);
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_EDEADLINE);
    assert_in_range(tr_sim_now(sim) - begun, TR_SECONDS(1), TR_SECONDS(1) + TR_MILLIS(1));
    tr_sim_resume(sim, 0);
    tr_probe_expect_nothing(probe, TR_SECONDS(1));
    holds();
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static void time_is_what_the_test_lets_pass(void **state)
{
    uint64_t begun = tr_sim_now(sim);
    (void)state;
    tr_sim_step(sim, TR_MINUTES(60));
    assert_in_range(tr_sim_now(sim) - begun, TR_MINUTES(60), TR_MINUTES(60) + TR_MICROS(10));
    holds();
    assert_int_equal(result().virtual_ns, tr_sim_now(sim));
}

static void a_simulation_begins_at_time_0(void **state)
{
    (void)state;
    tr_sim_destroy(sim);
    sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .scenario = &servers}, NULL);
    assert_int_equal(tr_sim_now(sim), 0);
    assert_int_equal(tr_sim_nodes(sim), 2);
}

static void a_clock_that_drifts_stays_monotonic(void **state)
{
    static const int64_t ppm[] = {20000, -20000, 300, 0, -300, 20000};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(ppm); i++) {
        uint64_t before = clock_of[1], other = clock_of[0];
        sim_node_drift(&sim->nodes[1], ppm[i]);
        tr_sim_step(sim, TR_SECONDS(10)); /* the fiber looks at its clock all the time */
        int64_t passed = (int64_t)(clock_of[1] - before), ideal = 10000000000 + 10000 * ppm[i];
        assert_true(passed > ideal - 5000000 && passed < ideal + 5000000);
        assert_in_range(clock_of[0] - other, TR_MILLIS(9995), TR_MILLIS(10005));
    }
    holds();
}

static void a_wall_clock_jumps_and_nothing_else_does(void **state)
{
    sim_node *node = &sim->nodes[1];
    (void)state;
    wall_of[0] = node->node->seams.wall_ms(node);
    node->wall_ahead_ms = -60000;
    tr_sim_step(sim, TR_SECONDS(1));
    wall_of[1] = node->node->seams.wall_ms(node);
    assert_true(wall_of[1] + 58000 < wall_of[0]);
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_OK);
    assert_non_null(tr_probe_expect(probe, TR_MILLIS(10), pong));
}

static void a_slow_loop_takes_its_time(void **state)
{
    (void)state;
    sim->nodes[1].agents[0].slow_until = TR_FOREVER - 1;
    sim->nodes[1].agents[0].slow_ns = TR_MILLIS(40);
    uint64_t most = 0;
    for (uint64_t n = 0; n < 30; n++) {
        uint64_t begun = tr_sim_now(sim);
        assert_int_equal(tr_probe_send(probe, far, ping, .n = n), TR_OK);
        assert_non_null(tr_probe_expect(probe, TR_SECONDS(1), pong));
        most = tr_sim_now(sim) - begun > most ? tr_sim_now(sim) - begun : most;
    }
    assert_in_range(most, TR_MILLIS(20), TR_MILLIS(200));
    holds();
}

/* ---- faults by hand ------------------------------------------------------------------------------------ */

static void what_is_cut_arrives_when_it_heals(void **state)
{
    (void)state;
    tr_sim_cut(sim, 1, 0);
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_OK);
    tr_probe_expect_nothing(probe, TR_SECONDS(3));
    tr_sim_heal(sim, 1, 0); /* TCP sends again after as long a pause as it was cut, at most */
    assert_non_null(tr_probe_expect(probe, TR_SECONDS(4), pong));
    tr_sim_heal(sim, 1, 0); /* it is whole */
    holds();
}

static void a_cut_that_lasts_is_down_and_healing_all_brings_it_up(void **state)
{
    (void)state;
    tr_sim_cut(sim, 1, 0);
    tr_sim_cut(sim, 0, 1);
    tr_sim_step(sim, TR_SECONDS(20));
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_ENOCONN);
    tr_sim_heal_all(sim);
    tr_sim_step(sim, TR_SECONDS(10));
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 2), TR_OK);
    assert_int_equal(expected_pong(), 2);
    holds();
}

static void after_a_reset_they_connect_again(void **state)
{
    (void)state;
    tr_sim_reset(sim, 0, 1);
    tr_sim_step(sim, TR_MILLIS(1));
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_ENOCONN);
    tr_sim_step(sim, TR_SECONDS(6));
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 2), TR_OK);
    assert_int_equal(expected_pong(), 2);
    holds();
}

static void who_is_killed_by_hand_stays_down_until_it_is_started_by_hand(void **state)
{
    (void)state;
    tr_sim_kill(sim, 1, false);
    tr_sim_step(sim, TR_MINUTES(1));
    assert_null(tr_sim_node(sim, 1));
    tr_error error;
    assert_int_equal(tr_sim_start(sim, 1, &error), TR_OK);
    assert_int_equal(tr_sim_start(sim, 1, &error), TR_EEXIST);
    assert_string_equal(error.text, "n1 runs already");
    tr_addr again = tr_probe_lookup(probe, "n1/server", TR_SECONDS(10));
    assert_true(again.node != far.node);
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_ENOCONN); /* the old one never resolves */
    assert_int_equal(tr_probe_send(probe, again, subscribe), TR_OK);
    assert_int_equal(tr_probe_send(probe, again, ping, .n = 3), TR_OK);
    assert_int_equal(expected_pong(), 3);
    holds();
}

/* The question is on its way, or with the node, when that dies: its next incarnation is asked. */
static void a_look_up_outlives_the_node_that_was_asked(void **state)
{
    (void)state;
    tr_error error;
    tr_sim_pause(sim, 1, TR_FOREVER);
    assert_int_equal(tr_sim_script(sim, "at 100ms kill n1\nat 300ms start n1\n", &error), TR_OK);
    tr_addr again = tr_probe_lookup(probe, "n1/server", TR_SECONDS(10));
    assert_true(!tr_addr_is_none(again) && again.node != far.node);
    holds();
}

static void healing_all_starts_who_is_down_and_resumes_who_stands_still(void **state)
{
    (void)state;
    tr_sim_kill(sim, 1, true);
    tr_sim_pause(sim, 0, TR_FOREVER);
    tr_sim_step(sim, TR_SECONDS(3));
    tr_sim_heal_all(sim);
    tr_sim_step(sim, TR_SECONDS(10));
    assert_non_null(tr_sim_node(sim, 1));
    assert_false(tr_addr_is_none(tr_probe_lookup(probe, "n1/server", TR_SECONDS(1))));
    holds();
}

static void who_stands_still_does_nothing_and_goes_on_when_it_is_time(void **state)
{
    (void)state;
    tr_sim_pause(sim, 1, TR_SECONDS(3));
    tr_sim_step(sim, TR_MILLIS(1));
    uint64_t stood = clock_of[1];
    assert_int_equal(tr_probe_send(probe, far, ping, .n = 1), TR_OK);
    tr_probe_expect_nothing(probe, TR_MILLIS(2900));
    assert_int_equal(clock_of[1], stood);
    assert_int_equal(tr_probe_expect(probe, TR_MILLIS(200), pong)->n, 1);
    assert_true(clock_of[1] - stood >= TR_MILLIS(2900)); /* its clock went on */
    holds();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_probe_sends_and_expects),
        TEST(what_came_before_the_expected_is_dropped),
        TEST(what_is_expected_and_does_not_come_fails_the_run),
        TEST(what_is_not_expected_and_comes_fails_the_run),
        TEST(a_name_that_is_not_found_fails_the_run),
        TEST(a_probe_goes_with_its_node),
        TEST(a_probe_of_a_node_that_stands_still_is_too_late_and_its_order_is_void),
        TEST(time_is_what_the_test_lets_pass),
        TEST(a_simulation_begins_at_time_0),
        TEST(a_clock_that_drifts_stays_monotonic),
        TEST(a_wall_clock_jumps_and_nothing_else_does),
        TEST(a_slow_loop_takes_its_time),
        TEST(what_is_cut_arrives_when_it_heals),
        TEST(a_cut_that_lasts_is_down_and_healing_all_brings_it_up),
        TEST(after_a_reset_they_connect_again),
        TEST(who_is_killed_by_hand_stays_down_until_it_is_started_by_hand),
        TEST(a_look_up_outlives_the_node_that_was_asked),
        TEST(healing_all_starts_who_is_down_and_resumes_who_stands_still),
        TEST(who_stands_still_does_nothing_and_goes_on_when_it_is_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
