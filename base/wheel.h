/* A hierarchical timer wheel (Varghese and Lauck 1987): set, move and cancel in O(1), one list a slot.
 *
 * Time is in nanoseconds of whatever clock the owner reads; the wheel reads none. A tick is 2^16 ns (65.5
 * us); seven levels of 64 slots cover 9 years, later deadlines are clamped to that. A timer never fires
 * before its due time; timers whose due time falls into one tick fire in the order in which they were set
 * (ties are defined). One owner; not thread-safe; never allocates. */
#ifndef TR_BASE_WHEEL_H
#define TR_BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TR__WHEEL_TICK_BITS 16
#define TR__WHEEL_LEVELS    7
#define TR__WHEEL_SLOTS     64
#define TR__NEVER           UINT64_MAX

/* Embedded in what waits. Zeroed = not set. */
typedef struct tr__timer {
    struct tr__timer *next, *prev; /* ring of its slot; both NULL while not set */
    uint64_t due_ns;
} tr__timer;

typedef struct tr__wheel {
    uint64_t tick;                                             /* ticks before this one were handed out */
    uint64_t count;                                            /* timers set */
    uint64_t occupied[TR__WHEEL_LEVELS];                       /* a bit a slot */
    struct tr__timer slots[TR__WHEEL_LEVELS][TR__WHEEL_SLOTS]; /* list heads */
    struct tr__timer expired;                                  /* due, to be handed out, in order */
} tr__wheel;

void tr__wheel_init(tr__wheel *wheel, uint64_t now_ns);
/* Set, or move if already set. */
void tr__wheel_set(tr__wheel *wheel, tr__timer *timer, uint64_t due_ns);
/* Take it out; nothing if it isn't set. */
void tr__wheel_cancel(tr__wheel *wheel, tr__timer *timer);
static inline bool tr__timer_is_set(const tr__timer *timer)
{
    return timer->next != NULL;
}
/* The next timer due at now_ns, taken out of the wheel, or NULL. Called until NULL. A timer set meanwhile
 * with a due time <= now_ns is handed out in a later round only (advance again), so this ends. */
tr__timer *tr__wheel_pop(tr__wheel *wheel, uint64_t now_ns);
/* When the earliest timer can fire, rounded up to its tick's end: exact for the first level, a lower bound
 * that is at worst one cascade early for the others; TR__NEVER when empty. O(levels). */
uint64_t tr__wheel_next_due(const tr__wheel *wheel);

#endif
