/* Three accounts, one a node, and on each node a teller that moves money between them by transactions. Each account keeps
 * a journal of the transfers that changed it. What must hold in the end: no money is lost or made; a transfer stands in
 * the journals of both its accounts or in neither, once, and two accounts have their common ones in the same order; what
 * a teller was told committed is there, what it was told aborted isn't. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/troupe.h>

#include "tests/scenarios/list.h"

#define NODES              3
#define START              1000
#define TRANSFERS          400 /* of one teller */
#define ENTRIES_MAX        8192
#define PAGE_ENTRIES       512
#define EVERY              TR_MILLIS(10)
#define COMMITTED_AT_LEAST 20

/* To an account. */
TR_MESSAGE(bank_move, TR_WRITES, (u64, id), (i64, amount))
TR_MESSAGE(bank_look)
TR_MESSAGE(bank_state, (i64, balance), (u64, entries))
TR_MESSAGE(bank_page, (u64, first))
TR_MESSAGE(bank_entries, (bytes, ids))
/* To a teller: begin no more, find out what became of all, and tell. */
TR_MESSAGE(bank_stop)
TR_MESSAGE(bank_told, (bytes, transfers))
TR_MESSAGE(bank_where, (u32, node))

typedef struct transfer {
    uint64_t id;
    uint32_t status; /* tr_tx_status */
    uint32_t from, to;
    char ticket[TR_TX_TICKET_MAX];
} transfer;

/* As it is told. */
typedef struct told {
    uint64_t id, status;
} told;

/* ---- an account ----------------------------------------------------------------------------------------- */

static tr_err move(tr_txview *v, const bank_move *m)
{
    char key[32];
    int64_t balance = tr_view_i64(v, "balance", START), entries = tr_view_i64(v, "entries", 0);
    if (balance + m->amount < 0)
        return tr_refuse(v, "balance %" PRId64 " is less than %" PRId64, balance, -m->amount);
    snprintf(key, sizeof(key), "entry/%" PRId64, entries);
    TR_TRY(tr_view_put_i64(v, key, (int64_t)m->id));
    TR_TRY(tr_view_put_i64(v, "entries", entries + 1));
    return tr_view_put_i64(v, "balance", balance + m->amount);
}

static tr_err page(tr_txview *v, const bank_page *p)
{
    uint64_t ids[PAGE_ENTRIES], end = (uint64_t)tr_view_i64(v, "entries", 0), count = 0;
    for (uint64_t at = p->first; at < end && count < PAGE_ENTRIES; at++) {
        char key[32];
        snprintf(key, sizeof(key), "entry/%" PRIu64, at);
        ids[count++] = (uint64_t)tr_view_i64(v, key, 0);
    }
    return tr_view_reply(v, bank_entries, .ids = {ids, count * sizeof(*ids)});
}

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    const bank_move *m = tr_match(msg, bank_move);
    const bank_page *p = tr_match(msg, bank_page);
    (void)state;
    if (m)
        return move(v, m);
    if (p)
        return page(v, p);
    return tr_view_reply(v, bank_state, .balance = tr_view_i64(v, "balance", START),
                         .entries = (uint64_t)tr_view_i64(v, "entries", 0));
}
TR_ACTOR(account_def, .transact = account);

/* ---- a teller ------------------------------------------------------------------------------------------- */

typedef struct teller_state {
    transfer made[TRANSFERS];
    uint32_t count;
} teller_state;

static tr_err both_halves(tr_actor *self, tr_tx *tx, void *arg)
{
    const transfer *t = arg;
    char from[16], to[16];
    int64_t amount = 1 + (int64_t)(tr_random(self) % 50);
    snprintf(from, sizeof(from), "n%u/account", t->from);
    snprintf(to, sizeof(to), "n%u/account", t->to);
    TR_TRY(tr_tx_await(tx, from, bank_move, .id = t->id, .amount = -amount));
    return tr_tx_await(tx, to, bank_move, .id = t->id, .amount = amount);
}

static void transfer_once(tr_actor *self, transfer *t)
{
    tr_tx tx = tr_tx_begin(self, &(tr_tx_opts){.deadline_ns = TR_SECONDS(3), .lock_wait_ns = TR_MILLIS(100)});
    *t = (transfer){.id = tr_random(self), .status = TR_TX_ABORTED};
    t->from = (uint32_t)(tr_random(self) % NODES);
    t->to = (t->from + 1 + (uint32_t)(tr_random(self) % (NODES - 1))) % NODES;
    if (both_halves(self, &tx, t) != TR_OK) {
        tr_tx_abort(&tx);
        return;
    }
    tr_tx_outcome out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    t->status = out.status;
    snprintf(t->ticket, sizeof(t->ticket), "%s", out.ticket);
    tr_sometimes(self, out.status == TR_TX_UNKNOWN, "a teller doesn't know what became of a transfer");
}

/* Whoever can say is back within a while; one without a ticket was lost on the way, and stays unknown. */
static void settle(tr_actor *self, transfer *t)
{
    for (int i = 0; i < 10 && t->status == TR_TX_UNKNOWN && t->ticket[0]; i++)
        t->status = tr_tx_outcome_of(self, tr_tx_resolve(self, t->ticket, TR_SECONDS(2))).status;
}

static void tell(tr_actor *self, teller_state *state, const tr_msg *ask)
{
    told all[TRANSFERS];
    tr_msg *kept = tr_msg_take(self, ask);
    for (uint32_t i = 0; i < state->count; i++) {
        settle(self, &state->made[i]);
        all[i] = (told){state->made[i].id, state->made[i].status};
    }
    tr_reply(self, kept, bank_told, .transfers = {all, state->count * sizeof(*all)});
    tr_msg_free(self, &kept);
}

static tr_err teller(tr_actor *self, void *arg)
{
    teller_state *state = tr_state(self);
    bool open = true;
    (void)arg;
    for (;;) {
        const tr_msg *msg = tr_receive(self, open ? EVERY : TR_FOREVER);
        if (!msg && tr_last_error(self)->code == TR_EKILLED)
            return TR_OK;
        if (msg && tr_match(msg, bank_stop)) {
            open = false;
            tell(self, state, msg);
        }
        if (open && state->count < TRANSFERS)
            transfer_once(self, &state->made[state->count++]);
    }
}
TR_ACTOR(teller_def, .run = teller, .state_size = sizeof(teller_state), .stack_size = 256 * 1024);

static tr_err start(tr_actor *self, uint32_t index)
{
    (void)index;
    if (tr_addr_is_none(tr_spawn_with(self, &account_def, NULL, &(tr_spawn_opts){.name = "account"})) ||
        tr_addr_is_none(tr_spawn_with(self, &teller_def, NULL, &(tr_spawn_opts){.name = "teller"})))
        return tr_last_error(self)->code;
    return TR_OK;
}

/* ---- what must hold ------------------------------------------------------------------------------------- */

typedef struct entry {
    uint64_t id;
    uint32_t position;
} entry;

typedef struct books {
    int64_t balance[NODES];
    uint64_t entries[NODES];
    entry journal[NODES][ENTRIES_MAX]; /* in order */
    entry by_id[NODES][ENTRIES_MAX];
    told told[NODES][TRANSFERS];
    uint32_t told_count[NODES];
} books;

static tr_err read_told(tr_actor *self, books *b, uint32_t node)
{
    const tr_found *teller_is;
    const bank_told *answer;
    char path[16];
    snprintf(path, sizeof(path), "n%u/teller", node);
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(10)), tr_found, &teller_is));
    TR_TRY(tr_await(self, tr_ask(self, teller_is->actor, TR_SECONDS(25), bank_stop), bank_told, &answer));
    memcpy(b->told[node], answer->transfers.data, answer->transfers.size);
    b->told_count[node] = (uint32_t)(answer->transfers.size / sizeof(told));
    return TR_OK;
}

static tr_err read_journal(tr_actor *self, tr_tx *tx, books *b, uint32_t node)
{
    char path[16];
    const bank_state *is;
    const bank_entries *got;
    snprintf(path, sizeof(path), "n%u/account", node);
    TR_TRY(tr_await(self, tr_tx_call(tx, path, bank_look), bank_state, &is));
    b->balance[node] = is->balance;
    b->entries[node] = is->entries;
    if (is->entries > ENTRIES_MAX)
        return tr_fail(self, TR_ETOOBIG, "n%u has %" PRIu64 " entries", node, is->entries);
    for (uint32_t at = 0; at < b->entries[node];) {
        TR_TRY(tr_await(self, tr_tx_call(tx, path, bank_page, .first = at), bank_entries, &got));
        size_t count = got->ids.size / sizeof(uint64_t);
        for (size_t i = 0; i < count; i++, at++) {
            memcpy(&b->journal[node][at].id, (const char *)got->ids.data + i * sizeof(uint64_t),
                   sizeof(uint64_t));
            b->journal[node][at].position = at;
        }
    }
    return TR_OK;
}

static tr_err read_all(tr_actor *self, tr_tx *tx, void *arg)
{
    for (uint32_t i = 0; i < NODES; i++)
        TR_TRY(read_journal(self, tx, arg, i));
    return TR_OK;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const entry *)a)->id, y = ((const entry *)b)->id;
    return x < y ? -1 : x > y;
}

static void sort(books *b)
{
    for (uint32_t i = 0; i < NODES; i++) {
        memcpy(b->by_id[i], b->journal[i], b->entries[i] * sizeof(entry));
        qsort(b->by_id[i], b->entries[i], sizeof(entry), by_id);
    }
}

static const entry *in_journal(const books *b, uint32_t node, uint64_t id)
{
    entry key = {.id = id};
    return bsearch(&key, b->by_id[node], b->entries[node], sizeof(entry), by_id);
}

static uint32_t journals_with(const books *b, uint64_t id)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < NODES; i++)
        count += in_journal(b, i, id) != NULL;
    return count;
}

static tr_err check_atomic(tr_actor *self, const books *b, uint32_t node)
{
    for (uint64_t i = 0; i < b->entries[node]; i++) {
        uint64_t id = b->by_id[node][i].id;
        if (i > 0 && b->by_id[node][i - 1].id == id)
            return tr_fail(self, TR_EAPP, "transfer %" PRIx64 " stands in n%u's journal twice", id, node);
        if (journals_with(b, id) != 2)
            return tr_fail(self, TR_EAPP, "transfer %" PRIx64 " stands in n%u's journal, and in %u of all",
                           id, node, journals_with(b, id));
    }
    return TR_OK;
}

static tr_err check_order(tr_actor *self, const books *b, uint32_t one, uint32_t other)
{
    const entry *last = NULL;
    for (uint64_t i = 0; i < b->entries[one]; i++) {
        const entry *e = in_journal(b, other, b->journal[one][i].id);
        if (e && last && e->position < last->position)
            return tr_fail(self, TR_EAPP,
                           "n%u has transfer %" PRIx64 " behind %" PRIx64 ", and n%u before it", one, e->id,
                           last->id, other);
        last = e ? e : last;
    }
    return TR_OK;
}

static tr_err check_told(tr_actor *self, const books *b)
{
    uint32_t committed = 0;
    for (uint32_t node = 0; node < NODES; node++)
        for (uint32_t i = 0; i < b->told_count[node]; i++) {
            const told *t = &b->told[node][i];
            uint32_t in = journals_with(b, t->id);
            committed += t->status == TR_TX_COMMITTED;
            if ((t->status == TR_TX_COMMITTED && in != 2) || (t->status == TR_TX_ABORTED && in != 0))
                return tr_fail(self, TR_EAPP,
                               "n%u was told that transfer %" PRIx64 " %s, and it stands in %u journals",
                               node, t->id, t->status == TR_TX_COMMITTED ? "committed" : "aborted", in);
        }
    if (committed < COMMITTED_AT_LEAST)
        return tr_fail(self, TR_EAPP, "only %u transfers were committed: that shows nothing", committed);
    return TR_OK;
}

static tr_err check_books(tr_actor *self, const books *b)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < NODES; i++)
        sum += b->balance[i];
    if (sum != (int64_t)NODES * START)
        return tr_fail(self, TR_EAPP, "there are %" PRId64 " in all accounts, and there were %d", sum,
                       NODES * START);
    for (uint32_t i = 0; i < NODES; i++) {
        TR_TRY(check_atomic(self, b, i));
        TR_TRY(check_order(self, b, i, (i + 1) % NODES));
    }
    return check_told(self, b);
}

static tr_err check_with(tr_actor *self, books *b)
{
    for (uint32_t i = 0; i < NODES; i++)
        TR_TRY(read_told(self, b, i));
    tr_tx_outcome out = tr_tx_run(self, read_all, b, &(tr_tx_opts){.deadline_ns = TR_SECONDS(20)});
    if (out.status != TR_TX_COMMITTED)
        return tr_fail(self, TR_EAPP, "the books can't be read: %s", out.text);
    sort(b);
    return check_books(self, b);
}

static tr_err check(tr_actor *self)
{
    books *b = calloc(1, sizeof(*b));
    if (!b)
        return tr_fail(self, TR_ENOMEM, "no memory for the books");
    tr_err err = check_with(self, b);
    free(b);
    return err;
}

const tr_scenario scenario_bank = {.size = sizeof(tr_scenario),
                                   .name = "bank",
                                   .nodes = NODES,
                                   .run_ns = TR_SECONDS(4),
                                   .heal_ns = TR_SECONDS(120),
                                   .data = true,
                                   .start = start,
                                   .check = check};
