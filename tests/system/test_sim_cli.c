/* `troupe sim` as its users meet it: what a campaign prints, what it makes of scenarios that fail, crash, hang, or aren't
 * deterministic, that the command it prints fails again, and the installed test kit. Needs a compiler and cmake. */
#include "tests/system/cli_kit.h"

#include <jansson.h>

/* ---- fixture: a plugin in several editions ------------------------------------------------------------- */

/* Three nodes; each start of one counts, in a variable that all nodes of a run share. */
static const char source[] =
    "#define TR_PLUGIN\n"
    "#include <troupe/scenario.h>\n"
    "#include <troupe/troupe.h>\n"
    "#include <stdlib.h>\n"
    "#include <time.h>\n"
    "TR_MESSAGE(ping, (u32, n))\n"
    "static void receive(tr_actor *self, void *state, const tr_msg *m)\n"
    "{ (void)state; const ping *p = tr_match(m, ping); if (p) tr_reply(self, m, ping, .n = p->n + 1); }\n"
    "TR_ACTOR(plain, .receive = receive);\n"
    "static int lives[16];\n"
    "static struct timespec loaded;\n"
    "__attribute__((constructor)) static void load(void) { clock_gettime(CLOCK_MONOTONIC, &loaded); }\n"
    "static tr_err start(tr_actor *self, uint32_t index)\n"
    "{\n"
    "    struct timespec t = {0};\n"
    "    volatile int zero = 0;\n"
    "    lives[index]++;\n"
    "    tr_send(self, tr_spawn(self, &plain, NULL), ping, .n = 4711);\n"
    "    EDITION\n"
    "    return zero ? TR_EAPP : tr_sleep(self, TR_MILLIS(10) + t.tv_nsec);\n"
    "}\n"
    "#ifndef SIZE\n"
    "#define SIZE sizeof(tr_scenario)\n"
    "#endif\n"
    "#ifndef NONE\n"
    "TR_SCENARIO(.name = \"lives\", .nodes = 3, .run_ns = TR_SECONDS(10), .start = start, .size = SIZE);\n"
    "#endif\n"
    "TR_PLUGIN_EXPORT(\"lives\", \"1\", &plain);\n";

/* NAME.so; `edition` is what start does. */
static void build(const char *name, const char *flags, const char *edition)
{
    char command[1024];
    snprintf(command, sizeof(command),
             "cd %s && umask 022 && cc -std=gnu17 -w %s '-DEDITION=%s' -shared -fPIC -fvisibility=hidden "
             "-I'%s/include' -o %s.so lives.c",
             cli_directory, flags, edition, getenv("TROUPE_SOURCE"), name);
    assert_int_equal(0, system(command));
}

static int make_plugins(void **state)
{
    (void)state;
    char path[128];
    snprintf(cli_directory, sizeof(cli_directory), "/tmp/troupe-sim-XXXXXX");
    if (!mkdtemp(cli_directory))
        return -1;
    snprintf(path, sizeof(path), "%s/lives.c", cli_directory);
    FILE *file = fopen(path, "w");
    if (!file)
        return -1;
    fputs(source, file);
    fclose(file);
    build("good", "", ";");
    build("dies", "", "tr_always(self, lives[index] < 2, \"nobody lives twice\");");
    build("crashes", "", "if (lives[index] == 3) abort();");
    build("hangs", "", "while (lives[index] == 3);");
    build("clock", "", "clock_gettime(CLOCK_MONOTONIC, &t);");
    build("loaded", "", "t = loaded;"); /* as by an address: it differs only between processes */
    build("tells", "",
          "clock_gettime(CLOCK_MONOTONIC, &t);"
          "tr_send(self, tr_spawn(self, &plain, NULL), ping, .n = (uint32_t)t.tv_nsec); t.tv_nsec = 0;");
    build("wordless", "", "if (index == 2) return TR_ENOTFOUND;");
    build("never", "", "tr_sometimes(self, lives[index] > 1000, \"somebody lives for ever\");");
    build("rarely", "", "tr_sometimes(self, lives[index] > 1, \"somebody lives again\");");
    build("none", "-DNONE", ";");
    build("other", "-DSIZE=8", ";");
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", cli_directory);
    return system(command);
}

/* ---- what it printed ----------------------------------------------------------------------------------- */

/* Line `number` of the output, an object; to be decref'd. */
static json_t *line_of(int number)
{
    json_error_t error;
    const char *text = content("out");
    for (int i = 0; i < number; i++) {
        text = strchr(text, '\n');
        assert_non_null(text);
        text++;
    }
    json_t *line = json_loads(text, JSON_DISABLE_EOF_CHECK, &error);
    if (!line)
        fail_msg("line %d: %s: %s", number, error.text, text);
    return line;
}

static const char *text_in(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    if (!text)
        fail_msg("no text \"%s\"", key);
    return text;
}

static uint32_t words(const char *list)
{
    uint32_t count = 1;
    for (; (list = strchr(list, ',')); list++)
        count++;
    return count;
}

/* Of the first failure that the last line tells; to be decref'd. */
static json_t *first_failure(void)
{
    int lines = 0;
    for (const char *at = content("out"); (at = strchr(at, '\n')); at++)
        lines++;
    json_t *summary = line_of(lines - 1);
    json_t *failure = json_incref(json_object_get(summary, "first_failure"));
    assert_true(json_is_true(json_object_get(summary, "summary")));
    json_decref(summary);
    assert_non_null(failure);
    return failure;
}

/* ---- seeds and hashes ---------------------------------------------------------------------------------- */

static void a_seed_is_a_line_of_json_with_its_hash(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T sim good.so --seeds 3..6 --jobs 2 --json"));
    for (int i = 0; i < 4; i++) {
        json_t *line = line_of(i);
        assert_int_equal(3 + i, json_integer_value(json_object_get(line, "seed")));
        assert_string_equal("lives", text_in(line, "scenario"));
        assert_true(json_is_true(json_object_get(line, "ok")));
        assert_int_equal(16, strlen(text_in(line, "hash")));
        assert_true(json_number_value(json_object_get(line, "virtual_s")) >= 25);
        json_decref(line);
    }
    json_t *summary = line_of(4);
    assert_int_equal(4, json_integer_value(json_object_get(summary, "seeds")));
    assert_true(json_is_true(json_object_get(summary, "ok")));
    json_decref(summary);
}

static void the_same_seeds_have_the_same_hashes_however_many_run_at_a_time(void **state)
{
    (void)state;
    const char *hashes = "grep -o '\"hash\":\"[0-9a-f]*\"' | tee hashes; test $(sort -u hashes | wc -l) = 9";
    assert_int_equal(0, sh("$T sim good.so --time 2 --seeds 1..8 --jobs 1 --json | %s", hashes));
    char first[4096];
    snprintf(first, sizeof(first), "%s", content("out"));
    assert_int_equal(0, sh("$T sim good.so --time 2 --seeds 1..8 --jobs 3 --json | %s", hashes));
    assert_string_equal(first, content("out"));
}

static void our_own_scenarios_and_the_classes_of_faults_are_listed(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T sim --list"));
    assert_contains(content("out"), "\n  chatter\n");
    assert_contains(content("out"), "half-open");
}

static void a_plugin_without_a_scenario_is_run_on_three_nodes(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T sim none.so --seed 1 --time 2 --timeline"));
    assert_contains(content("out"), " n2 ");
    assert_contains(content("out"), "seed 1 of lives held");
}

static void the_timeline_shows_each_message_as_json(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T sim good.so --seed 1 --time 2 --timeline --faults none"));
    assert_contains(content("out"), "n0    message");
    assert_contains(content("out"), "ping {\"n\":4711}");
    assert_null(strstr(content("out"), " turn "));
    assert_int_equal(
        0, sh("$T sim good.so --seed 1 --time 2 --timeline --faults none --turns | grep -c ' turn '"));
}

/* ---- what fails ---------------------------------------------------------------------------------------- */

static void a_failing_seed_prints_a_command_that_fails_again_with_the_same_text(void **state)
{
    (void)state;
    char replay[1024], what[512];
    assert_int_equal(1, sh("$T sim dies.so"));
    assert_contains(content("out"), "first failure: seed ");
    const char *command = strstr(content("out"), "  replay: "), *text = strstr(content("out"), "always \"");
    assert_true(command && text);
    snprintf(replay, sizeof(replay), "%.*s", (int)strcspn(command + 10, "\n"), command + 10);
    assert_contains(content("out"), "shrunk by");
    text = strstr(strstr(content("out"), "shrunk by"), "always \"");
    assert_non_null(text);
    snprintf(what, sizeof(what), ": %.*s\n", (int)strcspn(text, "\n"), text);
    assert_int_equal(1, sh("%s", replay));
    assert_contains(content("out"), what);
    assert_contains(content("out"), "FAILED");
}

static void what_fails_is_shrunk_to_the_class_that_it_takes(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T sim dies.so --json"));
    json_t *failure = first_failure();
    assert_int_equal(1, words(text_in(failure, "faults")));
    assert_string_not_equal("all", text_in(failure, "faults"));
    assert_true(json_number_value(json_object_get(failure, "time_s")) < 10);
    assert_contains(text_in(failure, "what"), "nobody lives twice");
    json_decref(failure);
    assert_int_equal(1, sh("$T sim dies.so --json --no-shrink"));
    failure = first_failure();
    assert_string_equal("all", text_in(failure, "faults"));
    json_decref(failure);
}

static void a_crash_is_a_seed_that_failed_and_others_go_on(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T sim crashes.so --seeds 1..12 --keep-going --no-shrink --json"));
    bool crashed = false, held = false;
    for (int i = 0; i < 12; i++) {
        json_t *line = line_of(i);
        if (json_is_true(json_object_get(line, "ok"))) {
            held = true;
        } else {
            crashed = true;
            assert_contains(text_in(line, "what"), "it crashed");
            assert_true(json_number_value(json_object_get(line, "at_s")) > 0);
        }
        json_decref(line);
    }
    assert_true(crashed && held);
}

static void it_stops_at_the_first_that_failed_unless_told_otherwise(void **state)
{
    (void)state;
    assert_int_equal(
        1, sh("$T sim dies.so --no-shrink --seeds 1..40 --json | grep -c '\"ok\":false'; "
              "$T sim dies.so --no-shrink --seeds 1..40 --keep-going --json | grep -c '\"ok\":false' >many;"
              "test $(cat many) -lt 4"));
    assert_string_equal("2\n", content("out")); /* the seed's, and the summary's */
}

static void a_run_that_does_not_end_is_ended(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T sim hangs.so --limit 2"));
    assert_contains(content("out"), "it didn't end in time on the wall clock (--limit)");
    assert_contains(content("out"), "  replay: ");
}

static void a_program_that_is_not_deterministic_is_told_so_and_where(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T sim good.so --twice --seeds 1..4"));
    assert_int_equal(1, sh("$T sim clock.so --twice --seeds 1..4"));
    assert_contains(content("out"), "not deterministic");
    assert_contains(content("out"), "their timelines part in line ");
    assert_int_equal(1, sh("$T sim loaded.so --twice --seeds 1..4 --faults none --json"));
    json_t *line = line_of(0), *failure = first_failure();
    assert_true(json_is_false(json_object_get(line, "deterministic")));
    assert_true(json_integer_value(json_object_get(json_object_get(failure, "parts"), "line")) > 0);
    json_decref(line);
    json_decref(failure);
}

static void messages_that_differ_only_in_what_they_say_are_not_deterministic(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T sim tells.so --twice --seeds 1..4 --faults none"));
    assert_contains(content("out"), "not deterministic");
    assert_contains(content("out"), "ping {\"n\":");
}

static void what_can_not_be_written_is_no_success(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T sim good.so --seeds 1..2 >/dev/full"));
    assert_contains(content("err"), "standard output");
    assert_int_equal(1, sh("$T sim good.so --seeds 1..2 --json >/dev/full"));
}

static void a_scenario_that_fails_without_a_text_is_told_by_its_code(void **state)
{
    (void)state;
    assert_int_equal(1, sh("$T sim wordless.so --seeds 1..1 --no-shrink"));
    assert_contains(content("out"), "the scenario's start on n2 failed: not-found\n");
}

static void what_sometimes_holds_and_never_did_fails_the_campaign(void **state)
{
    (void)state;
    assert_int_equal(0, sh("$T sim never.so --seeds 5 --time 1"));
    assert_int_equal(1, sh("$T sim never.so --seeds 5 --time 1 --sometimes"));
    assert_contains(content("out"), "somebody lives for ever  NEVER");
    assert_int_equal(1, sh("$T sim never.so --seeds 100 --time 1"));
    assert_int_equal(0, sh("$T sim rarely.so --seeds 100 --time 1 --sometimes"));
}

static void a_script_says_what_happens_and_nothing_else_does(void **state)
{
    (void)state;
    assert_int_equal(0, sh("printf 'run 5s\\nat 1s kill n1\\nat 2s start n1\\n' > kill.script"));
    assert_int_equal(0, sh("$T sim --scenario core-tree --script kill.script --seed 3 --timeline >all"));
    assert_int_equal(0, sh("grep -q 'script *line 2: kill' all && grep -q 'script *line 3: start' all"));
    assert_int_equal(1, sh("grep -q 'reset' all"));
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void what_is_wrong_with_options_is_said_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *options, *part;
    } cases[] = {
        {"--nonsense", "--nonsense"},
        {"--seeds", "a value is missing after \"--seeds\""},
        {"--seeds 9..3", "--seeds \"9..3\""},
        {"--seed x", "--seed \"x\""},
        {"--seed 3 --seeds 1..9", "--seed and --seeds"},
        {"--faults reset,resett", "--faults \"reset,resett\""},
        {"--time 0", "--time \"0\""},
        {"--jobs 0", "--jobs \"0\""},
        {"--limit never", "--limit \"never\""},
        {"--timeline", "--timeline is of one seed"},
        {"--logs", "--logs"},
        {"--scenario nowhere", "--scenario \"nowhere\""},
        {"--scenario chatter good.so", "brings its own"},
        {"good.so good.so", "more than one plugin"},
        {"nowhere.so", "nowhere.so: there is no such file"},
        {"other.so", "its scenario is of another Troupe"},
        {"--script nowhere.script --scenario chatter", "--script nowhere.script: No such file"},
        {"--script wrong.script --scenario chatter", "line 2"},
        {"--script wrong.script", "is for one scenario"},
    };
    assert_int_equal(0, sh("printf 'run 5s\\nat 1s kill n9\\n' > wrong.script"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (sh("$T sim %s", cases[i].options) != 2)
            fail_msg("%s isn't refused", cases[i].options);
        assert_contains(content("err"), cases[i].part);
    }
}

static void without_the_program_beside_it_troupe_sim_says_so(void **state)
{
    (void)state;
    assert_int_equal(1, sh("mkdir -p alone && cp $T alone/troupe && alone/troupe sim --list"));
    assert_contains(content("err"), "alone/troupe-sim can't be run");
}

/* ---- the installed test kit ---------------------------------------------------------------------------- */

static const char user_project[] = "cmake_minimum_required(VERSION 3.22)\n"
                                   "project(user C)\n"
                                   "find_package(Troupe REQUIRED)\n"
                                   "add_executable(user user.c)\n"
                                   "target_link_libraries(user PRIVATE Troupe::testkit ${ALSO})\n";

static const char user_test[] =
    "#include <stdio.h>\n"
    "#include <troupe/testkit.h>\n"
    "TR_MESSAGE(word, (u32, n))\n"
    "int main(void)\n"
    "{\n"
    "    tr_error error;\n"
    "    tr_sim_result result;\n"
    "    tr_sim_point point;\n"
    "    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 7, .faults = 1u << TR_SIM_LATENCY | 1u << "
    "TR_SIM_PIECES}, &error);\n"
    "    tr_probe *here = tr_probe_open(sim, 0), *there = tr_probe_open(sim, 1);\n"
    "    tr_sim_step(sim, TR_SECONDS(2));\n"
    "    tr_probe_send(here, tr_probe_address(there), word, .n = 42);\n"
    "    const word *w = tr_probe_expect(there, TR_SECONDS(5), word);\n"
    "    tr_sim_result_get(sim, &result);\n"
    "    uint64_t passed = 0;\n"
    "    for (uint32_t i = 0; tr_sim_point_at(sim, i, &point); i++)\n"
    "        passed += point.passed;\n"
    "    printf(\"%u %d %s %d\\n\", w ? w->n : 0, result.handled > 0, result.what, passed > 0);\n"
    "    tr_sim_destroy(sim);\n"
    "    return 0;\n"
    "}\n";

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", cli_directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void an_outside_project_tests_with_the_installed_kit(void **state)
{
    (void)state;
    char here[512];
    assert_non_null(getcwd(here, sizeof(here)));
    setenv("CMAKE_GENERATOR", "Ninja", 1);
    assert_int_equal(
        0, sh("cmake --install '%s' --prefix prefix && mkdir user && prefix/bin/troupe sim --list", here));
    write_file("user/CMakeLists.txt", user_project);
    write_file("user/user.c", user_test);
    if (sh("cd user && cmake -B build -DCMAKE_PREFIX_PATH=$PWD/../prefix && cmake --build build") != 0)
        fail_msg("%s %s", content("out"), content("err"));
    assert_int_equal(0, sh("user/build/user"));
    assert_string_equal("42 1  1\n", content("out"));
    assert_int_not_equal(
        0, sh("cd user && cmake -B both -DALSO=Troupe::troupe -DCMAKE_PREFIX_PATH=$PWD/../prefix"));
    assert_contains(content("err"), "TROUPE_CORE");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_is_a_line_of_json_with_its_hash),
        cmocka_unit_test(the_same_seeds_have_the_same_hashes_however_many_run_at_a_time),
        cmocka_unit_test(our_own_scenarios_and_the_classes_of_faults_are_listed),
        cmocka_unit_test(a_plugin_without_a_scenario_is_run_on_three_nodes),
        cmocka_unit_test(the_timeline_shows_each_message_as_json),
        cmocka_unit_test(a_failing_seed_prints_a_command_that_fails_again_with_the_same_text),
        cmocka_unit_test(what_fails_is_shrunk_to_the_class_that_it_takes),
        cmocka_unit_test(a_crash_is_a_seed_that_failed_and_others_go_on),
        cmocka_unit_test(it_stops_at_the_first_that_failed_unless_told_otherwise),
        cmocka_unit_test(a_run_that_does_not_end_is_ended),
        cmocka_unit_test(a_program_that_is_not_deterministic_is_told_so_and_where),
        cmocka_unit_test(messages_that_differ_only_in_what_they_say_are_not_deterministic),
        cmocka_unit_test(what_can_not_be_written_is_no_success),
        cmocka_unit_test(a_scenario_that_fails_without_a_text_is_told_by_its_code),
        cmocka_unit_test(what_sometimes_holds_and_never_did_fails_the_campaign),
        cmocka_unit_test(a_script_says_what_happens_and_nothing_else_does),
        cmocka_unit_test(what_is_wrong_with_options_is_said_by_name),
        cmocka_unit_test(without_the_program_beside_it_troupe_sim_says_so),
        cmocka_unit_test(an_outside_project_tests_with_the_installed_kit),
    };
    return cmocka_run_group_tests(tests, make_plugins, remove_directory);
}
