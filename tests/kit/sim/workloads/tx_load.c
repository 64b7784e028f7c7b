/* See tx_load.h. Every wait can fail when memory does: then the caller leaves its transaction as it stands. */
#include "tests/kit/sim/workloads/tx_load.h"

#include <stdio.h>
#include <string.h>

#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/tx_load_calls.h"

#define CALLERS     2  /* a node, at most */
#define RECORDS_END 16 /* kept for after healing */
#define LOOK_NS     TR_MILLIS(400)
#define RECENT      24

static tx_plan plan_now;

static bool goes_on(void)
{
    return sim_now_running->faults_on && tx_history_now()->count + RECORDS_END < TX_RECORDS;
}

/* ---- callers ------------------------------------------------------------------------------------------- */

/* The node that runs now. */
static uint32_t here(void)
{
    return sim_now_running->current->index;
}

static bool is_quiet(void)
{
    return tx_history_now()->quiet >> here() & 1 && sim_now_running->faults_on;
}

/* One that is left, or whose caller is killed, is another actor's. */
static void have_a_child(tr_actor *self, tx_record *record, bool killed)
{
    tr_addr child = tr_spawn_with(self, killed ? &tx_by_hand_def : &tx_leaves_def, record, NULL);
    if (tr_addr_is_none(child)) {
        tx_record_aborted(record);
        return;
    }
    if (!killed)
        return;
    tr_sleep(self, TR_MICROS(tx_draw(self, tx_draw(self, 2) ? 5000 : 200000)));
    tr_stop(self, child, TR_EXIT_KILLED);
    record->over = sim_counts();
}

static void one_transaction(tr_actor *self)
{
    tx_record *record = tx_record_begin(here());
    if (!record)
        return;
    plan_now(self, record);
    tx_check_locks();
    switch (tx_draw(self, 12)) {
    case 0:
        have_a_child(self, record, false);
        break;
    case 1:
        have_a_child(self, record, true);
        break;
    case 2:
        tx_give_up(self, record);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        tx_by_hand(self, record);
        break;
    default:
        tx_run(self, record);
    }
}

static tr_err caller(tr_actor *self, void *arg)
{
    (void)arg;
    while (goes_on() && tr_sleep(self, TR_MILLIS(20 + tx_draw(self, 300))) != TR_EKILLED)
        one_transaction(self);
    return TR_OK;
}

static const tr_actor_def caller_def = {.name = "caller", .run = caller, .stack_size = 128 * 1024};

/* ---- who asks later ------------------------------------------------------------------------------------ */

static tr_err resolver(tr_actor *self, void *arg)
{
    (void)arg;
    tx_history *h = tx_history_now();
    while (sim_now_running->faults_on) {
        if (tr_sleep(self, TR_MILLIS(50 + tx_draw(self, 500))) == TR_EKILLED)
            return TR_OK;
        uint32_t i = h->count ? (uint32_t)tx_draw(self, h->count) : 0;
        if (is_quiet())
            continue;
        if (h->may_lose && h->count > RECENT) /* what an older copy lacks */
            i = h->count - RECENT + i % RECENT;
        if (h->count && h->records[i].ticket[0] &&
            (!h->records[i].settled || h->may_lose || tx_draw(self, 4) == 0))
            tx_resolve(self, i, 1, 1);
    }
    if (tr_sleep(self, TR_SECONDS(8)) == TR_EKILLED)
        return TR_OK;
    tx_resolve(self, here(), h->count, 2);
    if (sim_counts())
        h->asked_all |= 1u << here();
    return TR_OK;
}

static const tr_actor_def resolver_def = {.name = "resolver", .run = resolver, .stack_size = 128 * 1024};

/* ---- the scenario's two functions ---------------------------------------------------------------------- */

/* True: it wasn't there, for it ended, or memory was missing. */
static bool have(tr_actor *self, const tr_actor_def *def, const char *name)
{
    if (!tr_addr_is_none(tr_whereis(self, name)))
        return false;
    tr_spawn_with(self, def, NULL, &(tr_spawn_opts){.name = name, .place = TR_PLACE_SPREAD});
    return true;
}

/* True: a participant is a new one. */
static bool have_all(tr_actor *self, uint32_t index)
{
    bool made = have(self, &tx_participant_def, "a");
    made |= have(self, &tx_participant_def, "b");
    if (tx_history_now()->emits) {
        have(self, &tx_audit_def, "audit");
        have(self, &tx_ledger_def, "ledger");
    }
    if (!(tx_history_now()->asked_all >> index & 1))
        have(self, &resolver_def, "resolver");
    for (int i = 0; i < CALLERS && goes_on() && !is_quiet(); i++)
        have(self, &caller_def, i ? "caller" : "another");
    return made;
}

static void disturb(tr_actor *self)
{
    const char *name = tx_draw(self, 2) ? "a" : "b";
    tr_addr participant = tr_whereis(self, name);
    if (sim_now_running->faults_on && tx_draw(self, 24) == 0 && !tr_addr_is_none(participant))
        tr_stop(self, participant, TR_EXIT_KILLED);
}

tr_err tx_load_start(tr_actor *self, uint32_t index, tx_plan plan)
{
    uint32_t looks[2] = {0};
    plan_now = plan;
    tx_history_now();
    if (sim_counts() && !(tx_history_now()->older >> index & 1))
        tx_check_node(index);
    have_all(self, index);
    while (tr_sleep(self, LOOK_NS) != TR_EKILLED) {
        tr_sometimes(self, have_all(self, index), "a participant's actor is another one");
        tx_check_locks();
        if (sim_counts())
            tx_check_deadlines(index, looks);
        disturb(self);
    }
    return TR_OK;
}

/* All works, and nothing is locked: the first attempt is committed. */
static tr_err prove(tr_actor *self, bool writes)
{
    tx_record *record = tx_record_begin(0);
    if (!record)
        return TR_OK;
    for (uint32_t place = 0; place < TX_PLACES; place++)
        tx_op_add(record, place, writes, 0);
    record->patient = true;
    tx_by_hand(self, record);
    if (record->settled && record->status == TR_TX_COMMITTED)
        return TR_OK;
    return tr_fail(self, TR_EAPP, "transaction %u, begun after healing, isn't committed: %s", record->number,
                   record->text);
}

tr_err tx_load_check(tr_actor *self)
{
    tx_history *h = tx_history_now();
    for (int i = 0; i < 40 && h->asked_all != (1u << sim_now_running->node_count) - 1; i++)
        TR_TRY(tr_sleep(self, TR_MILLIS(500)));
    if (h->asked_all != (1u << sim_now_running->node_count) - 1)
        return tr_fail(self, TR_EAPP, "not all nodes have heard what became of all (%x)", h->asked_all);
    tx_resolve(self, 0, h->count, 1);
    TR_TRY(prove(self, false));
    TR_TRY(prove(self, true));
    TR_TRY(prove(self, false));
    TR_TRY(tr_sleep(self, TR_SECONDS(2)));
    tx_check_all();
    return TR_OK;
}
