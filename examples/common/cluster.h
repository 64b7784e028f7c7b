/* What the examples bank and append share: a program that starts itself once more for each node, on loopback; each node
 * has participants and clients. At the end a node of its own, the judge, asks for what is still unknown, and looks at
 * what has come of it.
 *
 *     PROGRAM [--nodes N] [--clients N] [--seconds S] [--kill] [--history DIR]
 *     PROGRAM --node  OPTIONS INDEX NODES CLIENTS SINCE UNTIL HISTORY NOTE      one node
 *     PROGRAM --judge OPTIONS NODES SINCE UNTIL HISTORY                         the judge
 *
 * OPTIONS are those of every program (--help after --node tells them). SINCE and UNTIL are when the clients begin and end,
 * in milliseconds of the monotonic clock; HISTORY is a directory; NOTE is how many bytes each change carries along. */
#ifndef TROUPE_EXAMPLES_CLUSTER_H
#define TROUPE_EXAMPLES_CLUSTER_H

#include "examples/common/history.h"

#define CLUSTER_NODES_MAX   5
#define CLUSTER_CLIENTS_MAX 16

typedef struct cluster {
    uint32_t nodes, clients; /* clients of each node */
    uint64_t since_ms, until_ms;
    const char *directory; /* of the history */
    const char *note;
} cluster;

typedef struct workload {
    const char *name, *what;
    /* The history's first line. */
    void (*header)(const cluster *c, char *out, size_t room);
    /* Spawn the participants of that node. */
    tr_err (*open)(tr_actor *self, const cluster *c, uint32_t node);
    /* One operation of a client, also when it fails. */
    void (*operate)(tr_actor *self, const cluster *c, operation *op);
    /* By the judge, when no outcome is unknown any more: read all, and say what there is. */
    tr_err (*check)(tr_actor *self, const cluster *c, operation *op);
} workload;

/* How long a transaction may take here. */
extern const tr_tx_opts cluster_tx;

uint64_t cluster_now_ms(void);
/* All of `main`. */
int cluster_main(int argc, char **argv, const workload *w);

#endif
