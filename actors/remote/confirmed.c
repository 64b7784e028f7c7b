/* tr_send_confirmed: a message goes to the node's confirmer, as an ask, or straight into the mailbox of an actor of this
 * loop. The sending actor's loop. */
#include "actors/remote/confirmed.h"

#include <inttypes.h>

#include "actors/memory.h"
#include "actors/send.h"

#define NO_FUTURE ((tr_future){0})

/* ---- the future ---------------------------------------------------------------------------------------- */

/* Its deadline is the confirmer's: who knows what became of the message says it (V3). */
static tr__pending *make_future(tr__loop *loop, tr_actor *self, const tr_typeinfo *info)
{
    tr__pending *pending = tr__pending_make(loop, self, TR__PENDING_ASK);
    if (!pending) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return NULL;
    }
    self->asks++;
    pending->special = TR__CONFIRMS;
    pending->callee = loop->node->confirmer; /* who waits for the answer waits for nobody else */
    pending->asked = info;
    pending->since_ns = loop->now_ns;
    tr__pending_due(loop, pending, TR__NEVER);
    return pending;
}

/* ---- to an actor of this loop -------------------------------------------------------------------------- */

/* None of its own waits at the confirmer, so nothing can be overtaken; and its mailbox says at once what it takes. */
static bool is_short(tr__loop *loop, tr_actor *self, tr_addr to)
{
    const tr_actor *near = tr__near(loop, to);
    return near && !(self->extras && self->extras->unconfirmed) &&
           (tr__overflow(near) == TR_OVERFLOW_REFUSE || tr__overflow(near) == TR_OVERFLOW_DROP_OLDEST);
}

static tr_future confirmed_at_once(tr__loop *loop, tr_actor *self, tr_addr to, tr_type *type, tr_msg *msg)
{
    const tr_typeinfo *answers = tr__type_of(&tr_confirmed_type);
    tr_msg *answer = answers ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_confirmed)) : NULL;
    tr__pending *pending = answer ? make_future(loop, self, tr__type_of(type)) : NULL;
    if (!pending) {
        if (answer)
            tr__msg_free(loop, answer);
        tr__unprepare(self, to, msg);
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return NO_FUTURE;
    }
    pending->special = 0;
    tr__submit(loop, to, msg);
    answer->kind = TR__MSG_REPLY;
    answer->sender = to;
    answer->ask = tr__pending_id(pending);
    tr__msg_filled(answer, answers);
    *(tr_confirmed *)tr__msg_body(answer) = (tr_confirmed){.receiver = to};
    tr_future future = {answer->ask};
    tr__submit(loop, tr__addr_of(self), answer);
    return future;
}

/* ---- to all others ------------------------------------------------------------------------------------- */

/* What isn't confirmed is bounded for the node: the bytes are given back by its confirmer. */
static bool charge(tr_node *node, uint64_t bytes)
{
    if (atomic_fetch_add_explicit(&node->unconfirmed, bytes, memory_order_relaxed) + bytes <=
        TR__CONFIRM_KEPT_MAX)
        return true;
    atomic_fetch_sub_explicit(&node->unconfirmed, bytes, memory_order_relaxed);
    return false;
}

/* In a block that can become its answer, whatever that is. */
static tr_msg *make(tr__loop *loop, tr_actor *self, tr_addr to, const tr_typeinfo *info, const void *body,
                    size_t room)
{
    const tr_typeinfo *asks = tr__type_of(&tr__confirm_type);
    size_t size = sizeof(tr__confirm) + room;
    tr_msg *msg =
        asks ? tr__msg_alloc(&loop->pool, loop->index, size > TR__FAILURE_ROOM ? size : TR__FAILURE_ROOM)
             : NULL;
    if (!msg) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a %s of %zu bytes", info->name, room);
        return NULL;
    }
    tr__confirm *confirm = tr__msg_body(msg);
    size_t length = tr__cbor_encode(info, body, (uint8_t *)(confirm + 1), room);
    *confirm = (tr__confirm){
        .to = to, .type = info->id, .fingerprint = info->fingerprint, .body = {confirm + 1, length}};
    tr__msg_filled(msg, asks);
    return msg;
}

static tr_future give_up(tr__loop *loop, tr_msg *msg, tr_addr confirmer, uint64_t bytes)
{
    tr__unreserve(loop, confirmer, msg->places);
    tr__msg_free(loop, msg);
    atomic_fetch_sub_explicit(&loop->node->unconfirmed, bytes, memory_order_relaxed);
    return NO_FUTURE;
}

static tr_future ask_confirmer(tr__loop *loop, tr_actor *self, tr_msg *msg, uint64_t due_ns,
                               const tr_typeinfo *info)
{
    tr__confirm *confirm = tr__msg_body(msg);
    tr_addr confirmer = loop->node->confirmer;
    uint64_t bytes = confirm->body.size + TR__CONFIRM_EACH;
    uint32_t places = tr__msg_places(msg->size);
    if (!charge(loop->node, bytes)) {
        tr__msg_free(loop, msg);
        tr__self_fail(self, TR_EFULL,
                      "%s: messages of %" PRIu64
                      " bytes in all wait on this node to be confirmed, which is the "
                      "most: await some first",
                      info->name, TR__CONFIRM_KEPT_MAX);
        return NO_FUTURE;
    }
    bool full = tr__reserve(loop, confirmer, &places) != TR_OK;
    msg->places = full ? 0 : (uint16_t)places;
    if (full) {
        tr__self_fail(self, TR_EFULL, "%s: the node's confirmer has no place now", info->name);
        return give_up(loop, msg, confirmer, bytes);
    }
    tr__pending *pending = tr__extras_of(loop, self) ? make_future(loop, self, info) : NULL;
    if (!pending) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return give_up(loop, msg, confirmer, bytes);
    }
    self->extras->unconfirmed++;
    confirm->due_ns = due_ns;
    msg->kind = TR__MSG_ASK;
    msg->sender = tr__addr_of(self);
    msg->ask = tr__pending_id(pending);
    msg->deadline_ns = UINT64_MAX;
    tr_future future = {msg->ask};
    tr__submit(loop, confirmer, msg);
    return future;
}

/* Whether it may be sent, and its bytes as CBOR at most. */
static tr_err check(tr_actor *self, tr_addr to, tr_type *type, const void *body, size_t *room)
{
    const tr_typeinfo *info = tr__type_of(type);
    if (!info)
        return tr__self_fail(self, TR_ENOMEM, "no memory to register the type %s", type->name);
    size_t size = tr__body_size(info, body);
    if (size == SIZE_MAX || (*room = tr__cbor_room(info, body, size)) > TR__CONFIRM_MAX)
        return tr__self_fail(self, TR_ETOOBIG, "a %s is too large to be confirmed: %zu bytes are the most",
                             info->name, TR__CONFIRM_MAX);
    if (self->asks >= TR__ASKS_MAX)
        return tr__self_fail(self, TR_EFULL, "more than %u asks of %s are outstanding: await some first",
                             TR__ASKS_MAX, self->def->name);
    if (tr_addr_is_none(to))
        return tr__self_fail(self, TR_ENOACTOR, "sending %s: the address names no actor", info->name);
    return tr__may_send(self, to, info, body, size);
}

tr_future tr_send_confirmed_body(tr_actor *self, tr_addr to, uint64_t timeout_ns, tr_type *type,
                                 const void *body)
{
    tr__loop *loop = tr__owner(self);
    size_t room = 0;
    if (tr__must_stop(loop, self) || check(self, to, type, body, &room) != TR_OK)
        return NO_FUTURE;
    if (is_short(loop, self, to)) {
        tr_msg *msg;
        tr_err err = tr__prepare(self, to, type, body, 0, false, &msg);
        if (err == TR_OK)
            return confirmed_at_once(loop, self, to, type, msg);
        if (err != TR_EFULL)
            return NO_FUTURE;
    }
    const tr_typeinfo *info = tr__type_of(type);
    tr_msg *msg = make(loop, self, to, info, body, room);
    return msg ? ask_confirmer(loop, self, msg, tr__ask_due(loop, self, timeout_ns), info) : NO_FUTURE;
}
