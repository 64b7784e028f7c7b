/* Asks that are handed on. The ask's block travels, so its answer, its deadline and its failure go straight to who asked,
 * whoever has it in the end; only a cancel has to find it. So who asked is told who has it: by the loop that the ask came
 * to, since a cancel that follows this is behind the ask then.
 *
 *     forwarder ──FORWARD──► loop of the new callee ──MOVED──► loop of the asker ──CANCEL, if nobody waits──► new callee
 *
 * Of an asker on another node the block stayed there (waits.h): an ask that goes on to a third node, or back, isn't sent
 * again from here. The asker's node hears where it is to go and sends its own block. */
#include <troupe/troupe.h>

#include "actors/budget.h"
#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/remote/remote.h"
#include "actors/send.h"
#include "base/err.h"

/* ---- the forwarder's loop ------------------------------------------------------------------------------ */

static bool is_in_hand(const tr_actor *self, const tr__loop *loop, const tr_msg *ask)
{
    return (ask->flags & TR__MSG_KEPT) || ask == (self->fiber ? self->fiber->received : loop->current);
}

static tr_err check(tr_actor *self, const tr_msg *ask)
{
    if (!ask || ask->kind != TR__MSG_ASK)
        return tr__self_fail(self, TR_EINVAL, "tr_forward: %s: tr_send_msg sends a message on",
                             ask ? "this is no ask" : "no message");
    if (ask->flags & TR__MSG_CANCELED)
        return tr__self_fail(self, TR_ECANCELED, "whoever asked this %s has given it up",
                             tr_msg_type_name(ask));
    if ((ask->flags & TR__MSG_ANSWERED) || !is_in_hand(self, tr__owner(self), ask))
        return tr__self_fail(self, TR_EINVAL,
                             "tr_forward: this %s was answered, or isn't in this actor's hand",
                             tr_msg_type_name(ask));
    if (ask->flags & TR__MSG_STREAM && tr__outflow_has_begun(tr__owner(self), ask))
        return tr__self_fail(self, TR_EINVAL, "tr_forward: items of this %s were sent already",
                             tr_msg_type_name(ask));
    return TR_OK;
}

static tr_err refuse(tr_actor *self, const tr_msg *ask, tr_addr to, tr_err code)
{
    char address[TR_ADDR_TEXT_MAX];
    tr__addr_format(to, address);
    return tr__self_fail(self, code, "forwarding %s to %s: %s", tr_msg_type_name(ask), address,
                         tr__err_meaning(code));
}

/* Out of the handler's, the fiber's or the actor's own hand. */
static tr_msg *take(tr_actor *self, const tr_msg *ask)
{
    tr__loop *loop = tr__owner(self);
    if (ask->flags & TR__MSG_STREAM)
        tr__outflow_end(loop, ask);
    else
        ((tr_msg *)ask)->error = TR_OK; /* why it couldn't be answered here is no matter there */
    if (ask->flags & TR__MSG_KEPT)
        tr__unkeep(self, (tr_msg *)ask);
    else if (self->fiber)
        self->fiber->received = NULL;
    else
        loop->current = NULL;
    return (tr_msg *)ask;
}

/* Its own node sends the block that it kept. */
static tr_err send_elsewhere(tr_actor *self, const tr_msg *ask, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    tr_err err = tr__remote_check(loop->node, ask->sender.node, NULL, NULL, 0);
    tr_msg *moved = err == TR_OK ? tr__moved_of(loop, ask, to, tr__one_hop_more(ask)) : NULL;
    if (!moved)
        return refuse(self, ask, to, err ? err : TR_ENOMEM);
    tr_msg *mine = take(self, ask);
    tr__submit(loop, ask->sender, moved);
    mine->flags |= TR__MSG_ANSWERED; /* as far as this node is concerned */
    tr__release(loop, mine);
    return TR_OK;
}

tr_err tr_forward(tr_actor *self, const tr_msg *ask, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    TR_TRY(check(self, ask));
    bool local = to.node == loop->node->id;
    if (!local && ask->sender.node != loop->node->id)
        return send_elsewhere(self, ask, to);
    bool beyond = false;
    if (local && !tr__budget_admits(loop->node, to, ask->type, ask->size, true, &beyond))
        return tr__budget_refuse(self, tr_msg_type_name(ask));
    uint32_t places = local ? tr__msg_places(ask->size) : 0;
    tr_err err = local ? tr__reserve(loop, to, &places)
                       : tr__remote_check(loop->node, to.node, ask->type, tr__msg_body(ask), ask->size);
    if (err != TR_OK && beyond)
        tr__budget_leave(loop->node, to);
    if (err != TR_OK)
        return refuse(self, ask, to, err);
    tr_msg *mine = take(self, ask);
    mine->kind = TR__MSG_FORWARD;
    mine->hops = tr__one_hop_more(mine) & TR__HOPS_MAX;
    mine->flags |= beyond ? TR__MSG_BEYOND : 0;
    mine->places = (uint16_t)places;
    tr__submit(loop, to, mine);
    return TR_OK;
}

/* ---- the new callee's loop ----------------------------------------------------------------------------- */

tr_msg *tr__moved_make(tr__loop *loop, uint64_t ask, tr_addr callee, uint8_t hops)
{
    _Static_assert(sizeof(tr_canceled) >= sizeof(tr_addr), "the block may become the cancel");
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_canceled));
    if (!msg)
        return NULL;
    msg->kind = TR__MSG_MOVED;
    msg->ask = ask;
    msg->hops = hops & TR__HOPS_MAX;
    *(tr_addr *)tr__msg_body(msg) = callee;
    return msg;
}

tr_msg *tr__moved_of(tr__loop *loop, const tr_msg *ask, tr_addr callee, uint8_t hops)
{
    tr_msg *msg = tr__moved_make(loop, ask->ask, callee, hops);
    if (msg)
        msg->flags |= ask->flags & TR__MSG_STREAM;
    return msg;
}

/* ---- the asker's loop ---------------------------------------------------------------------------------- */

void tr__moved_arrived(tr__loop *loop, tr_actor *asker, tr_msg *msg)
{
    tr_addr callee = *(tr_addr *)tr__msg_body(msg);
    tr__pending *pending = tr__pending_get(loop, asker, msg->ask);
    if (pending && pending->kind == TR__PENDING_ASK && !pending->settled) {
        bool begun =
            pending->special & TR__STREAMS && pending->inflow->outflow; /* its items say who has it */
        bool ours = !msg->sender.node;                                  /* of a peer only if that has it */
        bool news = ours ? tr__moved_is_news(msg, pending->left) : msg->sender.node == pending->callee.node;
        if (!begun && news) {
            pending->callee = callee;
            pending->left = ours ? msg->hops : pending->left;
        }
    } else { /* given up, or answered already: a cancel finds nothing then */
        tr__moved_lost(loop, loop->node->id, msg);
        return;
    }
    tr__msg_free(loop, msg);
}

void tr__moved_lost(tr__loop *loop, uint64_t asker_node, tr_msg *msg)
{
    tr_addr callee = *(tr_addr *)tr__msg_body(msg), from = {asker_node, msg->to.slot, msg->to.generation};
    /* Of an asker elsewhere only what is here has come to its callee; and to a third node its cancel would say that it is
     * of this one. */
    bool came = asker_node == loop->node->id || callee.node == loop->node->id;
    if (loop->stopping || !came) {
        tr__msg_free(loop, msg);
        return;
    }
    msg->kind = TR__MSG_CANCEL;
    tr__msg_filled(msg, tr__type_of(&tr_canceled_type));
    msg->sender = from;
    *(tr_canceled *)tr__msg_body(msg) = (tr_canceled){.asker = from, .ask = msg->ask};
    tr__submit(loop, callee, msg);
}
