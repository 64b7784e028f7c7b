/* Fibers that await each other in a cycle: found by a message that goes along who waits for whom (edge chasing, after Chandy,
 * Misra and Haas 1983), on one node. The loop of the actor that it has come to.
 *
 * An ask that isn't settled after TR__CYCLE_CHECK has its fiber send a probe to the callee. That one, if it awaits somebody
 * itself, puts its own wait behind those in it and sends it on. A probe that comes back to who sent it has walked a cycle.
 * The last wait that closes a cycle is looked at as well, so each is found; who waits briefly pays nothing.
 *
 * An answer may be under way while a probe is. So it must find the same waits twice, CONFIRM apart, which no answer needs.
 * Then each of the asks in it fails, with a text that names all. What doesn't wait for one certain answer is no link of a
 * cycle: a receive actor, tr_first_of, a group, an actor of another node. Want of memory loses a probe; the next one comes. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/waiting.h"
#include "base/hash.h"

#define CONFIRM   TR_MILLIS(100)
#define LINKS_MAX 64 /* waits of a cycle, at most */

/* Who waits, in which ask, for what, where. The pointers are static. */
typedef struct wait_link {
    tr_addr actor;
    uint64_t ask;
    const tr_actor_def *def;
    const tr_typeinfo *asked;
    const char *where;
} wait_link;

typedef struct probe {
    uint32_t count;
    uint32_t budget; /* of messages that it may become, where an actor awaits several at once */
    wait_link links[];
} probe;

#define BUDGET 1024

/* ---- along the waits ----------------------------------------------------------------------------------- */

/* The fiber goes on only if this ask succeeds. */
static bool is_link(tr__loop *loop, const tr__pending *pending)
{
    if (pending->kind != TR__PENDING_ASK || pending->settled || !tr__is_awaited(pending) ||
        pending->callee.node != loop->node->id)
        return false;
    uint64_t awaited = pending->owner->fiber->awaited;
    if (awaited == tr__pending_id(pending))
        return true;
    const tr__pending *gather = tr__pending_get(loop, pending->owner, awaited);
    return gather && gather->kind == TR__PENDING_GATHER && gather->mode != TR__GATHER_FIRST;
}

/* One more message: what `before` (NULL: nothing) has walked, and this wait. */
static void walk_on(tr__loop *loop, const tr__pending *pending, const probe *before, uint32_t budget)
{
    uint32_t count = before ? before->count : 0;
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, sizeof(probe) + (count + 1) * sizeof(wait_link));
    if (!msg)
        return;
    probe *walked = tr__msg_body(msg);
    walked->count = count + 1;
    walked->budget = budget;
    if (count)
        memcpy(walked->links, before->links, count * sizeof(wait_link));
    walked->links[count] = (wait_link){
        .actor = tr__addr_of(pending->owner),
        .ask = tr__pending_id(pending),
        .def = pending->owner->def,
        .asked = tr__pending_asked(pending),
        .where = pending->owner->fiber->where,
    };
    msg->kind = TR__MSG_PROBE;
    msg->sender = tr__addr_of(pending->owner);
    tr__submit(loop, pending->callee, msg);
}

static bool is_suspected(const tr__loop *loop, const tr_actor *actor)
{
    return actor->fiber->suspected && loop->now_ns - actor->fiber->suspected_ns < 4 * CONFIRM;
}

uint64_t tr__cycle_look(tr__loop *loop, tr__pending *pending)
{
    if (!is_link(loop, pending))
        return loop->now_ns + TR__CYCLE_CHECK; /* it may come to await it */
    walk_on(loop, pending, NULL, BUDGET);
    /* Waits last long or they don't: twice as long as now. */
    uint64_t waited = loop->now_ns - pending->since_ns;
    return loop->now_ns + (is_suspected(loop, pending->owner) ? CONFIRM : waited);
}

/* ---- one that was walked ------------------------------------------------------------------------------- */

static uint64_t number_of(const probe *found)
{
    uint64_t number = 0; /* whoever began: the same cycle */
    for (uint32_t i = 0; i < found->count; i++)
        number += tr__hash(&found->links[i].ask, sizeof(found->links[i].ask)) ^ found->links[i].actor.slot;
    return number ? number : 1;
}

/* "a <1.2.3> waits for question at x.c:12 of b <1.3.1>, which waits for ... of a" */
static void tell(const probe *found, char text[TR_ERROR_TEXT_MAX])
{
    size_t length = 0;
    for (uint32_t i = 0; i < found->count && length < TR_ERROR_TEXT_MAX; i++) {
        const wait_link *at = &found->links[i];
        char address[TR_ADDR_TEXT_MAX];
        tr__addr_format(at->actor, address);
        int added = snprintf(text + length, TR_ERROR_TEXT_MAX - length, "%s%s %s awaits %s at %s",
                             i ? "; " : "cycle: ", at->def->name, address, at->asked->name, at->where);
        length += added > 0 ? (size_t)added : 0;
    }
}

static void fail_all(tr__loop *loop, const probe *found)
{
    char text[TR_ERROR_TEXT_MAX];
    tell(found, text);
    for (uint32_t i = 0; i < found->count; i++) {
        tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, sizeof(tr__failure) + TR_ERROR_TEXT_MAX);
        if (!msg)
            continue;
        char *copy = (char *)tr__msg_body(msg) + sizeof(tr__failure);
        memcpy(copy, text, TR_ERROR_TEXT_MAX);
        *(tr__failure *)tr__msg_body(msg) = (tr__failure){.code = TR_EDEADLOCK, .text = copy};
        tr__msg_filled(msg, tr__type_of(&tr__failure_type));
        msg->kind = TR__MSG_CYCLE;
        msg->ask = found->links[i].ask;
        tr__submit(loop, found->links[i].actor, msg);
    }
}

/* Back where it began: true if that ask is still awaited. */
static void walked_round(tr__loop *loop, tr_actor *actor, const probe *found)
{
    tr__pending *pending = tr__pending_get(loop, actor, found->links[0].ask);
    if (!pending || !is_link(loop, pending))
        return;
    uint64_t number = number_of(found);
    uint64_t ago = loop->now_ns - actor->fiber->suspected_ns;
    if (actor->fiber->suspected == number && ago >= CONFIRM / 2) {
        fail_all(loop, found);
        return;
    }
    if (is_suspected(loop, actor)) /* with others: one at a time */
        return;
    actor->fiber->suspected = number;
    actor->fiber->suspected_ns = loop->now_ns;
    uint64_t again = loop->now_ns + CONFIRM;
    if (again < pending->until_ns)
        tr__wheel_set(&loop->wheel, &pending->timer, again);
}

void tr__probe_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    const probe *walked = tr__msg_body(msg);
    tr_addr self = tr__addr_of(actor);
    bool round = tr_addr_equal(walked->links[0].actor, self), seen = walked->count == LINKS_MAX;
    for (uint32_t i = 1; i < walked->count && !seen;
         i++) /* into a cycle that it isn't part of: who is finds it */
        seen = tr_addr_equal(walked->links[i].actor, self);
    TR__COUNT(loop->counts.handled);
    if (round) {
        walked_round(loop, actor, walked);
    } else if (!seen && actor->fiber && actor->fiber->wait == TR__WAIT_FUTURE) {
        uint32_t links = 0;
        for (const tr__pending *pending = actor->pendings; pending;
             pending = tr__pending_at(loop, pending->next))
            links += is_link(loop, pending);
        uint32_t budget = links ? walked->budget / links : 0;
        for (const tr__pending *pending = actor->pendings; pending && budget;
             pending = tr__pending_at(loop, pending->next))
            if (is_link(loop, pending))
                walk_on(loop, pending, walked, budget);
    }
    tr__msg_free(loop, msg);
}

void tr__cycle_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr__pending *pending = tr__pending_get(loop, actor, msg->ask);
    TR__COUNT(loop->counts.handled);
    if (!pending || !is_link(loop, pending)) {
        tr__msg_free(loop, msg);
        return;
    }
    msg->kind = TR__MSG_FAILURE;
    msg->error = TR_EDEADLOCK;
    actor->fiber->suspected = 0;
    tr__cancel_callee(loop, pending);
    tr__pending_settle(loop, pending, msg, TR_EDEADLOCK);
}
