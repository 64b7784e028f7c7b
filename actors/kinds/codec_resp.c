/* Redis' protocol (RESP2) as a codec. Pure; any thread.
 *
 * Parsing is by hiredis' reader, the part of Redis' own C client that turns bytes into objects; the objects
 * are made here (its table of functions), so no reply tree is built for plain answers and nothing is
 * allocated by a count that a server only claims. Its sockets and its async API aren't used.
 *
 * Possible failures: words that can't be read as a command, or a command that doesn't answer once
 * (TR_EINVAL); answers that are malformed or nested deeper than the reader's seven levels (TR_EPROTO), or
 * larger than the limit (TR_ETOOBIG; also more than 1,048,576 elements), or cut (TR_ESHORT, from finish). */
#include <hiredis/read.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "actors/kinds/codec.h"
#include "base/err.h"
#include "base/mem.h"

#define ELEMENTS_MAX 1048576u

/* ---- words --------------------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character behind a backslash in double quotes; moves *at behind it. */
static char unescape(const char **at)
{
    const char *c = *at;
    if (c[0] == 'x' && hex_digit(c[1]) >= 0 && hex_digit(c[2]) >= 0) {
        *at += 3;
        return (char)(hex_digit(c[1]) * 16 + hex_digit(c[2]));
    }
    *at += 1;
    switch (*c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'a':
        return '\a';
    case 'b':
        return '\b';
    default:
        return *c;
    }
}

/* A quoted part; *at is behind its opening quote. */
static tr_err quoted(char quote, const char **at, tr__buf *word, tr_error *error)
{
    for (;;) {
        char c = **at;
        if (c == '\0')
            return tr__fail(error, TR_EINVAL, "the command's words end within %c quotes", quote);
        *at += 1;
        if (c == quote)
            break;
        if (c == '\\' && quote == '"' && **at)
            c = unescape(at);
        else if (c == '\\' && quote == '\'' && **at == '\'')
            c = *(*at)++;
        tr__buf_append(word, &c, 1);
    }
    if (**at != '\0' && **at != ' ')
        return tr__fail(error, TR_EINVAL, "a blank must follow the closing quote, not \"%.20s\"", *at);
    return TR_OK;
}

/* The next word into `word`; *found is false at the end. */
static tr_err next_word(const char **at, tr__buf *word, bool *found, tr_error *error)
{
    tr__buf_reset(word);
    *at += strspn(*at, " ");
    *found = **at != '\0';
    while (**at != '\0' && **at != ' ') {
        char c = *(*at)++;
        if (c == '"' || c == '\'')
            return quoted(c, at, word, error);
        tr__buf_append(word, &c, 1);
    }
    return TR_OK;
}

static bool is_word(const tr__buf *word, const char *text)
{
    return word->size == strlen(text) && strncasecmp(word->data, text, word->size) == 0;
}

/* Commands with no answer of their own, or more than one, would shift all later answers. */
static tr_err check_command(const tr__buf *first, const tr__buf *second, tr_error *error)
{
    static const char *const refused[] = {"SUBSCRIBE",   "PSUBSCRIBE",   "SSUBSCRIBE",
                                          "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE",
                                          "MONITOR",     "SYNC",         "PSYNC"};
    bool bad = is_word(first, "CLIENT") && is_word(second, "REPLY");
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        bad |= is_word(first, refused[i]);
    if (bad)
        return tr__fail(error, TR_EINVAL,
                        "%.*s doesn't give one answer a command, so it can't share a pipeline",
                        (int)first->size, first->data);
    if (is_word(first, "HELLO") && second->size > 0 && !is_word(second, "2"))
        return tr__fail(error, TR_EINVAL, "HELLO: only version 2 of the protocol is spoken here");
    return TR_OK;
}

typedef struct words {
    size_t count;
    tr__buf first, second, word;
} words;

static tr_err count_words(const char *text, words *all, tr_error *error)
{
    for (;; all->count++) {
        bool found = false;
        tr__buf *into = all->count == 0 ? &all->first : all->count == 1 ? &all->second : &all->word;
        TR_TRY(next_word(&text, into, &found, error));
        if (!found)
            break;
    }
    if (all->count == 0 || all->first.size == 0)
        return tr__fail(error, TR_EINVAL, "a Redis command needs at least one word");
    return check_command(&all->first, &all->second, error);
}

static tr_err encode_words(const tr_redis_command *command, words *all, tr__buf *out, tr_error *error)
{
    const char *text = command->words ? command->words : "";
    TR_TRY(count_words(text, all, error));
    tr__buf_format(out, "*%zu\r\n", all->count + command->with_value);
    for (bool found = true;;) {
        TR_TRY(next_word(&text, &all->word, &found, error));
        if (!found)
            break;
        tr__buf_format(out, "$%zu\r\n", all->word.size);
        tr__buf_append(out, all->word.data, all->word.size);
        tr__buf_text(out, "\r\n");
        out->failed |= all->word.failed;
    }
    if (command->with_value) {
        tr__buf_format(out, "$%zu\r\n", command->value.size);
        tr__buf_append(out, command->value.data, command->value.size);
        tr__buf_text(out, "\r\n");
    }
    return TR_OK;
}

/* ---- objects of the reader ----------------------------------------------------------------------------- */

typedef struct parser {
    redisReader *reader;
    tr__codec_limits limits;
    tr__codec_sink sink;
    size_t since;      /* bytes fed since the last whole answer */
    uint32_t elements; /* of the answer being read */
    /* The answer being read, unless it is an array; the reader's object is then only a mark. */
    tr_redis_reply reply;
    tr__buf text;
    tr__buf *words; /* the first two words of a raw command are kept here; NULL in a parser of answers */
} parser;

static void *append(const redisReadTask *task, json_t *value)
{
    if (!value || json_array_append_new(task->parent->obj, value) != 0)
        return NULL;
    return value;
}

static bool counted(const redisReadTask *task)
{
    parser *self = task->privdata;
    return ++self->elements <= ELEMENTS_MAX;
}

/* For a string that isn't UTF-8. */
static json_t *base64(const char *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t length = (size + 2) / 3 * 4;
    char *text = tr__alloc(length + 1), *out = text;
    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++)
            bits = bits << 8 | (i + j < size ? (unsigned char)data[i + j] : 0u);
        *out++ = digits[bits >> 18 & 63];
        *out++ = digits[bits >> 12 & 63];
        *out++ = i + 1 < size ? digits[bits >> 6 & 63] : '=';
        *out++ = i + 2 < size ? digits[bits & 63] : '=';
    }
    json_t *value = json_pack("{s:s#}", "base64", text, (int)length);
    tr__free(text);
    return value;
}

static json_t *json_text(const char *data, size_t size)
{
    json_t *value = json_stringn(data, size);
    return value ? value : base64(data, size);
}

static void *create_string(const redisReadTask *task, char *data, size_t size)
{
    parser *self = task->privdata;
    if (!counted(task))
        return NULL;
    if (task->parent && self->words) {
        if (task->idx < 2)
            tr__buf_append(&self->words[task->idx], data, size);
        return json_true();
    }
    if (task->parent && task->type == REDIS_REPLY_ERROR)
        return append(task, json_pack("{s:o}", "error", json_text(data, size)));
    if (task->parent)
        return append(task, json_text(data, size));
    self->reply.kind = task->type == REDIS_REPLY_ERROR    ? TR_REDIS_ERROR
                       : task->type == REDIS_REPLY_STATUS ? TR_REDIS_STATUS
                                                          : TR_REDIS_STRING;
    tr__buf_append(&self->text, data, size);
    return self->text.failed ? NULL : json_true();
}

static void *create_array(const redisReadTask *task, int count)
{
    parser *self = task->privdata;
    if (!counted(task))
        return NULL;
    if (task->parent)
        return append(task, json_array());
    self->reply.kind = TR_REDIS_ARRAY;
    self->reply.integer = count;
    return json_array();
}

static void *create_integer(const redisReadTask *task, long long value)
{
    parser *self = task->privdata;
    if (!counted(task))
        return NULL;
    if (task->parent)
        return append(task, json_integer(value));
    self->reply.kind = TR_REDIS_INTEGER;
    self->reply.integer = value;
    return json_true();
}

static void *create_nil(const redisReadTask *task)
{
    parser *self = task->privdata;
    if (!counted(task))
        return NULL;
    if (task->parent)
        return append(task, json_null());
    self->reply.kind = TR_REDIS_NIL;
    return json_true();
}

static void free_object(void *object)
{
    json_decref(object);
}

static redisReplyObjectFunctions functions = {create_string, create_array, create_integer, create_nil,
                                              free_object};

/* ---- answers ------------------------------------------------------------------------------------------- */

static void destroy(void *context)
{
    parser *self = context;
    if (!self)
        return;
    if (self->reader)
        redisReaderFree(self->reader);
    tr__buf_fini(&self->text);
    tr__free(self);
}

static void *create(const tr__codec_limits *limits, const tr__codec_sink *sink)
{
    parser *self = tr__zalloc(sizeof(*self));
    if (!self)
        return NULL;
    self->reader = redisReaderCreateWithFunctions(&functions);
    if (!self->reader) {
        tr__free(self);
        return NULL;
    }
    self->reader->privdata = self;
    self->limits = *limits;
    if (sink)
        self->sink = *sink;
    return self;
}

static tr_err failed(const parser *self, tr_error *error)
{
    if (self->elements > ELEMENTS_MAX)
        return tr__fail(error, TR_ETOOBIG, "the answer has more than %u elements: ask for less at a time",
                        ELEMENTS_MAX);
    if (self->reader->err == REDIS_ERR_OOM)
        return tr__fail(error, TR_ENOMEM, "no memory for the answer");
    return tr__fail(error, TR_EPROTO, "the answer isn't Redis' protocol (RESP2): %s", self->reader->errstr);
}

/* Give a whole answer to who asked; `object` is the reader's. */
static tr_err deliver(parser *self, json_t *object, tr_error *error)
{
    char *json = NULL;
    tr__question question;
    if (!self->sink.question(self->sink.context, &question)) {
        json_decref(object);
        return tr__fail(error, TR_EPROTO, "an answer came that nobody asked for");
    }
    if (self->reply.kind == TR_REDIS_ARRAY) {
        json = json_dumps(object, JSON_COMPACT);
        if (!json) {
            json_decref(object);
            return tr__fail(error, TR_ENOMEM, "no memory for the answer");
        }
    }
    json_decref(object);
    self->reply.text = (tr_bytes){self->text.data, self->text.size};
    self->reply.json = json ? json : "";
    self->sink.answer(self->sink.context, &tr_redis_reply_type, &self->reply, false);
    free(json);
    tr__buf_reset(&self->text);
    self->reply = (tr_redis_reply){0};
    self->elements = 0;
    return TR_OK;
}

/* Answers that begin within one feed are counted by what the reader still holds, so a burst of small ones is
 * not taken for a large one. */
static tr_err feed(void *context, const void *data, size_t size, tr_error *error)
{
    parser *self = context;
    if (redisReaderFeed(self->reader, data, size) != REDIS_OK)
        return failed(self, error);
    self->since += size;
    for (;;) {
        void *object = NULL;
        if (redisReaderGetReply(self->reader, &object) != REDIS_OK)
            return failed(self, error);
        if (!object)
            break;
        TR_TRY(deliver(self, object, error));
        self->since = self->reader->len - self->reader->pos;
    }
    if (self->since > self->limits.answer_max)
        return tr__fail(error, TR_ETOOBIG, "the answer exceeds %zu bytes: raise answer_max, or ask for less",
                        self->limits.answer_max);
    return TR_OK;
}

static tr_err finish(void *context, tr_error *error)
{
    parser *self = context;
    if (self->since > 0)
        return tr__fail(error, TR_ESHORT, "the connection ended in the middle of an answer");
    return TR_OK;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

/* Raw bytes: parsed, so that they are exactly one command, an array of strings. */
static tr_err check_raw(const tr_request *request, words *all, tr_error *error)
{
    static const tr__codec_limits limits = {SIZE_MAX, SIZE_MAX};
    tr__buf first_two[2] = {{0}, {0}};
    void *object = NULL;
    tr_err err = TR_OK;
    parser *self = create(&limits, NULL);
    if (!self)
        return tr__fail(error, TR_ENOMEM, "no memory to check a raw command");
    self->words = first_two;
    if (redisReaderFeed(self->reader, request->data.data, request->data.size) != REDIS_OK ||
        redisReaderGetReply(self->reader, &object) != REDIS_OK)
        err = tr__fail(error, TR_EINVAL, "the raw command isn't Redis' protocol: %s", self->reader->errstr);
    else if (!object || self->reply.kind != TR_REDIS_ARRAY || first_two[0].size == 0 ||
             self->reader->len != self->reader->pos)
        err = tr__fail(error, TR_EINVAL, "the raw command must be exactly one array of strings");
    if (object)
        json_decref(object);
    destroy(self);
    all->first = first_two[0];
    all->second = first_two[1];
    return err == TR_OK ? check_command(&all->first, &all->second, error) : err;
}

static tr_err encode(const char *host, tr__asked asked, const void *body, tr__buf *out,
                     tr__question *question, tr_error *error)
{
    (void)host;
    words all = {0};
    tr_err err;
    if (asked == TR__ASKED_REDIS) {
        const tr_redis_command *command = body;
        question->idempotent = command->idempotent;
        err = encode_words(command, &all, out, error);
    } else if (asked == TR__ASKED_RAW) {
        const tr_request *request = body;
        question->idempotent = request->idempotent;
        err = check_raw(request, &all, error);
        tr__buf_append(out, request->data.data, request->data.size);
    } else {
        return tr__fail(error, TR_EINVAL, "codec resp takes tr_redis_command and tr_request only");
    }
    if (err == TR_OK && (out->failed || all.first.failed || all.second.failed))
        err = tr__fail(error, TR_ENOMEM, "no memory to encode a command of %zu bytes", out->size);
    question->no_body = false;
    tr__buf_fini(&all.first);
    tr__buf_fini(&all.second);
    tr__buf_fini(&all.word);
    return err;
}

const tr__codec tr__codec_resp = {"resp", encode, create, destroy, feed, finish};
