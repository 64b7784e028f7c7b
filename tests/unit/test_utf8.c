/* mailbox/utf8.h, against a plain decoder over every code point and all short byte sequences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailbox/utf8.h"

#include <stdbool.h>
#include <string.h>

/* Decodes by arithmetic and judges the result, where the code under test judges the bytes. */
static bool is_one_character(const uint8_t *bytes, size_t size)
{
    static const uint32_t smallest[] = {0, 1, 0x80, 0x800, 0x10000};
    uint32_t point = size == 1 ? bytes[0] : bytes[0] & (0x7fu >> size);
    uint32_t lead = size == 1 ? bytes[0] & 0x80 : bytes[0] >> (7 - size);
    if (lead != (size == 1 ? 0 : (2u << size) - 2))
        return false;
    for (size_t i = 1; i < size; i++) {
        if (bytes[i] >> 6 != 2)
            return false;
        point = point << 6 | (bytes[i] & 0x3f);
    }
    return point >= smallest[size] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
}

static void each_sequence_up_to_three_bytes_is_judged_right(void **state)
{
    (void)state;
    for (uint32_t all = 0; all < 1u << 24; all++) {
        const uint8_t bytes[3] = {(uint8_t)(all >> 16), (uint8_t)(all >> 8), (uint8_t)all};
        size_t valid = tr__utf8_valid(bytes, 3), at = 0;
        while (at < 3) {
            size_t size = 1;
            while (size <= 3 - at && !is_one_character(bytes + at, size))
                size++;
            if (size > 3 - at)
                break;
            at += size;
        }
        if (valid != at)
            fail_msg("%06x: %zu valid bytes, should be %zu", all, valid, at);
    }
}

static void each_sequence_of_four_with_a_high_lead_is_judged_right(void **state)
{
    (void)state;
    for (uint32_t all = 0; all < 1u << 24; all++) {
        /* The lead from 0xf0 on; the third and the fourth byte at the edges of their ranges. */
        static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x9f, 0xbf, 0xc0, 0xff};
        uint32_t rest = all & 0xfff;
        if ((rest & 63) >= 7 || (rest >> 6) >= 7)
            continue;
        const uint8_t bytes[4] = {(uint8_t)(0xf0 | (all >> 20)), (uint8_t)(all >> 12), edges[rest >> 6],
                                  edges[rest & 63]};
        size_t valid = tr__utf8_valid(bytes, 4);
        if ((valid == 4) != is_one_character(bytes, 4))
            fail_msg("%02x %02x %02x %02x", bytes[0], bytes[1], bytes[2], bytes[3]);
    }
}

static void a_bad_byte_is_found_wherever_it_is(void **state)
{
    (void)state;
    static const uint8_t bad[] = {0, 0x80, 0xff, 0xc0};
    char text[64];
    for (size_t length = 1; length <= sizeof text; length++) {
        for (size_t at = 0; at < length; at++) {
            for (size_t i = 0; i < sizeof bad; i++) {
                memset(text, 'a', sizeof text);
                assert_int_equal(tr__utf8_valid(text, length), length);
                text[at] = (char)bad[i];
                assert_int_equal(tr__utf8_valid(text, length), at);
            }
        }
    }
}

static void a_character_cut_at_the_end_is_not_valid(void **state)
{
    (void)state;
    const char *text = "abcdefgh\xf0\x9f\x8e\xad";
    assert_int_equal(tr__utf8_valid(text, 12), 12);
    for (size_t length = 9; length < 12; length++)
        assert_int_equal(tr__utf8_valid(text, length), 8);
    assert_int_equal(tr__utf8_valid("", 0), 0);
    assert_int_equal(tr__utf8_valid(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sequence_up_to_three_bytes_is_judged_right),
        cmocka_unit_test(each_sequence_of_four_with_a_high_lead_is_judged_right),
        cmocka_unit_test(a_bad_byte_is_found_wherever_it_is),
        cmocka_unit_test(a_character_cut_at_the_end_is_not_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
