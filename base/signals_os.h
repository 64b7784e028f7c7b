/* Signals are for the program's own threads: those that a library or a node starts take none but their own faults. And
 * those that end a program come to a thread that waits for them, never to a handler that interrupts another: a
 * handler may do next to nothing, and the thread sanitizer keeps one back until what was interrupted calls into it. */
#ifndef TR_BASE_SIGNALS_OS_H
#define TR_BASE_SIGNALS_OS_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <troupe/err.h>

/* Block them in the calling thread, and so in all that it starts until tr__signals_restore(what this gave). */
sigset_t tr__signals_block(void);
void tr__signals_restore(sigset_t before);

typedef struct tr__signals_watch {
    sigset_t watched, before; /* before: the mask of the thread that opened it */
    int first;                /* of those watched */
    void (*told)(void *context, int number);
    void *context;
    pthread_t thread;
    _Atomic bool ended; /* what wakes the thread next is the end of it */
} tr__signals_watch;

/* From now on told(context, number) is called, on a thread of the watch's own, for each of `numbers` (0 ends them) that
 * reaches the process, whatever was to be done at it, even nothing. They are blocked in the calling thread: all others
 * must be started after this, or block them by themselves; so are they in a program that one of these starts without
 * care for its mask. One watch of a signal at a time. TR_ENOMEM: no thread to be had, and nothing has changed. */
tr_err tr__signals_watch_open(tr__signals_watch *watch, const int *numbers,
                              void (*told)(void *context, int number), void *context, tr_error *error);
/* The same thread as opened it, not within `told`, which is not called any more when this returns. What came too
 * late for it is dropped; then all is as it was before. */
void tr__signals_watch_close(tr__signals_watch *watch);
/* The like for a process that is about to end: the signals stay blocked, so that one more changes nothing of its status. */
void tr__signals_watch_end(tr__signals_watch *watch);

#endif
