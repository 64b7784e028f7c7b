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

typedef struct fixture {
    cluster *c;
    uint8_t *bytes; /* n1's log, as it was */
    size_t size, used;
    int64_t a, b; /* what its accounts had */
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof(*f));
    cluster *c = f->c = calloc(1, sizeof(*c));
    cluster_open(c, 1);
    for (int i = 0; i < 6; i++) {
        cluster_transfer_begin(c, 0, "n1/a", "n2/b", 10); /* decided by n1 */
        cluster_run(c, TR_SECONDS(1));                    /* else one may wound another */
        cluster_transfer_begin(c, 0, "n2/b", "n1/b", 5);  /* n1 takes part */
        cluster_run(c, TR_SECONDS(1));
        cluster_transfer_begin(c, 1, "n1/a", "n1/b", i == 3 ? 9000 : 1); /* by n1 alone; one is refused */
        cluster_run(c, TR_SECONDS(3));
    }
    memory_log *log = &c->nodes[1].log;
    f->a = cluster_balance(c, "n1/a");
    f->b = cluster_balance(c, "n1/b");
    cluster_kill(c, 1, false);
    f->size = log->cache_size;
    f->bytes = malloc(f->size);
    memcpy(f->bytes, log->cache, f->size);
    for (f->used = f->size; f->used > 0 && !f->bytes[f->used - 1];)
        f->used--;
    assert_int_equal(f->a, 1000 - 60 - 5);
    assert_int_equal(f->b, 1000 + 30 + 5);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    if (f->c->nodes[1].tx)
        cluster_kill(f->c, 1, false);
    cluster_close(f->c);
    free(f->c);
    free(f->bytes);
    free(f);
    return 0;
}

/* As it starts with these bytes: true if it did, with all that was committed; false if it refused, and said where. */
static bool starts_whole(fixture *f, const uint8_t *bytes, size_t size, size_t at)
{
    memory_log_set(&f->c->nodes[1].log, bytes, size);
    if (!cluster_start(f->c, 1)) {
        const tr_error *why = &f->c->nodes[1].fatal;
        if (why->code != TR_EMISMATCH && why->code != TR_EVERSION)
            fail_msg("byte %zu: refused as %d: %s", at, why->code, why->text);
        if (!strstr(why->text, "memory.log") || !strpbrk(why->text, "0123456789"))
            fail_msg("byte %zu: the refusal doesn't say where: %s", at, why->text);
        return false;
    }
    if (cluster_balance(f->c, "n1/a") != f->a || cluster_balance(f->c, "n1/b") != f->b)
        fail_msg("byte %zu: it started with another state: a %lld, b %lld", at,
                 (long long)cluster_balance(f->c, "n1/a"), (long long)cluster_balance(f->c, "n1/b"));
    cluster_kill(f->c, 1, false);
    return true;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_log_as_it_was_gives_all_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_byte_anywhere_is_harmless_or_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_nodes_log_is_refused_by_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_cut_anywhere_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests_name("tx_damage", tests, NULL, NULL);
}
