/* The table of futures and timers, and how they settle: see pending.h. The loop's thread only. */
#include "actors/futures/pending.h"

#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/driver/fd_watch.h"
#include "actors/futures/flow.h"
#include "actors/futures/period.h"
#include "actors/futures/waiting.h"
#include "actors/memory.h"
#include "actors/remote/spawn_at.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define SEGMENT    (1u << TR__PENDINGS_BITS)
#define FIRE_AHEAD 16

/* ---- the table ----------------------------------------------------------------------------------------- */

static bool segment_add(tr__loop *loop)
{
    uint32_t count = loop->pending_segments;
    if ((count & (count - 1)) == 0) {
        tr__pending **bigger = tr__realloc(loop->pendings, (count ? count * 2 : 1) * sizeof(*bigger));
        if (!bigger)
            return false;
        loop->pendings = bigger;
    }
    _Static_assert(SEGMENT * sizeof(tr__pending) == TR__HUGE, "a segment is one huge block");
    tr__pending *segment = tr__huge_alloc(count > 0);
    if (!segment)
        return false;
    loop->pendings[loop->pending_segments++] = segment;
    return true;
}

/* One that was never used; NULL: no memory. */
static tr__pending *new_entry(tr__loop *loop)
{
    if (loop->pending_next == loop->pending_segments * SEGMENT && !segment_add(loop))
        return NULL;
    tr__pending *pending =
        &loop->pendings[loop->pending_next >> TR__PENDINGS_BITS][loop->pending_next & (SEGMENT - 1)];
    pending->index = loop->pending_next++;
    pending->generation = 1;
    return pending;
}

static inline uint32_t place_of(const tr__pending *pending)
{
    return pending ? pending->index + 1 : 0;
}

/* The others are the runtime's own. */
static inline bool is_charged(uint8_t kind)
{
    return kind == TR__PENDING_ASK || kind == TR__PENDING_GATHER || kind == TR__PENDING_GROUP ||
           kind == TR__PENDING_MESSAGE || kind == TR__PENDING_PERIOD || kind == TR__PENDING_FD ||
           kind == TR__PENDING_OUTFLOW;
}

/* Its timer isn't set, in a new entry as in a free one. What an ask writes itself is left as it was. */
tr__pending *tr__pending_make(tr__loop *loop, tr_actor *owner, tr__pending_kind kind)
{
    tr__pending *pending = loop->pending_free;
    if (tr__has_budget(owner) && is_charged(kind) && !tr__charge_slow(loop, owner, sizeof(*pending)))
        return NULL;
    if (__builtin_expect(pending != NULL, 1)) {
        loop->pending_free = tr__pending_at(loop, pending->next);
    } else if (!(pending = new_entry(loop))) {
        if (is_charged(kind))
            tr__discharge(owner, sizeof(*pending));
        return NULL;
    }
    pending->kind = (uint8_t)kind;
    pending->settled = false;
    pending->error = TR_OK;
    pending->mode = 0;
    pending->special = 0;
    pending->left = 0;
    pending->owner = owner;
    pending->msg = NULL;
    pending->then = NULL;
    pending->gather = 0;
    tr__pending *next = owner->pendings;
    pending->prev = 0;
    pending->next = place_of(next);
    if (next)
        next->prev = place_of(pending);
    owner->pendings = pending;
    return pending;
}

void tr__pendings_grown(tr__loop *loop)
{
    for (uint32_t i = 0; i < loop->young_count; i++) {
        tr__pending *pending = loop->young[i].pending;
        if (pending->generation != loop->young[i].generation || pending->settled ||
            pending->kind != TR__PENDING_ASK)
            continue;
        uint64_t due = pending->timer.due_ns;
        if (pending->owner->fiber) /* not yet if it was made in its init */
            pending->until_ns = due;
        if (pending->owner->fiber && due > pending->since_ns + TR__CYCLE_CHECK)
            due = pending->since_ns + TR__CYCLE_CHECK;
        tr__wheel_set(&loop->wheel, &pending->timer, due);
    }
    loop->young_count = 0;
}

/* Apart, so that those without it pay a test only. */
__attribute__((noinline)) static void special_end(tr__loop *loop, tr__pending *pending)
{
    if (pending->special & TR__PIPED)
        tr__pipe_end(loop, pending);
    if (pending->special & TR__STREAMS)
        tr__inflow_end(loop, pending);
    if (pending->special & TR__SPAWNS)
        tr__own_monitor_spawned(pending->owner, tr__pending_id(pending), TR_ADDR_NONE);
}

void tr__pending_free(tr__loop *loop, tr__pending *pending)
{
    tr_actor *owner = pending->owner;
    if (tr__timer_is_set(&pending->timer))
        tr__wheel_cancel(&loop->wheel, &pending->timer);
    if (__builtin_expect(pending->kind == TR__PENDING_FD, 0))
        tr__fd_forget(loop, pending);
    if (__builtin_expect(pending->special & TR__SPAWNS, 0) && pending->settled && pending->msg)
        tr__spawn_answered(loop, owner, NULL, pending->msg); /* nobody looked at it */
    if (pending->msg)
        tr__release(loop, pending->msg);
    if (pending->kind == TR__PENDING_ASK)
        owner->asks--;
    else if (pending->kind == TR__PENDING_GROUP)
        tr__group_free(pending);
    if (__builtin_expect(pending->special, 0))
        special_end(loop, pending);
    if (tr__has_budget(owner) && is_charged(pending->kind))
        tr__discharge(owner, sizeof(*pending));
    tr__pending *next = tr__pending_at(loop, pending->next);
    if (pending->prev)
        tr__pending_at(loop, pending->prev)->next = pending->next;
    else
        owner->pendings = next;
    if (next)
        next->prev = pending->prev;
    pending->kind = TR__PENDING_FREE;
    if (!TR_PLANT(reply_to_next) && ++pending->generation == 0)
        pending->generation = 1;
    pending->next = place_of(loop->pending_free);
    loop->pending_free = pending;
}

void tr__pendings_end(tr__loop *loop, tr_actor *owner)
{
    while (owner->pendings) {
        tr__pending *pending = owner->pendings;
        if (pending->kind == TR__PENDING_ASK && !pending->settled)
            tr__cancel_callee(loop, pending);
        tr__pending_free(loop, pending);
    }
}

void tr__pendings_fini(tr__loop *loop)
{
    for (uint32_t i = 0; i < loop->pending_segments; i++)
        tr__huge_free(loop->pendings[i]);
    tr__free(loop->pendings);
}

/* ---- settling ------------------------------------------------------------------------------------------ */

tr_err tr__pending_error(const tr__pending *pending, tr_error *error)
{
    if (!pending->error)
        return TR_OK;
    if (pending->kind == TR__PENDING_GATHER) {
        const tr__pending *failed =
            tr__pending_get(tr__owner(pending->owner), pending->owner, pending->gather);
        return failed ? tr__pending_error(failed, error)
                      : tr__fail(error, pending->error, "one of those gathered failed");
    }
    const tr__failure *failure = NULL;
    if (pending->msg && pending->msg->size)
        failure = tr__msg_body(pending->msg);
    if (failure && failure->text && failure->text[0])
        return tr__fail(error, pending->error, "%s", failure->text);
    char address[TR_ADDR_TEXT_MAX];
    tr__addr_format(pending->callee, address);
    return tr__fail(error, pending->error, "asking %s of %s: %s", tr__pending_asked(pending)->name, address,
                    tr__err_meaning(pending->error));
}

const tr_typeinfo *tr__pending_asked(const tr__pending *pending)
{
    return pending->special & TR__STREAMS ? pending->inflow->asked : pending->asked;
}

static void call_then(tr__loop *loop, tr__pending *pending)
{
    tr_actor *owner = pending->owner;
    tr_error error;
    tr_result result = {.err = pending->error};
    if (result.err == TR_OK) {
        result.msg = pending->msg;
    } else {
        tr__pending_error(pending, &error);
        result.error = &error;
    }
    tr_then_fn then = pending->then;
    void *context = pending->context;
    tr_msg *msg = pending->msg;
    pending->msg = NULL;
    tr__pending_free(loop, pending);
    loop->running = owner;
    loop->current = msg;
    then(owner, owner->state_block, &result, context);
    if (loop->current)
        tr__release(loop, loop->current);
    loop->current = NULL;
}

void tr__pending_explain(tr__loop *loop, tr_actor *owner, uint64_t id, const char *text)
{
    tr__pending *pending = tr__pending_get(loop, owner, id);
    if (!pending || pending->settled || pending->msg)
        return;
    tr__failure failure = {.code = TR_EDEADLINE, .text = text};
    tr_error error = owner->extras ? owner->extras->last_error : (tr_error){0};
    pending->msg = tr_msg_make(owner, &tr__failure_type, &failure);
    if (pending->msg)
        pending->msg->kind = TR__MSG_FAILURE;
    else if (owner->extras)
        owner->extras->last_error = error; /* it isn't the actor's business */
}

void tr__pending_tell(tr__loop *loop, tr__pending *pending)
{
    if (pending->special & TR__PIPED)
        tr__pipe_settled(loop, pending);
    else if (pending->then)
        call_then(loop, pending);
}

/* True: it is told of as what it is. */
__attribute__((noinline)) static bool settle_special(tr__loop *loop, tr__pending *pending)
{
    if (pending->special & TR__CONFIRMS)
        pending->owner->extras->unconfirmed--;
    if (tr__inflow_holds(pending)) {  /* told of when its items were given */
        if (!pending->inflow->paused) /* they are to be, and that was their timer */
            tr__wheel_set(&loop->wheel, &pending->timer, loop->now_ns);
        return true;
    }
    if (!(pending->special & TR__PIPED))
        return false;
    tr__pipe_settled(loop, pending);
    return true;
}

void tr__pending_settle(tr__loop *loop, tr__pending *pending, tr_msg *msg, tr_err error)
{
    tr_actor *owner = pending->owner;
    uint64_t id = tr__pending_id(pending), gather = pending->kind == TR__PENDING_ASK ? pending->gather : 0;
    if (tr__timer_is_set(&pending->timer))
        tr__wheel_cancel(&loop->wheel, &pending->timer);
    pending->settled = true;
    if (pending->msg && (msg || error != TR_EDEADLINE)) {
        tr__release(loop, pending->msg);
        pending->msg = NULL;
    }
    if (msg)
        pending->msg = msg;
    pending->error = (uint8_t)error;
    if (__builtin_expect(pending->special, 0) && settle_special(loop, pending))
        ;
    else if (owner->fiber)
        tr__fiber_wake(loop, owner, id);
    else if (owner->exiting)
        ;                                             /* its code runs no more */
    else if (pending->then && loop->running == owner) /* within its handler: its turn comes later */
        tr__wheel_set(&loop->wheel, &pending->timer, loop->now_ns);
    else if (pending->then)
        call_then(loop, pending);
    if (gather)
        tr__gather_tell(loop, owner, gather, id, error);
}

void tr__answer(tr__loop *loop, tr_actor *asker, tr_msg *msg)
{
    tr__pending *pending = tr__pending_get(loop, asker, msg->ask);
    if (!pending || pending->kind != TR__PENDING_ASK || pending->settled) {
        tr__spawn_answered(loop, asker, NULL, msg);
        loop->counts.handled--;
        tr__drop(loop, msg, TR_DROP_LATE_REPLY);
        return;
    }
    if (__builtin_expect(pending->special & TR__SPAWNS, 0))
        tr__spawn_answered(loop, asker, pending, msg);
    tr__pending_settle(loop, pending, msg, msg->kind == TR__MSG_FAILURE ? msg->error : TR_OK);
}

static void due(tr__loop *loop, tr__pending *pending)
{
    tr_actor *owner = pending->owner;
    static const tr__reason killed = {
        .kind = TR_EXIT_KILLED, .code = TR_EKILLED, .text = "killed; did not return in time"};
    switch ((tr__pending_kind)pending->kind) {
    case TR__PENDING_MESSAGE:
    case TR__PENDING_TICK: {
        tr_msg *msg = pending->msg;
        pending->msg = NULL;
        if (pending->kind == TR__PENDING_MESSAGE)
            tr__pending_free(loop, pending);
        TR__COUNT(loop->counts.accepted);
        tr__enqueue(loop, owner, msg);
        break;
    }
    case TR__PENDING_PERIOD:
        tr__period_due(loop, pending);
        break;
    case TR__PENDING_WAKE: {
        uint64_t id = tr__pending_id(pending);
        tr__pending_free(loop, pending);
        tr__fiber_wake(loop, owner, id);
        break;
    }
    case TR__PENDING_GRACE:
        tr__pending_free(loop, pending);
        tr__actor_finish(loop, owner,
                         owner->extras && owner->extras->reason ? owner->extras->reason : &killed);
        break;
    default:
        tr__watch_run(loop, owner);
        tr__watch_type(loop, NULL);
        if (owner->exiting) {
            /* its code runs no more */
        } else if (pending->special & TR__STREAMS && tr__inflow_turn(loop, pending)) {
            /* it was its items' turn */
        } else if (pending->settled) { /* `then` was set on a settled one: its callback's turn has come */
            tr__pending_tell(loop, pending);
        } else if (owner->fiber && pending->kind == TR__PENDING_ASK &&
                   pending->timer.due_ns < pending->until_ns) {
            uint32_t generation = pending->generation;
            uint64_t again = tr__cycle_look(loop, pending);
            if (pending->generation == generation && !pending->settled)
                tr__wheel_set(&loop->wheel, &pending->timer,
                              again < pending->until_ns ? again : pending->until_ns);
        } else {
            if (pending->kind == TR__PENDING_ASK)
                tr__cancel_callee(loop, pending);
            tr__pending_settle(loop, pending, NULL, TR_EDEADLINE);
        }
        if (!owner->fiber)
            tr__after_handler(loop, owner);
    }
}

/* Many timers at once lie all over memory. So each is taken out of the wheel FIRE_AHEAD before it fires, and what it needs is
 * on its way while others fire; taken one by one, so that the wheel's list is waited for meanwhile as well. */
typedef struct taken {
    tr__pending *pending;
    uint32_t generation;
    bool settled;
} taken;

static inline bool take(tr__loop *loop, taken *one)
{
    tr__pending *pending = (tr__pending *)tr__wheel_pop(&loop->wheel, loop->now_ns);
    if (!pending)
        return false;
    *one = (taken){pending, pending->generation, pending->settled};
    __builtin_prefetch(tr__pending_at(loop, pending->next), 1);
    __builtin_prefetch(tr__pending_at(loop, pending->prev), 1);
    __builtin_prefetch(pending->msg, 1);
    return true;
}

/* Another that fired meanwhile may have freed, settled or set it again: then it isn't due any more. */
static inline bool is_due_still(const taken *one)
{
    const tr__pending *pending = one->pending;
    return pending->generation == one->generation && pending->settled == one->settled &&
           !tr__timer_is_set(&pending->timer);
}

bool tr__pendings_fire(tr__loop *loop)
{
    taken ring[FIRE_AHEAD];
    unsigned took = 0, fired = 0;
    for (bool more = true; more || fired < took; fired++) {
        for (bool full = false; more && !full; full = took - fired == FIRE_AHEAD)
            more = took < TR__FIRE_MAX && take(loop, &ring[took % FIRE_AHEAD]) && ++took;
        const taken *one = &ring[fired % FIRE_AHEAD];
        if (fired < took && is_due_still(one))
            due(loop, one->pending);
    }
    return took == TR__FIRE_MAX;
}

/* ---- ticks --------------------------------------------------------------------------------------------- */

tr__pending *tr__tick_make(tr__loop *loop, tr_actor *owner, tr_type *type)
{
    const tr_typeinfo *info = tr__type_of(type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, info->size) : NULL;
    tr__pending *tick = msg ? tr__pending_make(loop, owner, TR__PENDING_TICK) : NULL;
    if (!tick) {
        if (msg)
            tr__msg_free(loop, msg);
        return NULL;
    }
    memset(tr__msg_body(msg), 0, info->size);
    msg->kind = TR__MSG_NOTICE;
    tr__msg_filled(msg, info);
    msg->sender = tr__addr_of(owner);
    msg->to.slot = msg->sender.slot;
    msg->to.generation = msg->sender.generation;
    tick->msg = msg;
    return tick;
}

void tr__tick_set(tr__loop *loop, tr__pending *tick, uint64_t delay_ns)
{
    if (tick->msg && !tr__timer_is_set(&tick->timer))
        tr__wheel_set(&loop->wheel, &tick->timer, tr__now_fresh(loop) + delay_ns);
}

void tr__tick_by(tr__loop *loop, tr__pending *tick, uint64_t due_ns)
{
    if (tick->msg && (!tr__timer_is_set(&tick->timer) || tick->timer.due_ns > due_ns))
        tr__wheel_set(&loop->wheel, &tick->timer, due_ns);
}

void tr__tick_back(tr__loop *loop, tr__pending *tick)
{
    tick->msg = loop->current; /* taken, to be sent again */
    loop->current = NULL;
}
