/* The seam of stream.h over nng's byte streams, tcp only.
 *
 * Life of a stream: accept or dial makes it -> start posts the one receive -> its callback finds whole
 * frames, hands them up, posts again, for ever -> send posts the one send; its callback posts the rest of a
 * short one -> close -> free.
 *
 * Threads: callbacks run on nng's threads. A callback posts on its own aio only, as its last act. `lock`
 * covers check-closing-and-post and set-closing-and-close: nng never completes an aio that is posted after a
 * close. Stopping happens in close, on the control thread, after nng_stream_close: never in a callback.
 * Memory goes in free, later, since others may still try to send.
 *
 * Whoever `sent` lets send may post on send_aio while that callback still returns. That is safe: the callback has read result
 * and count before, and does nothing with the aio after; nng has done with it before it runs the callback, counts the
 * callbacks that are under way instead of marking one, and stop waits until there is none (nng's aio.c and taskq.c, read in
 * 1.5.2 and 1.12.0).
 *
 * What can fail: a receive or a send (the other side went away), the other side's bytes, memory. All end the
 * same way: the stream is closed, which ends the receive, and the receive's callback reports `down` with the
 * first error, behind the last frames. */
#include "transport/nng_stream.h"

#include <netdb.h>
#include <nng/nng.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/nng_err.h"

#define NOW_MAX         (256u << 10) /* bytes to be sent at once; more is for nng's threads */
#define ACCEPT_PAUSE_MS 50           /* after an error: at the limit of descriptors accept would spin */

struct tr__stream {
    nng_stream *stream;
    nng_aio *receive_aio, *send_aio;
    nng_aio *now_aio; /* of sends that are to be done at once, and without a callback: see post_now */
    pthread_mutex_t lock;
    bool closing;     /* under lock */
    tr_error failure; /* under lock: the first one */
    const tr__stream_upcalls *upcalls;
    void *context;
    tr__splitter splitter;    /* the receive callback's */
    _Atomic size_t frame_max; /* the control thread writes */
    nng_iov iov[TR__IOV_MAX]; /* what is left of the send under way: the send callback's */
    unsigned iov_count;
    size_t send_size;
};

struct tr__listener {
    nng_stream_listener *listener;
    nng_aio *aio;
    pthread_mutex_t lock;
    bool closing; /* under lock */
    bool pausing; /* the callback's */
    tr__accepted_fn *accepted;
    void *context;
};

struct tr__dial {
    nng_stream_dialer *dialer;
    nng_aio *aio;
    tr__dialled_fn *dialled;
    void *context;
    char address[TR__ADDRESS_MAX + 1];
};

/* Streams: receiving ---- */

/* Note the first failure and end the receive. Any thread. */
static void fail(tr__stream *stream, const tr_error *why)
{
    pthread_mutex_lock(&stream->lock);
    if (stream->failure.code == TR_OK)
        stream->failure = *why;
    nng_stream_close(stream->stream);
    pthread_mutex_unlock(&stream->lock);
}

/* Receive more; false if nothing more can come: then the failure is noted. The callback's last act. */
static bool post_receive(tr__stream *stream)
{
    uint8_t *at;
    size_t room;
    tr_error error;
    if (tr__splitter_room(&stream->splitter, atomic_load(&stream->frame_max), &at, &room, &error)) {
        fail(stream, &error);
        return false;
    }
    nng_iov iov = {.iov_buf = at, .iov_len = room};
    pthread_mutex_lock(&stream->lock);
    bool usable = !stream->closing && stream->failure.code == TR_OK;
    if (usable) {
        nng_aio_set_iov(stream->receive_aio, 1, &iov);
        nng_stream_recv(stream->stream, stream->receive_aio);
    }
    pthread_mutex_unlock(&stream->lock);
    return usable;
}

static void report_down(tr__stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool closing = stream->closing;
    tr_error why = stream->failure;
    pthread_mutex_unlock(&stream->lock);
    if (!closing)
        stream->upcalls->down(stream->context, &why);
}

/* Hand up what came whole; false: this was the last. */
static bool deliver(tr__stream *stream, size_t count)
{
    tr__slice *slice;
    tr_error error;
    tr_err err = tr__splitter_took(&stream->splitter, count, atomic_load(&stream->frame_max), &slice, &error);
    if (slice)
        stream->upcalls->received(stream->context, slice);
    if (err)
        fail(stream, &error);
    return err == TR_OK;
}

static void received(void *argument)
{
    tr__stream *stream = argument;
    int result = nng_aio_result(stream->receive_aio);
    if (result) {
        tr_error why;
        tr_err code = tr__nng_err(result);
        if (code == TR_ERESET)
            tr__fail(&why, code, "the other side closed the connection");
        else
            tr__fail(&why, code, "receiving failed: %s", nng_strerror(result));
        fail(stream, &why);
    }
    if (result || !deliver(stream, nng_aio_count(stream->receive_aio)) || !post_receive(stream))
        report_down(stream);
}

/* Streams: sending ---- */

/* Post what iov has left. */
static void post_send(tr__stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (!stream->closing && stream->failure.code == TR_OK) {
        nng_aio_set_iov(stream->send_aio, stream->iov_count, stream->iov);
        nng_stream_send(stream->stream, stream->send_aio);
    }
    pthread_mutex_unlock(&stream->lock);
}

/* Take `count` sent bytes off the front of iov. */
static void advance(tr__stream *stream, size_t count)
{
    unsigned done = 0;
    while (done < stream->iov_count && count >= stream->iov[done].iov_len)
        count -= stream->iov[done++].iov_len;
    stream->iov_count -= done;
    memmove(stream->iov, stream->iov + done, stream->iov_count * sizeof stream->iov[0]);
    if (stream->iov_count) {
        stream->iov[0].iov_buf = (uint8_t *)stream->iov[0].iov_buf + count;
        stream->iov[0].iov_len -= count;
    }
}

static void sent(void *argument)
{
    tr__stream *stream = argument;
    int result = nng_aio_result(stream->send_aio);
    if (result) {
        tr_error why;
        tr__fail(&why, tr__nng_err(result), "sending failed: %s", nng_strerror(result));
        fail(stream, &why);
        return;
    }
    advance(stream, nng_aio_count(stream->send_aio));
    if (stream->iov_count)
        post_send(stream);
    else
        stream->upcalls->sent(stream->context, stream->send_size);
}

/* Give the kernel what it takes of iov, at once. A callback would come on another thread, and waking that costs more than
 * sending does. So an aio without one is posted and, if it isn't done by now, taken back: then it has sent nothing. Which of
 * the two it was only its count tells: since nng 1.12 the result of one that was done says that it was taken back. */
static void post_now(tr__stream *stream)
{
    size_t count = 1;
    while (stream->iov_count && count) {
        count = 0;
        pthread_mutex_lock(&stream->lock);
        if (!stream->closing && stream->failure.code == TR_OK) {
            nng_aio_set_iov(stream->now_aio, stream->iov_count, stream->iov);
            nng_stream_send(stream->stream, stream->now_aio);
            nng_aio_cancel(stream->now_aio);
            nng_aio_wait(stream->now_aio);
            count = nng_aio_count(stream->now_aio);
        }
        pthread_mutex_unlock(&stream->lock);
        advance(stream, count);
    }
}

static size_t set_iov(tr__stream *stream, const tr__iov *iov, unsigned count)
{
    tr__check(count > 0 && count <= TR__IOV_MAX, "a send of %u pieces", count);
    tr__check(stream->iov_count == 0, "two sends at a time");
    stream->send_size = 0;
    for (unsigned i = 0; i < count; i++) {
        stream->iov[i] = (nng_iov){.iov_buf = (void *)iov[i].bytes, .iov_len = iov[i].length};
        stream->send_size += iov[i].length;
    }
    stream->iov_count = count;
    return stream->send_size;
}

static bool stream_send_now(tr__stream *stream, const tr__iov *iov, unsigned count)
{
    if (set_iov(stream, iov, count) <= NOW_MAX)
        post_now(stream);
    if (stream->iov_count == 0)
        return true;
    post_send(stream); /* a failure repeats itself, and is told */
    return false;
}

static tr_err stream_send(tr__stream *stream, const tr__iov *iov, unsigned count, tr_error *error)
{
    pthread_mutex_lock(&stream->lock);
    tr_error failure = stream->failure;
    if (stream->closing)
        tr__fail(&failure, TR_ECLOSED, "the stream is closed");
    pthread_mutex_unlock(&stream->lock);
    if (failure.code) {
        if (error)
            *error = failure;
        return failure.code;
    }
    set_iov(stream, iov, count);
    post_send(stream);
    return TR_OK;
}

/* Streams: life ---- */

static void stream_close(tr__stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->closing = true;
    nng_stream_close(stream->stream);
    pthread_mutex_unlock(&stream->lock);
    nng_aio_stop(stream->receive_aio);
    nng_aio_stop(stream->send_aio);
    nng_aio_stop(stream->now_aio);
}

static void stream_free(tr__stream *stream)
{
    nng_aio_free(stream->receive_aio);
    nng_aio_free(stream->send_aio);
    nng_aio_free(stream->now_aio);
    nng_stream_free(stream->stream);
    tr__splitter_fini(&stream->splitter);
    pthread_mutex_destroy(&stream->lock);
    tr__free(stream);
}

/* Wrap; takes the nng stream, frees it on failure. Any thread. */
static tr__stream *stream_create(nng_stream *nng)
{
    tr__stream *stream = tr__zalloc(sizeof *stream);
    if (!stream)
        goto err_stream;
    if (nng_aio_alloc(&stream->receive_aio, received, stream))
        goto err_memory;
    if (nng_aio_alloc(&stream->send_aio, sent, stream))
        goto err_receive_aio;
    if (nng_aio_alloc(&stream->now_aio, NULL, NULL))
        goto err_send_aio;
    pthread_mutex_init(&stream->lock, NULL);
    nng_aio_set_timeout(stream->receive_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(stream->send_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(stream->now_aio, NNG_DURATION_INFINITE);
    stream->stream = nng;
    nng_stream_set_bool(nng, NNG_OPT_TCP_NODELAY, true);
    return stream;
err_send_aio:
    nng_aio_free(stream->send_aio);
err_receive_aio:
    nng_aio_free(stream->receive_aio);
err_memory:
    tr__free(stream);
err_stream:
    nng_stream_free(nng);
    return NULL;
}

static tr_err stream_start(tr__stream *stream, const tr__stream_upcalls *upcalls, void *context,
                           tr_error *error)
{
    stream->upcalls = upcalls;
    stream->context = context;
    if (!post_receive(stream)) {
        if (error)
            *error = stream->failure;
        return stream->failure.code;
    }
    return TR_OK;
}

/* The bytes of an address as a number; an IPv4 address within IPv6 is that IPv4 address. */
static uint64_t stream_origin(tr__stream *stream)
{
    static const uint8_t v4_in_v6[12] = {[10] = 0xff, [11] = 0xff};
    nng_sockaddr from = {0};
    const uint8_t *bytes = from.s_in6.sa_addr;
    uint64_t number = 0;
    size_t first = 0, end = 8;
    if (nng_stream_get_addr(stream->stream, NNG_OPT_REMADDR, &from))
        return 0;
    if (from.s_family == NNG_AF_INET)
        return from.s_in.sa_addr;
    if (memcmp(bytes, v4_in_v6, sizeof v4_in_v6) == 0)
        first = 12, end = 16;
    for (size_t i = first; i < end; i++)
        number = number << 8 | bytes[i];
    return number;
}

static void stream_limit(tr__stream *stream, size_t frame_max)
{
    atomic_store(&stream->frame_max, frame_max);
}

/* Listening ---- */

static void post_accept(tr__listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    if (!listener->closing) {
        if (listener->pausing)
            nng_sleep_aio(ACCEPT_PAUSE_MS, listener->aio);
        else
            nng_stream_listener_accept(listener->listener, listener->aio);
    }
    pthread_mutex_unlock(&listener->lock);
}

static void accepted(void *argument)
{
    tr__listener *listener = argument;
    int result = nng_aio_result(listener->aio);
    if (listener->pausing) {
        listener->pausing = false;
    } else if (result) {
        listener->pausing = true;
    } else {
        tr__stream *stream = stream_create(nng_aio_get_output(listener->aio, 0));
        if (!stream || !listener->accepted(listener->context, stream))
            listener->pausing = true; /* no memory: the newcomer is turned away */
        if (stream && listener->pausing) {
            stream_close(stream); /* nothing was posted on it yet, so this waits for nothing */
            stream_free(stream);
        }
    }
    post_accept(listener);
}

/* A numeric address for a name, if all it stands for is loopback or that doesn't matter. */
static tr_err resolve_to_listen(const tr__net_address *name, tr__net_address *numeric, tr_error *error)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int result = getaddrinfo(name->host, NULL, &hints, &list);
    if (result)
        return tr__fail(error, TR_EADDR,
                        "cannot listen on %.80s: the name doesn't resolve (%s); use --listen "
                        "127.0.0.1:PORT",
                        name->host, gai_strerror(result));
    tr_err err = TR_EADDR;
    for (struct addrinfo *at = list; at; at = at->ai_next) {
        tr__net_address one = {.kind = at->ai_family == AF_INET6 ? TR__HOST_IPV6 : TR__HOST_IPV4,
                               .port = name->port};
        result = getnameinfo(at->ai_addr, at->ai_addrlen, one.host, sizeof one.host, NULL, 0, NI_NUMERICHOST);
        if (result) {
            err = tr__fail(error, TR_EADDR, "cannot listen on %.80s: what it resolves to is no address (%s)",
                           name->host, gai_strerror(result));
            break;
        }
        if (!name->anywhere && !tr__net_address_is_loopback(&one)) {
            err = tr__net_address_refuse(name->host, error);
            break;
        }
        if (at == list || (one.kind == TR__HOST_IPV4 && numeric->kind != TR__HOST_IPV4))
            *numeric = one; /* IPv4 if there is one: 127.0.0.1 exists everywhere */
        err = TR_OK;
    }
    freeaddrinfo(list);
    return err;
}

static void make_url(const tr__net_address *address, char *url)
{
    memcpy(url, "tcp://", 6);
    tr__net_address_print(address, url + 6);
}

static tr_err listen_failed(int result, const char *url, tr_error *error)
{
    tr_err code = tr__nng_err(result);
    if (code == TR_EADDRINUSE)
        return tr__fail(error, code,
                        "cannot listen on %.80s: another program listens there; choose another port by "
                        "--listen HOST:PORT (port 0 takes a free one)",
                        url + 6);
    const char *hint = result == NNG_ENOFILES ? "more open files are needed (ulimit -n)"
                                              : "--listen HOST:PORT sets the address";
    return tr__fail(error, code, "cannot listen on %.80s: %s; %s", url + 6, nng_strerror(result), hint);
}

static tr_err net_listen(tr__net *net, const tr__net_address *address, tr__accepted_fn *upcall, void *context,
                         tr__listener **listener, tr_error *error)
{
    (void)net;
    tr__net_address numeric = *address;
    char url[TR__ADDRESS_MAX + 8];
    if (address->kind == TR__HOST_NAME)
        TR_TRY(resolve_to_listen(address, &numeric, error));
    make_url(&numeric, url);
    tr__listener *made = tr__zalloc(sizeof *made);
    if (!made)
        return tr__fail(error, TR_ENOMEM, "no memory to listen on %.80s", url + 6);
    made->accepted = upcall;
    made->context = context;
    int result = nng_stream_listener_alloc(&made->listener, url);
    if (result)
        goto err_memory;
    nng_stream_listener_set_bool(made->listener, NNG_OPT_TCP_NODELAY, true);
    result = nng_stream_listener_listen(made->listener);
    if (result)
        goto err_listener;
    result = nng_aio_alloc(&made->aio, accepted, made);
    if (result)
        goto err_listener;
    nng_aio_set_timeout(made->aio, NNG_DURATION_INFINITE);
    pthread_mutex_init(&made->lock, NULL);
    *listener = made;
    post_accept(made);
    return TR_OK;
err_listener:
    nng_stream_listener_close(made->listener);
    nng_stream_listener_free(made->listener);
err_memory:
    tr__free(made);
    return listen_failed(result, url, error);
}

static uint16_t net_port(tr__listener *listener)
{
    int port = 0;
    nng_stream_listener_get_int(listener->listener, NNG_OPT_TCP_BOUND_PORT, &port);
    return (uint16_t)port;
}

static void net_unlisten(tr__listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    listener->closing = true;
    nng_stream_listener_close(listener->listener);
    pthread_mutex_unlock(&listener->lock);
    nng_aio_stop(listener->aio);
    nng_aio_free(listener->aio);
    nng_stream_listener_free(listener->listener);
    pthread_mutex_destroy(&listener->lock);
    tr__free(listener);
}

/* Dialling ---- */

static void dialled(void *argument)
{
    tr__dial *dial = argument;
    int result = nng_aio_result(dial->aio);
    tr_error why = {.code = TR_OK};
    tr__stream *stream = NULL;
    if (result) {
        tr__fail(&why, tr__nng_err(result), "cannot reach %.80s: %s", dial->address,
                 result == NNG_EADDRINVAL ? "no such host is known" : nng_strerror(result));
    } else {
        stream = stream_create(nng_aio_get_output(dial->aio, 0));
        if (!stream)
            tr__fail(&why, TR_ENOMEM, "no memory for a connection to %.80s", dial->address);
    }
    dial->dialled(dial->context, stream, &why);
}

static tr_err net_dial(tr__net *net, const tr__net_address *address, uint64_t timeout_ns,
                       tr__dialled_fn *upcall, void *context, tr__dial **dial, tr_error *error)
{
    (void)net;
    char url[TR__ADDRESS_MAX + 8];
    make_url(address, url);
    tr__dial *made = tr__zalloc(sizeof *made);
    if (!made)
        return tr__fail(error, TR_ENOMEM, "no memory to dial %.80s", url + 6);
    made->dialled = upcall;
    made->context = context;
    memcpy(made->address, url + 6, sizeof made->address);
    int result = nng_stream_dialer_alloc(&made->dialer, url);
    if (result)
        goto err_memory;
    nng_stream_dialer_set_bool(made->dialer, NNG_OPT_TCP_NODELAY, true);
    result = nng_aio_alloc(&made->aio, dialled, made);
    if (result)
        goto err_dialer;
    nng_aio_set_timeout(made->aio, (nng_duration)(timeout_ns / 1000000));
    *dial = made;
    nng_stream_dialer_dial(made->dialer, made->aio);
    return TR_OK;
err_dialer:
    nng_stream_dialer_close(made->dialer);
    nng_stream_dialer_free(made->dialer);
err_memory:
    tr__free(made);
    return tr__fail(error, tr__nng_err(result), "cannot dial %.80s: %s", url + 6, nng_strerror(result));
}

static void net_undial(tr__dial *dial)
{
    nng_stream_dialer_close(dial->dialer);
    nng_aio_stop(dial->aio);
    nng_aio_free(dial->aio);
    nng_stream_dialer_free(dial->dialer);
    tr__free(dial);
}

tr__net *tr__nng_net(void)
{
    static tr__net net = {
        .listen = net_listen,
        .port = net_port,
        .unlisten = net_unlisten,
        .dial = net_dial,
        .undial = net_undial,
        .start = stream_start,
        .limit = stream_limit,
        .send = stream_send,
        .send_now = stream_send_now,
        .origin = stream_origin,
        .close = stream_close,
        .free = stream_free,
    };
    return &net;
}
