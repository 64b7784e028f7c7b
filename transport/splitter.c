/* See splitter.h. Runs where bytes are received (for nng: on its threads), one call at a time for each
 * splitter.
 *
 * What can fail: memory, and the other side's bytes; both are an error that ends the stream. */
#include "transport/splitter.h"

#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define ROOM_MIN (4u << 10) /* with less room behind the last byte a new chunk is begun */

static tr__chunk *chunk_create(size_t capacity)
{
    tr__chunk *chunk = tr__large_alloc(sizeof *chunk + capacity);
    if (!chunk)
        return NULL;
    atomic_init(&chunk->references, 1);
    chunk->capacity = (uint32_t)capacity;
    return chunk;
}

static void chunk_release(tr__chunk *chunk)
{
    /* Release what this holder read or wrote; acquire what all the others did before the memory goes. */
    if (chunk && atomic_fetch_sub_explicit(&chunk->references, 1, memory_order_acq_rel) == 1)
        tr__large_free(chunk);
}

void tr__slice_destroy(tr__slice *slice)
{
    if (slice) {
        chunk_release(slice->chunk);
        tr__free(slice);
    }
}

tr__slice *tr__slice_clone(const tr__slice *slice)
{
    tr__slice *clone = tr__alloc(sizeof *clone);
    if (clone) {
        *clone = *slice;
        atomic_fetch_add_explicit(&clone->chunk->references, 1, memory_order_relaxed);
    }
    return clone;
}

void tr__splitter_fini(tr__splitter *splitter)
{
    chunk_release(splitter->chunk);
    *splitter = (tr__splitter){0};
}

/* How many bytes the unfinished frame has in all, as far as is known. Its header was checked by took. */
static size_t frame_needs(const tr__splitter *splitter)
{
    tr__frame frame;
    if (splitter->end - splitter->begin < TR__FRAME_HEADER)
        return TR__FRAME_HEADER;
    tr_err err = tr__frame_header(splitter->chunk->bytes + splitter->begin, SIZE_MAX, &frame, NULL);
    tr__check(err == TR_OK, "a header that was checked is wrong now");
    return frame.size;
}

/* Whether the unfinished frame goes on in another chunk: it can't be whole in this one, and this one is full
 * or has other frames before it (so that each byte is moved once, but for the doublings of a large frame); or
 * nothing is unfinished and there's little room. */
static bool must_move(const tr__splitter *splitter, size_t pending, size_t needs)
{
    if (!splitter->chunk)
        return true;
    size_t capacity = splitter->chunk->capacity;
    if (needs > capacity - splitter->begin)
        return splitter->begin > 0 || splitter->end == capacity;
    return pending == 0 && capacity - splitter->end < ROOM_MIN && splitter->end > 0;
}

/* Twice the last one's if that was filled at a stretch: fewer receives, each of which costs a change of threads. */
static size_t next_size(tr__splitter *splitter, size_t frame_max)
{
    const tr__chunk *chunk = splitter->chunk;
    bool fast = chunk && splitter->end == chunk->capacity && splitter->pieces <= 2;
    size_t most = splitter->normal * 2 < TR__CHUNK_MOST ? splitter->normal * 2 : TR__CHUNK_MOST;
    if (frame_max <= TR__FRAME_SIZE_HELLO)
        return TR__FRAME_SIZE_HELLO;
    splitter->normal = fast && splitter->normal ? most : TR__CHUNK_SIZE;
    return splitter->normal;
}

tr_err tr__splitter_room(tr__splitter *splitter, size_t frame_max, uint8_t **at, size_t *room,
                         tr_error *error)
{
    tr__chunk *chunk = splitter->chunk;
    size_t pending = splitter->end - splitter->begin;
    size_t needs = chunk ? frame_needs(splitter) : TR__FRAME_HEADER;
    if (must_move(splitter, pending, needs)) {
        size_t normal = next_size(splitter, frame_max), capacity = normal;
        if (needs > normal) /* never more than twice what has arrived, but for the normal size */
            capacity = needs < 2 * pending ? needs : (2 * pending > normal ? 2 * pending : normal);
        tr__chunk *fresh = chunk_create(capacity);
        if (!fresh)
            return tr__fail(error, TR_ENOMEM, "no memory to receive a frame of %zu bytes", needs);
        if (pending)
            memcpy(fresh->bytes, chunk->bytes + splitter->begin, pending);
        chunk_release(chunk);
        splitter->chunk = chunk = fresh;
        splitter->begin = 0;
        splitter->end = pending;
        splitter->pieces = 0;
    }
    *at = chunk->bytes + splitter->end;
    *room = chunk->capacity - splitter->end;
    if (*room > 7 && TR_BUGGIFY(receive_few))
        *room = 7;
    return TR_OK;
}

/* Walk over whole frames from *at on, up to the first that isn't whole; *at ends up at it. */
static tr_err walk(tr__splitter *splitter, size_t *at, size_t frame_max, tr_error *error)
{
    const uint8_t *bytes = splitter->chunk->bytes;
    tr__frame frame;
    for (;;) {
        size_t left = splitter->end - *at;
        if (left < TR__FRAME_HEADER) {
            if (tr__frame_may_begin(bytes + *at, left))
                return TR_OK;
            uint8_t shown[TR__FRAME_HEADER] = {0}; /* for the text only */
            memcpy(shown, bytes + *at, left);
            return tr__frame_header(shown, frame_max, &frame, error);
        }
        TR_TRY(tr__frame_header(bytes + *at, frame_max, &frame, error));
        if (frame.sequence != splitter->sequence[frame.lane] + 1)
            return tr__fail(error, TR_EPROTO, "a %s frame has number %llu where %llu should come",
                            tr__frame_kind_word(frame.kind), (unsigned long long)frame.sequence,
                            (unsigned long long)splitter->sequence[frame.lane] + 1);
        if (left < frame.size)
            return TR_OK;
        splitter->sequence[frame.lane]++;
        *at += frame.size;
    }
}

tr_err tr__splitter_took(tr__splitter *splitter, size_t count, size_t frame_max, tr__slice **slice,
                         tr_error *error)
{
    size_t begin = splitter->begin, at = begin;
    *slice = NULL;
    splitter->end += count;
    splitter->pieces++;
    tr__check(splitter->end <= splitter->chunk->capacity, "more was received than there was room for");
    tr_err err = walk(splitter, &at, frame_max, error);
    splitter->begin = at;
    if (at == begin)
        return err;
    *slice = tr__alloc(sizeof **slice);
    if (!*slice)
        return tr__fail(error, TR_ENOMEM, "no memory to pass on %zu received bytes", at - begin);
    atomic_fetch_add_explicit(&splitter->chunk->references, 1, memory_order_relaxed);
    **slice =
        (tr__slice){.chunk = splitter->chunk, .bytes = splitter->chunk->bytes + begin, .length = at - begin};
    return err;
}
