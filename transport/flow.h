/* The data half of a connection: batches out against credit, batches in, what was consumed. The home loop's
 * thread calls everything; what it shares with the rest is in channel.h.
 *
 * Credit: the receiver allows a total of bytes, batch frames counted whole; `window` of them are open at a
 * time. A message that doesn't fit may still be sent, as a frame of its own, when three quarters of the
 * window are open (grants go out by quarters, so an idle connection always has that much).
 *
 * The bulk lane (bulk.h) has a credit of its own, which the sender of its chunks watches: here only what waits is
 * bounded. Whoever sends decides which lane a message takes; those of one lane keep their order, and between the lanes
 * a message of the bulk lane stays behind what was committed to the normal lane before it. Chunks are gathered (gathering.h)
 * and handed up as one.
 *
 * Upcalls come from tr__flow_received and tr__flow_credit only, never from what an actor's send runs through.
 * What can fail: memory, no credit (both are the caller's answer), and what the other side sent (a fault). */
#ifndef TR_TRANSPORT_FLOW_H
#define TR_TRANSPORT_FLOW_H

#include "transport/channel.h"
#include "transport/gathering.h"

typedef struct tr__flow_upcalls {
    /* `messages` messages in `bytes`, borrowed for the call. Each byte of them is to be reported by
     * tr__flow_consumed, sooner or later. */
    void (*batch)(void *context, const uint8_t *bytes, size_t length, uint32_t messages);
    /* What came by the bulk lane, likewise; nothing is to be reported. If `block` isn't NULL it is the callee's, to be
     * freed by tr__free: headroom, as configured, and then the bytes. */
    void (*bulk)(void *context, uint8_t *block, const uint8_t *bytes, size_t length, uint32_t messages);
    /* A unit of `whole` bytes, more than a chunk, begins with these, by the bulk lane: which way it is to go (gathering.h). If
     * apart, its bytes come by `part`, as they come, these among them. */
    tr__unit_way (*begins)(void *context, uint64_t whole, const uint8_t *bytes, size_t length);
    /* Its next bytes; `last`: it is whole. False: nothing more of it is wanted, it is refused. */
    bool (*part)(void *context, const uint8_t *bytes, size_t length, bool last);
    /* There is no memory to gather a unit of `whole` bytes that begins with these. True: it is refused. False, it is no message that
     * can be: that is a fault. */
    bool (*no_memory)(void *context, uint64_t whole, const uint8_t *bytes, size_t length);
    /* A send that was refused with TR_EAGAIN would be taken now. */
    void (*writable)(void *context);
    /* The first batches since a while wait to be acknowledged: the control half is to see to it. */
    void (*owes_ack)(void *context);
    /* A grant is due that the channel's quota has to let through: the control half is to see to it. */
    void (*owes_grant)(void *context);
    /* Once: what came breaks the rules; the control half is to refuse them. */
    void (*fault)(void *context, const tr_error *why);
} tr__flow_upcalls;

typedef struct tr__flow {
    tr__channel *channel;
    const tr__flow_upcalls *upcalls;
    void *context;
    bool closing;               /* nothing new is taken */
    bool deaf;                  /* a fault was told: nothing more is read */
    size_t blocked_cost;        /* of the largest message that was refused */
    size_t bulk_blocked_length; /* of the largest that the bulk lane refused */
    uint64_t received, refused_sends;
    tr__gathering bulk;       /* what came of a unit so far */
    _Atomic bool ack_watched; /* the control half looks for acks owed; it clears it, then looks once more */
} tr__flow;

void tr__flow_init(tr__flow *flow, tr__channel *channel, const tr__flow_upcalls *upcalls, void *context);

/* What came of a unit is dropped; false: there was nothing. Zeroed is fine. */
bool tr__flow_fini(tr__flow *flow);

/* Room for one message of up to `length` bytes, to be written at *at and committed before the next reserve
 * (or forgotten). TR_EAGAIN: no credit, or too much is queued; a writable notice follows. TR_ENOCONN: not up.
 * TR_ECLOSED: closing. TR_ETOOBIG: more than 16 MiB. TR_EINVAL: length 0. TR_ENOMEM. */
tr_err tr__flow_reserve(tr__flow *flow, size_t length, uint8_t **at);
/* The message of `length` bytes, 1 to what was reserved, is there: it is taken, and counted as unknown until
 * the other side has acknowledged it. Nothing is sent until flush, until its frame is full, or until a send under way is
 * done. */
void tr__flow_commit(tr__flow *flow, size_t length);
/* Many messages that stand together already: true if all are taken; false if they aren't all within the credit, or can't be
 * now for another reason: then none is, and each is to be tried alone. */
bool tr__flow_append(tr__flow *flow, const void *bytes, size_t length, uint32_t messages);
/* The short way of both, for what is one of many: where a message of up to `length` bytes may be written, NULL if that is for
 * reserve to see. Then it is there. */
uint8_t *tr__flow_place(tr__flow *flow, size_t length);
void tr__flow_placed(tr__flow *flow, size_t length);
/* The same for a small message that goes by the bulk lane, behind a large one. TR_EAGAIN: too much is queued there. */
tr_err tr__flow_bulk_reserve(tr__flow *flow, size_t length, uint8_t **at);
void tr__flow_bulk_commit(tr__flow *flow, size_t length);
/* Whether a large message of so many bytes may be sent: TR_EAGAIN, TR_ENOCONN, TR_ECLOSED. Then send it: its unit is taken
 * unless put answers TR_ENOMEM, TR_ENOCONN, TR_ECLOSED. It must not be larger than what the peer takes. */
tr_err tr__flow_bulk_may(tr__flow *flow, size_t length);
tr_err tr__flow_bulk_put(tr__flow *flow, tr__unit *unit);
/* The other side has refused that unit of ours, by its number there: what hasn't left of it needn't, but for its end. */
void tr__flow_bulk_skip(tr__flow *flow, uint64_t unit);
/* Close the open frame and send, if no send is under way. */
void tr__flow_flush(tr__flow *flow);
/* The layer above is done with `bytes` bytes of batches; a grant may go out with the next flush. */
void tr__flow_consumed(tr__flow *flow, size_t bytes);
/* Take nothing new; send what was taken, then goodbye. */
void tr__flow_close(tr__flow *flow);

/* The batches of a slice, which it takes. */
void tr__flow_received(tr__flow *flow, tr__slice *slice);
/* There may be credit, or room. */
void tr__flow_credit(tr__flow *flow);

/* Messages taken and not known to have arrived. */
uint64_t tr__flow_unknown(const tr__flow *flow);

#endif
