/* The seam under snapshots of what transactions left: a table of rows, key to value, that changes in steps, each of them
 * wholly or not at all. snap_store_os.c is the real one, in SQLite; tests/kit/memory_snap.h a twin in memory. What the
 * rows mean is in snap_rows.h.
 *
 * Threads. The log's owner reads all of it at start. Then there are jobs, one at a time: `begin` has step(context)
 * called again and again, not on the owner's thread, until that returns false; then the store wakes the owner, as the
 * log's store does, who calls `finished`. While there is a job, the rows are the job's alone.
 *
 * How it can fail: TR_ENOSPC, TR_ENOMEM, TR_EADDRINUSE (another process looks at it): nothing of this step was done, after a
 * rollback it may be tried again, later.
 * TR_EMISMATCH: it is damaged, the text names the file. TR_EIO: what is on the disk is unknown. */
#ifndef TR_ACTORS_TX_SNAP_STORE_H
#define TR_ACTORS_TX_SNAP_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <troupe/err.h>
#include <troupe/message.h> /* tr_bytes */

#include "actors/tx/log_store.h"

/* Both borrowed until it returns; another value than TR_OK ends the walk with it. */
typedef tr_err tr__snap_row_fn(void *context, tr_bytes key, tr_bytes value, tr_error *error);

typedef struct tr__snap_store tr__snap_store;
struct tr__snap_store {
    char name[TR__LOG_NAME_BYTES]; /* for errors */

    /* value->data NULL: there is no such row. Borrowed until the next call. */
    tr_err (*get)(tr__snap_store *store, tr_bytes key, tr_bytes *value, tr_error *error);
    /* The key of the first row behind `after`; key->data NULL: there is none. Borrowed until the next call. */
    tr_err (*next)(tr__snap_store *store, tr_bytes after, tr_bytes *key, tr_error *error);
    /* Seen by `get` and `each` at once, and kept from the next `commit` on. */
    tr_err (*put)(tr__snap_store *store, tr_bytes key, tr_bytes value, tr_error *error);
    tr_err (*del)(tr__snap_store *store, tr_bytes key, tr_error *error);
    /* All since the last one is on the disk, whatever happens then. */
    tr_err (*commit)(tr__snap_store *store, tr_error *error);
    /* As it was after the last commit. */
    void (*rollback)(tr__snap_store *store);
    /* Bring all into one file, and read from that file from now on. */
    tr_err (*seal)(tr__snap_store *store, tr_error *error);
    /* All rows, in the order of their keys' bytes. */
    tr_err (*each)(tr__snap_store *store, tr__snap_row_fn *row, void *context, tr_error *error);

    /* False: no thread to be had, nothing was begun. */
    bool (*begin)(tr__snap_store *store, bool (*step)(void *context), void *context);
    /* Whether the job is over. False too when there is none. */
    bool (*finished)(tr__snap_store *store);
    /* A job ends after the step that it is at, and `each` before its next row; no wake after it. */
    void (*close)(tr__snap_store *store);
};

/* The real one: the database at `path`, which is made with the first row that is put. wake as tr__log_store_open_os.
 * NULL with *error: TR_EMISMATCH (damaged, or no such database), TR_EPERM, TR_ENOMEM, TR_EIO. */
tr__snap_store *tr__snap_store_open_os(const char *path, void (*wake)(void *context), void *context,
                                       tr_error *error);

#endif
