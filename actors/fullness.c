/* Who is told how full a mailbox is: who was refused, and may try again (tr_writable, or a fiber that waits in its send);
 * and who asked to hear when it fills up (tr_mailbox_level). Each notice is the block that asked for it, so none is lost,
 * and there are no more than were asked for. The owner's loop. */
#include <troupe/troupe.h>

#include "actors/budget.h"
#include "actors/loop.h"
#include "base/buggify.h"

#define LEVELS_MAX 64 /* asked for at one mailbox */

/* ---- writable ------------------------------------------------------------------------------------------ */

void tr__writable(tr__loop *loop, tr_msg *msg)
{
    tr_addr to = msg->sender;
    if (msg->flags & TR__MSG_STREAM) { /* of who has a large item for a stream (outflow.c) */
        msg->flags &= (uint8_t)~TR__MSG_STREAM;
        msg->kind = TR__MSG_DEMAND;
        msg->sender = ((tr_demand *)tr__msg_body(msg))->asker;
    } else {
        msg->kind = msg->flags & TR__MSG_WAITS ? TR__MSG_PLACES : TR__MSG_NOTICE;
    }
    tr__submit(loop, to, msg);
}

/* In a list by extras, off the run queue: whoever is told in the same turn runs last in, first out. */
static void retell_next_turn(tr__loop *loop, tr_actor *actor)
{
    if (actor->extras->retelling)
        return;
    actor->extras->retelling = true;
    actor->extras->retell_next = loop->retell;
    loop->retell = actor;
}

void tr__retell(tr__loop *loop)
{
    tr_actor *actor = loop->retell;
    loop->retell = NULL;
    while (actor) {
        tr_actor *next = actor->extras->retell_next;
        actor->extras->retelling = false;
        tr__tell_writable(loop, actor);
        actor = next;
    }
}

static void retell_forget(tr__loop *loop, tr_actor *actor)
{
    for (tr_actor **at = &loop->retell; *at; at = &(*at)->extras->retell_next)
        if (*at == actor) {
            *at = actor->extras->retell_next;
            return;
        }
}

/* One that drops its oldest, all of which is deferred: nothing makes place, whatever may be under way to it. */
static bool is_all_deferred(const tr_actor *actor)
{
    return (actor->mail & TR__MAIL_TRANSIT) && !actor->head && actor->count &&
           actor->local + actor->extras->kept_back == 0;
}

/* From a quarter free, at most free/32 (at least one) at a time: the woken ones find room, and not all at
 * once. */
void tr__tell_writable(tr__loop *loop, tr_actor *actor)
{
    tr__extras *extras = actor->extras;
    if (!extras || !extras->want_writable || is_all_deferred(actor))
        return;
    if (!(actor->mail & TR__MAIL_TRANSIT)) /* who waits may be on another loop, and need them all */
        tr__hand_give(actor, actor->local);
    uint32_t free = tr__places_free(&actor->places);
    /* With an empty mailbox what is missing is in other loops' hands and comes back unannounced: let them
     * try. */
    if (free < (actor->capacity + 3u) / 4 && actor->count)
        return;
    uint32_t most = TR_BUGGIFY(tell_one) ? 1 : free / 32;
    for (uint32_t left = most ? most : 1; left && extras->want_writable; left--) {
        tr_msg *msg = extras->want_writable;
        extras->want_writable = msg->next;
        if (!msg->next)
            extras->want_writable_end = &extras->want_writable;
        tr__writable(loop, msg);
    }
    /* Who was told may be gone, or have nothing to send any more: then no message comes whose handling tells
     * the next. So while its mailbox is empty and somebody waits, each turn tells more. */
    if (extras->want_writable && actor->count == 0)
        retell_next_turn(loop, actor);
}

void tr__want_writable_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    TR__COUNT(loop->counts.handled);
    if (msg->flags & TR__MSG_BEYOND)
        tr__budget_wait(loop, msg);
    else
        tr__want_places(loop, actor, msg);
}

void tr__want_places(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr__extras *extras = tr__extras_of(loop, actor);
    if (!extras) {
        tr__writable(loop, msg); /* it may try again, and learn */
        return;
    }
    msg->next = NULL;
    *extras->want_writable_end = msg;
    extras->want_writable_end = &msg->next;
    tr__make_place(loop, actor);
    tr__tell_writable(loop, actor);
}

tr_err tr_notify_writable(tr_actor *self, tr_addr to)
{
    tr__loop *loop = tr__owner(self);
    const tr_typeinfo *info = tr__type_of(&tr_writable_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_writable)) : NULL;
    if (!msg)
        return tr__self_fail(self, TR_ENOMEM, "no memory for a writable notice");
    msg->kind = TR__MSG_WANT_WRITABLE;
    tr__msg_filled(msg, info);
    msg->flags |= self->extras && self->extras->refused_by_budget ? TR__MSG_BEYOND : 0;
    msg->sender = tr__addr_of(self);
    *(tr_writable *)tr__msg_body(msg) = (tr_writable){.actor = to};
    tr__submit(loop, to, msg);
    return TR_OK;
}

/* ---- levels -------------------------------------------------------------------------------------------- */

/* The body of a block that waits at the mailbox: what it will say, and behind it what it waits for. */
typedef struct level {
    tr_mailbox_level notice;
    uint32_t percent;
    tr_msg *fell; /* of one that waits for the mark: what waits then for the fall; NULL: it is that itself */
} level;

static level *level_of(const tr_msg *msg)
{
    return tr__msg_body(msg);
}

static uint32_t mark_of(const tr_actor *actor, uint32_t percent)
{
    return (actor->capacity * percent + 99) / 100;
}

static uint32_t taken_of(const tr_actor *actor)
{
    uint32_t back =
        actor->mail & TR__MAIL_TRANSIT ? actor->extras->kept_back : tr__places_free(&actor->places);
    return actor->capacity - actor->local - back;
}

/* It has risen to its mark, or fallen to half of that. Of an empty mailbox what seems taken is in other loops' hands. */
static bool is_reached(const tr_actor *actor, const tr_msg *msg, uint32_t taken, uint32_t mark)
{
    return level_of(msg)->fell ? taken >= mark : taken <= mark / 2 || actor->count == 0;
}

/* Told when all have been looked at: a notice that is a dead letter may be told of here, and more marks be reached. */
void tr__levels_look(tr__loop *loop, tr_actor *actor)
{
    uint32_t taken = taken_of(actor), to_next = UINT32_MAX;
    tr_msg *reached = NULL, **end = &reached;
    for (tr_msg **at = &actor->extras->levels; *at;) {
        tr_msg *msg = *at;
        level *l = level_of(msg);
        uint32_t mark = mark_of(actor, l->percent);
        if (!is_reached(actor, msg, taken, mark)) {
            if (l->fell && mark - taken < to_next)
                to_next = mark - taken;
            at = &msg->next;
            continue;
        }
        tr_msg *fell = l->fell;
        if (fell)
            fell->next = msg->next;
        *at = fell ? fell : msg->next; /* looked at next */
        actor->extras->level_count -= fell == NULL;
        l->notice.high = fell != NULL;
        l->notice.taken = taken;
        l->notice.places = actor->capacity;
        msg->kind = TR__MSG_NOTICE;
        *end = msg;
        end = &msg->next;
    }
    *end = NULL;
    if (!actor->extras->levels)
        actor->mail &= (uint8_t)~TR__MAIL_WATCHED;
    else if (actor->local >= to_next) /* the send that reaches the mark must not pass unseen */
        tr__hand_give(actor, actor->local - (to_next - 1));
    while (reached) {
        tr_msg *msg = reached;
        reached = msg->next;
        tr__submit(loop, msg->sender, msg);
    }
}

void tr__level_lost(tr__loop *loop, tr_msg *msg)
{
    level *l = level_of(msg);
    if (l->fell)
        tr__msg_free(loop, l->fell);
    l->fell = NULL;
    l->notice = (tr_mailbox_level){.actor = l->notice.actor};
    msg->kind = TR__MSG_NOTICE;
    tr__submit(loop, msg->sender, msg);
}

void tr__level_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    tr__extras *extras = tr__extras_of(loop, actor);
    if (!extras || extras->level_count == LEVELS_MAX) {
        tr__drop(loop, msg, extras ? TR_DROP_FULL : TR_DROP_NO_MEMORY);
        return;
    }
    TR__COUNT(loop->counts.handled);
    extras->level_count++;
    msg->next = extras->levels;
    extras->levels = msg;
    actor->mail |= TR__MAIL_WATCHED;
    tr__levels_look(loop, actor);
}

void tr__fullness_end(tr__loop *loop, tr_actor *actor)
{
    tr__extras *extras = actor->extras;
    if (extras->retelling)
        retell_forget(loop, actor);
    while (extras->want_writable) {
        tr_msg *msg = extras->want_writable;
        extras->want_writable = msg->next;
        tr__writable(loop, msg);
    }
    while (extras->levels) {
        tr_msg *msg = extras->levels;
        extras->levels = msg->next;
        tr__level_lost(loop, msg);
    }
}

static tr_msg *level_make(tr_actor *self, tr_addr to, uint32_t percent)
{
    tr__loop *loop = tr__owner(self);
    const tr_typeinfo *info = tr__type_of(&tr_mailbox_level_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(level)) : NULL;
    if (!msg)
        return NULL;
    *level_of(msg) = (level){.notice = {.actor = to}, .percent = percent};
    tr__msg_filled(msg, info);
    msg->kind = TR__MSG_WANT_LEVEL;
    msg->sender = tr__addr_of(self);
    return msg;
}

tr_err tr_notify_level(tr_actor *self, tr_addr to, uint32_t percent)
{
    tr__loop *loop = tr__owner(self);
    if (percent == 0 || percent > 100)
        return tr__self_fail(self, TR_EINVAL, "tr_notify_level: %u is no percentage of 1 to 100", percent);
    if (to.node != loop->node->id)
        return tr__self_fail(self, TR_EINVAL, "tr_notify_level: not of an actor of another node");
    tr_msg *msg = level_make(self, to, percent), *fell = msg ? level_make(self, to, percent) : NULL;
    if (!fell) {
        if (msg)
            tr__msg_free(loop, msg);
        return tr__self_fail(self, TR_ENOMEM, "no memory for notices of a mailbox's level");
    }
    level_of(msg)->fell = fell;
    tr__submit(loop, to, msg);
    return TR_OK;
}
