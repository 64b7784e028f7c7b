/* What a transaction costs: how often a disk is forced until its caller hears, in how many round trips, and what is left
 * behind. Forces are counted at the seam of the logs. */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static const char *const all[] = {"n0/a", "n0/b", "n1/a", "n1/b", "n2/a", "n2/b"};

/* With a quiet disk: what a new log writes is forced. */
static cluster *setup_cluster(uint64_t seed)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    cluster_run(c, TR_SECONDS(1));
    return c;
}

static void end(cluster *c)
{
    cluster_run(c, TR_SECONDS(12));
    cluster_check(c, all, 6);
    cluster_close(c);
    free(c);
}

static unsigned forces(const cluster *c)
{
    unsigned sum = 0;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        sum += c->nodes[i].log.forces;
    return sum;
}

static uint64_t appended(const cluster *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        sum += tr__log_last(c->nodes[i].tx->log);
    return sum;
}

/* Forces until its caller hears that it is committed. */
static unsigned forces_of(cluster *c, cluster_transfer *t)
{
    unsigned before = forces(c);
    for (int i = 0; i < 10000 && !t->answered; i++)
        assert_true(cluster_step(c));
    assert_true(t->answered);
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    return forces(c) - before;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void add_reads(cluster_transfer *t, bool declared)
{
    cluster_op_add(t, "n0/a", false, 0);
    cluster_op_add(t, "n1/a", declared, 0); /* declared: it may write, and doesn't */
    cluster_op_add(t, "n2/a", false, 0);
    cluster_op_add(t, "n2/b", declared, 0);
}

static void what_wrote_nothing_forces_and_leaves_nothing(void **state)
{
    (void)state;
    for (int declared = 0; declared < 2; declared++) {
        cluster *c = setup_cluster(1);
        cluster_transfer *t = cluster_begin(c, 0);
        add_reads(t, declared);
        uint64_t records = appended(c);
        assert_int_equal(0, forces_of(c, t));
        assert_string_equal("", t->outcome.ticket);
        assert_string_equal("", t->ticket);
        unsigned before = forces(c);
        cluster_run(c, TR_SECONDS(1));
        assert_int_equal(before, forces(c));
        assert_int_equal(records, appended(c));
        end(c);
    }
}

/* PREPARE to each, a vote of each, and no more; not before the last call was answered. */
static void what_wrote_nothing_takes_one_round_trip(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2);
    cluster_transfer *t = cluster_begin(c, 0);
    add_reads(t, true);
    while (t->stage < 4 || !t->ready) {
        cluster_step(c);
        for (uint32_t i = 0; i < CLUSTER_NODES; i++)
            for (const cluster_message *m = c->wires[0][i]; m; m = m->next)
                assert_int_not_equal(TR__TX_PREPARE, m->frame.kind);
    }
    unsigned sent = 0, votes = 0;
    bool seen_votes[CLUSTER_NODES] = {false};
    while (!t->answered) {
        for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
            const cluster_message *m = c->wires[0][i], *v = c->wires[i][0];
            if (m && m->frame.kind == TR__TX_PREPARE)
                sent |= 1u << i;
            if (v && v->frame.kind == TR__TX_VOTE && !seen_votes[i]) {
                assert_int_equal(TR__TX_READ, v->frame.status);
                seen_votes[i] = true;
                votes++;
            }
        }
        assert_true(cluster_step(c));
    }
    assert_int_equal(7, sent);
    assert_int_equal(3, votes);
    end(c);
}

/* One that has agreed may hear a second PREPARE, and say no to that: its word was given. */
static void who_has_agreed_is_not_asked_again(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", false, 0);
    cluster_op_add(t, "n2/a", false, 0);
    c->clogged[2][0] = false;
    while (t->stage < 2 || !t->ready)
        cluster_step(c);
    c->clogged[2][0] = true;
    for (int i = 0; i < 200 && cluster_step(c); i++)
        continue;
    assert_false(t->answered);
    tr__tx_frame no = {.kind = TR__TX_VOTE,
                       .id = {&t->begin.id, sizeof(t->begin.id)},
                       .from = "n1",
                       .actor = "a",
                       .text = "",
                       .status = TR__TX_NO,
                       .reason = TR_TX_BRANCH_LOST};
    tr__tx_receive(c->nodes[0].tx, &no);
    no.actor = "b"; /* takes no part */
    tr__tx_receive(c->nodes[0].tx, &no);
    c->clogged[2][0] = false;
    cluster_run(c, TR_SECONDS(1));
    assert_true(t->answered);
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    end(c);
}

static void a_write_in_what_is_read_only_is_not_allowed(void **state)
{
    (void)state;
    cluster *c = setup_cluster(4);
    cluster_transfer *t = cluster_begin(c, 0);
    t->begin.read_only = true;
    add_reads(t, false);
    cluster_transfer *w = cluster_begin(c, 0);
    w->begin.read_only = true;
    cluster_op_add(w, "n1/a", false, 0);
    cluster_op_add(w, "n2/a", true, 5);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    assert_int_equal(TR_TX_ABORTED, w->outcome.status);
    assert_int_equal(TR_TX_NOT_ALLOWED, w->outcome.reason);
    assert_non_null(strstr(w->outcome.text, "read-only"));
    end(c);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static void one_writer_and_readers_force_once(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) { /* whoever is called first, by what may write */
        cluster *c = setup_cluster(5);
        cluster_transfer *t = cluster_begin(c, 0);
        cluster_op_add(t, first ? "n2/a" : "n1/a", true, 0);
        cluster_op_add(t, "n0/a", false, 0);
        cluster_op_add(t, "n1/b", true, 7);
        cluster_op_add(t, "n1/b", true, -7);
        assert_int_equal(1, forces_of(c, t));
        assert_non_null(strstr(t->outcome.ticket, "@n1/")); /* where something was written */
        unsigned before = forces(c);
        cluster_run(c, TR_SECONDS(1));
        assert_int_equal(before + 1, forces(c)); /* n0's: it remembers how far n1's log is */
        end(c);
    }
}

static void all_on_one_node_force_once(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, 7);
    cluster_op_add(t, "n1/b", true, -7);
    assert_int_equal(1, forces_of(c, t));
    unsigned before = forces(c);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(before + 1, forces(c)); /* as above */
    end(c);
}

/* The second begins when the first is over; what follows is for nobody who waits. */
static void two_writers_on_two_nodes_force_twice_one_after_the_other(void **state)
{
    (void)state;
    cluster *c = setup_cluster(7);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, 7);
    cluster_op_add(t, "n2/a", true, -7);
    cluster_op_add(t, "n0/a", false, 0);
    unsigned before[] = {c->nodes[1].log.batches, c->nodes[2].log.batches};
    c->nodes[2].held = true;
    while (cluster_step(c))
        continue;
    assert_int_equal(before[0], c->nodes[1].log.batches);
    assert_int_equal(before[1] + 1, c->nodes[2].log.batches);
    c->nodes[2].held = false;
    assert_int_equal(2, forces_of(c, t));
    unsigned told = forces(c);
    cluster_run(c, TR_SECONDS(1));         /* that b is told, and that all have been */
    assert_int_equal(told + 4, forces(c)); /* two of them as above, of n0 and of n1 */
    end(c);
}

/* A reader is free when it has voted, whatever the others do. */
static void who_only_read_is_let_go_before_the_decision(void **state)
{
    (void)state;
    cluster *c = setup_cluster(8);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, 7);
    cluster_op_add(t, "n2/a", true, -7);
    cluster_op_add(t, "n1/b", false, 0); /* on the node that decides */
    cluster_op_add(t, "n2/b", true, 0);
    c->nodes[2].held = true;
    while (cluster_step(c))
        continue;
    assert_false(t->answered);
    for (uint32_t i = 1; i < 3; i++)
        for (const tr__tx_branch *b = c->nodes[i].tx->branches; b; b = b->hh.next)
            assert_string_equal("a", b->at->name);
    c->nodes[2].held = false;
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    end(c);
}

/* A node of an earlier version doesn't say whether anything was written: then it counts as written. */
static void an_earlier_participant_decides_what_it_may_have_written(void **state)
{
    (void)state;
    cluster *c = setup_cluster(9);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, 0);
    while (!c->wires[1][0])
        cluster_step(c);
    assert_int_equal(TR__TX_CALLED, c->wires[1][0]->frame.kind);
    c->wires[1][0]->frame.wrote.present = false;
    assert_int_equal(1, forces_of(c, t));
    assert_non_null(strstr(t->outcome.ticket, "@n1/"));
    end(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_wrote_nothing_forces_and_leaves_nothing),
        cmocka_unit_test(what_wrote_nothing_takes_one_round_trip),
        cmocka_unit_test(who_has_agreed_is_not_asked_again),
        cmocka_unit_test(a_write_in_what_is_read_only_is_not_allowed),
        cmocka_unit_test(one_writer_and_readers_force_once),
        cmocka_unit_test(all_on_one_node_force_once),
        cmocka_unit_test(two_writers_on_two_nodes_force_twice_one_after_the_other),
        cmocka_unit_test(who_only_read_is_let_go_before_the_decision),
        cmocka_unit_test(an_earlier_participant_decides_what_it_may_have_written),
    };
    return cmocka_run_group_tests_name("tx_forces", tests, NULL, NULL);
}
