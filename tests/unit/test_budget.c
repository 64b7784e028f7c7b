/* actors/budget.c: what large messages and buffers of a node hold is bounded; beyond it sends are refused by name, but for
 * one a mailbox, and answers and small messages pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"
#include "base/mem.h"
#include "mailbox/buffer.h"

#define LARGE 10000

TR_MESSAGE(packet, (u64, n), (buffer, data))

static char bulk[LARGE];

typedef struct world {
    manual *m;
    manual_puppet sender, box;
    tr_actor *actor;
} world;

/* The budget holds four large blobs and a half. */
static world *open_world(uint32_t loops, tr_overflow overflow)
{
    world *w = calloc(1, sizeof(*w));
    w->m = manual_open(loops);
    atomic_store(&w->m->node->buffers->max, LARGE * 45 / 10);
    tr_spawn_opts opts = {.overflow = overflow};
    manual_spawn(w->m, 0, &w->sender, NULL);
    manual_spawn(w->m, loops - 1, &w->box, &opts);
    manual_pump(w->m);
    w->actor = manual_actor(w->m, w->box.address);
    w->actor->queued = true; /* it doesn't run until it is let */
    return w;
}

static void run_box(world *w)
{
    w->actor->queued = false;
    manual_mark(w->m, w->box.address, 99);
    manual_pump(w->m);
}

static void close_world(world *w)
{
    manual_check(w->m);
    manual_close(w->m);
    free(w);
}

typedef struct sends {
    tr_addr to;
    uint64_t count;
    size_t size;
    bool notify;
    uint64_t accepted;
    tr_err last;
    char text[TR_ERROR_TEXT_MAX];
} sends;

static void send_some(tr_actor *self, void *context)
{
    sends *s = context;
    s->accepted = 0;
    for (uint64_t i = 0; i < s->count; i++) {
        s->last = tr_send(self, s->to, blob, .n = i, .data = {bulk, s->size});
        s->accepted += s->last == TR_OK;
        if (s->last == TR_OK)
            continue;
        snprintf(s->text, sizeof(s->text), "%s", tr_last_error(self)->text);
        if (s->notify)
            assert_int_equal(tr_notify_writable(self, s->to), TR_OK);
        return;
    }
}

static sends send_to(world *w, tr_addr to, uint64_t count, size_t size, bool notify)
{
    sends s = {.to = to, .count = count, .size = size, .notify = notify};
    manual_do(w->m, w->sender.address, send_some, &s);
    return s;
}

static void beyond_it_a_large_message_is_refused_by_name(void **state)
{
    (void)state;
    for (int overflow = TR_OVERFLOW_REFUSE; overflow <= TR_OVERFLOW_WAIT; overflow++)
        for (uint32_t loops = 1; loops <= 2; loops++) {
            world *w = open_world(loops, (tr_overflow)overflow);
            sends s = send_to(w, w->box.address, 9, LARGE, false);
            assert_int_equal(s.accepted, 5); /* four within, and the one that a mailbox takes beyond it */
            assert_int_equal(s.last, TR_EFULL);
            assert_non_null(strstr(s.text, "message budget"));
            assert_int_equal(send_to(w, w->box.address, 100, 10, false).accepted, 100); /* small ones pass */
            run_box(w);
            assert_int_equal(tr__buffers_bytes(w->m->node->buffers), 0);
            assert_int_equal(send_to(w, w->box.address, 4, LARGE, false).accepted, 4);
            close_world(w);
        }
}

static void each_mailbox_takes_one_nevertheless(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, TR_OVERFLOW_REFUSE);
        send_to(w, w->box.address, 9, LARGE, false);
        manual_puppet other = {0};
        manual_spawn(w->m, loops - 1, &other, NULL);
        manual_pump(w->m);
        for (int round = 0; round < 3; round++) /* it handles each, and is empty again */
            assert_int_equal(send_to(w, other.address, 1, LARGE, false).accepted, 1);
        manual_actor(w->m, other.address)->queued = true;
        assert_int_equal(send_to(w, other.address, 2, LARGE, false).accepted, 1);
        manual_actor(w->m, other.address)->queued = false;
        run_box(w);
        manual_mark(w->m, other.address, 1);
        manual_pump(w->m);
        close_world(w);
    }
}

static void post_to(world *w, tr_err expected)
{
    assert_int_equal(tr_post(w->m->node, w->box.address, blob, .n = 1, .data = {bulk, LARGE}), expected);
}

static void what_is_posted_is_charged_as_well(void **state)
{
    (void)state;
    world *w = open_world(2, TR_OVERFLOW_REFUSE);
    for (int i = 0; i < 5; i++)
        post_to(w, TR_OK);
    post_to(w, TR_EFULL);
    manual_pump(w->m);
    run_box(w);
    post_to(w, TR_OK);
    manual_pump(w->m);
    assert_int_equal(tr__buffers_bytes(w->m->node->buffers), 0);
    close_world(w);
}

/* ---- the reserve --------------------------------------------------------------------------------------- */

static void answer_largely(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        assert_int_equal(tr_reply(self, msg, blob, .n = 5, .data = {bulk, LARGE}), TR_OK);
}

static void ask_it(tr_actor *self, void *context)
{
    manual_then(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), mark, .n = 1));
}

static void ask_largely(tr_actor *self, void *context)
{
    manual_then(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), blob, .n = 1, .data = {bulk, LARGE}));
}

static void answers_pass_and_large_asks_are_refused(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    send_to(w, w->box.address, 9, LARGE, false);
    manual_puppet callee = {.on = answer_largely};
    manual_spawn(w->m, 0, &callee, NULL);
    manual_do(w->m, w->sender.address, ask_it, &callee.address);
    assert_string_equal(w->sender.trail, "init reply:blob ");
    manual_do(w->m, w->sender.address, ask_largely, &w->box.address);
    assert_string_equal(w->sender.trail, "init reply:blob failed:full ");
    run_box(w);
    close_world(w);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

/* An ask's block is its failure to be: it is charged no longer than it is large. */
static void what_ends_unhandled_is_charged_no_more(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, TR_OVERFLOW_REFUSE);
        manual_do(w->m, w->sender.address, ask_largely, &w->box.address);
        send_to(w, w->box.address, 9, LARGE, false);
        w->actor->queued = false;
        manual_do(w->m, w->sender.address, kill_it, &w->box.address);
        assert_string_equal(w->sender.trail, "init error:no-actor ");
        assert_int_equal(tr__buffers_bytes(w->m->node->buffers), 0);
        close_world(w);
    }
}

/* ---- buffers ------------------------------------------------------------------------------------------- */

static void send_buffer(tr_actor *self, void *context)
{
    sends *s = context;
    const tr_buffer *buffer = tr_buffer_make(self, bulk, LARGE);
    for (s->accepted = 0; s->accepted < s->count; s->accepted++)
        if ((s->last = tr_send(self, s->to, packet, .n = s->accepted, .data = buffer)) != TR_OK)
            break;
    tr_buffer_release(self, buffer);
}

static void a_buffer_counts_once_however_many_messages_hold_it(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    sends s = {.to = w->box.address, .count = 50};
    for (int i = 0; i < 4; i++) {
        manual_do(w->m, w->sender.address, send_buffer, &s);
        assert_int_equal(s.accepted, 50);
    }
    assert_int_equal(tr__buffers_bytes(w->m->node->buffers), 4 * LARGE);
    manual_do(w->m, w->sender.address, send_buffer, &s);
    assert_int_equal(s.accepted, 1);
    assert_int_equal(s.last, TR_EFULL);
    run_box(w);
    assert_int_equal(tr__buffers_bytes(w->m->node->buffers), 0);
    close_world(w);
}

/* ---- notices ------------------------------------------------------------------------------------------- */

static void who_was_refused_hears_when_there_is_some_of_it_again(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, TR_OVERFLOW_REFUSE);
        manual_puppet other = {0};
        manual_spawn(w->m, loops - 1, &other, NULL);
        manual_pump(w->m);
        tr_actor *o = manual_actor(w->m, other.address);
        o->queued = true;
        send_to(w, w->box.address, 9, LARGE, false);
        sends s = send_to(w, other.address, 2, LARGE, true); /* one beyond, one refused */
        assert_int_equal(s.accepted, 1);
        manual_step(w->m, TR_MILLIS(5));
        assert_string_equal(w->sender.trail, "init "); /* not again and again for nothing */
        run_box(w);
        manual_step(w->m, TR_MILLIS(2));
        assert_string_equal(w->sender.trail, "init writable ");
        assert_int_equal(send_to(w, other.address, 1, LARGE, false).accepted, 1);
        o->queued = false;
        manual_mark(w->m, other.address, 1);
        manual_pump(w->m);
        close_world(w);
    }
}

static void or_when_the_receiver_has_handled_all_it_had_or_ends(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        world *w = open_world(1, TR_OVERFLOW_REFUSE);
        manual_puppet other = {0};
        manual_spawn(w->m, 0, &other, NULL);
        manual_pump(w->m);
        tr_actor *o = manual_actor(w->m, other.address);
        o->queued = true;
        send_to(w, w->box.address, 9, LARGE, false);
        send_to(w, other.address, 2, LARGE, true);
        o->queued = false;
        if (ends)
            manual_do(w->m, w->sender.address, kill_it, &other.address);
        else
            manual_mark(w->m, other.address, 1);
        manual_step(w->m, TR_MILLIS(2));
        assert_string_equal(w->sender.trail, "init writable ");
        run_box(w);
        close_world(w);
    }
}

/* Fibers that are killed while they wait for places with one beyond the budget, and don't return: each has the mailbox's
 * one, and leaves it when its stack is dropped. */
#define MANY 60 /* waits; more at a time are refused */

static int rounds;

static tr_err send_stubbornly(tr_actor *self, void *arg)
{
    for (rounds = 0; rounds < MANY; rounds++)
        tr_send(self, *(tr_addr *)arg, blob, .n = 1, .data = {bulk, LARGE});
    return TR_OK;
}

static tr_err pass_on_stubbornly(tr_actor *self, void *arg)
{
    const tr_msg *msg = tr_receive(self, TR_FOREVER);
    tr_msg *taken = msg ? tr_msg_take(self, msg) : NULL;
    for (rounds = 0; rounds < MANY; rounds++)
        tr_send_msg(self, *(tr_addr *)arg, &taken);
    return TR_OK;
}

TR_ACTOR(stubborn_def, .run = send_stubbornly);
TR_ACTOR(stubborn_passer_def, .run = pass_on_stubbornly);

static void fill_box(world *w)
{
    while (send_to(w, w->box.address, 1, 10, false).last == TR_OK)
        ;
}

static void who_waits_with_one_and_ends_leaves_it_to_others(void **state)
{
    const tr_actor_def *defs[] = {&stubborn_def, &stubborn_passer_def};
    (void)state;
    for (int i = 0; i < 4; i++) {
        world *w = open_world((uint32_t)i / 2 + 1, TR_OVERFLOW_WAIT);
        fill_box(w);
        tr_addr fiber = manual_spawn_def(w->m, 0, defs[i % 2], &w->box.address, NULL);
        atomic_store(&w->m->node->buffers->max, 1);
        manual_pump(w->m);
        if (i % 2)
            assert_int_equal(send_to(w, fiber, 1, LARGE, false).accepted, 1);
        fill_box(w);                        /* with what was in its own loop's hand, too */
        w->m->clock_step_ns = TR_MILLIS(1); /* it never rests: its turn is over by the clock */
        manual_tell(w->m, w->sender.address, kill_it, &fiber);
        while (rounds == 0)
            manual_turn(w->m, 0);
        assert_true(rounds < MANY);
        w->m->now_ns += TR_SECONDS(2);
        manual_turn(w->m, 0);
        assert_null(manual_actor(w->m, fiber));
        w->m->clock_step_ns = 0;
        run_box(w);
        assert_int_equal(send_to(w, w->box.address, 1, LARGE, false).accepted, 1);
        close_world(w);
    }
}

/* What is forwarded comes to another mailbox, which takes one as well. */
static void forward_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_msg_ask_number(msg))
        return;
    tr_err err = tr_forward(self, msg, *(tr_addr *)puppet->user);
    manual_note(puppet, "%s", tr_err_word(err));
    if (err != TR_OK)
        tr_reply_error(self, msg, err, "%s", tr_last_error(self)->text);
}

static void ask_large(tr_actor *self, void *context)
{
    manual_then(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), blob, .n = 1, .data = {bulk, LARGE}));
}

static void a_mailbox_takes_one_that_is_forwarded_nevertheless(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        world *w = open_world((uint32_t)i / 2 + 1, i % 2 ? TR_OVERFLOW_DROP_OLDEST : TR_OVERFLOW_REFUSE);
        manual_puppet agent = {.on = forward_it, .user = &w->box.address};
        manual_spawn(w->m, 0, &agent, NULL);
        manual_pump(w->m);
        atomic_store(&w->m->node->buffers->max, 1);
        for (int n = 0; n < 2; n++)
            manual_do(w->m, w->sender.address, ask_large, &agent.address);
        assert_string_equal(agent.trail, "init 1 ok 1 full ");
        run_box(w);
        manual_do(w->m, w->sender.address, ask_large, &agent.address);
        assert_string_equal(agent.trail, "init 1 ok 1 full 1 ok ");
        close_world(w);
    }
}

static bool opened;

static void receive_when_opened(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, blob) && !opened)
        assert_int_equal(tr_defer(self, msg), TR_OK);
    if (tr_match(msg, mark))
        tr_undefer(self);
}
TR_ACTOR(defers_def, .receive = receive_when_opened);

/* B4: what is set aside is still in its mailbox. */
static void one_that_is_set_aside_is_still_the_one_beyond(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, TR_OVERFLOW_REFUSE);
        send_to(w, w->box.address, 9, LARGE, false);
        opened = false;
        tr_addr defers = manual_spawn_def(w->m, loops - 1, &defers_def, NULL, NULL);
        manual_pump(w->m);
        assert_int_equal(send_to(w, defers, 1, LARGE, false).accepted, 1);
        for (int round = 0; round < 3; round++) { /* set aside, put back, and set aside again */
            assert_int_equal(send_to(w, defers, 1, LARGE, false).accepted, 0);
            manual_mark(w->m, defers, 1);
            manual_pump(w->m);
        }
        opened = true;
        manual_mark(w->m, defers, 1);
        manual_pump(w->m);
        for (int round = 0; round < 3; round++) /* it handles each */
            assert_int_equal(send_to(w, defers, 1, LARGE, false).accepted, 1);
        run_box(w);
        assert_int_equal(tr__buffers_bytes(w->m->node->buffers), 0);
        close_world(w);
    }
}

static void send_itself_one(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_match(msg, blob) || puppet->user)
        return;
    puppet->user = self;
    tr_msg *taken = tr_msg_take(self, msg);
    assert_int_equal(tr_send_msg(self, tr_self(self), &taken), TR_OK);
}

static void one_that_was_taken_is_in_the_mailbox_no_more(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    send_to(w, w->box.address, 9, LARGE, false);
    manual_puppet other = {.on = send_itself_one};
    manual_spawn(w->m, 0, &other, NULL);
    manual_pump(w->m);
    assert_int_equal(send_to(w, other.address, 1, LARGE, false).accepted, 1);
    assert_string_equal(other.trail, "init 0 0 ");
    assert_int_equal(send_to(w, other.address, 1, LARGE, false).accepted, 1);
    run_box(w);
    close_world(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beyond_it_a_large_message_is_refused_by_name),
        cmocka_unit_test(each_mailbox_takes_one_nevertheless),
        cmocka_unit_test(what_is_posted_is_charged_as_well),
        cmocka_unit_test(answers_pass_and_large_asks_are_refused),
        cmocka_unit_test(what_ends_unhandled_is_charged_no_more),
        cmocka_unit_test(a_buffer_counts_once_however_many_messages_hold_it),
        cmocka_unit_test(who_was_refused_hears_when_there_is_some_of_it_again),
        cmocka_unit_test(or_when_the_receiver_has_handled_all_it_had_or_ends),
        cmocka_unit_test(who_waits_with_one_and_ends_leaves_it_to_others),
        cmocka_unit_test(a_mailbox_takes_one_that_is_forwarded_nevertheless),
        cmocka_unit_test(one_that_is_set_aside_is_still_the_one_beyond),
        cmocka_unit_test(one_that_was_taken_is_in_the_mailbox_no_more),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
