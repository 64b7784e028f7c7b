/* The home's half of an endpoint: see endpoint.h. Its loop's thread.
 *
 * What comes, comes through one inbox: a peer is up, its batches, its credit, it is down. Nothing here fails;
 * what the other side breaks is told to the control thread, which refuses it. */
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/link.h"

/* The flow's upcalls ---- */

static void on_batch(void *context, const uint8_t *bytes, size_t length, uint32_t messages)
{
    tr__link *l = context;
    l->endpoint->upcalls->batch(l->endpoint->context, &l->peer, bytes, length, messages);
}

static void on_bulk(void *context, uint8_t *block, const uint8_t *bytes, size_t length, uint32_t messages)
{
    tr__link *l = context;
    l->endpoint->upcalls->bulk(l->endpoint->context, &l->peer, block, bytes, length, messages);
}

static tr__unit_way on_begins(void *context, uint64_t whole, const uint8_t *bytes, size_t length)
{
    tr__link *l = context;
    const tr__endpoint_upcalls *upcalls = l->endpoint->upcalls;
    return upcalls->bulk_begins ? upcalls->bulk_begins(l->endpoint->context, &l->peer, whole, bytes, length)
                                : TR__UNIT_GATHERED;
}

static bool on_part(void *context, const uint8_t *bytes, size_t length, bool last)
{
    tr__link *l = context;
    return l->endpoint->upcalls->bulk_part(l->endpoint->context, &l->peer, bytes, length, last);
}

static bool on_no_memory(void *context, uint64_t whole, const uint8_t *bytes, size_t length)
{
    tr__link *l = context;
    const tr__endpoint_upcalls *upcalls = l->endpoint->upcalls;
    return upcalls->bulk_no_memory &&
           upcalls->bulk_no_memory(l->endpoint->context, &l->peer, whole, bytes, length);
}

static void on_writable(void *context)
{
    tr__link *l = context;
    l->endpoint->upcalls->writable(l->endpoint->context, &l->peer);
}

static void on_owes_ack(void *context)
{
    tr__link *l = context;
    tr__push_control(l->endpoint, &l->owes_ack_event, TR__EVENT_OWES_ACK);
}

static void on_owes_grant(void *context)
{
    tr__link *l = context;
    if (!atomic_exchange(&l->grant.pending, true))
        tr__push_control(l->endpoint, &l->grant.node, TR__EVENT_OWES_GRANT);
}

static void on_fault(void *context, const tr_error *why)
{
    tr__link *l = context;
    l->home_fault_why = *why;
    tr__push_control(l->endpoint, &l->home_fault_event, TR__EVENT_HOME_FAULT);
}

const tr__flow_upcalls tr__home_flow_upcalls = {
    on_batch, on_bulk, on_begins, on_part, on_no_memory, on_writable, on_owes_ack, on_owes_grant, on_fault};

/* What comes ---- */

/* For the next flush. */
static void mark_dirty(tr__link *l)
{
    if (!l->dirty) {
        l->dirty = true;
        l->next_dirty = l->endpoint->dirty;
        l->endpoint->dirty = l;
    }
}

static void disconnect(tr__link *l)
{
    if (l->flow.closing)
        return;
    tr__flow_close(&l->flow);
    tr__push_control(l->endpoint, &l->close_event, TR__EVENT_CLOSE);
}

static void take_data(tr__link *l, tr__slice *slice)
{
    if (l->home_up) {
        tr__flow_received(&l->flow, slice);
        return;
    }
    slice->node.next = NULL;
    *l->early_end = &slice->node;
    l->early_end = &slice->node.next;
}

/* What came before it was up; `use`, or free. */
static void take_early(tr__link *l, bool use)
{
    for (tr__mpsc_node *node = l->early, *next; node; node = next) {
        next = node->next;
        if (use)
            tr__flow_received(&l->flow, (tr__slice *)node);
        else
            tr__slice_destroy((tr__slice *)node);
    }
    l->early = NULL;
    l->early_end = &l->early;
}

static void take_up(tr__link *l)
{
    tr__endpoint *e = l->endpoint;
    l->home_up = true;
    l->next_peer = e->home_peers;
    e->home_peers = l;
    e->upcalls->peer_up(e->context, &l->peer);
    take_early(l, true);
    if (atomic_load(&e->closing))
        disconnect(l);
}

static void take_down(tr__link *l)
{
    tr__endpoint *e = l->endpoint;
    take_early(l, false);
    if (l->home_up) {
        tr__link **at = &e->home_peers, **dirty = &e->dirty;
        while (*at != l)
            at = &(*at)->next_peer;
        *at = l->next_peer;
        uint64_t unknown = tr__flow_unknown(&l->flow);
        e->counters.unknown += unknown;
        e->counters.partial += tr__flow_fini(&l->flow);
        e->upcalls->peer_down(e->context, &l->peer, &l->home_down_why, unknown);
        while (*dirty && *dirty != l)
            dirty = &(*dirty)->next_dirty;
        if (*dirty)
            *dirty = l->next_dirty;
    }
    tr__push_control(e, &l->gone_event, TR__EVENT_GONE);
}

#define LINK_OF(node, member) ((tr__link *)((char *)(node)-offsetof(tr__link, member)))

static void take(tr__mpsc_node *node)
{
    tr__link *l;
    switch ((tr__home_kind)node->kind) {
    case TR__HOME_UP:
        take_up(LINK_OF(node, home_up_event));
        break;
    case TR__HOME_DATA:
        take_data(((tr__slice *)node)->context, (tr__slice *)node);
        break;
    case TR__HOME_CREDIT:
        l = LINK_OF(node, credit.node);
        atomic_store(&l->credit.pending, false);
        tr__flow_credit(&l->flow);
        break;
    case TR__HOME_DRAIN:
        disconnect(LINK_OF(node, home_drain_event));
        break;
    case TR__HOME_DOWN:
        take_down(LINK_OF(node, home_down_event));
        break;
    }
}

/* Whatever has come goes behind what is left. */
static void gather(tr__endpoint *e)
{
    *e->home_left_end = tr__mpsc_take(&e->home_inbox);
    while (*e->home_left_end)
        e->home_left_end = &(*e->home_left_end)->next;
}

static tr__mpsc_node *next_left(tr__endpoint *e)
{
    tr__mpsc_node *node = e->home_left;
    e->home_left = node->next;
    if (!e->home_left)
        e->home_left_end = &e->home_left;
    return node;
}

void tr__endpoint_take(tr__endpoint *e)
{
    gather(e);
    for (size_t read = 0; e->home_left && read < TR__TAKE_MAX;) {
        tr__mpsc_node *node = next_left(e);
        if (node->kind == TR__HOME_DATA)
            read += ((tr__slice *)node)->length;
        take(node);
    }
}

bool tr__endpoint_has_news(const tr__endpoint *e)
{
    return e->home_left || !tr__mpsc_is_empty(&e->home_inbox);
}

void tr__home_drop(tr__endpoint *e)
{
    gather(e);
    while (e->home_left) {
        tr__mpsc_node *node = next_left(e);
        if (node->kind == TR__HOME_DATA)
            tr__slice_destroy((tr__slice *)node);
    }
    for (tr__link *l = e->links; l; l = l->next)
        take_early(l, false);
    for (tr__link *l = e->leaving; l; l = l->next)
        take_early(l, false);
}

/* Peers ---- */

tr__peer *tr__endpoint_next_peer(tr__endpoint *e, const tr__peer *peer)
{
    tr__link *l = peer ? tr__link_of_peer(peer)->next_peer : e->home_peers;
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

void tr__endpoint_peer_counters(const tr__peer *peer, tr__connection_counters *counters)
{
    const tr__link *l = tr__link_of_peer(peer);
    const tr__channel *ch = &l->channel;
    *counters = (tr__connection_counters){
        .messages_out = ch->messages_out,
        .messages_in = ch->messages_in,
        .messages_acked = ch->messages_acked,
        .batches_out = ch->batches_out,
        .batches_in = ch->batches_in,
        .batches_acked = ch->batches_acked,
        .bytes_out = ch->bytes_out,
        .bytes_in = ch->bytes_in,
        .granted_to_us = ch->granted_to_us,
        .spent = ch->spent,
        .granted_by_us = ch->granted_by_us,
        .received = l->flow.received,
        .consumed = ch->consumed,
        .refused_sends = l->flow.refused_sends,
        .heartbeats_in = ch->heartbeats_in,
        .bulk_granted_to_us = ch->bulk.granted,
        .bulk_spent = ch->bulk.spent,
        .bulk_granted_by_us = ch->bulk_granted_by_us,
        .bulk_received = ch->bulk_in,
        .bulk_queued = ch->bulk.queued,
        .grants_held = ch->grants_held,
    };
}

/* Sending ---- */

static tr__link *link_of(tr__endpoint *e, tr__peer *peer)
{
    tr__link *l = tr__link_of_peer(peer);
    tr__check(l->endpoint == e, "a peer of another endpoint");
    return l;
}

tr_err tr__endpoint_reserve(tr__endpoint *e, tr__peer *peer, size_t length, uint8_t **at)
{
    return tr__flow_reserve(&link_of(e, peer)->flow, length, at);
}

void tr__endpoint_commit(tr__endpoint *e, tr__peer *peer, size_t length)
{
    tr__link *l = link_of(e, peer);
    tr__flow_commit(&l->flow, length);
    mark_dirty(l);
}

bool tr__endpoint_append(tr__endpoint *e, tr__peer *peer, const void *bytes, size_t length, uint32_t messages)
{
    tr__link *l = link_of(e, peer);
    bool taken = tr__flow_append(&l->flow, bytes, length, messages);
    if (taken)
        mark_dirty(l);
    return taken;
}

uint8_t *tr__endpoint_place(tr__peer *peer, size_t length)
{
    return tr__flow_place(&tr__link_of_peer(peer)->flow, length);
}

/* The open frame had messages, so it is dirty. */
void tr__endpoint_placed(tr__peer *peer, size_t length)
{
    tr__flow_placed(&tr__link_of_peer(peer)->flow, length);
}

tr_err tr__endpoint_bulk_reserve(tr__endpoint *e, tr__peer *peer, size_t length, uint8_t **at)
{
    return tr__flow_bulk_reserve(&link_of(e, peer)->flow, length, at);
}

void tr__endpoint_bulk_commit(tr__endpoint *e, tr__peer *peer, size_t length)
{
    tr__link *l = link_of(e, peer);
    tr__flow_bulk_commit(&l->flow, length);
    mark_dirty(l);
}

tr_err tr__endpoint_bulk_may(tr__endpoint *e, tr__peer *peer, size_t length)
{
    return tr__flow_bulk_may(&link_of(e, peer)->flow, length);
}

tr_err tr__endpoint_bulk_put(tr__endpoint *e, tr__peer *peer, tr__unit *unit)
{
    tr__link *l = link_of(e, peer);
    mark_dirty(l);
    return tr__flow_bulk_put(&l->flow, unit);
}

uint64_t tr__endpoint_bulk_last(const tr__peer *peer)
{
    return tr__bulk_last(&tr__link_of_peer(peer)->channel.bulk);
}

uint64_t tr__endpoint_bulk_taken(const tr__peer *peer)
{
    return atomic_load(&tr__link_of_peer(peer)->channel.bulk.taken);
}

uint64_t tr__endpoint_bulk_heard(const tr__peer *peer)
{
    return tr__link_of_peer(peer)->flow.bulk.units;
}

void tr__endpoint_bulk_skip(tr__peer *peer, uint64_t unit)
{
    tr__flow_bulk_skip(&tr__link_of_peer(peer)->flow, unit);
}

tr_err tr__endpoint_send(tr__endpoint *e, tr__peer *peer, const void *bytes, size_t length)
{
    uint8_t *at;
    TR_TRY(tr__endpoint_reserve(e, peer, length, &at));
    memcpy(at, bytes, length);
    tr__endpoint_commit(e, peer, length);
    return TR_OK;
}

void tr__endpoint_consumed(tr__endpoint *e, tr__peer *peer, size_t bytes)
{
    tr__link *l = link_of(e, peer);
    tr__flow_consumed(&l->flow, bytes);
    mark_dirty(l);
}

void tr__endpoint_disconnect(tr__endpoint *e, tr__peer *peer)
{
    disconnect(link_of(e, peer));
}

void tr__endpoint_refuse(tr__endpoint *e, tr__peer *peer, const tr_error *why)
{
    tr__link *l = link_of(e, peer);
    if (l->flow.deaf)
        return; /* it is being refused already */
    l->flow.deaf = true;
    on_fault(l, why);
}

/* Whether we may dial what was only told. */
static tr_err check_learned(const tr__endpoint *e, const char *text, const tr__net_address *address,
                            tr_error *error)
{
    if (strcmp(text, e->config.self.address) == 0)
        return tr__fail(error, TR_EADDR, "%.80s is this node's own address", text);
    if (tr__net_address_is_any(address))
        return tr__fail(error, TR_EADDR, "%.80s names no host: the node there needs --advertise", text);
    if (!e->config.psk && !tr__net_address_is_loopback(address))
        return tr__fail(error, TR_EPERM,
                        "%.80s isn't loopback, and without a key nobody there can prove who it is", text);
    return TR_OK;
}

tr_err tr__endpoint_learn(tr__endpoint *e, const char *address, tr_error *error)
{
    tr__net_address parsed;
    char text[TR__ADDRESS_MAX + 1];
    tr_err err = tr__net_address_parse(address, false, &parsed, error);
    if (err == TR_OK) {
        tr__net_address_print(&parsed, text);
        err = check_learned(e, text, &parsed, error);
    }
    tr__learn_event *event = err == TR_OK ? tr__alloc(sizeof *event) : NULL;
    if (!event) {
        e->counters.learn_refused++;
        return err ? err : tr__fail(error, TR_ENOMEM, "no memory to dial %.80s", text);
    }
    memcpy(event->address, text, sizeof text);
    tr__push_control(e, &event->node, TR__EVENT_LEARN);
    return TR_OK;
}

void tr__endpoint_flush(tr__endpoint *e)
{
    while (e->dirty) {
        tr__link *l = e->dirty;
        e->dirty = l->next_dirty;
        l->dirty = false;
        tr__flow_flush(&l->flow);
    }
}

/* Closing ---- */

void tr__endpoint_close(tr__endpoint *e)
{
    if (atomic_exchange(&e->closing, true))
        return;
    for (tr__link *l = e->home_peers; l; l = l->next_peer)
        disconnect(l);
    e->upcalls->wake(e->context);
}

bool tr__endpoint_is_closed(const tr__endpoint *e)
{
    return atomic_load(&e->closed);
}
