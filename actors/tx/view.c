/* A participant's view, as its code uses it: see api_list.h. The actor's loop, within its `transact`. The first failure
 * stays in the view, and refuses the call whatever the code makes of it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/send.h" /* tr_vrefuse */
#include "actors/tx/store.h"
#include "base/err.h"
#include "base/mem.h"

static tr_err failed(tr_txview *v, tr_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static tr_err failed(tr_txview *v, tr_err code, const char *format, ...)
{
    if (v->error)
        return code;
    va_list args;
    va_start(args, format);
    vsnprintf(v->text, sizeof(v->text), format, args);
    va_end(args);
    return v->error = code;
}

tr_err tr_vrefuse(tr_txview *v, const char *format, va_list args)
{
    if (!v->error)
        vsnprintf(v->text, sizeof(v->text), format, args);
    if (!v->error)
        v->error = TR_EAPP;
    return TR_EAPP;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static tr_err find(tr_txview *v, const char *key, const tr__kv **found)
{
    size_t size = strnlen(key, TR_TX_KEY_MAX + 1);
    *found = NULL;
    if (size < 1 || size > TR_TX_KEY_MAX)
        return failed(v, TR_ETOOBIG, "a key of %s bytes: 1 to %d are possible", size ? "too many" : "0",
                      TR_TX_KEY_MAX);
    *found = tr__view_find(v, key, size);
    return *found ? TR_OK : TR_ENOTFOUND;
}

tr_err tr_view_get(tr_txview *v, const char *key, tr_bytes *out)
{
    const tr__kv *found;
    *out = (tr_bytes){NULL, 0};
    TR_TRY(find(v, key, &found));
    *out = (tr_bytes){tr__kv_value(found), found->size};
    return TR_OK;
}

int64_t tr_view_i64(tr_txview *v, const char *key, int64_t otherwise)
{
    const tr__kv *found;
    if (find(v, key, &found) != TR_OK)
        return otherwise;
    if (found->size != 8) {
        failed(v, TR_ETYPE, "%s is no number: it has %" PRIu32 " bytes", key, found->size);
        return otherwise;
    }
    const uint8_t *bytes = (const uint8_t *)tr__kv_value(found);
    uint64_t number = 0;
    for (int i = 7; i >= 0; i--)
        number = number << 8 | bytes[i];
    return (int64_t)number;
}

const char *tr_view_text(tr_txview *v, const char *key, const char *otherwise)
{
    const tr__kv *found;
    if (find(v, key, &found) != TR_OK)
        return otherwise;
    if (memchr(tr__kv_value(found), 0, found->size)) {
        failed(v, TR_ETYPE, "%s is no text: it has a NUL", key);
        return otherwise;
    }
    return tr__kv_value(found); /* a NUL follows each value */
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static tr_err write_value(tr_txview *v, const char *key, const void *data, size_t size)
{
    size_t key_size = strnlen(key, TR_TX_KEY_MAX + 1);
    if (!v->writing)
        return failed(v, TR_EPERM, "%s is written by a message that isn't declared with TR_WRITES", key);
    tr_err err = tr__view_write(v, key, key_size, data, size);
    if (err == TR_ETOOBIG)
        return failed(
            v, err,
            "%.40s with %zu bytes: keys have 1 to %d bytes, and one transaction writes at most %u bytes "
            "to one participant",
            key, size, TR_TX_KEY_MAX, TR_TX_REDO_MAX);
    return err == TR_OK ? TR_OK : failed(v, err, "%s with %zu bytes: %s", key, size, tr__err_meaning(err));
}

tr_err tr_view_put(tr_txview *v, const char *key, const void *data, size_t size)
{
    return write_value(v, key, size ? data : "", size);
}

tr_err tr_view_del(tr_txview *v, const char *key)
{
    return write_value(v, key, NULL, 0);
}

tr_err tr_view_put_i64(tr_txview *v, const char *key, int64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)number >> 8 * i);
    return write_value(v, key, bytes, sizeof(bytes));
}

tr_err tr_view_put_text(tr_txview *v, const char *key, const char *text)
{
    return write_value(v, key, text, strlen(text));
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static size_t keys_in(const tr__kv *entries, char **at)
{
    size_t bytes = 0;
    for (const tr__kv *entry = entries; entry; entry = entry->hh.next) {
        if (entry->deleted || entry->bytes[0] == '\0')
            continue;
        if (*at)
            *at = (char *)memcpy(*at, entry->bytes, entry->key_size + 1) + entry->key_size + 1;
        bytes += entry->key_size + 1;
    }
    return bytes;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Copies of all keys, one behind the other, and an array of them in front, in order; those that a transaction wrote anew may be
 * there twice. NULL: no memory. */
static const char **keys_sorted(const tr_txview *v, size_t *count)
{
    char *none = NULL;
    size_t most = HASH_COUNT(v->store->entries) + HASH_COUNT(v->writes);
    size_t bytes = keys_in(v->store->entries, &none) + keys_in(v->writes, &none);
    const char **keys = tr__alloc(most * sizeof(*keys) + bytes + 1);
    if (!keys)
        return NULL;
    char *text = (char *)(keys + most), *end = text;
    keys_in(v->store->entries, &end);
    keys_in(v->writes, &end);
    for (*count = 0; text < end; text += strlen(text) + 1)
        keys[(*count)++] = text;
    qsort(keys, *count, sizeof(*keys), by_bytes);
    return keys;
}

tr_err tr_view_each(tr_txview *v, tr_view_each_fn fn, void *context)
{
    size_t count;
    tr_err err = TR_OK;
    const char **keys = keys_sorted(v, &count);
    if (!keys)
        return failed(v, TR_ENOMEM, "no memory for the list of all keys");
    for (size_t i = 0; i < count && err == TR_OK; i++) {
        const tr__kv *found = tr__view_find(v, keys[i], strlen(keys[i]));
        if (found && (i == 0 || strcmp(keys[i], keys[i - 1]) != 0))
            err = fn(v, keys[i], (tr_bytes){tr__kv_value(found), found->size}, context);
    }
    tr__free(keys);
    return err;
}

/* ---- replying ------------------------------------------------------------------------------------------ */

tr_err tr_view_reply_body(tr_txview *v, tr_type *type, const void *body)
{
    const tr_typeinfo *info = tr__type_of(type);
    size_t room = info ? tr__cbor_bound(info, body) : 0;
    if (room > TR_TX_REDO_MAX)
        return failed(v, TR_ETOOBIG, "a reply of more than %u bytes", TR_TX_REDO_MAX);
    uint8_t *bytes = info ? tr__alloc(room) : NULL;
    if (!bytes)
        return failed(v, TR_ENOMEM, "no memory for the reply %s", type->name);
    tr__view_drop_reply(v);
    v->reply = bytes;
    v->reply_size = tr__cbor_encode(info, body, bytes, room);
    v->reply_type = info->id;
    v->reply_fingerprint = info->fingerprint;
    return TR_OK;
}
