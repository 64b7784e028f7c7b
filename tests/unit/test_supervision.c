/* Supervisors in a stepped time: order of start and stop, strategies, back-off, intensity, time-outs, children that come and
 * go, supervisors of supervisors, and all of it without memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/kit/manual.h"

/* ---- fixture: children that note their start and end in one trail -------------------------------------- */

TR_MESSAGE(leave, (u32, code)) /* end with that */
TR_MESSAGE(linger)             /* from now on don't end when asked to */

typedef struct kid {
    const char *name;
    tr_err refuse;   /* what init returns */
    uint32_t starts; /* how often it was started */
    uint64_t started_at;
    tr_addr address;
} kid;

static manual *m;
static char trail[2048];
static kid a, b, c, d;
static manual_puppet boss;
static tr_addr top;

static void note(const char *name, const char *what)
{
    strncat(trail, name, sizeof(trail) - strlen(trail) - 1);
    strncat(trail, what, sizeof(trail) - strlen(trail) - 1);
}

static tr_err kid_init(tr_actor *self, void *state, const void *arg)
{
    kid *k = (kid *)arg;
    *(kid **)state = k;
    k->starts++;
    k->started_at = m->now_ns;
    k->address = tr_self(self);
    if (k->refuse)
        return tr_fail(self, k->refuse, "%s refuses", k->name);
    note(k->name, "+ ");
    return TR_OK;
}

static void kid_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const leave *l = tr_match(msg, leave);
    (void)state;
    if (l)
        tr_exit(self, (tr_err)l->code, "told to leave");
    else if (tr_match(msg, linger))
        tr_trap_stop(self, true);
}

static void kid_stop(tr_actor *self, void *state)
{
    (void)self;
    note((*(kid **)state)->name, "- ");
}
TR_ACTOR(kid_def, .state_size = sizeof(kid *), .init = kid_init, .receive = kid_receive, .stop = kid_stop);

static int set_up(void **state)
{
    (void)state;
    m = manual_open(2);
    memset(&boss, 0, sizeof(boss));
    a = (kid){.name = "a"}, b = (kid){.name = "b"}, c = (kid){.name = "c"}, d = (kid){.name = "d"};
    trail[0] = '\0';
    manual_spawn(m, 0, &boss, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    manual_close(m);
    return 0;
}

static tr_child_spec three[3];

static void begin(tr_actor *self, void *context)
{
    tr_trap_exit(self, true);
    top = tr_supervise(self, context);
    assert_false(tr_addr_is_none(top));
}

static void supervise(tr_strategy strategy, tr_supervisor_spec spec)
{
    three[0] = (tr_child_spec){.id = "a", .def = &kid_def, .arg = &a};
    three[1] = (tr_child_spec){.id = "b", .def = &kid_def, .arg = &b};
    three[2] = (tr_child_spec){.id = "c", .def = &kid_def, .arg = &c};
    spec.strategy = strategy;
    spec.children = three;
    spec.count = 3;
    manual_do(m, boss.address, begin, &spec);
}

static void tell_leave(tr_actor *self, void *context)
{
    tr_send(self, ((kid *)context)->address, leave, .code = TR_EAPP);
}

static void fails(kid *k)
{
    trail[0] = '\0';
    manual_do(m, boss.address, tell_leave, k);
}

static void tell_linger(tr_actor *self, void *context)
{
    tr_send(self, ((kid *)context)->address, linger);
}

static void stop_top(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_stop(self, top, TR_EXIT_SHUTDOWN), TR_OK);
}

/* ---- order --------------------------------------------------------------------------------------------- */

static void children_start_in_order_and_stop_in_reverse(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    assert_string_equal(trail, "a+ b+ c+ ");
    manual_do(m, boss.address, stop_top, NULL);
    assert_string_equal(trail, "a+ b+ c+ c- b- a- ");
    assert_string_equal(boss.trail, "init exited:shutdown ");
}

static void a_child_that_can_not_start_stops_those_before_it_and_fails_the_supervisor(void **state)
{
    (void)state;
    c.refuse = TR_EIO;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    assert_string_equal(trail, "a+ b+ b- a- ");
    assert_string_equal(boss.trail, "init exited:error ");
    assert_int_equal(c.starts, 1);
}

static void who_does_not_end_in_time_is_killed_and_then_the_next_is_stopped(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    manual_do(m, boss.address, tell_linger, &b);
    trail[0] = '\0';
    manual_do(m, boss.address, stop_top, NULL);
    assert_string_equal(trail, "c- ");
    manual_step(m, TR_MILLIS(4990));
    assert_string_equal(trail, "c- ");
    manual_step(m, TR_MILLIS(20));
    assert_string_equal(trail, "c- b- a- ");
}

static void ask_ready(tr_actor *self, void *context)
{
    (void)context;
    manual_then(self, tr_supervisor_ready(self, top));
}

static void begin_in_passing(tr_actor *self, void *context)
{
    char id[] = "passing";
    tr_child_spec spec = {.id = id, .def = &kid_def, .arg = context};
    top = tr_supervise(self, &(tr_supervisor_spec){.children = &spec, .count = 1, .tell = true});
    memset(id, '?', sizeof(id) - 1);
}

static void note_id(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    const tr_child_up *up = tr_match(msg, tr_child_up);
    (void)self;
    if (up)
        manual_note(puppet, "%s", up->id);
}

/* Found by the simulator: the pool's were gone before its supervisor began. */
static void ids_need_not_live_beyond_the_call(void **state)
{
    (void)state;
    boss.on = note_id;
    manual_do(m, boss.address, begin_in_passing, &a);
    assert_string_equal(boss.trail, "init tr_child_up passing ");
}

static void that_all_are_up_can_be_waited_for(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    manual_do(m, boss.address, ask_ready, NULL);
    assert_string_equal(boss.trail, "init reply:tr__supervisor_up ");
}

static void waiting_for_one_whose_start_fails_fails(void **state)
{
    (void)state;
    b.refuse = TR_EIO;
    three[0] = (tr_child_spec){.id = "b", .def = &kid_def, .arg = &b};
    manual_tell(m, boss.address, begin, &(tr_supervisor_spec){.children = three, .count = 1});
    manual_tell(m, boss.address, ask_ready, NULL);
    manual_pump(m);
    assert_non_null(strstr(boss.trail, "error:no-actor"));
}

/* ---- strategies ---------------------------------------------------------------------------------------- */

static void one_for_one_restarts_that_one(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    fails(&b);
    assert_string_equal(trail, "b- b+ ");
}

static void one_for_all_stops_the_others_in_reverse_and_starts_all_in_order(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ALL, (tr_supervisor_spec){0});
    fails(&b);
    assert_string_equal(trail, "b- c- a- a+ b+ c+ ");
}

static void rest_for_one_restarts_those_behind_it_as_well(void **state)
{
    (void)state;
    supervise(TR_REST_FOR_ONE, (tr_supervisor_spec){0});
    fails(&b);
    assert_string_equal(trail, "b- c- b+ c+ ");
    fails(&c);
    assert_string_equal(trail, "c- c+ ");
}

static void a_temporary_child_does_not_come_back_with_its_group(void **state)
{
    (void)state;
    tr_child_spec specs[2] = {{.id = "a", .def = &kid_def, .arg = &a, .restart = TR_TEMPORARY},
                              {.id = "b", .def = &kid_def, .arg = &b}};
    manual_do(m, boss.address, begin,
              &(tr_supervisor_spec){.children = specs, .count = 2, .strategy = TR_ONE_FOR_ALL});
    fails(&b);
    assert_string_equal(trail, "b- a- b+ ");
}

static void the_group_waits_for_the_back_off_of_who_failed(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ALL, (tr_supervisor_spec){.backoff_min_ns = TR_MILLIS(100)});
    fails(&c);
    fails(&c);
    assert_string_equal(trail, "c- b- a- ");
    manual_step(m, TR_MILLIS(49));
    assert_string_equal(trail, "c- b- a- ");
    manual_step(m, TR_MILLIS(52));
    assert_string_equal(trail, "c- b- a- a+ b+ c+ ");
}

/* ---- back-off and intensity ---------------------------------------------------------------------------- */

static void the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){.max_restarts = 100,
                                                   .within_ns = TR_SECONDS(60),
                                                   .backoff_min_ns = TR_MILLIS(100),
                                                   .backoff_max_ns = TR_MILLIS(400)});
    static const uint64_t most_ms[] = {0, 100, 200, 400, 400, 400};
    bool jitter = false;
    for (size_t i = 0; i < TR_COUNT(most_ms); i++) {
        uint64_t before = m->now_ns;
        fails(&b);
        manual_step(m, TR_MILLIS(450));
        assert_int_equal(b.starts, i + 2);
        uint64_t waited = b.started_at - before, most = TR_MILLIS(most_ms[i]);
        assert_true(waited >= most / 2 && waited <= most + TR_MILLIS(1));
        jitter |= waited + TR_MILLIS(5) < most;
    }
    assert_true(jitter);
}

static void one_that_ran_for_long_comes_back_at_once(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE,
              (tr_supervisor_spec){.within_ns = TR_SECONDS(1), .backoff_min_ns = TR_SECONDS(1)});
    fails(&b);
    manual_step(m, TR_SECONDS(2));
    fails(&b);
    assert_string_equal(trail, "b- b+ ");
}

static void more_restarts_than_allowed_stop_the_others_in_reverse_and_end_it(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){.max_restarts = 2});
    fails(&b);
    fails(&b);
    manual_step(m, TR_MILLIS(20));
    fails(&b);
    assert_string_equal(trail, "b- c- a- ");
    assert_string_equal(boss.trail, "init exited:error ");
}

static void a_restart_that_fails_counts_as_an_end_and_is_tried_again(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){.max_restarts = 5});
    b.refuse = TR_EIO;
    fails(&b);
    assert_int_equal(b.starts, 2);
    b.refuse = TR_OK;
    manual_step(m, TR_MILLIS(20));
    assert_int_equal(b.starts, 3);
    assert_string_equal(trail, "b- b+ ");
}

/* ---- children that come and go ------------------------------------------------------------------------- */

static void add_d(tr_actor *self, void *context)
{
    (void)context;
    tr_child_spec spec = {.id = "d", .def = &kid_def, .arg = &d};
    manual_then(self, tr_supervisor_start_child(self, top, &spec));
}

static void remove_d(tr_actor *self, void *context)
{
    (void)context;
    manual_then(self, tr_supervisor_stop_child(self, top, "d"));
}

static void look_at(tr_actor *self, void *context)
{
    manual_then(self, tr_supervisor_child(self, top, (uint32_t)(uintptr_t)context));
}

static void a_child_is_added_and_supervised_and_stopped(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    manual_do(m, boss.address, add_d, NULL);
    assert_string_equal(boss.trail, "init reply:tr_child_started ");
    manual_do(m, boss.address, add_d, NULL);
    manual_do(m, boss.address, look_at, (void *)3);
    manual_do(m, boss.address, look_at, (void *)4);
    assert_string_equal(boss.trail,
                        "init reply:tr_child_started error:exists reply:tr_child_is error:not-found ");
    fails(&d);
    assert_string_equal(trail, "d- d+ ");
    manual_do(m, boss.address, remove_d, NULL);
    assert_string_equal(trail, "d- d+ d- ");
    manual_do(m, boss.address, remove_d, NULL);
    assert_non_null(strstr(boss.trail, "reply:tr_child_stopped error:not-found "));
    manual_do(m, boss.address, look_at, (void *)3);
    assert_non_null(strstr(boss.trail, "error:not-found error:not-found "));
}

static void one_that_can_not_be_added_leaves_the_others_alone(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ALL, (tr_supervisor_spec){0});
    d.refuse = TR_EIO;
    manual_do(m, boss.address, add_d, NULL);
    assert_string_equal(boss.trail, "init error:io ");
    assert_string_equal(trail, "a+ b+ c+ ");
}

static void a_lingering_child_is_killed_before_its_stop_is_answered(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    manual_do(m, boss.address, add_d, NULL);
    manual_do(m, boss.address, tell_linger, &d);
    manual_do(m, boss.address, remove_d, NULL);
    manual_step(m, TR_MILLIS(4900));
    assert_string_equal(boss.trail, "init reply:tr_child_started ");
    manual_step(m, TR_MILLIS(200));
    assert_string_equal(boss.trail, "init reply:tr_child_started reply:tr_child_stopped ");
    assert_string_equal(trail, "a+ b+ c+ d+ d- ");
}

static void added_children_are_stopped_first(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    manual_do(m, boss.address, add_d, NULL);
    manual_do(m, boss.address, stop_top, NULL);
    assert_string_equal(trail, "a+ b+ c+ d+ d- c- b- a- ");
}

static void who_made_it_hears_of_each_start_if_it_asked_for_that(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){.tell = true});
    fails(&b);
    assert_string_equal(boss.trail, "init tr_child_up tr_child_up tr_child_up tr_child_up ");
}

/* ---- supervisors of supervisors ------------------------------------------------------------------------ */

static tr_child_spec inner_children[2];
static tr_supervisor_spec inner;

static void nest(void)
{
    inner_children[0] = (tr_child_spec){.id = "b", .def = &kid_def, .arg = &b};
    inner_children[1] = (tr_child_spec){.id = "c", .def = &kid_def, .arg = &c};
    inner = (tr_supervisor_spec){.children = inner_children, .count = 2, .max_restarts = 1};
    tr_child_spec outer[3] = {{.id = "a", .def = &kid_def, .arg = &a},
                              {.id = "inner", .supervisor = &inner},
                              {.id = "d", .def = &kid_def, .arg = &d}};
    manual_do(m, boss.address, begin,
              &(tr_supervisor_spec){.children = outer, .count = 3, .strategy = TR_REST_FOR_ONE});
}

static void a_tree_starts_and_stops_in_order(void **state)
{
    (void)state;
    nest();
    assert_string_equal(trail, "a+ b+ c+ d+ ");
    manual_do(m, boss.address, stop_top, NULL);
    assert_string_equal(trail, "a+ b+ c+ d+ d- c- b- a- ");
}

static void the_failure_of_a_supervisor_goes_up(void **state)
{
    (void)state;
    nest();
    fails(&c);
    assert_string_equal(trail, "c- c+ ");
    fails(&c);
    assert_string_equal(trail, "c- b- d- b+ c+ d+ ");
    assert_string_equal(boss.trail, "init ");
}

static void kill_top(tr_actor *self, void *context)
{
    (void)context;
    assert_int_equal(tr_stop(self, top, TR_EXIT_KILLED), TR_OK);
}

static void nobody_is_left_of_a_tree_whose_supervisor_is_killed(void **state)
{
    (void)state;
    nest();
    manual_do(m, boss.address, tell_linger, &b);
    manual_do(m, boss.address, kill_top, NULL);
    assert_null(manual_actor(m, a.address));
    assert_null(manual_actor(m, b.address));
    assert_null(manual_actor(m, c.address));
    assert_null(manual_actor(m, d.address));
}

/* ---- asked to stop, and trapping it -------------------------------------------------------------------- */

static void who_traps_its_stop_ends_when_it_wants(void **state)
{
    (void)state;
    supervise(TR_ONE_FOR_ONE, (tr_supervisor_spec){0});
    manual_do(m, boss.address, tell_linger, &c);
    trail[0] = '\0';
    manual_do(m, boss.address, stop_top, NULL);
    assert_string_equal(trail, "");
    fails(&c);
    assert_string_equal(trail, "c- b- a- ");
}

/* ---- without memory ------------------------------------------------------------------------------------ */

static void whatever_allocation_fails_no_child_runs_twice_or_is_left(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 60; nth++) {
        supervise(TR_REST_FOR_ONE, (tr_supervisor_spec){.max_restarts = 50, .tell = true});
        manual_tell(m, boss.address, tell_leave, &b);
        manual_dry_pool(m, 0);
        manual_dry_pool(m, 1);
        tr__alloc_fail_at(nth);
        manual_pump(m);
        manual_step(m, TR_SECONDS(3));
        tr__alloc_fail_at(0);
        manual_step(m, TR_SECONDS(3));
        manual_check(m);
        kid *all[] = {&a, &b, &c};
        for (int i = 0; i < 3; i++)
            assert_non_null(manual_actor(m, all[i]->address));
        manual_do(m, boss.address, stop_top, NULL);
        manual_step(m, TR_SECONDS(10));
        for (int i = 0; i < 3; i++)
            assert_null(manual_actor(m, all[i]->address));
        tear_down(state);
        set_up(state);
    }
}

static void whatever_allocation_fails_a_first_start_succeeds_or_leaves_nobody(void **state)
{
    (void)state;
    static const tr_child_spec specs[] = {{.id = "a", .def = &kid_def, .arg = &a},
                                          {.id = "b", .def = &kid_def, .arg = &b}};
    tr_supervisor_spec spec = {.children = specs, .count = 2};
    for (uint64_t nth = 1; nth <= 60; nth++) {
        manual_tell(m, boss.address, begin, &spec);
        do
            manual_turn(m, 0);
        while (m->node->loops[0]->fresh);
        manual_dry_pool(m, 0);
        manual_dry_pool(m, 1);
        tr__alloc_fail_at(nth);
        manual_pump(m);
        manual_step(m, TR_SECONDS(3));
        tr__alloc_fail_at(0);
        manual_step(m, TR_SECONDS(3));
        bool up = manual_actor(m, top) != NULL;
        assert_int_equal(up, manual_actor(m, a.address) != NULL && a.starts);
        assert_int_equal(up, manual_actor(m, b.address) != NULL && b.starts);
        tear_down(state);
        set_up(state);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(children_start_in_order_and_stop_in_reverse),
        TEST(a_child_that_can_not_start_stops_those_before_it_and_fails_the_supervisor),
        TEST(who_does_not_end_in_time_is_killed_and_then_the_next_is_stopped),
        TEST(ids_need_not_live_beyond_the_call),
        TEST(that_all_are_up_can_be_waited_for),
        TEST(waiting_for_one_whose_start_fails_fails),
        TEST(one_for_one_restarts_that_one),
        TEST(one_for_all_stops_the_others_in_reverse_and_starts_all_in_order),
        TEST(rest_for_one_restarts_those_behind_it_as_well),
        TEST(a_temporary_child_does_not_come_back_with_its_group),
        TEST(the_group_waits_for_the_back_off_of_who_failed),
        TEST(the_first_restart_is_at_once_and_the_next_ones_wait_twice_as_long_each),
        TEST(one_that_ran_for_long_comes_back_at_once),
        TEST(more_restarts_than_allowed_stop_the_others_in_reverse_and_end_it),
        TEST(a_restart_that_fails_counts_as_an_end_and_is_tried_again),
        TEST(a_child_is_added_and_supervised_and_stopped),
        TEST(one_that_can_not_be_added_leaves_the_others_alone),
        TEST(a_lingering_child_is_killed_before_its_stop_is_answered),
        TEST(added_children_are_stopped_first),
        TEST(who_made_it_hears_of_each_start_if_it_asked_for_that),
        TEST(a_tree_starts_and_stops_in_order),
        TEST(the_failure_of_a_supervisor_goes_up),
        TEST(nobody_is_left_of_a_tree_whose_supervisor_is_killed),
        TEST(who_traps_its_stop_ends_when_it_wants),
        TEST(whatever_allocation_fails_no_child_runs_twice_or_is_left),
        TEST(whatever_allocation_fails_a_first_start_succeeds_or_leaves_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
