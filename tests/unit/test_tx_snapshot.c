/* Snapshots that state machines take while they work: what was in a segment that is gone comes back, whatever it was. */
#include "actors/tx/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/internal.h"
#include "actors/tx/log_format.h"
#include "actors/tx/snap_rows.h"
#include "tests/kit/tx_pay.h"

#define SEGMENT 16384u

/* ---- fixture ------------------------------------------------------------------------------------------- */

static int fresh(void **state)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, 3);
    c->segment = SEGMENT;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        cluster_kill(c, i, false);
        assert_true(cluster_start(c, i));
    }
    *state = c;
    return 0;
}

static int over(void **state)
{
    cluster_close(*state);
    free(*state);
    return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static void run_until_dead(cluster *c, uint32_t node, tr__tx_point point)
{
    c->nodes[node].kill_at = (int)point;
    for (int i = 0; i < 100000 && c->nodes[node].tx; i++)
        cluster_step(c);
    assert_null(c->nodes[node].tx);
}

/* So many snapshots of that node, by transactions that nobody else has to do with; what was before is in them. */
static void snapshots(cluster *c, uint32_t node, unsigned count)
{
    const memory_log *log = &c->nodes[node].log;
    char from[8], to[8];
    snprintf(from, sizeof from, "n%u/c", node);
    snprintf(to, sizeof to, "n%u/d", node);
    unsigned wanted = log->snap.seals + count, dropped = log->dropped;
    while (log->snap.seals < wanted) {
        cluster_transfer_begin(c, node, from, to, 1);
        cluster_run(c, TR_MILLIS(60));
    }
    cluster_run(c, TR_MILLIS(200));
    assert_true(log->dropped > dropped);
}

static void start_again(cluster *c, uint32_t node)
{
    cluster_kill(c, node, true);
    if (!cluster_start(c, node))
        fail_msg("refused: %s", c->nodes[node].fatal.text);
}

/* Steps until a snapshot of that node is begun, and nothing of it done. */
static void until_begun(cluster *c, uint32_t node)
{
    const memory_snap *snap = &c->nodes[node].log.snap;
    char from[8], to[8];
    snprintf(from, sizeof from, "n%u/c", node);
    snprintf(to, sizeof to, "n%u/d", node);
    while (!snap->step) {
        cluster_transfer_begin(c, node, from, to, 1);
        for (int i = 0; i < 2000 && !snap->step; i++)
            if (!cluster_step(c))
                c->now_ns += TR_MILLIS(1);
    }
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void what_was_committed_comes_back(void **state)
{
    cluster *c = *state;
    pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    for (uint32_t node = 1; node < 3; node++) {
        snapshots(c, node, 2);
        start_again(c, node);
    }
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(cluster_balance(c, "n1/a"), CLUSTER_START - 40);
    assert_int_equal(cluster_balance(c, "n2/b"), CLUSTER_START + 40);
    assert_int_equal(cluster_balance(c, "n1/c") + cluster_balance(c, "n1/d"), 2 * CLUSTER_START);
    assert_true(cluster_balance(c, "n1/c") < CLUSTER_START);
}

static void what_is_in_doubt_comes_back_with_its_lock(void **state)
{
    cluster *c = *state;
    cluster_transfer *t = pay(c, 40);
    run_until_dead(c, 1, TR__TX_POINT_BEFORE_COMMIT);
    assert_int_equal(figures_of(c, 2).prepared, 1);
    snapshots(c, 2, 2);
    start_again(c, 2);
    assert_int_equal(figures_of(c, 2).prepared, 1);
    tr__tx_doubt doubt;
    assert_int_equal(tr__tx_doubts(c->nodes[2].tx, &doubt, 1), 1);
    assert_memory_equal(&doubt.id, &t->begin.id, sizeof(doubt.id));
    assert_string_equal(doubt.actor, "b");
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(figures_of(c, 2).prepared, 0);
    assert_int_equal(cluster_balance(c, "n2/b"), CLUSTER_START);
}

static void who_is_still_owed_a_commit_hears_of_it(void **state)
{
    cluster *c = *state;
    pay(c, 40);
    while (!c->nodes[1].hits[TR__TX_POINT_COMMIT_FORCED])
        cluster_step(c);
    cluster_partition(c, 1, 2);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(figures_of(c, 1).deciding, 1);
    snapshots(c, 1, 2);
    start_again(c, 1);
    assert_int_equal(figures_of(c, 1).deciding, 1);
    assert_int_equal(cluster_balance(c, "n1/a"), CLUSTER_START - 40);
    cluster_heal(c, 1, 2);
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(figures_of(c, 1).deciding, 0);
    assert_int_equal(cluster_balance(c, "n2/b"), CLUSTER_START + 40);
    assert_int_equal(cluster_balance(c, "n1/a"), CLUSTER_START - 40);
}

static void what_became_of_a_transaction_is_known_for_ever(void **state)
{
    cluster *c = *state;
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(t->outcome.status, TR_TX_COMMITTED);
    snapshots(c, 1, 2);
    start_again(c, 1);
    for (int i = 0; i < 2; i++) {
        cluster_resolve(c, t, 2); /* the kit compares it with what was told */
        cluster_run(c, TR_SECONDS(2));
        assert_false(t->resolving);
        assert_int_equal(t->settled, TR_TX_COMMITTED);
    }
}

static void a_full_disk_puts_it_off(void **state)
{
    cluster *c = *state;
    memory_log *log = &c->nodes[1].log;
    until_begun(c, 1);
    log->space = memory_log_used(log);
    cluster_run(c, TR_SECONDS(5));
    assert_int_equal(log->snap.seals, 0);
    assert_int_equal(log->dropped, 0);
    assert_int_equal(c->nodes[1].fatal.code, TR_OK);
    log->space = 0;
    cluster_run(c, TR_SECONDS(10));
    snapshots(c, 1, 1);
    start_again(c, 1);
}

static void who_has_the_rows_open_puts_it_off(void **state)
{
    static const tr_err passing[] = {TR_EADDRINUSE, TR_ENOMEM};
    cluster *c = *state;
    memory_snap *snap = &c->nodes[1].log.snap;
    for (size_t i = 0; i < TR_COUNT(passing); i++) {
        unsigned seals = snap->seals;
        until_begun(c, 1);
        snap->fails = passing[i];
        cluster_run(c, TR_SECONDS(5));
        assert_int_equal(snap->seals, seals);
        assert_int_equal(c->nodes[1].fatal.code, TR_OK);
        snap->fails = TR_OK;
        cluster_run(c, TR_SECONDS(10));
        snapshots(c, 1, 1);
    }
    start_again(c, 1);
}

/* Whoever wrote it: both can't be. */
static void a_log_that_says_two_things_of_one_transaction_is_refused(void **state)
{
    cluster *c = *state;
    cluster_transfer *t = pay(c, 40);
    tr__tx_buffer record = {0};
    cluster_run(c, TR_SECONDS(1));
    tr__tx_put_id(&record, &t->begin.id);
    assert_int_equal(
        tr__tx_append(c->nodes[1].tx, TR__RECORD_TOMB, false, &record, NULL, true, &c->nodes[1].fatal),
        TR_OK);
    cluster_run(c, TR_SECONDS(1));
    cluster_kill(c, 1, false);
    assert_false(cluster_start(c, 1));
    assert_int_equal(c->nodes[1].fatal.code, TR_EMISMATCH);
    assert_non_null(strstr(c->nodes[1].fatal.text, "makes no sense"));
}

static void a_snapshot_that_says_two_things_of_one_transaction_is_refused(void **state)
{
    cluster *c = *state;
    cluster_transfer *t = pay(c, 40);
    tr__snap_store *rows = &c->nodes[1].log.snap.store;
    tr__snap_meta meta;
    tr_error error;
    tr__tx_buffer row = {0};
    char key[1 + sizeof(tr_tx_id)] = {'O'};
    while (!c->nodes[1].hits[TR__TX_POINT_COMMIT_FORCED])
        cluster_step(c);
    cluster_partition(c, 1, 2);
    snapshots(c, 1, 2);
    memcpy(key + 1, &t->begin.id, sizeof(tr_tx_id));
    assert_int_equal(tr__snap_meta_read(rows, &meta, &error), TR_OK);
    assert_int_equal(
        tr__snap_put(rows, &meta, (tr_bytes){key, sizeof key}, (tr_bytes){"\0\0", 2}, &row, &error), TR_OK);
    assert_int_equal(tr__snap_meta_write(rows, &meta, &error), TR_OK);
    assert_int_equal(rows->commit(rows, &error), TR_OK);
    tr__tx_buffer_free(&row);
    cluster_kill(c, 1, false);
    assert_false(cluster_start(c, 1));
    assert_int_equal(c->nodes[1].fatal.code, TR_EMISMATCH);
    assert_non_null(strstr(c->nodes[1].fatal.text, "makes no sense"));
}

static void a_closed_segment_that_is_damaged_ends_the_process_and_nothing_is_dropped(void **state)
{
    cluster *c = *state;
    memory_log *log = &c->nodes[1].log;
    until_begun(c, 1);
    log->cache[TR__LOG_DATA_AT + 50] ^= 1;
    for (int i = 0; i < 100000 && c->nodes[1].tx; i++)
        if (!cluster_step(c))
            c->now_ns += TR_MILLIS(1);
    assert_null(c->nodes[1].tx);
    assert_int_equal(c->nodes[1].fatal.code, TR_EMISMATCH);
    assert_non_null(strstr(c->nodes[1].fatal.text, "memory.log is damaged at offset 12288"));
    assert_int_equal(log->dropped, 0);
}

/* ---- what peers' logs were heard to hold --------------------------------------------------------------- */

static memory_copy copy_while_down(cluster *c, uint32_t node)
{
    memory_copy copy = {0};
    cluster_kill(c, node, false);
    memory_log_save(&c->nodes[node].log, &copy);
    assert_true(cluster_start(c, node));
    return copy;
}

static void put_back(cluster *c, uint32_t node, memory_copy *copy)
{
    memory_log_put_back(&c->nodes[node].log, copy);
    memory_copy_free(copy);
}

static bool is_lost(cluster *c, uint32_t node)
{
    return tr__tx_lost(c->nodes[node].tx) != NULL;
}

/* Its records of them are in segments that are gone. */
static void what_peers_logs_hold_is_remembered(void **state)
{
    cluster *c = *state;
    pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    memory_copy older = copy_while_down(c, 1);
    pay(c, 1);
    cluster_run(c, TR_SECONDS(3));
    snapshots(c, 0, 2);
    snapshots(c, 2, 2);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        cluster_kill(c, i, true);
    put_back(c, 1, &older);
    for (uint32_t i = 0; i < CLUSTER_NODES; i++)
        assert_true(cluster_start(c, i));
    cluster_run(c, TR_SECONDS(1));
    assert_true(is_lost(c, 1));
}

/* What they remember is of a life whose record is in a segment that is gone. */
static void the_lives_of_a_log_are_known(void **state)
{
    cluster *c = *state;
    pay(c, 1);
    cluster_run(c, TR_SECONDS(2));
    snapshots(c, 1, 2);
    start_again(c, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_false(is_lost(c, 1));
    cluster_transfer *t = pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(t->outcome.status, TR_TX_COMMITTED);
}

/* It is lost; and so it is after a start, when nobody can be asked and its record of that is in a segment that is gone. Only
 * an operator's decisions are written meanwhile. */
static void lose_with_snapshot(cluster *c)
{
    const memory_log *log = &c->nodes[1].log;
    pay(c, 1);
    snapshots(c, 1, 2);
    memory_copy older = copy_while_down(c, 1);
    cluster_run(c, TR_SECONDS(1));
    pay(c, 1);
    snapshots(c, 1, 2);
    cluster_run(c, TR_SECONDS(3));
    cluster_kill(c, 1, false);
    put_back(c, 1, &older);
    assert_true(cluster_start(c, 1));
    cluster_run(c, TR_SECONDS(1));
    assert_true(is_lost(c, 1));
    for (unsigned i = 0, seals = log->snap.seals; log->snap.seals < seals + 2; i++) {
        char ticket[TR_TX_TICKET_MAX];
        tr_tx_id id = tr__tx_id_make(c->nodes[1].tx->io->wall_ms(c->nodes[1].tx->context), 7, i);
        tr__tx_ticket_format(&id, "n1", tr__tx_log_id(c->nodes[1].tx), ticket);
        tr__tx_decide_by_hand(c->nodes[1].tx, ticket, false, NULL);
        cluster_run(c, TR_MILLIS(20));
    }
    cluster_run(c, TR_MILLIS(200));
    cluster_partition(c, 1, 0);
    cluster_partition(c, 1, 2);
    start_again(c, 1);
    assert_true(is_lost(c, 1));
    cluster_heal(c, 1, 0);
    cluster_heal(c, 1, 2);
}

static void an_older_copy_with_its_snapshot_is_noticed_and_stays_so(void **state)
{
    cluster *c = *state;
    lose_with_snapshot(c);
    cluster_transfer *t = pay(c, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_int_equal(t->outcome.reason, TR_TX_LOG_LOST);
}

static void a_log_that_was_accepted_stays_so(void **state)
{
    static const uint8_t another[TR__LOG_ID_BYTES] = "another log's id";
    cluster *c = *state;
    tr_error error;
    lose_with_snapshot(c);
    assert_int_equal(tr__tx_accept_log(c->nodes[1].tx, another, &error), TR_OK);
    cluster_transfer *t = pay(c, 1);
    cluster_run(c, TR_SECONDS(2));
    assert_int_equal(t->outcome.status, TR_TX_COMMITTED);
    snapshots(c, 1, 2);
    start_again(c, 1);
    cluster_run(c, TR_SECONDS(1));
    assert_false(is_lost(c, 1));
    assert_memory_equal(tr__tx_log_id(c->nodes[1].tx), another, TR__LOG_ID_BYTES);
    cluster_resolve(c, t, 2);
    cluster_run(c, TR_SECONDS(2));
    assert_int_equal(t->resolved, TR_TX_NONE);
}

/* ---- forgetting ------------------------------------------------------------------------------------------ */

#define KEEP TR_SECONDS(5)

static bool has_row(cluster *c, char letter, const tr_tx_id *id)
{
    char key[1 + sizeof(*id)] = {letter};
    tr_bytes value;
    tr_error error;
    tr__snap_store *rows = &c->nodes[1].log.snap.store;
    memcpy(key + 1, id, sizeof(*id));
    assert_int_equal(rows->get(rows, (tr_bytes){key, sizeof(key)}, &value, &error), TR_OK);
    return value.data != NULL;
}

static void what_is_forgotten_goes_from_the_snapshot_and_what_is_owed_does_not(void **state)
{
    cluster *c = *state;
    cluster_transfer *t = pay(c, 40);
    cluster_run(c, TR_SECONDS(1));
    cluster_transfer *owed = pay(c, 1);
    for (unsigned hits = c->nodes[1].hits[TR__TX_POINT_COMMIT_FORCED];
         c->nodes[1].hits[TR__TX_POINT_COMMIT_FORCED] == hits;)
        cluster_step(c);
    cluster_partition(c, 1, 2);
    snapshots(c, 1, 2);
    assert_true(has_row(c, 'O', &t->begin.id));
    tr__tx_keep_outcomes(c->nodes[1].tx, KEEP);
    cluster_run(c, 2 * KEEP);
    pay(c, 0); /* somebody has to do something, or nobody looks */
    snapshots(c, 1, 3);
    assert_false(has_row(c, 'O', &t->begin.id));
    assert_true(has_row(c, 'C', &owed->begin.id));
    start_again(c, 1); /* with 24 hours */
    cluster_resolve(c, t, 0);
    cluster_resolve(c, owed, 0);
    cluster_run(c, TR_SECONDS(6));
    assert_int_equal(t->resolved, TR_TX_EXPIRED);
    assert_int_equal(owed->resolved, TR_TX_NONE);
    assert_int_equal(owed->settled, TR_TX_COMMITTED);
    cluster_heal(c, 1, 2);
    cluster_run(c, TR_SECONDS(12));
    assert_int_equal(cluster_balance(c, "n2/b"), CLUSTER_START + 41);
    assert_int_equal(figures_of(c, 1).deciding, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, over)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_committed_comes_back),
        TEST(what_is_in_doubt_comes_back_with_its_lock),
        TEST(who_is_still_owed_a_commit_hears_of_it),
        TEST(what_became_of_a_transaction_is_known_for_ever),
        TEST(what_peers_logs_hold_is_remembered),
        TEST(the_lives_of_a_log_are_known),
        TEST(an_older_copy_with_its_snapshot_is_noticed_and_stays_so),
        TEST(a_log_that_was_accepted_stays_so),
        TEST(what_is_forgotten_goes_from_the_snapshot_and_what_is_owed_does_not),
        TEST(a_full_disk_puts_it_off),
        TEST(who_has_the_rows_open_puts_it_off),
        TEST(a_log_that_says_two_things_of_one_transaction_is_refused),
        TEST(a_snapshot_that_says_two_things_of_one_transaction_is_refused),
        TEST(a_closed_segment_that_is_damaged_ends_the_process_and_nothing_is_dropped),
    };
    return cmocka_run_group_tests_name("tx_snapshot", tests, NULL, NULL);
}
