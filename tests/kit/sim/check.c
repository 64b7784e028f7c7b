/* What must hold of every node at any time, and of one that has stopped. See loop.h and places.h for the invariants. */
#include "actors/node.h"
#include "actors/pending.h"
#include "actors/remote_peer.h"
#include "tests/kit/sim/sim.h"

/* A mailbox is whole, within its bound, and its places are where they should be. Its messages. */
static uint64_t check_mailbox(sim_node *node, tr_actor *actor)
{
    uint64_t messages = 0, places = 0;
    for (const tr_msg *msg = actor->head; msg; msg = msg->next) {
        messages++;
        places += msg->places;
    }
    if (messages != actor->count)
        tr_sim_fail(node->sim, "%s: %s#%u has %llu messages and counts %u", node->name, actor->def->name,
                    actor->index, (unsigned long long)messages, actor->count);
    if (places > actor->capacity)
        tr_sim_fail(node->sim, "%s: %s#%u has %llu places taken of %u", node->name, actor->def->name,
                    actor->index, (unsigned long long)places, actor->capacity);
    if (actor->state == TR__ACTOR_RUNNING &&
        tr__places_free(&actor->places) + actor->local + places > actor->capacity)
        tr_sim_fail(node->sim, "%s: %s#%u has more places than its mailbox: %llu taken", node->name,
                    actor->def->name, actor->index, (unsigned long long)places);
    return messages;
}

/* Accepted for a connection without credit: not sent yet. */
static uint64_t held(const sim_node *node)
{
    tr__remote *remote = node->node->remote;
    uint64_t count = 0;
    for (tr__peer *peer = NULL; remote && (peer = tr__endpoint_next_peer(remote->endpoint, peer));)
        if (peer->user)
            count += ((tr__remote_peer *)peer->user)->held_count;
    return count;
}

static uint64_t in_chain(const tr_msg *msg)
{
    uint64_t count = 0;
    for (; msg; msg = msg->next)
        count++;
    return count;
}

/* Passed on by others, or about to be. */
static uint64_t coming_to(const sim_node *node, uint32_t index)
{
    uint64_t count = in_chain(atomic_load(&node->node->loops[index]->inbox));
    for (uint32_t i = 0; i < node->loops; i++)
        count += in_chain(node->node->loops[i]->outboxes[index].head);
    return count;
}

/* accepted + arrived + received = handled + dropped + queued + passed + sent; what is held for a connection is not counted
 * as sent yet. */
static void check_sums(sim_node *node, const tr__loop *loop, uint64_t queued, uint64_t waiting)
{
    const tr__loop_counts *c = &loop->counts;
    uint64_t dropped = 0;
    for (int why = 0; why < TR_DROP_COUNT; why++)
        dropped += c->dropped[why];
    uint64_t in = c->accepted + c->arrived + c->received;
    uint64_t out = c->handled + dropped + queued + c->passed + c->sent + waiting;
    if (in != out)
        tr_sim_fail(
            node->sim,
            "%s loop %u: the sums differ: accepted %llu + arrived %llu + received %llu != handled %llu + "
            "dropped %llu + queued %llu + passed %llu + sent %llu + held %llu",
            node->name, loop->index, (unsigned long long)c->accepted, (unsigned long long)c->arrived,
            (unsigned long long)c->received, (unsigned long long)c->handled, (unsigned long long)dropped,
            (unsigned long long)queued, (unsigned long long)c->passed, (unsigned long long)c->sent,
            (unsigned long long)waiting);
}

static void count_queued(sim_node *node, uint64_t queued[SIM_LOOPS_MAX])
{
    uint32_t segments = atomic_load(&node->node->segment_count);
    for (uint32_t i = 0; i < segments * TR__SEGMENT_SLOTS; i++) {
        tr_actor *actor = tr__slot(node->node, i);
        tr__loop *owner = actor && actor->state != TR__ACTOR_FREE ? tr__owner(actor) : NULL;
        if (owner)
            queued[owner->index] += check_mailbox(node, actor);
    }
}

static void check_passed(sim_node *node, uint64_t on_the_way)
{
    uint64_t passed = atomic_load(&node->node->posted), arrived = 0;
    for (uint32_t i = 0; i < node->loops; i++) {
        passed += node->node->loops[i]->counts.passed;
        arrived += node->node->loops[i]->counts.arrived;
    }
    if (passed != arrived + on_the_way)
        tr_sim_fail(node->sim,
                    "%s: %llu messages were passed between loops, %llu arrived and %llu are on their way",
                    node->name, (unsigned long long)passed, (unsigned long long)arrived,
                    (unsigned long long)on_the_way);
}

void sim_check_stopped(sim_node *node)
{
    uint64_t queued[SIM_LOOPS_MAX] = {0};
    count_queued(node, queued);
    for (uint32_t i = 0; i < node->loops; i++) {
        tr__loop *loop = node->node->loops[i];
        uint32_t free_ones = 0;
        check_sums(node, loop, queued[i], 0);
        for (const tr__pending *p = loop->pending_free; p; p = p->next)
            free_ones++;
        if (queued[i] || coming_to(node, i) || loop->wheel.count || free_ones != loop->pending_next)
            tr_sim_fail(node->sim,
                        "%s loop %u: %llu messages, %llu on their way, %u timers, %u asks are left",
                        node->name, i, (unsigned long long)queued[i], (unsigned long long)coming_to(node, i),
                        (unsigned)loop->wheel.count, loop->pending_next - free_ones);
    }
    check_passed(node, 0);
}

void sim_check_running(tr_sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim_node *node = &sim->nodes[i];
        uint64_t queued[SIM_LOOPS_MAX] = {0}, on_the_way = 0;
        if (!sim_node_is_up(node))
            continue;
        count_queued(node, queued);
        for (uint32_t l = 0; l < node->loops; l++) {
            check_sums(node, node->node->loops[l], queued[l], l == 0 ? held(node) : 0);
            on_the_way += coming_to(node, l);
        }
        check_passed(node, on_the_way);
    }
}
