/* The watchdog: who holds its loop is named, and told to stop. The handlers themselves let time pass, and the watchdog look,
 * as the control thread would meanwhile; the last test has real threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "actors/supervision/watchdog.h"
#include "tests/kit/manual.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

typedef struct fixture {
    manual *m;
    tr__watchdog w;
    char log[4096]; /* all lines */
    manual_puppet a, b;
} fixture;

static void keep_log(void *context, tr_log_level level, const char *line)
{
    fixture *f = context;
    if (level <= TR_LOG_WARN)
        snprintf(f->log + strlen(f->log), sizeof(f->log) - strlen(f->log), "%s\n", line);
}

static const char *two_frames(void *context, uint32_t loop, uint32_t index)
{
    (void)context;
    (void)loop;
    return index == 0 ? "deep+0x1" : index == 1 ? "shallow+0x2" : NULL;
}

static int setup(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof(f));
    f.m = manual_open(2);
    f.m->node->log = keep_log;
    f.m->node->log_context = &f;
    f.w = (tr__watchdog){.node = f.m->node, .frame = two_frames};
    manual_spawn(f.m, 0, &f.a, &(tr_spawn_opts){.name = "ada"});
    manual_spawn(f.m, 0, &f.b, NULL);
    manual_pump(f.m);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    manual_close(((fixture *)*state)->m);
    return 0;
}

static void look(fixture *f)
{
    tr__watchdog_look(&f->w, f->m->now_ns);
}

/* So long is it that the handler holds the loop, and the watchdog looks every 10 ms. */
static void hold(fixture *f, uint64_t for_ns)
{
    for (uint64_t step = TR_MILLIS(10); for_ns >= step; for_ns -= step) {
        f->m->now_ns += step;
        look(f);
    }
}

static unsigned count_of(const fixture *f, const char *what)
{
    unsigned count = 0;
    for (const char *at = f->log; (at = strstr(at, what)); at++)
        count++;
    return count;
}

static void watch_it(tr_actor *self, void *context)
{
    assert_int_not_equal(0, tr_monitor(self, *(tr_addr *)context));
}

/* ---- named --------------------------------------------------------------------------------------------- */

static void holds_for_450(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    (void)msg;
    hold(puppet->user, TR_MILLIS(450));
}

static void one_that_holds_its_loop_is_named_again_at_doublings_and_when_it_gives_way(void **state)
{
    fixture *f = *state;
    char address[TR_ADDR_TEXT_MAX], whole[200];
    f->a.user = f;
    f->a.on = holds_for_450;
    manual_mark(f->m, f->a.address, 1);
    manual_pump(f->m);
    look(f);
    tr_addr_format(f->a.address, address);
    snprintf(whole, sizeof(whole), "loop 0: actor puppet \"ada\" %s has been handling mark for 50 ms",
             address);
    assert_non_null(strstr(f->log, whole));
    assert_int_equal(4, count_of(f, "has been handling mark for "));
    assert_int_equal(1, count_of(f, "for 100 ms"));
    assert_int_equal(1, count_of(f, "for 200 ms"));
    assert_int_equal(1, count_of(f, "for 400 ms"));
    assert_int_equal(4, count_of(f, "in deep+0x1\nloop 0:   in shallow+0x2\n"));
    assert_int_equal(1, count_of(f, "no more, after 450 ms"));
    look(f);
    assert_int_equal(1, count_of(f, "no more"));
    tr_sums sums;
    tr_node_sums(f->m->node, &sums);
    assert_int_equal(1, sums.stuck);
    assert_int_equal(0, sums.overruns);
}

static void holds_for_40(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    (void)self;
    (void)msg;
    hold(puppet->user, TR_MILLIS(40));
}

static void several_short_ones_are_not_taken_for_a_long_one(void **state)
{
    fixture *f = *state;
    f->a.user = f->b.user = f;
    f->a.on = f->b.on = holds_for_40;
    for (int i = 0; i < 10; i++) {
        manual_mark(f->m, f->a.address, 1);
        manual_mark(f->m, f->b.address, 1);
        manual_pump(f->m);
    }
    assert_string_equal("", f->log);
}

static void zero_patience_is_the_default_and_for_ever_is_never(void **state)
{
    fixture *f = *state;
    assert_int_equal(TR_MILLIS(50), f->m->node->opts.watchdog_ns);
    f->m->node->opts.watchdog_ns = TR_FOREVER;
    f->a.user = f;
    f->a.on = holds_for_450;
    manual_mark(f->m, f->a.address, 1);
    manual_pump(f->m);
    look(f);
    assert_string_equal("", f->log);
}

/* ---- told to stop -------------------------------------------------------------------------------------- */

static void holds_then_calls(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    fixture *f = puppet->user;
    (void)msg;
    hold(f, TR_MILLIS(90));
    assert_int_equal(TR_OK, tr_send(self, f->b.address, mark, .n = 1));
    hold(f, TR_MILLIS(20));
    assert_int_equal(TR_EKILLED, tr_send(self, f->b.address, mark, .n = 2));
    assert_non_null(strstr(tr_last_error(self)->text, "held its loop for more than 100 ms"));
    assert_int_equal(TR_EKILLED, tr_send(self, f->b.address, mark, .n = 3));
    assert_int_equal(0, tr_ask(self, f->b.address, TR_SECONDS(1), mark, .n = 4).id);
    assert_true(tr_addr_is_none(tr_spawn(self, &manual_puppet_def, puppet)));
    assert_int_equal(0, tr_after(self, 1, mark, .n = 5).id);
}

static void one_over_its_budget_hears_it_at_its_next_call_and_ends_with_overrun(void **state)
{
    fixture *f = *state;
    f->m->node->opts.overrun_ns = TR_MILLIS(100);
    f->a.user = f;
    f->a.on = holds_then_calls;
    manual_do(f->m, f->b.address, watch_it, &f->a.address);
    manual_mark(f->m, f->a.address, 1);
    manual_pump(f->m);
    assert_string_equal("init 1 stop ", f->a.trail);
    assert_string_equal("init 1 down:overrun ", f->b.trail);
    tr_sums sums;
    tr_node_sums(f->m->node, &sums);
    assert_int_equal(1, sums.overruns);
    manual_mark(f->m, f->b.address, 7); /* the others go on */
    manual_pump(f->m);
    assert_string_equal("init 1 down:overrun 7 ", f->b.trail);
}

static void holds_and_returns(tr_actor *self, manual_puppet *puppet, const tr_msg *msg)
{
    fixture *f = puppet->user;
    if (tr_match(msg, mark)->n == 1)
        hold(f, TR_MILLIS(200));
    else
        assert_int_equal(TR_OK, tr_send(self, f->b.address, mark, .n = 2));
}

static void who_runs_next_does_not_pay_for_one_that_gave_way(void **state)
{
    fixture *f = *state;
    f->m->node->opts.overrun_ns = TR_MILLIS(100);
    f->a.user = f;
    f->a.on = holds_and_returns;
    manual_mark(f->m, f->a.address, 1);
    manual_pump(f->m);
    assert_true(atomic_load(&f->m->node->loops[0]->overrun));
    manual_mark(f->m, f->a.address, 3);
    manual_pump(f->m);
    assert_string_equal("init 2 ", f->b.trail);
    assert_string_equal("init 1 3 ", f->a.trail);
    assert_false(atomic_load(&f->m->node->loops[0]->overrun));
}

typedef struct tried {
    fixture *f;
    tr_err first, second;
} tried;

static void hold_and_send(tr_actor *self, void *state, const tr_msg *msg)
{
    tried *t = *(tried **)state;
    (void)msg;
    hold(t->f, TR_MILLIS(60));
    t->first = tr_send(self, tr_self(self), mark, .n = 2);
    tr_exit(self, TR_OK, "done");
}

static tr_err tried_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    *(tried **)state = (tried *)arg;
    return TR_OK;
}

static void a_definitions_budget_counts_more_than_the_nodes(void **state)
{
    static const tr_actor_def strict = {.name = "strict",
                                        .state_size = sizeof(tried *),
                                        .init = tried_init,
                                        .receive = hold_and_send,
                                        .overrun_ns = TR_MILLIS(50)},
                              free_one = {.name = "free_one",
                                          .state_size = sizeof(tried *),
                                          .init = tried_init,
                                          .receive = hold_and_send,
                                          .overrun_ns = TR_FOREVER};
    fixture *f = *state;
    tried t = {.f = f}, u = {.f = f};
    manual_mark(f->m, manual_spawn_def(f->m, 0, &strict, &t, NULL), 1);
    manual_pump(f->m);
    f->m->node->opts.overrun_ns = TR_MILLIS(20);
    manual_mark(f->m, manual_spawn_def(f->m, 0, &free_one, &u, NULL), 1);
    manual_pump(f->m);
    assert_int_equal(TR_EKILLED, t.first);
    assert_int_equal(TR_OK, u.first);
}

static tr_err run_hold(tr_actor *self, void *arg)
{
    tried *t = arg;
    hold(t->f, TR_MILLIS(60));
    t->first = tr_send(self, tr_self(self), mark, .n = 2);
    t->second = tr_sleep(self, 1);
    return t->second;
}

static void a_fibers_waits_end_when_it_was_told_to_stop(void **state)
{
    static const tr_actor_def fiber = {.name = "fiber", .run = run_hold, .overrun_ns = TR_MILLIS(50)};
    fixture *f = *state;
    tried t = {.f = f};
    tr_addr address = manual_spawn_def(f->m, 0, &fiber, &t, NULL);
    manual_do(f->m, f->b.address, watch_it, &address);
    assert_int_equal(TR_EKILLED, t.first);
    assert_int_equal(TR_EKILLED, t.second);
    assert_string_equal("init down:overrun ", f->b.trail);
}

/* ---- with threads -------------------------------------------------------------------------------------- */

typedef struct real {
    pthread_mutex_t lock;
    char log[8192];
    _Atomic bool named;
} real;

#ifdef __SANITIZE_THREAD__ /* which keeps signals back while a thread computes */
#define NAMED "has been in its init or body"
#else
#define NAMED "in start_that_computes+0x"
#endif

static void real_log(void *context, tr_log_level level, const char *line)
{
    real *r = context;
    (void)level;
    pthread_mutex_lock(&r->lock);
    snprintf(r->log + strlen(r->log), sizeof(r->log) - strlen(r->log), "%s\n", line);
    pthread_mutex_unlock(&r->lock);
    if (strstr(line, NAMED))
        atomic_store(&r->named, true);
}

static __attribute__((noinline)) tr_err start_that_computes(tr_actor *self, void *arg)
{
    real *r = arg;
    (void)self;
    while (!atomic_load(&r->named))
        ;
    for (uint64_t until = tr_now(self) + TR_MILLIS(150), now = 0; now < until;) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        now = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
    }
    return TR_OK;
}

static void a_real_node_names_the_function_that_holds_a_loop(void **state)
{
    static real r = {.lock = PTHREAD_MUTEX_INITIALIZER};
    (void)state;
    tr_node_opts opts = {.log = real_log,
                         .log_context = &r,
                         .log_level = TR_LOG_WARN,
                         .watchdog_ns = TR_MILLIS(20),
                         .start = start_that_computes,
                         .arg = &r};
    tr_error error;
    tr_node *node = tr_node_create(&opts, &error);
    assert_non_null(node);
    assert_int_equal(TR_OK, tr_node_run(node, &error));
    tr_node_destroy(node);
    assert_non_null(strstr(r.log, "loop 0: actor start "));
    assert_non_null(strstr(r.log, " has been in its init or body for "));
    assert_non_null(strstr(r.log, " ms; the loop's other actors wait"));
#ifndef __SANITIZE_THREAD__
    assert_non_null(strstr(r.log, "loop 0:   in start_that_computes+0x"));
    assert_null(strstr(r.log, "tr__loop_turn"));
#endif
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_that_holds_its_loop_is_named_again_at_doublings_and_when_it_gives_way),
        TEST(several_short_ones_are_not_taken_for_a_long_one),
        TEST(zero_patience_is_the_default_and_for_ever_is_never),
        TEST(one_over_its_budget_hears_it_at_its_next_call_and_ends_with_overrun),
        TEST(who_runs_next_does_not_pay_for_one_that_gave_way),
        TEST(a_definitions_budget_counts_more_than_the_nodes),
        TEST(a_fibers_waits_end_when_it_was_told_to_stop),
        cmocka_unit_test(a_real_node_names_the_function_that_holds_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
