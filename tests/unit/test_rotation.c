/* A cluster changes its key while it runs: nodes with two keys, over the net in memory, under stepped time. */
#include "tests/unit/sealed_fixture.h"

#define OLD "the key that our nodes share 123"
#define NEW "the key that they share from now"

/* The files of a node, step by step: the old key; the new one is added; it becomes the current one; the old one is
 * dropped. */
enum { STEPS = 4 };
static const tr__keys steps[STEPS] = {{1, {OLD}}, {2, {OLD, NEW}}, {2, {NEW, OLD}}, {1, {NEW}}};

/* Helpers ---- */

/* Both ways, and it is known to have arrived. */
static void expect_talk(fixture *f)
{
    uint64_t before = f->alice.messages + f->bob.messages;
    assert_int_equal(say(&f->alice, SENTENCE, sizeof SENTENCE), TR_OK);
    assert_int_equal(say(&f->bob, SENTENCE, sizeof SENTENCE), TR_OK);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->alice.messages + f->bob.messages, before + 2);
    assert_int_equal(test_counters(&f->alice).messages_acked, test_counters(&f->alice).messages_out);
}

static bool knows(const tr__keys *keys, const uint8_t *key)
{
    for (unsigned i = 0; i < keys->count; i++)
        if (memcmp(keys->key[i], key, TR__KEY_SIZE) == 0)
            return true;
    return false;
}

/* Tests ---- */

static void who_dials_is_met_by_who_has_its_current_key_among_its_two(void **state)
{
    fixture *f = *state;
    for (int dials = 0; dials < STEPS; dials++) {
        for (int accepts = 0; accepts < STEPS; accepts++) {
            meet(f, &steps[dials], &steps[accepts]);
            if (knows(&steps[accepts], steps[dials].key[0])) {
                assert_non_null(f->alice.peer);
                expect_talk(f);
            } else {
                assert_null(f->alice.peer);
                expect_words(&f->alice.dial_why, TR_EPERM, "the two nodes have different keys");
                expect_words(&f->bob.away_why, TR_EPERM, "the two nodes have different keys");
            }
            start_again(f);
        }
    }
}

static void while_nodes_take_one_step_after_the_other_no_pair_refuses(void **state)
{
    fixture *f = *state;
    for (int step = 0; step + 1 < STEPS; step++) {
        for (int dials = step; dials <= step + 1; dials++) {
            for (int accepts = step; accepts <= step + 1; accepts++) {
                meet(f, &steps[dials], &steps[accepts]);
                assert_non_null(f->alice.peer);
                assert_non_null(f->bob.peer);
                assert_int_equal(f->alice.dial_failures + f->bob.turned_away, 0);
                start_again(f);
            }
        }
    }
}

static void other_keys_leave_connections_as_they_are_and_hold_for_those_to_come(void **state)
{
    fixture *f = *state;
    meet(f, &steps[0], &steps[0]);
    expect_talk(f);
    tr__endpoint_set_keys(f->bob.endpoint, &steps[3]);
    test_cluster_advance(&f->cluster, 3600 * SECONDS);
    expect_talk(f);
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
    memory_net_cut(&f->cluster.net);
    test_cluster_advance(&f->cluster, 10 * SECONDS);
    assert_null(f->alice.peer);
    expect_words(&f->alice.dial_why, TR_EPERM, "different keys");
    tr__endpoint_set_keys(f->alice.endpoint, &steps[3]);
    test_cluster_advance(&f->cluster, 5 * SECONDS + 1); /* it dials again by itself */
    assert_non_null(f->alice.peer);
    expect_talk(f);
}

/* After each number of things that the net does, until the handshake is over by then. */
static void a_step_in_the_middle_of_a_handshake_refuses_nobody(void **state)
{
    fixture *f = *state;
    for (int step = 0; step + 1 < STEPS; step++) {
        unsigned after = 0;
        for (bool over = false; !over; after++) {
            open_node(f, &f->alice, "alice", 10, &steps[step]);
            open_node(f, &f->bob, "bob", 20, &steps[step]);
            test_dial(&f->alice, &f->bob);
            for (unsigned i = 0; i < after; i++) {
                memory_net_step(&f->cluster.net);
                tr__endpoint_step(f->alice.endpoint, f->cluster.now_ns);
                tr__endpoint_step(f->bob.endpoint, f->cluster.now_ns);
            }
            test_node *changes = after & 1 ? &f->alice : &f->bob;
            tr__endpoint_set_keys(changes->endpoint, &steps[step + 1]);
            tr__endpoint_counters counters;
            tr__endpoint_counters_get(f->bob.endpoint, &counters);
            over = counters.peers_up > 0 && after % 2 == 0;
            test_cluster_settle(&f->cluster);
            assert_non_null(f->alice.peer);
            assert_int_equal(f->alice.dial_failures + f->bob.turned_away, 0);
            start_again(f);
        }
        assert_true(after > 5);
    }
}

/* It proves both: that who accepted took the second key, and that it answers with it. */
static void who_dialled_with_the_other_key_is_answered_with_it(void **state)
{
    fixture *f = *state;
    uint8_t bytes[2000];
    tr__frame frame;
    open_node(f, &f->alice, "alice", 10, &steps[1]);
    exchange_keys(f, &steps[3]);
    greet(f);
    size_t length = memory_raw_read(f->raw, bytes, sizeof bytes);
    assert_true(length > TR__FRAME_HEADER);
    assert_int_equal(tr__frame_header(bytes, sizeof bytes, &frame, NULL), TR_OK);
    assert_int_equal(frame.kind, TR__FRAME_HELLO_ACK);
    assert_true(frame.sealed);
    assert_true(tr__seal_open(&f->in, bytes, &frame));
    assert_non_null(f->alice.peer);
}

/* What it says to somebody whose key is wrong. */
static size_t answer_to_a_stranger(fixture *f, const tr__keys *keys, uint8_t *bytes, size_t room)
{
    open_node(f, &f->alice, "alice", 10, keys);
    exchange_keys(f, &OTHERS);
    greet(f);
    size_t length = memory_raw_read(f->raw, bytes, room);
    memory_raw_close(f->raw);
    f->raw = NULL;
    test_cluster_destroy(&f->cluster, &f->alice);
    return length;
}

static void a_stranger_cannot_tell_whether_a_node_has_two_keys(void **state)
{
    fixture *f = *state;
    uint8_t one[600], two[600];
    size_t length = answer_to_a_stranger(f, &steps[0], one, sizeof one);
    assert_true(length > TR__FRAME_HEADER);
    assert_int_equal(answer_to_a_stranger(f, &steps[1], two, sizeof two), length);
    assert_memory_equal(one, two, length);
}

static void with_two_keys_as_well_a_bit_changed_anywhere_ends_the_connection(void **state)
{
    fixture *f = *state;
    meet(f, &steps[2], &steps[1]);
    say(&f->alice, SENTENCE, sizeof SENTENCE);
    test_cluster_settle(&f->cluster);
    size_t length = f->seen_length;
    uint64_t sum = f->bob.sum;
    for (size_t at = 0; at < length; at++) {
        start_again(f);
        f->flip_at = at;
        meet(f, &steps[2], &steps[1]);
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

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(who_dials_is_met_by_who_has_its_current_key_among_its_two),
        CASE(while_nodes_take_one_step_after_the_other_no_pair_refuses),
        CASE(other_keys_leave_connections_as_they_are_and_hold_for_those_to_come),
        CASE(a_step_in_the_middle_of_a_handshake_refuses_nobody),
        CASE(who_dialled_with_the_other_key_is_answered_with_it),
        CASE(a_stranger_cannot_tell_whether_a_node_has_two_keys),
        CASE(with_two_keys_as_well_a_bit_changed_anywhere_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
