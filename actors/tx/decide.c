/* Proposals and their answers: see decision_store.h; and the store that is there by default, which is our log. The owner's
 * thread. */
#include "actors/tx/decision_store.h"

#include <string.h>

#include "actors/tx/internal.h"

/* ---- the log as a store -------------------------------------------------------------------------------- */

static void on_forced(tr__tx *tx, tr__tx_force *force)
{
    const tr__tx_decision *decision = TR__TX_OF(tr__tx_decision, force, force);
    const tr_tx_id id = decision->id;
    tr__tx_decided(tx, &id, decision->commits, decision->ts);
}

/* Nobody else writes there: what is proposed wins, if it can be written. */
static tr_err log_decide(tr__decision_store *store, tr__tx *tx, const tr__proposal *p, tr_error *error)
{
    (void)store;
    p->force->then = on_forced;
    return tr__tx_append(tx, p->commits ? TR__RECORD_COMMIT : TR__RECORD_TOMB, false, p->record, p->force,
                         true, error);
}

tr__decision_store tr__decisions_in_log = {.decide = log_decide};

/* ---- proposing ----------------------------------------------------------------------------------------- */

void tr__tx_decide_in(tr__tx *tx, tr__decision_store *store)
{
    tx->decided_in = store;
}

tr_err tr__tx_propose(tr__tx *tx, tr__tx_decision *decision, tr__tx_buffer *record, tr_error *error)
{
    const tr__proposal proposal = {.id = decision->id,
                                   .commits = decision->commits,
                                   .ts = decision->commits ? decision->ts : 0,
                                   .record = record,
                                   .force = &decision->force};
    if (tx->decided_in->shared) {
        tr__tx_buffer_free(record);
        tr__tx_pause(tx, &decision->retry_ns, &decision->pause_ns);
    }
    return tx->decided_in->decide(tx->decided_in, tx, &proposal, error);
}

void tr__tx_propose_again(tr__tx *tx, tr__tx_decision *decision)
{
    tr__tx_buffer record = {0};
    tr__tx_propose(tx, decision, &record, NULL);
}

void tr__tx_propose_abort(tr__tx *tx, const tr_tx_id *id)
{
    const tr__proposal proposal = {.id = *id};
    tx->decided_in->decide(tx->decided_in, tx, &proposal, NULL);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

void tr__tx_decided(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts)
{
    if (tx->dead)
        return;
    tr__tx_decision *decision = tr__tx_decision_find(tx, id);
    tr__tx_clock_heard(tx, ts);
    if (decision && decision->state == TR__DECISION_FORCING)
        tr__tx_decision_won(tx, decision, committed, ts);
    else if (decision && decision->state == TR__DECISION_SETTLING)
        tr__tx_settled(tx, decision, committed, ts);
    if (!tx->decided_in->shared || tx->dead)
        return;
    tr__tx_doubts_decided(tx, id, committed, ts);
    tr__tx_resolvers_decided(tx, id, committed, ts);
}
