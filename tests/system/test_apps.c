/* Two apps in two real node processes exchange items both ways; each is killed with SIGKILL in the middle and
 * started again with its journal. At the end both journals are the same file: every item once, in order,
 * whole. The nodes are this same program, run with the word "node"; they tell by lines on their standard
 * output how far they are. */
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

#include <troupe/app.h>
#include <troupe/node.h>

#include "actors/kinds/journal.h"

#define ITEMS  200
#define WINDOW 8 /* puts that a node has outstanding */

/* ---- fixture: a node with an app ----------------------------------------------------------------------- */

typedef struct plan {
    const char *name, *id, *peer, *journal;
} plan;

/* Item number i of an app: of various lengths, so that batches and entries end anywhere. */
static size_t item_make(const char *name, unsigned i, char *data)
{
    int n = sprintf(data, "item %u of %s ", i, name);
    size_t more = i % 50 == 0 ? TR_APP_ITEM_MAX - (size_t)n : i * 37 % 900;
    for (size_t k = 0; k < more; k++)
        data[(size_t)n + k] = (char)(i + k);
    return (size_t)n + more;
}

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

static tr_err exchange(tr_actor *self, void *arg)
{
    static char data[TR_APP_ITEM_MAX];
    const plan *p = arg;
    const tr_app_status *s;
    const tr_app_put_done *done;
    tr_future puts[WINDOW];
    say("%s\n", tr_node_listen(tr_node_of(self)));
    tr_addr app = tr_spawn_with(
        self, &tr_app, &(tr_app_opts){.name = p->name, .id = p->id, .peer = p->peer, .journal = p->journal},
        &(tr_spawn_opts){.name = "app"});
    TR_TRY(
        tr_await(self, tr_ask(self, app, TR_SECONDS(60), tr_app_query, .together = true), tr_app_status, &s));
    unsigned next = (unsigned)s->own + 1, first = next;
    say("own %u\n", next - 1);
    while (first <= ITEMS) {
        for (; next <= ITEMS && next < first + WINDOW; next++) {
            size_t size = item_make(p->name, next, data);
            puts[next % WINDOW] = tr_ask(self, app, TR_SECONDS(60), tr_app_put, .data = {data, size});
        }
        TR_TRY(tr_await(self, puts[first % WINDOW], tr_app_put_done, &done));
        say("put %u as %llu %s\n", first++, (unsigned long long)done->number, done->digest);
    }
    say("all\n");
    /* There may be more of the other's to come; the test ends us. */
    for (;;)
        tr_receive(self, TR_FOREVER);
}

/* node NAME ID LISTEN|- JOIN|- PEER|- JOURNAL LOOPS */
static int node_main(char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_error error;
    plan p = {argv[0], argv[1], strcmp(argv[4], "-") ? argv[4] : "", argv[5]};
    const char *join[] = {argv[3], NULL};
    tr_node_opts opts = {.name = p.name,
                         .listen = strcmp(argv[2], "-") ? argv[2] : NULL,
                         .join = strcmp(argv[3], "-") ? join : NULL,
                         .loops = (uint32_t)atoi(argv[6]),
                         .log_level = getenv("TROUPE_TEST_LOG") ? TR_LOG_DEBUG : TR_LOG_WARN,
                         .start = exchange,
                         .arg = &p};
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    say("failed: %s\n", error.text);
    return err == TR_OK ? 0 : 1;
}

typedef struct proc {
    pid_t pid;
    FILE *lines;
    char line[512];
    unsigned done; /* the last put that it told of */
} proc;

typedef struct pair {
    proc alice, bob;
    char address[64], alice_journal[64], bob_journal[64], dir[32];
} pair;

static void proc_start(proc *p, const char *name, const char *id, const char *listen, const char *join,
                       const char *peer, const char *journal, const char *loops)
{
    int out[2];
    assert_int_equal(0, pipe(out));
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        execl("/proc/self/exe", "node", "node", name, id, listen, join, peer, journal, loops, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    p->lines = fdopen(out[0], "r");
}

static void proc_end(proc *p)
{
    if (!p->pid)
        return;
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
    fclose(p->lines);
    p->pid = 0;
}

/* The next line, without its newline. */
static const char *line_of(proc *p)
{
    if (!fgets(p->line, sizeof(p->line), p->lines))
        strcpy(p->line, "ended");
    p->line[strcspn(p->line, "\n")] = '\0';
    return p->line;
}

static void bob_start(pair *t)
{
    proc_start(&t->bob, "bob", "b1", t->address[0] ? t->address : "127.0.0.1:0", "-", "-", t->bob_journal,
               "1");
    const char *line = line_of(&t->bob);
    assert_int_equal(0, strncmp(line, "127.0.0.1:", 10));
    strcpy(t->address, line);
}

static void alice_start(pair *t)
{
    proc_start(&t->alice, "alice", "a1", "-", t->address, "bob/app", t->alice_journal, "2");
    assert_string_equal("", line_of(&t->alice));
}

/* Read its lines until it has told of put number `until`. */
static void wait_for_put(proc *p, unsigned until)
{
    unsigned number;
    while (p->done < until) {
        const char *line = line_of(p);
        if (sscanf(line, "put %u", &number) == 1) {
            assert_int_equal(p->done + 1, number);
            p->done = number;
        } else if (sscanf(line, "own %u", &number) == 1) {
            assert_true(number >= p->done); /* what was told as done is never undone */
            p->done = number;
        } else {
            fail_msg("%s", line);
        }
    }
}

/* ---- assertions ---------------------------------------------------------------------------------------- */

static uint8_t *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_int_equal(*size, fread(bytes, 1, *size, file));
    fclose(file);
    return bytes;
}

static void journals_are_the_same_and_whole(const pair *t)
{
    static char data[TR_APP_ITEM_MAX];
    size_t size_a, size_b, used;
    uint8_t *a = file_read(t->alice_journal, &size_a), *b = file_read(t->bob_journal, &size_b);
    unsigned next_a = 1, next_b = 1;
    tr__entry entry;
    const char *why;
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    for (used = 0; used < size_a; used += entry.whole) {
        assert_int_equal(TR__ENTRY_WHOLE, tr__entry_parse(a + used, size_a - used, &entry, &why));
        assert_true(tr__entry_right(&entry));
        bool of_alice = strcmp(entry.origin, "a1") == 0;
        unsigned *next = of_alice ? &next_a : &next_b;
        assert_int_equal(entry.size, item_make(of_alice ? "alice" : "bob", *next, data));
        assert_memory_equal(data, entry.data, entry.size);
        (*next)++;
        assert_int_equal(entry.number, next_a + next_b - 2);
    }
    assert_int_equal(ITEMS + 1, next_a);
    assert_int_equal(ITEMS + 1, next_b);
    free(a);
    free(b);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void two_apps_end_with_the_same_journal(void **state)
{
    pair *t = *state;
    bob_start(t);
    alice_start(t);
    wait_for_put(&t->alice, ITEMS);
    wait_for_put(&t->bob, ITEMS);
    journals_are_the_same_and_whole(t);
}

/* Who is killed, and whether both at once, in turns. */
static void so_they_do_when_each_is_killed_in_the_middle(void **state)
{
    pair *t = *state;
    bob_start(t);
    alice_start(t);
    wait_for_put(&t->bob, 30);
    proc_end(&t->bob);
    bob_start(t);
    wait_for_put(&t->bob, 60);
    wait_for_put(&t->alice, 60);
    proc_end(&t->alice);
    alice_start(t);
    wait_for_put(&t->alice, 90);
    wait_for_put(&t->bob, 90);
    proc_end(&t->alice);
    proc_end(&t->bob);
    bob_start(t);
    alice_start(t);
    wait_for_put(&t->alice, ITEMS);
    wait_for_put(&t->bob, ITEMS);
    journals_are_the_same_and_whole(t);
}

static void cut_file(const char *path, long back)
{
    size_t size;
    free(file_read(path, &size));
    assert_int_equal(0, truncate(path, (off_t)size - back));
}

/* The passive side may even lose entries (a disk that lied): the active one sends them again. */
static void a_journal_torn_in_its_last_entries_is_completed_by_the_other(void **state)
{
    pair *t = *state;
    bob_start(t);
    alice_start(t);
    wait_for_put(&t->bob, 50);
    proc_end(&t->bob);
    cut_file(t->bob_journal, 3000);
    bob_start(t);
    t->bob.done = 0;
    wait_for_put(&t->alice, ITEMS);
    wait_for_put(&t->bob, ITEMS);
    journals_are_the_same_and_whole(t);
}

static int setup(void **state)
{
    static pair t;
    t = (pair){.dir = "/tmp/test_apps.XXXXXX"};
    if (!mkdtemp(t.dir))
        return 1;
    sprintf(t.alice_journal, "%s/alice.journal", t.dir);
    sprintf(t.bob_journal, "%s/bob.journal", t.dir);
    *state = &t;
    return 0;
}

static int teardown(void **state)
{
    pair *t = *state;
    proc_end(&t->alice);
    proc_end(&t->bob);
    unlink(t->alice_journal);
    unlink(t->bob_journal);
    return rmdir(t->dir);
}

int main(int argc, char **argv)
{
    if (argc == 9 && strcmp(argv[1], "node") == 0)
        return node_main(argv + 2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_apps_end_with_the_same_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(so_they_do_when_each_is_killed_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(a_journal_torn_in_its_last_entries_is_completed_by_the_other, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
