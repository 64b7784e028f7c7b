/* actors/run.c, life.c, loop.c: who runs when; an actor's beginning and end, in every order they can be
 * reached in. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void stop_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN), TR_OK);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

static void send_mark(tr_actor *self, void *context)
{
    assert_int_equal(tr_send(self, *(tr_addr *)context, mark, .n = 1), TR_OK);
}

static void watch_it(tr_actor *self, void *context)
{
    assert_true(tr_monitor(self, *(tr_addr *)context) != 0);
}

static void exit_normally(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

static void exit_with_error(tr_actor *self, void *context)
{
    tr_exit(self, TR_EAPP, "%s", (char *)context);
}

/* ---- fairness ------------------------------------------------------------------------------------------ */

typedef struct ping {
    manual_puppet *other;
    uint64_t count;
} ping;

static void play(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    ping *p = puppet->user;
    puppet->trail[0] = '\0';
    if (tr_match(msg, mark) && p->count++ < 5000)
        assert_int_equal(tr_send(self, p->other->address, mark, .n = 1), TR_OK);
}

/* Two that wake each other for ever are on top of the stack; the third, below them, has its turn too. */
static void whoever_is_runnable_runs_within_a_bounded_stretch(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {.on = play}, b = {.on = play}, c = {0};
    ping pa = {&b, 0}, pb = {&a, 0};
    a.user = &pa;
    b.user = &pb;
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 0, &b, NULL);
    manual_spawn(m, 0, &c, NULL);
    manual_pump(m);
    m->clock_step_ns = TR_MICROS(10); /* so that turns end */
    manual_mark(m, c.address, 7);
    manual_mark(m, a.address, 1); /* above c on the stack */
    uint64_t seen = 0;
    while (!strstr(c.trail, "7") && manual_turn(m, 0))
        seen = pa.count + pb.count;
    assert_in_range(seen, 0, 3 * TR__FRESH_MAX);
    manual_pump(m);
    assert_true(pa.count >= 5000);
    manual_close(m);
}

static char order_of_runs[64];

static void note_run(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    (void)msg;
    strcat(order_of_runs, puppet->user);
}

static void wake_two(tr_actor *self, void *context)
{
    manual_puppet *two = context;
    for (int i = 0; i < 2; i++)
        assert_int_equal(tr_send(self, two[i].address, mark, .n = 1), TR_OK);
}

static void who_is_woken_last_runs_first(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0}, two[2] = {{.on = note_run, .user = "x"}, {.on = note_run, .user = "y"}};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 0, &two[0], NULL);
    manual_spawn(m, 0, &two[1], NULL);
    manual_pump(m);
    order_of_runs[0] = '\0';
    manual_do(m, a.address, wake_two, two);
    assert_string_equal(order_of_runs, "yx");
    manual_close(m);
}

static void send_to_self(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)msg;
    uint64_t *count = puppet->user;
    puppet->trail[0] = '\0';
    if (++*count < 10000)
        assert_int_equal(tr_send(self, tr_self(self), mark, .n = 1), TR_OK);
}

/* A batch is what was there when it began: one that feeds itself doesn't keep the loop. */
static void one_that_feeds_itself_does_not_keep_the_loop(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    uint64_t count = 0;
    manual_puppet a = {.on = send_to_self, .user = &count}, b = {0};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 0, &b, NULL);
    manual_pump(m);
    m->clock_step_ns = TR_MICROS(10);
    manual_mark(m, b.address, 2);
    manual_mark(m, a.address, 1);
    uint64_t seen = 0;
    while (!strstr(b.trail, "2") && manual_turn(m, 0))
        seen = count;
    assert_in_range(seen, 0, 3 * TR__FRESH_MAX);
    manual_pump(m);
    manual_close(m);
}

static void a_turn_ends_by_time(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    static manual_puppet many[100];
    memset(many, 0, sizeof(many));
    for (int i = 0; i < 100; i++)
        manual_spawn(m, 0, &many[i], NULL);
    m->clock_step_ns = TR__TURN_NS;
    assert_true(manual_turn(m, 0));
    int begun = 0;
    for (int i = 0; i < 100; i++)
        begun += many[i].trail[0] != '\0';
    assert_in_range(begun, 1, TR__TURN_CHECK);
    manual_pump(m);
    manual_close(m);
}

/* ---- the beginning ------------------------------------------------------------------------------------- */

static void a_coming_actor_keeps_its_messages(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        manual *m = manual_open(2);
        manual_puppet a = {0}, b = {0};
        manual_spawn(m, 0, &a, NULL);
        manual_pump(m);
        b.address = manual_spawn_def(m, 0, &manual_puppet_def, &b,
                                     &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = loop});
        assert_int_equal(tr_post(m->node, b.address, mark, .n = 5), TR_OK);
        manual_turn(m, loop); /* what was posted is there before the spawn, on loop 1 */
        manual_do(m, a.address, send_mark, &b.address);
        assert_true(strcmp(b.trail, "init 5 1 ") == 0 || strcmp(b.trail, "init 1 5 ") == 0);
        manual_check(m);
        manual_close(m);
    }
}

/* Killed from loop 0 before the spawn, which is on its way from loop 0 as well, or after. */
static void a_coming_actor_can_be_killed(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        manual *m = manual_open(2);
        manual_puppet a = {0}, b = {0};
        manual_spawn(m, 0, &a, NULL);
        manual_pump(m);
        b.address = manual_spawn_def(m, 0, &manual_puppet_def, &b,
                                     &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = loop});
        manual_tell(m, a.address, watch_it, &b.address);
        manual_tell(m, a.address, kill_it, &b.address);
        manual_pump(m);
        assert_string_equal(b.trail, "");
        assert_string_equal(a.trail, "init down:killed ");
        assert_null(manual_actor(m, b.address));
        manual_check(m);
        manual_close(m);
    }
}

/* The kill comes on another way than the spawn, and first. */
static void a_kill_may_come_before_the_spawn(void **state)
{
    (void)state;
    manual *m = manual_open(3);
    manual_puppet a = {0}, killer = {0}, b = {0};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 1, &killer, NULL);
    manual_pump(m);
    b.address =
        manual_spawn_def(m, 0, &manual_puppet_def, &b, &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 2});
    manual_tell(m, killer.address, watch_it, &b.address);
    manual_tell(m, killer.address, kill_it, &b.address);
    manual_turn(m, 1);
    manual_turn(m, 2);
    manual_pump(m);
    assert_null(manual_actor(m, b.address));
    assert_string_equal(b.trail, "");
    assert_string_equal(killer.trail, "init down:killed ");
    manual_check(m);
    manual_close(m);
}

static void init_that_fails_is_heard_and_stop_is_not_called(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        manual *m = manual_open(2);
        manual_puppet a = {0}, b = {.init_error = TR_EAPP};
        manual_spawn(m, 0, &a, NULL);
        manual_pump(m);
        b.address = manual_spawn_def(m, 0, &manual_puppet_def, &b,
                                     &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = loop});
        manual_tell(m, a.address, watch_it, &b.address);
        manual_pump(m);
        assert_string_equal(a.trail, "init down:error ");
        assert_string_equal(b.trail, "");
        manual_check(m);
        manual_close(m);
    }
}

static tr_err killing_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_stop(self, tr_self(self), TR_EXIT_KILLED);
}

static int never_called;

static void never_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)state;
    (void)msg;
    never_called++;
}

static tr_err never_run(tr_actor *self, void *arg)
{
    (void)self;
    (void)arg;
    never_called++;
    return TR_OK;
}

TR_ACTOR(kills_itself_in_init, .init = killing_init, .receive = never_receive);
TR_ACTOR(fiber_kills_itself_in_init, .init = killing_init, .run = never_run);

static void one_killed_in_init_never_runs(void **state)
{
    (void)state;
    const tr_actor_def *defs[] = {&kills_itself_in_init, &fiber_kills_itself_in_init};
    for (size_t i = 0; i < TR_COUNT(defs); i++) {
        manual *m = manual_open(1);
        manual_puppet a = {0};
        manual_spawn(m, 0, &a, NULL);
        manual_pump(m);
        tr_addr b = manual_spawn_def(m, 0, defs[i], NULL, NULL);
        manual_tell(m, a.address, watch_it, &b);
        manual_tell(m, a.address, send_mark, &b);
        never_called = 0;
        manual_step(m, TR_SECONDS(5));
        assert_int_equal(never_called, 0);
        assert_string_equal(a.trail, "init down:killed ");
        manual_close(m);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void exit_reasons_are_told(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0}, b[4] = {{.address = {0}}};
    manual_spawn(m, 0, &a, NULL);
    for (int i = 0; i < 4; i++) {
        manual_spawn(m, 0, &b[i], NULL);
        manual_do(m, a.address, watch_it, &b[i].address);
    }
    manual_do(m, b[0].address, exit_normally, NULL);
    manual_do(m, b[1].address, exit_with_error, "because");
    manual_do(m, a.address, stop_it, &b[2].address);
    manual_do(m, a.address, kill_it, &b[3].address);
    assert_string_equal(a.trail, "init down:normal down:error down:shutdown down:killed ");
    for (int i = 0; i < 4; i++)
        assert_string_equal(b[i].trail, "init stop ");
    manual_close(m);
}

static tr_addr victim;

static void kill_victim_on_stop(tr_actor *self, manual_puppet *puppet)
{
    (void)puppet;
    kill_it(self, &victim);
}

/* a, in its handler, kills b, whose stop kills a: a's handler still has its state until it returns. */
static void kill_then_use_state(tr_actor *self, void *context)
{
    kill_it(self, context);
    manual_note(manual_self(self), "still-here");
}

static void a_stop_may_kill_who_is_in_its_handler(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    manual_puppet a = {0}, b = {.on_stop = kill_victim_on_stop};
    manual_spawn(m, 0, &a, NULL);
    manual_spawn(m, 0, &b, NULL);
    manual_pump(m);
    victim = a.address;
    manual_do(m, a.address, kill_then_use_state, &b.address);
    assert_string_equal(a.trail, "init still-here stop ");
    assert_string_equal(b.trail, "init stop ");
    manual_check(m);
    manual_close(m);
}

static manual_puppet chain[20000];

static void kill_next(tr_actor *self, manual_puppet *puppet)
{
    puppet->trail[0] = '\0';
    if (puppet + 1 < chain + TR_COUNT(chain))
        kill_it(self, &puppet[1].address);
}

/* Each stop kills the next: no depth of stack for it. */
static void a_chain_of_kills_takes_no_stack(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    memset(chain, 0, sizeof(chain));
    manual_puppet a = {0};
    manual_spawn(m, 0, &a, NULL);
    for (size_t i = 0; i < TR_COUNT(chain); i++) {
        chain[i].on_stop = kill_next;
        manual_spawn(m, 0, &chain[i], NULL);
    }
    manual_pump(m);
    manual_do(m, a.address, kill_it, &chain[0].address);
    for (size_t i = 0; i < TR_COUNT(chain); i++)
        assert_null(manual_actor(m, chain[i].address));
    manual_close(m);
}

static void keep_own_ask(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_msg_ask_number(msg))
        assert_non_null(tr_msg_take(self, msg));
}

static void ask_self_twice(tr_actor *self, void *context)
{
    (void)context;
    manual_then(self, tr_ask(self, tr_self(self), TR_FOREVER, mark, .n = 1));
}

static void ask_self_and_exit(tr_actor *self, void *context)
{
    ask_self_twice(self, context);
    tr_exit(self, TR_OK, "done");
}

/* It ends with an ask of its own kept and another in its mailbox: both fail towards an actor that is ending.
 */
static void one_that_asked_itself_can_end(void **state)
{
    (void)state;
    for (uint32_t home = 0; home < 2; home++) {
        manual *m = manual_open(2);
        manual_puppet a = {.on = keep_own_ask}, after[3] = {{.address = {0}}};
        a.address = manual_spawn_def(m, home, &manual_puppet_def, &a,
                                     &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 1});
        manual_pump(m);
        manual_do(m, a.address, ask_self_twice, NULL);
        assert_string_equal(a.trail, "init 1 ");
        tr_actor *slot = manual_actor(m, a.address);
        if (home) { /* ended by its handler */
            manual_do(m, a.address, ask_self_and_exit, NULL);
        } else { /* ended from outside: a free slot is in no queue */
            manual_tell(m, a.address, ask_self_twice, NULL);
            tr__actor_finish(m->node->loops[1], slot, &(tr__reason){.kind = TR_EXIT_KILLED});
            assert_null(m->node->loops[1]->fresh);
            manual_pump(m);
        }
        assert_false(slot->queued);
        assert_string_equal(a.trail, "init 1 stop ");
        for (int i = 0; i < 3; i++)
            manual_spawn(m, home, &after[i], NULL);
        manual_pump(m);
        assert_int_not_equal(after[0].address.slot, after[1].address.slot);
        assert_int_not_equal(after[1].address.slot, after[2].address.slot);
        for (int i = 0; i < 3; i++)
            assert_string_equal(after[i].trail, "init ");
        manual_check(m);
        manual_close(m);
    }
}

static void do_everything_in_stop(tr_actor *self, manual_puppet *puppet)
{
    tr_addr other = *(tr_addr *)puppet->user, me = tr_self(self);
    tr_addr all[] = {other, me};
    for (int i = 0; i < 2; i++) {
        tr_send(self, all[i], mark, .n = 3);
        tr_ask(self, all[i], TR_SECONDS(1), mark, .n = 4);
        tr_monitor(self, all[i]);
        tr_link(self, all[i]);
        tr_notify_writable(self, all[i]);
        tr_after(self, TR_MILLIS(1), mark, .n = 5);
        tr_gather(self, NULL, 0);
    }
    tr_register_name(self, "stopping");
    tr_fmt(self, "text %d", 1);
    tr_exit(self, TR_EAPP, "too late");
    tr_stop(self, me, TR_EXIT_KILLED);
}

static void stop_may_call_everything(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        manual *m = manual_open(loops);
        manual_puppet a = {0}, b = {.on_stop = do_everything_in_stop, .user = &a.address};
        manual_spawn(m, loops - 1, &a, NULL);
        manual_spawn(m, 0, &b, NULL);
        manual_pump(m);
        manual_do(m, a.address, watch_it, &b.address);
        manual_do(m, a.address, stop_it, &b.address);
        manual_step(m, TR_SECONDS(2));
        assert_null(manual_actor(m, b.address));
        assert_true(tr_addr_is_none(tr__name_get(m->node, "stopping")));
        manual_check(m);
        manual_close(m);
    }
}

static void slots_go_home_and_are_used_again(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet a = {0}, b = {0};
    manual_spawn(m, 0, &a, NULL);
    tr_spawn_opts there = {.place = TR_PLACE_LOOP, .loop = 1};
    manual_spawn(m, 0, &b, &there);
    manual_pump(m);
    assert_ptr_equal(tr__owner(manual_actor(m, b.address)), m->node->loops[1]);
    tr_addr old = b.address;
    manual_do(m, a.address, stop_it, &b.address);
    manual_pump(m);
    manual_pump(m);
    b.trail[0] = '\0';
    manual_spawn(m, 0, &b, NULL);
    assert_int_equal(b.address.slot, old.slot);
    manual_pump(m);
    assert_string_equal(b.trail, "init ");
    manual_close(m);
}

/* ---- the node's end ------------------------------------------------------------------------------------ */

static void spawn_in_stop(tr_actor *self, manual_puppet *puppet)
{
    assert_true(tr_addr_is_none(tr_spawn(self, &manual_puppet_def, puppet->user)));
    assert_int_equal(tr_last_error(self)->code, TR_ECLOSED);
}

static void no_actor_is_started_while_the_node_ends(void **state)
{
    (void)state;
    manual *m = manual_open(2);
    manual_puppet late = {0}, a = {.on_stop = spawn_in_stop, .user = &late};
    manual_spawn(m, 1, &a, NULL);
    manual_pump(m);
    manual_close(m);
    assert_string_equal(a.trail, "init stop ");
    assert_string_equal(late.trail, "");
}

static void the_node_ends_with_everything_under_way(void **state)
{
    (void)state;
    manual *m = manual_open(3);
    manual_puppet p[9] = {{.address = {0}}}, coming = {0};
    for (uint32_t i = 0; i < 9; i++)
        manual_spawn(m, i % 3, &p[i], NULL);
    manual_pump(m);
    for (uint32_t i = 0; i < 9; i++) {
        tr_addr *next = &p[(i + 1) % 9].address;
        manual_tell(m, p[i].address, watch_it, next);
        manual_tell(m, p[i].address, ask_self_twice, NULL);
        manual_tell(m, p[i].address, send_mark, next);
    }
    manual_pump(m);
    for (uint32_t i = 0; i < 9; i++) {
        tr_addr *next = &p[(i + 1) % 9].address;
        manual_tell(m, p[i].address, watch_it, next);
        manual_tell(m, p[i].address, send_mark, next);
    }
    for (uint32_t i = 0; i < 3; i++)
        manual_turn(m, i);
    manual_spawn_def(m, 0, &manual_puppet_def, &coming, &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 1});
    for (uint32_t i = 0; i < 9; i++)
        assert_int_equal(tr_post(m->node, p[i].address, mark, .n = 1), TR_OK);
    manual_close(m);
}

static void never_run_at_all(tr_actor *self, void *state, const tr_msg *msg)
{
    never_receive(self, state, msg);
}

TR_ACTOR(one_of_many, .receive = never_run_at_all);

/* Those that end first are deep in the queue: to take each off it would take minutes. */
static void a_node_with_many_runnable_actors_ends_soon(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    for (int i = 0; i < 100000; i++)
        manual_spawn_def(m, 0, &one_of_many, NULL, NULL);
    m->clock_step_ns = TR__TURN_NS;
    while (!m->node->loops[0]->queue) /* there the oldest are last */
        assert_true(manual_turn(m, 0));
    manual_close(m);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whoever_is_runnable_runs_within_a_bounded_stretch),
        cmocka_unit_test(who_is_woken_last_runs_first),
        cmocka_unit_test(one_that_feeds_itself_does_not_keep_the_loop),
        cmocka_unit_test(a_turn_ends_by_time),
        cmocka_unit_test(a_coming_actor_keeps_its_messages),
        cmocka_unit_test(a_coming_actor_can_be_killed),
        cmocka_unit_test(a_kill_may_come_before_the_spawn),
        cmocka_unit_test(init_that_fails_is_heard_and_stop_is_not_called),
        cmocka_unit_test(one_killed_in_init_never_runs),
        cmocka_unit_test(exit_reasons_are_told),
        cmocka_unit_test(a_stop_may_kill_who_is_in_its_handler),
        cmocka_unit_test(a_chain_of_kills_takes_no_stack),
        cmocka_unit_test(one_that_asked_itself_can_end),
        cmocka_unit_test(stop_may_call_everything),
        cmocka_unit_test(slots_go_home_and_are_used_again),
        cmocka_unit_test(no_actor_is_started_while_the_node_ends),
        cmocka_unit_test(the_node_ends_with_everything_under_way),
        cmocka_unit_test(a_node_with_many_runnable_actors_ends_soon),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
