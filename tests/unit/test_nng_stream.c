/* nng's byte streams behind the seam, over real loopback sockets. Waits for events only, each with a
 * deadline. */
#include "tests/unit/nng_stream_fixture.h"

/* Streams ---- */

static void ten_megabytes_in_one_send_arrive_whole(void **state)
{
    fixture *f = *state;
    size_t sizes[3] = {100, 10u << 20, 50000};
    uint8_t *frames[3];
    tr__iov iov[3];
    uint64_t sum = 0;
    size_t total = 0;
    establish(f);
    for (int i = 0; i < 3; i++) {
        frames[i] = make_frame(sizes[i], (uint64_t)i + 1);
        iov[i] = (tr__iov){frames[i], sizes[i]};
        sum = sum_of(frames[i], sizes[i], sum);
        total += sizes[i];
    }
    assert_int_equal(f->net->send(f->client.stream, iov, 3, NULL), TR_OK);
    WAIT_FOR(f->client.sends == 1 && f->server.received == total);
    assert_int_equal(f->client.sent, total);
    assert_int_equal(f->server.sum, sum);
    for (int i = 0; i < 3; i++)
        free(frames[i]);
}

/* The other side doesn't read yet: at some time the system takes no more. Then the rest waits, and `sent` says when it is gone. */
static void what_is_not_sent_at_once_is_sent_later_whole_and_in_order(void **state)
{
    fixture *f = *state;
    enum { MOST = 400, SIZE = 200000 };
    static uint8_t *frames[MOST];
    uint64_t sum = 0;
    unsigned count = 0;
    dial(f);
    WAIT_FOR(f->server.stream);
    start(f, &f->client);
    for (bool at_once = true; at_once; count++) {
        assert_true(count < MOST);
        frames[count] = make_frame(SIZE, count + 1);
        sum = sum_of(frames[count], SIZE, sum);
        tr__iov iov[3] = {
            {frames[count], 100}, {frames[count] + 100, 70000}, {frames[count] + 70100, SIZE - 70100}};
        at_once = f->net->send_now(f->client.stream, iov, 3);
        assert_true(at_once || count > 0);
    }
    assert_int_equal(f->client.sends, 0);
    start(f, &f->server);
    WAIT_FOR(f->server.received == (size_t)count * SIZE && f->client.sends == 1);
    assert_true(f->server.sum == sum);
    assert_int_equal(f->client.sent, SIZE);
    uint8_t *last = make_frame(SIZE, count + 1);
    bool at_once = f->net->send_now(f->client.stream, &(tr__iov){last, SIZE}, 1);
    WAIT_FOR(f->server.received == (size_t)(count + 1) * SIZE && f->client.sends == (at_once ? 1 : 2));
    close_end(f, &f->server);
    WAIT_FOR(f->client.down);
    assert_false(
        f->net->send_now(f->client.stream, &(tr__iov){last, SIZE}, 1)); /* of a broken one nothing goes */
    free(last);
    while (count)
        free(frames[--count]);
}

static void a_closed_peer_is_reported_once_behind_its_last_frame(void **state)
{
    fixture *f = *state;
    establish(f);
    uint8_t *frame = make_frame(1000, 1);
    assert_int_equal(f->net->send(f->client.stream, &(tr__iov){frame, 1000}, 1, NULL), TR_OK);
    WAIT_FOR(f->client.sends == 1);
    close_end(f, &f->client);
    WAIT_FOR(f->server.down);
    assert_int_equal(f->server.received, 1000);
    assert_int_equal(f->server.why.code, TR_ERESET);
    assert_int_not_equal(f->net->send(f->server.stream, &(tr__iov){frame, 1000}, 1, NULL), TR_OK);
    free(frame);
}

static void closing_at_any_moment_neither_hangs_nor_crashes(void **state)
{
    fixture *f = *state;
    uint8_t *frame = make_frame(300000, 1);
    for (unsigned cycle = 0; cycle < 500; cycle++) {
        establish(f);
        if (cycle % 4 < 2)
            f->net->send(f->client.stream, &(tr__iov){frame, 300000}, 1, NULL);
        else
            f->net->send_now(f->client.stream, &(tr__iov){frame, 200000}, 1); /* a part of it */
        if (cycle % 3 == 0)
            f->net->send(f->server.stream, &(tr__iov){frame, 300000}, 1, NULL);
        if (cycle % 5 == 0 && cycle % 4 < 2)
            WAIT_FOR(f->server.received > 0);
        close_end(f, cycle % 2 ? &f->client : &f->server);
        if (cycle % 7 == 0)
            WAIT_FOR((cycle % 2 ? &f->server : &f->client)->down);
        close_all(f);
    }
    free(frame);
}

static void a_dial_can_be_given_up_at_any_moment(void **state)
{
    fixture *f = *state;
    for (unsigned cycle = 0; cycle < 200; cycle++) {
        tr_error error;
        assert_int_equal(f->net->dial(f->net, &f->address, 5000000000ull, on_dialled, f, &f->dial, &error),
                         TR_OK);
        if (cycle % 2)
            WAIT_FOR(f->dialled);
        close_all(f);
    }
}

/* Endpoints over it: the whole stack, with raw sockets against it ---- */

static _Atomic unsigned wakes;

static void on_wake(void *context)
{
    (void)context;
    pthread_mutex_lock(&lock);
    wakes++;
    notify();
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECONDS + (uint64_t)now.tv_nsec;
}

static tr__endpoint_upcalls node_upcalls;

static const tr__keys *node_keys; /* of the nodes to come; NULL: none */

static void open_node(test_node *node, const char *name, uint64_t id)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    options.keys = node_keys;
    options.secret = tr__key_secret;
    *node = (test_node){.endpoint = NULL};
    node_upcalls = test_node_upcalls;
    node_upcalls.wake = node_upcalls.wake_home = on_wake;
    if (tr__endpoint_open(&options, tr__nng_net(), now_ns(), &node_upcalls, node, &node->endpoint, &error))
        fail_msg("%s", error.text);
}

/* Step both until the condition holds, at most 20 s. Sleeps on the wakes, 10 ms at most. */
#define STEP_UNTIL(condition, ...)                                                    \
    do {                                                                              \
        uint64_t until = now_ns() + 20 * SECONDS;                                     \
        test_node *stepped[] = {__VA_ARGS__};                                         \
        while (!(condition)) {                                                        \
            unsigned seen = wakes;                                                    \
            for (size_t i = 0; i < sizeof stepped / sizeof *stepped; i++) {           \
                tr__endpoint_step(stepped[i]->endpoint, now_ns());                    \
                tr__endpoint_take(stepped[i]->endpoint);                              \
                tr__endpoint_flush(stepped[i]->endpoint);                             \
            }                                                                         \
            if (now_ns() > until)                                                     \
                fail_msg("waited in vain for %s", #condition);                        \
            struct timespec pause;                                                    \
            clock_gettime(CLOCK_REALTIME, &pause);                                    \
            pause.tv_nsec += 10000000;                                                \
            if (pause.tv_nsec >= 1000000000)                                          \
                pause.tv_sec++, pause.tv_nsec -= 1000000000;                          \
            pthread_mutex_lock(&lock);                                                \
            while (wakes == seen && !pthread_cond_timedwait(&changed, &lock, &pause)) \
                continue;                                                             \
            pthread_mutex_unlock(&lock);                                              \
        }                                                                             \
    } while (0)

static void ten_megabytes_each_way_cross_and_goodbye_loses_none(void **state)
{
    (void)state;
    test_node alice, bob, *nodes[] = {&alice, &bob};
    static uint8_t message[1000];
    uint64_t sum = 0;
    unsigned sent[2] = {0, 0}, writables[2];
    open_node(&alice, "alice", 10);
    open_node(&bob, "bob", 20);
    test_dial(&alice, &bob);
    STEP_UNTIL(alice.peer && bob.peer, &alice, &bob);
    for (unsigned n = 0; n < 10000; n++) {
        memset(message, (int)(n % 251), sizeof message);
        sum = sum_of(message, sizeof message, sum);
    }
    while (sent[0] < 10000 || sent[1] < 10000) {
        for (int i = 0; i < 2; i++) {
            tr_err err = TR_OK;
            writables[i] = sent[i] < 10000 ? nodes[i]->writables : UINT32_MAX;
            while (sent[i] < 10000 && err == TR_OK) {
                memset(message, (int)(sent[i] % 251), sizeof message);
                err = tr__endpoint_send(nodes[i]->endpoint, nodes[i]->peer, message, sizeof message);
                sent[i] += err == TR_OK;
            }
            assert_true(err == TR_OK || err == TR_EAGAIN);
        }
        if (sent[0] < 10000 || sent[1] < 10000)
            STEP_UNTIL((sent[0] < 10000 && alice.writables > writables[0]) ||
                           (sent[1] < 10000 && bob.writables > writables[1]),
                       &alice, &bob);
    }
    tr__endpoint_close(alice.endpoint);
    STEP_UNTIL(tr__endpoint_is_closed(alice.endpoint), &alice, &bob);
    STEP_UNTIL(bob.downs == 1, &bob);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(nodes[i]->bytes, 10000000);
        assert_int_equal(nodes[i]->messages, 10000);
        assert_int_equal(nodes[i]->sum, sum);
        assert_int_equal(nodes[i]->unknown, 0);
        assert_int_equal(nodes[i]->down_why.code, TR_ECLOSED);
    }
    tr__endpoint_destroy(alice.endpoint);
    tr__endpoint_destroy(bob.endpoint);
}

static void so_they_do_under_seal(void **state)
{
    static const tr__keys keys = {1, {{1, 2, 3}}};
    node_keys = &keys;
    ten_megabytes_each_way_cross_and_goodbye_loses_none(state);
    node_keys = NULL;
}

static void a_peer_that_is_gone_is_down_at_once(void **state)
{
    (void)state;
    test_node alice, bob;
    open_node(&alice, "alice", 10);
    open_node(&bob, "bob", 20);
    test_dial(&alice, &bob);
    STEP_UNTIL(alice.peer && bob.peer, &alice, &bob);
    uint64_t before = now_ns();
    tr__endpoint_destroy(bob.endpoint);
    STEP_UNTIL(alice.downs == 1, &alice);
    assert_true(now_ns() - before < 3 * SECONDS); /* silence would be noticed later than that */
    assert_int_equal(alice.down_why.code, TR_ERESET);
    STEP_UNTIL(alice.dial_failures > 0, &alice);
    assert_int_equal(alice.dial_why.code, TR_EREFUSED);
    tr__endpoint_destroy(alice.endpoint);
}

static int raw_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void garbage_and_absurd_lengths_are_cut_and_others_served(void **state)
{
    (void)state;
    static const uint8_t huge[24] = {'T', 'R', 'P', 'E', 1, 1, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 1};
    uint8_t noise[4096];
    test_node alice, bob;
    tr__endpoint_counters counters;
    open_node(&alice, "alice", 10);
    open_node(&bob, "bob", 20);
    srandom(1);
    for (int round = 0; round < 20; round++) {
        int fd = raw_connect(tr__endpoint_port(alice.endpoint));
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)random();
        if (round % 2)
            assert_int_equal(write(fd, huge, sizeof huge), sizeof huge);
        else
            assert_true(write(fd, noise, sizeof noise) > 0);
        STEP_UNTIL((tr__endpoint_counters_get(alice.endpoint, &counters),
                    counters.handshakes_failed == (uint64_t)round + 1),
                   &alice);
        close(fd);
    }
    test_dial(&alice, &bob);
    STEP_UNTIL(alice.peer && bob.peer, &alice, &bob);
    tr__endpoint_destroy(bob.endpoint);
    tr__endpoint_destroy(alice.endpoint);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(ten_megabytes_in_one_send_arrive_whole),
        CASE(what_is_not_sent_at_once_is_sent_later_whole_and_in_order),
        CASE(a_closed_peer_is_reported_once_behind_its_last_frame),
        CASE(closing_at_any_moment_neither_hangs_nor_crashes),
        CASE(a_dial_can_be_given_up_at_any_moment),
        cmocka_unit_test(ten_megabytes_each_way_cross_and_goodbye_loses_none),
        cmocka_unit_test(so_they_do_under_seal),
        cmocka_unit_test(a_peer_that_is_gone_is_down_at_once),
        cmocka_unit_test(garbage_and_absurd_lengths_are_cut_and_others_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
