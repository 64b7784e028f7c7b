/* Delivery: from a sender's call to the receiver's mailbox. The sending loop's thread reserves (places.c) and routes;
 * the owner's thread delivers. What can't be delivered goes through tr__drop() (dead_letters.c).
 *
 * Sums, per loop: accepted + arrived + received == handled + dropped + queued + passed + sent
 * (troupe/node.h). */
#include <stdio.h>
#include <string.h>

#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/futures/waiting.h"
#include "actors/loop.h"
#include "actors/operator/meter.h"
#include "actors/remote/records.h"
#include "actors/remote/remote.h"
#include "actors/supervision/shutdown.h"
#include "actors/transactions.h"
#include "base/mem.h"

/* ---- blocks -------------------------------------------------------------------------------------------- */

static bool is_stream(const tr_msg *msg)
{
    return msg->kind == TR__MSG_ASK && msg->flags & TR__MSG_STREAM;
}

void tr__msg_free(tr__loop *loop, tr_msg *msg)
{
    if (msg->home == loop->index) {
        tr__pool_give(&loop->pool, msg, msg->size_class);
    } else if (msg->home & TR__HOME_HOLDS) {
        if (is_stream(msg))
            tr__outflow_end(loop, msg);
        tr__msg_let_go(msg);
        tr__msg_free(loop, msg);
    } else if (msg->home == TR__HOME_NONE) {
        tr__buffers_refund(loop->node->buffers, msg->size);
        tr__large_free(msg);
    } else {
#ifdef TR_PLAIN_POOLS
        tr__free(msg);
#else
        tr__block *block = (tr__block *)msg; /* `next` is the first field of both */
        block->next = loop->blocks_home[msg->home];
        loop->blocks_home[msg->home] = block;
#endif
    }
}

/* Make the block of an unanswered ask its own failure, and send it back: costs no allocation, so can't fail
 * (M2). */
void tr__fail_ask(tr__loop *loop, tr_msg *ask, uint64_t callee_node, tr_err code)
{
    tr_addr asker = ask->sender;
    if (ask->home & TR__HOME_HOLDS) {
        if (is_stream(ask))
            tr__outflow_end(loop, ask);
        tr__msg_let_go(ask);
    }
    if (ask->home == TR__HOME_NONE) /* the block stays as it is, but for that it has no body */
        tr__buffers_refund(loop->node->buffers, ask->size);
    ask->sender = (tr_addr){callee_node, ask->to.slot, ask->to.generation};
    ask->kind = TR__MSG_FAILURE;
    ask->flags &= TR__MSG_STREAM;
    ask->error = (uint8_t)code;
    ask->places = 0;
    ask->size = 0;
    tr__submit(loop, asker, ask);
}

void tr__started_failed(tr__loop *loop, tr_msg *msg, const tr__reason *reason)
{
    tr_addr asker = msg->sender;
    tr__failure *failure = tr__msg_body(msg);
    char *text = (char *)(failure + 1);
    snprintf(text, TR__REASON_TEXT, "%s", reason->text);
    *failure = (tr__failure){.code = reason->code ? reason->code : TR_ENOACTOR, .text = text};
    msg->kind = TR__MSG_FAILURE;
    msg->error = (uint8_t)failure->code;
    msg->size = TR__FAILURE_ROOM;
    tr__msg_filled(msg, tr__type_of(&tr__failure_type));
    tr__submit(loop, asker, msg);
}

static void fail_unanswered(tr__loop *loop, tr_msg *ask)
{
    tr_err why = is_stream(ask) ? tr__outflow_error(loop, ask) : (tr_err)ask->error;
    tr__fail_ask(loop, ask, loop->node->id, why ? why : TR_ENOACTOR);
}

void tr__release_slow(tr__loop *loop, tr_msg *msg)
{
    if (msg->kind == TR__MSG_ASK && !(msg->flags & TR__MSG_ANSWERED) && !loop->stopping)
        fail_unanswered(loop, msg);
    else if (msg->kind == TR__MSG_ITEM)
        tr__item_released(loop, msg);
    else
        tr__msg_free(loop, msg);
}

/* ---- routes -------------------------------------------------------------------------------------------- */

static void deliver(tr__loop *loop, tr_actor *actor, tr_msg *msg);

void tr__pass(tr__loop *loop, tr_addr to, tr_msg *msg)
{
    msg->to.slot = to.slot;
    msg->to.generation = to.generation;
    if (__builtin_expect(to.node != loop->node->id, 0)) {
        tr__remote_route(loop, to.node, msg);
        return;
    }
    tr_actor *slot = tr__slot(loop->node, to.slot);
    tr__loop *owner = slot ? atomic_load_explicit(&slot->owner, memory_order_acquire) : loop;
    if (owner == loop || !owner) {
        deliver(loop, slot, msg);
        return;
    }
    tr__to_loop(loop, owner->index, msg);
}

void tr__to_loop(tr__loop *loop, uint8_t index, tr_msg *msg)
{
    tr__chain *out = &loop->outboxes[index];
    if (__builtin_expect(out->open != NULL, 0))
        tr__hand_close(loop, out, index);
    TR__COUNT(loop->counts.passed);
    msg->next = out->head;
    if (!out->head)
        out->tail = msg;
    out->head = msg;
}

void tr__submit(tr__loop *loop, tr_addr to, tr_msg *msg)
{
    TR__COUNT(loop->counts.accepted);
    tr__pass(loop, to, msg);
}

static void spawn_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    TR__COUNT(loop->counts.handled);
    tr__msg_free(loop, msg);
    tr__actor_arrive(loop, actor);
}

static void kill_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (tr__is_guarded(actor, msg)) {
        tr__drop(loop, msg, TR_DROP_REFUSED);
        return;
    }
    TR__COUNT(loop->counts.handled);
    tr__msg_free(loop, msg);
    tr__kill(loop, actor);
}

/* It is in the mailbox when the asker hears of it: what that sends then is behind it. A stream whose asker can't hear of it
 * fails: given up it would find nobody, and its callee would wait for demand. */
static void forward_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr_addr asker = msg->sender;
    tr_msg *moved = tr__moved_of(loop, msg, tr__addr_of(actor), msg->hops);
    if (!moved && msg->flags & TR__MSG_STREAM) {
        tr__places_back(loop, actor, msg->places);
        tr__drop(loop, msg, TR_DROP_NO_MEMORY);
        return;
    }
    msg->kind = TR__MSG_ASK;
    tr__enqueue(loop, actor, msg);
    if (moved)
        tr__submit(loop, asker, moved);
}

void tr__arrive(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_SPAWN:
        spawn_arrived(loop, actor, msg);
        return;
    case TR__MSG_KILL:
        kill_arrived(loop, actor, msg);
        return;
    case TR__MSG_CANCEL:
        tr__cancel_arrived(loop, actor, msg);
        return;
    case TR__MSG_WANT_WRITABLE:
        tr__want_writable_arrived(loop, actor, msg);
        return;
    case TR__MSG_WANT_LEVEL:
        tr__level_arrived(loop, actor, msg);
        return;
    case TR__MSG_MOVED:
        TR__COUNT(loop->counts.handled);
        tr__moved_arrived(loop, actor, msg);
        return;
    case TR__MSG_PROBE:
        tr__probe_arrived(loop, actor, msg);
        return;
    case TR__MSG_CYCLE:
        tr__cycle_arrived(loop, actor, msg);
        return;
    case TR__MSG_FORWARD:
        forward_arrived(loop, actor, msg);
        return;
    case TR__MSG_DEMAND:
        tr__demand_arrived(loop, actor, msg);
        return;
    default:
        break;
    }
    if (actor->fiber && msg->kind >= TR__MSG_REPLY) {
        /* A fiber may be waiting for long: what is for its futures or for the runtime doesn't queue behind its mail. */
        if (__builtin_expect(loop->taps != NULL, 0))
            tr__taps_see(loop, actor, msg);
        tr__runtime_message(loop, actor, msg);
        return;
    }
    tr__enqueue(loop, actor, msg);
    if (__builtin_expect(actor->traits & TR__MIGRATING, 0)) /* whatever else it keeps until its init */
        tr__wake(loop, actor);
}

/* Its receiver has ended. When the node stops actors end before others that still send to them: no address was wrong. */
static tr_drop why_nobody(const tr__loop *loop, const tr_msg *msg)
{
    if (msg->kind == TR__MSG_REPLY || msg->kind == TR__MSG_FAILURE || msg->kind == TR__MSG_ITEM)
        return TR_DROP_LATE_REPLY;
    return tr__is_stopping(loop->node) || loop->stopping ? TR_DROP_SHUTDOWN : TR_DROP_NO_ACTOR;
}

void tr__drop_nobodys(tr__loop *loop, tr_msg *msg)
{
    tr__drop(loop, msg, why_nobody(loop, msg));
}

/* `actor` is the slot that the message names, or NULL. */
static inline bool is_for(const tr__loop *loop, const tr_actor *actor, const tr_msg *msg)
{
    return __builtin_expect(actor && tr__is_owner(loop, actor) &&
                                tr__is_generation(actor, msg->to.generation) && tr__takes_mail(actor),
                            1);
}

static void deliver(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (is_for(loop, actor, msg))
        tr__arrive(loop, actor, msg);
    else
        tr__drop(loop, msg, why_nobody(loop, msg));
}

void tr__deliver(tr__loop *loop, tr_msg *msg)
{
    tr_actor *actor;
    if (__builtin_expect(msg->routed, 0)) {
        tr__remote_arrived(loop, msg);
    } else if (!is_for(loop, actor = tr__slot(loop->node, msg->to.slot), msg)) {
        tr__drop(loop, msg, why_nobody(loop, msg));
    } else if (__builtin_expect(actor->mail == 0, 1) || tr__mail_arrives(loop, actor, msg)) {
        tr__arrive(loop, actor, msg);
    }
}
