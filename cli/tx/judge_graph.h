/* A graph of what must come before what, and its circles. Nodes are numbers; those from `ops` on are none of a history's
 * but stand for many edges (all that ended before a time; all values of a key that nobody saw): what leaves them is free.
 * One thread. Memory: 20 bytes an edge, 4 a node, and 16 a node while circles are looked for. */
#ifndef TR_CLI_TX_JUDGE_GRAPH_H
#define TR_CLI_TX_JUDGE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum judge_edge_kind { JUDGE_WW, JUDGE_WR, JUDGE_RW, JUDGE_REALTIME, JUDGE_FREE } judge_edge_kind;

/* Bits for the functions below; what is free is always in. */
#define JUDGE_ONLY(kind) (1u << (kind))

typedef struct judge_edge {
    uint32_t to, next;
    uint32_t value; /* the one that it is about; JUDGE_NONE */
    uint8_t kind;
} judge_edge;

typedef struct judge_graph {
    uint32_t *heads;
    judge_edge *edges;
    uint32_t *circles; /* by node: which knot it is in (judge_graph_knots), JUDGE_NONE */
    size_t nodes, heads_room, edges_count, edges_room;
    uint32_t ops;
    uint64_t work; /* edges that the search for short circles may still look at */
} judge_graph;

/* `ops` nodes, no edge. All that return int: 0 is no memory. */
int judge_graph_open(judge_graph *graph, uint32_t ops);
void judge_graph_close(judge_graph *graph);
/* One that stands for edges. JUDGE_NONE: no memory. */
uint32_t judge_graph_node(judge_graph *graph);
int judge_graph_edge(judge_graph *graph, uint32_t from, uint32_t to, judge_edge_kind kind, uint32_t value);

/* Knots: sets of nodes of which each is reached from each, by edges of the kinds in `mask` (Tarjan's strongly connected
 * components, of two or more). Sets `circles` and *count. */
int judge_graph_knots(judge_graph *graph, uint32_t mask, uint32_t *count);

/* A circle in the knot of `members`: edge numbers, in their order, each from where the last one leads. */
typedef struct judge_circle {
    uint32_t *edges; /* judge_circle_free() */
    uint32_t *from;  /* the node that each leaves */
    uint32_t count;
    uint32_t steps; /* of them not free: the operations in it */
    bool shortest;  /* else the search was cut off */
} judge_circle;

/* The shortest by edges of `mask`, with just one of kind rw if `single`. count 0: there is none, or none was found within
 * graph->work. */
int judge_graph_circle(judge_graph *graph, const uint32_t *members, uint32_t count, uint32_t mask,
                       bool single, judge_circle *circle);
void judge_circle_free(judge_circle *circle);

#endif
