/* Two apps in two real node processes, with real logs, exchange items both ways; each is killed with SIGKILL in the
 * middle, again and again, and at the moment of a decision (TROUPE_TX_KILL). At the end both journals are the same: every
 * item once, in order, whole. The nodes are this same program, run with the word "node"; they tell by lines on their
 * standard output how far they are. Carol, who looks at both, is this process. */
#include <inttypes.h>
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

#include "tests/kit/loopback.h"

#define WINDOW 8 /* puts that a node has outstanding */
#define LONG   TR_SECONDS(60)

/* ---- fixture: a node with an app ----------------------------------------------------------------------- */

/* Item number i of an app: of various lengths, so that batches end anywhere. */
static size_t item_make(const char *id, unsigned i, char *data)
{
    int n = sprintf(data, "item %u of %s ", i, id);
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

typedef struct plan {
    const char *name, *id, *peer;
    unsigned items;
} plan;

/* Puts what isn't in the journal yet. */
static tr_err exchange(tr_actor *self, const plan *p)
{
    static char data[TR_APP_ITEM_MAX];
    const tr_app_status *s;
    const tr_app_put_done *done;
    tr_future puts[WINDOW];
    tr_addr app = tr_spawn_with(self, &tr_app, &(tr_app_opts){.name = p->name, .id = p->id, .peer = p->peer},
                                &(tr_spawn_opts){.name = "app"});
    say("%s\n", tr_node_listen(tr_node_of(self)));
    TR_TRY(tr_await(self, tr_ask(self, app, LONG, tr_app_query, .together = true), tr_app_status, &s));
    unsigned next = (unsigned)s->own + 1, first = next;
    say("own %u\n", next - 1);
    while (first <= p->items) {
        for (; next <= p->items && next < first + WINDOW; next++) {
            size_t size = item_make(p->id, next, data);
            puts[next % WINDOW] = tr_ask(self, app, LONG, tr_app_put, .data = {data, size});
        }
        TR_TRY(tr_await(self, puts[first % WINDOW], tr_app_put_done, &done));
        say("put %u as %" PRIu64 "\n", first++, done->number);
    }
    return TR_OK;
}

/* Stays, whatever it came to. */
static tr_err node_start(tr_actor *self, void *arg)
{
    if (exchange(self, arg) != TR_OK)
        say("failed: %s\n", tr_last_error(self)->text);
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

/* node NAME ID DIRECTORY LISTEN JOIN PEER ITEMS */
static int node_main(char **argv)
{
    tr_error error = {0};
    plan p = {argv[0], argv[1], argv[5], (unsigned)atoi(argv[6])};
    const char *join[] = {argv[4], NULL};
    tr_node_opts opts = {.name = p.name,
                         .data = argv[2],
                         .listen = argv[3],
                         .join = argv[4][0] ? join : NULL,
                         .loops = 2,
                         .log_level = getenv("TROUPE_TEST_LOG") ? TR_LOG_DEBUG : TR_LOG_ERROR,
                         .start = node_start,
                         .arg = &p};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    say("ended: %s\n", error.text);
    return err == TR_OK ? 0 : 1;
}

typedef struct other {
    const char *name, *id, *peer;
    pid_t pid; /* 0: it doesn't run */
    FILE *lines;
    char line[512], address[64];
    unsigned done; /* the last put that it told of */
} other;

typedef struct pair {
    char directory[64];
    other alice, bob; /* bob's path is the greater: his node decides */
    unsigned items;   /* that each puts */
    bool settled;     /* settles_without_bob */
} pair;

/* The next line, without its newline. */
static const char *line_of(other *o)
{
    if (!fgets(o->line, sizeof(o->line), o->lines))
        strcpy(o->line, "ended");
    o->line[strcspn(o->line, "\n")] = '\0';
    return o->line;
}

/* Once started it keeps its port. Bob joins alice. */
static void start(pair *t, other *o, const char *kill_at)
{
    int out[2];
    char items[16];
    snprintf(items, sizeof(items), "%u", t->items);
    assert_int_equal(0, pipe(out));
    o->pid = fork();
    assert_true(o->pid >= 0);
    if (o->pid == 0) {
        dup2(out[1], 1);
        close(out[0]);
        if (kill_at)
            setenv("TROUPE_TX_KILL", kill_at, 1);
        execl("/proc/self/exe", "node", "node", o->name, o->id, t->directory,
              o->address[0] ? o->address : LISTENS_AGAIN ":0", o == &t->bob ? t->alice.address : "", o->peer,
              items, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    o->lines = fdopen(out[0], "r");
    assert_int_equal(0, strncmp(line_of(o), LISTENS_AGAIN ":", 10));
    snprintf(o->address, sizeof(o->address), "%.60s", o->line);
}

static void end(other *o)
{
    if (!o->pid)
        return;
    kill(o->pid, SIGKILL);
    waitpid(o->pid, NULL, 0);
    fclose(o->lines);
    o->pid = 0;
}

/* It has killed itself, or does so now. */
static void ended(other *o)
{
    int status = 0;
    assert_int_equal(o->pid, waitpid(o->pid, &status, 0));
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    fclose(o->lines);
    o->pid = 0;
}

/* Read its lines until it has told of put number `until`. */
static void wait_for_put(other *o, unsigned until)
{
    unsigned number;
    while (o->done < until) {
        const char *line = line_of(o);
        if (sscanf(line, "put %u", &number) == 1) {
            assert_int_equal(o->done + 1, number);
            o->done = number;
        } else if (sscanf(line, "own %u", &number) == 1) {
            assert_true(number >= o->done); /* what was told as done is never undone */
            o->done = number;
        } else {
            fail_msg("%s: %s", o->name, line);
        }
    }
}

static int open_pair(void **state)
{
    static pair t;
    t = (pair){.directory = "/tmp/troupe-apps-XXXXXX",
               .alice = {.name = "alice", .id = "a1", .peer = "bob/app"},
               .bob = {.name = "bob", .id = "b1", .peer = "alice/app"},
               .items = 200};
    *state = &t;
    return mkdtemp(t.directory) ? 0 : -1;
}

static int close_pair(void **state)
{
    pair *t = *state;
    char command[128];
    end(&t->alice);
    end(&t->bob);
    snprintf(command, sizeof(command), "rm -rf %s", t->directory);
    return system(command);
}

static void start_both(pair *t)
{
    start(t, &t->alice, NULL);
    start(t, &t->bob, NULL);
}

/* ---- carol --------------------------------------------------------------------------------------------- */

#define EXPECT(condition, format, ...)                                                                \
    do {                                                                                              \
        if (!(condition))                                                                             \
            return tr_fail(self, TR_EAPP, "line %d: %s: " format, __LINE__, #condition, __VA_ARGS__); \
    } while (0)

static void as_carol(pair *t, tr_err (*run)(tr_actor *self, void *arg))
{
    tr_error error = {0};
    const char *join[] = {t->alice.address, t->bob.pid ? t->bob.address : NULL, NULL};
    tr_node_opts opts = {.name = "carol", .join = join, .start = run, .arg = t, .log_level = TR_LOG_ERROR};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node)
        fail_msg("%s", error.text);
    tr_err err = tr_node_run(node, &error);
    tr_node_destroy(node);
    if (err != TR_OK)
        fail_msg("%s", error.text);
}

static tr_err find(tr_actor *self, const char *path, tr_addr *app)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(20)), tr_found, &found));
    *app = found->actor;
    return TR_OK;
}

/* An entry is the item that it should be: number `*next` of its origin. */
static tr_err check_item(tr_actor *self, const tr_app_item *item, uint64_t number, unsigned next[2])
{
    static char data[TR_APP_ITEM_MAX];
    unsigned *n = &next[strcmp(item->origin, "a1") != 0];
    size_t size = item_make(item->origin, *n, data);
    EXPECT(item->number == number && item->data.size == size && memcmp(item->data.data, data, size) == 0,
           "entry %" PRIu64 " of %s isn't its item %u", number, item->origin, *n);
    (*n)++;
    return TR_OK;
}

static tr_err check_journal(tr_actor *self, const pair *t, const char *path, uint64_t *last, char digest[65],
                            char origins[512])
{
    tr_addr app;
    const tr_app_status *s;
    const tr_app_item *item;
    unsigned next[2] = {1, 1};
    TR_TRY(find(self, path, &app));
    TR_TRY(tr_await(self, tr_ask(self, app, LONG, tr_app_query, .together = true), tr_app_status, &s));
    EXPECT(s->own == t->items && s->other == t->items && s->last == 2 * t->items && s->waiting == 0,
           "%s: own %" PRIu64 " other %" PRIu64 " last %" PRIu64, path, s->own, s->other, s->last);
    *last = s->last;
    snprintf(digest, 65, "%s", s->digest);
    for (uint64_t n = 1; n <= *last; n++) {
        TR_TRY(tr_await(self, tr_ask(self, app, LONG, tr_app_get, .number = n), tr_app_item, &item));
        TR_TRY(check_item(self, item, n, next));
        origins[n - 1] = item->origin[0];
    }
    return TR_OK;
}

static tr_err journals_are_the_same(tr_actor *self, void *arg)
{
    const pair *t = arg;
    uint64_t last[2];
    char digest[2][65], origins[2][512];
    TR_TRY(check_journal(self, t, "alice/app", &last[0], digest[0], origins[0]));
    TR_TRY(check_journal(self, t, "bob/app", &last[1], digest[1], origins[1]));
    EXPECT(last[0] == last[1] && strcmp(digest[0], digest[1]) == 0 &&
               memcmp(origins[0], origins[1], last[0]) == 0,
           "%s %s", digest[0], digest[1]);
    return TR_OK;
}

static void both_finish_alike(pair *t)
{
    wait_for_put(&t->alice, t->items);
    wait_for_put(&t->bob, t->items);
    as_carol(t, journals_are_the_same);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void two_apps_end_with_the_same_journal(void **state)
{
    pair *t = *state;
    start_both(t);
    both_finish_alike(t);
}

/* Who is killed, and whether both at once, in turns. */
static void so_they_do_when_each_is_killed_in_the_middle_again_and_again(void **state)
{
    pair *t = *state;
    start_both(t);
    for (unsigned round = 1; round <= 6; round++) {
        bool alice = round % 3 != 1, bob = round % 3 != 2; /* bob; alice; both */
        wait_for_put(&t->alice, 30 * round);
        wait_for_put(&t->bob, 30 * round);
        if (alice)
            end(&t->alice);
        if (bob)
            end(&t->bob);
        if (alice)
            start(t, &t->alice, NULL);
        if (bob)
            start(t, &t->bob, NULL);
    }
    both_finish_alike(t);
}

/* Each point, in the middle of a run, of the node that decides. */
static void so_they_do_when_the_one_that_decides_is_killed_at_any_point(void **state)
{
    static const char *const points[] = {"before-commit:9", "commit-forced:9", "answered:9"};
    pair *t = *state;
    start(t, &t->alice, NULL);
    for (size_t i = 0; i < TR_COUNT(points); i++) {
        start(t, &t->bob, points[i]);
        ended(&t->bob);
    }
    start(t, &t->bob, NULL);
    both_finish_alike(t);
}

static void so_they_do_when_the_other_is_killed_at_any_point(void **state)
{
    static const char *const points[] = {"prepare-forced:9", "voted:9"};
    pair *t = *state;
    start(t, &t->alice, points[0]);
    start(t, &t->bob, NULL);
    ended(&t->alice);
    start(t, &t->alice, points[1]);
    ended(&t->alice);
    start(t, &t->alice, NULL);
    both_finish_alike(t);
}

static tr_err alice_is(tr_actor *self, const char *state, const char *text, const tr_app_status **s)
{
    tr_addr app;
    TR_TRY(find(self, "alice/app", &app));
    for (int i = 0; i < 200; i++) {
        TR_TRY(tr_await(self, tr_ask(self, app, LONG, tr_app_query), tr_app_status, s));
        if (strcmp((*s)->state, state) == 0 && strstr((*s)->error, text))
            return TR_OK;
        TR_TRY(tr_sleep(self, TR_MILLIS(50)));
    }
    EXPECT(false, "alice is %s: %s", (*s)->state, (*s)->error);
    return TR_OK;
}

static tr_err alice_is_in_doubt(tr_actor *self, void *arg)
{
    const tr_app_status *s;
    (void)arg;
    TR_TRY(alice_is(self, "resolving", "isn't known yet", &s));
    EXPECT(strstr(s->error, "its journal can't be read just now: another transaction"), "%s", s->error);
    return TR_OK;
}

/* One put of alice's, whose decision is forced when bob's node dies: nobody was told. */
static void a_put_whose_outcome_is_unknown_is_answered_once_with_its_number(void **state)
{
    pair *t = *state;
    t->items = 1;
    start(t, &t->alice, NULL);
    t->items = 0;
    start(t, &t->bob, "commit-forced");
    ended(&t->bob);
    as_carol(t, alice_is_in_doubt);
    assert_int_equal(0, t->alice.done);
    start(t, &t->bob, NULL);
    assert_string_equal("own 0", line_of(&t->alice));
    assert_string_equal("put 1 as 1", line_of(&t->alice));
}

/* Whether alice waits for nothing that bob has decided, or is to: without his log she would for ever. */
static tr_err settles_without_bob(tr_actor *self, void *arg)
{
    pair *t = arg;
    const tr_app_status *s = NULL;
    const tr_tx_listing *listing;
    tr_addr app, manager;
    TR_TRY(find(self, "alice/app", &app));
    for (int i = 0; i < 200 && (!s || (strcmp(s->state, "apart") != 0 && strcmp(s->state, "resolving") != 0));
         i++) {
        TR_TRY(tr_sleep(self, TR_MILLIS(10)));
        TR_TRY(tr_await(self, tr_ask(self, app, LONG, tr_app_query), tr_app_status, &s));
    }
    t->settled = strcmp(s->state, "apart") == 0;
    TR_TRY(find(self, "alice/tx", &manager));
    TR_TRY(tr_await(self, tr_ask(self, manager, LONG, tr_tx_list, .most = 1), tr_tx_listing, &listing));
    t->settled = t->settled && strstr(listing->json, "\"in_doubt\":[]");
    return TR_OK;
}

/* Kill bob in a moment in which she does, and has told of so many puts at least. */
static void end_bob_settled(pair *t, unsigned until)
{
    for (; !t->settled; until += 10) {
        assert_true(until < t->items);
        if (!t->bob.pid)
            start(t, &t->bob, NULL);
        wait_for_put(&t->alice, until);
        end(&t->bob);
        as_carol(t, settles_without_bob);
    }
}

static tr_err alice_is_apart(tr_actor *self, void *arg)
{
    const tr_app_status *s;
    (void)arg;
    TR_TRY(alice_is(self, "apart", "bob", &s));
    EXPECT(s->waiting > 0, "%" PRIu64, s->waiting);
    return TR_OK;
}

static void a_put_waits_while_the_peer_is_away_and_comes_through(void **state)
{
    pair *t = *state;
    start_both(t);
    end_bob_settled(t, 50);
    as_carol(t, alice_is_apart);
    start(t, &t->bob, NULL);
    both_finish_alike(t);
}

static tr_err both_are_stopped(tr_actor *self, void *arg)
{
    static const char *const paths[] = {"alice/app", "bob/app"};
    (void)arg;
    for (int i = 0; i < 2; i++) {
        const tr_app_status *s = NULL;
        tr_addr app;
        TR_TRY(find(self, paths[i], &app));
        for (int k = 0; k < 200 && (!s || strcmp(s->state, "stopped") != 0); k++) {
            TR_TRY(tr_sleep(self, TR_MILLIS(50)));
            TR_TRY(tr_await(self, tr_ask(self, app, LONG, tr_app_query), tr_app_status, &s));
        }
        EXPECT(strcmp(s->state, "stopped") == 0 && strstr(s->error, "could not talk properly to app ") &&
                   strstr(s->error, "bob/app has 0 entries and alice/app has "),
               "%s is %s: %s", paths[i], s->state, s->error);
    }
    return TR_OK;
}

static void a_log_that_was_replaced_ends_the_exchange_by_name_on_both_sides(void **state)
{
    pair *t = *state;
    char path[128];
    start_both(t);
    end_bob_settled(t, 20);
    snprintf(path, sizeof(path), "rm -rf %s/bob.txlog*", t->directory);
    assert_int_equal(0, system(path));
    start(t, &t->bob, NULL);
    as_carol(t, both_are_stopped);
    assert_non_null(strstr(line_of(&t->bob), "could not talk properly to app alice (a1)"));
    while (strncmp(line_of(&t->alice), "put", 3) == 0)
        ;
    assert_non_null(strstr(t->alice.line, "could not talk properly to app bob (b1)"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(two_apps_end_with_the_same_journal),
        TEST(so_they_do_when_each_is_killed_in_the_middle_again_and_again),
        TEST(so_they_do_when_the_one_that_decides_is_killed_at_any_point),
        TEST(so_they_do_when_the_other_is_killed_at_any_point),
        TEST(a_put_whose_outcome_is_unknown_is_answered_once_with_its_number),
        TEST(a_put_waits_while_the_peer_is_away_and_comes_through),
        TEST(a_log_that_was_replaced_ends_the_exchange_by_name_on_both_sides),
    };
    if (argc == 9 && strcmp(argv[1], "node") == 0)
        return node_main(argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
