/* A node of the demo: `troupe demo-node NAME ...`, started by `troupe demo` and by nobody else. */
#ifndef TR_CLI_DEMO_NODE_H
#define TR_CLI_DEMO_NODE_H

#include "cli/demo/messages.h"

#define DEMO_TILES_EDGE 16 /* the picture has that many tiles a side */

/* What a node is told on its command line; lives as long as its process. */
typedef struct demo_node_args {
    const char *name;      /* "alice", "bob", "carol" */
    const char *directory; /* its own, made by the demo and removed by it */
    const char *source;    /* whose files alice serves */
    uint32_t files;        /* how many of them at most */
    uint32_t loops;
    uint32_t parallel;       /* carol's workers */
    const char *host;        /* its address, to listen on */
    const char *key;         /* file of the key, "" on loopback */
    bool keep;               /* it goes on when the demo has ended */
    const char *const *join; /* ends with NULL */
} demo_node_args;

/* What a role's actor is given. */
typedef struct demo_role_arg {
    const demo_node_args *args;
    tr_addr observer;
} demo_role_arg;

/* The three parts. An error of theirs is told to the observer, and ends the demo. Argument: demo_role_arg. */
extern const tr_actor_def demo_alice, demo_bob, demo_carol;

/* Measures by a timer of 10 ms how late its loop is, and sends demo_lateness and demo_traffic. For loop 0.
 * Argument: demo_role_arg. */
extern const tr_actor_def demo_lateness_def;

/* The machine's monotonic clock, the same in all processes, ns. Any thread. */
uint64_t demo_now(void);

#endif
