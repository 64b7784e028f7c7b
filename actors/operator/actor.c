/* An actor, as its loop tells of it: the rows of "ps", "top" and "why". That loop's thread. Without memory: an empty row. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/operator/operator.h"
#include "actors/supervision/supervisor.h"
#include "base/mem.h"

#define NAMES_MAX TR__OPERATOR_ACTORS_MAX
#define KIND_MAX  64 /* bytes shown of a definition's name */

json_t *tr__operator_text(const char *text, size_t length_max)
{
    json_t *value = json_stringn(text, strnlen(text, length_max));
    return value ? value : json_string("?");
}

json_t *tr__operator_address(tr_addr address)
{
    char text[TR_ADDR_TEXT_MAX];
    tr__addr_format(address, text);
    return json_string(text);
}

void tr__operator_append(json_t *array, json_t *row, size_t *room)
{
    size_t size = row ? json_dumpb(row, NULL, 0, JSON_COMPACT) + 1 : 0;
    if (size == 0 || size > *room) {
        json_decref(row);
        return;
    }
    *room -= size;
    json_array_append_new(array, row);
}

/* ---- names --------------------------------------------------------------------------------------------- */

bool tr__operator_names(tr_node *node, tr__operator_job *job)
{
    job->names = tr__alloc(NAMES_MAX * sizeof(*job->names));
    if (!job->names)
        return false;
    job->name_count = tr__names_copy(node, job->names, NAMES_MAX);
    return true;
}

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

/* ---- an actor ------------------------------------------------------------------------------------------ */

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

/* In a word; the operator's own actor is the one that runs. */
static const char *state_of(const tr_actor *actor)
{
    static const char *const waits[] = {"ready",  "awaits",           "receives",
                                        "sleeps", "waits for places", "waits for demand"};
    if (actor->state == TR__ACTOR_COMING)
        return "coming";
    if (actor->state == TR__ACTOR_STOPPING || actor->exiting)
        return "stopping";
    if (tr__owner(actor)->running == actor)
        return "running";
    if (actor->queued)
        return "ready";
    return !actor->fiber                          ? "idle"
           : actor->fiber->wait < TR_COUNT(waits) ? waits[actor->fiber->wait]
                                                  : "waits";
}

json_t *tr__operator_actor(const tr__operator_job *job, const tr_actor *actor)
{
    const tr__loop *loop = tr__owner(actor);
    tr_addr address = tr__addr_of(actor), parent = parent_of(loop->node, actor);
    const char *name = actor->named ? name_of(job, address) : NULL;
    json_t *row = json_pack("{s:o, s:o, s:s, s:i, s:i, s:I, s:I}", "address", tr__operator_address(address),
                            "definition", tr__operator_text(actor->def->name, KIND_MAX), "state",
                            state_of(actor), "mailbox", (int)actor->count, "places", (int)actor->capacity,
                            "free", (json_int_t)actor->local + tr__places_free(&actor->places), "handled",
                            (json_int_t)actor->handled);
    if (!row)
        return NULL;
    if (actor->head)
        json_object_set_new(
            row, "oldest_ms",
            json_integer((json_int_t)(tr__stamp_age(actor->head->queued_at, loop->now_ns) / 1000000u)));
    if (name)
        json_object_set_new(row, "name", tr__operator_text(name, TR_NAME_MAX));
    if (!tr_addr_is_none(parent))
        json_object_set_new(row, "parent", tr__operator_address(parent));
    uint64_t born_ns = actor->fiber ? actor->fiber->born_ns : actor->born_ns;
    if (actor->state == TR__ACTOR_RUNNING)
        json_object_set_new(row, "age_ms", json_integer((json_int_t)((loop->now_ns - born_ns) / 1000000u)));
    return row;
}

/* ---- all of a loop ------------------------------------------------------------------------------------- */

#define SLICE 4096

bool tr__operator_each(tr_actor *self, tr__operator_job *job,
                       void (*each)(tr__operator_job *job, const tr_actor *actor, void *context),
                       void *context)
{
    const tr__loop *loop = tr__owner(self);
    uint32_t end = atomic_load_explicit(&loop->node->segment_count, memory_order_acquire) * TR__SEGMENT_SLOTS;
    uint32_t stop = end - job->next_slot > SLICE ? job->next_slot + SLICE : end;
    for (; job->next_slot < stop; job->next_slot++) {
        const tr_actor *actor = tr__slot(loop->node, job->next_slot);
        if (actor && tr__is_owner(loop, actor) && actor->state != TR__ACTOR_FREE)
            each(job, actor, context);
    }
    return stop == end;
}
