/* See judge_graph.h. Tarjan's algorithm without recursion; short circles by breadth-first search, in which a step that is
 * free is none. */
#include "cli/tx/judge_graph.h"

#include <string.h>

#include "base/mem.h"
#include "cli/tx/judge_table.h"

#define WORK 20000000u /* a second or so */

int judge_graph_open(judge_graph *graph, uint32_t ops)
{
    *graph = (judge_graph){.ops = ops, .nodes = ops, .heads_room = ops + 16, .work = WORK};
    graph->heads = tr__alloc(graph->heads_room * sizeof(*graph->heads));
    if (!graph->heads)
        return 0;
    memset(graph->heads, 0xff, ops * sizeof(*graph->heads));
    return 1;
}

void judge_graph_close(judge_graph *graph)
{
    tr__free(graph->heads);
    tr__free(graph->edges);
    tr__free(graph->circles);
    *graph = (judge_graph){0};
}

uint32_t judge_graph_node(judge_graph *graph)
{
    if (graph->nodes >= JUDGE_NONE - 1 ||
        !judge_room(&graph->heads, &graph->heads_room, graph->nodes, sizeof(*graph->heads)))
        return JUDGE_NONE;
    graph->heads[graph->nodes] = JUDGE_NONE;
    return (uint32_t)graph->nodes++;
}

int judge_graph_edge(judge_graph *graph, uint32_t from, uint32_t to, judge_edge_kind kind, uint32_t value)
{
    if (graph->edges_count >= JUDGE_NONE - 1 ||
        !judge_room(&graph->edges, &graph->edges_room, graph->edges_count, sizeof(*graph->edges)))
        return 0;
    graph->edges[graph->edges_count] =
        (judge_edge){.to = to, .next = graph->heads[from], .value = value, .kind = (uint8_t)kind};
    graph->heads[from] = (uint32_t)graph->edges_count++;
    return 1;
}

static bool is_in(const judge_edge *edge, uint32_t mask)
{
    return (mask | JUDGE_ONLY(JUDGE_FREE)) >> edge->kind & 1;
}

/* ---- knots --------------------------------------------------------------------------------------------- */

/* By node. `stack` is Tarjan's, `path` stands for the calls of the recursion. */
typedef struct tarjan {
    judge_graph *graph;
    uint32_t mask, next, knots;
    uint32_t *number, *low, *edge, *stack, *path;
    size_t stack_count, path_count;
} tarjan;

static void enter(tarjan *t, uint32_t node)
{
    t->number[node] = t->low[node] = t->next++;
    t->edge[node] = t->graph->heads[node];
    t->stack[t->stack_count++] = t->path[t->path_count++] = node;
}

/* All above it on the stack is one knot; one alone is none (no edge leads to where it begins). */
static void leave(tarjan *t, uint32_t node)
{
    uint32_t *circles = t->graph->circles, knot = JUDGE_NONE;
    t->path_count--;
    if (t->path_count && t->low[node] < t->low[t->path[t->path_count - 1]])
        t->low[t->path[t->path_count - 1]] = t->low[node];
    if (t->low[node] != t->number[node])
        return;
    if (t->stack[t->stack_count - 1] != node)
        knot = t->knots++;
    uint32_t member;
    do {
        member = t->stack[--t->stack_count];
        circles[member] = knot;
        t->low[member] = JUDGE_NONE; /* off the stack */
    } while (member != node);
}

static void walk(tarjan *t, uint32_t root)
{
    enter(t, root);
    while (t->path_count) {
        uint32_t node = t->path[t->path_count - 1], number = t->edge[node];
        if (number == JUDGE_NONE) {
            leave(t, node);
            continue;
        }
        const judge_edge *edge = &t->graph->edges[number];
        t->edge[node] = edge->next;
        if (!is_in(edge, t->mask))
            continue;
        if (t->number[edge->to] == JUDGE_NONE)
            enter(t, edge->to);
        else if (t->low[edge->to] != JUDGE_NONE && t->number[edge->to] < t->low[node])
            t->low[node] = t->number[edge->to];
    }
}

int judge_graph_knots(judge_graph *graph, uint32_t mask, uint32_t *count)
{
    size_t nodes = graph->nodes;
    uint32_t *block = tr__alloc(5 * nodes * sizeof(*block) + 1);
    if (!graph->circles)
        graph->circles = tr__alloc(nodes * sizeof(*graph->circles) + 1);
    if (!block || !graph->circles) {
        tr__free(block);
        return 0;
    }
    tarjan t = {.graph = graph,
                .mask = mask,
                .number = block,
                .low = block + nodes,
                .edge = block + 2 * nodes,
                .stack = block + 3 * nodes,
                .path = block + 4 * nodes};
    memset(t.number, 0xff, nodes * sizeof(*t.number));
    for (uint32_t node = 0; node < nodes; node++)
        if (t.number[node] == JUDGE_NONE)
            walk(&t, node);
    *count = t.knots;
    tr__free(block);
    return 1;
}

/* ---- short circles ------------------------------------------------------------------------------------- */

typedef struct search {
    judge_graph *graph;
    uint32_t *distance, *via,
        *from; /* by node: JUDGE_NONE: not reached; the edge that led there, and where that began */
    uint32_t *now, *next; /* nodes: of this distance, and of one more */
    size_t now_count, next_count;
    uint32_t best;
    judge_circle *circle;
} search;

static void reach(search *s, uint32_t node, uint32_t edge, uint32_t to, uint32_t distance, bool same)
{
    if (s->distance[to] <= distance)
        return;
    s->distance[to] = distance;
    s->via[to] = edge;
    s->from[to] = node;
    if (same)
        s->now[s->now_count++] = to;
    else
        s->next[s->next_count++] = to;
}

/* From all edges of a node. True: the goal is as near as this node, or nothing may be looked at any more. */
static bool look(search *s, uint32_t node, uint32_t goal, uint32_t mask, uint32_t distance)
{
    judge_graph *graph = s->graph;
    for (uint32_t e = graph->heads[node]; e != JUDGE_NONE; e = graph->edges[e].next) {
        const judge_edge *edge = &graph->edges[e];
        if (graph->work == 0)
            return true;
        graph->work--;
        if (!is_in(edge, mask) || graph->circles[edge->to] != graph->circles[node])
            continue;
        bool same = edge->kind == JUDGE_FREE;
        if (edge->to != goal) {
            reach(s, node, e, edge->to, distance + !same, same);
        } else if (s->distance[goal] > distance + !same) {
            s->distance[goal] = distance + !same;
            s->via[goal] = e;
            s->from[goal] = node;
            if (same)
                return true;
        }
    }
    return false;
}

static void clear(search *s, const uint32_t *members, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        s->distance[members[i]] = JUDGE_NONE;
    s->now_count = s->next_count = 0;
    s->graph->work -= s->graph->work < count ? s->graph->work : count;
}

/* How far the goal is, if nearer than `limit`: else JUDGE_NONE. */
static uint32_t find(search *s, uint32_t start, uint32_t goal, uint32_t mask, uint32_t limit)
{
    s->now[s->now_count++] = start;
    if (start != goal)
        s->distance[start] = 0;
    for (uint32_t distance = 0; distance < limit && s->now_count; distance++) {
        bool over = false;
        for (size_t i = 0; i < s->now_count && !over; i++) {
            uint32_t node = s->now[i];
            if (node == start ||
                s->distance[node] == distance) /* else it was reached by a shorter way since */
                over = look(s, node, goal, mask, distance);
        }
        if (over || s->distance[goal] != JUDGE_NONE)
            return s->graph->work && s->distance[goal] < limit ? s->distance[goal] : JUDGE_NONE;
        uint32_t *swap = s->now;
        s->now = s->next;
        s->next = swap;
        s->now_count = s->next_count;
        s->next_count = 0;
    }
    return JUDGE_NONE;
}

/* The way that was found, behind `first` (an edge from `goal`; JUDGE_NONE: there is none). 0: no memory. */
static int keep(search *s, uint32_t start, uint32_t goal, uint32_t first)
{
    judge_circle *circle = s->circle;
    uint32_t length = first != JUDGE_NONE, node = goal;
    do {
        length++;
        node = s->from[node];
    } while (node != start);
    uint32_t *block = tr__alloc(2 * (size_t)length * sizeof(*block));
    if (!block)
        return 0;
    judge_circle_free(circle);
    *circle = (judge_circle){.edges = block, .from = block + length, .count = length};
    node = goal;
    for (uint32_t i = length; i-- > (first != JUDGE_NONE);) {
        circle->edges[i] = s->via[node];
        circle->from[i] = s->from[node];
        node = s->from[node];
    }
    if (first != JUDGE_NONE) {
        circle->edges[0] = first;
        circle->from[0] = goal;
    }
    for (uint32_t i = 0; i < length; i++)
        circle->steps += s->graph->edges[circle->edges[i]].kind != JUDGE_FREE;
    return 1;
}

/* With one rw edge, from that node. */
static int try_single(search *s, uint32_t node, uint32_t mask, const uint32_t *members, uint32_t count)
{
    const judge_graph *graph = s->graph;
    for (uint32_t e = graph->heads[node]; e != JUDGE_NONE; e = graph->edges[e].next) {
        const judge_edge *edge = &graph->edges[e];
        if (edge->kind != JUDGE_RW || graph->circles[edge->to] != graph->circles[node])
            continue;
        clear(s, members, count);
        uint32_t distance = find(s, edge->to, node, mask & ~JUDGE_ONLY(JUDGE_RW), s->best - 1);
        if (distance == JUDGE_NONE)
            continue;
        s->best = distance + 1;
        if (!keep(s, edge->to, node, e))
            return 0;
    }
    return 1;
}

static int try_any(search *s, uint32_t node, uint32_t mask, const uint32_t *members, uint32_t count)
{
    clear(s, members, count);
    uint32_t distance = find(s, node, node, mask, s->best);
    if (distance == JUDGE_NONE)
        return 1;
    s->best = distance;
    return keep(s, node, node, JUDGE_NONE);
}

int judge_graph_circle(judge_graph *graph, const uint32_t *members, uint32_t count, uint32_t mask,
                       bool single, judge_circle *circle)
{
    size_t nodes = graph->nodes;
    uint32_t *block = tr__alloc(3 * nodes * sizeof(*block)),
             *lists = tr__alloc(4 * ((size_t)count + 1) * sizeof(*lists));
    int good = block && lists;
    search s = {.graph = graph, .best = JUDGE_NONE, .circle = circle};
    *circle = (judge_circle){0};
    if (good) {
        s.distance = block;
        s.via = block + nodes;
        s.from = block + 2 * nodes;
        s.now = lists;
        s.next = lists + 2 * ((size_t)count + 1);
    }
    for (uint32_t i = 0; good && i < count && graph->work && s.best > 2; i++)
        if (members[i] < graph->ops)
            good = single ? try_single(&s, members[i], mask, members, count)
                          : try_any(&s, members[i], mask, members, count);
    circle->shortest = graph->work > 0;
    tr__free(block);
    tr__free(lists);
    if (!good)
        judge_circle_free(circle);
    return good;
}

void judge_circle_free(judge_circle *circle)
{
    tr__free(circle->edges);
    *circle = (judge_circle){0};
}
