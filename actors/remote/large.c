/* A large message to one peer becomes a unit of its bulk lane (transport/bulk.h): what is small in it is encoded, what is
 * large is sent from where it is, in the message's block or in a buffer. Loop 0 only, but for release().
 *
 * Whose block goes along is freed when its last chunk was sent, on whatever thread that is: so only a block that any
 * thread may free, and never an ask's, which waits here for its answer. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/check.h"
#include "base/mem.h"

static void release(tr__unit *unit)
{
    tr_msg *msg = unit->owner;
    for (int i = 0; i < TR__UNIT_HELD; i++)
        tr__buffer_drop(unit->held[i]);
    if (!msg)
        return;
    if (msg->home & TR__HOME_HOLDS)
        tr__msg_let_go(msg);
    tr__buffers_refund(unit->account, msg->size);
    tr__large_free(msg);
}

static bool may_go_along(const tr_msg *msg)
{
    return (msg->home & ~TR__HOME_HOLDS) == TR__HOME_NONE && msg->kind != TR__MSG_ASK &&
           !(msg->flags & TR__MSG_CONVERTED);
}

static void add_piece(tr__unit *unit, const void *bytes, size_t length)
{
    if (length)
        unit->pieces[unit->piece_count++] = (tr__iov){bytes, length};
}

/* What was written from `from` to `end`, with the holes where they belong. */
static void set_pieces(tr__unit *unit, const uint8_t *from, const uint8_t *body, size_t used,
                       const tr__hole *holes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        add_piece(unit, from, (size_t)(body + holes[i].at - from));
        add_piece(unit, holes[i].data, holes[i].size);
        from = body + holes[i].at;
    }
    add_piece(unit, from, (size_t)(body + used - from));
}

/* Whether the block goes along; buffers are held for the unit, whatever becomes of the block. */
static bool take_along(tr__remote_peer *p, tr__unit *unit, tr_msg *msg, const tr__hole *holes, uint32_t count)
{
    unit->release = release;
    for (uint32_t i = 0; i < count; i++) {
        unit->held[i] = holes[i].buffer;
        if (holes[i].buffer)
            tr__buffer_hold(holes[i].buffer);
        else
            unit->owner = msg;
    }
    unit->account = p->remote->loop->node->buffers;
    return unit->owner != NULL;
}

/* Nothing of it is sent: what it would have owned stays the caller's. */
static void undo(tr__unit *unit)
{
    unit->owner = NULL;
    tr__unit_free(unit);
}

tr_err tr__remote_put_large(tr__remote_peer *p, tr__record *record, tr_msg *msg, size_t bound)
{
    tr__endpoint *endpoint = p->remote->endpoint;
    const void *body = tr__msg_body(msg);
    tr__hole holes[TR__UNIT_HELD];
    if (TR__WIRE_HEADER_MAX + bound > p->peer->message_max)
        return TR_ETOOBIG;
    tr_err err = tr__endpoint_bulk_may(endpoint, p->peer, TR__WIRE_HEADER_MAX + bound);
    p->bulk_refused = err == TR_EAGAIN;
    tr__pair *pair =
        err == TR_OK ? tr__pairs_make(&p->pairs, record, tr__endpoint_bulk_taken(p->peer)) : NULL;
    if (!pair)
        return err == TR_OK ? TR_ENOMEM : err;
    uint32_t count = tr__cbor_holes(msg->type, body, may_go_along(msg), holes, TR__UNIT_HELD);
    size_t elsewhere = 0;
    for (uint32_t i = 0; i < count; i++)
        elsewhere += holes[i].size;
    tr__unit *unit = tr__unit_make(TR__WIRE_HEADER_MAX + bound - elsewhere);
    if (!unit)
        return TR_ENOMEM;
    uint8_t head[TR__WIRE_HEADER_MAX], *at = unit->bytes + TR__WIRE_HEADER_MAX;
    size_t used = tr__cbor_encode_around(msg->type, body, at, bound - elsewhere, holes, count);
    tr__check(used > 0, "a %s is larger than its bound", msg->type->name);
    record->length = used + elsewhere;
    size_t head_size = tr__wire_put(head, record);
    memcpy(at - head_size, head, head_size);
    set_pieces(unit, at - head_size, at, used, holes, count);
    bool along = take_along(p, unit, msg, holes, count);
    if (along)
        p->gone = *msg;
    err = tr__endpoint_bulk_put(endpoint, p->peer, unit);
    if (err != TR_OK) {
        undo(unit);
        return err;
    }
    p->went_along = along;
    tr__pair_sent(pair, tr__endpoint_bulk_last(p->peer));
    return TR_OK;
}

/* ---- what doesn't find room ---------------------------------------------------------------------------- */

void tr__remote_hold_behind(tr__remote_peer *p, tr_msg *msg, tr__pair *pair)
{
    tr__pair_hold(pair, 1);
    msg->next = NULL;
    *p->bulk_held_end = msg;
    p->bulk_held_end = &msg->next;
    p->bulk_held_count++;
    atomic_store_explicit(&p->route->bulk_blocked, true, memory_order_relaxed);
    if (p->bulk_held_count >= TR__BULK_HELD_MAX)
        atomic_store_explicit(&p->route->blocked, true, memory_order_relaxed);
    if (p->bulk_held_count >= TR__HELD_MAX)
        tr__remote_held_too_many(p);
}

bool tr__remote_hold_bulk(tr__remote_peer *p, tr_msg *msg, const tr__record *record)
{
    tr__pair *pair = tr__pairs_make(&p->pairs, record, tr__endpoint_bulk_taken(p->peer));
    if (pair)
        tr__remote_hold_behind(p, msg, pair);
    return pair != NULL;
}

/* Who answers isn't held back, as who sends is: an ask asked for it. So what is held of large answers is bounded here, and what
 * is beyond that is a failure. */
size_t tr__answer_weight(const tr_msg *msg)
{
    if (msg->kind != TR__MSG_REPLY ||
        (msg->size <= TR__LARGE_MIN / 16 && !tr__type_is(msg->type, TR__TYPE_BUFFERS)))
        return 0;
    size_t bound = tr__cbor_bound(msg->type, tr__msg_body(msg));
    return TR__WIRE_HEADER_MAX + bound > TR__LARGE_MIN ? bound : 0;
}

tr_msg *tr__answer_admit(tr__remote_peer *p, tr_msg *msg)
{
    tr__loop *loop = p->remote->loop;
    size_t weight = tr__answer_weight(msg);
    if (!weight || !p->answers_held || p->answers_held + weight <= TR__ANSWERS_HELD_MAX) {
        p->answers_held += weight;
        return msg;
    }
    tr_msg *failure = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr__failure));
    if (!failure) {
        tr__remote_cut(p, &(tr_error){TR_ENOMEM, "no memory for what it must hear"});
        tr__drop_for(loop, p->peer->id, msg, TR_DROP_NO_MEMORY);
        return NULL;
    }
    failure->kind = TR__MSG_FAILURE;
    failure->error = TR_EFULL;
    tr__msg_filled(failure, tr__type_of(&tr__failure_type));
    failure->flags |= msg->flags & TR__MSG_STREAM;
    failure->sender = msg->sender;
    failure->to = msg->to;
    failure->ask = msg->ask;
    *(tr__failure *)tr__msg_body(failure) = (tr__failure){
        .code = TR_EFULL, .text = "64 MiB of answers wait for the connection that this one needs"};
    tr__msg_free(loop, msg);
    return failure;
}

/* ---- what comes ---------------------------------------------------------------------------------------- */

void tr__remote_take_bulk(tr__remote_peer *p, uint8_t *block, const uint8_t *bytes, size_t length)
{
    p->block = block;
    p->block_size = block ? (size_t)(bytes - block) + length : 0;
    tr__remote_take_batch(p, bytes, length);
    tr__large_free(p->block);
    p->block = NULL;
}
