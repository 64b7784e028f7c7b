/* See link.h. What streams and the net report comes on their threads and is only pushed onto the inbox; all
 * else is the endpoint's thread, within a step.
 *
 * Two nodes, one connection: who accepts always answers; who dialled decides when it hears who answered. It
 * gives up its own if that node is connected already, or if that node dials as well and has the lower id;
 * otherwise it refuses the other one. Both sides come to the same end whatever the order of arrival. */
#include "transport/link.h"

#include "base/err.h"
#include "base/mem.h"

/* What streams and the net report: any thread ---- */

static void push(tr__endpoint *e, tr__mpsc_node *node, tr__event_kind kind)
{
    node->kind = kind;
    if (tr__mpsc_push(&e->inbox, node))
        e->upcalls->wake(e->context);
}

static void on_stream_received(void *context, tr__slice *slice)
{
    slice->context = context;
    push(((tr__link *)context)->endpoint, &slice->node, TR__EVENT_RECEIVED);
}

static void on_stream_sent(void *context, size_t bytes)
{
    tr__link *l = context;
    l->sent_bytes = bytes;
    push(l->endpoint, &l->sent_event, TR__EVENT_SENT);
}

static void on_stream_down(void *context, const tr_error *error)
{
    tr__link *l = context;
    l->down_why = *error;
    push(l->endpoint, &l->down_event, TR__EVENT_DOWN);
}

bool tr__link_on_accepted(void *context, tr__stream *stream)
{
    tr__endpoint *e = context;
    tr__accept_event *event = tr__alloc(sizeof *event);
    if (!event)
        return false;
    event->stream = stream;
    push(e, &event->node, TR__EVENT_ACCEPTED);
    return true;
}

void tr__link_on_dialled(void *context, tr__stream *stream, const tr_error *error)
{
    tr__link *l = context;
    l->dialled_stream = stream;
    l->dialled_why = *error;
    push(l->endpoint, &l->dialled_event, TR__EVENT_DIALLED);
}

const tr__stream_upcalls tr__link_stream_upcalls = {on_stream_received, on_stream_sent, on_stream_down};

/* Links ---- */

tr__link *tr__link_create(tr__endpoint *e)
{
    tr__link *l = tr__zalloc(sizeof *l);
    if (l) {
        l->endpoint = e;
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
    tr__connection_fini(&l->connection);
    tr__free(l);
}

/* Move the dead to the graves, out of both lists. */
void tr__link_bury(tr__endpoint *e)
{
    for (tr__link **at = &e->dirty; *at;) {
        if ((*at)->dead)
            *at = (*at)->next_dirty;
        else
            at = &(*at)->next_dirty;
    }
    for (tr__link **at = &e->links; *at;) {
        tr__link *l = *at;
        if (!l->dead) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        l->next = e->graves;
        e->graves = l;
    }
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

/* The connection's upcalls: in a step ---- */

static tr_err on_judge(void *context, const tr__hello *peer, tr_error *refusal)
{
    tr__link *l = context;
    tr__endpoint *e = l->endpoint;
    const char *self = e->config.self.name;
    if (e->closing)
        return tr__fail(refusal, TR_ECLOSED, "node %s is closing", self);
    tr__peer *named = tr__endpoint_peer_named(e, peer->name);
    if (named && named->id != peer->id)
        return tr__fail(
            refusal, TR_EEXIST,
            "node %s is connected with another node named %s (or an earlier run of it that isn't known to "
            "be gone yet); --name gives one another name",
            self, peer->name);
    if (e->peers >= TR__PEERS_MAX && !named)
        return tr__fail(refusal, TR_EFULL, "node %s has %d peers, as many as it takes", self, TR__PEERS_MAX);
    if (!l->connection.dialled)
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
    tr__connection_refuse(&other->connection, &why);
    return TR_OK;
}

static void on_up(void *context)
{
    tr__link *l = context;
    tr__endpoint *e = l->endpoint;
    tr_error why;
    const tr__hello *hello = &l->connection.peer;
    for (tr__link *other; (other = other_with_id(l, hello->id));) {
        if (other->is_peer) { /* that node lost it and we haven't heard yet: it is down before the new one is
                                 up */
            tr__fail(&why, TR_ECLOSED, "node %s replaced it by a newer connection", hello->name);
            tr__connection_cut(&other->connection, &why);
        } else {
            tr__fail(&why, TR_EEXIST, "nodes %s and %s are connected already", e->config.self.name,
                     hello->name);
            tr__connection_refuse(&other->connection, &why);
        }
    }
    if (l->accepted)
        e->unauthenticated--;
    l->is_peer = true;
    l->up_ns = e->now_ns;
    l->peer = (tr__peer){
        .id = hello->id,
        .name = hello->name,
        .address = hello->address,
        .dialled = l->connection.dialled,
        .counters = &l->connection.counters,
    };
    e->peers++;
    e->counters.peers_up++;
    e->upcalls->peer_up(e->context, &l->peer);
}

static void on_batch(void *context, const uint8_t *bytes, size_t length, uint32_t messages)
{
    tr__link *l = context;
    l->endpoint->upcalls->batch(l->endpoint->context, &l->peer, bytes, length, messages);
}

static void on_writable(void *context)
{
    tr__link *l = context;
    l->endpoint->upcalls->writable(l->endpoint->context, &l->peer);
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
        e->upcalls->dial_failed(e->context, target->text, why, target->next_ns);
    }
}

static void on_down(void *context, const tr_error *why, uint64_t unknown)
{
    tr__link *l = context;
    tr__endpoint *e = l->endpoint;
    l->dead = true;
    if (l->target)
        tr__link_dial_ended(l, why);
    else if (!l->is_peer)
        e->counters.handshakes_failed++;
    tr__link_end(l);
    if (!l->is_peer)
        return;
    e->peers--;
    e->counters.peers_down++;
    e->counters.unknown += unknown;
    tr__targets_unsatisfied(&e->targets, l->peer.id, e->now_ns);
    e->upcalls->peer_down(e->context, &l->peer, why, unknown);
}

static const tr__connection_upcalls CONNECTION_UPCALLS = {on_judge, on_up, on_batch, on_writable, on_down};

void tr__link_connect(tr__link *l, tr__stream *stream)
{
    tr__endpoint *e = l->endpoint;
    tr_error error;
    l->connected = true;
    tr__connection_init(&l->connection, &e->config, e->net, stream, !l->accepted, e->now_ns,
                        &CONNECTION_UPCALLS, l);
    if (e->net->start(stream, &tr__link_stream_upcalls, l, &error))
        tr__connection_stream_down(&l->connection, &error, e->now_ns);
}
