/* The requests "nodes" and "ps": what a loop knows of itself, its actors and (loop 0) the node's peers. That loop's
 * thread. It looks at SLICE slots a turn, so that a node of a million actors doesn't stand still for it; what it tells is
 * no snapshot of one moment. Without memory: an empty answer. */
#include <inttypes.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/operator.h"
#include "actors/remote_peer.h"
#include "actors/supervisor.h"
#include "base/mem.h"

#define SLICE     4096
#define NAMES_MAX TR__OPERATOR_ACTORS_MAX
#define KIND_MAX  64 /* bytes shown of a definition's name */
/* Of an answer's frame, bytes; the rest is for what each loop tells of itself. */
#define PEERS_ROOM  (256u << 10)
#define ACTORS_ROOM (TR__OPERATOR_FRAME_MAX - PEERS_ROOM - (96u << 10))

/* A string of our own; what isn't UTF-8 (a name may be any bytes) is shown as "?". */
static json_t *text_of(const char *text, size_t length_max)
{
    json_t *value = json_stringn(text, strnlen(text, length_max));
    return value ? value : json_string("?");
}

static json_t *address_of(tr_addr address)
{
    char text[TR_ADDR_TEXT_MAX];
    tr__addr_format(address, text);
    return json_string(text);
}

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

/* Takes `row` and appends it, if it fits into what is left of `room` bytes. */
static void append(json_t *array, json_t *row, size_t *room)
{
    size_t size = row ? json_dumpb(row, NULL, 0, JSON_COMPACT) + 1 : 0;
    if (size == 0 || size > *room) {
        json_decref(row);
        return;
    }
    *room -= size;
    json_array_append_new(array, row);
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
        append(peers,
               json_pack("{s:o, s:s, s:o, s:b, s:I, s:I, s:I, s:I}", "name", text_of(peer->name, TR_NAME_MAX),
                         "incarnation", id, "address", text_of(peer->address, 256), "dialled", peer->dialled,
                         "messages_out", (json_int_t)c.messages_out, "messages_in", (json_int_t)c.messages_in,
                         "bytes_out", (json_int_t)c.bytes_out, "bytes_in", (json_int_t)c.bytes_in),
               &room);
    }
    return peers;
}

static json_t *loop_of(const tr__loop *loop)
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
    tr__operator_answer(self, job, loop_of(tr__owner(self)));
}

/* ---- its actors ---------------------------------------------------------------------------------------- */

static const char *name_of(const tr__operator_job *job, tr_addr address)
{
    size_t low = 0, high = job->name_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (job->names[middle].address.slot < address.slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < job->name_count && tr_addr_equal(job->names[low].address, address) ? job->names[low].name
                                                                                    : NULL;
}

/* By its mark; none if the slot has another generation by now. */
static tr_addr parent_of(const tr_node *node, const tr_actor *actor)
{
    uint32_t slot = actor->parent & ((1u << TR__PARENT_BITS) - 1);
    const tr_actor *parent = actor->parent ? tr__slot(node, slot) : NULL;
    uint32_t generation =
        parent ? atomic_load_explicit(&((tr_actor *)parent)->generation, memory_order_relaxed) : 0;
    return parent && tr__parent_mark(slot, generation) == actor->parent
               ? (tr_addr){node->id, slot, generation}
               : TR_ADDR_NONE;
}

static json_t *children_of(const tr_actor *actor)
{
    static const char *const restarts[] = {"permanent", "transient", "temporary"};
    tr__supervised child;
    json_t *children = NULL;
    uint32_t count = tr__supervisor_child(actor, UINT32_MAX, &child);
    for (uint32_t i = 0; i < count && i < TR__OPERATOR_ACTORS_MAX; i++) {
        tr__supervisor_child(actor, i, &child);
        json_t *row =
            json_pack("{s:o, s:s, s:i, s:s}", "id", text_of(child.id, TR_NAME_MAX), "restart",
                      restarts[child.restart], "restarts", (int)child.restarts, "state", child.state);
        if (row && !tr_addr_is_none(child.address))
            json_object_set_new(row, "address", address_of(child.address));
        children = children ? children : json_array();
        json_array_append_new(children, row);
    }
    return children;
}

static json_t *actor_of(const tr__operator_job *job, const tr_actor *actor)
{
    static const char *const states[] = {"free", "coming", "running", "stopping"};
    const tr_node *node = tr__owner(actor)->node;
    tr_addr address = tr__addr_of(actor), parent = parent_of(node, actor);
    const char *name = actor->named ? name_of(job, address) : NULL;
    json_t *row =
        json_pack("{s:o, s:o, s:s, s:i, s:i, s:I}", "address", address_of(address), "definition",
                  text_of(actor->def->name, KIND_MAX), "state", states[actor->state], "mailbox",
                  (int)actor->count, "places", (int)actor->capacity, "handled", (json_int_t)actor->handled);
    json_t *children = children_of(actor);
    const char *strategy = tr__supervisor_strategy(actor);
    if (row && strategy)
        json_object_set_new(row, "strategy", json_string(strategy));
    if (row && name)
        json_object_set_new(row, "name", text_of(name, TR_NAME_MAX));
    if (row && !tr_addr_is_none(parent))
        json_object_set_new(row, "parent", address_of(parent));
    if (row && children)
        json_object_set_new(row, "children", children);
    else
        json_decref(children);
    return row;
}

/* false: no memory. */
static bool ps_begin(tr_actor *self, tr__operator_job *job)
{
    job->names = tr__alloc(NAMES_MAX * sizeof(*job->names));
    job->answer = job->names ? loop_of(tr__owner(self)) : NULL;
    if (!job->answer)
        return false;
    job->room = ACTORS_ROOM / tr__owner(self)->node->loop_count;
    job->name_count = tr__names_copy(tr__owner(self)->node, job->names, NAMES_MAX);
    return json_object_set_new(job->answer, "count", json_integer(0)) == 0 &&
           json_object_set_new(job->answer, "actors", json_array()) == 0;
}

void tr__operator_run_ps(tr_actor *self, tr__operator_job *job)
{
    const tr__loop *loop = tr__owner(self);
    tr_node *node = loop->node;
    if (!job->answer && !ps_begin(self, job)) {
        tr__operator_answer(self, job, NULL);
        return;
    }
    json_t *actors = json_object_get(job->answer, "actors");
    json_int_t count = json_integer_value(json_object_get(job->answer, "count"));
    uint32_t end = atomic_load_explicit(&node->segment_count, memory_order_acquire) * TR__SEGMENT_SLOTS;
    uint32_t stop = end - job->next_slot > SLICE ? job->next_slot + SLICE : end;
    for (; job->next_slot < stop; job->next_slot++) {
        const tr_actor *actor = tr__slot(node, job->next_slot);
        if (!actor || !tr__is_owner(loop, actor) || actor->state == TR__ACTOR_FREE)
            continue;
        count++;
        if (json_array_size(actors) < TR__OPERATOR_ACTORS_MAX / node->loop_count)
            append(actors, actor_of(job, actor), &job->room);
    }
    json_integer_set(json_object_get(job->answer, "count"), count);
    if (stop < end)
        tr__operator_again(self, job);
    else
        tr__operator_answer(self, job, json_incref(job->answer));
}
