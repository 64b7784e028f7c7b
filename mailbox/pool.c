/* See pool.h. The owning loop's thread only; fails only by NULL. */
#include "mailbox/pool.h"

#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

const uint16_t tr__pool_class_size[TR__POOL_CLASSES] = {32,  64,  96,   128,  192,  256,
                                                        384, 512, 1024, 2048, 4096, 16384};

/* Index: started 32-byte units. */
const uint8_t tr__pool_class_of[TR__POOL_MAX / 32 + 1] = {
    [0 ... 1] = 0,  [2] = 1,         [3] = 2,         [4] = 3,         [5 ... 6] = 4,     [7 ... 8] = 5,
    [9 ... 12] = 6, [13 ... 16] = 7, [17 ... 32] = 8, [33 ... 64] = 9, [65 ... 128] = 10,
};

void tr__pool_init(tr__pool *pool)
{
    memset(pool, 0, sizeof(*pool));
}

void tr__pool_fini(tr__pool *pool)
{
    while (pool->chunks) {
        tr__block *chunk = pool->chunks;
        pool->chunks = chunk->next;
        tr__free(chunk);
    }
    while (pool->huge_chunks) {
        tr__block *chunk = pool->huge_chunks;
        pool->huge_chunks = chunk->next;
        tr__huge_free(chunk);
    }
    memset(pool, 0, sizeof(*pool));
}

#ifndef TR_PLAIN_POOLS
static bool chunk_add(tr__pool *pool)
{
    bool huge = pool->chunk_count >= TR__POOL_SMALL;
    tr__block *chunk = huge ? tr__huge_alloc(true) : tr__alloc(TR__POOL_CHUNK);
    if (!chunk)
        return false;
    tr__block **list = huge ? &pool->huge_chunks : &pool->chunks;
    chunk->next = *list;
    *list = chunk;
    pool->chunk_count++;
    pool->bump =
        (char *)chunk + 32; /* keeps blocks aligned; what the old chunk had left is lost: < a block */
    pool->bump_end = (char *)chunk + (huge ? TR__HUGE : TR__POOL_CHUNK);
    return true;
}
#endif

void *tr__pool_refill(tr__pool *pool, uint8_t size_class, size_t size)
{
#ifdef TR_PLAIN_POOLS
    (void)pool;
    (void)size_class;
    return tr__alloc(size);
#else
    if (size_class == TR__CLASS_LARGE)
        return tr__large_alloc(size);
    size_t bytes = tr__pool_class_size[size_class];
    if ((size_t)(pool->bump_end - pool->bump) < bytes && !chunk_add(pool))
        return NULL;
    void *block = pool->bump;
    pool->bump += bytes;
    pool->carved++;
    return block;
#endif
}

void tr__pool_give_slow(tr__pool *pool, void *block, uint8_t size_class)
{
    (void)pool;
    (void)size_class;
    tr__large_free(block);
}
