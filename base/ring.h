/* What a thread did last: a ring of 16-byte records, the newest in the place of the oldest. One thread writes, and never
 * waits; any other may look at any time, also a signal's handler: what it reads while that record is written can at
 * worst be half of the old and half of the new one. A writer's `stamp` is set now and then, not for each record. */
#ifndef TR_BASE_RING_H
#define TR_BASE_RING_H

#include <stdatomic.h>
#include <stdint.h>

#define TR__RING_RECORDS   256 /* a power of two: 4 KiB, which stay in the cache */
#define TR__RING_KIND_BITS 4
#define TR__RING_WHO_BITS  (32 - TR__RING_KIND_BITS)

typedef struct tr__ring_record {
    _Atomic uint32_t stamp;
    _Atomic uint32_t who; /* of the lower bits; above them its kind */
    _Atomic(const void *) what;
} tr__ring_record;

_Static_assert(sizeof(tr__ring_record) == 16 || sizeof(void *) != 8, "a record has 16 bytes");

typedef struct tr__ring {
    _Atomic uint32_t count; /* of records ever written, modulo 2^32 */
    uint32_t stamp;         /* the writer's */
    tr__ring_record records[TR__RING_RECORDS];
} tr__ring;

static inline void tr__ring_put(tr__ring *ring, uint32_t kind, uint32_t who, const void *what)
{
    uint32_t count = atomic_load_explicit(&ring->count, memory_order_relaxed);
    tr__ring_record *record = &ring->records[count % TR__RING_RECORDS];
    atomic_store_explicit(&record->stamp, ring->stamp, memory_order_relaxed);
    atomic_store_explicit(&record->who, who | kind << TR__RING_WHO_BITS, memory_order_relaxed);
    atomic_store_explicit(&record->what, what, memory_order_relaxed);
    /* release: who sees the count sees the record, unless it is overwritten meanwhile */
    atomic_store_explicit(&ring->count, count + 1, memory_order_release);
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
    uint32_t count = atomic_load_explicit(&r->count, memory_order_acquire);
    if (back >= TR__RING_RECORDS || back >= count)
        return 0;
    tr__ring_record *record = &r->records[(count - 1 - back) % TR__RING_RECORDS];
    uint32_t who = atomic_load_explicit(&record->who, memory_order_relaxed);
    seen->stamp = atomic_load_explicit(&record->stamp, memory_order_relaxed);
    seen->kind = who >> TR__RING_WHO_BITS;
    seen->who = who & ((1u << TR__RING_WHO_BITS) - 1);
    seen->what = atomic_load_explicit(&record->what, memory_order_relaxed);
    return 1;
}

#endif
