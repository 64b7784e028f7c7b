/* What a participant keeps: keys and values, committed; and a view, which is what one transaction wrote on top. Plain
 * data; one owner at a time: the transaction manager, and while a call runs in the participant's actor, that actor's
 * loop (the manager lends it with the lock, and waits).
 *
 * S1  Once a node runs, what is committed changes only by tr__store_apply, whose view then is empty: so an abort frees a
 *     view, and there is no undo. */
#ifndef TR_ACTORS_TX_STORE_H
#define TR_ACTORS_TX_STORE_H

#include <troupe/tx.h>

#include "actors/tx/frame.h"
#include "base/hash_table.h"

typedef struct tr__kv {
    UT_hash_handle hh;
    uint32_t key_size, size;
    bool deleted; /* in a view: the key is gone */
    char bytes[]; /* the key, a NUL, then the value and a NUL */
} tr__kv;

typedef struct tr__store {
    tr__kv *entries;
} tr__store;

/* One transaction's view of one participant. */
struct tr_txview {
    const tr__store *store;
    tr__kv *writes;
    size_t size;  /* bytes of keys and values in them */
    bool writing; /* the message that is executed declares TR_WRITES */
    /* What the call that runs has answered: CBOR, type by id. */
    uint64_t reply_type, reply_fingerprint;
    uint8_t *reply;
    size_t reply_size;
    tr_err error; /* the first that a view call returned */
    char text[TR_ERROR_TEXT_MAX];
};

static inline const char *tr__kv_value(const tr__kv *entry)
{
    return entry->bytes + entry->key_size + 1;
}

void tr__store_fini(tr__store *store);
/* NULL: there is no such key. */
const tr__kv *tr__store_get(const tr__store *store, const char *key, size_t key_size);

/* In what a participant keeps: the version of the rest, as a number; its NUL is in no key of an actor. So it is committed, logged
 * and saved with what it is about. */
#define TR__VERSION_KEY  "\0version"
#define TR__VERSION_SIZE (sizeof(TR__VERSION_KEY) - 1)
/* 0: none was ever given. Of the store alone, or as the transaction sees it. */
uint32_t tr__store_version(const tr__store *store);
uint32_t tr__view_version(const tr_txview *view);
/* As tr__view_write. */
tr_err tr__view_put_version(tr_txview *view, uint32_t version);

/* At a start: what a snapshot has. False: no memory. */
bool tr__store_put(tr__store *store, const char *key, size_t key_size, const void *value, size_t size);

/* As the transaction sees it: its own writes, then what is committed. NULL: no such key. */
const tr__kv *tr__view_find(const tr_txview *view, const char *key, size_t key_size);
/* TR_ENOMEM, TR_ETOOBIG: nothing changed. `value` NULL deletes. */
tr_err tr__view_write(tr_txview *view, const char *key, size_t key_size, const void *value, size_t size);
/* Forget what was written, and a reply. */
void tr__view_clear(tr_txview *view);
void tr__view_drop_reply(tr_txview *view);

/* The writes as bytes, for the log, in the order in which they were made. */
void tr__view_put_redo(const tr_txview *view, tr__tx_buffer *buffer);
/* The reverse, into an empty view: TR_EPROTO, TR_ENOMEM. */
tr_err tr__view_get_redo(tr_txview *view, tr_bytes redo);
/* Make the writes committed ones. False: no memory, and the store is not to be used any more. */
bool tr__store_apply(tr__store *store, tr_txview *view);

#endif
