/* mailbox/cbor.c: round trips, and all that must be refused. Inputs lie at the end of a block of their own,
 * so that a read beyond them is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "mailbox/type.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

TR_MESSAGE(nothing)
TR_MESSAGE(all, (bool, flag), (i32, small), (i64, large), (u32, count), (u64, total), (f64, ratio),
           (string, name), (bytes, blob), (addr, who), (string, last))
TR_MESSAGE(one_bool, (bool, v))
TR_MESSAGE(one_i32, (i32, v))
TR_MESSAGE(one_i64, (i64, v))
TR_MESSAGE(one_u32, (u32, v))
TR_MESSAGE(one_u64, (u64, v))
TR_MESSAGE(one_f64, (f64, v))
TR_MESSAGE(one_string, (string, v))
TR_MESSAGE(one_bytes, (bytes, v))
TR_MESSAGE(one_addr, (addr, v))

/* ---- helpers ------------------------------------------------------------------------------------------- */

/* What decoding gives, in a block of exactly its size; NULL and *error if it is refused. */
static void *decode(tr_type *type, const void *bytes, size_t length, tr_error *error)
{
    const tr_typeinfo *info = tr__type_of(type);
    uint8_t *in = tr__alloc(length);
    size_t size = 0;
    void *body = NULL;
    memcpy(in, bytes, length);
    *error = (tr_error){TR_OK, ""};
    tr_err failed = tr__cbor_measure(info, in, length, &size, error);
    assert_int_equal(failed, error->code);
    assert_int_equal(tr__cbor_measure(info, in, length, &size, NULL), failed);
    if (failed == TR_OK) {
        body = tr__alloc(size);
        memset(body, 0xa5, size);
        assert_true(tr__cbor_decode(info, in, length, NULL, body));
        assert_int_equal(tr__body_size(info, body), size);
    } else {
        assert_int_equal(failed, TR_EPROTO);
        assert_non_null(strstr(error->text, info->name));
    }
    tr__free(in);
    return body;
}

/* Encodes into a block of exactly the bytes it takes; checks the bound, and that one byte less is refused. */
static uint8_t *encode(tr_type *type, const void *body, size_t *length)
{
    const tr_typeinfo *info = tr__type_of(type);
    size_t bound = tr__cbor_bound(info, body);
    uint8_t *roomy = tr__alloc(bound);
    *length = tr__cbor_encode(info, body, roomy, bound);
    assert_true(*length > 0 && *length <= bound);
    uint8_t *out = tr__alloc(*length);
    for (size_t room = 0; room < *length; room++)
        assert_int_equal(tr__cbor_encode(info, body, out, room), 0);
    assert_int_equal(tr__cbor_encode(info, body, out, *length), *length);
    assert_memory_equal(out, roomy, *length);
    tr__free(roomy);
    return out;
}

static void *round_trip(tr_type *type, const void *body)
{
    size_t length;
    tr_error error;
    uint8_t *bytes = encode(type, body, &length);
    void *back = decode(type, bytes, length, &error);
    if (!back)
        fail_msg("%s", error.text);
    tr__free(bytes);
    return back;
}

static void refused(tr_type *type, const void *bytes, size_t length, const char *because)
{
    tr_error error;
    void *body = decode(type, bytes, length, &error);
    if (body || !strstr(error.text, because)) {
        print_error("%s\n", error.text);
        fail_msg("%s: should have been refused because of: %s", type->name, because);
    }
}
#define REFUSED(type, because, ...) \
    refused(&type##_type, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), because)

#define ROUND_TRIP_EQUAL(type, value)                                 \
    do {                                                              \
        type *back = round_trip(&type##_type, &(type){.v = (value)}); \
        assert_true(back->v == (value));                              \
        tr__free(back);                                               \
    } while (0)

static const all full = {
    .flag = true,
    .small = -5,
    .large = INT64_MIN,
    .count = 70000,
    .total = UINT64_MAX,
    .ratio = -0.1,
    .name = "Zo\xc3\xab \xf0\x9f\x8e\xad",
    .blob = {"a\0b", 3},
    .who = {0xa1f3c09e12345678, 12, 7},
    .last = "end",
};

/* ---- round trips --------------------------------------------------------------------------------------- */

static void every_kind_comes_back_as_it_was(void **state)
{
    (void)state;
    all *back = round_trip(&all_type, &full);
    assert_true(back->flag);
    assert_int_equal(back->small, full.small);
    assert_true(back->large == full.large);
    assert_int_equal(back->count, full.count);
    assert_true(back->total == full.total);
    assert_true(back->ratio == full.ratio);
    assert_string_equal(back->name, full.name);
    assert_int_equal(back->blob.size, 3);
    assert_memory_equal(back->blob.data, "a\0b", 3);
    assert_true(tr_addr_equal(back->who, full.who));
    assert_string_equal(back->last, "end");
    tr__free(back);
}

static void extreme_integers_come_back(void **state)
{
    (void)state;
    const uint64_t edges[] = {0,          1,          23,        24,         255,
                              256,        65535,      65536,     INT32_MAX,  1u << 31,
                              UINT32_MAX, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        ROUND_TRIP_EQUAL(one_u64, edges[i]);
        ROUND_TRIP_EQUAL(one_u32, (uint32_t)edges[i]);
        ROUND_TRIP_EQUAL(one_i64, (int64_t)edges[i]);
        ROUND_TRIP_EQUAL(one_i64, (int64_t)(0 - edges[i]));
        ROUND_TRIP_EQUAL(one_i32, (int32_t)edges[i]);
        ROUND_TRIP_EQUAL(one_i32, (int32_t)(0 - edges[i]));
    }
    ROUND_TRIP_EQUAL(one_bool, true);
    ROUND_TRIP_EQUAL(one_bool, false);
}

static void floats_come_back_to_the_bit(void **state)
{
    (void)state;
    const double values[] = {0.0,     -0.0,         1.0,   0.1,      DBL_MAX,          -DBL_MAX,
                             DBL_MIN, DBL_TRUE_MIN, 1e300, INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        one_f64 *back = round_trip(&one_f64_type, &(one_f64){values[i]});
        assert_memory_equal(&back->v, &values[i], sizeof back->v);
        tr__free(back);
    }
    one_f64 *back = round_trip(&one_f64_type, &(one_f64){(double)NAN});
    assert_true(isnan(back->v));
    tr__free(back);
}

static void strings_and_bytes_of_all_sizes_come_back(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 23, 24, 255, 256, 65535, 65536, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *text = tr__alloc(sizes[i] + 1);
        memset(text, 'x', sizes[i]);
        text[sizes[i]] = '\0';
        const tr_typeinfo *strings = tr__type_of(&one_string_type), *blobs = tr__type_of(&one_bytes_type);
        const void *bodies[] = {&(one_string){text}, &(one_bytes){{text, sizes[i]}}};
        for (int kind = 0; kind < 2; kind++) {
            const tr_typeinfo *info = kind ? blobs : strings;
            size_t bound = tr__cbor_bound(info, bodies[kind]), size = 0;
            uint8_t *out = tr__alloc(bound);
            size_t length = tr__cbor_encode(info, bodies[kind], out, bound);
            assert_int_equal(tr__cbor_encode(info, bodies[kind], out, length - 1), 0);
            length = tr__cbor_encode(info, bodies[kind], out, length);
            assert_int_equal(tr__cbor_measure(info, out, length, &size, NULL), TR_OK);
            void *back = tr__alloc(size);
            assert_true(tr__cbor_decode(info, out, length, NULL, back));
            if (kind) {
                assert_int_equal(((one_bytes *)back)->v.size, sizes[i]);
                assert_memory_equal(((one_bytes *)back)->v.data, text, sizes[i]);
            } else {
                assert_string_equal(((one_string *)back)->v, text);
            }
            tr__free(back);
            tr__free(out);
        }
        tr__free(text);
    }
}

static void what_is_missing_travels_as_empty(void **state)
{
    (void)state;
    all *back = round_trip(&all_type, &(all){0});
    assert_string_equal(back->name, "");
    assert_string_equal(back->last, "");
    assert_int_equal(back->blob.size, 0);
    assert_non_null(back->blob.data);
    assert_true(tr_addr_equal(back->who, TR_ADDR_NONE));
    tr__free(back);
    one_addr *none = round_trip(&one_addr_type, &(one_addr){{5, 6, 0}});
    assert_true(tr_addr_equal(none->v, TR_ADDR_NONE));
    tr__free(none);
}

static void a_type_without_fields_is_one_byte(void **state)
{
    (void)state;
    size_t length;
    tr_error error;
    uint8_t *bytes = encode(&nothing_type, &(int){0}, &length);
    assert_int_equal(length, 1);
    assert_int_equal(bytes[0], 0x80);
    void *body = decode(&nothing_type, bytes, length, &error);
    assert_non_null(body);
    tr__free(body);
    tr__free(bytes);
}

static void the_bytes_are_those_of_the_rfc(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        0x8a, 0xf5, 0x24, 0x3b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1a, 0x00, 0x01, 0x11, 0x70,
        0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfb, 0xbf, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99,
        0x9a, 0x69, 'Z',  'o',  0xc3, 0xab, ' ',  0xf0, 0x9f, 0x8e, 0xad, 0x43, 'a',  0x00, 'b',  0x83, 0x1b,
        0xa1, 0xf3, 0xc0, 0x9e, 0x12, 0x34, 0x56, 0x78, 0x0c, 0x07, 0x63, 'e',  'n',  'd'};
    size_t length;
    uint8_t *bytes = encode(&all_type, &full, &length);
    assert_int_equal(length, sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
    tr__free(bytes);
}

static void encoding_and_decoding_allocate_nothing(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&all_type);
    uint8_t out[256];
    uint64_t body[32];
    size_t size;
    tr__alloc_fail_at(0);
    size_t length = tr__cbor_encode(info, &full, out, sizeof out);
    assert_int_equal(tr__cbor_measure(info, out, length, &size, NULL), TR_OK);
    assert_true(size <= sizeof body);
    assert_true(tr__cbor_decode(info, out, length, NULL, body));
    assert_int_equal(tr__alloc_fail_at(0), 0);
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void too_few_fields_are_refused(void **state)
{
    (void)state;
    REFUSED(one_u32, "0 fields", 0x80);
    REFUSED(one_u32, "the end of the input", 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    REFUSED(one_u32, "found an unsigned integer", 0x01);
    REFUSED(one_u32, "found a map", 0xa1, 0x01, 0x01);
}

#define SKIPPED(...)                                                         \
    do {                                                                     \
        const uint8_t bytes[] = {__VA_ARGS__};                               \
        tr_error error;                                                      \
        one_u32 *body = decode(&one_u32_type, bytes, sizeof(bytes), &error); \
        if (!body)                                                           \
            fail_msg("%s", error.text);                                      \
        assert_int_equal(body->v, 7);                                        \
        tr__free(body);                                                      \
    } while (0)

static void fields_that_a_newer_version_added_are_skipped(void **state)
{
    (void)state;
    SKIPPED(0x82, 0x07, 0x01);
    SKIPPED(0x83, 0x07, 0xf6, 0xf5);
    SKIPPED(0x82, 0x07, 0x62, 'a', 'b');
    SKIPPED(0x84, 0x07, 0x42, 1, 2, 0x82, 0x82, 0x01, 0x80, 0x20, 0xf9, 0x3c, 0x00);
    REFUSED(one_u32, "a value", 0x82, 0x07);
    REFUSED(one_u32, "longer than the message", 0x82, 0x07, 0x9a, 0xff, 0xff, 0xff, 0xff);
    REFUSED(one_u32, "a map", 0x82, 0x07, 0xa0);
    REFUSED(one_u32, "a tag", 0x82, 0x07, 0xc1, 0x01);
    REFUSED(one_u32, "indefinite", 0x82, 0x07, 0x9f, 0xff);
    REFUSED(one_u32, "more bytes", 0x82, 0x07, 0x01, 0x01);
}

static void another_kind_of_item_is_refused(void **state)
{
    (void)state;
    static const uint8_t one_each[][3] = {{0x01}, {0x20}, {0x40}, {0x60}, {0x80}, {0xf5}, {0xf9, 0x3c, 0x00}};
    static const size_t sizes[] = {1, 1, 1, 1, 1, 1, 3};
    tr_type *const types[] = {&one_bool_type, &one_i32_type,    &one_i64_type,   &one_u32_type, &one_u64_type,
                              &one_f64_type,  &one_string_type, &one_bytes_type, &one_addr_type};
    /* Which of the items above a kind takes: an array is an address, but not an empty one. */
    static const char takes[][8] = {"0000010", "1100000", "1100000", "1000000", "1000000",
                                    "0000001", "0001000", "0010000", "0000000"};
    for (int t = 0; t < 9; t++) {
        for (int i = 0; i < 7; i++) {
            uint8_t bytes[4] = {0x81};
            tr_error error;
            memcpy(bytes + 1, one_each[i], sizes[i]);
            void *body = decode(types[t], bytes, 1 + sizes[i], &error);
            if ((body != NULL) != (takes[t][i] == '1'))
                fail_msg("%s, item %d: %s", types[t]->name, i, body ? "taken" : error.text);
            if (!body)
                assert_non_null(strstr(error.text, ".v, byte "));
            tr__free(body);
        }
    }
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    REFUSED(one_u32, "2^32", 0x81, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0);
    REFUSED(one_u32, "a negative integer", 0x81, 0x20);
    REFUSED(one_u64, "a negative integer", 0x81, 0x20);
    REFUSED(one_i32, "out of range", 0x81, 0x1a, 0x80, 0, 0, 0);
    REFUSED(one_i32, "out of range", 0x81, 0x3a, 0x80, 0, 0, 0);
    REFUSED(one_i64, "out of range", 0x81, 0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0);
    REFUSED(one_i64, "out of range", 0x81, 0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
}

static void text_that_is_not_utf8_or_holds_a_nul_is_refused(void **state)
{
    (void)state;
    REFUSED(one_string, "byte 3", 0x81, 0x62, 'a', 0xff);
    REFUSED(one_string, "UTF-8", 0x81, 0x61, 0x80);
    REFUSED(one_string, "UTF-8", 0x81, 0x61, 0xc3);
    REFUSED(one_string, "UTF-8", 0x81, 0x63, 0xed, 0xa0, 0x80);
    REFUSED(one_string, "a NUL", 0x81, 0x63, 'a', 0x00, 'b');
}

static void addresses_that_are_none_are_refused(void **state)
{
    (void)state;
    REFUSED(one_addr, "array of three", 0x81, 0x82, 0x01, 0x02);
    REFUSED(one_addr, "array of three", 0x81, 0x84, 0x01, 0x02, 0x03, 0x04);
    REFUSED(one_addr, "generation", 0x81, 0x83, 0x01, 0x02, 0x00);
    REFUSED(one_addr, "2^32", 0x81, 0x83, 0x01, 0x1b, 0, 0, 0, 1, 0, 0, 0, 0, 0x01);
    REFUSED(one_addr, "a negative", 0x81, 0x83, 0x20, 0x01, 0x01);
    REFUSED(one_addr, "an array", 0x81, 0x83, 0x01, 0x01, 0x81);
}

static void lengths_beyond_the_input_are_refused(void **state)
{
    (void)state;
    REFUSED(one_string, "end of the input", 0x81, 0x62, 'a');
    REFUSED(one_bytes, "end of the input", 0x81, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2);
    REFUSED(one_bytes, "end of the input", 0x81, 0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xf6, 1, 2);
    REFUSED(one_string, "end of the input", 0x81, 0x7b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2);
    REFUSED(one_bytes, "end of the input", 0x81, 0x5a, 0xff, 0xff, 0xff, 0xff, 1);
    refused(&one_u32_type, "", 0, "end of the input");
}

static void what_has_no_place_in_a_message_is_refused(void **state)
{
    (void)state;
    REFUSED(one_string, "indefinite", 0x81, 0x7f, 0x61, 'a', 0xff);
    REFUSED(one_bytes, "indefinite", 0x81, 0x5f, 0x41, 'a', 0xff);
    REFUSED(one_u32, "indefinite", 0x9f, 0x01, 0xff);
    REFUSED(one_addr, "indefinite", 0x81, 0x9f, 0x01, 0x01, 0x01, 0xff);
    REFUSED(one_u32, "a tag", 0x81, 0xc1, 0x01);
    REFUSED(one_u32, "null", 0x81, 0xf6);
    REFUSED(one_u32, "undefined", 0x81, 0xf7);
    REFUSED(one_u32, "a break", 0x81, 0xff);
    REFUSED(one_u32, "CBOR", 0x81, 0x1c);
    REFUSED(one_bool, "CBOR", 0x81, 0xf8, 0x15);
    REFUSED(one_u32, "more bytes", 0x81, 0x01, 0x00);
    REFUSED(nothing, "more bytes", 0x80, 0x80);
}

/* With as much behind it as the argument of such a head would be, if there were one. */
static void heads_without_a_meaning_are_refused_however_long_the_input(void **state)
{
    (void)state;
    uint8_t bytes[300] = {0x81};
    for (int info = 28; info < 32; info++) {
        for (int major = 0; major < 8; major++) {
            bytes[1] = (uint8_t)(major << 5 | info);
            refused(&one_u64_type, bytes, sizeof bytes,
                    info == 31 && major > 1 && major != 6 ? "found a" : "CBOR");
            uint8_t at_the_start = bytes[1];
            refused(&one_u64_type, &at_the_start, 1, "found");
        }
    }
}

static void longer_forms_and_shorter_floats_are_taken(void **state)
{
    (void)state;
    tr_error error;
    one_u32 *number = decode(&one_u32_type, "\x98\x01\x1b\0\0\0\0\0\0\0\7", 11, &error);
    assert_non_null(number);
    assert_int_equal(number->v, 7);
    tr__free(number);
    one_f64 *half = decode(&one_f64_type, "\x81\xf9\x3e\x00", 4, &error);
    assert_non_null(half);
    assert_true(half->v == 1.5);
    tr__free(half);
    one_f64 *single = decode(&one_f64_type, "\x81\xfa\x3f\xc0\x00\x00", 6, &error);
    assert_non_null(single);
    assert_true(single->v == 1.5);
    tr__free(single);
}

/* ---- hostile input ------------------------------------------------------------------------------------- */

static void every_truncation_is_refused(void **state)
{
    (void)state;
    size_t length;
    tr_error error;
    uint8_t *bytes = encode(&all_type, &full, &length);
    for (size_t cut = 0; cut < length; cut++)
        assert_null(decode(&all_type, bytes, cut, &error));
    tr__free(bytes);
}

/* Whatever is in a body that was let through, it can be sent again. */
static int still_good(tr_type *type, const uint8_t *bytes, size_t length)
{
    tr_error error;
    void *body = decode(type, bytes, length, &error);
    if (!body)
        return 0;
    tr__free(round_trip(type, body));
    tr__free(body);
    return 1;
}

static void every_changed_byte_is_refused_or_gives_a_good_body(void **state)
{
    (void)state;
    size_t length;
    int taken = 0, tried = 0;
    uint8_t *bytes = encode(&all_type, &full, &length);
    for (size_t at = 0; at < length; at++) {
        uint8_t was = bytes[at];
        for (int value = 0; value < 256; value++, tried++) {
            bytes[at] = (uint8_t)value;
            taken += still_good(&all_type, bytes, length);
        }
        bytes[at] = was;
    }
    assert_true(taken > (int)length && taken < tried);
    tr__free(bytes);
}

/* Every input of up to two bytes behind the array's head, for each kind. */
static void every_short_input_is_refused_or_gives_a_good_body(void **state)
{
    (void)state;
    tr_type *const types[] = {&one_bool_type,   &one_i64_type,   &one_u32_type,  &one_f64_type,
                              &one_string_type, &one_bytes_type, &one_addr_type, &nothing_type};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        int taken = 0;
        for (uint32_t all_of = 0; all_of < 1u << 16; all_of++) {
            const uint8_t bytes[3] = {0x81, (uint8_t)(all_of >> 8), (uint8_t)all_of};
            taken += still_good(types[t], bytes, 3);
            if (all_of < 256) {
                taken += still_good(types[t], (const uint8_t[]){0x81, (uint8_t)all_of}, 2);
                taken += still_good(types[t], (const uint8_t[]){(uint8_t)all_of}, 1);
            }
        }
        assert_true(taken < 4000);
    }
}

/* ---- large parts --------------------------------------------------------------------------------------- */

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
    size_t length;
    uint8_t *in = encode(&placed_type, &body, &length);
    size_t size;
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
        cmocka_unit_test(every_kind_comes_back_as_it_was),
        cmocka_unit_test(extreme_integers_come_back),
        cmocka_unit_test(floats_come_back_to_the_bit),
        cmocka_unit_test(strings_and_bytes_of_all_sizes_come_back),
        cmocka_unit_test(what_is_missing_travels_as_empty),
        cmocka_unit_test(a_type_without_fields_is_one_byte),
        cmocka_unit_test(the_bytes_are_those_of_the_rfc),
        cmocka_unit_test(encoding_and_decoding_allocate_nothing),
        cmocka_unit_test(too_few_fields_are_refused),
        cmocka_unit_test(fields_that_a_newer_version_added_are_skipped),
        cmocka_unit_test(another_kind_of_item_is_refused),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(text_that_is_not_utf8_or_holds_a_nul_is_refused),
        cmocka_unit_test(addresses_that_are_none_are_refused),
        cmocka_unit_test(lengths_beyond_the_input_are_refused),
        cmocka_unit_test(what_has_no_place_in_a_message_is_refused),
        cmocka_unit_test(heads_without_a_meaning_are_refused_however_long_the_input),
        cmocka_unit_test(longer_forms_and_shorter_floats_are_taken),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_changed_byte_is_refused_or_gives_a_good_body),
        cmocka_unit_test(every_short_input_is_refused_or_gives_a_good_body),
        cmocka_unit_test(encoding_around_large_parts_gives_the_same_bytes),
        cmocka_unit_test(a_type_without_lists_is_decoded_where_its_bytes_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
