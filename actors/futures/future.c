/* Asks and their answers, as actors use them. The actor's own loop; what settles a future is in pending.c. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/remote/remote.h"
#include "actors/send.h"
#include "base/err.h"

#define NO_FUTURE ((tr_future){0})

/* `near` is the receiver if it was found on this loop, else NULL. */
static void submit(tr__loop *loop, tr_actor *near, tr_addr to, tr_msg *msg)
{
    if (near) {
        TR__COUNT(loop->counts.accepted);
        if (near->fiber && msg->kind >= TR__MSG_REPLY &&
            !loop->taps) { /* as tr__arrive, without its choice */
            TR__COUNT(loop->counts.handled);
            tr__answer(loop, near, msg);
        } else {
            tr__arrive(loop, near, msg);
        }
    } else {
        tr__submit(loop, to, msg);
    }
}

static inline uint64_t after(tr__loop *loop, uint64_t timeout_ns)
{
    uint64_t now = tr__now_for(loop, timeout_ns);
    return timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
}

/* TR_WITHIN, TR_INHERIT: no later than that of the ask that self works for. */
static uint64_t inherited(tr__loop *loop, const tr_actor *self, uint64_t timeout_ns)
{
    const tr_msg *ask = self->fiber ? self->fiber->received : loop->current;
    uint64_t own = timeout_ns == TR_INHERIT ? UINT64_MAX : after(loop, timeout_ns & ~(1ull << 63));
    bool works = ask && ask->kind == TR__MSG_ASK && !(ask->flags & TR__MSG_ANSWERED);
    return works && ask->deadline_ns < own ? ask->deadline_ns : own;
}

static inline uint64_t deadline_of(tr__loop *loop, const tr_actor *self, uint64_t timeout_ns)
{
    if (__builtin_expect(timeout_ns >> 63 && timeout_ns != TR_FOREVER, 0))
        return inherited(loop, self, timeout_ns);
    return after(loop, timeout_ns);
}

uint64_t tr__ask_due(tr__loop *loop, const tr_actor *self, uint64_t timeout_ns)
{
    return deadline_of(loop, self, timeout_ns);
}

tr_future tr_ask_body(tr_actor *self, tr_addr to, uint64_t timeout_ns, tr_type *type, const void *body)
{
    tr__loop *loop = tr__owner(self);
    if (self->asks >= TR__ASKS_MAX) {
        tr__self_fail(self, TR_EFULL, "more than %u asks of %s are outstanding: await some first",
                      TR__ASKS_MAX, self->def->name);
        return NO_FUTURE;
    }
    tr_msg *msg;
    tr_actor *near = tr__near(loop, to);
    const tr_typeinfo *info = tr__type_of(type);
    if (near && near->local && tr__is_flat(info) && !tr__is_overrun(loop)) {
        msg = tr__make_flat(loop, self, to, info, body);
        if (!msg)
            return NO_FUTURE;
        near->local--;
        msg->places = 1;
    } else {
        near = NULL;
        if (tr__prepare(self, to, type, body, timeout_ns, false, &msg) != TR_OK)
            return NO_FUTURE;
    }
    tr__pending *pending = tr__pending_make(loop, self, TR__PENDING_ASK);
    if (!pending) {
        tr__unprepare(self, to, msg);
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return NO_FUTURE;
    }
    self->asks++;
    pending->callee = to;
    pending->asked = msg->type;
    pending->since_ns = loop->now_ns;
    uint64_t due = deadline_of(loop, self, timeout_ns);
    tr__pending_due(loop, pending, due);
    uint64_t id = tr__pending_id(pending);
    msg->kind = TR__MSG_ASK;
    msg->ask = id;
    msg->deadline_ns = due;
    submit(loop, near, to, msg);
    return (tr_future){id};
}

/* ---- answers ------------------------------------------------------------------------------------------- */

tr_err tr__check_ask(tr_actor *self, const tr_msg *ask)
{
    if (ask->kind != TR__MSG_ASK)
        return tr__self_fail(self, TR_EINVAL,
                             "a %s that was sent, not asked, can't be replied to: tr_send to its sender",
                             tr_msg_type_name(ask));
    if (ask->flags & TR__MSG_CANCELED)
        return tr__self_fail(self, TR_ECANCELED, "whoever asked this %s has given it up",
                             tr_msg_type_name(ask));
    if (ask->flags & TR__MSG_ANSWERED)
        return tr__self_fail(self, TR_EINVAL, "this %s has been answered already", tr_msg_type_name(ask));
    return TR_OK;
}

static void answer(tr_actor *self, const tr_msg *ask, tr_msg *msg, uint8_t kind)
{
    tr__loop *loop = tr__owner(self);
    ((tr_msg *)ask)->flags |= TR__MSG_ANSWERED;
    msg->kind = kind;
    msg->sender = tr__addr_of(self);
    msg->to.slot = ask->sender.slot;
    msg->to.generation = ask->sender.generation;
    msg->ask = ask->ask;
    submit(loop, tr__near(loop, ask->sender), ask->sender, msg);
}

/* The asker hears why when the ask is released, unless a later try succeeds. */
static tr_err unanswered(tr_actor *self, const tr_msg *ask)
{
    tr_err err = tr_last_error(self)->code;
    if (ask->flags & TR__MSG_STREAM)
        tr__outflow_fails(self, ask, err);
    else
        ((tr_msg *)ask)->error = (uint8_t)err;
    return err;
}

tr_msg *tr__fit_for_connection(tr_actor *self, const tr_msg *ask, tr_msg *msg)
{
    msg->flags |= ask->flags & TR__MSG_STREAM;
    uint64_t most;
    if (tr__remote_fits(tr__owner(self)->node, ask->sender.node, msg->type, tr__msg_body(msg), msg->size,
                        &most))
        return msg;
    tr__refuse_size(self, msg->type, tr__msg_body(msg), most);
    tr__msg_free(tr__owner(self), msg);
    return NULL;
}

tr_err tr_reply_body(tr_actor *self, const tr_msg *ask, tr_type *type, const void *body)
{
    TR_TRY(tr__check_ask(self, ask));
    const tr_typeinfo *info = tr__type_of(type);
    if (info && info->notice) { /* piped, it would be believed */
        tr__self_fail(self, TR_EPERM, "a %s is sent by the runtime only", info->name);
        return unanswered(self, ask);
    }
    tr_msg *msg = tr__is_flat(info) ? tr__make_flat(tr__owner(self), self, ask->sender, info, body)
                                    : tr_msg_make(self, type, body);
    if (msg && ask->sender.node != tr__owner(self)->node->id)
        msg = tr__fit_for_connection(self, ask, msg);
    if (!msg)
        return unanswered(self, ask);
    answer(self, ask, msg, TR__MSG_REPLY);
    return TR_OK;
}

tr_err tr_vreply_error(tr_actor *self, const tr_msg *ask, tr_err code, const char *format, va_list args)
{
    TR_TRY(tr__check_ask(self, ask));
    tr_error error;
    tr__vfail(&error, code == TR_OK ? TR_EAPP : code, format, args);
    tr__failure failure = {.code = error.code, .text = error.text};
    tr_msg *msg = tr_msg_make(self, &tr__failure_type, &failure);
    if (!msg)
        return unanswered(self, ask);
    msg->error = (uint8_t)error.code;
    msg->flags |= ask->flags & TR__MSG_STREAM;
    answer(self, ask, msg, TR__MSG_FAILURE);
    return TR_OK;
}

/* ---- futures ------------------------------------------------------------------------------------------- */

tr__pending *tr__future_of(tr_actor *self, tr_future future, const char *what)
{
    tr__pending *pending = tr__pending_get(tr__owner(self), self, future.id);
    if (!pending || (pending->kind != TR__PENDING_ASK && pending->kind != TR__PENDING_GATHER)) {
        if (future.id != 0)
            tr__self_fail(self, TR_EINVAL, "%s: this future was consumed already, or is another actor's",
                          what);
        return NULL;
    }
    return pending;
}

static tr_err no_future(tr_actor *self)
{
    tr_err err = tr_last_error(self)->code;
    return err ? err : TR_EINVAL;
}

tr_err tr_then(tr_actor *self, tr_future future, tr_then_fn then, void *context)
{
    tr__loop *loop = tr__owner(self);
    if (self->def->run)
        return tr__self_fail(self, TR_EINVAL, "tr_then in %s, which is a fiber: await it", self->def->name);
    tr__pending *pending = tr__future_of(self, future, "tr_then");
    if (!pending)
        return no_future(self);
    if (pending->special & TR__PIPED)
        return tr__self_fail(self, TR_EINVAL, "tr_then: this future comes as a message already");
    pending->then = then;
    pending->context = context;
    if (pending->settled) /* called in its turn, never from within this call */
        tr__wheel_set(&loop->wheel, &pending->timer, loop->now_ns);
    return TR_OK;
}

tr_err tr_take_result(tr_actor *self, tr_future future, const tr_msg **msg)
{
    tr__loop *loop = tr__owner(self);
    if (msg)
        *msg = NULL;
    tr__pending *pending = tr__future_of(self, future, "tr_take_result");
    if (!pending)
        return no_future(self);
    if (!pending->settled || tr__inflow_holds(pending))
        return tr__self_fail(self, TR_EAGAIN, "this future is not settled yet%s",
                             pending->settled ? ": its items come first" : "");
    return tr__pending_take(loop, pending, msg);
}

static tr_err take_error(tr__loop *loop, tr__pending *pending)
{
    tr_actor *self = pending->owner;
    tr_error error = {0};
    tr_err err = tr__pending_error(pending, &error);
    tr__pending_free(loop, pending);
    return tr__self_fail(self, err, "%s", error.text);
}

tr_err tr__pending_take(tr__loop *loop, tr__pending *pending, const tr_msg **msg)
{
    tr_actor *self = pending->owner;
    if (pending->error)
        return take_error(loop, pending);
    tr_msg *answer_msg = pending->msg;
    pending->msg = NULL;
    tr__pending_free(loop, pending);
    tr_msg **place = self->fiber ? &self->fiber->answer : &loop->answer;
    if (*place)
        tr__release(loop, *place);
    *place = answer_msg;
    if (msg)
        *msg = answer_msg;
    return TR_OK;
}

tr_err tr_await_type_at(tr_actor *self, tr_future future, tr_type *type, const void **out, const char *where)
{
    const tr_msg *msg;
    *out = NULL;
    TR_TRY(tr_await_msg_at(self, future, &msg, where));
    *out = msg ? tr_match_type(msg, type) : NULL;
    return *out ? TR_OK
                : tr__self_fail(self, TR_ETYPE, "the answer is a %s, not a %s",
                                msg ? tr_msg_type_name(msg) : "gather", type->name);
}

void tr_cancel(tr_actor *self, tr_future future)
{
    tr__loop *loop = tr__owner(self);
    tr__pending *pending = tr__pending_get(loop, self, future.id);
    if (!pending || (pending->kind != TR__PENDING_ASK && pending->kind != TR__PENDING_GATHER))
        return;
    if (pending->kind == TR__PENDING_ASK && !pending->settled) {
        tr__cancel_callee(loop, pending);
        if (pending->gather) /* the gather goes on without it */
            tr__gather_canceled(loop, pending);
    }
    tr__pending_free(loop, pending);
}
