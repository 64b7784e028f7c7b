/* Messages that a receive actor sets aside until it can handle them (tr_defer), and its change of handler (tr_become). What
 * is deferred keeps its place, and counts as queued; it comes back in front of the mailbox, in the order it was deferred
 * in. The actor's loop. */
#include "actors/defer.h"

#include <stddef.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "base/mem.h"

/* ---- setting aside ------------------------------------------------------------------------------------- */

static tr_err may_defer(tr_actor *self, const tr_msg *msg)
{
    const tr__loop *loop = tr__owner(self);
    if (self->def->run)
        return tr__self_fail(self, TR_EINVAL,
                             "tr_defer in %s, which is a fiber: it receives what it waits for",
                             self->def->name);
    if (!msg || loop->running != self || loop->current != msg || msg->kind > TR__MSG_NOTICE ||
        self->state != TR__ACTOR_RUNNING)
        return tr__self_fail(self, TR_EINVAL, "tr_defer: this message isn't the one being handled");
    if (msg->flags & TR__MSG_ANSWERED)
        return tr__self_fail(self, TR_EINVAL, "tr_defer: this %s has been answered", tr_msg_type_name(msg));
    if (!tr__extras_of(tr__owner(self), self))
        return tr__self_fail(self, TR_ENOMEM, "no memory to defer a message");
    if (self->extras->deferred_count >= self->capacity)
        return tr__self_fail(self, TR_EFULL, "%s has deferred as many messages as its mailbox holds, %u",
                             self->def->name, self->capacity);
    return TR_OK;
}

tr_err tr_defer(tr_actor *self, const tr_msg *msg)
{
    TR_TRY(may_defer(self, msg));
    tr__loop *loop = tr__owner(self);
    tr__extras *extras = self->extras;
    tr_msg *taken = loop->current;
    loop->current = NULL;
    taken->flags |= TR__MSG_DEFERRED | (loop->beyond ? TR__MSG_BEYOND : 0);
    loop->beyond = false;
    taken->next = NULL;
    if (extras->deferred)
        extras->deferred_last->next = taken;
    else
        extras->deferred = taken;
    extras->deferred_last = taken;
    extras->deferred_count++;
    extras->withheld += taken->places; /* they were counted as freed when it was taken off the mailbox */
    self->count++;
    TR__UNCOUNT(loop->counts.handled);
    return TR_OK;
}

bool tr__undefer(tr_actor *actor)
{
    tr__extras *extras = actor->extras;
    if (!extras || !extras->deferred)
        return false;
    extras->deferred_last->next = actor->head;
    if (!actor->head)
        actor->tail = extras->deferred_last;
    actor->head = extras->deferred;
    extras->deferred = extras->deferred_last = NULL;
    extras->deferred_count = 0;
    return true;
}

tr_msg *tr__deferred_take(tr_actor *actor, bool (*is)(const tr_msg *msg, const tr_msg *like),
                          const tr_msg *like)
{
    tr__extras *extras = actor->extras;
    tr_msg *before = NULL;
    for (tr_msg *msg = extras->deferred; msg; before = msg, msg = msg->next)
        if (is(msg, like)) {
            *(before ? &before->next : &extras->deferred) = msg->next;
            if (!msg->next)
                extras->deferred_last = before;
            extras->deferred_count--;
            actor->count--;
            return msg;
        }
    return NULL;
}

void tr_undefer(tr_actor *self)
{
    if (tr__undefer(self) && self->state == TR__ACTOR_RUNNING)
        tr__wake(tr__owner(self), self);
}

/* ---- another handler ----------------------------------------------------------------------------------- */

/* A definition like another, but for the handler, which it looks up in the actor. One a definition and loop, made at the
 * first tr_become, kept until the loop's end: the watchdog may read its name at any time. */
struct tr__becoming {
    struct tr__becoming *next;
    const tr_actor_def *own;
    tr_actor_def def;
};

static void receive_as_it_became(tr_actor *self, void *state, const tr_msg *msg)
{
    self->extras->receive(self, state, msg);
}

static const struct tr__becoming *becoming_of(const tr_actor_def *def)
{
    return (const struct tr__becoming *)((const char *)def - offsetof(struct tr__becoming, def));
}

static const tr_actor_def *becoming_make(tr__loop *loop, const tr_actor_def *own)
{
    struct tr__becoming *found = loop->becomings;
    while (found && found->own != own)
        found = found->next;
    if (!found && (found = tr__alloc(sizeof(*found)))) {
        *found = (struct tr__becoming){.next = loop->becomings, .own = own};
        tr__def_copy(&found->def, own);
        found->def.receive = receive_as_it_became;
        loop->becomings = found;
    }
    return found ? &found->def : NULL;
}

void tr__becomings_fini(tr__loop *loop)
{
    while (loop->becomings) {
        struct tr__becoming *next = loop->becomings->next;
        tr__free(loop->becomings);
        loop->becomings = next;
    }
}

tr_err tr_become(tr_actor *self, tr_receive_fn receive)
{
    tr__loop *loop = tr__owner(self);
    if (self->def->run)
        return tr__self_fail(self, TR_EINVAL, "tr_become in %s, which is a fiber: it has no handler",
                             self->def->name);
    const tr_actor_def *def = self->def;
    if (def->receive != receive_as_it_became)
        def = becoming_make(loop, def);
    tr__extras *extras = def ? tr__extras_of(loop, self) : NULL;
    if (!extras)
        return tr__self_fail(self, TR_ENOMEM, "no memory for another handler of %s", self->def->name);
    extras->receive = receive ? receive : becoming_of(def)->own->receive;
    __atomic_store_n(&self->def, def, __ATOMIC_RELAXED); /* the watchdog may read it */
    tr_undefer(self);
    return TR_OK;
}

/* ---- what is left at the end --------------------------------------------------------------------------- */

/* The first message or ask of the mailbox, taken off it; NULL: there is none. */
static tr_msg *take_left(tr_actor *actor)
{
    tr_msg *before = NULL, *msg = actor->head;
    while (msg && msg->kind > TR__MSG_ASK) {
        before = msg;
        msg = msg->next;
    }
    if (!msg)
        return NULL;
    tr__mailbox_unlink(actor, before, msg);
    return msg;
}

void tr__left(tr__loop *loop, tr_actor *actor)
{
    tr_msg *msg;
    while ((msg = take_left(actor))) {
        if (!tr__msg_reached(loop, actor, msg))
            continue;
        loop->running = actor;
        loop->current = msg;
        actor->def->left(actor, actor->state_block, msg);
        tr__scratch_free(loop);
        if (loop->current)
            tr__release(loop, loop->current);
        loop->current = NULL;
        if (loop->answer) {
            tr__release(loop, loop->answer);
            loop->answer = NULL;
        }
    }
    loop->running = NULL;
}
