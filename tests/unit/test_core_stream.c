/* Streamed asks on one node: actors/futures/inflow.c, actors/futures/outflow.c, and what becomes of them when somebody pauses, gives up, ends,
 * is late, or hands them on. Between nodes: tests/sim/test_sim_streams.c. */
#include "base/mem.h"
#include "tests/unit/stream_fixture.h"

/* ---- what holds ---------------------------------------------------------------------------------------- */

static void items_come_in_order_never_more_than_the_window_and_then_the_answer(void **state)
{
    (void)state;
    const uint32_t windows[] = {1, 2, 3, 16, 255};
    for (uint32_t loops = 1; loops <= 3; loops++)
        for (size_t w = 0; w < TR_COUNT(windows); w++) {
            open_flow(loops, windows[w], MANY);
            run_flow();
            assert_int_equal(f.taken, MANY);
            assert_string_equal(f.p->a.trail, "init reply:1000 ");
            assert_int_equal(manual_dropped(f.p->m, TR_DROP_LATE_REPLY), 0);
            close_flow();
        }
}

static void a_stream_of_nothing_is_its_answer(void **state)
{
    (void)state;
    open_flow(2, 4, 0);
    run_flow();
    assert_string_equal(f.p->a.trail, "init reply:1000 ");
    close_flow();
}

static void who_pauses_stops_who_sends_and_is_given_the_rest_later(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        open_flow(loops, 4, MANY);
        f.stop_at = 3;
        run_flow();
        assert_int_equal(f.taken, 3);
        assert_int_equal(f.said, TR_EAGAIN);
        assert_true(f.sent > 4 && f.sent <= 3 + 4);
        manual_step(f.p->m, TR_MILLIS(100));
        assert_int_equal(f.taken, 3);
        resume();
        assert_int_equal(f.taken, MANY);
        assert_string_equal(f.p->a.trail, "init reply:1000 ");
        close_flow();
    }
}

static void the_answer_waits_behind_items_that_were_paused(void **state)
{
    (void)state;
    open_flow(2, 8, 5);
    f.stop_at = 2;
    run_flow();
    assert_int_equal(f.sent, 5);
    assert_string_equal(f.p->a.trail, "init ");
    manual_step(f.p->m, TR_SECONDS(2)); /* it came in time */
    assert_string_equal(f.p->a.trail, "init ");
    resume();
    assert_int_equal(f.taken, 5);
    assert_string_equal(f.p->a.trail, "init reply:1000 ");
    close_flow();
}

/* Resumed, and answered before the timer that gives the items has fired. */
static void an_answer_that_comes_as_it_is_resumed_waits_for_the_items(void **state)
{
    (void)state;
    open_flow(2, 8, 5);
    f.limit = 4;
    f.stop_at = 2;
    run_flow();
    manual_tell(f.p->m, f.p->a.address, a_goes_on, NULL);
    manual_tell(f.p->m, f.p->b.address, b_goes_on, NULL);
    manual_turn(f.p->m, 1);
    manual_turn(f.p->m, 0);
    manual_pump(f.p->m);
    manual_step(f.p->m, TR_MILLIS(1));
    assert_int_equal(f.taken, 5);
    assert_string_equal(f.p->a.trail, "init reply:1000 ");
    close_flow();
}

static void what_the_owner_keeps_is_taken(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        open_flow(loops, 4, MANY);
        f.keeps = true;
        run_flow();
        assert_int_equal(f.taken, MANY);
        for (uint64_t i = 0; i < MANY; i++)
            assert_int_equal(tr_match(f.kept[i], mark)->n, i);
        manual_do(f.p->m, f.p->a.address, a_frees_what_it_kept, NULL);
        assert_string_equal(f.p->a.trail, "init reply:1000 ");
        close_flow();
    }
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void a_cancel_midway_tells_who_sends_and_frees_what_waits(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (int dies = 0; dies < 2; dies++) {
            open_flow(loops, 4, MANY);
            f.stop_at = 3;
            run_flow();
            uint64_t waits = f.sent - f.taken;
            manual_do(f.p->m, f.p->a.address, dies ? pair_kill_a : pair_cancel, f.p);
            assert_non_null(strstr(f.p->b.trail, "canceled "));
            assert_int_equal(manual_dropped(f.p->m, TR_DROP_LATE_REPLY), waits);
            manual_do(f.p->m, f.p->b.address, b_goes_on, NULL);
            assert_int_equal(f.said, TR_ECANCELED);
            manual_do(f.p->m, f.p->b.address, b_drops_it, NULL);
            close_flow();
        }
}

static void a_callee_that_ends_fails_the_stream_behind_its_items(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (int how = 0; how < 4; how++) { /* killed or released; paused or not */
            open_flow(loops, 8, MANY);
            f.limit = 5;
            f.stop_at = how % 2 ? 2 : 0;
            run_flow();
            manual_do(f.p->m, how < 2 ? f.p->a.address : f.p->b.address, how < 2 ? pair_kill_b : b_drops_it,
                      f.p);
            if (how % 2) {
                assert_string_equal(f.p->a.trail, "init ");
                resume();
            }
            assert_int_equal(f.taken, 5);
            assert_string_equal(f.p->a.trail, "init error:no-actor ");
            close_flow();
        }
}

static void the_deadline_ends_a_stream_behind_the_items_that_came(void **state)
{
    (void)state;
    for (int paused = 0; paused < 2; paused++) {
        open_flow(2, 8, MANY);
        f.limit = 5;
        f.stop_at = paused ? 2 : 0;
        run_flow();
        manual_step(f.p->m, TR_MILLIS(1001));
        assert_non_null(strstr(f.p->b.trail, "canceled "));
        if (paused) {
            assert_string_equal(f.p->a.trail, "init ");
            resume();
        }
        assert_int_equal(f.taken, 5);
        assert_string_equal(f.p->a.trail, "init error:deadline ");
        manual_do(f.p->m, f.p->b.address, b_goes_on, NULL);
        assert_int_equal(f.said, TR_ECANCELED);
        manual_do(f.p->m, f.p->b.address, b_drops_it, NULL);
        close_flow();
    }
}

/* Given again late, the timer that gives the items isn't taken for the deadline. */
static void a_pause_leaves_the_deadline_where_it_was(void **state)
{
    (void)state;
    open_flow(2, 8, MANY);
    f.limit = 5;
    f.stop_at = 2;
    run_flow();
    manual_step(f.p->m, TR_MILLIS(900));
    resume();
    assert_int_equal(f.taken, 5);
    assert_string_equal(f.p->a.trail, "init ");
    manual_step(f.p->m, TR_MILLIS(101));
    assert_string_equal(f.p->a.trail, "init error:deadline ");
    manual_do(f.p->m, f.p->b.address, b_drops_it, NULL);
    close_flow();
}

static bool a_gives_up(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    (void)state;
    (void)item;
    (void)context;
    f.taken++;
    tr_cancel(self, f.future);
    return true;
}

static bool a_exits(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    (void)state;
    (void)item;
    (void)context;
    f.taken++;
    tr_exit(self, TR_OK, "enough");
    return true;
}

static void a_takes_otherwise(tr_actor *self, void *context)
{
    assert_int_equal(tr_each(self, f.future, (tr_each_fn)context, NULL), TR_OK);
}

static void who_gives_up_or_ends_within_an_item_gets_no_other(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        open_flow(2, 8, MANY);
        f.stop_at = 1;
        run_flow();
        manual_do(f.p->m, f.p->a.address, a_takes_otherwise, ends ? (void *)a_exits : (void *)a_gives_up);
        manual_step(f.p->m, TR_MILLIS(1));
        assert_int_equal(f.taken, 2);
        assert_string_equal(f.p->a.trail, ends ? "init stop " : "init ");
        assert_non_null(strstr(f.p->b.trail, "canceled "));
        manual_do(f.p->m, f.p->b.address, b_drops_it, NULL);
        close_flow();
    }
}

static void b_answers_and_ends(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    bool asked = tr_msg_ask_number(msg) != 0;
    b_produces(self, puppet, msg); /* and frees it */
    if (asked)
        tr_exit(self, TR_OK, "done");
}

/* Items that lie before the answer in the mailbox are demanded again when they are taken. */
static void who_answered_and_ended_is_no_dead_letter(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        open_flow(loops, 4, 4);
        f.p->b.on = b_answers_and_ends;
        run_flow();
        assert_int_equal(f.taken, 4);
        assert_string_equal(f.p->a.trail, "init reply:1000 ");
        assert_int_equal(manual_dropped(f.p->m, TR_DROP_NO_ACTOR), 0);
        close_flow();
    }
}

static void a_takes_nothing(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_each(self, f.future, NULL, NULL), TR_OK);
    assert_int_equal(tr_then(self, f.future, NULL, NULL), TR_OK);
}

static void a_takes_the_result(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_take_result(self, f.future, NULL), TR_OK);
}

static void without_a_function_nothing_is_called(void **state)
{
    (void)state;
    open_flow(2, 8, 5);
    f.stop_at = 2;
    run_flow();
    manual_do(f.p->m, f.p->a.address, a_takes_nothing, NULL);
    manual_step(f.p->m, TR_MILLIS(1));
    assert_string_equal(f.p->a.trail, "init ");
    manual_do(f.p->m, f.p->a.address, a_takes_the_result, NULL);
    close_flow();
}

/* ---- forwards ------------------------------------------------------------------------------------------ */

static manual_puppet c;

static void b_forwards(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_msg_ask_number(msg))
        return;
    manual_note(puppet, "%s", tr_err_word(tr_forward(self, msg, c.address)));
}

static void b_begins_and_forwards(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_msg_ask_number(msg))
        return;
    assert_int_equal(tr_reply_item(self, msg, mark, .n = f.sent++), TR_OK);
    manual_note(puppet, "%s", tr_err_word(tr_forward(self, msg, c.address)));
    assert_int_equal(tr_reply(self, msg, mark, .n = 1000), TR_OK);
}

static void a_stream_can_be_forwarded_until_it_has_begun(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 3; loops++) {
        open_flow(loops, 4, MANY);
        f.p->b.on = b_forwards;
        c = (manual_puppet){.on = b_produces};
        manual_spawn(f.p->m, loops / 2, &c, NULL);
        manual_pump(f.p->m);
        run_flow();
        assert_int_equal(f.taken, MANY);
        assert_string_equal(f.p->b.trail, "init 100 ok ");
        f.p->b.on = b_begins_and_forwards;
        f.taken = f.sent = 0;
        run_flow();
        assert_int_equal(f.taken, 1);
        assert_string_equal(f.p->b.trail, "init 100 ok 100 invalid ");
        assert_string_equal(f.p->a.trail, "init reply:1000 reply:1000 ");
        close_flow();
    }
}

static void a_cancel_finds_who_streams_after_a_forward(void **state)
{
    (void)state;
    open_flow(3, 4, MANY);
    f.p->b.on = b_forwards;
    f.stop_at = 2;
    c = (manual_puppet){.on = b_produces};
    manual_spawn(f.p->m, 1, &c, NULL);
    manual_pump(f.p->m);
    run_flow();
    manual_do(f.p->m, f.p->a.address, pair_cancel, f.p);
    assert_non_null(strstr(c.trail, "canceled "));
    manual_do(f.p->m, c.address, b_drops_it, NULL);
    close_flow();
}

static uint64_t chosen;

static void b_forwards_without_memory(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (!tr_msg_ask_number(msg))
        return;
    manual_dry_pool(f.p->m, 0);
    tr__alloc_fail_at(chosen);
    assert_int_equal(tr_forward(self, msg, c.address), TR_OK);
    tr__alloc_fail_at(0);
}

/* Else a cancel would go to who had it before, and its callee would wait for demand. */
static void without_memory_to_follow_it_a_forwarded_stream_fails(void **state)
{
    (void)state;
    uint32_t failed = 0, told = 0;
    for (chosen = 1; chosen < 4; chosen++) {
        open_flow(1, 4, MANY);
        f.p->b.on = b_forwards_without_memory;
        c = (manual_puppet){.on = b_produces};
        manual_spawn(f.p->m, 0, &c, NULL);
        manual_pump(f.p->m);
        f.limit = 0; /* none that would say who has it */
        run_flow();
        failed += strcmp(f.p->a.trail, "init error:no-memory ") == 0;
        manual_do(f.p->m, f.p->a.address, pair_cancel, f.p);
        told += strstr(c.trail, "canceled ") != NULL;
        assert_int_equal(failed + told, chosen);
        manual_do(f.p->m, c.address, b_drops_it, NULL);
        assert_int_equal(manual_actor(f.p->m, c.address)->count, 0);
        close_flow();
    }
    assert_true(failed && told);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_in_order_never_more_than_the_window_and_then_the_answer),
        cmocka_unit_test(a_stream_of_nothing_is_its_answer),
        cmocka_unit_test(who_pauses_stops_who_sends_and_is_given_the_rest_later),
        cmocka_unit_test(the_answer_waits_behind_items_that_were_paused),
        cmocka_unit_test(an_answer_that_comes_as_it_is_resumed_waits_for_the_items),
        cmocka_unit_test(what_the_owner_keeps_is_taken),
        cmocka_unit_test(a_cancel_midway_tells_who_sends_and_frees_what_waits),
        cmocka_unit_test(a_callee_that_ends_fails_the_stream_behind_its_items),
        cmocka_unit_test(the_deadline_ends_a_stream_behind_the_items_that_came),
        cmocka_unit_test(a_pause_leaves_the_deadline_where_it_was),
        cmocka_unit_test(who_gives_up_or_ends_within_an_item_gets_no_other),
        cmocka_unit_test(who_answered_and_ended_is_no_dead_letter),
        cmocka_unit_test(without_a_function_nothing_is_called),
        cmocka_unit_test(a_stream_can_be_forwarded_until_it_has_begun),
        cmocka_unit_test(a_cancel_finds_who_streams_after_a_forward),
        cmocka_unit_test(without_memory_to_follow_it_a_forwarded_stream_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
