/* Nodes' ends for tests of the transport: endpoints that note what is reported to them, over the net in
 * memory and under stepped time. One thread. */
#ifndef TR_TESTS_ENDPOINTS_H
#define TR_TESTS_ENDPOINTS_H

#include "tests/kit/memory_stream.h"
#include "transport/endpoint.h"

#define MILLISECONDS 1000000ull
#define SECONDS      1000000000ull

typedef struct test_node {
    tr__endpoint *endpoint;
    tr__peer *peer; /* that came up last and is still up */
    unsigned ups, downs, writables, dial_failures;
    unsigned downs_at_up; /* how many were down when the last came up */
    uint64_t messages, bytes, unknown;
    uint64_t bulk_messages; /* of messages */
    uint64_t messages_at_down;
    uint64_t sum; /* of all bytes, weighted by position: order matters */
    tr_error down_why, dial_why, away_why;
    unsigned turned_away;
    uint64_t next_dial_ns;
    /* Hears the bytes of each batch and of what came by the bulk lane; may be NULL */
    void (*hear)(void *context, const uint8_t *bytes, size_t length);
    void *hear_context;
    bool hold;  /* don't report bytes as consumed */
    bool echo;  /* send each batch back as one message */
    bool stuck; /* its home does nothing; its control thread goes on */
} test_node;

typedef struct test_cluster {
    memory_net net;
    tr__random secrets; /* what the nodes' seam for secrets draws from */
    uint64_t now_ns;
    test_node *nodes[8];
    unsigned count;
} test_cluster;

extern const tr__endpoint_upcalls test_node_upcalls; /* context: a test_node */

/* Time starts at 1 s. */
void test_cluster_init(test_cluster *cluster, uint64_t seed);
/* Destroys the nodes that are left. */
void test_cluster_fini(test_cluster *cluster);
/* A node of cluster "test" that listens on a port of its own; change options first. */
tr__endpoint_options test_options(const char *name, uint64_t id);
tr_err test_cluster_open(test_cluster *cluster, test_node *node, const tr__endpoint_options *options,
                         tr_error *error);
void test_cluster_destroy(test_cluster *cluster, test_node *node);
/* Everything that happens at this time. */
void test_cluster_settle(test_cluster *cluster);
/* Time goes on by that much, stopping wherever something is due. */
void test_cluster_advance(test_cluster *cluster, uint64_t by_ns);
/* Of the node's peer. */
tr__connection_counters test_counters(const test_node *node);
void test_dial(test_node *from, test_node *to);

#endif
