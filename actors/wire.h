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
 *
 * An address is node (8 bytes), slot, generation. A body is a length and that many bytes of CBOR; a text, and a schema, is
 * a length and that many bytes. A type's number is
 * the sender's, told by a TYPE record before its first use on that connection, so a schema is compared once a
 * connection. */
#ifndef TR_ACTORS_WIRE_H
#define TR_ACTORS_WIRE_H

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
    TR__WIRE_KINDS
} tr__wire_kind;

typedef struct tr__record {
    tr__wire_kind kind;
    uint32_t to_slot, to_generation, from_slot, from_generation;
    uint64_t ask;          /* or the monitor's number */
    uint64_t remaining_ns; /* UINT64_MAX: none */
    uint64_t outflow;      /* its id at who sends the items */
    uint32_t window;       /* or how many items are demanded */
    uint32_t type;         /* number */
    uint32_t exit_kind, code;
    uint64_t type_id, fingerprint;
    tr_addr moved_to;
    const uint8_t *body; /* CBOR, or the text; borrowed from the batch */
    size_t length;
} tr__record;

#define TR__WIRE_HEADER_MAX 96 /* of a record without its body */

/* Write the record without its body's bytes, which the caller puts behind; the length is the body's. Returns
 * the bytes written, at most TR__WIRE_HEADER_MAX. */
size_t tr__wire_put(uint8_t *out, const tr__record *record);
/* The record at the front of `in`; *used says how long it is. TR_EPROTO with a text for anything else. */
tr_err tr__wire_get(const uint8_t *in, size_t length, tr__record *record, size_t *used, tr_error *error);

#endif
