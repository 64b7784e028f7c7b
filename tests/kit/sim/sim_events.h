/* What simulated parts of a node (the twins of the kinds' adapters) may use of the simulator. */
#ifndef TR_TESTS_KIT_SIM_EVENTS_H
#define TR_TESTS_KIT_SIM_EVENTS_H

#include <stdint.h>

struct tr_sim;

/* Have fire(context) called after that time, on behalf of that node: not if it has crashed by then; later, if it stands
 * still. */
void sim_at(struct tr_sim *sim, uint32_t node, uint64_t delay_ns, void (*fire)(void *context), void *context);
/* Nothing of that context any more. */
void sim_forget(struct tr_sim *sim, void *context);

#endif
