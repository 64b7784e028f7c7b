/* `troupe demo` under test: the program with a TMPDIR of its own, so that what it leaves is seen; this process is the
 * reaper of orphans, so that whom it leaves is seen too. For one test program; the main thread. */
#ifndef TR_TEST_DEMO_KIT_H
#define TR_TEST_DEMO_KIT_H

#include <dirent.h>
#include <errno.h>
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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#define OUTPUT_MAX  (4 * 1024 * 1024) /* a screen is drawn ten times a second */
#define LONGEST_S   90
#define ARGUMENTS   16
#define FILES       "20"
#define FILES_COUNT 20

/* ---- fixture: the program under way -------------------------------------------------------------------- */

typedef struct demo {
    char home[64], tmp[80], image[80]; /* tmp is its TMPDIR, image where the picture goes */
    pid_t pid;
    uid_t user; /* whom it runs as; 0: as we do */
    int out;
    char output[OUTPUT_MAX]; /* standard output and error so far */
    size_t used;
} demo;

static inline int setup(void **state)
{
    demo *d = calloc(1, sizeof(*d));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    strcpy(d->home, "/tmp/test_demo_XXXXXX");
    if (!mkdtemp(d->home))
        return -1;
    snprintf(d->tmp, sizeof(d->tmp), "%s/tmp", d->home);
    snprintf(d->image, sizeof(d->image), "%s/picture.png", d->home);
    d->out = -1;
    *state = d;
    return mkdir(d->tmp, 0700);
}

/* Whoever a failed test left running is our child by now, or will be when its parent has ended. */
static inline void kill_children(void)
{
    char path[64];
    long pid;
    snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%ld", &pid) == 1)
        kill((pid_t)pid, SIGKILL);
    if (children)
        fclose(children);
}

static inline int teardown(void **state)
{
    demo *d = *state;
    char command[128];
    kill_children();
    while (waitpid(-1, NULL, 0) > 0)
        kill_children();
    if (d->out >= 0)
        close(d->out);
    snprintf(command, sizeof(command), "rm -rf %s", d->home);
    int result = system(command);
    free(d);
    return result;
}

static inline void start(demo *d, const char *const *arguments)
{
    const char *argv[ARGUMENTS] = {"troupe", "demo", "--image", d->image};
    int out[2], count = 4;
    for (; *arguments; arguments++)
        argv[count++] = *arguments;
    assert_int_equal(0, pipe2(out, O_CLOEXEC));
    d->used = 0;
    d->pid = fork();
    if (d->pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        setenv("TMPDIR", d->tmp, 1);
        if (d->user && setresuid(d->user, d->user, d->user) != 0)
            _exit(127);
        execv(getenv("TROUPE_BIN") ? getenv("TROUPE_BIN") : "bin/troupe", (char *const *)argv);
        _exit(127);
    }
    close(out[1]);
    d->out = out[0];
}

static inline uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Read until `text` was said, or with NULL to the end. False: it ended, or time ran out, before. */
static inline bool read_until(demo *d, const char *text)
{
    uint64_t until = now_ms() + LONGEST_S * 1000;
    struct pollfd ready = {.fd = d->out, .events = POLLIN};
    while (!text || !strstr(d->output, text)) {
        uint64_t now = now_ms();
        if (now >= until || poll(&ready, 1, (int)(until - now)) != 1 || d->used == OUTPUT_MAX - 1)
            return false;
        ssize_t got = read(d->out, d->output + d->used, OUTPUT_MAX - 1 - d->used);
        if (got <= 0)
            return !text;
        d->used += (size_t)got;
        d->output[d->used] = 0;
    }
    return true;
}

/* Its exit status, or 1000 + the signal that ended it. */
static inline int status_of_end(demo *d)
{
    int status = 0;
    assert_true(read_until(d, NULL));
    assert_int_equal(d->pid, waitpid(d->pid, &status, 0));
    d->pid = 0;
    close(d->out);
    d->out = -1;
    if (WIFSIGNALED(status))
        print_error("the demo was ended by signal %d; it said: %s\n", WTERMSIG(status), d->output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static inline int run(demo *d, const char *const *arguments)
{
    start(d, arguments);
    return status_of_end(d);
}

#define RUN(d, ...) run(d, (const char *const[]){__VA_ARGS__, NULL})

/* ---- assertions ---------------------------------------------------------------------------------------- */

/* The end of what it said: a screen is long. */
static inline const char *last_words(const demo *d)
{
    return d->output + (d->used > 4000 ? d->used - 4000 : 0);
}

static inline void assert_entries(demo *d, int count, const char *path)
{
    char names[1024] = "";
    size_t used = 0;
    int found = 0;
    DIR *directory = opendir(path);
    for (struct dirent *e; directory && (e = readdir(directory));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        found++;
        if (used < sizeof(names))
            used += (size_t)snprintf(names + used, sizeof(names) - used, " %s", e->d_name);
    }
    if (directory)
        closedir(directory);
    if (found != count)
        fail_msg("%d entries, not %d, in %s:%s; the demo said: %s", found, count, path, names, last_words(d));
}

static inline void assert_said(demo *d, const char *text)
{
    if (!read_until(d, text))
        fail_msg("the demo didn't say \"%s\"; it said: %s", text, last_words(d));
}

static inline void assert_went_well(demo *d, int status)
{
    if (status != 0)
        fail_msg("the demo's exit status is %d; it said: %s", status, last_words(d));
}

/* Which process is left, by its command line. */
static inline void name_child(char *name, size_t room)
{
    char path[64];
    long pid = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%ld/children", (long)getpid());
    FILE *children = fopen(path, "re");
    if (children && fscanf(children, "%ld", &pid) == 1)
        snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    if (children)
        fclose(children);
    FILE *command = pid ? fopen(path, "re") : NULL;
    size_t size = command ? fread(name, 1, room - 1, command) : 0;
    if (command)
        fclose(command);
    for (size_t i = 0; i < size; i++)
        name[i] = name[i] ? name[i] : ' ';
    name[size] = 0;
}

static inline void assert_nothing_left(demo *d)
{
    char name[512];
    name_child(name, sizeof(name));
    pid_t left = waitpid(-1, NULL, WNOHANG);
    if (left != -1 || errno != ECHILD)
        fail_msg("a process is left (%ld): %s; the demo said: %s", (long)left, name, last_words(d));
    assert_entries(d, 0, d->tmp);
}

static inline json_t *summary(demo *d)
{
    char *end = d->output + d->used;
    assert_true(d->used > 0 && end[-1] == '\n');
    end[-1] = 0;
    char *line = strrchr(d->output, '\n');
    json_t *object = json_loads(line ? line + 1 : d->output, 0, NULL);
    if (!object)
        fail_msg("the last line is no JSON: %s", line ? line + 1 : d->output);
    assert_string_equal("first-light", json_string_value(json_object_get(object, "demo")));
    return object;
}

/* The number, or bool as 0 or 1, at "a.b.c". */
static inline long at(json_t *object, const char *path)
{
    char name[40];
    while (*path) {
        size_t length = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)length, path);
        object = json_object_get(object, name);
        path += length + (path[length] == '.');
    }
    if (!object)
        fail_msg("the summary has no %s", name);
    return json_is_boolean(object) ? json_is_true(object) : (long)json_number_value(object);
}

/* No message of the demo goes to an address that was wrong; those for the dead are called otherwise. */
static inline void assert_no_wrong_address(json_t *s)
{
    const char *name;
    json_t *node;
    json_object_foreach(json_object_get(s, "nodes"), name, node)
    {
        json_t *dead = json_object_get(json_object_get(node, "sums"), "dead_letters");
        if (json_object_get(dead, "no-actor"))
            fail_msg("%s has dead letters for actors that weren't there", name);
    }
}

static inline void assert_all_held(demo *d, int status, json_t *s)
{
    struct stat picture;
    if (status != 0 || !at(s, "ok"))
        fail_msg("exit status %d: %s", status, d->output);
    assert_int_equal(FILES_COUNT, at(s, "files.digests_equal"));
    assert_int_equal(1, at(s, "image.equal"));
    assert_int_equal(100, at(s, "pipeline.in_order"));
    assert_int_equal(1, at(s, "pipeline.connections"));
    assert_int_equal(1, at(s, "journals.equal"));
    assert_int_equal(2 * FILES_COUNT, at(s, "journals.entries"));
    assert_int_equal(1, at(s, "sums_add_up"));
    assert_int_equal(0, at(s, "web_latency.quiet.failed"));
    assert_in_range(at(s, "web_latency.busy.asked"), 10, 100000);
    assert_in_range(at(s, "first_message_ms"), 0, 20000); /* loose: with sanitizers, on a busy machine */
    assert_int_equal(0, stat(d->image, &picture));
}

/* Stopped by the signal when that was said: no process, no file, a summary that says so. */
static inline void stop_as_said(demo *d, const char *said, int number)
{
    assert_said(d, said);
    kill(d->pid, number);
    assert_int_equal(128 + number, status_of_end(d));
    assert_nothing_left(d);
    assert_int_equal(-1, access(d->image, F_OK));
}

/* kill -9; its nodes are our children then, and end. */
static inline void kill_demo(demo *d)
{
    kill(d->pid, SIGKILL);
    uint64_t until = now_ms() + LONGEST_S * 1000;
    while (waitpid(-1, NULL, 0) > 0)
        assert_true(now_ms() < until);
    assert_int_equal(ECHILD, errno);
    d->pid = 0;
    close(d->out);
    d->out = -1;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
