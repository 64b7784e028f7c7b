/* A seed in a process of its own: a crash, a failed check, a sanitizer's report, or a run that doesn't end is what came
 * of that seed, and nobody else's trouble. The main thread. */
#ifndef TR_CLI_SIM_CHILD_H
#define TR_CLI_SIM_CHILD_H

#include <sys/types.h>

#include "cli/sim/seed.h"

typedef struct sim_child {
    sim_job job;
    bool second; /* afresh: a new process, with other addresses */
    pid_t pid;   /* 0: none */
    int record_fd, errors_fd;
    sim_record *record; /* shared */
    uint64_t started;   /* ms */
    bool late;          /* it was told to end */
} sim_child;

/* What came of it. */
typedef struct sim_outcome {
    sim_job job;
    bool second;
    bool ok, late;  /* late: it was ended, it took too long */
    char what[768]; /* "" if ok */
    double at_s;    /* virtual, of what failed; -1: not known */
    double wall_ms;
    sim_record record; /* whole if record.over */
    char errors[8192]; /* the beginning of what it wrote to stderr */
} sim_outcome;

/* Milliseconds that pass. */
uint64_t sim_now_ms(void);
/* Start it; `timeline`: where its lines go, borrowed; NULL: none. False after telling why not. */
bool sim_child_start(sim_child *child, const sim_options *options, const sim_job *job, bool second,
                     FILE *timeline);
/* It is over (`status` is waitpid's): fill in what came of it. */
void sim_child_over(sim_child *child, int status, sim_outcome *outcome);
/* Look whether it takes too long; then it is ended. */
void sim_child_look(sim_child *child, const sim_options *options);
/* End it; nothing came of it. */
void sim_child_drop(sim_child *child);

/* The arguments of a command that runs that job again, in `out`, ended by NULL; texts live in `room`. */
#define SIM_ARGUMENTS_MAX 24
void sim_command(const sim_options *options, const sim_job *job, const char *out[SIM_ARGUMENTS_MAX],
                 char room[SIM_TEXT_MAX]);

#endif
