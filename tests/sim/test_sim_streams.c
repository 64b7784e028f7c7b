/* Streams between nodes: their items, what goes on to another node, and what becomes of them when either node, or the
 * connection, is lost. On one node: tests/unit/test_core_stream.c. */
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

/* "one" and "two" on each node answer; "asker" and the fiber "taker" ask for who tells them to. */
TR_MESSAGE(list, (u64, items), (buffer, with))
TR_MESSAGE(item, (u64, n), (buffer, with), (string, text))
TR_MESSAGE(total, (u64, n), (addr, by))
TR_MESSAGE(be, (u32, what), (addr, to))
TR_MESSAGE(told, (string, what), (u64, sent))
TR_MESSAGE(ask_it, (addr, to), (u64, timeout_ns), (u64, items), (u32, window), (u64, stop_at))
TR_MESSAGE(go_on)
TR_MESSAGE(give_up)
TR_MESSAGE(end_now)
TR_MESSAGE(outcome, (u32, code), (u64, taken), (u64, n), (addr, by))

enum { SEND, FORWARD, KEEP, FORWARD_DRY };

typedef struct server {
    be how;
    tr_addr boss;
    tr_msg *ask;
    uint64_t sent;
} server;

static const char with[] = "bytes that only the message holds";

static void produce(tr_actor *self, server *s)
{
    const list *l = tr_match(s->ask, list);
    const tr_buffer *buffer = tr_buffer_make(self, with, sizeof(with));
    while (s->sent < l->items &&
           tr_reply_item(self, s->ask, item, .n = s->sent, .with = buffer, .text = "an item") == TR_OK)
        s->sent++;
    tr_buffer_release(self, buffer);
    if (s->sent < l->items)
        return;
    tr_reply(self, s->ask, total, .n = s->sent, .by = tr_self(self));
    tr_msg_free(self, &s->ask);
}

static uint64_t fails_at; /* of the allocations that a FORWARD_DRY makes */

static tr_err forward_dry(tr_actor *self, const tr_msg *ask, tr_addr to)
{
    tr__pool *pool = &tr_node_of(self)->loops[0]->pool;
    memset(pool->free, 0, sizeof(pool->free));
    pool->bump = pool->bump_end;
    tr__alloc_fail_at(fails_at);
    tr_err err = tr_forward(self, ask, to);
    tr__alloc_fail_at(0);
    return err;
}

static void serve(tr_actor *self, void *state, const tr_msg *msg)
{
    server *s = state;
    const be *how = tr_match(msg, be);
    if (how) {
        s->how = *how;
        s->boss = tr_msg_sender(msg);
    } else if (tr_match(msg, tr_canceled)) {
        tr_send(self, s->boss, told, .what = "canceled", .sent = s->sent);
        tr_msg_free(self, &s->ask);
    } else if (tr_match(msg, end_now)) {
        tr_exit(self, TR_OK, "told to");
    } else if (tr_match(msg, list) && (s->how.what == FORWARD || s->how.what == FORWARD_DRY)) {
        if ((s->how.what == FORWARD ? tr_forward : forward_dry)(self, msg, s->how.to) != TR_OK)
            tr_reply_error(self, msg, tr_last_error(self)->code, "%s", tr_last_error(self)->text);
    } else if (tr_match(msg, list)) {
        if (s->ask)
            tr_msg_free(self, &s->ask);
        s->ask = tr_msg_take(self, msg);
        s->sent = 0;
        if (s->how.what != KEEP)
            produce(self, s);
    } else if (tr_match(msg, tr_demand) && s->ask) {
        produce(self, s);
    }
}
TR_ACTOR(server_def, .receive = serve, .state_size = sizeof(server));

/* ---- who asks ------------------------------------------------------------------------------------------ */

typedef struct asking {
    tr_future future;
    tr_addr boss, from;
    uint64_t taken, stop_at;
    bool wrong;
} asking;

static bool take(tr_actor *self, void *state, const tr_msg *msg, void *context)
{
    asking *a = state;
    const item *i = tr_match(msg, item);
    (void)self;
    (void)context;
    a->wrong |= !i || i->n != a->taken || i->with->size != sizeof(with) ||
                memcmp(i->with->data, with, sizeof(with)) != 0 || strcmp(i->text, "an item") != 0;
    return ++a->taken != a->stop_at;
}

static void tell(tr_actor *self, const asking *a, tr_err err, const tr_msg *msg)
{
    const total *t = msg ? tr_match(msg, total) : NULL;
    tr_send(self, a->boss, outcome, .code = a->wrong ? TR_EPROTO : err, .taken = a->taken, .n = t ? t->n : 0,
            .by = t ? t->by : TR_ADDR_NONE);
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)context;
    tell(self, state, result->err, result->msg);
}

static tr_future begin(tr_actor *self, asking *a, const tr_msg *msg)
{
    const ask_it *how = tr_match(msg, ask_it);
    *a = (asking){.boss = tr_msg_sender(msg), .from = how->to, .stop_at = how->stop_at};
    return a->future = tr_ask_stream(self, how->to, how->timeout_ns, how->window, list, .items = how->items);
}

/* So that what goes next needs a batch of its own, which needs memory. */
static size_t fill_but_for; /* so many bytes of it, which monitors take; 0: there is memory */

static void fill_batch(tr_actor *self, const asking *a)
{
    static char fill[TR__LARGE_MIN];
    for (int full = 0, sent = 0; full < 3 && sent < 64;
         sent++) { /* what is open, what is spare, and one more */
        size_t length = sim_filling(tr_node_of(self), a->from.node, fill_but_for);
        memset(fill, 'x', length);
        fill[length] = '\0';
        tr_send(self, a->from, told, .what = fill);
        full += sim_is_filled(tr_node_of(self), a->from.node, fill_but_for);
    }
    while (sim_left_in_frame(tr_node_of(self), a->from.node) >= TR__WIRE_HEADER_MAX)
        tr_monitor(self, a->from);
}

static void asker(tr_actor *self, void *state, const tr_msg *msg)
{
    asking *a = state;
    if (tr_match(msg, ask_it)) {
        tr_future f = begin(self, a, msg);
        tr_each(self, f, take, NULL);
        tr_then(self, f, answered, NULL);
    } else if (tr_match(msg, go_on)) {
        a->stop_at = 0;
        tr_each(self, a->future, take, NULL);
    } else if (tr_match(msg, give_up)) {
        if (fill_but_for)
            fill_batch(self, a);
        tr__alloc_fail_at(fill_but_for ? 1 : 0);
        tr_cancel(self, a->future);
        tr__alloc_fail_at(0);
    } else if (tr_match(msg, end_now)) {
        tr_exit(self, TR_OK, "told to");
    }
}
TR_ACTOR(asker_def, .receive = asker, .state_size = sizeof(asking));

static tr_err taker(tr_actor *self, void *arg)
{
    asking a;
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive_type(self, TR_FOREVER, ask_it));) {
        tr_future f = begin(self, &a, msg);
        const tr_msg *got;
        while (tr_next_msg(self, f, &got) == TR_OK)
            take(self, &a, got, NULL);
        tr_err err = tr_await_msg(self, f, &got);
        tell(self, &a, err, got);
    }
    return TR_OK;
}
TR_ACTOR(taker_def, .run = taker);

/* ---- fixture ------------------------------------------------------------------------------------------- */

static tr_err start(tr_actor *self, uint32_t index)
{
    (void)index;
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "one", .place = TR_PLACE_SPREAD});
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "two", .place = TR_PLACE_SPREAD});
    tr_spawn_with(self, &asker_def, NULL, &(tr_spawn_opts){.name = "asker", .place = TR_PLACE_SPREAD});
    /* Where the connections are: what it sends is sent at once. */
    tr_spawn_with(self, &asker_def, NULL, &(tr_spawn_opts){.name = "near", .place = TR_PLACE_LOOP});
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "here", .place = TR_PLACE_LOOP});
    tr_spawn_with(self, &taker_def, NULL, &(tr_spawn_opts){.name = "taker", .place = TR_PLACE_SPREAD});
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario servers = {
    .size = sizeof(tr_scenario), .name = "streams", .nodes = 3, .loops = 2, .start = start};

static tr_sim *sim;
static tr_probe *boss; /* on n0, with who asks */
static tr_addr one[3], two[3], who_asks, who_takes;

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
    who_takes = find("n0/taker");
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

static void have_asked(tr_addr by, tr_addr to, uint64_t items, uint32_t window, uint64_t stop_at)
{
    assert_int_equal(tr_probe_send(boss, by, ask_it, .to = to, .timeout_ns = TR_FOREVER, .items = items,
                                   .window = window, .stop_at = stop_at),
                     TR_OK);
}

static outcome ends_with(tr_err code, uint64_t within_ns)
{
    const outcome *o = tr_probe_expect(boss, within_ns, outcome);
    assert_non_null(o);
    assert_string_equal(tr_err_word((tr_err)o->code), tr_err_word(code));
    return *o;
}

/* ---- what holds ---------------------------------------------------------------------------------------- */

static void items_cross_a_connection_in_order_and_the_answer_behind_them(void **state)
{
    (void)state;
    const uint32_t windows[] = {1, 2, 16, 255};
    for (size_t w = 0; w < TR_COUNT(windows); w++)
        for (int fiber = 0; fiber < 2; fiber++) {
            have_asked(fiber ? who_takes : who_asks, one[1], 300, windows[w], 0);
            outcome o = ends_with(TR_OK, TR_SECONDS(20));
            assert_true(o.taken == 300 && o.n == 300 && tr_addr_equal(o.by, one[1]));
        }
}

static void who_pauses_stops_a_sender_on_another_node(void **state)
{
    (void)state;
    have(one[1], SEND, TR_ADDR_NONE);
    have_asked(who_asks, one[1], 300, 8, 10);
    tr_sim_step(sim, TR_SECONDS(5));
    assert_int_equal(tr_probe_send(boss, who_asks, give_up), TR_OK);
    const told *t = tr_probe_expect(boss, TR_SECONDS(1), told);
    assert_true(t && strcmp(t->what, "canceled") == 0);
    assert_true(t->sent >= 10 && t->sent <= 10 + 8);
    have_asked(who_asks, one[1], 300, 8, 10);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_int_equal(tr_probe_send(boss, who_asks, go_on), TR_OK);
    assert_int_equal(ends_with(TR_OK, TR_SECONDS(20)).taken, 300);
}

static void a_stream_goes_on_from_wherever_it_was_forwarded_to(void **state)
{
    (void)state;
    const tr_addr ways[] = {two[1], two[2], two[0]};
    for (size_t i = 0; i < TR_COUNT(ways); i++) {
        have(one[1], FORWARD, ways[i]);
        have_asked(who_asks, one[1], 100, 4, 0);
        outcome o = ends_with(TR_OK, TR_SECONDS(20));
        assert_true(o.taken == 100 && tr_addr_equal(o.by, ways[i]));
    }
}

static void whoever_streams_hears_when_the_askers_node_is_lost(void **state)
{
    (void)state;
    /* Here; after a forward on that node; after one to a third node. The probe that is told is on node 2. */
    for (int way = 0; way < 3; way++) {
        set_up(state);
        tr_probe *other = tr_probe_open(sim, 2);
        tr_addr from[] = {one[1], two[1], two[2]};
        have(one[1], way ? FORWARD : SEND, way ? from[way] : TR_ADDR_NONE);
        assert_int_equal(tr_probe_send(other, from[way], be, .what = SEND), TR_OK);
        tr_sim_step(sim, TR_MILLIS(50));
        have_asked(who_asks, one[1], 300, 8, 10);
        tr_sim_step(sim, TR_SECONDS(1));
        tr_sim_kill(sim, 0, false);
        const told *t = tr_probe_expect(other, TR_SECONDS(15), told);
        assert_true(t && strcmp(t->what, "canceled") == 0 && t->sent >= 10 && t->sent <= 18);
        tr_sim_destroy(sim);
    }
}

static void who_asks_hears_when_the_senders_node_is_lost(void **state)
{
    (void)state;
    have_asked(who_asks, one[1], 300, 8, 10);
    tr_sim_step(sim, TR_SECONDS(1));
    tr_sim_kill(sim, 1, false);
    tr_probe_expect_nothing(boss, TR_SECONDS(15)); /* what has come comes first */
    assert_int_equal(tr_probe_send(boss, who_asks, go_on), TR_OK);
    outcome o = ends_with(TR_ENOCONN, TR_SECONDS(1));
    assert_true(o.taken >= 10 && o.taken <= 18);
}

static void an_end_of_who_asks_or_sends_is_heard_over_the_connection(void **state)
{
    (void)state;
    have(one[1], SEND, TR_ADDR_NONE);
    have_asked(who_asks, one[1], 300, 8, 10);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_int_equal(tr_probe_send(boss, one[1], end_now), TR_OK);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_int_equal(tr_probe_send(boss, who_asks, go_on), TR_OK);
    ends_with(TR_ENOACTOR, TR_SECONDS(1));
    have(two[1], SEND, TR_ADDR_NONE);
    have_asked(who_asks, two[1], 300, 8, 10);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_int_equal(tr_probe_send(boss, who_asks, end_now), TR_OK);
    const told *t = tr_probe_expect(boss, TR_SECONDS(1), told);
    assert_true(t && strcmp(t->what, "canceled") == 0);
}

/* By the connection's end, if not by itself. */
static void who_streams_hears_of_a_cancel_that_can_not_go(void **state)
{
    (void)state;
    tr_addr near = find("n0/near");
    tr_probe *other = tr_probe_open(sim, 2); /* who is told: it has another connection */
    for (size_t left = 600; left <= 608; left += 2) {
        assert_int_equal(tr_probe_send(other, one[1], be, .what = SEND), TR_OK);
        tr_sim_step(sim, TR_MILLIS(50));
        have_asked(near, one[1], 300, 8, 10);
        tr_sim_step(sim, TR_SECONDS(1));
        fill_but_for = left;
        assert_int_equal(tr_probe_send(boss, near, give_up), TR_OK);
        tr_sim_step(sim, TR_MILLIS(20));
        fill_but_for = 0;
        const told *t = tr_probe_expect(other, TR_SECONDS(15), told);
        assert_true(t && strcmp(t->what, "canceled") == 0);
        tr_sim_step(sim, TR_SECONDS(10)); /* it is up again */
    }
    assert_true(tr_sim_node(sim, 0)->loops[0]->counts.dropped[TR_DROP_NO_MEMORY] > 0);
}

static void cut(uint32_t from, uint32_t to, bool both)
{
    tr_sim_cut(sim, from, to);
    if (both)
        tr_sim_cut(sim, to, from);
}

static void heal(void)
{
    tr_sim_heal_all(sim);
    tr_sim_step(sim, TR_SECONDS(10));
}

/* Who gives it up still takes the one for its callee that it asked: what it would have heard doesn't arrive. */
static void who_has_a_stream_hears_of_a_cancel_to_who_handed_it_on(void **state)
{
    (void)state;
    tr_probe *other = tr_probe_open(sim, 2);
    have(one[1], FORWARD, two[1]);
    assert_int_equal(tr_probe_send(other, two[1], be, .what = SEND), TR_OK);
    tr_sim_step(sim, TR_MILLIS(50));
    cut(1, 0, false);
    have_asked(who_asks, one[1], 300, 8, 0);
    tr_sim_step(sim, TR_MILLIS(20)); /* what is sent later waits for the ask to be acknowledged */
    assert_int_equal(tr_probe_send(boss, who_asks, give_up), TR_OK);
    const told *t = tr_probe_expect(other, TR_SECONDS(15), told);
    assert_true(t && strcmp(t->what, "canceled") == 0 && t->sent == 8);
}

static const tr__remote_peer *peer_of(uint32_t node, uint32_t other)
{
    const tr__remote *remote = tr_sim_node(sim, node)->remote;
    for (uint32_t i = 0; i < remote->route_count; i++)
        if (remote->routes[i].peer && remote->routes[i].peer->peer->id == one[other].node)
            return remote->routes[i].peer;
    fail_msg("n%u isn't connected with n%u", (unsigned)node, (unsigned)other);
    return NULL;
}

/* The same, when what tells who has it leaves after the cancel came, and is lost with the connection. */
static void so_it_does_when_nobody_will_tell_who_has_it(void **state)
{
    (void)state;
    static char fill[16000];
    memset(fill, 'x', sizeof(fill) - 1);
    tr_probe *other = tr_probe_open(sim, 2), *there = tr_probe_open(sim, 1);
    have(one[1], FORWARD, two[1]);
    assert_int_equal(tr_probe_send(other, two[1], be, .what = SEND), TR_OK);
    tr_sim_step(sim, TR_MILLIS(50));
    cut(1, 0, false);
    for (int i = 0; i < 80; i++) /* more than it has credit for */
        (void)tr_probe_send(there, who_takes, told, .what = fill);
    have_asked(who_asks, one[1], 300, 8, 0);
    tr_sim_step(sim, TR_MILLIS(20));
    assert_non_null(peer_of(1, 0)->held);
    assert_int_equal(tr_probe_send(boss, who_asks, give_up), TR_OK);
    tr_sim_step(sim, TR_MILLIS(20));
    tr_sim_heal(sim, 1, 0);
    for (int i = 0; i < 100000 && peer_of(1, 0)->held; i++)
        tr_sim_step(sim, TR_MICROS(10));
    assert_null(peer_of(1, 0)->held);
    tr_sim_reset(sim, 0, 1);
    const told *t = tr_probe_expect(other, TR_SECONDS(15), told);
    assert_true(t && strcmp(t->what, "canceled") == 0);
}

/* Both nodes live on: both ends of it hear, and the next one is whole. */
static void a_lost_connection_ends_a_stream_at_both_ends_and_then_another_begins(void **state)
{
    (void)state;
    tr_probe *other = tr_probe_open(sim, 2);
    for (int fiber = 0; fiber < 2; fiber++) {
        tr_addr asks = fiber ? who_takes : who_asks;
        assert_int_equal(tr_probe_send(other, one[1], be, .what = SEND), TR_OK);
        tr_sim_step(sim, TR_MILLIS(50));
        have_asked(asks, one[1], 1000000, 8, 0);
        tr_sim_step(sim, TR_MILLIS(200));
        cut(0, 1, true);
        outcome o = ends_with(TR_ENOCONN, TR_SECONDS(15));
        const told *t = tr_probe_expect(other, TR_SECONDS(15), told);
        assert_true(t && strcmp(t->what, "canceled") == 0);
        assert_true(o.taken > 8 && o.taken <= t->sent && t->sent <= o.taken + 8);
        heal();
        have_asked(asks, one[1], 300, 8, 0);
        o = ends_with(TR_OK, TR_SECONDS(20));
        assert_true(o.taken == 300 && o.n == 300);
    }
}

/* Its asker hears where it went, or that it failed. */
static void a_stream_that_goes_on_to_a_node_without_memory_is_not_lost_sight_of(void **state)
{
    (void)state;
    uint32_t failed = 0, canceled = 0;
    tr_addr here = find("n0/here");
    have(here, FORWARD_DRY, two[1]);
    have(two[1], KEEP, TR_ADDR_NONE);
    for (fails_at = 1; fails_at <= 6; fails_at++) {
        have_asked(who_asks, here, 300, 8, 0);
        tr_sim_step(sim, TR_SECONDS(1));
        assert_int_equal(tr_probe_send(boss, who_asks, give_up), TR_OK);
        uint64_t refused = tr_sim_node(sim, 0)->loops[0]->counts.dropped[TR_DROP_NO_MEMORY];
        if (refused > failed) {
            failed++;
            ends_with(TR_ENOMEM, TR_SECONDS(1));
            continue;
        }
        const told *t = tr_probe_expect(boss, TR_SECONDS(1), told);
        canceled += t && strcmp(t->what, "canceled") == 0;
        assert_int_equal(failed + canceled, fails_at);
    }
    assert_true(failed && canceled);
}

/* ---- what no peer does --------------------------------------------------------------------------------- */

/* What waits on node 0 for node 1: the ask. */
static const tr_msg *waiting_ask(void)
{
    const tr__remote *remote = tr_sim_node(sim, 0)->remote;
    for (uint32_t i = 0; i < remote->route_count; i++) {
        const tr__remote_peer *p = remote->routes[i].peer;
        for (uint32_t b = 0; p && p->peer->id == one[1].node && b < p->waits.size; b++)
            for (const tr_msg *msg = p->waits.buckets[b]; msg; msg = msg->next)
                if (msg->kind == TR__MSG_ASK && msg->flags & TR__MSG_STREAM)
                    return msg;
    }
    fail_msg("no ask waits for node 1");
    return NULL;
}

typedef enum forged { ITEM_TOO_MANY, DEMAND_OF_NONE, WINDOW_OF_NONE, FORGED } forged;

static void forge(forged what)
{
    const tr_msg *ask = waiting_ask();
    tr__loop *loop = tr_sim_node(sim, what == ITEM_TOO_MANY ? 1 : 0)->loops[0];
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, sizeof(total));
    tr__msg_filled(msg, tr__type_of(&total_type));
    *(total *)tr__msg_body(msg) = (total){.n = 1};
    msg->kind = what == ITEM_TOO_MANY ? TR__MSG_ITEM : what == DEMAND_OF_NONE ? TR__MSG_DEMAND : TR__MSG_ASK;
    msg->flags = msg->kind == TR__MSG_ASK ? TR__MSG_STREAM : 0;
    msg->deadline_ns = UINT64_MAX;
    msg->ask = msg->kind == TR__MSG_ASK ? 1 : ask->ask;
    msg->sender = what == ITEM_TOO_MANY ? one[1] : ask->sender;
    tr__submit(loop, what == ITEM_TOO_MANY ? ask->sender : one[1], msg);
}

static void a_peer_that_breaks_a_streams_rules_is_cut(void **state)
{
    (void)state;
    for (forged what = 0; what < FORGED; what++) {
        have(one[1], SEND, TR_ADDR_NONE);
        have_asked(who_asks, one[1], 300, 8, 10);
        tr_sim_step(sim, TR_SECONDS(1));
        forge(what);
        have(two[1], SEND, TR_ADDR_NONE); /* the loops turn */
        tr_sim_step(sim, TR_SECONDS(3));
        assert_int_equal(tr_probe_send(boss, who_asks, go_on), TR_OK);
        outcome o = ends_with(TR_ENOCONN, TR_SECONDS(1));
        assert_true(o.taken >= 10 && o.taken <= 18);
        tr_sim_step(sim, TR_SECONDS(10)); /* it is up again */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(items_cross_a_connection_in_order_and_the_answer_behind_them, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_pauses_stops_a_sender_on_another_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_goes_on_from_wherever_it_was_forwarded_to, set_up,
                                        tear_down),
        cmocka_unit_test(whoever_streams_hears_when_the_askers_node_is_lost),
        cmocka_unit_test_setup_teardown(who_asks_hears_when_the_senders_node_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_a_stream_hears_of_a_cancel_to_who_handed_it_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(so_it_does_when_nobody_will_tell_who_has_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_connection_ends_a_stream_at_both_ends_and_then_another_begins,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_streams_hears_of_a_cancel_that_can_not_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_that_goes_on_to_a_node_without_memory_is_not_lost_sight_of,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_peer_that_breaks_a_streams_rules_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_end_of_who_asks_or_sends_is_heard_over_the_connection, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
