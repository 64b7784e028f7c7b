/* See tx_load_calls.h. */
#include "tests/kit/sim/workloads/tx_load_calls.h"

#include <stdio.h>
#include <string.h>

#include "tests/kit/sim/sim.h"

#define JOURNAL_MAX (TX_RECORDS * 2)
#define PADDING_MAX 4096u
#define AT_ONCE     16u

/* ---- a participant ------------------------------------------------------------------------------------- */

TR_MESSAGE(tx_write, TR_WRITES, (u32, number), (i64, amount), (u32, padding))
TR_MESSAGE(tx_look)
TR_MESSAGE(tx_seen, (i64, balance), (u32, entries))

static tr_err append(tr_txview *v, const char *key, uint32_t number)
{
    uint32_t journal[JOURNAL_MAX];
    tr_bytes now;
    tr_view_get(v, key, &now);
    size_t entries = now.size / sizeof(*journal);
    if (entries == JOURNAL_MAX)
        return tr_refuse(v, "the journal is full");
    if (entries)
        memcpy(journal, now.data, now.size);
    journal[entries] = number;
    return tr_view_put(v, key, journal, (entries + 1) * sizeof(*journal));
}

/* ---- what is emitted ----------------------------------------------------------------------------------- */

TR_MESSAGE(tx_noted, (u32, number))

uint32_t tx_emit_node(uint32_t number)
{
    return number % (TX_PLACES / 2);
}

static tr_err emit(tr_txview *v, uint32_t number)
{
    char audit[16], ledger[16];
    snprintf(audit, sizeof(audit), "n%u/audit", tx_emit_node(number));
    snprintf(ledger, sizeof(ledger), "n%u/ledger", tx_emit_node(number));
    TR_TRY(tr_view_emit(v, audit, tx_noted, .number = number));
    return tr_view_emit(v, ledger, tx_noted, .number = number);
}

static tr_err audit(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    const tx_noted *n = tr_match(msg, tx_noted);
    return n ? append(v, "audit", n->number) : TR_OK;
}

const tr_actor_def tx_audit_def = {.name = "audit", .transact = audit};

static void ledger(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)state;
    const tx_noted *n = tr_match(msg, tx_noted);
    if (!n || n->number >= TX_RECORDS || !sim_counts())
        return;
    tx_history_now()->posted[n->number]++;
    if (!tr_msg_emitted(msg) || !strchr(tr_msg_emitted(msg), '/'))
        tr_sim_fail(sim_now_running, "what transaction %u emitted has no id", n->number);
}

const tr_actor_def tx_ledger_def = {.name = "ledger", .receive = ledger};

/* ---- the participant ----------------------------------------------------------------------------------- */

static tr_err participant(tr_txview *v, void *state, const tr_msg *msg)
{
    static const char padding[PADDING_MAX];
    (void)state;
    int64_t balance = TX_START;
    tr_bytes value, journal;
    if (tr_view_get(v, "balance", &value) == TR_OK)
        memcpy(&balance, value.data, sizeof(balance));
    tr_view_get(v, "journal", &journal);
    TR_TRY(tr_view_reply(v, tx_seen, .balance = balance,
                         .entries = (uint32_t)(journal.size / sizeof(uint32_t))));
    const tx_write *w = tr_match(msg, tx_write);
    if (!w)
        return TR_OK;
    balance += w->amount;
    if (balance < 0)
        return tr_refuse(v, "there is not enough");
    TR_TRY(append(v, "journal", w->number));
    if (tx_history_now()->emits)
        TR_TRY(emit(v, w->number));
    if (w->padding)
        TR_TRY(tr_view_put(v, "padding", padding, w->padding));
    return tr_view_put(v, "balance", &balance, sizeof(balance));
}

const tr_actor_def tx_participant_def = {.name = "participant", .transact = participant};

/* ---- calls --------------------------------------------------------------------------------------------- */

static tr_future call(tr_tx *tx, const tx_record *record, const tx_op *op)
{
    if (op->writes)
        return tr_tx_call(tx, tx_path(op->place), tx_write, .number = record->number, .amount = op->amount,
                          .padding = op->padding);
    return tr_tx_call(tx, tx_path(op->place), tx_look);
}

static tr_err answered(tr_actor *self, tx_op *op, tr_future future)
{
    const tx_seen *seen;
    TR_TRY(tr_await(self, future, tx_seen, &seen));
    op->answered = true;
    tx_check_locks();
    op->balance = seen->balance;
    op->seen = seen->entries;
    return TR_OK;
}

/* One by one, or all at once. `before`: the attempt before this one, NULL: it is the first. */
static tr_err call_all(tr_actor *self, tr_tx *tx, tx_record *record, const tx_record *before)
{
    tr_future futures[TX_OPS];
    uint32_t at_once = tx_draw(self, 3) ? 1 : TX_OPS, sent = 0, got = 0;
    tr_err err = TR_OK;
    record->id = tx->id;
    record->runs = true;
    while (err == TR_OK && got < record->count) {
        if (sent < record->count && sent - got < at_once) {
            futures[sent] = call(tx, record, &record->ops[sent]);
            err = futures[sent].id ? TR_OK : tr_last_error(self)->code;
            sent += err == TR_OK;
        } else {
            err = answered(self, &record->ops[got], futures[got]);
            if (sim_counts() && !record->priority)
                tx_check_priority(record, before);
            got++;
        }
    }
    for (; got < sent; got++)
        tr_cancel(self, futures[got]);
    return err;
}

static tr_tx_opts draw_opts(tr_actor *self, const tx_record *record)
{
    static const uint64_t deadlines[] = {TR_MILLIS(300), TR_SECONDS(1), TR_SECONDS(2), TR_SECONDS(5), 0};
    if (record->patient)
        return (tr_tx_opts){0};
    uint64_t deadline = deadlines[tx_draw(self, TR_COUNT(deadlines))]; /* one draw an expression: S1 */
    uint64_t wait = tx_draw(self, 3) ? TR_MILLIS(50 + tx_draw(self, 400)) : 0;
    return (tr_tx_opts){.deadline_ns = deadline, .lock_wait_ns = wait};
}

static void take_ticket(tr_actor *self, tr_tx *tx, tx_record *record)
{
    const tr_tx_ticket_is *is;
    if (tr_await(self, tr_tx_ticket(tx), tr_tx_ticket_is, &is) == TR_OK && sim_counts())
        snprintf(record->ticket, sizeof(record->ticket), "%s", is->ticket);
}

/* ---- ends ---------------------------------------------------------------------------------------------- */

static void reached(tr_actor *self, const tr_tx_outcome *out)
{
    tr_sometimes(self, out->status == TR_TX_COMMITTED, "a transaction is committed");
    tr_sometimes(self, out->status == TR_TX_UNKNOWN, "a transaction is unknown");
    tr_sometimes(self, out->reason == TR_TX_APP, "a transaction is aborted: app");
    tr_sometimes(self, out->reason == TR_TX_LOCK_TIMEOUT, "a transaction is aborted: lock-timeout");
    tr_sometimes(self, out->reason == TR_TX_WOUNDED, "a transaction is aborted: wounded");
    tr_sometimes(self, out->reason == TR_TX_DEADLINE, "a transaction is aborted: deadline");
    tr_sometimes(self, out->reason == TR_TX_BRANCH_LOST, "a transaction is aborted: branch-lost");
    tr_sometimes(self, out->reason == TR_TX_UNREACHABLE, "a transaction is aborted: unreachable");
    tr_sometimes(self, out->reason == TR_TX_OVERLOAD, "a transaction is aborted: overload");
    tr_sometimes(self, out->reason == TR_TX_LOG_FULL, "a transaction is aborted: log-full");
    if (tx_history_now()->may_lose)
        tr_sometimes(self, out->reason == TR_TX_LOG_LOST, "a transaction is aborted: log-lost");
}

static void over(tr_actor *self, tx_record *record, const tr_tx_outcome *out)
{
    if (!sim_counts())
        return;
    record->over = true;
    snprintf(record->text, sizeof(record->text), "%s", out->text);
    if (out->ticket[0] && out->status != TR_TX_ABORTED)
        snprintf(record->ticket, sizeof(record->ticket), "%s", out->ticket);
    reached(self, out);
    /* Without a reason it is this caller's wait that failed. */
    if (out->status == TR_TX_UNKNOWN && out->reason != TR_TX_NONE && !record->ticket[0])
        tr_sim_fail(sim_now_running, "transaction %u is unknown (%s), and nobody can ask without a ticket",
                    record->number, out->text);
    if (out->status == TR_TX_ABORTED && (out->reason == TR_TX_NONE || !out->text[0]))
        tr_sim_fail(sim_now_running, "transaction %u is aborted, and nobody says why (%d, \"%s\")",
                    record->number, (int)out->reason, out->text);
    tx_record_told(record, out);
}

static void resolved(tr_actor *self, tx_record *record, tr_future future)
{
    tr_tx_outcome out = tr_tx_outcome_of(self, future);
    if (!sim_counts())
        return;
    tr_sometimes(self, out.status == TR_TX_COMMITTED, "a ticket is resolved: committed");
    tr_sometimes(self, out.status == TR_TX_ABORTED, "a ticket is resolved: aborted");
    tr_sometimes(self, out.status == TR_TX_UNKNOWN, "a ticket can't be resolved now");
    if (tx_history_now()->may_lose)
        tr_sometimes(self, out.reason == TR_TX_LOG_LOST, "a ticket can't be resolved: log-lost");
    else if (out.reason == TR_TX_LOG_LOST)
        tr_sim_fail(sim_now_running, "transaction %u: no log was lost, and one is said to be",
                    record->number);
    if (tx_history_now()->may_expire)
        tr_sometimes(self, out.reason == TR_TX_EXPIRED, "a ticket can't be resolved: expired");
    else if (out.reason == TR_TX_EXPIRED && !sim_now_running->result.faults[TR_SIM_MEMORY])
        tr_sim_fail(sim_now_running, "transaction %u: nothing was forgotten, and it is said to be",
                    record->number);
    record->expired = record->expired || out.reason == TR_TX_EXPIRED;
    record->resolved++;
    tx_record_told(record, &out);
}

/* Who has a ticket may ask at any time, also while it is being committed: whichever comes first decides. */
static tr_future ask_early(tr_actor *self, const tx_record *record)
{
    tr_future none = {0};
    if (!record->ticket[0] || record->patient || tx_draw(self, 6))
        return none;
    tr_future future = tr_tx_resolve(self, record->ticket, TR_SECONDS(1));
    if (tx_draw(self, 2))
        tr_sleep(self, TR_MICROS(tx_draw(self, 1000)));
    return future;
}

void tx_by_hand(tr_actor *self, tx_record *record)
{
    tr_tx_opts opts = draw_opts(self, record);
    tr_tx tx = tr_tx_begin(self, &opts);
    if (call_all(self, &tx, record, NULL) != TR_OK) {
        snprintf(record->text, sizeof(record->text), "%s", tr_last_error(self)->text);
        tr_tx_abort(&tx);
        tx_record_aborted(record);
        return;
    }
    if (tx_draw(self, 2))
        take_ticket(self, &tx, record);
    tr_future early = ask_early(self, record);
    record->sent = sim_counts();
    tr_tx_outcome out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    over(self, record, &out);
    if (early.id)
        resolved(self, record, early);
}

void tx_give_up(tr_actor *self, tx_record *record)
{
    tr_tx_opts opts = draw_opts(self, record);
    tr_tx tx = tr_tx_begin(self, &opts);
    call_all(self, &tx, record, NULL);
    if (tx_draw(self, 2))
        take_ticket(self, &tx, record);
    tr_tx_abort(&tx);
    tx_record_aborted(record);
}

/* ---- by tr_tx_run -------------------------------------------------------------------------------------- */

/* Each attempt has a record of its own: that the body runs again says that the one before was aborted. */
static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    tx_record **now = arg, *last = *now, *before = NULL;
    if (last->sent || last->over) {
        tx_record *next = tx_record_begin(last->node);
        tx_record_aborted(last);
        if (!next)
            return tr_fail(self, TR_EAPP, "no more room");
        tr_sometimes(self, true, "a transaction is run again");
        for (uint32_t i = 0; i < last->count; i++)
            *tx_op_add(next, last->ops[i].place, last->ops[i].writes, last->ops[i].amount) =
                (tx_op){.place = last->ops[i].place,
                        .writes = last->ops[i].writes,
                        .amount = last->ops[i].amount,
                        .padding = last->ops[i].padding};
        next->refused = last->refused;
        before = last;
        *now = next;
    }
    tr_err err = call_all(self, tx, *now, before);
    (*now)->sent = err == TR_OK && sim_counts();
    (*now)->over = err != TR_OK && sim_counts();
    return err;
}

void tx_run(tr_actor *self, tx_record *record)
{
    tr_tx_opts opts = draw_opts(self, record);
    tx_record *last = record;
    tr_tx_outcome out = tr_tx_run(self, body, &last, &opts);
    over(self, last, &out);
}

/* ---- by others ----------------------------------------------------------------------------------------- */

static tr_err by_hand(tr_actor *self, void *arg)
{
    tx_by_hand(self, arg);
    return TR_OK;
}

static tr_err leave(tr_actor *self, void *arg)
{
    tx_record *record = arg;
    tr_tx_opts opts = draw_opts(self, record);
    tr_tx tx = tr_tx_begin(self, &opts);
    tr_err err = call_all(self, &tx, record, NULL);
    if (tx_draw(self, 4))
        take_ticket(self, &tx, record);
    if (err == TR_OK && tx_draw(self, 2)) {
        record->sent = sim_counts();
        tr_tx_commit(&tx);
        if (tx_draw(self, 2))
            tr_sleep(self, TR_MICROS(tx_draw(self, 5000)));
    }
    record->over = sim_counts();
    return TR_OK;
}

const tr_actor_def tx_by_hand_def = {.name = "by-hand", .run = by_hand, .stack_size = 128 * 1024};
const tr_actor_def tx_leaves_def = {.name = "leaves", .run = leave, .stack_size = 128 * 1024};

/* ---- tickets ------------------------------------------------------------------------------------------- */

void tx_resolve(tr_actor *self, uint32_t first, uint32_t count, uint32_t step)
{
    tx_history *h = tx_history_now();
    uint32_t i = first, end = first + count < h->count ? first + count : h->count;
    while (i < end) {
        tr_future futures[AT_ONCE];
        tx_record *records[AT_ONCE];
        uint32_t asked = 0;
        for (; i < end && asked < AT_ONCE; i += step) {
            if (!h->records[i].ticket[0])
                continue;
            records[asked] = &h->records[i];
            futures[asked++] = tr_tx_resolve(self, h->records[i].ticket, TR_SECONDS(3));
        }
        for (uint32_t k = 0; k < asked; k++)
            resolved(self, records[k], futures[k]);
    }
}
