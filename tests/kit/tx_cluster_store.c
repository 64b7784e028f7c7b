/* A decision store that all nodes of a cluster share, in memory: see tx_cluster.h. Each request, and each answer, takes its
 * time, in any order; some get lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/tx_cluster.h"

#define SOON_NS TR_MILLIS(30)

static uint64_t later(cluster *c, uint64_t most)
{
    return c->now_ns + tr__random_below(&c->random, most);
}

static void ask(tr__decision_store *store, const tr_tx_id *id, bool commits, uint64_t ts, bool looks)
{
    cluster_node *n = (cluster_node *)((char *)store - offsetof(cluster_node, store));
    cluster *c = n->cluster;
    uint32_t node = (uint32_t)(n - c->nodes);
    if (n->die)
        return;
    cluster_ask *a = calloc(1, sizeof(*a));
    *a = (cluster_ask){.next = c->asks,
                       .node = node,
                       .life = n->id,
                       .due_ns = later(c, SOON_NS) + c->store_slow[node],
                       .id = *id,
                       .commits = commits,
                       .looks = looks,
                       .ts = ts};
    c->asks = a;
}

static tr_err decide(tr__decision_store *store, tr__tx *tx, const tr__proposal *p, tr_error *error)
{
    (void)tx;
    (void)error;
    ask(store, &p->id, p->commits, p->ts, false);
    return TR_OK;
}

static void lookup(tr__decision_store *store, tr__tx *tx, const tr_tx_id *id)
{
    (void)tx;
    ask(store, id, false, 0, true);
}

void cluster_store_begin(cluster_node *n)
{
    if (!n->cluster->shared)
        return;
    n->store = (tr__decision_store){.shared = true, .decide = decide, .lookup = lookup};
    tr__tx_decide_in(n->tx, &n->store);
}

/* The register. False: there is nothing, and nothing was proposed. */
static bool decided(cluster *c, cluster_ask *a)
{
    for (uint32_t i = 0; i < c->decided_count; i++) {
        if (memcmp(&c->decided[i].id, &a->id, sizeof(a->id)) != 0)
            continue;
        c->races[0] += !a->looks && !a->commits && c->decided[i].committed;
        c->races[1] += !a->looks && a->commits && !c->decided[i].committed;
        a->commits = c->decided[i].committed;
        a->ts = c->decided[i].ts;
        return true;
    }
    if (a->looks)
        return false;
    assert_true(c->decided_count < 2 * CLUSTER_TRANSFERS);
    c->decided[c->decided_count].id = a->id;
    c->decided[c->decided_count].committed = a->commits;
    c->decided[c->decided_count++].ts = a->ts;
    return true;
}

static void answer(cluster *c, const cluster_ask *a)
{
    const cluster_node *n = &c->nodes[a->node];
    if (n->tx && n->id == a->life)
        tr__tx_decided(n->tx, &a->id, a->commits, a->ts);
}

static bool lost(cluster *c)
{
    return c->lost && tr__random_below(&c->random, c->lost) == 0;
}

bool cluster_store_step(cluster *c)
{
    cluster_ask **at = &c->asks;
    while (*at && ((*at)->due_ns > c->now_ns ||
                   ((*at)->next && tr__random_below(&c->random, 4) == 0 && (*at)->next->due_ns <= c->now_ns)))
        at = &(*at)->next;
    cluster_ask *a = *at;
    if (!a)
        return false;
    *at = a->next;
    if (!a->answered && !c->store_down && decided(c, a) && !lost(c)) {
        a->answered = true;
        a->due_ns = later(c, SOON_NS);
        a->next = c->asks;
        c->asks = a;
        return true;
    }
    if (a->answered)
        answer(c, a);
    free(a);
    return true;
}

void cluster_store_end(cluster *c)
{
    while (c->asks) {
        cluster_ask *a = c->asks;
        c->asks = a->next;
        free(a);
    }
}
