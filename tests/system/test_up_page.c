/* The page of `troupe up --page` as a browser gets it, with real nodes: who is there, who died and came back, who is stuck,
 * what their transactions did, and that it ends with the rest. (tests/page-check looks at it.) */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/system/up_kit.h"

/* ---- helpers ------------------------------------------------------------------------------------------- */

static uint16_t port;

static void learn_port(void)
{
    const char *at = expect("= page: http://127.0.0.1:"), *end = at + strspn(at, "0123456789");
    port = (uint16_t)atoi(at);
    assert_true(port > 0 && *end == '\n'); /* a line of its own */
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* NULL: nobody answers. */
static json_t *state_now(void)
{
    static char answer[1 << 20];
    char request[128];
    size_t used = 0;
    ssize_t got;
    int fd = dial(), length = snprintf(request, sizeof(request),
                                       "GET /state.json HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                                       "Connection: close\r\n\r\n",
                                       (unsigned)port);
    if (fd < 0)
        return NULL;
    if (send(fd, request, (size_t)length, MSG_NOSIGNAL) == length)
        while (used < sizeof(answer) - 1 && (got = read(fd, answer + used, sizeof(answer) - 1 - used)) > 0)
            used += (size_t)got;
    answer[used] = '\0';
    close(fd);
    const char *body = strstr(answer, "\r\n\r\n");
    return body ? json_loads(body + 4, 0, NULL) : NULL;
}

static json_t *node_in(const json_t *state, const char *name)
{
    json_t *node;
    size_t i;
    json_array_foreach(json_object_get(state, "nodes"), i, node)
    {
        if (strcmp(json_string_value(json_object_get(node, "name")), name) == 0)
            return node;
    }
    return NULL;
}

static const char *text_in(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool node_is(const json_t *state, const char *name, const char *how, int incarnations)
{
    const json_t *node = node_in(state, name);
    return strcmp(text_in(node, "state"), how) == 0 &&
           json_integer_value(json_object_get(node, "incarnations")) == incarnations &&
           (strcmp(how, "up") != 0 || strlen(text_in(node, "incarnation")) == 16);
}

static void read_what_there_is(int within_ms)
{
    struct pollfd ready = {.fd = up.out, .events = POLLIN};
    if (poll(&ready, 1, within_ms) == 1)
        read_more();
}

/* Asks as a page does until it is as `is` says; the state is the caller's. */
static json_t *state_when(bool (*is)(const json_t *state))
{
    json_t *state = NULL;
    for (int i = 0; i < WITHIN_MS / 50; i++) {
        state = state_now();
        if (state && is(state))
            return state;
        json_decref(state);
        read_what_there_is(50);
    }
    state = state_now();
    fail_msg("it never was so; up said: %s\nin the end: %s", up.text, json_dumps(state, JSON_COMPACT));
    return NULL;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static bool three_are_up(const json_t *state)
{
    return node_is(state, "alice", "up", 1) && node_is(state, "bob", "up", 1) &&
           node_is(state, "carol", "up", 1) && json_array_size(json_object_get(state, "connections")) == 6;
}

static void the_page_has_the_nodes_of_the_file_and_their_connections(void **state)
{
    const json_t *way, *event;
    size_t i;
    bool told = false;
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n  - name: bob\n  - name: carol\n");
    up_start(path_of("up.yaml"), "--page");
    learn_port();
    json_t *now = state_when(three_are_up);
    assert_string_equal("up.yaml", text_in(now, "title"));
    assert_int_equal(3, json_array_size(json_object_get(now, "nodes")));
    json_array_foreach(json_object_get(now, "connections"), i, way)
        assert_true(json_is_true(json_object_get(way, "up")));
    json_array_foreach(json_object_get(now, "events"), i, event) told =
        told || strstr(text_in(event, "text"), "bob up: pid ");
    assert_true(told);
    /* What up doesn't know isn't there, and has no empty panel. */
    assert_null(json_object_get(now, "jobs"));
    assert_null(json_object_get(now, "latency"));
    json_decref(now);
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static bool alice_is_down_bob_is_new(const json_t *state)
{
    return node_is(state, "alice", "down", 1) && node_is(state, "bob", "up", 2);
}

static void a_killed_node_is_down_and_one_that_came_back_is_a_new_incarnation(void **state)
{
    (void)state;
    write_file("up.yaml", "nodes:\n  - {name: alice, restart: temporary}\n  - name: bob\n  - name: carol\n");
    up_start(path_of("up.yaml"), "--page");
    learn_port();
    pid_t alice = expect_up("alice = up: pid "), bob = expect_up("bob   = up: pid ");
    json_t *before = state_when(three_are_up);
    kill(alice, SIGKILL);
    kill(bob, SIGKILL);
    json_t *now = state_when(alice_is_down_bob_is_new);
    assert_string_equal("ended by signal 9, and isn't started again",
                        text_in(node_in(now, "alice"), "reason"));
    assert_string_not_equal(text_in(node_in(before, "bob"), "incarnation"),
                            text_in(node_in(now, "bob"), "incarnation"));
    const json_t *gap = json_array_get(json_object_get(node_in(now, "alice"), "down_ms"), 0);
    assert_true(json_is_null(json_array_get(gap, 1))); /* still */
    gap = json_array_get(json_object_get(node_in(now, "bob"), "down_ms"), 0);
    assert_true(json_number_value(json_array_get(gap, 1)) - json_number_value(json_array_get(gap, 0)) >= 200);
    json_decref(before);
    json_decref(now);
    kill(up.pid, SIGINT);
    assert_int_equal(1, up_status()); /* not every node ended well */
}

static bool bob_is_silent_carol_is_new(const json_t *state)
{
    return node_is(state, "bob", "silent", 1) && node_is(state, "carol", "up", 2);
}

static bool bob_is_up_again(const json_t *state)
{
    return node_is(state, "bob", "up", 1);
}

static void a_node_that_does_not_answer_is_silent_and_holds_up_no_other(void **state)
{
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n  - name: bob\n  - {name: carol, join: [alice]}\n");
    up_start(path_of("up.yaml"), "--page");
    learn_port();
    pid_t bob = expect_up("bob   = up: pid "), carol = expect_up("carol = up: pid ");
    kill(bob, SIGSTOP);
    kill(carol, SIGKILL);
    json_t *now = state_when(bob_is_silent_carol_is_new);
    assert_non_null(strstr(text_in(node_in(now, "bob"), "reason"), "doesn't answer"));
    json_decref(now);
    kill(bob, SIGCONT);
    json_decref(state_when(bob_is_up_again));
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static const char common[] = "#define TR_PLUGIN\n"
                             "#include <troupe/troupe.h>\n"
                             "TR_MESSAGE(change, TR_WRITES, (i64, amount))\n";
static const char account[] =
    "static tr_err transact(tr_txview *v, void *state, const tr_msg *m)\n"
    "{ (void)state; const change *c = tr_match(m, change);\n"
    "  return tr_view_put_i64(v, \"balance\", tr_view_i64(v, \"balance\", 0) + (c ? c->amount : 0)); }\n"
    "TR_ACTOR(account_def, .transact = transact);\n"
    "TR_PLUGIN_EXPORT(\"account\", \"1\", &account_def);\n";
static const char payer[] = "static tr_err pay(tr_actor *self, tr_tx *tx, void *arg)\n"
                            "{ (void)self; (void)arg;\n"
                            "  TR_TRY(tr_tx_await(tx, \"alice/account\", change, .amount = -1));\n"
                            "  return tr_tx_await(tx, \"bob/account\", change, .amount = 1); }\n"
                            "static tr_err run(tr_actor *self, void *arg)\n"
                            "{ (void)arg;\n"
                            "  while (tr_tx_run(self, pay, NULL, NULL).status != TR_TX_COMMITTED)\n"
                            "    tr_sleep(self, TR_MILLIS(50));\n"
                            "  return tr_receive(self, TR_FOREVER) ? TR_OK : TR_EKILLED; }\n"
                            "TR_ACTOR(payer_def, .run = run);\n"
                            "TR_PLUGIN_EXPORT(\"payer\", \"1\", &payer_def);\n";

static void build(const char *name, const char *source)
{
    char file[64], text[4096], command[1024];
    snprintf(file, sizeof(file), "%s.c", name);
    snprintf(text, sizeof(text), "%s%s", common, source);
    write_file(file, text);
    snprintf(command, sizeof(command),
             "umask 022; cd %s && cc -std=gnu17 -w -shared -fPIC -fvisibility=hidden -I'%s/include' -o %s.so "
             "%s.c",
             directory, getenv("TROUPE_SOURCE"), name, name);
    assert_int_equal(0, system(command));
}

static bool is_of_node(const json_t *transaction, const char *name)
{
    const json_t *event;
    size_t i;
    json_array_foreach(json_object_get(transaction, "events"), i, event)
    {
        if (strcmp(text_in(event, "node"), name) == 0)
            return true;
    }
    return false;
}

static bool one_is_committed_by_all(const json_t *state)
{
    const json_t *one;
    size_t i;
    json_array_foreach(json_object_get(state, "transactions"), i, one)
    {
        if (strcmp(text_in(one, "state"), "committed") == 0 && is_of_node(one, "alice") &&
            is_of_node(one, "bob") && is_of_node(one, "carol"))
            return true;
    }
    return false;
}

static void a_transaction_is_told_with_what_each_node_did(void **state)
{
    (void)state;
    build("account", account);
    build("payer", payer);
    write_file("up.yaml", "nodes:\n  - {name: alice, plugins: [account.so], data: a}\n"
                          "  - {name: bob, plugins: [account.so], data: b}\n"
                          "  - {name: carol, plugins: [payer.so], data: c}\n");
    up_start(path_of("up.yaml"), "--page");
    learn_port();
    json_t *now = state_when(one_is_committed_by_all);
    assert_string_equal("account", text_in(node_in(now, "alice"), "part"));
    json_decref(now);
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static bool has_ended(const json_t *state)
{
    return json_is_true(json_object_get(state, "ended"));
}

static void ctrl_c_ends_the_page_with_its_verdict_and_leaves_nothing(void **state)
{
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n  - name: bob\n  - name: carol\n");
    up_start(path_of("up.yaml"), "--page");
    learn_port();
    pid_t alice = expect_up("alice = up: pid "), bob = expect_up("bob   = up: pid ");
    json_decref(state_when(three_are_up));
    kill(-up.pid, SIGINT); /* as a terminal does: to the whole group */
    json_t *last = state_when(has_ended);
    const json_t *verdict = json_object_get(last, "verdict");
    assert_true(json_is_true(json_object_get(verdict, "ok")));
    assert_string_equal("all have ended well", text_in(verdict, "text"));
    assert_int_equal(3, json_array_size(json_object_get(verdict, "lines")));
    assert_true(node_is(last, "alice", "ended", 1));
    json_decref(last);
    json_decref(state_now()); /* as the page does at the end; then it isn't waited for */
    assert_int_equal(0, up_status());
    assert_gone(alice);
    assert_gone(bob);
    assert_int_equal(-1, dial());
}

static void a_port_in_use_is_told_and_nothing_is_started(void **state)
{
    char number[8];
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    (void)state;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(0, bind(fd, (struct sockaddr *)&at, sizeof(at)));
    assert_int_equal(0, listen(fd, 1));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&at, &size));
    snprintf(number, sizeof(number), "%u", (unsigned)ntohs(at.sin_port));
    write_file("up.yaml", "nodes:\n  - name: alice\n");
    up_start_with(path_of("up.yaml"), "--page", number);
    assert_int_equal(1, up_status());
    assert_non_null(strstr(up.text, number));
    assert_non_null(strstr(up.text, "nothing was started; --page PORT takes another port"));
    assert_null(strstr(up.text, "pid "));
    close(fd);
}

static void the_port_that_is_asked_for_is_the_one(void **state)
{
    char number[8];
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    (void)state;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* a free one, given back */
    assert_int_equal(0, bind(fd, (struct sockaddr *)&at, sizeof(at)));
    assert_int_equal(0, getsockname(fd, (struct sockaddr *)&at, &size));
    close(fd);
    snprintf(number, sizeof(number), "%u", (unsigned)ntohs(at.sin_port));
    write_file("up.yaml", "nodes:\n  - name: alice\n");
    up_start_with(path_of("up.yaml"), "--page", number);
    expect(number);
    expect_up("alice = up: pid ");
    kill(up.pid, SIGINT);
    assert_int_equal(0, up_status());
}

static void a_wrong_port_is_refused_and_check_has_no_page(void **state)
{
    static const char *const wrong[] = {"0", "65536", "99999999999"};
    (void)state;
    write_file("up.yaml", "nodes:\n  - name: alice\n");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        memset(&up, 0, sizeof(up));
        up_start_with(path_of("up.yaml"), "--page", wrong[i]);
        assert_int_equal(2, up_status());
        assert_non_null(strstr(up.text, "a whole number from 1 to 65535 is needed"));
    }
    memset(&up, 0, sizeof(up));
    up_start_with(path_of("up.yaml"), "--page", "--check");
    assert_int_equal(2, up_status());
    assert_non_null(strstr(up.text, "usage: "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(the_page_has_the_nodes_of_the_file_and_their_connections),
        TEST(a_killed_node_is_down_and_one_that_came_back_is_a_new_incarnation),
        TEST(a_node_that_does_not_answer_is_silent_and_holds_up_no_other),
        TEST(a_transaction_is_told_with_what_each_node_did),
        TEST(ctrl_c_ends_the_page_with_its_verdict_and_leaves_nothing),
        TEST(a_port_in_use_is_told_and_nothing_is_started),
        TEST(the_port_that_is_asked_for_is_the_one),
        TEST(a_wrong_port_is_refused_and_check_has_no_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
