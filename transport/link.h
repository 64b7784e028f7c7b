/* What an endpoint is made of, shared by endpoint.c (steps, opening, what the layer above calls) and link.c
 * (what streams and connections report). Private to those two.
 *
 * A link is one connection from the first sign of it (a dial begun, a stream accepted) to its end. Events
 * point to their link, and some may still be in the inbox when the stream is closed; so a link that ends is
 * marked dead, buried at the end of the step, and freed by the next step, when what was pushed before is
 * behind us. */
#ifndef TR_TRANSPORT_LINK_H
#define TR_TRANSPORT_LINK_H

#include "transport/endpoint.h"
#include "transport/targets.h"

/* The kinds of the inbox's nodes, and what each is part of. */
typedef enum tr__event_kind {
    TR__EVENT_RECEIVED, /* tr__slice */
    TR__EVENT_SENT,     /* tr__link */
    TR__EVENT_DOWN,     /* tr__link */
    TR__EVENT_ACCEPTED, /* tr__accept_event */
    TR__EVENT_DIALLED,  /* tr__link */
} tr__event_kind;

typedef struct tr__link {
    struct tr__link *next, *next_dirty;
    tr__endpoint *endpoint;
    tr__target *target; /* what it was dialled for; NULL: accepted, or forgotten since */
    tr__dial *dial;     /* while the dial is under way */
    bool accepted, connected /* the connection is initialised */, is_peer, dirty, dead;
    uint64_t up_ns;
    tr__peer peer;
    tr__connection connection;
    tr__mpsc_node sent_event, down_event, dialled_event;
    size_t sent_bytes;
    tr_error down_why;
    tr__stream *dialled_stream;
    tr_error dialled_why;
} tr__link;

typedef struct tr__accept_event {
    tr__mpsc_node node;
    tr__stream *stream;
} tr__accept_event;

struct tr__endpoint {
    tr__net *net;
    const tr__endpoint_upcalls *upcalls;
    void *context;
    tr__connection_config config;
    uint64_t dial_timeout_ns, now_ns;
    tr__listener *listener;
    uint16_t port;
    bool closing;
    tr__targets targets;
    tr__link *links, *graves, *dirty;
    unsigned peers, unauthenticated; /* links that are peers; accepted ones that aren't */
    tr__endpoint_counters counters;
    tr__mpsc inbox;
};

/* The upcalls that push onto the inbox; the context is the link, for the net's the endpoint and the link. */
extern const tr__stream_upcalls tr__link_stream_upcalls;
bool tr__link_on_accepted(void *endpoint, tr__stream *stream);
void tr__link_on_dialled(void *link, tr__stream *stream, const tr_error *error);

/* A new one in the endpoint's list; NULL: no memory. */
tr__link *tr__link_create(tr__endpoint *endpoint);
/* Begin the handshake on a stream, which it takes. */
void tr__link_connect(tr__link *link, tr__stream *stream);
/* An attempt came to nothing, or what it led to has ended: note when to try again, tell the layer above. */
void tr__link_dial_ended(tr__link *link, const tr_error *why);
/* It plays no part from now on; its stream and its dial are given up. */
void tr__link_end(tr__link *link);
/* Move the dead to the graves. */
void tr__link_bury(tr__endpoint *endpoint);
void tr__link_free(tr__link *link);

#endif
