/* The requests "nodes" and "ps": what a loop knows of itself, its actors and (loop 0) the node's peers. That loop's
 * thread. What they tell is no snapshot of one moment: a loop looks at some slots a turn. Without memory: an empty answer. */
#include <inttypes.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/operator/operator.h"
#include "actors/remote/peer.h"
#include "actors/supervision/supervisor.h"

/* Of an answer's frame, bytes; the rest is for what each loop tells of itself. */
#define PEERS_ROOM  (256u << 10)
#define ACTORS_ROOM (TR__OPERATOR_FRAME_MAX - PEERS_ROOM - (96u << 10))

/* ---- a loop, and the peers ----------------------------------------------------------------------------- */

static json_t *sums_of(const tr__loop *loop)
{
    static const char *const words[TR_DROP_COUNT] = {
#define TR__WORD(name, word) word,
        TR_DROPS(TR__WORD)
#undef TR__WORD
    };
    const tr__loop_counts *c = &loop->counts;
    json_t *dropped = json_object();
    for (int why = 0; why < TR_DROP_COUNT; why++)
        if (c->dropped[why])
            json_object_set_new(dropped, words[why], json_integer((json_int_t)c->dropped[why]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "accepted", (json_int_t)c->accepted,
                     "arrived", (json_int_t)c->arrived, "handled", (json_int_t)c->handled, "passed",
                     (json_int_t)c->passed, "sent", (json_int_t)c->sent, "received", (json_int_t)c->received,
                     "lost", (json_int_t)c->lost, "dropped", dropped);
}

/* By right, of those that were refused. */
static json_t *refusals_of(const tr__remote_peer *p)
{
    json_t *refused = json_object();
    for (int right = 0; p && right < TR__RIGHT_COUNT; right++)
        if (p->refusals.count[right])
            json_object_set_new(refused, tr__right_words[right],
                                json_integer((json_int_t)p->refusals.count[right]));
    return refused;
}

static json_t *peers_of(tr_node *node, uint32_t *count)
{
    json_t *peers = json_array();
    size_t room = PEERS_ROOM;
    tr__peer *peer = NULL;
    while (node->remote && (peer = tr__endpoint_next_peer(node->remote->endpoint, peer))) {
        tr__connection_counters c;
        char id[20];
        tr__endpoint_peer_counters(peer, &c);
        snprintf(id, sizeof(id), "%016" PRIx64, peer->id);
        (*count)++;
        json_t *row =
            json_pack("{s:o, s:s, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "name",
                      tr__operator_text(peer->name, TR_NAME_MAX), "incarnation", id, "address",
                      tr__operator_text(peer->address, 256), "dialled", peer->dialled, "messages_out",
                      (json_int_t)c.messages_out, "messages_in", (json_int_t)c.messages_in, "bytes_out",
                      (json_int_t)c.bytes_out, "bytes_in", (json_int_t)c.bytes_in, "grants_held",
                      (json_int_t)c.grants_held, "refused", refusals_of(peer->user));
        tr__operator_append(peers, row, &room);
    }
    return peers;
}

json_t *tr__operator_of_loop(const tr__loop *loop)
{
    json_t *answer = json_pack("{s:i, s:o}", "loop", loop->index, "sums", sums_of(loop));
    if (answer && loop->index == 0) {
        uint32_t count = 0;
        json_object_set_new(answer, "peers", peers_of(loop->node, &count));
        json_object_set_new(answer, "peer_count", json_integer(count));
    }
    return answer;
}

void tr__operator_run_nodes(tr_actor *self, tr__operator_job *job)
{
    tr__operator_answer(self, job, tr__operator_of_loop(tr__owner(self)));
}

/* ---- its actors ---------------------------------------------------------------------------------------- */

static json_t *children_of(const tr_actor *actor)
{
    static const char *const restarts[] = {"permanent", "transient", "temporary"};
    tr__supervised child;
    json_t *children = NULL;
    uint32_t count = tr__supervisor_child(actor, UINT32_MAX, &child);
    for (uint32_t i = 0; i < count && i < TR__OPERATOR_ACTORS_MAX; i++) {
        tr__supervisor_child(actor, i, &child);
        json_t *row =
            json_pack("{s:o, s:s, s:i, s:s}", "id", tr__operator_text(child.id, TR_NAME_MAX), "restart",
                      restarts[child.restart], "restarts", (int)child.restarts, "state", child.state);
        if (row && !tr_addr_is_none(child.address))
            json_object_set_new(row, "address", tr__operator_address(child.address));
        children = children ? children : json_array();
        json_array_append_new(children, row);
    }
    return children;
}

static void tell_actor(tr__operator_job *job, const tr_actor *actor, void *context)
{
    json_t *actors = json_object_get(job->answer, "actors"), *count = json_object_get(job->answer, "count");
    json_integer_set(count, json_integer_value(count) + 1);
    if (json_array_size(actors) >= TR__OPERATOR_ACTORS_MAX / tr__owner(actor)->node->loop_count)
        return;
    json_t *row = tr__operator_actor(job, actor), *children = row ? children_of(actor) : NULL;
    (void)context;
    const char *strategy = tr__supervisor_strategy(actor);
    if (row && strategy)
        json_object_set_new(row, "strategy", json_string(strategy));
    if (children)
        json_object_set_new(row, "children", children);
    tr__operator_append(actors, row, &job->room);
}

/* Those with a thread of their own, which may block: what can be read from here, by loop 0. */
static void tell_own_threads(tr__operator_job *job, const tr__loop *loop)
{
    const tr_node *node = loop->node;
    json_t *actors = json_object_get(job->answer, "actors"), *count = json_object_get(job->answer, "count");
    if (loop->index != 0 || tr__loops_all(node) == node->loop_count)
        return;
    uint32_t end =
        atomic_load_explicit(&((tr_node *)node)->segment_count, memory_order_acquire) * TR__SEGMENT_SLOTS;
    for (uint32_t i = 0; i < end; i++) {
        tr_actor *actor = tr__slot(node, i);
        const tr__loop *owner = actor ? atomic_load_explicit(&actor->owner, memory_order_acquire) : NULL;
        if (!owner || !owner->exclusive)
            continue;
        tr_addr address = {node->id, i, atomic_load_explicit(&actor->generation, memory_order_relaxed)};
        const tr_actor_def *def = tr__def_seen(actor);
        json_integer_set(count, json_integer_value(count) + 1);
        tr__operator_append(actors,
                            json_pack("{s:o, s:o, s:s}", "address", tr__operator_address(address),
                                      "definition", tr__operator_text(def->name, TR_NAME_MAX), "state",
                                      "own-thread"),
                            &job->room);
    }
}

/* false: no memory. */
static bool ps_begin(tr_actor *self, tr__operator_job *job)
{
    tr_node *node = tr__owner(self)->node;
    job->answer = tr__operator_names(node, job) ? tr__operator_of_loop(tr__owner(self)) : NULL;
    if (!job->answer)
        return false;
    job->room = ACTORS_ROOM / node->loop_count;
    return json_object_set_new(job->answer, "count", json_integer(0)) == 0 &&
           json_object_set_new(job->answer, "actors", json_array()) == 0;
}

void tr__operator_run_ps(tr_actor *self, tr__operator_job *job)
{
    if (!job->answer && !ps_begin(self, job)) {
        tr__operator_answer(self, job, NULL);
    } else if (tr__operator_each(self, job, tell_actor, NULL)) {
        tell_own_threads(job, tr__owner(self));
        tr__operator_answer(self, job, json_incref(job->answer));
    } else {
        tr__operator_again(self, job);
    }
}
