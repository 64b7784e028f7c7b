/* Transactions that are decided here; what became of them is in outcome.c. The owner's thread.
 *
 *   COMMIT ─► voting ─all YES or READ─► forcing ─durable─► committed ─all have acknowledged─► (an outcome)
 *               └─NO, time, a node gone─► aborted: nothing is kept, for an id without a record was aborted (T4)
 *
 * "Forcing" is a proposal to where decisions are (decision_store.h): our log, as a rule. With one that all nodes share our own
 * participants vote like all others, by frames, and an abort is proposed as well.
 *
 * How it can fail: until the COMMIT record is in the log anything aborts; when it is appended only the disk decides
 * (T3), and a force that fails ends the process. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/buggify.h"
#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

tr__tx_decision *tr__tx_decision_find(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_decision *decision;
    HASH_FIND(hh, tx->decisions, id, sizeof(*id), decision);
    return decision;
}

tr__tx_decision *tr__tx_decision_make(tr__tx *tx, const tr_tx_id *id, tr__tx_decision_state state)
{
    tr__tx_decision *decision = tr__zalloc(sizeof(*decision));
    if (!decision)
        return NULL;
    decision->id = *id;
    decision->state = state;
    HASH_ADD(hh, tx->decisions, id, sizeof(decision->id), decision);
    if (tr__hash_added(decision))
        return decision;
    tr__free(decision);
    return NULL;
}

void tr__tx_decision_forget(tr__tx *tx, tr__tx_decision *decision)
{
    HASH_DEL(tx->decisions, decision);
    tr__free(decision);
}

void tr__tx_decisions_fini(tr__tx *tx)
{
    tr__tx_decision *decision, *next;
    HASH_ITER(hh, tx->decisions, decision, next)
    {
        tr__tx_decision_forget(tx, decision);
    }
}

/* ---- telling ------------------------------------------------------------------------------------------- */

static void tell_caller(tr__tx *tx, const tr_tx_id *id, const char *to, tr__tx_verdict verdict,
                        tr_tx_reason why, const char *text, uint64_t ts)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_OUTCOME, id);
    frame.status = verdict;
    frame.reason = why;
    frame.text = text;
    frame.ts = ts;
    tr__tx_event(tx, id, "", "answer", verdict == TR__TX_COMMITTED ? "committed" : tr__tx_reason_word(why));
    tr__tx_send(tx, to, &frame, NULL);
}

static void tell_party(tr__tx *tx, const tr__tx_decision *decision, uint32_t i, tr__tx_verdict verdict)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_DECIDE, &decision->id);
    frame.actor = decision->parties[i].actor;
    frame.log = (tr_bytes){tr__tx_log_id(tx), TR__LOG_ID_BYTES};
    frame.status = verdict;
    frame.ts = decision->ts;
    frame.remaining =
        tr__tx_left(tx, decision->deadline_ns); /* of an abort: for the tomb of what hasn't come */
    tr__tx_send(tx, decision->parties[i].node, &frame, NULL);
}

/* ---- abort --------------------------------------------------------------------------------------------- */

static void drop_local(tr__tx *tx, const tr__tx_decision *decision, uint32_t i)
{
    tr__tx_branch *branch = tr__tx_branch_find(tx, &decision->id, decision->parties[i].actor);
    if (!branch)
        return;
    if (branch->state == TR__BRANCH_DECIDING) {
        if (TR_PLANT(emit_on_abort))
            tr__tx_emit_commit(tx, &decision->id, branch->at->name, &branch->view, tr__log_last(tx->log),
                               &(uint64_t){0});
        tr__tx_event(tx, &decision->id, branch->at->name, "drop", "");
        tr__tx_branch_end(tx, branch);
    } else if (branch->state <= TR__BRANCH_READY) {
        tr__tx_branch_drop(tx, branch, TR_TX_BRANCH_LOST);
    }
}

/* Nothing is written: an id that the log doesn't have was aborted. */
static void abort_now(tr__tx *tx, tr__tx_decision *decision, tr_tx_reason why, const char *text)
{
    tr__check(decision->state == TR__DECISION_VOTING, "T5: what is in the log isn't aborted");
    tx->aborted++;
    tr__tx_event(tx, &decision->id, "", "decide", "aborted");
    for (uint32_t i = 0; i < decision->count; i++) {
        if (decision->local[i])
            drop_local(tx, decision, i);
        else if (decision->votes[i] != TR__TX_READ)
            tell_party(tx, decision, i, TR__TX_ABORTED);
    }
    tell_caller(tx, &decision->id, decision->caller, TR__TX_ABORTED, why, text, 0);
    tr__tx_decision_forget(tx, decision);
}

/* Into a shared store a decision of an earlier life of ours may have gone: D3. */
static void abort_it(tr__tx *tx, tr__tx_decision *decision, tr_tx_reason why, const char *text)
{
    tr__tx_buffer none = {0};
    if (!tx->decided_in->shared) {
        abort_now(tx, decision, why, text);
        return;
    }
    tr__check(decision->state == TR__DECISION_VOTING, "T5: what is proposed isn't aborted");
    decision->state = TR__DECISION_FORCING;
    decision->commits = false;
    decision->why = why;
    snprintf(decision->text, sizeof(decision->text), "%s", text);
    tr__tx_propose(tx, decision, &none, NULL);
}

/* ---- commit -------------------------------------------------------------------------------------------- */

static bool is_writer(const tr__tx_decision *decision, uint32_t i)
{
    return !decision->local[i] && decision->votes[i] == TR__TX_YES;
}

static void tell_writers(tr__tx *tx, tr__tx_decision *decision)
{
    for (uint32_t i = 0; i < decision->count; i++)
        if (is_writer(decision, i)) {
            tell_party(tx, decision, i, TR__TX_COMMITTED);
            if (TR_BUGGIFY(decide_twice))
                tell_party(tx, decision, i, TR__TX_COMMITTED);
        }
    tr__tx_pause(tx, &decision->retry_ns, &decision->pause_ns);
}

/* When all have acknowledged, only the outcome is kept. A lost END costs a few frames after the next start. */
static void end_if_acknowledged(tr__tx *tx, tr__tx_decision *decision, bool told)
{
    for (uint32_t i = 0; i < decision->count; i++)
        if (is_writer(decision, i))
            return;
    if (told) {
        tr__tx_buffer record = {0};
        tr__tx_point_at(tx, TR__TX_POINT_BEFORE_END);
        tr__tx_put_id(&record, &decision->id);
        if (decision->unrecorded)
            tr__tx_buffer_free(&record);
        else
            tr__tx_append(tx, TR__RECORD_END, true, &record, NULL, false, NULL);
        tr__tx_event(tx, &decision->id, "", "ack", "all");
    }
    tr__tx_decision_forget(tx, decision);
}

/* Those that took part here. What they emit leaves, all with one record's number. */
static void emit_local(tr__tx *tx, const tr__tx_decision *decision)
{
    uint64_t index = 0;
    for (uint32_t i = 0; i < decision->count && !tx->dead; i++) {
        tr__tx_branch *branch =
            decision->local[i] ? tr__tx_branch_find(tx, &decision->id, decision->parties[i].actor) : NULL;
        if (branch)
            tr__tx_emit_commit(tx, &decision->id, branch->at->name, &branch->view, decision->lsn, &index);
    }
}

static void apply_local(tr__tx *tx, const tr__tx_decision *decision)
{
    for (uint32_t i = 0; i < decision->count && !tx->dead; i++) {
        tr__tx_branch *branch =
            decision->local[i] ? tr__tx_branch_find(tx, &decision->id, decision->parties[i].actor) : NULL;
        if (!branch)
            continue;
        tr__tx_branch_apply(tx, branch);
        tr__tx_branch_end(tx, branch);
    }
}

static void committed(tr__tx *tx, tr__tx_decision *decision)
{
    tx->committed++;
    decision->state = TR__DECISION_COMMITTED;
    tell_caller(tx, &decision->id, decision->caller, TR__TX_COMMITTED, TR_TX_NONE, "", decision->ts);
    tr__tx_point_at(tx, TR__TX_POINT_ANSWERED);
    emit_local(tx, decision);
    apply_local(tx, decision);
    if (tx->dead)
        return;
    tell_writers(tx, decision);
    end_if_acknowledged(tx, decision, false);
}

static void put_commit(tr__tx *tx, const tr__tx_decision *decision, tr__tx_buffer *record);

/* Whom we tell, over starts: if there is no room for it, they ask. */
static void record_shared(tr__tx *tx, tr__tx_decision *decision)
{
    tr__tx_buffer record = {0};
    put_commit(tx, decision, &record);
    decision->unrecorded = tr__tx_append(tx, TR__RECORD_COMMIT, true, &record, NULL, false, NULL) != TR_OK;
}

void tr__tx_decision_won(tr__tx *tx, tr__tx_decision *decision, bool commits, uint64_t ts)
{
    if (!commits) {
        decision->state = TR__DECISION_VOTING;
        abort_now(tx, decision, decision->why ? decision->why : TR_TX_DEADLINE,
                  decision->why ? decision->text : "who was in doubt, or asked, had it aborted");
        return;
    }
    decision->ts = ts;
    tr__tx_event(tx, &decision->id, "", "force", "commit");
    tr__tx_event(tx, &decision->id, "", "decide", "committed");
    tr__tx_point_at(tx, TR__TX_POINT_COMMIT_FORCED);
    if (tx->decided_in->shared && !tr__tx_outcome_find(tx, &decision->id))
        record_shared(tx, decision);
    tr__tx_outcome_put(tx, &decision->id, true, decision->ts);
    committed(tx, decision);
}

/* One record: who has to hear of it, and what it does to the participants here. */
static void put_commit(tr__tx *tx, const tr__tx_decision *decision, tr__tx_buffer *record)
{
    uint32_t writers = 0, redos = 0;
    for (uint32_t i = 0; i < decision->count; i++) {
        writers += is_writer(decision, i);
        redos += decision->local[i];
    }
    tr__tx_put_id(record, &decision->id);
    tr__tx_put_number(record, decision->ts);
    tr__tx_put_text(record, decision->caller);
    tr__tx_put_number(record, writers);
    for (uint32_t i = 0; i < decision->count; i++)
        if (is_writer(decision, i)) {
            tr__tx_put_text(record, decision->parties[i].node);
            tr__tx_put_text(record, decision->parties[i].actor);
        }
    tr__tx_put_number(record, redos);
    for (uint32_t i = 0; i < decision->count; i++) {
        if (!decision->local[i])
            continue;
        tr__tx_buffer redo = {0};
        const tr__tx_branch *branch = tr__tx_branch_find(tx, &decision->id, decision->parties[i].actor);
        tr__view_put_redo(&branch->view, &redo);
        tr__tx_put_text(record, decision->parties[i].actor);
        tr__tx_put_bytes(record, redo.bytes, redo.length);
        record->failed = record->failed || redo.failed;
        tr__tx_buffer_free(&redo);
    }
}

/* Also one that wrote nothing after all leaves its record: its ticket may be resolved. */
static void decide(tr__tx *tx, tr__tx_decision *decision)
{
    tr__tx_buffer record = {0};
    tr_error error = {0};
    tx->clock = (decision->prep_ts > tx->clock ? decision->prep_ts : tx->clock) + 1;
    decision->ts = tx->clock;
    tr__tx_point_at(tx, TR__TX_POINT_BEFORE_COMMIT);
    put_commit(tx, decision, &record);
    decision->commits = true;
    if (tr__tx_propose(tx, decision, &record, &error) != TR_OK) {
        abort_it(tx, decision, tr__tx_reason_of(error.code), error.text);
        return;
    }
    decision->state = TR__DECISION_FORCING;
    decision->lsn = decision->force.lsn;
    if (TR_PLANT(emit_unforced))
        emit_local(tx, decision);
    if (TR_PLANT(committed_unforced))
        tell_caller(tx, &decision->id, decision->caller, TR__TX_COMMITTED, TR_TX_NONE, "", decision->ts);
}

static void decide_if_voted(tr__tx *tx, tr__tx_decision *decision)
{
    for (uint32_t i = 0; i < decision->count; i++)
        if (!decision->votes[i])
            return;
    decide(tx, decision);
}

/* Our own branches join, and those that wrote nothing are let go; else why one can't. */
static tr_tx_reason take_local(tr__tx *tx, tr__tx_decision *decision)
{
    for (uint32_t i = 0; i < decision->count; i++) {
        const tr__tx_party *party = &decision->parties[i];
        if (strcmp(party->node, tx->node) != 0 || tx->decided_in->shared)
            continue;
        tr__tx_branch *branch = tr__tx_branch_find(tx, &decision->id, party->actor);
        if (!branch || branch->state != TR__BRANCH_READY || party->boot != tx->id ||
            strcmp(branch->caller, decision->caller) != 0 || party->reads != branch->reads ||
            party->writes != branch->writes)
            return branch ? TR_TX_BRANCH_LOST : tr__tx_branch_gone_why(tx, &decision->id, party->actor);
        if (!tr__view_has_written(&branch->view)) { /* as one on another node: it isn't needed any more */
            decision->votes[i] = TR__TX_READ;
            tr__tx_event(tx, &decision->id, party->actor, "vote", "read");
            tr__tx_branch_end(tx, branch);
            continue;
        }
        decision->local[i] = true;
        decision->votes[i] = TR__TX_YES;
        tr__tx_branch_go(tx, branch, TR__BRANCH_DECIDING);
    }
    return TR_TX_NONE;
}

static tr_err ask_votes(tr__tx *tx, tr__tx_decision *decision, const tr__tx_frame *commit, tr_error *error)
{
    for (uint32_t i = 0; i < decision->count; i++) {
        const tr__tx_party *party = &decision->parties[i];
        if (decision->votes[i])
            continue; /* ours: taken above */
        tr__tx_frame frame = tr__tx_frame_of(TR__TX_PREPARE, &decision->id);
        frame.actor = party->actor;
        frame.log = (tr_bytes){tr__tx_log_id(tx), TR__LOG_ID_BYTES};
        frame.boot = party->boot;
        frame.reads = party->reads;
        frame.writes = party->writes;
        frame.remaining = tr__tx_left(tx, decision->deadline_ns);
        frame.body = commit->body;
        TR_TRY(tr__tx_send(tx, party->node, &frame, error));
    }
    return TR_OK;
}

void tr__tx_on_commit(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    tr_error error = {0};
    memcpy(&id, frame->id.data, sizeof(id));
    const tr__tx_outcome_at *outcome = tr__tx_outcome_find(tx, &id);
    if (outcome) {
        tell_caller(tx, &id, frame->from, outcome->committed ? TR__TX_COMMITTED : TR__TX_ABORTED,
                    outcome->committed ? TR_TX_NONE : TR_TX_DEADLINE,
                    outcome->committed ? "" : "aborted by who asked what became of it", outcome->ts);
        return;
    }
    if (tr__tx_decision_find(tx, &id)) {
        tx->late++;
        return; /* it is being decided: the answer will come */
    }
    if (tr__tx_may_be_decided(tx, &id)) {
        tx->late++;
        return; /* and be forgotten: who asks hears so */
    }
    if (tx->lost) {
        tell_caller(tx, &id, frame->from, TR__TX_ABORTED, TR_TX_LOG_LOST, tx->lost_text, 0);
        return;
    }
    tr__tx_decision *decision = tx->log && HASH_COUNT(tx->decisions) < TR__TX_UNDECIDED_MAX
                                    ? tr__tx_decision_make(tx, &id, TR__DECISION_VOTING)
                                    : NULL;
    if (!decision) {
        tr__tx_branches_drop(tx, &id, TR_TX_OVERLOAD); /* or a COMMIT that comes twice would go through */
        tell_caller(tx, &id, frame->from, TR__TX_ABORTED, tx->log ? TR_TX_OVERLOAD : TR_TX_NOT_ALLOWED,
                    tx->log ? "its coordinator decides 1,000 others: try again" : "this node keeps no log",
                    0);
        return;
    }
    snprintf(decision->caller, sizeof(decision->caller), "%s", frame->from);
    uint64_t left = frame->remaining < TR__TX_DEADLINE_MAX ? frame->remaining : TR__TX_DEADLINE_MAX;
    decision->deadline_ns = tr__tx_now(tx) + left;
    tr_tx_reason gone;
    if (!tr__tx_get_parties(frame->body, decision->parties, &decision->count)) {
        decision->count = 0;
        abort_it(tx, decision, TR_TX_NOT_ALLOWED, "a malformed list of participants");
    } else if ((gone = take_local(tx, decision))) {
        abort_it(tx, decision, gone,
                 gone == TR_TX_WOUNDED ? "an older transaction wounded its branch here"
                                       : "its branch here is gone");
    } else if (ask_votes(tx, decision, frame, &error) != TR_OK) {
        abort_it(tx, decision, TR_TX_UNREACHABLE, error.text);
    } else {
        decide_if_voted(tx, decision);
    }
}

/* NULL: no such party of it. */
static uint8_t *vote_of(tr__tx_decision *decision, const tr__tx_frame *frame)
{
    for (uint32_t i = 0; i < decision->count; i++)
        if (!decision->local[i] && strcmp(decision->parties[i].node, frame->from) == 0 &&
            strcmp(decision->parties[i].actor, frame->actor) == 0)
            return &decision->votes[i];
    return NULL;
}

void tr__tx_on_vote(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    char text[TR_ERROR_TEXT_MAX];
    if (tr__tx_on_read_vote(tx, frame))
        return;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_decision *decision = tr__tx_decision_find(tx, &id);
    uint8_t *vote = decision && decision->state == TR__DECISION_VOTING ? vote_of(decision, frame) : NULL;
    if (!vote || *vote) {
        tx->late++;
        return; /* an inquiry gives the answer */
    }
    if (frame->ts >> 16 > tx->io->wall_ms(tx->context) + TR__TX_SKEW_MS) {
        snprintf(text, sizeof(text), "node %s is more than 10 minutes ahead: set the clocks of both nodes",
                 frame->from);
        abort_it(tx, decision, TR_TX_NOT_ALLOWED, text);
        return;
    }
    if (frame->status == TR__TX_NO) {
        snprintf(text, sizeof(text), "%s/%s can't commit it: %s", frame->from, frame->actor,
                 tr__tx_reason_meaning(frame->reason));
        abort_it(tx, decision, frame->reason ? frame->reason : TR_TX_BRANCH_LOST, text);
    } else if (frame->status == TR__TX_YES || frame->status == TR__TX_READ) {
        *vote = (uint8_t)frame->status;
        if (frame->ts > decision->prep_ts)
            decision->prep_ts = frame->ts;
        decide_if_voted(tx, decision);
    }
}

void tr__tx_on_ack(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_decision *decision = tr__tx_decision_find(tx, &id);
    uint8_t *vote = decision && decision->state == TR__DECISION_COMMITTED ? vote_of(decision, frame) : NULL;
    if (!vote || *vote != TR__TX_YES) {
        tx->late++;
        return;
    }
    *vote = TR__TX_READ; /* nothing is owed to it any more */
    if (TR_PLANT(decision_kept))
        return;
    end_if_acknowledged(tx, decision, true);
}

/* ---- time and loss ------------------------------------------------------------------------------------- */

void tr__tx_decisions_tick(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_decision *decision, *next;
    HASH_ITER(hh, tx->decisions, decision, next)
    {
        bool asked = decision->state == TR__DECISION_FORCING || decision->state == TR__DECISION_SETTLING;
        if (decision->state == TR__DECISION_COMMITTED && decision->retry_ns <= now_ns)
            tell_writers(tx, decision);
        else if (asked && tx->decided_in->shared && decision->retry_ns <= now_ns)
            tr__tx_propose_again(tx, decision);
        else if (decision->state == TR__DECISION_VOTING && decision->deadline_ns <= now_ns)
            abort_it(tx, decision, TR_TX_DEADLINE, "not all participants had voted by the deadline");
    }
}

void tr__tx_decisions_lost(tr__tx *tx)
{
    tr__tx_decision *decision, *next;
    HASH_ITER(hh, tx->decisions, decision, next)
    {
        if (decision->state == TR__DECISION_VOTING)
            abort_it(tx, decision, TR_TX_LOG_LOST, tx->lost_text);
    }
}

static bool lost_with(const tr__tx_decision *decision, const char *node)
{
    if (strcmp(decision->caller, node) == 0)
        return true;
    for (uint32_t i = 0; i < decision->count; i++)
        if (!decision->votes[i] && strcmp(decision->parties[i].node, node) == 0)
            return true;
    return false;
}

void tr__tx_decisions_node_down(tr__tx *tx, const char *node)
{
    char text[TR_ERROR_TEXT_MAX];
    tr__tx_decision *decision, *next;
    HASH_ITER(hh, tx->decisions, decision, next)
    {
        if (decision->state != TR__DECISION_VOTING || !lost_with(decision, node))
            continue;
        snprintf(text, sizeof(text), "node %s went away before it was decided", node);
        abort_it(tx, decision, TR_TX_BRANCH_LOST, text);
    }
}

/* Who was away hears at once. */
void tr__tx_decisions_node_up(tr__tx *tx, const char *node)
{
    for (tr__tx_decision *decision = tx->decisions; decision; decision = decision->hh.next)
        for (uint32_t i = 0; i < decision->count && decision->state == TR__DECISION_COMMITTED; i++)
            if (is_writer(decision, i) && strcmp(decision->parties[i].node, node) == 0)
                tell_party(tx, decision, i, TR__TX_COMMITTED);
}

/* ---- replay -------------------------------------------------------------------------------------------- */

static tr_err replay_redo(tr__tx *tx, const tr_tx_id *id, tr__tx_reader *reader, uint64_t *index)
{
    char name[TR_NAME_MAX];
    tr__tx_get_text(reader, name, sizeof(name));
    tr_bytes redo = tr__tx_get_bytes(reader);
    if (reader->failed)
        return TR_EPROTO;
    tr__tx_actor *actor = tr__tx_actor_of(tx, name);
    if (!actor)
        return TR_ENOMEM;
    tr_txview view = {.store = &actor->store};
    tr_err err = tr__view_get_redo(&view, redo);
    if (err == TR_OK && !tr__store_apply(&actor->store, &view))
        err = TR_ENOMEM;
    if (err == TR_OK)
        tr__tx_emit_commit(tx, id, name, &view, tx->replay_lsn, index);
    tr__view_clear(&view);
    tr__tx_actor_unused(tx, actor);
    return err;
}

tr_err tr__tx_replay_commit(tr__tx *tx, tr__tx_reader *reader)
{
    tr_tx_id id = tr__tx_get_id(reader);
    if (tr__tx_decision_find(tx, &id) || tr__tx_outcome_find(tx, &id))
        return TR_EPROTO;
    tr__tx_decision *decision = tr__tx_decision_make(tx, &id, TR__DECISION_COMMITTED);
    if (!decision)
        return TR_ENOMEM;
    decision->ts = tr__tx_get_number(reader);
    tr__tx_get_text(reader, decision->caller, sizeof(decision->caller));
    uint64_t writers = tr__tx_get_number(reader);
    if (writers > TR_TX_PARTICIPANTS_MAX)
        return TR_EPROTO;
    for (; decision->count < writers; decision->count++) {
        tr__tx_party *party = &decision->parties[decision->count];
        tr__tx_get_text(reader, party->node, sizeof(party->node));
        tr__tx_get_text(reader, party->actor, sizeof(party->actor));
        decision->votes[decision->count] = TR__TX_YES;
    }
    uint64_t redos = tr__tx_get_number(reader);
    if (redos > TR_TX_PARTICIPANTS_MAX)
        return TR_EPROTO;
    uint64_t index = 0;
    while (redos--)
        TR_TRY(replay_redo(tx, &id, reader, &index));
    if (!tr__tx_read_all(reader))
        return TR_EPROTO;
    tr__tx_clock_heard(tx, decision->ts);
    if (!TR_PLANT(outcome_forgotten))
        tr__tx_outcome_put(tx, &id, true, decision->ts);
    if (decision->count == 0)
        tr__tx_decision_forget(tx, decision);
    return TR_OK;
}

tr_err tr__tx_replay_end(tr__tx *tx, tr__tx_reader *reader)
{
    tr_tx_id id = tr__tx_get_id(reader);
    tr__tx_decision *decision = tr__tx_decision_find(tx, &id);
    if (!tr__tx_read_all(reader) || !decision)
        return TR_EPROTO;
    tr__tx_decision_forget(tx, decision);
    return TR_OK;
}
