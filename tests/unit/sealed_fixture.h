/* What the tests of nodes with keys share: alice and bob over the net in memory, under stepped time, with somebody on the
 * way who reads and changes bytes, and a peer of alice that is written out frame by frame. */
#ifndef TR_TESTS_SEALED_FIXTURE_H
#define TR_TESTS_SEALED_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/endpoints.h"
#include "transport/link.h"

#define SENTENCE "the quick brown fox jumps over the lazy dog"

static const tr__keys OURS = {1, {"the key that our nodes share 123"}};
static const tr__keys OTHERS = {1, {"a key that is of somebody else 4"}};

/* Fixture ---- */

typedef struct fixture {
    test_cluster cluster;
    test_node alice, bob;
    /* on the way */
    uint8_t *seen;
    size_t seen_length, flip_at; /* of all bytes: the one of which a bit is changed; SIZE_MAX: none */
    uint8_t said[8192];          /* of those, what who dialled has said, if `listens` */
    size_t said_length;
    bool listens;
    /* a scripted peer of alice */
    tr__stream *raw;
    tr__seal out, in;
    uint64_t sequence;
} fixture;

static inline void on_the_way(void *context, bool of_dialler, uint8_t *bytes, size_t length)
{
    fixture *f = context;
    if (f->flip_at >= f->seen_length && f->flip_at < f->seen_length + length)
        bytes[f->flip_at - f->seen_length] ^= (uint8_t)(1u << f->flip_at % 8);
    if (f->listens && of_dialler) {
        assert_true(f->said_length + length <= sizeof f->said);
        memcpy(f->said + f->said_length, bytes, length);
        f->said_length += length;
    }
    f->seen = tr__realloc(f->seen, f->seen_length + length);
    memcpy(f->seen + f->seen_length, bytes, length);
    f->seen_length += length;
}

static inline int setup(void **state)
{
    static fixture f;
    f = (fixture){.flip_at = SIZE_MAX};
    test_cluster_init(&f.cluster, 1);
    f.cluster.net.tap = on_the_way;
    f.cluster.net.tap_context = &f;
    *state = &f;
    return 0;
}

static inline int teardown(void **state)
{
    fixture *f = *state;
    if (f->raw)
        memory_raw_close(f->raw);
    test_cluster_fini(&f->cluster);
    tr__free(f->seen);
    return 0;
}

static inline void open_node(fixture *f, test_node *node, const char *name, uint64_t id, const tr__keys *keys)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    options.keys = keys;
    assert_int_equal(test_cluster_open(&f->cluster, node, &options, &error), TR_OK);
}

/* alice dials bob. */
static inline void meet(fixture *f, const tr__keys *alices, const tr__keys *bobs)
{
    open_node(f, &f->alice, "alice", 10, alices);
    open_node(f, &f->bob, "bob", 20, bobs);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
}

static inline void start_again(fixture *f)
{
    test_cluster_destroy(&f->cluster, &f->alice);
    test_cluster_destroy(&f->cluster, &f->bob);
    test_cluster_settle(&f->cluster);
    f->seen_length = 0;
}

/* Helpers ---- */

static inline tr_err say(test_node *node, const void *bytes, size_t length)
{
    return tr__endpoint_send(node->endpoint, node->peer, bytes, length);
}

static inline bool was_seen(const fixture *f, const char *text)
{
    return memmem(f->seen, f->seen_length, text, strlen(text)) != NULL;
}

static inline void expect_words(const tr_error *why, tr_err code, const char *words)
{
    if (why->code != code || !strstr(why->text, words))
        fail_msg("'%s' (%d) isn't '%s' (%d)", why->text, why->code, words, code);
}

/* Of the scripted peer: one frame that was written at bytes, sealed or not. */
static inline void send_frame(fixture *f, uint8_t *bytes, size_t size, bool sealed)
{
    memory_raw_write(f->raw, bytes, sealed ? tr__seal_close(&f->out, bytes) : size);
    test_cluster_settle(&f->cluster);
}

static inline void any_secret(void *context, void *bytes, size_t length)
{
    (void)context;
    memset(bytes, 77, length);
}

/* The peer dials alice, if it hasn't, and says its public key. */
static inline void say_key(fixture *f, tr__psk_pair *pair)
{
    tr__psk psk = {.secret = any_secret};
    uint8_t bytes[600];
    f->sequence = 0;
    if (!f->raw)
        f->raw = memory_raw_dial(&f->cluster.net, tr__endpoint_port(f->alice.endpoint));
    tr__psk_pair_make(&psk, pair);
    send_frame(f, bytes, tr__frame_put_key(bytes, ++f->sequence, pair->open), false);
}

/* And goes on with this key, up to the keys of the connection. */
static inline void exchange_keys(fixture *f, const tr__keys *keys)
{
    tr__psk psk = {.keys = *keys, .secret = any_secret};
    tr__seals seals[TR__KEYS_MAX];
    tr__psk_pair pair;
    tr__frame frame;
    uint8_t bytes[600], theirs[TR__KEY_SIZE];
    say_key(f, &pair);
    size_t length = memory_raw_read(f->raw, bytes, sizeof bytes);
    assert_int_equal(tr__frame_decode(bytes, length, 600, &frame, NULL), TR_OK);
    assert_int_equal(frame.size, length); /* nothing but the key is said to somebody unknown */
    assert_int_equal(tr__frame_get_key(&frame, theirs, NULL), TR_OK);
    assert_int_equal(tr__psk_derive(&psk, &pair, theirs, true, seals, NULL), TR_OK);
    f->out = seals[0].out;
    f->in = seals[0].in;
}

static inline void greet(fixture *f)
{
    uint8_t bytes[600];
    tr__hello hello = {.version_min = 1, .version_max = 1, .id = 99, .cluster = "test", .name = "mallory"};
    send_frame(f, bytes, tr__frame_put_hello(bytes, TR__FRAME_HELLO, ++f->sequence, &hello), true);
    send_frame(f, bytes, tr__frame_put_grant(bytes, ++f->sequence, 1 << 20), true);
}

/* The last thing that alice said to it, in the open. */
static inline void expect_refusal(fixture *f, tr_err code, const char *words)
{
    uint8_t bytes[2000];
    tr__frame frame = {0};
    tr_error why;
    size_t length = memory_raw_read(f->raw, bytes, sizeof bytes);
    for (size_t at = 0; at < length; at += frame.size)
        assert_int_equal(tr__frame_decode(bytes + at, length - at, 600, &frame, NULL), TR_OK);
    assert_int_equal(frame.kind, TR__FRAME_REFUSE);
    assert_int_equal(tr__frame_get_refuse(&frame, &why, NULL), TR_OK);
    expect_words(&why, code, words);
    test_cluster_advance(&f->cluster, 2 * SECONDS); /* it doesn't hang up */
    expect_words(&f->alice.away_why, code, words);
    assert_null(f->alice.peer);
}

#endif
