/* How a node ends: in order, while its loops turn and its connections live. The phases, what each loop does in them, and
 * who conducts (loop 0). Nothing here waits, reads a clock, or needs memory to get to the end.
 *
 *     phase    what is asked to stop, and what it waits for
 *     NONE     nothing: the node runs
 *     LOOSE    all that have no name and no supervisor, but for the first actor: at once, each loop its own
 *     ROOTS    supervisors, and actors with a name: one after another, the last one started first (roots.h)
 *     REST     all that is left, as in LOOSE: what came meanwhile, children whose supervisor was given up
 *     FIRST    the first actor, of tr_node_opts.start
 *     OVER     the loops stop turning; what is left is ended there (tr__loop_end_actors), and the connections say goodbye
 *
 * D1  A phase begins when all that was asked in the one before has ended; but OVER begins at the latest when the node's
 *     stop_timeout has passed, or at once by tr_node_stop_now.
 * D2  The node's own actors (names, transactions, the operator's) end with the loops, after all others.
 * D3  What an actor was sent before it was asked to stop it handles before it ends, until OVER. */
#ifndef TR_ACTORS_SUPERVISION_SHUTDOWN_H
#define TR_ACTORS_SUPERVISION_SHUTDOWN_H

#include "actors/loop.h"

#define TR__STOP_NS TR_SECONDS(10) /* tr_node_opts.stop_timeout_ns by default */

typedef enum tr__stop_phase {
    TR__STOP_NONE,
    TR__STOP_LOOSE,
    TR__STOP_ROOTS,
    TR__STOP_REST,
    TR__STOP_FIRST,
    TR__STOP_OVER,
} tr__stop_phase;

/* A loop's part, at the beginning of its turn when tr_node_stop was called: true if it must turn again soon. */
bool tr__shutdown_step(tr__loop *loop);
/* An actor with these traits, TR__AWAITED or TR__STOP_ASKED among them, has ended. */
void tr__shutdown_ended(tr__loop *loop, uint8_t traits);
/* Say in the log who is left of that loop's, if the time was over. */
void tr__shutdown_log_left(const tr__loop *loop);

/* tr_node_stop was called. Any thread. */
static inline bool tr__is_stopping(const tr_node *node)
{
    return atomic_load_explicit(&((tr_node *)node)->stop_asked, memory_order_relaxed);
}

/* The loops are to stop turning. Any thread. */
static inline bool tr__is_over(const tr_node *node)
{
    return atomic_load_explicit(&((tr_node *)node)->stop_phase, memory_order_acquire) == TR__STOP_OVER;
}

#endif
