/* A log that isn't what it was: put back to an older copy of itself. Its node finds out by what others remember, and does
 * nothing new with it: row 14 of the crash table. Over logs in memory, as test_tx_protocol.c. */
#include "actors/tx/internal.h"
#include "tests/kit/tx_pay.h"

/* ---- copies --------------------------------------------------------------------------------------------- */

/* As its files are now. */
static memory_copy copy_of(cluster *c, uint32_t node)
{
    memory_copy copy = {0};
    memory_log_save(&c->nodes[node].log, &copy);
    return copy;
}

static void put_back(cluster *c, uint32_t node, memory_copy *copy)
{
    memory_log_put_back(&c->nodes[node].log, copy);
    memory_copy_free(copy);
}

static memory_copy copy_while_down(cluster *c, uint32_t node)
{
    cluster_kill(c, node, false);
    memory_copy copy = copy_of(c, node);
    assert_true(cluster_start(c, node));
    return copy;
}

static uint32_t in_doubt(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures.prepared;
}

static void assert_lost(cluster *c)
{
    cluster_transfer *t = pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_ABORTED, TR_TX_LOG_LOST);
    assert_non_null(strstr(t->outcome.text, "node n1 has an older copy of its log"));
    assert_non_null(strstr(t->outcome.text, "Put the newest copy back"));
}

/* What it had committed isn't in the copy: nobody hears aborted, nothing is unlocked, nothing new is begun; and all is well
 * again with the newest copy. */
static void row_14_coordinators_log_is_put_back_to_an_older_copy(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cluster *c = setup_cluster(600 + seed);
        cluster_run(c, TR_SECONDS(1));
        memory_copy older = copy_while_down(c, 1);
        cluster_run(c, TR_SECONDS(1)); /* it speaks with the others */
        cluster_transfer *t = killed_at(c, 1, seed % 2 ? TR__TX_POINT_ANSWERED : TR__TX_POINT_COMMIT_FORCED);
        memory_copy newest = copy_of(c, 1);
        put_back(c, 1, &older);
        assert_true(cluster_start(c, 1));
        cluster_run(c, TR_SECONDS(1));
        cluster_resolve(c, t, 0);
        cluster_run(c, TR_SECONDS(6));
        assert_false(t->resolving);
        assert_true(!t->is_settled || t->settled == TR_TX_COMMITTED);
        assert_int_equal(in_doubt(c, 2), 1);
        assert_lost(c);
        cluster_kill(c, 1, seed % 3 == 0); /* it knows so by itself now: nobody can be asked */
        cluster_partition(c, 1, 2);
        cluster_partition(c, 1, 0);
        assert_true(cluster_start(c, 1));
        cluster_transfer *alone = cluster_begin(c, 1);
        cluster_op_add(alone, "n1/a", true, 1);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(alone, TR_TX_ABORTED, TR_TX_LOG_LOST);
        cluster_kill(c, 1, false);
        cluster_heal(c, 1, 2);
        cluster_heal(c, 1, 0);
        put_back(c, 1, &newest);
        assert_true(cluster_start(c, 1));
        cluster_resolve(c, t, 0);
        cluster_run(c, TR_SECONDS(6));
        assert_settled(t, TR_TX_COMMITTED);
        cluster_transfer *next = pay(c, 1); /* nobody remembers anything of the older one's life */
        cluster_run(c, TR_SECONDS(1));
        assert_answer(next, TR_TX_COMMITTED, TR_TX_NONE);
        assert_balances(c, 959, 1041);
        end(c);
    }
}

/* More records than were remembered, and a start between: but others. */
static void grows_again(bool copied_while_it_ran)
{
    cluster *c = setup_cluster(41);
    cluster_run(c, TR_SECONDS(1));
    memory_copy older = copied_while_it_ran ? copy_of(c, 1) : copy_while_down(c, 1);
    pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    cluster_kill(c, 1, false);
    put_back(c, 1, &older);
    cluster_partition(c, 1, 2);
    cluster_partition(c, 1, 0);
    for (int life = 0; life < 2; life++) {
        assert_true(cluster_start(c, 1));
        for (int i = 0; i < 20; i++)
            cluster_op_add(cluster_begin(c, 1), "n1/other", true, 0);
        cluster_run(c, TR_SECONDS(1));
        cluster_kill(c, 1, false);
    }
    cluster_heal(c, 1, 2);
    cluster_heal(c, 1, 0);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    assert_lost(c);
    cluster_close(c);
    free(c);
}

static void an_older_copy_that_has_grown_again_is_noticed(void **state)
{
    (void)state;
    grows_again(false); /* it knows nothing of the life that is remembered, */
    grows_again(true);  /* or a shorter one */
}

/* It is in their own logs. */
static void who_was_started_again_remembers_the_others_logs(void **state)
{
    (void)state;
    cluster *c = setup_cluster(42);
    cluster_run(c, TR_SECONDS(1));
    memory_copy older = copy_while_down(c, 1);
    pay(c, 1);
    cluster_run(c, TR_SECONDS(3));
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        cluster_kill(c, i, true);
    put_back(c, 1, &older);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        assert_true(cluster_start(c, i));
    cluster_run(c, TR_SECONDS(1));
    assert_lost(c);
    cluster_close(c);
    free(c);
}

/* Whatever was cut off by a loss of power, or had no room: nobody was told of it. */
static void a_log_that_is_what_it_was_is_not_taken_for_an_older_copy(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 60; seed++) {
        cluster *c = setup_cluster(700 + seed);
        for (int round = 0; round < 6; round++) {
            uint32_t node = (uint32_t)((seed + (uint64_t)round) % CLUSTER_NODES);
            for (int i = 0; i < 3; i++)
                pay(c, 1);
            for (uint64_t i = 0; i < 20 + 17 * seed; i++)
                cluster_step(c);
            if (seed % 4 == 0)
                c->nodes[node].log.space = c->nodes[node].log.cache_size;
            cluster_kill(c, node, round % 3);
            assert_true(cluster_start(c, node));
            c->nodes[node].log.space = 0;
        }
        cluster_run(c, TR_SECONDS(3));
        cluster_transfer *t = pay(c, 1);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
        end(c);
    }
}

static void read_both(cluster *c)
{
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", false, 0);
    cluster_op_add(t, "n2/b", false, 0);
    cluster_run(c, TR_SECONDS(2));
    assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
}

/* Nothing about logs alone is written again and again: two that do nothing else leave each other in peace. */
static void logs_do_not_make_each_other_grow(void **state)
{
    (void)state;
    cluster *c = setup_cluster(43);
    pay(c, 1);
    cluster_run(c, TR_SECONDS(5));
    read_both(c);
    cluster_run(c, TR_SECONDS(5));
    unsigned batches = c->nodes[0].log.batches + c->nodes[1].log.batches + c->nodes[2].log.batches;
    for (int i = 0; i < 10; i++)
        read_both(c);
    assert_int_equal(c->nodes[0].log.batches + c->nodes[1].log.batches + c->nodes[2].log.batches, batches);
    end(c);
}

/* ---- what is remembered --------------------------------------------------------------------------------- */

static uint32_t remembered(cluster *c, uint32_t node, const char *of)
{
    uint32_t count = 0;
    for (const tr__tx_memory *m = c->nodes[node].tx->memories; m; m = m->hh.next)
        count += strcmp(m->key.node, of) == 0;
    return count;
}

static bool remembers(cluster *c, uint32_t node, const uint8_t *log)
{
    for (const tr__tx_memory *m = c->nodes[node].tx->memories; m; m = m->hh.next)
        if (memcmp(m->key.log, log, TR__LOG_ID_BYTES) == 0)
            return true;
    return false;
}

/* A node that begins with an empty directory each time leaves the others room to remember the rest. */
static void of_a_node_the_last_eight_logs_are_remembered(void **state)
{
    (void)state;
    cluster *c = setup_cluster(55);
    uint8_t logs[12][TR__LOG_ID_BYTES];
    for (int i = 0; i < 12; i++) {
        cluster_kill(c, 2, false);
        memory_log_set(&c->nodes[2].log, NULL, 0);
        c->nodes[2].log.published = false;
        assert_true(cluster_start(c, 2));
        cluster_run(c, TR_MILLIS(2500)); /* it is written */
        memcpy(logs[i], tr__tx_log_id(c->nodes[2].tx), TR__LOG_ID_BYTES);
    }
    for (int life = 0; life < 2; life++) {
        assert_int_equal(remembered(c, 0, "n2"), 8);
        assert_int_equal(remembered(c, 0, "n1"), 1);
        for (int i = 0; i < 12; i++)
            assert_int_equal(remembers(c, 0, logs[i]), i >= 4);
        cluster_kill(c, 0, false);
        assert_true(cluster_start(c, 0));
    }
    cluster_close(c);
    free(c);
}

/* ---- by hand -------------------------------------------------------------------------------------------- */

static void decide_by_hand(cluster *c, uint32_t node, cluster_transfer *t, bool commits)
{
    t->resolving = true;
    t->resolver = node;
    tr__tx_decide_by_hand(c->nodes[node].tx, t->ticket, commits, &t->resolve_token);
    cluster_run(c, TR_SECONDS(6));
    assert_false(t->resolving);
}

/* n1 has an older copy; what it had decided is in doubt on n2. */
static cluster_transfer *lose(cluster *c)
{
    pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    memory_copy older = copy_while_down(c, 1);
    cluster_run(c, TR_SECONDS(1));
    cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_COMMIT_FORCED);
    put_back(c, 1, &older);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    assert_non_null(tr__tx_lost(c->nodes[1].tx));
    return t;
}

static const uint8_t another[TR__LOG_ID_BYTES] = "another log's id";

/* What the copy lacks of n1's own state is gone; everything else goes on, and after starts as well. */
static void an_operator_decides_and_goes_on_with_the_older_copy(void **state)
{
    (void)state;
    for (int commits = 0; commits < 2; commits++) {
        cluster *c = setup_cluster(50);
        tr_error error;
        cluster_transfer *t = lose(c);
        decide_by_hand(c, 1, t, commits);
        assert_settled(t, commits ? TR_TX_COMMITTED : TR_TX_ABORTED);
        assert_int_equal(in_doubt(c, 2), 0);
        assert_balances(c, 999, commits ? 1041 : 1001);
        decide_by_hand(c, 1, t, !commits); /* the other way: it was decided before */
        assert_settled(t, commits ? TR_TX_COMMITTED : TR_TX_ABORTED);
        assert_lost(c);
        assert_int_equal(tr__tx_accept_log(c->nodes[1].tx, another, &error), TR_OK);
        for (int life = 0; life < 3; life++) {
            cluster_transfer *next = pay(c, 1);
            cluster_run(c, TR_SECONDS(2));
            assert_answer(next, TR_TX_COMMITTED, TR_TX_NONE);
            cluster_resolve(c, next, 2);
            cluster_resolve(c, t, 0);
            cluster_run(c, TR_SECONDS(1));
            assert_settled(next, TR_TX_COMMITTED);
            assert_settled(t, commits ? TR_TX_COMMITTED : TR_TX_ABORTED);
            cluster_kill(c, 1, life % 2);
            assert_true(cluster_start(c, 1));
        }
        assert_balances(c, 996, commits ? 1044 : 1004);
        cluster_close(c);
        free(c);
    }
}

/* What it lacks may have been committed: also when it is another log by then. */
static void what_an_accepted_log_lacks_is_not_aborted(void **state)
{
    (void)state;
    cluster *c = setup_cluster(51);
    tr_error error;
    cluster_transfer *t = lose(c);
    assert_int_equal(tr__tx_accept_log(c->nodes[1].tx, another, &error), TR_OK);
    cluster_resolve(c, t, 0);
    cluster_run(c, TR_SECONDS(6));
    assert_false(t->is_settled);
    assert_int_equal(t->resolved, TR_TX_LOG_LOST);
    cluster_transfer *kept = &c->transfers[0];
    cluster_resolve(c, kept, 0); /* of this it has a record */
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(kept->resolved, TR_TX_NONE);
    assert_settled(kept, TR_TX_COMMITTED);
    assert_int_equal(in_doubt(c, 2), 1);
    decide_by_hand(c, 2, t, true); /* where it is in doubt, and nowhere else */
    assert_int_equal(in_doubt(c, 2), 0);
    assert_balances(c, 999, 1041);
    cluster_kill(c, 2, true);
    assert_true(cluster_start(c, 2));
    assert_balances(c, 999, 1041);
    cluster_close(c);
    free(c);
}

/* Nor does who asks hear of it from there: it is a guess, and who decides may say otherwise. */
static void what_is_decided_by_hand_elsewhere_is_not_told_to_siblings(void **state)
{
    (void)state;
    cluster *c = setup_cluster(53);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, 1);
    cluster_op_add(t, "n2/b", true, -6);
    cluster_op_add(t, "n0/c", true, 5);
    c->nodes[1].kill_at = TR__TX_POINT_BEFORE_COMMIT;
    for (int i = 0; i < 100000 && c->nodes[1].tx; i++)
        cluster_step(c);
    assert_int_equal(in_doubt(c, 0), 1);
    decide_by_hand(c, 2, t, true);
    assert_int_equal(in_doubt(c, 2), 0);
    assert_int_equal(in_doubt(c, 0), 1); /* it has asked n2 */
    cluster_kill(c, 2, false);
    assert_true(cluster_start(c, 2));
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(in_doubt(c, 0), 1);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(in_doubt(c, 0), 0);
    cluster_close(c);
    free(c);
}

/* Nor is its effect seen before: with the power it would be in doubt again, and may be aborted then. */
static void what_is_decided_by_hand_is_told_and_seen_when_it_is_on_the_disk(void **state)
{
    (void)state;
    for (int commits = 0; commits < 2; commits++) {
        cluster *c = setup_cluster(55);
        cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_BEFORE_COMMIT);
        assert_int_equal(in_doubt(c, 2), 1);
        c->nodes[2].held = true;
        tr__tx_decide_by_hand(c->nodes[2].tx, t->ticket, commits, &t->resolve_token);
        cluster_run(c, TR_SECONDS(1));
        assert_false(t->is_settled);
        assert_int_equal(cluster_balance(c, "n2/b"), 1000);
        assert_int_equal(figures_of(c, 2).branches, 1);
        cluster_kill(c, 2, true);
        assert_true(cluster_start(c, 2));
        assert_int_equal(in_doubt(c, 2), 1);
        decide_by_hand(c, 2, t, commits);
        assert_settled(t, commits ? TR_TX_COMMITTED : TR_TX_ABORTED);
        cluster_kill(c, 2, true);
        assert_true(cluster_start(c, 2));
        assert_int_equal(in_doubt(c, 2), 0);
        assert_int_equal(cluster_balance(c, "n2/b"), commits ? 1040 : 1000);
        cluster_close(c);
        free(c);
    }
}

static void what_can_not_be_written_is_not_told_to_be_decided_by_hand(void **state)
{
    (void)state;
    cluster *c = setup_cluster(54);
    cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_BEFORE_COMMIT);
    assert_int_equal(in_doubt(c, 2), 1);
    tr__alloc_fail_at(1);
    tr__tx_decide_by_hand(c->nodes[2].tx, t->ticket, true, &t->resolve_token);
    assert_int_equal(tr__alloc_fail_left(), 0);
    tr__alloc_fail_at(0);
    assert_int_equal(in_doubt(c, 2), 1);
    assert_false(t->is_settled);
    assert_int_equal(t->resolved, TR_TX_OVERLOAD);
    decide_by_hand(c, 2, t, true);
    assert_int_equal(in_doubt(c, 2), 0);
    assert_settled(t, TR_TX_COMMITTED);
    cluster_close(c);
    free(c);
}

static void a_log_that_lacks_nothing_is_neither_accepted_nor_overruled(void **state)
{
    (void)state;
    cluster *c = setup_cluster(52);
    tr_error error;
    cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_BEFORE_COMMIT);
    cluster_partition(c, 1, 2);
    assert_true(cluster_start(c, 1));
    assert_int_equal(tr__tx_accept_log(c->nodes[1].tx, another, &error), TR_EINVAL);
    assert_non_null(strstr(error.text, "lacks nothing"));
    decide_by_hand(c, 1, t, true);
    assert_false(t->is_settled);
    assert_int_equal(t->resolved, TR_TX_NOT_ALLOWED);
    decide_by_hand(c, 0, t, true); /* nothing of it is in doubt there */
    assert_false(t->is_settled);
    decide_by_hand(c, 1, t, false);
    assert_settled(t, TR_TX_ABORTED);
    cluster_heal(c, 1, 2);
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_14_coordinators_log_is_put_back_to_an_older_copy),
        cmocka_unit_test(an_older_copy_that_has_grown_again_is_noticed),
        cmocka_unit_test(who_was_started_again_remembers_the_others_logs),
        cmocka_unit_test(a_log_that_is_what_it_was_is_not_taken_for_an_older_copy),
        cmocka_unit_test(logs_do_not_make_each_other_grow),
        cmocka_unit_test(an_operator_decides_and_goes_on_with_the_older_copy),
        cmocka_unit_test(what_an_accepted_log_lacks_is_not_aborted),
        cmocka_unit_test(of_a_node_the_last_eight_logs_are_remembered),
        cmocka_unit_test(what_is_decided_by_hand_elsewhere_is_not_told_to_siblings),
        cmocka_unit_test(what_is_decided_by_hand_is_told_and_seen_when_it_is_on_the_disk),
        cmocka_unit_test(what_can_not_be_written_is_not_told_to_be_decided_by_hand),
        cmocka_unit_test(a_log_that_lacks_nothing_is_neither_accepted_nor_overruled),
    };
    return cmocka_run_group_tests_name("tx_older", tests, NULL, NULL);
}
