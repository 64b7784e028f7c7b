/* A bank on several nodes: each has accounts, and clients that move money between any two of them by transactions, and
 * sometimes read all accounts in one. Whoever is killed when, no money is lost or made, and no reading ever shows another
 * sum than the one that they began with. An account that pays emits a receipt, which the books of another node note: of
 * each payment one.
 *
 *     bank [--nodes N] [--clients N] [--seconds S] [--kill] [--history DIR]
 *
 * What each client did is written as a history, which a checker can judge: see README.md. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "examples/common/cluster.h"

#define ACCOUNTS    2   /* of a node; a transaction has 16 participants at most */
#define BEGINS_WITH 100 /* each */
#define ALL_MAX     (ACCOUNTS * CLUSTER_NODES_MAX)
#define RECEIPTS_MS 30000 /* that the last receipts may be on their way when all else is over */

/* ---- an account, and the books: the participants --------------------------------------------------------- */

TR_MESSAGE(change, TR_WRITES, (i64, amount), (string, note))
TR_MESSAGE(get_balance)
TR_MESSAGE(balance_is, (i64, amount), (i64, paid)) /* paid: how often */
TR_MESSAGE(receipt, TR_WRITES, (string, account), (i64, number))
TR_MESSAGE(get_receipts)
TR_MESSAGE(receipts_are, (i64, noted), (i64, twice))

typedef struct place {
    char name[16], books[24]; /* its own, and the path of its books */
} place;

static tr_err place_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    *(place *)state = *(const place *)arg;
    return TR_OK;
}

static tr_err account(tr_txview *v, void *state, const tr_msg *msg)
{
    const place *here = state;
    int64_t balance = tr_view_i64(v, "balance", BEGINS_WITH), paid = tr_view_i64(v, "paid", 0);
    const change *c = tr_match(msg, change);
    if (!c)
        return tr_view_reply(v, balance_is, .amount = balance, .paid = paid);
    if (balance + c->amount < 0)
        return tr_refuse(v, "%" PRId64 " are not enough", balance);
    if (c->amount < 0) {
        TR_TRY(tr_view_put_i64(v, "paid", ++paid));
        TR_TRY(tr_view_emit(v, here->books, receipt, .account = here->name, .number = paid));
    }
    TR_TRY(tr_view_put_text(v, "note", c->note));
    return tr_view_put_i64(v, "balance", balance + c->amount);
}
TR_ACTOR(account_def, .init = place_init, .transact = account, .state_size = sizeof(place));

static tr_err count(tr_txview *v, const char *key)
{
    return tr_view_put_i64(v, key, tr_view_i64(v, key, 0) + 1);
}

/* An account's receipts are numbered, and come in that order, so the books know one that they have. */
static tr_err books(tr_txview *v, void *state, const tr_msg *msg)
{
    const receipt *r = tr_match(msg, receipt);
    (void)state;
    if (!r)
        return tr_view_reply(v, receipts_are, .noted = tr_view_i64(v, "noted", 0),
                             .twice = tr_view_i64(v, "twice", 0));
    if (r->number <= tr_view_i64(v, r->account, 0))
        return count(v, "twice");
    TR_TRY(tr_view_put_i64(v, r->account, r->number));
    return count(v, "noted");
}
TR_ACTOR(books_def, .transact = books);

/* The receipts of a node's accounts go to the node behind it. */
static tr_err open_accounts(tr_actor *self, const cluster *c, uint32_t node)
{
    static place all[ACCOUNTS]; /* read by their init, later on */
    tr_addr made = tr_spawn_with(self, &books_def, NULL, &(tr_spawn_opts){.name = "books"});
    for (int i = 0; i < ACCOUNTS && !tr_addr_is_none(made); i++) {
        snprintf(all[i].name, sizeof(all[i].name), "a%d", i);
        snprintf(all[i].books, sizeof(all[i].books), "n%u/books", (node + 1) % c->nodes);
        made = tr_spawn_with(self, &account_def, &all[i], &(tr_spawn_opts){.name = all[i].name});
    }
    return tr_addr_is_none(made) ? tr_last_error(self)->code : TR_OK;
}

/* "n2/a1" */
static const char *path_of(uint32_t number, char path[16])
{
    snprintf(path, 16, "n%u/a%u", number / ACCOUNTS, number % ACCOUNTS);
    return path;
}

/* ---- a transfer ----------------------------------------------------------------------------------------- */

typedef struct transfer {
    operation *op;
    char from[16], to[16];
    int64_t amount;
    const char *note;
} transfer;

static tr_err transfer_body(tr_actor *self, tr_tx *tx, void *arg)
{
    const transfer *t = arg;
    (void)self;
    history_attempt(t->op, tx);
    TR_TRY(tr_tx_await(tx, t->from, change, .amount = -t->amount, .note = t->note));
    TR_TRY(tr_tx_await(tx, t->to, change, .amount = t->amount, .note = t->note));
    return history_ticket(t->op, tx);
}

static void move(tr_actor *self, const cluster *c, operation *op)
{
    char value[128];
    uint32_t all = c->nodes * ACCOUNTS, from = (uint32_t)(tr_random(self) % all);
    transfer t = {.op = op, .amount = 1 + (int64_t)(tr_random(self) % 30), .note = c->note};
    path_of(from, t.from);
    path_of((from + 1 + (uint32_t)(tr_random(self) % (all - 1))) % all, t.to);
    snprintf(value, sizeof(value), "{\"from\":\"%s\",\"to\":\"%s\",\"amount\":%" PRId64 "}", t.from, t.to,
             t.amount);
    op->f = "transfer";
    op->value = value;
    tr_tx_outcome out = tr_tx_run(self, transfer_body, &t, &cluster_tx);
    history_end(op, self, &out, value);
}

/* ---- reading all of them -------------------------------------------------------------------------------- */

typedef struct reading {
    operation *op;
    uint32_t accounts;
    int64_t balance[ALL_MAX];
} reading;

static tr_err read_body(tr_actor *self, tr_tx *tx, void *arg)
{
    reading *r = arg;
    const balance_is *is;
    char path[16];
    (void)self;
    history_attempt(r->op, tx);
    for (uint32_t i = 0; i < r->accounts; i++) {
        TR_TRY(tr_tx_await_reply(tx, path_of(i, path), balance_is, &is, get_balance));
        r->balance[i] = is->amount;
    }
    return TR_OK;
}

static void as_json(const reading *r, char *out, size_t room)
{
    char path[16];
    size_t used = 0;
    for (uint32_t i = 0; i < r->accounts; i++)
        used += (size_t)snprintf(out + used, room - used, "%s\"%s\":%" PRId64, i ? "," : "{",
                                 path_of(i, path), r->balance[i]);
    snprintf(out + used, room - used, "}");
}

static tr_tx_outcome read_all(tr_actor *self, const cluster *c, operation *op, reading *r)
{
    char value[ALL_MAX * 40];
    *r = (reading){.op = op, .accounts = c->nodes * ACCOUNTS};
    op->f = "read";
    op->value = "null";
    tr_tx_outcome out = tr_tx_run(self, read_body, r, &cluster_tx);
    as_json(r, value, sizeof(value));
    history_end(op, self, &out, value);
    return out;
}

/* ---- the workload --------------------------------------------------------------------------------------- */

static void operate(tr_actor *self, const cluster *c, operation *op)
{
    reading r;
    if (tr_random(self) % 4)
        move(self, c, op);
    else
        read_all(self, c, op, &r);
}

static void header(const cluster *c, char *out, size_t room)
{
    uint32_t all = c->nodes * ACCOUNTS;
    snprintf(out, room,
             "{\"workload\":\"bank\",\"accounts\":%u,\"total\":%u,\"initial\":%u,\"negative\":false}", all,
             all * BEGINS_WITH, BEGINS_WITH);
}

static tr_err check_accounts(tr_actor *self, const cluster *c, operation *op)
{
    reading r;
    int64_t sum = 0;
    tr_tx_outcome out = {.status = TR_TX_ABORTED};
    for (int i = 0; i < 50 && out.status != TR_TX_COMMITTED; i++) {
        out = read_all(self, c, op, &r);
        if (out.status != TR_TX_COMMITTED)
            TR_TRY(tr_sleep(self, TR_MILLIS(200)));
    }
    if (out.status != TR_TX_COMMITTED)
        return tr_fail(self, TR_EAPP, "the accounts can't be read: %s", out.text);
    for (uint32_t i = 0; i < r.accounts; i++)
        sum += r.balance[i];
    bool right = sum == (int64_t)r.accounts * BEGINS_WITH;
    printf("%" PRId64 " in %u accounts: %s\n", sum, r.accounts,
           right ? "none is missing" : "THE SUM IS WRONG");
    return right ? TR_OK : tr_fail(self, TR_EAPP, "the accounts have %" PRId64, sum);
}

/* ---- the receipts ---------------------------------------------------------------------------------------- */

typedef struct audit {
    uint32_t nodes;
    int64_t paid; /* by all accounts */
    receipts_are all;
} audit;

static tr_err audit_body(tr_actor *self, tr_tx *tx, void *arg)
{
    audit *a = arg;
    const balance_is *is;
    const receipts_are *are;
    char path[24];
    (void)self;
    *a = (audit){.nodes = a->nodes};
    for (uint32_t i = 0; i < a->nodes * ACCOUNTS; i++) {
        TR_TRY(tr_tx_await_reply(tx, path_of(i, path), balance_is, &is, get_balance));
        a->paid += is->paid;
    }
    for (uint32_t i = 0; i < a->nodes; i++) {
        snprintf(path, sizeof(path), "n%u/books", i);
        TR_TRY(tr_tx_await_reply(tx, path, receipts_are, &are, get_receipts));
        a->all.noted += are->noted;
        a->all.twice += are->twice;
    }
    return TR_OK;
}

/* All have come, and each once; the last ones may still be on their way. */
static tr_err check_receipts(tr_actor *self, const cluster *c)
{
    audit a = {.nodes = c->nodes};
    uint64_t until = cluster_now_ms() + RECEIPTS_MS;
    tr_tx_outcome out = tr_tx_run(self, audit_body, &a, &cluster_tx);
    while ((out.status != TR_TX_COMMITTED || a.all.noted < a.paid) && cluster_now_ms() < until) {
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
        out = tr_tx_run(self, audit_body, &a, &cluster_tx);
    }
    if (out.status != TR_TX_COMMITTED)
        return tr_fail(self, TR_EAPP, "the books can't be read: %s", out.text);
    if (a.all.noted != a.paid || a.all.twice)
        return tr_fail(self, TR_EAPP,
                       "%" PRId64 " payments, and the books have %" PRId64 " receipts: %" PRId64
                       " are lost, %" PRId64 " came twice",
                       a.paid, a.all.noted, a.paid - a.all.noted, a.all.twice);
    printf("%" PRId64 " receipts: of each payment one\n", a.all.noted);
    return TR_OK;
}

static tr_err check(tr_actor *self, const cluster *c, operation *op)
{
    TR_TRY(check_accounts(self, c, op));
    return check_receipts(self, c);
}

int main(int argc, char **argv)
{
    static const workload bank = {.name = "bank",
                                  .what = "2 accounts a node",
                                  .header = header,
                                  .open = open_accounts,
                                  .operate = operate,
                                  .check = check};
    return cluster_main(argc, argv, &bank);
}
