/* See letter.h. */
#include "actors/remote/letter.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/budget.h"
#include "actors/limits.h"
#include "actors/remote/peer.h"
#include "actors/send.h"
#include "base/err.h"

/* Of that node's mailboxes, the one of an actor that lives as far as can be seen from here. */
static bool is_there(const tr__loop *loop, tr_addr to)
{
    const tr_actor *slot = to.node == loop->node->id ? tr__slot(loop->node, to.slot) : NULL;
    return slot && atomic_load_explicit(&((tr_actor *)slot)->owner, memory_order_acquire) &&
           tr__is_generation(slot, to.generation) && (!tr__is_owner(loop, slot) || tr__takes_mail(slot));
}

/* Places, and what the budget says; *msg is made with them. */
static tr_err make_in(tr__loop *loop, tr_addr to, const tr_typeinfo *type, size_t size, tr_msg **msg)
{
    bool beyond;
    if (!tr__budget_admits(loop->node, to, type, size, false, &beyond))
        return TR_EFULL;
    uint32_t places = tr__msg_places(size);
    tr_err err = tr__reserve(loop, to, &places);
    if (err == TR_OK && !places) /* it has ended on its own loop meanwhile */
        err = TR_ENOACTOR;
    *msg = err == TR_OK ? tr__msg_alloc(&loop->pool, loop->index, size) : NULL;
    if (*msg) {
        (*msg)->places = (uint16_t)places;
        (*msg)->flags |= beyond ? TR__MSG_BEYOND : 0;
        return TR_OK;
    }
    if (beyond)
        tr__budget_leave(loop->node, to);
    if (err != TR_OK)
        return err;
    tr__unreserve(loop, to, places);
    return TR_ENOMEM;
}

/* The type, and how large its struct is here. */
static tr_err look_at(const tr__letter *l, const tr_actor_def *def, const tr_typeinfo **type, size_t *size,
                      tr_error *error)
{
    *type = tr__type_for(l->type, l->fingerprint, l->schema, strlen(l->schema), error);
    if (!*type)
        return TR_ETYPE;
    if ((*type)->notice)
        return tr__fail(error, TR_EPROTO, "a %s is sent by the runtime only", (*type)->name);
    if (tr__cbor_measure(*type, l->body.data, l->body.size, size, error) != TR_OK)
        return TR_EPROTO;
    if (*size > tr__remote_body_max(TR__MESSAGE_MAX) || (def && l->body.size > tr__limit_of(def)))
        return tr__fail(error, TR_ETOOBIG, "a %s of %zu bytes is more than the receiver takes", (*type)->name,
                        l->body.size);
    return TR_OK;
}

/* Behind the body, in the same block. */
static void put_id(tr_msg *msg, size_t size, const char *id)
{
    snprintf((char *)tr__msg_body(msg) + size, TR_TX_EMIT_ID_MAX, "%s", id);
    msg->error = TR__MSG_EMITTED;
}

tr_err tr__letter_put(tr__loop *loop, const tr__letter *l, tr_error *error)
{
    size_t size;
    tr_msg *msg;
    const tr_typeinfo *type;
    if (!is_there(loop, l->to))
        return tr__fail(error, TR_ENOACTOR, "the receiver has ended");
    TR_TRY(look_at(l, tr__def_of(loop->node, l->to), &type, &size, error));
    size_t whole = size + (l->id ? TR_TX_EMIT_ID_MAX : 0);
    tr_err err = make_in(loop, l->to, type, whole, &msg);
    if (err != TR_OK)
        return tr__fail(error, err, "its mailbox: %s", tr__err_meaning(err));
    msg->size = (uint32_t)whole;
    if (!tr__cbor_decode(type, l->body.data, l->body.size, loop->node->buffers, tr__msg_body(msg))) {
        tr__unreserve(loop, l->to, msg->places);
        if (msg->flags & TR__MSG_BEYOND)
            tr__budget_leave(loop->node, l->to);
        tr__msg_free(loop, msg);
        return tr__fail(error, TR_ENOMEM, "no memory for a %s", type->name);
    }
    if (l->id)
        put_id(msg, size, l->id);
    msg->kind = TR__MSG_NORMAL;
    msg->sender = l->sender;
    tr__msg_filled(msg, type);
    tr__submit(loop, l->to, msg);
    return TR_OK;
}

const char *tr_msg_emitted(const tr_msg *msg)
{
    return msg->kind == TR__MSG_NORMAL && msg->error == TR__MSG_EMITTED
               ? (const char *)tr__msg_body(msg) + msg->size - TR_TX_EMIT_ID_MAX
               : NULL;
}
