/* See placement.h. Placement is the spawning loop's thread's; loops for own threads are made under a lock, once, and are
 * used again by the next such actor: their threads end with the node. */
#include "actors/placement.h"

#include "base/err.h"
#include "base/mem.h"

#define WINDOW_NS    TR_MILLIS(5) /* over which the load is measured */
#define CLOSE_ENOUGH (TR__LOAD_FULL / 8)
#define OVERLOADED   (TR__LOAD_FULL - TR__LOAD_FULL / 16)
#define OFTEN        8 /* of the actors that an overloaded loop spawns, one in so many goes to another */

/* ---- load ---------------------------------------------------------------------------------------------- */

/* Busy is the whole time between two turns if there was more to do, else the time until the last look at the clock. */
void tr__load_measure(tr__loop *loop, uint64_t now_ns)
{
    loop->busy_ns += (loop->had_more ? now_ns : loop->now_ns) - loop->turn_began_ns;
    loop->turn_began_ns = now_ns;
    uint64_t window = now_ns - loop->window_ns;
    if (window < WINDOW_NS)
        return;
    uint32_t share = (uint32_t)(loop->busy_ns * TR__LOAD_FULL / window);
    uint32_t before = atomic_load_explicit(&loop->load, memory_order_relaxed);
    if (window < 4 * WINDOW_NS)
        share = (share + before) / 2;
    atomic_store_explicit(&loop->load, share, memory_order_relaxed);
    loop->overloaded = share > OVERLOADED && loop->node->loop_count > 1;
    loop->window_ns = now_ns;
    loop->busy_ns = 0;
}

/* One that sleeps may have said something else when it last turned, long ago. */
uint32_t tr__load(const tr__loop *loop)
{
    return atomic_load_explicit(&((tr__loop *)loop)->sleeping, memory_order_relaxed)
               ? 0
               : atomic_load_explicit(&((tr__loop *)loop)->load, memory_order_relaxed);
}

static tr__loop *spread(tr__loop *loop)
{
    const tr_node *node = loop->node;
    return node->loops[loop->next_place++ % node->loop_count];
}

/* What is said is some milliseconds old, so those that are nearly the least loaded have it in turn. */
static tr__loop *least_loaded(tr__loop *loop)
{
    const tr_node *node = loop->node;
    uint32_t least = UINT32_MAX, loads[TR__LOOPS_MAX];
    for (uint32_t i = 0; i < node->loop_count; i++) {
        loads[i] = tr__load(node->loops[i]);
        least = loads[i] < least ? loads[i] : least;
    }
    tr__loop *found;
    do
        found = spread(loop);
    while (loads[found->index] > least + CLOSE_ENOUGH);
    return found;
}

static tr__loop *by_default(tr__loop *loop)
{
    if (loop->exclusive)
        return spread(loop);
    if (!loop->overloaded || ++loop->placed_here % OFTEN)
        return loop;
    tr__loop *other = least_loaded(loop);
    return tr__load(other) < TR__LOAD_FULL / 2 ? other : loop;
}

/* ---- own threads --------------------------------------------------------------------------------------- */

static tr__loop *vacant(const tr_node *node)
{
    uint32_t all = tr__loops_all(node);
    for (uint32_t i = node->loop_count; i < all; i++) {
        bool taken = false;
        /* acquire: pairs with the release of who left it */
        if (atomic_compare_exchange_strong_explicit(&node->loops[i]->taken, &taken, true,
                                                    memory_order_acquire, memory_order_relaxed))
            return node->loops[i];
    }
    return NULL;
}

/* Under the lock. The loop is seen by others when its thread runs: before that it has nothing to do. */
static tr__loop *add_loop(tr_node *node, const tr_actor_def *def, tr_error *error)
{
    uint32_t index = tr__loops_all(node);
    if (index == TR__LOOPS_MAX) {
        tr__fail(error, TR_EFULL,
                 "no thread of its own for %s: a node has at most %d, its %u loops among them", def->name,
                 TR__LOOPS_MAX, node->loop_count);
        return NULL;
    }
    tr__loop *loop = tr__alloc(sizeof(*loop));
    if (!loop || tr__loop_init(loop, node, (uint8_t)index) != TR_OK) {
        tr__free(loop);
        tr__fail(error, TR_ENOMEM, "no memory for a thread of its own for %s", def->name);
        return NULL;
    }
    loop->exclusive = true;
    atomic_store_explicit(&loop->taken, true, memory_order_relaxed);
    node->loops[index] = loop;
    if (node->seams.start_loop(node->seams.context, index, error) != TR_OK) {
        node->loops[index] = NULL;
        tr__loop_fini(loop);
        tr__free(loop);
        return NULL;
    }
    /* seq_cst: whoever stops the node finds the loop, or has done so before this wakes it */
    atomic_store(&node->loops_all, index + 1);
    node->seams.wake(node->seams.context, index);
    return loop;
}

static tr__loop *own_thread(tr__loop *loop, const tr_actor_def *def, tr_error *error)
{
    tr_node *node = loop->node;
    tr__loop *found = vacant(node);
    if (found)
        return found;
    const tr__seams *seams = &node->seams;
    if (seams->lock_threads)
        seams->lock_threads(seams->context, true);
    found = vacant(node); /* while this waited for the lock */
    if (!found)
        found = add_loop(node, def, error);
    if (seams->lock_threads)
        seams->lock_threads(seams->context, false);
    return found;
}

void tr__loop_vacate(tr__loop *loop)
{
    atomic_store_explicit(&loop->taken, false, memory_order_release);
}

/* ---- where --------------------------------------------------------------------------------------------- */

tr__loop *tr__place(tr__loop *loop, const tr_actor_def *def, const tr_spawn_opts *opts, tr_error *error)
{
    const tr_node *node = loop->node;
    switch (def->own_thread ? TR_PLACE_OWN_THREAD : opts ? opts->place : TR_PLACE_DEFAULT) {
    case TR_PLACE_OWN_THREAD:
        return own_thread(loop, def, error);
    case TR_PLACE_SPREAD:
        return spread(loop);
    case TR_PLACE_LEAST_LOADED:
        return least_loaded(loop);
    case TR_PLACE_LOOP:
        if (opts->loop < node->loop_count)
            return node->loops[opts->loop];
        tr__fail(error, TR_EINVAL, "%s can't live on loop %u: this node has %u, the first is 0", def->name,
                 opts->loop, node->loop_count);
        return NULL;
    case TR_PLACE_HERE:
        if (!loop->exclusive)
            return loop;
        tr__fail(error, TR_EINVAL, "%s can't live here: this thread is its spawner's own", def->name);
        return NULL;
    default:
        return by_default(loop);
    }
}
