/* Virtual time: a heap of events. See sim.h, S3. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kit/sim/sim.h"

static bool earlier(const sim_event *a, const sim_event *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void sift_up(tr_sim *sim, uint32_t at)
{
    sim_event event = sim->heap[at];
    while (at > 0 && earlier(&event, &sim->heap[(at - 1) / 2])) {
        sim->heap[at] = sim->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim->heap[at] = event;
}

static void sift_down(tr_sim *sim, uint32_t at)
{
    sim_event event = sim->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= sim->events)
            break;
        if (child + 1 < sim->events && earlier(&sim->heap[child + 1], &sim->heap[child]))
            child++;
        if (!earlier(&sim->heap[child], &event))
            break;
        sim->heap[at] = sim->heap[child];
        at = child;
    }
    sim->heap[at] = event;
}

void sim_event_at(tr_sim *sim, uint64_t at, void (*fire)(void *context, uint64_t token), void *context,
                  uint64_t token)
{
    if (sim->events == sim->events_room) {
        sim->events_room = sim->events_room ? 2 * sim->events_room : 256;
        sim->heap = realloc(sim->heap, sim->events_room * sizeof(*sim->heap));
        tr__check(sim->heap != NULL, "no memory for the simulator");
    }
    /* Of one moment: in an order that is drawn, and never twice the same. */
    uint64_t order = (tr__random_next(&sim->schedule) << 32) | (uint32_t)sim->order++;
    sim->heap[sim->events++] = (sim_event){at < sim->now ? sim->now : at, order, fire, context, token};
    sift_up(sim, sim->events - 1);
}

void sim_event_forget(tr_sim *sim, void *context)
{
    for (uint32_t i = 0; i < sim->events; i++)
        if (sim->heap[i].context == context)
            sim->heap[i].fire = NULL;
}

bool sim_event_next(tr_sim *sim, uint64_t until)
{
    if (sim->events == 0 || sim->heap[0].at > until) {
        if (until > sim->now)
            sim->now = until;
        return false;
    }
    sim_event event = sim->heap[0];
    sim->heap[0] = sim->heap[--sim->events];
    if (sim->events > 0)
        sift_down(sim, 0);
    if (event.at > sim->now) /* a turn takes time: now may be beyond it */
        sim->now = event.at;
    if (event.fire)
        event.fire(event.context, event.token);
    return true;
}

static void timed_fire(void *context, uint64_t token);

void sim_events_fini(tr_sim *sim)
{
    for (uint32_t i = 0; i < sim->events; i++)
        if (sim->heap[i].fire == timed_fire)
            free((void *)(uintptr_t)sim->heap[i].token);
    free(sim->heap);
    sim->heap = NULL;
    sim->events = sim->events_room = 0;
}

uint64_t sim_draw_time(tr_sim *sim, tr_sim_fault stream, uint64_t mean_ns)
{
    /* -ln(u) by halvings: each bit of a random number that is 1 adds a half-life; between them it is linear. */
    uint64_t bits = tr__random_next(&sim->random[stream]) | (1ull << 28);
    uint64_t halvings = (uint64_t)__builtin_ctzll(bits);
    uint64_t half_life = mean_ns / 1443 * 1000 + 1; /* ln 2 = 0.693 = 1 / 1.443 */
    return halvings * half_life + tr__random_below(&sim->random[stream], half_life) + 1;
}

/* ---- for the parts of a node --------------------------------------------------------------------------- */

typedef struct timed {
    sim_node *node;
    uint64_t life;
    void (*fire)(void *context);
    void *context;
} timed;

static void timed_fire(void *context, uint64_t token)
{
    timed *t = (timed *)(uintptr_t)token;
    sim_node *node = t->node;
    if (sim_node_is_up(node) && node->life == t->life) {
        if (node->paused_until) {
            sim_event_at(node->sim, sim_when_it_goes_on(node), timed_fire, context, token);
            return;
        }
        sim_node_enter(node);
        t->fire(t->context);
        sim_node_leave(node);
    }
    free(t);
}

void sim_at(tr_sim *sim, uint32_t node, uint64_t delay_ns, void (*fire)(void *context), void *context)
{
    timed *t = malloc(sizeof(*t));
    tr__check(t != NULL, "no memory for the simulator");
    *t = (timed){&sim->nodes[node], sim->nodes[node].life, fire, context};
    sim_event_at(sim, sim->now + delay_ns, timed_fire, context, (uintptr_t)t);
}

void sim_forget(tr_sim *sim, void *context)
{
    for (uint32_t i = 0; i < sim->events; i++)
        if (sim->heap[i].context == context && sim->heap[i].fire == timed_fire) {
            free((void *)(uintptr_t)sim->heap[i].token);
            sim->heap[i].fire = NULL;
        }
}
