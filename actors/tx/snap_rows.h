/* What a snapshot's rows mean, and how one knows that all of them are there. Keys begin with a letter:
 *
 *     A              the ACCEPT record: what the log is called since
 *     C id           a COMMIT record, without what it writes, until all have acknowledged it
 *     F              the FORGOT record: outcomes of what began until then may have gone from here
 *     L lsn          a LIFE record (lsn in 8 bytes, the highest first)
 *     M              the snapshot itself: tr__snap_meta
 *     N              the NAME record: whose log it is
 *     O id           what became of a transaction
 *     P id actor     a PREPARE record, until its branch is finished
 *     R node 0 log   the last PEER record about that log, behind its LSN
 *     S actor 0 key  what a participant keeps, by key
 *     X              the LOST record, until an ACCEPT
 *
 * A row's value ends with a CRC of key and value. M has the number of the others and the sum of their hashes: so a row
 * that is missing, or there once more, is seen as well. */
#ifndef TR_ACTORS_TX_SNAP_ROWS_H
#define TR_ACTORS_TX_SNAP_ROWS_H

#include "actors/tx/frame.h"
#include "actors/tx/snap_store.h"

#define TR__SNAP_VERSION 1u

typedef struct tr__snap_meta {
    uint8_t id[TR__LOG_ID_BYTES]; /* of the log */
    uint64_t lsn;                 /* it has all up to that one; 0: there is no snapshot */
    uint64_t clock;               /* the highest that those records say */
    uint64_t count, sum;          /* of the other rows */
} tr__snap_meta;

/* lsn 0: there is none. Errors: as the seam's; TR_EMISMATCH, TR_EVERSION by name. */
tr_err tr__snap_meta_read(tr__snap_store *store, tr__snap_meta *meta, tr_error *error);
tr_err tr__snap_meta_write(tr__snap_store *store, const tr__snap_meta *meta, tr_error *error);

/* Change a row and what meta says of all; `buffer` is the caller's, for use again. */
tr_err tr__snap_put(tr__snap_store *store, tr__snap_meta *meta, tr_bytes key, tr_bytes value,
                    tr__tx_buffer *buffer, tr_error *error);
tr_err tr__snap_del(tr__snap_store *store, tr__snap_meta *meta, tr_bytes key, tr_error *error);
/* value->data NULL: there is none. Borrowed until the next call. */
tr_err tr__snap_get(tr__snap_store *store, tr_bytes key, tr_bytes *value, tr_error *error);

/* All rows but M, each whole, through `row` (NULL: only look); then they must be those that M says. TR_EMISMATCH:
 * damaged, or what `row` returned. *meta is set first. */
tr_err tr__snap_read(tr__snap_store *store, tr__snap_meta *meta, tr__snap_row_fn *row, void *context,
                     tr_error *error);

#endif
