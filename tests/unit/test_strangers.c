/* Who connects to a node and doesn't belong there: floods, silence, recordings, reflections, handshakes that break; over the
 * net in memory, under stepped time. */
#include "tests/unit/sealed_fixture.h"

#include <malloc.h>

enum { FLOOD = 10000, STRANGER_BYTES = sizeof(tr__link) + 3 * TR__FRAME_SIZE_HELLO + 8192 };

/* Helpers ---- */

static tr__stream *connect_from(fixture *f, uint64_t origin)
{
    f->cluster.net.origin = origin;
    tr__stream *raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    f->cluster.net.origin = 0;
    return raw;
}

/* One of a flood: connects, and takes its leave as soon as it is cut; at[TR__UNAUTHENTICATED_MAX + 1], zeroed. */
static void one_more(fixture *f, tr__stream **at, uint64_t origin)
{
    unsigned i = 0;
    while (at[i])
        i++;
    at[i] = connect_from(f, origin);
    test_cluster_settle(&f->cluster);
    for (i = 0; i <= TR__UNAUTHENTICATED_MAX; i++) {
        if (at[i] && memory_raw_is_cut(at[i])) {
            memory_raw_close(at[i]);
            at[i] = NULL;
        }
    }
}

static void close_all(tr__stream **at, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (at[i])
            memory_raw_close(at[i]);
}

static uint64_t displaced(const fixture *f)
{
    tr__endpoint_counters counters;
    tr__endpoint_counters_get(f->alice.endpoint, &counters);
    return counters.displaced;
}

/* Places ---- */

static void of_ten_thousand_silent_ones_the_newest_64_have_a_place_and_little_memory(void **state)
{
    fixture *f = *state;
    tr__stream *at[TR__UNAUTHENTICATED_MAX + 1] = {0};
    open_node(f, &f->alice, "alice", 10, &OURS);
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < FLOOD; i++) {
        one_more(f, at, 1);
        assert_true(f->cluster.net.streams_open <= 2 * TR__UNAUTHENTICATED_MAX);
        assert_true(mallinfo2().uordblks - before <= TR__UNAUTHENTICATED_MAX * STRANGER_BYTES + 256 * 1024);
    }
    assert_int_equal(displaced(f), FLOOD - TR__UNAUTHENTICATED_MAX);
    expect_words(&f->alice.away_why, TR_EFULL, "it had to make room");
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    assert_int_equal(f->alice.turned_away, FLOOD);
    close_all(at, TR__UNAUTHENTICATED_MAX + 1);
}

/* After a few things that the net does two more of the flood come. */
static void a_node_from_elsewhere_is_met_at_once_while_a_flood_goes_on(void **state)
{
    fixture *f = *state;
    tr__stream *at[TR__UNAUTHENTICATED_MAX + 1] = {0};
    open_node(f, &f->alice, "alice", 10, &OURS);
    open_node(f, &f->bob, "bob", 20, &OURS);
    for (int i = 0; i < 100; i++)
        one_more(f, at, 1);
    test_dial(&f->bob, &f->alice);
    tr__endpoint_step(f->bob.endpoint, f->cluster.now_ns);
    for (int i = 0; i < 500 && !f->bob.peer; i++) {
        f->cluster.net.origin = 2;                   /* only bob dials here */
        for (int things = 0; things < 4; things++) { /* who was cut is heard of as well */
            memory_net_step(&f->cluster.net);
            tr__endpoint_step(f->bob.endpoint, f->cluster.now_ns);
            tr__endpoint_take(f->bob.endpoint);
            tr__endpoint_step(f->alice.endpoint, f->cluster.now_ns);
        }
        for (int more = 0; more < 2; more++) {
            tr__stream *raw = connect_from(f, 1);
            tr__endpoint_step(f->alice.endpoint, f->cluster.now_ns);
            memory_raw_close(raw); /* alice hears of that when the net says so */
        }
    }
    assert_non_null(f->bob.peer);
    assert_int_equal(f->bob.dial_failures, 0);
    assert_true(displaced(f) > 100 - TR__UNAUTHENTICATED_MAX); /* it went on meanwhile */
    close_all(at, TR__UNAUTHENTICATED_MAX + 1);
}

static void who_floods_from_one_address_displaces_itself_only(void **state)
{
    fixture *f = *state;
    tr__stream *at[TR__UNAUTHENTICATED_MAX + 1] = {0}, *others[3];
    open_node(f, &f->alice, "alice", 10, &OURS);
    for (uint64_t i = 0; i < 3; i++)
        others[i] = connect_from(f, 2 + i / 2); /* two of one address, one of another */
    for (int i = 0; i < 1000; i++)
        one_more(f, at, 1);
    for (int i = 0; i < 3; i++)
        assert_false(memory_raw_is_cut(others[i]));
    test_cluster_advance(&f->cluster, 5 * SECONDS); /* like everybody's their time comes */
    for (int i = 0; i < 3; i++)
        assert_true(memory_raw_is_cut(others[i]));
    close_all(others, 3);
    close_all(at, TR__UNAUTHENTICATED_MAX + 1);
}

static void of_one_address_who_has_done_a_step_goes_after_those_who_have_not(void **state)
{
    fixture *f = *state;
    tr__stream *raw[TR__UNAUTHENTICATED_MAX], *more[TR__UNAUTHENTICATED_MAX];
    tr__psk_pair pair;
    open_node(f, &f->alice, "alice", 10, &OURS);
    for (int i = 0; i < TR__UNAUTHENTICATED_MAX; i++)
        raw[i] = connect_from(f, 1);
    test_cluster_advance(&f->cluster, SECONDS);
    f->raw = raw[0];
    say_key(f, &pair);
    f->raw = NULL;
    for (int i = 1; i < TR__UNAUTHENTICATED_MAX; i++) {
        more[i] = connect_from(f, 1);
        test_cluster_settle(&f->cluster);
        assert_true(memory_raw_is_cut(raw[i])); /* the oldest of those who have said nothing */
        assert_false(memory_raw_read(raw[0], (char[600]){0}, 600) == 0 && memory_raw_is_cut(raw[0]));
    }
    more[0] = connect_from(f, 1);
    test_cluster_settle(&f->cluster);
    assert_true(memory_raw_is_cut(raw[0]));
    close_all(raw, TR__UNAUTHENTICATED_MAX);
    close_all(more, TR__UNAUTHENTICATED_MAX);
}

/* They have the key, and don't go on. */
static void who_has_proven_itself_keeps_its_place(void **state)
{
    fixture *f = *state;
    tr__stream *raw[TR__UNAUTHENTICATED_MAX];
    uint8_t bytes[600];
    tr__hello hello = {.version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
    open_node(f, &f->alice, "alice", 10, &OURS);
    for (int i = 0; i < TR__UNAUTHENTICATED_MAX; i++) {
        exchange_keys(f, &OURS);
        send_frame(f, bytes, tr__frame_put_hello(bytes, TR__FRAME_HELLO, ++f->sequence, &hello), true);
        raw[i] = f->raw;
        f->raw = NULL;
    }
    tr__stream *late = connect_from(f, 1);
    test_cluster_settle(&f->cluster);
    assert_true(memory_raw_is_cut(late));
    expect_words(&f->alice.away_why, TR_EFULL, "64 connections are being made already");
    memory_raw_close(late);
    for (int i = 0; i < TR__UNAUTHENTICATED_MAX; i++)
        assert_false(memory_raw_is_cut(raw[i]));
    assert_int_equal(displaced(f), 0);
    close_all(raw, TR__UNAUTHENTICATED_MAX);
}

static void what_is_accepted_before_it_is_looked_at_is_bounded(void **state)
{
    enum { ALL = 2 * TR__ACCEPTING_MAX };
    fixture *f = *state;
    tr__stream *raw[ALL];
    tr__endpoint_counters counters;
    open_node(f, &f->alice, "alice", 10, &OURS);
    for (int i = 0; i < ALL; i++) /* the control thread does nothing meanwhile */
        raw[i] = connect_from(f, 1);
    unsigned open = 0;
    for (int i = 0; i < ALL; i++)
        open += !memory_raw_is_cut(raw[i]);
    assert_int_equal(open, TR__ACCEPTING_MAX);
    test_cluster_settle(&f->cluster);
    tr__endpoint_counters_get(f->alice.endpoint, &counters);
    assert_int_equal(counters.accepted, TR__ACCEPTING_MAX);
    assert_int_equal(counters.accept_refused, ALL - TR__ACCEPTING_MAX);
    close_all(raw, ALL);
    f->raw = connect_from(f, 1); /* and it goes on */
    test_cluster_settle(&f->cluster);
    assert_false(memory_raw_is_cut(f->raw));
}

/* Time ---- */

static void who_says_a_byte_a_second_has_five_seconds_like_all(void **state)
{
    fixture *f = *state;
    uint8_t bytes[600];
    size_t size = tr__frame_put_key(bytes, 1, (const uint8_t *)"thirty-two bytes of a public key");
    open_node(f, &f->alice, "alice", 10, &OURS);
    f->raw = connect_from(f, 1);
    for (size_t i = 0; i < 5; i++) {
        assert_false(memory_raw_is_cut(f->raw));
        assert_true(i < size);
        memory_raw_write(f->raw, bytes + i, 1);
        test_cluster_advance(&f->cluster, SECONDS);
    }
    assert_true(memory_raw_is_cut(f->raw));
    expect_words(&f->alice.away_why, TR_EDEADLINE, "no handshake within 5.0 s");
}

/* The handshake breaks ---- */

/* After each byte that travels on the way to a connection; it is made by the next attempt. */
static void a_handshake_that_breaks_after_any_byte_is_begun_anew(void **state)
{
    fixture *f = *state;
    meet(f, &OURS, &OURS);
    test_cluster_settle(&f->cluster);
    size_t length = f->seen_length;
    f->cluster.net.piece_max = 1;
    for (size_t at = 0; at < length; at++) {
        start_again(f);
        open_node(f, &f->alice, "alice", 10, &OURS);
        open_node(f, &f->bob, "bob", 20, &OURS);
        test_dial(&f->alice, &f->bob);
        while (f->seen_length < at) {
            memory_net_step(&f->cluster.net);
            tr__endpoint_step(f->alice.endpoint, f->cluster.now_ns);
            tr__endpoint_step(f->bob.endpoint, f->cluster.now_ns);
        }
        memory_net_cut(&f->cluster.net);
        test_cluster_settle(&f->cluster);
        assert_true(at == 0 || f->alice.dial_failures == 1 || f->alice.downs == 1);
        test_cluster_advance(&f->cluster, 10 * SECONDS);
        assert_non_null(f->alice.peer);
        assert_non_null(f->bob.peer);
    }
}

/* So much of what was recorded, as it was said: the key, and what follows the answer to that. */
static void play(fixture *f, size_t length)
{
    size_t key = TR__FRAME_HEADER + 4 + TR__KEY_SIZE, first = length < key ? length : key;
    memory_raw_write(f->raw, f->said, first);
    test_cluster_settle(&f->cluster);
    memory_raw_write(f->raw, f->said + first, length - first);
    test_cluster_settle(&f->cluster);
}

/* What a stranger says who begins like a node, with what a node has said on another connection, and breaks off. */
static void a_recording_cut_off_at_any_byte_gives_nobody_entry(void **state)
{
    fixture *f = *state;
    f->listens = true;
    meet(f, &OURS, &OURS);
    f->listens = false;
    assert_true(f->said_length > 100);
    test_cluster_destroy(&f->cluster, &f->bob);
    for (size_t at = 0; at <= f->said_length; at++) {
        unsigned before = f->alice.turned_away;
        f->raw = connect_from(f, 1);
        play(f, at);
        memory_raw_close(f->raw);
        f->raw = NULL;
        test_cluster_settle(&f->cluster);
        assert_int_equal(f->alice.turned_away, before + 1);
        assert_true(f->alice.away_why.code == TR_ERESET || f->alice.away_why.code == TR_EPERM);
        assert_null(f->alice.peer);
    }
}

/* Played back ---- */

static void a_recorded_session_played_back_is_refused_and_gives_no_message(void **state)
{
    fixture *f = *state;
    f->listens = true;
    open_node(f, &f->alice, "alice", 10, &OURS);
    open_node(f, &f->bob, "bob", 20, &OURS);
    test_dial(&f->bob, &f->alice);
    test_cluster_settle(&f->cluster);
    assert_int_equal(say(&f->bob, SENTENCE, sizeof SENTENCE), TR_OK);
    test_cluster_settle(&f->cluster);
    f->listens = false;
    assert_int_equal(f->alice.messages, 1);
    for (int while_up = 1; while_up >= 0; while_up--) { /* while bob is there, and when he is gone */
        if (!while_up)
            test_cluster_destroy(&f->cluster, &f->bob);
        f->raw = connect_from(f, 1);
        play(f, f->said_length);
        test_cluster_advance(&f->cluster, 3 * SECONDS);
        assert_true(memory_raw_read(f->raw, (char[2000]){0}, 2000) > 0);
        expect_words(&f->alice.away_why, TR_EPERM, "different keys");
        assert_int_equal(f->alice.messages, 1);
        assert_int_equal(f->alice.ups, 1);
        assert_int_equal(f->alice.peer != NULL, while_up);
        memory_raw_close(f->raw);
        f->raw = NULL;
    }
}

/* A listener of nobody's: whoever dials there finds what is written to its end. */
static bool take_stream(void *context, tr__stream *stream)
{
    fixture *f = context;
    if (f->raw)
        return false;
    f->raw = stream;
    return true;
}

static tr__listener *listen_as_nobody(fixture *f, uint16_t port)
{
    tr__listener *listener;
    const tr__net_address address = {.kind = TR__HOST_IPV4, .host = "127.0.0.1", .port = port};
    assert_int_equal(
        f->cluster.net.net.listen(&f->cluster.net.net, &address, take_stream, f, &listener, NULL), TR_OK);
    assert_int_equal(tr__endpoint_dial(f->alice.endpoint, "127.0.0.1:9000", NULL), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->raw);
    return listener;
}

static void who_dials_and_hears_its_own_words_refuses_them(void **state)
{
    fixture *f = *state;
    uint8_t bytes[2000];
    size_t length;
    open_node(f, &f->alice, "alice", 10, &OURS);
    tr__listener *listener = listen_as_nobody(f, 9000);
    while ((length = memory_raw_read(f->raw, bytes, sizeof bytes)) > 0) {
        memory_raw_write(f->raw, bytes, length);
        test_cluster_settle(&f->cluster);
    }
    memory_raw_close(f->raw);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->alice.dial_failures, 1);
    expect_words(&f->alice.dial_why, TR_EPERM, "different keys");
    assert_int_equal(f->alice.ups, 0);
    f->raw = NULL;
    f->cluster.net.net.unlisten(listener);
}

/* Who accepted by who dialled, through somebody between them. */
static void a_node_that_is_led_to_itself_refuses_itself(void **state)
{
    fixture *f = *state;
    uint8_t bytes[2000];
    open_node(f, &f->alice, "alice", 10, &OURS);
    tr__listener *listener = listen_as_nobody(f, 9000);
    tr__stream *there = f->raw, *back = connect_from(f, 1);
    for (size_t moved = 1; moved;) {
        size_t length = memory_raw_read(there, bytes, sizeof bytes);
        memory_raw_write(back, bytes, length);
        moved = length;
        test_cluster_settle(&f->cluster);
        length = memory_raw_read(back, bytes, sizeof bytes);
        memory_raw_write(there, bytes, length);
        moved += length;
        test_cluster_settle(&f->cluster);
    }
    memory_raw_close(there);
    memory_raw_close(back);
    test_cluster_settle(&f->cluster);
    expect_words(&f->alice.dial_why, TR_EINVAL, "node alice dialled itself");
    assert_int_equal(f->alice.ups, 0);
    f->raw = NULL;
    f->cluster.net.net.unlisten(listener);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(of_ten_thousand_silent_ones_the_newest_64_have_a_place_and_little_memory),
        CASE(a_node_from_elsewhere_is_met_at_once_while_a_flood_goes_on),
        CASE(who_floods_from_one_address_displaces_itself_only),
        CASE(of_one_address_who_has_done_a_step_goes_after_those_who_have_not),
        CASE(who_has_proven_itself_keeps_its_place),
        CASE(what_is_accepted_before_it_is_looked_at_is_bounded),
        CASE(who_says_a_byte_a_second_has_five_seconds_like_all),
        CASE(a_handshake_that_breaks_after_any_byte_is_begun_anew),
        CASE(a_recording_cut_off_at_any_byte_gives_nobody_entry),
        CASE(a_recorded_session_played_back_is_refused_and_gives_no_message),
        CASE(who_dials_and_hears_its_own_words_refuses_them),
        CASE(a_node_that_is_led_to_itself_refuses_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
