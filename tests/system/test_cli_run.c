/* `troupe run` with real commands. Processes that a command leaves are known by a mark in their arguments: a
 * `sleep` of an odd length, with this program's pid in it. */
#include "cli_kit.h"

#include <sys/resource.h>
#include <sys/stat.h>

static char nap[32]; /* a length for sleep that nobody else uses */

static int set_up(void **state)
{
    (void)state;
    snprintf(cli_directory, sizeof(cli_directory), "/tmp/troupe-run-XXXXXX");
    snprintf(nap, sizeof(nap), "100.%d", (int)getpid());
    return mkdtemp(cli_directory) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", cli_directory);
    return system(command);
}

/* True once no process sleeps for that odd time any more; ten seconds at most. */
static bool all_gone(void)
{
    for (int i = 0; i < 1000; i++) {
        if (sh("! grep -lqsz '^%s$' /proc/[0-9]*/cmdline", nap) == 0)
            return true;
        poll(NULL, 0, 10);
    }
    return false;
}

/* ---- what comes out ------------------------------------------------------------------------------------ */

static void output_and_exit_status_are_the_commands(void **state)
{
    (void)state;
    assert_int_equal(7, sh("$T run -- sh -c 'echo one; echo two >&2; exit 7'"));
    assert_string_equal("one\n", content("out"));
    assert_string_equal("two\n", content("err"));
    assert_int_equal(
        0, sh("$T run printf '%%s\\n' --help")); /* the dashes may be left out: options end at the command */
    assert_string_equal("--help\n", content("out"));
    assert_int_equal(0, sh("$T run -- printf '%%s|' 'a b' '' '*'"));
    assert_string_equal("a b||*|", content("out"));
}

static void a_signal_is_128_and_its_number(void **state)
{
    (void)state;
    assert_int_equal(128 + SIGSEGV, sh("$T run -- sh -c 'kill -SEGV $$'"));
    assert_int_equal(128 + SIGKILL, sh("$T run -- sh -c 'kill -KILL $$'"));
    assert_string_equal("", content("err"));
}

static void standard_input_is_passed_on_unchanged(void **state)
{
    (void)state;
    assert_int_equal(0, sh("head -c 3000001 /dev/urandom >in; $T run -- cat <in | cmp - in"));
    assert_int_equal(0, sh("$T run -- sha256sum <in >a; sha256sum <in >b; cmp a b"));
    assert_int_equal(0, sh("$T run -- head -c 3 <in >a; head -c 3 in | cmp - a")); /* it takes no more */
    assert_int_equal(0, sh("$T run -- cat <&-; : | $T run -- cat; $T run -- true </dev/zero"));
    assert_int_equal(3, sh("mkfifo never; $T run -- sh -c 'exit 3' <>never")); /* doesn't wait for input */
}

static void output_streams_before_the_command_has_ended(void **state)
{
    (void)state;
    assert_int_equal(0, sh("mkfifo go; $T run -- sh -c 'echo ready; read line <go; echo \"$line\"' "
                           "| { read line; echo now >go; echo \"$line\"; cat; }"));
    assert_string_equal("ready\nnow\n", content("out"));
}

/* Far more than may be held, to a reader that is slower than the writer. */
static void much_output_takes_bounded_memory(void **state)
{
    (void)state;
    /* Freed memory that asan holds back isn't what this is about. */
    static const char copy[] = "ASAN_OPTIONS=$ASAN_OPTIONS:quarantine_size_mb=1 exec $T run -- cat in >copy";
    int limit_kb = 32 * 1024, status;
    struct rusage usage;
    assert_int_equal(0, sh("head -c 10000000 /dev/urandom >in"));
    pid_t pid = start_sh(copy);
    assert_int_equal(pid, wait4(pid, &status, 0, &usage));
    assert_int_equal(0, exit_status(status));
    assert_int_equal(0, sh("cmp in copy"));
    long least = usage.ru_maxrss; /* a sanitizer's own memory comes on top */
    assert_int_equal(0, sh("head -c 200000000 /dev/zero >in"));
    pid = start_sh(copy);
    assert_int_equal(pid, wait4(pid, &status, 0, &usage));
    assert_int_equal(0, sh("cmp in copy && rm in copy"));
    assert_in_range(usage.ru_maxrss, 1, least + limit_kb);
}

static void a_reader_that_goes_ends_the_command(void **state)
{
    (void)state;
    assert_int_equal(0, sh("{ $T run -- yes; echo $? >status; } | head -n 1; cat status"));
    assert_string_equal("y\n141\n", content("out"));
    assert_string_equal("", content("err"));
    assert_int_equal(125, sh("$T run -- yes >/dev/full"));
    assert_contains(content("err"), "its output can't be written (No space left on device): it was ended");
}

/* ---- what ends it -------------------------------------------------------------------------------------- */

static void the_deadline_ends_the_whole_group(void **state)
{
    (void)state;
    assert_int_equal(124, sh("$T run --deadline 0.2 -- sh -c 'sleep %s & sleep %s'", nap, nap));
    assert_contains(content("err"), "troupe run: not done after 0.2 s (--deadline): it was ended\n");
    assert_true(all_gone());
    /* One that doesn't mind SIGTERM has a second. */
    assert_int_equal(124,
                     sh("$T run --deadline 0.2 -- sh -c 'trap \"\" TERM; sleep %s; sleep %s'", nap, nap));
    assert_true(all_gone());
    assert_int_equal(0, sh("$T run --deadline 60 -- true"));
}

static void the_deadline_is_kept_though_nobody_reads_the_output(void **state)
{
    (void)state;
    assert_int_equal(0, sh("mkfifo unread; exec 3<>unread; "
                           "$T run --deadline 0.2 -- yes >&3; [ $? = 124 ]"));
}

static void ctrl_c_ends_the_group_and_waits_for_it(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof(command),
             "exec $T run -- sh -c 'trap \"echo ended >trapped; exit\" TERM; echo up; sleep %s & wait'", nap);
    pid_t pid = start_sh(command);
    assert_true(has_content("out"));
    kill(pid, SIGINT);
    assert_int_equal(128 + SIGINT, end_of(pid));
    assert_string_equal("ended\n", content("trapped"));
    assert_true(all_gone());
    pid = start_sh(command);
    assert_true(has_content("out"));
    kill(pid, SIGTERM);
    assert_int_equal(128 + SIGTERM, end_of(pid));
    assert_true(all_gone());
}

static void what_holds_its_output_has_a_second(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T run -- sh -c 'sleep %s & echo done'", nap));
    assert_string_equal("done\n", content("out"));
    assert_true(all_gone());
}

/* ---- what can't be run --------------------------------------------------------------------------------- */

static void what_cannot_be_run_is_126_or_127_with_the_reason(void **state)
{
    (void)state;
    assert_int_equal(127, sh("$T run -- no-such-command-here"));
    assert_string_equal("troupe run: no command 'no-such-command-here' in the node's PATH\n", content("err"));
    assert_int_equal(127, sh("$T run -- ./nothing"));
    assert_contains(content("err"), "no command './nothing': no such file");
    assert_int_equal(126, sh(": >plain; $T run -- ./plain"));
    assert_contains(content("err"), "'./plain' isn't executable");
    assert_int_equal(127, sh("printf '#!/no/such/thing\\n' >script; chmod +x script; $T run -- ./script"));
    assert_contains(content("err"), "the interpreter that it names");
    assert_int_equal(126, sh("printf 'junk' >junk; chmod +x junk; $T run -- ./junk"));
    assert_contains(content("err"), "'./junk' isn't a program for this machine");
}

static void bad_options_are_named(void **state)
{
    (void)state;
    assert_int_equal(2, sh("$T run"));
    assert_contains(content("err"), "no command given");
    assert_int_equal(2, sh("$T run -- ''"));
    assert_contains(content("err"), "no command given");
    assert_int_equal(2, sh("$T run --deadline soon -- true"));
    assert_contains(content("err"), "--deadline \"soon\": a number from 0.001 to");
    assert_int_equal(2, sh("$T run --deadline"));
    assert_contains(content("err"), "a value is missing after \"--deadline\"");
    assert_int_equal(2, sh("$T run --fast -- true"));
    assert_contains(content("err"), "unknown option \"--fast\"");
    assert_int_equal(0, sh("$T help"));
    assert_contains(content("out"), "\n  fetch ");
    assert_contains(content("out"), "\n  run ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_exit_status_are_the_commands),
        cmocka_unit_test(a_signal_is_128_and_its_number),
        cmocka_unit_test(standard_input_is_passed_on_unchanged),
        cmocka_unit_test(output_streams_before_the_command_has_ended),
        cmocka_unit_test(much_output_takes_bounded_memory),
        cmocka_unit_test(a_reader_that_goes_ends_the_command),
        cmocka_unit_test(the_deadline_ends_the_whole_group),
        cmocka_unit_test(the_deadline_is_kept_though_nobody_reads_the_output),
        cmocka_unit_test(ctrl_c_ends_the_group_and_waits_for_it),
        cmocka_unit_test(what_holds_its_output_has_a_second),
        cmocka_unit_test(what_cannot_be_run_is_126_or_127_with_the_reason),
        cmocka_unit_test(bad_options_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
