/* A log that somebody copies stays as it is: no snapshot is taken, and no segment goes, until he lets go, or for half a
 * minute nobody went on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/tx/internal.h"
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define SEGMENT (16u * 1024)

static cluster *c;

static int setup(void **state)
{
    (void)state;
    c = calloc(1, sizeof(*c));
    cluster_open(c, 7);
    c->segment = SEGMENT; /* of logs that are opened from now on */
    cluster_kill(c, 0, false);
    assert_true(cluster_start(c, 0));
    cluster_run(c, TR_SECONDS(1));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cluster_close(c);
    free(c);
    return 0;
}

/* So many transactions that would fill some segments. */
static void fill(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        cluster_transfer_begin(c, 0, "n0/a", "n1/a", 1);
        cluster_run(c, TR_MILLIS(200));
    }
}

static uint64_t snapshots(void)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[0].tx, &figures);
    return figures.snapshots;
}

static tr__tx_held hold(uint64_t token)
{
    tr__tx_held held = {0};
    tr_error error = {0};
    if (tr__tx_hold(c->nodes[0].tx, token, &held, &error) != TR_OK)
        fail_msg("%s", error.text);
    return held;
}

static void assert_refused(tr_err code, uint64_t token, const char *why)
{
    tr__tx_held held;
    tr_error error = {0};
    assert_int_equal(code, tr__tx_hold(c->nodes[0].tx, token, &held, &error));
    assert_non_null(strstr(error.text, why));
}

static void what_is_held_stays_and_snapshots_go_on_after_it(void **state)
{
    (void)state;
    tr_error error = {0};
    uint64_t before = snapshots();
    tr__tx_held held = hold(0);
    assert_int_equal(held.lsn, tr__log_durable(c->nodes[0].tx->log));
    assert_memory_equal(held.log, tr__log_id(c->nodes[0].tx->log), TR__LOG_ID_BYTES);
    for (int i = 0; i < 20; i++) {
        fill(10);
        tr__tx_held same = hold(held.token);
        assert_int_equal(same.lsn, held.lsn);
        assert_int_equal(same.end, held.end);
        assert_true(tr__log_durable(c->nodes[0].tx->log) > held.lsn);
    }
    assert_int_equal(before, snapshots());
    assert_int_equal(held.first, tr__log_settled_of(c->nodes[0].tx->log).oldest);
    assert_int_equal(TR_OK, tr__tx_let_go(c->nodes[0].tx, held.token, &error));
    cluster_run(c, TR_SECONDS(1));
    assert_true(snapshots() > before);
}

static void one_that_nobody_goes_on_with_ends_by_itself_and_its_owner_hears_so(void **state)
{
    (void)state;
    tr_error error = {0};
    tr__tx_held held = hold(0);
    assert_refused(TR_EAGAIN, 0, "somebody else copies");
    assert_refused(TR_ENOTFOUND, held.token + 2, "has not kept its log for this copy");
    cluster_run(c, TR__TX_HOLD_NS - TR_SECONDS(1));
    hold(held.token);
    cluster_run(c, TR__TX_HOLD_NS + TR_SECONDS(1));
    assert_refused(TR_ENOTFOUND, held.token, "for 30 s nobody went on");
    assert_int_equal(TR_ENOTFOUND, tr__tx_let_go(c->nodes[0].tx, held.token, &error));
    assert_true(hold(0).token != held.token);
}

static void a_start_holds_nothing(void **state)
{
    (void)state;
    tr__tx_held held = hold(0);
    cluster_kill(c, 0, true);
    assert_true(cluster_start(c, 0));
    assert_refused(TR_ENOTFOUND, held.token, "it was started again");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_held_stays_and_snapshots_go_on_after_it, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_nobody_goes_on_with_ends_by_itself_and_its_owner_hears_so,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_start_holds_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name("tx_hold", tests, NULL, NULL);
}
