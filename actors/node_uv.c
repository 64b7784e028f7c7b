/* The real driver: one thread and one uv loop for each loop of the node, and one more, the control thread,
 * for what must go on while a handler is stuck (connections, the watchdog).
 *
 * A loop's thread: turn; then uv_run(NOWAIT), which costs 222 ns, every POLL_NS while there is work; with
 * none, say that the loop sleeps, arm the timer for the wheel, and sleep in uv_run(ONCE). Who sends to a
 * sleeping loop wakes it by uv_async_send. Fails only at the start, with an error. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

#include "actors/kinds_uv.h"
#include "actors/loop.h"
#include "actors/node_uv.h"
#include "actors/remote.h"
#include "actors/shutdown.h"
#include "actors/stack_fault_os.h"
#include "actors/transactions.h"
#include "base/backtrace_os.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/memory_limit_os.h"
#include "base/signals_os.h"
#include "transport/key_os.h"
#include "transport/nng_stream.h"
#include "transport/psk.h"

#define POLL_NS      TR_MICROS(50)
#define CLOSE_NS     TR_SECONDS(3) /* what is left to close after the last actor has this long */
#define BACKTRACE_MS 100           /* within which a loop's thread takes a signal, if it does at all */

typedef struct driver {
    uv_loop_t uv;
    uv_async_t wake;
    uv_poll_t timer; /* a timerfd: uv's own timers know only milliseconds */
    int timer_fd;
    uint64_t armed; /* when the timer fires; TR__NEVER: it doesn't */
    tr__loop *loop;
    pthread_t thread;
    tr__traced traced; /* so that the control thread can look where the thread is */
} driver;

struct tr__driver_uv {
    tr_node *node;
    uint32_t count;
    driver *loops;
    tr__control control;
    _Atomic uint32_t parties;  /* loops that have a thread */
    _Atomic uint32_t met[3];   /* how many have come to each step of the end */
    _Atomic uint32_t stopping; /* calls of tr_node_stop that may still wake loops: these close after them */
    char raise_at[32];         /* tests: the point of transactions at which a signal is raised */
    int raise_signal;
    _Atomic uint32_t raise_left; /* how often it comes to it until then; 0: nothing is raised */
};

static uint64_t now(void *context)
{
    (void)context;
    return uv_hrtime();
}

static void wake(void *context, unsigned index)
{
    struct tr__driver_uv *all = context;
    uv_async_send(&all->loops[index].wake);
}

static void wake_control(void *context)
{
    uv_async_send(&((struct tr__driver_uv *)context)->control.wake);
}

static uint64_t wall_ms(void *context)
{
    struct timespec at;
    (void)context;
    clock_gettime(CLOCK_REALTIME, &at);
    return (uint64_t)at.tv_sec * 1000u + (uint64_t)at.tv_nsec / 1000000u;
}

static struct tr__log_store *open_log(void *context, const char *directory, const char *node,
                                      void (*wake_owner)(void *context), void *wake_context, tr_error *error)
{
    (void)context;
    return tr__data_open_log(directory, node, wake_owner, wake_context, error);
}

static void raise_at(struct tr__driver_uv *all, const char *name, size_t length, uint32_t times, int number)
{
    snprintf(all->raise_at, sizeof(all->raise_at), "%.*s", (int)length, name);
    all->raise_signal = number;
    atomic_store_explicit(&all->raise_left, times, memory_order_release);
}

void tr__node_raise_at(tr_node *node, const char *name, int number)
{
    raise_at(node->driver, name, strlen(name), 1, number);
}

/* A test's tool: TROUPE_TX_KILL=commit-forced (or commit-forced:3, the third time) kills the process there. */
static void read_kill_point(struct tr__driver_uv *all)
{
    const char *wanted = getenv("TROUPE_TX_KILL");
    const char *colon = wanted ? strchr(wanted, ':') : NULL;
    if (wanted)
        raise_at(all, wanted, colon ? (size_t)(colon - wanted) : strlen(wanted),
                 colon ? (uint32_t)atoi(colon + 1) : 1, SIGKILL);
}

static void point(void *context, const char *name)
{
    struct tr__driver_uv *all = context;
    /* acquire: pairs with raise_at's release, so the name is there */
    uint32_t left = atomic_load_explicit(&all->raise_left, memory_order_acquire);
    if (left == 0 || strcmp(name, all->raise_at) != 0)
        return;
    atomic_store_explicit(&all->raise_left, left - 1, memory_order_relaxed);
    if (left == 1)
        raise(all->raise_signal);
}

/* Without a step of an orderly end: any could say more than is known to be on the disk. */
static void fatal(void *context)
{
    (void)context;
    _exit(70);
}

static void on_wake(uv_async_t *handle)
{
    (void)handle; /* what woke us is in the inbox; the turn takes it */
}

static void on_timer(uv_poll_t *handle, int status, int events)
{
    driver *d = handle->data;
    uint64_t count;
    (void)status;
    (void)events;
    if (read(d->timer_fd, &count, sizeof(count)) > 0)
        d->armed = TR__NEVER;
}

static tr_err driver_open(driver *d, tr__loop *loop, tr_error *error)
{
    d->loop = loop;
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
    d->timer.data = d;
    uv_poll_start(&d->timer, UV_READABLE, on_timer);
    loop->driver = &d->uv;
    return TR_OK;
}

static void driver_close(driver *d)
{
    uv_close((uv_handle_t *)&d->wake, NULL);
    uv_close((uv_handle_t *)&d->timer, NULL);
    /* What the kinds left (a child being reaped, a file being closed) gets its callbacks, for a bounded time.
     */
    uint64_t until = uv_hrtime() + CLOSE_NS;
    while (uv_run(&d->uv, UV_RUN_NOWAIT) && uv_hrtime() < until)
        uv_sleep(1);
    if (uv_loop_close(&d->uv) != 0)
        tr__node_log(d->loop->node, TR_LOG_WARN, "loop %u: something still runs after %d s; it is abandoned",
                     d->loop->index, (int)(CLOSE_NS / 1000000000u));
    close(d->timer_fd);
}

/* ---- a loop's thread ----------------------------------------------------------------------------------- */

static void arm(driver *d, uint64_t due)
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

static void sleep_until_woken(driver *d)
{
    if (!tr__loop_may_sleep(d->loop))
        return;
    uint64_t due = tr__loop_next_due(d->loop);
    arm(d, due);
    uv_run(&d->uv, UV_RUN_ONCE);
    tr__loop_awake(d->loop);
}

static void pump(driver *d)
{
    tr_node *node = d->loop->node;
    uint64_t polled = 0;
    while (!tr__is_over(node)) {
        bool more = tr__loop_turn(d->loop);
        if (!more) {
            sleep_until_woken(d);
            continue;
        }
        uint64_t at = uv_hrtime();
        if (at - polled >= POLL_NS) {
            polled = at;
            uv_run(&d->uv, UV_RUN_NOWAIT);
        }
    }
}

/* What was sent is delivered, as far as the peers take it within the connections' own bound. */
static void say_goodbye(struct tr__driver_uv *all)
{
    tr_node *node = all->node;
    tr__remote_close(node->remote);
    while (!tr__remote_is_closed(node->remote)) {
        if (!all->control.started) /* its thread couldn't be had */
            tr__remote_control_step(node->remote, uv_hrtime());
        tr__remote_step(node->remote);
        tr__remote_flush(node->remote);
        uv_sleep(1);
    }
}

/* All loops have done their step of the end. */
static void meet(struct tr__driver_uv *all, int step)
{
    atomic_fetch_add(&all->met[step], 1);
    while (atomic_load(&all->met[step]) < atomic_load(&all->parties))
        uv_sleep(1);
}

/* In order: every loop stops turning, then each ends its own actors, then drops what the others' ends still
 * sent, then closes. None goes ahead: an actor could be on its way to a loop that has looked for its actors
 * already. */
static void loop_run(struct tr__driver_uv *all, driver *d)
{
    tr__traced_enter(&d->traced);
    tr__stack_fault_loop(d->loop);
    pump(d);
    if (d->loop->index == 0)
        tr__operator_socket_shut(&all->control);
    meet(all, 0);
    tr__loop_end_actors(d->loop);
    meet(all, 1);
    tr__loop_end(d->loop);
    meet(all, 2);
    if (d->loop->index == 0)
        say_goodbye(all);
    while (atomic_load(&all->stopping))
        uv_sleep(1);
    driver_close(d);
    tr__stack_fault_loop(NULL);
    tr__traced_leave(&d->traced);
}

typedef struct thread_arg {
    struct tr__driver_uv *all;
    driver *driver;
} thread_arg;

static void *thread_main(void *arg)
{
    thread_arg a = *(thread_arg *)arg;
    tr__free(arg);
    loop_run(a.all, a.driver);
    return NULL;
}

static tr_err threads_start(struct tr__driver_uv *all, tr_error *error)
{
    for (uint32_t i = 1; i < all->count; i++) {
        thread_arg *arg = tr__alloc(sizeof(*arg));
        if (arg)
            *arg = (thread_arg){all, &all->loops[i]};
        if (!arg || pthread_create(&all->loops[i].thread, NULL, thread_main, arg) != 0) {
            tr__free(arg);
            atomic_store(&all->parties, i);
            return tr__fail(error, TR_EAGAIN, "can't start a thread for loop %u: lower --loops", i);
        }
    }
    return TR_OK;
}

/* ---- a node's life ------------------------------------------------------------------------------------- */

static uint64_t os_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = uv_hrtime() ^ (uint64_t)uv_os_getpid() << 32;
    return seed;
}

/* When nobody asks any more. */
static void drivers_free(struct tr__driver_uv *all, uint32_t opened)
{
    for (uint32_t i = 0; i < opened; i++)
        tr__traced_fini(&all->loops[i].traced);
    tr__free(all->loops);
    tr__free(all);
}

static void all_free(struct tr__driver_uv *all, uint32_t opened)
{
    tr__control_close(&all->control);
    for (uint32_t i = 0; i < opened; i++)
        driver_close(&all->loops[i]);
    drivers_free(all, opened);
}

size_t tr__loop_backtrace(tr_node *node, uint32_t loop, void **frames, size_t room)
{
    return tr__traced_take(&node->driver->loops[loop].traced, BACKTRACE_MS, frames, room);
}

tr_node *tr_node_create(const tr_node_opts *opts, tr_error *error)
{
    uint32_t count = opts->loops ? opts->loops : 1, opened = 0;
    if (count > TR__LOOPS_MAX)
        count = 1; /* tr__node_make refuses it */
    struct tr__driver_uv *all = tr__zalloc(sizeof(*all));
    if (!all || !(all->loops = tr__zalloc(count * sizeof(*all->loops)))) {
        tr__free(all);
        tr__fail(error, TR_ENOMEM, "no memory for a node");
        return NULL;
    }
    read_kill_point(all);
    tr__seams seams = {.now = now,
                       .wake = wake,
                       .wake_control = wake_control,
                       .wall_ms = wall_ms,
                       .open_log = open_log,
                       .point = point,
                       .fatal = fatal,
                       .context = all,
                       .net = tr__nng_net(),
                       .seed = os_seed(),
                       .secret = tr__key_secret,
                       .kinds = {.process = &tr__process_uv,
                                 .workers = &tr__workers_uv,
                                 .http = &tr__http_curl,
                                 .files = &tr__file_sink_uv,
                                 .tcp = &tr__tcp_uv}};
    uint8_t key[TR__KEY_SIZE];
    tr_node_opts own = *opts;
    if (!own.message_budget)
        own.message_budget = tr__memory_limit() / 4;
    tr_node *node = tr__node_make(&own, &seams, error);
    while (node && opened < count && driver_open(&all->loops[opened], node->loops[opened], error) == TR_OK)
        opened++;
    if (!node || opened < count || tr__control_open(&all->control, node, error) != TR_OK) {
        all_free(all, opened);
        tr__node_unmake(node);
        return NULL;
    }
    all->node = node;
    all->count = count;
    node->driver = all;
    node->key = opts->key ? key : NULL;
    tr_err err = opts->key ? tr__key_read(opts->key, key, error) : TR_OK;
    if (err == TR_OK && opts->operator_socket)
        tr__operator_socket_open(&all->control);
    sigset_t before = tr__signals_block(); /* nng starts its threads at the first use */
    if (err == TR_OK)
        err = tr__node_begin(node, error);
    tr__signals_restore(before);
    node->key = NULL;
    tr__wipe(key, sizeof(key));
    if (err != TR_OK) {
        tr_node_destroy(node);
        return NULL;
    }
    return node;
}

tr_err tr_node_run(tr_node *node, tr_error *error)
{
    struct tr__driver_uv *all = node->driver;
    atomic_store(&all->parties, all->count);
    sigset_t before = tr__signals_block();
    tr_err err = tr__control_start(&all->control, error);
    if (err == TR_OK)
        err = threads_start(all, error);
    else
        atomic_store(&all->parties, 1);
    tr__signals_restore(before);
    if (err != TR_OK)
        tr_node_stop_now(node); /* a loop may have no thread */
    loop_run(all, &all->loops[0]);
    uint32_t started = atomic_load(&all->parties);
    for (uint32_t i = 1; i < started; i++)
        pthread_join(all->loops[i].thread, NULL);
    for (uint32_t i = started; i < all->count; i++) { /* those that got no thread */
        tr__loop_end_actors(node->loops[i]);
        tr__loop_end(node->loops[i]);
        driver_close(&all->loops[i]);
    }
    tr__control_stop(&all->control);
    node->ran = true;
    if (err == TR_OK && node->outcome != TR_OK) {
        err = node->outcome;
        if (error)
            *error = node->outcome_error;
    }
    return err;
}

/* Async-signal-safe: atomics and uv_async_send, which is a write to a pipe. The loops don't close before `stopping` is 0
 * again: uv_async_send to a closed loop aborts the process. They have closed only after it was over. */
static void stop(tr_node *node)
{
    struct tr__driver_uv *all = node->driver;
    if (!all) { /* a test drives it */
        atomic_store(&node->stop_asked, true);
        node->seams.wake(node->seams.context, 0);
        return;
    }
    atomic_fetch_add(&all->stopping, 1);
    atomic_store(&node->stop_asked, true);
    if (!tr__is_over(node))
        for (uint32_t i = 0; i < all->count; i++)
            uv_async_send(&all->loops[i].wake);
    atomic_fetch_sub(&all->stopping, 1);
}

void tr_node_stop(tr_node *node)
{
    if (!tr__is_stopping(node))
        stop(node);
}

void tr_node_stop_now(tr_node *node)
{
    atomic_store(&node->stop_at_once, true);
    stop(node);
}

void tr_node_destroy(tr_node *node)
{
    if (!node)
        return;
    struct tr__driver_uv *all = node->driver;
    tr__remote_free(node); /* from here on nobody is woken */
    tr__control_close(&all->control);
    if (!node->ran) {
        for (uint32_t i = 0; i < all->count; i++)
            tr__loop_end_actors(node->loops[i]);
        for (uint32_t i = 0; i < all->count; i++)
            tr__loop_end(node->loops[i]);
        for (uint32_t i = 0; i < all->count; i++)
            driver_close(&all->loops[i]);
    }
    drivers_free(all, all->count);
    tr__node_unmake(node);
}
