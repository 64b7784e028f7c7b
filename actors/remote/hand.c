/* What came from other nodes for actors of other loops: small messages and asks are handed on as they stand, and their loop
 * decodes them into blocks of its own. All else becomes a message on the connection's loop (in.c). */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "base/buggify.h"

#define HANDED_MAX 1024 /* bytes of a message as it lies in memory: one place */

/* ---- the connection's loop ----------------------------------------------------------------------------- */

/* Where a record of it goes in the block for that loop; NULL: no memory. */
static uint8_t *place(tr__remote_peer *p, tr__loop *to, const tr_typeinfo *type, uint32_t number,
                      size_t length)
{
    tr__loop *loop = p->remote->loop;
    tr__chain *out = &loop->outboxes[to->index];
    /* The numbers of types are one connection's. */
    uint16_t epoch = atomic_load_explicit(&p->route->epoch, memory_order_relaxed);
    bool ours =
        out->open && tr__records_of(out->open)->from_node == p->peer->id && out->open->route_epoch == epoch;
    uint8_t *at = ours ? tr__records_place(out->open, type, number, length) : NULL;
    if (__builtin_expect(at != NULL, 1))
        return at;
    if (out->open)
        tr__hand_close(loop, out, to->index);
    out->open = tr__records_open(loop, p->peer->id, loop->node->id);
    if (!out->open)
        return NULL;
    out->open->routed = true;
    out->open->route = (uint16_t)(p->route - p->remote->routes + 1);
    out->open->route_epoch = epoch;
    return tr__records_place(out->open, type, number, length);
}

/* Which it is read as, if it is small enough, and nothing has to be looked at; else NULL. */
static const tr_typeinfo *type_of(const tr__remote_peer *p, const tr__record *r)
{
    const tr_typeinfo *type = r->type < p->heard_count ? tr__heard_type_of(p, r->type) : NULL;
    return type && !type->notice && type->heads && type->size + r->length <= HANDED_MAX ? type : NULL;
}

/* The loop of whom it is for, if that is another one. */
static tr__loop *other_owner(const tr__loop *loop, const tr__record *r)
{
    tr_actor *slot = tr__slot(loop->node, r->to_slot);
    tr__loop *owner = slot ? atomic_load_explicit(&slot->owner, memory_order_acquire) : NULL;
    return owner == loop ? NULL : owner;
}

/* As it stands. */
static bool put(tr__remote_peer *p, tr__loop *owner, const tr_typeinfo *type, uint32_t number,
                const uint8_t *bytes, size_t used)
{
    uint8_t *at = place(p, owner, type, number, used);
    if (!at)
        return false;
    memcpy(at, bytes, used);
    tr__records_placed(p->remote->loop->outboxes[owner->index].open, used);
    return true;
}

/* ---- answers (E4) ---- */

/* More of them than can have been asked for, but for those that come late, and the loop doesn't take them: it is cut. */
static bool answers_too_much(tr__remote_peer *p)
{
    tr__route *route = p->route;
    if (atomic_load_explicit(&route->answering_bytes, memory_order_relaxed) < TR__ANSWERS_LATE_MAX)
        return false;
    /* First: what has come is taken off this behind the other. */
    uint64_t asking = atomic_load_explicit(&route->asking, memory_order_acquire);
    if (atomic_load_explicit(&route->answering, memory_order_relaxed) <= asking)
        return false;
    tr__remote_cut_for(p, TR_EFULL,
                       "64 MiB of its answers wait that nobody asked for, or that come too late");
    return true;
}

static void on_its_way(tr__route *route, uint32_t answers, size_t bytes)
{
    atomic_fetch_add_explicit(&route->answering, answers, memory_order_relaxed);
    atomic_fetch_add_explicit(&route->answering_bytes, bytes, memory_order_relaxed);
}

/* A small answer of one that waits elsewhere, as it stands. What is started is told of to who has the connection first. */
static bool hand_reply(tr__remote_peer *p, const tr__record *r, const uint8_t *bytes, size_t used)
{
    tr__loop *loop = p->remote->loop;
    tr__loop *owner = other_owner(loop, r);
    const tr_typeinfo *type = owner ? type_of(p, r) : NULL;
    if (!type || type == tr__type_of(&tr_spawned_type) ||
        tr__waits_find(&p->waits, TR__MSG_ASK, r->ask, r->to_slot, r->to_generation))
        return false;
    if (answers_too_much(p))
        return true;
    if (!put(p, owner, type, r->type, bytes, used))
        return false;
    tr__records_of(loop->outboxes[owner->index].open)->answers++;
    loop->counts.received++;
    return true;
}

bool tr__hand_on(tr__remote_peer *p, const tr__record *r, const uint8_t *bytes, size_t used)
{
    tr__loop *loop = p->remote->loop;
    if (r->kind == TR__WIRE_REPLY)
        return hand_reply(p, r, bytes, used);
    bool message = r->kind == TR__WIRE_NORMAL || r->kind == TR__WIRE_ASK;
    tr__loop *owner = message && tr__rights_are_free(p->rights) ? other_owner(loop, r) : NULL;
    const tr_typeinfo *type = owner ? type_of(p, r) : NULL;
    tr_addr to = {loop->node->id, r->to_slot, r->to_generation};
    uint32_t places = 1;
    if (!type || tr__reserve(loop, to, &places) != TR_OK ||
        !places) /* a full mailbox, or nobody: told of as any */
        return false;
    if (!put(p, owner, type, r->type, bytes, used)) {
        tr__unreserve(loop, to, places);
        return false;
    }
    loop->counts.received++;
    return true;
}

/* It says that there is no answer. */
static void hand_failure(tr__remote_peer *p, tr__loop *owner, const tr__record *r)
{
    tr__record short_one = *r;
    uint8_t *at;
    if (r->kind == TR__WIRE_FAILURE && r->length > TR_ERROR_TEXT_MAX)
        short_one.length = TR_ERROR_TEXT_MAX;
    at = place(p, owner, NULL, 0, TR__WIRE_HEADER_MAX + short_one.length);
    if (!at) {
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for the end of an ask");
        p->remote->loop->counts.dropped[TR_DROP_NO_MEMORY]++;
        return;
    }
    size_t head = tr__wire_put(at, &short_one);
    if (short_one.length)
        memcpy(at + head, r->body, short_one.length);
    tr_msg *open = p->remote->loop->outboxes[owner->index].open;
    tr__records_placed(open, head + short_one.length);
    tr__records_of(open)->answers++;
}

/* One that is read here: it is large, or more is to be done. */
static void hand_reply_read(tr__remote_peer *p, tr__loop *owner, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_drop why;
    tr_error error;
    tr_msg *msg = tr__remote_decode(p, r, &why, &error);
    if (!msg) {
        tr__record failure = *r;
        tr__remote_undecoded(loop, p->peer->id, p->peer->name, tr__heard_type_of(p, r->type), r, why, &error);
        failure.kind = TR__WIRE_FAILURE;
        failure.code = why == TR_DROP_NO_MEMORY ? TR_ENOMEM : TR_ETYPE;
        failure.length = 0;
        TR__COUNT(loop->counts.accepted);
        hand_failure(p, owner, &failure);
        return;
    }
    msg->kind = TR__MSG_REPLY;
    msg->sender = (tr_addr){p->peer->id, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    msg->to.slot = r->to_slot;
    msg->to.generation = r->to_generation;
    msg->routed = true;
    msg->route = (uint16_t)(p->route - p->remote->routes + 1);
    msg->route_epoch = atomic_load_explicit(&p->route->epoch, memory_order_relaxed);
    on_its_way(p->route, 1, tr__answer_cost(msg));
    tr__to_loop(loop, owner->index, msg);
}

bool tr__hand_answer(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *owner = other_owner(p->remote->loop, r);
    if (!owner)
        return false;
    if (answers_too_much(p))
        p->remote->loop->counts.dropped[TR_DROP_LATE_REPLY]++;
    else if (r->kind == TR__WIRE_REPLY)
        hand_reply_read(p, owner, r);
    else
        hand_failure(p, owner, r);
    return true;
}

void tr__hand_close(tr__loop *loop, tr__chain *out, uint8_t index)
{
    tr_msg *msg = tr__records_fit(loop, out->open);
    out->open = NULL;
    uint32_t answers = tr__records_of(msg)->answers;
    if (answers)
        on_its_way(&loop->node->remote->routes[msg->route - 1], answers, tr__records_cost(msg));
    loop->counts.passed += tr__msg_count(msg) - 1;
    tr__to_loop(loop, index, msg);
}

/* ---- the receivers' loop ------------------------------------------------------------------------------- */

static void undecoded(tr__loop *loop, uint64_t node, const tr_typeinfo *type, const tr__record *r,
                      tr_drop why, const tr_error *error)
{
    char name[17];
    snprintf(name, sizeof(name), "%016llx", (unsigned long long)node);
    tr__remote_undecoded(loop, node, name, type, r, why, error);
}

/* Its place was drawn. */
static void take_message(tr__loop *loop, uint64_t node, const tr_typeinfo *type, const tr__record *r)
{
    tr_drop why = TR_DROP_MALFORMED;
    tr_error error;
    tr_msg *msg = tr__remote_decode_small(loop, type, r, &why, &error);
    if (!msg) {
        tr__unreserve(loop, (tr_addr){loop->node->id, r->to_slot, r->to_generation}, 1);
        undecoded(loop, node, type, r, why, &error);
        return;
    }
    tr__msg_filled(msg, type);
    tr__remote_fill(loop, node, msg, r);
    msg->places = 1;
    tr__deliver(loop, msg);
}

static void take_reply(tr__loop *loop, uint64_t node, const tr_typeinfo *type, const tr__record *r,
                       tr_msg *wait)
{
    tr_drop why = TR_DROP_MALFORMED;
    tr_error error;
    tr_msg *msg = tr__remote_decode_small(loop, type, r, &why, &error);
    if (!msg) {
        undecoded(loop, node, type, r, why, &error);
        tr__fail_ask(loop, wait, node, why == TR_DROP_NO_MEMORY ? TR_ENOMEM : TR_ETYPE);
        return;
    }
    tr__msg_free(loop, wait);
    tr__msg_filled(msg, type);
    tr__remote_fill(loop, node, msg, r);
    msg->kind = TR__MSG_REPLY;
    msg->deadline_ns = 0;
    tr__deliver(loop, msg);
}

/* What isn't a message, of an ask of this loop. */
static void take_answer(tr__loop *loop, const tr_msg *records, const tr_typeinfo *type, const tr__record *r)
{
    uint64_t node = tr__records_of(records)->from_node;
    tr_msg *wait = tr__far_wait_take(loop, records, r);
    if (!wait && r->kind == TR__WIRE_MOVED) { /* given up meanwhile */
        loop->counts.handled++;
    } else if (!wait) {
        loop->counts.dropped[TR_DROP_LATE_REPLY]++;
    } else if (r->kind == TR__WIRE_REPLY) {
        take_reply(loop, node, type, r, wait);
    } else if (r->kind == TR__WIRE_MOVED) {
        loop->counts.handled++;
        tr__remote_goes_on(loop, wait, r->moved_to);
    } else {
        tr_err code = r->code > TR_OK && r->code < TR_ERR_COUNT ? (tr_err)r->code : TR_EPROTO;
        loop->counts.handled++;
        tr__remote_fail_wait(loop, node, r, wait, code, (const char *)r->body, r->length);
    }
}

void tr__handed_take(tr__loop *loop, tr_msg *msg)
{
    tr__records *records = tr__records_of(msg);
    tr__alike alike = {0};
    const tr_typeinfo *type = NULL;
    uint32_t number = UINT32_MAX;
    size_t cost = tr__records_cost(msg); /* as it was on its way */
    while (records->count) {
        const uint8_t *bytes = records->bytes + records->at;
        tr__record other;
        const tr__record *r = &alike.record;
        size_t used;
        if (!tr__alike_get(&alike, bytes, records->end - records->at, &used)) {
            tr__records_front(records, &other, &used);
            tr__alike_keep(&alike, bytes, &other);
            r = &other;
        }
        bool typed = r->kind != TR__WIRE_FAILURE && r->kind != TR__WIRE_MOVED;
        if (typed && r->type != number) {
            type = tr__records_type(records, r);
            number = r->type;
        }
        tr__records_passed(records, used);
        if (r->kind == TR__WIRE_NORMAL || r->kind == TR__WIRE_ASK)
            take_message(loop, records->from_node, type, r);
        else
            take_answer(loop, msg, type, r);
    }
    tr__far_taken(loop, msg, records->answers, cost);
    tr__msg_free(loop, msg);
}
