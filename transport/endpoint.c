/* See endpoint.h and link.h. The owner's thread.
 *
 * A step: take what was pushed, in order; dial who is due; tick the connections that are due; bury the dead.
 * What can fail is reported: an attempt to connect by dial_failed, a connection by peer_down. */
#include "transport/endpoint.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/link.h"

/* A step ---- */

static void handle_accepted(tr__endpoint *e, tr__accept_event *event)
{
    tr__stream *stream = event->stream;
    tr__free(event);
    tr__link *l = NULL;
    e->counters.accepted++;
    if (!e->closing && e->unauthenticated < TR__UNAUTHENTICATED_MAX)
        l = tr__link_create(e);
    if (!l) {
        e->counters.accept_refused++;
        e->net->close(stream);
        return;
    }
    l->accepted = true;
    e->unauthenticated++;
    tr__link_connect(l, stream);
}

static void handle_dialled(tr__link *l)
{
    tr__endpoint *e = l->endpoint;
    tr__stream *stream = l->dialled_stream;
    l->dialled_stream = NULL;
    if (l->dial)
        e->net->undial(l->dial);
    l->dial = NULL;
    if (stream && !l->dead && l->target) {
        tr__link_connect(l, stream);
        return;
    }
    if (stream)
        e->net->close(stream);
    if (!l->dead) {
        if (l->target)
            tr__link_dial_ended(l, &l->dialled_why);
        tr__link_end(l);
    }
}

static void handle(tr__endpoint *e, tr__mpsc_node *node)
{
    tr__link *l;
    tr__slice *slice;
    switch ((tr__event_kind)node->kind) {
    case TR__EVENT_RECEIVED:
        slice = (tr__slice *)node;
        l = slice->context;
        tr__connection_received(&l->connection, slice, e->now_ns);
        tr__slice_destroy(slice);
        break;
    case TR__EVENT_SENT:
        l = (tr__link *)((char *)node - offsetof(tr__link, sent_event));
        tr__connection_sent(&l->connection, l->sent_bytes, e->now_ns);
        break;
    case TR__EVENT_DOWN:
        l = (tr__link *)((char *)node - offsetof(tr__link, down_event));
        tr__connection_stream_down(&l->connection, &l->down_why, e->now_ns);
        break;
    case TR__EVENT_ACCEPTED:
        handle_accepted(e, (tr__accept_event *)node);
        break;
    case TR__EVENT_DIALLED:
        handle_dialled((tr__link *)((char *)node - offsetof(tr__link, dialled_event)));
        break;
    }
}

/* Begin an attempt. */
static void dial(tr__endpoint *e, tr__target *target)
{
    tr_error error;
    tr__link *l = tr__link_create(e);
    e->counters.dials++;
    if (!l) {
        tr__fail(&error, TR_ENOMEM, "no memory to dial %.80s", target->text);
        tr__targets_failed(&e->targets, target, e->now_ns);
        e->upcalls->dial_failed(e->context, target->text, &error, target->next_ns);
        return;
    }
    l->target = target;
    target->busy = true;
    if (e->net->dial(e->net, &target->address, e->dial_timeout_ns, tr__link_on_dialled, l, &l->dial,
                     &error)) {
        tr__link_dial_ended(l, &error);
        tr__link_end(l);
    }
}

/* Targets that were forgotten lose their links; those that are due are dialled. */
static void tend_targets(tr__endpoint *e)
{
    for (tr__link *l = e->links; l; l = l->next) {
        if (l->target && l->target->forgotten) {
            l->target->busy = false;
            l->target = NULL;
            if (!l->connected && !l->dead)
                tr__link_end(l);
            else if (!l->is_peer)
                tr__connection_close(&l->connection);
        }
    }
    tr__targets_sweep(&e->targets);
    for (tr__target *target = e->targets.first; target; target = target->next) {
        if (tr__target_due(target) <= e->now_ns && !e->closing)
            dial(e, target);
    }
}

void tr__endpoint_step(tr__endpoint *e, uint64_t now_ns)
{
    e->now_ns = now_ns;
    tr__link *graves = e->graves;
    e->graves = NULL;
    for (tr__mpsc_node *node = tr__mpsc_take(&e->inbox), *next; node; node = next) {
        next = node->next;
        handle(e, node);
    }
    tend_targets(e);
    for (tr__link *l = e->links; l; l = l->next) {
        if (l->connected && !l->dead && tr__connection_next_due(&l->connection) <= now_ns)
            tr__connection_tick(&l->connection, now_ns);
    }
    tr__link_bury(e);
    while (graves) {
        tr__link *l = graves;
        graves = l->next;
        tr__link_free(l);
    }
}

uint64_t tr__endpoint_next_due(const tr__endpoint *e)
{
    uint64_t due = UINT64_MAX;
    if (e->graves || !tr__mpsc_is_empty(&e->inbox))
        return 0;
    for (const tr__link *l = e->links; l; l = l->next) {
        uint64_t one = l->connected ? tr__connection_next_due(&l->connection) : UINT64_MAX;
        if (one < due)
            due = one;
    }
    uint64_t dials = tr__targets_due(&e->targets);
    return dials < due ? dials : due;
}

/* Opening and closing ---- */

static tr_err configure(tr__endpoint *e, const tr__endpoint_options *options, tr_error *error)
{
    TR_TRY(tr__name_check("cluster", options->cluster, error));
    TR_TRY(tr__name_check("node", options->name, error));
    if (options->id == 0)
        return tr__fail(error, TR_EINVAL, "the node's id must not be 0");
    if (options->advertise && strlen(options->advertise) > TR__ADDRESS_MAX)
        return tr__fail(error, TR_EADDR, "the address to advertise is longer than %d bytes", TR__ADDRESS_MAX);
    tr__hello self;
    tr__connection_config_defaults(&e->config);
    self = e->config.self;
    if (options->connection)
        e->config = *options->connection;
    self.id = options->id;
    strcpy(self.cluster, options->cluster);
    strcpy(self.name, options->name);
    if (options->advertise)
        strcpy(self.address, options->advertise);
    if (options->challenge)
        memcpy(self.challenge, options->challenge, TR__CHALLENGE_MAX);
    e->config.self = self;
    e->dial_timeout_ns = options->dial_timeout_ns ? options->dial_timeout_ns : 5000000000ull;
    tr__targets_init(&e->targets, options->random_seed, options->backoff_min_ns, options->backoff_max_ns);
    return TR_OK;
}

static tr_err start_listening(tr__endpoint *e, const tr__endpoint_options *options, tr_error *error)
{
    tr__net_address address;
    if (!options->listen)
        return TR_OK;
    TR_TRY(tr__net_address_parse(options->listen, true, &address, error));
    if (address.kind != TR__HOST_NAME && !tr__net_address_is_loopback(&address))
        return tr__net_address_refuse(options->listen, error);
    TR_TRY(e->net->listen(e->net, &address, tr__link_on_accepted, e, &e->listener, error));
    e->port = address.port = e->net->port(e->listener);
    if (!options->advertise)
        tr__net_address_print(&address, e->config.self.address);
    return TR_OK;
}

tr_err tr__endpoint_open(const tr__endpoint_options *options, tr__net *net, uint64_t now_ns,
                         const tr__endpoint_upcalls *upcalls, void *context, tr__endpoint **endpoint,
                         tr_error *error)
{
    tr__endpoint *e = tr__zalloc(sizeof *e);
    if (!e)
        return tr__fail(error, TR_ENOMEM, "no memory for the node's endpoint");
    e->net = net;
    e->upcalls = upcalls;
    e->context = context;
    e->now_ns = now_ns;
    tr_err err = configure(e, options, error);
    if (err == TR_OK)
        err = start_listening(e, options, error);
    if (err)
        tr__free(e);
    else
        *endpoint = e;
    return err;
}

static void stop_listening(tr__endpoint *e)
{
    if (e->listener)
        e->net->unlisten(e->listener);
    e->listener = NULL;
}

void tr__endpoint_close(tr__endpoint *e, uint64_t now_ns)
{
    e->now_ns = now_ns;
    if (e->closing)
        return;
    e->closing = true;
    stop_listening(e);
    tr__targets_forget_all(&e->targets);
    for (tr__link *l = e->links; l; l = l->next) {
        if (l->connected)
            tr__connection_close(&l->connection);
    }
}

bool tr__endpoint_is_closed(const tr__endpoint *e)
{
    return e->closing && !e->links && !e->graves && tr__mpsc_is_empty(&e->inbox);
}

void tr__endpoint_destroy(tr__endpoint *e)
{
    if (!e)
        return;
    stop_listening(e);
    for (tr__link *l = e->links; l; l = l->next)
        l->dead = true;
    tr__link_bury(e);
    for (tr__link *l = e->graves; l; l = l->next) { /* from here on nothing is pushed any more */
        tr__connection_fini(&l->connection);
        if (l->dial)
            e->net->undial(l->dial);
        l->dial = NULL;
    }
    for (tr__mpsc_node *node = tr__mpsc_take(&e->inbox), *next; node; node = next) {
        next = node->next;
        if (node->kind == TR__EVENT_RECEIVED)
            tr__slice_destroy((tr__slice *)node);
        else if (node->kind == TR__EVENT_ACCEPTED) {
            e->net->close(((tr__accept_event *)node)->stream);
            tr__free(node);
        } else if (node->kind == TR__EVENT_DIALLED)
            handle_dialled((tr__link *)((char *)node - offsetof(tr__link, dialled_event)));
    }
    while (e->graves) {
        tr__link *l = e->graves;
        e->graves = l->next;
        tr__link_free(l);
    }
    tr__targets_fini(&e->targets);
    tr__free(e);
}

/* Asking and sending ---- */

uint16_t tr__endpoint_port(const tr__endpoint *e)
{
    return e->port;
}

const char *tr__endpoint_address(const tr__endpoint *e)
{
    return e->config.self.address;
}

tr_err tr__endpoint_dial(tr__endpoint *e, const char *address, tr_error *error)
{
    if (e->closing)
        return tr__fail(error, TR_ECLOSED, "node %s is closing: it dials nobody", e->config.self.name);
    return tr__targets_add(&e->targets, address, TR__DIALS_MAX, error);
}

void tr__endpoint_forget(tr__endpoint *e, const char *address)
{
    tr__targets_forget(&e->targets, address);
}

tr__peer *tr__endpoint_next_peer(tr__endpoint *e, const tr__peer *peer)
{
    tr__link *l = peer ? ((tr__link *)((char *)peer - offsetof(tr__link, peer)))->next : e->links;
    while (l && (!l->is_peer || l->dead))
        l = l->next;
    return l ? &l->peer : NULL;
}

tr__peer *tr__endpoint_peer(tr__endpoint *e, uint64_t id)
{
    tr__peer *peer = tr__endpoint_next_peer(e, NULL);
    while (peer && peer->id != id)
        peer = tr__endpoint_next_peer(e, peer);
    return peer;
}

tr__peer *tr__endpoint_peer_named(tr__endpoint *e, const char *name)
{
    tr__peer *peer = tr__endpoint_next_peer(e, NULL);
    while (peer && strcmp(peer->name, name) != 0)
        peer = tr__endpoint_next_peer(e, peer);
    return peer;
}

static tr__link *link_of(tr__endpoint *e, tr__peer *peer)
{
    tr__link *l = (tr__link *)((char *)peer - offsetof(tr__link, peer));
    tr__check(l->endpoint == e, "a peer of another endpoint");
    return l;
}

/* For the next flush. */
static void mark_dirty(tr__link *l)
{
    if (!l->dirty) {
        l->dirty = true;
        l->next_dirty = l->endpoint->dirty;
        l->endpoint->dirty = l;
    }
}

tr_err tr__endpoint_reserve(tr__endpoint *e, tr__peer *peer, size_t length, uint8_t **at)
{
    return tr__connection_reserve(&link_of(e, peer)->connection, length, at);
}

void tr__endpoint_commit(tr__endpoint *e, tr__peer *peer, size_t length)
{
    tr__link *l = link_of(e, peer);
    tr__connection_commit(&l->connection, length);
    mark_dirty(l);
}

tr_err tr__endpoint_send(tr__endpoint *e, tr__peer *peer, const void *bytes, size_t length)
{
    tr__link *l = link_of(e, peer);
    TR_TRY(tr__connection_send(&l->connection, bytes, length));
    mark_dirty(l);
    return TR_OK;
}

void tr__endpoint_consumed(tr__endpoint *e, tr__peer *peer, size_t bytes)
{
    tr__link *l = link_of(e, peer);
    tr__connection_consumed(&l->connection, bytes);
    if (l->connection.want_grant)
        mark_dirty(l);
}

void tr__endpoint_disconnect(tr__endpoint *e, tr__peer *peer)
{
    tr__connection_close(&link_of(e, peer)->connection);
}

void tr__endpoint_refuse(tr__endpoint *e, tr__peer *peer, const tr_error *why)
{
    tr__link *l = link_of(e, peer);
    tr__connection_refuse(&l->connection, why);
    mark_dirty(l);
}

void tr__endpoint_flush(tr__endpoint *e)
{
    while (e->dirty) {
        tr__link *l = e->dirty;
        e->dirty = l->next_dirty;
        l->dirty = false;
        tr__connection_flush(&l->connection);
    }
}

void tr__endpoint_counters_get(const tr__endpoint *e, tr__endpoint_counters *counters)
{
    *counters = e->counters;
}
