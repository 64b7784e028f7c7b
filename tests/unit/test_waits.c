/* The table of what waits for a peer, against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actors/remote/waits.h"
#include "base/mem.h"
#include "base/random.h"

#define COUNT 2000

static tr__buffers account; /* what plain blocks are charged to */

static tr_msg *block(uint8_t kind, uint64_t number, uint32_t slot)
{
    tr_msg *msg = tr__msg_alloc_plain(&account, 0);
    msg->kind = kind;
    msg->ask = number;
    msg->sender = (tr_addr){1, slot, 1};
    return msg;
}

static void each_is_found_once_by_all_it_is_known_by(void **state)
{
    (void)state;
    tr__waits waits = {0};
    bool there[COUNT] = {false};
    tr__random random;
    tr__random_init(&random, 7);
    for (int i = 0; i < 20 * COUNT; i++) {
        uint64_t n = tr__random_below(&random, COUNT);
        uint8_t kind = n % 2 ? TR__MSG_ASK : TR__MSG_MONITOR;
        uint32_t slot = (uint32_t)n % 5;
        if (!there[n]) {
            assert_true(tr__waits_put(&waits, block(kind, n / 2, slot)));
            there[n] = true;
            continue;
        }
        assert_null(tr__waits_take(&waits, kind, n / 2, slot, 2)); /* another generation */
        tr_msg *msg = tr__waits_take(&waits, kind, n / 2, slot, 1);
        assert_non_null(msg);
        assert_true(msg->kind == kind && msg->ask == n / 2);
        assert_null(tr__waits_take(&waits, kind, n / 2, slot, 1));
        tr__free(msg);
        there[n] = false;
    }
    uint32_t left = 0, popped = 0;
    for (int n = 0; n < COUNT; n++)
        left += there[n];
    for (tr_msg *msg; (msg = tr__waits_pop(&waits)); popped++)
        tr__free(msg);
    assert_int_equal(left, popped);
    tr__waits_fini(&waits);
}

static void without_memory_for_the_first_table_the_block_stays_the_callers(void **state)
{
    (void)state;
    tr__waits waits = {0};
    tr_msg *msg = block(TR__MSG_ASK, 1, 1);
    tr__alloc_fail_at(1);
    assert_false(tr__waits_room(&waits));
    tr__alloc_fail_at(1);
    assert_false(tr__waits_put(&waits, msg));
    tr__alloc_fail_at(0);
    assert_null(tr__waits_take(&waits, TR__MSG_ASK, 1, 1, 1));
    tr__free(msg);
    tr__waits_fini(&waits);
}

static void without_memory_for_a_larger_table_chains_grow_instead(void **state)
{
    (void)state;
    tr__waits waits = {0};
    for (uint64_t n = 0; n < 64; n++)
        assert_true(tr__waits_put(&waits, block(TR__MSG_ASK, n, 1)));
    tr_msg *msg = block(TR__MSG_ASK, 64, 1);
    tr__alloc_fail_at(1);
    assert_true(tr__waits_put(&waits, msg));
    tr__alloc_fail_at(0);
    assert_ptr_equal(msg, tr__waits_take(&waits, TR__MSG_ASK, 64, 1, 1));
    tr__free(msg);
    while ((msg = tr__waits_pop(&waits)))
        tr__free(msg);
    tr__waits_fini(&waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_found_once_by_all_it_is_known_by),
        cmocka_unit_test(without_memory_for_the_first_table_the_block_stays_the_callers),
        cmocka_unit_test(without_memory_for_a_larger_table_chains_grow_instead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
