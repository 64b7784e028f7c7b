/* One seed: run in this process, its record kept where another process reads it. */
#ifndef TR_CLI_SIM_SEED_H
#define TR_CLI_SIM_SEED_H

#include "cli/sim/options.h"

#define SIM_POINTS_MAX 64

/* Which run. */
typedef struct sim_job {
    const tr_scenario *scenario;
    uint64_t seed;
    uint32_t faults;
    uint64_t run_ns;   /* 0: as the scenario says */
    const char *plant; /* a planted bug; NULL: none */
} sim_job;

/* What came of it; in memory that is shared with who started it, so it is there also when the process crashed. */
typedef struct sim_record {
    bool begun, over; /* over: the rest is whole */
    tr_sim_result result;
    uint32_t assertion_count, point_count;
    tr_sim_assertion assertions[SIM_ASSERTIONS_MAX];
    struct {
        uint64_t passed, taken;
    } points[SIM_POINTS_MAX];
    /* If a signal ended it: the virtual time, ns, and whose code ran; -1: nobody's. */
    uint64_t struck_at;
    int struck_node;
} sim_record;

/* Run it, here. Not returned from if it crashes: `record` then says where. `timeline`: NULL for none. */
void sim_seed_run(const sim_options *options, const sim_job *job, FILE *timeline, sim_record *record);

/* The scenarios that options ask for, in `out`; their number, 0 after telling what is wrong. A plugin is loaded. */
#define SIM_SCENARIOS_MAX 64
uint32_t sim_scenarios(const sim_options *options, const tr_scenario *out[SIM_SCENARIOS_MAX]);

#endif
