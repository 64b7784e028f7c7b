/* See signals_os.h. The life of a watch: open (signals blocked) -> its thread: sigwait, told, sigwait... -> close (a
 * signal to that thread alone, which `ended` tells from the others; the thread joined; the mask as before). */
#include "base/signals_os.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

sigset_t tr__signals_block(void)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t none, before;
    sigfillset(&none);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(&none, faults[i]);
    pthread_sigmask(SIG_SETMASK, &none, &before);
    return before;
}

void tr__signals_restore(sigset_t before)
{
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- a watch ------------------------------------------------------------------------------------------- */

static void *wait_for_signals(void *context)
{
    tr__signals_watch *watch = context;
    int number;
    for (;;) {
        if (sigwait(&watch->watched, &number) != 0)
            continue;
        if (atomic_load(&watch->ended))
            return NULL;
        watch->told(watch->context, number);
    }
}

/* What is pending would end the process as soon as it isn't blocked. */
static void put_back(tr__signals_watch *watch)
{
    const struct timespec now = {0};
    while (sigtimedwait(&watch->watched, NULL, &now) > 0 || errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &watch->before, NULL);
}

tr_err tr__signals_watch_open(tr__signals_watch *watch, const int *numbers,
                              void (*told)(void *context, int number), void *context, tr_error *error)
{
    *watch = (tr__signals_watch){.first = numbers[0], .told = told, .context = context};
    sigemptyset(&watch->watched);
    for (; *numbers; numbers++)
        sigaddset(&watch->watched, *numbers);
    pthread_sigmask(SIG_BLOCK, &watch->watched, &watch->before);
    sigset_t before = tr__signals_block();
    int number = pthread_create(&watch->thread, NULL, wait_for_signals, watch);
    tr__signals_restore(before);
    if (number == 0)
        return TR_OK;
    put_back(watch);
    return tr__fail(error, TR_ENOMEM, "no thread to wait for signals: %s; see ulimit -u", strerror(number));
}

void tr__signals_watch_end(tr__signals_watch *watch)
{
    atomic_store(&watch->ended, true);
    pthread_kill(watch->thread, watch->first);
    pthread_join(watch->thread, NULL);
}

void tr__signals_watch_close(tr__signals_watch *watch)
{
    tr__signals_watch_end(watch);
    put_back(watch);
}
