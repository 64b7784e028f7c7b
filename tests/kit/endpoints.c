/* See endpoints.h. */
#include "tests/kit/endpoints.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static void on_wake(void *context)
{
    (void)context; /* settle steps everybody */
}

static void on_peer_up(void *context, tr__peer *peer)
{
    test_node *node = context;
    node->peer = peer;
    node->ups++;
    node->downs_at_up = node->downs;
}

static void on_batch(void *context, tr__peer *peer, const uint8_t *bytes, size_t length, uint32_t messages)
{
    test_node *node = context;
    node->messages += messages;
    for (size_t i = 0; i < length; i++)
        node->sum = node->sum * 31 + bytes[i];
    node->bytes += length;
    if (node->hear)
        node->hear(node->hear_context, bytes, length);
    if (node->echo) {
        tr_err err = tr__endpoint_send(node->endpoint, peer, bytes, length);
        tr__check(err == TR_OK, "an echo was refused (%d): too much for the window", (int)err);
    }
    if (!node->hold)
        tr__endpoint_consumed(node->endpoint, peer, length);
}

/* Its bytes count as those of a batch do. */
static void on_bulk(void *context, tr__peer *peer, uint8_t *block, const uint8_t *bytes, size_t length,
                    uint32_t messages)
{
    test_node *node = context;
    (void)peer;
    node->bulk_messages += messages;
    node->messages += messages;
    for (size_t i = 0; i < length; i++)
        node->sum = node->sum * 31 + bytes[i];
    node->bytes += length;
    if (node->hear)
        node->hear(node->hear_context, bytes, length);
    tr__free(block);
}

static void on_writable(void *context, tr__peer *peer)
{
    (void)peer;
    ((test_node *)context)->writables++;
}

static void on_peer_down(void *context, tr__peer *peer, const tr_error *why, uint64_t unknown)
{
    test_node *node = context;
    if (node->peer == peer)
        node->peer = NULL;
    node->downs++;
    node->messages_at_down = node->messages;
    node->down_why = *why;
    node->unknown += unknown;
}

static void on_dial_failed(void *context, const char *address, const tr_error *why, uint64_t alike,
                           uint64_t next_ns)
{
    test_node *node = context;
    (void)address;
    (void)alike;
    node->dial_failures++;
    node->dial_why = *why;
    node->next_dial_ns = next_ns;
}

static void on_turned_away(void *context, const tr_error *why, uint64_t now_ns)
{
    test_node *node = context;
    (void)now_ns;
    node->turned_away++;
    node->away_why = *why;
}

const tr__endpoint_upcalls test_node_upcalls = {on_wake,      on_wake,        on_peer_up,
                                                on_batch,     on_bulk,        on_writable,
                                                on_peer_down, on_dial_failed, on_turned_away};

void test_cluster_init(test_cluster *cluster, uint64_t seed)
{
    *cluster = (test_cluster){.now_ns = SECONDS};
    memory_net_init(&cluster->net, seed);
    tr__random_init(&cluster->secrets, seed + 1);
}

void test_cluster_destroy(test_cluster *cluster, test_node *node)
{
    tr__endpoint_destroy(node->endpoint);
    node->endpoint = NULL;
    for (unsigned i = 0; i < cluster->count; i++) {
        if (cluster->nodes[i] == node)
            cluster->nodes[i--] = cluster->nodes[--cluster->count];
    }
}

void test_cluster_fini(test_cluster *cluster)
{
    while (cluster->count)
        test_cluster_destroy(cluster, cluster->nodes[0]);
    memory_net_fini(&cluster->net);
}

/* Not secret at all: the same in each run. */
static void draw(void *context, void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)tr__random_next(context);
}

tr__endpoint_options test_options(const char *name, uint64_t id)
{
    return (tr__endpoint_options){
        .cluster = "test", .name = name, .id = id, .listen = "127.0.0.1:0", .random_seed = id};
}

tr_err test_cluster_open(test_cluster *cluster, test_node *node, const tr__endpoint_options *options,
                         tr_error *error)
{
    tr__endpoint_options with_secret = *options;
    *node = (test_node){.endpoint = NULL};
    with_secret.secret = draw;
    with_secret.secret_context = &cluster->secrets;
    TR_TRY(tr__endpoint_open(&with_secret, &cluster->net.net, cluster->now_ns, &test_node_upcalls, node,
                             &node->endpoint, error));
    cluster->nodes[cluster->count++] = node;
    return TR_OK;
}

void test_cluster_settle(test_cluster *cluster)
{
    bool more = true;
    for (unsigned round = 0; more; round++) {
        tr__check(round < 1000000, "the cluster never comes to rest");
        for (unsigned i = 0; i < cluster->count; i++)
            if (!cluster->nodes[i]->stuck)
                tr__endpoint_flush(cluster->nodes[i]->endpoint);
        more = memory_net_step(&cluster->net);
        for (unsigned i = 0; i < cluster->count; i++) {
            tr__endpoint *endpoint = cluster->nodes[i]->endpoint;
            if (tr__endpoint_next_due(endpoint) <= cluster->now_ns) {
                tr__endpoint_step(endpoint, cluster->now_ns);
                more = true;
            }
            if (tr__endpoint_has_news(endpoint) && !cluster->nodes[i]->stuck) {
                tr__endpoint_take(endpoint);
                more = true;
            }
        }
    }
}

void test_cluster_advance(test_cluster *cluster, uint64_t by_ns)
{
    uint64_t until = cluster->now_ns + by_ns;
    test_cluster_settle(cluster);
    while (cluster->now_ns < until) {
        uint64_t due = until;
        for (unsigned i = 0; i < cluster->count; i++) {
            uint64_t one = tr__endpoint_next_due(cluster->nodes[i]->endpoint);
            if (one < due)
                due = one;
        }
        cluster->now_ns = due;
        test_cluster_settle(cluster);
    }
}

tr__connection_counters test_counters(const test_node *node)
{
    tr__connection_counters counters;
    tr__endpoint_peer_counters(node->peer, &counters);
    return counters;
}

void test_dial(test_node *from, test_node *to)
{
    tr_error error;
    tr_err err = tr__endpoint_dial(from->endpoint, tr__endpoint_address(to->endpoint), &error);
    tr__check(err == TR_OK, "%s", error.text);
}
