/* HTTP/1.1 as a codec. Pure; any thread.
 *
 * Parsing is by http-parser 2.9: the parser that Node.js used until it moved to llhttp, hardened by that use,
 * without allocation, fed byte by byte if need be. llhttp, its successor, isn't in Debian 12; picohttpparser
 * isn't either, and leaves bodies, keep-alive and 1xx to the caller. It is frozen upstream, so what it is lax
 * about is checked here: unasked answers, switching protocols, limits of headers and body.
 *
 * Possible failures: a request that would not be exactly one on the wire (TR_EINVAL: blanks or line ends
 * where none may be, own Content-Length, CONNECT, Upgrade); an answer that is malformed (TR_EPROTO), too
 * large (TR_ETOOBIG, told by Content-Length before any of it is stored), or cut (TR_ESHORT, from finish). */
#include <http_parser.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "actors/kinds/codec.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- requests ------------------------------------------------------------------------------------------ */

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 127 || strchr("()<>@,;:\\\"/[]?={}", c))
            return false;
    }
    return length > 0;
}

static bool is_target(const char *path)
{
    if (path[0] != '/' && strcmp(path, "*") != 0)
        return false;
    for (const unsigned char *c = (const unsigned char *)path; *c; c++)
        if (*c <= ' ' || *c == 127)
            return false;
    return true;
}

static bool is_word(const char *text, size_t length, const char *word)
{
    return length == strlen(word) && strncasecmp(text, word, length) == 0;
}

static bool is_idempotent(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return false;
}

/* One header line, checked: a newline too many would end the headers and let the rest be another request. */
static tr_err encode_header(const char *line, size_t length, bool *has_host, tr__buf *out, tr_error *error)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    const char *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : 0;
    if (!is_token(line, name))
        return tr__fail(error, TR_EINVAL, "header line \"%.*s\" isn't \"Name: value\"",
                        (int)(length < 80 ? length : 80), line);
    if (memchr(line, '\r', length))
        return tr__fail(error, TR_EINVAL, "header \"%.*s\" has a carriage return in it",
                        (int)(name < 80 ? name : 80), line);
    if (is_word(line, name, "Content-Length") || is_word(line, name, "Transfer-Encoding"))
        return tr__fail(error, TR_EINVAL, "header \"%.*s\" is set by the stream client from the body",
                        (int)name, line);
    if (is_word(line, name, "Upgrade"))
        return tr__fail(error, TR_EINVAL, "header \"Upgrade\": other protocols can't share the pipeline");
    *has_host |= is_word(line, name, "Host");
    tr__buf_append(out, line, length);
    tr__buf_text(out, "\r\n");
    return TR_OK;
}

static tr_err encode_headers(const char *headers, bool *has_host, tr__buf *out, tr_error *error)
{
    while (*headers) {
        size_t length = strcspn(headers, "\n");
        TR_TRY(encode_header(headers, length, has_host, out, error));
        headers += length + (headers[length] == '\n');
    }
    return TR_OK;
}

static tr_err encode_request(const char *host, const tr_http_request *request, tr__buf *out,
                             tr__question *question, tr_error *error)
{
    const char *method = request->method ? request->method : "";
    const char *path = request->path ? request->path : "";
    if (!is_token(method, strlen(method)))
        return tr__fail(error, TR_EINVAL, "method \"%.40s\" isn't an HTTP method", method);
    if (strcmp(method, "CONNECT") == 0)
        return tr__fail(error, TR_EINVAL, "method CONNECT makes a tunnel, which can't share the pipeline");
    if (!is_target(path))
        return tr__fail(error, TR_EINVAL,
                        "path \"%.120s\" must begin with / and have no blanks: encode them as %%20", path);
    bool has_host = false;
    tr__buf_format(out, "%s %s HTTP/1.1\r\n", method, path);
    TR_TRY(encode_headers(request->headers ? request->headers : "", &has_host, out, error));
    if (!has_host)
        tr__buf_format(out, "Host: %s\r\n", host);
    bool wants_length =
        strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
    if (request->body.size > 0 || wants_length)
        tr__buf_format(out, "Content-Length: %zu\r\n", request->body.size);
    tr__buf_text(out, "\r\n");
    tr__buf_append(out, request->body.data, request->body.size);
    question->idempotent = is_idempotent(method);
    question->no_body = strcmp(method, "HEAD") == 0;
    return TR_OK;
}

static int count_message(http_parser *parser)
{
    (*(unsigned *)parser->data)++;
    return 0;
}

/* Raw bytes: two requests in one would shift every later answer to the wrong asker, so they are parsed. */
static tr_err encode_raw(const tr_request *request, tr__buf *out, tr__question *question, tr_error *error)
{
    unsigned count = 0;
    http_parser parser;
    http_parser_settings settings;
    http_parser_settings_init(&settings);
    settings.on_message_complete = count_message;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = &count;
    size_t used = http_parser_execute(&parser, &settings, request->data.data, request->data.size);
    if (parser.upgrade)
        return tr__fail(error, TR_EINVAL,
                        "the raw request changes the protocol, which can't share the pipeline");
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || used != request->data.size)
        return tr__fail(error, TR_EINVAL, "the raw request isn't HTTP: %s at byte %zu",
                        http_errno_description(HTTP_PARSER_ERRNO(&parser)), used);
    if (count != 1 || !memchr(request->data.data, '\n', request->data.size))
        return tr__fail(error, TR_EINVAL, "the raw request has %u whole requests: it must be exactly one",
                        count);
    tr__buf_append(out, request->data.data, request->data.size);
    question->idempotent = request->idempotent;
    question->no_body = parser.method == HTTP_HEAD;
    return TR_OK;
}

static tr_err encode(const char *host, tr__asked asked, const void *body, tr__buf *out,
                     tr__question *question, tr_error *error)
{
    tr_err err = TR_OK;
    if (asked == TR__ASKED_HTTP)
        err = encode_request(host, body, out, question, error);
    else if (asked == TR__ASKED_RAW)
        err = encode_raw(body, out, question, error);
    else
        return tr__fail(error, TR_EINVAL, "codec http takes tr_http_request and tr_request only");
    if (err == TR_OK && out->failed)
        err = tr__fail(error, TR_ENOMEM, "no memory to encode a request of %zu bytes", out->size);
    return err;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

typedef enum part { PART_START, PART_NAME, PART_VALUE, PART_BODY } part;

typedef struct parser {
    http_parser http;
    tr__codec_limits limits;
    tr__codec_sink sink;
    tr__buf headers, body;
    part part;
    bool last; /* the server said that it closes behind this answer */
    tr_error error;
} parser;

static int refuse(parser *self, tr_err code, const char *what, size_t limit)
{
    if (code == TR_ETOOBIG)
        tr__fail(&self->error, code, "%s exceed %zu bytes: raise the option that limits it, or ask for less",
                 what, limit);
    else
        tr__fail(&self->error, code, "%s", what);
    return -1;
}

static int on_begin(http_parser *http)
{
    parser *self = http->data;
    tr__buf_reset(&self->headers);
    tr__buf_reset(&self->body);
    self->part = PART_START;
    return 0;
}

static int add_header(parser *self, const char *at, size_t length, part now)
{
    if (self->part == PART_BODY) /* a trailer behind chunks: allowed, and ignored */
        return 0;
    if (now != self->part && now == PART_VALUE)
        tr__buf_text(&self->headers, ": ");
    else if (now != self->part && self->part == PART_VALUE)
        tr__buf_text(&self->headers, "\n");
    self->part = now;
    tr__buf_append(&self->headers, at, length);
    if (self->headers.size > self->limits.headers_max)
        return refuse(self, TR_ETOOBIG, "the answer's headers", self->limits.headers_max);
    return 0;
}

static int on_name(http_parser *http, const char *at, size_t length)
{
    return add_header(http->data, at, length, PART_NAME);
}

static int on_value(http_parser *http, const char *at, size_t length)
{
    return add_header(http->data, at, length, PART_VALUE);
}

/* Returns 1 for an answer that has no body whatever its headers say. */
static int on_headers(http_parser *http)
{
    parser *self = http->data;
    tr__question question;
    if (self->part == PART_VALUE)
        tr__buf_text(&self->headers, "\n");
    self->part = PART_BODY;
    if (!self->sink.question(self->sink.context, &question))
        return refuse(self, TR_EPROTO, "an answer came that nobody asked for", 0);
    if (http->status_code == 101)
        return refuse(self, TR_EPROTO, "the server switched protocols (101) unasked", 0);
    /* The parser itself would wait for the body that a 304 tells the length of. */
    if (question.no_body || http->status_code < 200 || http->status_code == 204 || http->status_code == 304)
        return 1;
    if ((http->flags & F_CONTENTLENGTH) && http->content_length > self->limits.answer_max)
        return refuse(self, TR_ETOOBIG, "the answer's body would", self->limits.answer_max);
    return 0;
}

static int on_body(http_parser *http, const char *at, size_t length)
{
    parser *self = http->data;
    if (length > self->limits.answer_max - self->body.size)
        return refuse(self, TR_ETOOBIG, "the answer's body would", self->limits.answer_max);
    tr__buf_append(&self->body, at, length);
    return 0;
}

/* The value of Content-Type in the gathered lines, copied into `out`. */
static void find_content_type(const char *headers, char *out, size_t room)
{
    static const char name[] = "Content-Type: ";
    out[0] = '\0';
    for (const char *line = headers; *line;) {
        size_t length = strcspn(line, "\n");
        if (strncasecmp(line, name, sizeof(name) - 1) == 0) {
            snprintf(out, room, "%.*s", (int)(length - (sizeof(name) - 1)), line + sizeof(name) - 1);
            return;
        }
        line += length + (line[length] == '\n');
    }
}

static int on_complete(http_parser *http)
{
    parser *self = http->data;
    if (http->status_code < 200) /* 100 Continue and the like: the answer is still to come */
        return 0;
    tr__buf_append(&self->headers, "", 1);
    if (self->headers.failed || self->body.failed)
        return refuse(self, TR_ENOMEM, "no memory for the answer", 0);
    char type[256];
    find_content_type(self->headers.data, type, sizeof(type));
    tr_http_response response = {.status = http->status_code,
                                 .content_type = type,
                                 .headers = self->headers.data,
                                 .body = {self->body.data, self->body.size}};
    self->last = !http_should_keep_alive(http);
    self->sink.answer(self->sink.context, &tr_http_response_type, &response, self->last);
    tr__buf_reset(&self->headers);
    tr__buf_reset(&self->body);
    if (self->last)
        http_parser_pause(http, 1);
    return 0;
}

static void *create(const tr__codec_limits *limits, const tr__codec_sink *sink)
{
    parser *self = tr__zalloc(sizeof(*self));
    if (!self)
        return NULL;
    http_parser_init(&self->http, HTTP_RESPONSE);
    self->http.data = self;
    self->limits = *limits;
    self->sink = *sink;
    return self;
}

static void destroy(void *context)
{
    parser *self = context;
    if (!self)
        return;
    tr__buf_fini(&self->headers);
    tr__buf_fini(&self->body);
    tr__free(self);
}

/* Size 0 tells the parser that the server closed. */
static tr_err execute(parser *self, const void *data, size_t size, tr_error *error)
{
    static const http_parser_settings settings = {
        .on_message_begin = on_begin,
        .on_header_field = on_name,
        .on_header_value = on_value,
        .on_headers_complete = on_headers,
        .on_body = on_body,
        .on_message_complete = on_complete,
    };
    if (self->last)
        return TR_OK;
    size_t used = http_parser_execute(&self->http, &settings, data, size);
    enum http_errno err = HTTP_PARSER_ERRNO(&self->http);
    if (self->last || err == HPE_OK)
        return TR_OK;
    if (self->error.code != TR_OK) {
        *error = self->error;
        return self->error.code;
    }
    if (err == HPE_INVALID_EOF_STATE)
        return tr__fail(error, TR_ESHORT, "the connection ended in the middle of an answer");
    if (err == HPE_HEADER_OVERFLOW)
        return tr__fail(error, TR_ETOOBIG, "the answer's headers exceed %d bytes", HTTP_MAX_HEADER_SIZE);
    int shown = (int)(size - used < 20 ? size - used : 20);
    char piece[24];
    for (int i = 0; i < shown; i++) {
        char c = ((const char *)data)[used + (size_t)i];
        piece[i] = c >= ' ' && c < 127 ? c : '.';
    }
    return tr__fail(error, TR_EPROTO, "the answer isn't HTTP/1: %s, at \"%.*s\"", http_errno_description(err),
                    shown, piece);
}

static tr_err feed(void *context, const void *data, size_t size, tr_error *error)
{
    return size == 0 ? TR_OK : execute(context, data, size, error);
}

static tr_err finish(void *context, tr_error *error)
{
    return execute(context, "", 0, error);
}

const tr__codec tr__codec_http = {"http", encode, create, destroy, feed, finish};
