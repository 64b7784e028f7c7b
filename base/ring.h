/* What a thread did last: a ring of 16-byte records, the newest in the place of the oldest. One thread writes, and never
 * waits; any other may look at any time, also a signal's handler: what it reads while that record is written can at
 * worst be half of the old and half of the new one. A writer's `stamp` is set now and then, not for each record. */
#ifndef TR_BASE_RING_H
#define TR_BASE_RING_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/accounting.h"

#define TR__RING_RECORDS   256 /* a power of two: 4 KiB, which stay in the cache */
#define TR__RING_KIND_BITS 4
#define TR__RING_WHO_BITS  (32 - TR__RING_KIND_BITS)

typedef struct tr__ring_record {
    _Atomic uint64_t head; /* from above: stamp, kind, who */
    _Atomic(const void *) what;
} tr__ring_record;

_Static_assert(sizeof(tr__ring_record) == 16 || sizeof(void *) != 8, "a record has 16 bytes");

typedef struct tr__ring {
    _Atomic uint64_t end; /* bytes of records ever written: what is a place in the ring without a shift */
    uint64_t stamp;       /* the writer's, where a head has it */
    tr__ring_record records[TR__RING_RECORDS];
} tr__ring;

/* Of the records to come. The writer's thread. */
static inline void tr__ring_stamp(tr__ring *ring, uint32_t stamp)
{
    ring->stamp = (uint64_t)stamp << 32;
}

static inline void tr__ring_put(tr__ring *ring, uint32_t kind, uint32_t who, const void *what)
{
    if (!TR__ACCOUNTING)
        return;
    uint64_t end = atomic_load_explicit(&ring->end, memory_order_relaxed);
    tr__ring_record *record = (tr__ring_record *)((char *)ring->records + end % sizeof(ring->records));
    atomic_store_explicit(&record->head, ring->stamp | kind << TR__RING_WHO_BITS | who, memory_order_relaxed);
    atomic_store_explicit(&record->what, what, memory_order_relaxed);
    /* release: who sees the end sees the record, unless it is overwritten meanwhile */
    atomic_store_explicit(&ring->end, end + sizeof(*record), memory_order_release);
}

/* One record as it was seen. */
typedef struct tr__ring_seen {
    uint32_t stamp, kind, who;
    const void *what;
} tr__ring_seen;

/* The record that is `back` before the newest (0: the newest); false: there is none. Any thread. */
static inline int tr__ring_get(const tr__ring *ring, uint32_t back, tr__ring_seen *seen)
{
    tr__ring *r = (tr__ring *)ring; /* to load an atomic changes nothing */
    uint64_t count = atomic_load_explicit(&r->end, memory_order_acquire) / sizeof(tr__ring_record);
    if (back >= TR__RING_RECORDS || back >= count)
        return 0;
    tr__ring_record *record = &r->records[(count - 1 - back) % TR__RING_RECORDS];
    uint64_t head = atomic_load_explicit(&record->head, memory_order_relaxed);
    seen->stamp = (uint32_t)(head >> 32);
    seen->kind = (uint32_t)head >> TR__RING_WHO_BITS;
    seen->who = (uint32_t)head & ((1u << TR__RING_WHO_BITS) - 1);
    seen->what = atomic_load_explicit(&record->what, memory_order_relaxed);
    return 1;
}

#endif
