/* Sending on what has come, whatever its type is: as a copy of it, from this actor. For the kinds that hand messages on. */
#ifndef TR_ACTORS_KINDS_MESSAGE_LIKE_H
#define TR_ACTORS_KINDS_MESSAGE_LIKE_H

#include <troupe/troupe.h>

#include "mailbox/message.h"

/* A type as its declaration would be: what the calls of the API take. */
static inline tr_type tr__type_like(const tr_msg *msg)
{
    return (tr_type){.name = msg->type->name, .size = (uint32_t)msg->type->size, .registered = msg->type};
}

static inline tr_err tr__send_like(tr_actor *self, tr_addr to, const tr_msg *msg)
{
    tr_type type = tr__type_like(msg);
    return tr_send_body(self, to, &type, tr__msg_body(msg));
}

static inline tr_future tr__ask_like(tr_actor *self, tr_addr to, uint64_t timeout_ns, const tr_msg *msg)
{
    tr_type type = tr__type_like(msg);
    return tr_ask_body(self, to, timeout_ns, &type, tr__msg_body(msg));
}

static inline tr_err tr__reply_like(tr_actor *self, const tr_msg *ask, const tr_msg *answer)
{
    tr_type type = tr__type_like(answer);
    return tr_reply_body(self, ask, &type, tr__msg_body(answer));
}

static inline tr_err tr__item_like(tr_actor *self, const tr_msg *ask, const tr_msg *item)
{
    tr_type type = tr__type_like(item);
    return tr_reply_item_at(self, ask, &type, tr__msg_body(item), TR__HERE);
}

#endif
