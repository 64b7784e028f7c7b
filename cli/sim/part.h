/* Where two runs of the same seed part. */
#ifndef TR_CLI_SIM_PART_H
#define TR_CLI_SIM_PART_H

#include "cli/sim/child.h"

#define SIM_LINE_MAX 1024

typedef struct sim_parting {
    uint64_t line; /* of the timelines, from 1; 0: they don't differ any more */
    char first[SIM_LINE_MAX], second[SIM_LINE_MAX]; /* what stands there; "": that run was over */
} sim_parting;

/* Run it twice more, with timelines, and compare those. False: it can't be run. */
bool sim_part(const sim_options *options, const sim_job *job, sim_parting *parting);

#endif
