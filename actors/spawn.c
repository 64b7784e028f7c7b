/* Spawning: the address is known at once, whatever loop the child will live on. The spawning loop takes the
 * slot from its own table and opens it (generation, places, state COMING, then the owner) before the address
 * leaves; a child of another loop goes there as a SPAWN message, in order with what is sent to it afterwards.
 */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/placement.h"
#include "actors/remote/remote.h"
#include "actors/send.h"
#include "actors/transactions.h"
#include "base/err.h"
#include "base/plant.h"

/* The argument as the child will get it: the pointer, or a copy in a block. */
static tr_err take_arg(tr__loop *loop, const tr_actor_def *def, const void *arg, void **taken,
                       tr_error *error)
{
    *taken = (void *)arg;
    if (!def->arg_type || !arg)
        return TR_OK;
    const tr_typeinfo *info = tr__type_of(def->arg_type);
    bool flat = tr__is_flat(info);
    size_t size = flat ? info->size : info ? tr__body_size(info, arg) : 0;
    if (size == SIZE_MAX)
        return tr__fail(error, TR_ETOOBIG, "the arguments of %s have more than %zu bytes", def->name,
                        TR__BODY_MAX);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, size) : NULL;
    if (__builtin_expect(!msg, 0))
        return tr__fail(error, TR_ENOMEM, "no memory for the arguments of %s", def->name);
    tr__msg_filled(msg, info);
    if (flat)
        tr__copy_flat(tr__msg_body(msg), arg, size);
    else
        tr__body_copy(info, tr__msg_body(msg), arg);
    *taken = msg;
    return TR_OK;
}

/* An actor that stays here begins with a hand of its places drawn, so its first messages touch no atomic. */
static void open_mailbox(tr_actor *slot, const tr_actor_def *def, bool here, const tr_spawn_opts *opts)
{
    uint32_t places = opts && opts->mailbox_places ? opts->mailbox_places : def->mailbox_places;
    tr_overflow overflow = opts && opts->overflow ? opts->overflow : def->overflow;
    uint32_t capacity = places ? places : TR__PLACES_DEFAULT;
    if (capacity > UINT16_MAX)
        capacity = UINT16_MAX;
    if (!overflow)
        overflow = TR_OVERFLOW_REFUSE;
    bool oldest = overflow == TR_OVERFLOW_DROP_OLDEST; /* B3: a second pool, all in the hand */
    /* atomic: a late sender to the slot's last actor may look at them (tr__capacity) */
    __atomic_store_n(&slot->capacity, (uint16_t)capacity, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->overflow, (uint8_t)overflow, __ATOMIC_RELAXED);
    slot->mail = oldest ? TR__MAIL_TRANSIT : 0;
    slot->local = oldest ? capacity : here ? capacity / 8 : 0;
    tr__places_open(&slot->places, atomic_load_explicit(&slot->generation, memory_order_relaxed),
                    capacity - (oldest ? 0 : slot->local) + TR_PLANT(one_too_many));
}

static void open_slot(tr__loop *loop, tr_actor *slot, const tr_actor_def *def, tr__loop *owner,
                      const tr_spawn_opts *opts)
{
    __atomic_store_n(&slot->state, TR__ACTOR_COMING, __ATOMIC_RELAXED); /* its owner may look (shutdown.c) */
    slot->queued = false;
    slot->traits = loop->spawning;
    slot->exiting = 0;
    slot->asks = 0;
    slot->handled = 0;
    const tr_actor *parent = loop->running;
    slot->parent =
        parent ? tr__parent_mark(parent->index, atomic_load_explicit(&((tr_actor *)parent)->generation,
                                                                     memory_order_relaxed))
               : 0;
    __atomic_store_n(&slot->def, def, __ATOMIC_RELAXED); /* the watchdog may read it */
    open_mailbox(slot, def, owner == loop, opts);
    /* release: who sees the owner sees the rest */
    atomic_store_explicit(&slot->owner, owner, memory_order_release);
}

static void give_back(tr__loop *loop, const tr_actor_def *def, void *taken, tr_msg *spawn, tr_actor *slot)
{
    if (taken && def->arg_type)
        tr__msg_free(loop, taken);
    if (spawn)
        tr__msg_free(loop, spawn);
    if (slot) { /* its address never left: the same generation is used again */
        tr__places_shut(&slot->places);
        atomic_store_explicit(&slot->owner, NULL, memory_order_relaxed);
        __atomic_store_n(&slot->state, TR__ACTOR_FREE, __ATOMIC_RELAXED);
        slot->arg = NULL;
        slot->run_next = loop->slots_free;
        loop->slots_free = slot;
    }
}

static void leave(tr__loop *owner)
{
    if (owner->exclusive)
        tr__loop_vacate(owner);
}

tr_err tr__spawn(tr__loop *loop, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts,
                 tr_addr *address, tr_error *error)
{
    if (__builtin_expect(def->transact != NULL, 0))
        TR_TRY(tr__transact_def(loop->node, &def, opts ? opts->name : NULL, error));
    if (__builtin_expect(def->overrun_ns != 0 && def->overrun_ns != TR_FOREVER, 0))
        atomic_store_explicit(&loop->node->budgeted, true, memory_order_relaxed);
    if (!def->receive == !def->run)
        return tr__fail(error, TR_EINVAL, "actor definition %s: give either receive or run", def->name);
    if (def->memory_max && def->state_size > def->memory_max)
        return tr__fail(error, TR_EINVAL, "%s: its state of %zu bytes alone is beyond its budget of %zu",
                        def->name, def->state_size, def->memory_max);
    if (loop->stopping)
        return tr__fail(error, TR_ECLOSED, "no %s is started: the node stops", def->name);
    tr__loop *owner = loop;
    if (opts || loop->overloaded || loop->exclusive || def->own_thread)
        if (!(owner = tr__place(loop, def, opts, error)))
            return error->code;
    void *taken;
    tr_err taking = take_arg(loop, def, arg, &taken, error);
    if (taking != TR_OK) {
        leave(owner);
        return taking;
    }
    tr_msg *spawn = owner == loop ? NULL : tr__msg_alloc(&loop->pool, loop->index, 0);
    tr_actor *slot = owner == loop || spawn ? tr__slot_take(loop) : NULL;
    tr_err err = slot ? TR_OK : tr__fail(error, TR_ENOMEM, "no memory for another actor (%s)", def->name);
    if (slot) {
        *address = (tr_addr){loop->node->id, slot->index,
                             atomic_load_explicit(&slot->generation, memory_order_relaxed)};
        slot->named = opts && opts->name;
        slot->arg = taken;
        open_slot(loop, slot, def, owner, opts);
        if (slot->named) /* when it is open: who finds the name may send at once */
            err = tr__name_put(loop->node, opts->name, *address,
                               !(slot->traits & (TR__SUPERVISED | TR__SYSTEM)), error);
    }
    if (err != TR_OK) {
        give_back(loop, def, taken, spawn, slot);
        leave(owner);
        *address = TR_ADDR_NONE;
        return err;
    }
    if (owner == loop)
        return tr__actor_arrive(loop, slot)
                   ? TR_OK
                   : tr__fail(error, TR_ENOMEM, "no memory for the state of %s", def->name);
    spawn->kind = TR__MSG_SPAWN;
    tr__submit(loop, *address, spawn);
    return TR_OK;
}

/* The child goes, and its end is no news: it must not take its parent along by the link. */
static void undo(tr_actor *self, tr_addr child, const tr_spawn_opts *opts)
{
    tr_error why = *tr_last_error(self);
    if (opts && opts->monitor && *opts->monitor) {
        tr_demonitor(self, *opts->monitor);
        *opts->monitor = 0;
    }
    if (opts && opts->link)
        tr_unlink(self, child);
    tr_stop(self, child, TR_EXIT_KILLED);
    tr__self_fail(self, why.code, "%s", why.text);
}

tr_addr tr_spawn_with(tr_actor *self, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts)
{
    tr__loop *loop = tr__owner(self);
    tr_addr child = TR_ADDR_NONE;
    tr_error error;
    if (tr__must_stop(loop, self))
        return TR_ADDR_NONE;
    tr_err err = tr__spawn(loop, def, arg, opts, &child, &error);
    if (err != TR_OK) {
        tr__self_fail(self, err, "%s", error.text);
        return TR_ADDR_NONE;
    }
    if (!opts)
        return child;
    bool linked = !opts->link || tr_link(self, child) == TR_OK;
    if (opts->monitor)
        *opts->monitor = linked ? tr_monitor(self, child) : 0;
    if (linked && (!opts->monitor || *opts->monitor))
        return child;
    undo(self, child, opts);
    return TR_ADDR_NONE;
}

/* The runtime answers for the actor once its init has succeeded and it has come to this in its mailbox; if it ends before,
 * the block becomes the failure. */
tr_future tr__reached(tr_actor *self, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    const tr_typeinfo *info = tr__type_of(&tr_found_type);
    tr_future none = {0};
    if (self->asks >= TR__ASKS_MAX) {
        tr__self_fail(self, TR_EFULL, "more than %u asks of %s are outstanding: await some first",
                      TR__ASKS_MAX, self->def->name);
        return none;
    }
    tr__pending *pending = info ? tr__pending_make(loop, self, TR__PENDING_ASK) : NULL;
    self->asks += pending != NULL;
    tr_msg *msg = pending ? tr__msg_alloc(&loop->pool, loop->index, TR__FAILURE_ROOM) : NULL;
    if (!msg) {
        if (pending)
            tr__pending_free(loop, pending);
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return none;
    }
    pending->callee = to;
    pending->asked = info;
    pending->since_ns = loop->now_ns;
    tr__pending_due(loop, pending, TR__NEVER);
    msg->kind = TR__MSG_STARTED;
    tr__msg_filled(msg, info);
    msg->sender = tr__addr_of(self);
    msg->ask = tr__pending_id(pending);
    *(tr_found *)tr__msg_body(msg) = (tr_found){.actor = to};
    tr__submit(loop, to, msg);
    return (tr_future){tr__pending_id(pending)};
}

tr_future tr__spawn_ask(tr_actor *self, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts,
                        tr_addr *address)
{
    *address = tr_spawn_with(self, def, arg, opts);
    tr_future started = {0};
    if (tr_addr_is_none(*address))
        return started;
    started = tr__reached(self, *address);
    if (started.id == 0) {
        undo(self, *address, opts);
        *address = TR_ADDR_NONE;
    }
    return started;
}

tr_future tr_spawn_ask(tr_actor *self, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts)
{
    tr_addr child;
    return tr__spawn_ask(self, def, arg, opts, &child);
}

tr_msg *tr__stop_make(tr_actor *self, tr_exit_kind how)
{
    tr__loop *loop = tr__owner(self);
    const tr_typeinfo *info = tr__type_of(&tr_shutdown_type); /* as which it comes to who traps it */
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_shutdown)) : NULL;
    if (msg) {
        msg->type = info;
        msg->kind = how == TR_EXIT_KILLED ? TR__MSG_KILL : TR__MSG_SHUTDOWN;
        msg->sender = tr__addr_of(self);
    }
    return msg;
}

tr_err tr_stop(tr_actor *self, tr_addr to, tr_exit_kind how)
{
    tr__loop *loop = tr__owner(self);
    if (how != TR_EXIT_SHUTDOWN && how != TR_EXIT_KILLED)
        return tr__self_fail(self, TR_EINVAL, "tr_stop takes TR_EXIT_SHUTDOWN or TR_EXIT_KILLED");
    uint64_t connection;
    tr_err err =
        to.node == loop->node->id ? TR_OK : tr__remote_allows(loop->node, to.node, TR_MAY_STOP, &connection);
    if (err != TR_OK)
        return tr__allows_fail(self, err, "tr_stop", "stop");
    tr_msg *msg = tr__stop_make(self, how);
    if (!msg)
        return tr__self_fail(self, TR_ENOMEM, "no memory to stop an actor");
    tr__submit(loop, to, msg);
    return TR_OK;
}
