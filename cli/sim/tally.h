/* What came of all seeds of a campaign, added up. */
#ifndef TR_CLI_SIM_TALLY_H
#define TR_CLI_SIM_TALLY_H

#include "cli/sim/child.h"

#define SIM_SOMETIMES_MAX 1024
#define SIM_ENOUGH_SEEDS  100 /* of a scenario, to expect that what holds sometimes did */

/* A `sometimes` of a scenario. */
typedef struct sim_sometimes {
    const tr_scenario *scenario;
    char name[64];
    uint64_t seeds; /* in which it held */
    uint64_t times; /* that it held, in all */
} sim_sometimes;

typedef struct sim_tally {
    uint32_t scenario_count;
    const tr_scenario *scenarios[SIM_SCENARIOS_MAX];
    uint64_t scenario_seeds[SIM_SCENARIOS_MAX];
    uint64_t seeds, failed, unlike; /* unlike: of those that ran twice */
    uint64_t hash;                  /* of all hashes, in order */
    uint64_t virtual_ns, handled, turns;
    uint64_t faults[TR_SIM_FAULT_COUNT], fault_seeds[TR_SIM_FAULT_COUNT];
    uint32_t sometimes_count, point_count;
    sim_sometimes sometimes[SIM_SOMETIMES_MAX];
    uint64_t points_passed[SIM_POINTS_MAX], points_taken[SIM_POINTS_MAX];
    bool judge_all; /* however few seeds there were */
} sim_tally;

void sim_tally_add(sim_tally *tally, const sim_outcome *outcome);
/* It should have held by now, and never did. */
bool sim_tally_is_missed(const sim_tally *tally, const sim_sometimes *sometimes);
uint32_t sim_tally_missed(const sim_tally *tally);

#endif
