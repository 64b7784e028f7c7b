/* See log.h. The owner's thread.
 *
 * Two buffers: `pending`, where append puts records, and `flying`, which the store writes; a batch takes all
 * of pending, and they change places. What a record says about its batch (the durable LSN, the chain, the
 * header's CRC) is filled in when the batch begins; the payload's CRC at append.
 *
 * Room. The file always reaches `reserve` beyond the last batch, with zeros that have their place on the
 * disk, or the disk is full. A record that finishes a transaction may go to the very end of it, others must
 * stay half a reserve away. So memory is bounded by the same figure, no batch ever needs a place that isn't
 * there, and a full disk refuses new transactions while prepared ones still finish.
 *
 * How it can fail: a batch that fails is the end (see log.h). That the file can't grow is not. */
#include "actors/tx/log.h"

#include <string.h>

#include "actors/tx/log_replay.h"
#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"

#define SIZE_MAX_DEFAULT (1024ull * 1024 * 1024)
#define RESERVE_DEFAULT  (16u * 1024 * 1024)
#define STEP_DEFAULT     (1024u * 1024)
#define BATCH_BYTES      (1024u * 1024) /* so much is written without being asked */
#define BUFFER_LEAST     (16u * 1024)

typedef struct buffer {
    uint8_t *bytes;
    size_t length, capacity;
} buffer;

struct tr__log {
    tr__log_store *store;
    const tr__log_upcalls *upcalls;
    void *context;
    uint64_t size_max;
    uint32_t reserve, step;

    tr__log_head head;
    uint64_t last, durable;
    uint64_t wanted;  /* the highest LSN somebody waits for */
    uint64_t written; /* offset behind what was given to the store: where pending will begin */
    uint64_t size;    /* of the store */
    uint64_t need;    /* room that a refused append would have needed */
    uint32_t chain;   /* header CRC of the last record given to the store */
    unsigned slot;    /* the one to write next */
    bool full;        /* the disk had no place for the last extension */

    buffer pending, flying;
    bool busy;            /* a batch is under way */
    uint64_t flying_last; /* its last LSN */
    uint8_t mark[TR__LOG_SLOT_BYTES];
    tr_error error; /* once it failed: why */
};

/* ---- batches ------------------------------------------------------------------------------------------- */

/* How long the file should be, so that the reserve and the next records have their place. */
static uint64_t size_wanted(const tr__log *log, uint64_t end)
{
    uint64_t least = end + log->reserve + log->need;
    if (log->size >= least)
        return log->size;
    uint64_t size = least + log->step;
    return size < log->size_max ? size : log->size_max;
}

/* What only the batch knows goes into the headers of all its records. */
static void seal(tr__log *log)
{
    uint64_t lsn = log->flying_last;
    for (size_t at = 0; at < log->flying.length;) {
        tr__log_record record;
        uint8_t *bytes = log->flying.bytes + at;
        memcpy(&record, bytes, sizeof record); /* as append left it */
        record.durable = log->durable;
        record.chain = log->chain;
        lsn = record.lsn;
        tr__log_record_write(&log->head, log->written + at, &record, bytes);
        log->chain = record.crc;
        at += tr__log_stride(record.length);
    }
    log->flying_last = lsn;
}

_Static_assert(sizeof(tr__log_record) <= TR__LOG_RECORD_BYTES, "append leaves it in the header's place");

/* The log must not be busy. */
static void begin_batch(tr__log *log)
{
    buffer swap = log->flying;
    log->flying = log->pending;
    log->pending = swap;
    log->pending.length = 0;
    seal(log);
    uint64_t end = log->written + log->flying.length;
    tr__log_slot_write(&log->head, log->flying_last, log->mark);
    tr__log_batch batch = {
        .offset = log->written,
        .bytes = log->flying.bytes,
        .length = log->flying.length,
        .mark_offset = TR__LOG_SLOT_AT(log->slot),
        .mark = log->mark,
        .mark_length = sizeof log->mark,
        .size = size_wanted(log, end),
    };
    if (batch.length > 0)
        log->slot = 1 - log->slot;
    log->written = end;
    log->need = 0;
    log->busy = true;
    log->store->begin(log->store, &batch);
}

/* Begin if somebody waits for what is pending, or it has become much. */
static void go_on(tr__log *log)
{
    if (!log->busy && log->error.code == TR_OK && log->pending.length > 0 &&
        (log->wanted > log->durable || log->pending.length >= BATCH_BYTES || TR_BUGGIFY(log_batch_early)))
        begin_batch(log);
}

static void fail(tr__log *log, const tr_error *error)
{
    log->error = *error;
    log->upcalls->failed(log->context, error);
}

void tr__log_poll(tr__log *log)
{
    tr__log_done done;
    while (log->busy && log->store->finished(log->store, &done)) {
        log->busy = false;
        if (done.error.code != TR_OK) {
            fail(log, &done.error);
            return;
        }
        log->size = done.size;
        log->full = done.grown != TR_OK;
        log->durable = log->flying_last;
        /* The next batch first: the disk works while the upcall does. */
        go_on(log);
        log->upcalls->forced(log->context, log->durable);
        go_on(log);
    }
}

bool tr__log_force(tr__log *log, uint64_t lsn)
{
    tr__check(lsn <= log->last, "LSN %llu was never given", (unsigned long long)lsn);
    if (lsn <= log->durable)
        return true;
    if (lsn > log->wanted)
        log->wanted = lsn;
    go_on(log);
    return false;
}

/* ---- append -------------------------------------------------------------------------------------------- */

static uint64_t behind_pending(const tr__log *log)
{
    return log->written + log->pending.length;
}

/* Whether `stride` more bytes have no place now. */
static bool has_no_room(const tr__log *log, bool finishes, size_t stride)
{
    return behind_pending(log) + stride + (finishes ? 0 : log->reserve / 2) > log->size;
}

bool tr__log_is_full(const tr__log *log)
{
    return (log->full || log->size >= log->size_max) && has_no_room(log, false, tr__log_stride(0));
}

bool tr__log_lacks_room(const tr__log *log)
{
    return log->full && log->size < log->size_max && log->error.code == TR_OK;
}

void tr__log_look_for_room(tr__log *log)
{
    if (tr__log_lacks_room(log) && !log->busy)
        begin_batch(log);
}

static tr_err refuse(tr__log *log, bool finishes, size_t stride, tr_error *error)
{
    if (stride > log->need)
        log->need = stride;
    bool full = log->full || log->size >= log->size_max;
    if (!log->busy && (log->pending.length > 0 || log->size < log->size_max))
        begin_batch(log); /* makes room, or finds out that there is some again */
    if (!full)
        return tr__fail(error, TR_EAGAIN,
                        "the transaction log %s waits for the disk: try again when it has forced",
                        log->store->name);
    return tr__fail(error, TR_EFULL, "log-full: the transaction log %s has %llu bytes and %s%s",
                    log->store->name, (unsigned long long)behind_pending(log),
                    log->size >= log->size_max ? "may not grow" : "the disk is full",
                    finishes ? ", the reserve is used up" : ": prepared transactions still finish");
}

static tr_err reserve_bytes(buffer *pending, size_t more)
{
    size_t need = pending->length + more;
    if (need <= pending->capacity)
        return TR_OK;
    size_t capacity = pending->capacity ? pending->capacity : BUFFER_LEAST;
    while (capacity < need)
        capacity *= 2;
    uint8_t *bytes = tr__realloc(pending->bytes, capacity);
    if (!bytes)
        return TR_ENOMEM;
    pending->bytes = bytes;
    pending->capacity = capacity;
    return TR_OK;
}

static tr_err check_append(tr__log *log, bool finishes, uint64_t length, tr_error *error)
{
    if (log->error.code != TR_OK)
        return tr__fail(error, log->error.code, "%s", log->error.text);
    if (length > TR__LOG_PAYLOAD_MAX)
        return tr__fail(error, TR_ETOOBIG, "a record of %llu bytes; the transaction log takes %u at most",
                        (unsigned long long)length, TR__LOG_PAYLOAD_MAX);
    size_t stride = tr__log_stride((size_t)length);
    if (has_no_room(log, finishes, stride))
        return refuse(log, finishes, stride, error);
    if (reserve_bytes(&log->pending, stride) != TR_OK)
        return tr__fail(error, TR_ENOMEM, "no memory for a record of the transaction log");
    return TR_OK;
}

tr_err tr__log_append(tr__log *log, uint8_t type, bool finishes, const tr__iov *payload, unsigned count,
                      uint64_t *lsn, tr_error *error)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        length += payload[i].length;
        if (length > TR__LOG_PAYLOAD_MAX)
            break;
    }
    TR_TRY(check_append(log, finishes, length, error));
    uint8_t *bytes = log->pending.bytes + log->pending.length;
    tr__log_record record = {.type = type, .length = (uint32_t)length, .lsn = ++log->last};
    size_t at = TR__LOG_RECORD_BYTES, stride = tr__log_stride((size_t)length);
    for (unsigned i = 0; i < count; i++) {
        if (payload[i].length > 0)
            memcpy(bytes + at, payload[i].bytes, payload[i].length);
        at += payload[i].length;
    }
    memset(bytes + at, 0, stride - at);
    record.payload_crc = tr__crc32c(0, bytes + TR__LOG_RECORD_BYTES, (size_t)length);
    memcpy(bytes, &record, sizeof record);
    log->pending.length += stride;
    *lsn = record.lsn;
    go_on(log);
    return TR_OK;
}

/* ---- open, close --------------------------------------------------------------------------------------- */

/* A new log is whole and forced before it has its name. */
static tr_err create(tr__log *log, tr__log_found *found, tr_error *error)
{
    tr__log_store *store = log->store;
    uint8_t bytes[TR__LOG_HEADER_BYTES];
    *found = (tr__log_found){.head = {.segment = TR__LOG_SEGMENT, .first_lsn = 1}, .end = TR__LOG_DATA_AT};
    TR_TRY(store->random(store, found->head.id, error));
    tr__log_head_write(&found->head, bytes);
    found->chain = found->head.chain;
    log->size = 0;
    uint64_t size = size_wanted(log, found->end);
    TR_TRY(store->grow(store, size, error));
    log->size = size;
    TR_TRY(store->write(store, 0, bytes, sizeof bytes, error));
    uint8_t slot[TR__LOG_SLOT_BYTES];
    tr__log_slot_write(&found->head, 0, slot);
    for (unsigned n = 0; n < 2; n++)
        TR_TRY(store->write(store, TR__LOG_SLOT_AT(n), slot, sizeof slot, error));
    TR_TRY(store->force(store, error));
    return store->publish(store, error);
}

static tr_err recover(tr__log *log, tr__log_found *found, tr_error *error)
{
    tr__log_store *store = log->store;
    TR_TRY(tr__log_scan(store, found, error));
    TR_TRY(tr__log_settle(store, found, error));
    log->size = store->size;
    uint64_t size = size_wanted(log, found->end);
    if (size > log->size) {
        tr_err code = store->grow(store, size, error);
        if (code == TR_OK)
            log->size = size;
        else if (code == TR_ENOSPC || code == TR_ETOOBIG)
            log->full = true;
        else
            return code;
    }
    return tr__log_replay(store, found, log->upcalls->record, log->context, error);
}

tr__log *tr__log_open(tr__log_store *store, const tr__log_options *options, const tr__log_upcalls *upcalls,
                      void *context, tr_error *error)
{
    tr__log *log = tr__zalloc(sizeof *log);
    if (!log) {
        tr__fail(error, TR_ENOMEM, "no memory for the transaction log %s", store->name);
        return NULL;
    }
    log->store = store;
    log->upcalls = upcalls;
    log->context = context;
    log->size_max = options && options->size_max ? options->size_max : SIZE_MAX_DEFAULT;
    log->reserve = options && options->reserve ? options->reserve : RESERVE_DEFAULT;
    log->step = options && options->step ? options->step : STEP_DEFAULT;
    tr__log_found found;
    tr_err code = store->is_new ? create(log, &found, error) : recover(log, &found, error);
    if (code != TR_OK) {
        tr__free(log);
        return NULL;
    }
    log->head = found.head;
    log->last = found.last;
    log->durable = found.last;
    log->wanted = found.last;
    log->flying_last = found.last;
    log->written = found.end;
    log->chain = found.chain;
    log->slot = found.slot;
    return log;
}

void tr__log_close(tr__log *log)
{
    if (!log)
        return;
    log->store->close(log->store);
    tr__free(log->pending.bytes);
    tr__free(log->flying.bytes);
    tr__free(log);
}

uint64_t tr__log_durable(const tr__log *log)
{
    return log->durable;
}

uint64_t tr__log_last(const tr__log *log)
{
    return log->last;
}

const uint8_t *tr__log_id(const tr__log *log)
{
    return log->head.id;
}
