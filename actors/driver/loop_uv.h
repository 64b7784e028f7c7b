/* A loop's driver: the uv loop under it, and how it turns, polls and sleeps. The loop's thread, but for tr__driver_wake. */
#ifndef TR_ACTORS_DRIVER_LOOP_UV_H
#define TR_ACTORS_DRIVER_LOOP_UV_H

#include <pthread.h>
#include <uv.h>

#include "actors/loop.h"
#include "base/backtrace_os.h"

typedef struct tr__driver {
    uv_loop_t uv;
    uv_async_t wake;
    uv_poll_t timer; /* a timerfd: uv's own timers know only milliseconds */
    int timer_fd;
    bool woken;        /* since the last turn began */
    int watch_fd;      /* an epoll of what actors watch (fd_watch_uv.c); -1: nothing yet */
    uv_poll_t watched; /* that one */
    uint64_t armed;    /* when the timer fires; TR__NEVER: it doesn't */
    uint64_t polled;   /* when uv had its turn last */
    bool abandoned;    /* something still runs on its uv loop */
    struct tr__driver *next_abandoned;
    tr__loop *loop;
    pthread_t thread;
    bool has_core;     /* there are as many cores as loops */
    bool threaded;     /* it turns on a thread, `thread` unless it is loop 0 */
    tr__traced traced; /* so that the control thread can look where the thread is */
} tr__driver;

/* TR_EIO: no more descriptors. */
tr_err tr__driver_open(tr__driver *d, tr__loop *loop, tr_error *error);
/* Its handles, those that kinds left too: what doesn't end within 3 s is abandoned, and the log says so. */
void tr__driver_close(tr__driver *d);
/* When nobody asks for its stack any more. What still runs on an abandoned one will look at it: that stays. */
void tr__driver_free(tr__driver *d);
/* Make it turn soon; any thread. */
static inline void tr__driver_wake(tr__driver *d)
{
    uv_async_send(&d->wake);
}
/* One turn, and uv its own if it is time for that. If then nothing is left to do, sleep until something is, or until
 * until_ns. */
void tr__driver_step(tr__driver *d, uint64_t until_ns);
/* A descriptor that is readable when a step has something to do. */
int tr__driver_fd(const tr__driver *d);
/* Before the descriptor is waited for: it becomes readable also when a timer is due, or if something is left to do. */
void tr__driver_arm(tr__driver *d);

#endif
