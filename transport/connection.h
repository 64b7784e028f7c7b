/* One connection between two nodes, over one stream: handshake, batches with credit, acks, heartbeats,
 * goodbye.
 *
 *   greeting ──HELLO_ACK──▶ decided ──GRANT──▶ up ──close, GOODBYE──▶ draining ──▶ down
 *   waiting ──HELLO──▶ answered ──GRANT──▶ up            any ──a refusal of ours──▶ refusing ──▶ down
 *
 * Who dialled greets (HELLO); who accepted answers (HELLO_ACK); who dialled decides whether this connection
 * is the one to keep, and grants; the other side is up with that grant, and grants too; with that who dialled
 * is up. Batches flow against a grant only, so none can come before a side has raised its limits.
 *
 * Credit: the receiver allows a total of bytes, batch frames counted whole; `window` of them are open at a
 * time. A message that doesn't fit may still be sent, as a frame of its own, when three quarters of the
 * window are open (grants go out by quarters, so an idle connection always has that much).
 *
 * Pure: no thread, clock, allocation of its own beyond frames. The owner's thread calls everything; times are
 * nanoseconds of the owner's clock. Upcalls come from received, sent, stream_down and tick only, never from
 * what an actor's send runs through (reserve, commit, send, flush, consumed): those at most note a failure
 * for the next tick. */
#ifndef TR_TRANSPORT_CONNECTION_H
#define TR_TRANSPORT_CONNECTION_H

#include "transport/outgoing.h"
#include "transport/stream.h"

#define TR__CONTROL_MAX        1536        /* bytes of control frames in one send: one of each kind */
#define TR__CONTROL_UNREAD_MAX (64u << 10) /* control frames a stuck owner may leave unread */

typedef enum tr__connection_state {
    TR__CONNECTION_GREETING, /* we dialled, said HELLO, wait for HELLO_ACK */
    TR__CONNECTION_WAITING,  /* we accepted, wait for HELLO */
    TR__CONNECTION_DECIDED,  /* we dialled, took their HELLO_ACK, granted, wait for their first GRANT */
    TR__CONNECTION_ANSWERED, /* we accepted, said HELLO_ACK, wait for their first GRANT */
    TR__CONNECTION_UP,
    TR__CONNECTION_DRAINING, /* goodbye: nothing new is taken, what was taken is sent and acknowledged */
    TR__CONNECTION_REFUSING, /* a refusal is on its way to the other side */
    TR__CONNECTION_DOWN,     /* the stream is closed; the owner may fini */
    TR__CONNECTION_STATES
} tr__connection_state;

/* What all connections of a node share. Durations in ns. */
typedef struct tr__connection_config {
    tr__hello self;
    size_t window;         /* bytes we grant; 4 KiB or more */
    size_t queue_max;      /* bytes gathered for a peer before TR_EAGAIN */
    uint64_t handshake_ns; /* HELLO to up */
    uint64_t heartbeat_ns; /* silence of ours before we send one */
    uint64_t silence_ns;   /* silence of theirs before they are down */
    uint64_t ack_delay_ns; /* an ack waits this long for a batch to ride in front of */
    uint64_t drain_ns;     /* a goodbye at most, a refusal at most */
} tr__connection_config;

/* 1 MiB, 8 MiB, 5 s, 1 s, 10 s, 20 ms, 2 s; self zeroed but for the versions. */
void tr__connection_config_defaults(tr__connection_config *config);

/* Totals of one connection. For messages: sent >= acked; sent - acked is not known to have arrived. */
typedef struct tr__connection_counters {
    uint64_t messages_out, messages_in, messages_acked;
    uint64_t batches_out, batches_in, batches_acked;
    uint64_t bytes_out, bytes_in;     /* frames of both lanes */
    uint64_t granted_to_us, spent;    /* bytes of the normal lane we may send, and took of it */
    uint64_t granted_by_us, received; /* the same, the other way */
    uint64_t consumed;                /* of received */
    uint64_t refused_sends;           /* TR_EAGAIN */
    uint64_t heartbeats_in;
} tr__connection_counters;

typedef struct tr__connection tr__connection;

typedef struct tr__connection_upcalls {
    /* The other side said who it is (already: right cluster, a version in common, not ourselves). TR_OK goes
     * on; else *refusal is told to it and ends the connection. */
    tr_err (*judge)(void *context, const tr__hello *peer, tr_error *refusal);
    void (*up)(void *context);
    /* `messages` messages in `bytes`, borrowed for the call. Each byte of them is to be reported by
     * tr__connection_consumed, sooner or later. */
    void (*batch)(void *context, const uint8_t *bytes, size_t length, uint32_t messages);
    /* A send that was refused with TR_EAGAIN would be taken now. */
    void (*writable)(void *context);
    /* Once, the last upcall; the connection is still used when it returns. The stream is closed. `why` is
     * TR_ECLOSED after a goodbye. `unknown`: messages taken by commit that aren't known to have arrived. */
    void (*down)(void *context, const tr_error *why, uint64_t unknown);
} tr__connection_upcalls;

struct tr__connection {
    const tr__connection_config *config;
    const tr__connection_upcalls *upcalls;
    void *context;
    tr__net *net;
    tr__stream *stream; /* NULL once closed */
    tr__connection_state state;
    bool dialled; /* by us */
    bool sending; /* one send is under way */
    bool want_hello, want_ack, want_grant, want_heartbeat, want_goodbye, want_refuse; /* to be sent */
    bool goodbye_sent, goodbye_received;
    bool blocked; /* a send was refused: a writable notice is owed */
    size_t blocked_cost;
    tr__hello peer; /* valid from judge on */
    tr__outgoing out;
    uint64_t control_sequence; /* of the last control frame sent */
    size_t peer_window;        /* their first grant */
    uint64_t now_ns;           /* of the last event or tick */
    uint64_t entered_ns;       /* the state; 0: at the next tick */
    uint64_t heard_ns, spoke_ns, ack_due_ns;
    tr_error failure; /* to be reported by the next tick, or what the refusal says */
    tr__connection_counters counters;
    uint8_t control[TR__CONTROL_MAX]; /* frames that the send under way borrows, before the batches */
    uint8_t tail[TR__FRAME_HEADER];   /* goodbye, behind them */
};

/* The word for a state ("up"). Static storage. */
const char *tr__connection_state_word(tr__connection_state state);

/* Take over a stream that was dialled or accepted (started by the caller after this, with the events passed
 * on to the functions below). Cannot fail; sends HELLO if dialled at the first tick. config, upcalls and net
 * are borrowed for the connection's life. */
void tr__connection_init(tr__connection *connection, const tr__connection_config *config, tr__net *net,
                         tr__stream *stream, bool dialled, uint64_t now_ns,
                         const tr__connection_upcalls *upcalls, void *context);
/* Free what it holds; closes the stream without a word if it is still there. Zeroed is fine. */
void tr__connection_fini(tr__connection *connection);

/* Events of the stream. The slice is borrowed. In state down they do nothing. */
void tr__connection_received(tr__connection *connection, const tr__slice *slice, uint64_t now_ns);
void tr__connection_sent(tr__connection *connection, size_t bytes, uint64_t now_ns);
void tr__connection_stream_down(tr__connection *connection, const tr_error *why, uint64_t now_ns);
/* Time has come to now_ns: heartbeats, time-outs, failures noted, control frames that wait. */
void tr__connection_tick(tr__connection *connection, uint64_t now_ns);
/* When the next tick is needed; UINT64_MAX for never. */
uint64_t tr__connection_next_due(const tr__connection *connection);

/* Room for one message of up to `length` bytes, to be written at *at and committed before the next reserve
 * (or forgotten). TR_EAGAIN: no credit, or too much is queued; a writable notice follows. TR_ENOCONN: not up.
 * TR_ECLOSED: closing. TR_ETOOBIG: more than 16 MiB. TR_EINVAL: length 0. TR_ENOMEM. */
tr_err tr__connection_reserve(tr__connection *connection, size_t length, uint8_t **at);
/* The message of `length` bytes, 1 to what was reserved, is there: it is taken, and counted as unknown until
 * the other side has acknowledged it. Nothing is sent until flush, or until a send under way is done. */
void tr__connection_commit(tr__connection *connection, size_t length);
/* Both, for bytes that exist: copied. */
tr_err tr__connection_send(tr__connection *connection, const void *bytes, size_t length);
/* Close the open frame and send, if no send is under way. */
void tr__connection_flush(tr__connection *connection);
/* The layer above is done with `bytes` bytes of batches. */
void tr__connection_consumed(tr__connection *connection, size_t bytes);

/* Say goodbye: up -> draining; before that, the stream is closed at the next tick. */
void tr__connection_close(tr__connection *connection);
/* Tell the other side why, and end. In state up and draining as well: what is queued is dropped. */
void tr__connection_refuse(tr__connection *connection, const tr_error *why);

/* End it now, without a word to the other side; makes the upcall. Not from within its own upcalls. */
void tr__connection_cut(tr__connection *connection, const tr_error *why);

/* Messages taken and not known to have arrived. */
uint64_t tr__connection_unknown(const tr__connection *connection);

#endif
