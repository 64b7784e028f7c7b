/* Apps in the file of `troupe up`, and by hand on `troupe node`: a pair shares a journal, is asked over the operator
 * socket, survives kill -9, and `troupe tx` tells what became of its transactions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/system/up_kit.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static const char pair[] = "nodes:\n"
                           "  - name: alice\n"
                           "    data: alice-log\n"
                           "    apps: [{name: journal, id: a1, peer: bob/journal}]\n"
                           "  - name: bob\n"
                           "    data: bob-log\n"
                           "    apps: [{name: journal, id: b1, peer: alice/journal}]\n";

/* What `troupe ARGUMENTS` prints, both streams; its exit status. */
static int troupe(char *out, size_t room, const char *arguments)
{
    char command[512];
    snprintf(command, sizeof(command), "%s %s 2>&1", getenv("TROUPE_BIN"), arguments);
    FILE *from = popen(command, "r");
    assert_non_null(from);
    size_t used = fread(out, 1, room - 1, from);
    out[used] = '\0';
    int status = pclose(from);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void assert_says(const char *arguments, int status, const char *words)
{
    static char out[32768];
    int got = troupe(out, sizeof(out), arguments);
    if (got != status || !strstr(out, words))
        fail_msg("troupe %s: status %d, \"%s\" expected: %s", arguments, got, words, out);
}

static void put(const char *node)
{
    char arguments[128];
    snprintf(arguments, sizeof(arguments),
             "ask %s/journal '{\"tr_app_put\":{\"data\":\"aGk=\"}}' --timeout 20", node);
    assert_says(arguments, 0, "tr_app_put_done");
}

/* Both journals as they are once the two are in step. */
static void assert_same_journals(unsigned entries)
{
    static const char query[] = "'{\"tr_app_query\":{\"together\":true}}' --timeout 20";
    char alice[2048], bob[2048], arguments[160], last[32];
    snprintf(arguments, sizeof(arguments), "ask alice/journal %s", query);
    assert_int_equal(0, troupe(alice, sizeof(alice), arguments));
    snprintf(arguments, sizeof(arguments), "ask bob/journal %s", query);
    assert_int_equal(0, troupe(bob, sizeof(bob), arguments));
    snprintf(last, sizeof(last), "\"last\":%u,", entries);
    const char *one = strstr(alice, "\"digest\""), *other = strstr(bob, "\"digest\"");
    if (!one || !other || strncmp(one, other, 76) != 0 || !strstr(alice, last) || !strstr(bob, last))
        fail_msg("%s%s", alice, bob);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_pair_of_apps_shares_a_journal_whoever_is_killed(void **state)
{
    (void)state;
    write_file("up.yaml", pair);
    up_start(path_of("up.yaml"), NULL);
    expect_up("alice = up: pid ");
    pid_t bob = expect_up("bob   = up: pid ");
    put("alice");
    put("bob");
    assert_same_journals(2);
    kill(bob, SIGKILL);
    put("alice"); /* waits until he is back */
    expect_up("bob   = up: pid ");
    put("bob");
    assert_same_journals(4);
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

/* A lane of each node, and the whole of it. */
static void assert_drawn(const char *path)
{
    static char svg[32768];
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    svg[fread(svg, 1, sizeof(svg) - 1, from)] = '\0';
    fclose(from);
    assert_non_null(strstr(svg, "data-node=\"alice\""));
    assert_non_null(strstr(svg, "data-node=\"bob\""));
    assert_non_null(strstr(svg, "</svg>\n"));
}

static void tx_lists_and_shows_what_became_of_transactions(void **state)
{
    char out[32768], arguments[256];
    (void)state;
    write_file("up.yaml", pair);
    up_start(path_of("up.yaml"), NULL);
    expect_up("bob   = up: pid ");
    put("alice");
    assert_int_equal(0, troupe(out, sizeof(out), "tx list"));
    const char *row = out; /* the last one that was committed: it is on both nodes */
    for (const char *next; (next = strstr(row + 1, "  committed"));)
        row = next;
    assert_true(row > out + 26);
    snprintf(arguments, sizeof(arguments), "tx show %.26s", row - 26);
    assert_says(arguments, 0, "committed");
    assert_says(arguments, 0, "lock");
    snprintf(arguments, sizeof(arguments), "tx show %.26s --svg %s", row - 26, path_of("drawn.svg"));
    assert_says(arguments, 0, "committed");
    assert_drawn(path_of("drawn.svg"));
    snprintf(arguments, sizeof(arguments), "tx show %.26s --svg /nosuch/file", row - 26);
    assert_says(arguments, 1, "/nosuch/file: can't be written");
    assert_says("tx list --json", 0, "\"in_doubt\":[]");
    assert_says("tx show NOSUCH", 1, "no node that runs here remembers it");
    assert_says("tx lis", 2, "usage: troupe tx list");
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static void what_is_wrong_with_an_app_is_told(void **state)
{
    char command[160];
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n    apps: [{name: j, id: a, peer: bob/j}]\n");
    snprintf(command, sizeof(command), "up %s --check", path_of("up.yaml"));
    assert_says(command, 2, "up.yaml:3:12: an app keeps its journal in its node's log");
    write_file("up.yaml", "nodes:\n  - name: alice\n    data: d\n    apps: [{name: j, peer: bob/j}]\n");
    assert_says(command, 2, "up.yaml:4:");
    write_file("up.yaml", "nodes:\n  - name: alice\n    data: d\n    apps: [{name: j, id: a, peer: bob}]\n");
    assert_says(command, 2, "node/name");
    assert_says("node app", 1, "app NAME ID PEER");
    assert_says("node app j a bob/j", 1, "--data DIR");
    snprintf(command, sizeof(command), "node --data %s app j 'no id' bob/j", path_of("d"));
    assert_says(command, 1, "an app's id is");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_pair_of_apps_shares_a_journal_whoever_is_killed),
        TEST(tx_lists_and_shows_what_became_of_transactions),
        TEST(what_is_wrong_with_an_app_is_told),
    };
    return cmocka_run_group_tests_name("up_apps", tests, NULL, NULL);
}
