/* Chunks that come by the bulk lane, gathered until their unit is whole. The home's thread.
 *
 *   empty ──first chunk──▶ partial ──chunk──▶ partial ──last chunk──▶ empty, the unit handed out
 *
 * N5  The bytes claimed are never allocated: the block has room for twice what has arrived, or TR__GATHERING_FIRST.
 * N6  A chunk goes on exactly where the one before it ended, or the connection is cut.
 * N7  One unit at a time, and none larger than message_max: so that bounds what a peer makes us hold.
 *
 * What can fail: memory, and what the other side sent. */
#ifndef TR_TRANSPORT_GATHERING_H
#define TR_TRANSPORT_GATHERING_H

#include "transport/frame.h"

#define TR__GATHERING_FIRST ((size_t)1 << 20)

typedef struct tr__gathering {
    uint8_t *block; /* headroom, then what came; NULL if nothing has */
    size_t room, length;
    uint64_t left; /* bytes of the unit that have not come */
} tr__gathering;

typedef struct tr__gathered {
    uint8_t *block; /* the caller's; NULL: the bytes are the frame's */
    const uint8_t *bytes;
    size_t length;
    uint32_t messages; /* 0: it isn't whole yet */
} tr__gathered;

/* The next chunk. TR_EPROTO, TR_ETOOBIG, TR_ENOMEM with a text. */
tr_err tr__gathering_take(tr__gathering *gathering, const tr__frame *chunk, uint64_t message_max,
                          size_t headroom, tr__gathered *unit, tr_error *error);
/* Forget a unit that isn't whole; false: there was none. Zeroed is fine. */
bool tr__gathering_drop(tr__gathering *gathering);

#endif
