/* `troupe demo` as a newcomer runs it, only smaller: with a crash and without, stopped in its middle, left
 * running, and called wrongly. The program is run with a TMPDIR of its own, so that what it leaves is seen;
 * and this process is the reaper of orphans, so that whom it leaves is seen too. */
#include "demo_kit.h"

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
    assert_no_wrong_address(s);
    json_decref(s);
    assert_nothing_left(d);
}

static void stop_when(demo *d, const char *said, int number)
{
    start(d, (const char *const[]){"--json", "--files", FILES, NULL});
    stop_as_said(d, said, number);
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

/* It is heard while the node runs, ends its actors, and closes its loops. */
static void ctrl_c_again_and_again_leaves_nothing(void **state)
{
    demo *d = *state;
    start(d, (const char *const[]){"--json", "--files", FILES, NULL});
    assert_said(d, "GET /list");
    for (int i = 0; i < 50; i++) {
        kill(d->pid, SIGINT);
        poll(NULL, 0, 10);
    }
    stop_as_said(d, "GET /list", SIGINT);
}

static void sigterm_leaves_nothing(void **state)
{
    stop_when(*state, "bob up,", SIGTERM);
}

/* What a library leaves there of a node that is killed then goes with the demo's own directory. */
static void its_nodes_have_their_tmpdir_in_its_own(void **state)
{
    demo *d = *state;
    char path[64], expected[128], environment[16384];
    long pid = 0;
    start(d, (const char *const[]){"--json", "--files", FILES, NULL});
    assert_said(d, "alice up, process ");
    assert_said(d, "bob up");
    sscanf(strstr(d->output, "alice up, process "), "alice up, process %ld", &pid);
    snprintf(path, sizeof(path), "/proc/%ld/environ", pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t size = fread(environment, 1, sizeof(environment), file);
    fclose(file);
    snprintf(expected, sizeof(expected), "TMPDIR=%s/troupe-demo-%ld-", d->tmp, (long)d->pid);
    assert_non_null(memmem(environment, size, expected, strlen(expected)));
    stop_as_said(d, "bob up", SIGTERM);
}

/* Then nobody can clean up its files; but the nodes don't live on, and the next demo does. */
static void a_killed_demos_nodes_end_and_the_next_removes_its_files(void **state)
{
    demo *d = *state;
    start(d, (const char *const[]){"--json", "--files", FILES, NULL});
    assert_said(d, "GET /list");
    kill_demo(d);
    assert_entries(d, 1, d->tmp);
    assert_went_well(d, RUN(d, "--json", "--files", FILES, "--no-kill"));
    assert_nothing_left(d);
}

static void what_is_not_a_dead_demos_own_directory_stays(void **state)
{
    demo *d = *state;
    static const char *const names[] = {"troupe-demo-1-1-abcdef", "troupe-demo-notes", "other"};
    char path[200], precious[160];
    snprintf(precious, sizeof(precious), "%s/precious", d->home);
    assert_int_equal(0, mkdir(precious, 0700));
    snprintf(path, sizeof(path), "%s/%s", precious, "file");
    close(open(path, O_WRONLY | O_CREAT, 0600));
    snprintf(path, sizeof(path), "%s/%s", d->tmp, names[0]); /* named as one, but a link to what is not */
    assert_int_equal(0, symlink(precious, path));
    for (int i = 1; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", d->tmp, names[i]);
        assert_int_equal(0, mkdir(path, 0700));
    }
    snprintf(path, sizeof(path), "%s/troupe-demo-1-1-others", d->tmp); /* that others may look into */
    assert_int_equal(0, mkdir(path, 0755));
    assert_int_equal(0, chmod(path, 0755));
    assert_went_well(d, RUN(d, "--json", "--files", FILES, "--no-kill"));
    assert_entries(d, 4, d->tmp);
    assert_entries(d, 1, precious);
}

static void kept_nodes_live_on_until_they_are_told_to_end(void **state)
{
    demo *d = *state;
    static const char *const names[] = {"alice", "bob", "carol"};
    int status = RUN(d, "--json", "--files", FILES, "--no-kill", "--keep");
    json_t *s = summary(d);
    assert_all_held(d, status, s);
    assert_entries(d, 1, d->tmp);
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
    assert_went_well(d, RUN(d, "--json", "--files", FILES, "--no-kill"));
    assert_entries(d, 1, d->tmp); /* that is for its owner to remove */
}

static void a_pipe_gets_plain_lines(void **state)
{
    demo *d = *state;
    assert_went_well(d, RUN(d, "--files", FILES, "--no-kill"));
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
    REFUSED(d, 2, "--netns", "--partition");
    REFUSED(d, 2, "--keep", "--netns", "--keep");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_a_crash_all_of_it_holds),
        TEST(without_a_crash_all_of_it_holds),
        TEST(ctrl_c_at_the_start_leaves_nothing),
        TEST(ctrl_c_in_the_middle_leaves_nothing),
        TEST(ctrl_c_while_bob_is_dead_leaves_nothing),
        TEST(ctrl_c_while_all_cores_compute_leaves_nothing),
        TEST(ctrl_c_again_and_again_leaves_nothing),
        TEST(sigterm_leaves_nothing),
        TEST(its_nodes_have_their_tmpdir_in_its_own),
        TEST(a_killed_demos_nodes_end_and_the_next_removes_its_files),
        TEST(what_is_not_a_dead_demos_own_directory_stays),
        TEST(kept_nodes_live_on_until_they_are_told_to_end),
        TEST(a_pipe_gets_plain_lines),
        TEST(bad_options_are_refused_by_name),
        TEST(a_place_for_files_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
