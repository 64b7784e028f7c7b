/* base/mem.c. */
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int switch_off(void **state)
{
    (void)state;
    tr__alloc_fail_at(0);
    return 0;
}

static void size_zero_gives_a_valid_block(void **state)
{
    (void)state;
    void *a = tr__alloc(0), *b = tr__zalloc(0), *c = tr__realloc(NULL, 0);
    assert_true(a && b && c && a != b && b != c);
    c = tr__realloc(c, 0);
    assert_non_null(c);
    tr__free(a);
    tr__free(b);
    tr__free(c);
    tr__free(NULL);
}

static void zalloc_gives_zeros(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        unsigned char *block = tr__alloc(512);
        memset(block, 0xee, 512);
        tr__free(block);
        block = tr__zalloc(512);
        for (int i = 0; i < 512; i++)
            assert_int_equal(block[i], 0);
        tr__free(block);
    }
}

static void copies_of_text_are_whole_and_ended(void **state)
{
    (void)state;
    char *a = tr__strdup("hello"), *b = tr__strndup("hello", 3), *c = tr__strndup("hello", 99);
    const char not_ended[2] = {'x', 'y'};
    char *d = tr__strndup(not_ended, 2), *e = tr__strdup("");
    assert_string_equal(a, "hello");
    assert_string_equal(b, "hel");
    assert_string_equal(c, "hello");
    assert_string_equal(d, "xy");
    assert_string_equal(e, "");
    char *all[] = {a, b, c, d, e};
    for (int i = 0; i < 5; i++)
        tr__free(all[i]);
}

static void *allocate_by(int way, void *block)
{
    switch (way) {
    case 0:
        return tr__alloc(8);
    case 1:
        return tr__zalloc(8);
    case 2:
        return tr__realloc(block, 800);
    case 3:
        return tr__strdup("text");
    default:
        return tr__strndup("text", 2);
    }
}

static void each_way_to_allocate_can_be_made_to_fail(void **state)
{
    (void)state;
    for (int way = 0; way < 5; way++) {
        char *block = tr__strdup("kept");
        tr__alloc_fail_at(1);
        errno = 0;
        assert_null(allocate_by(way, block));
        assert_int_equal(errno, ENOMEM);
        assert_string_equal(block, "kept");
        tr__free(block);
        assert_int_equal(tr__alloc_fail_at(0), 1);
    }
}

static void only_the_nth_fails(void **state)
{
    (void)state;
    void *blocks[5];
    tr__alloc_fail_at(3);
    for (int i = 0; i < 5; i++)
        blocks[i] = tr__alloc(1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(blocks[i] == NULL, i == 2);
        tr__free(blocks[i]);
    }
    assert_int_equal(tr__alloc_fail_at(0), 5);
    assert_int_equal(tr__alloc_fail_at(0), 0);
}

static void zero_switches_it_off(void **state)
{
    (void)state;
    tr__alloc_fail_at(1);
    tr__alloc_fail_at(0);
    void *block = tr__alloc(1);
    assert_non_null(block);
    tr__free(block);
}

static void *allocate_in_a_thread(void *arg)
{
    void **block = arg;
    tr__alloc_fail_at(0);
    *block = tr__alloc(1);
    return (void *)(uintptr_t)tr__alloc_fail_at(0);
}

static void other_threads_are_not_disturbed(void **state)
{
    (void)state;
    pthread_t thread;
    void *block, *made;
    tr__alloc_fail_at(1);
    assert_int_equal(pthread_create(&thread, NULL, allocate_in_a_thread, &block), 0);
    assert_int_equal(pthread_join(thread, &made), 0);
    assert_non_null(block);
    tr__free(block);
    assert_int_equal((uintptr_t)made, 1);
    assert_null(tr__alloc(1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(size_zero_gives_a_valid_block, switch_off),
        cmocka_unit_test_teardown(zalloc_gives_zeros, switch_off),
        cmocka_unit_test_teardown(copies_of_text_are_whole_and_ended, switch_off),
        cmocka_unit_test_teardown(each_way_to_allocate_can_be_made_to_fail, switch_off),
        cmocka_unit_test_teardown(only_the_nth_fails, switch_off),
        cmocka_unit_test_teardown(zero_switches_it_off, switch_off),
        cmocka_unit_test_teardown(other_threads_are_not_disturbed, switch_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
