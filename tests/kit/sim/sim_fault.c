/* See sim_fault.h. */
#include "tests/kit/sim/sim_fault.h"

void sim_fault_setup(sim_fault *faults, const char *const *names, unsigned count, tr__random *seeds)
{
    for (unsigned i = 0; i < count; i++) {
        faults[i] = (sim_fault){.name = names[i]};
        tr__random_init(&faults[i].random, tr__random_next(seeds));
    }
}

bool sim_strikes(sim_fault *fault)
{
    bool strikes = tr__random_below(&fault->random, SIM_MILLION) < fault->rate;
    fault->struck += strikes;
    return strikes;
}

uint64_t sim_between(tr__random *random, uint64_t low, uint64_t high)
{
    return low + tr__random_below(random, high - low + 1);
}
