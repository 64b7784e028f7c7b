/* See rows.h. Looks into the managers of transactions at the moment of a fault; changes nothing and draws nothing. A death
 * counts once for each row that it hits, however many transactions were there. */
#include "tests/kit/sim/rows.h"

#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"

static void hit(tr_sim *sim, uint32_t row, uint64_t times)
{
    static const char *const names[SIM_ROWS_MAX] = {
#define ROW(number, name) [number] = name,
        SIM_ROWS(ROW)
#undef ROW
    };
    while (times--)
        sim_reaches(sim, true, names[row]);
}

static tr__tx *manager_of(const sim_node *node)
{
    tr__transactions *t = node->node ? node->node->transactions : NULL;
    return node->sim->scenario->data && t ? t->tx : NULL;
}

/* Who decides it has asked for votes. */
static bool is_voted_on(tr_sim *sim, const tr_tx_id *id)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        tr__tx *tx = manager_of(&sim->nodes[i]);
        tr__tx_decision *decision = NULL;
        if (tx)
            HASH_FIND(hh, tx->decisions, id, sizeof(*id), decision);
        if (decision && decision->state == TR__DECISION_VOTING)
            return true;
    }
    return false;
}

/* A record about that transaction is written, at least in part, and not forced. */
static bool is_written(const sim_node *node, const tr_tx_id *id)
{
    const memory_log *disk = &node->disk;
    bool unforced = disk->stage && (disk->put < disk->batch.length || memory_log_forces_next(disk));
    return unforced && disk->put && memmem(disk->batch.bytes, disk->put, id, sizeof(*id));
}

/* ---- a node dies --------------------------------------------------------------------------------------- */

static void participant_dies(sim_node *node, const tr__tx *tx, const char *point)
{
    uint32_t preparing = 0, prepared = 0, finishing = 0;
    for (const tr__tx_branch *b = tx->branches; b; b = b->hh.next) {
        preparing += b->state == TR__BRANCH_PREPARING ||
                     (b->state == TR__BRANCH_READY && is_voted_on(node->sim, &b->key.id));
        prepared += b->state == TR__BRANCH_PREPARED;
        finishing += b->state == TR__BRANCH_FINISHING;
        node->row_torn |= b->state == TR__BRANCH_PREPARING && is_written(node, &b->key.id) ? 1u << 5 : 0;
    }
    bool unvoted = strcmp(point, "prepare-forced") == 0;
    hit(node->sim, 2, preparing > 0);
    hit(node->sim, 3, unvoted);
    hit(node->sim, 4, prepared > (uint32_t)unvoted);
    hit(node->sim, 10, finishing > 0);
}

static void decider_dies(sim_node *node, const tr__tx *tx, const char *point)
{
    uint32_t undecided = 0, committed = 0;
    for (const tr__tx_decision *d = tx->decisions; d; d = d->hh.next) {
        undecided += d->state == TR__DECISION_VOTING || d->state == TR__DECISION_FORCING;
        committed += d->state == TR__DECISION_COMMITTED;
        node->row_torn |= d->state == TR__DECISION_FORCING && is_written(node, &d->id) ? 1u << 7 : 0;
    }
    bool forced = strcmp(point, "commit-forced") == 0, answered = strcmp(point, "answered") == 0;
    hit(node->sim, 6, undecided > (uint32_t)forced);
    hit(node->sim, 8, forced);
    hit(node->sim, 9, answered);
    hit(node->sim, 11, committed > (uint32_t)answered);
}

void sim_rows_node_dies(sim_node *node)
{
    const tr__tx *tx = manager_of(node);
    const char *point = node->at_point ? node->at_point : "";
    bool calling = false;
    node->row_torn = 0;
    if (!tx)
        return;
    for (const tr__tx_caller *c = tx->callers; c; c = c->hh.next)
        calling |= c->state == TR__CALLER_CALLING && c->count;
    hit(node->sim, 1, calling);
    participant_dies(node, tx, point);
    decider_dies(node, tx, point);
    sim_rows_node_ends(node);
}

void sim_rows_node_ends(sim_node *node)
{
    const tr__tx *tx = manager_of(node);
    if (tx)
        hit(node->sim, 15, tx->late);
}

/* The segment that the last batch wrote. */
static const memory_file *last_written(const memory_log *disk)
{
    uint32_t later = disk->batch.segment > 1 ? disk->batch.segment - 2 : UINT32_MAX;
    return later < disk->later_count ? &disk->later[later] : &disk->file;
}

/* What was written and not forced is lost in part. */
void sim_rows_power_cut(sim_node *node)
{
    const memory_file *disk = last_written(&node->disk);
    size_t size = disk->dirty_size;
    uint8_t *written = size ? malloc(size) : NULL, *before = size ? malloc(size) : NULL;
    if (written && before) {
        memcpy(written, disk->cache, size);
        memcpy(before, disk->disk, size);
    }
    memory_log_power_cut(&node->disk);
    bool torn =
        written && before && memcmp(written, disk->disk, size) != 0 && memcmp(before, disk->disk, size) != 0;
    hit(node->sim, 5, torn && node->row_torn >> 5 & 1);
    hit(node->sim, 7, torn && node->row_torn >> 7 & 1);
    node->row_torn = 0;
    free(written);
    free(before);
}

/* ---- the world ----------------------------------------------------------------------------------------- */

void sim_rows_all_lose_power(tr_sim *sim)
{
    bool any = false;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        const tr__tx *tx = manager_of(&sim->nodes[i]);
        any |= tx && (tx->branches || tx->decisions);
    }
    hit(sim, 13, any);
}

static bool waits_for(const sim_node *node, const sim_node *decider)
{
    const tr__tx *tx = manager_of(node);
    for (const tr__tx_branch *b = tx ? tx->branches : NULL; b; b = b->hh.next)
        if (b->state == TR__BRANCH_PREPARED && strcmp(b->decider, decider->name) == 0)
            return true;
    return false;
}

void sim_rows_partition(tr_sim *sim)
{
    bool any = false;
    for (uint32_t a = 0; a < sim->node_count; a++)
        for (uint32_t b = 0; b < sim->node_count; b++)
            any |= (sim->cut[a][b] || sim->cut[b][a]) && waits_for(&sim->nodes[a], &sim->nodes[b]);
    hit(sim, 12, any);
}
