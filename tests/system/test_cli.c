/* The `troupe` program itself: what it says of its commands, and that what it couldn't print is no success. */
#include "tests/system/cli_kit.h"

static void help_of_a_command_is_what_the_command_says(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T help node >one && $T node --help >two && cmp one two"));
    assert_int_equal(0, sh("$T help >one && $T >two && cmp one two"));
    assert_int_equal(2, sh("$T help nonsense"));
    assert_contains(content("err"), "no command \"nonsense\"");
    assert_int_equal(2, sh("$T help ps top"));
}

static void a_word_that_a_command_does_not_know_is_named(void **state)
{
    (void)state;
    assert_int_equal(2, sh("$T tx undo"));
    assert_contains(content("err"), "troupe tx: \"undo\" is none of: list, show, check, resolve, accept\n");
    assert_int_equal(2, sh("$T tx show")); /* that is known: what is wrong is in the usage */
    assert_null(strstr(content("err"), "none of"));
    assert_int_equal(2, sh("$T new program x"));
    assert_contains(content("err"), "\"program\" is none of: plugin\n");
}

static void what_could_not_be_printed_is_no_success(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T help >/dev/full"));
    assert_contains(content("err"), "No space left on device");
    assert_int_equal(1, sh("$T tx list >/dev/full"));
    assert_int_equal(2, sh("$T tx undo >/dev/full"));
    assert_int_equal(0, sh("$T help | head -n 1"));
    assert_string_equal("", content("err"));
}

static void numbers_of_a_bound_are_written_out(void **state)
{
    (void)state;
    assert_int_equal(2, sh("$T tap ada/eve --count 0"));
    assert_contains(content("err"), "a whole number from 1 to 1000000000000 is needed");
}

static void a_file_that_may_not_grow_is_an_error_and_no_signal(void **state)
{
    (void)state;
    assert_int_equal(1, sh("(ulimit -f 100 && exec $T node --name ada --data log)"));
    assert_contains(content("err"), "File too large");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they need more of everything */
static void too_few_threads_and_too_small_stacks_are_told_at_the_start(void **state)
{
    (void)state;
    assert_int_equal(1, sh("(ulimit -s 64 && exec $T node --name ada)"));
    assert_contains(content("err"), "stacks of 64 KiB here (ulimit -s), and a node needs 256 KiB");
    /* The bound isn't root's; so as somebody else, if we are root. */
    const char *as = geteuid() == 0 ? "setpriv --reuid 54321 --clear-groups" : "";
    int status = sh("chmod 755 . && %s prlimit --nproc=8 $T node --name ada --listen 127.0.0.1:0", as);
    if (strstr(content("err"), "ermission denied") || strstr(content("err"), "setpriv: "))
        skip();
    assert_int_equal(1, status);
    assert_contains(content("err"), "connections need ");
    assert_contains(content("err"), "see ulimit -u");
}
#endif

static int set_up(void **state)
{
    (void)state;
    strcpy(cli_directory, "/tmp/troupe-cli-XXXXXX");
    return mkdtemp(cli_directory) && setenv("XDG_RUNTIME_DIR", cli_directory, 1) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", cli_directory);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_of_a_command_is_what_the_command_says),
        cmocka_unit_test(a_word_that_a_command_does_not_know_is_named),
        cmocka_unit_test(what_could_not_be_printed_is_no_success),
        cmocka_unit_test(a_file_that_may_not_grow_is_an_error_and_no_signal),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(too_few_threads_and_too_small_stacks_are_told_at_the_start),
#endif
        cmocka_unit_test(numbers_of_a_bound_are_written_out),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
