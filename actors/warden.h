/* The warden: a node's own actor, always its first (slot 0, generation 1), so every node knows every other's.
 * It answers look-ups of names, its own and for other nodes, and tells who asked of nodes that come and go.
 */
#ifndef TR_ACTORS_WARDEN_H
#define TR_ACTORS_WARDEN_H

#include <troupe/actor.h>

/* Asked: the actor of "node/name" or "name"; answers tr_found, as soon as there is one. */
TR_MESSAGE(tr__find_name, (string, path))
/* Sent: tr_node_event to `watcher` from now on. */
TR_MESSAGE(tr__watch_nodes, (addr, watcher))
/* From the connections: a node came or went. */
TR_MESSAGE(tr__node_changed, (string, name), (u64, node), (bool, up), (string, reason))

/* How a look-up fails at its deadline; of the path. */
#define TR__NOBODY_CALLED                                                                               \
    "nobody is called \"%.100s\" within the time given: is its node connected, and did an actor there " \
    "register it?"

extern const tr_actor_def tr__warden_def;

#define TR__WARDEN_OF(node_id) ((tr_addr){(node_id), 0, 1})

#endif
