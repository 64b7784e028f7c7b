/* Large buffers are found in a message's CBOR while that comes, and what is decoded around them is the message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "mailbox/cbor_scan.h"

TR_STRUCT(part, (u32, n), (buffer, inner))
TR_MESSAGE(heavy, (u32, n), (string, text), (buffer, first), (list, part, parts), (list, buffer, many),
           (part, one), (bytes, data), (buffer, small), (optional, buffer, absent), (optional, buffer, last))

#define MIN 300

static const tr_buffer *buffer_of(char fill, size_t size)
{
    static char bytes[2000];
    memset(bytes, fill, size);
    return tr__buffer_make(NULL, bytes, size);
}

/* A message as it comes: what goes to memory, and what to buffers. */
typedef struct arrival {
    tr__cbor_scan scan;
    uint8_t memory[20000];
    size_t length;
    char file[2000];
    uint64_t file_size, file_left;
    tr__gap gaps[4];
    uint32_t count;
} arrival;

static void take(arrival *a, const uint8_t *bytes, size_t length)
{
    while (length) {
        uint64_t hole = 0;
        size_t head = 0, used;
        if (a->file_left) {
            used = a->file_left < length ? (size_t)a->file_left : length;
            memcpy(a->file + a->file_size, bytes, used);
            a->file_size += used;
            a->file_left -= used;
            if (a->file_left == 0)
                a->gaps[a->count - 1].buffer = tr__buffer_make(NULL, a->file, a->file_size);
        } else {
            used = tr__cbor_scan_pass(&a->scan, bytes, length, &hole, &head);
            assert_in_range(used, 1, length);
            memcpy(a->memory + a->length, bytes, used);
            a->length += used;
        }
        if (hole) {
            assert_in_range(a->count, 0, 3);
            a->gaps[a->count++] = (tr__gap){a->length - head, a->length, NULL};
            a->file_left = hole;
            a->file_size = 0;
        }
        bytes += used;
        length -= used;
    }
}

static void same(const tr_buffer *a, const tr_buffer *b)
{
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->data, b->data, a->size);
}

static void found_when_cut_by(const uint8_t *bytes, size_t length, const heavy *sent, size_t cut)
{
    static arrival a;
    const tr_typeinfo *type = tr__type_of(&heavy_type);
    tr_error error;
    size_t size;
    a = (arrival){.length = 0};
    tr__cbor_scan_init(&a.scan, type, MIN);
    for (size_t at = 0; at < length; at += cut)
        take(&a, bytes + at, length - at < cut ? length - at : cut);
    assert_int_equal(a.count, 2);
    assert_int_equal(tr__cbor_measure_around(type, a.memory, a.length, a.gaps, a.count, &size, &error),
                     TR_OK);
    heavy *got = tr__alloc(size);
    assert_true(tr__cbor_decode_around(type, a.memory, a.length, a.gaps, a.count, NULL, got));
    assert_ptr_equal(got->first, a.gaps[0].buffer);
    assert_ptr_equal(got->last.value, a.gaps[1].buffer);
    same(got->first, sent->first);
    same(got->last.value, sent->last.value);
    same(got->many.data[1], sent->many.data[1]);
    same(got->one.inner, sent->one.inner);
    same(got->small, sent->small);
    assert_string_equal(got->text, sent->text);
    assert_int_equal(got->parts.count, 2);
    assert_int_equal(got->data.size, sent->data.size);
    assert_false(got->absent.present);
    tr__body_release(type, got);
    tr__free(got);
    for (uint32_t i = 0; i < a.count; i++)
        tr__buffer_drop(a.gaps[i].buffer);
}

static void large_buffers_of_a_message_are_found_however_its_bytes_are_cut(void **state)
{
    (void)state;
    static char data[MIN + 5];
    const tr_buffer *first = buffer_of('a', 1000), *last = buffer_of('z', MIN), *other = buffer_of('o', 700),
                    *small = buffer_of('s', MIN - 1);
    const tr_buffer *many[] = {small, other};
    part parts[] = {{1, other}, {2, small}};
    heavy sent = {.n = 7,
                  .text = "text",
                  .first = first,
                  .parts = {parts, 2},
                  .many = {many, 2},
                  .one = {3, other},
                  .data = {data, sizeof data},
                  .small = small,
                  .last = TR_SOME(last)};
    const tr_typeinfo *type = tr__type_of(&heavy_type);
    static uint8_t bytes[20000];
    size_t length = tr__cbor_encode(type, &sent, bytes, sizeof bytes);
    assert_true(length > 0);
    for (size_t cut = 1; cut < 40; cut++)
        found_when_cut_by(bytes, length, &sent, cut);
    for (size_t cut = 40; cut <= length + 61; cut += 61)
        found_when_cut_by(bytes, length, &sent, cut);
    tr__buffer_drop(first);
    tr__buffer_drop(last);
    tr__buffer_drop(other);
    tr__buffer_drop(small);
}

/* Whatever comes, it is passed over to its end, and no byte twice. */
static void garbage_is_passed_over_to_its_end(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 5);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[64];
        tr__cbor_scan scan;
        tr__cbor_scan_init(&scan, tr__type_of(&heavy_type), 1);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)tr__random_next(&random);
        bytes[0] = 0x8a;
        for (size_t at = 0; at < sizeof bytes;) {
            uint64_t hole;
            size_t head = 0, most = 1 + tr__random_below(&random, sizeof bytes - at);
            size_t used = tr__cbor_scan_pass(&scan, bytes + at, most, &hole, &head);
            assert_in_range(used, 1, most);
            assert_true(used == most || hole > 0);
            at += used;
        }
    }
}

static void a_gap_where_no_buffer_is_is_refused(void **state)
{
    (void)state;
    const tr_typeinfo *type = tr__type_of(&heavy_type);
    const tr_buffer *buffer = buffer_of('b', 500);
    heavy sent = {.text = "text"};
    uint8_t bytes[200];
    tr_error error;
    size_t size, length = tr__cbor_encode(type, &sent, bytes, sizeof bytes);
    for (size_t at = 0; at < length; at++) {
        tr__gap gap = {at, at + 1, buffer};
        tr_err err = tr__cbor_measure_around(type, bytes, length, &gap, 1, &size, &error);
        bool is_buffer = err == TR_OK; /* an empty one's head takes one byte: that is as good as any */
        assert_true(err == TR_EPROTO || (is_buffer && bytes[at] == 0x40));
    }
    tr__gap behind = {length, length + 3, buffer};
    assert_int_equal(tr__cbor_measure_around(type, bytes, length, &behind, 1, &size, &error), TR_EPROTO);
    tr__buffer_drop(buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_buffers_of_a_message_are_found_however_its_bytes_are_cut),
        cmocka_unit_test(garbage_is_passed_over_to_its_end),
        cmocka_unit_test(a_gap_where_no_buffer_is_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
