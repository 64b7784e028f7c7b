/* The node's message budget: the bytes that its large messages and counted buffers hold. Beyond it a send of one more is
 * refused, but for one at a time a mailbox; what comes in reserved space, and small messages, it doesn't touch. Who was
 * refused for it, and asked for a notice, waits on the receiver's loop, which looks every LOOK while somebody does: so
 * freeing costs nothing, whatever thread does it. */
#include "actors/budget.h"

#include <inttypes.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/send.h"

#define LOOK TR_MILLIS(1)

static bool is_charged(const tr_typeinfo *info, size_t size)
{
    return tr__type_is(info, TR__TYPE_BUFFERS) || tr__pool_class(sizeof(tr_msg) + size) == TR__CLASS_LARGE;
}

/* `made`: the message has been charged already. */
static bool is_beyond(const tr_node *node, size_t size, bool made)
{
    size_t more = made || tr__pool_class(sizeof(tr_msg) + size) != TR__CLASS_LARGE ? 0 : size;
    return tr__buffers_would_exceed(node->buffers, more);
}

bool tr__budget_admits(tr_node *node, tr_addr to, const tr_typeinfo *info, size_t size, bool made,
                       bool *beyond)
{
    *beyond = is_charged(info, size) && is_beyond(node, size, made);
    if (!*beyond)
        return true;
    tr_actor *slot = to.node == node->id ? tr__slot(node, to.slot) : NULL;
    return slot && tr__places_mark(&slot->places, to.generation);
}

void tr__budget_leave(tr_node *node, tr_addr to)
{
    tr_actor *slot = tr__slot(node, to.slot);
    if (slot)
        tr__places_unmark(&slot->places, to.generation);
}

void tr__budget_left(tr__loop *loop, tr_msg *msg)
{
    msg->flags &= (uint8_t)~TR__MSG_BEYOND;
    tr__budget_leave(loop->node, (tr_addr){loop->node->id, msg->to.slot, msg->to.generation});
}

tr_err tr__budget_refuse(tr_actor *self, const char *type)
{
    const tr_node *node = tr__owner(self)->node;
    tr_err err = tr__self_fail(self, TR_EFULL,
                               "sending %s: this node's large messages and buffers hold %" PRIu64
                               " bytes of the message budget's %" PRIu64 ": handle some, or raise it "
                               "(--message-budget)",
                               type, tr__buffers_bytes(node->buffers), tr__buffers_max(node->buffers));
    if (self->extras)
        self->extras->refused_by_budget = true;
    return err;
}

/* ---- notices ------------------------------------------------------------------------------------------- */

void tr__budget_wait(tr__loop *loop, tr_msg *msg)
{
    msg->next = loop->want_budget;
    loop->want_budget = msg;
    if (!msg->next)
        loop->budget_look_ns = loop->now_ns + LOOK;
}

/* There is some of it, or its mailbox is empty and so takes one in any case. */
static bool may_try(const tr__loop *loop, const tr_actor *actor)
{
    return !actor || actor->count == 0 || !tr__buffers_full(loop->node->buffers);
}

void tr__budget_look(tr__loop *loop)
{
    tr_msg *waiting = loop->want_budget, *in_order = NULL;
    loop->want_budget = NULL;
    loop->budget_look_ns = loop->now_ns + LOOK;
    while (waiting) {
        tr_msg *next = waiting->next;
        waiting->next = in_order;
        in_order = waiting;
        waiting = next;
    }
    while (in_order) {
        tr_msg *msg = in_order;
        in_order = msg->next;
        tr_actor *actor = tr__near(loop, ((const tr_writable *)tr__msg_body(msg))->actor);
        if (!may_try(loop, actor)) {
            msg->next = loop->want_budget;
            loop->want_budget = msg;
        } else if (actor) {
            tr__want_places(loop, actor, msg);
        } else {
            tr__writable(loop, msg);
        }
    }
}

void tr__budget_end(tr__loop *loop)
{
    while (loop->want_budget) {
        tr_msg *msg = loop->want_budget;
        loop->want_budget = msg->next;
        tr__msg_free(loop, msg);
    }
}
