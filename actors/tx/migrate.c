/* Migrations: what a participant keeps has a version, and the participant's code is of one. Before the init of one whose
 * code may be of another than what is there, an actor beside it, the migrator, begins a transaction of one call, which
 * the participant executes by its definition's `migrate`, while it is COMING still.
 *
 *     COMING ─may differ─► MIGRATING ─committed─► init
 *                              └─can't be─► it ends, as by a failed init
 *
 * V1  The version is a value of what is kept (store.h), so a migration and its version are one record: it is done once, and what
 *     a crash interrupts begins again with the old state.
 * V2  It has the participant's lock. What is in doubt holds that: it ends, and is applied, before; in the version that it was
 *     prepared with.
 * V3  No call is executed by code of another version than what is kept has: not before init (MIGRATING), and not later (checked at each
 *     call). What was begun with another actor of that name holds the lock until it ends.
 *
 * Threads: the participant's loop; the migrator is an actor like any other. */
#include "actors/operator/observe.h"
#include "actors/tx/manager.h"

#include <stdio.h>

#include <troupe/troupe.h>

#include "base/err.h"
#include "base/plant.h"

#define WAIT_NS \
    TR_SECONDS(10) /* for what is in doubt, in one attempt: so long is kept what an attempt left behind */
#define PAUSE_NS     TR_MILLIS(10) /* between attempts; doubles, up to: */
#define PAUSE_MAX_NS TR_MILLIS(100)

TR_MESSAGE(tr__tx_migrator, (addr, actor), (string, name))

/* ---- within the participant ---------------------------------------------------------------------------- */

static bool is_empty(const tr_txview *view)
{
    return !view->store->entries;
}

static tr_err differs(const tr_actor *actor, const char *name, uint32_t version, tr_error *error)
{
    uint32_t own = actor->def->state_version;
    return tr__fail(error, TR_EVERSION, "what %s keeps is of version %u, and its code (%s) of version %u: %s",
                    name, version, actor->def->name, own,
                    version > own ? "start the program that wrote it, or a newer one"
                                  : "give the definition a `migrate`");
}

tr_err tr__version_check(const tr_actor *actor, const tr_txview *view, const char *name, tr_error *error)
{
    uint32_t version = tr__view_version(view);
    if (version == actor->def->state_version || (version == 0 && is_empty(view)) ||
        TR_PLANT(migrated_again) || TR_PLANT(migration_unawaited))
        return TR_OK;
    return differs(actor, name, version, error);
}

tr_err tr__version_note(const tr_actor *actor, tr_txview *view)
{
    uint32_t version = actor->def->state_version;
    if (!view->writes || tr__view_version(view) || !version)
        return TR_OK;
    tr_err err = tr__view_put_version(view, version);
    if (err != TR_OK)
        snprintf(view->text, sizeof(view->text), "the version beside what it wrote: %s",
                 tr__err_meaning(err));
    return err;
}

tr_err tr__migrate(const tr_actor *actor, tr_txview *view, const char *name, tr_error *error)
{
    const tr_actor_def *def = actor->def;
    uint32_t version = tr__view_version(view), to = def->state_version;
    if (version == to || is_empty(view))
        return TR_OK;
    if (version > to || !def->migrate)
        return differs(actor, name, version, error);
    for (; version < to; version++) {
        tr_err err = def->migrate(view, version);
        err = view->error ? view->error : err;
        if (err != TR_OK)
            return tr__fail(error, err, "what %s keeps can't be brought from version %u to %u by %s: %s",
                            name, version, version + 1, def->name,
                            view->text[0] ? view->text : tr__err_meaning(err));
    }
    if (TR_PLANT(migrated_again))
        return TR_OK;
    tr_err err = tr__view_put_version(view, to);
    return err == TR_OK ? TR_OK : tr__fail(error, err, "%s: its version: %s", name, tr__err_meaning(err));
}

/* ---- the migrator -------------------------------------------------------------------------------------- */

static tr_err call(tr_actor *self, tr_tx *tx, void *name)
{
    (void)self;
    return tr_tx_await(tx, name, tr__tx_migrate);
}

/* Those that another attempt wouldn't end otherwise. */
static bool is_final(const tr_tx_outcome *out)
{
    return out->status == TR_TX_ABORTED &&
           (out->reason == TR_TX_APP || out->reason == TR_TX_NOT_ALLOWED || out->reason == TR_TX_TOO_LARGE);
}

/* Linked while it works: it ends with the participant. How it ends is what the participant, which watches it, hears. */
static tr_err migrator_run(tr_actor *self, void *arg)
{
    const tr__tx_migrator *m = arg;
    const tr_tx_opts opts = {.deadline_ns = WAIT_NS, .lock_wait_ns = WAIT_NS};
    tr_tx_outcome out = {.status = TR_TX_UNKNOWN};
    TR_TRY(tr_link(self, m->actor));
    for (uint64_t pause = PAUSE_NS;; pause = pause * 2 < PAUSE_MAX_NS ? pause * 2 : PAUSE_MAX_NS) {
        out = tr_tx_run(self, call, (void *)(uintptr_t)m->name, &opts);
        if (out.status == TR_TX_COMMITTED || is_final(&out))
            break;
        if (pause == PAUSE_NS)
            tr_log(self, TR_LOG_WARN, "%s waits, for the version of what it keeps isn't known yet: %s",
                   m->name, out.text);
        TR_TRY(tr_sleep(self, pause / 2 + tr_random(self) % pause));
    }
    tr_unlink(self, m->actor);
    if (out.status != TR_TX_COMMITTED) {
        tr_log(self, TR_LOG_ERROR, "%s isn't started: %s", m->name, out.text);
        tr_exit(self, out.reason == TR_TX_NOT_ALLOWED ? TR_EVERSION : TR_EAPP, "%s", out.text);
    }
    return TR_OK;
}

static const tr_actor_def migrator_def = {
    .name = "migrator", .run = migrator_run, .arg_type = &tr__tx_migrator_type};

/* ---- before init --------------------------------------------------------------------------------------- */

static void refuse(tr__loop *loop, tr_actor *actor, tr_err code, const char *text)
{
    tr__reason reason = {.kind = TR_EXIT_ERROR, .code = code};
    snprintf(reason.text, sizeof(reason.text), "%.*s", TR__REASON_TEXT - 1, text);
    tr__actor_finish(loop, actor, &reason);
}

static tr_err spawn_migrator(tr__loop *loop, tr_actor *actor, const char *name, tr_error *error)
{
    tr_addr migrator;
    const tr__tx_migrator arg = {.actor = tr__addr_of(actor), .name = name};
    TR_TRY(tr__spawn(loop, &migrator_def, &arg, NULL, &migrator, error));
    if (tr_monitor(actor, migrator) == 0)
        return tr__fail(error, TR_ENOMEM, "no memory to watch the migration of %s", name);
    return TR_OK;
}

static bool begin(tr__loop *loop, tr_actor *actor, bool *gone)
{
    char name[TR_NAME_MAX];
    tr_error error = {.code = TR_OK};
    tr__transactions *t = loop->node->transactions;
    if (!actor->def->state_version && !atomic_load_explicit(&t->versions, memory_order_relaxed))
        return true;
    atomic_store_explicit(&t->versions, true, memory_order_relaxed);
    if (!tr__name_of(loop->node, tr__addr_of(actor), name))
        return true; /* it gave its name up, so nothing is its */
    *gone = spawn_migrator(loop, actor, name, &error) != TR_OK;
    if (*gone)
        refuse(loop, actor, error.code, error.text);
    else if (!TR_PLANT(migration_unawaited))
        actor->traits |= TR__MIGRATING;
    return !*gone && !(actor->traits & TR__MIGRATING);
}

/* It is over: init, or the end. */
static void end(tr__loop *loop, tr_actor *actor, const tr_down *down, bool *gone)
{
    actor->traits &= (uint8_t)~TR__MIGRATING;
    *gone = down->kind != TR_EXIT_NORMAL;
    if (*gone)
        refuse(loop, actor, down->code ? (tr_err)down->code : TR_EKILLED, down->text);
}

/* What can't wait for init: calls, what ends it, the end of the migrator, which is the only one that it watches, and links. */
static bool is_due(const tr_msg *msg)
{
    switch ((tr__msg_kind)msg->kind) {
    case TR__MSG_EXECUTE:
    case TR__MSG_SHUTDOWN:
    case TR__MSG_EXIT:
    case TR__MSG_LINK:
    case TR__MSG_UNLINK:
        return true;
    case TR__MSG_NOTICE:
        return tr_match(msg, tr_down) != NULL;
    default:
        return false;
    }
}

/* The next of them, out of its mailbox, where the rest stays (A3); NULL: there is none. */
static tr_msg *next_of(tr_actor *actor)
{
    tr_msg *before = NULL, *msg = actor->head;
    while (msg && !is_due(msg)) {
        before = msg;
        msg = msg->next;
    }
    if (msg)
        tr__mailbox_unlink(actor, before, msg);
    return msg;
}

/* *gone: it has ended. */
static void handle(tr__loop *loop, tr_actor *actor, tr_msg *msg, bool *gone)
{
    uint32_t generation = atomic_load_explicit(&actor->generation, memory_order_relaxed);
    tr__observe(loop, actor, msg);
    if (msg->kind != TR__MSG_NOTICE) {
        tr__runtime_message(loop, actor, msg);
        tr__scratch_free(loop);
        loop->running = NULL;
        *gone = !tr__is_generation(actor, generation);
        return;
    }
    TR__COUNT(loop->counts.handled);
    if (tr__notice_wanted(loop, actor, msg)) /* and it watches it no more */
        end(loop, actor, tr__msg_body(msg), gone);
    tr__msg_free(loop, msg);
}

bool tr__transact_may_start(tr__loop *loop, tr_actor *actor, bool *gone)
{
    tr_msg *msg;
    if (!(actor->traits & TR__MIGRATING))
        return begin(loop, actor, gone);
    while (!*gone && actor->traits & TR__MIGRATING && (msg = next_of(actor)))
        handle(loop, actor, msg, gone);
    return !*gone && !(actor->traits & TR__MIGRATING);
}
