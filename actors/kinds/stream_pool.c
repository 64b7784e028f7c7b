/* The stream client's connections: when they are opened, what is sent on which, what comes back, how they
 * end. In the actor's handlers; no I/O but through the seam.
 *
 *     CLOSED -> CONNECTING -> OPEN -> CLOSED
 *                    '-- failed -------^
 *
 * Possible failures, and what askers get: connects fail `tries` times in a row: all that wait get the reason.
 * A malformed or too large answer, or silence: the asker of that one gets the reason. All others in flight,
 * there or when a connection is cut: see cut(). Nothing is sent again without a bound: a connection either
 * answers something or costs its first request one of its tries.
 *
 * A server that announces its last answer (Connection: close; nginx does so every keepalive_requests) has not
 * touched what was asked behind it, so that goes again, whatever it is. The number that it answered is
 * remembered, and no more are sent on one connection until an answer shows that it is no limit any more. */
#include <string.h>

#include "actors/kinds/stream_pool.h"
#include "base/err.h"

/* The pause before the next connect: doubled at each failure, and between half and all of that by chance, so
 * that many clients of one server don't come back at once. */
static void back_off(tr__stream *c)
{
    uint32_t doublings = c->failures < 20 ? c->failures : 20;
    uint64_t pause = c->backoff_ns << (doublings > 0 ? doublings - 1 : 0);
    if (pause > c->backoff_max_ns || pause >> (doublings > 0 ? doublings - 1 : 0) != c->backoff_ns)
        pause = c->backoff_max_ns;
    c->retry_ns = tr__stream_after(c, pause / 2 + tr_random(c->self) % (pause / 2 + 1));
}

/* ---- a connection's end -------------------------------------------------------------------------------- */

void tr__stream_close(tr__stream_connection *k)
{
    tr__stream *c = k->client;
    c->tcp->close(k->tcp);
    c->codec->destroy(k->parser);
    k->tcp = NULL;
    k->parser = NULL;
    k->state = TR__STREAM_CLOSED;
}

/* What becomes of a request that was in flight on a connection that broke: true if it goes again. */
static bool goes_again(tr__stream *c, tr__stream_connection *k, tr__stream_request *r, bool first)
{
    if (!r->msg)
        return false;
    if (k->last)
        return true;
    if (first)
        r->cuts++;
    return r->question.idempotent && r->cuts < c->tries;
}

/* An open connection is over. If `why` is about an answer (malformed, too large, not in time), its asker, the
 * first in flight, gets that; what else was in flight goes again or fails with TR_ERESET. */
static void cut(tr__stream *c, tr__stream_connection *k, const tr_error *why)
{
    tr_error reset;
    tr__stream_list again, old = k->in_flight;
    bool first = true, of_answer = why->code == TR_EPROTO || why->code == TR_ETOOBIG ||
                                   why->code == TR_EDEADLINE || why->code == TR_ENOMEM;
    tr__stream_list_init(&again);
    if (old.count == 0)
        old.end = &old.head;
    tr__stream_list_init(&k->in_flight);
    tr__stream_close(k);
    c->failures = k->answered > 0 || k->sent == 0 ? 0 : c->failures + 1;
    if (c->failures > 0) {
        back_off(c);
        c->last_error = *why;
    }
    for (; old.head; first = false) {
        tr__stream_request *r = tr__stream_take(&old, &old.head);
        if (first && of_answer && !k->last) {
            tr__stream_fail(c, r, why->code, why->text);
        } else if (goes_again(c, k, r, first)) {
            c->counts.again++;
            c->waiting_bytes += r->msg->size;
            tr__stream_push(&again, r);
        } else {
            tr__fail(
                &reset, TR_ERESET,
                "%.80s: cut after %llu answers on that connection (%.60s); this one may or may not have been "
                "executed%s",
                c->address, (unsigned long long)k->answered, why->text,
                r->question.idempotent ? "" : ": ask again only if twice does no harm");
            tr__stream_fail(c, r, TR_ERESET, reset.text);
        }
    }
    tr__stream_push_front(&c->waiting, &again);
    tr__stream_dispatch(c);
}

/* Connecting failed. Often enough in a row, and with no other connection up: nobody waits on. */
static void connect_failed(tr__stream *c, tr__stream_connection *k, tr_err code, const char *text)
{
    bool any_open = false;
    tr__stream_close(k);
    for (uint32_t i = 0; i < c->connections; i++)
        any_open |= c->pool[i].state == TR__STREAM_OPEN;
    c->failures++;
    back_off(c);
    tr_error error;
    tr__fail(&error, code,
             "%.100s: %.80s (try %u); is the server running there? Start it, or give another address",
             c->address, text, c->failures);
    c->last_error = error; /* `text` may be the old one's */
    if (!any_open && c->failures >= c->tries)
        tr__stream_fail_waiting(c, &c->last_error);
    tr__stream_dispatch(c);
}

/* ---- what the codec's parser calls --------------------------------------------------------------------- */

static bool on_question(void *context, tr__question *question)
{
    tr__stream_connection *k = context;
    if (!k->in_flight.head)
        return false;
    *question = k->in_flight.head->question;
    return true;
}

static void on_answer(void *context, tr_type *type, const void *body, bool last)
{
    tr__stream_connection *k = context;
    tr__stream *c = k->client;
    tr__stream_request *r = tr__stream_take(&k->in_flight, &k->in_flight.head);
    k->answered++;
    k->last = last;
    c->failures = 0;
    if (last && k->sent > k->answered)
        c->learned = k->answered;
    else if (!last && k->answered >= c->learned)
        c->learned = 0;
    if (!r->msg) {
        c->counts.discarded++;
    } else {
        c->counts.answered++;
        if (tr_msg_ask_number(r->msg) != 0)
            (void)tr_reply_body(c->self, r->msg, type, body);
    }
    tr__stream_release(c, r);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static bool has_place(const tr__stream *c, const tr__stream_connection *k)
{
    return k->state == TR__STREAM_OPEN && !k->last && !k->ended && k->in_flight.count < c->in_flight &&
           (c->learned == 0 || k->sent < c->learned || k->in_flight.count == 0) &&
           c->tcp->unsent(k->tcp) <= TR__TCP_UNSENT;
}

static tr__stream_connection *least_busy(tr__stream *c)
{
    tr__stream_connection *best = NULL;
    for (uint32_t i = 0; i < c->connections; i++) {
        tr__stream_connection *k = &c->pool[i];
        if (has_place(c, k) && (!best || k->in_flight.count < best->in_flight.count))
            best = k;
    }
    return best;
}

static tr_err encode(tr__stream *c, tr__stream_request *r, tr_error *error)
{
    const void *body;
    tr__asked asked = TR__ASKED_RAW;
    if ((body = tr_match(r->msg, tr_http_request)))
        asked = TR__ASKED_HTTP;
    else if ((body = tr_match(r->msg, tr_redis_command)))
        asked = TR__ASKED_REDIS;
    else
        body = tr_match(r->msg, tr_request);
    tr__buf_reset(&c->scratch);
    return c->codec->encode(c->address, asked, body, &c->scratch, &r->question, error);
}

/* The first that waits, on this connection. */
static void send_one(tr__stream *c, tr__stream_connection *k)
{
    tr_error error = {0};
    tr__stream_request *r = tr__stream_take_waiting(c, &c->waiting.head);
    tr_err err = encode(c, r, &error);
    if (err == TR_OK)
        err = c->tcp->write(k->tcp, c->scratch.data, c->scratch.size);
    if (err == TR_ECLOSED) { /* its end is in our mailbox already; nothing of this was sent */
        tr__stream_list back;
        tr__stream_list_init(&back);
        tr__stream_push(&back, r);
        tr__stream_push_front(&c->waiting, &back);
        c->waiting_bytes += r->msg->size;
        k->ended = true;
        k->heard_ns = tr_now(c->self);
        tr__stream_wake_at(c, tr__stream_after(c, c->answer_timeout_ns));
        return;
    }
    if (err != TR_OK && error.code == TR_OK)
        tr__fail(&error, err, "%.100s: cannot send: %s", c->address, tr_err_word(err));
    if (err != TR_OK) {
        tr__stream_fail(c, r, err, error.text);
        return;
    }
    if (k->in_flight.count == 0) {
        k->heard_ns = tr_now(c->self);
        tr__stream_wake_at(c, tr__stream_after(c, c->answer_timeout_ns));
    }
    k->sent++;
    tr__stream_push(&k->in_flight, r);
}

static void open_connection(tr__stream *c, tr__stream_connection *k)
{
    tr_error error = {0};
    uint64_t key = c->next_key++;
    *k = (tr__stream_connection){
        .client = c, .state = TR__STREAM_CONNECTING, .key = key, .heard_ns = tr_now(c->self)};
    tr__stream_list_init(&k->in_flight);
    k->parser = c->codec->create(&c->limits, &(tr__codec_sink){on_question, on_answer, k});
    if (k->parser)
        k->tcp = c->tcp->open(c->loop, tr_self(c->self), key, c->host, c->port, &error);
    else
        error = (tr_error){TR_ENOMEM, "no memory for a connection"};
    if (!k->tcp)
        c->last_error = error; /* it fails at the tick, which is due at once */
    tr__stream_wake_at(c, tr__stream_after(c, k->tcp ? c->connect_timeout_ns : 0));
}

void tr__stream_dispatch(tr__stream *c)
{
    tr__stream_connection *k;
    while (c->waiting.head && (k = least_busy(c)))
        send_one(c, k);
    uint64_t coming = 0;
    for (uint32_t i = 0; i < c->connections; i++)
        coming += c->pool[i].state == TR__STREAM_CONNECTING;
    for (uint32_t i = 0; i < c->connections && c->waiting.count > coming * c->in_flight; i++) {
        if (c->pool[i].state != TR__STREAM_CLOSED || (c->failures > 0 && coming > 0))
            continue;
        if (c->failures > 0 && tr_now(c->self) < c->retry_ns) {
            tr__stream_wake_at(c, c->retry_ns);
            break;
        }
        open_connection(c, &c->pool[i]);
        coming++;
    }
}

/* ---- what comes back ----------------------------------------------------------------------------------- */

static tr__stream_connection *find(tr__stream *c, uint64_t key)
{
    for (uint32_t i = 0; i < c->connections; i++)
        if (c->pool[i].state != TR__STREAM_CLOSED && c->pool[i].key == key)
            return &c->pool[i];
    return NULL;
}

void tr__stream_on_up(tr__stream *c, const tr__tcp_up *up)
{
    tr__stream_connection *k = find(c, up->key);
    if (!k)
        return;
    k->state = TR__STREAM_OPEN;
    c->counts.connects++;
    tr__stream_dispatch(c);
}

void tr__stream_on_data(tr__stream *c, const tr__tcp_data *data)
{
    tr_error error = {0};
    tr__stream_connection *k = find(c, data->key);
    if (!k)
        return;
    k->heard_ns = tr_now(c->self);
    tr_err err = c->codec->feed(k->parser, data->data.data, data->data.size, &error);
    if (err != TR_OK) {
        tr_error named;
        tr__fail(&named, err, "%.80s: %.150s", c->address, error.text);
        if (k->in_flight.count == 0)
            tr_log(c->self, TR_LOG_WARN, "stream client: %s; connection dropped", named.text);
        cut(c, k, &named);
    } else if (k->last) {
        cut(c, k, &(tr_error){TR_ECLOSED, "the server announced its last answer"});
    } else {
        c->tcp->consumed(k->tcp, data->data.size);
        tr__stream_dispatch(c);
    }
}

void tr__stream_on_down(tr__stream *c, const tr__tcp_down *down)
{
    tr_error error = {.code = TR_ERESET}, broken = {0};
    tr__stream_connection *k = find(c, down->key);
    if (!k)
        return;
    if (k->state == TR__STREAM_CONNECTING) {
        connect_failed(c, k, down->code, down->text);
        return;
    }
    tr__fail(&error, TR_ERESET, "%s", down->text);
    if (down->code == TR_ECLOSED && c->codec->finish(k->parser, &broken) != TR_OK)
        memcpy(error.text, broken.text, sizeof(error.text)); /* else an answer may have ended by this end */
    cut(c, k, &error);
}

/* ---- time-outs ----------------------------------------------------------------------------------------- */

static void sweep_in_flight(tr__stream *c, tr__stream_connection *k, uint64_t now, uint64_t *next)
{
    for (tr__stream_request *r = k->in_flight.head; r; r = r->next) {
        if (r->deadline_ns > now) {
            *next = r->deadline_ns < *next ? r->deadline_ns : *next;
            continue;
        }
        c->counts.failed++;
        (void)tr_reply_error(c->self, r->msg, TR_EDEADLINE, "%.80s: no answer before the deadline",
                             c->address);
        tr__stream_abandon(c, r);
    }
}

void tr__stream_sweep(tr__stream *c, tr__stream_connection *k, uint64_t now, uint64_t *next)
{
    tr_error error = {.code = TR_EDEADLINE};
    bool connecting = k->state == TR__STREAM_CONNECTING;
    sweep_in_flight(c, k, now, next);
    if (k->state == TR__STREAM_CLOSED || (!connecting && k->in_flight.count == 0 && !k->ended))
        return;
    uint64_t limit = connecting ? c->connect_timeout_ns : c->answer_timeout_ns;
    uint64_t due = k->heard_ns > TR__NEVER - limit ? TR__NEVER : k->heard_ns + limit;
    if (connecting && !k->tcp) {
        error = c->last_error;
        connect_failed(c, k, error.code, error.text);
    } else if (due > now) {
        *next = due < *next ? due : *next;
    } else if (connecting) {
        connect_failed(c, k, TR_EDEADLINE, "no connection within connect_timeout_ns");
    } else {
        tr__fail(&error, TR_EDEADLINE, "%.80s: silent for %llu ms with %u requests in flight", c->address,
                 (unsigned long long)(limit / TR_MILLIS(1)), k->in_flight.count);
        cut(c, k, &error);
    }
}
