/* Where a new actor lives, and the loops that are made for actors with a thread of their own. */
#ifndef TR_ACTORS_PLACEMENT_H
#define TR_ACTORS_PLACEMENT_H

#include "actors/loop.h"

#define TR__LOAD_FULL 1024u /* what tr__loop.load says of a loop that never slept */

/* The loop for a new actor of that definition, spawned on `loop`. NULL: TR_EINVAL (no such loop, or HERE on a thread that
 * is an actor's own), TR_EFULL (too many threads), TR_ENOMEM, TR_EAGAIN (no thread to be had). An own thread is then taken,
 * until tr__loop_vacate. */
tr__loop *tr__place(tr__loop *loop, const tr_actor_def *def, const tr_spawn_opts *opts, tr_error *error);
/* The actor that had this loop for itself is gone, or couldn't be made. Any thread. */
void tr__loop_vacate(tr__loop *loop);
/* When a turn begins: how busy the loop was. */
void tr__load_measure(tr__loop *loop, uint64_t now_ns);
/* How busy a loop is now, of TR__LOAD_FULL. Any thread. */
uint32_t tr__load(const tr__loop *loop);

#endif
