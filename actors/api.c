/* The smaller calls of the API: the actor itself, names, time, words. The actor's own loop. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/names/claims.h"
#include "actors/names/warden.h"
#include "actors/remote/remote.h"
#include "actors/send.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- errors -------------------------------------------------------------------------------------------- */

tr_err tr__self_fail(tr_actor *self, tr_err code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tr_err err = tr_vfail(self, code, format, args);
    va_end(args);
    return err;
}

/* Without memory to keep it with the actor it is kept with the loop, until the next one of the kind. */
tr_err tr_vfail(tr_actor *self, tr_err code, const char *format, va_list args)
{
    tr__loop *loop = tr__owner(self);
    tr__extras *extras = tr__extras_of(loop, self);
    if (!extras)
        loop->unkept_of = tr__addr_of(self);
    return tr__vfail(extras ? &extras->last_error : &loop->unkept, code, format, args);
}

const tr_error *tr_last_error(tr_actor *self)
{
    static const tr_error none = {TR_OK, ""};
    const tr__loop *loop = tr__owner(self);
    if (self->extras && self->extras->last_error.code != TR_OK)
        return &self->extras->last_error;
    return tr_addr_equal(loop->unkept_of, tr__addr_of(self)) ? &loop->unkept : &none;
}

const char *tr_err_word(tr_err code)
{
    return tr__err_word(code);
}

/* ---- the actor itself ---------------------------------------------------------------------------------- */

tr_addr tr_self(const tr_actor *self)
{
    return tr__addr_of(self);
}

void *tr_state(tr_actor *self)
{
    return self->state_block;
}

tr_node *tr_node_of(tr_actor *self)
{
    return tr__owner(self)->node;
}

void tr_vexit(tr_actor *self, tr_err code, const char *format, va_list args)
{
    tr__loop *loop = tr__owner(self);
    tr__reason made, *reason = tr__ending_of(loop, self);
    if (!reason)
        reason = &made;
    tr_exit_kind well = self->traits & TR__STOP_ASKED ? TR_EXIT_SHUTDOWN : TR_EXIT_NORMAL;
    reason->kind = code == TR_OK ? well : TR_EXIT_ERROR;
    reason->code = code;
    size_t length = 0; /* most texts are plain: copied without printf they cost a tenth */
    while (length < sizeof(reason->text) - 1 && format[length] && format[length] != '%') {
        reason->text[length] = format[length];
        length++;
    }
    reason->text[length] = '\0';
    if (format[length])
        vsnprintf(reason->text, sizeof(reason->text), format, args);
    if (reason == &made)
        tr__end(loop, self, reason);
}

uint64_t tr_random(tr_actor *self)
{
    return tr__random_next(&tr__owner(self)->random);
}

/* ---- names and nodes ----------------------------------------------------------------------------------- */

tr_err tr_register_name(tr_actor *self, const char *name)
{
    tr_error error;
    tr_err err = tr__name_put(tr__owner(self)->node, name, tr__addr_of(self),
                              !(self->traits & (TR__SUPERVISED | TR__SYSTEM)), &error);
    if (err != TR_OK)
        return tr__self_fail(self, err, "%s", error.text);
    self->named = true;
    return TR_OK;
}

tr_addr tr_whereis(tr_actor *self, const char *name)
{
    return tr__name_get(tr__owner(self)->node, name);
}

tr_future tr_lookup(tr_actor *self, const char *path, uint64_t timeout_ns)
{
    tr__loop *loop = tr__owner(self);
    tr_future future = tr_ask(self, loop->node->warden, timeout_ns, tr__find_name, .path = path);
    char text[TR_ERROR_TEXT_MAX];
    snprintf(text, sizeof(text), TR__NOBODY_CALLED, path);
    tr__pending_explain(loop, self, future.id, text);
    return future;
}

tr_future tr_claim_name(tr_actor *self, const char *name)
{
    const char *given = name ? name : "";
    return tr_ask(self, tr__owner(self)->node->warden, TR_FOREVER, tr__claim_name,
                  .name = strchr(given, '/') ? "" : given);
}

tr_err tr_release_name(tr_actor *self, const char *name)
{
    return tr_send(self, tr__owner(self)->node->warden, tr__release_name, .name = name);
}

tr_err tr_watch_nodes(tr_actor *self)
{
    return tr_send(self, tr__owner(self)->node->warden, tr__watch_nodes, .watcher = tr__addr_of(self));
}

const char *tr_addr_format(tr_addr address, char *out)
{
    tr__addr_format(address, out);
    return out;
}

tr_err tr_addr_parse(const char *text, tr_addr *address)
{
    return tr__addr_parse(text, address, NULL);
}

/* ---- time ---------------------------------------------------------------------------------------------- */

uint64_t tr_now(tr_actor *self)
{
    return tr__owner(self)->now_ns;
}

tr_timer tr_after_body(tr_actor *self, uint64_t delay_ns, tr_type *type, const void *body)
{
    tr__loop *loop = tr__owner(self);
    tr_addr to = tr__addr_of(self);
    if (tr__must_stop(loop, self))
        return (tr_timer){0};
    const tr_typeinfo *info = tr__type_of(type);
    tr_msg *msg =
        tr__is_flat(info) ? tr__make_flat(loop, self, to, info, body) : tr_msg_make(self, type, body);
    tr__pending *pending = msg ? tr__pending_make(loop, self, TR__PENDING_MESSAGE) : NULL;
    if (!pending) {
        if (msg)
            tr__msg_free(loop, msg);
        tr__self_fail(self, TR_ENOMEM, "no memory for a timer");
        return (tr_timer){0};
    }
    msg->kind = TR__MSG_NOTICE;
    msg->sender = to;
    msg->to.slot = to.slot;
    msg->to.generation = to.generation;
    pending->msg = msg;
    uint64_t now = tr__now_for(loop, delay_ns);
    tr__wheel_set(&loop->wheel, &pending->timer, delay_ns > UINT64_MAX - now ? UINT64_MAX : now + delay_ns);
    return (tr_timer){tr__pending_id(pending)};
}

bool tr_timer_cancel(tr_actor *self, tr_timer timer)
{
    tr__loop *loop = tr__owner(self);
    tr__pending *pending = tr__pending_get(loop, self, timer.id);
    if (!pending || (pending->kind != TR__PENDING_MESSAGE && pending->kind != TR__PENDING_PERIOD))
        return false;
    tr__pending_free(loop, pending);
    return true;
}

/* ---- words --------------------------------------------------------------------------------------------- */

const char *tr_vfmt(tr_actor *self, const char *format, va_list args)
{
    tr__loop *loop = tr__owner(self);
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    tr__scratch *text = length < 0 ? NULL : tr__alloc(sizeof(*text) + (size_t)length + 1);
    if (text) {
        vsnprintf(text->text, (size_t)length + 1, format, again);
        text->next = loop->scratch;
        loop->scratch = text;
    }
    va_end(again);
    return text ? text->text : "";
}

void tr_vlog(tr_actor *self, tr_log_level level, const char *format, va_list args)
{
    char line[512];
    tr_node *node = tr__owner(self)->node;
    if (level > node->log_level)
        return;
    vsnprintf(line, sizeof(line), format, args);
    tr__node_log(node, level, "%s: %s", self->def->name, line);
}

void tr_assert_that(tr_actor *self, tr_assertion kind, bool holds, const char *name)
{
    tr_node *node = tr__owner(self)->node;
    if (node->seams.assertion)
        node->seams.assertion(node->seams.context, kind, holds, name);
    else if (kind == TR_ALWAYS && !holds)
        tr__node_log(node, TR_LOG_ERROR, "%s: always \"%s\" doesn't hold", self->def->name, name);
}
