/* Timers that come again: tr_every and tr_idle_after. The owner's loop. */
#ifndef TR_ACTORS_FUTURES_PERIOD_H
#define TR_ACTORS_FUTURES_PERIOD_H

#include "actors/futures/pending.h"

/* A TR__PENDING_PERIOD is due. */
void tr__period_due(tr__loop *loop, tr__pending *pending);
/* Its notice (TR__MSG_TICK) is about to be handled, and gets its numbers. False: the timer was taken back. */
bool tr__period_taken(tr__loop *loop, tr_actor *actor, tr_msg *notice);

#endif
