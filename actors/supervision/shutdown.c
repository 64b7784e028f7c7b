/* See shutdown.h. Each loop walks over its own slots; loop 0 conducts, by what the loops publish and by the generations of
 * the roots. */
#include "actors/supervision/shutdown.h"

#include <troupe/troupe.h>

#include "actors/supervision/roots.h"
#include "actors/supervision/supervisor.h"
#include "base/mem.h"

#define ROOT_NS   TR_SECONDS(5) /* a root's that is no supervisor, which knows its own time */
#define POLL_NS   TR_MILLIS(1)  /* loop 0 looks at least so often; who ends wakes it besides */
#define SLICE     4096          /* slots a turn */
#define ROOTS_MAX 4096
#define LEFT_MAX  16 /* lines of the log, a loop */

static const tr__reason stopped = {.kind = TR_EXIT_SHUTDOWN, .text = "the node stops"};

/* ---- a loop's own -------------------------------------------------------------------------------------- */

/* It ends after what it was sent. Without memory for that, or with nothing to do, it ends now. */
static void ask(tr__loop *loop, tr_actor *actor)
{
    bool busy = actor->head || actor->traits & TR__TRAPS_STOP;
    actor->traits |= TR__AWAITED;
    loop->stop_left++;
    tr_msg *msg = busy ? tr__stop_make(actor, TR_EXIT_SHUTDOWN) : NULL;
    if (msg)
        tr__submit(loop, tr__addr_of(actor), msg);
    else
        tr__end(loop, actor, &stopped);
}

static bool is_meant(const tr__loop *loop, const tr_actor *actor)
{
    uint8_t spare = TR__SYSTEM | TR__AWAITED;
    bool loose = loop->stop_phase == TR__STOP_LOOSE;
    if (loose)
        spare |= TR__SUPERVISED;
    return !(actor->traits & spare) && !(loose && actor->named) &&
           !tr_addr_equal(tr__addr_of(actor), loop->node->first);
}

/* Another loop may just be opening a slot for this one, and take it back: those that are coming are looked at again, when
 * they run. */
static void walk(tr__loop *loop)
{
    tr_node *node = loop->node;
    uint32_t end = atomic_load_explicit(&node->segment_count, memory_order_acquire) * TR__SEGMENT_SLOTS;
    uint32_t until = end - loop->stop_next > SLICE ? loop->stop_next + SLICE : end;
    for (; loop->stop_next < until; loop->stop_next++) {
        tr_actor *actor = tr__slot(node, loop->stop_next);
        uint8_t state = actor && tr__is_owner(loop, actor) ? __atomic_load_n(&actor->state, __ATOMIC_RELAXED)
                                                           : TR__ACTOR_FREE;
        if (state == TR__ACTOR_COMING)
            loop->stop_coming = true;
        else if (state == TR__ACTOR_RUNNING && is_meant(loop, actor)) /* so it is this loop's for sure */
            ask(loop, actor);
    }
    if (until < end)
        return;
    loop->stop_walking = loop->stop_coming;
    loop->stop_coming = false;
    loop->stop_next = 0;
}

void tr__shutdown_ended(tr__loop *loop, uint8_t traits)
{
    if (traits & TR__AWAITED)
        loop->stop_left--;
    if (!tr__is_stopping(loop->node) || loop->stopping)
        return;
    loop->stop_news = true;
    if (loop->index != 0)
        loop->node->seams.wake(loop->node->seams.context, 0);
}

/* ---- the conductor ------------------------------------------------------------------------------------- */

static void go(tr_node *node, tr__stop_phase phase)
{
    /* seq_cst: a loop that is being added is seen here, or sees this when who adds it wakes it (placement.c) */
    atomic_store(&node->stop_phase, (uint8_t)phase);
    for (uint32_t i = 1, all = atomic_load(&node->loops_all); i < all; i++)
        node->seams.wake(node->seams.context, i);
}

static bool all_done(const tr_node *node, tr__stop_phase phase)
{
    for (uint32_t i = 0, all = tr__loops_all(node); i < all; i++)
        if (atomic_load_explicit(&node->loops[i]->stop_done, memory_order_acquire) != phase)
            return false;
    return true;
}

static bool lives(const tr_node *node, tr_addr address)
{
    const tr_actor *slot = tr_addr_is_none(address) ? NULL : tr__slot(node, address.slot);
    return slot && tr__is_generation(slot, address.generation);
}

static bool is_supervisor(const tr_node *node, tr_addr address)
{
    return __atomic_load_n(&tr__slot(node, address.slot)->def, __ATOMIC_RELAXED) == &tr__supervisor_def;
}

/* Without memory for the list the rest is asked all at once. */
static void roots_take(tr__loop *loop, tr__shutdown *s)
{
    s->roots = tr__alloc(ROOTS_MAX * sizeof(*s->roots));
    s->root_count = s->roots ? tr__roots_copy(loop->node, s->roots, ROOTS_MAX) : 0;
    s->root_next = 0;
    s->root = TR_ADDR_NONE;
}

/* What stops a root, from loop 0; false: no memory now. */
static bool tell_root(tr__loop *loop, tr_addr root, tr__msg_kind kind)
{
    const tr_typeinfo *info = tr__type_of(&tr_shutdown_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr_shutdown)) : NULL;
    if (!msg)
        return false;
    msg->type = info;
    msg->kind = (uint8_t)kind;
    tr__submit(loop, root, msg);
    return true;
}

/* True: all have ended. */
static bool roots_step(tr__loop *loop, tr__shutdown *s)
{
    const tr_node *node = loop->node;
    while (lives(node, s->root) || s->root_next < s->root_count) {
        if (!lives(node, s->root)) {
            tr_addr next = s->roots[s->root_next];
            if (lives(node, next) && !tell_root(loop, next, TR__MSG_SHUTDOWN))
                return false;
            s->root_next++;
            s->root = next;
            s->root_due_ns = loop->now_ns + ROOT_NS;
            continue;
        }
        if (loop->now_ns >= s->root_due_ns && !is_supervisor(node, s->root) &&
            tell_root(loop, s->root, TR__MSG_KILL))
            s->root_due_ns = TR__NEVER;
        return false;
    }
    tr__free(s->roots);
    s->roots = NULL;
    return true;
}

static bool first_step(tr__loop *loop, tr__shutdown *s)
{
    tr_addr first = loop->node->first;
    if (!lives(loop->node, first))
        return true;
    if (!s->first_asked)
        tr__end(loop, tr__slot(loop->node, first.slot), &stopped);
    s->first_asked = true;
    return !lives(loop->node, first);
}

static void conduct(tr__loop *loop)
{
    tr_node *node = loop->node;
    tr__shutdown *s = &node->shutdown;
    tr__stop_phase phase = atomic_load_explicit(&node->stop_phase, memory_order_relaxed);
    if (phase == TR__STOP_NONE) {
        uint64_t most = node->opts.stop_timeout_ns ? node->opts.stop_timeout_ns : TR__STOP_NS;
        s->due_ns = most > UINT64_MAX - loop->now_ns ? UINT64_MAX : loop->now_ns + most;
    }
    s->late = loop->now_ns >= s->due_ns;
    if (s->late || atomic_load_explicit(&node->stop_at_once, memory_order_relaxed)) {
        tr__free(s->roots);
        s->roots = NULL;
        go(node, TR__STOP_OVER);
        return;
    }
    bool done = phase == TR__STOP_ROOTS   ? roots_step(loop, s)
                : phase == TR__STOP_FIRST ? first_step(loop, s)
                                          : all_done(node, phase);
    if (!done)
        return;
    if (phase + 1 == TR__STOP_ROOTS)
        roots_take(loop, s);
    go(node, phase + 1);
    loop->stop_news = true;
}

bool tr__shutdown_step(tr__loop *loop)
{
    tr_node *node = loop->node;
    loop->stop_news = false;
    if (loop->index == 0 && !tr__is_over(node)) {
        conduct(loop);
        loop->stop_due_ns = tr__is_over(node) ? TR__NEVER : loop->now_ns + POLL_NS;
    }
    uint8_t phase = atomic_load_explicit(&node->stop_phase, memory_order_acquire);
    if (loop->stop_phase != phase) {
        loop->stop_phase = phase;
        loop->stop_next = 0;
        loop->stop_coming = false;
        loop->stop_walking = phase == TR__STOP_LOOSE || phase == TR__STOP_REST;
    }
    if (loop->stop_walking)
        walk(loop);
    uint8_t done = atomic_load_explicit(&loop->stop_done, memory_order_relaxed);
    if (!loop->stop_walking && loop->stop_left == 0 && done != phase) {
        atomic_store_explicit(&loop->stop_done, phase, memory_order_release);
        loop->stop_news = true;
        if (loop->index != 0)
            node->seams.wake(node->seams.context, 0);
    }
    return loop->stop_walking || loop->stop_news;
}

/* ---- what is left -------------------------------------------------------------------------------------- */

void tr__shutdown_log_left(const tr__loop *loop)
{
    tr_node *node = loop->node;
    uint32_t left = 0,
             end = atomic_load_explicit(&node->segment_count, memory_order_acquire) * TR__SEGMENT_SLOTS;
    if (!node->shutdown.late)
        return;
    for (uint32_t i = 0; i < end; i++) {
        const tr_actor *actor = tr__slot(node, i);
        if (!actor || tr__owner(actor) != loop || actor->state == TR__ACTOR_FREE ||
            actor->traits & TR__SYSTEM)
            continue;
        char name[TR_NAME_MAX] = "";
        if (++left > LEFT_MAX)
            continue;
        bool named = actor->named && tr__name_of(node, tr__addr_of(actor), name);
        tr__node_log(node, TR_LOG_WARN, "%s%s%s (slot %u) didn't stop in time; it is killed",
                     actor->def->name, named ? " " : "", name, i);
    }
    if (left > LEFT_MAX)
        tr__node_log(node, TR_LOG_WARN, "and %u more of loop %u didn't stop in time", left - LEFT_MAX,
                     loop->index);
}
