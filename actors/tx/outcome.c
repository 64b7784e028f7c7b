/* What became of transactions that were decided here, and what who asks is told. The owner's thread.
 *
 *   INQUIRE:   there is a record              what it says, whatever log was meant
 *   no record, another log was meant,
 *              or ours is lost (remember.c)   LOG_LOST; until an operator decides by hand, which makes a record
 *              it is being decided            PENDING
 *              a participant asks             ABORTED (T4)
 *              anybody else                   settling ─durable─► ABORTED, for ever; EXPIRED, if what was decided then
 *                                             may be forgotten by now; nothing, if its node has no right to begin one here
 *
 * Outcomes are forgotten when their transactions began so long ago (tr__tx_keep_outcomes), by our wall clock; the oldest go
 * sooner when there are too many (tr__tx_outcomes_most), or no memory for one more. A COMMIT that isn't acknowledged by all is
 * kept whatever its age: so a participant in doubt can always be answered.
 *
 * What of it is still under way may be young then. It is taken for none that was decided while it has a branch here, for
 * all of them end with the decision (and with ABORT, when it is settled); without one a COMMIT isn't answered at all.
 *
 * How it can fail: what can't be settled now, for want of room or memory, is asked for again. An outcome that there is no
 * memory for is one that was forgotten. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

#define SWEEP_NS      TR_SECONDS(1)
#define TELL_NS       TR_MINUTES(1) /* between two words about those that went early */
#define EARLY_AT_ONCE 8u

/* ---- the table ----------------------------------------------------------------------------------------- */

tr__tx_outcome_at *tr__tx_outcome_find(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_outcome_at *outcome;
    HASH_FIND(hh, tx->outcomes, id, sizeof(*id), outcome);
    return outcome;
}

bool tr__tx_outcome_contradicts(tr__tx *tx, const tr_tx_id *id, bool committed)
{
    const tr__tx_outcome_at *outcome = tr__tx_outcome_find(tx, id);
    return outcome && outcome->committed != committed;
}

static int by_begin(const tr__tx_outcome_at *a, const tr__tx_outcome_at *b)
{
    return memcmp(&a->id, &b->id, sizeof(a->id));
}

void tr__tx_outcomes_sort(tr__tx *tx)
{
    HASH_SORT(tx->outcomes, by_begin);
}

static void outcome_forget(tr__tx *tx, tr__tx_outcome_at *outcome)
{
    HASH_DEL(tx->outcomes, outcome);
    tr__free(outcome);
}

void tr__tx_outcomes_fini(tr__tx *tx)
{
    tr__tx_outcome_at *outcome, *next;
    HASH_ITER(hh, tx->outcomes, outcome, next)
    {
        outcome_forget(tx, outcome);
    }
}

/* ---- forgetting ---------------------------------------------------------------------------------------- */

void tr__tx_keep_outcomes(tr__tx *tx, uint64_t duration_ns)
{
    tx->keep_ms = duration_ns / 1000000u;
}

bool tr__tx_is_old(const tr__tx *tx, const tr_tx_id *id)
{
    return tr__tx_id_ms(id) + tx->keep_ms < tx->io->wall_ms(tx->context);
}

/* Whether an outcome of that id, if there was one, may be forgotten: also when our clock was set back since. */
static bool may_be_forgotten(const tr__tx *tx, const tr_tx_id *id)
{
    return tr__tx_id_ms(id) <= tx->forgotten_ms || tr__tx_is_old(tx, id);
}

/* Whether it is kept whatever its age: not all have acknowledged it. */
static bool is_needed(tr__tx *tx, const tr__tx_outcome_at *outcome)
{
    return tr__tx_decision_find(tx, &outcome->id) && !TR_PLANT(unacknowledged_forgotten);
}

static void is_forgotten(tr__tx *tx, const tr_tx_id *id)
{
    if (tr__tx_id_ms(id) > tx->forgotten_ms)
        tx->forgotten_ms = tr__tx_id_ms(id);
}

static void forget(tr__tx *tx, tr__tx_outcome_at *outcome)
{
    tr__tx_decision *decision = tr__tx_decision_find(tx, &outcome->id);
    if (decision)
        tr__tx_decision_forget(tx, decision);
    is_forgotten(tx, &outcome->id);
    outcome_forget(tx, outcome);
}

/* Before their time; none if all are needed, which are as many as can be under way. */
static void forget_early(tr__tx *tx)
{
    tr__tx_outcome_at *outcome, *next;
    uint32_t count = 0;
    HASH_ITER(hh, tx->outcomes, outcome, next)
    {
        if (count == EARLY_AT_ONCE)
            break;
        if (is_needed(tx, outcome))
            continue;
        forget(tx, outcome);
        count++;
    }
    tx->outcomes_early += count;
}

/* So that it is known after the next start, whatever the clock says then. It may get lost with the power: then what was
 * forgotten is in the log as well. */
static void tell_forgotten(tr__tx *tx)
{
    tr__tx_buffer record = {0};
    tr__tx_put_number(&record, tx->forgotten_ms);
    if (tr__tx_append(tx, TR__RECORD_FORGOT, false, &record, NULL, false, NULL) == TR_OK)
        tx->forgotten_told_ms = tx->forgotten_ms;
}

static void tell_early(tr__tx *tx, uint64_t now_ns)
{
    uint64_t now_ms = tx->io->wall_ms(tx->context);
    if (tx->outcomes_early == tx->early_told || now_ns < tx->early_ns)
        return;
    tx->early_told = tx->outcomes_early;
    tx->early_ns = now_ns + TELL_NS;
    if (tx->io->forgets_early)
        tx->io->forgets_early(tx->context, HASH_COUNT(tx->outcomes),
                              now_ms > tx->forgotten_ms ? now_ms - tx->forgotten_ms : 0);
}

/* They are about in the order in which they began: the first that is young ends it. */
void tr__tx_outcomes_tick(tr__tx *tx, uint64_t now_ns)
{
    tr__tx_outcome_at *outcome, *next;
    if (!tx->log || now_ns < tx->outcomes_ns)
        return;
    tx->outcomes_ns = now_ns + SWEEP_NS;
    HASH_ITER(hh, tx->outcomes, outcome, next)
    {
        if (!tr__tx_is_old(tx, &outcome->id))
            break;
        if (!is_needed(tx, outcome))
            forget(tx, outcome);
    }
    tell_early(tx, now_ns);
    if (tx->forgotten_ms > tx->forgotten_told_ms)
        tell_forgotten(tx);
}

tr_err tr__tx_replay_forgot(tr__tx *tx, tr__tx_reader *reader)
{
    uint64_t told_ms = tr__tx_get_number(reader);
    if (told_ms > tx->forgotten_ms)
        tx->forgotten_ms = told_ms;
    tx->forgotten_told_ms = told_ms;
    return tr__tx_read_all(reader) ? TR_OK : TR_EPROTO;
}

/* ---- remembering --------------------------------------------------------------------------------------- */

static bool add(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts)
{
    tr__tx_outcome_at *outcome = tr__zalloc(sizeof(*outcome));
    if (!outcome)
        return false;
    outcome->id = *id;
    outcome->committed = committed;
    outcome->ts = ts;
    HASH_ADD(hh, tx->outcomes, id, sizeof(outcome->id), outcome);
    if (tr__hash_added(outcome))
        return true;
    tr__free(outcome);
    return false;
}

void tr__tx_outcomes_most(tr__tx *tx, uint32_t most)
{
    tx->outcomes_most = most;
}

void tr__tx_outcome_put(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts)
{
    const tr__tx_outcome_at *outcome = tr__tx_outcome_find(tx, id);
    if (outcome) {
        tr__check(outcome->committed == committed, "T5: a decision never changes");
        return;
    }
    if (HASH_COUNT(tx->outcomes) >= tx->outcomes_most)
        forget_early(tx);
    if (add(tx, id, committed, ts))
        return;
    forget_early(tx); /* which leaves room for one */
    if (add(tx, id, committed, ts))
        return;
    is_forgotten(tx, id);
    tx->outcomes_early++;
}

bool tr__tx_may_be_decided(tr__tx *tx, const tr_tx_id *id)
{
    return tr__tx_id_ms(id) <= tx->forgotten_ms && !tr__tx_local_find(tx, id);
}

/* ---- settling ------------------------------------------------------------------------------------------ */

static void answer(tr__tx *tx, const tr_tx_id *id, const char *to, const char *actor, tr__tx_verdict verdict,
                   uint64_t ts)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_ANSWER, id);
    frame.actor = actor;
    frame.status = verdict;
    frame.ts = ts;
    tr__tx_send(tx, to, &frame, NULL);
}

static void tell_operator(tr__tx *tx, void *token, tr_tx_status status, tr_tx_reason why, const char *text,
                          uint64_t ts)
{
    tr_tx_done done = {.status = status, .reason = why, .commit_ts = ts, .ticket = "", .text = text};
    if (token)
        tx->io->done(tx->context, token, &done);
}

void tr__tx_settled(tr__tx *tx, tr__tx_decision *decision, bool commits, uint64_t ts)
{
    decision->ts = commits ? ts : 0;
    tr__tx_event(tx, &decision->id, "", "decide", commits ? "committed" : "aborted");
    tr__tx_outcome_put(tx, &decision->id, commits, decision->ts);
    if (!commits) /* also when that is forgotten no COMMIT that comes can go through */
        tr__tx_branches_drop(tx, &decision->id, TR_TX_DEADLINE);
    tx->aborted += !commits;
    tx->committed += commits;
    if (decision->caller[0])
        answer(tx, &decision->id, decision->caller, decision->parties[0].actor,
               commits ? TR__TX_COMMITTED : TR__TX_ABORTED, decision->ts);
    tell_operator(tx, decision->token, commits ? TR_TX_COMMITTED : TR_TX_ABORTED,
                  commits ? TR_TX_NONE : TR_TX_APP, commits ? "" : "its operator has decided so",
                  decision->ts);
    tr__tx_decision_forget(tx, decision);
}

/* Nothing has decided it: from here on it is so, whatever comes. NULL: it can't be written now. */
static tr__tx_decision *settle(tr__tx *tx, const tr_tx_id *id, bool commits)
{
    tr__tx_buffer record = {0};
    tr__tx_decision *decision = HASH_COUNT(tx->decisions) < TR__TX_UNDECIDED_MAX
                                    ? tr__tx_decision_make(tx, id, TR__DECISION_SETTLING)
                                    : NULL;
    if (!decision)
        return NULL;
    decision->commits = commits;
    tr__tx_put_id(&record, id);
    if (commits) { /* as coordinator.c writes it: with nobody to tell, and nothing to do here */
        decision->ts = ++tx->clock;
        tr__tx_put_number(&record, decision->ts);
        tr__tx_put_text(&record, "");
        tr__tx_put_number(&record, 0);
        tr__tx_put_number(&record, 0);
    }
    if (tr__tx_propose(tx, decision, &record, NULL) == TR_OK)
        return decision;
    tr__tx_decision_forget(tx, decision);
    return NULL;
}

tr_err tr__tx_replay_tomb(tr__tx *tx, tr__tx_reader *reader)
{
    tr_tx_id id = tr__tx_get_id(reader);
    if (!tr__tx_read_all(reader) || tr__tx_outcome_contradicts(tx, &id, false))
        return TR_EPROTO;
    tr__tx_outcome_put(tx, &id, false, 0);
    return TR_OK;
}

/* ---- who asks ------------------------------------------------------------------------------------------ */

static bool is_ours(const tr__tx *tx, tr_bytes log)
{
    return tx->log && log.size == TR__LOG_ID_BYTES &&
           memcmp(log.data, tr__tx_log_id(tx), TR__LOG_ID_BYTES) == 0;
}

static void settle_for(tr__tx *tx, const tr_tx_id *id, const char *asker, const char *actor)
{
    tr__tx_decision *decision = settle(tx, id, false);
    if (!decision)
        return; /* it asks again */
    snprintf(decision->caller, sizeof(decision->caller), "%s", asker);
    snprintf(decision->parties[0].actor, sizeof(decision->parties[0].actor), "%s", actor);
}

void tr__tx_on_inquire(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    const tr__tx_outcome_at *outcome = tr__tx_outcome_find(tx, &id);
    const char *actor = frame->actor, *from = frame->from;
    bool shared = tx->decided_in->shared; /* then no log of ours says that there is nothing: D3 */
    if (outcome)
        answer(tx, &id, from, actor, outcome->committed ? TR__TX_COMMITTED : TR__TX_ABORTED, outcome->ts);
    else if (!shared && !is_ours(tx, frame->log))
        answer(tx, &id, from, actor, TR__TX_LOG_LOST, 0);
    else if (tr__tx_decision_find(tx, &id) && !(TR_PLANT(presumed_early) && actor[0]))
        answer(tx, &id, from, actor, TR__TX_PENDING, 0);
    else if (!shared && tx->lost && !TR_PLANT(lost_presumed)) /* it may have been in what is missing */
        answer(tx, &id, from, actor, TR__TX_LOG_LOST, 0);
    else if ((actor[0] && !shared) || TR_PLANT(aborted_unwritten)) /* T4 */
        answer(tx, &id, from, actor, TR__TX_ABORTED, 0);
    else if (!actor[0] && may_be_forgotten(tx, &id) && !TR_PLANT(forgotten_aborted))
        answer(tx, &id, from, actor, TR__TX_EXPIRED, 0);
    else if (actor[0] || !tx->io->may_begin || tx->io->may_begin(tx->context, from, true))
        settle_for(tx, &id, from, actor);
}

/* ---- by hand ------------------------------------------------------------------------------------------- */

static const char unwritten[] = "it can't be written into the log now: try again";

void tr__tx_outcomes_forget_token(tr__tx *tx, const void *token)
{
    for (tr__tx_decision *decision = tx->decisions; decision; decision = decision->hh.next)
        if (decision->token == token)
            decision->token = NULL;
    for (tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next)
        if (branch->token == token)
            branch->token = NULL;
}

/* The branches of it here that are in doubt; how many there were, and how many still are: what can't be written now stays
 * as it is. If none is he hears of it with the last one. */
static uint32_t finish_here(tr__tx *tx, const tr_tx_id *id, bool commits, void *token, uint32_t *left)
{
    uint32_t count = 0;
    tr__tx_branch *last = NULL;
    *left = 0;
    for (tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next) {
        if (branch->state != TR__BRANCH_PREPARED || memcmp(&branch->key.id, id, sizeof(*id)) != 0)
            continue;
        uint64_t ts = ++tx->clock;
        if (tr__tx_branch_by_hand(tx, branch, commits, commits ? ts : 0))
            last = branch;
        else
            ++*left;
        count++;
    }
    if (last && !*left)
        last->token = token;
    return count;
}

void tr__tx_told_by_hand(tr__tx *tx, void *token, bool committed)
{
    tell_operator(tx, token, committed ? TR_TX_COMMITTED : TR_TX_ABORTED, committed ? TR_TX_NONE : TR_TX_APP,
                  "on this node only", 0);
}

static void decide_at_decider(tr__tx *tx, const tr_tx_id *id, const uint8_t *log, bool commits, void *token)
{
    const tr__tx_outcome_at *outcome = tr__tx_outcome_find(tx, id);
    tr_bytes meant = {log, TR__LOG_ID_BYTES};
    if (outcome) {
        tell_operator(tx, token, outcome->committed ? TR_TX_COMMITTED : TR_TX_ABORTED,
                      outcome->committed ? TR_TX_NONE : TR_TX_DEADLINE,
                      outcome->committed == commits ? "" : "it was decided before: that doesn't change",
                      outcome->ts);
        return;
    }
    if (tr__tx_decision_find(tx, id)) {
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED, "it is being decided: ask again", 0);
        return;
    }
    if (tr__tx_id_ms(id) <= tx->forgotten_ms) {
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_EXPIRED,
                      "it is so old that it may be forgotten: decide it at the nodes where it is in doubt",
                      0);
        return;
    }
    if (commits && is_ours(tx, meant) && !tx->lost) {
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED,
                      "the log of the node that decides is whole and has no record of it, so it was aborted",
                      0);
        return;
    }
    tr__tx_decision *decision = settle(tx, id, commits);
    if (decision)
        decision->token = token;
    else
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_OVERLOAD, unwritten, 0);
}

static void decide_here(tr__tx *tx, const tr_tx_id *id, bool commits, void *token)
{
    uint32_t left, count = finish_here(tx, id, commits, token, &left);
    if (left)
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_OVERLOAD, unwritten, 0);
    else if (!count)
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED, "nothing of it is in doubt on this node",
                      0);
}

void tr__tx_decide_by_hand(tr__tx *tx, const char *ticket, bool commits, void *token)
{
    tr_tx_id id;
    char node[TR_NAME_MAX];
    uint8_t log[TR__LOG_ID_BYTES];
    if (!tr__tx_ticket_parse(ticket, &id, node, log))
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED, "that is no ticket: ID@node/log", 0);
    else if (!tx->log)
        tell_operator(tx, token, TR_TX_UNKNOWN, TR_TX_NOT_ALLOWED, "this node keeps no log", 0);
    else if (strcmp(node, tx->node) == 0)
        decide_at_decider(tx, &id, log, commits, token);
    else
        decide_here(tx, &id, commits, token);
}
