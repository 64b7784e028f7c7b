/* What is in doubt: prepared here, decided elsewhere, and not told yet. It asks the node that decides, and when that is
 * silent the other participants (its siblings); and what one that is asked so may say. The owner's thread.
 *
 *     prepared ─► INQUIRE to who decides, after 100 ms, 200 ms, ... 5 s ─► committed, aborted: the end of it
 *                   └─ not connected, or silent for 2 s ─► ASK to each sibling as well
 *
 * A sibling answers by its log's record of it, or gives up a branch that has promised nothing (so that who decides can't
 * have committed it, and never will: a tomb sees to it that no PREPARE is answered with yes any more) and says aborted. With
 * neither it doesn't know (T6): it may have voted "read" and gone, or have prepared in an earlier life.
 *
 * With a store that all nodes share it looks there when who decides is silent, and proposes to abort after 3 s
 * (decision_store.h).
 *
 * How it can fail: who decides is away and no sibling knows: then it waits, locked, for ever (T2); after 30 s somebody is
 * told. */
#include "actors/tx/internal.h"

#include <string.h>

#include "base/buggify.h"
#include "base/plant.h"

/* ---- what was heard ------------------------------------------------------------------------------------ */

static tr__tx_outcome_at *find_heard(tr__tx *tx, const tr_tx_id *id)
{
    tr__tx_outcome_at *outcome;
    HASH_FIND(hh, tx->heard, id, sizeof(*id), outcome);
    return outcome;
}

static void forget_oldest(tr__tx *tx)
{
    tr__tx_outcome_at *oldest = tx->heard; /* the table is in the order in which they were put */
    HASH_DEL(tx->heard, oldest);
    tr__free(oldest);
}

/* One that isn't there is answered with "don't know": so none is missed but for time. Apart from `outcomes`: those are of
 * what is decided here, and a ticket that was forged can put one there of what isn't. */
void tr__tx_heard_put(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts)
{
    if (find_heard(tx, id)) /* by another participant of this node */
        return;
    if (HASH_COUNT(tx->heard) == TR__TX_HEARD_MAX)
        forget_oldest(tx);
    tr__tx_outcome_at *outcome = tr__zalloc(sizeof(*outcome));
    if (!outcome)
        return;
    outcome->id = *id;
    outcome->committed = committed;
    outcome->ts = ts;
    HASH_ADD(hh, tx->heard, id, sizeof(outcome->id), outcome);
    if (!tr__hash_added(outcome))
        tr__free(outcome);
}

void tr__tx_doubts_fini(tr__tx *tx)
{
    while (tx->heard)
        forget_oldest(tx);
}

/* ---- asking -------------------------------------------------------------------------------------------- */

void tr__tx_doubt_begin(tr__tx *tx, tr__tx_branch *branch)
{
    branch->since_ns = tr__tx_now(tx);
    tr__tx_pause(tx, &branch->retry_ns, &branch->pause_ns); /* the decision comes by itself, as a rule */
    if (TR_BUGGIFY(inquire_early))
        branch->retry_ns = branch->since_ns;
}

static bool is_same(const tr__tx *tx, const tr__tx_branch *branch, const tr__tx_party *party)
{
    return strcmp(party->node, tx->node) == 0 && strcmp(party->actor, branch->at->name) == 0;
}

/* Those of the node that decides are asked with it. */
static uint32_t siblings_of(const tr__tx *tx, const tr__tx_branch *branch,
                            tr__tx_party siblings[TR_TX_PARTICIPANTS_MAX])
{
    uint32_t count = 0, kept = 0;
    if (!tr__tx_get_parties((tr_bytes){branch->parties, branch->parties_size}, siblings, &count))
        return 0;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(siblings[i].node, branch->decider) != 0 && !is_same(tx, branch, &siblings[i]))
            siblings[kept++] = siblings[i];
    return kept;
}

static void ask_siblings(tr__tx *tx, const tr__tx_branch *branch)
{
    tr__tx_party siblings[TR_TX_PARTICIPANTS_MAX];
    uint32_t count = siblings_of(tx, branch, siblings);
    for (uint32_t i = 0; i < count; i++) {
        tr__tx_frame frame = tr__tx_frame_of(TR__TX_ASK, &branch->key.id);
        frame.actor = siblings[i].actor;
        frame.boot = siblings[i].boot;
        frame.text = branch->at->name;
        tr__tx_send(tx, siblings[i].node, &frame, NULL);
    }
}

/* Not just on its way, or slow: a sibling that is asked too early gives up what would be committed. */
static bool is_silent(const tr__tx *tx, const tr__tx_branch *branch)
{
    return branch->log_lost || (branch->silent_ns && tr__tx_now(tx) - branch->silent_ns >= TR__TX_SILENT_NS);
}

static void ask_store(tr__tx *tx, const tr__tx_branch *branch, bool silent)
{
    tr__decision_store *store = tx->decided_in;
    if (tr__tx_now(tx) - branch->since_ns >= TR__TX_PROPOSE_NS)
        tr__tx_propose_abort(tx, &branch->key.id);
    else if (silent)
        store->lookup(store, tx, &branch->key.id);
}

static void inquire(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_INQUIRE, &branch->key.id);
    frame.actor = branch->at->name;
    frame.log = (tr_bytes){branch->decider_log, TR__LOG_ID_BYTES};
    bool silent = is_silent(tx, branch);
    if (tr__tx_send(tx, branch->decider, &frame, NULL) != TR_OK)
        silent = true;
    if (silent)
        ask_siblings(tx, branch);
    if (tx->decided_in->shared)
        ask_store(tx, branch, silent);
    if (!branch->silent_ns)
        branch->silent_ns = tr__tx_now(tx);
    branch->asked++;
    tr__tx_pause(tx, &branch->retry_ns, &branch->pause_ns);
}

/* ---- for who looks ------------------------------------------------------------------------------------- */

static tr__tx_doubt doubt_of(const tr__tx *tx, const tr__tx_branch *branch)
{
    tr__tx_doubt doubt = {.id = branch->key.id,
                          .actor = branch->at->name,
                          .decider = branch->decider,
                          .decider_log = branch->decider_log,
                          .since_ns = branch->since_ns,
                          .asked = branch->asked,
                          .unanswered = is_silent(tx, branch)};
    for (const tr__tx_branch *b = branch->at->waiting; b; b = b->next_waiting)
        doubt.waiting++;
    return doubt;
}

uint32_t tr__tx_doubts(const tr__tx *tx, tr__tx_doubt *out, uint32_t most)
{
    uint32_t count = 0; /* the table is in the order in which its branches began */
    for (const tr__tx_branch *branch = tx->branches; branch && count < most; branch = branch->hh.next)
        if (branch->state == TR__BRANCH_PREPARED)
            out[count++] = doubt_of(tx, branch);
    return count;
}

static void alarm_once(tr__tx *tx, tr__tx_branch *branch)
{
    tr__tx_doubt doubt = doubt_of(tx, branch);
    branch->alarmed = true;
    tx->alarms++;
    tr__tx_event(tx, &branch->key.id, branch->at->name, "alarm", branch->decider);
    if (tx->io->alarm)
        tx->io->alarm(tx->context, &doubt);
}

/* ---- time and loss ------------------------------------------------------------------------------------- */

void tr__tx_doubt_tick(tr__tx *tx, tr__tx_branch *branch, uint64_t now_ns)
{
    if (!branch->alarmed && now_ns - branch->since_ns >= TR__TX_ALARM_NS)
        alarm_once(tx, branch);
    if (branch->retry_ns <= now_ns && !(TR_PLANT(inquired_once) && branch->asked))
        inquire(tx, branch);
}

/* Whoever hears that the node which decides is gone asks the others at once. */
void tr__tx_doubts_node_down(tr__tx *tx, const char *node)
{
    for (tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next)
        if (branch->state == TR__BRANCH_PREPARED && strcmp(branch->decider, node) == 0)
            branch->retry_ns = 0;
}

void tr__tx_doubts_node_up(tr__tx *tx, const char *node)
{
    for (tr__tx_branch *branch = tx->branches; branch; branch = branch->hh.next)
        if (branch->state == TR__BRANCH_PREPARED && (branch->silent_ns || strcmp(branch->decider, node) == 0))
            branch->retry_ns = 0;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static bool is_sibling(const tr__tx *tx, const tr__tx_branch *branch, const char *node)
{
    tr__tx_party siblings[TR_TX_PARTICIPANTS_MAX];
    uint32_t count = siblings_of(tx, branch, siblings);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(siblings[i].node, node) == 0)
            return true;
    return false;
}

void tr__tx_on_answer_branch(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_branch *branch = tr__tx_branch_find(tx, &id, frame->actor);
    if (!branch || branch->state != TR__BRANCH_PREPARED)
        return;
    bool decides = strcmp(branch->decider, frame->from) == 0;
    if (decides) {
        branch->silent_ns = 0;
        branch->log_lost = frame->status == TR__TX_LOG_LOST;
    } else if (!is_sibling(tx, branch, frame->from)) {
        return;
    }
    if (frame->status == TR__TX_LOG_LOST)
        tr__tx_event(tx, &id, frame->actor, "answer", "log-lost");
    if (frame->status != TR__TX_COMMITTED && frame->status != TR__TX_ABORTED)
        return;
    if (!decides)
        tr__tx_event(tx, &id, frame->actor, "told by", frame->from);
    tr__tx_branch_finish(tx, branch, frame->status == TR__TX_COMMITTED, frame->ts);
}

/* By the store. */
void tr__tx_doubts_decided(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts)
{
    tr__tx_branch *branch, *next;
    HASH_ITER(hh, tx->branches, branch, next)
    {
        if (branch->state != TR__BRANCH_PREPARED || memcmp(&branch->key.id, id, sizeof(*id)) != 0)
            continue;
        tr__tx_event(tx, id, branch->at->name, "told by", "the store");
        tr__tx_branch_finish(tx, branch, committed, ts);
    }
}

/* ---- being asked --------------------------------------------------------------------------------------- */

/* True: it had promised nothing, and never will. As long as a tomb is missing that should be there, a branch may be one
 * that a late call has begun behind the end of the first, which may have promised. */
static bool gives_up(tr__tx *tx, const tr_tx_id *id, const tr__tx_frame *frame)
{
    tr__tx_branch *branch = tr__tx_branch_find(tx, id, frame->actor);
    if ((TR_PLANT(sibling_presumes) && !branch) ||
        (TR_PLANT(sibling_guesses) && branch && branch->state == TR__BRANCH_PREPARED))
        return true;
    if (!branch || branch->state > TR__BRANCH_READY || branch->dropped || frame->boot != tx->id ||
        tx->tombs_missed_ns > tr__tx_now(tx))
        return false;
    tr__tx_branch_drop(tx, branch, TR_TX_BRANCH_LOST);
    return tr__tx_is_entombed(tx, id, frame->actor); /* not yet, if the actor has its view just now */
}

void tr__tx_on_ask(tr__tx *tx, const tr__tx_frame *frame)
{
    tr_tx_id id;
    memcpy(&id, frame->id.data, sizeof(id));
    tr__tx_frame answer = tr__tx_frame_of(TR__TX_ANSWER, &id);
    const tr__tx_outcome_at *heard = find_heard(tx, &id);
    tx->asked += strcmp(frame->from, tx->node) != 0;
    answer.actor = frame->text;
    answer.status = TR__TX_DONT_KNOW;
    if (heard) {
        answer.status = heard->committed ? TR__TX_COMMITTED : TR__TX_ABORTED;
        answer.ts = heard->ts;
    } else if (gives_up(tx, &id, frame)) {
        answer.status = TR__TX_ABORTED;
    }
    tr__tx_send(tx, frame->from, &answer, NULL);
}
