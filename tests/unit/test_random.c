/* base/random.c. The expected numbers are computed apart from this code, from the published algorithms. */
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_seed_fills_the_state_by_splitmix64(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 0);
    assert_int_equal(random.state[0], 0xe220a8397b1dcdafull);
    assert_int_equal(random.state[1], 0x6e789e6aa1b965f4ull);
    assert_int_equal(random.state[2], 0x06c45d188009454full);
    assert_int_equal(random.state[3], 0xf88bb8a8724c81ecull);
}

static void known_seeds_give_known_numbers(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed, first[4], thousandth;
    } rows[] = {
        {0x0ull,
         {0x99ec5f36cb75f2b4ull, 0xbf6e1f784956452aull, 0x1a5f849d4933e6e0ull, 0x6aa594f1262d2d2cull},
         0x7aac8c483a2edd2full},
        {0x1ull,
         {0xb3f2af6d0fc710c5ull, 0x853b559647364ceaull, 0x92f89756082a4514ull, 0x642e1c7bc266a3a7ull},
         0xb8517c33c344d153ull},
        {0x2aull,
         {0x15780b2e0c2ec716ull, 0x6104d9866d113a7eull, 0xae17533239e499a1ull, 0xecb8ad4703b360a1ull},
         0x8de5848c61ab8968ull},
        {0xffffffffffffffffull,
         {0x8f5520d52a7ead08ull, 0xc476a018caa1802dull, 0x81de31c0d260469eull, 0xbf658d7e065f3c2full},
         0xc3c93ea5cde434ccull},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tr__random random;
        tr__random_init(&random, rows[i].seed);
        for (int n = 0; n < 4; n++)
            assert_int_equal(tr__random_next(&random), rows[i].first[n]);
        for (int n = 4; n < 999; n++)
            tr__random_next(&random);
        assert_int_equal(tr__random_next(&random), rows[i].thousandth);
    }
}

static void below_stays_below(void **state)
{
    (void)state;
    static const uint64_t bounds[] = {1, 2, 3, 10, 1000, 1ull << 32, (1ull << 63) + 1, UINT64_MAX};
    tr__random random;
    tr__random_init(&random, 5);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
        for (int n = 0; n < 2000; n++)
            assert_true(tr__random_below(&random, bounds[i]) < bounds[i]);
    assert_int_equal(tr__random_below(&random, 0), 0);
    assert_int_equal(tr__random_below(&random, 1), 0);
}

/* 3 * 2^62 divides 2^64 so badly that a plain modulo, or a product without redraws, gives a third of the
 * values twice as often. */
static void below_is_even(void **state)
{
    (void)state;
    tr__random random;
    tr__random_init(&random, 6);
    int thirds[3] = {0};
    for (int n = 0; n < 30000; n++)
        thirds[tr__random_below(&random, 3ull << 62) >> 62]++;
    for (int i = 0; i < 3; i++)
        assert_in_range(thirds[i], 9700, 10300);
    int odd = 0;
    for (int n = 0; n < 30000; n++)
        odd += tr__random_below(&random, 3ull << 62) % 3 == 0;
    assert_in_range(odd, 9700, 10300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_seed_fills_the_state_by_splitmix64),
        cmocka_unit_test(known_seeds_give_known_numbers),
        cmocka_unit_test(below_stays_below),
        cmocka_unit_test(below_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
