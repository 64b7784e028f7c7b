/* The crash table of transactions, row by row: who dies when, what is there after the restart, what the others do meanwhile,
 * what the caller hears. Row 14, a disk that is lost, is in test_tx_protocol.c; row 16, a log that is damaged, in
 * test_tx_damage.c. */
#include "tests/kit/tx_pay.h"

#include "actors/tx/internal.h"

#define SEEDS 20

/* ---- assertions ---------------------------------------------------------------------------------------- */

/* Committed and on both sides, or neither. */
static void assert_as_settled(cluster *c, const cluster_transfer *t)
{
    assert_true(t->is_settled);
    if (t->settled == TR_TX_COMMITTED)
        assert_balances(c, 960, 1040);
    else
        assert_balances(c, 1000, 1000);
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

/* The batch that is on its way to that disk is written, in part or all of it, and not forced when the power goes. */
static void lose_power_while_writing(cluster *c, uint32_t node)
{
    memory_log *log = &c->nodes[node].log;
    uint64_t steps = 1 + tr__random_below(&c->random, 3);
    assert_true(log->stage);
    for (uint64_t i = 0; i < steps && !memory_log_forces_next(log); i++)
        memory_log_step(log);
    cluster_kill(c, node, true);
    c->nodes[node].held = false;
}

/* What somebody at n0 hears who asks by its ticket. */
static void resolve(cluster *c, cluster_transfer *t)
{
    cluster_resolve(c, t, 0);
    cluster_run(c, TR_SECONDS(6));
    assert_false(t->resolving);
}

/* ---- the rows ------------------------------------------------------------------------------------------ */

static void row_01_caller_dies_before_commit(void **state)
{
    (void)state;
    cluster *c = setup_cluster(10);
    cluster_transfer *t = pay(c, 40);
    while (t->stage < 2 || !t->ready)
        cluster_step(c);
    tr__tx_ticket(c->nodes[0].tx, &t->begin.id, t->ticket); /* kept where it survives */
    cluster_kill(c, 0, false);
    assert_true(cluster_start(c, 0));
    cluster_run(c, TR_SECONDS(1));
    assert_false(t->answered);
    assert_int_equal(figures_of(c, 1).branches, 0);
    resolve(c, t);
    assert_settled(t, TR_TX_ABORTED);
    assert_balances(c, 1000, 1000);
    end(c);
}

static void row_02_participant_dies_before_prepare_is_forced(void **state)
{
    (void)state;
    cluster *c = setup_cluster(11);
    c->nodes[2].held = true;
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_MILLIS(100)); /* PREPARE is on its way to the disk, and stays there */
    assert_false(t->answered);
    cluster_kill(c, 2, true);
    assert_true(cluster_start(c, 2));
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_ABORTED, TR_TX_BRANCH_LOST);
    assert_balances(c, 1000, 1000);
    end(c);
}

static void row_03_participant_dies_with_prepare_forced_before_its_vote(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(100 + seed);
        cluster_transfer *t = killed_at(c, 2, TR__TX_POINT_PREPARE_FORCED);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(t, TR_TX_ABORTED, TR_TX_BRANCH_LOST);
        assert_true(cluster_start(c, 2));
        assert_int_equal(figures_of(c, 2).prepared,
                         1); /* in doubt, and locked, before anybody can say anything */
        cluster_transfer *behind = pay(c, 1);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(behind, TR_TX_COMMITTED, TR_TX_NONE);
        assert_balances(c, 999, 1001);
        end(c);
    }
}

static void row_04_participant_dies_after_its_yes(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(200 + seed);
        cluster_transfer *t = killed_at(c, 2, TR__TX_POINT_VOTED);
        cluster_run(c, TR_SECONDS(1));
        assert_true(t->answered); /* by whether the vote got out in time */
        assert_true(t->outcome.status != TR_TX_UNKNOWN);
        assert_true(cluster_start(c, 2));
        cluster_run(c, TR_SECONDS(1));
        if (t->outcome.status == TR_TX_COMMITTED)
            assert_balances(c, 960, 1040);
        else
            assert_balances(c, 1000, 1000);
        end(c);
    }
}

/* Its bytes may be there, and it never was: nobody was told that it is durable. Whole by chance it is in doubt, and hears. */
static void row_05_prepare_is_torn(void **state)
{
    (void)state;
    uint32_t torn = 0;
    for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
        cluster *c = setup_cluster(600 + seed);
        cluster_run(c, TR_MILLIS(200));
        c->nodes[2].held = true;
        cluster_transfer *t = pay(c, 40);
        cluster_run(c, TR_MILLIS(60));
        lose_power_while_writing(c, 2);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(t, TR_TX_ABORTED, TR_TX_BRANCH_LOST);
        assert_true(cluster_start(c, 2));
        torn += figures_of(c, 2).prepared == 0;
        cluster_run(c, TR_SECONDS(1));
        assert_int_equal(figures_of(c, 2).prepared, 0);
        assert_balances(c, 1000, 1000);
        end(c);
    }
    assert_in_range(torn, SEEDS / 2, 2 * SEEDS);
}

static void row_06_coordinator_dies_before_commit_is_forced(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(300 + seed);
        cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_BEFORE_COMMIT);
        cluster_run(c, TR_SECONDS(15)); /* past every deadline */
        assert_answer(t, TR_TX_UNKNOWN, TR_TX_UNREACHABLE);
        assert_int_equal(figures_of(c, 2).prepared, 1); /* T2: it waits */
        cluster_resolve(c, t, 0);
        assert_true(cluster_start(c, 1));
        cluster_run(c, TR_SECONDS(6));
        assert_settled(t, TR_TX_ABORTED);
        cluster_resolve(c, t, 2); /* anybody may ask, and hears the same */
        cluster_run(c, TR_SECONDS(1));
        assert_false(t->resolving);
        assert_balances(c, 1000, 1000);
        end(c);
    }
}

/* Torn it never was; whole by chance it is what was decided. Either way it stays so. */
static void row_07_commit_is_torn(void **state)
{
    (void)state;
    uint32_t torn = 0;
    for (uint64_t seed = 0; seed < 2 * SEEDS; seed++) {
        cluster *c = setup_cluster(700 + seed);
        cluster_run(c, TR_MILLIS(200));
        c->nodes[1].held = true;
        cluster_transfer *t = pay(c, 40);
        cluster_run(c, TR_MILLIS(60));
        lose_power_while_writing(c, 1);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(t, TR_TX_UNKNOWN, TR_TX_UNREACHABLE);
        assert_int_equal(figures_of(c, 2).prepared, 1);
        assert_true(cluster_start(c, 1));
        resolve(c, t);
        torn += t->settled == TR_TX_ABORTED;
        cluster_run(c, TR_SECONDS(1));
        assert_as_settled(c, t);
        end(c);
    }
    assert_in_range(torn, SEEDS / 2, 2 * SEEDS);
}

static void row_08_coordinator_dies_with_commit_forced_before_its_answer(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(400 + seed);
        cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_COMMIT_FORCED);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(t, TR_TX_UNKNOWN, TR_TX_UNREACHABLE);
        assert_true(cluster_start(c, 1));
        cluster_resolve(c, t, 0);
        cluster_run(c, TR_SECONDS(1));
        assert_settled(t, TR_TX_COMMITTED);
        assert_balances(c, 960, 1040);
        end(c);
    }
}

static void row_09_coordinator_dies_after_its_answer(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(500 + seed);
        cluster_transfer *t = killed_at(c, 1, TR__TX_POINT_ANSWERED);
        cluster_run(c, TR_SECONDS(1));
        assert_true(t->answered); /* COMMITTED, if the answer got out */
        assert_true(t->outcome.status != TR_TX_ABORTED);
        assert_int_equal(figures_of(c, 2).prepared, 1); /* no stale read: it stays locked */
        assert_true(cluster_start(c, 1));
        cluster_run(c, TR_SECONDS(1));
        assert_balances(c, 960, 1040);
        end(c);
    }
}

static bool is_finishing(cluster *c, uint32_t node)
{
    for (const tr__tx_branch *b = c->nodes[node].tx->branches; b; b = b->hh.next)
        if (b->state == TR__BRANCH_FINISHING)
            return true;
    return false;
}

/* What it applied it applies again, from its redo: once. */
static void row_10_participant_dies_before_its_commit_record_is_durable(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(800 + seed);
        cluster_transfer *t = pay(c, 40);
        while (!is_finishing(c, 2))
            cluster_step(c);
        assert_int_equal(cluster_balance(c, "n2/b"), 1040);
        cluster_kill(c, 2, true);
        assert_true(cluster_start(c, 2));
        assert_int_equal(figures_of(c, 2).prepared, 1);
        assert_int_equal(cluster_balance(c, "n2/b"), 1000);
        cluster_run(c, TR_SECONDS(1));
        assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
        assert_balances(c, 960, 1040);
        assert_int_equal(cluster_times_in_journal(c, "n2/b", &t->begin.id), 1);
        end(c);
    }
}

/* It tells again who has to hear, and who has heard says so again. */
static void row_11_coordinator_dies_before_its_end_record(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(900 + seed);
        cluster_transfer *t = pay(c, 40);
        while (!is_finishing(c, 2))
            cluster_step(c);
        if (seed % 2) /* b has done it, and its ACK is lost with who decides */
            c->clogged[2][1] = true;
        cluster_run(c, seed % 2 ? TR_MILLIS(300) : 0);
        assert_int_equal(figures_of(c, 1).deciding, 1);
        cluster_kill(c, 1, true);
        c->clogged[2][1] = false;
        assert_true(cluster_start(c, 1));
        assert_int_equal(figures_of(c, 1).deciding, 1);
        cluster_run(c, TR_SECONDS(1));
        assert_int_equal(figures_of(c, 1).deciding, 0);
        assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
        assert_balances(c, 960, 1040);
        cluster_kill(c, 1, true); /* END is on the disk meanwhile */
        assert_true(cluster_start(c, 1));
        assert_int_equal(figures_of(c, 1).deciding, 0);
        end(c);
    }
}

/* Its locks wait; the other participants there go on. */
static void row_12_coordinator_and_participant_are_cut_off_after_the_votes(void **state)
{
    (void)state;
    cluster *c = setup_cluster(14);
    c->nodes[1].held = true;
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_MILLIS(100));
    cluster_partition(c, 1, 2);
    c->nodes[1].held = false;
    cluster_run(c, TR_SECONDS(1));
    assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
    cluster_transfer *other = cluster_begin(c, 0), *behind = cluster_begin(c, 0);
    cluster_op_add(other, "n2/other", true, 5);
    cluster_op_add(behind, "n2/b", false, 0);
    cluster_run(c, TR_SECONDS(30));
    assert_answer(other, TR_TX_COMMITTED, TR_TX_NONE);
    assert_answer(behind, TR_TX_ABORTED, TR_TX_LOCK_TIMEOUT);
    assert_int_equal(figures_of(c, 2).prepared, 1);
    cluster_heal(c, 1, 2);
    cluster_run(c, TR_SECONDS(1));
    assert_balances(c, 960, 1040);
    end(c);
}

/* At the moments of rows 3, 6 and 8. */
static void row_13_all_lose_power(void **state)
{
    static const struct {
        uint32_t node;
        tr__tx_point point;
        tr_tx_status status;
    } rows[] = {{2, TR__TX_POINT_PREPARE_FORCED, TR_TX_ABORTED},
                {1, TR__TX_POINT_BEFORE_COMMIT, TR_TX_ABORTED},
                {1, TR__TX_POINT_COMMIT_FORCED, TR_TX_COMMITTED}};
    (void)state;
    for (size_t r = 0; r < TR_COUNT(rows); r++)
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            cluster *c = setup_cluster(1000 + seed);
            cluster_transfer *t = pay(c, 40);
            while (t->stage < 2 || !t->ready)
                cluster_step(c);
            tr__tx_ticket(c->nodes[0].tx, &t->begin.id, t->ticket);
            c->nodes[rows[r].node].kill_at = (int)rows[r].point;
            while (c->nodes[rows[r].node].tx)
                cluster_step(c);
            for (uint32_t i = 0; i < CLUSTER_NODES; i++)
                if (c->nodes[i].tx)
                    cluster_kill(c, i, true);
            for (uint32_t i = 0; i < CLUSTER_NODES; i++)
                assert_true(cluster_start(c, i));
            resolve(c, t);
            assert_settled(t, rows[r].status);
            assert_as_settled(c, t);
            end(c);
        }
}

/* Each frame comes once more, at once or seconds later. */
static void row_15_frames_come_twice_and_late(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        cluster *c = setup_cluster(1100 + seed);
        uint64_t late = 0;
        c->twice = 1;
        for (int i = 0; i < 5; i++)
            pay(c, 10);
        for (int i = 0; i < 3; i++)
            cluster_transfer_begin(c, 0, "n2/b", "n1/a",
                                   2000); /* refused: an ABORT, and what comes behind it */
        cluster_run(c, TR_SECONDS(8));
        for (uint32_t i = 0; i < CLUSTER_NODES; i++)
            late += figures_of(c, i).late;
        assert_true(late > 10);
        c->twice = 0;
        end(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_01_caller_dies_before_commit),
        cmocka_unit_test(row_02_participant_dies_before_prepare_is_forced),
        cmocka_unit_test(row_03_participant_dies_with_prepare_forced_before_its_vote),
        cmocka_unit_test(row_04_participant_dies_after_its_yes),
        cmocka_unit_test(row_05_prepare_is_torn),
        cmocka_unit_test(row_06_coordinator_dies_before_commit_is_forced),
        cmocka_unit_test(row_07_commit_is_torn),
        cmocka_unit_test(row_08_coordinator_dies_with_commit_forced_before_its_answer),
        cmocka_unit_test(row_09_coordinator_dies_after_its_answer),
        cmocka_unit_test(row_10_participant_dies_before_its_commit_record_is_durable),
        cmocka_unit_test(row_11_coordinator_dies_before_its_end_record),
        cmocka_unit_test(row_12_coordinator_and_participant_are_cut_off_after_the_votes),
        cmocka_unit_test(row_13_all_lose_power),
        cmocka_unit_test(row_15_frames_come_twice_and_late),
    };
    return cmocka_run_group_tests_name("tx_rows", tests, NULL, NULL);
}
