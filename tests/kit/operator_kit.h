/* What the tests of the operator's commands share: a runtime directory for each test, node processes (this same program, run
 * with a node's options), and `troupe` run by a shell. Included by one file a program. */
#ifndef TR_TESTS_KIT_OPERATOR_KIT_H
#define TR_TESTS_KIT_OPERATOR_KIT_H

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#define WITHIN_MS 20000

/* ---- fixture: a runtime directory, and nodes ----------------------------------------------------------- */

typedef struct part {
    pid_t pid;
    int in, out;
    char line[1024];
} part;

static char directory[64];

static inline int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/troupe-operator-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    return setenv("XDG_RUNTIME_DIR", directory, 1);
}

static inline int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

/* The next line that the process prints, but for what its watchdog says of a busy machine. */
static inline const char *next_line(part *p)
{
    struct pollfd ready = {.fd = p->out, .events = POLLIN};
    do {
        size_t used = 0;
        while (used < sizeof(p->line) - 1 && poll(&ready, 1, WITHIN_MS) == 1 &&
               read(p->out, p->line + used, 1) == 1 && p->line[used] != '\n')
            used++;
        p->line[used] = '\0';
    } while (strncmp(p->line, "warn: loop ", 11) == 0);
    return p->line;
}

/* Its options; it says where it listens when it is up. */
static inline void node_start(part *p, const char *const *options)
{
    const char *argv[16] = {"node"};
    int in[2], out[2];
    for (int i = 0; options[i]; i++)
        argv[i + 1] = options[i];
    assert_int_equal(0, pipe(in));
    assert_int_equal(0, pipe(out));
    p->pid = fork();
    if (p->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(out[1], STDERR_FILENO);
        close(in[1]);
        close(out[0]);
        execv("/proc/self/exe", (char *const *)argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    p->in = in[1];
    p->out = out[0];
}

static inline void node_end(part *p, int number)
{
    int status;
    kill(p->pid, number);
    assert_int_equal(p->pid, waitpid(p->pid, &status, 0));
    close(p->in);
    close(p->out);
    if (number == SIGTERM)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define START(p, ...) node_start((p), (const char *const[]){__VA_ARGS__, NULL})

static char printed[65536];

/* `troupe ...`: its exit status; what it printed is in `printed`. */
static inline int troupe(const char *arguments)
{
    char command[1024];
    snprintf(command, sizeof(command), "\"$TROUPE_BIN\" %s 2>&1", arguments);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    size_t length = fread(printed, 1, sizeof(printed) - 1, out);
    printed[length] = '\0';
    int status = pclose(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void assert_printed(const char *text)
{
    if (!strstr(printed, text))
        fail_msg("\"%s\" isn't in: %s", text, printed);
}

/* ---- main ---------------------------------------------------------------------------------------------- */

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The program as a node: it has options. It ends with the test. */
static inline int node_main(int argc, char **argv, tr_err (*start)(tr_actor *self, void *arg))
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return tr_main(argc, argv, start, NULL);
}

/* A node with options, which begins with `start`; without them the tests. */
#define OPERATOR_MAIN(start, ...)                         \
    int main(int argc, char **argv)                       \
    {                                                     \
        if (argc > 1)                                     \
            return node_main(argc, argv, start);          \
        signal(SIGPIPE, SIG_IGN);                         \
        const struct CMUnitTest tests[] = {__VA_ARGS__};  \
        return cmocka_run_group_tests(tests, NULL, NULL); \
    }

#endif
