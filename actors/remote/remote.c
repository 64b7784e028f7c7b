/* Connections to other nodes, as the core uses them: see remote.h. Loop 0's thread owns all of it but what
 * the control thread does behind the endpoint; other loops only read the table of routes, and reach a
 * connection through loop 0's inbox.
 *
 * What goes out: a message becomes a record in the peer's open batch (wire.h). With no credit it is held
 * here, in order; from then on tr_send says TR_EAGAIN until the connection is writable, so what is held is
 * bounded by what other loops had under way. An ask's or monitor's own block stays in `waits`: it is the
 * failure, or the tr_down, if the connection breaks.
 *
 * What comes in: records become messages, which are delivered as local ones are. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/names/warden.h"
#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/buggify.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define ATTEMPTS_A_MINUTE 16 /* to reach a seed, once its pauses have grown; a power of two */

/* ---- routes: which nodes are connected; any loop reads ------------------------------------------------- */

static tr__route *route_of(tr__remote *remote, uint64_t id)
{
    uint32_t count = atomic_load_explicit(&remote->route_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (atomic_load_explicit(&remote->routes[i].id, memory_order_relaxed) == id ||
            (TR_PLANT(old_incarnation) && remote->routes[i].peer && remote->routes[i].ended_id == id))
            return &remote->routes[i];
    return NULL;
}

static tr__route *route_add(tr__remote *remote, uint64_t id, uint64_t message_max, bool links)
{
    uint32_t count = atomic_load_explicit(&remote->route_count, memory_order_relaxed);
    tr__route *free_one = NULL;
    for (uint32_t i = 0; i < count && !free_one; i++)
        if (atomic_load_explicit(&remote->routes[i].id, memory_order_relaxed) == 0)
            free_one = &remote->routes[i];
    if (!free_one && count < TR__PEERS_MAX) {
        free_one = &remote->routes[count];
        atomic_store_explicit(&remote->route_count, count + 1, memory_order_release);
    }
    if (free_one) {
        atomic_store_explicit(&free_one->blocked, false, memory_order_relaxed);
        atomic_store_explicit(&free_one->bulk_blocked, false, memory_order_relaxed);
        atomic_store_explicit(&free_one->message_max, message_max, memory_order_relaxed);
        atomic_store_explicit(&free_one->connection, ++remote->connections, memory_order_relaxed);
        atomic_store_explicit(&free_one->may, TR_MAY_ALL, memory_order_relaxed);
        atomic_store_explicit(&free_one->links, links, memory_order_relaxed);
        /* Before the epoch: who sees that one sees none of the last connection's numbers (far.c). */
        atomic_store_explicit(&remote->told[free_one - remote->routes].count, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&free_one->epoch, 1, memory_order_release); /* see tr__route_epoch */
        atomic_store_explicit(&free_one->id, id, memory_order_release);
    }
    return free_one;
}

/* The bytes of a message that goes by the bulk lane, if its node has one; else 0. What its buffers hold is not in its size. */
static size_t large_size(const tr_typeinfo *type, const void *body, size_t size)
{
    if (!type || (size <= TR__LARGE_MIN / 16 && !tr__type_is(type, TR__TYPE_BUFFERS)))
        return 0;
    size_t bound = tr__cbor_bound(type, body);
    return TR__WIRE_HEADER_MAX + bound > TR__LARGE_MIN ? bound : 0;
}

/* Other loops learn what loop 0 has taken only later: what they have sent until then is bounded as well. */
static bool bulk_is_full(tr__route *route)
{
    return atomic_load_explicit(&route->bulk_blocked, memory_order_relaxed) ||
           atomic_load_explicit(&route->coming, memory_order_relaxed) >= TR__COMING_MAX;
}

/* To messages, by what loop 0 has, or by what is on its way there. */
static bool is_full(tr__route *route)
{
    return atomic_load_explicit(&route->blocked, memory_order_relaxed) ||
           atomic_load_explicit(&route->records, memory_order_relaxed) >= TR__RECORDS_COMING_MAX;
}

tr_err tr__remote_check(tr_node *node, uint64_t to_node, const tr_typeinfo *type, const void *body,
                        size_t size)
{
    tr__route *route = node->remote ? route_of(node->remote, to_node) : NULL;
    if (!route)
        return TR_ENOCONN;
    bool blocked = is_full(route) || TR_BUGGIFY(send_eagain);
    if (!blocked && __builtin_expect(bulk_is_full(route), 0))
        blocked = large_size(type, body, size) > 0;
    return blocked ? TR_EAGAIN : TR_OK;
}

bool tr__remote_lacks_room(tr_node *node, uint64_t to_node, const tr_typeinfo *type, const void *body,
                           size_t size)
{
    tr__route *route = node->remote ? route_of(node->remote, to_node) : NULL;
    if (!route || !(atomic_load_explicit(&route->blocked, memory_order_relaxed) || bulk_is_full(route)))
        return false;
    return large_size(type, body, size) > 0;
}

tr__route *tr__remote_ready(tr__loop *loop, uint64_t to_node)
{
    tr__route *route = loop->node->remote ? route_of(loop->node->remote, to_node) : NULL;
    return route && !is_full(route) && !TR_BUGGIFY(send_eagain) ? route : NULL;
}

bool tr__remote_fits(tr_node *node, uint64_t to_node, const tr_typeinfo *type, const void *body, size_t size,
                     uint64_t *most)
{
    /* A field's bound is at most nine bytes more than its body. */
    if (size <= TR__LARGE_MIN && !tr__type_is(type, TR__TYPE_BUFFERS))
        return true;
    tr__route *route = node->remote ? route_of(node->remote, to_node) : NULL;
    if (!route)
        return true; /* which is the next thing that it is told */
    uint64_t lane = atomic_load_explicit(&route->message_max, memory_order_relaxed);
    *most = lane ? lane : TR__MESSAGE_MAX;
    return size <= tr__remote_body_max(*most) && TR__WIRE_HEADER_MAX + tr__cbor_bound(type, body) <= *most;
}

tr_err tr__remote_allows(tr_node *node, uint64_t to_node, uint32_t may, uint64_t *connection)
{
    tr__route *route = node->remote ? route_of(node->remote, to_node) : NULL;
    if (!route)
        return TR_ENOCONN;
    *connection = atomic_load_explicit(&route->connection, memory_order_relaxed);
    if (!atomic_load_explicit(&route->links, memory_order_relaxed))
        return TR_EVERSION;
    return (atomic_load_explicit(&route->may, memory_order_relaxed) & may) == may ? TR_OK : TR_EPERM;
}

tr_err tr__allows_fail(tr_actor *self, tr_err err, const char *call, const char *right)
{
    const char *here = tr__owner(self)->node->name;
    if (err == TR_EPERM)
        return tr__self_fail(self, err,
                             "%s: the node there doesn't let node %s do this: it needs %s in `may` of its "
                             "entry in the rights there (--allow FILE)",
                             call, here, right);
    if (err == TR_EVERSION)
        return tr__self_fail(self, err,
                             "%s: the node there is of a version that doesn't know this between "
                             "nodes; upgrade it",
                             call);
    return tr__self_fail(self, err, "%s: the node there isn't connected", call);
}

tr__remote_peer *tr__remote_peer_of(tr__loop *loop, uint64_t node)
{
    tr__route *route = loop->node->remote ? route_of(loop->node->remote, node) : NULL;
    return route ? route->peer : NULL;
}

/* ---- upcalls of the endpoint --------------------------------------------------------------------------- */

static void on_wake(void *context)
{
    const tr__seams *seams = &((tr__remote *)context)->loop->node->seams;
    seams->wake_control(seams->context);
}

/* Its news is there. As in tr__loop_push: either we see it sleeping, or it sees that. */
static void on_wake_home(void *context)
{
    tr__loop *loop = ((tr__remote *)context)->loop;
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&loop->sleeping, memory_order_relaxed) || TR_BUGGIFY(wake_needless))
        loop->node->seams.wake(loop->node->seams.context, 0);
}

/* What tells the warden of its coming and of its end is there before the node is known here: neither can be lost for want
 * of memory. Without it the connection ends at once, and is tried again. */
static void on_peer_up(void *context, tr__peer *peer)
{
    tr__remote *remote = context;
    tr__remote_peer *p = tr__zalloc(sizeof(*p));
    tr_msg *came = p ? tr__node_changed_make(remote->loop, peer->name, peer->id, true) : NULL;
    if (came)
        p->went = tr__node_changed_make(remote->loop, peer->name, peer->id, false);
    tr__route *route = p && p->went ? route_add(remote, peer->id, peer->message_max,
                                                peer->capabilities & TR__CAPABILITY_LINKS)
                                    : NULL;
    if (!route) {
        if (came)
            tr__msg_free(remote->loop, came);
        if (p && p->went)
            tr__msg_free(remote->loop, p->went);
        tr__free(p);
        tr__node_log(remote->loop->node, TR_LOG_ERROR, "no memory for the connection to node %s", peer->name);
        tr__endpoint_disconnect(remote->endpoint, peer);
        return;
    }
    p->remote = remote;
    p->peer = peer;
    p->route = route;
    route->peer = p;
    p->held_end = &p->held;
    p->bulk_held_end = &p->bulk_held;
    p->wanting_end = &p->wanting;
    p->connection = remote->connections;
    p->rights = tr__rights_of(remote->loop->node, peer->name);
    p->untold = true;
    peer->user = p;
    tr__tell_rights(p);
    tr__node_log(remote->loop->node, TR_LOG_INFO, "node %s is up, incarnation %016llx", peer->name,
                 (unsigned long long)peer->id);
    tr__node_changed_tell(remote->loop, came, "");
}

static void on_batch(void *context, tr__peer *peer, const uint8_t *bytes, size_t length, uint32_t messages)
{
    tr__remote *remote = context;
    tr__remote_peer *p = peer->user;
    (void)messages;
    if (p)
        tr__remote_take_batch(p, bytes, length);
    if (!TR_PLANT(credit_kept))
        tr__endpoint_consumed(remote->endpoint, peer, length);
}

static void on_bulk(void *context, tr__peer *peer, uint8_t *block, const uint8_t *bytes, size_t length,
                    uint32_t messages)
{
    (void)context;
    (void)messages;
    if (peer->user)
        tr__remote_take_bulk(peer->user, block, bytes, length);
    else
        tr__large_free(block);
}

static tr__unit_way on_bulk_begins(void *context, tr__peer *peer, uint64_t whole, const uint8_t *bytes,
                                   size_t length)
{
    (void)context;
    return peer->user ? tr__arrival_begins(peer->user, whole, bytes, length) : TR__UNIT_GATHERED;
}

static bool on_bulk_part(void *context, tr__peer *peer, const uint8_t *bytes, size_t length, bool last)
{
    (void)context;
    return peer->user && tr__arrival_part(peer->user, bytes, length, last);
}

static bool on_no_memory(void *context, tr__peer *peer, uint64_t whole, const uint8_t *bytes, size_t length)
{
    (void)context;
    return peer->user && tr__arrival_no_memory(peer->user, whole, bytes, length);
}

static void on_writable(void *context, tr__peer *peer)
{
    (void)context;
    if (peer->user)
        tr__remote_writable(peer->user);
}

static void on_peer_down(void *context, tr__peer *peer, const tr_error *why, uint64_t unknown)
{
    tr__remote *remote = context;
    tr__remote_peer *p = peer->user;
    if (!p)
        return;
    peer->user = NULL;
    remote->loop->counts.lost += unknown;
    tr__node_log(remote->loop->node, TR_LOG_INFO,
                 "node %s is down: %s (%llu messages not known to have arrived)", peer->name, why->text,
                 (unsigned long long)unknown);
    tr__node_changed_tell(remote->loop, p->went, why->text);
    p->went = NULL;
    tr__remote_peer_end(p);
}

/* The control thread. At once if the reason is another one; then after a minute, two, four and so on. */
static void on_dial_failed(void *context, const char *address, const tr_error *why, uint64_t alike,
                           uint64_t next_ns)
{
    tr_node *node = ((tr__remote *)context)->loop->node;
    (void)next_ns;
    if (alike == 1)
        tr__node_log(node, TR_LOG_WARN, "--join %s: %s; trying again", address, why->text);
    else if (alike >= ATTEMPTS_A_MINUTE && (alike & (alike - 1)) == 0)
        tr__node_log(node, TR_LOG_WARN, "--join %s: %s; so it was %llu times now; trying again", address,
                     why->text, (unsigned long long)alike);
}

/* The control thread. Whoever reaches the port can cause these lines: one a second at most. */
static void on_turned_away(void *context, const tr_error *why, uint64_t now_ns)
{
    tr__remote *remote = context;
    if (remote->away_told_ns && now_ns - remote->away_told_ns < TR_SECONDS(1)) {
        remote->away_untold++;
        return;
    }
    tr__node_log(remote->loop->node, TR_LOG_WARN,
                 "a connection to %s came to nothing: %s (%llu more since the last such line)",
                 tr__endpoint_address(remote->endpoint), why->text, (unsigned long long)remote->away_untold);
    remote->away_told_ns = now_ns;
    remote->away_untold = 0;
}

/* The control thread. */
static void on_quota(void *context, const char *name, uint64_t *rate, uint64_t *burst)
{
    const tr_rights *rights = tr__rights_of(((tr__remote *)context)->loop->node, name);
    *rate = rights->rate;
    *burst = rights->burst ? rights->burst : rights->rate;
}

static const tr__endpoint_upcalls upcalls = {
    .quota = on_quota,
    .wake = on_wake,
    .wake_home = on_wake_home,
    .peer_up = on_peer_up,
    .batch = on_batch,
    .bulk = on_bulk,
    .writable = on_writable,
    .peer_down = on_peer_down,
    .dial_failed = on_dial_failed,
    .turned_away = on_turned_away,
    .bulk_begins = on_bulk_begins,
    .bulk_part = on_bulk_part,
    .bulk_no_memory = on_no_memory,
};

/* ---- life ---------------------------------------------------------------------------------------------- */

void tr__remote_detector(const tr_node_opts *opts, tr__detector_config *config)
{
    tr__detector_config_defaults(config);
    if (opts->heartbeat_ns)
        config->heartbeat_ns = opts->heartbeat_ns;
    if (opts->silence_ns)
        config->silence_ns = opts->silence_ns;
    if (opts->phi)
        config->phi = opts->phi;
}

tr_err tr__remote_open(tr_node *node, tr__net *net, tr_error *error)
{
    const tr_node_opts *opts = &node->opts;
    if (!tr__message_max_is_good(opts->message_max))
        return tr__fail(error, TR_EINVAL, "message_max of %llu bytes: 1 MiB to 2 GiB may be asked for",
                        (unsigned long long)opts->message_max);
    if (!opts->listen && !(opts->join && opts->join[0]))
        return TR_OK;
    tr__remote *remote = tr__zalloc(sizeof(*remote));
    if (!remote)
        return tr__fail(error, TR_ENOMEM, "no memory for connections");
    remote->loop = node->loops[0];
    tr__connection_config connection;
    tr__connection_config_defaults(&connection);
    tr__remote_detector(opts, &connection.detector);
    connection.headroom = TR__HEADROOM;
    if (opts->message_max)
        connection.message_max = opts->message_max;
    remote->message_max = connection.message_max;
    tr__endpoint_options options = {
        .connection = &connection,
        .cluster = node->cluster,
        .name = node->name,
        .id = node->id,
        .listen = opts->listen,
        .advertise = opts->advertise,
        .learn = opts->learn,
        .capabilities = TR__CAPABILITY_CONFIRM | TR__CAPABILITY_LINKS | TR__CAPABILITY_CLAIMS |
                        TR__CAPABILITY_WHY | TR__CAPABILITY_WOUND | TR__CAPABILITY_LOGS |
                        TR__CAPABILITY_SIBLINGS | TR__CAPABILITY_EMIT,
        .keys = node->keys,
        .secret = node->seams.secret,
        .secret_context = node->seams.context,
        .random_seed = tr__random_next(&remote->loop->random),
    };
    node->remote = remote;
    tr_err err =
        tr__endpoint_open(&options, net, remote->loop->now_ns, &upcalls, remote, &remote->endpoint, error);
    for (size_t i = 0; err == TR_OK && opts->join && opts->join[i]; i++)
        err = tr__endpoint_dial(remote->endpoint, opts->join[i], error);
    if (err == TR_OK && opts->listen)
        tr__node_log(node, TR_LOG_INFO, "node %s listens on %s", node->name,
                     tr__remote_address(node->remote));
    if (err != TR_OK)
        tr__remote_free(node);
    return err;
}

const char *tr__remote_address(const tr__remote *remote)
{
    return remote ? tr__endpoint_address(remote->endpoint) : "";
}

void tr__remote_free(tr_node *node)
{
    tr__remote *remote = node->remote;
    if (!remote)
        return;
    node->remote = NULL;
    tr__peer *peer = NULL;
    while (remote->endpoint && (peer = tr__endpoint_next_peer(remote->endpoint, peer)))
        if (peer->user) {
            tr__remote_peer_end(peer->user);
            peer->user = NULL;
        }
    tr__endpoint_destroy(remote->endpoint);
    tr__free(remote);
}

void tr__remote_close(tr__remote *remote)
{
    if (remote)
        tr__endpoint_close(remote->endpoint);
}

bool tr__remote_is_closed(const tr__remote *remote)
{
    return !remote || tr__endpoint_is_closed(remote->endpoint);
}

void tr__remote_tune(tr__remote *remote, const tr__connection_config *config)
{
    if (!remote)
        return;
    tr__endpoint_tune(remote->endpoint, config);
    remote->message_max = config->message_max;
}

void tr__remote_set_keys(tr__remote *remote, const tr__keys *keys)
{
    if (remote)
        tr__endpoint_set_keys(remote->endpoint, keys);
}

const char *tr__remote_address_of(tr__remote *remote, uint64_t node, bool *learns)
{
    const tr__peer *peer = remote ? tr__endpoint_peer(remote->endpoint, node) : NULL;
    *learns = peer && peer->learns;
    return peer ? peer->address : NULL;
}

bool tr__remote_connected(tr__remote *remote, uint64_t node, uint32_t *capabilities)
{
    const tr__peer *peer = remote ? tr__endpoint_peer(remote->endpoint, node) : NULL;
    *capabilities = peer ? peer->capabilities : 0;
    return peer != NULL;
}

uint64_t tr__remote_called(const tr__remote *remote, const char *name)
{
    uint32_t count = remote ? atomic_load_explicit(&remote->route_count, memory_order_relaxed) : 0;
    for (uint32_t i = 0; i < count; i++) {
        const tr__remote_peer *p = remote->routes[i].peer;
        if (p && strcmp(p->peer->name, name) == 0)
            return p->peer->id;
    }
    return 0;
}

void tr__remote_learn(tr__remote *remote, uint64_t node, const char *address)
{
    tr_error error;
    if (!remote || node == remote->loop->node->id || route_of(remote, node))
        return;
    if (tr__endpoint_learn(remote->endpoint, address, &error) == TR_OK)
        tr__node_log(remote->loop->node, TR_LOG_INFO, "learned that a node is at %s", address);
    else
        tr__node_log(remote->loop->node, TR_LOG_DEBUG, "not learned: %s", error.text);
}

void tr__remote_step(tr__remote *remote)
{
    if (remote && tr__endpoint_has_news(remote->endpoint))
        tr__endpoint_take(remote->endpoint);
}

void tr__remote_flush(tr__remote *remote)
{
    if (remote)
        tr__endpoint_flush(remote->endpoint);
}

size_t tr__remote_traffic(const tr__remote *remote, tr__traffic *out, size_t most)
{
    size_t found = 0;
    uint32_t count = remote ? atomic_load_explicit(&remote->route_count, memory_order_relaxed) : 0;
    for (uint32_t i = 0; i < count && found < most; i++) {
        const tr__remote_peer *p = remote->routes[i].peer;
        if (p && atomic_load_explicit(&remote->routes[i].id, memory_order_relaxed) != 0)
            out[found++] = (tr__traffic){.peer = p->peer->name, .node = p->peer->id, .sent = p->sent};
    }
    return found;
}

bool tr__remote_has_news(const tr__remote *remote)
{
    return remote && tr__endpoint_has_news(remote->endpoint);
}

void tr__remote_control_step(tr__remote *remote, uint64_t now_ns)
{
    if (remote)
        tr__endpoint_step(remote->endpoint, now_ns);
}

uint64_t tr__remote_control_due(const tr__remote *remote)
{
    return remote ? tr__endpoint_next_due(remote->endpoint) : TR__NEVER;
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* Of what has a body of its type: a failure may be the block of an ask whose body is gone. */
static size_t large_coming(const tr_msg *msg)
{
    bool has_body = msg->kind == TR__MSG_NORMAL || msg->kind == TR__MSG_ASK || msg->kind == TR__MSG_REPLY ||
                    msg->kind == TR__MSG_ITEM;
    return has_body ? large_size(msg->type, tr__msg_body(msg), msg->size) : 0;
}

void tr__remote_route(tr__loop *loop, uint64_t to_node, tr_msg *msg)
{
    tr__remote *remote = loop->node->remote;
    tr__route *route = remote ? route_of(remote, to_node) : NULL;
    uint16_t epoch;
    if (!route || !tr__route_epoch(route, to_node, &epoch)) {
        tr__drop_for(loop, to_node, msg, TR_DROP_NO_CONNECTION);
        return;
    }
    if (loop->index != 0 && tr__far_send(loop, route, to_node, msg))
        return;
    msg->routed = true;
    msg->route = (uint16_t)(route - remote->routes + 1);
    msg->route_epoch = epoch;
    if (loop->index == 0) {
        tr__remote_send(loop, msg);
        return;
    }
    tr__far_close(loop, route, msg);
    size_t large = large_coming(msg);
    if (large)
        atomic_fetch_add_explicit(&route->coming, large, memory_order_relaxed);
    tr__to_loop(loop, 0, msg);
}

/* From an actor's loop, or to it. */
static void records_arrived(tr__loop *loop, tr_msg *msg)
{
    tr__remote *remote = loop->node->remote;
    if (loop->index != 0) {
        tr__handed_take(loop, msg);
        return;
    }
    if (remote)
        atomic_fetch_sub_explicit(&remote->routes[msg->route - 1].records, tr__records_cost(msg),
                                  memory_order_relaxed);
    tr__remote_send(loop, msg);
}

void tr__remote_arrived(tr__loop *loop, tr_msg *msg)
{
    tr__remote *remote = loop->node->remote;
    if (msg->kind == TR__MSG_RECORDS) {
        records_arrived(loop, msg);
        return;
    }
    if (loop->index != 0) {
        tr__far_answered(loop, msg);
        return;
    }
    if (__builtin_expect(msg->kind == TR__MSG_REPLY && msg->sender.node != loop->node->id, 0)) {
        tr__remote_late(loop, msg);
        return;
    }
    size_t large = remote ? large_coming(msg) : 0;
    if (large)
        atomic_fetch_sub_explicit(&remote->routes[msg->route - 1].coming, large, memory_order_relaxed);
    tr__remote_send(loop, msg);
}

/* A route that was given to another node meanwhile has another epoch: nothing reaches a new incarnation by
 * mistake. */
void tr__remote_send(tr__loop *loop, tr_msg *msg)
{
    tr__remote *remote = loop->node->remote;
    tr__route *route = remote ? &remote->routes[msg->route - 1] : NULL;
    bool same = route && atomic_load_explicit(&route->epoch, memory_order_relaxed) == msg->route_epoch;
    uint64_t id = same ? atomic_load_explicit(&route->id, memory_order_relaxed) : 0;
    uint64_t ended = route && route->ended_epoch == msg->route_epoch ? route->ended_id : 0;
    msg->routed = false;
    if (id && route->peer)
        tr__remote_peer_send(route->peer, msg);
    else
        tr__drop_for(loop, id ? id : ended, msg, TR_DROP_NO_CONNECTION);
}
