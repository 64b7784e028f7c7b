/* The TCP seam by libuv. All on the loop's thread: calls from the actor's turn, callbacks between turns.
 *
 * The happy path: open -> resolve (the pool's thread; skipped for a numeric address) -> connect, each address
 * in turn -> up -> reads become tr__tcp_data; writes of one turn are gathered and sent as one, just before
 * the loop polls (a prepare handle that is active only then).
 *
 * Possible failures: each is one tr__tcp_down. A failed write isn't: what the server sent before it cut is
 * still to be read, and reading ends with the reason. If memory runs out so far that not even the message can
 * be made, the owner's time-out finds out.
 *
 * Life: the struct is freed by the last of its callbacks after close(): resolving, and the two handles. */
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "actors/driver/kinds_uv.h"
#include "actors/kinds/tcp.h"
#include "base/err.h"
#include "base/mem.h"

#define READ_SIZE   ((size_t)64 * 1024)
#define KEEPALIVE_S 60

struct tr__tcp {
    tr__loop *loop;
    uv_loop_t *uv;
    tr_addr owner;
    uint64_t key;
    uint16_t port;
    bool closing, up, down;
    bool socket_open, prepare_open, resolving; /* what must end before it can be freed */
    bool reading, writing, was_full;
    uv_tcp_t socket;
    uv_prepare_t prepare;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    struct addrinfo *addresses, *next; /* the list, and the one to try next */
    struct sockaddr_storage numeric;   /* instead of the list */
    int last_error;                    /* of the addresses tried so far */
    size_t unread;                     /* bytes in the owner's mailbox */
    char *pending, *sending;           /* gathered for the next write, in the current one */
    size_t pending_size, pending_room, sending_size;
};

static void try_next(tr__tcp *tcp);

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void free_if_done(tr__tcp *tcp)
{
    if (!tcp->closing || tcp->socket_open || tcp->prepare_open || tcp->resolving)
        return;
    if (tcp->addresses)
        uv_freeaddrinfo(tcp->addresses);
    tr__free(tcp->pending);
    tr__free(tcp->sending);
    tr__free(tcp);
}

static void tell_down(tr__tcp *tcp, tr_err code, const char *what, const char *reason)
{
    char text[TR_ERROR_TEXT_MAX];
    if (tcp->down || tcp->closing)
        return;
    tcp->down = true;
    tcp->up = false;
    if (tcp->reading)
        uv_read_stop((uv_stream_t *)&tcp->socket);
    tcp->reading = false;
    snprintf(text, sizeof(text), "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    (void)tr__inject(tcp->loop, tcp->owner, tr__tcp_down, .key = tcp->key, .code = code, .text = text);
}

static tr_err code_of(int uv_error)
{
    return tr__err_from_errno(-uv_error); /* libuv's codes are negated errno on every system we run on */
}

static void on_prepare_closed(uv_handle_t *handle)
{
    tr__tcp *tcp = handle->data;
    tcp->prepare_open = false;
    free_if_done(tcp);
}

static void on_socket_closed(uv_handle_t *handle)
{
    tr__tcp *tcp = handle->data;
    tcp->socket_open = false;
    free_if_done(tcp);
}

static void tcp_close(tr__tcp *tcp)
{
    if (!tcp || tcp->closing)
        return;
    tcp->closing = true;
    tcp->up = false;
    if (tcp->resolving)
        (void)uv_cancel(
            (uv_req_t *)&tcp->resolve); /* busy if it runs already: then its callback comes later */
    if (tcp->socket_open && !uv_is_closing((uv_handle_t *)&tcp->socket))
        uv_close((uv_handle_t *)&tcp->socket, on_socket_closed);
    if (tcp->prepare_open)
        uv_close((uv_handle_t *)&tcp->prepare, on_prepare_closed);
    free_if_done(tcp);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    buf->base = tr__alloc(READ_SIZE); /* for this read only: an idle connection holds no buffer */
    buf->len = buf->base ? READ_SIZE : 0;
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    tr__tcp *tcp = stream->data;
    if (count > 0 && !tcp->closing) {
        tr_err err = tr__inject(tcp->loop, tcp->owner, tr__tcp_data, .key = tcp->key,
                                .data = {buf->base, (size_t)count});
        tcp->unread += (size_t)count;
        if (err != TR_OK) {
            tell_down(tcp, err, "no memory for what the server sent", NULL);
        } else if (tcp->unread >= TR__TCP_UNREAD) {
            uv_read_stop(stream);
            tcp->reading = false;
        }
    } else if (count == UV_EOF) {
        tell_down(tcp, TR_ECLOSED, "the server closed the connection", NULL);
    } else if (count < 0) {
        tell_down(tcp, count == UV_ENOBUFS ? TR_ENOMEM : code_of((int)count), "the connection broke",
                  uv_strerror((int)count));
    }
    tr__free(buf->base);
}

static void start_reading(tr__tcp *tcp)
{
    int err = uv_read_start((uv_stream_t *)&tcp->socket, on_alloc, on_read);
    tcp->reading = err == 0;
    if (err)
        tell_down(tcp, code_of(err), "cannot read", uv_strerror(err));
}

static void tcp_consumed(tr__tcp *tcp, size_t bytes)
{
    tcp->unread -= bytes <= tcp->unread ? bytes : tcp->unread;
    if (tcp->up && !tcp->reading && tcp->unread < TR__TCP_UNREAD / 2)
        start_reading(tcp);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void flush(tr__tcp *tcp);

static void on_written(uv_write_t *request, int status)
{
    tr__tcp *tcp = request->data;
    tcp->writing = false;
    tr__free(tcp->sending);
    tcp->sending = NULL;
    tcp->sending_size = 0;
    if (tcp->closing || !tcp->up)
        return;
    if (status < 0) /* reading will tell why; nothing more is sent */
        return;
    if (tcp->pending_size > 0) {
        flush(tcp);
    } else if (tcp->was_full) {
        tcp->was_full = false;
        (void)tr__inject(tcp->loop, tcp->owner, tr__tcp_writable, .key = tcp->key);
    }
}

/* One write in flight; what comes meanwhile gathers for the next. */
static void flush(tr__tcp *tcp)
{
    if (tcp->writing || tcp->pending_size == 0)
        return;
    uv_buf_t buf = uv_buf_init(tcp->pending, (unsigned)tcp->pending_size);
    tcp->sending = tcp->pending;
    tcp->sending_size = tcp->pending_size;
    tcp->pending = NULL;
    tcp->pending_size = tcp->pending_room = 0;
    tcp->writing = true;
    int err = uv_write(&tcp->write, (uv_stream_t *)&tcp->socket, &buf, 1, on_written);
    if (err) {
        tcp->writing = false;
        tell_down(tcp, code_of(err), "cannot write", uv_strerror(err));
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    tr__tcp *tcp = prepare->data;
    uv_prepare_stop(prepare);
    if (tcp->up)
        flush(tcp);
}

static tr_err tcp_write(tr__tcp *tcp, const void *data, size_t size)
{
    if (!tcp->up)
        return TR_ECLOSED;
    if (size > tcp->pending_room - tcp->pending_size) {
        size_t room = tcp->pending_room ? tcp->pending_room * 2 : 4096;
        while (room - tcp->pending_size < size)
            room *= 2;
        char *pending = tr__realloc(tcp->pending, room);
        if (!pending)
            return TR_ENOMEM;
        tcp->pending = pending;
        tcp->pending_room = room;
    }
    memcpy(tcp->pending + tcp->pending_size, data, size);
    tcp->pending_size += size;
    tcp->was_full |= tcp->pending_size + tcp->sending_size > TR__TCP_UNSENT;
    if (!tcp->writing)
        uv_prepare_start(&tcp->prepare, on_prepare);
    return TR_OK;
}

static size_t tcp_unsent(const tr__tcp *tcp)
{
    return tcp->pending_size + tcp->sending_size;
}

/* ---- connecting ---------------------------------------------------------------------------------------- */

static void on_connected(uv_connect_t *request, int status)
{
    tr__tcp *tcp = request->data;
    if (tcp->closing)
        return;
    if (status < 0) {
        tcp->last_error = status;
        try_next(tcp);
        return;
    }
    uv_tcp_nodelay(&tcp->socket, 1); /* small requests must not wait for the answer to the one before */
    uv_tcp_keepalive(&tcp->socket, 1, KEEPALIVE_S);
    tcp->up = true;
    if (tr__inject(tcp->loop, tcp->owner, tr__tcp_up, .key = tcp->key) != TR_OK)
        tell_down(tcp, TR_ENOMEM, "no memory", NULL);
    else
        start_reading(tcp);
}

static void connect_to(tr__tcp *tcp, const struct sockaddr *address)
{
    int err = uv_tcp_init(tcp->uv, &tcp->socket);
    if (err == 0) {
        tcp->socket.data = tcp;
        tcp->socket_open = true;
        err = uv_tcp_connect(&tcp->connect, &tcp->socket, address, on_connected);
    }
    if (err) {
        tcp->last_error = err;
        try_next(tcp);
    }
}

/* A handle whose connect failed can't be used again. */
static void on_failed_socket_closed(uv_handle_t *handle)
{
    tr__tcp *tcp = handle->data;
    tcp->socket_open = false;
    if (tcp->closing)
        free_if_done(tcp);
    else
        try_next(tcp);
}

static void try_next(tr__tcp *tcp)
{
    if (tcp->socket_open) {
        uv_close((uv_handle_t *)&tcp->socket, on_failed_socket_closed);
        return;
    }
    struct addrinfo *address = tcp->next;
    if (!address) {
        tell_down(tcp, code_of(tcp->last_error), "cannot connect", uv_strerror(tcp->last_error));
        return;
    }
    tcp->next = address->ai_next;
    connect_to(tcp, address->ai_addr);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    tr__tcp *tcp = request->data;
    tcp->resolving = false;
    tcp->addresses = tcp->next = addresses;
    if (tcp->closing)
        free_if_done(tcp);
    else if (status < 0 || !addresses)
        tell_down(tcp, TR_EADDR, "the name doesn't resolve", status < 0 ? uv_strerror(status) : NULL);
    else
        try_next(tcp);
}

static int resolve(tr__tcp *tcp, const char *host)
{
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    snprintf(port, sizeof(port), "%u", tcp->port);
    int err = uv_getaddrinfo(tcp->uv, &tcp->resolve, on_resolved, host, port, &hints);
    tcp->resolving = err == 0;
    return err;
}

/* libuv 1.44 writes without MSG_NOSIGNAL: a server that has just closed would end the process by SIGPIPE. So
 * it is held back on the loop's thread, where the write happens; the process's own handling stays as it is.
 */
static void hold_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static tr__tcp *tcp_open(tr__loop *loop, tr_addr owner, uint64_t key, const char *host, uint16_t port,
                         tr_error *error)
{
    int err = 0;
    tr__tcp *tcp = tr__zalloc(sizeof(*tcp));
    if (!tcp) {
        tr__fail(error, TR_ENOMEM, "no memory for a connection");
        return NULL;
    }
    hold_sigpipe();
    tcp->loop = loop;
    tcp->uv = tr__loop_driver(loop);
    tcp->owner = owner;
    tcp->key = key;
    tcp->port = port;
    tcp->prepare.data = tcp->resolve.data = tcp->connect.data = tcp->write.data = tcp;
    uv_prepare_init(tcp->uv, &tcp->prepare); /* can't fail */
    tcp->prepare_open = true;
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&tcp->numeric) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&tcp->numeric) == 0)
        connect_to(tcp, (struct sockaddr *)&tcp->numeric);
    else
        err = resolve(tcp, host);
    if (err) {
        tr__fail(error, TR_EADDR, "cannot look up \"%.100s\": %s", host, uv_strerror(err));
        tcp_close(tcp);
        return NULL;
    }
    return tcp;
}

const tr__tcp_seam tr__tcp_uv = {tcp_open, tcp_write, tcp_unsent, tcp_consumed, tcp_close};
