/* The seam where HTTP bodies come from: libcurl on the loop (http_curl_uv.c), or a test's own source.
 *
 * A source belongs to one actor; a get is one transfer of it. All calls and all upcalls are on the loop's
 * thread; upcalls come between turns, never from within start, cancel or close. In an upcall of a get only
 * `start` may be called, of this table; after `done` the get is gone. */
#ifndef TR_ACTORS_KINDS_HTTP_SOURCE_H
#define TR_ACTORS_KINDS_HTTP_SOURCE_H

#include "actors/adapter.h"

#define TR__HTTP_UNKNOWN   UINT64_MAX
#define TR__HTTP_MALFORMED (UINT64_MAX - 1) /* two lengths that differ, or one that is no count of bytes */

typedef struct tr__http_source tr__http_source;
typedef struct tr__http_get tr__http_get;

typedef struct tr__http_opts {
    uint32_t parallel; /* connections kept and used at most */
    uint64_t connect_ns;
    uint64_t bytes_per_second; /* of each get; 0 = unlimited */
} tr__http_opts;

typedef struct tr__http_request {
    const char *url;
    uint64_t from;        /* first byte wanted; 0 = all of it, no range is asked for */
    const char *if_range; /* with from: only if this is still its ETag or Last-Modified; "" = always */
} tr__http_request;

/* The final response's head, redirects followed. Borrowed for the upcall; texts are "" if absent. */
typedef struct tr__http_head {
    uint32_t status;
    uint64_t length; /* of the body to come, bytes; TR__HTTP_UNKNOWN, TR__HTTP_MALFORMED */
    const char *content_range, *etag, *last_modified;
} tr__http_head;

typedef enum tr__http_verdict {
    TR__HTTP_TAKE,
    TR__HTTP_PAUSE, /* data only: not taken, give it again after `resume` */
    TR__HTTP_DROP,  /* head only: read the body and throw it away (64 KiB at most), so the connection lives */
    TR__HTTP_ABORT, /* `done` follows, with TR_ECANCELED or what befell it meanwhile */
} tr__http_verdict;

typedef struct tr__http_upcalls {
    /* Once, before any data; also for a response without a body. */
    tr__http_verdict (*head)(void *context, const tr__http_head *head);
    tr__http_verdict (*data)(void *context, const void *data, size_t size); /* size <= 16 KiB */
    /* Once, the last: TR_OK, all of the body came; or what went wrong (the text without the URL). */
    void (*done)(void *context, tr_err code, const char *text);
} tr__http_upcalls;

typedef struct tr__http_seam {
    /* NULL with *error: TR_ENOMEM. */
    tr__http_source *(*open)(tr__loop *loop, const tr__http_opts *opts, tr_error *error);
    /* The request is copied. NULL with *error: TR_ENOMEM, TR_EINVAL, TR_ECLOSED: the source broke for good.
     */
    tr__http_get *(*start)(tr__http_source *source, const tr__http_request *request,
                           const tr__http_upcalls *upcalls, void *context, tr_error *error);
    /* After PAUSE. Gives data, and maybe `done`, before it returns; so not from within an upcall of a get. */
    void (*resume)(tr__http_get *get);
    /* No upcall any more; the get is gone. */
    void (*cancel)(tr__http_get *get);
    /* Cancels what runs; frees itself when its handles are closed. NULL is fine. */
    void (*close)(tr__http_source *source);
} tr__http_seam;

#endif
