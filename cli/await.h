/* A command whose work is one actor with `receive`: its node's first actor spawns it and waits. */
#ifndef TR_CLI_AWAIT_H
#define TR_CLI_AWAIT_H

#include <troupe/actor.h>

/* In a fiber, the node's first actor: spawn it with that argument and wait for its end. TR_OK if it ended normally, or the
 * node is stopped; else its error, with its text. */
tr_err cli_await_actor(tr_actor *self, const tr_actor_def *def, const void *arg);

#endif
