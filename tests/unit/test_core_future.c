/* actors/futures/future.c, pending.c: asks and answers: replies, ends, deadlines, cancels. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void then_now(tr_actor *self, void *context)
{
    pair *p = context;
    manual_then(self, p->future);
    assert_null(strstr(p->a.trail, "reply")); /* never from within the call */
}

static void free_kept(tr_actor *self, void *context)
{
    tr_msg_free(self, &((pair *)context)->kept);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static void an_ask_is_answered(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = pair_reply;
        manual_do(p->m, p->a.address, pair_ask, p);
        assert_string_equal(p->a.trail, "init reply:2 ");
        assert_int_equal(manual_actor(p->m, p->a.address)->asks, 0);
        pair_close(p);
    }
}

static void then_on_a_settled_future_is_called_in_its_turn(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pair_ask_only, p);
    manual_do(p->m, p->a.address, then_now, p);
    manual_step(p->m, TR_MILLIS(1));
    assert_string_equal(p->a.trail, "init reply:2 ");
    pair_close(p);
}

static void reply_twice(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_msg_ask_number(msg)) {
        manual_note(puppet, "sent:%s", tr_err_word(tr_reply(self, msg, mark, .n = 3)));
        return;
    }
    assert_int_equal(tr_reply(self, msg, mark, .n = 3), TR_OK);
    manual_note(puppet, "again:%s", tr_err_word(tr_reply(self, msg, mark, .n = 4)));
    manual_note(puppet, "error:%s", tr_err_word(tr_reply_error(self, msg, TR_EAPP, "no")));
}

static void a_second_reply_is_an_error_of_the_callee(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = reply_twice;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_mark(p->m, p->b.address, 7);
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init 1 again:invalid error:invalid 7 sent:invalid ");
    assert_string_equal(p->a.trail, "init reply:3 ");
    pair_close(p);
}

static void refuse(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        assert_int_equal(tr_reply_error(self, msg, TR_EPERM, "not for you"), TR_OK);
}

static void an_error_is_an_answer(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = refuse;
        manual_do(p->m, p->a.address, pair_ask, p);
        assert_string_equal(p->a.trail, "init error:permission ");
        pair_close(p);
    }
}

static void an_unanswered_ask_fails_when_it_is_released(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->a.address, pair_ask, p); /* b's handler just returns */
        assert_string_equal(p->a.trail, "init error:no-actor ");
        p->b.on = pair_keep;
        manual_do(p->m, p->a.address, pair_ask, p);
        assert_string_equal(p->a.trail, "init error:no-actor ");
        manual_do(p->m, p->b.address, free_kept, p);
        assert_string_equal(p->a.trail, "init error:no-actor error:no-actor ");
        pair_close(p);
    }
}

static void reply_without_memory(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    tr__alloc_fail_at(1);
    tr_err err = tr_reply(self, msg, mark, .n = 5);
    tr__alloc_fail_at(0);
#ifdef TR_PLAIN_POOLS
    assert_int_equal(err, TR_ENOMEM);
#else
    (void)err;
#endif
}

static void a_reply_without_memory_is_told_to_the_asker(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = reply_without_memory;
    manual_do(p->m, p->a.address, pair_ask, p);
#ifdef TR_PLAIN_POOLS
    assert_string_equal(p->a.trail, "init error:no-memory ");
#endif
    pair_close(p);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void a_callee_that_dies_fails_its_asks_at_once(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (int keeps = 0; keeps < 2; keeps++) {
            pair *p = pair_open(loops);
            p->b.on = keeps ? pair_keep : NULL;
            if (keeps) {
                manual_do(p->m, p->a.address, pair_ask, p);
                manual_do(p->m, p->a.address, pair_kill_b, p);
            } else { /* queued when the kill comes */
                manual_tell(p->m, p->a.address, pair_ask, p);
                manual_tell(p->m, p->a.address, pair_kill_b, p);
                manual_pump(p->m);
            }
            assert_string_equal(p->a.trail, "init error:no-actor ");
            manual_do(p->m, p->a.address, pair_ask, p); /* and of one that is gone already */
            assert_string_equal(p->a.trail, "init error:no-actor error:no-actor ");
            pair_close(p);
        }
}

static void an_asker_that_dies_cancels_its_asks(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = pair_keep;
        manual_do(p->m, p->a.address, pair_ask, p);
        manual_do(p->m, p->b.address, pair_kill_a, p);
        assert_string_equal(p->b.trail, "init 1 canceled ");
        manual_do(p->m, p->b.address, pair_reply_kept, p);
        assert_string_equal(p->b.trail, "init 1 canceled canceled "); /* nobody wants the reply */
        pair_close(p);
    }
}

static void a_deadline_fails_the_ask_and_tells_the_callee(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = pair_keep;
        manual_do(p->m, p->a.address, pair_ask, p);
        manual_step(p->m, TR_MILLIS(999));
        assert_string_equal(p->a.trail, "init ");
        manual_step(p->m, TR_MILLIS(2));
        assert_string_equal(p->a.trail, "init error:deadline ");
        assert_string_equal(p->b.trail, "init 1 canceled ");
        manual_do(p->m, p->b.address, pair_reply_kept, p);
        assert_string_equal(p->b.trail, "init 1 canceled canceled ");
        assert_string_equal(p->a.trail, "init error:deadline ");
        pair_close(p);
    }
}

static void take(tr_actor *self, void *context)
{
    const tr_msg *msg;
    tr_err err = tr_take_result(self, ((pair *)context)->future, &msg);
    manual_note(manual_self(self), "%s:%s", tr_err_word(err), msg ? tr_msg_type_name(msg) : "none");
}

/* Its deadline passes unnoticed. */
static void a_settled_future_waits_to_be_taken(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pair_ask_only, p);
    manual_step(p->m, TR_SECONDS(3));
    manual_do(p->m, p->a.address, take, p);
    manual_do(p->m, p->a.address, take, p);
    assert_string_equal(p->a.trail, "init ok:mark invalid:none ");
    pair_close(p);
}

/* The answer and the cancel cross: it reaches nobody. */
static void a_late_answer_reaches_nobody(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_tell(p->m, p->a.address, pair_cancel, p);
    manual_turn(p->m, 0);
    manual_tell(p->m, p->b.address, pair_reply_kept, p);
    tr__run_one(p->m->node->loops[1]); /* its inbox isn't looked at yet */
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init ");
    assert_string_equal(p->b.trail, "init 1 ok canceled ");
    assert_int_equal(manual_dropped(p->m, TR_DROP_LATE_REPLY), 1);
    pair_close(p);
}

/* Nor the ask that came after, whose entry is the same one. */
static void a_late_answer_is_not_taken_for_that_of_the_next_ask(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pair_ask, p);
    tr_future first = p->future;
    manual_tell(p->m, p->a.address, pair_cancel, p);
    manual_tell(p->m, p->a.address, pair_ask, p);
    manual_turn(p->m, 0);
    assert_int_equal((uint32_t)p->future.id, (uint32_t)first.id);
    manual_tell(p->m, p->b.address, pair_reply_kept, p);
    tr__run_one(p->m->node->loops[1]); /* its inbox isn't looked at yet */
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init ");
    assert_int_equal(manual_dropped(p->m, TR_DROP_LATE_REPLY), 1);
    manual_do(p->m, p->b.address, pair_reply_kept, p);
    assert_string_equal(p->a.trail, "init reply:9 ");
    pair_close(p);
}

static void an_answer_stops_the_deadline(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_step(p->m, TR_SECONDS(3));
    assert_string_equal(p->a.trail, "init reply:2 ");
    assert_int_equal(p->m->node->loops[0]->wheel.count, 0);
    pair_close(p);
}

static void a_cancel_drops_the_queued_ask(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    manual_tell(p->m, p->a.address, pair_ask, p);
    manual_turn(p->m, 0);
    manual_tell(p->m, p->a.address, pair_cancel, p);
    manual_turn(p->m, 0); /* both are in b's inbox */
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init ");
    assert_string_equal(p->a.trail, "init ");
    assert_int_equal(manual_dropped(p->m, TR_DROP_CANCELED), 1);
    pair_close(p);
}

static void ask_self_and_cancel_other(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    pair *p = puppet->user;
    const mark *m = tr_match(msg, mark);
    if (m && m->n == 50) { /* first: have the ask queued behind the next mark */
        p->future = tr_ask(self, tr_self(self), TR_FOREVER, mark, .n = 1);
    } else if (m && m->n == 51) {
        tr_cancel(self, p->future);
    }
}

/* It takes a message out of the batch that is being handled. */
static void an_ask_to_oneself_can_be_cancelled_in_its_batch(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->a.on = ask_self_and_cancel_other;
    manual_mark(p->m, p->a.address, 50);
    manual_mark(p->m, p->a.address, 51); /* the batch: 50, 51; then 51b and the ask */
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init 50 51 ");
    manual_mark(p->m, p->a.address, 50);
    manual_turn(p->m, 0);
    pair_close(p);
}

static void send_self_51_and_ask_self(tr_actor *self, void *context)
{
    pair *p = context;
    assert_int_equal(tr_send(self, tr_self(self), mark, .n = 51), TR_OK);
    p->future = tr_ask(self, tr_self(self), TR_FOREVER, mark, .n = 1);
}

static void a_batch_ends_where_the_mailbox_does(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->a.on = ask_self_and_cancel_other;
    manual_do(p->m, p->a.address, send_self_51_and_ask_self,
              p); /* the next batch: 51, which cancels the ask */
    assert_string_equal(p->a.trail, "init 51 ");
    pair_close(p);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static void work_long_then_ask(tr_actor *self, void *context)
{
    pair *p = context;
    p->m->now_ns += TR_MILLIS(100);
    pair_ask(self, p);
}

static void an_ask_after_long_work_has_its_whole_time(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    p->timeout_ns = TR_MILLIS(50);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, work_long_then_ask, p);
    assert_string_equal(p->a.trail, "init reply:2 ");
    pair_close(p);
}

static void is_slow(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    (void)msg;
    ((pair *)puppet->user)->m->now_ns += TR_MILLIS(2);
}

static void set_timer(tr_actor *self, void *context)
{
    (void)context;
    assert_true(tr_after(self, TR_MILLIS(1), mark, .n = 9).id != 0);
}

static void slow_handlers_delay_a_timer_by_a_few_only_and_keep_their_order(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = is_slow;
    manual_do(p->m, p->a.address, set_timer, NULL);
    for (uint64_t n = 1; n <= 100; n++)
        manual_mark(p->m, p->b.address, n);
    uint64_t began = p->m->now_ns;
    while (!strstr(p->a.trail, "9"))
        assert_true(manual_turn(p->m, 0));
    assert_in_range(p->m->now_ns - began, 0, TR_MILLIS(2) * 2 * TR__TURN_CHECK);
    manual_pump(p->m);
    const char *at = p->b.trail;
    for (int n = 1; n <= 100; n++) {
        char word[16];
        snprintf(word, sizeof(word), " %d ", n);
        assert_non_null(at = strstr(at, word));
    }
    pair_close(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ask_is_answered),
        cmocka_unit_test(then_on_a_settled_future_is_called_in_its_turn),
        cmocka_unit_test(a_second_reply_is_an_error_of_the_callee),
        cmocka_unit_test(an_error_is_an_answer),
        cmocka_unit_test(an_unanswered_ask_fails_when_it_is_released),
        cmocka_unit_test(a_reply_without_memory_is_told_to_the_asker),
        cmocka_unit_test(a_callee_that_dies_fails_its_asks_at_once),
        cmocka_unit_test(an_asker_that_dies_cancels_its_asks),
        cmocka_unit_test(a_deadline_fails_the_ask_and_tells_the_callee),
        cmocka_unit_test(a_settled_future_waits_to_be_taken),
        cmocka_unit_test(a_late_answer_reaches_nobody),
        cmocka_unit_test(a_late_answer_is_not_taken_for_that_of_the_next_ask),
        cmocka_unit_test(an_answer_stops_the_deadline),
        cmocka_unit_test(a_cancel_drops_the_queued_ask),
        cmocka_unit_test(an_ask_to_oneself_can_be_cancelled_in_its_batch),
        cmocka_unit_test(a_batch_ends_where_the_mailbox_does),
        cmocka_unit_test(an_ask_after_long_work_has_its_whole_time),
        cmocka_unit_test(slow_handlers_delay_a_timer_by_a_few_only_and_keep_their_order),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
