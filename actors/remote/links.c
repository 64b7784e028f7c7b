/* Links with actors of one peer, and stops: what comes in, and the ties. Loop 0 only.
 *
 * K4  A tie is there from a LINK that comes or leaves until an UNLINK or an EXIT of the same two comes, an EXIT leaves, or
 *     the UNLINKED that answers our UNLINK comes; unless a LINK left behind that UNLINK. A LINK that leaves between their
 *     UNLINK and our UNLINKED was sent before that UNLINK was read, which ended it: so the UNLINKED ends the tie, unless a LINK
 *     of theirs came meanwhile.
 * K5  So if the connection breaks, each linked actor here has a tie, whose block becomes the signal: that takes no memory. One
 *     too many does no harm: a signal without a link is none (K1, relations.c). */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "base/err.h"

/* ---- ties ----
 * Of a tie's block: `sender` is the one here, `to` the one there, `ask` that one's as a number, deadline_ns the number of our
 * UNLINK that is under way, 0: they are linked; `places` 1: a LINK of theirs came since their last UNLINK. */

static uint64_t key_of(uint32_t slot, uint32_t generation)
{
    return (uint64_t)slot << 32 | generation;
}

static tr_msg *tie_find(const tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t theirs)
{
    return tr__waits_find(&p->waits, TR__MSG_LINK, theirs, slot, generation);
}

static tr_msg *tie_take(tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t theirs)
{
    tr_msg *tie = tr__waits_take(&p->waits, TR__MSG_LINK, theirs, slot, generation);
    if (tie) {
        p->ties--;
        tie->places = 0;
    }
    return tie;
}

static void tie_drop(tr__remote_peer *p, uint32_t slot, uint32_t generation, uint64_t theirs)
{
    tr_msg *tie = tie_take(p, slot, generation, theirs);
    if (tie)
        tr__msg_free(p->remote->loop, tie);
}

bool tr__tie_sent(tr__remote_peer *p, tr_msg *link)
{
    link->ask = key_of(link->to.slot, link->to.generation);
    link->deadline_ns = 0;
    link->places = 0;
    tr_msg *tie = tie_find(p, link->sender.slot, link->sender.generation, link->ask);
    if (!tie) {
        p->ties++;
        return true;
    }
    tie->deadline_ns = 0;
    return false;
}

void tr__tie_leaving(tr__remote_peer *p, const tr_msg *msg)
{
    uint64_t theirs = key_of(msg->to.slot, msg->to.generation);
    if (msg->kind == TR__MSG_EXIT) {
        tie_drop(p, msg->sender.slot, msg->sender.generation, theirs);
        return;
    }
    tr_msg *tie = tie_find(p, msg->sender.slot, msg->sender.generation, theirs);
    if (tie && msg->kind == TR__MSG_UNLINK)
        tie->deadline_ns = msg->ask;
    else if (tie && !tie->deadline_ns && !tie->places)
        tie_drop(p, msg->sender.slot, msg->sender.generation, theirs);
}

bool tr__tie_make(tr__remote_peer *p, tr_addr ours, tr_addr theirs)
{
    uint64_t key = key_of(theirs.slot, theirs.generation);
    tr_msg *tie = tie_find(p, ours.slot, ours.generation, key);
    if (!tie) {
        bool room = p->ties < TR__TIES_MAX && tr__waits_room(&p->waits);
        tie = room ? tr__link_make(p->remote->loop, ours) : NULL;
        if (!tie)
            return false;
        tie->to.slot = theirs.slot;
        tie->to.generation = theirs.generation;
        tie->ask = key;
        tr__waits_put(&p->waits, tie);
        p->ties++;
    }
    tie->places = 1;
    return true;
}

/* ---- what comes in ------------------------------------------------------------------------------------- */

static tr_addr sender_of(const tr__remote_peer *p, const tr__record *r)
{
    return (tr_addr){p->peer->id, r->from_slot, r->from_generation};
}

static tr_addr target_of(const tr__remote_peer *p, const tr__record *r)
{
    return (tr_addr){p->remote->loop->node->id, r->to_slot, r->to_generation};
}

/* Whoever sent it must hear what becomes of it, so without memory the connection ends. */
static tr_msg *block_for(tr__remote_peer *p, const tr__record *r, uint8_t kind)
{
    tr__loop *loop = p->remote->loop;
    tr_msg *msg = kind == TR__MSG_LINK ? tr__link_make(loop, sender_of(p, r))
                                       : tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_shutdown));
    if (!msg) {
        loop->counts.dropped[TR_DROP_NO_MEMORY]++;
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for what it says of a link, or asks to stop");
        return NULL;
    }
    msg->kind = kind;
    msg->sender = sender_of(p, r);
    msg->to.slot = r->to_slot;
    msg->to.generation = r->to_generation;
    return msg;
}

static tr_err may(tr__remote_peer *p, const tr__record *r, tr__right right, tr_error *error)
{
    tr_err err = tr__peer_may(p, right, NULL, error);
    return err == TR_OK ? tr__peer_reaches(p, target_of(p, r), error) : err;
}

void tr__take_link(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    tr_error error;
    tr_msg *msg = block_for(p, r, TR__MSG_LINK);
    if (!msg)
        return;
    if (may(p, r, TR__RIGHT_LINK, &error) != TR_OK) {
        tr__reason reason = {.kind = TR_EXIT_ERROR, .code = error.code};
        snprintf(reason.text, sizeof(reason.text), "%.*s", (int)sizeof(reason.text) - 1, error.text);
        loop->counts.handled++;
        tr__link_fire(loop, msg, target_of(p, r), &reason, 0);
        return;
    }
    msg->deadline_ns = p->connection;
    if (tr__tie_make(p, target_of(p, r), sender_of(p, r)))
        tr__pass(loop, target_of(p, r), msg);
    else
        tr__drop(loop, msg, TR_DROP_NO_MEMORY); /* which tells it that nobody is linked */
}

void tr__take_unlink(tr__remote_peer *p, const tr__record *r)
{
    uint64_t theirs = key_of(r->from_slot, r->from_generation);
    tr_msg *tie = tie_find(p, r->to_slot, r->to_generation, theirs);
    if (tie && !tie->deadline_ns)
        tie_drop(p, r->to_slot, r->to_generation, theirs);
    else if (tie) /* the answer to ours is still to come */
        tie->places = 0;
    tr_msg *msg = block_for(p, r, TR__MSG_UNLINK);
    if (!msg)
        return;
    msg->ask = r->ask;
    tr__pass(p->remote->loop, target_of(p, r), msg);
}

void tr__take_unlinked(tr__remote_peer *p, const tr__record *r)
{
    uint64_t theirs = key_of(r->from_slot, r->from_generation);
    tr_msg *tie = tie_find(p, r->to_slot, r->to_generation, theirs);
    if (tie && tie->deadline_ns == r->ask)
        tie_drop(p, r->to_slot, r->to_generation, theirs);
    tr_msg *msg = block_for(p, r, TR__MSG_UNLINKED);
    if (!msg)
        return;
    msg->ask = r->ask;
    tr__pass(p->remote->loop, target_of(p, r), msg);
}

void tr__take_reason(const tr__record *r, tr__reason *reason)
{
    bool known = r->exit_kind <= TR_EXIT_NO_ACTOR;
    *reason = (tr__reason){.kind = known ? (tr_exit_kind)r->exit_kind : TR_EXIT_ERROR,
                           .code = r->code < TR_ERR_COUNT ? (tr_err)r->code : TR_EPROTO};
    size_t length = r->length < sizeof(reason->text) - 1 ? r->length : sizeof(reason->text) - 1;
    if (length)
        memcpy(reason->text, r->body, length);
}

void tr__take_exit(tr__remote_peer *p, const tr__record *r)
{
    uint64_t theirs = key_of(r->from_slot, r->from_generation);
    tr_msg *tie = tie_take(p, r->to_slot, r->to_generation, theirs);
    tr__reason reason;
    p->remote->loop->counts.handled++;
    if (!tie)
        return; /* unlinked meanwhile */
    tr__take_reason(r, &reason);
    tr__link_fire(p->remote->loop, tie, sender_of(p, r), &reason, 0);
}

void tr__take_stop(tr__remote_peer *p, const tr__record *r)
{
    tr__loop *loop = p->remote->loop;
    if (r->exit_kind != TR_EXIT_SHUTDOWN && r->exit_kind != TR_EXIT_KILLED) {
        loop->counts.handled++;
        tr__remote_cut_for(p, TR_EPROTO, "it asks an actor to stop in a way that there isn't");
        return;
    }
    if (may(p, r, TR__RIGHT_STOP, NULL) != TR_OK) {
        loop->counts.dropped[TR_DROP_REFUSED]++;
        return;
    }
    tr_msg *msg = block_for(p, r, r->exit_kind == TR_EXIT_KILLED ? TR__MSG_KILL : TR__MSG_SHUTDOWN);
    if (!msg)
        return;
    tr__msg_filled(msg, tr__type_of(&tr_shutdown_type));
    tr__pass(loop, target_of(p, r), msg);
}

/* ---- what may be done ---------------------------------------------------------------------------------- */

void tr__tell_rights(tr__remote_peer *p)
{
    if (!p->untold)
        return;
    tr__record record = {.kind = TR__WIRE_RIGHTS, .ask = p->rights->may};
    bool less = p->peer->capabilities & TR__CAPABILITY_LINKS && (p->rights->may & TR_MAY_ALL) != TR_MAY_ALL;
    tr_err err = less ? tr__remote_put_record(p, NULL, &record, NULL) : TR_OK;
    p->untold = err == TR_EAGAIN; /* again when there is credit */
    if (err == TR_ENOMEM)
        tr__remote_cut_for(p, TR_ENOMEM, "no memory to tell it what it may do");
}

void tr__take_rights(tr__remote_peer *p, const tr__record *r)
{
    atomic_store_explicit(&p->route->may, (uint32_t)r->ask, memory_order_relaxed);
}
