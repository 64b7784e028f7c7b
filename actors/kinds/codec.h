/* Codecs: what a request looks like on the wire, and how answers are found in what comes back. A codec is a
 * small table; a parser is its state for one connection. Pure: no I/O, no time; one owner at a time; any
 * thread.
 *
 * Possible failures: a request that isn't exactly one request (TR_EINVAL), answers that are malformed
 * (TR_EPROTO) or too large (TR_ETOOBIG), no memory. After a failed feed the parser can only be destroyed:
 * where the next answer would begin is unknown. */
#ifndef TR_ACTORS_KINDS_CODEC_H
#define TR_ACTORS_KINDS_CODEC_H

#include <troupe/stream_client.h>

/* Bytes that grow. Zeroed = empty. `failed` sticks when memory ran out: append on, look once at the end. */
typedef struct tr__buf {
    char *data;
    size_t size, room;
    bool failed;
} tr__buf;

void tr__buf_append(tr__buf *buf, const void *data, size_t size);
void tr__buf_text(tr__buf *buf, const char *text);
void tr__buf_format(tr__buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Empty it; keeps up to 64 KiB of room. */
void tr__buf_reset(tr__buf *buf);
void tr__buf_fini(tr__buf *buf);

typedef enum tr__asked {
    TR__ASKED_RAW,   /* tr_request */
    TR__ASKED_HTTP,  /* tr_http_request */
    TR__ASKED_REDIS, /* tr_redis_command */
} tr__asked;

/* What of a question matters later. */
typedef struct tr__question {
    bool idempotent; /* may be asked twice */
    bool no_body;    /* its answer has headers only, whatever they say (HEAD) */
} tr__question;

typedef struct tr__codec_limits {
    size_t answer_max, headers_max;
} tr__codec_limits;

/* Upcalls of a parser, from within feed and finish; they must not destroy it. */
typedef struct tr__codec_sink {
    /* The oldest question that isn't answered yet; false: there is none, the server talks unasked. */
    bool (*question)(void *context, tr__question *question);
    /* Its answer: a message, borrowed for the call. `last`: the server answers nothing more on this
     * connection and has done nothing of what was asked after it. */
    void (*answer)(void *context, tr_type *type, const void *body, bool last);
    void *context;
} tr__codec_sink;

typedef struct tr__codec {
    const char *name;
    /* Append the request, a struct of the type that `asked` says, to `out`. `host` is the server's address as
     * given. TR_EINVAL also for a message that isn't of this protocol. */
    tr_err (*encode)(const char *host, tr__asked asked, const void *body, tr__buf *out,
                     tr__question *question, tr_error *error);
    void *(*create)(const tr__codec_limits *limits, const tr__codec_sink *sink); /* NULL: no memory */
    void (*destroy)(void *parser);                                               /* NULL is fine */
    /* Parse on; bytes behind an answer that was the last are ignored. */
    tr_err (*feed)(void *parser, const void *data, size_t size, tr_error *error);
    /* The server closed. TR_ESHORT: in the middle of an answer. */
    tr_err (*finish)(void *parser, tr_error *error);
} tr__codec;

extern const tr__codec tr__codec_http, tr__codec_resp;
/* By name; NULL if there is none. */
const tr__codec *tr__codec_find(const char *name);

#endif
