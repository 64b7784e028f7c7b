/* See list.h. */
#include "tests/kit/sim/workloads/list.h"

const tr_scenario *const sim_workloads[] = {&sim_bank, &sim_append, &sim_exchange, NULL};
