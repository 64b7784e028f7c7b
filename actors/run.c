/* Running actors: the queue, the batch, the handler and what follows it. The owner's loop only; nothing
 * fails. */
#include "actors/budget.h"
#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/operator/observe.h"
#include "actors/transactions.h"
#include "base/buggify.h"
#include "base/mem.h"
#include <stdio.h>

/* ---- the queue ----------------------------------------------------------------------------------------- */

static inline void queue_put(tr__loop *loop, tr_actor *actor)
{
    actor->queued = true;
    actor->run_next = NULL;
    *loop->queue_end = actor;
    loop->queue_end = &actor->run_next;
}

void tr__wake_last(tr__loop *loop, tr_actor *actor)
{
    if (!actor->queued)
        queue_put(loop, actor);
}

/* The fresh ones have had their stretch: behind the others, the newest first as before. */
static void queue_fresh(tr__loop *loop)
{
    loop->stretch = loop->owed ? TR__FRESH_MAX : 0;
    while (loop->fresh) {
        tr_actor *actor = loop->fresh;
        loop->fresh = actor->run_next;
        queue_put(loop, actor);
    }
}

/* The next `runs` are the queue's. So that next_runnable tests nothing more for it, the stretch seems to be over. */
static void owe(tr__loop *loop, uint32_t runs)
{
    if (!loop->owed)
        loop->stretch += TR__FRESH_MAX;
    loop->owed += runs;
}

static void rotate(tr__loop *loop)
{
    queue_fresh(loop);
    if (loop->queue && !loop->owed)
        owe(loop, 1);
}

/* What the timers woke, newest first, goes before the queue; what one of its own had no turn since that was so the last time
 * must wait. */
static void cut_in(tr__loop *loop)
{
    if (!loop->fresh || loop->cut || !loop->in_order)
        return;
    bool others = loop->queue != NULL;
    while (loop->fresh && loop->cut < TR__FIRE_MAX) {
        tr_actor *actor = loop->fresh;
        loop->fresh = actor->run_next;
        actor->run_next = loop->queue;
        if (!loop->queue)
            loop->queue_end = &actor->run_next;
        loop->queue = actor;
        loop->cut++;
    }
    loop->in_order = !others;
    owe(loop, loop->cut + others);
}

bool tr__fire_timers(tr__loop *loop)
{
    if (loop->turn_over || loop->stretch >= TR__FRESH_MAX / 2)
        rotate(loop);
    if (!loop->wheel.count || TR_BUGGIFY(timers_late))
        return loop->wheel.count != 0;
    if (tr__wheel_next_due(&loop->wheel) > loop->now_ns)
        return false;
    rotate(loop);
    bool more = tr__pendings_fire(loop);
    cut_in(loop);
    return more;
}

static inline tr_actor *next_runnable(tr__loop *loop)
{
    tr_actor *actor = loop->fresh;
    /* With an empty queue as well: who is deep in the stack must have its turn. */
    if (actor && loop->stretch < TR__FRESH_MAX && !TR_BUGGIFY(stretch_cut)) {
        loop->fresh = actor->run_next;
        loop->stretch++;
        tr__observe_fresh(loop);
    } else {
        if (__builtin_expect(loop->owed && loop->queue, 0)) {
            if (--loop->owed == 0)
                loop->stretch -= TR__FRESH_MAX;
        } else {
            loop->owed = 0;
            queue_fresh(loop);
        }
        actor = loop->queue;
        if (!actor)
            return NULL;
        tr__observe_queue(loop);
        if (loop->cut)
            loop->cut--;
        else
            loop->in_order = true;
        loop->queue = actor->run_next;
        if (!loop->queue)
            loop->queue_end = &loop->queue;
    }
    actor->queued = false;
    return actor;
}

/* ---- the handler --------------------------------------------------------------------------------------- */

void tr__scratch_free(tr__loop *loop)
{
    while (loop->scratch) {
        tr__scratch *text = loop->scratch;
        loop->scratch = text->next;
        tr__free(text);
    }
}

static const tr__reason killed = {.kind = TR_EXIT_KILLED, .code = TR_EKILLED, .text = "killed"};

static bool after_handler_slow(tr__loop *loop, tr_actor *actor)
{
    tr__scratch_free(loop);
    if (loop->answer) {
        tr__release(loop, loop->answer);
        loop->answer = NULL;
    }
    if (!actor->exiting)
        return true;
    if (actor->fiber)
        return false;
    tr__actor_finish(loop, actor, actor->exiting == TR__EXITING_KILLED ? &killed : &loop->ending);
    return false;
}

static inline bool after_handler(tr__loop *loop, tr_actor *actor)
{
    loop->running = NULL;
    if (__builtin_expect(loop->scratch || loop->answer || actor->exiting, 0))
        return after_handler_slow(loop, actor);
    return true;
}

bool tr__after_handler(tr__loop *loop, tr_actor *actor)
{
    return after_handler(loop, actor);
}

static inline void handle(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    loop->running = actor;
    loop->current = msg;
    TR__SHOW(loop->watch.type, msg->type);
    actor->def->receive(actor, actor->state_block, msg);
    if (loop->current)
        tr__release(loop, msg);
    loop->current = NULL;
}

void tr__handle(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    handle(loop, actor, msg);
}

void tr__hand_notice(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    msg->kind = TR__MSG_NOTICE;
    if (actor->fiber) { /* it receives it when it comes to it */
        loop->counts.handled--;
        tr__deliver(loop, msg);
    } else {
        handle(loop, actor, msg);
    }
}

static void shutdown_message(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    static const tr__reason shutdown = {.kind = TR_EXIT_SHUTDOWN, .text = "asked to stop"};
    actor->traits |= TR__STOP_ASKED;
    if (actor->traits & TR__TRAPS_STOP) {
        tr__hand_notice(loop, actor, msg);
        return;
    }
    tr__msg_free(loop, msg);
    tr__end(loop, actor, &shutdown);
}

/* Its init succeeded: the block, which names it, is the answer. */
static void started(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr_addr asker = msg->sender;
    msg->kind = TR__MSG_REPLY;
    msg->sender = tr__addr_of(actor);
    tr__submit(loop, asker, msg);
}

void tr__runtime_message(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    TR__COUNT(loop->counts.handled);
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_REPLY:
    case TR__MSG_FAILURE:
        tr__answer(loop, actor, msg);
        break;
    case TR__MSG_ITEM:
        tr__item_arrived(loop, actor, msg);
        break;
    case TR__MSG_MONITOR:
        tr__watch_add(loop, actor, msg);
        break;
    case TR__MSG_DEMONITOR:
        tr__watch_remove(loop, actor, msg);
        tr__msg_free(loop, msg);
        break;
    case TR__MSG_LINK:
        tr__link_add(loop, actor, msg);
        break;
    case TR__MSG_UNLINK:
        tr__unlink_arrived(loop, actor, msg);
        break;
    case TR__MSG_UNLINKED:
        tr__unlinked_arrived(loop, actor, msg);
        break;
    case TR__MSG_EXIT:
        tr__exit_signal(loop, actor, msg);
        break;
    case TR__MSG_STARTED:
        started(loop, actor, msg);
        break;
    case TR__MSG_PLACES:
        tr__fiber_places(loop, actor, msg->ask);
        tr__msg_free(loop, msg);
        break;
    case TR__MSG_EXECUTE:
        tr__transact_execute(loop, actor, msg);
        break;
    case TR__MSG_SHUTDOWN:
        if (tr__is_guarded(actor, msg)) {
            loop->counts.handled--;
            tr__drop(loop, msg, TR_DROP_REFUSED);
            break;
        }
        shutdown_message(loop, actor, msg);
        break;
    default:
        tr__msg_free(loop, msg);
    }
}

/* One for the runtime, which may end the actor: then false. */
static bool runtime_step(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    uint32_t generation = atomic_load_explicit(&actor->generation, memory_order_relaxed);
    tr__runtime_message(loop, actor, msg);
    return tr__is_generation(actor, generation) && after_handler(loop, actor);
}

bool tr__msg_reached(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (msg->flags & TR__MSG_BEYOND && msg->kind != TR__MSG_NOTICE)
        tr__budget_left(loop, msg);
    bool again = msg->flags & TR__MSG_DEFERRED;
    msg->flags &= (uint8_t) ~(TR__MSG_DEFERRED | (msg->kind == TR__MSG_NORMAL ? TR__MSG_PIPED : 0));
    tr__observe(loop, actor, msg);
    if (msg->kind == TR__MSG_NOTICE && !again && !tr__notice_wanted(loop, actor, msg)) {
        TR__COUNT(loop->counts.handled);
        tr__msg_free(loop, msg);
        return false;
    }
    if (msg->kind != TR__MSG_NOTICE && tr__msg_expired(msg, loop->now_ns)) {
        tr__drop(loop, msg, TR_DROP_EXPIRED);
        return false;
    }
    TR__COUNT(loop->counts.handled);
    return true;
}

/* One that is wanted; false: it isn't. */
static inline bool handle_reached(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (!tr__msg_reached(loop, actor, msg))
        return false;
    handle(loop, actor, msg);
    return true;
}

/* B4: who sets it aside still has it in its mailbox, so its mark stays until the handler has returned. */
static __attribute__((noinline)) bool handle_beyond(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr_addr to = tr__addr_of(actor);
    loop->beyond = true;
    msg->flags &= (uint8_t)~TR__MSG_BEYOND;
    bool reached = handle_reached(loop, actor, msg);
    if (loop->beyond)
        tr__budget_leave(loop->node, to);
    loop->beyond = false;
    return reached;
}

/* All but plain messages; false when the actor is gone. */
static bool step_slow(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (msg->kind >= TR__MSG_REPLY) {
        tr__observe(loop, actor, msg);
        return runtime_step(loop, actor, msg);
    }
    bool beyond = msg->flags & TR__MSG_BEYOND && msg->kind <= TR__MSG_ASK;
    if (!(beyond ? handle_beyond(loop, actor, msg) : handle_reached(loop, actor, msg)))
        return true;
    return after_handler(loop, actor);
}

/* One message off the mailbox; false when the actor is gone. */
static inline bool step(tr__loop *loop, tr_actor *actor, uint32_t *freed)
{
    tr_msg *msg = actor->head;
    actor->head = msg->next;
    actor->count--;
    *freed += msg->places;
    if (__builtin_expect(!tr__msg_is_plain(msg), 0) &&
        !(msg->kind == TR__MSG_ASK && msg->flags == 0 && !tr__msg_expired(msg, loop->now_ns)))
        return step_slow(loop, actor, msg);
    tr__observe(loop, actor, msg);
    TR__COUNT(loop->counts.handled);
    handle(loop, actor, msg);
    return after_handler(loop, actor);
}

/* Look at the clock, and see how many steps fit between two looks. */
static void look(tr__loop *loop)
{
    uint64_t before = loop->now_ns;
    uint8_t steps = loop->look_every - loop->until_look;
    loop->now_ns = tr__now_fresh(loop);
    TR__SHOW(loop->watch.at_ns, loop->now_ns);
    uint64_t spent = loop->now_ns - before;
    if (spent > TR__LOOK_NS)
        loop->look_every = loop->look_every < 4 || spent > TR__TURN_NS ? 1 : loop->look_every / 4;
    else if (spent < TR__LOOK_NS / 4 && steps == loop->look_every && steps < TR__TURN_CHECK)
        loop->look_every *= 2;
    loop->until_look = loop->look_every;
    loop->turn_over = loop->now_ns >= loop->turn_until_ns;
}

/* The clock costs as much as a message or two, so it is looked at after some of them; true: the turn's time
 * is over. */
static inline bool count_step(tr__loop *loop)
{
    if (TR_BUGGIFY(turn_over))
        return loop->turn_over = true;
    if (__builtin_expect(--loop->until_look != 0, 1))
        return false;
    uint64_t began_ns = loop->now_ns;
    look(loop);
    if (loop->meter)
        tr__meter_step(loop, began_ns);
    return loop->turn_over;
}

bool tr__count_step(tr__loop *loop)
{
    return count_step(loop);
}

static inline void run(tr__loop *loop, tr_actor *actor)
{
    tr__watch_run(loop, actor);
    if (__builtin_expect(actor->exiting, 0)) { /* killed while it wasn't running */
        tr__after_handler(loop, actor);
        count_step(loop);
        return;
    }
    if (__builtin_expect(actor->state == TR__ACTOR_COMING, 0)) {
        tr__watch_type(loop, NULL);
        tr__ring_put(&loop->ring, TR__TRACE_START, actor->index, actor->def);
        bool gone = false;
        if (actor->def->transact && !tr__transact_may_start(loop, actor, &gone)) {
            count_step(loop);
            return;
        }
        gone = !tr__actor_init(loop, actor);
        count_step(loop);
        if (gone)
            return;
    }
    if (__builtin_expect(actor->fiber != NULL, 0)) {
        tr__ring_put(&loop->ring, TR__TRACE_FIBER, actor->index, NULL);
        tr__fiber_run(loop, actor);
        count_step(loop);
        return;
    }
    /* What was there when the turn began, so that a flooded receiver keeps up with its senders. */
    uint32_t batch = actor->count < TR__BATCH_MAX ? actor->count : TR__BATCH_MAX;
    if (batch && TR_BUGGIFY(run_of_one))
        batch = 1;
    uint32_t freed = 0;
    if (actor->head) /* all that it counts may be deferred */
        tr__ring_put(&loop->ring, TR__TRACE_RUN, actor->index, actor->head->type);
    while (batch-- && actor->head) { /* a cancelled ask may have left the queue meanwhile */
        TR__COUNT(actor->handled);
        bool gone = !step(loop, actor, &freed);
        if (count_step(loop))
            batch = 0; /* the rest waits for its next turn, behind the others */
        if (gone)
            return;
    }
    tr__places_back(loop, actor, freed);
    if (actor->head)
        tr__wake_last(loop, actor);
}

bool tr__run_one(tr__loop *loop)
{
    tr_actor *actor = next_runnable(loop);
    loop->turn_until_ns = TR__NEVER;
    if (actor)
        run(loop, actor);
    tr__pendings_grown(loop);
    return actor != NULL;
}

/* By time, count_step; and by work: a single handler may send thousands, which other loops get, and are
 * heard, without waiting for the time to run out. */
void tr__run_until(tr__loop *loop, uint64_t until_ns)
{
    uint64_t enough = loop->counts.handled + loop->counts.accepted + TR__TURN_WORK;
    tr_actor *actor;
    loop->turn_until_ns = until_ns;
    loop->turn_over = false;
    loop->until_look = loop->look_every;
    if (__builtin_expect(loop->meter != NULL, 0)) { /* each step is measured, also the first */
        loop->until_look = 1;
        loop->now_ns = tr__now_fresh(loop);
    }
    while (!loop->turn_over && loop->counts.handled + loop->counts.accepted < enough &&
           (actor = next_runnable(loop)))
        run(loop, actor);
    if (loop->until_look != loop->look_every)
        look(loop);
    if (loop->young_count)
        tr__pendings_grown(loop);
    TR__SHOW(loop->watch.actor, NULL);
}

bool tr__must_stop_slow(tr__loop *loop, tr_actor *self)
{
    /* acquire: pairs with the watchdog's release, so the run's number is seen */
    if (!atomic_load_explicit(&loop->overrun, memory_order_acquire))
        return false;
    if (atomic_load_explicit(&loop->watch.stop_run, memory_order_relaxed) != loop->watch.runs ||
        loop->running != self) { /* it was meant for one that has given way */
        atomic_store_explicit(&loop->overrun, false, memory_order_relaxed);
        return false;
    }
    uint64_t budget = self->def->overrun_ns ? self->def->overrun_ns : loop->node->opts.overrun_ns;
    tr__reason overrun = {.kind = TR_EXIT_OVERRUN, .code = TR_EKILLED};
    snprintf(overrun.text, sizeof(overrun.text), "held its loop for more than %llu ms",
             (unsigned long long)(budget / 1000000u));
    if (!self->exiting && !(self->fiber && self->fiber->killed))
        atomic_fetch_add_explicit(&loop->node->overruns, 1, memory_order_relaxed);
    tr__end(loop, self, &overrun);
    tr__self_fail(self, TR_EKILLED, "this actor %s: it ends", overrun.text);
    return true;
}

void tr__end(tr__loop *loop, tr_actor *actor, const tr__reason *reason)
{
    if (actor->fiber) {
        tr__fiber_kill(loop, actor, reason);
        return;
    }
    if (loop->running != actor) {
        tr__actor_finish(loop, actor, reason);
        return;
    }
    tr__reason *ending = tr__ending_of(loop, actor);
    if (ending)
        *ending = *reason;
}

void tr__kill(tr__loop *loop, tr_actor *actor)
{
    if (actor->fiber || loop->running == actor) {
        tr__end(loop, actor, &killed);
    } else if (!actor->exiting) {
        actor->exiting = TR__EXITING_KILLED;
        tr__wake(loop, actor);
    }
}
