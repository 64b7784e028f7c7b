/* A cluster of three processes changes its key while it runs, as docs/security.md says: node by node, with `troupe key` on
 * each node's own file and `troupe key reload`. After each change newcomers with each node's file dial every node: none is
 * refused, and no connection between the three ends. The nodes are this same program, run with a word. */
#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/system/process_kit.h"

/* ---- what nodes and newcomers do ------------------------------------------------------------------------ */

enum { NODES = 3 };
static char *const names[NODES] = {"alice", "bob", "carol"};

TR_MESSAGE(question, (string, text))

static void echo(tr_actor *self, void *state, const tr_msg *msg)
{
    const question *q = tr_match(msg, question);
    (void)state;
    if (q)
        tr_reply(self, msg, question, .text = q->text);
}
TR_ACTOR(echo_def, .receive = echo);

static tr_err serve(tr_actor *self, void *arg)
{
    (void)arg;
    tr_spawn_with(self, &echo_def, NULL, &(tr_spawn_opts){.name = "echo"});
    while (tr_receive(self, TR_FOREVER))
        ;
    return tr_last_error(self)->code;
}

/* Asks an actor of each node. */
static tr_err ask_all(tr_actor *self, void *arg)
{
    const tr_found *found;
    const question *answer;
    (void)arg;
    for (int i = 0; i < NODES; i++) {
        TR_TRY(tr_await(self, tr_lookup(self, tr_fmt(self, "%s/echo", names[i]), TR_SECONDS(10)), tr_found,
                        &found));
        TR_TRY(tr_await(self, tr_ask(self, found->actor, TR_SECONDS(10), question, .text = "there?"),
                        question, &answer));
    }
    return TR_OK;
}

/* ---- fixture: a folder, three nodes with a file each, the next key ---------------------------------------- */

static char folder[64];
static char key[NODES][96], next[96], old[96];
static char address[NODES][64];
static process nodes[NODES], newcomer;

static void start(process *p, const char *what, char *name, char *file)
{
    char *argv[24] = {"/proc/self/exe", (char *)what, "--name", name, "--key", file, "--log", "info"};
    int count = 8;
    bool serves = strcmp(what, "serve") == 0;
    argv[count++] = "--operator";
    argv[count++] = serves ? "socket" : "none";
    if (serves) {
        argv[count++] = "--listen";
        argv[count++] = "127.0.0.1:0";
    }
    for (int i = 0; i < NODES && address[i][0]; i++) {
        argv[count++] = "--join";
        argv[count++] = address[i];
    }
    begin(p, argv);
}

static void copy(const char *from, const char *to)
{
    char command[512];
    snprintf(command, sizeof(command), "cp -p %s %s", from, to);
    assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/troupe-rotate-XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_RUNTIME_DIR", folder, 1);
    snprintf(old, sizeof(old), "%s/old", folder);
    snprintf(next, sizeof(next), "%s/next", folder);
    assert_int_equal(troupe("made", "key", "new", old, NULL), 0);
    assert_int_equal(troupe("made", "key", "new", next, NULL), 0);
    memset(address, 0, sizeof(address));
    for (int i = 0; i < NODES; i++) {
        snprintf(key[i], sizeof(key[i]), "%s/%s.key", folder, names[i]);
        copy(old, key[i]);
        start(&nodes[i], "serve", names[i], key[i]);
        char here[64];
        hear_address(&nodes[i], here, sizeof(here));
        strcpy(address[i], here);
    }
    for (int i = 1; i < NODES; i++)
        for (int j = 0; j < i; j++) {
            char words[64];
            snprintf(words, sizeof(words), "node %s is up", names[j]);
            hear(&nodes[i], words);
        }
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    end(&newcomer, SIGKILL);
    for (int i = 0; i < NODES; i++)
        end(&nodes[i], SIGKILL);
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

/* ---- helpers ---------------------------------------------------------------------------------------------- */

static int newcomer_with(char *file)
{
    start(&newcomer, "ask", "newcomer", file);
    return status_of(&newcomer);
}

/* With whichever file of the cluster somebody comes, every node takes it. */
static void expect_all_meet(void)
{
    for (int i = 0; i < NODES; i++) {
        if (newcomer_with(key[i]) != 0)
            fail_msg("with %s: %s", key[i], newcomer.said);
        assert_null(strstr(newcomer.said, "refused"));
    }
}

/* Each node does the step with its own file, and reads it, while the others haven't yet, or have. */
static void step(char *what, char *with)
{
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(troupe(key[i], "key", what, key[i], with), 0);
        assert_int_equal(troupe(names[i], "key", "reload", names[i], NULL), 0);
        hear(&nodes[i], "again: key ");
        expect_all_meet();
    }
}

static unsigned said_by_all(const char *words)
{
    unsigned count = 0;
    for (int i = 0; i < NODES; i++)
        count += times_said(&nodes[i], words);
    return count;
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void three_nodes_change_their_key_one_by_one_and_nobody_is_refused(void **state)
{
    (void)state;
    expect_all_meet();
    step("add", next);
    step("swap", NULL);
    step("drop", NULL);
    assert_int_equal(said_by_all("came to nothing"), 0);
    for (int i = 0; i < NODES; i++) {
        char words[64];
        snprintf(words, sizeof(words), "node %s is down", names[i]);
        assert_int_equal(said_by_all(words), 0); /* the connections of the first day are up */
    }
    assert_int_equal(newcomer_with(next), 0);
    start(&newcomer, "ask", "newcomer", old); /* whoever has the old key has none */
    hear(&newcomer, "refused by the other side: the two nodes have different keys");
    hear(&nodes[0], "came to nothing: the two nodes have different keys");
    end(&newcomer, SIGKILL);
    expect_all_meet();
}

static void a_file_that_is_wrong_is_told_and_changes_nothing(void **state)
{
    (void)state;
    assert_int_equal(chmod(key[0], 0644), 0);
    assert_int_equal(troupe("chmod 600", "key", "reload", "alice", NULL), 1);
    FILE *file = fopen(key[1], "we");
    assert_non_null(file);
    fputs("troupe key 1\n12\n", file);
    fclose(file);
    assert_int_equal(troupe("no key file of Troupe", "key", "reload", "bob", NULL), 1);
    assert_int_equal(unlink(key[2]), 0);
    assert_int_equal(troupe("there is no key file", "key", "reload", "carol", NULL), 1);
    assert_int_equal(newcomer_with(old), 0);
    assert_int_equal(said_by_all("came to nothing"), 0);
}

static void a_node_without_a_key_says_so(void **state)
{
    static process dave;
    char *argv[] = {"/proc/self/exe", "serve",    "--name",      "dave", "--log",
                    "info",           "--listen", "127.0.0.1:0", NULL};
    (void)state;
    begin(&dave, argv);
    hear(&dave, "listens on");
    assert_int_equal(troupe("runs without a key", "key", "reload", "dave", NULL), 1);
    end(&dave, SIGKILL);
    assert_int_equal(troupe("no node", "key", "reload", "nobody", NULL), 1);
}

/* The id of the current key, and behind "takes" of the other one. */
static void ids_of(char *file, char current[17], char other[17])
{
    static process p;
    char *argv[] = {getenv("TROUPE_BIN"), "key", "show", file, NULL};
    begin(&p, argv);
    assert_int_equal(status_of(&p), 0);
    const char *takes = strstr(p.said, "takes ");
    strcpy(current, "");
    strcpy(other, "");
    sscanf(strstr(p.said, ": key ") + 6, "%16[0-9a-f]", current);
    if (takes)
        sscanf(takes + 6, "%16[0-9a-f]", other);
}

static void a_key_file_is_changed_as_a_whole_and_stays_its_owners(void **state)
{
    char a[2][17], b[2][17], now[2][17];
    struct stat status;
    (void)state;
    ids_of(old, a[0], a[1]);
    ids_of(next, b[0], b[1]);
    assert_int_equal(strlen(a[0]), 16);
    assert_string_equal(a[1], "");
    assert_string_not_equal(a[0], b[0]);
    assert_int_equal(troupe("one key only", "key", "swap", old, NULL), 1);
    assert_int_equal(troupe("one key only", "key", "drop", old, NULL), 1);
    assert_int_equal(troupe(a[0], "key", "add", old, next), 0);
    assert_int_equal(troupe("has the key", "key", "add", old, next), 1);
    unlink(key[0]);
    assert_int_equal(troupe("made", "key", "new", key[0], NULL), 0);
    assert_int_equal(troupe("has two keys already", "key", "add", old, key[0]), 1);
    ids_of(old, now[0], now[1]);
    assert_string_equal(now[0], a[0]);
    assert_string_equal(now[1], b[0]);
    assert_int_equal(troupe(b[0], "key", "swap", old, NULL), 0);
    ids_of(old, now[0], now[1]);
    assert_string_equal(now[0], b[0]);
    assert_string_equal(now[1], a[0]);
    assert_int_equal(troupe(b[0], "key", "drop", old, NULL), 0);
    ids_of(old, now[0], now[1]);
    assert_string_equal(now[0], b[0]);
    assert_string_equal(now[1], "");
    assert_int_equal(stat(old, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "serve") == 0)
        return tr_main(argc - 1, argv + 1, serve, NULL);
    if (argc > 1 && strcmp(argv[1], "ask") == 0)
        return tr_main(argc - 1, argv + 1, ask_all, NULL);
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(three_nodes_change_their_key_one_by_one_and_nobody_is_refused),
        CASE(a_file_that_is_wrong_is_told_and_changes_nothing),
        CASE(a_node_without_a_key_says_so),
        CASE(a_key_file_is_changed_as_a_whole_and_stays_its_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
