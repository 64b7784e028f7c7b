/* The simulator sees each message that is about to be handled; users' programs don't have this. */
#ifndef TR_ACTORS_OBSERVE_H
#define TR_ACTORS_OBSERVE_H

#include "actors/loop.h"
#include "actors/node.h"

static inline void tr__observe(tr__loop *loop, tr_actor *actor, const tr_msg *msg)
{
#ifdef TR_BUGGIFY_POINTS
    const tr__seams *seams = &loop->node->seams;
    if (seams->handled)
        seams->handled(seams->context, loop, actor, msg);
#else
    (void)loop, (void)actor, (void)msg;
#endif
}

#endif
