/* `troupe why` on real processes (this same program, run with a node's options) with a planted fault each: it must name the
 * cause. Between the nodes and the command is nothing but the operator sockets. */
#include "tests/kit/operator_kit.h"

#include <sys/stat.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/names/warden.h"
#include "actors/operator/operator.h"

/* ---- the nodes' actors --------------------------------------------------------------------------------- */

TR_MESSAGE(get_stuck)
TR_MESSAGE(go, (string, path), (string, then))
TR_MESSAGE(question, (string, then))
TR_MESSAGE(answer_is)
TR_MESSAGE(bump, TR_WRITES, (i64, amount))
TR_MESSAGE(nap, (u32, ms))
TR_MESSAGE(flood, (string, path))
TR_MESSAGE(tick)
TR_MESSAGE(pry, (string, path), (string, request), (u32, spaces))

static void say(const char *line)
{
    puts(line);
    fflush(stdout);
}

static void wait_for_a_byte(void)
{
    char let_go;
    say("stuck");
    if (read(STDIN_FILENO, &let_go, 1) == 1)
        say("let go");
}

/* The stack that is looked for has each of these in it: no call of them is a jump. */
#define STAY() __asm__ volatile("")

static void stuck_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    if (tr_match(msg, get_stuck))
        wait_for_a_byte();
    STAY();
}
TR_ACTOR(stuck_def, .receive = stuck_receive);

static void own_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    if (tr_match(msg, question))
        tr_reply(self, msg, answer_is);
    else
        stuck_receive(self, state, msg);
    STAY();
}
TR_ACTOR(own_def, .receive = own_receive, .own_thread = true);

/* Asks whom it is told to ask, and while it awaits that it answers nobody. */
static tr_err asker_run(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const go *g = tr_match(msg, go);
        const question *q = tr_match(msg, question);
        const char *path = g ? g->path : q ? q->then : "", *then = g ? g->then : "";
        if (*path) {
            const tr_found *found;
            TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(15)), tr_found, &found));
            tr_future asked = tr_ask(self, found->actor, TR_SECONDS(60), question, .then = then);
            say("asks");
            tr_await_msg(self, asked, NULL);
        }
        if (q)
            tr_reply(self, msg, answer_is);
    }
    return TR_OK;
}
TR_ACTOR(asker_def, .run = asker_run);

static void keeper_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, question))
        tr_msg_take(self, msg);
}
TR_ACTOR(keeper_def, .receive = keeper_receive);

static tr_err napper_run(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const nap *n = tr_match(msg, nap);
        if (n)
            tr_sleep(self, TR_MILLIS(n->ms));
    }
    return TR_OK;
}
TR_ACTOR(napper_def, .run = napper_run, .mailbox_places = 8);

/* Asks another node's warden, as an operator of this one would, for anything. */
static tr_err spy_run(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const pry *p = tr_match(msg, pry);
        const tr_found *found;
        const tr__operator_peer_told *told;
        if (!p)
            continue;
        size_t length = strlen(p->request), spaces = p->spaces; /* behind it */
        char *request = malloc(length + spaces + 1);
        memcpy(request, p->request, length);
        memset(request + length, ' ', spaces);
        request[length + spaces] = '\0';
        tr_err err = tr_await(self, tr_lookup(self, p->path, TR_SECONDS(15)), tr_found, &found);
        if (err == TR_OK)
            err = tr_await(self,
                           tr_ask(self, TR__WARDEN_OF(found->actor.node), TR_SECONDS(5),
                                  tr__operator_peer_ask, .text = request),
                           tr__operator_peer_told, &told);
        say(err == TR_OK ? told->text : tr_err_word(err));
        free(request);
    }
    return TR_OK;
}
TR_ACTOR(spy_def, .run = spy_run);

static void flooder_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const flood *f = tr_match(msg, flood);
    (void)state;
    if (!f)
        return;
    while (tr_send(self, tr_whereis(self, f->path), tick) == TR_OK)
        ;
    say("flooded");
}
TR_ACTOR(flooder_def, .receive = flooder_receive);

/* Its own mailbox lets senders wait, and nobody empties it. */
static tr_err patient_run(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const flood *f = tr_match(msg, flood);
        if (!f)
            continue;
        tr_addr to = tr_whereis(self, f->path);
        say("floods");
        for (int i = 0; i < 100 && tr_send(self, to, tick) == TR_OK; i++)
            ; /* to one that is gone a send succeeds */
    }
    return TR_OK;
}
TR_ACTOR(patient_def, .run = patient_run);
TR_ACTOR(pond_def, .run = napper_run, .mailbox_places = 8, .overflow = TR_OVERFLOW_WAIT);

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    const bump *b = tr_match(msg, bump);
    (void)state;
    return b ? tr_view_put_i64(v, "balance", tr_view_i64(v, "balance", 0) + b->amount) : TR_OK;
}
TR_ACTOR(account_def, .transact = account);

/* With a time to sleep it holds the account's lock for so long. */
static tr_err payer_run(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const nap *n = tr_match(msg, nap);
        if (!n)
            continue;
        uint32_t ms = n->ms;
        tr_tx tx = tr_tx_begin(self, &(tr_tx_opts){TR_SECONDS(60), TR_SECONDS(50)});
        say("calls");
        while (tr_tx_await(&tx, "ada/account", bump, .amount = 1) != TR_OK) { /* not connected yet */
            tr_tx_abort(&tx); /* else what it has locked stays so until its deadline */
            tr_sleep(self, TR_MILLIS(20));
            tx = tr_tx_begin(self, &(tr_tx_opts){TR_SECONDS(60), TR_SECONDS(50)});
        }
        say("holds");
        if (ms)
            tr_sleep(self, TR_MILLIS(ms));
    }
    return TR_OK;
}
TR_ACTOR(payer_def, .run = payer_run);

static tr_err start(tr_actor *self, void *arg)
{
    static const struct {
        const char *name;
        const tr_actor_def *def;
    } all[] = {{"own", &own_def},         {"stuck", &stuck_def},   {"asker", &asker_def},
               {"keeper", &keeper_def},   {"napper", &napper_def}, {"flooder", &flooder_def},
               {"payer", &payer_def},     {"second", &payer_def},  {"account", &account_def},
               {"patient", &patient_def}, {"pond", &pond_def},     {"spy", &spy_def}};
    (void)arg;
    for (size_t i = 0; i < TR_COUNT(all); i++)
        tr_spawn_with(self, all[i].def, NULL,
                      &(tr_spawn_opts){.name = all[i].name}); /* account wants --data */
    say(tr_node_listen(tr_node_of(self)));
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void send(const char *to, const char *message)
{
    char arguments[256];
    snprintf(arguments, sizeof(arguments), "send %s '%s'", to, message);
    if (troupe(arguments) != 0)
        fail_msg("%s: %s", arguments, printed);
}

static void until_line(part *p, const char *line)
{
    while (strcmp(next_line(p), line) != 0)
        if (!p->line[0])
            fail_msg("it didn't say \"%s\"", line);
}

/* The cause is the last line. */
static void assert_cause(const char *text)
{
    const char *cause = strstr(printed, "\ncause: ");
    if (!cause || !strstr(cause, text) || strchr(cause + 1, '\n')[1])
        fail_msg("\"%s\" isn't the last line of: %s", text, printed);
}

static void start_pair(part *ada, part *bob)
{
    char where[256];
    START(ada, "--name", "ada", "--listen", "127.0.0.1:0");
    strcpy(where, next_line(ada));
    START(bob, "--name", "bob", "--join", where);
    next_line(bob);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void one_with_a_thread_of_its_own_is_reached_and_told_where_it_blocks(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada", "--loops", "2");
    next_line(&ada);
    assert_int_equal(0, troupe("ask ada/own '{\"question\":{\"then\":\"\"}}'"));
    assert_printed("answer_is");
    assert_int_equal(0, troupe("why ada/own"));
    assert_cause("nothing keeps ada/own, which has a thread of its own");
    assert_int_equal(1, troupe("tap ada/own"));
    assert_printed("own has a thread of its own");
    send("ada/own", "{\"get_stuck\":{}}");
    until_line(&ada, "stuck");
    do /* until it has been there for the watchdog's patience */
        assert_int_equal(0, troupe("why ada/own"));
    while (strstr(printed, "nothing keeps ada/own"));
    assert_cause("the handler of ada/own is stuck: it has been handling get_stuck for ");
#ifndef __SANITIZE_THREAD__
    assert_printed("own_receive+0x");
#endif
    assert_int_equal(1, write(ada.in, "x", 1));
    until_line(&ada, "let go");
    node_end(&ada, SIGTERM);
}

static void a_stuck_handler_is_named_with_where_it_is(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada", "--loops", "1");
    next_line(&ada);
    send("ada/stuck", "{\"get_stuck\":{}}");
    until_line(&ada, "stuck");
    assert_int_equal(0, troupe("why ada/stuck"));
    assert_cause("is stuck: it has been handling get_stuck for ");
    assert_printed("stuck_def");
#ifndef __SANITIZE_THREAD__
    assert_printed("stuck_receive+0x"); /* the frame of a static function, by name */
#endif
    /* One that has done nothing wrong, on the same loop. */
    assert_int_equal(0, troupe("why ada/keeper"));
    assert_cause("can't run: on its loop the handler of ada/stuck (stuck_def) is stuck, handling get_stuck");
    assert_int_equal(0, troupe("why ada/stuck --json"));
    assert_printed("\"kind\":\"stuck\"");
    assert_printed("\"did\":\"handles\"");
    assert_int_equal(1, write(ada.in, "x", 1));
    until_line(&ada, "let go");
    assert_int_equal(0, troupe("why ada/stuck"));
    assert_cause("nothing keeps ada/stuck");
    node_end(&ada, SIGTERM);
}

static void an_await_on_a_frozen_peer_names_the_peer(void **state)
{
    part ada, bob;
    (void)state;
    start_pair(&ada, &bob);
    send("ada/asker", "{\"go\":{\"path\":\"bob/keeper\"}}");
    until_line(&ada, "asks");
    kill(bob.pid, SIGSTOP);
    assert_int_equal(0, troupe("why ada/asker"));
    assert_printed("test_why.c:"); /* where it waits */
    assert_printed("awaits the answer to question of <");
    assert_cause("node bob does not answer: its process is stopped");
    kill(bob.pid, SIGCONT);
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void an_ask_that_is_kept_for_ever_names_who_keeps_it(void **state)
{
    part ada, bob;
    (void)state;
    start_pair(&ada, &bob);
    send("ada/asker", "{\"go\":{\"path\":\"bob/keeper\"}}");
    until_line(&ada, "asks");
    poll(NULL, 0, 200);
    assert_int_equal(0, troupe("why ada/asker"));
    assert_printed("keeps 1 ask that it has not answered");
    assert_cause("bob/keeper keeps the ask and has not answered it; it is idle");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void an_await_cycle_over_two_nodes_is_named(void **state)
{
    part ada, bob;
    (void)state;
    start_pair(&ada, &bob);
    send("ada/asker", "{\"go\":{\"path\":\"bob/asker\",\"then\":\"ada/asker\"}}");
    until_line(&ada, "asks");
    until_line(&bob, "asks");
    assert_int_equal(0, troupe("why ada/asker"));
    assert_cause("a cycle: ada/asker awaits bob/asker, which awaits ada/asker");
    assert_int_equal(0, troupe("why bob/asker"));
    assert_cause("a cycle: bob/asker awaits ada/asker, which awaits bob/asker");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

/* ---- over the connection: no operator socket of bob's is in reach --------------------------------------- */

static void in_reach_of(const char *which)
{
    char path[96];
    snprintf(path, sizeof(path), "%s%s", directory, which);
    mkdir(path, 0700);
    assert_int_equal(0, setenv("XDG_RUNTIME_DIR", path, 1));
}

static void start_apart(part *ada, part *bob, const char *option, const char *value)
{
    char where[256];
    START(ada, "--name", "ada", "--listen", "127.0.0.1:0");
    strcpy(where, next_line(ada));
    in_reach_of("/bob");
    START(bob, "--name", "bob", "--join", where, option, value);
    next_line(bob);
    in_reach_of("");
}

static void a_chain_goes_on_over_the_connection_to_a_node_without_a_socket_here(void **state)
{
    part ada, bob;
    (void)state;
    start_apart(&ada, &bob, "--loops", "2");
    send("ada/asker", "{\"go\":{\"path\":\"bob/keeper\"}}");
    until_line(&ada, "asks");
    poll(NULL, 0, 200);
    assert_int_equal(0, troupe("why ada/asker"));
    assert_printed("keeps 1 ask that it has not answered");
    assert_cause("bob/keeper keeps the ask and has not answered it; it is idle");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void a_cycle_is_named_though_one_of_its_nodes_is_out_of_reach(void **state)
{
    part ada, bob;
    (void)state;
    start_apart(&ada, &bob, "--loops", "1");
    send("ada/asker", "{\"go\":{\"path\":\"bob/asker\",\"then\":\"ada/asker\"}}");
    until_line(&ada, "asks");
    until_line(&bob, "asks");
    assert_int_equal(0, troupe("why ada/asker"));
    assert_cause("a cycle: ada/asker awaits bob/asker, which awaits ada/asker");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void a_handler_that_is_stuck_out_of_reach_is_named_or_the_loop_that_is(void **state)
{
    part ada, bob;
    (void)state;
    start_apart(&ada, &bob, "--loops", "1");
    send("ada/asker", "{\"go\":{\"path\":\"bob/own\"}}"); /* connected */
    until_line(&ada, "asks");
    in_reach_of("/bob");
    send("bob/own", "{\"get_stuck\":{}}");
    until_line(&bob, "stuck");
    in_reach_of("");
    send("ada/asker", "{\"go\":{\"path\":\"bob/own\"}}");
    until_line(&ada, "asks");
    do /* until it has been there for the watchdog's patience */
        assert_int_equal(0, troupe("why ada/asker"));
    while (strstr(printed, "nothing keeps bob/own"));
    assert_cause("the handler of bob/own is stuck: it has been handling get_stuck for ");
    in_reach_of("/bob");
    send("bob/stuck", "{\"get_stuck\":{}}");
    until_line(&bob, "stuck");
    in_reach_of("");
    assert_int_equal(0, troupe("why ada/asker"));
    assert_cause(
        "node bob is connected, so its process runs, and its loop 0, which has the connections, has not "
        "answered within 1800 ms");
    assert_int_equal(2, write(bob.in, "xx", 2));
    until_line(&bob, "let go");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void a_node_that_nobody_may_look_into_says_so(void **state)
{
    part ada, bob;
    (void)state;
    start_apart(&ada, &bob, "--operator", "none");
    send("ada/asker", "{\"go\":{\"path\":\"bob/keeper\"}}");
    until_line(&ada, "asks");
    assert_int_equal(0, troupe("why ada/asker"));
    assert_cause("node bob has no operator socket on this machine");
    assert_cause("it has no operator socket, so nobody looks into it");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void another_node_is_told_why_and_nothing_else(void **state)
{
    static const char *const others[] = {"nodes", "ps", "send", "ask", "top", "tap"};
    part ada, bob;
    char message[256];
    (void)state;
    start_pair(&ada, &bob);
    for (size_t i = 0; i < TR_COUNT(others); i++) {
        snprintf(message, sizeof(message),
                 "{\"pry\":{\"path\":\"bob/keeper\",\"request\":\"{\\\"do\\\":\\\"%s\\\"}\"}}", others[i]);
        send("ada/spy", message);
        assert_non_null(strstr(next_line(&ada), "other nodes are told \\\"why\\\" only"));
    }
    send("ada/spy", "{\"pry\":{\"path\":\"bob/keeper\",\"request\":\"nonsense\"}}");
    assert_non_null(strstr(next_line(&ada), "isn't JSON"));
    send("ada/spy", "{\"pry\":{\"path\":\"bob/keeper\",\"request\":\"{}\",\"spaces\":1048576}}");
    assert_string_equal(next_line(&ada), tr_err_word(TR_ETOOBIG));
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void a_full_mailbox_names_who_fills_it_and_what_its_actor_does(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    send("ada/napper", "{\"nap\":{\"ms\":30000}}");
    send("ada/flooder", "{\"flood\":{\"path\":\"napper\"}}");
    until_line(&ada, "flooded");
    assert_int_equal(0, troupe("why ada/napper"));
    assert_printed("8 messages in its mailbox of 8, the oldest for ");
    assert_cause("the mailbox of ada/napper is full (8 messages, 8 of them of <");
    assert_cause("ada/napper sleeps, for ");
    assert_cause("test_why.c:");
    node_end(&ada, SIGTERM);
}

static void who_waits_for_places_is_led_to_the_full_mailbox(void **state)
{
    part ada;
    (void)state;
    START(&ada, "--name", "ada");
    next_line(&ada);
    send("ada/pond", "{\"nap\":{\"ms\":30000}}");
    send("ada/patient", "{\"flood\":{\"path\":\"pond\"}}");
    until_line(&ada, "floods");
    poll(NULL, 0, 100);
    assert_int_equal(0, troupe("why ada/patient"));
    assert_printed("waits for places of <");
    assert_cause("the mailbox of ada/pond is full (8 messages, 8 of them of <");
    assert_cause("ada/pond sleeps, for ");
    node_end(&ada, SIGTERM);
}

static void a_lock_wait_names_the_transaction_and_who_keeps_it(void **state)
{
    part ada, bob;
    char where[256];
    (void)state;
    START(&ada, "--name", "ada", "--listen", "127.0.0.1:0", "--data", directory);
    strcpy(where, next_line(&ada));
    START(&bob, "--name", "bob", "--join", where);
    next_line(&bob);
    send("bob/payer", "{\"nap\":{\"ms\":30000}}");
    until_line(&bob, "holds");
    send("ada/second", "{\"nap\":{}}");
    until_line(&ada, "calls");
    poll(NULL, 0, 200);
    assert_int_equal(0, troupe("why ada/second"));
    assert_printed("its call of ada/account isn't answered");
    assert_cause("the lock of ada/account is held by transaction ");
    assert_cause(", which node bob began: bob/payer sleeps, for ");
    node_end(&bob, SIGTERM);
    node_end(&ada, SIGTERM);
}

static void who_can_not_be_asked_is_told_in_words(void **state)
{
    part ada;
    (void)state;
    assert_int_equal(1, troupe("why ada/asker"));
    assert_printed("no node \"ada\" runs here");
    START(&ada, "--name", "ada");
    next_line(&ada);
    assert_int_equal(1, troupe("why ada/eve"));
    assert_printed("no actor of node ada is called \"eve\"");
    assert_int_equal(2, troupe("why ada"));
    node_end(&ada, SIGTERM);
}

OPERATOR_MAIN(start, TEST(one_with_a_thread_of_its_own_is_reached_and_told_where_it_blocks),
              TEST(a_stuck_handler_is_named_with_where_it_is), TEST(an_await_on_a_frozen_peer_names_the_peer),
              TEST(an_ask_that_is_kept_for_ever_names_who_keeps_it),
              TEST(an_await_cycle_over_two_nodes_is_named),
              TEST(a_chain_goes_on_over_the_connection_to_a_node_without_a_socket_here),
              TEST(a_cycle_is_named_though_one_of_its_nodes_is_out_of_reach),
              TEST(a_handler_that_is_stuck_out_of_reach_is_named_or_the_loop_that_is),
              TEST(a_node_that_nobody_may_look_into_says_so), TEST(another_node_is_told_why_and_nothing_else),
              TEST(a_full_mailbox_names_who_fills_it_and_what_its_actor_does),
              TEST(who_waits_for_places_is_led_to_the_full_mailbox),
              TEST(a_lock_wait_names_the_transaction_and_who_keeps_it),
              TEST(who_can_not_be_asked_is_told_in_words))
