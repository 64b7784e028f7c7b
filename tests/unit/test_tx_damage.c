/* What a node makes of a transaction log in which a byte is wrong, or which ends too soon: the same committed state, or
 * a refusal that names the file and the offset. Never fewer commits without a word. */
#include "tests/kit/tx_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/log_format.h"

/* ---- fixture: a log with all kinds of records ---------------------------------------------------------- */

#define SEGMENT      (16u * 1024)
#define SEGMENTS_MAX 64

typedef struct fixture {
    cluster *c;
    uint8_t *bytes; /* n1's log, as it was */
    size_t size, used;
    int64_t a, b; /* what its accounts had */
    /* with segments: */
    struct {
        uint8_t *bytes;
        size_t size, used;
    } segments[SEGMENTS_MAX];
    uint32_t count;
    memory_table rows;
} fixture;

static fixture *run_cluster(uint32_t segment, int rounds)
{
    fixture *f = calloc(1, sizeof(*f));
    cluster *c = f->c = calloc(1, sizeof(*c));
    cluster_open(c, 1);
    c->segment = segment;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        cluster_kill(c, i, false);
        assert_true(cluster_start(c, i));
    }
    for (int i = 0; i < rounds; i++) {
        cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10); /* decided by n1 */
        cluster_run(c, TR_SECONDS(1));                    /* else one may wound another */
        cluster_transfer_begin(c, 0, "n2/b", "n1/b", 5);  /* n1 takes part */
        cluster_run(c, TR_SECONDS(1));
        cluster_transfer_begin(c, 1, "n1/a", "n1/b", i == 3 ? 9000 : 1); /* by n1 alone; one is refused */
        cluster_run(c, TR_SECONDS(3));
    }
    f->a = cluster_balance(c, "n1/a");
    f->b = cluster_balance(c, "n1/b");
    cluster_kill(c, 1, false);
    assert_int_equal(f->a, 1000 - 10 * rounds - (rounds - 1));
    assert_int_equal(f->b, 1000 + 5 * rounds + (rounds - 1));
    return f;
}

static int setup(void **state)
{
    fixture *f = run_cluster(0, 6);
    memory_log *log = &f->c->nodes[1].log;
    f->size = log->cache_size;
    f->bytes = malloc(f->size);
    memcpy(f->bytes, log->cache, f->size);
    for (f->used = f->size; f->used > 0 && !f->bytes[f->used - 1];)
        f->used--;
    *state = f;
    return 0;
}

/* The same in small segments, of which the first are gone: a snapshot has what they said. */
static int setup_segments(void **state)
{
    fixture *f = run_cluster(SEGMENT, 16);
    memory_log *log = &f->c->nodes[1].log;
    f->count = log->later_count + 1;
    assert_in_range(f->count, 3, SEGMENTS_MAX);
    assert_true(log->dropped > 1 && log->snap.seals > 1);
    for (uint32_t n = 0; n < f->count; n++) {
        const memory_file *file = memory_log_file(log, n + 1);
        size_t used = f->segments[n].size = file->cache_size;
        f->segments[n].bytes = malloc(used + 1);
        if (used > 0)
            memcpy(f->segments[n].bytes, file->cache, used);
        while (used > 0 && !f->segments[n].bytes[used - 1])
            used--;
        f->segments[n].used = used;
    }
    f->rows = memory_snap_save(&log->snap);
    *state = f;
    return 0;
}

static void put_all(fixture *f)
{
    memory_log *log = &f->c->nodes[1].log;
    for (uint32_t n = 0; n < f->count; n++)
        memory_log_set_segment(log, n + 1, f->segments[n].bytes, f->segments[n].size);
    memory_snap_restore(&log->snap, &f->rows);
}

static int teardown(void **state)
{
    fixture *f = *state;
    if (f->c->nodes[1].tx)
        cluster_kill(f->c, 1, false);
    cluster_close(f->c);
    free(f->c);
    free(f->bytes);
    for (uint32_t n = 0; n < f->count; n++)
        free(f->segments[n].bytes);
    memory_table_free(&f->rows);
    free(f);
    return 0;
}

/* As it starts with what is there: true if it did, with all that was committed; false if it refused, and said where. */
static bool starts_as_it_is(fixture *f, size_t at)
{
    if (!cluster_start(f->c, 1)) {
        const tr_error *why = &f->c->nodes[1].fatal;
        if (why->code != TR_EMISMATCH && why->code != TR_EVERSION)
            fail_msg("byte %zu: refused as %d: %s", at, why->code, why->text);
        if ((!strstr(why->text, "memory.log") && !strstr(why->text, "memory.snap")) ||
            !strstr(why->text, "offset") || !strpbrk(why->text, "0123456789"))
            fail_msg("byte %zu: the refusal doesn't say where: %s", at, why->text);
        return false;
    }
    if (cluster_balance(f->c, "n1/a") != f->a || cluster_balance(f->c, "n1/b") != f->b)
        fail_msg("byte %zu: it started with another state: a %lld, b %lld", at,
                 (long long)cluster_balance(f->c, "n1/a"), (long long)cluster_balance(f->c, "n1/b"));
    cluster_kill(f->c, 1, false);
    return true;
}

static bool starts_whole(fixture *f, const uint8_t *bytes, size_t size, size_t at)
{
    memory_log_set(&f->c->nodes[1].log, bytes, size);
    return starts_as_it_is(f, at);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void the_log_as_it_was_gives_all_back(void **state)
{
    fixture *f = *state;
    assert_true(starts_whole(f, f->bytes, f->size, 0));
}

static void a_flipped_byte_anywhere_is_harmless_or_refused(void **state)
{
    fixture *f = *state;
    uint8_t *bytes = malloc(f->size);
    unsigned refused = 0;
    for (size_t at = 0; at < f->used; at++) {
        if (at >= TR__LOG_HEADER_BYTES && !f->bytes[at] && at % 61)
            continue; /* of the empty stretches a few */
        memcpy(bytes, f->bytes, f->size);
        bytes[at] ^= (uint8_t)(1u << at % 8);
        refused += !starts_whole(f, bytes, f->size, at);
    }
    free(bytes);
    assert_true(refused > 500); /* of the records' bytes nearly all */
}

static void a_log_cut_anywhere_is_refused(void **state)
{
    fixture *f = *state;
    for (size_t size = TR__LOG_DATA_AT; size < f->used; size += 7)
        if (starts_whole(f, f->bytes, size, size))
            fail_msg("cut at %zu of %zu, and it started", size, f->used);
}

static void another_nodes_log_is_refused_by_name(void **state)
{
    fixture *f = *state;
    cluster_kill(f->c, 2, false);
    memory_log_set(&f->c->nodes[2].log, f->bytes, f->size);
    assert_false(cluster_start(f->c, 2));
    assert_int_equal(f->c->nodes[2].fatal.code, TR_EMISMATCH);
    assert_non_null(strstr(f->c->nodes[2].fatal.text, "n1"));
    assert_non_null(strstr(f->c->nodes[2].fatal.text, "n2"));
}

/* ---- segments and their snapshot ----------------------------------------------------------------------- */

static void segments_as_they_were_give_all_back(void **state)
{
    fixture *f = *state;
    put_all(f);
    assert_true(starts_as_it_is(f, 0));
}

static void a_flipped_byte_in_any_segment_is_harmless_or_refused(void **state)
{
    fixture *f = *state;
    unsigned refused = 0;
    for (uint32_t n = 0; n < f->count; n++)
        for (size_t at = 0; at < f->segments[n].used; at++) {
            if (at >= TR__LOG_HEADER_BYTES && !f->segments[n].bytes[at] && at % 61)
                continue;
            put_all(f);
            memory_log_file(&f->c->nodes[1].log, n + 1)->cache[at] ^= (uint8_t)(1u << at % 8);
            refused += !starts_as_it_is(f, at);
        }
    assert_true(refused > 500);
}

static void a_segment_that_is_cut_or_missing_is_refused(void **state)
{
    fixture *f = *state;
    for (uint32_t n = 0; n < f->count; n++)
        for (size_t size = 0; size < f->segments[n].used; size += size < TR__LOG_DATA_AT - 8 ? 509 : 3) {
            put_all(f);
            memory_log_set_segment(&f->c->nodes[1].log, n + 1, f->segments[n].bytes, size);
            if (starts_as_it_is(f, size))
                fail_msg("segment %u cut at %zu of %zu, and it started", n + 1, size, f->segments[n].used);
        }
}

static void a_flipped_byte_in_any_row_of_the_snapshot_is_refused(void **state)
{
    fixture *f = *state;
    memory_snap *snap = &f->c->nodes[1].log.snap;
    put_all(f);
    size_t size = memory_snap_size(snap);
    assert_true(size > 1000);
    for (size_t at = 0; at < size; at++) {
        uint8_t bits = (uint8_t)(1u << at % 8);
        put_all(f);
        memory_snap_flip(snap, at, bits);
        if (starts_as_it_is(f, at))
            fail_msg("byte %zu of the snapshot's rows, and it started", at);
        memory_snap_flip(snap, at, bits);
    }
}

static void a_row_that_is_missing_is_noticed(void **state)
{
    fixture *f = *state;
    memory_snap *snap = &f->c->nodes[1].log.snap;
    size_t n = 0;
    for (;; n++) {
        put_all(f);
        if (!memory_snap_lose(snap, n))
            break;
        if (starts_as_it_is(f, n))
            fail_msg("without row %zu of the snapshot, and it started", n);
    }
    assert_true(n > 20);
    put_all(f);
    memory_snap_clear(snap);
    assert_false(starts_as_it_is(f, n)); /* no snapshot at all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_log_as_it_was_gives_all_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_anywhere_is_harmless_or_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_nodes_log_is_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_cut_anywhere_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_as_they_were_give_all_back, setup_segments, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_in_any_segment_is_harmless_or_refused, setup_segments,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_segment_that_is_cut_or_missing_is_refused, setup_segments,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_in_any_row_of_the_snapshot_is_refused, setup_segments,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_row_that_is_missing_is_noticed, setup_segments, teardown),
    };
    return cmocka_run_group_tests_name("tx_damage", tests, NULL, NULL);
}
