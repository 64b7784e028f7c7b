/* What must be true of a cluster when all has come to rest: see tx_cluster.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"
#include "tests/kit/tx_cluster.h"

/* ---- looking ------------------------------------------------------------------------------------------- */

static const tr__kv *state_of(cluster *c, const char *path, const char *key)
{
    uint32_t node = (uint32_t)(path[1] - '0');
    assert_true(path[0] == 'n' && node < CLUSTER_NODES && path[2] == '/');
    assert_non_null(c->nodes[node].tx);
    const tr__store *store = tr__tx_state(c->nodes[node].tx, path + 3);
    return store ? tr__store_get(store, key, strlen(key)) : NULL;
}

int64_t cluster_balance(cluster *c, const char *path)
{
    int64_t balance = CLUSTER_START;
    const tr__kv *kv = state_of(c, path, "balance");
    if (kv) {
        assert_int_equal(kv->size, sizeof(balance));
        memcpy(&balance, tr__kv_value(kv), sizeof(balance));
    }
    return balance;
}

/* Its ids; aligned enough to be read by memcmp only. */
static const char *journal_of(cluster *c, const char *path, uint32_t *length)
{
    const tr__kv *journal = state_of(c, path, "journal");
    *length = journal ? journal->size / (uint32_t)sizeof(tr_tx_id) : 0;
    return journal ? tr__kv_value(journal) : NULL;
}

static bool is_at(const char *journal, uint32_t i, const tr_tx_id *id)
{
    return memcmp(journal + i * sizeof(*id), id, sizeof(*id)) == 0;
}

uint32_t cluster_times_in_journal(cluster *c, const char *path, const tr_tx_id *id)
{
    uint32_t times = 0, length;
    const char *journal = journal_of(c, path, &length);
    for (uint32_t i = 0; i < length; i++)
        times += is_at(journal, i, id);
    return times;
}

uint32_t cluster_noted(cluster *c, const tr_tx_id *id)
{
    char path[16];
    cluster_emit_path(id, "audit", path);
    const tr__kv *notes = state_of(c, path, "notes");
    uint32_t times = 0, length = notes ? notes->size / (uint32_t)sizeof(*id) : 0;
    for (uint32_t i = 0; i < length; i++)
        times += is_at(tr__kv_value(notes), i, id);
    return times;
}

/* ---- each transaction ---------------------------------------------------------------------------------- */

static uint32_t writes_to(const cluster_transfer *t, const char *path)
{
    uint32_t writes = 0;
    for (uint32_t i = 0; i < t->op_count; i++)
        writes += t->ops[i].writes && t->ops[i].amount && strcmp(t->ops[i].path, path) == 0;
    return writes;
}

static bool is_writer(const cluster_transfer *t)
{
    for (uint32_t i = 0; i < t->op_count; i++)
        if (writes_to(t, t->ops[i].path))
            return true;
    return false;
}

static const char *text_of(const cluster_transfer *t)
{
    static char text[TR_TX_ID_TEXT];
    return tr__tx_id_format(&t->begin.id, text);
}

static bool has_effect(cluster *c, const cluster_transfer *t)
{
    bool any = false, all = true;
    for (uint32_t i = 0; i < t->op_count; i++) {
        uint32_t writes = writes_to(t, t->ops[i].path);
        uint32_t times = cluster_times_in_journal(c, t->ops[i].path, &t->begin.id);
        if (times && times != writes)
            fail_msg("%s is %u times in %s, which it wrote %u times", text_of(t), times, t->ops[i].path,
                     writes);
        any = any || times;
        all = all && (times || !writes);
    }
    if (any && !all)
        fail_msg("%s has effects on some of what it wrote only", text_of(t));
    return any;
}

static void check_transfer(cluster *c, const cluster_transfer *t)
{
    bool effect = has_effect(c, t);
    if (t->is_settled && is_writer(t) && (t->settled == TR_TX_COMMITTED) != effect)
        fail_msg("%s was told %s and is %sin the journals", text_of(t),
                 t->settled == TR_TX_COMMITTED ? "committed" : "aborted", effect ? "" : "not ");
}

/* ---- one order ----------------------------------------------------------------------------------------- */

/* before[a][b]: a comes before b. */
typedef struct order {
    cluster *c;
    bool counts[CLUSTER_TRANSFERS];
    bool before[CLUSTER_TRANSFERS][CLUSTER_TRANSFERS];
} order;

static uint32_t index_of_id(cluster *c, const char *journal, uint32_t at)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (is_at(journal, at, &c->transfers[i].begin.id))
            return i;
    fail_msg("a journal has a transaction that nobody began");
    return 0;
}

static void order_journal(order *o, const char *path)
{
    uint32_t length, last = UINT32_MAX;
    uint64_t ts = 0;
    const char *journal = journal_of(o->c, path, &length);
    for (uint32_t i = 0; i < length; i++) {
        uint32_t at = index_of_id(o->c, journal, i);
        const cluster_transfer *t = &o->c->transfers[at];
        if (at != last && last != UINT32_MAX)
            o->before[last][at] = true;
        if (at != last && t->commit_ts && t->commit_ts <= ts)
            fail_msg("%s has a commit time in %s that is not behind the one before", text_of(t), path);
        ts = t->commit_ts ? t->commit_ts : ts;
        last = at;
    }
}

/* What it had read stood between two writers. */
static void order_read(order *o, uint32_t reader, const cluster_op *op)
{
    uint32_t length;
    const char *journal = journal_of(o->c, op->path, &length);
    if (op->seen > length)
        fail_msg("%s read what was never committed at %s", text_of(&o->c->transfers[reader]), op->path);
    for (uint32_t i = 0; i < length; i++) {
        uint32_t writer = index_of_id(o->c, journal, i);
        if (writer != reader && i < op->seen)
            o->before[writer][reader] = true;
        else if (writer != reader)
            o->before[reader][writer] = true;
    }
}

static void order_all(order *o)
{
    cluster *c = o->c;
    for (uint32_t a = 0; a < c->count; a++) {
        const cluster_transfer *t = &c->transfers[a];
        o->counts[a] = is_writer(t) ? has_effect(c, t) : t->is_settled && t->settled == TR_TX_COMMITTED;
        for (uint32_t i = 0; o->counts[a] && i < t->op_count; i++)
            if (!t->ops[i].writes)
                order_read(o, a, &t->ops[i]);
    }
    for (uint32_t a = 0; a < c->count; a++)
        for (uint32_t b = 0; b < c->count; b++)
            if (c->transfers[a].told_at && c->transfers[a].told_at < c->transfers[b].begun_at)
                o->before[a][b] = true;
}

/* Takes away who has nobody before it, until nobody is left. */
static void check_order(order *o)
{
    uint32_t left = 0, behind[CLUSTER_TRANSFERS] = {0}, free_ones[CLUSTER_TRANSFERS], count = 0;
    for (uint32_t a = 0; a < o->c->count; a++) {
        left += o->counts[a];
        for (uint32_t b = 0; b < o->c->count; b++)
            behind[a] += o->counts[a] && o->counts[b] && o->before[b][a];
        if (o->counts[a] && !behind[a])
            free_ones[count++] = a;
    }
    for (; count > 0; left--) {
        uint32_t a = free_ones[--count];
        for (uint32_t b = 0; b < o->c->count; b++)
            if (o->counts[b] && o->before[a][b] && --behind[b] == 0)
                free_ones[count++] = b;
    }
    if (left)
        fail_msg("there is no order of all that was committed: %u go round in a circle", left);
}

/* ---- locks --------------------------------------------------------------------------------------------- */

static void check_line(const cluster_node *n, const tr__tx_actor *actor)
{
    for (const tr__tx_branch *b = actor->waiting; b; b = b->next_waiting) {
        if (b->next_waiting && !tr__tx_is_older(b, b->next_waiting))
            fail_msg("W1: %s/%s: who waits doesn't do so in the order of priorities", n->name, actor->name);
        if (tr__tx_in_the_way(b))
            fail_msg("W2: %s/%s: an older one waits for a younger one that could be wounded", n->name,
                     actor->name);
    }
}

static void check_priority(cluster *c, const cluster_node *n, const tr__tx_branch *b)
{
    for (uint32_t i = 0; i < c->count && b->state <= TR__BRANCH_READY; i++) {
        const cluster_transfer *t = &c->transfers[i];
        tr__tx *tx = memcmp(&t->begin.id, &b->key.id, sizeof(t->begin.id)) ? NULL : c->nodes[t->node].tx;
        uint64_t said = tx ? tr__tx_priority(tx, &b->key.id) : 0;
        if (said && said != b->priority)
            fail_msg("W3: %s/%s: a transaction has another priority than its caller says", n->name,
                     b->at->name);
    }
}

void cluster_check_locks(cluster *c)
{
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        const cluster_node *n = &c->nodes[i];
        for (const tr__tx_actor *actor = n->tx ? n->tx->actors : NULL; actor; actor = actor->hh.next)
            check_line(n, actor);
        for (const tr__tx_branch *b = n->tx ? n->tx->branches : NULL; b; b = b->hh.next)
            check_priority(c, n, b);
    }
}

/* ---- all ----------------------------------------------------------------------------------------------- */

static void check_rest(cluster *c)
{
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_figures figures;
        tr__tx_figures_of(c->nodes[i].tx, &figures);
        assert_int_equal(0, figures.branches);
        assert_int_equal(0, figures.deciding);
        assert_int_equal(0, figures.calling);
    }
}

static void check_emits(cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const cluster_transfer *t = &c->transfers[i];
        uint32_t journaled = 0, noted = cluster_noted(c, &t->begin.id);
        for (uint32_t k = 0; k < t->op_count; k++)
            if (t->ops[k].writes && t->ops[k].amount &&
                cluster_times_in_journal(c, t->ops[k].path, &t->begin.id))
                journaled++;
        if (noted != journaled)
            fail_msg("transaction %u has %u writes, and was noted %u times", i, journaled, noted);
        if (t->posted < journaled || (!journaled && t->posted))
            fail_msg("transaction %u has %u writes, and was posted %u times", i, journaled, t->posted);
    }
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_figures figures;
        tr__tx_figures_of(c->nodes[i].tx, &figures);
        assert_int_equal(0, figures.emits);
        assert_int_equal(0, c->nodes[i].tx->emit_count);
        assert_int_equal(0, c->nodes[i].tx->emit_bytes);
        assert_null(c->nodes[i].tx->deliveries);
    }
}

void cluster_check(cluster *c, const char *const *paths, uint32_t count)
{
    int64_t sum = 0;
    order *o = calloc(1, sizeof(*o));
    o->c = c;
    for (uint32_t i = 0; i < count; i++)
        sum += cluster_balance(c, paths[i]);
    assert_int_equal(sum, (int64_t)count * CLUSTER_START);
    for (uint32_t i = 0; i < c->count; i++)
        check_transfer(c, &c->transfers[i]);
    for (uint32_t i = 0; i < count; i++)
        order_journal(o, paths[i]);
    order_all(o);
    check_order(o);
    free(o);
    check_rest(c);
    if (c->emits)
        check_emits(c);
}
