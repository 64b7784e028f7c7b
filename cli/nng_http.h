/* What the program's small web servers share of nng's HTTP server: listening, answers, and one setting of
 * their sockets. Requests come on nng's threads. */
#ifndef TR_CLI_NNG_HTTP_H
#define TR_CLI_NNG_HTTP_H

#include <stdatomic.h>

#include <nng/nng.h>
#include <nng/supplemental/http/http.h>

#include <troupe/err.h>

/* A server; zeroed before open. */
typedef struct tr__http {
    nng_http_server *server;
    atomic_uint port;
} tr__http;

typedef struct tr__http_opts {
    const char *address, *who;     /* "127.0.0.1:0"; who it is, for the error's text */
    void (*on_request)(nng_aio *); /* answers a request */
    void *data;                    /* its handler's data */
    /* No request is under way any more, nor will come: data may go. Called once, also when open fails, on any
     * thread, maybe after close. May be NULL. */
    void (*on_released)(void *data);
} tr__http_opts;

/* Listen, and have each GET request (HEAD is one too) answered by on_request; nng answers other methods with
 * a 405. TR_EADDRINUSE, TR_EADDR, TR_EPERM, TR_ENOMEM, TR_EIO; then it needs no close, which does no harm. */
tr_err tr__http_open(tr__http *http, const tr__http_opts *opts, tr_error *error);
/* Stop; connections are ended. A zeroed one is fine. Not from a callback. */
void tr__http_close(tr__http *http);

/* Set TCP_NODELAY on this server's connections; to be called in each request. */
void tr__http_no_delay(const tr__http *http);

/* Finish a request with that answer, which is taken, or with an error of nng's. */
void tr__http_give(nng_aio *aio, nng_http_res *res, int result);
/* Finish it with a status and nng's page for it. */
void tr__http_give_status(nng_aio *aio, uint16_t status);

#endif
