/* base/histogram.c. */
#include "base/histogram.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static tr__histogram a, b, both;

static int empty_all(void **state)
{
    (void)state;
    tr__histogram_reset(&a);
    tr__histogram_reset(&b);
    tr__histogram_reset(&both);
    return 0;
}

static void an_empty_one_says_zero(void **state)
{
    (void)state;
    assert_int_equal(tr__histogram_at(&a, 0), 0);
    assert_int_equal(tr__histogram_at(&a, 500000), 0);
    assert_int_equal(tr__histogram_at(&a, 1000000), 0);
    assert_int_equal(a.count, 0);
}

static void reset_forgets_all(void **state)
{
    (void)state;
    tr__histogram_add(&a, 5);
    tr__histogram_reset(&a);
    assert_memory_equal(&a, &b, sizeof a);
    tr__histogram_add(&a, 9);
    assert_int_equal(a.min, 9);
    assert_int_equal(a.max, 9);
}

static void small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 0; value < 64; value++)
        tr__histogram_add(&a, value);
    for (uint64_t value = 0; value < 64; value++)
        assert_int_equal(tr__histogram_at(&a, (uint32_t)((value + 1) * 1000000 / 64)), value);
    assert_int_equal(a.sum, 63 * 64 / 2);
}

/* Two values: with the second far away, `max` doesn't hide the end of the first one's bucket. */
static void any_value_is_known_to_three_percent(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 3);
    for (int i = 0; i < 20000; i++) {
        uint64_t value = tr__random_next(&random) >> (1 + tr__random_below(&random, 63));
        tr__histogram_reset(&a);
        tr__histogram_add(&a, value);
        tr__histogram_add(&a, UINT64_MAX);
        uint64_t said = tr__histogram_at(&a, 500000);
        assert_true(said >= value);
        assert_true(said - value <= value / 32);
    }
}

static void both_sides_of_each_power_of_two_differ(void **state)
{
    (void)state;
    for (int bit = 1; bit < 64; bit++) {
        uint64_t power = 1ull << bit;
        tr__histogram_reset(&a);
        tr__histogram_add(&a, power - 1);
        tr__histogram_add(&a, power);
        assert_int_equal(tr__histogram_at(&a, 500000), power - 1);
        assert_int_equal(tr__histogram_at(&a, 1000000), power);
    }
}

static void the_largest_value_has_a_bucket(void **state)
{
    (void)state;
    tr__histogram_add(&a, UINT64_MAX);
    tr__histogram_add(&a, UINT64_MAX);
    assert_int_equal(a.buckets[TR__HISTOGRAM_BUCKETS - 1], 2);
    assert_int_equal(a.sum, UINT64_MAX);
    assert_int_equal(tr__histogram_at(&a, 1), UINT64_MAX);
}

static int compare(const void *x, const void *y)
{
    uint64_t one = *(const uint64_t *)x, two = *(const uint64_t *)y;
    return one < two ? -1 : one > two;
}

static void percentiles_agree_with_the_sorted_list(void **state)
{
    (void)state;
    enum { N = 5000 };
    static uint64_t values[N];
    static const uint32_t points[] = {0, 1, 1000, 10000, 250000, 500000, 990000, 999000, 999999, 1000000};
    tr__random random;
    tr__random_init(&random, 4);
    for (int i = 0; i < N; i++) {
        values[i] = 10 + (tr__random_next(&random) >> (24 + tr__random_below(&random, 30)));
        tr__histogram_add(&a, values[i]);
    }
    qsort(values, N, sizeof values[0], compare);
    assert_int_equal(a.min, values[0]);
    assert_int_equal(a.max, values[N - 1]);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        uint64_t rank = ((uint64_t)points[i] * N + 999999) / 1000000;
        uint64_t truth = values[rank ? rank - 1 : 0];
        uint64_t said = tr__histogram_at(&a, points[i]);
        assert_true(said >= truth && said - truth <= truth / 32);
    }
    assert_int_equal(tr__histogram_at(&a, 0), a.min);
    assert_int_equal(tr__histogram_at(&a, 1000000), a.max);
    assert_int_equal(tr__histogram_at(&a, 4000000), a.max);
}

static void a_share_that_begins_a_value_counts_it(void **state)
{
    (void)state;
    tr__histogram_add(&a, 1);
    tr__histogram_add(&a, 20);
    assert_int_equal(tr__histogram_at(&a, 500000), 1);
    assert_int_equal(tr__histogram_at(&a, 500001), 20);
}

static void merged_is_as_if_added_to_one(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 7);
    for (int i = 0; i < 3000; i++) {
        uint64_t value = tr__random_below(&random, 1000000);
        tr__histogram_add(i % 3 ? &a : &b, value);
        tr__histogram_add(&both, value);
    }
    tr__histogram_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof a);
}

static void merging_an_empty_one_changes_nothing(void **state)
{
    (void)state;
    tr__histogram_add(&a, 12);
    tr__histogram_add(&both, 12);
    tr__histogram_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof a);
    tr__histogram_merge(&b, &a);
    assert_memory_equal(&b, &both, sizeof b);
}

static void a_full_bucket_stays_full(void **state)
{
    (void)state;
    a.count = a.buckets[7] = UINT32_MAX;
    a.min = a.max = 7;
    tr__histogram_add(&a, 7);
    assert_int_equal(a.buckets[7], UINT32_MAX);
    assert_int_equal(a.count, (uint64_t)UINT32_MAX + 1);
    tr__histogram_add(&a, 90);
    tr__histogram_merge(&a, &a);
    assert_int_equal(a.buckets[7], UINT32_MAX);
    assert_int_equal(tr__histogram_at(&a, 500000), 7);
    assert_int_equal(tr__histogram_at(&a, 1000000), 90);
}

static void what_is_below_a_value_is_known_to_three_percent_of_it(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 100000; value++)
        tr__histogram_add(&a, value);
    assert_int_equal(tr__histogram_below(&a, 0), 0);
    assert_int_equal(tr__histogram_below(&a, 20), 19);
    for (uint64_t value = 1000; value <= 100000; value += 777)
        assert_in_range(tr__histogram_below(&a, value), value - value / 32 - 1, value);
    assert_int_equal(tr__histogram_below(&a, UINT64_MAX), 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_one_says_zero, empty_all),
        cmocka_unit_test_setup(reset_forgets_all, empty_all),
        cmocka_unit_test_setup(small_values_are_exact, empty_all),
        cmocka_unit_test_setup(any_value_is_known_to_three_percent, empty_all),
        cmocka_unit_test_setup(both_sides_of_each_power_of_two_differ, empty_all),
        cmocka_unit_test_setup(the_largest_value_has_a_bucket, empty_all),
        cmocka_unit_test_setup(percentiles_agree_with_the_sorted_list, empty_all),
        cmocka_unit_test_setup(a_share_that_begins_a_value_counts_it, empty_all),
        cmocka_unit_test_setup(what_is_below_a_value_is_known_to_three_percent_of_it, empty_all),
        cmocka_unit_test_setup(merged_is_as_if_added_to_one, empty_all),
        cmocka_unit_test_setup(merging_an_empty_one_changes_nothing, empty_all),
        cmocka_unit_test_setup(a_full_bucket_stays_full, empty_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
