/* See sim_workers.h. submit ─► on_begin: the function is called ─► on_done: tr__work_done, tried again every 20 ms if
 * there is no memory for it ─► release. The compute actor has at most as many works as there are threads, so none
 * waits for one here. */
#include "tests/kit/sim/sim_workers.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tests/kit/sim/sim_kinds.h"

#define RETRY_NS TR_MILLIS(20)

struct tr__workers {
    sim_handle handle;
    tr_addr owner;
};

struct tr__work {
    sim_handle handle;
    tr__workers *pool;
    uint64_t job, elapsed_ns;
    bool told;
    tr_compute_fn function;
    char name[TR__FUNCTION_NAME_MAX];
    tr_compute_out out;
    size_t in_size;
    _Alignas(16) uint8_t in[];
};

static void on_done(void *context)
{
    tr__work *work = context;
    sim_handle_wake(&work->handle);
    work->told = tr__inject(work->handle.loop, work->pool->owner, tr__work_done, .job = work->job) == TR_OK;
    if (!work->told)
        sim_handle_later(&work->handle, RETRY_NS, on_done);
}

static void on_begin(void *context)
{
    tr__work *work = context;
    tr_err err = TR_ECANCELED;
    if (!tr_compute_canceled(&work->out))
        err = work->function(work->in, work->in_size, &work->out);
    tr__compute_out_settle(&work->out, work->name, err);
    sim_handle_later(&work->handle, work->elapsed_ns, on_done);
}

static void work_fini(sim_handle *handle)
{
    tr__compute_out_fini(&((tr__work *)handle)->out);
}

static void pool_fini(sim_handle *handle)
{
    (void)handle; /* its works are handles of their own */
}

static tr__workers *open_pool(tr__loop *loop, tr_addr owner, uint32_t threads, int32_t nice, tr_error *error)
{
    (void)threads, (void)nice;
    tr__workers *pool =
        sim_handle_open(&sim_host_of(loop)->kinds->workers->twin, loop, sizeof(*pool), pool_fini);
    if (pool)
        pool->owner = owner;
    else
        tr__fail(error, TR_ENOMEM, "compute: no memory for its threads");
    return pool;
}

static tr_err may_submit(sim_workers *workers, const char *name, tr_error *error)
{
    sim_fault *refused = &workers->faults[SIM_WORKERS_REFUSED];
    if (!sim_strikes(refused))
        return TR_OK;
    if (sim_between(&refused->random, 0, 1))
        return tr__fail(error, TR_ENOMEM, "compute: no memory for a call of '%s'", name);
    return tr__fail(error, TR_EIO,
                    "compute: no thread can be started; see the limits on threads (ulimit -u)");
}

static tr__work *submit(tr__workers *pool, uint64_t job, const char *name, tr_compute_fn function,
                        tr_bytes input, size_t limit, tr_error *error)
{
    tr__loop *loop = pool->handle.loop;
    sim_workers *workers = sim_host_of(loop)->kinds->workers;
    sim_fault *slow = &workers->faults[SIM_WORKERS_SLOW];
    if (may_submit(workers, name, error) != TR_OK)
        return NULL;
    tr__work *work = sim_handle_open(&workers->works, loop, sizeof(*work) + input.size, work_fini);
    if (!work) {
        tr__fail(error, TR_ENOMEM, "compute: no memory for a call of '%s' with %zu bytes of input", name,
                 input.size);
        return NULL;
    }
    work->pool = pool;
    work->job = job;
    work->function = function;
    strncpy(work->name, name, sizeof(work->name) - 1);
    tr__compute_out_init(&work->out, limit);
    work->in_size = input.size;
    if (input.size)
        memcpy(work->in, input.data, input.size);
    work->elapsed_ns = sim_between(&workers->works.random, 1, workers->duration_max_ns);
    if (sim_strikes(slow))
        work->elapsed_ns *= sim_between(&slow->random, 10, 1000);
    sim_handle_later(&work->handle, sim_between(&workers->works.random, TR_MICROS(1), TR_MILLIS(1)),
                     on_begin);
    return work;
}

static void cancel(tr__work *work)
{
    work->out.canceled = true;
}

static tr__work_result result(const tr__work *work)
{
    if (!work->told)
        return (tr__work_result){.error = NULL};
    return (tr__work_result){.error = &work->out.error,
                             .output = {work->out.data, work->out.size},
                             .elapsed_ns = work->elapsed_ns};
}

static void release(tr__workers *pool, tr__work *work)
{
    (void)pool;
    sim_handle_close(&work->handle);
}

static void close_pool(tr__workers *pool)
{
    sim_handle *next;
    for (sim_handle *work = sim_host_of(pool->handle.loop)->kinds->workers->works.handles; work;
         work = next) {
        next = work->next;
        if (((tr__work *)work)->pool == pool)
            sim_handle_close(work);
    }
    sim_handle_close(&pool->handle);
}

const tr__workers_seam sim_workers_seam = {.open = open_pool,
                                           .submit = submit,
                                           .cancel = cancel,
                                           .result = result,
                                           .release = release,
                                           .close = close_pool};

sim_workers *sim_workers_create(struct tr_sim *sim, tr__random *seeds)
{
    static const char *const names[SIM_WORKERS_FAULTS] = {
        [SIM_WORKERS_SLOW] = "workers-slow",
        [SIM_WORKERS_REFUSED] = "workers-refused",
    };
    sim_workers *workers = sim_alloc(sizeof(*workers));
    sim_twin_init(&workers->twin, sim, seeds);
    sim_twin_init(&workers->works, sim, seeds);
    sim_fault_setup(workers->faults, names, SIM_WORKERS_FAULTS, seeds);
    workers->duration_max_ns = TR_MILLIS(20);
    return workers;
}

void sim_workers_destroy(sim_workers *workers)
{
    sim_twin_fini(&workers->works);
    sim_twin_fini(&workers->twin);
    free(workers);
}

void sim_workers_drop(sim_workers *workers, uint32_t node)
{
    sim_twin_drop(&workers->works, node);
    sim_twin_drop(&workers->twin, node);
}
