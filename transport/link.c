/* See link.h. What streams and the net report comes on their threads and is only pushed onto an inbox; all
 * else is the control thread, within a step.
 *
 * Two nodes, one connection: who accepts always answers; who dialled decides when it hears who answered. It
 * gives up its own if that node is connected already, or if that node dials as well and has the lower id;
 * otherwise it refuses the other one. Both sides come to the same end whatever the order of arrival. */
#include "transport/link.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

/* What streams and the net report: any thread ---- */

void tr__push_control(tr__endpoint *e, tr__mpsc_node *node, tr__event_kind kind)
{
    node->kind = kind;
    if (tr__mpsc_push(&e->inbox, node))
        e->upcalls->wake(e->context);
}

void tr__push_home(tr__endpoint *e, tr__mpsc_node *node, tr__home_kind kind)
{
    node->kind = kind;
    if (tr__mpsc_push(&e->home_inbox, node))
        e->upcalls->wake_home(e->context);
}

static void on_stream_received(void *context, tr__slice *slice)
{
    tr__channel_received(&((tr__link *)context)->channel, slice);
}

static void on_stream_sent(void *context, size_t bytes)
{
    (void)bytes;
    tr__channel_sent(&((tr__link *)context)->channel);
}

static void on_stream_down(void *context, const tr_error *error)
{
    tr__link *l = context;
    l->down_why = *error;
    tr__push_control(l->endpoint, &l->down_event, TR__EVENT_DOWN);
}

static const tr__stream_upcalls STREAM_UPCALLS = {on_stream_received, on_stream_sent, on_stream_down};

static void on_control(void *context, tr__slice *slice)
{
    slice->context = context;
    tr__push_control(((tr__link *)context)->endpoint, &slice->node, TR__EVENT_CONTROL);
}

static void on_data(void *context, tr__slice *slice)
{
    slice->context = context;
    tr__push_home(((tr__link *)context)->endpoint, &slice->node, TR__HOME_DATA);
}

static void on_fault(void *context, const tr_error *why)
{
    tr__link *l = context;
    l->fault_why = *why;
    tr__push_control(l->endpoint, &l->fault_event, TR__EVENT_FAULT);
}

static void on_credit(void *context)
{
    tr__link *l = context;
    if (!atomic_exchange(&l->credit.pending, true))
        tr__push_home(l->endpoint, &l->credit.node, TR__HOME_CREDIT);
}

static void on_nudge(void *context)
{
    tr__link *l = context;
    if (!atomic_exchange(&l->nudge.pending, true))
        tr__push_control(l->endpoint, &l->nudge.node, TR__EVENT_NUDGE);
}

static const tr__channel_upcalls CHANNEL_UPCALLS = {on_control, on_data, on_fault, on_credit, on_nudge};

bool tr__link_on_accepted(void *context, tr__stream *stream)
{
    tr__endpoint *e = context;
    tr__accept_event *event = NULL;
    if (atomic_fetch_add(&e->accepting, 1) < TR__ACCEPTING_MAX)
        event = tr__alloc(sizeof *event);
    if (!event) {
        atomic_fetch_sub(&e->accepting, 1);
        e->counters.accept_refused++;
        return false;
    }
    event->stream = stream;
    tr__push_control(e, &event->node, TR__EVENT_ACCEPTED);
    return true;
}

void tr__link_on_dialled(void *context, tr__stream *stream, const tr_error *error)
{
    tr__link *l = context;
    l->dialled_stream = stream;
    l->dialled_why = *error;
    tr__push_control(l->endpoint, &l->dialled_event, TR__EVENT_DIALLED);
}

/* Links ---- */

tr__link *tr__link_create(tr__endpoint *e)
{
    tr__link *l = tr__zalloc(sizeof *l);
    if (l) {
        l->endpoint = e;
        l->early_end = &l->early;
        l->next = e->links;
        e->links = l;
    }
    return l;
}

/* It plays no part from now on. */
void tr__link_end(tr__link *l)
{
    tr__endpoint *e = l->endpoint;
    if (l->target)
        l->target->busy = false;
    l->target = NULL;
    l->dead = true;
    if (l->dial)
        e->net->undial(l->dial); /* now: after it no event comes, and those before are in the inbox */
    l->dial = NULL;
    if (l->accepted && !l->is_peer)
        e->unauthenticated--;
}

void tr__link_free(tr__link *l)
{
    tr__flow_fini(&l->flow);
    tr__channel_fini(&l->channel);
    tr__wipe(&l->connection.pair, sizeof l->connection.pair);
    tr__free(l);
}

void tr__link_bury(tr__endpoint *e)
{
    for (tr__link **at = &e->links; *at;) {
        tr__link *l = *at, **to;
        if (!l->dead) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        to = l->channel.open ? &e->leaving : &e->graves;
        l->next = *to;
        *to = l;
    }
}

void tr__link_gone(tr__link *l)
{
    tr__link **at = &l->endpoint->leaving;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    tr__link_free(l);
}

/* Another living link with that node whose handshake got as far as its name; NULL if none. */
static tr__link *other_with_id(tr__link *l, uint64_t id)
{
    for (tr__link *other = l->endpoint->links; other; other = other->next) {
        if (other != l && !other->dead && other->connected && other->connection.peer.id == id &&
            other->connection.state != TR__CONNECTION_REFUSING)
            return other;
    }
    return NULL;
}

/* The like that is a peer, even one that is being told why it ends; NULL if none. */
static tr__link *other_peer(tr__link *l, uint64_t id)
{
    tr__link *other = l->endpoint->links;
    while (other && (other == l || other->dead || !other->is_peer || other->connection.peer.id != id))
        other = other->next;
    return other;
}

/* That is up as a peer; NULL if none. */
static const tr__link *peer_named(const tr__endpoint *e, const char *name)
{
    const tr__link *l = e->links;
    while (l && (l->dead || !l->is_peer || strcmp(l->connection.peer.name, name) != 0))
        l = l->next;
    return l;
}

/* The connection's upcalls: in a step ---- */

static tr_err on_judge(void *context, const tr__hello *peer, tr_error *refusal)
{
    tr__link *l = context;
    tr__endpoint *e = l->endpoint;
    const char *self = e->config.self.name;
    if (atomic_load(&e->closing))
        return tr__fail(refusal, TR_ECLOSED, "node %s is closing", self);
    const tr__link *named = peer_named(e, peer->name);
    if (named && named->connection.peer.id != peer->id)
        return tr__fail(
            refusal, TR_EEXIST,
            "node %s is connected with another node named %s (or an earlier run of it that isn't known to "
            "be gone yet); --name gives one another name",
            self, peer->name);
    if (e->peers >= TR__PEERS_MAX && !named)
        return tr__fail(refusal, TR_EFULL, "node %s has %d peers, as many as it takes", self, TR__PEERS_MAX);
    if (l->accepted)
        return TR_OK;
    tr__link *other = other_with_id(l, peer->id);
    if (!other)
        return TR_OK;
    bool undecided = other->connection.state == TR__CONNECTION_ANSWERED;
    if (!undecided || peer->id < e->config.self.id)
        return tr__fail(refusal, TR_EEXIST, "nodes %s and %s %s", self, peer->name,
                        undecided ? "dialled each other; the connection dialled by the lower id stays"
                                  : "are connected already");
    tr_error why;
    tr__fail(&why, TR_EEXIST,
             "nodes %s and %s dialled each other; the connection dialled by the lower id stays", self,
             peer->name);
    tr__connection_refuse(&other->connection, &why, e->now_ns);
    return TR_OK;
}

static void on_up(void *context)
{
    tr__link *l = context;
    tr__endpoint *e = l->endpoint;
    tr_error why;
    const tr__hello *hello = &l->connection.peer;
    tr__link *other;
    /* That node lost it and we haven't heard yet, or we are ending it: it is down before the new one is up. */
    while ((other = other_peer(l, hello->id))) {
        bool ending = other->connection.state == TR__CONNECTION_REFUSING;
        tr__fail(&why, TR_ECLOSED, "node %s replaced it by a newer connection", hello->name);
        tr__connection_cut(&other->connection, ending ? &other->connection.failure : &why);
    }
    while ((other = other_with_id(l, hello->id))) {
        tr__fail(&why, TR_EEXIST, "nodes %s and %s are connected already", e->config.self.name, hello->name);
        tr__connection_refuse(&other->connection, &why, e->now_ns);
    }
    if (l->accepted)
        e->unauthenticated--;
    l->is_peer = true;
    l->up_ns = e->now_ns;
    l->peer = (tr__peer){
        .id = hello->id,
        .name = hello->name,
        .address = hello->address,
        .dialled = !l->accepted,
        .lanes = l->channel.lanes,
        .learns = hello->capabilities & TR__CAPABILITY_LEARN,
        .message_max = l->channel.peer_message_max,
        .capabilities = hello->capabilities,
    };
    e->peers++;
    e->counters.peers_up++;
    if (e->upcalls->quota) {
        uint64_t rate = 0, burst = 0;
        e->upcalls->quota(e->context, hello->name, &rate, &burst);
        tr__connection_meter(&l->connection, rate, burst);
    }
    tr__push_home(e, &l->home_up_event, TR__HOME_UP);
}

static void on_drain(void *context)
{
    tr__link *l = context;
    tr__push_home(l->endpoint, &l->home_drain_event, TR__HOME_DRAIN);
}

/* An attempt came to nothing, or what it led to has ended: when to try again. */
void tr__link_dial_ended(tr__link *l, const tr_error *why)
{
    tr__endpoint *e = l->endpoint;
    tr__target *target = l->target;
    uint64_t id = l->connected ? l->connection.peer.id : 0;
    tr__link *other = id ? other_with_id(l, id) : NULL;
    if (l->is_peer) {
        tr__targets_lost(&e->targets, target, e->now_ns, e->now_ns - l->up_ns);
    } else if (why->code == TR_EEXIST && other && other->is_peer) {
        target->satisfied_by = id;
    } else {
        tr__targets_failed(&e->targets, target, e->now_ns);
        if (why->code == TR_EEXIST && other)
            return; /* the other one is about to be up: no failure */
        e->counters.dials_failed++;
        if (target->learned)
            return; /* nobody here has asked for it */
        e->upcalls->dial_failed(e->context, target->text, why, tr__target_alike(target, why),
                                target->next_ns);
    }
}

static void handshake_failed(tr__link *l, const tr_error *why)
{
    tr__endpoint *e = l->endpoint;
    uint64_t id = l->connected ? l->connection.peer.id : 0;
    e->counters.handshakes_failed++;
    /* Of two nodes that dialled each other one connection is given up, by us or by the other side. */
    bool spare =
        why->code == TR_EEXIST && ((id && other_with_id(l, id)) || l->connection.failure.code == TR_OK);
    if (!spare && !atomic_load(&e->closing))
        e->upcalls->turned_away(e->context, why, e->now_ns);
}

static void on_down(void *context, const tr_error *why)
{
    tr__link *l = context;
    tr__endpoint *e = l->endpoint;
    l->dead = true;
    if (l->target)
        tr__link_dial_ended(l, why);
    else if (!l->is_peer)
        handshake_failed(l, why);
    tr__link_end(l);
    if (l->channel.open) { /* no callback comes any more: it is behind the last batch, and before a newer
                              one's up */
        l->home_down_why = *why;
        tr__push_home(e, &l->home_down_event, TR__HOME_DOWN);
    }
    if (!l->is_peer)
        return;
    e->peers--;
    e->counters.peers_down++;
    e->counters.peers_stuck += l->connection.stuck;
    tr__targets_unsatisfied(&e->targets, l->connection.peer.id, e->now_ns);
}

static const tr__connection_upcalls CONNECTION_UPCALLS = {on_judge, on_up, on_drain, on_down};

void tr__link_connect(tr__link *l, tr__stream *stream)
{
    tr__endpoint *e = l->endpoint;
    tr_error error;
    l->connected = true;
    tr__channel_init(&l->channel, &e->config, e->net, stream, !l->accepted, &CHANNEL_UPCALLS, l);
    tr__flow_init(&l->flow, &l->channel, &tr__home_flow_upcalls, l);
    tr__connection_init(&l->connection, &l->channel, &l->flow, e->now_ns, &CONNECTION_UPCALLS, l);
    if (e->net->start(stream, &STREAM_UPCALLS, l, &error))
        tr__connection_stream_down(&l->connection, &error, e->now_ns);
    else
        tr__connection_begin(&l->connection);
}
