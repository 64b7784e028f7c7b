/* See memory_log.h. One thread; memory that it can't get ends the test. */
#include "tests/kit/memory_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"

#define SECTOR 512u

enum { STAGE_NONE, STAGE_WRITE, STAGE_FORCE, STAGE_MARK, STAGE_GROW, STAGE_OVER };

static uint64_t draw(memory_log *m, uint64_t bound)
{
    return tr__random_below(&m->random, bound);
}

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
static void reserve(memory_log *m, size_t size)
{
    if (size <= m->capacity)
        return;
    size_t capacity = m->capacity ? m->capacity : 64 * 1024;
    while (capacity < size)
        capacity *= 2;
    m->cache = larger(m->cache, m->capacity, capacity);
    m->disk = larger(m->disk, m->capacity, capacity);
    m->dirty = larger(m->dirty, m->capacity / SECTOR, capacity / SECTOR);
    m->capacity = capacity;
}

static bool fails_now(unsigned *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

static void put(memory_log *m, uint64_t offset, const void *bytes, size_t length)
{
    reserve(m, (size_t)offset + length);
    memcpy(m->cache + offset, bytes, length);
    for (size_t s = (size_t)offset / SECTOR; s * SECTOR < offset + length; s++)
        m->dirty[s] = 1;
    if (offset + length > m->dirty_size)
        m->dirty_size = (size_t)offset + length;
    if (offset + length > m->cache_size)
        m->cache_size = (size_t)offset + length;
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

static tr_err read_bytes(tr__log_store *store, uint64_t offset, void *bytes, size_t length, tr_error *error)
{
    memory_log *m = (memory_log *)store;
    if (offset + length > m->cache_size)
        return tr__fail(error, TR_ESHORT, "%s is shorter", store->name);
    memcpy(bytes, m->cache + offset, length);
    return TR_OK;
}

static tr_err write_bytes(tr__log_store *store, uint64_t offset, const void *bytes, size_t length,
                          tr_error *error)
{
    memory_log *m = (memory_log *)store;
    if (fails_now(&m->fail_write_in))
        return tr__fail(error, TR_EIO, "writing %s at offset %llu failed", store->name,
                        (unsigned long long)offset);
    put(m, offset, bytes, length);
    return TR_OK;
}

static tr_err force(tr__log_store *store, tr_error *error)
{
    memory_log *m = (memory_log *)store;
    bool fails = fails_now(&m->fail_force_in);
    for (size_t s = 0; s * SECTOR < m->dirty_size; s++) {
        if (m->dirty[s] && (!fails || draw(m, 2)))
            memcpy(m->disk + s * SECTOR, m->cache + s * SECTOR, SECTOR);
        m->dirty[s] = 0;
    }
    m->dirty_size = 0;
    if (!fails || draw(m, 2))
        m->disk_size = m->cache_size;
    if (fails)
        return tr__fail(error, TR_EIO, "forcing %s failed", store->name);
    m->forces++;
    return TR_OK;
}

static tr_err grow(tr__log_store *store, uint64_t size, tr_error *error)
{
    memory_log *m = (memory_log *)store;
    if (m->space > 0 && size > m->space)
        return tr__fail(error, TR_ENOSPC, "no space for %s", store->name);
    reserve(m, (size_t)size);
    if (size > m->cache_size)
        m->cache_size = (size_t)size; /* behind it there are zeroes */
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
    tr__check(batch->offset + batch->length <= m->cache_size, "a batch where there is no place");
    m->batch = *batch;
    m->done = (tr__log_done){0};
    m->put = 0;
    m->batches++;
    m->stage = batch->length > 0 ? STAGE_WRITE : STAGE_GROW;
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
    m->is_open = false;
    m->stage = STAGE_NONE;
}

/* ---- the test's side ----------------------------------------------------------------------------------- */

void memory_log_init(memory_log *m, uint64_t seed)
{
    *m = (memory_log){0};
    tr__random_init(&m->random, seed);
}

void memory_log_fini(memory_log *m)
{
    tr__check(!m->is_open, "a store was not closed");
    free(m->cache);
    free(m->disk);
    free(m->dirty);
}

tr__log_store *memory_log_open(memory_log *m)
{
    tr__check(!m->is_open, "the store is open");
    if (!m->published)
        memory_log_set(m, NULL, 0);
    m->store = (tr__log_store){
        .size = m->cache_size,
        .is_new = !m->published,
        .random = random_id,
        .read = read_bytes,
        .write = write_bytes,
        .force = force,
        .grow = grow,
        .publish = publish,
        .begin = begin,
        .finished = finished,
        .close = close_store,
    };
    snprintf(m->store.name, sizeof m->store.name, "memory.log");
    m->is_open = true;
    return &m->store;
}

/* Up to 4 KiB of the write; all of it when what is left is less. */
static void step_write(memory_log *m)
{
    const tr__log_batch *batch = &m->batch;
    size_t left = batch->length - m->put;
    size_t length = left < 2 ? left : 1 + (size_t)draw(m, left < 4096 ? left : 4096);
    if (write_bytes(&m->store, batch->offset + m->put, (const uint8_t *)batch->bytes + m->put, length,
                    &m->done.error) != TR_OK) {
        m->stage = STAGE_OVER;
        return;
    }
    m->put += length;
    if (m->put == batch->length)
        m->stage = STAGE_FORCE;
}

bool memory_log_step(memory_log *m)
{
    tr_error error;
    switch (m->stage) {
    case STAGE_WRITE:
        step_write(m);
        break;
    case STAGE_FORCE:
        m->stage = force(&m->store, &m->done.error) == TR_OK ? STAGE_MARK : STAGE_OVER;
        break;
    case STAGE_MARK:
        put(m, m->batch.mark_offset, m->batch.mark, m->batch.mark_length);
        m->stage = STAGE_GROW;
        break;
    case STAGE_GROW:
        m->done.grown = m->batch.size > m->cache_size ? grow(&m->store, m->batch.size, &error) : TR_OK;
        m->done.size = m->cache_size;
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
    if (m->capacity == 0) /* nothing was ever written */
        return;
    for (size_t s = 0; s * SECTOR < m->dirty_size; s++) {
        if (!m->dirty[s])
            continue;
        uint64_t fate = draw(m, 3);
        size_t kept = fate == 0 ? 0 : fate == 1 ? SECTOR : (size_t)draw(m, SECTOR);
        memcpy(m->disk + s * SECTOR, m->cache + s * SECTOR, kept);
    }
    /* The size is a matter of its own: what was written behind it isn't there. */
    if (m->cache_size > m->disk_size && draw(m, 2))
        m->disk_size += (size_t)draw(m, m->cache_size - m->disk_size + 1);
    if (m->cache_size > m->disk_size) {
        memset(m->disk + m->disk_size, 0, m->cache_size - m->disk_size);
        memset(m->cache + m->disk_size, 0, m->cache_size - m->disk_size);
    }
    memcpy(m->cache, m->disk, m->disk_size);
    memset(m->dirty, 0, m->capacity / SECTOR);
    m->dirty_size = 0;
    m->cache_size = m->disk_size;
}

void memory_log_set(memory_log *m, const uint8_t *bytes, size_t size)
{
    reserve(m, size > 0 ? size : 1);
    memset(m->cache, 0, m->capacity);
    if (size > 0)
        memcpy(m->cache, bytes, size);
    memcpy(m->disk, m->cache, m->capacity);
    memset(m->dirty, 0, m->capacity / SECTOR);
    m->dirty_size = 0;
    m->cache_size = m->disk_size = size;
}
