/* What the transaction managers of two nodes say to each other, and what they write into their logs. Plain data;
 * any thread.
 *
 *     caller K -> participant P   CALL      do this in the branch of that actor          P -> K  CALLED
 *     K -> coordinator C          COMMIT    decide; the body lists the parties           C -> K  OUTCOME
 *     C -> P (read-only: K -> P)  PREPARE   can this branch be committed?                P -> C  VOTE
 *     C -> P                      DECIDE    it is committed, or aborted                  P -> C  ACK
 *     P -> C, or anybody -> C     INQUIRE   what became of it? (actor "": decide now)    C -> .  ANSWER
 *     P -> another participant    ASK       we are in doubt, and who decides is silent: what do   . -> P  ANSWER
 *                                           you know?
 *     P -> K                      CALLED    with number 0: that branch was wounded
 *     K -> P                      DROP      the caller gave it up before COMMIT
 *     each -> each                HELLO     the first on a connection: our log, and what we remember of yours
 *
 * Every frame may be lost, come twice, or late: each handler is idempotent by (id, actor, sender's node). */
#ifndef TR_ACTORS_TX_FRAME_H
#define TR_ACTORS_TX_FRAME_H

#include <troupe/tx.h>

#include "actors/tx/log_store.h" /* TR__LOG_ID_BYTES */

typedef enum tr__tx_kind {
    TR__TX_CALL = 1,
    TR__TX_CALLED,
    TR__TX_COMMIT,
    TR__TX_OUTCOME,
    TR__TX_PREPARE,
    TR__TX_VOTE,
    TR__TX_DECIDE,
    TR__TX_ACK,
    TR__TX_INQUIRE,
    TR__TX_ANSWER,
    TR__TX_DROP,
    TR__TX_ASK,   /* only to a node with TR__CAPABILITY_SIBLINGS */
    TR__TX_HELLO, /* only to a node with TR__CAPABILITY_LOGS */
    TR__TX_KINDS
} tr__tx_kind;

/* `status` of a VOTE, a DECIDE, an ANSWER, an OUTCOME. */
typedef enum tr__tx_verdict {
    TR__TX_NO = 1,   /* vote */
    TR__TX_YES,      /* vote: it can, whatever happens; redo is on the disk */
    TR__TX_READ,     /* vote: wrote nothing, and is released */
    TR__TX_PENDING,  /* answer: not decided yet; ask again */
    TR__TX_LOG_LOST, /* answer: the log that could tell isn't this one */
    TR__TX_COMMITTED,
    TR__TX_ABORTED,
    TR__TX_UNKNOWN,   /* outcome: the coordinator can't be heard */
    TR__TX_DONT_KNOW, /* answer to an ASK: no record of it, and no branch that could still refuse */
    TR__TX_EXPIRED,   /* answer: asked too late; only to a node with TR__CAPABILITY_LOGS */
    TR__TX_VERDICTS
} tr__tx_verdict;

/* One message type for all of them; what a kind doesn't use is zero.
 *   from        name of the sender's node
 *   log         id of the sender's log (CALLED, PREPARE, DECIDE), or of the one expected (INQUIRE)
 *   boot        the participant's incarnation: CALLED says it, PREPARE, COMMIT and ASK repeat it
 *   clock       the sender's logical clock
 *   actor       the participant's name on its node; of an ANSWER, who had asked. text of an ASK: who asks
 *   number      of the call within its branch, from 1
 *   remaining   ns until the deadline (CALL, COMMIT, PREPARE, DROP, a DECIDE that aborts); wait: ns for the lock (CALL)
 *   reads, writes  calls of each sort that the branch has executed
 *   type, fingerprint, schema, body  of the user's message or reply (the schema, for a reader that declares another
 *               version of it); body of COMMIT and PREPARE: the parties (frame.c)
 *   wrote       whether the branch has written anything so far (CALLED). Absent, from a node that doesn't say: if a call
 *               that may has been executed
 *   durable     how far the sender's log is on its disk, an LSN; 0: it doesn't say. Absent: from a node that never does
 *   HELLO: log and boot are the sender's, number 1: the receiver's is wanted; body: remember.c
 *   priority    of the transaction (CALL): its caller's clock when it was first attempted, the less the older. Absent,
 *               from a node that knows none: the time in its id */
TR_MESSAGE(tr__tx_frame, (u32, kind), (bytes, id), (string, from), (bytes, log), (u64, boot), (u64, clock),
           (string, actor), (u32, number), (u64, remaining), (u64, wait), (u32, reads), (u32, writes),
           (u32, status), (u32, reason), (string, text), (u64, ts), (u64, type), (u64, fingerprint),
           (bytes, body), (optional, string, schema), (optional, u64, priority), (optional, u32, wrote),
           (optional, u64, durable))

/* Add the schema of its type, which this program declares, if it has one. Borrowed for ever. */
void tr__tx_put_schema(tr__tx_frame *frame);

/* One participant of a transaction. */
typedef struct tr__tx_party {
    char node[TR_NAME_MAX], actor[TR_NAME_MAX];
    uint64_t boot;
    uint32_t reads, writes;
} tr__tx_party;

/* Words, static; of a number that is none as well. */
const char *tr__tx_reason_word(uint32_t reason);
const char *tr__tx_reason_meaning(uint32_t reason);
const char *tr__tx_status_word(uint32_t status); /* of a tr_tx_status */

/* ---- bytes: a growing buffer, and a reader that trusts nothing ----------------------------------------- */

typedef struct tr__tx_buffer {
    uint8_t *bytes;
    size_t length, room;
    bool failed; /* no memory: what was put since is missing */
} tr__tx_buffer;

void tr__tx_put_number(tr__tx_buffer *buffer, uint64_t number);
void tr__tx_put_bytes(tr__tx_buffer *buffer, const void *bytes, size_t length);
void tr__tx_put_text(tr__tx_buffer *buffer, const char *text);
/* Without their length. */
void tr__tx_put_raw(tr__tx_buffer *buffer, const void *bytes, size_t length);
void tr__tx_buffer_free(tr__tx_buffer *buffer);

typedef struct tr__tx_reader {
    const uint8_t *at, *end;
    bool failed; /* something wasn't there: zeros since */
} tr__tx_reader;

uint64_t tr__tx_get_number(tr__tx_reader *reader);
/* Borrowed. */
tr_bytes tr__tx_get_bytes(tr__tx_reader *reader);
/* Copied, with a NUL; longer than room - 1, or with a NUL in it: failed. */
void tr__tx_get_text(tr__tx_reader *reader, char *out, size_t room);
/* All was there, and nothing is left. */
bool tr__tx_read_all(const tr__tx_reader *reader);

void tr__tx_put_parties(tr__tx_buffer *buffer, const tr__tx_party *parties, uint32_t count);
/* False: malformed, none, or too many. `parties` has room for TR_TX_PARTICIPANTS_MAX. */
bool tr__tx_get_parties(tr_bytes bytes, tr__tx_party *parties, uint32_t *count);

/* ---- migrations ---------------------------------------------------------------------------------------- */

/* What a node has its own participants execute before their init, in a transaction like any other: bring what you keep to your
 * version. (migrate.c) */
TR_MESSAGE(tr__tx_migrate, TR_WRITES)
bool tr__tx_is_migrate(uint64_t type);

/* ---- ids and tickets ----------------------------------------------------------------------------------- */

/* As text; `out` has TR_TX_ID_TEXT bytes. Returns out. */
char *tr__tx_id_format(const tr_tx_id *id, char *out);
bool tr__tx_id_parse(const char *text, tr_tx_id *id);
uint64_t tr__tx_id_ms(const tr_tx_id *id);
tr_tx_id tr__tx_id_make(uint64_t ms, uint64_t chance_high, uint64_t chance_low);

/* "ID@node/log": who decides, and by which log. */
void tr__tx_ticket_format(const tr_tx_id *id, const char *node, const uint8_t *log, char *out);
bool tr__tx_ticket_parse(const char *text, tr_tx_id *id, char node[TR_NAME_MAX], uint8_t *log);

#endif
