/* Actors that are started for others, of this node or of another one, by the name of an offer. Who asks, asks its own warden,
 * which hands the ask on to the warden of the node that is named; that one starts the actor, and answers tr_spawned at once.
 *
 * P1  Of what a peer says only the offer's name and the argument count, which is a message of the offer's type. No code, no
 *     path and no pointer comes from it.
 * P2  The answer is the first that the asker's node hears of the actor. The link and the monitor are made with it, on both
 *     sides: at the actor before its init, at the asker when the answer passes (tr__spawn_came). So no end goes unnoticed.
 * P3  An asker that has given up, or ended, when the answer comes is no link's other side: a linked actor then ends. */
#ifndef TR_ACTORS_REMOTE_SPAWN_AT_H
#define TR_ACTORS_REMOTE_SPAWN_AT_H

#include "actors/futures/pending.h"
#include "actors/remote/peer.h"

#define TR__SPAWN_ARG_MAX (64u << 10) /* bytes of an argument, as CBOR; in memory at most 16 times that */

/* The type's name is its schema's; type_id 0: there is no argument. */
TR_MESSAGE(tr__spawn_request, (string, node), (string, offer), (bool, link), (u64, monitor), (u64, type_id),
           (u64, fingerprint), (string, schema), (bytes, argument))

/* What the warden has started, until it ends. */
typedef struct tr__started {
    struct tr__started *next;
    uint64_t monitor;
    char peer[TR_NAME_MAX]; /* for whose node */
} tr__started;

typedef struct tr__starts {
    tr__started *first;
    uint32_t count;
} tr__starts;

/* ---- the warden ---- */

/* A tr__spawn_request for this node: it is answered. */
void tr__spawn_for(tr_actor *self, tr__starts *starts, const tr_msg *ask);
/* Whether that one was started here: it is forgotten. */
bool tr__spawn_ended(tr_actor *self, tr__starts *starts, const tr_down *down);

/* ---- the asker's node ---- */

/* The answer to a tr__spawn_request came from a peer; `wait` is what waited for it, NULL: nobody does any more. False: the
 * connection is cut. Loop 0. */
bool tr__spawn_came(tr__remote_peer *p, const tr_msg *wait, tr_addr asker, const tr_msg *answer);
/* It came to its asker, to its pending of special TR__SPAWNS; or (pending NULL) too late. The asker's loop. */
void tr__spawn_answered(tr__loop *loop, tr_actor *asker, const tr__pending *pending, const tr_msg *answer);

/* At the node's end. */
void tr__offers_fini(tr_node *node);

#endif
