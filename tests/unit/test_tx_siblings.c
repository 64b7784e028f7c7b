/* Who is in doubt, and can't hear who decides, asks the other participants: what they may say, and what they may not. The
 * state machine over logs in memory. */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

/* The caller is n0, where c is; a (on n1) is called first, so n1 decides; b is on n2. */
static const char *const all[] = {"n1/a", "n2/b", "n0/c"};

static cluster *setup_cluster(uint64_t seed)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    return c;
}

static void end(cluster *c)
{
    cluster_run(c, TR_SECONDS(12));
    cluster_check(c, all, 3);
    cluster_close(c);
    free(c);
}

/* All three write, or the third reads. */
static cluster_transfer *pay(cluster *c, bool third_writes)
{
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, third_writes ? -60 : -40);
    cluster_op_add(t, "n2/b", true, 40);
    cluster_op_add(t, "n0/c", third_writes, third_writes ? 20 : 0);
    return t;
}

static uint32_t in_doubt(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures.prepared;
}

static uint64_t asked(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures.asked;
}

/* n1 has decided to commit, and can't tell n2, which waits. */
static cluster_transfer *committed_without_n2(cluster *c)
{
    cluster_transfer *t = pay(c, true);
    c->nodes[1].held = true; /* COMMIT is on its way to the disk */
    cluster_run(c, TR_MILLIS(100));
    cluster_partition(c, 1, 2);
    cluster_partition(c, 0, 2);
    c->nodes[1].held = false;
    cluster_run(c, TR_MILLIS(500));
    assert_true(t->answered && t->outcome.status == TR_TX_COMMITTED);
    assert_int_equal(20 + CLUSTER_START, cluster_balance(c, "n0/c"));
    assert_int_equal(1, in_doubt(c, 2));
    return t;
}

/* ---- what a sibling says ------------------------------------------------------------------------------- */

static void a_sibling_with_a_record_ends_the_doubt(void **state)
{
    (void)state;
    for (int restarted = 0; restarted < 3; restarted++) {
        cluster *c = setup_cluster(1);
        committed_without_n2(c);
        if (restarted) { /* what it says is in its log; whom n2 can ask is in n2's */
            uint32_t node = restarted == 1 ? 0 : 2;
            cluster_kill(c, node, true);
            assert_true(cluster_start(c, node));
        }
        cluster_heal(c, 0, 2);
        cluster_run(c, TR_MILLIS(100));
        assert_int_equal(0, in_doubt(c, 2));
        assert_int_equal(CLUSTER_START + 40, cluster_balance(c, "n2/b"));
        cluster_heal(c, 1, 2);
        end(c);
    }
}

static void who_is_in_doubt_itself_does_not_know(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2);
    pay(c, true);
    c->nodes[1].kill_at = TR__TX_POINT_BEFORE_COMMIT;
    cluster_run(c, TR_SECONDS(20));
    assert_null(c->nodes[1].tx);
    assert_int_equal(1, in_doubt(c, 0));
    assert_int_equal(1, in_doubt(c, 2));
    assert_true(asked(c, 0) > 1 && asked(c, 2) > 1); /* each the other, again and again */
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(6));
    assert_int_equal(CLUSTER_START, cluster_balance(c, "n2/b"));
    end(c);
}

/* It may have been the last vote: no branch, no record, and it is committed. */
static void who_voted_read_does_not_know(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    pay(c, false);
    c->nodes[1].kill_at = TR__TX_POINT_COMMIT_FORCED;
    cluster_run(c, TR_SECONDS(15));
    assert_null(c->nodes[1].tx);
    assert_true(asked(c, 0) > 1);
    assert_int_equal(1, in_doubt(c, 2));
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(CLUSTER_START + 40, cluster_balance(c, "n2/b"));
    end(c);
}

/* b is prepared, PREPARE hasn't come to c, and n1 is heard by nobody any more. */
static cluster_transfer *half_prepared(cluster *c, bool third_writes)
{
    cluster_transfer *t = pay(c, third_writes);
    while (t->stage < 3 || !t->ready)
        cluster_step(c);
    c->clogged[1][0] = true;
    while (!in_doubt(c, 2))
        cluster_step(c);
    c->clogged[1][2] = true;
    return t;
}

static void unclog(cluster *c)
{
    c->clogged[1][0] = c->clogged[1][2] = false;
}

static void who_has_promised_nothing_settles_it(void **state)
{
    (void)state;
    for (int third_writes = 0; third_writes < 2; third_writes++) {
        cluster *c = setup_cluster(4);
        cluster_transfer *t = half_prepared(c, third_writes);
        cluster_run(c, TR_MILLIS(1900)); /* the answer, and PREPARE, may be on a slow way */
        assert_int_equal(1, in_doubt(c, 2));
        cluster_run(c, TR_SECONDS(4));
        assert_int_equal(0, in_doubt(c, 2));
        unclog(c); /* PREPARE comes to c now: no */
        cluster_run(c, TR_SECONDS(1));
        assert_true(t->answered);
        assert_int_equal(TR_TX_ABORTED, t->outcome.status);
        assert_int_equal(CLUSTER_START, cluster_balance(c, "n2/b"));
        end(c);
    }
}

/* It asks who decides first, and a sibling only when that stays silent. */
static void as_long_as_who_decides_answers_nobody_else_is_asked(void **state)
{
    (void)state;
    cluster *c = setup_cluster(5);
    cluster_transfer *t = pay(c, true);
    c->nodes[1].held = true; /* it says that it is pending */
    cluster_run(c, TR_SECONDS(4));
    assert_int_equal(1, in_doubt(c, 2));
    assert_int_equal(0, asked(c, 0));
    c->nodes[1].held = false;
    cluster_run(c, TR_SECONDS(6));
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    end(c);
}

static void an_earlier_node_is_not_asked(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    c->nodes[0].earlier = true;
    committed_without_n2(c);
    cluster_heal(c, 0, 2);
    cluster_run(c, TR_SECONDS(10));
    assert_int_equal(0, asked(c, 0));
    assert_int_equal(1, in_doubt(c, 2));
    cluster_heal(c, 1, 2);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(CLUSTER_START + 40, cluster_balance(c, "n2/b"));
    end(c);
}

/* ---- what it may not say ------------------------------------------------------------------------------- */

static void ask_n0(cluster *c, const tr_tx_id *id, uint64_t boot, tr__tx_verdict expected)
{
    tr__tx_frame ask = {
        .kind = TR__TX_ASK, .id = {id, sizeof(*id)}, .from = "n2", .actor = "c", .text = "b", .boot = boot};
    tr__tx_receive(c->nodes[0].tx, &ask);
    const cluster_message *answer = c->wires[0][2];
    while (answer && answer->next)
        answer = answer->next;
    assert_non_null(answer);
    assert_int_equal(TR__TX_ANSWER, answer->frame.kind);
    assert_string_equal("b", answer->frame.actor);
    assert_int_equal(expected, answer->frame.status);
}

static void a_branch_that_may_be_a_second_one_settles_nothing(void **state)
{
    (void)state;
    cluster *c = setup_cluster(7);
    cluster_transfer *t = pay(c, true);
    while (t->stage < 3 || !t->ready)
        cluster_step(c);
    t->ready = false;
    ask_n0(c, &t->begin.id, c->nodes[0].id + 1, TR__TX_DONT_KNOW); /* of another life */
    c->nodes[0].tx->tombs_missed_ns = c->now_ns + 1;               /* the first one's tomb found no memory */
    ask_n0(c, &t->begin.id, c->nodes[0].id, TR__TX_DONT_KNOW);
    c->nodes[0].tx->tombs_missed_ns = 0;
    ask_n0(c, &t->begin.id, c->nodes[0].id, TR__TX_ABORTED);
    ask_n0(c, &t->begin.id, c->nodes[0].id, TR__TX_DONT_KNOW); /* it has neither now */
    t->ready = true;
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_ABORTED, t->outcome.status);
    end(c);
}

static void a_node_that_takes_no_part_is_not_believed(void **state)
{
    (void)state;
    cluster *c = setup_cluster(8);
    cluster_transfer *t = cluster_begin(c, 0); /* n0 keeps nothing of it */
    cluster_op_add(t, "n1/a", true, -40);
    cluster_op_add(t, "n2/b", true, 40);
    c->nodes[1].kill_at = TR__TX_POINT_COMMIT_FORCED;
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(1, in_doubt(c, 2));
    tr__tx_frame answer = {.kind = TR__TX_ANSWER,
                           .id = {&t->begin.id, sizeof(t->begin.id)},
                           .from = "n0",
                           .actor = "b",
                           .text = "",
                           .status = TR__TX_ABORTED};
    tr__tx_receive(c->nodes[2].tx, &answer);
    assert_int_equal(1, in_doubt(c, 2));
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(CLUSTER_START + 40, cluster_balance(c, "n2/b"));
    end(c);
}

/* 100 ms, 200 ms, ... 5 s at most, each a little less by chance. */
static void it_asks_less_and_less_often(void **state)
{
    (void)state;
    cluster *c = setup_cluster(9);
    pay(c, true);
    c->nodes[1].kill_at = TR__TX_POINT_BEFORE_COMMIT;
    cluster_run(c, TR_MILLIS(100));
    uint64_t last = 0, first = asked(c, 0), begun = c->now_ns, longest = 0, at = c->now_ns;
    for (last = first; c->now_ns < begun + TR_SECONDS(60);) {
        cluster_run(c, TR__TX_TICK_NS);
        if (asked(c, 0) == last)
            continue;
        last = asked(c, 0);
        if (c->now_ns - at > longest)
            longest = c->now_ns - at;
        at = c->now_ns;
    }
    assert_in_range(last - first, 14, 34);
    assert_in_range(longest, TR_SECONDS(3), TR_SECONDS(5) + TR__TX_TICK_NS);
    assert_true(cluster_start(c, 1));
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sibling_with_a_record_ends_the_doubt),
        cmocka_unit_test(who_is_in_doubt_itself_does_not_know),
        cmocka_unit_test(who_voted_read_does_not_know),
        cmocka_unit_test(who_has_promised_nothing_settles_it),
        cmocka_unit_test(as_long_as_who_decides_answers_nobody_else_is_asked),
        cmocka_unit_test(an_earlier_node_is_not_asked),
        cmocka_unit_test(a_branch_that_may_be_a_second_one_settles_nothing),
        cmocka_unit_test(a_node_that_takes_no_part_is_not_believed),
        cmocka_unit_test(it_asks_less_and_less_often),
    };
    return cmocka_run_group_tests_name("tx_siblings", tests, NULL, NULL);
}
