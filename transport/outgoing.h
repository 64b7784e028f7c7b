/* What waits to be sent on one connection's normal lane: messages gathered into batch frames.
 *
 * A message is written straight into the open frame; closing it gives it its sequence and checksum. Closed
 * frames leave in order, as pieces of one send, and are freed when that send is done. If they are to be sealed
 * that is done when they leave, in place: there is room for the tag.
 *
 * Two threads at a time: the home loop gathers and closes frames; whoever holds the channel's `sending` takes
 * them and frees them. Each field says whose it is. */
#ifndef TR_TRANSPORT_OUTGOING_H
#define TR_TRANSPORT_OUTGOING_H

#include "transport/frame.h"
#include "transport/mpsc.h"
#include "transport/psk.h"
#include "transport/spares.h"
#include "transport/stream.h"

typedef struct tr__batch {
    tr__mpsc_node node;
    uint32_t capacity, length; /* bytes, header and count included; a tag comes on top */
    uint32_t messages;
    uint8_t bytes[];
} tr__batch;

typedef struct tr__outgoing {
    /* Fixed */
    uint32_t overhead; /* bytes of a frame beyond its messages, as it is sent: of credit and of `queued` */
    /* The home loop's */
    tr__batch *open; /* still gathering; NULL if none */
    size_t
        room; /* bytes that the open frame, which has messages, may take without another look at anything */
    uint64_t sequence; /* of the last closed frame */
    /* Between the two */
    tr__mpsc closed;       /* frames that wait to be taken */
    _Atomic size_t queued; /* bytes in closed and sending frames: the home adds, the sender takes off */
    tr__spares spares;     /* of the normal size */
    /* The sender's */
    tr__mpsc_node *ready, **ready_end; /* taken off `closed`, not handed to the stream yet */
    tr__mpsc_node *sending;            /* chain that the stream borrows */
    uint64_t taken;                    /* sequence of the frame that was taken last */
} tr__outgoing;

void tr__outgoing_init(tr__outgoing *out, bool sealed);
void tr__outgoing_fini(tr__outgoing *out); /* nobody uses it any more; zeroed is fine */

/* Bytes that wait in all, in the open frame too. Home. */
static inline size_t tr__outgoing_queued(const tr__outgoing *out)
{
    return atomic_load(&out->queued) + (out->open && out->open->messages ? out->open->length : 0);
}
/* How many bytes of credit a message of `length` bytes costs now: more if it begins a frame. Home. */
size_t tr__outgoing_cost(const tr__outgoing *out, size_t length);
/* Room for one message of up to `length` bytes; a message larger than a normal frame gets its own. NULL: no
 * memory. Nothing is queued until commit. Home. */
uint8_t *tr__outgoing_reserve(tr__outgoing *out, size_t length);
/* So many messages, `length` (1 to what was reserved) bytes in all, stand there; returns what they cost. Home. */
size_t tr__outgoing_commit(tr__outgoing *out, size_t length, uint32_t messages);
/* Where a message of up to `length` bytes goes in the open frame; NULL: it isn't known to fit, reserve. Then it is there. Home. */
static inline uint8_t *tr__outgoing_place(const tr__outgoing *out, size_t length)
{
    return length <= out->room ? out->open->bytes + out->open->length : NULL;
}
static inline void tr__outgoing_placed(tr__outgoing *out, size_t length)
{
    out->open->length += (uint32_t)length;
    out->open->messages++;
    out->room -= length;
}
/* There is credit for so many bytes more. Home. */
void tr__outgoing_allow(tr__outgoing *out, size_t credit);
/* Close the open frame, if it has messages. Home. */
void tr__outgoing_close_batch(tr__outgoing *out);

/* Whether closed frames wait. Sender. */
bool tr__outgoing_waits(const tr__outgoing *out);
/* Move up to `count` closed frames to `sending`, as pieces, sealed if that was said at init; returns how
 * many. `sending` must be empty. Sender. */
unsigned tr__outgoing_take(tr__outgoing *out, tr__seal *seal, tr__iov *iov, unsigned count);
/* What was sending is sent. Sender. */
void tr__outgoing_sent(tr__outgoing *out);

#endif
