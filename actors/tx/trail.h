/* What happened lately to transactions on a node, for who looks: the last TR__TRAIL_TRANSACTIONS, and of each the first
 * events. Plain data; the manager's thread. What has no room, or no memory, is left out. */
#ifndef TR_ACTORS_TX_TRAIL_H
#define TR_ACTORS_TX_TRAIL_H

#include "actors/tx/core.h"

#define TR__TRAIL_TRANSACTIONS 64
#define TR__TRAIL_EVENTS       32

struct tr__trail_transaction;

typedef struct tr__tx_trail {
    tr_tx_id ids[TR__TRAIL_TRANSACTIONS]; /* close together: each event looks for its own */
    struct tr__trail_transaction *ring[TR__TRAIL_TRANSACTIONS]; /* made at need, used again */
    uint32_t next, count;
} tr__tx_trail;

void tr__trail_add(tr__tx_trail *trail, uint64_t at_ns, const tr_tx_id *id, const char *actor,
                   const char *what, const char *detail);
/* As tr_tx_list says (troupe/tx.h): that node's, with what is in doubt there. To be freed with free(); NULL: no memory. */
char *tr__trail_json(const tr__tx_trail *trail, const char *node, const tr__tx *tx, uint32_t most);
void tr__trail_fini(tr__tx_trail *trail);

#endif
