/* Memory of large messages, kept for the next ones. What malloc gives of that size it takes from the system and gives back,
 * so each page of each message is one that the kernel has to find and clear: at 2 GB/s that took a quarter of the time.
 *
 * A few blocks a process, the longest unused goes first. Any thread: a lock is nothing beside filling such a block.
 *
 * L1  What is kept is at most KEPT_BYTES in KEPT blocks.
 * L2  Who takes one has no more than a quarter more than was asked for. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define KEPT       8
#define KEPT_BYTES ((size_t)8 << 20)

typedef struct kept_block {
    void *block;
    size_t size;
} kept_block;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static kept_block kept[KEPT]; /* under lock, as all below: the longest unused first */
static unsigned count;
static size_t bytes;

static void *drop(unsigned i)
{
    void *block = kept[i].block;
    bytes -= kept[i].size;
    memmove(&kept[i], &kept[i + 1], (--count - i) * sizeof kept[0]);
    return block;
}

void *tr__large_take(size_t size)
{
    void *block = NULL;
    pthread_mutex_lock(&lock);
    for (unsigned i = count; !block && i-- > 0;) /* the last used is the most likely to be in a cache */
        if (kept[i].size >= size && kept[i].size - size <= size / 4)
            block = drop(i);
    pthread_mutex_unlock(&lock);
    return block;
}

bool tr__large_keep(void *block)
{
    void *dropped[KEPT];
    unsigned dropped_count = 0;
    size_t size = malloc_usable_size(block);
    if (size < TR__LARGE || size > KEPT_BYTES)
        return false;
    pthread_mutex_lock(&lock);
    while (count == KEPT || bytes + size > KEPT_BYTES)
        dropped[dropped_count++] = drop(0);
    kept[count++] = (kept_block){block, size};
    bytes += size;
    pthread_mutex_unlock(&lock);
    while (dropped_count > 0)
        free(dropped[--dropped_count]);
    return true;
}
