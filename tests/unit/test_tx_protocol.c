/* The protocol of transactions, as a state machine over logs in memory. The crash table's rows are in test_tx_rows.c, seeds
 * in test_tx_swarm.c. */
#include "tests/kit/tx_pay.h"

#include "base/mem.h"

/* ---- what a peer may not ask for ------------------------------------------------------------------------ */

static void a_call_larger_than_its_callers_node_lets_go_is_refused(void **state)
{
    (void)state;
    cluster *c = setup_cluster(1);
    cluster_run(c, TR_MILLIS(100)); /* all have greeted each other */
    const size_t size = TR_TX_REDO_MAX + 1;
    uint8_t *body = calloc(1, size);
    tr_tx_id id = tr__tx_id_make(1700000000000ull, 1, 1);
    tr__tx_frame call = {.kind = TR__TX_CALL,
                         .id = {&id, sizeof(id)},
                         .from = "n0",
                         .actor = "a",
                         .number = 1,
                         .remaining = TR_SECONDS(1),
                         .type = 1,
                         .writes = 1,
                         .text = "",
                         .body = {body, size}};
    tr__tx_receive(c->nodes[1].tx, &call);
    const cluster_message *answer = c->wires[1][0];
    assert_non_null(answer);
    assert_int_equal(answer->frame.kind, TR__TX_CALLED);
    assert_int_equal(answer->frame.reason, TR_TX_TOO_LARGE);
    assert_int_equal(c->nodes[1].executing_count, 0);
    free(body);
    end(c);
}

/* ---- without a fault ----------------------------------------------------------------------------------- */

static void a_transfer_commits_on_both_sides(void **state)
{
    (void)state;
    cluster *c = setup_cluster(1);
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
    assert_true(t->outcome.commit_ts > 0);
    assert_balances(c, 960, 1040);
    end(c);
}

/* Nothing but its deadline wakes a node that only calls others. */
static void a_caller_that_hears_nothing_gives_up_at_its_deadline(void **state)
{
    (void)state;
    cluster *c = setup_cluster(1);
    c->lost = 1; /* every frame */
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(tr__tx_due(c->nodes[0].tx, c->now_ns), t->begin.until_ns);
    cluster_run(c, t->begin.until_ns - c->now_ns - TR__TX_TICK_NS);
    assert_false(t->refused);
    cluster_run(c, 2 * TR__TX_TICK_NS);
    assert_true(t->refused);
    end(c);
}

static void a_refusal_leaves_no_effect_anywhere(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n2/b", "n1/a", 5000);
    cluster_transfer *late = cluster_transfer_begin(c, 0, "n1/a", "n2/b", -5000); /* refused by the second */
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_ABORTED, TR_TX_APP);
    assert_answer(late, TR_TX_ABORTED, TR_TX_APP);
    assert_string_equal(t->outcome.text, "not enough");
    assert_balances(c, 1000, 1000);
    end(c);
}

static void what_was_committed_survives_the_power_of_all(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    for (int i = 0; i < 20; i++)
        pay(c, 10);
    cluster_run(c, TR_SECONDS(1));
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        cluster_kill(c, i, true);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        assert_true(cluster_start(c, i));
    assert_int_equal(cluster_balance(c, "n1/a"), 800); /* the coordinator's: at once */
    cluster_run(c, TR_SECONDS(2));
    assert_balances(c, 800, 1200);
    end(c);
}

static void transactions_on_one_account_follow_each_other(void **state)
{
    (void)state;
    cluster *c = setup_cluster(4);
    cluster_transfer *t[10];
    for (int i = 0; i < 10; i++)
        t[i] = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10);
    cluster_run(c, TR_SECONDS(1));
    for (int i = 0; i < 10; i++)
        assert_answer(t[i], TR_TX_COMMITTED, TR_TX_NONE);
    assert_balances(c, 900, 1100);
    end(c);
}

static void a_participant_that_is_away_is_unreachable(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    cluster_kill(c, 2, false);
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_ABORTED, TR_TX_UNREACHABLE);
    assert_true(cluster_start(c, 2));
    assert_balances(c, 1000, 1000);
    end(c);
}

static void a_ticket_fixes_who_decides(void **state)
{
    (void)state;
    cluster *c = setup_cluster(8);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n2/b", "n1/a", 5);
    char early[TR_TX_TICKET_MAX], late[TR_TX_TICKET_MAX];
    while (t->stage < 1 || !t->ready)
        cluster_step(c);
    tr__tx_ticket(c->nodes[0].tx, &t->begin.id, early);
    assert_non_null(strstr(early, "@n2/"));
    cluster_run(c, TR_SECONDS(1));
    snprintf(late, sizeof(late), "%s", t->outcome.ticket);
    assert_string_equal(early, late);
    end(c);
}

/* Whatever fails for want of memory: it is told, or the node ends and recovers, and all promises hold. */
static void any_allocation_may_fail(void **state)
{
    (void)state;
    uint64_t nth = 0, seen = 1;
    while (seen >= nth) { /* until there is no n-th one */
        nth++;
        cluster *c = setup_cluster(7);
        cluster_run(c, TR_MILLIS(100));
        tr__alloc_fail_at(nth);
        cluster_transfer *t = pay(c, 40);
        cluster_run(c, TR_SECONDS(1));
        seen = tr__alloc_fail_at(0);
        assert_true(t->stage > 0);
        for (uint32_t i = 0; i < CLUSTER_NODES; i++)
            assert_true(c->nodes[i].tx || cluster_start(c, i));
        end(c);
    }
    assert_true(nth > 10);
}

/* ---- nodes that die ------------------------------------------------------------------------------------ */

static void a_vote_that_got_out_commits_without_its_voter(void **state)
{
    (void)state;
    cluster *c = setup_cluster(12);
    cluster_transfer *t = pay(c, 40);
    c->nodes[1].held = true; /* COMMIT is appended, and stays on its way */
    cluster_run(c, TR_MILLIS(100));
    cluster_kill(c, 2, true);
    c->nodes[1].held = false;
    cluster_run(c, TR_MILLIS(100));
    assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
    assert_true(cluster_start(c, 2));
    cluster_run(c, TR_SECONDS(1));
    assert_balances(c, 960, 1040);
    end(c);
}

static void who_promised_nothing_is_free_at_once_when_its_coordinator_dies(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cluster *c = setup_cluster(350 + seed);
        cluster_transfer *t = pay(c, 40);
        for (int i = 0; i < 100000 && t->stage < 3; i++)
            cluster_step(c);
        cluster_kill(c, 1, false); /* the commit has left, no PREPARE has come */
        cluster_run(c, TR_MILLIS(100));
        assert_answer(t, TR_TX_UNKNOWN, TR_TX_UNREACHABLE);
        tr__tx_figures figures;
        tr__tx_figures_of(c->nodes[2].tx, &figures);
        assert_int_equal(figures.branches, 0);
        assert_true(cluster_start(c, 1));
        cluster_resolve(c, t, 0);
        cluster_run(c, TR_SECONDS(1));
        assert_settled(t, TR_TX_ABORTED);
        end(c);
    }
}

static void a_clock_that_was_once_far_ahead_is_right_again_after_a_restart(void **state)
{
    (void)state;
    cluster *c = setup_cluster(15);
    c->nodes[2].ahead_ms = 24u * 3600u * 1000u;
    cluster_kill(c, 2, false);
    assert_true(cluster_start(c, 2));
    cluster_transfer *alone = cluster_begin(c, 2);
    cluster_op_add(alone, "n2/other", true, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_answer(alone, TR_TX_COMMITTED, TR_TX_NONE);
    cluster_kill(c, 2, false);
    c->nodes[2].ahead_ms = 0;
    assert_true(cluster_start(c, 2));
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
    end(c);
}

static void a_log_that_was_replaced_never_answers_aborted(void **state)
{
    (void)state;
    cluster *c = setup_cluster(13);
    cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_COMMIT_FORCED);
    memory_log_fini(&c->nodes[1].log);
    memory_log_init(&c->nodes[1].log, 77);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    cluster_resolve(c, t, 0);
    cluster_run(c, TR_SECONDS(6));
    assert_false(t->is_settled);
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[2].tx, &figures);
    assert_int_equal(figures.prepared, 1); /* locked, until an operator decides */
    cluster_close(c);
    free(c);
}

/* What it has prepared can only finish when it runs. */
static void a_node_whose_log_is_full_starts_again(void **state)
{
    (void)state;
    cluster *c = setup_cluster(31);
    cluster_transfer *t = pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    c->nodes[1].log.space = c->nodes[1].log.cache_size;
    for (int i = 0; i < 100 && t->outcome.reason != TR_TX_LOG_FULL; i++) {
        t = pay(c, 0);
        t->ops[0].amount = i % 2 ? 1 : -1;
        t->ops[1].amount = -t->ops[0].amount;
        cluster_run(c, TR_SECONDS(1));
    }
    assert_answer(t, TR_TX_ABORTED, TR_TX_LOG_FULL);
    for (int i = 0; i < 8; i++) { /* the last bytes: each who asks has an abort written, as long as it goes */
        cluster_resolve(c, &c->transfers[c->count - 1], 0);
        cluster_run(c, TR_SECONDS(6));
        pay(c, 1);
        cluster_run(c, TR_SECONDS(1));
    }
    cluster_kill(c, 1, false);
    assert_true(cluster_start(c, 1));
    c->nodes[1].log.space = 0;
    end(c);
}

/* It is asked now and then, so the first one after that goes through: nobody has to be refused to find out. */
static void a_disk_that_has_place_again_takes_the_first_transaction(void **state)
{
    (void)state;
    cluster *c = setup_cluster(32);
    cluster_partition(c, 1, 0); /* or what it hears of them is written, too */
    cluster_partition(c, 1, 2);
    c->nodes[1].log.space = c->nodes[1].log.cache_size;
    cluster_transfer *t = NULL;
    for (int i = 0; i < 200 && (!t || t->outcome.reason != TR_TX_LOG_FULL); i++) {
        t = cluster_begin(c, 1);
        cluster_op_add(t, "n1/a", true, 0);
        cluster_op_add(t, "n1/other", true, i % 2 ? 1 : -1);
        cluster_run(c, TR_MILLIS(200));
    }
    assert_answer(t, TR_TX_ABORTED, TR_TX_LOG_FULL);
    c->nodes[1].log.space = 0;
    cluster_run(c, TR_SECONDS(2));
    t = cluster_begin(c, 1);
    cluster_op_add(t, "n1/a", true, 0);
    cluster_op_add(t, "n1/other", true, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
    cluster_heal(c, 1, 0);
    cluster_heal(c, 1, 2);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_larger_than_its_callers_node_lets_go_is_refused),
        cmocka_unit_test(a_transfer_commits_on_both_sides),
        cmocka_unit_test(a_caller_that_hears_nothing_gives_up_at_its_deadline),
        cmocka_unit_test(a_refusal_leaves_no_effect_anywhere),
        cmocka_unit_test(what_was_committed_survives_the_power_of_all),
        cmocka_unit_test(transactions_on_one_account_follow_each_other),
        cmocka_unit_test(a_participant_that_is_away_is_unreachable),
        cmocka_unit_test(a_ticket_fixes_who_decides),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(a_vote_that_got_out_commits_without_its_voter),
        cmocka_unit_test(who_promised_nothing_is_free_at_once_when_its_coordinator_dies),
        cmocka_unit_test(a_log_that_was_replaced_never_answers_aborted),
        cmocka_unit_test(a_node_whose_log_is_full_starts_again),
        cmocka_unit_test(a_disk_that_has_place_again_takes_the_first_transaction),
        cmocka_unit_test(a_clock_that_was_once_far_ahead_is_right_again_after_a_restart),
    };
    return cmocka_run_group_tests_name("tx_protocol", tests, NULL, NULL);
}
