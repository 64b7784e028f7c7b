/* Decisions in a store that all nodes share (actors/tx/decision_store.h): who decides, and dies, holds up nobody; and whoever
 * proposes what, all hear the same. The state machine over logs in memory, and a store that answers late
 * (tests/kit/tx_cluster_store.c). */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static const char *const all[] = {"n1/a", "n2/b", "n0/c"};

static void start(cluster *c, uint32_t node)
{
    if (!cluster_start(c, node))
        fail_msg("n%u doesn't start: %s", node, c->nodes[node].fatal.text);
}

static cluster *setup_cluster(uint64_t seed, bool shared)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    c->shared = shared;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        cluster_kill(c, i, false);
        start(c, i);
    }
    return c;
}

static void end(cluster *c)
{
    cluster_run(c, TR_SECONDS(15));
    cluster_check(c, all, 3);
    cluster_close(c);
    free(c);
}

/* n0 calls; n1 decides; all three write. */
static cluster_transfer *pay(cluster *c)
{
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, -60);
    cluster_op_add(t, "n2/b", true, 40);
    cluster_op_add(t, "n0/c", true, 20);
    return t;
}

static tr__tx_figures figures_of(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures;
}

static uint32_t in_doubt(cluster *c)
{
    return figures_of(c, 0).prepared + figures_of(c, 2).prepared;
}

/* ---- who decides is lost ------------------------------------------------------------------------------- */

static void who_decides_and_dies_holds_up_nobody(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        cluster *c = setup_cluster(1, shared);
        cluster_transfer *t = pay(c);
        c->nodes[1].kill_at = TR__TX_POINT_BEFORE_COMMIT; /* all have voted yes */
        cluster_run(c, TR_SECONDS(1));
        assert_null(c->nodes[1].tx);
        assert_int_equal(2, in_doubt(c));
        cluster_run(c, TR_SECONDS(9));
        assert_int_equal(shared ? 0 : 2, in_doubt(c)); /* n1 is still away */
        cluster_transfer *next = cluster_transfer_begin(c, 0, "n2/b", "n0/c", 7);
        cluster_run(c, TR_SECONDS(12));
        assert_int_equal(shared ? TR_TX_COMMITTED : TR_TX_ABORTED, next->outcome.status);
        start(c, 1);
        cluster_run(c, TR_SECONDS(10));
        assert_int_equal(CLUSTER_START, cluster_balance(c, "n1/a"));
        assert_int_equal(TR_TX_UNKNOWN, t->outcome.status);
        end(c);
    }
}

static void what_it_had_committed_others_hear_while_it_is_away(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2, true);
    cluster_transfer *t = pay(c);
    c->nodes[1].kill_at =
        TR__TX_POINT_COMMIT_FORCED; /* the store has said so, and nobody has heard it from n1 */
    cluster_run(c, TR_SECONDS(10));
    assert_null(c->nodes[1].tx);
    assert_int_equal(0, in_doubt(c));
    assert_int_equal(CLUSTER_START + 40, cluster_balance(c, "n2/b"));
    assert_true(t->ticket[0]);
    cluster_resolve(c, t, 2); /* nor need who asks wait for it */
    cluster_run(c, TR_SECONDS(1));
    assert_true(t->is_settled && t->settled == TR_TX_COMMITTED);
    start(c, 1); /* with no record of it: its own part was promised, and it asks as well */
    cluster_run(c, TR_SECONDS(10));
    assert_int_equal(CLUSTER_START - 60, cluster_balance(c, "n1/a"));
    end(c);
}

/* It hears that another has won, of what it never said. */
static void who_decides_too_late_has_lost(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3, true);
    cluster_transfer *t = pay(c);
    c->store_slow[1] = TR_SECONDS(6);
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(TR_TX_ABORTED, t->outcome.status);
    assert_string_equal("who was in doubt, or asked, had it aborted", t->outcome.text);
    assert_true(c->races[1] > 0);
    assert_int_equal(0, in_doubt(c) + figures_of(c, 1).prepared);
    c->store_slow[1] = 0;
    end(c);
}

static void while_the_store_is_away_nothing_is_decided(void **state)
{
    (void)state;
    cluster *c = setup_cluster(4, true);
    cluster_transfer *t = pay(c);
    c->store_down = true;
    cluster_run(c, TR_SECONDS(20));
    assert_false(t->is_settled);
    assert_int_equal(TR_TX_UNKNOWN, t->outcome.status);
    assert_int_equal(3, in_doubt(c) + figures_of(c, 1).prepared);
    c->store_down = false;
    cluster_run(c, TR_SECONDS(6));
    assert_int_equal(0, in_doubt(c) + figures_of(c, 1).prepared);
    cluster_resolve(c, t, 0);
    end(c);
    /* what it came to is D1's; that it is one for all, cluster_check's */
}

/* One that voted no: nobody can have proposed to commit it, and the store says so first. */
static void an_abort_is_proposed_as_well(void **state)
{
    (void)state;
    cluster *c = setup_cluster(5, true);
    cluster_transfer *t = pay(c);
    while (!figures_of(c, 1).deciding)
        assert_true(cluster_step(c));
    cluster_kill(c, 2, true);
    start(c, 2);
    cluster_run(c, TR_SECONDS(6));
    assert_int_equal(TR_TX_ABORTED, t->outcome.status);
    assert_int_equal(1, c->decided_count);
    assert_false(c->decided[0].committed);
    end(c);
}

static void what_is_on_one_node_is_committed_as_well(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6, true);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n0/c", "n0/c", 5);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) { /* and all of it comes back */
        cluster_kill(c, i, true);
        start(c, i);
    }
    cluster_run(c, TR_SECONDS(6));
    end(c);
}

/* ---- who proposes what, in any order ------------------------------------------------------------------- */

/* Nodes that decide die at any point, are slow, or come back: no two ever hear two things (cluster_check, T5). */
static void whoever_wins_all_hear_the_same(void **state)
{
    (void)state;
    uint32_t races[2] = {0}, committed = 0;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        cluster *c = setup_cluster(seed, true);
        c->emits = seed % 2;
        c->lost = seed % 3 ? 0 : 20;
        for (int i = 0; i < 6; i++) {
            uint32_t node = (uint32_t)tr__random_below(&c->random, CLUSTER_NODES);
            c->store_slow[node] =
                tr__random_below(&c->random, 2) * tr__random_below(&c->random, TR_SECONDS(6));
            if (c->nodes[0].tx)
                pay(c);
            if (c->nodes[node].tx)
                c->nodes[node].kill_at = (int)tr__random_below(&c->random, TR__TX_POINT_COUNT);
            cluster_run(c, tr__random_below(&c->random, TR_SECONDS(7)));
            for (uint32_t k = 0; k < CLUSTER_NODES && tr__random_below(&c->random, 2); k++)
                if (!c->nodes[k].tx)
                    start(c, k);
        }
        c->lost = 0;
        memset(c->store_slow, 0, sizeof(c->store_slow));
        for (uint32_t k = 0; k < CLUSTER_NODES; k++) {
            c->nodes[k].kill_at = -1;
            if (!c->nodes[k].tx)
                start(c, k);
        }
        cluster_run(c, TR_SECONDS(10));
        races[0] += c->races[0];
        races[1] += c->races[1];
        for (uint32_t i = 0; i < c->decided_count; i++)
            committed += c->decided[i].committed;
        end(c);
    }
    assert_true(races[0] > 100 && races[1] > 20 && committed > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_decides_and_dies_holds_up_nobody),
        cmocka_unit_test(what_it_had_committed_others_hear_while_it_is_away),
        cmocka_unit_test(who_decides_too_late_has_lost),
        cmocka_unit_test(while_the_store_is_away_nothing_is_decided),
        cmocka_unit_test(an_abort_is_proposed_as_well),
        cmocka_unit_test(what_is_on_one_node_is_committed_as_well),
        cmocka_unit_test(whoever_wins_all_hear_the_same),
    };
    return cmocka_run_group_tests_name("tx_decisions", tests, NULL, NULL);
}
