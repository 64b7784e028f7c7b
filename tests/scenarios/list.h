/* The scenarios that run in the simulator and with real processes alike: what they keep about other nodes they learn by
 * messages, and nothing lives in a static variable (docs/scenarios.md). */
#ifndef TR_TESTS_SCENARIOS_LIST_H
#define TR_TESTS_SCENARIOS_LIST_H

#include <troupe/scenario.h>

/* NULL: there is none of that name. */
const tr_scenario *scenario_named(const char *name);

extern const tr_scenario scenario_calm, scenario_killed, scenario_storm, scenario_silent, scenario_parted,
    scenario_one_way, scenario_broken, scenario_bank, scenario_confirmed, scenario_confirmed_killed;

#endif
