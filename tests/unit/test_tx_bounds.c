/* How many transactions a node takes part in, and how long a line for a lock gets: who can't be served is told at once. The
 * state machine over logs in memory, by steps. */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"
#include "actors/tx/manager.h"
#include "base/mem.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static uint64_t lock_wait_ns;

static cluster *setup_cluster(uint64_t seed)
{
    cluster *c = calloc(1, sizeof(*c));
    lock_wait_ns = TR_SECONDS(2);
    cluster_open(c, seed);
    return c;
}

static void end(cluster *c)
{
    cluster_run(c, TR_SECONDS(20)); /* those of n0 that it doesn't know are at their end */
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        tr__tx_figures figures;
        tr__tx_figures_of(c->nodes[i].tx, &figures);
        assert_int_equal(0, figures.branches);
    }
    cluster_close(c);
    free(c);
}

static tr_tx_id id_of(uint64_t number)
{
    return tr__tx_id_make(1700000000000ull, number, number);
}

/* Of the number-th transaction, which is older than the next and which n0 knows nothing of, from n0 to n1. */
static void n1_hears(cluster *c, tr__tx_kind kind, uint64_t number, const char *actor)
{
    int64_t amount = 0;
    tr_tx_id id = id_of(number);
    tr__tx_frame frame = tr__tx_frame_of(kind, &id);
    frame.from = "n0";
    frame.actor = actor;
    frame.number = 1;
    frame.remaining = TR_SECONDS(10);
    frame.wait = lock_wait_ns;
    frame.writes = 1;
    frame.type = CLUSTER_MOVE;
    frame.body = (tr_bytes){&amount, sizeof(amount)};
    frame.priority.present = true;
    frame.priority.value = (1700000000000ull << 16) + number;
    tr__tx_receive(c->nodes[1].tx, &frame);
}

static void n1_is_called(cluster *c, uint64_t number, const char *actor)
{
    n1_hears(c, TR__TX_CALL, number, actor);
}

static const tr__tx_branch *branch_of(cluster *c, uint64_t number)
{
    tr_tx_id id = id_of(number);
    return tr__tx_branch_find(c->nodes[1].tx, &id, "a");
}

static uint32_t branches(cluster *c)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[1].tx, &figures);
    return figures.branches;
}

/* On their way to n0. */
static uint32_t refusals(cluster *c, tr_tx_reason why, const char *text)
{
    uint32_t count = 0;
    for (cluster_message *m = c->wires[1][0]; m; m = m->next)
        count += m->frame.kind == TR__TX_CALLED && m->frame.reason == why && strstr(m->frame.text, text);
    return count;
}

static void settle(cluster *c)
{
    while (cluster_step(c))
        continue;
}

/* ---- how many ------------------------------------------------------------------------------------------ */

static void more_than_a_thousand_transactions_are_refused(void **state)
{
    (void)state;
    cluster *c = setup_cluster(1);
    for (uint64_t i = 0; i < 1500; i++)
        n1_is_called(c, i, "a");
    assert_int_equal(1000, branches(c));
    assert_int_equal(500, refusals(c, TR_TX_OVERLOAD, "takes part in 1,000 transactions"));
    end(c);
}

static void a_thousand_with_two_participants_each_are_a_thousand(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2);
    for (uint64_t i = 0; i < 1000; i++)
        n1_is_called(c, i, "a");
    for (uint64_t i = 0; i < 1000; i++)
        n1_is_called(c, i, "c");
    assert_int_equal(2000, branches(c));
    assert_int_equal(0, refusals(c, TR_TX_OVERLOAD, ""));
    n1_is_called(c, 1000, "d");
    assert_int_equal(2000, branches(c));
    settle(c);
    n1_hears(c, TR__TX_DROP, 7, "a"); /* one of its two is still here */
    n1_is_called(c, 1001, "d");
    assert_int_equal(1, refusals(c, TR_TX_OVERLOAD, "takes part in 1,000 transactions"));
    n1_hears(c, TR__TX_DROP, 7, "c");
    n1_is_called(c, 1002, "d");
    assert_int_equal(1999, branches(c));
    end(c);
}

static void one_transaction_has_sixteen_branches_on_a_node_at_most(void **state)
{
    (void)state;
    char actor[16];
    cluster *c = setup_cluster(3);
    for (int i = 0; i < 20; i++) {
        snprintf(actor, sizeof(actor), "p%d", i);
        n1_is_called(c, 1, actor);
    }
    assert_int_equal(16, branches(c));
    assert_int_equal(4, refusals(c, TR_TX_TOO_LARGE, "16 participants are the most"));
    end(c);
}

static void whichever_allocation_fails_a_branch_is_there_or_refused(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 20; at++) {
        cluster *c = setup_cluster(4);
        tr__alloc_fail_at(at);
        n1_is_called(c, 1, "a");
        tr__alloc_fail_at(0);
        tr_tx_id id = id_of(1);
        const tr__tx_branch *branch = branch_of(c, 1);
        assert_int_equal(branches(c), tr__tx_local_find(c->nodes[1].tx, &id) ? 1 : 0);
        if (branch)
            assert_int_equal(1, branch->last_number); /* with its call */
        else
            assert_int_equal(1, refusals(c, TR_TX_OVERLOAD, "no memory for "));
        n1_is_called(c, 2, "a");
        assert_non_null(branch_of(c, 2));
        end(c);
    }
}

/* ---- the line ------------------------------------------------------------------------------------------ */

/* From `first` on each has the lock for so long and gives it up, until the line has moved so often. */
static uint64_t moves(cluster *c, uint64_t first, uint64_t count, uint64_t held_ns)
{
    for (uint64_t i = first; i < first + 3; i++)
        n1_is_called(c, i, "a");
    for (uint64_t i = first; i < first + count; i++) {
        settle(c);
        assert_true(branch_of(c, i)->holds);
        n1_is_called(c, i + 3, "a");
        c->now_ns += held_ns;
        n1_hears(c, TR__TX_DROP, i, "a");
    }
    settle(c);
    return first + count; /* holds; two wait */
}

/* Of 2 s: a line of up to 16 may take half, a longer one a sixteenth. */
static void who_would_wait_for_too_long_is_refused_before_it_waits(void **state)
{
    static const struct {
        uint64_t pace_ns;
        uint32_t least, most;
    } rows[] = {{TR_MILLIS(1), 123, 130}, {TR_MILLIS(50), 16, 16}, {TR_MILLIS(100), 10, 12}};
    (void)state;
    for (size_t row = 0; row < TR_COUNT(rows); row++) {
        cluster *c = setup_cluster(5);
        uint64_t holder = moves(c, 100, 40, rows[row].pace_ns);
        for (uint64_t i = 0; i < 200; i++)
            n1_is_called(c, 200 + i, "a");
        uint32_t waiting = branch_of(c, holder)->at->waiting_count;
        assert_in_range(waiting, rows[row].least, rows[row].most);
        assert_int_equal(202 - waiting, refusals(c, TR_TX_OVERLOAD, "others wait for it"));
        assert_non_null(branch_of(c, 200));
        assert_null(branch_of(c, 399)); /* the youngest */
        end(c);
    }
}

static void an_older_one_is_let_into_a_full_line_and_goes_first(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    uint64_t holder = moves(c, 100, 40, TR_MILLIS(50));
    for (uint64_t i = 0; i < 40; i++)
        n1_is_called(c, 200 + i, "a");
    n1_is_called(c, holder + 1, "a"); /* it waits already: comes twice */
    n1_is_called(c, 50, "a");         /* wounds who holds it */
    assert_null(branch_of(c, holder));
    settle(c);
    assert_true(branch_of(c, 50)->holds);
    end(c);
}

/* Twice as long as it was let in for: it needs not wait for the end of its lock wait to hear so. */
static void who_is_overtaken_by_too_many_is_refused(void **state)
{
    (void)state;
    cluster *c = setup_cluster(7);
    uint64_t holder = moves(c, 1000, 40, TR_MILLIS(5));
    const tr__tx_actor *a = branch_of(c, holder)->at;
    n1_is_called(c, 2000, "a");
    for (uint64_t i = 0; i < 60; i++)
        n1_is_called(c, 1999 - i, "a"); /* each older than all that wait, but for two */
    assert_null(branch_of(c, 2000));
    assert_in_range(a->waiting_count, 49, 53); /* 250 ms */
    assert_int_equal(63 - a->waiting_count, refusals(c, TR_TX_OVERLOAD, "others wait for it"));
    end(c);
}

/* One that was held up for long, as by what was in doubt, and now moves again. */
static void a_line_that_stood_still_lets_some_wait_and_more_when_it_moves(void **state)
{
    (void)state;
    cluster *c = setup_cluster(8);
    lock_wait_ns = TR_MILLIS(500);
    n1_is_called(c, 1, "a");
    n1_is_called(c, 2, "a");
    settle(c);
    c->now_ns += TR_SECONDS(60);
    n1_hears(c, TR__TX_DROP, 1, "a");
    settle(c);
    for (uint64_t i = 3; i < 40; i++) {
        n1_is_called(c, i, "a");
        n1_is_called(c, i + 1, "a"); /* comes twice, but the first time */
        if (i == 3) {
            n1_is_called(c, 100, "a");
            assert_int_equal(1, refusals(c, TR_TX_OVERLOAD, "others wait for it"));
            assert_null(branch_of(c, 100));
        }
        c->now_ns += TR_MILLIS(1);
        n1_hears(c, TR__TX_DROP, i - 1, "a");
        settle(c);
        assert_true(branch_of(c, i)->holds);
    }
    for (uint64_t i = 200; i < 205; i++)
        n1_is_called(c, i, "a");
    assert_int_equal(6, branch_of(c, 39)->at->waiting_count);
    end(c);
}

/* ---- who has been refused ------------------------------------------------------------------------------ */

static uint32_t calls_under_way(cluster *c)
{
    uint32_t count = 0;
    for (cluster_message *m = c->wires[0][1]; m; m = m->next)
        count += m->frame.kind == TR__TX_CALL;
    return count;
}

/* n0 hears so from n1, of a transaction of its own. */
static cluster_transfer *refused_at_a(cluster *c)
{
    moves(c, 100, 40, TR_MILLIS(50));
    for (uint64_t i = 0; i < 40; i++)
        n1_is_called(c, 200 + i, "a");
    settle(c);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 1);
    settle(c);
    assert_int_equal(TR_TX_ABORTED, t->outcome.status);
    assert_int_equal(TR_TX_OVERLOAD, t->outcome.reason);
    assert_non_null(strstr(t->outcome.text, "others wait for it"));
    return t;
}

static void who_was_too_busy_is_left_alone_for_a_moment(void **state)
{
    (void)state;
    cluster *c = setup_cluster(9);
    refused_at_a(c);
    cluster_transfer *younger = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 1);
    while (!younger->answered) {
        assert_int_equal(0, calls_under_way(c));
        assert_true(cluster_step(c));
    }
    assert_int_equal(TR_TX_OVERLOAD, younger->outcome.reason);
    assert_non_null(strstr(younger->outcome.text, "a on node n1 had too much to do just now"));
    cluster_transfer *other = cluster_transfer_begin(c, 0, "n1/c", "n2/b", 1);
    settle(c);
    assert_int_equal(TR_TX_COMMITTED, other->outcome.status);
    c->now_ns += TR_MILLIS(11);
    cluster_transfer *later = cluster_transfer_begin(c, 0, "n1/a", "n2/b", 1);
    settle(c); /* asked again, and as full as it was */
    assert_non_null(strstr(later->outcome.text, "others wait for it"));
    end(c);
}

static void an_older_one_asks_again_who_was_too_busy_for_a_younger(void **state)
{
    (void)state;
    cluster *c = setup_cluster(10);
    cluster_transfer *t = refused_at_a(c);
    t->priority = (1700000000000ull << 16) + 1; /* as if it had been begun before all that wait */
    cluster_transfer *again = cluster_again(c, t);
    settle(c);
    assert_int_equal(TR_TX_COMMITTED, again->outcome.status);
    end(c);
}

/* ---- the door ------------------------------------------------------------------------------------------ */

static void the_last_places_are_for_those_who_come_again(void **state)
{
    (void)state;
    static tr__transactions t;
    atomic_store(&t.client_count, 899);
    assert_true(tr__door_is_open(&t, false));
    atomic_store(&t.client_count, 900);
    assert_false(tr__door_is_open(&t, false));
    assert_true(tr__door_is_open(&t, true));
    atomic_store(&t.client_count, 1000);
    assert_false(tr__door_is_open(&t, true));
}

static void of_what_overload_refuses_a_part_comes_again(void **state)
{
    (void)state;
    static tr__transactions t;
    uint32_t again = 0;
    tr__door_open(&t);
    while (tr__retry_spent(&t))
        again++;
    assert_int_equal(500, again); /* a short overload costs nobody its attempts */
    for (int i = 0; i < 1000; i++) {
        tr__retry_earned(&t);
        again += tr__retry_spent(&t);
    }
    assert_int_equal(1000, again);
    for (int i = 0; i < 10000; i++)
        tr__retry_earned(&t);
    for (again = 0; tr__retry_spent(&t);)
        again++;
    assert_int_equal(500, again); /* no more than that is saved */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_than_a_thousand_transactions_are_refused),
        cmocka_unit_test(a_thousand_with_two_participants_each_are_a_thousand),
        cmocka_unit_test(one_transaction_has_sixteen_branches_on_a_node_at_most),
        cmocka_unit_test(whichever_allocation_fails_a_branch_is_there_or_refused),
        cmocka_unit_test(who_would_wait_for_too_long_is_refused_before_it_waits),
        cmocka_unit_test(an_older_one_is_let_into_a_full_line_and_goes_first),
        cmocka_unit_test(who_is_overtaken_by_too_many_is_refused),
        cmocka_unit_test(a_line_that_stood_still_lets_some_wait_and_more_when_it_moves),
        cmocka_unit_test(who_was_too_busy_is_left_alone_for_a_moment),
        cmocka_unit_test(an_older_one_asks_again_who_was_too_busy_for_a_younger),
        cmocka_unit_test(the_last_places_are_for_those_who_come_again),
        cmocka_unit_test(of_what_overload_refuses_a_part_comes_again),
    };
    return cmocka_run_group_tests_name("tx_bounds", tests, NULL, NULL);
}
