/* Frames that come twice, late or out of turn, and managers that are out of room: nothing is done twice, no lock stays,
 * what was told stays true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/tx_cluster.h"

/* ---- fixture ------------------------------------------------------------------------------------------- */

static const char *const both[] = {"n1/a", "n2/b"};
static tr_tx_id an_id;

static cluster *setup_cluster(uint64_t seed)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    an_id = tr__tx_id_make(1700000001000u, 1, seed);
    return c;
}

static void end(cluster *c)
{
    cluster_run(c, TR_SECONDS(12));
    cluster_check(c, both, 2);
    cluster_close(c);
    free(c);
}

static cluster_transfer *pay(cluster *c)
{
    return cluster_transfer_begin(c, 0, "n1/a", "n2/b", 40);
}

static tr__tx_figures figures_of(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures;
}

/* A frame about an_id, as if it had come to n1 from n0. */
static tr__tx_frame frame_of(tr__tx_kind kind)
{
    return (tr__tx_frame){
        .kind = kind, .id = {&an_id, sizeof(an_id)}, .from = "n0", .actor = "a", .text = "", .number = 1};
}

static void n1_hears(cluster *c, const tr__tx_frame *frame)
{
    tr__tx_receive(c->nodes[1].tx, frame);
    while (cluster_step(c))
        continue;
}

static tr__tx_frame a_call(void)
{
    static const int64_t amount = 5;
    tr__tx_frame call = frame_of(TR__TX_CALL);
    call.type = 1;
    call.writes = 1;
    call.remaining = TR_SECONDS(10);
    call.wait = TR_SECONDS(1);
    call.body = (tr_bytes){&amount, sizeof(amount)};
    return call;
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static void a_call_that_comes_again_after_its_branch_ended_begins_nothing(void **state)
{
    (void)state;
    cluster *c = setup_cluster(1);
    tr__tx_frame call = a_call(), drop = frame_of(TR__TX_DROP);
    n1_hears(c, &call);
    assert_int_equal(1, figures_of(c, 1).branches);
    n1_hears(c, &drop);
    n1_hears(c, &call); /* the account has no state yet: nothing but the tomb knows of it */
    assert_int_equal(0, figures_of(c, 1).branches);
    cluster_run(c, TR_SECONDS(25));
    n1_hears(c, &call); /* a tomb isn't for ever */
    assert_int_equal(1, figures_of(c, 1).branches);
    n1_hears(c, &drop);
    end(c);
}

/* What says that it is over overtakes what would begin it. */
static void an_end_that_comes_before_its_call_leaves_a_tomb_until_the_deadline(void **state)
{
    (void)state;
    for (int decided = 0; decided < 2; decided++) {
        cluster *c = setup_cluster(12);
        tr__tx_frame call = a_call(), over = frame_of(decided ? TR__TX_DECIDE : TR__TX_DROP);
        over.status = decided ? TR__TX_ABORTED : 0;
        over.remaining = TR_SECONDS(10);
        n1_hears(c, &over);
        n1_hears(c, &call);
        assert_int_equal(0, figures_of(c, 1).branches);
        cluster_run(c, TR_SECONDS(15));
        n1_hears(c, &call);
        assert_int_equal(0, figures_of(c, 1).branches);
        cluster_run(c, TR_SECONDS(10));
        n1_hears(c, &call);
        assert_int_equal(1, figures_of(c, 1).branches);
        over = frame_of(TR__TX_DROP);
        n1_hears(c, &over);
        end(c);
    }
}

/* Whatever the first is answered, for want of memory as well. */
static void a_commit_that_comes_again_commits_nothing_twice(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 12; nth++) {
        cluster *c = setup_cluster(2);
        tr__tx_party party = {.node = "n1", .actor = "a", .boot = c->nodes[1].id, .writes = 1};
        tr__tx_buffer parties = {0};
        tr__tx_put_parties(&parties, &party, 1);
        tr__tx_frame call = a_call(), commit = frame_of(TR__TX_COMMIT);
        commit.remaining = TR_SECONDS(10);
        commit.body = (tr_bytes){parties.bytes, parties.length};
        n1_hears(c, &call);
        tr__alloc_fail_at(nth);
        n1_hears(c, &commit);
        tr__alloc_fail_at(0);
        for (int again = 0; again < 2 && c->nodes[1].tx; again++) {
            uint64_t committed = figures_of(c, 1).committed;
            n1_hears(c, &call);
            n1_hears(c, &commit);
            assert_int_equal(committed, figures_of(c, 1).committed);
            assert_int_equal(0, figures_of(c, 1).branches);
        }
        tr__tx_buffer_free(&parties);
        cluster_close(c);
        free(c);
    }
}

static void a_branch_begins_with_the_first_call(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    tr__tx_frame call = a_call();
    call.number = 2; /* what the first did is lost: this one alone must not be committed */
    n1_hears(c, &call);
    assert_int_equal(0, figures_of(c, 1).branches);
    end(c);
}

/* ---- what was told stays true -------------------------------------------------------------------------- */

/* A caller of an earlier version has it decided by who was called first by what may write. */
static void what_wrote_nothing_after_all_resolves_as_it_was_told(void **state)
{
    (void)state;
    cluster *c = setup_cluster(4);
    cluster_transfer *t = cluster_begin(c, 0);
    cluster_op_add(t, "n1/a", true, 0);
    cluster_op_add(t, "n2/b", true, 0);
    while (!c->wires[1][0] || c->wires[1][0]->frame.kind != TR__TX_CALLED)
        cluster_step(c);
    c->wires[1][0]->frame.wrote.present = false;
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, t->outcome.status);
    cluster_kill(c, 1, true);
    assert_true(cluster_start(c, 1));
    cluster_resolve(c, t, 2);
    cluster_run(c, TR_SECONDS(1)); /* the kit compares the answers */
    assert_false(t->resolving);
    end(c);
}

static void any_allocation_may_fail_while_a_third_node_asks(void **state)
{
    (void)state;
    uint64_t nth = 0, seen = 1;
    while (seen >= nth) {
        nth++;
        cluster *c = setup_cluster(5);
        cluster_transfer *t = pay(c);
        while (t->stage < 2 || !t->ready)
            cluster_step(c);
        tr__tx_ticket(c->nodes[0].tx, &t->begin.id, t->ticket);
        t->ready = false; /* its caller takes its time */
        tr__alloc_fail_at(nth);
        cluster_resolve(c, t, 2);
        for (int i = 0; i < 200 && cluster_step(c); i++)
            continue;
        seen = tr__alloc_fail_at(0);
        t->ready = true;
        cluster_run(c, TR_SECONDS(1));
        for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
            if (c->nodes[i].tx)
                cluster_kill(c, i, false);
            assert_true(cluster_start(c, i)); /* its log makes sense */
        }
        end(c);
    }
    assert_true(nth > 3);
}

/* Its participant gave the branch up, and a writer went by, before its caller could know. */
static void a_reader_whose_branch_is_gone_is_not_told_that_what_it_read_stood_together(void **state)
{
    (void)state;
    cluster *c = setup_cluster(10);
    cluster_transfer *reader = cluster_begin(c, 0);
    cluster_op_add(reader, "n1/a", false, 0);
    cluster_op_add(reader, "n2/b", false, 0);
    while (reader->stage < 1 || !reader->ready)
        cluster_step(c);
    reader->ready = false; /* it takes its time */
    tr__tx_node_down(c->nodes[1].tx, "n0");
    cluster_transfer *writer = cluster_transfer_begin(c, 2, "n1/a", "n2/b", 40);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, writer->outcome.status);
    reader->ready = true;
    cluster_run(c, TR_SECONDS(1));
    assert_true(reader->answered);
    assert_int_equal(TR_TX_ABORTED, reader->outcome.status);
    end(c);
}

static void a_decision_by_another_log_is_none(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    cluster_transfer *t = pay(c);
    c->nodes[1].kill_at = TR__TX_POINT_COMMIT_FORCED;
    while (c->nodes[1].tx)
        cluster_step(c);
    static const uint8_t another[TR__LOG_ID_BYTES] = {7};
    tr__tx_frame decide = {.kind = TR__TX_DECIDE,
                           .id = {&t->begin.id, sizeof(t->begin.id)},
                           .from = "n1",
                           .actor = "b",
                           .text = "",
                           .log = {another, sizeof(another)},
                           .status = TR__TX_ABORTED};
    tr__tx_receive(c->nodes[2].tx, &decide);
    assert_int_equal(1, figures_of(c, 2).prepared);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(1040, cluster_balance(c, "n2/b"));
    end(c);
}

/* ---- out of room --------------------------------------------------------------------------------------- */

static void a_coordinator_without_room_leaves_no_lock(void **state)
{
    (void)state;
    cluster *c = setup_cluster(7);
    c->reserve = 256 * 1024; /* for a thousand records that aren't forced */
    cluster_kill(c, 1, false);
    assert_true(cluster_start(c, 1));
    cluster_transfer *t = pay(c);
    while (t->stage < 2 || !t->ready)
        cluster_step(c);
    char node[TR_NAME_MAX];
    uint8_t log[TR__LOG_ID_BYTES];
    tr_tx_id id;
    tr__tx_ticket(c->nodes[0].tx, &t->begin.id, t->ticket);
    assert_true(tr__tx_ticket_parse(t->ticket, &id, node, log));
    c->nodes[1].held = true;
    for (int i = 0; i < TR__TX_UNDECIDED_MAX + 5; i++) { /* asked for what it never heard of */
        an_id = tr__tx_id_make(1700000001000u, 2, (uint64_t)i);
        tr__tx_frame inquire = frame_of(TR__TX_INQUIRE);
        inquire.actor = "";
        inquire.log = (tr_bytes){log, sizeof(log)};
        tr__tx_receive(c->nodes[1].tx, &inquire);
    }
    assert_int_equal(TR__TX_UNDECIDED_MAX, figures_of(c, 1).deciding);
    while (cluster_step(c))
        continue;
    assert_int_equal(TR_TX_ABORTED, t->outcome.status);
    assert_int_equal(TR_TX_OVERLOAD, t->outcome.reason);
    assert_int_equal(0, figures_of(c, 1).branches);
    assert_int_equal(0, figures_of(c, 2).branches);
    c->nodes[1].held = false;
    end(c);
}

static void what_waits_for_a_lock_has_a_bound_in_bytes(void **state)
{
    (void)state;
    cluster *c = setup_cluster(9);
    uint8_t *body = calloc(1, 1024 * 1024);
    tr__tx_frame call = a_call();
    n1_hears(c, &call); /* has the lock; the others wait */
    call.body = (tr_bytes){body, 1024 * 1024};
    for (uint64_t i = 0; i < 100; i++) {
        an_id = tr__tx_id_make(1700000001000u, 2, i);
        tr__tx_receive(c->nodes[1].tx, &call);
    }
    assert_in_range(figures_of(c, 1).branches, 60, 65);
    for (uint64_t i = 0; i < 100; i++) {
        an_id = tr__tx_id_make(1700000001000u, 2, i);
        tr__tx_frame drop = frame_of(TR__TX_DROP);
        n1_hears(c, &drop);
    }
    assert_int_equal(1, figures_of(c, 1).branches);
    call.body.size = 8; /* and there is room again */
    an_id = tr__tx_id_make(1700000001000u, 3, 0);
    tr__tx_receive(c->nodes[1].tx, &call);
    assert_int_equal(2, figures_of(c, 1).branches);
    free(body);
    cluster_close(c);
    free(c);
}

static void a_vote_from_the_far_future_moves_no_clock(void **state)
{
    (void)state;
    cluster *c = setup_cluster(8);
    cluster_transfer *t = pay(c);
    c->nodes[2].held = true; /* its own vote doesn't come */
    while (figures_of(c, 1).deciding == 0)
        cluster_step(c);
    tr__tx_frame vote = {.kind = TR__TX_VOTE,
                         .id = {&t->begin.id, sizeof(t->begin.id)},
                         .from = "n2",
                         .actor = "b",
                         .text = "",
                         .status = TR__TX_YES,
                         .ts = UINT64_MAX};
    tr__tx_receive(c->nodes[1].tx, &vote);
    while (cluster_step(c))
        continue;
    assert_int_equal(TR_TX_ABORTED, t->outcome.status);
    assert_non_null(strstr(t->outcome.text, "10 minutes ahead"));
    c->nodes[2].held = false;
    cluster_run(c, TR_SECONDS(1));
    pay(c);
    pay(c);
    end(c); /* and compares commit times */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_comes_again_after_its_branch_ended_begins_nothing),
        cmocka_unit_test(an_end_that_comes_before_its_call_leaves_a_tomb_until_the_deadline),
        cmocka_unit_test(a_commit_that_comes_again_commits_nothing_twice),
        cmocka_unit_test(a_branch_begins_with_the_first_call),
        cmocka_unit_test(what_wrote_nothing_after_all_resolves_as_it_was_told),
        cmocka_unit_test(any_allocation_may_fail_while_a_third_node_asks),
        cmocka_unit_test(a_reader_whose_branch_is_gone_is_not_told_that_what_it_read_stood_together),
        cmocka_unit_test(a_decision_by_another_log_is_none),
        cmocka_unit_test(a_coordinator_without_room_leaves_no_lock),
        cmocka_unit_test(what_waits_for_a_lock_has_a_bound_in_bytes),
        cmocka_unit_test(a_vote_from_the_far_future_moves_no_clock),
    };
    return cmocka_run_group_tests_name("tx_twice", tests, NULL, NULL);
}
