/* What a participant's node does when it is called, asked to prepare, and told: see core.h for the drawing, state.h for
 * the states' meaning, branch.c for the branches themselves. The owner's thread; a branch's view is lent to the participant's actor while it executes.
 *
 * How it can fail: whatever goes wrong before PREPARE is durable ends the branch without effect, and the caller hears
 * why with its next answer, or by the vote. After that nothing ends it but a decision (T2). */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

/* ---- calls --------------------------------------------------------------------------------------------- */

static void execute(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_branch_go(tx, branch, TR__BRANCH_EXECUTING);
    branch->view.writing = branch->calls->writes;
    branch->view.error = TR_OK;
    branch->view.text[0] = '\0';
    tr__view_drop_reply(&branch->view);
    tr__tx_event(tx, &branch->key.id, branch->at->name, "lock", branch->exclusive ? "exclusive" : "shared");
    tx->io->execute(tx->context, branch);
}

void tr__tx_granted(tr__tx *tx, tr__tx_branch *branch)
{
    execute(tx, branch);
}

/* Begin the front call, if there is one. */
static void go_on(tr__tx *tx, tr__tx_branch *branch)
{
    if (!branch->calls) {
        if (branch->state != TR__BRANCH_READY)
            tr__tx_branch_go(tx, branch, TR__BRANCH_READY);
    } else if (tr__tx_line_is_too_long(tx, branch)) {
        branch->crowded = true;
        tr__tx_branch_drop(tx, branch, TR_TX_OVERLOAD);
    } else {
        tr__tx_branch_go(tx, branch, TR__BRANCH_WAITING);
        if (tr__tx_lock(tx, branch, branch->calls->writes))
            execute(tx, branch);
    }
}

static bool call_put(tr__tx *tx, tr__tx_branch *branch, const tr__tx_frame *frame)
{
    const char *schema = frame->schema.present ? frame->schema.value : "";
    size_t schema_size = strlen(schema);
    tr__tx_call_at *call = tr__zalloc(sizeof(*call) + frame->body.size + schema_size);
    if (!call)
        return false;
    uint64_t now = tr__tx_now(tx);
    call->number = frame->number;
    call->writes = frame->writes > 0;
    call->migrates = tr__tx_is_migrate(frame->type) && strcmp(frame->from, tx->node) == 0;
    call->type = frame->type;
    call->fingerprint = frame->fingerprint;
    call->lock_until_ns = frame->wait < TR__TX_DEADLINE_MAX ? now + frame->wait : now + TR__TX_DEADLINE_MAX;
    call->size = frame->body.size;
    call->schema_size = schema_size;
    if (call->size)
        memcpy(call->body, frame->body.data, call->size);
    memcpy(call->body + call->size, schema, schema_size);
    *branch->calls_end = call;
    branch->calls_end = &call->next;
    branch->call_count++;
    tx->bytes += call->size + schema_size;
    branch->last_number = frame->number;
    return true;
}

static bool is_off(uint64_t ms, uint64_t wall)
{
    return (ms > wall ? ms - wall : wall - ms) > TR__TX_SKEW_MS;
}

/* Of a node that knows no priorities the id says when it began: the same everywhere as well. */
static uint64_t priority_of(const tr_tx_id *id, const tr__tx_frame *frame)
{
    return frame->priority.present ? frame->priority.value : tr__tx_id_ms(id) << 16;
}

static bool may_begin(tr__tx *tx, const char *node, bool asks)
{
    return !tx->io->may_begin || tx->io->may_begin(tx->context, node, asks);
}

/* One more branch: of a transaction that is here already as long as it has participants, of another one if there aren't too
 * many. So branches have a bound as well. */
static tr_tx_reason check_room(tr__tx *tx, const tr_tx_id *id, const char **text)
{
    const tr__tx_local *local = tr__tx_local_find(tx, id);
    if (local && local->count == TR_TX_PARTICIPANTS_MAX) {
        *text = "16 participants are the most";
        return TR_TX_TOO_LARGE;
    }
    if (local || HASH_COUNT(tx->locals) < TR__TX_UNDECIDED_MAX)
        return TR_TX_NONE;
    *text = "this node takes part in 1,000 transactions already: try again";
    return TR_TX_OVERLOAD;
}

/* Whether a transaction of that id may begin here now. */
static tr_tx_reason check_begin(tr__tx *tx, const tr_tx_id *id, const tr__tx_frame *frame, const char **text)
{
    uint64_t wall = tx->io->wall_ms(tx->context);
    if (!tx->log) {
        *text = "this node keeps no log: start it with --data DIR";
        return TR_TX_NOT_ALLOWED;
    }
    if (tx->lost) {
        *text = tx->lost_text;
        return TR_TX_LOG_LOST;
    }
    if (!may_begin(tx, frame->from, true)) {
        *text =
            "its node has no right to begin one here: transact in `may` of its entry in the rights (--allow "
            "FILE)";
        return TR_TX_NOT_ALLOWED;
    }
    if (is_off(tr__tx_id_ms(id), wall)) {
        *text = "its id is more than 10 minutes off this node's clock: set the clocks of both nodes";
        return TR_TX_NOT_ALLOWED;
    }
    if (is_off(priority_of(id, frame) >> 16, wall)) {
        *text = "its priority is more than 10 minutes off this node's clock: set the clocks of both nodes";
        return TR_TX_NOT_ALLOWED;
    }
    return check_room(tx, id, text);
}

static tr_tx_reason begin(tr__tx *tx, const tr_tx_id *id, const tr__tx_frame *frame, tr__tx_branch **out,
                          const char **text)
{
    tr_tx_reason why = check_begin(tx, id, frame, text);
    if (why)
        return why;
    tr__tx_actor *actor = tr__tx_actor_of(tx, frame->actor);
    tr__tx_branch *branch = NULL;
    *text = "this node has no memory for it";
    if (actor &&
        (frame->number != 1 || tr__tx_is_entombed(tx, id, actor->name))) { /* what was before it is lost */
        why = tr__tx_branch_gone_why(tx, id, frame->actor);
        tr__tx_actor_unused(tx, actor);
        *text = why == TR_TX_WOUNDED ? "its branch was wounded by an older transaction"
                                     : "its branch was given up";
        return why;
    }
    if (actor && !(branch = tr__tx_branch_make(tx, id, actor)))
        tr__tx_actor_unused(tx, actor);
    if (!branch)
        return TR_TX_OVERLOAD;
    uint64_t left = frame->remaining < TR__TX_DEADLINE_MAX ? frame->remaining : TR__TX_DEADLINE_MAX;
    branch->deadline_ns = tr__tx_now(tx) + left;
    branch->priority = priority_of(id, frame);
    snprintf(branch->caller, sizeof(branch->caller), "%s", frame->from);
    *out = branch;
    return TR_TX_NONE;
}

static const char full[] = "this node has 64 MiB of transactions under way: try again";

void tr__tx_on_call(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    const char *text = "";
    tr_tx_reason why = TR_TX_NONE;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_branch *branch = tr__tx_branch_find(tx, &id, frame->actor);
    if (branch && (frame->number <= branch->last_number || strcmp(branch->caller, frame->from) != 0)) {
        tx->late++;
        return; /* it came before; or it isn't theirs */
    }
    size_t schema_size = frame->schema.present ? strlen(frame->schema.value) : 0;
    if (frame->body.size >
        TR_TX_REDO_MAX) { /* its caller's node refuses it; decoded it may be 64 times that */
        why = TR_TX_TOO_LARGE;
        text = "a call has at most 1 MiB";
    } else if (tx->bytes + frame->body.size + schema_size > TR__TX_BYTES_MAX) {
        why = TR_TX_OVERLOAD;
        text = full;
    } else if (!branch) {
        why = begin(tx, &id, frame, &branch, &text);
    } else if (branch->state > TR__BRANCH_READY || branch->dropped) {
        why = TR_TX_NOT_ALLOWED;
        text = "the transaction is being ended";
    } else if (branch->call_count == TR__TX_CALLS_MAX) {
        why = TR_TX_OVERLOAD;
        text = "64 calls of this transaction wait here already";
    }
    if (!why && !call_put(tx, branch, frame)) {
        why = TR_TX_OVERLOAD;
        text = "this node has no memory for the call";
        tr__tx_branch_drop(tx, branch, why); /* it can't be committed without this one */
    }
    if (why)
        tr__tx_refuse_call(tx, &id, frame->from, frame->actor, frame->number, why, text);
    else if (branch->state == TR__BRANCH_READY)
        go_on(tx, branch);
}

const tr_tx_id *tr__tx_branch_id(const tr__tx_branch *branch)
{
    return &branch->key.id;
}

const char *tr__tx_branch_actor(const tr__tx_branch *branch)
{
    return branch->at->name;
}

const tr__tx_call_at *tr__tx_branch_call(const tr__tx_branch *branch)
{
    return branch->calls;
}

tr_txview *tr__tx_branch_view(tr__tx_branch *branch)
{
    return &branch->view;
}

static void answer_executed(tr__tx *tx, tr__tx_branch *branch, uint32_t number)
{
    tr__tx_frame answer = tr__tx_frame_of(TR__TX_CALLED, &branch->key.id);
    answer.actor = branch->at->name;
    answer.number = number;
    answer.boot = tx->id;
    answer.log = (tr_bytes){tr__tx_log_id(tx), TR__LOG_ID_BYTES};
    answer.reads = branch->reads;
    answer.writes = branch->writes;
    answer.wrote.present = true;
    answer.wrote.value = tr__view_has_written(&branch->view) && !TR_PLANT(wrote_unsaid);
    answer.type = branch->view.reply_type;
    answer.fingerprint = branch->view.reply_fingerprint;
    tr__tx_put_schema(&answer);
    answer.body = (tr_bytes){branch->view.reply, branch->view.reply_size};
    tr__tx_send(tx, branch->caller, &answer, NULL);
}

static void migrated(tr__tx *tx, const tr__tx_branch *branch)
{
    char versions[48];
    snprintf(versions, sizeof(versions), "version %u to %u", tr__store_version(&branch->at->store),
             tr__view_version(&branch->view));
    tr__tx_event(tx, &branch->key.id, branch->at->name, "migrate",
                 branch->view.writes ? versions : "nothing");
}

void tr__tx_executed(tr__tx *tx, tr__tx_branch *branch, tr_tx_reason reason, const char *text)
{
    tr__check(branch->state == TR__BRANCH_EXECUTING && branch->calls, "only a call that runs can have run");
    uint32_t number = branch->calls->number;
    bool wrote = branch->calls->writes, migrates = branch->calls->migrates;
    char dropped[TR_ERROR_TEXT_MAX];
    if (tx->dead)
        return;
    if (branch->dropped && !reason) {
        reason = branch->why;
        tr__tx_drop_text(branch, dropped);
        text = dropped;
    }
    tr__tx_call_pop(tx, branch);
    if (!reason && wrote)
        reason = tr__tx_emit_mark(tx, branch, &text);
    if (!reason)
        reason = tr__tx_emit_reserve(tx, branch, &text);
    tx->bytes += branch->view.size - branch->bytes;
    branch->bytes = branch->view.size;
    if (!reason && wrote && tx->bytes > TR__TX_BYTES_MAX) {
        reason = TR_TX_OVERLOAD;
        text = full;
    }
    if (reason) { /* a refused branch can't be committed: it goes at once */
        tr__tx_branch_go(tx, branch, TR__BRANCH_READY);
        tr__tx_refuse_call(tx, &branch->key.id, branch->caller, branch->at->name, number, reason, text);
        tr__tx_branch_drop(tx, branch, reason);
        return;
    }
    branch->reads += !wrote;
    branch->writes += wrote;
    if (migrates)
        migrated(tx, branch);
    else
        tr__tx_event(tx, &branch->key.id, branch->at->name, "call", wrote ? "write" : "read");
    answer_executed(tx, branch, number);
    go_on(tx, branch);
    if (TR_PLANT(read_released) && branch->state == TR__BRANCH_READY && !branch->writes)
        tr__tx_unlock(tx, branch);
}

void tr__tx_unexecuted(tr__tx *tx, tr__tx_branch *branch, tr_tx_reason reason)
{
    branch->unexecuted = reason;
    branch->next_unexecuted = tx->unexecuted;
    tx->unexecuted = branch;
}

tr__tx_branch *tr__tx_unexecuted_next(tr__tx *tx, tr_tx_reason *reason)
{
    tr__tx_branch *branch = tx->unexecuted;
    if (!branch)
        return NULL;
    tx->unexecuted = branch->next_unexecuted;
    *reason = branch->unexecuted;
    branch->unexecuted = TR_TX_NONE;
    return branch;
}

/* ---- prepare ------------------------------------------------------------------------------------------- */

static void vote(tr__tx *tx, const tr_tx_id *id, const char *to, const char *actor, tr__tx_verdict verdict,
                 tr_tx_reason why, uint64_t ts)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_VOTE, id);
    frame.actor = actor;
    frame.status = verdict;
    frame.reason = why;
    frame.ts = ts;
    tr__tx_event(tx, id, actor, "vote",
                 verdict == TR__TX_YES    ? "yes"
                 : verdict == TR__TX_READ ? "read"
                                          : tr__tx_reason_word(why));
    tr__tx_send(tx, to, &frame, NULL);
}

static void on_prepared(tr__tx *tx, tr__tx_force *force)
{
    tr__tx_branch *branch = TR__TX_OF(tr__tx_branch, force, force);
    tr__tx_branch_go(tx, branch, TR__BRANCH_PREPARED);
    tr__tx_doubt_begin(tx, branch);
    tr__tx_event(tx, &branch->key.id, branch->at->name, "force", "prepare");
    tr__tx_point_at(tx, TR__TX_POINT_PREPARE_FORCED);
    if (branch->decided) {
        tr__tx_branch_finish(tx, branch, branch->decided == TR__TX_COMMITTED, branch->ts);
        return;
    }
    vote(tx, &branch->key.id, branch->decider, branch->at->name, TR__TX_YES, TR_TX_NONE, branch->ts);
    tr__tx_point_at(tx, TR__TX_POINT_VOTED);
}

/* Its redo goes to the disk. On an error it is as it was. */
static tr_err prepare(tr__tx *tx, tr__tx_branch *branch, const tr__tx_frame *frame, tr_error *error)
{
    tr__tx_buffer record = {0}, redo = {0};
    if (!tr__tx_branch_knows(branch, frame->body))
        return tr__fail(error, TR_ENOMEM, "no memory for the participants");
    tr__tx_point_at(tx, TR__TX_POINT_BEFORE_PREPARE);
    branch->ts = ++tx->clock;
    tr__view_put_redo(&branch->view, &redo);
    tr__tx_put_id(&record, &branch->key.id);
    tr__tx_put_text(&record, branch->at->name);
    tr__tx_put_text(&record, branch->caller);
    tr__tx_put_text(&record, frame->from);
    tr__tx_put_bytes(&record, frame->log.data, TR__LOG_ID_BYTES);
    tr__tx_put_number(&record, branch->ts);
    tr__tx_put_bytes(&record, frame->body.data, frame->body.size); /* the parties */
    tr__tx_put_bytes(&record, redo.bytes, redo.length);
    record.failed = record.failed || redo.failed;
    tr__tx_buffer_free(&redo);
    branch->force.then = on_prepared;
    tr_err err = tr__tx_append(tx, TR__RECORD_PREPARE, false, &record, &branch->force, true, error);
    if (err != TR_OK)
        return err;
    snprintf(branch->decider, sizeof(branch->decider), "%s", frame->from);
    memcpy(branch->decider_log, frame->log.data, TR__LOG_ID_BYTES);
    tr__tx_branch_go(tx, branch, TR__BRANCH_PREPARING);
    if (TR_PLANT(yes_unforced))
        vote(tx, &branch->key.id, branch->decider, branch->at->name, TR__TX_YES, TR_TX_NONE, branch->ts);
    return TR_OK;
}

void tr__tx_on_prepare(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    tr_error error = {0};
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_branch *branch = tr__tx_branch_find(tx, &id, frame->actor);
    if (branch && branch->state > TR__BRANCH_READY) {
        if (branch->state == TR__BRANCH_PREPARED && strcmp(branch->decider, frame->from) == 0)
            vote(tx, &id, frame->from, frame->actor, TR__TX_YES, TR_TX_NONE, branch->ts);
        tx->late++;
        return; /* else it has been asked, or told, already */
    }
    tr__tx_event(tx, &id, frame->actor, "prepare", "");
    if (!branch || branch->state != TR__BRANCH_READY || frame->boot != tx->id ||
        frame->reads != branch->reads || frame->writes != branch->writes) {
        tr_tx_reason why = branch ? TR_TX_BRANCH_LOST : tr__tx_branch_gone_why(tx, &id, frame->actor);
        vote(tx, &id, frame->from, frame->actor, TR__TX_NO, why, 0);
        if (branch)
            tr__tx_branch_drop(tx, branch, TR_TX_BRANCH_LOST);
    } else if (!tr__view_has_written(&branch->view)) {
        vote(tx, &id, frame->from, frame->actor, TR__TX_READ, TR_TX_NONE, 0);
        tr__tx_branch_end(tx, branch);
    } else if (frame->log.size != TR__LOG_ID_BYTES || prepare(tx, branch, frame, &error) != TR_OK) {
        tr_tx_reason why = error.code ? tr__tx_reason_of(error.code) : TR_TX_NOT_ALLOWED;
        vote(tx, &id, frame->from, frame->actor, TR__TX_NO, why, 0);
        tr__tx_branch_drop(tx, branch, why);
    }
}

/* ---- decisions ----------------------------------------------------------------------------------------- */

static void acknowledge(tr__tx *tx, const tr_tx_id *id, const char *to, const char *actor)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_ACK, id);
    frame.actor = actor;
    tr__tx_send(tx, to, &frame, NULL);
}

static void on_finished(tr__tx *tx, tr__tx_force *force)
{
    tr__tx_branch *branch = TR__TX_OF(tr__tx_branch, force, force);
    uint64_t index = 0;
    tr__tx_emit_commit(tx, &branch->key.id, branch->at->name, &branch->view, branch->lsn, &index);
    tr__tx_point_at(tx, TR__TX_POINT_BEFORE_ACK);
    tr__tx_event(tx, &branch->key.id, branch->at->name, "ack", "");
    acknowledge(tx, &branch->key.id, branch->decider, branch->at->name);
    tr__tx_branch_end(tx, branch);
}

static void put_finish(const tr__tx_branch *branch, bool committed, uint64_t ts, tr__tx_buffer *record)
{
    tr__tx_put_id(record, &branch->key.id);
    tr__tx_put_text(record, branch->at->name);
    tr__tx_put_number(record, committed);
    tr__tx_put_number(record, ts);
}

void tr__tx_branch_finish(tr__tx *tx, tr__tx_branch *branch, bool committed, uint64_t ts)
{
    tr__tx_buffer record = {0};
    put_finish(branch, committed, ts, &record);
    branch->force.then = on_finished;
    if (tr__tx_append(tx, TR__RECORD_FINISH, true, &record, committed ? &branch->force : NULL, false, NULL) !=
        TR_OK)
        return;
    branch->lsn = branch->force.lsn;
    tr__tx_event(tx, &branch->key.id, branch->at->name, "decide", committed ? "committed" : "aborted");
    tr__tx_heard_put(tx, &branch->key.id, committed, ts);
    if (!committed) {
        tr__tx_branch_end(tx, branch);
        return;
    }
    branch->ts = ts;
    tr__tx_branch_apply(tx, branch);
    tr__tx_branch_go(tx, branch, TR__BRANCH_FINISHING);
    tr__tx_unlock(tx, branch);
    tr__tx_point_at(tx, TR__TX_POINT_APPLIED);
}

static void on_by_hand(tr__tx *tx, tr__tx_force *force)
{
    tr__tx_branch *branch = TR__TX_OF(tr__tx_branch, force, force);
    bool committed = branch->decided == TR__TX_COMMITTED;
    void *token = branch->token;
    tr__tx_event(tx, &branch->key.id, branch->at->name, "by hand", committed ? "committed" : "aborted");
    if (committed) {
        tr__tx_branch_apply(tx, branch);
        if (tx->dead)
            return;
        on_finished(tx, force);
    } else {
        tr__tx_branch_end(tx, branch);
    }
    tr__tx_told_by_hand(tx, token, committed);
}

bool tr__tx_branch_by_hand(tr__tx *tx, tr__tx_branch *branch, bool committed, uint64_t ts)
{
    tr__tx_buffer record = {0};
    put_finish(branch, committed, ts, &record);
    tr__tx_put_number(&record, 1);
    branch->force.then = on_by_hand;
    if (tr__tx_append(tx, TR__RECORD_FINISH, true, &record, &branch->force, true, NULL) != TR_OK)
        return false;
    branch->lsn = branch->force.lsn;
    branch->decided = committed ? TR__TX_COMMITTED : TR__TX_ABORTED;
    branch->ts = ts;
    tr__tx_branch_go(tx, branch, TR__BRANCH_BY_HAND);
    return true;
}

static void decided(tr__tx *tx, tr__tx_branch *branch, const tr__tx_frame *frame)
{
    bool committed = frame->status == TR__TX_COMMITTED;
    bool by_decider = strcmp(branch->decider, frame->from) == 0 && frame->log.size == TR__LOG_ID_BYTES &&
                      memcmp(branch->decider_log, frame->log.data, TR__LOG_ID_BYTES) == 0;
    if (branch->state == TR__BRANCH_PREPARING && by_decider) {
        branch->decided = frame->status; /* aborted, for we haven't voted */
        branch->ts = frame->ts;
    } else if (branch->state == TR__BRANCH_PREPARED && by_decider) {
        tr__tx_branch_finish(tx, branch, committed, frame->ts);
    } else if (branch->state <= TR__BRANCH_READY && !committed) {
        tr__tx_branch_drop(tx, branch, TR_TX_BRANCH_LOST);
    }
}

void tr__tx_on_decide(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_branch *branch = tr__tx_branch_find(tx, &id, frame->actor);
    tx->late += !branch;
    if (branch)
        decided(tx, branch, frame);
    else if (frame->status == TR__TX_COMMITTED && !tx->lost) /* it was finished before; the ACK was lost */
        acknowledge(tx, &id, frame->from, frame->actor);
    else if (frame->status == TR__TX_ABORTED)
        tr__tx_entomb(tx, &id, frame->actor, frame->remaining);
}

void tr__tx_on_drop(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_branch *branch = tr__tx_branch_find(tx, &id, frame->actor);
    if (!branch && may_begin(tx, frame->from, false))
        tr__tx_entomb(tx, &id, frame->actor, frame->remaining);
    else if (branch && branch->state <= TR__BRANCH_READY && strcmp(branch->caller, frame->from) == 0)
        tr__tx_branch_drop(tx, branch, TR_TX_APP);
}

/* ---- time and loss ------------------------------------------------------------------------------------- */

void tr__tx_branches_tick(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_branch *branch, *next;
    HASH_ITER(hh, tx->branches, branch, next)
    {
        if (TR_PLANT(prepared_given_up) && branch->state == TR__BRANCH_PREPARED &&
            branch->deadline_ns <= now_ns) {
            tr__tx_branch_finish(tx, branch, false, 0);
            continue;
        }
        if (branch->state == TR__BRANCH_PREPARED)
            tr__tx_doubt_tick(tx, branch, now_ns);
        if (branch->state > TR__BRANCH_READY || branch->dropped)
            continue;
        if (branch->deadline_ns <= now_ns)
            tr__tx_branch_drop(tx, branch, TR_TX_DEADLINE);
        else if (branch->state == TR__BRANCH_WAITING && branch->calls->lock_until_ns <= now_ns)
            tr__tx_branch_drop(tx, branch, TR_TX_LOCK_TIMEOUT);
    }
    tr__tx_tombs_tick(tx, now_ns);
}

void tr__tx_branches_lost(tr__tx *tx)
{
    tr__tx_branch *branch, *next;
    HASH_ITER(hh, tx->branches, branch, next)
    {
        if (branch->state <= TR__BRANCH_READY && !branch->dropped)
            tr__tx_branch_drop(tx, branch, TR_TX_LOG_LOST);
    }
}

/* Their caller can't commit them any more. */
void tr__tx_branches_node_down(tr__tx *tx, const char *node)
{
    tr__tx_branch *branch, *next;
    HASH_ITER(hh, tx->branches, branch, next)
    {
        if (branch->state <= TR__BRANCH_READY && !branch->dropped && strcmp(branch->caller, node) == 0)
            tr__tx_branch_drop(tx, branch, TR_TX_UNREACHABLE);
    }
}
