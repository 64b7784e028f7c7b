/* The shipped app under transactions that want its journal at the same time, on simulated nodes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/app.h>

#include "actors/node.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"

#define LOOKERS 6 /* a node */

static struct {
    uint64_t puts, looks, wounds;
    char wrong[TR_ERROR_TEXT_MAX]; /* what the first that went wrong said */
} seen;

static void is_wrong(const char *text)
{
    if (!seen.wrong[0])
        snprintf(seen.wrong, sizeof seen.wrong, "%s", text);
}

static bool goes_on(void)
{
    return sim_now_running->faults_on;
}

static tr_err putter(tr_actor *self, void *arg)
{
    const tr_app_put_done *done;
    (void)arg;
    while (goes_on()) {
        if (tr_await(self,
                     tr_ask(self, tr_whereis(self, "app"), TR_SECONDS(5), tr_app_put, .data = {"item", 4}),
                     tr_app_put_done, &done) == TR_OK)
            seen.puts++;
        else if (goes_on())
            is_wrong(tr_last_error(self)->text);
        tr_sleep(self, TR_MICROS(100));
    }
    return TR_OK;
}
static const tr_actor_def putter_def = {.name = "putter", .run = putter};

static tr_err looker(tr_actor *self, void *arg)
{
    const tr_app_status *status;
    (void)arg;
    while (goes_on()) {
        tr_err err = tr_await(
            self, tr_ask(self, tr_whereis(self, "app"), TR_SECONDS(5), tr_app_query, .together = false),
            tr_app_status, &status);
        if (err != TR_OK || status->error[0])
            is_wrong(err == TR_OK ? status->error : tr_last_error(self)->text);
        seen.looks++;
        const tr_app_item *item;
        err = tr_await(self, tr_ask(self, tr_whereis(self, "app"), TR_SECONDS(5), tr_app_get, .number = 1),
                       tr_app_item, &item);
        if (err != TR_OK && err != TR_ENOTFOUND)
            is_wrong(tr_last_error(self)->text);
        tr_sleep(self, TR_MICROS(20));
    }
    return TR_OK;
}
static const tr_actor_def looker_def = {.name = "looker", .run = looker};

/* n1's is called first by both, so a put comes to n0's when looks that began after it have that. */
static tr_err start(tr_actor *self, uint32_t index)
{
    const tr_app_status *status;
    tr_addr app = tr_spawn_with(self, &tr_app,
                                &(tr_app_opts){.name = index ? "other" : "one",
                                               .id = index ? "b" : "a",
                                               .peer = index ? "n0/app" : "n1/app"},
                                &(tr_spawn_opts){.name = "app", .place = TR_PLACE_LOOP, .loop = 1});
    TR_TRY(tr_await(self, tr_ask(self, app, TR_SECONDS(10), tr_app_query, .together = true), tr_app_status,
                    &status));
    if (index == 0)
        tr_spawn_with(self, &putter_def, NULL, NULL);
    for (int i = 0; i < LOOKERS; i++)
        tr_spawn_with(self, &looker_def, NULL, NULL);
    while (goes_on() && tr_sleep(self, TR_MILLIS(100)) != TR_EKILLED) {
        tr__tx_figures figures;
        tr__tx_figures_of(sim_now_running->nodes[0].node->transactions->tx, &figures);
        if (index == 0 && sim_counts())
            seen.wounds = figures.wounds;
    }
    return TR_OK;
}

static const tr_scenario looks = {.size = sizeof(looks),
                                  .name = "looks",
                                  .nodes = 2,
                                  .loops = 2,
                                  .run_ns = TR_MILLIS(150),
                                  .data = true,
                                  .start = start};

/* Who looks at an app doesn't hear of transactions: one that a put takes the journal from is looked at again. */
static void a_look_that_a_put_wounds_is_repeated(void **state)
{
    uint64_t wounds = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        tr_error error;
        tr_sim_result result;
        memset(&seen, 0, sizeof seen);
        tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed,
                                                   .scenario = &looks,
                                                   .faults = 1u << TR_SIM_LATENCY | 1u << TR_SIM_SLOW},
                                    &error);
        assert_non_null(sim);
        tr_sim_run(sim);
        tr_sim_result_get(sim, &result);
        tr_sim_destroy(sim);
        if (result.failed)
            fail_msg("seed %llu: %s", (unsigned long long)seed, result.what);
        if (seen.wrong[0])
            fail_msg("seed %llu, after %llu looks: %s", (unsigned long long)seed,
                     (unsigned long long)seen.looks, seen.wrong);
        assert_true(seen.puts > 0 && seen.looks > 0);
        wounds += seen.wounds;
    }
    assert_true(wounds > 0); /* they did meet */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_look_that_a_put_wounds_is_repeated),
    };
    return cmocka_run_group_tests_name("sim_apps", tests, NULL, NULL);
}
