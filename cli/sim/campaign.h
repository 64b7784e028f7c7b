/* All seeds that were asked for, and what came of them. The main thread. */
#ifndef TR_CLI_SIM_CAMPAIGN_H
#define TR_CLI_SIM_CAMPAIGN_H

#include "cli/sim/part.h"
#include "cli/sim/tally.h"

typedef struct sim_campaign {
    const sim_options *options;
    sim_tally tally;
    uint64_t next_seed;
    bool next_is_second;
    uint64_t started; /* ms */
    bool stopped;     /* at the first that failed; there were more seeds */
    bool shown;       /* a progress line stands on the terminal */
    sim_outcome now;  /* the one that is looked at; with --twice until its second run is over */
    bool now_unlike;
    /* The first that failed. */
    bool any_failure, failure_unlike;
    sim_outcome failure;
    uint32_t shrink_runs; /* 0: it is as it was */
    sim_outcome shrunk;
    sim_parting parting; /* of failure_unlike */
} sim_campaign;

/* The exit status. */
int sim_campaign_run(const sim_options *options);
/* The same for `--plants`, in a build that has planted bugs. */
int sim_plants_run(const sim_options *options);
/* Which scenario a seed runs in. */
const tr_scenario *sim_scenario_of(uint64_t seed, const tr_scenario *const *scenarios, uint32_t count);
/* The smallest job that shows the first failure. */
const sim_job *sim_campaign_failing(const sim_campaign *campaign);
/* The command that runs it again, to be pasted into a shell. */
void sim_replay_text(const sim_options *options, const sim_job *job, char out[SIM_TEXT_MAX]);

/* ---- report.c and report_json.c: what is printed -------------------------------------------------------- */

void sim_report_progress(sim_campaign *campaign);
void sim_report_seed(sim_campaign *campaign, const sim_outcome *outcome);
void sim_report_end(sim_campaign *campaign);
void sim_json_seed(const sim_campaign *campaign, const sim_outcome *outcome, bool unlike);
void sim_json_end(const sim_campaign *campaign);

#endif
