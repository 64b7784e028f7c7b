/* Our own scenarios: what `troupe-sim` runs without a plugin. */
#ifndef TR_TESTS_SIM_WORKLOADS_LIST_H
#define TR_TESTS_SIM_WORKLOADS_LIST_H

#include <troupe/scenario.h>

/* Ends with NULL. */
extern const tr_scenario *const sim_workloads[];

extern const tr_scenario sim_bank, sim_append, sim_exchange;

#endif
