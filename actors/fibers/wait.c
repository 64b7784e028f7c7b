/* What a fiber waits by: await, receive, sleep, places of a mailbox. Within the fiber, on its own stack; all of them return
 * TR_EKILLED, or NULL, from the moment on that it is to end. */
#include <troupe/troupe.h>

#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/operator/observe.h"

static tr_err killed(tr_actor *self)
{
    return tr__self_fail(self, TR_EKILLED, "this actor is asked to end: return from its body");
}

static tr_err in_match(tr_actor *self, const char *what)
{
    return tr__self_fail(self, TR_EINVAL, "%s within a match function of tr_receive_match", what);
}

/* Mail that this receive hasn't looked at. */
static bool has_mail(const tr_actor *self)
{
    const tr_msg *scanned = self->fiber->scanned;
    return scanned ? scanned->next : self->head;
}

/* Wait until woken: at once if there is mail, when others had their turn for what this one did in a row. A killed fiber that
 * waits again steps aside for one round, so that its grace period can pass. */
static tr_err wait_for(tr_actor *self, tr__wait what)
{
    tr__fiber_state *state = self->fiber;
    tr__loop *loop = tr__owner(self);
    if (state->matching)
        return in_match(self, "waiting");
    state->wait = what;
    if (state->killed) {
        tr__fiber_soon(loop, self);
    } else if (what == TR__WAIT_MESSAGE && has_mail(self)) {
        state->wake = true;
        tr__wake_last(loop, self);
    }
    tr__fiber_yield(state->fiber);
    state->wait = TR__WAIT_NONE;
    return state->killed ? killed(self) : TR_OK;
}

static bool is_fiber(tr_actor *self, const char *what)
{
    if (self->fiber && self->fiber->matching) {
        in_match(self, what);
        return false;
    }
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

/* A call that may wait has nothing to wait for. Of a killed one it steps aside nevertheless, so that one that calls again
 * and again doesn't hold its loop, and the grace period passes. */
static tr_err step_aside(tr_actor *self)
{
    return self->fiber->killed ? wait_for(self, TR__WAIT_SLEEP) : TR_OK;
}

tr_err tr_sleep_at(tr_actor *self, uint64_t duration_ns, const char *where)
{
    if (!is_fiber(self, "tr_sleep"))
        return TR_EINVAL;
    waits_at(self, where);
    if (!bound_wait(self, duration_ns)) {
        TR_TRY(step_aside(self));
        return TR_ENOMEM;
    }
    tr_err err;
    do
        err = wait_for(self, TR__WAIT_SLEEP);
    while (err == TR_OK && !bound_passed(self));
    bound_end(self);
    return err;
}

/* While it waits nobody frees what it waits for: only its own code does, and its end. */
static tr_err await_settled(tr_actor *self, tr__pending *pending, const char *where)
{
    waits_at(self, where);
    while (!pending->settled) {
        self->fiber->awaited = tr__pending_id(pending);
        TR_TRY(wait_for(self, TR__WAIT_FUTURE));
    }
    return TR_OK;
}

tr_err tr__fiber_await(tr_actor *self, uint64_t id, const char *where)
{
    if (!is_fiber(self, "tr_await"))
        return TR_EINVAL;
    tr__pending *pending = tr__pending_get(tr__owner(self), self, id);
    if (pending && !pending->settled)
        return await_settled(self, pending, where);
    step_aside(self);
    return TR_OK;
}

/* What is no plain future. Apart, so that those pay a test only. */
__attribute__((noinline)) static tr_err await_other(tr_actor *self, tr_future future, const tr_msg **msg,
                                                    const char *where)
{
    if (!is_fiber(self, "tr_await"))
        return TR_EINVAL;
    TR_TRY(step_aside(self));
    if (future.id == 0)
        return tr_last_error(self)->code ? tr_last_error(self)->code
                                         : tr__self_fail(self, TR_EINVAL, "tr_await: no future");
    tr__pending *pending = tr__pending_get(tr__owner(self), self, future.id);
    if (pending && pending->kind == TR__PENDING_ASK && pending->special == TR__STREAMS) {
        tr__inflow_skip(tr__owner(self), pending);
        TR_TRY(tr__fiber_await(self, future.id, where));
        return tr__pending_take(tr__owner(self), pending, msg);
    }
    tr_err err = tr_take_result(self, future, msg); /* says what is wrong with it */
    return err == TR_EAGAIN ? tr__self_fail(self, TR_EINVAL, "tr_await: this future comes as a message")
                            : err;
}

tr_err tr_await_msg_at(tr_actor *self, tr_future future, const tr_msg **msg, const char *where)
{
    tr__loop *loop = tr__owner(self);
    if (msg)
        *msg = NULL;
    tr__pending *pending = self->fiber ? tr__pending_get(loop, self, future.id) : NULL;
    if (__builtin_expect(!pending || pending->special & (TR__PIPED | TR__STREAMS) ||
                             (pending->kind != TR__PENDING_ASK && pending->kind != TR__PENDING_GATHER),
                         0))
        return await_other(self, future, msg, where);
    if (!pending->settled)
        TR_TRY(await_settled(self, pending, where));
    else
        step_aside(self);
    return tr__pending_take(loop, pending, msg);
}

tr_err tr__fiber_item(tr_actor *self, tr__pending *pending, const char *where)
{
    if (!pending || tr__inflow_has(pending) || pending->settled)
        return step_aside(self);
    waits_at(self, where);
    while (!tr__inflow_has(pending) && !pending->settled) {
        self->fiber->awaited = tr__pending_id(pending);
        TR_TRY(wait_for(self, TR__WAIT_FUTURE));
    }
    return TR_OK;
}

tr_err tr__fiber_demand(tr_actor *self, const tr__pending *outflow, const char *where)
{
    const tr_msg *ask = outflow->context;
    uint64_t now = tr__now_fresh(tr__owner(self));
    tr__fiber_state *state = self->fiber;
    if (!bound_wait(self, ask->deadline_ns == UINT64_MAX ? TR_FOREVER
                          : ask->deadline_ns > now       ? ask->deadline_ns - now
                                                         : 0)) {
        TR_TRY(step_aside(self));
        return TR_ENOMEM;
    }
    waits_at(self, where);
    state->awaited = tr__pending_id(outflow);
    state->whom = ask->sender;
    tr_err err;
    do
        err = wait_for(self, TR__WAIT_DEMAND);
    while (err == TR_OK && !outflow->left && !(ask->flags & TR__MSG_CANCELED) && !bound_passed(self));
    bool passed = bound_passed(self);
    bound_end(self);
    if (err != TR_OK || outflow->left || !passed)
        return err;
    return tr__self_fail(self, TR_EDEADLINE, "no demand for another item before the deadline of this %s",
                         tr_msg_type_name(ask));
}

tr_err tr__fiber_wait_places(tr_actor *self, uint64_t number, uint64_t until_ns)
{
    uint64_t now = tr__now_fresh(tr__owner(self));
    tr__fiber_state *state = self->fiber;
    if (state->killed) {
        waits_at(self, "tr_send");
        return wait_for(self, TR__WAIT_PLACES);
    }
    if (!bound_wait(self, until_ns == UINT64_MAX ? TR_FOREVER : until_ns > now ? until_ns - now : 0))
        return TR_ENOMEM;
    waits_at(self, "tr_send");
    if (state->awaited != number) /* it has said so already: others have their turn nevertheless */
        tr__fiber_soon(tr__owner(self), self);
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

/* ---- receive ------------------------------------------------------------------------------------------- */

/* What a tr_receive_match wants. */
typedef struct wanted {
    tr_type *type; /* NULL: any */
    tr_match_fn match;
    void *context;
} wanted;

/* Of a message that is off the mailbox: the function may send to its own actor, where the oldest then make place, and this one
 * must not be among them. */
static bool is_matched(const wanted *what, tr_actor *self, const tr_msg *msg)
{
    self->fiber->matching = true;
    bool is = what->match(msg, what->context);
    self->fiber->matching = false;
    return is;
}

/* The next message that is wanted (`what` NULL: all are), out of the mailbox; NULL: none. What is there and isn't wanted is
 * looked at once a call: `scanned` is the last of it. */
static tr_msg *next_mail(tr__loop *loop, tr_actor *self, const wanted *what)
{
    tr__fiber_state *state = self->fiber;
    for (;;) {
        tr_msg *before = state->scanned, *msg = before ? before->next : self->head;
        if (!msg)
            return NULL;
        if (what && what->type && !tr_match_type(msg, what->type)) {
            state->scanned = msg;
            continue;
        }
        tr__mailbox_unlink(self, before, msg);
        if (what && what->match && !is_matched(what, self, msg)) {
            tr__mailbox_insert(self, state->scanned, msg); /* which may be another by now */
            state->scanned = msg;
            continue;
        }
        if (msg->places)
            tr__places_back(loop, self, msg->places);
        TR__COUNT(self->handled);
        if (tr__msg_reached(loop, self, msg))
            return msg;
    }
}

/* A shutdown comes in order: what was queued before it is still received. */
static bool is_over(const tr_actor *self)
{
    const tr__reason *reason = self->extras ? self->extras->reason : NULL;
    return self->fiber->killed && !(has_mail(self) && reason && reason->kind == TR_EXIT_SHUTDOWN);
}

/* There is mail, but others have their turn first: it has had its count, or its time. */
static bool gives_way(tr__loop *loop, const tr_actor *self)
{
    uint32_t in_a_row = self->fiber->received_in_a_row;
    return in_a_row && has_mail(self) && (in_a_row >= TR__BATCH_MAX || tr__count_step(loop));
}

static void receive_next(tr_actor *self, uint64_t timeout_ns, const wanted *what, const char *where)
{
    tr__loop *loop = tr__owner(self);
    tr__fiber_state *state = self->fiber;
    bool bounded = false;
    for (;;) {
        if (!gives_way(loop, self) && !is_over(self) && (state->received = next_mail(loop, self, what))) {
            state->received_in_a_row++;
            tr__watch_type(loop, state->received);
            break;
        }
        if (bounded && !has_mail(self) && bound_passed(self)) {
            tr__self_fail(self, TR_EDEADLINE, "no message within the time given");
            break;
        }
        if (!bounded)
            waits_at(self, where);
        if (!bounded && !bound_wait(self, timeout_ns)) {
            step_aside(self);
            break;
        }
        bounded = true;
        tr_err err = wait_for(self, TR__WAIT_MESSAGE);
        if (err != TR_OK && is_over(self))
            break;
    }
    if (bounded)
        bound_end(self);
}

static const tr_msg *receive(tr_actor *self, uint64_t timeout_ns, const wanted *what, const char *where)
{
    if (!is_fiber(self, "tr_receive"))
        return NULL;
    if (self->fiber->received) {
        tr__release(tr__owner(self), self->fiber->received);
        self->fiber->received = NULL;
    }
    self->fiber->scanned = NULL;
    receive_next(self, timeout_ns, what, where);
    self->fiber->scanned = NULL;
    return self->fiber->received;
}

const tr_msg *tr_receive_at(tr_actor *self, uint64_t timeout_ns, const char *where)
{
    return receive(self, timeout_ns, NULL, where);
}

const tr_msg *tr_receive_match_at(tr_actor *self, uint64_t timeout_ns, tr_type *type, tr_match_fn match,
                                  void *context, const char *where)
{
    return receive(self, timeout_ns, &(wanted){type, match, context}, where);
}
