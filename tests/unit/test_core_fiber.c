/* actors/fibers/actor.c: fibers as actors: await, receive, sleep, and how they are ended. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static char trail[4096];

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    size_t length = strlen(trail);
    va_list args;
    va_start(args, format);
    int added = vsnprintf(trail + length, sizeof(trail) - length - 1, format, args);
    va_end(args);
    assert_true(added >= 0 && length + (size_t)added + 2 < sizeof(trail));
    strcat(trail, " ");
}

typedef struct rig {
    manual *m;
    manual_puppet p; /* who sends, kills and watches */
    tr_addr fiber;
    uint64_t count;
    uint64_t size;
} rig;

/* A puppet on the last loop and, on loop 0, a fiber with the rig as its argument, which the puppet watches.
 */
static rig *open_rig(uint32_t loops, const tr_actor_def *def)
{
    static rig r;
    memset(&r, 0, sizeof(r));
    trail[0] = '\0';
    r.m = manual_open(loops);
    manual_spawn(r.m, loops - 1, &r.p, NULL);
    manual_pump(r.m);
    r.fiber = manual_spawn_def(r.m, 0, def, &r, NULL);
    return &r;
}

static void watch_fiber(tr_actor *self, void *context)
{
    assert_true(tr_monitor(self, ((rig *)context)->fiber) != 0);
}

static void kill_fiber(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, ((rig *)context)->fiber, TR_EXIT_KILLED), TR_OK);
}

static void shut_fiber(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, ((rig *)context)->fiber, TR_EXIT_SHUTDOWN), TR_OK);
}

static void send_marks(tr_actor *self, void *context)
{
    rig *r = context;
    for (uint64_t i = 1; i <= r->count; i++)
        assert_int_equal(tr_send(self, r->fiber, mark, .n = i), TR_OK);
}

static void reply_n_plus_1(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const mark *m = tr_match(msg, mark);
    if (m && tr_msg_ask_number(msg))
        assert_int_equal(tr_reply(self, msg, mark, .n = m->n + 1), TR_OK);
}

static void keep_ask(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        assert_non_null(tr_msg_take(self, msg));
}

static void close_rig(rig *r)
{
    manual_pump(r->m);
    manual_check(r->m);
    manual_close(r->m);
}

/* ---- await --------------------------------------------------------------------------------------------- */

static tr_err awaits_twice(tr_actor *self, void *arg)
{
    rig *r = arg;
    for (uint64_t i = 1; i <= 2; i++) {
        const mark *m;
        TR_TRY(tr_await(self, tr_ask(self, r->p.address, TR_SECONDS(1), mark, .n = i * 10), mark, &m));
        note("%llu", (unsigned long long)m->n);
    }
    const tr_found *found;
    note("%s", tr_err_word(tr_await(self, tr_ask(self, r->p.address, TR_SECONDS(1), mark, .n = 1), tr_found,
                                    &found)));
    return TR_OK;
}

TR_ACTOR(awaiter, .run = awaits_twice);

static void await_gives_the_answer(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        rig *r = open_rig(loops, &awaiter);
        r->p.on = reply_n_plus_1;
        manual_do(r->m, r->p.address, watch_fiber, r);
        manual_pump(r->m);
        assert_string_equal(trail, "11 21 type ");
        assert_string_equal(r->p.trail + 5, "10 20 1 down:normal ");
        close_rig(r);
    }
}

static tr_err awaits_in_vain(tr_actor *self, void *arg)
{
    rig *r = arg;
    const mark *m;
    tr_err err = tr_await(self, tr_ask(self, r->p.address, TR_MILLIS(50), mark, .n = 1), mark, &m);
    note("%s:%s", tr_err_word(err), strstr(tr_last_error(self)->text, "asking mark of") ? "named" : "?");
    note("%s", tr_err_word(tr_await_msg(self, (tr_future){12345}, NULL)));
    return err;
}

TR_ACTOR(in_vain, .run = awaits_in_vain);

static void await_ends_at_the_deadline_and_what_it_returns_is_the_reason(void **state)
{
    (void)state;
    rig *r = open_rig(1, &in_vain);
    r->p.on = keep_ask;
    manual_do(r->m, r->p.address, watch_fiber, r);
    assert_string_equal(trail, "");
    manual_step(r->m, TR_MILLIS(51));
    assert_string_equal(trail, "deadline:named invalid ");
    assert_string_equal(r->p.trail, "init 1 canceled down:error ");
    close_rig(r);
}

static tr_err gathers(tr_actor *self, void *arg)
{
    rig *r = arg;
    tr_future all[3];
    for (uint64_t i = 0; i < 3; i++)
        all[i] = tr_ask(self, r->p.address, TR_SECONDS(1), mark, .n = i);
    note("%s", tr_err_word(tr_await_msg(self, tr_gather(self, all, 3), NULL)));
    for (int i = 0; i < 3; i++) {
        const mark *m;
        assert_int_equal(tr_await(self, all[i], mark, &m), TR_OK);
        note("%llu", (unsigned long long)m->n);
    }
    note("%s", tr_err_word(tr_await_msg(self, tr_gather(self, NULL, 0), NULL)));
    return TR_OK;
}

TR_ACTOR(gatherer, .run = gathers);

static void a_gather_can_be_awaited(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        rig *r = open_rig(loops, &gatherer);
        r->p.on = reply_n_plus_1;
        manual_pump(r->m);
        assert_string_equal(trail, "ok 1 2 3 ok ");
        close_rig(r);
    }
}

/* ---- receive and sleep --------------------------------------------------------------------------------- */

static tr_err receives(tr_actor *self, void *arg)
{
    (void)arg;
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_MILLIS(100));
        if (!msg) {
            note("%s", tr_err_word(tr_last_error(self)->code));
            return TR_OK;
        }
        const mark *m = tr_match(msg, mark);
        note("%llu", m ? (unsigned long long)m->n : 0);
    }
}

TR_ACTOR(receiver, .run = receives);

static void wait_in_a_receive_actor(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_sleep(self, 1), TR_EINVAL);
    assert_null(tr_receive(self, 1));
    assert_int_equal(tr_await_msg(self, (tr_future){1}, NULL), TR_EINVAL);
    assert_non_null(strstr(tr_last_error(self)->text, "is no fiber"));
}

static void only_fibers_wait(void **state)
{
    (void)state;
    rig *r = open_rig(1, &receiver);
    manual_do(r->m, r->p.address, wait_in_a_receive_actor, NULL);
    close_rig(r);
}

static void a_fiber_receives_in_order_until_its_time_is_up(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        rig *r = open_rig(loops, &receiver);
        r->count = 3;
        manual_do(r->m, r->p.address, send_marks, r); /* it is coming still */
        manual_step(r->m, TR_MILLIS(90));
        manual_do(r->m, r->p.address, send_marks, r);
        manual_step(r->m, TR_MILLIS(99));
        assert_string_equal(trail, "1 2 3 1 2 3 ");
        manual_step(r->m, TR_MILLIS(2));
        assert_string_equal(trail, "1 2 3 1 2 3 deadline ");
        assert_null(manual_actor(r->m, r->fiber));
        close_rig(r);
    }
}

static tr_err watches_and_forgets(tr_actor *self, void *arg)
{
    rig *r = arg;
    uint64_t number = tr_monitor(self, r->p.address);
    tr_sleep(self, TR_MILLIS(10)); /* meanwhile it dies: the tr_down is in the mailbox */
    tr_demonitor(self, number);
    note("%s", tr_receive(self, TR_MILLIS(20)) ? "message" : tr_err_word(tr_last_error(self)->code));
    return TR_OK;
}

TR_ACTOR(forgetful, .run = watches_and_forgets);

static void exit_now(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

static void a_down_that_is_not_wanted_is_no_message(void **state)
{
    (void)state;
    rig *r = open_rig(1, &forgetful);
    manual_do(r->m, r->p.address, exit_now, NULL);
    manual_step(r->m, TR_MILLIS(40));
    assert_string_equal(trail, "deadline ");
    close_rig(r);
}

static tr_err forgets_while_waiting(tr_actor *self, void *arg)
{
    rig *r = arg;
    r->count = tr_monitor(self, r->p.address);
    note("%s", tr_receive(self, TR_MILLIS(20)) ? "message" : tr_err_word(tr_last_error(self)->code));
    return TR_OK;
}

TR_ACTOR(waits_and_forgets, .run = forgets_while_waiting);

/* What woke it is filtered out in the very turn in which its time is up. */
static void a_filtered_message_does_not_hide_the_end_of_the_time(void **state)
{
    (void)state;
    rig *r = open_rig(1, &waits_and_forgets);
    manual_pump(r->m);
    tr_actor *fiber = manual_actor(r->m, r->fiber);
    struct tr__own_monitor *own = fiber->extras->monitors;
    fiber->extras->monitors = NULL; /* as a demonitor would have it */
    fiber->extras->monitor_count = 0;
    tr__free(own);
    manual_tell(r->m, r->p.address, exit_now, NULL);
    tr__run_one(r->m->node->loops[0]);
    r->m->now_ns += TR_MILLIS(30); /* the tr_down is there, the fiber hasn't run, and its time is up */
    manual_step(r->m, TR_MILLIS(1));
    assert_string_equal(trail, "deadline ");
    close_rig(r);
}

static tr_err sleeps(tr_actor *self, void *arg)
{
    (void)arg;
    uint64_t before = tr_now(self);
    tr_err err = tr_sleep(self, TR_MILLIS(30));
    note("%s:%llu", tr_err_word(err), (unsigned long long)((tr_now(self) - before) / 1000000));
    return TR_OK;
}

TR_ACTOR(sleeper, .run = sleeps);

static void a_sleep_is_not_ended_by_mail(void **state)
{
    (void)state;
    rig *r = open_rig(1, &sleeper);
    manual_pump(r->m); /* it sleeps */
    r->count = 2;
    manual_do(r->m, r->p.address, send_marks, r);
    manual_step(r->m, TR_MILLIS(29));
    assert_string_equal(trail, "");
    manual_step(r->m, TR_MILLIS(2));
    assert_string_equal(trail, "ok:30 ");
    assert_int_equal(manual_dropped(r->m, TR_DROP_LEFT), 2);
    close_rig(r);
}

static tr_err sends_itself(tr_actor *self, void *arg)
{
    rig *r = arg;
    tr_send(self, tr_self(self), mark, .n = 0);
    while (r->count++ < 100000 && tr_receive(self, TR_SECONDS(1)))
        tr_send(self, tr_self(self), mark, .n = 0);
    return TR_OK;
}

TR_ACTOR(self_sender, .run = sends_itself);

static void a_fiber_that_feeds_itself_does_not_keep_the_loop(void **state)
{
    (void)state;
    rig *r = open_rig(1, &self_sender);
    r->m->clock_step_ns = TR_MICROS(10);
    manual_turn(r->m, 0);
    assert_in_range(r->count, 1, 90000);
    manual_pump(r->m);
    assert_int_equal(r->count, 100001);
    close_rig(r);
}

static tr_err takes_messages(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_msg *msg = tr_receive(self, TR_FOREVER);
    tr_msg *kept = tr_msg_take(self, msg);
    assert_non_null(kept);
    assert_null(tr_msg_take(self, msg));
    const tr_msg *second = tr_receive(self, TR_FOREVER);
    note("%llu %llu", (unsigned long long)tr_match(kept, mark)->n,
         (unsigned long long)tr_match(second, mark)->n);
    tr_msg_free(self, &kept);
    assert_non_null(tr_msg_take(self, second)); /* released at the end */
    return TR_OK;
}

TR_ACTOR(taker, .run = takes_messages);

static void what_a_fiber_takes_is_its_own(void **state)
{
    (void)state;
    rig *r = open_rig(1, &taker);
    r->count = 2;
    manual_do(r->m, r->p.address, send_marks, r);
    assert_string_equal(trail, "1 2 ");
    close_rig(r);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static tr_err waits_for_ever(tr_actor *self, void *arg)
{
    rig *r = arg;
    tr_err err = TR_OK;
    const mark *m;
    if (r->count == 0)
        err = tr_sleep(self, TR_FOREVER);
    else if (r->count == 1)
        err = tr_await(self, tr_ask(self, r->p.address, TR_FOREVER, mark, .n = 1), mark, &m);
    else
        err = tr_receive(self, TR_FOREVER) ? TR_OK : tr_last_error(self)->code;
    note("%s", tr_err_word(err));
    note("%s", tr_err_word(tr_sleep(self, 1))); /* and every wait after it */
    return err;
}

static void fiber_stop(tr_actor *self, void *state)
{
    (void)self;
    (void)state;
    note("stop");
}

TR_ACTOR(waiter, .run = waits_for_ever, .stop = fiber_stop);

static void a_killed_fiber_may_return_from_any_wait(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (int shutdown = 0; shutdown < 2; shutdown++)
            for (uint64_t kind = 0; kind < 3; kind++) {
                rig *r = open_rig(loops, &waiter);
                r->p.on = keep_ask;
                r->count = kind;
                manual_do(r->m, r->p.address, watch_fiber, r);
                manual_do(r->m, r->p.address, shutdown ? shut_fiber : kill_fiber, r);
                assert_string_equal(trail, "killed killed stop ");
                assert_non_null(strstr(r->p.trail, shutdown ? "down:shutdown" : "down:killed"));
                close_rig(r);
            }
}

static tr_err never_returns(tr_actor *self, void *arg)
{
    for (;; ((rig *)arg)->size++)
        tr_sleep(self, TR_MILLIS(1));
    return TR_OK;
}

TR_ACTOR(stubborn, .run = never_returns, .stop = fiber_stop);

static void a_fiber_that_does_not_return_is_dropped_after_the_grace(void **state)
{
    (void)state;
    rig *r = open_rig(1, &stubborn);
    manual_do(r->m, r->p.address, watch_fiber, r);
    manual_tell(r->m, r->p.address, kill_fiber, r);
    r->m->clock_step_ns = TR_MICROS(1); /* it is runnable all the time: time must pass by itself */
    manual_pump(r->m);
    assert_string_equal(trail, "stop ");
    assert_string_equal(r->p.trail, "init down:killed ");
    close_rig(r);
}

static tr_err drains(tr_actor *self, void *arg)
{
    (void)arg;
    tr_sleep(self, TR_MILLIS(10));
    const tr_msg *msg;
    while ((msg = tr_receive(self, TR_FOREVER)))
        note("%llu", (unsigned long long)tr_match(msg, mark)->n);
    note("%s", tr_err_word(tr_last_error(self)->code));
    return TR_OK;
}

TR_ACTOR(drainer, .run = drains);

static void a_shutdown_lets_a_fiber_receive_what_came_before(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        rig *r = open_rig(1, &drainer);
        r->count = 3;
        manual_do(r->m, r->p.address, send_marks, r);
        manual_do(r->m, r->p.address, watch_fiber, r);
        manual_do(r->m, r->p.address, killed ? kill_fiber : shut_fiber, r);
        assert_string_equal(trail, killed ? "killed " : "1 2 3 killed ");
        assert_string_equal(r->p.trail, killed ? "init down:killed " : "init down:shutdown ");
        close_rig(r);
    }
}

static tr_err exits_by_itself(tr_actor *self, void *arg)
{
    (void)arg;
    tr_exit(self, TR_EAPP, "enough");
    note("%s", tr_err_word(tr_sleep(self, 1)));
    return TR_OK;
}

TR_ACTOR(self_exiter, .run = exits_by_itself);

static void tr_exit_in_a_fiber_is_its_reason(void **state)
{
    (void)state;
    rig *r = open_rig(1, &self_exiter);
    manual_do(r->m, r->p.address, watch_fiber, r);
    assert_string_equal(trail, "killed ");
    assert_string_equal(r->p.trail, "init down:error ");
    close_rig(r);
}

static void a_coming_fiber_can_be_killed(void **state)
{
    (void)state;
    rig *r = open_rig(1, &waiter);
    manual_tell(r->m, r->p.address, kill_fiber, r);
    manual_tell(r->m, r->p.address, watch_fiber, r);
    manual_pump(r->m);
    assert_string_equal(trail, "");
    assert_string_equal(r->p.trail, "init down:killed ");
    close_rig(r);
}

static void an_idle_fiber_is_ended_with_its_node(void **state)
{
    (void)state;
    for (uint64_t kind = 0; kind < 3; kind++) {
        rig *r = open_rig(1, &waiter);
        r->count = kind;
        r->p.on = keep_ask;
        close_rig(r);
        assert_string_equal(trail, "killed killed stop ");
    }
}

static void a_stubborn_fiber_does_not_hold_up_its_nodes_end(void **state)
{
    (void)state;
    rig *r = open_rig(1, &stubborn);
    manual_pump(r->m);
    close_rig(r);
    assert_string_equal(trail, "stop ");
    assert_in_range(r->size, 1, 2000);
}

static void trap_and_link(tr_actor *self, void *context)
{
    assert_int_equal(tr_link(self, ((rig *)context)->fiber), TR_OK);
    tr_exit(self, TR_EAPP, "broken on purpose");
}

static tr_err hears_exits(tr_actor *self, void *arg)
{
    rig *r = arg;
    if (r->count == 0)
        tr_trap_exit(self, true);
    const tr_msg *msg = tr_receive(self, TR_FOREVER);
    const tr_exited *exited = msg ? tr_match(msg, tr_exited) : NULL;
    note("%s", exited ? exited->text : tr_err_word(tr_last_error(self)->code));
    return TR_OK;
}

TR_ACTOR(exit_hearer, .run = hears_exits);

static void a_fiber_shares_fate_or_traps_exits(void **state)
{
    (void)state;
    for (uint64_t dies = 0; dies < 2; dies++) {
        rig *r = open_rig(2, &exit_hearer);
        r->count = dies;
        manual_pump(r->m);
        manual_do(r->m, r->p.address, trap_and_link, r);
        assert_string_equal(trail, dies ? "killed " : "broken on purpose ");
        close_rig(r);
    }
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static tr_err waits_with_failing_allocations(tr_actor *self, void *arg)
{
    (void)arg;
    tr_last_error(self);
    for (uint64_t n = 1; n < 4; n++) {
        tr__alloc_fail_at(n);
        tr_err err = tr_sleep(self, TR_MILLIS(1));
        tr__alloc_fail_at(0);
        note("%s", tr_err_word(err));
    }
    return TR_OK;
}

TR_ACTOR(poor_sleeper, .run = waits_with_failing_allocations);

static void a_wait_without_memory_fails_at_once(void **state)
{
    (void)state;
    rig *r = open_rig(1, &poor_sleeper);
    manual_step(r->m, TR_SECONDS(1));
    assert_string_equal(trail, "no-memory no-memory ok ");
    close_rig(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(await_gives_the_answer),
        cmocka_unit_test(await_ends_at_the_deadline_and_what_it_returns_is_the_reason),
        cmocka_unit_test(a_gather_can_be_awaited),
        cmocka_unit_test(only_fibers_wait),
        cmocka_unit_test(a_fiber_receives_in_order_until_its_time_is_up),
        cmocka_unit_test(a_down_that_is_not_wanted_is_no_message),
        cmocka_unit_test(a_filtered_message_does_not_hide_the_end_of_the_time),
        cmocka_unit_test(a_sleep_is_not_ended_by_mail),
        cmocka_unit_test(a_fiber_that_feeds_itself_does_not_keep_the_loop),
        cmocka_unit_test(what_a_fiber_takes_is_its_own),
        cmocka_unit_test(a_killed_fiber_may_return_from_any_wait),
        cmocka_unit_test(a_fiber_that_does_not_return_is_dropped_after_the_grace),
        cmocka_unit_test(a_shutdown_lets_a_fiber_receive_what_came_before),
        cmocka_unit_test(tr_exit_in_a_fiber_is_its_reason),
        cmocka_unit_test(a_coming_fiber_can_be_killed),
        cmocka_unit_test(an_idle_fiber_is_ended_with_its_node),
        cmocka_unit_test(a_stubborn_fiber_does_not_hold_up_its_nodes_end),
        cmocka_unit_test(a_fiber_shares_fate_or_traps_exits),
        cmocka_unit_test(a_wait_without_memory_fails_at_once),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
