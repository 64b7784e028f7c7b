/* What the tests of one connection share: two nodes over the net in memory, and a peer that is written out frame by frame. */
#ifndef TR_TESTS_CONNECTION_FIXTURE_H
#define TR_TESTS_CONNECTION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/endpoints.h"

#define WINDOW (64u << 10)

/* Fixture: alice and bob with a small window, connected ---- */

typedef struct fixture {
    test_cluster cluster;
    tr__connection_config config;
    test_node alice, bob;
    /* a scripted peer of alice */
    tr__stream *raw;
    uint64_t sequence[TR__LANES];
} fixture;

static __attribute__((unused)) void open_node(fixture *f, test_node *node, const char *name, uint64_t id)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    options.connection = &f->config;
    assert_int_equal(test_cluster_open(&f->cluster, node, &options, &error), TR_OK);
}

static __attribute__((unused)) int setup(void **state)
{
    static __attribute__((unused)) fixture f;
    f = (fixture){0};
    test_cluster_init(&f.cluster, 1);
    tr__connection_config_defaults(&f.config);
    f.config.window = WINDOW;
    open_node(&f, &f.alice, "alice", 10);
    *state = &f;
    return 0;
}

static __attribute__((unused)) int setup_pair(void **state)
{
    setup(state);
    fixture *f = *state;
    open_node(f, &f->bob, "bob", 20);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer);
    return 0;
}

static __attribute__((unused)) int teardown(void **state)
{
    fixture *f = *state;
    if (f->raw)
        memory_raw_close(f->raw);
    test_cluster_fini(&f->cluster);
    return 0;
}

/* Helpers ---- */

static __attribute__((unused)) tr_err send_size(fixture *f, size_t size)
{
    static __attribute__((unused)) uint8_t bytes[17 << 20];
    return tr__endpoint_send(f->alice.endpoint, f->alice.peer, bytes, size);
}

static __attribute__((unused)) tr__connection_counters out(fixture *f)
{
    return test_counters(&f->alice);
}

static __attribute__((unused)) void say(fixture *f, uint8_t *frame, tr__frame_kind kind, size_t body)
{
    tr__lane lane = kind == TR__FRAME_BATCH ? TR__LANE_NORMAL : TR__LANE_CONTROL;
    tr__frame_finish(frame, kind, (uint32_t)body, ++f->sequence[lane]);
    memory_raw_write(f->raw, frame, TR__FRAME_HEADER + body);
    test_cluster_settle(&f->cluster);
}

static __attribute__((unused)) void say_batch(fixture *f, size_t size, uint32_t messages)
{
    uint8_t *frame = calloc(1, size);
    tr__frame_put_count(frame + TR__FRAME_HEADER, messages);
    say(f, frame, TR__FRAME_BATCH, size - TR__FRAME_HEADER);
    free(frame);
}

static __attribute__((unused)) void say_hello(fixture *f)
{
    uint8_t frame[512];
    tr__hello hello = {.version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
    f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    say(f, frame, TR__FRAME_HELLO, tr__frame_put_hello(frame, TR__FRAME_HELLO, 1, &hello) - TR__FRAME_HEADER);
}

static __attribute__((unused)) void say_grant(fixture *f, uint64_t total)
{
    uint8_t frame[512];
    say(f, frame, TR__FRAME_GRANT, tr__frame_put_grant(frame, 1, total) - TR__FRAME_HEADER);
}

static __attribute__((unused)) void shake_hands(fixture *f)
{
    say_hello(f);
    assert_null(f->alice.peer); /* who accepted waits for the decision of who dialled */
    say_grant(f, WINDOW);
    assert_non_null(f->alice.peer);
}

/* The last frame that alice sent; its body stands in bytes. */
static __attribute__((unused)) tr__frame last_frame(fixture *f, uint8_t *bytes, size_t size)
{
    tr__frame frame = {0};
    size_t length = memory_raw_read(f->raw, bytes, size);
    for (size_t at = 0; at < length; at += TR__FRAME_HEADER + frame.length)
        assert_int_equal(tr__frame_decode(bytes + at, length - at, TR__FRAME_SIZE_MAX, &frame, NULL), TR_OK);
    return frame;
}

/* The connection was refused, and the last words say so. */
static __attribute__((unused)) void expect_refused(fixture *f, tr_err code, const char *words)
{
    static __attribute__((unused)) uint8_t bytes[1 << 20];
    tr_error why;
    test_cluster_settle(&f->cluster);
    tr__frame frame = last_frame(f, bytes, sizeof bytes);
    assert_int_equal(frame.kind, TR__FRAME_REFUSE);
    assert_int_equal(tr__frame_get_refuse(&frame, &why, NULL), TR_OK);
    assert_int_equal(why.code, code);
    if (!strstr(why.text, words))
        fail_msg("'%s' doesn't say '%s'", why.text, words);
    test_cluster_advance(&f->cluster, 2 * SECONDS);
    assert_true(memory_raw_is_cut(f->raw));
    assert_null(f->alice.peer);
    if (f->alice.ups)
        assert_int_equal(f->alice.down_why.code, code);
}

/* Batches and credit ---- */

#endif
