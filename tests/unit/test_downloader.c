/* actors/kinds/download_rules.c: what a download may and must do. */
#include "actors/kinds/download_rules.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- URLs and names ------------------------------------------------------------------------------------ */

static void only_http_urls_with_a_host_are_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {"http://h/f", "HTTPS://h:8443/a%20b?x=1#y", "http://[::1]:80/f",
                                       "http://h"};
    static const char *const bad[] = {"",
                                      "ftp://h/f",
                                      "file:///etc/passwd",
                                      "http://",
                                      "http:///f",
                                      "http://:80/f",
                                      "http://u:p@h/f",
                                      "http://h/a b",
                                      "http://h/\n",
                                      "h/f",
                                      "http://h/\x7f"};
    tr_error error;
    for (size_t i = 0; i < TR_COUNT(good); i++)
        assert_int_equal(tr__dl_check_url(good[i], &error), TR_OK);
    for (size_t i = 0; i < TR_COUNT(bad); i++) {
        assert_int_equal(tr__dl_check_url(bad[i], &error), TR_EINVAL);
        assert_true(strlen(error.text) > 10);
    }
    char long_url[TR__DL_URL_MAX + 2];
    memset(long_url, 'a', sizeof(long_url));
    memcpy(long_url, "http://h/", 9);
    long_url[TR__DL_URL_MAX] = '\0';
    assert_int_equal(tr__dl_check_url(long_url, &error), TR_OK);
    long_url[TR__DL_URL_MAX] = 'a';
    long_url[TR__DL_URL_MAX + 1] = '\0';
    assert_int_equal(tr__dl_check_url(long_url, &error), TR_EINVAL);
}

static void a_password_in_a_url_is_not_repeated_in_the_error(void **state)
{
    (void)state;
    tr_error error;
    assert_int_equal(tr__dl_check_url("http://u:secret@h/f", &error), TR_EINVAL);
    assert_null(strstr(error.text, "secret"));
}

static void the_name_is_the_decoded_end_of_the_path(void **state)
{
    (void)state;
    static const struct {
        const char *url, *into, *path;
    } rows[] = {
        {"http://h/a/b.txt", "d/", "d/b.txt"}, {"http://h/a/b.txt?x=/y#/z", "d/", "d/b.txt"},
        {"http://h/a%20b", "/", "/a b"},       {"http://h/x", "d/other", "d/other"},
        {"http://h/", "name", "name"},         {"http://h/..a", "d/", "d/..a"},
        {"http://h/%2e%2Ea", "d/", "d/..a"},
    };
    tr_error error;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        char *path = NULL;
        assert_int_equal(tr__dl_path(rows[i].url, rows[i].into, &path, &error), TR_OK);
        assert_string_equal(path, rows[i].path);
        tr__free(path);
    }
}

static void a_name_that_leads_elsewhere_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *url, *into;
    } rows[] = {
        {"http://h/", "d/"},         {"http://h", "d/"},        {"http://h?f", "d/"},
        {"http://h/a/..", "d/"},     {"http://h/.", "d/"},      {"http://h/%2e%2e", "d/"},
        {"http://h/..%2fetc", "d/"}, {"http://h/%2fetc", "d/"}, {"http://h/a%00b", "d/"},
        {"http://h/a%0ab", "d/"},    {"http://h/a%", "d/"},     {"http://h/a%2", "d/"},
        {"http://h/a%zz", "d/"},     {"http://h/x.part", "d/"}, {"http://h/x.part.info", "d/"},
        {"http://h/x", ""},          {"http://h/x", "d/.."},    {"http://h/x", "d/y.part"},
    };
    tr_error error;
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        char *path = NULL;
        assert_int_equal(tr__dl_path(rows[i].url, rows[i].into, &path, &error), TR_EINVAL);
        assert_null(path);
    }
}

static void a_name_may_be_as_long_as_its_part_fits(void **state)
{
    (void)state;
    char url[400] = "http://h/", *path = NULL;
    tr_error error;
    memset(url + 9, 'n', TR__DL_NAME_MAX);
    assert_int_equal(tr__dl_path(url, "d/", &path, &error), TR_OK);
    tr__free(path);
    url[9 + TR__DL_NAME_MAX] = 'n';
    assert_int_equal(tr__dl_path(url, "d/", &path, &error), TR_EINVAL);
}

static void a_digest_has_64_hexadecimal_digits(void **state)
{
    (void)state;
    tr_error error;
    char digest[80];
    memset(digest, 'A', 64);
    digest[64] = '\0';
    assert_int_equal(tr__dl_check_sha256("", &error), TR_OK);
    assert_int_equal(tr__dl_check_sha256(digest, &error), TR_OK);
    digest[63] = 'g';
    assert_int_equal(tr__dl_check_sha256(digest, &error), TR_EINVAL);
    digest[63] = '\0';
    assert_int_equal(tr__dl_check_sha256(digest, &error), TR_EINVAL);
}

/* ---- the server's answers ------------------------------------------------------------------------------ */

static void a_content_range_is_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "bytes 5-9",
                                      "bytes 5-9/",
                                      "bytes -9/10",
                                      "bytes 9-5/10",
                                      "bytes 5-9/9",
                                      "bytes */10",
                                      "bytes 5-9/10 ",
                                      "items 5-9/10",
                                      "bytes 5-9/1x",
                                      "bytes  5-9/10",
                                      "bytes +5-9/10",
                                      "bytes 5-99999999999999999999/10"};
    uint64_t from, total;
    assert_true(tr__dl_content_range("bytes 5-9/10", &from, &total));
    assert_true(from == 5 && total == 10);
    assert_true(tr__dl_content_range("Bytes 5-9/*", &from, &total));
    assert_true(from == 5 && total == 0);
    for (size_t i = 0; i < TR_COUNT(bad); i++)
        assert_false(tr__dl_content_range(bad[i], &from, &total));
}

static void a_weak_etag_is_no_version(void **state)
{
    (void)state;
    tr__http_head h = {200, 1, "", "W/\"a\"", "Mon, 01 Jan 2024 00:00:00 GMT"};
    assert_string_equal(tr__dl_validator(&h), h.last_modified);
    h.etag = "\"a\"";
    assert_string_equal(tr__dl_validator(&h), "\"a\"");
}

static void each_answer_is_judged(void **state)
{
    (void)state;
    static const struct {
        tr__http_head head;
        tr__dl_wanted wanted;
        tr_err code;
        uint64_t from, total;
    } rows[] = {
        {{200, 10, "", "", ""}, {0, 0, "", 0}, TR_OK, 0, 10},
        {{200, TR__HTTP_UNKNOWN, "", "", ""}, {0, 0, "", 7}, TR_OK, 0, 0},
        {{200, TR__HTTP_MALFORMED, "", "", ""}, {0, 0, "", 0}, TR_EPROTO, 0, 0},
        {{206, TR__HTTP_MALFORMED, "bytes 5-9/10", "", ""}, {5, 10, "", 0}, TR_EPROTO, 0, 0},
        {{404, TR__HTTP_MALFORMED, "", "", ""}, {0, 0, "", 0}, TR_ENOTFOUND, 0, 0},
        {{200, 10, "", "", ""}, {0, 0, "", 11}, TR_EMISMATCH, 0, 0},
        {{200, 0, "", "", ""}, {0, 0, "", 11}, TR_EMISMATCH, 0, 0},
        {{200, 10, "", "\"b\"", ""}, {5, 10, "\"a\"", 0}, TR_OK, 0, 10}, /* another version: all of it */
        {{206, 5, "bytes 5-9/10", "\"a\"", ""}, {5, 10, "\"a\"", 10}, TR_OK, 5, 10},
        {{206, 5, "bytes 5-9/*", "", ""}, {5, 0, "\"a\"", 10}, TR_OK, 5, 10},
        {{206, 5, "bytes 5-9/10", "", ""}, {5, 11, "\"a\"", 0}, TR_EAGAIN, 0, 0},
        {{206, 5, "bytes 5-9/10", "\"b\"", ""}, {5, 10, "\"a\"", 0}, TR_EAGAIN, 0, 0},
        {{206, 5, "bytes 4-9/10", "", ""}, {5, 10, "", 0}, TR_EPROTO, 0, 0},
        {{206, 5, "", "", ""}, {5, 10, "", 0}, TR_EPROTO, 0, 0},
        {{206, 5, "bytes 5-9/10", "", ""}, {0, 0, "", 0}, TR_EPROTO, 0, 0},
        {{416, 0, "bytes */3", "", ""}, {5, 10, "", 0}, TR_EAGAIN, 0, 0},
        {{416, 0, "", "", ""}, {0, 0, "", 0}, TR_EAPP, 0, 0},
        {{404, 0, "", "", ""}, {0, 0, "", 0}, TR_ENOTFOUND, 0, 0},
        {{410, 0, "", "", ""}, {0, 0, "", 0}, TR_ENOTFOUND, 0, 0},
        {{403, 0, "", "", ""}, {0, 0, "", 0}, TR_EREFUSED, 0, 0},
        {{503, 0, "", "", ""}, {0, 0, "", 0}, TR_EAPP, 0, 0},
        {{204, 0, "", "", ""}, {0, 0, "", 0}, TR_EAPP, 0, 0},
        {{304, 0, "", "", ""}, {0, 0, "", 0}, TR_EAPP, 0, 0},
    };
    for (size_t i = 0; i < TR_COUNT(rows); i++) {
        tr__dl_answer answer;
        tr_error error;
        tr_err code = tr__dl_judge(&rows[i].head, &rows[i].wanted, &answer, &error);
        if (code != rows[i].code)
            print_error("row %zu\n", i);
        assert_int_equal(code, rows[i].code);
        if (code == TR_OK)
            assert_true(answer.from == rows[i].from && answer.total == rows[i].total);
    }
}

static void what_is_remembered_of_a_part_is_read_back(void **state)
{
    (void)state;
    tr__dl_info info = {"http://h/f", "\"a b\"", 12345678901234}, again;
    char text[TR__DL_INFO_TEXT_MAX];
    size_t length = tr__dl_info_print(&info, text);
    assert_true(tr__dl_info_parse(text, length, &again));
    assert_string_equal(again.url, info.url);
    assert_string_equal(again.validator, info.validator);
    assert_true(again.total == info.total);
    memset(info.url, 'u', TR__DL_URL_MAX);
    memset(info.validator, 'v', TR__DL_VALIDATOR_MAX);
    info.total = INT64_MAX;
    length = tr__dl_info_print(&info, text);
    assert_true(length < sizeof(text) && tr__dl_info_parse(text, length, &again));
}

static void a_torn_or_foreign_info_is_not_believed(void **state)
{
    (void)state;
    tr__dl_info info = {"http://h/f", "", 10}, again;
    char text[TR__DL_INFO_TEXT_MAX + 1];
    size_t length = tr__dl_info_print(&info, text);
    for (size_t cut = 0; cut < length; cut++)
        assert_false(tr__dl_info_parse(text, cut, &again));
    text[length] = 'x';
    assert_false(tr__dl_info_parse(text, length + 1, &again));
    text[3] ^= 1;
    assert_false(tr__dl_info_parse(text, length, &again));
}

/* ---- states -------------------------------------------------------------------------------------------- */

static void a_download_goes_forward_only(void **state)
{
    (void)state;
    for (int from = 0; from < TR__DL_STATES; from++)
        for (int to = 0; to < TR__DL_STATES; to++)
            if (to < from || (to == from && from != TR__DL_FETCHING))
                assert_false(tr__dl_may_move(from, to));
    assert_true(tr__dl_may_move(TR__DL_QUEUED, TR__DL_OPENING));
    assert_true(tr__dl_may_move(TR__DL_CLOSING, TR__DL_ENDED));
    assert_false(tr__dl_may_move(TR__DL_FETCHING, TR__DL_ENDED)); /* not with a sink that is open */
    assert_false(tr__dl_may_move(TR__DL_QUEUED, TR__DL_FETCHING));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_http_urls_with_a_host_are_accepted),
        cmocka_unit_test(a_password_in_a_url_is_not_repeated_in_the_error),
        cmocka_unit_test(the_name_is_the_decoded_end_of_the_path),
        cmocka_unit_test(a_name_that_leads_elsewhere_is_refused),
        cmocka_unit_test(a_name_may_be_as_long_as_its_part_fits),
        cmocka_unit_test(a_digest_has_64_hexadecimal_digits),
        cmocka_unit_test(a_content_range_is_read_strictly),
        cmocka_unit_test(a_weak_etag_is_no_version),
        cmocka_unit_test(each_answer_is_judged),
        cmocka_unit_test(what_is_remembered_of_a_part_is_read_back),
        cmocka_unit_test(a_torn_or_foreign_info_is_not_believed),
        cmocka_unit_test(a_download_goes_forward_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
