/* actors/futures/future.c, pending.c: gathers, timers, bounds, and asks without memory. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

/* ---- gather -------------------------------------------------------------------------------------------- */

static void gather_three(tr_actor *self, void *context)
{
    pair *p = context;
    for (int i = 0; i < 3; i++)
        p->many[i] = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = (uint64_t)i * 10);
    p->future = tr_gather(self, p->many, 3);
    manual_then(self, p->future);
}

static void take_results(tr_actor *self, void *context)
{
    pair *p = context;
    for (int i = 0; i < 3; i++) {
        const tr_msg *msg;
        tr_err err = tr_take_result(self, p->many[i], &msg);
        const mark *m = msg ? tr_match(msg, mark) : NULL;
        manual_note(&p->a, "%s:%llu", tr_err_word(err), m ? (unsigned long long)m->n : 0);
    }
}

static void a_gather_settles_when_all_have(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = pair_reply;
        manual_do(p->m, p->a.address, gather_three, p);
        assert_string_equal(p->a.trail, "init reply:none ");
        manual_do(p->m, p->a.address, take_results, p);
        assert_string_equal(p->a.trail, "init reply:none ok:1 ok:11 ok:21 ");
        manual_do(p->m, p->a.address, take_results, p); /* consumed */
        assert_string_equal(p->a.trail, "init reply:none ok:1 ok:11 ok:21 invalid:0 invalid:0 invalid:0 ");
        pair_close(p);
    }
}

static void refuse_two(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const mark *m = tr_match(msg, mark);
    if (m && m->n == 10)
        tr_reply_error(self, msg, TR_EPERM, "not the second");
    else if (m && m->n == 20)
        tr_reply_error(self, msg, TR_EIO, "nor the third");
    else if (m && tr_msg_ask_number(msg))
        tr_reply(self, msg, mark, .n = m->n + 1);
}

static void a_gather_tells_the_first_error_and_the_others_their_results(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = refuse_two;
    manual_do(p->m, p->a.address, gather_three, p);
    assert_string_equal(p->a.trail, "init error:permission ");
    manual_do(p->m, p->a.address, take_results, p);
    assert_string_equal(p->a.trail, "init error:permission ok:1 permission:0 io:0 ");
    pair_close(p);
}

static void cancel_members(tr_actor *self, void *context)
{
    pair *p = context;
    for (int i = 0; i < 3; i++)
        tr_cancel(self, p->many[i]);
    manual_note(&p->a, "cancelled");
}

/* By their owner's handler: nothing is called within it. */
static void a_gather_of_cancelled_asks_fails_after_the_handler(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, gather_three, p);
    manual_do(p->m, p->a.address, cancel_members, p);
    manual_step(p->m, TR_MILLIS(1));
    assert_string_equal(p->a.trail, "init cancelled error:canceled ");
    pair_close(p);
}

static void gather_with_member_then(tr_actor *self, void *context)
{
    pair *p = context;
    p->many[0] = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 0);
    manual_then(self, p->many[0]);
    p->future = tr_gather(self, p->many, 1);
    manual_then(self, p->future);
}

static void cancel_member_0(tr_actor *self, void *context)
{
    tr_cancel(self, ((pair *)context)->many[0]);
}

static void a_cancelled_member_calls_nothing(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, gather_with_member_then, p);
    manual_do(p->m, p->a.address, cancel_member_0, p);
    manual_step(p->m, TR_MILLIS(1));
    assert_string_equal(p->a.trail, "init error:canceled "); /* the gather's alone */
    pair_close(p);
}

static void gather_twice(tr_actor *self, void *context)
{
    pair *p = context;
    p->many[0] = p->many[1] = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 0);
    p->future = tr_gather(self, p->many, 2); /* the same one twice: counts once */
    manual_then(self, p->future);
    tr_future again = tr_gather(self, p->many, 1);
    assert_int_equal(again.id, 0);
    assert_int_equal(tr_last_error(self)->code, TR_EINVAL);
    again = tr_gather(self, &p->future, 1);
    assert_int_equal(again.id, 0);
    assert_int_equal(tr_last_error(self)->code, TR_EINVAL);
    manual_then(self, tr_gather(self, NULL, 0));
}

static void a_future_is_in_one_gather_once(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, gather_twice, p);
    manual_step(p->m, TR_MILLIS(1));
    assert_string_equal(p->a.trail, "init reply:none reply:none ");
    pair_close(p);
}

static void exits_in_then(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    (void)result;
    manual_note(&((pair *)context)->a, "then");
    tr_exit(self, TR_OK, "enough");
}

static void gather_that_exits(tr_actor *self, void *context)
{
    pair *p = context;
    p->many[0] = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 0);
    p->future = tr_gather(self, p->many, 1);
    assert_int_equal(tr_then(self, p->many[0], exits_in_then, p), TR_OK);
    assert_int_equal(tr_then(self, p->future, exits_in_then, p), TR_OK);
}

static void nothing_is_called_after_a_callback_ended_the_actor(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, gather_that_exits, p);
    assert_string_equal(p->a.trail, "init then stop ");
    pair_close(p);
}

static void then_exits(tr_actor *self, void *context)
{
    pair *p = context;
    p->future = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 0);
    assert_int_equal(tr_then(self, p->future, exits_in_then, p), TR_OK);
}

static void a_deadline_callback_may_end_the_actor(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, then_exits, p);
    manual_step(p->m, TR_SECONDS(2));
    assert_string_equal(p->a.trail, "init then stop ");
    assert_null(manual_actor(p->m, p->a.address));
    pair_close(p);
}

/* ---- bounds -------------------------------------------------------------------------------------------- */

static void ask_until_refused(tr_actor *self, void *context)
{
    pair *p = context;
    uint32_t count = 0;
    while (tr_ask(self, p->b.address, TR_FOREVER, mark, .n = 0).id)
        count++;
    assert_int_equal(count, TR__ASKS_MAX);
    assert_int_equal(tr_last_error(self)->code, TR_EFULL);
    tr_future none = tr_spawn_ask(self, &manual_puppet_def, &p->b, NULL);
    assert_int_equal(none.id, 0);
    assert_int_equal(tr_last_error(self)->code, TR_EFULL);
}

static void outstanding_asks_are_bounded(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    pair p = {.m = m};
    tr_spawn_opts roomy = {.mailbox_places = 10000};
    p.b.on = NULL;
    manual_spawn(m, 0, &p.a, NULL);
    p.b.address = manual_spawn_def(m, 0, &manual_puppet_def, &p.b, &roomy);
    manual_turn(m, 0);
    manual_tell(m, p.a.address, ask_until_refused, &p);
    p.b.on = pair_keep;
    p.b.user = &p;
    manual_tell(m, p.a.address, pair_kill_b, &p);
    manual_pump(m);
    manual_close(m);
}

/* ---- timers -------------------------------------------------------------------------------------------- */

static tr_timer timers[3];

static void set_timers(tr_actor *self, void *context)
{
    (void)context;
    timers[0] = tr_after(self, TR_MILLIS(30), mark, .n = 30);
    timers[1] = tr_after(self, TR_MILLIS(10), mark, .n = 10);
    timers[2] = tr_after(self, TR_MILLIS(20), mark, .n = 20);
}

static void cancel_timer_2(tr_actor *self, void *context)
{
    (void)context;
    assert_true(tr_timer_cancel(self, timers[2]));
    assert_false(tr_timer_cancel(self, timers[2]));
    assert_false(tr_timer_cancel(self, (tr_timer){0}));
}

static void timers_fire_in_order_and_never_early(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, set_timers, NULL);
    manual_do(p->m, p->a.address, cancel_timer_2, NULL);
    manual_step(p->m, TR_MILLIS(9) + TR_MICROS(999));
    assert_string_equal(p->a.trail, "init ");
    manual_step(p->m, TR_MICROS(100));
    assert_string_equal(p->a.trail, "init 10 ");
    manual_step(p->m, TR_MILLIS(60));
    assert_string_equal(p->a.trail, "init 10 30 ");
    pair_close(p);
}

static void timers_of_a_dead_actor_do_not_fire(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, set_timers, NULL);
    manual_do(p->m, p->b.address, pair_kill_a, p);
    assert_int_equal(p->m->node->loops[0]->wheel.count, 0);
    manual_step(p->m, TR_SECONDS(1));
    assert_string_equal(p->a.trail, "init stop ");
    pair_close(p);
}

static void b_asks_and_exits_at_the_deadline(tr_actor *self, void *context)
{
    pair *p = context;
    tr_future future = tr_ask(self, p->a.address, p->timeout_ns, mark, .n = 0);
    assert_int_equal(tr_then(self, future, exits_in_then, p), TR_OK);
}

static tr_err asks_b_and_waits(tr_actor *self, void *arg)
{
    pair *p = arg;
    tr_err err = tr_await_msg(self, tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1), NULL);
    manual_note(&p->b, "awaited:%s", tr_err_word(err));
    return TR_OK;
}

TR_ACTOR(waits_for_b, .run = asks_b_and_waits);

/* Both deadlines are due in one tick. What the first one's callback does settles the second. */
static void a_deadline_that_was_settled_meanwhile_does_nothing(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->a.on = p->b.on = pair_keep;
    manual_do(p->m, p->b.address, b_asks_and_exits_at_the_deadline, p);
    manual_spawn_def(p->m, 0, &waits_for_b, p, NULL);
    manual_step(p->m, TR_SECONDS(3));
    assert_string_equal(p->b.trail, "init 1 stop awaited:no-actor ");
    pair_close(p);
}

static void another_actors_future_is_refused(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pair_ask_only, p);
    manual_do(p->m, p->b.address, pair_cancel, p); /* nothing happens */
    manual_do(p->m, p->b.address, take_results, p);
    assert_string_equal(p->b.trail, "init 1 ");
    assert_int_equal(manual_actor(p->m, p->a.address)->asks, 1);
    pair_close(p);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static uint64_t tries;

static void ask_with_failing_allocations(tr_actor *self, void *context)
{
    pair *p = context;
    for (tries = 1;; tries++) {
        tr__alloc_fail_at(tries);
        tr_future future = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1);
        tr__alloc_fail_at(0);
        if (future.id) {
            manual_then(self, future);
            return;
        }
        assert_int_equal(tr_last_error(self)->code, TR_ENOMEM);
    }
}

static void an_ask_without_memory_fails_at_once(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = pair_reply;
        manual_do(p->m, p->a.address, ask_with_failing_allocations, p);
        assert_true(tries > 1); /* the table of futures, at least */
        assert_string_equal(p->a.trail, "init reply:2 ");
        pair_close(p);
    }
}

static void gather_and_timer_with_failing_allocations(tr_actor *self, void *context)
{
    (void)context;
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        tr_future gather = tr_gather(self, NULL, 0);
        tr__alloc_fail_at(0);
        if (gather.id)
            break;
        assert_int_equal(tr_last_error(self)->code, TR_ENOMEM);
    }
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        tr_timer timer = tr_after(self, TR_MILLIS(1), mark, .n = 7);
        tr__alloc_fail_at(0);
        if (timer.id)
            break;
        assert_int_equal(tr_last_error(self)->code, TR_ENOMEM);
    }
}

static void a_gather_or_timer_without_memory_fails_at_once(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, gather_and_timer_with_failing_allocations, p);
    manual_step(p->m, TR_SECONDS(1));
    assert_string_equal(p->a.trail, "init 7 ");
    pair_close(p);
}

static void cancel_without_memory(tr_actor *self, void *context)
{
    tr__alloc_fail_at(1);
    pair_cancel(self, context);
    tr__alloc_fail_at(0);
}

static void a_cancel_without_memory_misleads_nobody(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_do(p->m, p->a.address, cancel_without_memory, p);
    manual_do(p->m, p->b.address, pair_reply_kept, p);
    assert_string_equal(p->a.trail, "init ");
#ifdef TR_PLAIN_POOLS /* else the cancel needs none */
    assert_int_equal(manual_dropped(p->m, TR_DROP_LATE_REPLY), 1);
#endif
    pair_close(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gather_settles_when_all_have),
        cmocka_unit_test(a_gather_tells_the_first_error_and_the_others_their_results),
        cmocka_unit_test(a_gather_of_cancelled_asks_fails_after_the_handler),
        cmocka_unit_test(a_cancelled_member_calls_nothing),
        cmocka_unit_test(a_future_is_in_one_gather_once),
        cmocka_unit_test(nothing_is_called_after_a_callback_ended_the_actor),
        cmocka_unit_test(a_deadline_callback_may_end_the_actor),
        cmocka_unit_test(outstanding_asks_are_bounded),
        cmocka_unit_test(timers_fire_in_order_and_never_early),
        cmocka_unit_test(timers_of_a_dead_actor_do_not_fire),
        cmocka_unit_test(a_deadline_that_was_settled_meanwhile_does_nothing),
        cmocka_unit_test(another_actors_future_is_refused),
        cmocka_unit_test(an_ask_without_memory_fails_at_once),
        cmocka_unit_test(a_gather_or_timer_without_memory_fails_at_once),
        cmocka_unit_test(a_cancel_without_memory_misleads_nobody),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
