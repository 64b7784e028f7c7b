/* Asks between nodes: forwarded within a node, on to a third and back, and what becomes of them when they are given up, when
 * an actor ends, or a connection does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/remote/peer.h"
#include "base/mem.h"
#include "tests/kit/sim/open_frame.h"
#include "tests/kit/sim/sim.h"

/* An actor "one" and "two" on each node do with an ask what they were told last. */
TR_MESSAGE(question, (u64, n), (buffer, with))
TR_MESSAGE(answer, (addr, by), (u64, n), (buffer, with))
TR_MESSAGE(be, (u32, what), (addr, to))
TR_MESSAGE(told, (string, what))
/* "asker" asks for who tells it to, and tells how it went. */
TR_MESSAGE(ask_it, (addr, to), (u64, timeout_ns))
TR_MESSAGE(give_up)
TR_MESSAGE(end_now)
TR_MESSAGE(outcome, (u32, code), (addr, by), (u64, n))

enum { REPLY, KEEP, FORWARD, REPLY_AND_END, FORWARD_DRY };

/* An ask is forwarded, and of the allocations that this makes that one fails. */
static uint64_t fails_at;

/* So that what goes next to the asker's node, that the ask has moved, needs a batch of its own, which needs memory. */
static void fill_batch(tr_actor *self, tr_addr to)
{
    static char fill[TR__LARGE_MIN];
    for (int full = 0, sent = 0; full < 3 && sent < 64;
         sent++) { /* what is open, what is spare, and one more */
        size_t length = sim_filling(tr_node_of(self), to.node, 600);
        memset(fill, 'x', length);
        fill[length] = '\0';
        tr_send(self, to, told, .what = fill);
        full += sim_is_filled(tr_node_of(self), to.node, 600);
    }
    while (sim_left_in_frame(tr_node_of(self), to.node) >= TR__WIRE_HEADER_MAX)
        tr_monitor(self, to);
}

static tr_err forward_dry(tr_actor *self, const tr_msg *ask, tr_addr to)
{
    fill_batch(self, tr_msg_sender(ask));
    tr__alloc_fail_at(fails_at);
    tr_err err = tr_forward(self, ask, to);
    tr__alloc_fail_at(0);
    return err;
}

typedef struct server {
    be how;
    tr_addr boss;
} server;

static void serve(tr_actor *self, void *state, const tr_msg *msg)
{
    server *s = state;
    const question *q = tr_match(msg, question);
    const be *how = tr_match(msg, be);
    if (how) {
        s->how = *how;
        s->boss = tr_msg_sender(msg);
    } else if (tr_match(msg, tr_canceled)) {
        tr_send(self, s->boss, told, .what = "canceled");
    } else if (tr_match(msg, end_now)) {
        tr_exit(self, TR_OK, "told to");
    } else if (q && s->how.what == KEEP) {
        tr_msg_take(self, msg);
        tr_send(self, s->boss, told, .what = "kept");
    } else if (q && s->how.what >= FORWARD && s->how.what != REPLY_AND_END) {
        bool is_dry = s->how.what == FORWARD_DRY;
        if ((is_dry ? forward_dry : tr_forward)(self, msg, s->how.to) != TR_OK)
            tr_reply_error(self, msg, tr_last_error(self)->code, "%s", tr_last_error(self)->text);
    } else if (q) {
        tr_reply(self, msg, answer, .by = tr_self(self), .n = q->n + 1, .with = q->with);
        if (s->how.what == REPLY_AND_END)
            tr_exit(self, TR_OK, "told to");
    }
}
TR_ACTOR(server_def, .receive = serve, .state_size = sizeof(server));

typedef struct asking {
    tr_future future;
    tr_addr boss;
} asking;

/* What each question takes along, and each answer brings back. Only the messages hold it. */
static const char with[] = "so many words that there is something to read";

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)context;
    const answer *a = result->msg ? tr_match(result->msg, answer) : NULL;
    bool came = a && a->with->size == sizeof(with) && memcmp(a->with->data, with, sizeof(with)) == 0;
    tr_send(self, ((asking *)state)->boss, outcome, .code = result->err, .by = a ? a->by : TR_ADDR_NONE,
            .n = came ? a->n : 0);
}

static void asker(tr_actor *self, void *state, const tr_msg *msg)
{
    asking *a = state;
    const ask_it *how = tr_match(msg, ask_it);
    if (how) {
        a->boss = tr_msg_sender(msg);
        const tr_buffer *buffer = tr_buffer_make(self, with, sizeof(with));
        a->future = tr_ask(self, how->to, how->timeout_ns, question, .n = 41, .with = buffer);
        tr_buffer_release(self, buffer);
        tr_then(self, a->future, answered, NULL);
    } else if (tr_match(msg, give_up)) {
        tr_cancel(self, a->future);
    } else if (tr_match(msg, end_now)) {
        tr_exit(self, TR_OK, "told to");
    }
}
TR_ACTOR(asker_def, .receive = asker, .state_size = sizeof(asking));

static tr_err start(tr_actor *self, uint32_t index)
{
    (void)index;
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "one", .place = TR_PLACE_SPREAD});
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "two", .place = TR_PLACE_SPREAD});
    /* Where the connections are: what it sends is sent at once. */
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "near", .place = TR_PLACE_LOOP});
    tr_spawn_with(self, &asker_def, NULL, &(tr_spawn_opts){.name = "asker", .place = TR_PLACE_SPREAD});
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario servers = {
    .size = sizeof(tr_scenario), .name = "futures", .nodes = 3, .loops = 2, .start = start};

static tr_sim *sim;
static tr_probe *boss; /* on n0, with the asker */
static tr_addr one[3], two[3], who_asks;

static tr_addr find(const char *name)
{
    tr_addr found = tr_probe_lookup(boss, name, TR_SECONDS(5));
    assert_false(tr_addr_is_none(found));
    return found;
}

static int set_up(void **state)
{
    (void)state;
    sim = tr_sim_create(&(tr_sim_opts){.seed = 11, .scenario = &servers}, NULL);
    assert_non_null(sim);
    boss = tr_probe_open(sim, 0);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof(name), "n%d/one", i);
        one[i] = find(name);
        snprintf(name, sizeof(name), "n%d/two", i);
        two[i] = find(name);
    }
    who_asks = find("n0/asker");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tr_sim_result r;
    tr_sim_heal_all(sim);
    tr_sim_result_get(sim, &r);
    if (r.failed)
        fail_msg("%s", r.what);
    tr_sim_destroy(sim);
    return 0;
}

static void have(tr_addr server_address, uint32_t what, tr_addr to)
{
    assert_int_equal(tr_probe_send(boss, server_address, be, .what = what, .to = to), TR_OK);
    tr_sim_step(sim, TR_MILLIS(50));
}

static void have_asked(tr_addr to)
{
    assert_int_equal(tr_probe_send(boss, who_asks, ask_it, .to = to, .timeout_ns = TR_SECONDS(20)), TR_OK);
}

static void ends_with(tr_err code, uint64_t within_ns)
{
    const outcome *o = tr_probe_expect(boss, within_ns, outcome);
    assert_non_null(o);
    assert_string_equal(tr_err_word((tr_err)o->code), tr_err_word(code));
}

static void is_told(const char *what)
{
    const told *t = tr_probe_expect(boss, TR_SECONDS(1), told);
    assert_non_null(t);
    assert_string_equal(t->what, what);
}

/* Where "one" of node 1 forwards to: its own node, a third one, and the asker's. */
static void a_forwarded_ask_is_answered_from_wherever_it_went(void **state)
{
    (void)state;
    const tr_addr ways[] = {two[1], two[2], two[0]};
    for (size_t i = 0; i < TR_COUNT(ways); i++) {
        have(one[1], FORWARD, ways[i]);
        have_asked(one[1]);
        const outcome *o = tr_probe_expect(boss, TR_SECONDS(1), outcome);
        assert_non_null(o);
        assert_int_equal(o->code, TR_OK);
        assert_true(tr_addr_equal(o->by, ways[i]));
        assert_int_equal(o->n, 42);
    }
    have(one[0], FORWARD, two[2]); /* asked on its own node, and on from there */
    have_asked(one[0]);
    const outcome *o = tr_probe_expect(boss, TR_SECONDS(1), outcome);
    assert_non_null(o);
    assert_true(tr_addr_equal(o->by, two[2]));
}

static void a_chain_of_forwards_over_all_nodes_is_answered(void **state)
{
    (void)state;
    have(one[1], FORWARD, two[1]);
    have(two[1], FORWARD, one[2]);
    have(one[2], FORWARD, one[0]);
    have(one[0], FORWARD, two[2]);
    have_asked(one[1]);
    const outcome *o = tr_probe_expect(boss, TR_SECONDS(1), outcome);
    assert_non_null(o);
    assert_true(tr_addr_equal(o->by, two[2]));
}

static void a_cancel_finds_a_forwarded_ask_on_any_node(void **state)
{
    (void)state;
    const tr_addr ways[] = {two[1], two[2], two[0]};
    for (size_t i = 0; i < TR_COUNT(ways); i++) {
        have(one[1], FORWARD, ways[i]);
        have(ways[i], KEEP, TR_ADDR_NONE);
        have_asked(one[1]);
        is_told("kept");
        tr_sim_step(sim, TR_MILLIS(100));
        assert_int_equal(tr_probe_send(boss, who_asks, give_up), TR_OK);
        is_told("canceled");
    }
}

static void the_askers_end_is_told_where_its_ask_is(void **state)
{
    (void)state;
    have(one[1], FORWARD, two[2]);
    have(two[2], KEEP, TR_ADDR_NONE);
    have_asked(one[1]);
    is_told("kept");
    tr_sim_step(sim, TR_MILLIS(100));
    assert_int_equal(tr_probe_send(boss, who_asks, end_now), TR_OK);
    is_told("canceled");
}

static void a_lost_connection_fails_what_was_forwarded_over_it_and_nothing_else(void **state)
{
    (void)state;
    have(one[1], FORWARD, two[2]);
    have(two[2], KEEP, TR_ADDR_NONE);
    have_asked(one[1]);
    is_told("kept");
    tr_sim_step(sim, TR_MILLIS(100));
    tr_sim_reset(sim, 0, 1); /* who forwarded it has nothing to do with it any more */
    tr_sim_step(sim, TR_SECONDS(2));
    tr_sim_reset(sim, 0, 2);
    ends_with(TR_ENOCONN, TR_SECONDS(1));
}

/* Whoever asked hears by the connection's end. Each time on new nodes: a connection that was full keeps batches to spare. */
static void an_ask_that_moves_without_memory_fails_before_its_time(void **state)
{
    uint64_t dropped = 0;
    for (fails_at = 1; fails_at <= 8; fails_at++) {
        tr_addr near = find("n1/near");
        have(near, FORWARD_DRY, two[2]);
        have_asked(near);
        const outcome *o = tr_probe_expect(boss, TR_SECONDS(21), outcome);
        assert_non_null(o);
        assert_int_not_equal(o->code, TR_EDEADLINE);
        dropped += tr_sim_node(sim, 1)->loops[0]->counts.dropped[TR_DROP_NO_MEMORY];
        tear_down(state);
        set_up(state);
    }
    assert_true(dropped > 0); /* a move was */
}

static void a_dead_callee_on_another_node_fails_the_ask_at_once_behind_its_replies(void **state)
{
    (void)state;
    have(one[1], REPLY_AND_END, TR_ADDR_NONE);
    have_asked(one[1]);
    have_asked(one[1]); /* right behind: handled by nobody */
    const outcome *o = tr_probe_expect(boss, TR_SECONDS(1), outcome);
    assert_non_null(o);
    assert_int_equal(o->code, TR_OK);
    ends_with(TR_ENOACTOR, TR_SECONDS(1));
    have(two[1], KEEP, TR_ADDR_NONE);
    have_asked(two[1]);
    is_told("kept");
    assert_int_equal(tr_probe_send(boss, two[1], end_now), TR_OK);
    ends_with(TR_ENOACTOR, TR_SECONDS(1)); /* of the 20 that it had */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_forwarded_ask_is_answered_from_wherever_it_went, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_chain_of_forwards_over_all_nodes_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cancel_finds_a_forwarded_ask_on_any_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_askers_end_is_told_where_its_ask_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_connection_fails_what_was_forwarded_over_it_and_nothing_else,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_ask_that_moves_without_memory_fails_before_its_time, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_dead_callee_on_another_node_fails_the_ask_at_once_behind_its_replies, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
