/* See memory_stream.h. One thread; upcalls come from memory_net_step only. */
#include "tests/kit/memory_stream.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

struct tr__stream {
    tr__stream *next;
    memory_net *net;
    tr__stream *peer; /* NULL once that is closed */
    const tr__stream_upcalls *upcalls;
    void *context;
    bool started, raw, broken, told, closed, frozen;
    tr_error failure;
    tr__splitter splitter;
    size_t frame_max;
    tr__iov iov[TR__IOV_MAX];
    unsigned iov_count, iov_at;
    size_t iov_offset, send_size;
    uint8_t *pipe; /* what was sent to this stream and isn't received yet */
    size_t pipe_length, pipe_capacity;
    uint64_t origin;
    bool dialler; /* it is the end of who dialled */
};

struct tr__listener {
    tr__listener *next;
    memory_net *net;
    uint16_t port;
    tr__accepted_fn *accepted;
    void *context;
};

struct tr__dial {
    tr__dial *next;
    memory_net *net;
    uint16_t port;
    tr__dialled_fn *dialled;
    void *context;
    bool done;
};

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How much moves now: all, or 1 to piece_max. */
static size_t piece(memory_net *net, size_t all)
{
    return net->piece_max ? smaller(all, 1 + tr__random_below(&net->random, net->piece_max)) : all;
}

/* Streams ---- */

static tr__stream *stream_create(memory_net *net)
{
    tr__stream *stream = tr__zalloc(sizeof *stream), **at = &net->streams;
    stream->net = net;
    while (*at)
        at = &(*at)->next;
    *at = stream;
    net->streams_open++;
    return stream;
}

static void pipe_put(tr__stream *to, const void *bytes, size_t length)
{
    if (to->pipe_length + length > to->pipe_capacity) {
        to->pipe_capacity = 2 * (to->pipe_length + length);
        to->pipe = tr__realloc(to->pipe, to->pipe_capacity);
    }
    memcpy(to->pipe + to->pipe_length, bytes, length);
    to->pipe_length += length;
}

static void pipe_drop(tr__stream *stream, size_t length)
{
    stream->pipe_length -= length;
    memmove(stream->pipe, stream->pipe + length, stream->pipe_length);
}

static void stream_close(tr__stream *stream)
{
    memory_net *net = stream->net;
    tr__stream **at = &net->streams;
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    if (stream->peer)
        stream->peer->peer = NULL;
    stream->closed = true;
    net->streams_open--;
}

static void stream_free(tr__stream *stream)
{
    tr__check(stream->closed, "a stream is freed that wasn't closed");
    tr__splitter_fini(&stream->splitter);
    tr__free(stream->pipe);
    tr__free(stream);
}

static tr_err stream_start(tr__stream *stream, const tr__stream_upcalls *upcalls, void *context,
                           tr_error *error)
{
    (void)error;
    stream->upcalls = upcalls;
    stream->context = context;
    stream->started = true;
    return TR_OK;
}

static void discard(tr__stream *stream)
{
    stream_close(stream);
    stream_free(stream);
}

static uint64_t stream_origin(tr__stream *stream)
{
    return stream->origin;
}

static void stream_limit(tr__stream *stream, size_t frame_max)
{
    stream->frame_max = frame_max;
}

static tr_err stream_send(tr__stream *stream, const tr__iov *iov, unsigned count, tr_error *error)
{
    tr__check(stream->started && stream->iov_count == 0, "a send before start, or two at a time");
    tr__check(count > 0 && count <= TR__IOV_MAX, "a send of %u pieces", count);
    if (stream->broken || stream->closed)
        return tr__fail(error, TR_ERESET, "the other side closed the connection");
    memcpy(stream->iov, iov, count * sizeof *iov);
    stream->iov_count = count;
    stream->iov_at = 0;
    stream->iov_offset = stream->send_size = 0;
    for (unsigned i = 0; i < count; i++) {
        tr__check(iov[i].length > 0, "an empty piece");
        stream->send_size += iov[i].length;
    }
    return TR_OK;
}

/* Move bytes from the send under way into the other side's pipe. */
static bool move_send(tr__stream *stream)
{
    tr__stream *peer = stream->peer;
    if (stream->iov_count == 0 || stream->broken || !peer || peer->pipe_length >= stream->net->pipe_max)
        return false;
    const tr__iov *iov = &stream->iov[stream->iov_at];
    size_t length = smaller(iov->length - stream->iov_offset, stream->net->pipe_max - peer->pipe_length);
    length = piece(stream->net, length);
    pipe_put(peer, (const uint8_t *)iov->bytes + stream->iov_offset, length);
    if (stream->net->tap)
        stream->net->tap(stream->net->tap_context, stream->dialler, peer->pipe + peer->pipe_length - length,
                         length);
    stream->iov_offset += length;
    if (stream->iov_offset == iov->length) {
        stream->iov_offset = 0;
        if (++stream->iov_at == stream->iov_count) {
            stream->iov_count = 0;
            stream->upcalls->sent(stream->context, stream->send_size);
        }
    }
    return true;
}

/* Now and then all of it moves at once, if there is room. */
static bool stream_send_now(tr__stream *stream, const tr__iov *iov, unsigned count)
{
    memory_net *net = stream->net;
    bool may =
        net->at_once && tr__random_below(&net->random, 4) && stream->peer && !stream->frozen && !net->frozen;
    if (stream_send(stream, iov, count, NULL) || !may ||
        stream->send_size > net->pipe_max - smaller(net->pipe_max, stream->peer->pipe_length))
        return false;
    for (unsigned i = 0; i < count; i++) {
        pipe_put(stream->peer, iov[i].bytes, iov[i].length);
        if (net->tap)
            net->tap(net->tap_context, stream->dialler,
                     stream->peer->pipe + stream->peer->pipe_length - iov[i].length, iov[i].length);
    }
    stream->iov_count = 0;
    return true;
}

/* Receive from the pipe, as the splitter wants it. */
static bool move_receive(tr__stream *stream)
{
    uint8_t *at;
    size_t room;
    tr__slice *slice;
    if (!stream->started || stream->raw || stream->broken || stream->pipe_length == 0)
        return false;
    tr_err err = tr__splitter_room(&stream->splitter, stream->frame_max, &at, &room, &stream->failure);
    if (err == TR_OK) {
        size_t length = piece(stream->net, smaller(room, stream->pipe_length));
        memcpy(at, stream->pipe, length);
        pipe_drop(stream, length);
        err = tr__splitter_took(&stream->splitter, length, stream->frame_max, &slice, &stream->failure);
        if (slice)
            stream->upcalls->received(stream->context, slice);
    }
    if (err)
        stream->broken = true;
    return true;
}

static bool tell_down(tr__stream *stream)
{
    if (!stream->started || stream->raw || stream->told)
        return false;
    if (!stream->broken && (stream->peer || stream->pipe_length > 0))
        return false;
    stream->told = stream->broken = true;
    if (stream->failure.code == TR_OK)
        tr__fail(&stream->failure, TR_ERESET, "the other side closed the connection");
    stream->upcalls->down(stream->context, &stream->failure);
    return true;
}

/* Listening and dialling ---- */

static tr_err net_listen(tr__net *base, const tr__net_address *address, tr__accepted_fn *accepted,
                         void *context, tr__listener **listener, tr_error *error)
{
    memory_net *net = (memory_net *)base;
    uint16_t port = address->port ? address->port : net->next_port++;
    for (tr__listener *l = net->listeners; l; l = l->next) {
        if (l->port == port)
            return tr__fail(error, TR_EADDRINUSE, "port %u is in use; choose another by --listen", port);
    }
    *listener = tr__zalloc(sizeof **listener);
    **listener = (tr__listener){net->listeners, net, port, accepted, context};
    net->listeners = *listener;
    return TR_OK;
}

static uint16_t net_port(tr__listener *listener)
{
    return listener->port;
}

static void net_unlisten(tr__listener *listener)
{
    tr__listener **at = &listener->net->listeners;
    while (*at != listener)
        at = &(*at)->next;
    *at = listener->next;
    tr__free(listener);
}

static tr_err net_dial(tr__net *base, const tr__net_address *address, uint64_t timeout_ns,
                       tr__dialled_fn *dialled, void *context, tr__dial **dial, tr_error *error)
{
    memory_net *net = (memory_net *)base;
    (void)timeout_ns, (void)error;
    *dial = tr__zalloc(sizeof **dial);
    **dial = (tr__dial){.net = net, .port = address->port, .dialled = dialled, .context = context};
    tr__dial **at = &net->dials;
    while (*at)
        at = &(*at)->next;
    *at = *dial;
    return TR_OK;
}

static void net_undial(tr__dial *dial)
{
    tr__dial **at = &dial->net->dials;
    while (*at != dial)
        at = &(*at)->next;
    *at = dial->next;
    tr__free(dial);
}

/* Both ends of a new stream; NULL if nobody listens there, or nobody took it. */
static tr__stream *establish(memory_net *net, uint16_t port)
{
    tr__listener *listener = net->listeners;
    while (listener && listener->port != port)
        listener = listener->next;
    if (!listener || net->refuse_dials)
        return NULL;
    tr__stream *one = stream_create(net), *two = stream_create(net);
    one->peer = two;
    two->peer = one;
    two->origin = net->origin;
    one->dialler = true;
    if (!listener->accepted(listener->context, two))
        discard(two);
    return one;
}

static bool answer_dial(tr__dial *dial)
{
    tr_error why = {.code = TR_OK};
    if (dial->done)
        return false;
    dial->done = true;
    tr__stream *stream = establish(dial->net, dial->port);
    if (!stream)
        tr__fail(&why, TR_EREFUSED, "nobody listens on port %u", dial->port);
    dial->dialled(dial->context, stream, &why);
    return true;
}

/* The net ---- */

void memory_net_init(memory_net *net, uint64_t seed)
{
    *net = (memory_net){
        .net = {net_listen, net_port, net_unlisten, net_dial, net_undial, stream_start, stream_limit,
                stream_send, stream_close, stream_free, stream_send_now, stream_origin},
        .pipe_max = 1u << 20,
        .next_port = 40000,
    };
    tr__random_init(&net->random, seed);
}

void memory_net_fini(memory_net *net)
{
    tr__check(!net->streams && !net->listeners && !net->dials,
              "a stream, a listener or a dial wasn't closed");
}

bool memory_net_step(memory_net *net)
{
    unsigned count = 0;
    for (tr__dial *dial = net->dials; dial; dial = dial->next) {
        if (answer_dial(dial))
            return true;
    }
    if (net->frozen)
        return false;
    for (tr__stream *stream = net->streams; stream; stream = stream->next)
        count++;
    unsigned first = count ? (unsigned)tr__random_below(&net->random, count) : 0;
    for (unsigned i = 0; i < count; i++) { /* from a random one on, round about */
        tr__stream *stream = net->streams;
        for (unsigned skip = (first + i) % count; skip > 0; skip--)
            stream = stream->next;
        if (stream->frozen)
            continue;
        bool receive_first = tr__random_below(&net->random, 2);
        if (receive_first ? move_receive(stream) || move_send(stream)
                          : move_send(stream) || move_receive(stream))
            return true;
        if (tell_down(stream))
            return true;
    }
    return false;
}

void memory_net_run(memory_net *net)
{
    while (memory_net_step(net))
        continue;
}

void memory_net_freeze(memory_net *net)
{
    for (tr__stream *stream = net->streams; stream; stream = stream->next)
        stream->frozen = true;
}

void memory_net_cut(memory_net *net)
{
    for (tr__stream *stream = net->streams; stream; stream = stream->next) {
        stream->broken = true;
        stream->pipe_length = 0;
    }
}

/* Raw clients ---- */

tr__stream *memory_raw_dial(memory_net *net, uint16_t port)
{
    tr__stream *raw = establish(net, port);
    tr__check(raw != NULL, "nobody listens on port %u", port);
    raw->raw = true;
    return raw;
}

void memory_raw_write(tr__stream *raw, const void *bytes, size_t length)
{
    if (raw->peer && length > 0)
        pipe_put(raw->peer, bytes, length);
}

size_t memory_raw_read(tr__stream *raw, void *bytes, size_t length)
{
    length = smaller(length, raw->pipe_length);
    if (length > 0) {
        memcpy(bytes, raw->pipe, length);
        pipe_drop(raw, length);
    }
    return length;
}

bool memory_raw_is_cut(tr__stream *raw)
{
    return !raw->peer && raw->pipe_length == 0;
}

void memory_raw_close(tr__stream *raw)
{
    discard(raw);
}
