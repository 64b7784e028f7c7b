/* Confirmed sends (tr_send_confirmed): a message, its answer when it is in its receiver's mailbox, and what is needed for
 * that to be true, once and in order, across reconnections. Each node has a confirmer, an actor of its own, right behind
 * the manager of transactions, so every node knows every other's. Loop 0, unless said otherwise.
 *
 *     sender ──ask: tr__confirm──► confirmer ──tr__confirm_data──► confirmer of its node ──► receiver's mailbox
 *            ◄──tr_confirmed─────            ◄──tr__confirm_ack───
 *
 * What goes from one node to another is one stream, whoever sends: messages in it are numbered from 1. Who receives them
 * takes the next number only, keeps what became of the last TR__CONFIRM_WINDOW of them, and says so. So a message that
 * comes again is known by its number, and all that is kept to know it are a number and so many bytes, a peer.
 *
 * V1  Of a stream number n is taken after n - 1 and before n + 1, and what became of it stays as it is.
 * V2  Messages of a pair, a sender and a receiver, are numbered in their order; each names the one of its pair before it
 *     that may still be refused. One that is refused since the mailbox is full, is so for all behind it in its pair that were
 *     numbered already (`after`): they are sent again in order, under new numbers.
 * V3  An answer is true: only what was said to be in the mailbox is confirmed; only what can't have been taken, or was said
 *     to be refused, fails as not delivered; all else fails as unknown.
 * V4  Each tr__confirm is answered once, at its deadline at the latest.
 * V5  No data is sent in a stream before its receiver has said that it knows it.
 *
 * A stream, at who sends (tr__confirm_state), for one connection after another to the same incarnation of a node:
 *
 *     DOWN ──connected──► GREETING ──known──► OPEN           any ──connection down──► DOWN
 *                             └──────not known────► GREETING, a new stream; what may have arrived fails as unknown
 */
#ifndef TR_ACTORS_REMOTE_CONFIRMED_H
#define TR_ACTORS_REMOTE_CONFIRMED_H

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "base/hash_table.h"

#define TR__CONFIRMER_OF(node_id) ((tr_addr){(node_id), 2, 1})

#define TR__CONFIRM_MAX ((size_t)1 << 20) /* bytes of a message as CBOR */
#define TR__CONFIRM_KEPT_MAX \
    ((uint64_t)64 << 20) /* of a node's that aren't confirmed yet, with TR__CONFIRM_EACH for each */
#define TR__CONFIRM_EACH      256
#define TR__CONFIRM_WINDOW    1024              /* messages in flight to a node */
#define TR__CONFIRM_IN_FLIGHT ((size_t)1 << 20) /* bytes of those, if it is more than one */
#define TR__CONFIRM_FORGET_NS TR_MINUTES(10)    /* without a connection, after which a stream is forgotten */
#define TR__STARTED_ANEW      "not delivered: the receiver's node was started anew"

/* Asked of the node's own confirmer: a message, as CBOR. */
TR_MESSAGE(tr__confirm, (addr, to), (u64, due_ns), (u64, type), (u64, fingerprint), (bytes, body))

/* Between confirmers. `fresh`: no data has been sent in it; else the receiver must know it. `base`: the lowest number of
 * which the sender doesn't know what became of it. */
TR_MESSAGE(tr__confirm_hello, (u64, stream), (bool, fresh), (u64, base))
/* Message `number`; `after` as in V2, 0: none. `skip`: it was given up, and only its number is left. */
TR_MESSAGE(tr__confirm_data, (u64, stream), (u64, number), (u64, after), (bool, skip), (addr, from),
           (addr, to), (u64, type), (u64, fingerprint), (string, schema), (bytes, body))
/* What became of number `first` and those behind it: a byte each, a tr_err. `again`: behind those one is missing, so what was
 * sent since comes to nothing. */
TR_MESSAGE(tr__confirm_ack, (u64, stream), (bool, known), (bool, again), (u64, first), (bytes, results))

typedef enum tr__confirm_state {
    TR__CONFIRM_DOWN,
    TR__CONFIRM_GREETING,
    TR__CONFIRM_OPEN,
} tr__confirm_state;

typedef struct tr__confirmer tr__confirmer;
typedef struct tr__confirm_pair tr__confirm_pair;

/* A message that isn't confirmed yet. */
typedef struct tr__unconfirmed {
    struct tr__unconfirmed *prev, *next; /* in its pair, in order */
    tr__confirm_pair *pair;
    tr_msg *ask;            /* NULL: given up, and only its number is left */
    uint64_t number, after; /* while it has one; 0 */
    uint64_t due_ns;
    size_t size;
    bool left; /* it may have arrived */
} tr__unconfirmed;

/* What is sent to one node, and what came from it. */
typedef struct tr__confirm_peer {
    UT_hash_handle hh;
    uint64_t node;
    char name[TR_NAME_MAX]; /* "": it was never connected */
    bool up;
    bool able;        /* its version has a confirmer */
    bool replaced;    /* a later incarnation of it came */
    uint64_t met;     /* in which order nodes were met first; 0: not yet */
    uint64_t gone_ns; /* since when it isn't up */
    struct tr__confirm_out *out;
    struct tr__confirm_in *in;
} tr__confirm_peer;

struct tr__confirmer {
    tr_actor *self;
    tr__pending *tick;
    tr__confirm_peer *peers;
    uint64_t swept_ns;
    uint64_t kept; /* messages that aren't confirmed yet */
    uint64_t met;  /* nodes that were */
    bool watching;
    bool owes; /* some peer is to be told what became of its messages */
};

/* Spawns it, right behind the manager of transactions. TR_ENOMEM. */
tr_err tr__confirmer_open(tr_node *node, tr_error *error);
/* Look at deadlines and pauses then, or earlier. */
void tr__confirmer_by(tr__confirmer *c, uint64_t due_ns);

/* ---- what is sent (confirmed_out.c) -------------------------------------------------------------------- */

/* Takes the ask. */
void tr__confirm_add(tr__confirmer *c, tr__confirm_peer *peer, tr_msg *ask);
/* A connection to it came, or ended; what was sent is known again when it has answered. */
void tr__confirm_up(tr__confirmer *c, tr__confirm_peer *peer);
void tr__confirm_down(tr__confirm_peer *peer);
/* It came from that peer. */
void tr__confirm_acked(tr__confirmer *c, tr__confirm_peer *peer, const tr__confirm_ack *ack);
/* There is credit again. */
void tr__confirm_writable(tr__confirmer *c, tr__confirm_peer *peer);
/* Deadlines that have come, pauses that are over, acks that should have come. When to look next, TR__NEVER. */
uint64_t tr__confirm_sweep(tr__confirmer *c, tr__confirm_peer *peer, uint64_t now_ns);
/* Nothing of it will be sent any more: all fail, by `code` what can't have arrived, the rest as unknown. */
void tr__confirm_fail(tr__confirmer *c, tr__confirm_peer *peer, tr_err code, const char *text);
/* There is nothing to send. */
bool tr__confirm_is_idle(const tr__confirm_peer *peer);
void tr__confirm_out_free(tr__confirm_peer *peer);

/* ---- what comes (confirmed_in.c) ----------------------------------------------------------------------- */

void tr__confirm_hello_take(tr__confirmer *c, tr__confirm_peer *peer, const tr__confirm_hello *hello);
void tr__confirm_data_take(tr__confirmer *c, tr__confirm_peer *peer, const tr__confirm_data *data);
/* Say what became of those that came since; what can't be said now is, when it is asked for again. */
void tr__confirm_tell(tr__confirmer *c, tr__confirm_peer *peer);
/* Put a message into a mailbox of this node, as a tr_send of `from` here would: TR_OK; TR_EFULL, TR_ENOACTOR, TR_ETYPE,
 * TR_EPROTO, TR_ETOOBIG; TR_ENOMEM: nothing has become of it yet. */
tr_err tr__confirm_deliver(tr__confirmer *c, const tr__confirm_data *data);
void tr__confirm_in_free(tr__confirm_peer *peer);

#endif
