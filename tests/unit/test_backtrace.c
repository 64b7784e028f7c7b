/* The stack of another thread: in a computation, on a fiber's stack, in a system call, and of one that doesn't answer. The
 * threads wait for each other by flags, not for time. The thread sanitizer hands no signal to a thread that computes, or
 * waits in read(), and may keep one that comes as a poll() begins until the next: there only those that poll are asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "actors/fibers/fiber.h"
#include "base/backtrace_os.h"

#ifdef __SANITIZE_THREAD__
#define SIGNALS_WAIT 1
#else
#define SIGNALS_WAIT 0
#endif

/* ---- a thread that is asked ---------------------------------------------------------------------------- */

typedef struct worker {
    tr__traced traced;
    pthread_t thread;
    void (*work)(struct worker *w);
    int pipe[2];
    _Atomic bool there, let_go;
} worker;

static void *worker_main(void *arg)
{
    worker *w = arg;
    tr__traced_enter(&w->traced);
    w->work(w);
    tr__traced_leave(&w->traced);
    return NULL;
}

static void begin(worker *w, void (*work)(worker *w))
{
    memset(w, 0, sizeof(*w));
    w->work = work;
    assert_true(tr__traced_init(&w->traced));
    assert_int_equal(0, pipe(w->pipe));
    assert_int_equal(0, pthread_create(&w->thread, NULL, worker_main, w));
    while (!atomic_load(&w->there))
        sched_yield();
}

static void end(worker *w)
{
    atomic_store(&w->let_go, true);
    assert_int_equal(1, write(w->pipe[1], "x", 1));
    pthread_join(w->thread, NULL);
    tr__traced_fini(&w->traced);
    close(w->pipe[0]);
    close(w->pipe[1]);
}

/* All frames in one text, a line each. */
static size_t take(worker *w, unsigned timeout_ms, char *text, size_t room)
{
    void *frames[TR__FRAMES_MAX];
    char line[256];
    size_t count = tr__traced_take(&w->traced, timeout_ms, frames, TR__FRAMES_MAX);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), room - strlen(text), "%s\n",
                 tr__frame_text(frames[i], i, line, sizeof(line)));
    return count;
}

static void assert_mentions(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("no %s in\n%s", what, text);
}

/* ---- what it does -------------------------------------------------------------------------------------- */

static __attribute__((noinline)) void an_inner_computation(worker *w)
{
    atomic_store(&w->there, true);
    while (!atomic_load(&w->let_go))
        ;
}

static __attribute__((noinline)) void an_outer_one(worker *w)
{
    an_inner_computation(w);
    atomic_load(&w->let_go); /* no tail call */
}

static void fiber_body(void *arg)
{
    an_outer_one(arg);
    __asm__ volatile("");
}

static __attribute__((noinline)) void in_a_fiber(worker *w)
{
    tr__fiber_pool *pool = tr__fiber_pool_create();
    tr__fiber *fiber = tr__fiber_create(pool, 16 * 1024, fiber_body, w);
    while (!tr__fiber_resume(fiber))
        ;
    tr__fiber_destroy(fiber);
    tr__fiber_pool_destroy(pool);
}

static __attribute__((noinline)) void in_a_system_call(worker *w)
{
    char byte;
    struct pollfd ready = {.fd = w->pipe[0], .events = POLLIN};
    atomic_store(&w->there, true);
    while (SIGNALS_WAIT && poll(&ready, 1, 10) != 1)
        ;
    assert_int_equal(1, read(w->pipe[0], &byte, 1));
}

static void deaf(worker *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    in_a_system_call(w);
    pthread_sigmask(SIG_SETMASK, &before, NULL); /* what was sent meanwhile comes now */
    in_a_system_call(w);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_thread_that_computes_shows_its_functions_also_static_ones(void **state)
{
    worker w;
    char text[8192];
    (void)state;
    if (SIGNALS_WAIT)
        skip();
    begin(&w, an_outer_one);
    for (int i = 0; i < 3; i++) {
        assert_true(take(&w, 5000, text, sizeof(text)) >= 3);
        assert_int_equal(0, strncmp(text, "an_inner_computation+0x", 23));
        assert_mentions(text, "an_outer_one+0x");
        assert_mentions(text, "worker_main+0x");
        assert_mentions(text, "(test_backtrace+0x");
    }
    end(&w);
}

static void one_on_a_fibers_small_stack_shows_the_fibers_functions(void **state)
{
    worker w;
    char text[8192];
    (void)state;
    if (SIGNALS_WAIT)
        skip();
    begin(&w, in_a_fiber);
    assert_true(take(&w, 5000, text, sizeof(text)) >= 3);
    assert_mentions(text, "an_inner_computation+0x");
    assert_mentions(text, "an_outer_one+0x");
    assert_mentions(text, "fiber_body+0x");
    end(&w);
}

static void one_in_a_system_call_shows_it_and_stays_in_it(void **state)
{
    worker w;
    char text[8192];
    (void)state;
    begin(&w, in_a_system_call);
    assert_true(take(&w, 5000, text, sizeof(text)) >= 2);
    assert_mentions(text, "in_a_system_call+0x");
    assert_true(take(&w, 5000, text, sizeof(text)) >= 2);
    end(&w); /* read() returned the byte, no error */
}

static void one_that_does_not_answer_costs_the_time_given_and_later_answers_again(void **state)
{
    worker w;
    char text[8192];
    (void)state;
    begin(&w, deaf);
    for (int i = 0; i < 3; i++)
        assert_int_equal(0, take(&w, 1, text, sizeof(text)));
    atomic_store(&w.there, false);
    assert_int_equal(1, write(w.pipe[1], "x", 1));
    while (!atomic_load(&w.there))
        sched_yield();
    assert_true(take(&w, 5000, text, sizeof(text)) >= 2);
    end(&w);
}

static void one_that_has_left_is_not_asked(void **state)
{
    worker w;
    void *frame;
    (void)state;
    begin(&w, in_a_system_call);
    atomic_store(&w.let_go, true);
    assert_int_equal(1, write(w.pipe[1], "x", 1));
    pthread_join(w.thread, NULL);
    assert_int_equal(0, tr__traced_take(&w.traced, 5000, &frame, 1));
    tr__traced_fini(&w.traced);
    close(w.pipe[0]);
    close(w.pipe[1]);
}

static _Atomic int urgent;

static void on_urgent(int number)
{
    (void)number;
    atomic_fetch_add(&urgent, 1);
}

/* The first test: no thread has entered yet. */
static void a_programs_own_handler_of_the_signal_is_still_called(void **state)
{
    worker w;
    char text[8192];
    (void)state;
    signal(SIGURG, on_urgent);
    begin(&w, in_a_system_call);
    assert_true(take(&w, 5000, text, sizeof(text)) >= 2);
    assert_int_equal(0, atomic_load(&urgent));
    raise(SIGURG);
    assert_int_equal(1, atomic_load(&urgent));
    end(&w);
}

static __attribute__((noinline)) size_t a_fault_here(void **frames)
{
    size_t count = tr__backtrace_here(frames, TR__FRAMES_MAX);
    __asm__ volatile(""); /* no tail call */
    return count;
}

static void the_own_stack_and_addresses_of_nothing_have_texts(void **state)
{
    void *frames[TR__FRAMES_MAX];
    char text[256];
    (void)state;
    assert_true(a_fault_here(frames) >= 2);
    assert_mentions(tr__frame_text(frames[0], 0, text, sizeof(text)), "a_fault_here+0x");
    assert_string_equal("0x10", tr__frame_text((void *)0x10, 0, text, sizeof(text)));
    assert_mentions(tr__frame_text((void *)(uintptr_t)strlen, 0, text, sizeof(text)), "+0x");
    assert_int_equal(7, strlen(tr__frame_text(frames[0], 0, text, 8))); /* cut, not overrun */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_programs_own_handler_of_the_signal_is_still_called),
        cmocka_unit_test(a_thread_that_computes_shows_its_functions_also_static_ones),
        cmocka_unit_test(one_on_a_fibers_small_stack_shows_the_fibers_functions),
        cmocka_unit_test(one_in_a_system_call_shows_it_and_stays_in_it),
        cmocka_unit_test(one_that_does_not_answer_costs_the_time_given_and_later_answers_again),
        cmocka_unit_test(one_that_has_left_is_not_asked),
        cmocka_unit_test(the_own_stack_and_addresses_of_nothing_have_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
