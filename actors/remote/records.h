/* Records that are written or read by another loop than the one that has the connections: a block of many messages of one
 * peer, as they stand in a batch (wire.h), which travels through an outbox like a message.
 *
 *   an actor's loop ──writes (far.c)──▶ block ──outbox──▶ loop 0 ──one copy──▶ the open frame
 *   a batch ──loop 0 copies (hand.c)──▶ block ──outbox──▶ the receivers' loop ──reads──▶ mailboxes
 *
 * E1  A block is in its outbox before whatever its loop sends behind it to the same actors: what goes to that peer, or to that
 *     loop, by itself closes it first. So order per pair holds (M3).
 * E2  A block counts for its messages: accepted and passed where they are written, arrived, and then sent or dropped, each,
 *     where it is taken.
 * E3  The numbers of types in it are those of its route's epoch, and it names the types: it can be read, and dropped, by
 *     whoever has it, when its connection is gone as well.
 * E4  Who hands on has drawn a place for each message, so what waits for a loop is bounded by its actors' mailboxes. Answers have
 *     none: of those no more are on their way than asks wait, or 64 MiB of what comes too late; else the connection is cut.
 * E5  An ask's block waits where its record was written: on loop 0 beside the connection (waits.h), else beside the loop's part
 *     of the route. Loop 0 hands an answer that nobody waits for there on to its asker's loop, and tells all loops of a
 *     connection's end, behind the answers that came by it. */
#ifndef TR_ACTORS_REMOTE_RECORDS_H
#define TR_ACTORS_REMOTE_RECORDS_H

#include "actors/loop.h"
#include "actors/remote/wire.h"

#define TR__FAR_MAX       4096 /* bytes of a message as it lies in memory, that goes this way or the short one */
#define TR__RECORDS_BLOCK 16384 /* bytes, all in all */
#define TR__RECORDS_TYPES 8     /* in one block */

typedef struct tr__records {
    uint64_t from_node, to_node;
    uint32_t count;   /* messages that are left */
    uint32_t answers; /* of all of them, to another loop: for E4 */
    uint32_t at, end; /* the bytes that are left */
    uint32_t type_count;
    struct {
        const tr_typeinfo *type;
        uint32_t number;
    } types[TR__RECORDS_TYPES];
    uint8_t bytes[];
} tr__records;

static inline tr__records *tr__records_of(const tr_msg *msg)
{
    return tr__msg_body(msg);
}

/* For how many messages it counts. */
static inline uint32_t tr__msg_count(const tr_msg *msg)
{
    return msg->kind == TR__MSG_RECORDS ? tr__records_of(msg)->count : 1;
}

#define TR__RECORD_COST 256 /* of a message on its way, at least: many small ones are many as well */
static inline size_t tr__records_cost(const tr_msg *msg)
{
    const tr__records *r = tr__records_of(msg);
    size_t least = (size_t)r->count * TR__RECORD_COST, bytes = r->end - r->at;
    return bytes > least ? bytes : least;
}

/* An empty one; NULL: no memory. */
tr_msg *tr__records_open(tr__loop *loop, uint64_t from_node, uint64_t to_node);
/* Where a record of up to `length` bytes goes, of a type (NULL: of none) that has that number; NULL: it is full. */
uint8_t *tr__records_place(tr_msg *msg, const tr_typeinfo *type, uint32_t number, size_t length);
/* It is there, and has so many bytes. */
static inline void tr__records_placed(tr_msg *msg, size_t length)
{
    tr__records *r = tr__records_of(msg);
    r->end += (uint32_t)length;
    r->count++;
}
/* The block in its place that what it has needs: a few records don't keep a large one. Takes msg. */
tr_msg *tr__records_fit(tr__loop *loop, tr_msg *msg);
/* One of its own for the record at its front, which it then hasn't any more; NULL: no memory, and nothing is done. */
tr_msg *tr__records_split(tr__loop *loop, tr_msg *msg, const tr__record *record, size_t used);
/* The type of one of its records; NULL: it has none. */
const tr_typeinfo *tr__records_type(const tr__records *r, const tr__record *record);
/* The record at its front, *used bytes long, which stays there. */
void tr__records_front(const tr__records *r, tr__record *record, size_t *used);
static inline tr__record tr__records_first(const tr_msg *msg)
{
    tr__record record;
    size_t used;
    tr__records_front(tr__records_of(msg), &record, &used);
    return record;
}
/* That one is gone. */
static inline void tr__records_passed(tr__records *r, size_t used)
{
    r->at += (uint32_t)used;
    r->count--;
}
/* None of its messages can be delivered: each is counted and reported. Takes msg. */
void tr__records_drop(tr__loop *loop, tr_msg *msg, tr_drop why);

/* ---- writing (short.c): what stays the same from one record to the next ---- */

typedef struct tr__writer {
    const tr_typeinfo *last_type; /* told or looked up last, and its number */
    uint32_t last_number;
    tr__alike alike; /* of the last message, and its type */
    const tr_typeinfo *alike_type;
} tr__writer;

/* Whether the last one was such a message. */
static inline bool tr__writer_is_alike(const tr__writer *w, tr_addr to, tr_addr from, const tr_typeinfo *type)
{
    const tr__record *r = &w->alike.record;
    return w->alike_type == type && r->to_slot == to.slot && r->to_generation == to.generation &&
           r->from_slot == from.slot && r->from_generation == from.generation;
}
/* The head of one that isn't alike; the next ones may be like it. */
size_t tr__writer_head(tr__writer *w, uint8_t *at, tr_addr to, tr_addr from, const tr_typeinfo *type,
                       size_t room);
/* Write the record of that body, which takes up to `room` bytes; `at` has TR__WIRE_HEADER_MAX more. The type is the last one,
 * or it is alike. Returns its bytes. */
static inline size_t tr__writer_put(tr__writer *w, uint8_t *at, bool alike, tr_addr to, tr_addr from,
                                    const tr_typeinfo *type, const void *body, size_t room)
{
    size_t head = alike ? tr__alike_put(at, &w->alike, room) : tr__writer_head(w, at, to, from, type, room);
    size_t length = tr__cbor_encode(type, body, at + head, room);
    return tr__wire_resize(at, head, room, length) + length;
}
/* The same of any record that has a body, without a writer. */
size_t tr__writer_put_record(uint8_t *at, tr__record *record, const tr_typeinfo *type, const void *body,
                             size_t room);

/* ---- from other loops (far.c) ---- */

struct tr__route;

/* As tr__remote_put, on a loop that hasn't the connections. */
bool tr__far_put(tr__loop *loop, struct tr__route *route, tr_addr to, tr_addr from, const tr_typeinfo *type,
                 const void *body, size_t size);
/* A message for that node that was made already, counted as accepted: true if it was written, and is taken. An ask's block
 * waits here for its answer (E5). */
bool tr__far_send(tr__loop *loop, struct tr__route *route, uint64_t node, tr_msg *msg);
/* Something else goes that way: what was written before goes first. An ask that it cancels waits no more. */
void tr__far_close(tr__loop *loop, const struct tr__route *route, const tr_msg *msg);
/* Connections have ended: what waits for an answer by them fails. At the beginning of a turn, behind the inbox. */
void tr__far_ended(tr__loop *loop);
/* The block of an ask that waits for that connection's answer, taken out; NULL: there is none. */
tr_msg *tr__far_wait_take(tr__loop *loop, const tr_msg *records, const tr__record *record);
/* So many of the answers in msg, which weigh that, have come: none of them is on its way any more. */
void tr__far_taken(tr__loop *loop, const tr_msg *msg, uint32_t answers, size_t bytes);
/* An answer became a message on the connection's loop. Takes msg. */
void tr__far_answered(tr__loop *loop, tr_msg *msg);
static inline size_t tr__answer_cost(const tr_msg *msg)
{
    return sizeof(*msg) + msg->size;
}
/* The loop's end: nobody waits. */
void tr__far_end(tr__loop *loop);
/* All that was written goes to the outbox: at the end of a turn. */
void tr__far_flush(tr__loop *loop);
void tr__far_fini(tr__loop *loop);

/* ---- to other loops (hand.c) ---- */

struct tr__remote_peer;

/* Hand a record that came on to its receiver's loop, as it stands; false: it is for this loop, or not for that way. */
bool tr__hand_on(struct tr__remote_peer *p, const tr__record *record, const uint8_t *bytes, size_t used);
/* What was written for that loop is to go: to its outbox. */
void tr__hand_close(tr__loop *loop, tr__chain *out, uint8_t index);
/* An answer, a failure, or where an ask went, of one that doesn't wait here: to its asker's loop, if that is another; false: it
 * isn't. Without memory the connection ends. */
bool tr__hand_answer(struct tr__remote_peer *p, const tr__record *record);
/* They came. Takes msg. */
void tr__handed_take(tr__loop *loop, tr_msg *msg);

#endif
