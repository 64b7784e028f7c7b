/* The fixture of tests about payments in a cluster of managers (tx_cluster.h): the caller is n0, which keeps no account; a (on
 * n1) is called first, so n1 decides; b is on n2. One thread. */
#ifndef TR_TESTS_TX_PAY_H
#define TR_TESTS_TX_PAY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/tx_cluster.h"

static const char *const both[] = {"n1/a", "n2/b"};

/* To be ended by end, or by cluster_close and free. */
static inline cluster *setup_cluster(uint64_t seed)
{
    cluster *c = calloc(1, sizeof(*c));
    cluster_open(c, seed);
    return c;
}

/* Whatever is under way comes to its end; then all must be as cluster_check says. */
static inline void end(cluster *c)
{
    cluster_run(c, TR_SECONDS(12));
    cluster_check(c, both, 2);
    cluster_close(c);
    free(c);
}

/* From a to b. */
static inline cluster_transfer *pay(cluster *c, int64_t amount)
{
    return cluster_transfer_begin(c, 0, "n1/a", "n2/b", amount);
}

static inline tr__tx_figures figures_of(cluster *c, uint32_t node)
{
    tr__tx_figures figures;
    tr__tx_figures_of(c->nodes[node].tx, &figures);
    return figures;
}

static inline void assert_answer(const cluster_transfer *t, tr_tx_status status, tr_tx_reason reason)
{
    assert_true(t->answered);
    assert_int_equal(t->outcome.status, status);
    assert_int_equal(t->outcome.reason, reason);
}

static inline void assert_balances(cluster *c, int64_t a, int64_t b)
{
    assert_int_equal(cluster_balance(c, "n1/a"), a);
    assert_int_equal(cluster_balance(c, "n2/b"), b);
}

static inline void assert_settled(const cluster_transfer *t, tr_tx_status status)
{
    assert_true(t->is_settled);
    assert_int_equal(t->settled, status);
}

/* A payment of 40, run until that node was killed at that point. */
static inline cluster_transfer *killed_at(cluster *c, uint32_t node, tr__tx_point point)
{
    cluster_transfer *t = pay(c, 40);
    c->nodes[node].kill_at = (int)point;
    for (int i = 0; i < 100000 && c->nodes[node].tx; i++)
        cluster_step(c);
    assert_null(c->nodes[node].tx);
    return t;
}

#endif
