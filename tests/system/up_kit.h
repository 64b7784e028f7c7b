/* What the tests of `troupe up` share: a directory with a file, and the running program, with what it prints kept. Include
 * it after <cmocka.h>. */
#ifndef TESTS_SYSTEM_UP_KIT_H
#define TESTS_SYSTEM_UP_KIT_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITHIN_MS 30000

/* ---- fixture: a directory with a file, and `troupe up` ------------------------------------------------- */

static char directory[64];

typedef struct upping {
    pid_t pid;
    int out;
    char text[65536]; /* all that it printed */
    size_t used, seen;
} upping;

static upping up;

static inline int setup(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/troupe-up-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    memset(&up, 0, sizeof(up));
    return setenv("XDG_RUNTIME_DIR", directory, 1);
}

static inline int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", directory);
    return system(command);
}

static inline const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static inline void write_file(const char *name, const char *text)
{
    FILE *to = fopen(path_of(name), "w");
    assert_non_null(to);
    fputs(text, to);
    fclose(to);
}

/* Either may be NULL. */
static inline void up_start_with(const char *file, const char *option, const char *value)
{
    int pipes[2];
    assert_int_equal(0, pipe(pipes));
    up.pid = fork();
    if (up.pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        close(pipes[0]);
        execl(getenv("TROUPE_BIN"), "troupe", "up", file, option, value, NULL);
        _exit(127);
    }
    setpgid(up.pid, up.pid);
    close(pipes[1]);
    up.out = pipes[0];
}

static inline void up_start(const char *file, const char *option)
{
    up_start_with(file, option, NULL);
}

/* More of what it prints; false: it has closed its output. */
static inline bool read_more(void)
{
    struct pollfd ready = {.fd = up.out, .events = POLLIN};
    if (poll(&ready, 1, WITHIN_MS) != 1)
        fail_msg("nothing more within %d ms; so far: %s", WITHIN_MS, up.text);
    ssize_t got = read(up.out, up.text + up.used, sizeof(up.text) - 1 - up.used);
    if (got <= 0)
        return false;
    up.used += (size_t)got;
    up.text[up.used] = '\0';
    return true;
}

/* Wait until it prints that, behind what was waited for before; what follows it on its line. */
static inline const char *expect(const char *words)
{
    const char *at;
    while (!(at = strstr(up.text + up.seen, words)))
        if (!read_more())
            fail_msg("\"%s\" isn't in: %s", words, up.text + up.seen);
    at += strlen(words);
    while (!strchr(at, '\n'))
        if (!read_more())
            break;
    up.seen = (size_t)(at - up.text);
    return at;
}

static inline pid_t expect_up(const char *words)
{
    return (pid_t)atol(expect(words));
}

/* Its exit status, when it has ended; all that it printed is in up.text. */
static inline int up_status(void)
{
    int status;
    while (read_more())
        ;
    assert_int_equal(up.pid, waitpid(up.pid, &status, 0));
    close(up.out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline void assert_gone(pid_t pid)
{
    assert_true(pid > 0);
    assert_int_equal(-1, kill(pid, 0));
    assert_int_equal(ESRCH, errno);
}

#endif
