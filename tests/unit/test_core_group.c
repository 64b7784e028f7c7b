/* actors/futures/gather.c: several futures as one: partial failure, the first of them, and one after the other. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* b answers 1 at once, refuses 2, and keeps all others until it is told (answer_kept). */
static tr_msg *kept[8];

static void b_hears(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    const mark *m = tr_match(msg, mark);
    if (!m || !tr_msg_ask_number(msg))
        return;
    if (m->n == 1)
        tr_reply(self, msg, mark, .n = 1);
    else if (m->n == 2)
        tr_reply_error(self, msg, TR_EPERM, "not the %s", "second");
    else if (m->n < TR_COUNT(kept))
        kept[m->n] = tr_msg_take(self, msg);
}

static void answer(tr_actor *self, uint64_t n)
{
    assert_int_equal(tr_reply(self, kept[n], mark, .n = n), TR_OK);
    tr_msg_free(self, &kept[n]);
}

static void answer_4(tr_actor *self, void *context)
{
    (void)context;
    answer(self, 4);
}

static void answer_3(tr_actor *self, void *context)
{
    (void)context;
    answer(self, 3);
}

static pair *open_pair(uint32_t loops)
{
    pair *p = pair_open(loops);
    p->b.on = b_hears;
    return p;
}

static tr_future ask(tr_actor *self, const pair *p, uint64_t n)
{
    return tr_ask(self, p->b.address, p->timeout_ns, mark, .n = n);
}

static void note_results(tr_actor *self, void *context)
{
    pair *p = context;
    for (int i = 0; i < 3; i++) {
        const tr_msg *msg;
        tr_err err = tr_take_result(self, p->many[i], &msg);
        const mark *m = msg ? tr_match(msg, mark) : NULL;
        manual_note(&p->a, "%s:%llu", tr_err_word(err), m ? (unsigned long long)m->n : 0);
    }
}

/* ---- gathers ------------------------------------------------------------------------------------------- */

static void gather_settled(tr_actor *self, void *context)
{
    pair *p = context;
    for (uint64_t i = 0; i < 3; i++)
        p->many[i] = ask(self, p, i + 1);
    manual_then(self, tr_gather_settled(self, p->many, 3));
}

static void a_settled_gather_waits_for_all_and_does_not_fail(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = open_pair(loops);
        manual_do(p->m, p->a.address, gather_settled, p);
        assert_string_equal(p->a.trail, "init ");
        manual_do(p->m, p->b.address, answer_3, p);
        assert_string_equal(p->a.trail, "init reply:none ");
        manual_do(p->m, p->a.address, note_results, p);
        assert_string_equal(p->a.trail, "init reply:none ok:1 permission:0 ok:3 ");
        pair_close(p);
    }
}

static void first_of_three(tr_actor *self, void *context)
{
    pair *p = context;
    p->timeout_ns = TR_SECONDS(100);
    for (uint64_t i = 0; i < 3; i++)
        p->many[i] = ask(self, p, i + 3);
    manual_then(self, tr_first_of(self, p->many, 3));
}

static void the_first_of_several_settles_once_and_the_others_stay(void **state)
{
    (void)state;
    pair *p = open_pair(2);
    manual_do(p->m, p->a.address, first_of_three, p);
    manual_do(p->m, p->b.address, answer_4, p);
    assert_string_equal(p->a.trail, "init reply:none ");
    manual_do(p->m, p->b.address, answer_3, p);
    manual_do(p->m, p->a.address, note_results, p);
    assert_string_equal(p->a.trail, "init reply:none ok:3 ok:4 again:0 ");
    pair_close(p);
}

static void first_of_nothing(tr_actor *self, void *context)
{
    pair *p = context;
    assert_int_equal(tr_first_of(self, NULL, 0).id, 0);
    assert_int_equal(tr_last_error(self)->code, TR_EINVAL);
    p->many[0] = ask(self, p, 3);
    tr_future first = tr_first_of(self, p->many, 1);
    assert_int_equal(tr_gather(self, p->many, 1).id, 0); /* it waits in one at a time */
    tr_cancel(self, first);
    assert_true(tr_first_of(self, p->many, 1).id != 0);
    tr_group group = tr_group_open(self);
    assert_int_equal(tr_group_add(self, group, p->many[0]), TR_EINVAL);
    const tr_msg *msg;
    assert_int_equal(tr_group_next_msg(self, group, &msg), TR_EINVAL); /* which the group says */
    assert_int_equal(tr_group_close(self, group), TR_EINVAL);
    assert_int_equal(tr_group_close(self, group), TR_EINVAL); /* and that it is closed */
}

static void of_no_futures_there_is_no_first(void **state)
{
    (void)state;
    pair *p = open_pair(1);
    manual_do(p->m, p->a.address, first_of_nothing, p);
    pair_close(p);
}

/* ---- in fibers ----------------------------------------------------------------------------------------- */

static tr_err (*body)(tr_actor *self, pair *p);
static char words[256];

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    size_t length = strlen(words);
    va_list args;
    va_start(args, format);
    vsnprintf(words + length, sizeof(words) - length, format, args);
    va_end(args);
}

static tr_err run_body(tr_actor *self, void *arg)
{
    return body(self, arg);
}

TR_ACTOR(fiber_def, .run = run_body);

static tr_addr start_fiber(pair *p, tr_err (*what)(tr_actor *, pair *))
{
    body = what;
    words[0] = '\0';
    tr_addr fiber = manual_spawn_def(p->m, 0, &fiber_def, p, NULL);
    manual_pump(p->m);
    return fiber;
}

static tr_err waits_for_any(tr_actor *self, pair *p)
{
    tr_future futures[3];
    for (uint64_t i = 0; i < 3; i++)
        futures[i] = tr_ask(self, p->b.address, TR_SECONDS(2), mark, .n = i + 3);
    for (size_t left = 3, index; left; left--) {
        TR_TRY(tr_wait_any(self, futures, left, &index));
        const mark *m;
        tr_err err = tr_await(self, futures[index], mark, &m);
        say("%zu:%s ", index, tr_err_word(err));
        for (size_t i = index; i + 1 < left; i++)
            futures[i] = futures[i + 1];
    }
    futures[0] = ask(self, p, 1);
    futures[1] = ask(self, p, 1);
    tr_sleep(self, TR_MILLIS(1));
    size_t index = 9;
    assert_int_equal(tr_wait_any(self, futures, 2, &index),
                     TR_OK); /* both are there: the first in the array */
    say("%zu", index);
    tr_cancel(self, futures[0]);
    assert_int_equal(tr_wait_any(self, futures, 2, &index), TR_EINVAL); /* it was consumed */
    return TR_OK;
}

static void wait_any_gives_them_in_the_order_of_settling(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = open_pair(loops);
        start_fiber(p, waits_for_any);
        manual_do(p->m, p->b.address, answer_4, p);
        assert_string_equal(words, "1:ok ");
        manual_do(p->m, p->b.address, answer_3, p);
        assert_string_equal(words, "1:ok 0:ok ");
        manual_step(p->m, TR_SECONDS(3)); /* a deadline settles as well */
        assert_string_equal(words, "1:ok 0:ok 0:deadline 0");
        pair_close(p);
    }
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void a_killed_fiber_leaves_wait_any_and_groups(void **state)
{
    (void)state;
    pair *p = open_pair(1);
    tr_addr fiber = start_fiber(p, waits_for_any);
    manual_do(p->m, p->a.address, kill_it, &fiber);
    assert_null(manual_actor(p->m, fiber));
    assert_string_equal(p->b.trail, "init 3 4 5 canceled canceled canceled ");
    pair_close(p);
}

static tr_err takes_a_group(tr_actor *self, pair *p)
{
    static const uint64_t order[] = {5, 3, 2, 4, 6, 1, 1, 1, 1, 1, 1, 1, 7};
    tr_group group = tr_group_open(self);
    for (size_t i = 0; i < TR_COUNT(order); i++)
        tr_group_add(self, group, tr_ask(self, p->b.address, TR_SECONDS(2), mark, .n = order[i]));
    const mark *m;
    tr_err err;
    for (int i = 0; i < 10; i++) {
        err = tr_group_next(self, group, mark, &m);
        if (err == TR_OK)
            say("%llu ", (unsigned long long)m->n);
        else
            say("%s ", tr_err_word(err));
    }
    err = tr_group_close(self, group); /* what was asked for and isn't there is cancelled */
    say("close:%s:%s", tr_err_word(err), tr_last_error(self)->text);
    return TR_OK;
}

static void a_group_gives_results_as_they_settle_and_cancels_the_rest(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = open_pair(loops);
        start_fiber(p, takes_a_group);
        assert_string_equal(words, "permission 1 1 1 1 1 1 1 ");
        manual_do(p->m, p->b.address, answer_4, p);
        manual_do(p->m, p->b.address, answer_3, p);
        assert_string_equal(words, "permission 1 1 1 1 1 1 1 4 3 close:permission:not the second");
        assert_non_null(strstr(p->b.trail, "canceled canceled canceled ")); /* 5, 6, 7 */
        pair_close(p);
    }
}

static tr_err empties_a_group(tr_actor *self, pair *p)
{
    tr_group group = tr_group_open(self);
    const tr_msg *msg;
    assert_int_equal(tr_group_next_msg(self, group, &msg), TR_ENOTFOUND);
    tr_future cancelled = ask(self, p, 3), taken = ask(self, p, 1), settled = ask(self, p, 2);
    assert_int_equal(tr_group_add(self, group, cancelled), TR_OK);
    assert_int_equal(tr_group_add(self, group, taken), TR_OK);
    tr_sleep(self, TR_MILLIS(1));
    assert_int_equal(tr_group_add(self, group, settled), TR_OK); /* it has settled already */
    assert_int_equal(tr_await_msg(self, taken, NULL), TR_OK);    /* not by the group */
    tr_cancel(self, cancelled);
    tr_addr gone = p->b.address;
    gone.slot = 1u << 25; /* an actor that never was: the ask fails, when it is answered */
    assert_int_equal(tr_group_add(self, group, tr_ask(self, gone, TR_SECONDS(1), mark, .n = 1)), TR_OK);
    int results = 0;
    while ((words[0] = '\0', tr_group_next_msg(self, group, &msg)) != TR_ENOTFOUND)
        results++;
    assert_int_equal(results, 2);
    assert_int_equal(tr_group_close(self, group), TR_EPERM);
    say("done");
    return TR_OK;
}

static void a_group_forgets_who_was_consumed_in_another_way(void **state)
{
    (void)state;
    pair *p = open_pair(1);
    start_fiber(p, empties_a_group);
    manual_step(p->m, TR_MILLIS(2));
    assert_string_equal(words, "done");
    pair_close(p);
}

/* One of a group has settled, and nobody has looked at it yet: the others are in that group nevertheless. */
static tr_err gathers_out_of_a_group(tr_actor *self, pair *p)
{
    tr_group group = tr_group_open(self), other = tr_group_open(self);
    tr_future settles = ask(self, p, 1), stays = ask(self, p, 3);
    const tr_msg *msg;
    assert_int_equal(tr_group_add(self, group, settles), TR_OK);
    assert_int_equal(tr_group_add(self, group, stays), TR_OK);
    assert_int_equal(tr_await_msg(self, settles, NULL), TR_OK);
    assert_int_equal(tr_group_add(self, group, stays), TR_EINVAL); /* the group notes that */
    assert_int_equal(tr_group_add(self, other, stays), TR_EINVAL);
    assert_int_equal(tr_gather(self, &stays, 1).id, 0);
    assert_int_equal(tr_group_next_msg(self, group, &msg), TR_EINVAL);
    assert_int_equal(tr_group_next_msg(self, group, &msg), TR_EDEADLINE);
    assert_int_equal(tr_group_next_msg(self, group, &msg), TR_ENOTFOUND);
    tr_group_close(self, group);
    tr_group_close(self, other);
    say("done");
    return TR_OK;
}

static void a_member_of_a_group_is_in_no_other_although_one_has_settled(void **state)
{
    (void)state;
    pair *p = open_pair(1);
    start_fiber(p, gathers_out_of_a_group);
    manual_step(p->m, TR_SECONDS(2));
    assert_string_equal(words, "done");
    pair_close(p);
}

static int64_t tries;

static tr_err group_without_memory(tr_actor *self, pair *p)
{
    for (tries = 1;; tries++) {
        manual_dry_pool(p->m, 0);
        tr__alloc_fail_at(tries);
        tr_group group = tr_group_open(self);
        for (uint64_t i = 0; i < 20; i++)
            tr_group_add(self, group, ask(self, p, 1));
        tr__alloc_fail_at(0);
        const tr_msg *msg;
        tr_err err;
        int values = 0, errors = 0;
        while ((err = tr_group_next_msg(self, group, &msg)) == TR_OK || (err == TR_ENOMEM && errors++ == 0))
            values += msg != NULL;
        if (!errors)
            break;
        assert_int_equal(tr_group_close(self, group), TR_ENOMEM); /* nobody is misled */
        assert_true(values < 20);
    }
    say("done");
    return TR_OK;
}

static void a_group_without_memory_says_so(void **state)
{
    (void)state;
    pair *p = open_pair(1);
    start_fiber(p, group_without_memory);
    manual_step(p->m, TR_SECONDS(2));
    assert_string_equal(words, "done");
    assert_true(tries > 3);
    pair_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_settled_gather_waits_for_all_and_does_not_fail),
        cmocka_unit_test(the_first_of_several_settles_once_and_the_others_stay),
        cmocka_unit_test(of_no_futures_there_is_no_first),
        cmocka_unit_test(wait_any_gives_them_in_the_order_of_settling),
        cmocka_unit_test(a_killed_fiber_leaves_wait_any_and_groups),
        cmocka_unit_test(a_group_gives_results_as_they_settle_and_cancels_the_rest),
        cmocka_unit_test(a_group_forgets_who_was_consumed_in_another_way),
        cmocka_unit_test(a_member_of_a_group_is_in_no_other_although_one_has_settled),
        cmocka_unit_test(a_group_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
