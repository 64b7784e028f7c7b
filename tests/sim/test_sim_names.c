/* Monitors of names over a connection that breaks: who has the name may be the same as before, and is told to be again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/sim.h"

TR_MESSAGE(filler)

static void server(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state, (void)msg;
}
TR_ACTOR(server_def, .receive = server);

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

static tr_err start(tr_actor *self, uint32_t index)
{
    if (index == 1)
        tr_spawn_with(self, &server_def, NULL, &(tr_spawn_opts){.name = "server"});
    else
        tr_spawn(self, &watcher_def, NULL);
    return TR_OK;
}

static const tr_scenario watched = {
    .size = sizeof(tr_scenario), .name = "watched", .nodes = 2, .loops = 1, .start = start};

static void who_is_lost_and_found_again_while_the_mailbox_is_full_is_told_as_both(void **state)
{
    (void)state;
    trail[0] = '\0';
    full = false;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .scenario = &watched}, NULL);
    assert_non_null(sim);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_lost_and_found_again_while_the_mailbox_is_full_is_told_as_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
