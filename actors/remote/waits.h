/* What waits for a peer: the blocks of asks and monitors that went to it, and for each streamed ask that came
 * from it the cancel that its callee hears if the connection ends. Each block is the failure, the tr_down or the
 * cancel to be, so a lost connection needs no memory to be told. A hash table over the blocks themselves
 * (chained by `next`); the connection's loop only. */
#ifndef TR_ACTORS_REMOTE_WAITS_H
#define TR_ACTORS_REMOTE_WAITS_H

#include "mailbox/message.h"

typedef struct tr__waits {
    tr_msg **buckets; /* NULL until the first */
    uint32_t size;    /* a power of two */
    uint32_t count;
    bool ours; /* all numbers in it are this node's own */
} tr__waits;

/* Make room for one more; false: no memory. */
bool tr__waits_room(tr__waits *waits);
/* Takes msg; false: no memory, msg is still the caller's. */
bool tr__waits_put(tr__waits *waits, tr_msg *msg);
/* The block of that kind, number and sender, taken out; NULL: none. */
tr_msg *tr__waits_take(tr__waits *waits, uint8_t kind, uint64_t number, uint32_t slot, uint32_t generation);
/* The like, left where it is. */
tr_msg *tr__waits_find(const tr__waits *waits, uint8_t kind, uint64_t number, uint32_t slot,
                       uint32_t generation);
/* Any one, taken out; NULL: none is left. */
tr_msg *tr__waits_pop(tr__waits *waits);
void tr__waits_fini(tr__waits *waits);

#endif
