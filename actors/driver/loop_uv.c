/* See loop_uv.h. A turn; then uv_run(NOWAIT), which costs 222 ns, every POLL_NS while there is work; with none, say that the
 * loop sleeps, arm the timer for the wheel, and sleep in uv_run(ONCE). Who sends to a sleeping loop wakes it by
 * uv_async_send. While other loops work it looks out for their news first, LINGER_NS long: two loops that answer each other
 * would else sleep and be woken for each message, which takes 20 us each time. */
#include "actors/driver/loop_uv.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/spin.h"

#define POLL_NS   TR_MICROS(50)
#define LINGER_NS TR_MICROS(20)
#define CLOSE_NS  TR_SECONDS(3) /* what is left to close after the last actor has this long */

static void on_wake(uv_async_t *handle)
{
    ((tr__driver *)handle->data)->woken = true; /* what for, the turn finds */
}

static void on_timer(uv_poll_t *handle, int status, int events)
{
    tr__driver *d = handle->data;
    uint64_t count;
    (void)status;
    (void)events;
    if (read(d->timer_fd, &count, sizeof(count)) > 0)
        d->armed = TR__NEVER;
}

tr_err tr__driver_open(tr__driver *d, tr__loop *loop, tr_error *error)
{
    d->loop = loop;
    d->watch_fd = -1;
    d->armed = TR__NEVER;
    d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (d->timer_fd < 0)
        return tr__fail(error, TR_EIO, "timerfd_create failed: too many open files? (ulimit -n)");
    if (!tr__traced_init(&d->traced) || uv_loop_init(&d->uv) != 0) {
        tr__traced_fini(&d->traced);
        close(d->timer_fd);
        return tr__fail(error, TR_EIO, "uv_loop_init failed: too many open files? (ulimit -n)");
    }
    uv_async_init(&d->uv, &d->wake, on_wake);
    uv_poll_init(&d->uv, &d->timer, d->timer_fd);
    d->timer.data = d->wake.data = d;
    uv_poll_start(&d->timer, UV_READABLE, on_timer);
    loop->driver = &d->uv;
    d->has_core =
        loop->index < loop->node->loop_count && loop->node->loop_count <= uv_available_parallelism();
    return TR_OK;
}

void tr__driver_close(tr__driver *d)
{
    uv_close((uv_handle_t *)&d->wake, NULL);
    uv_close((uv_handle_t *)&d->timer, NULL);
    if (d->watch_fd >= 0)
        uv_close((uv_handle_t *)&d->watched, NULL);
    /* What the kinds left (a child being reaped, a file being closed) gets its callbacks, for a bounded time. */
    uint64_t until = uv_hrtime() + CLOSE_NS;
    while (uv_run(&d->uv, UV_RUN_NOWAIT) && uv_hrtime() < until)
        uv_sleep(1);
    d->abandoned = uv_loop_close(&d->uv) != 0;
    if (d->abandoned)
        tr__node_log(d->loop->node, TR_LOG_WARN, "loop %u: something still runs after %d s; it is abandoned",
                     d->loop->index, (int)(CLOSE_NS / 1000000000u));
    close(d->timer_fd);
    if (d->watch_fd >= 0)
        close(d->watch_fd);
}

void tr__driver_free(tr__driver *d)
{
    static _Atomic(tr__driver *) all_abandoned; /* for who looks for leaks */
    tr__traced_fini(&d->traced);
    if (!d->abandoned) {
        tr__free(d);
        return;
    }
    d->next_abandoned = atomic_load(&all_abandoned);
    while (!atomic_compare_exchange_weak(&all_abandoned, &d->next_abandoned, d))
        ;
}

/* ---- turning ------------------------------------------------------------------------------------------- */

static void arm(tr__driver *d, uint64_t due)
{
    if (due == d->armed)
        return;
    d->armed = due;
    struct itimerspec spec = {0};
    if (due != TR__NEVER) {
        if (due == 0)
            due = 1; /* 0 would disarm */
        spec.it_value.tv_sec = (time_t)(due / 1000000000u);
        spec.it_value.tv_nsec = (long)(due % 1000000000u);
    }
    timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* Whether news comes before it sleeps; only where each loop has a core. */
static bool lingers(tr__driver *d)
{
    if (!d->has_core)
        return false;
    for (uint64_t until = uv_hrtime() + LINGER_NS; tr__loop_others_work(d->loop) && uv_hrtime() < until;) {
        for (int i = 0; i < 32; i++)
            tr__spin_pause();
        if (tr__loop_has_news(d->loop))
            return true;
    }
    return false;
}

static void sleep_until_woken(tr__driver *d, uint64_t until_ns)
{
    if (until_ns == 0) {
        uv_run(&d->uv, UV_RUN_NOWAIT);
        return;
    }
    if (lingers(d) || !tr__loop_may_sleep(d->loop))
        return;
    uint64_t due = tr__loop_next_due(d->loop);
    arm(d, due < until_ns ? due : until_ns);
    uv_run(&d->uv, UV_RUN_ONCE);
    tr__loop_awake(d->loop);
}

void tr__driver_step(tr__driver *d, uint64_t until_ns)
{
    d->woken = false;
    bool more = tr__loop_turn(d->loop);
    if (!more) {
        sleep_until_woken(d, until_ns);
        return;
    }
    uint64_t at = uv_hrtime();
    if (at - d->polled >= POLL_NS) {
        d->polled = at;
        uv_run(&d->uv, UV_RUN_NOWAIT);
    }
}

/* ---- in a program's own main loop ---------------------------------------------------------------------- */

int tr__driver_fd(const tr__driver *d)
{
    return uv_backend_fd(&d->uv);
}

void tr__driver_arm(tr__driver *d)
{
    int timeout_ms =
        uv_backend_timeout(&d->uv); /* of uv's own timers, which the descriptor doesn't tell of */
    uint64_t due = 0;
    if (!d->woken && !d->loop->had_more && timeout_ms != 0 && tr__loop_may_sleep(d->loop)) {
        due = tr__loop_next_due(d->loop);
        uint64_t uv_due = timeout_ms < 0 ? TR__NEVER : uv_hrtime() + (uint64_t)timeout_ms * 1000000u;
        due = uv_due < due ? uv_due : due;
    }
    arm(d, due);
}
