/* What the tests of the compute actor share. Each test runs a node whose first actor is a fiber; what that
 * finds wrong it notes in `failure`, and the main thread asserts afterwards, also that no process and no
 * descriptor is left. Processes of a test are known by TR_TEST_MARK in their environment. Included by one
 * file a program. */
#ifndef TR_TESTS_COMPUTE_KIT_H
#define TR_TESTS_COMPUTE_KIT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/compute.h>
#include <troupe/node.h>

#define LONG TR_SECONDS(30)

static char failure[1024];
static char mark[64];
static char directory[] = "/tmp/test_compute_XXXXXX";

/* ---- helpers ------------------------------------------------------------------------------------------- */

#define EXPECT(condition, ...)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            int used_ = snprintf(failure, sizeof(failure), "line %d: %s: ", __LINE__, #condition); \
            snprintf(failure + used_, sizeof(failure) - (size_t)used_, __VA_ARGS__);               \
            return TR_EAPP;                                                                        \
        }                                                                                          \
    } while (0)

static inline void log_nothing(void *context, tr_log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

static inline int count_entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* Call `each` for every process of this test; how many there are. */
static inline int marked(int signal)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; (e = readdir(proc));) {
        char path[300], environment[16384];
        snprintf(path, sizeof(path), "/proc/%s/environ", e->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t size = fd < 0 ? 0 : read(fd, environment, sizeof(environment));
        if (fd >= 0)
            close(fd);
        if (size <= 0 || atoi(e->d_name) == getpid() ||
            !memmem(environment, (size_t)size, mark, strlen(mark)))
            continue;
        count++;
        if (signal)
            kill(atoi(e->d_name), signal);
    }
    closedir(proc);
    return count;
}

/* Wait until so many processes of this test are there, ten seconds at most. */
static inline bool marked_become(tr_actor *self, int count)
{
    for (int i = 0; i < 1000 && marked(0) != count; i++)
        if (tr_sleep(self, TR_MILLIS(10)) != TR_OK)
            return false;
    return marked(0) == count;
}

static inline void run(tr_err (*start)(tr_actor *self, void *arg))
{
    failure[0] = '\0';
    int descriptors = count_entries("/proc/self/fd");
    tr_error error = {.code = TR_OK};
    tr_node *node = tr_node_create(&(tr_node_opts){.start = start, .log = log_nothing}, &error);
    assert_non_null(node);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (failure[0])
        print_error("%s\n", failure);
    else if (err != TR_OK)
        print_error("%s\n", error.text);
    assert_string_equal(failure, "");
    assert_int_equal(err, TR_OK);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    /* A killed group is on its way out; how long that takes is the kernel's business. */
    for (int i = 0; i < 2000 && marked(0) != 0; i++)
        poll(NULL, 0, 1);
    assert_int_equal(marked(0), 0);
    assert_int_equal(count_entries("/proc/self/fd"), descriptors);
}

static inline bool equal(tr_bytes bytes, const char *text)
{
    return bytes.size == strlen(text) && (!bytes.size || memcmp(bytes.data, text, bytes.size) == 0);
}

#define SHELL(script) .argv = TR_ARGV("sh", "-c", script), .environment = TR_ARGV(mark)

#define EXPECT_ERROR(future, error_, part)                                                \
    do {                                                                                  \
        tr_err got_ = tr_await_msg(self, future, NULL);                                   \
        EXPECT(got_ == (error_), "%s: %s", tr_err_word(got_), tr_last_error(self)->text); \
        EXPECT(strstr(tr_last_error(self)->text, part), "%s", tr_last_error(self)->text); \
    } while (0)

static inline tr_err nothing(tr_actor *self, void *arg)
{
    (void)self;
    (void)arg;
    return TR_OK;
}

static inline int compute_prepare(void **state)
{
    (void)state;
    /* libuv keeps two descriptors for the life of the process: have them before any are counted. */
    tr_error error;
    tr_node *node = tr_node_create(&(tr_node_opts){.start = nothing, .log = log_nothing}, &error);
    if (!node || tr_node_run(node, &error) != TR_OK)
        return -1;
    tr_node_destroy(node);
    snprintf(mark, sizeof(mark), "TR_TEST_MARK=test_compute.%d.", (int)getpid());
    return mkdtemp(directory) ? 0 : -1;
}

static inline int compute_tidy(void **state)
{
    (void)state;
    return rmdir(directory);
}

#endif
