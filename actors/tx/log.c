/* See log.h. The owner's thread.
 *
 * Two buffers: `pending`, where append puts records, and `flying`, which the store writes; a batch takes all
 * of pending, and they change places. What a record says about its batch (the durable LSN, the chain, the
 * header's CRC) is filled in when the batch begins; the payload's CRC at append.
 *
 * Room. There is always place for `reserve` bytes beyond the last batch, in this segment and the next, zeros that
 * have their place on the disk, or the disk is full. A record that finishes a transaction may go to the very end of
 * it, others must stay half a reserve away. So memory is bounded by the same figure, no batch ever needs a place
 * that isn't there, and a full disk refuses new transactions while prepared ones still finish.
 *
 * Segments. A record that doesn't fit into the segment goes into the next one, behind a mark that ends this one;
 * append knows which it is. A batch ends with the mark: what is behind it in `flying` is the batch after that, with
 * the next segment's header. So nothing is in a segment before all of the one before it was forced.
 *
 * How it can fail: a batch that fails is the end (see log.h). That a file can't grow is not. */
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
#define SEGMENT_DEFAULT  (64ull * 1024 * 1024)
#define SEGMENT_LEAST    (16u * 1024)
#define CLOSED_DEFAULT   4u
#define PIECES           64u /* of a segment, in a snapshot's steps */
#define PIECE_LEAST      1024u
#define MARK_BYTES       TR__LOG_RECORD_BYTES
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
    uint64_t size_max, segment_bytes;
    uint32_t reserve, step, enough;

    tr__log_head head; /* of the segment that is written */
    uint32_t oldest;   /* segment */
    uint32_t keep;     /* the first that is not to be dropped; `oldest`: none is */
    uint64_t closed;   /* LSN of the last record before this segment */
    uint64_t last, durable;
    uint64_t forces;
    uint64_t wanted;          /* the highest LSN somebody waits for */
    uint64_t written;         /* offset behind what was given to the store */
    uint64_t size, next_size; /* of this segment's file, and of the next one's; 0: there is none */
    uint64_t limit;           /* no record of this segment ends behind it */
    uint64_t tail;            /* offset behind what was appended */
    bool tail_next;           /* in the next segment */
    bool marked;              /* this segment's mark was given to the store */
    bool headless;            /* its header wasn't */
    uint64_t need;            /* room that a refused append would have needed */
    uint32_t chain;           /* header CRC of the last record given to the store */
    unsigned slot;            /* the one to write next */
    tr_err full;              /* why there was no place for the last extension; TR_OK: there was */

    buffer pending, flying;
    size_t flying_at,
        flying_end;       /* of the batch, in `flying`: behind it is what goes into the next segment */
    bool busy;            /* a batch is under way */
    bool dropping;        /* with it segments go */
    uint64_t flying_last; /* its last LSN */
    uint32_t settled;     /* the segment where what is durable ends, */
    uint64_t settled_end; /* and there, before its mark */
    uint8_t mark[TR__LOG_SLOT_BYTES], head_bytes[TR__LOG_HEADER_BYTES];
    tr_error error; /* once it failed: why */
};

/* ---- batches ------------------------------------------------------------------------------------------- */

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Whether a segment more keeps within the bound. */
static bool may_have_next(const tr__log *log)
{
    return log->next_size > 0 || (log->head.segment - log->oldest + 2) * log->segment_bytes <= log->size_max;
}

/* How long the files should be, so that the reserve and the next records have their place. */
static void plan_room(const tr__log *log, tr__log_batch *batch)
{
    uint64_t least = log->reserve + log->need, end = log->written + least;
    batch->size = log->size;
    batch->next_size = log->next_size;
    if (log->size < log->limit && log->size < end)
        batch->size = least_of(end + log->step, log->limit);
    /* The largest record may leave as much as its own size unused at this segment's end. */
    uint64_t behind = end > log->limit ? least_of(end - log->limit + TR__LOG_PAYLOAD_MAX, least) : 0;
    if (log->need > 0 && log->written + log->need + MARK_BYTES > log->limit)
        behind = least + MARK_BYTES; /* it goes there as a whole */
    if (behind > 0 && log->next_size < TR__LOG_DATA_AT + behind && may_have_next(log))
        batch->next_size = most_of(least_of(TR__LOG_DATA_AT + behind + log->step, log->segment_bytes),
                                   TR__LOG_DATA_AT + behind);
}

/* What only the batch knows goes into the headers of all its records. It ends with a mark, or with what there is. */
static void seal(tr__log *log)
{
    uint64_t lsn = log->flying_last;
    size_t at = log->flying_at;
    while (at < log->flying.length && !log->marked) {
        tr__log_record record;
        uint8_t *bytes = log->flying.bytes + at;
        memcpy(&record, bytes, sizeof record); /* as append left it */
        record.durable = log->durable;
        record.chain = log->chain;
        tr__log_record_write(&log->head, log->written + (at - log->flying_at), &record, bytes);
        log->chain = record.crc;
        log->marked = record.type == TR__LOG_MARK;
        if (!log->marked)
            lsn = record.lsn;
        at += tr__log_stride(record.length);
    }
    log->flying_end = at;
    log->flying_last = lsn;
}

_Static_assert(sizeof(tr__log_record) <= TR__LOG_RECORD_BYTES, "append leaves it in the header's place");

/* This segment is closed: its mark was forced. */
static void next_segment(tr__log *log)
{
    log->closed = log->flying_last;
    log->head.segment++;
    log->head.first_lsn = log->flying_last + 1;
    log->head.before = log->chain;
    tr__log_head_write(&log->head, log->head_bytes);
    log->chain = log->head.chain;
    log->slot = 0;
    log->written = TR__LOG_DATA_AT;
    log->size = log->next_size;
    log->next_size = 0;
    log->limit = most_of(log->segment_bytes, log->size);
    log->tail_next = false;
    log->marked = false;
    log->headless = true;
}

/* Bytes that were appended and not given to the store. */
static size_t unwritten(const tr__log *log)
{
    return log->flying.length - log->flying_end + log->pending.length;
}

/* Not before this segment has its header: it may be the oldest then. */
static bool is_to_drop(const tr__log *log)
{
    return log->keep > log->oldest && (!log->headless || unwritten(log) > 0);
}

/* The log must not be busy. */
static void begin_batch(tr__log *log)
{
    log->flying_at = log->flying_end;
    if (log->flying_at == log->flying.length) {
        buffer swap = log->flying;
        log->flying = log->pending;
        log->pending = swap;
        log->pending.length = 0;
        log->flying_at = log->flying_end = 0;
    }
    if (log->marked && unwritten(log) > 0)
        next_segment(log);
    seal(log);
    tr__log_batch batch = {
        .segment = log->head.segment,
        .keep = is_to_drop(log) ? log->keep : 0,
        .offset = log->written,
        .bytes = log->flying.bytes ? log->flying.bytes + log->flying_at : NULL,
        .length = log->flying_end - log->flying_at,
        .mark_offset = TR__LOG_SLOT_AT(log->slot),
        .mark = log->mark,
        .mark_length = sizeof log->mark,
    };
    tr__log_slot_write(&log->head, log->flying_last, log->mark);
    log->written += batch.length;
    plan_room(log, &batch);
    if (batch.length > 0) {
        batch.head = log->head_bytes;
        batch.head_length = log->headless ? sizeof log->head_bytes : 0;
        log->headless = false;
        log->slot = 1 - log->slot;
    }
    log->need = 0;
    log->busy = true;
    log->dropping = batch.keep > 0;
    log->store->begin(log->store, &batch);
}

/* Begin if somebody waits for what is pending, or it has become much, or segments are to go. */
static void go_on(tr__log *log)
{
    if (!log->busy && log->error.code == TR_OK &&
        (is_to_drop(log) ||
         (unwritten(log) > 0 &&
          (log->wanted > log->durable || unwritten(log) >= BATCH_BYTES || TR_BUGGIFY(log_batch_early)))))
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
        log->next_size = done.next_size;
        if (log->dropping)
            log->oldest = log->keep;
        log->full = done.grown;
        log->durable = log->flying_last;
        log->settled = log->head.segment;
        log->settled_end = log->written - (log->marked ? MARK_BYTES : 0);
        log->forces += log->flying.length > 0;
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

/* Whether `stride` more bytes have their place now; *next: in the next segment, though what is before them isn't. */
static bool has_room(const tr__log *log, bool finishes, size_t stride, bool *next)
{
    uint64_t margin = finishes ? 0 : log->reserve / 2;
    uint64_t end = log->tail + stride + MARK_BYTES;
    *next = false;
    if (log->tail_next)
        return end + margin <= log->next_size;
    uint64_t here = least_of(log->size, log->limit);
    uint64_t behind = log->size >= log->limit && log->next_size > 0 ? log->next_size - TR__LOG_DATA_AT : 0;
    if (end <= here)
        return end + margin <= here + behind;
    *next = true;
    return behind > 0 && stride + MARK_BYTES + margin <= behind;
}

/* It can't get longer, whatever the disk says. */
static bool is_at_bound(const tr__log *log)
{
    return log->size >= log->limit && !may_have_next(log);
}

bool tr__log_is_full(const tr__log *log)
{
    bool next;
    return (log->full || is_at_bound(log)) && !has_room(log, false, tr__log_stride(0), &next);
}

bool tr__log_lacks_room(const tr__log *log)
{
    tr__log_batch batch;
    plan_room(log, &batch);
    return log->error.code == TR_OK && (batch.size > log->size || batch.next_size > log->next_size);
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
    bool full = log->full || is_at_bound(log);
    uint64_t bytes = (log->head.segment - log->oldest) * log->segment_bytes + log->tail;
    if (!log->busy && (unwritten(log) > 0 || !is_at_bound(log)))
        begin_batch(log); /* makes room, or finds out that there is some again */
    if (!full)
        return tr__fail(error, TR_EAGAIN,
                        "the transaction log %s waits for the disk: try again when it has forced",
                        log->store->name);
    return tr__fail(error, TR_EFULL, "log-full: the transaction log %s has %llu bytes and %s%s",
                    log->store->name, (unsigned long long)bytes,
                    is_at_bound(log)        ? "may not grow"
                    : log->full == TR_EFULL ? "no more files can be opened (raise ulimit -n)"
                                            : "the disk is full",
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

static tr_err check_append(tr__log *log, bool finishes, uint64_t length, bool *next, tr_error *error)
{
    if (log->error.code != TR_OK)
        return tr__fail(error, log->error.code, "%s", log->error.text);
    if (length > TR__LOG_PAYLOAD_MAX)
        return tr__fail(error, TR_ETOOBIG, "a record of %llu bytes; the transaction log takes %u at most",
                        (unsigned long long)length, TR__LOG_PAYLOAD_MAX);
    size_t stride = tr__log_stride((size_t)length);
    if (!has_room(log, finishes, stride, next))
        return refuse(log, finishes, stride, error);
    if (reserve_bytes(&log->pending, MARK_BYTES + stride) != TR_OK)
        return tr__fail(error, TR_ENOMEM, "no memory for a record of the transaction log");
    return TR_OK;
}

/* The header of a record as seal will find it, behind what is pending; its payload is there. */
static void put_record(tr__log *log, tr__log_record record)
{
    uint8_t *bytes = log->pending.bytes + log->pending.length;
    size_t stride = tr__log_stride(record.length), end = TR__LOG_RECORD_BYTES + record.length;
    memset(bytes + end, 0, stride - end);
    record.payload_crc = tr__crc32c(0, bytes + TR__LOG_RECORD_BYTES, record.length);
    memcpy(bytes, &record, sizeof record);
    log->pending.length += stride;
    log->tail += stride;
}

tr_err tr__log_append(tr__log *log, uint8_t type, bool finishes, const tr__iov *payload, unsigned count,
                      uint64_t *lsn, tr_error *error)
{
    uint64_t length = 0;
    bool next = false;
    tr__check(type != TR__LOG_MARK, "a mark is the log's own");
    for (unsigned i = 0; i < count; i++) {
        length += payload[i].length;
        if (length > TR__LOG_PAYLOAD_MAX)
            break;
    }
    TR_TRY(check_append(log, finishes, length, &next, error));
    *lsn = ++log->last;
    if (next) {
        put_record(log, (tr__log_record){.type = TR__LOG_MARK, .lsn = *lsn});
        log->tail = TR__LOG_DATA_AT;
        log->tail_next = true;
    }
    uint8_t *bytes = log->pending.bytes + log->pending.length + TR__LOG_RECORD_BYTES;
    for (unsigned i = 0; i < count; i++) {
        if (payload[i].length > 0)
            memcpy(bytes, payload[i].bytes, payload[i].length);
        bytes += payload[i].length;
    }
    put_record(log, (tr__log_record){.type = type, .length = (uint32_t)length, .lsn = *lsn});
    go_on(log);
    return TR_OK;
}

/* ---- closed segments ----------------------------------------------------------------------------------- */

tr__log_closed tr__log_closed_of(const tr__log *log)
{
    return (tr__log_closed){.count = log->head.segment - log->keep,
                            .enough = log->enough,
                            .first = log->keep,
                            .lsn = log->closed,
                            .piece = (size_t)most_of(log->segment_bytes / PIECES, PIECE_LEAST)};
}

void tr__log_drop(tr__log *log, uint32_t keep)
{
    tr__check(keep <= log->head.segment, "a segment that isn't closed can't go");
    if (keep > log->keep)
        log->keep = keep;
    go_on(log);
}

tr__log_settled tr__log_settled_of(const tr__log *log)
{
    return (tr__log_settled){.oldest = log->oldest,
                             .segment = log->settled,
                             .end = log->settled_end,
                             .lsn = log->durable,
                             .dropping = log->keep > log->oldest};
}

/* ---- open, close --------------------------------------------------------------------------------------- */

/* A new log is whole and forced before it has its name. */
static tr_err create(tr__log *log, tr__log_found *found, tr_error *error)
{
    tr__log_store *store = log->store;
    uint8_t bytes[TR__LOG_HEADER_BYTES];
    *found = (tr__log_found){.head = {.segment = TR__LOG_SEGMENT, .first_lsn = 1},
                             .oldest = TR__LOG_SEGMENT,
                             .end = TR__LOG_DATA_AT};
    TR_TRY(store->random(store, found->head.id, error));
    tr__log_head_write(&found->head, bytes);
    found->chain = found->head.chain;
    found->size = least_of(TR__LOG_DATA_AT + log->reserve + log->step, log->segment_bytes);
    TR_TRY(store->grow(store, TR__LOG_SEGMENT, found->size, error));
    TR_TRY(store->write(store, TR__LOG_SEGMENT, 0, bytes, sizeof bytes, error));
    uint8_t slot[TR__LOG_SLOT_BYTES];
    tr__log_slot_write(&found->head, 0, slot);
    for (unsigned n = 0; n < 2; n++)
        TR_TRY(store->write(store, TR__LOG_SEGMENT, TR__LOG_SLOT_AT(n), slot, sizeof slot, error));
    TR_TRY(store->force(store, TR__LOG_SEGMENT, error));
    return store->publish(store, error);
}

/* What a start finds may be less than a batch would have left. */
static tr_err make_room(tr__log *log, tr__log_found *found, tr_error *error)
{
    uint64_t size = least_of(found->end + log->reserve + log->step, log->segment_bytes);
    if (size <= found->size || found->end + log->reserve <= found->size)
        return TR_OK;
    tr_err code = log->store->grow(log->store, found->head.segment, size, error);
    if (code == TR_OK)
        found->size = size;
    else if (code == TR_ENOSPC || code == TR_ETOOBIG)
        log->full = code;
    else
        return code;
    return TR_OK;
}

static tr_err recover(tr__log *log, const tr__log_base *base, tr__log_found *found, tr_error *error)
{
    TR_TRY(tr__log_scan(log->store, base, found, error));
    TR_TRY(tr__log_settle(log->store, found, error));
    TR_TRY(make_room(log, found, error));
    return tr__log_replay(log->store, found, base ? base->lsn : 0, log->upcalls->record, log->context, error);
}

static void take(tr__log *log, const tr__log_found *found)
{
    log->head = found->head;
    log->oldest = log->keep = found->oldest;
    log->closed = found->head.first_lsn - 1;
    log->last = log->durable = log->wanted = log->flying_last = found->last;
    log->written = log->tail = log->settled_end = found->end;
    log->settled = found->head.segment;
    log->size = found->size;
    log->next_size = found->next_size;
    log->limit = most_of(log->segment_bytes, found->end + MARK_BYTES);
    log->chain = found->chain;
    log->slot = found->slot;
    log->headless = found->headless;
    tr__log_head_write(&log->head, log->head_bytes);
}

tr__log *tr__log_open(tr__log_store *store, const tr__log_options *options, const tr__log_base *base,
                      const tr__log_upcalls *upcalls, void *context, tr_error *error)
{
    static const tr__log_options defaults;
    tr__log *log = tr__zalloc(sizeof *log);
    if (!log) {
        tr__fail(error, TR_ENOMEM, "no memory for the transaction log %s", store->name);
        return NULL;
    }
    options = options ? options : &defaults;
    log->store = store;
    log->upcalls = upcalls;
    log->context = context;
    log->size_max = options->size_max ? options->size_max : SIZE_MAX_DEFAULT;
    log->segment_bytes = options->segment ? options->segment : SEGMENT_DEFAULT;
    log->segment_bytes = most_of(least_of(log->segment_bytes, log->size_max), SEGMENT_LEAST);
    log->reserve = options->reserve ? options->reserve : RESERVE_DEFAULT;
    log->step = options->step ? options->step : STEP_DEFAULT;
    log->enough = options->closed ? options->closed : CLOSED_DEFAULT;
    tr__log_found found;
    tr_err code = store->is_new && !base ? create(log, &found, error) : recover(log, base, &found, error);
    if (code != TR_OK) {
        tr__free(log);
        return NULL;
    }
    take(log, &found);
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

uint64_t tr__log_forces(const tr__log *log)
{
    return log->forces;
}

const uint8_t *tr__log_id(const tr__log *log)
{
    return log->head.id;
}
