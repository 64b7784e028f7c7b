/* The control thread: a small uv loop of its own for what must go on while a handler is stuck.
 *
 * The watchdog (watchdog.h) names actors that hold their loop for too long. The connections: when something came for them (`wake`), or
 * when they are due, the endpoint takes its step. Fails only at the start, with an error. */
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "actors/loop.h"
#include "actors/node_uv.h"
#include "actors/remote.h"
#include "base/err.h"

#define LOOK_MS 10

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

static void look(uv_timer_t *timer)
{
    tr__control *control = timer->data;
    tr__watchdog_look(&control->watch, uv_hrtime());
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
    control->opened = false;
}
