/* Circles in the graph of what must come before what: found from the fewest kinds of edges to all of them, so that each is
 * told as the worst that it is. Of each knot a shortest circle is told. See judge.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/tx/judge_state.h"

#define STEPS_TOLD 12u

enum {
    WW = JUDGE_ONLY(JUDGE_WW),
    WR = JUDGE_ONLY(JUDGE_WR),
    RW = JUDGE_ONLY(JUDGE_RW),
    RT = JUDGE_ONLY(JUDGE_REALTIME),
};

typedef struct level {
    uint32_t mask;
    const char *single, *kind; /* single: with one rw edge; NULL: no such */
} level;

static const level levels[] = {
    {WW, NULL, "G0"},
    {WW | WR, NULL, "G1c"},
    {WW | WR | RW, "G-single", "G2"},
    {WW | RT, NULL, "G0-realtime"},
    {WW | WR | RT, NULL, "G1c-realtime"},
    {WW | WR | RW | RT, "G-single-realtime", "G2-realtime"},
};
#define LEVELS (sizeof(levels) / sizeof(*levels))

static const char *const edge_names[] = {"ww", "wr", "rw", "realtime"};

/* ---- words --------------------------------------------------------------------------------------------- */

static void say(const judge_history *h, judge_step *step, judge_edge_kind kind, uint32_t from, uint32_t to,
                uint32_t number)
{
    char a[64], b[64], what[64] = "";
    judge_at(h, from, a);
    judge_at(h, to, b);
    const judge_op *op = &h->ops[from];
    const char *key = "";
    if (number != JUDGE_NONE) {
        key = h->keys[h->values[number].key].text;
        snprintf(what, sizeof(what), "%" PRId64, h->values[number].value);
    }
    *step =
        (judge_step){.edge = edge_names[kind], .file = op->file, .line = op->line, .end_line = op->end_line};
    switch (kind) {
    case JUDGE_WW:
        snprintf(step->text, sizeof(step->text), "%s appended to %.40s before %s appended %s", a, key, b,
                 what);
        break;
    case JUDGE_WR:
        snprintf(step->text, sizeof(step->text), "%s appended %s to %.40s, and %s read it", a, what, key, b);
        break;
    case JUDGE_RW:
        snprintf(step->text, sizeof(step->text), "%s read %.40s without the %s that %s appended", a, key,
                 what, b);
        break;
    default:
        snprintf(step->text, sizeof(step->text), "%s had ended (%s) before %s began", a,
                 judge_place(h, op->known_file, op->known_line, what), b);
    }
}

/* The circle's edges become steps, from the operation on that stands first in the files; its kinds, as a text. */
static uint32_t say_all(const judge_history *h, const judge_graph *graph, const judge_circle *circle,
                        judge_step *steps, char *kinds, size_t room)
{
    uint32_t first = 0, told = 0;
    size_t length = 0;
    for (uint32_t i = 1; i < circle->count; i++)
        if (circle->from[i] < circle->from[first])
            first = i;
    kinds[0] = '\0';
    for (uint32_t i = 0; i < circle->count;) {
        const judge_edge *edge = &graph->edges[circle->edges[(first + i) % circle->count]];
        uint32_t from = circle->from[(first + i) % circle->count], to = edge->to, value = edge->value;
        judge_edge_kind kind = (judge_edge_kind)edge->kind;
        for (i++; to >= graph->ops; i++) {
            edge = &graph->edges[circle->edges[(first + i) % circle->count]];
            to = edge->to;
            value = edge->value;
        }
        if (told < STEPS_TOLD) {
            say(h, &steps[told++], kind, from, to, value);
            length +=
                (size_t)snprintf(kinds + length, room - length, "%s%s", length ? ", " : "", edge_names[kind]);
        }
    }
    return told;
}

static void tell_circle(judge_history *h, const judge_graph *graph, const char *kind, const uint32_t *members,
                        uint32_t in_knot, const judge_circle *circle)
{
    judge_step steps[STEPS_TOLD];
    judge_finding finding = {.kind = kind, .steps = steps, .steps_count = circle->steps};
    char kinds[STEPS_TOLD * 12], at[64];
    uint32_t first = circle->count ? circle->from[0] : members[0];
    for (uint32_t i = 1; i < circle->count; i++)
        first = circle->from[i] < first ? circle->from[i] : first;
    if (circle->count) {
        finding.steps_told = say_all(h, graph, circle, steps, kinds, sizeof(kinds));
        int length =
            snprintf(finding.text, sizeof(finding.text),
                     "%s: a circle of %u, each of which comes before the next (%s%s)", judge_at(h, first, at),
                     circle->steps, kinds, finding.steps_told < circle->steps ? ", ..." : "");
        if (in_knot > circle->steps)
            length += snprintf(finding.text + length, sizeof(finding.text) - (size_t)length,
                               ", of %u that hang together so", in_knot);
        if (!circle->shortest)
            snprintf(finding.text + length, sizeof(finding.text) - (size_t)length,
                     "; there may be a shorter one");
    } else {
        snprintf(finding.text, sizeof(finding.text),
                 "%s: %u operations each of which comes before each other", judge_at(h, first, at), in_knot);
    }
    judge_tell(h, &finding, first);
}

/* ---- knots --------------------------------------------------------------------------------------------- */

typedef struct circles {
    judge_history *h;
    judge_graph *graph;
    uint8_t *told;     /* by operation: in a knot that was */
    uint32_t *members; /* by knot */
    uint32_t *starts;  /* of each in `members`, and the end of the last */
    uint32_t searched; /* on this level */
} circles;

/* 0: no memory. */
static int knot(circles *c, const level *l, const uint32_t *members, uint32_t count)
{
    judge_circle circle = {0};
    const char *kind = l->kind;
    uint32_t in_knot = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (members[i] >= c->graph->ops)
            continue;
        if (c->told[members[i]])
            return 1;
        in_knot++;
    }
    for (uint32_t i = 0; i < count; i++)
        if (members[i] < c->graph->ops)
            c->told[members[i]] = 1;
    if (c->searched++ < JUDGE_OF_A_KIND_MAX) {
        if (l->single) {
            if (!judge_graph_circle(c->graph, members, count, l->mask, true, &circle))
                return 0;
            kind = circle.count ? l->single : kind;
        }
        if (!circle.count && !judge_graph_circle(c->graph, members, count, l->mask, false, &circle))
            return 0;
    }
    tell_circle(c->h, c->graph, kind, members, in_knot, &circle);
    judge_circle_free(&circle);
    return 1;
}

/* Sorts the nodes by knot. */
static int gather(circles *c, uint32_t count)
{
    const judge_graph *graph = c->graph;
    tr__free(c->starts);
    c->starts = tr__zalloc(((size_t)count + 2) * sizeof(*c->starts));
    if (!c->starts)
        return 0;
    for (size_t i = 0; i < graph->nodes; i++)
        if (graph->circles[i] != JUDGE_NONE)
            c->starts[graph->circles[i] + 2]++;
    for (uint32_t i = 2; i < count + 2; i++)
        c->starts[i] += c->starts[i - 1];
    for (uint32_t i = 0; i < graph->nodes; i++)
        if (graph->circles[i] != JUDGE_NONE)
            c->members[c->starts[graph->circles[i] + 1]++] = i;
    return 1;
}

static int one_level(circles *c, const level *l)
{
    uint32_t count;
    c->searched = 0;
    if (!judge_graph_knots(c->graph, l->mask, &count))
        return 0;
    if (!count)
        return 1;
    if (!gather(c, count))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        if (!knot(c, l, c->members + c->starts[i], c->starts[i + 1] - c->starts[i]))
            return 0;
    return 1;
}

tr_err judge_circles(judge_history *h, judge_graph *graph, tr_error *error)
{
    circles c = {.h = h, .graph = graph};
    uint32_t count;
    int good = judge_graph_knots(graph, levels[LEVELS - 1].mask, &count);
    if (good && count) {
        c.told = tr__zalloc(graph->ops + 1);
        c.members = tr__alloc((graph->nodes + 1) * sizeof(*c.members));
        good = c.told && c.members;
        for (size_t i = 0; good && i < LEVELS; i++)
            good = one_level(&c, &levels[i]);
    }
    tr__free(c.told);
    tr__free(c.members);
    tr__free(c.starts);
    return good ? TR_OK : judge_no_memory(error);
}
