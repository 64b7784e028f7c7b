/* See tally.h. */
#include "cli/sim/tally.h"

#include <string.h>

static uint32_t index_of(const sim_tally *t, const tr_scenario *scenario)
{
    uint32_t i = 0;
    while (i + 1 < t->scenario_count && t->scenarios[i] != scenario)
        i++;
    return i;
}

static void add_sometimes(sim_tally *t, const tr_scenario *scenario, const tr_sim_assertion *assertion)
{
    uint32_t i = 0;
    while (i < t->sometimes_count &&
           (t->sometimes[i].scenario != scenario || strcmp(t->sometimes[i].name, assertion->name) != 0))
        i++;
    if (i == SIM_SOMETIMES_MAX)
        return;
    if (i == t->sometimes_count) {
        t->sometimes_count++;
        t->sometimes[i].scenario = scenario;
        memcpy(t->sometimes[i].name, assertion->name, sizeof(assertion->name));
    }
    t->sometimes[i].seeds += assertion->held > 0;
    t->sometimes[i].times += assertion->held;
}

void sim_tally_add(sim_tally *t, const sim_outcome *outcome)
{
    const sim_record *r = &outcome->record;
    t->seeds++;
    t->failed += !outcome->ok;
    t->scenario_seeds[index_of(t, outcome->job.scenario)]++;
    t->hash = (t->hash ^ r->result.hash) * 1099511628211ull;
    t->virtual_ns += r->result.virtual_ns;
    t->handled += r->result.handled;
    t->turns += r->result.turns;
    for (uint32_t i = 0; i < TR_SIM_FAULT_COUNT; i++) {
        t->faults[i] += r->result.faults[i];
        t->fault_seeds[i] += r->result.faults[i] > 0;
    }
    for (uint32_t i = 0; i < r->assertion_count; i++)
        if (r->assertions[i].kind == TR_SOMETIMES)
            add_sometimes(t, outcome->job.scenario, &r->assertions[i]);
    if (r->point_count)
        t->point_count = r->point_count;
    for (uint32_t i = 0; i < r->point_count; i++) {
        t->points_passed[i] += r->points[i].passed;
        t->points_taken[i] += r->points[i].taken;
    }
}

bool sim_tally_is_missed(const sim_tally *t, const sim_sometimes *sometimes)
{
    return !sometimes->seeds &&
           (t->judge_all || t->scenario_seeds[index_of(t, sometimes->scenario)] >= SIM_ENOUGH_SEEDS);
}

uint32_t sim_tally_missed(const sim_tally *t)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->sometimes_count; i++)
        count += sim_tally_is_missed(t, &t->sometimes[i]);
    return count;
}
