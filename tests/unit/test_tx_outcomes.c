/* Outcomes that are forgotten after a time: who asks later hears EXPIRED and never anything untrue, and what somebody still
 * needs is kept. Over logs in memory, as test_tx_protocol.c. */
#include "tests/kit/tx_pay.h"

#include "actors/tx/internal.h"
#include "base/mem.h"

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

/* ---- too many ------------------------------------------------------------------------------------------ */

/* n1 has so many outcomes of others, of its time. */
static void flood(cluster *c, uint32_t count)
{
    tr__tx *tx = c->nodes[1].tx;
    for (uint32_t i = 0; i < count; i++) {
        tr_tx_id id = tr__tx_id_make(tx->io->wall_ms(tx->context), 1, i);
        tr__tx_outcome_put(tx, &id, true, 1);
    }
}

static void the_oldest_go_first_when_there_are_too_many(void **state)
{
    (void)state;
    cluster *c = setup_cluster(40);
    tr__tx_outcomes_most(c->nodes[1].tx, 20);
    cluster_transfer *first = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    flood(c, 100);
    assert_int_equal(figures_of(c, 1).outcomes + figures_of(c, 1).outcomes_early, 101);
    assert_in_range(figures_of(c, 1).outcomes, 10, 20);
    cluster_run(c, TR_SECONDS(1));
    cluster_transfer *last = pay(c, 1);
    cluster_run(c, TR_SECONDS(2));
    ask(c, first);
    assert_int_equal(first->resolved, TR_TX_EXPIRED);
    ask(c, last);
    assert_int_equal(last->resolved, TR_TX_NONE);
    assert_settled(last, TR_TX_COMMITTED);
    assert_balances(c, 959, 1041);
    end(c);
}

static void what_not_all_have_heard_of_isnt_among_them(void **state)
{
    (void)state;
    cluster *c = setup_cluster(41);
    tr__tx_outcomes_most(c->nodes[1].tx, 4);
    cluster_transfer *t = pay(c, 40);
    c->nodes[1].held = true; /* COMMIT is appended, and stays on its way */
    cluster_run(c, TR_MILLIS(100));
    cluster_kill(c, 2, true);
    c->nodes[1].held = false;
    cluster_run(c, TR_SECONDS(3));
    flood(c, 100);
    ask(c, t);
    assert_settled(t, TR_TX_COMMITTED);
    assert_int_equal(t->resolved, TR_TX_NONE);
    assert_true(cluster_start(c, 2));
    cluster_run(c, TR_SECONDS(6));
    assert_balances(c, 960, 1040);
    end(c);
}

static uint32_t outcomes_to_n0(cluster *c)
{
    uint32_t count = 0;
    for (cluster_message *m = c->wires[1][0]; m; m = m->next)
        count += m->frame.kind == TR__TX_OUTCOME;
    return count;
}

/* It has no branches any more, as one that was wounded: "aborted" would be untrue. */
static void a_commit_that_comes_again_when_it_is_forgotten_isnt_answered(void **state)
{
    (void)state;
    cluster *c = setup_cluster(42);
    tr__tx_outcomes_most(c->nodes[1].tx, 4);
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    flood(c, 100);
    const tr__tx_party none[1] = {{.node = "n1", .actor = "a", .boot = c->nodes[1].id, .writes = 1}};
    tr__tx_buffer parties = {0};
    tr__tx_put_parties(&parties, none, 1);
    tr__tx_frame frame = tr__tx_frame_of(TR__TX_COMMIT, &t->begin.id);
    frame.from = "n0";
    frame.remaining = TR_SECONDS(5);
    frame.body = (tr_bytes){parties.bytes, parties.length};
    tr__tx_receive(c->nodes[1].tx, &frame);
    assert_int_equal(outcomes_to_n0(c), 0);
    tr__tx_buffer_free(&parties);
    end(c);
}

/* Nor can what was aborted by who asked be committed then, for its branches went with that. */
static void what_was_settled_stays_so_when_it_is_forgotten(void **state)
{
    (void)state;
    cluster *c = setup_cluster(43);
    tr__tx_outcomes_most(c->nodes[1].tx, 4);
    cluster_transfer *t = cluster_transfer_begin(c, 0, "n1/a", "n1/c", 40);
    while (figures_of(c, 1).branches < 2)
        assert_true(cluster_step(c));
    while (!t->ticket[0])
        assert_true(cluster_step(c));
    c->clogged[0][1] = true; /* its COMMIT is on its way */
    cluster_resolve(c, t, 2);
    cluster_run(c, TR_SECONDS(1));
    assert_settled(t, TR_TX_ABORTED);
    assert_false(t->answered);
    flood(c, 100);
    c->clogged[0][1] = false;
    cluster_run(c, TR_SECONDS(12));
    assert_int_not_equal(t->outcome.status, TR_TX_COMMITTED);
    assert_int_equal(cluster_balance(c, "n1/a"), 1000);
    assert_int_equal(cluster_balance(c, "n1/c"), 1000);
    end(c);
}

/* ---- no memory ----------------------------------------------------------------------------------------- */

static void without_memory_for_an_outcome_the_oldest_makes_room(void **state)
{
    (void)state;
    cluster *c = setup_cluster(44);
    tr__tx *tx = c->nodes[1].tx;
    flood(c, 100);
    for (uint64_t nth = 1; nth < 3; nth++) {
        tr_tx_id id = tr__tx_id_make(tx->io->wall_ms(tx->context), 2, nth);
        tr__alloc_fail_at(nth);
        tr__tx_outcome_put(tx, &id, true, 1);
        tr__alloc_fail_at(0);
        assert_non_null(tr__tx_outcome_find(tx, &id));
    }
    assert_in_range(figures_of(c, 1).outcomes_early, 1, 16);
    end(c);
}

/* The first ones of a decision are for its outcome, and its table: it is told, and the node goes on. */
static void no_memory_for_an_outcome_is_no_nodes_end(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 4; nth++) {
        cluster *c = setup_cluster(45);
        tr__tx *tx = c->nodes[1].tx;
        cluster_transfer *t = pay(c, 40);
        while (!tx->decisions || tx->decisions->state != TR__DECISION_FORCING)
            assert_true(cluster_step(c));
        tr_tx_id id = t->begin.id;
        tr__alloc_fail_at(nth);
        tr__tx_decided(tx, &id, true, tx->decisions->ts);
        tr__alloc_fail_at(0);
        assert_string_equal(c->nodes[1].fatal.text, "");
        cluster_run(c, TR_SECONDS(6));
        assert_answer(t, TR_TX_COMMITTED, TR_TX_NONE);
        assert_balances(c, 960, 1040);
        end(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_asks_in_time_hears_it_and_later_that_it_is_too_late),
        cmocka_unit_test(what_was_never_decided_is_too_late_as_well),
        cmocka_unit_test(who_has_no_right_settles_nothing),
        cmocka_unit_test(a_commit_that_not_all_have_heard_of_is_kept_whatever_its_age),
        cmocka_unit_test(a_clock_that_is_set_back_makes_nothing_young_again),
        cmocka_unit_test(the_oldest_go_first_when_there_are_too_many),
        cmocka_unit_test(what_not_all_have_heard_of_isnt_among_them),
        cmocka_unit_test(a_commit_that_comes_again_when_it_is_forgotten_isnt_answered),
        cmocka_unit_test(what_was_settled_stays_so_when_it_is_forgotten),
        cmocka_unit_test(without_memory_for_an_outcome_the_oldest_makes_room),
        cmocka_unit_test(no_memory_for_an_outcome_is_no_nodes_end),
    };
    return cmocka_run_group_tests_name("tx_outcomes", tests, NULL, NULL);
}
