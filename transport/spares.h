/* A few blocks of one size that are kept for their next use, so that what flows doesn't go through the allocator: it would
 * give their pages back to the system and get them anew, zeroed. Any thread puts and takes; whoever holds a block owns it. */
#ifndef TR_TRANSPORT_SPARES_H
#define TR_TRANSPORT_SPARES_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/mem.h"

#define TR__SPARES 4

/* Zeroed = empty. */
typedef struct tr__spares {
    _Atomic(void *) at[TR__SPARES];
} tr__spares;

/* One of them; NULL: there is none. */
static inline void *tr__spares_take(tr__spares *spares)
{
    for (int i = 0; i < TR__SPARES; i++) {
        if (!atomic_load_explicit(&spares->at[i], memory_order_relaxed))
            continue;
        /* acquire: what its last user wrote there is behind us */
        void *block = atomic_exchange_explicit(&spares->at[i], NULL, memory_order_acquire);
        if (block)
            return block;
    }
    return NULL;
}

/* Keep it, or free it if there are enough. */
static inline void tr__spares_put(tr__spares *spares, void *block)
{
    for (int i = 0; i < TR__SPARES; i++) {
        void *none = NULL;
        if (!atomic_load_explicit(&spares->at[i], memory_order_relaxed) &&
            atomic_compare_exchange_strong_explicit(&spares->at[i], &none, block, memory_order_release,
                                                    memory_order_relaxed))
            return;
    }
    tr__free(block);
}

/* Free them; nobody uses it any more. */
static inline void tr__spares_fini(tr__spares *spares)
{
    for (int i = 0; i < TR__SPARES; i++)
        tr__free(tr__spares_take(spares));
}

#endif
