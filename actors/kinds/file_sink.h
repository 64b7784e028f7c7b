/* The seam where downloaded bytes go: a file written off the loop (file_sink_uv.c), or a test's own sink.
 *
 * A sink makes one file: open (finds what is left of an earlier try), begin, write..., finish. All calls and
 * all upcalls are on the loop's thread; what blocks (open, write, hash, fsync, rename) is done elsewhere.
 * Upcalls come between turns, never from within a call of this table; every call is allowed in them. */
#ifndef TR_ACTORS_KINDS_FILE_SINK_H
#define TR_ACTORS_KINDS_FILE_SINK_H

#include "actors/adapter.h"

#define TR__SHA256_TEXT 65 /* bytes of a digest in hexadecimal, with the NUL */

typedef struct tr__file_sink tr__file_sink;

typedef struct tr__file_plan {
    const char *path;   /* the file to make */
    const char *url;    /* what is left of an earlier try counts only if it came from there */
    const char *sha256; /* the digest it must have, 64 hexadecimal digits; "" = any */
    bool make_dir;      /* make the directory (one level) if it isn't there */
    bool resume;        /* PATH.part, which stays; else a file without a name */
} tr__file_plan;

/* What is left of an earlier try; borrowed for the upcall. */
typedef struct tr__file_found {
    uint64_t size;         /* bytes that can be built upon; 0 = nothing */
    const char *validator; /* ETag or Last-Modified of the version they are of; "" = unknown */
    uint64_t total;        /* of the whole file; 0 = unknown */
} tr__file_found;

typedef struct tr__file_upcalls {
    void (*opened)(void *context, const tr__file_found *found);
    void (*drained)(void *context); /* once after each TR_EFULL of write */
    /* It is whole, under its name and on the disk; then only close is left to do. */
    void (*finished)(void *context, const char *sha256);
    /* The text says which path and what to do; then only close is left to do. */
    void (*failed)(void *context, const tr_error *error);
    /* After close, the last: what had to go is gone, and so is the sink. */
    void (*closed)(void *context);
} tr__file_upcalls;

typedef struct tr__file_seam {
    /* The plan is copied; `opened` or `failed` follows. NULL with *error: TR_ENOMEM, TR_EIO. */
    tr__file_sink *(*open)(tr__loop *loop, const tr__file_plan *plan, const tr__file_upcalls *upcalls,
                           void *context, tr_error *error);
    /* Once, after `opened` and before the first write: go on at `from` (0, or what was found), and remember
     * version and size for a later try. */
    void (*begin)(tr__file_sink *sink, uint64_t from, const char *validator, uint64_t total);
    /* The next bytes, copied. TR_EFULL: nothing taken; TR_ECLOSED: it failed, the upcall tells or told;
     * TR_ENOMEM; TR_ETOOBIG. */
    tr_err (*write)(tr__file_sink *sink, const void *data, size_t size);
    /* No more bytes: check, force to disk, rename. */
    void (*finish)(tr__file_sink *sink);
    /* Once, at last: give up what isn't done (a finish that is under way may still succeed), but with `keep`
     * and a plan to resume leave what came for a later try. Of the upcalls only `closed` follows. */
    void (*close)(tr__file_sink *sink, bool keep);
    /* No upcall any more, not even `closed`: who would hear it is going. */
    void (*mute)(tr__file_sink *sink);
} tr__file_seam;

#endif
