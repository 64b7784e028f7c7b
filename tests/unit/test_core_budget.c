/* The memory budget of an actor, and memory that is its own. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actors/memory.h"
#include "tests/kit/manual.h"

#define BUDGET ((size_t)4096)

static const tr_actor_def *budgeted(size_t max)
{
    static tr_actor_def def;
    def = manual_puppet_def;
    def.name = "frugal";
    def.memory_max = max;
    return &def;
}

typedef struct rig {
    manual *m;
    manual_puppet actor, watcher;
} rig;

static void watch_it(tr_actor *self, void *context)
{
    assert_int_not_equal(0, tr_monitor(self, *(tr_addr *)context));
}

static void open_rig(rig *r, size_t max)
{
    memset(r, 0, sizeof(*r));
    r->m = manual_open(1);
    r->actor.address = manual_spawn_def(r->m, 0, budgeted(max), &r->actor, NULL);
    manual_spawn(r->m, 0, &r->watcher, NULL);
    manual_pump(r->m);
    manual_do(r->m, r->watcher.address, watch_it, &r->actor.address);
}

static size_t taken(rig *r)
{
    return manual_actor(r->m, r->actor.address)->extras->taken;
}

static void assert_ended_by_its_budget(rig *r)
{
    assert_null(manual_actor(r->m, r->actor.address));
    assert_string_equal("init down:out-of-memory ", r->watcher.trail);
    manual_mark(r->m, r->watcher.address, 1);
    manual_pump(r->m);
    manual_close(r->m);
}

/* ---- its own memory ------------------------------------------------------------------------------------ */

static void allocate_and_free(tr_actor *self, void *context)
{
    char *a = tr_alloc(self, 100), *b = tr_alloc(self, 200), *c = tr_alloc(self, 0);
    (void)context;
    for (int i = 0; i < 100; i++)
        assert_int_equal(0, a[i]);
    assert_int_equal(0, (uintptr_t)b % 16);
    memset(a, 1, 100);
    memset(b, 1, 200);
    tr_free(self, b);
    tr_free(self, NULL);
    tr_free(self, c);
    b = tr_alloc(self, 50);
    memset(b, 1, 50); /* a and b are left to the actor's end */
}

static void what_an_actor_allocates_is_released_at_its_end(void **state)
{
    rig r;
    (void)state;
    open_rig(&r, 0);
    manual_do(r.m, r.actor.address, allocate_and_free, NULL);
    manual_close(r.m); /* the sanitizer finds what isn't */
}

static tr_err run_and_hold(tr_actor *self, void *arg)
{
    (void)arg;
    memset(tr_alloc(self, 1000), 1, 1000);
    for (;;) /* doesn't return when it is told to: its stack is dropped */
        tr_sleep(self, TR_MILLIS(100));
    return TR_OK;
}
TR_ACTOR(holder_def, .run = run_and_hold);

static void kill_it(tr_actor *self, void *context)
{
    assert_int_equal(TR_OK, tr_stop(self, *(tr_addr *)context, TR_EXIT_KILLED));
}

static void also_that_of_a_fiber_whose_stack_is_dropped(void **state)
{
    rig r;
    (void)state;
    open_rig(&r, 0);
    tr_addr fiber = manual_spawn_def(r.m, 0, &holder_def, NULL, NULL);
    manual_pump(r.m);
    r.m->clock_step_ns = TR_MICROS(100); /* it never rests, so time must pass by itself */
    manual_do(r.m, r.watcher.address, kill_it, &fiber);
    manual_step(r.m, TR_SECONDS(2));
    assert_null(manual_actor(r.m, fiber));
    manual_close(r.m);
}

static void free_anothers(tr_actor *self, void *context)
{
    (void)self;
    tr_free(self, context);
}

static void *allocated;

static void allocate_one(tr_actor *self, void *context)
{
    (void)context;
    allocated = tr_alloc(self, 10);
}

static void anothers_memory_cannot_be_freed(void **state)
{
    rig r;
    int status;
    (void)state;
    open_rig(&r, 0);
    manual_do(r.m, r.actor.address, allocate_one, NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        manual_do(r.m, r.watcher.address, free_anothers, allocated);
        _exit(0);
    }
    assert_int_equal(child, waitpid(child, &status, 0));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(SIGABRT, WTERMSIG(status));
    manual_close(r.m);
}

/* ---- the budget ---------------------------------------------------------------------------------------- */

static void allocate_until_refused(tr_actor *self, void *context)
{
    size_t *sum = context, state = sizeof(void *);
    *sum = state;
    while (tr_alloc(self, 68))
        *sum += 100;
    assert_int_equal(TR_ENOMEM, tr_last_error(self)->code);
    assert_non_null(
        strstr(tr_last_error(self)->text,
               "frugal wants 100 more bytes than its 4008 of 4096, which is its budget: it ends"));
    assert_in_range(*sum, BUDGET - 99, BUDGET);
}

static void one_beyond_its_budget_ends_when_its_handler_returns(void **state)
{
    rig r;
    size_t sum;
    (void)state;
    open_rig(&r, BUDGET);
    assert_int_equal(sizeof(void *), taken(&r));
    manual_do(r.m, r.actor.address, allocate_until_refused, &sum);
    assert_ended_by_its_budget(&r);
}

static void note_then(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)self, (void)state, (void)result, (void)context;
}

static void use_and_give_back(tr_actor *self, void *context)
{
    rig *r = context;
    for (int i = 0; i < 100; i++) {
        void *block = tr_alloc(self, 1000);
        tr_timer timer = tr_after(self, TR_SECONDS(1), mark, .n = 1);
        tr_timer again = tr_every(self, TR_SECONDS(1));
        tr_future f = tr_ask(self, r->watcher.address, TR_SECONDS(1), mark, .n = 2);
        assert_non_null(block);
        assert_true(tr_timer_cancel(self, again));
        assert_int_not_equal(0, timer.id);
        assert_int_not_equal(0, f.id);
        assert_int_equal(TR_OK, tr_then(self, f, note_then, NULL));
        assert_true(tr_timer_cancel(self, timer));
        tr_cancel(self, f);
        tr_free(self, block);
    }
}

static void what_is_given_back_counts_no_more(void **state)
{
    rig r;
    (void)state;
    open_rig(&r, BUDGET);
    manual_do(r.m, r.actor.address, use_and_give_back, &r);
    assert_int_equal(sizeof(void *), taken(&r));
    manual_close(r.m);
}

static void ask_without_end(tr_actor *self, void *context)
{
    rig *r = context;
    for (int i = 0; i < 1000; i++)
        if (!tr_ask(self, r->watcher.address, TR_SECONDS(1), mark, .n = 2).id)
            return;
    fail();
}

static void too_many_futures_end_it_as_well(void **state)
{
    rig r;
    (void)state;
    open_rig(&r, BUDGET);
    r.watcher.trail[0] = '\0';
    manual_tell(r.m, r.actor.address, ask_without_end, &r);
    manual_pump(r.m);
    assert_null(manual_actor(r.m, r.actor.address));
    assert_non_null(strstr(r.watcher.trail, "down:out-of-memory"));
    manual_close(r.m);
}

static void repeat_without_end(tr_actor *self, void *context)
{
    tr_timer first = tr_every(self, TR_SECONDS(1));
    (void)context;
    assert_true(tr_timer_cancel(self, first));
    for (int i = 0; i < 1000; i++)
        if (!(i % 2 ? tr_every(self, TR_SECONDS(1)) : tr_idle_after(self, TR_SECONDS(1))).id)
            return;
    fail();
}

static void and_too_many_timers_that_come_again(void **state)
{
    rig r;
    (void)state;
    open_rig(&r, BUDGET);
    manual_do(r.m, r.actor.address, repeat_without_end, NULL);
    assert_ended_by_its_budget(&r);
}

static void keep_it(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    if (tr_match(msg, blob))
        tr_msg_take(self, msg);
}

static void keep_and_free(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)puppet;
    tr_msg *kept = tr_match(msg, blob) ? tr_msg_take(self, msg) : NULL;
    tr_msg_free(self, &kept);
}

static void kept_messages_that_are_freed_count_no_more(void **state)
{
    static char bytes[1000];
    rig r;
    (void)state;
    open_rig(&r, BUDGET);
    r.actor.on = keep_and_free;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(TR_OK, tr_post(r.m->node, r.actor.address, blob, .data = {bytes, sizeof(bytes)}));
        manual_pump(r.m);
    }
    assert_int_equal(sizeof(void *), taken(&r));
    manual_close(r.m);
}

static void and_too_many_kept_messages(void **state)
{
    static char bytes[1000];
    rig r;
    (void)state;
    open_rig(&r, BUDGET);
    r.actor.on = keep_it;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(TR_OK, tr_post(r.m->node, r.actor.address, blob, .data = {bytes, sizeof(bytes)}));
        manual_pump(r.m);
    }
    assert_in_range(taken(&r), 3000, BUDGET);
    assert_int_equal(TR_OK, tr_post(r.m->node, r.actor.address, blob, .data = {bytes, sizeof(bytes)}));
    manual_pump(r.m);
    assert_ended_by_its_budget(&r);
}

static tr_err greedy_init(tr_actor *self, void *state, const void *arg)
{
    (void)state, (void)arg;
    return tr_alloc(self, 2 * BUDGET) ? TR_OK : TR_ENOMEM;
}

static void never(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state, (void)msg;
    fail();
}

static tr_err run_greedy(tr_actor *self, void *arg)
{
    tr_err *seen = arg;
    if (tr_alloc(self, 2 * BUDGET))
        return TR_OK;
    *seen = tr_sleep(self, 1); /* it is asked to return */
    return *seen;
}

typedef struct spawn_arg {
    const tr_actor_def *def;
    void *arg;
} spawn_arg;

static void spawn_watched(tr_actor *self, void *context)
{
    const spawn_arg *a = context;
    uint64_t monitor;
    tr_spawn_opts opts = {.monitor = &monitor};
    assert_false(tr_addr_is_none(tr_spawn_with(self, a->def, a->arg, &opts)));
}

static void it_is_the_reason_in_init_and_in_a_fiber_too(void **state)
{
    static const tr_actor_def in_init = {.name = "in_init",
                                         .state_size = 8,
                                         .init = greedy_init,
                                         .receive = never,
                                         .memory_max = BUDGET},
                              in_fiber = {.name = "in_fiber", .run = run_greedy, .memory_max = BUDGET};
    rig r;
    tr_err seen = TR_OK;
    (void)state;
    open_rig(&r, 0);
    manual_do(r.m, r.watcher.address, spawn_watched, &(spawn_arg){&in_init, NULL});
    manual_do(r.m, r.watcher.address, spawn_watched, &(spawn_arg){&in_fiber, &seen});
    assert_int_equal(TR_EKILLED, seen);
    assert_string_equal("init down:out-of-memory down:out-of-memory ", r.watcher.trail);
    manual_close(r.m);
}

static void a_state_beyond_the_budget_is_refused_by_the_spawn(void **state)
{
    rig r;
    tr_addr address;
    tr_error error;
    (void)state;
    open_rig(&r, 0);
    assert_int_equal(TR_EINVAL,
                     tr__spawn(r.m->node->loops[0], budgeted(4), &r.actor, NULL, &address, &error));
    assert_string_equal("frugal: its state of 8 bytes alone is beyond its budget of 4", error.text);
    manual_close(r.m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_actor_allocates_is_released_at_its_end),
        cmocka_unit_test(also_that_of_a_fiber_whose_stack_is_dropped),
        cmocka_unit_test(anothers_memory_cannot_be_freed),
        cmocka_unit_test(one_beyond_its_budget_ends_when_its_handler_returns),
        cmocka_unit_test(what_is_given_back_counts_no_more),
        cmocka_unit_test(too_many_futures_end_it_as_well),
        cmocka_unit_test(and_too_many_timers_that_come_again),
        cmocka_unit_test(and_too_many_kept_messages),
        cmocka_unit_test(kept_messages_that_are_freed_count_no_more),
        cmocka_unit_test(it_is_the_reason_in_init_and_in_a_fiber_too),
        cmocka_unit_test(a_state_beyond_the_budget_is_refused_by_the_spawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
