/* actors/overflow.c, places.c: what a full mailbox does with one message more, by its policy; on one loop and across loops.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"
#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

typedef struct sends {
    tr_addr to;
    uint64_t from, count; /* marks from, from+1, ... */
    uint64_t accepted;
    tr_err last;
} sends;

static void send_all(tr_actor *self, void *context)
{
    sends *s = context;
    for (uint64_t i = 0; i < s->count; i++) {
        s->last = tr_send(self, s->to, mark, .n = s->from + i);
        s->accepted += s->last == TR_OK;
    }
}

static void ask_it(tr_actor *self, void *context)
{
    manual_then(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), mark, .n = 77));
}

static tr_spawn_opts box(uint32_t places, tr_overflow overflow)
{
    return (tr_spawn_opts){.mailbox_places = places, .overflow = overflow};
}

/* A node of so many loops, a sender on the first and a receiver, of four places, on the last. */
typedef struct pair {
    manual *m;
    uint32_t loops;
    manual_puppet a, b;
} pair;

static pair *pair_open(uint32_t loops, tr_overflow overflow)
{
    pair *p = calloc(1, sizeof(*p));
    tr_spawn_opts opts = box(4, overflow);
    p->m = manual_open(loops);
    p->loops = loops;
    manual_spawn(p->m, 0, &p->a, NULL);
    manual_spawn(p->m, loops - 1, &p->b, &opts);
    manual_pump(p->m);
    return p;
}

static void pair_close(pair *p)
{
    manual_check(p->m);
    manual_close(p->m);
    free(p);
}

/* ---- refuse -------------------------------------------------------------------------------------------- */

static void refusing_is_what_a_mailbox_does_unless_told_otherwise(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_DEFAULT);
    sends s = {p->b.address, 1, 6, 0};
    manual_do(p->m, p->a.address, send_all, &s);
    assert_int_equal(s.accepted, 4);
    assert_int_equal(s.last, TR_EFULL);
    assert_string_equal(p->b.trail, "init 1 2 3 4 ");
    pair_close(p);
}

/* ---- drop oldest --------------------------------------------------------------------------------------- */

static void the_oldest_make_place_for_the_newest(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_DROP_OLDEST);
    sends s = {p->b.address, 1, 10, 0};
    manual_do(p->m, p->a.address, send_all, &s);
    assert_int_equal(s.accepted, 10);
    assert_string_equal(p->b.trail, "init 7 8 9 10 ");
    assert_int_equal(manual_dropped(p->m, TR_DROP_OLDEST), 6);
    pair_close(p);
}

static void so_they_do_for_what_comes_from_another_loop(void **state)
{
    (void)state;
    pair *p = pair_open(2, TR_OVERFLOW_DROP_OLDEST);
    for (uint64_t round = 0; round < 3; round++) {
        sends s = {p->b.address, 10 * round + 1, 4, 0};
        manual_tell(p->m, p->a.address, send_all, &s);
        manual_turn(p->m, 0);
        assert_int_equal(s.accepted, 4);
        /* the owner takes its inbox, and can't run it: */
        tr_actor *b = manual_actor(p->m, p->b.address);
        b->queued = true;
        manual_turn(p->m, 1);
        b->queued = false;
        assert_int_equal(b->count, 4);
    }
    manual_mark(p->m, p->b.address, 99); /* a notice: wakes it, and needs no place */
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init 21 22 23 24 99 ");
    assert_int_equal(manual_dropped(p->m, TR_DROP_OLDEST), 8);
    pair_close(p);
}

static void only_a_mailbox_full_under_way_refuses_it(void **state)
{
    (void)state;
    pair *p = pair_open(2, TR_OVERFLOW_DROP_OLDEST);
    sends s = {p->b.address, 1, 10, 0};
    manual_tell(p->m, p->a.address, send_all, &s);
    manual_turn(p->m, 0);
    assert_in_range(s.accepted, 3, 4);
    assert_int_equal(s.last, TR_EFULL);
    manual_pump(p->m);
    pair_close(p);
}

static void an_ask_that_makes_place_fails_at_its_asker_at_once(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops, TR_OVERFLOW_DROP_OLDEST);
        manual_puppet asker = {0};
        manual_spawn(p->m, 0, &asker, NULL);
        manual_pump(p->m);
        tr_actor *b = manual_actor(p->m, p->b.address);
        b->queued = true; /* it doesn't run */
        manual_do(p->m, asker.address, ask_it, &p->b.address);
        for (uint64_t i = 0; i < 4; i++) {
            sends s = {p->b.address, i, 1, 0};
            manual_do(p->m, p->a.address, send_all, &s);
        }
        b->queued = false;
        assert_string_equal(asker.trail, "init error:full ");
        manual_mark(p->m, p->b.address, 9);
        manual_pump(p->m);
        assert_string_equal(p->b.trail, "init 0 1 2 3 9 ");
        pair_close(p);
    }
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void monitor_it(tr_actor *self, void *context)
{
    assert_true(tr_monitor(self, *(tr_addr *)context) != 0);
}

/* A tr_down waits in the mailbox, the oldest of all; the flood behind it drops only messages. */
static void what_comes_in_reserved_space_is_not_dropped(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_DROP_OLDEST);
    manual_puppet dies = {0};
    manual_spawn(p->m, 0, &dies, NULL);
    manual_do(p->m, p->b.address, monitor_it, &dies.address);
    tr_actor *b = manual_actor(p->m, p->b.address);
    b->queued = true;
    manual_do(p->m, p->a.address, kill_it, &dies.address);
    assert_int_equal(b->count, 1);
    sends s = {p->b.address, 1, 9, 0};
    manual_do(p->m, p->a.address, send_all, &s);
    b->queued = false;
    manual_mark(p->m, p->b.address, 99);
    manual_pump(p->m);
    assert_string_equal(p->b.trail, "init down:killed 6 7 8 9 99 ");
    pair_close(p);
}

/* A piped answer waits in a fiber's mailbox; it has no place that it could make. */
static void reply_to_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        tr_reply(self, msg, mark, .n = 70);
}

typedef struct piping {
    tr_addr to;
    uint64_t messages, tag, sum;
} piping;

static tr_err pipe_and_sleep(tr_actor *self, void *arg)
{
    piping *p = arg;
    const tr_msg *msg;
    tr_pipe(self, tr_ask(self, p->to, TR_SECONDS(1), mark, .n = 0), 7);
    tr_sleep(self, TR_SECONDS(1));
    while ((msg = tr_receive(self, 0))) {
        p->messages++;
        p->tag += tr_msg_tag(msg);
        p->sum += tr_match(msg, mark)->n;
    }
    return TR_OK;
}

TR_ACTOR(piping_def, .run = pipe_and_sleep);

static void nor_is_a_result_that_was_piped(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops, TR_OVERFLOW_DEFAULT);
        p->b.on = reply_to_it;
        piping piped = {.to = p->b.address};
        tr_spawn_opts opts = box(4, TR_OVERFLOW_DROP_OLDEST);
        tr_addr fiber = manual_spawn_def(p->m, loops - 1, &piping_def, &piped, &opts);
        manual_pump(p->m);
        sends s = {fiber, 1, 4, 0};
        manual_do(p->m, p->a.address, send_all, &s);
        s.from = 5;
        manual_do(p->m, p->a.address, send_all, &s);
        assert_int_equal(manual_dropped(p->m, TR_DROP_OLDEST), 4);
        manual_step(p->m, TR_SECONDS(2));
        assert_int_equal(piped.tag, 7);
        assert_int_equal(piped.messages, 5);
        assert_int_equal(piped.sum, 70 + 5 + 6 + 7 + 8);
        pair_close(p);
    }
}

/* ---- drop newest --------------------------------------------------------------------------------------- */

static void the_newest_is_dropped_and_counted_and_the_send_is_well(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops, TR_OVERFLOW_DROP_NEWEST);
        sends s = {p->b.address, 1, 10, 0};
        manual_do(p->m, p->a.address, send_all, &s);
        assert_int_equal(s.accepted, 10);
        assert_string_equal(p->b.trail, "init 1 2 3 4 ");
        assert_int_equal(manual_dropped(p->m, TR_DROP_NEWEST), 6);
        pair_close(p);
    }
}

static void fill_and_ask(tr_actor *self, void *context)
{
    tr_addr to = *(tr_addr *)context;
    for (int i = 0; i < 4; i++)
        assert_int_equal(tr_send(self, to, mark, .n = 1), TR_OK);
    manual_then(self, tr_ask(self, to, TR_SECONDS(1), mark, .n = 2));
    tr_msg *msg = tr_msg_make(self, &mark_type, &(mark){3});
    assert_int_equal(tr_send_msg(self, to, &msg), TR_OK); /* dropped as well */
    assert_null(msg);
}

static void an_ask_of_it_fails_at_once(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_DROP_NEWEST);
    manual_do(p->m, p->a.address, fill_and_ask, &p->b.address);
    assert_string_equal(p->a.trail, "init failed:full ");
    assert_int_equal(manual_dropped(p->m, TR_DROP_NEWEST), 1);
    pair_close(p);
}

/* ---- wait ---------------------------------------------------------------------------------------------- */

typedef struct waiter {
    tr_addr to;
    uint64_t count;
    uint64_t wait_ns;
    tr_err err;
    uint64_t sent;
} waiter;

/* Sends from 1 on; what it says is formatted, and gone when it waits unless it was copied before. */
static tr_err send_waiting(tr_actor *self, void *arg)
{
    waiter *w = arg;
    tr_send_opts opts = {.wait_ns = w->wait_ns};
    for (uint64_t i = 1; i <= w->count; i++) {
        const char *text = tr_fmt(self, "%llu", (unsigned long long)i);
        w->err = tr_send_with(self, w->to, &opts, blob, .n = i, .data = {text, strlen(text)});
        if (w->err != TR_OK)
            return TR_OK;
        w->sent++;
    }
    return TR_OK;
}

TR_ACTOR(waiter_def, .run = send_waiting);

static void check_text(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    (void)puppet;
    const blob *b = tr_match(msg, blob);
    char text[24];
    if (b)
        assert_memory_equal(b->data.data, text,
                            (size_t)snprintf(text, sizeof(text), "%llu", (unsigned long long)b->n));
}

static void a_fiber_waits_until_its_messages_have_places(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops, TR_OVERFLOW_WAIT);
        p->b.on = check_text;
        waiter w[3];
        for (uint32_t i = 0; i < 3; i++) {
            w[i] = (waiter){p->b.address, 20, 0};
            manual_spawn_def(p->m, i % loops, &waiter_def, &w[i], NULL);
        }
        manual_pump(p->m);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(w[i].sent, 20);
        assert_int_equal(manual_actor(p->m, p->b.address)->handled, 60);
        pair_close(p);
    }
}

static void the_wait_may_be_bounded(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops, TR_OVERFLOW_WAIT);
        tr_actor *b = manual_actor(p->m, p->b.address);
        b->queued = true; /* it doesn't run */
        waiter w = {p->b.address, 20, TR_MILLIS(10)};
        manual_spawn_def(p->m, 0, &waiter_def, &w, NULL);
        manual_step(p->m, TR_MILLIS(9));
        assert_int_equal(w.sent, 4);
        assert_int_equal(w.err, TR_OK);
        manual_step(p->m, TR_MILLIS(2));
        assert_int_equal(w.err, TR_EDEADLINE);
        b->queued = false;
        manual_mark(p->m, p->b.address, 9);
        manual_pump(p->m);
        pair_close(p);
    }
}

static void a_kill_ends_the_wait_and_a_dead_receiver_too(void **state)
{
    (void)state;
    pair *p = pair_open(2, TR_OVERFLOW_WAIT);
    tr_actor *b = manual_actor(p->m, p->b.address);
    b->queued = true;
    waiter killed = {p->b.address, 20, 0}, left = {p->b.address, 20, 0};
    tr_addr victim = manual_spawn_def(p->m, 0, &waiter_def, &killed, NULL);
    manual_spawn_def(p->m, 0, &waiter_def, &left, NULL);
    manual_pump(p->m);
    manual_do(p->m, p->a.address, kill_it, &victim);
    assert_int_equal(killed.err, TR_EKILLED);
    b->queued = false;
    manual_do(p->m, p->a.address, kill_it, &p->b.address);
    assert_int_equal(left.err, TR_OK); /* the rest are dead letters, as to any that is gone */
    assert_int_equal(left.sent, 20);
    pair_close(p);
}

/* A fiber whose body doesn't return when it is killed in its wait: its stack is dropped, and so is what it was sending. */
static tr_err send_stubbornly(tr_actor *self, void *arg)
{
    waiter *w = arg;
    for (int i = 0; i < 60; i++)
        w->err = tr_send(self, w->to, mark, .n = 1);
    return TR_OK;
}

TR_ACTOR(stubborn_def, .run = send_stubbornly);

static void a_message_that_waits_goes_with_its_fiber(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_WAIT);
    tr_actor *b = manual_actor(p->m, p->b.address);
    b->queued = true;
    waiter w = {p->b.address, 0, 0};
    tr_addr victim = manual_spawn_def(p->m, 0, &stubborn_def, &w, NULL);
    for (int turns = 0; turns < 10; turns++)
        manual_turn(p->m, 0);
    p->m->clock_step_ns = TR_MILLIS(1); /* its turn is over before it has tried so often */
    manual_tell(p->m, p->a.address, kill_it, &victim);
    while (w.err != TR_EKILLED)
        manual_turn(p->m, 0);
    assert_non_null(manual_actor(p->m, victim));
    p->m->now_ns += TR_SECONDS(2);
    manual_turn(p->m, 0);
    assert_null(manual_actor(p->m, victim));
    p->m->clock_step_ns = 0;
    b->queued = false;
    manual_mark(p->m, p->b.address, 9);
    manual_pump(p->m);
    pair_close(p);
}

static void who_cannot_wait_is_refused(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_WAIT);
    sends s = {p->b.address, 1, 10, 0};
    manual_do(p->m, p->a.address, send_all, &s);
    assert_int_equal(s.accepted, 4);
    assert_int_equal(s.last, TR_EFULL);
    pair_close(p);
}

static tr_err send_to_itself(tr_actor *self, void *arg)
{
    waiter *w = arg;
    while ((w->err = tr_send(self, tr_self(self), mark, .n = 1)) == TR_OK)
        w->sent++;
    return TR_OK;
}

TR_ACTOR(self_sender_def, .run = send_to_itself, .mailbox_places = 4, .overflow = TR_OVERFLOW_WAIT);

static void a_fiber_does_not_wait_for_itself(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_WAIT);
    waiter w = {0};
    manual_spawn_def(p->m, 0, &self_sender_def, &w, NULL);
    manual_pump(p->m);
    assert_int_equal(w.sent, 4);
    assert_int_equal(w.err, TR_EFULL);
    pair_close(p);
}

typedef struct asker {
    tr_addr to;
    tr_err err;
} asker;

static tr_err ask_waiting(tr_actor *self, void *arg)
{
    asker *a = arg;
    for (int i = 0; i < 4; i++)
        TR_TRY(tr_send(self, a->to, mark, .n = 1));
    a->err = tr_await_msg(self, tr_ask(self, a->to, TR_MILLIS(10), mark, .n = 2), NULL);
    return TR_OK;
}

TR_ACTOR(asker_def, .run = ask_waiting);

static void an_ask_waits_no_longer_than_its_time(void **state)
{
    (void)state;
    pair *p = pair_open(1, TR_OVERFLOW_WAIT);
    tr_actor *b = manual_actor(p->m, p->b.address);
    b->queued = true;
    asker a = {p->b.address, TR_OK};
    manual_spawn_def(p->m, 0, &asker_def, &a, NULL);
    manual_step(p->m, TR_MILLIS(11));
    assert_int_equal(a.err, TR_EDEADLINE);
    b->queued = false;
    manual_mark(p->m, p->b.address, 9);
    manual_pump(p->m);
    pair_close(p);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static tr_err send_with_failing_allocations(tr_actor *self, void *arg)
{
    waiter *w = arg;
    for (uint64_t n = 1; w->sent < w->count; n++) {
        tr__alloc_fail_at(n);
        w->err = tr_send(self, w->to, mark, .n = 1);
        tr__alloc_fail_at(0);
        if (w->err != TR_OK && w->err != TR_ENOMEM)
            return TR_OK;
        if (w->err == TR_OK) {
            w->sent++;
            n = 0;
        }
    }
    return TR_OK;
}

TR_ACTOR(poor_def, .run = send_with_failing_allocations);

static void without_memory_every_policy_says_so_and_holds_nothing(void **state)
{
    (void)state;
    for (int overflow = TR_OVERFLOW_DROP_OLDEST; overflow <= TR_OVERFLOW_WAIT; overflow++)
        for (uint32_t loops = 1; loops <= 2; loops++) {
            pair *p = pair_open(loops, (tr_overflow)overflow);
            waiter w = {p->b.address, 12, 0};
            manual_dry_pool(p->m, 0);
            manual_spawn_def(p->m, 0, &poor_def, &w, NULL);
            manual_pump(p->m);
            if (w.sent != 12 && !(loops == 2 && w.err == TR_EFULL))
                fail_msg("policy %d, %u loops: %u sent, then %s", overflow, loops, (unsigned)w.sent,
                         tr_err_word(w.err));
            pair_close(p);
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusing_is_what_a_mailbox_does_unless_told_otherwise),
        cmocka_unit_test(the_oldest_make_place_for_the_newest),
        cmocka_unit_test(so_they_do_for_what_comes_from_another_loop),
        cmocka_unit_test(only_a_mailbox_full_under_way_refuses_it),
        cmocka_unit_test(an_ask_that_makes_place_fails_at_its_asker_at_once),
        cmocka_unit_test(what_comes_in_reserved_space_is_not_dropped),
        cmocka_unit_test(nor_is_a_result_that_was_piped),
        cmocka_unit_test(the_newest_is_dropped_and_counted_and_the_send_is_well),
        cmocka_unit_test(an_ask_of_it_fails_at_once),
        cmocka_unit_test(a_fiber_waits_until_its_messages_have_places),
        cmocka_unit_test(the_wait_may_be_bounded),
        cmocka_unit_test(a_kill_ends_the_wait_and_a_dead_receiver_too),
        cmocka_unit_test(a_message_that_waits_goes_with_its_fiber),
        cmocka_unit_test(who_cannot_wait_is_refused),
        cmocka_unit_test(a_fiber_does_not_wait_for_itself),
        cmocka_unit_test(an_ask_waits_no_longer_than_its_time),
        cmocka_unit_test(without_memory_every_policy_says_so_and_holds_nothing),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
