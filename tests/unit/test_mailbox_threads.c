/* Mailboxes of every policy under threads as they are: floods from all loops and from a foreign thread, fibers that wait,
 * messages that expire. Order per pair among what is handled, and the sums at the end. Run with the thread sanitizer; no
 * sleeps but a fiber's. */
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

#define BOXES   4 /* one a policy */
#define SENDERS 4
#define WAITERS 3
#define ALL     (SENDERS + WAITERS + 1) /* and the foreign thread */
#define ITEMS   3000u

typedef struct storm {
    tr_addr boxes[BOXES];
    tr_node *node;
    atomic_uint started, done, out_of_order, refused_to_waiters;
    atomic_uint handled_of_waiters;
    atomic_uint levels;
} storm;

typedef struct box {
    storm *s;
    bool waits;
    uint64_t seen[ALL];
} box;

static tr_err box_init(tr_actor *self, void *state, const void *arg)
{
    ((box *)state)->s = (storm *)arg;
    return tr_notify_level(self, tr_self(self), 75);
}

static void box_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    box *b = state;
    const item *i = tr_match(msg, item);
    const tr_mailbox_level *level = tr_match(msg, tr_mailbox_level);
    if (level) {
        atomic_fetch_add(&b->s->levels, 1);
        if (!level->high)
            tr_notify_level(self, tr_self(self), 75);
    }
    if (!i)
        return;
    if (i->n <= b->seen[i->sender])
        atomic_fetch_add(&b->s->out_of_order, 1);
    b->seen[i->sender] = i->n;
    if (i->sender >= SENDERS && i->sender < SENDERS + WAITERS)
        atomic_fetch_add(&b->s->handled_of_waiters, 1);
}

TR_ACTOR(box_def, .state_size = sizeof(box), .init = box_init, .receive = box_receive, .mailbox_places = 16);

typedef struct sender {
    storm *s;
    uint32_t number;
    uint64_t n;
} sender;

static tr_err sender_init(tr_actor *self, void *state, const void *arg)
{
    sender *s = state;
    s->s = (storm *)arg;
    s->number = atomic_fetch_add(&s->s->started, 1);
    return tr_send(self, tr_self(self), tick);
}

/* Twenty to each box, whatever becomes of them; some with little time. */
static void sender_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    sender *s = state;
    if (!tr_match(msg, tick))
        return;
    for (int i = 0; i < 20 && s->n < ITEMS; i++) {
        s->n++;
        tr_send_opts opts = {.ttl_ns = s->n % 3 ? 0 : TR_MICROS(20)};
        for (uint32_t b = 0; b < BOXES; b++)
            tr_send_with(self, s->s->boxes[b], &opts, item, .sender = s->number, .n = s->n);
    }
    if (s->n < ITEMS)
        tr_send(self, tr_self(self), tick);
    else
        atomic_fetch_add(&s->s->done, 1);
}

TR_ACTOR(sender_def, .state_size = sizeof(sender), .init = sender_init, .receive = sender_receive);

static atomic_uint waiter_number;

static tr_err waiter_run(tr_actor *self, void *arg)
{
    storm *s = arg;
    uint32_t number = SENDERS + atomic_fetch_add(&waiter_number, 1) % WAITERS;
    for (uint64_t n = 1; n <= ITEMS; n++)
        if (tr_send(self, s->boxes[TR_OVERFLOW_WAIT - 1], item, .sender = number, .n = n) != TR_OK)
            atomic_fetch_add(&s->refused_to_waiters, 1);
    atomic_fetch_add(&s->done, 1);
    return TR_OK;
}

TR_ACTOR(waiter_def, .run = waiter_run);

static void *post_all(void *arg)
{
    storm *s = arg;
    for (uint64_t n = 1; n <= ITEMS; n++)
        for (uint32_t b = 0; b < BOXES; b++)
            tr_post(s->node, s->boxes[b], item, .sender = ALL - 1, .n = n);
    atomic_fetch_add(&s->done, 1);
    return NULL;
}

static tr_err run_storm(tr_actor *self, void *arg)
{
    storm *s = arg;
    s->node = tr_node_of(self);
    for (uint32_t b = 0; b < BOXES; b++) {
        tr_spawn_opts opts = {.place = TR_PLACE_SPREAD, .overflow = (tr_overflow)(TR_OVERFLOW_REFUSE + b)};
        s->boxes[b] = tr_spawn_with(self, &box_def, s, &opts);
    }
    tr_spawn_opts spread = {.place = TR_PLACE_SPREAD};
    for (uint32_t i = 0; i < SENDERS; i++)
        tr_spawn_with(self, &sender_def, s, &spread);
    for (uint32_t i = 0; i < WAITERS; i++)
        tr_spawn_with(self, &waiter_def, s, &spread);
    pthread_t poster;
    if (pthread_create(&poster, NULL, post_all, s) != 0)
        return TR_EAGAIN;
    for (int i = 0; i < 60000 && atomic_load(&s->done) < ALL; i++)
        tr_sleep(self, TR_MILLIS(1));
    if (atomic_load(&s->done) < ALL)
        return tr_fail(self, TR_EDEADLINE, "%u of %u are done", atomic_load(&s->done), ALL);
    pthread_join(poster, NULL);
    for (int i = 0; i < 5000 && atomic_load(&s->handled_of_waiters) < WAITERS * ITEMS; i++)
        tr_sleep(self, TR_MILLIS(1));
    return TR_OK;
}

static void every_policy_keeps_order_and_count_under_load(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 4; loops++) {
        static storm s;
        memset(&s, 0, sizeof(s));
        tr_sums sums = real_node_run(loops, run_storm, &s);
        assert_true(sums.dropped[TR_DROP_OLDEST] > 0 && sums.dropped[TR_DROP_NEWEST] > 0);
        assert_int_equal(atomic_load(&s.out_of_order), 0);
        assert_int_equal(atomic_load(&s.refused_to_waiters), 0);
        assert_int_equal(atomic_load(&s.handled_of_waiters), WAITERS * ITEMS);
        assert_true(atomic_load(&s.levels) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_policy_keeps_order_and_count_under_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
