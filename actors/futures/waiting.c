/* See waiting.h. */
#include "actors/futures/waiting.h"

bool tr__is_awaited(const tr__pending *pending)
{
    const tr__fiber_state *fiber = pending->owner->fiber;
    return fiber && fiber->wait == TR__WAIT_FUTURE &&
           (fiber->awaited == tr__pending_id(pending) ||
            (pending->kind == TR__PENDING_ASK && fiber->awaited == pending->gather));
}

static uint64_t until(const tr__pending *pending)
{
    if (pending && pending->kind == TR__PENDING_ASK && pending->owner->fiber)
        return pending->until_ns ? pending->until_ns : TR__NEVER;
    return pending && tr__timer_is_set(&pending->timer) ? pending->timer.due_ns : TR__NEVER;
}

size_t tr__waiting_of(const tr_actor *actor, tr__waiting *out, tr__asked *asks, size_t most)
{
    tr__loop *loop = tr__owner(actor);
    const tr__fiber_state *fiber = actor->fiber;
    *out = (tr__waiting){.until_ns = TR__NEVER};
    if (fiber && fiber->wait != TR__WAIT_NONE && !fiber->wake)
        *out = (tr__waiting){
            .what = fiber->wait,
            .where = fiber->where,
            .whom = fiber->wait >= TR__WAIT_PLACES ? fiber->whom : TR_ADDR_NONE,
            .since_ns = fiber->since_ns,
            .until_ns = until(
                tr__pending_get(loop, actor, fiber->wait == TR__WAIT_FUTURE ? fiber->awaited : fiber->timer)),
        };
    size_t count = 0;
    for (const tr__pending *pending = actor->pendings; pending;
         pending = tr__pending_at(tr__owner(actor), pending->next)) {
        if (pending->kind != TR__PENDING_ASK || pending->settled)
            continue;
        if (count < most)
            asks[count] = (tr__asked){
                .callee = pending->callee,
                .type = tr__pending_asked(pending)->name,
                .since_ns = pending->since_ns,
                .until_ns = until(pending),
                .awaited = tr__is_awaited(pending),
            };
        count++;
    }
    return count;
}
