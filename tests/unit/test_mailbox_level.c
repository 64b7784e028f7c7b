/* actors/fullness.c: who asked hears when a mailbox fills up, and when it has fallen again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"
#include "base/mem.h"

typedef struct order {
    tr_addr at;
    uint64_t count;
    uint32_t percent;
    tr_err err;
} order;

static void send_marks(tr_actor *self, void *context)
{
    order *o = context;
    for (uint64_t i = 0; i < o->count; i++)
        o->err = tr_send(self, o->at, mark, .n = i);
}

static void ask_for_level(tr_actor *self, void *context)
{
    order *o = context;
    o->err = tr_notify_level(self, o->at, o->percent);
}

static void note_level(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_mailbox_level *level = tr_match(msg, tr_mailbox_level);
    if (level)
        manual_note(puppet, "%s:%u/%u", level->high ? "high" : "low", level->taken, level->places);
    if (level && !level->high && puppet->user) /* again */
        assert_int_equal(tr_notify_level(self, level->actor, 50), TR_OK);
}

/* A watcher and a sender on the first loop, the watched, of ten places, on the last; it doesn't run until it is let. */
typedef struct world {
    manual *m;
    manual_puppet watcher, sender, box;
    tr_actor *actor;
} world;

static world *open_world(uint32_t loops, tr_overflow overflow)
{
    world *w = calloc(1, sizeof(*w));
    w->m = manual_open(loops);
    tr_spawn_opts opts = {.mailbox_places = 10, .overflow = overflow};
    w->watcher.on = note_level;
    manual_spawn(w->m, 0, &w->watcher, NULL);
    manual_spawn(w->m, 0, &w->sender, NULL);
    manual_spawn(w->m, loops - 1, &w->box, &opts);
    manual_pump(w->m);
    w->actor = manual_actor(w->m, w->box.address);
    return w;
}

static void watch(world *w, uint32_t percent)
{
    order o = {.at = w->box.address, .percent = percent};
    manual_do(w->m, w->watcher.address, ask_for_level, &o);
    assert_int_equal(o.err, TR_OK);
}

static void send_to_box(world *w, uint64_t count)
{
    order o = {.at = w->box.address, .count = count};
    w->actor->queued = true;
    manual_do(w->m, w->sender.address, send_marks, &o);
    w->actor->queued = false;
}

static void run_box(world *w)
{
    manual_mark(w->m, w->box.address, 99);
    manual_pump(w->m);
}

static void close_world(world *w)
{
    manual_check(w->m);
    manual_close(w->m);
    free(w);
}

static void rising_and_falling_are_told_once_each(void **state)
{
    (void)state;
    for (int overflow = TR_OVERFLOW_REFUSE; overflow <= TR_OVERFLOW_WAIT; overflow++)
        for (uint32_t loops = 1; loops <= 2; loops++) {
            world *w = open_world(loops, (tr_overflow)overflow);
            watch(w, 80);
            send_to_box(w, 7);
            assert_string_equal(w->watcher.trail, "init ");
            send_to_box(w, 1);
            assert_string_equal(w->watcher.trail, "init tr_mailbox_level high:8/10 ");
            send_to_box(w, 2);
            run_box(w);
            assert_string_equal(w->watcher.trail,
                                "init tr_mailbox_level high:8/10 tr_mailbox_level low:0/10 ");
            send_to_box(w, 9); /* it didn't ask again */
            run_box(w);
            assert_true(strlen(w->watcher.trail) < 70);
            close_world(w);
        }
}

static void who_asks_again_hears_again_and_at_once_if_it_is_so(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    w->watcher.user = w;
    watch(w, 50);
    for (int i = 0; i < 3; i++) {
        send_to_box(w, 6);
        run_box(w);
    }
    const char *at = w->watcher.trail;
    for (int i = 0; i < 3; i++) {
        at = strstr(at, "high:5/10 ");
        assert_non_null(at);
        at = strstr(at, "low:0/10 ");
        assert_non_null(at);
    }
    assert_null(strstr(at, "high"));
    send_to_box(w, 8);
    watch(w, 70);
    assert_non_null(strstr(at, "high:8/10"));
    close_world(w);
}

static void kill_box(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void of_one_that_ends_or_has_ended_it_is_told_that_it_cannot_be_watched(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, TR_OVERFLOW_REFUSE);
        watch(w, 50);
        manual_do(w->m, w->sender.address, kill_box, &w->box.address);
        assert_string_equal(w->watcher.trail, "init tr_mailbox_level low:0/0 ");
        watch(w, 50);
        assert_string_equal(w->watcher.trail, "init tr_mailbox_level low:0/0 tr_mailbox_level low:0/0 ");
        close_world(w);
    }
}

static void more_than_64_at_a_mailbox_are_refused(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    for (int i = 0; i < 64; i++)
        watch(w, 90);
    assert_string_equal(w->watcher.trail, "init ");
    watch(w, 90);
    assert_string_equal(w->watcher.trail, "init tr_mailbox_level low:0/0 ");
    close_world(w);
}

static void a_percentage_is_from_1_to_100(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    for (uint32_t percent = 0; percent <= 101; percent += 101) {
        order o = {.at = w->box.address, .percent = percent};
        manual_do(w->m, w->watcher.address, ask_for_level, &o);
        assert_int_equal(o.err, TR_EINVAL);
    }
    order o = {.at = {w->box.address.node ^ 1, 5, 5}, .percent = 50};
    manual_do(w->m, w->watcher.address, ask_for_level, &o);
    assert_int_equal(o.err, TR_EINVAL);
    close_world(w);
}

static void ask_with_failing_allocations(tr_actor *self, void *context)
{
    order *o = context;
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        o->err = tr_notify_level(self, o->at, 50);
        uint64_t left = tr__alloc_fail_left();
        tr__alloc_fail_at(0);
        if (left)
            return;
        assert_true(o->err == TR_ENOMEM || o->err == TR_OK); /* TR_OK: at the mailbox, which says so */
    }
}

static void without_memory_it_is_told_and_nothing_is_lost(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    order o = {.at = w->box.address};
    manual_dry_pool(w->m, 0);
    manual_do(w->m, w->watcher.address, ask_with_failing_allocations, &o);
    assert_int_equal(o.err, TR_OK);
    assert_non_null(strstr(w->watcher.trail, "low:0/0")); /* one found no memory there */
    send_to_box(w, 5);
    assert_non_null(strstr(w->watcher.trail, "high:5/10"));
    close_world(w);
}

static void watch_dead_letters(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_watch_dead_letters(self, true), TR_OK);
}

static void end_it(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "told to");
}

/* The notice for who has ended is a dead letter, which the mailbox itself is told of: so the next mark is reached meanwhile. */
static void a_mark_is_passed_while_another_is_told(void **state)
{
    (void)state;
    world *w = open_world(1, TR_OVERFLOW_REFUSE);
    watch(w, 40);
    watch(w, 50);
    manual_do(w->m, w->box.address, watch_dead_letters, NULL);
    manual_do(w->m, w->watcher.address, end_it, NULL);
    send_to_box(w, 4);
    assert_int_equal(manual_dropped(w->m, TR_DROP_NO_ACTOR), 2);
    run_box(w);
    close_world(w);
}

static tr_err waits_for_a_blob(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive_type(self, TR_FOREVER, blob);
    return TR_OK;
}
TR_ACTOR(picky_def, .run = waits_for_a_blob, .mailbox_places = 10);

static void send_short_lived(tr_actor *self, void *context)
{
    order *o = context;
    tr_send_opts opts = {.ttl_ns = TR_MILLIS(5)};
    for (uint64_t i = 0; i < o->count; i++)
        o->err = tr_send_with(self, o->at, &opts, mark, .n = i);
}

static void ask_for_places(tr_actor *self, void *context)
{
    assert_int_equal(tr_notify_writable(self, ((order *)context)->at), TR_OK);
}

/* A fiber that waits for something else may not come to its next message for long. */
static void a_sweep_of_a_waiting_fibers_mailbox_is_heard_at_once(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, TR_OVERFLOW_REFUSE);
        order o = {
            .at = manual_spawn_def(w->m, loops - 1, &picky_def, NULL, NULL), .count = 5, .percent = 80};
        manual_pump(w->m);
        manual_do(w->m, w->watcher.address, ask_for_level, &o);
        for (int i = 0; i < 2; i++)
            manual_do(w->m, w->sender.address, send_short_lived, &o);
        assert_non_null(strstr(w->watcher.trail, "high:"));
        assert_null(strstr(w->watcher.trail, "low:"));
        manual_step(w->m, TR_MILLIS(10));
        manual_do(w->m, w->sender.address, ask_for_places, &o); /* sweeps */
        assert_string_equal(w->sender.trail, "init writable ");
        assert_non_null(strstr(w->watcher.trail, " low:0/10 "));
        close_world(w);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rising_and_falling_are_told_once_each),
        cmocka_unit_test(who_asks_again_hears_again_and_at_once_if_it_is_so),
        cmocka_unit_test(of_one_that_ends_or_has_ended_it_is_told_that_it_cannot_be_watched),
        cmocka_unit_test(more_than_64_at_a_mailbox_are_refused),
        cmocka_unit_test(a_percentage_is_from_1_to_100),
        cmocka_unit_test(a_mark_is_passed_while_another_is_told),
        cmocka_unit_test(without_memory_it_is_told_and_nothing_is_lost),
        cmocka_unit_test(a_sweep_of_a_waiting_fibers_mailbox_is_heard_at_once),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
