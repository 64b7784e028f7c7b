/* Threads for the C functions of a compute actor. Why not libuv's pool: it has four threads that files and
 * DNS need, and work in it can't be marked as unwanted once it runs.
 *
 *     loop's thread   submit ─► todo ─────┐                            ┌─► uv_async ─► message to the actor
 * ─► release a worker                            └─► runs the function ─► done┘
 *
 * Everything shared is under `lock`. Threads are detached: a function that never returns holds its thread and
 * the pool's memory, but not the node's end. The pool is freed by whoever leaves last, the loop's handles or
 * a thread.
 *
 * What can go wrong: no thread can be started (an error of that submit, if there is no thread at all); the
 * message that something is done can't be sent for lack of memory (tried again every 20 ms). */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include <uv.h>

#include "actors/driver/kinds_uv.h"
#include "actors/kinds/worker_pool.h"
#include "base/err.h"
#include "base/mem.h"

#define RETRY_MS 20

typedef enum work_state { WAITING, RUNNING, DONE, TOLD } work_state;

struct tr__work {
    tr__work *next, *prev; /* in the list of all */
    tr__work *todo_next;
    uint64_t job;
    work_state state;
    tr_compute_fn function;
    char name[TR__FUNCTION_NAME_MAX];
    uint64_t elapsed_ns;
    tr_compute_out out; /* the worker's while RUNNING, but for `canceled` */
    size_t in_size;
    _Alignas(16) uint8_t in[];
};

struct tr__workers {
    /* Fixed */
    tr__loop *loop;
    tr_addr owner;
    int32_t nice;
    uint32_t thread_max;
    /* Loop's thread */
    uv_async_t async;
    uv_timer_t retry;
    uint32_t handles; /* not yet closed */
    /* Under the lock */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    tr__work *all, *todo, **todo_end;
    uint32_t todo_count;
    uint32_t threads;
    uint32_t idle; /* wait for work, or were signalled and haven't taken theirs yet */
    bool closed;
    bool loop_gone; /* its handles are closed */
};

static void work_free(tr__work *work)
{
    tr__compute_out_fini(&work->out);
    tr__free(work);
}

static void all_remove(tr__workers *workers, tr__work *work)
{
    if (work->prev)
        work->prev->next = work->next;
    else
        workers->all = work->next;
    if (work->next)
        work->next->prev = work->prev;
}

/* Unlock, and free the pool if nobody else has it. */
static void leave(tr__workers *workers)
{
    bool last = workers->loop_gone && workers->threads == 0;
    pthread_mutex_unlock(&workers->lock);
    if (!last)
        return;
    pthread_cond_destroy(&workers->wake);
    pthread_mutex_destroy(&workers->lock);
    tr__free(workers);
}

/* ---- a worker ------------------------------------------------------------------------------------------ */

static void run(tr__work *work)
{
    uint64_t start = uv_hrtime();
    tr_err err = TR_ECANCELED;
    if (!tr_compute_canceled(&work->out))
        err = work->function(work->in, work->in_size, &work->out);
    work->elapsed_ns = uv_hrtime() - start;
    tr__compute_out_settle(&work->out, work->name, err);
}

static void *worker(void *arg)
{
    tr__workers *workers = arg;
    /* On Linux this is the thread's own. It may fail where it is forbidden: then it is merely not nicer. */
    if (workers->nice) {
        int nice = getpriority(PRIO_PROCESS, 0) + workers->nice;
        (void)setpriority(PRIO_PROCESS, 0, nice < 19 ? nice : 19);
    }
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (!workers->todo && !workers->closed) {
            workers->idle++;
            pthread_cond_wait(&workers->wake, &workers->lock);
            workers->idle--;
        }
        if (workers->closed)
            break;
        tr__work *work = workers->todo;
        workers->todo = work->todo_next;
        if (!workers->todo)
            workers->todo_end = &workers->todo;
        workers->todo_count--;
        work->state = RUNNING;
        pthread_mutex_unlock(&workers->lock);
        run(work);
        pthread_mutex_lock(&workers->lock);
        work->state = DONE;
        if (workers->closed) {
            all_remove(workers, work);
            work_free(work);
            break;
        }
        uv_async_send(&workers->async); /* under the lock: so the handle isn't closed */
    }
    workers->threads--;
    leave(workers);
    return NULL;
}

/* Locked. */
static int thread_start(tr__workers *workers)
{
    pthread_attr_t attr;
    int err = pthread_attr_init(&attr);
    if (err)
        return err;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* The process's signals are for others. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    err = pthread_create(&thread, &attr, worker, workers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (err == 0)
        workers->threads++;
    return err;
}

/* ---- the loop's side ----------------------------------------------------------------------------------- */

static void on_retry(uv_timer_t *timer);

static void tell(tr__workers *workers)
{
    bool again = false;
    pthread_mutex_lock(&workers->lock);
    for (tr__work *work = workers->all; work; work = work->next) {
        if (work->state != DONE)
            continue;
        if (tr__inject(workers->loop, workers->owner, tr__work_done, .job = work->job) == TR_OK)
            work->state = TOLD;
        else
            again = true;
    }
    pthread_mutex_unlock(&workers->lock);
    if (again)
        (void)uv_timer_start(&workers->retry, on_retry, RETRY_MS, 0);
}

static void on_async(uv_async_t *async)
{
    tell(async->data);
}

static void on_retry(uv_timer_t *timer)
{
    tell(timer->data);
}

static tr__workers *open_workers(tr__loop *loop, tr_addr owner, uint32_t threads, int32_t nice,
                                 tr_error *error)
{
    tr__workers *workers = tr__zalloc(sizeof(*workers));
    if (!workers) {
        tr__fail(error, TR_ENOMEM, "compute: no memory for its threads");
        return NULL;
    }
    uv_loop_t *uv = tr__loop_driver(loop);
    int err = uv_async_init(uv, &workers->async, on_async);
    if (err) {
        tr__fail(error, TR_EIO, "compute: no wake-up for its threads: %s", uv_strerror(err));
        tr__free(workers);
        return NULL;
    }
    uv_timer_init(uv, &workers->retry); /* can't fail */
    workers->async.data = workers;
    workers->retry.data = workers;
    workers->handles = 2;
    workers->loop = loop;
    workers->owner = owner;
    workers->nice = nice;
    workers->thread_max = threads;
    workers->todo_end = &workers->todo;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->wake, NULL);
    return workers;
}

static tr__work *submit(tr__workers *workers, uint64_t job, const char *name, tr_compute_fn function,
                        tr_bytes input, size_t limit, tr_error *error)
{
    /* Aligned to 16 as malloc's blocks are. */
    tr__work *work = tr__alloc(sizeof(*work) + input.size);
    if (!work) {
        tr__fail(error, TR_ENOMEM, "compute: no memory for a call of '%s' with %zu bytes of input", name,
                 input.size);
        return NULL;
    }
    memset(work, 0, sizeof(*work));
    work->job = job;
    work->function = function;
    strncpy(work->name, name, sizeof(work->name) - 1);
    tr__compute_out_init(&work->out, limit);
    work->in_size = input.size;
    if (input.size)
        memcpy(work->in, input.data, input.size);

    pthread_mutex_lock(&workers->lock);
    int err = 0;
    /* Each idle one will take one of those that wait. */
    if (workers->idle <= workers->todo_count && workers->threads < workers->thread_max)
        err = thread_start(workers);
    if (workers->threads == 0) {
        pthread_mutex_unlock(&workers->lock);
        tr__fail(error, TR_EIO,
                 "compute: no thread can be started: %s; see the limits on threads (ulimit -u)",
                 strerror(err));
        work_free(work);
        return NULL;
    }
    work->next = workers->all;
    if (work->next)
        work->next->prev = work;
    workers->all = work;
    *workers->todo_end = work;
    workers->todo_end = &work->todo_next;
    workers->todo_count++;
    pthread_cond_signal(&workers->wake);
    pthread_mutex_unlock(&workers->lock);
    return work;
}

static void cancel(tr__work *work)
{
    atomic_store_explicit(&work->out.canceled, true, memory_order_relaxed);
}

static tr__work_result result(const tr__work *work)
{
    /* TOLD is set by this thread, after the worker's last touch under the lock. */
    if (work->state != TOLD)
        return (tr__work_result){.error = NULL};
    return (tr__work_result){.error = &work->out.error,
                             .output = {work->out.data, work->out.size},
                             .elapsed_ns = work->elapsed_ns};
}

static void release(tr__workers *workers, tr__work *work)
{
    pthread_mutex_lock(&workers->lock);
    all_remove(workers, work);
    pthread_mutex_unlock(&workers->lock);
    work_free(work);
}

static void on_closed(uv_handle_t *handle)
{
    tr__workers *workers = handle->data;
    if (--workers->handles)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->loop_gone = true;
    leave(workers);
}

static void close_workers(tr__workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->closed = true;
    tr__work *next;
    for (tr__work *work = workers->all; work; work = next) {
        next = work->next;
        cancel(work);
        if (work->state != RUNNING) {
            all_remove(workers, work);
            work_free(work);
        }
    }
    workers->todo = NULL;
    workers->todo_end = &workers->todo;
    workers->todo_count = 0;
    pthread_cond_broadcast(&workers->wake);
    pthread_mutex_unlock(&workers->lock);
    uv_close((uv_handle_t *)&workers->async, on_closed);
    uv_close((uv_handle_t *)&workers->retry, on_closed);
}

const tr__workers_seam tr__workers_uv = {.open = open_workers,
                                         .submit = submit,
                                         .cancel = cancel,
                                         .result = result,
                                         .release = release,
                                         .close = close_workers};
