/* Our own scenarios: what `troupe sim` runs without a plugin, and the tests of tests/sim. */
#ifndef TR_TESTS_KIT_SIM_WORKLOADS_LIST_H
#define TR_TESTS_KIT_SIM_WORKLOADS_LIST_H

#include <troupe/scenario.h>

/* Each is defined in the file of its subject. */
extern const tr_scenario sim_chatter;
extern const tr_scenario sim_core_flow;
extern const tr_scenario sim_core_mail;
extern const tr_scenario sim_core_asks;
extern const tr_scenario sim_core_streams;
extern const tr_scenario sim_core_ends;
extern const tr_scenario sim_core_far;
extern const tr_scenario sim_core_tree;
extern const tr_scenario sim_core_confirmed;
extern const tr_scenario sim_groups;
extern const tr_scenario sim_cluster;
extern const tr_scenario sim_bank;
extern const tr_scenario sim_append;
extern const tr_scenario sim_older;
extern const tr_scenario sim_forgetting;
extern const tr_scenario sim_upgrade;
extern const tr_scenario sim_exchange;
extern const tr_scenario sim_parcels;

/* All; ends with NULL. */
extern const tr_scenario *const sim_workloads[];

#endif
