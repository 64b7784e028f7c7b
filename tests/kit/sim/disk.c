/* The logs' disks: the twin in memory of tests/kit/memory_log.h, whose steps take virtual time. A process that died wrote
 * nothing more; without power, what wasn't forced is there, or not, or torn. */
#include "tests/kit/sim/sim.h"

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
    if (node->life != life || !sim_node_is_up(node))
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
    return store;
}

static void on_space(void *context, uint64_t token)
{
    (void)token;
    ((sim_node *)context)->disk.space = 0;
}

void sim_disk_full(sim_node *node, uint64_t until)
{
    node->disk.space = node->disk.cache_size ? node->disk.cache_size : 1;
    sim_event_at(node->sim, until, on_space, node, 0);
}

void sim_disk_node_died(sim_node *node, bool power)
{
    if (power)
        memory_log_power_cut(&node->disk);
}

void sim_disk_init(sim_node *node, uint64_t seed)
{
    memory_log_init(&node->disk, seed);
}

void sim_disk_fini(sim_node *node)
{
    memory_log_fini(&node->disk);
}
