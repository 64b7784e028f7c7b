/* actors/kinds/download_rules.c, and download_job.c between a source and a sink made here: both are driven by
 * hand, so each order of events can be had. */
#include "actors/kinds/download_job.h"
#include "actors/kinds/download_rules.h"
#include "base/check.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- fixture: a source and a sink that only note what they are told
 * ---------------------------------------- */

struct tr__http_source {
    int starts, resumes, cancels;
    uint64_t from;
    char if_range[TR__DL_VALIDATOR_MAX + 1];
    bool refuses;
    const tr__http_upcalls *up;
    void *context;
};

struct tr__file_sink {
    int opens, begins, writes, finishes, closes, mutes;
    bool kept, full;
    uint64_t from, total, bytes;
    char validator[TR__DL_VALIDATOR_MAX + 1];
    const tr__file_upcalls *up;
    void *context;
};

static struct tr__http_source source;
static struct tr__file_sink sink;
static int ended;

static tr__http_get *start_get(tr__http_source *s, const tr__http_request *request,
                               const tr__http_upcalls *up, void *context, tr_error *error)
{
    if (s->refuses) {
        *error = (tr_error){TR_ECLOSED, "refuses"};
        return NULL;
    }
    s->starts++;
    s->from = request->from;
    snprintf(s->if_range, sizeof(s->if_range), "%s", request->if_range);
    s->up = up;
    s->context = context;
    return (tr__http_get *)s;
}

static void resume_get(tr__http_get *get)
{
    (void)get;
    source.resumes++;
}

static void cancel_get(tr__http_get *get)
{
    (void)get;
    source.cancels++;
}

static tr__file_sink *open_sink(tr__loop *loop, const tr__file_plan *plan, const tr__file_upcalls *up,
                                void *context, tr_error *error)
{
    (void)loop, (void)plan, (void)error;
    sink.opens++;
    sink.up = up;
    sink.context = context;
    return &sink;
}

static void begin_sink(tr__file_sink *s, uint64_t from, const char *validator, uint64_t total)
{
    s->begins++;
    s->from = from;
    s->total = total;
    snprintf(s->validator, sizeof(s->validator), "%s", validator);
}

static tr_err write_sink(tr__file_sink *s, const void *data, size_t size)
{
    (void)data;
    if (s->full)
        return TR_EFULL;
    s->writes++;
    s->bytes += size;
    return TR_OK;
}

static void finish_sink(tr__file_sink *s)
{
    s->finishes++;
}

static void close_sink(tr__file_sink *s, bool keep)
{
    s->closes++;
    s->kept = keep;
}

static void mute_sink(tr__file_sink *s)
{
    s->mutes++;
}

static void count_end(void *context)
{
    (void)context;
    ended++;
}

static const tr__http_seam http = {.start = start_get, .resume = resume_get, .cancel = cancel_get};
static const tr__file_seam files = {.open = open_sink,
                                    .begin = begin_sink,
                                    .write = write_sink,
                                    .finish = finish_sink,
                                    .close = close_sink,
                                    .mute = mute_sink};
static tr__dl_env env;

static tr__dl_job new_job(void)
{
    memset(&source, 0, sizeof(source));
    memset(&sink, 0, sizeof(sink));
    ended = 0;
    env = (tr__dl_env){.http = &http, .files = &files, .source = &source, .ended = count_end};
    return (tr__dl_job){.env = &env, .url = "http://h/f", .path = "/tmp/f", .sha256 = ""};
}

static tr__http_verdict head(uint32_t status, uint64_t length, const char *range, const char *etag)
{
    tr__http_head h = {status, length, range, etag, ""};
    return source.up->head(source.context, &h);
}

static void opened(uint64_t size, const char *validator, uint64_t total)
{
    tr__file_found found = {size, validator, total};
    sink.up->opened(sink.context, &found);
}

static void closed(void)
{
    assert_int_equal(sink.closes, 1);
    sink.up->closed(sink.context);
}

/* ---- URLs and names
 * ----------------------------------------------------------------------------------------- */

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

/* ---- the server's answers
 * ------------------------------------------------------------------------------------ */

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

/* ---- states
 * --------------------------------------------------------------------------------------------------- */

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

static char checked[400];
static jmp_buf back;

static void catch_check(const char *text)
{
    snprintf(checked, sizeof(checked), "%s", text);
    longjmp(back, 1);
}

static void starting_twice_is_a_bug_that_is_caught(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    tr__check_handler = catch_check;
    if (setjmp(back) == 0)
        tr__dl_job_start(&job);
    tr__check_handler = NULL;
    assert_non_null(strstr(checked, "from opening to opening"));
}

/* ---- a job
 * ---------------------------------------------------------------------------------------------------- */

static void a_whole_body_is_finished_and_told_once_closed(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    opened(0, "", 0);
    assert_int_equal(source.starts, 1);
    assert_int_equal(head(200, 3, "", "\"v\""), TR__HTTP_TAKE);
    assert_string_equal(sink.validator, "\"v\"");
    assert_int_equal(source.up->data(source.context, "abc", 3), TR__HTTP_TAKE);
    source.up->done(source.context, TR_OK, "");
    assert_int_equal(sink.finishes, 1);
    sink.up->finished(sink.context, "digest");
    assert_int_equal(ended, 0);
    closed();
    assert_int_equal(ended, 1);
    assert_int_equal(job.error.code, TR_OK);
    assert_int_equal(job.done, 3);
    assert_string_equal(job.digest, "digest");
    assert_int_equal(source.cancels, 0);
}

static void a_full_sink_pauses_the_source_until_it_has_drained(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    opened(0, "", 0);
    head(200, 6, "", "");
    sink.full = true;
    assert_int_equal(source.up->data(source.context, "abc", 3), TR__HTTP_PAUSE);
    assert_int_equal(job.done, 0);
    sink.full = false;
    sink.up->drained(sink.context);
    assert_int_equal(source.resumes, 1);
    sink.up->drained(sink.context);
    assert_int_equal(source.resumes, 1);
    assert_int_equal(source.up->data(source.context, "abc", 3), TR__HTTP_TAKE);
    tr__dl_job_abandon(&job);
}

static void resume_asks_for_the_rest_of_that_version(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    job.resume = true;
    tr__dl_job_start(&job);
    opened(5, "\"v\"", 10);
    assert_true(source.from == 5);
    assert_string_equal(source.if_range, "\"v\"");
    assert_int_equal(head(206, 5, "bytes 5-9/10", "\"v\""), TR__HTTP_TAKE);
    assert_true(sink.from == 5 && job.done == 5 && job.total == 10);
    tr__dl_job_abandon(&job);
    assert_true(sink.kept && sink.mutes == 1 && source.cancels == 1);
}

static void a_part_without_version_counts_only_if_a_digest_will_tell(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    opened(5, "", 10);
    assert_true(source.from == 0);
    tr__dl_job_abandon(&job);
    job = new_job();
    job.sha256 = "00";
    tr__dl_job_start(&job);
    opened(5, "", 10);
    assert_true(source.from == 5);
    tr__dl_job_abandon(&job);
}

static void a_range_that_is_refused_is_asked_anew_from_the_first_byte_once(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    opened(5, "\"v\"", 10);
    assert_int_equal(head(416, 0, "bytes */3", ""), TR__HTTP_DROP);
    source.up->done(source.context, TR_OK, "");
    assert_int_equal(source.starts, 2);
    assert_true(source.from == 0);
    assert_int_equal(sink.begins, 0);
    assert_int_equal(head(416, 0, "bytes */3", ""), TR__HTTP_DROP);
    source.up->done(source.context, TR_OK, "");
    assert_int_equal(source.starts, 2);
    closed();
    assert_int_equal(job.error.code, TR_EAPP);
}

static void another_version_is_taken_from_the_first_byte(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    opened(5, "\"v\"", 10);
    assert_int_equal(head(200, 12, "", "\"w\""), TR__HTTP_TAKE);
    assert_true(sink.from == 0 && job.done == 0 && job.from == 0);
    assert_string_equal(sink.validator, "\"w\"");
    tr__dl_job_abandon(&job);
}

static void a_missing_file_ends_without_being_begun(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr__dl_job_start(&job);
    opened(0, "", 0);
    assert_int_equal(head(404, 9, "", ""), TR__HTTP_DROP);
    source.up->done(source.context, TR_OK, "");
    assert_int_equal(sink.begins + sink.finishes, 0);
    closed();
    assert_int_equal(ended, 1);
    assert_int_equal(job.error.code, TR_ENOTFOUND);
    assert_non_null(strstr(job.error.text, "http://h/f"));
}

static void the_first_error_is_the_one_that_is_told(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    job.size = 2;
    tr__dl_job_start(&job);
    opened(0, "", 0);
    head(200, TR__HTTP_UNKNOWN, "", "");
    assert_int_equal(source.up->data(source.context, "abc", 3), TR__HTTP_ABORT);
    source.up->done(source.context, TR_ECANCELED, "given up");
    closed();
    assert_int_equal(job.error.code, TR_EMISMATCH);
}

static void fewer_bytes_than_expected_are_a_mismatch_and_not_kept(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    job.size = 4;
    job.resume = true;
    tr__dl_job_start(&job);
    opened(0, "", 0);
    head(200, TR__HTTP_UNKNOWN, "", "");
    source.up->data(source.context, "abc", 3);
    source.up->done(source.context, TR_OK, "");
    assert_int_equal(sink.finishes, 0);
    assert_false(sink.kept);
    closed();
    assert_int_equal(job.error.code, TR_EMISMATCH);
}

static void a_failing_disk_cancels_the_transfer(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    tr_error full = {TR_ENOSPC, "/tmp/f: no room"};
    tr__dl_job_start(&job);
    opened(0, "", 0);
    head(200, 3, "", "");
    sink.up->failed(sink.context, &full);
    assert_int_equal(source.cancels, 1);
    closed();
    assert_int_equal(job.error.code, TR_ENOSPC);
    assert_string_equal(job.error.text, full.text);
}

static void a_cut_transfer_is_kept_for_resume(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    job.resume = true;
    tr__dl_job_start(&job);
    opened(0, "", 0);
    head(200, 3, "", "\"v\"");
    source.up->data(source.context, "ab", 2);
    source.up->done(source.context, TR_ESHORT, "cut");
    assert_true(sink.kept);
    closed();
    assert_int_equal(job.error.code, TR_ESHORT);
}

static void stopping_ends_it_in_each_state(void **state)
{
    (void)state;
    for (int stage = 0; stage < 5; stage++) {
        tr__dl_job job = new_job();
        if (stage >= 1)
            tr__dl_job_start(&job);
        if (stage >= 2)
            opened(0, "", 0);
        if (stage >= 3) {
            head(200, 1, "", "");
            source.up->data(source.context, "a", 1);
        }
        if (stage >= 4)
            source.up->done(source.context, TR_OK, "");
        tr__dl_job_stop(&job, TR_ECANCELED, "canceled");
        tr__dl_job_stop(&job, TR_EDEADLINE, "again");
        if (stage >= 1)
            closed();
        assert_int_equal(ended, 1);
        assert_int_equal(job.state, TR__DL_ENDED);
        assert_int_equal(job.error.code, TR_ECANCELED);
        assert_int_equal(source.cancels, stage == 2 || stage == 3);
    }
}

static void a_broken_source_is_noted(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    source.refuses = true;
    tr__dl_job_start(&job);
    opened(0, "", 0);
    closed();
    assert_true(env.broken);
    assert_int_equal(job.error.code, TR_ECLOSED);
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
        cmocka_unit_test(starting_twice_is_a_bug_that_is_caught),
        cmocka_unit_test(a_whole_body_is_finished_and_told_once_closed),
        cmocka_unit_test(a_full_sink_pauses_the_source_until_it_has_drained),
        cmocka_unit_test(resume_asks_for_the_rest_of_that_version),
        cmocka_unit_test(a_part_without_version_counts_only_if_a_digest_will_tell),
        cmocka_unit_test(a_range_that_is_refused_is_asked_anew_from_the_first_byte_once),
        cmocka_unit_test(another_version_is_taken_from_the_first_byte),
        cmocka_unit_test(a_missing_file_ends_without_being_begun),
        cmocka_unit_test(the_first_error_is_the_one_that_is_told),
        cmocka_unit_test(fewer_bytes_than_expected_are_a_mismatch_and_not_kept),
        cmocka_unit_test(a_failing_disk_cancels_the_transfer),
        cmocka_unit_test(a_cut_transfer_is_kept_for_resume),
        cmocka_unit_test(stopping_ends_it_in_each_state),
        cmocka_unit_test(a_broken_source_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
