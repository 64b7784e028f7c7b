/* What a crash leaves: whenever it comes, nothing that happens after it reaches anybody (S4 of sim.h), a disk keeps what was
 * forced, and all memory is released (asan sees to that). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/net.h"

#ifdef TR_PLAIN_POOLS /* under a sanitizer or valgrind: one in eight */
#define EACH 8
#else
#define EACH 1
#endif

TR_MESSAGE(number, (u64, n))
TR_MESSAGE(put, TR_WRITES, (u64, n))
TR_MESSAGE(get)
TR_MESSAGE(got, (u64, n))

/* ---- two nodes: n1 sends numbers to n0, and writes them down on both -------------------------------------- */

static uint64_t sent_alive, received, committed;
static bool spoke_dead; /* n1's code went on after its crash, and did all it does */
static uint64_t begun_dead;

static bool is_dead(uint32_t node)
{
    return sim_now_running->nodes[node].dead;
}

static void sink(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self, (void)state;
    const number *n = tr_match(msg, number);
    if (n && !is_dead(0))
        received = n->n;
}
TR_ACTOR(sink_def, .receive = sink);

static tr_err cell(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    const put *p = tr_match(msg, put);
    if (p)
        return tr_view_put_i64(v, "n", (int64_t)p->n);
    return tr_view_reply(v, got, .n = (uint64_t)tr_view_i64(v, "n", 0));
}
TR_ACTOR(cell_def, .transact = cell);

static tr_err write_both(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    TR_TRY(tr_tx_await(tx, "n0/cell", put, .n = *(uint64_t *)arg));
    return tr_tx_await(tx, "n1/cell", put, .n = *(uint64_t *)arg);
}

static tr_err writer(tr_actor *self, void *arg)
{
    (void)arg;
    for (uint64_t n = 1;; n++) {
        tr_tx_outcome out = tr_tx_run(self, write_both, &n, NULL);
        if (out.status == TR_TX_COMMITTED && !is_dead(1))
            committed = n;
        TR_TRY(tr_sleep(self, TR_MILLIS(2)));
    }
}
TR_ACTOR(writer_def, .run = writer);

static tr_err start(tr_actor *self, uint32_t index)
{
    tr_spawn_with(self, &cell_def, NULL, &(tr_spawn_opts){.name = "cell"});
    if (index == 0) {
        tr_spawn_with(self, &sink_def, NULL, &(tr_spawn_opts){.name = "sink"});
        return tr_sleep(self, TR_FOREVER / 4);
    }
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, "n0/sink", TR_SECONDS(10)), tr_found, &found));
    tr_addr to = found->actor;
    tr_spawn(self, &writer_def, NULL);
    for (uint64_t n = 1;; n++) {
        tr_now(self);
        tr_err err = tr_send(self, to, number, .n = n);
        if (err == TR_OK && !is_dead(1))
            sent_alive = n;
        tr_always(self, !is_dead(1), "only the living speak");
        spoke_dead |= is_dead(1);
        if (n % 5 == 0)
            TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
}

static const tr_scenario pair = {
    .size = sizeof(tr_scenario), .name = "pair", .nodes = 2, .loops = 1, .data = true, .start = start};

static void (*begin)(tr__log_store *store, const tr__log_batch *batch);

static void begin_watched(tr__log_store *store, const tr__log_batch *batch)
{
    begun_dead += is_dead(1);
    begin(store, batch);
}

/* A simulation after a while of that; without faults, so that who is down stays down. */
static tr_sim *begin_pair(uint64_t seed)
{
    tr_error error;
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = &pair}, &error);
    assert_non_null(sim);
    tr_sim_heal_all(sim);
    sent_alive = received = committed = begun_dead = 0;
    spoke_dead = false;
    tr_sim_step(sim, TR_MILLIS(300));
    assert_true(received > 100);
    assert_true(committed > 10);
    return sim;
}

static uint64_t handled_by(tr_sim *sim, uint32_t node)
{
    tr_sums sums;
    tr_node_sums(tr_sim_node(sim, node), &sums);
    return sums.handled;
}

static void a_crash_at_any_call_of_a_seam_reaches_nobody(void **state)
{
    uint32_t in_the_middle = 0;
    (void)state;
    for (uint32_t k = 1; k <= 300; k += EACH) {
        tr_sim *sim = begin_pair(k);
        sim_node *node = &sim->nodes[1];
        begin = node->disk_begin;
        node->disk_begin = begin_watched;
        node->crash_after = k;
        for (int i = 0; i < 100000 && tr_sim_node(sim, 1); i++)
            tr_sim_step(sim, TR_MICROS(100));
        assert_null(tr_sim_node(sim, 1));
        in_the_middle += spoke_dead;
        tr_sim_step(sim, TR_MILLIS(500));
        assert_true(received <= sent_alive);
        assert_int_equal(begun_dead, 0);
        tr_sim_result result;
        tr_sim_result_get(sim, &result);
        assert_false(result.failed);
        assert_int_equal(result.faults[TR_SIM_CRASH], 1);
        tr_sim_destroy(sim);
    }
    assert_true(EACH > 1 || in_the_middle > 2);
}

static void a_crash_between_turns_is_the_end_of_what_it_says(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed += EACH) {
        tr_sim *sim = begin_pair(seed);
        tr_sim_step(sim, TR_MICROS(37 * seed));
        tr_sim_kill(sim, 1, (seed / EACH) % 2);
        uint64_t last = sent_alive, done = committed;
        tr_sim_step(sim, TR_SECONDS(1));
        assert_int_equal(sent_alive, last);
        assert_int_equal(committed, done);
        assert_true(received <= last);
        tr_sim_destroy(sim);
    }
}

static void who_is_cut_off_from_power_in_the_middle_of_a_turn_tells_nobody(void **state)
{
    (void)state;
    for (uint32_t k = 1; k <= 60; k += EACH) {
        tr_sim *sim = begin_pair(k);
        sim->nodes[1].dying_of_power = true;
        sim->nodes[1].crash_after = k;
        for (int i = 0; i < 100000 && tr_sim_node(sim, 1); i++)
            tr_sim_step(sim, TR_MICROS(100));
        assert_null(tr_sim_node(sim, 1));
        for (tr__stream *stream = sim->streams; stream; stream = stream->next)
            assert_false(stream->fin);
        tr_sim_destroy(sim);
    }
}

static void a_restarted_node_is_another_incarnation_and_keeps_what_was_committed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed += EACH) {
        tr_sim *sim = begin_pair(seed);
        uint64_t id = tr_node_id(tr_sim_node(sim, 1));
        tr_sim_step(sim, TR_MICROS(61 * seed));
        tr_sim_kill(sim, 1, (seed / EACH) % 2);
        assert_null(tr_sim_node(sim, 1));
        uint64_t before = committed;
        committed = UINT64_MAX; /* its writer begins again at 1: look before it has */
        assert_int_equal(tr_sim_start(sim, 1, NULL), TR_OK);
        assert_int_equal(tr_sim_start(sim, 1, NULL), TR_EEXIST);
        assert_true(tr_node_id(tr_sim_node(sim, 1)) != id);
        assert_true(before > 0 && handled_by(sim, 0) > 0);
        tr_sim_step(sim, TR_SECONDS(15));
        assert_true(committed != UINT64_MAX);
        tr_sim_destroy(sim);
    }
}

/* ---- the disk ------------------------------------------------------------------------------------------ */

static uint64_t read_back;

static tr_err read_cell(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    const got *g;
    TR_TRY(tr_tx_await_reply(tx, (const char *)arg, got, &g, get));
    read_back = g->n;
    return TR_OK;
}

/* One node that writes 1, 2, 3 ... for as long as it lives the first time; then it reads. */
static bool reading;
static tr_err alone_start(tr_actor *self, uint32_t index)
{
    (void)index;
    tr_spawn_with(self, &cell_def, NULL, &(tr_spawn_opts){.name = "cell"});
    if (reading) {
        tr_tx_outcome out = tr_tx_run(self, read_cell, "cell", NULL);
        return out.status == TR_TX_COMMITTED ? TR_OK
                                             : tr_fail(self, TR_EAPP, "it can't be read: %s", out.text);
    }
    for (uint64_t n = 1;; n++) {
        tr_tx tx = tr_tx_begin(self, NULL);
        TR_TRY(tr_tx_await(&tx, "cell", put, .n = n));
        tr_tx_outcome out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
        if (out.status == TR_TX_COMMITTED && !is_dead(0))
            committed = n;
    }
}
static const tr_scenario alone = {
    .size = sizeof(tr_scenario), .name = "alone", .nodes = 1, .loops = 1, .data = true, .start = alone_start};

static void a_power_cut_loses_only_what_was_not_forced(void **state)
{
    uint32_t lost = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed += EACH) {
        reading = false;
        committed = read_back = 0;
        tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = &alone}, NULL);
        tr_sim_heal_all(sim);
        tr_sim_step(sim, TR_MILLIS(20) + TR_MICROS(seed));
        assert_true(committed > 10);
        memory_log *disk = &sim->nodes[0].disk;
        size_t size = disk->cache_size, sectors = size / 512;
        uint8_t *was = malloc(size), *dirty = malloc(sectors);
        memcpy(was, disk->cache, size);
        memcpy(dirty, disk->dirty, sectors);
        tr_sim_kill(sim, 0, false);
        if ((seed / EACH) % 2) /* the host, a while after the process */
            tr_sim_step(sim, TR_SECONDS(1));
        tr_sim_kill(sim, 0, true);
        for (size_t i = 0; i < sectors; i++) {
            bool same =
                (i + 1) * 512 <= disk->cache_size && memcmp(was + i * 512, disk->cache + i * 512, 512) == 0;
            assert_true(same || dirty[i]);
            lost += !same;
        }
        free(was);
        free(dirty);
        reading = true;
        assert_int_equal(tr_sim_start(sim, 0, NULL), TR_OK);
        tr_sim_step(sim, TR_SECONDS(1));
        assert_in_range(read_back, committed, committed + 1);
        tr_sim_destroy(sim);
    }
    assert_true(lost * EACH > 10);
}

static void a_full_disk_or_a_failed_force_costs_no_promise(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed += EACH) {
        reading = false;
        committed = read_back = 0;
        tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .scenario = &alone}, NULL);
        tr_sim_heal_all(sim);
        tr_sim_step(sim, TR_MILLIS(10));
        sim->nodes[0].disk.fail_force_in = 1 + (unsigned)(seed % 5);
        for (int i = 0; i < 1000 && tr_sim_node(sim, 0); i++)
            tr_sim_step(sim, TR_MILLIS(1));
        assert_null(tr_sim_node(sim, 0)); /* it ended itself, as it must */
        tr_sim_kill(sim, 0, (seed / EACH) % 2);
        reading = true;
        assert_int_equal(tr_sim_start(sim, 0, NULL), TR_OK);
        tr_sim_step(sim, TR_SECONDS(1));
        assert_in_range(read_back, committed, committed + 1);
        tr_sim_destroy(sim);
    }
}

/* ---- memory -------------------------------------------------------------------------------------------- */

/* The same for as long as it goes well: without memory something fails, which is not the run's failure. */
static tr_err start_patient(tr_actor *self, uint32_t index)
{
    for (;;) {
        tr_err err = start(self, index);
        if (err == TR_EKILLED)
            return err;
        TR_TRY(tr_sleep(self, TR_MILLIS(5)));
    }
}
static const tr_scenario patient = {.size = sizeof(tr_scenario),
                                    .name = "patient",
                                    .nodes = 2,
                                    .loops = 1,
                                    .data = true,
                                    .start = start_patient};

static uint64_t out_of_memory(tr_sim *sim, uint32_t node)
{
    tr_sums sums;
    tr_node_sums(tr_sim_node(sim, node), &sums);
    return sums.dropped[TR_DROP_NO_MEMORY];
}

static void the_nth_allocation_fails_for_every_n_and_the_cluster_goes_on(void **state)
{
    uint64_t failures = 0, felt = 0;
    (void)state;
    for (uint64_t nth = 1; nth <= 60; nth += EACH) {
        tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = nth, .scenario = &patient}, NULL);
        assert_non_null(sim);
        tr_sim_heal_all(sim);
        sim->rates.every_ns[TR_SIM_MEMORY] =
            1; /* a node that ends for want of memory is none of the run's failures */
        for (int i = 0; i < 100; i++) {
            sim_node *node = &sim->nodes[i % 2];
            if (!tr_sim_node(sim, node->index))
                (void)tr_sim_start(sim, node->index, NULL);
            failures += i > 1 && node->fail_allocation_in == 0;
            if (node->fail_allocation_in == 0)
                node->fail_allocation_in = nth;
            tr_sim_step(sim, TR_MILLIS(4));
        }
        tr_sim_heal_all(sim);
        tr_sim_step(sim, TR_SECONDS(20));
        assert_non_null(tr_sim_node(sim, 0));
        assert_non_null(tr_sim_node(sim, 1));
        felt += sim->nodes[0].life > 1 || sim->nodes[1].life > 1 || out_of_memory(sim, 0) ||
                out_of_memory(sim, 1);
        tr_sim_result result;
        tr_sim_result_get(sim, &result);
        if (result.failed)
            fail_msg("%llu: %s", (unsigned long long)nth, result.what);
        tr_sim_destroy(sim);
    }
    assert_true(failures * EACH > 200);
    assert_true(EACH > 1 || felt > 2); /* most fail a call, which is told there; of some it shows here */
}

static void a_run_with_every_fault_leaves_nothing_behind(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed += EACH) {
        tr_sim *sim = tr_sim_create(
            &(tr_sim_opts){
                .seed = seed, .scenario = &pair, .faults = TR_SIM_ALL_FAULTS, .run_ns = TR_SECONDS(5)},
            NULL);
        assert_non_null(sim);
        if ((seed / EACH) % 2)
            tr_sim_run(sim);
        else
            tr_sim_step(sim, TR_SECONDS(2));
        tr_sim_destroy(sim);
        assert_null(sim_now_running);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_at_any_call_of_a_seam_reaches_nobody),
        cmocka_unit_test(a_crash_between_turns_is_the_end_of_what_it_says),
        cmocka_unit_test(who_is_cut_off_from_power_in_the_middle_of_a_turn_tells_nobody),
        cmocka_unit_test(a_restarted_node_is_another_incarnation_and_keeps_what_was_committed),
        cmocka_unit_test(a_power_cut_loses_only_what_was_not_forced),
        cmocka_unit_test(a_full_disk_or_a_failed_force_costs_no_promise),
        cmocka_unit_test(the_nth_allocation_fails_for_every_n_and_the_cluster_goes_on),
        cmocka_unit_test(a_run_with_every_fault_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
