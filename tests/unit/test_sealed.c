/* Connections between nodes with and without keys: over the net in memory, under stepped time, with somebody
 * on the way who reads and changes bytes, and a peer that is written out frame by frame. */
#include "tests/unit/sealed_fixture.h"

#include <malloc.h>

/* Who may talk with whom ---- */

static void two_nodes_with_the_same_key_talk(void **state)
{
    fixture *f = *state;
    meet(f, &OURS, &OURS);
    assert_non_null(f->alice.peer);
    assert_non_null(f->bob.peer);
    assert_string_equal(f->bob.peer->name, "alice");
    assert_int_equal(say(&f->alice, SENTENCE, sizeof SENTENCE), TR_OK);
    assert_int_equal(say(&f->bob, SENTENCE, sizeof SENTENCE), TR_OK);
    test_cluster_advance(&f->cluster, 3600 * SECONDS);
    assert_int_equal(f->alice.messages + f->bob.messages, 2);
    assert_int_equal(f->alice.sum, f->bob.sum);
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
    assert_int_equal(test_counters(&f->alice).messages_acked, 1);
}

static void a_node_with_a_key_and_one_without_refuse_each_other_by_name(void **state)
{
    fixture *f = *state;
    meet(f, &OURS, NULL);
    assert_int_equal(f->alice.ups + f->bob.ups, 0);
    expect_words(&f->alice.dial_why, TR_EPERM, "the node that dialled has a key, the other has none");
    expect_words(&f->bob.away_why, TR_EPERM, "the node that dialled has a key, the other has none");
    start_again(f);
    meet(f, NULL, &OURS);
    assert_int_equal(f->alice.ups + f->bob.ups, 0);
    expect_words(&f->alice.dial_why, TR_EPERM, "the node that dialled has no key, the other has one");
    expect_words(&f->bob.away_why, TR_EPERM, "the node that dialled has no key, the other has one");
}

static void two_nodes_with_different_keys_refuse_each_other_by_name(void **state)
{
    fixture *f = *state;
    meet(f, &OURS, &OTHERS);
    assert_int_equal(f->alice.ups + f->bob.ups, 0);
    expect_words(&f->alice.dial_why, TR_EPERM,
                 "refused by the other side: the two nodes have different keys");
    expect_words(&f->bob.away_why, TR_EPERM, "the two nodes have different keys");
}

static void with_a_wrong_key_a_node_dials_on_with_pauses(void **state)
{
    fixture *f = *state;
    meet(f, &OURS, &OTHERS);
    test_cluster_advance(&f->cluster, 60 * SECONDS);
    assert_in_range(f->alice.dial_failures, 10, 30);
    assert_int_equal(f->bob.turned_away, f->alice.dial_failures);
}

static void the_rules_of_a_handshake_hold_behind_the_seal(void **state)
{
    fixture *f = *state;
    open_node(f, &f->bob, "alice", 20, &OURS);
    open_node(f, &f->alice, "alice", 10, &OURS);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    expect_words(&f->alice.dial_why, TR_EEXIST, "two nodes are named alice");
    assert_false(was_seen(f, "two nodes")); /* who has the key hears it under the seal */
}

static void of_two_that_dial_each_other_one_connection_stays(void **state)
{
    fixture *f = *state;
    open_node(f, &f->alice, "alice", 10, &OURS);
    open_node(f, &f->bob, "bob", 20, &OURS);
    test_dial(&f->alice, &f->bob);
    test_dial(&f->bob, &f->alice);
    test_cluster_advance(&f->cluster, 10 * SECONDS);
    assert_non_null(f->alice.peer);
    assert_non_null(f->bob.peer);
    assert_int_equal(f->cluster.net.streams_open, 2);
}

/* What travels, and how much ---- */

static void nothing_that_nodes_say_can_be_read_on_the_way(void **state)
{
    fixture *f = *state;
    for (int keyed = 0; keyed < 2; keyed++) { /* without a key all of it can */
        meet(f, keyed ? &OURS : NULL, keyed ? &OURS : NULL);
        assert_int_equal(say(&f->alice, SENTENCE, sizeof SENTENCE), TR_OK);
        test_cluster_settle(&f->cluster);
        assert_int_equal(f->bob.messages, 1);
        assert_int_equal(was_seen(f, SENTENCE), !keyed);
        assert_int_equal(was_seen(f, "quick"), !keyed);
        assert_int_equal(was_seen(f, "alice"), !keyed);
        start_again(f);
    }
}

static void a_byte_changed_anywhere_on_the_way_ends_the_connection(void **state)
{
    fixture *f = *state;
    meet(f, &OURS, &OURS);
    say(&f->alice, SENTENCE, sizeof SENTENCE);
    test_cluster_settle(&f->cluster);
    size_t length = f->seen_length;
    uint64_t sum = f->bob.sum;
    for (size_t at = 0; at < length; at++) {
        start_again(f);
        f->flip_at = at;
        meet(f, &OURS, &OURS);
        if (f->alice.peer)
            say(&f->alice, SENTENCE, sizeof SENTENCE);
        test_cluster_settle(&f->cluster);
        test_cluster_advance(&f->cluster, 16 * SECONDS); /* a length too long only shows by silence */
        assert_true(f->alice.downs + f->bob.downs + f->alice.dial_failures + f->bob.turned_away > 0);
        if (f->bob.messages)
            assert_int_equal(f->bob.sum, sum); /* it was the ack or the like that was changed */
    }
    f->flip_at = SIZE_MAX;
}

static void large_messages_and_very_many_small_ones_arrive(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[16 << 20];
    f->cluster.net.tap = NULL;
    meet(f, &OURS, &OURS);
    assert_int_equal(say(&f->alice, bytes, sizeof bytes), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.bytes, sizeof bytes);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(say(&f->alice, bytes, 1 + (size_t)(i * 7919) % 900), TR_OK);
        if (i % 20 == 0)
            test_cluster_settle(&f->cluster);
    }
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->bob.messages, 5001);
    assert_int_equal(test_counters(&f->bob).received, test_counters(&f->alice).spent);
    assert_int_equal(test_counters(&f->bob).consumed, test_counters(&f->bob).received);
    assert_int_equal(test_counters(&f->alice).messages_acked, 5001);
}

static void a_late_home_is_not_taken_for_a_peer_that_sends_too_much(void **state)
{
    fixture *f = *state;
    unsigned sent = 0;
    f->cluster.net.tap = NULL;
    meet(f, &OURS, &OURS);
    f->bob.stuck = true;
    while (say(&f->alice, "x", 1) == TR_OK) { /* each a frame of its own, most of it header and tag */
        tr__endpoint_flush(f->alice.endpoint);
        if (++sent % 100 == 0)
            test_cluster_settle(&f->cluster);
    }
    test_cluster_settle(&f->cluster);
    assert_true(sent > 20000);
    f->bob.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, sent);
    assert_int_equal(f->bob.downs, 0);
}

/* Strangers ---- */

static void who_says_hello_without_a_key_hears_why_not_and_nothing_else(void **state)
{
    fixture *f = *state;
    uint8_t bytes[600];
    tr__hello hello = {.version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
    open_node(f, &f->alice, "alice", 10, &OURS);
    f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    send_frame(f, bytes, tr__frame_put_hello(bytes, TR__FRAME_HELLO, 1, &hello), false);
    expect_refusal(f, TR_EPERM, "has no key");
    assert_false(was_seen(f, "alice"));
    assert_null(strstr(f->alice.away_why.text, "alice"));
}

static void who_has_another_key_hears_why_not_and_nothing_else(void **state)
{
    fixture *f = *state;
    open_node(f, &f->alice, "alice", 10, &OURS);
    exchange_keys(f, &OTHERS);
    greet(f);
    expect_refusal(f, TR_EPERM, "different keys");
    assert_false(was_seen(f, "alice"));
}

static void a_scripted_peer_with_the_key_is_served(void **state)
{
    fixture *f = *state;
    open_node(f, &f->alice, "alice", 10, &OURS);
    exchange_keys(f, &OURS);
    greet(f);
    assert_non_null(f->alice.peer);
    assert_string_equal(f->alice.peer->name, "mallory");
}

static void what_comes_unsealed_after_a_sealed_frame_is_cut(void **state)
{
    fixture *f = *state;
    uint8_t bytes[600];
    open_node(f, &f->alice, "alice", 10, &OURS);
    exchange_keys(f, &OURS);
    greet(f);
    send_frame(f, bytes, tr__frame_put_refuse(bytes, ++f->sequence, &(tr_error){TR_EPERM, "go"}), false);
    test_cluster_advance(&f->cluster, 2 * SECONDS);
    assert_null(f->alice.peer);
    expect_words(&f->alice.down_why, TR_EPROTO, "a refuse frame came unsealed");
}

static void what_comes_again_is_cut(void **state)
{
    fixture *f = *state;
    uint8_t bytes[600];
    open_node(f, &f->alice, "alice", 10, &OURS);
    exchange_keys(f, &OURS);
    greet(f);
    size_t size = tr__frame_put_empty(bytes, TR__FRAME_HEARTBEAT, ++f->sequence);
    size = tr__seal_close(&f->out, bytes);
    for (int i = 0; i < 2; i++) {
        assert_non_null(f->alice.peer);
        send_frame(f, bytes, size, false);
        bytes[16]++; /* the number in the header is the next, as it should be */
    }
    test_cluster_advance(&f->cluster, 2 * SECONDS);
    assert_null(f->alice.peer);
    expect_words(&f->alice.down_why, TR_EPROTO, "a sealed heartbeat frame was altered, repeated or moved");
}

static void a_sealed_frame_before_the_keys_is_cut(void **state)
{
    fixture *f = *state;
    uint8_t bytes[600];
    for (int keyed = 0; keyed < 2; keyed++) {
        open_node(f, &f->alice, "alice", 10, keyed ? &OURS : NULL);
        f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
        send_frame(f, bytes, tr__frame_put_empty(bytes, TR__FRAME_HEARTBEAT, 1), true);
        expect_refusal(f, TR_EPROTO, "before keys were exchanged");
        memory_raw_close(f->raw);
        f->raw = NULL;
        test_cluster_destroy(&f->cluster, &f->alice);
    }
}

static void who_goes_silent_after_its_key_is_cut_after_five_seconds_in_all(void **state)
{
    fixture *f = *state;
    tr__psk_pair pair;
    open_node(f, &f->alice, "alice", 10, &OURS);
    f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    test_cluster_advance(&f->cluster, 4 * SECONDS);
    say_key(f, &pair);
    test_cluster_advance(&f->cluster, SECONDS - 1);
    assert_int_equal(f->alice.turned_away, 0);
    test_cluster_advance(&f->cluster, 1);
    assert_int_equal(f->alice.turned_away, 1);
    expect_words(&f->alice.away_why, TR_EDEADLINE, "no handshake within 5.0 s");
}

static void without_the_key_nobody_makes_a_node_take_much_memory(void **state)
{
    enum { PEER_MAX = sizeof(tr__link) + 3 * TR__FRAME_SIZE_HELLO + 8192 }; /* the last: of the test's net */
    fixture *f = *state;
    tr__psk_pair pair;
    tr__stream *raw[2 * TR__UNAUTHENTICATED_MAX];
    uint8_t bytes[TR__FRAME_SIZE_HELLO] = {0};
    f->cluster.net.tap = NULL;
    open_node(f, &f->alice, "alice", 10, &OURS);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 2 * TR__UNAUTHENTICATED_MAX; i++) {
        f->raw = NULL;
        say_key(f, &pair);
        raw[i] = f->raw;
        tr__frame_put_header(bytes, TR__FRAME_HELLO, 450, ++f->sequence); /* most of it, but never its end */
        bytes[7] = 1;
        send_frame(f, bytes, 400, false);
    }
    assert_true(mallinfo2().uordblks - before <= (size_t)TR__UNAUTHENTICATED_MAX * PEER_MAX + 256 * 1024);
    f->raw = NULL;
    for (int i = 0; i < 2 * TR__UNAUTHENTICATED_MAX; i++)
        memory_raw_close(raw[i]);
    test_cluster_settle(&f->cluster);
    for (uint64_t i = 0; i < 3; i++) { /* a frame that claims much is refused by its header */
        say_key(f, &pair);
        tr__frame_put_header(bytes, TR__FRAME_BATCH, 16u << 20, 1);
        bytes[7] = (uint8_t)(i & 1);
        memset(bytes + 8, i == 2 ? 0xff : bytes[11], i == 2 ? 4 : 0);
        send_frame(f, bytes, sizeof bytes, false);
        assert_true(mallinfo2().uordblks - before < PEER_MAX + 64 * 1024);
        memory_raw_close(f->raw);
        f->raw = NULL;
        test_cluster_settle(&f->cluster);
    }
    open_node(f, &f->bob, "bob", 20, &OURS); /* and who has it is served */
    test_dial(&f->bob, &f->alice);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->bob.peer);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(two_nodes_with_the_same_key_talk),
        CASE(a_node_with_a_key_and_one_without_refuse_each_other_by_name),
        CASE(two_nodes_with_different_keys_refuse_each_other_by_name),
        CASE(with_a_wrong_key_a_node_dials_on_with_pauses),
        CASE(the_rules_of_a_handshake_hold_behind_the_seal),
        CASE(of_two_that_dial_each_other_one_connection_stays),
        CASE(nothing_that_nodes_say_can_be_read_on_the_way),
        CASE(a_byte_changed_anywhere_on_the_way_ends_the_connection),
        CASE(large_messages_and_very_many_small_ones_arrive),
        CASE(a_late_home_is_not_taken_for_a_peer_that_sends_too_much),
        CASE(who_says_hello_without_a_key_hears_why_not_and_nothing_else),
        CASE(who_has_another_key_hears_why_not_and_nothing_else),
        CASE(a_scripted_peer_with_the_key_is_served),
        CASE(what_comes_unsealed_after_a_sealed_frame_is_cut),
        CASE(what_comes_again_is_cut),
        CASE(a_sealed_frame_before_the_keys_is_cut),
        CASE(who_goes_silent_after_its_key_is_cut_after_five_seconds_in_all),
        CASE(without_the_key_nobody_makes_a_node_take_much_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
