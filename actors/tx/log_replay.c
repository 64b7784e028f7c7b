/* See log_replay.h. The owner's thread, at start.
 *
 * Records are read in order until one is bad: no record, a checksum, the order, the chain. Whether that is
 * the torn end or damage depends on what is known to have been durable: the two slots say it, and so does
 * every whole record header behind the bad place, through the LSN that was durable when its batch was written
 * (a batch is written only after the one before was forced). If the bad record's LSN is among that, it was
 * forced and is damaged now: the log is refused as it stands. Otherwise nobody was ever told that it is
 * durable, and it goes, with all behind it.
 *
 * A segment ends with a mark, which is forced before anything is written into the next one. So without it, anything
 * whole in a segment behind shows that it was there; and with it the next segment must be there.
 *
 * Not told apart from a torn end: damage in the last forced batch, when the slot that says so was lost as
 * well (it is written after the force, and is on the disk with the next one).
 *
 * How it can fail: the store's errors, memory (one window of a few MiB), and damage. */
#include "actors/tx/log_replay.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define WINDOW_BYTES (2u * 1024 * 1024) /* more than any record takes */

/* A window that moves over the segments, so that each byte is read about once. */
typedef struct reader {
    tr__log_store *store;
    uint8_t *bytes;
    uint32_t segment; /* that it looks at */
    uint64_t size;    /* of it */
    uint64_t offset;  /* of the first byte in the window */
    size_t length, capacity;
} reader;

static void turn_to(reader *r, uint32_t segment)
{
    r->segment = segment;
    r->size = r->store->size(r->store, segment);
    r->length = 0;
}

/* `length` bytes at `offset`; NULL in *bytes when the segment ends before. */
static tr_err look(reader *r, uint64_t offset, size_t length, const uint8_t **bytes, tr_error *error)
{
    *bytes = NULL;
    if (offset > r->size || length > r->size - offset)
        return TR_OK;
    if (offset < r->offset || offset + length > r->offset + r->length) {
        uint64_t left = r->size - offset;
        size_t take = left < r->capacity ? (size_t)left : r->capacity;
        r->length = 0;
        TR_TRY(r->store->read(r->store, r->segment, offset, r->bytes, take, error));
        r->offset = offset;
        r->length = take;
    }
    *bytes = r->bytes + (offset - r->offset);
    return TR_OK;
}

/* To read the segments from `first` to `last`, and the head of the first of all. The window is as large as the largest of
 * them, at most WINDOW_BYTES. */
static tr_err reader_init(reader *r, tr__log_store *store, uint32_t first, uint32_t last, tr_error *error)
{
    uint64_t capacity = TR__LOG_DATA_AT;
    for (uint32_t segment = first; segment <= last && capacity < WINDOW_BYTES; segment++) {
        uint64_t size = store->size(store, segment);
        capacity = size > capacity ? size : capacity;
    }
    capacity = capacity < WINDOW_BYTES ? capacity : WINDOW_BYTES;
    *r = (reader){.store = store, .bytes = tr__alloc((size_t)capacity), .capacity = (size_t)capacity};
    if (!r->bytes)
        return tr__fail(error, TR_ENOMEM, "no memory to read the transaction log %s", store->name);
    turn_to(r, first);
    return TR_OK;
}

static tr_err damaged(const reader *r, uint64_t offset, const char *what, tr_error *error)
{
    char name[TR__LOG_NAME_BYTES];
    return tr__fail(error, TR_EMISMATCH, "transaction log %s is damaged at offset %llu: %s",
                    r->store->name_of(r->store, r->segment, name), (unsigned long long)offset, what);
}

/* ---- one record ---------------------------------------------------------------------------------------- */

typedef struct cursor {
    uint64_t offset, lsn; /* where the next record must be, and its LSN */
    uint32_t chain;
    bool marked; /* the one before was the segment's mark */
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
    bool marked = record->type == TR__LOG_MARK;
    *at = (cursor){at->offset + tr__log_stride(record->length), at->lsn + !marked, record->crc, marked};
    return TR_OK;
}

/* The header of the segment that the reader looks at, and what its slots say. NULL in *wrong; or what is wrong with it,
 * in words: *head is as it should be then, as far as `next` knows (NULL: it is the oldest one). */
static tr_err next_head(reader *r, const tr__log_head *first, const cursor *next, tr__log_head *head,
                        const char **wrong, tr_error *error)
{
    const uint8_t *bytes;
    tr__log_head read = {0};
    if (r->size < TR__LOG_DATA_AT) /* it had its name only when it was longer */
        return damaged(r, r->size, "the file ends before its first record", error);
    TR_TRY(look(r, 0, TR__LOG_HEADER_BYTES, &bytes, error));
    *wrong = tr__log_head_read(&read, bytes);
    if (!*wrong && (read.version != TR__LOG_VERSION || read.segment != r->segment ||
                    memcmp(read.id, first->id, sizeof read.id) != 0))
        *wrong = "it is another log's, or another segment";
    if (!*wrong && next && (read.first_lsn != next->lsn || read.before != next->chain))
        *wrong = "it doesn't follow the segment before it";
    *head = read;
    if (*wrong && next) {
        uint8_t made[TR__LOG_HEADER_BYTES];
        *head = *first;
        head->segment = r->segment;
        head->first_lsn = next->lsn;
        head->before = next->chain;
        tr__log_head_write(head, made);
    }
    return TR_OK;
}

static tr_err read_slots(reader *r, tr__log_found *found, tr_error *error)
{
    uint64_t best = 0;
    found->slot = 0;
    for (unsigned n = 0; n < 2; n++) {
        uint64_t durable;
        const uint8_t *bytes;
        TR_TRY(look(r, TR__LOG_SLOT_AT(n), TR__LOG_SLOT_BYTES, &bytes, error));
        if (!bytes || !tr__log_slot_read(&found->head, bytes, &durable) || durable < best)
            continue;
        best = durable;
        found->slot = 1 - n;
        if (durable > found->durable)
            found->durable = durable;
    }
    return TR_OK;
}

/* ---- the whole log ------------------------------------------------------------------------------------- */

/* Of the first segment: whose log it is, and which of its segments is the oldest that has records. */
static tr_err read_first(reader *r, const tr__log_base *base, tr__log_head *first, tr__log_found *found,
                         tr_error *error)
{
    const uint8_t *bytes;
    const tr__log_store *store = r->store;
    if (store->is_new)
        return tr__fail(
            error, TR_EMISMATCH,
            "transaction log %s is missing at offset 0, and its snapshot is there: restore the file",
            store->name);
    if (r->size < TR__LOG_DATA_AT)
        return damaged(r, r->size, "the file ends before its first record", error);
    TR_TRY(look(r, 0, TR__LOG_DATA_AT, &bytes, error));
    const char *wrong = tr__log_head_read(first, bytes);
    if (!wrong && first->version != TR__LOG_VERSION)
        return tr__fail(
            error, TR_EVERSION,
            "transaction log %s has format version %u, this program knows %u: use the program that "
            "wrote it",
            store->name, first->version, TR__LOG_VERSION);
    if (wrong || first->segment != TR__LOG_SEGMENT)
        return damaged(r, 0, wrong ? wrong : "it is a later segment of a log", error);
    if (base && memcmp(base->id, first->id, sizeof base->id) != 0)
        return tr__fail(
            error, TR_EMISMATCH,
            "transaction log %s isn't the one that its snapshot was taken from, by the id at offset "
            "16: restore the two that belong together",
            store->name);
    found->head = *first;
    found->durable = base ? base->lsn : 0;
    TR_TRY(read_slots(r, found, error));
    found->oldest = r->size == TR__LOG_DATA_AT && store->second ? store->second : TR__LOG_SEGMENT;
    return TR_OK;
}

/* The oldest one must begin where the snapshot ends, or before. */
static tr_err read_oldest(reader *r, const tr__log_base *base, const tr__log_head *first,
                          tr__log_found *found, tr_error *error)
{
    const char *wrong = NULL;
    char name[TR__LOG_NAME_BYTES];
    if (found->oldest != TR__LOG_SEGMENT) {
        turn_to(r, found->oldest);
        TR_TRY(next_head(r, first, NULL, &found->head, &wrong, error));
        if (wrong)
            return damaged(r, 0, wrong, error);
        TR_TRY(read_slots(r, found, error));
    }
    uint64_t has = base ? base->lsn : 0;
    if (found->head.first_lsn <= has + 1)
        return TR_OK;
    return tr__fail(
        error, TR_EMISMATCH,
        "transaction log %s begins with record %llu (offset 40), and what is kept before it ends with "
        "record %llu: a segment or the newest snapshot is missing; nothing was changed: restore it",
        r->store->name_of(r->store, r->segment, name), (unsigned long long)found->head.first_lsn,
        (unsigned long long)has);
}

/* What lies from `offset` on in the segment that the reader looks at: what whole headers there state. *whole: there is one
 * that only a later batch can have written. */
static tr_err look_behind(reader *r, uint64_t offset, tr__log_found *found, bool *whole, tr_error *error)
{
    tr__log_head head = found->head;
    head.segment = r->segment; /* all that a record's header needs of it */
    for (; offset < r->size; offset += 8) {
        uint64_t left = r->size - offset;
        const uint8_t *bytes;
        tr__log_record record;
        if (left < 8)
            break;
        TR_TRY(look(r, offset, 8, &bytes, error));
        if (!tr__log_record_maybe(bytes))
            continue;
        TR_TRY(look(r, offset, TR__LOG_RECORD_BYTES, &bytes, error));
        /* A torn payload doesn't matter: the header's own statement is whole. */
        if (!bytes || tr__log_record_read(&head, offset, bytes, &record))
            continue;
        *whole = true;
        if (record.durable > found->durable)
            found->durable = record.durable;
    }
    return TR_OK;
}

/* The same for all segments behind: anything whole there shows that this one's mark was forced. */
static tr_err look_ahead(reader *r, const tr__log_head *first, tr__log_found *found, bool *whole,
                         tr_error *error)
{
    for (uint32_t segment = r->segment + 1; segment <= r->store->last; segment++) {
        tr__log_head head;
        const char *wrong;
        unsigned slot = found->slot;
        turn_to(r, segment);
        TR_TRY(next_head(r, first, NULL, &head, &wrong, error));
        *whole = *whole || !wrong;
        TR_TRY(read_slots(r, found, error));
        TR_TRY(look_behind(r, TR__LOG_DATA_AT, found, whole, error));
        found->slot = slot;
    }
    return TR_OK;
}

/* The good records of the segment that the reader looks at. */
static tr_err scan_records(reader *r, tr__log_found *found, cursor *at, uint64_t *stated, const char **wrong,
                           tr_error *error)
{
    while (!at->marked) {
        tr__log_record record;
        const uint8_t *payload;
        uint64_t begin = at->offset;
        TR_TRY(next_record(r, &found->head, at, &record, &payload, wrong, error));
        if (*wrong)
            return TR_OK;
        if (record.durable != *stated || begin == TR__LOG_DATA_AT) { /* another statement is another batch */
            found->batch = begin;
            found->batch_segment = r->segment;
        }
        found->batch_end = at->offset;
        *stated = record.durable;
        if (record.durable > found->durable)
            found->durable = record.durable;
    }
    return TR_OK;
}

/* To the next segment, whose mark was found; *wrong: its header isn't there. */
static tr_err scan_next(reader *r, const tr__log_head *first, tr__log_found *found, cursor *at,
                        const char **wrong, tr_error *error)
{
    tr__log_head head;
    turn_to(r, r->segment + 1);
    if (r->size == 0)
        return damaged(r, 0, "the file is missing, and the segment before it says that it is there", error);
    TR_TRY(next_head(r, first, at, &head, wrong, error));
    found->head = head;
    found->headless = *wrong != NULL;
    TR_TRY(read_slots(r, found, error));
    *at = first_record(&head);
    return TR_OK;
}

static tr_err scan(reader *r, const tr__log_base *base, tr__log_found *found, tr_error *error)
{
    tr__log_head first = {0};
    TR_TRY(read_first(r, base, &first, found, error));
    TR_TRY(read_oldest(r, base, &first, found, error));
    cursor at = first_record(&found->head);
    uint64_t stated = UINT64_MAX;
    const char *wrong = NULL;
    bool whole = false;
    found->batch = found->batch_end = at.offset;
    found->batch_segment = r->segment;
    for (;;) {
        TR_TRY(scan_records(r, found, &at, &stated, &wrong, error));
        if (!wrong)
            TR_TRY(scan_next(r, &first, found, &at, &wrong, error));
        if (wrong)
            break;
    }
    uint32_t segment = r->segment;
    uint64_t offset = found->bad = found->headless ? 0 : at.offset;
    /* Without a record behind it a header may be there for readers only: a force that failed left it so. */
    found->headless = segment > TR__LOG_SEGMENT && at.offset == TR__LOG_DATA_AT;
    found->last = at.lsn - 1;
    found->end = at.offset;
    found->chain = at.chain;
    found->size = r->size;
    bool ignored = false;
    TR_TRY(look_behind(r, at.offset, found, &ignored, error));
    TR_TRY(look_ahead(r, &first, found, &whole, error));
    found->next_size = segment < r->store->last ? r->store->size(r->store, segment + 1) : 0;
    turn_to(r, segment);
    if (r->store->last > segment + 1 && !whole && at.lsn > found->durable)
        return damaged(r, offset, "there are two segments behind it, and it has no mark", error);
    if (at.lsn > found->durable && !whole)
        return TR_OK;
    char text[TR_ERROR_TEXT_MAX];
    snprintf(text, sizeof text, "record %llu was forced, and now %s; nothing was changed: restore the file",
             (unsigned long long)at.lsn, wrong);
    return damaged(r, offset, text, error);
}

tr_err tr__log_scan(tr__log_store *store, const tr__log_base *base, tr__log_found *found, tr_error *error)
{
    reader r;
    *found = (tr__log_found){0};
    uint64_t head = store->size(store, TR__LOG_SEGMENT);
    uint32_t from = head == TR__LOG_DATA_AT && store->second ? store->second : TR__LOG_SEGMENT;
    TR_TRY(reader_init(&r, store, from, store->last, error));
    turn_to(&r, TR__LOG_SEGMENT);
    tr_err code = scan(&r, base, found, error);
    tr__free(r.bytes);
    return code;
}

/* ---- settling ------------------------------------------------------------------------------------------ */

/* Zeros from there to the segment's end, where there are others. */
static tr_err wipe(reader *r, uint64_t from, bool *changed, tr_error *error)
{
    for (uint64_t at = from; at < r->size;) {
        uint64_t left = r->size - at;
        size_t length = left < r->capacity ? (size_t)left : r->capacity;
        TR_TRY(r->store->read(r->store, r->segment, at, r->bytes, length, error));
        r->length = 0; /* the window isn't the reader's any more */
        if (r->bytes[0] || memcmp(r->bytes, r->bytes + 1, length - 1) != 0) {
            memset(r->bytes, 0, length);
            TR_TRY(r->store->write(r->store, r->segment, at, r->bytes, length, error));
            *changed = true;
        }
        at += length;
    }
    return TR_OK;
}

static tr_err write_again(reader *r, uint64_t from, uint64_t to, tr_error *error)
{
    r->length = 0;
    while (from < to) {
        uint64_t left = to - from;
        size_t length = left < r->capacity ? (size_t)left : r->capacity;
        TR_TRY(r->store->read(r->store, r->segment, from, r->bytes, length, error));
        TR_TRY(r->store->write(r->store, r->segment, from, r->bytes, length, error));
        from += length;
    }
    return TR_OK;
}

/* The last batch, which nobody may have forced: its header too, if it was the segment's first. */
static tr_err settle_batch(reader *r, const tr__log_found *found, tr_error *error)
{
    turn_to(r, found->batch_segment);
    TR_TRY(write_again(r, found->batch, found->batch_end, error));
    if (found->batch == TR__LOG_DATA_AT)
        TR_TRY(write_again(r, 0, TR__LOG_HEADER_BYTES, error));
    return r->store->force(r->store, found->batch_segment, error);
}

static tr_err settle(reader *r, tr__log_found *found, tr_error *error)
{
    bool changed = false, any = false;
    uint32_t segment = found->head.segment;
    /* A mark has no LSN: whether it is durable nobody says, until there is something behind it. */
    if (found->last > found->durable || (found->headless && found->batch_end > TR__LOG_DATA_AT)) {
        TR_TRY(settle_batch(r, found, error));
        any = true;
    }
    turn_to(r, segment);
    TR_TRY(wipe(r, found->bad, &changed, error));
    if (changed)
        TR_TRY(r->store->force(r->store, segment, error));
    any = any || changed;
    changed = false;
    if (found->next_size > 0) {
        turn_to(r, segment + 1);
        TR_TRY(wipe(r, 0, &changed, error));
        if (changed)
            TR_TRY(r->store->force(r->store, segment + 1, error));
    }
    if (!any)
        return TR_OK;
    found->durable = found->last;
    uint8_t slot[TR__LOG_SLOT_BYTES];
    tr__log_slot_write(&found->head, found->durable, slot);
    TR_TRY(r->store->write(r->store, segment, TR__LOG_SLOT_AT(found->slot), slot, sizeof slot, error));
    found->slot = 1 - found->slot;
    return r->store->force(r->store, segment, error);
}

tr_err tr__log_settle(tr__log_store *store, tr__log_found *found, tr_error *error)
{
    reader r;
    uint32_t last = found->head.segment + (found->next_size > 0);
    TR_TRY(reader_init(&r, store, found->batch_segment, last, error));
    tr_err code = settle(&r, found, error);
    tr__free(r.bytes);
    return code;
}

/* ---- reading once more --------------------------------------------------------------------------------- */

struct tr__log_walk {
    reader r;
    tr__log_head first, head; /* head.segment 0: nothing was read yet */
    cursor at;
    uint32_t segment; /* to begin with */
    uint64_t after, until;
};

tr__log_walk *tr__log_walk_open(tr__log_store *store, uint32_t segment, uint32_t last, uint64_t after,
                                uint64_t until, tr_error *error)
{
    tr__log_walk *walk = tr__zalloc(sizeof(*walk));
    if (!walk || reader_init(&walk->r, store, segment, last, error) != TR_OK) {
        tr__fail(error, TR_ENOMEM, "no memory to read the transaction log %s", store->name);
        tr__free(walk);
        return NULL;
    }
    walk->segment = segment;
    walk->after = after;
    walk->until = until;
    return walk;
}

void tr__log_walk_close(tr__log_walk *walk)
{
    if (!walk)
        return;
    tr__free(walk->r.bytes);
    tr__free(walk);
}

static tr_err walk_first(tr__log_walk *walk, tr_error *error)
{
    const uint8_t *bytes;
    const char *wrong;
    reader *r = &walk->r;
    turn_to(r, TR__LOG_SEGMENT);
    r->size = r->size < TR__LOG_DATA_AT ? r->size : TR__LOG_DATA_AT; /* its records may go just now */
    TR_TRY(look(r, 0, TR__LOG_HEADER_BYTES, &bytes, error));
    wrong = bytes ? tr__log_head_read(&walk->first, bytes) : "the file ends within its header";
    if (wrong)
        return damaged(r, 0, wrong, error);
    turn_to(r, walk->segment);
    TR_TRY(next_head(r, &walk->first, NULL, &walk->head, &wrong, error));
    walk->at = first_record(&walk->head);
    return wrong ? damaged(r, 0, wrong, error) : TR_OK;
}

static tr_err walk_on(tr__log_walk *walk, tr_error *error)
{
    const char *wrong;
    turn_to(&walk->r, walk->r.segment + 1);
    TR_TRY(next_head(&walk->r, &walk->first, &walk->at, &walk->head, &wrong, error));
    walk->at = first_record(&walk->head);
    return wrong ? damaged(&walk->r, 0, wrong, error) : TR_OK;
}

tr_err tr__log_walk_go(tr__log_walk *walk, size_t bytes, tr__log_record_fn *record, void *context, bool *over,
                       tr_error *error)
{
    size_t done = 0;
    *over = false;
    if (walk->head.segment == 0)
        TR_TRY(walk_first(walk, error));
    while (done < bytes) {
        tr__log_record one;
        const uint8_t *payload;
        const char *wrong;
        if (walk->at.lsn > walk->until) {
            *over = true;
            return TR_OK;
        }
        if (walk->at.marked)
            TR_TRY(walk_on(walk, error));
        cursor at = walk->at;
        TR_TRY(next_record(&walk->r, &walk->head, &walk->at, &one, &payload, &wrong, error));
        if (wrong)
            return damaged(&walk->r, at.offset, wrong, error);
        done += tr__log_stride(one.length);
        if (one.type != TR__LOG_MARK && one.lsn > walk->after)
            TR_TRY(record(context, one.type, one.lsn, payload, one.length, error));
    }
    return TR_OK;
}

tr_err tr__log_replay(tr__log_store *store, const tr__log_found *found, uint64_t after,
                      tr__log_record_fn *record, void *context, tr_error *error)
{
    bool over;
    tr__log_walk *walk =
        tr__log_walk_open(store, found->oldest, found->head.segment, after, found->last, error);
    if (!walk)
        return TR_ENOMEM;
    tr_err code = tr__log_walk_go(walk, SIZE_MAX, record, context, &over, error);
    tr__log_walk_close(walk);
    return code;
}
