/* Reading a transaction log at start: what of it counts, what is torn, what is damaged. The owner's thread;
 * it waits for the disk, and nothing else runs yet. Private to log.c. */
#ifndef TR_ACTORS_TX_LOG_REPLAY_H
#define TR_ACTORS_TX_LOG_REPLAY_H

#include "actors/tx/log_format.h"

typedef tr_err tr__log_record_fn(void *context, uint8_t type, uint64_t lsn, const void *payload,
                                 size_t length, tr_error *error);

typedef struct tr__log_found {
    tr__log_head head;
    uint64_t last;    /* LSN of the last good record; 0 = none */
    uint64_t durable; /* the highest LSN known to be durable, by the slots and by what good records state */
    uint64_t end;     /* offset behind the last good record */
    uint64_t batch;   /* offset where the last batch of good records begins: before it all is durable */
    uint64_t dirty;   /* offset behind the last byte of the store that isn't zero; at most `end`: clean */
    unsigned slot;    /* the one to write next: the other says as much as is known */
    uint32_t chain;   /* what the next record's chain is */
} tr__log_found;

/* Read all and judge it; changes nothing. TR_EMISMATCH: damaged, the text names file and offset; TR_EVERSION;
 * TR_ENOMEM; TR_EIO. */
tr_err tr__log_scan(tr__log_store *store, tr__log_found *found, tr_error *error);
/* Make the log end at found->end, for ever: zero what is behind it, write the last batch once more (what is
 * read from the cache after a failed force need not be on the disk, and isn't written by the next force
 * either), force. Sets found->durable = found->last. */
tr_err tr__log_settle(tr__log_store *store, tr__log_found *found, tr_error *error);
/* Each good record in order; stops with the first error of the callback, and returns it. */
tr_err tr__log_replay(tr__log_store *store, const tr__log_found *found, tr__log_record_fn *record,
                      void *context, tr_error *error);

#endif
