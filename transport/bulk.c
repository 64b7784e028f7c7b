/* See bulk.h. What can fail is memory, and then nothing has changed. */
#include "transport/bulk.h"

#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"

static tr__unit *unit_of(tr__mpsc_node *node)
{
    return (tr__unit *)((char *)node - offsetof(tr__unit, node));
}

tr__unit *tr__unit_make(size_t room)
{
    tr__unit *unit = tr__alloc(sizeof *unit + room);
    if (unit)
        *unit = (tr__unit){.capacity = room};
    return unit;
}

void tr__unit_free(tr__unit *unit)
{
    if (unit && unit->release)
        unit->release(unit);
    tr__free(unit);
}

static void free_chain(tr__mpsc_node *node)
{
    while (node) {
        tr__mpsc_node *next = node->next;
        tr__unit_free(unit_of(node));
        node = next;
    }
}

void tr__bulk_init(tr__bulk *b, bool sealed)
{
    *b = (tr__bulk){.tag = sealed ? TR__FRAME_TAG : 0};
    b->ready_end = &b->ready;
}

void tr__bulk_fini(tr__bulk *b)
{
    tr__unit_free(b->open);
    free_chain(tr__mpsc_take(&b->closed));
    free_chain(b->ready);
    free_chain(b->sending);
    tr__free(b->sealed);
    *b = (tr__bulk){0};
}

/* The home ---- */

bool tr__bulk_admits(const tr__bulk *b, size_t length, size_t queue_max)
{
    size_t queued = atomic_load(&b->queued);
    return queued == 0 || queued + length <= queue_max;
}

bool tr__bulk_prepare(tr__bulk *b)
{
    if (b->tag && !b->sealed)
        b->sealed = tr__alloc((size_t)TR__TURN_CHUNKS * TR__CHUNK_FRAME_MAX);
    return !b->tag || b->sealed;
}

static void push(tr__bulk *b, tr__unit *unit, uint64_t behind)
{
    unit->behind = behind;
    for (uint32_t i = 0; i < unit->piece_count; i++)
        unit->left += unit->pieces[i].length;
    tr__mpsc_push(&b->closed, &unit->node);
    atomic_fetch_add(&b->put, 1);
}

void tr__bulk_close(tr__bulk *b, uint64_t behind)
{
    tr__unit *unit = b->open;
    if (!unit || unit->messages == 0)
        return;
    b->open = NULL;
    push(b, unit, behind);
}

void tr__bulk_put(tr__bulk *b, tr__unit *unit, uint64_t behind)
{
    size_t length = 0;
    tr__bulk_close(b, behind);
    for (uint32_t i = 0; i < unit->piece_count; i++)
        length += unit->pieces[i].length;
    tr__check(length > 0 && unit->piece_count <= TR__UNIT_PIECES, "a unit of %zu bytes in %u pieces", length,
              unit->piece_count);
    atomic_fetch_add(&b->queued, length);
    unit->messages = 1;
    push(b, unit, behind);
}

bool tr__bulk_fits(const tr__bulk *b, size_t length)
{
    return b->open && length <= b->open->capacity - b->open->pieces[0].length;
}

uint8_t *tr__bulk_reserve(tr__bulk *b, size_t length)
{
    if (!tr__bulk_prepare(b))
        return NULL;
    if (!tr__bulk_fits(b, length)) {
        tr__unit *unit = tr__unit_make(length > TR__UNIT_SMALL ? length : TR__UNIT_SMALL);
        if (!unit)
            return NULL;
        tr__check(!b->open || b->open->messages == 0, "a unit of small messages is full and not closed");
        tr__unit_free(b->open); /* one that was reserved and never committed to */
        unit->piece_count = 1;
        unit->pieces[0].bytes = unit->bytes;
        b->open = unit;
    }
    return b->open->bytes + b->open->pieces[0].length;
}

void tr__bulk_commit(tr__bulk *b, size_t length)
{
    tr__check(length > 0 && tr__bulk_fits(b, length), "commit of %zu bytes that weren't reserved", length);
    atomic_fetch_add(&b->queued, length);
    b->open->pieces[0].length += length;
    b->open->messages++;
}

uint64_t tr__bulk_last(const tr__bulk *b)
{
    return atomic_load(&b->put) + (b->open && b->open->messages > 0);
}

/* Any thread ---- */

bool tr__bulk_waits(const tr__bulk *b)
{
    /* one may be taken before it is counted as put: then its home pumps after this */
    return (int64_t)(atomic_load(&b->put) - atomic_load(&b->taken)) > 0;
}

bool tr__bulk_may_send(const tr__bulk *b)
{
    return tr__bulk_waits(b) && atomic_load(&b->granted) - atomic_load(&b->spent) >= TR__CHUNK_FRAME_MAX;
}

/* The sender ---- */

/* The next part of the first unit, at most that much; 0 at its end. */
static tr__iov next_part(tr__bulk *b, const tr__unit *unit, size_t most)
{
    while (b->piece < unit->piece_count && b->at == unit->pieces[b->piece].length) {
        b->piece++;
        b->at = 0;
    }
    if (b->piece == unit->piece_count)
        return (tr__iov){NULL, 0};
    const tr__iov *piece = &unit->pieces[b->piece];
    size_t length = piece->length - b->at < most ? piece->length - b->at : most;
    tr__iov part = {(const uint8_t *)piece->bytes + b->at, length};
    b->at += length;
    return part;
}

/* One chunk in place: a header, and parts of pieces. Its bytes may be fewer, for there is no room for more parts. */
static unsigned take_plain(tr__bulk *b, const tr__unit *unit, size_t body, uint8_t *head, tr__iov *iov,
                           unsigned room, size_t *length)
{
    unsigned used = 1;
    size_t most = body;
    iov[0] = (tr__iov){head, TR__CHUNK_OVERHEAD};
    while (body > 0 && used < room) {
        iov[used] = next_part(b, unit, body);
        body -= iov[used++].length;
    }
    *length = most - body;
    bool last = *length == unit->left;
    tr__frame_put_chunk(head, unit->left, last ? unit->messages : 0, (uint32_t)*length, ++b->sequence);
    uint32_t crc = tr__frame_chunk_checksum(head);
    for (unsigned i = 1; i < used; i++)
        crc = tr__crc32c(crc, iov[i].bytes, iov[i].length);
    tr__frame_put_checksum(head, crc);
    return used;
}

/* One chunk as a copy, for a seal is made in place. */
static unsigned take_sealed(tr__bulk *b, const tr__unit *unit, size_t body, uint8_t *bytes, tr__seal *seal,
                            tr__iov *iov)
{
    bool last = body == unit->left;
    tr__frame_put_chunk(bytes, unit->left, last ? unit->messages : 0, (uint32_t)body, ++b->sequence);
    for (size_t at = 0; at < body;) {
        tr__iov part = next_part(b, unit, body - at);
        memcpy(bytes + TR__CHUNK_OVERHEAD + at, part.bytes, part.length);
        at += part.length;
    }
    iov[0] = (tr__iov){bytes, tr__seal_close(seal, bytes)};
    return 1;
}

/* Its last chunk leaves: it waits for that to be sent. */
static void unit_leaves(tr__bulk *b)
{
    tr__mpsc_node *node = b->ready;
    b->ready = node->next;
    if (!b->ready)
        b->ready_end = &b->ready;
    node->next = b->sending;
    b->sending = node;
    b->piece = 0;
    b->at = 0;
    atomic_fetch_add(&b->taken, 1);
}

unsigned tr__bulk_take(tr__bulk *b, tr__seal *seal, uint64_t behind, tr__iov *iov, unsigned room,
                       unsigned chunks_max, unsigned *chunks)
{
    const size_t overhead = TR__CHUNK_OVERHEAD + b->tag;
    unsigned used = 0;
    tr__check(!b->sending && !b->sending_bytes, "two sends at a time");
    *chunks = 0;
    *b->ready_end = tr__mpsc_take(&b->closed);
    while (*b->ready_end)
        b->ready_end = &(*b->ready_end)->next;
    while (b->ready && *chunks < chunks_max && room - used >= 2) {
        tr__unit *unit = unit_of(b->ready);
        uint64_t credit = atomic_load(&b->granted) - atomic_load(&b->spent);
        size_t length =
            unit->left < TR__CHUNK_FRAME_MAX - overhead ? (size_t)unit->left : TR__CHUNK_FRAME_MAX - overhead;
        if (unit->behind > behind || credit < length + overhead)
            break;
        if (b->tag)
            used += take_sealed(b, unit, length, b->sealed + (size_t)*chunks * TR__CHUNK_FRAME_MAX, seal,
                                iov + used);
        else
            used += take_plain(b, unit, length, b->heads[*chunks], iov + used, room - used, &length);
        atomic_fetch_add(&b->spent, length + overhead);
        b->sending_bytes += length;
        unit->left -= length;
        ++*chunks;
        if (unit->left == 0)
            unit_leaves(b);
    }
    return used;
}

void tr__bulk_sent(tr__bulk *b)
{
    if (!b->sending_bytes)
        return;
    free_chain(b->sending);
    b->sending = NULL;
    atomic_fetch_sub(&b->queued, b->sending_bytes);
    b->sending_bytes = 0;
}
