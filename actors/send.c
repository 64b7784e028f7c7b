/* Sending, and messages in an actor's hand. The sending actor's loop; a failure leaves nothing behind but the
 * actor's last error. */
#include "actors/send.h"

#include <string.h>

#include "actors/adapter.h"
#include "actors/budget.h"
#include "actors/futures/flow.h"
#include "actors/futures/pending.h"
#include "actors/limits.h"
#include "actors/loop.h"
#include "actors/memory.h"
#include "actors/overflow.h"
#include "actors/remote/records.h"
#include "actors/remote/remote.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/versions.h"

static tr_err refuse(tr_actor *self, tr_addr to, tr_err code, const char *type)
{
    char address[TR_ADDR_TEXT_MAX];
    tr__addr_format(to, address);
    if (self->extras)
        self->extras->refused_by_budget = false;
    return tr__self_fail(self, code, "sending %s to %s: %s", type, address, tr__err_meaning(code));
}

/* Inlined into its callers' hot paths: the usual type is flat, so its size is known without a walk. */
static inline size_t body_size(const tr_typeinfo *info, const void *body)
{
    return info->inline_count ? tr__body_size(info, body) : info->size;
}

static inline void body_copy(const tr_typeinfo *info, tr_msg *msg, const void *body)
{
    tr__msg_filled(msg, info);
    if (info->inline_count)
        tr__body_copy(info, tr__msg_body(msg), body);
    else
        memcpy(tr__msg_body(msg), body, info->size);
}

tr_err tr__refuse_size(tr_actor *self, const tr_typeinfo *info, const void *body, uint64_t most)
{
    return tr__self_fail(
        self, TR_ETOOBIG,
        "a %s of %zu bytes is larger than its receiver's node takes, which is %llu (--message-max): "
        "split it",
        info->name, tr__cbor_bound(info, body), (unsigned long long)most);
}

tr_err tr__may_send(tr_actor *self, tr_addr to, const tr_typeinfo *info, const void *body, size_t size)
{
    if (__builtin_expect(info->notice, 0))
        return tr__self_fail(self, TR_EPERM, "a %s is sent by the runtime only", info->name);
    tr_node *node = tr__owner(self)->node;
    uint64_t most;
    tr_error error;
    if (to.node != node->id && !tr__remote_fits(node, to.node, info, body, size, &most))
        return tr__refuse_size(self, info, body, most);
    if (!tr__limit_admits(node, to, info, body, size, &error))
        return tr__self_fail(self, error.code, "%s", error.text);
    return TR_OK;
}

/* A full mailbox that drops the newest: then this send is done. */
static bool is_dropped(tr_actor *self, tr_addr to, tr_err err, const char *type)
{
    if (err != TR_EFULL || tr__overflow_of(tr__owner(self), to) != TR_OVERFLOW_DROP_NEWEST)
        return false;
    tr__drop_newest(self, to, type);
    return true;
}

/* No memory, or a copy of `body` in a block of its own. */
static tr_msg *make(tr__loop *loop, const tr_typeinfo *info, const void *body, size_t size)
{
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, size);
    if (__builtin_expect(msg != NULL, 1))
        body_copy(info, msg, body);
    return msg;
}

/* It is made first: what `body` points to may be gone after the wait (tr_fmt). If the wait is cut off by the fiber's end,
 * that frees it. */
static tr_err prepare_waiting(tr_actor *self, tr_addr to, uint64_t wait_ns, tr_msg *msg)
{
    uint32_t places = 0;
    self->fiber->sending = msg;
    self->fiber->beyond = msg->flags & TR__MSG_BEYOND;
    tr_err err = tr__wait_for_places(self, to, msg->size, wait_ns, &places);
    self->fiber->sending = NULL;
    if (err == TR_OK) {
        msg->places = (uint16_t)places;
    } else {
        if (msg->flags & TR__MSG_BEYOND)
            tr__budget_leave(tr__owner(self)->node, to);
        tr__msg_free(tr__owner(self), msg);
    }
    return err;
}

/* Whether it may be sent at all, and its size. */
static tr_err check_body(tr_actor *self, tr_addr to, tr_type *type, const void *body,
                         const tr_typeinfo **info, size_t *size)
{
    *info = tr__type_of(type);
    if (__builtin_expect(!*info, 0))
        return tr__self_fail(self, TR_ENOMEM, "no memory to register the type %s", type->name);
    *size = body_size(*info, body);
    if (__builtin_expect(*size == SIZE_MAX, 0))
        return refuse(self, to, TR_ETOOBIG, (*info)->name);
    return tr__may_send(self, to, *info, body, *size);
}

tr_err tr__prepare(tr_actor *self, tr_addr to, tr_type *type, const void *body, uint64_t wait_ns,
                   bool droppable, tr_msg **out)
{
    tr__loop *loop = tr__owner(self);
    if (tr__must_stop(loop, self))
        return TR_EKILLED;
    const tr_typeinfo *info;
    size_t size = 0;
    *out = NULL;
    TR_TRY(check_body(self, to, type, body, &info, &size));
    bool local = to.node == loop->node->id, beyond;
    if (!tr__budget_admits(loop->node, to, info, size, false, &beyond))
        return tr__budget_refuse(self, info->name);
    uint32_t places = local ? tr__msg_places(size) : 0;
    tr_err err =
        local ? tr__reserve(loop, to, &places) : tr__remote_check(loop->node, to.node, info, body, size);
    bool waits = err == TR_EFULL && tr__may_wait(self, to);
    tr_msg *msg = err == TR_OK || waits ? make(loop, info, body, size) : NULL;
    if (__builtin_expect(!msg, 0)) {
        if (beyond)
            tr__budget_leave(loop->node, to);
        if (err == TR_OK)
            tr__unreserve(loop, to, places);
        if (droppable && is_dropped(self, to, err, info->name))
            return TR_OK;
        return refuse(self, to, err == TR_OK || waits ? TR_ENOMEM : err, info->name);
    }
    msg->flags |= beyond ? TR__MSG_BEYOND : 0;
    msg->places = (uint16_t)places;
    msg->sender = tr__addr_of(self);
    if (waits)
        TR_TRY(prepare_waiting(self, to, wait_ns, msg));
    *out = msg;
    return TR_OK;
}

void tr__unprepare(tr_actor *self, tr_addr to, tr_msg *msg)
{
    tr__loop *loop = tr__owner(self);
    tr__unreserve(loop, to, msg->places);
    if (msg->flags & TR__MSG_BEYOND)
        tr__budget_leave(loop->node, to);
    tr__msg_free(loop, msg);
}

/* The short way to another node; false: it isn't for this one, and nothing is done. */
static bool send_far(tr__loop *loop, tr_actor *self, tr_addr to, const tr_typeinfo *info, const void *body)
{
    if (!info || !info->heads || info->notice || tr__is_overrun(loop))
        return false;
    size_t size = body_size(info, body);
    return size <= TR__FAR_MAX && tr__remote_put(loop, to, tr__addr_of(self), info, body, size);
}

tr_err tr_send_body(tr_actor *self, tr_addr to, tr_type *type, const void *body)
{
    tr__loop *loop = tr__owner(self);
    tr_msg *msg;
    tr_actor *near = tr__near(loop, to);
    const tr_typeinfo *info = tr__type_of(type);
    if (__builtin_expect(near && near->local && tr__is_flat(info) && !tr__is_overrun(loop), 1)) {
        msg = tr__make_flat(loop, self, to, info, body);
        if (__builtin_expect(!msg, 0))
            return TR_ENOMEM;
        msg->places = 1;
        near->local--;
        TR__COUNT(loop->counts.accepted);
        tr__enqueue(loop, near, msg);
        return TR_OK;
    }
    if (to.node != loop->node->id && send_far(loop, self, to, info, body))
        return TR_OK;
    return tr_send_with_body(self, to, type, body, NULL);
}

tr_err tr_send_with_body(tr_actor *self, tr_addr to, tr_type *type, const void *body,
                         const tr_send_opts *opts)
{
    tr__loop *loop = tr__owner(self);
    tr_msg *msg;
    TR_TRY(tr__prepare(self, to, type, body, opts && opts->wait_ns ? opts->wait_ns : TR_FOREVER, true, &msg));
    if (!msg)
        return TR_OK;
    if (opts && opts->ttl_ns) {
        uint64_t now = tr__now_fresh(loop);
        msg->deadline_ns = opts->ttl_ns > UINT64_MAX - now ? UINT64_MAX : now + opts->ttl_ns;
        msg->flags |= TR__MSG_EXPIRES;
        atomic_store_explicit(&loop->node->expiring, true, memory_order_relaxed);
    }
    tr__submit(loop, to, msg);
    return TR_OK;
}

tr_err tr__send_notice(tr_actor *self, tr_addr to, tr_type *type, const void *body)
{
    tr__loop *loop = tr__owner(self);
    tr_msg *msg = tr_msg_make(self, type, body);
    if (!msg)
        return TR_ENOMEM;
    uint32_t places = tr__msg_places(msg->size);
    if (tr__reserve(loop, to, &places) != TR_OK) {
        tr__msg_free(loop, msg);
        return refuse(self, to, TR_EFULL, type->name);
    }
    msg->kind = TR__MSG_NOTICE;
    msg->places = (uint16_t)places;
    msg->sender = tr__addr_of(self);
    tr__submit(loop, to, msg);
    return TR_OK;
}

void tr__unkeep(tr_actor *self, tr_msg *msg)
{
    tr__extras *extras = self->extras;
    if (msg->next == msg) {
        extras->kept = NULL;
    } else {
        msg->next->prev = msg->prev;
        msg->prev->next = msg->next;
        if (extras->kept == msg)
            extras->kept = msg->next;
    }
    tr__discharge(self, sizeof(*msg) + msg->size);
    msg->flags &= (uint8_t)~TR__MSG_KEPT;
    msg->to.slot = self->index; /* who it was for, again */
    msg->to.generation = atomic_load_explicit(&self->generation, memory_order_relaxed);
}

void tr__drop_taken(tr_actor *self, tr_msg *msg, tr_drop why)
{
    tr__loop *loop = tr__owner(self);
    if (msg->flags & TR__MSG_KEPT)
        tr__unkeep(self, msg);
    loop->counts.handled--;
    tr__drop(loop, msg, why);
}

/* Places for a message that is made; what it says is TR_OK with `dropped` too. `beyond`: the budget. */
static tr_err admit_made(tr_actor *self, tr_addr to, const tr_msg *msg, bool beyond, uint32_t *places,
                         bool *dropped)
{
    tr__loop *loop = tr__owner(self);
    bool local = to.node == loop->node->id;
    *places = local ? tr__msg_places(msg->size) : 0;
    tr_err err = local ? tr__reserve(loop, to, places)
                       : tr__remote_check(loop->node, to.node, msg->type, tr__msg_body(msg), msg->size);
    if (err == TR_EFULL && tr__may_wait(self, to)) {
        self->fiber->beyond = beyond;
        return tr__wait_for_places(self, to, msg->size, TR_FOREVER, places);
    }
    *dropped = is_dropped(self, to, err, tr_msg_type_name(msg));
    return err == TR_OK || *dropped ? TR_OK : refuse(self, to, err, tr_msg_type_name(msg));
}

tr_err tr_send_msg(tr_actor *self, tr_addr to, tr_msg **out)
{
    tr__loop *loop = tr__owner(self);
    tr_msg *msg = *out;
    uint32_t places;
    bool dropped = false, beyond = false;
    if (tr__must_stop(loop, self))
        return TR_EKILLED;
    if (!msg || msg->kind == TR__MSG_ASK)
        return tr__self_fail(self, TR_EINVAL, "tr_send_msg: %s",
                             msg ? "a kept ask is answered, not sent on" : "no message");
    if (msg->type) {
        TR_TRY(tr__may_send(self, to, msg->type, tr__msg_body(msg), msg->size));
        if (!tr__budget_admits(loop->node, to, msg->type, msg->size, true, &beyond))
            return tr__budget_refuse(self, tr_msg_type_name(msg));
    }
    tr_err err = admit_made(self, to, msg, beyond, &places, &dropped);
    if ((err != TR_OK || dropped) && beyond)
        tr__budget_leave(loop->node, to);
    if (err != TR_OK)
        return err;
    if (dropped) {
        tr_msg_free(self, out);
        return TR_OK;
    }
    if (msg->flags & TR__MSG_KEPT)
        tr__unkeep(self, msg);
    msg->kind = TR__MSG_NORMAL;
    msg->ask = 0;
    msg->flags = (uint8_t)((msg->flags & TR__MSG_OF_BODY) | (beyond ? TR__MSG_BEYOND : 0));
    msg->deadline_ns = 0;
    msg->places = (uint16_t)places;
    msg->sender = tr__addr_of(self);
    *out = NULL;
    tr__submit(loop, to, msg);
    return TR_OK;
}

/* ---- messages in hand ---------------------------------------------------------------------------------- */

tr_msg *tr__msg_make_with_room(tr_actor *self, tr_type *type, const void *body, size_t room)
{
    tr__loop *loop = tr__owner(self);
    const tr_typeinfo *info = tr__type_of(type);
    size_t size = info ? body_size(info, body) : 0;
    if (size == SIZE_MAX) {
        tr__self_fail(self, TR_ETOOBIG, "a %s of more than %zu bytes", type->name, TR__BODY_MAX);
        return NULL;
    }
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, size > room ? size : room) : NULL;
    if (!msg) {
        tr__self_fail(self, TR_ENOMEM, "no memory for a %s of %zu bytes", type->name, size);
        return NULL;
    }
    msg->size = (uint32_t)size;
    body_copy(info, msg, body);
    return msg;
}

tr_msg *tr_msg_make(tr_actor *self, tr_type *type, const void *body)
{
    return tr__msg_make_with_room(self, type, body, 0);
}

void tr_msg_free(tr_actor *self, tr_msg **msg)
{
    tr_msg *m = *msg;
    *msg = NULL;
    if (!m)
        return;
    if (m->flags & TR__MSG_KEPT)
        tr__unkeep(self, m);
    tr__release(tr__owner(self), m);
}

tr_msg *tr_msg_take(tr_actor *self, const tr_msg *msg)
{
    tr__loop *loop = tr__owner(self);
    tr__extras *extras = tr__extras_of(loop, self);
    tr_msg **place = self->fiber && self->fiber->received == msg ? &self->fiber->received
                     : self->fiber && self->fiber->answer == msg ? &self->fiber->answer
                                                                 : &loop->current;
    if (!extras || !msg || *place != msg) {
        tr__self_fail(self, extras ? TR_EINVAL : TR_ENOMEM,
                      "tr_msg_take: this message isn't the one being handled");
        return NULL;
    }
    tr_msg *taken = *place;
    if (!tr__charge(loop, self, sizeof(*taken) + taken->size))
        return NULL;
    *place = NULL;
    if (place == &loop->current && loop->beyond) { /* its mailbox may take another */
        tr__budget_leave(loop->node, tr__addr_of(self));
        loop->beyond = false;
    }
    taken->flags |= TR__MSG_KEPT;
    if (extras->kept) {
        taken->next = extras->kept;
        taken->prev = extras->kept->prev;
        taken->prev->next = taken;
        taken->next->prev = taken;
    } else {
        taken->next = taken->prev = extras->kept = taken;
    }
    if (taken->kind == TR__MSG_ITEM)
        tr__item_kept(loop, taken);
    return taken;
}

const void *tr_match_type(const tr_msg *msg, tr_type *type)
{
    const tr_typeinfo *wanted = tr__type_of(type);
    if (msg->type == wanted)
        return wanted ? tr__msg_body(msg) : NULL;
    /* No more than the message's owner does: what it has in hand. */
    return wanted && msg->flags & TR__MSG_VERSIONS ? tr__version_of((tr_msg *)(uintptr_t)msg, wanted) : NULL;
}

const char *tr_msg_type_name(const tr_msg *msg)
{
    return msg->type ? msg->type->name : "signal";
}

tr_addr tr_msg_sender(const tr_msg *msg)
{
    return msg->sender;
}

uint64_t tr_msg_ask_number(const tr_msg *msg)
{
    return msg->kind == TR__MSG_ASK ? msg->ask : 0;
}

uint64_t tr_msg_remaining(tr_actor *self, const tr_msg *msg)
{
    if (msg->kind != TR__MSG_ASK || msg->deadline_ns == UINT64_MAX)
        return TR_FOREVER;
    uint64_t now = tr__now_fresh(tr__owner(self));
    return msg->deadline_ns > now ? msg->deadline_ns - now : 0;
}

char *tr_msg_json(const tr_msg *msg)
{
    return msg->type ? tr__json_encode(msg->type, tr__msg_body(msg)) : tr__strdup("null");
}

/* ---- from outside -------------------------------------------------------------------------------------- */

tr_err tr__inject_body(tr__loop *loop, tr_addr to, tr_type *type, const void *body)
{
    const tr_typeinfo *info = tr__type_of(type);
    size_t size = info ? body_size(info, body) : 0;
    if (size == SIZE_MAX)
        return TR_ETOOBIG;
    tr_msg *msg = info ? tr__msg_alloc(&loop->pool, loop->index, size) : NULL;
    if (!msg)
        return TR_ENOMEM;
    body_copy(info, msg, body);
    msg->kind = TR__MSG_NOTICE;
    tr__submit(loop, to, msg);
    return TR_OK;
}

static bool is_stopping(tr_node *node)
{
    return atomic_load_explicit(&node->stop_asked, memory_order_relaxed);
}

static tr_err post_counted(tr_node *node, tr_addr to, tr_type *type, const void *body, tr__msg_kind kind)
{
    const tr_typeinfo *info = tr__type_of(type);
    tr_actor *slot = tr__slot(node, to.slot);
    tr__loop *owner = slot ? atomic_load_explicit(&slot->owner, memory_order_acquire) : node->loops[0];
    size_t size = info ? body_size(info, body) : 0;
    uint32_t places = tr__msg_places(size);
    bool stale = true, beyond = false;
    if (size == SIZE_MAX)
        return TR_ETOOBIG;
    if (info && info->notice)
        return TR_EPERM;
    if (info && kind == TR__MSG_NORMAL && !tr__limit_admits(node, to, info, body, size, NULL))
        return TR_ETOOBIG;
    if (info && kind == TR__MSG_NORMAL && !tr__budget_admits(node, to, info, size, false, &beyond))
        return TR_EFULL;
    if (slot && places > tr__capacity(slot))
        places = tr__capacity(slot);
    bool full = slot && !tr__places_draw(&slot->places, to.generation, places, places, &stale) && !stale;
    tr_msg *msg = info && !full ? tr__msg_alloc_plain(node->buffers, size) : NULL;
    if (!msg) {
        if (!stale && !full)
            tr__places_give(&slot->places, to.generation, places);
        if (beyond)
            tr__budget_leave(node, to);
        return full ? TR_EFULL : TR_ENOMEM;
    }
    msg->flags |= beyond ? TR__MSG_BEYOND : 0;
    body_copy(info, msg, body);
    msg->kind = (uint8_t)kind;
    msg->places = (uint16_t)(stale ? 0 : places);
    msg->to.slot = to.slot;
    msg->to.generation = to.generation;
    atomic_fetch_add_explicit(&node->posted, 1, memory_order_relaxed);
    tr__loop_push(owner ? owner : node->loops[0], msg, msg);
    return TR_OK;
}

/* The node's end and this may meet: a post that has been let in is waited for before a loop drops what is left in its inbox,
 * and closes. */
static tr_err post(tr_node *node, tr_addr to, tr_type *type, const void *body, tr__msg_kind kind)
{
    if (to.node != node->id)
        return TR_ENOCONN;
    if (is_stopping(node)) /* who posts on and on doesn't keep the node from its end */
        return TR_ECLOSED;
    atomic_fetch_add_explicit(&node->posting, 1, memory_order_acq_rel);
    tr_err err = is_stopping(node) ? TR_ECLOSED : post_counted(node, to, type, body, kind);
    /* release: what was pushed, and the loop's waking, are over for who sees 0 */
    atomic_fetch_sub_explicit(&node->posting, 1, memory_order_release);
    return err;
}

/* By an operation that writes, so that it has its place among those of `post`: one that came before is seen here, and one that
 * comes behind sees that the node stops, as this thread has. */
bool tr__posts_over(tr_node *node)
{
    return atomic_fetch_add_explicit(&node->posting, 0, memory_order_acq_rel) == 0;
}

tr_err tr_post_body(tr_node *node, tr_addr to, tr_type *type, const void *body)
{
    return post(node, to, type, body, TR__MSG_NORMAL);
}

tr_err tr__post_notice(tr_node *node, tr_addr to, tr_type *type, const void *body)
{
    return post(node, to, type, body, TR__MSG_NOTICE);
}

tr__loop *tr__loop_of(tr_actor *self)
{
    return tr__owner(self);
}

const tr__kind_seams *tr__loop_kinds(const tr__loop *loop)
{
    return &loop->node->seams.kinds;
}

void *tr__loop_driver(tr__loop *loop)
{
    return loop->driver;
}
