/* Many seeds, several at a time; what came of them is told in the order of their beginning. The main thread. */
#ifndef TR_CLI_SIM_POOL_H
#define TR_CLI_SIM_POOL_H

#include "cli/sim/child.h"

typedef struct sim_pool {
    const sim_options *options;
    /* The next to run; false: there are no more. */
    bool (*next)(void *context, sim_job *job, bool *second);
    /* What came of one; false: stop, what runs is dropped. */
    bool (*over)(void *context, const sim_outcome *outcome);
    /* Some ten times a second; NULL: nothing. */
    void (*tick)(void *context);
    void *context;
} sim_pool;

/* Until there are no more, or one says stop. False: a process couldn't be made, which was told. */
bool sim_pool_run(const sim_pool *pool);
/* One alone, here and now. */
bool sim_pool_one(const sim_options *options, const sim_job *job, bool second, FILE *timeline,
                  sim_outcome *outcome);

#endif
