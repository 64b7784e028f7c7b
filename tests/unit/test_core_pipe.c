/* actors/futures/pipe.c: results that come as messages; and the time that an ask takes over from the one it is made for. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* ---- pipe ---------------------------------------------------------------------------------------------- */

static void a_hears(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    const tr_settled *settled = tr_match(msg, tr_settled);
    if (settled)
        manual_note(puppet, "%s:%s", tr_err_word((tr_err)settled->code), settled->text);
    if (tr_msg_tag(msg))
        manual_note(puppet, "tag:%llu", (unsigned long long)tr_msg_tag(msg));
    assert_int_equal(tr_msg_ask_number(msg), 0);
}

static void pipe_ask(tr_actor *self, void *context)
{
    pair *p = context;
    p->future = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1);
    assert_int_equal(tr_pipe(self, p->future, 77), TR_OK);
    assert_int_equal(tr_pipe(self, p->future, 78), TR_EINVAL);
    assert_int_equal(tr_take_result(self, p->future, NULL), TR_EAGAIN);
}

static void reply_between_marks(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (!tr_msg_ask_number(msg))
        return;
    tr_send(self, tr_msg_sender(msg), mark, .n = 10);
    tr_reply(self, msg, mark, .n = 20);
    tr_send(self, tr_msg_sender(msg), mark, .n = 30);
}

static void a_piped_answer_is_a_message_in_order_with_the_others(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->a.on = a_hears;
        p->b.on = reply_between_marks;
        manual_do(p->m, p->a.address, pipe_ask, p);
        assert_string_equal(p->a.trail, "init 10 20 tag:77 30 ");
        pair_close(p);
    }
}

static void refuse(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        tr_reply_error(self, msg, TR_EPERM, "no");
}

static void what_settles_without_an_answer_comes_as_a_message_too(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    p->a.on = a_hears;
    p->b.on = refuse;
    manual_do(p->m, p->a.address, pipe_ask, p);
    assert_non_null(strstr(p->a.trail, "permission:no tag:77 "));
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pipe_ask, p);
    manual_step(p->m, TR_SECONDS(2));
    assert_non_null(strstr(p->a.trail, "deadline:asking mark of "));
    pair_close(p);
}

static void reply_with_a_notice(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        assert_int_equal(tr_reply(self, msg, tr_down, .monitor = 1), TR_EPERM);
}

static void an_answer_cannot_be_a_notice_that_would_be_believed(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->a.on = a_hears;
        p->b.on = reply_with_a_notice;
        manual_do(p->m, p->a.address, pipe_ask, p);
        assert_null(strstr(p->a.trail, "down:"));
        assert_non_null(strstr(p->a.trail, "permission:"));
        pair_close(p);
    }
}

static void pipe_a_gather(tr_actor *self, void *context)
{
    pair *p = context;
    for (int i = 0; i < 3; i++)
        p->many[i] = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1);
    p->future = tr_gather(self, p->many, 3);
    assert_int_equal(tr_pipe(self, p->future, 5), TR_OK);
}

static void a_gather_can_be_piped(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->a.on = a_hears;
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pipe_a_gather, p);
    assert_non_null(strstr(p->a.trail, "ok: tag:5 "));
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pipe_a_gather, p);
    p->b.on = NULL;
    manual_do(p->m, p->b.address, pair_kill_b, p);
    assert_non_null(strstr(p->a.trail, "no-actor:asking mark of "));
    pair_close(p);
}

static void pipe_settled(tr_actor *self, void *context)
{
    pair *p = context;
    assert_int_equal(tr_pipe(self, p->future, 3), TR_OK);
    assert_int_equal(tr_pipe(self, p->future, 3), TR_EINVAL); /* consumed */
    manual_note(&p->a, "piped");
}

static void a_settled_future_can_be_piped(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->a.on = a_hears;
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pair_ask_only, p);
    assert_string_equal(p->a.trail, "init ");
    manual_tell(p->m, p->a.address, pipe_settled, p);
    manual_mark(p->m, p->a.address, 8);
    manual_pump(p->m);
    assert_string_equal(p->a.trail, "init piped 2 tag:3 8 "); /* it came before the 8 */
    pair_close(p);
}

static void pipe_and_cancel(tr_actor *self, void *context)
{
    pipe_ask(self, context);
    tr_cancel(self, ((pair *)context)->future);
}

static void a_cancelled_pipe_brings_nothing(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->a.on = a_hears;
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pipe_and_cancel, p);
    manual_step(p->m, TR_SECONDS(2));
    assert_string_equal(p->a.trail, "init ");
    pair_close(p);
}

static void pipe_without_memory(tr_actor *self, void *context)
{
    pair *p = context;
    p->future = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = 1);
    manual_dry_pool(p->m, 0);
    tr__alloc_fail_at(1);
    assert_int_equal(tr_pipe(self, p->future, 3), TR_ENOMEM);
    tr__alloc_fail_at(0);
    manual_then(self, p->future); /* it is still there */
}

static void a_pipe_without_memory_changes_nothing(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = pair_reply;
    manual_do(p->m, p->a.address, pipe_without_memory, p);
    assert_string_equal(p->a.trail, "init reply:2 ");
    pair_close(p);
}

static char words[128];

static tr_err pipes_in_a_fiber(tr_actor *self, void *arg)
{
    pair *p = arg;
    assert_int_equal(tr_pipe(self, tr_ask(self, p->b.address, TR_SECONDS(1), mark, .n = 1), 4), TR_OK);
    assert_int_equal(tr_pipe(self, tr_ask(self, p->b.address, TR_SECONDS(1), blob, .n = 1), 5), TR_OK);
    for (const tr_msg *msg; (msg = tr_receive(self, TR_SECONDS(2)));) {
        size_t length = strlen(words);
        snprintf(words + length, sizeof(words) - length, "%s:%llu ", tr_msg_type_name(msg),
                 (unsigned long long)tr_msg_tag(msg));
    }
    return TR_OK;
}

TR_ACTOR(pipes_def, .run = pipes_in_a_fiber);

static void a_fiber_receives_what_it_piped(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->b.on = reply_between_marks;
        words[0] = '\0';
        manual_spawn_def(p->m, 0, &pipes_def, p, NULL);
        manual_step(p->m, TR_SECONDS(3));
        assert_string_equal(words, "mark:0 mark:4 mark:0 mark:0 mark:5 mark:0 ");
        pair_close(p);
    }
}

/* ---- time over hops ------------------------------------------------------------------------------------ */

/* a asks b, which asks c for it; c keeps it. */
typedef struct hops {
    pair *p;
    manual_puppet c;
    uint64_t time_ns; /* what b gives */
    uint64_t remaining_ns;
} hops;

static hops h;

static void c_hears(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg)) {
        h.remaining_ns = tr_msg_remaining(self, msg);
        assert_non_null(tr_msg_take(self, msg));
    }
}

static void b_asks_c(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (!tr_msg_ask_number(msg))
        return;
    manual_then(self, tr_ask(self, h.c.address, h.time_ns, mark, .n = 7));
    assert_non_null(tr_msg_take(self, msg));
}

static uint64_t given_to_c(uint64_t a_gives, uint64_t b_gives)
{
    h.p = pair_open(2);
    h.c = (manual_puppet){.on = c_hears};
    manual_spawn(h.p->m, 0, &h.c, NULL);
    h.p->b.on = b_asks_c;
    h.p->timeout_ns = a_gives;
    h.time_ns = b_gives;
    manual_do(h.p->m, h.p->a.address, pair_ask, h.p);
    uint64_t given = h.remaining_ns;
    pair_close(h.p);
    return given;
}

static void an_ask_made_for_another_has_no_more_time_than_that_one(void **state)
{
    (void)state;
    assert_int_equal(given_to_c(TR_SECONDS(3), TR_INHERIT), TR_SECONDS(3));
    assert_int_equal(given_to_c(TR_SECONDS(3), TR_WITHIN(TR_SECONDS(5))), TR_SECONDS(3));
    assert_int_equal(given_to_c(TR_SECONDS(3), TR_WITHIN(TR_SECONDS(2))), TR_SECONDS(2));
    assert_int_equal(given_to_c(TR_SECONDS(3), TR_WITHIN(TR_MILLIS(2))), TR_MILLIS(2));
    assert_int_equal(given_to_c(TR_SECONDS(3), TR_WITHIN(TR_FOREVER)), TR_SECONDS(3));
    assert_int_equal(given_to_c(TR_SECONDS(3), TR_SECONDS(5)), TR_SECONDS(5)); /* not asked to */
    assert_true(given_to_c(TR_FOREVER, TR_INHERIT) == TR_FOREVER);
    assert_int_equal(given_to_c(TR_FOREVER, TR_WITHIN(TR_SECONDS(2))), TR_SECONDS(2));
}

static void ask_for_nobody(tr_actor *self, void *context)
{
    h.p = context;
    tr_ask(self, h.c.address, TR_INHERIT, mark, .n = 1);
}

static tr_err fiber_asks_c(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_msg *msg = tr_receive(self, TR_FOREVER);
    tr_sleep(self, TR_SECONDS(1));
    tr_future future = tr_ask(self, h.c.address, TR_INHERIT, mark, .n = 7);
    tr_reply(self, msg, mark, .n = 1);
    tr_ask(self, h.c.address, TR_INHERIT, mark, .n = 8); /* answered: it works for nobody now */
    return tr_await_msg(self, future, NULL);
}

TR_ACTOR(fiber_asks_def, .run = fiber_asks_c);

static void who_handles_no_ask_inherits_nothing(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    h.c = (manual_puppet){.on = c_hears};
    manual_spawn(p->m, 0, &h.c, NULL);
    manual_do(p->m, p->a.address, ask_for_nobody, p);
    assert_true(h.remaining_ns == TR_FOREVER);
    pair_close(p);
}

static uint64_t heard[2];

static void c_notes(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const mark *m = tr_match(msg, mark);
    heard[m->n - 7] = tr_msg_remaining(self, msg);
}

static void a_fiber_gives_on_what_is_left_of_what_it_received(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    h.c = (manual_puppet){.on = c_notes};
    manual_spawn(p->m, 0, &h.c, NULL);
    p->b.address = manual_spawn_def(p->m, 0, &fiber_asks_def, NULL, NULL);
    p->timeout_ns = TR_SECONDS(3);
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_step(p->m, TR_MILLIS(1100));
    assert_in_range(heard[0], TR_SECONDS(2) - TR_MILLIS(1),
                    TR_SECONDS(2)); /* it slept for a second of them */
    assert_true(heard[1] == TR_FOREVER);
    pair_close(p);
}

/* ---- asks of a fiber's init ---------------------------------------------------------------------------- */

static tr_err ask_early(tr_actor *self, void *state, const void *arg)
{
    const pair *p = arg;
    *(tr_future *)state = tr_ask(self, p->b.address, TR_SECONDS(10), mark, .n = 1);
    return TR_OK;
}

static tr_err await_it(tr_actor *self, void *arg)
{
    const tr_msg *msg;
    manual_note(&((pair *)arg)->a, "%s", tr_err_word(tr_await_msg(self, *(tr_future *)tr_state(self), &msg)));
    return TR_OK;
}

TR_ACTOR(asks_early_def, .init = ask_early, .run = await_it, .state_size = sizeof(tr_future));

static void an_ask_of_a_fibers_init_has_all_of_its_time(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        pair *p = pair_open(i / 2 + 1);
        p->b.on = pair_keep;
        manual_spawn_def(p->m, 0, &asks_early_def, p, NULL);
        manual_step(p->m, TR_SECONDS(9));
        assert_string_equal(p->a.trail, "init ");
        if (i % 2)
            manual_step(p->m, TR_SECONDS(2));
        else
            manual_do(p->m, p->b.address, pair_reply_kept, p);
        assert_string_equal(p->a.trail, i % 2 ? "init deadline " : "init ok ");
        pair_close(p);
    }
}

static void take_three(tr_actor *self, void *context)
{
    pair *p = context;
    for (int i = 0; i < 3; i++)
        p->many[i] = tr_ask(self, p->b.address, p->timeout_ns, mark, .n = (uint64_t)i);
}

static void pipe_three(tr_actor *self, void *context)
{
    pair *p = context;
    tr_send(self, tr_self(self), mark, .n = 50);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(tr_pipe(self, p->many[i], 100 + i), TR_OK);
}

static void settled_ones_come_in_the_order_in_which_they_were_piped(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        p->a.on = a_hears;
        p->b.on = pair_reply;
        manual_do(p->m, p->a.address, take_three, p);
        manual_do(p->m, p->a.address, pipe_three, p);
        assert_string_equal(p->a.trail, "init 1 tag:100 2 tag:101 3 tag:102 50 ");
        pair_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_piped_answer_is_a_message_in_order_with_the_others),
        cmocka_unit_test(what_settles_without_an_answer_comes_as_a_message_too),
        cmocka_unit_test(a_gather_can_be_piped),
        cmocka_unit_test(a_settled_future_can_be_piped),
        cmocka_unit_test(a_cancelled_pipe_brings_nothing),
        cmocka_unit_test(a_pipe_without_memory_changes_nothing),
        cmocka_unit_test(a_fiber_receives_what_it_piped),
        cmocka_unit_test(an_ask_made_for_another_has_no_more_time_than_that_one),
        cmocka_unit_test(who_handles_no_ask_inherits_nothing),
        cmocka_unit_test(a_fiber_gives_on_what_is_left_of_what_it_received),
        cmocka_unit_test(an_answer_cannot_be_a_notice_that_would_be_believed),
        cmocka_unit_test(an_ask_of_a_fibers_init_has_all_of_its_time),
        cmocka_unit_test(settled_ones_come_in_the_order_in_which_they_were_piped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
