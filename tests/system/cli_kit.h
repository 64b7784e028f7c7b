/* What the tests of the program's commands share: running them as a shell does, with what they print kept,
 * and running one to be signalled. Included by one file a program. */
#ifndef TESTS_SYSTEM_CLI_KIT_H
#define TESTS_SYSTEM_CLI_KIT_H

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char cli_directory[64]; /* where commands run; the first thing to fill in */

static inline int exit_status(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* The exit status of a shell command in that directory, where $T is the program; its output goes to the files
 * `out` and `err`. */
static inline int sh(const char *format, ...)
{
    char command[2048], whole[2300];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    snprintf(whole, sizeof(whole), "cd %s && { T='%s'; %s\n} >out 2>err", cli_directory, getenv("TROUPE_BIN"),
             command);
    return exit_status(system(whole));
}

static inline const char *content(const char *name)
{
    static char text[2][65536];
    static int which;
    char path[256];
    char *into = text[which ^= 1];
    snprintf(path, sizeof(path), "%s/%s", cli_directory, name);
    FILE *file = fopen(path, "r");
    size_t length = file ? fread(into, 1, sizeof(text[0]) - 1, file) : 0;
    into[length] = 0;
    if (file)
        fclose(file);
    return into;
}

static inline void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" isn't in: %s", part, text);
}

/* Start a shell command as `sh` runs it; the pid is the program's if the command is `exec $T ...`. */
static inline pid_t start_sh(const char *command)
{
    char whole[2300];
    snprintf(whole, sizeof(whole), "cd %s; T='%s'; exec >out 2>err; %s", cli_directory, getenv("TROUPE_BIN"),
             command);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", whole, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    return pid;
}

static inline int end_of(pid_t pid)
{
    int status;
    for (int i = 0; i < 3000; i++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return exit_status(status);
        poll(NULL, 0, 10);
    }
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    fail_msg("it didn't end within 30 s; it said: %s", content("err"));
    return -1;
}

/* Until a file of that name has something in it; ten seconds at most. */
static inline bool has_content(const char *name)
{
    for (int i = 0; i < 1000 && !content(name)[0]; i++)
        poll(NULL, 0, 10);
    return content(name)[0] != 0;
}

#endif
