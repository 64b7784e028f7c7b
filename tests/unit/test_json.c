/* mailbox/json.c: round trips, the text itself, and what is refused. */
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

static const all full = {
    .flag = true,
    .small = -5,
    .large = INT64_MIN,
    .count = 70000,
    .total = UINT64_MAX,
    .ratio = -0.5,
    .name = "Zo\xc3\xab \"\n\xf0\x9f\x8e\xad",
    .blob = {"a\0b\xff", 4},
    .who = {0xa1f3c09e12345678, 12, 7},
    .last = "end",
};

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void prints_as(tr_type *type, const void *body, const char *expected)
{
    char *text = tr__json_encode(tr__type_of(type), body);
    assert_non_null(text);
    assert_string_equal(text, expected);
    tr__free(text);
}
#define PRINTS_AS(type, expected, ...) prints_as(&type##_type, &(type){__VA_ARGS__}, expected)

/* The body, or NULL with *error. */
static void *decode(tr_type *type, const char *text, tr_error *error)
{
    const tr_typeinfo *info = tr__type_of(type);
    void *body = NULL;
    size_t size = 0;
    *error = (tr_error){TR_OK, ""};
    tr_err failed = tr__json_decode(info, text, NULL, &body, &size, error);
    assert_int_equal(failed, error->code);
    assert_true((failed == TR_OK) == (body != NULL));
    if (body)
        assert_true(tr__body_size(info, body) >= size); /* a missing string needs no byte of its own */
    return body;
}

static void *round_trip(tr_type *type, const void *body)
{
    tr_error error;
    char *text = tr__json_encode(tr__type_of(type), body);
    assert_non_null(text);
    void *back = decode(type, text, &error);
    if (!back)
        fail_msg("%s: %s", text, error.text);
    char *again = tr__json_encode(tr__type_of(type), back);
    assert_string_equal(text, again);
    tr__free(again);
    tr__free(text);
    return back;
}

#define ROUND_TRIP_EQUAL(type, value)                                 \
    do {                                                              \
        type *back = round_trip(&type##_type, &(type){.v = (value)}); \
        assert_true(back->v == (value));                              \
        tr__free(back);                                               \
    } while (0)

static void refused(tr_type *type, const char *text, const char *because)
{
    tr_error error;
    void *body = decode(type, text, &error);
    if (body || error.code != TR_EINVAL || !strstr(error.text, because) || !strstr(error.text, type->name))
        fail_msg("%s should have been refused because of '%s': %s", text, because, error.text);
}

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
    assert_int_equal(back->blob.size, 4);
    assert_memory_equal(back->blob.data, "a\0b\xff", 4);
    assert_true(tr_addr_equal(back->who, full.who));
    assert_string_equal(back->last, "end");
    tr__free(back);
}

static void extreme_numbers_come_back(void **state)
{
    (void)state;
    const uint64_t edges[] = {0,        1,          1ull << 53, (1ull << 53) + 1, INT32_MAX,
                              1u << 31, UINT32_MAX, INT64_MAX,  1ull << 63,       UINT64_MAX};
    for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
        ROUND_TRIP_EQUAL(one_u64, edges[i]);
        ROUND_TRIP_EQUAL(one_u32, (uint32_t)edges[i]);
        ROUND_TRIP_EQUAL(one_i64, (int64_t)edges[i]);
        ROUND_TRIP_EQUAL(one_i64, (int64_t)(0 - edges[i]));
        ROUND_TRIP_EQUAL(one_i32, (int32_t)edges[i]);
        ROUND_TRIP_EQUAL(one_i32, (int32_t)(0 - edges[i]));
    }
    const double reals[] = {0.0,     1.0,          0.1,      -1e300,           DBL_MAX,
                            DBL_MIN, DBL_TRUE_MIN, INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        ROUND_TRIP_EQUAL(one_f64, reals[i]);
    one_f64 *back = round_trip(&one_f64_type, &(one_f64){(double)NAN});
    assert_true(isnan(back->v));
    tr__free(back);
    back = round_trip(&one_f64_type, &(one_f64){-0.0});
    assert_true(back->v == 0 && signbit(back->v));
    tr__free(back);
}

static void bytes_of_all_lengths_come_back(void **state)
{
    (void)state;
    uint8_t data[256];
    for (int i = 0; i < 256; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t size = 0; size <= sizeof data; size++) {
        one_bytes *back = round_trip(&one_bytes_type, &(one_bytes){{data, size}});
        assert_int_equal(back->v.size, size);
        assert_memory_equal(back->v.data, data, size);
        tr__free(back);
    }
}

/* ---- the text ------------------------------------------------------------------------------------------ */

static void the_text_is_as_documented(void **state)
{
    (void)state;
    PRINTS_AS(nothing, "{}");
    PRINTS_AS(one_bool, "{\"v\":true}", true);
    PRINTS_AS(one_i32, "{\"v\":-2147483648}", INT32_MIN);
    PRINTS_AS(one_u64, "{\"v\":9223372036854775807}", INT64_MAX);
    PRINTS_AS(one_u64, "{\"v\":\"9223372036854775808\"}", 1ull << 63);
    PRINTS_AS(one_u64, "{\"v\":\"18446744073709551615\"}", UINT64_MAX);
    PRINTS_AS(one_f64, "{\"v\":\"NaN\"}", (double)NAN);
    PRINTS_AS(one_f64, "{\"v\":\"Infinity\"}", (double)INFINITY);
    PRINTS_AS(one_f64, "{\"v\":\"-Infinity\"}", -(double)INFINITY);
    PRINTS_AS(one_f64, "{\"v\":1.5}", 1.5);
    PRINTS_AS(one_bytes, "{\"v\":\"YWI=\"}", {"ab", 2});
    PRINTS_AS(one_addr, "{\"v\":\"<a1f3c09e12345678.12.7>\"}", {0xa1f3c09e12345678, 12, 7});
    PRINTS_AS(one_addr, "{\"v\":\"<none>\"}", {0});
    PRINTS_AS(one_string, "{\"v\":\"\"}", NULL);
}

static void fields_are_in_the_order_of_the_declaration(void **state)
{
    (void)state;
    char *text = tr__json_encode(tr__type_of(&all_type), &full);
    const char *at = text;
    for (const tr_field *field = all_fields; field->name; field++) {
        char key[32];
        snprintf(key, sizeof key, "\"%s\":", field->name);
        at = strstr(at, key);
        assert_non_null(at);
    }
    tr__free(text);
}

static void text_that_is_not_utf8_is_printed_all_the_same(void **state)
{
    (void)state;
    PRINTS_AS(one_string,
              "{\"v\":\"a\xef\xbf\xbd"
              "b\xef\xbf\xbd\"}",
              "a\xff"
              "b\xc3");
    PRINTS_AS(one_string, "{\"v\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}", "\xed\xa0\x80");
}

/* ---- decoding ------------------------------------------------------------------------------------------ */

static void what_is_missing_is_zero(void **state)
{
    (void)state;
    tr_error error;
    all *body = decode(&all_type, "{\"last\":\"x\",\"count\":4}", &error);
    assert_non_null(body);
    assert_int_equal(body->count, 4);
    assert_string_equal(body->last, "x");
    assert_string_equal(body->name, "");
    assert_int_equal(body->blob.size, 0);
    assert_non_null(body->blob.data);
    assert_false(body->flag);
    assert_true(body->total == 0 && body->ratio == 0);
    assert_true(tr_addr_is_none(body->who));
    tr__free(body);
}

static void an_integer_will_do_for_a_float(void **state)
{
    (void)state;
    tr_error error;
    one_f64 *body = decode(&one_f64_type, " { \"v\" : 3 } ", &error);
    assert_non_null(body);
    assert_true(body->v == 3.0);
    tr__free(body);
    one_u64 *digits = decode(&one_u64_type, "{\"v\":\"0\"}", &error);
    assert_non_null(digits);
    assert_true(digits->v == 0);
    tr__free(digits);
}

static void what_is_not_an_object_of_the_type_is_refused(void **state)
{
    (void)state;
    refused(&one_u32_type, "", "line 1");
    refused(&one_u32_type, "{", "line 1");
    refused(&one_u32_type, "{\"v\":1}x", "line 1");
    refused(&one_u32_type, "{\"v\":\n1,}", "line 2");
    refused(&one_u32_type, "[1]", "an array");
    refused(&one_u32_type, "{\"v\":1,\"v\":1}", "duplicate");
    refused(&one_u32_type, "{\"w\":1}", "no field 'w'");
    refused(&one_u32_type, "{\"v\":1,\"V\":1}", "no field 'V'");
    refused(&nothing_type, "{\"v\":1}", "no field 'v'");
    refused(&one_string_type, "{\"v\":\"a\\u0000b\"}", "line 1");
    refused(&one_string_type, "{\"v\":\"\xff\"}", "line 1");
    refused(&one_string_type, "{\"v\":\"\\ud800\"}", "line 1");
}

static void values_of_another_kind_or_range_are_refused(void **state)
{
    (void)state;
    refused(&one_bool_type, "{\"v\":1}", "one_bool.v: expected true or false, found an integer");
    refused(&one_bool_type, "{\"v\":null}", "null");
    refused(&one_i32_type, "{\"v\":2147483648}", "-2147483648 to 2147483647");
    refused(&one_i32_type, "{\"v\":-2147483649}", "out of range");
    refused(&one_i32_type, "{\"v\":1.0}", "a fraction");
    refused(&one_i32_type, "{\"v\":\"1\"}", "a string");
    refused(&one_i64_type, "{\"v\":9223372036854775808}", "line 1");
    refused(&one_i64_type, "{\"v\":\"1\"}", "a string");
    refused(&one_u32_type, "{\"v\":4294967296}", "out of range");
    refused(&one_u32_type, "{\"v\":-1}", "out of range");
    refused(&one_u64_type, "{\"v\":-1}", "below 0");
    refused(&one_u64_type, "{\"v\":1.5}", "a fraction");
    refused(&one_f64_type, "{\"v\":\"nan\"}", "NaN");
    refused(&one_f64_type, "{\"v\":1e400}", "line 1");
    refused(&one_f64_type, "{\"v\":true}", "a boolean");
    refused(&one_string_type, "{\"v\":{}}", "an object");
    refused(&one_string_type, "{\"v\":null}", "null");
    refused(&one_bytes_type, "{\"v\":[]}", "an array");
    refused(&one_addr_type, "{\"v\":\"a1\"}", "an address like");
    refused(&one_addr_type, "{\"v\":1}", "an integer");
}

static void strings_that_are_no_u64_or_no_base64_are_refused(void **state)
{
    (void)state;
    const char *const numbers[] = {"",
                                   " 1",
                                   "1 ",
                                   "+1",
                                   "-1",
                                   "01",
                                   "00",
                                   "1.0",
                                   "0x1",
                                   "1e3",
                                   "18446744073709551616",
                                   "99999999999999999999",
                                   "18446744073709551615\\u0031"};
    const char *const blobs[] = {
        "YQ", "YQ=", "YQ===", "YR==", "Y Q==", "YQ==\\n", "Y-__", "=", "====", "YWI=YWI="};
    char text[80];
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        snprintf(text, sizeof text, "{\"v\":\"%s\"}", numbers[i]);
        refused(&one_u64_type, text, "18446744073709551615");
    }
    for (size_t i = 0; i < sizeof blobs / sizeof blobs[0]; i++) {
        snprintf(text, sizeof text, "{\"v\":\"%s\"}", blobs[i]);
        refused(&one_bytes_type, text, "base64");
    }
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    char *text = tr__alloc(DEPTH + 1);
    memset(text, '[', DEPTH);
    text[DEPTH] = '\0';
    refused(&one_u32_type, text, "line 1");
    tr__free(text);
}

static void every_truncation_and_changed_byte_is_refused_or_gives_a_good_body(void **state)
{
    (void)state;
    static const char stand_ins[] = "\x01 \"{}[]:,0-.eE+\\utn\x7f\x80\xc3\xff<>=aZ";
    tr_error error;
    char *text = tr__json_encode(tr__type_of(&all_type), &full);
    size_t length = strlen(text);
    for (size_t cut = 0; cut < length; cut++) {
        char *part = tr__strndup(text, cut);
        assert_null(decode(&all_type, part, &error));
        tr__free(part);
    }
    for (size_t at = 0; at < length; at++) {
        char was = text[at];
        for (const char *other = stand_ins; *other; other++) {
            text[at] = *other;
            void *body = decode(&all_type, text, &error);
            if (body)
                tr__free(round_trip(&all_type, body));
            tr__free(body);
        }
        text[at] = was;
    }
    tr__free(text);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void when_an_allocation_fails_it_says_so(void **state)
{
    (void)state;
    const tr_typeinfo *info = tr__type_of(&all_type);
    all odd = full;
    odd.name = "a\xff";
    char *text = NULL;
    uint64_t nth = 0;
    do {
        tr__alloc_fail_at(++nth);
        text = tr__json_encode(info, &odd);
        tr__alloc_fail_at(0);
        assert_true(nth < 1000);
    } while (!text);
    assert_true(nth > 10);
    char *whole = tr__json_encode(info, &odd);
    assert_string_equal(text, whole);
    tr__free(whole);
    tr_err failed = TR_OK;
    void *body = NULL;
    nth = 0;
    do {
        tr_error error;
        size_t size;
        tr__alloc_fail_at(++nth);
        failed = tr__json_decode(info, text, NULL, &body, &size, &error);
        tr__alloc_fail_at(0);
        if (failed != TR_OK) {
            assert_int_equal(failed, TR_ENOMEM);
            assert_null(body);
        }
        assert_true(nth < 1000);
    } while (failed != TR_OK);
    assert_true(nth > 10);
    tr__free(body);
    tr__free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back_as_it_was),
        cmocka_unit_test(extreme_numbers_come_back),
        cmocka_unit_test(bytes_of_all_lengths_come_back),
        cmocka_unit_test(the_text_is_as_documented),
        cmocka_unit_test(fields_are_in_the_order_of_the_declaration),
        cmocka_unit_test(text_that_is_not_utf8_is_printed_all_the_same),
        cmocka_unit_test(what_is_missing_is_zero),
        cmocka_unit_test(an_integer_will_do_for_a_float),
        cmocka_unit_test(what_is_not_an_object_of_the_type_is_refused),
        cmocka_unit_test(values_of_another_kind_or_range_are_refused),
        cmocka_unit_test(strings_that_are_no_u64_or_no_base64_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(every_truncation_and_changed_byte_is_refused_or_gives_a_good_body),
        cmocka_unit_test(when_an_allocation_fails_it_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
