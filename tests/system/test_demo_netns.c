/* `troupe demo --netns`: each node in a network namespace of its own. Skipped, with the reason, where that can't be:
 * without root, without `ip`, or where the kernel refuses. Others may run a demo at the same time, so each test looks
 * for its own demo's names. */
#include <net/if.h>

#include "demo_kit.h"

/* ---- assertions ---------------------------------------------------------------------------------------- */

/* Why there can be no namespaces here; NULL: there can. */
static const char *why_not(void)
{
    char command[160];
    if (geteuid() != 0)
        return "not root";
    snprintf(command, sizeof(command),
             "ip netns add trt-%ld 2>/dev/null && ip -n trt-%ld link add name br0 type bridge 2>/dev/null",
             (long)getpid(), (long)getpid());
    bool works = system(command) == 0;
    snprintf(command, sizeof(command), "ip netns del trt-%ld 2>/dev/null", (long)getpid());
    return system(command) == 0 && works ? NULL : "`ip netns` doesn't work here";
}

#define NEEDS_NAMESPACES()                       \
    do {                                         \
        const char *why = why_not();             \
        if (why) {                               \
            print_message("skipped: %s\n", why); \
            skip();                              \
        }                                        \
    } while (0)

/* Namespaces and links with the name of that process's demo. */
static int names_of(pid_t pid)
{
    char name[40];
    int count = 0;
    snprintf(name, sizeof(name), "trd-%ld", (long)pid);
    count += if_nametoindex(name) != 0;
    snprintf(name, sizeof(name), "trd-%ld-", (long)pid);
    DIR *directory = opendir("/run/netns");
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += strncmp(entry->d_name, name, strlen(name)) == 0;
    if (directory)
        closedir(directory);
    return count;
}

/* Runs it; its id is known before it ends. */
static int run_known(demo *d, pid_t *pid, const char *const *arguments)
{
    start(d, arguments);
    *pid = d->pid;
    return status_of_end(d);
}

#define RUN_KNOWN(d, pid, ...) run_known(d, pid, (const char *const[]){__VA_ARGS__, NULL})

static void assert_names_gone(demo *d, pid_t pid)
{
    assert_int_equal(0, names_of(pid));
    assert_nothing_left(d);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void in_namespaces_all_holds_and_nothing_is_left(void **state)
{
    demo *d = *state;
    pid_t pid;
    NEEDS_NAMESPACES();
    int status = RUN_KNOWN(d, &pid, "--json", "--files", FILES, "--netns");
    json_t *s = summary(d);
    assert_all_held(d, status, s);
    assert_int_equal(1, at(s, "namespaces"));
    assert_int_equal(1, at(s, "nothing_left"));
    assert_int_equal(1, at(s, "crash.kills"));
    assert_int_equal(3, at(s, "crash.asks_failed"));
    const char *alice =
        json_string_value(json_object_get(json_object_get(json_object_get(s, "nodes"), "alice"), "listen"));
    assert_int_not_equal(0, strncmp(alice, "127.", 4));
    json_decref(s);
    assert_names_gone(d, pid);
}

/* The interface goes down, so nothing is reset: the silence has to be noticed, which takes 4 to 5 s. */
static void a_node_that_is_cut_off_is_missed_and_met_again(void **state)
{
    demo *d = *state;
    pid_t pid;
    NEEDS_NAMESPACES();
    int status = RUN_KNOWN(d, &pid, "--json", "--files", FILES, "--netns", "--partition");
    json_t *s = summary(d);
    assert_all_held(d, status, s);
    assert_int_equal(1, at(s, "crash.ok"));
    assert_int_equal(0, at(s, "crash.kills"));
    assert_int_equal(1, at(s, "crash.cuts"));
    assert_int_equal(3, at(s, "crash.asks_failed"));
    assert_in_range(at(s, "crash.detected_ms"), 3000, 25000);
    assert_in_range(at(s, "crash.healed_ms"), at(s, "crash.detected_ms"), 60000);
    json_decref(s);
    assert_names_gone(d, pid);
}

static void what_a_killed_demo_left_is_removed_by_the_next(void **state)
{
    demo *d = *state;
    NEEDS_NAMESPACES();
    start(d, (const char *const[]){"--json", "--files", FILES, "--netns", NULL});
    pid_t pid = d->pid;
    assert_said(d, "GET /list");
    assert_int_equal(5, names_of(pid)); /* three nodes, the bridge, and the interface of this host */
    kill_demo(d);
    assert_true(names_of(pid) > 0);
    pid_t next;
    assert_went_well(d, RUN_KNOWN(d, &next, "--json", "--files", FILES, "--netns", "--no-kill"));
    assert_names_gone(d, pid);
    assert_names_gone(d, next);
}

/* One process of the demo that doesn't listen to SIGTERM. */
static void stop_bob(demo *d)
{
    const char *text = strstr(d->output, "bob up, process ");
    assert_non_null(text);
    assert_int_equal(0, kill((pid_t)atol(text + strlen("bob up, process ")), SIGSTOP));
}

static void sigterm_removes_all_even_if_a_node_hangs(void **state)
{
    demo *d = *state;
    NEEDS_NAMESPACES();
    start(d, (const char *const[]){"--json", "--files", FILES, "--netns", NULL});
    pid_t pid = d->pid;
    assert_said(d, "bob up,");
    stop_bob(d);
    stop_as_said(d, "web app", SIGTERM);
    assert_names_gone(d, pid);
}

static void ctrl_c_while_bob_is_cut_off_removes_all(void **state)
{
    demo *d = *state;
    NEEDS_NAMESPACES();
    start(d, (const char *const[]){"--json", "--files", FILES, "--netns", "--partition", NULL});
    pid_t pid = d->pid;
    stop_as_said(d, "bob is cut off", SIGINT);
    assert_names_gone(d, pid);
}

static void what_is_missing_is_named(void **state)
{
    demo *d = *state;
    NEEDS_NAMESPACES();
    char *path = strdup(getenv("PATH"));
    setenv("PATH", "/nonexistent", 1);
    int status = RUN(d, "--netns");
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(1, status);
    assert_non_null(strstr(d->output, "iproute2"));
    assert_nothing_left(d);
}

static void without_root_it_says_so(void **state)
{
    demo *d = *state;
    const char *program = getenv("TROUPE_BIN") ? getenv("TROUPE_BIN") : "bin/troupe";
    d->user = geteuid() == 0 ? 65534 : 0;
    int status = RUN(d, "--netns");
    if (status == 127) {
        print_message("skipped: %s can't be run by others than root\n", program);
        skip();
    }
    assert_int_equal(1, status);
    assert_non_null(strstr(d->output, "root"));
    assert_nothing_left(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(in_namespaces_all_holds_and_nothing_is_left),
        TEST(a_node_that_is_cut_off_is_missed_and_met_again),
        TEST(what_a_killed_demo_left_is_removed_by_the_next),
        TEST(sigterm_removes_all_even_if_a_node_hangs),
        TEST(ctrl_c_while_bob_is_cut_off_removes_all),
        TEST(what_is_missing_is_named),
        TEST(without_root_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
