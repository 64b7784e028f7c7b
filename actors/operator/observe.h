/* Who sees each message that is about to be handled: taps, while somebody has one; and the simulator, which users'
 * programs don't have. */
#ifndef TR_ACTORS_OPERATOR_OBSERVE_H
#define TR_ACTORS_OPERATOR_OBSERVE_H

#include "actors/loop.h"
#include "actors/node.h"
#include "actors/operator/meter.h"

static inline void tr__observe(tr__loop *loop, tr_actor *actor, const tr_msg *msg)
{
    if (__builtin_expect(loop->taps != NULL, 0))
        tr__taps_see(loop, actor, msg);
#ifdef TR_BUGGIFY_POINTS
    const tr__seams *seams = &loop->node->seams;
    if (seams->handled)
        seams->handled(seams->context, loop, actor, msg);
#endif
}

/* Q1 (loop.h), whatever next_runnable goes by. */
static inline void tr__observe_fresh(tr__loop *loop)
{
#ifdef TR_BUGGIFY_POINTS
    loop->passed_over = loop->queue ? loop->passed_over + 1 : 0;
    tr__check(loop->passed_over <= TR__FRESH_MAX, "Q1: the queue's oldest was passed over %u times",
              loop->passed_over);
#else
    (void)loop;
#endif
}

static inline void tr__observe_queue(tr__loop *loop)
{
#ifdef TR_BUGGIFY_POINTS
    loop->passed_over = 0;
#else
    (void)loop;
#endif
}

#endif
