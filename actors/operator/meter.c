/* See meter.h. Nothing here fails visibly: an actor that there is no memory or room for isn't measured, and that is
 * counted. */
#include "actors/operator/meter.h"

#include "base/mem.h"

static tr__metered **bucket_of(tr__meter *meter, uint32_t slot)
{
    return &meter->buckets[slot % TR_COUNT(meter->buckets)];
}

bool tr__meter_lease(tr__loop *loop, uint64_t until_ns)
{
    if (!loop->meter) {
        tr__meter *meter = tr__zalloc(sizeof(*meter));
        if (!meter)
            return false;
        meter->began_ns = loop->now_ns;
        meter->most = TR__METER_ACTORS / loop->node->loop_count;
        loop->meter = meter;
    }
    if (until_ns > loop->meter->until_ns)
        loop->meter->until_ns = until_ns;
    return true;
}

static void meter_free(tr__loop *loop)
{
    tr__meter *meter = loop->meter;
    loop->meter = NULL;
    for (size_t i = 0; meter && i < TR_COUNT(meter->buckets); i++)
        while (meter->buckets[i]) {
            tr__metered *one = meter->buckets[i];
            meter->buckets[i] = one->next;
            tr__free(one);
        }
    tr__free(meter);
}

uint64_t tr__meter_expire(tr__loop *loop, uint64_t now_ns)
{
    if (loop->meter && loop->meter->until_ns <= now_ns)
        meter_free(loop);
    return loop->meter ? loop->meter->until_ns : TR__NEVER;
}

void tr__watching_fini(tr__loop *loop)
{
    meter_free(loop);
    tr__taps_expire(loop, TR__NEVER);
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

/* The slot's entry; of an actor that ended it becomes the next one's. */
static tr__metered *entry_of(tr__meter *meter, const tr_actor *actor, uint32_t generation)
{
    tr__metered *one = *bucket_of(meter, actor->index);
    while (one && one->slot != actor->index)
        one = one->next;
    if (!one && meter->count < meter->most && (one = tr__alloc(sizeof(*one)))) {
        one->slot = actor->index;
        one->generation = 0;
        one->next = *bucket_of(meter, actor->index);
        *bucket_of(meter, actor->index) = one;
        meter->count++;
    }
    if (one && one->generation != generation) {
        one->generation = generation;
        one->busy_ns = 0;
        one->type = NULL;
        one->window = 0;
        tr__histogram_reset(&one->now);
        tr__histogram_reset(&one->before);
    }
    return one;
}

static uint64_t window_of(const tr__loop *loop)
{
    return (loop->now_ns - loop->meter->began_ns) / TR__METER_WINDOW;
}

void tr__meter_step(tr__loop *loop, uint64_t began_ns)
{
    tr_actor *actor = atomic_load_explicit(&loop->watch.actor, memory_order_relaxed);
    uint64_t window = window_of(loop), took = loop->now_ns - began_ns;
    loop->until_look = 1; /* so that the next step is measured as well */
    if (!actor || actor->state == TR__ACTOR_FREE || !tr__is_owner(loop, actor))
        return; /* it ended in this step */
    tr__metered *one =
        entry_of(loop->meter, actor, atomic_load_explicit(&actor->generation, memory_order_relaxed));
    if (!one) {
        loop->meter->unmetered++;
        return;
    }
    if (one->window != window) {
        if (one->window + 1 == window)
            one->before = one->now;
        else
            tr__histogram_reset(&one->before);
        tr__histogram_reset(&one->now);
        one->window = window;
    }
    tr__histogram_add(&one->now, took);
    one->busy_ns += took;
    one->type = atomic_load_explicit(&loop->watch.type, memory_order_relaxed);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

const tr__metered *tr__meter_of(const tr__loop *loop, const tr_actor *actor)
{
    const tr__metered *one = loop->meter ? *bucket_of(loop->meter, actor->index) : NULL;
    while (one && one->slot != actor->index)
        one = one->next;
    return one && tr__is_generation(actor, one->generation) ? one : NULL;
}

void tr__meter_recent(const tr__loop *loop, const tr__metered *metered, tr__histogram *out)
{
    uint64_t window = window_of(loop);
    tr__histogram_reset(out);
    if (metered->window + 1 >= window)
        tr__histogram_merge(out, &metered->now);
    if (metered->window == window)
        tr__histogram_merge(out, &metered->before);
}
