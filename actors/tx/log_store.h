/* The seam under the transaction log: a row of files, its segments, that are read at start and then written in
 * batches, one at a time. log_store_os.c is the real one; tests/kit/memory_log.h a twin in memory that tears,
 * loses and flips.
 *
 * Segments have numbers from 1 on, and are made in that order, one ahead of the one that is written. The first
 * one is the log's head: it is there as long as the log is, and when it is dropped only its records go (it is
 * cut at TR__LOG_DATA_AT).
 *
 * Threads. Everything is called by the log's owner. `read`, `write`, `force`, `grow` and `publish` return
 * when they are done: they belong to the start, before the first `begin`. `begin` returns at once; when the
 * batch is over the store wakes the owner (how is told to the store when it is made), who then calls
 * `finished`.
 *
 * A store is made empty (`is_new`) or with what was there. A new one has its name only after `publish`, so
 * that a log that was never whole is never found. */
#ifndef TR_ACTORS_TX_LOG_STORE_H
#define TR_ACTORS_TX_LOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <troupe/err.h>

#define TR__LOG_ID_BYTES   16
#define TR__LOG_NAME_BYTES 112 /* what of a path fits into an error's text */

/* What to do in this order: write `bytes` into `segment`, and `head` at its begin; force them; write `mark`
 * without forcing it; drop the segments before `keep`; extend this segment to `size`, and the one behind it to
 * `next_size`. All memory is borrowed until the batch is over. */
typedef struct tr__log_batch {
    uint32_t segment;
    uint32_t keep; /* 0: none is dropped */
    uint64_t offset;
    const void *bytes;
    size_t length; /* 0: nothing to write, to force or to mark */
    const void *head;
    size_t head_length; /* 0: the segment has its header */
    uint64_t mark_offset;
    const void *mark;
    size_t mark_length;
    /* Bytes they should have afterwards, the new ones zero; no more than now: as it is. The next segment is made
     * if it isn't there, and has its name only when it is whole. */
    uint64_t size, next_size;
} tr__log_batch;

typedef struct tr__log_done {
    tr_error error; /* TR_OK, or why what is on the disk is unknown now; nothing is tried after an error */
    tr_err
        grown; /* TR_OK, or TR_ENOSPC, TR_ETOOBIG, TR_EFULL (no descriptor): no place for what was to be extended, all else was done */
    uint64_t size, next_size; /* of both segments now; 0: there is no next one */
} tr__log_done;

struct tr__snap_store;

typedef struct tr__log_store tr__log_store;
struct tr__log_store {
    char name[TR__LOG_NAME_BYTES]; /* for errors: the path, or its end */
    bool is_new;
    const char *path; /* the first segment's, from the root; NULL: it is no file */
    struct tr__snap_store
        *snap; /* for snapshots (snap_store.h); closed with this one. NULL: there are none */
    uint32_t second,
        last; /* the lowest segment behind the first, and the highest of all; 0 and 1: only that one */

    /* 16 bytes that no other log has. */
    tr_err (*random)(tr__log_store *store, uint8_t id[TR__LOG_ID_BYTES], tr_error *error);
    /* Bytes of the segment; 0: it isn't there. */
    uint64_t (*size)(tr__log_store *store, uint32_t segment);
    /* Its name, for errors, into `out`; returns out. */
    char *(*name_of)(const tr__log_store *store, uint32_t segment, char out[TR__LOG_NAME_BYTES]);
    /* All of the range or an error: TR_EIO, TR_ESHORT behind the end, TR_EFULL: no descriptor for it now. */
    tr_err (*read)(tr__log_store *store, uint32_t segment, uint64_t offset, void *bytes, size_t length,
                   tr_error *error);
    tr_err (*write)(tr__log_store *store, uint32_t segment, uint64_t offset, const void *bytes, size_t length,
                    tr_error *error);
    /* What was written before into that segment is on the disk when this returns TR_OK. */
    tr_err (*force)(tr__log_store *store, uint32_t segment, tr_error *error);
    /* Extend a segment that is there with zeros that have their place on the disk; TR_ENOSPC, TR_ETOOBIG: as
     * long as before. */
    tr_err (*grow)(tr__log_store *store, uint32_t segment, uint64_t size, tr_error *error);
    /* A new store gets its name, durably. */
    tr_err (*publish)(tr__log_store *store, tr_error *error);

    /* One at a time: the next after `finished` said that this one is over. */
    void (*begin)(tr__log_store *store, const tr__log_batch *batch);
    /* Whether the batch under way is over; then *done. False too when there is none. */
    bool (*finished)(tr__log_store *store, tr__log_done *done);
    /* Waits for the batch under way; no wake after it. The store is gone; a new one that was never published
     * leaves nothing behind. */
    void (*close)(tr__log_store *store);
};

/* The real one: the file at `path`, and PATH.2 and so on behind it, mode 0600, the first one locked against a
 * second node, with a thread of its own that writes and forces. When a batch is over it calls wake(context) from that thread: it must not block and not
 * call the log. NULL with *error: TR_EADDRINUSE when another node has it, TR_EPERM, TR_ENOTFOUND (no such
 * directory), TR_ENOSPC, TR_EINVAL (not a plain file), TR_EMISMATCH (it is
 * missing, and other segments are there), TR_ENOMEM, TR_EIO. */
tr__log_store *tr__log_store_open_os(const char *path, void (*wake)(void *context), void *context,
                                     tr_error *error);

#endif
