/* The core under its real driver: threads, clocks and wakes as they are. What the manual driver shows one
 * schedule at a time is here shown to hold under whatever schedule comes; run with the thread sanitizer. No
 * sleeps: each test ends by count, or by a timer of the node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "tests/kit/real_node.h"

TR_MESSAGE(item, (u32, sender), (u64, n))
TR_MESSAGE(tick)
TR_MESSAGE(stop_now)

/* ---- order per pair ------------------------------------------------------------------------------------ */

#define SENDERS   6
#define RECEIVERS 4
#define POSTER    SENDERS /* the foreign thread's number */
#define ITEMS     2000u

typedef struct traffic {
    tr_addr receivers[RECEIVERS];
    uint32_t places;
    tr_node *node;
    atomic_uint senders_started;
    atomic_uint receivers_done; /* have everything */
    atomic_uint out_of_order;
    atomic_uint full; /* refusals seen: the bounds were reached */
} traffic;

typedef struct receiver {
    traffic *t;
    uint64_t seen[SENDERS + 1];
    uint64_t total;
} receiver;

static tr_err receiver_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((receiver *)state)->t = (traffic *)arg;
    return TR_OK;
}

static void receiver_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    receiver *r = state;
    const item *i = tr_match(msg, item);
    if (!i)
        return;
    if (i->n != r->seen[i->sender] + 1)
        atomic_fetch_add(&r->t->out_of_order, 1);
    r->seen[i->sender] = i->n;
    if (++r->total == (uint64_t)(SENDERS + 1) * ITEMS)
        atomic_fetch_add(&r->t->receivers_done, 1);
}

TR_ACTOR(receiver_def, .state_size = sizeof(receiver), .init = receiver_init, .receive = receiver_receive);

typedef struct sender {
    traffic *t;
    uint32_t number;
    uint64_t sent[RECEIVERS];
} sender;

static tr_err sender_init(tr_actor *self, void *state, const void *arg)
{
    sender *s = state;
    s->t = (traffic *)arg;
    s->number = atomic_fetch_add(&s->t->senders_started, 1);
    return tr_send(self, tr_self(self), tick);
}

/* As many to each receiver as it takes, up to a handful; then ask to be told. */
static void sender_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    sender *s = state;
    const tr_writable *writable = tr_match(msg, tr_writable);
    bool again = false;
    for (uint32_t r = 0; r < RECEIVERS; r++) {
        if (writable && !tr_addr_equal(writable->actor, s->t->receivers[r]))
            continue;
        tr_err err = TR_OK;
        for (int i = 0; i < 50 && s->sent[r] < ITEMS && err == TR_OK; i++) {
            err = tr_send(self, s->t->receivers[r], item, .sender = s->number, .n = s->sent[r] + 1);
            s->sent[r] += err == TR_OK;
        }
        if (err == TR_EFULL) {
            atomic_fetch_add(&s->t->full, 1);
            tr_notify_writable(self, s->t->receivers[r]);
        } else if (s->sent[r] < ITEMS) {
            again = true;
        }
    }
    if (again)
        tr_send(self, tr_self(self), tick);
}

TR_ACTOR(sender_def, .state_size = sizeof(sender), .init = sender_init, .receive = sender_receive);

static void *post_all(void *arg)
{
    traffic *t = arg;
    uint64_t sent[RECEIVERS] = {0};
    for (uint32_t done = 0; done < RECEIVERS;) {
        done = 0;
        for (uint32_t r = 0; r < RECEIVERS; r++) {
            for (int i = 0; i < 20 && sent[r] < ITEMS; i++)
                sent[r] +=
                    tr_post(t->node, t->receivers[r], item, .sender = POSTER, .n = sent[r] + 1) == TR_OK;
            done += sent[r] == ITEMS;
        }
    }
    return NULL;
}

static tr_err run_traffic(tr_actor *self, void *arg)
{
    traffic *t = arg;
    t->node = tr_node_of(self);
    tr_spawn_opts spread = {.place = TR_PLACE_SPREAD, .mailbox_places = t->places};
    for (uint32_t i = 0; i < RECEIVERS; i++)
        t->receivers[i] = tr_spawn_with(self, &receiver_def, t, &spread);
    spread.mailbox_places = 0;
    for (uint32_t i = 0; i < SENDERS; i++)
        tr_spawn_with(self, &sender_def, t, &spread);
    pthread_t poster;
    if (pthread_create(&poster, NULL, post_all, t) != 0)
        return TR_EAGAIN;
    for (int i = 0; i < 20000 && atomic_load(&t->receivers_done) < RECEIVERS; i++)
        tr_sleep(self, TR_MILLIS(1)); /* the fiber's: the loop goes on */
    if (atomic_load(&t->receivers_done) < RECEIVERS)
        return tr_fail(self, TR_EDEADLINE, "not everything arrived"); /* the poster may still be at it */
    pthread_join(poster, NULL);
    return TR_OK;
}

static void order_per_pair_holds_under_load(void **state)
{
    (void)state;
    static const uint32_t capacities[] = {2, 16, 1024};
    for (uint32_t loops = 1; loops <= 4; loops++)
        for (size_t i = 0; i < TR_COUNT(capacities); i++) {
            static traffic t;
            memset(&t, 0, sizeof(t));
            t.places = capacities[i];
            real_node_run(loops, run_traffic, &t);
            assert_int_equal(atomic_load(&t.out_of_order), 0);
            assert_int_equal(atomic_load(&t.receivers_done), RECEIVERS);
            if (capacities[i] == 2)
                assert_true(atomic_load(&t.full) > 0);
        }
}

/* ---- chaos --------------------------------------------------------------------------------------------- */

#define KNOWN      32
#define POPULATION 2000

static _Atomic uint64_t
    known_addresses[KNOWN][2]; /* generation and slot; the node's id apart: stale ones, often */
static atomic_int population;
static atomic_ullong inits, stops;
static uint64_t node_id;

typedef struct chaos {
    uint64_t steps;
    tr_msg *kept;
} chaos;

static tr_addr someone(tr_actor *self)
{
    uint64_t which = tr_random(self) % KNOWN;
    return (tr_addr){node_id,
                     (uint32_t)atomic_load_explicit(&known_addresses[which][0], memory_order_relaxed),
                     (uint32_t)atomic_load_explicit(&known_addresses[which][1], memory_order_relaxed)};
}

static void make_known(tr_actor *self, tr_addr address)
{
    uint64_t which = tr_random(self) % KNOWN;
    atomic_store_explicit(&known_addresses[which][0], address.slot, memory_order_relaxed);
    atomic_store_explicit(&known_addresses[which][1], address.generation, memory_order_relaxed);
}

static const tr_actor_def chaos_def, chaos_fiber_def;

static void noted(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    (void)context;
    if (tr_random(self) % 64 == 0)
        tr_exit(self, TR_EAPP, "in then: %s", result->error ? result->error->text : "answered");
    if (tr_random(self) % 64 == 0)
        tr_stop(self, someone(self), TR_EXIT_KILLED);
}

static void spawn_one(tr_actor *self)
{
    if (atomic_load_explicit(&population, memory_order_relaxed) >= POPULATION)
        return;
    uint64_t dice = tr_random(self), monitor;
    char name[32];
    snprintf(name, sizeof(name), "chaos%u", (unsigned)(dice >> 40) % 100);
    tr_spawn_opts opts = {.place = dice & 1 ? TR_PLACE_SPREAD : TR_PLACE_HERE,
                          .mailbox_places = 1 + (uint32_t)(dice >> 8) % 8,
                          .link = (dice & 14) == 2,
                          .monitor = dice & 16 ? &monitor : NULL,
                          .name = (dice & 0xe0) == 0x20 ? name : NULL};
    const tr_actor_def *def = (dice & 0xf00000) == 0 ? &chaos_fiber_def : &chaos_def;
    if ((dice & 0xe000000) == 0) {
        tr_future future = tr_spawn_ask(self, def, NULL, &opts);
        if (future.id && def == &chaos_def)
            tr_cancel(self, future);
        return;
    }
    tr_addr child = tr_spawn_with(self, def, NULL, &opts);
    if (!tr_addr_is_none(child))
        make_known(self, child);
}

/* What actors of both kinds do. */
static void do_something(tr_actor *self)
{
    tr_addr to = someone(self);
    switch (tr_random(self) % 14) {
    case 0:
    case 1:
    case 2:
        spawn_one(self);
        break;
    case 3:
        tr_stop(self, to, tr_random(self) & 1 ? TR_EXIT_KILLED : TR_EXIT_SHUTDOWN);
        break;
    case 4:
        tr_link(self, to);
        break;
    case 5:
        tr_unlink(self, to);
        break;
    case 6:
        tr_demonitor(self, tr_monitor(self, to) - tr_random(self) % 2);
        break;
    case 7:
        tr_after(self, tr_random(self) % TR_MILLIS(2), tick);
        break;
    case 8:
        if (tr_random(self) % 8 == 0)
            tr_exit(self, tr_random(self) & 1 ? TR_OK : TR_EAPP, "by chance");
        break;
    case 9:
        tr_trap_exit(self, tr_random(self) & 1);
        break;
    default:
        if (tr_send(self, to, tick) == TR_EFULL)
            tr_notify_writable(self, to);
    }
}

static tr_err chaos_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    if (tr_random(self) % 32 == 0)
        return tr_fail(self, TR_EAPP, "init fails by chance");
    atomic_fetch_add_explicit(&population, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&inits, 1, memory_order_relaxed);
    make_known(self, tr_self(self));
    tr_send(self, tr_self(self), tick);
    return TR_OK;
}

static void chaos_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    chaos *c = state;
    if (tr_msg_ask_number(msg)) {
        uint64_t dice = tr_random(self) % 4;
        if (dice == 0) {
            if (c->kept)
                tr_msg_free(self, &c->kept);
            c->kept = tr_msg_take(self, msg);
        } else if (dice == 1) {
            tr_reply_error(self, msg, TR_EPERM, "by chance");
        } else if (dice == 2) {
            tr_reply(self, msg, item, .n = 1);
        }
    }
    if (c->steps++ < 200) {
        do_something(self);
        if (tr_random(self) % 3 == 0) {
            tr_future f = tr_ask(self, someone(self), tr_random(self) % TR_MILLIS(5), tick);
            if (f.id)
                tr_then(self, f, noted, NULL);
            if (tr_random(self) % 4 == 0)
                tr_cancel(self, f);
        }
        if (c->steps % 2)
            tr_after(self, TR_MICROS(200), tick);
    }
}

static void chaos_stop(tr_actor *self, void *state)
{
    (void)state;
    atomic_fetch_sub_explicit(&population, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stops, 1, memory_order_relaxed);
    if (tr_random(self) % 8 == 0)
        tr_stop(self, someone(self), TR_EXIT_KILLED);
}

static tr_err chaos_run(tr_actor *self, void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        do_something(self);
        tr_future f[2];
        for (int j = 0; j < 2; j++)
            f[j] = tr_ask(self, someone(self), tr_random(self) % TR_MILLIS(3), tick);
        tr_err err = f[0].id && f[1].id ? tr_await_msg(self, tr_gather(self, f, 2), NULL) : TR_OK;
        if (err == TR_EKILLED)
            return err;
        const tr_msg *msg = tr_receive(self, TR_MILLIS(1));
        if (msg && tr_msg_ask_number(msg) && i % 2)
            tr_reply(self, msg, item, .n = 2);
        if (!msg && tr_last_error(self)->code == TR_EKILLED && tr_random(self) % 4)
            return TR_EKILLED;
    }
    return TR_OK;
}

static const tr_actor_def chaos_def = {.name = "chaos",
                                       .state_size = sizeof(chaos),
                                       .init = chaos_init,
                                       .receive = chaos_receive,
                                       .stop = chaos_stop};
static const tr_actor_def chaos_fiber_def = {
    .name = "chaos_fiber", .init = chaos_init, .run = chaos_run, .stop = chaos_stop};

static tr_err run_chaos(tr_actor *self, void *arg)
{
    uint64_t until = tr_now(self) + *(uint64_t *)arg;
    tr_trap_exit(self, true);
    while (tr_now(self) < until) {
        for (int i = 0; i < 50; i++) {
            tr_spawn_opts spread = {.place = TR_PLACE_SPREAD};
            make_known(self, tr_spawn_with(self, &chaos_def, NULL, &spread));
        }
        tr_sleep(self, TR_MILLIS(2));
    }
    return TR_OK;
}

static void chaos_adds_up(void **state)
{
    (void)state;
    uint64_t each = TR_MILLIS(500);
    for (uint32_t loops = 1; loops <= 4; loops++) {
        atomic_store(&population, 0);
        atomic_store(&inits, 0);
        atomic_store(&stops, 0);
        tr_node_opts opts = {.loops = loops, .log = real_node_quiet, .start = run_chaos, .arg = &each};
        tr_error error = {0};
        tr_node *node = tr_node_create(&opts, &error);
        assert_non_null(node);
        node_id = tr_node_id(node);
        assert_int_equal(tr_node_run(node, &error), TR_OK);
        tr_sums s;
        tr_node_sums(node, &s);
        tr_node_destroy(node);
        uint64_t dropped = 0;
        for (int why = 0; why < TR_DROP_COUNT; why++)
            dropped += s.dropped[why];
        assert_int_equal(s.queued, 0);
        assert_int_equal(s.passed + s.posted, s.arrived);
        assert_int_equal(s.accepted + s.arrived, s.handled + dropped + s.passed);
        assert_int_equal(atomic_load(&inits), atomic_load(&stops));
        assert_true(atomic_load(&inits) > 1000);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void *stop_the_node(void *arg)
{
    tr_node_stop(arg);
    return NULL;
}

static void a_node_can_be_stopped_from_any_thread_at_any_time(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        tr_node_opts opts = {.loops = 1 + (uint32_t)i % 4, .log = real_node_quiet};
        tr_error error = {0};
        tr_node *node = tr_node_create(&opts, &error);
        assert_non_null(node);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, stop_the_node, node), 0);
        assert_int_equal(tr_node_run(node, &error), TR_OK);
        pthread_join(thread, NULL);
        tr_node_destroy(node);
    }
}

static void a_node_that_never_ran_is_destroyed(void **state)
{
    (void)state;
    tr_node_opts opts = {.loops = 3, .log = real_node_quiet, .start = run_chaos};
    tr_error error = {0};
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    tr_node_destroy(node);
    tr_node_destroy(NULL);
    opts.loops = 4000000000u;
    assert_null(tr_node_create(&opts, &error));
    assert_int_equal(error.code, TR_EINVAL);
}

static tr_err fails(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_fail(self, TR_EAPP, "what start said");
}

static void what_start_returned_is_the_outcome(void **state)
{
    (void)state;
    tr_node_opts opts = {.loops = 2, .log = real_node_quiet, .start = fails};
    tr_error error = {0};
    tr_node *node = tr_node_create(&opts, &error);
    assert_int_equal(tr_node_run(node, &error), TR_EAPP);
    assert_string_equal(error.text, "what start said");
    tr_node_destroy(node);
}

static tr_err waits(tr_actor *self, void *arg)
{
    atomic_store((atomic_bool *)arg, true);
    return tr_receive(self, TR_FOREVER) ? TR_OK : tr_last_error(self)->code;
}

static void *stop_when_waiting(void *arg)
{
    void **both = arg;
    while (!atomic_load((atomic_bool *)both[1]))
        ;
    tr_node_stop(both[0]);
    return NULL;
}

/* A stop from outside is no failure of start: it returned because it was asked to. */
static void a_stopped_start_is_no_failure(void **state)
{
    (void)state;
    atomic_bool waiting = false;
    tr_node_opts opts = {.loops = 2, .log = real_node_quiet, .start = waits, .arg = &waiting};
    tr_error error = {0};
    tr_node *node = tr_node_create(&opts, &error);
    void *both[] = {node, &waiting};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_when_waiting, both), 0);
    assert_int_equal(tr_node_run(node, &error), TR_OK);
    pthread_join(thread, NULL);
    tr_node_destroy(node);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_per_pair_holds_under_load),
        cmocka_unit_test(chaos_adds_up),
        cmocka_unit_test(a_node_can_be_stopped_from_any_thread_at_any_time),
        cmocka_unit_test(a_node_that_never_ran_is_destroyed),
        cmocka_unit_test(what_start_returned_is_the_outcome),
        cmocka_unit_test(a_stopped_start_is_no_failure),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
