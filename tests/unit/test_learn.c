/* Addresses that peers tell of: which are dialled, for how long, and how many; and what a node says of itself. Over the net
 * in memory, under stepped time. What wardens tell each other: tests/system/test_mesh.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/kit/endpoints.h"

static uint8_t key[TR__KEY_SIZE] = {7};

typedef struct fixture {
    test_cluster cluster;
    test_node alice, bob;
} fixture;

static void open_node(fixture *f, test_node *node, const char *name, uint64_t id, bool learn,
                      const uint8_t *its_key)
{
    tr_error error;
    tr__endpoint_options options = test_options(name, id);
    options.learn = learn;
    options.key = its_key;
    if (test_cluster_open(&f->cluster, node, &options, &error) != TR_OK)
        fail_msg("%s", error.text);
}

static int setup(void **state)
{
    static fixture f;
    f = (fixture){0};
    test_cluster_init(&f.cluster, 1);
    open_node(&f, &f.alice, "alice", 10, true, NULL);
    open_node(&f, &f.bob, "bob", 20, false, NULL);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    test_cluster_fini(&((fixture *)*state)->cluster);
    return 0;
}

static tr__endpoint_counters counters(const test_node *node)
{
    tr__endpoint_counters c;
    tr__endpoint_counters_get(node->endpoint, &c);
    return c;
}

static void learn_bob(fixture *f)
{
    tr_error error;
    assert_int_equal(tr__endpoint_learn(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint), &error),
                     TR_OK);
    test_cluster_settle(&f->cluster);
}

static void an_address_that_was_learned_is_dialled_and_stayed_connected_to(void **state)
{
    fixture *f = *state;
    learn_bob(f);
    assert_non_null(f->alice.peer);
    assert_true(f->alice.peer->dialled);
    assert_int_equal(counters(&f->alice).learned, 1);
    memory_net_cut(&f->cluster.net);
    test_cluster_advance(&f->cluster, SECONDS);
    assert_int_equal(f->alice.downs, 1);
    assert_non_null(f->alice.peer);
}

static void whether_it_wants_to_hear_of_others_is_said_by_each(void **state)
{
    fixture *f = *state;
    test_dial(&f->bob, &f->alice);
    test_cluster_settle(&f->cluster);
    assert_true(f->bob.peer->learns);
    assert_false(f->alice.peer->learns);
}

static void where_nobody_is_met_for_ten_minutes_is_forgotten_and_can_be_learned_again(void **state)
{
    fixture *f = *state;
    f->cluster.net.refuse_dials = true;
    learn_bob(f);
    test_cluster_advance(&f->cluster, 590 * SECONDS);
    uint64_t dials = counters(&f->alice).dials;
    assert_in_range(dials, 110, 250);            /* 2.5 to 5 s apart */
    assert_int_equal(f->alice.dial_failures, 0); /* nobody here has asked for it */
    test_cluster_advance(&f->cluster, 20 * SECONDS);
    f->cluster.net.refuse_dials = false;
    test_cluster_advance(&f->cluster, 60 * SECONDS);
    assert_null(f->alice.peer);
    assert_int_equal(tr__endpoint_next_due(f->alice.endpoint), UINT64_MAX);
    learn_bob(f);
    assert_non_null(f->alice.peer);
}

static void a_seed_is_never_forgotten_though_it_was_learned_as_well(void **state)
{
    fixture *f = *state;
    f->cluster.net.refuse_dials = true;
    learn_bob(f);
    test_dial(&f->alice, &f->bob);
    learn_bob(f);
    test_cluster_advance(&f->cluster, 3600 * SECONDS);
    f->cluster.net.refuse_dials = false;
    test_cluster_advance(&f->cluster, 5 * SECONDS);
    assert_non_null(f->alice.peer);
}

static void what_names_no_other_node_is_not_dialled(void **state)
{
    fixture *f = *state;
    const char *own = tr__endpoint_address(f->alice.endpoint);
    const char *bad[] = {own, "0.0.0.0:7100", "[::]:7100", "nonsense", "127.0.0.1:0", ""};
    tr_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tr__endpoint_learn(f->alice.endpoint, bad[i], &error), TR_EADDR);
    test_cluster_settle(&f->cluster);
    assert_int_equal(counters(&f->alice).dials, 0);
    assert_int_equal(counters(&f->alice).learn_refused, 6);
}

static void without_a_key_only_loopback_is_dialled(void **state)
{
    fixture *f = *state;
    tr_error error;
    const char *far[] = {"10.1.2.3:7100", "localhost:7100", "[2001:db8::1]:7100", "[::ffff:10.0.0.1]:7100"};
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        assert_int_equal(tr__endpoint_learn(f->alice.endpoint, far[i], &error), TR_EPERM);
    test_cluster_destroy(&f->cluster, &f->alice);
    open_node(f, &f->alice, "alice", 10, true, key);
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        assert_int_equal(tr__endpoint_learn(f->alice.endpoint, far[i], &error), TR_OK);
    test_cluster_settle(&f->cluster);
    assert_int_equal(counters(&f->alice).learned, 4);
}

static void what_is_learned_is_bounded_and_leaves_places_for_seeds(void **state)
{
    fixture *f = *state;
    tr_error error;
    char address[64];
    f->cluster.net.refuse_dials = true;
    for (unsigned i = 0; i < TR__LEARNED_MAX + 10; i++) {
        snprintf(address, sizeof address, "127.0.%u.%u:7100", i / 256, i % 256);
        assert_int_equal(tr__endpoint_learn(f->alice.endpoint, address, &error), TR_OK);
    }
    test_cluster_settle(&f->cluster);
    assert_int_equal(counters(&f->alice).learned, TR__LEARNED_MAX);
    assert_int_equal(counters(&f->alice).learn_refused, 10);
    f->cluster.net.refuse_dials = false;
    test_dial(&f->alice, &f->bob);
    test_cluster_settle(&f->cluster);
    assert_non_null(f->alice.peer);
}

static void without_memory_it_is_counted_and_nothing_else(void **state)
{
    fixture *f = *state;
    tr_error error;
    tr__alloc_fail_at(1);
    assert_int_equal(tr__endpoint_learn(f->alice.endpoint, tr__endpoint_address(f->bob.endpoint), &error),
                     TR_ENOMEM);
    tr__alloc_fail_at(0);
    assert_int_equal(counters(&f->alice).learn_refused, 1);
    learn_bob(f);
    assert_non_null(f->alice.peer);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_address_that_was_learned_is_dialled_and_stayed_connected_to),
        CASE(whether_it_wants_to_hear_of_others_is_said_by_each),
        CASE(where_nobody_is_met_for_ten_minutes_is_forgotten_and_can_be_learned_again),
        CASE(a_seed_is_never_forgotten_though_it_was_learned_as_well),
        CASE(what_names_no_other_node_is_not_dialled),
        CASE(without_a_key_only_loopback_is_dialled),
        CASE(what_is_learned_is_bounded_and_leaves_places_for_seeds),
        CASE(without_memory_it_is_counted_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
