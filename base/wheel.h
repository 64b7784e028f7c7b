/* A hierarchical timer wheel (Varghese and Lauck 1987): set, move and cancel in O(1), one list a slot.
 *
 * Time is in nanoseconds of whatever clock the owner reads; the wheel reads none. A tick is 2^16 ns (65.5 us)
 * and a timer fires at the first tick that is not before its due time: never early, up to a tick late. Timers
 * of the same tick fire in the order in which they were set (a move sets anew). A due time that has passed
 * counts as the wheel's next tick. Seven levels of 64 slots cover nine years; a later deadline waits as long
 * as it must, but ties among those have no defined order. One owner; not thread-safe; never allocates; cannot
 * fail. */
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

/* Must stay where it was initialised: its lists point into it. */
typedef struct tr__wheel {
    uint64_t tick;                       /* those before it were collected in `expired` */
    uint64_t count;                      /* timers set, with those in `expired` */
    uint64_t occupied[TR__WHEEL_LEVELS]; /* a bit a slot */
    struct tr__timer slots[TR__WHEEL_LEVELS][TR__WHEEL_SLOTS]; /* list heads */
    struct tr__timer expired;                                  /* due, to be handed out, in order */
} tr__wheel;

/* Empty, as of now_ns. Any timers that were in it are forgotten, not unset. */
void tr__wheel_init(tr__wheel *wheel, uint64_t now_ns);
/* Set, or move if already set. The timer is the caller's and must stay where it is until it was handed out or
 * cancelled. At a million timers: 5 ns, a move 15. */
void tr__wheel_set(tr__wheel *wheel, tr__timer *timer, uint64_t due_ns);
/* Take it out, also when it is due but not yet handed out; nothing if it isn't set. */
void tr__wheel_cancel(tr__wheel *wheel, tr__timer *timer);
static inline bool tr__timer_is_set(const tr__timer *timer)
{
    return timer->next != NULL;
}
/* The next timer due at now_ns, taken out of the wheel, or NULL. A round calls it with one value of now_ns
 * until NULL: the first call collects all that is due, the others hand it out. A timer set meanwhile with a
 * due time <= now_ns is of the next tick, so the round ends. now_ns before an earlier one's finds nothing
 * new. */
tr__timer *tr__wheel_pop(tr__wheel *wheel, uint64_t now_ns);
/* When to call pop next: never later than the earliest timer can fire, nor before what pop has seen. Exact
 * within the current 64 ticks, otherwise where the earliest slot begins, for which pop may find nothing yet
 * (at most once a level). In the past while something collected waits to be handed out; TR__NEVER when empty.
 * O(levels). */
uint64_t tr__wheel_next_due(const tr__wheel *wheel);

#endif
