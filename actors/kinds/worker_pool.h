/* Threads for C functions, as the compute actor sees them: a seam. worker_pool_uv.c is the real one.
 *
 * All functions are called on the loop's thread, by the actor that owns the pool. The actor bounds what it
 * has submitted. After close() nothing is sent any more. */
#ifndef TR_ACTORS_KINDS_WORKER_POOL_H
#define TR_ACTORS_KINDS_WORKER_POOL_H

#include "actors/adapter.h"
#include "actors/kinds/compute_function.h"

/* That job's function has returned: see result(). */
TR_MESSAGE(tr__work_done, (u64, job))

typedef struct tr__workers tr__workers;
typedef struct tr__work tr__work;

/* Borrowed until release(). */
typedef struct tr__work_result {
    const tr_error *error; /* its code is TR_OK if it succeeded; NULL: it is still running */
    tr_bytes output;
    uint64_t elapsed_ns;
} tr__work_result;

typedef struct tr__workers_seam {
    /* A pool of at most `threads`, started as they are needed. NULL: *error says why. */
    tr__workers *(*open)(tr__loop *loop, tr_addr owner, uint32_t threads, int32_t nice, tr_error *error);
    /* Run function(input) on one of them; input and name are copied. NULL: *error (TR_ENOMEM, TR_EIO: no
     * thread). */
    tr__work *(*submit)(tr__workers *workers, uint64_t job, const char *name, tr_compute_fn function,
                        tr_bytes input, size_t limit, tr_error *error);
    /* Nobody wants it any more: tr_compute_canceled() says so from now on. */
    void (*cancel)(tr__work *work);
    tr__work_result (*result)(const tr__work *work);
    /* After its tr__work_done. */
    void (*release)(tr__workers *workers, tr__work *work);
    /* Cancel all; threads end when their functions have returned, and release everything. Doesn't wait. */
    void (*close)(tr__workers *workers);
} tr__workers_seam;

#endif
