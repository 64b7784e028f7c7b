/* The bulk lane's two halves on their own: what a send carries, by a channel whose stream is this test; and chunks as they
 * are gathered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "transport/flow.h"

#define FRAMES_MAX 16

/* Fixture: one side's channel and flow, up; a send is done when the test says so ---- */

typedef struct sent_frame {
    tr__frame_kind kind;
    uint64_t left; /* of a chunk */
    uint32_t messages;
    size_t size;
} sent_frame;

struct tr__stream {
    uint8_t bytes[2 << 20]; /* of the last send */
    size_t length;
    unsigned sends;
    bool busy;
};

typedef struct fixture {
    tr__net net;
    struct tr__stream stream;
    tr__connection_config config;
    tr__channel channel;
    tr__flow flow;
    tr__splitter theirs;
    unsigned credits, faults, released;
    uint64_t their_sequence;
    sent_frame frames[FRAMES_MAX];
    unsigned count;
} fixture;

static tr_err on_send(tr__stream *s, const tr__iov *iov, unsigned count, tr_error *error)
{
    (void)error;
    assert_false(s->busy);
    assert_in_range(count, 1, TR__IOV_MAX);
    s->length = 0;
    for (unsigned i = 0; i < count; i++) {
        assert_true(iov[i].length > 0);
        memcpy(s->bytes + s->length, iov[i].bytes, iov[i].length);
        s->length += iov[i].length;
    }
    s->busy = true;
    s->sends++;
    return TR_OK;
}

static void on_limit(tr__stream *s, size_t frame_max)
{
    (void)s, (void)frame_max;
}

static void on_end(tr__stream *s)
{
    (void)s;
}

static void take_slice(void *context, tr__slice *slice)
{
    (void)context;
    tr__slice_destroy(slice);
}

static void on_fault(void *context, const tr_error *why)
{
    (void)why;
    ((fixture *)context)->faults++;
}

static void on_credit(void *context)
{
    ((fixture *)context)->credits++;
}

static void on_nothing(void *context)
{
    (void)context;
}

static const tr__channel_upcalls channel_upcalls = {take_slice, take_slice, on_fault, on_credit, on_nothing};
static const tr__flow_upcalls flow_upcalls = {NULL, NULL, on_nothing, on_nothing, on_fault};

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    f->net = (tr__net){.limit = on_limit, .send = on_send, .close = on_end, .free = on_end};
    tr__connection_config_defaults(&f->config);
    tr__channel_init(&f->channel, &f->config, &f->net, &f->stream, true, &channel_upcalls, f);
    tr__flow_init(&f->flow, &f->channel, &flow_upcalls, f);
    f->channel.lanes = true;
    f->channel.open = true;
    f->channel.up = true;
    f->channel.peer_window = 64 << 20;
    f->channel.granted_to_us = 64 << 20;
    f->channel.bulk.granted = 16 << 20;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    tr__channel_close(&f->channel);
    tr__channel_fini(&f->channel);
    tr__splitter_fini(&f->theirs);
    free(f);
    return 0;
}

/* Helpers ---- */

static void on_release(tr__unit *unit)
{
    ((fixture *)unit->owner)->released++;
}

static void put_unit(fixture *f, size_t size)
{
    tr__unit *unit = tr__unit_make(size);
    unit->release = on_release;
    unit->owner = f;
    memset(unit->bytes, 'x', size);
    unit->piece_count = 1;
    unit->pieces[0] = (tr__iov){unit->bytes, size};
    assert_int_equal(tr__flow_bulk_may(&f->flow, size), TR_OK);
    assert_int_equal(tr__flow_bulk_put(&f->flow, unit), TR_OK);
}

/* A batch of its own. */
static void put_batch(fixture *f)
{
    uint8_t *at;
    assert_int_equal(tr__flow_reserve(&f->flow, 100, &at), TR_OK);
    memset(at, 'n', 100);
    tr__flow_commit(&f->flow, 100);
    tr__outgoing_close_batch(&f->channel.out);
}

/* What the send under way carries. */
static void look(fixture *f)
{
    tr__frame frame;
    const uint8_t *bytes;
    size_t length;
    f->count = 0;
    assert_true(f->stream.busy);
    for (size_t at = 0; at < f->stream.length; at += frame.size) {
        sent_frame *one = &f->frames[f->count++];
        assert_int_equal(
            tr__frame_decode(f->stream.bytes + at, f->stream.length - at, TR__FRAME_SIZE_MAX, &frame, NULL),
            TR_OK);
        *one = (sent_frame){.kind = frame.kind, .size = frame.size};
        if (frame.kind == TR__FRAME_CHUNK)
            assert_int_equal(tr__frame_get_chunk(&frame, &bytes, &length, &one->left, &one->messages, NULL),
                             TR_OK);
    }
}

/* It is sent: the next one, if there is any, is under way. */
static void next(fixture *f)
{
    f->stream.busy = false;
    tr__channel_sent(&f->channel);
}

static unsigned count_of(const fixture *f, tr__frame_kind kind)
{
    unsigned count = 0;
    for (unsigned i = 0; i < f->count; i++)
        count += f->frames[i].kind == kind;
    return count;
}

/* The other side grants so many bytes of the bulk lane in all. */
static void grant(fixture *f, uint64_t total)
{
    uint8_t *at;
    size_t room;
    tr__slice *slice;
    assert_int_equal(tr__splitter_room(&f->theirs, TR__FRAME_SIZE_MAX, &at, &room, NULL), TR_OK);
    size_t size = tr__frame_put_bulk_grant(at, ++f->their_sequence, total);
    assert_int_equal(tr__splitter_took(&f->theirs, size, TR__FRAME_SIZE_MAX, &slice, NULL), TR_OK);
    tr__channel_received(&f->channel, slice);
}

/* What a send carries ---- */

static void what_is_small_waits_for_no_more_than_three_chunks(void **state)
{
    fixture *f = *state;
    put_unit(f, 4 << 20);
    tr__flow_flush(&f->flow);
    look(f);
    assert_int_equal(f->count, 3);
    assert_int_equal(count_of(f, TR__FRAME_CHUNK), 3);
    assert_int_equal(f->frames[0].left, 4 << 20);
    put_batch(f);
    tr__flow_flush(&f->flow);
    next(f);
    look(f);
    assert_int_equal(f->frames[0].kind, TR__FRAME_BATCH);
    assert_int_equal(count_of(f, TR__FRAME_CHUNK), 3);
}

static void neither_lane_starves_the_other(void **state)
{
    fixture *f = *state;
    put_unit(f, 4 << 20);
    for (int i = 0; i < 40; i++)
        put_batch(f);
    tr__flow_flush(&f->flow);
    for (int i = 0; i < 8; i++) {
        next(f);
        look(f);
        assert_true(count_of(f, TR__FRAME_CHUNK) >= 1);
        assert_true(count_of(f, TR__FRAME_BATCH) >= 2);
    }
}

static void chunks_stop_at_the_credit_and_go_on_with_a_grant(void **state)
{
    fixture *f = *state;
    uint64_t granted = 2 * TR__CHUNK_FRAME_MAX + 1000;
    f->channel.bulk.granted = granted;
    put_unit(f, 1 << 20);
    tr__flow_flush(&f->flow);
    look(f);
    assert_int_equal(f->count, 2);
    next(f);
    assert_false(f->stream.busy);
    assert_int_equal(f->channel.bulk.spent, 2 * TR__CHUNK_FRAME_MAX);
    tr__flow_flush(&f->flow);
    assert_int_equal(f->stream.sends, 1);
    grant(f, granted + TR__CHUNK_FRAME_MAX); /* it goes on by itself */
    look(f);
    assert_int_equal(f->count, 1);
    assert_int_equal(f->faults, 0);
    grant(f, granted); /* one that goes back is a fault */
    assert_int_equal(f->faults, 1);
}

static void what_was_committed_before_a_large_message_leaves_before_it(void **state)
{
    fixture *f = *state;
    unsigned batches = 0;
    for (int i = 0; i < 20; i++)
        put_batch(f);
    put_unit(f, 10);
    tr__flow_flush(&f->flow);
    do {
        look(f);
        for (unsigned i = 0; i < f->count; i++) {
            batches += f->frames[i].kind == TR__FRAME_BATCH;
            if (f->frames[i].kind == TR__FRAME_CHUNK)
                assert_int_equal(batches, 20);
        }
        next(f);
    } while (f->stream.busy);
    assert_int_equal(f->released, 1);
}

static void small_messages_behind_a_large_one_share_a_chunk(void **state)
{
    fixture *f = *state;
    put_unit(f, 300000);
    for (int i = 0; i < 50; i++) {
        uint8_t *at;
        assert_int_equal(tr__flow_bulk_reserve(&f->flow, 100, &at), TR_OK);
        memset(at, 's', 100);
        tr__flow_bulk_commit(&f->flow, 100);
    }
    tr__flow_flush(&f->flow);
    look(f);
    assert_int_equal(f->count, 3);
    assert_int_equal(f->frames[2].messages, 1);
    next(f);
    look(f);
    assert_int_equal(f->count, 1);
    assert_int_equal(f->frames[0].left, 5000);
    assert_int_equal(f->frames[0].messages, 50);
    assert_int_equal(f->channel.messages_out, 51);
}

static void a_goodbye_waits_for_the_bulk_lane(void **state)
{
    fixture *f = *state;
    f->channel.bulk.granted = TR__CHUNK_FRAME_MAX;
    put_unit(f, 200000);
    tr__flow_close(&f->flow);
    look(f);
    assert_int_equal(count_of(f, TR__FRAME_GOODBYE), 0);
    next(f);
    assert_false(f->stream.busy); /* without credit it waits, and nothing turns in a circle */
    grant(f, 3 * TR__CHUNK_FRAME_MAX);
    look(f);
    assert_int_equal(f->frames[f->count - 1].kind, TR__FRAME_GOODBYE);
    assert_int_equal(count_of(f, TR__FRAME_CHUNK), 1);
}

static void what_is_queued_is_bounded_but_for_one_message(void **state)
{
    fixture *f = *state;
    f->channel.bulk.granted = 0;
    assert_int_equal(tr__flow_bulk_may(&f->flow, 1 << 30), TR_OK);
    put_unit(f, 9 << 20);
    assert_int_equal(tr__flow_bulk_may(&f->flow, 1), TR_EAGAIN);
    assert_int_equal(f->credits, 0);
    f->channel.bulk.granted = 64 << 20;
    tr__flow_flush(&f->flow);
    while (f->stream.busy)
        next(f);
    assert_true(f->credits > 0);
    assert_int_equal(f->channel.bulk.queued, 0);
    assert_int_equal(f->released, 1);
}

/* Gathering ---- */

static tr__frame chunk(uint8_t *bytes, uint64_t left, size_t length, uint32_t messages)
{
    tr__frame frame;
    memset(bytes + TR__CHUNK_OVERHEAD, 'c', length);
    tr__frame_put_chunk(bytes, left, messages, (uint32_t)length, 1);
    tr__frame_put_checksum(bytes, tr__frame_chunk_checksum(bytes));
    assert_int_equal(tr__frame_header(bytes, TR__FRAME_SIZE_MAX, &frame, NULL), TR_OK);
    frame.body = bytes + TR__FRAME_HEADER;
    return frame;
}

static void what_is_only_claimed_is_never_allocated(void **state)
{
    (void)state;
    static uint8_t bytes[TR__CHUNK_FRAME_MAX];
    tr__gathering g = {0};
    tr__gathered unit;
    tr_error error;
    const size_t length = 100000;
    uint64_t left = 1 << 30;
    for (size_t arrived = length; arrived < (8 << 20); arrived += length, left -= length) {
        tr__frame frame = chunk(bytes, left, length, 0);
        assert_int_equal(tr__gathering_take(&g, &frame, 1 << 30, 100, &unit, &error), TR_OK);
        assert_int_equal(unit.messages, 0);
        assert_true(g.room <= TR__GATHERING_FIRST || g.room <= 2 * arrived);
    }
    assert_true(tr__gathering_drop(&g));
    assert_false(tr__gathering_drop(&g));
}

static void a_message_is_taken_up_to_the_bound_and_refused_with_both_numbers_beyond(void **state)
{
    (void)state;
    static uint8_t bytes[TR__CHUNK_FRAME_MAX];
    tr__gathering g = {0};
    tr__gathered unit;
    tr_error error;
    tr__frame frame = chunk(bytes, (1ull << 30) + 1, 1000, 0);
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 30, 0, &unit, &error), TR_ETOOBIG);
    assert_non_null(strstr(error.text, "1073741825"));
    assert_non_null(strstr(error.text, "1073741824"));
    assert_null(g.block);
    frame = chunk(bytes, 1 << 30, 1000, 0);
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 30, 0, &unit, &error), TR_OK);
    frame = chunk(bytes, (1 << 30) - 999, 1000, 0); /* one byte comes twice */
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 30, 0, &unit, &error), TR_EPROTO);
    frame = chunk(bytes, (1 << 30) - 1001, 1000, 0); /* one is left out */
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 30, 0, &unit, &error), TR_EPROTO);
    tr__gathering_drop(&g);
}

static void a_chunk_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    static uint8_t bytes[TR__CHUNK_FRAME_MAX];
    static const struct {
        uint64_t left;
        uint32_t length, messages;
    } bad[] = {{999, 1000, 0},     {1000, 1000, 0},       {1001, 1000, 1},
               {1000, 1000, 1001}, {UINT64_MAX, 1000, 1}, {0, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tr__gathering g = {0};
        tr__gathered unit;
        tr_error error;
        tr__frame frame = chunk(bytes, bad[i].left, bad[i].length, bad[i].messages);
        assert_int_equal(tr__gathering_take(&g, &frame, UINT64_MAX, 0, &unit, &error), TR_EPROTO);
        assert_null(g.block);
    }
}

static void the_block_has_its_headroom_and_all_bytes(void **state)
{
    (void)state;
    static uint8_t bytes[TR__CHUNK_FRAME_MAX];
    tr__gathering g = {0};
    tr__gathered unit;
    tr_error error;
    tr__frame frame = chunk(bytes, 150000, 100000, 0);
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 20, 512, &unit, &error), TR_OK);
    frame = chunk(bytes, 50000, 50000, 1);
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 20, 512, &unit, &error), TR_OK);
    assert_int_equal(unit.messages, 1);
    assert_int_equal(unit.length, 150000);
    assert_ptr_equal(unit.bytes, unit.block + 512);
    for (size_t i = 0; i < unit.length; i++)
        assert_int_equal(unit.bytes[i], 'c');
    tr__free(unit.block);
    assert_false(tr__gathering_drop(&g));
}

static void without_memory_a_chunk_is_refused_and_nothing_is_lost_track_of(void **state)
{
    (void)state;
    static uint8_t bytes[TR__CHUNK_FRAME_MAX];
    tr__gathering g = {0};
    tr__gathered unit;
    tr_error error;
    tr__frame frame = chunk(bytes, 150000, 100000, 0);
    tr__alloc_fail_at(1);
    assert_int_equal(tr__gathering_take(&g, &frame, 1 << 20, 0, &unit, &error), TR_ENOMEM);
    tr__alloc_fail_at(0);
    assert_int_equal(unit.messages, 0);
    assert_false(tr__gathering_drop(&g));
}

int main(void)
{
#define SENDS(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        SENDS(what_is_small_waits_for_no_more_than_three_chunks),
        SENDS(neither_lane_starves_the_other),
        SENDS(chunks_stop_at_the_credit_and_go_on_with_a_grant),
        SENDS(what_was_committed_before_a_large_message_leaves_before_it),
        SENDS(small_messages_behind_a_large_one_share_a_chunk),
        SENDS(a_goodbye_waits_for_the_bulk_lane),
        SENDS(what_is_queued_is_bounded_but_for_one_message),
        cmocka_unit_test(what_is_only_claimed_is_never_allocated),
        cmocka_unit_test(a_message_is_taken_up_to_the_bound_and_refused_with_both_numbers_beyond),
        cmocka_unit_test(a_chunk_that_contradicts_itself_is_refused),
        cmocka_unit_test(the_block_has_its_headroom_and_all_bytes),
        cmocka_unit_test(without_memory_a_chunk_is_refused_and_nothing_is_lost_track_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
