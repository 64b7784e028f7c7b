/* Participants' actors: what is spawned for a definition with `transact`, and how a call is executed. The actor's loop;
 * the branch, and the view in it, is lent to it until the block goes back, which it does once in any case. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/tx/manager.h"
#include "base/err.h"
#include "base/mem.h"

/* ---- definitions --------------------------------------------------------------------------------------- */

/* Around a definition without `receive`. Made once a definition and node, freed with the node. */
typedef struct tr__transact_wrap {
    struct tr__transact_wrap *next;
    const tr_actor_def *own;
    tr_actor_def def;
} wrap;

static void receive_nothing(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    if (tr_msg_ask_number(msg))
        tr_reply_error(self, msg, TR_EPERM, "%s executes a %s in a transaction only: tr_tx_call",
                       self->def->name, tr_msg_type_name(msg));
    else
        tr_log(self, TR_LOG_DEBUG,
               "a %s was sent to it, which does nothing: call it in a transaction (tr_tx_call)",
               tr_msg_type_name(msg));
}

static const tr_actor_def *wrap_of(tr__transactions *t, const tr_actor_def *def)
{
    wrap *made = tr__alloc(sizeof(*made)), *found;
    tr__spin_lock(&t->defs_lock);
    found = t->defs;
    while (found && found->own != def)
        found = found->next;
    if (!found && made) {
        *made = (wrap){.next = t->defs, .own = def};
        tr__def_copy(&made->def, def);
        made->def.receive = receive_nothing;
        t->defs = found = made;
        made = NULL;
    }
    tr__spin_unlock(&t->defs_lock);
    tr__free(made);
    return found ? &found->def : NULL;
}

tr_err tr__transact_def(tr_node *node, const tr_actor_def **def, const char *name, tr_error *error)
{
    const tr_actor_def *own = *def;
    if (own->run)
        return tr__fail(error, TR_EINVAL,
                        "actor definition %s: `transact` goes with `receive`, not with `run`", own->name);
    if (!node->transactions || !node->transactions->has_log)
        return tr__fail(error, TR_EINVAL, "%s: give the node a directory for its log: --data DIR", own->name);
    if (!name)
        return tr__fail(error, TR_EINVAL,
                        "%s keeps its state under its name: spawn it with one (tr_spawn_opts.name)",
                        own->name);
    if (!own->receive)
        *def = wrap_of(node->transactions, own);
    return *def ? TR_OK : tr__fail(error, TR_ENOMEM, "no memory for the definition of %s", own->name);
}

void tr__transact_defs_fini(tr__transactions *t)
{
    while (t->defs) {
        wrap *next = t->defs->next;
        tr__free(t->defs);
        t->defs = next;
    }
}

/* ---- a call -------------------------------------------------------------------------------------------- */

typedef struct verdict {
    tr_tx_reason reason;
    char text[TR_ERROR_TEXT_MAX];
} verdict;

static verdict refused(tr_tx_reason reason, const char *format, ...) __attribute__((format(printf, 2, 3)));
static verdict refused(tr_tx_reason reason, const char *format, ...)
{
    verdict v = {.reason = reason};
    va_list args;
    va_start(args, format);
    vsnprintf(v.text, sizeof(v.text), format, args);
    va_end(args);
    return v;
}

/* What a failed call of the view means to the transaction. */
static tr_tx_reason reason_of(tr_err err)
{
    switch (err) {
    case TR_EPERM:
    case TR_EINVAL:
        return TR_TX_NOT_ALLOWED;
    case TR_ETOOBIG:
        return TR_TX_TOO_LARGE;
    case TR_ENOMEM:
        return TR_TX_OVERLOAD;
    default:
        return TR_TX_APP;
    }
}

/* The message of a call; NULL: *why says why not. */
static tr_msg *decode(tr__loop *loop, const tr__tx_call_at *call, verdict *why)
{
    size_t size = 0;
    tr_error error = {0};
    const char *schema = (const char *)call->body + call->size;
    const tr_typeinfo *info = tr__type_for(call->type, call->fingerprint, schema, call->schema_size, &error);
    const tr_typeinfo *like = info ? info : tr__type_find(call->type, 0);
    if (!info)
        *why = like
                   ? refused(TR_TX_NOT_ALLOWED, "node %s declares %s with other fields%s%s", loop->node->name,
                             like->name, call->schema_size ? ": " : "", call->schema_size ? error.text : "")
                   : refused(TR_TX_NOT_ALLOWED, "node %s declares no message type with the id %016" PRIx64,
                             loop->node->name, call->type);
    else if (info->notice)
        *why = refused(TR_TX_NOT_ALLOWED, "a %s is sent by the runtime only", info->name);
    else if (tr__cbor_measure(info, call->body, call->size, &size, &error) != TR_OK)
        *why = refused(TR_TX_NOT_ALLOWED, "a %s that can't be decoded: %s", info->name, error.text);
    if (why->reason)
        return NULL;
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, size);
    if (msg && !tr__cbor_decode(info, call->body, call->size, loop->node->buffers, tr__msg_body(msg))) {
        tr__msg_free(loop, msg);
        msg = NULL;
    }
    if (!msg) {
        *why = refused(TR_TX_OVERLOAD, "node %s has no memory for a %s", loop->node->name, info->name);
        return NULL;
    }
    tr__msg_filled(msg, info);
    return msg;
}

/* By what the view says, then by what the code returned. */
static verdict judge(const tr_txview *view, tr_err err, const char *name, const char *what)
{
    if (view->error)
        return refused(reason_of(view->error), "%s", view->text);
    return err == TR_OK ? (verdict){.reason = TR_TX_NONE}
                        : refused(TR_TX_APP, "%s, executing a %s: %s", name, what, tr__err_meaning(err));
}

static void open_view(tr_txview *view, bool writes)
{
    tr__view_drop_reply(view);
    view->writing = writes;
    view->error = TR_OK;
    view->text[0] = '\0';
}

static verdict migrate(tr__loop *loop, tr_actor *actor, tr__tx_branch *branch)
{
    tr_error error = {0};
    tr_txview *view = tr__tx_branch_view(branch);
    open_view(view, true);
    loop->running = actor;
    tr_err err = tr__migrate(actor, view, tr__tx_branch_actor(branch), &error);
    return err == TR_OK ? (verdict){.reason = TR_TX_NONE}
                        : refused(err == TR_EVERSION ? TR_TX_NOT_ALLOWED : reason_of(err), "%s", error.text);
}

static verdict execute(tr__loop *loop, tr_actor *actor, tr__tx_branch *branch)
{
    verdict v = {.reason = TR_TX_NONE};
    tr_error error = {0};
    const tr__tx_call_at *call = tr__tx_branch_call(branch);
    tr_txview *view = tr__tx_branch_view(branch);
    if (!actor->def->transact)
        return refused(TR_TX_NOT_ALLOWED,
                       "%s on node %s takes no part in transactions (%s has no `transact`)",
                       tr__tx_branch_actor(branch), loop->node->name, actor->def->name);
    if (call->migrates)
        return migrate(loop, actor, branch);
    if (actor->traits & TR__MIGRATING) /* one that was called before the migration was */
        return refused(TR_TX_OVERLOAD,
                       "what %s on node %s keeps is being brought to another version: try again",
                       tr__tx_branch_actor(branch), loop->node->name);
    if (tr__version_check(actor, view, tr__tx_branch_actor(branch), &error) != TR_OK)
        return refused(TR_TX_NOT_ALLOWED, "%s", error.text);
    tr_msg *msg = decode(loop, call, &v);
    if (!msg)
        return v;
    open_view(view, call->writes);
    loop->running = actor;
    tr__watch_type(loop, msg);
    tr_err err = actor->def->transact(view, actor->state_block, msg);
    if (!view->error && err == TR_OK)
        view->error = tr__version_note(actor, view);
    v = judge(view, err, tr__tx_branch_actor(branch), msg->type->name);
    tr__msg_free(loop, msg);
    return v;
}

/* The block goes back, with the verdict. */
static void answer(tr__loop *loop, tr_msg *msg, const verdict *v)
{
    tr__tx_execute *e = tr__msg_body(msg);
    char *text = (char *)(e + 1);
    snprintf(text, TR_ERROR_TEXT_MAX, "%s", v->text);
    e->reason = v->reason;
    e->text = text;
    msg->kind = TR__MSG_NOTICE;
    tr__submit(loop, TR__TX_MANAGER_OF(loop->node->id), msg);
}

void tr__transact_execute(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    const tr__tx_execute *e = tr__msg_body(msg);
    verdict v = execute(loop, actor, (tr__tx_branch *)(uintptr_t)e->branch);
    answer(loop, msg, &v);
}

void tr__transact_lost(tr__loop *loop, tr_msg *msg)
{
    const tr__tx_execute *e = tr__msg_body(msg);
    verdict v = refused(TR_TX_BRANCH_LOST, "%s on node %s ended before it had executed the call",
                        tr__tx_branch_actor((tr__tx_branch *)(uintptr_t)e->branch), loop->node->name);
    answer(loop, msg, &v);
}
