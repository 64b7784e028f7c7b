/* A whole node in the test's thread for the inputs: the warden, the manager of transactions (without a log), and actors
 * of the shipped kinds; connections over the net in memory. */
#ifndef TR_TESTS_FUZZ_NODE_H
#define TR_TESTS_FUZZ_NODE_H

#include "tests/kit/manual.h"
#include "tests/kit/memory_stream.h"

/* Of the node's actor "client": ask, and watch, that actor. */
TR_MESSAGE(fuzz_go, (addr, other), (u32, what))
TR_MESSAGE(fuzz_word, (u64, n), (string, text))

typedef struct fuzz_node {
    manual *m;
    tr_addr client, echo;
} fuzz_node;

void fuzz_node_open(fuzz_node *n, const char *name, memory_net *net);
void fuzz_node_join(fuzz_node *n, const char *address);
/* All that happens at this time: loops, connections. */
void fuzz_node_settle(fuzz_node *const *nodes, unsigned count, memory_net *net);
void fuzz_node_advance(fuzz_node *const *nodes, unsigned count, memory_net *net, uint64_t by_ns);
/* Asserts the sums, and that nothing is left. */
void fuzz_node_close(fuzz_node *n);

#endif
