/* What must hold of every node at any time, and of one that has stopped. See loop.h and places.h for the invariants. */
#include "actors/futures/pending.h"
#include "actors/node.h"
#include "actors/remote/peer.h"
#include "mailbox/buffer.h"
#include "mailbox/pool.h"
#include "tests/kit/sim/sim.h"

/* The actor at *index or the first after it, and *index behind it; NULL: there is none. A loop takes the slots of its
 * newest segment in order, so most of that was never used. */
static tr_actor *next_actor(const sim_node *node, uint32_t *index)
{
    uint32_t segments = atomic_load(&node->node->segment_count);
    while (*index < segments * TR__SEGMENT_SLOTS) {
        for (uint32_t l = 0; l < node->loops; l++) {
            const tr__loop *loop = node->node->loops[l];
            if (*index >= loop->slots_next && *index < loop->slots_end)
                *index = loop->slots_end;
        }
        tr_actor *actor = tr__slot(node->node, *index);
        ++*index;
        if (actor && actor->state != TR__ACTOR_FREE)
            return actor;
    }
    return NULL;
}

/* Of a mailbox that drops its oldest: in the owner's hand, and beyond it; those of the word are for what is under way. */
static uint32_t free_places(const tr_actor *actor)
{
    if (actor->mail & TR__MAIL_TRANSIT)
        return actor->local + (actor->extras ? actor->extras->kept_back : 0);
    return tr__places_free(&actor->places) + actor->local;
}

/* A mailbox is whole, within its bound, and its places are where they should be. Its messages. */
static uint64_t check_mailbox(sim_node *node, tr_actor *actor)
{
    uint64_t messages = 0, places = 0;
    for (const tr_msg *msg = actor->head; msg; msg = msg->next) {
        messages++;
        places += msg->places;
    }
    for (const tr_msg *msg = actor->extras ? actor->extras->deferred : NULL; msg; msg = msg->next) {
        messages++;
        places += msg->places;
    }
    if (messages != actor->count)
        tr_sim_fail(node->sim, "%s: %s#%u has %llu messages and counts %u", node->name, actor->def->name,
                    actor->index, (unsigned long long)messages, actor->count);
    if (places > actor->capacity)
        tr_sim_fail(node->sim, "%s: %s#%u has %llu places taken of %u", node->name, actor->def->name,
                    actor->index, (unsigned long long)places, actor->capacity);
    if (actor->state == TR__ACTOR_RUNNING && free_places(actor) + places > actor->capacity)
        tr_sim_fail(node->sim, "%s: %s#%u has more places than its mailbox: %llu taken", node->name,
                    actor->def->name, actor->index, (unsigned long long)places);
    return messages;
}

static uint64_t in_chain(const tr_msg *msg)
{
    uint64_t count = 0;
    for (; msg; msg = msg->next)
        count += tr__msg_count(msg);
    return count;
}

/* What the connections of a node keep. */
typedef struct peer_kept {
    uint64_t held; /* accepted, without credit or room on the bulk lane: not sent yet */
    uint64_t wanting, waiting;
    uint32_t peers;
} peer_kept;

static peer_kept kept_for_peers(const sim_node *node)
{
    tr__remote *remote = node->node->remote;
    peer_kept kept = {0};
    for (tr__peer *peer = NULL; remote && (peer = tr__endpoint_next_peer(remote->endpoint, peer));) {
        const tr__remote_peer *p = peer->user;
        if (!p)
            continue;
        kept.peers++;
        kept.held += p->held_count + p->bulk_held_count;
        kept.wanting += in_chain(p->wanting);
        kept.waiting += p->waits.count + (p->went != NULL);
    }
    return kept;
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

static void count_queued(sim_node *node, uint64_t queued[SIM_LOOPS_MAX + SIM_OWN_MAX])
{
    uint32_t at = 0;
    for (tr_actor *actor; (actor = next_actor(node, &at));)
        if (tr__owner(actor))
            queued[tr__owner(actor)->index] += check_mailbox(node, actor);
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

static uint64_t blocks_in(const tr__block *block)
{
    uint64_t count = 0;
    for (; block; block = block->next)
        count++;
    return count;
}

/* Every block of its pools is free, on its way home, or kept for a peer; those are released later. */
static void check_blocks(sim_node *node)
{
    peer_kept kept = kept_for_peers(node);
    uint64_t made = 0, there = kept.held + kept.wanting + kept.waiting;
    for (uint32_t i = 0; i < node->loops; i++) {
        tr__loop *loop = node->node->loops[i];
        made += loop->pool.carved;
        there += blocks_in(atomic_load(&loop->blocks_back));
        for (uint32_t home = 0; home < node->loops; home++)
            there += blocks_in(loop->blocks_home[home]);
        for (int class = 0; class < TR__POOL_CLASSES; class ++)
            there += blocks_in(loop->pool.free[class]);
    }
    /* One that is kept may be larger than those of the pools. */
    if (made > there)
        tr_sim_fail(node->sim, "%s: %llu blocks were made, %llu are left: the others have leaked", node->name,
                    (unsigned long long)made, (unsigned long long)there);
}

void sim_check_stopped(sim_node *node)
{
    uint64_t queued[SIM_LOOPS_MAX + SIM_OWN_MAX] = {0};
    count_queued(node, queued);
    for (uint32_t i = 0; i < node->loops; i++) {
        tr__loop *loop = node->node->loops[i];
        uint32_t free_ones = 0;
        check_sums(node, loop, queued[i], 0);
        for (const tr__pending *p = loop->pending_free; p; p = tr__pending_at(loop, p->next))
            free_ones++;
        if (queued[i] || coming_to(node, i) || loop->wheel.count || free_ones != loop->pending_next)
            tr_sim_fail(node->sim,
                        "%s loop %u: %llu messages, %llu on their way, %u timers, %u asks are left",
                        node->name, i, (unsigned long long)queued[i], (unsigned long long)coming_to(node, i),
                        (unsigned)loop->wheel.count, loop->pending_next - free_ones);
    }
    check_passed(node, 0);
    check_blocks(node);
    if (tr__buffers_bytes(node->node->buffers))
        tr_sim_fail(node->sim, "%s: %llu bytes of buffers are held by nobody", node->name,
                    (unsigned long long)tr__buffers_bytes(node->node->buffers));
}

/* What its connections reported as unknown is what it counts as lost. */
static void check_lost(sim_node *node)
{
    tr__endpoint_counters counters;
    if (!node->node->remote || node->sim->rates.every_ns[TR_SIM_MEMORY])
        return; /* a connection that found no memory was never told of */
    tr__endpoint_counters_get(node->node->remote->endpoint, &counters);
    if (counters.unknown != node->node->loops[0]->counts.lost)
        tr_sim_fail(node->sim, "%s counts %llu messages as lost, its connections %llu", node->name,
                    (unsigned long long)node->node->loops[0]->counts.lost,
                    (unsigned long long)counters.unknown);
}

void sim_check_running(tr_sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim_node *node = &sim->nodes[i];
        uint64_t queued[SIM_LOOPS_MAX + SIM_OWN_MAX] = {0}, on_the_way = 0;
        if (!sim_node_is_up(node))
            continue;
        count_queued(node, queued);
        for (uint32_t l = 0; l < node->loops; l++) {
            check_sums(node, node->node->loops[l], queued[l], l == 0 ? kept_for_peers(node).held : 0);
            on_the_way += coming_to(node, l);
        }
        check_passed(node, on_the_way);
        check_lost(node);
    }
}

uint32_t sim_count_actors(const sim_node *node)
{
    uint32_t at = 0, count = 0;
    while (next_actor(node, &at))
        count++;
    return count;
}

uint32_t sim_count_pendings(const sim_node *node)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < node->loops; i++) {
        const tr__loop *loop = node->node->loops[i];
        count += loop->pending_next;
        for (const tr__pending *p = loop->pending_free; p; p = tr__pending_at(loop, p->next))
            count--;
    }
    uint32_t at = 0;
    for (tr_actor *actor; (actor = next_actor(node, &at));)
        for (const tr__pending *p = actor->pendings; p; p = tr__pending_at(tr__owner(actor), p->next))
            count -= p->kind == TR__PENDING_TICK;
    return count;
}

/* All its places are free; whoever asks has told nothing for a while. */
static void check_places_at_rest(sim_node *node)
{
    uint32_t at = 0;
    for (tr_actor *actor; (actor = next_actor(node, &at));) {
        uint32_t free_ones = free_places(actor);
        if (actor->count || free_ones != actor->capacity)
            tr_sim_fail(node->sim, "%s: at rest %s#%u has %u messages, and %u free places of %u", node->name,
                        actor->def->name, actor->index, actor->count, free_ones, actor->capacity);
        if (actor->extras && actor->extras->want_writable)
            tr_sim_fail(node->sim, "%s: at rest somebody still waits for places of %s#%u", node->name,
                        actor->def->name, actor->index);
    }
}

void sim_check_at_rest(tr_sim *sim)
{
    sim_check_running(sim);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim_node *node = &sim->nodes[i];
        if (!sim_node_is_up(node)) {
            tr_sim_fail(sim, "%s isn't up at rest", node->name);
            return;
        }
        peer_kept kept = kept_for_peers(node);
        if (kept.peers != sim->node_count - 1)
            tr_sim_fail(sim, "%s is connected with %u nodes at rest, not %u", node->name, kept.peers,
                        sim->node_count - 1);
        if (kept.held || kept.wanting)
            tr_sim_fail(sim, "%s holds %llu messages and %llu notices for other nodes at rest", node->name,
                        (unsigned long long)kept.held, (unsigned long long)kept.wanting);
        for (uint32_t l = 0; l < node->loops; l++)
            if (coming_to(node, l))
                tr_sim_fail(sim, "%s: messages are on their way to loop %u at rest", node->name, l);
        check_places_at_rest(node);
    }
    sim_check_connections(sim);
}
