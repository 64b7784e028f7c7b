/* Outcomes that are forgotten after a time: who asks later hears EXPIRED and never anything untrue, and what somebody still
 * needs is kept. Over logs in memory, as test_tx_protocol.c. */
#include "tests/kit/tx_pay.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

#define KEEP TR_SECONDS(20)

static cluster *setup_keeping(uint64_t seed)
{
    cluster *c = setup_cluster(seed);
    tr__tx_keep_outcomes(c->nodes[1].tx, KEEP);
    return c;
}

static void ask(cluster *c, cluster_transfer *t)
{
    cluster_resolve(c, t, 0);
    cluster_run(c, TR_SECONDS(6));
    assert_false(t->resolving);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void who_asks_in_time_hears_it_and_later_that_it_is_too_late(void **state)
{
    (void)state;
    cluster *c = setup_keeping(1);
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(10));
    ask(c, t);
    assert_int_equal(t->resolved, TR_TX_NONE);
    assert_settled(t, TR_TX_COMMITTED);
    pay(c, 0); /* somebody has to do something, or nobody looks */
    cluster_run(c, KEEP);
    ask(c, t);
    assert_int_equal(t->resolved, TR_TX_EXPIRED);
    assert_settled(t, TR_TX_COMMITTED); /* what was known stays true */
    assert_balances(c, 960, 1040);
    end(c);
}

/* Of what had no record at all nothing can be said then either. */
static void what_was_never_decided_is_too_late_as_well(void **state)
{
    (void)state;
    cluster *c = setup_keeping(2);
    cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_BEFORE_COMMIT);
    assert_true(cluster_start(c, 1));
    tr__tx_keep_outcomes(c->nodes[1].tx, KEEP);
    cluster_run(c, 2 * KEEP);
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[2].tx, &figures);
    assert_int_equal(figures.prepared, 0); /* who was in doubt was answered */
    ask(c, t);
    assert_int_equal(t->resolved, TR_TX_EXPIRED);
    assert_false(t->is_settled);
    assert_balances(c, 1000, 1000);
    end(c);
}

/* Each ticket that is settled is a record, and is remembered for a day: nobody has that made who may begin nothing. What is
 * decided it hears. */
static void who_has_no_right_settles_nothing(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    cluster_transfer *known = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    cluster_transfer *open = killed_at(c, 1, TR__TX_POINT_BEFORE_COMMIT);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(12));
    c->nodes[0].unwelcome = true;
    uint64_t records = figures_of(c, 1).records;
    ask(c, known);
    assert_settled(known, TR_TX_COMMITTED);
    cluster_resolve(c, open, 0);
    cluster_run(c, TR_SECONDS(12));
    assert_false(open->is_settled);
    assert_int_equal(open->resolved, TR_TX_UNREACHABLE);
    assert_int_equal(figures_of(c, 1).records, records);
    c->nodes[0].unwelcome = false;
    ask(c, open);
    assert_settled(open, TR_TX_ABORTED);
    end(c);
}

static void a_commit_that_not_all_have_heard_of_is_kept_whatever_its_age(void **state)
{
    (void)state;
    cluster *c = setup_keeping(10);
    cluster_transfer *t = pay(c, 40);
    c->nodes[1].held = true; /* COMMIT is appended, and stays on its way */
    cluster_run(c, TR_MILLIS(100));
    cluster_kill(c, 2, true);
    c->nodes[1].held = false;
    cluster_run(c, 2 * KEEP);
    assert_true(t->answered);
    assert_settled(t, TR_TX_COMMITTED);
    ask(c, t);
    assert_int_equal(t->resolved, TR_TX_NONE);
    assert_true(cluster_start(c, 2));
    cluster_run(c, TR_SECONDS(6));
    assert_balances(c, 960, 1040);
    ask(c, t); /* now all have heard */
    assert_int_equal(t->resolved, TR_TX_EXPIRED);
    end(c);
}

/* Who was told EXPIRED doesn't hear ABORTED later, nor does anybody, whatever the clock says then. */
static void a_clock_that_is_set_back_makes_nothing_young_again(void **state)
{
    (void)state;
    cluster *c = setup_keeping(30);
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(2));
    c->nodes[1].ahead_ms = 60000;
    cluster_run(c, TR_SECONDS(2));
    pay(c, 0);
    cluster_run(c, TR_SECONDS(2));
    c->nodes[1].ahead_ms = 0;
    ask(c, t);
    assert_int_equal(t->resolved, TR_TX_EXPIRED);
    cluster_kill(c, 1, false);
    assert_true(cluster_start(c, 1)); /* it is in the log, still: that is true as well */
    ask(c, t);
    assert_settled(t, TR_TX_COMMITTED);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_in_time_hears_it_and_later_that_it_is_too_late),
        cmocka_unit_test(what_was_never_decided_is_too_late_as_well),
        cmocka_unit_test(who_has_no_right_settles_nothing),
        cmocka_unit_test(a_commit_that_not_all_have_heard_of_is_kept_whatever_its_age),
        cmocka_unit_test(a_clock_that_is_set_back_makes_nothing_young_again),
    };
    return cmocka_run_group_tests_name("tx_outcomes", tests, NULL, NULL);
}
