/* Where decisions are: a register by a transaction's id that is written once. Who proposes a decision hears which one won,
 * its own or one that was there; so the same is heard by all, at any time.
 *
 * The default is the log of the node that decides (decide.c): its COMMIT record is the decision, with all that it writes here,
 * so a transaction of one node costs one force; and nobody else can write there, so what is in doubt waits for that node.
 *
 * One that is `shared` can be asked by every node. Then the node that decides promises its own part as the others do, before
 * it proposes to commit; its COMMIT record only says whom to tell; and a participant that has been in doubt for
 * TR__TX_PROPOSE_NS proposes to abort. So a node that decides, and is lost, holds up nobody for longer.
 *
 *   D1  For one id all answers are the same: `ts` as well, the commit time.
 *   D2  COMMITTED is told, and applied, only when the store has said so: T3 with another disk.
 *   D3  Nobody says ABORTED of what may be in a shared store but by its answer: T4. */
#ifndef TR_ACTORS_TX_DECISION_STORE_H
#define TR_ACTORS_TX_DECISION_STORE_H

#include "actors/tx/core.h"

#define TR__TX_PROPOSE_NS TR_SECONDS(3) /* in doubt for so long: a participant proposes to abort */

typedef struct tr__proposal {
    tr_tx_id id;
    bool commits;
    uint64_t ts;           /* with commits: when */
    tr__tx_buffer *record; /* what the log of who decides says of it; NULL: a participant proposes. Taken */
    struct tr__tx_force *force;
} tr__proposal;

struct tr__decision_store {
    bool shared;
    /* Propose. What won comes by tr__tx_decided: later, from within `poll`, never from within this. From a shared one it may come twice, or not at
     * all: who proposed proposes again. An error, of the log only: nothing was proposed. */
    tr_err (*decide)(struct tr__decision_store *store, tr__tx *tx, const tr__proposal *proposal,
                     tr_error *error);
    /* Of a shared one: the same, but it proposes nothing; no answer if nothing is decided. */
    void (*lookup)(struct tr__decision_store *store, tr__tx *tx, const tr_tx_id *id);
    /* By tr__tx_poll, after it woke the owner as a log's store does: the answers that have come. NULL: who has it tells them. */
    void (*poll)(struct tr__decision_store *store, tr__tx *tx);
    /* No answer and no wake from then on. NULL: nothing is to be done. */
    void (*close)(struct tr__decision_store *store);
};

#endif
