/* One connection in silence: heartbeats, and who is taken to be down. Under stepped time. */
#include "tests/unit/connection_fixture.h"

static void an_idle_connection_stays_up_by_heartbeats(void **state)
{
    fixture *f = *state;
    test_cluster_advance(&f->cluster, 3600 * SECONDS);
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
    assert_in_range(out(f).heartbeats_in, 7190, 7200);
}

static void traffic_in_one_direction_needs_no_heartbeats_there(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 600; i++) {
        send_size(f, 10);
        test_cluster_advance(&f->cluster, 100 * MILLISECONDS);
    }
    assert_int_equal(test_counters(&f->bob).heartbeats_in, 0);
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
}

static void a_silent_peer_is_down_within_its_time_and_named(void **state)
{
    fixture *f = *state;
    test_cluster_advance(&f->cluster, 60 * SECONDS);
    send_size(f, 10);
    f->cluster.net.frozen = true;
    test_cluster_advance(&f->cluster, 3500 * MILLISECONDS);
    assert_int_equal(f->alice.downs, 0);
    test_cluster_advance(&f->cluster, 1500 * MILLISECONDS);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.down_why.code, TR_ENOCONN);
    assert_string_equal(f->alice.down_why.text, "no heartbeat from node bob for 4.1 s");
    assert_int_equal(f->alice.unknown, 1);
    assert_int_equal(f->bob.downs, 1);
}

static void who_did_nothing_itself_for_long_takes_nobody_to_be_silent(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        test_cluster_advance(&f->cluster, 3 * SECONDS);
        f->cluster.now_ns += 30 * SECONDS; /* as if its process had stood still, or its machine slept */
    }
    test_cluster_advance(&f->cluster, 3 * SECONDS);
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
    f->cluster.net.frozen = true;
    f->cluster.now_ns += 30 * SECONDS;
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    assert_int_equal(f->alice.downs, 1); /* but then it is one */
}

static void a_look_that_is_always_late_still_finds_a_silent_peer(void **state)
{
    fixture *f = *state;
    f->cluster.net.frozen = true;
    for (int i = 0; i < 10; i++) { /* 100 ms late each time */
        test_cluster_advance(&f->cluster, tr__endpoint_next_due(f->alice.endpoint) - f->cluster.now_ns - 1);
        f->cluster.now_ns += 100 * MILLISECONDS;
        test_cluster_settle(&f->cluster);
    }
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    assert_int_equal(f->alice.downs, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_idle_connection_stays_up_by_heartbeats, setup_pair, teardown),
        cmocka_unit_test_setup_teardown(traffic_in_one_direction_needs_no_heartbeats_there, setup_pair,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_silent_peer_is_down_within_its_time_and_named, setup_pair,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_did_nothing_itself_for_long_takes_nobody_to_be_silent, setup_pair,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_look_that_is_always_late_still_finds_a_silent_peer, setup_pair,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
