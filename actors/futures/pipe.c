/* Results that come as messages. The actor's own loop.
 *
 * An answer is the message. For what settles without one a block is made when the future is given away, so that no want of
 * memory loses the result. It comes to the front of the mailbox: a receive actor settles its futures in order with its other
 * messages, so this is the place that the answer had among them. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "base/err.h"

#define SETTLED_ROOM (sizeof(tr_settled) + TR_ERROR_TEXT_MAX)

static tr_msg *settled_make(tr__loop *loop, tr_actor *self)
{
    const tr_typeinfo *info = tr__type_of(&tr_settled_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, SETTLED_ROOM) : NULL;
    if (msg) {
        tr__msg_filled(msg, info);
        msg->sender = tr__addr_of(self);
    }
    return msg;
}

tr_err tr_pipe(tr_actor *self, tr_future future, uint64_t tag)
{
    tr__loop *loop = tr__owner(self);
    tr__pending *pending = tr__future_of(self, future, "tr_pipe");
    if (!pending)
        return tr_last_error(self)->code ? tr_last_error(self)->code
                                         : tr__self_fail(self, TR_EINVAL, "tr_pipe: no future");
    if (self->def->run && pending->special & TR__STREAMS)
        return tr__self_fail(self, TR_EINVAL, "tr_pipe of a stream in a fiber: tr_next, then tr_await");
    if (pending->special & TR__PIPED || (pending->then && !self->fiber))
        return tr__self_fail(self, TR_EINVAL, "tr_pipe: this future's result is awaited in another way");
    tr_msg *block = settled_make(loop, self);
    if (!block)
        return tr__self_fail(self, TR_ENOMEM, "no memory for a result that comes as a message");
    block->ask = tag;
    pending->context = block;
    pending->special |= TR__PIPED;
    if (pending->settled && !tr__inflow_holds(pending))
        tr__pipe_settled(loop, pending);
    return TR_OK;
}

uint64_t tr_msg_tag(const tr_msg *msg)
{
    return msg->kind == TR__MSG_NORMAL ? msg->ask : 0;
}

/* The block says how it settled. */
static void write_outcome(tr_msg *block, const tr__pending *pending)
{
    tr_error error = {0};
    tr__pending_error(pending, &error);
    tr_settled *settled = tr__msg_body(block);
    char *text = (char *)(settled + 1);
    memcpy(text, error.text, sizeof(error.text));
    *settled = (tr_settled){.code = error.code, .text = text};
    block->size = SETTLED_ROOM;
    if (pending->kind == TR__PENDING_ASK)
        block->sender = pending->callee;
}

/* At the front, behind what was put there before: results that are piped in one handler come in the order of the calls, and
 * what was deferred comes first (B6). */
static void put_in_front(tr_actor *owner, tr_msg *msg)
{
    tr_msg *before = NULL, *at = owner->head;
    while (at && at->kind <= TR__MSG_NOTICE &&
           at->flags & (at->kind == TR__MSG_NORMAL ? TR__MSG_PIPED | TR__MSG_DEFERRED : TR__MSG_DEFERRED)) {
        before = at;
        at = at->next;
    }
    msg->flags |= TR__MSG_PIPED;
    tr__mailbox_insert(owner, before, msg);
}

void tr__pipe_settled(tr__loop *loop, tr__pending *pending)
{
    tr_actor *owner = pending->owner;
    tr_msg *block = pending->context, *msg = pending->error ? NULL : pending->msg;
    uint64_t tag = block->ask;
    if (owner->exiting)
        return; /* it handles nothing more */
    if (msg) {
        pending->msg = NULL;
    } else {
        write_outcome(block, pending);
        msg = block;
        pending->special &= (uint8_t)~TR__PIPED;
    }
    msg->kind = TR__MSG_NORMAL;
    msg->ask = tag;
    msg->deadline_ns = 0;
    tr__pending_free(loop, pending);
    TR__COUNT(loop->counts.accepted); /* by itself: what came was handled when it settled the future */
    if (owner->fiber) {
        tr__enqueue(loop, owner, msg);
        return;
    }
    msg->queued_at = loop->stamp;
    put_in_front(owner, msg);
    tr__wake(loop, owner);
}

void tr__pipe_end(tr__loop *loop, tr__pending *pending)
{
    tr__msg_free(loop, pending->context);
}
