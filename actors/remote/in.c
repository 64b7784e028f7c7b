/* What comes in from one peer: the records of its batches become messages. Nothing in them is trusted: what
 * can't be read cuts the connection, what can't be delivered is a counted dead letter. Loop 0 only. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/budget.h"
#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/overflow.h"
#include "actors/remote/peer.h"
#include "actors/remote/spawn_at.h"
#include "actors/remote/wire.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/hash_table.h"
#include "base/mem.h"
#include "base/plant.h"

/* ---- monitors of theirs -------------------------------------------------------------------------------- */

typedef struct watching_key {
    uint32_t slot, generation;
    uint64_t number;
} watching_key;

typedef struct tr__watching {
    watching_key key;
    tr_addr target;
    UT_hash_handle hh;
} watching;

bool tr__watching_put(tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t number, tr_addr target)
{
    watching *entry = HASH_COUNT(p->watching) < TR__WATCHING_MAX ? tr__zalloc(sizeof(*entry)) : NULL;
    if (!entry)
        return false;
    entry->key = (watching_key){slot, generation, number};
    entry->target = target;
    HASH_ADD(hh, p->watching, key, sizeof(entry->key), entry);
    if (tr__hash_added(entry))
        return true;
    tr__free(entry);
    return false;
}

bool tr__watching_take(tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t number,
                       tr_addr *target)
{
    watching_key key = {slot, generation, number};
    watching *entry;
    HASH_FIND(hh, p->watching, &key, sizeof(key), entry);
    if (!entry)
        return false;
    *target = entry->target;
    HASH_DEL(p->watching, entry);
    tr__free(entry);
    return true;
}

static void demonitor(tr__remote_peer *p, const watching_key *key, tr_addr target)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *msg = loop->stopping ? NULL : tr__msg_alloc(&loop->pool, loop->index, 0);
    if (!msg)
        return; /* its tr_down will find no connection */
    msg->kind = TR__MSG_DEMONITOR;
    msg->sender = (tr_addr){p->peer->id, key->slot, key->generation};
    msg->ask = key->number;
    tr__submit(loop, target, msg);
}

void tr__watching_end(tr__remote_peer *p)
{
    watching *entry, *next;
    HASH_ITER(hh, p->watching, entry, next)
    {
        HASH_DEL(p->watching, entry);
        demonitor(p, &entry->key, entry->target);
        tr__free(entry);
    }
}

/* ---- messages ------------------------------------------------------------------------------------------ */

void tr__remote_cut_for(tr__remote_peer *p, tr_err code, const char *what)
{
    tr_error why;
    tr__fail(&why, code, "%s", what);
    tr__remote_cut(p, &why);
}

static void undecoded(tr__remote_peer *p, const tr__record *r, tr_drop why, const tr_error *error)
{
    tr__remote_undecoded(p->remote->loop, p->peer->id, p->peer->name, tr__heard_type_of(p, r->type), r, why,
                         error);
}

/* It is what it will be but for its places. Takes msg. */
static void arrive(tr__loop *loop, tr_addr to, tr_msg *msg)
{
    uint32_t places = tr__msg_places(msg->size);
    tr_actor *near = tr__near(loop, to);
    bool beyond;
    if (__builtin_expect(near && places == 1 && near->local && msg->home == loop->index, 1)) {
        near->local--; /* what isn't large and holds nothing is of no concern to the budget */
        msg->places = 1;
        tr__enqueue(loop, near, msg);
        return;
    }
    if (!tr__budget_admits(loop->node, to, msg->type, msg->size, true, &beyond)) {
        tr__drop(loop, msg, TR_DROP_FULL);
        return;
    }
    msg->flags |= beyond ? TR__MSG_BEYOND : 0;
    if (tr__reserve(loop, to, &places) != TR_OK) {
        bool newest = tr__overflow_of(loop, to) == TR_OVERFLOW_DROP_NEWEST;
        tr__drop(loop, msg, newest ? TR_DROP_NEWEST : TR_DROP_FULL);
        return;
    }
    if (!places) { /* of another loop it would wait there, without a bound */
        tr__drop_nobodys(loop, msg);
        return;
    }
    msg->places = (uint16_t)places;
    tr__pass(loop, to, msg);
}

/* A block that names an ask of theirs. NULL: no memory. */
static tr_msg *cancel_make(tr__remote_peer *p, const tr__record *r)
{
    tr_msg *msg = tr__cancel_make(p->remote->loop);
    if (!msg)
        return NULL;
    msg->sender = (tr_addr){p->peer->id, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    msg->to.slot = r->to_slot;
    msg->to.generation = r->to_generation;
    *(tr_canceled *)tr__msg_body(msg) = (tr_canceled){.asker = msg->sender, .ask = r->ask};
    return msg;
}

/* Whoever answers it must hear if the connection ends, or it would wait for demand: the cancel for that is made now, and
 * waits until the answer leaves. False: there is no memory for it, and the ask has failed. */
static bool begin_stream(tr__remote_peer *p, const tr__record *r, tr_msg *msg)
{
    tr__loop *loop = p->remote->loop;
    msg->flags |= TR__MSG_STREAM;
    msg->error = (uint8_t)r->window;
    tr_msg *cancel = cancel_make(p, r);
    if (cancel && tr__waits_put(&p->waits, cancel))
        return true;
    if (cancel)
        tr__msg_free(loop, cancel);
    loop->counts.handled++;
    tr__fail_ask(loop, msg, loop->node->id, TR_ENOMEM);
    return false;
}

static bool is_allowed(tr__remote_peer *p, const tr__record *r, tr_addr to, tr_error *error)
{
    const tr_typeinfo *type = tr__heard_type_of(p, r->type);
    return tr__peer_may_send(p, to, type ? type->id : 0, error) == TR_OK;
}

void tr__remote_fill(tr__loop *loop, uint64_t node, tr_msg *msg, const tr__record *r)
{
    bool asks = r->kind == TR__WIRE_ASK || r->kind == TR__WIRE_STREAM_ASK;
    msg->kind = asks ? TR__MSG_ASK : TR__MSG_NORMAL;
    msg->sender = (tr_addr){node, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    if (r->kind != TR__WIRE_NORMAL)
        msg->deadline_ns =
            r->remaining_ns > UINT64_MAX - loop->now_ns ? UINT64_MAX : loop->now_ns + r->remaining_ns;
    msg->to.slot = r->to_slot;
    msg->to.generation = r->to_generation;
}

static void take_message(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_addr to = {loop->node->id, r->to_slot, r->to_generation};
    tr_drop why;
    tr_error error;
    bool may = __builtin_expect(tr__rights_are_free(p->rights), 1) || is_allowed(p, r, to, &error);
    if (__builtin_expect(r->length > TR__LIMIT_MIN, 0) && may && tr__arrival_refuse_larger(p, r))
        return;
    tr_msg *msg = may ? tr__remote_decode(p, r, &why, &error) : NULL;
    if (!may)
        why = TR_DROP_REFUSED;
    if (!msg) {
        undecoded(p, r, why, &error);
        return;
    }
    tr__remote_fill(loop, p->peer->id, msg, r);
    if (r->kind == TR__WIRE_EXPIRING) {
        msg->flags |= TR__MSG_EXPIRES;
        atomic_store_explicit(&loop->node->expiring, true, memory_order_relaxed);
    }
    if (r->kind == TR__WIRE_STREAM_ASK && !begin_stream(p, r, msg))
        return;
    arrive(loop, to, msg);
}

/* Nobody waits for it any more; but what was started must know. */
static void late_reply(tr__remote_peer *p, const tr__record *r, tr_addr asker)
{
    const tr_typeinfo *type = tr__heard_type_of(p, r->type);
    tr_drop why;
    tr_error error;
    if (!type || type != tr__type_of(&tr_spawned_type))
        return;
    tr_msg *msg = tr__remote_decode(p, r, &why, &error);
    if (msg) {
        tr__spawn_came(p, NULL, asker, msg);
        tr__msg_free(p->remote->loop, msg);
    } else if (why == TR_DROP_NO_MEMORY) {
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for what it has started");
    }
}

void tr__remote_late(tr__loop *loop, tr_msg *msg)
{
    tr__remote_peer *p = tr__remote_peer_of(loop, msg->sender.node);
    loop->counts.dropped[TR_DROP_LATE_REPLY]++;
    if (p && msg->type == tr__type_of(&tr_spawned_type))
        tr__spawn_came(p, NULL, (tr_addr){loop->node->id, msg->to.slot, msg->to.generation}, msg);
    tr__msg_free(loop, msg);
}

static void take_reply(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_addr to = {loop->node->id, r->to_slot, r->to_generation};
    tr_msg *wait = tr__waits_take(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    if (!wait && tr__hand_answer(p, r))
        return;
    if (!wait) {
        loop->counts.dropped[TR_DROP_LATE_REPLY]++;
        late_reply(p, r, to);
        return;
    }
    tr_drop why;
    tr_error error;
    tr_msg *msg = tr__remote_decode(p, r, &why, &error);
    if (!msg) {
        undecoded(p, r, why, &error);
        tr__fail_ask(loop, wait, p->peer->id, why == TR_DROP_NO_MEMORY ? TR_ENOMEM : TR_ETYPE);
        return;
    }
    if (__builtin_expect(msg->type == tr__type_of(&tr_spawned_type), 0) &&
        !tr__spawn_came(p, wait, wait->sender, msg)) {
        loop->counts.handled++;
        tr__msg_free(loop, msg);
        tr__fail_ask(loop, wait, p->peer->id, TR_ENOCONN);
        return;
    }
    tr__msg_free(loop, wait);
    msg->kind = TR__MSG_REPLY;
    msg->sender = (tr_addr){p->peer->id, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    tr__pass(loop, to, msg);
}

/* ---- streams ------------------------------------------------------------------------------------------- */

/* An item that can't be had leaves a hole: the stream ends here, and there. */
void tr__remote_item_lost(tr__remote_peer *p, const tr__record *r, tr_err code)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *wait = tr__waits_take(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    tr_addr asker = wait->sender, callee = {p->peer->id, r->from_slot, r->from_generation};
    tr__fail_ask(loop, wait, p->peer->id, code);
    tr_msg *cancel = tr__cancel_make(loop);
    if (!cancel) {
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for what it must hear");
        return;
    }
    cancel->sender = asker;
    cancel->ask = r->ask;
    tr__submit(loop, callee, cancel);
}

static void take_item(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *wait = tr__waits_find(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    if (!wait) {
        loop->counts.dropped[TR_DROP_LATE_REPLY]++;
        return;
    }
    if (!(wait->flags & TR__MSG_STREAM) || wait->places == 0) {
        loop->counts.handled++;
        tr__remote_cut_for(p, TR_EPROTO, "it sends an item of a stream that it was not asked for");
        return;
    }
    wait->places--;
    tr_drop why;
    tr_error error;
    tr_msg *msg = tr__remote_decode(p, r, &why, &error);
    if (!msg) {
        undecoded(p, r, why, &error);
        tr__remote_item_lost(p, r, why == TR_DROP_NO_MEMORY ? TR_ENOMEM : TR_ETYPE);
        return;
    }
    msg->kind = TR__MSG_ITEM;
    msg->sender = (tr_addr){p->peer->id, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    msg->deadline_ns = r->outflow;
    tr__pass(loop, (tr_addr){loop->node->id, r->to_slot, r->to_generation}, msg);
}

/* Without memory the stream would stand still: then the connection ends. */
static void take_demand(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    if (!tr__waits_find(&p->waits, TR__MSG_CANCEL, r->ask, r->from_slot, r->from_generation)) {
        loop->counts.handled++; /* answered, or given up */
        return;
    }
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_demand));
    if (!msg) {
        loop->counts.dropped[TR_DROP_NO_MEMORY]++;
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for what it demands");
        return;
    }
    msg->kind = TR__MSG_DEMAND;
    tr__msg_filled(msg, tr__type_of(&tr_demand_type));
    msg->sender = (tr_addr){p->peer->id, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    msg->deadline_ns = r->outflow;
    msg->error = (uint8_t)r->window;
    tr__pass(loop, (tr_addr){loop->node->id, r->to_slot, r->to_generation}, msg);
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static void take_failure(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *wait = tr__waits_take(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    if (!wait && tr__hand_answer(p, r))
        return;
    if (!wait) {
        loop->counts.dropped[TR_DROP_LATE_REPLY]++;
        return;
    }
    tr_err code = r->code > TR_OK && r->code < TR_ERR_COUNT ? (tr_err)r->code : TR_EPROTO;
    loop->counts.handled++;
    tr__remote_fail_wait(loop, p->peer->id, r, wait, code, (const char *)r->body, r->length);
}

/* Of a stream this node knows better who has it (stream_moved): who gave it up may not have heard yet, and never will if the
 * connection ends. */
static void take_cancel(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *msg = tr__waits_take(&p->waits, TR__MSG_CANCEL, r->ask, r->from_slot, r->from_generation);
    if (!msg && !(msg = cancel_make(p, r))) {
        loop->counts.dropped[TR_DROP_NO_MEMORY]++;
        return;
    }
    msg->places = 0;
    tr__pass(loop, (tr_addr){loop->node->id, msg->to.slot, msg->to.generation}, msg);
}

/* Whoever was asked there has handed it on. Within that node it waits for its answer as before; else its block, which waits
 * here, is what goes on. */
static void take_moved(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_addr asker = {loop->node->id, r->to_slot, r->to_generation}, callee = r->moved_to;
    if (callee.node == p->peer->id) {
        tr_msg *msg = tr__moved_make(loop, r->ask, callee, 0);
        if (!msg) {
            loop->counts.dropped[TR_DROP_NO_MEMORY]++;
            return;
        }
        msg->sender = (tr_addr){p->peer->id, r->from_slot, r->from_generation};
        tr__pass(loop, asker, msg);
        return;
    }
    tr_msg *ask = tr__waits_take(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation);
    if (!ask && tr__hand_answer(p, r))
        return;
    loop->counts.handled++;
    if (ask) /* else it was given up meanwhile */
        tr__remote_goes_on(loop, ask, callee);
}

void tr__remote_goes_on(tr__loop *loop, tr_msg *ask, tr_addr callee)
{
    uint32_t places = callee.node == loop->node->id ? tr__msg_places(ask->size) : 0;
    tr_err err = places ? tr__reserve(loop, callee, &places) : TR_OK;
    if (err != TR_OK) {
        tr__fail_ask(loop, ask, loop->node->id, err);
        return;
    }
    ask->kind = TR__MSG_FORWARD;
    ask->hops = tr__one_hop_more(ask) & TR__HOPS_MAX;
    ask->places = (uint16_t)places;
    tr__submit(loop, callee, ask);
}

static void take_monitor(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_addr target = {loop->node->id, r->to_slot, r->to_generation};
    tr_addr watcher = {p->peer->id, r->from_slot, r->from_generation};
    tr_msg *msg = tr__monitor_make(loop, watcher, r->ask);
    if (!msg) {
        loop->counts.dropped[TR_DROP_NO_MEMORY]++;
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for a monitor of its");
        return;
    }
    msg->to.slot = target.slot;
    msg->to.generation = target.generation;
    tr_error error;
    tr_drop none = HASH_COUNT(p->watching) < TR__WATCHING_MAX ? TR_DROP_NO_MEMORY : TR_DROP_FULL;
    if (tr__peer_reaches(p, target, &error) != TR_OK) {
        tr__reason reason = {.kind = TR_EXIT_NO_ACTOR, .code = error.code};
        snprintf(reason.text, sizeof(reason.text), "%.*s", (int)sizeof(reason.text) - 1, error.text);
        loop->counts.handled++;
        tr__watch_fire(loop, msg, target, &reason);
    } else if (tr__watching_put(p, r->from_slot, r->from_generation, r->ask, target))
        tr__pass(loop, target, msg);
    else
        tr__drop(loop, msg, none); /* which tells it that nobody watches */
}

static void take_demonitor(tr__remote_peer *p, const tr__record *r)
{
    tr_addr target;
    p->remote->loop->counts.handled++;
    if (tr__watching_take(p, r->from_slot, r->from_generation, r->ask, &target))
        demonitor(p, &(watching_key){r->from_slot, r->from_generation, r->ask}, target);
}

static void take_down(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *wait = tr__waits_take(&p->waits, TR__MSG_MONITOR, r->ask, r->to_slot, r->to_generation);
    loop->counts.handled++;
    if (!wait)
        return; /* taken back meanwhile */
    if (TR_PLANT(down_twice))
        tr__waits_put(&p->waits, tr__monitor_make(loop, wait->sender, wait->ask));
    tr__reason reason;
    tr__take_reason(r, &reason);
    tr_addr target = {p->peer->id, wait->to.slot, wait->to.generation};
    tr__watch_fire(loop, wait, target, &reason);
}

static void take_of_links(tr__remote_peer *p, const tr__record *r)
{
    if (r->kind == TR__WIRE_LINK)
        tr__take_link(p, r);
    else if (r->kind == TR__WIRE_UNLINK)
        tr__take_unlink(p, r);
    else if (r->kind == TR__WIRE_UNLINKED)
        tr__take_unlinked(p, r);
    else if (r->kind == TR__WIRE_EXIT)
        tr__take_exit(p, r);
    else
        tr__take_stop(p, r);
}

tr_err tr__remote_take(tr__remote_peer *p, const tr__record *r)
{
    bool sized = r->kind == TR__WIRE_STREAM_ASK || r->kind == TR__WIRE_DEMAND;
    bool typed = r->kind == TR__WIRE_NORMAL || r->kind == TR__WIRE_EXPIRING || r->kind == TR__WIRE_ASK ||
                 r->kind == TR__WIRE_REPLY || r->kind == TR__WIRE_STREAM_ASK || r->kind == TR__WIRE_ITEM;
    if (r->kind == TR__WIRE_TYPE)
        return tr__hear_type(p, r);
    if (r->kind == TR__WIRE_RIGHTS) {
        tr__take_rights(p, r);
        return TR_OK;
    }
    if (typed && r->type >= p->heard_count)
        return TR_EPROTO;
    if (sized && (r->window == 0 || r->window > TR__WINDOW_MAX)) {
        tr__remote_cut_for(p, TR_EPROTO, "a stream's window, or its demand, is not of 1 to 255 items");
        return TR_OK;
    }
    p->remote->loop->counts.received++;
    if (r->kind >= TR__WIRE_LINK && r->kind <= TR__WIRE_STOP) {
        take_of_links(p, r);
        return TR_OK;
    }
    switch (r->kind) {
    case TR__WIRE_REPLY:
        take_reply(p, r);
        break;
    case TR__WIRE_FAILURE:
        take_failure(p, r);
        break;
    case TR__WIRE_CANCEL:
        take_cancel(p, r);
        break;
    case TR__WIRE_MOVED:
        take_moved(p, r);
        break;
    case TR__WIRE_ITEM:
        take_item(p, r);
        break;
    case TR__WIRE_DEMAND:
        take_demand(p, r);
        break;
    case TR__WIRE_MONITOR:
        take_monitor(p, r);
        break;
    case TR__WIRE_DEMONITOR:
        take_demonitor(p, r);
        break;
    case TR__WIRE_DOWN:
        take_down(p, r);
        break;
    case TR__WIRE_REFUSED:
        tr__take_refused(p, r);
        break;
    default:
        if (TR_PLANT(twice_after_reconnect) && p->route->ended_id)
            p->remote->loop->counts.received++, take_message(p, r);
        take_message(p, r);
    }
    return TR_OK;
}

/* To its loop, or here. */
static inline tr_err pass(tr__remote_peer *p, const tr__record *r, const uint8_t *bytes, size_t used)
{
    if (TR_PLANT(lost_midway) && r->kind == TR__WIRE_NORMAL &&
        tr__random_below(&p->remote->loop->random, 50) == 0)
        return TR_OK;
    if (TR_PLANT(twice_after_reconnect) && p->route->ended_id && r->kind == TR__WIRE_NORMAL)
        tr__hand_on(p, r, bytes, used);
    bool elsewhere = p->others && tr__hand_on(p, r, bytes, used);
    return elsewhere ? TR_OK : tr__remote_take(p, r);
}

/* Take the record at the front. */
static inline tr_err next(tr__remote_peer *p, const uint8_t *bytes, size_t length, size_t *used,
                          tr_error *error)
{
    tr__record record;
    if (tr__alike_get(&p->alike_in, bytes, length, used))
        return pass(p, &p->alike_in.record, bytes, *used);
    TR_TRY(tr__wire_get(bytes, length, &record, used, error));
    tr__alike_keep(&p->alike_in, bytes, &record);
    return pass(p, &record, bytes, *used);
}

void tr__remote_take_batch(tr__remote_peer *p, const uint8_t *bytes, size_t length)
{
    tr_error error = {0};
    p->others = tr__loops_all(p->remote->loop->node) > 1;
    while (length && !p->cut) {
        size_t used;
        tr_err err = next(p, bytes, length, &used, &error);
        if (err != TR_OK) {
            if (!error.text[0])
                tr__fail(&error, err, "%s",
                         err == TR_ENOMEM ? "no memory for its message types"
                                          : "a type that was not told before");
            tr__remote_cut(p, &error);
            return;
        }
        bytes += used;
        length -= used;
    }
}
