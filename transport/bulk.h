/* What waits to be sent on one connection's bulk lane: units, which leave in chunks.
 *
 *   home ──unit──▶ closed ──▶ ready ──chunk by chunk, against credit──▶ sending ──sent──▶ released
 *
 * A unit is one large message, in pieces that point to where its bytes are anyway, or several small ones that were
 * written one behind the other. A chunk is cut when it leaves: its frame's header, then parts of the pieces; nothing
 * is copied but for a seal. A send carries at most TR__TURN_CHUNKS, behind the normal frames that wait.
 *
 * N1  Units leave in the order in which they were put, one at a time.
 * N2  A unit's first chunk leaves after all normal frames that were closed before it was put.
 * N3  granted - spent is never negative: a chunk leaves only if its whole frame is within the credit.
 * N4  A unit's memory is left alone from put to release; release comes when its last chunk was sent, or with fini.
 *
 * Two threads at a time, as in outgoing.h: the home puts, whoever holds the channel's `sending` takes. */
#ifndef TR_TRANSPORT_BULK_H
#define TR_TRANSPORT_BULK_H

#include "transport/frame.h"
#include "transport/mpsc.h"
#include "transport/psk.h"
#include "transport/stream.h"

#define TR__UNIT_PIECES 9
#define TR__UNIT_HELD   4
#define TR__UNIT_SMALL  (16u << 10) /* what small messages behind a large one are gathered up to */
#define TR__TURN_CHUNKS 3

typedef struct tr__unit tr__unit;
struct tr__unit {
    tr__mpsc_node node;
    void (*release)(tr__unit *unit); /* lets go of what is its owner's; any thread. NULL: there is nothing */
    void *owner;                     /* whoever made it may keep here what the pieces point into */
    const void *held[TR__UNIT_HELD];
    void *account;
    uint64_t left;   /* bytes of its pieces that have not left */
    uint64_t behind; /* the normal frame that leaves before it */
    uint32_t messages, piece_count;
    size_t capacity; /* of bytes */
    tr__iov pieces[TR__UNIT_PIECES];
    uint8_t bytes[]; /* what was written for it */
};

typedef struct tr__bulk {
    size_t tag; /* bytes of the seal behind a chunk; fixed */
    /* The home's */
    tr__unit *open; /* small messages; NULL if none */
    /* Between the two */
    tr__mpsc closed;
    _Atomic uint64_t put, taken; /* units: closed by the home; handed over whole. seq_cst: see channel.h */
    _Atomic size_t queued;       /* bytes that have not been sent: the home adds, the sender takes off */
    _Atomic uint64_t granted, spent; /* bytes of frames: the callback stores, the sender adds */
    /* The sender's */
    tr__mpsc_node *ready, **ready_end, *sending;
    uint32_t piece; /* how far the first unit has left: within this piece */
    size_t at;
    uint64_t sequence;
    size_t sending_bytes;
    uint8_t heads[TR__TURN_CHUNKS][TR__CHUNK_OVERHEAD];
    uint8_t *sealed; /* room for a turn's sealed chunks: the home makes it before the first unit is put */
} tr__bulk;

void tr__bulk_init(tr__bulk *bulk, bool sealed);
void tr__bulk_fini(tr__bulk *bulk); /* nobody uses it any more; zeroed is fine */

/* A unit with `room` bytes to be written, otherwise zeroed. NULL: no memory. Any thread. */
tr__unit *tr__unit_make(size_t room);
void tr__unit_free(tr__unit *unit);

/* ---- the home ------------------------------------------------------------------------------------------ */

/* Whether so many bytes more may wait: one unit always may. */
bool tr__bulk_admits(const tr__bulk *bulk, size_t length, size_t queue_max);
/* Before the first is put or reserved. False: no memory. */
bool tr__bulk_prepare(tr__bulk *bulk);
/* Queue a unit of one message whose pieces are set, behind normal frame `behind`. */
void tr__bulk_put(tr__bulk *bulk, tr__unit *unit, uint64_t behind);
/* Room for a small message, and that it is there, as in outgoing.h. If it doesn't fit the open unit, close that first. */
bool tr__bulk_fits(const tr__bulk *bulk, size_t length);
uint8_t *tr__bulk_reserve(tr__bulk *bulk, size_t length);
void tr__bulk_commit(tr__bulk *bulk, size_t length);
/* Close the unit of small messages, if there is one. */
void tr__bulk_close(tr__bulk *bulk, uint64_t behind);
/* The number of the unit that was put, or written to, last; it has been handed over once `taken` is that. */
uint64_t tr__bulk_last(const tr__bulk *bulk);

/* ---- any thread ---------------------------------------------------------------------------------------- */

/* Whether closed units wait, and whether there is credit for any chunk of theirs. */
bool tr__bulk_waits(const tr__bulk *bulk);
bool tr__bulk_may_send(const tr__bulk *bulk);

/* ---- the sender ---------------------------------------------------------------------------------------- */

/* What a send is to carry: fills at most `room` pieces, returns how many; *chunks: in how many frames. `behind`: the
 * normal frame that left last. What was sending must be sent. */
unsigned tr__bulk_take(tr__bulk *bulk, tr__seal *seal, uint64_t behind, tr__iov *iov, unsigned room,
                       unsigned chunks_max, unsigned *chunks);
void tr__bulk_sent(tr__bulk *bulk);

#endif
