/* Messages as JSON, by jansson; bytes as base64, by libsodium. Any thread. The memory is tr__alloc's,
 * jansson's too.
 *
 * JSON has no NaN and no infinity, and jansson's integers end at INT64_MAX: the former are the strings "NaN",
 * "Infinity" and "-Infinity", a larger u64 is a string of its digits, as in protobuf's JSON. Text that isn't
 * UTF-8 is printed with U+FFFD in place of what is wrong, since JSON is for people and tools that want to see
 * the message.
 *
 * What can fail: encoding when memory runs out (NULL). Decoding: text that isn't JSON, or isn't of the type
 * (TR_EINVAL with line and column, or the field), a body beyond TR__BODY_MAX (TR_ETOOBIG), memory
 * (TR_ENOMEM). */
#include "mailbox/json.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/spin.h"
#include "mailbox/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BASE64 sodium_base64_VARIANT_ORIGINAL

/* Has an allocation of jansson's failed? It (2.14) reports some of them as errors in the text, and others not
 * at all: when its buffer can't grow, the parser loses characters of a string and the printer a key. */
static _Thread_local bool starved;

static void *allocate(size_t size)
{
    void *block = tr__alloc(size);
    starved |= !block;
    return block;
}

/* Before each use of jansson. Its setting is the process's; tr__free() frees what malloc() gave, so a
 * program's own use of jansson isn't hurt. */
void tr__json_prepare(void)
{
    static tr__spin lock = TR__SPIN_INIT;
    static atomic_bool prepared; /* acquire and release: who finds it true finds the setting made */
    if (atomic_load_explicit(&prepared, memory_order_acquire))
        return;
    tr__spin_lock(&lock);
    if (!atomic_load_explicit(&prepared, memory_order_relaxed))
        json_set_alloc_funcs(allocate, tr__free);
    atomic_store_explicit(&prepared, true, memory_order_release);
    tr__spin_unlock(&lock);
}

/* ---- encoding ------------------------------------------------------------------------------------------ */

/* U+FFFD for each byte that doesn't belong. */
static json_t *repaired_text(const char *text, size_t size)
{
    char *whole = tr__alloc(size * 3 + 1);
    if (!whole)
        return NULL;
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        size_t valid = tr__utf8_valid(text + at, size - at);
        memcpy(whole + used, text + at, valid);
        at += valid;
        used += valid;
        if (at < size) {
            memcpy(whole + used, "\xef\xbf\xbd", 3);
            at++;
            used += 3;
        }
    }
    json_t *value = json_stringn(whole, used);
    tr__free(whole);
    return value;
}

static json_t *from_text(const char *text)
{
    size_t size = text ? strlen(text) : 0;
    if (tr__utf8_valid(text, size) < size)
        return repaired_text(text, size);
    return json_stringn_nocheck(text ? text : "", size);
}

static json_t *from_bytes(const tr_bytes *bytes)
{
    if (bytes->size > TR__BODY_MAX)
        return NULL;
    size_t room = sodium_base64_encoded_len(bytes->size, BASE64);
    char *text = tr__alloc(room);
    if (!text)
        return NULL;
    sodium_bin2base64(text, room, bytes->data, bytes->size, BASE64);
    json_t *value = json_string_nocheck(text);
    tr__free(text);
    return value;
}

static json_t *from_u64(uint64_t number)
{
    char digits[24];
    if (number <= INT64_MAX)
        return json_integer((json_int_t)number);
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    return json_string_nocheck(digits);
}

static json_t *from_f64(double number)
{
    if (isfinite(number))
        return json_real(number);
    return json_string_nocheck(isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
}

static json_t *from_addr(tr_addr address)
{
    char text[TR_ADDR_TEXT_MAX];
    tr__addr_format(address, text);
    return json_string_nocheck(text);
}

static json_t *from_field(uint32_t kind, const void *at)
{
    switch (kind) {
    case TR_KIND_bool:
        return json_boolean(*(const uint8_t *)at != 0);
    case TR_KIND_i32:
        return json_integer(*(const int32_t *)at);
    case TR_KIND_i64:
        return json_integer(*(const int64_t *)at);
    case TR_KIND_u32:
        return json_integer(*(const uint32_t *)at);
    case TR_KIND_u64:
        return from_u64(*(const uint64_t *)at);
    case TR_KIND_f64:
        return from_f64(*(const double *)at);
    case TR_KIND_string:
        return from_text(*(const char *const *)at);
    case TR_KIND_bytes:
        return from_bytes(at);
    case TR_KIND_buffer: {
        const tr_buffer *buffer = *(const tr_buffer *const *)at;
        return from_bytes(&(tr_bytes){buffer ? buffer->data : NULL, buffer ? buffer->size : 0});
    }
    case TR_KIND_addr:
        return from_addr(*(const tr_addr *)at);
    }
    return NULL;
}

json_t *tr__json_make(const tr_typeinfo *type, const void *body)
{
    tr__json_prepare();
    starved = false;
    json_t *object = json_object();
    if (!object)
        return NULL;
    for (const tr_field *field = type->fields; field->kind != TR_KIND_END; field++) {
        json_t *value = from_field(field->kind, (const char *)body + field->offset);
        if (json_object_set_new_nocheck(object, field->name, value) != 0) { /* of NULL too */
            json_decref(object);
            return NULL;
        }
    }
    if (starved) {
        json_decref(object);
        return NULL;
    }
    return object;
}

char *tr__json_text(const json_t *value)
{
    starved = false;
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    if (text && starved) {
        tr__free(text);
        text = NULL;
    }
    return text;
}

char *tr__json_encode(const tr_typeinfo *type, const void *body)
{
    json_t *object = tr__json_make(type, body);
    char *text = tr__json_text(object);
    json_decref(object);
    return text;
}

/* ---- decoding ------------------------------------------------------------------------------------------ */

typedef struct reader {
    const tr_typeinfo *type;
    const tr_field *field;
    tr__buffers *account; /* of the buffers that are made */
    tr_error *error;
} reader;

static const char *value_word(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    case JSON_NULL:
        break;
    }
    return "null";
}

static tr_err refuse(const reader *r, const char *expected, const char *found)
{
    return tr__fail(r->error, TR_EINVAL, "message %s, field %s (%s): expected %s, found %s", r->type->name,
                    r->field->name, tr__kind_word(r->field->kind), expected, found);
}

static tr_err read_integer(reader *r, const json_t *value, int64_t min, int64_t max, int64_t *number)
{
    char expected[80];
    if (json_is_integer(value) && json_integer_value(value) >= min && json_integer_value(value) <= max) {
        *number = json_integer_value(value);
        return TR_OK;
    }
    snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, min, max);
    return refuse(r, expected, json_is_integer(value) ? "one out of range" : value_word(value));
}

/* An integer, or a string of nothing but digits, without a leading zero. */
static tr_err read_u64(reader *r, const json_t *value, uint64_t *number)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *number = (uint64_t)json_integer_value(value);
        return TR_OK;
    }
    const char *digits = json_string_value(value);
    uint64_t sum = 0;
    bool good = digits && *digits && (digits[0] != '0' || digits[1] == '\0');
    for (; good && *digits; digits++) {
        uint64_t digit = (uint64_t)(*digits - '0');
        good = *digits >= '0' && *digits <= '9' && !__builtin_mul_overflow(sum, 10, &sum) &&
               !__builtin_add_overflow(sum, digit, &sum);
    }
    if (!good)
        return refuse(r, "an integer from 0 to 18446744073709551615, above 9223372036854775807 as a string",
                      json_is_integer(value) ? "one below 0" : value_word(value));
    *number = sum;
    return TR_OK;
}

static tr_err read_f64(reader *r, const json_t *value, double *number)
{
    const char *text = json_string_value(value);
    if (json_is_number(value))
        *number = json_number_value(value);
    else if (text && strcmp(text, "NaN") == 0)
        *number = (double)NAN;
    else if (text && strcmp(text, "Infinity") == 0)
        *number = (double)INFINITY;
    else if (text && strcmp(text, "-Infinity") == 0)
        *number = -(double)INFINITY;
    else
        return refuse(r, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"", value_word(value));
    return TR_OK;
}

static tr_err read_addr(reader *r, const json_t *value, tr_addr *address)
{
    if (!json_is_string(value))
        return refuse(r, "an address as a string", value_word(value));
    if (tr__addr_parse(json_string_value(value), address, NULL) != TR_OK)
        return refuse(r, "an address like <a1f3c09e12345678.12.7>", "another string");
    return TR_OK;
}

static tr_err read_scalar(reader *r, const json_t *value, void *at)
{
    int64_t number = 0;
    switch (r->field->kind) {
    case TR_KIND_bool:
        if (!json_is_boolean(value))
            return refuse(r, "true or false", value_word(value));
        *(bool *)at = json_is_true(value);
        return TR_OK;
    case TR_KIND_i32:
        TR_TRY(read_integer(r, value, INT32_MIN, INT32_MAX, &number));
        *(int32_t *)at = (int32_t)number;
        return TR_OK;
    case TR_KIND_i64:
        return read_integer(r, value, INT64_MIN, INT64_MAX, at);
    case TR_KIND_u32:
        TR_TRY(read_integer(r, value, 0, UINT32_MAX, &number));
        *(uint32_t *)at = (uint32_t)number;
        return TR_OK;
    case TR_KIND_u64:
        return read_u64(r, value, at);
    case TR_KIND_f64:
        return read_f64(r, value, at);
    case TR_KIND_addr:
        return read_addr(r, value, at);
    }
    return refuse(r, "a kind that is known", "another");
}

/* A string or bytes, behind what is there already: *tail moves on. `value` may be NULL: missing. */
static tr_err read_content(reader *r, const json_t *value, void *at, char **tail)
{
    size_t bytes_size;
    if (value && !json_is_string(value))
        return refuse(r, r->field->kind == TR_KIND_string ? "a string" : "a string of base64",
                      value_word(value));
    const char *text = value ? json_string_value(value) : "";
    size_t size = value ? json_string_length(value) : 0;
    if (r->field->kind == TR_KIND_string) {
        *(char **)at = memcpy(*tail, text, size + 1);
        *tail += size + 1;
        return TR_OK;
    }
    if (sodium_base642bin((unsigned char *)*tail, size, text, size, NULL, &bytes_size, NULL, BASE64) != 0)
        return refuse(r, "base64 with its padding", "a string that isn't");
    if (r->field->kind == TR_KIND_buffer) { /* its bytes were there for a moment only */
        const tr_buffer *made = tr__buffer_make(r->account, *tail, bytes_size);
        *(const tr_buffer **)at = made;
        return made ? TR_OK
                    : tr__fail(r->error, TR_ENOMEM, "message %s, field %s: no memory for %zu bytes",
                               r->type->name, r->field->name, bytes_size);
    }
    *(tr_bytes *)at = (tr_bytes){*tail, bytes_size};
    *tail += bytes_size;
    return TR_OK;
}

/* Every name is a field's, and how much room strings and bytes need at most. */
static tr_err check_names(reader *r, json_t *object, size_t *room)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        const tr_field *field = r->type->fields;
        while (field->kind != TR_KIND_END && strcmp(field->name, name) != 0)
            field++;
        if (field->kind == TR_KIND_END)
            return tr__fail(r->error, TR_EINVAL, "message %s has no field '%.60s'", r->type->name, name);
        if (json_is_string(value))
            *room += json_string_length(value);
    }
    if (*room > TR__BODY_MAX)
        return tr__fail(r->error, TR_ETOOBIG, "message %s: a body of up to %zu bytes; the limit is %zu",
                        r->type->name, *room, TR__BODY_MAX);
    return TR_OK;
}

static tr_err decode_object(reader *r, json_t *object, void **body, size_t *body_size)
{
    size_t room = r->type->size + r->type->inline_count; /* each NUL */
    TR_TRY(check_names(r, object, &room));
    char *block = tr__zalloc(room);
    if (!block)
        return tr__fail(r->error, TR_ENOMEM, "message %s: no memory for a body of %zu bytes", r->type->name,
                        room);
    char *tail = block + r->type->size;
    tr_err failed = TR_OK;
    for (r->field = r->type->fields; failed == TR_OK && r->field->kind != TR_KIND_END; r->field++) {
        const json_t *value = json_object_get(object, r->field->name);
        void *at = block + r->field->offset;
        if (r->field->kind == TR_KIND_string || r->field->kind == TR_KIND_bytes ||
            r->field->kind == TR_KIND_buffer)
            failed = read_content(r, value, at, &tail);
        else if (value)
            failed = read_scalar(r, value, at);
    }
    if (failed != TR_OK) {
        tr__body_release(r->type, block);
        tr__free(block);
        return failed;
    }
    *body = block;
    *body_size = (size_t)(tail - block);
    return TR_OK;
}

tr_err tr__json_read(const tr_typeinfo *type, json_t *value, tr__buffers *account, void **body,
                     size_t *body_size, tr_error *error)
{
    reader r = {.type = type, .account = account, .error = error};
    if (!json_is_object(value))
        return tr__fail(error, TR_EINVAL, "message %s: expected an object, found %s", type->name,
                        value_word(value));
    return decode_object(&r, value, body, body_size);
}

tr_err tr__json_decode(const tr_typeinfo *type, const char *text, tr__buffers *account, void **body,
                       size_t *body_size, tr_error *error)
{
    json_error_t wrong;
    tr__json_prepare();
    starved = false;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);
    if (starved) {
        json_decref(object);
        return tr__fail(error, TR_ENOMEM, "message %s: no memory to read its JSON", type->name);
    }
    if (!object)
        return tr__fail(error, TR_EINVAL, "message %s: not JSON at line %d, column %d: %s", type->name,
                        wrong.line, wrong.column, wrong.text);
    tr_err failed = tr__json_read(type, object, account, body, body_size, error);
    json_decref(object);
    return failed;
}
