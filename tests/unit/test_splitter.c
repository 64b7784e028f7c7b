/* From bytes to whole frames: split anywhere, nothing copied that is whole, nothing allocated for a mere
 * claim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/random.h"
#include "transport/splitter.h"

static size_t put_batch(uint8_t *bytes, size_t size, uint64_t sequence)
{
    for (size_t i = TR__BATCH_OVERHEAD; i < size; i++)
        bytes[i] = (uint8_t)(sequence + i);
    tr__frame_put_count(bytes + TR__FRAME_HEADER, 1);
    tr__frame_finish(bytes, TR__FRAME_BATCH, (uint32_t)(size - TR__FRAME_HEADER), sequence);
    return size;
}

/* Push all bytes through, at most piece_max at a time; what comes out, in out. */
static tr_err push(tr__splitter *splitter, const uint8_t *bytes, size_t length, size_t piece_max,
                   tr__random *random, uint8_t *out, size_t *out_length, tr_error *error)
{
    for (size_t at = 0; at < length;) {
        uint8_t *to;
        size_t room;
        tr__slice *slice;
        TR_TRY(tr__splitter_room(splitter, TR__FRAME_SIZE_MAX, &to, &room, error));
        assert_true(room > 0);
        size_t count = 1 + tr__random_below(random, piece_max);
        count = count > room ? room : count;
        count = count > length - at ? length - at : count;
        memcpy(to, bytes + at, count);
        at += count;
        tr_err err = tr__splitter_took(splitter, count, TR__FRAME_SIZE_MAX, &slice, error);
        if (slice) {
            memcpy(out + *out_length, slice->bytes, slice->length);
            *out_length += slice->length;
            tr__slice_destroy(slice);
        }
        TR_TRY(err);
    }
    return TR_OK;
}

static void frames_come_out_whole_wherever_the_bytes_are_split(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 30, 1000, 70000, 1 << 20};
    size_t total = 0;
    uint8_t *bytes = malloc(4 << 20), *out = malloc(4 << 20);
    tr__random random;
    tr_error error;
    tr__random_init(&random, 5);
    for (uint64_t n = 1; n <= 60; n++) {
        size_t size = n == 30   ? 1500000
                      : n == 31 ? 200000
                                : TR__BATCH_OVERHEAD + 1 + tr__random_below(&random, 40000);
        total += put_batch(bytes + total, size, n);
    }
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        tr__splitter splitter = {0};
        size_t out_length = 0;
        assert_int_equal(push(&splitter, bytes, total, pieces[i], &random, out, &out_length, &error), TR_OK);
        assert_int_equal(out_length, total);
        assert_memory_equal(out, bytes, total);
        tr__splitter_fini(&splitter);
    }
    free(bytes);
    free(out);
}

static void slices_outlive_the_splitter(void **state)
{
    (void)state;
    tr__splitter splitter = {0};
    uint8_t *at;
    size_t room;
    tr__slice *one, *two;
    assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_MAX, &at, &room, NULL), TR_OK);
    put_batch(at, 100, 1);
    assert_int_equal(tr__splitter_took(&splitter, 100, TR__FRAME_SIZE_MAX, &one, NULL), TR_OK);
    assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_MAX, &at, &room, NULL), TR_OK);
    put_batch(at, 200, 2);
    assert_int_equal(tr__splitter_took(&splitter, 200, TR__FRAME_SIZE_MAX, &two, NULL), TR_OK);
    assert_ptr_equal(one->chunk, two->chunk); /* the second stands behind the first */
    tr__splitter_fini(&splitter);
    assert_int_equal(one->length, 100);
    assert_int_equal(two->bytes[199], (uint8_t)(2 + 199));
    tr__slice_destroy(one);
    tr__slice_destroy(two);
}

/* One frame of most of a chunk; the slice of it. */
static tr__slice *take_large(tr__splitter *splitter, uint64_t sequence)
{
    uint8_t *at;
    size_t room;
    tr__slice *slice;
    assert_int_equal(tr__splitter_room(splitter, TR__FRAME_SIZE_MAX, &at, &room, NULL), TR_OK);
    assert_int_equal(room, TR__CHUNK_SIZE);
    put_batch(at, TR__CHUNK_SIZE - 100, sequence);
    assert_int_equal(tr__splitter_took(splitter, TR__CHUNK_SIZE - 100, TR__FRAME_SIZE_MAX, &slice, NULL),
                     TR_OK);
    return slice;
}

static void what_comes_in_chunks_that_are_used_again_is_whole(void **state)
{
    (void)state;
    tr__splitter splitter = {0};
    tr__slice *slices[10];
    uint64_t n = 0;
    for (int round = 0; round < 3; round++) { /* so many at a time that not all are kept */
        for (int i = 0; i < 10; i++)
            slices[i] = take_large(&splitter, ++n);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(slices[i]->bytes[TR__CHUNK_SIZE - 101],
                             (uint8_t)(n - 9 + (uint64_t)i + TR__CHUNK_SIZE - 101));
            tr__slice_destroy(slices[i]);
        }
    }
    tr__slice *last = take_large(&splitter, ++n);
    tr__splitter_fini(&splitter);
    tr__slice_destroy(last); /* with what was kept: a leak is a sanitizer's to find */
}

static void chunks_of_each_size_are_kept_for_the_next_ones(void **state)
{
    (void)state;
    tr__splitter splitter = {0};
    const void *chunks[3];
    for (size_t i = 0; i < 3; i++) { /* each is filled at a stretch, so the next one is larger */
        uint8_t *at;
        size_t room;
        tr__slice *slice;
        assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_MAX, &at, &room, NULL), TR_OK);
        assert_int_equal(room, TR__CHUNK_SIZE << i);
        put_batch(at, room, i + 1);
        assert_int_equal(tr__splitter_took(&splitter, room, TR__FRAME_SIZE_MAX, &slice, NULL), TR_OK);
#ifdef TR_PLAIN_POOLS
        chunks[i] = NULL; /* each is a malloc of its own, and none is kept */
#else
        chunks[i] = slice->chunk;
#endif
        tr__slice_destroy(slice);
    }
    tr__splitter_fini(&splitter);
    for (size_t i = 0; i < 3; i++) {
        void *kept = tr__large_take(TR__CHUNK_SIZE << i);
        assert_ptr_equal(kept, chunks[i]);
        free(kept);
    }
}

static void a_claimed_length_allocates_no_more_than_twice_what_came(void **state)
{
    (void)state;
    tr__splitter splitter = {0};
    uint8_t header[TR__BATCH_OVERHEAD + 1], *at;
    size_t room, came = 0;
    tr__slice *slice;
    put_batch(header, sizeof header, 1);
    memcpy(header + 8, &(uint32_t){16u << 20}, 4);
    while (came < (3u << 20)) {
        assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_MAX, &at, &room, NULL), TR_OK);
        assert_true(splitter.chunk->capacity <= TR__CHUNK_SIZE || splitter.chunk->capacity <= 2 * came);
        if (came == 0)
            memcpy(at, header, sizeof header);
        size_t count = came == 0 ? sizeof header : room;
        assert_int_equal(tr__splitter_took(&splitter, count, TR__FRAME_SIZE_MAX, &slice, NULL), TR_OK);
        assert_null(slice);
        came += count;
    }
    tr__splitter_fini(&splitter);
}

static void before_the_handshake_little_memory_is_used(void **state)
{
    (void)state;
    tr__splitter splitter = {0};
    uint8_t *at;
    size_t room;
    tr__slice *slice;
    tr_error error;
    assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_HELLO, &at, &room, &error), TR_OK);
    assert_int_equal(room, TR__FRAME_SIZE_HELLO);
    put_batch(at, 4000, 1);
    memcpy(at + 8, &(uint32_t){TR__FRAME_SIZE_HELLO}, 4);
    assert_int_equal(tr__splitter_took(&splitter, 100, TR__FRAME_SIZE_HELLO, &slice, &error), TR_EPROTO);
    tr__splitter_fini(&splitter);
}

static void what_came_before_garbage_is_handed_over_with_the_error(void **state)
{
    (void)state;
    tr__splitter splitter = {0};
    uint8_t *at;
    size_t room;
    tr__slice *slice;
    tr_error error;
    assert_int_equal(tr__splitter_room(&splitter, TR__FRAME_SIZE_MAX, &at, &room, &error), TR_OK);
    put_batch(at, 100, 1);
    memcpy(at + 100, "X", 1);
    assert_int_equal(tr__splitter_took(&splitter, 101, TR__FRAME_SIZE_MAX, &slice, &error), TR_EPROTO);
    assert_non_null(slice);
    assert_int_equal(slice->length, 100);
    tr__slice_destroy(slice);
    tr__splitter_fini(&splitter);
}

static void a_gap_or_repetition_of_the_sequence_is_an_error(void **state)
{
    (void)state;
    for (uint64_t second = 1; second <= 3; second++) {
        tr__splitter splitter = {0};
        tr__random random;
        uint8_t bytes[200], out[200];
        size_t out_length = 0;
        tr_error error;
        tr__random_init(&random, 1);
        put_batch(bytes, 100, 1);
        put_batch(bytes + 100, 100, second);
        tr_err err = push(&splitter, bytes, 200, 200, &random, out, &out_length, &error);
        assert_int_equal(err, second == 2 ? TR_OK : TR_EPROTO);
        tr__splitter_fini(&splitter);
    }
}

static void each_failed_allocation_is_an_error_without_a_leak(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        tr__splitter splitter = {0};
        tr__random random;
        static uint8_t bytes[400000], out[400000];
        size_t out_length = 0;
        tr_error error;
        tr__random_init(&random, 1);
        put_batch(bytes, 1000, 1);
        put_batch(bytes + 1000, 399000, 2);
        tr__alloc_fail_at(nth);
        tr_err err = push(&splitter, bytes, 400000, 3000, &random, out, &out_length, &error);
        tr__alloc_fail_at(0);
        tr__splitter_fini(&splitter);
        if (err == TR_OK)
            break;
        assert_int_equal(err, TR_ENOMEM);
        assert_true(nth < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_whole_wherever_the_bytes_are_split),
        cmocka_unit_test(slices_outlive_the_splitter),
        cmocka_unit_test(what_comes_in_chunks_that_are_used_again_is_whole),
        cmocka_unit_test(chunks_of_each_size_are_kept_for_the_next_ones),
        cmocka_unit_test(a_claimed_length_allocates_no_more_than_twice_what_came),
        cmocka_unit_test(before_the_handshake_little_memory_is_used),
        cmocka_unit_test(what_came_before_garbage_is_handed_over_with_the_error),
        cmocka_unit_test(a_gap_or_repetition_of_the_sequence_is_an_error),
        cmocka_unit_test(each_failed_allocation_is_an_error_without_a_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
