/* A stopper: signals that stop a node, in order. It knows of the node for as long as there is one, so it may be open
 * for the whole of a program that makes ready before and cleans up behind. */
#ifndef TR_ACTORS_DRIVER_STOPPER_OS_H
#define TR_ACTORS_DRIVER_STOPPER_OS_H

#include <pthread.h>
#include <stdatomic.h>

#include <troupe/node.h>

#include "base/signals_os.h"

typedef struct tr__stopper {
    tr__signals_watch watch;
    pthread_mutex_t lock;
    tr_node *node;      /* under the lock; NULL: there is none now */
    _Atomic int number; /* the last signal that came; 0: none did */
} tr__stopper;

/* Before the node and other threads are made, which inherit that these signals are blocked; `numbers` ends with 0.
 * TR_ENOMEM: no thread to be had. */
tr_err tr__stopper_open(tr__stopper *stopper, const int *numbers, tr_error *error);
/* The node to stop, at once if a signal has come before; NULL before it is destroyed. Any thread. */
void tr__stopper_node(tr__stopper *stopper, tr_node *node);
/* The last signal that came, 0 if none did; also after it was closed. Any thread. */
int tr__stopper_number(const tr__stopper *stopper);
/* Signals do what they did before. The thread that opened it. */
void tr__stopper_close(tr__stopper *stopper);
/* The like for a process that is about to end: the signals stay blocked. */
void tr__stopper_end(tr__stopper *stopper);

#endif
