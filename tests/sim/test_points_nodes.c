/* Two nodes in one thread, over a network in memory, while the points of the core happen at random: what was promised
 * holds. And with bugs planted in what carries messages between nodes, it shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/remote/remote.h"
#include "base/buggify.h"
#include "base/plant.h"
#include "tests/kit/manual_net.h"
#include "transport/connection.h"

#define MESSAGES 300
#define WINDOW   4096   /* bytes: less than all the messages take */
#define STEPS    200000 /* of a pump, at most */

typedef struct duo {
    memory_net net;
    manual *a, *b; /* a joins b */
    char address[64];
    /* An actor of a sends marks 1, 2, ... to one of b, both not on the loop that has the connection. */
    manual_puppet sender, receiver;
    manual_puppet newcomer; /* in the receiver's slot, on a node that was started again */
    uint64_t sent, heard;
    uint64_t monitor, downs; /* of the receiver, by the sender */
    tr_err asked;            /* how the sender's ask of it ended */
    char wrong[128];         /* the first that was; "" is none */
} duo;

static void wrong(duo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void wrong(duo *d, const char *format, ...)
{
    if (d->wrong[0])
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(d->wrong, sizeof(d->wrong), format, args);
    va_end(args);
}

/* ---- points at random ---------------------------------------------------------------------------------- */

static tr__random dice;
static uint64_t happened[TR__POINT_COUNT];

static bool one_in_ten(tr__buggify_point point)
{
    bool happens = tr__random_below(&dice, 10) == 0;
    happened[point] += happens;
    return happens;
}

/* ---- two nodes ----------------------------------------------------------------------------------------- */

static manual *open_node(duo *d, const char *name, uint64_t id, const char *listen, const char *const *join)
{
    manual *m = manual_net_open(
        &d->net, &(manual_net_opts){.loops = 2, .name = name, .id = id, .listen = listen, .join = join});
    tr__connection_config config;
    tr__connection_config_defaults(&config);
    config.window = WINDOW;
    tr__remote_tune(m->node->remote, &config);
    return m;
}

static void close_node(duo *d, manual *m)
{
    manual_stop(m);
    tr__remote_free(m->node); /* before the sums are looked at: what was held is dropped */
    if (!d->wrong[0]) {
        manual_close(m);
    } else { /* it has served: its sums may be anything */
        tr__node_unmake(m->node);
        free(m);
    }
}

static bool step_node(manual *m)
{
    for (uint32_t i = 0; i < m->node->loop_count; i++)
        m->busy[i] = manual_turn(m, i);
    return manual_net_rest(m);
}

/* Until nothing is left to do now. */
static void pump(duo *d)
{
    for (unsigned steps = 0; steps < STEPS; steps++) {
        bool more = step_node(d->a);
        more |= step_node(d->b);
        if (!memory_net_step(&d->net) && !more)
            return;
    }
    wrong(d, "the nodes are still busy after %d steps", STEPS);
}

static void pass_time(duo *d, uint64_t duration_ns)
{
    for (uint64_t passed = 0; passed < duration_ns; passed += TR_MILLIS(10)) {
        d->a->now_ns += TR_MILLIS(10);
        d->b->now_ns += TR_MILLIS(10);
        pump(d);
    }
}

/* ---- two actors ---------------------------------------------------------------------------------------- */

static void send_all(tr_actor *self, void *context)
{
    duo *d = context;
    while (d->sent < MESSAGES) {
        if (tr_send(self, d->receiver.address, mark, .n = d->sent + 1) != TR_OK) {
            assert_int_equal(tr_last_error(self)->code, TR_EAGAIN);
            assert_int_equal(tr_notify_writable(self, d->receiver.address), TR_OK);
            return;
        }
        d->sent++;
    }
}

static void on_sender(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    duo *d = puppet->user;
    const tr_down *down = tr_match(msg, tr_down);
    puppet->trail[0] = '\0'; /* it is bounded */
    if (tr_match(msg, tr_writable))
        send_all(self, d);
    if (down && down->monitor == d->monitor)
        d->downs++;
}

static void on_asked(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)state;
    ((duo *)context)->asked = result->err;
}

static void watch_and_ask(tr_actor *self, void *context)
{
    duo *d = context;
    d->monitor = tr_monitor(self, d->receiver.address);
    tr_future future = tr_ask(self, d->receiver.address, TR_MINUTES(1), blob, .n = 1);
    assert_int_equal(tr_then(self, future, on_asked, d), TR_OK);
}

/* The receiver keeps an ask, and so never answers it. */

static void on_receiver(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    duo *d = puppet->user;
    const mark *m = tr_match(msg, mark);
    if (tr_match(msg, blob))
        tr_msg_take(self, msg);
    puppet->trail[0] = '\0';
    if (m && m->n != ++d->heard)
        wrong(d, "number %llu came where %llu should", (unsigned long long)m->n,
              (unsigned long long)d->heard);
}

static void begin(duo *d, uint64_t seed)
{
    *d = (duo){.sender = {.on = on_sender, .user = d}, .receiver = {.on = on_receiver, .user = d}};
    memory_net_init(&d->net, seed);
    d->b = open_node(d, "b", 1001, "127.0.0.1:0", NULL);
    snprintf(d->address, sizeof(d->address), "%s", tr__remote_address(d->b->node->remote));
    d->a = open_node(d, "a", 1003, NULL, (const char *const[]){d->address, NULL});
    manual_spawn(d->a, 1, &d->sender, NULL);
    manual_spawn(d->b, 1, &d->receiver, NULL);
    pump(d);
}

static void end(duo *d)
{
    close_node(d, d->a);
    close_node(d, d->b);
    memory_net_fini(&d->net);
}

static uint64_t sum_of(const manual *m, bool sent)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->node->loop_count; i++)
        sum += sent ? m->node->loops[i]->counts.sent : m->node->loops[i]->counts.received;
    return sum;
}

/* At rest nothing is queued: what came is somewhere. */
static void check_loops(duo *d, const manual *m)
{
    for (uint32_t i = 0; i < m->node->loop_count; i++) {
        const tr__loop_counts *c = &m->node->loops[i]->counts;
        uint64_t dropped = 0, in = c->accepted + c->arrived + c->received;
        for (int why = 0; why < TR_DROP_COUNT; why++)
            dropped += c->dropped[why];
        if (in != c->handled + dropped + c->passed + c->sent)
            wrong(d, "loop %u of node %s took %llu messages, and has lost some", i, m->node->name,
                  (unsigned long long)in);
    }
}

static void check(duo *d)
{
    check_loops(d, d->a);
    check_loops(d, d->b);
    if (d->wrong[0])
        return; /* what follows is asserted */
    manual_check(d->a);
    manual_check(d->b);
}

static void check_ends(duo *d)
{
    uint64_t sent[] = {sum_of(d->a, true), sum_of(d->b, true)};
    uint64_t received[] = {sum_of(d->b, false), sum_of(d->a, false)};
    for (int i = 0; i < 2; i++)
        if (sent[i] != received[i])
            wrong(d, "%llu were sent, %llu received", (unsigned long long)sent[i],
                  (unsigned long long)received[i]);
}

static void run_seed(duo *d, uint64_t seed)
{
    tr__random_init(&dice, seed);
    begin(d, seed);
    tr__buggify = one_in_ten;
    manual_tell(d->a, d->sender.address, send_all, d);
    pass_time(d, TR_SECONDS(1));
    tr__buggify = NULL;
    pass_time(d, TR_SECONDS(1));
    if (d->heard != MESSAGES)
        wrong(d, "%llu of %d arrived", (unsigned long long)d->heard, MESSAGES);
    check_ends(d);
    check(d);
}

static void whatever_points_happen_all_arrives_in_order_and_the_sums_are_right(void **state)
{
    static const tr__buggify_point met[] = {
        TR__POINT_run_of_one,   TR__POINT_turn_over,     TR__POINT_outbox_late,
        TR__POINT_batch_late,   TR__POINT_send_eagain,   TR__POINT_credit_late,
        TR__POINT_batch_of_one, TR__POINT_wake_needless, TR__POINT_grant_early};
    duo d;
    (void)state;
    memset(happened, 0, sizeof(happened));
    for (uint64_t seed = 1; seed <= 30; seed++) {
        run_seed(&d, seed);
        assert_string_equal(d.wrong, "");
        end(&d);
    }
    for (size_t i = 0; i < TR_COUNT(met); i++)
        if (!happened[met[i]])
            fail_msg("%s never happened", tr__buggify_names[met[i]]);
}

/* ---- a connection that breaks, a node that comes back --------------------------------------------------- */

static void on_newcomer(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    if (tr_match(msg, mark))
        wrong(puppet->user, "what was for an actor of a node's last run came to one of the next");
}

static void send_to_the_old(tr_actor *self, void *context)
{
    duo *d = context;
    tr_send(self, d->receiver.address, mark, .n = 99);
}

static void send_one(tr_actor *self, void *context)
{
    duo *d = context;
    assert_int_equal(tr_send(self, d->receiver.address, mark, .n = d->heard + 1), TR_OK);
    d->monitor = tr_monitor(self, d->receiver.address);
}

static void leave(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "it leaves");
}

/* Over the new connection one more message, and the end of the receiver. */
static void go_on(duo *d)
{
    uint64_t heard = d->heard;
    pass_time(d, TR_SECONDS(2)); /* it is dialled again */
    manual_tell(d->a, d->sender.address, send_one, d);
    pass_time(d, TR_SECONDS(1));
    if (d->heard != heard + 1)
        wrong(d, "%llu messages came for one", (unsigned long long)(d->heard - heard));
    manual_tell(d->b, d->receiver.address, leave, d);
    pass_time(d, TR_SECONDS(1));
}

static void start_b_again(duo *d)
{
    close_node(d, d->b);
    d->b = open_node(d, "b", 1005, d->address, NULL);
    d->b->now_ns = d->a->now_ns;
    d->newcomer = (manual_puppet){.on = on_newcomer, .user = d};
    manual_spawn(d->b, 1, &d->newcomer, NULL);
    assert_int_equal(d->newcomer.address.slot, d->receiver.address.slot);
    assert_int_equal(d->newcomer.address.generation, d->receiver.address.generation);
    pass_time(d, TR_SECONDS(8)); /* it is dialled again */
    manual_tell(d->a, d->sender.address, send_to_the_old, d);
    pass_time(d, TR_SECONDS(1));
}

/* The connection breaks while much is under way, and comes back; then b is started again. */
static void run_losing_seed(duo *d, uint64_t seed)
{
    tr__random_init(&dice, seed);
    begin(d, seed);
    manual_tell(d->a, d->sender.address, watch_and_ask, d);
    pass_time(d, TR_SECONDS(1));
    tr__buggify = one_in_ten;
    manual_tell(d->a, d->sender.address, send_all, d);
    for (uint64_t steps = tr__random_below(&dice, 20); steps; steps--)
        step_node(d->a);
    memory_net_cut(&d->net);
    d->sent = MESSAGES; /* no more */
    pass_time(d, TR_SECONDS(1));
    tr__buggify = NULL;
    if (d->downs != 1 || d->asked != TR_ENOCONN)
        wrong(d, "%llu monitors fired, and the ask ended with %s", (unsigned long long)d->downs,
              tr_err_word(d->asked));
    check(d);
    if (!d->wrong[0])
        go_on(d);
    if (!d->wrong[0])
        start_b_again(d);
    if (d->downs != 2)
        wrong(d, "two monitors fired %llu times", (unsigned long long)d->downs);
    check(d);
}

static void a_break_is_told_once_and_an_old_address_leads_nowhere(void **state)
{
    duo d;
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        run_losing_seed(&d, seed);
        assert_string_equal(d.wrong, "");
        end(&d);
    }
}

/* ---- planted bugs -------------------------------------------------------------------------------------- */

#ifdef TR_PLANTS

/* How many seeds it took, 0: none shows it. */
static uint64_t found_by_seed(void (*scenario)(duo *d, uint64_t seed), const char *plant)
{
    uint64_t found = 0;
    assert_true(tr__plant_choose(plant));
    for (uint64_t seed = 1; seed <= 30 && !found; seed++) {
        duo d;
        scenario(&d, seed);
        if (d.wrong[0])
            found = seed;
        end(&d);
    }
    tr__plant_choose(NULL);
    return found;
}

static void what_is_wrong_on_the_way_shows(void **state)
{
    static const char *const plants[] = {"held_overtaken", "held_counted_twice", "lost_midway", "credit_kept",
                                         "two_swapped"};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(plants); i++)
        if (!found_by_seed(run_seed, plants[i]))
            fail_msg("%s isn't found", plants[i]);
}

static void what_is_wrong_with_breaks_shows(void **state)
{
    static const char *const plants[] = {"down_dropped",          "ask_left",   "held_leaked",
                                         "twice_after_reconnect", "down_twice", "old_incarnation",
                                         "records_counted_once"};
    (void)state;
    for (size_t i = 0; i < TR_COUNT(plants); i++)
        if (!found_by_seed(run_losing_seed, plants[i]))
            fail_msg("%s isn't found", plants[i]);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_points_happen_all_arrives_in_order_and_the_sums_are_right),
        cmocka_unit_test(a_break_is_told_once_and_an_old_address_leads_nowhere),
#ifdef TR_PLANTS
        cmocka_unit_test(what_is_wrong_on_the_way_shows),
        cmocka_unit_test(what_is_wrong_with_breaks_shows),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
