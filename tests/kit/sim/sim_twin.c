/* See sim_twin.h. */
#include "tests/kit/sim/sim_twin.h"

#include "actors/loop.h"
#include "base/mem.h"
#include "tests/kit/sim/sim_kinds.h"

void sim_twin_init(sim_twin *twin, struct tr_sim *sim, tr__random *seeds)
{
    twin->sim = sim;
    tr__random_init(&twin->random, tr__random_next(seeds));
}

void sim_twin_drop(sim_twin *twin, uint32_t node)
{
    sim_handle *next;
    for (sim_handle *handle = twin->handles; handle; handle = next) {
        next = handle->next;
        if (handle->node != node)
            continue;
        sim_forget(twin->sim, handle);
        if (handle->dead) /* of an earlier life, which nobody can close any more */
            sim_handle_close(handle);
        else
            handle->dead = true;
    }
}

void sim_twin_fini(sim_twin *twin)
{
    while (twin->handles)
        sim_handle_close(twin->handles);
}

void *sim_handle_open(sim_twin *twin, tr__loop *loop, size_t size, void (*fini)(sim_handle *handle))
{
    sim_handle *handle = tr__zalloc(size);
    if (!handle)
        return NULL;
    handle->twin = twin;
    handle->loop = loop;
    handle->node = sim_host_of(loop)->node;
    handle->fini = fini;
    handle->link = &twin->handles;
    handle->next = twin->handles;
    if (handle->next)
        handle->next->link = &handle->next;
    twin->handles = handle;
    return handle;
}

void sim_handle_close(sim_handle *handle)
{
    sim_forget(handle->twin->sim, handle);
    *handle->link = handle->next;
    if (handle->next)
        handle->next->link = handle->link;
    handle->fini(handle);
    tr__free(handle);
}

void sim_handle_later(sim_handle *handle, uint64_t delay_ns, void (*fire)(void *handle))
{
    if (!handle->dead)
        sim_at(handle->twin->sim, handle->node, delay_ns, fire, handle);
}

void sim_handle_wake(sim_handle *handle)
{
    const tr__seams *seams = &handle->loop->node->seams;
    seams->wake(seams->context, handle->loop->index);
}
