/* What the tests of a connection's lanes share: two nodes' ends over the net in memory, and large messages of alice's. */
#ifndef TR_TESTS_LANES_FIXTURE_H
#define TR_TESTS_LANES_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/endpoints.h"

#define WINDOW (1u << 20)
#define MAX    (4u << 20)

/* Fixture: alice and bob ---- */

typedef struct fixture {
    test_cluster cluster;
    tr__connection_config config;
    test_node alice, bob;
    unsigned released;
    /* a scripted peer of alice */
    tr__stream *raw;
    uint64_t sequence[TR__LANES];
} fixture;

static __attribute__((unused)) const uint8_t KEY[TR__KEY_SIZE] = "the key that both nodes share 12";

static __attribute__((unused)) void open_node(fixture *f, test_node *node, const char *name, uint64_t id,
                                              const uint8_t *key)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    options.connection = &f->config;
    options.key = key;
    assert_int_equal(test_cluster_open(&f->cluster, node, &options, &error), TR_OK);
}

static __attribute__((unused)) int setup(void **state)
{
    static fixture f;
    f = (fixture){.raw = NULL};
    test_cluster_init(&f.cluster, 1);
    tr__connection_config_defaults(&f.config);
    f.config.message_max = MAX;
    *state = &f;
    return 0;
}

static __attribute__((unused)) void meet(fixture *f, const uint8_t *key)
{
    open_node(f, &f->alice, "alice", 10, key);
    open_node(f, &f->bob, "bob", 20, key);
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer);
}

static __attribute__((unused)) int setup_pair(void **state)
{
    setup(state);
    meet(*state, NULL);
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

static __attribute__((unused)) void on_release(tr__unit *unit)
{
    ((fixture *)unit->owner)->released++;
}

/* A message of that size, in three pieces. */
static __attribute__((unused)) tr_err send_large_from(fixture *f, const test_node *node, size_t size)
{
    TR_TRY(tr__endpoint_bulk_may(node->endpoint, node->peer, size));
    tr__unit *unit = tr__unit_make(size);
    unit->release = on_release;
    unit->owner = f;
    for (size_t i = 0; i < size; i++)
        unit->bytes[i] = (uint8_t)(i * 7 + size);
    size_t cuts[] = {0, size / 3, size / 2, size};
    for (int i = 0; i < 3; i++)
        if (cuts[i + 1] > cuts[i])
            unit->pieces[unit->piece_count++] = (tr__iov){unit->bytes + cuts[i], cuts[i + 1] - cuts[i]};
    return tr__endpoint_bulk_put(node->endpoint, node->peer, unit);
}

static __attribute__((unused)) tr_err send_large(fixture *f, size_t size)
{
    return send_large_from(f, &f->alice, size);
}

static __attribute__((unused)) uint64_t sum_of(uint64_t sum, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + (uint8_t)(i * 7 + size);
    return sum;
}

static __attribute__((unused)) uint64_t partial_of(const test_node *node)
{
    tr__endpoint_counters counters;
    tr__endpoint_counters_get(node->endpoint, &counters);
    return counters.partial;
}

#endif
