/* Messages from JSON, by jansson; bytes from base64, by libsodium. Any thread. The memory is tr__alloc's, jansson's too.
 *
 * Two walks, which are one function each: the first, without a body, checks and measures; the second fills the body, and can
 * fail only for base64 and for memory. They call themselves only as deep as types nest.
 *
 * What can fail: text that isn't JSON, or isn't of the type (TR_EINVAL with line and column, or with the field by its path),
 * a body beyond TR__BODY_MAX (TR_ETOOBIG), memory (TR_ENOMEM). */
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    tr__path path;
    char *body;           /* NULL: it is measured */
    size_t used;          /* of it, bytes */
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
    char path[TR__PATH_TEXT];
    return tr__fail(r->error, TR_EINVAL, "%s: expected %s, found %s", tr__path_text(&r->path, path), expected,
                    found);
}

/* ---- numbers and addresses ----------------------------------------------------------------------------- */

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

static tr_err read_real(reader *r, const json_t *value, double *number)
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

static tr_err read_f32(reader *r, const json_t *value, float *number)
{
    double wide = 0;
    TR_TRY(read_real(r, value, &wide));
    if (isfinite(wide) && fabs(wide) > (double)FLT_MAX)
        return refuse(r, "a number that a float holds", "a larger one");
    *number = (float)wide;
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

/* ---- what lies behind the struct ----------------------------------------------------------------------- */

/* Take that much of the body; *to says where, and nothing if it is measured. */
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

static tr_err read_string(reader *r, const json_t *value, const char **into)
{
    void *to;
    if (!json_is_string(value))
        return refuse(r, "a string", value_word(value));
    size_t size = json_string_length(value) + 1;
    TR_TRY(take(r, size, &to));
    if (r->body)
        *into = memcpy(to, json_string_value(value), size);
    return TR_OK;
}

/* How many bytes a text of base64 stands for, if it is one. */
static size_t base64_size(const json_t *value)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value), size = length / 4 * 3;
    for (size_t i = 0; i < 2 && length > i && text[length - 1 - i] == '='; i++)
        size -= size > 0;
    return size;
}

static tr_err read_base64(reader *r, const json_t *value, void *to, size_t size)
{
    size_t got = 0;
    const char *text = json_string_value(value);
    if (sodium_base642bin(to, size, text, json_string_length(value), NULL, &got, NULL, TR__JSON_BASE64) !=
            0 ||
        got != size)
        return refuse(r, "base64 with its padding", "a string that isn't");
    return TR_OK;
}

static tr_err read_bytes(reader *r, const json_t *value, tr_bytes *into)
{
    void *to;
    if (!json_is_string(value))
        return refuse(r, "a string of base64", value_word(value));
    size_t size = base64_size(value);
    TR_TRY(take(r, size, &to));
    if (!r->body)
        return TR_OK;
    *into = (tr_bytes){to, size};
    return read_base64(r, value, to, size);
}

static tr_err read_buffer(reader *r, const json_t *value, const tr_buffer **into)
{
    if (!json_is_string(value))
        return refuse(r, "a string of base64", value_word(value));
    if (!r->body)
        return TR_OK;
    size_t size = base64_size(value);
    unsigned char *bytes = tr__alloc(size);
    tr_err failed = bytes ? read_base64(r, value, bytes, size) : TR_ENOMEM;
    const tr_buffer *made = failed == TR_OK ? tr__buffer_make(r->account, bytes, size) : NULL;
    tr__free(bytes);
    if (made)
        *into = made;
    else if (failed == TR_OK || failed == TR_ENOMEM)
        return tr__fail(r->error, TR_ENOMEM, "message %s: no memory for a buffer of %zu bytes",
                        r->path.type->name, size);
    return failed;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static tr_err read_struct(reader *r, const tr_typeinfo *type, const json_t *object, void *into);

/* Into `at`, which has room for it; while it is measured that is of no use. */
static tr_err read_value(reader *r, const tr__field *field, const json_t *value, void *at)
{
    int64_t number = 0;
    uint64_t max = field->kind <= TR_KIND_u64 ? tr__kind_max(field->kind) : 0;
    switch (field->kind) {
    case TR_KIND_bool:
        if (!json_is_boolean(value))
            return refuse(r, "true or false", value_word(value));
        *(bool *)at = json_is_true(value);
        return TR_OK;
    case TR_KIND_i8:
    case TR_KIND_i16:
    case TR_KIND_i32:
    case TR_KIND_i64:
        TR_TRY(read_integer(r, value, -1 - (int64_t)max, (int64_t)max, &number));
        tr__store_integer(field->kind, at, (uint64_t)number);
        return TR_OK;
    case TR_KIND_u8:
    case TR_KIND_u16:
    case TR_KIND_u32:
        TR_TRY(read_integer(r, value, 0, (int64_t)max, &number));
        tr__store_integer(field->kind, at, (uint64_t)number);
        return TR_OK;
    case TR_KIND_u64:
        return read_u64(r, value, at);
    case TR_KIND_f32:
        return read_f32(r, value, at);
    case TR_KIND_f64:
        return read_real(r, value, at);
    case TR_KIND_string:
        return read_string(r, value, at);
    case TR_KIND_bytes:
        return read_bytes(r, value, at);
    case TR_KIND_buffer:
        return read_buffer(r, value, at);
    case TR_KIND_addr:
        return read_addr(r, value, at);
    case TR_KIND_nested:
        return read_struct(r, field->of, value, at);
    }
    return refuse(r, "a kind that is known", "another");
}

/* While a body is measured, values of a few bytes go here. */
typedef union unused {
    uint64_t number;
    tr_addr address;
    tr__list list;
} unused;

static tr_err read_list(reader *r, const tr__field *field, const json_t *array, tr__list *into)
{
    void *to = NULL;
    unused nowhere;
    size_t bytes, count = json_array_size(array);
    if (!json_is_array(array))
        return refuse(r, "an array", value_word(array));
    r->used = tr__align8(r->used);
    if (__builtin_mul_overflow(count, field->size, &bytes))
        bytes = SIZE_MAX;
    TR_TRY(take(r, bytes, &to));
    if (r->body)
        *into = (tr__list){to, count};
    for (size_t i = 0; i < count; i++) {
        r->path.at[r->path.depth - 1].index = i;
        TR_TRY(read_value(r, field, json_array_get(array, i),
                          r->body ? (char *)to + i * field->size : (void *)&nowhere));
    }
    return TR_OK;
}

static tr_err read_field(reader *r, const tr__field *field, const json_t *object, void *struct_at)
{
    unused nowhere;
    void *at = r->body ? (char *)struct_at + field->offset : (void *)&nowhere;
    const json_t *value = json_object_get(object, field->name);
    if (field->optional && json_is_null(value))
        value = NULL;
    if (r->body && field->optional)
        *((bool *)struct_at + field->present) = value != NULL;
    if (!value && r->body)
        tr__value_clear(field, at);
    if (!value)
        return TR_OK;
    r->path.at[r->path.depth - 1].field = field;
    r->path.at[r->path.depth - 1].index = SIZE_MAX;
    return field->list ? read_list(r, field, value, at) : read_value(r, field, value, at);
}

/* Every name is a field's. */
static tr_err check_names(reader *r, const tr_typeinfo *type, const json_t *object)
{
    const char *name;
    json_t *value;
    char path[TR__PATH_TEXT];
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const tr__field *field = type->fields;
        while (field->kind != TR_KIND_END && strcmp(field->name, name) != 0)
            field++;
        if (field->kind == TR_KIND_END)
            return tr__fail(r->error, TR_EINVAL, "%s has no field '%.60s'", tr__path_text(&r->path, path),
                            name);
    }
    return TR_OK;
}

static tr_err read_struct(reader *r, const tr_typeinfo *type, const json_t *object, void *into)
{
    if (!json_is_object(object))
        return refuse(r, "an object", value_word(object));
    if (!r->body)
        TR_TRY(check_names(r, type, object));
    r->path.depth++;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++)
        TR_TRY(read_field(r, field, object, into));
    r->path.depth--;
    return TR_OK;
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

tr_err tr__json_read(const tr_typeinfo *type, json_t *value, tr__buffers *account, void **body,
                     size_t *body_size, tr_error *error)
{
    reader r = {.path.type = type, .used = type->size, .account = account, .error = error};
    TR_TRY(read_struct(&r, type, value, NULL));
    r.body = tr__zalloc(r.used); /* zeroed: if it fails midway, what is not there yet holds no buffers */
    if (!r.body)
        return tr__fail(error, TR_ENOMEM, "message %s: no memory for a body of %zu bytes", type->name,
                        r.used);
    r.used = type->size;
    r.path.depth = 0;
    tr_err failed = read_struct(&r, type, value, r.body);
    if (failed != TR_OK) {
        tr__body_release(type, r.body);
        tr__free(r.body);
        return failed;
    }
    *body = r.body;
    *body_size = r.used;
    return TR_OK;
}

tr_err tr__json_decode(const tr_typeinfo *type, const char *text, tr__buffers *account, void **body,
                       size_t *body_size, tr_error *error)
{
    json_error_t wrong;
    tr__json_prepare();
    tr__json_starved();
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &wrong);
    if (tr__json_starved()) {
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
