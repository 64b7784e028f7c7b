/* The transaction log under crashes at random points, thousands of seeds: what was told to be durable is
 * always there; what was not may be there or not, but only as a prefix; what a start handed up stays.
 *
 *   test_tx_log_crash [FIRST [COUNT]]   seeds; default 1 and 3000 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/log_owner.h"
#include "tests/kit/memory_log.h"

#define STEPS 120

static const tr__log_options one_file = {.reserve = 8192, .step = 2048};
static const tr__log_options segments = {.reserve = 4096, .step = 1024, .segment = 16 * 1024};
static uint64_t first_seed = 1, seeds = 3000;

typedef struct world {
    memory_log disk;
    log_owner owner;
    tr__random random;
    uint64_t seed;
    const tr__log_options *options;
    unsigned made, dropped;
    unsigned gone, kills, power_cuts, failures, full; /* what happened, to see that it does */
} world;

static uint64_t draw(world *w, uint64_t bound)
{
    return tr__random_below(&w->random, bound);
}

static void check(const world *w)
{
    if (w->owner.wrong[0])
        fail_msg("seed %llu: %s", (unsigned long long)w->seed, w->owner.wrong);
}

/* Start until it succeeds; the start itself can meet a failing disk and another power cut. */
static void start(world *w)
{
    uint64_t before = w->owner.count;
    while (!log_owner_open(&w->owner, memory_log_open(&w->disk), w->options)) {
        check(w);
        if (w->owner.error.code != TR_EIO && w->owner.error.code != TR_ENOSPC)
            fail_msg("seed %llu: refused: %s", (unsigned long long)w->seed, w->owner.error.text);
        w->disk.space = 0;
        if (draw(w, 2))
            memory_log_power_cut(&w->disk);
    }
    check(w);
    w->gone += w->owner.replayed < before;
}

static void crash(world *w)
{
    log_owner_close(&w->owner);
    w->kills++;
    if (draw(w, 2)) {
        memory_log_power_cut(&w->disk);
        w->power_cuts++;
    }
    w->disk.fail_force_in = draw(w, 6) ? 0 : 1 + (unsigned)draw(w, 2);
    w->disk.fail_write_in = draw(w, 8) ? 0 : 1 + (unsigned)draw(w, 3);
    start(w);
}

/* A snapshot has what is closed; now or then the segments go. */
static void drop(world *w)
{
    tr__log_closed closed = tr__log_closed_of(w->owner.log);
    if (closed.count == 0)
        return;
    w->owner.base = closed.lsn;
    if (draw(w, 2))
        tr__log_drop(w->owner.log, closed.first + closed.count);
}

static void turn(world *w)
{
    uint64_t what = draw(w, 100);
    if (what < 35) {
        size_t length = (size_t)draw(w, draw(w, 10) ? 200 : 4000);
        tr_err code = log_owner_append(&w->owner, length, draw(w, 3) == 0);
        w->full += code == TR_EFULL;
        assert_true(code == TR_OK || code == TR_EFULL || code == TR_EAGAIN);
    } else if (what < 50) {
        uint64_t lsn = draw(w, w->owner.count + 1);
        assert_int_equal(tr__log_force(w->owner.log, lsn), lsn <= w->owner.told);
    } else if (what < 78) {
        memory_log_step(&w->disk);
    } else if (what < 92) {
        tr__log_poll(w->owner.log);
    } else if (what < 94) {
        w->disk.space = draw(w, 2) ? 0 : w->disk.cache_size + (size_t)draw(w, 4096);
    } else if (what < 95) {
        drop(w);
    } else if (what < 96) {
        w->disk.fail_force_in = 1 + (unsigned)draw(w, 3);
    } else {
        crash(w);
    }
}

static void run_seed(world *w, uint64_t seed)
{
    w->seed = seed;
    memory_log_init(&w->disk, seed * 2 + 1);
    memset(&w->owner, 0, sizeof w->owner);
    w->owner.judge = true;
    tr__random_init(&w->random, seed * 2);
    w->options = seed % 2 ? &one_file : &segments;
    start(w);
    for (unsigned step = 0; step < (seed % 2 ? STEPS : 10 * STEPS); step++) {
        turn(w);
        check(w);
        if (w->owner.failed) {
            w->failures++;
            w->disk.fail_force_in = w->disk.fail_write_in = 0;
            crash(w);
        }
    }
    log_owner_close(&w->owner);
    w->made += w->disk.made;
    w->dropped += w->disk.dropped;
    memory_log_fini(&w->disk);
}

static void what_was_told_is_there_and_what_is_there_is_a_prefix(void **state)
{
    (void)state;
    static world w;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++)
        run_seed(&w, seed);
    printf("seeds %llu to %llu: %u crashes, %u of them power cuts; records that nobody waited for went %u "
           "times; %u failed "
           "forces or writes; log-full %u times; %u segments made, %u dropped\n",
           (unsigned long long)first_seed, (unsigned long long)(first_seed + seeds - 1), w.kills,
           w.power_cuts, w.gone, w.failures, w.full, w.made, w.dropped);
    if (seeds >= 1000)
        assert_true(w.gone > 100 && w.failures > 100 && w.full > 100 && w.made > 1000 && w.dropped > 300);
}

/* ---- damage in logs with a history of crashes ---------------------------------------------------------- */

/* One bit, anywhere: the same records, or a refusal that names the place; and nothing was changed by it. */
static void flip_one(world *w, uint64_t seed)
{
    uint64_t records = w->owner.replayed;
    memory_file *file = memory_log_file(&w->disk, 1 + (uint32_t)draw(w, w->disk.later_count + 1));
    size_t size = file->cache_size;
    if (size == 0)
        return;
    size_t offset = size > TR__LOG_DATA_AT && draw(w, 2)
                        ? TR__LOG_DATA_AT + (size_t)draw(w, size - TR__LOG_DATA_AT)
                        : (size_t)draw(w, size);
    file->cache[offset] ^= (uint8_t)(1u << draw(w, 8));
    if (log_owner_open(&w->owner, memory_log_open(&w->disk), w->options)) {
        if (w->owner.replayed != records)
            fail_msg("seed %llu: a flip at %zu left %llu of %llu records", (unsigned long long)seed, offset,
                     (unsigned long long)w->owner.replayed, (unsigned long long)records);
        log_owner_close(&w->owner);
    } else if (w->owner.error.code != TR_EMISMATCH || !strstr(w->owner.error.text, "memory.log") ||
               !strstr(w->owner.error.text, "offset")) {
        fail_msg("seed %llu: %s", (unsigned long long)seed, w->owner.error.text);
    }
    check(w);
}

static void a_flip_after_any_history_is_refused_or_harmless(void **state)
{
    (void)state;
    static world w;
    for (uint64_t seed = first_seed; seed < first_seed + seeds / 4; seed++) {
        memory_log_init(&w.disk, seed * 2 + 1);
        memset(&w.owner, 0, sizeof w.owner);
        w.owner.judge = true;
        w.seed = seed;
        tr__random_init(&w.random, seed * 3);
        w.options = seed % 2 ? &one_file : &segments;
        start(&w);
        for (unsigned step = 0; step < (seed % 2 ? 1 : 6) * STEPS; step++) {
            turn(&w);
            if (w.owner.failed) {
                w.disk.fail_force_in = 0;
                crash(&w);
            }
        }
        log_owner_close(&w.owner);
        w.disk.fail_force_in = w.disk.fail_write_in = 0;
        w.disk.space = 0;
        assert_true(log_owner_open(&w.owner, memory_log_open(&w.disk), w.options));
        log_owner_close(&w.owner);
        flip_one(&w, seed);
        memory_log_fini(&w.disk);
    }
}

/* Whole in itself, of the same log, offset and LSN, but not what was followed by the next: only the chain
 * tells. */
static void a_record_of_another_history_is_refused(void **state)
{
    (void)state;
    static world w;
    memory_log_init(&w.disk, 1);
    w.owner.judge = true;
    w.options = &one_file;
    uint64_t at = TR__LOG_DATA_AT + tr__log_stride(10);
    size_t stride = tr__log_stride(100);
    uint8_t before[65536], other[512];
    start(&w);
    assert_int_equal(log_owner_append(&w.owner, 10, false), TR_OK);
    for (unsigned history = 0; history < 2; history++) {
        tr__log_force(w.owner.log, w.owner.count);
        memory_log_run(&w.disk);
        tr__log_poll(w.owner.log);
        log_owner_close(&w.owner);
        size_t size = w.disk.cache_size;
        assert_in_range(size, 1, sizeof before);
        memcpy(before, w.disk.cache, size);
        start(&w);
        assert_int_equal(log_owner_append(&w.owner, 100, false), TR_OK);
        assert_int_equal(log_owner_append(&w.owner, 50, false), TR_OK);
        tr__log_force(w.owner.log, w.owner.count);
        memory_log_run(&w.disk);
        tr__log_poll(w.owner.log);
        log_owner_close(&w.owner);
        if (history == 0) {
            memcpy(other, w.disk.cache + at, stride);
            memory_log_set(&w.disk, before, size);
            w.owner.told = 1;
            start(&w);
        }
    }
    memcpy(w.disk.cache + at, other, stride);
    w.owner.judge = false;
    assert_false(log_owner_open(&w.owner, memory_log_open(&w.disk), w.options));
    char where[64];
    snprintf(where, sizeof where, "at offset %llu:", (unsigned long long)(at + stride));
    assert_non_null(strstr(w.owner.error.text, where));
    memory_log_fini(&w.disk);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        first_seed = strtoull(argv[1], NULL, 10);
    if (argc > 2)
        seeds = strtoull(argv[2], NULL, 10);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_told_is_there_and_what_is_there_is_a_prefix),
        cmocka_unit_test(a_flip_after_any_history_is_refused_or_harmless),
        cmocka_unit_test(a_record_of_another_history_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
