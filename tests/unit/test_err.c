/* base/err.c and base/check.c. */
#include "base/check.h"
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char checked[1200];

static void remember(const char *text)
{
    snprintf(checked, sizeof checked, "%s", text);
}

static tr_err fail_unless(tr_err code)
{
    TR_TRY(code);
    return TR_EAPP;
}

static void each_code_has_its_own_word_and_a_meaning(void **state)
{
    (void)state;
    for (int a = 0; a < TR_ERR_COUNT; a++) {
        assert_non_null(tr__err_word(a));
        assert_true(strlen(tr__err_word(a)) > 0 && strlen(tr__err_meaning(a)) > 0);
        assert_string_not_equal(tr__err_word(a), "unknown");
        for (int b = 0; b < a; b++)
            assert_string_not_equal(tr__err_word(a), tr__err_word(b));
    }
    assert_string_equal(tr__err_word(TR_OK), "ok");
    assert_string_equal(tr__err_word(TR_ENOCONN), "no-connection");
    assert_string_equal(tr__err_word(TR_EAPP), "app");
}

static void a_number_that_is_no_code_is_called_unknown(void **state)
{
    (void)state;
    assert_string_equal(tr__err_word(TR_ERR_COUNT), "unknown");
    assert_string_equal(tr__err_word((tr_err)-1), "unknown");
    assert_string_equal(tr__err_word((tr_err)1000000), "unknown");
    assert_non_null(tr__err_meaning((tr_err)-1));
}

static void errno_values_become_codes(void **state)
{
    (void)state;
    const struct {
        int number;
        tr_err code;
    } rows[] = {
        {0, TR_OK},
        {ENOENT, TR_ENOTFOUND},
        {ENOSPC, TR_ENOSPC},
        {EDQUOT, TR_ENOSPC},
        {EACCES, TR_EPERM},
        {EPERM, TR_EPERM},
        {ECONNREFUSED, TR_EREFUSED},
        {ECONNRESET, TR_ERESET},
        {EPIPE, TR_ERESET},
        {ETIMEDOUT, TR_EDEADLINE},
        {EADDRINUSE, TR_EADDRINUSE},
        {ENOMEM, TR_ENOMEM},
        {EEXIST, TR_EEXIST},
        {EINVAL, TR_EINVAL},
        {EIO, TR_EIO},
        {EBADF, TR_EIO},
        {-1, TR_EIO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(tr__err_from_errno(rows[i].number), rows[i].code);
}

static void fail_fills_code_and_text_and_returns_the_code(void **state)
{
    (void)state;
    tr_error error = {TR_OK, "old"};
    assert_int_equal(tr__fail(&error, TR_ENOTFOUND, "open %s: %d", "file", 7), TR_ENOTFOUND);
    assert_int_equal(error.code, TR_ENOTFOUND);
    assert_string_equal(error.text, "open file: 7");
    assert_int_equal(tr__fail(NULL, TR_EIO, "nobody %s", "listens"), TR_EIO);
}

static void an_error_may_be_wrapped_by_one_that_quotes_it(void **state)
{
    (void)state;
    tr_error error;
    tr__fail(&error, TR_EIO, "inner");
    tr__fail(&error, TR_EAPP, "outer: %s; %s", error.text, error.text);
    assert_string_equal(error.text, "outer: inner; inner");
}

static void a_long_text_is_cut_at_a_character(void **state)
{
    (void)state;
    const char *characters[] = {"x", "\u00e9", "\u20ac", "\U0001f600"};
    for (size_t c = 0; c < 4; c++) {
        for (size_t lead = 0; lead < 4; lead++) {
            char text[400];
            memset(text, 'a', lead);
            text[lead] = '\0';
            while (strlen(text) < 300)
                strcat(text, characters[c]);
            tr_error error;
            tr__fail(&error, TR_EIO, "%s", text);
            size_t size = strlen(characters[c]), length = strlen(error.text);
            assert_int_equal(length, lead + (TR_ERROR_TEXT_MAX - 1 - lead) / size * size);
            assert_memory_equal(error.text, text, length);
        }
    }
}

static void a_text_that_just_fits_is_kept_whole(void **state)
{
    (void)state;
    char text[TR_ERROR_TEXT_MAX + 1];
    memset(text, 'b', sizeof text);
    text[TR_ERROR_TEXT_MAX - 1] = '\0';
    tr_error error;
    tr__fail(&error, TR_EIO, "%s", text);
    assert_string_equal(error.text, text);
    text[TR_ERROR_TEXT_MAX - 2] = (char)0xc3; /* the first half of a character, from the caller */
    tr__fail(&error, TR_EIO, "%s", text);
    assert_string_equal(error.text, text);
}

static void bytes_that_are_no_utf8_are_cut_by_length(void **state)
{
    (void)state;
    char text[400];
    memset(text, 0x80, sizeof text);
    text[399] = '\0';
    tr_error error;
    tr__fail(&error, TR_EIO, "%s", text);
    assert_int_equal(strlen(error.text), TR_ERROR_TEXT_MAX - 1);
}

static void try_returns_what_is_not_ok(void **state)
{
    (void)state;
    assert_int_equal(fail_unless(TR_OK), TR_EAPP);
    assert_int_equal(fail_unless(TR_EFULL), TR_EFULL);
}

static void a_failed_check_tells_where_what_and_why(void **state)
{
    (void)state;
    checked[0] = '\0';
    tr__check_handler = remember;
    int answer = 41;
    tr__check(answer == 41, "not to be seen");
    assert_string_equal(checked, "");
    tr__check(answer == 42, "M1 answer is %d", answer);
    tr__check_handler = NULL;
    assert_non_null(strstr(checked, "test_err.c:"));
    assert_non_null(strstr(checked, "answer == 42"));
    assert_non_null(strstr(checked, "M1 answer is 41"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_code_has_its_own_word_and_a_meaning),
        cmocka_unit_test(a_number_that_is_no_code_is_called_unknown),
        cmocka_unit_test(errno_values_become_codes),
        cmocka_unit_test(fail_fills_code_and_text_and_returns_the_code),
        cmocka_unit_test(an_error_may_be_wrapped_by_one_that_quotes_it),
        cmocka_unit_test(a_long_text_is_cut_at_a_character),
        cmocka_unit_test(a_text_that_just_fits_is_kept_whole),
        cmocka_unit_test(bytes_that_are_no_utf8_are_cut_by_length),
        cmocka_unit_test(try_returns_what_is_not_ok),
        cmocka_unit_test(a_failed_check_tells_where_what_and_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
