/* A bank where the log of n1 is put back to an older copy of itself now and then, and later to the newest one, as by an
 * operator who meant it well. Its peers remember what it had, so with the older copy nothing may be begun, decided or
 * told that the newest one doesn't know: then all promises of the bank hold.
 *
 * What no peer remembers can't be noticed; so the older copy is put back only when both have been seen to remember, durably,
 * and n1 itself begins nothing and asks for nothing as long as there are faults. Now and then it is away for longer, the
 * others go on meanwhile, until what they remember is in their snapshots only, and are started again before it comes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "base/check.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

#define VICTIM 1u

static struct {
    uint64_t run; /* tr_sim.number */
    memory_copy older, newest;
    uint64_t older_life;        /* the older one was taken when that life had ended */
    uint64_t incarnation, life; /* of the victim's last one that began its work */
    uint64_t known[3]; /* that incarnation both peers have been seen to remember: they do from then on */
    uint64_t swaps;
} now;

static void put_back(sim_node *node, const memory_copy *from)
{
    memory_log_put_back(&node->disk, from);
    node->slots_lost = true; /* nobody knows what state its slots were in */
}

/* In its own log, on the disk, that it had what it wrote in its last life. */
static bool remembers(const sim_node *peer)
{
    const tr__tx *tx = sim_node_is_up(peer) ? peer->node->transactions->tx : NULL;
    if (!tx || tr__log_durable(tx->log) != tr__log_last(tx->log))
        return false;
    for (const tr__tx_memory *m = tx->memories; m; m = m->hh.next)
        if (strcmp(m->key.node, "n1") == 0 && m->kept_life == now.incarnation)
            return true;
    return false;
}

static void look_at_peers(tr_sim *sim)
{
    for (uint32_t peer = 0; peer < 3; peer++)
        if (peer != VICTIM && now.incarnation && remembers(&sim->nodes[peer]))
            now.known[peer] = now.incarnation;
}

static bool is_older(void)
{
    return tx_history_now()->older >> VICTIM & 1;
}

static void on_restored(void *context, uint64_t swap)
{
    tr_sim *sim = context;
    if (!is_older() || now.swaps != swap)
        return;
    sim_node_crash(&sim->nodes[VICTIM], false);
    if (!sim->faults_on)
        sim_restart_in(&sim->nodes[VICTIM], TR_MILLIS(100));
}

static void put_older(sim_node *node)
{
    tr_sim *sim = node->sim;
    memory_log_save(&node->disk, &now.newest);
    put_back(node, &now.older);
    tx_history_now()->older |= 1u << VICTIM;
    sim_event_at(sim, sim->now + TR_MILLIS(500) + tr__random_below(&sim->schedule, TR_SECONDS(4)),
                 on_restored, sim, ++now.swaps);
    sim_trace(sim, node, "older", "copy of its log is put back: %u segments, and %zu rows", now.older.count,
              now.older.rows.count);
}

static void put_newest(sim_node *node)
{
    put_back(node, &now.newest);
    tx_history_now()->older &= ~(1u << VICTIM);
    now.incarnation = 0;
    sim_trace(node->sim, node, "newest", "copy of its log is put back");
}

/* The victim is down, and starts now. */
static void before_start(sim_node *node)
{
    tr_sim *sim = node->sim;
    if (node->index != VICTIM)
        return;
    look_at_peers(sim);
    bool known = now.older.count && now.incarnation && now.older_life < now.life &&
                 now.known[0] == now.incarnation && now.known[2] == now.incarnation;
    sim_reaches(sim, is_older(), "the newest copy of a log is put back");
    if (is_older()) {
        put_newest(node);
    } else if (sim->faults_on && known && tr__random_below(&sim->schedule, 2)) {
        sim_reaches(sim, true, "an older copy of a log is put back");
        put_older(node);
    } else if (sim->faults_on && node->disk.published) {
        memory_log_save(&node->disk, &now.older);
        now.older_life = node->life;
    }
}

/* What the peers remember is behind their own starts now. */
static void on_back(void *context, uint64_t token)
{
    tr_sim *sim = context;
    (void)token;
    sim_reaches(sim, sim->faults_on, "peers of who is long away are started again");
    for (uint32_t peer = 0; peer < 3 && sim->faults_on; peer++)
        if (peer != VICTIM)
            sim_node_crash(&sim->nodes[peer], false);
    sim->nodes[VICTIM].stays_down = false;
    sim_restart_in(&sim->nodes[VICTIM], TR_MILLIS(200));
}

static void be_long_away(tr_sim *sim)
{
    sim->nodes[VICTIM].stays_down = true;
    sim_event_at(sim, sim->now + TR_SECONDS(3), on_back, sim, 0);
}

static void on_kill(void *context, uint64_t token)
{
    tr_sim *sim = context;
    (void)token;
    if (!sim->faults_on)
        return;
    look_at_peers(sim);
    if (!is_older() && !sim->nodes[VICTIM].stays_down) {
        if (tr__random_below(&sim->schedule, 4) == 0)
            be_long_away(sim);
        sim_node_crash(&sim->nodes[VICTIM], tr__random_below(&sim->schedule, 4) == 0);
    }
    sim_event_at(sim, sim->now + TR_SECONDS(1) + tr__random_below(&sim->schedule, TR_SECONDS(2)), on_kill,
                 sim, 0);
}

static void plan(tr_actor *self, tx_record *record)
{
    uint32_t from = (uint32_t)tx_draw(self, TX_PLACES), to = (uint32_t)tx_draw(self, TX_PLACES);
    uint32_t mine = 2 * VICTIM + (uint32_t)tx_draw(self, 2);
    int64_t amount = (int64_t)tx_draw(self, 40);
    if (tx_draw(self, 6) == 0) {
        for (uint32_t place = 0; place < TX_PLACES; place++)
            tx_op_add(record, place, false, 0);
        return;
    }
    if (tx_draw(self, 3)) /* it decides, as a rule */
        from = mine;
    tx_op *op = tx_op_add(record, from, true, -amount);
    if (tx_draw(self, 3) == 0)
        op->padding = (uint32_t)tx_draw(self, 4096);
    tx_op_add(record, to == from ? (from + 1) % TX_PLACES : to, true, amount);
}

static tr_err start(tr_actor *self, uint32_t index)
{
    tr_sim *sim = sim_now_running;
    tx_history *h = tx_history_now();
    if (now.run != sim->number) {
        now.run = sim->number;
        now.incarnation = now.life = now.older_life = now.swaps = 0;
        memset(now.known, 0, sizeof(now.known));
        memory_copy_free(&now.older);
        sim->before_start = before_start;
        h->quiet = 1u << VICTIM;
        h->may_lose = true;
        sim_event_at(sim, sim->now + TR_SECONDS(2), on_kill, sim, 0);
    }
    if (index == VICTIM && sim_counts() && !is_older()) {
        now.incarnation = sim->nodes[VICTIM].node->id;
        now.life = sim->nodes[VICTIM].life;
    }
    return tx_load_start(self, index, plan);
}

const tr_scenario sim_older = {.size = sizeof(tr_scenario),
                               .name = "older",
                               .nodes = 3,
                               .run_ns = TR_SECONDS(20),
                               .data = true,
                               .start = start,
                               .check = tx_load_check};
