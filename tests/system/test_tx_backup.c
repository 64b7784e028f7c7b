/* A node's transactions are backed up while it works, and restored elsewhere: `troupe tx backup`, `restore`. Alice has two
 * accounts, x and y, between which each transaction moves something, and bob has z, which counts those that he heard of. All
 * are this same program. */
#include <inttypes.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/kit/loopback.h"
#include "tests/system/cli_kit.h"

/* ---- nodes --------------------------------------------------------------------------------------------- */

TR_MESSAGE(add, TR_WRITES, (i64, amount), (u32, padding))
TR_MESSAGE(look)
TR_MESSAGE(has, (i64, amount))

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    static char padding[1000 * 1000];
    const add *a = tr_match(msg, add);
    int64_t amount = tr_view_i64(v, "amount", 100);
    (void)state;
    if (!a)
        return tr_view_reply(v, has, .amount = amount);
    if (a->padding)
        TR_TRY(tr_view_put(v, "padding", padding, a->padding));
    return tr_view_put_i64(v, "amount", amount + a->amount);
}
TR_ACTOR(account_def, .transact = account);

static tr_err keep_accounts(tr_actor *self, void *arg)
{
    static const char *const names[] = {"x", "y", "z"};
    (void)arg;
    for (size_t i = 0; i < TR_COUNT(names); i++)
        if (tr_addr_is_none(tr_spawn_with(self, &account_def, NULL, &(tr_spawn_opts){.name = names[i]})))
            return tr_last_error(self)->code;
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

static uint32_t padding;

static tr_err move(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    (void)arg;
    TR_TRY(tr_tx_await(tx, "alice/x", add, .amount = -1, .padding = padding));
    TR_TRY(tr_tx_await(tx, "alice/y", add, .amount = 1));
    return padding ? TR_OK : tr_tx_await(tx, "bob/z", add, .amount = 1);
}

static tr_err sum(tr_actor *self, tr_tx *tx, void *arg)
{
    const has *x, *y;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, "alice/x", has, &x, look));
    int64_t of_x = x->amount;
    TR_TRY(tr_tx_await_reply(tx, "alice/y", has, &y, look));
    *(int64_t *)arg = of_x + y->amount;
    printf("x %" PRId64 " and y %" PRId64 ": ", of_x, y->amount);
    return TR_OK;
}

/* "COUNT", so many moves, one after the other; 0: only a look. What came of the last one, in a line. */
static tr_err call(tr_actor *self, void *arg)
{
    int64_t all = 0;
    tr_tx_outcome out = {.status = TR_TX_UNKNOWN};
    TR_TRY(tr_await_msg(self, tr_lookup(self, "alice/x", TR_SECONDS(10)), NULL));
    TR_TRY(tr_await_msg(self, tr_lookup(self, "bob/z", TR_SECONDS(10)), NULL));
    int count = atoi(arg);
    for (int i = 0; i < count || (count == 0 && i == 0); i++)
        out = count ? tr_tx_run(self, move, NULL, NULL) : tr_tx_run(self, sum, &all, NULL);
    printf("status %d reason %d sum %" PRId64 " %s\n%s\n", (int)out.status, (int)out.reason, all, out.text,
           out.ticket);
    return TR_OK;
}

/* node NAME DIRECTORY LISTEN JOIN [JOIN]; carol's DIRECTORY is how many moves, and whether with padding. */
static int node_main(int argc, char **argv)
{
    const char *join[3] = {NULL};
    tr_error error;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 5, n = 0; i < argc; i++)
        if (argv[i][0])
            join[n++] = argv[i];
    bool calls = strcmp(argv[2], "carol") == 0;
    padding = calls && strchr(argv[3], '+') ? 1000 * 1000 : 0;
    tr_node_opts opts = {.name = argv[2],
                         .data = calls ? NULL : argv[3],
                         .listen = calls ? NULL : argv[4],
                         .join = join[0] ? join : NULL,
                         .operator_socket = !calls,
                         .start = calls ? call : keep_accounts,
                         .arg = argv[3]};
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "node %s: %s\n", argv[2], error.text);
    return err != TR_OK;
}

typedef struct other {
    const char *name, *data;
    pid_t pid;
    char address[64];
} other;

static other alice, bob;

/* Once started it keeps its port. */
static void start(other *o, const char *data)
{
    int out[2];
    char directory[128];
    snprintf(directory, sizeof(directory), "%s/%s", cli_directory, data);
    assert_int_equal(0, pipe(out));
    o->pid = fork();
    if (o->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", o->name, directory,
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
    snprintf(cli_directory, sizeof(cli_directory), "/tmp/troupe-backup-XXXXXX");
    assert_non_null(mkdtemp(cli_directory));
    assert_int_equal(0, setenv("XDG_RUNTIME_DIR", cli_directory, 1));
    alice = (other){.name = "alice"};
    bob = (other){.name = "bob"};
    start(&alice, "a");
    start(&bob, "b");
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

/* What carol's last one came to; in the file `carol`. */
static int carol(const char *moves, const char *behind)
{
    return sh("/proc/%d/exe node carol %s '' %s %s >carol 2>&1 %s", (int)getpid(), moves, alice.address,
              bob.address, behind);
}

/* As soon as all are connected again. */
static void carol_says(const char *moves, const char *text)
{
    for (int i = 0; i < 100; i++) {
        assert_int_equal(0, carol(moves, ""));
        if (strstr(content("carol"), text))
            return;
        poll(NULL, 0, 100);
    }
    fail_msg("\"%s\" isn't in: %s", text, content("carol"));
}

static char *ticket(void)
{
    static char text[TR_TX_TICKET_MAX];
    const char *line = strchr(content("carol"), '\n');
    snprintf(text, sizeof(text), "%s", line ? line + 1 : "");
    text[strcspn(text, "\n")] = 0;
    return text;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void a_backup_under_load_is_one_moment_and_what_came_after_it_is_log_lost_until_accepted(void **state)
{
    char kept[TR_TX_TICKET_MAX], lost[TR_TX_TICKET_MAX];
    (void)state;
    carol_says("3", "status 0");
    snprintf(kept, sizeof(kept), "%s", ticket());
    assert_int_equal(0, carol("400000", "& echo $! >load"));
    for (int i = 0; i < 5; i++) {
        poll(NULL, 0, 50);
        assert_int_equal(0, sh("rm -rf backup; $T tx backup alice backup"));
    }
    assert_contains(content("out"), "backup: node alice up to record ");
    assert_int_equal(0, sh("kill -9 $(cat load)"));
    carol_says("1", "status 0");
    snprintf(lost, sizeof(lost), "%s", ticket());
    end(&alice);

    assert_int_equal(0, sh("$T tx restore backup elsewhere"));
    assert_contains(content("out"), "It says log-lost until `troupe tx accept alice");
    start(&alice, "elsewhere");
    carol_says("1", "has a log that was restored from a backup");
    assert_int_equal(0, sh("$T tx list"));
    assert_contains(content("out"), "log lost");
    assert_int_equal(0, sh("$T tx resolve %s", kept));
    assert_string_equal("committed\n", content("out"));
    assert_int_equal(1, sh("$T tx resolve %s", lost));
    assert_contains(content("out"), "unknown: ");
    assert_int_equal(0, sh("$T tx accept alice --lose-what-is-missing"));
    carol_says("0", "sum 200");
    carol_says("1", "status 0");
    end(&alice);
    start(&alice, "elsewhere");
    carol_says("0", "sum 200");
    assert_int_equal(1, sh("$T tx resolve %s", lost));
    assert_contains(content("out"), "unknown: ");
}

static void an_operator_who_knows_goes_on_at_once(void **state)
{
    (void)state;
    carol_says("1", "status 0"); /* all are connected: none of the others is aborted */
    carol_says("19", "status 0");
    assert_int_equal(0, sh("$T tx backup alice backup"));
    carol_says("5", "status 0");
    end(&alice);
    assert_int_equal(0, sh("$T tx restore backup elsewhere --lose-what-is-missing"));
    start(&alice, "elsewhere");
    carol_says("0", "x 80 and y 120: status 0 reason 0 sum 200");
    carol_says("1", "status 0");
}

static void assert_fails(const char *command, const char *why)
{
    assert_int_equal(1, sh("%s", command));
    assert_contains(content("err"), why);
}

/* 256 MiB of log: a snapshot, closed segments behind it, and the one that is written. */
static void a_snapshot_and_all_segments_behind_it_come_along(void **state)
{
    (void)state;
#ifdef TR_PLAIN_POOLS
    skip(); /* it takes minutes there, and is the same code as in the others */
#endif
    carol_says("420+", "status 0");
    for (int i = 0; i < 200 && (sh("test -e a/alice.txsnap -a ! -e a/alice.txlog.2") != 0); i++)
        poll(NULL, 0, 100);
    assert_fails("trap '' XFSZ; ulimit -f 20000; $T tx backup alice backup", "writing backup/alice.txlog.");
    assert_int_equal(1, sh("test -e backup")); /* nor the snapshot, which was copied */
    assert_int_equal(0, sh("$T tx backup alice backup && ls backup"));
    assert_contains(content("out"), "alice.txsnap");
    assert_contains(content("out"), "alice.txlog.5");
    assert_contains(content("out"), "alice.txlog.6");
    end(&alice);
    assert_int_equal(0, sh("$T tx restore backup elsewhere --lose-what-is-missing"));
    start(&alice, "elsewhere");
    carol_says("0", "x -320 and y 520: status 0 reason 0 sum 200");
    carol_says("1", "status 0");
}

static void nothing_is_written_over_and_what_is_damaged_is_named(void **state)
{
    (void)state;
    carol_says("3", "status 0");
    assert_fails("$T tx backup nobody backup", "no node \"nobody\" runs here");
    assert_fails("mkdir there; $T tx backup alice there", "making there: File exists");
    assert_fails("$T tx backup alice not/there", "making not/there: No such file");
    assert_int_equal(0, sh("$T tx backup alice backup"));
    assert_fails("$T tx restore backup a", "alice.txlog is there already");
    assert_fails("$T tx restore there elsewhere", "there is no whole backup: it has no backup.json");
    assert_fails(
        "cp -r backup bad; printf x | dd of=bad/alice.txlog bs=1 seek=13000 conv=notrunc 2>/dev/null; "
        "$T tx restore bad elsewhere",
        "bad/alice.txlog is damaged");
    assert_fails(
        "sed -i 's/\"troupe_backup\": 1/\"troupe_backup\": 2/' bad/backup.json; $T tx restore bad elsewhere",
        "has backup format 2, this program knows 1");
    assert_fails(
        "sed -i 's,\"alice.txlog\",\"../evil\",; s/k\": 2/k\": 1/' bad/backup.json; "
        "sed -i 's/\"troupe_backup\": 2/\"troupe_backup\": 1/' bad/backup.json; $T tx restore bad elsewhere",
        "it makes no sense");
    assert_int_equal(1, sh("test -e elsewhere"));
    assert_int_equal(2, sh("$T tx backup alice"));
    assert_int_equal(2, sh("$T tx restore backup"));
    assert_fails("printf x | dd of=a/alice.txlog bs=1 seek=12400 conv=notrunc 2>/dev/null; "
                 "$T tx backup alice worse",
                 "alice.txlog"); /* which the node, that has read it, doesn't know */
    assert_int_equal(1, sh("test -e worse"));
    carol_says("0", "sum 200");
}

/* A limit on the size of files stands for a full disk. */
static void when_the_disk_is_full_what_was_made_is_removed_and_the_node_goes_on(void **state)
{
    (void)state;
    carol_says("200", "status 0");
    assert_fails("trap '' XFSZ; ulimit -f 8; $T tx backup alice backup", "writing backup/alice.txlog: ");
    assert_int_equal(1, sh("test -e backup"));
    carol_says("1", "status 0");
    assert_int_equal(0, sh("$T tx backup alice backup"));
    assert_string_equal("", content("err")); /* the node holds nothing for the one that failed */
    assert_fails("trap '' XFSZ; ulimit -f 8; $T tx restore backup elsewhere", "alice.txlog: ");
    assert_int_equal(1, sh("test -e elsewhere"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_backup_under_load_is_one_moment_and_what_came_after_it_is_log_lost_until_accepted, setup,
            teardown),
        cmocka_unit_test_setup_teardown(an_operator_who_knows_goes_on_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_and_all_segments_behind_it_come_along, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_written_over_and_what_is_damaged_is_named, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(when_the_disk_is_full_what_was_made_is_removed_and_the_node_goes_on,
                                        setup, teardown),
    };
    if (argc > 5 && strcmp(argv[1], "node") == 0)
        return node_main(argc, argv);
    return cmocka_run_group_tests_name("tx_backup", tests, NULL, NULL);
}
