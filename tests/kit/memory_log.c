/* See memory_log.h. One thread; memory that it can't get ends the test. */
#include "tests/kit/memory_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/tx/log_format.h"
#include "base/check.h"
#include "base/err.h"

#define SECTOR 512u

enum { STAGE_NONE, STAGE_WRITE, STAGE_FORCE, STAGE_MARK, STAGE_DROP, STAGE_GROW, STAGE_OVER };

static uint64_t draw(memory_log *m, uint64_t bound)
{
    return tr__random_below(&m->random, bound);
}

memory_file *memory_log_file(memory_log *m, uint32_t segment)
{
    return segment == TR__LOG_SEGMENT     ? &m->file
           : segment - 2 < m->later_count ? &m->later[segment - 2]
                                          : NULL;
}

/* ---- one file ------------------------------------------------------------------------------------------ */

/* The same bytes and zeroes behind them, in memory that is not touched: most of a log's file is never written. */
static uint8_t *larger(uint8_t *bytes, size_t size, size_t capacity)
{
    uint8_t *made = calloc(1, capacity);
    tr__check(made != NULL, "no memory for the test");
    if (size > 0)
        memcpy(made, bytes, size);
    free(bytes);
    return made;
}

/* All three images have place for `size` bytes. */
static void reserve(memory_file *f, size_t size)
{
    if (size <= f->capacity)
        return;
    size_t capacity = f->capacity ? f->capacity : 64 * 1024;
    while (capacity < size)
        capacity *= 2;
    f->cache = larger(f->cache, f->capacity, capacity);
    f->disk = larger(f->disk, f->capacity, capacity);
    f->dirty = larger(f->dirty, f->capacity / SECTOR, capacity / SECTOR);
    f->capacity = capacity;
}

static void file_free(memory_file *f)
{
    free(f->cache);
    free(f->disk);
    free(f->dirty);
    *f = (memory_file){0};
}

static bool fails_now(unsigned *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

static void put(memory_file *f, uint64_t offset, const void *bytes, size_t length)
{
    reserve(f, (size_t)offset + length);
    memcpy(f->cache + offset, bytes, length);
    for (size_t s = (size_t)offset / SECTOR; s * SECTOR < offset + length; s++)
        f->dirty[s] = 1;
    if (offset + length > f->dirty_size)
        f->dirty_size = (size_t)offset + length;
    if (offset + length > f->cache_size)
        f->cache_size = (size_t)offset + length;
}

static void file_set(memory_file *f, const uint8_t *bytes, size_t size)
{
    reserve(f, size > 0 ? size : 1);
    memset(f->cache, 0, f->capacity);
    if (size > 0)
        memcpy(f->cache, bytes, size);
    memcpy(f->disk, f->cache, f->capacity);
    memset(f->dirty, 0, f->capacity / SECTOR);
    f->dirty_size = 0;
    f->cache_size = f->disk_size = size;
}

static void file_power_cut(memory_log *m, memory_file *f)
{
    if (f->capacity == 0) /* nothing was ever written */
        return;
    for (size_t s = 0; s * SECTOR < f->dirty_size; s++) {
        if (!f->dirty[s])
            continue;
        uint64_t fate = draw(m, 3);
        size_t kept = fate == 0 ? 0 : fate == 1 ? SECTOR : (size_t)draw(m, SECTOR);
        memcpy(f->disk + s * SECTOR, f->cache + s * SECTOR, kept);
    }
    /* The size is a matter of its own: what was written behind it isn't there. */
    if (f->cache_size > f->disk_size && draw(m, 2))
        f->disk_size += (size_t)draw(m, f->cache_size - f->disk_size + 1);
    if (f->cache_size > f->disk_size) {
        memset(f->disk + f->disk_size, 0, f->cache_size - f->disk_size);
        memset(f->cache + f->disk_size, 0, f->cache_size - f->disk_size);
    }
    memcpy(f->cache, f->disk, f->disk_size);
    memset(f->dirty, 0, f->capacity / SECTOR);
    f->dirty_size = 0;
    f->cache_size = f->disk_size;
}

/* ---- the seam ------------------------------------------------------------------------------------------ */

static tr_err random_id(tr__log_store *store, uint8_t id[TR__LOG_ID_BYTES], tr_error *error)
{
    memory_log *m = (memory_log *)store;
    (void)error;
    for (unsigned i = 0; i < TR__LOG_ID_BYTES; i++)
        id[i] = (uint8_t)draw(m, 256);
    return TR_OK;
}

static uint64_t size_of(tr__log_store *store, uint32_t segment)
{
    const memory_file *f = memory_log_file((memory_log *)store, segment);
    return f ? f->cache_size : 0;
}

static char *name_of(const tr__log_store *store, uint32_t segment, char out[TR__LOG_NAME_BYTES])
{
    snprintf(out, TR__LOG_NAME_BYTES, segment == TR__LOG_SEGMENT ? "%.90s" : "%.90s.%u", store->name,
             segment);
    return out;
}

static tr_err read_bytes(tr__log_store *store, uint32_t segment, uint64_t offset, void *bytes, size_t length,
                         tr_error *error)
{
    const memory_file *f = memory_log_file((memory_log *)store, segment);
    if (!f || offset + length > f->cache_size)
        return tr__fail(error, TR_ESHORT, "%s is shorter", store->name);
    memcpy(bytes, f->cache + offset, length);
    return TR_OK;
}

static tr_err write_bytes(tr__log_store *store, uint32_t segment, uint64_t offset, const void *bytes,
                          size_t length, tr_error *error)
{
    memory_log *m = (memory_log *)store;
    if (fails_now(&m->fail_write_in))
        return tr__fail(error, TR_EIO, "writing %s at offset %llu failed", store->name,
                        (unsigned long long)offset);
    put(memory_log_file(m, segment), offset, bytes, length);
    return TR_OK;
}

static tr_err force(tr__log_store *store, uint32_t segment, tr_error *error)
{
    memory_log *m = (memory_log *)store;
    memory_file *f = memory_log_file(m, segment);
    bool fails = fails_now(&m->fail_force_in);
    for (size_t s = 0; s * SECTOR < f->dirty_size; s++) {
        if (f->dirty[s] && (!fails || draw(m, 2)))
            memcpy(f->disk + s * SECTOR, f->cache + s * SECTOR, SECTOR);
        f->dirty[s] = 0;
    }
    f->dirty_size = 0;
    if (!fails || draw(m, 2))
        f->disk_size = f->cache_size;
    if (fails)
        return tr__fail(error, TR_EIO, "forcing %s failed", store->name);
    m->forces++;
    return TR_OK;
}

size_t memory_log_used(const memory_log *m)
{
    size_t used = m->cache_size;
    for (uint32_t i = 0; i < m->later_count; i++)
        used += m->later[i].cache_size;
    return used;
}

static tr_err grow(tr__log_store *store, uint32_t segment, uint64_t size, tr_error *error)
{
    memory_log *m = (memory_log *)store;
    memory_file *f = memory_log_file(m, segment);
    if (m->space > 0 && memory_log_used(m) - f->cache_size + size > m->space)
        return tr__fail(error, TR_ENOSPC, "no space for %s", store->name);
    reserve(f, (size_t)size);
    if (size > f->cache_size)
        f->cache_size = (size_t)size; /* behind it there are zeroes */
    return TR_OK;
}

static tr_err publish(tr__log_store *store, tr_error *error)
{
    (void)error;
    ((memory_log *)store)->published = true;
    return TR_OK;
}

static void begin(tr__log_store *store, const tr__log_batch *batch)
{
    memory_log *m = (memory_log *)store;
    tr__check(m->stage == STAGE_NONE, "two batches at a time");
    tr__check(batch->offset + batch->length <= size_of(store, batch->segment),
              "a batch where there is no place");
    m->batch = *batch;
    m->done = (tr__log_done){0};
    m->put = 0;
    m->batches++;
    m->stage = batch->length > 0 ? STAGE_WRITE : STAGE_DROP;
}

static bool finished(tr__log_store *store, tr__log_done *done)
{
    memory_log *m = (memory_log *)store;
    if (m->stage != STAGE_OVER)
        return false;
    *done = m->done;
    m->stage = STAGE_NONE;
    return true;
}

static void close_store(tr__log_store *store)
{
    memory_log *m = (memory_log *)store;
    tr__check(m->is_open, "closed twice");
    store->snap->close(store->snap);
    m->is_open = false;
    m->stage = STAGE_NONE;
}

/* ---- the test's side ----------------------------------------------------------------------------------- */

void memory_log_init(memory_log *m, uint64_t seed)
{
    *m = (memory_log){0};
    tr__random_init(&m->random, seed);
}

static void free_later(memory_log *m)
{
    for (uint32_t i = 0; i < m->later_count; i++)
        file_free(&m->later[i]);
    free(m->later);
    m->later = NULL;
    m->later_count = 0;
}

void memory_log_fini(memory_log *m)
{
    tr__check(!m->is_open, "a store was not closed");
    free_later(m);
    file_free(&m->file);
    memory_snap_fini(&m->snap);
}

tr__log_store *memory_log_open(memory_log *m)
{
    tr__check(!m->is_open, "the store is open");
    if (!m->published)
        memory_log_set(m, NULL, 0);
    m->store = (tr__log_store){
        .is_new = !m->published,
        .last = TR__LOG_SEGMENT,
        .snap = memory_snap_open(&m->snap, &m->space),
        .random = random_id,
        .size = size_of,
        .name_of = name_of,
        .read = read_bytes,
        .write = write_bytes,
        .force = force,
        .grow = grow,
        .publish = publish,
        .begin = begin,
        .finished = finished,
        .close = close_store,
    };
    for (uint32_t segment = m->later_count + 1; segment > TR__LOG_SEGMENT; segment--) {
        if (size_of(&m->store, segment) == 0)
            continue;
        m->store.second = segment;
        m->store.last = segment > m->store.last ? segment : m->store.last;
    }
    snprintf(m->store.name, sizeof m->store.name, "memory.log");
    m->is_open = true;
    return &m->store;
}

/* Up to 4 KiB of the write; all of it when what is left is less. The header goes with the first piece. */
static void step_write(memory_log *m)
{
    const tr__log_batch *batch = &m->batch;
    size_t left = batch->length - m->put;
    size_t length = left < 2 ? left : 1 + (size_t)draw(m, left < 4096 ? left : 4096);
    if (m->put == 0 && batch->head_length > 0)
        put(memory_log_file(m, batch->segment), 0, batch->head, batch->head_length);
    if (write_bytes(&m->store, batch->segment, batch->offset + m->put, (const uint8_t *)batch->bytes + m->put,
                    length, &m->done.error) != TR_OK) {
        m->stage = STAGE_OVER;
        return;
    }
    m->put += length;
    if (m->put == batch->length)
        m->stage = STAGE_FORCE;
}

/* One a step: a crash may come between two. */
static void step_drop(memory_log *m)
{
    uint32_t segment = TR__LOG_SEGMENT;
    memory_file *f = &m->file;
    while (segment < m->batch.keep && f->cache_size <= (segment == TR__LOG_SEGMENT ? TR__LOG_DATA_AT : 0))
        f = memory_log_file(m, ++segment);
    if (segment >= m->batch.keep) {
        m->stage = STAGE_GROW;
        return;
    }
    m->dropped++;
    if (segment == TR__LOG_SEGMENT)
        m->cache_size = m->disk_size = TR__LOG_DATA_AT;
    else
        file_free(f);
}

static memory_file *make_segment(memory_log *m, uint32_t segment)
{
    if (segment - 2 >= m->later_count) {
        m->later = realloc(m->later, (segment - 1) * sizeof(*m->later));
        tr__check(m->later != NULL, "no memory for the test");
        memset(m->later + m->later_count, 0, (segment - 1 - m->later_count) * sizeof(*m->later));
        m->later_count = segment - 1;
    }
    return memory_log_file(m, segment);
}

/* The next segment has its name when it is whole and forced; a power cut at that moment leaves all of it or nothing. */
static tr_err grow_both(memory_log *m)
{
    tr_error error;
    const tr__log_batch *batch = &m->batch;
    uint32_t next = batch->segment + 1;
    uint64_t size = size_of(&m->store, next);
    if (batch->size > size_of(&m->store, batch->segment))
        TR_TRY(grow(&m->store, batch->segment, batch->size, &error));
    if (batch->next_size <= size)
        return TR_OK;
    memory_file *f = make_segment(m, next);
    TR_TRY(grow(&m->store, next, batch->next_size, &error));
    if (size == 0) {
        f->disk_size = f->cache_size;
        m->made++;
    }
    return TR_OK;
}

bool memory_log_step(memory_log *m)
{
    switch (m->stage) {
    case STAGE_WRITE:
        step_write(m);
        break;
    case STAGE_FORCE:
        m->stage = force(&m->store, m->batch.segment, &m->done.error) == TR_OK ? STAGE_MARK : STAGE_OVER;
        break;
    case STAGE_MARK:
        put(memory_log_file(m, m->batch.segment), m->batch.mark_offset, m->batch.mark, m->batch.mark_length);
        m->stage = m->batch.keep ? STAGE_DROP : STAGE_GROW;
        break;
    case STAGE_DROP:
        step_drop(m);
        break;
    case STAGE_GROW:
        m->done.grown = grow_both(m);
        m->done.size = size_of(&m->store, m->batch.segment);
        m->done.next_size = size_of(&m->store, m->batch.segment + 1);
        m->stage = STAGE_OVER;
        break;
    default:
        return false;
    }
    return true;
}

bool memory_log_forces_next(const memory_log *m)
{
    return m->stage == STAGE_FORCE;
}

bool memory_log_is_over(const memory_log *m)
{
    return m->stage == STAGE_OVER;
}

void memory_log_run(memory_log *m)
{
    while (memory_log_step(m)) {
    }
}

void memory_log_power_cut(memory_log *m)
{
    tr__check(!m->is_open, "close first: the process dies with its host");
    file_power_cut(m, &m->file);
    for (uint32_t i = 0; i < m->later_count; i++)
        file_power_cut(m, &m->later[i]);
    memory_snap_crash(&m->snap, m->snap.now.count > 0 && draw(m, 4) == 0);
}

void memory_log_set(memory_log *m, const uint8_t *bytes, size_t size)
{
    free_later(m);
    memory_snap_clear(&m->snap);
    file_set(&m->file, bytes, size);
}

void memory_log_set_segment(memory_log *m, uint32_t segment, const uint8_t *bytes, size_t size)
{
    file_set(segment == TR__LOG_SEGMENT ? &m->file : make_segment(m, segment), bytes, size);
}

/* ---- copies ---------------------------------------------------------------------------------------------- */

void memory_copy_free(memory_copy *copy)
{
    for (uint32_t i = 0; i < copy->count; i++)
        free(copy->bytes[i]);
    free(copy->bytes);
    free(copy->sizes);
    memory_table_free(&copy->rows);
    *copy = (memory_copy){0};
}

void memory_log_save(memory_log *m, memory_copy *copy)
{
    memory_copy_free(copy);
    copy->count = 1 + m->later_count;
    copy->bytes = calloc(copy->count, sizeof(*copy->bytes));
    copy->sizes = calloc(copy->count, sizeof(*copy->sizes));
    tr__check(copy->bytes && copy->sizes, "no memory for the test");
    for (uint32_t i = 0; i < copy->count; i++) {
        const memory_file *file = memory_log_file(m, i + 1);
        copy->sizes[i] = file->cache_size;
        copy->bytes[i] = malloc(file->cache_size + 1);
        tr__check(copy->bytes[i] != NULL, "no memory for the test");
        if (file->cache_size)
            memcpy(copy->bytes[i], file->cache, file->cache_size);
    }
    copy->rows = memory_snap_save(&m->snap);
}

void memory_log_put_back(memory_log *m, const memory_copy *copy)
{
    memory_log_set(m, copy->bytes[0], copy->sizes[0]);
    for (uint32_t i = 1; i < copy->count; i++)
        memory_log_set_segment(m, i + 1, copy->bytes[i], copy->sizes[i]);
    memory_snap_restore(&m->snap, &copy->rows);
}
