/* The files of tests/scenarios, each in both worlds: in the simulator, under several seeds, and with real processes over
 * nng, which are killed, paused, cut off from each other and healed. The same scenario's check decides. What real
 * processes can't have done to them here is skipped, with the reason. The real runs go on at the same time. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/testkit.h>

#include "tests/kit/real/real.h"
#include "tests/scenarios/list.h"

#define FILES_MAX 32
#define SEEDS     5

/* ---- fixture: the files, and their real runs --------------------------------------------------------------- */

typedef struct file {
    char name[64], test_names[2][96];
    char *text;
    sim_script script;
    const tr_scenario *scenario;
    real_run run;
} file;

static char program[600]; /* scenario_node */
static file files[FILES_MAX];
static size_t file_count;

static char *path_of(const char *environment, const char *otherwise, const char *rest)
{
    static char path[512];
    const char *begin = getenv(environment);
    snprintf(path, sizeof(path), "%s%s", begin ? begin : otherwise, rest);
    return path;
}

static char *read_text(const char *path)
{
    FILE *from = fopen(path, "re");
    char *text = calloc(1, SIM_SCRIPT_BYTES_MAX + 2);
    if (from && text)
        text[fread(text, 1, SIM_SCRIPT_BYTES_MAX + 1, from)] = 0;
    if (from)
        fclose(from);
    return text;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const file *)a)->name, ((const file *)b)->name);
}

static void find_files(void)
{
    char folder[512], path[800];
    snprintf(folder, sizeof(folder), "%s", path_of("TROUPE_SOURCE", ".", "/tests/scenarios"));
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory)) && file_count < FILES_MAX;) {
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || strcmp(dot, ".scenario") != 0)
            continue;
        file *f = &files[file_count++];
        snprintf(f->name, sizeof(f->name), "%.*s", (int)(dot - entry->d_name), entry->d_name);
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        f->text = read_text(path);
    }
    if (directory)
        closedir(directory);
    qsort(files, file_count, sizeof(files[0]), by_name);
}

static void read_file(file *f)
{
    tr_error error = {.code = TR_OK};
    snprintf(f->test_names[0], sizeof(f->test_names[0]), "%s_holds_in_the_simulator", f->name);
    snprintf(f->test_names[1], sizeof(f->test_names[1]), "%s_holds_with_real_processes", f->name);
    tr_err err = sim_script_parse(f->text, 0, &f->script, &error);
    f->scenario = err == TR_OK ? scenario_named(f->script.scenario) : NULL;
    if (!f->scenario)
        fprintf(stderr, "%s.scenario: %s\n", f->name, err == TR_OK ? "no such scenario" : error.text);
}

/* ---- tests ------------------------------------------------------------------------------------------------- */

static void run_simulated(const file *f, uint64_t seed, tr_sim_result *result)
{
    tr_error error = {.code = TR_OK};
    tr_sim_opts opts = {.seed = seed,
                        .scenario = f->scenario,
                        .faults = 1u << TR_SIM_LATENCY | 1u << TR_SIM_PIECES,
                        .timeline = getenv("TROUPE_TIMELINE") ? stderr : NULL,
                        .logs = true};
    tr_sim *sim = tr_sim_create(&opts, &error);
    if (!sim || tr_sim_script(sim, f->text, &error) != TR_OK)
        fail_msg("%s.scenario: %s", f->name, error.text);
    tr_sim_run(sim);
    tr_sim_result_get(sim, result);
    tr_sim_destroy(sim);
}

static void simulate(const file *f, uint64_t seed, tr_sim_result *result)
{
    run_simulated(f, seed, result);
    if (result->failed)
        fail_msg("%s.scenario, seed %llu, at %.3f s: %s", f->name, (unsigned long long)seed,
                 (double)result->failed_at / 1e9, result->what);
}

static void holds_in_the_simulator(void **state)
{
    const file *f = *state;
    tr_sim_result first, again;
    assert_non_null(f->scenario);
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        simulate(f, seed, &first);
    simulate(f, SEEDS, &again);
    assert_true(first.hash == again.hash);
    assert_true(first.handled > 100);
}

static void holds_with_real_processes(void **state)
{
    file *f = *state;
    real_result result;
    assert_non_null(f->scenario);
    real_end(&f->run, &result);
    if (result.outcome == REAL_SKIPPED) {
        print_message("skipped: %s\n", result.text);
        skip();
    }
    if (result.outcome == REAL_FAILED)
        fail_msg("%s.scenario: %s", f->name, result.text);
    if (result.text[0])
        print_message("%s\n", result.text);
}

/* ---- the suite itself: a scenario that doesn't hold, and one that is killed --------------------------------- */

/* Who is killed is missed, and this scenario says that nobody is. */
static file wrong = {.name = "wrong",
                     .text = (char *)"scenario calm\nnodes 3\nrun 3s\nat 2s kill n1\nat 2500ms start n1\n"};

static void what_doesnt_hold_fails_in_both_worlds(void **state)
{
    static const char what[] = "n0 heard 1 times that n1's sink is gone, and met 2 of its lives";
    tr_sim_result simulated;
    real_result real;
    (void)state;
    run_simulated(&wrong, 1, &simulated);
    assert_true(simulated.failed);
    assert_non_null(strstr(simulated.what, what));
    real_end(&wrong.run, &real);
    assert_int_equal(REAL_FAILED, real.outcome);
    assert_non_null(strstr(real.text, what));
}

static void home_of(pid_t runner, char out[64])
{
    snprintf(out, 64, "/tmp/troupe-scenario-%ld", (long)runner);
}

/* Processes whose command line has that directory: the nodes of its runner. */
static int nodes_in(const char *home)
{
    int count = 0;
    DIR *all = opendir("/proc");
    for (struct dirent *entry; all && (entry = readdir(all));) {
        char path[300], line[600] = "";
        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        FILE *from = atol(entry->d_name) > 0 ? fopen(path, "re") : NULL;
        size_t size = from ? fread(line, 1, sizeof(line) - 1, from) : 0;
        if (from)
            fclose(from);
        count += memmem(line, size, home, strlen(home)) != NULL;
    }
    if (all)
        closedir(all);
    return count;
}

/* Until it is so, half a minute at most. */
static bool becomes(bool (*is_so)(const char *home), const char *home)
{
    for (int i = 0; i < 600 && !is_so(home); i++)
        poll(NULL, 0, 50);
    return is_so(home);
}

static bool runs(const char *home)
{
    return nodes_in(home) == 3;
}

static bool is_gone(const char *home)
{
    return nodes_in(home) == 0 && access(home, F_OK) != 0;
}

static bool has_no_nodes(const char *home)
{
    return nodes_in(home) == 0;
}

/* A process like this one, which begins a run of the bank and waits; its runner's id. */
static pid_t begin_elsewhere(pid_t *runner)
{
    int pipes[2];
    static sim_script script;
    tr_error error;
    assert_int_equal(TR_OK, sim_script_parse("scenario bank\nnodes 3\nrun 60s\n", 0, &script, &error));
    assert_int_equal(0, pipe2(pipes, O_CLOEXEC));
    pid_t pid = fork();
    if (pid == 0) {
        real_run run;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        real_begin(&run, program, scenario_named("bank"), &script, REAL_NO_LOGS);
        ssize_t ignored = write(pipes[1], &run.pid, sizeof(run.pid));
        (void)ignored;
        for (;;)
            pause();
    }
    close(pipes[1]);
    assert_int_equal(sizeof(*runner), read(pipes[0], runner, sizeof(*runner)));
    close(pipes[0]);
    return pid;
}

static void a_test_that_is_killed_leaves_no_process_and_no_file(void **state)
{
    char home[64];
    pid_t runner, test = begin_elsewhere(&runner);
    (void)state;
    home_of(runner, home);
    assert_true(becomes(runs, home));
    kill(test, SIGKILL);
    waitpid(test, NULL, 0);
    assert_true(becomes(is_gone, home));
}

static void what_a_killed_runner_leaves_is_removed_by_the_next(void **state)
{
    char home[64];
    pid_t runner, test = begin_elsewhere(&runner);
    (void)state;
    home_of(runner, home);
    assert_true(becomes(runs, home));
    kill(runner, SIGKILL);
    kill(test, SIGKILL);
    waitpid(test, NULL, 0);
    waitpid(runner, NULL, 0); /* ours by now */
    assert_true(
        becomes(has_no_nodes, home)); /* its files are there, unless another test's runner was quick */
    test = begin_elsewhere(&runner);
    assert_true(becomes(is_gone, home));
    kill(test, SIGKILL);
    waitpid(test, NULL, 0);
    home_of(runner, home);
    assert_true(becomes(is_gone, home));
}

static struct CMUnitTest tests[2 * FILES_MAX + 3];

static size_t add_suite_tests(size_t count)
{
    read_file(&wrong);
    real_begin(&wrong.run, program, wrong.scenario, &wrong.script, REAL_NO_LOGS);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(what_doesnt_hold_fails_in_both_worlds);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(a_test_that_is_killed_leaves_no_process_and_no_file);
    tests[count++] = (struct CMUnitTest)cmocka_unit_test(what_a_killed_runner_leaves_is_removed_by_the_next);
    return count;
}

/* With the name of a file, only that one. */
int main(int argc, char **argv)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    snprintf(program, sizeof(program), "%s", path_of("TROUPE_SCENARIO_NODE", "bin/scenario_node", ""));
    find_files();
    if (argc > 1) {
        size_t kept = 0;
        for (size_t i = 0; i < file_count; i++)
            if (strcmp(files[i].name, argv[1]) == 0)
                files[kept++] = files[i];
        file_count = kept;
    }
    for (size_t i = 0; i < file_count; i++) {
        file *f = &files[i];
        read_file(f);
        if (f->scenario)
            real_begin(&f->run, program, f->scenario, &f->script,
                       getenv("TROUPE_TIMELINE") ? REAL_LOGS : REAL_LOGS_IF_FAILED);
        tests[i] = (struct CMUnitTest){f->test_names[0], holds_in_the_simulator, NULL, NULL, f};
        tests[file_count + i] =
            (struct CMUnitTest){f->test_names[1], holds_with_real_processes, NULL, NULL, f};
    }
    size_t count = argc > 1 ? 2 * file_count : add_suite_tests(2 * file_count);
    int failed = _cmocka_run_group_tests("scenarios", tests, count, NULL, NULL);
    for (size_t i = 0; i < file_count; i++)
        free(files[i].text);
    return failed;
}
