/* Fibers as actors: what one waits for, and how it is resumed and ended.
 *
 *     running ──await, receive, sleep──► waiting ──settled, mail, time, kill──► queued ──► running ──► body
 * returns
 *
 * A killed one gets TR_EKILLED from every wait and must return; after GRACE its stack is dropped: what it
 * took through the API is released, plain malloc isn't. The owner's loop only. */
#include <troupe/troupe.h>

#include "actors/budget.h"
#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/operator/observe.h"
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
    state->born_ns = loop->now_ns;
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
    tr__watch_type(loop, state->received);
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
    if (state->wait == TR__WAIT_PLACES && state->beyond)
        tr__budget_leave(loop->node, state->whom);
    if (state->sending)
        tr__msg_free(loop, state->sending);
    tr__fiber_destroy(state->fiber);
    tr__free(state);
}

void tr__fiber_mail(tr__loop *loop, tr_actor *actor)
{
    if (actor->fiber->wait == TR__WAIT_MESSAGE)
        tr__fiber_soon(loop, actor);
}

void tr__fiber_wake(tr__loop *loop, tr_actor *actor, uint64_t pending)
{
    tr__fiber_state *state = actor->fiber;
    if (state && ((state->wait == TR__WAIT_FUTURE && state->awaited == pending) || state->timer == pending))
        tr__fiber_soon(loop, actor);
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
        tr__fiber_soon(loop, actor);
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
        tr__fiber_soon(loop, actor);
}
