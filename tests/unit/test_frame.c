/* The frame codec: round trips, and hostile bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/frame.h"

static tr__hello example(void)
{
    tr__hello hello = {
        .version_min = 1, .version_max = 3, .capabilities = 0x80000001, .id = 0xfedcba9876543210};
    strcpy(hello.cluster, "test.cluster-1");
    memset(hello.name, 'n', TR__NAME_MAX);
    strcpy(hello.address, "[::1]:7100");
    hello.message_max = 1ull << 40;
    return hello;
}

/* One frame of each kind, as the encoders make them; returns its size. */
static size_t make(tr__frame_kind kind, uint8_t *bytes)
{
    tr__hello hello = example();
    switch (kind) {
    case TR__FRAME_HELLO:
    case TR__FRAME_HELLO_ACK:
        return tr__frame_put_hello(bytes, kind, 1, &hello);
    case TR__FRAME_REFUSE:
        return tr__frame_put_refuse(bytes, 2, &(tr_error){TR_EEXIST, "two nodes are named bob"});
    case TR__FRAME_ACK:
        return tr__frame_put_ack(bytes, 3, &(tr__ack){77, 1234567890123});
    case TR__FRAME_GRANT:
        return tr__frame_put_grant(bytes, UINT64_MAX, UINT64_MAX - 1);
    case TR__FRAME_BATCH:
        memcpy(bytes + TR__BATCH_OVERHEAD, "opaque", 6);
        tr__frame_put_count(bytes + TR__FRAME_HEADER, 2);
        tr__frame_finish(bytes, kind, 10, 9);
        return TR__BATCH_OVERHEAD + 6;
    case TR__FRAME_CHUNK:
        tr__frame_put_chunk(bytes, 6, 2, 6, 9);
        memcpy(bytes + TR__CHUNK_OVERHEAD, "opaque", 6);
        tr__frame_finish(bytes, kind, 18, 9);
        return TR__CHUNK_OVERHEAD + 6;
    case TR__FRAME_BULK_GRANT:
        return tr__frame_put_bulk_grant(bytes, 7, 1ull << 50);
    case TR__FRAME_KEY:
        return tr__frame_put_key(bytes, 1, (const uint8_t *)"a public key of thirty-two bytes");
    default:
        return tr__frame_put_empty(bytes, kind, 4);
    }
}

/* Every getter on a decoded frame; whatever they say, they must not read beyond it (asan). */
static tr_err read_body(const tr__frame *frame, tr_error *error)
{
    tr__hello hello;
    tr_error why;
    tr__ack ack;
    uint64_t grant, left;
    const uint8_t *bytes;
    size_t length;
    uint32_t messages;
    uint8_t key[TR__KEY_SIZE];
    switch (frame->kind) {
    case TR__FRAME_HELLO:
    case TR__FRAME_HELLO_ACK:
        return tr__frame_get_hello(frame, &hello, error);
    case TR__FRAME_REFUSE:
        return tr__frame_get_refuse(frame, &why, error);
    case TR__FRAME_ACK:
        return tr__frame_get_ack(frame, &ack, error);
    case TR__FRAME_GRANT:
    case TR__FRAME_BULK_GRANT:
        return tr__frame_get_grant(frame, &grant, error);
    case TR__FRAME_CHUNK:
        return tr__frame_get_chunk(frame, &bytes, &length, &left, &messages, error);
    case TR__FRAME_BATCH:
        return tr__frame_get_batch(frame, &bytes, &length, &messages, error);
    case TR__FRAME_KEY:
        return tr__frame_get_key(frame, key, error);
    default:
        return TR_OK;
    }
}

static void every_kind_survives_the_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    tr_error error, why;
    tr__hello hello, sent = example();
    tr__ack ack;
    uint64_t grant, left;
    const uint8_t *messages;
    size_t length;
    uint32_t count;
    for (tr__frame_kind kind = 1; kind < TR__FRAME_KINDS; kind++) {
        size_t size = make(kind, bytes);
        assert_int_equal(tr__frame_decode(bytes, size, size, &frame, &error), TR_OK);
        assert_int_equal(frame.kind, kind);
        assert_int_equal(frame.lane, kind == TR__FRAME_BATCH   ? TR__LANE_NORMAL
                                     : kind == TR__FRAME_CHUNK ? TR__LANE_BULK
                                                               : TR__LANE_CONTROL);
        assert_int_equal(frame.length + TR__FRAME_HEADER, size);
        assert_int_equal(read_body(&frame, &error), TR_OK);
    }
    tr__frame_decode(bytes, make(TR__FRAME_HELLO, bytes), 512, &frame, &error);
    assert_int_equal(tr__frame_get_hello(&frame, &hello, &error), TR_OK);
    assert_memory_equal(&hello, &sent, sizeof hello);
    tr__frame_decode(bytes, make(TR__FRAME_REFUSE, bytes), 512, &frame, &error);
    assert_int_equal(tr__frame_get_refuse(&frame, &why, &error), TR_OK);
    assert_int_equal(why.code, TR_EEXIST);
    assert_string_equal(why.text, "two nodes are named bob");
    tr__frame_decode(bytes, make(TR__FRAME_ACK, bytes), 512, &frame, &error);
    tr__frame_get_ack(&frame, &ack, &error);
    assert_int_equal(ack.sequence, 77);
    assert_int_equal(ack.messages, 1234567890123);
    tr__frame_decode(bytes, make(TR__FRAME_GRANT, bytes), 512, &frame, &error);
    tr__frame_get_grant(&frame, &grant, &error);
    assert_int_equal(grant, UINT64_MAX - 1);
    assert_int_equal(frame.sequence, UINT64_MAX);
    tr__frame_decode(bytes, make(TR__FRAME_BATCH, bytes), 512, &frame, &error);
    tr__frame_get_batch(&frame, &messages, &length, &count, &error);
    assert_int_equal(length, 6);
    assert_int_equal(count, 2);
    assert_memory_equal(messages, "opaque", 6);
    tr__frame_decode(bytes, make(TR__FRAME_CHUNK, bytes), 512, &frame, &error);
    assert_int_equal(tr__frame_get_chunk(&frame, &messages, &length, &left, &count, &error), TR_OK);
    assert_int_equal(left, 6);
    assert_int_equal(count, 2);
    assert_memory_equal(messages, "opaque", 6);
    tr__frame_decode(bytes, make(TR__FRAME_BULK_GRANT, bytes), 512, &frame, &error);
    assert_int_equal(tr__frame_get_grant(&frame, &grant, &error), TR_OK);
    assert_int_equal(grant, 1ull << 50);
    uint8_t key[TR__KEY_SIZE];
    tr__frame_decode(bytes, make(TR__FRAME_KEY, bytes), 512, &frame, &error);
    assert_int_equal(tr__frame_get_key(&frame, key, &error), TR_OK);
    assert_memory_equal(key, "a public key of thirty-two bytes", TR__KEY_SIZE);
}

static void a_key_frame_of_another_suite_is_a_version_error(void **state)
{
    (void)state;
    uint8_t bytes[512], key[TR__KEY_SIZE];
    tr__frame frame;
    tr_error error;
    size_t size = make(TR__FRAME_KEY, bytes);
    bytes[TR__FRAME_HEADER] = 2;
    tr__frame_finish(bytes, TR__FRAME_KEY, (uint32_t)size - TR__FRAME_HEADER, 1);
    assert_int_equal(tr__frame_decode(bytes, size, 512, &frame, &error), TR_OK);
    assert_int_equal(tr__frame_get_key(&frame, key, &error), TR_EVERSION);
    assert_non_null(strstr(error.text, "suite 2"));
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    for (tr__frame_kind kind = 1; kind < TR__FRAME_KINDS; kind++) {
        size_t size = make(kind, bytes);
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *exact = malloc(cut ? cut : 1); /* so that asan sees a step beyond */
            tr_error error = {.code = TR_OK};
            memcpy(exact, bytes, cut);
            assert_int_equal(tr__frame_decode(exact, cut, 512, &frame, &error), TR_EPROTO);
            assert_int_not_equal(error.text[0], 0);
            free(exact);
        }
    }
}

static void every_flipped_bit_is_an_error(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    for (tr__frame_kind kind = 1; kind < TR__FRAME_KINDS; kind++) {
        size_t size = make(kind, bytes);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            tr_error error = {.code = TR_OK};
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            tr_err err = tr__frame_decode(bytes, size, 512, &frame, &error);
            assert_true(err == TR_EPROTO || err == TR_EVERSION);
            assert_int_equal(error.code, err);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

/* With a right checksum, so that the bodies' own bounds are what decides. */
static void every_body_cut_or_changed_is_an_error_or_in_bounds(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    tr_error error;
    for (tr__frame_kind kind = 1; kind < TR__FRAME_KINDS; kind++) {
        size_t size = make(kind, bytes);
        for (size_t cut = TR__FRAME_HEADER; cut < size; cut++) {
            uint8_t *exact = malloc(cut);
            memcpy(exact, bytes, cut);
            tr__frame_finish(exact, kind, (uint32_t)(cut - TR__FRAME_HEADER), 1);
            if (tr__frame_decode(exact, cut, 512, &frame, &error) == TR_OK && kind != TR__FRAME_BATCH)
                assert_int_equal(read_body(&frame, &error), TR_EPROTO);
            free(exact);
        }
        for (size_t at = TR__FRAME_HEADER; at < size; at++) {
            for (int value = 0; value < 256; value++) {
                uint8_t *exact = malloc(size);
                memcpy(exact, bytes, size);
                exact[at] = (uint8_t)value;
                tr__frame_finish(exact, kind, (uint32_t)(size - TR__FRAME_HEADER), 1);
                assert_int_equal(tr__frame_decode(exact, size, 512, &frame, &error), TR_OK);
                read_body(&frame, &error);
                free(exact);
            }
        }
    }
}

static void absurd_lengths_are_refused_before_anything_else(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    tr_error error;
    static const uint32_t lengths[] = {UINT32_MAX, 1u << 31, TR__FRAME_SIZE_MAX, 0, 4};
    make(TR__FRAME_BATCH, bytes);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(bytes + 8, &lengths[i], 4);
        assert_int_equal(tr__frame_header(bytes, SIZE_MAX, &frame, &error), TR_EPROTO);
        assert_non_null(strstr(error.text, "batch"));
    }
    memcpy(bytes + 8, &(uint32_t){TR__FRAME_SIZE_MAX - TR__FRAME_HEADER}, 4);
    assert_int_equal(tr__frame_header(bytes, TR__FRAME_SIZE_MAX, &frame, &error), TR_OK);
    assert_int_equal(tr__frame_header(bytes, TR__FRAME_SIZE_HELLO, &frame, &error), TR_EPROTO);
}

static void a_batch_cannot_claim_more_messages_than_bytes(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    tr_error error;
    static const uint32_t counts[] = {0, 7, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        size_t size = make(TR__FRAME_BATCH, bytes);
        tr__frame_put_count(bytes + TR__FRAME_HEADER, counts[i]);
        tr__frame_finish(bytes, TR__FRAME_BATCH, 10, 1);
        assert_int_equal(tr__frame_decode(bytes, size, 512, &frame, &error), TR_OK);
        assert_int_equal(read_body(&frame, &error), TR_EPROTO);
    }
}

static void a_hello_of_a_later_version_may_say_more(void **state)
{
    (void)state;
    uint8_t bytes[512];
    tr__frame frame;
    tr__hello hello;
    tr_error error;
    size_t size = make(TR__FRAME_HELLO, bytes);
    memset(bytes + size, 0xee, 9);
    tr__frame_finish(bytes, TR__FRAME_HELLO, (uint32_t)(size + 9 - TR__FRAME_HEADER), 1);
    assert_int_equal(tr__frame_decode(bytes, size + 9, 512, &frame, &error), TR_OK);
    assert_int_equal(tr__frame_get_hello(&frame, &hello, &error), TR_OK);
    assert_string_equal(hello.address, "[::1]:7100");
}

static void an_unknown_refusal_is_a_refusal_and_its_text_is_made_printable(void **state)
{
    (void)state;
    uint8_t bytes[512] = {0};
    tr__frame frame;
    tr_error why, error;
    memcpy(bytes + TR__FRAME_HEADER, "\3new\5a\033[2J", 10);
    tr__frame_finish(bytes, TR__FRAME_REFUSE, 10, 1);
    assert_int_equal(tr__frame_decode(bytes, 34, 512, &frame, &error), TR_OK);
    assert_int_equal(tr__frame_get_refuse(&frame, &why, &error), TR_OK);
    assert_int_equal(why.code, TR_EREFUSED);
    assert_string_equal(why.text, "a?[2J");
}

static void names_are_of_plain_characters(void **state)
{
    (void)state;
    tr_error error;
    char longest[TR__NAME_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[TR__NAME_MAX + 1] = 0;
    assert_int_equal(tr__name_check("node", longest, &error), TR_EINVAL);
    longest[TR__NAME_MAX] = 0;
    assert_int_equal(tr__name_check("node", longest, &error), TR_OK);
    assert_int_equal(tr__name_check("node", "A-z_0.9", &error), TR_OK);
    assert_int_equal(tr__name_check("node", "", &error), TR_EINVAL);
    assert_int_equal(tr__name_check("node", "a b", &error), TR_EINVAL);
    assert_int_equal(tr__name_check("node", "\xc3\xa4", &error), TR_EINVAL);
    assert_non_null(strstr(error.text, "character 1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_survives_the_round_trip),
        cmocka_unit_test(every_truncation_is_an_error),
        cmocka_unit_test(every_flipped_bit_is_an_error),
        cmocka_unit_test(every_body_cut_or_changed_is_an_error_or_in_bounds),
        cmocka_unit_test(absurd_lengths_are_refused_before_anything_else),
        cmocka_unit_test(a_key_frame_of_another_suite_is_a_version_error),
        cmocka_unit_test(a_batch_cannot_claim_more_messages_than_bytes),
        cmocka_unit_test(a_hello_of_a_later_version_may_say_more),
        cmocka_unit_test(an_unknown_refusal_is_a_refusal_and_its_text_is_made_printable),
        cmocka_unit_test(names_are_of_plain_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
