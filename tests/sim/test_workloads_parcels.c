/* The workload of messages of all shapes: what is sent arrives as it was, under each class of faults; the buffers of a node
 * that stops are all released. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <troupe/testkit.h>

#include "tests/kit/sim/workloads/list.h"

static uint64_t full, answers;

static tr_sim_result run(uint64_t seed, uint32_t faults)
{
    tr_error error;
    tr_sim_result result;
    const tr_sim_assertion *a;
    tr_sim *sim =
        tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = &sim_parcels, .faults = faults}, &error);
    if (!sim)
        fail_msg("seed %d: %s", (int)seed, error.text);
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    for (uint32_t i = 0; (a = tr_sim_assertion_at(sim, i)); i++) {
        full += strcmp(a->name, "a parcel with all that it may have") == 0 ? a->held : 0;
        answers += strcmp(a->name, "a parcel that was asked for comes") == 0 ? a->held : 0;
    }
    tr_sim_destroy(sim);
    if (result.failed)
        fail_msg("seed %d, faults %x: at %.6f s: %s", (int)seed, faults, (double)result.failed_at / 1e9,
                 result.what);
    return result;
}

static void parcels_arrive_as_they_were_sent_whatever_happens(void **state)
{
    (void)state;
    for (uint32_t fault = 0; fault < TR_SIM_FAULT_COUNT; fault++)
        run(100 * fault + 1, 1u << fault);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        run(seed, 0);
        run(seed, TR_SIM_ALL_FAULTS);
    }
    assert_true(full > 100);
    assert_true(answers > 100);
}

static void the_same_seed_hears_the_same_words(void **state)
{
    (void)state;
    assert_int_equal(run(5, TR_SIM_ALL_FAULTS).hash, run(5, TR_SIM_ALL_FAULTS).hash);
    assert_int_not_equal(run(5, TR_SIM_ALL_FAULTS).hash, run(6, TR_SIM_ALL_FAULTS).hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parcels_arrive_as_they_were_sent_whatever_happens),
        cmocka_unit_test(the_same_seed_hears_the_same_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
