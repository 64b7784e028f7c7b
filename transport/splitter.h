/* From received bytes to whole frames, without copying what is whole: what a stream's receive callback
 * decides.
 *
 * Bytes are received into counted chunks of 128 KB, of up to four times that while they come faster than they are
 * received; whole frames leave as slices of them, the next bytes go
 * on behind in the same chunk. Only the beginning of a frame that doesn't fit is copied to the next chunk.
 * Headers are checked (frame.h; sequence too) before anything is allocated for a frame, and a large frame's
 * chunk grows with what has arrived: at most twice that, never to a length that was only claimed.
 *
 * A splitter belongs to whoever receives (one receive callback at a time). Chunks are counted atomically:
 * slices go to another thread. */
#ifndef TR_TRANSPORT_SPLITTER_H
#define TR_TRANSPORT_SPLITTER_H

#include "transport/frame.h"
#include "transport/mpsc.h"

#define TR__CHUNK_SIZE (128u << 10)
#define TR__CHUNK_MOST (512u << 10)

/* Its memory is kept for the next ones, of any connection (tr__large_alloc). */
typedef struct tr__chunk {
    _Atomic uint32_t references;
    uint32_t capacity;
    uint8_t bytes[];
} tr__chunk;

/* One or more whole frames; holds a reference to its chunk. */
typedef struct tr__slice {
    tr__mpsc_node node; /* for who passes it on */
    void *context;      /* likewise */
    uint32_t elsewhere; /* likewise: bits of frame kinds that somebody else takes */
    tr__chunk *chunk;
    const uint8_t *bytes;
    size_t length;
} tr__slice;

void tr__slice_destroy(tr__slice *slice); /* any thread; NULL is fine */
/* Another holder of the same bytes; NULL: no memory. */
tr__slice *tr__slice_clone(const tr__slice *slice);

typedef struct tr__splitter {
    tr__chunk *chunk;
    size_t begin;                 /* of the first frame that isn't whole yet */
    size_t end;                   /* of what was received */
    size_t normal;                /* bytes of the next chunk */
    unsigned pieces;              /* in which the bytes of this one came */
    uint64_t sequence[TR__LANES]; /* of the last whole frame */
} tr__splitter;                   /* zeroed = at the beginning of a stream */

void tr__splitter_fini(tr__splitter *splitter);
/* Where the next bytes go: *room > 0 bytes at *at, valid until the next call. frame_max: the bound in force.
 * TR_ENOMEM. */
tr_err tr__splitter_room(tr__splitter *splitter, size_t frame_max, uint8_t **at, size_t *room,
                         tr_error *error);
/* `count` bytes arrived there. *slice: the frames that are whole now, NULL if none; the caller's. On an error
 * (TR_EPROTO, TR_EVERSION: garbage, absurd length, gap of sequence; TR_ENOMEM) *slice has what came whole
 * before it, and the splitter takes no more. */
tr_err tr__splitter_took(tr__splitter *splitter, size_t count, size_t frame_max, tr__slice **slice,
                         tr_error *error);

#endif
