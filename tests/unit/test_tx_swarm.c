/* Transactions by the hundred while nodes die, connections break, frames get lost or come twice, disks are slow, full or
 * broken, memory runs out, and third nodes ask what became of them: whatever the seed, all promises are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/tx_cluster.h"

static const char *const accounts[] = {"n0/a", "n0/b", "n1/a", "n1/b", "n2/a", "n2/b"};

static uint64_t draw(cluster *c, uint64_t bound)
{
    return tr__random_below(&c->random, bound);
}

/* ---- what is done -------------------------------------------------------------------------------------- */

/* Reads, in the order of the accounts or in any. */
static void add_reads(cluster *c, cluster_transfer *t, uint32_t most)
{
    uint64_t first = draw(c, 6), step = draw(c, 3);
    for (uint32_t i = 0; i < most && t->op_count < CLUSTER_OPS; i++)
        cluster_op_add(t, accounts[step ? (first + step * i) % 6 : draw(c, 6)], false, 0);
}

/* Three accounts, in one order or in any. */
static void draw_accounts(cluster *c, const char *paths[3])
{
    uint64_t at[3] = {draw(c, 4), 0, 0};
    at[1] = at[0] + 1;
    at[2] = at[1] + 1 < 6 ? at[1] + 1 : draw(c, 6);
    bool ordered = draw(c, 3);
    for (int i = 0; i < 3; i++)
        paths[i] = accounts[ordered ? at[i] : draw(c, 6)];
}

/* Who was wounded comes again, as a rule. */
static bool begin_again(cluster *c, uint32_t node)
{
    for (uint32_t i = 0; i < c->count; i++) {
        cluster_transfer *t = &c->transfers[i];
        if (t->node != node || !t->answered || t->outcome.reason != TR_TX_WOUNDED || !t->priority ||
            t->again || draw(c, 4) == 0)
            continue;
        t->again = true;
        cluster_again(c, t);
        return true;
    }
    return false;
}

static void begin_one(cluster *c, uint32_t node)
{
    const char *paths[3];
    draw_accounts(c, paths);
    const char *from = paths[0], *to = paths[1], *third = paths[2];
    cluster_transfer *t = cluster_begin(c, node);
    int64_t amount = (int64_t)draw(c, 300), part = (int64_t)draw(c, (uint64_t)amount + 1);
    switch (draw(c, 8)) {
    case 0: /* reads only */
    case 1:
        add_reads(c, t, 1 + (uint32_t)draw(c, CLUSTER_OPS));
        break;
    case 2: /* reads what it then writes */
        cluster_op_add(t, from, false, 0);
        cluster_op_add(t, from, true, -amount);
        cluster_op_add(t, to, true, amount);
        break;
    case 3: /* three that write */
        cluster_op_add(t, from, true, -amount);
        cluster_op_add(t, to, true, part);
        cluster_op_add(t, third, true, amount - part);
        break;
    case 4: /* declared as a write, and writes nothing */
        cluster_op_add(t, from, true, 0);
        add_reads(c, t, (uint32_t)draw(c, 3));
        break;
    default:
        cluster_op_add(t, from, true, -amount);
        cluster_op_add(t, to, true, amount);
        add_reads(c, t, (uint32_t)draw(c, 2));
    }
}

/* ---- what goes wrong ----------------------------------------------------------------------------------- */

static void disturb_node(cluster *c, cluster_node *n, uint32_t i)
{
    switch (draw(c, 8 + c->shared)) {
    case 0:
        cluster_kill(c, i, draw(c, 2));
        break;
    case 1:
    case 2:
        n->kill_at = (int)draw(c, TR__TX_POINT_COUNT);
        n->kill_seen = 0;
        n->kill_after = (uint32_t)draw(c, 3);
        break;
    case 3:
    case 4:
        n->held = !n->held;
        break;
    case 5:
        n->log.space = n->log.space ? 0 : n->log.cache_size; /* full from now on, or no more */
        break;
    case 6:
        n->log.fail_force_in = 1 + (unsigned)draw(c, 4);
        break;
    case 8:
        c->store_down = !c->store_down;
        c->store_slow[i] = draw(c, 2) ? 0 : draw(c, TR_SECONDS(5));
        break;
    default:
        tr__alloc_fail_at(1 + draw(c, 300));
    }
}

static void start(cluster *c, uint32_t node)
{
    tr__alloc_fail_at(0);
    c->nodes[node].log.fail_force_in = 0;
    if (!cluster_start(c, node))
        fail_msg("n%u doesn't start: %s", node, c->nodes[node].fatal.text);
}

/* Anybody who has a ticket may ask at any time, also before it is committed. */
static void ask_somewhere(cluster *c, uint32_t node)
{
    cluster_transfer *t = c->count ? &c->transfers[draw(c, c->count)] : NULL;
    if (t && t->ticket[0] && !t->resolving && c->nodes[node].tx)
        cluster_resolve(c, t, node);
}

static void disturb(cluster *c)
{
    uint32_t node = (uint32_t)draw(c, CLUSTER_NODES), other = (uint32_t)draw(c, CLUSTER_NODES);
    switch (draw(c, 8)) {
    case 0:
    case 1:
        if (c->nodes[node].tx)
            disturb_node(c, &c->nodes[node], node);
        break;
    case 2:
        if (node != other)
            cluster_partition(c, node, other);
        break;
    case 3:
        if (node != other)
            cluster_heal(c, node, other);
        break;
    case 4:
        ask_somewhere(c, node);
        break;
    default:
        if (!c->nodes[node].tx)
            start(c, node);
    }
}

static void heal_all(cluster *c)
{
    c->twice = c->lost = 0;
    c->store_down = false;
    memset(c->store_slow, 0, sizeof(c->store_slow));
    tr__alloc_fail_at(0);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        c->nodes[i].held = false;
        c->nodes[i].kill_at = -1;
        c->nodes[i].log.space = 0;
        c->nodes[i].log.fail_force_in = 0;
        if (!c->nodes[i].tx)
            start(c, i);
        for (uint32_t j = 0; j < CLUSTER_NODES; j++)
            cluster_heal(c, i, j);
    }
}

/* ---- a seed -------------------------------------------------------------------------------------------- */

static uint64_t running_seed, snapshots;

/* A failed check doesn't know the seed. */
static void tell_seed(void)
{
    if (running_seed)
        printf("TX_SEED=%llu TX_SEEDS=1 TX_TRACE=1 test_tx_swarm runs it again, with what happened\n",
               (unsigned long long)running_seed);
}

/* Whether anybody may ask: who was told COMMITTED has to hear the same again. */
static void resolve_all(cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (!c->transfers[i].resolving && c->transfers[i].ticket[0])
            cluster_resolve(c, &c->transfers[i], (uint32_t)draw(c, CLUSTER_NODES));
}

static void disturbed_time(cluster *c)
{
    uint64_t mildness = 2 + draw(c, 30);
    c->twice = draw(c, 3) ? 0 : 2 + (uint32_t)draw(c, 30);
    c->notices_late = draw(c, 2);
    c->lost = draw(c, 3) ? 0 : 10 + (uint32_t)draw(c, 200);
    for (int round = 0; round < 60; round++) {
        for (uint64_t i = draw(c, 3); i > 0; i--) {
            uint32_t node = (uint32_t)draw(c, CLUSTER_NODES);
            if (c->nodes[node].tx && c->count < CLUSTER_TRANSFERS && (draw(c, 2) || !begin_again(c, node)))
                begin_one(c, node);
        }
        for (uint64_t i = draw(c, 200); i > 0; i--) {
            cluster_step(c);
            if (i % 4 == 0)
                cluster_check_locks(c);
        }
        if (draw(c, mildness) == 0)
            disturb(c);
        if (draw(c, 10) == 0)
            ask_somewhere(c, (uint32_t)draw(c, CLUSTER_NODES));
        if (draw(c, 3) == 0)
            cluster_run(c, draw(c, 20) ? TR_MILLIS(draw(c, 400)) : TR_SECONDS(11));
    }
}

/* All of them decide in a store that they share. */
static void share(cluster *c)
{
    c->shared = true;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        cluster_kill(c, i, false);
        start(c, i);
    }
}

static void run_seed(uint64_t seed, uint64_t hits[TR__TX_POINT_COUNT])
{
    running_seed = seed;
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    if (seed % 4 == 1)
        share(c);
    c->emits = seed % 3 == 0;
    c->segment = seed % 2 ? 16 * 1024 : 0; /* of logs that are opened again */
    disturbed_time(c);
    heal_all(c);
    cluster_run(c, TR_SECONDS(18));
    for (int twice = 0; twice < 2; twice++) { /* the second answer is compared with the first */
        resolve_all(c);
        cluster_run(c, TR_SECONDS(6));
    }
    for (uint32_t i = 0; i < c->count; i++) {
        const cluster_transfer *t = &c->transfers[i];
        if (t->ticket[0] && !t->is_settled)
            fail_msg("transaction %u is not settled", i);
    }
    cluster_check(c, accounts, 6);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        for (int p = 0; p < TR__TX_POINT_COUNT; p++)
            hits[p] += c->nodes[i].hits[p];
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        snapshots += c->nodes[i].log.snap.seals;
    cluster_close(c);
    free(c);
}

static void seeds_keep_every_promise(void **state)
{
    (void)state;
    const char *first = getenv("TX_SEED"), *number = getenv("TX_SEEDS");
    uint64_t from = first ? strtoull(first, NULL, 10) : 1000,
             seeds = number ? strtoull(number, NULL, 10) : 400;
    uint64_t hits[TR__TX_POINT_COUNT] = {0};
    for (uint64_t seed = from; seed < from + seeds; seed++)
        run_seed(seed, hits);
    running_seed = 0;
    for (int p = 0; p < TR__TX_POINT_COUNT; p++)
        assert_true(hits[p] > 0 || seeds < 10);
    assert_true(snapshots > 10 || seeds < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_keep_every_promise),
    };
    atexit(tell_seed);
    return cmocka_run_group_tests_name("tx_swarm", tests, NULL, NULL);
}
