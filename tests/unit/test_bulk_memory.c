/* A large message for which its receiver's node has no memory: it goes back to its sender, and the connection stays. Two nodes
 * stepped by hand, over a network in memory. */
#include <string.h>

#include "actors/remote/peer.h"
#include "base/mem.h"
#include "tests/kit/manual_net.h"

#define LARGE (3u << 20) /* its block grows twice */

typedef struct duo {
    memory_net net;
    manual *a, *b; /* a joins b */
    char address[64];
    manual_puppet asker, answerer;
    tr_err ended; /* of the last ask; TR_ERR_COUNT: it is under way */
    char text[TR_ERROR_TEXT_MAX];
    uint64_t marks;   /* that came to b */
    uint64_t fail_in; /* this allocation in b's turns fails; 0: it has, or none is to */
} duo;

static char large[LARGE];

static bool step_one(duo *d, manual *m)
{
    bool fails = m == d->b && d->fail_in;
    if (fails)
        tr__alloc_fail_at(d->fail_in);
    m->busy[0] = manual_turn(m, 0);
    if (fails)
        d->fail_in = tr__alloc_fail_left();
    tr__alloc_fail_at(0);
    return manual_net_rest(m);
}

static void pass(duo *d, uint64_t duration_ns)
{
    for (uint64_t passed = 0; passed < duration_ns; passed += TR_MILLIS(10)) {
        bool more = true;
        d->a->now_ns += TR_MILLIS(10);
        d->b->now_ns += TR_MILLIS(10);
        while (more) {
            more = step_one(d, d->a);
            more |= step_one(d, d->b);
            more |= memory_net_step(&d->net);
        }
    }
}

static void on_asked(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    duo *d = puppet->user;
    puppet->trail[0] = '\0'; /* it is bounded */
    d->marks += tr_match(msg, mark) != NULL;
    if (tr_msg_ask_number(msg))
        tr_reply(self, msg, mark, .n = 1);
}

static void on_end(tr_actor *self, void *state, const tr_result *result, void *context)
{
    duo *d = context;
    (void)self, (void)state;
    d->ended = result->err;
    snprintf(d->text, sizeof(d->text), "%s", result->error ? result->error->text : "");
}

static void ask_large(tr_actor *self, void *context)
{
    duo *d = context;
    tr_future future =
        tr_ask(self, d->answerer.address, TR_SECONDS(5), blob, .n = 1, .data = {large, sizeof(large)});
    d->ended = TR_ERR_COUNT;
    assert_int_equal(tr_then(self, future, on_end, d), TR_OK);
}

/* The mark goes behind it. */
static void send_large(tr_actor *self, void *context)
{
    duo *d = context;
    assert_int_equal(tr_send(self, d->answerer.address, blob, .n = 1, .data = {large, sizeof(large)}), TR_OK);
    assert_int_equal(tr_send(self, d->answerer.address, mark, .n = 1), TR_OK);
}

static duo *duo_open(void)
{
    static duo d;
    d = (duo){.fail_in = 0};
    memory_net_init(&d.net, 1);
    d.b = manual_net_open(&d.net, &(manual_net_opts){.name = "b", .id = 1001, .listen = "127.0.0.1:0"});
    snprintf(d.address, sizeof(d.address), "%s", tr__remote_address(d.b->node->remote));
    const char *const seeds[] = {d.address, NULL};
    d.a = manual_net_open(&d.net, &(manual_net_opts){.name = "a", .id = 1003, .join = seeds});
    d.asker.user = d.answerer.user = &d;
    d.answerer.on = on_asked;
    manual_spawn(d.a, 0, &d.asker, NULL);
    manual_spawn(d.b, 0, &d.answerer, &(tr_spawn_opts){.mailbox_places = 60000});
    pass(&d, TR_MILLIS(100));
    manual_do(d.a, d.asker.address, ask_large, &d); /* both know the types, and pools are warm */
    pass(&d, TR_SECONDS(1));
    assert_int_equal(d.ended, TR_OK);
    return &d;
}

static void duo_close(duo *d)
{
    manual_net_close(d->a);
    manual_net_close(d->b);
    memory_net_fini(&d->net);
}

static uint64_t dropped(const manual *m)
{
    tr_sums sums;
    tr_node_sums(m->node, &sums);
    return sums.dropped[TR_DROP_NO_MEMORY];
}

static void a_large_message_without_memory_goes_back_and_the_connection_stays(void **state)
{
    (void)state;
    duo *d = duo_open();
    uint32_t refused = 0;
    for (uint64_t nth = 1, left = 0; left == 0; nth++) {
        d->fail_in = nth;
        manual_do(d->a, d->asker.address, ask_large, d);
        pass(d, TR_SECONDS(1));
        left = d->fail_in; /* it was made by none */
        d->fail_in = 0;
        if (d->ended == TR_ENOMEM) {
            assert_true(strstr(d->text, "memory") || strstr(d->text, "an allocation failed"));
            refused++;
        } else {
            assert_int_equal(d->ended, TR_OK);
        }
        assert_int_equal(d->a->node->remote->connections, 1);
    }
    assert_true(refused >= 2);
    duo_close(d);
}

static void and_one_that_is_no_ask_is_its_senders_dead_letter(void **state)
{
    (void)state;
    duo *d = duo_open();
    uint64_t marks = d->marks;
    d->fail_in = 1;
    manual_do(d->a, d->asker.address, send_large, d);
    pass(d, TR_SECONDS(1));
    assert_int_equal(d->fail_in, 0);
    assert_int_equal(d->marks, marks + 1); /* what is behind it came */
    assert_int_equal(dropped(d->a), 1);
    assert_int_equal(dropped(d->b), 0);
    assert_int_equal(d->a->node->remote->connections, 1);
    duo_close(d);
}

int main(void)
{
    memset(large, 'l', sizeof(large));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_message_without_memory_goes_back_and_the_connection_stays),
        cmocka_unit_test(and_one_that_is_no_ask_is_its_senders_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
