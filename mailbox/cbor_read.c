/* Messages from CBOR (RFC 8949): what isn't plain (see read_plain()) is read by libcbor's streaming layer, whose decoder
 * calls back with what it was. Pure functions: any thread; only decode() allocates, and that for buffers. They call
 * themselves only as deep as types nest.
 *
 * What is read comes from outside and may be anything. measure() refuses, with TR_EPROTO and the place: fewer fields than
 * are needed, another kind of item, a number out of range, text that isn't UTF-8 or holds a NUL, lengths and counts beyond
 * the input, indefinite lengths, tags, trailing bytes. Accepted beside what encode() writes: integers and lengths that are
 * not in their shortest form, and shorter floats, which other encoders write; and fields behind those that the type has,
 * which a newer version may send: they are skipped.
 *
 * measure_around() and decode_around() are one walk: without a body it is only measured. decode() is for what measure() accepted; anything
 * else is a failed check. read() is for bodies whose size has a bound: it checks and fills in the same walk. */
#include "base/check.h"
#include "base/err.h"
#include "mailbox/cbor_head.h"
#include "mailbox/type.h"
#include "mailbox/utf8.h"

#include <cbor.h>
#include <inttypes.h>
#include <string.h>

/* ---- one item ------------------------------------------------------------------------------------------ */

/* UINT to ARRAY are the first five major types, in their order. */
enum what { NOTHING, UINT, NEGINT, BYTES, TEXT, ARRAY, FLOAT, BOOL, MAP, TAG, NIL, INDEFINITE, BREAK };

static const char *const what_words[] = {
    [NOTHING] = "a value",     [UINT] = "an unsigned integer", [NEGINT] = "a negative integer",
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
    tr__path path;
    const uint8_t *in;
    size_t length, at;
    size_t item_at;                /* where the last item began */
    char *body;                    /* NULL: it is measured */
    bool measured;                 /* it was, so the texts are known to be good */
    size_t used;                   /* of the body, bytes */
    tr__buffers *account;          /* of the buffers that are made */
    bool shared;                   /* buffers come as pointers: from this process */
    bool in_place;                 /* strings and bytes stay where they are */
    bool starved;                  /* there was no memory for one */
    const tr__gap *gap, *gaps_end; /* the next buffer whose bytes are elsewhere */
    tr_error *error;
} reader;

static __attribute__((cold, noinline)) tr_err refuse(const reader *r, size_t at, const char *expected,
                                                     const char *found)
{
    char path[TR__PATH_TEXT];
    return tr__fail(r->error, TR_EPROTO,
                    "%s, byte %zu: expected %s, found %s; the sender may have another declaration",
                    tr__path_text(&r->path, path), at, expected, found);
}

/* An item of that one of the first five major types with a definite length: what is wanted is nearly always there, and then it
 * is read here, in 2 ns where libcbor's way over a callback takes 12. False, with nothing changed, for anything else. */
static inline __attribute__((always_inline)) bool read_plain(reader *r, enum what what, item *it)
{
    const uint8_t *at = r->in + r->at;
    size_t left = r->length - r->at, head = 1;
    if (left == 0 || (at[0] ^ (unsigned)(what - UINT) << 5) > 27)
        return false;
    uint64_t number = at[0] & 31;
    if (number >= 24) {
        size_t size = (size_t)1 << (number - 24);
        head += size;
        if (left < head)
            return false;
        number = tr__cbor_get_number(at + 1, size, left - 1);
    }
    it->what = what;
    it->number = number;
    if (what == BYTES || what == TEXT) {
        if (number > left - head)
            return false;
        it->data = at + head;
        it->size = (size_t)number;
        head += it->size;
    }
    r->at += head;
    return true;
}

/* Whatever is there; what isn't plain is libcbor's, which says what it is, or what is wrong with it. */
static __attribute__((noinline)) tr_err read_any(reader *r, enum what wanted, item *it)
{
    enum what what = r->at < r->length ? UINT + (r->in[r->at] >> 5) : NOTHING;
    if (what >= UINT && what <= ARRAY && read_plain(r, what, it))
        return TR_OK;
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
    if (wanted >= UINT && wanted <= ARRAY && __builtin_expect(read_plain(r, wanted, it), 1))
        return TR_OK;
    TR_TRY(read_any(r, wanted, it));
    if (__builtin_expect(it->what != wanted, 0) && !(wanted == UINT && it->what == NEGINT))
        return refuse(r, r->item_at, what_words[wanted], what_words[it->what]);
    return TR_OK;
}

static inline __attribute__((always_inline)) tr_err read_unsigned(reader *r, uint64_t max, uint64_t *value)
{
    item it;
    TR_TRY(read_item(r, UINT, &it));
    if (it.what != UINT)
        return refuse(r, r->item_at, what_words[UINT], what_words[it.what]);
    if (it.number > max)
        return refuse(r, r->item_at,
                      max == UINT32_MAX   ? "a number below 2^32"
                      : max == UINT16_MAX ? "a number below 2^16"
                                          : "a number below 2^8",
                      "a larger one");
    *value = it.number;
    return TR_OK;
}

/* A value from -1 - max to max. */
static inline __attribute__((always_inline)) tr_err read_signed(reader *r, uint64_t max, int64_t *value)
{
    item it;
    TR_TRY(read_item(r, UINT, &it));
    if (it.number > max)
        return refuse(r, r->item_at,
                      max == INT64_MAX   ? "an integer of 64 bits"
                      : max == INT32_MAX ? "an integer of 32 bits"
                      : max == INT16_MAX ? "an integer of 16 bits"
                                         : "an integer of 8 bits",
                      "one that is out of range");
    *value = it.what == UINT ? (int64_t)it.number : (int64_t)~it.number;
    return TR_OK;
}

static tr_err read_text(reader *r, item *it)
{
    TR_TRY(read_item(r, TEXT, it));
    size_t valid = r->measured || r->shared ? it->size : tr__utf8_valid(it->data, it->size);
    if (valid < it->size)
        return refuse(r, (size_t)(it->data - r->in) + valid, "UTF-8 text",
                      it->data[valid] ? "a byte that isn't" : "a NUL");
    return TR_OK;
}

static tr_err read_addr(reader *r, tr_addr *address)
{
    item it;
    uint64_t node = 0, slot = 0, generation = 0;
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

/* ---- the body ------------------------------------------------------------------------------------------ */

/* Take that much of it; *to says where, and nothing if it is measured. */
static tr_err take(reader *r, size_t size, void **to)
{
    if (size > TR__BODY_MAX || r->used > TR__BODY_MAX - size)
        return tr__fail(r->error, TR_ETOOBIG, "message %s: a body of more than %zu bytes, which is the limit",
                        r->path.type->name, TR__BODY_MAX);
    if (r->body)
        *to = r->body + r->used;
    r->used += size;
    return TR_OK;
}

static tr_err read_string(reader *r, const char **into)
{
    item it;
    void *to;
    TR_TRY(read_text(r, &it));
    if (__builtin_expect(r->in_place,
                         0)) { /* its NUL stands where it ended: the head in front of it was read */
        char *text = (char *)(uintptr_t)it.data - 1;
        *into = memmove(text, it.data, it.size);
        text[it.size] = '\0';
        return TR_OK;
    }
    TR_TRY(take(r, it.size + 1, &to));
    if (r->body) {
        *into = memcpy(to, it.data, it.size);
        ((char *)to)[it.size] = '\0';
    }
    return TR_OK;
}

static tr_err read_bytes(reader *r, tr_bytes *into)
{
    item it;
    void *to;
    TR_TRY(read_item(r, BYTES, &it));
    if (__builtin_expect(r->in_place, 0)) {
        *into = (tr_bytes){it.data, it.size};
        return TR_OK;
    }
    TR_TRY(take(r, it.size, &to));
    if (r->body)
        *into = (tr_bytes){memcpy(to, it.data, it.size), it.size};
    return TR_OK;
}

static void read_gap(reader *r, const tr_buffer **into)
{
    r->at = r->gap->behind;
    if (r->body) {
        tr__buffer_hold(r->gap->buffer);
        *into = r->gap->buffer;
    }
    r->gap++;
}

static tr_err read_buffer(reader *r, const tr_buffer **into)
{
    item it;
    if (__builtin_expect(r->gap < r->gaps_end, 0) && r->gap->at == r->at) {
        read_gap(r, into);
        return TR_OK;
    }
    TR_TRY(read_item(r, BYTES, &it));
    if (!r->body)
        return TR_OK;
    if (r->shared) {
        memcpy(into, it.data, sizeof(*into));
        tr__buffer_hold(*into);
        return TR_OK;
    }
    const tr_buffer *made = tr__buffer_make(r->account, it.data, it.size);
    r->starved |= !made;
    *into = made ? made : &tr__buffer_empty;
    return TR_OK;
}

static tr_err read_struct(reader *r, const tr_typeinfo *type, void *into);

/* Read a value of that kind into `at`, which has room for it; while it is measured it is of no use. */
static inline __attribute__((always_inline)) tr_err read_value(reader *r, const tr__field *field, void *at)
{
    item it;
    uint64_t number = 0;
    int64_t integer = 0;
    switch (field->kind) {
    case TR_KIND_bool:
        TR_TRY(read_item(r, BOOL, &it));
        *(bool *)at = it.number != 0;
        return TR_OK;
    case TR_KIND_i8:
    case TR_KIND_i16:
    case TR_KIND_i32:
    case TR_KIND_i64:
        TR_TRY(read_signed(r, tr__kind_max(field->kind), &integer));
        tr__store_integer(field->kind, at, (uint64_t)integer);
        return TR_OK;
    case TR_KIND_u8:
    case TR_KIND_u16:
    case TR_KIND_u32:
    case TR_KIND_u64:
        TR_TRY(read_unsigned(r, tr__kind_max(field->kind), &number));
        tr__store_integer(field->kind, at, number);
        return TR_OK;
    case TR_KIND_f32:
        TR_TRY(read_item(r, FLOAT, &it));
        *(float *)at = (float)it.real;
        return TR_OK;
    case TR_KIND_f64:
        TR_TRY(read_item(r, FLOAT, &it));
        *(double *)at = it.real;
        return TR_OK;
    case TR_KIND_string:
        return read_string(r, at);
    case TR_KIND_bytes:
        return read_bytes(r, at);
    case TR_KIND_buffer:
        return read_buffer(r, at);
    case TR_KIND_addr:
        return read_addr(r, at);
    case TR_KIND_nested:
        return read_struct(r, field->of, at);
    }
    return refuse(r, r->at, "a kind that is known", "another");
}

/* While a body is measured, values of a few bytes go here. */
typedef union unused {
    uint64_t number;
    tr_addr address;
    tr__list list;
} unused;

static tr_err read_list(reader *r, const tr__field *field, tr__list *into)
{
    item it;
    void *to = NULL;
    unused nowhere;
    size_t bytes;
    TR_TRY(read_item(r, ARRAY, &it));
    if (it.number > r->length - r->at) /* an element takes a byte at least */
        return refuse(r, r->item_at, "a list", "one longer than the message");
    r->used = tr__align8(r->used);
    if (__builtin_mul_overflow(it.number, field->size, &bytes))
        bytes = SIZE_MAX;
    TR_TRY(take(r, bytes, &to));
    if (r->body)
        *into = (tr__list){to, (size_t)it.number};
    for (size_t i = 0; i < it.number; i++) {
        r->path.at[r->path.depth - 1].index = i;
        TR_TRY(read_value(r, field, r->body ? (char *)to + i * field->size : (void *)&nowhere));
    }
    return TR_OK;
}

/* An item that we have no field for: of a newer version. However it nests, each item in it takes a byte at least. */
static tr_err skip_item(reader *r)
{
    for (uint64_t left = 1; left > 0; left--) {
        item it = {.what = NOTHING};
        r->item_at = r->at;
        TR_TRY(read_any(r, NOTHING, &it));
        if (it.what == INDEFINITE || it.what == BREAK || it.what == TAG || it.what == MAP)
            return refuse(r, r->item_at, "a value", what_words[it.what]);
        if (it.what != ARRAY)
            continue;
        if (it.number > r->length - r->at)
            return refuse(r, r->item_at, "a list", "one longer than the message");
        left += it.number;
    }
    return TR_OK;
}

/* Is the next item, of an optional field, null? Then it is read. */
static bool read_absent(reader *r)
{
    if (r->at == r->length || r->in[r->at] != 0xf6)
        return false;
    r->at++;
    return true;
}

/* An optional one, or a list. */
static tr_err read_field(reader *r, const tr__field *field, void *struct_at, bool missing)
{
    unused nowhere;
    void *at = r->body ? (char *)struct_at + field->offset : (void *)&nowhere;
    bool present = !missing && !(field->optional && read_absent(r));
    if (field->optional && r->body)
        *((bool *)struct_at + field->present) = present;
    if (!present) {
        if (r->body)
            tr__value_clear(field, at);
        return TR_OK;
    }
    if (!field->list)
        return read_value(r, field, at);
    TR_TRY(read_list(r, field, at));
    r->path.at[r->path.depth - 1].index = SIZE_MAX;
    return TR_OK;
}

/* Its fields by position, from an array that has the needed ones, and may have fewer or more of the optional ones. `into` is
 * the struct, if there is a body. */
static tr_err read_struct(reader *r, const tr_typeinfo *type, void *into)
{
    item it;
    TR_TRY(read_item(r, ARRAY, &it));
    if (it.number < type->needed) {
        char path[TR__PATH_TEXT];
        return tr__fail(r->error, TR_EPROTO,
                        "%s: %" PRIu64 " fields where its declaration has %" PRIu32
                        "; both sides must declare the type alike",
                        tr__path_text(&r->path, path), it.number, type->needed);
    }
    uint32_t depth = r->path.depth++;
    unused nowhere;
    r->path.at[depth].index = SIZE_MAX;
    for (uint32_t i = 0; i < type->count; i++) {
        const tr__field *field = &type->fields[i];
        r->path.at[depth].field = field;
        if (__builtin_expect(field->plain, 1)) /* it is needed, so it is there */
            TR_TRY(read_value(r, field, r->body ? (char *)into + field->offset : (void *)&nowhere));
        else
            TR_TRY(read_field(r, field, into, i >= it.number));
    }
    r->path.depth = depth;
    for (uint64_t i = type->count; i < it.number; i++)
        TR_TRY(skip_item(r));
    return TR_OK;
}

/* ---- both steps ---------------------------------------------------------------------------------------- */

/* The path is left as it is: it is long, and only what is within its depth counts. */
static inline void start(reader *r, const tr_typeinfo *type, const uint8_t *in, size_t length)
{
    r->path.type = type;
    r->path.depth = 0;
    r->in = in;
    r->length = length;
    r->at = r->item_at = 0;
    r->body = NULL;
    r->account = NULL;
    r->measured = r->shared = r->in_place = r->starved = false;
    r->gap = r->gaps_end = NULL;
    r->error = NULL;
}

/* Into r->body, if there is one. */
static tr_err walk(reader *r, size_t *body_size)
{
    r->used = r->path.type->size;
    TR_TRY(read_struct(r, r->path.type, r->body));
    if (r->at < r->length || r->gap < r->gaps_end)
        return refuse(r, r->at, "the end of the message", "more bytes");
    *body_size = r->used;
    return TR_OK;
}

static bool decode(reader *r)
{
    r->measured = true;
    r->used = r->path.type->size;
    tr_err failed = read_struct(r, r->path.type, r->body);
    tr__check(failed == TR_OK, "message %s is decoded without having been measured", r->path.type->name);
    if (r->starved)
        tr__body_release(r->path.type, r->body);
    return !r->starved;
}

static void around(reader *r, const tr__gap *gaps, uint32_t count)
{
    if (count) {
        r->gap = gaps;
        r->gaps_end = gaps + count;
    }
}

tr_err tr__cbor_measure_around(const tr_typeinfo *type, const uint8_t *in, size_t length, const tr__gap *gaps,
                               uint32_t count, size_t *body_size, tr_error *error)
{
    reader r;
    start(&r, type, in, length);
    around(&r, gaps, count);
    r.error = error;
    return walk(&r, body_size);
}

bool tr__cbor_decode_around(const tr_typeinfo *type, const uint8_t *in, size_t length, const tr__gap *gaps,
                            uint32_t count, tr__buffers *account, void *into)
{
    reader r;
    start(&r, type, in, length);
    around(&r, gaps, count);
    r.body = into;
    r.account = account;
    return decode(&r);
}

tr_err tr__cbor_read(const tr_typeinfo *type, const uint8_t *in, size_t length, void *into, size_t *body_size,
                     tr_error *error)
{
    tr__check(type->heads, "message %s has no bound", type->name);
    reader r;
    start(&r, type, in, length);
    r.body = into;
    r.error = error;
    return walk(&r, body_size);
}

bool tr__cbor_has_place(const tr_typeinfo *type)
{
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++)
        if (field->list || field->kind == TR_KIND_buffer ||
            (field->kind == TR_KIND_nested && !tr__cbor_has_place(field->of)))
            return false;
    return true;
}

void tr__cbor_decode_in_place(const tr_typeinfo *type, uint8_t *in, size_t length, void *into)
{
    reader r;
    start(&r, type, in, length);
    r.body = into;
    r.in_place = true;
    decode(&r);
}

tr_err tr__cbor_measure_shared(const tr_typeinfo *type, const uint8_t *in, size_t length, size_t *body_size)
{
    reader r;
    start(&r, type, in, length);
    r.shared = true;
    return walk(&r, body_size);
}

void tr__cbor_decode_shared(const tr_typeinfo *type, const uint8_t *in, size_t length, void *into)
{
    reader r;
    start(&r, type, in, length);
    r.shared = true;
    r.body = into;
    decode(&r);
}
