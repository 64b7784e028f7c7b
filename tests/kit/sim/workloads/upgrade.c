/* Accounts whose code is replaced by that of the next version, when their node starts and while it runs: of each version all
 * amounts are ten times what they were, in finer units. So one that is migrated twice, or not, or that what was prepared
 * before is done to afterwards, has another balance. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/node.h"
#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_load.h"

#define NODES    3
#define VERSIONS 4
#define ACCOUNTS (2 * NODES)

TR_MESSAGE(upgrade_move, TR_WRITES, (i64, amount))
TR_MESSAGE(upgrade_look)
TR_MESSAGE(upgrade_seen, (i64, balance), (u32, version))

static struct {
    uint64_t run;            /* tr_sim.number */
    uint32_t version[NODES]; /* of the code that is installed there */
} now;

/* ---- accounts ------------------------------------------------------------------------------------------ */

static int64_t scale_of(uint32_t version)
{
    int64_t scale = 1;
    while (version-- > 1)
        scale *= 10;
    return scale;
}

static tr_err account(tr_txview *v, uint32_t version, const tr_msg *msg)
{
    int64_t scale = scale_of(version), balance = tr_view_i64(v, "balance", TX_START * scale);
    const upgrade_move *m = tr_match(msg, upgrade_move);
    if (balance % scale || balance / scale > TX_START * ACCOUNTS)
        tr_sim_fail(sim_now_running, "code of version %u found a balance of %" PRId64, version, balance);
    if (!m)
        return tr_view_reply(v, upgrade_seen, .balance = balance / scale, .version = version);
    balance += m->amount * scale;
    return balance < 0 ? tr_refuse(v, "there is not enough") : tr_view_put_i64(v, "balance", balance);
}

static tr_err each_amount(tr_txview *v, const char *key, tr_bytes value, void *context)
{
    (void)value, (void)context;
    return tr_view_put_i64(v, key, 10 * tr_view_i64(v, key, 0));
}

static tr_err migrate(tr_txview *v, uint32_t from)
{
    if (from < 1 || from >= VERSIONS)
        tr_sim_fail(sim_now_running, "version %u is to be migrated, which there never was", from);
    sim_reaches(sim_now_running, true, "what an account keeps is brought to another version");
    return tr_view_each(v, each_amount, NULL);
}

#define OF(version_)                                                          \
    static tr_err of_##version_(tr_txview *v, void *state, const tr_msg *msg) \
    {                                                                         \
        (void)state;                                                          \
        return account(v, version_, msg);                                     \
    }
OF(1)
OF(2)
OF(3)
OF(4)

#define DEF(version_)                                                                               \
    {                                                                                               \
        .name = "account", .transact = of_##version_, .state_version = version_, .migrate = migrate \
    }
static const tr_actor_def defs[VERSIONS] = {DEF(1), DEF(2), DEF(3), DEF(4)};

/* ---- callers ------------------------------------------------------------------------------------------- */

typedef struct move {
    uint32_t from, to;
    int64_t amount;
} move;

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    const move *m = arg;
    (void)self;
    TR_TRY(tr_tx_await(tx, tx_path(m->from), upgrade_move, .amount = -m->amount));
    return tr_tx_await(tx, tx_path(m->to), upgrade_move, .amount = m->amount);
}

static tr_err caller(tr_actor *self, void *arg)
{
    const tr_tx_opts opts = {.deadline_ns = TR_SECONDS(2), .lock_wait_ns = TR_MILLIS(500)};
    (void)arg;
    while (sim_now_running->faults_on && tr_sleep(self, TR_MILLIS(10 + tx_draw(self, 150))) == TR_OK) {
        uint32_t from = (uint32_t)tx_draw(self, ACCOUNTS), to = (uint32_t)tx_draw(self, ACCOUNTS - 1);
        move m = {.from = from, .to = to < from ? to : to + 1, .amount = (int64_t)tx_draw(self, 60)};
        tr_tx_outcome out = tr_tx_run(self, body, &m, &opts);
        tr_sometimes(self, out.status == TR_TX_COMMITTED, "a transaction over two accounts is committed");
    }
    return TR_OK;
}

static const tr_actor_def caller_def = {.name = "caller", .run = caller};

static void have(tr_actor *self, const tr_actor_def *def, const char *name)
{
    if (tr_addr_is_none(tr_whereis(self, name)))
        tr_spawn_with(self, def, NULL, &(tr_spawn_opts){.name = name, .place = TR_PLACE_SPREAD});
}

/* The next version is installed: who is there ends, and comes again with that. */
static void upgrade(tr_actor *self, uint32_t index)
{
    if (now.version[index] == VERSIONS)
        return;
    now.version[index]++;
    for (int i = 0; i < 2; i++) {
        tr_addr account = tr_whereis(self, i ? "b" : "a");
        if (!tr_addr_is_none(account))
            tr_stop(self, account, TR_EXIT_KILLED);
    }
}

/* V2 matters: what is in doubt from before holds the lock that a migration waits for. */
static void look_at_doubt(tr_actor *self, const char *name)
{
    const tr_node *node = tr_node_of(self);
    tr_addr at = tr_whereis(self, name);
    const tr_actor *actor = tr_addr_is_none(at) ? NULL : tr__slot(node, at.slot);
    const tr__tx *tx = node->transactions->tx;
    const tr__tx_branch *branch = tx && actor && actor->traits & TR__MIGRATING ? tx->branches : NULL;
    for (; branch; branch = branch->hh.next)
        sim_reaches(sim_now_running,
                    branch->state == TR__BRANCH_PREPARED && strcmp(branch->at->name, name) == 0,
                    "an account waits for what is in doubt before it is migrated");
}

static tr_err start(tr_actor *self, uint32_t index)
{
    if (now.run != sim_now_running->number) {
        now.run = sim_now_running->number;
        for (uint32_t i = 0; i < NODES; i++)
            now.version[i] = 1;
    } else if (sim_counts() && sim_now_running->faults_on && tx_draw(self, 2)) {
        upgrade(self, index);
    }
    do {
        look_at_doubt(self, "a");
        look_at_doubt(self, "b");
        bool on = sim_counts() && sim_now_running->faults_on;
        const tr_actor_def *def = &defs[now.version[index] - 1];
        have(self, def, "a");
        have(self, def, "b");
        for (int i = 0; on && i < 2; i++)
            have(self, &caller_def, i ? "caller" : "another");
        if (on && tx_draw(self, 20) == 0)
            upgrade(self, index);
    } while (tr_sleep(self, TR_MILLIS(400)) != TR_EKILLED);
    return TR_OK;
}

/* ---- what must hold ------------------------------------------------------------------------------------ */

static tr_err look(tr_actor *self, tr_tx *tx, void *arg)
{
    int64_t *sum = arg;
    const upgrade_seen *seen;
    *sum = 0;
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        TR_TRY(tr_tx_await_reply(tx, tx_path(i), upgrade_seen, &seen, upgrade_look));
        *sum += seen->balance;
        if (seen->version != now.version[i / 2])
            return tr_fail(self, TR_EAPP, "%s is of version %u", tx_path(i), seen->version);
    }
    return TR_OK;
}

static tr_err check(tr_actor *self)
{
    int64_t sum = 0;
    tr_tx_outcome out = tr_tx_run(self, look, &sum, NULL);
    if (out.status != TR_TX_COMMITTED)
        return tr_fail(self, TR_EAPP, "not all accounts can be looked at: %s", out.text);
    if (sum != TX_START * ACCOUNTS)
        return tr_fail(self, TR_EAPP, "there are %" PRId64 " in all accounts, and were %d", sum,
                       TX_START * ACCOUNTS);
    return TR_OK;
}

const tr_scenario sim_upgrade = {.size = sizeof(tr_scenario),
                                 .name = "upgrade",
                                 .nodes = NODES,
                                 .run_ns = TR_SECONDS(15),
                                 .data = true,
                                 .start = start,
                                 .check = check};
