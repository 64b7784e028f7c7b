/* Memory of large messages (base/large_os.c): kept for the next one that it fits, within its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"

#define MIB  ((size_t)1 << 20)
#define MOST 64

/* ---- fixture: nothing is kept before and after ---------------------------------------------------------- */

static int forget_all(void **state)
{
    (void)state;
    for (size_t size = TR__LARGE; size <= 9 * MIB; size += size / 8)
        for (void *block; (block = tr__large_take(size));)
            free(block);
    return 0;
}

static void *give(size_t size)
{
    void *block = malloc(size);
    assert_non_null(block);
    assert_true(tr__large_keep(block));
    return block;
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void what_one_message_leaves_the_next_one_of_its_size_gets(void **state)
{
    (void)state;
    void *block = give(MIB);
    assert_ptr_equal(block, tr__large_take(MIB));
    assert_null(tr__large_take(MIB));
    free(block);
}

static void nobody_gets_one_that_is_too_small_or_much_too_large(void **state)
{
    (void)state;
    void *block = give(MIB);
    assert_null(tr__large_take(MIB + MIB / 2));
    assert_null(tr__large_take(MIB * 5 / 8));
    assert_ptr_equal(block, tr__large_take(MIB - MIB / 8));
    free(block);
}

static void small_and_huge_ones_are_not_kept(void **state)
{
    static const size_t sizes[] = {1024, 64 * 1024, 9 * MIB};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *block = malloc(sizes[i]);
        assert_false(tr__large_keep(block));
        free(block);
    }
}

static void no_more_is_kept_than_eight_mebibytes_and_the_latest_stay(void **state)
{
    void *blocks[MOST];
    int kept = 0;
    (void)state;
    for (int i = 0; i < MOST; i++)
        blocks[i] = give(2 * MIB - 4096);
    for (void *block; (block = tr__large_take(2 * MIB - 4096)); kept++) {
        assert_ptr_equal(blocks[MOST - 1 - kept], block);
        free(block);
    }
    assert_int_equal(4, kept);
}

static void many_of_the_smallest_are_eight_at_most(void **state)
{
    int kept = 0;
    (void)state;
    for (int i = 0; i < MOST; i++)
        give(TR__LARGE);
    for (void *block; (block = tr__large_take(TR__LARGE)); kept++)
        free(block);
    assert_int_equal(8, kept);
}

static void an_allocation_that_is_to_fail_fails_although_one_is_kept(void **state)
{
    (void)state;
    give(MIB);
    tr__alloc_fail_at(1);
    assert_null(tr__large_alloc(MIB));
    tr__alloc_fail_at(0);
    void *block = tr__large_alloc(MIB);
    assert_non_null(block);
    tr__large_free(block);
    tr__large_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, forget_all, forget_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_message_leaves_the_next_one_of_its_size_gets),
        TEST(nobody_gets_one_that_is_too_small_or_much_too_large),
        TEST(small_and_huge_ones_are_not_kept),
        TEST(no_more_is_kept_than_eight_mebibytes_and_the_latest_stay),
        TEST(many_of_the_smallest_are_eight_at_most),
        TEST(an_allocation_that_is_to_fail_fails_although_one_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
