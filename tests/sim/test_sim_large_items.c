/* Large items of streams and large answers between nodes: what waits for the connection is bounded, for each peer, and two
 * nodes that flood one another go on. Their credit itself: tests/unit/test_lanes_bounds.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "actors/remote/peer.h"
#include "tests/kit/sim/sim.h"

/* On each node "server", "fiber" and "near" (on the loop that has the connections) answer, "asker" asks for who tells it to. */
TR_MESSAGE(films, (u64, items))
TR_MESSAGE(film, (u64, n), (buffer, content))
TR_MESSAGE(one_film, (u64, n))
TR_MESSAGE(shown, (u64, n))
TR_MESSAGE(watch, (addr, from), (u64, items), (u32, window), (u64, asks))
TR_MESSAGE(outcome, (u32, code), (u64, taken), (u64, refused))

#define FILM ((size_t)1 << 20)

/* The most that any node has held for a peer at a time, in messages and bytes. */
static uint32_t held_most;
static size_t answers_held_most;

static void look(tr_actor *self)
{
    const tr__remote *remote = tr_node_of(self)->remote;
    for (uint32_t i = 0; i < remote->route_count; i++) {
        const tr__remote_peer *p = remote->routes[i].peer;
        uint32_t held = p ? p->held_count + p->bulk_held_count : 0;
        held_most = held > held_most ? held : held_most;
        if (p && p->answers_held > answers_held_most)
            answers_held_most = p->answers_held;
    }
}

/* ---- who answers --------------------------------------------------------------------------------------- */

typedef struct server {
    tr_msg *ask;
    uint64_t sent, without_room;
} server;

static const tr_buffer *a_film(tr_actor *self)
{
    static char content[FILM];
    return tr_buffer_make(self, content, sizeof(content));
}

static void produce(tr_actor *self, server *s)
{
    uint64_t items = tr_match(s->ask, films)->items;
    const tr_buffer *content = a_film(self);
    tr_err err = TR_OK;
    while (s->sent < items && err == TR_OK) {
        err = tr_reply_item(self, s->ask, film, .n = s->sent, .content = content);
        s->sent += err == TR_OK;
        s->without_room += err == TR_EAGAIN && tr_msg_demand(self, s->ask) > 0;
        look(self);
    }
    tr_buffer_release(self, content);
    if (s->sent < items)
        return;
    tr_reply(self, s->ask, shown, .n = s->sent);
    tr_msg_free(self, &s->ask);
}

static void serve(tr_actor *self, void *state, const tr_msg *msg)
{
    server *s = state;
    if (tr_match(msg, films)) {
        *s = (server){.ask = tr_msg_take(self, msg)};
        produce(self, s);
    } else if (tr_match(msg, one_film)) {
        const tr_buffer *content = a_film(self);
        tr_reply(self, msg, film, .n = tr_match(msg, one_film)->n, .content = content);
        tr_buffer_release(self, content);
        look(self);
    } else if (tr_match(msg, tr_demand) && s->ask) {
        produce(self, s);
    }
}
TR_ACTOR(server_def, .receive = serve, .state_size = sizeof(server));

static tr_err serve_as_fiber(tr_actor *self, void *arg)
{
    (void)arg;
    for (const tr_msg *msg; (msg = tr_receive_type(self, TR_FOREVER, films));) {
        uint64_t n = 0;
        tr_err err = TR_OK;
        const tr_buffer *content = a_film(self);
        for (; n < tr_match(msg, films)->items && err == TR_OK; n++) {
            err = tr_reply_item(self, msg, film, .n = n, .content = content);
            look(self);
        }
        tr_buffer_release(self, content);
        if (err == TR_OK)
            tr_reply(self, msg, shown, .n = n);
    }
    return TR_OK;
}
TR_ACTOR(fiber_def, .run = serve_as_fiber);

/* ---- who asks ------------------------------------------------------------------------------------------ */

typedef struct asking {
    tr_addr boss;
    uint64_t taken, refused, due;
    tr_err err;
} asking;

static bool take(tr_actor *self, void *state, const tr_msg *msg, void *context)
{
    asking *a = state;
    const film *f = tr_match(msg, film);
    (void)self;
    (void)context;
    if (!f || f->n != a->taken || f->content->size != FILM)
        a->err = TR_EPROTO;
    a->taken++;
    return true;
}

static void tell(tr_actor *self, const asking *a)
{
    tr_send(self, a->boss, outcome, .code = a->err, .taken = a->taken, .refused = a->refused);
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    asking *a = state;
    (void)context;
    if (result->err == TR_EFULL)
        a->refused++;
    else if (result->err != TR_OK)
        a->err = result->err;
    else
        a->taken += tr_match(result->msg, film) != NULL;
    if (--a->due == 0)
        tell(self, a);
}

static void ask(tr_actor *self, void *state, const tr_msg *msg)
{
    asking *a = state;
    const watch *w = tr_match(msg, watch);
    if (!w)
        return;
    *a = (asking){.boss = tr_msg_sender(msg), .due = w->asks ? w->asks : 1};
    for (uint64_t i = 0; i < w->asks; i++)
        tr_then(self, tr_ask(self, w->from, TR_SECONDS(60), one_film, .n = i), answered, NULL);
    if (w->asks)
        return;
    tr_future f = tr_ask_stream(self, w->from, TR_SECONDS(60), w->window, films, .items = w->items);
    tr_each(self, f, take, NULL);
    tr_then(self, f, answered, NULL);
}
TR_ACTOR(asker_def, .receive = ask, .state_size = sizeof(asking));

/* ---- fixture ------------------------------------------------------------------------------------------- */

static tr_err start(tr_actor *self, uint32_t index)
{
    (void)index;
    tr_spawn_with(self, &server_def, NULL,
                  &(tr_spawn_opts){.name = "server", .place = TR_PLACE_LOOP, .loop = 1});
    tr_spawn_with(self, &fiber_def, NULL,
                  &(tr_spawn_opts){.name = "fiber", .place = TR_PLACE_LOOP, .loop = 1});
    tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "near", .place = TR_PLACE_LOOP});
    tr_spawn_with(self, &asker_def, NULL,
                  &(tr_spawn_opts){.name = "asker", .place = TR_PLACE_LOOP, .loop = 1});
    tr_spawn_with(self, &asker_def, NULL,
                  &(tr_spawn_opts){.name = "other", .place = TR_PLACE_LOOP, .loop = 1});
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario cinemas = {
    .size = sizeof(tr_scenario), .name = "cinemas", .nodes = 2, .loops = 2, .start = start};

static tr_sim *sim;
static tr_probe *boss[2];

static int set_up(void **state)
{
    (void)state;
    sim = tr_sim_create(&(tr_sim_opts){.seed = 5, .scenario = &cinemas}, NULL);
    assert_non_null(sim);
    boss[0] = tr_probe_open(sim, 0);
    boss[1] = tr_probe_open(sim, 1);
    held_most = 0;
    answers_held_most = 0;
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

static void begin(unsigned node, const char *asker, const char *from, watch how)
{
    tr_addr by = tr_probe_lookup(boss[node], asker, TR_SECONDS(5));
    how.from = tr_probe_lookup(boss[node], from, TR_SECONDS(5));
    assert_false(tr_addr_is_none(by) || tr_addr_is_none(how.from));
    assert_int_equal(tr_probe_send_body(boss[node], by, &watch_type, &how), TR_OK);
}

static outcome end(unsigned node)
{
    const outcome *o = tr_probe_expect(boss[node], TR_SECONDS(60), outcome);
    assert_non_null(o);
    assert_string_equal(tr_err_word((tr_err)o->code), tr_err_word(TR_OK));
    return *o;
}

/* ---- what holds ---------------------------------------------------------------------------------------- */

/* Eight units wait to leave, one is held; and other loops are a turn behind. */
static void of_large_items_no_more_wait_than_of_large_messages(void **state)
{
    const char *from[] = {"n1/near", "n1/server", "n1/fiber"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        begin(0, "n0/asker", from[i], (watch){.items = 255, .window = 255});
        assert_int_equal(end(0).taken, 255);
        assert_in_range(held_most, 1, i == 0 ? 1 : 9);
    }
}

static void two_nodes_that_flood_each_other_with_items_go_on(void **state)
{
    (void)state;
    begin(0, "n0/asker", "n1/server", (watch){.items = 255, .window = 255});
    begin(1, "n1/asker", "n0/server", (watch){.items = 255, .window = 255});
    begin(0, "n0/other", "n1/fiber", (watch){.items = 255, .window = 255});
    begin(1, "n1/other", "n0/fiber", (watch){.items = 255, .window = 255});
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(end(i / 2).taken, 255);
    assert_in_range(held_most, 1, 18);
}

static void of_large_answers_no_more_is_held_than_the_bound_and_the_rest_fail(void **state)
{
    (void)state;
    begin(0, "n0/asker", "n1/near", (watch){.asks = 200});
    outcome o = end(0);
    assert_int_equal(o.taken + o.refused, 200);
    assert_in_range(o.taken, 64, 100);
    assert_in_range(answers_held_most, TR__ANSWERS_HELD_MAX - 2 * FILM, TR__ANSWERS_HELD_MAX);
    begin(0, "n0/asker", "n1/near", (watch){.asks = 20}); /* nothing is held any more */
    assert_int_equal(end(0).taken, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_large_items_no_more_wait_than_of_large_messages, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(two_nodes_that_flood_each_other_with_items_go_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_large_answers_no_more_is_held_than_the_bound_and_the_rest_fail,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
