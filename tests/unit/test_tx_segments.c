/* A transaction log of several segments: order, damage in any of them, segments that go, one that is missing; and logs
 * that were written when there was one file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/tx/log_replay.h"
#include "tests/kit/log_owner.h"
#include "tests/kit/tx_cluster.h"
#include "tests/unit/tx_log_one_file.h"

#define RESERVE  2048u
#define SEGMENT  16384u
#define SEGMENTS 6

static const tr__log_options options = {.reserve = RESERVE, .step = 512, .segment = SEGMENT, .closed = 2};
static memory_log disk;
static log_owner owner;

/* ---- fixture ------------------------------------------------------------------------------------------- */

static int fresh(void **state)
{
    (void)state;
    memory_log_init(&disk, 1);
    owner = (log_owner){.judge = true};
    return 0;
}

static int over(void **state)
{
    (void)state;
    log_owner_close(&owner);
    memory_log_fini(&disk);
    return 0;
}

/* ---- helpers ------------------------------------------------------------------------------------------- */

static bool open_log(void)
{
    bool opened = log_owner_open(&owner, memory_log_open(&disk), &options);
    assert_string_equal(owner.wrong, "");
    return opened;
}

static void settle(void)
{
    do {
        memory_log_run(&disk);
        tr__log_poll(owner.log);
    } while (memory_log_step(&disk));
    assert_string_equal(owner.wrong, "");
}

static void append(size_t length)
{
    tr_err code;
    while ((code = log_owner_append(&owner, length, false)) == TR_EAGAIN)
        settle();
    assert_int_equal(code, TR_OK);
    tr__log_force(owner.log, owner.count);
    settle();
}

/* Until so many segments are closed. */
static void close_segments(uint32_t count)
{
    while (tr__log_closed_of(owner.log).count < count)
        append(300);
}

static void assert_opens(void)
{
    uint64_t count = owner.count;
    if (!open_log())
        fail_msg("refused: %s", owner.error.text);
    assert_int_equal(owner.replayed, count);
}

typedef struct image {
    uint8_t *bytes[SEGMENTS];
    size_t size[SEGMENTS], used[SEGMENTS]; /* used: behind the last byte that isn't zero */
    uint32_t count;
    uint64_t records;
} image;

static image take_image(void)
{
    image i = {.count = disk.later_count + 1, .records = owner.count};
    assert_in_range(i.count, 1, SEGMENTS);
    for (uint32_t n = 0; n < i.count; n++) {
        const memory_file *f = memory_log_file(&disk, n + 1);
        i.size[n] = i.used[n] = f->cache_size;
        i.bytes[n] = malloc(f->cache_size + 1);
        memcpy(i.bytes[n], f->cache, f->cache_size);
        while (i.used[n] > 0 && !i.bytes[n][i.used[n] - 1])
            i.used[n]--;
    }
    return i;
}

static void put_segment(const image *i, uint32_t n, size_t size)
{
    memory_log_set_segment(&disk, n + 1, i->bytes[n], size);
}

static void put_image(const image *i)
{
    for (uint32_t n = 0; n < i->count; n++)
        put_segment(i, n, i->size[n]);
    owner.count = i->records;
    owner.told = 0;
}

static void free_image(image *i)
{
    for (uint32_t n = 0; n < i->count; n++)
        free(i->bytes[n]);
}

/* Two closed segments, the one that is written, perhaps the next. */
static image write_some(void)
{
    assert_true(open_log());
    close_segments(2);
    append(40);
    append(7);
    image i = take_image();
    log_owner_close(&owner);
    return i;
}

/* All records are there, or it is refused with a file and an offset. */
static bool whole_or_refused(const image *i, const char *what, uint32_t segment, size_t at)
{
    if (open_log()) {
        if (owner.replayed != i->records)
            fail_msg("segment %u, %s %zu: %llu of %llu records", segment, what, at,
                     (unsigned long long)owner.replayed, (unsigned long long)i->records);
        log_owner_close(&owner);
        return true;
    }
    if (owner.error.code != TR_EMISMATCH || !strstr(owner.error.text, "memory.log") ||
        !strstr(owner.error.text, "offset"))
        fail_msg("segment %u, %s %zu: %s", segment, what, at, owner.error.text);
    return false;
}

/* ---- a row of segments --------------------------------------------------------------------------------- */

static void records_go_on_in_the_next_segment(void **state)
{
    (void)state;
    assert_true(open_log());
    close_segments(4);
    assert_in_range(disk.made, 4, 5);
    for (uint32_t segment = 1; segment <= 4; segment++)
        assert_in_range(memory_log_file(&disk, segment)->cache_size, SEGMENT - 1024, SEGMENT);
    log_owner_close(&owner);
    memory_log_power_cut(&disk);
    assert_opens();
    append(300);
    log_owner_close(&owner);
    assert_opens();
}

static void a_record_larger_than_a_segment_has_one_of_its_size(void **state)
{
    (void)state;
    assert_true(open_log());
    append(100);
    append(50000);
    append(100);
    append(3 * SEGMENT / 4);
    assert_int_equal(owner.count, 4);
    log_owner_close(&owner);
    assert_opens();
}

static void many_records_at_once_go_over_a_boundary(void **state)
{
    (void)state;
    assert_true(open_log());
    for (unsigned n = 0; n < 400; n++) {
        while (log_owner_append(&owner, n % 90, false) != TR_OK)
            settle();
        if (n % 7 == 0)
            tr__log_force(owner.log, owner.count);
    }
    tr__log_force(owner.log, owner.count);
    settle();
    assert_true(disk.made > 1);
    log_owner_close(&owner);
    memory_log_power_cut(&disk);
    assert_opens();
}

/* ---- segments that go ---------------------------------------------------------------------------------- */

static void dropped_segments_are_gone_and_the_rest_is_replayed_behind_the_snapshot(void **state)
{
    (void)state;
    assert_true(open_log());
    close_segments(3);
    tr__log_closed closed = tr__log_closed_of(owner.log);
    assert_int_equal(closed.first, 1);
    append(20);
    tr__log_drop(owner.log, closed.first + closed.count);
    settle();
    assert_int_equal(tr__log_closed_of(owner.log).count, 0);
    assert_int_equal(disk.dropped, 3);
    assert_int_equal(disk.cache_size, TR__LOG_DATA_AT);
    log_owner_close(&owner);
    owner.base = closed.lsn;
    assert_opens();
    close_segments(2);
    log_owner_close(&owner);
    assert_opens();
    log_owner_close(&owner);
    owner.base = closed.lsn - 1; /* the snapshot before that one */
    assert_false(open_log());
    assert_int_equal(owner.error.code, TR_EMISMATCH);
    assert_non_null(strstr(owner.error.text, "memory.log.4 begins with record"));
    owner.base = 0;
    owner.told = 0;
    assert_false(open_log());
    assert_non_null(strstr(owner.error.text, "memory.log.4 begins with record"));
    owner.base = closed.lsn;
    owner.id[0] ^= 1;
    assert_false(open_log());
    assert_non_null(strstr(owner.error.text, "isn't the one that its snapshot was taken from"));
}

static void a_log_shorter_than_its_snapshot_is_refused(void **state)
{
    (void)state;
    assert_true(open_log());
    append(10);
    append(10);
    log_owner_close(&owner);
    owner.base = 3;
    owner.told = 0;
    assert_false(open_log());
    assert_int_equal(owner.error.code, TR_EMISMATCH);
    assert_non_null(strstr(owner.error.text, "record 3 was forced"));
    owner.base = 2;
    assert_opens();
}

static void a_snapshot_without_its_log_is_refused(void **state)
{
    (void)state;
    owner.base = 3;
    assert_false(open_log());
    assert_int_equal(owner.error.code, TR_EMISMATCH);
    assert_non_null(strstr(owner.error.text, "memory.log is missing"));
    owner.base = 0;
}

/* What can't be dropped is bounded; what is dropped makes room again. */
static void the_bound_is_on_what_is_kept(void **state)
{
    (void)state;
    const tr__log_options bounded = {
        .reserve = RESERVE, .step = 512, .segment = SEGMENT, .size_max = 4 * SEGMENT};
    assert_true(log_owner_open(&owner, memory_log_open(&disk), &bounded));
    for (int round = 0; round < 3; round++) {
        tr_err code;
        while ((code = log_owner_append(&owner, 300, false)) == TR_OK || code == TR_EAGAIN) {
            tr__log_force(owner.log, owner.count);
            settle();
        }
        assert_int_equal(code, TR_EFULL);
        while (log_owner_append(&owner, 0, false) == TR_OK) {
            tr__log_force(owner.log, owner.count);
            settle();
        }
        assert_true(tr__log_is_full(owner.log));
        assert_int_equal(log_owner_append(&owner, 300, true), TR_OK);
        tr__log_force(owner.log, owner.count);
        settle();
        assert_in_range(memory_log_used(&disk), 3 * SEGMENT, 4 * SEGMENT + TR__LOG_DATA_AT);
        tr__log_closed closed = tr__log_closed_of(owner.log);
        assert_int_equal(closed.count, 3);
        tr__log_drop(owner.log, closed.first + closed.count);
        settle();
    }
    append(300);
    assert_int_equal(owner.failed, 0);
}

/* ---- damaged or torn ----------------------------------------------------------------------------------- */

static void a_flipped_byte_in_any_segment_is_refused_or_harmless(void **state)
{
    (void)state;
    image i = write_some();
    unsigned refused = 0;
    for (uint32_t n = 0; n < i.count; n++)
        for (size_t at = 0; at < i.used[n] + 64 && at < i.size[n]; at++) {
            if (at > TR__LOG_HEADER_BYTES && at < TR__LOG_DATA_AT && !i.bytes[n][at] && at % 61)
                continue; /* of the empty stretches a few */
            put_image(&i);
            memory_log_file(&disk, n + 1)->cache[at] ^= (uint8_t)(1u << at % 8);
            refused += !whole_or_refused(&i, "byte", n + 1, at);
        }
    assert_true(refused > SEGMENT / 2);
    free_image(&i);
}

static void a_segment_cut_anywhere_is_refused_or_whole(void **state)
{
    (void)state;
    image i = write_some();
    for (uint32_t n = 0; n < i.count; n++)
        for (size_t size = 0; size<i.size[n]; size += size> 12000 ? 1 : 97) {
            put_image(&i);
            put_segment(&i, n, size);
            if (whole_or_refused(&i, "cut at", n + 1, size) && size < i.used[n])
                fail_msg("segment %u of %zu bytes, cut at %zu, does", n + 1, i.used[n], size);
        }
    free_image(&i);
}

static void a_missing_segment_is_named(void **state)
{
    (void)state;
    image i = write_some();
    for (uint32_t n = 1; n < 3; n++) {
        char name[32];
        put_image(&i);
        put_segment(&i, n, 0);
        assert_false(open_log());
        snprintf(name, sizeof name, "memory.log.%u", n + 1);
        assert_int_equal(owner.error.code, TR_EMISMATCH);
        assert_non_null(strstr(owner.error.text, name));
    }
    free_image(&i);
}

/* Its header's sector stayed behind: as if nothing had come of it. */
static void a_torn_first_batch_of_a_segment_is_cut(void **state)
{
    (void)state;
    assert_true(open_log());
    while (disk.stage == 0 || disk.batch.segment < 3) {
        if (memory_log_step(&disk))
            continue;
        tr__log_poll(owner.log);
        if (disk.stage == 0 && log_owner_append(&owner, 300, false) == TR_OK)
            tr__log_force(owner.log, owner.count);
    }
    uint64_t count = owner.told;
    assert_true(count < owner.count);
    while (disk.put < disk.batch.length)
        memory_log_step(&disk);
    log_owner_close(&owner);
    memory_file *third = memory_log_file(&disk, 3);
    memset(third->cache, 0, 512);
    assert_true(open_log());
    assert_int_equal(owner.replayed, count);
    append(300);
    append(300);
    log_owner_close(&owner);
    assert_opens();
}

/* ---- logs of one file ---------------------------------------------------------------------------------- */

static void a_log_of_one_file_opens_and_goes_on(void **state)
{
    static cluster c;
    size_t size = TR__LOG_DATA_AT + 20000;
    uint8_t *bytes = calloc(1, size);
    (void)state;
    memcpy(bytes, one_file_head, sizeof one_file_head);
    memcpy(bytes + TR__LOG_SLOT_AT(0), one_file_slots, TR__LOG_SLOT_BYTES);
    memcpy(bytes + TR__LOG_SLOT_AT(1), one_file_slots + TR__LOG_SLOT_BYTES, TR__LOG_SLOT_BYTES);
    memcpy(bytes + TR__LOG_DATA_AT, one_file_records, sizeof one_file_records);
    cluster_open(&c, 7); /* not the seed of those records, whose ids would come again */
    c.segment = SEGMENT;
    cluster_kill(&c, 1, false);
    memory_log_set(&c.nodes[1].log, bytes, size);
    if (!cluster_start(&c, 1))
        fail_msg("refused: %s", c.nodes[1].fatal.text);
    assert_int_equal(cluster_balance(&c, "n1/a"), CLUSTER_START - 10 - 1);
    assert_int_equal(cluster_balance(&c, "n1/b"), CLUSTER_START + 5 + 1);
    const cluster_transfer *transfers[100];
    for (int n = 0; n < 100; n++) {
        transfers[n] = cluster_transfer_begin(&c, 1, "n1/a", "n1/b", 1);
        cluster_run(&c, TR_MILLIS(200));
    }
    int moved = 0;
    for (int n = 0; n < 100; n++) { /* some find that the disk is behind */
        assert_true(transfers[n]->answered);
        moved += transfers[n]->outcome.status == TR_TX_COMMITTED;
    }
    assert_true(moved > 50);
    assert_true(c.nodes[1].log.made >= 1); /* it was longer than a segment is now */
    cluster_kill(&c, 1, true);
    assert_true(cluster_start(&c, 1));
    assert_int_equal(cluster_balance(&c, "n1/a"), CLUSTER_START - 11 - moved);
    cluster_close(&c);
    free(bytes);
}

/* The head's records go just when a walk over later segments looks at the head. */
static uint64_t size_before_the_cut(tr__log_store *store, uint32_t segment)
{
    (void)store;
    return segment == 1 ? SEGMENT : memory_log_file(&disk, segment)->cache_size;
}

static tr_err take_none(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                        tr_error *error)
{
    (void)context, (void)type, (void)lsn, (void)payload, (void)length, (void)error;
    return TR_OK;
}

static void a_walk_does_not_mind_that_the_head_is_cut_meanwhile(void **state)
{
    bool walked = false;
    tr_error error;
    (void)state;
    assert_true(open_log());
    close_segments(2);
    tr__log_drop(owner.log, 2);
    close_segments(2);
    assert_int_equal(memory_log_file(&disk, 1)->cache_size, TR__LOG_DATA_AT);
    tr__log_closed closed = tr__log_closed_of(owner.log);
    assert_int_equal(closed.first, 2);
    tr__log_walk *walk = tr__log_walk_open(&disk.store, 2, 3, 0, closed.lsn, &error);
    assert_non_null(walk);
    disk.store.size = size_before_the_cut;
    if (tr__log_walk_go(walk, SIZE_MAX, take_none, NULL, &walked, &error) != TR_OK)
        fail_msg("%s", error.text);
    assert_true(walked);
    tr__log_walk_close(walk);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, over)

/* ---- room ahead ---------------------------------------------------------------------------------------- */

static void a_disk_that_has_place_again_is_found_without_an_append(void **state)
{
    (void)state;
    assert_true(open_log());
    disk.space = 2 * SEGMENT;
    tr_err code;
    do {
        code = log_owner_append(&owner, 0, false);
        tr__log_force(owner.log, owner.count);
        settle();
    } while (code == TR_OK || code == TR_EAGAIN);
    assert_int_equal(code, TR_EFULL);
    assert_true(tr__log_lacks_room(owner.log));
    tr__log_look_for_room(owner.log);
    settle();
    assert_true(tr__log_is_full(owner.log));
    disk.space = 0;
    tr__log_look_for_room(owner.log);
    settle();
    assert_false(tr__log_lacks_room(owner.log));
    append(500);
}

/* As torn ends are cut, and reserves used up, a log may start with little. */
static void what_a_start_has_too_little_of_is_made_without_an_append(void **state)
{
    uint32_t lacked = 0;
    (void)state;
    for (uint32_t i = 0; i < 60; i++) {
        assert_true(open_log());
        lacked += tr__log_lacks_room(owner.log);
        tr__log_look_for_room(owner.log);
        settle();
        assert_false(tr__log_lacks_room(owner.log));
        assert_int_equal(log_owner_append(&owner, RESERVE / 2 - 200, false), TR_OK);
        tr__log_force(owner.log, owner.count);
        for (uint32_t steps = i % 6; steps > 0; steps--) /* it dies before it is longer again */
            memory_log_step(&disk);
        log_owner_close(&owner);
    }
    assert_true(lacked > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_go_on_in_the_next_segment),
        TEST(a_record_larger_than_a_segment_has_one_of_its_size),
        TEST(many_records_at_once_go_over_a_boundary),
        TEST(dropped_segments_are_gone_and_the_rest_is_replayed_behind_the_snapshot),
        TEST(a_log_shorter_than_its_snapshot_is_refused),
        TEST(a_snapshot_without_its_log_is_refused),
        TEST(the_bound_is_on_what_is_kept),
        TEST(a_flipped_byte_in_any_segment_is_refused_or_harmless),
        TEST(a_segment_cut_anywhere_is_refused_or_whole),
        TEST(a_missing_segment_is_named),
        TEST(a_walk_does_not_mind_that_the_head_is_cut_meanwhile),
        TEST(a_torn_first_batch_of_a_segment_is_cut),
        TEST(a_log_of_one_file_opens_and_goes_on),
        TEST(a_disk_that_has_place_again_is_found_without_an_append),
        TEST(what_a_start_has_too_little_of_is_made_without_an_append),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
