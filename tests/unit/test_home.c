/* The home's half of an endpoint when it is late: stuck while the control thread goes on, over the net in
 * memory and under stepped time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kit/endpoints.h"

/* Fixture: alice and bob, connected ---- */

typedef struct fixture {
    test_cluster cluster;
    test_node alice, bob;
} fixture;

static void open_node(fixture *f, test_node *node, const char *name, uint64_t id)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    assert_int_equal(test_cluster_open(&f->cluster, node, &options, &error), TR_OK);
}

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    test_cluster_init(&f.cluster, 1);
    open_node(&f, &f.alice, "alice", 10);
    open_node(&f, &f.bob, "bob", 20);
    *state = &f;
    return 0;
}

static int setup_pair(void **state)
{
    setup(state);
    fixture *f = *state;
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer);
    return 0;
}

static int teardown(void **state)
{
    test_cluster_fini(&((fixture *)*state)->cluster);
    return 0;
}

static tr_err send_size(fixture *f, size_t size)
{
    static const uint8_t bytes[100];
    return tr__endpoint_send(f->alice.endpoint, f->alice.peer, bytes, size);
}

/* Tests ---- */

static void a_stuck_home_keeps_its_connection_and_answers_later(void **state)
{
    fixture *f = *state;
    f->bob.stuck = true;
    assert_int_equal(send_size(f, 10), TR_OK);
    test_cluster_advance(&f->cluster, 3600 * SECONDS);
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
    assert_int_equal(f->bob.messages, 0);
    assert_int_equal(test_counters(&f->alice).messages_acked, 0); /* it isn't read */
    f->bob.stuck = false;
    test_cluster_advance(&f->cluster, 20 * MILLISECONDS);
    assert_int_equal(f->bob.messages, 1);
    assert_int_equal(test_counters(&f->alice).messages_acked, 1);
}

static void a_stuck_home_lets_others_in(void **state)
{
    fixture *f = *state;
    test_node carol;
    f->alice.stuck = true;
    open_node(f, &carol, "carol", 30);
    test_dial(&carol, &f->alice);
    test_cluster_settle(&f->cluster);
    assert_non_null(carol.peer);
    assert_int_equal(tr__endpoint_send(carol.endpoint, carol.peer, "abc", 3), TR_OK);
    test_cluster_settle(&f->cluster);
    f->alice.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.ups, 2);
    assert_int_equal(f->alice.messages, 1);
    test_cluster_destroy(&f->cluster, &carol);
}

static void a_goodbye_waits_for_what_a_late_home_has_not_read(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(tr__endpoint_send(f->bob.endpoint, f->bob.peer, "abc", 3), TR_OK);
    tr__endpoint_forget(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint));
    tr__endpoint_disconnect(f->alice.endpoint, f->alice.peer);
    f->alice.stuck = true;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.messages, 0);
    f->alice.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.messages, 5);
    assert_int_equal(f->bob.unknown, 0);
    assert_int_equal(f->alice.down_why.code, TR_ECLOSED);
    assert_int_equal(f->bob.down_why.code, TR_ECLOSED);
}

static void what_came_before_the_end_is_delivered_before_it_is_told(void **state)
{
    fixture *f = *state;
    f->bob.stuck = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send_size(f, 10), TR_OK);
        test_cluster_settle(&f->cluster);
    }
    memory_net_cut(&f->cluster.net);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.downs, 0);
    f->bob.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 3);
    assert_int_equal(f->bob.messages_at_down, 3);
    assert_int_equal(f->bob.downs, 1);
    assert_int_equal(f->alice.unknown, 3); /* no ack was sent */
}

static void what_is_sent_after_the_end_and_before_it_is_heard_is_unknown(void **state)
{
    fixture *f = *state;
    f->alice.stuck = true;
    memory_net_cut(&f->cluster.net);
    test_cluster_settle(&f->cluster);
    tr_err err = send_size(f, 10);
    assert_true(err == TR_OK || err == TR_ENOCONN);
    f->alice.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.unknown, err == TR_OK);
}

static void batches_that_overtake_the_news_of_their_peer_wait_for_it(void **state)
{
    fixture *f = *state;
    test_dial(&f->alice, &f->bob);
    tr__endpoint_step(f->alice.endpoint, f->cluster.now_ns);
    while (!f->bob.peer) {
        memory_net_run(&f->cluster.net);
        tr__endpoint_step(f->bob.endpoint, f->cluster.now_ns);
        tr__endpoint_take(f->bob.endpoint);
        if (!f->bob.peer)
            tr__endpoint_step(f->alice.endpoint, f->cluster.now_ns);
    }
    assert_int_equal(tr__endpoint_send(f->bob.endpoint, f->bob.peer, "abc", 3), TR_OK);
    tr__endpoint_flush(f->bob.endpoint);
    memory_net_run(&f->cluster.net); /* alice has the grant and the batch, and has looked at neither */
    tr__endpoint_take(f->alice.endpoint);
    assert_int_equal(f->alice.messages, 0);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.ups, 1);
    assert_int_equal(f->alice.messages, 1);
}

static void what_came_is_handled_a_frame_at_a_time_and_in_order(void **state)
{
    fixture *f = *state;
    static const uint8_t large[50000];
    for (int i = 0; i < 6; i++) {
        assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, large, sizeof(large)), TR_OK);
        tr__endpoint_flush(f->alice.endpoint);
        memory_net_run(&f->cluster.net); /* each is received by itself */
    }
    tr__endpoint_take(f->bob.endpoint);
    assert_int_equal(f->bob.messages, 2); /* the second is the one with which it was enough */
    assert_true(tr__endpoint_has_news(f->bob.endpoint));
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "last", 4), TR_OK);
    tr__endpoint_close(f->alice.endpoint);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 7); /* and its end comes behind them */
    assert_int_equal(f->bob.bytes, 6 * sizeof(large) + 4);
    assert_int_equal(f->bob.downs, 1);
    assert_false(tr__endpoint_has_news(f->bob.endpoint));
}

static void what_is_left_when_an_endpoint_ends_is_freed(void **state)
{
    fixture *f = *state;
    static const uint8_t large[50000];
    for (int i = 0; i < 6; i++) {
        assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, large, sizeof(large)), TR_OK);
        tr__endpoint_flush(f->alice.endpoint);
        memory_net_run(&f->cluster.net);
    }
    tr__endpoint_take(f->bob.endpoint);
    assert_true(tr__endpoint_has_news(f->bob.endpoint)); /* a leak is a sanitizer's to find */
}

int main(void)
{
#define CASE(name)     cmocka_unit_test_setup_teardown(name, setup_pair, teardown)
#define UNJOINED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_stuck_home_keeps_its_connection_and_answers_later),
        CASE(a_stuck_home_lets_others_in),
        CASE(a_goodbye_waits_for_what_a_late_home_has_not_read),
        CASE(what_came_before_the_end_is_delivered_before_it_is_told),
        CASE(what_is_sent_after_the_end_and_before_it_is_heard_is_unknown),
        CASE(what_came_is_handled_a_frame_at_a_time_and_in_order),
        CASE(what_is_left_when_an_endpoint_ends_is_freed),
        UNJOINED(batches_that_overtake_the_news_of_their_peer_wait_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
