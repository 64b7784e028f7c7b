/* What an actor waits for, for people and for who looks for cycles: reads only. The owner's loop. */
#ifndef TR_ACTORS_FUTURES_WAITING_H
#define TR_ACTORS_FUTURES_WAITING_H

#include "actors/futures/pending.h"

/* What a fiber waits for. */
typedef struct tr__waiting {
    tr__wait what;     /* TR__WAIT_NONE: it runs, is about to, or is no fiber; then the rest says nothing */
    const char *where; /* "file:line" of the call that waits; static; NULL: not known */
    uint64_t since_ns; /* when that call began to, on the loop's clock */
    uint64_t until_ns; /* when it gives up; TR__NEVER */
    tr_addr whom;      /* of TR__WAIT_PLACES: whose mailbox; of TR__WAIT_DEMAND: who asked */
} tr__waiting;

/* An ask that isn't settled. */
typedef struct tr__asked {
    tr_addr callee;
    const char *type;  /* what was asked; static */
    uint64_t since_ns; /* when it was asked, on the loop's clock */
    uint64_t until_ns; /* its deadline; TR__NEVER */
    bool awaited;      /* what a fiber waits for is this one, or a gather of it */
} tr__asked;

/* What the actor waits for: fills *out, and of its unsettled asks, newest first, up to `most` of `asks` (which may be NULL
 * if that is 0). Returns how many it has of those. */
size_t tr__waiting_of(const tr_actor *actor, tr__waiting *out, tr__asked *asks, size_t most);
/* Whether that pending is what the fiber awaits, alone or in a gather. */
bool tr__is_awaited(const tr__pending *pending);

/* ---- cycles (cycle.c) ---------------------------------------------------------------------------------- */

/* An ask of a fiber isn't settled for a while: look whether the fiber awaits one that awaits it. When to look again; TR__NEVER:
 * not. */
uint64_t tr__cycle_look(tr__loop *loop, tr__pending *pending);
/* A probe came to an actor that somebody waits for. Takes msg. */
void tr__probe_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* It is in a cycle. Takes msg. */
void tr__cycle_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg);

#endif
