/* `troupe up` as users meet it: what a wrong file is told, and real nodes that come up, are killed, come back, and end. No
 * process may be left, however it ends. */
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

#include "tests/system/up_kit.h"

/* ---- the file ------------------------------------------------------------------------------------------ */

static int check(const char *text)
{
    memset(&up, 0, sizeof(up));
    write_file("up.yaml", text);
    up_start(path_of("up.yaml"), "--check");
    return up_status();
}

/* libyaml alone would take hours for it. */
static void a_file_that_is_nested_deep_is_refused_at_once(void **state)
{
    size_t length = 1000 * 1000;
    char *text = malloc(length + 1);
    (void)state;
    memset(text, '[', length);
    text[length] = '\0';
    assert_int_equal(2, check(text));
    assert_non_null(strstr(up.text, "up.yaml:1:33: nested too deep"));
    free(text);
}

static void a_wrong_file_is_told_with_line_and_column(void **state)
{
    static const char *const wrong[][2] = {
        {"", "up.yaml:1:1: nothing is in it"},
        {"- a\n", "up.yaml:1:1: a mapping, `key: value`, is needed here"},
        {"nodes: [\n", "up.yaml:2:1: "},
        {"nodes:\n\t- name: a\n", "up.yaml:2:1: "},
        {"cluster: x\n", "up.yaml:1:10: `nodes:` is missing here"},
        {"nodes: []\n", "up.yaml:1:8: nodes: a list of 1 to 64 is needed"},
        {"nodes: 7\n", "up.yaml:1:8: nodes: a list is needed here"},
        {"nodes: [7]\n", "up.yaml:1:9: nodes: a mapping, `key: value`, is needed here"},
        {"nodes:\n  - name: [a]\n", "up.yaml:2:11: name: a text is needed here"},
        {"nodes:\n  - name: \"\"\n", "up.yaml:2:11: name: a text of 1 to 4096 bytes"},
        {"nodes:\n  - name: a\n    join: [[b]]\n", "up.yaml:3:12: join: a text is needed here"},
        {"nodes:\n  - name: a\n    apps:\n      - name: x\n        ide: y\n",
         "up.yaml:5:9: there is no key \"ide\" here; known are: name, id, peer"},
        {"nodes:\n  - name: a\n    isolate: yes\n",
         "up.yaml:3:5: there is no key \"isolate\" here; known are: name, listen"},
        {"nodes:\n  - name: a\nnode: 3\n",
         "up.yaml:3:1: there is no key \"node\" here; known are: cluster, key, nodes"},
        {"nodes:\n  - name: a\n    name: b\n", "up.yaml:3:5: a second \"name\""},
        {"nodes:\n  - loops: 1\n", "up.yaml:2:12: `name:` is missing here"},
        {"nodes:\n  - name: a\n    loops: x3\n", "up.yaml:3:12: loops: x3: a number from 1 to 64"},
        {"nodes:\n  - name: a\n    loops: 3.5\n", "up.yaml:3:12: loops: 3.5"},
        {"nodes:\n  - name: a\n    loops: 65\n", "up.yaml:3:12: loops: 65"},
        {"nodes:\n  - name: a\n    loops: -1\n", "up.yaml:3:12: loops: -1"},
        {"nodes:\n  - name: a\n    max_restarts: 0\n", "up.yaml:3:19: max_restarts: 0"},
        {"nodes:\n  - name: a\n    restart: always\n",
         "up.yaml:3:14: restart: one of permanent, transient, temporary"},
        {"nodes:\n  - name: two words\n", "up.yaml:2:11: the node's name"},
        {"cluster: a/b\nnodes:\n  - name: a\n", "up.yaml:1:10: the cluster's name"},
        {"nodes:\n  - name: a\n  - name: b\n  - name: a\n", "up.yaml:4:11: a second node is named \"a\""},
        {"nodes:\n  - name: a\n    listen: 8.8.8.8:1\n", "up.yaml:3:13: "},
        {"nodes:\n  - name: a\n    listen: here\n", "up.yaml:3:13: "},
        {"nodes:\n  - name: a\n    listen: 127.0.0.1:77\n  - name: b\n    listen: 127.0.0.1:77\n",
         "up.yaml:5:13: a listens on 127.0.0.1:77 already"},
        {"nodes:\n  - name: a\n    join: [b]\n  - name: b\n", "up.yaml:3:12: join: \"b\" is no node above"},
        {"nodes:\n  - name: a\n  - name: b\n    join:\n      - a\n      - c\n", "up.yaml:6:9: join: \"c\""},
        {"nodes:\n  - name: a\n    plugins: [up.yaml, no.so]\n", "up.yaml:3:24: plugin no.so: No such file"},
        {"key: no.key\nnodes:\n  - name: a\n", "up.yaml:1:6: "},
        {"key: up.yaml\nnodes:\n  - name: a\n", "up.yaml:1:6: "},
        {"nodes: &n\n  - name: a\n    join: *n\n", "up.yaml:3:5: no alias is taken here"},
        {"nodes:\n  - name: a\n---\nnodes:\n  - name: b\n", "up.yaml:4:1: a second document"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int status = check(wrong[i][0]);
        if (status != 2 || !strstr(up.text, wrong[i][1]) || !strstr(up.text, "up.yaml:"))
            fail_msg("%s\nstatus %d, and not \"%s\" but: %s", wrong[i][0], status, wrong[i][1], up.text);
    }
    up_start(path_of("none.yaml"), "--check");
    assert_int_equal(2, up_status());
}

static void each_key_is_taken(void **state)
{
    (void)state;
    int status = check(
        "cluster: x\nnodes:\n  - {name: a, listen: '127.0.0.1:0', loops: 2, restart: transient, log: debug,"
        " max_restarts: 3, within_s: 10, plugins: [up.yaml]}\n"
        "  - {name: b, join: [a, '127.0.0.1:7101', 'localhost:1'], restart: temporary}\n");
    if (status != 0 || !strstr(up.text, "2 nodes"))
        fail_msg("%s", up.text);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void the_sample_comes_up_and_ctrl_c_ends_it_in_reverse_order(void **state)
{
    char path[512];
    pid_t pids[3];
    (void)state;
    snprintf(path, sizeof(path), "%s/examples/up/up.yaml", getenv("TROUPE_SOURCE"));
    up_start(path, NULL);
    pids[0] = expect_up("alice = up: pid ");
    pids[1] = expect_up("bob   = up: pid ");
    pids[2] = expect_up("carol = up: pid ");
    assert_non_null(strstr(up.text + up.seen, "listens on 127.0.0.1:"));
    kill(-up.pid, SIGINT); /* as a terminal does: to the whole group */
    expect("carol = ended with status 0");
    expect("bob   = ended with status 0");
    expect("alice = ended with status 0");
    assert_int_equal(0, up_status());
    for (int i = 0; i < 3; i++)
        assert_gone(pids[i]);
    assert_null(strchr(up.text, '\033')); /* no colours into a pipe */
}

static void a_killed_node_comes_back_where_it_was(void **state)
{
    char where[128];
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n  - name: bob\n");
    up_start(path_of("up.yaml"), NULL);
    pid_t alice = expect_up("alice = up: pid ");
    sscanf(expect("listens on "), "%100s", where);
    pid_t bob = expect_up("bob   = up: pid ");
    up.seen = 0; /* which of the two is said first is open */
    expect("bob   | info: node alice is up");
    kill(alice, SIGKILL);
    expect("alice = ended by signal 9; starts again in 0.2 s");
    size_t killed = up.seen;
    pid_t again = expect_up("alice = up: pid ");
    assert_int_not_equal(alice, again);
    assert_memory_equal(where, expect("listens on "), strlen(where));
    up.seen = killed; /* as above */
    expect("bob   | info: node alice is up");
    kill(up.pid, SIGTERM);
    assert_int_equal(0, up_status());
    assert_gone(again);
    assert_gone(bob);
}

static void a_node_that_ends_too_often_ends_all(void **state)
{
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n  - {name: bob, max_restarts: 2, within_s: 3600}\n");
    up_start(path_of("up.yaml"), NULL);
    pid_t alice = expect_up("alice = up: pid ");
    kill(expect_up("bob   = up: pid "), SIGKILL);
    expect("starts again in 0.2 s");
    kill(expect_up("bob   = up: pid "), SIGKILL);
    expect("starts again in 0.4 s"); /* later each time */
    kill(expect_up("bob   = up: pid "), SIGKILL);
    expect("more than 2 times in 3600 s: all are ended");
    expect("alice = ended with status 0");
    assert_int_equal(1, up_status());
    assert_gone(alice);
}

static void a_node_is_started_again_only_as_the_file_says(void **state)
{
    (void)state;
    write_file("up.yaml", "nodes:\n  - {name: a, restart: transient}\n  - {name: b, restart: temporary}\n");
    up_start(path_of("up.yaml"), NULL);
    pid_t a = expect_up("a  = up: pid "), b = expect_up("b  = up: pid ");
    kill(a, SIGKILL);
    a = expect_up("a  = up: pid ");
    kill(a, SIGTERM);
    expect("a  = ended with status 0, and isn't started again");
    kill(b, SIGTERM);
    expect("b  = ended with status 0, and isn't started again");
    assert_int_equal(0, up_status()); /* nothing is left to do */
}

static void a_node_that_does_not_come_up_ends_all_with_its_words(void **state)
{
    (void)state;
    write_file("no.so", "");
    write_file("up.yaml", "nodes:\n  - name: alice\n  - {name: bob, plugins: [no.so]}\n  - name: carol\n");
    up_start(path_of("up.yaml"), NULL);
    pid_t alice = expect_up("alice = up: pid ");
    expect("bob   = ended with status 1 before it was up: all are ended; its last words: ");
    assert_int_equal(1, up_status());
    assert_non_null(strstr(up.text, "is empty"));
    assert_null(strstr(up.text, "carol = "));
    assert_gone(alice);
}

static void a_plugin_lies_beside_the_file_and_its_actor_answers(void **state)
{
    char command[1024], answer[256] = "";
    (void)state;
    write_file("echo.c", "#define TR_PLUGIN\n"
                         "#include <troupe/troupe.h>\n"
                         "TR_MESSAGE(ping, (u32, n))\n"
                         "static void receive(tr_actor *self, void *state, const tr_msg *m)\n"
                         "{ (void)state; const ping *p = tr_match(m, ping);\n"
                         "  if (p) tr_reply(self, m, ping, .n = p->n + 1); }\n"
                         "TR_ACTOR(echo, .receive = receive);\n"
                         "TR_PLUGIN_EXPORT(\"echo\", \"1\", &echo);\n");
    snprintf(command, sizeof(command),
             "umask 022; cd %s && cc -std=gnu17 -w -shared -fPIC -fvisibility=hidden -I'%s/include' -o "
             "echo.so echo.c",
             directory, getenv("TROUPE_SOURCE"));
    assert_int_equal(0, system(command));
    write_file("up.yaml", "nodes:\n  - {name: alice, plugins: [./echo.so]}\n");
    up_start(path_of("up.yaml"), NULL);
    expect_up("alice = up: pid ");
    snprintf(command, sizeof(command), "\"$TROUPE_BIN\" ask alice/echo '{\"ping\":{\"n\":41}}' 2>&1");
    FILE *out = popen(command, "r");
    assert_non_null(fgets(answer, sizeof(answer), out));
    pclose(out);
    assert_string_equal("ping {\"n\":42}\n", answer);
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static void a_key_and_a_directory_reach_the_nodes(void **state)
{
    char command[256];
    (void)state;
    snprintf(command, sizeof(command), "\"$TROUPE_BIN\" key new %s >/dev/null", path_of("a.key"));
    assert_int_equal(0, system(command));
    write_file("up.yaml",
               "key: a.key\nnodes:\n  - {name: alice, data: kept, listen: '0.0.0.0:0'}\n  - name: bob\n");
    up_start(path_of("up.yaml"), NULL);
    expect_up("alice = up: pid "); /* beyond loopback, which wants a key */
    expect_up("bob   = up: pid ");
    up.seen = 0; /* which of the two is said first is open */
    expect("alice | info: node bob is up");
    assert_int_equal(0, access(path_of("kept"), F_OK));
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static void a_second_ctrl_c_kills(void **state)
{
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n  - name: bob\n");
    up_start(path_of("up.yaml"), NULL);
    pid_t alice = expect_up("alice = up: pid "), bob = expect_up("bob   = up: pid ");
    kill(bob, SIGSTOP); /* it can't end */
    kill(up.pid, SIGINT);
    expect("ending all");
    kill(up.pid, SIGINT);
    expect("killing all");
    assert_int_equal(1, up_status());
    assert_null(strstr(up.text, "doesn't end: killed")); /* its patience wasn't waited for */
    assert_gone(alice);
    assert_gone(bob);
}

static void killed_it_leaves_no_node_behind(void **state)
{
    int status;
    (void)state;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    write_file("up.yaml", "nodes:\n  - name: alice\n  - name: bob\n");
    up_start(path_of("up.yaml"), NULL);
    pid_t alice = expect_up("alice = up: pid "), bob = expect_up("bob   = up: pid ");
    kill(up.pid, SIGKILL);
    assert_int_equal(-1, up_status());
    assert_int_equal(alice, waitpid(alice, &status, 0));
    assert_int_equal(bob, waitpid(bob, &status, 0));
    assert_true(WIFSIGNALED(status));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(a_wrong_file_is_told_with_line_and_column),
        TEST(a_file_that_is_nested_deep_is_refused_at_once),
        TEST(each_key_is_taken),
        TEST(the_sample_comes_up_and_ctrl_c_ends_it_in_reverse_order),
        TEST(a_killed_node_comes_back_where_it_was),
        TEST(a_node_that_ends_too_often_ends_all),
        TEST(a_node_is_started_again_only_as_the_file_says),
        TEST(a_node_that_does_not_come_up_ends_all_with_its_words),
        TEST(a_plugin_lies_beside_the_file_and_its_actor_answers),
        TEST(a_key_and_a_directory_reach_the_nodes),
        TEST(a_second_ctrl_c_kills),
        TEST(killed_it_leaves_no_node_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
