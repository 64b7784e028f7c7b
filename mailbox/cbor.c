/* Messages as CBOR (RFC 8949), by libcbor's streaming layer: its encoders write an item's head, its decoder
 * reads an item that isn't plain (see read_plain()) and calls back with what it was. Pure functions: any
 * thread; nothing here allocates or recurses.
 *
 * What is read comes from outside and may be anything. measure() refuses, with TR_EPROTO and the place:
 * another number of fields, another kind of item, a number out of range, text that isn't UTF-8 or holds a
 * NUL, lengths beyond the input, indefinite lengths, tags, trailing bytes. Accepted beside what encode()
 * writes: integers and lengths that are not in their shortest form, and shorter floats, which other encoders
 * write. decode() is for what measure() accepted; anything else is a failed check. */
#include "base/check.h"
#include "base/err.h"
#include "mailbox/type.h"
#include "mailbox/utf8.h"

#include <cbor.h>
#include <inttypes.h>
#include <string.h>

#define HEAD_MAX 9 /* bytes of the largest head: the initial byte and eight of argument */

/* ---- encoding ------------------------------------------------------------------------------------------ */

size_t tr__cbor_bound(const tr_typeinfo *type, const void *body)
{
    size_t bound = HEAD_MAX;
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *at = (const char *)body + field->offset;
        bound += HEAD_MAX;
        if (field->kind == TR_KIND_string && *(const char *const *)at)
            bound += strlen(*(const char *const *)at);
        else if (field->kind == TR_KIND_bytes)
            bound += ((const tr_bytes *)at)->size;
        else if (field->kind == TR_KIND_buffer && *(const tr_buffer *const *)at)
            bound += (*(const tr_buffer *const *)at)->size;
        else if (field->kind == TR_KIND_addr)
            bound += 3 * HEAD_MAX;
    }
    return bound;
}

static size_t encode_int(int64_t value, uint8_t *out, size_t room)
{
    return value >= 0 ? cbor_encode_uint((uint64_t)value, out, room)
                      : cbor_encode_negint(~(uint64_t)value, out, room); /* CBOR has -1 - n */
}

/* The content behind a head of `head` bytes, which is 0 if there was no room for it. */
static size_t encode_content(size_t head, const void *data, size_t size, uint8_t *out, size_t room)
{
    if (head == 0 || room - head < size)
        return 0;
    if (size > 0)
        memcpy(out + head, data, size);
    return head + size;
}

/* No address has one form, whatever a caller left in its node and slot. */
static size_t encode_addr(tr_addr address, uint8_t *out, size_t room)
{
    const uint64_t parts[3] = {address.node, address.slot, address.generation};
    size_t used = cbor_encode_array_start(3, out, room);
    for (int i = 0; i < 3; i++) {
        size_t part = cbor_encode_uint(tr_addr_is_none(address) ? 0 : parts[i], out + used, room - used);
        if (part == 0)
            return 0;
        used += part;
    }
    return used;
}

static size_t encode_field(uint32_t kind, const void *at, uint8_t *out, size_t room)
{
    switch (kind) {
    case TR_KIND_bool:
        return cbor_encode_bool(*(const uint8_t *)at != 0, out, room);
    case TR_KIND_i32:
        return encode_int(*(const int32_t *)at, out, room);
    case TR_KIND_i64:
        return encode_int(*(const int64_t *)at, out, room);
    case TR_KIND_u32:
        return cbor_encode_uint(*(const uint32_t *)at, out, room);
    case TR_KIND_u64:
        return cbor_encode_uint(*(const uint64_t *)at, out, room);
    case TR_KIND_f64:
        return cbor_encode_double(*(const double *)at, out, room);
    case TR_KIND_string: {
        const char *text = *(const char *const *)at ? *(const char *const *)at : "";
        size_t size = strlen(text);
        return encode_content(cbor_encode_string_start(size, out, room), text, size, out, room);
    }
    case TR_KIND_bytes: {
        const tr_bytes *bytes = at;
        return encode_content(cbor_encode_bytestring_start(bytes->size, out, room), bytes->data, bytes->size,
                              out, room);
    }
    case TR_KIND_buffer: {
        const tr_buffer *buffer =
            *(const tr_buffer *const *)at ? *(const tr_buffer *const *)at : &tr__buffer_empty;
        return encode_content(cbor_encode_bytestring_start(buffer->size, out, room), buffer->data,
                              buffer->size, out, room);
    }
    case TR_KIND_addr:
        return encode_addr(*(const tr_addr *)at, out, room);
    }
    return 0;
}

size_t tr__cbor_encode(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room)
{
    size_t used = cbor_encode_array_start(type->count, out, room);
    if (used == 0)
        return 0;
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        size_t part = encode_field(field->kind, (const char *)body + field->offset, out + used, room - used);
        if (part == 0)
            return 0;
        used += part;
    }
    return used;
}

/* ---- one item ------------------------------------------------------------------------------------------ */

enum what { NOTHING, UINT, NEGINT, BYTES, TEXT, ARRAY, FLOAT, BOOL, MAP, TAG, NIL, INDEFINITE, BREAK };

static const char *const what_words[] = {
    [NOTHING] = "nothing",     [UINT] = "an unsigned integer", [NEGINT] = "a negative integer",
    [BYTES] = "a byte string", [TEXT] = "a text string",       [ARRAY] = "an array",
    [FLOAT] = "a float",       [BOOL] = "a boolean",           [MAP] = "a map",
    [TAG] = "a tag",           [NIL] = "null or undefined",    [INDEFINITE] = "an item of indefinite length",
    [BREAK] = "a break",
};

/* What a callback leaves of the item. */
typedef struct item {
    enum what what;
    union {
        uint64_t number; /* of UINT, NEGINT (-1 - number), ARRAY (its count), BOOL */
        double real;
        size_t size; /* of BYTES, TEXT */
    };
    const uint8_t *data; /* of BYTES, TEXT: in the input */
} item;

#define NUMBER_CALLBACK(name, argument_type, kind)    \
    static void name(void *into, argument_type value) \
    {                                                 \
        item *it = into;                              \
        it->what = kind;                              \
        it->number = value;                           \
    }
NUMBER_CALLBACK(on_map, size_t, MAP)
NUMBER_CALLBACK(on_tag, uint64_t, TAG)
NUMBER_CALLBACK(on_bool, bool, BOOL)

static void on_float(void *into, float value)
{
    *(item *)into = (item){.what = FLOAT, .real = (double)value};
}

static void on_double(void *into, double value)
{
    *(item *)into = (item){.what = FLOAT, .real = value};
}

static void on_nil(void *into)
{
    ((item *)into)->what = NIL;
}

static void on_indefinite(void *into)
{
    ((item *)into)->what = INDEFINITE;
}

static void on_break(void *into)
{
    ((item *)into)->what = BREAK;
}

static const struct cbor_callbacks callbacks = {
    .uint8 = cbor_null_uint8_callback,
    .uint16 = cbor_null_uint16_callback,
    .uint32 = cbor_null_uint32_callback,
    .uint64 = cbor_null_uint64_callback,
    .negint8 = cbor_null_negint8_callback,
    .negint16 = cbor_null_negint16_callback,
    .negint32 = cbor_null_negint32_callback,
    .negint64 = cbor_null_negint64_callback,
    .byte_string_start = on_indefinite,
    .byte_string = cbor_null_byte_string_callback,
    .string = cbor_null_string_callback,
    .string_start = on_indefinite,
    .indef_array_start = on_indefinite,
    .array_start = cbor_null_array_start_callback,
    .indef_map_start = on_indefinite,
    .map_start = on_map,
    .tag = on_tag,
    .float2 = on_float,
    .float4 = on_float,
    .float8 = on_double,
    .undefined = on_nil,
    .null = on_nil,
    .boolean = on_bool,
    .indef_break = on_break,
};

/* ---- reading ------------------------------------------------------------------------------------------- */

typedef struct reader {
    const tr_typeinfo *type;
    const tr_field *field; /* NULL: before the first */
    const uint8_t *in;
    size_t length, at;
    size_t item_at; /* where the last item began */
    bool checked;   /* by measure(): the texts are known to be good */
    tr_error *error;
} reader;

static __attribute__((cold, noinline)) tr_err refuse(const reader *r, size_t at, const char *expected,
                                                     const char *found)
{
    if (!r->field)
        return tr__fail(r->error, TR_EPROTO,
                        "message %s, byte %zu: expected %s, found %s; the sender may have another "
                        "declaration of this type",
                        r->type->name, at, expected, found);
    return tr__fail(r->error, TR_EPROTO,
                    "message %s, field %s (%s), byte %zu: expected %s, found %s; the sender may have "
                    "another declaration of this type",
                    r->type->name, r->field->name, tr__kind_word(r->field->kind), at, expected, found);
}

/* An item of the first five major types with a definite length, which is nearly all there is: read here, in 2
 * ns where libcbor's way over a callback takes 12. False, with nothing changed, for anything else: libcbor
 * says what it is, or what is wrong with it. */
static inline __attribute__((always_inline)) bool read_plain(reader *r, item *it)
{
    static const enum what majors[] = {UINT, NEGINT, BYTES, TEXT, ARRAY};
    const uint8_t *at = r->in + r->at;
    size_t left = r->length - r->at, head = 1;
    if (left == 0 || at[0] >> 5 > 4 || (at[0] & 31) > 27)
        return false;
    uint64_t number = at[0] & 31;
    if (number >= 24) {
        head += (size_t)1 << (number - 24);
        if (left < head)
            return false;
        number = 0;
        for (size_t i = 1; i < head; i++)
            number = number << 8 | at[i];
    }
    it->what = majors[at[0] >> 5];
    it->number = number;
    if (it->what == BYTES || it->what == TEXT) {
        if (number > left - head)
            return false;
        it->data = at + head;
        it->size = (size_t)number;
        head += it->size;
    }
    r->at += head;
    return true;
}

static __attribute__((noinline)) tr_err read_odd(reader *r, enum what wanted, item *it)
{
    struct cbor_decoder_result result = cbor_stream_decode(r->in + r->at, r->length - r->at, &callbacks, it);
    if (result.status != CBOR_DECODER_FINISHED)
        return refuse(r, r->at, what_words[wanted],
                      result.status == CBOR_DECODER_NEDATA ? "the end of the input"
                                                           : "a byte that CBOR doesn't have");
    r->at += result.read;
    return TR_OK;
}

/* The next item, which must be what is wanted; where an unsigned integer is, a negative one is let through.
 */
static inline __attribute__((always_inline)) tr_err read_item(reader *r, enum what wanted, item *it)
{
    r->item_at = r->at;
    if (!read_plain(r, it))
        TR_TRY(read_odd(r, wanted, it));
    if (__builtin_expect(it->what != wanted, 0) && !(wanted == UINT && it->what == NEGINT))
        return refuse(r, r->item_at, what_words[wanted], what_words[it->what]);
    return TR_OK;
}

static tr_err read_unsigned(reader *r, uint64_t max, uint64_t *value)
{
    item it;
    TR_TRY(read_item(r, UINT, &it));
    if (it.what != UINT)
        return refuse(r, r->item_at, what_words[UINT], what_words[it.what]);
    if (it.number > max)
        return refuse(r, r->item_at, "a number below 2^32", "a larger one");
    *value = it.number;
    return TR_OK;
}

/* A value from -1 - max to max. */
static tr_err read_signed(reader *r, uint64_t max, int64_t *value)
{
    item it;
    TR_TRY(read_item(r, UINT, &it));
    if (it.number > max)
        return refuse(r, r->item_at, max == INT32_MAX ? "an integer of 32 bits" : "an integer of 64 bits",
                      "one that is out of range");
    *value = it.what == UINT ? (int64_t)it.number : (int64_t)~it.number;
    return TR_OK;
}

static tr_err read_text(reader *r, item *it)
{
    TR_TRY(read_item(r, TEXT, it));
    size_t valid = r->checked ? it->size : tr__utf8_valid(it->data, it->size);
    if (valid < it->size)
        return refuse(r, (size_t)(it->data - r->in) + valid, "UTF-8 text",
                      it->data[valid] ? "a byte that isn't" : "a NUL");
    return TR_OK;
}

static tr_err read_addr(reader *r, tr_addr *address)
{
    item it;
    uint64_t node, slot, generation;
    TR_TRY(read_item(r, ARRAY, &it));
    size_t at = r->item_at;
    if (it.number != 3)
        return refuse(r, at, "an array of three", "an array of another length");
    TR_TRY(read_unsigned(r, UINT64_MAX, &node));
    TR_TRY(read_unsigned(r, UINT32_MAX, &slot));
    TR_TRY(read_unsigned(r, UINT32_MAX, &generation));
    if (generation == 0 && (node != 0 || slot != 0))
        return refuse(r, at, "an address", "one without a generation");
    *address = (tr_addr){node, (uint32_t)slot, (uint32_t)generation};
    return TR_OK;
}

/* Read the field's value into `at`, which has room for a value of any kind; of a string or bytes what is set
 * is *content, in the input. */
static tr_err read_value(reader *r, void *at, tr_bytes *content)
{
    item it;
    uint64_t number = 0;
    int64_t integer = 0;
    switch (r->field->kind) {
    case TR_KIND_bool:
        TR_TRY(read_item(r, BOOL, &it));
        *(bool *)at = it.number != 0;
        return TR_OK;
    case TR_KIND_i32:
        TR_TRY(read_signed(r, INT32_MAX, &integer));
        *(int32_t *)at = (int32_t)integer;
        return TR_OK;
    case TR_KIND_i64:
        return read_signed(r, INT64_MAX, at);
    case TR_KIND_u32:
        TR_TRY(read_unsigned(r, UINT32_MAX, &number));
        *(uint32_t *)at = (uint32_t)number;
        return TR_OK;
    case TR_KIND_u64:
        return read_unsigned(r, UINT64_MAX, at);
    case TR_KIND_f64:
        TR_TRY(read_item(r, FLOAT, &it));
        *(double *)at = it.real;
        return TR_OK;
    case TR_KIND_string:
        TR_TRY(read_text(r, &it));
        *content = (tr_bytes){it.data, it.size};
        return TR_OK;
    case TR_KIND_bytes:
    case TR_KIND_buffer:
        TR_TRY(read_item(r, BYTES, &it));
        *content = (tr_bytes){it.data, it.size};
        return TR_OK;
    case TR_KIND_addr:
        return read_addr(r, at);
    }
    return refuse(r, r->at, "a kind that is known", "another");
}

/* The array's head, which must promise as many as the type has. */
static tr_err read_start(reader *r)
{
    item it;
    TR_TRY(read_item(r, ARRAY, &it));
    if (it.number == r->type->count)
        return TR_OK;
    return tr__fail(r->error, TR_EPROTO,
                    "message %s: %" PRIu64 " fields where its declaration has %" PRIu32
                    "; both sides must declare the type alike",
                    r->type->name, it.number, r->type->count);
}

tr_err tr__cbor_measure(const tr_typeinfo *type, const uint8_t *in, size_t length, size_t *body_size,
                        tr_error *error)
{
    reader r = {.type = type, .in = in, .length = length, .error = error};
    size_t size = type->size;
    TR_TRY(read_start(&r));
    for (r.field = type->fields; r.field->kind != TR_KIND_END; r.field++) {
        union {
            uint64_t number;
            tr_addr address;
        } unused;
        tr_bytes content = {NULL, 0};
        TR_TRY(read_value(&r, &unused, &content));
        if (r.field->kind != TR_KIND_buffer)
            size += content.size + (r.field->kind == TR_KIND_string);
    }
    r.field = NULL;
    if (r.at < length)
        return refuse(&r, r.at, "the end of the message", "more bytes");
    if (size > TR__BODY_MAX)
        return tr__fail(error, TR_ETOOBIG, "message %s: a body of %zu bytes; the limit is %zu", type->name,
                        size, TR__BODY_MAX);
    *body_size = size;
    return TR_OK;
}

/* The bytes of a string or of bytes, behind what is there already: *tail moves on. */
static void place_content(uint32_t kind, const tr_bytes *content, void *at, char **tail)
{
    size_t size = content->size;
    memcpy(*tail, content->data, size);
    if (kind == TR_KIND_string) {
        *(const char **)at = *tail;
        (*tail)[size++] = '\0';
    } else {
        *(tr_bytes *)at = (tr_bytes){*tail, size};
    }
    *tail += size;
}

bool tr__cbor_decode(const tr_typeinfo *type, const uint8_t *in, size_t length, tr__buffers *account,
                     void *into)
{
    reader r = {.type = type, .in = in, .length = length, .checked = true};
    tr_err failed = read_start(&r);
    char *tail = (char *)into + type->size;
    bool starved = false;
    for (r.field = type->fields; failed == TR_OK && r.field->kind != TR_KIND_END; r.field++) {
        void *at = (char *)into + r.field->offset;
        tr_bytes content = {NULL, 0};
        failed = read_value(&r, at, &content);
        if (r.field->kind == TR_KIND_buffer) {
            const tr_buffer *made = tr__buffer_make(account, content.data, content.size);
            starved |= !made;
            *(const tr_buffer **)at = made ? made : &tr__buffer_empty;
        } else if (content.data) {
            place_content(r.field->kind, &content, at, &tail);
        }
    }
    tr__check(failed == TR_OK, "message %s is decoded without having been measured", type->name);
    if (starved)
        tr__body_release(type, into);
    return !starved;
}
