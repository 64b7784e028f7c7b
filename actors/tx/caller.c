/* Transactions that were begun here: calls go out, the commit goes to the coordinator (the first participant, in the
 * order of the calls, that was written), and what became of it comes back. The owner's thread.
 *
 * How it can fail: a call that fails breaks the transaction: it can only abort, for that reason. A commit whose
 * coordinator can't be heard any more is UNKNOWN, with a ticket (resolve.c). */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

#define UNHEARD_NS TR_SECONDS(1) /* behind the deadline, by when the coordinator has said something */

static tr__tx_caller *find(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_caller *caller;
    HASH_FIND(hh, tx->callers, id, sizeof(*id), caller);
    return caller;
}

static tr__tx_caller *make(tr__tx *tx, const tr__tx_begin *begin)
{
    tr__tx_caller *caller =
        HASH_COUNT(tx->callers) < TR__TX_UNDECIDED_MAX ? tr__zalloc(sizeof(*caller)) : NULL;
    if (!caller)
        return NULL;
    caller->begin = *begin;
    if (!begin->priority)
        caller->begin.priority = tr__tx_priority_now(tx);
    HASH_ADD(hh, tx->callers, begin.id, sizeof(begin->id), caller);
    if (tr__hash_added(caller))
        return caller;
    tr__free(caller);
    return NULL;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

/* Who called may be we, for an emit (inbox.c). */
static void give_called(tr__tx *tx, void *token, const tr__tx_frame *answer)
{
    if (token && !tr__tx_delivery_called(tx, token, answer))
        tx->io->called(tx->context, token, answer);
}

static void answer_call(tr__tx *tx, void *token, tr_tx_reason why, const char *text)
{
    tr__tx_frame answer = {.kind = TR__TX_CALLED, .from = tx->node, .reason = why, .text = text, .actor = ""};
    give_called(tx, token, &answer);
}

void tr__tx_answer_done(tr__tx *tx, void *token, tr_tx_status status, tr_tx_reason why, const char *text,
                        const char *ticket, uint64_t ts, uint64_t priority)
{
    tr_tx_done done = {.status = status,
                       .reason = why,
                       .commit_ts = ts,
                       .ticket = ticket,
                       .text = text,
                       .priority = {priority != 0, priority}};
    if (token && !tr__tx_delivery_done(tx, token, &done))
        tx->io->done(tx->context, token, &done);
}

/* Those of one party, or of all (party == UINT32_MAX), are answered so. */
static void fail_pending(tr__tx *tx, tr__tx_caller *caller, uint32_t party, tr_tx_reason why,
                         const char *text)
{
    tr__tx_pending_call **at = &caller->pending;
    while (*at) {
        tr__tx_pending_call *call = *at;
        if (party != UINT32_MAX && call->party != party) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        answer_call(tx, call->token, why, text);
        tr__free(call);
    }
}

static void break_it(tr__tx *tx, tr__tx_caller *caller, tr_tx_reason why, const char *text)
{
    if (caller->broken)
        return; /* the first reason is the one */
    caller->broken = why;
    snprintf(caller->text, sizeof(caller->text), "%s", text);
    tr__tx_event(tx, &caller->begin.id, "", "broken", tr__tx_reason_word(why));
}

static void forget(tr__tx *tx, tr__tx_caller *caller)
{
    fail_pending(tx, caller, UINT32_MAX, TR_TX_APP, "the transaction was ended");
    HASH_DEL(tx->callers, caller);
    tr__free(caller);
}

/* Every branch is let go. */
static void drop_all(tr__tx *tx, const tr__tx_caller *caller)
{
    for (uint32_t i = 0; i < caller->count; i++) {
        if (!caller->numbers[i])
            continue; /* it was never called */
        tr__tx_frame frame = tr__tx_frame_of(TR__TX_DROP, &caller->begin.id);
        frame.actor = caller->parties[i].actor;
        frame.remaining = tr__tx_left(tx, caller->begin.until_ns);
        tr__tx_send(tx, caller->parties[i].node, &frame, NULL);
    }
}

static void finish(tr__tx *tx, tr__tx_caller *caller, tr_tx_status status, tr_tx_reason why, const char *text,
                   uint64_t ts)
{
    char ticket[TR_TX_TICKET_MAX], kept[TR_ERROR_TEXT_MAX];
    snprintf(kept, sizeof(kept), "%s", text);
    tr__tx_ticket_of(caller, ticket);
    tr__tx_event(tx, &caller->begin.id, "", tr__tx_status_word(status), tr__tx_reason_word(why));
    void *token = caller->token;
    uint64_t priority = caller->begin.priority;
    forget(tx, caller);
    tr__tx_answer_done(tx, token, status, why, kept, ticket, ts, priority);
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static tr_tx_reason send_call(tr__tx *tx, tr__tx_caller *caller, uint32_t party, const tr__tx_frame *call,
                              void *token, tr_error *error)
{
    uint64_t left = tr__tx_left(tx, caller->begin.until_ns);
    if (!left) {
        tr__fail(error, TR_EDEADLINE, "its deadline has passed");
        return TR_TX_DEADLINE;
    }
    const tr__tx_party *to = &caller->parties[party];
    if (!caller->numbers[party] && tr__tx_is_crowded(tx, to, caller->begin.priority)) {
        tr__fail(error, TR_EABORTED, "%s on node %s had too much to do just now: try again", to->actor,
                 to->node);
        return TR_TX_OVERLOAD;
    }
    tr__tx_pending_call *pending = tr__zalloc(sizeof(*pending));
    if (!pending) {
        tr__fail(error, TR_ENOMEM, "no memory for the call");
        return TR_TX_OVERLOAD;
    }
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_CALL, &caller->begin.id);
    frame.actor = to->actor;
    frame.number = caller->numbers[party] + 1;
    frame.remaining = left;
    frame.wait = caller->begin.lock_wait_ns;
    frame.priority.present = true;
    frame.priority.value = caller->begin.priority;
    frame.writes = call->writes;
    frame.type = call->type;
    frame.fingerprint = call->fingerprint;
    frame.schema = call->schema;
    frame.body = call->body;
    if (tr__tx_send(tx, to->node, &frame, error) != TR_OK) {
        tr__free(pending);
        return TR_TX_UNREACHABLE;
    }
    *pending = (tr__tx_pending_call){caller->pending, token, party, ++caller->numbers[party]};
    caller->pending = pending;
    return TR_TX_NONE;
}

void tr__tx_call(tr__tx *tx, const tr__tx_begin *begin, const char *path, const tr__tx_frame *call,
                 void *token)
{
    tr_error error = {0};
    tr__tx_caller *caller = find(tx, &begin->id);
    if (!caller && begin->calls == 0)
        caller = make(tx, begin);
    if (!caller) {
        bool late = !tr__tx_left(tx, begin->until_ns);
        answer_call(tx, token, late ? TR_TX_DEADLINE : TR_TX_OVERLOAD,
                    late ? "its deadline has passed"
                         : "this node has 1,000 transactions under way, or no memory");
        return;
    }
    uint32_t party =
        caller->state == TR__CALLER_CALLING && !caller->broken ? tr__tx_party_of(tx, caller, path) : 0;
    tr_tx_reason why = caller->broken;
    if (why) {
        tr__fail(&error, TR_EABORTED, "%s", caller->text);
    } else if (caller->state != TR__CALLER_CALLING) {
        why = TR_TX_NOT_ALLOWED;
        tr__fail(&error, TR_EINVAL, "it is being committed");
    } else if (caller->begin.read_only && call->writes) {
        why = TR_TX_NOT_ALLOWED;
        tr__fail(&error, TR_EPERM, "it was begun as read-only: \"%.80s\" can't be called by what writes",
                 path);
    } else if (party == UINT32_MAX) {
        why = caller->count == TR_TX_PARTICIPANTS_MAX ? TR_TX_TOO_LARGE : TR_TX_NOT_ALLOWED;
        tr__fail(&error, TR_EINVAL, "\"%.80s\": %s", path,
                 why == TR_TX_TOO_LARGE ? "16 participants are the most" : "\"node/actor\" is needed");
    } else {
        why = send_call(tx, caller, party, call, token, &error);
    }
    if (why) {
        break_it(tx, caller, why, error.text);
        answer_call(tx, token, why, error.text);
    }
}

static tr__tx_pending_call *pending_take(tr__tx_caller *caller, const tr__tx_frame *frame, uint32_t *party)
{
    for (tr__tx_pending_call **at = &caller->pending; *at; at = &(*at)->next) {
        tr__tx_pending_call *call = *at;
        const tr__tx_party *p = &caller->parties[call->party];
        if (call->number != frame->number || strcmp(p->node, frame->from) != 0 ||
            strcmp(p->actor, frame->actor) != 0)
            continue;
        *at = call->next;
        *party = call->party;
        return call;
    }
    return NULL;
}

/* Its place among the participants; their count: it is none. */
static uint32_t party_from(const tr__tx_caller *caller, const tr__tx_frame *frame)
{
    uint32_t i = 0;
    while (i < caller->count && (strcmp(caller->parties[i].node, frame->from) != 0 ||
                                 strcmp(caller->parties[i].actor, frame->actor) != 0))
        i++;
    return i;
}

static void abort_it(tr__tx *tx, tr__tx_caller *caller, tr_tx_reason why, const char *text);

/* One of its branches was: nothing of it can be committed, so nobody needs to wait for the rest. What is with its
 * coordinator, that hears by the votes. */
static void wounded(tr__tx *tx, tr__tx_caller *caller, const char *text)
{
    char kept[TR_ERROR_TEXT_MAX];
    snprintf(kept, sizeof(kept), "%s", text);
    if (caller->state == TR__CALLER_READING) {
        abort_it(tx, caller, TR_TX_WOUNDED, kept);
    } else if (caller->state == TR__CALLER_CALLING) {
        break_it(tx, caller, TR_TX_WOUNDED, kept);
        fail_pending(tx, caller, UINT32_MAX, TR_TX_WOUNDED, kept);
        drop_all(tx, caller);
    }
}

void tr__tx_on_called(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    uint32_t i;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_caller *caller = find(tx, &id);
    if (caller && frame->number == 0 && frame->reason == TR_TX_WOUNDED &&
        party_from(caller, frame) < caller->count) {
        wounded(tx, caller, frame->text);
        return;
    }
    tr__tx_pending_call *call = caller ? pending_take(caller, frame, &i) : NULL;
    if (!call)
        return; /* nobody waits for it any more */
    tr__tx_party *party = &caller->parties[i];
    tr__tx_frame answer = *frame;
    if (!answer.reason &&
        (frame->log.size != TR__LOG_ID_BYTES || (party->boot && party->boot != frame->boot))) {
        answer.reason = TR_TX_BRANCH_LOST;
        answer.text = "its node was started anew";
    }
    if (answer.reason == TR_TX_OVERLOAD && frame->number == 1 && strcmp(party->node, tx->node) != 0)
        tr__tx_crowd_put(tx, party, caller->begin.priority);
    if (answer.reason) {
        break_it(tx, caller, answer.reason, answer.text);
    } else {
        party->boot = frame->boot;
        party->reads = frame->reads > party->reads ? frame->reads : party->reads;
        party->writes = frame->writes > party->writes ? frame->writes : party->writes;
        caller->wrote[i] |= frame->wrote.present ? frame->wrote.value > 0 : frame->writes > 0;
        memcpy(caller->logs[i], frame->log.data, TR__LOG_ID_BYTES);
    }
    void *token = call->token;
    tr__free(call);
    give_called(tx, token, &answer);
    if (answer.reason == TR_TX_WOUNDED)
        wounded(tx, caller, answer.text);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void abort_it(tr__tx *tx, tr__tx_caller *caller, tr_tx_reason why, const char *text)
{
    drop_all(tx, caller);
    finish(tx, caller, TR_TX_ABORTED, why, text, 0);
}

/* Nothing was written: everybody is asked whether what was read still stood together. */
static void commit_reads(tr__tx *tx, tr__tx_caller *caller)
{
    tr_error error = {0};
    if (TR_PLANT(reads_unasked)) {
        drop_all(tx, caller);
        finish(tx, caller, TR_TX_COMMITTED, TR_TX_NONE, "", 0);
        return;
    }
    caller->state = TR__CALLER_READING;
    for (uint32_t i = 0; i < caller->count; i++) {
        tr__tx_frame frame = tr__tx_frame_of(TR__TX_PREPARE, &caller->begin.id);
        frame.actor = caller->parties[i].actor;
        frame.boot = caller->parties[i].boot;
        frame.reads = caller->parties[i].reads;
        frame.writes = caller->parties[i].writes;
        if (tr__tx_send(tx, caller->parties[i].node, &frame, &error) != TR_OK) {
            abort_it(tx, caller, TR_TX_UNREACHABLE, error.text);
            return;
        }
    }
}

static void commit_writes(tr__tx *tx, tr__tx_caller *caller)
{
    tr_error error = {0};
    tr__tx_buffer parties = {0};
    tr__tx_put_parties(&parties, caller->parties, caller->count);
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_COMMIT, &caller->begin.id);
    frame.remaining = tr__tx_left(tx, caller->begin.until_ns);
    frame.body = (tr_bytes){parties.bytes, parties.length};
    caller->state = TR__CALLER_COMMITTING;
    bool memory = !parties.failed;
    if (!memory)
        abort_it(tx, caller, TR_TX_OVERLOAD, "no memory to commit it");
    else if (tr__tx_send(tx, caller->parties[caller->coordinator].node, &frame, &error) != TR_OK)
        abort_it(tx, caller, TR_TX_UNREACHABLE, error.text); /* it hasn't left: nobody can decide it */
    tr__tx_buffer_free(&parties);
}

void tr__tx_commit(tr__tx *tx, const tr__tx_begin *begin, void *token)
{
    tr__tx_caller *caller = find(tx, &begin->id);
    if (!caller) {
        bool empty = begin->calls == 0, late = !tr__tx_left(tx, begin->until_ns);
        tr__tx_answer_done(tx, token, empty ? TR_TX_COMMITTED : TR_TX_ABORTED,
                           empty  ? TR_TX_NONE
                           : late ? TR_TX_DEADLINE
                                  : TR_TX_OVERLOAD,
                           empty ? "" : "it isn't under way on this node (any more)", "", 0, begin->priority);
        return;
    }
    if (caller->state != TR__CALLER_CALLING) {
        tr__tx_answer_done(tx, token, TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED,
                           "it was committed before: wait for that answer", "", 0, 0);
        return;
    }
    caller->token = token;
    caller->coordinator = tr__tx_coordinator_of(caller);
    if (caller->pending)
        break_it(tx, caller, TR_TX_NOT_ALLOWED,
                 "calls of it were still under way when it was to be committed");
    if (!tr__tx_left(tx, begin->until_ns))
        break_it(tx, caller, TR_TX_DEADLINE, "its deadline passed before it was to be committed");
    if (caller->broken)
        abort_it(tx, caller, caller->broken, caller->text);
    else if (caller->coordinator == UINT32_MAX)
        commit_reads(tx, caller);
    else
        commit_writes(tx, caller);
}

void tr__tx_on_outcome(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_caller *caller = find(tx, &id);
    if (!caller || caller->state != TR__CALLER_COMMITTING ||
        strcmp(caller->parties[caller->coordinator].node, frame->from) != 0)
        return;
    if (frame->status == TR__TX_COMMITTED)
        finish(tx, caller, TR_TX_COMMITTED, TR_TX_NONE, "", frame->ts);
    else if (frame->status == TR__TX_ABORTED)
        abort_it(tx, caller, frame->reason ? frame->reason : TR_TX_DEADLINE, frame->text);
}

bool tr__tx_on_read_vote(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_caller *caller = find(tx, &id);
    if (!caller || caller->state != TR__CALLER_READING)
        return false;
    uint32_t from = party_from(caller, frame);
    if (from == caller->count || caller->voted[from])
        return true; /* no participant; or one whose word is given */
    if (frame->status != TR__TX_READ) {
        bool wound = frame->reason == TR_TX_WOUNDED;
        abort_it(tx, caller, wound ? TR_TX_WOUNDED : TR_TX_BRANCH_LOST,
                 wound ? "what it had read an older transaction needed" : "what it had read was given up");
        return true;
    }
    caller->voted[from] = true;
    bool all = true;
    for (uint32_t i = 0; i < caller->count; i++)
        all = all && caller->voted[i];
    if (all)
        finish(tx, caller, TR_TX_COMMITTED, TR_TX_NONE, "", 0);
    return true;
}

void tr__tx_abort(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_caller *caller = find(tx, id);
    if (!caller || caller->state == TR__CALLER_COMMITTING)
        return; /* the coordinator decides */
    if (caller->broken)
        abort_it(tx, caller, caller->broken, caller->text);
    else
        abort_it(tx, caller, TR_TX_APP, "its caller gave it up");
}

uint64_t tr__tx_priority(tr__tx *tx, const tr_tx_id *id)
{
    const tr__tx_caller *caller = find(tx, id);
    return caller ? caller->begin.priority : 0;
}

void tr__tx_ticket(tr__tx *tx, const tr_tx_id *id, char *out)
{
    tr__tx_caller *caller = find(tx, id);
    out[0] = '\0';
    if (!caller)
        return;
    tr__tx_ticket_of(caller, out);
    if (out[0]) {
        caller->coordinator = tr__tx_coordinator_of(caller);
        caller->ticketed = true;
    }
}

void tr__tx_forget(tr__tx *tx, void *token)
{
    tr__tx_outcomes_forget_token(tx, token);
    for (tr__tx_caller *caller = tx->callers; caller; caller = caller->hh.next) {
        if (caller->token == token)
            caller->token = NULL;
        for (tr__tx_pending_call *call = caller->pending; call; call = call->next)
            if (call->token == token)
                call->token = NULL;
    }
    tr__tx_resolvers_forget(tx, token);
}

/* ---- time and loss ------------------------------------------------------------------------------------- */

/* Who has promised nothing yet is let go, and needn't wait for the deadline: a drop ends no promise (T2), and a coordinator
 * that misses a branch can only abort. */
static void leave_unknown(tr__tx *tx, tr__tx_caller *caller, tr_tx_reason why, const char *text)
{
    drop_all(tx, caller);
    finish(tx, caller, TR_TX_UNKNOWN, why, text, 0);
}

static void caller_tick(tr__tx *tx, tr__tx_caller *caller, uint64_t now_ns)
{
    static const char late[] = "its deadline has passed";
    uint64_t until = caller->begin.until_ns;
    if (until > now_ns)
        return;
    if (caller->state == TR__CALLER_CALLING) { /* who commits it later hears so, by the time alone */
        break_it(tx, caller, TR_TX_DEADLINE, late);
        fail_pending(tx, caller, UINT32_MAX, TR_TX_DEADLINE, late);
        drop_all(tx, caller);
        forget(tx, caller);
    } else if (caller->state == TR__CALLER_READING) {
        abort_it(tx, caller, TR_TX_DEADLINE, late);
    } else if (now_ns - until >= UNHEARD_NS) {
        leave_unknown(tx, caller, TR_TX_DEADLINE,
                      "the node that decides it has not answered: resolve the ticket");
    }
}

void tr__tx_callers_tick(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_caller *caller, *next;
    HASH_ITER(hh, tx->callers, caller, next)
    {
        caller_tick(tx, caller, now_ns);
    }
}

static void caller_node_down(tr__tx *tx, tr__tx_caller *caller, const char *node)
{
    char text[TR_ERROR_TEXT_MAX];
    snprintf(text, sizeof(text), "node %s went away", node);
    for (uint32_t i = 0; i < caller->count; i++) {
        if (strcmp(caller->parties[i].node, node) != 0)
            continue;
        if (caller->state == TR__CALLER_CALLING) {
            break_it(tx, caller, TR_TX_BRANCH_LOST, text);
            fail_pending(tx, caller, i, TR_TX_BRANCH_LOST, text);
        } else if (caller->state == TR__CALLER_READING) {
            abort_it(tx, caller, TR_TX_BRANCH_LOST, text);
            return;
        } else if (i == caller->coordinator) {
            snprintf(text, sizeof(text), "node %s, which decides it, went away: resolve the ticket", node);
            leave_unknown(tx, caller, TR_TX_UNREACHABLE, text);
            return;
        }
    }
}

void tr__tx_callers_node_down(tr__tx *tx, const char *node)
{
    tr__tx_caller *caller, *next;
    HASH_ITER(hh, tx->callers, caller, next)
    {
        caller_node_down(tx, caller, node);
    }
}

void tr__tx_callers_fini(tr__tx *tx)
{
    tr__tx_caller *caller, *next;
    HASH_ITER(hh, tx->callers, caller, next)
    {
        while (caller->pending) {
            tr__tx_pending_call *call = caller->pending;
            caller->pending = call->next;
            tr__free(call);
        }
        HASH_DEL(tx->callers, caller);
        tr__free(caller);
    }
}
