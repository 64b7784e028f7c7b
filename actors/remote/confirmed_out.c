/* Confirmed sends, at the node that sends: see confirmed.h. Messages of a pair wait in its list, in order; pairs that have
 * one to send, and may, are `ready` and take turns, so that none waits for another one's full mailbox. */
#include "actors/remote/confirmed.h"

#include <stdio.h>
#include <utlist.h>

#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"

#define PAUSE_MIN TR_MILLIS(2) /* after which a mailbox that was full is tried again; doubled each time */
#define PAUSE_MAX TR_MILLIS(256)
#define RETRY     TR_MILLIS(10) /* for want of memory */
#define RESEND    TR_SECONDS(1) /* without any word of what is in flight */

typedef struct tr__unconfirmed unconfirmed;

typedef struct pair_key {
    uint32_t from_slot, from_generation, to_slot, to_generation;
} pair_key;

struct tr__confirm_pair {
    UT_hash_handle hh;
    pair_key key;
    unconfirmed *list, *waiting; /* the first that has no number; NULL: all have */
    uint32_t in_flight;
    uint64_t last;     /* of those in flight, the highest number */
    bool ready;        /* in the list of those */
    bool refused;      /* by a full mailbox: until its pause is over and nothing is in flight */
    uint64_t pause_ns; /* the last one; 0 when it took something since */
    uint64_t again_ns;
    struct tr__confirm_pair *ready_prev, *ready_next;
};

typedef struct tr__confirm_out {
    tr__confirm_state state;
    bool fresh; /* no data was sent in this stream */
    bool wants; /* a notice, when there is credit again */
    uint64_t stream;
    uint64_t base, next; /* numbers in flight: base <= n < next */
    uint64_t at;         /* the next that is to be sent on this connection, again or for the first time */
    size_t bytes;        /* of those in flight */
    uint64_t progress_ns;
    tr__confirm_pair *pairs, *ready;
    unconfirmed *window[TR__CONFIRM_WINDOW]; /* by number */
} out;

static tr_addr sender_of(const unconfirmed *m)
{
    return m->ask->sender;
}

static const tr__confirm *confirm_of(const unconfirmed *m)
{
    return tr__msg_body(m->ask);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

/* The block of the ask becomes its answer, which so needs no memory (V4). Takes ask. */
static void answer(tr__confirmer *c, tr_msg *ask, tr_err code, const char *text)
{
    tr__loop *loop = tr__owner(c->self);
    const tr__confirm *confirm = tr__msg_body(ask);
    tr_addr receiver = confirm->to, asker = ask->sender;
    size_t size = code == TR_OK ? sizeof(tr_confirmed) : TR__FAILURE_ROOM;
    atomic_fetch_sub_explicit(&loop->node->unconfirmed, confirm->body.size + TR__CONFIRM_EACH,
                              memory_order_relaxed);
    c->kept--;
    if (ask->home == TR__HOME_NONE) {
        tr__buffers_refund(loop->node->buffers, ask->size);
        tr__buffers_charge(loop->node->buffers, size);
    }
    ask->flags = 0;
    ask->places = 0;
    ask->deadline_ns = 0;
    if (code != TR_OK) {
        tr__reason reason = {.code = code};
        snprintf(reason.text, sizeof(reason.text), "%s", text);
        tr__started_failed(loop, ask, &reason);
        return;
    }
    ask->kind = TR__MSG_REPLY;
    ask->size = (uint32_t)size;
    ask->sender = receiver;
    tr__msg_filled(ask, tr__type_of(&tr_confirmed_type));
    *(tr_confirmed *)tr__msg_body(ask) = (tr_confirmed){.receiver = receiver};
    tr__submit(loop, asker, ask);
}

/* ---- pairs --------------------------------------------------------------------------------------------- */

static void not_ready(out *o, tr__confirm_pair *pair)
{
    if (pair->ready)
        DL_DELETE2(o->ready, pair, ready_prev, ready_next);
    pair->ready = false;
}

/* Behind the others, if it has something that may be sent. */
static void make_ready(out *o, tr__confirm_pair *pair)
{
    if (pair->ready || !pair->waiting || pair->refused)
        return;
    DL_APPEND2(o->ready, pair, ready_prev, ready_next);
    pair->ready = true;
}

/* It may be tried again: its pause is over, and of what was sent before it nothing can come any more (V2). */
static void try_again(out *o, tr__confirm_pair *pair, uint64_t now_ns)
{
    if (!pair->refused || pair->in_flight || now_ns < pair->again_ns)
        return;
    pair->refused = false;
    make_ready(o, pair);
}

static tr__confirm_pair *pair_of(out *o, tr_addr from, tr_addr to)
{
    pair_key key = {from.slot, from.generation, to.slot, to.generation};
    tr__confirm_pair *pair;
    HASH_FIND(hh, o->pairs, &key, sizeof(key), pair);
    if (pair || !(pair = tr__zalloc(sizeof(*pair))))
        return pair;
    pair->key = key;
    HASH_ADD(hh, o->pairs, key, sizeof(pair->key), pair);
    if (tr__hash_added(pair))
        return pair;
    tr__free(pair);
    return NULL;
}

/* Off its pair, which ends with its last one. */
static void forget(out *o, unconfirmed *m)
{
    tr__confirm_pair *pair = m->pair;
    if (pair->waiting == m)
        pair->waiting = m->next;
    if (!pair->waiting)
        not_ready(o, pair);
    DL_DELETE(pair->list, m);
    tr__free(m);
    if (pair->list)
        return;
    HASH_DEL(o->pairs, pair);
    tr__free(pair);
}

/* What became of it is known to its sender; if it has a number, that is still to be sent. */
static void give_up(tr__confirmer *c, out *o, unconfirmed *m, tr_err code, const char *text)
{
    answer(c, m->ask, code, text);
    m->ask = NULL;
    if (!m->number)
        forget(o, m);
}

/* The mailbox is full: this one is the first to go again, as all that were sent behind it are refused as well. */
static void refused(out *o, unconfirmed *m, uint64_t now_ns)
{
    tr__confirm_pair *pair = m->pair;
    m->left = false;
    if (pair->refused)
        return;
    pair->refused = true;
    pair->waiting = m;
    pair->pause_ns = pair->pause_ns ? 2 * pair->pause_ns : PAUSE_MIN;
    if (pair->pause_ns > PAUSE_MAX)
        pair->pause_ns = PAUSE_MAX;
    pair->again_ns = now_ns + pair->pause_ns;
    not_ready(o, pair);
}

static const char *text_of(tr_err code)
{
    return code == TR_ENOACTOR ? "not delivered: the receiver is gone"
           : code == TR_EPERM ? "not delivered: this node has no right to send there: see `send` and `names` "
                                "of its entry in the rights there (--allow FILE)"
           : code == TR_ETOOBIG
               ? "not delivered: its receiver takes none so large (message_max of its definition)"
           : code == TR_ETYPE ? "not delivered: the receiver's node doesn't know its type, or another version"
                              : "not delivered: the receiver's node can't read it";
}

/* That became of it. */
static void settle(tr__confirmer *c, out *o, unconfirmed *m, tr_err result)
{
    tr__confirm_pair *pair = m->pair;
    uint64_t now = tr__owner(c->self)->now_ns;
    if (m->number) {
        pair->in_flight--;
        o->bytes -= m->size;
        m->number = 0;
    }
    if (result == TR_EFULL && m->ask) {
        refused(o, m, now);
        tr__confirmer_by(c, pair->again_ns);
        return;
    }
    if (result == TR_OK)
        pair->pause_ns = 0;
    if (m->ask)
        answer(c, m->ask, result, text_of(result));
    try_again(o, pair, now);
    forget(o, m);
}

/* ---- streams ------------------------------------------------------------------------------------------- */

static void new_stream(tr__confirmer *c, out *o)
{
    o->stream = tr_random(c->self) | 1;
    o->fresh = true;
    o->base = o->next = o->at = 1;
    o->bytes = 0;
}

static out *out_of(tr__confirmer *c, tr__confirm_peer *peer)
{
    if (!peer->out && (peer->out = tr__zalloc(sizeof(out))))
        new_stream(c, peer->out);
    return peer->out;
}

static void greet(tr__confirmer *c, tr__confirm_peer *peer)
{
    out *o = peer->out;
    o->state = TR__CONFIRM_GREETING;
    o->wants = false;
    o->progress_ns = tr__owner(c->self)->now_ns;
    (void)tr_send(c->self, TR__CONFIRMER_OF(peer->node), tr__confirm_hello, .stream = o->stream,
                  .fresh = o->fresh, .base = o->base); /* not taken: again after RESEND */
    tr__confirmer_by(c, o->progress_ns + RESEND);
}

/* Nobody knows the numbers any more: what may have arrived is unknown, the rest waits again. */
static void end_stream(tr__confirmer *c, out *o, const char *text)
{
    for (uint64_t n = o->base; n < o->next; n++) {
        unconfirmed *m = o->window[n % TR__CONFIRM_WINDOW];
        m->number = 0;
        m->pair->in_flight = 0;
        m->pair->waiting = m->pair->list;
        if (!m->ask)
            forget(o, m);
        else if (m->left)
            give_up(c, o, m, TR_ERESET, text);
    }
    new_stream(c, o);
    for (tr__confirm_pair *pair = o->pairs; pair; pair = pair->hh.next)
        make_ready(o, pair);
}

void tr__confirm_up(tr__confirmer *c, tr__confirm_peer *peer)
{
    out *o = peer->out;
    if (!o || (!o->pairs && o->base == o->next))
        return; /* with the next message */
    if (peer->able)
        greet(c, peer);
    else
        tr__confirm_fail(c, peer, TR_EVERSION,
                         "not delivered: the receiver's node is of a version that confirms nothing");
}

void tr__confirm_down(tr__confirm_peer *peer)
{
    if (peer->out)
        peer->out->state = TR__CONFIRM_DOWN;
}

void tr__confirm_fail(tr__confirmer *c, tr__confirm_peer *peer, tr_err code, const char *text)
{
    out *o = peer->out;
    if (!o)
        return;
    o->state = TR__CONFIRM_DOWN;
    end_stream(c, o, "unknown: it was sent, and its receiver's node is gone, or this node stops");
    while (o->pairs)
        give_up(c, o, o->pairs->list, code, text);
}

bool tr__confirm_is_idle(const tr__confirm_peer *peer)
{
    return !peer->out || !peer->out->pairs;
}

void tr__confirm_out_free(tr__confirm_peer *peer)
{
    tr__free(peer->out);
    peer->out = NULL;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static tr__confirm_data data_of(const out *o, const unconfirmed *m)
{
    tr__confirm_data data = {
        .stream = o->stream, .number = m->number, .after = m->after, .skip = !m->ask, .schema = ""};
    if (m->ask) {
        const tr__confirm *confirm = confirm_of(m);
        const tr_typeinfo *type = tr__type_find(confirm->type, confirm->fingerprint);
        data.from = sender_of(m);
        data.to = confirm->to;
        data.type = confirm->type;
        data.fingerprint = confirm->fingerprint;
        data.schema = type ? type->schema : "";
        data.body = confirm->body;
    }
    return data;
}

/* Give the next message its number; false: none may be sent now. */
static bool number_next(out *o, uint64_t now_ns)
{
    tr__confirm_pair *pair = o->ready;
    unconfirmed *m = pair ? pair->waiting : NULL;
    if (!m || o->next - o->base == TR__CONFIRM_WINDOW ||
        (o->bytes && o->bytes + m->size > TR__CONFIRM_IN_FLIGHT))
        return false;
    if (o->base == o->next)
        o->progress_ns = now_ns;
    m->number = o->next++;
    m->after = pair->in_flight ? pair->last : 0;
    pair->last = m->number;
    pair->in_flight++;
    pair->waiting = m->next;
    o->bytes += m->size;
    o->window[m->number % TR__CONFIRM_WINDOW] = m;
    not_ready(o, pair);
    make_ready(o, pair);
    return true;
}

/* To an actor of this node: what becomes of it is known at once. */
static void pump_here(tr__confirmer *c, out *o)
{
    while (o->ready) {
        tr__confirm_pair *pair = o->ready;
        unconfirmed *m = pair->waiting;
        tr__confirm_data data = data_of(o, m);
        tr_err result = tr__confirm_deliver(c, &data);
        if (result == TR_ENOMEM) {
            tr__confirmer_by(c, tr__owner(c->self)->now_ns + RETRY);
            return;
        }
        pair->waiting = m->next;
        not_ready(o, pair);
        make_ready(o, pair);
        settle(c, o, m, result);
    }
}

static void pump(tr__confirmer *c, tr__confirm_peer *peer)
{
    out *o = peer->out;
    const tr__loop *loop = tr__owner(c->self);
    tr_addr to = TR__CONFIRMER_OF(peer->node);
    if (o && peer->node == loop->node->id)
        pump_here(c, o);
    if (!o || o->state != TR__CONFIRM_OPEN || o->wants)
        return;
    while (o->at < o->next || number_next(o, loop->now_ns)) {
        unconfirmed *m = o->window[o->at % TR__CONFIRM_WINDOW];
        tr__confirm_data data = data_of(o, m);
        tr_err err = tr_send_body(c->self, to, &tr__confirm_data_type, &data);
        o->wants = err == TR_EAGAIN && tr_notify_writable(c->self, to) == TR_OK;
        if (o->wants)
            break;
        if (err != TR_OK) { /* if the connection is down, we shall hear it */
            tr__confirmer_by(c, loop->now_ns + RETRY);
            break;
        }
        m->left = true;
        o->at++;
    }
    if (o->base < o->next)
        tr__confirmer_by(c, o->progress_ns + RESEND);
}

void tr__confirm_writable(tr__confirmer *c, tr__confirm_peer *peer)
{
    if (peer->out)
        peer->out->wants = false;
    pump(c, peer);
}

void tr__confirm_add(tr__confirmer *c, tr__confirm_peer *peer, tr_msg *ask)
{
    const tr__confirm *confirm = tr__msg_body(ask);
    out *o = peer ? out_of(c, peer) : NULL;
    unconfirmed *m = o ? tr__zalloc(sizeof(*m)) : NULL;
    tr__confirm_pair *pair = m ? pair_of(o, ask->sender, confirm->to) : NULL;
    c->kept++;
    if (!pair) {
        tr__free(m);
        answer(c, ask, TR_ENOMEM, "not delivered: no memory to keep it until it is confirmed");
        return;
    }
    *m = (unconfirmed){.pair = pair, .ask = ask, .due_ns = confirm->due_ns, .size = confirm->body.size};
    DL_APPEND(pair->list, m);
    if (!pair->waiting)
        pair->waiting = m;
    tr__confirmer_by(c, m->due_ns);
    if (peer->replaced)
        tr__confirm_fail(c, peer, TR_ENOACTOR, TR__STARTED_ANEW);
    else if (peer->up && !peer->able)
        tr__confirm_up(c, peer);
    else
        make_ready(o, pair);
    if (peer->up && peer->able && o->state == TR__CONFIRM_DOWN)
        greet(c, peer);
    pump(c, peer);
}

/* ---- acks ---------------------------------------------------------------------------------------------- */

static void take_results(tr__confirmer *c, out *o, const tr__confirm_ack *ack)
{
    const uint8_t *results = ack->results.data;
    uint64_t end = ack->first + ack->results.size;
    if (ack->first > o->base || end <= o->base || end > o->next)
        return; /* one before it was lost; known already; or of none that we sent */
    for (uint64_t n = o->base; n < end; n++) {
        uint8_t result = results[n - ack->first];
        o->base = n + 1;
        settle(c, o, o->window[n % TR__CONFIRM_WINDOW], result < TR_ERR_COUNT ? (tr_err)result : TR_EPROTO);
    }
    o->progress_ns = tr__owner(c->self)->now_ns;
}

void tr__confirm_acked(tr__confirmer *c, tr__confirm_peer *peer, const tr__confirm_ack *ack)
{
    out *o = peer->out;
    if (!o || ack->stream != o->stream || o->state == TR__CONFIRM_DOWN)
        return;
    if (!ack->known) {
        end_stream(c, o, "unknown: it was sent, and its receiver's node has forgotten whether it came");
        greet(c, peer);
        return;
    }
    take_results(c, o, ack);
    if (o->state == TR__CONFIRM_GREETING || ack->again || o->at < o->base)
        o->at = o->base;
    o->state = TR__CONFIRM_OPEN;
    o->fresh = false;
    pump(c, peer);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

static void overdue(tr__confirmer *c, tr__confirm_peer *peer, unconfirmed *m)
{
    bool is_full = m->pair->refused || m->pair->pause_ns;
    if (m->left)
        give_up(c, peer->out, m, TR_EDEADLINE,
                "unknown: it was sent, and nothing was heard of it by its deadline");
    else if (is_full)
        give_up(c, peer->out, m, TR_EFULL,
                "not delivered: the receiver's mailbox stayed full until its deadline");
    else
        give_up(c, peer->out, m, TR_ENOCONN, "not delivered: it didn't leave this node until its deadline");
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When to look at it next. The last one may end it. */
static uint64_t sweep_pair(tr__confirmer *c, tr__confirm_peer *peer, tr__confirm_pair *pair, uint64_t now_ns)
{
    try_again(peer->out, pair, now_ns);
    uint64_t due = pair->refused && now_ns < pair->again_ns ? pair->again_ns : TR__NEVER;
    for (unconfirmed *m = pair->list, *next; m; m = next) {
        next = m->next;
        if (m->ask && m->due_ns <= now_ns)
            overdue(c, peer, m);
        else if (m->ask)
            due = sooner(due, m->due_ns);
    }
    return due;
}

uint64_t tr__confirm_sweep(tr__confirmer *c, tr__confirm_peer *peer, uint64_t now_ns)
{
    out *o = peer->out;
    tr__confirm_pair *pair, *next;
    uint64_t due = TR__NEVER;
    if (!o)
        return due;
    HASH_ITER(hh, o->pairs, pair, next)
    {
        due = sooner(due, sweep_pair(c, peer, pair, now_ns));
    }
    bool waits = o->state == TR__CONFIRM_GREETING || (o->state == TR__CONFIRM_OPEN && o->base < o->next);
    if (waits && now_ns >= o->progress_ns + RESEND) { /* it, or its ack, was dropped on its way */
        o->progress_ns = now_ns;
        if (o->state == TR__CONFIRM_GREETING)
            greet(c, peer);
        else
            o->at = o->base;
    }
    pump(c, peer);
    return waits ? sooner(due, o->progress_ns + RESEND) : due;
}
