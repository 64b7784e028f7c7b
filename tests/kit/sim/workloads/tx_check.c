/* What must hold of transactions: see tx_history.h. Looks into the nodes' own state. */
#include <stdio.h>
#include <string.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/log.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/tx_history.h"

#define LATE_NS TR_SECONDS(1) /* so long after its deadline nothing is there any more, on a loop that turns */

static const tr__transactions *manager_of(uint32_t node)
{
    const sim_node *n = &sim_now_running->nodes[node];
    return sim_node_is_up(n) ? n->node->transactions : NULL;
}

static const tr__kv *value_of(uint32_t node, const char *actor, const char *key)
{
    const tr__transactions *t = manager_of(node);
    const tr__store *store = t && t->tx ? tr__tx_state(t->tx, actor) : NULL;
    return store ? tr__store_get(store, key, strlen(key)) : NULL;
}

static const tr__kv *value_at(uint32_t place, const char *key)
{
    return value_of(place / 2, strchr(tx_path(place), '/') + 1, key);
}

const char *tx_kept(uint32_t node, const char *actor, const char *key, uint32_t *length)
{
    const tr__kv *journal = value_of(node, actor, key);
    *length = journal ? journal->size / (uint32_t)sizeof(uint32_t) : 0;
    return journal ? tr__kv_value(journal) : NULL;
}

const char *tx_journal(uint32_t place, uint32_t *length)
{
    return tx_kept(place / 2, strchr(tx_path(place), '/') + 1, "journal", length);
}

uint32_t tx_journal_at(const char *journal, uint32_t i)
{
    uint32_t number;
    memcpy(&number, journal + i * sizeof(number), sizeof(number));
    if (number < tx_history_now()->count)
        return number;
    tr_sim_fail(sim_now_running, "a journal has transaction %u, which nobody began", number);
    return 0;
}

int64_t tx_balance(uint32_t place)
{
    int64_t balance = TX_START;
    const tr__kv *value = value_at(place, "balance");
    if (value)
        memcpy(&balance, tr__kv_value(value), sizeof(balance));
    return balance;
}

/* ---- at any time --------------------------------------------------------------------------------------- */

static uint32_t writes_to(const tx_record *record, uint32_t place)
{
    uint32_t writes = 0;
    for (uint32_t i = 0; i < record->count; i++)
        writes += record->ops[i].writes && record->ops[i].place == place;
    return writes;
}

/* How often each transaction is in that journal. */
static void count_journal(uint32_t place, uint32_t times[TX_RECORDS])
{
    uint32_t length;
    const char *journal = tx_journal(place, &length);
    memset(times, 0, TX_RECORDS * sizeof(*times));
    for (uint32_t i = 0; i < length; i++)
        times[tx_journal_at(journal, i)]++;
}

static bool is_in_doubt(const tr__tx *tx, const tx_record *record, const char *actor)
{
    for (const tr__tx_branch *b = tx->branches; b; b = b->hh.next)
        if (b->state >= TR__BRANCH_PREPARED && strcmp(b->at->name, actor) == 0 &&
            memcmp(&b->key.id, &record->id, sizeof(record->id)) == 0)
            return true;
    return false;
}

/* Of its last life. */
static void check_callers(const tx_history *h, uint32_t node)
{
    bool before = false, during = false;
    for (uint32_t i = 0; i < h->count; i++) {
        const tx_record *record = &h->records[i];
        if (record->node != node || record->over || !record->runs ||
            record->life + 1 != sim_now_running->nodes[node].life)
            continue;
        before |= !record->sent;
        during |= record->sent;
    }
    sim_reaches(sim_now_running, before, "a caller's node died before its COMMIT");
    sim_reaches(sim_now_running, during, "a caller's node died while it was committed");
}

void tx_check_node(uint32_t node)
{
    static uint32_t times[TX_RECORDS];
    tx_history *h = tx_history_now();
    const tr__tx *tx = manager_of(node)->tx;
    uint32_t in_doubt = 0, to_tell = 0;
    for (const tr__tx_branch *b = tx->branches; b; b = b->hh.next) {
        in_doubt += b->state == TR__BRANCH_PREPARED;
        if (b->state == TR__BRANCH_PREPARED && !(b->holds && b->exclusive))
            tr_sim_fail(sim_now_running, "n%u: what is in doubt at %s isn't locked", node, b->at->name);
    }
    for (const tr__tx_decision *d = tx->decisions; d; d = d->hh.next)
        to_tell += d->state == TR__DECISION_COMMITTED;
    for (uint32_t place = 2 * node; place < 2 * node + 2; place++) {
        count_journal(place, times);
        for (uint32_t i = 0; i < h->count; i++) {
            const tx_record *record = &h->records[i];
            if (record->told && writes_to(record, place) && !times[i] &&
                !is_in_doubt(tx, record, strchr(tx_path(place), '/') + 1))
                tr_sim_fail(sim_now_running, "transaction %u was told committed, and %s doesn't have it", i,
                            tx_path(place));
        }
    }
    if (sim_now_running->nodes[node].life > 1) {
        check_callers(h, node);
        sim_reaches(sim_now_running, in_doubt > 0, "a node starts in doubt");
        sim_reaches(sim_now_running, to_tell > 0, "a node starts with a decision to tell");
    }
}

void tx_check_deadlines(uint32_t node, uint32_t looks[2])
{
    const tr__tx *tx = manager_of(node)->tx;
    uint64_t now = tr__tx_now(tx);
    bool branch_late = false, decision_late = false;
    for (const tr__tx_branch *b = tx->branches; b; b = b->hh.next)
        branch_late |= b->state <= TR__BRANCH_READY && b->deadline_ns + LATE_NS < now;
    for (const tr__tx_decision *d = tx->decisions; d; d = d->hh.next)
        decision_late |= d->state == TR__DECISION_VOTING && d->deadline_ns + LATE_NS < now;
    looks[0] = branch_late ? looks[0] + 1 : 0;
    looks[1] = decision_late ? looks[1] + 1 : 0;
    if (looks[0] > 3)
        tr_sim_fail(sim_now_running, "n%u: a branch lives, and its deadline is long past", node);
    if (looks[1] > 3)
        tr_sim_fail(sim_now_running, "n%u: a decision waits for votes, and its deadline is long past", node);
}

/* ---- at the end ---------------------------------------------------------------------------------------- */

static uint32_t times[TX_PLACES][TX_RECORDS];

/* In all journals that it wrote to, as often as it did, or in none. */
static bool has_effect(const tx_record *record)
{
    bool any = false, all = true;
    for (uint32_t place = 0; place < TX_PLACES; place++) {
        uint32_t writes = writes_to(record, place), found = times[place][record->number];
        if (found && found != writes)
            tr_sim_fail(sim_now_running, "transaction %u is %u times in %s, which it wrote %u times",
                        record->number, found, tx_path(place), writes);
        any = any || found;
        all = all && (found || !writes);
    }
    if (any && !all)
        tr_sim_fail(sim_now_running, "transaction %u has effects on some of what it wrote only",
                    record->number);
    return any;
}

/* A committed one that only read, and all of it, saw what there is at any time. */
static void check_sum(const tx_record *record)
{
    int64_t sum = 0;
    uint32_t places = 0;
    for (uint32_t i = 0; i < record->count; i++) {
        sum += record->ops[i].balance;
        places |= 1u << record->ops[i].place;
    }
    if (record->count == TX_PLACES && places == (1u << TX_PLACES) - 1 && sum != TX_PLACES * TX_START)
        tr_sim_fail(sim_now_running, "transaction %u was committed, and read balances of %lld in all",
                    record->number, (long long)sum);
}

static void check_record(const tx_record *record)
{
    bool effect = has_effect(record), writer = false;
    for (uint32_t i = 0; i < record->count; i++)
        writer = writer || record->ops[i].writes;
    if (!writer && record->told)
        check_sum(record);
    if (record->settled && writer && (record->status == TR_TX_COMMITTED) != effect)
        tr_sim_fail(sim_now_running, "transaction %u was told %s and is %sin the journals", record->number,
                    record->status == TR_TX_COMMITTED ? "committed" : "aborted", effect ? "" : "not ");
    if (effect && (!record->sent || record->refused))
        tr_sim_fail(sim_now_running, "transaction %u %s, and is in the journals", record->number,
                    record->sent ? "was refused" : "was never to be committed");
    if (record->ticket[0] && !record->settled && !record->expired)
        tr_sim_fail(sim_now_running, "transaction %u has a ticket, and nobody knows what became of it",
                    record->number);
    if (record->runs && !record->over && record->life == sim_now_running->nodes[record->node].life)
        tr_sim_fail(sim_now_running, "transaction %u: its caller still waits", record->number);
}

/* A branch, a lock, a decision, an ask: nothing is under way any more. */
static void check_rest(uint32_t node)
{
    const tr__transactions *t = manager_of(node);
    tr__tx_figures figures;
    if (!t || !t->tx) {
        tr_sim_fail(sim_now_running, "n%u isn't up at the end", node);
        return;
    }
    tr__tx_figures_of(t->tx, &figures);
    if (figures.branches || figures.deciding || figures.calling || t->tx->bytes || t->tx->resolvers ||
        t->tx->forcing || t->clients)
        tr_sim_fail(sim_now_running,
                    "n%u: %u branches (%u in doubt), %u decisions, %u calling, %zu bytes are left%s%s%s",
                    node, figures.branches, figures.prepared, figures.deciding, figures.calling, t->tx->bytes,
                    t->tx->resolvers ? ", who resolves" : "",
                    t->tx->forcing ? ", who waits for the disk" : "", t->clients ? ", who has begun" : "");
    bool tombs = false;
    for (const tr__tx_outcome_at *o = t->tx->outcomes; o && !tombs; o = o->hh.next)
        tombs = !o->committed;
    sim_reaches(sim_now_running, tombs, "who asked has aborted it for ever");
    sim_reaches(sim_now_running, sim_now_running->nodes[node].disk.made > 0, "a log has grown");
    if (tx_history_now()->may_expire)
        sim_reaches(sim_now_running, figures.outcomes_early > 0, "an outcome is forgotten before its time");
    sim_reaches(sim_now_running, figures.snapshots > 0, "a snapshot is taken");
    sim_reaches(sim_now_running, sim_now_running->nodes[node].disk.dropped > 0, "a segment is dropped");
}

void tx_check_all(void)
{
    tx_history *h = tx_history_now();
    int64_t sum = 0;
    for (uint32_t place = 0; place < TX_PLACES; place++) {
        count_journal(place, times[place]);
        sum += tx_balance(place);
    }
    if (sum != TX_PLACES * TX_START)
        tr_sim_fail(sim_now_running, "all balances are %lld, and should be %d", (long long)sum,
                    TX_PLACES * TX_START);
    for (uint32_t i = 0; i < h->count; i++)
        check_record(&h->records[i]);
    for (uint32_t node = 0; node < sim_now_running->node_count; node++)
        check_rest(node);
    tx_check_order();
    tx_check_judged();
}
