/* What becomes of a send that finds no place, at the sender's side: refused, dropped and counted, or a fiber waits. (That
 * the oldest make place is the mailbox's side: places.c.) The sending actor's loop. */
#include "actors/overflow.h"

#include <troupe/troupe.h>

#include "actors/send.h"

#define PLACES_ASKED_MAX \
    64 /* by one fiber at a time: those whose waits ran out in time are still to come back */

tr_overflow tr__overflow_of(const tr__loop *loop, tr_addr to)
{
    const tr_actor *slot = to.node == loop->node->id ? tr__slot(loop->node, to.slot) : NULL;
    return slot ? (tr_overflow)tr__overflow(slot) : TR_OVERFLOW_REFUSE;
}

void tr__drop_newest(tr_actor *self, tr_addr to, const char *type)
{
    tr__loop *loop = tr__owner(self);
    TR__COUNT(loop->counts.accepted);
    loop->counts.dropped[TR_DROP_NEWEST]++;
    tr__dead_letter(loop, TR_DROP_NEWEST, type, tr__addr_of(self), to);
}

bool tr__may_wait(tr_actor *self, tr_addr to)
{
    return self->fiber && !self->fiber->matching && !tr_addr_equal(to, tr__addr_of(self)) &&
           tr__overflow_of(tr__owner(self), to) == TR_OVERFLOW_WAIT;
}

static tr_err ask_for_places(tr_actor *self, tr_addr to, uint64_t number)
{
    tr__loop *loop = tr__owner(self);
    if (self->fiber->places_asked == PLACES_ASKED_MAX)
        return tr__self_fail(self, TR_EFULL,
                             "%d waits for places of this fiber have run out of time: let some come",
                             PLACES_ASKED_MAX);
    const tr_typeinfo *info = tr__type_of(&tr_writable_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_writable)) : NULL;
    if (!msg)
        return tr__self_fail(self, TR_ENOMEM, "no memory to wait for places");
    self->fiber->places_asked++;
    self->fiber->awaited = number;
    msg->kind = TR__MSG_WANT_WRITABLE;
    msg->flags = TR__MSG_WAITS;
    tr__msg_filled(msg, info);
    msg->sender = tr__addr_of(self);
    msg->ask = number;
    *(tr_writable *)tr__msg_body(msg) = (tr_writable){.actor = to};
    tr__submit(loop, to, msg);
    return TR_OK;
}

tr_err tr__wait_for_places(tr_actor *self, tr_addr to, size_t size, uint64_t wait_ns, uint32_t *places)
{
    tr__loop *loop = tr__owner(self);
    uint64_t now = tr__now_fresh(loop), until = wait_ns > UINT64_MAX - now ? UINT64_MAX : now + wait_ns;
    self->fiber->whom = to;
    for (;;) {
        uint64_t number = ++loop->next_number;
        if (!self->fiber->killed) /* else it only steps aside */
            TR_TRY(ask_for_places(self, to, number));
        TR_TRY(tr__fiber_wait_places(self, number, until));
        *places = tr__msg_places(size);
        if (tr__reserve(loop, to, places) == TR_OK)
            return TR_OK;
    }
}
