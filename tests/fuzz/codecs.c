/* See codecs.h. */
#include "tests/fuzz/codecs.h"

#include <stdlib.h>
#include <string.h>

typedef struct heard {
    unsigned asked, answers;
    bool no_body, last;
    size_t bytes;
} heard;

static bool on_question(void *context, tr__question *question)
{
    heard *h = context;
    *question = (tr__question){.no_body = h->no_body};
    return h->asked > h->answers;
}

static void on_answer(void *context, tr_type *type, const void *body, bool last)
{
    heard *h = context;
    tr__check(!h->last, "an answer behind the last");
    h->answers++;
    h->last = last;
    if (strcmp(type->name, "tr_http_response") == 0) {
        const tr_http_response *r = body;
        h->bytes += r->body.size + strlen(r->headers) + strlen(r->content_type);
    } else {
        const tr_redis_reply *r = body;
        h->bytes += r->text.size + strlen(r->json);
    }
}

static void request(const tr__codec *codec, fuzz_bytes *in)
{
    tr__buf out = {0};
    tr__question question;
    tr_error error = {0};
    size_t length;
    uint8_t how = fuzz_byte(in);
    const uint8_t *at = fuzz_some(in, SIZE_MAX, &length);
    uint8_t *copy = fuzz_copy(at, length, true);
    tr_err err;
    if (how & 1) {
        tr_request raw = {.data = {copy, length}, .idempotent = how & 2};
        err = codec->encode("host:80", TR__ASKED_RAW, &raw, &out, &question, &error);
    } else if (codec == &tr__codec_http) {
        tr_http_request http = {.method = how & 2 ? "GET" : "POST",
                                .path = how & 4 ? (char *)copy : "/",
                                .headers = how & 4 ? "" : (char *)copy,
                                .body = {"x", (how >> 3) & 1}};
        err = codec->encode("host:80", TR__ASKED_HTTP, &http, &out, &question, &error);
    } else {
        tr_redis_command command = {.words = (char *)copy, .with_value = how & 2, .value = {"v", 1}};
        err = codec->encode("host:80", TR__ASKED_REDIS, &command, &out, &question, &error);
    }
    tr__check(err == TR_OK || error.text[0], "an error without a text");
    tr__buf_fini(&out);
    free(copy);
}

static void answers(const tr__codec *codec, uint8_t how, fuzz_bytes *in)
{
    heard h = {.asked = how >> 5, .no_body = how & 2};
    const tr__codec_limits limits = {4096, 1024};
    void *parser = codec->create(&limits, &(tr__codec_sink){on_question, on_answer, &h});
    size_t piece = how & 4 ? 1 + (size_t)(how >> 3 & 3) : SIZE_MAX, length;
    tr_error error = {0};
    tr_err err = TR_OK;
    while (err == TR_OK && fuzz_more(in)) {
        const uint8_t *at = fuzz_some(in, piece, &length);
        uint8_t *copy = fuzz_copy(at, length, false);
        err = codec->feed(parser, copy, length, &error);
        free(copy);
    }
    if (err == TR_OK)
        err = codec->finish(parser, &error);
    tr__check(err == TR_OK || error.text[0], "an error without a text");
    tr__check(h.answers <= h.asked, "more answers than questions");
    codec->destroy(parser);
}

void fuzz_codec(const tr__codec *codec, const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    uint8_t how = fuzz_byte(&in);
    if (how & 1)
        request(codec, &in);
    else
        answers(codec, how, &in);
}
