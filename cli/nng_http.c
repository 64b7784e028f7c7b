/* The shared part of the program's web servers. open and close: the owner's thread; the rest: nng's threads.
 * Failures: a port in use is told by open; a request that can't be answered for memory ends its connection. */
#include "cli/nng_http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/signals_os.h"
#include "transport/nng_start.h"

#define HOLES_MOST 64 /* numbers without a descriptor, after which there are no more */

void tr__http_give(nng_aio *aio, nng_http_res *res, int result)
{
    if (result == 0)
        nng_aio_set_output(aio, 0, res);
    else if (res)
        nng_http_res_free(res);
    nng_aio_finish(aio, result);
}

void tr__http_give_status(nng_aio *aio, uint16_t status)
{
    nng_http_res *res = NULL;
    int result = nng_http_res_alloc_error(&res, status);
    tr__http_give(aio, res, result);
}

/* nng 1.5 switches TCP_NODELAY off on each connection that its HTTP server accepts, and has no option for it:
 * a second small answer then waits until the client acknowledges the first, which a client that asks every
 * 10 ms does with its next question only, so from then on each answer is 10 ms late. The connection's
 * descriptor isn't to be had either, so all sockets of our port are set, at each request. A descriptor that
 * another thread closes or opens meanwhile is no harm: only our port's sockets are touched. */
void tr__http_no_delay(const tr__http *http)
{
    int on = 1;
    unsigned port = atomic_load_explicit(&http->port, memory_order_relaxed);
    for (int fd = 3, holes = 0; holes < HOLES_MOST; fd++) {
        struct sockaddr_in address;
        socklen_t size = sizeof(address);
        if (getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
            if (address.sin_family == AF_INET && ntohs(address.sin_port) == port)
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
            holes = 0;
        } else {
            holes = errno == EBADF ? holes + 1 : 0;
        }
    }
}

/* ---- listening ----------------------------------------------------------------------------------------- */

static void released(const tr__http_opts *opts)
{
    if (opts->on_released)
        opts->on_released(opts->data);
}

static int make_handler(const tr__http_opts *opts, nng_http_handler **handler)
{
    int result = nng_http_handler_alloc(handler, "/", opts->on_request);
    if (result)
        return result;
    result = nng_http_handler_set_tree(*handler);
    if (result == 0)
        result = nng_http_handler_set_data(*handler, opts->data, opts->on_released);
    if (result)
        nng_http_handler_free(*handler);
    return result;
}

/* The handler is the server's, or freed; on_released is its destructor. */
static int start(tr__http *http, nng_http_handler *handler, const nng_url *url)
{
    nng_sockaddr bound;
    int result = nng_http_server_hold(&http->server, url);
    if (result == 0)
        result = nng_http_server_add_handler(http->server, handler);
    if (result) {
        nng_http_handler_free(handler);
        return result;
    }
    result = nng_http_server_start(http->server);
    if (result == 0)
        result = nng_http_server_get_addr(http->server, &bound);
    if (result == 0)
        atomic_store(&http->port, ntohs(bound.s_in.sa_port));
    return result;
}

static tr_err code_of(int result)
{
    switch (result) {
    case NNG_EADDRINUSE:
        return TR_EADDRINUSE;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
        return TR_EADDR;
    case NNG_ENOMEM:
        return TR_ENOMEM;
    case NNG_EPERM:
        return TR_EPERM;
    default:
        return TR_EIO;
    }
}

static tr_err open_server(tr__http *http, const tr__http_opts *opts, tr_error *error)
{
    char text[80];
    nng_url *url = NULL;
    nng_http_handler *handler;
    snprintf(text, sizeof(text), "http://%s", opts->address);
    int result = nng_url_parse(&url, text);
    if (result == 0)
        result = make_handler(opts, &handler);
    if (result)
        released(opts);
    else
        result = start(http, handler, url);
    if (url)
        nng_url_free(url);
    if (result == 0)
        return TR_OK;
    tr__http_close(http);
    return tr__fail(error, code_of(result), "%s can't listen on %s: %s", opts->who, opts->address,
                    nng_strerror(result));
}

tr_err tr__http_open(tr__http *http, const tr__http_opts *opts, tr_error *error)
{
    sigset_t before = tr__signals_block(); /* nng starts its threads at the first use */
    tr_err err = tr__nng_may_start(error);
    if (err == TR_OK)
        err = open_server(http, opts, error);
    else
        released(opts);
    tr__signals_restore(before);
    return err;
}

void tr__http_close(tr__http *http)
{
    if (!http->server)
        return;
    nng_http_server_stop(http->server);
    nng_http_server_release(http->server);
    http->server = NULL;
}
