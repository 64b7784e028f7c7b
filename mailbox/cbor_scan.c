/* See cbor_scan.h. */
#include "mailbox/cbor_scan.h"

enum { UINT, NEGINT, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };

void tr__cbor_scan_init(tr__cbor_scan *s, const tr_typeinfo *type, uint64_t min)
{
    *s = (tr__cbor_scan){.type = type, .min = min};
}

/* Bytes of the item's head; 0: none that a message has. */
static size_t head_size_of(uint8_t first)
{
    uint8_t info = first & 31;
    return info < 24 ? 1 : info <= 27 ? 1 + ((size_t)1 << (info - 24)) : 0;
}

static uint64_t number_of(const tr__cbor_scan *s)
{
    uint64_t number = s->head[0] & 31;
    if (s->head_size == 1)
        return number;
    number = 0;
    for (size_t i = 1; i < s->head_size; i++)
        number = number << 8 | s->head[i];
    return number;
}

static bool is_hole(const tr__cbor_scan *s, uint8_t major, uint64_t number)
{
    const tr__field *field = s->field < s->type->count ? &s->type->fields[s->field] : NULL;
    return field && field->kind == TR_KIND_buffer && !field->list && major == BYTES && number >= s->min;
}

/* An item's head is whole. Bytes of the hole behind it, or 0. */
static uint64_t take_head(tr__cbor_scan *s)
{
    uint8_t major = s->head[0] >> 5;
    uint64_t number = number_of(s);
    s->head_size = 0;
    if (major == MAP || major == TAG || (!s->begun && major != ARRAY) || (major == ARRAY && number >> 40)) {
        s->lost = true;
        return 0;
    }
    if (!s->begun) {
        s->begun = true;
        return 0;
    }
    if (is_hole(s, major, number)) {
        s->field++;
        return number;
    }
    s->string = major == BYTES || major == TEXT ? number : 0;
    s->items -= s->items > 0;
    s->items += major == ARRAY ? number : 0;
    if (s->items == 0)
        s->field++;
    return 0;
}

size_t tr__cbor_scan_pass(tr__cbor_scan *s, const uint8_t *bytes, size_t length, uint64_t *hole, size_t *head)
{
    size_t at = 0;
    *hole = 0;
    while (at < length && !s->lost) {
        if (s->string) {
            size_t part = s->string < length - at ? (size_t)s->string : length - at;
            s->string -= part;
            at += part;
            continue;
        }
        s->head[s->head_size++] = bytes[at++];
        size_t whole = head_size_of(s->head[0]);
        s->lost = whole == 0;
        if (s->head_size < whole || s->lost)
            continue;
        *head = whole;
        if ((*hole = take_head(s)) > 0)
            return at;
    }
    return s->lost ? length : at;
}
