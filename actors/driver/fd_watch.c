/* See fd_watch.h. The loop's thread. */
#include "actors/driver/fd_watch.h"

#include <troupe/troupe.h>

#include "actors/defer.h"
#include "actors/futures/pending.h"
#include "base/err.h"

static int fd_of(const tr__pending *pending)
{
    return ((const tr_fd_ready *)tr__msg_body(pending->msg))->fd;
}

/* What it watches that isn't ready yet; and how many in all. */
static tr__pending *find(const tr_actor *self, int fd, uint32_t *count)
{
    tr__pending *found = NULL;
    *count = 0;
    for (tr__pending *p = self->pendings; p; p = tr__pending_at(tr__owner(self), p->next))
        if (p->kind == TR__PENDING_FD) {
            (*count)++;
            found = fd_of(p) == fd ? p : found;
        }
    return found;
}

static tr_msg *make_notice(tr__loop *loop, tr_addr to, int fd)
{
    const tr_typeinfo *info = tr__type_of(&tr_fd_ready_type);
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, info->size) : NULL;
    if (!msg)
        return NULL;
    msg->type = info;
    msg->kind = TR__MSG_NOTICE;
    msg->sender = to;
    msg->to.slot = to.slot;
    msg->to.generation = to.generation;
    *(tr_fd_ready *)tr__msg_body(msg) = (tr_fd_ready){.fd = fd};
    return msg;
}

static tr_err check(tr_actor *self, int fd, uint32_t events)
{
    uint32_t count;
    if (!tr__owner(self)->node->seams.kinds.fds)
        return tr__self_fail(self, TR_EINVAL, "tr_fd_watch: no descriptors can be watched in a simulation");
    if (events == 0 || events & ~(TR_FD_READ | TR_FD_WRITE))
        return tr__self_fail(self, TR_EINVAL, "tr_fd_watch: TR_FD_READ, TR_FD_WRITE, or both");
    if (find(self, fd, &count))
        return tr__self_fail(self, TR_EEXIST, "tr_fd_watch: %d is watched by this actor already", fd);
    if (count >= TR__FDS_MAX)
        return tr__self_fail(self, TR_EFULL, "tr_fd_watch: %s watches %d descriptors already",
                             self->def->name, TR__FDS_MAX);
    return TR_OK;
}

tr_err tr_fd_watch(tr_actor *self, int fd, uint32_t events)
{
    tr__loop *loop = tr__owner(self);
    TR_TRY(check(self, fd, events));
    tr_msg *msg = make_notice(loop, tr__addr_of(self), fd);
    tr__pending *pending = msg ? tr__pending_make(loop, self, TR__PENDING_FD) : NULL;
    if (!pending) {
        if (msg)
            tr__msg_free(loop, msg);
        return tr__self_fail(self, TR_ENOMEM, "no memory to watch a descriptor");
    }
    pending->msg = msg;
    tr_error error;
    tr_err err = loop->node->seams.kinds.fds->watch(loop, fd, events, tr__pending_id(pending), &error);
    if (err == TR_OK)
        return TR_OK;
    pending->settled = true; /* it isn't watched */
    tr__pending_free(loop, pending);
    return tr__self_fail(self, err, "%s", error.text);
}

void tr__fd_ready(tr__loop *loop, uint64_t id, uint32_t events)
{
    tr__pending *pending = tr__pending_find(loop, id);
    if (!pending || pending->kind != TR__PENDING_FD)
        return;
    tr_actor *owner = pending->owner;
    tr_msg *msg = pending->msg;
    ((tr_fd_ready *)tr__msg_body(msg))->events = events;
    loop->node->seams.kinds.fds->unwatch(loop, fd_of(pending)); /* so that it can be watched again */
    pending->msg = NULL;
    pending->settled = true;
    tr__pending_free(loop, pending);
    TR__COUNT(loop->counts.accepted);
    tr__enqueue(loop, owner, msg);
}

void tr__fd_forget(tr__loop *loop, tr__pending *pending)
{
    if (!pending->settled)
        loop->node->seams.kinds.fds->unwatch(loop, fd_of(pending));
}

static bool is_notice(const tr_msg *msg, const tr_msg *like)
{
    return msg->kind == TR__MSG_NOTICE && msg->type == like->type &&
           ((const tr_fd_ready *)tr__msg_body(msg))->fd == ((const tr_fd_ready *)tr__msg_body(like))->fd;
}

/* The first notice of that descriptor that waits in the mailbox, or was set aside; off it. NULL: there is none. */
static tr_msg *take_notice(tr_actor *self, const tr_msg *like)
{
    tr_msg *before = NULL;
    for (tr_msg *msg = self->head; msg; before = msg, msg = msg->next)
        if (is_notice(msg, like)) {
            tr__mailbox_unlink(self, before, msg);
            return msg;
        }
    return self->extras ? tr__deferred_take(self, is_notice, like) : NULL;
}

void tr_fd_unwatch(tr_actor *self, int fd)
{
    tr__loop *loop = tr__owner(self);
    uint32_t count;
    struct {
        tr_msg head;
        tr_fd_ready body;
    } like = {.head.type = tr__type_of(&tr_fd_ready_type), .body.fd = fd};
    tr__pending *pending = find(self, fd, &count);
    if (pending)
        tr__pending_free(loop, pending);
    /* One may have been set aside, and another come since: it can be watched again after each. */
    for (tr_msg *notice; (notice = take_notice(self, &like.head));)
        tr__drop(loop, notice, TR_DROP_CANCELED);
}
