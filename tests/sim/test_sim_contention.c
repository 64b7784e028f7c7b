/* Many who want the same participant at once, on simulated nodes: wound-wait leaves no deadlock, no livelock, and nobody
 * behind. By tr_tx_run, as programs do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/remote/peer.h"
#include "actors/tx/manager.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"
#include "tests/kit/sim/workloads/tx_history.h"
#include "transport/link.h"

#define OTHERS  4   /* participants beside the hot one, on n1 */
#define CLIENTS 160 /* at most, on all three nodes */

/* What one run has, and what came of it. */
static struct {
    uint32_t clients; /* in all */
    bool in_order;    /* the hot one is always first */
    uint32_t left;    /* that still run */
    uint64_t committed;
    uint64_t attempts;
    uint64_t ended[TR_TX_REASON_COUNT]; /* not committed, by tr_tx_run's last word */
    uint64_t longest_ns;
    uint32_t served;                        /* clients that committed at all */
    bool says_wounded[3], says_overload[3]; /* nodes, in their lists */
    uint64_t refused;                       /* frames */
} load;
static uint32_t numbers[CLIENTS];

TR_MESSAGE(hot_add, TR_WRITES, (i64, amount))

static tr_err add(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    const hot_add *a = tr_match(msg, hot_add);
    return a ? tr_view_put_i64(v, "sum", tr_view_i64(v, "sum", 0) + a->amount) : TR_OK;
}
static const tr_actor_def participant_def = {.name = "participant", .transact = add};

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    const uint32_t *number = arg;
    bool first = load.in_order || *number % 2;
    char other[8];
    snprintf(other, sizeof(other), "n1/p%u", *number / 2 % OTHERS);
    (void)self;
    load.attempts++;
    TR_TRY(tr_tx_await(tx, first ? "n0/hot" : other, hot_add, .amount = 1));
    return tr_tx_await(tx, first ? other : "n0/hot", hot_add, .amount = -1);
}

static tr_err client(tr_actor *self, void *arg)
{
    uint32_t number = *(const uint32_t *)arg;
    uint64_t mine = 0;
    while (sim_now_running->faults_on) {
        uint64_t began = sim_now_running->now;
        tr_tx_outcome out = tr_tx_run(self, body, &number, NULL);
        uint64_t took = sim_now_running->now - began;
        if (!sim_now_running->faults_on)
            break;
        load.longest_ns = took > load.longest_ns ? took : load.longest_ns;
        load.committed += out.status == TR_TX_COMMITTED;
        load.ended[out.reason]++;
        mine += out.status == TR_TX_COMMITTED;
        if (out.status != TR_TX_COMMITTED && out.reason != TR_TX_WOUNDED)
            tr_sim_fail(sim_now_running, "client %u: %s", number, out.text);
    }
    load.served += mine > 0;
    load.left--;
    return TR_OK;
}

static const tr_actor_def client_def = {.name = "client", .run = client, .stack_size = 128 * 1024};

static tr_err start(tr_actor *self, uint32_t index)
{
    if (index == 0)
        tr_spawn_with(self, &participant_def, NULL, &(tr_spawn_opts){.name = "hot"});
    for (uint32_t i = 0; index == 1 && i < OTHERS; i++)
        tr_spawn_with(self, &participant_def, NULL, &(tr_spawn_opts){.name = tr_fmt(self, "p%u", i)});
    TR_TRY(tr_await_msg(self, tr_lookup(self, "n0/hot", TR_SECONDS(5)), NULL));
    TR_TRY(tr_await_msg(self, tr_lookup(self, "n1/p0", TR_SECONDS(5)), NULL));
    for (uint32_t i = index; i < load.clients; i += 3) {
        numbers[i] = i;
        tr_spawn_with(self, &client_def, &numbers[i], NULL);
        load.left++;
    }
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

static tr_err check(tr_actor *self)
{
    for (int i = 0; i < 200 && load.left; i++)
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    tx_check_locks();
    return load.left ? tr_fail(self, TR_EAPP, "%u clients still wait", load.left) : TR_OK;
}

/* What one node remembers of transactions. */
static char *listing(uint32_t node)
{
    const tr_node *n = sim_now_running->nodes[node].node;
    const tr__transactions *t = n->transactions;
    return tr__trail_json(&t->trail, n->name, t->tx, 0);
}

static tr_err check_earlier(tr_actor *self)
{
    TR_TRY(check(self));
    for (uint32_t node = 0; node < 3; node++) {
        char *json = listing(node);
        load.says_wounded[node] = strstr(json, "\"reason\":\"wounded\"") != NULL;
        load.says_overload[node] = strstr(json, "\"reason\":\"overload\"") != NULL;
        load.refused += sim_now_running->nodes[node].node->transactions->refused;
        free(json);
    }
    return TR_OK;
}

static const tr_scenario contention = {.size = sizeof(tr_scenario),
                                       .name = "contention",
                                       .nodes = 3,
                                       .run_ns = TR_SECONDS(3),
                                       .data = true,
                                       .start = start,
                                       .check = check};
static const tr_scenario with_an_earlier_one = {.size = sizeof(tr_scenario),
                                                .name = "contention-earlier",
                                                .nodes = 3,
                                                .run_ns = TR_SECONDS(1),
                                                .data = true,
                                                .start = start,
                                                .check = check_earlier};

static void run_with(const tr_scenario *scenario, uint64_t seed, uint32_t clients, bool in_order)
{
    tr_error error = {.code = TR_OK};
    tr_sim_result result;
    memset(&load, 0, sizeof(load));
    load.clients = clients;
    load.in_order = in_order;
    tr_sim_destroy(sim_now_running);
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = scenario}, &error);
    if (!sim)
        fail_msg("%s", error.text);
    if (scenario == &with_an_earlier_one)
        tr_sim_node(sim, 2)->remote->endpoint->config.self.capabilities &= ~TR__CAPABILITY_WOUND;
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    tr_sim_destroy(sim);
    if (result.failed)
        fail_msg("%u clients, seed %llu: %s", clients, (unsigned long long)seed, result.what);
    print_message("%3u clients, %s: %llu committed, %llu attempts, %llu given up, the longest %llu ms\n",
                  clients, in_order ? "in order" : "in both orders", (unsigned long long)load.committed,
                  (unsigned long long)load.attempts, (unsigned long long)load.ended[TR_TX_WOUNDED],
                  (unsigned long long)load.longest_ns / 1000000u);
}

static void run(uint64_t seed, uint32_t clients, bool in_order)
{
    run_with(&contention, seed, clients, in_order);
}

static void no_deadlock_waits_for_the_lock_wait(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run(seed, 12, false);
        assert_int_equal(0, load.ended[TR_TX_LOCK_TIMEOUT]);
        assert_int_equal(0, load.ended[TR_TX_DEADLINE]);
        assert_true(load.attempts > load.committed); /* they did meet */
        assert_true(load.longest_ns < TR_SECONDS(2));
        assert_int_equal(12, load.served);
    }
}

/* Beyond what the hot one can do, more load costs some of it, and not most. */
static void ten_times_the_load_leaves_most_of_the_goodput(void **state)
{
    (void)state;
    for (int in_order = 0; in_order < 2; in_order++) {
        uint64_t peak = 0;
        uint32_t at = 0;
        for (uint32_t clients = 1; clients <= 16; clients *= 2) {
            run(1, clients, in_order);
            if (load.committed > peak) {
                peak = load.committed;
                at = clients;
            }
        }
        run(1, at * 10, in_order);
        if (load.committed * 10 < peak * 7)
            fail_msg("%llu with %u clients, and %llu with ten times as many", (unsigned long long)peak, at,
                     (unsigned long long)load.committed);
        assert_int_equal(at * 10, load.served);
    }
    run(2, CLIENTS, false);
    assert_int_equal(CLIENTS, load.served);
}

/* It would drop a frame with a reason that it doesn't know. */
static void an_earlier_node_hears_overload_where_others_hear_wounded(void **state)
{
    (void)state;
    run_with(&with_an_earlier_one, 3, 12, false);
    assert_int_equal(12, load.served);
    assert_int_equal(0, load.refused);
    assert_true(load.says_wounded[0] && load.says_wounded[1]);
    assert_true(load.says_overload[2] && !load.says_wounded[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_deadlock_waits_for_the_lock_wait),
        cmocka_unit_test(an_earlier_node_hears_overload_where_others_hear_wounded),
        cmocka_unit_test(ten_times_the_load_leaves_most_of_the_goodput),
    };
    return cmocka_run_group_tests_name("sim_contention", tests, NULL, NULL);
}
