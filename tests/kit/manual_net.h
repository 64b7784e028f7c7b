/* Nodes of manual.h that are connected, over a network in memory. A test turns their loops, then manual_net_rest; and moves
 * the network itself (memory_net_step). */
#ifndef TR_TESTS_KIT_MANUAL_NET_H
#define TR_TESTS_KIT_MANUAL_NET_H

#include "tests/kit/manual.h"
#include "tests/kit/memory_stream.h"

/* All are borrowed for the node's life. NULL: none; of the cluster, the usual one. */
typedef struct manual_net_opts {
    uint32_t loops; /* 0: one */
    const char *name, *cluster, *listen;
    uint64_t id;
    const char *const *join;
} manual_net_opts;

manual *manual_net_open(memory_net *net, const manual_net_opts *opts);
/* What its connections do, behind a turn of its loops, which says in `busy` whether they have more to do. Whether any has. */
bool manual_net_rest(manual *m);
/* As manual_close; not yet of the network. */
void manual_net_close(manual *m);

#endif
