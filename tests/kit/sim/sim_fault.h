/* A class of faults: how often it strikes, and what it draws. Each has a random stream of its own, so that switching
 * one off changes nothing of what the others do. One thread. */
#ifndef TR_TESTS_KIT_SIM_FAULT_H
#define TR_TESTS_KIT_SIM_FAULT_H

#include <stdbool.h>

#include "base/random.h"

#define SIM_MILLION 1000000u

typedef struct sim_fault {
    const char *name; /* "http-reset"; static */
    uint32_t rate;    /* of a million occasions; 0: never. To be set at any time */
    uint64_t struck;  /* how often it has */
    tr__random random;
} sim_fault;

/* `count` faults of those names that never strike; their streams are seeded from `seeds`. */
void sim_fault_setup(sim_fault *faults, const char *const *names, unsigned count, tr__random *seeds);
/* One occasion: whether it strikes. */
bool sim_strikes(sim_fault *fault);
/* How badly: uniform in [low, high]. */
uint64_t sim_between(tr__random *random, uint64_t low, uint64_t high);

#endif
