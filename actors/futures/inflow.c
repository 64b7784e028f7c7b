/* Streamed asks at who asks: see flow.h. The actor's own loop. */
#include <troupe/troupe.h>

#include "actors/futures/flow.h"
#include "actors/memory.h"
#include "actors/remote/remote.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define NO_FUTURE ((tr_future){0})

/* ---- asking -------------------------------------------------------------------------------------------- */

static tr__pending *make(tr__loop *loop, tr_actor *self, tr_addr to, uint32_t window,
                         const tr_typeinfo *asked)
{
    tr__inflow *flow = tr__alloc(sizeof(*flow));
    tr_msg *cancel = flow ? tr__cancel_make(loop) : NULL;
    tr__pending *pending = cancel ? tr__pending_make(loop, self, TR__PENDING_ASK) : NULL;
    if (!pending) {
        if (cancel)
            tr__msg_free(loop, cancel);
        tr__free(flow);
        tr__self_fail(self, TR_ENOMEM, "no memory for a future");
        return NULL;
    }
    *flow = (tr__inflow){.asked = asked,
                         .from = to,
                         .cancel = cancel,
                         .window = (uint8_t)window,
                         .step = (uint8_t)(window > 1 ? window / 2 : 1)};
    self->asks++;
    pending->special = TR__STREAMS;
    pending->inflow = flow;
    pending->callee = to;
    pending->since_ns = loop->now_ns;
    return pending;
}

tr_future tr_ask_stream_body(tr_actor *self, tr_addr to, uint64_t timeout_ns, uint32_t window, tr_type *type,
                             const void *body)
{
    tr__loop *loop = tr__owner(self);
    window = window ? window : TR__WINDOW_DEFAULT;
    if (window > TR__WINDOW_MAX) {
        tr__self_fail(self, TR_EINVAL, "tr_ask_stream: a window of %u items, the most is %d", window,
                      TR__WINDOW_MAX);
        return NO_FUTURE;
    }
    if (self->asks >= TR__ASKS_MAX) {
        tr__self_fail(self, TR_EFULL, "more than %u asks of %s are outstanding: await some first",
                      TR__ASKS_MAX, self->def->name);
        return NO_FUTURE;
    }
    tr_msg *msg;
    if (tr__prepare(self, to, type, body, timeout_ns, false, &msg) != TR_OK)
        return NO_FUTURE;
    tr__pending *pending = make(loop, self, to, window, msg->type);
    if (!pending) {
        tr__unprepare(self, to, msg);
        return NO_FUTURE;
    }
    uint64_t id = tr__pending_id(pending), due = tr__ask_due(loop, self, timeout_ns);
    pending->inflow->due_ns = due;
    tr__pending_due(loop, pending, due);
    msg->kind = TR__MSG_ASK;
    msg->flags |= TR__MSG_STREAM;
    msg->error = (uint8_t)window;
    msg->ask = id;
    msg->deadline_ns = due;
    tr__submit(loop, to, msg);
    return (tr_future){id};
}

/* ---- demand -------------------------------------------------------------------------------------------- */

/* Takes block, whose body is no more. */
static void grant(tr__loop *loop, const tr__pending *pending, tr_msg *block)
{
    tr__inflow *flow = pending->inflow;
    if (block->home & TR__HOME_HOLDS)
        tr__msg_let_go(block);
    if (block->home == TR__HOME_NONE) {
        tr__buffers_refund(loop->node->buffers, block->size);
        tr__buffers_charge(loop->node->buffers, sizeof(tr_demand));
    }
    block->kind = TR__MSG_DEMAND;
    block->flags = 0;
    block->size = sizeof(tr_demand);
    tr__msg_filled(block, tr__type_of(&tr_demand_type));
    block->sender = tr__addr_of(pending->owner);
    block->ask = tr__pending_id(pending);
    block->deadline_ns = flow->outflow;
    block->error = (uint8_t)(flow->owed + (TR_PLANT(demand_twice) ? flow->owed : 0));
    block->places = 0;
    flow->owed = 0;
    tr__submit(loop, flow->from, block);
}

/* One item less is here. `block` (taken; NULL: its owner keeps it) is the grant if it is time for one. */
static void taken(tr__loop *loop, tr__pending *pending, tr_msg *block)
{
    tr__inflow *flow = pending->inflow;
    bool goes_on = !pending->settled && !loop->stopping && tr__takes_mail(pending->owner);
    if (goes_on && ++flow->owed >= flow->step) {
        tr_msg *with = block ? block : tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_demand));
        if (with) {
            grant(loop, pending, with);
            return;
        }
        if (flow->owed == flow->window) { /* nothing is left that could bring the grant */
            tr__cancel_callee(loop, pending);
            tr__pending_settle(loop, pending, NULL, TR_ENOMEM);
        }
    }
    if (block)
        tr__msg_free(loop, block);
}

static tr__pending *stream_of(tr__loop *loop, const tr_msg *item)
{
    tr__pending *pending = tr__pending_find(loop, item->ask);
    bool is = pending && pending->kind == TR__PENDING_ASK && pending->special & TR__STREAMS;
    return is ? pending : NULL;
}

void tr__item_released(tr__loop *loop, tr_msg *msg)
{
    tr__pending *pending = stream_of(loop, msg);
    if (pending)
        taken(loop, pending, msg);
    else
        tr__msg_free(loop, msg);
}

void tr__item_kept(tr__loop *loop, tr_msg *msg)
{
    tr__pending *pending = stream_of(loop, msg);
    msg->kind = TR__MSG_NORMAL;
    msg->ask = 0;
    msg->deadline_ns = 0;
    if (pending)
        taken(loop, pending, NULL);
}

/* ---- items --------------------------------------------------------------------------------------------- */

static tr_msg *pop(tr__inflow *flow)
{
    tr_msg *msg = flow->head;
    flow->head = msg->next;
    if (!flow->head)
        flow->tail = NULL;
    msg->home |= TR__HOME_HOLDS; /* whoever frees it comes by tr__item_released */
    return msg;
}

/* What a fiber has in hand. */
static void give_back(tr__loop *loop, tr_actor *self)
{
    tr_msg *before = self->fiber->answer;
    self->fiber->answer = NULL;
    if (before)
        tr__release(loop, before);
}

static void skip(tr__loop *loop, tr__pending *pending, tr_msg *msg)
{
    loop->counts.handled--;
    loop->counts.dropped[TR_DROP_LATE_REPLY]++;
    taken(loop, pending, msg);
}

void tr__inflow_skip(tr__loop *loop, tr__pending *pending)
{
    pending->inflow->skips = true;
    give_back(loop, pending->owner); /* it may be all of the window */
    while (pending->inflow->head)
        skip(loop, pending, pop(pending->inflow));
}

void tr__inflow_end(tr__loop *loop, tr__pending *pending)
{
    tr__inflow *flow = pending->inflow;
    while (flow->head) {
        loop->counts.handled--;
        tr__drop(loop, pop(flow), TR_DROP_LATE_REPLY);
    }
    if (flow->cancel)
        tr__msg_free(loop, flow->cancel);
    tr__free(flow);
}

/* One to the owner's function. False: nothing more now, and the entry may be gone. */
static bool give(tr__loop *loop, tr__pending *pending)
{
    tr_actor *owner = pending->owner;
    tr__inflow *flow = pending->inflow;
    uint64_t id = tr__pending_id(pending);
    tr_msg *msg = pop(flow);
    loop->running = owner;
    loop->current = msg;
    bool more = flow->each(owner, owner->state_block, msg, flow->context);
    if (!more && tr__pending_get(loop, owner, id))
        flow->paused = true;
    if (loop->current)
        tr__release(loop, loop->current);
    loop->current = NULL;
    return tr__pending_get(loop, owner, id) && !flow->paused && !owner->exiting;
}

/* What waits, until it takes no more. False: the entry is gone, or its owner ends. */
static bool give_all(tr__loop *loop, tr__pending *pending)
{
    tr_actor *owner = pending->owner;
    uint64_t id = tr__pending_id(pending);
    while (pending->inflow->head && give(loop, pending)) {
    }
    return tr__pending_get(loop, owner, id) && !owner->exiting;
}

void tr__item_arrived(tr__loop *loop, tr_actor *asker, tr_msg *msg)
{
    tr__pending *pending = tr__pending_get(loop, asker, msg->ask);
    if (!pending || pending->settled || !(pending->special & TR__STREAMS) ||
        pending->kind != TR__PENDING_ASK) {
        loop->counts.handled--;
        tr__drop(loop, msg, TR_DROP_LATE_REPLY);
        return;
    }
    tr__inflow *flow = pending->inflow;
    flow->from = pending->callee = msg->sender;
    flow->outflow = msg->deadline_ns;
    if (flow->skips) {
        skip(loop, pending, msg);
        return;
    }
    msg->next = NULL;
    bool first = !flow->head;
    *(first ? &flow->head : &flow->tail->next) = msg;
    flow->tail = msg;
    if (asker->fiber)
        tr__fiber_wake(loop, asker, tr__pending_id(pending));
    else if (first && flow->each && !flow->paused &&
             !asker->exiting) /* else those before it come in their turn */
        give_all(loop, pending);
}

bool tr__inflow_turn(tr__loop *loop, tr__pending *pending)
{
    tr__inflow *flow = pending->inflow;
    bool gives = flow->each && flow->head && !flow->paused;
    if (gives && !give_all(loop, pending))
        return true;
    if (pending->settled) {
        if (gives && !flow->head)
            tr__pending_tell(loop, pending);
        return gives || tr__inflow_holds(pending);
    }
    if (flow->due_ns <= loop->now_ns || pending->owner->fiber)
        return false;
    if (flow->due_ns != TR__NEVER)
        tr__wheel_set(&loop->wheel, &pending->timer, flow->due_ns);
    return true;
}

/* ---- taking them --------------------------------------------------------------------------------------- */

/* The actor's streamed ask; NULL: it isn't one, and self's last error says so. */
static tr__pending *flow_of(tr_actor *self, tr_future future, const char *what)
{
    tr__pending *pending = tr__future_of(self, future, what);
    if (!pending) {
        if (!tr_last_error(self)->code)
            tr__self_fail(self, TR_EINVAL, "%s: no future", what);
        return NULL;
    }
    if (pending->kind == TR__PENDING_ASK && pending->special & TR__STREAMS)
        return pending;
    tr__self_fail(self, TR_EINVAL, "%s: this was asked for an answer only (tr_ask)", what);
    return NULL;
}

tr_err tr_next_msg_at(tr_actor *self, tr_future future, const tr_msg **item, const char *where)
{
    tr__loop *loop = tr__owner(self);
    if (item)
        *item = NULL;
    if (!self->fiber)
        return tr__self_fail(self, TR_EINVAL, "tr_next in %s, which is no fiber: tr_each", self->def->name);
    tr__pending *pending = flow_of(self, future, "tr_next");
    if (!pending) {
        tr_err err = tr_last_error(self)->code;
        TR_TRY(tr__fiber_item(self, NULL, where));
        return err;
    }
    give_back(loop, self);
    TR_TRY(tr__fiber_item(self, pending, where));
    if (tr__inflow_has(pending)) {
        self->fiber->answer = pop(pending->inflow);
        if (item)
            *item = self->fiber->answer;
        return TR_OK;
    }
    tr_error error;
    if (tr__pending_error(pending, &error) != TR_OK)
        return tr__self_fail(self, error.code, "%s", error.text);
    return tr__self_fail(self, TR_ENOTFOUND, "this stream has given all its items: await its answer");
}

tr_err tr_next_type_at(tr_actor *self, tr_future future, tr_type *type, const void **out, const char *where)
{
    const tr_msg *item;
    *out = NULL;
    TR_TRY(tr_next_msg_at(self, future, &item, where));
    *out = tr_match_type(item, type);
    return *out ? TR_OK
                : tr__self_fail(self, TR_ETYPE, "the item is a %s, not a %s", tr_msg_type_name(item),
                                type->name);
}

tr_err tr_each(tr_actor *self, tr_future future, tr_each_fn each, void *context)
{
    tr__loop *loop = tr__owner(self);
    if (self->def->run)
        return tr__self_fail(self, TR_EINVAL, "tr_each in %s, which is a fiber: tr_next", self->def->name);
    tr__pending *pending = flow_of(self, future, "tr_each");
    if (!pending)
        return tr_last_error(self)->code;
    tr__inflow *flow = pending->inflow;
    flow->each = each;
    flow->context = context;
    flow->paused = false;
    if (flow->head) /* in their turn, never from within this call */
        tr__wheel_set(&loop->wheel, &pending->timer, loop->now_ns);
    return TR_OK;
}
