/* What `troupe sim` is asked for. The main thread. */
#ifndef TR_CLI_SIM_OPTIONS_H
#define TR_CLI_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/kit/sim/sim.h"

#define SIM_TEXT_MAX 2048 /* of a command line, bytes */

typedef struct sim_options {
    const char *program;  /* as it was called, for commands that are printed */
    const char *plugin;   /* a .so; NULL: our own scenarios */
    const char *scenario; /* of ours, by name; NULL: all */
    uint64_t first, last; /* seeds, both included */
    bool one;             /* --seed: it is looked at closely */
    uint32_t jobs;
    uint32_t faults;
    bool faults_said;        /* --faults was given: with a script there are none otherwise */
    const char *script;      /* the text of a fault script; NULL: none */
    const char *script_file; /* where it was read */
    uint64_t run_ns;         /* 0: as the scenario says */
    double limit_s;          /* of wall time, for a seed */
    bool json, timeline, logs, turns, twice, keep_going, shrink, sometimes, list;
    const char *plant;   /* the planted bug that every seed has; NULL: none */
    bool plants, seeded; /* see which seeds find each planted bug; --seeds was given */
    uint32_t starts;     /* for that, how many times */
    int record_fd;       /* this process is the second run of a seed: where its record goes; -1: it isn't */
} sim_options;

/* Fills in options; -1: go on, else the exit status: 0 after --help, 2 after telling what is wrong. */
int sim_options_read(int argc, char **argv, sim_options *options);
/* "reset,crash", "all", "none", or "-clog,-disk" for all but these; false: `text` has a word that is none. */
bool sim_faults_parse(const char *text, uint32_t *faults);
/* The shortest of those. */
void sim_faults_format(uint32_t faults, char out[256]);
/* The words, by number. */
extern const char *const sim_fault_words[TR_SIM_FAULT_COUNT];

#endif
