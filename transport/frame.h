/* The frames that travel between nodes: a fixed header of 24 bytes and a body. Pure functions over bytes: no
 * state, no allocation, any thread. Whatever bytes come in, the answer is a frame or an error with a text.
 *
 *   0 magic "TRPE" | 4 version | 5 kind | 6 lane | 7 flags (1: sealed) | 8 u32 length of what follows the
 *   header | 12 u32 crc32c of all other bytes of header and body; 0 if sealed | 16 u64 sequence
 *
 * A sealed frame's body is encrypted, and a tag of 16 bytes follows it that proves header and body (psk.h).
 * Numbers are little-endian. The sequence counts the frames of one (direction, lane) from 1 without a gap.
 * The normal lane carries BATCH, the bulk lane CHUNK, each against a credit of its own (GRANT, BULK_GRANT). The
 * control lane carries all else and needs no credit; a body there is at most 4 KiB.
 *
 * A CHUNK is a part of a unit: one large message, or several small ones that go behind one. Its body is u64 how many
 * bytes of the unit are left, its own included | u32 messages in the unit, if this is its last chunk, else 0 | those
 * bytes. So the first chunk says how long the unit is, and each must go on where the one before it ended. Only a node
 * whose HELLO says TR__CAPABILITY_LANES is sent chunks or bulk grants. */
#ifndef TR_TRANSPORT_FRAME_H
#define TR_TRANSPORT_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <troupe/err.h>

#define TR__FRAME_VERSION     1
#define TR__FRAME_HEADER      24
#define TR__FRAME_TAG         16                     /* what a sealed frame has behind its body */
#define TR__BATCH_OVERHEAD    (TR__FRAME_HEADER + 4) /* what a batch frame costs beyond its messages */
#define TR__FRAME_SIZE_NORMAL (128u << 10)           /* what a batch frame is gathered up to */
#define TR__FRAME_SIZE_MAX    ((16u << 20) + TR__BATCH_OVERHEAD) /* a single large message, without lanes */
#define TR__CHUNK_OVERHEAD    (TR__FRAME_HEADER + 12)
#define TR__CHUNK_FRAME_MAX   (128u << 10) /* tag included: two fill what is received at a time */
#define TR__FRAME_SIZE_HELLO  4096u        /* any frame until the handshake is done; any control frame */

#define TR__NAME_MAX    63  /* bytes of a node's or a cluster's name */
#define TR__ADDRESS_MAX 255 /* bytes of an address as text */
#define TR__KEY_SIZE    32  /* bytes of a shared key, and of a public one in a KEY frame */

typedef enum tr__frame_kind {
    TR__FRAME_HELLO = 1,  /* who dials tells who it is */
    TR__FRAME_HELLO_ACK,  /* who accepted tells who it is */
    TR__FRAME_REFUSE,     /* why the sender will not go on; the last frame of its direction */
    TR__FRAME_HEARTBEAT,  /* no body */
    TR__FRAME_ACK,        /* what was received of the normal lane and of the bulk lane */
    TR__FRAME_GRANT,      /* how many bytes the normal lane may carry, counted from the beginning */
    TR__FRAME_GOODBYE,    /* no batch and no chunk follows; no body */
    TR__FRAME_BATCH,      /* u32 number of messages, then the messages */
    TR__FRAME_KEY,        /* before HELLO, between nodes that have a key: a public key for this connection */
    TR__FRAME_CHUNK,      /* a part of what goes by the bulk lane */
    TR__FRAME_BULK_GRANT, /* as GRANT, for the bulk lane */
    TR__FRAME_KINDS
} tr__frame_kind;

typedef enum tr__lane { TR__LANE_CONTROL, TR__LANE_NORMAL, TR__LANE_BULK, TR__LANES } tr__lane;

typedef struct tr__frame {
    tr__frame_kind kind;
    tr__lane lane;
    uint32_t length; /* of the body */
    uint32_t crc;
    size_t size; /* of the whole frame: header, body, and tag if sealed */
    bool sealed;
    uint64_t sequence;
    const uint8_t *body; /* borrowed from the input of tr__frame_decode */
} tr__frame;

/* Who a node is. Names: 1 to TR__NAME_MAX of [A-Za-z0-9_.-]. */
typedef struct tr__hello {
    uint8_t version_min, version_max;
    uint32_t capabilities; /* bits, as below; what isn't known is passed over */
    uint64_t id;           /* the random incarnation of this run of the node; never 0 */
    char cluster[TR__NAME_MAX + 1];
    char name[TR__NAME_MAX + 1];
    char address[TR__ADDRESS_MAX + 1]; /* where others reach it; "" = nowhere */
    uint64_t message_max;              /* with TR__CAPABILITY_LANES: bytes of a message that it takes */
} tr__hello;

#define TR__CAPABILITY_LANES   1u   /* it knows the bulk lane */
#define TR__CAPABILITY_LEARN   2u   /* it wants to be told the addresses of other nodes */
#define TR__CAPABILITY_CONFIRM 4u   /* it confirms messages (actors/remote/confirmed.h) */
#define TR__CAPABILITY_LINKS   16u  /* it knows links and stops between nodes, and rights that it is told */
#define TR__CAPABILITY_CLAIMS  32u  /* its warden takes names in the cluster (actors/names/claims.h) */
#define TR__CAPABILITY_WHY     64u  /* and answers "why" (actors/operator/peer.c) */
#define TR__CAPABILITY_REFUSE  128u /* it hears that a message was refused while that came */
#define TR__CAPABILITY_WOUND   256u /* it knows that a transaction may be wounded (actors/tx/lock.c) */
#define TR__CAPABILITY_LOGS    512u /* it remembers what logs of transactions hold (actors/tx/remember.c) */
/* It may be asked by another participant of a transaction that is in doubt (actors/tx/doubt.c). */
#define TR__CAPABILITY_SIBLINGS 1024u
#define TR__CAPABILITY_EMIT     2048u /* it takes what transactions emit (actors/tx/inbox.c) */

typedef struct tr__ack {
    uint64_t sequence; /* how many batches and chunks were received */
    uint64_t messages; /* in them, those of chunks with their last */
} tr__ack;

/* The word for a kind ("hello-ack"). Static storage. */
const char *tr__frame_kind_word(tr__frame_kind kind);

/* Check and read a header of TR__FRAME_HEADER bytes, but not its checksum: magic, version, kind, lane, flags,
 * the kind's own bound of length, and frame_max for header and body together. TR_EPROTO or TR_EVERSION. */
tr_err tr__frame_header(const uint8_t *bytes, size_t frame_max, tr__frame *frame, tr_error *error);
/* The same for one whole frame at bytes[0 .. length): it must be there in full, nothing behind it is looked
 * at, and the checksum must be right (of a sealed one nothing is checked: it was opened, psk.h). frame->body
 * points into bytes. */
tr_err tr__frame_decode(const uint8_t *bytes, size_t length, size_t frame_max, tr__frame *frame,
                        tr_error *error);
/* Whether `length` (any number) bytes can be the beginning of a frame, as far as can be said: the magic. */
bool tr__frame_may_begin(const uint8_t *bytes, size_t length);

/* Write the header in front of the body that will be sealed: without a checksum. */
void tr__frame_put_header(uint8_t *bytes, tr__frame_kind kind, uint32_t body_length, uint64_t sequence);
/* Turn the header of a frame that was written into a sealed one's. Its size with the tag. */
size_t tr__frame_mark_sealed(uint8_t *bytes);
/* Write the header in front of the body that already stands at bytes + TR__FRAME_HEADER, with its checksum. */
void tr__frame_finish(uint8_t *bytes, tr__frame_kind kind, uint32_t body_length, uint64_t sequence);

/* Bodies. The encoders write a whole frame at bytes, which has room for 512 bytes, and
 * return its size. The decoders answer TR_EPROTO and a text for anything that isn't exactly such a body. */
size_t tr__frame_put_empty(uint8_t *bytes, tr__frame_kind kind, uint64_t sequence); /* HEARTBEAT, GOODBYE */
size_t tr__frame_put_hello(uint8_t *bytes, tr__frame_kind kind, uint64_t sequence, const tr__hello *hello);
size_t tr__frame_put_refuse(uint8_t *bytes, uint64_t sequence, const tr_error *why);
size_t tr__frame_put_ack(uint8_t *bytes, uint64_t sequence, const tr__ack *ack);
size_t tr__frame_put_grant(uint8_t *bytes, uint64_t sequence, uint64_t bytes_total);
size_t tr__frame_put_bulk_grant(uint8_t *bytes, uint64_t sequence, uint64_t bytes_total);
size_t tr__frame_put_key(uint8_t *bytes, uint64_t sequence, const uint8_t *public_key);
/* Bytes behind the known fields of a HELLO are passed over: a later version may append. */
tr_err tr__frame_get_hello(const tr__frame *frame, tr__hello *hello, tr_error *error);
/* A code this version doesn't know becomes TR_EREFUSED. Unprintable bytes of the text become '?'. */
tr_err tr__frame_get_refuse(const tr__frame *frame, tr_error *why, tr_error *error);
tr_err tr__frame_get_ack(const tr__frame *frame, tr__ack *ack, tr_error *error);
tr_err tr__frame_get_grant(const tr__frame *frame, uint64_t *bytes_total,
                           tr_error *error); /* of both lanes */
/* TR_EVERSION if it seals in another way than this version does. public_key: TR__KEY_SIZE bytes. */
tr_err tr__frame_get_key(const tr__frame *frame, uint8_t *public_key, tr_error *error);
/* The messages of a BATCH; *messages >= 1 and *length >= *messages. */
tr_err tr__frame_get_batch(const tr__frame *frame, const uint8_t **bytes, size_t *length, uint32_t *messages,
                           tr_error *error);
/* Put a batch's number of messages where its body begins. */
void tr__frame_put_count(uint8_t *body, uint32_t messages);

/* What stands in front of a chunk's `length` bytes: TR__CHUNK_OVERHEAD bytes, without a checksum. */
void tr__frame_put_chunk(uint8_t *bytes, uint64_t left, uint32_t messages, uint32_t length,
                         uint64_t sequence);
/* The checksum of what put_chunk wrote, to go on from over the chunk's bytes; and put it there. */
uint32_t tr__frame_chunk_checksum(const uint8_t *bytes);
void tr__frame_put_checksum(uint8_t *bytes, uint32_t crc);
/* left >= length >= 1, and messages is 0 but in the last. */
tr_err tr__frame_get_chunk(const tr__frame *frame, const uint8_t **bytes, size_t *length, uint64_t *left,
                           uint32_t *messages, tr_error *error);

/* Whether the text is a name as above; otherwise TR_EINVAL and a text that calls it `what`. */
tr_err tr__name_check(const char *what, const char *name, tr_error *error);

#endif
