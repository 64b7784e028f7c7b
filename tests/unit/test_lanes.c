/* Large messages between two nodes' ends: chunks, order, credit, bounds, ends, and peers that break the rules or know no
 * bulk lane. Over the net in memory, under stepped time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/pairs.h"
#include "base/mem.h"
#include "tests/kit/endpoints.h"

#define WINDOW (1u << 20)
#define MAX    (4u << 20)

/* Fixture: alice and bob ---- */

typedef struct fixture {
    test_cluster cluster;
    tr__connection_config config;
    test_node alice, bob;
    unsigned released;
    /* a scripted peer of alice */
    tr__stream *raw;
    uint64_t sequence[TR__LANES];
} fixture;

static const uint8_t KEY[TR__KEY_SIZE] = "the key that both nodes share 12";

static void open_node(fixture *f, test_node *node, const char *name, uint64_t id, const uint8_t *key)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    options.connection = &f->config;
    options.key = key;
    assert_int_equal(test_cluster_open(&f->cluster, node, &options, &error), TR_OK);
}

static int setup(void **state)
{
    static fixture f;
    f = (fixture){.raw = NULL};
    test_cluster_init(&f.cluster, 1);
    tr__connection_config_defaults(&f.config);
    f.config.message_max = MAX;
    *state = &f;
    return 0;
}

static void meet(fixture *f, const uint8_t *key)
{
    open_node(f, &f->alice, "alice", 10, key);
    open_node(f, &f->bob, "bob", 20, key);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer);
}

static int setup_pair(void **state)
{
    setup(state);
    meet(*state, NULL);
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    if (f->raw)
        memory_raw_close(f->raw);
    test_cluster_fini(&f->cluster);
    return 0;
}

/* Helpers ---- */

static void on_release(tr__unit *unit)
{
    ((fixture *)unit->owner)->released++;
}

/* A message of that size, in three pieces. */
static tr_err send_large(fixture *f, size_t size)
{
    TR_TRY(tr__endpoint_bulk_may(f->alice.endpoint, f->alice.peer, size));
    tr__unit *unit = tr__unit_make(size);
    unit->release = on_release;
    unit->owner = f;
    for (size_t i = 0; i < size; i++)
        unit->bytes[i] = (uint8_t)(i * 7 + size);
    size_t cuts[] = {0, size / 3, size / 2, size};
    for (int i = 0; i < 3; i++)
        if (cuts[i + 1] > cuts[i])
            unit->pieces[unit->piece_count++] = (tr__iov){unit->bytes + cuts[i], cuts[i + 1] - cuts[i]};
    return tr__endpoint_bulk_put(f->alice.endpoint, f->alice.peer, unit);
}

static uint64_t sum_of(uint64_t sum, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + (uint8_t)(i * 7 + size);
    return sum;
}

static uint64_t partial_of(const test_node *node)
{
    tr__endpoint_counters counters;
    tr__endpoint_counters_get(node->endpoint, &counters);
    return counters.partial;
}

/* Messages ---- */

static void large_messages_arrive_whole_and_in_order_however_they_are_cut(void **state)
{
    fixture *f = *state;
    static const size_t sizes[] = {
        1, 2, 100, TR__CHUNK_FRAME_MAX - TR__CHUNK_OVERHEAD, TR__CHUNK_FRAME_MAX, 300000, MAX, 5};
    static const size_t pieces[] = {0, 70000, 3000};
    uint64_t sum = 0, bytes = 0, count = 0;
    for (size_t p = 0; p < 3; p++) {
        f->cluster.net.piece_max = pieces[p];
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++, count++) {
            assert_int_equal(send_large(f, sizes[i]), TR_OK);
            sum = sum_of(sum, sizes[i]);
            bytes += sizes[i];
        }
        test_cluster_settle(&f->cluster);
        assert_int_equal(f->bob.bulk_messages, count);
        assert_int_equal(f->bob.bytes, bytes);
        assert_int_equal(f->bob.sum, sum);
    }
    assert_int_equal(f->released, count);
    tr__connection_counters c = test_counters(&f->alice);
    assert_int_equal(c.bulk_queued, 0);
    assert_int_equal(c.bulk_spent, test_counters(&f->bob).bulk_received);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(test_counters(&f->alice).messages_acked, count);
}

static void under_a_seal_large_messages_arrive_as_well(void **state)
{
    fixture *f = *state;
    meet(f, KEY);
    uint64_t sum = 0;
    for (size_t size = 1; size < MAX; size = size * 5 + 3) {
        assert_int_equal(send_large(f, size), TR_OK);
        sum = sum_of(sum, size);
    }
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.sum, sum);
    assert_int_equal(f->alice.downs, 0);
}

/* What is sent is length, pair, number, filler; whoever sends keeps to what actors/remote_out.c does. */
typedef struct model {
    uint32_t sent[6], heard[6], wrong;
} model;

static void hear(void *context, const uint8_t *bytes, size_t length)
{
    model *m = context;
    while (length) {
        uint32_t head[3];
        memcpy(head, bytes, sizeof head);
        assert_in_range(head[0], sizeof head, length);
        m->wrong += head[2] != m->heard[head[1]];
        m->heard[head[1]] = head[2] + 1;
        bytes += head[0];
        length -= head[0];
    }
}

static tr_err send_in_order(fixture *f, tr__pairs *pairs, uint32_t which, const uint8_t *bytes, size_t size)
{
    tr__endpoint *e = f->alice.endpoint;
    tr__peer *peer = f->alice.peer;
    uint8_t *at;
    const tr__record record = {.from_slot = which, .to_slot = 1};
    tr__pair *pair = tr__pairs_find(pairs, &record, tr__endpoint_bulk_taken(peer));
    if (size > 40000) {
        TR_TRY(tr__endpoint_bulk_may(e, peer, size));
        pair = tr__pairs_make(pairs, &record, tr__endpoint_bulk_taken(peer));
        tr__unit *unit = tr__unit_make(size);
        memcpy(unit->bytes, bytes, size);
        unit->piece_count = 1;
        unit->pieces[0] = (tr__iov){unit->bytes, size};
        TR_TRY(tr__endpoint_bulk_put(e, peer, unit));
    } else if (pair) {
        TR_TRY(tr__endpoint_bulk_reserve(e, peer, size, &at));
        memcpy(at, bytes, size);
        tr__endpoint_bulk_commit(e, peer, size);
    } else {
        return tr__endpoint_send(e, peer, bytes, size);
    }
    tr__pair_sent(pair, tr__endpoint_bulk_last(peer));
    return TR_OK;
}

static void run_model(fixture *f, uint64_t seed)
{
    static uint8_t bytes[500000];
    model m = {0};
    tr__pairs pairs = {0};
    tr__random random;
    tr__random_init(&random, seed);
    memory_net_init(&f->cluster.net, seed);
    f->cluster.net.piece_max = seed % 3 ? 1 + tr__random_below(&random, 100000) : 0;
    meet(f, seed % 5 ? NULL : KEY);
    f->bob.hear = hear;
    f->bob.hear_context = &m;
    for (int i = 0; i < 200; i++) {
        uint32_t which = (uint32_t)tr__random_below(&random, 6);
        size_t size = 12 + tr__random_below(&random, tr__random_below(&random, 6) ? 500 : sizeof bytes - 12);
        uint32_t head[3] = {(uint32_t)size, which, m.sent[which]};
        memcpy(bytes, head, sizeof head);
        while (send_in_order(f, &pairs, which, bytes, size) == TR_EAGAIN)
            test_cluster_settle(&f->cluster);
        m.sent[which]++;
        if (tr__random_below(&random, 3) == 0)
            tr__endpoint_flush(f->alice.endpoint);
        for (uint64_t steps = tr__random_below(&random, 12); steps > 0; steps--) {
            memory_net_step(&f->cluster.net);
            if (tr__endpoint_has_news(f->bob.endpoint))
                tr__endpoint_take(f->bob.endpoint);
            tr__endpoint_flush(f->bob.endpoint);
        }
    }
    test_cluster_settle(&f->cluster);
    assert_int_equal(m.wrong, 0);
    assert_memory_equal(m.sent, m.heard, sizeof m.sent);
    tr__pairs_end(&pairs);
    test_cluster_destroy(&f->cluster, &f->alice);
    test_cluster_destroy(&f->cluster, &f->bob);
    test_cluster_settle(&f->cluster);
}

static void each_pair_keeps_its_order_whatever_the_sizes(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++)
        run_model(*state, seed);
}

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

/* Ends ---- */

static void a_goodbye_is_behind_all_that_was_sent(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(send_large(f, 2000000), TR_OK);
    tr__endpoint_forget(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint));
    tr__endpoint_disconnect(f->alice.endpoint, f->alice.peer);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.bytes, 6000000);
    assert_int_equal(f->alice.down_why.code, TR_ECLOSED);
    assert_int_equal(f->bob.down_why.code, TR_ECLOSED);
    assert_int_equal(f->alice.unknown, 0);
}

static void what_came_in_part_is_dropped_and_counted(void **state)
{
    fixture *f = *state;
    f->cluster.net.piece_max = 50000;
    assert_int_equal(send_large(f, 3000000), TR_OK);
    assert_int_equal(send_large(f, 100), TR_OK);
    tr__endpoint_flush(f->alice.endpoint);
    while (test_counters(&f->bob).bulk_received == 0)
        memory_net_step(&f->cluster.net);
    tr__endpoint_take(f->bob.endpoint);
    memory_net_cut(&f->cluster.net);
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.messages, 0);
    assert_int_equal(partial_of(&f->bob), 1);
    assert_int_equal(f->alice.unknown, 2);
    assert_int_equal(f->released, 2);
}

static void without_memory_to_seal_a_message_is_still_its_senders(void **state)
{
    fixture *f = *state;
    meet(f, KEY);
    tr__unit *unit = tr__unit_make(900000);
    memset(unit->bytes, 1, 900000);
    unit->piece_count = 1;
    unit->pieces[0] = (tr__iov){unit->bytes, 900000};
    tr__alloc_fail_at(1);
    assert_int_equal(tr__endpoint_bulk_put(f->alice.endpoint, f->alice.peer, unit), TR_ENOMEM);
    tr__alloc_fail_at(0);
    assert_int_equal(tr__endpoint_bulk_put(f->alice.endpoint, f->alice.peer, unit), TR_OK);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->bob.bytes, 900000);
    assert_int_equal(test_counters(&f->alice).messages_acked, 1);
}

static void without_memory_to_receive_a_message_its_sender_hears_it(void **state)
{
    fixture *f = *state;
    assert_int_equal(send_large(f, 900000), TR_OK);
    tr__endpoint_flush(f->alice.endpoint);
    f->bob.stuck = true;
    test_cluster_settle(&f->cluster);
    tr__alloc_fail_at(1);
    tr__endpoint_take(f->bob.endpoint);
    tr__alloc_fail_at(0);
    f->bob.stuck = false;
    test_cluster_advance(&f->cluster, 3 * SECONDS);
    assert_int_equal(f->alice.downs, 1);
    assert_int_equal(f->alice.down_why.code, TR_ENOMEM);
    assert_int_equal(f->alice.unknown, 1);
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

static void who_said_nothing_of_lanes_may_not_use_them(void **state)
{
    fixture *f = *state;
    raw_up(f, 0);
    say_chunk(f, 1000, 1000, 1);
    expect_refused(f, TR_EPROTO, "a chunk of 1036 bytes came where 0 were granted");
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
    test_cluster_advance(&f->cluster, 5 * SECONDS);
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
        PAIR(large_messages_arrive_whole_and_in_order_however_they_are_cut),
        ALONE(under_a_seal_large_messages_arrive_as_well),
        ALONE(each_pair_keeps_its_order_whatever_the_sizes),
        PAIR(no_more_is_under_way_than_was_granted_and_no_more_waits_than_the_bound),
        PAIR(who_takes_nothing_for_ten_seconds_is_cut_and_counted),
        PAIR(a_goodbye_is_behind_all_that_was_sent),
        PAIR(what_came_in_part_is_dropped_and_counted),
        ALONE(without_memory_to_seal_a_message_is_still_its_senders),
        PAIR(without_memory_to_receive_a_message_its_sender_hears_it),
        ALONE(a_node_without_a_bulk_lane_gets_large_messages_as_before),
        PAIR(a_peer_says_how_large_a_message_it_takes),
        ALONE(who_sends_more_than_was_granted_is_cut),
        ALONE(who_sends_a_chunk_that_does_not_go_on_is_cut),
        ALONE(who_sends_a_larger_message_than_is_taken_is_cut),
        ALONE(who_said_nothing_of_lanes_may_not_use_them),
        ALONE(an_earlier_version_hears_no_frame_that_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
