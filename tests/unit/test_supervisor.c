/* The supervisor: what is restarted, when it gives up, what its end stops. A real node; everything is waited
 * for by messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "base/mem.h"
#include "tests/kit/manual.h"

/* ---- fixture: a child that says that it is there, and ends as it is told ------------------------------- */

TR_MESSAGE(hello_from, (addr, child))
TR_MESSAGE(fail_now)
TR_MESSAGE(leave_now)

static tr_err child_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_send(self, tr_whereis(self, "watcher"), hello_from, .child = tr_self(self));
}

static void child_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, fail_now))
        tr_exit(self, TR_EAPP, "failed");
    else if (tr_match(msg, leave_now))
        tr_exit(self, TR_OK, "done");
}
TR_ACTOR(child_def, .init = child_init, .receive = child_receive);

#define EXPECT(self, condition)                                                                 \
    do {                                                                                        \
        if (!(condition))                                                                       \
            return tr_fail(self, TR_EAPP, "line %d: %s (last error: %s)", __LINE__, #condition, \
                           tr_last_error(self)->text);                                          \
    } while (0)

static tr_err next_hello(tr_actor *self, tr_addr *child)
{
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const hello_from *hello = msg ? tr_match(msg, hello_from) : NULL;
    EXPECT(self, hello);
    *child = hello->child;
    return TR_OK;
}

static void run(tr_err (*start)(tr_actor *self, void *arg))
{
    for (uint32_t loops = 1; loops <= 2; loops++) {
        tr_error error = {0};
        tr_node_opts opts = {.loops = loops, .start = start};
        tr_node *node = tr_node_create(&opts, &error);
        assert_non_null(node);
        tr_err err = tr_node_run(node, &error);
        tr_node_destroy(node);
        if (err != TR_OK)
            fail_msg("%u loops: %s", loops, error.text);
    }
}

static tr_addr supervise(tr_actor *self, tr_restart restart, uint32_t max_restarts)
{
    static tr_child_spec children[1];
    children[0] = (tr_child_spec){.id = "child", .def = &child_def, .restart = restart, .named = true};
    tr_register_name(self, "watcher");
    tr_trap_exit(self, true);
    return tr_supervise(
        self, &(tr_supervisor_spec){.children = children, .count = 1, .max_restarts = max_restarts});
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static tr_err permanent(tr_actor *self, void *arg)
{
    tr_addr first, second, third;
    (void)arg;
    supervise(self, TR_PERMANENT, 5);
    TR_TRY(next_hello(self, &first));
    EXPECT(self, tr_addr_equal(tr_whereis(self, "child"), first));
    TR_TRY(tr_send(self, first, fail_now));
    TR_TRY(next_hello(self, &second));
    EXPECT(self, !tr_addr_equal(first, second) && tr_addr_equal(tr_whereis(self, "child"), second));
    TR_TRY(tr_send(self, second, leave_now));
    return next_hello(self, &third);
}

static void a_permanent_child_always_comes_back_under_its_name(void **state)
{
    (void)state;
    run(permanent);
}

static tr_err transient(tr_actor *self, void *arg)
{
    tr_addr child;
    (void)arg;
    supervise(self, TR_TRANSIENT, 5);
    TR_TRY(next_hello(self, &child));
    TR_TRY(tr_send(self, child, fail_now));
    TR_TRY(next_hello(self, &child));
    tr_monitor(self, child);
    TR_TRY(tr_send(self, child, leave_now));
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    EXPECT(self, msg && tr_match(msg, tr_down));
    EXPECT(self, tr_receive(self, TR_MILLIS(50)) == NULL && tr_addr_is_none(tr_whereis(self, "child")));
    return TR_OK;
}

static void a_transient_child_comes_back_only_after_an_error(void **state)
{
    (void)state;
    run(transient);
}

static tr_err gives_up(tr_actor *self, void *arg)
{
    tr_addr child;
    (void)arg;
    tr_addr top = supervise(self, TR_PERMANENT, 3);
    for (int i = 0; i < 4; i++) {
        TR_TRY(next_hello(self, &child));
        TR_TRY(tr_send(self, child, fail_now));
    }
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const tr_exited *exited = msg ? tr_match(msg, tr_exited) : NULL;
    EXPECT(self, exited && tr_addr_equal(exited->actor, top) && exited->kind == TR_EXIT_ERROR);
    EXPECT(self, strstr(exited->text, "more than 3 times"));
    return TR_OK;
}

static void too_many_restarts_end_the_supervisor_and_its_parent_hears(void **state)
{
    (void)state;
    run(gives_up);
}

static tr_err end_stops_children(tr_actor *self, void *arg)
{
    tr_addr child;
    (void)arg;
    tr_addr top = supervise(self, TR_PERMANENT, 3);
    TR_TRY(next_hello(self, &child));
    tr_monitor(self, child);
    tr_stop(self, top, TR_EXIT_SHUTDOWN);
    bool exited = false, down = false;
    while (!exited || !down) {
        const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
        EXPECT(self, msg);
        exited |= tr_match(msg, tr_exited) != NULL;
        down |= tr_match(msg, tr_down) != NULL;
    }
    return TR_OK;
}

static void its_end_stops_its_children(void **state)
{
    (void)state;
    run(end_stops_children);
}

static tr_err supervises_and_leaves(tr_actor *self, void *arg)
{
    static const tr_child_spec children[] = {{.id = "child", .def = &child_def, .restart = TR_PERMANENT}};
    (void)arg;
    EXPECT(self,
           !tr_addr_is_none(tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 1})));
    return TR_OK;
}
TR_ACTOR(leaver, .run = supervises_and_leaves);

static tr_err parent_leaves(tr_actor *self, void *arg)
{
    tr_addr child;
    (void)arg;
    TR_TRY(tr_register_name(self, "watcher"));
    tr_spawn(self, &leaver, NULL);
    TR_TRY(next_hello(self, &child));
    tr_monitor(self, child);
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    EXPECT(self, down && (down->kind == TR_EXIT_SHUTDOWN || down->kind == TR_EXIT_NO_ACTOR));
    return TR_OK;
}

static void it_ends_with_its_parent_even_if_that_ends_normally(void **state)
{
    (void)state;
    run(parent_leaves);
}

/* Its loop then has no memory to note who monitors it. */
static bool watched;

static tr_err unwatched_init(tr_actor *self, void *state, const void *arg)
{
    TR_TRY(child_init(self, state, arg));
    if (!watched)
        tr__alloc_fail_at(1);
    watched = true;
    return TR_OK;
}
TR_ACTOR(unwatched_def, .init = unwatched_init, .receive = child_receive);

static tr_err unwatched(tr_actor *self, void *arg)
{
    static const tr_child_spec children[] = {{.id = "child", .def = &unwatched_def, .named = true}};
    tr_addr first, second;
    (void)arg;
    watched = false;
    tr_register_name(self, "watcher");
    tr_trap_exit(self, true);
    EXPECT(self,
           !tr_addr_is_none(tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 1})));
    TR_TRY(next_hello(self, &first));
    EXPECT(self, tr_addr_equal(tr_whereis(self, "child"), first));
    TR_TRY(tr_send(self, first, fail_now));
    TR_TRY(next_hello(self, &second));
    EXPECT(self, !tr_addr_equal(first, second));
    return TR_OK;
}

/* Found by the simulator: core-tree, seed 1443. */
static void a_child_that_could_not_be_watched_gets_no_second_one_beside_it(void **state)
{
    (void)state;
    run(unwatched);
}

/* ---- without memory ------------------------------------------------------------------------------------ */

static int stopped;

static void count_stop(tr_actor *self, void *state)
{
    (void)self, (void)state;
    stopped++;
}
TR_ACTOR(counted_def, .receive = child_receive, .stop = count_stop);

static void supervise_three(tr_actor *self, void *context)
{
    static const tr_child_spec children[] = {
        {.id = "a", .def = &counted_def}, {.id = "b", .def = &counted_def}, {.id = "c", .def = &counted_def}};
    tr_addr *supervisor = context;
    *supervisor = tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 3});
    tr_trap_exit(self, true);
}

static void end_it(tr_actor *self, void *context)
{
    assert_int_equal(tr_stop(self, *(tr_addr *)context, TR_EXIT_SHUTDOWN), TR_OK);
}

static void its_end_stops_every_child_whatever_allocation_fails(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 4; nth++) {
        manual *m = manual_open(1);
        manual_puppet parent = {0};
        tr_addr supervisor;
        manual_spawn(m, 0, &parent, NULL);
        manual_do(m, parent.address, supervise_three, &supervisor);
        manual_tell(m, parent.address, end_it, &supervisor);
        while (!manual_actor(m, supervisor)->count)
            tr__run_one(m->node->loops[0]);
        stopped = 0;
        manual_dry_pool(m, 0);
        tr__alloc_fail_at(nth);
        manual_pump(m);
        tr__alloc_fail_at(0);
        assert_int_equal(stopped, 3);
        manual_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_permanent_child_always_comes_back_under_its_name),
        cmocka_unit_test(a_child_that_could_not_be_watched_gets_no_second_one_beside_it),
        cmocka_unit_test(its_end_stops_every_child_whatever_allocation_fails),
        cmocka_unit_test(a_transient_child_comes_back_only_after_an_error),
        cmocka_unit_test(too_many_restarts_end_the_supervisor_and_its_parent_hears),
        cmocka_unit_test(its_end_stops_its_children),
        cmocka_unit_test(it_ends_with_its_parent_even_if_that_ends_normally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
