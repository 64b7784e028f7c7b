/* The confirmer: see confirmed.h. Who is connected it hears from the warden, and looks for itself while something waits, so
 * an event that came late, or not for want of memory, loses nothing. */
#include <stdio.h>
#include <string.h>

#include "actors/remote/confirmed.h"
#include "actors/remote/remote.h"
#include "actors/transactions.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/frame.h"

#define MAILBOX   65535 /* places: all it can have */
#define PEERS_MAX 4096  /* connected ones, and those whose streams aren't forgotten */
#define LOOK      TR_SECONDS(1)

TR_MESSAGE(confirmer_tick)

/* ---- peers --------------------------------------------------------------------------------------------- */

static void peer_free(tr__confirmer *c, tr__confirm_peer *peer)
{
    HASH_DEL(c->peers, peer);
    tr__confirm_in_free(peer);
    tr__confirm_out_free(peer);
    tr__free(peer);
}

/* The one that is gone for the longest time makes room; false: all are needed. */
static bool make_room(tr__confirmer *c)
{
    tr__confirm_peer *oldest = NULL;
    for (tr__confirm_peer *p = c->peers; p; p = p->hh.next)
        if (!p->up && tr__confirm_is_idle(p) && (!oldest || p->gone_ns < oldest->gone_ns))
            oldest = p;
    if (oldest)
        peer_free(c, oldest);
    return oldest != NULL;
}

/* NULL: no memory. */
static tr__confirm_peer *peer_of(tr__confirmer *c, uint64_t node)
{
    tr__confirm_peer *peer;
    HASH_FIND(hh, c->peers, &node, sizeof(node), peer);
    if (peer || (HASH_COUNT(c->peers) >= PEERS_MAX && !make_room(c)) || !(peer = tr__zalloc(sizeof(*peer))))
        return peer;
    peer->node = node;
    peer->gone_ns = tr__owner(c->self)->now_ns;
    HASH_ADD(hh, c->peers, node, sizeof(peer->node), peer);
    if (tr__hash_added(peer))
        return peer;
    tr__free(peer);
    return NULL;
}

/* ---- connections --------------------------------------------------------------------------------------- */

/* If it is so: a connection of which we haven't heard is up. */
static void look_at(tr__confirmer *c, tr__confirm_peer *peer)
{
    uint32_t capabilities;
    if (peer->up || !tr__remote_connected(tr__owner(c->self)->node->remote, peer->node, &capabilities))
        return;
    peer->up = true;
    peer->able = capabilities & TR__CAPABILITY_CONFIRM;
    peer->replaced = false;
    tr__confirm_up(c, peer);
}

static void went(tr__confirmer *c, tr__confirm_peer *peer)
{
    if (peer->up)
        peer->gone_ns = tr__owner(c->self)->now_ns;
    peer->up = false;
    tr__confirm_down(peer);
    look_at(c, peer); /* the next connection may be there already */
    if (!peer->up && peer->replaced)
        tr__confirm_fail(c, peer, TR_ENOACTOR, TR__STARTED_ANEW);
    tr__confirmer_by(c, peer->gone_ns + TR__CONFIRM_FORGET_NS);
}

/* A later incarnation of that node is there: the last one won't come back. Of its end we may not have heard yet; and what an
 * earlier one had sent before its end may be taken for a connection of it once more, after this one's. */
static void replace(tr__confirmer *c, const tr__confirm_peer *later)
{
    for (tr__confirm_peer *p = c->peers; p; p = p->hh.next) {
        if (p->met >= later->met || strcmp(p->name, later->name) != 0)
            continue;
        p->replaced = true;
        if (!p->up)
            tr__confirm_fail(c, p, TR_ENOACTOR, TR__STARTED_ANEW);
    }
}

static void node_changed(tr__confirmer *c, const tr_node_event *event)
{
    tr__confirm_peer *peer = peer_of(c, event->node);
    if (!peer)
        return;
    snprintf(peer->name, sizeof(peer->name), "%s", event->name);
    if (!peer->met)
        peer->met = ++c->met;
    if (!event->up) {
        went(c, peer);
        return;
    }
    look_at(c, peer);
    replace(c, peer);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

/* Sweeps cost by what is kept, so they lie as far apart. */
static uint64_t pause_of(const tr__confirmer *c)
{
    return TR_MILLIS(1) + c->kept * 50;
}

void tr__confirmer_by(tr__confirmer *c, uint64_t due_ns)
{
    uint64_t soonest = c->swept_ns + pause_of(c);
    if (due_ns != TR__NEVER)
        tr__tick_by(tr__owner(c->self), c->tick, due_ns > soonest ? due_ns : soonest);
}

/* When to look at it next; it may be gone. */
static uint64_t sweep_peer(tr__confirmer *c, tr__confirm_peer *peer, uint64_t now_ns)
{
    bool here = peer->node == tr__owner(c->self)->node->id;
    look_at(c, peer);
    tr__confirm_tell(c, peer);
    uint64_t due = tr__confirm_sweep(c, peer, now_ns);
    if (peer->up || (here && !tr__confirm_is_idle(peer)))
        return due;
    uint64_t forget = peer->gone_ns + TR__CONFIRM_FORGET_NS;
    if (now_ns >= forget)
        tr__confirm_in_free(peer);
    if (tr__confirm_is_idle(peer) && now_ns >= forget) {
        peer_free(c, peer);
        return TR__NEVER;
    }
    uint64_t next = tr__confirm_is_idle(peer) ? forget : now_ns + LOOK;
    return due < next ? due : next;
}

static void sweep(tr__confirmer *c)
{
    uint64_t now = tr__owner(c->self)->now_ns, due = TR__NEVER;
    tr__confirm_peer *peer, *next;
    c->swept_ns = now;
    HASH_ITER(hh, c->peers, peer, next)
    {
        uint64_t of_peer = sweep_peer(c, peer, now);
        due = of_peer < due ? of_peer : due;
    }
    tr__confirmer_by(c, due);
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static void confirm(tr__confirmer *c)
{
    tr__loop *loop = tr__owner(c->self);
    tr_msg *ask = loop->current; /* taken, and not kept: nobody's cancel is to find it */
    loop->current = NULL;
    tr__confirm_peer *peer = peer_of(c, ((const tr__confirm *)tr__msg_body(ask))->to.node);
    if (peer)
        look_at(c, peer);
    tr__confirm_add(c, peer, ask);
}

/* From another confirmer: who sent it is known, the rest is not. */
static void from_peer(tr__confirmer *c, const tr_msg *msg)
{
    const tr__confirm_hello *hello;
    const tr__confirm_data *data;
    const tr__confirm_ack *ack;
    tr_addr sender = tr_msg_sender(msg);
    const tr_node *node = tr__owner(c->self)->node;
    bool is_peer = sender.node != node->id && tr_addr_equal(sender, TR__CONFIRMER_OF(sender.node));
    tr__confirm_peer *peer = is_peer ? peer_of(c, sender.node) : NULL;
    if (!peer)
        return;
    look_at(c, peer);
    if ((hello = tr_match(msg, tr__confirm_hello)))
        tr__confirm_hello_take(c, peer, hello);
    else if ((data = tr_match(msg, tr__confirm_data)) && (data->skip || data->from.node == sender.node))
        tr__confirm_data_take(c, peer, data);
    else if ((ack = tr_match(msg, tr__confirm_ack)))
        tr__confirm_acked(c, peer, ack);
}

static void notice(tr__confirmer *c, const tr_msg *msg)
{
    const tr_node_event *event;
    const tr_writable *writable;
    if ((event = tr_match(msg, tr_node_event))) {
        node_changed(c, event);
    } else if ((writable = tr_match(msg, tr_writable))) {
        tr__confirm_peer *peer = peer_of(c, writable->actor.node);
        if (peer)
            tr__confirm_writable(c, peer);
    } else if (tr_match(msg, confirmer_tick)) {
        tr__tick_back(tr__owner(c->self), c->tick);
        sweep(c);
    }
}

/* When all that came is handled: so one word tells of many. */
static void tell_all(tr__confirmer *c)
{
    c->owes = false;
    for (tr__confirm_peer *peer = c->peers; peer; peer = peer->hh.next)
        tr__confirm_tell(c, peer);
}

static void watch(tr__confirmer *c)
{
    if (!c->watching && !(c->watching = tr_watch_nodes(c->self) == TR_OK))
        tr__confirmer_by(c, tr__owner(c->self)->now_ns + LOOK);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    tr__confirmer *c = state;
    (void)arg;
    c->self = self;
    watch(c);
    return TR_OK;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__confirmer *c = state;
    if (msg->kind == TR__MSG_NOTICE)
        notice(c, msg);
    else if (tr_match(msg, tr__confirm) && tr_msg_sender(msg).node == tr__owner(self)->node->id &&
             msg->kind == TR__MSG_ASK)
        confirm(c);
    else
        from_peer(c, msg);
    watch(c);
    if (c->owes && self->count == 0)
        tell_all(c);
}

static void stop(tr_actor *self, void *state)
{
    tr__confirmer *c = state;
    tr__confirm_peer *peer, *next;
    (void)self;
    HASH_ITER(hh, c->peers, peer, next)
    {
        tr__confirm_fail(c, peer, TR_ENOCONN, "not delivered: this node stops");
        peer_free(c, peer);
    }
}

static const tr_actor_def confirmer_def = {.name = "confirmer",
                                           .state_size = sizeof(tr__confirmer),
                                           .init = init,
                                           .receive = receive,
                                           .stop = stop,
                                           .mailbox_places = MAILBOX};

tr_err tr__confirmer_open(tr_node *node, tr_error *error)
{
    tr__loop *loop = node->loops[0];
    TR_TRY(tr__spawn(loop, &confirmer_def, NULL, NULL, &node->confirmer, error));
    tr__check(tr_addr_equal(node->confirmer, TR__CONFIRMER_OF(node->id)),
              "the confirmer is spawned right behind the manager of transactions");
    tr_actor *self = tr__slot(node, node->confirmer.slot);
    tr__confirmer *c = self->state_block;
    c->tick = tr__tick_make(loop, self, &confirmer_tick_type);
    return c->tick ? TR_OK : tr__fail(error, TR_ENOMEM, "no memory for the confirmer of node %s", node->name);
}
