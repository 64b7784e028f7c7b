/* `troupe demo` as a newcomer runs it, only smaller: with a crash and without, stopped in its middle, left
 * running, and called wrongly. The program is run with a TMPDIR of its own, so that what it leaves is seen;
 * and this process is the reaper of orphans, so that whom it leaves is seen too. */
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

#define OUTPUT_MAX  (256 * 1024)
#define LONGEST_S   90
#define ARGUMENTS   16
#define FILES       "20"
#define FILES_COUNT 20

/* ---- fixture: the program under way -------------------------------------------------------------------- */

typedef struct demo {
    char home[64], tmp[80], image[80]; /* tmp is its TMPDIR, image where the picture goes */
    pid_t pid;
    int out;
    char output[OUTPUT_MAX]; /* standard output and error so far */
    size_t used;
} demo;

static int setup(void **state)
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
static void kill_children(void)
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

static int teardown(void **state)
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

static void start(demo *d, const char *const *arguments)
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
        execv(getenv("TROUPE_BIN") ? getenv("TROUPE_BIN") : "bin/troupe", (char *const *)argv);
        _exit(127);
    }
    close(out[1]);
    d->out = out[0];
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Read until `text` was said, or with NULL to the end. False: it ended, or time ran out, before. */
static bool read_until(demo *d, const char *text)
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
static int status_of_end(demo *d)
{
    int status = 0;
    assert_true(read_until(d, NULL));
    assert_int_equal(d->pid, waitpid(d->pid, &status, 0));
    d->pid = 0;
    close(d->out);
    d->out = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int run(demo *d, const char *const *arguments)
{
    start(d, arguments);
    return status_of_end(d);
}

#define RUN(d, ...) run(d, (const char *const[]){__VA_ARGS__, NULL})

/* ---- assertions ---------------------------------------------------------------------------------------- */

static int entries_in(const char *path)
{
    int count = -2; /* . and .. */
    DIR *directory = opendir(path);
    while (directory && readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void assert_nothing_left(demo *d)
{
    assert_int_equal(-1, waitpid(-1, NULL, WNOHANG));
    assert_int_equal(ECHILD, errno);
    assert_int_equal(0, entries_in(d->tmp));
}

static json_t *summary(demo *d)
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
static long at(json_t *object, const char *path)
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

static void assert_all_held(demo *d, int status, json_t *s)
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
    assert_in_range(at(s, "web_latency.downloading.asked"), 10, 100000);
    assert_in_range(at(s, "first_message_ms"), 0, 20000); /* loose: with sanitizers, on a busy machine */
    assert_int_equal(0, stat(d->image, &picture));
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void with_a_crash_all_of_it_holds(void **state)
{
    demo *d = *state;
    int status = RUN(d, "--json", "--files", FILES);
    json_t *s = summary(d);
    assert_all_held(d, status, s);
    assert_int_equal(1, at(s, "nothing_left"));
    assert_int_equal(1, at(s, "crash.ok"));
    assert_int_equal(3, at(s, "crash.asks_failed"));
    assert_in_range(at(s, "crash.downloads_resumed"), 1, FILES_COUNT);
    assert_in_range(at(s, "crash.bytes_resumed"), 1, 100000000);
    json_decref(s);
    assert_nothing_left(d);
}

static void without_a_crash_all_of_it_holds(void **state)
{
    demo *d = *state;
    int status = RUN(d, "--json", "--files", FILES, "--no-kill", "--loops", "2");
    json_t *s = summary(d);
    assert_all_held(d, status, s);
    assert_true(json_is_null(json_object_get(s, "crash")));
    json_decref(s);
    assert_nothing_left(d);
}

/* Stopped by the signal when that was said: no process, no file, a summary that says so. */
static void stop_when(demo *d, const char *said, int number)
{
    start(d, (const char *const[]){"--json", "--files", FILES, NULL});
    assert_true(read_until(d, said));
    kill(d->pid, number);
    assert_int_equal(128 + number, status_of_end(d));
    assert_nothing_left(d);
    assert_int_equal(-1, access(d->image, F_OK));
}

static void ctrl_c_at_the_start_leaves_nothing(void **state)
{
    stop_when(*state, "first message", SIGINT);
}

static void ctrl_c_in_the_middle_leaves_nothing(void **state)
{
    stop_when(*state, "GET /list", SIGINT);
}

static void ctrl_c_while_bob_is_dead_leaves_nothing(void **state)
{
    stop_when(*state, "kill -9", SIGINT);
}

static void ctrl_c_while_all_cores_compute_leaves_nothing(void **state)
{
    stop_when(*state, "answers in order", SIGINT);
}

static void sigterm_leaves_nothing(void **state)
{
    stop_when(*state, "bob up,", SIGTERM);
}

/* Then nobody can clean up its files; but the nodes don't live on. */
static void the_nodes_end_when_the_demo_is_killed(void **state)
{
    demo *d = *state;
    start(d, (const char *const[]){"--json", "--files", FILES, NULL});
    assert_true(read_until(d, "GET /list"));
    kill(d->pid, SIGKILL);
    /* The end of the pipe comes when the last of them is gone: they have it as their standard output's reader
     * no more, so wait for them as the orphans they are now. */
    uint64_t until = now_ms() + LONGEST_S * 1000;
    pid_t pid;
    while ((pid = waitpid(-1, NULL, 0)) > 0)
        assert_true(now_ms() < until);
    assert_int_equal(ECHILD, errno);
    d->pid = 0;
}

static void kept_nodes_live_on_until_they_are_told_to_end(void **state)
{
    demo *d = *state;
    static const char *const names[] = {"alice", "bob", "carol"};
    int status = RUN(d, "--json", "--files", FILES, "--no-kill", "--keep");
    json_t *s = summary(d);
    assert_all_held(d, status, s);
    assert_int_equal(1, entries_in(d->tmp));
    for (int i = 0; i < 3; i++) {
        char path[40];
        snprintf(path, sizeof(path), "nodes.%s.process", names[i]);
        pid_t pid = (pid_t)at(s, path);
        assert_int_equal(0, kill(pid, 0));
        assert_int_equal(0, kill(pid, SIGTERM));
        assert_int_equal(pid, waitpid(pid, &status, 0)); /* ours, since its parent ended */
        assert_int_equal(0, status);
    }
    json_decref(s);
}

static void a_pipe_gets_plain_lines(void **state)
{
    demo *d = *state;
    assert_int_equal(0, RUN(d, "--files", FILES, "--no-kill"));
    assert_null(strchr(d->output, '\033'));
    assert_null(strchr(d->output, '\r'));
    assert_non_null(strstr(d->output, " look:  "));
    assert_non_null(strstr(d->output, " try:   "));
    assert_nothing_left(d);
}

static void assert_refused(demo *d, int expected, const char *said, const char *const *arguments)
{
    d->output[0] = 0;
    int status = run(d, arguments);
    if (status != expected || !strstr(d->output, said))
        fail_msg("exit status %d, not %d, or no \"%s\" in: %s", status, expected, said, d->output);
    assert_nothing_left(d);
}

#define REFUSED(d, expected, said, ...) \
    assert_refused(d, expected, said, (const char *const[]){__VA_ARGS__, NULL})

static void bad_options_are_refused_by_name(void **state)
{
    demo *d = *state;
    REFUSED(d, 2, "--nonsense", "--nonsense");
    REFUSED(d, 2, "--files", "--files", "0");
    REFUSED(d, 2, "--files", "--files", "many");
    REFUSED(d, 2, "--files", "--files");
    REFUSED(d, 2, "--loops", "--loops", "99");
    REFUSED(d, 2, "more", "more");
    REFUSED(d, 1, "--image", "--image", "/nonexistent/picture.png");
    REFUSED(d, 1, "--dir", "--dir", "/nonexistent");
    char empty[96];
    snprintf(empty, sizeof(empty), "%s/empty", d->home);
    assert_int_equal(0, mkdir(empty, 0700));
    REFUSED(d, 1, "--dir", "--dir", empty);
}

static void a_place_for_files_that_is_not_there_is_named(void **state)
{
    demo *d = *state;
    char tmp[sizeof(d->tmp)];
    strcpy(tmp, d->tmp);
    strcpy(d->tmp, "/nonexistent");
    int status = RUN(d, "--files", FILES);
    strcpy(d->tmp, tmp);
    assert_int_equal(1, status);
    assert_non_null(strstr(d->output, "TMPDIR"));
    assert_nothing_left(d);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_a_crash_all_of_it_holds),
        TEST(without_a_crash_all_of_it_holds),
        TEST(ctrl_c_at_the_start_leaves_nothing),
        TEST(ctrl_c_in_the_middle_leaves_nothing),
        TEST(ctrl_c_while_bob_is_dead_leaves_nothing),
        TEST(ctrl_c_while_all_cores_compute_leaves_nothing),
        TEST(sigterm_leaves_nothing),
        TEST(the_nodes_end_when_the_demo_is_killed),
        TEST(kept_nodes_live_on_until_they_are_told_to_end),
        TEST(a_pipe_gets_plain_lines),
        TEST(bad_options_are_refused_by_name),
        TEST(a_place_for_files_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
