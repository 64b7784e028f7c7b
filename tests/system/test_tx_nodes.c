/* Transactions between real node processes with real logs: alice and bob keep an account each, carol, who calls, is this
 * process. Nodes are killed by signal, and by themselves at the points of the crash table (TROUPE_TX_KILL), and are
 * started again on the same port with the same directory. The other nodes are this same program. */
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/kit/loopback.h"

/* ---- fixture: a node with an account ------------------------------------------------------------------- */
TR_MESSAGE(debit, TR_WRITES, (i64, amount))
TR_MESSAGE(credit, TR_WRITES, (i64, amount))
TR_MESSAGE(get_balance)
TR_MESSAGE(balance_is, (i64, amount))

/* No error's text is so long, so it is cut, and at a third of the lengths between two characters. */
static const char *without_end(void)
{
    static char euros[3 * TR_ERROR_TEXT_MAX + 2] = "\xff";
    for (size_t at = 1; at + 3 < sizeof(euros); at += 3)
        memcpy(euros + at, "\xe2\x82\xac", 3);
    return euros;
}

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    int64_t balance = tr_view_i64(v, "balance", 0);
    const debit *d = tr_match(msg, debit);
    const credit *c = tr_match(msg, credit);
    (void)state;
    if (d && d->amount < 0)
        return tr_refuse(v, "%s", without_end());
    if (d && balance < d->amount)
        return tr_refuse(v, "balance %" PRId64 " is less than %" PRId64, balance, d->amount);
    if (d || c)
        return tr_view_put_i64(v, "balance", balance + (c ? c->amount : -d->amount));
    return tr_view_reply(v, balance_is, .amount = balance);
}
TR_ACTOR(account_def, .transact = account);

static tr_err node_start(tr_actor *self, void *arg)
{
    (void)arg;
    tr_addr to = tr_spawn_with(self, &account_def, NULL, &(tr_spawn_opts){.name = "account"});
    if (tr_addr_is_none(to))
        return tr_last_error(self)->code;
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

static int node_main(char **argv)
{
    const char *join[] = {argv[5], NULL};
    tr_error error;
    tr_node_opts opts = {
        .name = argv[2], .data = argv[3], .listen = argv[4], .join = join, .start = node_start, .loops = 2};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!argv[5][0])
        opts.join = NULL;
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "node %s: %s\n", argv[2], error.text);
    return err == TR_OK ? 0 : 1;
}

typedef struct other {
    const char *name;
    pid_t pid; /* 0: it doesn't run */
    char address[64];
} other;

typedef struct cluster {
    char directory[64];
    other alice, bob;
} cluster;

/* `kill_at`: where it kills itself; NULL: nowhere. Once started it keeps its port. */
static void start(cluster *c, other *o, const char *kill_at)
{
    int out[2];
    assert_int_equal(0, pipe(out));
    o->pid = fork();
    if (o->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        if (kill_at)
            setenv("TROUPE_TX_KILL", kill_at, 1);
        const char *listen = o->address[0] ? o->address : LISTENS_AGAIN ":0";
        execl("/proc/self/exe", "node", "node", o->name, c->directory, listen,
              o == &c->bob ? c->alice.address : "", (char *)NULL);
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
    int status;
    if (!o->pid)
        return;
    kill(o->pid, SIGKILL);
    waitpid(o->pid, &status, 0);
    o->pid = 0;
}

/* It has killed itself, or does so now. */
static void ended(other *o)
{
    int status = 0;
    for (int ms = 0; waitpid(o->pid, &status, WNOHANG) != o->pid; ms += poll(NULL, 0, 10) == 0 ? 10 : 0)
        if (ms > 20000) /* the watchdog's signal cuts a wait short */
            fail_msg("%s still runs: it never came to where it was to be killed", o->name);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    o->pid = 0;
}

static int open_cluster(void **state)
{
    static cluster c;
    memset(&c, 0, sizeof(c));
    c.alice.name = "alice";
    c.bob.name = "bob";
    snprintf(c.directory, sizeof(c.directory), "/tmp/troupe-tx-XXXXXX");
    *state = &c;
    return mkdtemp(c.directory) ? 0 : -1;
}

static int close_cluster(void **state)
{
    cluster *c = *state;
    char command[128];
    end(&c->alice);
    end(&c->bob);
    snprintf(command, sizeof(command), "rm -rf %s", c->directory);
    return system(command);
}

static void start_both(cluster *c, const char *alice_kill, const char *bob_kill)
{
    start(c, &c->alice, alice_kill);
    start(c, &c->bob, bob_kill);
}

/* Run `start` as carol's first actor. */
static void as_carol(cluster *c, tr_err (*run)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    const char *join[] = {c->alice.address, c->bob.address[0] ? c->bob.address : NULL, NULL};
    tr_node_opts opts = {.name = "carol", .join = join, .start = run, .arg = c};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node)
        fail_msg("%s", error.text);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s", error.text);
}

/* The text is what it was instead. */
#define EXPECT(self, condition, format, ...)                                                          \
    do {                                                                                              \
        if (!(condition))                                                                             \
            return tr_fail(self, TR_EAPP, "line %d: %s: " format, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

/* ---- what carol does ----------------------------------------------------------------------------------- */

static const tr_tx_opts hasty = {.deadline_ns = TR_SECONDS(10), .lock_wait_ns = TR_MILLIS(300)};

typedef struct transfer {
    const char *from, *to;
    int64_t amount;
} transfer;

static tr_err transfer_body(tr_actor *self, tr_tx *tx, void *arg)
{
    const transfer *t = arg;
    (void)self;
    if (t->from)
        TR_TRY(tr_tx_await(tx, t->from, debit, .amount = t->amount));
    return tr_tx_await(tx, t->to, credit, .amount = t->amount);
}

static tr_err credit_first_body(tr_actor *self, tr_tx *tx, void *arg)
{
    const transfer *t = arg;
    (void)self;
    TR_TRY(tr_tx_await(tx, t->to, credit, .amount = t->amount));
    return tr_tx_await(tx, t->from, debit, .amount = t->amount);
}

static tr_tx_outcome move(tr_actor *self, const char *from, const char *to, int64_t amount)
{
    transfer t = {from, to, amount};
    return tr_tx_run(self, transfer_body, &t, &hasty);
}

/* Those two may not have found each other yet, which is no matter of the test: nothing has happened then. */
static tr_tx_outcome move_when_connected(tr_actor *self, const char *from, const char *to, int64_t amount)
{
    tr_tx_outcome out = move(self, from, to, amount);
    for (int i = 0; i < 500 && out.status == TR_TX_ABORTED && out.reason == TR_TX_UNREACHABLE; i++) {
        tr_sleep(self, TR_MILLIS(20));
        out = move(self, from, to, amount);
    }
    return out;
}

/* The node that it asks may be one that was killed just now. */
static tr_err wait_for(tr_actor *self, const char *path)
{
    tr_err err = TR_ENOCONN;
    for (int i = 0; i < 100 && err == TR_ENOCONN; i++) {
        err = tr_await_msg(self, tr_lookup(self, path, TR_SECONDS(10)), NULL);
        if (err == TR_ENOCONN)
            TR_TRY(tr_sleep(self, TR_MILLIS(20)));
    }
    return err;
}

typedef struct reading {
    const char *path;
    int64_t amount;
} reading;

static tr_err read_body(tr_actor *self, tr_tx *tx, void *arg)
{
    reading *r = arg;
    const balance_is *is;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, r->path, balance_is, &is, get_balance));
    r->amount = is->amount;
    return TR_OK;
}

/* As soon as it can be read: a while after a restart it is locked. */
static tr_err expect_balance(tr_actor *self, const char *path, int64_t amount)
{
    reading r = {path, -1};
    tr_tx_outcome out = {.status = TR_TX_UNKNOWN};
    for (int i = 0; i < 60 && out.status != TR_TX_COMMITTED; i++) {
        TR_TRY(wait_for(self, path));
        out = tr_tx_run(self, read_body, &r, &hasty);
        if (out.reason == TR_TX_UNREACHABLE || out.reason == TR_TX_BRANCH_LOST)
            TR_TRY(tr_sleep(self, TR_MILLIS(50)));
    }
    EXPECT(self, out.status == TR_TX_COMMITTED, "%s", out.text);
    EXPECT(self, r.amount == amount, "%s has %" PRId64 ", not %" PRId64, path, r.amount, amount);
    return TR_OK;
}

static tr_err expect_balances(tr_actor *self, int64_t alice, int64_t bob)
{
    TR_TRY(expect_balance(self, "alice/account", alice));
    return expect_balance(self, "bob/account", bob);
}

/* Both are there, alice has 100. The points of this transaction, of one node, are not counted for a kill: it has no
 * PREPARE, and its COMMIT is alice's first. */
static tr_err begin(tr_actor *self)
{
    TR_TRY(wait_for(self, "alice/account"));
    TR_TRY(wait_for(self, "bob/account"));
    tr_tx_outcome out = move(self, NULL, "alice/account", 100);
    EXPECT(self, out.status == TR_TX_COMMITTED, "%s", out.text);
    return TR_OK;
}

/* Twice, and the same both times. */
static tr_err expect_resolved(tr_actor *self, const char *ticket, tr_tx_status status)
{
    for (int i = 0; i < 2; i++) {
        tr_tx_outcome out = tr_tx_outcome_of(self, tr_tx_resolve(self, ticket, TR_SECONDS(15)));
        EXPECT(self, out.status == status, "%u %s", out.status, out.text);
    }
    return TR_OK;
}

/* ---- tests: without crashes ---------------------------------------------------------------------------- */

static tr_err transfers(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(begin(self));
    tr_tx_outcome out = move_when_connected(self, "alice/account", "bob/account", 40);
    EXPECT(self, out.status == TR_TX_COMMITTED && out.ticket[0], "%s", out.text);
    TR_TRY(expect_resolved(self, out.ticket, TR_TX_COMMITTED));
    return expect_balances(self, 60, 40);
}

static void a_transfer_between_two_hosts_commits(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, NULL);
    as_carol(c, transfers);
}

static tr_err both_are_started_anew(tr_actor *self, void *arg)
{
    cluster *c = arg;
    TR_TRY(transfers(self, arg));
    end(&c->alice);
    end(&c->bob);
    start_both(c, NULL, NULL);
    TR_TRY(expect_balances(self, 60, 40));
    tr_tx_outcome out = {.status = TR_TX_ABORTED};
    for (int i = 0; i < 2000 && out.status == TR_TX_ABORTED; i++) /* until they are connected again */
        out = move(self, "bob/account", "alice/account", 40);
    EXPECT(self, out.status == TR_TX_COMMITTED, "%s", out.text);
    return expect_balances(self, 100, 0);
}

static void what_was_committed_survives_the_kill_of_all(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, NULL);
    as_carol(c, both_are_started_anew);
}

static tr_err refused(tr_actor *self, void *arg)
{
    transfer t = {"alice/account", "bob/account", 101};
    (void)arg;
    TR_TRY(begin(self));
    tr_tx_outcome out = tr_tx_run(self, credit_first_body, &t, &hasty);
    EXPECT(self, out.status == TR_TX_ABORTED && out.reason == TR_TX_APP, "%s", out.text);
    EXPECT(self, strcmp(out.text, "balance 100 is less than 101") == 0, "%s", out.text);
    return expect_balances(self, 100, 0);
}

static tr_err refused_in_words_that_are_no_text(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(begin(self));
    uint64_t began = tr_now(self);
    tr_tx_outcome out = move_when_connected(self, "alice/account", "bob/account", -1);
    EXPECT(self, out.status == TR_TX_ABORTED && out.reason == TR_TX_APP, "%s", out.text);
    EXPECT(self, strncmp(out.text, "?\xe2\x82\xac", 4) == 0, "%s", out.text);
    EXPECT(self, tr_now(self) - began < hasty.deadline_ns, "%s", "it was waited for");
    out = move(self, "alice/acc\xff", "bob/account", 1);
    EXPECT(self, out.status == TR_TX_ABORTED && out.reason == TR_TX_NOT_ALLOWED, "%s", out.text);
    return expect_balances(self, 100, 0);
}

/* Nodes take UTF-8 only from each other. */
static void a_refusal_whose_words_are_no_utf8_is_heard_at_once(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, NULL);
    as_carol(c, refused_in_words_that_are_no_text);
}

static void a_refusal_of_one_aborts_both(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, NULL);
    as_carol(c, refused);
}

static tr_err bob_is_away(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(wait_for(self, "alice/account"));
    tr_tx_outcome out = move(self, NULL, "alice/account", 100);
    EXPECT(self, out.status == TR_TX_COMMITTED, "%s", out.text);
    out = move(self, "alice/account", "bob/account", 40);
    EXPECT(self, out.status == TR_TX_ABORTED && out.reason == TR_TX_UNREACHABLE, "%s", out.text);
    EXPECT(self, strstr(out.text, "node bob isn't connected"), "%s", out.text);
    return expect_balance(self, "alice/account", 100);
}

static void a_node_that_is_away_is_named_and_nothing_happens(void **state)
{
    cluster *c = *state;
    start(c, &c->alice, NULL);
    as_carol(c, bob_is_away);
}

static void the_log_is_for_its_owner_only(void **state)
{
    cluster *c = *state;
    struct stat file;
    char path[128];
    size_t length = strlen(c->directory);
    snprintf(c->directory + length, sizeof(c->directory) - length, "/data");
    start(c, &c->alice, NULL);
    assert_int_equal(0, stat(c->directory, &file));
    assert_int_equal(0700, file.st_mode & 0777);
    snprintf(path, sizeof(path), "%s/alice.txlog", c->directory);
    assert_int_equal(0, stat(path, &file));
    c->directory[length] = '\0';
}

/* ---- tests: the crash table ---------------------------------------------------------------------------- */

static tr_err bob_ends_before_its_vote(tr_actor *self, void *arg)
{
    cluster *c = arg;
    TR_TRY(begin(self));
    tr_tx_outcome out = move_when_connected(self, "alice/account", "bob/account", 40);
    EXPECT(self, out.status == TR_TX_ABORTED, "%u %s", out.status, out.text);
    ended(&c->bob);
    start(c, &c->bob, NULL);
    return expect_balances(self, 100, 0);
}

static void row_3_a_participant_that_ends_with_its_promise_on_the_disk_and_unheard(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, "prepare-forced");
    as_carol(c, bob_ends_before_its_vote);
}

static tr_err bob_ends_in_it(tr_actor *self, void *arg)
{
    cluster *c = arg;
    TR_TRY(begin(self));
    tr_tx_outcome out = move_when_connected(self, "alice/account", "bob/account", 40);
    EXPECT(self, out.status != TR_TX_UNKNOWN, "%s", out.text);
    ended(&c->bob);
    start(c, &c->bob, NULL);
    return out.status == TR_TX_COMMITTED ? expect_balances(self, 60, 40) : expect_balances(self, 100, 0);
}

static void row_4_a_participant_that_ends_after_its_vote(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, "voted");
    as_carol(c, bob_ends_in_it);
}

static void row_2_a_participant_that_ends_before_it_promised(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, "before-prepare");
    as_carol(c, bob_ends_in_it);
}

static tr_err bob_ends_when_it_is_decided(tr_actor *self, void *arg)
{
    cluster *c = arg;
    TR_TRY(begin(self));
    tr_tx_outcome out = move_when_connected(self, "alice/account", "bob/account", 40);
    EXPECT(self, out.status == TR_TX_COMMITTED, "%s", out.text);
    ended(&c->bob);
    start(c, &c->bob, NULL);
    return expect_balances(self, 60, 40);
}

static void row_10_a_participant_that_ends_before_it_acknowledged(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, "before-ack");
    as_carol(c, bob_ends_when_it_is_decided);
}

static void a_vote_leaves_when_its_voter_ends_a_while_later(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, "voted:1:1000000");
    as_carol(c, bob_ends_when_it_is_decided);
}

/* Alice, who decides, dies in it and is started again; what became of it is `settled`. */
static tr_err alice_ends(tr_actor *self, cluster *c, tr_tx_outcome *out, tr_tx_status settled)
{
    TR_TRY(begin(self));
    *out = move_when_connected(self, "alice/account", "bob/account", 40);
    EXPECT(self, out->ticket[0], "%u %s", out->status, out->text);
    ended(&c->alice);
    start(c, &c->alice, NULL);
    TR_TRY(expect_resolved(self, out->ticket, settled));
    return settled == TR_TX_COMMITTED ? expect_balances(self, 60, 40) : expect_balances(self, 100, 0);
}

static tr_err alice_ends_undecided(tr_actor *self, void *arg)
{
    tr_tx_outcome out;
    TR_TRY(alice_ends(self, arg, &out, TR_TX_ABORTED));
    EXPECT(self, out.status == TR_TX_UNKNOWN, "%u %s", out.status, out.text);
    return TR_OK;
}

static void row_6_a_coordinator_that_ends_before_it_decided(void **state)
{
    cluster *c = *state;
    start_both(c, "before-commit:2", NULL);
    as_carol(c, alice_ends_undecided);
}

static tr_err alice_ends_decided(tr_actor *self, void *arg)
{
    tr_tx_outcome out;
    TR_TRY(alice_ends(self, arg, &out, TR_TX_COMMITTED));
    EXPECT(self, out.status == TR_TX_UNKNOWN, "%u %s", out.status, out.text);
    return TR_OK;
}

static void row_8_a_coordinator_that_ends_before_it_said_what_it_decided(void **state)
{
    cluster *c = *state;
    start_both(c, "commit-forced:2", NULL);
    as_carol(c, alice_ends_decided);
}

/* The answer was on its way, and may have been lost with the process. */
static tr_err alice_ends_after_the_answer(tr_actor *self, void *arg)
{
    tr_tx_outcome out;
    TR_TRY(alice_ends(self, arg, &out, TR_TX_COMMITTED));
    EXPECT(self, out.status != TR_TX_ABORTED, "%u %s", out.status, out.text);
    return TR_OK;
}

static void row_9_a_coordinator_that_ends_before_it_told_the_others(void **state)
{
    cluster *c = *state;
    start_both(c, "answered:2", NULL);
    as_carol(c, alice_ends_after_the_answer);
}

/* Bob alone, in doubt: the first that comes finds it locked. */
static tr_err bob_comes_back_in_doubt(tr_actor *self, void *arg)
{
    cluster *c = arg;
    reading r = {"bob/account", -1};
    TR_TRY(begin(self));
    move_when_connected(self, "alice/account", "bob/account", 40);
    ended(&c->bob);
    end(&c->alice);
    start(c, &c->bob, NULL);
    TR_TRY(wait_for(self, "bob/account"));
    tr_tx_outcome out = {.reason = TR_TX_UNREACHABLE}; /* the look-up may be of the one before */
    for (int i = 0; i < 100 && (out.reason == TR_TX_UNREACHABLE || out.reason == TR_TX_BRANCH_LOST); i++) {
        TR_TRY(tr_sleep(self, TR_MILLIS(10)));
        out = tr_tx_run(self, read_body, &r, &hasty);
    }
    EXPECT(self, out.status == TR_TX_ABORTED && out.reason == TR_TX_LOCK_TIMEOUT && r.amount == -1, "%u %s",
           out.status, out.text);
    start(c, &c->alice, NULL);
    return expect_balances(self, 100, 0);
}

static void what_is_in_doubt_is_locked_before_anybody_is_let_in(void **state)
{
    cluster *c = *state;
    start_both(c, NULL, "prepare-forced");
    as_carol(c, bob_comes_back_in_doubt);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_cluster, close_cluster)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(a_transfer_between_two_hosts_commits),
        TEST(what_was_committed_survives_the_kill_of_all),
        TEST(a_refusal_of_one_aborts_both),
        TEST(a_refusal_whose_words_are_no_utf8_is_heard_at_once),
        TEST(a_node_that_is_away_is_named_and_nothing_happens),
        TEST(the_log_is_for_its_owner_only),
        TEST(row_2_a_participant_that_ends_before_it_promised),
        TEST(row_3_a_participant_that_ends_with_its_promise_on_the_disk_and_unheard),
        TEST(row_4_a_participant_that_ends_after_its_vote),
        TEST(row_6_a_coordinator_that_ends_before_it_decided),
        TEST(row_8_a_coordinator_that_ends_before_it_said_what_it_decided),
        TEST(row_9_a_coordinator_that_ends_before_it_told_the_others),
        TEST(row_10_a_participant_that_ends_before_it_acknowledged),
        TEST(a_vote_leaves_when_its_voter_ends_a_while_later),
        TEST(what_is_in_doubt_is_locked_before_anybody_is_let_in),
    };
    if (argc == 6 && strcmp(argv[1], "node") == 0)
        return node_main(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
