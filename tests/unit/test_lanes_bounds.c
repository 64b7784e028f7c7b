/* What bounds a connection's lanes: credit, queues, who takes nothing; and peers that break the rules or know no bulk lane.
 * Over the net in memory, under stepped time. */
#include "tests/unit/lanes_fixture.h"

/* Bounds ---- */

static void no_more_is_under_way_than_was_granted_and_no_more_waits_than_the_bound(void **state)
{
    fixture *f = *state;
    size_t sent = 0;
    f->bob.stuck = true;
    while (send_large(f, 1000000) == TR_OK) {
        sent += 1000000;
        test_cluster_settle(&f->cluster);
    }
    tr__connection_counters c = test_counters(&f->alice);
    assert_in_range(c.bulk_spent, WINDOW - TR__CHUNK_FRAME_MAX, WINDOW);
    assert_int_equal(c.bulk_granted_to_us, WINDOW);
    assert_in_range(c.bulk_queued, (8 << 20) - 1000000, 8 << 20);
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, "abc", 3), TR_OK);
    assert_int_equal(f->alice.writables, 0);
    f->bob.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
    assert_int_equal(f->bob.bytes, sent + 3);
    assert_int_equal(f->released * 1000000, sent);
}

static void who_takes_nothing_for_ten_seconds_is_cut_and_counted(void **state)
{
    fixture *f = *state;
    tr__endpoint_counters counters;
    for (int i = 0; i < 10; i++) { /* slowly is not nothing */
        f->bob.stuck = true;
        assert_int_equal(send_large(f, 2 * WINDOW), TR_OK);
        test_cluster_advance(&f->cluster, 5 * SECONDS);
        f->bob.stuck = false;
        test_cluster_settle(&f->cluster);
    }
    test_cluster_advance(&f->cluster, 100 * SECONDS);
    assert_int_equal(f->alice.downs, 0);
    f->bob.stuck = true;
    assert_int_equal(send_large(f, 2 * WINDOW), TR_OK);
    test_cluster_advance(&f->cluster, 9 * SECONDS);
    assert_int_equal(f->alice.downs, 0);
    test_cluster_advance(&f->cluster, 3 * SECONDS);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.down_why.code, TR_EFULL);
    assert_non_null(strstr(f->alice.down_why.text, "node bob took nothing for 1"));
    tr__endpoint_counters_get(f->alice.endpoint, &counters);
    assert_int_equal(counters.peers_stuck, 1);
    assert_int_equal(f->alice.unknown, 1);
}

static void who_takes_all_while_this_side_is_stuck_is_not_cut(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[50000];
    f->bob.stuck = true;
    while (tr__endpoint_send(f->alice.endpoint, f->alice.peer, bytes, sizeof bytes) == TR_OK)
        test_cluster_settle(&f->cluster);
    f->bob.stuck = false;
    f->alice.stuck = true; /* it doesn't hear that there is credit again */
    test_cluster_advance(&f->cluster, 60 * SECONDS);
    assert_int_equal(f->alice.downs, 0);
    f->alice.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
}

static void who_stood_still_itself_takes_nobody_to_be_stuck(void **state)
{
    fixture *f = *state;
    f->bob.stuck = true;
    assert_int_equal(send_large(f, 2 * WINDOW), TR_OK);
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    f->cluster.now_ns += 60 * SECONDS;
    test_cluster_advance(&f->cluster, 4 * SECONDS);
    assert_int_equal(f->alice.downs, 0);
    test_cluster_advance(&f->cluster, 2 * SECONDS);
    assert_int_equal(f->alice.down_why.code, TR_EFULL);
}

/* Else its sender would try again and again, and be refused. */
static void the_notice_comes_when_there_is_room_for_what_was_refused(void **state)
{
    fixture *f = *state;
    f->bob.stuck = true;
    for (int i = 0; i < 4; i++)
        assert_int_equal(send_large(f, 1000000), TR_OK);
    assert_int_equal(send_large(f, 6000000), TR_EAGAIN);
    test_cluster_settle(&f->cluster);
    assert_true(test_counters(&f->alice).bulk_queued < 4000000);
    assert_int_equal(f->alice.writables, 0);
    f->bob.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
}

/* As much as either lane takes, each round, both ways; what is refused is sent when it may be. */
static void two_that_flood_each_other_on_both_lanes_go_on(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[30000];
    test_node *nodes[] = {&f->alice, &f->bob};
    uint64_t sent[2] = {0, 0};
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 2; i++) {
            test_node *n = nodes[i];
            while (tr__endpoint_send(n->endpoint, n->peer, bytes, sizeof bytes) == TR_OK)
                sent[i] += sizeof bytes;
            while (send_large_from(f, n, 700000) == TR_OK)
                sent[i] += 700000;
        }
        for (int step = 0; step < 20; step++) { /* not until all is at rest */
            memory_net_step(&f->cluster.net);
            for (int i = 0; i < 2; i++) {
                if (tr__endpoint_has_news(nodes[i]->endpoint))
                    tr__endpoint_take(nodes[i]->endpoint);
                tr__endpoint_flush(nodes[i]->endpoint);
            }
        }
    }
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.bytes, sent[0]);
    assert_int_equal(f->alice.bytes, sent[1]);
    assert_in_range(sent[0], 20 << 20, sent[1] * 2); /* more than twice what waits at most */
    assert_int_equal(f->alice.downs + f->bob.downs, 0);
    assert_true(f->alice.writables > 0 && f->bob.writables > 0);
}

static void without_credit_the_writable_notice_comes_with_it(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[50000];
    f->bob.stuck = true;
    while (tr__endpoint_send(f->alice.endpoint, f->alice.peer, bytes, sizeof bytes) == TR_OK)
        test_cluster_settle(&f->cluster);
    while (send_large(f, 3000000) == TR_OK)
        test_cluster_settle(&f->cluster);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->alice.writables, 0);
    tr__connection_counters c = test_counters(&f->alice);
    assert_true(c.bulk_queued <= 8 << 20);
    f->bob.stuck = false;
    test_cluster_settle(&f->cluster);
    assert_true(f->alice.writables > 0);
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, bytes, sizeof bytes), TR_OK);
    assert_int_equal(send_large(f, 3000000), TR_OK);
}

/* Others ---- */

static void a_node_without_a_bulk_lane_gets_large_messages_as_before(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[3 << 20];
    open_node(f, &f->alice, "alice", 10, NULL);
    f->config.bulk_window = 0;
    open_node(f, &f->bob, "bob", 20, NULL);
    test_dial(&f->bob, &f->alice);
    test_cluster_settle(&f->cluster);
    assert_false(f->alice.peer->lanes);
    assert_false(f->bob.peer->lanes);
    assert_int_equal(f->alice.peer->message_max, 0);
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, bytes, sizeof bytes), TR_OK);
    assert_int_equal(tr__endpoint_send(f->bob.endpoint, f->bob.peer, bytes, sizeof bytes), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.bytes, sizeof bytes);
    assert_int_equal(f->bob.bytes, sizeof bytes);
}

static void a_peer_says_how_large_a_message_it_takes(void **state)
{
    fixture *f = *state;
    assert_true(f->alice.peer->lanes);
    assert_int_equal(f->alice.peer->message_max, MAX);
    assert_int_equal(f->bob.peer->message_max, MAX);
}

static void a_node_that_learns_has_the_bulk_lane_as_well(void **state)
{
    fixture *f = *state;
    tr_error error;
    tr__endpoint_options options = test_options("bob", 20);
    options.connection = &f->config;
    options.learn = true;
    open_node(f, &f->alice, "alice", 10, NULL);
    assert_int_equal(test_cluster_open(&f->cluster, &f->bob, &options, &error), TR_OK);
    tr__endpoint_tune(f->bob.endpoint, &f->config); /* which says what is said of lanes anew */
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_true(f->alice.peer->lanes && f->alice.peer->learns && tr__peer_hears_refusals(f->alice.peer));
    assert_true(f->bob.peer->lanes && tr__peer_hears_refusals(f->bob.peer));
    assert_false(f->bob.peer->learns);
}

static void say(fixture *f, uint8_t *bytes, size_t size)
{
    memory_raw_write(f->raw, bytes, size);
    test_cluster_settle(&f->cluster);
}

/* mallory dials alice and is up. */
static void raw_up(fixture *f, uint32_t capabilities)
{
    uint8_t bytes[512];
    tr__hello hello = {.version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
    hello.capabilities = capabilities;
    hello.message_max = MAX;
    open_node(f, &f->alice, "alice", 10, NULL);
    f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    say(f, bytes, tr__frame_put_hello(bytes, TR__FRAME_HELLO, ++f->sequence[TR__LANE_CONTROL], &hello));
    say(f, bytes, tr__frame_put_grant(bytes, ++f->sequence[TR__LANE_CONTROL], WINDOW));
    assert_non_null(f->alice.peer);
}

static void say_chunk(fixture *f, uint64_t left, size_t length, uint32_t messages)
{
    uint8_t *bytes = calloc(1, TR__CHUNK_OVERHEAD + length);
    uint64_t sequence = ++f->sequence[TR__LANE_BULK];
    tr__frame_put_chunk(bytes, left, messages, (uint32_t)length, sequence);
    tr__frame_finish(bytes, TR__FRAME_CHUNK, (uint32_t)(TR__CHUNK_OVERHEAD - TR__FRAME_HEADER + length),
                     sequence);
    say(f, bytes, TR__CHUNK_OVERHEAD + length);
    free(bytes);
}

static void expect_refused(fixture *f, tr_err code, const char *words)
{
    static uint8_t bytes[1 << 20];
    test_cluster_settle(&f->cluster);
    assert_true(memory_raw_read(f->raw, bytes, sizeof bytes) > 0);
    test_cluster_advance(&f->cluster, 2 * SECONDS);
    assert_true(memory_raw_is_cut(f->raw));
    assert_int_equal(f->alice.downs, 1);
    if (f->alice.down_why.code != code || !strstr(f->alice.down_why.text, words))
        fail_msg("'%s' doesn't say '%s'", f->alice.down_why.text, words);
}

static void who_sends_more_than_was_granted_is_cut(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_LANES);
    f->alice.stuck = true; /* so nothing is granted again */
    for (uint64_t left = MAX; left > MAX - WINDOW - 200000; left -= 100000)
        say_chunk(f, left, 100000, 0);
    f->alice.stuck = false;
    expect_refused(f, TR_EPROTO, "a chunk of 100036 bytes came where 48216 were granted");
}

static void who_sends_a_chunk_that_does_not_go_on_is_cut(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_LANES);
    say_chunk(f, 200000, 1000, 0);
    say_chunk(f, 200000, 1000, 0);
    expect_refused(f, TR_EPROTO, "a chunk came with 200000 bytes left where 199000 were");
}

static void who_sends_a_larger_message_than_is_taken_is_cut(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_LANES);
    say_chunk(f, MAX + 1, 1000, 0);
    expect_refused(f, TR_ETOOBIG, "a message of 4194305 bytes came; this node takes 4194304");
}

/* mallory lives, and says no more than that. */
static void pass(fixture *f, unsigned seconds)
{
    uint8_t bytes[64];
    for (unsigned i = 0; i < seconds && f->alice.downs == 0; i++) {
        say(f, bytes, tr__frame_put_empty(bytes, TR__FRAME_HEARTBEAT, ++f->sequence[TR__LANE_CONTROL]));
        test_cluster_advance(&f->cluster, SECONDS);
    }
}

static void who_begins_a_message_and_sends_nothing_more_is_cut(void **state)
{
    fixture *f = *state;
    uint64_t left = 1 << 30;
    f->config.message_max = left;
    raw_up(f, TR__CAPABILITY_LANES);
    for (int i = 0; i < 3; i++, left -= 1000) { /* slowly is not nothing */
        say_chunk(f, left, 1000, 0);
        pass(f, 9);
    }
    f->alice.stuck = true; /* and who doesn't look may not complain */
    say_chunk(f, left, 1000, 0);
    pass(f, 30);
    f->alice.stuck = false;
    test_cluster_settle(&f->cluster);
    pass(f, 9);
    f->cluster.now_ns += 30 * SECONDS; /* nor who stood still */
    assert_int_equal(f->alice.downs, 0);
    assert_int_equal(partial_of(&f->alice), 0);
    pass(f, 3);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.down_why.code, TR_EDEADLINE);
    if (!strstr(f->alice.down_why.text,
                "node mallory began a message, and sent nothing of the other 1073737824 bytes for 1"))
        fail_msg("%s", f->alice.down_why.text);
    uint8_t said[512];
    while (memory_raw_read(f->raw, said, sizeof said) > 0)
        ;
    assert_true(memory_raw_is_cut(f->raw));
    assert_int_equal(partial_of(&f->alice), 1);
}

static void who_sends_nothing_between_messages_is_left_alone(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_LANES);
    say_chunk(f, 200000, 100000, 0);
    say_chunk(f, 100000, 100000, 1);
    pass(f, 60);
    assert_int_equal(f->alice.downs, 0);
    assert_int_equal(f->alice.bytes, 200000);
}

static void who_said_nothing_of_lanes_may_not_use_them(void **state)
{
    fixture *f = *state;
    raw_up(f, 0);
    say_chunk(f, 1000, 1000, 1);
    expect_refused(f, TR_EPROTO, "a chunk of 1036 bytes came where 0 were granted");
}

/* Nodes that have the bulk lane and can't be told are those of the landing before. */
static void refusals_are_told_only_to_who_said_that_it_hears_them(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_LANES | TR__CAPABILITY_LEARN);
    assert_true(f->alice.peer->lanes);
    assert_false(tr__peer_hears_refusals(f->alice.peer));
}

static void who_said_that_it_hears_refusals_is_told(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_LANES | TR__CAPABILITY_REFUSE);
    assert_true(tr__peer_hears_refusals(f->alice.peer));
}

static void refusals_go_with_the_bulk_lane(void **state)
{
    fixture *f = *state;
    raw_up(f, TR__CAPABILITY_REFUSE);
    assert_false(tr__peer_hears_refusals(f->alice.peer));
}

/* An earlier version's end: its frames are those of before, and it is sent no others. */
static void an_earlier_version_hears_no_frame_that_it_does_not_know(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[4 << 20], large[1 << 20];
    tr__frame frame;
    unsigned batches = 0;
    raw_up(f, 0);
    assert_false(f->alice.peer->lanes);
    assert_int_equal(tr__endpoint_send(f->alice.endpoint, f->alice.peer, large, sizeof large - 200), TR_OK);
    test_cluster_settle(&f->cluster);
    test_cluster_advance(&f->cluster, 2 * SECONDS);
    size_t length = 0, more;
    while ((more = memory_raw_read(f->raw, bytes + length, sizeof bytes - length)) > 0) {
        length += more;
        test_cluster_settle(&f->cluster);
    }
    for (size_t at = 0; at < length; at += frame.size) {
        assert_int_equal(tr__frame_decode(bytes + at, length - at, TR__FRAME_SIZE_MAX, &frame, NULL), TR_OK);
        assert_in_range(frame.kind, TR__FRAME_HELLO, TR__FRAME_KEY);
        batches += frame.kind == TR__FRAME_BATCH;
    }
    assert_int_equal(batches, 1);
}

int main(void)
{
#define PAIR(name)  cmocka_unit_test_setup_teardown(name, setup_pair, teardown)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        PAIR(no_more_is_under_way_than_was_granted_and_no_more_waits_than_the_bound),
        PAIR(without_credit_the_writable_notice_comes_with_it),
        PAIR(the_notice_comes_when_there_is_room_for_what_was_refused),
        PAIR(two_that_flood_each_other_on_both_lanes_go_on),
        PAIR(who_takes_nothing_for_ten_seconds_is_cut_and_counted),
        PAIR(who_takes_all_while_this_side_is_stuck_is_not_cut),
        PAIR(who_stood_still_itself_takes_nobody_to_be_stuck),
        ALONE(a_node_without_a_bulk_lane_gets_large_messages_as_before),
        ALONE(a_node_that_learns_has_the_bulk_lane_as_well),
        PAIR(a_peer_says_how_large_a_message_it_takes),
        ALONE(who_sends_more_than_was_granted_is_cut),
        ALONE(who_sends_a_chunk_that_does_not_go_on_is_cut),
        ALONE(who_sends_a_larger_message_than_is_taken_is_cut),
        ALONE(who_begins_a_message_and_sends_nothing_more_is_cut),
        ALONE(who_sends_nothing_between_messages_is_left_alone),
        ALONE(who_said_nothing_of_lanes_may_not_use_them),
        ALONE(refusals_are_told_only_to_who_said_that_it_hears_them),
        ALONE(who_said_that_it_hears_refusals_is_told),
        ALONE(refusals_go_with_the_bulk_lane),
        ALONE(an_earlier_version_hears_no_frame_that_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
