/* What reaches `troupe run` from outside: signals, and its standard input. A thread of its own waits for both
 * and posts them to one actor. The main thread, but for what says otherwise. */
#ifndef TR_CLI_RUN_OUTSIDE_H
#define TR_CLI_RUN_OUTSIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <troupe/node.h>

/* SIGINT, SIGTERM or SIGHUP came. */
TR_MESSAGE(run_signal, (i32, number))
/* A piece of standard input; `end`: that was all. */
TR_MESSAGE(run_stdin, (bytes, data), (bool, end))

typedef struct run_outside {
    tr_node *node;
    tr_addr to;
    int signals, wake; /* signalfd, eventfd; -1: none */
    pthread_t thread;
    bool started;
    _Atomic bool wanted;  /* a piece of input may be posted */
    _Atomic bool stopped; /* the thread shall end */
} run_outside;

/* From now on signals wait for the thread: before the node makes its own threads, which inherit that. False
 * with errno: no descriptors. */
bool run_outside_open(run_outside *o);
/* Begin to post to that actor. Any thread, once. False with errno: no thread. */
bool run_outside_start(run_outside *o, tr_node *node, tr_addr to);
/* Have one more piece of input posted. Any thread. */
void run_outside_read(run_outside *o);
/* After tr_node_run, before tr_node_destroy. */
void run_outside_close(run_outside *o);

#endif
