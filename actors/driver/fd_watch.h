/* Descriptors that actors wait on (tr_fd_watch): the seam, and what its real side (fd_watch_uv.c) calls.
 *
 *     tr_fd_watch ─► an entry (pending.h) with its tr_fd_ready made ahead ─► seam: watch
 *     ready ─► the driver's callback, between turns ─► tr__fd_ready ─► the message, once; the entry is gone
 *     tr_fd_unwatch, the actor's end ─► seam: unwatch; a message in the queue is dropped */
#ifndef TR_ACTORS_DRIVER_FD_WATCH_H
#define TR_ACTORS_DRIVER_FD_WATCH_H

#include "actors/loop.h"

#define TR__FDS_MAX 1024 /* that an actor watches */

struct tr__pending;

/* That loop's thread. */
typedef struct tr__fd_seam {
    /* Call tr__fd_ready(loop, id, events) once, between turns, when the descriptor is as `events` say; that unwatches
     * it. TR_EINVAL (none, or one that can't be waited for), TR_EEXIST (watched on this loop), TR_ENOMEM. */
    tr_err (*watch)(tr__loop *loop, int fd, uint32_t events, uint64_t id, tr_error *error);
    /* It isn't called any more. */
    void (*unwatch)(tr__loop *loop, int fd);
} tr__fd_seam;

void tr__fd_ready(tr__loop *loop, uint64_t id, uint32_t events);
/* An entry goes that hasn't fired. */
void tr__fd_forget(tr__loop *loop, struct tr__pending *pending);

#endif
