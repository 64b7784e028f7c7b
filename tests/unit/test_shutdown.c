/* The end of a node in phases, in a stepped time: who is asked when, what is waited for, and for how long. */
#include <stdio.h>
#include <string.h>

#include "actors/supervision/shutdown.h"
#include "base/mem.h"
#include "tests/kit/manual.h"

/* ---- fixture: actors that note their end in one trail -------------------------------------------------- */

TR_MESSAGE(spawn_it, (u64, def), (u64, arg), (string, name))

static manual *m;
static char trail[1024];
static manual_puppet boss; /* no name, no supervisor */
static tr_addr address;

static tr_err named_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    *(const char **)state = arg;
    return TR_OK;
}

static void named_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, mark)) { /* work that was there before */
        strcat(trail, "work ");
        tr_trap_stop(self, tr_match(msg, mark)->n == 99);
    }
}

static void named_stop(tr_actor *self, void *state)
{
    (void)self;
    strcat(trail, *(const char **)state);
    strcat(trail, " ");
}
TR_ACTOR(named_def, .state_size = sizeof(char *), .init = named_init, .receive = named_receive,
         .stop = named_stop);

static int set_up(void **state)
{
    (void)state;
    m = manual_open_tx(2, "alice", NULL);
    trail[0] = '\0';
    memset(&boss, 0, sizeof(boss));
    manual_spawn(m, 0, &boss, NULL);
    manual_pump(m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manual_close(m);
    return 0;
}

static tr_addr start(uint32_t loop, const char *says, const char *name)
{
    tr_addr a = manual_spawn_def(m, loop, &named_def, says, &(tr_spawn_opts){.name = name});
    manual_pump(m);
    return a;
}

static void supervise(tr_actor *self, void *context)
{
    static tr_child_spec children[2];
    children[0] = (tr_child_spec){.id = "first", .def = &named_def, .arg = context, .named = true};
    children[1] = (tr_child_spec){.id = "second", .def = &named_def, .arg = "second"};
    address = tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 2});
}

static bool is_over(void)
{
    return tr__is_over(m->node);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_has_no_name_goes_first_then_the_last_started_first(void **state)
{
    (void)state;
    start(0, "a", "a");
    start(1, "b", "b");
    manual_do(m, boss.address, supervise, "sup1");
    start(1, "c", "c");
    start(1, "loose", NULL);
    tr_node_stop(m->node);
    manual_pump(m);
    assert_string_equal(trail, "loose c second sup1 b a ");
    assert_true(is_over());
    assert_string_equal(boss.trail, "init stop ");
}

static void a_root_waits_for_the_one_before_it(void **state)
{
    (void)state;
    start(0, "a", "a");
    tr_addr b = start(1, "b", "b");
    manual_mark(m, b, 99);
    manual_pump(m);
    trail[0] = '\0';
    tr_node_stop(m->node);
    manual_step(m, TR_MILLIS(4900));
    assert_string_equal(trail, "");
    manual_step(m, TR_MILLIS(200)); /* it is killed, and then the next is asked */
    assert_string_equal(trail, "b a ");
    assert_true(is_over());
}

static void what_was_sent_before_is_handled_before_the_end(void **state)
{
    (void)state;
    tr_addr a = start(1, "a", NULL);
    manual_mark(m, a, 1);
    manual_mark(m, a, 2);
    tr_node_stop(m->node);
    manual_pump(m);
    assert_string_equal(trail, "work work a ");
}

static void the_time_for_all_of_it_is_bounded(void **state)
{
    (void)state;
    m->node->opts.stop_timeout_ns = TR_SECONDS(2);
    tr_addr a = start(1, "a", NULL);
    manual_mark(m, a, 99);
    manual_pump(m);
    tr_node_stop(m->node);
    manual_step(m, TR_MILLIS(1900));
    assert_false(is_over());
    manual_step(m, TR_MILLIS(200));
    assert_true(is_over());
    manual_stop(m);
    assert_string_equal(trail, "work a ");
    assert_non_null(strstr(m->last_log, "didn't stop in time"));
}

static void a_second_call_for_at_once_ends_the_waiting(void **state)
{
    (void)state;
    tr_addr a = start(1, "a", "a");
    manual_mark(m, a, 99);
    manual_pump(m);
    tr_node_stop(m->node);
    manual_pump(m);
    assert_false(is_over());
    tr_node_stop(m->node); /* the same again changes nothing */
    manual_pump(m);
    assert_false(is_over());
    tr_node_stop_now(m->node);
    manual_pump(m);
    assert_true(is_over());
}

static void answers(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, mark))
        tr_reply(self, msg, mark, .n = 7);
}
TR_ACTOR(answering_def, .receive = answers);

static void ask_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    if (strcmp(tr_msg_type_name(msg), "tr_shutdown") == 0)
        manual_then(self, tr_ask(self, address, TR_SECONDS(1), mark));
    else
        manual_note(puppet, "?");
}

static void trap(tr_actor *self, void *context)
{
    (void)context;
    tr_trap_stop(self, true);
}

static void leave(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

static void who_ends_can_still_ask_those_that_end_later(void **state)
{
    (void)state;
    address = manual_spawn_def(m, 1, &answering_def, NULL, &(tr_spawn_opts){.name = "answers"});
    boss.on = ask_it;
    manual_do(m, boss.address, trap, NULL);
    tr_node_stop(m->node);
    manual_pump(m);
    assert_string_equal(boss.trail, "init tr_shutdown reply:7 ");
    manual_do(m, boss.address, leave, NULL);
    manual_step(m, TR_MILLIS(2));
    assert_true(is_over());
}

static void one_that_comes_while_the_node_stops_ends_as_well(void **state)
{
    (void)state;
    manual_do(m, boss.address, trap, NULL);
    tr_node_stop(m->node);
    manual_pump(m);
    start(1, "late", NULL);
    manual_do(m, boss.address, leave, NULL);
    manual_step(m, TR_MILLIS(2));
    assert_string_equal(trail, "late ");
    assert_true(is_over());
}

static void posts_are_refused_from_the_beginning(void **state)
{
    (void)state;
    manual_do(m, boss.address, trap, NULL);
    tr_node_stop(m->node);
    assert_int_equal(tr_post(m->node, boss.address, mark, .n = 1), TR_ECLOSED);
}

static tr_err stubborn(tr_actor *self, void *arg)
{
    (void)arg;
    while (tr_sleep(self, TR_SECONDS(1)) != TR_ENOMEM)
        ;
    return TR_OK;
}
TR_ACTOR(stubborn_def, .run = stubborn);

static void a_fiber_that_does_not_return_has_its_grace(void **state)
{
    (void)state;
    tr_addr a = manual_spawn_def(m, 1, &stubborn_def, NULL, NULL);
    manual_pump(m);
    tr_node_stop(m->node);
    uint64_t begun = m->now_ns;
    m->clock_step_ns = 1000; /* or its turn would never be over */
    for (int i = 0; i < 100000 && !is_over(); i++) {
        manual_turn(m, 0);
        manual_turn(m, 1);
        m->now_ns += TR_MILLIS(1);
    }
    assert_true(is_over());
    assert_null(manual_actor(m, a));
    assert_true(m->now_ns - begun < TR_MILLIS(1100));
}

static void whatever_allocation_fails_it_comes_to_its_end(void **state)
{
    for (uint64_t nth = 1; nth <= 30; nth++) {
        start(0, "a", "a");
        tr_addr loose = start(1, "loose", NULL);
        manual_mark(m, loose, 1);
        manual_do(m, boss.address, supervise, "sup");
        tr_node_stop(m->node);
        manual_dry_pool(m, 0);
        manual_dry_pool(m, 1);
        tr__alloc_fail_at(nth);
        manual_step(m, TR_MILLIS(10));
        tr__alloc_fail_at(0);
        manual_step(m, TR_MILLIS(10));
        assert_true(is_over());
        assert_non_null(strstr(trail, "second"));
        assert_non_null(strstr(trail, "loose"));
        assert_non_null(strstr(trail, "a "));
        tear_down(state);
        set_up(state);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_has_no_name_goes_first_then_the_last_started_first),
        TEST(a_root_waits_for_the_one_before_it),
        TEST(what_was_sent_before_is_handled_before_the_end),
        TEST(the_time_for_all_of_it_is_bounded),
        TEST(a_second_call_for_at_once_ends_the_waiting),
        TEST(who_ends_can_still_ask_those_that_end_later),
        TEST(one_that_comes_while_the_node_stops_ends_as_well),
        TEST(posts_are_refused_from_the_beginning),
        TEST(a_fiber_that_does_not_return_has_its_grace),
        TEST(whatever_allocation_fails_it_comes_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
