/* Transactions, as far as the core sees them; what is behind is in actors/tx/. */
#ifndef TR_ACTORS_TRANSACTIONS_H
#define TR_ACTORS_TRANSACTIONS_H

#include <jansson.h>

#include "actors/loop.h"

/* The manager: every node's second actor, so every node knows every other's. */
#define TR__TX_MANAGER_OF(node_id) ((tr_addr){(node_id), 1, 1})

/* Open and replay the log, if the node's options name a directory, and spawn the manager: right after the warden. What
 * is in doubt is locked when this returns. TR_ENOMEM, or what opening the log says. */
tr_err tr__transactions_open(tr_node *node, tr_error *error);
/* When all loops have ended. */
void tr__transactions_free(tr_node *node);

/* A definition with `transact` is to be spawned under that name (NULL: none): TR_EINVAL if it can't be. *def becomes one
 * with a receive, if it has none. Any loop. */
tr_err tr__transact_def(tr_node *node, const tr_actor_def **def, const char *name, tr_error *error);
/* Whether a participant that is COMING may have its init now; else what it keeps is to be brought to its version first, and it
 * waits: call it again whenever it runs. False with *gone: that can't be, and it has ended (TR_EVERSION and the like). */
bool tr__transact_may_start(tr__loop *loop, tr_actor *actor, bool *gone);
/* A TR__MSG_EXECUTE, whose turn it is, or that nobody can execute. Only the manager of this node makes these, no
 * message of an actor or a peer has that kind; so the pointer in it is good. Takes msg: it goes back as a notice. */
void tr__transact_execute(tr__loop *loop, tr_actor *actor, tr_msg *msg);
void tr__transact_lost(tr__loop *loop, tr_msg *msg);

/* For "why" (docs/operator.md), on loop 0: who holds the lock of its "participant"; who has begun its "transaction"; or the
 * one that its "asker" waits in. NULL: nothing of that is here. */
json_t *tr__transactions_why(tr_node *node, const json_t *request);

/* The real side of the seam open_log: makes the directory if it is missing. */
struct tr__log_store *tr__data_open_log(const char *directory, const char *node, void (*wake)(void *context),
                                        void *wake_context, tr_error *error);

#endif
