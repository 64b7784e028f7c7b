/* One connection: credit, acks, heartbeats, goodbye, and a peer that breaks every rule. Over the net in
 * memory, under stepped time; the misbehaving peer is written out frame by frame. */
#include "tests/unit/connection_fixture.h"

static void messages_of_a_turn_share_one_batch(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(send_size(f, 10), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(out(f).batches_out, 1);
    assert_int_equal(f->bob.messages, 100);
    assert_int_equal(f->bob.bytes, 1000);
}

static void what_gathers_during_a_send_goes_next(void **state)
{
    fixture *f = *state;
    f->cluster.net.frozen = true;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(send_size(f, 10), TR_OK);
        tr__endpoint_flush(f->alice.endpoint);
    }
    assert_int_equal(out(f).batches_out, 1);
    f->cluster.net.frozen = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 5);
}

static void without_credit_a_send_is_refused_and_one_notice_follows(void **state)
{
    fixture *f = *state;
    unsigned sent = 0;
    f->bob.hold = true;
    while (send_size(f, 1000) == TR_OK)
        sent++;
    assert_in_range(sent, WINDOW / 1000 - 2, WINDOW / 1000);
    assert_int_equal(send_size(f, 1000), TR_EAGAIN);
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    assert_int_equal(f->alice.writables, 0);
    assert_int_equal(f->bob.messages, sent);
    tr__endpoint_consumed(f->bob.endpoint, f->bob.peer, WINDOW / 8); /* too little for a grant */
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 0);
    tr__endpoint_consumed(f->bob.endpoint, f->bob.peer, WINDOW / 4);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
    assert_int_equal(send_size(f, 1000), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
}

static void credit_never_runs_dry_while_the_receiver_keeps_up(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(send_size(f, 1 + (size_t)(i * 7919) % 900), TR_OK);
        if (i % 20 == 0)
            test_cluster_settle(&f->cluster);
    }
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->bob.messages, 5000);
    assert_int_equal(out(f).messages_acked, 5000);
    assert_int_equal(test_counters(&f->bob).consumed, test_counters(&f->bob).received);
    assert_int_equal(test_counters(&f->bob).received, out(f).spent);
}

static void a_message_beyond_the_window_goes_when_the_receiver_is_idle(void **state)
{
    fixture *f = *state;
    assert_int_equal(send_size(f, 40000), TR_OK);
    assert_int_equal(send_size(f, 3 << 20), TR_EAGAIN); /* not idle */
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
    assert_int_equal(send_size(f, 3 << 20), TR_OK);
    assert_int_equal(send_size(f, 1), TR_EAGAIN);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.bytes, 40000 + (3 << 20));
    assert_int_equal(send_size(f, 16 << 20), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.bytes, 40000 + (19 << 20));
    assert_non_null(f->bob.peer);
}

static void nothing_and_too_much_are_no_messages(void **state)
{
    fixture *f = *state;
    assert_int_equal(send_size(f, 0), TR_EINVAL);
    assert_int_equal(send_size(f, (16 << 20) + 1), TR_ETOOBIG);
}

static void what_is_queued_for_a_peer_is_bounded(void **state)
{
    fixture *f = *state;
    f->config.window = 64 << 20;
    f->config.queue_max = 1 << 20;
    open_node(f, &f->bob, "bob", 20);
    test_cluster_destroy(&f->cluster, &f->alice);
    open_node(f, &f->alice, "alice", 10);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    f->cluster.net.frozen = true;
    size_t sent = 0;
    while (send_size(f, 10000) == TR_OK && sent < (8 << 20)) {
        sent += 10000;
        tr__endpoint_flush(f->alice.endpoint);
    }
    assert_in_range(sent, 900000, 1 << 20);
    f->cluster.net.frozen = false;
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.writables, 1);
}

static void an_encoder_may_use_less_than_it_reserved(void **state)
{
    fixture *f = *state;
    uint8_t *at;
    assert_int_equal(tr__endpoint_reserve(f->alice.endpoint, f->alice.peer, 5000, &at), TR_OK);
    assert_int_equal(tr__endpoint_reserve(f->alice.endpoint, f->alice.peer, 5000, &at),
                     TR_OK); /* the first: forgotten */
    memcpy(at, "abc", 3);
    tr__endpoint_commit(f->alice.endpoint, f->alice.peer, 3);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 1);
    assert_int_equal(f->bob.bytes, 3);
}

/* One of up to 100 bytes, by the short way where that is open; false: not now. */
static bool send_either_way(fixture *f, size_t length, uint8_t byte, unsigned *short_ways)
{
    tr__peer *peer = f->alice.peer;
    uint8_t *at = tr__endpoint_place(peer, 100);
    bool is_short = at != NULL;
    if (!is_short && tr__endpoint_reserve(f->alice.endpoint, peer, 100, &at) != TR_OK)
        return false;
    memset(at, byte, length);
    if (is_short)
        tr__endpoint_placed(peer, length);
    else
        tr__endpoint_commit(f->alice.endpoint, peer, length);
    *short_ways += is_short;
    return true;
}

static void the_short_way_of_a_send_keeps_to_the_credit_and_loses_nothing(void **state)
{
    fixture *f = *state;
    tr__random random;
    tr__random_init(&random, 5);
    uint64_t sent = 0, sum = 0, refused = 0;
    unsigned short_ways = 0;
    for (int round = 0; round < 300; round++) {
        f->cluster.net.at_once = round % 2;
        for (uint64_t left = tr__random_below(&random, 2000); left;
             left--) { /* more than the window, at times */
            size_t length = 1 + tr__random_below(&random, 100);
            uint8_t byte = (uint8_t)tr__random_next(&random);
            if (!send_either_way(f, length, byte, &short_ways)) {
                refused++;
                break;
            }
            sent++;
            for (size_t i = 0; i < length; i++)
                sum = sum * 31 + byte;
            tr__connection_counters counters = test_counters(&f->alice);
            assert_true(counters.spent <= counters.granted_to_us);
            assert_int_equal(counters.messages_out, sent);
        }
        test_cluster_settle(&f->cluster);
        assert_int_equal(f->bob.messages, sent);
        assert_true(f->bob.sum == sum); /* all of them, in order */
    }
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(test_counters(&f->alice).messages_acked, sent);
    assert_true(refused > 10);
    assert_true(short_ways > sent / 2);
}

static void a_failed_allocation_refuses_one_send_only(void **state)
{
    fixture *f = *state;
    tr__alloc_fail_at(1);
    assert_int_equal(send_size(f, 10), TR_ENOMEM);
    tr__alloc_fail_at(0);
    assert_int_equal(send_size(f, 10), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 1);
}

/* Acks, silence, the end ---- */

static void what_is_not_known_to_have_arrived_is_counted_exactly(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 10; i++)
        send_size(f, 10);
    test_cluster_advance(&f->cluster, 100 * MILLISECONDS);
    assert_int_equal(out(f).messages_acked, 10);
    for (int i = 0; i < 7; i++)
        send_size(f, 10);
    test_cluster_settle(&f->cluster); /* arrived, but the ack still waits for a batch to ride with */
    assert_int_equal(f->bob.messages, 17);
    for (int i = 0; i < 5; i++)
        send_size(f, 10);
    memory_net_cut(&f->cluster.net);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.unknown, 12);
}

static void disconnecting_drains_both_ways(void **state)
{
    fixture *f = *state;
    tr__endpoint_forget(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint));
    for (int i = 0; i < 50; i++) {
        send_size(f, 100);
        tr__endpoint_send(f->bob.endpoint, f->bob.peer, "abc", 3);
    }
    tr__endpoint_disconnect(f->alice.endpoint, f->alice.peer);
    assert_int_equal(send_size(f, 1), TR_ECLOSED);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.messages, 50);
    assert_int_equal(f->bob.messages, 50);
    assert_int_equal(f->alice.unknown + f->bob.unknown, 0);
    assert_int_equal(f->alice.down_why.code, TR_ECLOSED);
    assert_int_equal(f->bob.down_why.code, TR_ECLOSED);
}

/* A peer that breaks the rules ---- */

static void a_scripted_peer_that_keeps_the_rules_is_served(void **state)
{
    fixture *f = *state;
    uint8_t bytes[4096], frame[64];
    shake_hands(f);
    assert_string_equal(f->alice.peer->name, "mallory");
    say_batch(f, 100, 3);
    assert_int_equal(f->alice.messages, 3);
    test_cluster_advance(&f->cluster, 20 * MILLISECONDS);
    assert_int_equal(last_frame(f, bytes, sizeof bytes).kind, TR__FRAME_ACK);
    say(f, frame, TR__FRAME_GOODBYE, 0);
    test_cluster_settle(&f->cluster);
    assert_int_equal(last_frame(f, bytes, sizeof bytes).kind, TR__FRAME_GOODBYE);
    assert_true(memory_raw_is_cut(f->raw));
    assert_int_equal(f->alice.down_why.code, TR_ECLOSED);
}

static void more_than_was_granted_is_cut(void **state)
{
    fixture *f = *state;
    f->alice.hold = true;
    shake_hands(f);
    say_batch(f, WINDOW - 1000, 1);
    assert_non_null(f->alice.peer);
    say_batch(f, 2000, 1);
    expect_refused(f, TR_EPROTO, "a batch of 2000 bytes came where");
}

static void what_a_stuck_home_leaves_unread_is_bounded(void **state)
{
    fixture *f = *state;
    shake_hands(f);
    f->alice.stuck = true;
    for (int i = 0; i < 40; i++)
        say_batch(f, 4096, 1);
    f->alice.stuck = false;
    expect_refused(f, TR_EPROTO, "the other side sent more than it was granted: 1");
    assert_true(f->alice.bytes <= 2 * WINDOW + TR__CONTROL_UNREAD_MAX);
}

static void a_batch_before_the_grant_is_cut(void **state)
{
    fixture *f = *state;
    say_hello(f);
    say_batch(f, 100, 1);
    expect_refused(f, TR_EPROTO, "a batch frame came in state answered");
}

static void a_newer_connection_of_a_node_replaces_the_older_which_is_down_first(void **state)
{
    fixture *f = *state;
    shake_hands(f);
    tr__stream *first = f->raw;
    f->sequence[TR__LANE_CONTROL] = 0;
    say_hello(f);
    say_grant(f, WINDOW);
    assert_int_equal(f->alice.ups, 2);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.downs_at_up, 1);
    assert_true(strstr(f->alice.down_why.text, "replaced it by a newer connection") != NULL);
    memory_raw_close(first);
}

static void a_second_hello_is_cut(void **state)
{
    fixture *f = *state;
    uint8_t frame[512];
    tr__hello hello = {.version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
    shake_hands(f);
    say(f, frame, TR__FRAME_HELLO, tr__frame_put_hello(frame, TR__FRAME_HELLO, 1, &hello) - TR__FRAME_HEADER);
    expect_refused(f, TR_EPROTO, "a hello frame came in state up");
}

static void acks_of_what_was_never_sent_are_cut(void **state)
{
    fixture *f = *state;
    uint8_t frame[512];
    shake_hands(f);
    say(f, frame, TR__FRAME_ACK, tr__frame_put_ack(frame, 1, &(tr__ack){1, 1}) - TR__FRAME_HEADER);
    expect_refused(f, TR_EPROTO, "an ack of 1 messages came where 0 were sent");
}

static void grants_beyond_the_window_are_cut(void **state)
{
    fixture *f = *state;
    shake_hands(f);
    say_grant(f, UINT64_MAX);
    expect_refused(f, TR_EPROTO, "a grant up to byte 18446744073709551615");
}

static void a_first_grant_of_nothing_is_cut(void **state)
{
    fixture *f = *state;
    say_hello(f);
    say_grant(f, 0);
    expect_refused(f, TR_EPROTO, "a grant up to byte 0");
}

static void a_batch_after_goodbye_is_cut(void **state)
{
    fixture *f = *state;
    uint8_t frame[64];
    shake_hands(f);
    send_size(f, 10); /* never acknowledged: keeps the goodbye waiting */
    say(f, frame, TR__FRAME_GOODBYE, 0);
    say_batch(f, 100, 1);
    expect_refused(f, TR_EPROTO, "a batch came after goodbye");
    assert_int_equal(f->alice.unknown, 1);
}

static void a_damaged_frame_is_cut(void **state)
{
    fixture *f = *state;
    uint8_t frame[100] = {0};
    shake_hands(f);
    tr__frame_put_count(frame + TR__FRAME_HEADER, 1);
    tr__frame_finish(frame, TR__FRAME_BATCH, 76, 1);
    frame[99] ^= 1;
    memory_raw_write(f->raw, frame, 100);
    expect_refused(f, TR_EPROTO, "arrived damaged");
    assert_int_equal(f->alice.messages, 0);
}

static void any_damage_anywhere_ends_in_an_orderly_way(void **state)
{
    fixture *f = *state;
    tr__random random;
    tr__random_init(&random, 3);
    for (int round = 0; round < 400; round++) {
        uint8_t bytes[2000] = {0};
        tr__hello hello = {
            .version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
        size_t length = tr__frame_put_hello(bytes, TR__FRAME_HELLO, 1, &hello);
        length += tr__frame_put_grant(bytes + length, 2, WINDOW);
        for (uint64_t n = 1; n <= 5; n++) {
            tr__frame_put_count(bytes + length + TR__FRAME_HEADER, 1);
            tr__frame_finish(bytes + length, TR__FRAME_BATCH, 100, n);
            length += TR__FRAME_HEADER + 100;
        }
        size_t at = tr__random_below(&random, length);
        bytes[at] ^= (uint8_t)(1 + tr__random_below(&random, 255));
        f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
        f->cluster.net.piece_max = round % 2 ? 50 : 0;
        f->cluster.net.at_once = round % 3 == 0;
        memory_raw_write(f->raw, bytes, length);
        test_cluster_advance(&f->cluster, 16 * SECONDS); /* a length too long only shows by silence */
        assert_true(f->alice.messages <= 4 * (uint64_t)(round + 1));
        assert_null(f->alice.peer);
        memory_raw_close(f->raw);
        f->raw = NULL;
        test_cluster_settle(&f->cluster);
        assert_int_equal(f->cluster.net.streams_open, 0);
    }
}

int main(void)
{
#define CASE(name)   cmocka_unit_test_setup_teardown(name, setup_pair, teardown)
#define SCRIPT(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(messages_of_a_turn_share_one_batch),
        CASE(what_gathers_during_a_send_goes_next),
        CASE(without_credit_a_send_is_refused_and_one_notice_follows),
        CASE(credit_never_runs_dry_while_the_receiver_keeps_up),
        CASE(a_message_beyond_the_window_goes_when_the_receiver_is_idle),
        CASE(nothing_and_too_much_are_no_messages),
        SCRIPT(what_is_queued_for_a_peer_is_bounded),
        CASE(an_encoder_may_use_less_than_it_reserved),
        CASE(the_short_way_of_a_send_keeps_to_the_credit_and_loses_nothing),
        CASE(a_failed_allocation_refuses_one_send_only),
        CASE(what_is_not_known_to_have_arrived_is_counted_exactly),
        CASE(disconnecting_drains_both_ways),
        SCRIPT(a_scripted_peer_that_keeps_the_rules_is_served),
        SCRIPT(more_than_was_granted_is_cut),
        SCRIPT(what_a_stuck_home_leaves_unread_is_bounded),
        SCRIPT(a_batch_before_the_grant_is_cut),
        SCRIPT(a_newer_connection_of_a_node_replaces_the_older_which_is_down_first),
        SCRIPT(a_second_hello_is_cut),
        SCRIPT(acks_of_what_was_never_sent_are_cut),
        SCRIPT(grants_beyond_the_window_are_cut),
        SCRIPT(a_first_grant_of_nothing_is_cut),
        SCRIPT(a_batch_after_goodbye_is_cut),
        SCRIPT(a_damaged_frame_is_cut),
        SCRIPT(any_damage_anywhere_ends_in_an_orderly_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
