/* What transactions emit: it leaves if and when they commit, arrives whoever is killed when, and once at a participant. The
 * state machine over logs in memory; each write of an account emits to an audit, a participant, and to a ledger, which is
 * none (tests/kit/tx_cluster.h). */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"
#include "base/mem.h"

static const char *const all[] = {"n0/a", "n1/b"};

/* ---- fixture ------------------------------------------------------------------------------------------- */

static cluster *setup_cluster(uint64_t seed)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    c->emits = true;
    return c;
}

static void end(cluster *c)
{
    cluster_close(c);
    free(c);
}

/* n0 decides, n1 prepares; what they emit goes to a node that the id says, n2 as a rule. */
static cluster_transfer *pay(cluster *c)
{
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n0/a", "n1/b", 40);
    t->begin.id.bytes[15] = 2;
    return t;
}

static tr__tx_figures figures_of(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures;
}

static void start_again(cluster *c, uint32_t node)
{
    if (c->nodes[node].tx)
        cluster_kill(c, node, true);
    if (!cluster_start(c, node))
        fail_msg("refused: %s", c->nodes[node].fatal.text);
}

/* Committed on n0 and n1, and nobody can tell n2. */
static cluster_transfer *undelivered(cluster *c)
{
    cluster_partition(c, 0, 2);
    cluster_partition(c, 1, 2);
    cluster_transfer *t = pay(c);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_COMMITTED, t->settled);
    assert_true(t->is_settled);
    return t;
}

static void heal(cluster *c)
{
    cluster_heal(c, 0, 2);
    cluster_heal(c, 1, 2);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_is_committed_arrives(void **state)
{
    (void)state;
    cluster *c = setup_cluster(1);
    cluster_transfer *t = pay(c);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(2, cluster_noted(c, &t->begin.id)); /* of each account one */
    assert_int_equal(2, t->posted);
    assert_int_equal(2, figures_of(c, 0).emitted);
    assert_int_equal(2, figures_of(c, 1).emitted);
    cluster_check(c, all, 2);
    end(c);
}

static void what_is_aborted_emits_nothing(void **state)
{
    (void)state;
    cluster *c = setup_cluster(2);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n0/a", "n1/b", 40);
    cluster_op_add(t, "n2/poor", true, -CLUSTER_START - 1);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_ABORTED, t->settled);
    assert_true(t->is_settled);
    assert_int_equal(0, cluster_noted(c, &t->begin.id));
    assert_int_equal(0, t->posted);
    cluster_check(c, all, 2);
    end(c);
}

static void nothing_leaves_before_the_force(void **state)
{
    (void)state;
    cluster *c = setup_cluster(3);
    cluster_transfer *t = pay(c);
    while (c->nodes[0].tx && !c->nodes[0].hits[TR__TX_POINT_BEFORE_COMMIT])
        cluster_step(c);
    c->nodes[0].held = true;
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(0, t->posted);
    cluster_kill(c, 0, true); /* the COMMIT was never on the disk */
    start_again(c, 0);
    cluster_run(c, TR_SECONDS(20));
    assert_int_equal(0, t->posted);
    cluster_check(c, all, 2);
    end(c);
}

/* Also the record that says it was delivered: what it says may get lost, and is said again. */
static void whoever_is_killed_when_it_arrives_once(void **state)
{
    (void)state;
    for (uint32_t node = 0; node < CLUSTER_NODES; node++)
        for (int point = 0; point < TR__TX_POINT_COUNT; point++)
            for (uint64_t seed = 0; seed < 6; seed++) {
                cluster *c = setup_cluster(seed);
                c->segment = seed % 2 ? 16 * 1024 : 0;
                c->twice = 4;
                for (int i = 0; i < 4; i++)
                    pay(c);
                c->nodes[node].kill_at = point;
                c->nodes[node].kill_after = (uint32_t)seed % 3;
                cluster_run(c, TR_SECONDS(2));
                if (!c->nodes[node].tx)
                    start_again(c, node);
                cluster_run(c, TR_SECONDS(20));
                cluster_check(c, all, 2);
                end(c);
            }
}

static void it_waits_over_starts_of_its_node(void **state)
{
    (void)state;
    cluster *c = setup_cluster(4);
    cluster_transfer *t = undelivered(c);
    for (int i = 0; i < 2; i++) {
        start_again(c, 0);
        start_again(c, 1);
        assert_int_equal(2, figures_of(c, 0).emits);
        assert_int_equal(2, figures_of(c, 1).emits);
    }
    heal(c);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(2, t->posted);
    cluster_check(c, all, 2);
    end(c);
}

/* Until two more segments of n0 and n1 are gone each. */
static void drop_segments(cluster *c)
{
    unsigned first = c->nodes[0].log.dropped + 2, second = c->nodes[1].log.dropped + 2;
    while (c->nodes[0].log.dropped < first || c->nodes[1].log.dropped < second) {
        cluster_transfer_begin(c, 0, "n0/c", "n0/d", 1);
        cluster_transfer_begin(c, 1, "n1/c", "n1/d", 1);
        cluster_run(c, TR_MILLIS(60));
    }
}

/* By then it would have come after 5 s only. */
static void a_node_that_comes_back_gets_it_at_once(void **state)
{
    (void)state;
    cluster *c = setup_cluster(11);
    cluster_transfer *t = undelivered(c);
    cluster_run(c, TR_SECONDS(40));
    heal(c);
    cluster_run(c, TR_MILLIS(200));
    assert_int_equal(2, t->posted);
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    end(c);
}

/* Its records are in segments that are gone. */
static void a_snapshot_keeps_what_is_not_delivered(void **state)
{
    (void)state;
    cluster *c = setup_cluster(5);
    c->segment = 16 * 1024;
    start_again(c, 0);
    start_again(c, 1);
    cluster_transfer *t = undelivered(c);
    c->emits = false;
    drop_segments(c);
    start_again(c, 0);
    start_again(c, 1);
    assert_int_equal(2, figures_of(c, 0).emits);
    assert_int_equal(2, figures_of(c, 1).emits);
    heal(c);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    assert_int_equal(2, t->posted);
    drop_segments(c); /* and what is delivered isn't in it any more */
    start_again(c, 0);
    assert_int_equal(0, figures_of(c, 0).emits);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    end(c);
}

static void a_participant_started_anew_knows_what_it_has_executed(void **state)
{
    (void)state;
    cluster *c = setup_cluster(6);
    cluster_transfer *t = pay(c);
    c->clogged[2][0] = c->clogged[2][1] = true; /* what n2 answers doesn't come */
    cluster_run(c, TR_SECONDS(3));
    assert_true(figures_of(c, 0).emits > 0);
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    assert_int_equal(2, t->posted); /* nor does a mailbox get it again from a node that lives on */
    c->clogged[2][0] = c->clogged[2][1] = false;
    start_again(c, 2);
    cluster_run(c, TR_SECONDS(8));
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    cluster_check(c, all, 2);
    end(c);
}

/* They come in the order of their commits: who was first isn't overtaken while its receiver is away. */
static void one_waits_for_the_one_before_it(void **state)
{
    (void)state;
    cluster *c = setup_cluster(7);
    cluster_transfer *first = undelivered(c), *second = pay(c);
    cluster_run(c, TR_SECONDS(1));
    c->no_ledger = true;
    heal(c);
    cluster_run(c, TR_SECONDS(8));
    assert_int_equal(0, first->posted + second->posted);
    assert_int_equal(2, cluster_noted(c, &first->begin.id)); /* another receiver isn't held up */
    assert_int_equal(2, cluster_noted(c, &second->begin.id));
    c->no_ledger = false;
    cluster_run(c, TR_SECONDS(6));
    cluster_check(c, all, 2);
    end(c);
}

static void one_that_is_not_delivered_for_long_is_told_once(void **state)
{
    (void)state;
    cluster *c = setup_cluster(8);
    undelivered(c);
    cluster_run(c, TR_SECONDS(28));
    assert_int_equal(0, c->told);
    cluster_run(c, TR_SECONDS(60));
    assert_int_equal(4, c->told); /* two nodes, two receivers each */
    assert_false(c->told_refused);
    assert_non_null(strstr(c->told_why, "isn't connected"));
    heal(c);
    cluster_run(c, TR_SECONDS(6));
    cluster_check(c, all, 2);
    end(c);
}

static void what_a_participant_refuses_is_told_and_not_sent_again(void **state)
{
    (void)state;
    cluster *c = setup_cluster(9);
    strcpy(c->told_why, "!"); /* audits refuse until somebody is told */
    cluster_transfer *t = pay(c);
    cluster_run(c, TR_SECONDS(10));
    assert_true(c->told >= 1 && c->told_refused);
    assert_string_equal("not wanted", c->told_why);
    assert_int_equal(2, cluster_noted(c, &t->begin.id) + c->told);
    assert_int_equal(c->told, figures_of(c, 0).emits_refused + figures_of(c, 1).emits_refused);
    assert_int_equal(0, figures_of(c, 0).emits + figures_of(c, 1).emits);
    end(c);
}

static void beyond_the_bound_a_call_is_refused(void **state)
{
    (void)state;
    cluster *c = setup_cluster(10);
    cluster_transfer *t = undelivered(c);
    c->nodes[0].tx->emit_count += TR__TX_EMITS_MAX - 3; /* so many more wait: there is room for one */
    cluster_transfer *refused = pay(c);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(TR_TX_ABORTED, refused->outcome.status);
    assert_int_equal(TR_TX_OVERLOAD, refused->outcome.reason);
    assert_non_null(strstr(refused->outcome.text, "aren't delivered yet"));
    assert_int_equal(TR__TX_EMITS_MAX - 1, c->nodes[0].tx->emit_count); /* nothing of it is counted */
    c->nodes[0].tx->emit_count -= TR__TX_EMITS_MAX - 3;
    heal(c);
    cluster_run(c, TR_SECONDS(6));
    assert_int_equal(2, t->posted);
    cluster_check(c, all, 2);
    end(c);
}

/* As from n1, with n0's log and a number that is far ahead. */
static void forge(cluster *c, const char *actor)
{
    static const tr_tx_id id = {{1}};
    tr__tx_frame forged = tr__tx_frame_of(TR__TX_EMIT, &id);
    forged.from = "n1";
    forged.actor = actor;
    forged.log = (tr_bytes){tr__tx_log_id(c->nodes[0].tx), TR__LOG_ID_BYTES};
    forged.ts = UINT64_MAX;
    forged.type = CLUSTER_NOTE;
    forged.body = (tr_bytes){&id, sizeof(id)};
    forged.durable.present = true;
    forged.durable.value = tr__tx_durable_for(c->nodes[1].tx, "n2");
    tr__tx_receive(c->nodes[2].tx, &forged);
    cluster_run(c, TR_SECONDS(1));
}

/* What n0 emits then isn't taken for what has come before. */
static void nobody_says_how_far_the_log_of_another_is(void **state)
{
    (void)state;
    cluster *c = setup_cluster(13);
    pay(c);
    cluster_run(c, TR_SECONDS(1)); /* all have met */
    forge(c, "ledger");
    forge(c, "audit");
    cluster_transfer *t = pay(c);
    cluster_run(c, TR_SECONDS(20)); /* n1 is heard again */
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    assert_int_equal(2, t->posted);
    cluster_check(c, all, 2);
    end(c);
}

/* Nor by saying first that it is its own. */
static void nobody_has_the_log_of_another(void **state)
{
    (void)state;
    cluster *c = setup_cluster(14);
    pay(c);
    cluster_run(c, TR_SECONDS(1));
    tr__tx_frame hello = tr__tx_frame_of(TR__TX_HELLO, &(tr_tx_id){{0}});
    hello.from = "n1";
    hello.log = (tr_bytes){tr__tx_log_id(c->nodes[0].tx), TR__LOG_ID_BYTES};
    hello.boot = c->nodes[1].id;
    hello.body = (tr_bytes){"", 1}; /* it remembers nothing */
    tr__tx_receive(c->nodes[2].tx, &hello);
    forge(c, "ledger");
    forge(c, "audit");
    cluster_partition(c, 1, 2); /* it is the true one from then on */
    cluster_heal(c, 1, 2);
    cluster_transfer *t = pay(c);
    cluster_run(c, TR_SECONDS(20));
    assert_int_equal(2, cluster_noted(c, &t->begin.id));
    assert_int_equal(2, t->posted);
    cluster_check(c, all, 2);
    end(c);
}

/* 64 of 16 KiB are a MiB and more. */
static void what_is_emitted_counts_into_what_is_written(void **state)
{
    (void)state;
    static const char body[16384];
    tr__store store = {0};
    tr_txview view = {.store = &store};
    uint32_t count = 0;
    const tr_bytes to = {"n1/b", 4};
    while (tr__view_emit(&view, to, 1, 0, (tr_bytes){body, sizeof(body)}) == TR_OK)
        count++;
    assert_int_equal(63, count);
    assert_int_equal(TR_ETOOBIG, tr__view_write(&view, "k", 1, body, sizeof(body)));
    assert_int_equal(TR_EINVAL, tr__view_emit(&view, (tr_bytes){"a/b/c", 5}, 1, 0, to));
    assert_int_equal(TR_EINVAL, tr__view_emit(&view, (tr_bytes){"n1/", 3}, 1, 0, to));
    assert_int_equal(TR_EINVAL, tr__view_emit(&view, (tr_bytes){"/b", 2}, 1, 0, to));
    tr__view_clear(&view);
    assert_int_equal(TR_OK, tr__view_emit(&view, (tr_bytes){"b", 1}, 1, 0, to)); /* its own node's */
    tr__view_clear(&view);
}

/* Memory fails at each place in turn: what is committed is delivered all the same, if the process lives or when it is
 * started again. */
static void want_of_memory_loses_nothing(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 160; nth++) {
        cluster *c = setup_cluster(nth);
        pay(c);
        tr__alloc_fail_at(nth);
        cluster_run(c, TR_SECONDS(2));
        tr__alloc_fail_at(0);
        for (uint32_t i = 0; i < CLUSTER_NODES; i++)
            if (!c->nodes[i].tx)
                start_again(c, i);
        cluster_run(c, TR_SECONDS(20));
        cluster_check(c, all, 2);
        end(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_committed_arrives),
        cmocka_unit_test(what_is_aborted_emits_nothing),
        cmocka_unit_test(nothing_leaves_before_the_force),
        cmocka_unit_test(whoever_is_killed_when_it_arrives_once),
        cmocka_unit_test(it_waits_over_starts_of_its_node),
        cmocka_unit_test(a_node_that_comes_back_gets_it_at_once),
        cmocka_unit_test(a_snapshot_keeps_what_is_not_delivered),
        cmocka_unit_test(a_participant_started_anew_knows_what_it_has_executed),
        cmocka_unit_test(one_waits_for_the_one_before_it),
        cmocka_unit_test(one_that_is_not_delivered_for_long_is_told_once),
        cmocka_unit_test(what_a_participant_refuses_is_told_and_not_sent_again),
        cmocka_unit_test(beyond_the_bound_a_call_is_refused),
        cmocka_unit_test(nobody_says_how_far_the_log_of_another_is),
        cmocka_unit_test(nobody_has_the_log_of_another),
        cmocka_unit_test(what_is_emitted_counts_into_what_is_written),
        cmocka_unit_test(want_of_memory_loses_nothing),
    };
    return cmocka_run_group_tests_name("tx_outbox", tests, NULL, NULL);
}
