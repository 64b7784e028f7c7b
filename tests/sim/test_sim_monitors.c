/* Monitors between nodes: of names over a connection that breaks, where who has the name may be the same as before and is
 * told to be again; of actors whose node has no memory to note them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "actors/loop.h"
#include "tests/kit/sim/sim.h"

TR_MESSAGE(filler)
TR_MESSAGE(monitor_it, (addr, actor))
TR_MESSAGE(leave)

static void server(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_match(msg, leave))
        tr_exit(self, TR_OK, "asked to leave");
}
TR_ACTOR(server_def, .receive = server);

/* ---- of names ------------------------------------------------------------------------------------------- */

static char trail[64]; /* what the watcher was told: a word each */
static bool full;      /* its mailbox, for it sleeps */

static void note(const char *word)
{
    assert_true(strlen(trail) + strlen(word) < sizeof(trail));
    strcat(trail, word);
}

/* Hears that the name is there, sleeps over a full mailbox, and hears the rest. */
static tr_err watcher(tr_actor *self, void *arg)
{
    (void)arg;
    if (!tr_monitor_name(self, "n1/server"))
        return TR_ENOMEM;
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        const tr_name_event *e = msg ? tr_match(msg, tr_name_event) : NULL;
        if (!msg)
            return TR_OK;
        if (!e)
            continue;
        note(e->up ? "up " : "down ");
        if (full || !e->up)
            continue;
        while (tr_send(self, tr_self(self), filler) == TR_OK)
            ;
        full = true;
        TR_TRY(tr_sleep(self, TR_SECONDS(5)));
    }
}
static const tr_actor_def watcher_def = {.name = "watcher", .run = watcher, .mailbox_places = 4};

/* ---- of actors ------------------------------------------------------------------------------------------ */

static uint32_t downs;
static tr_down last;

static void onlooker(tr_actor *self, void *state, const tr_msg *msg)
{
    const monitor_it *m = tr_match(msg, monitor_it);
    const tr_down *d = tr_match(msg, tr_down);
    (void)state;
    if (m)
        assert_true(tr_monitor(self, m->actor) != 0);
    if (!d)
        return;
    downs++;
    last = *d;
}
TR_ACTOR(onlooker_def, .receive = onlooker);

/* ---- the cluster ---------------------------------------------------------------------------------------- */

static tr_err start(tr_actor *self, uint32_t index)
{
    if (index == 1) {
        tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "server"});
        return TR_OK;
    }
    tr_spawn(self, &watcher_def, NULL);
    tr_spawn_with(self, &onlooker_def, NULL, &(tr_spawn_opts){.name = "onlooker"});
    return TR_OK;
}

static const tr_scenario watched = {
    .size = sizeof(tr_scenario), .name = "watched", .nodes = 2, .loops = 1, .start = start};

static tr_sim *opened(void)
{
    trail[0] = '\0';
    full = false;
    downs = 0;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .scenario = &watched}, NULL);
    assert_non_null(sim);
    return sim;
}

static void who_is_lost_and_found_again_while_the_mailbox_is_full_is_told_as_both(void **state)
{
    (void)state;
    tr_sim *sim = opened();
    tr_probe *probe = tr_probe_open(sim, 0);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_true(full);
    tr_sim_reset(sim, 0, 1);
    tr_sim_step(sim, TR_SECONDS(2));
    assert_false(
        tr_addr_is_none(tr_probe_lookup(probe, "n1/server", TR_SECONDS(1)))); /* they are connected */
    assert_string_equal(trail, "up ");
    tr_sim_step(sim, TR_SECONDS(4));
    assert_string_equal(trail, "up down up ");
    tr_sim_result result;
    tr_sim_result_get(sim, &result);
    assert_false(result.failed);
    tr_sim_destroy(sim);
}

/* The blocks that a loop has at hand are gone: the next one needs an allocation. */
static void dry_pool(tr_node *node)
{
    tr__pool *pool = &node->loops[0]->pool;
    memset(pool->free, 0, sizeof(pool->free));
    pool->bump = pool->bump_end;
}

static void whatever_allocation_fails_there_a_monitor_is_told_of_an_end_or_of_that(void **state)
{
    uint32_t refused = 0, cut = 0, kept = 0;
    (void)state;
    for (uint64_t nth = 1; nth <= 20; nth++) {
        tr_sim *sim = opened();
        tr_probe *probe = tr_probe_open(sim, 0);
        tr_addr of = tr_probe_lookup(probe, "n1/server", TR_SECONDS(1));
        tr_addr by = tr_probe_lookup(probe, "n0/onlooker", TR_SECONDS(1));
        assert_int_equal(tr_probe_send(probe, by, monitor_it, .actor = of), TR_OK);
        dry_pool(tr_sim_node(sim, 1));
        sim->nodes[1].fail_allocation_in = nth;
        tr_sim_step(sim, TR_MILLIS(20));
        sim->nodes[1].fail_allocation_in = 0;
        refused += downs && last.kind == TR_EXIT_NO_ACTOR;
        cut += downs && last.kind == TR_EXIT_NO_CONNECTION;
        kept += !downs;
        assert_true(!downs || last.kind == TR_EXIT_NO_CONNECTION || last.code == TR_ENOMEM);
        tr_sim_step(sim, TR_SECONDS(2)); /* connected again, if it was cut */
        (void)tr_probe_send(probe, of, leave);
        tr_sim_step(sim, TR_SECONDS(1));
        assert_int_equal(downs, 1);
        tr_sim_destroy(sim);
    }
    assert_true(refused && cut && kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_lost_and_found_again_while_the_mailbox_is_full_is_told_as_both),
        cmocka_unit_test(whatever_allocation_fails_there_a_monitor_is_told_of_an_end_or_of_that),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
