/* See manager.h. The manager's own life: opened before the node connects, ended with loop 0's actors, before the driver
 * that its log wakes is closed. What can fail: opening (the log's errors, memory). */
#include "actors/tx/manager.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/limits.h"
#include "actors/remote/letter.h"
#include "actors/remote/rights.h"
#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"

#define MAILBOX        65535 /* places: all it can have */
#define ALARM_APART_NS TR_SECONDS(1)

/* ---- the seam io --------------------------------------------------------------------------------------- */

static uint64_t io_now(void *context)
{
    const tr__seams *seams = &((tr__transactions *)context)->node->seams;
    return seams->now(seams->context);
}

static uint64_t io_wall_ms(void *context)
{
    const tr__seams *seams = &((tr__transactions *)context)->node->seams;
    return seams->wall_ms(seams->context);
}

static uint64_t io_random(void *context)
{
    return tr__random_next(&((tr__transactions *)context)->node->loops[0]->random);
}

static void io_execute(void *context, tr__tx_branch *branch)
{
    tr__transactions *t = context;
    tr__loop *loop = t->node->loops[0];
    tr_addr to = tr__name_get(t->node, tr__tx_branch_actor(branch));
    const tr_typeinfo *info = tr__type_of(&tr__tx_execute_type);
    tr_msg *msg =
        info && !tr_addr_is_none(to) ? tr__msg_alloc(&loop->pool, loop->index, TR__TX_EXECUTE_ROOM) : NULL;
    if (!msg) {
        tr__tx_unexecuted(t->tx, branch, tr_addr_is_none(to) ? TR_TX_BRANCH_LOST : TR_TX_OVERLOAD);
        return;
    }
    msg->kind = TR__MSG_EXECUTE;
    tr__msg_filled(msg, info);
    msg->sender = TR__TX_MANAGER_OF(t->node->id);
    *(tr__tx_execute *)tr__msg_body(msg) = (tr__tx_execute){.branch = (uintptr_t)branch};
    tr__submit(loop, to, msg);
}

static void io_event(void *context, const tr_tx_id *id, const char *actor, const char *what,
                     const char *detail)
{
    tr__trail_add(&((tr__transactions *)context)->trail, io_now(context), id, actor, what, detail);
}

static void io_point(void *context, tr__tx_point point)
{
    static const char *const words[] = {
#define TR__WORD(name, word) word,
        TR__TX_POINTS(TR__WORD)
#undef TR__WORD
    };
    const tr__seams *seams = &((tr__transactions *)context)->node->seams;
    if (seams->point)
        seams->point(seams->context, words[point]);
}

/* A line a second at most: when a node is away, all that it decides comes at once. */
static void io_alarm(void *context, const tr__tx_doubt *doubt)
{
    tr__transactions *t = context;
    uint64_t now = io_now(t);
    char id[TR_TX_ID_TEXT], others[64] = "";
    if (t->alarm_logged_ns && now - t->alarm_logged_ns < ALARM_APART_NS) {
        t->alarms_unlogged++;
        return;
    }
    if (t->alarms_unlogged)
        snprintf(others, sizeof(others), "; so have %u others since the last such line", t->alarms_unlogged);
    t->alarm_logged_ns = now;
    t->alarms_unlogged = 0;
    tr__node_log(
        t->node, TR_LOG_WARN,
        "%s/%s is in doubt of transaction %s for %llu s: it keeps its lock, for which %u wait, and waits for "
        "node %s, which decides and %s%s",
        t->node->name, doubt->actor, tr__tx_id_format(&doubt->id, id),
        (unsigned long long)((now - doubt->since_ns) / TR_SECONDS(1)), doubt->waiting, doubt->decider,
        doubt->unanswered ? "doesn't answer" : "says that it hasn't yet", others);
}

/* To a name: who has it may have changed since it was emitted. */
static tr_err io_deliver(void *context, const tr__tx_frame *emit, tr_error *error)
{
    tr__transactions *t = context;
    tr__loop *loop = t->node->loops[0];
    char op[TR_TX_ID_TEXT], id[TR_TX_EMIT_ID_MAX];
    tr_tx_id of;
    tr_addr to = tr__name_get(t->node, emit->actor);
    const tr_actor_def *def = tr_addr_is_none(to) ? NULL : tr__def_of(t->node, to);
    if (!def)
        return tr__fail(error, TR_ENOACTOR, "node %s: no actor called %s runs there", t->node->name,
                        emit->actor);
    if (def->transact)
        return TR_EMISMATCH;
    TR_TRY(tr__peers_may_send(t, emit->from, to, emit->type, error));
    memcpy(&of, emit->id.data, sizeof(of));
    snprintf(id, sizeof(id), "%s/%.*s/%u", tr__tx_id_format(&of, op), TR_NAME_MAX, emit->text, emit->number);
    const tr__letter letter = {.to = to,
                               .sender = TR_ADDR_NONE,
                               .type = emit->type,
                               .fingerprint = emit->fingerprint,
                               .schema = emit->schema.present ? emit->schema.value : "",
                               .body = emit->body,
                               .id = id};
    return tr__letter_put(loop, &letter, error);
}

static void io_undelivered(void *context, const tr__tx_emitted *e)
{
    tr__transactions *t = context;
    char id[TR_TX_ID_TEXT];
    if (e->refused)
        tr__node_log(t->node, TR_LOG_WARN,
                     "%s/%s refused what transaction %s had %s/%s emit, so it isn't sent any more: %s",
                     e->node, e->to, tr__tx_id_format(&e->id, id), t->node->name, e->actor, e->why);
    else
        tr__node_log(
            t->node, TR_LOG_WARN,
            "what transaction %s had %s/%s emit is not delivered to %s/%s for %llu s, and sent again: "
            "%s",
            tr__tx_id_format(&e->id, id), t->node->name, e->actor, e->node, e->to,
            (unsigned long long)((io_now(t) - e->since_ns) / TR_SECONDS(1)),
            e->why[0] ? e->why : "no answer");
}

static void io_lost(void *context, const char *text)
{
    tr__transactions *t = context;
    tr__node_log(t->node, TR_LOG_ERROR, "%s", text);
}

static void io_fatal(void *context, const tr_error *error)
{
    tr__transactions *t = context;
    tr__node_log(t->node, TR_LOG_ERROR,
                 "node %s ends itself, and will know what it committed when it is started again: %s",
                 t->node->name, error->text);
    if (t->node->seams.fatal)
        t->node->seams.fatal(t->node->seams.context);
}

static const tr__tx_io io = {.now = io_now,
                             .may_begin = tr__peers_may_begin,
                             .wall_ms = io_wall_ms,
                             .random = io_random,
                             .send = tr__peers_send,
                             .execute = io_execute,
                             .called = tr__callers_called,
                             .done = tr__callers_done,
                             .event = io_event,
                             .point = io_point,
                             .alarm = io_alarm,
                             .deliver = io_deliver,
                             .undelivered = io_undelivered,
                             .lost = io_lost,
                             .fatal = io_fatal};

/* ---- being woken by the log ---------------------------------------------------------------------------- */

/* On the log's thread. One block, which is here or on its way: if it is on its way, its handler will see this batch as
 * well, for it gives the block back before it looks. So a wake can't be lost for want of memory. */
static void woken(void *context)
{
    tr__transactions *t = context;
    tr_msg *msg = atomic_exchange_explicit(&t->wake, NULL, memory_order_seq_cst);
    if (!msg)
        return;
    tr_addr to = TR__TX_MANAGER_OF(t->node->id);
    msg->kind = TR__MSG_NOTICE;
    msg->to.slot = to.slot;
    msg->to.generation = to.generation;
    atomic_fetch_add_explicit(&t->node->posted, 1, memory_order_relaxed);
    tr__loop_push(t->node->loops[0], msg, msg);
}

static void wake_came(tr__transactions *t)
{
    tr__loop *loop = t->node->loops[0];
    tr_msg *msg = loop->current; /* taken, to be sent again */
    loop->current = NULL;
    atomic_store_explicit(&t->wake, msg, memory_order_seq_cst);
    tr__tx_poll(t->tx);
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static void tell_unexecuted(tr__transactions *t)
{
    tr_tx_reason why;
    tr__tx_branch *branch;
    while ((branch = tr__tx_unexecuted_next(t->tx, &why))) {
        char text[TR_ERROR_TEXT_MAX];
        snprintf(text, sizeof(text),
                 why == TR_TX_OVERLOAD ? "node %s has no memory to have %s execute it"
                                       : "node %s: no actor called %s runs there",
                 t->node->name, tr__tx_branch_actor(branch));
        tr__tx_executed(t->tx, branch, why, text);
    }
}

/* What only the runtime sends. */
static void notice(tr__transactions *t, const tr_msg *msg)
{
    const tr__tx_execute *execute;
    const tr_down *down;
    const tr_canceled *canceled;
    const tr_node_event *event;
    if ((execute = tr_match(msg, tr__tx_execute))) {
        tr__tx_executed(t->tx, (tr__tx_branch *)(uintptr_t)execute->branch, (tr_tx_reason)execute->reason,
                        execute->text);
    } else if (tr_match(msg, tr__tx_wake)) {
        wake_came(t);
    } else if (tr_match(msg, tr__tx_tick_now)) {
        tr__tick_back(tr__owner(t->self), t->tick);
        tr__tx_tick(t->tx);
        tr__callers_sweep(t);
    } else if ((down = tr_match(msg, tr_down))) {
        tr__callers_down(t, down);
    } else if ((canceled = tr_match(msg, tr_canceled))) {
        tr__callers_canceled(t, canceled);
    } else if ((event = tr_match(msg, tr_node_event))) {
        tr__peers_changed(t, event);
    }
}

/* Of all transactions, with tickets: not for a peer that may begin none here. */
static void list(tr__transactions *t, const tr_msg *msg, uint32_t most)
{
    tr_error error;
    tr_err err = tr__node_may(t->node->loops[0], tr_msg_sender(msg).node, TR__RIGHT_TRANSACT, NULL, &error);
    if (err != TR_OK) {
        tr_reply_error(t->self, msg, err, "%s", error.text);
        return;
    }
    char *json = tr__trail_json(&t->trail, t->node->name, t->tx, most);
    if (json)
        tr_reply(t->self, msg, tr_tx_listing, .json = json);
    else
        tr_reply_error(t->self, msg, TR_ENOMEM, "no memory to list transactions");
    free(json);
}

static void dispatch(tr__transactions *t, const tr_msg *msg)
{
    const tr__tx_frame *frame;
    const tr__tx_do_call *call;
    const tr__tx_do *what;
    const tr__tx_do_resolve *resolve;
    const tr__tx_do_decide *decide;
    const tr_tx_list *listing;
    const tr__tx_do_hold *hold;
    const tr__tx_do_let_go *go;
    if (msg->kind == TR__MSG_NOTICE)
        notice(t, msg);
    else if ((frame = tr_match(msg, tr__tx_frame)))
        tr__peers_frame(t, msg, frame);
    else if ((listing = tr_match(msg, tr_tx_list)))
        list(t, msg, listing->most);
    else if (tr_msg_sender(msg).node != t->node->id)
        tr_reply_error(t->self, msg, TR_EPERM, "a node's actors have their own manager");
    else if ((call = tr_match(msg, tr__tx_do_call)))
        tr__callers_call(t, msg, call);
    else if ((what = tr_match(msg, tr__tx_do)))
        tr__callers_do(t, msg, what);
    else if ((resolve = tr_match(msg, tr__tx_do_resolve)))
        tr__callers_resolve(t, msg, resolve);
    else if ((decide = tr_match(msg, tr__tx_do_decide)))
        tr__callers_decide(t, msg, decide);
    else if (tr_match(msg, tr__tx_do_accept))
        tr__callers_accept(t, msg);
    else if ((hold = tr_match(msg, tr__tx_do_hold)))
        tr__callers_hold(t, msg, hold);
    else if ((go = tr_match(msg, tr__tx_do_let_go)))
        tr__callers_let_go(t, msg, go);
}

static void tick_soon(tr__transactions *t)
{
    if (!t->watching)
        t->watching = tr_watch_nodes(t->self) == TR_OK;
    tr__loop *loop = tr__owner(t->self);
    uint64_t due = tr__tx_due(t->tx, loop->now_ns);
    if (t->clients && due > t->sweep_ns)
        due = t->sweep_ns;
    if (!t->watching || due < loop->now_ns + TR__TX_TICK_NS)
        due = loop->now_ns + TR__TX_TICK_NS;
    if (due != UINT64_MAX)
        tr__tick_by(loop, t->tick, due);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    tr__transactions *t = *(tr__transactions **)state = (tr__transactions *)arg;
    t->self = self;
    tick_soon(t);
    return TR_OK;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    tr__transactions *t = *(tr__transactions **)state;
    (void)self;
    dispatch(t, msg);
    tell_unexecuted(t);
    tick_soon(t);
}

/* Here and not with the node's memory: what the log's thread wakes is still there. */
static void stop(tr_actor *self, void *state)
{
    tr__transactions *t = *(tr__transactions **)state;
    (void)self;
    tr__callers_fini(t);
    tr__peers_fini(t);
    tr__tx_close(t->tx);
    t->tx = NULL;
}

static const tr_actor_def manager_def = {.name = "tx",
                                         .state_size = sizeof(tr__transactions *),
                                         .init = init,
                                         .receive = receive,
                                         .stop = stop,
                                         .mailbox_places = MAILBOX};

/* ---- the node's part ----------------------------------------------------------------------------------- */

/* From the begin on: nothing has been asked, or said, yet. */
static tr_err open_decisions(tr__transactions *t, tr_error *error)
{
    const tr__seams *seams = &t->node->seams;
    if (!t->has_log || !seams->open_decisions)
        return TR_OK;
    *error = (tr_error){0};
    tr__decision_store *store = seams->open_decisions(seams->context, t->node->name, woken, t, error);
    if (store)
        tr__tx_decide_in(t->tx, store);
    return error->code;
}

/* Takes the store. */
static tr_err open_with(tr__transactions *t, tr__log_store *store, tr_error *error)
{
    tr_node *node = t->node;
    const tr_spawn_opts opts = {.name = manager_def.name};
    tr_addr address;
    t->tx = tr__tx_open(node->name, node->id, store, node->seams.log_options, &io, t, error);
    if (!t->tx) {
        if (store)
            store->close(store);
        return error->code;
    }
    t->has_log = tr__tx_has_log(t->tx);
    TR_TRY(open_decisions(t, error));
    if (tr__tx_lost(t->tx)) /* since before this start */
        tr__node_log(node, TR_LOG_ERROR, "%s", tr__tx_lost(t->tx));
    atomic_store_explicit(&t->versions, tr__tx_has_versions(t->tx), memory_order_relaxed);
    if (node->opts.outcomes_ns)
        tr__tx_keep_outcomes(t->tx, node->opts.outcomes_ns);
    tr_err err = tr__spawn(node->loops[0], &manager_def, t, &opts, &address, error);
    if (err != TR_OK) {
        tr__tx_close(t->tx);
        t->tx = NULL;
        return err;
    }
    tr__check(tr_addr_equal(address, TR__TX_MANAGER_OF(node->id)),
              "the manager is spawned right after the warden");
    t->tick = tr__tick_make(node->loops[0], tr__slot(node, address.slot), &tr__tx_tick_now_type);
    return t->tick ? TR_OK : tr__fail(error, TR_ENOMEM, "no memory for its clock");
}

tr_err tr__transactions_open(tr_node *node, tr_error *error)
{
    const tr__seams *seams = &node->seams;
    tr_error why;
    tr__transactions *t = tr__zalloc(sizeof(*t));
    tr_msg *wake = t ? tr__msg_alloc_plain(node->buffers, 0) : NULL;
    if (!wake) {
        tr__free(t);
        return tr__fail(error, TR_ENOMEM, "no memory for the transactions of node %s", node->name);
    }
    wake->type = tr__type_of(&tr__tx_wake_type);
    atomic_store(&t->wake, wake);
    t->node = node;
    tr__door_open(t);
    node->transactions = t;
    tr__log_store *store = NULL;
    if (node->opts.outcomes_ns && node->opts.outcomes_ns < TR_MINUTES(60)) /* longer than any is under way */
        return tr__fail(error, TR_EINVAL, "outcomes_ns: outcomes are kept for an hour at least");
    if (node->opts.data) {
        store = seams->open_log(seams->context, node->opts.data, node->name, woken, t, &why);
        if (!store)
            return tr__fail(error, why.code, "the log of transactions: %s", why.text);
    }
    if (open_with(t, store, &why) != TR_OK)
        return tr__fail(error, why.code, "transactions: %s", why.text);
    return TR_OK;
}

void tr__transactions_free(tr_node *node)
{
    tr__transactions *t = node->transactions;
    if (!t)
        return;
    node->transactions = NULL;
    tr__tx_close(t->tx);             /* of a node that never ran */
    tr__free(atomic_load(&t->wake)); /* NULL: it was dropped on its way */
    tr__trail_fini(&t->trail);
    tr__transact_defs_fini(t);
    tr__free(t);
}
