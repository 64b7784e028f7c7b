/* The same seed is the same run, and each class of faults is drawn for itself: S1, S2, S3 of sim.h; what is asked for wrongly
 * is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/net.h"
#include "tests/kit/sim/workloads/list.h"

#ifdef TR_PLAIN_POOLS /* under a sanitizer or valgrind: fewer */
#define PAIRS 32
#else
#define PAIRS 8
#endif

TR_MESSAGE(ball, (u64, n), (string, text))

/* ---- nodes that throw balls at each other ------------------------------------------------------------------ */

static void hand(tr_actor *self, void *state, const tr_msg *msg)
{
    const ball *b = tr_match(msg, ball);
    (void)state;
    if (b && tr_msg_ask_number(msg))
        tr_reply(self, msg, ball, .n = b->n + 1,
                 .text = tr_fmt(self, "back %d", (int)(tr_random(self) % 100)));
}
TR_ACTOR(hand_def, .receive = hand);

static tr_err start(tr_actor *self, uint32_t index)
{
    tr_spawn_with(self, &hand_def, NULL, &(tr_spawn_opts){.name = "hand"});
    for (uint64_t n = 0;; n++) {
        const tr_found *found;
        const ball *back;
        const char *path = tr_fmt(self, "n%u/hand", (index + 1) % 3);
        if (tr_await(self, tr_lookup(self, path, TR_SECONDS(1)), tr_found, &found) == TR_OK) {
            tr_err err = tr_await(self, tr_ask(self, found->actor, TR_SECONDS(1), ball, .n = n), ball, &back);
            tr_sometimes(self, err == TR_OK, "a ball comes back");
            if (err == TR_EKILLED)
                return err;
        }
        TR_TRY(tr_sleep(self, TR_MILLIS(20)));
    }
}

static tr_err end(tr_actor *self)
{
    const tr_found *found;
    return tr_await(self, tr_lookup(self, "n1/hand", TR_SECONDS(5)), tr_found, &found);
}

static const tr_scenario balls = {
    .size = sizeof(tr_scenario), .name = "balls", .run_ns = TR_SECONDS(15), .start = start, .check = end};

static tr_sim_result run(uint64_t seed, uint32_t faults, FILE *timeline)
{
    tr_sim_result result;
    tr_error error;
    tr_sim *sim = tr_sim_create(
        &(tr_sim_opts){
            .seed = seed, .scenario = &balls, .faults = faults, .timeline = timeline, .logs = true},
        &error);
    if (!sim)
        fail_msg("%s", error.text);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    tr_sim_destroy(sim);
    if (result.failed)
        fail_msg("seed %llu: %s", (unsigned long long)seed, result.what);
    return result;
}

static void the_same_seed_is_the_same_run_and_another_is_another(void **state)
{
    uint64_t last = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 24; seed++) {
        tr_sim_result one = run(seed, TR_SIM_ALL_FAULTS, NULL), two = run(seed, TR_SIM_ALL_FAULTS, NULL);
        assert_memory_equal(&one, &two, sizeof(one));
        assert_true(one.hash != last);
        assert_true(one.handled > 1000);
        last = one.hash;
    }
}

/* Its lines, to be freed. */
static char *timeline_of(uint64_t seed, uint32_t faults)
{
    char *text;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    run(seed, faults, file);
    fclose(file);
    return text;
}

static void the_timeline_is_the_same_as_well_and_looking_changes_nothing(void **state)
{
    (void)state;
    char *one = timeline_of(5, TR_SIM_ALL_FAULTS), *two = timeline_of(5, TR_SIM_ALL_FAULTS);
    assert_string_equal(one, two);
    assert_non_null(strstr(one, "ball {\"n\":"));
    assert_non_null(strstr(one, "info     node n0 listens on"));
    free(one);
    free(two);
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    assert_int_equal(run(6, TR_SIM_ALL_FAULTS, nowhere).hash, run(6, TR_SIM_ALL_FAULTS, NULL).hash);
    fclose(nowhere);
}

static void looking_at_transactions_short_of_memory_changes_nothing(void **state)
{
    (void)state;
    uint64_t hash[2];
    FILE *nowhere = fopen("/dev/null", "w");
    assert_non_null(nowhere);
    for (uint64_t seed = 22; seed <= 24; seed++) {
        for (int look = 0; look < 2; look++) {
            tr_sim_result result;
            tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed,
                                                       .scenario = &sim_bank,
                                                       .run_ns = TR_SECONDS(10),
                                                       .faults = 1u << TR_SIM_MEMORY | 1u << TR_SIM_RESET,
                                                       .timeline = look ? nowhere : NULL},
                                        NULL);
            assert_non_null(sim);
            tr_sim_run(sim);
            tr_sim_result_get(sim, &result);
            tr_sim_destroy(sim);
            assert_true(result.faults[TR_SIM_MEMORY] > 0);
            hash[look] = result.hash;
        }
        assert_true(hash[0] == hash[1]);
    }
    fclose(nowhere);
}

static void time_never_goes_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        char *text = timeline_of(seed, TR_SIM_ALL_FAULTS), *line = text;
        double last = 0;
        while (line && *line) {
            double at = strtod(line, NULL);
            assert_true(at >= last);
            last = at;
            line = strchr(line, '\n');
            line = line ? line + 1 : NULL;
        }
        assert_true(last >= 30);
        free(text);
    }
}

/* ---- faults -------------------------------------------------------------------------------------------- */

/* The faults of one class that the timeline tells, each with its time in ms; to be freed. */
static char *faults_of(uint64_t seed, uint32_t faults, const char *word)
{
    char *text = timeline_of(seed, faults), *told, *save = NULL;
    size_t size;
    FILE *file = open_memstream(&told, &size);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char what[16];
        int behind = 0;
        double at;
        if (sscanf(line, "%lf - %15s %n", &at, what, &behind) == 2 && strcmp(what, word) == 0)
            fprintf(file, "%llu %s\n", (unsigned long long)(at * 1000), line + behind);
    }
    fclose(file);
    free(text);
    return told;
}

static void switching_a_class_off_moves_no_fault_of_another(void **state)
{
    uint32_t compared = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++)
        for (uint32_t off = 0; off < TR_SIM_FAULT_COUNT; off++) {
            if ((seed + off) % PAIRS) /* a part of all */
                continue;
            if (off != TR_SIM_PARTITION) {
                char *with = faults_of(seed, TR_SIM_ALL_FAULTS, "partition");
                char *without = faults_of(seed, TR_SIM_ALL_FAULTS & ~(1u << off), "partition");
                assert_string_equal(with, without);
                compared += *with != '\0';
                free(with);
                free(without);
            }
            if (off != TR_SIM_CLOCK) {
                char *with = faults_of(seed, TR_SIM_ALL_FAULTS, "clock");
                char *without = faults_of(seed, TR_SIM_ALL_FAULTS & ~(1u << off), "clock");
                assert_string_equal(with, without);
                compared += *with != '\0';
                free(with);
                free(without);
            }
        }
    assert_true(compared > 0);
}

static void each_class_happens_in_some_runs_and_none_when_it_is_off(void **state)
{
    uint32_t runs[TR_SIM_FAULT_COUNT] = {0};
    static const uint32_t manners =
        1u << TR_SIM_LATENCY | 1u << TR_SIM_PIECES | 1u << TR_SIM_DISK | 1u << TR_SIM_WORLD;
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint32_t off = 1u << seed % TR_SIM_FAULT_COUNT;
        tr_sim_result result = run(seed, TR_SIM_ALL_FAULTS & ~off, NULL);
        for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++) {
            runs[i] += result.faults[i] > 0;
            assert_false((off >> i & 1) && result.faults[i]);
        }
    }
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT;
         i++) /* those that aren't events; a disk and a world that there are none of */
        if (runs[i] <= 3 && !(manners >> i & 1))
            fail_msg("class %u happened in %u runs", i, runs[i]);
    tr_sim_result calm = run(1, 0, NULL);
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++)
        assert_int_equal(calm.faults[i], 0);
}

static void partitions_that_overlap_last_as_long_as_the_longest(void **state)
{
    uint32_t healed = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        tr_sim *sim = tr_sim_create(
            &(tr_sim_opts){.seed = seed, .scenario = &balls, .faults = 1u << TR_SIM_PARTITION}, NULL);
        tr_sim_cut(sim, 0, 1); /* by hand: nothing but the hand heals it */
        for (int i = 0; i < 300; i++) {
            tr_sim_step(sim, TR_MILLIS(50));
            assert_true(sim->cut[0][1]);
            for (uint32_t a = 0; a < 3; a++)
                for (uint32_t b = 0; b < 3; b++) {
                    assert_true(!sim->cut[a][b] || sim->cut_until[a][b] > sim->now - TR_MILLIS(1));
                    healed += !sim->cut[a][b] && sim->cut_until[a][b] != 0;
                }
        }
        tr_sim_destroy(sim);
    }
    assert_true(healed > 0);
}

/* ---- what is asked for --------------------------------------------------------------------------------- */

static void refused(const tr_sim_opts *opts, tr_err code, const char *text)
{
    tr_error error = {.code = TR_OK};
    assert_null(tr_sim_create(opts, &error));
    assert_int_equal(error.code, code);
    if (!strstr(error.text, text))
        fail_msg("%s", error.text);
    assert_null(tr_sim_create(opts, NULL));
}

static void options_that_can_not_be_are_refused(void **state)
{
    static const tr_scenario many = {.size = sizeof(tr_scenario), .name = "many", .nodes = 17};
    static const tr_scenario loops = {.size = sizeof(tr_scenario), .name = "loops", .loops = 5};
    static const tr_scenario unnamed = {.size = sizeof(tr_scenario)};
    static const tr_scenario odd = {.size = sizeof(tr_scenario), .name = "a b"};
    static const tr_scenario newer = {.size = sizeof(tr_scenario) + 8, .name = "newer"};
    (void)state;
    refused(&(tr_sim_opts){.scenario = &many}, TR_EINVAL, "scenario many: at most 16 nodes");
    refused(&(tr_sim_opts){.scenario = &loops}, TR_EINVAL, "of 4 loops");
    refused(&(tr_sim_opts){.scenario = &unnamed}, TR_EINVAL, "name");
    refused(&(tr_sim_opts){.scenario = &odd}, TR_EINVAL, "\"a b\"");
    refused(&(tr_sim_opts){.scenario = &newer}, TR_EVERSION, "build it with these headers");
    refused(&(tr_sim_opts){.faults = 1u << TR_SIM_FAULT_COUNT}, TR_EINVAL, "bits up to");
    assert_null(sim_now_running);
}

static void one_simulation_runs_at_a_time(void **state)
{
    (void)state;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 1}, NULL);
    assert_non_null(sim);
    assert_int_equal(tr_sim_nodes(sim), 3);
    refused(&(tr_sim_opts){.seed = 2}, TR_EINVAL, "runs already");
    tr_sim_destroy(sim);
    sim = tr_sim_create(&(tr_sim_opts){.seed = 2}, NULL);
    assert_non_null(sim);
    tr_sim_destroy(sim);
    tr_sim_destroy(NULL);
}

static void a_scenario_of_an_older_minor_version_lacks_what_was_appended(void **state)
{
    tr_scenario older = balls;
    (void)state;
    older.size = offsetof(tr_scenario, check);
    older.check = (tr_err(*)(tr_actor *))(uintptr_t)1; /* behind its end: not looked at */
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 1, .scenario = &older, .run_ns = TR_SECONDS(1)}, NULL);
    tr_sim_run(sim);
    tr_sim_result result;
    tr_sim_result_get(sim, &result);
    assert_false(result.failed);
    tr_sim_destroy(sim);
}

/* ---- what came of it ----------------------------------------------------------------------------------- */

static tr_err fails(tr_actor *self, uint32_t index)
{
    TR_TRY(tr_sleep(self, TR_SECONDS(2 + index)));
    return tr_fail(self, TR_EAPP, "no luck on n%u", index);
}
static tr_err breaks(tr_actor *self, uint32_t index)
{
    static const char name[] =
        "a name that is longer than most, and says at length what it is that must hold all the time";
    TR_TRY(tr_sleep(self, TR_SECONDS(1)));
    for (int i = 0; i < 1000; i++)
        tr_always(self, true, name);
    tr_always(self, index != 1, "n1 has no say");
    return TR_OK;
}
static tr_err waits(tr_actor *self)
{
    return tr_sleep(self, TR_FOREVER / 4);
}

static void the_first_thing_that_does_not_hold_is_the_result(void **state)
{
    static const tr_scenario failing = {.size = sizeof(tr_scenario), .name = "failing", .start = fails};
    static const tr_scenario breaking = {.size = sizeof(tr_scenario), .name = "breaking", .start = breaks};
    static const tr_scenario waiting = {.size = sizeof(tr_scenario),
                                        .name = "waiting",
                                        .run_ns = TR_SECONDS(1),
                                        .heal_ns = TR_SECONDS(5),
                                        .check = waits};
    tr_sim_result result;
    (void)state;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 3, .scenario = &failing}, NULL);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    tr_sim_fail(sim, "another");
    tr_sim_step(sim, TR_SECONDS(1)); /* stands still */
    tr_sim_destroy(sim);
    assert_true(result.failed);
    assert_string_equal(result.what, "the scenario's start on n0 failed: app: no luck on n0");
    assert_in_range(result.failed_at, TR_SECONDS(2), TR_SECONDS(2) + TR_MILLIS(10));
    assert_in_range(result.virtual_ns, TR_SECONDS(2), TR_SECONDS(2) + TR_MILLIS(10));

    sim = tr_sim_create(&(tr_sim_opts){.seed = 3, .scenario = &breaking}, NULL);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    uint32_t long_ones = 0;
    for (uint32_t i = 0; tr_sim_assertion_at(sim, i); i++)
        long_ones += strncmp(tr_sim_assertion_at(sim, i)->name, "a name that is longer", 21) == 0;
    assert_int_equal(long_ones, 1);
    tr_sim_destroy(sim);
    assert_string_equal(result.what, "always \"n1 has no say\" didn't hold on n1");

    sim = tr_sim_create(&(tr_sim_opts){.seed = 3, .scenario = &waiting}, NULL);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    tr_sim_destroy(sim);
    assert_string_equal(result.what, "the scenario's check hasn't returned 20 s after healing");
}

/* Among those of the simulator itself. */
static const tr_sim_assertion *assertion(const tr_sim *sim, const char *name)
{
    const tr_sim_assertion *a;
    for (uint32_t i = 0; (a = tr_sim_assertion_at(sim, i)); i++)
        if (strcmp(a->name, name) == 0)
            return a;
    return NULL;
}

static tr_err says(tr_actor *self, uint32_t index)
{
    TR_TRY(tr_sleep(self, TR_MILLIS(1 + index)));
    tr_always(self, true, "one");
    tr_sometimes(self, index == 2, "two");
    return TR_OK;
}

static void what_was_said_and_the_points_that_were_passed_are_counted(void **state)
{
    static const tr_scenario saying = {.size = sizeof(tr_scenario), .name = "saying", .start = says};
    uint64_t passed = 0, taken = 0;
    tr_sim_point point;
    (void)state;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 3, .scenario = &saying}, NULL);
    sim->rates.points_per_10000 = 500;
    sim->rates.every_ns[TR_SIM_POINTS] = 1;
    tr_sim_step(sim, TR_SECONDS(1));
    const tr_sim_assertion *one = assertion(sim, "one"), *two = assertion(sim, "two");
    assert_int_equal(one->kind, TR_ALWAYS);
    assert_int_equal(one->held, 3);
    assert_int_equal(two->kind, TR_SOMETIMES);
    assert_int_equal(two->held, 1);
    assert_int_equal(two->broken, 2);
    assert_null(assertion(sim, "three"));
    for (uint32_t i = 0; tr_sim_point_at(sim, i, &point); i++) {
        assert_true(strlen(point.name) > 0 && point.taken <= point.passed);
        passed += point.passed;
        taken += point.taken;
    }
    assert_true(passed > 100);
    assert_int_equal(taken, sim->result.faults[TR_SIM_POINTS]);
    assert_in_range(taken, 1, passed / 5);
    tr_sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_is_the_same_run_and_another_is_another),
        cmocka_unit_test(the_timeline_is_the_same_as_well_and_looking_changes_nothing),
        cmocka_unit_test(looking_at_transactions_short_of_memory_changes_nothing),
        cmocka_unit_test(time_never_goes_back),
        cmocka_unit_test(switching_a_class_off_moves_no_fault_of_another),
        cmocka_unit_test(each_class_happens_in_some_runs_and_none_when_it_is_off),
        cmocka_unit_test(partitions_that_overlap_last_as_long_as_the_longest),
        cmocka_unit_test(options_that_can_not_be_are_refused),
        cmocka_unit_test(one_simulation_runs_at_a_time),
        cmocka_unit_test(a_scenario_of_an_older_minor_version_lacks_what_was_appended),
        cmocka_unit_test(what_was_said_and_the_points_that_were_passed_are_counted),
        cmocka_unit_test(the_first_thing_that_does_not_hold_is_the_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
