/* actors/fibers/fiber.h: order of yields, many at once, reuse of stacks, overflow. The overflow and the lack of
 * memory are tried in forked children. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actors/fibers/fiber.h"
#include "base/check.h"
#include "base/mem.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/* Valgrind knows only so many mappings: a fiber's stack takes two. */
#define FEW 500

#ifdef TR__TOOLS_TSAN
#define MANY 2000 /* TSan's own limit is 8,128, and it takes its time */
#else
#define MANY 10000
#endif

/* ---- helpers ------------------------------------------------------------------------------------------- */

typedef struct job {
    tr__fiber *fiber;
    uint64_t sum;
    int steps;
    int number;
} job;

static char trail[64];

static void leave_mark(char mark)
{
    size_t length = strlen(trail);
    trail[length] = mark;
    trail[length + 1] = '\0';
}

/* Yields `steps` times; each step leaves the letter of its number. */
static void walk(void *arg)
{
    job *j = arg;
    for (int i = 0; i < j->steps; i++) {
        leave_mark((char)('a' + j->number));
        tr__fiber_yield(j->fiber);
    }
    leave_mark((char)('A' + j->number));
}

/* Keeps a kilobyte of its own over its yields. */
static void keep_locals(void *arg)
{
    job *j = arg;
    volatile uint32_t kept[256];
    for (int i = 0; i < 256; i++)
        kept[i] = (uint32_t)(j->number * 256 + i);
    for (int i = 0; i < j->steps; i++)
        tr__fiber_yield(j->fiber);
    for (int i = 0; i < 256; i++)
        j->sum += kept[i];
}

static uint64_t sum_of_locals(int number)
{
    uint64_t sum = 0;
    for (int i = 0; i < 256; i++)
        sum += (uint32_t)(number * 256 + i);
    return sum;
}

/* Recurses, yields at the bottom, and adds up its locals on the way back. */
static uint64_t descend(job *j, int depth)
{
    volatile uint64_t own[16];
    for (int i = 0; i < 16; i++)
        own[i] = (uint64_t)depth;
    if (depth == 0)
        tr__fiber_yield(j->fiber);
    uint64_t below = depth == 0 ? 0 : descend(j, depth - 1);
    return below + own[depth % 16];
}

static void go_deep(void *arg)
{
    job *j = arg;
    j->sum = descend(j, j->steps);
}

static char *guard_end; /* of the fiber that overflows */

static __attribute__((noinline)) int eat_stack(int depth)
{
    volatile char own[512];
    own[0] = (char)depth;
    return depth < 0 ? 0 : eat_stack(depth + 1) + own[0];
}

static void overflow(void *arg)
{
    job *j = arg;
    j->steps = eat_stack(0);
}

static void overflow_seen(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number, (void)context;
    char *hit = info->si_addr;
    _exit(hit < guard_end && hit >= guard_end - sysconf(_SC_PAGESIZE) ? 7 : 8);
}

static void fail_check(const char *text)
{
    fprintf(stderr, "%s\n", text);
    _exit(9);
}

/* What body() in a forked child exits with; -signal if it was killed. */
static int run_in_child(void (*body)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        tr__check_handler = fail_check;
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void yields_and_resumes_alternate(void **state)
{
    (void)state;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job jobs[2] = {{.steps = 2, .number = 0}, {.steps = 1, .number = 1}};
    trail[0] = '\0';
    for (int i = 0; i < 2; i++) {
        jobs[i].fiber = tr__fiber_create(pool, 0, walk, &jobs[i]);
        assert_non_null(jobs[i].fiber);
    }
    assert_string_equal(trail, "");
    assert_false(tr__fiber_resume(jobs[0].fiber));
    leave_mark('-');
    assert_false(tr__fiber_resume(jobs[1].fiber));
    assert_false(tr__fiber_resume(jobs[0].fiber));
    assert_true(tr__fiber_resume(jobs[1].fiber));
    leave_mark('-');
    assert_true(tr__fiber_resume(jobs[0].fiber));
    assert_string_equal(trail, "a-baB-A");
    for (int i = 0; i < 2; i++)
        tr__fiber_destroy(jobs[i].fiber);
    tr__fiber_pool_destroy(pool);
}

static void ten_thousand_suspended_keep_their_locals(void **state)
{
    (void)state;
    const int count = RUNNING_ON_VALGRIND ? FEW : MANY;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job *jobs = tr__zalloc(count * sizeof *jobs);
    for (int i = 0; i < count; i++) {
        jobs[i].number = i;
        jobs[i].steps = 2;
        jobs[i].fiber = tr__fiber_create(pool, 0, keep_locals, &jobs[i]);
        assert_non_null(jobs[i].fiber);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < count; i++)
            assert_int_equal(tr__fiber_resume(jobs[i].fiber), round == 2);
    }
    for (int i = 0; i < count; i++) {
        assert_int_equal(jobs[i].sum, sum_of_locals(i));
        tr__fiber_destroy(jobs[i].fiber);
    }
    tr__free(jobs);
    tr__fiber_pool_destroy(pool);
}

static void beyond_the_guards_fibers_still_work(void **state)
{
    (void)state;
#if defined(TR__TOOLS_ASAN) || defined(TR__TOOLS_TSAN)
    skip();
#else
    enum { COUNT = 17000 };
    if (RUNNING_ON_VALGRIND)
        skip();
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job *jobs = tr__zalloc(COUNT * sizeof *jobs);
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (job){.number = i, .steps = 1};
        jobs[i].fiber = tr__fiber_create(pool, 0, keep_locals, &jobs[i]);
        assert_non_null(jobs[i].fiber);
        assert_false(tr__fiber_resume(jobs[i].fiber));
    }
    for (int i = 0; i < COUNT; i++) {
        assert_true(tr__fiber_resume(jobs[i].fiber));
        assert_int_equal(jobs[i].sum, sum_of_locals(i));
        tr__fiber_destroy(jobs[i].fiber);
    }
    tr__free(jobs);
    tr__fiber_pool_destroy(pool);
#endif
}

static void a_stack_is_used_again_by_the_next_of_its_size(void **state)
{
    (void)state;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job j = {.steps = 0};
    tr__fiber *first = tr__fiber_create(pool, 0, walk, &j);
    tr__fiber *larger = tr__fiber_create(pool, 256 * 1024, walk, &j);
    tr__fiber_destroy(first);
    tr__fiber *second = tr__fiber_create(pool, 0, walk, &j);
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(larger, second);
    tr__fiber_destroy(larger);
    tr__fiber_destroy(second);
    tr__fiber_pool_destroy(pool);
}

static void one_destroyed_while_suspended_leaves_a_clean_stack(void **state)
{
    (void)state;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    for (int i = 0; i < MANY; i++) {
        job j = {.number = i, .steps = 1 + i % 40};
        j.fiber = tr__fiber_create(pool, 0, i % 2 ? go_deep : keep_locals, &j);
        assert_false(tr__fiber_resume(j.fiber));
        if (i % 3 == 0) {
            while (!tr__fiber_resume(j.fiber)) {
            }
        }
        tr__fiber_destroy(j.fiber);
    }
    tr__fiber_pool_destroy(pool);
}

static void one_never_resumed_can_be_destroyed(void **state)
{
    (void)state;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    tr__fiber_destroy(tr__fiber_create(pool, 0, walk, NULL));
    tr__fiber_destroy(NULL);
    tr__fiber_pool_destroy(pool);
    tr__fiber_pool_destroy(NULL);
}

static void deep_locals_survive_a_yield(void **state)
{
    (void)state;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job j = {.steps = 1000};
    j.fiber = tr__fiber_create(pool, 512 * 1024, go_deep, &j);
    assert_false(tr__fiber_resume(j.fiber));
    assert_true(tr__fiber_resume(j.fiber));
    assert_int_equal(j.sum, 1000 * 1001 / 2);
    tr__fiber_destroy(j.fiber);
    tr__fiber_pool_destroy(pool);
}

static void overflow_body(void)
{
    static char own_stack[64 * 1024];
    stack_t stack = {.ss_sp = own_stack, .ss_size = sizeof own_stack};
    struct sigaction action = {.sa_sigaction = overflow_seen, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job j = {0};
    j.fiber = tr__fiber_create(pool, 0, overflow, &j);
    /* Mapped after it, so below it: without a guard the overflow would go on into these. */
    for (int i = 0; i < 4; i++)
        tr__fiber_create(pool, 0, walk, NULL);
    guard_end = j.fiber->bottom;
    tr__fiber_resume(j.fiber);
}

static void an_overflow_hits_the_guard(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(overflow_body), 7);
}

static void resume_within_body(void *arg)
{
    tr__fiber_resume(arg);
}

static void nested_resume_body(void)
{
    tr__fiber_pool *pool = tr__fiber_pool_create();
    job j = {.steps = 1};
    tr__fiber *inner = tr__fiber_create(pool, 0, walk, &j);
    tr__fiber_resume(tr__fiber_create(pool, 0, resume_within_body, inner));
}

static void a_resume_within_a_fiber_is_a_failed_check(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(nested_resume_body), 9);
}

static void destroy_pool_in_use_body(void)
{
    tr__fiber_pool *pool = tr__fiber_pool_create();
    tr__fiber_create(pool, 0, walk, NULL);
    tr__fiber_pool_destroy(pool);
}

static void a_pool_with_living_fibers_does_not_go(void **state)
{
    (void)state;
    assert_int_equal(run_in_child(destroy_pool_in_use_body), 9);
}

static void no_memory_body(void)
{
    struct rlimit limit = {0, 0};
    tr__fiber_pool *pool = tr__fiber_pool_create();
    setrlimit(RLIMIT_AS, &limit);
    _exit(tr__fiber_create(pool, 0, walk, NULL) == NULL ? 5 : 6);
}

static void no_memory_or_an_absurd_size_gives_no_fiber(void **state)
{
    (void)state;
    tr__fiber_pool *pool = tr__fiber_pool_create();
    assert_null(tr__fiber_create(pool, SIZE_MAX, walk, NULL));
    tr__fiber_pool_destroy(pool);
    tr__alloc_fail_at(1);
    assert_null(tr__fiber_pool_create());
    tr__alloc_fail_at(0);
#if !defined(TR__TOOLS_ASAN) && !defined(TR__TOOLS_TSAN)
    assert_int_equal(run_in_child(no_memory_body), 5);
#else
    (void)no_memory_body;
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yields_and_resumes_alternate),
        cmocka_unit_test(ten_thousand_suspended_keep_their_locals),
        cmocka_unit_test(beyond_the_guards_fibers_still_work),
        cmocka_unit_test(a_stack_is_used_again_by_the_next_of_its_size),
        cmocka_unit_test(one_destroyed_while_suspended_leaves_a_clean_stack),
        cmocka_unit_test(one_never_resumed_can_be_destroyed),
        cmocka_unit_test(deep_locals_survive_a_yield),
        cmocka_unit_test(an_overflow_hits_the_guard),
        cmocka_unit_test(a_resume_within_a_fiber_is_a_failed_check),
        cmocka_unit_test(a_pool_with_living_fibers_does_not_go),
        cmocka_unit_test(no_memory_or_an_absurd_size_gives_no_fiber),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
