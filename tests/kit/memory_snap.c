/* See memory_snap.h. One thread; memory that it can't get ends the test. */
#include "tests/kit/memory_snap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

struct memory_row {
    size_t refs, key_size, value_size;
    uint8_t bytes[]; /* the key, then the value */
};

/* ---- tables -------------------------------------------------------------------------------------------- */

static memory_row *row_make(tr_bytes key, tr_bytes value)
{
    memory_row *row = malloc(sizeof(*row) + key.size + value.size);
    tr__check(row != NULL, "no memory for the test");
    row->refs = 1;
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

static tr_err put(tr__snap_store *store, tr_bytes key, tr_bytes value, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    size_t at;
    (void)error;
    memory_row *row = row_make(key, value);
    if (find(&m->now, key, &at)) {
        row_free(m->now.rows[at]);
    } else {
        room_for(&m->now, m->now.count + 1);
        memmove(m->now.rows + at + 1, m->now.rows + at, (m->now.count++ - at) * sizeof(memory_row *));
    }
    m->now.rows[at] = row;
    return TR_OK;
}

static tr_err del(tr__snap_store *store, tr_bytes key, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    size_t at;
    (void)error;
    if (find(&m->now, key, &at))
        take_out(&m->now, at);
    return TR_OK;
}

static tr_err commit(tr__snap_store *store, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    if (*m->space)
        return tr__fail(error, TR_ENOSPC, "no space for %s", store->name);
    table_copy(&m->committed, &m->now);
    m->commits++;
    return TR_OK;
}

static void rollback(tr__snap_store *store)
{
    memory_snap *m = (memory_snap *)store;
    table_copy(&m->now, &m->committed);
}

static tr_err seal(tr__snap_store *store, tr_error *error)
{
    memory_snap *m = (memory_snap *)store;
    if (*m->space)
        return tr__fail(error, TR_ENOSPC, "no space for %s", store->name);
    table_copy(&m->sealed, &m->committed);
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
    table_copy(&m->now, &m->committed);
}

/* ---- the test's side ----------------------------------------------------------------------------------- */

void memory_snap_clear(memory_snap *m)
{
    memory_table_free(&m->now);
    memory_table_free(&m->committed);
    memory_table_free(&m->sealed);
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
    if (forgets)
        table_copy(&m->committed, &m->sealed);
    table_copy(&m->now, &m->committed);
}

size_t memory_snap_size(const memory_snap *m)
{
    size_t size = 0;
    for (size_t i = 0; i < m->committed.count; i++)
        size += m->committed.rows[i]->key_size + m->committed.rows[i]->value_size;
    return size;
}

void memory_snap_flip(memory_snap *m, size_t at, uint8_t bits)
{
    for (size_t i = 0; i < m->committed.count; i++) {
        memory_row *row = m->committed.rows[i];
        if (at < row->key_size + row->value_size) {
            row->bytes[at] ^= bits;
            return;
        }
        at -= row->key_size + row->value_size;
    }
}

bool memory_snap_lose(memory_snap *m, size_t n)
{
    if (n >= m->committed.count)
        return false;
    take_out(&m->committed, n);
    table_copy(&m->now, &m->committed);
    return true;
}

memory_table memory_snap_save(const memory_snap *m)
{
    memory_table saved = {0};
    table_copy(&saved, &m->committed);
    return saved;
}

void memory_snap_restore(memory_snap *m, const memory_table *saved)
{
    table_copy(&m->committed, saved);
    table_copy(&m->now, saved);
}
