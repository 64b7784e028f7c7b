/* See log_replay.h. The owner's thread, at start.
 *
 * Records are read in order until one is bad: no record, a checksum, the order, the chain. Whether that is
 * the torn end or damage depends on what is known to have been durable: the two slots say it, and so does
 * every whole record header behind the bad place, through the LSN that was durable when its batch was written
 * (a batch is written only after the one before was forced). If the bad record's LSN is among that, it was
 * forced and is damaged now: the log is refused as it stands. Otherwise nobody was ever told that it is
 * durable, and it goes, with all behind it.
 *
 * Not told apart from a torn end: damage in the last forced batch, when the slot that says so was lost as
 * well (it is written after the force, and is on the disk with the next one).
 *
 * How it can fail: the store's errors, memory (one window of a few MiB), and damage. */
#include "actors/tx/log_replay.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define WINDOW_BYTES (2u * 1024 * 1024) /* more than any record takes */

/* A window that moves over the store, so that each byte is read about once. */
typedef struct reader {
    tr__log_store *store;
    uint8_t *bytes;
    uint64_t offset; /* of the first byte in the window */
    size_t length, capacity;
} reader;

/* `length` bytes at `offset`; NULL in *bytes when the store ends before. */
static tr_err look(reader *r, uint64_t offset, size_t length, const uint8_t **bytes, tr_error *error)
{
    *bytes = NULL;
    if (offset > r->store->size || length > r->store->size - offset)
        return TR_OK;
    if (offset < r->offset || offset + length > r->offset + r->length) {
        uint64_t left = r->store->size - offset;
        size_t take = left < r->capacity ? (size_t)left : r->capacity;
        r->length = 0;
        TR_TRY(r->store->read(r->store, offset, r->bytes, take, error));
        r->offset = offset;
        r->length = take;
    }
    *bytes = r->bytes + (offset - r->offset);
    return TR_OK;
}

static tr_err reader_init(reader *r, tr__log_store *store, tr_error *error)
{
    size_t capacity = store->size < WINDOW_BYTES ? (size_t)store->size : WINDOW_BYTES;
    *r = (reader){.store = store, .bytes = tr__alloc(capacity), .capacity = capacity};
    if (!r->bytes)
        return tr__fail(error, TR_ENOMEM, "no memory to read the transaction log %s", store->name);
    return TR_OK;
}

/* ---- one record ---------------------------------------------------------------------------------------- */

typedef struct cursor {
    uint64_t offset, lsn; /* where the next record must be, and its LSN */
    uint32_t chain;
} cursor;

static cursor first_record(const tr__log_head *head)
{
    return (cursor){.offset = TR__LOG_DATA_AT, .lsn = head->first_lsn, .chain = head->chain};
}

/* The record that must be at the cursor. *wrong is NULL, and the cursor moves on; or what is wrong, in words.
 */
static tr_err next_record(reader *r, const tr__log_head *head, cursor *at, tr__log_record *record,
                          const uint8_t **payload, const char **wrong, tr_error *error)
{
    const uint8_t *bytes;
    TR_TRY(look(r, at->offset, TR__LOG_RECORD_BYTES, &bytes, error));
    *wrong = bytes ? tr__log_record_read(head, at->offset, bytes, record) : "the file ends there";
    if (*wrong)
        return TR_OK;
    if (record->lsn != at->lsn || record->chain != at->chain) {
        *wrong = "the record doesn't follow the one before it";
        return TR_OK;
    }
    TR_TRY(look(r, at->offset, tr__log_stride(record->length), &bytes, error));
    if (!bytes) {
        *wrong = "the file ends within the record";
        return TR_OK;
    }
    *payload = bytes + TR__LOG_RECORD_BYTES;
    if (tr__crc32c(0, *payload, record->length) != record->payload_crc) {
        *wrong = "the record's checksum is wrong";
        return TR_OK;
    }
    *at = (cursor){at->offset + tr__log_stride(record->length), at->lsn + 1, record->crc};
    return TR_OK;
}

/* ---- the whole log ------------------------------------------------------------------------------------- */

static tr_err damaged(const tr__log_store *store, uint64_t offset, const char *what, tr_error *error)
{
    return tr__fail(error, TR_EMISMATCH, "transaction log %s is damaged at offset %llu: %s", store->name,
                    (unsigned long long)offset, what);
}

static tr_err read_head(reader *r, tr__log_found *found, tr_error *error)
{
    const uint8_t *bytes;
    if (r->store->size < TR__LOG_DATA_AT)
        return damaged(r->store, r->store->size, "the file ends before its first record", error);
    TR_TRY(look(r, 0, TR__LOG_DATA_AT, &bytes, error));
    const char *wrong = tr__log_head_read(&found->head, bytes);
    if (wrong)
        return damaged(r->store, 0, wrong, error);
    if (found->head.version != TR__LOG_VERSION)
        return tr__fail(
            error, TR_EVERSION,
            "transaction log %s has format version %u, this program knows %u: use the program that "
            "wrote it",
            r->store->name, found->head.version, TR__LOG_VERSION);
    for (unsigned n = 0; n < 2; n++) {
        uint64_t durable;
        if (tr__log_slot_read(&found->head, bytes + TR__LOG_SLOT_AT(n), &durable) &&
            durable >= found->durable) {
            found->durable = durable;
            found->slot = 1 - n;
        }
    }
    return TR_OK;
}

/* What lies from found->end on: what whole headers there state, and how far bytes are other than zero. */
static tr_err look_behind(reader *r, tr__log_found *found, tr_error *error)
{
    found->dirty = found->end;
    for (uint64_t offset = found->end; offset < r->store->size; offset += 8) {
        uint64_t left = r->store->size - offset;
        size_t length = left < 8 ? (size_t)left : 8;
        const uint8_t *bytes;
        TR_TRY(look(r, offset, length, &bytes, error));
        static const uint8_t zeros[8];
        if (memcmp(bytes, zeros, length) == 0)
            continue;
        found->dirty = offset + length;
        tr__log_record record;
        if (length < 8 || !tr__log_record_maybe(bytes))
            continue;
        TR_TRY(look(r, offset, TR__LOG_RECORD_BYTES, &bytes, error));
        /* A torn payload doesn't matter: the header's own statement is whole. */
        if (bytes && !tr__log_record_read(&found->head, offset, bytes, &record) &&
            record.durable > found->durable)
            found->durable = record.durable;
    }
    return TR_OK;
}

static tr_err scan(reader *r, tr__log_found *found, tr_error *error)
{
    TR_TRY(read_head(r, found, error));
    cursor at = first_record(&found->head);
    uint64_t stated = UINT64_MAX; /* by the last batch seen: another statement is another batch */
    const char *wrong = NULL;
    found->batch = at.offset;
    for (;;) {
        tr__log_record record;
        const uint8_t *payload;
        uint64_t begin = at.offset;
        TR_TRY(next_record(r, &found->head, &at, &record, &payload, &wrong, error));
        if (wrong)
            break;
        if (record.durable != stated)
            found->batch = begin;
        stated = record.durable;
        if (record.durable > found->durable)
            found->durable = record.durable;
    }
    found->last = at.lsn - 1;
    found->end = at.offset;
    found->chain = at.chain;
    TR_TRY(look_behind(r, found, error));
    if (at.lsn > found->durable)
        return TR_OK;
    return tr__fail(
        error, TR_EMISMATCH,
        "transaction log %s is damaged at offset %llu: record %llu was forced, and now %s; nothing was "
        "changed: restore the file",
        r->store->name, (unsigned long long)at.offset, (unsigned long long)at.lsn, wrong);
}

tr_err tr__log_scan(tr__log_store *store, tr__log_found *found, tr_error *error)
{
    reader r;
    *found = (tr__log_found){0};
    TR_TRY(reader_init(&r, store, error));
    tr_err code = scan(&r, found, error);
    tr__free(r.bytes);
    return code;
}

static tr_err settle(reader *r, tr__log_found *found, tr_error *error)
{
    bool changed = false;
    if (found->dirty > found->end) {
        memset(r->bytes, 0, r->capacity);
        for (uint64_t at = found->end; at < found->dirty;) {
            uint64_t left = found->dirty - at;
            size_t length = left < r->capacity ? (size_t)left : r->capacity;
            TR_TRY(r->store->write(r->store, at, r->bytes, length, error));
            at += length;
        }
        changed = true;
    }
    for (uint64_t at = found->batch; found->last > found->durable && at < found->end;) {
        uint64_t left = found->end - at;
        size_t length = left < r->capacity ? (size_t)left : r->capacity;
        TR_TRY(r->store->read(r->store, at, r->bytes, length, error));
        TR_TRY(r->store->write(r->store, at, r->bytes, length, error));
        at += length;
        changed = true;
    }
    if (!changed)
        return TR_OK;
    TR_TRY(r->store->force(r->store, error));
    found->durable = found->last;
    uint8_t slot[TR__LOG_SLOT_BYTES];
    tr__log_slot_write(&found->head, found->durable, slot);
    TR_TRY(r->store->write(r->store, TR__LOG_SLOT_AT(found->slot), slot, sizeof slot, error));
    found->slot = 1 - found->slot;
    return r->store->force(r->store, error);
}

tr_err tr__log_settle(tr__log_store *store, tr__log_found *found, tr_error *error)
{
    reader r;
    TR_TRY(reader_init(&r, store, error));
    tr_err code = settle(&r, found, error);
    tr__free(r.bytes);
    return code;
}

tr_err tr__log_replay(tr__log_store *store, const tr__log_found *found, tr__log_record_fn *record,
                      void *context, tr_error *error)
{
    reader r;
    TR_TRY(reader_init(&r, store, error));
    cursor at = first_record(&found->head);
    tr_err code = TR_OK;
    while (code == TR_OK && at.lsn <= found->last) {
        tr__log_record one;
        const uint8_t *payload;
        const char *wrong;
        code = next_record(&r, &found->head, &at, &one, &payload, &wrong, error);
        if (code == TR_OK && wrong)
            code = damaged(store, at.offset, "it changed while it was read", error);
        if (code == TR_OK)
            code = record(context, one.type, one.lsn, payload, one.length, error);
    }
    tr__free(r.bytes);
    return code;
}
