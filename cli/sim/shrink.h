/* A failing seed made as small as it can be while it fails in the same way. */
#ifndef TR_CLI_SIM_SHRINK_H
#define TR_CLI_SIM_SHRINK_H

#include "cli/sim/child.h"

/* Switch classes of faults off in `job`, one by one, and cut its time. Gives how many runs that took. `outcome` is what
 * came of it as it was, and then of it as it is. */
uint32_t sim_shrink(const sim_options *options, sim_job *job, sim_outcome *outcome);
/* The same failure, other numbers in its text aside. */
bool sim_same_failure(const char *a, const char *b);

#endif
