/* Fibers by the hundred thousand, suspended: what each costs, and that each goes on; and one that overflows its stack. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/kit/manual.h"

#include "actors/fibers/tools.h"

#if defined(TR__TOOLS_ASAN) || defined(TR__TOOLS_TSAN)
#define FIBERS 2000
#else
#define FIBERS 100000
#endif

static uint64_t resident(void)
{
    unsigned long long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%llu %llu", &size, &pages), 2);
    fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static tr_addr keeper, fibers[FIBERS];
static uint64_t sum;

/* Half of them wait for a message, half for an answer that never comes by itself. */
static tr_err waits(tr_actor *self, void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg;
    if (number % 2) {
        const mark *m;
        TR_TRY(tr_await(self, tr_ask(self, keeper, TR_FOREVER, mark, .n = number), mark, &m));
        sum += m->n;
    } else {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        sum += msg ? tr_match(msg, mark)->n : 0;
    }
    return TR_OK;
}

TR_ACTOR(waits_def, .run = waits);

static tr_msg *asks[FIBERS];
static size_t asked;

static void keeps(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_msg_ask_number(msg)) {
        asks[asked++] = tr_msg_take(self, msg);
        return;
    }
    for (size_t i = 0; i < asked; i++) {
        tr_reply(self, asks[i], mark, .n = 1);
        tr_msg_free(self, &asks[i]);
    }
}

TR_ACTOR(keeps_def, .receive = keeps, .mailbox_places = 60000);

static void a_hundred_thousand_suspended_fibers_go_on(void **state)
{
    (void)state;
    manual *m = manual_open(1);
    keeper = manual_spawn_def(m, 0, &keeps_def, NULL, NULL);
    manual_pump(m);
    uint64_t before = resident();
    for (size_t i = 0; i < FIBERS; i++) {
        fibers[i] = manual_spawn_def(m, 0, &waits_def, (void *)i, NULL);
        if (i % 1000 == 0)
            manual_pump(m);
    }
    manual_pump(m);
    uint64_t each = (resident() - before) / FIBERS;
    print_message("%d suspended fibers: %llu bytes each\n", FIBERS, (unsigned long long)each);
#if !defined(TR__TOOLS_ASAN) && !defined(TR__TOOLS_TSAN)
    if (!getenv("LD_PRELOAD")) /* under valgrind it is valgrind's memory */
        assert_in_range(each, 4096, 6144);
#endif
    manual_step(m, TR_SECONDS(2)); /* nobody of them is in a cycle */
    for (size_t i = 0; i < FIBERS; i += 2)
        manual_mark(m, fibers[i], 1);
    manual_mark(m, keeper, 0);
    manual_pump(m);
    assert_int_equal(sum, FIBERS);
    manual_check(m);
    manual_close(m);
}

/* ---- overflow ------------------------------------------------------------------------------------------ */

__attribute__((noinline)) static uint64_t eat(volatile char *before, uint64_t depth)
{
    volatile char here[512];
    here[depth % 512] = before ? before[0] : 1;
    return depth > UINT32_MAX ? 0 : eat(here, depth + 1) + (uint64_t)here[1];
}

static tr_err eats(tr_actor *self, void *arg)
{
    (void)arg;
    return eat(NULL, 0) == tr_random(self) ? TR_OK : TR_EAPP;
}

TR_ACTOR(glutton, .run = eats, .stack_size = 32 * 1024);

static tr_err starts_it(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn(self, &glutton, NULL);
    return tr_sleep(self, TR_SECONDS(10));
}

static void a_fiber_that_overflows_is_named_and_the_process_ends(void **state)
{
    (void)state;
    int ends[2], status;
    char text[4096];
    size_t length = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {"program", "--name", "eater", "--operator", "none", NULL};
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        _exit(tr_main(5, argv, starts_it, NULL));
    }
    close(ends[1]);
    for (ssize_t got;
         length < sizeof(text) - 1 && (got = read(ends[0], text + length, sizeof(text) - 1 - length)) > 0;)
        length += (size_t)got;
    text[length] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!strstr(text, "troupe: node eater: the fiber glutton <") ||
        !strstr(text, "has overflown its stack of "))
        fail_msg("status %d: %s", status, text);
#if !defined(TR__TOOLS_ASAN) && !defined(TR__TOOLS_TSAN)
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fiber_that_overflows_is_named_and_the_process_ends), /* before there are threads */
        cmocka_unit_test(a_hundred_thousand_suspended_fibers_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
