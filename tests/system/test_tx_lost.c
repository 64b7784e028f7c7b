/* A real node whose log file was put back to an older copy, and what its operator does about it: `troupe tx list`, `accept`
 * and `resolve`. Alice decides; bob keeps a log as well, and remembers alice's; carol comes to have one transaction run, and
 * goes. All are this same program. */
#include <inttypes.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/kit/loopback.h"
#include "tests/system/cli_kit.h"

/* ---- nodes --------------------------------------------------------------------------------------------- */

TR_MESSAGE(add, TR_WRITES, (i64, amount))

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    const add *a = tr_match(msg, add);
    (void)state;
    return a ? tr_view_put_i64(v, "balance", tr_view_i64(v, "balance", 0) + a->amount) : TR_OK;
}
TR_ACTOR(account_def, .transact = account);

static tr_err keep_account(tr_actor *self, void *arg)
{
    (void)arg;
    if (tr_addr_is_none(tr_spawn_with(self, &account_def, NULL, &(tr_spawn_opts){.name = "account"})))
        return tr_last_error(self)->code;
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

static tr_err add_to_both(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    (void)arg;
    TR_TRY(tr_tx_await(tx, "alice/account", add, .amount = 1));
    return tr_tx_await(tx, "bob/account", add, .amount = 1);
}

/* Status, reason, ticket, text: a line each. */
static tr_err come_and_go(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(tr_await_msg(self, tr_lookup(self, "alice/account", TR_SECONDS(10)), NULL));
    TR_TRY(tr_await_msg(self, tr_lookup(self, "bob/account", TR_SECONDS(10)), NULL));
    tr_tx_outcome out = tr_tx_run(self, add_to_both, NULL, NULL);
    printf("%d %d\n%s\n%s\n", (int)out.status, (int)out.reason, out.ticket, out.text);
    return TR_OK;
}

/* node NAME DIRECTORY LISTEN JOIN [JOIN]; without a directory it is carol. */
static int node_main(int argc, char **argv)
{
    const char *join[3] = {NULL};
    tr_error error;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 5, n = 0; i < argc; i++)
        if (argv[i][0])
            join[n++] = argv[i];
    bool calls = !argv[3][0];
    tr_node_opts opts = {.name = argv[2],
                         .data = calls ? NULL : argv[3],
                         .listen = calls ? NULL : argv[4],
                         .join = join[0] ? join : NULL,
                         .operator_socket = !calls,
                         .start = calls ? come_and_go : keep_account};
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "node %s: %s\n", argv[2], error.text);
    return err != TR_OK;
}

typedef struct other {
    const char *name;
    pid_t pid;
    char address[64];
} other;

static other alice = {.name = "alice"}, bob = {.name = "bob"};

/* Once started it keeps its port. */
static void start(other *o)
{
    int out[2];
    assert_int_equal(0, pipe(out));
    o->pid = fork();
    if (o->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", o->name, cli_directory,
              o->address[0] ? o->address : LISTENS_AGAIN ":0", o == &bob ? alice.address : "", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    if (!fgets(o->address, sizeof(o->address), lines))
        fail_msg("node %s didn't start", o->name);
    o->address[strcspn(o->address, "\n")] = 0;
    fclose(lines);
}

static void end(other *o)
{
    if (!o->pid)
        return;
    kill(o->pid, SIGKILL);
    waitpid(o->pid, NULL, 0);
    o->pid = 0;
}

static int setup(void **state)
{
    (void)state;
    snprintf(cli_directory, sizeof(cli_directory), "/tmp/troupe-lost-XXXXXX");
    assert_non_null(mkdtemp(cli_directory));
    assert_int_equal(0, setenv("XDG_RUNTIME_DIR", cli_directory, 1));
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    end(&alice);
    end(&bob);
    snprintf(command, sizeof(command), "rm -r %s", cli_directory);
    return system(command);
}

/* ---- one transaction ----------------------------------------------------------------------------------- */

typedef struct told {
    int status, reason;
    char ticket[TR_TX_TICKET_MAX], text[TR_ERROR_TEXT_MAX];
} told;

static told call(void)
{
    told t = {.status = -1};
    assert_int_equal(0, sh("/proc/%d/exe node carol '' '' %s %s", (int)getpid(), alice.address, bob.address));
    char *lines = strdup(content("out")), *at = lines;
    assert_int_equal(2, sscanf(strsep(&at, "\n"), "%d %d", &t.status, &t.reason));
    snprintf(t.ticket, sizeof(t.ticket), "%s", strsep(&at, "\n"));
    snprintf(t.text, sizeof(t.text), "%s", strsep(&at, "\n"));
    free(lines);
    return t;
}

/* As soon as alice and bob are connected again. */
static told commits(void)
{
    told t = call();
    for (int i = 0; i < 50 && (t.reason == TR_TX_UNREACHABLE || t.reason == TR_TX_BRANCH_LOST); i++) {
        poll(NULL, 0, 200);
        t = call();
    }
    if (t.status != TR_TX_COMMITTED)
        fail_msg("%d: %s", t.reason, t.text);
    return t;
}

/* Within ten seconds: bob dials it again. */
static void list_says(const char *text)
{
    for (int i = 0; i < 100; i++) {
        assert_int_equal(0, sh("$T tx list"));
        if (strstr(content("out"), text))
            return;
        poll(NULL, 0, 100);
    }
    fail_msg("\"%s\" isn't in: %s", text, content("out"));
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void an_older_copy_of_a_log_is_noticed_and_its_operator_decides(void **state)
{
    (void)state;
    start(&alice);
    start(&bob);
    told kept = commits();
    end(&alice);
    assert_int_equal(0, sh("cp alice.txlog older"));
    start(&alice);
    told lost = commits();
    end(&alice);
    assert_int_equal(0, sh("cp alice.txlog newest && cp older alice.txlog"));
    start(&alice);
    list_says("log lost  node alice has an older copy of its log: node bob remembers record");
    told refused = call();
    assert_int_equal(TR_TX_ABORTED, refused.status);
    assert_int_equal(TR_TX_LOG_LOST, refused.reason);
    assert_contains(refused.text, "Put the newest copy back");
    assert_int_equal(0, sh("$T tx resolve %s", kept.ticket));
    assert_string_equal("committed\n", content("out"));
    assert_int_equal(1, sh("$T tx resolve %s", lost.ticket));
    assert_contains(content("out"), "unknown: ");

    assert_int_equal(2, sh("$T tx accept alice"));
    assert_contains(content("err"), "--lose-what-is-missing");
    assert_int_equal(1, sh("$T tx accept bob --lose-what-is-missing"));
    assert_contains(content("err"), "lacks nothing");
    assert_int_equal(0, sh("$T tx accept alice --lose-what-is-missing"));
    told next = commits();
    assert_int_equal(2, sh("$T tx resolve %s --commit", lost.ticket));
    assert_contains(content("err"), "--others-may-differ");
    assert_int_equal(0, sh("$T tx resolve %s --commit --others-may-differ", lost.ticket));
    assert_string_equal("committed\n", content("out"));
    end(&alice);
    start(&alice);
    assert_int_equal(0, sh("$T tx resolve %s", next.ticket));
    assert_string_equal("committed\n", content("out"));
    assert_int_equal(0, sh("$T tx resolve %s --at alice", lost.ticket));
    assert_string_equal("committed\n", content("out"));
    assert_int_equal(1, sh("$T tx resolve %s --abort --others-may-differ", next.ticket));
    assert_contains(content("err"), "it was decided before");
}

static void what_can_not_be_resolved_is_told_why(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T tx resolve ABCDE"));
    assert_contains(content("err"), "nothing of it is in doubt on the nodes that run here");
    assert_int_equal(1, sh("$T tx resolve a@b"));
    assert_contains(content("err"), "that is no ticket");
    assert_int_equal(2, sh("$T tx resolve"));
    assert_int_equal(2, sh("$T tx resolve a@b --commit --abort --others-may-differ"));
    assert_int_equal(2, sh("$T tx accept"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_older_copy_of_a_log_is_noticed_and_its_operator_decides, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_can_not_be_resolved_is_told_why, setup, teardown),
    };
    if (argc > 5 && strcmp(argv[1], "node") == 0)
        return node_main(argc, argv);
    return cmocka_run_group_tests_name("tx_lost", tests, NULL, NULL);
}
