/* The actor that owns an nng socket: its options, its life, and what comes to whom. See sp_actor.h. */
#include <stdio.h>
#include <string.h>

#include "actors/kinds/sp_actor.h"
#include "actors/kinds/sp_address.h"
#include "base/err.h"
#include "base/mem.h"

#define EXCHANGES_MAX 256
#define AHEAD_MAX     65536
#define BYTES_MAX     ((uint64_t)256 << 20)

static const tr__sp_role roles[TR__SP_PROTOCOLS] = {
    [TR__SP_REQ] = {.word = "req", .asks = true},
    [TR__SP_REP] = {.word = "rep", .serves = true},
    [TR__SP_PUB] = {.word = "pub", .sends = true},
    [TR__SP_SUB] = {.word = "sub", .receives = true},
    [TR__SP_PUSH] = {.word = "push", .sends = true},
    [TR__SP_PULL] = {.word = "pull", .receives = true},
    [TR__SP_PAIR] = {.word = "pair", .sends = true, .receives = true},
    [TR__SP_PAIR1] = {.word = "pair1", .sends = true, .receives = true},
    [TR__SP_BUS] = {.word = "bus", .sends = true, .receives = true},
    [TR__SP_SURVEYOR] = {.word = "surveyor", .asks = true},
    [TR__SP_RESPONDENT] = {.word = "respondent", .serves = true},
};

/* ---- what comes ---------------------------------------------------------------------------------------- */

static void on_wake(tr__sp_actor *c)
{
    tr__sp_event event;
    while (c->seam->event(c->sp, &event)) {
        switch (event.kind) {
        case TR__SP_SENT:
            tr__sp_on_sent(c, &event);
            break;
        case TR__SP_ROOM:
            tr__sp_on_room(c);
            break;
        case TR__SP_ANSWER:
            tr__sp_on_answer(c, &event);
            break;
        case TR__SP_OVER:
            tr__sp_on_over(c, &event);
            break;
        case TR__SP_UP:
        case TR__SP_DOWN:
        case TR__SP_FAILED:
            tr__sp_on_dial(c, &event);
            break;
        case TR__SP_RELISTENED:
            tr__sp_on_relistened(c, &event);
            break;
        case TR__SP_BROKEN:
            tr_exit(c->self, event.error.code, "nng socket, %s: %.150s", c->role->word, event.error.text);
            break;
        }
    }
    tr__sp_pump(c);
}

static void on_query(tr__sp_actor *c, const tr_msg *msg, const tr_nng_query *query)
{
    const char *listening[TR_NNG_URLS_MAX];
    tr__sp_counts counts = c->seam->counts(c->sp, query->reset);
    tr_nng_status status = c->counts;
    for (uint32_t i = 0; i < c->listen_count; i++)
        listening[i] = c->listening[i];
    status.listening.data = listening;
    status.listening.count = c->listen_count;
    status.peers = counts.peers;
    status.unsent = counts.unsent;
    status.waiting = counts.waiting;
    for (uint32_t i = 0; i < c->exchanges; i++)
        status.exchanges += c->asks[i].busy;
    status.sent = counts.sent;
    status.sent_to_nobody = counts.sent_to_nobody;
    status.send_failed = counts.send_failed;
    status.received = counts.received;
    status.undeliverable += counts.lost;
    if (query->reset)
        c->counts = (tr_nng_status){0};
    (void)tr_reply_body(c->self, msg, &tr_nng_status_type, &status);
}

static void on_consumer_again(tr__sp_actor *c)
{
    c->consumer_full = false;
    tr__sp_pump(c);
}

static void on_down(tr__sp_actor *c, const tr_down *down)
{
    if (down->monitor == c->consumer_monitor)
        tr_exit(c->self, TR_ENOACTOR, "nng socket, %s: its consumer ended: %.150s", c->role->word,
                down->text);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__sp_actor *c = state;
    const void *body;
    c->self = self;
    if (tr_match(msg, tr__sp_wake))
        on_wake(c);
    else if (tr_match(msg, tr_nng_send))
        tr__sp_on_send(c, msg);
    else if (tr_match(msg, tr_nng_request))
        tr__sp_on_request(c, msg);
    else if (tr_match(msg, tr_writable) || tr_match(msg, tr__sp_again))
        on_consumer_again(c);
    else if ((body = tr_match(msg, tr_canceled)))
        tr__sp_on_canceled(c, body);
    else if ((body = tr_match(msg, tr__sp_redial)))
        tr__sp_on_redial(c, body);
    else if ((body = tr_match(msg, tr_nng_query)))
        on_query(c, msg, body);
    else if ((body = tr_match(msg, tr_down)))
        on_down(c, body);
    else if (c->role->asks)
        tr__sp_on_request(c, msg);
    else
        tr__sp_on_send(c, msg);
}

/* ---- options ------------------------------------------------------------------------------------------- */

/* `value`, or the default if it is zero; *err if it is above `most`. */
static uint64_t bounded(tr_actor *self, const char *name, uint64_t value, uint64_t otherwise, uint64_t most,
                        tr_err *err)
{
    if (value > most)
        *err = tr_fail(self, TR_EINVAL, "nng socket: %s is at most %llu", name, (unsigned long long)most);
    return value ? value : otherwise;
}

static tr_err take_words(tr__sp_actor *c, const tr_nng_opts *opts, tr__sp_protocol *protocol)
{
    static const char *const encodings[] = {"", "cbor", "json"};
    for (int i = 0; i < TR__SP_PROTOCOLS; i++)
        if (strcmp(opts->protocol, roles[i].word) == 0)
            c->role = &roles[ *protocol = (tr__sp_protocol)i];
    if (!c->role)
        return tr_fail(
            c->self, TR_EINVAL,
            "nng socket: protocol \"%.40s\" isn't one of req, rep, pub, sub, push, pull, pair, pair1, bus, "
            "surveyor, respondent",
            opts->protocol);
    for (c->encoding = TR__SP_NONE; strcmp(opts->encoding, encodings[c->encoding]) != 0; c->encoding++)
        if (c->encoding == TR__SP_JSON)
            return tr_fail(c->self, TR_EINVAL, "nng socket: encoding \"%.40s\" isn't cbor or json",
                           opts->encoding);
    bool needs_consumer = c->role->serves || c->role->receives;
    if (needs_consumer && tr_addr_is_none(opts->consumer))
        return tr_fail(c->self, TR_EINVAL, "nng socket: %s needs a consumer for what comes", c->role->word);
    if (opts->topics.count && *protocol != TR__SP_SUB)
        return tr_fail(c->self, TR_EINVAL, "nng socket: topics are for sub, and this is a %s", c->role->word);
    if (opts->topics.count > TR_NNG_TOPICS_MAX)
        return tr_fail(c->self, TR_EINVAL, "nng socket: %zu topics: at most %u", opts->topics.count,
                       TR_NNG_TOPICS_MAX);
    c->consumer = needs_consumer ? opts->consumer : TR_ADDR_NONE;
    c->events = opts->events;
    return TR_OK;
}

static tr_err take_numbers(tr__sp_actor *c, const tr_nng_opts *opts, tr__sp_opts *to)
{
    tr_err err = TR_OK;
    tr_actor *self = c->self;
    bool has_exchanges = c->role->asks || c->role->serves;
    c->receive_max = bounded(self, "receive_max", opts->receive_max, 1 << 20, BYTES_MAX, &err);
    c->send_max = bounded(self, "send_max", opts->send_max, 1 << 20, BYTES_MAX, &err);
    c->exchanges = (uint32_t)bounded(self, "exchanges", opts->exchanges, 16, EXCHANGES_MAX, &err);
    c->exchanges = has_exchanges ? c->exchanges : 0;
    c->send_timeout_ns = opts->send_timeout_ns;
    c->answer_timeout_ns = opts->answer_timeout_ns ? opts->answer_timeout_ns : TR_SECONDS(30);
    if (to->protocol == TR__SP_SURVEYOR)
        c->survey_ns = opts->survey_ns ? opts->survey_ns : TR_SECONDS(1);
    c->backoff_ns = opts->backoff_ns ? opts->backoff_ns : TR_MILLIS(100);
    c->backoff_max_ns = opts->backoff_max_ns ? opts->backoff_max_ns : TR_SECONDS(5);
    if (c->backoff_max_ns < c->backoff_ns)
        c->backoff_max_ns = c->backoff_ns;
    to->receive_max = c->receive_max;
    to->receive_ahead = (uint32_t)bounded(self, "receive_ahead", opts->receive_ahead, 16, AHEAD_MAX, &err);
    to->send_max = c->send_max;
    to->send_ahead = (uint32_t)bounded(self, "send_ahead", opts->send_ahead, 64, AHEAD_MAX, &err);
    to->exchanges = c->exchanges;
    to->resend_ns = opts->resend_ns;
    to->topics = opts->topics.data;
    to->topic_count = opts->topics.count;
    return err;
}

static tr_err check_urls(tr__sp_actor *c, const tr_nng_opts *opts)
{
    tr_error error;
    tr_err err = TR_OK;
    if (opts->listen.count + opts->dial.count == 0)
        return tr_fail(c->self, TR_EINVAL, "nng socket: it needs a URL to listen on or to dial");
    if (opts->listen.count > TR_NNG_URLS_MAX || opts->dial.count > TR_NNG_URLS_MAX)
        return tr_fail(c->self, TR_EINVAL, "nng socket: at most %u URLs to listen on, and to dial",
                       TR_NNG_URLS_MAX);
    for (size_t i = 0; err == TR_OK && i < opts->listen.count; i++)
        err = tr__sp_check_listen(opts->listen.data[i], opts->listen_anywhere, &error);
    for (size_t i = 0; err == TR_OK && i < opts->dial.count; i++)
        err = tr__sp_check_dial(opts->dial.data[i], &error);
    return err == TR_OK ? TR_OK : tr_fail(c->self, err, "nng socket: %s", error.text);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static tr_err make_tables(tr__sp_actor *c, const tr_nng_opts *opts)
{
    c->waiting_end = &c->waiting;
    c->asks = tr__zalloc((c->exchanges ? c->exchanges : 1) * sizeof(*c->asks));
    c->listening = tr__zalloc((opts->listen.count + 1) * sizeof(*c->listening));
    c->targets = tr__zalloc((opts->dial.count + 1) * sizeof(*c->targets));
    if (!c->asks || !c->listening || !c->targets)
        return tr_fail(c->self, TR_ENOMEM, "nng socket: no memory for its tables");
    for (size_t i = 0; i < opts->dial.count; i++) {
        snprintf(c->targets[i].url, TR__SP_URL_MAX, "%s", opts->dial.data[i]);
        c->targets[i].backoff_ns = c->backoff_ns;
    }
    c->dial_count = (uint32_t)opts->dial.count;
    return TR_OK;
}

static tr_err open_socket(tr__sp_actor *c, const tr_nng_opts *opts, const tr__sp_opts *to)
{
    tr_error error;
    tr__loop *loop = tr__loop_of(c->self);
    c->sp = c->seam->open(loop, tr_self(c->self), to, &error);
    if (!c->sp)
        return tr_fail(c->self, error.code, "nng socket: %s", error.text);
    for (size_t i = 0; i < opts->listen.count; i++) {
        tr_err err = c->seam->listen(c->sp, opts->listen.data[i], c->listening[i], &error);
        if (err != TR_OK)
            return tr_fail(c->self, err, "nng socket: %s", error.text);
        c->listen_count++;
    }
    if (!tr_addr_is_none(c->consumer) && !(c->consumer_monitor = tr_monitor(c->self, c->consumer)))
        return tr_fail(c->self, TR_ENOMEM, "nng socket: no memory to watch its consumer");
    tr__sp_dial_all(c);
    return TR_OK;
}

static void release(tr__sp_actor *c)
{
    tr__sp_asks_stop(c);
    tr__sp_flow_stop(c);
    if (c->sp)
        c->seam->close(c->sp);
    tr__free(c->listening);
    tr__free(c->targets);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    tr__sp_actor *c = state;
    const tr_nng_opts *opts = arg;
    tr__sp_opts to = {0};
    if (!opts)
        return tr_fail(self, TR_EINVAL, "nng socket: it needs a tr_nng_opts with protocol and URLs");
    c->self = self;
    TR_TRY(take_words(c, opts, &to.protocol));
    TR_TRY(take_numbers(c, opts, &to));
    TR_TRY(check_urls(c, opts));
    c->seam = tr__loop_kinds(tr__loop_of(self))->sp;
    if (!c->seam)
        return tr_fail(
            self, TR_EINVAL,
            "this node has no nng sockets: start it on a node of tr_node_create, or give the test's driver "
            "simulated ones");
    tr_err err = make_tables(c, opts);
    if (err == TR_OK)
        err = open_socket(c, opts, &to);
    if (err != TR_OK) {
        tr_error error = *tr_last_error(self);
        release(c);
        return tr_fail(self, error.code, "%s", error.text);
    }
    return TR_OK;
}

static void stop(tr_actor *self, void *state)
{
    tr__sp_actor *c = state;
    c->self = self;
    release(c);
}

const tr_actor_def tr_nng_socket = {
    .name = "nng socket",
    .state_size = sizeof(tr__sp_actor),
    .init = init,
    .receive = receive,
    .stop = stop,
    .arg_type = &tr_nng_opts_type,
    .mailbox_places = 4096,
};
