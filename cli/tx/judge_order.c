/* Lists as they are read: each is the beginning of the longest one of its key, or that is a finding. See judge_state.h. */
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "cli/tx/judge_state.h"

tr_err judge_value_of(judge_history *h, uint32_t key, int64_t value, uint32_t *number, tr_error *error)
{
    uint32_t *found = judge_table_put(&h->table, JUDGE_TABLE(JUDGE_OF_VALUES, key), value);
    if (!found)
        return judge_no_memory(error);
    if (*found == JUDGE_NONE) {
        if (h->values_count == JUDGE_NONE - 1)
            return tr__fail(error, TR_ETOOBIG, "more values than can be numbered");
        if (!judge_room(&h->values, &h->values_room, h->values_count, sizeof(*h->values)))
            return judge_no_memory(error);
        *found = (uint32_t)h->values_count;
        h->values[h->values_count++] = (judge_value){
            .value = value, .key = key, .writer = JUDGE_NONE, .place = JUDGE_NONE, .seen_by = JUDGE_NONE};
    }
    *number = *found;
    return TR_OK;
}

/* ---- the longest list ---------------------------------------------------------------------------------- */

static size_t common_length(const judge_key_state *key, const judge_item *told)
{
    size_t most = told->count < key->length ? told->count : key->length, i = 0;
    if (most && memcmp(told->list, key->order, most * sizeof(*key->order)) == 0)
        return most;
    while (i < most && told->list[i] == key->order[i])
        i++;
    return i;
}

static tr_err note_split(judge_history *h, uint32_t op, const judge_item *told, size_t place, tr_error *error)
{
    const judge_key_state *key = &h->keys[told->key];
    char at[64];
    return judge_note_it(
        h, "order split", op, error, "it read %" PRId64 " at place %zu of %.40s, where %s has read %" PRId64,
        told->list[place], place + 1, key->text, judge_at(h, key->longest, at), key->order[place]);
}

/* One more at the end. *twice: it is in the list already. */
static tr_err lengthen(judge_history *h, uint32_t op, uint32_t number, int64_t value, bool *twice,
                       tr_error *error)
{
    uint32_t place;
    tr_err err = judge_value_of(h, number, value, &place, error);
    if (err != TR_OK)
        return err;
    judge_key_state *key = &h->keys[number];
    *twice = h->values[place].place != JUDGE_NONE;
    if (*twice)
        return judge_note_it(h, "duplicate", op, error,
                             "it read %" PRId64 " twice in %.40s: at places %u and %zu", value, key->text,
                             h->values[place].place + 1, key->length + 1);
    if (!judge_room(&key->order, &key->order_room, key->length, sizeof(*key->order)) ||
        !judge_room(&key->values, &key->values_room, key->length, sizeof(*key->values)))
        return judge_no_memory(error);
    h->values[place].place = (uint32_t)key->length;
    h->values[place].seen_by = op;
    key->order[key->length] = value;
    key->values[key->length++] = place;
    key->longest = op;
    return TR_OK;
}

tr_err judge_list(judge_history *h, uint32_t op, size_t item, const judge_item *told, tr_error *error)
{
    judge_key_state *key = &h->keys[told->key];
    size_t common = common_length(key, told);
    bool twice = false;
    tr_err err = TR_OK;
    if (common < key->length && common < told->count) {
        h->items[item].split = true;
        return note_split(h, op, told, common, error);
    }
    for (size_t i = key->length; err == TR_OK && !twice && i < told->count; i++)
        err = lengthen(h, op, told->key, told->list[i], &twice, error);
    h->items[item].split = twice;
    if (!twice && (key->last_read == JUDGE_NONE || h->ops[key->last_read].invoke_ns < h->ops[op].invoke_ns))
        key->last_read = op;
    if (key->longest == JUDGE_NONE)
        key->longest = op;
    return err;
}

size_t judge_outside(const judge_history *h, uint32_t key, size_t length, uint32_t op)
{
    const judge_key_state *state = &h->keys[key];
    while (length && h->values[state->values[length - 1]].writer == op)
        length--;
    return length;
}

/* ---- within a transaction ------------------------------------------------------------------------------- */

static tr_err note_inside(judge_history *h, uint32_t op, const judge_item *read, const char *what,
                          tr_error *error)
{
    return judge_note_it(h, "internal", op, error, "its read of %.40s with %u values %s",
                         h->keys[read->key].text, read->count, what);
}

static bool is_own(const judge_history *h, uint32_t op, uint32_t key, int64_t value)
{
    const uint32_t *number = judge_table_get(&h->table, JUDGE_TABLE(JUDGE_OF_VALUES, key), value);
    return number && h->values[*number].writer == op;
}

/* One read against what the same transaction did before it. */
static tr_err read_inside(judge_history *h, uint32_t op, const judge_item *items, uint32_t number,
                          tr_error *error)
{
    const judge_item *read = &items[number], *before = NULL;
    uint32_t own = 0;
    for (uint32_t i = number; i-- > 0 && !before;) {
        if (items[i].key != read->key)
            continue;
        if (items[i].what == JUDGE_LIST) {
            before = items[i].known ? &items[i] : NULL;
            continue;
        }
        if (own >= read->count || read->list[read->count - 1 - own] != items[i].value)
            return note_inside(h, op, read, "doesn't end in what it had appended", error);
        own++;
    }
    if (before && read->count != before->count + own)
        return note_inside(h, op, read, "isn't what it read before and its own appends", error);
    if (!before && read->count > own && is_own(h, op, read->key, read->list[read->count - 1 - own]))
        return note_inside(h, op, read, "has what it appended only later", error);
    return TR_OK;
}

tr_err judge_inside(judge_history *h, uint32_t op, const judge_item *items, uint32_t count, tr_error *error)
{
    tr_err err = TR_OK;
    for (uint32_t i = 0; err == TR_OK && i < count; i++)
        if (items[i].what == JUDGE_LIST && items[i].known)
            err = read_inside(h, op, items, i, error);
    return err;
}
