/* Life of actors: taking a slot, arriving at the owner, init, and the end. States and invariants: actor.h. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/buffers.h"
#include "actors/defer.h"
#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/memory.h"
#include "actors/placement.h"
#include "actors/supervision/shutdown.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

/* ---- slots --------------------------------------------------------------------------------------------- */

static bool segment_add(tr__loop *loop)
{
    tr_node *node = loop->node;
    _Static_assert(TR__SEGMENT_SLOTS * sizeof(tr_actor) == TR__HUGE, "a segment is one huge block");
    tr_actor *base = tr__huge_alloc(loop->slots_end > 0);
    if (!base)
        return false;
    uint32_t segment = atomic_fetch_add_explicit(&node->segment_count, 1, memory_order_relaxed);
    if (segment >= TR__SEGMENTS_MAX) {
        atomic_fetch_sub_explicit(&node->segment_count, 1, memory_order_relaxed);
        tr__huge_free(base);
        return false;
    }
    loop->slots_next = segment << TR__SEGMENT_BITS;
    loop->slots_end = loop->slots_next + TR__SEGMENT_SLOTS;
    /* release: who finds the segment finds it zeroed */
    atomic_store_explicit(&node->segments[segment], base, memory_order_release);
    return true;
}

tr_actor *tr__slot_take(tr__loop *loop)
{
    tr_actor *slot = loop->slots_free;
    if (slot) {
        loop->slots_free = slot->run_next;
        if (TR_PLANT(slot_reused))
            atomic_fetch_sub_explicit(&slot->generation, 1, memory_order_relaxed);
        return slot;
    }
    if (loop->slots_next == loop->slots_end && !segment_add(loop))
        return NULL;
    uint32_t index = loop->slots_next++;
    slot = tr__slot(loop->node, index);
    slot->index = index;
    slot->home = loop->index;
    atomic_store_explicit(&slot->generation, 1, memory_order_relaxed);
    return slot;
}

/* R1: the generation moves on before the slot is free; one that would wrap is never used again. */
static void slot_free(tr__loop *loop, tr_actor *slot)
{
    uint32_t generation = atomic_load_explicit(&slot->generation, memory_order_relaxed) + 1;
    tr__places_shut(&slot->places);
    /* Nobody's: a forged address of the next generation must not reach it while its home opens it again. */
    atomic_store_explicit(&slot->owner, NULL, memory_order_relaxed);
    slot->local = 0;
    slot->mail = 0;
    slot->state = TR__ACTOR_FREE;
    atomic_store_explicit(&slot->generation, generation, memory_order_relaxed);
    if (generation == 0)
        return;
    if (slot->home == loop->index) {
        slot->run_next = loop->slots_free;
        loop->slots_free = slot;
    } else {
        slot->run_next = loop->slots_home[slot->home];
        loop->slots_home[slot->home] = slot;
    }
}

tr__extras *tr__extras_of(tr__loop *loop, tr_actor *actor)
{
    (void)loop;
    if (!actor->extras) {
        actor->extras = tr__zalloc(sizeof(*actor->extras));
        if (actor->extras)
            actor->extras->want_writable_end = &actor->extras->want_writable;
    }
    return actor->extras;
}

/* ---- the beginning ------------------------------------------------------------------------------------- */

void tr__arg_free(tr__loop *loop, tr_actor *actor)
{
    if (actor->arg && actor->def->arg_type)
        tr__msg_free(loop, actor->arg);
    actor->arg = NULL;
}

bool tr__actor_arrive(tr__loop *loop, tr_actor *actor)
{
    static const tr__reason no_memory = {
        .kind = TR_EXIT_OUT_OF_MEMORY, .code = TR_ENOMEM, .text = "no memory to start it"};
    const tr_actor_def *def = actor->def;
    if (def->state_size) {
        actor->state_block = tr__pool_take(&loop->pool, tr__pool_class(def->state_size), def->state_size);
        if (!actor->state_block) {
            tr__actor_finish(loop, actor, &no_memory);
            return false;
        }
        memset(actor->state_block, 0, def->state_size);
    }
    if (__builtin_expect(def->memory_max != 0, 0) && !tr__memory_begin(loop, actor)) {
        tr__actor_finish(loop, actor, &no_memory);
        return false;
    }
    tr__wake(loop, actor);
    return true;
}

tr__reason tr__error_reason(const tr_actor *actor, tr_err code)
{
    tr__reason reason = {.kind = code == TR_OK ? TR_EXIT_NORMAL : TR_EXIT_ERROR, .code = code};
    const tr__extras *extras = actor->extras;
    if (code != TR_OK)
        snprintf(reason.text, sizeof(reason.text), "%.*s", TR__REASON_TEXT - 1,
                 extras && extras->last_error.code == code ? extras->last_error.text : tr__err_meaning(code));
    return reason;
}

/* Its init has succeeded, so its stop is due. */
static void no_stack(tr__loop *loop, tr_actor *actor)
{
    static const tr__reason reason = {
        .kind = TR_EXIT_OUT_OF_MEMORY, .code = TR_ENOMEM, .text = "no memory for its stack"};
    actor->state = TR__ACTOR_RUNNING;
    tr__actor_finish(loop, actor, &reason);
}

bool tr__actor_init(tr__loop *loop, tr_actor *actor)
{
    const tr_actor_def *def = actor->def;
    tr_err err = TR_OK;
    if (def->init) {
        loop->running = actor;
        const void *arg = actor->arg && def->arg_type ? tr__msg_body(actor->arg) : actor->arg;
        err = def->init(actor, actor->state_block, arg);
        tr__scratch_free(loop);
        loop->running = NULL;
    }
    if (err != TR_OK) {
        tr__reason reason = actor->exiting == TR__EXITING ? loop->ending : tr__error_reason(actor, err);
        tr__actor_finish(loop, actor, &reason);
        return false;
    }
    if (def->run && !actor->exiting && tr__fiber_start(loop, actor) != TR_OK) {
        no_stack(loop, actor);
        return false;
    }
    if (!def->run) {
        tr__arg_free(loop, actor);
        actor->born_ns = loop->now_ns;
    }
    actor->state = TR__ACTOR_RUNNING;
    if (actor->exiting) {
        tr__after_handler(loop, actor);
        return false;
    }
    return true;
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* What nobody will handle any more. Who waits for an answer hears it; who wants to watch hears why it ended.
 */
static void mailbox_end(tr__loop *loop, tr_actor *actor, const tr__reason *reason)
{
    tr_addr self = tr__addr_of(actor);
    while (actor->head) {
        tr_msg *msg = actor->head;
        actor->head = msg->next;
        actor->count--;
        switch ((tr__msg_kind)msg->kind) {
        case TR__MSG_MONITOR:
            TR__COUNT(loop->counts.handled);
            tr__watch_fire(loop, msg, self, reason);
            break;
        case TR__MSG_LINK:
            TR__COUNT(loop->counts.handled);
            if (TR_PLANT(link_early))
                tr__msg_free(loop, msg);
            else
                tr__link_fire(loop, msg, self, reason, 0);
            break;
        case TR__MSG_STARTED:
            TR__COUNT(loop->counts.handled);
            tr__started_failed(loop, msg, reason);
            break;
        default:
            tr__drop(loop, msg, loop->stopping ? TR_DROP_SHUTDOWN : TR_DROP_LEFT);
        }
    }
    actor->tail = NULL;
}

/* What it owned. */
static void extras_release(tr__loop *loop, tr_actor *actor)
{
    tr__extras *extras = actor->extras;
    while (extras->kept) {
        tr_msg *msg = extras->kept;
        tr_msg_free(actor, &msg);
    }
    tr__memory_end(extras);
    if (extras->buffers)
        tr__buffers_end(extras);
    tr__fullness_end(loop, actor);
    if (extras->watches_dead_letters)
        tr__dead_letters_unwatch(actor);
    while (extras->monitors) {
        struct tr__own_monitor *monitor = extras->monitors;
        extras->monitors = monitor->next;
        tr__free(monitor);
    }
}

static void extras_free(tr_actor *actor)
{
    tr__free(actor->extras->reason);
    tr__free(actor->extras);
    actor->extras = NULL;
}

/* Off the run queue. One that ends was queued again at most by its last handler, so it stands near the top. */
static void unqueue(tr__loop *loop, tr_actor *actor)
{
    tr_actor **at;
    for (at = &loop->fresh; *at; at = &(*at)->run_next)
        if (*at == actor) {
            *at = actor->run_next;
            actor->queued = false;
            return;
        }
    for (at = &loop->queue; *at; at = &(*at)->run_next)
        if (*at == actor) {
            *at = actor->run_next;
            if (!*at)
                loop->queue_end = at;
            break;
        }
    actor->queued = false;
}

/* No other actor's code runs meanwhile: a kill waits for the victim's turn. */
static void call_stop(tr__loop *loop, tr_actor *actor)
{
    loop->running = actor;
    actor->def->stop(actor, actor->state_block);
    tr__scratch_free(loop);
    if (loop->answer) {
        tr__release(loop, loop->answer);
        loop->answer = NULL;
    }
    loop->running = NULL;
}

/* What it owned is released before those hear who watch it. */
void tr__actor_finish(tr__loop *loop, tr_actor *actor, const tr__reason *reason)
{
    bool ran = actor->state == TR__ACTOR_RUNNING;
    actor->state = TR__ACTOR_STOPPING;
    if (actor->fiber)
        tr__fiber_finish(loop, actor);
    tr__undefer(actor);
    if (ran && actor->def->left)
        tr__left(loop, actor);
    if (ran && actor->def->stop)
        call_stop(loop, actor);
    if (actor->pendings)
        tr__pendings_end(loop, actor);
    if (!ran || actor->def->run)
        tr__arg_free(loop, actor);
    if (actor->state_block) {
        tr__pool_give(&loop->pool, actor->state_block, tr__pool_class(actor->def->state_size));
        actor->state_block = NULL;
    }
    if (actor->queued && !loop->stopping) /* the queues of a loop that stops are never looked at */
        unqueue(loop, actor);
    if (actor->named && !TR_PLANT(name_left))
        tr__names_drop(loop->node, tr__addr_of(actor));
    if (actor->extras)
        extras_release(loop, actor);
    if (actor->head)
        mailbox_end(loop, actor, reason);
    if (actor->extras) {
        tr__relations_end(loop, actor, reason);
        extras_free(actor);
    }
    uint8_t traits = actor->traits;
    slot_free(loop, actor);
    if (__builtin_expect(loop->exclusive, 0))
        tr__loop_vacate(loop);
    if (__builtin_expect(traits & (TR__AWAITED | TR__STOP_ASKED), 0))
        tr__shutdown_ended(loop, traits);
}
