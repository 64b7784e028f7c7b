/* The endpoint: who is connected with whom, over the net in memory and under stepped time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/endpoints.h"

/* Fixture ---- */

typedef struct fixture {
    test_cluster cluster;
    test_node alice, bob, carol;
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

static int teardown(void **state)
{
    test_cluster_fini(&((fixture *)*state)->cluster);
    return 0;
}

static void join(fixture *f)
{
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer);
    assert_non_null(f->bob.peer);
}

/* Connecting ---- */

static void two_nodes_that_dial_are_peers_by_name_and_id(void **state)
{
    fixture *f = *state;
    join(f);
    assert_string_equal(f->alice.peer->name, "bob");
    assert_int_equal(f->alice.peer->id, 20);
    assert_true(f->alice.peer->dialled);
    assert_string_equal(f->bob.peer->name, "alice");
    assert_string_equal(f->bob.peer->address, tr__endpoint_address(f->alice.endpoint));
    assert_false(f->bob.peer->dialled);
    assert_ptr_equal(tr__endpoint_peer(f->alice.endpoint, 20), f->alice.peer);
    assert_ptr_equal(tr__endpoint_peer_named(f->bob.endpoint, "alice"), f->bob.peer);
    assert_null(tr__endpoint_peer(f->alice.endpoint, 21));
}

static void what_is_sent_arrives_and_is_acknowledged(void **state)
{
    fixture *f = *state;
    join(f);
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "hello", 5), TR_OK);
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "again", 5), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 2);
    assert_int_equal(f->bob.bytes, 10);
    assert_int_equal(test_counters(&f->alice).messages_acked, 0);
    test_cluster_advance(&f->cluster, 20 * MILLISECONDS);
    assert_int_equal(test_counters(&f->alice).messages_acked, 2);
    assert_int_equal(test_counters(&f->alice).batches_out, 1);
}

static void an_ack_rides_in_front_of_the_answer(void **state)
{
    fixture *f = *state;
    join(f);
    f->bob.echo = true;
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "hello", 5), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.bytes, 5);
    assert_int_equal(test_counters(&f->alice).messages_acked, 1);
}

static void nodes_that_dial_each_other_keep_one_connection_whatever_the_order(void **state)
{
    fixture *unused = *state;
    (void)unused;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        fixture f = {0};
        test_cluster_init(&f.cluster, seed);
        f.cluster.net.piece_max = seed % 3 ? 40 : 0;
        f.cluster.net.at_once = seed % 5 < 2;
        open_node(&f, &f.alice, "alice", seed % 2 ? 10 : 30);
        open_node(&f, &f.bob, "bob", 20);
        test_dial(&f.alice, &f.bob);
        test_dial(&f.bob, &f.alice);
        test_cluster_advance(&f.cluster, 20 * SECONDS);
        assert_non_null(f.alice.peer);
        assert_non_null(f.bob.peer);
        if (f.alice.downs + f.bob.downs + f.alice.dial_failures + f.bob.dial_failures)
            print_message("seed %llu: alice down: %s; dial: %s; bob down: %s; dial: %s\n",
                          (unsigned long long)seed, f.alice.down_why.text, f.alice.dial_why.text,
                          f.bob.down_why.text, f.bob.dial_why.text);
        assert_int_equal(f.cluster.net.streams_open, 2);
        assert_int_equal(f.alice.ups, 1); /* and it never flapped */
        assert_int_equal(f.bob.ups, 1);
        assert_int_equal(f.alice.downs + f.bob.downs, 0);
        assert_int_equal(f.alice.dial_failures + f.bob.dial_failures, 0);
        if (f.alice.turned_away + f.bob.turned_away)
            fail_msg("%s; %s (%d %d)", f.alice.away_why.text, f.bob.away_why.text, f.alice.away_why.code,
                     f.bob.away_why.code);
        assert_int_equal(f.alice.turned_away + f.bob.turned_away, 0); /* the one too many is no stranger */
        assert_int_not_equal(f.alice.peer->dialled, f.bob.peer->dialled);
        test_cluster_fini(&f.cluster);
    }
}

static void of_two_dials_at_the_same_moment_that_of_the_lower_id_stays(void **state)
{
    fixture *f = *state;
    f->cluster.net.frozen = true; /* both are dialled before either says a word */
    test_dial(&f->alice, &f->bob);
    test_dial(&f->bob, &f->alice);
    test_cluster_settle(&f->cluster);
    f->cluster.net.frozen = false;
    test_cluster_settle(&f->cluster);
    assert_true(f->alice.peer->dialled);
    assert_false(f->bob.peer->dialled);
}

static void a_second_dial_of_a_connected_node_is_satisfied_and_comes_back_when_that_goes(void **state)
{
    fixture *f = *state;
    join(f);
    test_dial(&f->bob, &f->alice);
    test_cluster_advance(&f->cluster, 30 * SECONDS);
    assert_int_equal(f->bob.dial_failures, 0);
    assert_int_equal(f->bob.ups, 1);
    tr__endpoint_counters counters;
    tr__endpoint_counters_get(f->bob.endpoint, &counters);
    assert_int_equal(counters.dials, 1);
    tr__endpoint_forget(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint));
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer); /* forgetting cuts nothing */
    memory_net_cut(&f->cluster.net);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_non_null(f->bob.peer);
    assert_true(f->bob.peer->dialled);
}

/* Refusals ---- */

static void expect_refusal(fixture *f, tr_err code, const char *words)
{
    test_cluster_advance(&f->cluster, 5 * MILLISECONDS);
    assert_null(f->carol.peer);
    assert_true(f->carol.dial_failures > 0);
    assert_int_equal(f->carol.dial_why.code, code);
    if (!strstr(f->carol.dial_why.text, words))
        fail_msg("'%s' doesn't say '%s'", f->carol.dial_why.text, words);
}

static void another_cluster_is_refused_by_name(void **state)
{
    fixture *f = *state;
    tr__endpoint_options options = test_options("carol", 30);
    options.cluster = "other";
    assert_int_equal(test_cluster_open(&f->cluster, &f->carol, &options, NULL), TR_OK);
    test_dial(&f->carol, &f->alice);
    expect_refusal(f, TR_EMISMATCH, "node alice is in cluster test, node carol in cluster other");
    assert_int_equal(f->alice.away_why.code, TR_EMISMATCH);
}

static void a_second_node_of_the_same_name_is_refused_while_the_first_is_up(void **state)
{
    fixture *f = *state;
    join(f);
    open_node(f, &f->carol, "bob", 30);
    test_dial(&f->carol, &f->alice);
    expect_refusal(f, TR_EEXIST, "another node named bob");
    assert_non_null(strstr(f->alice.away_why.text, "another node named bob"));
    test_cluster_destroy(&f->cluster, &f->bob);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->alice.downs, 1);
    assert_non_null(f->alice.peer);
    assert_int_equal(f->alice.peer->id, 30);
}

static void a_node_with_our_own_name_is_refused(void **state)
{
    fixture *f = *state;
    open_node(f, &f->carol, "alice", 30);
    test_dial(&f->carol, &f->alice);
    expect_refusal(f, TR_EEXIST, "two nodes are named alice");
}

static void a_node_that_dials_itself_is_told(void **state)
{
    fixture *f = *state;
    open_node(f, &f->carol, "carol", 30);
    test_dial(&f->carol, &f->carol);
    expect_refusal(f, TR_EINVAL, "node carol dialled itself");
}

static void an_older_version_is_refused_by_name(void **state)
{
    fixture *f = *state;
    uint8_t frame[512];
    char text[512] = "";
    tr__hello old = {.version_min = 7, .version_max = 9, .id = 5, .cluster = "test", .name = "old"};
    tr__stream *raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    memory_raw_write(raw, frame, tr__frame_put_hello(frame, TR__FRAME_HELLO, 1, &old));
    test_cluster_settle(&f->cluster);
    size_t length = memory_raw_read(raw, text, sizeof text);
    tr__frame got;
    tr_error why, error;
    assert_int_equal(tr__frame_decode((uint8_t *)text, length, 4096, &got, &error), TR_OK);
    assert_int_equal(got.kind, TR__FRAME_REFUSE);
    assert_int_equal(tr__frame_get_refuse(&got, &why, &error), TR_OK);
    assert_int_equal(why.code, TR_EVERSION);
    assert_non_null(strstr(why.text, "speaks versions 1 to 1"));
    memory_raw_close(raw);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.away_why.code, TR_EVERSION); /* and is told at home */
    assert_non_null(strstr(f->alice.away_why.text, "node old"));
}

/* Redialling ---- */

static void an_unreachable_address_is_dialled_with_growing_pauses(void **state)
{
    fixture *f = *state;
    uint64_t pause = 0, before;
    f->cluster.net.refuse_dials = true;
    test_dial(&f->alice, &f->bob);
    for (unsigned n = 1; n <= 10; n++) {
        before = f->cluster.now_ns;
        test_cluster_advance(&f->cluster, pause);
        assert_int_equal(f->alice.dial_failures, n);
        assert_int_equal(f->alice.dial_why.code, TR_EREFUSED);
        before = f->cluster.now_ns;
        pause = f->alice.next_dial_ns - before;
        uint64_t full = n > 6 ? 5 * SECONDS : (100 * MILLISECONDS) << (n - 1);
        assert_in_range(pause, full / 2, full);
    }
    f->cluster.net.refuse_dials = false;
    test_cluster_advance(&f->cluster, pause);
    assert_non_null(f->alice.peer);
}

static void a_forgotten_address_is_dialled_no_more(void **state)
{
    fixture *f = *state;
    f->cluster.net.refuse_dials = true;
    test_dial(&f->alice, &f->bob);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.dial_failures, 1);
    tr__endpoint_forget(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint));
    f->cluster.net.refuse_dials = false;
    test_cluster_advance(&f->cluster, 60 * SECONDS);
    assert_int_equal(f->alice.ups, 0);
    assert_int_equal(tr__endpoint_next_due(f->alice.endpoint), UINT64_MAX);
}

static void a_restarted_peer_is_another_one_and_the_old_is_down_first(void **state)
{
    fixture *f = *state;
    join(f);
    for (int i = 0; i < 3; i++)
        tr__endpoint_send(f->alice.endpoint, f->alice.peer, "lost", 4);
    char address[TR__ADDRESS_MAX + 1];
    strcpy(address, tr__endpoint_address(f->bob.endpoint));
    test_cluster_destroy(&f->cluster, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_null(f->alice.peer);
    assert_int_equal(f->alice.down_why.code, TR_ERESET);
    assert_int_equal(f->alice.unknown, 3);
    tr__endpoint_options options = test_options("bob", 21);
    options.listen = address;
    assert_int_equal(test_cluster_open(&f->cluster, &f->bob, &options, NULL), TR_OK);
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.ups, 2);
    assert_int_equal(f->alice.peer->id, 21);
}

/* Limits ---- */

static void silent_strangers_are_limited_and_cut_after_the_handshakes_time(void **state)
{
    fixture *f = *state;
    tr__stream *raw[80];
    for (int i = 0; i < 80; i++)
        raw[i] = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    test_cluster_settle(&f->cluster);
    unsigned cut = 0;
    for (int i = 0; i < 80; i++)
        cut += memory_raw_is_cut(raw[i]);
    assert_int_equal(cut, 80 - TR__UNAUTHENTICATED_MAX);
    assert_int_equal(f->alice.turned_away, cut);
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    for (int i = 0; i < 80; i++) {
        assert_true(memory_raw_is_cut(raw[i]));
        memory_raw_close(raw[i]);
    }
    assert_int_equal(f->alice.turned_away, 80);
    join(f); /* places are free again */
}

static void garbage_is_answered_with_the_reason_and_cut(void **state)
{
    fixture *f = *state;
    tr__stream *raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    memory_raw_write(raw, "GET / HTTP/1.1\r\n\r\n", 18);
    test_cluster_advance(&f->cluster, 3 * SECONDS);
    assert_true(memory_raw_is_cut(raw) || memory_raw_read(raw, (char[512]){0}, 512));
    assert_int_equal(f->cluster.net.streams_open, 1);
    assert_int_equal(f->alice.turned_away, 1); /* and is told at home, with the reason */
    assert_non_null(strstr(f->alice.away_why.text, "protocol"));
    memory_raw_close(raw);
}

/* Opening and closing ---- */

static void only_loopback_may_be_listened_on(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *listen;
        tr_err code;
    } rows[] = {{"0.0.0.0:0", TR_EPERM},       {"192.168.1.1:7100", TR_EPERM},
                {"[::]:0", TR_EPERM},          {"[::ffff:10.0.0.1]:1", TR_EPERM},
                {"127.1:7100", TR_EADDR},      {"127.0.0.1", TR_EADDR},
                {"127.0.0.1:65536", TR_EADDR}, {":7100", TR_EADDR},
                {"[::1]7100", TR_EADDR},       {"::1:7100", TR_EADDR},
                {"127.0.0.1:7100x", TR_EADDR}, {"", TR_EADDR}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tr_error error;
        tr__endpoint_options options = test_options("carol", 30);
        options.listen = rows[i].listen;
        assert_int_equal(test_cluster_open(&f->cluster, &f->carol, &options, &error), rows[i].code);
        assert_int_equal(error.code, rows[i].code);
        if (rows[i].code == TR_EPERM)
            assert_non_null(strstr(error.text, "troupe key new FILE"));
    }
    tr__endpoint_options options = test_options("carol", 30);
    options.listen = "tcp://[::1]:0";
    assert_int_equal(test_cluster_open(&f->cluster, &f->carol, &options, NULL), TR_OK);
    assert_int_equal(strncmp(tr__endpoint_address(f->carol.endpoint), "[::1]:4", 7), 0);
}

static void a_bad_name_is_refused_at_open(void **state)
{
    fixture *f = *state;
    tr_error error;
    tr__endpoint_options options = test_options("no spaces", 30);
    assert_int_equal(test_cluster_open(&f->cluster, &f->carol, &options, &error), TR_EINVAL);
    options = test_options("", 30);
    assert_int_equal(test_cluster_open(&f->cluster, &f->carol, &options, &error), TR_EINVAL);
}

static void closing_says_goodbye_and_loses_nothing(void **state)
{
    fixture *f = *state;
    join(f);
    f->cluster.net.piece_max = 7;
    f->cluster.net.at_once = true;
    for (int i = 0; i < 1000; i++)
        assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "0123456789", 10), TR_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(tr__endpoint_send(f->bob.endpoint, f->bob.peer, "abc", 3), TR_OK);
    tr__endpoint_close(f->alice.endpoint);
    assert_false(tr__endpoint_is_closed(f->alice.endpoint));
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "late", 4), TR_ECLOSED);
    test_cluster_settle(&f->cluster);
    assert_true(tr__endpoint_is_closed(f->alice.endpoint));
    assert_int_equal(f->bob.messages, 1000);
    assert_int_equal(f->alice.messages, 10);
    assert_int_equal(f->alice.down_why.code, TR_ECLOSED);
    assert_int_equal(f->bob.down_why.code, TR_ECLOSED);
    assert_int_equal(f->alice.unknown + f->bob.unknown, 0);
    assert_int_equal(f->cluster.net.streams_open, 0);
    assert_int_equal(tr__endpoint_dial(f->alice.endpoint, "127.0.0.1:1", NULL), TR_ECLOSED);
}

static void closing_ends_in_time_though_the_peer_is_frozen(void **state)
{
    fixture *f = *state;
    join(f);
    tr__endpoint_send(f->alice.endpoint, f->alice.peer, "x", 1);
    f->cluster.net.frozen = true;
    tr__endpoint_close(f->alice.endpoint);
    test_cluster_advance(&f->cluster, 2 * SECONDS - 1);
    assert_false(tr__endpoint_is_closed(f->alice.endpoint));
    test_cluster_advance(&f->cluster, 1);
    assert_true(tr__endpoint_is_closed(f->alice.endpoint));
    assert_int_equal(f->alice.unknown, 1);
    assert_int_equal(f->alice.down_why.code, TR_EDEADLINE);
}

static void closing_gives_up_what_is_half_done(void **state)
{
    fixture *f = *state;
    f->cluster.net.frozen = true;
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    test_dial(&f->bob, &f->alice);
    tr__endpoint_close(f->alice.endpoint);
    tr__endpoint_close(f->bob.endpoint);
    test_cluster_settle(&f->cluster);
    assert_true(tr__endpoint_is_closed(f->alice.endpoint));
    assert_true(tr__endpoint_is_closed(f->bob.endpoint));
    assert_int_equal(f->cluster.net.streams_open, 0);
}

static void a_peer_that_is_refused_hears_why(void **state)
{
    fixture *f = *state;
    join(f);
    tr_error why = {TR_EPROTO, "what it sent makes no sense"};
    tr__endpoint_refuse(f->alice.endpoint, f->alice.peer, &why);
    tr__endpoint_flush(f->alice.endpoint);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.downs, 1);
    assert_int_equal(f->bob.down_why.code, TR_EPROTO);
    assert_non_null(strstr(f->bob.down_why.text, why.text));
    test_cluster_advance(&f->cluster, 10 * SECONDS);
    assert_true(f->alice.downs >= 1);
}

/* Found by the simulator: exchange, seed 137. */
static void a_peer_that_is_still_being_refused_is_down_before_it_is_up_again(void **state)
{
    fixture *f = *state;
    tr_error why = {TR_ENOMEM, "no memory for what was told to it"};
    test_dial(&f->bob, &f->alice);
    test_cluster_settle(&f->cluster);
    memory_net_freeze(&f->cluster.net);
    tr__endpoint_refuse(f->alice.endpoint, f->alice.peer, &why);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.downs, 0); /* it hasn't heard why */
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.ups, 2);
    assert_int_equal(f->alice.downs_at_up, 1);
    assert_string_equal(f->alice.down_why.text, why.text);
    test_cluster_advance(&f->cluster, 30 * SECONDS);
    assert_int_equal(f->alice.ups, 2);
    assert_int_equal(f->alice.downs, 1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(two_nodes_that_dial_are_peers_by_name_and_id),
        CASE(what_is_sent_arrives_and_is_acknowledged),
        CASE(an_ack_rides_in_front_of_the_answer),
        CASE(nodes_that_dial_each_other_keep_one_connection_whatever_the_order),
        CASE(of_two_dials_at_the_same_moment_that_of_the_lower_id_stays),
        CASE(a_second_dial_of_a_connected_node_is_satisfied_and_comes_back_when_that_goes),
        CASE(another_cluster_is_refused_by_name),
        CASE(a_second_node_of_the_same_name_is_refused_while_the_first_is_up),
        CASE(a_node_with_our_own_name_is_refused),
        CASE(a_node_that_dials_itself_is_told),
        CASE(an_older_version_is_refused_by_name),
        CASE(an_unreachable_address_is_dialled_with_growing_pauses),
        CASE(a_forgotten_address_is_dialled_no_more),
        CASE(a_restarted_peer_is_another_one_and_the_old_is_down_first),
        CASE(silent_strangers_are_limited_and_cut_after_the_handshakes_time),
        CASE(garbage_is_answered_with_the_reason_and_cut),
        CASE(only_loopback_may_be_listened_on),
        CASE(a_bad_name_is_refused_at_open),
        CASE(closing_says_goodbye_and_loses_nothing),
        CASE(closing_ends_in_time_though_the_peer_is_frozen),
        CASE(closing_gives_up_what_is_half_done),
        CASE(a_peer_that_is_refused_hears_why),
        CASE(a_peer_that_is_still_being_refused_is_down_before_it_is_up_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
