/* See limits.h. */
#include "actors/limits.h"

#include "base/err.h"

/* The slot may be opened anew meanwhile; definitions last. */
const tr_actor_def *tr__def_of(const tr_node *node, tr_addr actor)
{
    const tr_actor *slot = actor.node == node->id ? tr__slot(node, actor.slot) : NULL;
    const tr_actor_def *def = slot && tr__is_generation(slot, actor.generation) ? tr__def_seen(slot) : NULL;
    return def && tr__is_generation(slot, actor.generation) ? def : NULL;
}

size_t tr__limit_of(const tr_actor_def *def)
{
    size_t max = def->message_max;
    return max == 0 ? SIZE_MAX : max < TR__LIMIT_MIN ? TR__LIMIT_MIN : max;
}

bool tr__limit_admits_large(const tr_node *node, tr_addr to, const tr_typeinfo *type, const void *body,
                            tr_error *error)
{
    const tr_actor_def *def = tr__def_of(node, to);
    size_t most = def ? tr__limit_of(def) : SIZE_MAX,
           bytes = most < SIZE_MAX ? tr__cbor_bound(type, body) : 0;
    if (bytes <= most)
        return true;
    tr__fail(error, TR_ETOOBIG,
             "a %s of %zu bytes is larger than a %s takes, which is %zu (message_max of its definition): "
             "split it",
             type->name, bytes, def->name, most);
    return false;
}
