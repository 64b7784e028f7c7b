/* The twin of threads for C functions (actors/kinds/worker_pool.h): a registered function is called in the simulator's
 * thread, once, a drawn while after it was submitted, unless it was cancelled by then; its result is told a drawn while
 * after that. So it must not wait for anything, and what it is told must not depend on clocks. */
#ifndef TR_TESTS_KIT_SIM_WORKERS_H
#define TR_TESTS_KIT_SIM_WORKERS_H

#include "actors/kinds/worker_pool.h"
#include "tests/kit/sim/sim_twin.h"

enum sim_workers_fault {
    SIM_WORKERS_SLOW,    /* it takes 10 to 1,000 times as long */
    SIM_WORKERS_REFUSED, /* no memory, or no thread can be started */
    SIM_WORKERS_FAULTS
};

typedef struct sim_workers {
    sim_twin twin, works; /* pools, and what they work at */
    sim_fault faults[SIM_WORKERS_FAULTS];
    uint64_t duration_max_ns; /* of a call that isn't slow: drawn up to this; 20 ms */
} sim_workers;

sim_workers *sim_workers_create(struct tr_sim *sim, tr__random *seeds);
void sim_workers_destroy(sim_workers *workers);
void sim_workers_drop(sim_workers *workers, uint32_t node);

extern const tr__workers_seam sim_workers_seam;

#endif
