/* See snap_rows.h. Whoever has the store. */
#include "actors/tx/snap_rows.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define CRC_BYTES 4

static const tr_bytes meta_key = {"M", 1};

static uint32_t crc_of(tr_bytes key, tr_bytes value)
{
    return tr__crc32c(tr__crc32c((uint32_t)key.size, key.data, key.size), value.data, value.size);
}

static uint64_t hash_of(tr_bytes key, tr_bytes value)
{
    uint64_t hash = tr__hash_more(TR__HASH_INIT, &(uint8_t){(uint8_t)key.size}, 1);
    return tr__hash_done(tr__hash_more(tr__hash_more(hash, key.data, key.size), value.data, value.size));
}

static tr_err damaged(const tr__snap_store *store, tr_bytes key, const char *what, tr_error *error)
{
    char text[2 * 24 + 1] = "";
    for (size_t i = 0; i < key.size && i < 24; i++)
        for (int half = 0; half < 2; half++)
            text[2 * i + half] = "0123456789abcdef"[((const uint8_t *)key.data)[i] >> (half ? 0 : 4) & 15];
    return tr__fail(
        error, TR_EMISMATCH,
        "snapshot %s is damaged at row %s (offset by key): %s; nothing was changed: restore the file",
        store->name, text, what);
}

/* The value without its CRC. */
static tr_err open_value(const tr__snap_store *store, tr_bytes key, tr_bytes *value, tr_error *error)
{
    uint32_t crc;
    if (value->size < CRC_BYTES)
        return damaged(store, key, "it is too short", error);
    value->size -= CRC_BYTES;
    memcpy(&crc, (const uint8_t *)value->data + value->size, CRC_BYTES);
    return crc == crc_of(key, *value) ? TR_OK : damaged(store, key, "its checksum is wrong", error);
}

static tr_err put_value(tr__snap_store *store, tr_bytes key, tr_bytes value, tr__tx_buffer *buffer,
                        tr_error *error)
{
    uint32_t crc = crc_of(key, value);
    buffer->length = 0;
    tr__tx_put_raw(buffer, value.data, value.size);
    tr__tx_put_raw(buffer, &crc, CRC_BYTES);
    if (buffer->failed)
        return tr__fail(error, TR_ENOMEM, "no memory for a row of the snapshot %s", store->name);
    return store->put(store, key, (tr_bytes){buffer->bytes, buffer->length}, error);
}

tr_err tr__snap_get(tr__snap_store *store, tr_bytes key, tr_bytes *value, tr_error *error)
{
    TR_TRY(store->get(store, key, value, error));
    return value->data ? open_value(store, key, value, error) : TR_OK;
}

static tr_err forget(tr__snap_store *store, tr__snap_meta *meta, tr_bytes key, bool *was, tr_error *error)
{
    tr_bytes old;
    TR_TRY(tr__snap_get(store, key, &old, error));
    *was = old.data != NULL;
    if (*was) {
        meta->count--;
        meta->sum -= hash_of(key, old);
    }
    return TR_OK;
}

tr_err tr__snap_put(tr__snap_store *store, tr__snap_meta *meta, tr_bytes key, tr_bytes value,
                    tr__tx_buffer *buffer, tr_error *error)
{
    bool was;
    TR_TRY(forget(store, meta, key, &was, error));
    meta->count++;
    meta->sum += hash_of(key, value);
    return put_value(store, key, value, buffer, error);
}

tr_err tr__snap_del(tr__snap_store *store, tr__snap_meta *meta, tr_bytes key, tr_error *error)
{
    bool was;
    TR_TRY(forget(store, meta, key, &was, error));
    return was ? store->del(store, key, error) : TR_OK;
}

/* ---- the row M ----------------------------------------------------------------------------------------- */

static tr_err read_meta(const tr__snap_store *store, tr_bytes value, tr__snap_meta *meta, tr_error *error)
{
    TR_TRY(open_value(store, meta_key, &value, error));
    tr__tx_reader reader = {value.data, (const uint8_t *)value.data + value.size, false};
    uint64_t version = tr__tx_get_number(&reader);
    if (version != TR__SNAP_VERSION)
        return tr__fail(
            error, TR_EVERSION,
            "snapshot %s has format version %llu, this program knows %u: use the program that wrote it",
            store->name, (unsigned long long)version, TR__SNAP_VERSION);
    tr_bytes id = tr__tx_get_bytes(&reader);
    meta->lsn = tr__tx_get_number(&reader);
    meta->clock = tr__tx_get_number(&reader);
    meta->count = tr__tx_get_number(&reader);
    meta->sum = tr__tx_get_number(&reader);
    if (!tr__tx_read_all(&reader) || id.size != sizeof meta->id || meta->lsn == 0)
        return damaged(store, meta_key, "it makes no sense", error);
    memcpy(meta->id, id.data, id.size);
    return TR_OK;
}

tr_err tr__snap_meta_read(tr__snap_store *store, tr__snap_meta *meta, tr_error *error)
{
    tr_bytes value;
    *meta = (tr__snap_meta){0};
    TR_TRY(store->get(store, meta_key, &value, error));
    return value.data ? read_meta(store, value, meta, error) : TR_OK;
}

tr_err tr__snap_meta_write(tr__snap_store *store, const tr__snap_meta *meta, tr_error *error)
{
    tr__tx_buffer text = {0}, row = {0};
    tr__tx_put_number(&text, TR__SNAP_VERSION);
    tr__tx_put_bytes(&text, meta->id, sizeof meta->id);
    tr__tx_put_number(&text, meta->lsn);
    tr__tx_put_number(&text, meta->clock);
    tr__tx_put_number(&text, meta->count);
    tr__tx_put_number(&text, meta->sum);
    tr_err code = text.failed ? tr__fail(error, TR_ENOMEM, "no memory for the snapshot %s", store->name)
                              : put_value(store, meta_key, (tr_bytes){text.bytes, text.length}, &row, error);
    tr__tx_buffer_free(&text);
    tr__tx_buffer_free(&row);
    return code;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

typedef struct reading {
    const tr__snap_store *store;
    tr__snap_row_fn *row;
    void *context;
    uint64_t count, sum;
} reading;

static tr_err read_row(void *context, tr_bytes key, tr_bytes value, tr_error *error)
{
    reading *r = context;
    if (key.size == meta_key.size && memcmp(key.data, meta_key.data, key.size) == 0)
        return TR_OK;
    TR_TRY(open_value(r->store, key, &value, error));
    r->count++;
    r->sum += hash_of(key, value);
    return r->row ? r->row(r->context, key, value, error) : TR_OK;
}

tr_err tr__snap_read(tr__snap_store *store, tr__snap_meta *meta, tr__snap_row_fn *row, void *context,
                     tr_error *error)
{
    reading r = {.store = store, .row = row, .context = context};
    TR_TRY(tr__snap_meta_read(store, meta, error));
    TR_TRY(store->each(store, read_row, &r, error));
    if (r.count == meta->count && r.sum == meta->sum)
        return TR_OK;
    return tr__fail(
        error, TR_EMISMATCH,
        "snapshot %s is damaged (at no offset that can be told): it has %llu rows and says %llu, or "
        "other ones; nothing was changed: restore the file",
        store->name, (unsigned long long)r.count, (unsigned long long)meta->count);
}
