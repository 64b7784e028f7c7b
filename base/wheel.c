/* The timer wheel. Runs on its owner's thread, in the owner's memory; nothing here can fail.
 *
 * A timer's tick is its due time rounded up. Written in base 64, the tick and the wheel's own tick agree from
 * the top down to some digit: the place of that digit is the timer's level, its value there the slot. From
 * that follow:
 * - W1 no slot at or below the wheel's own digit is in use (but on level 0 its own, which is due next), so
 * the earliest slot of a level is found by one rotation and one count of zeros, however long nothing was due;
 * - W2 all timers of one level are due before all of the next, so the lowest level in use has the earliest;
 * - W3 while a slot waits, nothing can be put on a lower level that belongs to its span. It is spread over
 * the lower levels, in order, when the wheel enters its span, and finds empty lists there: a list is always
 * in the order in which its timers were set. The highest level is the exception to W1: its digits go round,
 * and a deadline beyond its reach waits in the farthest slot to be placed again, which can happen only once
 * in some nine years.
 *
 * Rejected: the level by distance instead of by digit (as in Lauck's and Linux' wheels) has slots that
 * straddle a cascade, which costs either the order of ties or a scan. Searching in pop instead of collecting
 * all that is due first: a handler that sets timers due at once would never let its round end. */
#include "base/wheel.h"

#include "base/check.h"

#define DIGIT_BITS 6
#define TOP        (TR__WHEEL_LEVELS - 1)
/* How far ahead a timer can be placed: the slot of the top level's own digit stays free. */
#define REACH ((uint64_t)(TR__WHEEL_SLOTS - 1) << (TOP * DIGIT_BITS))

/* Where the earliest slot in use begins. */
typedef struct slot_found {
    int level; /* -1: none is in use */
    unsigned slot;
    uint64_t tick;
} slot_found;

static inline uint64_t tick_after(uint64_t due_ns)
{
    return (due_ns >> TR__WHEEL_TICK_BITS) + ((due_ns & ((1u << TR__WHEEL_TICK_BITS) - 1)) != 0);
}

static inline void make_empty(tr__timer *head)
{
    head->next = head->prev = head;
}

static inline void insert(tr__timer *prev, tr__timer *timer, tr__timer *next)
{
    timer->next = next;
    timer->prev = prev;
    prev->next = timer;
    next->prev = timer;
}

/* All of `from`, which isn't empty, behind the last of `to`. Leaves `from` as it was: to be made empty, or
 * left. */
static inline void append_all(tr__timer *to, tr__timer *from)
{
    tr__timer *first = from->next, *last = from->prev, *before = to->prev;
    before->next = first;
    first->prev = before;
    last->next = to;
    to->prev = last;
}

/* The slot that the digits say, over all levels; marked as in use, since the timer goes there. */
static inline unsigned claim_slot(tr__wheel *wheel, uint64_t due_ns)
{
    uint64_t now = wheel->tick;
    uint64_t tick = tick_after(due_ns);
    if (tick < now)
        tick = now;
    else if (__builtin_expect(tick - now > REACH, 0))
        tick = now + REACH;
    unsigned level = (63 - (unsigned)__builtin_clzll((tick ^ now) | 1)) / DIGIT_BITS;
    if (__builtin_expect(level > TOP, 0))
        level = TOP;
    unsigned slot = (tick >> (level * DIGIT_BITS)) % TR__WHEEL_SLOTS;
    wheel->occupied[level] |= 1ull << slot;
    return level * TR__WHEEL_SLOTS + slot;
}

/* Out of its list, and the slot's bit off if it was alone there: then both its neighbours are the list's
 * head. */
static inline void take_out(tr__wheel *wheel, tr__timer *timer)
{
    tr__timer *next = timer->next, *prev = timer->prev;
    next->prev = prev;
    prev->next = next;
    if (next == prev && next != &wheel->expired) {
        size_t slot = (size_t)(next - &wheel->slots[0][0]);
        wheel->occupied[slot / TR__WHEEL_SLOTS] &= ~(1ull << slot % TR__WHEEL_SLOTS);
    }
}

void tr__wheel_init(tr__wheel *wheel, uint64_t now_ns)
{
    wheel->tick = now_ns >> TR__WHEEL_TICK_BITS;
    wheel->count = 0;
    for (int level = 0; level < TR__WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (int slot = 0; slot < TR__WHEEL_SLOTS; slot++)
            make_empty(&wheel->slots[level][slot]);
    }
    make_empty(&wheel->expired);
}

void tr__wheel_set(tr__wheel *wheel, tr__timer *timer, uint64_t due_ns)
{
    if (tr__timer_is_set(timer))
        take_out(wheel, timer);
    else
        wheel->count++;
    timer->due_ns = due_ns;
    tr__timer *head = &wheel->slots[0][0] + claim_slot(wheel, due_ns);
    insert(head->prev, timer, head);
}

void tr__wheel_cancel(tr__wheel *wheel, tr__timer *timer)
{
    if (!tr__timer_is_set(timer))
        return;
    take_out(wheel, timer);
    timer->next = timer->prev = NULL;
    wheel->count--;
}

/* W1 and W2 in code. */
static inline slot_found earliest_slot(const tr__wheel *wheel)
{
    for (int level = 0; level < TR__WHEEL_LEVELS; level++) {
        uint64_t occupied = wheel->occupied[level];
        if (!occupied)
            continue;
        uint64_t own = wheel->tick >> (level * DIGIT_BITS);
        unsigned digit = own % TR__WHEEL_SLOTS;
        uint64_t turned = (occupied >> digit) | (occupied << (-digit % TR__WHEEL_SLOTS));
        uint64_t first = own + (unsigned)__builtin_ctzll(turned);
        return (slot_found){level, first % TR__WHEEL_SLOTS, first << (level * DIGIT_BITS)};
    }
    return (slot_found){-1, 0, 0};
}

/* A slot of level 0 is one tick: the whole list is due. */
static void expire(tr__wheel *wheel, unsigned slot)
{
    tr__timer *head = &wheel->slots[0][slot];
    append_all(&wheel->expired, head);
    make_empty(head);
    wheel->occupied[0] &= ~(1ull << slot);
}

/* The wheel enters the slot's span: its timers go to lower levels. Those beyond the wheel's reach may come
 * back to the top level, to another slot. A long list isn't in cache, and each step waits for memory. So it
 * is walked from both ends at once, which waits for two at a time: what comes from the back is put, from the
 * back, into lists of its own, which are joined to the others in the end. */
static void cascade(tr__wheel *wheel, int level, unsigned slot)
{
    tr__timer backs[TR__WHEEL_LEVELS * TR__WHEEL_SLOTS]; /* list heads, made when first used */
    uint64_t made[TR__WHEEL_LEVELS] = {0};
    tr__timer *heads = &wheel->slots[0][0], *head = &wheel->slots[level][slot];
    tr__timer *front = head->next, *back = head->prev;
    make_empty(head);
    wheel->occupied[level] &= ~(1ull << slot);
    for (bool more = true; more;) {
        tr__timer *front_next = front->next, *back_prev = back->prev;
        more = front != back && front_next != back;
        if (front != back) {
            unsigned to = claim_slot(wheel, back->due_ns);
            uint64_t *mask = &made[to / TR__WHEEL_SLOTS], bit = 1ull << to % TR__WHEEL_SLOTS;
            if (!(*mask & bit))
                make_empty(&backs[to]);
            *mask |= bit;
            insert(&backs[to], back, backs[to].next);
        }
        head = heads + claim_slot(wheel, front->due_ns);
        insert(head->prev, front, head);
        front = front_next;
        back = back_prev;
    }
    for (unsigned i = 0; i < TR__WHEEL_LEVELS; i++) {
        for (; made[i]; made[i] &= made[i] - 1) {
            unsigned to = i * TR__WHEEL_SLOTS + (unsigned)__builtin_ctzll(made[i]);
            append_all(heads + to, &backs[to]);
        }
    }
}

/* Collect what is due up to and with the tick `last`, in order. A slot that begins just behind it is spread
 * as well, since the wheel stands in its span afterwards (W3). */
static void advance(tr__wheel *wheel, uint64_t last)
{
    for (;;) {
        slot_found found = earliest_slot(wheel);
        if (found.level < 0 || found.tick > last + (found.level > 0))
            break;
        tr__check_slow(found.tick >= wheel->tick, "W1: slot %u of level %d lies in the past", found.slot,
                       found.level);
        wheel->tick = found.tick;
        if (found.level == 0)
            expire(wheel, found.slot);
        else
            cascade(wheel, found.level, found.slot);
    }
    wheel->tick = last + 1;
}

tr__timer *tr__wheel_pop(tr__wheel *wheel, uint64_t now_ns)
{
    tr__timer *head = &wheel->expired;
    tr__timer *timer = head->next;
    if (timer == head) {
        uint64_t last = now_ns >> TR__WHEEL_TICK_BITS;
        if (last < wheel->tick)
            return NULL;
        advance(wheel, last);
        timer = head->next;
        if (timer == head)
            return NULL;
    }
    tr__timer *next = timer->next;
    head->next = next;
    next->prev = head;
    __builtin_prefetch(next->next, 1);
    timer->next = timer->prev = NULL;
    wheel->count--;
    return timer;
}

uint64_t tr__wheel_next_due(const tr__wheel *wheel)
{
    uint64_t tick;
    if (wheel->expired.next != &wheel->expired) {
        tick = tick_after(wheel->expired.next->due_ns);
    } else {
        slot_found found = earliest_slot(wheel);
        if (found.level < 0)
            return TR__NEVER;
        tick = found.tick;
    }
    return tick > TR__NEVER >> TR__WHEEL_TICK_BITS ? TR__NEVER : tick << TR__WHEEL_TICK_BITS;
}
