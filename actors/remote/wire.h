/* Actor messages on a connection: how one becomes a record of bytes, and back. Pure functions over bytes; any
 * thread. The decoder trusts nothing: every length is checked against what is there before it is used.
 *
 * A record, numbers as LEB128 varints unless a width is given:
 *
 *     kind (1 byte), to.slot, to.generation, from.slot, from.generation, then by kind
 *     TYPE                  number, id (8 bytes), fingerprint (8 bytes), schema      (to and from are 0)
 *     NORMAL                type number, body
 *     EXPIRING              remaining ns + 1, type number, body
 *     ASK                   ask, remaining ns + 1 (0: no deadline), type number, body
 *     REPLY                 ask, type number, body
 *     FAILURE               ask, code, text
 *     CANCEL                ask
 *     MONITOR, DEMONITOR    number
 *     DOWN                  number, exit kind, code, text
 *     MOVED                 ask, address of who has it now
 *     STREAM_ASK            ask, remaining ns + 1, window, type number, body
 *     ITEM                  ask, outflow, type number, body
 *     DEMAND                ask, outflow, count
 *     LINK                  nothing
 *     UNLINK, UNLINKED      number
 *     EXIT                  exit kind, code, text
 *     STOP                  exit kind
 *     RIGHTS                rights (to and from are 0)
 *     REFUSED               ask (0: it was none), unit, code, type number, text
 *
 * The last but one five go only to a node that has TR__CAPABILITY_LINKS, the last one to one that has _REFUSE.
 *
 * An address is node (8 bytes), slot, generation. A body is a length and that many bytes of CBOR; a text, and a schema, is
 * a length and that many bytes. A type's number is
 * the sender's (in REFUSED the one of who sent what was refused), told by a TYPE record before its first use on that connection, so a schema is compared once a
 * connection. */
#ifndef TR_ACTORS_REMOTE_WIRE_H
#define TR_ACTORS_REMOTE_WIRE_H

#include <troupe/err.h>
#include <troupe/message.h>

typedef enum tr__wire_kind {
    TR__WIRE_TYPE = 1,
    TR__WIRE_NORMAL,
    TR__WIRE_ASK,
    TR__WIRE_REPLY,
    TR__WIRE_FAILURE,
    TR__WIRE_CANCEL,
    TR__WIRE_MONITOR,
    TR__WIRE_DEMONITOR,
    TR__WIRE_DOWN,
    TR__WIRE_MOVED,
    TR__WIRE_EXPIRING,   /* a NORMAL with a time to live */
    TR__WIRE_STREAM_ASK, /* an ASK that has items before its answer (flow.h) */
    TR__WIRE_ITEM,
    TR__WIRE_DEMAND,
    TR__WIRE_LINK,
    TR__WIRE_UNLINK,
    TR__WIRE_UNLINKED, /* the answer to it */
    TR__WIRE_EXIT,
    TR__WIRE_STOP,
    TR__WIRE_RIGHTS,  /* what the receiver may do at the sender's (rights.h) */
    TR__WIRE_REFUSED, /* a message that came is not taken: it goes back as this, to its sender */
    TR__WIRE_KINDS
} tr__wire_kind;

typedef struct tr__record {
    tr__wire_kind kind;
    uint32_t to_slot, to_generation, from_slot, from_generation;
    uint64_t ask;          /* or the number of a monitor or an unlink, or the rights */
    uint64_t remaining_ns; /* UINT64_MAX: none */
    uint64_t outflow;      /* its id at who sends the items; or the number of the unit that was refused */
    uint32_t window;       /* or how many items are demanded */
    uint32_t type;         /* number */
    uint32_t exit_kind, code;
    uint64_t type_id, fingerprint;
    tr_addr moved_to;
    const uint8_t *body; /* CBOR, or the text; borrowed from the batch */
    size_t length;
    size_t head; /* read: the bytes before the body's length */
} tr__record;

#define TR__WIRE_HEADER_MAX 96 /* of a record without its body */

/* Write the record without its body's bytes, which the caller puts behind; the length is the body's. Returns
 * the bytes written, at most TR__WIRE_HEADER_MAX. */
size_t tr__wire_put(uint8_t *out, const tr__record *record);
/* Bytes of a number. */
size_t tr__wire_number_size(uint64_t number);
/* A record was put whose body might have `claimed` bytes, `head` bytes without that, and behind it stands a body that has only
 * `length`: make it say so. Returns the bytes of the record without its body, which may have moved. */
size_t tr__wire_resize(uint8_t *out, size_t head, size_t claimed, size_t length);
/* The record at the front of `in`; *used says how long it is. TR_EPROTO with a text for anything else. */
tr_err tr__wire_get(const uint8_t *in, size_t length, tr__record *record, size_t *used, tr_error *error);
/* The head of a record that has a body, of which maybe only the beginning is there: record->body is where it begins,
 * record->length what it says. False: it isn't one, or not whole. */
bool tr__wire_get_head(const uint8_t *in, size_t length, tr__record *record);

/* ---- many alike ----
 * Messages of one type from one actor to another have heads that are alike but for the body's length. Who puts or gets many of
 * them keeps those bytes. */

#define TR__ALIKE_MAX 16

typedef struct tr__alike {
    uint8_t size; /* of them; 0: none is kept */
    uint8_t
        others; /* that came since it was kept: of many only some are kept, since keeping one costs more than another gains */
    uint8_t bytes[TR__ALIKE_MAX], mask[TR__ALIKE_MAX];
    tr__record record; /* what they say */
} tr__alike;

/* Keep the head of that plain message, whose bytes are there, if it is short enough and others didn't come in turn with the one
 * that is kept; true: it is kept now. */
bool tr__alike_keep(tr__alike *alike, const uint8_t *bytes, const tr__record *record);
/* Write a head for a body of up to `room` bytes, as tr__wire_put does; `out` has TR__WIRE_HEADER_MAX bytes. */
size_t tr__alike_put(uint8_t *out, const tr__alike *alike, size_t room);
/* As tr__wire_get, into alike->record, if the record at the front of `in` is alike, whole and in order; false: it is to be got. */
bool tr__alike_get(tr__alike *alike, const uint8_t *in, size_t length, size_t *used);

#endif
