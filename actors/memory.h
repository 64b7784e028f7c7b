/* What actors take through the API, and the budget that a definition may set for it (tr_actor_def.memory_max).
 *
 * U1  extras.taken is the sum of what the budgeted actor has: its state, blocks of tr_alloc with their heads, kept messages,
 *     and entries for asks, gathers, timers and watched descriptors.
 *
 * Who has no budget pays a look at a field of its extras, if it has any. The owner's loop only. */
#ifndef TR_ACTORS_MEMORY_H
#define TR_ACTORS_MEMORY_H

#include "actors/loop.h"

/* With the budget of its definition, if that has one, when the actor arrives: false, no memory. */
bool tr__memory_begin(tr__loop *loop, tr_actor *actor);
/* Blocks of tr_alloc, at its end. */
void tr__memory_end(tr__extras *extras);
/* Over the budget: false, with the actor's last error (TR_ENOMEM), and it ends when its handler returns. */
bool tr__charge_slow(tr__loop *loop, tr_actor *actor, size_t size);

static inline bool tr__has_budget(const tr_actor *actor)
{
    return __builtin_expect(actor->extras != NULL, 0) && actor->extras->memory_max;
}
static inline bool tr__charge(tr__loop *loop, tr_actor *actor, size_t size)
{
    return !tr__has_budget(actor) || tr__charge_slow(loop, actor, size);
}
static inline void tr__discharge(tr_actor *actor, size_t size)
{
    if (tr__has_budget(actor))
        actor->extras->taken -= size;
}

#endif
