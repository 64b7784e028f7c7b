/* Participants, and callers that use them in every way: what bank and append share. A scenario says what its transactions
 * are; who runs them how, who dies meanwhile and who asks later is drawn here, by each node's own random source. */
#ifndef TR_TESTS_TX_LOAD_H
#define TR_TESTS_TX_LOAD_H

#include "tests/kit/sim/workloads/tx_history.h"

/* Puts a transaction's operations into the record. */
typedef void (*tx_plan)(tr_actor *self, tx_record *record);

static inline uint64_t tx_draw(tr_actor *self, uint64_t bound)
{
    return tr_random(self) % bound;
}
/* A scenario's start: participants, callers, somebody who asks what became of others'; then it looks after all that. */
tr_err tx_load_start(tr_actor *self, uint32_t index, tx_plan plan);
/* Its check: whoever has a ticket knows, everything works, and tx_check_all. */
tr_err tx_load_check(tr_actor *self);

#endif
