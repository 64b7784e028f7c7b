/* The control thread: a small uv loop of its own for what must go on while a handler is stuck.
 *
 * The watchdog names an actor whose handler runs for longer than TR__STUCK_NS, once a run; it reads what the
 * loops publish in atomics and never stops them. The connections: when something came for them (`wake`), or
 * when they are due, the endpoint takes its step. Fails only at the start, with an error. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "actors/loop.h"
#include "actors/node_uv.h"
#include "actors/remote.h"
#include "base/err.h"
#include "base/mem.h"

#define LOOK_MS 10

/* "actor NAME (slot N) has been handling TYPE"; what it reads is only looked at. */
static void describe(const tr__loop *loop, uint32_t slot, char *text, size_t room)
{
    const tr_actor_def *def = atomic_load_explicit(&((tr__loop *)loop)->watch.def, memory_order_relaxed);
    const tr_typeinfo *type = atomic_load_explicit(&((tr__loop *)loop)->watch.type, memory_order_relaxed);
    snprintf(text, room, "actor %s (slot %u) has been handling %s", def ? def->name : "?", slot - 1,
             type ? type->name : "its start");
}

static void name_stuck(tr__control *control, tr__loop *loop, uint32_t slot, uint64_t since)
{
    char what[256];
    describe(loop, slot, what, sizeof(what));
    tr__node_log(control->node, TR_LOG_WARN,
                 "loop %u: %s for %llu ms; the loop's other actors wait. Give long work to the compute kind",
                 loop->index, what, (unsigned long long)((uv_hrtime() - since) / 1000000u));
}

uint64_t tr__control_stuck(const tr__control *control, uint32_t index, char *text, size_t room)
{
    const tr__loop *loop = control->node->loops[index];
    uint64_t runs = atomic_load_explicit(&((tr__loop *)loop)->watch.runs, memory_order_relaxed);
    uint32_t slot = atomic_load_explicit(&((tr__loop *)loop)->watch.slot, memory_order_relaxed);
    if (slot == 0 || runs != control->seen_runs[index])
        return 0;
    describe(loop, slot, text, room);
    return (uv_hrtime() - control->seen_since[index]) / 1000000u;
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

/* ---- connections --------------------------------------------------------------------------------------- */

static void on_due(uv_timer_t *timer);

static void step_connections(tr__control *control)
{
    struct tr__remote *remote = control->node->remote;
    tr__remote_control_step(remote, uv_hrtime());
    uint64_t due = tr__remote_control_due(remote), now = uv_hrtime();
    if (due == TR__NEVER) {
        uv_timer_stop(&control->due);
        return;
    }
    uv_update_time(
        &control->uv); /* the timer counts from there; ms, rounded up so that it never fires early */
    uv_timer_start(&control->due, on_due, due > now ? (due - now + 999999u) / 1000000u : 0, 0);
}

static void on_due(uv_timer_t *timer)
{
    step_connections(timer->data);
}

static void on_wake(uv_async_t *handle)
{
    step_connections(handle->data);
}

/* ---- its life ------------------------------------------------------------------------------------------ */

static void on_quit(uv_async_t *handle)
{
    tr__control *control = handle->data;
    uv_stop(&control->uv);
}

static void *thread_main(void *arg)
{
    tr__control *control = arg;
    uv_run(&control->uv, UV_RUN_DEFAULT);
    return NULL;
}

tr_err tr__control_open(tr__control *control, tr_node *node, tr_error *error)
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
    uv_async_init(&control->uv, &control->wake, on_wake);
    uv_timer_init(&control->uv, &control->watchdog);
    uv_timer_init(&control->uv, &control->due);
    control->quit.data = control->wake.data = control->watchdog.data = control->due.data = control;
    control->opened = true;
    return TR_OK;
}

tr_err tr__control_start(tr__control *control, tr_error *error)
{
    uv_timer_start(&control->watchdog, look, LOOK_MS, LOOK_MS);
    uv_timer_start(&control->due, on_due, 0, 0);
    if (pthread_create(&control->thread, NULL, thread_main, control) != 0)
        return tr__fail(error, TR_EAGAIN, "can't start the control thread");
    control->started = true;
    return TR_OK;
}

void tr__control_stop(tr__control *control)
{
    if (!control->started)
        return;
    uv_async_send(&control->quit);
    pthread_join(control->thread, NULL);
    control->started = false;
}

void tr__control_close(tr__control *control)
{
    if (!control->opened)
        return;
    uv_close((uv_handle_t *)&control->quit, NULL);
    uv_close((uv_handle_t *)&control->wake, NULL);
    uv_close((uv_handle_t *)&control->watchdog, NULL);
    uv_close((uv_handle_t *)&control->due, NULL);
    tr__operator_socket_close(control);
    uv_run(&control->uv, UV_RUN_DEFAULT);
    uv_loop_close(&control->uv);
    tr__operator_socket_free(control);
    tr__free(control->seen_runs);
    control->opened = false;
}
