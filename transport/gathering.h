/* Chunks that come by the bulk lane, gathered until their unit is whole. The home's thread.
 *
 *   empty ──first chunk──▶ gathered ──chunk──▶ gathered ──last chunk──▶ empty, the unit handed out
 *                     ├──▶ apart    ──each chunk is handed on──▶ empty
 *                     └──▶ refused  ──its bytes are nobody's───▶ empty
 *
 * Which way it goes is said at its first chunk, by whoever takes it; `apart` may become `refused`, and `gathered` for want
 * of memory.
 *
 * N5  The bytes claimed are never allocated: the block has room for twice what has arrived, or TR__GATHERING_FIRST.
 * N6  A chunk goes on exactly where the one before it ended, or the connection is cut; of a refused unit bytes may be left
 *     out, for its sender was told.
 * N7  One unit at a time, and none larger than message_max: so that bounds what a peer makes us hold.
 * N10 Units are counted as they end, as the other side counts those that leave: so a number names one on both sides.
 *
 * What can fail: memory, and what the other side sent. */
#ifndef TR_TRANSPORT_GATHERING_H
#define TR_TRANSPORT_GATHERING_H

#include "transport/frame.h"

#define TR__GATHERING_FIRST ((size_t)17 << 16) /* a MiB and what is around it */

typedef enum tr__unit_way { TR__UNIT_GATHERED, TR__UNIT_APART, TR__UNIT_REFUSED } tr__unit_way;

typedef struct tr__gathering {
    uint8_t *block; /* headroom, then what came; NULL if nothing has */
    size_t room, length;
    uint64_t left;    /* bytes of the unit that have not come */
    tr__unit_way way; /* of that unit */
    uint64_t units;   /* that have ended */
} tr__gathering;

/* A chunk, or the unit that is whole with it. */
typedef struct tr__gathered {
    uint8_t *block; /* the caller's; NULL: the bytes are the frame's */
    const uint8_t *bytes;
    size_t length;
    uint32_t messages; /* 0: it isn't whole yet */
    uint64_t left;     /* of the unit, these bytes among them */
} tr__gathered;

/* The next chunk, looked at: *first says that a unit begins with it. Take it then. TR_EPROTO, TR_ETOOBIG with a text. */
tr_err tr__gathering_look(const tr__gathering *gathering, const tr__frame *chunk, uint64_t message_max,
                          tr__gathered *unit, bool *first, tr_error *error);
/* Its bytes, as gathering->way says: gathered, *unit is the whole one at its end; otherwise they are passed over. TR_ENOMEM
 * with a text: nothing was taken, and it may be tried again when the unit is refused. */
tr_err tr__gathering_take(tr__gathering *gathering, size_t headroom, tr__gathered *unit, tr_error *error);
/* What came of the unit is let go, and the rest is passed over. */
void tr__gathering_refuse(tr__gathering *gathering);
/* Forget a unit that isn't whole; false: there was none. Zeroed is fine. */
bool tr__gathering_drop(tr__gathering *gathering);

#endif
