/* actors/kinds/download_job.c between a source and a sink made here, both driven by hand, so that each order
 * of events can be had. */
#include "actors/kinds/download_job.h"
#include "base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- fixture: a source and a sink that only note what they are told ------------------------------------ */

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

/* ---- a job --------------------------------------------------------------------------------------------- */

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

static void a_range_that_ends_early_is_kept_and_no_whole_file(void **state)
{
    (void)state;
    tr__dl_job job = new_job();
    job.resume = true;
    tr__dl_job_start(&job);
    opened(5, "\"v\"", 10);
    head(206, 3, "bytes 5-7/10", "\"v\"");
    source.up->data(source.context, "abc", 3);
    source.up->done(source.context, TR_OK, "");
    assert_int_equal(sink.finishes, 0);
    assert_true(sink.kept);
    closed();
    assert_int_equal(job.error.code, TR_ESHORT);
    assert_non_null(strstr(job.error.text, "byte 8 of 10"));
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
        cmocka_unit_test(a_range_that_ends_early_is_kept_and_no_whole_file),
        cmocka_unit_test(a_failing_disk_cancels_the_transfer),
        cmocka_unit_test(a_cut_transfer_is_kept_for_resume),
        cmocka_unit_test(stopping_ends_it_in_each_state),
        cmocka_unit_test(a_broken_source_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
