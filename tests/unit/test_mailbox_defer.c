/* actors/defer.c: what a receive actor sets aside comes back in order, first, and keeps its place; its change of handler;
 * what is left in the mailbox at the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/manual.h"

#include "actors/adapter.h"
#include "base/mem.h"

TR_MESSAGE(open_up)
TR_MESSAGE(shut)
TR_MESSAGE(end_now)

static manual_puppet notes; /* of the door */
static tr_err deferred;     /* the last tr_defer */

/* ---- a door: shut, it defers all marks; open, it notes them ---------------------------------------------- */

static void receive_open(tr_actor *self, void *state, const tr_msg *msg);

static void receive_shut(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, open_up))
        tr_become(self, receive_open);
    else if (tr_match(msg, end_now))
        tr_exit(self, TR_OK, "told to");
    else
        deferred = tr_defer(self, msg);
}

static void receive_open(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    const mark *m = tr_match(msg, mark);
    const tr_down *down = tr_match(msg, tr_down);
    if (m)
        manual_note(&notes, "%llu", (unsigned long long)m->n);
    else if (down)
        manual_note(&notes, "down");
    else if (tr_match(msg, shut))
        tr_become(self, NULL);
    if (tr_msg_ask_number(msg))
        tr_reply(self, msg, mark, .n = m ? m->n + 100 : 0);
}

TR_ACTOR(door_def, .receive = receive_shut, .mailbox_places = 6);

static void note_left(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    const mark *m = tr_match(msg, mark);
    manual_note(&notes, "left:%llu", (unsigned long long)(m ? m->n : 0));
    if (tr_msg_ask_number(msg) && m && m->n == 1)
        tr_reply(self, msg, mark, .n = 11);
}

static void note_stop(tr_actor *self, void *state)
{
    (void)self;
    (void)state;
    manual_note(&notes, "stop");
}

TR_ACTOR(leaving_def, .receive = receive_shut, .mailbox_places = 6, .left = note_left, .stop = note_stop);

/* ---- helpers ------------------------------------------------------------------------------------------- */

typedef struct world {
    manual *m;
    manual_puppet sender;
    tr_addr door;
} world;

static world *open_world(uint32_t loops, const tr_actor_def *def)
{
    world *w = calloc(1, sizeof(*w));
    notes.trail[0] = '\0';
    w->m = manual_open(loops);
    manual_spawn(w->m, 0, &w->sender, NULL);
    w->door = manual_spawn_def(w->m, loops - 1, def, NULL, NULL);
    manual_pump(w->m);
    return w;
}

static void close_world(world *w)
{
    manual_check(w->m);
    manual_close(w->m);
    free(w);
}

typedef struct order {
    tr_addr to;
    uint64_t from, count, accepted;
} order;

static void send_marks(tr_actor *self, void *context)
{
    order *o = context;
    o->accepted = 0;
    for (uint64_t i = 0; i < o->count; i++)
        o->accepted += tr_send(self, o->to, mark, .n = o->from + i) == TR_OK;
}

static uint64_t marks(world *w, uint64_t from, uint64_t count)
{
    order o = {w->door, from, count, 0};
    manual_do(w->m, w->sender.address, send_marks, &o);
    return o.accepted;
}

static void send_open(tr_actor *self, void *context)
{
    assert_int_equal(tr_send(self, *(tr_addr *)context, open_up), TR_OK);
}

static void send_shut(tr_actor *self, void *context)
{
    assert_int_equal(tr_send(self, *(tr_addr *)context, shut), TR_OK);
}

static void ask_mark(tr_actor *self, void *context)
{
    order *o = context;
    manual_then(self, tr_ask(self, o->to, TR_SECONDS(1), mark, .n = o->from));
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_was_deferred_comes_back_first_and_in_order(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, &door_def);
        assert_int_equal(marks(w, 1, 3), 3);
        assert_string_equal(notes.trail, "");
        manual_check(w->m); /* counted as queued, with their places */
        manual_do(w->m, w->sender.address, send_open, &w->door);
        assert_string_equal(notes.trail, "1 2 3 ");
        marks(w, 4, 2);
        manual_do(w->m, w->sender.address, send_shut, &w->door);
        marks(w, 6, 2);
        assert_string_equal(notes.trail, "1 2 3 4 5 ");
        manual_do(w->m, w->sender.address, send_open, &w->door);
        assert_string_equal(notes.trail, "1 2 3 4 5 6 7 ");
        close_world(w);
    }
}

static void shut_open_and_marks(tr_actor *self, void *context)
{
    tr_addr to = *(tr_addr *)context;
    tr_send(self, to, mark, .n = 1);
    tr_send(self, to, mark, .n = 2);
    tr_send(self, to, open_up);
    tr_send(self, to, mark, .n = 3);
}

static void before_what_is_in_the_mailbox_within_one_batch(void **state)
{
    (void)state;
    world *w = open_world(1, &door_def);
    manual_do(w->m, w->sender.address, shut_open_and_marks, &w->door);
    assert_string_equal(notes.trail, "1 2 3 ");
    close_world(w);
}

static void it_keeps_its_place_so_the_mailbox_is_full_by_it(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, &door_def);
        assert_in_range(marks(w, 1, 5), 5, 5);
        manual_turn(w->m, loops - 1);
        assert_int_equal(marks(w, 6, 9), 1); /* six places, and nothing is queued but what is deferred */
        tr_actor *door = manual_actor(w->m, w->door);
        assert_int_equal(door->extras->deferred_count, 6);
        manual_check(w->m);
        assert_int_equal(tr__inject(w->m->node->loops[loops - 1], w->door, mark, .n = 99), TR_OK);
        manual_pump(w->m); /* a notice needs no place, but deferring has its bound, too */
        assert_int_equal(deferred, TR_EFULL);
        assert_int_equal(tr__inject(w->m->node->loops[loops - 1], w->door, open_up), TR_OK);
        manual_pump(w->m);
        assert_string_equal(notes.trail, "1 2 3 4 5 6 ");
        close_world(w);
    }
}

static void an_ask_may_be_deferred_and_is_dropped_when_its_asker_gives_up(void **state)
{
    (void)state;
    world *w = open_world(1, &door_def);
    order o = {w->door, 1, 0, 0};
    manual_do(w->m, w->sender.address, ask_mark, &o);
    manual_do(w->m, w->sender.address, send_open, &w->door);
    assert_string_equal(w->sender.trail, "init reply:101 ");
    manual_do(w->m, w->sender.address, send_shut, &w->door);
    o.from = 2;
    manual_do(w->m, w->sender.address, ask_mark, &o);
    manual_step(w->m, TR_SECONDS(2));
    assert_string_equal(w->sender.trail, "init reply:101 error:deadline ");
    assert_int_equal(manual_dropped(w->m, TR_DROP_CANCELED), 1);
    manual_do(w->m, w->sender.address, send_open, &w->door);
    assert_string_equal(notes.trail, "1 ");
    close_world(w);
}

static void ask_and_cancel(tr_actor *self, void *context)
{
    tr_cancel(self, tr_ask(self, *(tr_addr *)context, TR_SECONDS(1), mark, .n = 1));
}

static void who_is_woken_for_nothing_has_only_what_is_deferred(void **state)
{
    (void)state;
    world *w = open_world(1, &door_def);
    marks(w, 1, 2);
    manual_do(w->m, w->sender.address, ask_and_cancel, &w->door);
    assert_int_equal(manual_actor(w->m, w->door)->count, 2);
    assert_int_equal(manual_dropped(w->m, TR_DROP_CANCELED), 1);
    close_world(w);
}

/* A tr_down is for one monitor, which has fired when it is deferred. */
static void watch_and_defer(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (tr_match(msg, tr_down) && puppet->user) {
        puppet->user = NULL;
        assert_int_equal(tr_defer(self, msg), TR_OK);
        tr_undefer(self);
    }
}

static void monitor_it(tr_actor *self, void *context)
{
    assert_true(tr_monitor(self, *(tr_addr *)context) != 0);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void notices_may_be_deferred_as_well(void **state)
{
    (void)state;
    world *w = open_world(1, &door_def);
    w->sender.on = watch_and_defer;
    w->sender.user = w;
    manual_puppet killer = {0};
    manual_spawn(w->m, 0, &killer, NULL);
    manual_do(w->m, w->sender.address, monitor_it, &w->door);
    manual_do(w->m, killer.address, kill_it, &w->door);
    assert_string_equal(w->sender.trail, "init down:killed down:killed ");
    close_world(w);
}

static void defer_wrongly(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    tr_msg *taken = tr_msg_take(self, msg);
    manual_note(puppet, "%s", tr_err_word(tr_defer(self, taken)));
    manual_note(puppet, "%s", tr_err_word(tr_defer(self, NULL)));
    tr_msg_free(self, &taken);
}

static void answer_and_defer(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (!tr_msg_ask_number(msg))
        return;
    assert_int_equal(tr_reply(self, msg, mark, .n = 8), TR_OK);
    manual_note(puppet, "%s", tr_err_word(tr_defer(self, msg)));
}

static void what_is_answered_is_not_deferred(void **state)
{
    (void)state;
    world *w = open_world(1, &door_def);
    manual_puppet b = {.on = answer_and_defer};
    manual_spawn(w->m, 0, &b, NULL);
    order o = {b.address, 1, 0, 0};
    manual_do(w->m, w->sender.address, ask_mark, &o);
    assert_string_equal(b.trail, "init 1 invalid ");
    assert_string_equal(w->sender.trail, "init reply:8 ");
    close_world(w);
}

static tr_err fiber_defers(tr_actor *self, void *arg)
{
    (void)arg;
    const tr_msg *msg = tr_receive(self, TR_SECONDS(1));
    deferred = tr_defer(self, msg);
    return tr_become(self, receive_open);
}

TR_ACTOR(fiber_def, .run = fiber_defers);

static void only_the_message_in_hand_of_a_receive_actor_can_be(void **state)
{
    (void)state;
    world *w = open_world(1, &fiber_def);
    manual_puppet b = {.on = defer_wrongly};
    manual_spawn(w->m, 0, &b, NULL);
    manual_pump(w->m);
    manual_mark(w->m, b.address, 1);
    manual_mark(w->m, w->door, 1);
    manual_pump(w->m);
    assert_string_equal(b.trail, "init 1 invalid invalid ");
    assert_int_equal(deferred, TR_EINVAL);
    assert_null(manual_actor(w->m, w->door)); /* tr_become failed, and ended it */
    close_world(w);
}

/* ---- what is left -------------------------------------------------------------------------------------- */

static void end_with_mail(tr_actor *self, void *context)
{
    order *o = context;
    tr_send(self, o->to, mark, .n = 5); /* deferred when it ends */
    tr_send(self, o->to, end_now);
    for (uint64_t n = 1; n <= 2; n++)
        manual_then(self, tr_ask(self, o->to, TR_SECONDS(1), mark, .n = n));
    tr_send(self, o->to, mark, .n = 6);
}

static void what_is_left_at_the_end_goes_to_the_hook_in_order_before_stop(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        world *w = open_world(loops, &leaving_def);
        order o = {.to = w->door};
        manual_do(w->m, w->sender.address, end_with_mail, &o);
        assert_string_equal(notes.trail, "left:5 left:1 left:2 left:6 stop ");
        assert_string_equal(w->sender.trail, "init reply:11 error:no-actor ");
        assert_int_equal(manual_dropped(w->m, TR_DROP_LEFT), 0);
        close_world(w);
    }
}

static void without_the_hook_it_is_dead_letters_and_askers_hear_at_once(void **state)
{
    (void)state;
    world *w = open_world(1, &door_def);
    order o = {.to = w->door};
    manual_do(w->m, w->sender.address, end_with_mail, &o);
    assert_string_equal(w->sender.trail, "init error:no-actor error:no-actor ");
    assert_int_equal(manual_dropped(w->m, TR_DROP_LEFT), 4);
    close_world(w);
}

static void a_killed_one_has_its_hook_called_as_well(void **state)
{
    (void)state;
    world *w = open_world(1, &leaving_def);
    marks(w, 1, 2);
    manual_do(w->m, w->sender.address, kill_it, &w->door);
    assert_string_equal(notes.trail, "left:1 left:2 stop ");
    close_world(w);
}

static void the_end_of_the_node_calls_it_too(void **state)
{
    (void)state;
    world *w = open_world(1, &leaving_def);
    marks(w, 1, 2);
    close_world(w);
    assert_string_equal(notes.trail, "left:1 left:2 stop ");
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static uint64_t fail_next;

static void receive_poor(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    tr__alloc_fail_at(fail_next);
    tr_err err = tr_defer(self, msg);
    tr_err other = err ? err : tr_become(self, receive_open);
    tr__alloc_fail_at(0);
    assert_true(err == TR_OK || err == TR_ENOMEM);
    if (err == TR_ENOMEM)
        manual_note(&notes, "kept"); /* it is in hand, still */
    else if (other == TR_ENOMEM)
        tr_exit(self, TR_ENOMEM, "no other handler");
}

TR_ACTOR(poor_def, .receive = receive_poor);

static void without_memory_the_message_is_in_hand_still_and_the_handler_as_before(void **state)
{
    (void)state;
    for (fail_next = 1; fail_next <= 3; fail_next++) {
        world *w = open_world(1, &poor_def);
        marks(w, 1, 1);
        if (fail_next == 1) {
            assert_string_equal(notes.trail, "kept ");
        } else if (fail_next == 2) {
            assert_null(manual_actor(w->m, w->door));
            assert_int_equal(manual_dropped(w->m, TR_DROP_LEFT), 1);
        } else {
            assert_string_equal(notes.trail, "1 ");
        }
        close_world(w);
    }
}

TR_ACTOR(full_door_def, .receive = receive_shut, .mailbox_places = 6, .overflow = TR_OVERFLOW_DROP_OLDEST);

static void want_writable(tr_actor *self, void *context)
{
    order *o = context;
    o->accepted = tr_send(self, o->to, mark, .n = 7) == TR_OK;
    assert_int_equal(tr_notify_writable(self, o->to), TR_OK);
}

/* What is deferred can't make place, though nothing is under way. */
static void who_is_refused_for_it_by_one_that_drops_its_oldest_hears_when_there_is_place(void **state)
{
    (void)state;
    for (int killed = 0; killed < 2; killed++) {
        world *w = open_world(1, &full_door_def);
        assert_int_equal(marks(w, 1, 6), 6);
        order o = {.to = w->door};
        manual_do(w->m, w->sender.address, want_writable, &o);
        assert_int_equal(o.accepted, 0);
        assert_string_equal(w->sender.trail, "init ");
        if (killed) {
            manual_do(w->m, w->sender.address, kill_it, &w->door);
        } else {
            assert_int_equal(tr_become(manual_actor(w->m, w->door), receive_open), TR_OK);
            manual_pump(w->m);
            assert_string_equal(notes.trail, "1 2 3 4 5 6 ");
        }
        assert_string_equal(w->sender.trail, "init writable ");
        close_world(w);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_deferred_comes_back_first_and_in_order),
        cmocka_unit_test(before_what_is_in_the_mailbox_within_one_batch),
        cmocka_unit_test(it_keeps_its_place_so_the_mailbox_is_full_by_it),
        cmocka_unit_test(an_ask_may_be_deferred_and_is_dropped_when_its_asker_gives_up),
        cmocka_unit_test(who_is_woken_for_nothing_has_only_what_is_deferred),
        cmocka_unit_test(notices_may_be_deferred_as_well),
        cmocka_unit_test(only_the_message_in_hand_of_a_receive_actor_can_be),
        cmocka_unit_test(what_is_answered_is_not_deferred),
        cmocka_unit_test(what_is_left_at_the_end_goes_to_the_hook_in_order_before_stop),
        cmocka_unit_test(without_the_hook_it_is_dead_letters_and_askers_hear_at_once),
        cmocka_unit_test(a_killed_one_has_its_hook_called_as_well),
        cmocka_unit_test(the_end_of_the_node_calls_it_too),
        cmocka_unit_test(who_is_refused_for_it_by_one_that_drops_its_oldest_hears_when_there_is_place),
        cmocka_unit_test(without_memory_the_message_is_in_hand_still_and_the_handler_as_before),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
