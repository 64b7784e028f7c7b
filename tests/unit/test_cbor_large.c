/* CBOR of large messages: encoding around what is sent from where it is, and decoding where the bytes lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mailbox/type.h"

TR_MESSAGE(heavy, (u32, n), (string, text), (buffer, shared), (bytes, data), (optional, string, note))

/* Put together around its holes it is what encoding gives. */
static void same_around(const void *body, bool inside, uint32_t expected)
{
    const tr_typeinfo *info = tr__type_of(&heavy_type);
    size_t bound = tr__cbor_bound(info, body), at = 0, from = 0;
    uint8_t *whole = tr__alloc(bound), *out = tr__alloc(bound), *joined = tr__alloc(bound);
    tr__hole holes[4];
    size_t length = tr__cbor_encode(info, body, whole, bound);
    uint32_t count = tr__cbor_holes(info, body, inside, holes, 4);
    assert_int_equal(count, expected);
    size_t elsewhere = 0;
    for (uint32_t i = 0; i < count; i++)
        elsewhere += holes[i].size;
    size_t used = tr__cbor_encode_around(info, body, out, bound - elsewhere, holes, count);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(joined + at, out + from, holes[i].at - from);
        at += holes[i].at - from;
        memcpy(joined + at, holes[i].data, holes[i].size);
        at += holes[i].size;
        from = holes[i].at;
    }
    memcpy(joined + at, out + from, used - from);
    assert_int_equal(at + used - from, length);
    assert_memory_equal(joined, whole, length);
    tr__free(whole);
    tr__free(out);
    tr__free(joined);
}

static void encoding_around_large_parts_gives_the_same_bytes(void **state)
{
    (void)state;
    static char text[TR__HOLE_MIN + 100], data[TR__HOLE_MIN];
    memset(text, 't', sizeof text - 1);
    const tr_buffer *buffer = tr__buffer_make(NULL, data, sizeof data);
    heavy body = {.n = 70000, .text = text, .shared = buffer, .data = {data, sizeof data}};
    same_around(&body, true, 3);
    same_around(&body, false, 1);
    body.note = (typeof(body.note))TR_SOME(text); /* optional: it is copied */
    same_around(&body, true, 3);
    body.shared = NULL;
    body.data.size--;
    same_around(&body, true, 1);
    same_around(&body, false, 0);
    tr__buffer_drop(buffer);
}

TR_STRUCT(inner_part, (string, what), (i16, small))
TR_MESSAGE(placed, (bool, flag), (string, name), (inner_part, part), (bytes, blob), (f64, ratio),
           (optional, bytes, more), (optional, string, none))

static void a_type_without_lists_is_decoded_where_its_bytes_lie(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&placed_type);
    placed body = {.flag = true,
                   .name = "where it lies",
                   .part = {"", -3},
                   .blob = {"blob", 4},
                   .more = TR_SOME({"m", 1}),
                   .ratio = 0.25};
    size_t bound = tr__cbor_bound(info, &body), size;
    uint8_t *in = tr__alloc(bound);
    size_t length = tr__cbor_encode(info, &body, in, bound);
    placed got;
    assert_true(tr__cbor_has_place(info));
    assert_int_equal(tr__cbor_measure(info, in, length, &size, NULL), TR_OK);
    tr__cbor_decode_in_place(info, in, length, &got);
    assert_true(got.flag);
    assert_string_equal(got.name, "where it lies");
    assert_string_equal(got.part.what, "");
    assert_int_equal(got.part.small, -3);
    assert_int_equal(got.blob.size, 4);
    assert_memory_equal(got.blob.data, "blob", 4);
    assert_true((const uint8_t *)got.blob.data > in && (const uint8_t *)got.blob.data < in + length);
    assert_true(got.more.present && got.more.value.size == 1);
    assert_false(got.none.present);
    assert_string_equal(got.none.value, "");
    assert_true(got.ratio == 0.25);
    tr__free(in);
    assert_false(tr__cbor_has_place(tr__type_of(&heavy_type)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoding_around_large_parts_gives_the_same_bytes),
        cmocka_unit_test(a_type_without_lists_is_decoded_where_its_bytes_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
