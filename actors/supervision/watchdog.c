/* See watchdog.h. Nothing fails. */
#include "actors/supervision/watchdog.h"

#include <stdio.h>

#include "mailbox/type.h"

#define FRAMES_TOLD 16 /* of the actor's own code; the runtime's below are all alike */

static uint64_t load64(const _Atomic uint64_t *from)
{
    return atomic_load_explicit((_Atomic uint64_t *)from, memory_order_relaxed);
}

static void describe(tr_node *node, tr_actor *actor, const tr_actor_def *def, const tr_typeinfo *type,
                     char *text, size_t room)
{
    tr_addr address = {node->id, actor->index,
                       atomic_load_explicit(&actor->generation, memory_order_relaxed)};
    char where[TR_ADDR_TEXT_MAX], name[TR_NAME_MAX];
    tr__addr_format(address, where);
    bool named = tr__name_of(node, address, name);
    snprintf(text, room, "actor %.60s%s%s%s %s has been %s%s", def ? def->name : "?", named ? " \"" : "",
             named ? name : "", named ? "\"" : "", where, type ? "handling " : "in its init or body",
             type ? type->name : "");
}

bool tr__held_by(tr_node *node, uint32_t index, tr__holding *held)
{
    tr__watch *watch = &node->loops[index]->watch;
    held->runs = load64(&watch->runs);
    held->since_ns = load64(&watch->at_ns);
    const tr_typeinfo *type = atomic_load_explicit(&watch->type, memory_order_relaxed);
    tr_actor *actor = atomic_load_explicit(&watch->actor, memory_order_acquire);
    if (!actor)
        return false;
    held->def = tr__def_seen(actor);
    describe(node, actor, held->def, type, held->what, sizeof(held->what));
    return true;
}

static unsigned long long ms(uint64_t ns)
{
    return (unsigned long long)(ns / 1000000u);
}

static void tell_stack(const tr__watchdog *w, uint32_t index, tr_log_level level)
{
    const char *frame = NULL;
    for (uint32_t i = 0; w->frame && i < FRAMES_TOLD && (frame = w->frame(w->context, index, i)); i++)
        tr__node_log(w->node, level, "loop %u:   in %s", index, frame);
}

static void tell(tr__watchdog *w, uint32_t index, const tr__holding *held, uint64_t held_ns)
{
    uint64_t *next = &w->loops[index].next_ns;
    if (*next == 0)
        atomic_fetch_add_explicit(&w->node->stuck, 1, memory_order_relaxed);
    do
        *next = *next ? *next * 2 : w->node->opts.watchdog_ns * 2;
    while (*next <= held_ns);
    w->loops[index].told = *held;
    tr__node_log(
        w->node, TR_LOG_WARN,
        "loop %u: %s for %llu ms; the loop's other actors wait. Give long work to the compute kind, or the "
        "actor a thread of its own",
        index, held->what, ms(held_ns));
    tell_stack(w, index, TR_LOG_WARN);
}

void tr__watchdog_tell_end(const tr__watchdog *w, uint32_t index, const tr__holding *held)
{
    tr__node_log(
        w->node, TR_LOG_ERROR,
        "loop %u: %s and keeps the node from its end, whose time is over: the process ends with status 70",
        index, held->what);
    tell_stack(w, index, TR_LOG_ERROR);
}

/* It has given way, or another has its turn. */
static void tell_end(tr__watchdog *w, uint32_t index, uint64_t now_ns)
{
    const tr__holding *told = &w->loops[index].told;
    tr__node_log(w->node, TR_LOG_WARN, "loop %u: %s no more, after %llu ms", index, told->what,
                 ms(now_ns - told->since_ns));
    w->loops[index].next_ns = 0;
}

/* The number of the run first: the loop looks at it when it has seen the flag. */
static void tell_to_stop(tr__watchdog *w, uint32_t index, uint64_t runs)
{
    tr__loop *loop = w->node->loops[index];
    w->loops[index].stopped = runs;
    atomic_store_explicit(&loop->watch.stop_run, runs, memory_order_relaxed);
    atomic_store_explicit(&loop->overrun, true, memory_order_release);
}

static void look_at(tr__watchdog *w, uint32_t index, uint64_t now_ns)
{
    const tr__watch *watch = &w->node->loops[index]->watch;
    uint64_t patience = w->node->opts.watchdog_ns, runs = load64(&watch->runs), at = load64(&watch->at_ns);
    if (runs != w->loops[index].seen_runs) {
        w->loops[index].seen_runs = runs;
        w->loops[index].other_ns = w->looked_ns;
    }
    if (at < w->loops[index].other_ns)
        at = w->loops[index].other_ns;
    const tr_actor *actor = atomic_load_explicit((_Atomic(tr_actor *) *)&watch->actor, memory_order_acquire);
    uint64_t held_ns = actor && now_ns > at ? now_ns - at : 0;
    bool is_told = w->loops[index].next_ns != 0;
    if (is_told && (!held_ns || runs != w->loops[index].told.runs)) {
        tell_end(w, index, now_ns);
        is_told = false;
    }
    if (held_ns == 0)
        return;
    const tr_actor_def *def = tr__def_seen(actor);
    uint64_t budget = def && def->overrun_ns ? def->overrun_ns : w->node->opts.overrun_ns;
    tr__holding held;
    if (held_ns >= patience && (!is_told || held_ns >= w->loops[index].next_ns) &&
        tr__held_by(w->node, index, &held) && held.runs == runs) {
        held.since_ns = at;
        tell(w, index, &held, held_ns);
    }
    if (budget && held_ns >= budget && w->loops[index].stopped != runs)
        tell_to_stop(w, index, runs);
}

void tr__watchdog_look(tr__watchdog *watchdog, uint64_t now_ns)
{
    for (uint32_t i = 0; i < watchdog->node->loop_count; i++)
        look_at(watchdog, i, now_ns);
    watchdog->looked_ns = now_ns;
}
