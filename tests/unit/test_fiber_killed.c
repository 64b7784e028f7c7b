/* actors/fibers/wait.c: a killed fiber that pays no heed, and calls what waits again and again, whatever that returns: each
 * call steps aside, so its loop goes on and its grace period passes. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual.h"

typedef struct rig {
    manual *m;
    manual_puppet p, box;
    tr_addr fiber, full;
    uint64_t calls;
} rig;

static rig r;

/* Thousands may come. */
static void forget(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self, (void)msg;
    puppet->trail[0] = '\0';
}

/* Mailbox of one place, which is taken, and whose actor doesn't run. */
static void fill(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_send(self, r.full, mark, .n = 1), TR_OK);
}

static void kill_it(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_stop(self, r.fiber, TR_EXIT_KILLED), TR_OK);
}

static void drops_the_stack_of(const tr_actor_def *def)
{
    memset(&r, 0, sizeof(r));
    r.m = manual_open(1);
    r.p.on = forget;
    manual_spawn(r.m, 0, &r.p, NULL);
    tr_spawn_opts opts = {.mailbox_places = 1, .overflow = TR_OVERFLOW_WAIT};
    r.full = manual_spawn(r.m, 0, &r.box, &opts);
    manual_pump(r.m);
    manual_actor(r.m, r.full)->queued = true;
    manual_do(r.m, r.p.address, fill, NULL);
    r.fiber = manual_spawn_def(r.m, 0, def, NULL, NULL);
    manual_pump(r.m);
    r.m->clock_step_ns = TR_MICROS(10); /* it never rests, so time must pass by itself */
    manual_tell(r.m, r.p.address, kill_it, NULL);
    manual_pump(r.m);
    r.m->clock_step_ns = 0;
    assert_null(manual_actor(r.m, r.fiber));
    manual_actor(r.m, r.full)->queued = false;
    manual_mark(r.m, r.full, 2);
    manual_pump(r.m);
    manual_check(r.m);
    manual_close(r.m);
}

/* A call that doesn't step aside never comes back to the loop: better to fail than to stand still. */
static void count_call(void)
{
    if (++r.calls > 10000000)
        fail_msg("it holds its loop");
}

static tr_err sends_on(tr_actor *self, void *arg)
{
    (void)arg;
    for (;; count_call())
        tr_send(self, r.full, mark, .n = 2);
    return TR_OK;
}
TR_ACTOR(sender_def, .run = sends_on);

static void one_that_sends_to_a_full_mailbox_which_lets_wait(void **state)
{
    (void)state;
    drops_the_stack_of(&sender_def);
}

static tr_err asks_on(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, TR_FOREVER);
    for (;; count_call()) /* asks are a few thousand at most: those behind them have no future */
        tr_await_msg(self, tr_ask(self, r.p.address, TR_SECONDS(100), mark, .n = 2), NULL);
    return TR_OK;
}
TR_ACTOR(asker_def, .run = asks_on);

static void one_that_awaits_what_it_asks(void **state)
{
    (void)state;
    drops_the_stack_of(&asker_def);
}

static tr_err asks_the_dead(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, TR_FOREVER);
    tr_addr dead = {tr_self(self).node, 9999, 1};
    for (;; count_call()) /* these have settled before they are awaited */
        tr_await_msg(self, tr_ask(self, dead, TR_SECONDS(100), mark, .n = 2), NULL);
    return TR_OK;
}
TR_ACTOR(dead_asker_def, .run = asks_the_dead);

static void one_that_awaits_what_has_settled(void **state)
{
    (void)state;
    drops_the_stack_of(&dead_asker_def);
}

static tr_err awaits_nothing(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, TR_FOREVER);
    for (;; count_call())
        tr_await_msg(self, (tr_future){0}, NULL);
    return TR_OK;
}
TR_ACTOR(nothing_def, .run = awaits_nothing);

static void one_that_awaits_no_future(void **state)
{
    (void)state;
    drops_the_stack_of(&nothing_def);
}

static tr_err takes_from_the_dead(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr dead = {tr_self(self).node, 9999, 1};
    tr_future stream = tr_ask_stream(self, dead, TR_SECONDS(100), 1, mark, .n = 2);
    tr_receive(self, TR_FOREVER);
    for (;; count_call())
        tr_next_msg(self, stream, NULL);
    return TR_OK;
}
TR_ACTOR(dead_taker_def, .run = takes_from_the_dead);

static tr_err takes_from_nothing(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, TR_FOREVER);
    for (;; count_call())
        tr_next_msg(self, (tr_future){0}, NULL);
    return TR_OK;
}
TR_ACTOR(nothing_taker_def, .run = takes_from_nothing);

static void one_that_takes_items_of_what_has_ended(void **state)
{
    (void)state;
    drops_the_stack_of(&dead_taker_def);
    drops_the_stack_of(&nothing_taker_def);
}

static tr_err receives_on(tr_actor *self, void *arg)
{
    (void)arg;
    for (;; count_call()) {
        tr_receive(self, TR_FOREVER);
        tr_receive(self, 0);
        tr_receive_type(self, TR_SECONDS(1), mark);
    }
    return TR_OK;
}
TR_ACTOR(receiver_def, .run = receives_on);

static tr_err sleeps_on(tr_actor *self, void *arg)
{
    (void)arg;
    for (;; count_call())
        tr_sleep(self, r.calls ? 0 : TR_FOREVER);
    return TR_OK;
}
TR_ACTOR(sleeper_def, .run = sleeps_on);

static void one_that_receives_or_sleeps(void **state)
{
    (void)state;
    drops_the_stack_of(&receiver_def);
    drops_the_stack_of(&sleeper_def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_sends_to_a_full_mailbox_which_lets_wait),
        cmocka_unit_test(one_that_awaits_what_it_asks),
        cmocka_unit_test(one_that_awaits_what_has_settled),
        cmocka_unit_test(one_that_awaits_no_future),
        cmocka_unit_test(one_that_takes_items_of_what_has_ended),
        cmocka_unit_test(one_that_receives_or_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
