/* A scenario: what a cluster does, and what must hold afterwards. `troupe sim` runs it under faults in virtual time; a
 * plugin exports one by TR_SCENARIO. Its functions are actors' code like any other.
 *
 * The same scenario runs with real processes, one a node (docs/scenarios.md), if it is written for that: what the nodes know
 * of each other they tell each other by messages, and no variable of the program is shared between them. */
#ifndef TROUPE_SCENARIO_H
#define TROUPE_SCENARIO_H

#include <troupe/actor.h>

typedef struct tr_scenario {
    uint32_t size;    /* of this struct, bytes */
    const char *name; /* letters, digits, '-' */
    uint32_t nodes;   /* n0, n1, ..., all connected with each other; 0: 3; 16 at most */
    uint32_t loops;   /* of each node; 0: 1 or 2, as the seed draws */
    uint64_t run_ns;  /* under faults; 0: 30 s */
    uint64_t heal_ns; /* after healing, for `check` to answer; 0: 60 s */
    bool data;        /* the nodes keep transaction logs */
    /* A fiber, on each node whenever that starts; what it returns other than TR_OK ends the run as failed, but while the
     * node crashes. index: 0 on n0. NULL: nothing. */
    tr_err (*start)(tr_actor *self, uint32_t index);
    /* A fiber on n0, 15 s after healing: TR_OK, all holds; another code with tr_fail's text, that doesn't. One that hasn't
     * returned after heal_ns has failed as well. NULL: nothing. */
    tr_err (*check)(tr_actor *self);
} tr_scenario;

/* TR_SCENARIO(.name = "counter", .nodes = 3, .start = start, .check = check): once a .so. */
#define TR_SCENARIO(...)                         \
    extern const tr_scenario tr_plugin_scenario; \
    __attribute__((visibility("default")))       \
    const tr_scenario tr_plugin_scenario = {.size = sizeof(tr_scenario), __VA_ARGS__}

#endif
