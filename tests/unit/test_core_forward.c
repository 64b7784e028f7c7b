/* actors/futures/forward.c: asks that are handed on, on one node; actors/futures/cancel.c: whom a cancel finds then. Between nodes:
 * tests/sim/test_sim_futures.c. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* a asks b, b hands it on to c, which lives on any of three loops. */
static manual_puppet c;
static tr_msg *kept_by_c;

static void b_forwards(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (tr_msg_ask_number(msg))
        manual_note(puppet, "%s", tr_err_word(tr_forward(self, msg, c.address)));
}

static void c_replies(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const mark *m = tr_match(msg, mark);
    if (m && tr_msg_ask_number(msg))
        tr_reply(self, msg, mark, .n = m->n + 100);
}

static void c_keeps(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        kept_by_c = tr_msg_take(self, msg);
}

static pair *open_three(uint32_t loops, uint32_t loop_of_c)
{
    pair *p = pair_open(loops);
    p->b.on = b_forwards;
    c = (manual_puppet){.on = c_replies};
    manual_spawn(p->m, loop_of_c, &c, NULL);
    manual_pump(p->m);
    return p;
}

static void who_asked_hears_from_who_it_was_forwarded_to(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 3; loops++) {
        pair *p = open_three(loops, loops / 2);
        manual_do(p->m, p->a.address, pair_ask, p);
        assert_string_equal(p->a.trail, "init reply:101 ");
        assert_string_equal(p->b.trail, "init 1 ok ");
        assert_string_equal(c.trail, "init 1 ");
        pair_close(p);
    }
}

static void b_forwards_kept(tr_actor *self, void *context)
{
    pair *p = context;
    manual_note(&p->b, "%s", tr_err_word(tr_forward(self, p->kept, c.address)));
}

static void a_kept_ask_can_be_forwarded_later(void **state)
{
    (void)state;
    pair *p = open_three(2, 1);
    p->b.on = pair_keep;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_do(p->m, p->b.address, b_forwards_kept, p);
    assert_string_equal(p->a.trail, "init reply:101 ");
    pair_close(p);
}

static void a_cancel_finds_who_has_it_now(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 3; loops++) {
        pair *p = open_three(loops, loops / 2);
        c.on = c_keeps;
        manual_do(p->m, p->a.address, pair_ask, p);
        manual_do(p->m, p->a.address, pair_cancel, p);
        assert_string_equal(c.trail, "init 1 canceled ");
        assert_string_equal(p->b.trail, "init 1 ok ");
        pair_close(p);
    }
}

/* The cancel goes to b while the ask is on its way from b to c. */
static void a_cancel_that_crosses_a_forward_finds_it_too(void **state)
{
    (void)state;
    for (int dies = 0; dies < 2; dies++) {
        pair *p = open_three(3, 1);
        p->b.on = pair_keep;
        c.on = c_keeps;
        manual_do(p->m, p->a.address, pair_ask, p);
        manual_tell(p->m, p->a.address, dies ? pair_kill_a : pair_cancel, p);
        manual_tell(p->m, p->b.address, b_forwards_kept, p);
        manual_turn(p->m, 2); /* b: it is handed on */
        manual_turn(p->m, 0); /* a: given up; b would be told */
        manual_pump(p->m);
        assert_string_equal(c.trail, dies ? "init " : "init 1 canceled "); /* dropped from the queue */
        assert_string_equal(p->b.trail, "init 1 ok ");
        pair_close(p);
    }
}

static void c_hands_back(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (tr_msg_ask_number(msg))
        assert_int_equal(tr_forward(self, msg, ((pair *)puppet->user)->b.address), TR_OK);
}

/* It keeps what comes back. */
static void b_hands_on_once(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    b_forwards(self, puppet, msg);
    puppet->on = pair_keep;
}

/* While the other loop has its turn. */
static void a_gives_up_meanwhile(tr_actor *self, void *context)
{
    pair *p = context;
    manual_turn(p->m, 1);
    tr_cancel(self, p->future);
}

static void who_handed_an_ask_round_hears_once_that_it_is_given_up(void **state)
{
    (void)state;
    pair *p = open_three(2, 1);
    p->b.on = b_hands_on_once;
    c.on = c_hands_back;
    c.user = p;
    manual_tell(p->m, p->a.address, pair_ask, p);
    manual_turn(p->m, 0);
    manual_tell(p->m, p->a.address, a_gives_up_meanwhile, p);
    manual_turn(p->m, 0);
    assert_string_equal(p->b.trail, "init 1 ok 1 ");
    manual_turn(p->m, 0); /* a's loop hears where it went, when b has been told already */
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init 1 ok 1 canceled ");
    pair_close(p);
}

static void b_fails_and_forwards(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_msg_ask_number(msg))
        return;
    assert_int_equal(tr_reply(self, msg, tr_down, .monitor = 1), TR_EPERM);
    b_forwards(self, puppet, msg);
}

static void why_it_was_not_answered_before_a_forward_is_no_matter_behind_it(void **state)
{
    (void)state;
    pair *p = open_three(2, 0);
    p->b.on = b_fails_and_forwards;
    c.on = NULL; /* and doesn't answer */
    manual_do(p->m, p->a.address, pair_ask, p);
    assert_string_equal(p->a.trail, "init error:no-actor ");
    pair_close(p);
}

static void the_deadline_goes_with_a_forwarded_ask(void **state)
{
    (void)state;
    pair *p = open_three(2, 0);
    c.on = c_keeps;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_step(p->m, TR_MILLIS(1001));
    assert_string_equal(p->a.trail, "init error:deadline ");
    assert_string_equal(c.trail, "init 1 canceled ");
    pair_close(p);
}

static void kill_c(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_stop(self, c.address, TR_EXIT_KILLED), TR_OK);
}

static void the_end_of_who_has_it_fails_it_and_of_who_had_it_does_not(void **state)
{
    (void)state;
    pair *p = open_three(2, 0);
    c.on = c_keeps;
    manual_do(p->m, p->a.address, pair_ask, p);
    manual_do(p->m, p->a.address, pair_kill_b, p);
    assert_string_equal(p->a.trail, "init ");
    manual_do(p->m, p->a.address, kill_c, p);
    assert_string_equal(p->a.trail, "init error:no-actor ");
    pair_close(p);
    p = open_three(2, 0); /* and to one that is gone */
    manual_do(p->m, p->a.address, kill_c, p);
    manual_do(p->m, p->a.address, pair_ask, p);
    assert_string_equal(p->a.trail, "init error:no-actor ");
    pair_close(p);
}

static void b_tries(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    manual_note(puppet, "%s", tr_err_word(tr_forward(self, msg, c.address)));
    if (!tr_msg_ask_number(msg))
        return;
    tr_reply(self, msg, mark, .n = 5); /* it was refused, so it is still here */
    manual_note(puppet, "%s", tr_err_word(tr_forward(self, msg, c.address)));
}

static void fill_c(tr_actor *self, void *context)
{
    (void)context;
    for (int i = 0; i < 8; i++)
        assert_int_equal(tr_send(self, c.address, mark, .n = 0), TR_OK);
}

static void a_refused_forward_leaves_the_ask(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    p->b.on = b_tries;
    c = (manual_puppet){0};
    manual_spawn(p->m, 0, &c, &(tr_spawn_opts){.mailbox_places = 8});
    manual_pump(p->m);
    manual_mark(p->m, p->b.address, 3);
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init 3 invalid "); /* no ask */
    manual_tell(p->m, p->a.address, pair_ask, p);
    manual_tell(p->m, p->b.address, fill_c, p);
    manual_pump(p->m);
    assert_non_null(strstr(p->b.trail, "invalid 1 "));
    pair_close(p);
}

static tr_err forwards_in_a_fiber(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));)
        if (tr_msg_ask_number(msg))
            assert_int_equal(tr_forward(self, msg, c.address), TR_OK);
    return TR_OK;
}

TR_ACTOR(forwards_def, .run = forwards_in_a_fiber);

static void a_fiber_forwards_what_it_received(void **state)
{
    (void)state;
    pair *p = open_three(2, 1);
    p->b.address = manual_spawn_def(p->m, 0, &forwards_def, NULL, NULL);
    for (int i = 0; i < 3; i++)
        manual_do(p->m, p->a.address, pair_ask, p);
    assert_string_equal(p->a.trail, "init reply:101 reply:101 reply:101 ");
    pair_close(p);
}

static uint64_t chosen;

static void b_forwards_without_memory(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    pair *p = manual_self(self)->user;
    if (!tr_msg_ask_number(msg))
        return;
    manual_dry_pool(p->m, 0);
    tr__alloc_fail_at(chosen);
    assert_int_equal(tr_forward(self, msg, c.address), TR_OK);
    tr__alloc_fail_at(0);
}

static void a_forward_needs_no_memory(void **state)
{
    (void)state;
    for (chosen = 1; chosen < 4; chosen++) {
        pair *p = open_three(1, 0);
        p->b.on = b_forwards_without_memory;
        manual_do(p->m, p->a.address, pair_ask, p);
        assert_string_equal(p->a.trail, "init reply:101 ");
        pair_close(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asked_hears_from_who_it_was_forwarded_to),
        cmocka_unit_test(a_kept_ask_can_be_forwarded_later),
        cmocka_unit_test(a_cancel_finds_who_has_it_now),
        cmocka_unit_test(a_cancel_that_crosses_a_forward_finds_it_too),
        cmocka_unit_test(who_handed_an_ask_round_hears_once_that_it_is_given_up),
        cmocka_unit_test(why_it_was_not_answered_before_a_forward_is_no_matter_behind_it),
        cmocka_unit_test(the_deadline_goes_with_a_forwarded_ask),
        cmocka_unit_test(the_end_of_who_has_it_fails_it_and_of_who_had_it_does_not),
        cmocka_unit_test(a_refused_forward_leaves_the_ask),
        cmocka_unit_test(a_fiber_forwards_what_it_received),
        cmocka_unit_test(a_forward_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
