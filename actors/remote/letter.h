/* A message that came as CBOR within another one, and is put into a mailbox of this node as one of its own: whether it was is
 * known at once. Loop 0. */
#ifndef TR_ACTORS_REMOTE_LETTER_H
#define TR_ACTORS_REMOTE_LETTER_H

#include "actors/loop.h"

typedef struct tr__letter {
    tr_addr to, sender;
    uint64_t type, fingerprint;
    const char *schema; /* of who sent it; "": it said none */
    tr_bytes body;
    const char *id; /* the receiver may read it by tr_msg_emitted; NULL: none */
} tr__letter;

/* TR_OK: it is in the mailbox. TR_ENOACTOR, TR_EFULL, TR_ENOMEM; TR_ETYPE, TR_EPROTO (it can't be read here), TR_ETOOBIG.
 * *error says it in words. */
tr_err tr__letter_put(tr__loop *loop, const tr__letter *letter, tr_error *error);

#endif
