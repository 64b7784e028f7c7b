/* What goes out to one peer: messages become records in its open batch. Loop 0 only. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

/* ---- records ------------------------------------------------------------------------------------------- */

/* On the normal lane, or behind what its pair has on the bulk lane. */
static tr_err reserve(tr__remote_peer *p, const tr__pair *pair, size_t length, uint8_t **at)
{
    tr__endpoint *endpoint = p->remote->endpoint;
    if (__builtin_expect(!pair, 1))
        return tr__endpoint_reserve(endpoint, p->peer, length, at);
    tr_err err = tr__endpoint_bulk_reserve(endpoint, p->peer, length, at);
    p->bulk_refused = err == TR_EAGAIN;
    return err;
}

static void commit(tr__remote_peer *p, tr__pair *pair, size_t length)
{
    tr__endpoint *endpoint = p->remote->endpoint;
    if (__builtin_expect(!pair, 1)) {
        tr__endpoint_commit(endpoint, p->peer, length);
        return;
    }
    tr__endpoint_bulk_commit(endpoint, p->peer, length);
    tr__pair_sent(pair, tr__endpoint_bulk_last(p->peer));
}

tr_err tr__remote_put_record(tr__remote_peer *p, tr__pair *pair, tr__record *record, const void *bytes)
{
    uint8_t *at;
    TR_TRY(reserve(p, pair, TR__WIRE_HEADER_MAX + record->length, &at));
    size_t head = tr__wire_put(at, record);
    if (bytes && record->length)
        memcpy(at + head, bytes, record->length);
    commit(p, pair, head + record->length);
    return TR_OK;
}

static tr_err put(tr__remote_peer *p, tr__record *record, const void *bytes)
{
    return tr__remote_put_record(p, p->pair, record, bytes);
}

/* The record and the message's struct as CBOR. Its head is written with the most that the body can have, which mostly leaves
 * the body where it is to be. */
static tr_err put_body(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    const void *body = tr__msg_body(msg);
    size_t room = tr__cbor_room(msg->type, body, msg->size);
    uint8_t *at;
    if (__builtin_expect(TR__WIRE_HEADER_MAX + room > TR__LARGE_MIN, 0) && p->peer->lanes) {
        size_t bound = tr__cbor_bound(msg->type, body);
        if (TR__WIRE_HEADER_MAX + bound > TR__LARGE_MIN)
            return tr__remote_put_large(p, record, msg, bound);
    }
    TR_TRY(reserve(p, p->pair, TR__WIRE_HEADER_MAX + room, &at));
    commit(p, p->pair, tr__writer_put_record(at, record, msg->type, body, room));
    return TR_OK;
}

static tr_err put_typed(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    TR_TRY(tr__told_number(p, msg->type, &record->type));
    return put_body(p, record, msg);
}

static void put_remaining(const tr__remote_peer *p, tr__record *record, const tr_msg *msg)
{
    uint64_t now = p->remote->loop->now_ns;
    if (msg->deadline_ns != UINT64_MAX)
        record->remaining_ns = msg->deadline_ns > now ? msg->deadline_ns - now : 0;
}

static tr_err put_normal(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    if (msg->flags & TR__MSG_EXPIRES) {
        record->kind = TR__WIRE_EXPIRING;
        put_remaining(p, record, msg);
    }
    return put_typed(p, record, msg);
}

static tr_err put_ask(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    if (msg->flags & TR__MSG_STREAM) {
        record->kind = TR__WIRE_STREAM_ASK;
        record->window = msg->error;
    }
    put_remaining(p, record, msg);
    return put_typed(p, record, msg);
}

static tr_err put_item(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    record->outflow = msg->deadline_ns;
    return put_typed(p, record, msg);
}

static tr_err put_demand(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    record->outflow = msg->deadline_ns;
    record->window = msg->error;
    return put(p, record, NULL);
}

static tr_err put_failure(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    const tr__failure *failure = msg->size ? tr__msg_body(msg) : NULL;
    const char *text = failure && failure->text ? failure->text : "";
    record->code = msg->error;
    record->length = strlen(text);
    return put(p, record, text);
}

static tr_err put_down(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    const tr_down *down = tr__msg_body(msg);
    record->ask = down->monitor;
    record->exit_kind = down->kind;
    record->code = down->code;
    record->length = strlen(down->text);
    return put(p, record, down->text);
}

static tr_err put_moved(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    record->moved_to = *(const tr_addr *)tr__msg_body(msg);
    return put(p, record, NULL);
}

static tr_err put_plain(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    (void)msg;
    return put(p, record, NULL);
}

static tr_err put_exit(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    const tr_exited *exited = tr__msg_body(msg);
    record->exit_kind = exited->kind;
    record->code = exited->code;
    record->length = strlen(exited->text);
    return put(p, record, exited->text);
}

static tr_err put_stop(tr__remote_peer *p, tr__record *record, tr_msg *msg)
{
    record->exit_kind = msg->kind == TR__MSG_KILL ? TR_EXIT_KILLED : TR_EXIT_SHUTDOWN;
    return put(p, record, NULL);
}

/* How each kind goes; those without a row don't cross connections. */
static const struct {
    tr__wire_kind wire;
    tr_err (*put)(tr__remote_peer *p, tr__record *record, tr_msg *msg);
    bool waits; /* its block stays until the answer */
} ways[] = {
    [TR__MSG_NORMAL] = {TR__WIRE_NORMAL, put_normal, false},
    [TR__MSG_ASK] = {TR__WIRE_ASK, put_ask, true},
    [TR__MSG_NOTICE] = {TR__WIRE_DOWN, put_down, false},
    [TR__MSG_REPLY] = {TR__WIRE_REPLY, put_typed, false},
    [TR__MSG_FAILURE] = {TR__WIRE_FAILURE, put_failure, false},
    [TR__MSG_MONITOR] = {TR__WIRE_MONITOR, put_plain, true},
    [TR__MSG_DEMONITOR] = {TR__WIRE_DEMONITOR, put_plain, false},
    [TR__MSG_CANCEL] = {TR__WIRE_CANCEL, put_plain, false},
    [TR__MSG_WANT_WRITABLE] = {0, NULL, false},
    [TR__MSG_MOVED] = {TR__WIRE_MOVED, put_moved, false},
    [TR__MSG_ITEM] = {TR__WIRE_ITEM, put_item, false},
    [TR__MSG_DEMAND] = {TR__WIRE_DEMAND, put_demand, false},
    [TR__MSG_LINK] = {TR__WIRE_LINK, put_plain, true},
    [TR__MSG_UNLINK] = {TR__WIRE_UNLINK, put_plain, false},
    [TR__MSG_UNLINKED] = {TR__WIRE_UNLINKED, put_plain, false},
    [TR__MSG_EXIT] = {TR__WIRE_EXIT, put_exit, false},
    [TR__MSG_SHUTDOWN] = {TR__WIRE_STOP, put_stop, false},
    [TR__MSG_KILL] = {TR__WIRE_STOP, put_stop, false},
    [TR__MSG_REFUSED] = {TR__WIRE_REFUSED, tr__put_refused, false},
};

/* Only to a node that knows of links between nodes. */
static bool is_of_links(uint8_t kind)
{
    return kind == TR__MSG_LINK || kind == TR__MSG_UNLINK || kind == TR__MSG_UNLINKED ||
           kind == TR__MSG_EXIT || kind == TR__MSG_SHUTDOWN || kind == TR__MSG_KILL;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* What is over with a message's leaving: an ask that is given up waits no more, a monitor that fired is
 * forgotten; who asked for a stream has its answer. */
static void leaving(tr__remote_peer *p, const tr_msg *msg)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *waiting = NULL;
    tr_addr target;
    if (msg->kind == TR__MSG_CANCEL)
        waiting = tr__waits_take(&p->waits, TR__MSG_ASK, msg->ask, msg->sender.slot, msg->sender.generation);
    else if (msg->kind == TR__MSG_DEMONITOR)
        waiting =
            tr__waits_take(&p->waits, TR__MSG_MONITOR, msg->ask, msg->sender.slot, msg->sender.generation);
    else if (msg->kind == TR__MSG_NOTICE)
        tr__watching_take(p, msg->to.slot, msg->to.generation, ((tr_down *)tr__msg_body(msg))->monitor,
                          &target);
    else if (msg->kind == TR__MSG_MOVED)
        tr__stream_moved(p, msg);
    else if (msg->kind == TR__MSG_ITEM)
        tr__stream_began(p, msg);
    else if (msg->kind == TR__MSG_DEMAND)
        tr__stream_granted(p, msg);
    else if (msg->kind == TR__MSG_UNLINK || msg->kind == TR__MSG_EXIT)
        tr__tie_leaving(p, msg);
    else if ((msg->kind == TR__MSG_REPLY || msg->kind == TR__MSG_FAILURE) && msg->flags & TR__MSG_STREAM)
        waiting = tr__waits_take(&p->waits, TR__MSG_CANCEL, msg->ask, msg->to.slot, msg->to.generation);
    if (waiting)
        tr__msg_free(loop, waiting);
}

static tr__record record_of(const tr_msg *msg)
{
    if (msg->kind == TR__MSG_RECORDS)
        return tr__records_first(msg);
    return (tr__record){.kind = ways[msg->kind].wire,
                        .to_slot = msg->to.slot,
                        .to_generation = msg->to.generation,
                        .from_slot = msg->sender.slot,
                        .from_generation = msg->sender.generation,
                        .ask = msg->ask,
                        .remaining_ns = UINT64_MAX};
}

/* TR_OK: sent, msg is taken. TR_EAGAIN: not now, and p->bulk_refused says for want of what. Else: never, msg is still the
 * caller's. pair: if it goes behind what that has on the bulk lane. */
static tr_err send_now(tr__remote_peer *p, tr_msg *msg, tr__record *record, tr__pair *pair)
{
    tr__loop *loop = p->remote->loop;
    p->pair = pair;
    p->bulk_refused = p->went_along = false;
    if (msg->kind == TR__MSG_RECORDS)
        return tr__records_send_one(p, msg, record, pair);
    bool waits = ways[msg->kind].waits;
    if (msg->kind == TR__MSG_MOVED && tr__stream_is_given_up(p, msg)) {
        TR__COUNT(loop->counts.handled);
        tr__moved_lost(loop, p->peer->id, msg);
        return TR_OK;
    }
    if (waits && !tr__waits_room(&p->waits))
        return TR_ENOMEM;
    TR_TRY(ways[msg->kind].put(p, record, msg));
    loop->counts.sent++;
    p->sent++;
    if (__builtin_expect(p->went_along, 0)) { /* it may be gone by now */
        leaving(p, &p->gone);
        return TR_OK;
    }
    leaving(p, msg);
    if (msg->kind == TR__MSG_ASK && msg->flags & TR__MSG_STREAM)
        msg->places = msg->error; /* items that may come (remote/in.c) */
    bool stays = waits && (msg->kind != TR__MSG_LINK || tr__tie_sent(p, msg));
    /* Whole, with the buffers that it holds: if the ask is forwarded to a third node, the block goes there from here. */
    if (!stays || !tr__waits_put(&p->waits, msg))
        tr__msg_free(loop, msg);
    return TR_OK;
}

/* The same, behind what its pair has under way on the bulk lane. */
static tr_err send_in_order(tr__remote_peer *p, tr_msg *msg, tr__record *record)
{
    tr__pair *pair = NULL;
    if (__builtin_expect(p->pairs.table != NULL, 0) && !TR_PLANT(bulk_overtaken)) {
        pair = tr__pairs_find(&p->pairs, record, tr__endpoint_bulk_taken(p->peer));
        if (pair && tr__pair_is_held(pair)) {
            p->bulk_refused = true;
            return TR_EAGAIN;
        }
    }
    return send_now(p, msg, record, pair);
}

void tr__remote_held_too_many(tr__remote_peer *p)
{
    tr_error why;
    tr__fail(&why, TR_EFULL, "it takes nothing, and %d messages are held for it", TR__HELD_MAX);
    tr__remote_cut(p, &why);
}

static void hold(tr__remote_peer *p, tr_msg *msg)
{
    msg->next = NULL;
    *p->held_end = msg;
    p->held_end = &msg->next;
    atomic_store_explicit(&p->route->blocked, true, memory_order_relaxed);
    p->held_count += tr__msg_count(msg);
    if (p->held_count >= TR__HELD_MAX)
        tr__remote_held_too_many(p);
}

/* As what refused it says. Without memory for its pair all wait behind it. */
static void hold_for(tr__remote_peer *p, tr_msg *msg, const tr__record *record)
{
    if (!p->bulk_refused || !tr__remote_hold_bulk(p, msg, record))
        hold(p, msg);
}

void tr__remote_cut(tr__remote_peer *p, const tr_error *why)
{
    if (p->cut)
        return;
    p->cut = true;
    tr__node_log(p->remote->loop->node, TR_LOG_ERROR, "the connection to node %s is cut: %s", p->peer->name,
                 why->text);
    tr__endpoint_refuse(p->remote->endpoint, p->peer, why);
}

static tr_drop drop_of(tr_err err)
{
    return err == TR_ETOOBIG ? TR_DROP_TOO_BIG : err == TR_ENOMEM ? TR_DROP_NO_MEMORY : TR_DROP_NO_CONNECTION;
}

/* In the place of an answer that can't go: its asker must hear (M2), so it goes, or the connection does. */
static void fail_remotely(tr__remote_peer *p, tr_msg *msg, tr_err err)
{
    tr__loop *loop = p->remote->loop;
    const char *text = err == TR_ETOOBIG ? "the answer is too large for a connection"
                                         : "the node that was asked has no memory to send its answer";
    tr__record record = {.kind = TR__WIRE_FAILURE,
                         .to_slot = msg->to.slot,
                         .to_generation = msg->to.generation,
                         .from_slot = msg->sender.slot,
                         .from_generation = msg->sender.generation,
                         .ask = msg->ask,
                         .code = err,
                         .length = strlen(text)};
    p->pair = tr__pairs_find(&p->pairs, &record, tr__endpoint_bulk_taken(p->peer));
    if (put(p, &record, text) == TR_OK) {
        loop->counts.sent++;
        p->sent++;
        leaving(p, msg);
        tr__msg_free(loop, msg);
        return;
    }
    tr__remote_cut(p, &(tr_error){TR_ENOMEM, "no memory for what it must hear"});
    tr__drop_for(loop, p->peer->id, msg, TR_DROP_NO_MEMORY);
}

/* Without it somebody there would wait in vain, or for ever. */
static bool is_needed(const tr_msg *msg)
{
    return msg->kind == TR__MSG_NOTICE || msg->kind == TR__MSG_ITEM || msg->kind == TR__MSG_DEMAND ||
           msg->kind == TR__MSG_MOVED || msg->kind == TR__MSG_UNLINK || msg->kind == TR__MSG_UNLINKED ||
           msg->kind == TR__MSG_EXIT || (msg->kind == TR__MSG_REFUSED && msg->ask) ||
           (msg->kind == TR__MSG_CANCEL && msg->flags & TR__MSG_STREAM);
}

/* It can't go, and won't later. */
static void give_up(tr__remote_peer *p, tr_msg *msg, tr_err err)
{
    tr__loop *loop = p->remote->loop;
    bool ours =
        err == TR_ETOOBIG || err == TR_ENOMEM; /* else the connection ends anyway, and its asks fail */
    if (ours && (msg->kind == TR__MSG_REPLY || msg->kind == TR__MSG_FAILURE)) {
        fail_remotely(p, msg, err);
        return;
    }
    if (ours && is_needed(msg))
        tr__remote_cut(p, &(tr_error){TR_ENOMEM, "no memory for what it must hear"});
    if (err == TR_ETOOBIG && msg->kind == TR__MSG_ASK) {
        loop->counts.dropped[drop_of(err)]++;
        tr__fail_ask(loop, msg, p->peer->id, err);
        return;
    }
    tr__drop_for(loop, p->peer->id, msg, drop_of(err));
}

/* It waits for its answer here; to its callee it comes as any other. */
static void send_forwarded(tr__remote_peer *p, tr_msg *msg)
{
    tr__loop *loop = p->remote->loop;
    tr_addr asker = msg->sender, callee = {p->peer->id, msg->to.slot, msg->to.generation};
    tr_msg *moved = tr__moved_of(loop, msg, callee, msg->hops);
    if (!moved && msg->flags & TR__MSG_STREAM) { /* as in deliver.c */
        tr__drop_for(loop, p->peer->id, msg, TR_DROP_NO_MEMORY);
        return;
    }
    msg->kind = TR__MSG_ASK;
    tr__remote_peer_send(p, msg);
    if (moved)
        tr__submit(loop, asker, moved);
}

static void send_records(tr__remote_peer *p, tr_msg *msg)
{
    if (p->cut)
        tr__drop_for(p->remote->loop, p->peer->id, msg, TR_DROP_NO_CONNECTION);
    else if ((p->held && !TR_PLANT(held_overtaken)) || tr__records_send(p, msg) == TR_EAGAIN)
        hold(p, msg);
}

void tr__remote_peer_send(tr__remote_peer *p, tr_msg *msg)
{
    tr__loop *loop = p->remote->loop;
    if (msg->kind == TR__MSG_RECORDS) {
        send_records(p, msg);
        return;
    }
    if (msg->kind == TR__MSG_WANT_WRITABLE) {
        loop->counts.handled++;
        msg->next = NULL;
        *p->wanting_end = msg;
        p->wanting_end = &msg->next;
        if (!p->held && !p->bulk_held)
            tr__remote_writable(p);
        return;
    }
    if (msg->kind == TR__MSG_FORWARD) {
        send_forwarded(p, msg);
        return;
    }
    if (p->cut || (is_of_links(msg->kind) && !(p->peer->capabilities & TR__CAPABILITY_LINKS))) {
        tr__drop_for(loop, p->peer->id, msg, TR_DROP_NO_CONNECTION);
        return;
    }
    /* Of notices only the tr_down is for actors of other nodes. */
    if (msg->kind >= TR_COUNT(ways) || !ways[msg->kind].put ||
        (msg->kind == TR__MSG_NOTICE && msg->type != tr__type_of(&tr_down_type))) {
        tr__drop_for(loop, p->peer->id, msg, TR_DROP_NO_ACTOR);
        return;
    }
    if (p->held && !TR_PLANT(held_overtaken)) {
        msg = tr__answer_admit(p, msg);
        if (msg)
            hold(p, msg);
        return;
    }
    tr__record record = record_of(msg);
    tr_err err = send_in_order(p, msg, &record);
    if (err == TR_EAGAIN) {
        msg = tr__answer_admit(p, msg);
        if (msg)
            hold_for(p, msg, &record);
    } else if (err != TR_OK) {
        give_up(p, msg, err);
    }
}

/* What was held for credit of the normal lane, as far as that goes. */
static void send_held(tr__remote_peer *p)
{
    while (p->held) {
        tr_msg *msg = p->held, *next = msg->next;
        if (msg->kind == TR__MSG_RECORDS) {
            if (!tr__records_send_held(p))
                return;
            continue;
        }
        size_t weight = tr__answer_weight(msg);
        tr__record record = record_of(msg);
        tr_err err = send_in_order(p, msg, &record);
        if (err == TR_EAGAIN && !(p->bulk_refused && tr__remote_hold_bulk(p, msg, &record)))
            return;
        p->remote->loop->counts.sent += TR_PLANT(held_counted_twice);
        p->held = next;
        if (!next)
            p->held_end = &p->held;
        p->held_count--;
        p->answers_held -= err != TR_EAGAIN ? weight : 0;
        if (err != TR_OK && err != TR_EAGAIN)
            give_up(p, msg, err);
        if (p->cut) /* nothing goes where something before it didn't */
            return;
    }
}

/* What was held for room on the bulk lane. */
static void send_bulk_held(tr__remote_peer *p)
{
    while (p->bulk_held) {
        tr_msg *msg = p->bulk_held, *next = msg->next;
        size_t weight = tr__answer_weight(msg);
        tr__record record = record_of(msg);
        tr__pair *pair = tr__pairs_find(&p->pairs, &record, 0); /* there: it is held */
        tr_err err = send_now(p, msg, &record, pair);
        if (err == TR_EAGAIN)
            return;
        tr__pair_hold(pair, -1);
        p->bulk_held = next;
        if (!next)
            p->bulk_held_end = &p->bulk_held;
        p->bulk_held_count--;
        p->answers_held -= weight;
        if (err != TR_OK)
            give_up(p, msg, err);
        if (p->cut)
            return;
    }
}

void tr__remote_writable(tr__remote_peer *p)
{
    tr__loop *loop = p->remote->loop;
    tr__tell_rights(p);
    send_held(p);
    if (!p->cut)
        send_bulk_held(p);
    if (p->cut)
        return;
    bool blocked = p->held || p->bulk_held_count >= TR__BULK_HELD_MAX;
    atomic_store_explicit(&p->route->blocked, blocked, memory_order_relaxed);
    atomic_store_explicit(&p->route->bulk_blocked, p->bulk_held != NULL, memory_order_relaxed);
    while (p->wanting && !p->held && !p->bulk_held) {
        tr_msg *msg = p->wanting;
        p->wanting = msg->next;
        if (!msg->next)
            p->wanting_end = &p->wanting;
        tr__writable(loop, msg);
    }
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void waits_end(tr__remote_peer *p)
{
    tr__loop *loop = p->remote->loop;
    tr__reason reason = {
        .kind = TR_EXIT_NO_CONNECTION, .code = TR_ENOCONN, .text = "the connection to its node is down"};
    tr_msg *msg;
    while ((msg = tr__waits_pop(&p->waits))) {
        tr_addr target = {p->peer->id, msg->to.slot, msg->to.generation};
        msg->places = 0; /* of a stream: what it knew of its items */
        bool left = msg->kind == TR__MSG_ASK    ? TR_PLANT(ask_left)
                    : msg->kind == TR__MSG_LINK ? TR_PLANT(tie_dropped)
                                                : TR_PLANT(down_dropped);
        if (loop->stopping || left)
            tr__msg_free(loop, msg);
        else if (msg->kind == TR__MSG_ASK)
            tr__fail_ask(loop, msg, p->peer->id, TR_ENOCONN);
        else if (msg->kind == TR__MSG_LINK)
            tr__link_fire(loop, msg, target, &reason, p->connection);
        else if (msg->kind == TR__MSG_CANCEL)
            tr__submit(loop, (tr_addr){loop->node->id, msg->to.slot, msg->to.generation}, msg);
        else
            tr__watch_fire(loop, msg, target, &reason);
    }
    tr__waits_fini(&p->waits);
}

void tr__remote_peer_end(tr__remote_peer *p)
{
    tr__loop *loop = p->remote->loop;
    uint64_t id = p->peer->id;
    p->route->ended_id = id;
    p->route->ended_epoch = atomic_load_explicit(&p->route->epoch, memory_order_relaxed);
    atomic_store_explicit(&p->route->id, 0, memory_order_release);
    p->route->peer = NULL;
    loop->tell_ended = true;
    waits_end(p);
    bool leak = TR_PLANT(held_leaked);
    tr_msg *lists[] = {leak ? NULL : p->held, leak ? NULL : p->bulk_held, p->wanting};
    for (int i = 0; i < 3; i++)
        while (lists[i]) {
            tr_msg *msg = lists[i];
            lists[i] = msg->next;
            if (msg->kind == TR__MSG_WANT_WRITABLE)
                tr__writable(loop, msg);
            else
                tr__drop_for(loop, id, msg, TR_DROP_NO_CONNECTION);
        }
    if (p->went)
        tr__msg_free(loop, p->went);
    tr__arrival_end(p);
    tr__watching_end(p);
    tr__pairs_end(&p->pairs);
    tr__heard_types_end(p);
    tr__told_types_end(p);
    tr__free(p);
}
