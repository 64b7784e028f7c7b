/* See tx_cluster.h. Own allocations are plain malloc: they aren't what a test makes fail. */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WALL_MS 1700000000000ull

enum { OP_MOVE = 1 }; /* the only call: body is an i64 */

/* ---- the world of a node ------------------------------------------------------------------------------- */

static uint32_t index_of(const char *node)
{
    uint32_t i = (uint32_t)(node[1] - '0');
    assert_true(node[0] == 'n' && i < CLUSTER_NODES && !node[2]);
    return i;
}

static uint64_t now(void *context)
{
    return ((cluster_node *)context)->cluster->now_ns;
}

static uint64_t wall_ms(void *context)
{
    return WALL_MS + now(context) / 1000000u;
}

static uint64_t chance(void *context)
{
    return tr__random_next(&((cluster_node *)context)->cluster->random);
}

static char *keep(char **at, const void *bytes, size_t size)
{
    char *copy = *at;
    if (size)
        memcpy(copy, bytes, size);
    copy[size] = '\0';
    *at += size + 1;
    return copy;
}

static cluster_message *message_of(const tr__tx_frame *frame)
{
    cluster_message *m = calloc(1, sizeof(*m));
    size_t room = frame->id.size + frame->log.size + frame->body.size + strlen(frame->from) +
                  strlen(frame->actor) + strlen(frame->text) + 6;
    char *at = m->block = malloc(room);
    m->frame = *frame;
    m->frame.id.data = keep(&at, frame->id.data, frame->id.size);
    m->frame.log.data = keep(&at, frame->log.data, frame->log.size);
    m->frame.body.data = keep(&at, frame->body.data, frame->body.size);
    m->frame.from = keep(&at, frame->from, strlen(frame->from));
    m->frame.actor = keep(&at, frame->actor, strlen(frame->actor));
    m->frame.text = keep(&at, frame->text, strlen(frame->text));
    return m;
}

static void message_free(cluster_message *m)
{
    free(m->block);
    free(m);
}

static tr_err send(void *context, const char *node, tr__tx_frame *frame, tr_error *error)
{
    cluster_node *n = context;
    uint32_t from = index_of(n->name), to = index_of(node);
    if (n->die)
        return TR_OK; /* it is dead already: what it says goes nowhere */
    if (!n->cluster->nodes[to].tx || n->cluster->cut[from][to]) {
        if (error)
            snprintf(error->text, sizeof(error->text), "node %s isn't connected", node);
        return TR_ENOCONN;
    }
    cluster_message **at = &n->cluster->wires[from][to];
    while (*at)
        at = &(*at)->next;
    *at = message_of(frame);
    return TR_OK;
}

static void execute(void *context, tr__tx_branch *branch)
{
    cluster_node *n = context;
    assert_true(n->executing_count < 64);
    n->executing[n->executing_count++] = branch;
}

static void event(void *context, const tr_tx_id *id, const char *actor, const char *what, const char *detail)
{
    char text[TR_TX_ID_TEXT];
    if (getenv("TX_TRACE"))
        printf("%6llu ms %s %.26s %s %s %s\n", (unsigned long long)(now(context) / 1000000u),
               ((cluster_node *)context)->name, tr__tx_id_format(id, text) + 20, actor, what, detail);
}

static void point(void *context, tr__tx_point p)
{
    cluster_node *n = context;
    if (n->die)
        return;
    n->hits[p]++;
    if (n->kill_at == (int)p && n->kill_seen++ == n->kill_after)
        n->die = true;
}

static void fatal(void *context, const tr_error *error)
{
    cluster_node *n = context;
    n->fatal = *error;
    n->die = true;
}

/* ---- the caller ---------------------------------------------------------------------------------------- */

static bool caller_lives(const cluster_transfer *t)
{
    const cluster_node *n = &t->cluster->nodes[t->node];
    return n->tx && n->id == t->life && !n->die;
}

static void go_on(cluster_transfer *t)
{
    tr__tx *tx = t->cluster->nodes[t->node].tx;
    int64_t amount = t->stage == 0 ? -t->amount : t->amount;
    tr__tx_frame call = {.type = OP_MOVE, .writes = 1, .body = {&amount, sizeof(amount)}};
    unsigned stage = t->refused ? 2 : t->stage; /* a refused one is committed, which says why not */
    t->ready = false;
    t->stage = stage + 1;
    if (stage < 2)
        tr__tx_call(tx, &t->begin, stage == 0 ? t->from : t->to, &call, t);
    else
        tr__tx_commit(tx, &t->begin, t);
    t->begin.calls++;
}

static void called(void *context, void *token, const tr__tx_frame *answer)
{
    cluster_transfer *t = token;
    if (((cluster_node *)context)->die || !caller_lives(t))
        return;
    t->refused = t->refused || answer->reason;
    t->ready = true;
}

static void settle(cluster_transfer *t, tr_tx_status status)
{
    if (status == TR_TX_UNKNOWN)
        return;
    if (t->is_settled)
        assert_int_equal(t->settled, status); /* resolved twice, or answered: the same each time */
    t->settled = status;
    t->is_settled = true;
}

static void done(void *context, void *token, const tr_tx_done *d)
{
    cluster_transfer *t = token;
    cluster_node *n = context;
    if (n->die)
        return;
    if (!t->answered && caller_lives(t)) {
        t->answered = true;
        t->outcome = (tr_tx_outcome){.status = d->status, .reason = d->reason, .commit_ts = d->commit_ts};
        snprintf(t->outcome.ticket, sizeof(t->outcome.ticket), "%s", d->ticket);
        snprintf(t->outcome.text, sizeof(t->outcome.text), "%s", d->text);
    } else if (t->resolving) {
        t->resolving = false;
    } else {
        return;
    }
    settle(t, d->status);
}

static const tr__tx_io io = {.now = now,
                             .wall_ms = wall_ms,
                             .random = chance,
                             .send = send,
                             .execute = execute,
                             .called = called,
                             .done = done,
                             .event = event,
                             .point = point,
                             .fatal = fatal};

cluster_transfer *cluster_transfer_begin(cluster *c, uint32_t node, const char *from, const char *to,
                                         int64_t amount)
{
    assert_true(c->count < CLUSTER_TRANSFERS && c->nodes[node].tx);
    cluster_transfer *t = &c->transfers[c->count++];
    *t = (cluster_transfer){.cluster = c, .node = node, .life = c->nodes[node].id, .amount = amount};
    snprintf(t->from, sizeof(t->from), "%s", from);
    snprintf(t->to, sizeof(t->to), "%s", to);
    t->begin.id =
        tr__tx_id_make(wall_ms(&c->nodes[node]), tr__random_next(&c->random), tr__random_next(&c->random));
    t->begin.until_ns = c->now_ns + TR_SECONDS(10);
    t->begin.lock_wait_ns = TR_SECONDS(2);
    t->ready = true;
    return t;
}

void cluster_resolve(cluster *c, cluster_transfer *t, uint32_t node)
{
    assert_true(c->nodes[node].tx && t->outcome.ticket[0]);
    t->resolving = true;
    t->resolver = node;
    t->resolver_life = c->nodes[node].id;
    tr__tx_resolve(c->nodes[node].tx, t->outcome.ticket, c->now_ns + TR_SECONDS(5), t);
}

/* ---- the accounts -------------------------------------------------------------------------------------- */

static int64_t balance_of(const tr__kv *kv)
{
    int64_t balance = CLUSTER_START;
    if (kv) {
        assert_int_equal(kv->size, sizeof(balance));
        memcpy(&balance, tr__kv_value(kv), sizeof(balance));
    }
    return balance;
}

static void run_account(cluster_node *n, tr__tx_branch *branch)
{
    tr_txview *view = tr__tx_branch_view(branch);
    const tr__tx_call_at *call = tr__tx_branch_call(branch);
    int64_t amount;
    assert_int_equal(call->size, sizeof(amount));
    memcpy(&amount, call->body, sizeof(amount));
    int64_t balance = balance_of(tr__view_find(view, "balance", 7)) + amount;
    if (balance < 0) {
        tr__tx_executed(n->tx, branch, TR_TX_APP, "not enough");
        return;
    }
    const tr__kv *journal = tr__view_find(view, "journal", 7);
    size_t size = journal ? journal->size : 0;
    char *longer = malloc(size + sizeof(tr_tx_id));
    if (size)
        memcpy(longer, tr__kv_value(journal), size);
    memcpy(longer + size, tr__tx_branch_id(branch), sizeof(tr_tx_id));
    tr_err err = tr__view_write(view, "journal", 7, longer, size + sizeof(tr_tx_id));
    free(longer);
    if (err == TR_OK)
        err = tr__view_write(view, "balance", 7, &balance, sizeof(balance));
    tr__tx_executed(n->tx, branch, err == TR_OK ? TR_TX_NONE : TR_TX_OVERLOAD, "no memory");
}

static const tr__kv *state_of(cluster *c, const char *path, const char *key)
{
    char node[8];
    snprintf(node, sizeof(node), "%.2s", path);
    cluster_node *n = &c->nodes[index_of(node)];
    assert_non_null(n->tx);
    const tr__store *store = tr__tx_state(n->tx, path + 3);
    return store ? tr__store_get(store, key, strlen(key)) : NULL;
}

int64_t cluster_balance(cluster *c, const char *path)
{
    return balance_of(state_of(c, path, "balance"));
}

uint32_t cluster_times_in_journal(cluster *c, const char *path, const tr_tx_id *id)
{
    const tr__kv *journal = state_of(c, path, "journal");
    uint32_t times = 0;
    for (size_t at = 0; journal && at < journal->size; at += sizeof(*id))
        times += memcmp(tr__kv_value(journal) + at, id, sizeof(*id)) == 0;
    return times;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

bool cluster_start(cluster *c, uint32_t node)
{
    static const tr__log_options small = {.reserve = 64 * 1024, .step = 64 * 1024};
    cluster_node *n = &c->nodes[node];
    assert_null(n->tx);
    n->id = ++c->lives;
    n->die = false;
    n->executing_count = 0;
    n->kill_at = -1;
    n->fatal = (tr_error){0};
    tr__log_store *store = memory_log_open(&n->log);
    n->tx = tr__tx_open(n->name, n->id, store, &small, &io, n, &n->fatal);
    if (!n->tx) {
        store->close(store);
        return false;
    }
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        if (i != node && c->nodes[i].tx && !c->cut[i][node]) {
            tr__tx_node_up(c->nodes[i].tx, n->name);
            tr__tx_node_up(n->tx, c->nodes[i].name);
        }
    return true;
}

static void wire_clear(cluster *c, uint32_t from, uint32_t to)
{
    while (c->wires[from][to]) {
        cluster_message *m = c->wires[from][to];
        c->wires[from][to] = m->next;
        message_free(m);
    }
}

void cluster_kill(cluster *c, uint32_t node, bool power_cut)
{
    cluster_node *n = &c->nodes[node];
    tr__tx_close(n->tx);
    n->tx = NULL;
    n->held = false;
    if (power_cut)
        memory_log_power_cut(&n->log);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        wire_clear(c, i, node);
        wire_clear(c, node, i);
        if (c->nodes[i].tx && !c->cut[i][node])
            tr__tx_node_down(c->nodes[i].tx, n->name);
    }
    for (uint32_t i = 0; i < c->count; i++)
        if (c->transfers[i].resolving && c->transfers[i].resolver == node)
            c->transfers[i].resolving = false;
}

void cluster_partition(cluster *c, uint32_t a, uint32_t b)
{
    if (c->cut[a][b])
        return;
    c->cut[a][b] = c->cut[b][a] = true;
    wire_clear(c, a, b);
    wire_clear(c, b, a);
    if (c->nodes[a].tx && c->nodes[b].tx) {
        tr__tx_node_down(c->nodes[a].tx, c->nodes[b].name);
        tr__tx_node_down(c->nodes[b].tx, c->nodes[a].name);
    }
}

void cluster_heal(cluster *c, uint32_t a, uint32_t b)
{
    if (!c->cut[a][b])
        return;
    c->cut[a][b] = c->cut[b][a] = false;
    if (c->nodes[a].tx && c->nodes[b].tx) {
        tr__tx_node_up(c->nodes[a].tx, c->nodes[b].name);
        tr__tx_node_up(c->nodes[b].tx, c->nodes[a].name);
    }
}

void cluster_open(cluster *c, uint64_t seed)
{
    memset(c, 0, sizeof(*c));
    tr__random_init(&c->random, seed);
    c->now_ns = TR_SECONDS(1);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        cluster_node *n = &c->nodes[i];
        n->cluster = c;
        snprintf(n->name, sizeof(n->name), "n%u", i);
        memory_log_init(&n->log, seed + i);
        assert_true(cluster_start(c, i));
    }
}

void cluster_close(cluster *c)
{
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_close(c->nodes[i].tx);
        memory_log_fini(&c->nodes[i].log);
        for (uint32_t j = 0; j < CLUSTER_NODES; j++)
            wire_clear(c, i, j);
    }
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static void die_if_killed(cluster *c)
{
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        if (c->nodes[i].tx && c->nodes[i].die)
            cluster_kill(c, i, tr__random_below(&c->random, 2));
}

static void deliver(cluster *c, uint32_t from, uint32_t to)
{
    cluster_message *m = c->wires[from][to];
    c->wires[from][to] = m->next;
    tr__tx_receive(c->nodes[to].tx, &m->frame);
    message_free(m);
}

static void execute_front(cluster_node *n)
{
    tr__tx_branch *branch = n->executing[0];
    memmove(n->executing, n->executing + 1, --n->executing_count * sizeof(*n->executing));
    run_account(n, branch);
}

/* One thing of one node: an execution, a piece of a batch and what comes of it, a message from somebody. */
static bool node_step(cluster *c, uint32_t i, uint64_t which)
{
    cluster_node *n = &c->nodes[i];
    if (!n->tx)
        return false;
    if (which == 0 && n->executing_count > 0) {
        execute_front(n);
        return true;
    }
    for (uint32_t t = 0; which == 0 && t < c->count; t++)
        if (c->transfers[t].ready && c->transfers[t].node == i && caller_lives(&c->transfers[t])) {
            go_on(&c->transfers[t]);
            return true;
        }
    if (which == 1 && !n->held && n->log.stage) {
        if (!memory_log_step(&n->log))
            tr__tx_poll(n->tx);
        return true;
    }
    if (which < 2 || !c->wires[which - 2][i])
        return false;
    deliver(c, (uint32_t)which - 2, i);
    return true;
}

bool cluster_step(cluster *c)
{
    uint64_t kinds = CLUSTER_NODES * (2 + CLUSTER_NODES), first = tr__random_below(&c->random, kinds);
    bool stepped = false;
    for (uint64_t k = 0; k < kinds && !stepped; k++) {
        uint64_t at = (first + k) % kinds;
        stepped = node_step(c, (uint32_t)(at % CLUSTER_NODES), at / CLUSTER_NODES);
    }
    die_if_killed(c);
    return stepped;
}

static void tick(cluster *c)
{
    c->now_ns += TR__TX_TICK_NS;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        if (c->nodes[i].tx) {
            tr__tx_poll(c->nodes[i].tx);
            tr__tx_tick(c->nodes[i].tx);
        }
    die_if_killed(c);
}

void cluster_run(cluster *c, uint64_t duration_ns)
{
    uint64_t until = c->now_ns + duration_ns;
    for (;;) {
        uint32_t steps = 0;
        while (cluster_step(c))
            assert_true(++steps < 1000000);
        if (c->now_ns >= until)
            return;
        tick(c);
    }
}

/* ---- judgement ----------------------------------------------------------------------------------------- */

static void check_order(cluster *c, const char *one, const char *other)
{
    const tr__kv *a = state_of(c, one, "journal"), *b = state_of(c, other, "journal");
    size_t at = 0;
    for (size_t i = 0; a && b && i < a->size; i += sizeof(tr_tx_id)) {
        const char *id = tr__kv_value(a) + i;
        if (!cluster_times_in_journal(c, other, (const tr_tx_id *)id))
            continue;
        while (at < b->size && memcmp(tr__kv_value(b) + at, id, sizeof(tr_tx_id)) != 0)
            at += sizeof(tr_tx_id);
        if (at >= b->size)
            fail_msg("%s and %s have transactions in another order", one, other);
    }
}

static void check_transfer(cluster *c, const cluster_transfer *t)
{
    uint32_t in_from = cluster_times_in_journal(c, t->from, &t->begin.id);
    uint32_t in_to = cluster_times_in_journal(c, t->to, &t->begin.id);
    char text[TR_TX_ID_TEXT];
    tr__tx_id_format(&t->begin.id, text);
    if (in_from != in_to || in_from > 1)
        fail_msg("%s is %u times in %s and %u times in %s", text, in_from, t->from, in_to, t->to);
    if (t->is_settled && (t->settled == TR_TX_COMMITTED) != (in_from == 1))
        fail_msg("%s was told %s and is %u times in the journals", text,
                 t->settled == TR_TX_COMMITTED ? "committed" : "aborted", in_from);
}

void cluster_check(cluster *c, const char *const *paths, uint32_t count)
{
    int64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += cluster_balance(c, paths[i]);
        for (uint32_t j = 0; j < count; j++)
            if (i != j)
                check_order(c, paths[i], paths[j]);
    }
    assert_int_equal(sum, (int64_t)count * CLUSTER_START);
    for (uint32_t i = 0; i < c->count; i++)
        check_transfer(c, &c->transfers[i]);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_figures figures;
        tr__tx_figures_of(c->nodes[i].tx, &figures);
        assert_int_equal(0, figures.branches);
        assert_int_equal(0, figures.deciding);
        assert_int_equal(0, figures.calling);
    }
}
