/* What others ask of a supervisor, and the calls that do so. A spec holds pointers, so only actors of its own node are
 * heard: no peer can make one up. See supervisor.h. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "actors/send.h"
#include "actors/supervision/supervisor.h"
#include "base/err.h"

/* Asked: answered with the same when all are up. */
TR_MESSAGE(tr__supervisor_up)
/* Asked: the spec is a tr_child_spec, but for its id. */
TR_MESSAGE(tr__child_start_asked, (string, id), (bytes, spec))
TR_MESSAGE(tr__child_stop_asked, (string, id))
TR_MESSAGE(tr__child_at, (u32, index))

/* ---- asking -------------------------------------------------------------------------------------------- */

static bool is_here(tr_actor *self, tr_addr supervisor)
{
    if (supervisor.node == tr__owner(self)->node->id)
        return true;
    tr__self_fail(self, TR_EPERM,
                  "a supervisor of another node can't be told what to do; ask an actor there");
    return false;
}

tr_future tr_supervisor_ready(tr_actor *self, tr_addr supervisor)
{
    return tr_ask(self, supervisor, TR_FOREVER, tr__supervisor_up);
}

tr_future tr_supervisor_start_child(tr_actor *self, tr_addr supervisor, const tr_child_spec *spec)
{
    const char *wrong = tr__child_spec_wrong(spec, spec->id);
    if (!is_here(self, supervisor))
        return (tr_future){0};
    if (wrong) {
        tr__self_fail(self, TR_EINVAL, "tr_supervisor_start_child: %s", wrong);
        return (tr_future){0};
    }
    return tr_ask(self, supervisor, TR_FOREVER, tr__child_start_asked, .id = spec->id,
                  .spec = {spec, sizeof(*spec)});
}

tr_future tr_supervisor_stop_child(tr_actor *self, tr_addr supervisor, const char *id)
{
    if (!is_here(self, supervisor))
        return (tr_future){0};
    return tr_ask(self, supervisor, TR_FOREVER, tr__child_stop_asked, .id = id);
}

tr_future tr_supervisor_child(tr_actor *self, tr_addr supervisor, uint32_t index)
{
    return tr_ask(self, supervisor, TR_FOREVER, tr__child_at, .index = index);
}

/* ---- answering ----------------------------------------------------------------------------------------- */

static tr__child *by_id(tr__supervisor *s, const char *id)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (strcmp(s->children[i].id, id) == 0)
            return &s->children[i];
    return NULL;
}

static void start_asked(tr_actor *self, tr__supervisor *s, const tr_msg *msg,
                        const tr__child_start_asked *asked)
{
    tr_child_spec spec;
    if (by_id(s, asked->id)) {
        tr_reply_error(self, msg, TR_EEXIST, "a child has the id %s already", asked->id);
        return;
    }
    if (s->count >= TR_CHILDREN_MAX) {
        tr_reply_error(self, msg, TR_EFULL, "a supervisor has at most %d children", TR_CHILDREN_MAX);
        return;
    }
    memcpy(&spec, asked->spec.data, sizeof(spec));
    tr__child *c = tr__child_add(self, s, &spec, asked->id);
    if (!c || !(c->asker = tr_msg_take(self, msg))) {
        tr_reply_error(self, msg, TR_ENOMEM, "no memory for %s", asked->id);
        if (c)
            tr__child_forget(self, s, c);
        return;
    }
    c->dynamic = true;
    c->state = TR__CHILD_DUE;
    c->due_ns = 0;
}

static void stop_asked(tr_actor *self, tr__supervisor *s, const tr_msg *msg, const char *id)
{
    tr__child *c = by_id(s, id);
    if (!c) {
        tr_reply_error(self, msg, TR_ENOTFOUND, "no child has the id %s", id);
        return;
    }
    if (c->asker || c->state == TR__CHILD_ASKED || c->state == TR__CHILD_KILLED) {
        tr_reply_error(self, msg, TR_EAGAIN, "%s is being started or stopped", id);
        return;
    }
    if (!tr__child_runs(c)) {
        tr_reply(self, msg, tr_child_stopped, .id = c->id);
        tr__child_forget(self, s, c);
        return;
    }
    if (!(c->asker = tr_msg_take(self, msg))) {
        tr_reply_error(self, msg, TR_ENOMEM, "no memory to stop %s", id);
        return;
    }
    c->dynamic = true; /* from now on it is forgotten when it ends */
    tr__child_ask(self, c);
}

static void child_at(tr_actor *self, const tr__supervisor *s, const tr_msg *msg, uint32_t index)
{
    if (index >= s->count) {
        tr_reply_error(self, msg, TR_ENOTFOUND, "it has %u children", s->count);
        return;
    }
    const tr__child *c = &s->children[index];
    tr_reply(self, msg, tr_child_is, .id = c->id, .state = tr__child_state_word(c),
             .actor = tr__child_runs(c) ? c->address : TR_ADDR_NONE, .restart = c->spec.restart,
             .restarts = c->restarts, .count = s->count);
}

static void up_asked(tr_actor *self, tr__supervisor *s, const tr_msg *msg)
{
    if (!s->first) {
        tr_reply(self, msg, tr__supervisor_up);
        return;
    }
    tr_msg *ask = s->ready_count < TR__READY_MAX ? tr_msg_take(self, msg) : NULL;
    if (ask)
        s->ready[s->ready_count++] = ask;
    else
        tr_reply_error(self, msg, TR_EFULL, "%d wait for this supervisor already", TR__READY_MAX);
}

static void forget_asker(tr_actor *self, tr__supervisor *s, const tr_canceled *canceled)
{
    for (uint32_t i = 0; i < s->ready_count; i++)
        if (tr_msg_ask_number(s->ready[i]) == canceled->ask &&
            tr_addr_equal(tr_msg_sender(s->ready[i]), canceled->asker)) {
            tr_msg_free(self, &s->ready[i]);
            s->ready[i] = s->ready[--s->ready_count];
            return;
        }
}

void tr__supervisor_tell_ready(tr_actor *self, tr__supervisor *s)
{
    while (s->ready_count) {
        tr_msg *ask = s->ready[--s->ready_count];
        tr_reply(self, ask, tr__supervisor_up);
        tr_msg_free(self, &ask);
    }
}

bool tr__supervisor_asked(tr_actor *self, tr__supervisor *s, const tr_msg *msg)
{
    const tr__child_start_asked *start = tr_match(msg, tr__child_start_asked);
    const tr__child_stop_asked *stop = tr_match(msg, tr__child_stop_asked);
    const tr__child_at *at = tr_match(msg, tr__child_at);
    const tr_canceled *canceled = tr_match(msg, tr_canceled);
    if (canceled) {
        forget_asker(self, s, canceled);
    } else if (tr_match(msg, tr__supervisor_up)) {
        up_asked(self, s, msg);
    } else if (at) {
        child_at(self, s, msg, at->index);
    } else if (!start && !stop) {
        return false;
    } else if (tr_msg_sender(msg).node != tr_self(self).node) {
        tr_reply_error(self, msg, TR_EPERM, "only actors of its own node can tell a supervisor what to do");
    } else if (s->state == TR__SUPERVISOR_ENDING) {
        tr_reply_error(self, msg, TR_ECLOSED, "this supervisor is ending");
    } else if (start) {
        start_asked(self, s, msg, start);
    } else {
        stop_asked(self, s, msg, stop->id);
    }
    return true;
}
