/* actors/futures/cycle.c: fibers that await each other. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual.h"

#define MEMBERS 5

/* Member i waits for what its plan says of the next ones, and tells how it ended. */
typedef struct member {
    tr_addr address;
    uint32_t asks[3]; /* members, by number + 1 */
    bool first_of, receives_first;
    uint64_t timeout_ns, pause_ns;
    tr_err ended;
    bool done;
    char text[TR_ERROR_TEXT_MAX];
} member;

static member members[MEMBERS];

static tr_err asks_others(tr_actor *self, void *arg)
{
    member *me = arg;
    tr_future futures[3];
    size_t count = 0;
    tr_sleep(self, TR_MILLIS(1) + me->pause_ns);
    for (; count < 3 && me->asks[count]; count++)
        futures[count] = tr_ask(self, members[me->asks[count] - 1].address, me->timeout_ns, mark, .n = 1);
    if (count == 1)
        me->ended = tr_await_msg(self, futures[0], NULL);
    else if (count)
        me->ended = tr_await_msg(
            self, me->first_of ? tr_first_of(self, futures, count) : tr_gather(self, futures, count), NULL);
    snprintf(me->text, sizeof(me->text), "%s", me->ended ? tr_last_error(self)->text : "");
    me->done = true;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));)
        if (tr_msg_ask_number(msg))
            tr_reply(self, msg, mark, .n = 1);
    return TR_OK;
}

TR_ACTOR(asks_others_def, .run = asks_others);

static manual *open_members(uint32_t loops, const member *plan, size_t count)
{
    manual *m = manual_open(loops);
    memset(members, 0, sizeof(members));
    for (size_t i = 0; i < count; i++) {
        members[i] = plan[i];
        members[i].address = manual_spawn_def(m, (uint32_t)(i % loops), &asks_others_def, &members[i], NULL);
    }
    return m;
}

static void close_members(manual *m)
{
    manual_check(m);
    manual_close(m);
}

static void all_ended(size_t count, tr_err how)
{
    for (size_t i = 0; i < count; i++) {
        assert_true(members[i].done);
        assert_string_equal(tr_err_word(members[i].ended), tr_err_word(how));
    }
}

static void names_all(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char address[TR_ADDR_TEXT_MAX];
        assert_non_null(strstr(text, tr_addr_format(members[i].address, address)));
    }
    assert_non_null(strstr(text, "asks_others_def"));
    assert_non_null(strstr(text, "awaits mark at tests/unit/test_core_cycle.c:"));
}

static void two_that_await_each_other_both_hear_of_it_within_a_second(void **state)
{
    (void)state;
    static const uint64_t times[] = {TR_FOREVER, TR_SECONDS(30)};
    for (uint32_t loops = 1; loops <= 2; loops++)
        for (size_t i = 0; i < 2; i++) {
            const member plan[] = {{.asks = {2}, .timeout_ns = times[i]},
                                   {.asks = {1}, .timeout_ns = times[i]}};
            manual *m = open_members(loops, plan, 2);
            manual_step(m, TR_MILLIS(350)); /* the first look */
            assert_false(members[0].done || members[1].done);
            manual_step(m, TR_MILLIS(650));
            all_ended(2, TR_EDEADLOCK);
            names_all(members[0].text, 2);
            names_all(members[1].text, 2);
            close_members(m);
        }
}

static void a_longer_cycle_is_found_whoever_closes_it(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 3; loops++)
        for (int last = 0; last < 3; last++) {
            member plan[3] = {{.asks = {2}}, {.asks = {3}}, {.asks = {1}}};
            for (int i = 0; i < 3; i++) {
                plan[i].timeout_ns = TR_FOREVER;
                plan[i].pause_ns = i == last ? TR_SECONDS(5) : 0;
            }
            manual *m = open_members(loops, plan, 3);
            manual_step(m, TR_SECONDS(5));
            assert_false(members[0].done || members[1].done || members[2].done);
            manual_step(m, TR_SECONDS(1));
            all_ended(3, TR_EDEADLOCK);
            close_members(m);
        }
}

static void who_awaits_itself_hears_of_it(void **state)
{
    (void)state;
    const member plan[] = {{.asks = {1}, .timeout_ns = TR_FOREVER}};
    manual *m = open_members(1, plan, 1);
    manual_step(m, TR_SECONDS(1));
    all_ended(1, TR_EDEADLOCK);
    close_members(m);
}

static void a_cycle_through_gathers_is_found(void **state)
{
    (void)state;
    const member plan[] = {{.asks = {2, 3, 2}, .timeout_ns = TR_SECONDS(30)},
                           {.asks = {3, 1}, .timeout_ns = TR_SECONDS(30)},
                           {.timeout_ns = 1}}; /* it answers */
    manual *m = open_members(2, plan, 3);
    manual_step(m, TR_SECONDS(2));
    assert_true(members[0].done && members[1].done);
    assert_int_equal(members[0].ended, TR_EDEADLOCK);
    assert_int_equal(members[1].ended, TR_EDEADLOCK);
    close_members(m);
}

static void who_waits_for_a_cycle_is_not_in_it(void **state)
{
    (void)state;
    const member plan[] = {{.asks = {2}, .timeout_ns = TR_FOREVER},
                           {.asks = {3}, .timeout_ns = TR_FOREVER},
                           {.asks = {2}, .timeout_ns = TR_FOREVER, .pause_ns = TR_SECONDS(2)}};
    manual *m = open_members(2, plan, 3);
    manual_step(m, TR_SECONDS(4));
    assert_int_equal(members[1].ended, TR_EDEADLOCK);
    assert_int_equal(members[2].ended, TR_EDEADLOCK);
    assert_true(members[0].done); /* since 2 goes on, and answers */
    assert_int_equal(members[0].ended, TR_OK);
    close_members(m);
}

static void a_long_wait_is_no_cycle(void **state)
{
    (void)state;
    const member plan[] = {{.asks = {2}, .timeout_ns = TR_SECONDS(60)},
                           {.asks = {3}, .timeout_ns = TR_SECONDS(20)},
                           {.timeout_ns = 1, .pause_ns = TR_SECONDS(10)}};
    manual *m = open_members(1, plan, 3);
    manual_step(m, TR_SECONDS(11));
    all_ended(3, TR_OK);
    close_members(m);
}

/* Any of two may go on by the other one's answer. */
static void the_first_of_several_is_no_link(void **state)
{
    (void)state;
    const member plan[] = {{.asks = {2, 3}, .first_of = true, .timeout_ns = TR_SECONDS(20)},
                           {.asks = {1}, .timeout_ns = TR_SECONDS(20)},
                           {.timeout_ns = 1, .pause_ns = TR_SECONDS(5)}};
    manual *m = open_members(1, plan, 3);
    manual_step(m, TR_SECONDS(6));
    all_ended(3, TR_OK);
    close_members(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_that_await_each_other_both_hear_of_it_within_a_second),
        cmocka_unit_test(a_longer_cycle_is_found_whoever_closes_it),
        cmocka_unit_test(who_awaits_itself_hears_of_it),
        cmocka_unit_test(a_cycle_through_gathers_is_found),
        cmocka_unit_test(who_waits_for_a_cycle_is_not_in_it),
        cmocka_unit_test(a_long_wait_is_no_cycle),
        cmocka_unit_test(the_first_of_several_is_no_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
