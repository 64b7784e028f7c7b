/* What the driver's files share. */
#ifndef TR_ACTORS_DRIVER_NODE_UV_H
#define TR_ACTORS_DRIVER_NODE_UV_H

#include <pthread.h>
#include <uv.h>

#include "actors/node.h"
#include "actors/supervision/watchdog.h"
#include "base/backtrace_os.h"

/* The control thread: a small uv loop of its own, for what must go on while a handler is stuck. */
typedef struct tr__control {
    tr_node *node;
    uv_loop_t uv;
    uv_async_t quit, wake;
    uv_timer_t watchdog, due; /* due: of the connections */
    pthread_t thread;
    bool opened, started;
    tr__watchdog watch;
    void *frames[TR__FRAMES_MAX]; /* of the loop that the watchdog tells of */
    size_t frame_count;
    char frame_text[160];
    struct tr__operator_socket *operator_socket; /* NULL: none */
    /* Of the node's end, while it is looked for handlers that keep it from that: */
    uint64_t stop_ns, hurry_ns; /* when it was seen to stop, in order or at once; 0: it wasn't */
    struct {
        uint64_t runs, since_ns; /* which run is seen there since then */
    } held[TR__LOOPS_MAX];
} tr__control;

/* From open to close it may be woken by any thread. TR_ENOMEM, TR_EIO. */
tr_err tr__control_open(tr__control *control, tr_node *node, tr_error *error);
/* Start its thread. TR_EAGAIN. */
tr_err tr__control_start(tr__control *control, tr_error *error);
/* End and join it; nothing if it wasn't started. */
void tr__control_stop(tr__control *control);
/* Nobody wakes it any more. Nothing if it wasn't opened. */
void tr__control_close(tr__control *control);

/* Where that loop's thread is now, innermost first (tr__frame_text names them): how many frames; 0: it runs no actors yet
 * or any more, or didn't answer within 100 ms. Any thread but that one, and not after the loops' end. */
size_t tr__loop_backtrace(tr_node *node, uint32_t loop, void **frames, size_t room);

/* What that loop is stuck in, on the control thread: milliseconds, and `text` says in what; 0: it isn't. */
uint64_t tr__control_stuck(const tr__control *control, uint32_t loop, char *text, size_t room);

/* ---- the operator socket (operator/socket_uv.c) --------------------------------------------------------------- */

/* Listen on the socket of the node's name, before the node begins; if that can't be done the log says why. Requests wait
 * until the control thread runs. */
void tr__operator_socket_open(tr__control *control);
/* No request reaches a loop from here on; before the loops end. Any thread. */
void tr__operator_socket_shut(tr__control *control);
/* Close its handles; the uv loop must run once more before tr__operator_socket_free. When the thread has ended. */
void tr__operator_socket_close(tr__control *control);
void tr__operator_socket_free(tr__control *control);

#endif
