/* Timers that come again. See period.h.
 *
 * An entry of the pending table holds, as its message, a block that is never sent: what the timer knows of itself. Each
 * notice is a message of its own, made when it is due, and there is at most one at a time, queued or on its way; what it
 * says is filled in when it is handled. So a late or busy actor has one notice waiting and hears how many were missed, and
 * without memory for one the next is late, and says so as well.
 *
 *     tr_every        the k-th is due at start + k * period, whatever became of the others: no drift
 *     tr_idle_after   looks every eighth of its time whether the actor has handled anything since: no message pays for it
 */
#include "actors/futures/period.h"

#include <string.h>

#include <troupe/troupe.h>

#define IDLE_STEPS 8

typedef struct period {
    uint64_t start_ns, period_ns;
    uint64_t last;     /* every: the number of the last one that was handled */
    uint64_t handled;  /* idle: the actor's count when it was looked at last, */
    uint64_t since_ns; /* and since when it has been that, at most */
    bool idle;
    bool out; /* its notice isn't handled yet */
} period;

static tr_timer begin(tr_actor *self, bool idle, uint64_t period_ns)
{
    tr__loop *loop = tr__owner(self);
    uint64_t now = tr__now_fresh(loop);
    const tr_typeinfo *info = tr__type_of(idle ? &tr_idle_type : &tr_tick_type);
    if (period_ns == 0 || period_ns > UINT64_MAX / 2 - now) {
        tr__self_fail(self, TR_EINVAL, "a timer that comes again needs a time between 1 ns and 292 years");
        return (tr_timer){0};
    }
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(period)) : NULL;
    tr__pending *pending = msg ? tr__pending_make(loop, self, TR__PENDING_PERIOD) : NULL;
    if (!pending) {
        if (msg)
            tr__msg_free(loop, msg);
        tr__self_fail(self, TR_ENOMEM, "no memory for a timer");
        return (tr_timer){0};
    }
    *(period *)tr__msg_body(msg) = (period){
        .start_ns = now, .period_ns = period_ns, .handled = self->handled, .since_ns = now, .idle = idle};
    pending->msg = msg;
    uint64_t first = idle && period_ns >= IDLE_STEPS ? period_ns / IDLE_STEPS : period_ns;
    tr__wheel_set(&loop->wheel, &pending->timer, now + first);
    return (tr_timer){tr__pending_id(pending)};
}

tr_timer tr_every(tr_actor *self, uint64_t period_ns)
{
    return begin(self, false, period_ns);
}

tr_timer tr_idle_after(tr_actor *self, uint64_t idle_ns)
{
    return begin(self, true, idle_ns);
}

/* Without memory there is none this time. */
static void notify(tr__loop *loop, tr__pending *pending, period *p)
{
    tr_addr self = tr__addr_of(pending->owner);
    size_t size = p->idle ? sizeof(tr_idle) : sizeof(tr_tick);
    tr_msg *msg = p->out ? NULL : tr__msg_alloc(&loop->pool, loop->index, size);
    if (!msg)
        return;
    memset(tr__msg_body(msg), 0, size);
    msg->type = tr__type_of(p->idle ? &tr_idle_type : &tr_tick_type);
    msg->kind = TR__MSG_NOTICE;
    msg->flags = TR__MSG_TICK;
    msg->ask = tr__pending_id(pending);
    msg->sender = self;
    msg->to.slot = self.slot;
    msg->to.generation = self.generation;
    p->out = true;
    TR__COUNT(loop->counts.accepted);
    tr__enqueue(loop, pending->owner, msg);
}

static uint64_t look_at_idle(tr__loop *loop, tr__pending *pending, period *p)
{
    uint64_t now = loop->now_ns, step = p->period_ns / IDLE_STEPS;
    if (pending->owner->handled != p->handled) {
        p->handled = pending->owner->handled;
        p->since_ns = now;
    } else if (now - p->since_ns >= p->period_ns) {
        notify(loop, pending, p);
        return now + step;
    }
    uint64_t at = p->since_ns + p->period_ns;
    return at < now + step ? at : now + step;
}

void tr__period_due(tr__loop *loop, tr__pending *pending)
{
    period *p = tr__msg_body(pending->msg);
    uint64_t next;
    if (p->idle) {
        next = look_at_idle(loop, pending, p);
    } else {
        notify(loop, pending, p);
        next = p->start_ns + ((loop->now_ns - p->start_ns) / p->period_ns + 1) * p->period_ns;
    }
    tr__wheel_set(&loop->wheel, &pending->timer, next);
}

bool tr__period_taken(tr__loop *loop, tr_actor *actor, tr_msg *notice)
{
    tr__pending *pending = tr__pending_get(loop, actor, notice->ask);
    if (!pending || pending->kind != TR__PENDING_PERIOD)
        return false;
    period *p = tr__msg_body(pending->msg);
    p->out = false;
    if (p->idle) {
        *(tr_idle *)tr__msg_body(notice) =
            (tr_idle){.timer = notice->ask, .idle_ns = loop->now_ns - p->since_ns};
        p->handled = actor->handled; /* this one is no message of others */
        p->since_ns = loop->now_ns;
        return true;
    }
    uint64_t count = (loop->now_ns - p->start_ns) / p->period_ns;
    uint64_t missed = count > p->last + 1 ? count - p->last - 1 : 0;
    *(tr_tick *)tr__msg_body(notice) = (tr_tick){.timer = notice->ask, .count = count, .missed = missed};
    p->last = count;
    return true;
}
