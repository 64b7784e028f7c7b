/* actors/fibers/wait.c: a fiber that receives what it wants, and leaves the rest. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

static char words[512];

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    size_t length = strlen(words);
    va_list args;
    va_start(args, format);
    vsnprintf(words + length, sizeof(words) - length, format, args);
    va_end(args);
}

typedef struct rig {
    manual *m;
    manual_puppet p;
    tr_addr fiber;
    tr_err (*body)(tr_actor *self, struct rig *r);
    uint64_t looked;
    tr_future future;
} rig;

static rig r;

static tr_err run_body(tr_actor *self, void *arg)
{
    return ((rig *)arg)->body(self, arg);
}

TR_ACTOR(fiber_def, .run = run_body);

static void open_rig(uint32_t loops, tr_err (*body)(tr_actor *, rig *))
{
    memset(&r, 0, sizeof(r));
    words[0] = '\0';
    r.m = manual_open(loops);
    r.body = body;
    manual_spawn(r.m, loops - 1, &r.p, NULL);
    manual_pump(r.m);
    r.fiber = manual_spawn_def(r.m, 0, &fiber_def, &r, NULL);
    manual_pump(r.m);
}

static void close_rig(void)
{
    manual_pump(r.m);
    manual_check(r.m);
    manual_close(r.m);
}

static bool is_number(const tr_msg *msg, void *context)
{
    const mark *m = tr_match(msg, mark);
    r.looked++;
    return m && m->n == *(uint64_t *)context;
}

static void note_all(tr_actor *self)
{
    for (const tr_msg *msg; (msg = tr_receive(self, TR_MILLIS(1)));) {
        const mark *m = tr_match(msg, mark);
        if (m)
            say("%llu ", (unsigned long long)m->n);
        else
            say("%s ", tr_msg_type_name(msg));
    }
}

static tr_err wants_two(tr_actor *self, rig *rig_)
{
    (void)rig_;
    uint64_t wanted = 3;
    const tr_msg *msg = tr_receive_match(self, TR_SECONDS(1), is_number, &wanted);
    say("%s ", msg ? "3!" : "none");
    msg = tr_receive_type(self, TR_SECONDS(1), blob);
    say("%s ", msg ? tr_msg_type_name(msg) : "none");
    note_all(self);
    return TR_OK;
}

static void send_some(tr_actor *self, void *context)
{
    (void)context;
    static const uint64_t numbers[] = {1, 2, 3, 4, 3};
    for (size_t i = 0; i < TR_COUNT(numbers); i++)
        assert_int_equal(tr_send(self, r.fiber, mark, .n = numbers[i]), TR_OK);
    assert_int_equal(tr_send(self, r.fiber, blob, .n = 9), TR_OK);
    assert_int_equal(tr_send(self, r.fiber, mark, .n = 5), TR_OK);
}

static void what_is_not_wanted_stays_in_its_order(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        open_rig(loops, wants_two);
        manual_do(r.m, r.p.address, send_some, NULL);
        manual_step(r.m, TR_MILLIS(10));
        assert_string_equal(words, "3! blob 1 2 4 3 5 ");
        close_rig();
    }
}

static tr_err wants_the_last(tr_actor *self, rig *rig_)
{
    (void)rig_;
    uint64_t wanted = 1000;
    const tr_msg *msg = tr_receive_match(self, TR_SECONDS(5), is_number, &wanted);
    say("%s", msg ? "it" : tr_err_word(tr_last_error(self)->code));
    return tr_sleep(self, TR_FOREVER);
}

static void send_one(tr_actor *self, void *context)
{
    assert_int_equal(tr_send(self, r.fiber, mark, .n = *(uint64_t *)context), TR_OK);
}

static void each_message_is_looked_at_once_a_call(void **state)
{
    (void)state;
    open_rig(1, wants_the_last);
    for (uint64_t n = 1; n <= 1000; n++)
        manual_do(r.m, r.p.address, send_one, &n);
    assert_string_equal(words, "it");
    assert_int_equal(r.looked, 1000);
    close_rig();
}

static void the_time_is_up_with_mail_that_is_not_wanted(void **state)
{
    (void)state;
    open_rig(2, wants_the_last);
    for (uint64_t n = 1; n <= 10; n++) {
        manual_do(r.m, r.p.address, send_one, &n);
        manual_step(r.m, TR_MILLIS(100));
    }
    manual_step(r.m, TR_SECONDS(5));
    assert_string_equal(words, "deadline");
    assert_int_equal(r.looked, 10);
    assert_int_equal(manual_actor(r.m, r.fiber)->count, 10); /* with their places */
    close_rig();
}

static void ask_it(tr_actor *self, void *context)
{
    (void)context;
    r.future = tr_ask(self, r.fiber, TR_SECONDS(9), mark, .n = 7);
}

static void cancel_it(tr_actor *self, void *context)
{
    (void)context;
    tr_cancel(self, r.future);
}

/* The ask was the last one that it had looked at. */
static void a_cancelled_ask_leaves_while_others_are_wanted(void **state)
{
    (void)state;
    open_rig(1, wants_the_last);
    uint64_t one = 1, wanted = 1000;
    manual_do(r.m, r.p.address, send_one, &one);
    manual_do(r.m, r.p.address, ask_it, NULL);
    manual_do(r.m, r.p.address, cancel_it, NULL);
    assert_int_equal(manual_actor(r.m, r.fiber)->count, 1);
    manual_do(r.m, r.p.address, send_one, &wanted);
    assert_string_equal(words, "it");
    close_rig();
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, r.fiber, context ? TR_EXIT_SHUTDOWN : TR_EXIT_KILLED), TR_OK);
}

static void one_that_is_to_end_does_not_wait_for_what_is_not_there(void **state)
{
    (void)state;
    for (int shutdown = 0; shutdown < 2; shutdown++) {
        open_rig(1, wants_the_last);
        uint64_t one = 1;
        manual_do(r.m, r.p.address, send_one, &one);
        manual_do(r.m, r.p.address, kill_it, shutdown ? &r : NULL);
        assert_string_equal(words, "killed");
        assert_null(manual_actor(r.m, r.fiber));
        close_rig();
    }
}

/* Sends to its own actor, whose mailbox of four places drops its oldest, and only then looks. */
static bool sends_first(const tr_msg *msg, void *context)
{
    tr_actor *self = context;
    r.looked++;
    if (r.looked <= 3)
        assert_int_equal(tr_send(self, tr_self(self), mark, .n = 100 + r.looked), TR_OK);
    return tr_match(msg, mark)->n == 103;
}

static tr_err ends_at_once(tr_actor *self, rig *rig_)
{
    (void)self, (void)rig_;
    return TR_OK;
}

static tr_err matches_while_it_sends(tr_actor *self, rig *rig_)
{
    (void)rig_;
    tr_sleep(self, TR_MILLIS(5));
    const tr_msg *msg = tr_receive_match(self, TR_SECONDS(1), sends_first, self);
    say("%s ", msg ? "it" : "none");
    note_all(self);
    return TR_OK;
}
TR_ACTOR(dropping_def, .run = run_body, .mailbox_places = 4, .overflow = TR_OVERFLOW_DROP_OLDEST);

static void a_match_function_may_send_to_its_own_full_mailbox(void **state)
{
    (void)state;
    open_rig(1, ends_at_once);
    r.body = matches_while_it_sends;
    r.fiber = manual_spawn_def(r.m, 0, &dropping_def, &r, NULL);
    manual_pump(r.m);
    for (uint64_t n = 1; n <= 4; n++)
        manual_do(r.m, r.p.address, send_one, &n);
    manual_step(r.m, TR_MILLIS(10));
    assert_string_equal(words, "it 4 101 102 ");
    assert_int_equal(manual_dropped(r.m, TR_DROP_OLDEST), 3);
    close_rig();
}

static bool waits_inside(const tr_msg *msg, void *context)
{
    tr_actor *self = context;
    assert_int_equal(tr_sleep(self, TR_MILLIS(1)), TR_EINVAL);
    assert_null(tr_receive(self, 0));
    assert_int_equal(tr_last_error(self)->code, TR_EINVAL);
    assert_int_equal(tr_await_msg(self, tr_ask(self, r.p.address, TR_SECONDS(1), mark, .n = 5), NULL),
                     TR_EINVAL);
    assert_non_null(strstr(tr_last_error(self)->text, "match function"));
    return tr_match(msg, mark) != NULL;
}

static tr_err matches_while_it_waits(tr_actor *self, rig *rig_)
{
    (void)rig_;
    const tr_msg *msg = tr_receive_match(self, TR_SECONDS(1), waits_inside, self);
    say("%s", msg ? "it" : "none");
    return TR_OK;
}

static void a_match_function_cannot_wait(void **state)
{
    (void)state;
    open_rig(1, matches_while_it_waits);
    uint64_t one = 1;
    manual_do(r.m, r.p.address, send_one, &one);
    manual_step(r.m, TR_MILLIS(10));
    assert_string_equal(words, "it");
    close_rig();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_wanted_stays_in_its_order),
        cmocka_unit_test(each_message_is_looked_at_once_a_call),
        cmocka_unit_test(the_time_is_up_with_mail_that_is_not_wanted),
        cmocka_unit_test(a_cancelled_ask_leaves_while_others_are_wanted),
        cmocka_unit_test(one_that_is_to_end_does_not_wait_for_what_is_not_there),
        cmocka_unit_test(a_match_function_may_send_to_its_own_full_mailbox),
        cmocka_unit_test(a_match_function_cannot_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
