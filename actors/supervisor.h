/* A supervisor's children as others are shown them. */
#ifndef TR_ACTORS_SUPERVISOR_H
#define TR_ACTORS_SUPERVISOR_H

#include "actors/actor.h"

typedef struct tr__supervised {
    const char *id;  /* the supervisor's: borrowed */
    tr_addr address; /* none: it isn't running */
    tr_restart restart;
    uint32_t restarts; /* since the supervisor began */
} tr__supervised;

/* How many children that actor has, and in *out the one of that index if there is one; 0 if it is no supervisor. The
 * thread of its loop. */
uint32_t tr__supervisor_child(const tr_actor *actor, uint32_t index, tr__supervised *out);

#endif
