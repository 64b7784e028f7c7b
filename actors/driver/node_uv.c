/* The real driver: one thread and one uv loop for each loop of the node, and one more, the control thread,
 * for what must go on while a handler is stuck (connections, the watchdog).
 *
 * Threads: those of the loops from tr_node_start on (loop 0's is the caller's), those of own-thread actors when the first
 * one needs it (start_loop); all end together in tr_node_finish. How a loop turns and sleeps: loop_uv.h. Fails only at the
 * start, with an error. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "actors/driver/fault_os.h"
#include "actors/driver/kinds_uv.h"
#include "actors/driver/loop_uv.h"
#include "actors/driver/node_uv.h"
#include "actors/loop.h"
#include "actors/remote/remote.h"
#include "actors/remote/rights_file_os.h"
#include "actors/remote/spool.h"
#include "actors/supervision/shutdown.h"
#include "actors/transactions.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/memory_limit_os.h"
#include "base/signals_os.h"
#include "transport/key_os.h"
#include "transport/nng_start.h"
#include "transport/nng_stream.h"
#include "transport/psk.h"

#define BACKTRACE_MS 100 /* within which a loop's thread takes a signal, if it does at all */
#define STACK_LEAST  (256u << 10)

struct tr__driver_uv {
    tr_node *node;
    uint32_t base;                    /* of the loops that actors are spread over */
    _Atomic uint32_t count;           /* with those of own threads */
    tr__driver *loops[TR__LOOPS_MAX]; /* those up to count */
    tr__control control;
    _Atomic uint32_t parties;     /* loops that have a thread */
    _Atomic uint32_t met[3];      /* how many have come to each step of the end */
    pthread_mutex_t threads_lock; /* who makes a loop with a thread of its own */
    _Atomic uint32_t stopping; /* calls of tr_node_stop that may still wake loops: these close after them */
    char raise_at[32];         /* tests: the point of transactions at which a signal is raised */
    int raise_signal;
    uint32_t raise_us;           /* so long after it */
    tr__rights_file *rights;     /* what peers may do, from a file; NULL: there is none */
    _Atomic uint32_t raise_left; /* how often it comes to it until then; 0: nothing is raised */
};

static uint64_t now(void *context)
{
    (void)context;
    return uv_hrtime();
}

static uint64_t now_coarse(void *context)
{
    (void)context;
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &at); /* can't fail with a clock that exists */
    return (uint64_t)at.tv_sec * TR_SECONDS(1) + (uint64_t)at.tv_nsec;
}

static void wake(void *context, unsigned index)
{
    struct tr__driver_uv *all = context;
    tr__driver_wake(all->loops[index]);
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

static void raise_at(struct tr__driver_uv *all, const char *name, size_t length, uint32_t times, uint32_t us,
                     int number)
{
    snprintf(all->raise_at, sizeof(all->raise_at), "%.*s", (int)length, name);
    all->raise_signal = number;
    all->raise_us = us;
    atomic_store_explicit(&all->raise_left, times, memory_order_release);
}

void tr__node_raise_at(tr_node *node, const char *name, int number)
{
    raise_at(node->driver, name, strlen(name), 1, 0, number);
}

/* A test's tool: TROUPE_TX_KILL=commit-forced (or commit-forced:3, the third time, or commit-forced:3:500, 500 us after
 * that) kills the process there. */
static void read_kill_point(struct tr__driver_uv *all)
{
    const char *wanted = getenv("TROUPE_TX_KILL");
    const char *colon = wanted ? strchr(wanted, ':') : NULL, *later = colon ? strchr(colon + 1, ':') : NULL;
    if (wanted)
        raise_at(all, wanted, colon ? (size_t)(colon - wanted) : strlen(wanted),
                 colon ? (uint32_t)atoi(colon + 1) : 1, later ? (uint32_t)atoi(later + 1) : 0, SIGKILL);
}

/* By the kernel, whatever this process does until then. */
static void raise_later(int number, uint32_t us)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    struct itimerspec in = {.it_value = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000}};
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &in, NULL) != 0)
        raise(number);
}

static void point(void *context, const char *name)
{
    struct tr__driver_uv *all = context;
    /* acquire: pairs with raise_at's release, so the name is there */
    uint32_t left = atomic_load_explicit(&all->raise_left, memory_order_acquire);
    if (left == 0 || strcmp(name, all->raise_at) != 0)
        return;
    atomic_store_explicit(&all->raise_left, left - 1, memory_order_relaxed);
    if (left == 1 && all->raise_us)
        raise_later(all->raise_signal, all->raise_us);
    else if (left == 1)
        raise(all->raise_signal);
}

/* Without a step of an orderly end: any could say more than is known to be on the disk. */
static void fatal(void *context)
{
    (void)context;
    _exit(70);
}

/* ---- the end of a loop's thread ------------------------------------------------------------------------ */

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
static void loop_finish(struct tr__driver_uv *all, tr__driver *d)
{
    if (d->loop->index == 0)
        tr__operator_socket_shut(&all->control);
    meet(all, 0);
    tr__loop_end_actors(d->loop);
    meet(all, 1);
    while (!tr__posts_over(all->node))
        uv_sleep(1);
    tr__loop_end(d->loop);
    meet(all, 2);
    if (d->loop->index == 0)
        say_goodbye(all);
    while (atomic_load(&all->stopping))
        uv_sleep(1);
    tr__driver_close(d);
    tr__fault_loop(NULL);
    tr__traced_leave(&d->traced);
}

/* ---- threads ------------------------------------------------------------------------------------------- */

typedef struct thread_arg {
    struct tr__driver_uv *all;
    tr__driver *driver;
} thread_arg;

static void *thread_main(void *arg)
{
    thread_arg a = *(thread_arg *)arg;
    tr__free(arg);
    tr__traced_enter(&a.driver->traced);
    tr__fault_loop(a.driver->loop);
    while (!tr__is_over(a.all->node))
        tr__driver_step(a.driver, TR__NEVER);
    loop_finish(a.all, a.driver);
    return NULL;
}

static tr_err thread_start(struct tr__driver_uv *all, tr__driver *d, tr_error *error)
{
    thread_arg *arg = tr__alloc(sizeof(*arg));
    if (arg)
        *arg = (thread_arg){all, d};
    atomic_fetch_add(&all->parties, 1);
    sigset_t before = tr__signals_block();
    d->threaded = arg && pthread_create(&d->thread, NULL, thread_main, arg) == 0;
    tr__signals_restore(before);
    if (d->threaded)
        return TR_OK;
    atomic_fetch_sub(&all->parties, 1);
    tr__free(arg);
    return tr__fail(error, TR_EAGAIN, "can't start a thread for loop %u: see ulimit -u, or lower --loops",
                    d->loop->index);
}

static tr_err driver_add(struct tr__driver_uv *all, tr__loop *loop, tr_error *error)
{
    tr__driver *d = tr__zalloc(sizeof(*d));
    if (!d)
        return tr__fail(error, TR_ENOMEM, "no memory for loop %u", loop->index);
    tr_err err = tr__driver_open(d, loop, error);
    if (err != TR_OK) {
        tr__free(d);
        return err;
    }
    all->loops[loop->index] = d;
    /* Like what follows seq_cst: tr_node_stop sees it in the count, or its thread sees stop_asked. */
    atomic_fetch_add(&all->count, 1);
    return TR_OK;
}

/* The last one, which has no thread. Who began to stop the node before the count went down may be about to wake it. */
static void driver_drop(struct tr__driver_uv *all)
{
    uint32_t last = atomic_fetch_sub(&all->count, 1) - 1;
    while (atomic_load(&all->stopping))
        uv_sleep(1);
    tr__driver_close(all->loops[last]);
    tr__driver_free(all->loops[last]);
}

static void lock_threads(void *context, bool take)
{
    struct tr__driver_uv *all = context;
    if (take)
        pthread_mutex_lock(&all->threads_lock);
    else
        pthread_mutex_unlock(&all->threads_lock);
}

/* While loops turn: none of them has met the others yet, so this one will be waited for. */
static tr_err start_loop(void *context, unsigned index, tr_error *error)
{
    struct tr__driver_uv *all = context;
    TR_TRY(driver_add(all, all->node->loops[index], error));
    tr_err err = thread_start(all, all->loops[index], error);
    if (err != TR_OK)
        driver_drop(all);
    return err;
}

/* ---- a node's life ------------------------------------------------------------------------------------- */

static uint64_t os_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
        seed = uv_hrtime() ^ (uint64_t)uv_os_getpid() << 32;
    return seed;
}

/* A process's first node brings the key of its tables. */
static void key_tables(void)
{
    uint64_t key[2] = {os_seed(), os_seed()};
    tr__hash_key((const uint8_t *)key);
}

/* When nobody asks for stacks any more. */
static void all_free(struct tr__driver_uv *all)
{
    for (uint32_t i = 0; i < all->count; i++)
        tr__driver_free(all->loops[i]);
    tr__rights_file_free(all->rights);
    pthread_mutex_destroy(&all->threads_lock);
    tr__free(all);
}

size_t tr__loop_backtrace(tr_node *node, uint32_t loop, void **frames, size_t room)
{
    return tr__traced_take(&node->driver->loops[loop]->traced, BACKTRACE_MS, frames, room);
}

static tr__seams seams_of(struct tr__driver_uv *all)
{
    return (tr__seams){.now = now,
                       .now_coarse = now_coarse,
                       .lock_threads = lock_threads,
                       .start_loop = start_loop,
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
                       .spool = &tr__spool_os,
                       .kinds = {.process = &tr__process_uv,
                                 .workers = &tr__workers_uv,
                                 .http = &tr__http_curl,
                                 .files = &tr__file_sink_uv,
                                 .tcp = &tr__tcp_uv,
                                 .fds = &tr__fds_uv,
                                 .sp = &tr__sp_nng}};
}

/* The node with its loops' drivers and the control thread's, none running. */
static tr_node *assemble(struct tr__driver_uv *all, const tr_node_opts *opts, tr_error *error)
{
    static pthread_once_t keyed = PTHREAD_ONCE_INIT;
    pthread_once(&keyed, key_tables);
    tr__seams seams = seams_of(all);
    tr_node *node = all->node = tr__node_make(opts, &seams, error);
    tr_err err = node ? TR_OK : error->code;
    for (uint32_t i = 0; err == TR_OK && i < node->loop_count; i++)
        err = driver_add(all, node->loops[i], error);
    if (err == TR_OK)
        err = tr__control_open(&all->control, node, error);
    if (err == TR_OK) {
        all->base = node->loop_count;
        return node;
    }
    while (all->count)
        driver_drop(all);
    tr__node_unmake(node);
    return NULL;
}

/* Those of the file, if there is one. */
static tr_err read_rights(struct tr__driver_uv *all, tr_node_opts *own, tr_error *error)
{
    if (!own->allow)
        return TR_OK;
    if (own->rights)
        return tr__fail(error, TR_EINVAL, "%s: rights are given already, by tr_node_opts.rights", own->allow);
    all->rights = tr__rights_file_read(own->allow, error);
    if (!all->rights)
        return error->code;
    own->rights = tr__rights_file_entries(all->rights, &own->rights_count);
    return TR_OK;
}

/* What a process lacks, that otherwise some library ends it for. */
static tr_err check_limits(const tr_node_opts *opts, tr_error *error)
{
    struct rlimit stack;
    if (getrlimit(RLIMIT_STACK, &stack) == 0 && stack.rlim_cur < STACK_LEAST)
        return tr__fail(error, TR_EAGAIN,
                        "threads get stacks of %llu KiB here (ulimit -s), and a node needs %u KiB",
                        (unsigned long long)stack.rlim_cur / 1024, STACK_LEAST / 1024);
    return opts->listen || (opts->join && opts->join[0]) ? tr__nng_may_start(error) : TR_OK;
}

tr_node *tr_node_create(const tr_node_opts *opts, tr_error *error)
{
    struct tr__driver_uv *all = tr__zalloc(sizeof(*all));
    tr_error mine;
    error = error ? error : &mine;
    if (!all) {
        tr__fail(error, TR_ENOMEM, "no memory for a node");
        return NULL;
    }
    pthread_mutex_init(&all->threads_lock, NULL);
    read_kill_point(all);
    tr__keys keys;
    tr_node_opts own = *opts;
    if (check_limits(opts, error) != TR_OK || read_rights(all, &own, error) != TR_OK) {
        all_free(all);
        return NULL;
    }
    if (!own.message_budget)
        own.message_budget = tr__memory_limit() / 4;
    tr_node *node = assemble(all, &own, error);
    if (!node) {
        all_free(all);
        return NULL;
    }
    node->driver = all;
    node->keys = opts->key ? &keys : NULL;
    tr_err err = opts->key ? tr__key_read(opts->key, &keys, error) : TR_OK;
    if (err == TR_OK && opts->crash_dir)
        err = tr__fault_watch(node, opts->crash_dir, error);
    if (err == TR_OK && opts->operator_socket)
        tr__operator_socket_open(&all->control);
    sigset_t before = tr__signals_block(); /* nng starts its threads at the first use */
    if (err == TR_OK)
        err = tr__node_begin(node, error);
    tr__signals_restore(before);
    node->keys = NULL;
    tr__wipe(&keys, sizeof(keys));
    if (err != TR_OK) {
        tr_node_destroy(node);
        return NULL;
    }
    return node;
}

tr_err tr_node_start(tr_node *node, tr_error *error)
{
    struct tr__driver_uv *all = node->driver;
    atomic_store(&all->parties, 1);
    all->loops[0]->threaded = true;
    tr__traced_enter(&all->loops[0]->traced);
    tr__fault_loop(all->loops[0]->loop);
    sigset_t before = tr__signals_block();
    tr_err err = tr__control_start(&all->control, error);
    tr__signals_restore(before);
    for (uint32_t i = 1; err == TR_OK && i < all->base; i++)
        err = thread_start(all, all->loops[i], error);
    if (err != TR_OK) {
        tr_node_stop_now(node); /* a loop may have no thread */
        tr_node_finish(node, NULL);
        return err;
    }
    /* Whoever waits for the descriptor before the first step must hear of it; libuv looks at nothing before its first run. */
    uv_run(&all->loops[0]->uv, UV_RUN_NOWAIT);
    tr__driver_arm(all->loops[0]);
    return TR_OK;
}

bool tr_node_step(tr_node *node, uint64_t timeout_ns)
{
    struct tr__driver_uv *all = node->driver;
    if (tr__is_over(node))
        return false;
    uint64_t at = timeout_ns && timeout_ns != TR_FOREVER ? uv_hrtime() : 0;
    tr__loop *other = tr__fault_turn(node->loops[0]);
    tr__loop_awake(node->loops[0]);
    tr__driver_step(all->loops[0], timeout_ns > TR__NEVER - at ? TR__NEVER : at + timeout_ns);
    tr__driver_arm(all->loops[0]);
    tr__fault_turn(other);
    return !tr__is_over(node);
}

int tr_node_fd(const tr_node *node)
{
    return tr__driver_fd(node->driver->loops[0]);
}

tr_err tr_node_finish(tr_node *node, tr_error *error)
{
    struct tr__driver_uv *all = node->driver;
    tr__fault_loop(node->loops[0]);
    tr_node_stop(node);
    while (!tr__is_over(node))
        tr__driver_step(all->loops[0], TR__NEVER);
    loop_finish(all, all->loops[0]);
    for (uint32_t i = 1; i < all->count; i++)
        if (all->loops[i]->threaded)
            pthread_join(all->loops[i]->thread, NULL);
    for (uint32_t i = 1; i < all->base; i++)
        if (!all->loops[i]->threaded) { /* those that got no thread */
            tr__loop_end_actors(node->loops[i]);
            tr__loop_end(node->loops[i]);
            tr__driver_close(all->loops[i]);
        }
    tr__control_stop(&all->control);
    node->ran = true;
    if (error)
        *error = node->outcome_error;
    return node->outcome;
}

tr_err tr_node_run(tr_node *node, tr_error *error)
{
    TR_TRY(tr_node_start(node, error));
    while (!tr__is_over(node))
        tr__driver_step(node->driver->loops[0], TR__NEVER);
    tr_error outcome;
    tr_err err = tr_node_finish(node, &outcome);
    if (err != TR_OK && error)
        *error = outcome;
    return err;
}

/* Async-signal-safe: atomics and uv_async_send, which is a write to a pipe. The loops don't close before `stopping` is 0
 * again: uv_async_send to a closed loop aborts the process. They have closed only after it was over. Both sides write one
 * and then read the other, so all four are seq_cst (tr__is_over's acquire is not enough): either this sees that it is over,
 * or whoever closes sees this in `stopping`. */
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
    if (atomic_load(&node->stop_phase) != TR__STOP_OVER)
        for (uint32_t i = 0; i < all->count; i++)
            tr__driver_wake(all->loops[i]);
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
    tr__fault_forget(node);
    tr__remote_free(node); /* from here on nobody is woken */
    tr__control_close(&all->control);
    if (!node->ran) {
        for (uint32_t i = 0; i < all->count; i++)
            tr__loop_end_actors(node->loops[i]);
        for (uint32_t i = 0; i < all->count; i++)
            tr__loop_end(node->loops[i]);
        for (uint32_t i = 0; i < all->count; i++)
            tr__driver_close(all->loops[i]);
    }
    all_free(all);
    tr__node_unmake(node);
}
