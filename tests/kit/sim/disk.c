/* The logs' disks: the twin in memory of tests/kit/memory_log.h, whose steps take virtual time. A process that died wrote
 * nothing more; without power, what wasn't forced is there, or not, or torn. */
#include <string.h>

#include "actors/tx/log.h"
#include "tests/kit/sim/sim.h"

/* Small, so that all runs come to their ends: segments, snapshots, a full disk. */
const tr__log_options sim_log_sizes = {
    .reserve = 12 * 1024, .step = 2 * 1024, .segment = 16 * 1024, .closed = 1};

static void on_step(void *context, uint64_t life);

static void step_in(sim_node *node, uint64_t delay)
{
    sim_event_at(node->sim, node->sim->now + delay, on_step, &node->disk, node->life);
}

/* Writing is quick; a force takes what this disk's forces take just now. */
static uint64_t time_of_step(sim_node *node)
{
    tr_sim *sim = node->sim;
    uint64_t quick = TR_MICROS(2 + sim_draw(sim, TR_SIM_DISK, 20));
    if (!memory_log_forces_next(&node->disk))
        return quick;
    return quick + TR_MICROS(80) +
           (node->disk_slow_until > sim->now ? sim_draw(sim, TR_SIM_DISK, TR_MILLIS(300)) : 0);
}

static void on_step(void *context, uint64_t life)
{
    sim_node *node = (sim_node *)((char *)context - offsetof(sim_node, disk));
    if (node->life != life || !sim_node_is_up(node) || sim_loses_power_writing(node))
        return;
    memory_log_step(&node->disk);
    if (!memory_log_is_over(&node->disk)) {
        step_in(node, time_of_step(node));
        return;
    }
    sim_node_enter(node); /* told by the flusher's thread, whether or not the others stand still */
    node->disk_wake(node->disk_wake_context);
    sim_node_leave(node);
}

static void begin(tr__log_store *store, const tr__log_batch *batch)
{
    sim_node *node = (sim_node *)((char *)store - offsetof(memory_log, store) - offsetof(sim_node, disk));
    if (!sim_node_seam(node))
        return;
    node->disk_begin(store, batch);
    sim_hash(node->sim, batch->offset << 20 | batch->length);
    step_in(node, time_of_step(node));
}

/* ---- snapshots ----------------------------------------------------------------------------------------- */

static void on_snap_step(void *context, uint64_t life);

/* Some of it takes long: a checkpoint, reading all rows. */
static void snap_step_in(sim_node *node)
{
    tr_sim *sim = node->sim;
    uint64_t delay = TR_MICROS(100) + sim_draw(sim, TR_SIM_DISK, TR_MILLIS(20));
    if (node->disk_slow_until > sim->now)
        delay += sim_draw(sim, TR_SIM_DISK, TR_SECONDS(1));
    sim_event_at(sim, sim->now + delay, on_snap_step, &node->disk, node->life);
}

static void on_snap_step(void *context, uint64_t life)
{
    sim_node *node = (sim_node *)((char *)context - offsetof(sim_node, disk));
    if (node->life != life || !sim_node_is_up(node) || sim_loses_power_writing(node))
        return;
    memory_snap_step(&node->disk.snap);
    if (!node->disk.snap.over) {
        snap_step_in(node);
        return;
    }
    sim_node_enter(node);
    node->disk_wake(node->disk_wake_context);
    sim_node_leave(node);
}

static bool begin_snapshot(tr__snap_store *store, bool (*step)(void *context), void *context)
{
    sim_node *node = (sim_node *)((char *)store - offsetof(memory_snap, store) - offsetof(memory_log, snap) -
                                  offsetof(sim_node, disk));
    if (!sim_node_seam(node))
        return false;
    node->snap_begin(store, step, context);
    sim_hash(node->sim, node->disk.snap.commits);
    sim_reaches(node->sim, true, "a snapshot of a log is begun");
    snap_step_in(node);
    return true;
}

struct tr__log_store *sim_disk_open(void *context, const char *directory, const char *name,
                                    void (*wake)(void *context), void *wake_context, tr_error *error)
{
    sim_node *node = context;
    (void)directory, (void)name, (void)error;
    node->disk_wake = wake;
    node->disk_wake_context = wake_context;
    tr__log_store *store = memory_log_open(&node->disk);
    node->disk_begin = store->begin;
    store->begin = begin;
    node->snap_begin = store->snap->begin;
    store->snap->begin = begin_snapshot;
    return store;
}

static void on_space(void *context, uint64_t token)
{
    (void)token;
    ((sim_node *)context)->disk.space = 0;
}

void sim_disk_full(sim_node *node, uint64_t until)
{
    size_t used = memory_log_used(&node->disk);
    node->disk.space = used ? used : 1;
    sim_event_at(node->sim, until, on_space, node, 0);
}

void sim_disk_node_died(sim_node *node, bool power)
{
    if (node->disk.snap.seals > 0) /* most of what has no transactions never has one */
        sim_reaches(node->sim, true, "who has a snapshot dies");
    if (!power)
        return;
    sim_rows_power_cut(node);
    node->slots_lost = true;
}

/* ---- a flipped bit ------------------------------------------------------------------------------------- */

/* Any byte that means something, mostly; behind the last record as well. */
static size_t draw_byte(tr_sim *sim, const memory_file *file)
{
    size_t end = file->cache_size;
    if (end <= TR__LOG_DATA_AT) /* the head, whose records were dropped */
        return (size_t)sim_draw(sim, TR_SIM_DISK, end);
    switch (sim_draw(sim, TR_SIM_DISK, 8)) {
    case 0:
        return (size_t)sim_draw(sim, TR_SIM_DISK, TR__LOG_HEADER_BYTES);
    case 1: {
        size_t slot = TR__LOG_SLOT_AT(sim_draw(sim, TR_SIM_DISK, 2));
        return slot + (size_t)sim_draw(sim, TR_SIM_DISK, TR__LOG_SLOT_BYTES);
    }
    case 2:
        return (size_t)sim_draw(sim, TR_SIM_DISK, end);
    default:
        while (end > TR__LOG_DATA_AT + 1 && !file->cache[end - 1])
            end--;
        return TR__LOG_DATA_AT + (size_t)sim_draw(sim, TR_SIM_DISK, end - TR__LOG_DATA_AT);
    }
}

/* Not after a power cut: with the last batch's slot lost, a flip in that batch looks like its torn end, and goes unseen
 * (actors/tx/log_replay.c says so). */
static bool shall_flip(sim_node *node)
{
    tr_sim *sim = node->sim;
    return sim->faults_on && sim->rates.every_ns[TR_SIM_DISK] && node->disk.cache_size >= TR__LOG_DATA_AT &&
           !node->slots_lost && sim_chance(sim, TR_SIM_DISK, 3);
}

/* In the segments that are there, or, now and then, in the snapshot. */
static void flip(sim_node *node)
{
    tr_sim *sim = node->sim;
    memory_log *disk = &node->disk;
    size_t rows = memory_snap_size(&disk->snap);
    node->flipped = (uint8_t)(1u << sim_draw(sim, TR_SIM_DISK, 8));
    node->flipped_segment = 0;
    if (rows > 0 && sim_draw(sim, TR_SIM_DISK, 2) == 0) {
        node->flipped_at = (size_t)sim_draw(sim, TR_SIM_DISK, rows);
        memory_snap_flip(&disk->snap, node->flipped_at, node->flipped);
    } else {
        memory_file *file = NULL;
        while (!file || file->cache_size == 0) {
            node->flipped_segment = 1 + (uint32_t)sim_draw(sim, TR_SIM_DISK, disk->later_count + 1);
            file = memory_log_file(disk, node->flipped_segment);
        }
        node->flipped_at = draw_byte(sim, file);
        node->wrong = file->cache[node->flipped_at] ^= node->flipped;
    }
    sim_fault_happened(sim, TR_SIM_DISK, "%s: a bit of its log is flipped at offset %zu of %s %u", node->name,
                       node->flipped_at, node->flipped_segment ? "segment" : "the snapshot",
                       node->flipped_segment);
}

/* Where nothing else was written since. */
static void flip_back(sim_node *node)
{
    memory_log *disk = &node->disk;
    memory_file *file = node->flipped_segment ? memory_log_file(disk, node->flipped_segment) : NULL;
    if (!file) {
        memory_snap_flip(&disk->snap, node->flipped_at, node->flipped);
    } else if (file->cache_size > node->flipped_at) {
        if (file->cache[node->flipped_at] == node->wrong)
            file->cache[node->flipped_at] ^= node->flipped;
        if (file->disk[node->flipped_at] == node->wrong)
            file->disk[node->flipped_at] ^= node->flipped;
    }
    node->flipped = 0;
}

/* A bit flips while it is down: it must refuse the log and say where, or be as it was. Then the bit is put back. */
tr_err sim_disk_start_node(sim_node *node, tr_error *error)
{
    if (node->sim->before_start && !node->node)
        node->sim->before_start(node);
    if (!shall_flip(node))
        return sim_node_start(node, error);
    flip(node);
    tr_err err = sim_node_start(node, error);
    flip_back(node);
    bool refused = err == TR_EMISMATCH || err == TR_EVERSION;
    bool in_log = node->flipped_segment > 0;
    sim_reaches(node->sim, refused, "a log with a flipped bit is refused");
    sim_reaches(node->sim, refused && !in_log, "a snapshot with a flipped bit is refused");
    sim_reaches(node->sim, err == TR_OK, "a flipped bit does a log no harm");
    if (!refused)
        return err;
    sim_trace(node->sim, node, "refuses", "%s", error->text);
    if (!strstr(error->text, in_log ? node->disk.store.name : "memory.snap") ||
        !strstr(error->text, "offset"))
        tr_sim_fail(node->sim, "%s refuses a log with a flipped bit, and doesn't say where: %s", node->name,
                    error->text);
    return sim_node_start(node, error);
}

void sim_disk_init(sim_node *node, uint64_t seed)
{
    memory_log_init(&node->disk, seed);
}

void sim_disk_fini(sim_node *node)
{
    memory_log_fini(&node->disk);
}
