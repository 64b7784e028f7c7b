/* Making and sending messages, shared by what sends. The sending actor's loop. */
#ifndef TR_ACTORS_SEND_H
#define TR_ACTORS_SEND_H

#include <stdarg.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "mailbox/message.h"

/* Refuse what only the runtime may send, TR_EPERM, and what would be too large for a connection, TR_ETOOBIG. */
tr_err tr__may_send(tr_actor *self, tr_addr to, const tr_typeinfo *info, const void *body, size_t size);
/* Say how large it is, and what its receiver's node takes. TR_ETOOBIG. */
tr_err tr__refuse_size(tr_actor *self, const tr_typeinfo *info, const void *body, uint64_t most);

/* Draw a place at `to` and make the message with a copy of `body`; on an error nothing is held and self's
 * last error is set. Then tr__submit it, or give it back by tr__unprepare. A fiber waits for a place, so long, if the
 * mailbox lets it. One that is droppable: *msg is NULL if a full mailbox that drops the newest dropped it. */
tr_err tr__prepare(tr_actor *self, tr_addr to, tr_type *type, const void *body, uint64_t wait_ns,
                   bool droppable, tr_msg **msg);
void tr__unprepare(tr_actor *self, tr_addr to, tr_msg *msg);

/* As tr_msg_make, in a block with room for at least so many bytes of body (fewer than a large one's). */
tr_msg *tr__msg_make_with_room(tr_actor *self, tr_type *type, const void *body, size_t room);

/* A kept message is in nobody's hand any more. */
void tr__unkeep(tr_actor *self, tr_msg *msg);

/* As tr_post_body, with a message that no actor and no peer can make: the receiver sees that it is a notice. */
tr_err tr__post_notice(tr_node *node, tr_addr to, tr_type *type, const void *body);

/* Send a copy of `body`, of a type that only the runtime sends, as a notice: TR_EFULL, TR_ENOMEM. To an actor of this node. */
tr_err tr__send_notice(tr_actor *self, tr_addr to, tr_type *type, const void *body);

/* A message that self has taken is refused: dropped and counted as one that found no place. */
void tr__drop_taken(tr_actor *self, tr_msg *msg, tr_drop why);

/* ---- the short way ----
 * Most messages are of a flat type and go to an actor of the same loop: for those one look-up and no walk over the
 * fields is enough. */

/* The actor if it lives on this loop, else NULL. */
static inline tr_actor *tr__near(tr__loop *loop, tr_addr to)
{
    tr_actor *actor = to.node == loop->node->id ? tr__slot(loop->node, to.slot) : NULL;
    return actor && tr__is_owner(loop, actor) && tr__is_generation(actor, to.generation) &&
                   tr__takes_mail(actor)
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

/* Of a type (NULL: none) whose struct is all of it, in one pooled block and one place. */
static inline bool tr__is_flat(const tr_typeinfo *info)
{
    return info && __atomic_load_n(&info->flat_class, __ATOMIC_RELAXED) != TR__CLASS_LARGE &&
           info->size <= 1024;
}

/* A message to `to` with a copy of a flat body; `places` is 0 yet. NULL: no memory, and self's last error says so. */
static inline tr_msg *tr__make_flat(tr__loop *loop, tr_actor *self, tr_addr to, const tr_typeinfo *info,
                                    const void *body)
{
    uint8_t size_class = __atomic_load_n(&info->flat_class, __ATOMIC_RELAXED);
    tr_msg *msg = tr__pool_take(&loop->pool, size_class, sizeof(tr_msg) + info->size);
    if (__builtin_expect(!msg, 0)) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a %s", info->name);
        return NULL;
    }
    *msg = (tr_msg){
        .type = info,
        .sender = tr__addr_of(self),
        .to = {to.slot, to.generation},
        .size = info->size,
        .home = loop->index,
        .size_class = size_class,
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
