/* Streamed asks at who answers them: see flow.h. The actor's own loop. */
#include <troupe/troupe.h>

#include "actors/futures/flow.h"
#include "actors/remote/remote.h"
#include "actors/send.h"

/* ---- the entry ----------------------------------------------------------------------------------------- */

static tr__pending *outflow_of(const tr__loop *loop, const tr_msg *ask)
{
    uint32_t index = ask->queued_at;
    if (!(ask->home & TR__HOME_HOLDS) || index >= loop->pending_next)
        return NULL;
    tr__pending *pending = tr__pending_at(loop, index + 1);
    return pending->kind == TR__PENDING_OUTFLOW && pending->context == ask ? pending : NULL;
}

/* The like, made if need be; NULL: no memory. */
static tr__pending *open_outflow(tr_actor *self, const tr_msg *ask)
{
    tr__loop *loop = tr__owner(self);
    tr__pending *pending = outflow_of(loop, ask);
    if (pending || !(pending = tr__pending_make(loop, self, TR__PENDING_OUTFLOW)))
        return pending;
    pending->mode = ask->error;
    pending->left = ask->error;
    pending->context = (tr_msg *)ask;
    ((tr_msg *)ask)->queued_at = pending->index;
    ((tr_msg *)ask)->home |= TR__HOME_HOLDS;
    return pending;
}

void tr__outflow_fails(tr_actor *self, const tr_msg *ask, tr_err error)
{
    tr__pending *pending = open_outflow(self, ask);
    if (pending)
        pending->error = (uint8_t)error;
}

tr_err tr__outflow_error(const tr__loop *loop, const tr_msg *ask)
{
    const tr__pending *pending = outflow_of(loop, ask);
    return pending ? (tr_err)pending->error : TR_OK;
}

bool tr__outflow_has_begun(const tr__loop *loop, const tr_msg *ask)
{
    const tr__pending *pending = outflow_of(loop, ask);
    return pending && pending->gather;
}

void tr__outflow_end(tr__loop *loop, const tr_msg *ask)
{
    tr__pending *pending = outflow_of(loop, ask);
    if (pending)
        tr__pending_free(loop, pending);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static tr_err check(tr_actor *self, const tr_msg *ask, const tr_typeinfo *info)
{
    tr__loop *loop = tr__owner(self);
    TR_TRY(tr__check_ask(self, ask));
    if (!(ask->flags & TR__MSG_STREAM))
        return tr__self_fail(self, TR_EINVAL, "this %s was asked for an answer only: tr_reply",
                             tr_msg_type_name(ask));
    if (tr__msg_expired(ask, loop->now_ns))
        return tr__self_fail(self, TR_EDEADLINE, "the deadline of this %s has passed", tr_msg_type_name(ask));
    if (info && info->notice)
        return tr__self_fail(self, TR_EPERM, "a %s is sent by the runtime only", info->name);
    return TR_OK;
}

static tr_msg *make_item(tr_actor *self, const tr_msg *ask, tr_type *type, const void *body)
{
    tr_msg *msg = tr__msg_make_with_room(self, type, body, sizeof(tr_demand));
    if (msg && ask->sender.node != tr__owner(self)->node->id)
        msg = tr__fit_for_connection(self, ask, msg);
    return msg;
}

/* It is made already: what its body pointed to may be gone after the wait. If that is cut off, the fiber's end frees it. */
static tr_err wait_for_demand(tr_actor *self, const tr_msg *ask, const tr__pending *outflow, tr_msg *msg,
                              const char *where)
{
    self->fiber->sending = msg;
    tr_err err = tr__fiber_demand(self, outflow, where);
    self->fiber->sending = NULL;
    return err == TR_OK ? tr__check_ask(self, ask) : err;
}

/* A large item waits for room on the connection's bulk lane, as a large message does. The notice of that comes as demand (for
 * nothing more). Without memory for it the item goes. */
static bool lacks_room(tr_actor *self, const tr_msg *ask, const tr__pending *outflow, const tr_msg *msg)
{
    tr__loop *loop = tr__owner(self);
    uint64_t there = ask->sender.node;
    if (there == loop->node->id ||
        !tr__remote_lacks_room(loop->node, there, msg->type, tr__msg_body(msg), msg->size))
        return false;
    tr_msg *want = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_demand));
    if (!want)
        return false;
    want->kind = TR__MSG_WANT_WRITABLE;
    tr__msg_filled(want, tr__type_of(&tr_demand_type));
    want->flags |= TR__MSG_STREAM;
    want->sender = tr__addr_of(self);
    want->ask = ask->ask;
    want->deadline_ns = tr__pending_id(outflow);
    *(tr_demand *)tr__msg_body(want) = (tr_demand){.asker = ask->sender, .ask = ask->ask};
    tr__submit(loop, ask->sender, want);
    return true;
}

static tr_err wait_for_room(tr_actor *self, const tr_msg *ask, tr__pending *outflow, tr_msg *msg,
                            const char *where)
{
    while (lacks_room(self, ask, outflow, msg)) {
        if (!self->fiber) {
            outflow->settled = true;
            return tr__self_fail(self, TR_EAGAIN,
                                 "the connection to who asked this %s has no room for another large item: a "
                                 "tr_demand tells when",
                                 tr_msg_type_name(ask));
        }
        TR_TRY(wait_for_demand(self, ask, outflow, msg, where));
        TR_TRY(check(self, ask, NULL));
    }
    return TR_OK;
}

tr_err tr_reply_item_at(tr_actor *self, const tr_msg *ask, tr_type *type, const void *body, const char *where)
{
    tr__loop *loop = tr__owner(self);
    if (tr__must_stop(loop, self))
        return TR_EKILLED;
    TR_TRY(check(self, ask, tr__type_of(type)));
    tr__pending *outflow = open_outflow(self, ask);
    if (!outflow)
        return tr__self_fail(self, TR_ENOMEM, "no memory for a stream");
    if (!outflow->left && !self->fiber) {
        outflow->settled = true;
        return tr__self_fail(self, TR_EAGAIN,
                             "who asked this %s has no demand for another item: a tr_demand tells when",
                             tr_msg_type_name(ask));
    }
    tr_msg *msg = make_item(self, ask, type, body);
    if (!msg)
        return tr_last_error(self)->code;
    tr_err err = outflow->left ? TR_OK : wait_for_demand(self, ask, outflow, msg, where);
    if (err == TR_OK)
        err = wait_for_room(self, ask, outflow, msg, where);
    if (err != TR_OK) {
        tr__msg_free(loop, msg);
        return err;
    }
    outflow->left--;
    outflow->gather++;
    msg->kind = TR__MSG_ITEM;
    msg->sender = tr__addr_of(self);
    msg->ask = ask->ask;
    msg->deadline_ns = tr__pending_id(outflow);
    tr__submit(loop, ask->sender, msg);
    return TR_OK;
}

uint32_t tr_msg_demand(tr_actor *self, const tr_msg *ask)
{
    if (ask->kind != TR__MSG_ASK || !(ask->flags & TR__MSG_STREAM) ||
        ask->flags & (TR__MSG_ANSWERED | TR__MSG_CANCELED))
        return 0;
    const tr__pending *outflow = outflow_of(tr__owner(self), ask);
    return outflow ? outflow->left : ask->error;
}

/* ---- demand -------------------------------------------------------------------------------------------- */

static void wake(tr__loop *loop, const tr__pending *outflow)
{
    tr__fiber_state *fiber = outflow->owner->fiber;
    if (fiber && fiber->wait == TR__WAIT_DEMAND && fiber->awaited == tr__pending_id(outflow))
        tr__fiber_soon(loop, outflow->owner);
}

void tr__outflow_canceled(tr__loop *loop, const tr_msg *ask)
{
    tr__pending *outflow = outflow_of(loop, ask);
    if (outflow)
        wake(loop, outflow);
}

void tr__demand_arrived(tr__loop *loop, tr_actor *callee, tr_msg *msg)
{
    tr__pending *outflow = tr__pending_get(loop, callee, msg->deadline_ns);
    const tr_msg *ask = outflow && outflow->kind == TR__PENDING_OUTFLOW ? outflow->context : NULL;
    if (!ask || ask->ask != msg->ask || !tr_addr_equal(ask->sender, msg->sender) ||
        ask->flags & (TR__MSG_ANSWERED | TR__MSG_CANCELED)) {
        TR__COUNT(loop->counts.handled);
        tr__msg_free(loop, msg);
        return;
    }
    uint32_t left = outflow->left + msg->error; /* what is beyond the window isn't believed: a peer's */
    outflow->left = (uint16_t)(left < outflow->mode ? left : outflow->mode);
    wake(loop, outflow);
    if (!outflow->settled) {
        TR__COUNT(loop->counts.handled);
        tr__msg_free(loop, msg);
        return;
    }
    outflow->settled = false;
    msg->kind = TR__MSG_NOTICE;
    msg->error = 0;
    msg->deadline_ns = 0;
    *(tr_demand *)tr__msg_body(msg) = (tr_demand){.asker = msg->sender, .ask = msg->ask};
    tr__deliver(loop, msg);
}
