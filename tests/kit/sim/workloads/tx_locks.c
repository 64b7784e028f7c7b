/* What must hold of locks at any time: see tx_history.h. Looks into the nodes' own state. */
#include <string.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/tx_history.h"

static tr__tx *manager_of(uint32_t node)
{
    const sim_node *n = &sim_now_running->nodes[node];
    return sim_node_is_up(n) && n->node->transactions ? n->node->transactions->tx : NULL;
}

static tr__tx *manager_called(const char *name)
{
    for (uint32_t node = 0; node < sim_now_running->node_count; node++)
        if (strcmp(sim_now_running->nodes[node].name, name) == 0)
            return manager_of(node);
    return NULL;
}

static void check_line(uint32_t node, const tr__tx_actor *actor)
{
    for (const tr__tx_branch *b = actor->waiting; b; b = b->next_waiting) {
        if (b->next_waiting && !tr__tx_is_older(b, b->next_waiting))
            tr_sim_fail(sim_now_running,
                        "n%u/%s: who waits for the lock doesn't do so in the order of priorities", node,
                        actor->name);
        if (tr__tx_in_the_way(b))
            tr_sim_fail(sim_now_running,
                        "n%u/%s: an older transaction waits for a younger one that could be wounded", node,
                        actor->name);
    }
}

/* Its caller's node may know it no more. */
static void check_branch(uint32_t node, const tr__tx_branch *b)
{
    tr__tx *caller = b->state <= TR__BRANCH_READY ? manager_called(b->caller) : NULL;
    uint64_t priority = caller ? tr__tx_priority(caller, &b->key.id) : 0;
    if (priority && priority != b->priority)
        tr_sim_fail(sim_now_running, "n%u/%s: a transaction has another priority than its caller says", node,
                    b->at->name);
}

void tx_check_locks(void)
{
    for (uint32_t node = 0; node < sim_now_running->node_count; node++) {
        const tr__tx *tx = manager_of(node);
        for (const tr__tx_actor *actor = tx ? tx->actors : NULL; actor; actor = actor->hh.next)
            check_line(node, actor);
        for (const tr__tx_branch *b = tx ? tx->branches : NULL; b; b = b->hh.next)
            check_branch(node, b);
    }
}

void tx_check_priority(tx_record *record, const tx_record *before)
{
    tr__tx *tx = manager_of(record->node);
    record->priority = tx ? tr__tx_priority(tx, &record->id) : 0;
    if (record->priority && before && before->priority && record->priority != before->priority)
        tr_sim_fail(sim_now_running, "transaction %u is run again, and its priority is another than %u's was",
                    record->number, before->number);
}
