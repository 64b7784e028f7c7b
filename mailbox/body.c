/* Bodies: self-contained copies of what an actor gives to be sent. See type.h; pure functions, any thread, nothing fails
 * but by size.
 *
 * tr__body_size and tr__body_copy walk alike, so that one says what the other needs. `at` is how far the copy has grown,
 * from its start, which is aligned to 8. */
#include "base/check.h"
#include "mailbox/type.h"

#include <stdio.h>
#include <string.h>

/* ---- size ---------------------------------------------------------------------------------------------- */

/* False: beyond the limit. */
static inline bool grow(size_t *at, size_t part)
{
    if (*at > TR__BODY_MAX || part > TR__BODY_MAX - *at)
        return false;
    *at += part;
    return true;
}

static bool size_struct(const tr_typeinfo *type, const void *body, size_t *at);

#define INLINE inline __attribute__((always_inline))

static INLINE bool size_value(const tr__field *field, const void *value, size_t *at)
{
    if (field->kind == TR_KIND_string) {
        const char *text = *(const char *const *)value;
        return grow(at, text ? strlen(text) + 1 : 1);
    }
    if (field->kind == TR_KIND_bytes)
        return grow(at, ((const tr_bytes *)value)->size);
    return field->kind != TR_KIND_nested || size_struct(field->of, value, at);
}

/* Whether a copy must look at each of its values. */
static bool looked_at(const tr__field *field)
{
    return field->kind == TR_KIND_string || field->kind == TR_KIND_bytes || field->kind == TR_KIND_buffer ||
           (field->kind == TR_KIND_nested && field->of->inline_count);
}

static bool size_list(const tr__field *field, const tr__list *list, size_t *at)
{
    size_t bytes;
    *at = tr__align8(*at);
    if (__builtin_mul_overflow(list->count, field->size, &bytes) || !grow(at, bytes))
        return false;
    if (looked_at(field))
        for (size_t i = 0; i < list->count; i++)
            if (!size_value(field, (const char *)list->data + i * field->size, at))
                return false;
    return true;
}

static bool size_struct(const tr_typeinfo *type, const void *body, size_t *at)
{
    if (type->inline_count == 0)
        return true;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *value = (const char *)body + field->offset;
        if (__builtin_expect(field->plain, 1)) {
            if (!size_value(field, value, at))
                return false;
        } else if (tr__field_present(field, body) &&
                   !(field->list ? size_list(field, value, at) : size_value(field, value, at))) {
            return false;
        }
    }
    return true;
}

size_t tr__body_size(const tr_typeinfo *type, const void *body)
{
    size_t at = type->size;
    return size_struct(type, body, &at) ? at : SIZE_MAX;
}

/* ---- copies -------------------------------------------------------------------------------------------- */

/* Of lists and bytes that have nothing. */
static const uint64_t nothing;

void tr__value_clear(const tr__field *field, void *at)
{
    if (field->list) {
        *(tr__list *)at = (tr__list){(void *)(uintptr_t)&nothing, 0};
        return;
    }
    memset(at, 0, field->size);
    if (field->kind == TR_KIND_string)
        *(const char **)at = "";
    else if (field->kind == TR_KIND_bytes)
        ((tr_bytes *)at)->data = &nothing;
    else if (field->kind == TR_KIND_buffer)
        *(const tr_buffer **)at = &tr__buffer_empty;
    else if (field->kind == TR_KIND_nested && field->of->inline_count)
        for (const tr__field *part = field->of->fields; part->kind != TR_KIND_END; part++)
            tr__value_clear(part, (char *)at + part->offset);
}

typedef struct copy {
    char *start;
    size_t at;
} copy;

static void copy_struct(copy *c, const tr_typeinfo *type, void *body);

/* `value` is in the copy already, with the pointers of what is copied. */
static INLINE void copy_value(copy *c, const tr__field *field, void *value)
{
    if (field->kind == TR_KIND_string) {
        const char **text = value;
        size_t size = *text ? strlen(*text) + 1 : 1;
        *text = memcpy(c->start + c->at, *text ? *text : "", size);
        c->at += size;
    } else if (field->kind == TR_KIND_bytes) {
        tr_bytes *bytes = value;
        if (bytes->size > 0)
            memcpy(c->start + c->at, bytes->data, bytes->size);
        bytes->data = c->start + c->at;
        c->at += bytes->size;
    } else if (field->kind == TR_KIND_buffer) {
        const tr_buffer **buffer = value;
        if (*buffer)
            tr__buffer_hold(*buffer);
        else
            *buffer = &tr__buffer_empty;
    } else if (field->kind == TR_KIND_nested) {
        copy_struct(c, field->of, value);
    }
}

static void copy_list(copy *c, const tr__field *field, tr__list *list)
{
    char *to = c->start + (c->at = tr__align8(c->at));
    size_t bytes = list->count * field->size;
    if (bytes > 0)
        memcpy(to, list->data, bytes);
    list->data = to;
    c->at += bytes;
    if (looked_at(field))
        for (size_t i = 0; i < list->count; i++)
            copy_value(c, field, to + i * field->size);
}

static void copy_struct(copy *c, const tr_typeinfo *type, void *body)
{
    if (type->inline_count == 0)
        return;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++) {
        void *value = (char *)body + field->offset;
        if (__builtin_expect(field->plain, 1))
            copy_value(c, field, value);
        else if (!tr__field_present(field, body))
            tr__value_clear(field, value);
        else if (field->list)
            copy_list(c, field, value);
        else
            copy_value(c, field, value);
    }
}

void tr__body_copy(const tr_typeinfo *type, void *into, const void *body)
{
    copy c = {into, type->size};
    memcpy(into, body, type->size);
    copy_struct(&c, type, into);
}

/* ---- buffers ------------------------------------------------------------------------------------------- */

static void release_value(const tr__field *field, const void *value)
{
    if (field->kind == TR_KIND_buffer)
        tr__buffer_drop(*(const tr_buffer *const *)value);
    else if (field->kind == TR_KIND_nested)
        tr__body_release(field->of, value);
}

void tr__body_release(const tr_typeinfo *type, const void *body)
{
    if (!tr__type_is(type, TR__TYPE_BUFFERS))
        return;
    for (const tr__field *field = type->fields; field->kind != TR_KIND_END; field++) {
        const void *value = (const char *)body + field->offset;
        const tr__list *list = value;
        if (!field->list)
            release_value(field, value);
        else if (field->kind == TR_KIND_buffer || field->kind == TR_KIND_nested)
            for (size_t i = 0; i < list->count; i++)
                release_value(field, (const char *)list->data + i * field->size);
    }
}

/* ---- paths --------------------------------------------------------------------------------------------- */

const char *tr__path_text(const tr__path *path, char *out)
{
    char whole[TR__NESTING_MAX * 96 + 64]; /* a name has 63 bytes at most, but a hand-made one may have any */
    size_t used = (size_t)snprintf(whole, sizeof(whole), "%.63s", path->type->name);
    for (uint32_t i = 0; i < path->depth; i++) {
        used += (size_t)snprintf(whole + used, sizeof(whole) - used, ".%.63s", path->at[i].field->name);
        if (path->at[i].index != SIZE_MAX)
            used += (size_t)snprintf(whole + used, sizeof(whole) - used, "[%zu]", path->at[i].index);
    }
    if (used < TR__PATH_TEXT)
        memcpy(out, whole, used + 1);
    else
        snprintf(out, TR__PATH_TEXT, "...%s", whole + used - (TR__PATH_TEXT - 4));
    return out;
}
