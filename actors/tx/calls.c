/* Transactions as actors call them: see api_list.h. Each is an ask of this node's manager. The calling actor's loop. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/tx/manager.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/plant.h"

#define DEADLINE_NS  TR_SECONDS(10)
#define LOCK_WAIT_NS TR_SECONDS(2)
#define SLACK_NS \
    TR_SECONDS(10) /* the manager answers in time itself: the ask's own deadline is for its bugs */
#define RUNS_MAX   5
#define BACKOFF_NS TR_MILLIS(10) /* doubles */
#define BUSY_PART  32            /* the same for overload, of the lock wait: in all about as long as that */
#define AGE_MAX_NS TR_MINUTES(9) /* an older priority would be refused: TR__TX_SKEW_MS */

static tr_addr manager_of(tr_actor *self)
{
    return TR__TX_MANAGER_OF(tr__owner(self)->node->id);
}

tr_tx tr_tx_begin(tr_actor *self, const tr_tx_opts *opts)
{
    tr__loop *loop = tr__owner(self);
    const tr__seams *seams = &loop->node->seams;
    uint64_t deadline = opts && opts->deadline_ns ? opts->deadline_ns : DEADLINE_NS;
    if (deadline > TR__TX_DEADLINE_MAX)
        deadline = TR__TX_DEADLINE_MAX;
    uint64_t high = tr_random(self);
    return (tr_tx){.self = self,
                   .id = tr__tx_id_make(seams->wall_ms(seams->context), high, tr_random(self)),
                   .until_ns = tr__now_fresh(loop) + deadline,
                   .lock_wait_ns = opts && opts->lock_wait_ns ? opts->lock_wait_ns : LOCK_WAIT_NS,
                   .read_only = opts && opts->read_only};
}

static void id_halves(const tr_tx *tx, uint64_t *front, uint64_t *back)
{
    memcpy(front, tx->id.bytes, 8);
    memcpy(back, tx->id.bytes + 8, 8);
}

static uint64_t timeout_of(const tr_tx *tx)
{
    uint64_t now = tr__now_fresh(tr__owner(tx->self));
    return (tx->until_ns > now ? tx->until_ns - now : 0) + SLACK_NS;
}

tr_future tr_tx_call_body(tr_tx *tx, const char *path, tr_type *type, const void *body)
{
    tr_actor *self = tx->self;
    tr_future none = {0};
    const tr_typeinfo *info = tr__type_of(type);
    size_t room = info ? tr__cbor_bound(info, body) : 0;
    if (room > TR_TX_REDO_MAX) {
        tr__self_fail(self, TR_ETOOBIG, "a %s of more than %u bytes can't be called", type->name,
                      TR_TX_REDO_MAX);
        return none;
    }
    uint8_t *bytes = info ? tr__alloc(room) : NULL;
    if (!bytes) {
        tr__self_fail(self, TR_ENOMEM, "no memory to call %s", path);
        return none;
    }
    tr__tx_do_call call = {.until_ns = tx->until_ns,
                           .lock_wait_ns = tx->lock_wait_ns,
                           .calls = tx->calls,
                           .path = path,
                           .type = info->id,
                           .fingerprint = info->fingerprint,
                           .writes = type->flags & TR_WRITES ? 1 : 0,
                           .read_only = tx->read_only,
                           .body = {bytes, tr__cbor_encode(info, body, bytes, room)}};
    id_halves(tx, &call.id_front, &call.id_back);
    tr_future future = tr_ask_body(self, manager_of(self), timeout_of(tx), &tr__tx_do_call_type, &call);
    tr__free(bytes);
    if (future.id)
        tx->calls++;
    return future;
}

static tr__tx_do what_of(const tr_tx *tx, tr__tx_what what)
{
    tr__tx_do message = {
        .what = what, .until_ns = tx->until_ns, .lock_wait_ns = tx->lock_wait_ns, .calls = tx->calls};
    id_halves(tx, &message.id_front, &message.id_back);
    return message;
}

static tr_future ask(tr_tx *tx, tr__tx_what what)
{
    tr__tx_do message = what_of(tx, what);
    return tr_ask_body(tx->self, manager_of(tx->self), timeout_of(tx), &tr__tx_do_type, &message);
}

/* A second answer couldn't be true: the manager forgets a transaction with the first. */
tr_future tr_tx_commit(tr_tx *tx)
{
    tr_future none = {0};
    if (tx->committed) {
        tr__self_fail(tx->self, TR_EINVAL,
                      "this transaction was committed before: wait for that answer, or resolve its ticket");
        return none;
    }
    tr_future future = ask(tx, TR__TX_DO_COMMIT);
    tx->committed = future.id != 0;
    return future;
}

tr_future tr_tx_ticket(tr_tx *tx)
{
    return ask(tx, TR__TX_DO_TICKET);
}

/* If it can't be sent the deadline ends it. */
void tr_tx_abort(tr_tx *tx)
{
    tr__tx_do message = what_of(tx, TR__TX_DO_ABORT);
    tr_send_body(tx->self, manager_of(tx->self), &tr__tx_do_type, &message);
}

tr_future tr_tx_resolve(tr_actor *self, const char *ticket, uint64_t timeout_ns)
{
    uint64_t now = tr__now_fresh(tr__owner(self)), most = UINT64_MAX - SLACK_NS - now;
    if (timeout_ns > most)
        timeout_ns = most;
    return tr_ask(self, manager_of(self), timeout_ns + SLACK_NS, tr__tx_do_resolve, .ticket = ticket,
                  .until_ns = now + timeout_ns);
}

/* ---- for fibers ---------------------------------------------------------------------------------------- */

static tr_tx_outcome outcome(tr_tx_status status, tr_tx_reason reason, const char *text)
{
    tr_tx_outcome out = {.status = status, .reason = reason};
    snprintf(out.text, sizeof(out.text), "%s", text);
    return out;
}

static tr_tx_outcome outcome_in(const tr_tx_done *done)
{
    tr_tx_outcome out = outcome((tr_tx_status)done->status, (tr_tx_reason)done->reason, done->text);
    out.commit_ts = done->commit_ts;
    snprintf(out.ticket, sizeof(out.ticket), "%s", done->ticket);
    return out;
}

/* What the next attempt has to know: when the first was begun; 0: not known yet. */
static void keep_priority(uint64_t *priority, const tr_tx_done *done)
{
    if (!*priority && done->priority.present)
        *priority = done->priority.value;
}

/* The body has failed, or the commit never left: whatever the manager says, nothing is committed. */
static tr_tx_outcome give_up(tr_tx *tx, tr_err err, uint64_t *priority)
{
    tr_actor *self = tx->self;
    tr__reason said = tr__error_reason(self, err);
    const tr_error *last = tr_last_error(self);
    tr_tx_outcome out = outcome(TR_TX_ABORTED, TR_TX_APP, last->code == err ? last->text : said.text);
    const tr_tx_done *done;
    if (tr_await(self, ask(tx, TR__TX_DO_ABORT), tr_tx_done, &done) != TR_OK)
        return out;
    if (err == TR_EABORTED)
        out.reason = (tr_tx_reason)done->reason;
    keep_priority(priority, done);
    return out;
}

static tr_tx_outcome end_of(tr_actor *self, tr_future commit, uint64_t *priority)
{
    const tr_tx_done *done;
    if (tr_await(self, commit, tr_tx_done, &done) != TR_OK)
        return outcome(TR_TX_UNKNOWN, TR_TX_NONE, tr_last_error(self)->text);
    keep_priority(priority, done);
    return outcome_in(done);
}

tr_tx_outcome tr_tx_outcome_of(tr_actor *self, tr_future future)
{
    uint64_t priority = 0;
    return end_of(self, future, &priority);
}

/* One that is run again keeps its place among those who wait: so it is once the oldest, and goes through. */
static tr_err begin_again(tr_tx *tx, uint64_t priority)
{
    tr__tx_do message = what_of(tx, TR__TX_DO_BEGIN);
    message.priority = priority;
    if (!priority || TR_PLANT(retry_as_new))
        return TR_OK;
    return tr_await_msg(
        tx->self, tr_ask_body(tx->self, manager_of(tx->self), timeout_of(tx), &tr__tx_do_type, &message),
        NULL);
}

static tr_tx_outcome run_once(tr_actor *self, tr_tx_body body, void *arg, const tr_tx_opts *opts,
                              uint64_t *priority)
{
    tr__transactions *t = tr__owner(self)->node->transactions;
    if (!tr__door_is_open(t, *priority != 0))
        return outcome(TR_TX_ABORTED, TR_TX_OVERLOAD,
                       "this node has as many transactions under way as it may: try again");
    tr_tx tx = tr_tx_begin(self, opts);
    if (begin_again(&tx, *priority) != TR_OK)
        return outcome(TR_TX_ABORTED, TR_TX_OVERLOAD, tr_last_error(self)->text);
    const tr_tx_ticket_is *is;
    char ticket[TR_TX_TICKET_MAX] = "";
    tr_err err = body(self, &tx, arg);
    if (err == TR_OK && tx.calls) { /* for the case that nobody is left to answer the commit */
        err = tr_await(self, tr_tx_ticket(&tx), tr_tx_ticket_is, &is);
        if (err == TR_OK)
            snprintf(ticket, sizeof(ticket), "%s", is->ticket);
    }
    tr_future commit = {0};
    if (err == TR_OK && !(commit = tr_tx_commit(&tx)).id)
        err = tr_last_error(self)->code;
    if (tx.committed && !commit.id)
        return outcome(TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED,
                       "its body has committed it: tr_tx_run does that itself");
    if (err != TR_OK)
        return give_up(&tx, err, priority);
    tr_tx_outcome out = end_of(self, commit, priority);
    if (out.status == TR_TX_UNKNOWN && !out.ticket[0])
        snprintf(out.ticket, sizeof(out.ticket), "%s", ticket);
    return out;
}

static bool is_worth_another(tr__transactions *t, const tr_tx_outcome *out)
{
    return out->status == TR_TX_ABORTED &&
           (out->reason == TR_TX_WOUNDED || (out->reason == TR_TX_OVERLOAD && tr__retry_spent(t)));
}

/* Who was wounded needs what soon is free; where there is too much to do, time has to pass. */
static uint64_t pause_of(const tr_tx_outcome *out, const tr_tx_opts *opts)
{
    uint64_t wait = opts && opts->lock_wait_ns ? opts->lock_wait_ns : LOCK_WAIT_NS;
    uint64_t busy = (wait < TR__TX_DEADLINE_MAX ? wait : TR__TX_DEADLINE_MAX) / BUSY_PART;
    return out->reason == TR_TX_OVERLOAD && busy > BACKOFF_NS ? busy : BACKOFF_NS;
}

tr_tx_outcome tr_tx_run(tr_actor *self, tr_tx_body body, void *arg, const tr_tx_opts *opts)
{
    if (!self->fiber)
        return outcome(TR_TX_ABORTED, TR_TX_NOT_ALLOWED,
                       "tr_tx_run waits, so only an actor with `run` can call it");
    uint64_t priority = 0, first = tr__now_fresh(tr__owner(self));
    tr__transactions *t = tr__owner(self)->node->transactions;
    tr__retry_earned(t);
    tr_tx_outcome out = run_once(self, body, arg, opts, &priority);
    for (int run = 1; run < RUNS_MAX && is_worth_another(t, &out); run++) {
        uint64_t pause = pause_of(&out, opts) << run;
        if (tr_sleep(self, pause / 2 + tr_random(self) % pause) != TR_OK ||
            tr__now_fresh(tr__owner(self)) - first > AGE_MAX_NS)
            break;
        out = run_once(self, body, arg, opts, &priority);
    }
    return out;
}
