/* Fibers as actors: what one waits for, and how it is resumed and ended.
 *
 *     running ──await, receive, sleep──► waiting ──settled, mail, time, kill──► queued ──► running ──► body
 * returns
 *
 * A killed one gets TR_EKILLED from every wait and must return; after GRACE its stack is dropped: what it
 * took through the API is released, plain malloc isn't. The owner's loop only. */
#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/observe.h"
#include "actors/pending.h"
#include "base/mem.h"

#define GRACE     TR_SECONDS(1)
#define END_WAITS 1000 /* that a body may go through after the node's end has begun */

static void entry(void *arg)
{
    tr_actor *actor = arg;
    const tr_actor_def *def = actor->def;
    void *run_arg = def->arg_type && actor->arg ? tr__msg_body(actor->arg) : actor->arg;
    actor->fiber->returned = def->run(actor, run_arg);
}

/* What came for the runtime while the actor was coming: out of its mailbox, which only its own receive reads.
 */
static void early_mail(tr__loop *loop, tr_actor *actor)
{
    tr_msg *msg = actor->head;
    actor->head = actor->tail = NULL;
    actor->count = 0;
    while (msg) {
        tr_msg *next = msg->next;
        if (msg->kind >= TR__MSG_REPLY)
            tr__runtime_message(loop, actor, msg);
        else
            tr__mailbox_append(actor, msg);
        msg = next;
    }
}

tr_err tr__fiber_start(tr__loop *loop, tr_actor *actor)
{
    tr__fiber_state *state = tr__zalloc(sizeof(*state));
    if (!state)
        return TR_ENOMEM;
    state->fiber = tr__fiber_create(loop->fibers, actor->def->stack_size, entry, actor);
    if (!state->fiber) {
        tr__free(state);
        return TR_ENOMEM;
    }
    state->wake = true;
    actor->fiber = state;
    early_mail(loop, actor);
    return TR_OK;
}

void tr__fiber_run(tr__loop *loop, tr_actor *actor)
{
    tr__fiber_state *state = actor->fiber;
    if (!state->wake)
        return;
    state->wake = false;
    state->received_in_a_row = 0;
    loop->running = actor;
    int done = tr__fiber_resume(state->fiber);
    loop->running = NULL;
    tr__scratch_free(loop);
    if (!done)
        return;
    tr__reason reason = {.kind = TR_EXIT_NORMAL};
    if (actor->extras && actor->extras->reason)
        reason = *actor->extras->reason;
    else if (state->returned != TR_OK)
        reason = tr__error_reason(actor, state->returned);
    tr__actor_finish(loop, actor, &reason);
}

void tr__fiber_finish(tr__loop *loop, tr_actor *actor)
{
    tr__fiber_state *state = actor->fiber;
    actor->fiber = NULL;
    if (state->received)
        tr__release(loop, state->received);
    if (state->answer)
        tr__release(loop, state->answer);
    if (state->sending)
        tr__msg_free(loop, state->sending);
    tr__fiber_destroy(state->fiber);
    tr__free(state);
}

static void resume_soon(tr__loop *loop, tr_actor *actor)
{
    actor->fiber->wake = true;
    tr__wake(loop, actor);
}

void tr__fiber_mail(tr__loop *loop, tr_actor *actor)
{
    if (actor->fiber->wait == TR__WAIT_MESSAGE)
        resume_soon(loop, actor);
}

void tr__fiber_wake(tr__loop *loop, tr_actor *actor, uint64_t pending)
{
    tr__fiber_state *state = actor->fiber;
    if (state && ((state->wait == TR__WAIT_FUTURE && state->awaited == pending) || state->timer == pending))
        resume_soon(loop, actor);
}

void tr__fiber_kill(tr__loop *loop, tr_actor *actor, const tr__reason *reason)
{
    tr__fiber_state *state = actor->fiber;
    tr__extras *extras = tr__extras_of(loop, actor);
    if (extras && (!extras->reason || reason->kind == TR_EXIT_KILLED)) {
        tr__reason *kept = extras->reason ? extras->reason : tr__alloc(sizeof(*kept));
        if (kept)
            *kept = *reason;
        extras->reason = kept;
    }
    if (state->killed)
        return;
    state->killed = true;
    tr__pending *grace = tr__pending_make(loop, actor, TR__PENDING_GRACE);
    if (grace)
        tr__wheel_set(&loop->wheel, &grace->timer, loop->now_ns + GRACE);
    if (loop->running != actor)
        resume_soon(loop, actor);
}

bool tr__fiber_end(tr__loop *loop, tr_actor *actor, const tr__reason *reason)
{
    uint32_t generation = atomic_load_explicit(&actor->generation, memory_order_relaxed);
    tr__fiber_kill(loop, actor, reason);
    for (int waits = 0; waits < END_WAITS; waits++) {
        actor->fiber->wake = true;
        tr__fiber_run(loop, actor);
        if (atomic_load_explicit(&actor->generation, memory_order_relaxed) != generation)
            return true;
    }
    return false;
}

/* ---- within the fiber ---------------------------------------------------------------------------------- */

static tr_err killed(tr_actor *self)
{
    return tr__self_fail(self, TR_EKILLED, "this actor is asked to end: return from its body");
}

/* Wait until woken: at once if there is mail, when others had their turn for what this one did in a row. A killed fiber that waits again steps aside for one round, so that its grace period can
 * pass. */
static tr_err wait_for(tr_actor *self, tr__wait what)
{
    tr__fiber_state *state = self->fiber;
    tr__loop *loop = tr__owner(self);
    state->wait = what;
    if (state->killed || (what == TR__WAIT_MESSAGE && self->head))
        resume_soon(loop, self);
    tr__fiber_yield(state->fiber);
    state->wait = TR__WAIT_NONE;
    return state->killed ? killed(self) : TR_OK;
}

static bool is_fiber(tr_actor *self, const char *what)
{
    if (self->fiber)
        return true;
    tr__self_fail(self, TR_EINVAL,
                  "%s in %s, which is no fiber: only actors with `run` may wait; use tr_then or tr_after",
                  what, self->def->name);
    return false;
}

/* A timer that wakes this fiber; false: no memory. */
static bool bound_wait(tr_actor *self, uint64_t timeout_ns)
{
    tr__loop *loop = tr__owner(self);
    self->fiber->timer = 0;
    if (timeout_ns == TR_FOREVER)
        return true;
    tr__pending *pending = tr__pending_make(loop, self, TR__PENDING_WAKE);
    if (!pending) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a timer");
        return false;
    }
    uint64_t now = tr__now_fresh(loop);
    tr__wheel_set(&loop->wheel, &pending->timer,
                  timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns);
    self->fiber->timer = tr__pending_id(pending);
    return true;
}

static bool bound_passed(tr_actor *self)
{
    tr__loop *loop = tr__owner(self);
    return self->fiber->timer && !tr__pending_get(loop, self, self->fiber->timer);
}

static void bound_end(tr_actor *self)
{
    tr__loop *loop = tr__owner(self);
    tr__pending *pending = self->fiber->timer ? tr__pending_get(loop, self, self->fiber->timer) : NULL;
    if (pending)
        tr__pending_free(loop, pending);
    self->fiber->timer = 0;
}

/* What it is about to wait for, for people. */
static void waits_at(tr_actor *self, const char *where)
{
    self->fiber->where = where;
    self->fiber->since_ns = tr__owner(self)->now_ns;
}

tr_err tr_sleep_at(tr_actor *self, uint64_t duration_ns, const char *where)
{
    if (!is_fiber(self, "tr_sleep"))
        return TR_EINVAL;
    if (!bound_wait(self, duration_ns))
        return TR_ENOMEM;
    waits_at(self, where);
    tr_err err;
    do
        err = wait_for(self, TR__WAIT_SLEEP);
    while (err == TR_OK && !bound_passed(self));
    bound_end(self);
    return err;
}

tr_err tr__fiber_await(tr_actor *self, uint64_t id, const char *where)
{
    if (!is_fiber(self, "tr_await"))
        return TR_EINVAL;
    tr__loop *loop = tr__owner(self);
    tr__pending *pending = tr__pending_get(loop, self, id);
    waits_at(self, where);
    while (pending && !pending->settled) {
        self->fiber->awaited = id;
        TR_TRY(wait_for(self, TR__WAIT_FUTURE));
        pending = tr__pending_get(loop, self, id);
    }
    return TR_OK;
}

tr_err tr_await_msg_at(tr_actor *self, tr_future future, const tr_msg **msg, const char *where)
{
    if (msg)
        *msg = NULL;
    if (self->fiber && future.id == 0)
        return tr_last_error(self)->code ? tr_last_error(self)->code
                                         : tr__self_fail(self, TR_EINVAL, "tr_await: no future");
    TR_TRY(tr__fiber_await(self, future.id, where));
    tr__pending *pending = tr__pending_get(tr__owner(self), self, future.id);
    if (pending && !pending->piped &&
        (pending->kind == TR__PENDING_ASK || pending->kind == TR__PENDING_GATHER))
        return tr__pending_take(tr__owner(self), pending, msg);
    return tr_take_result(self, future, msg); /* says what is wrong with it */
}

tr_err tr__fiber_wait_places(tr_actor *self, uint64_t number, uint64_t until_ns)
{
    uint64_t now = tr__now_fresh(tr__owner(self));
    tr__fiber_state *state = self->fiber;
    if (!bound_wait(self, until_ns == UINT64_MAX ? TR_FOREVER : until_ns > now ? until_ns - now : 0))
        return TR_ENOMEM;
    waits_at(self, "tr_send");
    if (state->awaited != number) /* it has said so already: others have their turn nevertheless */
        resume_soon(tr__owner(self), self);
    tr_err err;
    do
        err = wait_for(self, TR__WAIT_PLACES);
    while (err == TR_OK && state->awaited == number && !bound_passed(self));
    bool came = state->awaited != number;
    bound_end(self);
    if (err != TR_OK || came)
        return err;
    return tr__self_fail(self, TR_EDEADLINE, "the mailbox had no place within the time given");
}

void tr__fiber_places(tr__loop *loop, tr_actor *actor, uint64_t number)
{
    tr__fiber_state *state = actor->fiber;
    if (!state)
        return;
    state->places_asked--;
    if (state->awaited != number)
        return;
    state->awaited = 0;
    if (state->wait == TR__WAIT_PLACES)
        resume_soon(loop, actor);
}

/* The next message that is still wanted, or NULL. */
static tr_msg *next_mail(tr__loop *loop, tr_actor *self)
{
    while (self->head) {
        tr_msg *msg = self->head;
        self->head = msg->next;
        self->count--;
        if (msg->places)
            tr__places_back(loop, self, msg->places);
        TR__COUNT(self->handled);
        if (tr__msg_reached(loop, self, msg))
            return msg;
    }
    return NULL;
}

/* A shutdown comes in order: what was queued before it is still received. */
static bool is_over(const tr_actor *self)
{
    const tr__reason *reason = self->extras ? self->extras->reason : NULL;
    return self->fiber->killed && !(self->head && reason && reason->kind == TR_EXIT_SHUTDOWN);
}

const tr_msg *tr_receive_at(tr_actor *self, uint64_t timeout_ns, const char *where)
{
    tr__loop *loop = tr__owner(self);
    if (!is_fiber(self, "tr_receive"))
        return NULL;
    tr__fiber_state *state = self->fiber;
    if (state->received) {
        tr__release(loop, state->received);
        state->received = NULL;
    }
    bool bounded = false;
    for (;;) {
        if (state->received_in_a_row < TR__BATCH_MAX && !is_over(self) &&
            (state->received = next_mail(loop, self))) {
            state->received_in_a_row++;
            break;
        }
        if (bounded && !self->head && bound_passed(self)) {
            tr__self_fail(self, TR_EDEADLINE, "no message within the time given");
            break;
        }
        if (!bounded && !bound_wait(self, timeout_ns))
            return NULL;
        if (!bounded)
            waits_at(self, where);
        bounded = true;
        tr_err err = wait_for(self, TR__WAIT_MESSAGE);
        if (err != TR_OK && is_over(self))
            break;
    }
    bound_end(self);
    return state->received;
}
