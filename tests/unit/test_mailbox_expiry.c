/* Messages with a time to live, and asks whose deadline has passed while they were queued: dropped when they are reached, or
 * when a full mailbox is swept (actors/places.c); on one loop and across loops. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"

typedef struct order {
    tr_addr at;
    uint64_t from, count, ttl_ns;
    uint64_t accepted;
} order;

static void send_marks(tr_actor *self, void *context)
{
    order *o = context;
    o->accepted = 0;
    for (uint64_t i = 0; i < o->count; i++) {
        tr_send_opts opts = {.ttl_ns = o->ttl_ns};
        o->accepted += tr_send_with(self, o->at, &opts, mark, .n = o->from + i) == TR_OK;
    }
}

static void ask_it(tr_actor *self, void *context)
{
    order *o = context;
    manual_then(self, tr_ask(self, o->at, o->ttl_ns, mark, .n = 77));
}

typedef struct world {
    manual *m;
    manual_puppet sender, box;
    tr_actor *actor;
} world;

static world *open_world(uint32_t loops, uint32_t places)
{
    world *w = calloc(1, sizeof(*w));
    w->m = manual_open(loops);
    tr_spawn_opts opts = {.mailbox_places = places};
    manual_spawn(w->m, 0, &w->sender, NULL);
    manual_spawn(w->m, loops - 1, &w->box, &opts);
    manual_pump(w->m);
    w->actor = manual_actor(w->m, w->box.address);
    w->actor->queued = true; /* it doesn't run until it is let */
    return w;
}

static uint64_t send_to_box(world *w, uint64_t from, uint64_t count, uint64_t ttl_ns)
{
    order o = {w->box.address, from, count, ttl_ns, 0};
    manual_do(w->m, w->sender.address, send_marks, &o);
    return o.accepted;
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

static void what_is_reached_too_late_is_dropped_and_counted(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, 10);
        send_to_box(w, 1, 2, TR_MILLIS(5));
        send_to_box(w, 3, 2, TR_MILLIS(20));
        send_to_box(w, 5, 2, 0);
        manual_step(w->m, TR_MILLIS(10));
        run_box(w);
        assert_string_equal(w->box.trail, "init 3 4 5 6 99 ");
        assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), 2);
        close_world(w);
    }
}

/* The callee's loop has seen that it is late; the asker's, which stands still, hasn't. */
static void an_ask_that_is_late_is_not_handed_to_the_callee(void **state)
{
    (void)state;
    world *w = open_world(2, 10);
    order o = {w->box.address, 0, 0, TR_MILLIS(5), 0};
    manual_do(w->m, w->sender.address, ask_it, &o);
    w->m->now_ns += TR_MILLIS(6);
    w->actor->queued = false;
    manual_mark(w->m, w->box.address, 99);
    manual_turn(w->m, 1);
    assert_string_equal(w->box.trail, "init 99 ");
    assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), 1);
    assert_string_equal(w->sender.trail, "init ");
    manual_pump(w->m);
    assert_string_equal(w->sender.trail, "init error:deadline ");
    close_world(w);
}

static void a_full_mailbox_is_swept_for_who_is_refused(void **state)
{
    (void)state;
    world *w = open_world(1, 8);
    assert_int_equal(send_to_box(w, 1, 4, TR_MILLIS(5)), 4);
    assert_int_equal(send_to_box(w, 5, 5, 0), 4);
    manual_step(w->m, TR_MILLIS(10));
    assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), 0); /* they keep their places until then */
    assert_int_equal(send_to_box(w, 10, 5, 0), 4);
    assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), 4);
    run_box(w);
    assert_string_equal(w->box.trail, "init 5 6 7 8 10 11 12 13 99 ");
    close_world(w);
}

static void ask_for_notice(tr_actor *self, void *context)
{
    order *o = context;
    assert_int_equal(tr_notify_writable(self, o->at), TR_OK);
}

static void and_for_who_asks_for_a_notice_from_another_loop(void **state)
{
    (void)state;
    world *w = open_world(2, 8);
    uint64_t sent = send_to_box(w, 1, 9, TR_MILLIS(5));
    assert_in_range(sent, 7, 8);
    manual_step(w->m, TR_MILLIS(10));
    order o = {.at = w->box.address};
    manual_do(w->m, w->sender.address, ask_for_notice, &o);
    assert_string_equal(w->sender.trail, "init writable ");
    assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), sent);
    run_box(w);
    close_world(w);
}

/* Refused again and again with nothing expired: it is looked at once a millisecond, not at each refusal. */
static void it_is_not_swept_at_each_refusal(void **state)
{
    (void)state;
    world *w = open_world(1, 8);
    send_to_box(w, 1, 9, TR_MILLIS(5));
    uint64_t first = w->actor->extras->sweep_ns;
    assert_int_equal(first, w->m->now_ns + TR_MILLIS(1));
    w->m->now_ns += TR_MICROS(999);
    send_to_box(w, 1, 9, 0);
    assert_int_equal(w->actor->extras->sweep_ns, first);
    w->m->now_ns += TR_MICROS(1);
    send_to_box(w, 1, 9, 0);
    assert_int_equal(w->actor->extras->sweep_ns, first + TR_MILLIS(1));
    run_box(w);
    close_world(w);
}

static void receive_one(tr_actor *self, manual_puppet *notes)
{
    const tr_msg *msg = tr_receive(self, TR_MILLIS(100));
    const mark *m = msg ? tr_match(msg, mark) : NULL;
    if (m)
        manual_note(notes, "%llu", (unsigned long long)m->n);
    else
        manual_note(notes, "none");
}

static tr_err sleepy(tr_actor *self, void *arg)
{
    TR_TRY(tr_sleep(self, TR_MILLIS(50)));
    for (int i = 0; i < 3; i++)
        receive_one(self, arg);
    return TR_OK;
}

TR_ACTOR(sleepy_def, .run = sleepy);

static void a_fiber_does_not_receive_it_either(void **state)
{
    (void)state;
    world *w = open_world(1, 8);
    manual_puppet notes = {0};
    order o = {manual_spawn_def(w->m, 0, &sleepy_def, &notes, NULL), 1, 2, TR_MILLIS(5), 0};
    manual_do(w->m, w->sender.address, send_marks, &o);
    o.from = 3;
    o.ttl_ns = TR_SECONDS(1);
    manual_do(w->m, w->sender.address, send_marks, &o);
    manual_step(w->m, TR_MILLIS(200));
    assert_string_equal(notes.trail, "3 4 none ");
    assert_int_equal(manual_dropped(w->m, TR_DROP_EXPIRED), 2);
    run_box(w);
    close_world(w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_reached_too_late_is_dropped_and_counted),
        cmocka_unit_test(an_ask_that_is_late_is_not_handed_to_the_callee),
        cmocka_unit_test(a_full_mailbox_is_swept_for_who_is_refused),
        cmocka_unit_test(and_for_who_asks_for_a_notice_from_another_loop),
        cmocka_unit_test(it_is_not_swept_at_each_refusal),
        cmocka_unit_test(a_fiber_does_not_receive_it_either),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
