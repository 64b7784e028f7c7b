/* See tx_cluster.h. Own allocations are plain malloc: they aren't what a test makes fail. */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

#define WALL_MS 1700000000000ull

/* ---- the world of a node ------------------------------------------------------------------------------- */

/* CLUSTER_NODES: there is no such node. */
static uint32_t index_of(const char *node)
{
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        if (node[0] == 'n' && node[1] == (char)('0' + i) && !node[2])
            return i;
    return CLUSTER_NODES;
}

static uint64_t now(void *context)
{
    return ((cluster_node *)context)->cluster->now_ns;
}

static uint64_t wall_ms(void *context)
{
    return WALL_MS + now(context) / 1000000u + ((cluster_node *)context)->ahead_ms;
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

static bool draws(cluster *c, uint32_t one_of)
{
    return one_of && tr__random_below(&c->random, one_of) == 0;
}

/* At any time within the next seconds, as long as both are who they are now. */
static void send_again(cluster *c, const tr__tx_frame *frame, uint32_t from, uint32_t to)
{
    cluster_message *m = message_of(frame);
    m->from = from;
    m->to = to;
    m->from_life = c->nodes[from].id;
    m->to_life = c->nodes[to].id;
    m->due_ns = c->now_ns +
                (draws(c, 2) ? 0 : tr__random_below(&c->random, draws(c, 2) ? TR_MILLIS(50) : TR_SECONDS(5)));
    m->next = c->late;
    c->late = m;
}

static tr_err send(void *context, const char *node, tr__tx_frame *frame, tr_error *error)
{
    cluster_node *n = context;
    uint32_t from = index_of(n->name), to = index_of(node);
    if (to == CLUSTER_NODES)
        return tr__fail(error, TR_ENOCONN, "there is no node %s", node);
    if (frame->kind == TR__TX_ASK && n->cluster->nodes[to].earlier)
        return tr__fail(error, TR_EVERSION, "node %s is an earlier one", node);
    if (n->die || n->cluster->unheard[from][to])
        return TR_OK; /* it is dead already, or writes into a dead connection: it goes nowhere */
    if (!n->cluster->nodes[to].tx || n->cluster->cut[from][to]) {
        if (error)
            snprintf(error->text, sizeof(error->text), "node %s isn't connected", node);
        return TR_ENOCONN;
    }
    if (draws(n->cluster, n->cluster->lost))
        return TR_OK; /* the receiver had no place for it */
    if (draws(n->cluster, n->cluster->twice))
        send_again(n->cluster, frame, from, to);
    cluster_message **at = &n->cluster->wires[from][to];
    while (*at)
        at = &(*at)->next;
    *at = message_of(frame);
    return TR_OK;
}

static bool may_begin(void *context, const char *node, bool asks)
{
    const cluster_node *n = context;
    uint32_t from = index_of(node);
    (void)asks;
    return from == CLUSTER_NODES || from == index_of(n->name) || !n->cluster->nodes[from].unwelcome;
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

static void alarm_heard(void *context, const tr__tx_doubt *doubt)
{
    cluster_node *n = context;
    n->alarms++;
    n->alarm = *doubt;
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
    unsigned stage = t->refused ? t->op_count : t->stage; /* a refused one is committed, which says why not */
    t->ready = false;
    t->stage = stage + 1;
    if (stage < t->op_count) {
        const cluster_op *op = &t->ops[stage];
        tr__tx_frame call = {.type = op->writes ? CLUSTER_MOVE : CLUSTER_READ,
                             .writes = op->writes,
                             .body = {&op->amount, sizeof(op->amount)}};
        tr__tx_call(tx, &t->begin, op->path, &call, &t->token);
    } else {
        tr__tx_ticket(tx, &t->begin.id, t->ticket);
        tr__tx_commit(tx, &t->begin, &t->token);
    }
    t->begin.calls++;
}

static void called(void *context, void *token, const tr__tx_frame *answer)
{
    cluster_transfer *t = ((cluster_token *)token)->transfer;
    if (((cluster_node *)context)->die || !caller_lives(t))
        return;
    cluster_op *op = &t->ops[t->stage - 1];
    if (!answer->reason && !op->writes) {
        assert_int_equal(answer->body.size, sizeof(op->seen));
        memcpy(&op->seen, answer->body.data, sizeof(op->seen));
    }
    t->refused = t->refused || answer->reason;
    t->ready = true;
    if (!t->refused && tr__random_below(&t->cluster->random, 2))
        tr__tx_ticket(t->cluster->nodes[t->node].tx, &t->begin.id, t->ticket);
}

static void settle(cluster_transfer *t, const tr_tx_done *d)
{
    if (d->status == TR_TX_UNKNOWN)
        return;
    if (t->is_settled)
        assert_int_equal(t->settled, d->status); /* resolved twice, or answered: the same each time */
    if (t->commit_ts)
        assert_int_equal(t->commit_ts, d->commit_ts);
    t->settled = d->status;
    t->is_settled = true;
    t->commit_ts = d->commit_ts;
    if (d->status == TR_TX_COMMITTED && !t->told_at)
        t->told_at = ++t->cluster->moment;
}

static void done(void *context, void *token, const tr_tx_done *d)
{
    const cluster_token *of = token;
    cluster_transfer *t = of->transfer;
    if (((cluster_node *)context)->die)
        return;
    if (of->resolves) {
        t->resolving = false;
        t->resolved = (tr_tx_reason)d->reason;
    } else {
        if (!caller_lives(t))
            return;
        t->answered = true;
        t->outcome = (tr_tx_outcome){.status = d->status, .reason = d->reason, .commit_ts = d->commit_ts};
        snprintf(t->outcome.ticket, sizeof(t->outcome.ticket), "%s", d->ticket);
        snprintf(t->outcome.text, sizeof(t->outcome.text), "%s", d->text);
        t->priority = d->priority.value;
        if (d->ticket[0])
            snprintf(t->ticket, sizeof(t->ticket), "%s", d->ticket);
    }
    settle(t, d);
}

static const tr__tx_io io = {.now = now,
                             .wall_ms = wall_ms,
                             .random = chance,
                             .may_begin = may_begin,
                             .send = send,
                             .execute = execute,
                             .called = called,
                             .done = done,
                             .event = event,
                             .point = point,
                             .alarm = alarm_heard,
                             .fatal = fatal};

cluster_transfer *cluster_begin(cluster *c, uint32_t node)
{
    assert_true(c->count < CLUSTER_TRANSFERS && c->nodes[node].tx);
    cluster_transfer *t = &c->transfers[c->count++];
    *t = (cluster_transfer){.cluster = c,
                            .node = node,
                            .life = c->nodes[node].id,
                            .token = {t, false},
                            .resolve_token = {t, true},
                            .begun_at = ++c->moment};
    t->begin.id =
        tr__tx_id_make(wall_ms(&c->nodes[node]), tr__random_next(&c->random), tr__random_next(&c->random));
    t->begin.until_ns = c->now_ns + TR_SECONDS(10);
    t->begin.lock_wait_ns = TR_SECONDS(2);
    t->ready = true;
    return t;
}

cluster_transfer *cluster_again(cluster *c, const cluster_transfer *before)
{
    assert_true(before->answered && before->priority);
    cluster_transfer *t = cluster_begin(c, before->node);
    t->op_count = before->op_count;
    for (uint32_t i = 0; i < t->op_count; i++) {
        t->ops[i] = before->ops[i];
        t->ops[i].seen = 0;
    }
    t->begin.priority = before->priority;
    return t;
}

void cluster_op_add(cluster_transfer *t, const char *path, bool writes, int64_t amount)
{
    assert_true(t->op_count < CLUSTER_OPS);
    cluster_op *op = &t->ops[t->op_count++];
    snprintf(op->path, sizeof(op->path), "%s", path);
    op->writes = writes;
    op->amount = amount;
}

cluster_transfer *cluster_transfer_begin(cluster *c, uint32_t node, const char *from, const char *to,
                                         int64_t amount)
{
    cluster_transfer *t = cluster_begin(c, node);
    cluster_op_add(t, from, true, -amount);
    cluster_op_add(t, to, true, amount);
    return t;
}

void cluster_resolve(cluster *c, cluster_transfer *t, uint32_t node)
{
    assert_true(c->nodes[node].tx && t->ticket[0] && !t->resolving);
    t->resolving = true;
    t->resolver = node;
    t->resolver_life = c->nodes[node].id;
    tr__tx_resolve(c->nodes[node].tx, t->ticket, c->now_ns + TR_SECONDS(5), &t->resolve_token);
}

/* ---- connections --------------------------------------------------------------------------------------- */

static void wire_clear(cluster *c, uint32_t from, uint32_t to)
{
    while (c->wires[from][to]) {
        cluster_message *m = c->wires[from][to];
        c->wires[from][to] = m->next;
        message_free(m);
    }
}

static void hear_down(cluster *c, uint32_t a, uint32_t b)
{
    c->unheard[a][b] = false;
    if (c->nodes[a].tx)
        tr__tx_node_down(c->nodes[a].tx, c->nodes[b].name);
}

static void disconnect(cluster *c, uint32_t a, uint32_t b)
{
    wire_clear(c, a, b);
    wire_clear(c, b, a);
    c->unheard[a][b] = c->nodes[a].tx != NULL;
    c->unheard[b][a] = c->nodes[b].tx != NULL;
    if (c->notices_late)
        return;
    hear_down(c, a, b);
    hear_down(c, b, a);
}

static void connect(cluster *c, uint32_t a, uint32_t b)
{
    if (!c->nodes[a].tx || !c->nodes[b].tx || c->cut[a][b])
        return;
    if (c->unheard[a][b])
        hear_down(c, a, b);
    if (c->unheard[b][a])
        hear_down(c, b, a);
    tr__tx_node_up(c->nodes[a].tx, c->nodes[b].name);
    tr__tx_node_up(c->nodes[b].tx, c->nodes[a].name);
}

/* One side of a broken connection notices. */
static bool notice(cluster *c)
{
    uint64_t pairs = CLUSTER_NODES * CLUSTER_NODES, first = tr__random_below(&c->random, pairs);
    for (uint64_t k = 0; k < pairs; k++) {
        uint32_t a = (uint32_t)((first + k) % CLUSTER_NODES),
                 b = (uint32_t)((first + k) % pairs / CLUSTER_NODES);
        if (c->unheard[a][b]) {
            hear_down(c, a, b);
            return true;
        }
    }
    return false;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

bool cluster_start(cluster *c, uint32_t node)
{
    const tr__log_options small = {.reserve = c->reserve, .step = 1024, .segment = c->segment, .closed = 1};
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
        if (i != node)
            connect(c, i, node);
    return true;
}

void cluster_kill(cluster *c, uint32_t node, bool power_cut)
{
    cluster_node *n = &c->nodes[node];
    tr__tx_close(n->tx);
    n->tx = NULL;
    n->held = false;
    if (power_cut)
        memory_log_power_cut(&n->log);
    wire_clear(c, node, node);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        c->unheard[node][i] = false;
        if (i != node && !c->cut[i][node])
            disconnect(c, i, node);
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
    disconnect(c, a, b);
}

void cluster_heal(cluster *c, uint32_t a, uint32_t b)
{
    if (!c->cut[a][b])
        return;
    c->cut[a][b] = c->cut[b][a] = false;
    connect(c, a, b);
}

void cluster_open(cluster *c, uint64_t seed)
{
    memset(c, 0, sizeof(*c));
    tr__random_init(&c->random, seed);
    c->now_ns = TR_SECONDS(1);
    c->reserve = 4 * 1024;
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
    while (c->late) {
        cluster_message *m = c->late;
        c->late = m->next;
        message_free(m);
    }
}

/* ---- steps --------------------------------------------------------------------------------------------- */

static void die_if_killed(cluster *c)
{
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        if (c->nodes[i].tx && c->nodes[i].die)
            cluster_kill(c, i, tr__random_below(&c->random, 2));
}

/* One whose time has come; it is forgotten if one of the two isn't who it was. */
static bool deliver_late(cluster *c)
{
    cluster_message **at = &c->late;
    while (*at && (*at)->due_ns > c->now_ns)
        at = &(*at)->next;
    cluster_message *m = *at;
    if (!m)
        return false;
    *at = m->next;
    const cluster_node *from = &c->nodes[m->from], *to = &c->nodes[m->to];
    if (from->tx && to->tx && from->id == m->from_life && to->id == m->to_life && !c->cut[m->from][m->to])
        tr__tx_receive(to->tx, &m->frame);
    message_free(m);
    return true;
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
    cluster_execute(n, branch);
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
    if (which == 1 && !n->held && n->log.snap.step) {
        if (!memory_snap_step(&n->log.snap))
            tr__tx_poll(n->tx);
        return true;
    }
    if (which < 2 || !c->wires[which - 2][i] || c->clogged[which - 2][i])
        return false;
    deliver(c, (uint32_t)which - 2, i);
    return true;
}

bool cluster_step(cluster *c)
{
    uint64_t kinds = CLUSTER_NODES * (2 + CLUSTER_NODES), first = tr__random_below(&c->random, kinds);
    bool stepped =
        (c->late && draws(c, 4) && deliver_late(c)) || (c->notices_late && draws(c, 256) && notice(c));
    for (uint64_t k = 0; k < kinds && !stepped; k++) {
        uint64_t at = (first + k) % kinds;
        stepped = node_step(c, (uint32_t)(at % CLUSTER_NODES), at / CLUSTER_NODES);
    }
    stepped = stepped || deliver_late(c) || notice(c);
    die_if_killed(c);
    return stepped;
}

/* As a manager does: nobody ticks before it says that it is due. */
static void tick(cluster *c)
{
    uint64_t before = c->now_ns;
    c->now_ns += TR__TX_TICK_NS;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        if (c->nodes[i].tx) {
            bool due = !tr__tx_waits(c->nodes[i].tx) || tr__tx_due(c->nodes[i].tx, before) <= c->now_ns;
            tr__tx_poll(c->nodes[i].tx);
            if (due)
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
