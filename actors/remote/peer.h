/* One connected node, as the core sees it: what is held for it, what waits for it, which types were told.
 * Loop 0 only, but for the routes. */
#ifndef TR_ACTORS_REMOTE_PEER_H
#define TR_ACTORS_REMOTE_PEER_H

#include <stdatomic.h>

#include "actors/limits.h"
#include "actors/loop.h"
#include "actors/remote/pairs.h"
#include "actors/remote/records.h"
#include "actors/remote/remote.h"
#include "actors/remote/rights.h"
#include "actors/remote/waits.h"
#include "actors/remote/wire.h"
#include "base/plant.h"
#include "transport/endpoint.h"

#define TR__MESSAGE_MAX \
    (TR__FRAME_SIZE_MAX - TR__BATCH_OVERHEAD) /* bytes of a record without lanes: what a batch takes */
#define TR__LARGE_MIN (32u << 10)             /* a record beyond that goes by the bulk lane */
#define TR__HEADROOM \
    1024 /* in front of what comes by it: a message's header and struct, so that it is its own block */
#define TR__HELD_MAX 65536 /* messages held without credit before the connection is cut */
#define TR__BULK_HELD_MAX \
    1024 /* held for want of room on the bulk lane before all senders to that node wait */
#define TR__COMING_MAX (8u << 20) /* bytes of large messages on their way to loop 0 before all wait */
#define TR__RECORDS_COMING_MAX \
    (8u << 20) /* bytes of records on their way to loop 0, a message as 256 at least, likewise */
#define TR__ANSWERS_HELD_MAX ((size_t)64 << 20) /* bytes of large answers that are held: more fail */
#define TR__ANSWERS_LATE_MAX \
    ((size_t)64 << 20)         /* bytes of answers on their way to loops where none waits for them */
#define TR__TYPES_MAX    4096  /* types told on one connection */
#define TR__WATCHING_MAX 65536 /* monitors that one peer has here */
#define TR__TIES_MAX     65536 /* links between here and one peer */

/* Where messages for a node go; read by any loop. A free one has id 0; its next use has another epoch. */
typedef struct tr__route {
    _Atomic uint64_t id;
    _Atomic uint16_t epoch;
    _Atomic bool blocked;      /* no credit: tr_send says TR_EAGAIN */
    _Atomic bool bulk_blocked; /* no room on the bulk lane: for large messages it does */
    _Atomic size_t coming;     /* bytes of large messages that other loops sent, on their way to loop 0 */
    _Atomic size_t
        records; /* what other loops wrote that is on its way to loop 0; see TR__RECORDS_COMING_MAX */
    /* Of answers to asks that other loops wrote (E4 in records.h): asks that wait, at least; and what is on its way to them. */
    _Atomic uint64_t asking, answering;
    _Atomic size_t answering_bytes;
    _Atomic uint64_t message_max; /* bytes of a record that it takes by that; 0: it has none */
    _Atomic uint64_t connection;  /* its number: each has a higher one than those before */
    _Atomic uint32_t may;         /* what the node there lets this one do, as far as it has said: of tr_may */
    _Atomic bool links;           /* it knows links between nodes */
    struct tr__remote_peer *peer; /* loop 0's */
    /* Loop 0's: the node it led to last, and its epoch then; for what comes too late. */
    uint64_t ended_id;
    uint16_t ended_epoch;
} tr__route;

/* Its epoch while it leads to that node; false: it doesn't any more. Any loop. An epoch is written (release) behind the end of
 * what the route led to before: who reads it and then finds the same node has that one's. */
static inline bool tr__route_epoch(tr__route *route, uint64_t node, uint16_t *epoch)
{
    *epoch = atomic_load_explicit(&route->epoch, memory_order_acquire);
    return atomic_load_explicit(&route->id, memory_order_relaxed) == node || TR_PLANT(old_incarnation);
}

/* The first types that were told on a route's connection, by number, for other loops; see route_add. */
#define TR__TOLD_MAX 64
typedef struct tr__told {
    _Atomic uint32_t count;
    _Atomic(const tr_typeinfo *) types[TR__TOLD_MAX];
} tr__told;

struct tr__remote {
    tr__loop *loop;
    tr__endpoint *endpoint;
    uint64_t message_max;               /* bytes of a record that we take */
    uint64_t away_told_ns, away_untold; /* the control thread's: see on_turned_away */
    uint64_t connections;               /* so far */
    _Atomic uint32_t route_count;
    tr__route routes[TR__PEERS_MAX];
    tr__told told[TR__PEERS_MAX]; /* by route */
};

typedef struct tr__remote_peer {
    tr__remote *remote;
    tr__peer *peer;
    tr__route *route;
    tr_msg *held, **held_end; /* accepted, waiting for credit, in order */
    uint32_t held_count;
    tr_msg *bulk_held, **bulk_held_end; /* likewise, for room on the bulk lane */
    uint32_t bulk_held_count;
    size_t answers_held; /* bytes of large answers among both */
    tr__pairs pairs;
    tr__pair *pair;    /* of what is being sent: it goes behind what that has on the bulk lane */
    bool bulk_refused; /* what said TR_EAGAIN was the bulk lane */
    bool went_along;   /* what was sent took its block with it; its header is in `gone` */
    uint8_t *block;    /* that came by the bulk lane, and isn't a message yet */
    size_t block_size;
    struct tr__arrival *arrival; /* what comes by it and goes to files (remote/arrival.c); NULL: nothing */
    const tr__gap *gaps;         /* of what is being taken: its buffers that are in files */
    uint32_t gap_count;
    tr_msg *wanting, **wanting_end; /* writable notices to be */
    tr__waits waits;                /* asks and monitors of ours; cancels to be of streamed asks of theirs */
    struct tr__watching *watching;  /* monitors of theirs */
    uint32_t ties;                  /* of the waits: links (remote/links.c) */
    uint64_t connection;            /* as in the route */
    const tr_rights *rights;        /* what it may do here */
    bool untold;                    /* and it hasn't been told yet */
    tr__refusals refusals;
    tr__reach reach;
    struct tr__told_type *told; /* types that we told, by pointer */
    tr__writer writer;
    struct tr__heard_type *heard; /* types that they told, by number */
    uint32_t heard_count, heard_room;
    bool others;        /* the node has other loops */
    tr__alike alike_in; /* of the last message that came */
    uint64_t sent;      /* messages, on this connection */
    tr_msg *went;       /* what tells the warden of the end */
    bool cut;           /* the connection is being ended from here: nothing goes out, nothing is taken */
    tr_msg gone;
} tr__remote_peer;

/* The route to that node, if it isn't known to be blocked; else NULL. Any loop. */
tr__route *tr__remote_ready(tr__loop *loop, uint64_t to_node);
/* The number of a type on this connection; told at its first use, always on the normal lane: what needs it, on whatever
 * lane, is behind that. */
tr_err tr__told_number(tr__remote_peer *p, const tr_typeinfo *type, uint32_t *number);
/* The name of the type that was told by that number; NULL: none was. */
const char *tr__told_name(const tr__remote_peer *p, uint32_t number);
void tr__told_types_end(tr__remote_peer *p);
/* Send, or hold until there is credit. Takes msg. */
void tr__remote_peer_send(tr__remote_peer *p, tr_msg *msg);
/* Of an answer that is to be held: it, or its failure if too much is held already, or NULL, and the connection ends. What it
 * weighs is to be taken off `answers_held` when it is held no more. (remote/large.c) */
tr_msg *tr__answer_admit(tr__remote_peer *p, tr_msg *msg);
size_t tr__answer_weight(const tr_msg *msg);
/* TR__HELD_MAX are: the connection is cut. */
void tr__remote_held_too_many(tr__remote_peer *p);
/* There is credit again. */
void tr__remote_writable(tr__remote_peer *p);
/* End the connection and say why, to the log and to the other side; peer_down follows. */
void tr__remote_cut(tr__remote_peer *p, const tr_error *why);
/* What another loop wrote, as far as it goes. TR_OK: it is gone; TR_EAGAIN: some or all of it is left. */
tr_err tr__records_send(tr__remote_peer *p, tr_msg *msg);
/* Of the block that is held first, as far as it goes. False: some is left. */
bool tr__records_send_held(tr__remote_peer *p);
/* The record of one that was split off it, to that lane: likewise. */
tr_err tr__records_send_one(tr__remote_peer *p, tr_msg *msg, tr__record *record, tr__pair *pair);
/* The message as a unit of the bulk lane; `bound` as tr__cbor_bound says. TR_EAGAIN, TR_ETOOBIG, TR_ENOMEM ... */
tr_err tr__remote_put_large(tr__remote_peer *p, tr__record *record, tr_msg *msg, size_t bound);
/* Hold it for room on the bulk lane, behind what its pair has there. */
void tr__remote_hold_behind(tr__remote_peer *p, tr_msg *msg, tr__pair *pair);
/* The same, without a pair; false: no memory. */
bool tr__remote_hold_bulk(tr__remote_peer *p, tr_msg *msg, const tr__record *record);
/* What came by the bulk lane: as in transport/flow.h. Takes block. */
void tr__remote_take_bulk(tr__remote_peer *p, uint8_t *block, const uint8_t *bytes, size_t length);
/* Bytes of a message between nodes as it lies in memory, where a record may have so many: a list of empty elements is
 * much smaller on the wire. */
static inline size_t tr__remote_body_max(uint64_t record_max)
{
    uint64_t most = record_max > TR__MESSAGE_MAX ? record_max : TR__MESSAGE_MAX;
    return most > TR__BODY_MAX / 4 ? TR__BODY_MAX : (size_t)most * 4;
}
/* The records of one batch. */
void tr__remote_take_batch(tr__remote_peer *p, const uint8_t *bytes, size_t length);
/* The connection is gone: asks fail, monitors fire, what was held is undeliverable. Frees p. */
void tr__remote_peer_end(tr__remote_peer *p);

/* Of what leaves (remote/streams.c). A streamed ask of theirs was handed on: its cancel goes after it; or it is elsewhere now,
 * and none of ours. */
void tr__stream_moved(tr__remote_peer *p, const tr_msg *moved);
/* Who sends items of a streamed ask of theirs has it. */
void tr__stream_began(const tr__remote_peer *p, const tr_msg *item);
/* So many more items may come of a stream of ours. */
void tr__stream_granted(const tr__remote_peer *p, const tr_msg *demand);
/* A stream of theirs was handed on, and was given up or is over meanwhile: the cancel went to who had it before, so who has it
 * now is told from here. What the asker's node would send may not come any more. */
bool tr__stream_is_given_up(const tr__remote_peer *p, const tr_msg *moved);

/* A monitor of theirs on an actor of ours; kept so that it is taken back when the connection breaks. */
bool tr__watching_put(tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t number,
                      tr_addr target);
bool tr__watching_take(tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t number,
                       tr_addr *target);
void tr__watching_end(tr__remote_peer *p);

/* ---- links, stops, and what may be done (remote/links.c) ----
 *
 * A tie is what the connection knows of a link between an actor here and one there, a block among the waits: it becomes the
 * exit signal to the one here if the connection breaks. */

/* Make one, if there isn't one. False: no memory, or too many. */
bool tr__tie_make(tr__remote_peer *p, tr_addr ours, tr_addr theirs);
/* A LINK is about to leave. Its block is the tie, and is to wait; false: there is one already. */
bool tr__tie_sent(tr__remote_peer *p, tr_msg *link);
/* An UNLINK, an UNLINKED, an EXIT leaves. */
void tr__tie_leaving(tr__remote_peer *p, const tr_msg *msg);
/* Their records. */
void tr__take_link(tr__remote_peer *p, const tr__record *r);
void tr__take_unlink(tr__remote_peer *p, const tr__record *r);
void tr__take_unlinked(tr__remote_peer *p, const tr__record *r);
void tr__take_exit(tr__remote_peer *p, const tr__record *r);
void tr__take_stop(tr__remote_peer *p, const tr__record *r);
void tr__take_rights(tr__remote_peer *p, const tr__record *r);
/* Tell it what it may do, if that is less than all, and it hasn't been told. */
void tr__tell_rights(tr__remote_peer *p);
/* The reason in an EXIT or a DOWN of theirs. */
void tr__take_reason(const tr__record *r, tr__reason *reason);
/* It does what no peer does, or there is no memory for what must be: the connection ends. */
void tr__remote_cut_for(tr__remote_peer *p, tr_err code, const char *what);
/* ---- what is looked at while it comes, and refusals (remote/arrival.c) ---- */

/* A large message begins, and goes on: as in transport/flow.h. */
tr__unit_way tr__arrival_begins(tr__remote_peer *p, uint64_t whole, const uint8_t *bytes, size_t length);
bool tr__arrival_part(tr__remote_peer *p, const uint8_t *bytes, size_t length, bool last);
bool tr__arrival_no_memory(tr__remote_peer *p, uint64_t whole, const uint8_t *bytes, size_t length);
void tr__arrival_end(tr__remote_peer *p);
/* Whether it is larger than its receiver takes: then it goes back. It has been counted as received. */
bool tr__arrival_refuse_larger(tr__remote_peer *p, const tr__record *r);
tr_err tr__put_refused(tr__remote_peer *p, tr__record *record, tr_msg *msg);
void tr__take_refused(tr__remote_peer *p, const tr__record *r);

/* ---- of remote/out.c and remote/in.c ---- */

/* A record and its bytes, if any: on the normal lane, or behind what its pair has on the bulk lane. */
tr_err tr__remote_put_record(tr__remote_peer *p, tr__pair *pair, tr__record *record, const void *bytes);
/* One record that came, as from a batch. */
tr_err tr__remote_take(tr__remote_peer *p, const tr__record *r);
/* An ask of ours that waits comes to nothing: its block is taken. r: of whom, and by whom. */
void tr__remote_fail_wait(tr__loop *loop, uint64_t node, const tr__record *r, tr_msg *wait, tr_err code,
                          const char *text, size_t length);
/* An answer that was handed on, and that nobody waits for there either. Takes msg. */
void tr__remote_late(tr__loop *loop, tr_msg *msg);
/* One that waited was handed on to an actor of another node, or of this one: its block goes there. Any loop. Takes ask. */
void tr__remote_goes_on(tr__loop *loop, tr_msg *ask, tr_addr callee);
/* Tell the asker, on that node, that its ask came to nothing here. Any loop. */
void tr__remote_refuse_ask(tr__loop *loop, uint64_t node, const tr__record *r, const tr_error *error);
/* A message of that type (NULL: it isn't known) can't be had: counted, and its asker hears. `name`: its node's, for the log.
 * Any loop. */
void tr__remote_undecoded(tr__loop *loop, uint64_t node, const char *name, const tr_typeinfo *type,
                          const tr__record *r, tr_drop why, const tr_error *error);
/* A message or ask of that node was decoded: what else its record says. Any loop. */
void tr__remote_fill(tr__loop *loop, uint64_t node, tr_msg *msg, const tr__record *r);
/* An item that can't be had leaves a hole: the stream ends here, and there. */
void tr__remote_item_lost(tr__remote_peer *p, const tr__record *r, tr_err code);

/* ---- types of theirs (remote/types.c) ---- */

/* A TYPE record: TR_EPROTO if it is out of its order or too large; TR_ENOMEM. */
tr_err tr__hear_type(tr__remote_peer *p, const tr__record *r);
/* What messages of that number, which was told, are read as; NULL: nothing here can. */
const tr_typeinfo *tr__heard_type_of(const tr__remote_peer *p, uint32_t number);
/* A message of the record's type, which was told, and body, not yet of any kind. NULL: *why and *error say why not. */
tr_msg *tr__remote_decode(tr__remote_peer *p, const tr__record *r, tr_drop *why, tr_error *error);
/* The same of a type and a record whose message is small by tr__is_small. Any loop. */
tr_msg *tr__remote_decode_small(tr__loop *loop, const tr_typeinfo *type, const tr__record *r, tr_drop *why,
                                tr_error *error);
/* Of what it sends nothing has to be looked at. */
static inline bool tr__rights_are_free(const tr_rights *rights)
{
    const uint32_t most = TR_MAY_SEND | TR_MAY_SUBSCRIBE;
    return (rights->may & most) == most;
}
static inline bool tr__is_small(const tr_typeinfo *type, const tr__record *r)
{
    return type->heads && r->length <= TR__POOL_MAX &&
           sizeof(tr_msg) + type->size + r->length <= TR__POOL_MAX;
}
void tr__heard_types_end(tr__remote_peer *p);

#endif
