/* The stream client: many small requests over a few TCP connections to one server, pipelined, each answer
 * given to who asked the question. It speaks HTTP/1.1 and Redis' protocol (RESP).
 *
 *     tr_addr web = tr_spawn(self, &tr_stream_client,
 *                            &(tr_stream_opts){.address = "127.0.0.1:8080", .codec = "http"});
 *     tr_future f = tr_ask(self, web, TR_SECONDS(2), tr_http_request, .method = "GET", .path = "/");
 *     const tr_http_response *answer;
 *     tr_err err = tr_await(self, f, tr_http_response, &answer);
 *
 * Connections are opened when there is something to ask, and again, with back-off and jitter, when they
 * broke. A server that closes in the middle of a pipeline: questions that may be asked twice (idempotent) go
 * again on another connection within their deadline; the others fail with TR_ERESET and say how many were
 * answered. An ask that is cancelled or past its deadline is taken out of the queue; if it was sent already
 * its answer is read and dropped, so that the order holds.
 *
 * Errors of an ask, besides those of any ask:
 *   TR_EINVAL   the request can't be written as one request of that protocol
 *   TR_EFULL    `queue` requests, or 64 MiB of them, are waiting
 *   TR_EREFUSED, TR_EADDR, TR_EDEADLINE ...   `tries` connects in a row failed; the text names the address
 *   TR_ERESET   cut while this was in flight
 *   TR_EPROTO   the answer is malformed; the connection was dropped
 *   TR_ETOOBIG  the answer, or its headers, are larger than the limit; the connection was dropped
 *   TR_EDEADLINE   no byte came for `answer_timeout_ns`, or the ask's own deadline passed */
#ifndef TROUPE_STREAM_CLIENT_H
#define TROUPE_STREAM_CLIENT_H

#include <troupe/actor.h>

/* The actor; its argument is a tr_stream_opts. A bad option ends it with TR_EINVAL or TR_EADDR. */
extern const tr_actor_def tr_stream_client;

/* address: "host:port" or "[::1]:port"; host names are resolved at each connect, off the loop.
 * codec: "http" or "resp". A zero in the others is the default. */
TR_MESSAGE(tr_stream_opts, (string, address), (string, codec), (u32, connections), /* at most; 4 */
           (u32, in_flight),                      /* unanswered requests a connection; 32 */
           (u32, queue),                          /* requests waiting for a place on a connection; 4,096 */
           (u32, tries),                          /* of a request, or of connecting, before it fails; 3 */
           (u64, connect_timeout_ns),             /* 3 s */
           (u64, answer_timeout_ns),              /* silence while something is in flight; 15 s */
           (u64, backoff_ns),                     /* the first pause after a failed connect; 50 ms */
           (u64, backoff_max_ns),                 /* they double up to this; 2 s */
           (u64, answer_max), (u64, headers_max)) /* bytes; 16 MiB, 64 KiB (at most 80 KiB) */

/* ---- HTTP ---------------------------------------------------------------------------------------------- */

/* headers: lines "Name: value", each ended by a newline; "" for none. Host and Content-Length are added.
 * GET, HEAD, PUT, DELETE, OPTIONS and TRACE count as idempotent. CONNECT and upgrades are refused. */
TR_MESSAGE(tr_http_request, (string, method), (string, path), (string, headers), (bytes, body))
/* headers: lines "Name: value\n" as the server sent them. */
TR_MESSAGE(tr_http_response, (u32, status), (string, content_type), (string, headers), (bytes, body))

/* ---- Redis --------------------------------------------------------------------------------------------- */

/* words: the command, words separated by blanks; quote as in redis-cli ("a b", "\x00\n", 'a b') what isn't
 * yours. With with_value, `value` is one more word at the end, any bytes. Commands whose answers don't come
 * one by one (SUBSCRIBE, MONITOR, SYNC, CLIENT REPLY, HELLO 3) are refused; those that change the connection
 * (SELECT, AUTH, MULTI, WATCH) make sense with connections = 1 only, and are forgotten at a reconnect. */
TR_MESSAGE(tr_redis_command, (string, words), (bool, with_value), (bytes, value), (bool, idempotent))

typedef enum tr_redis_kind {
    TR_REDIS_NIL,
    TR_REDIS_STATUS,  /* text */
    TR_REDIS_ERROR,   /* text: what Redis refused; the ask itself succeeded */
    TR_REDIS_INTEGER, /* integer */
    TR_REDIS_STRING,  /* text */
    TR_REDIS_ARRAY,   /* integer: how many; json: all of it */
} tr_redis_kind;
/* json: an array as JSON, "" for anything else; within, a string that isn't UTF-8 is {"base64": "..."}, and
 * an error is {"error": "..."}. */
TR_MESSAGE(tr_redis_reply, (u32, kind), (i64, integer), (bytes, text), (string, json))

/* ---- both ---------------------------------------------------------------------------------------------- */

/* One request that is encoded already, in the protocol of the codec; answered by tr_http_response or
 * tr_redis_reply. It is checked to be exactly one. */
TR_MESSAGE(tr_request, (bytes, data), (bool, idempotent))

/* Ask how it is doing; answered by tr_stream_status. */
TR_MESSAGE(tr_stream_query, (bool, reset)) /* reset: count from zero again, after this answer */
TR_MESSAGE(tr_stream_status, (u32, open), (u32, in_flight), (u32, waiting), (u64, answered),
           (u64, again),     /* requests that were sent once more */
           (u64, failed),    /* requests that were answered with an error */
           (u64, discarded), /* answers that nobody waited for any more */
           (u64, connects))  /* connections made */

#endif
