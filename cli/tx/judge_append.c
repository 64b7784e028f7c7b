/* What is wrong with a history of "append" that no graph is needed for: what was seen and never was, what was and isn't
 * seen, what was seen half. See judge.h. */
#include <inttypes.h>

#include "base/err.h"
#include "cli/tx/judge_state.h"

/* ---- what was seen ------------------------------------------------------------------------------------- */

/* Who is seen is committed; an aborted one must not be. */
static void judge_seen(judge_history *h, const judge_value *value)
{
    const char *key = h->keys[value->key].text;
    char at[64];
    if (value->writer == JUDGE_NONE) {
        judge_find(h, "phantom", value->seen_by, "it read %" PRId64 " in %.40s, which nobody appended",
                   value->value, key);
        return;
    }
    judge_op *writer = &h->ops[value->writer];
    if (writer->aborted)
        judge_find(h, "G1a", value->seen_by,
                   "it read %" PRId64 " in %.40s, which %s appended, and that is aborted%s", value->value,
                   key, judge_at(h, value->writer, at),
                   writer->told == JUDGE_FAIL ? "" : ", as who asked was told");
    else
        writer->committed = true;
}

/* An append that is told to be committed, and that a read doesn't have which began later. */
static bool is_lost(const judge_history *h, const judge_value *value)
{
    const judge_op *writer = value->writer == JUDGE_NONE ? NULL : &h->ops[value->writer];
    uint32_t last = h->keys[value->key].last_read;
    return value->place == JUDGE_NONE && writer && writer->committed && writer->end_known &&
           last != JUDGE_NONE && h->ops[last].invoke_ns > writer->end_ns;
}

static void judge_values(judge_history *h)
{
    char at[64];
    for (size_t i = 0; i < h->values_count; i++)
        if (h->values[i].place != JUDGE_NONE)
            judge_seen(h, &h->values[i]);
    for (size_t i = 0; i < h->values_count; i++) {
        judge_value *value = &h->values[i];
        if (value->place != JUDGE_NONE)
            continue;
        const judge_op *writer = value->writer == JUDGE_NONE ? NULL : &h->ops[value->writer];
        /* judge_edges() numbers these. */
        value->seen_by = writer && writer->committed && !is_lost(h, value) ? 0 : JUDGE_NONE;
        if (is_lost(h, value))
            judge_find(h, "lost update", value->writer,
                       "it appended %" PRId64
                       " to %.40s and is committed, and %s, which began later, read the key without it",
                       value->value, h->keys[value->key].text,
                       judge_at(h, h->keys[value->key].last_read, at));
    }
}

/* ---- what was seen half -------------------------------------------------------------------------------- */

static judge_value *value_at(judge_history *h, const judge_kept *item)
{
    return &h->values[*judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_VALUES, item->key), item->value)];
}

static void mark_first_appends(judge_history *h, const judge_op *op)
{
    for (uint32_t i = 0; i < op->items_count; i++) {
        const judge_kept *item = &h->items[op->items + i];
        if (item->what != JUDGE_APPENDS)
            continue;
        for (uint32_t k = i + 1; k < op->items_count; k++)
            if (item[k - i].what == JUDGE_APPENDS && item[k - i].key == item->key) {
                value_at(h, item)->more = true;
                break;
            }
    }
}

static void judge_halves(judge_history *h, uint32_t op)
{
    char at[64];
    for (uint32_t i = 0; i < h->ops[op].items_count; i++) {
        const judge_kept *item = &h->items[h->ops[op].items + i];
        if (item->what != JUDGE_LIST || !item->known || item->split)
            continue;
        size_t length = judge_outside(h, item->key, (size_t)item->value, op);
        if (!length)
            continue;
        const judge_value *last = &h->values[h->keys[item->key].values[length - 1]];
        if (last->writer != JUDGE_NONE && last->more)
            judge_find(h, "G1b", op,
                       "the last that it read in %.40s is %" PRId64
                       ", and %s, which appended that, appended more to it",
                       h->keys[item->key].text, last->value, judge_at(h, last->writer, at));
    }
}

/* ---- commit times -------------------------------------------------------------------------------------- */

static void judge_times(judge_history *h, const judge_key_state *key)
{
    uint32_t last = JUDGE_NONE;
    char at[64];
    for (size_t i = 0; i < key->length; i++) {
        uint32_t writer = h->values[key->values[i]].writer;
        if (writer == JUDGE_NONE || !h->ops[writer].has_ts || writer == last)
            continue;
        if (last != JUDGE_NONE && h->ops[writer].ts <= h->ops[last].ts) {
            judge_find(h, "commit time", writer,
                       "it appended to %.40s behind %s, and its commit time %" PRId64
                       " isn't after that one's %" PRId64,
                       key->text, judge_at(h, last, at), h->ops[writer].ts, h->ops[last].ts);
            return;
        }
        last = writer;
    }
}

tr_err judge_append(judge_history *h, tr_error *error)
{
    judge_graph graph;
    judge_values(h);
    for (size_t i = 0; i < h->ops_count; i++)
        mark_first_appends(h, &h->ops[i]);
    for (size_t i = 0; i < h->ops_count; i++)
        if (h->ops[i].told == JUDGE_OK)
            judge_halves(h, (uint32_t)i);
    for (size_t i = 0; i < h->keys_count; i++)
        judge_times(h, &h->keys[i]);
    if (!judge_graph_open(&graph, (uint32_t)h->ops_count))
        return judge_no_memory(error);
    tr_err err = judge_edges(h, &graph, error);
    if (err == TR_OK)
        err = judge_circles(h, &graph, error);
    judge_graph_close(&graph);
    return err;
}
