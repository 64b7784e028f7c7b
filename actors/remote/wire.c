/* See wire.h. */
#include "actors/remote/wire.h"

#include <string.h>

#include "base/err.h"

static inline uint8_t *put_number(uint8_t *out, uint64_t number)
{
    while (number >= 0x80) {
        *out++ = (uint8_t)number | 0x80;
        number >>= 7;
    }
    *out++ = (uint8_t)number;
    return out;
}

static uint8_t *put_fixed(uint8_t *out, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        *out++ = (uint8_t)(number >> (8 * i));
    return out;
}

typedef struct reader {
    const uint8_t *at, *end;
    bool bad;
} reader;

static __attribute__((noinline)) uint64_t get_long(reader *r)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            break;
        uint8_t byte = *r->at++;
        if (shift == 63 && byte > 1)
            break;
        number |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return number;
    }
    r->bad = true;
    return 0;
}

/* Most have one byte, or two. */
static inline uint64_t get_number(reader *r)
{
    const uint8_t *at = r->at;
    if (r->end - at >= 2) {
        if (at[0] < 0x80) {
            r->at = at + 1;
            return at[0];
        }
        if (at[1] < 0x80) {
            r->at = at + 2;
            return (uint64_t)at[1] << 7 | (at[0] & 0x7f);
        }
    }
    return get_long(r);
}

static inline uint32_t get_small(reader *r)
{
    uint64_t number = get_number(r);
    if (number > UINT32_MAX)
        r->bad = true;
    return (uint32_t)number;
}

static uint64_t get_fixed(reader *r)
{
    uint64_t number = 0;
    if (r->end - r->at < 8) {
        r->bad = true;
        return 0;
    }
    for (int i = 0; i < 8; i++)
        number |= (uint64_t)*r->at++ << (8 * i);
    return number;
}

/* What each kind carries besides the addresses, in this order. */
enum {
    HAS_ASK = 1,
    HAS_REMAINING = 2,
    HAS_TYPE = 4,
    HAS_EXIT = 8,
    HAS_CODE = 16,
    HAS_SCHEMA = 32,
    HAS_BODY = 64,
    HAS_ADDRESS = 128,
    HAS_OUTFLOW = 256,
    HAS_WINDOW = 512
};

static const uint16_t parts[TR__WIRE_KINDS] = {
    [TR__WIRE_TYPE] = HAS_TYPE | HAS_SCHEMA | HAS_BODY,
    [TR__WIRE_NORMAL] = HAS_TYPE | HAS_BODY,
    [TR__WIRE_ASK] = HAS_ASK | HAS_REMAINING | HAS_TYPE | HAS_BODY,
    [TR__WIRE_REPLY] = HAS_ASK | HAS_TYPE | HAS_BODY,
    [TR__WIRE_FAILURE] = HAS_ASK | HAS_CODE | HAS_BODY,
    [TR__WIRE_CANCEL] = HAS_ASK,
    [TR__WIRE_MONITOR] = HAS_ASK,
    [TR__WIRE_DEMONITOR] = HAS_ASK,
    [TR__WIRE_EXPIRING] = HAS_REMAINING | HAS_TYPE | HAS_BODY,
    [TR__WIRE_DOWN] = HAS_ASK | HAS_EXIT | HAS_CODE | HAS_BODY,
    [TR__WIRE_MOVED] = HAS_ASK | HAS_ADDRESS,
    [TR__WIRE_STREAM_ASK] = HAS_ASK | HAS_REMAINING | HAS_WINDOW | HAS_TYPE | HAS_BODY,
    [TR__WIRE_ITEM] = HAS_ASK | HAS_OUTFLOW | HAS_TYPE | HAS_BODY,
    [TR__WIRE_DEMAND] = HAS_ASK | HAS_OUTFLOW | HAS_WINDOW,
    [TR__WIRE_LINK] = 0,
    [TR__WIRE_UNLINK] = HAS_ASK,
    [TR__WIRE_UNLINKED] = HAS_ASK,
    [TR__WIRE_EXIT] = HAS_EXIT | HAS_CODE | HAS_BODY,
    [TR__WIRE_STOP] = HAS_EXIT,
    [TR__WIRE_RIGHTS] = HAS_ASK,
    [TR__WIRE_REFUSED] = HAS_ASK | HAS_OUTFLOW | HAS_TYPE | HAS_CODE | HAS_BODY,
};

size_t tr__wire_put(uint8_t *out, const tr__record *record)
{
    uint8_t *at = out;
    uint16_t has = parts[record->kind];
    *at++ = (uint8_t)record->kind;
    at = put_number(at, record->to_slot);
    at = put_number(at, record->to_generation);
    at = put_number(at, record->from_slot);
    at = put_number(at, record->from_generation);
    if (has & HAS_ASK)
        at = put_number(at, record->ask);
    if (has & HAS_REMAINING)
        at = put_number(at, record->remaining_ns + 1);
    if (has & HAS_OUTFLOW)
        at = put_number(at, record->outflow);
    if (has & HAS_WINDOW)
        at = put_number(at, record->window);
    if (has & HAS_TYPE)
        at = put_number(at, record->type);
    if (has & HAS_EXIT)
        at = put_number(at, record->exit_kind);
    if (has & HAS_CODE)
        at = put_number(at, record->code);
    if (has & HAS_SCHEMA)
        at = put_fixed(put_fixed(at, record->type_id), record->fingerprint);
    if (has & HAS_ADDRESS) {
        at = put_fixed(at, record->moved_to.node);
        at = put_number(at, record->moved_to.slot);
        at = put_number(at, record->moved_to.generation);
    }
    if (has & HAS_BODY)
        at = put_number(at, record->length);
    return (size_t)(at - out);
}

size_t tr__wire_number_size(uint64_t number)
{
    size_t size = 1;
    for (; number >= 0x80; number >>= 7)
        size++;
    return size;
}

size_t tr__wire_resize(uint8_t *out, size_t head, size_t claimed, size_t length)
{
    if (__builtin_expect(claimed < 0x80, 1)) { /* a byte holds either */
        out[head - 1] = (uint8_t)length;
        return head;
    }
    size_t before = tr__wire_number_size(claimed), after = tr__wire_number_size(length);
    if (after != before)
        memmove(out + head - before + after, out + head, length);
    put_number(out + head - before, length);
    return head - before + after;
}

static void get_parts(reader *r, const uint8_t *start, tr__record *record)
{
    uint16_t has = parts[record->kind];
    if (has & HAS_ASK)
        record->ask = get_number(r);
    if (has & HAS_REMAINING)
        record->remaining_ns = get_number(r) - 1;
    if (has & HAS_OUTFLOW)
        record->outflow = get_number(r);
    if (has & HAS_WINDOW)
        record->window = get_small(r);
    if (has & HAS_TYPE)
        record->type = get_small(r);
    if (has & HAS_EXIT)
        record->exit_kind = get_small(r);
    if (has & HAS_CODE)
        record->code = get_small(r);
    if (has & HAS_SCHEMA) {
        record->type_id = get_fixed(r);
        record->fingerprint = get_fixed(r);
    }
    if (has & HAS_ADDRESS) {
        record->moved_to.node = get_fixed(r);
        record->moved_to.slot = get_small(r);
        record->moved_to.generation = get_small(r);
    }
    if (!(has & HAS_BODY))
        return;
    const uint8_t *behind_head = r->at;
    uint64_t length = get_number(r);
    record->head = (size_t)(behind_head - start);
    record->body = r->at;
    record->length = (size_t)length;
}

static bool is_kind(const uint8_t *in, size_t length)
{
    return length > 0 && in[0] > 0 && in[0] < TR__WIRE_KINDS;
}

static void get_head(reader *r, tr__record *record)
{
    const uint8_t *start = r->at;
    memset(record, 0, sizeof(*record));
    record->remaining_ns = UINT64_MAX;
    record->kind = (tr__wire_kind)*r->at++;
    record->to_slot = get_small(r);
    record->to_generation = get_small(r);
    record->from_slot = get_small(r);
    record->from_generation = get_small(r);
    get_parts(r, start, record);
}

bool tr__wire_get_head(const uint8_t *in, size_t length, tr__record *record)
{
    reader r = {in, in + length, false};
    if (!is_kind(in, length) || !(parts[in[0]] & HAS_BODY))
        return false;
    get_head(&r, record);
    return !r.bad;
}

tr_err tr__wire_get(const uint8_t *in, size_t length, tr__record *record, size_t *used, tr_error *error)
{
    reader r = {in, in + length, false};
    if (!is_kind(in, length))
        return tr__fail(error, TR_EPROTO, "a batch holds a record of kind %d, which is none",
                        length ? in[0] : -1);
    get_head(&r, record);
    r.bad |= record->length > (size_t)(r.end - r.at);
    r.at += r.bad ? 0 : record->length;
    if (r.bad)
        return tr__fail(error, TR_EPROTO,
                        "a record of kind %d in a batch is cut short or has a number out of range", in[0]);
    *used = (size_t)(r.at - in);
    return TR_OK;
}

/* ---- many alike ---------------------------------------------------------------------------------------- */

#define KEPT_OF 8 /* heads that aren't alike, the first of which is kept */

bool tr__alike_keep(tr__alike *alike, const uint8_t *bytes, const tr__record *record)
{
    if (record->kind != TR__WIRE_NORMAL || record->head > TR__ALIKE_MAX || alike->others++ % KEPT_OF)
        return false;
    alike->size = (uint8_t)record->head;
    alike->record = *record;
    memset(alike->bytes, 0, sizeof alike->bytes);
    memset(alike->mask, 0, sizeof alike->mask);
    memcpy(alike->bytes, bytes, record->head);
    memset(alike->mask, 0xff, record->head);
    return true;
}

size_t tr__alike_put(uint8_t *out, const tr__alike *alike, size_t room)
{
    memcpy(out, alike->bytes, TR__ALIKE_MAX);
    return (size_t)(put_number(out + alike->size, room) - out);
}

bool tr__alike_get(tr__alike *alike, const uint8_t *in, size_t length, size_t *used)
{
    uint64_t bytes[2], kept[2], mask[2];
    if (alike->size == 0 || length <= TR__ALIKE_MAX)
        return false;
    memcpy(bytes, in, sizeof bytes);
    memcpy(kept, alike->bytes, sizeof kept);
    memcpy(mask, alike->mask, sizeof mask);
    if (((bytes[0] ^ kept[0]) & mask[0]) | ((bytes[1] ^ kept[1]) & mask[1]))
        return false;
    reader r = {in + alike->size, in + length, false};
    uint64_t size = get_number(&r);
    if (r.bad || size > (size_t)(r.end - r.at))
        return false;
    alike->record.body = r.at;
    alike->record.length = (size_t)size;
    *used = (size_t)(r.at - in) + (size_t)size;
    return true;
}
