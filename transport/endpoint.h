/* A node's end of all its connections: the listener, the addresses it dials, the connections, the peers.
 *
 * One thread (the loop's) owns an endpoint and calls everything here. Streams report on threads of their own;
 * what they report goes through an inbox, and `wake` is called (on any thread) when the inbox was empty; the
 * loop then calls tr__endpoint_step. All upcalls but wake come from tr__endpoint_step; in them everything
 * here may be called but step, destroy.
 *
 * The layer above: open, dial some addresses; in each turn step if woken or due, send to peers, flush. */
#ifndef TR_TRANSPORT_ENDPOINT_H
#define TR_TRANSPORT_ENDPOINT_H

#include <base/random.h>

#include "transport/connection.h"

#define TR__UNAUTHENTICATED_MAX 64   /* accepted connections that are not up */
#define TR__PEERS_MAX           1024 /* beyond it a newcomer is refused */
#define TR__DIALS_MAX           1024

typedef struct tr__endpoint tr__endpoint;

/* Another node, from peer_up until peer_down returns. */
typedef struct tr__peer {
    uint64_t id; /* its incarnation: another run of that node has another */
    const char *name;
    const char *address; /* where it says others reach it; "" = nowhere */
    bool dialled;        /* by us */
    void *user;          /* the layer above's own; NULL at peer_up */
    const tr__connection_counters *counters;
} tr__peer;

typedef struct tr__endpoint_options {
    const char *cluster, *name;              /* 1 to 63 of [A-Za-z0-9_.-] */
    uint64_t id;                             /* random, not 0 */
    const char *listen;                      /* "host:port", port 0 for any; NULL = don't */
    const char *advertise;                   /* what to tell others; NULL = where we listen */
    const uint8_t *challenge;                /* TR__CHALLENGE_MAX random bytes; NULL = zeros */
    uint64_t random_seed;                    /* for the jitter of redials */
    uint64_t dial_timeout_ns;                /* 0 = 5 s */
    uint64_t backoff_min_ns, backoff_max_ns; /* 0 = 100 ms, 5 s */
    const tr__connection_config *connection; /* timings and window; NULL = defaults; its self is ignored */
} tr__endpoint_options;

typedef struct tr__endpoint_upcalls {
    /* Any thread, from within open until destroy has returned: call step soon. */
    void (*wake)(void *context);
    void (*peer_up)(void *context, tr__peer *peer);
    /* As in connection.h; report the bytes by tr__endpoint_consumed. */
    void (*batch)(void *context, tr__peer *peer, const uint8_t *bytes, size_t length, uint32_t messages);
    void (*writable)(void *context, tr__peer *peer);
    /* The peer is gone when this returns: nothing is to be reported as consumed any more. `unknown`: messages
     * not known to have arrived. */
    void (*peer_down)(void *context, tr__peer *peer, const tr_error *why, uint64_t unknown);
    /* An attempt to reach `address` failed (also: it was refused there, in its words); again at next_ns. */
    void (*dial_failed)(void *context, const char *address, const tr_error *why, uint64_t next_ns);
} tr__endpoint_upcalls;

typedef struct tr__endpoint_counters {
    uint64_t accepted, accept_refused; /* the latter: too many at once */
    uint64_t dials, dials_failed;
    uint64_t handshakes_failed;    /* accepted connections that never came up */
    uint64_t peers_up, peers_down; /* so far */
    uint64_t unknown;              /* sum of what peer_down reported */
} tr__endpoint_counters;

/* Open, and listen if asked to. Strings are copied, upcalls (the table) and net borrowed until destroy.
 * TR_EINVAL for a bad name, TR_EADDR, TR_EADDRINUSE, TR_ENOMEM, and TR_EPERM for a listen address that isn't
 * loopback. */
tr_err tr__endpoint_open(const tr__endpoint_options *options, tr__net *net, uint64_t now_ns,
                         const tr__endpoint_upcalls *upcalls, void *context, tr__endpoint **endpoint,
                         tr_error *error);
/* The port it listens on; 0 if it doesn't. */
uint16_t tr__endpoint_port(const tr__endpoint *endpoint);
/* What it tells others: "host:port", or "". */
const char *tr__endpoint_address(const tr__endpoint *endpoint);

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

/* NULL if no such peer is up. */
tr__peer *tr__endpoint_peer(tr__endpoint *endpoint, uint64_t id);
tr__peer *tr__endpoint_peer_named(tr__endpoint *endpoint, const char *name);
/* The one after `peer`, the first for NULL; NULL at the end. */
tr__peer *tr__endpoint_next_peer(tr__endpoint *endpoint, const tr__peer *peer);

/* As tr__connection_reserve, commit, send, consumed, close. */
tr_err tr__endpoint_reserve(tr__endpoint *endpoint, tr__peer *peer, size_t length, uint8_t **at);
void tr__endpoint_commit(tr__endpoint *endpoint, tr__peer *peer, size_t length);
tr_err tr__endpoint_send(tr__endpoint *endpoint, tr__peer *peer, const void *bytes, size_t length);
void tr__endpoint_consumed(tr__endpoint *endpoint, tr__peer *peer, size_t bytes);
void tr__endpoint_disconnect(tr__endpoint *endpoint, tr__peer *peer);
/* End the connection for something the peer did; it hears why. */
void tr__endpoint_refuse(tr__endpoint *endpoint, tr__peer *peer, const tr_error *why);
/* Send what was gathered since the last flush: at the end of a turn. Costs nothing if there is nothing. */
void tr__endpoint_flush(tr__endpoint *endpoint);

void tr__endpoint_counters_get(const tr__endpoint *endpoint, tr__endpoint_counters *counters);

/* Stop listening and dialling, say goodbye to all peers. Steps go on until is_closed (within drain_ns). */
void tr__endpoint_close(tr__endpoint *endpoint, uint64_t now_ns);
bool tr__endpoint_is_closed(const tr__endpoint *endpoint);
/* Free it; what is still open is cut, without an upcall. NULL is fine. */
void tr__endpoint_destroy(tr__endpoint *endpoint);

#endif
