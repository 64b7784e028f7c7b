/* The stream client: an actor with a queue of requests and a few connections to one server. It does no I/O:
 * connections come through the TCP seam (tcp.h), bytes become answers in the codec (codec.h), time through
 * one timer. Requests and connections are in stream_queue.c and stream_pool.c.
 *
 *     ask -> waiting -> in flight on a connection -> answered
 *               ^                |  cut, and it may be asked twice
 *               '----------------'  (at the front, in the old order)
 *
 * Possible failures: options that make no sense end it at once; a full queue is told to the asker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds/stream_pool.h"
#include "base/err.h"
#include "base/mem.h"

#define CONNECTIONS_MAX   256u
#define WAITING_BYTES_MAX ((size_t)64 * 1024 * 1024)

/* ---- requests ------------------------------------------------------------------------------------------ */

static void on_request(tr__stream *c, const tr_msg *msg)
{
    tr_err err = TR_OK;
    if (c->waiting.count >= c->queue)
        err = tr_fail(c->self, TR_EFULL,
                      "%.100s: %u requests wait already: ask fewer at a time, or raise the option queue",
                      c->address, c->waiting.count);
    else if (c->waiting.count > 0 && c->waiting_bytes + msg->size > WAITING_BYTES_MAX)
        err = tr_fail(c->self, TR_EFULL, "%.100s: requests of %zu bytes wait already: ask fewer at a time",
                      c->address, c->waiting_bytes);
    tr__stream_request *r = err == TR_OK ? tr__zalloc(sizeof(*r)) : NULL;
    if (err == TR_OK && !r)
        err = tr_fail(c->self, TR_ENOMEM, "no memory for a request");
    if (err == TR_OK && !(r->msg = tr_msg_take(c->self, msg)))
        err = tr_fail(c->self, TR_ENOMEM, "no memory to keep a request");
    if (err != TR_OK) {
        tr__free(r);
        c->counts.failed++;
        if (tr_msg_ask_number(msg) != 0)
            (void)tr_reply_error(c->self, msg, err, "%s", tr_last_error(c->self)->text);
        return;
    }
    uint64_t remaining = tr_msg_remaining(c->self, r->msg);
    r->deadline_ns = remaining == TR_FOREVER ? TR__NEVER : tr__stream_after(c, remaining);
    c->waiting_bytes += r->msg->size;
    tr__stream_push(&c->waiting, r);
    tr__stream_wake_at(c, r->deadline_ns);
    tr__stream_dispatch(c);
}

static bool is_ask(const tr__stream_request *r, const tr_canceled *canceled)
{
    return r->msg && tr_msg_ask_number(r->msg) == canceled->ask &&
           tr_addr_equal(tr_msg_sender(r->msg), canceled->asker);
}

static void on_canceled(tr__stream *c, const tr_canceled *canceled)
{
    for (tr__stream_request **at = &c->waiting.head; *at; at = &(*at)->next) {
        if (is_ask(*at, canceled)) {
            tr__stream_release(c, tr__stream_take_waiting(c, at));
            return;
        }
    }
    for (uint32_t i = 0; i < c->connections; i++) {
        for (tr__stream_request *r = c->pool[i].in_flight.head; r; r = r->next) {
            if (is_ask(r, canceled)) {
                tr__stream_abandon(c, r);
                return;
            }
        }
    }
}

static void on_query(tr__stream *c, const tr_msg *msg, const tr_stream_query *query)
{
    tr_stream_status status = c->counts;
    status.waiting = c->waiting.count;
    for (uint32_t i = 0; i < c->connections; i++) {
        status.open += c->pool[i].state == TR__STREAM_OPEN;
        status.in_flight += c->pool[i].in_flight.count;
    }
    if (query->reset)
        c->counts = (tr_stream_status){0};
    (void)tr_reply_body(c->self, msg, &tr_stream_status_type, &status);
}
/* ---- the tick: whatever is due ------------------------------------------------------------------------- */

static void sweep_waiting(tr__stream *c, uint64_t now, uint64_t *next)
{
    tr_error error;
    for (tr__stream_request **at = &c->waiting.head; *at;) {
        tr__stream_request *r = *at;
        if (r->deadline_ns > now) {
            *next = r->deadline_ns < *next ? r->deadline_ns : *next;
            at = &r->next;
            continue;
        }
        tr__fail(&error, TR_EDEADLINE, "%.80s: the deadline passed before this was sent%s%.100s", c->address,
                 c->failures > 0 ? "; " : " (raise connections or in_flight)",
                 c->failures > 0 ? c->last_error.text : "");
        tr__stream_fail(c, tr__stream_take_waiting(c, at), TR_EDEADLINE, error.text);
    }
}
static void on_tick(tr__stream *c, const tr__stream_tick *tick)
{
    if (tick->due != c->tick_ns)
        return;
    uint64_t now = tr_now(c->self), next = TR__NEVER;
    c->tick_ns = TR__NEVER;
    sweep_waiting(c, now, &next);
    for (uint32_t i = 0; i < c->connections; i++)
        tr__stream_sweep(c, &c->pool[i], now, &next);
    tr__stream_wake_at(c, next);
    tr__stream_dispatch(c);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

/* "host:port" or "[::1]:port" into host and port. */
static tr_err parse_address(tr_actor *self, tr__stream *c, const char *text)
{
    const char *colon = strrchr(text, ':'), *host = text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    char *end = NULL;
    unsigned long port = colon && colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
    if (length > 2 && text[0] == '[' && text[length - 1] == ']') {
        host++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        port = 0; /* IPv6 without brackets: where the port begins is anybody's guess */
    }
    if (length == 0 || length >= sizeof(c->host) || port == 0 || port > 65535 || *end ||
        strpbrk(text, " \r\n\t/@") || memchr(host, '[', length))
        return tr_fail(self, TR_EADDR,
                       "stream client: address \"%.100s\" isn't \"host:port\" or \"[::1]:port\"", text);
    snprintf(c->host, sizeof(c->host), "%.*s", (int)length, host);
    snprintf(c->address, sizeof(c->address), "%s", text);
    c->port = (uint16_t)port;
    return TR_OK;
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    tr__stream *c = state;
    const tr_stream_opts *opts = arg;
    if (!opts || !opts->address || !opts->codec)
        return tr_fail(self, TR_EINVAL, "stream client: it needs a tr_stream_opts with address and codec");
    TR_TRY(parse_address(self, c, opts->address));
    c->codec = tr__codec_find(opts->codec);
    if (!c->codec)
        return tr_fail(self, TR_EINVAL, "stream client: codec \"%.40s\" isn't known: http or resp",
                       opts->codec);
    c->connections = (uint32_t)or_default(opts->connections, 4);
    if (c->connections > CONNECTIONS_MAX)
        return tr_fail(self, TR_EINVAL, "stream client: %u connections: at most %u", c->connections,
                       CONNECTIONS_MAX);
    c->loop = tr__loop_of(self);
    c->tcp = tr__loop_kinds(c->loop)->tcp;
    if (!c->tcp)
        return tr_fail(self, TR_EINVAL,
                       "this node has no TCP connections for the stream client: start it on a node of "
                       "tr_node_create, or give the test's driver simulated ones");
    c->in_flight = (uint32_t)or_default(opts->in_flight, 32);
    c->queue = (uint32_t)or_default(opts->queue, 4096);
    c->tries = (uint32_t)or_default(opts->tries, 3);
    c->connect_timeout_ns = or_default(opts->connect_timeout_ns, TR_SECONDS(3));
    c->answer_timeout_ns = or_default(opts->answer_timeout_ns, TR_SECONDS(15));
    c->backoff_ns = or_default(opts->backoff_ns, TR_MILLIS(50));
    c->backoff_max_ns = or_default(opts->backoff_max_ns, TR_SECONDS(2));
    c->limits.answer_max = (size_t)or_default(opts->answer_max, (uint64_t)16 << 20);
    c->limits.headers_max = (size_t)or_default(opts->headers_max, (uint64_t)64 << 10);
    c->tick_ns = TR__NEVER;
    c->next_key = 1;
    tr__stream_list_init(&c->waiting);
    c->pool = tr__zalloc(c->connections * sizeof(*c->pool));
    if (!c->pool)
        return tr_fail(self, TR_ENOMEM, "stream client: no memory for %u connections", c->connections);
    for (uint32_t i = 0; i < c->connections; i++) {
        c->pool[i].client = c;
        tr__stream_list_init(&c->pool[i].in_flight);
    }
    return TR_OK;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__stream *c = state;
    const void *body;
    c->self = self;
    if ((body = tr_match(msg, tr__tcp_data)))
        tr__stream_on_data(c, body);
    else if (tr_match(msg, tr_http_request) || tr_match(msg, tr_redis_command) || tr_match(msg, tr_request))
        on_request(c, msg);
    else if ((body = tr_match(msg, tr__tcp_up)))
        tr__stream_on_up(c, body);
    else if ((body = tr_match(msg, tr__tcp_down)))
        tr__stream_on_down(c, body);
    else if (tr_match(msg, tr__tcp_writable))
        tr__stream_dispatch(c);
    else if ((body = tr_match(msg, tr__stream_tick)))
        on_tick(c, body);
    else if ((body = tr_match(msg, tr_canceled)))
        on_canceled(c, body);
    else if ((body = tr_match(msg, tr_stream_query)))
        on_query(c, msg, body);
    else if (tr_msg_ask_number(msg) != 0)
        (void)tr_reply_error(self, msg, TR_EINVAL, "a stream client takes no %s", tr_msg_type_name(msg));
}

static void stop(tr_actor *self, void *state)
{
    tr__stream *c = state;
    tr_error error;
    c->self = self;
    tr__fail(&error, TR_ECLOSED, "the stream client of %.80s ended; this may or may not have been executed",
             c->address);
    for (uint32_t i = 0; c->pool && i < c->connections; i++) {
        tr__stream_connection *k = &c->pool[i];
        if (k->state != TR__STREAM_CLOSED)
            tr__stream_close(k);
        while (k->in_flight.head)
            tr__stream_fail(c, tr__stream_take(&k->in_flight, &k->in_flight.head), error.code, error.text);
    }
    tr__fail(&error, TR_ECLOSED, "the stream client of %.80s ended; this was not sent", c->address);
    tr__stream_fail_waiting(c, &error);
    tr__free(c->pool);
    tr__buf_fini(&c->scratch);
}

const tr_actor_def tr_stream_client = {
    .name = "stream client",
    .state_size = sizeof(tr__stream),
    .init = init,
    .receive = receive,
    .stop = stop,
    .arg_type = &tr_stream_opts_type,
    .mailbox_places = 4096,
};
