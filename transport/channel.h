/* What the two halves of a connection and the stream's callbacks share: the stream, what is to be said, how
 * far each side has come. Everything that isn't of one thread is atomic, and says with what it pairs.
 *
 *   home loop (flow.h) ──closed batches──▶ ┌─────────┐ ──one send at a time──▶ stream
 *   control thread (connection.h) ─wants─▶ │ channel │
 *   home loop ◀──batches── control thread ◀──other frames── sorted by the receive callback
 *
 * Sending. Who has something to say leaves it (a batch in `out`, a bit in `wants`) and pumps: who turns
 * `sending` from false to true gathers, control frames first, and posts; the completion frees what was sent
 * and gathers more; with nothing left it turns `sending` back and looks once more. So there is never more
 * than one send, and nothing is left lying. Receiving never waits for a send.
 *
 * A gather takes control frames, then normal ones, then at most TR__TURN_CHUNKS of the bulk lane (bulk.h): so what is
 * small waits for no more than one send. While bulk waits, normal frames leave it room in each send: neither lane
 * starves the other.
 *
 * Receiving. The callback walks the headers of what came. Acks, grants and heartbeats of a connection that is
 * up it settles itself, which is storing a number (and pumping, where bulk waited for it); batches and chunks go to the
 * home loop, all else to the control thread. What may lie unread is bounded; who sends more is cut.
 *
 * A node with a key (psk.h) sends and takes KEY and REFUSE in the open, until the other side's first sealed
 * frame has come; all else is sealed, and nothing else is handed up. Frames are sealed by whoever gathers
 * them, in the order in which they leave, and opened in the callback, in the order in which they come.
 *
 * Pure: no thread, clock or waiting of its own. */
#ifndef TR_TRANSPORT_CHANNEL_H
#define TR_TRANSPORT_CHANNEL_H

#include "transport/bulk.h"
#include "transport/detector.h"
#include "transport/outgoing.h"
#include "transport/psk.h"
#include "transport/stream.h"

#define TR__CONTROL_MAX        1536        /* bytes of control frames in one send: one of each kind */
#define TR__CONTROL_UNREAD_MAX (64u << 10) /* control frames that may lie unread */

/* What all connections of a node share. Durations in ns. */
typedef struct tr__connection_config {
    tr__hello self;
    const tr__psk *psk;           /* NULL: no key, nothing is sealed */
    size_t window;                /* bytes we grant; 4 KiB or more */
    size_t queue_max;             /* bytes gathered for a peer before TR_EAGAIN */
    size_t bulk_window;           /* as window, for the bulk lane; twice a chunk or more. 0: we have none */
    size_t bulk_queue_max;        /* as queue_max; one message always may wait */
    uint64_t message_max;         /* bytes of a message that we take by the bulk lane */
    size_t headroom;              /* bytes that whoever takes such a message wants in front of it */
    uint64_t handshake_ns;        /* HELLO to up */
    tr__detector_config detector; /* when we say something, and when their silence means that they are down */
    uint64_t ack_delay_ns;        /* an ack waits at most this long for a batch to ride in front of */
    uint64_t drain_ns;            /* a goodbye at most, a refusal at most */
    uint64_t
        stuck_ns; /* they take nothing, though something waits for them, or send nothing more of a message that they
                        * began, before they are cut */
} tr__connection_config;

/* 1 MiB, 8 MiB, 1 MiB, 8 MiB, 64 MiB, 0, 5 s, the detector's own, 20 ms, 2 s, 10 s; self zeroed but for the
 * versions. */
void tr__connection_config_defaults(tr__connection_config *config);

typedef enum tr__want {
    TR__WANT_HELLO = 1,
    TR__WANT_ACK = 2, /* now; without it an ack still rides with whatever is sent */
    TR__WANT_GRANT = 4,
    TR__WANT_HEARTBEAT = 8,
    TR__WANT_GOODBYE = 16, /* behind all closed batches */
    TR__WANT_REFUSE = 32,  /* the last thing that is said */
    TR__WANT_KEY = 64,
    TR__WANT_BULK_GRANT = 128,
} tr__want;

/* From the stream's callbacks, on their threads (nudge: from any pump); they only pass it on. */
typedef struct tr__channel_upcalls {
    void (*control)(void *context, tr__slice *slice);  /* frames for the control half; takes the slice */
    void (*data)(void *context, tr__slice *slice);     /* batches for the home; takes the slice */
    void (*fault)(void *context, const tr_error *why); /* once: refuse them; nothing more is handed up */
    void (*credit)(void *context);                     /* a blocked home should look again */
    void (*nudge)(void *context);                      /* while draining: the control half should look */
} tr__channel_upcalls;

typedef struct tr__channel {
    const tr__connection_config *config;
    const tr__channel_upcalls *upcalls;
    void *context;
    tr__net *net;
    tr__stream *stream; /* fixed; closed by the control half, freed by fini */
    bool dialled;

    /* Set by the control half, each once. */
    _Atomic bool open;     /* batches may come: set (release) before they are granted, read by the callback */
    _Atomic bool up;       /* release: peer_window is set; pairs with the callback's acquire */
    _Atomic bool draining; /* by either half: who completes an ack or a send nudges the control half */
    _Atomic bool ended;    /* refused or down: the home takes no more messages */
    _Atomic bool keyed;    /* release: both seals have their keys */
    bool metered;          /* by a quota; set before the home hears that it is up */
    /* Bytes of each lane's grants that the quota lets through in all (tr__connection_meter); UINT64_MAX: there is none. */
    _Atomic uint64_t grant_limit, bulk_grant_limit;
    _Atomic uint64_t grants_held;   /* how often one was held back */
    uint8_t open_key[TR__KEY_SIZE]; /* before TR__WANT_KEY: our public one */
    size_t peer_window;             /* their first grant */
    bool lanes;                     /* both have the bulk lane; before `up` */
    uint64_t peer_message_max;      /* likewise: bytes of a message that they take */
    tr_error refusal;               /* before TR__WANT_REFUSE, whose bit publishes it */

    /* Sending: `wants` and `out.closed` are written before `sending` is tried; `sending` is given back before
     * they are looked at again; both by exchanges, so one of the two sees the other. */
    _Atomic unsigned wants;
    _Atomic bool sending;
    tr__outgoing out;
    tr__bulk bulk;
    /* Set, once, by the control half of who dialled with `keyed`, by the callback of who accepted when it
     * has opened the first frame: from now on what we send is sealed, and they can open it. */
    _Atomic bool sealing;
    /* whoever holds `sending` */
    tr__seal seal_out;
    uint64_t control_sequence;
    bool muted;                       /* the refusal was said */
    bool goodbye_due;                 /* as soon as nothing waits */
    uint8_t control[TR__CONTROL_MAX]; /* frames that the send under way borrows, before the batches */
    uint8_t tail[TR__FRAME_HEADER + TR__FRAME_TAG]; /* goodbye, behind them */
    /* written by whoever holds `sending`, read by others */
    _Atomic uint64_t bytes_out, batches_out; /* chunks are counted with the batches, here and below */
    _Atomic uint64_t spoken;                 /* sends that were more than a heartbeat */
    _Atomic uint64_t
        granted_by_us; /* stored before the grant is sent: their batch that uses it comes after */
    _Atomic uint64_t bulk_granted_by_us; /* likewise */
    _Atomic uint64_t acked_by_us;        /* batches */
    _Atomic bool goodbye_sent;

    /* Written by the home loop */
    _Atomic uint64_t messages_out, spent; /* stored before the batch is closed: acks and grants come after */
    _Atomic uint64_t messages_in, batches_in; /* in this order; read in the other (acquire), for an ack */
    _Atomic uint64_t consumed;                /* of what was received; before TR__WANT_GRANT */
    _Atomic uint64_t bulk_left;               /* of the unit that comes: what hasn't; before bulk_consumed */
    _Atomic uint64_t bulk_consumed;           /* as consumed */
    /* seq_cst: set, then credit, or room, is read again; who gives it stores it, then reads this */
    _Atomic bool blocked, bulk_blocked;

    /* Written by the receive callback (before up: by the control half) */
    _Atomic uint64_t bytes_in, heartbeats_in;
    _Atomic uint64_t granted_to_us; /* seq_cst, with blocked */
    _Atomic uint64_t messages_acked, batches_acked;
    _Atomic uint64_t batches_sorted; /* handed to the home; those it has read are batches_in */
    _Atomic uint64_t bulk_in;        /* bytes of chunks; within bulk_granted_by_us */
    _Atomic size_t unread;           /* bytes handed up; who has read them takes them off */
    bool deaf, goodbye_heard;        /* the callback's alone */
    tr__seal seal_in;                /* likewise, once keyed */
    tr__seals other; /* likewise, of who accepted: by its other key, until the first sealed frame */
} tr__channel;

/* Bits of kinds in tr__slice.elsewhere. */
#define TR__KIND_BIT(kind) (1u << (kind))

void tr__channel_init(tr__channel *channel, const tr__connection_config *config, tr__net *net,
                      tr__stream *stream, bool dialled, const tr__channel_upcalls *upcalls, void *context);
/* No callback comes after this, and nothing is sent. The control half; memory stays for the home. */
void tr__channel_close(tr__channel *channel);
/* Nobody uses it any more; closed. Zeroed is fine. */
void tr__channel_fini(tr__channel *channel);

/* The stream's callbacks. The slice is taken. */
void tr__channel_received(tr__channel *channel, tr__slice *slice);
void tr__channel_sent(tr__channel *channel);

/* The keys of this connection, from theirs and our pair: from now on sealed frames are opened, and those of
 * who dialled are sealed. The control half, once. TR_EPROTO. */
tr_err tr__channel_set_keys(tr__channel *channel, tr__psk_pair *pair, const uint8_t *theirs, tr_error *error);

/* To be said soon; then pump. Any thread. */
void tr__channel_want(tr__channel *channel, unsigned wants);
/* Send what there is to say, if no send is under way. Any thread. */
void tr__channel_pump(tr__channel *channel);

/* An ACK, GRANT or BULK_GRANT frame: the callback's once up, the control half's before. TR_EPROTO. */
tr_err tr__channel_on_ack(tr__channel *channel, const tr__frame *frame, tr_error *error);
tr_err tr__channel_on_bulk_grant(tr__channel *channel, const tr__frame *frame, tr_error *error);
tr_err tr__channel_on_grant(tr__channel *channel, const tr__frame *frame, tr_error *error);

/* Whether batches that were read are not acknowledged yet. */
bool tr__channel_owes_ack(const tr__channel *channel);
/* Both said all they had, and know that it arrived, but for the other's goodbye. */
bool tr__channel_is_drained(const tr__channel *channel);

#endif
