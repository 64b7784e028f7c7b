/* Messages to CBOR (RFC 8949). Integers and heads are written here, the rest by libcbor's streaming layer. Pure functions: any
 * thread; nothing here allocates. They call themselves only as deep as types nest.
 *
 * What can fail: the room is too little (0). */
#include "mailbox/cbor_head.h"
#include "mailbox/type.h"

#include <cbor.h>
#include <string.h>

/* ---- how much ------------------------------------------------------------------------------------------ */

static size_t bound_struct(const tr_typeinfo *type, const void *body);

/* Of what stands behind a head. */
static size_t bound_content(const tr__field *field, const void *value)
{
    switch (field->kind) {
    case TR_KIND_string:
        return *(const char *const *)value ? strlen(*(const char *const *)value) : 0;
    case TR_KIND_bytes:
        return ((const tr_bytes *)value)->size;
    case TR_KIND_buffer:
        return *(const tr_buffer *const *)value ? (*(const tr_buffer *const *)value)->size : 0;
    case TR_KIND_addr:
        return 3 * TR__CBOR_HEAD;
    case TR_KIND_nested:
        return bound_struct(field->of, value);
    default:
        return 0;
    }
}

static size_t bound_struct(const tr_typeinfo *type, const void *body)
{
    size_t bound = TR__CBOR_HEAD;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *value = (const char *)body + field->offset;
        const tr__list *list = value;
        bound += TR__CBOR_HEAD;
        if (!tr__field_present(field, body))
            continue;
        if (!field->list)
            bound += bound_content(field, value);
        else
            for (size_t i = 0; i < list->count; i++)
                bound += TR__CBOR_HEAD + bound_content(field, (const char *)list->data + i * field->size);
    }
    return bound;
}

size_t tr__cbor_bound(const tr_typeinfo *type, const void *body)
{
    return bound_struct(type, body);
}

/* ---- values -------------------------------------------------------------------------------------------- */

enum major { MAJOR_UINT = 0, MAJOR_NEGINT = 1, MAJOR_BYTES = 2, MAJOR_TEXT = 3, MAJOR_ARRAY = 4 };

/* A head of three, five or nine bytes; 0: there is less room. */
static __attribute__((noinline)) size_t long_head(enum major major, uint64_t value, uint8_t *out, size_t room)
{
    size_t size = value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
    if (room < 1 + size)
        return 0;
    out[0] = (uint8_t)(major << 5 | (size == 2 ? 25 : size == 4 ? 26 : 27));
    tr__cbor_put_number(out + 1, value, size);
    return 1 + size;
}

static inline __attribute__((always_inline)) size_t head(enum major major, uint64_t value, uint8_t *out,
                                                         size_t room)
{
    if (value < 24 && room >= 1) {
        out[0] = (uint8_t)(major << 5 | value);
        return 1;
    }
    if (value < 256 && room >= 2) {
        out[0] = (uint8_t)(major << 5 | 24);
        out[1] = (uint8_t)value;
        return 2;
    }
    return long_head(major, value, out, room);
}

static inline size_t encode_int(int64_t value, uint8_t *out, size_t room)
{
    return value >= 0 ? head(MAJOR_UINT, (uint64_t)value, out, room)
                      : head(MAJOR_NEGINT, ~(uint64_t)value, out, room); /* CBOR has -1 - n */
}

/* The content behind a head of `before` bytes, which is 0 if there was no room for it. */
static size_t encode_content(size_t before, const void *data, size_t size, uint8_t *out, size_t room)
{
    if (before == 0 || room - before < size)
        return 0;
    if (size > 0)
        memcpy(out + before, data, size);
    return before + size;
}

/* No address has one form, whatever a caller left in its node and slot. */
static size_t encode_addr(tr_addr address, uint8_t *out, size_t room)
{
    const uint64_t parts[3] = {address.node, address.slot, address.generation};
    size_t used = head(MAJOR_ARRAY, 3, out, room);
    for (int i = 0; i < 3; i++) {
        size_t part = head(MAJOR_UINT, tr_addr_is_none(address) ? 0 : parts[i], out + used, room - used);
        if (part == 0)
            return 0;
        used += part;
    }
    return used;
}

static size_t encode_text(const char *text, uint8_t *out, size_t room)
{
    size_t size = text ? strlen(text) : 0;
    return encode_content(head(MAJOR_TEXT, size, out, room), text, size, out, room);
}

static size_t encode_bytes(const void *data, size_t size, uint8_t *out, size_t room)
{
    return encode_content(head(MAJOR_BYTES, size, out, room), data, size, out, room);
}

static size_t encode_struct(const tr_typeinfo *type, const void *body, bool shared, uint8_t *out,
                            size_t room);

static inline __attribute__((always_inline)) size_t encode_value(const tr__field *field, const void *at,
                                                                 bool shared, uint8_t *out, size_t room)
{
    switch (field->kind) {
    case TR_KIND_bool:
        return cbor_encode_bool(*(const uint8_t *)at != 0, out, room);
    case TR_KIND_i8:
    case TR_KIND_i16:
    case TR_KIND_i32:
    case TR_KIND_i64:
        return encode_int(tr__load_signed(field->kind, at), out, room);
    case TR_KIND_u8:
    case TR_KIND_u16:
    case TR_KIND_u32:
    case TR_KIND_u64:
        return head(MAJOR_UINT, tr__load_unsigned(field->kind, at), out, room);
    case TR_KIND_f32:
        return cbor_encode_single(*(const float *)at, out, room);
    case TR_KIND_f64:
        return cbor_encode_double(*(const double *)at, out, room);
    case TR_KIND_string:
        return encode_text(*(const char *const *)at, out, room);
    case TR_KIND_bytes:
        return encode_bytes(((const tr_bytes *)at)->data, ((const tr_bytes *)at)->size, out, room);
    case TR_KIND_buffer: {
        const tr_buffer *buffer = *(const tr_buffer *const *)at;
        buffer = buffer ? buffer : &tr__buffer_empty;
        return shared ? encode_bytes(&buffer, sizeof(buffer), out, room)
                      : encode_bytes(buffer->data, buffer->size, out, room);
    }
    case TR_KIND_addr:
        return encode_addr(*(const tr_addr *)at, out, room);
    case TR_KIND_nested:
        return encode_struct(field->of, at, shared, out, room);
    }
    return 0;
}

/* ---- lists and structs --------------------------------------------------------------------------------- */

static size_t encode_list(const tr__field *field, const tr__list *list, bool shared, uint8_t *out,
                          size_t room)
{
    size_t used = head(MAJOR_ARRAY, list->count, out, room);
    for (size_t i = 0; used && i < list->count; i++) {
        const void *at = (const char *)list->data + i * field->size;
        size_t part = encode_value(field, at, shared, out + used, room - used);
        if (part == 0)
            return 0;
        used += part;
    }
    return used;
}

/* What is absent at the end isn't written: so it is the same for those who know of it and those who don't. */
static inline uint32_t written(const tr_typeinfo *type, const void *body)
{
    uint32_t count = type->count;
    while (count > type->needed && !tr__field_present(&type->fields[count - 1], body))
        count--;
    return count;
}

static size_t encode_field(const tr__field *field, const void *body, bool shared, uint8_t *out, size_t room)
{
    const void *at = (const char *)body + field->offset;
    if (!tr__field_present(field, body))
        return cbor_encode_null(out, room);
    return field->list ? encode_list(field, at, shared, out, room)
                       : encode_value(field, at, shared, out, room);
}

static size_t encode_struct(const tr_typeinfo *type, const void *body, bool shared, uint8_t *out, size_t room)
{
    const tr__field *field = type->fields, *end = field + written(type, body);
    size_t used = head(MAJOR_ARRAY, (size_t)(end - field), out, room);
    if (used == 0)
        return 0;
    for (; field < end; field++) {
        size_t part =
            __builtin_expect(field->plain, 1)
                ? encode_value(field, (const char *)body + field->offset, shared, out + used, room - used)
                : encode_field(field, body, shared, out + used, room - used);
        if (part == 0)
            return 0;
        used += part;
    }
    return used;
}

size_t tr__cbor_encode(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room)
{
    return encode_struct(type, body, false, out, room);
}

size_t tr__cbor_encode_shared(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room)
{
    return encode_struct(type, body, true, out, room);
}

/* ---- around large parts -------------------------------------------------------------------------------- */

/* What stands behind the head of a field; NULL: it is no hole. */
static const void *content_of(const tr__field *field, const void *at, bool all, size_t *size,
                              const tr_buffer **buffer)
{
    *buffer = NULL;
    if (field->kind == TR_KIND_buffer) {
        *buffer = *(const tr_buffer *const *)at;
        *size = *buffer ? (*buffer)->size : 0;
        return *buffer ? (*buffer)->data : NULL;
    }
    if (field->kind == TR_KIND_bytes && all) {
        *size = ((const tr_bytes *)at)->size;
        return ((const tr_bytes *)at)->data;
    }
    if (field->kind == TR_KIND_string && all) {
        const char *text = *(const char *const *)at;
        *size = text ? strlen(text) : 0;
        return text;
    }
    return NULL;
}

uint32_t tr__cbor_holes(const tr_typeinfo *type, const void *body, bool all, tr__hole *holes, uint32_t most)
{
    uint32_t count = 0;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END && count < most; field++) {
        if (!field->plain)
            continue;
        tr__hole hole = {.field = field};
        hole.data = content_of(field, (const char *)body + field->offset, all, &hole.size, &hole.buffer);
        if (hole.data && hole.size >= TR__HOLE_MIN)
            holes[count++] = hole;
    }
    return count;
}

size_t tr__cbor_encode_around(const tr_typeinfo *type, const void *body, uint8_t *out, size_t room,
                              tr__hole *holes, uint32_t count)
{
    const tr__field *field = type->fields, *end = field + written(type, body);
    size_t used = cbor_encode_array_start((size_t)(end - field), out, room);
    for (uint32_t next = 0; used && field < end; field++) {
        bool is_hole = next < count && holes[next].field == field;
        size_t part = !is_hole ? encode_field(field, body, false, out + used, room - used)
                      : field->kind == TR_KIND_string
                          ? cbor_encode_string_start(holes[next].size, out + used, room - used)
                          : cbor_encode_bytestring_start(holes[next].size, out + used, room - used);
        if (part == 0)
            return 0;
        used += part;
        if (is_hole)
            holes[next++].at = used;
    }
    return used;
}
