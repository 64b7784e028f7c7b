/* The control half of one connection between two nodes: handshake, heartbeats, silence, when acks are due,
 * goodbye, refusal. Its data half is flow.h, what both share channel.h.
 *
 *   keying ──KEY──▶ greeting or waiting                  (between nodes that have a key; else it begins there)
 *   greeting ──HELLO_ACK──▶ decided ──GRANT──▶ up ──close, GOODBYE──▶ draining ──▶ down
 *   waiting ──HELLO──▶ answered ──GRANT──▶ up            any ──a refusal of ours──▶ refusing ──▶ down
 *
 * Who dialled greets (HELLO); who accepted answers (HELLO_ACK); who dialled decides whether this connection
 * is the one to keep, and grants; the other side is up with that grant, and grants too; with that who dialled
 * is up. Batches flow against a grant only, so none can come before a side has raised its limits.
 *
 * Goodbye: the home closes its half first (flow.h), or is told to by `drain`; each side's goodbye is behind
 * its last batch, and the connection ends when both are known to have got everything.
 *
 * Pure: no thread, clock, allocation of its own. The control thread calls everything; times are nanoseconds
 * of its clock. */
#ifndef TR_TRANSPORT_CONNECTION_H
#define TR_TRANSPORT_CONNECTION_H

#include "transport/channel.h"
#include "transport/detector.h"
#include "transport/flow.h"
#include "transport/quota.h"

typedef enum tr__connection_state {
    TR__CONNECTION_KEYING,   /* we have a key; wait for their KEY (who dialled said its own first) */
    TR__CONNECTION_GREETING, /* we dialled, said HELLO, wait for HELLO_ACK */
    TR__CONNECTION_WAITING,  /* we accepted, wait for HELLO */
    TR__CONNECTION_DECIDED,  /* we dialled, took their HELLO_ACK, granted, wait for their first GRANT */
    TR__CONNECTION_ANSWERED, /* we accepted, said HELLO_ACK, wait for their first GRANT */
    TR__CONNECTION_UP,
    TR__CONNECTION_DRAINING, /* goodbye: nothing new is taken, what was taken is sent and acknowledged */
    TR__CONNECTION_REFUSING, /* a refusal is on its way to the other side */
    TR__CONNECTION_DOWN,     /* the stream is closed */
    TR__CONNECTION_STATES
} tr__connection_state;

typedef struct tr__connection tr__connection;

typedef struct tr__connection_upcalls {
    /* The other side said who it is (already: right cluster, a version in common, not ourselves). TR_OK goes
     * on; else *refusal is told to it and ends the connection. */
    tr_err (*judge)(void *context, const tr__hello *peer, tr_error *refusal);
    void (*up)(void *context);
    /* The home is to close its half. */
    void (*drain)(void *context);
    /* Once, the last upcall; the connection is still used when it returns. No callback of the stream comes
     * any more. `why` is TR_ECLOSED after a goodbye. */
    void (*down)(void *context, const tr_error *why);
} tr__connection_upcalls;

struct tr__connection {
    const tr__connection_config *config;
    const tr__connection_upcalls *upcalls;
    void *context;
    tr__channel *channel;
    tr__flow *flow; /* for ack_watched alone */
    tr__connection_state state;
    bool goodbye_received;
    tr__hello peer;                    /* valid from judge on */
    uint64_t now_ns;                   /* of the last event or tick */
    uint64_t begun_ns, entered_ns;     /* the connection, the state */
    uint64_t look_ns;                  /* when to look next whether either side was silent */
    uint64_t listened_ns, said_ns;     /* when we looked last; when something was said, as far as we saw */
    uint64_t heard_bytes, spoken_seen; /* the channel's counts at the last look */
    uint64_t taken_ns, taken_seen;     /* of the look that found that they take what waits; what they took */
    bool stuck;                        /* it ended for that */
    uint64_t owing_ns, came_seen;      /* of the look since which they owe the rest of a message; what came */
    bool owing;                        /* it ended for that */
    tr__detector detector;             /* when up or draining */
    uint64_t ack_due_ns;               /* UINT64_MAX: nothing to look for */
    tr__quota quota;                   /* of grants, if the channel is metered */
    uint64_t grant_due_ns;             /* when to grant what it held back; UINT64_MAX: nothing is */
    bool bulk_first;                   /* which lane was granted first last time */
    tr__psk_pair pair;                 /* until the keys are derived */
    tr_error failure;                  /* to be reported by the next tick, or what the refusal says */
};

/* Take over a channel, just initialised, and its flow. All borrowed for the connection's life. */
void tr__connection_init(tr__connection *connection, tr__channel *channel, tr__flow *flow, uint64_t now_ns,
                         const tr__connection_upcalls *upcalls, void *context);
/* Say KEY or HELLO, if dialled; the stream was started. */
void tr__connection_begin(tr__connection *connection);

/* What was passed on to this thread. In state down they do nothing. The slice is borrowed. */
void tr__connection_received(tr__connection *connection, const tr__slice *slice, uint64_t now_ns);
void tr__connection_stream_down(tr__connection *connection, const tr_error *why, uint64_t now_ns);
/* The home owes an ack: look after it until none is owed. */
void tr__connection_owes_ack(tr__connection *connection, uint64_t now_ns);
/* From within the upcall `up`: grant no more than so many bytes a second, and at once, beyond the window that is granted
 * already; rate 0: no bound. */
void tr__connection_meter(tr__connection *connection, uint64_t rate, uint64_t burst);
/* The home took up enough for a grant: give it, as far as the quota goes, and the rest when that lets it through. */
void tr__connection_owes_grant(tr__connection *connection, uint64_t now_ns);
/* Something of a drain was done. */
void tr__connection_nudged(tr__connection *connection, uint64_t now_ns);
/* Time has come to now_ns: heartbeats, time-outs, failures noted. */
void tr__connection_tick(tr__connection *connection, uint64_t now_ns);
/* When the next tick is needed; UINT64_MAX for never. */
uint64_t tr__connection_next_due(const tr__connection *connection);

/* Say goodbye: up -> draining; before that, the stream is closed at the next tick. */
void tr__connection_close(tr__connection *connection, uint64_t now_ns);
/* Tell the other side why, and end. In state up and draining as well: what is queued is dropped. */
void tr__connection_refuse(tr__connection *connection, const tr_error *why, uint64_t now_ns);
/* End it now, without a word to the other side; makes the upcall. Not from within its own upcalls. */
void tr__connection_cut(tr__connection *connection, const tr_error *why);

#endif
