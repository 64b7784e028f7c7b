/* The watchdog: finds actors that hold their loop for too long, names them, and tells those over their budget to stop.
 *
 * It reads what the loops publish (tr__watch in loop.h) and never stops them. Ageing needs no clock of theirs: a loop
 * stamps its watch each time it looks at its clock, so an actor that holds it has done so since about that stamp, and since it wasn't yet seen.
 *
 *     held for patience ──► named, with the stack ──► again at twice that, four times, ... ──► said when it gave way
 *     held for overrun  ──► told to stop: its next call that can fail gives TR_EKILLED, and it ends (tr__must_stop)
 *
 * Loops of own-thread actors are left alone: they may block. The control thread, or a test. */
#ifndef TR_ACTORS_SUPERVISION_WATCHDOG_H
#define TR_ACTORS_SUPERVISION_WATCHDOG_H

#include "actors/loop.h"

#define TR__PATIENCE_NS TR_MILLIS(50) /* by default */

/* An actor that holds its loop, in words and numbers. */
typedef struct tr__holding {
    uint64_t runs; /* which run of the loop's it is */
    uint64_t since_ns;
    const tr_actor_def *def;
    char what[256]; /* "actor NAME "registered" <address> has been handling TYPE" */
} tr__holding;

/* What that loop's actor is at; false: none runs. Any thread, at any time: what is read is only looked at. */
bool tr__held_by(tr_node *node, uint32_t loop, tr__holding *held);

typedef struct tr__watchdog {
    tr_node *node;
    /* The stack of that loop's thread, for the log; NULL: none can be had. Returns the text of the frame at `index`, NULL
     * behind the last; at index 0 the stack is taken. */
    const char *(*frame)(void *context, uint32_t loop, uint32_t index);
    void *context;
    uint64_t looked_ns; /* when it looked last */
    struct {
        tr__holding told; /* the run that was told of */
        uint64_t seen_runs,
            other_ns;     /* the run seen last; when another one was seen last: it began after that */
        uint64_t next_ns; /* when held for that long it is told again; 0: it wasn't */
        uint64_t stopped; /* the run that was told to stop */
    } loops[TR__LOOPS_MAX];
} tr__watchdog;

/* Log that the actor of that loop keeps the node from its end, with its stack. */
void tr__watchdog_tell_end(const tr__watchdog *watchdog, uint32_t loop, const tr__holding *held);
/* Look at all loops; every 10 ms or so. */
void tr__watchdog_look(tr__watchdog *watchdog, uint64_t now_ns);

#endif
