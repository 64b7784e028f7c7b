/* See nng_start.h. */
#include "transport/nng_start.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/signals_os.h"

#define TASKS_MAX   16
#define EXPIRES_MAX 8
#define OTHERS      6 /* four that resolve names, the poller, the reaper */
#define THREADS_MAX (TASKS_MAX + EXPIRES_MAX + OTHERS)

/* Those that nng makes: two a processor for tasks, one for time-outs, and some more. */
static unsigned threads_wanted(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = processors > 0 ? (unsigned)processors : 1;
    unsigned tasks = count < TASKS_MAX / 2 ? 2 * count : TASKS_MAX;
    return tasks + (count < EXPIRES_MAX ? count : EXPIRES_MAX) + OTHERS;
}

/* Until all others are there. */
static void *wait_at(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

/* Make so many at a time, and end them: how many there were, and why there weren't more. */
static unsigned make_threads(unsigned wanted, int *why)
{
    pthread_t threads[THREADS_MAX];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    unsigned made = 0;
    *why = 0;
    sigset_t before = tr__signals_block();
    pthread_mutex_lock(&gate);
    while (made < wanted && (*why = pthread_create(&threads[made], NULL, wait_at, &gate)) == 0)
        made++;
    pthread_mutex_unlock(&gate);
    for (unsigned i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    tr__signals_restore(before);
    return made;
}

tr_err tr__nng_may_start(tr_error *error)
{
    static atomic_bool could;
    int why;
    unsigned wanted = threads_wanted();
    if (atomic_load(&could))
        return TR_OK;
    unsigned made = make_threads(wanted, &why);
    if (made < wanted)
        return tr__fail(
            error, TR_EAGAIN,
            "connections need %u threads, and the system gives %u (%s): see ulimit -u and -v, or the "
            "container's limits",
            wanted, made, strerror(why));
    atomic_store(&could, true);
    return TR_OK;
}
