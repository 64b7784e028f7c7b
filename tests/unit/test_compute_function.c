/* The table of C functions for tr_call, and what one writes into. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "actors/kinds/compute_function.h"
#include "base/mem.h"

static tr_err one(const void *in, size_t in_size, tr_compute_out *out)
{
    (void)in;
    (void)in_size;
    (void)out;
    return TR_OK;
}

static tr_err two(const void *in, size_t in_size, tr_compute_out *out)
{
    return tr_compute_write(out, in, in_size);
}

static void registered_function_is_found_by_its_name(void **state)
{
    (void)state;
    assert_null(tr__compute_function("one"));
    assert_int_equal(tr_compute_register("one", one), TR_OK);
    assert_int_equal(tr_compute_register("two", two), TR_OK);
    assert_true(tr__compute_function("one") == one);
    assert_true(tr__compute_function("two") == two);
    assert_null(tr__compute_function("on"));
}

static void name_is_taken_but_for_the_same_function(void **state)
{
    (void)state;
    assert_int_equal(tr_compute_register("taken", one), TR_OK);
    assert_int_equal(tr_compute_register("taken", one), TR_OK);
    assert_int_equal(tr_compute_register("taken", two), TR_EEXIST);
    assert_true(tr__compute_function("taken") == one);
}

static void bad_name_is_refused(void **state)
{
    (void)state;
    static const char long_name[] = "0123456789012345678901234567890123456789012345678901234567890123";
    assert_int_equal(tr_compute_register("", one), TR_EINVAL);
    assert_int_equal(tr_compute_register(NULL, one), TR_EINVAL);
    assert_int_equal(tr_compute_register("none", NULL), TR_EINVAL);
    assert_int_equal(tr_compute_register(long_name, one), TR_EINVAL);
    assert_int_equal(tr_compute_register(long_name + 1, one), TR_OK);
}

static void output_is_what_was_written_and_reserved(void **state)
{
    (void)state;
    tr_compute_out out;
    tr__compute_out_init(&out, 1 << 20);
    assert_int_equal(tr_compute_write(&out, "abc", 3), TR_OK);
    memset(tr_compute_reserve(&out, 100000), 'x', 100000);
    assert_int_equal(tr_compute_write(&out, NULL, 0), TR_OK);
    assert_int_equal(tr_compute_write(&out, "d", 1), TR_OK);
    assert_int_equal(out.size, 100004);
    assert_memory_equal(out.data, "abcx", 4);
    assert_memory_equal(out.data + 100002, "xd", 2);
    tr__compute_out_settle(&out, "f", TR_OK);
    assert_int_equal(out.error.code, TR_OK);
    tr__compute_out_fini(&out);
}

static void output_beyond_the_limit_is_too_big_whatever_is_returned(void **state)
{
    (void)state;
    tr_compute_out out;
    tr__compute_out_init(&out, 10);
    assert_int_equal(tr_compute_write(&out, "0123456789", 10), TR_OK);
    assert_int_equal(tr_compute_write(&out, "x", 1), TR_ETOOBIG);
    assert_null(tr_compute_reserve(&out, SIZE_MAX));
    tr__compute_out_settle(&out, "f", TR_OK);
    assert_int_equal(out.error.code, TR_ETOOBIG);
    assert_non_null(strstr(out.error.text, "'f'"));
    assert_non_null(strstr(out.error.text, "10 bytes"));
    tr__compute_out_fini(&out);
}

static void output_without_memory_is_no_memory(void **state)
{
    (void)state;
    tr_compute_out out;
    tr__compute_out_init(&out, 1 << 20);
    tr__alloc_fail_at(1);
    assert_int_equal(tr_compute_write(&out, "x", 1), TR_ENOMEM);
    tr__alloc_fail_at(0);
    tr__compute_out_settle(&out, "f", TR_EAPP);
    assert_int_equal(out.error.code, TR_ENOMEM);
    tr__compute_out_fini(&out);
}

static void error_has_the_functions_text_or_one_that_names_it(void **state)
{
    (void)state;
    tr_compute_out out;
    tr__compute_out_init(&out, 10);
    tr__compute_out_settle(&out, "f", tr_compute_fail(&out, TR_EAPP, "no %s", "luck"));
    assert_int_equal(out.error.code, TR_EAPP);
    assert_string_equal(out.error.text, "no luck");
    tr__compute_out_fini(&out);
    tr__compute_out_init(&out, 10);
    tr__compute_out_settle(&out, "f", TR_EIO);
    assert_int_equal(out.error.code, TR_EIO);
    assert_non_null(strstr(out.error.text, "function 'f' failed"));
    tr__compute_out_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_function_is_found_by_its_name),
        cmocka_unit_test(name_is_taken_but_for_the_same_function),
        cmocka_unit_test(bad_name_is_refused),
        cmocka_unit_test(output_is_what_was_written_and_reserved),
        cmocka_unit_test(output_beyond_the_limit_is_too_big_whatever_is_returned),
        cmocka_unit_test(output_without_memory_is_no_memory),
        cmocka_unit_test(error_has_the_functions_text_or_one_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
