/* Messages to JSON, by jansson; bytes as base64, by libsodium. Any thread. The memory is tr__alloc's, jansson's too.
 *
 * JSON has no NaN and no infinity, and jansson's integers end at INT64_MAX: the former are the strings "NaN",
 * "Infinity" and "-Infinity", a larger u64 is a string of its digits, as in protobuf's JSON. Text that isn't
 * UTF-8 is printed with U+FFFD in place of what is wrong, since JSON is for people and tools that want to see
 * the message. A list is an array, a nested struct an object, an absent optional field isn't there.
 *
 * What can fail: memory runs out (NULL). */
#include "base/mem.h"
#include "base/spin.h"
#include "mailbox/json.h"
#include "mailbox/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define BASE64 TR__JSON_BASE64

/* Has an allocation of jansson's failed? It (2.14) reports some of them as errors in the text, and others not
 * at all: when its buffer can't grow, the parser loses characters of a string and the printer a key. */
static _Thread_local bool starved;

bool tr__json_starved(void)
{
    bool was = starved;
    starved = false;
    return was;
}

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

static json_t *from_struct(const tr_typeinfo *type, const void *body);

static json_t *from_value(const tr__field *field, const void *at)
{
    switch (field->kind) {
    case TR_KIND_bool:
        return json_boolean(*(const uint8_t *)at != 0);
    case TR_KIND_i8:
    case TR_KIND_i16:
    case TR_KIND_i32:
    case TR_KIND_i64:
        return json_integer(tr__load_signed(field->kind, at));
    case TR_KIND_u8:
    case TR_KIND_u16:
    case TR_KIND_u32:
    case TR_KIND_u64:
        return from_u64(tr__load_unsigned(field->kind, at));
    case TR_KIND_f32:
        return from_f64((double)*(const float *)at);
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
    case TR_KIND_nested:
        return from_struct(field->of, at);
    }
    return NULL;
}

static json_t *from_list(const tr__field *field, const tr__list *list)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < list->count; i++)
        if (json_array_append_new(array, from_value(field, (const char *)list->data + i * field->size)) !=
            0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

/* What is absent isn't in it. */
static json_t *from_struct(const tr_typeinfo *type, const void *body)
{
    json_t *object = json_object();
    if (!object)
        return NULL;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *at = (const char *)body + field->offset;
        if (!tr__field_present(field, body))
            continue;
        json_t *value = field->list ? from_list(field, at) : from_value(field, at);
        if (json_object_set_new_nocheck(object, field->name, value) != 0) { /* of NULL too */
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *tr__json_make(const tr_typeinfo *type, const void *body)
{
    tr__json_prepare();
    starved = false;
    json_t *object = from_struct(type, body);
    if (object && starved) {
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
