/* The codecs of the stream client: what they write, and that answers come out the same however the bytes
 * arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/kinds/codec.h"
#include "base/mem.h"

/* ---- fixture: a sink that writes all it hears into one text -------------------------------------------- */

typedef struct heard {
    char text[8192];
    size_t size;
    unsigned answers, outstanding; /* outstanding: questions still to be answered */
    bool no_body, last;
} heard;

static void note(heard *h, const void *data, size_t size)
{
    assert_true(h->size + size < sizeof(h->text));
    memcpy(h->text + h->size, data, size);
    h->size += size;
    h->text[h->size] = '\0';
}

static bool on_question(void *context, tr__question *question)
{
    heard *h = context;
    *question = (tr__question){.no_body = h->no_body};
    return h->outstanding > 0;
}

static void on_answer(void *context, tr_type *type, const void *body, bool last)
{
    heard *h = context;
    char line[512];
    h->answers++;
    h->outstanding--;
    h->last = last;
    if (strcmp(type->name, "tr_http_response") == 0) {
        const tr_http_response *r = body;
        snprintf(line, sizeof(line), "%u|%s|%s|", r->status, r->content_type, r->headers);
        note(h, line, strlen(line));
        note(h, r->body.data ? r->body.data : "", r->body.size);
    } else {
        const tr_redis_reply *r = body;
        snprintf(line, sizeof(line), "%u:%lld:%s:", r->kind, (long long)r->integer, r->json);
        note(h, line, strlen(line));
        note(h, r->text.data ? r->text.data : "", r->text.size);
    }
    note(h, "\n", 1);
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static const tr__codec_limits usual = {1 << 20, 1 << 16};

/* Feed `bytes` in two pieces, cut at `at`, then the end if `ends`. */
static tr_err feed_split(const tr__codec *codec, const tr__codec_limits *limits, heard *h, const char *bytes,
                         size_t size, size_t at, bool ends, tr_error *error)
{
    void *parser = codec->create(limits, &(tr__codec_sink){on_question, on_answer, h});
    assert_non_null(parser);
    tr_err err = codec->feed(parser, bytes, at, error);
    if (err == TR_OK)
        err = codec->feed(parser, bytes + at, size - at, error);
    if (err == TR_OK && ends)
        err = codec->finish(parser, error);
    codec->destroy(parser);
    return err;
}

static void same_at_every_split(const tr__codec *codec, const char *bytes, size_t size, unsigned answers,
                                bool no_body, bool ends, const char *expected)
{
    for (size_t at = 0; at <= size; at++) {
        heard h = {.outstanding = answers, .no_body = no_body};
        tr_error error = {0};
        assert_int_equal(feed_split(codec, &usual, &h, bytes, size, at, ends, &error), TR_OK);
        assert_string_equal(h.text, expected);
        assert_int_equal(h.answers, answers);
    }
    void *parser;
    heard h = {.outstanding = answers, .no_body = no_body};
    tr_error error = {0};
    parser = codec->create(&usual, &(tr__codec_sink){on_question, on_answer, &h});
    for (size_t i = 0; i < size; i++)
        assert_int_equal(codec->feed(parser, bytes + i, 1, &error), TR_OK);
    if (ends)
        assert_int_equal(codec->finish(parser, &error), TR_OK);
    codec->destroy(parser);
    assert_string_equal(h.text, expected);
}

/* What feeding all of it at once fails with. */
static tr_err fails(const tr__codec *codec, const tr__codec_limits *limits, const char *bytes,
                    tr_error *error)
{
    heard h = {.outstanding = 9};
    return feed_split(codec, limits, &h, bytes, strlen(bytes), 0, true, error);
}

static tr_err encode(const tr__codec *codec, tr__asked asked, const void *body, char *out, size_t room,
                     tr__question *question)
{
    tr__buf buf = {0};
    tr_error error = {0};
    tr_err err = codec->encode("host:80", asked, body, &buf, question, &error);
    if (err == TR_OK)
        snprintf(out, room, "%.*s", (int)buf.size, buf.data);
    else
        snprintf(out, room, "%s", error.text);
    tr__buf_fini(&buf);
    return err;
}

static tr_err encode_http(tr_http_request request, char *out, size_t room)
{
    tr__question question;
    return encode(&tr__codec_http, TR__ASKED_HTTP, &request, out, room, &question);
}

static tr_err encode_redis(const char *words, char *out, size_t room)
{
    tr__question question;
    return encode(&tr__codec_resp, TR__ASKED_REDIS, &(tr_redis_command){.words = words}, out, room,
                  &question);
}

static tr_err encode_raw(const tr__codec *codec, const char *data, char *out, size_t room,
                         tr__question *question)
{
    return encode(codec, TR__ASKED_RAW, &(tr_request){.data = {data, strlen(data)}}, out, room, question);
}

/* ---- HTTP answers -------------------------------------------------------------------------------------- */

static void http_answers_are_the_same_at_every_split(void **state)
{
    (void)state;
    static const char bytes[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhello"
        "HTTP/1.1 204 No Content\r\nServer: t\r\n\r\n"
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n"
        "X-Trailer: 1\r\n\r\n"
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-type: a/b\r\n"
        "Content-Length: 0\r\n\r\n";
    same_at_every_split(&tr__codec_http, bytes, sizeof(bytes) - 1, 5, false, false,
                        "200|text/plain|Content-Type: text/plain\nX-Empty: \nContent-Length: 5\n|hello\n"
                        "204||Server: t\n|\n"
                        "304||Content-Length: 99\n|\n"
                        "200||Transfer-Encoding: chunked\n|abcdefg\n"
                        "404|a/b|content-type: a/b\nContent-Length: 0\n|\n");
}

static void http_head_has_no_body_whatever_its_headers_say(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"
                                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    same_at_every_split(&tr__codec_http, bytes, sizeof(bytes) - 1, 2, true, false,
                        "200||Content-Length: 77\n|\n200||Transfer-Encoding: chunked\n|\n");
}

static void http_body_until_close_ends_by_the_close(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.0 200 OK\r\n\r\nuntil the end";
    same_at_every_split(&tr__codec_http, bytes, sizeof(bytes) - 1, 1, false, true, "200|||until the end\n");
}

static void http_connection_close_makes_the_answer_the_last(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nxand more";
    heard h = {.outstanding = 3};
    tr_error error = {0};
    assert_int_equal(feed_split(&tr__codec_http, &usual, &h, bytes, sizeof(bytes) - 1, 20, false, &error),
                     TR_OK);
    assert_int_equal(h.answers, 1);
    assert_true(h.last);
}

static void http_garbage_is_a_protocol_error_that_shows_it(void **state)
{
    (void)state;
    tr_error error = {0};
    assert_int_equal(fails(&tr__codec_http, &usual, "SSH-2.0-OpenSSH_9.2\r\n", &error), TR_EPROTO);
    assert_non_null(strstr(error.text, "SH-2.0"));
    assert_int_equal(fails(&tr__codec_http, &usual, "HTTP/1.1 2x0 OK\r\n\r\n", &error), TR_EPROTO);
    assert_int_equal(fails(&tr__codec_http, &usual, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", &error),
                     TR_EPROTO);
    assert_int_equal(fails(&tr__codec_http, &usual, "HTTP/1.1 101 Switching\r\n\r\n", &error), TR_EPROTO);
    assert_int_equal(
        fails(&tr__codec_http, &usual,
              "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &error),
        TR_EPROTO);
    heard h = {.outstanding = 0};
    const char *unasked = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(feed_split(&tr__codec_http, &usual, &h, unasked, strlen(unasked), 0, false, &error),
                     TR_EPROTO);
}

static void http_answers_beyond_a_limit_are_too_big(void **state)
{
    (void)state;
    tr_error error = {0};
    tr__codec_limits small = {10, 40};
    assert_int_equal(fails(&tr__codec_http, &small, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", &error),
                     TR_ETOOBIG);
    assert_int_equal(
        fails(&tr__codec_http, &small,
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n", &error),
        TR_ETOOBIG);
    assert_int_equal(fails(&tr__codec_http, &small,
                           "HTTP/1.1 200 OK\r\nX-Long: 123456789012345678901234567890123456789\r\n\r\n",
                           &error),
                     TR_ETOOBIG);
}

static void http_end_within_an_answer_is_short(void **state)
{
    (void)state;
    tr_error error = {0};
    assert_int_equal(
        fails(&tr__codec_http, &usual, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", &error), TR_ESHORT);
    assert_int_equal(fails(&tr__codec_http, &usual, "HTTP/1.1 200 OK\r\nConte", &error), TR_ESHORT);
    assert_int_equal(fails(&tr__codec_http, &usual, "", &error), TR_OK);
}

/* ---- HTTP requests ------------------------------------------------------------------------------------- */

static void http_requests_are_written_whole(void **state)
{
    (void)state;
    char out[512];
    assert_int_equal(encode_http((tr_http_request){.method = "GET", .path = "/a?b=c"}, out, sizeof(out)),
                     TR_OK);
    assert_string_equal(out, "GET /a?b=c HTTP/1.1\r\nHost: host:80\r\n\r\n");
    assert_int_equal(encode_http((tr_http_request){.method = "POST",
                                                   .path = "/",
                                                   .headers = "Host: other\nX-A: 1\r\n",
                                                   .body = {"body", 4}},
                                 out, sizeof(out)),
                     TR_OK);
    assert_string_equal(out, "POST / HTTP/1.1\r\nHost: other\r\nX-A: 1\r\nContent-Length: 4\r\n\r\nbody");
}

static void http_requests_that_would_be_two_are_refused(void **state)
{
    (void)state;
    char out[512];
    tr__question question;
    const tr_http_request bad[] = {
        {.method = "GET ", .path = "/"},
        {.method = "", .path = "/"},
        {.method = "CONNECT", .path = "/"},
        {.method = "GET", .path = "/ HTTP/1.1\r\n\r\nGET /"},
        {.method = "GET", .path = ""},
        {.method = "GET", .path = "/", .headers = "X: 1\n\nGET / HTTP/1.1"},
        {.method = "GET", .path = "/", .headers = "X: 1\rY: 2"},
        {.method = "GET", .path = "/", .headers = "no colon"},
        {.method = "GET", .path = "/", .headers = "Content-Length: 9"},
        {.method = "GET", .path = "/", .headers = "transfer-encoding: chunked"},
        {.method = "GET", .path = "/", .headers = "Upgrade: websocket"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(encode_http(bad[i], out, sizeof(out)), TR_EINVAL);
    assert_int_equal(encode_raw(&tr__codec_http, "GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", out,
                                sizeof(out), &question),
                     TR_EINVAL);
    assert_int_equal(encode_raw(&tr__codec_http, "GET / HTTP/1.1\r\n", out, sizeof(out), &question),
                     TR_EINVAL);
    assert_int_equal(encode_raw(&tr__codec_http, "", out, sizeof(out), &question), TR_EINVAL);
    assert_int_equal(encode_raw(&tr__codec_http, "HEAD / HTTP/1.1\r\n\r\n", out, sizeof(out), &question),
                     TR_OK);
    assert_true(question.no_body);
}

static void http_methods_that_may_be_asked_twice_are_known(void **state)
{
    (void)state;
    char out[512];
    tr__question question;
    const char *yes[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}, *no[] = {"POST", "PATCH", "get"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        tr_http_request request = {.method = yes[i], .path = "/"};
        assert_int_equal(encode(&tr__codec_http, TR__ASKED_HTTP, &request, out, sizeof(out), &question),
                         TR_OK);
        assert_true(question.idempotent);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        tr_http_request request = {.method = no[i], .path = "/"};
        assert_int_equal(encode(&tr__codec_http, TR__ASKED_HTTP, &request, out, sizeof(out), &question),
                         TR_OK);
        assert_false(question.idempotent);
    }
}

/* ---- Redis answers ------------------------------------------------------------------------------------- */

static void resp_answers_are_the_same_at_every_split(void **state)
{
    (void)state;
    static const char bytes[] = "+OK\r\n-ERR no\r\n:-42\r\n$5\r\nhe\r\no\r\n$-1\r\n*-1\r\n$0\r\n\r\n"
                                "*6\r\n:1\r\n$1\r\na\r\n$2\r\n\xff\xfe\r\n*2\r\n$-1\r\n+s\r\n-bad\r\n*0\r\n";
    same_at_every_split(&tr__codec_resp, bytes, sizeof(bytes) - 1, 8, false, true,
                        "1:0::OK\n2:0::ERR no\n3:-42::\n4:0::he\r\no\n0:0::\n0:0::\n4:0::\n"
                        "5:6:[1,\"a\",{\"base64\":\"//4=\"},[null,\"s\"],{\"error\":\"bad\"},[]]:\n");
}

static void resp_garbage_is_a_protocol_error_that_shows_it(void **state)
{
    (void)state;
    tr_error error = {0};
    assert_int_equal(fails(&tr__codec_resp, &usual, "HTTP/1.1 400 Bad\r\n", &error), TR_EPROTO);
    assert_non_null(strstr(error.text, "\"H\""));
    heard h = {.outstanding = 0};
    assert_int_equal(feed_split(&tr__codec_resp, &usual, &h, "+OK\r\n", 5, 0, false, &error), TR_EPROTO);
    assert_int_equal(fails(&tr__codec_resp, &usual, "$5\r\nhel", &error), TR_ESHORT);
    assert_int_equal(fails(&tr__codec_resp, &usual,
                           "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", &error),
                     TR_EPROTO);
}

static void resp_claimed_sizes_allocate_nothing(void **state)
{
    (void)state;
    tr_error error = {0};
    tr__codec_limits small = {20, 0};
    assert_int_equal(fails(&tr__codec_resp, &usual, "*2000000000\r\n:1\r\n", &error), TR_ESHORT);
    assert_int_equal(fails(&tr__codec_resp, &small, "$400000000\r\n123456789012345", &error), TR_ETOOBIG);
    assert_int_equal(fails(&tr__codec_resp, &small, "+1\r\n+2\r\n+3\r\n+4\r\n+5\r\n+6\r\n+7\r\n", &error),
                     TR_OK);
}

/* ---- Redis requests ------------------------------------------------------------------------------------ */

static void resp_words_are_split_and_unquoted(void **state)
{
    (void)state;
    char out[512];
    tr__question question;
    assert_int_equal(encode_redis("  GET  key ", out, sizeof(out)), TR_OK);
    assert_string_equal(out, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    assert_int_equal(encode_redis("SET \"a b\\x41\\n\\\"\" 'it\\'s \\n' \"\"", out, sizeof(out)), TR_OK);
    assert_string_equal(out, "*4\r\n$3\r\nSET\r\n$6\r\na bA\n\"\r\n$7\r\nit's \\n\r\n$0\r\n\r\n");
    tr_redis_command with = {.words = "SET k", .with_value = true, .value = {"v\r\n", 3}, .idempotent = true};
    assert_int_equal(encode(&tr__codec_resp, TR__ASKED_REDIS, &with, out, sizeof(out), &question), TR_OK);
    assert_string_equal(out, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nv\r\n\r\n");
    assert_true(question.idempotent);
}

static void resp_commands_that_break_the_order_are_refused(void **state)
{
    (void)state;
    char out[512];
    tr__question question;
    const char *bad[] = {"",        "  ",         "SET \"a",          "SET \"a\"b",        "subscribe x",
                         "MONITOR", "PSYNC ? -1", "client reply off", "CLIENT REPLY SKIP", "HELLO 3"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(encode_redis(bad[i], out, sizeof(out)), TR_EINVAL);
    const char *raw[] = {"",
                         "PING\r\n",
                         "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
                         "*1\r\n$4\r\nPI",
                         "*0\r\n",
                         "*1\r\n$7\r\nMONITOR\r\n"};
    for (size_t i = 0; i < sizeof(raw) / sizeof(raw[0]); i++)
        assert_int_equal(encode_raw(&tr__codec_resp, raw[i], out, sizeof(out), &question), TR_EINVAL);
    assert_int_equal(encode_raw(&tr__codec_resp, "*1\r\n$4\r\nPING\r\n", out, sizeof(out), &question), TR_OK);
    assert_string_equal(out, "*1\r\n$4\r\nPING\r\n");
    tr_http_request request = {.method = "GET", .path = "/"};
    assert_int_equal(encode(&tr__codec_resp, TR__ASKED_HTTP, &request, out, sizeof(out), &question),
                     TR_EINVAL);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static void each_failed_allocation_is_an_error(void **state)
{
    (void)state;
    const tr__codec *codecs[] = {&tr__codec_http, &tr__codec_resp};
    const char *bytes[] = {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "$2\r\nhi\r\n"};
    for (int i = 0; i < 2; i++) {
        bool whole = false;
        for (uint64_t n = 1; !whole; n++) {
            heard h = {.outstanding = 1};
            tr_error error = {0};
            tr__alloc_fail_at(n);
            void *parser = codecs[i]->create(&usual, &(tr__codec_sink){on_question, on_answer, &h});
            tr_err err = parser ? codecs[i]->feed(parser, bytes[i], strlen(bytes[i]), &error) : TR_ENOMEM;
            tr__alloc_fail_at(0);
            codecs[i]->destroy(parser);
            whole = err == TR_OK;
            assert_int_equal(h.answers, whole);
            assert_true(whole || err == TR_ENOMEM);
            assert_true(n < 100);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_answers_are_the_same_at_every_split),
        cmocka_unit_test(http_head_has_no_body_whatever_its_headers_say),
        cmocka_unit_test(http_body_until_close_ends_by_the_close),
        cmocka_unit_test(http_connection_close_makes_the_answer_the_last),
        cmocka_unit_test(http_garbage_is_a_protocol_error_that_shows_it),
        cmocka_unit_test(http_answers_beyond_a_limit_are_too_big),
        cmocka_unit_test(http_end_within_an_answer_is_short),
        cmocka_unit_test(http_requests_are_written_whole),
        cmocka_unit_test(http_requests_that_would_be_two_are_refused),
        cmocka_unit_test(http_methods_that_may_be_asked_twice_are_known),
        cmocka_unit_test(resp_answers_are_the_same_at_every_split),
        cmocka_unit_test(resp_garbage_is_a_protocol_error_that_shows_it),
        cmocka_unit_test(resp_claimed_sizes_allocate_nothing),
        cmocka_unit_test(resp_words_are_split_and_unquoted),
        cmocka_unit_test(resp_commands_that_break_the_order_are_refused),
        cmocka_unit_test(each_failed_allocation_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
