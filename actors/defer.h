/* Deferred messages, other handlers, and what is left in a mailbox at the end. The actor's loop. */
#ifndef TR_ACTORS_DEFER_H
#define TR_ACTORS_DEFER_H

#include "actors/loop.h"

/* What is deferred comes back, in front of the mailbox; false: nothing is. */
bool tr__undefer(tr_actor *actor);
/* The first deferred one that `is` says it is, with `like`, taken out; NULL: there is none. */
tr_msg *tr__deferred_take(tr_actor *actor, bool (*is)(const tr_msg *msg, const tr_msg *like),
                          const tr_msg *like);
/* At its end: hand each message and ask in its mailbox to its definition's `left`. */
void tr__left(tr__loop *loop, tr_actor *actor);
void tr__becomings_fini(tr__loop *loop);

#endif
