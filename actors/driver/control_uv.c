/* The control thread: a small uv loop of its own for what must go on while a handler is stuck.
 *
 * The watchdog (watchdog.h) names actors that hold their loop for too long. The connections: when something came for them (`wake`), or
 * when they are due, the endpoint takes its step. A handler that keeps the node from its end ends the process. Fails only at the start, with an error. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "actors/driver/fault_os.h"
#include "actors/driver/node_uv.h"
#include "actors/loop.h"
#include "actors/remote/remote.h"
#include "actors/supervision/shutdown.h"
#include "base/err.h"

#define LOOK_MS      10
#define SELDOM_MS    100 /* while nobody wants to know of less; of a budget it then hears so late, once */
#define STUCK_NS     TR_SECONDS(1) /* that a handler may still take when the node's end is due */
#define STATUS_STUCK 70            /* of the process then */

uint64_t tr__control_stuck(const tr__control *control, uint32_t index, char *text, size_t room)
{
    tr__holding held;
    uint64_t now = uv_hrtime();
    if (!tr__held_by(control->node, index, &held) || now < held.since_ns + TR__PATIENCE_NS)
        return 0;
    snprintf(text, room, "%s", held.what);
    return (now - held.since_ns) / 1000000u;
}

static const char *frame(void *context, uint32_t loop, uint32_t index)
{
    tr__control *control = context;
    if (index == 0)
        control->frame_count = tr__loop_backtrace(control->node, loop, control->frames, TR__FRAMES_MAX);
    if (index >= control->frame_count)
        return NULL;
    tr__frame_text(control->frames[index], index, control->frame_text, sizeof(control->frame_text));
    return strncmp(control->frame_text, "tr__run_until+", 14) == 0 ? NULL : control->frame_text;
}

/* ---- a handler that keeps the node from its end --------------------------------------------------------- */

/* When the node's loops should have begun to end their actors; TR__NEVER: it isn't asked to stop. */
static uint64_t end_due(tr__control *control, uint64_t now)
{
    const tr_node *node = control->node;
    if (!tr__is_stopping(node))
        return TR__NEVER;
    if (!control->stop_ns)
        control->stop_ns = now;
    if (!control->hurry_ns && atomic_load(&((tr_node *)node)->stop_at_once))
        control->hurry_ns = now;
    uint64_t most = node->opts.stop_timeout_ns ? node->opts.stop_timeout_ns : TR__STOP_NS;
    uint64_t due = most > TR__NEVER - control->stop_ns ? TR__NEVER : control->stop_ns + most;
    return control->hurry_ns && control->hurry_ns < due ? control->hurry_ns : due;
}

/* No step of an orderly end: it can't be had. */
static void end_process(tr__control *control, uint32_t index, const tr__holding *held)
{
    tr__watchdog_tell_end(&control->watch, index, held);
    tr__fault_stuck(control->node, control->node->loops[index], control->frames, control->frame_count);
    _exit(STATUS_STUCK);
}

/* One run of an actor, in whichever loop, that has been seen since the end was due and is there a second later. */
static void look_at_end(tr__control *control, uint64_t now)
{
    tr_node *node = control->node;
    tr__holding held;
    if (!node->opts.exit_if_stuck || now < end_due(control, now))
        return;
    for (uint32_t i = 0, all = tr__loops_all(node); i < all; i++) {
        bool holds = tr__held_by(node, i, &held);
        if (!holds || !control->held[i].since_ns || control->held[i].runs != held.runs) {
            control->held[i].runs = held.runs;
            control->held[i].since_ns = holds ? now : 0;
        } else if (now - control->held[i].since_ns >= STUCK_NS) {
            end_process(control, i, &held);
        }
    }
}

/* A process may have a thousand nodes, and each look wakes a thread. */
static uint64_t look_every_ms(const tr__control *control)
{
    tr_node *node = control->node;
    bool wanted = node->opts.watchdog_ns != TR_FOREVER || node->opts.overrun_ns ||
                  atomic_load_explicit(&node->budgeted, memory_order_relaxed);
    return wanted ? LOOK_MS : SELDOM_MS;
}

static void look(uv_timer_t *timer)
{
    tr__control *control = timer->data;
    uint64_t now = uv_hrtime();
    uv_timer_set_repeat(timer, look_every_ms(control));
    tr__watchdog_look(&control->watch, now);
    look_at_end(control, now);
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
    control->watch = (tr__watchdog){.node = node, .frame = frame, .context = control};
    if (uv_loop_init(&control->uv) != 0)
        return tr__fail(error, TR_EIO, "uv_loop_init failed: too many open files? (ulimit -n)");
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
    uv_timer_start(&control->watchdog, look, LOOK_MS, look_every_ms(control));
    uv_timer_start(&control->due, on_due, 0, 0);
    if (pthread_create(&control->thread, NULL, thread_main, control) != 0)
        return tr__fail(error, TR_EAGAIN, "can't start the control thread: see ulimit -u");
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
    control->opened = false;
}
