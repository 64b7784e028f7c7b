/* The warden: a node's own actor, always its first (slot 0, generation 1), so every node knows every other's.
 * It answers look-ups of names, its own and for other nodes, and tells who asked of nodes that come and go.
 */
#ifndef TR_ACTORS_NAMES_WARDEN_H
#define TR_ACTORS_NAMES_WARDEN_H

#include "actors/loop.h"
#include "transport/frame.h"

#define TR__WATCHERS_MAX 256

/* Asked: the actor of "node/name" or "name"; answers tr_found, as soon as there is one. */
TR_MESSAGE(tr__find_name, (string, path))
/* Sent: tr_node_event to `watcher` from now on. */
TR_MESSAGE(tr__watch_nodes, (addr, watcher))
/* From the connections: a node came or went. */
TR_MESSAGE(tr__node_changed, (string, name), (u64, node), (bool, up), (string, reason))

/* Between wardens: a node can be reached there. */
TR_MESSAGE(tr__node_at, (u64, node), (string, address))

/* Asked by another node's operator: "why", as text (operator.h). Handed to this node's. */
TR_MESSAGE(tr__operator_peer_ask, (string, text))
void tr__operator_forward(tr_actor *self, const tr_msg *msg);

/* The block of a tr__node_changed. That of a node's coming stays, as what the warden knows of it. */
typedef struct tr__node_record {
    tr__node_changed changed; /* first: the message's body; its texts are those here */
    char name[TR_NAME_MAX], reason[TR_ERROR_TEXT_MAX];
    /* For --learn (learn.c): which to come it was, up to which it was told of the others, where others reach it */
    uint64_t serial, taught;
    bool learns;
    char address[TR__ADDRESS_MAX + 1];
    /* For claims (claims.h): what it claims, up to which change it has told; up to which it was told of ours, up to which it
     * is being told (0: it isn't) */
    bool takes_claims;
    struct tr__heard_claim *claims;
    uint64_t claims_heard, claims_told, claims_asked, claims_refused;
    uint64_t
        told[TR__WATCHERS_MAX / 64]; /* by watcher's number: whether it was told last that the node is up */
} tr__node_record;

/* What will tell the warden that a node came or went; NULL: no memory. */
tr_msg *tr__node_changed_make(tr__loop *loop, const char *name, uint64_t node, bool up);
/* Takes msg; cannot fail. */
void tr__node_changed_tell(tr__loop *loop, tr_msg *msg, const char *reason);

/* "*" for a node: of whichever node (claims.h). */
static inline bool tr__is_of_cluster(const char *path)
{
    return path[0] == '*' && path[1] == '/';
}

/* How a look-up fails at its deadline; of the path. */
#define TR__NOBODY_CALLED                                                                               \
    "nobody is called \"%.100s\" within the time given: is its node connected, and did an actor there " \
    "register it?"

/* ---- learn.c: what a node tells its peers of each other, and what it takes from them -------------------- */

/* One more came; `serial` counts them. */
void tr__learn_came(tr_actor *self, tr__node_record *record, uint64_t serial);
/* Tell those that want to hear it of all that have come, in order. False: not all now (no credit). */
bool tr__learn_tell(tr_actor *self, tr_msg *nodes, uint64_t serial);
/* A tr__node_at. */
void tr__learn_take(tr_actor *self, const tr_msg *msg);

/* Spawns the node's warden. TR_ENOMEM. */
tr_err tr__warden_open(tr_node *node, tr_error *error);

#define TR__WARDEN_OF(node_id) ((tr_addr){(node_id), 0, 1})

#endif
