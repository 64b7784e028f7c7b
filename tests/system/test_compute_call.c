/* The compute actor: how many at once, C functions, and the loop meanwhile. */
#include <sched.h>
#include <stdatomic.h>

#include "tests/system/compute_kit.h"

/* ---- how many ------------------------------------------------------------------------------------------ */

static tr_err two_at_once(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 2, .queue = 100});
    tr_future jobs[12];
    for (size_t i = 0; i < TR_COUNT(jobs); i++)
        jobs[i] = tr_ask(self, compute, LONG, tr_run, .directory = directory,
                         SHELL("for s in 1 2; do mkdir $s 2>/dev/null && { sleep 0.1; rmdir $s; echo $s; "
                               "exit 0; }; done; exit 9"));
    bool both = false;
    for (size_t i = 0; i < TR_COUNT(jobs); i++) {
        const tr_ran *ran;
        TR_TRY(tr_await(self, jobs[i], tr_ran, &ran));
        EXPECT(ran->exit_status == 0, "more than two at once: job %zu", i);
        both = both || equal(ran->out, "2\n");
    }
    EXPECT(both, "never two at once");
    return TR_OK;
}

static void as_many_as_allowed_run_at_once_and_never_more(void **state)
{
    (void)state;
    run(two_at_once);
}

static tr_err queue_full(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 1, .queue = 2});
    tr_future a = tr_ask(self, compute, LONG, tr_run, SHELL("sleep 2"));
    tr_future b = tr_ask(self, compute, LONG, tr_run, SHELL("echo b >>order"), .directory = directory);
    tr_future c = tr_ask(self, compute, LONG, tr_run, SHELL("echo c >>order"), .directory = directory);
    tr_future d = tr_ask(self, compute, LONG, tr_run, SHELL("true"));
    EXPECT_ERROR(d, TR_EFULL, "tr_compute_opts.queue");
    tr_cancel(self, b);
    const tr_ran *ran;
    TR_TRY(tr_await(
        self, tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("cat", "order"), .directory = directory),
        tr_ran, &ran));
    EXPECT(equal(ran->out, "c\n"), "%.*s", (int)ran->out.size, (const char *)ran->out.data);
    TR_TRY(tr_await_msg(self, a, NULL));
    TR_TRY(tr_await_msg(self, c, NULL));
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_run, .argv = TR_ARGV("rm", "x"), .directory = "/no"),
                 TR_ENOTFOUND, "/no");
    return TR_OK;
}

static void queue_is_bounded_and_in_order_and_canceled_ones_leave_it(void **state)
{
    (void)state;
    run(queue_full);
    char path[100];
    snprintf(path, sizeof(path), "%s/order", directory);
    unlink(path);
}

/* ---- functions ----------------------------------------------------------------------------------------- */

static atomic_int inside, most, entered, left_canceled;

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static tr_err reverse(const void *in, size_t in_size, tr_compute_out *out)
{
    const char *from = in;
    char *to = tr_compute_reserve(out, in_size);
    if (!to)
        return TR_ENOMEM;
    for (size_t i = 0; i < in_size; i++)
        to[i] = from[in_size - 1 - i];
    return (uintptr_t)in % 16 ? TR_EAPP : TR_OK;
}

static tr_err fails(const void *in, size_t in_size, tr_compute_out *out)
{
    return tr_compute_fail(out, TR_EAPP, "no luck with %.*s", (int)in_size, (const char *)in);
}

/* Until it is canceled. */
static tr_err forever(const void *in, size_t in_size, tr_compute_out *out)
{
    (void)in;
    (void)in_size;
    entered++;
    while (!tr_compute_canceled(out))
        sched_yield();
    left_canceled++;
    return TR_ECANCELED;
}

static tr_err busy(const void *in, size_t in_size, tr_compute_out *out)
{
    (void)in_size;
    int now_inside = ++inside;
    for (int seen = most; now_inside > seen && !atomic_compare_exchange_weak(&most, &seen, now_inside);)
        ;
    uint64_t duration = *(const uint64_t *)in;
    for (uint64_t until = clock_ns() + duration; clock_ns() < until && !tr_compute_canceled(out);)
        ;
    inside--;
    return TR_OK;
}

static tr_err calls(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 2});
    const tr_called *called;
    TR_TRY(tr_await(self, tr_ask(self, compute, LONG, tr_call, .function = "reverse", .input = {"abc", 3}),
                    tr_called, &called));
    EXPECT(equal(called->output, "cba"), "%zu", called->output.size);
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_call, .function = "fails", .input = {"xyz", 3}), TR_EAPP,
                 "no luck with xyz");
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_call, .function = "none"), TR_ENOTFOUND, "'none'");
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_call, .function = "reverse", .input = {"abc", 3}, .limit = 2),
                 TR_ETOOBIG, "limit");
    EXPECT_ERROR(tr_ask(self, compute, LONG, tr_call, .function = "reverse", .limit = UINT64_MAX), TR_EINVAL,
                 "tr_call.limit");
    return TR_OK;
}

static void function_is_called_on_a_thread_and_answers(void **state)
{
    (void)state;
    run(calls);
}

static tr_err calls_at_once(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 3});
    most = 0;
    uint64_t ns = TR_MILLIS(5);
    tr_future jobs[50];
    for (size_t i = 0; i < TR_COUNT(jobs); i++)
        jobs[i] = tr_ask(self, compute, LONG, tr_call, .function = "busy", .input = {&ns, sizeof(ns)});
    TR_TRY(tr_await_msg(self, tr_gather(self, jobs, TR_COUNT(jobs)), NULL));
    for (size_t i = 0; i < TR_COUNT(jobs); i++) {
        const tr_called *called;
        TR_TRY(tr_await(self, jobs[i], tr_called, &called));
        EXPECT(called->elapsed_ns >= ns, "%llu", (unsigned long long)called->elapsed_ns);
    }
    EXPECT(most == 3, "%d at once", (int)most);
    return TR_OK;
}

static void as_many_functions_as_allowed_run_at_once(void **state)
{
    (void)state;
    run(calls_at_once);
}

static tr_err calls_after_rest(tr_actor *self, void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 2});
        TR_TRY(tr_await_msg(self, tr_ask(self, compute, LONG, tr_call, .function = "reverse"), NULL));
        TR_TRY(tr_sleep(self, TR_MILLIS(2))); /* its thread is idle now, most likely */
        entered = left_canceled = 0;
        tr_future a = tr_ask(self, compute, LONG, tr_call, .function = "forever");
        tr_future b = tr_ask(self, compute, LONG, tr_call, .function = "forever");
        for (int waits = 0; entered < 2; waits++) {
            EXPECT(waits < 5000, "%d entered", (int)entered);
            TR_TRY(tr_sleep(self, TR_MILLIS(1)));
        }
        tr_cancel(self, a);
        tr_cancel(self, b);
        TR_TRY(tr_stop(self, compute, TR_EXIT_SHUTDOWN));
        while (left_canceled < 2)
            TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
    return TR_OK;
}

static void an_idle_thread_is_counted_for_one_function_only(void **state)
{
    (void)state;
    run(calls_after_rest);
}

static tr_err call_cancel(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 1});
    entered = left_canceled = 0;
    tr_future a = tr_ask(self, compute, LONG, tr_call, .function = "forever");
    tr_future b = tr_ask(self, compute, LONG, tr_call, .function = "forever");
    tr_future c = tr_ask(self, compute, LONG, tr_call, .function = "reverse", .input = {"abc", 3});
    while (entered == 0)
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    tr_cancel(self, b);
    tr_cancel(self, a);
    TR_TRY(tr_await_msg(self, c, NULL));
    EXPECT(entered == 1 && left_canceled == 1, "%d %d", (int)entered, (int)left_canceled);
    EXPECT_ERROR(tr_ask(self, compute, TR_MILLIS(50), tr_call, .function = "forever"), TR_EDEADLINE, "");
    TR_TRY(tr_await_msg(self, tr_ask(self, compute, LONG, tr_call, .function = "reverse"), NULL));
    EXPECT(entered == 2 && left_canceled == 2, "%d %d", (int)entered, (int)left_canceled);
    return TR_OK;
}

static void canceled_function_is_told_and_a_queued_one_never_starts(void **state)
{
    (void)state;
    run(call_cancel);
}

static tr_err call_abandon(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr compute = tr_spawn(self, &tr_compute, &(tr_compute_opts){.parallel = 2});
    entered = left_canceled = 0;
    for (int i = 0; i < 4; i++)
        tr_ask(self, compute, LONG, tr_call, .function = "forever");
    while (entered < 2)
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    return TR_OK;
}

static void end_of_the_node_cancels_functions(void **state)
{
    (void)state;
    run(call_abandon);
    /* Their threads may outlive the node by a moment. */
    for (uint64_t until = clock_ns() + TR_SECONDS(10); left_canceled < 2 && clock_ns() < until;)
        sched_yield();
    assert_int_equal(left_canceled, 2);
}

/* ---- the point of it ----------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* How late a timer of 2 ms is, at the 50th and 99th of a hundred, and at worst. */
static tr_err lateness(tr_actor *self, const char *what, int32_t nice)
{
    uint64_t late[200];
    for (size_t i = 0; i < TR_COUNT(late); i++) {
        uint64_t before = clock_ns();
        TR_TRY(tr_sleep(self, TR_MILLIS(2)));
        uint64_t took = clock_ns() - before;
        late[i] = took > TR_MILLIS(2) ? took - TR_MILLIS(2) : 0;
    }
    qsort(late, TR_COUNT(late), sizeof(late[0]), by_value);
    uint64_t p50 = late[TR_COUNT(late) / 2], p99 = late[TR_COUNT(late) * 99 / 100],
             worst = late[TR_COUNT(late) - 1];
    printf("  timers late, %-22s nice %2d p50 %6.3f ms  p99 %6.3f ms  worst %6.3f ms\n", what,
           nice < 0 ? 0 : nice, (double)p50 / 1e6, (double)p99 / 1e6, (double)worst / 1e6);
    /* Generous: other programs may be at work. A loop that computes itself would be seconds late. */
    EXPECT(p50 < TR_MILLIS(50) && p99 < TR_MILLIS(500), "%s: p99 %llu ns", what, (unsigned long long)p99);
    return TR_OK;
}

static tr_err on_time(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(lateness(self, "nothing else", 0));
    uint64_t ns = TR_SECONDS(60);
    uint32_t cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    static const int32_t nices[] = {-1, 5, 19};
    for (size_t n = 0; n < TR_COUNT(nices); n++) {
        tr_compute_opts opts = {.parallel = cores, .nice = nices[n]};
        tr_addr compute = tr_spawn(self, &tr_compute, &opts);
        for (uint32_t i = 0; i < cores; i++)
            tr_ask(self, compute, LONG, tr_call, .function = "busy", .input = {&ns, sizeof(ns)});
        TR_TRY(lateness(self, "threads on all cores", nices[n]));
        TR_TRY(tr_stop(self, compute, TR_EXIT_SHUTDOWN));
        compute = tr_spawn(self, &tr_compute, &opts);
        for (uint32_t i = 0; i < cores; i++)
            tr_ask(self, compute, LONG, tr_run, SHELL("while :; do :; done"));
        TR_TRY(lateness(self, "processes on all cores", nices[n]));
        TR_TRY(tr_stop(self, compute, TR_EXIT_SHUTDOWN));
        EXPECT(marked_become(self, 0), "%d left", marked(0));
    }
    return TR_OK;
}

static void timers_stay_on_time_while_all_cores_compute(void **state)
{
    (void)state;
    run(on_time);
}

static int prepare(void **state)
{
    if (tr_compute_register("reverse", reverse) || tr_compute_register("fails", fails) ||
        tr_compute_register("forever", forever) || tr_compute_register("busy", busy))
        return -1;
    return compute_prepare(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_allowed_run_at_once_and_never_more),
        cmocka_unit_test(queue_is_bounded_and_in_order_and_canceled_ones_leave_it),
        cmocka_unit_test(function_is_called_on_a_thread_and_answers),
        cmocka_unit_test(as_many_functions_as_allowed_run_at_once),
        cmocka_unit_test(an_idle_thread_is_counted_for_one_function_only),
        cmocka_unit_test(canceled_function_is_told_and_a_queued_one_never_starts),
        cmocka_unit_test(end_of_the_node_cancels_functions),
        cmocka_unit_test(timers_stay_on_time_while_all_cores_compute),
    };
    return cmocka_run_group_tests(tests, prepare, compute_tidy);
}
