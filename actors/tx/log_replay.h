/* Reading a transaction log at start: what of it counts, what is torn, what is damaged. The owner's thread;
 * it waits for the disk, and nothing else runs yet. Private to log.c. */
#ifndef TR_ACTORS_TX_LOG_REPLAY_H
#define TR_ACTORS_TX_LOG_REPLAY_H

#include "actors/tx/log.h"

typedef tr_err tr__log_record_fn(void *context, uint8_t type, uint64_t lsn, const void *payload,
                                 size_t length, tr_error *error);

typedef struct tr__log_found {
    tr__log_head head;        /* of the segment that is written on */
    uint32_t oldest;          /* segment */
    bool headless;            /* that one's header may not be on the disk: it goes with its first batch */
    uint64_t bad;             /* from there on it has nothing good */
    uint64_t size, next_size; /* of it, and of the one behind it; 0: there is none */
    uint64_t last;            /* LSN of the last good record; 0 = none */
    uint64_t
        durable; /* the highest LSN known to be durable, by the slots, what good records state, the snapshot */
    uint64_t end; /* offset behind the last good record */
    uint32_t batch_segment;
    uint64_t batch;     /* offset where the last batch of good records begins: before it all is durable */
    uint64_t batch_end; /* and where it ends, a mark included */
    unsigned slot;      /* the one to write next: the other says as much as is known */
    uint32_t chain;     /* what the next record's chain is */
} tr__log_found;

/* Read all and judge it; changes nothing. `base` NULL: there is no snapshot. TR_EMISMATCH: damaged, the text names
 * file and offset; TR_EVERSION; TR_ENOMEM; TR_EIO. */
tr_err tr__log_scan(tr__log_store *store, const tr__log_base *base, tr__log_found *found, tr_error *error);
/* Make the log end at found->end, for ever: zero what is behind it, write the last batch once more (what is
 * read from the cache after a failed force need not be on the disk, and isn't written by the next force
 * either), force. Sets found->durable = found->last. */
tr_err tr__log_settle(tr__log_store *store, tr__log_found *found, tr_error *error);
/* Each good record behind LSN `after`, in order; stops with the first error of the callback, and returns it. */
tr_err tr__log_replay(tr__log_store *store, const tr__log_found *found, uint64_t after,
                      tr__log_record_fn *record, void *context, tr_error *error);

/* ---- closed segments, while the log goes on ------------------------------------------------------------ */

/* A walk over closed segments: any thread, one at a time; the log's owner may write meanwhile. */
typedef struct tr__log_walk tr__log_walk;
/* Over the records behind LSN `after` and up to `until`, in the segments from `segment` to `last`; NULL: no memory. */
tr__log_walk *tr__log_walk_open(tr__log_store *store, uint32_t segment, uint32_t last, uint64_t after,
                                uint64_t until, tr_error *error);
/* The next records, until they have so many bytes or there is none any more; *over: so it is. Errors: as of the
 * callback; TR_EMISMATCH: a segment is damaged, the text says where; TR_EIO. */
tr_err tr__log_walk_go(tr__log_walk *walk, size_t bytes, tr__log_record_fn *record, void *context, bool *over,
                       tr_error *error);
void tr__log_walk_close(tr__log_walk *walk);

#endif
