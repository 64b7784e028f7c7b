/* Making and sending messages, shared by what sends. The sending actor's loop. */
#ifndef TR_ACTORS_SEND_H
#define TR_ACTORS_SEND_H

#include <stdarg.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "mailbox/message.h"

/* Draw a place at `to` and make the message with a copy of `body`; on an error nothing is held and self's
 * last error is set. Then tr__submit it, or give it back by tr__unprepare. */
tr_err tr__prepare(tr_actor *self, tr_addr to, tr_type *type, const void *body, tr_msg **msg);
void tr__unprepare(tr_actor *self, tr_addr to, tr_msg *msg);

/* ---- the short way ----
 * Most messages are of a flat type and go to an actor of the same loop: for those one look-up and no walk over the
 * fields is enough. Each function says by NULL that it isn't so, and then the long way decides. */

/* The actor if it lives on this loop. */
static inline tr_actor *tr__near(tr__loop *loop, tr_addr to)
{
    tr_actor *actor = to.node == loop->node->id ? tr__slot(loop->node, to.slot) : NULL;
    return actor && tr__owner(actor) == loop && tr__is_generation(actor, to.generation) &&
                   actor->state != TR__ACTOR_FREE
               ? actor
               : NULL;
}

/* Sizes that most messages have are copied without a call. */
static inline void tr__copy_flat(void *into, const void *body, size_t size)
{
    switch (size) {
    case 8:
        memcpy(into, body, 8);
        break;
    case 16:
        memcpy(into, body, 16);
        break;
    case 24:
        memcpy(into, body, 24);
        break;
    case 32:
        memcpy(into, body, 32);
        break;
    default:
        memcpy(into, body, size);
    }
}

/* A message to `to` with a copy of a flat body of at most 1 KiB, which would take one place; `places` is 0 yet. */
static inline tr_msg *tr__make_flat(tr__loop *loop, const tr_actor *self, tr_addr to, const tr_typeinfo *info,
                                    const void *body)
{
    if (!info || info->flat_class == TR__CLASS_LARGE || info->size > 1024)
        return NULL;
    tr_msg *msg = tr__pool_take(&loop->pool, info->flat_class, sizeof(tr_msg) + info->size);
    if (!msg)
        return NULL;
    *msg = (tr_msg){
        .type = info,
        .sender = tr__addr_of(self),
        .to = {to.slot, to.generation},
        .size = info->size,
        .home = loop->index,
        .size_class = info->flat_class,
    };
    tr__copy_flat(tr__msg_body(msg), body, info->size);
    return msg;
}

/* The va_list forms of the printf-like calls. */
#define TR_FN(returns, name, parameters, arguments)
#define TR_FNV(returns, name, index, parameters, arguments) \
    returns tr_v##name(TR__UNWRAP parameters, va_list args) __attribute__((format(printf, index, 0)));
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV

#endif
