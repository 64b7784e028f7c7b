/* Accounts: see tx_cluster.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "tests/kit/tx_cluster.h"

static int64_t balance_in(const tr_txview *view)
{
    int64_t balance = CLUSTER_START;
    const tr__kv *kv = tr__view_find(view, "balance", 7);
    if (kv)
        memcpy(&balance, tr__kv_value(kv), sizeof(balance));
    return balance;
}

static tr_err read_account(tr_txview *view)
{
    const tr__kv *journal = tr__view_find(view, "journal", 7);
    uint32_t entries = journal ? journal->size / (uint32_t)sizeof(tr_tx_id) : 0;
    tr__view_drop_reply(view);
    view->reply = tr__alloc(sizeof(entries));
    if (!view->reply)
        return TR_ENOMEM;
    memcpy(view->reply, &entries, sizeof(entries));
    view->reply_size = sizeof(entries);
    return TR_OK;
}

void cluster_emit_path(const tr_tx_id *id, const char *actor, char *out)
{
    snprintf(out, 16, "n%u/%s", id->bytes[15] % CLUSTER_NODES, actor);
}

static tr_err emit(tr_txview *view, const tr_tx_id *id, const char *actor)
{
    char to[16];
    cluster_emit_path(id, actor, to);
    return tr__view_emit(view, (tr_bytes){to, strlen(to)}, CLUSTER_NOTE, 0, (tr_bytes){id, sizeof(*id)});
}

static tr_err append(tr_txview *view, const char *key, const tr_tx_id *id)
{
    const tr__kv *journal = tr__view_find(view, key, strlen(key));
    size_t size = journal ? journal->size : 0;
    char *longer = malloc(size + sizeof(*id));
    if (size)
        memcpy(longer, tr__kv_value(journal), size);
    memcpy(longer + size, id, sizeof(*id));
    tr_err err = tr__view_write(view, key, strlen(key), longer, size + sizeof(*id));
    free(longer);
    return err;
}

static tr_err write_account(tr_txview *view, const tr_tx_id *id, int64_t balance)
{
    tr_err err = append(view, "journal", id);
    return err == TR_OK ? tr__view_write(view, "balance", 7, &balance, sizeof(balance)) : err;
}

/* What an audit is told: of a transaction that has committed. */
static void note(cluster_node *n, tr__tx_branch *branch, const tr__tx_call_at *call)
{
    tr_tx_id id;
    assert_int_equal(call->size, sizeof(id));
    memcpy(&id, call->body, sizeof(id));
    tr_err err = append(tr__tx_branch_view(branch), "notes", &id);
    bool refuses = n->cluster->told_why[0] == '!'; /* a test wants it to */
    tr__tx_executed(n->tx, branch,
                    refuses        ? TR_TX_APP
                    : err == TR_OK ? TR_TX_NONE
                                   : TR_TX_OVERLOAD,
                    refuses ? "not wanted" : "no memory");
}

void cluster_execute(cluster_node *n, tr__tx_branch *branch)
{
    tr_txview *view = tr__tx_branch_view(branch);
    const tr__tx_call_at *call = tr__tx_branch_call(branch);
    int64_t amount;
    if (call->type == CLUSTER_NOTE) {
        note(n, branch, call);
        return;
    }
    assert_int_equal(call->size, sizeof(amount));
    memcpy(&amount, call->body, sizeof(amount));
    int64_t balance = balance_in(view) + amount;
    tr_err err = TR_OK;
    if (balance < 0) {
        tr__tx_executed(n->tx, branch, TR_TX_APP, "not enough");
        return;
    }
    if (call->type != CLUSTER_READ && !call->writes) { /* as a view refuses it */
        tr__tx_executed(n->tx, branch, TR_TX_NOT_ALLOWED, "a call that writes, and doesn't say so");
        return;
    }
    if (call->type == CLUSTER_READ)
        err = read_account(view);
    else if (amount)
        err = write_account(view, tr__tx_branch_id(branch), balance);
    if (err == TR_OK && n->cluster->emits && call->type == CLUSTER_MOVE && amount) {
        err = emit(view, tr__tx_branch_id(branch), "audit");
        err = err == TR_OK ? emit(view, tr__tx_branch_id(branch), "ledger") : err;
    }
    tr__tx_executed(n->tx, branch, err == TR_OK ? TR_TX_NONE : TR_TX_OVERLOAD, "no memory");
}

/* ---- what arrives ------------------------------------------------------------------------------------- */

tr_err cluster_deliver(void *context, const tr__tx_frame *emit, tr_error *error)
{
    cluster_node *n = context;
    if (strcmp(emit->actor, "ledger") != 0)
        return TR_EMISMATCH;
    if (n->cluster->no_ledger ||
        (n->cluster->lost && tr__random_below(&n->cluster->random, n->cluster->lost) == 0))
        return tr__fail(error, TR_ENOACTOR, "no ledger runs there");
    for (uint32_t i = 0; i < n->cluster->count && !n->die; i++)
        if (emit->body.size == sizeof(tr_tx_id) &&
            memcmp(emit->body.data, &n->cluster->transfers[i].begin.id, sizeof(tr_tx_id)) == 0)
            n->cluster->transfers[i].posted++;
    return TR_OK;
}

void cluster_undelivered(void *context, const tr__tx_emitted *emitted)
{
    cluster *c = ((cluster_node *)context)->cluster;
    c->told++;
    c->told_refused = emitted->refused;
    snprintf(c->told_why, sizeof(c->told_why), "%s", emitted->why);
}
