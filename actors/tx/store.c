/* See store.h. */
#include "actors/tx/store.h"

#include <string.h>

static tr__kv *kv_make(const char *key, size_t key_size, const void *value, size_t size)
{
    tr__kv *entry = tr__zalloc(sizeof(*entry) + key_size + 1 + size + 1);
    if (!entry)
        return NULL;
    entry->key_size = (uint32_t)key_size;
    entry->size = (uint32_t)size;
    entry->deleted = value == NULL;
    memcpy(entry->bytes, key, key_size);
    if (size)
        memcpy(entry->bytes + key_size + 1, value, size);
    return entry;
}

static tr__kv *kv_find(tr__kv *entries, const char *key, size_t key_size)
{
    tr__kv *found;
    HASH_FIND(hh, entries, key, key_size, found);
    return found;
}

static void kv_remove(tr__kv **entries, tr__kv *entry)
{
    HASH_DELETE(hh, *entries, entry);
}

/* In the place of what has that key; false: no memory, nothing changed. */
static bool kv_put(tr__kv **entries, tr__kv *entry)
{
    tr__kv *old = kv_find(*entries, entry->bytes, entry->key_size);
    HASH_ADD_KEYPTR(hh, *entries, entry->bytes, entry->key_size, entry);
    if (!tr__hash_added(entry))
        return false;
    if (old) {
        kv_remove(entries, old);
        tr__free(old);
    }
    return true;
}

static void kv_free_all(tr__kv **entries)
{
    tr__kv *entry, *next;
    HASH_ITER(hh, *entries, entry, next)
    {
        kv_remove(entries, entry);
        tr__free(entry);
    }
}

void tr__store_fini(tr__store *store)
{
    kv_free_all(&store->entries);
}

const tr__kv *tr__store_get(const tr__store *store, const char *key, size_t key_size)
{
    return kv_find(store->entries, key, key_size);
}

bool tr__store_put(tr__store *store, const char *key, size_t key_size, const void *value, size_t size)
{
    tr__kv *entry = kv_make(key, key_size, value, size);
    if (entry && kv_put(&store->entries, entry))
        return true;
    tr__free(entry);
    return false;
}

/* ---- the view ------------------------------------------------------------------------------------------ */

const tr__kv *tr__view_find(const tr_txview *view, const char *key, size_t key_size)
{
    const tr__kv *own = kv_find(view->writes, key, key_size);
    if (own)
        return own->deleted ? NULL : own;
    return tr__store_get(view->store, key, key_size);
}

static size_t weight(const tr__kv *entry)
{
    return entry ? entry->key_size + entry->size + 16 : 0; /* and what the log says beside it, at most */
}

tr_err tr__view_write(tr_txview *view, const char *key, size_t key_size, const void *value, size_t size)
{
    if (key_size < 1 || key_size > TR_TX_KEY_MAX || size > TR_TX_REDO_MAX)
        return TR_ETOOBIG;
    const tr__kv *old = kv_find(view->writes, key, key_size);
    size_t total = view->size - weight(old) + key_size + size + 16;
    if (total > TR_TX_REDO_MAX)
        return TR_ETOOBIG;
    tr__kv *entry = kv_make(key, key_size, value, size);
    if (!entry || !kv_put(&view->writes, entry)) {
        tr__free(entry);
        return TR_ENOMEM;
    }
    view->size = total;
    return TR_OK;
}

void tr__view_drop_reply(tr_txview *view)
{
    tr__free(view->reply);
    view->reply = NULL;
    view->reply_size = 0;
    view->reply_type = view->reply_fingerprint = 0;
}

void tr__view_clear(tr_txview *view)
{
    kv_free_all(&view->writes);
    tr__view_drop_reply(view);
    view->size = 0;
}

/* ---- the version --------------------------------------------------------------------------------------- */

static uint32_t version_in(const tr__kv *entry)
{
    uint32_t version = 0;
    for (uint32_t i = entry ? entry->size : 0; i > 0; i--)
        version = version << 8 | (uint8_t)tr__kv_value(entry)[i - 1];
    return version;
}

uint32_t tr__store_version(const tr__store *store)
{
    return version_in(tr__store_get(store, TR__VERSION_KEY, TR__VERSION_SIZE));
}

uint32_t tr__view_version(const tr_txview *view)
{
    return version_in(tr__view_find(view, TR__VERSION_KEY, TR__VERSION_SIZE));
}

tr_err tr__view_put_version(tr_txview *view, uint32_t version)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(version >> 8 * i);
    return tr__view_write(view, TR__VERSION_KEY, TR__VERSION_SIZE, bytes, sizeof(bytes));
}

/* ---- redo ---------------------------------------------------------------------------------------------- */

void tr__view_put_redo(const tr_txview *view, tr__tx_buffer *buffer)
{
    for (const tr__kv *entry = view->writes; entry; entry = entry->hh.next) {
        tr__tx_put_bytes(buffer, entry->bytes, entry->key_size);
        tr__tx_put_number(buffer, entry->deleted ? 0 : 1);
        if (!entry->deleted)
            tr__tx_put_bytes(buffer, tr__kv_value(entry), entry->size);
    }
}

tr_err tr__view_get_redo(tr_txview *view, tr_bytes redo)
{
    tr__tx_reader reader = {redo.data, (const uint8_t *)redo.data + redo.size, false};
    while (reader.at < reader.end && !reader.failed) {
        tr_bytes key = tr__tx_get_bytes(&reader), value = {NULL, 0};
        if (tr__tx_get_number(&reader) == 1)
            value = tr__tx_get_bytes(&reader);
        if (!reader.failed)
            TR_TRY(tr__view_write(view, key.data, key.size, value.data, value.size));
    }
    return reader.failed ? TR_EPROTO : TR_OK;
}

bool tr__store_apply(tr__store *store, tr_txview *view)
{
    tr__kv *entry, *next;
    HASH_ITER(hh, view->writes, entry, next)
    {
        kv_remove(&view->writes, entry);
        if (entry->deleted) {
            tr__kv *old = kv_find(store->entries, entry->bytes, entry->key_size);
            if (old) {
                kv_remove(&store->entries, old);
                tr__free(old);
            }
            tr__free(entry);
        } else if (!kv_put(&store->entries, entry)) {
            tr__free(entry);
            return false;
        }
    }
    view->size = 0;
    return true;
}
