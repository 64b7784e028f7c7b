/* Asks that are given up: how their callee hears. */
#include <troupe/troupe.h>

#include "actors/defer.h"
#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "base/plant.h"

tr_msg *tr__cancel_make(tr__loop *loop)
{
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_canceled));
    if (msg) {
        msg->kind = TR__MSG_CANCEL;
        tr__msg_filled(msg, tr__type_of(&tr_canceled_type));
    }
    return msg;
}

/* Of a stream there is one: its callee may wait for demand. Else best effort: without memory the callee works for nothing, but
 * nobody is misled. */
static tr_msg *take_cancel(tr__loop *loop, const tr__pending *pending)
{
    if (!(pending->special & TR__STREAMS))
        return tr__cancel_make(loop);
    tr_msg *made = pending->inflow->cancel;
    pending->inflow->cancel = NULL;
    made->flags |= TR__MSG_STREAM; /* so that it isn't lost on its way either (remote/out.c) */
    return made;
}

void tr__cancel_callee(tr__loop *loop, const tr__pending *pending)
{
    bool goes_on = pending->special & TR__CONFIRMS;
    tr_msg *msg = loop->stopping || goes_on ? NULL : take_cancel(loop, pending);
    if (!msg)
        return;
    msg->sender = tr__addr_of(pending->owner);
    msg->ask = tr__pending_id(pending);
    *(tr_canceled *)tr__msg_body(msg) = (tr_canceled){.asker = msg->sender, .ask = msg->ask};
    tr__submit(loop, pending->callee, msg);
}

static bool is_ask(const tr_msg *msg, const tr_msg *cancel)
{
    return msg && msg->kind == TR__MSG_ASK && msg->ask == cancel->ask &&
           tr_addr_equal(msg->sender, cancel->sender);
}

static void drop(tr__loop *loop, tr_actor *callee, tr_msg *ask)
{
    tr__places_back(loop, callee, TR_PLANT(place_lost) ? 0 : ask->places);
    ask->flags |= TR__MSG_ANSWERED;
    tr__drop(loop, ask, TR_DROP_CANCELED);
}

/* Drop the queued ask; its asker has gone on, so no answer is made. */
static bool drop_queued(tr__loop *loop, tr_actor *callee, const tr_msg *cancel)
{
    tr_msg *before = NULL;
    for (tr_msg *msg = callee->head; msg; before = msg, msg = msg->next)
        if (is_ask(msg, cancel)) {
            tr__mailbox_unlink(callee, before, msg);
            drop(loop, callee, msg);
            return true;
        }
    tr_msg *deferred = callee->extras ? tr__deferred_take(callee, is_ask, cancel) : NULL;
    if (deferred)
        drop(loop, callee, deferred);
    return deferred != NULL;
}

/* The ask among what the callee keeps, or its fiber has received; NULL: it isn't there. */
static tr_msg *kept_ask(const tr_actor *callee, const tr_msg *cancel)
{
    tr_msg *first = callee->extras ? callee->extras->kept : NULL, *msg = first;
    if (callee->fiber && is_ask(callee->fiber->received, cancel))
        return callee->fiber->received;
    if (msg)
        do {
            if (is_ask(msg, cancel))
                return msg;
            msg = msg->next;
        } while (msg != first);
    return NULL;
}

void tr__cancel_arrived(tr__loop *loop, tr_actor *callee, tr_msg *msg)
{
    tr_msg *kept = drop_queued(loop, callee, msg) ? NULL : kept_ask(callee, msg);
    if (kept &&
        !(kept->flags & TR__MSG_CANCELED)) { /* once: one that was handed round may be told of twice */
        kept->flags |= TR__MSG_ANSWERED | TR__MSG_CANCELED;
        if (kept->flags & TR__MSG_STREAM)
            tr__outflow_canceled(loop, kept);
        msg->kind = TR__MSG_NOTICE; /* the block was made for this */
        msg->flags &= (uint8_t)~TR__MSG_STREAM;
        tr__deliver(loop, msg);
        return;
    }
    TR__COUNT(loop->counts.handled);
    tr__msg_free(loop, msg);
}
