/* The loop's turn: see loop.h for its order and for what keeps order per pair. The loop's own thread, but for
 * the pushes on the three stacks. Fails only in tr__loop_init. */
#include "actors/loop.h"

#include "actors/budget.h"
#include "actors/defer.h"

#include <string.h>

#include "actors/futures/pending.h"
#include "actors/operator/meter.h"
#include "actors/placement.h"
#include "actors/remote/records.h"
#include "actors/remote/remote.h"
#include "actors/supervision/shutdown.h"
#include "base/buggify.h"
#include "base/mem.h"
#include "base/plant.h"

tr_err tr__loop_init(tr__loop *loop, tr_node *node, uint8_t index)
{
    memset(loop, 0, sizeof(*loop));
    loop->node = node;
    loop->index = index;
    loop->queue_end = &loop->queue;
    loop->stop_due_ns = TR__NEVER;
    loop->now_ns = node->seams.now(node->seams.context);
    loop->look_every = loop->until_look = TR__TURN_CHECK;
    loop->in_order = true;
    loop->turn_began_ns = loop->window_ns = loop->now_ns;
    loop->stamp = tr__stamp_of(loop->now_ns);
    tr__ring_stamp(&loop->ring, loop->stamp);
    tr__pool_init(&loop->pool);
    loop->pool.account = node->buffers;
    tr__wheel_init(&loop->wheel, loop->now_ns);
    tr__random_init(&loop->random, node->seams.seed + 0x9e3779b97f4a7c15ull * (index + 1));
    loop->fibers = tr__fiber_pool_create();
    loop->outboxes = tr__zalloc(TR__LOOPS_MAX * sizeof(*loop->outboxes));
    loop->blocks_home = tr__zalloc(TR__LOOPS_MAX * sizeof(*loop->blocks_home));
    loop->slots_home = tr__zalloc(TR__LOOPS_MAX * sizeof(*loop->slots_home));
    if (loop->fibers && loop->outboxes && loop->blocks_home && loop->slots_home)
        return TR_OK;
    tr__loop_fini(loop);
    return TR_ENOMEM;
}

void tr__loop_fini(tr__loop *loop)
{
    tr__watching_fini(loop);
    tr__scratch_free(loop);
    tr__pendings_fini(loop);
    tr__becomings_fini(loop);
    tr__fiber_pool_destroy(loop->fibers);
    tr__far_fini(loop);
    tr__free(loop->outboxes);
    tr__free(loop->blocks_home);
    tr__free(loop->slots_home);
    tr__pool_fini(&loop->pool);
}

/* ---- the inbox ----------------------------------------------------------------------------------------- */

static void inbox_take(tr__loop *loop)
{
    /* acquire: pairs with the release of the push, so the messages' contents are seen */
    tr_msg *stack = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    tr_msg *in_order = NULL;
    if (TR_PLANT(two_swapped) && stack && stack->next && !stack->next->next)
        in_order = stack, stack = NULL;
    while (stack) {
        tr_msg *next = stack->next;
        stack->next = in_order;
        in_order = stack;
        stack = next;
    }
    while (in_order) {
        tr_msg *msg = in_order;
        in_order = msg->next;
        loop->counts.arrived += tr__msg_count(msg);
        tr__deliver(loop, msg);
    }
}

void tr__loop_push(tr__loop *to, tr_msg *newest, tr_msg *oldest)
{
    tr_msg *seen = atomic_load_explicit(&to->inbox, memory_order_relaxed);
    do
        oldest->next = seen;
    while (!atomic_compare_exchange_weak_explicit(&to->inbox, &seen, newest, memory_order_seq_cst,
                                                  memory_order_relaxed));
    /* seq_cst here and in tr__loop_may_sleep: either we see it sleeping, or it sees our chain. Who wakes it says that it is
     * awake, so that one does, and that who waits for its answer knows it at work. */
    bool wakes = atomic_load_explicit(&to->sleeping, memory_order_seq_cst) &&
                 atomic_exchange_explicit(&to->sleeping, false, memory_order_seq_cst);
    if ((wakes && !(TR_PLANT(wake_lost) && newest != oldest)) || TR_BUGGIFY(wake_needless))
        to->node->seams.wake(to->node->seams.context, to->index);
}

static void blocks_collect(tr__loop *loop)
{
    tr__block *block = atomic_exchange_explicit(&loop->blocks_back, NULL, memory_order_acquire);
    while (block) {
        tr__block *next = block->next;
        tr_msg *msg = (tr_msg *)block;
        tr__pool_give(&loop->pool, msg, msg->size_class);
        block = next;
    }
    tr_actor *slot = atomic_exchange_explicit(&loop->slots_back, NULL, memory_order_acquire);
    while (slot) {
        tr_actor *next = slot->run_next;
        slot->run_next = loop->slots_free;
        loop->slots_free = slot;
        slot = next;
    }
}

/* ---- the end of a turn --------------------------------------------------------------------------------- */

static void blocks_send_home(tr__loop *loop, tr__loop *home)
{
    tr__block *first = loop->blocks_home[home->index];
    if (first) {
        tr__block *last = first;
        while (last->next)
            last = last->next;
        tr__block *seen = atomic_load_explicit(&home->blocks_back, memory_order_relaxed);
        do
            last->next = seen;
        while (!atomic_compare_exchange_weak_explicit(&home->blocks_back, &seen, first, memory_order_release,
                                                      memory_order_relaxed));
        loop->blocks_home[home->index] = NULL;
    }
    tr_actor *slot = loop->slots_home[home->index];
    if (slot) {
        tr_actor *end = slot;
        while (end->run_next)
            end = end->run_next;
        tr_actor *seen = atomic_load_explicit(&home->slots_back, memory_order_relaxed);
        do
            end->run_next = seen;
        while (!atomic_compare_exchange_weak_explicit(&home->slots_back, &seen, slot, memory_order_release,
                                                      memory_order_relaxed));
        loop->slots_home[home->index] = NULL;
    }
}

void tr__outbox_push(tr__loop *loop, uint32_t index)
{
    tr__chain *out = &loop->outboxes[index];
    if (out->head) {
        tr_msg *newest = out->head, *oldest = out->tail;
        out->head = out->tail = NULL;
        tr__loop_push(loop->node->loops[index], newest, oldest);
    }
}

/* Without a message, so it needs no memory. As in tr__loop_push. */
static void tell_ended(tr__loop *to)
{
    atomic_store_explicit(&to->ended, true, memory_order_seq_cst);
    if (atomic_load_explicit(&to->sleeping, memory_order_seq_cst) &&
        atomic_exchange_explicit(&to->sleeping, false, memory_order_seq_cst))
        to->node->seams.wake(to->node->seams.context, to->index);
}

/* What was written in this turn, to outboxes. */
static void close_records(tr__loop *loop)
{
    tr__far_flush(loop);
    for (uint32_t i = 0, all = tr__loops_all(loop->node); i < all; i++)
        if (loop->outboxes[i].open)
            tr__hand_close(loop, &loop->outboxes[i], (uint8_t)i);
}

static void flush(tr__loop *loop)
{
    close_records(loop);
    tr__holds_return(loop);
    for (uint32_t i = 0, all = tr__loops_all(loop->node); i < all; i++) {
        if (i == loop->index)
            continue;
        tr__outbox_push(loop, i);
        if (loop->tell_ended)
            tell_ended(loop->node->loops[i]);
        blocks_send_home(loop, loop->node->loops[i]);
    }
    loop->tell_ended = false;
}

/* ---- the turn ------------------------------------------------------------------------------------------ */

bool tr__loop_turn(tr__loop *loop)
{
    const tr__seams *seams = &loop->node->seams;
    uint64_t now = seams->now(seams->context);
    tr__load_measure(loop, now);
    loop->now_ns = now;
    atomic_store_explicit(&loop->watch.at_ns, now, memory_order_relaxed);
    loop->stamp = tr__stamp_of(now);
    tr__ring_stamp(&loop->ring, loop->stamp);
    /* Looked at before the inbox is taken: the answers that came before an end are in that. */
    bool ended = __builtin_expect(atomic_load_explicit(&loop->ended, memory_order_relaxed), 0) &&
                 atomic_exchange_explicit(&loop->ended, false, memory_order_acq_rel);
    inbox_take(loop);
    if (__builtin_expect(ended, 0))
        tr__far_ended(loop);
    blocks_collect(loop);
    bool stopping = __builtin_expect(tr__is_stopping(loop->node), 0) && tr__shutdown_step(loop);
    bool more = tr__fire_timers(loop);
    if (__builtin_expect(loop->retell != NULL, 0))
        tr__retell(loop);
    if (__builtin_expect(loop->want_budget != NULL, 0) && loop->now_ns >= loop->budget_look_ns)
        tr__budget_look(loop);
    if (loop->index == 0)
        tr__remote_step(loop->node->remote);
    tr__run_until(loop, loop->now_ns + TR__TURN_NS);
    if (loop->index == 0) {
        if (TR_BUGGIFY(batch_late))
            more = true;
        else
            tr__remote_flush(loop->node->remote);
        more |= tr__remote_has_news(loop->node->remote);
    }
    if (TR_BUGGIFY(outbox_late))
        close_records(loop), more = true;
    else
        flush(loop);
    return loop->had_more = more || loop->fresh || loop->queue || loop->retell || stopping ||
                            loop->stop_news || loop->tell_ended ||
                            atomic_load_explicit(&loop->ended, memory_order_relaxed) ||
                            atomic_load_explicit(&loop->inbox, memory_order_relaxed);
}

uint64_t tr__loop_next_due(const tr__loop *loop)
{
    uint64_t due = tr__wheel_next_due(&loop->wheel);
    if (loop->want_budget && loop->budget_look_ns < due)
        due = loop->budget_look_ns;
    return due < loop->stop_due_ns ? due : loop->stop_due_ns;
}

bool tr__loop_has_news(const tr__loop *loop)
{
    return atomic_load_explicit(&loop->inbox, memory_order_seq_cst) ||
           atomic_load_explicit(&loop->ended, memory_order_seq_cst) ||
           (loop->index == 0 && tr__remote_has_news(loop->node->remote));
}

bool tr__loop_others_work(const tr__loop *loop)
{
    const tr_node *node = loop->node;
    for (uint32_t i = 0; i < node->loop_count; i++)
        if (i != loop->index && !atomic_load_explicit(&node->loops[i]->sleeping, memory_order_relaxed))
            return true;
    return false;
}

bool tr__loop_may_sleep(tr__loop *loop)
{
    atomic_store_explicit(&loop->sleeping, true, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst); /* with the one of who brings news of connections */
    if (!tr__loop_has_news(loop) && !loop->fresh && !loop->queue && !loop->retell &&
        !TR_BUGGIFY(sleep_refused))
        return true;
    tr__loop_awake(loop);
    return false;
}

void tr__loop_awake(tr__loop *loop)
{
    atomic_store_explicit(&loop->sleeping, false, memory_order_relaxed);
}

void tr__loop_end_actors(tr__loop *loop)
{
    static const tr__reason shutdown = {.kind = TR_EXIT_SHUTDOWN, .text = "the node stops"};
    tr_node *node = loop->node;
    tr__shutdown_log_left(loop);
    loop->stopping = true;
    loop->fresh = loop->queue = NULL; /* nobody's turn comes any more */
    loop->queue_end = &loop->queue;
    uint32_t segments = atomic_load_explicit(&node->segment_count, memory_order_acquire);
    for (uint32_t i = segments * TR__SEGMENT_SLOTS; i-- > 0;) {
        tr_actor *actor = tr__slot(node, i);
        if (!actor || tr__owner(actor) != loop || actor->state == TR__ACTOR_FREE)
            continue;
        tr__watch_run(loop, actor);
        tr__watch_type(loop, NULL);
        if (!actor->fiber || !tr__fiber_end(loop, actor, &shutdown))
            tr__actor_finish(loop, actor, &shutdown);
    }
    atomic_store_explicit(&loop->watch.actor, NULL, memory_order_relaxed);
    tr__far_end(loop);
    flush(loop);
}

void tr__loop_end(tr__loop *loop)
{
    tr__budget_end(loop);
    tr_msg *msg = atomic_exchange_explicit(&loop->inbox, NULL, memory_order_acquire);
    while (msg) {
        tr_msg *next = msg->next;
        loop->counts.arrived += tr__msg_count(msg);
        tr__drop(loop, msg, TR_DROP_SHUTDOWN);
        msg = next;
    }
    flush(loop);
}
