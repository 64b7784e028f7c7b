/* Monitors of names over connections that break: who couldn't be told of it at once hears of it later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/sim.h"

TR_MESSAGE(mark)

static char heard[256];
static tr_addr watcher;

static tr_err serve(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_sleep(self, TR_FOREVER);
}
static const tr_actor_def server = {.name = "server", .run = serve};

/* It takes nothing for 20 s, and has four places. */
static tr_err watch(tr_actor *self, void *arg)
{
    (void)arg;
    if (!tr_monitor_name(self, "n0/server"))
        return TR_ENOMEM;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const tr_name_event *e = tr_match(msg, tr_name_event);
        strcat(heard, !e ? "mark " : e->up ? "up " : "down ");
        if (e && e->up)
            tr_sleep(self, TR_SECONDS(20));
    }
    return TR_OK;
}
static const tr_actor_def watcher_def = {.name = "watcher", .run = watch, .mailbox_places = 4};

static tr_err start(tr_actor *self, uint32_t index)
{
    if (index == 0)
        tr_spawn_with(self, &server, NULL, &(tr_spawn_opts){.name = "server"});
    else
        watcher = tr_spawn(self, &watcher_def, NULL);
    return tr_sleep(self, TR_FOREVER);
}

static const tr_scenario scenario = {
    .size = sizeof(tr_scenario), .name = "name-watch", .nodes = 2, .loops = 1, .start = start};

static void a_full_mailbox_hears_that_it_was_lost_though_it_is_there_again(void **state)
{
    (void)state;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 3, .scenario = &scenario}, NULL);
    tr_sim_step(sim, TR_SECONDS(2));
    assert_string_equal(heard, "up ");
    tr_probe *probe = tr_probe_open(sim, 1);
    for (int i = 0; i < 4; i++)
        assert_int_equal(tr_probe_send(probe, watcher, mark), TR_OK);
    tr_sim_reset(sim, 0, 1);
    tr_sim_step(sim, TR_SECONDS(10));
    assert_string_equal(heard, "up ");
    tr_sim_step(sim, TR_SECONDS(10));
    assert_string_equal(heard, "up mark mark mark mark down up ");
    tr_sim_result result;
    tr_sim_result_get(sim, &result);
    if (result.failed)
        fail_msg("%s", result.what);
    tr_sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_mailbox_hears_that_it_was_lost_though_it_is_there_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
