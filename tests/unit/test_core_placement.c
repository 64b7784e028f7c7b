/* Where actors live: by order, by load, on threads of their own. One thread; a test says how busy loops are. */
#include <string.h>

#include "actors/placement.h"
#include "base/mem.h"
#include "tests/kit/manual.h"

static uint32_t loop_of(manual *m, tr_addr address)
{
    assert_false(tr_addr_is_none(address));
    return tr__owner(manual_actor(m, address))->index;
}

static tr_addr spawn(manual *m, manual_puppet *p, tr_place place)
{
    return manual_spawn(m, 0, p, &(tr_spawn_opts){.place = place});
}

typedef struct try_spawn {
    manual_puppet *p;
    tr_spawn_opts opts;
    tr_addr got;
    tr_error error;
} try_spawn;

static void spawn_from(tr_actor *self, void *context)
{
    try_spawn *t = context;
    t->got = tr_spawn_with(self, &manual_puppet_def, t->p, &t->opts);
    t->error = *tr_last_error(self);
}

static void end_it(tr_actor *self, void *context)
{
    (void)context;
    tr_exit(self, TR_OK, "done");
}

static void send_to(tr_actor *self, void *context)
{
    assert_int_equal(TR_OK, tr_send(self, *(tr_addr *)context, mark, .n = 5));
}

/* ---- own threads --------------------------------------------------------------------------------------- */

static void an_own_thread_is_for_one_actor_and_then_for_the_next(void **state)
{
    manual *m = manual_open(2);
    manual_puppet a = {0}, b = {0}, c = {0}, d = {0};
    (void)state;
    spawn(m, &a, TR_PLACE_OWN_THREAD);
    spawn(m, &b, TR_PLACE_OWN_THREAD);
    spawn(m, &d, TR_PLACE_HERE);
    manual_pump(m);
    assert_int_equal(2, loop_of(m, a.address));
    assert_int_equal(3, loop_of(m, b.address));
    manual_do(m, d.address, send_to, &a.address);
    manual_do(m, a.address, send_to, &b.address);
    assert_string_equal("init 5 ", a.trail);
    assert_string_equal("init 5 ", b.trail);
    manual_do(m, a.address, end_it, NULL);
    spawn(m, &c, TR_PLACE_OWN_THREAD);
    manual_pump(m);
    assert_int_equal(2, loop_of(m, c.address));
    assert_int_equal(4, tr__loops_all(m->node));
    manual_check(m);
    manual_close(m);
}

static void a_definition_may_ask_for_it(void **state)
{
    manual *m = manual_open(1);
    manual_puppet p = {0};
    tr_actor_def def = manual_puppet_def;
    (void)state;
    def.own_thread = true;
    tr_addr address = manual_spawn_def(m, 0, &def, &p, &(tr_spawn_opts){.place = TR_PLACE_SPREAD});
    manual_pump(m);
    assert_int_equal(1, loop_of(m, address));
    manual_close(m);
}

static void what_it_spawns_lives_on_the_loops_and_not_with_it(void **state)
{
    manual *m = manual_open(2);
    manual_puppet own = {0}, children[4];
    try_spawn t = {.p = &children[0]};
    (void)state;
    memset(children, 0, sizeof(children));
    spawn(m, &own, TR_PLACE_OWN_THREAD);
    manual_pump(m);
    for (int i = 0; i < 3; i++) {
        t.p = &children[i];
        manual_do(m, own.address, spawn_from, &t);
        assert_in_range(loop_of(m, t.got), 0, 1);
    }
    t.opts.place = TR_PLACE_HERE;
    manual_do(m, own.address, spawn_from, &t);
    assert_true(tr_addr_is_none(t.got));
    assert_int_equal(TR_EINVAL, t.error.code);
    assert_non_null(strstr(t.error.text, "this thread is its spawner's own"));
    manual_close(m);
}

static void more_threads_than_a_node_has_are_refused_by_name(void **state)
{
    manual *m = manual_open(2);
    static manual_puppet p[TR__LOOPS_MAX];
    manual_puppet spawner = {0};
    try_spawn t = {.opts.place = TR_PLACE_OWN_THREAD};
    (void)state;
    memset(p, 0, sizeof(p));
    manual_spawn(m, 0, &spawner, NULL);
    manual_pump(m);
    for (int i = 0; i < TR__LOOPS_MAX - 2; i++) {
        t.p = &p[i];
        manual_do(m, spawner.address, spawn_from, &t);
        assert_int_equal(2 + i, loop_of(m, t.got));
    }
    tr_addr last = t.got;
    manual_do(m, spawner.address, spawn_from, &t);
    assert_true(tr_addr_is_none(t.got));
    assert_int_equal(TR_EFULL, t.error.code);
    assert_string_equal("no thread of its own for puppet: a node has at most 64, its 2 loops among them",
                        t.error.text);
    manual_do(m, last, end_it, NULL);
    manual_do(m, spawner.address, spawn_from, &t);
    assert_int_equal(TR__LOOPS_MAX - 1, loop_of(m, t.got));
    manual_close(m);
}

static tr_err no_thread(void *context, unsigned index, tr_error *error)
{
    (void)context;
    (void)index;
    *error = (tr_error){TR_EAGAIN, "no thread"};
    return TR_EAGAIN;
}

static void a_spawn_that_fails_takes_no_thread(void **state)
{
    manual *m = manual_open(1);
    manual_puppet spawner = {0}, p = {0};
    try_spawn t = {.p = &p, .opts = {.place = TR_PLACE_OWN_THREAD, .name = "taken"}};
    (void)state;
    manual_spawn(m, 0, &spawner, &(tr_spawn_opts){.name = "taken"});
    manual_pump(m);
    for (int i = 0; i < 3; i++) {
        manual_do(m, spawner.address, spawn_from, &t);
        assert_int_equal(TR_EEXIST, t.error.code);
        assert_int_equal(2, tr__loops_all(m->node)); /* made once, and vacant */
    }
    t.opts.name = NULL;
    manual_do(m, spawner.address, spawn_from, &t);
    assert_int_equal(1, loop_of(m, t.got));
    m->node->seams.start_loop = no_thread;
    manual_do(m, spawner.address, spawn_from, &t);
    assert_int_equal(TR_EAGAIN, t.error.code);
    assert_int_equal(2, tr__loops_all(m->node));
    manual_close(m);
}

static void the_nth_allocation_fails_and_the_thread_is_vacant_again(void **state)
{
    (void)state;
    for (int n = 1;; n++) {
        manual *m = manual_open(1);
        manual_puppet spawner = {0}, p = {0};
        try_spawn t = {.p = &p, .opts.place = TR_PLACE_OWN_THREAD};
        manual_spawn(m, 0, &spawner, NULL);
        manual_pump(m);
        manual_tell(m, spawner.address, spawn_from, &t);
        tr__alloc_fail_at(n);
        manual_pump(m);
        bool failed = tr__alloc_fail_left() == 0;
        tr__alloc_fail_at(0);
        if (tr_addr_is_none(t.got))
            assert_int_equal(TR_ENOMEM, t.error.code);
        manual_do(m, spawner.address, spawn_from, &t);
        assert_in_range(loop_of(m, t.got), 1, 2);
        manual_close(m);
        if (!failed)
            break;
        assert_in_range(n, 1, 100);
    }
}

/* ---- by load ------------------------------------------------------------------------------------------- */

static void say_load(manual *m, uint32_t loop, uint32_t load)
{
    atomic_store(&m->node->loops[loop]->load, load);
}

static void the_least_loaded_has_it_and_those_that_are_near_have_it_in_turn(void **state)
{
    manual *m = manual_open(4);
    static manual_puppet p[40];
    uint32_t count[4] = {0};
    (void)state;
    memset(p, 0, sizeof(p));
    say_load(m, 0, 900);
    say_load(m, 1, 300);
    say_load(m, 2, 500);
    say_load(m, 3, 250);
    for (int i = 0; i < 40; i++)
        count[loop_of(m, spawn(m, &p[i], TR_PLACE_LEAST_LOADED))]++;
    assert_int_equal(0, count[0]);
    assert_int_equal(20, count[1]);
    assert_int_equal(0, count[2]);
    assert_int_equal(20, count[3]);
    atomic_store(&m->node->loops[0]->sleeping, true); /* what it said is long ago */
    assert_int_equal(0, loop_of(m, spawn(m, &(manual_puppet){0}, TR_PLACE_LEAST_LOADED)));
    atomic_store(&m->node->loops[0]->sleeping, false);
    manual_close(m);
}

static void an_overloaded_loop_gives_some_of_its_children_to_one_that_has_time(void **state)
{
    manual *m = manual_open(2);
    static manual_puppet p[80];
    uint32_t away = 0;
    (void)state;
    memset(p, 0, sizeof(p));
    assert_int_equal(0, loop_of(m, spawn(m, &p[0], TR_PLACE_DEFAULT)));
    say_load(m, 0, TR__LOAD_FULL);
    m->node->loops[0]->overloaded = true;
    for (int i = 1; i < 41; i++)
        away += loop_of(m, spawn(m, &p[i], TR_PLACE_DEFAULT));
    assert_int_equal(5, away);
    say_load(m, 1, 800); /* that one has no time either */
    for (int i = 41; i < 80; i++)
        assert_int_equal(0, loop_of(m, spawn(m, &p[i], TR_PLACE_DEFAULT)));
    manual_close(m);
}

static void works(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    manual *m = puppet->user;
    (void)msg;
    puppet->trail[0] = '\0';
    m->now_ns += TR_MICROS(50);
    tr_send(self, puppet->address, mark, .n = 1);
}

static void a_loop_says_how_busy_it_is(void **state)
{
    manual *m = manual_open(2);
    manual_puppet busy = {.on = works, .user = m}, idle = {0};
    (void)state;
    manual_spawn(m, 0, &busy, NULL);
    manual_spawn(m, 1, &idle, NULL);
    manual_mark(m, busy.address, 1);
    for (int i = 0; i < 2000; i++) {
        manual_turn(m, 0);
        manual_turn(m, 1);
    }
    assert_in_range(tr__load(m->node->loops[0]), TR__LOAD_FULL * 15 / 16, TR__LOAD_FULL);
    assert_in_range(tr__load(m->node->loops[1]), 0, TR__LOAD_FULL / 16);
    assert_true(m->node->loops[0]->overloaded);
    assert_false(m->node->loops[1]->overloaded);
    manual_close(m);
}

static int locked;
static uint32_t made_under_it;

static void note_lock(void *context, bool take)
{
    (void)context;
    locked += take ? 1 : -1;
    assert_in_range(locked, 0, 1);
}

static tr_err start_under_it(void *context, unsigned index, tr_error *error)
{
    (void)context, (void)index, (void)error;
    made_under_it += locked;
    return TR_OK;
}

static void a_thread_is_made_under_the_lock_that_sleeps(void **state)
{
    manual *m = manual_open(1);
    manual_puppet spawner = {0};
    static manual_puppet p[3];
    (void)state;
    m->node->seams.lock_threads = note_lock;
    m->node->seams.start_loop = start_under_it;
    manual_spawn(m, 0, &spawner, NULL);
    manual_pump(m);
    for (int i = 0; i < 3; i++) {
        try_spawn t = {.p = &p[i], .opts.place = TR_PLACE_OWN_THREAD};
        manual_do(m, spawner.address, spawn_from, &t);
        assert_int_equal(i + 1, loop_of(m, t.got));
    }
    assert_int_equal(3, made_under_it);
    assert_int_equal(0, locked);
    manual_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_own_thread_is_for_one_actor_and_then_for_the_next),
        cmocka_unit_test(a_definition_may_ask_for_it),
        cmocka_unit_test(what_it_spawns_lives_on_the_loops_and_not_with_it),
        cmocka_unit_test(more_threads_than_a_node_has_are_refused_by_name),
        cmocka_unit_test(a_spawn_that_fails_takes_no_thread),
        cmocka_unit_test(the_nth_allocation_fails_and_the_thread_is_vacant_again),
        cmocka_unit_test(the_least_loaded_has_it_and_those_that_are_near_have_it_in_turn),
        cmocka_unit_test(an_overloaded_loop_gives_some_of_its_children_to_one_that_has_time),
        cmocka_unit_test(a_loop_says_how_busy_it_is),
        cmocka_unit_test(a_thread_is_made_under_the_lock_that_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
