/* The real side of tr_fd_watch: one epoll a loop, made at the first use and waited for through uv. Each descriptor is in it
 * for one event and taken out with that. A uv_poll a descriptor would make it non-blocking, which is its
 * owner's to decide, and its handles would outlive a close. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "actors/adapter.h"
#include "actors/driver/fd_watch.h"
#include "actors/driver/kinds_uv.h"
#include "actors/driver/loop_uv.h"
#include "base/err.h"

#define EVENTS_MAX 64 /* taken between two turns */

static tr__driver *driver_of(tr__loop *loop)
{
    return tr__loop_driver(loop); /* the uv loop is its first field */
}

static uint32_t events_of(uint32_t ready)
{
    return (ready & EPOLLIN ? TR_FD_READ : 0u) | (ready & EPOLLOUT ? TR_FD_WRITE : 0u) |
           (ready & (EPOLLHUP | EPOLLRDHUP | EPOLLERR) ? TR_FD_HANGUP : 0u);
}

static void on_ready(uv_poll_t *handle, int status, int readable)
{
    tr__driver *d = handle->data;
    struct epoll_event events[EVENTS_MAX];
    (void)status;
    (void)readable;
    int count = epoll_wait(d->watch_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++)
        tr__fd_ready(d->loop, events[i].data.u64, events_of(events[i].events));
}

static tr_err open_once(tr__driver *d, tr_error *error)
{
    if (d->watch_fd >= 0)
        return TR_OK;
    d->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (d->watch_fd < 0)
        return tr__fail(error, TR_EIO, "epoll_create1 failed: too many open files? (ulimit -n)");
    uv_poll_init(&d->uv, &d->watched, d->watch_fd);
    d->watched.data = d;
    uv_poll_start(&d->watched, UV_READABLE, on_ready);
    return TR_OK;
}

static tr_err watch(tr__loop *loop, int fd, uint32_t events, uint64_t id, tr_error *error)
{
    tr__driver *d = driver_of(loop);
    TR_TRY(open_once(d, error));
    /* Once: what was closed before it was unwatched, while a copy is open elsewhere, can't be taken out any more. */
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT, .data.u64 = id};
    event.events |= (events & TR_FD_READ ? EPOLLIN : 0u) | (events & TR_FD_WRITE ? EPOLLOUT : 0u);
    if (epoll_ctl(d->watch_fd, EPOLL_CTL_ADD, fd, &event) == 0)
        return TR_OK;
    switch (errno) {
    case EEXIST:
        return tr__fail(error, TR_EEXIST, "tr_fd_watch: another actor of this loop watches %d", fd);
    case EPERM:
        return tr__fail(error, TR_EINVAL, "tr_fd_watch: %d is a file or a directory, which is always ready",
                        fd);
    case ENOMEM:
    case ENOSPC:
        return tr__fail(error, TR_ENOMEM, "tr_fd_watch: the kernel has no room for %d", fd);
    default:
        return tr__fail(error, TR_EINVAL, "tr_fd_watch: %d is no open descriptor", fd);
    }
}

static void unwatch(tr__loop *loop, int fd)
{
    epoll_ctl(driver_of(loop)->watch_fd, EPOLL_CTL_DEL, fd, NULL); /* one that was closed is out already */
}

const tr__fd_seam tr__fds_uv = {.watch = watch, .unwatch = unwatch};
