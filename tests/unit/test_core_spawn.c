/* actors/spawn.c, names.c: spawning, with names, links and monitors; each also without memory. */
#include <stdio.h>
#include <string.h>

#include "tests/kit/manual_pair.h"

#include "base/mem.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static uint64_t number; /* of the last monitor */

static void watch(tr_actor *self, void *context)
{
    number = tr_monitor(self, *(tr_addr *)context);
    assert_true(number != 0);
}

static void trap(tr_actor *self, void *context)
{
    (void)context;
    tr_trap_exit(self, true);
}

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED), TR_OK);
}

/* ---- names --------------------------------------------------------------------------------------------- */

static void take_name(tr_actor *self, void *context)
{
    manual_note(manual_self(self), "%s", tr_err_word(tr_register_name(self, context)));
}

static void names_are_unique_and_end_with_their_actor(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    manual_do(p->m, p->a.address, take_name, "x");
    manual_do(p->m, p->b.address, take_name, "x");
    assert_true(tr_addr_equal(tr__name_get(p->m->node, "x"), p->a.address));
    manual_do(p->m, p->a.address, kill_it, &p->a.address);
    assert_true(tr_addr_is_none(tr__name_get(p->m->node, "x")));
    manual_do(p->m, p->b.address, take_name, "x");
    manual_do(p->m, p->b.address, take_name, "y");
    manual_do(p->m, p->b.address, take_name, "");
    manual_do(p->m, p->b.address, take_name, "a/b");
    manual_do(p->m, p->b.address, take_name,
              "0123456789012345678901234567890123456789012345678901234567890123");
    assert_string_equal(p->b.trail, "init exists ok ok invalid invalid invalid ");
    pair_close(p);
}

static void name_with_failing_allocations(tr_actor *self, void *context)
{
    for (uint64_t n = 1;; n++) {
        tr__alloc_fail_at(n);
        tr_err err = tr_register_name(self, context);
        tr__alloc_fail_at(0);
        if (err == TR_OK)
            return;
        assert_int_equal(err, TR_ENOMEM);
        assert_true(tr_addr_is_none(tr_whereis(self, context)));
    }
}

static void a_name_without_memory_is_refused(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, name_with_failing_allocations, "x");
    assert_true(tr_addr_equal(tr__name_get(p->m->node, "x"), p->a.address));
    pair_close(p);
}

/* ---- spawning with relations --------------------------------------------------------------------------- */

typedef struct spawns {
    manual_puppet child;
    tr_spawn_opts opts;
    tr_addr address;
    tr_future future;
    uint64_t monitor;
    uint64_t tries;
    const tr_actor_def *def;
    const void *arg;
} spawns;

static void spawn_it(tr_actor *self, void *context)
{
    spawns *s = context;
    s->address =
        tr_spawn_with(self, s->def ? s->def : &manual_puppet_def, s->arg ? s->arg : &s->child, &s->opts);
    if (tr_addr_is_none(s->address))
        manual_note(manual_self(self), "spawn:%s", tr_err_word(tr_last_error(self)->code));
}

static void a_taken_name_refuses_the_spawn(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 2; loops++) {
        pair *p = pair_open(loops);
        manual_do(p->m, p->b.address, take_name, "x");
        static spawns s;
        s = (spawns){.opts = {.name = "x", .place = TR_PLACE_LOOP, .loop = loops - 1}};
        manual_do(p->m, p->a.address, spawn_it, &s);
        assert_string_equal(p->a.trail, "init spawn:exists ");
        assert_string_equal(s.child.trail, "");
        s.opts.name = "z";
        manual_do(p->m, p->a.address, spawn_it, &s);
        assert_true(tr_addr_equal(tr__name_get(p->m->node, "z"), s.address));
        assert_string_equal(s.child.trail, "init ");
        manual_do(p->m, p->a.address, kill_it, &s.address);
        assert_true(tr_addr_is_none(tr__name_get(p->m->node, "z")));
        pair_close(p);
    }
}

static void neither_kind(tr_actor *self, void *context)
{
    static const tr_actor_def neither = {.name = "neither"};
    (void)context;
    assert_true(tr_addr_is_none(tr_spawn(self, &neither, NULL)));
    assert_int_equal(tr_last_error(self)->code, TR_EINVAL);
}

static void a_definition_needs_receive_or_run(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, neither_kind, NULL);
    pair_close(p);
}

static char heard_arg[64];

TR_MESSAGE(greeting, (string, text), (u64, n))

static tr_err arg_init(tr_actor *self, void *state, const void *arg)
{
    const greeting *g = arg;
    (void)self;
    (void)state;
    snprintf(heard_arg, sizeof(heard_arg), "%s %llu", g->text, (unsigned long long)g->n);
    return TR_OK;
}

static void ignore(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)state;
    (void)msg;
}

TR_ACTOR(with_arg, .init = arg_init, .receive = ignore, .arg_type = &greeting_type, .state_size = 100);

static void spawn_with_arg(tr_actor *self, void *context)
{
    spawns *s = context;
    char text[8] = "hello";
    s->address = tr_spawn_with(self, &with_arg, &(greeting){.text = text, .n = 4}, &s->opts);
    memset(text, 'x', sizeof(text) - 1); /* it was copied */
}

static void a_typed_argument_is_copied(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        pair *p = pair_open(2);
        spawns s = {.opts = {.place = TR_PLACE_LOOP, .loop = loop}};
        heard_arg[0] = '\0';
        manual_do(p->m, p->a.address, spawn_with_arg, &s);
        assert_string_equal(heard_arg, "hello 4");
        s.opts.name = "x";
        manual_do(p->m, p->a.address, spawn_with_arg, &s);
        heard_arg[0] = '\0';
        manual_do(p->m, p->a.address, spawn_with_arg, &s); /* refused: the name is taken; the copy is freed */
        assert_string_equal(heard_arg, "");
        pair_close(p);
    }
}

static void spawn_and_ask(tr_actor *self, void *context)
{
    spawns *s = context;
    s->future =
        tr_spawn_ask(self, s->def ? s->def : &manual_puppet_def, s->arg ? s->arg : &s->child, &s->opts);
    manual_then(self, s->future);
}

static tr_err no_fiber(tr_actor *self, void *arg)
{
    (void)arg;
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

TR_ACTOR(a_fiber, .run = no_fiber);

static void a_spawn_ask_settles_after_init(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        pair *p = pair_open(2);
        spawns good = {.opts = {.place = TR_PLACE_LOOP, .loop = loop}}, bad = good, fiber = good;
        bad.child.init_error = TR_EPERM;
        fiber.def = &a_fiber;
        manual_do(p->m, p->a.address, spawn_and_ask, &good);
        manual_do(p->m, p->a.address, spawn_and_ask, &bad);
        manual_do(p->m, p->a.address, spawn_and_ask, &fiber);
        assert_string_equal(p->a.trail, "init reply:tr_found error:permission reply:tr_found ");
        assert_int_equal(manual_actor(p->m, p->a.address)->asks, 0);
        pair_close(p);
    }
}

static void a_spawn_ask_fails_if_the_child_is_killed_first(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    spawns s = {.opts = {.name = "doomed"}};
    manual_tell(p->m, p->a.address, spawn_and_ask, &s);
    tr__loop *loop = p->m->node->loops[0];
    tr__run_one(loop); /* only a: the child has not begun */
    tr_addr child = tr__name_get(p->m->node, "doomed");
    assert_false(tr_addr_is_none(child));
    manual_do(p->m, p->b.address, kill_it, &child);
    assert_string_equal(p->a.trail, "init error:killed ");
    assert_string_equal(s.child.trail, "");
    pair_close(p);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static void spawn_with_failing_allocations(tr_actor *self, void *context)
{
    spawns *s = context;
    s->opts.monitor = &s->monitor;
    for (s->tries = 1;; s->tries++) {
        memset(&s->child, 0, sizeof(s->child));
        tr__alloc_fail_at(s->tries);
        s->address = tr_spawn_with(self, &manual_puppet_def, &s->child, &s->opts);
        tr__alloc_fail_at(0);
        if (!tr_addr_is_none(s->address))
            return;
        assert_int_equal(tr_last_error(self)->code, TR_ENOMEM);
        assert_int_equal(s->monitor, 0);
    }
}

/* With a name, a link and a monitor; on this loop and on another. The parent, which doesn't trap exits, lives
 * on, and hears of none that failed. */
static void a_spawn_without_memory_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        pair *p = pair_open(2);
        static spawns s;
        s = (spawns){.opts = {.place = TR_PLACE_LOOP, .loop = loop, .link = true}};
        manual_do(p->m, p->a.address, spawn_with_failing_allocations, &s);
        assert_true(s.tries > 1);
        assert_string_equal(p->a.trail, "init ");
        assert_string_equal(s.child.trail, "init ");
        manual_do(p->m, p->a.address, trap, NULL);
        manual_do(p->m, p->a.address, kill_it, &s.address);
        assert_string_equal(p->a.trail, "init exited:killed down:killed ");
        pair_close(p);
    }
}

static void named_spawn_with_failing_allocations(tr_actor *self, void *context)
{
    spawns *s = context;
    for (s->tries = 1;; s->tries++) {
        memset(&s->child, 0, sizeof(s->child));
        tr__alloc_fail_at(s->tries);
        tr_future future = tr_spawn_ask(self, &manual_puppet_def, &s->child, &s->opts);
        tr__alloc_fail_at(0);
        if (future.id) {
            manual_then(self, future);
            return;
        }
        assert_int_equal(tr_last_error(self)->code, TR_ENOMEM);
        static char name[16]; /* another one each time: a killed child has its name until it ends */
        snprintf(name, sizeof(name), "x%u", (unsigned)s->tries);
        s->opts.name = name;
    }
}

static void a_spawn_ask_without_memory_is_refused_and_leaves_nothing(void **state)
{
    (void)state;
    for (uint32_t loop = 0; loop < 2; loop++) {
        pair *p = pair_open(2);
        static spawns s;
        s = (spawns){.opts = {.place = TR_PLACE_LOOP, .loop = loop, .link = true, .name = "x"}};
        manual_do(p->m, p->a.address, named_spawn_with_failing_allocations, &s);
        assert_true(s.tries > 1);
        assert_string_equal(p->a.trail, "init reply:tr_found ");
        pair_close(p);
    }
}

static void fiber_start_with_failing_allocations(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 8; n++) {
        pair *p = pair_open(1);
        spawns s = {.def = &a_fiber};
        manual_tell(p->m, p->a.address, spawn_and_ask, &s);
        tr__loop *loop = p->m->node->loops[0];
        tr__run_one(loop);
        tr__alloc_fail_at(n);
        manual_pump(p->m);
        tr__alloc_fail_at(0);
        assert_true(!strcmp(p->a.trail, "init error:no-memory ") ||
                    !strcmp(p->a.trail, "init reply:tr_found "));
        assert_true(n > 1 || !strcmp(p->a.trail, "init error:no-memory "));
        pair_close(p);
    }
}

static void spawn_on_loop_2(tr_actor *self, void *context)
{
    tr_spawn_opts opts = {.place = TR_PLACE_LOOP, .loop = 2};
    assert_true(tr_addr_is_none(tr_spawn_with(self, &manual_puppet_def, context, &opts)));
    assert_int_equal(tr_last_error(self)->code, TR_EINVAL);
}

static void a_loop_that_is_not_there_is_refused(void **state)
{
    (void)state;
    pair *p = pair_open(2);
    manual_do(p->m, p->a.address, spawn_on_loop_2, &p->b);
    pair_close(p);
}

static int begun, ended;

static tr_err begin(tr_actor *self, void *state, const void *arg)
{
    (void)self, (void)state, (void)arg;
    begun++;
    return TR_OK;
}

static void end(tr_actor *self, void *state)
{
    (void)self, (void)state;
    ended++;
}

static tr_err nothing(tr_actor *self, void *arg)
{
    (void)self, (void)arg;
    return TR_OK;
}
TR_ACTOR(fiber_with_a_stop, .init = begin, .run = nothing, .stop = end);

static void a_fiber_without_a_stack_is_stopped_if_it_was_begun(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    begun = ended = 0;
    tr_addr fiber = manual_spawn_def(p->m, 0, &fiber_with_a_stop, NULL, NULL);
    manual_tell(p->m, p->a.address, watch, &fiber);
    tr__run_one(p->m->node->loops[0]); /* a watches; the fiber has not begun */
    tr__alloc_fail_at(1);
    tr__run_one(p->m->node->loops[0]);
    tr__alloc_fail_at(0);
    manual_pump(p->m);
    assert_true(begun == 1 && ended == 1);
    assert_string_equal(p->a.trail, "init down:out-of-memory ");
    pair_close(p);
}

/* A kill or an exit is one even when there is no memory to remember why. */
static void fail_without_memory(tr_actor *self, void *context)
{
    (void)context;
    for (int i = 0; i < 2; i++) {
        tr__alloc_fail_at(1);
        if (i == 0)
            tr_fail(self, TR_EAPP, "takes the first allocation, if it needs one");
        else
            tr_exit(self, TR_EAPP, "broken on purpose");
        tr__alloc_fail_at(0);
    }
}

static void an_exit_without_memory_keeps_its_kind(void **state)
{
    (void)state;
    pair *p = pair_open(1);
    manual_do(p->m, p->a.address, watch, &p->b.address);
    manual_do(p->m, p->b.address, fail_without_memory, NULL);
    assert_string_equal(p->a.trail, "init down:error ");
    pair_close(p);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique_and_end_with_their_actor),
        cmocka_unit_test(a_name_without_memory_is_refused),
        cmocka_unit_test(a_taken_name_refuses_the_spawn),
        cmocka_unit_test(a_definition_needs_receive_or_run),
        cmocka_unit_test(a_typed_argument_is_copied),
        cmocka_unit_test(a_spawn_ask_settles_after_init),
        cmocka_unit_test(a_spawn_ask_fails_if_the_child_is_killed_first),
        cmocka_unit_test(a_spawn_without_memory_is_refused_and_leaves_nothing),
        cmocka_unit_test(a_spawn_ask_without_memory_is_refused_and_leaves_nothing),
        cmocka_unit_test(fiber_start_with_failing_allocations),
        cmocka_unit_test(an_exit_without_memory_keeps_its_kind),
        cmocka_unit_test(a_loop_that_is_not_there_is_refused),
        cmocka_unit_test(a_fiber_without_a_stack_is_stopped_if_it_was_begun),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
