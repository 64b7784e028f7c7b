/* How one transaction is run: by tr_tx_run, by hand, given up, left; and how tickets are resolved. Fibers only. */
#ifndef TR_TESTS_TX_LOAD_CALLS_H
#define TR_TESTS_TX_LOAD_CALLS_H

#include "tests/kit/sim/workloads/tx_load.h"

extern const tr_actor_def tx_audit_def, tx_ledger_def;
extern const tr_actor_def tx_participant_def;
void tx_run(tr_actor *self, tx_record *record);
void tx_by_hand(tr_actor *self, tx_record *record);
void tx_give_up(tr_actor *self, tx_record *record);
/* Actors of a record: one that runs it by hand, and may be killed; one that is gone before it knows. */
extern const tr_actor_def tx_by_hand_def, tx_leaves_def;
/* Of the records from `first` on, each `step`-th of `count` that has a ticket: what became of it. */
void tx_resolve(tr_actor *self, uint32_t first, uint32_t count, uint32_t step);

#endif
