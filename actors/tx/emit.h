/* A message that leaves with the commit, as a thing: in the view of the call that emitted it, in the redo of its branch,
 * and in the outbox (outbox.c). Plain data; whoever has it. */
#ifndef TR_ACTORS_TX_EMIT_H
#define TR_ACTORS_TX_EMIT_H

#include <troupe/tx.h>

#include "actors/tx/frame.h"
#include "base/hash_table.h"

#define TR__EMIT_PATH_MAX (2 * TR_NAME_MAX)
#define TR__EMIT_ROOM     64 /* what the log says beside a path and a body, at most */

/* Of the record that committed it, and which one of that record. */
typedef struct tr__emit_key {
    uint64_t lsn, index;
} tr__emit_key;

typedef struct tr__emit {
    UT_hash_handle hh; /* in the outbox, by its key */
    tr__emit_key key;
    struct tr__emit *next;   /* of its view; in the outbox, to the same receiver */
    tr_tx_id id;             /* in the outbox: the transaction's */
    char actor[TR_NAME_MAX]; /* and the participant that emitted it */
    uint64_t since_ns;       /* there */
    bool alarmed;            /* that it is there for so long was told */
    uint64_t type, fingerprint;
    size_t to_size, size;
    char bytes[]; /* "node/actor", or "actor" of its own node, and a NUL; then the message as CBOR */
} tr__emit;

static inline const char *tr__emit_body(const tr__emit *emit)
{
    return emit->bytes + emit->to_size + 1;
}
static inline size_t tr__emit_weight(const tr__emit *emit)
{
    return emit->to_size + emit->size + TR__EMIT_ROOM;
}

/* NULL: no memory. */
tr__emit *tr__emit_make(tr_bytes to, uint64_t type, uint64_t fingerprint, tr_bytes body);
/* The two names of a receiver's path; false: it is none. `node` is what is there for one without a node. */
bool tr__emit_path(const char *to, size_t size, char node[TR_NAME_MAX], char actor[TR_NAME_MAX]);

/* As one entry of a redo: what is behind the path, and back; NULL: malformed (*failed), or no memory. */
void tr__emit_put(const tr__emit *emit, tr__tx_buffer *buffer);
tr__emit *tr__emit_get(tr_bytes to, tr_bytes rest, bool *failed);

#endif
