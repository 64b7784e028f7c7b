/* What an actor's definition says of the size of its messages: tr_actor_def.message_max and spool_above. Any thread. */
#ifndef TR_ACTORS_LIMITS_H
#define TR_ACTORS_LIMITS_H

#include "actors/loop.h"

#define TR__LIMIT_MIN \
    ((size_t)128 << 10) /* the least that both are taken for: more than one chunk of a connection */

/* The definition of that actor of this node; NULL: there is none any more. */
const tr_actor_def *tr__def_of(const tr_node *node, tr_addr actor);
/* The most bytes of a message, as encoded, that it takes; SIZE_MAX: any. */
size_t tr__limit_of(const tr_actor_def *def);
/* Whether a message of that body, whose copy has `size` bytes, isn't too large for that actor of this node; else *error. */
bool tr__limit_admits_large(const tr_node *node, tr_addr to, const tr_typeinfo *type, const void *body,
                            tr_error *error);
static inline bool tr__limit_admits(const tr_node *node, tr_addr to, const tr_typeinfo *type,
                                    const void *body, size_t size, tr_error *error)
{
    return __builtin_expect(size <= TR__LIMIT_MIN && !tr__type_is(type, TR__TYPE_BUFFERS), 1) ||
           tr__limit_admits_large(node, to, type, body, error);
}

#endif
