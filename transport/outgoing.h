/* What waits to be sent on one connection's normal lane: messages gathered into batch frames.
 *
 * A message is written straight into the open frame; closing it gives it its sequence and checksum. Closed
 * frames leave in order, as pieces of one send, and are freed when that send is done. One owner. */
#ifndef TR_TRANSPORT_OUTGOING_H
#define TR_TRANSPORT_OUTGOING_H

#include "transport/frame.h"
#include "transport/stream.h"

typedef struct tr__batch {
    struct tr__batch *next;
    uint32_t capacity, length; /* bytes, header and count included */
    uint32_t messages;
    uint8_t bytes[];
} tr__batch;

typedef struct tr__outgoing {
    tr__batch *open;         /* still gathering; NULL if none */
    tr__batch *first, *last; /* closed, not handed to the stream yet */
    tr__batch *sending;      /* chain that the stream borrows */
    tr__batch *spare;        /* one kept of the normal size */
    size_t queued;           /* bytes in open, closed and sending frames */
    uint64_t sequence;       /* of the last closed frame */
} tr__outgoing;              /* zeroed = empty */

void tr__outgoing_fini(tr__outgoing *out);
/* Forget what the stream doesn't borrow. */
void tr__outgoing_drop(tr__outgoing *out);
/* How many bytes of credit a message of `length` bytes costs now: more if it begins a frame. */
size_t tr__outgoing_cost(const tr__outgoing *out, size_t length);
/* Room for one message of up to `length` bytes; a message larger than a normal frame gets its own. NULL: no
 * memory. Nothing is queued until commit. */
uint8_t *tr__outgoing_reserve(tr__outgoing *out, size_t length);
/* The message of `length` (1 to what was reserved) bytes stands there. */
void tr__outgoing_commit(tr__outgoing *out, size_t length);
/* Close the open frame, if it has messages. */
void tr__outgoing_close_batch(tr__outgoing *out);
/* Move up to `count` closed frames to `sending`, as pieces; returns how many. `sending` must be empty. */
unsigned tr__outgoing_take(tr__outgoing *out, tr__iov *iov, unsigned count);
/* What was sending is sent. */
void tr__outgoing_sent(tr__outgoing *out);

#endif
