/* mailbox/addr.c: addresses as text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mailbox/type.h"

#include <stdio.h>
#include <string.h>

static void an_address_comes_back_as_it_was(void **state)
{
    (void)state;
    const tr_addr addresses[] = {
        {0xa1f3c09e12345678, 12, 7},
        {0, 0, 1},
        {UINT64_MAX, UINT32_MAX, UINT32_MAX},
        {1, 10, 100},
        TR_ADDR_NONE,
    };
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char text[TR_ADDR_TEXT_MAX], again[TR_ADDR_TEXT_MAX];
        tr_addr back = {9, 9, 9};
        tr_error error;
        tr__addr_format(addresses[i], text);
        assert_int_equal(tr__addr_parse(text, &back, &error), TR_OK);
        assert_true(tr_addr_equal(back, addresses[i]));
        tr__addr_format(back, again);
        assert_string_equal(text, again);
    }
}

static void an_address_reads_as_documented(void **state)
{
    (void)state;
    char text[TR_ADDR_TEXT_MAX];
    tr__addr_format((tr_addr){0xa1f3c09e12345678, 12, 7}, text);
    assert_string_equal(text, "<a1f3c09e12345678.12.7>");
    tr__addr_format(TR_ADDR_NONE, text);
    assert_string_equal(text, "<none>");
    tr__addr_format((tr_addr){5, 5, 0}, text);
    assert_string_equal(text, "<none>");
}

static void any_other_spelling_is_refused(void **state)
{
    (void)state;
    const char *const wrong[] = {
        "",
        "<",
        "none",
        "<none",
        "<none> ",
        "<None>",
        "<a1f3c09e12345678.12.0>",
        "<a1f3c09e12345678.12.7",
        "<a1f3c09e12345678.12.7>x",
        " <a1f3c09e12345678.12.7>",
        "a1f3c09e12345678.12.7",
        "<A1F3C09E12345678.12.7>",
        "<a1f3c09e1234567.12.7>",
        "<a1f3c09e123456789.12.7>",
        "<a1f3c09e12345678.012.7>",
        "<a1f3c09e12345678.12.07>",
        "<a1f3c09e12345678.+12.7>",
        "<a1f3c09e12345678.-1.7>",
        "<a1f3c09e12345678. 1.7>",
        "<a1f3c09e12345678.4294967296.7>",
        "<a1f3c09e12345678.12.4294967296>",
        "<a1f3c09e12345678.12.99999999999999999999>",
        "<a1f3c09e12345678.12>",
        "<a1f3c09e12345678..7>",
        "<a1f3c09e12345678.12.>",
        "<a1f3c09e12345678.12.7.1>",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        tr_addr address = {1, 2, 3};
        tr_error error = {TR_OK, ""};
        if (tr__addr_parse(wrong[i], &address, &error) != TR_EADDR)
            fail_msg("accepted: %s", wrong[i]);
        assert_int_equal(error.code, TR_EADDR);
        assert_non_null(strstr(error.text, wrong[i]));
        assert_true(tr_addr_equal(address, (tr_addr){1, 2, 3}));
        assert_int_equal(tr__addr_parse(wrong[i], &address, NULL), TR_EADDR);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_comes_back_as_it_was),
        cmocka_unit_test(an_address_reads_as_documented),
        cmocka_unit_test(any_other_spelling_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
