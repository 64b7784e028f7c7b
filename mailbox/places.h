/* The places of a mailbox: one atomic word that holds its generation (high half) and its free places (low half).
 *
 * B1  What was drawn is either in a queue, in a loop's hand, or given back: free + held + queued == capacity.
 *     Of a mailbox that drops its oldest: free + held + under way == capacity, and the owner's loop has a second pool in
 *     its hand: local + queued == capacity (B3).
 * B2  Another generation draws nothing, and giving back to it does nothing: a late giver can't widen the mailbox of the
 *     slot's next actor.
 * All functions: any thread, lock-free. Relaxed order is enough: the word carries no data, the messages themselves are
 * published by the outbox's push. */
#ifndef TR_MAILBOX_PLACES_H
#define TR_MAILBOX_PLACES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t tr__places;

/* Of the low half: a message beyond the node's budget is on its way to the mailbox, or in it (actors/budget.c). */
#define TR__PLACES_MARK (UINT64_C(1) << 31)

static inline void tr__places_open(tr__places *word, uint32_t generation, uint32_t free)
{
    atomic_store_explicit(word, (uint64_t)generation << 32 | free, memory_order_relaxed);
}

/* Nobody draws from now on. */
static inline void tr__places_shut(tr__places *word)
{
    atomic_store_explicit(word, 0, memory_order_relaxed);
}

/* Draw up to `want`, but no less than `least`: how many, or 0 (too few). *stale tells that the generation is another. */
static inline uint32_t tr__places_draw(tr__places *word, uint32_t generation, uint32_t least, uint32_t want,
                                       bool *stale)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    for (;;) {
        uint32_t free = (uint32_t)(seen & (TR__PLACES_MARK - 1));
        *stale = (uint32_t)(seen >> 32) != generation;
        if (*stale || free < least)
            return 0;
        uint32_t take = free < want ? free : want;
        if (atomic_compare_exchange_weak_explicit(word, &seen, seen - take, memory_order_relaxed,
                                                  memory_order_relaxed))
            return take;
    }
}

static inline void tr__places_give(tr__places *word, uint32_t generation, uint32_t places)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    while ((uint32_t)(seen >> 32) == generation &&
           !atomic_compare_exchange_weak_explicit(word, &seen, seen + places, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

static inline uint32_t tr__places_free(const tr__places *word)
{
    return (uint32_t)(atomic_load_explicit((tr__places *)word, memory_order_relaxed) & (TR__PLACES_MARK - 1));
}

/* Mark it; false: it is marked already. Of another generation: true, and nothing is done. */
static inline bool tr__places_mark(tr__places *word, uint32_t generation)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    do {
        if ((uint32_t)(seen >> 32) != generation)
            return true;
        if (seen & TR__PLACES_MARK)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(word, &seen, seen | TR__PLACES_MARK, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static inline void tr__places_unmark(tr__places *word, uint32_t generation)
{
    uint64_t seen = atomic_load_explicit(word, memory_order_relaxed);
    while ((uint32_t)(seen >> 32) == generation &&
           !atomic_compare_exchange_weak_explicit(word, &seen, seen & ~TR__PLACES_MARK, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

#endif
