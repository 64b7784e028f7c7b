/* `troupe bench` as a user runs it: every benchmark with small parameters gives the JSON that is promised,
 * and what is wrong on the command line is told, with status 2. Which figures come out is no test's business.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs the program with those words; its output, stderr with it, goes to `out`. The exit status; -1: it
 * crashed. */
static int run(const char *words, char *out, size_t room)
{
    const char *program = getenv("TROUPE_BIN");
    char command[512];
    if (!program)
        fail_msg("TROUPE_BIN names no program: run this through ctest or ./dev test");
    snprintf(command, sizeof(command), "timeout 100 '%s' %s 2>&1 </dev/null", program, words);
    FILE *output = popen(command, "r");
    assert_non_null(output);
    out[fread(out, 1, room - 1, output)] = '\0';
    int status = pclose(output);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void has(json_t *object, const char *key, json_type type)
{
    json_t *value = json_object_get(object, key);
    if (!value || (json_typeof(value) != type && !(type == JSON_REAL && json_is_number(value))))
        fail_msg("\"%s\" is missing or of another type", key);
}

static void is_result(const char *line, const char *bench, const char *metric, const char *unit)
{
    json_error_t error;
    json_t *object = json_loads(line, 0, &error);
    if (!object)
        fail_msg("not JSON: %s: %s", error.text, line);
    assert_string_equal(json_string_value(json_object_get(object, "bench")), bench);
    assert_string_equal(json_string_value(json_object_get(object, "metric")), metric);
    assert_string_equal(json_string_value(json_object_get(object, "unit")), unit);
    has(object, "value", JSON_REAL);
    has(object, "min", JSON_REAL);
    has(object, "max", JSON_REAL);
    has(object, "loops", JSON_INTEGER);
    has(object, "params", JSON_OBJECT);
    assert_int_equal(json_integer_value(json_object_get(object, "runs")), 2);
    double value = json_number_value(json_object_get(object, "value"));
    assert_true(json_number_value(json_object_get(object, "min")) <= value);
    assert_true(json_number_value(json_object_get(object, "max")) >= value);
    json_decref(object);
}

typedef struct expected {
    const char *bench, *parameters;
    const char *metrics[13], *units[13];
} expected;

#define RATES       "rate", "p50", "p99", "forces", "group"
#define RATE_UNITS  "commits/s", "us", "us", "a transaction", "records/force"
#define ABORTS      "wounded", "overload", "late", "refused"
#define ABORT_UNITS "per 1000", "per 1000", "per 1000", "per 1000"

static const expected all[] = {
    {"pingpong", "--messages 100", {"round_trip"}, {"ns"}},
    {"ring", "--actors 5 --messages 100", {"hop"}, {"ns"}},
    {"ring", "--actors 1 --messages 10", {"hop"}, {"ns"}},
    {"fan-in", "--senders 50 --messages 3000", {"rate"}, {"M/s"}},
    {"fan-in", "--senders 2 --messages 100 --work 100", {"rate"}, {"M/s"}},
    {"counting", "--messages 5000", {"rate"}, {"M/s"}},
    {"spawn", "--actors 1000", {"actor"}, {"ns"}},
    {"spawn", "--actors 1", {"actor"}, {"ns"}},
    {"memory", "--actors 1000", {"actor"}, {"bytes"}},
    {"fork-join", "--actors 7 --messages 3000", {"rate"}, {"M/s"}},
    {"fork-join", "--actors 2000 --messages 2", {"rate"}, {"M/s"}},
    {"fib", "--n 12", {"time"}, {"ms"}},
    {"ask", "--messages 100", {"round_trip"}, {"ns"}},
    {"timers", "--n 1000", {"set", "cancel", "fire"}, {"ns", "ns", "ns"}},
    {"remote-rtt", "--messages 20", {"p50", "p99"}, {"us", "us"}},
    {"remote-flood", "--messages 5000", {"rate"}, {"M/s"}},
    {"remote-flood", "--messages 300 --size 20000", {"rate"}, {"M/s"}},
    {"remote-asks", "--messages 2000 --outstanding 100", {"rate"}, {"round trips/s"}},
    {"remote-load",
     "--messages 2000 --outstanding 100",
     {"p50", "p99", "rate"},
     {"us", "us", "round trips/s"}},
    {"remote-bulk", "--messages 20", {"rate"}, {"MB/s"}},
    {"remote-mixed", "--messages 20", {"p50", "p99", "rate"}, {"us", "us", "MB/s"}},
    {"tx-force",
     "--outstanding 8 --n 20",
     {"disk", "rate", "p50", "p99"},
     {"forces/s", "records/s", "us", "us"}},
    {"tx-two", "--callers 8 --messages 100", {RATES, "disk", ABORTS}, {RATE_UNITS, "forces/s", ABORT_UNITS}},
    {"tx-one",
     "--callers 8 --messages 100 --actors 3",
     {RATES, "disk", ABORTS, "log", "share"},
     {RATE_UNITS, "forces/s", ABORT_UNITS, "records/s", "% of log"}},
    {"tx-read", "--callers 8 --messages 100", {RATES, "disk", ABORTS}, {RATE_UNITS, "forces/s", ABORT_UNITS}},
    {"tx-hot",
     "--load 3 --n 100",
     {"rate", "offered", "capacity", "share", "p50", "p99", ABORTS},
     {"commits/s", "begun/s", "commits/s", "% of capacity", "us", "us", ABORT_UNITS}},
    {"tx-clients",
     "--clients 12 --messages 10",
     {RATES, "agree", ABORTS, "connect"},
     {RATE_UNITS, "journals", ABORT_UNITS, "s"}},
};

static void run_all_with(const char *loops)
{
    static char out[65536];
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char words[256];
        snprintf(words, sizeof(words), "bench %s %s %s --runs 2 --json", all[i].bench, all[i].parameters,
                 loops);
        int status = run(words, out, sizeof(out));
        if (status != 0)
            fail_msg("troupe %s: status %d: %s", words, status, out);
        char *rest = out, *line;
        for (unsigned metric = 0; all[i].metrics[metric]; metric++) {
            line = strtok_r(rest, "\n", &rest);
            assert_non_null(line);
            is_result(line, all[i].bench, all[i].metrics[metric], all[i].units[metric]);
        }
        line = strtok_r(rest, "\n", &rest);
        if (line)
            fail_msg("troupe %s: a line too many: %s", words, line);
    }
}

static void every_benchmark_gives_its_json(void **state)
{
    (void)state;
    run_all_with("");
}

static void every_benchmark_runs_on_two_loops(void **state)
{
    (void)state;
    run_all_with("--loops 2");
}

static void a_key_is_for_both_processes(void **state)
{
    (void)state;
    static char out[65536];
    char directory[] = "/tmp/test_bench_XXXXXX", words[256];
    assert_non_null(mkdtemp(directory));
    snprintf(words, sizeof(words), "key new %s/key", directory);
    assert_int_equal(run(words, out, sizeof(out)), 0);
    snprintf(words, sizeof(words), "bench remote-rtt --messages 20 --runs 2 --json --key %s/key", directory);
    int status = run(words, out, sizeof(out));
    if (status != 0)
        fail_msg("troupe %s: status %d: %s", words, status, out);
    *strchr(out, '\n') = '\0';
    is_result(out, "remote-rtt", "p50", "us");
    snprintf(words, sizeof(words), "bench remote-rtt --messages 20 --runs 1 --key %s/none", directory);
    assert_int_equal(run(words, out, sizeof(out)), 1);
    assert_non_null(strstr(out, "/none"));
    snprintf(words, sizeof(words), "rm -r %s", directory);
    assert_int_equal(system(words), 0);
}

/* The value of a metric in lines of JSON. */
static double value_of(const char *lines, const char *metric)
{
    for (const char *line = lines; *line; line = strchr(line, '\n') + 1) {
        json_t *object = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
        const char *name = json_string_value(json_object_get(object, "metric"));
        double value = json_number_value(json_object_get(object, "value"));
        bool found = name && strcmp(name, metric) == 0;
        json_decref(object);
        if (found)
            return value;
    }
    fail_msg("no metric %s in %s", metric, lines);
    return 0;
}

static void what_is_forced_is_counted(void **state)
{
    (void)state;
    static char out[65536];
    assert_int_equal(run("bench tx-two --callers 1 --messages 50 --runs 1 --json", out, sizeof(out)), 0);
    double two = value_of(out, "forces"); /* PREPARE at one, COMMIT at the other; a few by time */
    assert_true(two >= 2 && two < 3);
    assert_int_equal(run("bench tx-one --callers 1 --messages 50 --runs 1 --json", out, sizeof(out)), 0);
    double one = value_of(out, "forces");
    assert_true(one >= 1 && one < 1.5);
    assert_int_equal(run("bench tx-read --callers 4 --messages 50 --runs 1 --json", out, sizeof(out)), 0);
    assert_true(value_of(out, "forces") == 0);
    assert_int_equal(run("bench tx-clients --clients 5 --messages 5 --runs 1 --json", out, sizeof(out)), 0);
    assert_true(value_of(out, "agree") == 5);
}

/* ---- what stays behind --------------------------------------------------------------------------------- */

static int entries_in(const char *directory)
{
    int count = 0;
    DIR *open = opendir(directory);
    assert_non_null(open);
    while (readdir(open))
        count++;
    closedir(open);
    return count - 2;
}

static bool comes_to(const char *directory, int entries)
{
    for (int i = 0; i < 1000 && entries_in(directory) != entries; i++)
        poll(NULL, 0, 10);
    return entries_in(directory) == entries;
}

/* Of the only entry. */
static void path_in(const char *directory, char *out, size_t room)
{
    const struct dirent *entry;
    DIR *open = opendir(directory);
    assert_non_null(open);
    while ((entry = readdir(open)))
        if (entry->d_name[0] != '.')
            snprintf(out, room, "%s/%s", directory, entry->d_name);
    closedir(open);
}

/* A benchmark that would take minutes, in a process group of its own. */
static pid_t run_long(const char *directory)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        setpgid(0, 0);
        setenv("TMPDIR", directory, 1);
        dup2(null, 1);
        dup2(null, 2);
        execl(getenv("TROUPE_BIN"), "troupe", "bench", "tx-two", "--messages", "1000000", (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void nothing_stays_of_one_that_was_ended(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGKILL};
    for (int i = 0; i < 2; i++) {
        char directory[] = "/var/tmp/test_bench_XXXXXX";
        assert_non_null(mkdtemp(directory));
        pid_t pid = run_long(directory);
        assert_true(comes_to(directory, 1));
        char folder[300];
        path_in(directory, folder, sizeof(folder));
        assert_true(comes_to(folder, 2));      /* the logs of both nodes */
        kill(i == 0 ? -pid : pid, signals[i]); /* Ctrl-C goes to all of the group */
        waitpid(pid, NULL, 0);
        bool gone = comes_to(directory, 0);
        kill(-pid, SIGKILL);
        assert_true(gone);
        assert_int_equal(rmdir(directory), 0);
    }
}

static void the_table_names_what_was_measured(void **state)
{
    (void)state;
    char out[4096];
    assert_int_equal(run("bench timers --n 100 --runs 1", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "median"));
    assert_non_null(strstr(out, "cancel"));
    assert_null(strchr(out, '\r'));
}

static void the_list_names_every_benchmark(void **state)
{
    (void)state;
    static char out[16384];
    assert_int_equal(run("bench --list", out, sizeof(out)), 0);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (!strstr(out, all[i].bench))
            fail_msg("%s isn't in the list", all[i].bench);
}

static bool json_holds(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static json_int_t json_count(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Runs a program beside `troupe` that prints one object. */
static json_t *run_beside(const char *words)
{
    static char out[65536];
    char command[512];
    snprintf(command, sizeof(command), "timeout 100 '%.*s'/%s 2>&1 </dev/null",
             (int)(strrchr(getenv("TROUPE_BIN"), '/') - getenv("TROUPE_BIN")), getenv("TROUPE_BIN"), words);
    FILE *output = popen(command, "r");
    assert_non_null(output);
    out[fread(out, 1, sizeof(out) - 1, output)] = '\0';
    int status = pclose(output);
    json_error_t error;
    json_t *object = json_loads(out, 0, &error);
    if (status != 0 || !object)
        fail_msg("%s: status %d: %s", words, status, out);
    return object;
}

static void what_a_flooded_actor_was_offered_is_accounted_for(void **state)
{
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* so slow that its loops never catch up: it measures, and its flood is by the clock */
#endif
    for (int loops = 1; loops <= 2; loops++) {
        json_t *got = run_beside(loops == 1 ? "bench-overload --seconds 2 --json"
                                            : "bench-overload --seconds 2 --json --loops 2");
        assert_true(json_holds(got, "sums_hold"));
        assert_int_equal(json_count(got, "offered"),
                         json_count(got, "accepted") + json_count(got, "refused"));
        assert_int_equal(json_count(got, "accepted"),
                         json_count(got, "handled") + json_count(got, "dropped"));
        assert_true(json_count(got, "handled") > 0);
        assert_true(json_count(got, "refused") > json_count(got, "handled"));
        assert_true(json_count(got, "stops") > 0);
        json_decref(got);
    }
}

static void the_programs_beside_asyncio_do_their_work(void **state)
{
    (void)state;
    char directory[] = "/tmp/test_bench_XXXXXX", words[128];
    assert_non_null(mkdtemp(directory));
    snprintf(words, sizeof(words), "asyncio-exchange %s 2", directory);
    json_t *exchanged = run_beside(words), *computed = run_beside("asyncio-compute 3 echo done");
    assert_int_equal(json_count(exchanged, "transactions"), 20);
    assert_int_equal(json_count(computed, "jobs"), 3);
    has(computed, "lag_p99_ms", JSON_REAL);
    has(computed, "memory_mb", JSON_REAL);
    json_decref(exchanged);
    json_decref(computed);
    snprintf(words, sizeof(words), "rm -r %s", directory);
    assert_int_equal(system(words), 0);
}

static void what_is_wrong_on_the_command_line_is_told(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"bench nosuch", "nosuch"},
        {"bench pingpong ring", "ring"},
        {"bench pingpong --messages 0", "--messages 0"},
        {"bench pingpong --messages -1", "-1"},
        {"bench pingpong --messages 1e6", "1e6"},
        {"bench pingpong --messages ''", "--messages"},
        {"bench pingpong --messages 99999999999999999999999", "--messages"},
        {"bench pingpong --messages", "--messages"},
        {"bench pingpong --senders 3", "--senders"},
        {"bench pingpong --nosuch 3", "--nosuch"},
        {"bench pingpong -x", "-x"},
        {"bench pingpong --loops 0", "--loops 0"},
        {"bench pingpong --loops 65", "--loops 65"},
        {"bench pingpong --runs 0", "--runs 0"},
        {"bench --messages 10", "--messages"},
        {"bench fib --n 99", "--n 99"},
        {"bench fib --key some", "--key"},
        {"bench --key some", "--key"},
        {"bench remote-rtt --key", "--key"},
        {"bench tx-one --key some", "--key"},
        {"bench tx-hot --load 0", "--load 0"},
        {"bench tx-clients --clients 1001", "--clients 1001"},
        {"nosuch", "nosuch"},
        {"--nosuch", "--nosuch"},
        {"version more", "more"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char out[4096];
        int status = run(wrong[i][0], out, sizeof(out));
        if (status != 2 || !strstr(out, wrong[i][1]))
            fail_msg("troupe %s: status %d: %s", wrong[i][0], status, out);
    }
}

static void without_arguments_it_tells_its_commands(void **state)
{
    (void)state;
    char out[4096];
    assert_int_equal(run("", out, sizeof(out)), 0);
    assert_non_null(strstr(out, "bench"));
    assert_int_equal(run("help", out, sizeof(out)), 0);
    assert_int_equal(run("version", out, sizeof(out)), 0);
    assert_non_null(strstr(out, TR_VERSION));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_benchmark_gives_its_json),
        cmocka_unit_test(every_benchmark_runs_on_two_loops),
        cmocka_unit_test(a_key_is_for_both_processes),
        cmocka_unit_test(what_is_forced_is_counted),
        cmocka_unit_test(nothing_stays_of_one_that_was_ended),
        cmocka_unit_test(the_table_names_what_was_measured),
        cmocka_unit_test(the_list_names_every_benchmark),
        cmocka_unit_test(what_a_flooded_actor_was_offered_is_accounted_for),
        cmocka_unit_test(the_programs_beside_asyncio_do_their_work),
        cmocka_unit_test(what_is_wrong_on_the_command_line_is_told),
        cmocka_unit_test(without_arguments_it_tells_its_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
