/* Which transaction must come before which: of "append", by what was read and by real time. Linear: what would be many
 * edges goes by nodes that stand for them.
 *
 * - A key's order is that of its writers; a read comes behind the writer of its last value and before that of the next.
 * - What is committed and nobody saw comes behind all that was seen of its key, in an order that nobody knows: its tail.
 *   Of a tail, node S(i) leads to the i-th and all behind it, node P(i) to the i-th and all before it, so that one of the
 *   tail itself can come before all others of it.
 * - All that ended before an operation was invoked comes before it: by a chain of nodes in the order of time. */
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/tx/judge_state.h"

typedef struct edges {
    judge_history *h;
    judge_graph *graph;
    bool failed; /* no memory */
} edges;

static void add(edges *e, uint32_t from, uint32_t to, judge_edge_kind kind, uint32_t value)
{
    if (from == to || e->failed)
        return;
    e->failed = !judge_graph_edge(e->graph, from, to, kind, value);
    e->h->counts.edges += kind != JUDGE_FREE;
}

static uint32_t node(edges *e)
{
    uint32_t made = e->failed ? JUDGE_NONE : judge_graph_node(e->graph);
    e->failed = made == JUDGE_NONE;
    return made;
}

/* ---- tails --------------------------------------------------------------------------------------------- */

static void make_tail(edges *e, judge_key_state *key, const uint32_t *values, uint32_t count)
{
    uint32_t first = node(e);
    for (uint32_t i = 1; i < 2 * count; i++)
        node(e);
    if (e->failed)
        return;
    key->first_tail = first;
    key->tails = count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t s = first + i, p = first + count + i, writer = e->h->values[values[i]].writer;
        add(e, s, writer, JUDGE_FREE, values[i]);
        add(e, p, writer, JUDGE_FREE, values[i]);
        if (i + 1 < count)
            add(e, s, s + 1, JUDGE_FREE, JUDGE_NONE);
        if (i > 0)
            add(e, p, p - 1, JUDGE_FREE, JUDGE_NONE);
    }
}

/* Its values that nobody saw, one a writer, and what else that writer appended to it goes with the first. `next`: by value,
 * the next of the same key. */
static void tail_of(edges *e, uint32_t number, const uint32_t *next, uint32_t value, uint32_t *list)
{
    judge_history *h = e->h;
    uint32_t count = 0;
    for (; value != JUDGE_NONE; value = next[value]) {
        if (!count || h->values[list[count - 1]].writer != h->values[value].writer)
            list[count++] = value;
        h->values[value].seen_by = count - 1;
    }
    if (count)
        make_tail(e, &h->keys[number], list, count);
}

static void make_tails(edges *e)
{
    judge_history *h = e->h;
    size_t count = h->values_count;
    uint32_t *next = tr__alloc((2 * count + h->keys_count) * sizeof(*next) + 1);
    if (!next) {
        e->failed = true;
        return;
    }
    uint32_t *list = next + count, *heads = next + 2 * count;
    for (size_t i = 0; i < h->keys_count; i++)
        heads[i] = JUDGE_NONE;
    for (size_t i = count; i-- > 0;) {
        const judge_value *value = &h->values[i];
        if (value->place != JUDGE_NONE || value->seen_by == JUDGE_NONE)
            continue;
        next[i] = heads[value->key];
        heads[value->key] = (uint32_t)i;
    }
    for (uint32_t i = 0; i < h->keys_count; i++)
        tail_of(e, i, next, heads[i], list);
    tr__free(next);
}

/* Where `op` is in the key's tail; JUDGE_NONE: it isn't. */
static uint32_t place_in_tail(const judge_history *h, uint32_t op, uint32_t key)
{
    for (uint32_t i = 0; i < h->ops[op].items_count; i++) {
        const judge_kept *item = &h->items[h->ops[op].items + i];
        if (item->what != JUDGE_APPENDS || item->key != key)
            continue;
        const judge_value *value =
            &h->values[*judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_VALUES, key), item->value)];
        if (value->place == JUDGE_NONE && value->seen_by != JUDGE_NONE)
            return value->seen_by;
    }
    return JUDGE_NONE;
}

static void before_tail(edges *e, uint32_t op, uint32_t number, judge_edge_kind kind)
{
    const judge_key_state *key = &e->h->keys[number];
    if (!key->tails)
        return;
    uint32_t place = place_in_tail(e->h, op, number);
    if (place == JUDGE_NONE) {
        add(e, op, key->first_tail, kind, JUDGE_NONE);
        return;
    }
    if (place + 1 < key->tails)
        add(e, op, key->first_tail + place + 1, kind, JUDGE_NONE);
    if (place > 0)
        add(e, op, key->first_tail + key->tails + place - 1, kind, JUDGE_NONE);
}

/* ---- by what was read ---------------------------------------------------------------------------------- */

/* Of the value at that place of the key's order; JUDGE_NONE: nobody who is committed. */
static uint32_t writer_at(const judge_history *h, const judge_key_state *key, size_t place)
{
    uint32_t writer = h->values[key->values[place]].writer;
    return writer != JUDGE_NONE && h->ops[writer].committed ? writer : JUDGE_NONE;
}

static void order_writers(edges *e, uint32_t number)
{
    const judge_key_state *key = &e->h->keys[number];
    uint32_t last = JUDGE_NONE;
    for (size_t i = 0; i < key->length; i++) {
        uint32_t writer = writer_at(e->h, key, i);
        if (writer == JUDGE_NONE)
            continue;
        if (last != JUDGE_NONE)
            add(e, last, writer, JUDGE_WW, key->values[i]);
        last = writer;
    }
    if (last != JUDGE_NONE)
        before_tail(e, last, number, JUDGE_WW);
}

static void order_read(edges *e, uint32_t op, const judge_kept *item)
{
    const judge_history *h = e->h;
    const judge_key_state *key = &h->keys[item->key];
    size_t length = (size_t)item->value, outside = judge_outside(h, item->key, length, op), i = outside;
    while (i > 0 && writer_at(h, key, i - 1) == JUDGE_NONE)
        i--;
    if (i > 0)
        add(e, writer_at(h, key, i - 1), op, JUDGE_WR, key->values[i - 1]);
    for (i = length; i < key->length && writer_at(h, key, i) == JUDGE_NONE;)
        i++;
    if (i < key->length)
        add(e, op, writer_at(h, key, i), JUDGE_RW, key->values[i]);
    else
        before_tail(e, op, item->key, JUDGE_RW);
}

/* ---- by real time --------------------------------------------------------------------------------------- */

typedef struct ended {
    int64_t ns;
    uint32_t op;
} ended;

static int by_time(const void *a, const void *b)
{
    const ended *x = a, *y = b;
    return x->ns != y->ns ? (x->ns > y->ns) - (x->ns < y->ns) : (x->op > y->op) - (x->op < y->op);
}

static void order_times(edges *e)
{
    const judge_history *h = e->h;
    size_t count = 0, at = 0;
    uint32_t last = JUDGE_NONE;
    ended *ends = tr__alloc(h->ops_count * sizeof(*ends) + 1);
    e->failed = e->failed || !ends;
    for (uint32_t i = 0; !e->failed && i < h->ops_count; i++)
        if (h->ops[i].committed && h->ops[i].end_known)
            ends[count++] = (ended){h->ops[i].end_ns, i};
    if (count)
        qsort(ends, count, sizeof(*ends), by_time);
    for (uint32_t i = 0; !e->failed && i < h->ops_count; i++) { /* in the order of their invokes */
        if (at < count && ends[at].ns < h->ops[i].invoke_ns) {
            uint32_t now = node(e);
            if (last != JUDGE_NONE && !e->failed)
                add(e, last, now, JUDGE_FREE, JUDGE_NONE);
            for (last = now; !e->failed && at < count && ends[at].ns < h->ops[i].invoke_ns; at++)
                add(e, ends[at].op, now, JUDGE_REALTIME, JUDGE_NONE);
        }
        if (last != JUDGE_NONE && h->ops[i].committed)
            add(e, last, i, JUDGE_FREE, JUDGE_NONE);
    }
    tr__free(ends);
}

tr_err judge_edges(judge_history *h, judge_graph *graph, tr_error *error)
{
    edges e = {.h = h, .graph = graph};
    make_tails(&e);
    for (uint32_t i = 0; i < h->keys_count && !e.failed; i++)
        order_writers(&e, i);
    for (uint32_t op = 0; op < h->ops_count && !e.failed; op++)
        for (uint32_t i = 0; h->ops[op].told == JUDGE_OK && i < h->ops[op].items_count; i++) {
            const judge_kept *item = &h->items[h->ops[op].items + i];
            if (item->what == JUDGE_LIST && item->known && !item->split)
                order_read(&e, op, item);
        }
    order_times(&e);
    return e.failed ? judge_no_memory(error) : TR_OK;
}
