/* What the control thread tells of a loop that doesn't answer, or of a thread of an actor's own: who runs on it, on what, since when, where in the code, and
 * what the loop did before. From atomics, and by a signal to the loop's thread for its stack. */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "actors/driver/node_uv.h"
#include "actors/loop.h"
#include "actors/operator/socket_uv.h"
#include "base/backtrace_os.h"

#define RECENT 16

static json_t *frames_of(tr_node *node, uint32_t loop)
{
    void *frames[TR__FRAMES_MAX];
    char text[192];
    json_t *all = json_array();
    size_t count = tr__loop_backtrace(node, loop, frames, TR__FRAMES_MAX);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, tr__operator_text(tr__frame_text(frames[i], i, text, sizeof(text)), 192));
    return all;
}

/* Newest first. Of what a record points to only types are read: they are never freed. */
static json_t *recent_of(const tr__loop *loop)
{
    static const char *const words[TR__TRACE_COUNT] = {
#define TR__WORD(name, word, meaning) word,
        TR__TRACES(TR__WORD)
#undef TR__WORD
    };
    uint64_t now = tr__now_fresh(loop);
    tr__ring_seen seen;
    json_t *all = json_array();
    for (uint32_t i = 0; i < RECENT && tr__ring_get(&loop->ring, i, &seen); i++) {
        const tr_typeinfo *type =
            seen.kind == TR__TRACE_RUN || seen.kind == TR__TRACE_DROP ? seen.what : NULL;
        json_array_append_new(all, json_pack("{s:i, s:s, s:s, s:I}", "slot", (int)seen.who, "did",
                                             seen.kind < TR__TRACE_COUNT ? words[seen.kind] : "?", "type",
                                             type ? type->name : "", "ago_ms",
                                             (json_int_t)(tr__stamp_age(seen.stamp, now) / 1000000u)));
    }
    return all;
}

static json_t *actor_of(tr_node *node, tr_addr address)
{
    char name[TR_NAME_MAX];
    json_t *actor = json_pack("{s:o}", "address", tr__operator_address(address));
    if (actor && tr__name_of(node, address, name))
        json_object_set_new(actor, "name", tr__operator_text(name, sizeof(name)));
    return actor;
}

json_t *tr__operator_stuck(const tr__control *control, uint32_t index, tr_addr to)
{
    tr_node *node = control->node;
    tr__loop *loop = node->loops[index];
    char text[256];
    uint64_t ms = tr__control_stuck(control, index, text, sizeof(text));
    tr_actor *actor = ms ? atomic_load_explicit(&loop->watch.actor, memory_order_acquire) : NULL;
    const tr_actor_def *def = actor ? tr__def_seen(actor) : NULL;
    const tr_typeinfo *type = atomic_load_explicit(&loop->watch.type, memory_order_relaxed);
    json_t *answer =
        json_pack("{s:b, s:o, s:s, s:i, s:b, s:b, s:o, s:o}", "ok", 1, "actor", actor_of(node, to), "node",
                  node->name, "loop", (int)index, "silent", 1, "own_thread", loop->exclusive, "backtrace",
                  frames_of(node, index), "recent", recent_of(loop));
    if (!answer || !actor)
        return answer;
    tr_addr address = {node->id, actor->index,
                       atomic_load_explicit(&actor->generation, memory_order_relaxed)};
    json_t *running = actor_of(node, address);
    if (running) {
        json_object_set_new(running, "definition", tr__operator_text(def ? def->name : "?", TR_NAME_MAX));
        json_object_set_new(running, "type", json_string(type ? type->name : ""));
        json_object_set_new(running, "for_ms", json_integer((json_int_t)ms));
        json_object_set_new(answer, "running", running);
    }
    return answer;
}
