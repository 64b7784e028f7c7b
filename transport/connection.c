/* See connection.h. The owner's thread only; no thread, clock or waiting of its own.
 *
 * The happy path: the stream's events come in (received, sent), a handler a frame kind changes the state and
 * notes what is to be said (want_*); tick and flush say it (pump). How it ends: the other side's goodbye or
 * refusal, its bytes (we refuse, naming what was wrong), its silence, the stream, memory; go_down is the one
 * way out. */
#include "transport/connection.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"

#define BIT(n) (1u << (n))
#define MS     1000000ull

enum {
    DATA_KINDS = BIT(TR__FRAME_HEARTBEAT) | BIT(TR__FRAME_ACK) | BIT(TR__FRAME_GRANT) |
                 BIT(TR__FRAME_GOODBYE) | BIT(TR__FRAME_BATCH) | BIT(TR__FRAME_REFUSE),
    FAILS_TO = BIT(TR__CONNECTION_REFUSING) | BIT(TR__CONNECTION_DOWN),
};

/* A row a state: its word, the states it may go to, the frames it takes. */
static const struct state_row {
    const char *word;
    unsigned next, takes;
} STATES[TR__CONNECTION_STATES] = {
    [TR__CONNECTION_GREETING] = {"greeting", BIT(TR__CONNECTION_DECIDED) | FAILS_TO,
                                 BIT(TR__FRAME_HELLO_ACK) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_WAITING] = {"waiting", BIT(TR__CONNECTION_ANSWERED) | FAILS_TO, BIT(TR__FRAME_HELLO)},
    [TR__CONNECTION_DECIDED] = {"decided", BIT(TR__CONNECTION_UP) | FAILS_TO,
                                BIT(TR__FRAME_GRANT) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_ANSWERED] = {"answered", BIT(TR__CONNECTION_UP) | FAILS_TO,
                                 BIT(TR__FRAME_GRANT) | BIT(TR__FRAME_REFUSE)},
    [TR__CONNECTION_UP] = {"up", BIT(TR__CONNECTION_DRAINING) | FAILS_TO, DATA_KINDS},
    [TR__CONNECTION_DRAINING] = {"draining", FAILS_TO, DATA_KINDS},
    [TR__CONNECTION_REFUSING] = {"refusing", BIT(TR__CONNECTION_DOWN), 0},
    [TR__CONNECTION_DOWN] = {"down", 0, 0},
};

void tr__connection_config_defaults(tr__connection_config *config)
{
    *config = (tr__connection_config){
        .self = {.version_min = TR__FRAME_VERSION, .version_max = TR__FRAME_VERSION},
        .window = 1u << 20,
        .queue_max = 8u << 20,
        .handshake_ns = 5000 * MS,
        .heartbeat_ns = 1000 * MS,
        .silence_ns = 10000 * MS,
        .ack_delay_ns = 20 * MS,
        .drain_ns = 2000 * MS,
    };
}

const char *tr__connection_state_word(tr__connection_state state)
{
    return STATES[state].word;
}

uint64_t tr__connection_unknown(const tr__connection *c)
{
    return c->counters.messages_out - c->counters.messages_acked;
}

/* States ---- */

static void enter(tr__connection *c, tr__connection_state state)
{
    tr__check(STATES[c->state].next & BIT(state), "a connection cannot go from %s to %s",
              STATES[c->state].word, STATES[state].word);
    c->state = state;
    c->entered_ns = c->now_ns;
}

static bool is_open(const tr__connection *c)
{
    return c->state == TR__CONNECTION_UP || c->state == TR__CONNECTION_DRAINING;
}

/* The one way out. */
static void go_down(tr__connection *c, const tr_error *why)
{
    tr_error said = *why; /* it may be c->failure */
    enter(c, TR__CONNECTION_DOWN);
    c->net->close(c->stream);
    c->stream = NULL;
    c->upcalls->down(c->context, &said, tr__connection_unknown(c));
}

void tr__connection_cut(tr__connection *c, const tr_error *why)
{
    if (c->state != TR__CONNECTION_DOWN)
        go_down(c, why);
}

/* To be reported by the next tick: where no upcall may be made. */
static void note_failure(tr__connection *c, const tr_error *why)
{
    if (c->failure.code == TR_OK)
        c->failure = *why;
}

void tr__connection_refuse(tr__connection *c, const tr_error *why)
{
    if (c->state == TR__CONNECTION_DOWN || c->state == TR__CONNECTION_REFUSING)
        return;
    enter(c, TR__CONNECTION_REFUSING);
    c->entered_ns = 0;
    c->failure = *why;
    c->want_refuse = true;
    tr__outgoing_drop(&c->out);
}

void tr__connection_close(tr__connection *c)
{
    tr_error why;
    if (c->state == TR__CONNECTION_UP) {
        enter(c, TR__CONNECTION_DRAINING);
        c->entered_ns = 0;
        c->want_goodbye = true;
    } else if (c->state < TR__CONNECTION_UP) {
        tr__fail(&why, TR_ECLOSED, "closed by this node before the handshake was done");
        note_failure(c, &why);
    }
}

/* Both said goodbye and everything is known to have arrived: done. */
static void finish_draining(tr__connection *c)
{
    tr_error why;
    if (c->state != TR__CONNECTION_DRAINING || !c->goodbye_sent || !c->goodbye_received || c->sending ||
        c->want_ack || tr__connection_unknown(c) > 0)
        return;
    tr__fail(&why, TR_ECLOSED, "node %s and this one said goodbye", c->peer.name);
    go_down(c, &why);
}

/* Saying ---- */

/* Write what is wanted of control frames; returns their bytes. */
static size_t put_control(tr__connection *c)
{
    uint8_t *at = c->control;
    if (c->want_hello)
        at += tr__frame_put_hello(at, c->dialled ? TR__FRAME_HELLO : TR__FRAME_HELLO_ACK,
                                  ++c->control_sequence, &c->config->self);
    if (c->want_refuse)
        at += tr__frame_put_refuse(at, ++c->control_sequence, &c->failure);
    else if (c->want_ack)
        at += tr__frame_put_ack(at, ++c->control_sequence,
                                &(tr__ack){c->counters.batches_in, c->counters.messages_in});
    if (c->want_grant) {
        c->counters.granted_by_us = c->counters.consumed + c->config->window;
        at += tr__frame_put_grant(at, ++c->control_sequence, c->counters.granted_by_us);
    }
    if (c->want_heartbeat)
        at += tr__frame_put_empty(at, TR__FRAME_HEARTBEAT, ++c->control_sequence);
    c->want_hello = c->want_ack = c->want_grant = c->want_heartbeat = c->want_refuse = false;
    return (size_t)(at - c->control);
}

/* Send what is ready, unless a send is under way. */
static void pump(tr__connection *c)
{
    tr__iov iov[TR__IOV_MAX];
    unsigned count = 0;
    tr_error error;
    if (c->sending || !c->stream || (c->failure.code && c->state != TR__CONNECTION_REFUSING))
        return;
    if (c->state == TR__CONNECTION_REFUSING)
        c->want_ack = c->want_grant = c->want_heartbeat = c->want_goodbye = false;
    size_t control = put_control(c);
    if (control)
        iov[count++] = (tr__iov){c->control, control};
    if (is_open(c)) {
        unsigned taken = tr__outgoing_take(&c->out, iov + count, TR__IOV_MAX - 1 - count);
        c->counters.batches_out += taken;
        count += taken;
    }
    if (c->want_goodbye && !c->out.first && !c->out.open) {
        size_t length = tr__frame_put_empty(c->tail, TR__FRAME_GOODBYE, ++c->control_sequence);
        iov[count++] = (tr__iov){c->tail, length};
        c->want_goodbye = false;
        c->goodbye_sent = true;
    }
    if (count == 0)
        return;
    for (unsigned i = 0; i < count; i++)
        c->counters.bytes_out += iov[i].length;
    c->sending = true;
    c->spoke_ns = c->now_ns;
    if (c->net->send(c->stream, iov, count, &error))
        note_failure(c, &error);
}

/* Whether there is something to say that doesn't wait for a batch. */
static bool must_speak(const tr__connection *c, uint64_t now_ns)
{
    return c->want_hello || c->want_grant || c->want_heartbeat || c->want_refuse || c->out.first ||
           (c->want_goodbye && !c->goodbye_sent) ||
           (c->want_ack && (c->state == TR__CONNECTION_DRAINING || now_ns >= c->ack_due_ns));
}

/* Credit ---- */

/* Whether a message that costs that much is within the credit, or may go beyond it (connection.h). */
static bool has_credit(const tr__connection *c, size_t cost)
{
    int64_t credit = (int64_t)(c->counters.granted_to_us - c->counters.spent);
    return credit >= (int64_t)cost || credit >= (int64_t)(c->peer_window - c->peer_window / 4);
}

static void tell_writable(tr__connection *c)
{
    int64_t credit = (int64_t)(c->counters.granted_to_us - c->counters.spent);
    if (!c->blocked || c->state != TR__CONNECTION_UP || c->out.queued > c->config->queue_max / 2 ||
        credit < (int64_t)(c->peer_window / 4) || !has_credit(c, c->blocked_cost))
        return;
    c->blocked = false;
    c->blocked_cost = 0;
    c->upcalls->writable(c->context);
}

/* Enough was consumed since the last grant for another one. */
static bool grant_due(const tr__connection *c)
{
    return c->counters.consumed + c->config->window - c->counters.granted_by_us >= c->config->window / 4;
}

tr_err tr__connection_reserve(tr__connection *c, size_t length, uint8_t **at)
{
    if (length == 0)
        return TR_EINVAL;
    if (length > TR__FRAME_SIZE_MAX - TR__BATCH_OVERHEAD)
        return TR_ETOOBIG;
    if (c->state == TR__CONNECTION_DRAINING)
        return TR_ECLOSED;
    if (c->state != TR__CONNECTION_UP || c->failure.code)
        return TR_ENOCONN;
    size_t cost = tr__outgoing_cost(&c->out, length);
    bool beyond = (int64_t)(c->counters.granted_to_us - c->counters.spent) < (int64_t)cost;
    if (!has_credit(c, cost) || (c->out.queued > 0 && c->out.queued + cost > c->config->queue_max)) {
        c->blocked = true;
        c->counters.refused_sends++;
        if (length + TR__BATCH_OVERHEAD > c->blocked_cost)
            c->blocked_cost = length + TR__BATCH_OVERHEAD;
        return TR_EAGAIN;
    }
    if (beyond) /* a frame of its own; what joins it later is within the credit again */
        tr__outgoing_close_batch(&c->out);
    *at = tr__outgoing_reserve(&c->out, length);
    return *at ? TR_OK : TR_ENOMEM;
}

void tr__connection_commit(tr__connection *c, size_t length)
{
    size_t queued = c->out.queued;
    tr__outgoing_commit(&c->out, length);
    c->counters.spent += c->out.queued - queued;
    c->counters.messages_out++;
}

tr_err tr__connection_send(tr__connection *c, const void *bytes, size_t length)
{
    uint8_t *at;
    TR_TRY(tr__connection_reserve(c, length, &at));
    memcpy(at, bytes, length);
    tr__connection_commit(c, length);
    return TR_OK;
}

void tr__connection_flush(tr__connection *c)
{
    tr__outgoing_close_batch(&c->out);
    if (must_speak(c, c->now_ns))
        pump(c);
}

void tr__connection_consumed(tr__connection *c, size_t bytes)
{
    c->counters.consumed += bytes;
    tr__check(c->counters.consumed <= c->counters.received, "more was consumed than received");
    if (c->state == TR__CONNECTION_UP && grant_due(c))
        c->want_grant = true;
}

/* Hearing: a handler a kind. An error is our refusal ---- */

/* Whether we want to be connected with who says so. */
static tr_err judge(tr__connection *c, tr_error *refusal)
{
    const tr__hello *self = &c->config->self, *peer = &c->peer;
    if (peer->version_max < self->version_min || peer->version_min > self->version_max)
        return tr__fail(
            refusal, TR_EVERSION,
            "node %s speaks versions %u to %u of the protocol, node %s speaks %u to %u; upgrade the older",
            self->name, self->version_min, self->version_max, peer->name, peer->version_min,
            peer->version_max);
    if (strcmp(peer->cluster, self->cluster) != 0)
        return tr__fail(refusal, TR_EMISMATCH,
                        "node %s is in cluster %s, node %s in cluster %s; --cluster sets it", self->name,
                        self->cluster, peer->name, peer->cluster);
    if (peer->id == self->id)
        return tr__fail(refusal, TR_EINVAL, "node %s dialled itself; check the address given to --join",
                        self->name);
    if (strcmp(peer->name, self->name) == 0)
        return tr__fail(refusal, TR_EEXIST, "two nodes are named %s; --name gives one another name",
                        self->name);
    return c->upcalls->judge(c->context, peer, refusal);
}

/* From now on the other side may send batches, once it has our grant. */
static void open_window(tr__connection *c)
{
    c->net->limit(c->stream, TR__FRAME_SIZE_MAX, c->config->window + TR__CONTROL_UNREAD_MAX);
    c->want_grant = true;
}

static tr_err on_hello(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    TR_TRY(tr__frame_get_hello(frame, &c->peer, error));
    TR_TRY(judge(c, error));
    if (c->state == TR__CONNECTION_WAITING) {
        enter(c, TR__CONNECTION_ANSWERED);
        c->want_hello = true;
    } else {
        enter(c, TR__CONNECTION_DECIDED);
        open_window(c);
    }
    return TR_OK;
}

static tr_err on_refuse(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    tr_error said, why;
    TR_TRY(tr__frame_get_refuse(frame, &said, error));
    tr__fail(&why, said.code, "refused by the other side: %s", said.text);
    go_down(c, &why);
    return TR_OK;
}

static tr_err on_heartbeat(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    (void)frame, (void)error;
    c->counters.heartbeats_in++;
    return TR_OK;
}

static tr_err on_ack(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    tr__ack ack;
    tr__connection_counters *n = &c->counters;
    TR_TRY(tr__frame_get_ack(frame, &ack, error));
    if (ack.sequence > n->batches_out || ack.messages > n->messages_out || ack.sequence < n->batches_acked ||
        ack.messages < n->messages_acked)
        return tr__fail(error, TR_EPROTO,
                        "an ack of %llu messages came where %llu were sent and %llu acknowledged",
                        (unsigned long long)ack.messages, (unsigned long long)n->messages_out,
                        (unsigned long long)n->messages_acked);
    n->batches_acked = ack.sequence;
    n->messages_acked = ack.messages;
    return TR_OK;
}

static tr_err on_grant(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    uint64_t total;
    TR_TRY(tr__frame_get_grant(frame, &total, error));
    if (c->peer_window == 0 && total >= TR__FRAME_SIZE_HELLO && total <= UINT32_MAX)
        c->peer_window = (size_t)total;
    if (c->peer_window == 0 || total < c->counters.granted_to_us ||
        total > c->counters.spent + c->peer_window)
        return tr__fail(error, TR_EPROTO,
                        "a grant up to byte %llu came where %llu were granted and %llu sent",
                        (unsigned long long)total, (unsigned long long)c->counters.granted_to_us,
                        (unsigned long long)c->counters.spent);
    c->counters.granted_to_us = total;
    if (c->state == TR__CONNECTION_ANSWERED)
        open_window(c);
    if (c->state == TR__CONNECTION_ANSWERED || c->state == TR__CONNECTION_DECIDED) {
        enter(c, TR__CONNECTION_UP);
        c->upcalls->up(c->context);
    }
    tell_writable(c);
    return TR_OK;
}

static tr_err on_goodbye(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    (void)frame, (void)error;
    if (c->state == TR__CONNECTION_UP)
        tr__connection_close(c);
    c->goodbye_received = true;
    return TR_OK;
}

static tr_err on_batch(tr__connection *c, const tr__frame *frame, tr_error *error)
{
    const uint8_t *bytes;
    size_t length, size = TR__FRAME_HEADER + (size_t)frame->length;
    uint32_t messages;
    tr__connection_counters *n = &c->counters;
    int64_t open = (int64_t)(n->granted_by_us - n->received);
    TR_TRY(tr__frame_get_batch(frame, &bytes, &length, &messages, error));
    if (c->goodbye_received)
        return tr__fail(error, TR_EPROTO, "a batch came after goodbye");
    bool beyond = open >= (int64_t)(c->config->window - c->config->window / 4) && messages == 1;
    if ((int64_t)size > open && !beyond)
        return tr__fail(error, TR_EPROTO, "a batch of %zu bytes came where %lld were granted", size,
                        (long long)open);
    n->received += size;
    n->consumed += size - length; /* what is beyond the messages is done with */
    n->batches_in++;
    n->messages_in += messages;
    if (!c->want_ack)
        c->ack_due_ns = c->now_ns + c->config->ack_delay_ns;
    c->want_ack = true;
    c->upcalls->batch(c->context, bytes, length, messages);
    return TR_OK;
}

static tr_err (*const HANDLERS[TR__FRAME_KINDS])(tr__connection *, const tr__frame *, tr_error *) = {
    [TR__FRAME_HELLO] = on_hello,         [TR__FRAME_HELLO_ACK] = on_hello, [TR__FRAME_REFUSE] = on_refuse,
    [TR__FRAME_HEARTBEAT] = on_heartbeat, [TR__FRAME_ACK] = on_ack,         [TR__FRAME_GRANT] = on_grant,
    [TR__FRAME_GOODBYE] = on_goodbye,     [TR__FRAME_BATCH] = on_batch,
};

static tr_err hear(tr__connection *c, const uint8_t *bytes, size_t left, size_t *size, tr_error *error)
{
    tr__frame frame;
    TR_TRY(tr__frame_decode(bytes, left, TR__FRAME_SIZE_MAX, &frame, error));
    *size = TR__FRAME_HEADER + (size_t)frame.length;
    if (!(STATES[c->state].takes & BIT(frame.kind)))
        return tr__fail(error, TR_EPROTO, "a %s frame came in state %s", tr__frame_kind_word(frame.kind),
                        STATES[c->state].word);
    return HANDLERS[frame.kind](c, &frame, error);
}

/* Events ---- */

void tr__connection_init(tr__connection *c, const tr__connection_config *config, tr__net *net,
                         tr__stream *stream, bool dialled, uint64_t now_ns,
                         const tr__connection_upcalls *upcalls, void *context)
{
    *c = (tr__connection){
        .config = config,
        .upcalls = upcalls,
        .context = context,
        .net = net,
        .stream = stream,
        .state = dialled ? TR__CONNECTION_GREETING : TR__CONNECTION_WAITING,
        .dialled = dialled,
        .want_hello = dialled,
        .now_ns = now_ns,
        .entered_ns = now_ns,
        .heard_ns = now_ns,
        .spoke_ns = now_ns,
    };
    net->limit(stream, TR__FRAME_SIZE_HELLO, TR__FRAME_SIZE_HELLO);
}

void tr__connection_fini(tr__connection *c)
{
    if (c->stream)
        c->net->close(c->stream);
    c->stream = NULL;
    tr__outgoing_fini(&c->out);
}

void tr__connection_received(tr__connection *c, const tr__slice *slice, uint64_t now_ns)
{
    tr_error error;
    size_t at = 0, size;
    c->now_ns = c->heard_ns = now_ns;
    if (c->state != TR__CONNECTION_DOWN)
        c->counters.bytes_in += slice->length;
    while (at < slice->length && c->state < TR__CONNECTION_REFUSING) {
        if (hear(c, slice->bytes + at, slice->length - at, &size, &error)) {
            tr__connection_refuse(c, &error);
            break;
        }
        at += size;
    }
    if (c->stream)
        c->net->taken(c->stream, slice->length);
    finish_draining(c);
}

void tr__connection_sent(tr__connection *c, size_t bytes, uint64_t now_ns)
{
    (void)bytes;
    c->now_ns = now_ns;
    if (c->state == TR__CONNECTION_DOWN)
        return;
    c->sending = false;
    tr__outgoing_sent(&c->out);
    tr__outgoing_close_batch(&c->out); /* what was gathered meanwhile goes next */
    tell_writable(c);
    if (c->out.first)
        pump(c);
    finish_draining(c);
}

void tr__connection_stream_down(tr__connection *c, const tr_error *why, uint64_t now_ns)
{
    tr_error said = *why;
    c->now_ns = now_ns;
    if (c->state == TR__CONNECTION_DOWN)
        return;
    if (c->state == TR__CONNECTION_REFUSING)
        said = c->failure;
    else if (c->goodbye_sent && c->goodbye_received)
        tr__fail(&said, TR_ECLOSED, "node %s and this one said goodbye", c->peer.name);
    else if (c->state < TR__CONNECTION_UP && why->code != TR_EPROTO && why->code != TR_EVERSION)
        tr__fail(&said, why->code, "during the handshake: %s", why->text);
    go_down(c, &said);
}

/* What has lasted too long; TR_OK if nothing. */
static tr_err overdue(const tr__connection *c, tr_error *why)
{
    const tr__connection_config *config = c->config;
    uint64_t in_state = c->now_ns - c->entered_ns, silent = c->now_ns - c->heard_ns;
    if (c->state < TR__CONNECTION_UP && in_state >= config->handshake_ns)
        return tr__fail(why, TR_EDEADLINE, "no handshake within %.1f s; is it a node of Troupe?",
                        (double)config->handshake_ns / 1e9);
    if (is_open(c) && silent >= config->silence_ns)
        return tr__fail(why, TR_ENOCONN, "no heartbeat from node %s for %.1f s", c->peer.name,
                        (double)silent / 1e9);
    if (c->state == TR__CONNECTION_DRAINING && in_state >= config->drain_ns)
        return tr__fail(why, TR_EDEADLINE, "node %s didn't answer the goodbye within %.1f s", c->peer.name,
                        (double)config->drain_ns / 1e9);
    if (c->state == TR__CONNECTION_REFUSING && in_state >= config->drain_ns) {
        *why = c->failure;
        return why->code;
    }
    return TR_OK;
}

void tr__connection_tick(tr__connection *c, uint64_t now_ns)
{
    tr_error why;
    if (c->state == TR__CONNECTION_DOWN)
        return;
    c->now_ns = now_ns;
    if (c->entered_ns == 0)
        c->entered_ns = now_ns;
    if ((c->failure.code && c->state != TR__CONNECTION_REFUSING) || overdue(c, &why)) {
        go_down(c, c->failure.code ? &c->failure : &why);
        return;
    }
    if (is_open(c) && now_ns - c->spoke_ns >= c->config->heartbeat_ns)
        c->want_heartbeat = true;
    if (c->state == TR__CONNECTION_DRAINING)
        tr__outgoing_close_batch(&c->out);
    if (must_speak(c, now_ns))
        pump(c);
    finish_draining(c);
}

uint64_t tr__connection_next_due(const tr__connection *c)
{
    const tr__connection_config *config = c->config;
    uint64_t due = UINT64_MAX;
    if (c->state == TR__CONNECTION_DOWN)
        return due;
    if (c->entered_ns == 0 || (c->failure.code && c->state != TR__CONNECTION_REFUSING) ||
        (!c->sending && must_speak(c, 0)))
        return 0;
    if (c->state < TR__CONNECTION_UP)
        return c->entered_ns + config->handshake_ns;
    if (c->state != TR__CONNECTION_UP)
        due = c->entered_ns + config->drain_ns;
    if (is_open(c) && c->heard_ns + config->silence_ns < due)
        due = c->heard_ns + config->silence_ns;
    if (is_open(c) && !c->sending && c->spoke_ns + config->heartbeat_ns < due)
        due = c->spoke_ns + config->heartbeat_ns;
    if (c->want_ack && !c->sending && c->ack_due_ns < due)
        due = c->ack_due_ns;
    return due;
}
