/* See list.h. */
#include "tests/kit/sim/workloads/list.h"

#include <stddef.h>

const tr_scenario *const sim_workloads[] = {
    &sim_chatter,  &sim_core_flow, &sim_core_mail,      &sim_core_asks, &sim_core_streams, &sim_core_ends,
    &sim_core_far, &sim_core_tree, &sim_core_confirmed, &sim_groups,    &sim_cluster,      &sim_bank,
    &sim_append,   &sim_exchange,  &sim_parcels,        &sim_older,     &sim_forgetting,   &sim_upgrade,
    NULL,
};
