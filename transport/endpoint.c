/* See endpoint.h and link.h: the control thread's half. The home's is home.c.
 *
 * A step: take what was pushed, in order; dial who is due; tick the connections that are due; bury the dead.
 * What can fail is reported: an attempt to connect by dial_failed, a connection by peer_down. */
#include "transport/endpoint.h"

#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/link.h"
#include "transport/strangers.h"

/* A step ---- */

static void discard(tr__endpoint *e, tr__stream *stream)
{
    e->net->close(stream);
    e->net->free(stream);
}

static void handle_accepted(tr__endpoint *e, tr__accept_event *event)
{
    tr__stream *stream = event->stream;
    tr__free(event);
    atomic_fetch_sub(&e->accepting, 1);
    tr__link *l = NULL;
    e->counters.accepted++;
    if (!atomic_load(&e->closing) && tr__strangers_make_room(e))
        l = tr__link_create(e);
    if (!l) {
        tr_error why;
        e->counters.accept_refused++;
        discard(e, stream);
        tr__fail(&why, TR_EFULL, "%u connections are being made already, or this node is closing",
                 e->unauthenticated);
        e->upcalls->turned_away(e->context, &why, e->now_ns);
        return;
    }
    l->accepted = true;
    l->origin = e->net->origin ? e->net->origin(stream) : 0;
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
        discard(e, stream);
    if (!l->dead) {
        if (l->target)
            tr__link_dial_ended(l, &l->dialled_why);
        tr__link_end(l);
    }
}

#define LINK_OF(node, member) ((tr__link *)((char *)(node)-offsetof(tr__link, member)))

static void handle_control(tr__endpoint *e, tr__slice *slice)
{
    tr__connection_received(&((tr__link *)slice->context)->connection, slice, e->now_ns);
    tr__slice_destroy(slice);
}

static void handle_learn(tr__endpoint *e, tr__learn_event *event)
{
    unsigned before = e->targets.learned;
    tr_err err = atomic_load(&e->closing) || e->targets.count >= TR__DIALS_MAX
                     ? TR_EFULL
                     : tr__targets_learn(&e->targets, event->address, TR__LEARNED_MAX, NULL);
    e->counters.learned += e->targets.learned - before;
    e->counters.learn_refused += err != TR_OK;
    tr__free(event);
}

static void handle(tr__endpoint *e, tr__mpsc_node *node)
{
    tr__link *l;
    switch ((tr__event_kind)node->kind) {
    case TR__EVENT_CONTROL:
        handle_control(e, (tr__slice *)node);
        break;
    case TR__EVENT_DOWN:
        l = LINK_OF(node, down_event);
        tr__connection_stream_down(&l->connection, &l->down_why, e->now_ns);
        break;
    case TR__EVENT_FAULT:
        l = LINK_OF(node, fault_event);
        tr__connection_refuse(&l->connection, &l->fault_why, e->now_ns);
        break;
    case TR__EVENT_NUDGE:
        l = LINK_OF(node, nudge.node);
        atomic_store(&l->nudge.pending, false);
        tr__connection_nudged(&l->connection, e->now_ns);
        break;
    case TR__EVENT_ACCEPTED:
        handle_accepted(e, (tr__accept_event *)node);
        break;
    case TR__EVENT_DIALLED:
        handle_dialled(LINK_OF(node, dialled_event));
        break;
    case TR__EVENT_HOME_FAULT:
        l = LINK_OF(node, home_fault_event);
        tr__connection_refuse(&l->connection, &l->home_fault_why, e->now_ns);
        break;
    case TR__EVENT_OWES_ACK:
        tr__connection_owes_ack(&LINK_OF(node, owes_ack_event)->connection, e->now_ns);
        break;
    case TR__EVENT_OWES_GRANT:
        l = LINK_OF(node, grant.node);
        atomic_store(&l->grant.pending, false);
        tr__connection_owes_grant(&l->connection, e->now_ns);
        break;
    case TR__EVENT_CLOSE:
        tr__connection_close(&LINK_OF(node, close_event)->connection, e->now_ns);
        break;
    case TR__EVENT_GONE:
        tr__link_gone(LINK_OF(node, gone_event));
        break;
    case TR__EVENT_LEARN:
        handle_learn(e, (tr__learn_event *)node);
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
        e->upcalls->dial_failed(e->context, target->text, &error, tr__target_alike(target, &error),
                                target->next_ns);
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
                tr__connection_close(&l->connection, e->now_ns);
        }
    }
    tr__targets_sweep(&e->targets);
    for (tr__target *target = e->targets.first; target; target = target->next) {
        if (tr__target_due(target) <= e->now_ns && !e->closing_seen)
            dial(e, target);
    }
}

static void stop_listening(tr__endpoint *e)
{
    if (e->listener)
        e->net->unlisten(e->listener);
    e->listener = NULL;
}

/* The home said that the endpoint closes. */
static void begin_closing(tr__endpoint *e)
{
    e->closing_seen = true;
    stop_listening(e);
    tr__targets_forget_all(&e->targets);
    for (tr__link *l = e->links; l; l = l->next) {
        if (l->connected && !l->dead)
            tr__connection_close(&l->connection, e->now_ns);
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
    if (atomic_load(&e->closing) && !e->closing_seen)
        begin_closing(e);
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
    if (e->closing_seen && !e->links && !e->graves && !e->leaving && tr__mpsc_is_empty(&e->inbox))
        atomic_store(&e->closed, true);
}

uint64_t tr__endpoint_next_due(const tr__endpoint *e)
{
    uint64_t due = UINT64_MAX;
    if (e->graves || !tr__mpsc_is_empty(&e->inbox) || (atomic_load(&e->closing) && !e->closing_seen))
        return 0;
    for (const tr__link *l = e->links; l; l = l->next) {
        uint64_t one = l->connected ? tr__connection_next_due(&l->connection) : UINT64_MAX;
        if (one < due)
            due = one;
    }
    uint64_t dials = tr__targets_due(&e->targets);
    return dials < due ? dials : due;
}

/* What HELLO says of the bulk lane. */
static void tell_lanes(tr__endpoint *e)
{
    tr__hello *self = &e->config.self;
    const uint32_t those = TR__CAPABILITY_LANES | TR__CAPABILITY_REFUSE;
    self->capabilities &= ~those;
    self->capabilities |= e->config.bulk_window ? those : 0;
    self->message_max = e->config.message_max;
}

void tr__endpoint_tune(tr__endpoint *e, const tr__connection_config *config)
{
    tr__hello self = e->config.self;
    const tr__psk *psk = e->config.psk;
    size_t headroom = e->config.headroom;
    e->config = *config;
    e->config.headroom = headroom;
    e->config.self = self;
    e->config.psk = psk;
    tell_lanes(e);
}

void tr__endpoint_set_keys(tr__endpoint *e, const tr__keys *keys)
{
    tr__check(e->config.psk && keys->count > 0, "an endpoint's keys are changed, not taken or given");
    e->psk.keys = *keys;
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
    tr__net_address advertised;
    if (options->advertise)
        TR_TRY(tr__net_address_parse(options->advertise, false, &advertised, error));
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
    self.capabilities = options->capabilities | (options->learn ? TR__CAPABILITY_LEARN : 0);
    e->config.self = self;
    tell_lanes(e);
    e->config.psk = options->keys ? &e->psk : NULL;
    if (options->keys) {
        e->psk.secret = options->secret;
        e->psk.context = options->secret_context;
        e->psk.keys = *options->keys;
    }
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
    address.anywhere = options->keys != NULL;
    if (!address.anywhere && address.kind != TR__HOST_NAME && !tr__net_address_is_loopback(&address))
        return tr__net_address_refuse(options->listen, error);
    TR_TRY(e->net->listen(e->net, &address, tr__link_on_accepted, e, &e->listener, error));
    e->port = address.port = e->net->port(e->listener);
    if (!options->advertise)
        tr__net_address_print(&address, e->config.self.address);
    return TR_OK;
}

static void endpoint_free(tr__endpoint *e)
{
    tr__targets_fini(&e->targets);
    tr__wipe(&e->psk, sizeof e->psk);
    tr__free(e);
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
    e->home_left_end = &e->home_left;
    e->now_ns = now_ns;
    tr_err err = configure(e, options, error);
    if (err == TR_OK)
        err = start_listening(e, options, error);
    if (err)
        endpoint_free(e);
    else
        *endpoint = e;
    return err;
}

void tr__endpoint_destroy(tr__endpoint *e)
{
    if (!e)
        return;
    stop_listening(e);
    for (tr__link *l = e->links; l; l = l->next) { /* from here on nothing is pushed any more */
        if (l->connected && !l->dead)
            tr__channel_close(&l->channel);
        if (l->dial)
            e->net->undial(l->dial);
        l->dial = NULL;
        l->dead = true;
    }
    for (tr__mpsc_node *node = tr__mpsc_take(&e->inbox), *next; node; node = next) {
        next = node->next;
        if (node->kind == TR__EVENT_CONTROL) {
            tr__slice_destroy((tr__slice *)node);
        } else if (node->kind == TR__EVENT_ACCEPTED) {
            discard(e, ((tr__accept_event *)node)->stream);
            tr__free(node);
        } else if (node->kind == TR__EVENT_LEARN) {
            tr__free((tr__learn_event *)node);
        } else if (node->kind == TR__EVENT_DIALLED) {
            handle_dialled(LINK_OF(node, dialled_event));
        }
    }
    tr__home_drop(e);
    tr__link *lists[] = {e->links, e->graves, e->leaving};
    for (int i = 0; i < 3; i++) {
        while (lists[i]) {
            tr__link *l = lists[i];
            lists[i] = l->next;
            tr__link_free(l);
        }
    }
    endpoint_free(e);
}

/* Asking ---- */

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
    if (atomic_load(&e->closing))
        return tr__fail(error, TR_ECLOSED, "node %s is closing: it dials nobody", e->config.self.name);
    return tr__targets_add(&e->targets, address, TR__DIALS_MAX, error);
}

void tr__endpoint_forget(tr__endpoint *e, const char *address)
{
    tr__targets_forget(&e->targets, address);
}

void tr__endpoint_counters_get(const tr__endpoint *e, tr__endpoint_counters *counters)
{
    *counters = (tr__endpoint_counters){
        .accepted = e->counters.accepted,
        .accept_refused = e->counters.accept_refused,
        .displaced = e->counters.displaced,
        .dials = e->counters.dials,
        .dials_failed = e->counters.dials_failed,
        .learned = e->counters.learned,
        .learn_refused = e->counters.learn_refused,
        .handshakes_failed = e->counters.handshakes_failed,
        .peers_up = e->counters.peers_up,
        .peers_down = e->counters.peers_down,
        .peers_stuck = e->counters.peers_stuck,
        .partial = e->counters.partial,
        .unknown = e->counters.unknown,
    };
}
