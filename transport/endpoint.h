/* A node's end of all its connections: the listener, the addresses it dials, the connections, the peers.
 *
 * Two threads, which may be one. The *control thread* calls tr__endpoint_step when woken or due: it listens,
 * dials, shakes hands, notices silence, says goodbye; what streams report on threads of their own goes
 * through its inbox. The *home* (a loop) calls tr__endpoint_take when woken, sends to peers, flushes; batches
 * come straight to its own inbox, in order with peer_up before and peer_down behind them. Neither waits for
 * the other: a home that is stuck keeps its connections.
 *
 * Upcalls but the wakes, dial_failed and turned_away come from tr__endpoint_take; in them everything of the
 * home may be called but take. */
#ifndef TR_TRANSPORT_ENDPOINT_H
#define TR_TRANSPORT_ENDPOINT_H

#include <base/random.h>

#include "transport/connection.h"

#define TR__UNAUTHENTICATED_MAX 64 /* accepted connections that are not up: strangers.h says who has to go */
#define TR__ACCEPTING_MAX       64 /* accepted ones that the control thread hasn't looked at */
#define TR__PEERS_MAX           1024 /* beyond it a newcomer is refused */
#define TR__DIALS_MAX           1024
#define TR__LEARNED_MAX         512 /* of the addresses that are dialled: those that were learned */

typedef struct tr__endpoint tr__endpoint;

/* Another node, from peer_up until peer_down returns. */
typedef struct tr__peer {
    uint64_t id; /* its incarnation: another run of that node has another */
    const char *name;
    const char *address;   /* where it says others reach it; "" = nowhere */
    bool dialled;          /* by us */
    bool lanes;            /* it has the bulk lane: then, and only then, tr__endpoint_bulk_... are used */
    bool learns;           /* it wants to be told the addresses of other nodes */
    uint32_t capabilities; /* all that its HELLO says */
    uint64_t message_max;  /* bytes of a message that it takes by that lane */
    void *user;            /* the layer above's own; NULL at peer_up */
} tr__peer;

/* It hears that a message was refused while it came. */
static inline bool tr__peer_hears_refusals(const tr__peer *peer)
{
    return peer->lanes && peer->capabilities & TR__CAPABILITY_REFUSE;
}

/* Totals of one connection. For messages: sent >= acked; sent - acked is not known to have arrived. */
typedef struct tr__connection_counters {
    uint64_t messages_out, messages_in, messages_acked;
    uint64_t batches_out, batches_in, batches_acked; /* and chunks */
    uint64_t bytes_out, bytes_in;                    /* frames of all lanes */
    uint64_t granted_to_us, spent;    /* bytes of the normal lane we may send, and took of it */
    uint64_t granted_by_us, received; /* the same, the other way */
    uint64_t consumed;                /* of received */
    uint64_t bulk_granted_to_us, bulk_spent, bulk_granted_by_us,
        bulk_received;      /* the same of the bulk lane */
    uint64_t bulk_queued;   /* bytes that wait for it, or are being sent */
    uint64_t refused_sends; /* TR_EAGAIN */
    uint64_t heartbeats_in;
    uint64_t grants_held; /* how often the peer's quota held a grant back */
} tr__connection_counters;

typedef struct tr__endpoint_options {
    const char *cluster, *name; /* 1 to 63 of [A-Za-z0-9_.-] */
    uint64_t id;                /* random, not 0 */
    const char *listen;         /* "host:port", port 0 for any; NULL = don't */
    const char *advertise;      /* what to tell others; NULL = where we listen */
    const tr__keys *keys;       /* the cluster's; NULL = none */
    /* With keys: unpredictable bytes; the control thread. */
    void (*secret)(void *context, void *bytes, size_t length);
    void *secret_context;
    bool learn;                              /* tell peers that we want to hear addresses of other nodes */
    uint32_t capabilities;                   /* what else to tell them: of the layers above */
    uint64_t random_seed;                    /* for the jitter of redials */
    uint64_t dial_timeout_ns;                /* 0 = 5 s */
    uint64_t backoff_min_ns, backoff_max_ns; /* 0 = 100 ms, 5 s */
    /* Timings and window; NULL = defaults; its self and psk are ignored. */
    const tr__connection_config *connection;
} tr__endpoint_options;

typedef struct tr__endpoint_upcalls {
    /* Any thread, from within open until destroy has returned: call step soon, call take soon. */
    void (*wake)(void *context);
    void (*wake_home)(void *context);
    void (*peer_up)(void *context, tr__peer *peer);
    /* As in flow.h; report the bytes by tr__endpoint_consumed. */
    void (*batch)(void *context, tr__peer *peer, const uint8_t *bytes, size_t length, uint32_t messages);
    /* Likewise; nothing is to be reported. */
    void (*bulk)(void *context, tr__peer *peer, uint8_t *block, const uint8_t *bytes, size_t length,
                 uint32_t messages);
    void (*writable)(void *context, tr__peer *peer);
    /* The peer is gone when this returns: nothing is to be reported as consumed any more. `unknown`: messages
     * not known to have arrived. */
    void (*peer_down)(void *context, tr__peer *peer, const tr_error *why, uint64_t unknown);
    /* The control thread: an attempt to reach `address` failed (also: it was refused there, in its words);
     * for that reason `alike` times in a row now; again at next_ns. */
    void (*dial_failed)(void *context, const char *address, const tr_error *why, uint64_t alike,
                        uint64_t next_ns);
    /* The control thread: somebody connected and never became a peer (strangers' bytes, silence, another
     * cluster, no room ...). Not for the second connection of two nodes that dialled each other. As often as
     * anybody likes. */
    void (*turned_away)(void *context, const tr_error *why, uint64_t now_ns);
    /* The control thread, when such a peer is about to be up: bytes a second that it is granted, and at once; NULL, or a rate
     * of 0: as many as are taken up. The burst becomes the window if it is less. */
    void (*quota)(void *context, const char *name, uint64_t *rate, uint64_t *burst);
    /* As in flow.h, of a large message while it comes. NULL, both: all are gathered. */
    tr__unit_way (*bulk_begins)(void *context, tr__peer *peer, uint64_t whole, const uint8_t *bytes,
                                size_t length);
    bool (*bulk_part)(void *context, tr__peer *peer, const uint8_t *bytes, size_t length, bool last);
    /* As in flow.h; NULL: none can be refused, so the connection ends. */
    bool (*bulk_no_memory)(void *context, tr__peer *peer, uint64_t whole, const uint8_t *bytes,
                           size_t length);
} tr__endpoint_upcalls;

typedef struct tr__endpoint_counters {
    uint64_t accepted, accept_refused; /* the latter: too many at once */
    uint64_t displaced;                /* strangers that had to make room for newer ones */
    uint64_t dials, dials_failed;
    uint64_t learned,
        learn_refused;          /* addresses that peers told of: dialled; not taken (no room, or bad ones) */
    uint64_t handshakes_failed; /* accepted connections that never came up */
    uint64_t peers_up, peers_down; /* so far */
    uint64_t peers_stuck; /* of those that went down: for they took nothing of what waited for them */
    uint64_t partial;     /* large messages that had come in part only when their connection ended */
    uint64_t unknown;     /* sum of what peer_down reported */
} tr__endpoint_counters;

/* Open, and listen if asked to. Strings are copied, upcalls (the table) and net borrowed until destroy.
 * TR_EINVAL for a bad name, TR_EADDR, TR_EADDRINUSE, TR_ENOMEM, and TR_EPERM for a listen address that isn't
 * loopback without a key. */
tr_err tr__endpoint_open(const tr__endpoint_options *options, tr__net *net, uint64_t now_ns,
                         const tr__endpoint_upcalls *upcalls, void *context, tr__endpoint **endpoint,
                         tr_error *error);
/* The port it listens on; 0 if it doesn't. Any thread. */
uint16_t tr__endpoint_port(const tr__endpoint *endpoint);
/* What it tells others: "host:port", or "". Any thread. */
const char *tr__endpoint_address(const tr__endpoint *endpoint);
/* Free it, when neither thread uses it any more; what is still open is cut, without an upcall. NULL is fine.
 */
void tr__endpoint_destroy(tr__endpoint *endpoint);

/* ---- the control thread (endpoint.c), or whoever opened it, before that runs --------------------------- */

/* Other timings and bounds, for connections to come; its self and psk are ignored. */
void tr__endpoint_tune(tr__endpoint *endpoint, const tr__connection_config *config);
/* Other shared keys, for handshakes to come: connections whose own keys are made stay as they are. It was opened with keys,
 * and there is one. Copied. */
void tr__endpoint_set_keys(tr__endpoint *endpoint, const tr__keys *keys);
/* Connect to that address and stay connected: again whenever it fails or goes down, with back-off and jitter,
 * until forgotten. The first attempt is made by the next step. Twice the same is once. TR_EADDR, TR_EFULL
 * (more than TR__DIALS_MAX), TR_ECLOSED, TR_ENOMEM. */
tr_err tr__endpoint_dial(tr__endpoint *endpoint, const char *address, tr_error *error);
/* Dial it no more; a connection that is up stays. */
void tr__endpoint_forget(tr__endpoint *endpoint, const char *address);
/* Do what is to be done: events, time-outs, dials. */
void tr__endpoint_step(tr__endpoint *endpoint, uint64_t now_ns);
/* When step is needed if no wake comes; UINT64_MAX for never. */
uint64_t tr__endpoint_next_due(const tr__endpoint *endpoint);

/* ---- the home (home.c) --------------------------------------------------------------------------------- */

/* Handle what has come; of batches so many bytes, or the first, since what is made of them is best handled before more is:
 * it is in the cache. */
#define TR__TAKE_MAX (64u << 10)
void tr__endpoint_take(tr__endpoint *endpoint);
/* Whether something has come, or is left. */
bool tr__endpoint_has_news(const tr__endpoint *endpoint);

/* NULL if no such peer is up. */
tr__peer *tr__endpoint_peer(tr__endpoint *endpoint, uint64_t id);
tr__peer *tr__endpoint_peer_named(tr__endpoint *endpoint, const char *name);
/* The one after `peer`, the first for NULL; NULL at the end. */
tr__peer *tr__endpoint_next_peer(tr__endpoint *endpoint, const tr__peer *peer);
void tr__endpoint_peer_counters(const tr__peer *peer, tr__connection_counters *counters);

/* As tr__flow_reserve, commit, consumed. */
tr_err tr__endpoint_reserve(tr__endpoint *endpoint, tr__peer *peer, size_t length, uint8_t **at);
void tr__endpoint_commit(tr__endpoint *endpoint, tr__peer *peer, size_t length);
/* As tr__flow_append. */
bool tr__endpoint_append(tr__endpoint *endpoint, tr__peer *peer, const void *bytes, size_t length,
                         uint32_t messages);
/* tr__flow_place and tr__flow_placed. */
uint8_t *tr__endpoint_place(tr__peer *peer, size_t length);
void tr__endpoint_placed(tr__peer *peer, size_t length);
void tr__endpoint_consumed(tr__endpoint *endpoint, tr__peer *peer, size_t bytes);
/* The bulk lane of a peer that has it; as in flow.h. */
tr_err tr__endpoint_bulk_reserve(tr__endpoint *endpoint, tr__peer *peer, size_t length, uint8_t **at);
void tr__endpoint_bulk_commit(tr__endpoint *endpoint, tr__peer *peer, size_t length);
tr_err tr__endpoint_bulk_may(tr__endpoint *endpoint, tr__peer *peer, size_t length);
tr_err tr__endpoint_bulk_put(tr__endpoint *endpoint, tr__peer *peer, tr__unit *unit);
/* The number of the unit that was put, or committed to, last; and up to which one all was handed to the stream, so that
 * what is sent by the normal lane from now on comes behind it. */
uint64_t tr__endpoint_bulk_last(const tr__peer *peer);
uint64_t tr__endpoint_bulk_taken(const tr__peer *peer);
/* Units of theirs that have ended: the number of the one that comes. */
uint64_t tr__endpoint_bulk_heard(const tr__peer *peer);
/* That unit of ours was refused there. */
void tr__endpoint_bulk_skip(tr__peer *peer, uint64_t unit);
/* Reserve and commit, for bytes that exist: copied. */
tr_err tr__endpoint_send(tr__endpoint *endpoint, tr__peer *peer, const void *bytes, size_t length);
/* Say goodbye; sends are refused from now on. */
void tr__endpoint_disconnect(tr__endpoint *endpoint, tr__peer *peer);
/* End the connection for something the peer did; it hears why. */
void tr__endpoint_refuse(tr__endpoint *endpoint, tr__peer *peer, const tr_error *why);
/* A peer says that a node can be reached there: dial it, as if that had been asked for by tr__endpoint_dial, but for
 * ten minutes only if nobody is met there, and dial_failed isn't called. The control thread does it later; whoever can't
 * be taken (no more than TR__LEARNED_MAX) is counted. TR_EADDR: no address, one that names no host (0.0.0.0, [::]), or
 * our own. TR_EPERM: not loopback, and no key is there by which who answers could prove itself. TR_ENOMEM. */
tr_err tr__endpoint_learn(tr__endpoint *endpoint, const char *address, tr_error *error);
/* Send what was gathered since the last flush: at the end of a turn. Costs nothing if there is nothing. */
void tr__endpoint_flush(tr__endpoint *endpoint);

/* A snapshot; any thread. */
void tr__endpoint_counters_get(const tr__endpoint *endpoint, tr__endpoint_counters *counters);

/* Stop listening and dialling, say goodbye to all peers. Steps and takes go on until is_closed (within
 * drain_ns). */
void tr__endpoint_close(tr__endpoint *endpoint);
bool tr__endpoint_is_closed(const tr__endpoint *endpoint);

#endif
