/* Large messages between two nodes' ends: chunks, order, and ends. Over the net in memory, under stepped time. */
#include "tests/unit/lanes_fixture.h"

#include "actors/remote/pairs.h"

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
    meet(f, &KEYS);
    uint64_t sum = 0;
    for (size_t size = 1; size < MAX; size = size * 5 + 3) {
        assert_int_equal(send_large(f, size), TR_OK);
        sum = sum_of(sum, size);
    }
    test_cluster_settle(&f->cluster);
    assert_int_equal(f->bob.sum, sum);
    assert_int_equal(f->alice.downs, 0);
}

/* What is sent is length, pair, number, filler; whoever sends keeps to what actors/remote/out.c does. */
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
    meet(f, seed % 5 ? NULL : &KEYS);
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
    meet(f, &KEYS);
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

int main(void)
{
#define PAIR(name)  cmocka_unit_test_setup_teardown(name, setup_pair, teardown)
#define ALONE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        PAIR(large_messages_arrive_whole_and_in_order_however_they_are_cut),
        ALONE(under_a_seal_large_messages_arrive_as_well),
        ALONE(each_pair_keeps_its_order_whatever_the_sizes),
        PAIR(a_goodbye_is_behind_all_that_was_sent),
        PAIR(what_came_in_part_is_dropped_and_counted),
        ALONE(without_memory_to_seal_a_message_is_still_its_senders),
        PAIR(without_memory_to_receive_a_message_its_sender_hears_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
