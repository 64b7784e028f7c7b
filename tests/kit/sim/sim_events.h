/* The one thing that what is simulated asks of the simulator: to be called at a later virtual time, in the simulator's
 * one thread, between turns of the loops. */
#ifndef TR_TESTS_KIT_SIM_EVENTS_H
#define TR_TESTS_KIT_SIM_EVENTS_H

#include <stdint.h>

struct tr_sim;

/* Call fire(context) once, in `delay_ns`, for that node. */
void sim_at(struct tr_sim *sim, uint32_t node, uint64_t delay_ns, void (*fire)(void *context), void *context);
/* Nothing that was asked for with that context happens any more. */
void sim_forget(struct tr_sim *sim, void *context);

#endif
