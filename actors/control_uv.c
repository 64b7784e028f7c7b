/* The control thread. Now: the watchdog, which names an actor whose handler runs for longer than
 * TR__STUCK_NS, once a run. It reads what the loops publish in atomics and never stops them. */
#include <string.h>
#include <uv.h>

#include "actors/loop.h"
#include "actors/node_uv.h"
#include "base/err.h"
#include "base/mem.h"

#define LOOK_MS 10

static void name_stuck(tr__control *control, tr__loop *loop, uint32_t slot, uint64_t since)
{
    const tr_actor *actor = tr__slot(control->node, slot - 1);
    const tr_actor_def *def = actor ? __atomic_load_n(&actor->def, __ATOMIC_RELAXED) : NULL;
    const tr_typeinfo *type = atomic_load_explicit(&loop->watch.type, memory_order_relaxed);
    tr__node_log(control->node, TR_LOG_WARN,
                 "loop %u: actor %s (slot %u) has been handling %s for %llu ms; the loop's other actors "
                 "wait. Give long "
                 "work to the compute kind",
                 loop->index, def ? def->name : "?", slot - 1, type ? type->name : "its start",
                 (unsigned long long)((uv_hrtime() - since) / 1000000u));
}

static void look(uv_timer_t *timer)
{
    tr__control *control = timer->data;
    uint64_t now = uv_hrtime();
    for (uint32_t i = 0; i < control->node->loop_count; i++) {
        tr__loop *loop = control->node->loops[i];
        uint64_t runs = atomic_load_explicit(&loop->watch.runs, memory_order_relaxed);
        uint32_t slot = atomic_load_explicit(&loop->watch.slot, memory_order_relaxed);
        if (slot == 0 || runs != control->seen_runs[i]) {
            control->seen_runs[i] = runs;
            control->seen_since[i] = now;
        } else if (now - control->seen_since[i] >= TR__STUCK_NS && control->told[i] != runs) {
            control->told[i] = runs;
            name_stuck(control, loop, slot, control->seen_since[i]);
        }
    }
}

static void on_quit(uv_async_t *handle)
{
    tr__control *control = handle->data;
    uv_close((uv_handle_t *)&control->quit, NULL);
    uv_close((uv_handle_t *)&control->watchdog, NULL);
}

static void *thread_main(void *arg)
{
    tr__control *control = arg;
    uv_run(&control->uv, UV_RUN_DEFAULT);
    uv_loop_close(&control->uv);
    return NULL;
}

tr_err tr__control_start(tr__control *control, tr_node *node, tr_error *error)
{
    memset(control, 0, sizeof(*control));
    control->node = node;
    control->seen_runs = tr__zalloc(3 * node->loop_count * sizeof(uint64_t));
    if (!control->seen_runs)
        return tr__fail(error, TR_ENOMEM, "no memory for the control thread");
    control->seen_since = control->seen_runs + node->loop_count;
    control->told = control->seen_since + node->loop_count;
    if (uv_loop_init(&control->uv) != 0) {
        tr__free(control->seen_runs);
        return tr__fail(error, TR_EIO, "uv_loop_init failed: too many open files? (ulimit -n)");
    }
    uv_async_init(&control->uv, &control->quit, on_quit);
    uv_timer_init(&control->uv, &control->watchdog);
    control->quit.data = control->watchdog.data = control;
    uv_timer_start(&control->watchdog, look, LOOK_MS, LOOK_MS);
    if (pthread_create(&control->thread, NULL, thread_main, control) != 0) {
        on_quit(&control->quit);
        uv_run(&control->uv, UV_RUN_DEFAULT);
        uv_loop_close(&control->uv);
        tr__free(control->seen_runs);
        return tr__fail(error, TR_EAGAIN, "can't start the control thread");
    }
    control->started = true;
    return TR_OK;
}

void tr__control_stop(tr__control *control)
{
    if (!control->started)
        return;
    uv_async_send(&control->quit);
    pthread_join(control->thread, NULL);
    tr__free(control->seen_runs);
    control->started = false;
}
