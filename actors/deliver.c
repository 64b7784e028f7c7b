/* Delivery: from a sender's call to the receiver's mailbox. The sending loop's thread reserves and routes;
 * the owner's thread delivers. What can't be delivered goes through tr__drop(), the one place where a message
 * is lost: it counts, reports, and answers who waits.
 *
 * Sums, per loop: accepted + arrived + received == handled + dropped + queued + passed + sent
 * (troupe/node.h). */
#include <stdio.h>
#include <string.h>

#include "actors/loop.h"
#include "actors/pending.h"
#include "actors/remote.h"
#include "actors/transactions.h"
#include "base/buggify.h"
#include "base/mem.h"
#include "base/plant.h"

/* ---- blocks -------------------------------------------------------------------------------------------- */

void tr__msg_free(tr__loop *loop, tr_msg *msg)
{
    if (msg->home == loop->index) {
        tr__pool_give(&loop->pool, msg, msg->size_class);
    } else if (msg->home & TR__HOME_HOLDS) {
        tr__msg_let_go(msg);
        tr__msg_free(loop, msg);
    } else if (msg->home == TR__HOME_NONE || msg->size_class == TR__CLASS_LARGE) {
        tr__free(msg);
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
    if (ask->home & TR__HOME_HOLDS)
        tr__msg_let_go(ask);
    ask->sender = (tr_addr){callee_node, ask->to.slot, ask->to.generation};
    ask->kind = TR__MSG_FAILURE;
    ask->flags = 0;
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

void tr__release_slow(tr__loop *loop, tr_msg *msg)
{
    if (msg->kind == TR__MSG_ASK && !(msg->flags & TR__MSG_ANSWERED) && !loop->stopping)
        tr__fail_ask(loop, msg, loop->node->id, msg->error ? (tr_err)msg->error : TR_ENOACTOR);
    else
        tr__msg_free(loop, msg);
}

/* ---- what can't be delivered --------------------------------------------------------------------------- */

static const char *const drop_words[TR_DROP_COUNT] = {
#define TR__WORD(name, word) word,
    TR_DROPS(TR__WORD)
#undef TR__WORD
};

static tr_err drop_error(tr_drop why)
{
    switch (why) {
    case TR_DROP_FULL:
        return TR_EFULL;
    case TR_DROP_NO_CONNECTION:
        return TR_ENOCONN;
    case TR_DROP_CANCELED:
        return TR_ECANCELED;
    case TR_DROP_UNKNOWN_TYPE:
        return TR_ETYPE;
    case TR_DROP_MALFORMED:
        return TR_EPROTO;
    case TR_DROP_NO_MEMORY:
        return TR_ENOMEM;
    default:
        return TR_ENOACTOR;
    }
}

/* At most one line a second and loop; the others are counted into the next line. */
static void report(tr__loop *loop, const tr_msg *msg, tr_drop why)
{
    if (loop->now_ns - loop->dead_letters_logged_ns < TR_SECONDS(1) && loop->dead_letters_logged_ns) {
        loop->dead_letters_silent++;
        return;
    }
    loop->dead_letters_logged_ns = loop->now_ns;
    tr__node_log(loop->node, TR_LOG_DEBUG,
                 "dead letter (%s): %s for slot %u.%u (%llu more since the last line)", drop_words[why],
                 msg->type ? msg->type->name : "a signal", msg->to.slot, msg->to.generation,
                 (unsigned long long)loop->dead_letters_silent);
    loop->dead_letters_silent = 0;
}

void tr__drop(tr__loop *loop, tr_msg *msg, tr_drop why)
{
    tr__drop_for(loop, loop->node->id, msg, why);
}

void tr__drop_for(tr__loop *loop, uint64_t node, tr_msg *msg, tr_drop why)
{
    loop->counts.dropped[why] += !(TR_PLANT(dead_letter_uncounted) && why == TR_DROP_NO_ACTOR);
    report(loop, msg, why);
    if (loop->stopping && why == TR_DROP_SHUTDOWN) { /* all others end as well: nobody is left to tell */
        tr__msg_free(loop, msg);
        return;
    }
    tr_addr target = {node, msg->to.slot, msg->to.generation};
    tr__reason reason = {.kind = why == TR_DROP_NO_CONNECTION ? TR_EXIT_NO_CONNECTION : TR_EXIT_NO_ACTOR,
                         .code = drop_error(why)};
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_ASK:
        if (loop->stopping || (msg->flags & TR__MSG_ANSWERED))
            tr__msg_free(loop, msg);
        else
            tr__fail_ask(loop, msg, node, reason.code);
        break;
    case TR__MSG_STARTED:
        tr__started_failed(loop, msg, &reason);
        break;
    case TR__MSG_EXECUTE:
        if (loop->stopping)
            tr__msg_free(loop, msg);
        else
            tr__transact_lost(loop, msg);
        break;
    case TR__MSG_MONITOR:
        if (TR_PLANT(monitor_late))
            tr__msg_free(loop, msg);
        else
            tr__watch_fire(loop, msg, target, &reason);
        break;
    case TR__MSG_LINK:
        tr__link_fire(loop, msg, target, &reason);
        break;
    case TR__MSG_WANT_WRITABLE: /* whoever waits may try again, and learn */
        msg->kind = TR__MSG_NOTICE;
        tr__submit(loop, msg->sender, msg);
        break;
    default:
        tr__msg_free(loop, msg);
    }
}

/* ---- places -------------------------------------------------------------------------------------------- */

/* The owner's loop draws in chunks, so that most local sends touch no atomic; it keeps at most a quarter
 * while idle, and of a mailbox of less than four places nothing. */
static uint32_t local_chunk(const tr_actor *actor)
{
    uint32_t chunk = TR_BUGGIFY(draw_few) ? 1 : actor->capacity / 8;
    return chunk < 1 ? 1 : chunk;
}

static tr_err reserve_local(tr_actor *actor, uint32_t generation, uint32_t places)
{
    if (__builtin_expect(actor->local >= places, 1)) {
        actor->local -= places;
        return TR_OK;
    }
    bool stale;
    uint32_t missing = places - actor->local, want = local_chunk(actor);
    uint32_t got =
        tr__places_draw(&actor->places, generation, missing, want > missing ? want : missing, &stale);
    if (!got)
        return TR_EFULL;
    actor->local += got - places;
    return TR_OK;
}

static tr__hold *hold_of(tr__loop *loop, tr_actor *slot, uint32_t generation)
{
    tr__hold *hold = &loop->holds[slot->index % TR__HOLD_SLOTS];
    if (hold->slot != slot || hold->generation != generation) {
        if (hold->slot && hold->places)
            tr__places_give(&hold->slot->places, hold->generation, hold->places);
        if (!hold->slot)
            loop->holds_used++;
        *hold = (tr__hold){.slot = slot, .generation = generation};
    }
    return hold;
}

static uint32_t remote_chunk(const tr__loop *loop, const tr_actor *slot)
{
    uint32_t chunk = TR_BUGGIFY(draw_few) ? 1 : tr__capacity(slot) / (4 * loop->node->loop_count);
    return chunk < 1 ? 1 : chunk > 32 ? 32 : chunk;
}

tr_err tr__reserve(tr__loop *loop, tr_addr to, uint32_t *places)
{
    tr_actor *slot = tr__slot(loop->node, to.slot);
    tr__loop *owner = slot ? atomic_load_explicit(&slot->owner, memory_order_acquire) : NULL;
    if (!owner || atomic_load_explicit(&slot->generation, memory_order_relaxed) != to.generation) {
        *places = 0;
        return TR_OK;
    }
    uint32_t capacity = tr__capacity(slot);
    if (*places > capacity)
        *places = capacity;
    if (owner == loop)
        return reserve_local(slot, to.generation, *places);
    tr__hold *hold = hold_of(loop, slot, to.generation);
    if (hold->places < *places) {
        bool stale;
        uint32_t missing = *places - hold->places, want = remote_chunk(loop, slot);
        uint32_t got =
            tr__places_draw(&slot->places, to.generation, missing, want > missing ? want : missing, &stale);
        if (stale) {
            *places = 0;
            return TR_OK;
        }
        if (!got)
            return TR_EFULL;
        hold->places += got;
    }
    hold->places -= *places;
    return TR_OK;
}

void tr__unreserve(tr__loop *loop, tr_addr to, uint32_t places)
{
    tr_actor *slot = places ? tr__slot(loop->node, to.slot) : NULL;
    if (slot)
        tr__places_give(&slot->places, to.generation, places);
}

void tr__holds_return(tr__loop *loop)
{
    if (!loop->holds_used)
        return;
    for (uint32_t i = 0; i < TR__HOLD_SLOTS; i++) {
        tr__hold *hold = &loop->holds[i];
        if (hold->slot && hold->places)
            tr__places_give(&hold->slot->places, hold->generation, hold->places);
        hold->slot = NULL;
    }
    loop->holds_used = 0;
}

static void tell_writable(tr__loop *loop, tr_actor *actor);

void tr__places_back_slow(tr__loop *loop, tr_actor *actor)
{
    uint32_t keep = actor->capacity / 4;
    if (actor->local > keep) {
        tr__places_give(&actor->places, atomic_load_explicit(&actor->generation, memory_order_relaxed),
                        actor->local - keep / 2);
        actor->local = keep / 2;
    }
    tell_writable(loop, actor);
}

/* In a list by extras, off the run queue: whoever is told in the same turn runs last in, first out. */
static void retell_next_turn(tr__loop *loop, tr_actor *actor)
{
    if (actor->extras->retelling)
        return;
    actor->extras->retelling = true;
    actor->extras->retell_next = loop->retell;
    loop->retell = actor;
}

void tr__retell(tr__loop *loop)
{
    tr_actor *actor = loop->retell;
    loop->retell = NULL;
    while (actor) {
        tr_actor *next = actor->extras->retell_next;
        actor->extras->retelling = false;
        tell_writable(loop, actor);
        actor = next;
    }
}

void tr__retell_forget(tr__loop *loop, tr_actor *actor)
{
    for (tr_actor **at = &loop->retell; *at; at = &(*at)->extras->retell_next)
        if (*at == actor) {
            *at = actor->extras->retell_next;
            return;
        }
}

/* From a quarter free, at most free/32 (at least one) at a time: the woken ones find room, and not all at
 * once. */
static void tell_writable(tr__loop *loop, tr_actor *actor)
{
    tr__extras *extras = actor->extras;
    if (!extras || !extras->want_writable)
        return;
    if (actor->local) { /* who waits may be on another loop, and need them all */
        tr__places_give(&actor->places, atomic_load_explicit(&actor->generation, memory_order_relaxed),
                        actor->local);
        actor->local = 0;
    }
    uint32_t free = tr__places_free(&actor->places);
    /* With an empty mailbox what is missing is in other loops' hands and comes back unannounced: let them
     * try. */
    if (free < (actor->capacity + 3) / 4 && actor->count)
        return;
    uint32_t most = TR_BUGGIFY(tell_one) ? 1 : free / 32;
    for (uint32_t left = most ? most : 1; left && extras->want_writable; left--) {
        tr_msg *msg = extras->want_writable;
        extras->want_writable = msg->next;
        if (!msg->next)
            extras->want_writable_end = &extras->want_writable;
        msg->kind = TR__MSG_NOTICE;
        tr__submit(loop, msg->sender, msg);
    }
    /* Who was told may be gone, or have nothing to send any more: then no message comes whose handling tells
     * the next. So while its mailbox is empty and somebody waits, each turn tells more. */
    if (extras->want_writable && actor->count == 0)
        retell_next_turn(loop, actor);
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
    loop->counts.passed++;
    msg->next = out->head;
    if (!out->head)
        out->tail = msg;
    out->head = msg;
}

void tr__submit(tr__loop *loop, tr_addr to, tr_msg *msg)
{
    loop->counts.accepted++;
    tr__pass(loop, to, msg);
}

static void want_writable_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr__extras *extras = tr__extras_of(loop, actor);
    if (!extras) {
        tr__drop(loop, msg, TR_DROP_NO_MEMORY); /* tells the sender to try again */
        return;
    }
    loop->counts.handled++;
    msg->next = NULL;
    *extras->want_writable_end = msg;
    extras->want_writable_end = &msg->next;
    tell_writable(loop, actor);
}

static void spawn_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    loop->counts.handled++;
    tr__msg_free(loop, msg);
    tr__actor_arrive(loop, actor);
}

static void kill_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    loop->counts.handled++;
    tr__msg_free(loop, msg);
    tr__kill(loop, actor);
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
        want_writable_arrived(loop, actor, msg);
        return;
    default:
        break;
    }
    if (actor->fiber && msg->kind >= TR__MSG_REPLY) {
        /* A fiber may be waiting for long: what is for its futures or for the runtime doesn't queue behind its mail. */
        tr__runtime_message(loop, actor, msg);
        return;
    }
    tr__enqueue(loop, actor, msg);
}

/* Its receiver has ended. When the node stops, what the runtime tells an actor that ended before is told of the end
 * itself: no address was wrong. */
static tr_drop why_nobody(const tr__loop *loop, const tr_msg *msg)
{
    if (msg->kind == TR__MSG_REPLY || msg->kind == TR__MSG_FAILURE)
        return TR_DROP_LATE_REPLY;
    return msg->kind == TR__MSG_NOTICE && loop->stopping ? TR_DROP_SHUTDOWN : TR_DROP_NO_ACTOR;
}

/* `actor` is the slot that the message names, or NULL. */
static void deliver(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (__builtin_expect(actor && tr__is_owner(loop, actor) && tr__is_generation(actor, msg->to.generation) &&
                             tr__takes_mail(actor),
                         1))
        tr__arrive(loop, actor, msg);
    else
        tr__drop(loop, msg, why_nobody(loop, msg));
}

void tr__deliver(tr__loop *loop, tr_msg *msg)
{
    if (__builtin_expect(msg->route != 0, 0))
        tr__remote_send(loop, msg);
    else
        deliver(loop, tr__slot(loop->node, msg->to.slot), msg);
}
