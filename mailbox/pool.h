/* Pooled blocks: one pool a loop, free lists by size class, carved out of 64 KiB chunks; a pool that has
 * grown large takes huge ones.
 *
 * Only the owning loop's thread takes and gives. A block that another loop frees goes home in a chain (loop.c).
 * With TR_PLAIN_POOLS every block is a malloc of its own, so that sanitizers see each use. */
#ifndef TR_MAILBOX_POOL_H
#define TR_MAILBOX_POOL_H

#include <stddef.h>
#include <stdint.h>

#define TR__POOL_CLASSES  12
#define TR__POOL_MAX      4096 /* bytes; larger blocks are plain allocations of class TR__CLASS_LARGE */
#define TR__CLASS_LARGE   0xff
#define TR__CLASS_RECORDS 11 /* by its name only: blocks of records (actors/remote/records.h) */
#define TR__POOL_CHUNK    65536
#define TR__POOL_SMALL    16 /* chunks; those after them are huge */

typedef struct tr__block {
    struct tr__block *next;
} tr__block;

typedef struct tr__pool {
    tr__block *free[TR__POOL_CLASSES];
    char *bump, *bump_end;
    tr__block *chunks, *huge_chunks;
    uint32_t chunk_count;
    struct tr__buffers *account; /* of its node; the pool only keeps it */
    uint64_t carved;             /* blocks made so far: free, or somewhere */
} tr__pool;

extern const uint8_t tr__pool_class_of[TR__POOL_MAX / 32 + 1];
extern const uint16_t tr__pool_class_size[TR__POOL_CLASSES];

void tr__pool_init(tr__pool *pool);
/* Every block must be back, or its memory goes with the pool. */
void tr__pool_fini(tr__pool *pool);
/* The slow path of tr__pool_take: a plain allocation, or a block from the chunk. NULL: no memory. */
void *tr__pool_refill(tr__pool *pool, uint8_t size_class, size_t size);
void tr__pool_give_slow(tr__pool *pool, void *block, uint8_t size_class);

static inline uint8_t tr__pool_class(size_t size)
{
    return size <= TR__POOL_MAX ? tr__pool_class_of[(size + 31) / 32] : TR__CLASS_LARGE;
}

/* A block of at least `size` bytes, uninitialised, aligned to 16; NULL: no memory. */
static inline void *tr__pool_take(tr__pool *pool, uint8_t size_class, size_t size)
{
#ifndef TR_PLAIN_POOLS
    if (size_class < TR__POOL_CLASSES) {
        tr__block *block = pool->free[size_class];
        if (__builtin_expect(block != NULL, 1)) {
            pool->free[size_class] = block->next;
            return block;
        }
    }
#endif
    return tr__pool_refill(pool, size_class, size);
}

static inline void tr__pool_give(tr__pool *pool, void *block, uint8_t size_class)
{
#ifndef TR_PLAIN_POOLS
    if (size_class < TR__POOL_CLASSES) {
        ((tr__block *)block)->next = pool->free[size_class];
        pool->free[size_class] = block;
        return;
    }
#endif
    tr__pool_give_slow(pool, block, size_class);
}

#endif
