/* What an endpoint is made of, shared by endpoint.c (steps, opening), link.c (what streams and connections
 * report) and home.c (the home loop's half). Private to those.
 *
 * A link is one connection from the first sign of it (a dial begun, a stream accepted) to its end. Events
 * point to their link, and some may still be in an inbox when the stream is closed; so a link that ends is
 * marked dead, buried at the end of the step, and freed by the next step, when what was pushed before is
 * behind us. One whose batches may have reached the home (`channel.open`) goes there first: `down`, behind
 * the last of them; when the home is done with it, it comes back as `gone`, and is freed. */
#ifndef TR_TRANSPORT_LINK_H
#define TR_TRANSPORT_LINK_H

#include "transport/endpoint.h"
#include "transport/targets.h"

/* The kinds of the control inbox's nodes, and what each is part of. */
typedef enum tr__event_kind {
    TR__EVENT_CONTROL,  /* tr__slice */
    TR__EVENT_DOWN,     /* tr__link: the stream's end */
    TR__EVENT_FAULT,    /* tr__link: the callback's */
    TR__EVENT_NUDGE,    /* tr__link */
    TR__EVENT_ACCEPTED, /* tr__accept_event */
    TR__EVENT_DIALLED,  /* tr__link */
    /* from the home */
    TR__EVENT_HOME_FAULT, /* tr__link */
    TR__EVENT_OWES_ACK,   /* tr__link */
    TR__EVENT_CLOSE,      /* tr__link: it closed its half */
    TR__EVENT_GONE,       /* tr__link */
    TR__EVENT_LEARN,      /* tr__learn_event */
} tr__event_kind;

/* The like of the home's inbox. */
typedef enum tr__home_kind {
    TR__HOME_UP,     /* tr__link */
    TR__HOME_DATA,   /* tr__slice */
    TR__HOME_CREDIT, /* tr__link */
    TR__HOME_DRAIN,  /* tr__link */
    TR__HOME_DOWN,   /* tr__link */
} tr__home_kind;

/* A node that may be pushed again once it was taken. */
typedef struct tr__signal {
    tr__mpsc_node node;
    _Atomic bool pending; /* who turns it true pushes; who takes it turns it false, then acts */
} tr__signal;

typedef struct tr__link {
    tr__channel channel; /* shared, as channel.h says */

    /* The control thread's */
    struct tr__link *next;
    tr__endpoint *endpoint;
    tr__target *target; /* what it was dialled for; NULL: accepted, or forgotten since */
    tr__dial *dial;     /* while the dial is under way */
    bool accepted, connected /* the connection is initialised */, is_peer, dead;
    uint64_t up_ns;
    tr__connection connection;

    /* The home's, from TR__HOME_UP on */
    struct tr__link *next_peer, *next_dirty;
    tr__flow flow;
    tr__peer peer;
    bool home_up, dirty;
    tr__mpsc_node *early, **early_end; /* batches that came before TR__HOME_UP */

    /* Events; what each carries is its pusher's until it is pushed */
    tr__mpsc_node down_event, fault_event, dialled_event;                    /* of callbacks */
    tr__mpsc_node home_fault_event, owes_ack_event, close_event, gone_event; /* of the home */
    tr__mpsc_node home_up_event, home_drain_event, home_down_event;          /* of the control thread */
    tr__signal nudge, credit;
    tr_error down_why, fault_why, home_fault_why, home_down_why;
    tr__stream *dialled_stream;
    tr_error dialled_why;
} tr__link;

typedef struct tr__accept_event {
    tr__mpsc_node node;
    tr__stream *stream;
} tr__accept_event;

typedef struct tr__learn_event {
    tr__mpsc_node node;
    char address[TR__ADDRESS_MAX + 1];
} tr__learn_event;

struct tr__endpoint {
    tr__net *net;
    const tr__endpoint_upcalls *upcalls;
    void *context;
    tr__connection_config config;
    tr__psk psk; /* config.psk points here if there is a key */
    uint64_t dial_timeout_ns;

    /* The control thread's */
    uint64_t now_ns;
    tr__listener *listener;
    uint16_t port;
    bool closing_seen;
    tr__targets targets;
    tr__link *links, *graves, *leaving; /* leaving: until the home is done with them */
    unsigned peers, unauthenticated;    /* links that are peers; accepted ones that aren't */
    tr__mpsc inbox;

    /* The home's */
    tr__link *home_peers, *dirty;
    tr__mpsc home_inbox;
    tr__mpsc_node *home_left, **home_left_end; /* taken off it, not handled yet */

    _Atomic bool closing, closed; /* the home asks; the control thread is done */
    struct {                      /* tr__endpoint_counters, written by either */
        _Atomic uint64_t accepted, accept_refused, dials, dials_failed, learned, learn_refused,
            handshakes_failed, peers_up, peers_down, peers_stuck, partial, unknown;
    } counters;
};

static inline tr__link *tr__link_of_peer(const tr__peer *peer)
{
    return (tr__link *)((char *)peer - offsetof(tr__link, peer));
}

/* Push on an inbox and wake its thread if it was empty. Any thread. */
void tr__push_control(tr__endpoint *endpoint, tr__mpsc_node *node, tr__event_kind kind);
void tr__push_home(tr__endpoint *endpoint, tr__mpsc_node *node, tr__home_kind kind);

/* ---- link.c: the control thread, but for the upcalls of streams ---------------------------------------- */

/* The net's upcalls; the context is the endpoint, the link. */
bool tr__link_on_accepted(void *endpoint, tr__stream *stream);
void tr__link_on_dialled(void *link, tr__stream *stream, const tr_error *error);

/* A new one in the endpoint's list; NULL: no memory. */
tr__link *tr__link_create(tr__endpoint *endpoint);
/* Begin the handshake on a stream, which it takes. */
void tr__link_connect(tr__link *link, tr__stream *stream);
/* An attempt came to nothing, or what it led to has ended: note when to try again, tell the layer above. */
void tr__link_dial_ended(tr__link *link, const tr_error *why);
/* It plays no part from now on; its dial is given up. */
void tr__link_end(tr__link *link);
/* Move the dead to the graves, or to those that the home has to leave first. */
void tr__link_bury(tr__endpoint *endpoint);
/* The home is done with it. */
void tr__link_gone(tr__link *link);
/* Nobody refers to it any more; its stream, if any, is closed. */
void tr__link_free(tr__link *link);

/* ---- home.c: the home ---------------------------------------------------------------------------------- */

extern const tr__flow_upcalls tr__home_flow_upcalls; /* context: the link */
/* Free what is in its inbox; no thread runs any more. */
void tr__home_drop(tr__endpoint *endpoint);

#endif
