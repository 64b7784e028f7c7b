/* See memory_snap.h. One thread; memory that it can't get ends the test. */
#include "tests/kit/memory_snap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

struct memory_row {
    size_t refs, key_size, value_size;
    bool absent;     /* only in `undo`: there was no such row */
    uint8_t bytes[]; /* the key, then the value */
};

/* ---- tables -------------------------------------------------------------------------------------------- */

static memory_row *row_make(tr_bytes key, tr_bytes value)
{
    memory_row *row = malloc(sizeof(*row) + key.size + value.size);
    tr__check(row != NULL, "no memory for the test");
    row->refs = 1;
    row->absent = false;
    row->key_size = key.size;
    row->value_size = value.size;
    memcpy(row->bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(row->bytes + key.size, value.data, value.size);
    return row;
}

static void row_free(memory_row *row)
{
    if (--row->refs == 0)
        free(row);
}

void memory_table_free(memory_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        row_free(t->rows[i]);
    free(t->rows);
    *t = (memory_table){0};
}

static void room_for(memory_table *t, size_t count)
{
    if (count <= t->room)
        return;
    t->room = count * 2;
    t->rows = realloc(t->rows, t->room * sizeof(memory_row *));
    tr__check(t->rows != NULL, "no memory for the test");
}

static void table_copy(memory_table *to, const memory_table *from)
{
    memory_table copy = {0};
    room_for(&copy, from->count + 1);
    copy.count = from->count;
    for (size_t i = 0; i < from->count; i++) {
        copy.rows[i] = from->rows[i];
        copy.rows[i]->refs++;
    }
    memory_table_free(to);
    *to = copy;
}

static int compare(const memory_row *row, tr_bytes key)
{
    size_t least = row->key_size < key.size ? row->key_size : key.size;
    int order = memcmp(row->bytes, key.data, least);
    return order ? order : row->key_size < key.size ? -1 : row->key_size > key.size;
}

/* Where it is, or belongs. */
static bool find(const memory_table *t, tr_bytes key, size_t *at)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(t->rows[middle], key);
        if (order == 0) {
            *at = middle;
            return true;
        }
        *(order < 0 ? &low : &high) = order < 0 ? middle + 1 : middle;
    }
    *at = low;
    return false;
}

static void take_out(memory_table *t, size_t at)
{
    row_free(t->rows[at]);
    memmove(t->rows + at, t->rows + at + 1, (--t->count - at) * sizeof(memory_row *));
}

static tr_bytes value_of(const memory_row *row)
{
    return (tr_bytes){row->bytes + row->key_size, row->value_size};
}

/* ---- the seam ------------------------------------------------------------------------------------------ */

static tr_err get(tr__snap_store *store, tr_bytes key, tr_bytes *value, tr_error *error)
{
    const memory_snap *m = (memory_snap *)store;
    size_t at;
    (void)error;
    *value = find(&m->now, key, &at) ? value_of(m->now.rows[at]) : (tr_bytes){NULL, 0};
    return TR_OK;
}

static tr_err next(tr__snap_store *store, tr_bytes after, tr_bytes *key, tr_error *error)
{
    const memory_snap *m = (memory_snap *)store;
    size_t at;
    (void)error;
    if (find(&m->now, after, &at))
        at++;
    *key = at < m->now.count ? (tr_bytes){m->now.rows[at]->bytes, m->now.rows[at]->key_size}
                             : (tr_bytes){NULL, 0};
    return TR_OK;
}

/* For the way back: the row, or that there was none. */
static void note(memory_snap *m, memory_row *row)
{
    room_for(&m->undo, m->undo.count + 1);
    m->undo.rows[m->undo.count++] = row;
}

/* In the place of what has its key; what that was, NULL: nothing. */
static memory_row *set(memory_table *t, memory_row *row)
{
    size_t at;
    memory_row *was = NULL;
    if (find(t, (tr_bytes){row->bytes, row->key_size}, &at)) {
        was = t->rows[at];
    } else {
        room_for(t, t->count + 1);
        memmove(t->rows + at + 1, t->rows + at, (t->count++ - at) * sizeof(memory_row *));
    }
    t->rows[at] = row;
    return was;
}

static void undo_to(memory_snap *m, size_t count)
{
    size_t at;
    while (m->undo.count > count) {
        memory_row *row = m->undo.rows[--m->undo.count], *was = NULL;
        if (!row->absent)
            was = set(&m->now, row);
        else if (find(&m->now, (tr_bytes){row->bytes, row->key_size}, &at))
            take_out(&m->now, at);
        if (row->absent)
            row_free(row);
        if (was)
            row_free(was);
    }
    m->committed = m->committed < count ? m->committed : count;
}

static tr_err put(tr__snap_store *store, tr_bytes key, tr_bytes value, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    (void)error;
    memory_row *was = set(&m->now, row_make(key, value));
    if (!was) {
        was = row_make(key, (tr_bytes){NULL, 0});
        was->absent = true;
    }
    note(m, was);
    return TR_OK;
}

static tr_err del(tr__snap_store *store, tr_bytes key, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    size_t at;
    (void)error;
    if (find(&m->now, key, &at)) {
        m->now.rows[at]->refs++;
        note(m, m->now.rows[at]);
        take_out(&m->now, at);
    }
    return TR_OK;
}

static tr_err commit(tr__snap_store *store, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    if (*m->space)
        return tr__fail(error, TR_ENOSPC, "no space for %s", store->name);
    if (m->fails)
        return tr__fail(error, m->fails, "%s can't be committed", store->name);
    m->committed = m->undo.count;
    m->commits++;
    return TR_OK;
}

static void rollback(tr__snap_store *store)
{
    memory_snap *m = (memory_snap *)store;
    undo_to(m, m->committed);
}

static tr_err seal(tr__snap_store *store, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    if (*m->space)
        return tr__fail(error, TR_ENOSPC, "no space for %s", store->name);
    undo_to(m, m->committed);
    memory_table_free(&m->undo);
    m->committed = 0;
    m->seals++;
    return TR_OK;
}

static tr_err each(tr__snap_store *store, tr__snap_row_fn *row, void *context, tr_error *error)
{
    const memory_snap *m = (memory_snap *)store;
    for (size_t i = 0; i < m->now.count; i++) {
        const memory_row *r = m->now.rows[i];
        TR_TRY(row(context, (tr_bytes){r->bytes, r->key_size}, value_of(r), error));
    }
    return TR_OK;
}

static bool begin(tr__snap_store *store, bool (*step)(void *context), void *context)
{
    memory_snap *m = (memory_snap *)store;
    tr__check(!m->step, "two jobs at a time");
    m->step = step;
    m->context = context;
    m->over = false;
    return true;
}

static bool finished(tr__snap_store *store)
{
    memory_snap *m = (memory_snap *)store;
    bool over = m->over;
    m->over = false;
    if (over)
        m->step = NULL;
    return over;
}

static void close_store(tr__snap_store *store)
{
    memory_snap *m = (memory_snap *)store;
    tr__check(m->is_open, "closed twice");
    m->is_open = m->over = false;
    m->step = NULL;
    undo_to(m, m->committed);
}

/* ---- the test's side ----------------------------------------------------------------------------------- */

void memory_snap_clear(memory_snap *m)
{
    memory_table_free(&m->now);
    memory_table_free(&m->undo);
    m->committed = 0;
}

void memory_snap_fini(memory_snap *m)
{
    tr__check(!m->is_open, "a store was not closed");
    memory_snap_clear(m);
}

tr__snap_store *memory_snap_open(memory_snap *m, const size_t *space)
{
    tr__check(!m->is_open, "the store is open");
    m->store = (tr__snap_store){.get = get,
                                .next = next,
                                .put = put,
                                .del = del,
                                .commit = commit,
                                .rollback = rollback,
                                .seal = seal,
                                .each = each,
                                .begin = begin,
                                .finished = finished,
                                .close = close_store};
    snprintf(m->store.name, sizeof m->store.name, "memory.snap");
    m->space = space;
    m->is_open = true;
    return &m->store;
}

bool memory_snap_step(memory_snap *m)
{
    if (!m->step || m->over)
        return false;
    m->over = !m->step(m->context);
    return true;
}

void memory_snap_crash(memory_snap *m, bool forgets)
{
    tr__check(!m->is_open, "close first: the process dies with its host");
    undo_to(m, forgets ? 0 : m->committed);
}

size_t memory_snap_size(const memory_snap *m)
{
    size_t size = 0;
    for (size_t i = 0; i < m->now.count; i++)
        size += m->now.rows[i]->key_size + m->now.rows[i]->value_size;
    return size;
}

void memory_snap_flip(memory_snap *m, size_t at, uint8_t bits)
{
    for (size_t i = 0; i < m->now.count; i++) {
        memory_row *row = m->now.rows[i];
        if (at < row->key_size + row->value_size) {
            row->bytes[at] ^= bits;
            return;
        }
        at -= row->key_size + row->value_size;
    }
}

bool memory_snap_lose(memory_snap *m, size_t n)
{
    if (n >= m->now.count)
        return false;
    take_out(&m->now, n);
    return true;
}

memory_table memory_snap_save(const memory_snap *m)
{
    memory_table saved = {0};
    table_copy(&saved, &m->now);
    return saved;
}

void memory_snap_restore(memory_snap *m, const memory_table *saved)
{
    memory_snap_clear(m);
    table_copy(&m->now, saved);
}
