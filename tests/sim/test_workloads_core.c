/* The workloads of the core (tests/kit/sim/workloads/core.h): a few seeds under each class of faults, that what is rare is
 * reached, and, in a build with planted bugs, that each is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/testkit.h>

#include "base/plant.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/sim/regressions.h"

static const tr_scenario *const scenarios[] = {
    &sim_core_flow, &sim_core_mail, &sim_core_asks, &sim_core_streams,   &sim_core_ends,
    &sim_core_far,  &sim_core_tree, &sim_groups,    &sim_core_confirmed, &sim_cluster};

/* ---- running ------------------------------------------------------------------------------------------- */

static const char *const rare[] = {
    "a note arrives after a reconnection",
    "a connection without credit refuses",
    "a full mailbox refuses",
    "who was refused is told of places",
    "a note is sent to one that has ended",
    "a note of more than a MiB",
    "a note is set aside",
    "a timer is taken back",
    "an ask's deadline comes",
    "an answer is too late",
    "an ask fails for there is no actor",
    "an ask fails as its connection breaks",
    "an ask is refused without a connection",
    "a callee hears that an ask was given up",
    "an ask is answered by who it was handed on to",
    "an ask is handed on twice",
    "a stream is longer than any window",
    "an item of more than a MiB comes from another node",
    "a stream is answered by who it was handed on to",
    "a stream fails midway as its connection breaks",
    "a stream's deadline comes midway",
    "who had no demand is told of some",
    "who sends to a lost node is told",
    "one is down by a crash of its node",
    "one without a connection is down at once",
    "one that lives is taken for down",
    "one of another node was gone before it was watched",
    "one of another node ended with an error",
    "one was killed",
    "a monitor is taken back when its actor has ended",
    "who is linked hears of an end",
    "one is linked that has ended",
    "one of another node is linked again",
    "one of another node is linked that has ended",
    "one of another node is stopped",
    "who is linked hears of an error on another node",
    "who is linked hears of a kill on another node",
    "a lost connection ends a link of two that live",
    "a guest is started on another node",
    "a spawner hears why its guest ended",
    "a spawn fails as its connection breaks",
    "a spawn's deadline comes",
    "a name is taken",
    "a name of another node is found",
    "a node is down",
    "a supervisor starts a child again",
    "a supervisor ends since its children end too often",
    "a restart waits for its back-off",
    "a child is started again with its group",
    "a child is added to a supervisor",
    "a child is stopped by who made its supervisor",
    "a watched name is given back",
    "a slow subscriber is told of what it lost",
    "a pool answers",
    "an ask fails with its worker",
    "a being has a thread of its own",
    "of a confirmed message nothing is known at its deadline",
    "a confirmed message never leaves its node",
    "a confirmed message finds the mailbox full until its deadline",
    "the receiver of a confirmed message is gone",
    "the node of a confirmed message is started anew",
    "a confirmed message is handled when its sender doesn't know",
    "a confirmed message is handled after its sender's end",
    "a name is claimed",
    "a name that is claimed is taken",
    "a name is lost to a node that wasn't seen",
    "who keeps a name hears of who lost it",
};
static uint64_t reached[TR_COUNT(rare)];

static void note_reached(const tr_sim *sim)
{
    const tr_sim_assertion *a;
    for (uint32_t i = 0; (a = tr_sim_assertion_at(sim, i)); i++)
        for (size_t r = 0; r < TR_COUNT(rare); r++)
            if (strncmp(a->name, rare[r], sizeof(a->name) - 1) == 0)
                reached[r] += a->held;
}

static const char *script; /* of the next runs; NULL: none */

static tr_sim_result run(const tr_scenario *scenario, uint64_t seed, uint32_t faults)
{
    tr_error error;
    tr_sim_result result;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = scenario, .faults = faults}, &error);
    if (!sim)
        fail_msg("%s, seed %d: %s", scenario->name, (int)seed, error.text);
    if (script && tr_sim_script(sim, script, &error) != TR_OK)
        fail_msg("%s", error.text);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    note_reached(sim);
    tr_sim_destroy(sim);
    return result;
}

static void passes(const tr_scenario *scenario, uint64_t seed, uint32_t faults)
{
    tr_sim_result result = run(scenario, seed, faults);
    if (result.failed)
        fail_msg("%s, seed %d, faults %x: at %.6f s: %s", scenario->name, (int)seed, faults,
                 (double)result.failed_at / 1e9, result.what);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void every_promise_holds_under_each_class_of_faults_alone(void **state)
{
    (void)state;
    for (size_t s = 0; s < TR_COUNT(scenarios); s++)
        for (uint32_t fault = 0; fault < TR_SIM_FAULT_COUNT; fault++)
            for (uint64_t seed = 1; seed <= 2; seed++)
                passes(scenarios[s], 100 * fault + seed, 1u << fault);
}

static void every_promise_holds_without_faults_and_under_all(void **state)
{
    (void)state;
    for (size_t s = 0; s < TR_COUNT(scenarios); s++)
        for (uint64_t seed = 1; seed <= 20; seed++)
            passes(scenarios[s], seed, seed <= 2 ? 0 : TR_SIM_ALL_FAULTS);
}

static void nodes_that_are_asked_to_stop_do_so_in_order(void **state)
{
    (void)state;
    script = "run 8s\nat 1s stop n1\nat 2s start n1\nat 3s stop n0 n2\nat 4s start n0 n2\n";
    for (uint64_t seed = 1; seed <= 4; seed++) {
        passes(&sim_core_tree, seed, 0);
        passes(&sim_groups, seed, 0);
    }
    script = NULL;
}

static void what_was_found_once_is_not_found_again(void **state)
{
    static const struct {
        const char *scenario;
        uint64_t seed;
        uint32_t faults;
    } found[] = {
#define ROW(scenario, seed, faults, what) {scenario, seed, faults},
        REGRESSIONS(ROW)
#undef ROW
    };
    (void)state;
    for (size_t i = 0; i < TR_COUNT(found); i++)
        for (size_t s = 0; s < TR_COUNT(scenarios); s++)
            if (strcmp(scenarios[s]->name, found[i].scenario) == 0)
                passes(scenarios[s], found[i].seed, found[i].faults);
}

/* Behind the others: what their runs came to. */
static void what_is_rare_is_reached(void **state)
{
    (void)state;
    for (size_t r = 0; r < TR_COUNT(rare); r++)
        if (!reached[r])
            fail_msg("never reached: %s", rare[r]);
}

static void the_same_seed_is_the_same_run_whatever_ran_before(void **state)
{
    (void)state;
    for (size_t s = 0; s < TR_COUNT(scenarios); s++) {
        uint64_t first = run(scenarios[s], 7, TR_SIM_ALL_FAULTS).hash;
        run(scenarios[(s + 1) % TR_COUNT(scenarios)], 8, TR_SIM_ALL_FAULTS);
        if (run(scenarios[s], 7, TR_SIM_ALL_FAULTS).hash != first)
            fail_msg("%s: another run", scenarios[s]->name);
    }
}

#ifdef TR_PLANTS

/* A planted bug, the workload that is to see it within so many seeds, and what that says. */
static const struct {
    const char *plant;
    const tr_scenario *scenario;
    uint64_t seeds;
    const char *says;
} planted[] = {
    {"two_swapped", &sim_core_flow, 10, "before it on the same connection didn't"},
    {"held_overtaken", &sim_core_flow, 20, "arrived"},
    {"records_overtaken", &sim_core_flow, 20, "arrived"},
    {"bulk_overtaken", &sim_core_flow, 20, "arrived"},
    {"bulk_overtaken", &sim_core_streams, 20, "came for item"},
    {"lost_midway", &sim_core_flow, 10, "before it on the same connection didn't"},
    {"twice_after_reconnect", &sim_core_flow, 10, "arrived twice"},
    {"reply_to_next", &sim_core_asks, 20, "ask "},
    {"down_dropped", &sim_core_ends, 20, "never hears that"},
    {"down_twice", &sim_core_ends, 20, "hears"},
    {"monitor_late", &sim_core_ends, 20, "never hears that"},
    {"tie_dropped", &sim_core_far, 60, "link"},
    {"exit_unlinked", &sim_core_far, 20, "isn't linked any more"},
    {"link_early", &sim_core_ends, 40, "never hears of its end"},
    {"slot_reused", &sim_core_flow, 10, "an address was given"},
    {"old_incarnation", &sim_core_flow, 40, "a stale address resolved"},
    {"name_left", &sim_core_ends, 10, "name "},
    {"dead_letter_uncounted", &sim_core_flow, 10, "the sums differ"},
    {"held_counted_twice", &sim_core_flow, 20, "the sums differ"},
    {"intensity_ignored", &sim_core_tree, 20, "started children"},
    {"child_twice", &sim_core_tree, 10, "is started while it runs"},
    {"one_too_many", &sim_core_flow, 10, "more places than its mailbox"},
    {"demand_twice", &sim_core_streams, 10, "are under way, its window is"},
    {"place_lost", &sim_core_asks, 20, "free places of"},
    {"held_leaked", &sim_core_mail, 10, "the sums differ"},
    {"ask_left", &sim_core_asks, 20, "never settles"},
    {"wake_lost", &sim_core_tree, 20, "45 s after healing"},
    {"credit_kept", &sim_core_flow, 20, "45 s after healing"},
    {"confirmed_twice", &sim_core_confirmed, 20, "is handled twice"},
    {"confirmed_early", &sim_core_confirmed, 20, "was confirmed"},
    {"confirmed_overtaken", &sim_core_confirmed, 40, "is handled behind a later one"},
    {"fed_again", &sim_cluster, 10, "news come once, and in order"},
    {"claim_left", &sim_cluster, 10, "the name"},
    {"name_kept", &sim_cluster, 60, "the name"},
};

static void every_planted_bug_is_seen_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < TR_COUNT(planted); i++) {
        tr_sim_result result = {.failed = false};
        assert_true(tr__plant_choose(planted[i].plant));
        uint64_t seed = 0;
        while (!result.failed && seed < planted[i].seeds)
            result = run(planted[i].scenario, ++seed, TR_SIM_ALL_FAULTS);
        tr__plant_choose(NULL);
        if (!result.failed)
            fail_msg("%s isn't seen by %s in %d seeds", planted[i].plant, planted[i].scenario->name,
                     (int)planted[i].seeds);
        if (!strstr(result.what, planted[i].says))
            fail_msg("%s is told as: %s", planted[i].plant, result.what);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_promise_holds_under_each_class_of_faults_alone),
        cmocka_unit_test(every_promise_holds_without_faults_and_under_all),
        cmocka_unit_test(nodes_that_are_asked_to_stop_do_so_in_order),
        cmocka_unit_test(what_was_found_once_is_not_found_again),
        cmocka_unit_test(what_is_rare_is_reached),
        cmocka_unit_test(the_same_seed_is_the_same_run_whatever_ran_before),
#ifdef TR_PLANTS
        cmocka_unit_test(every_planted_bug_is_seen_and_named),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
