/* tr_main: what is wrong on the command line is told, with the option's name and status 2, before anything
 * runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

static tr_err start(tr_actor *self, void *arg)
{
    (void)arg;
    return tr_fail(self, TR_EAPP, "it should not have run");
}

/* The status, and what went to stderr. */
static int run(char *option, char *value, char *out, size_t room)
{
    char *argv[] = {"program", option, value, NULL};
    FILE *errors = tmpfile();
    int before = dup(2);
    fflush(stderr);
    dup2(fileno(errors), 2);
    int status = tr_main(3, argv, start, NULL);
    fflush(stderr);
    dup2(before, 2);
    close(before);
    rewind(errors);
    out[fread(out, 1, room - 1, errors)] = '\0';
    fclose(errors);
    return status;
}

static void a_bad_option_is_named_and_gives_status_2(void **state)
{
    (void)state;
    static char *wrong[][2] = {
        {"--loops", "0"},
        {"--loops", "65"},
        {"--loops", "4294967297"},
        {"--loops", "2x"},
        {"--listen", "nonsense"},
        {"--listen", "1.2.3:1"},
        {"--listen", "8.8.8.8:1"},
        {"--join", "nonsense"},
        {"--join", "127.0.0.1:0"},
        {"--log", "loud"},
        {"--name", "two words"},
        {"--cluster", "a/b"},
        {"--operator", "yes"},
        {"--heartbeat", "5"},
        {"--heartbeat", "60001"},
        {"--silence", "1.9"},
        {"--silence", "3601"},
        {"--silence", "soon"},
        {"--phi", "0"},
        {"--phi", "17"},
        {"--phi", "2.5"},
        {"--learn", "perhaps"},
        {"--advertise", "here"},
        {"--message-max", "1023K"},
        {"--message-max", "2049M"},
        {"--crash-dir", ""},
        {"--crash-dir", "/nonexistent/reports"},
        {"--spool", ""},
        {"--spool-max", "0"},
        {"--outcomes", "0.9"},
        {"--outcomes", "1000001"},
        {"--outcomes", "nan"},
        {"--outcomes", "24h"},
        {"--outcomes", "1e300"},
        {"--stop-timeout", "inf"},
        {"--stop-timeout", "0"},
    };
    for (size_t i = 0; i < TR_COUNT(wrong); i++) {
        char out[1024];
        int status = run(wrong[i][0], wrong[i][1], out, sizeof(out));
        if (status != 2 || !strstr(out, wrong[i][0]))
            fail_msg("%s %s: status %d: %s", wrong[i][0], wrong[i][1], status, out);
    }
}

static void a_directory_that_cannot_be_had_is_named_and_nothing_runs(void **state)
{
    (void)state;
    char out[1024];
    assert_int_equal(1, run("--data", "/no/such/place", out, sizeof(out)));
    assert_non_null(strstr(out, "the log of transactions: /no/such/place can't be made"));
    assert_int_equal(1, run("--spool", "/no/such/place", out, sizeof(out)));
    assert_non_null(strstr(out, "/no/such/place: can't make a file for a large message: No such file or "
                                "directory; choose a directory that can be written to (--spool)"));
}

/* Longer than any transaction is under way: else who asks in time could hear that it is too late. */
static void outcomes_are_kept_for_an_hour_at_least(void **state)
{
    tr_error error;
    (void)state;
    assert_null(tr_node_create(&(tr_node_opts){.outcomes_ns = TR_MINUTES(60) - 1}, &error));
    assert_int_equal(TR_EINVAL, error.code);
    assert_non_null(strstr(error.text, "outcomes_ns: outcomes are kept for an hour at least"));
    tr_node *node = tr_node_create(&(tr_node_opts){.outcomes_ns = TR_MINUTES(60)}, &error);
    assert_non_null(node);
    tr_node_destroy(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_option_is_named_and_gives_status_2),
        cmocka_unit_test(a_directory_that_cannot_be_had_is_named_and_nothing_runs),
        cmocka_unit_test(outcomes_are_kept_for_an_hour_at_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
