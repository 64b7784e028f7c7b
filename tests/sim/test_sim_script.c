/* Fault scripts: what is read, what is refused and how, and that the simulator does what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "actors/node.h"
#include "actors/remote/peer.h"
#include "base/random.h"
#include "tests/kit/sim/script_format.h"
#include "tests/kit/sim/sim.h"

/* ---- fixture ----------------------------------------------------------------------------------------------- */

static const tr_scenario quiet = {.size = sizeof(tr_scenario), .name = "quiet", .nodes = 3};
static const tr_scenario keeps = {.size = sizeof(tr_scenario), .name = "keeps", .nodes = 3, .data = true};

static sim_script parsed;

static void assert_refused(const char *text, const char *why)
{
    tr_error error = {.code = TR_OK};
    assert_int_equal(TR_EINVAL, sim_script_parse(text, 0, &parsed, &error));
    if (!strstr(error.text, why))
        fail_msg("\"%s\" should be in: %s", why, error.text);
}

static void assert_read(const char *text)
{
    tr_error error = {.code = TR_OK};
    if (sim_script_parse(text, 0, &parsed, &error) != TR_OK)
        fail_msg("%s", error.text);
}

static tr_sim *begin(const tr_scenario *scenario, const char *text)
{
    tr_error error = {.code = TR_OK};
    tr_sim *sim = tr_sim_create(&(tr_sim_opts){.seed = 1, .scenario = scenario}, &error);
    if (!sim || tr_sim_script(sim, text, &error) != TR_OK)
        fail_msg("%s", error.text);
    return sim;
}

/* ---- the format -------------------------------------------------------------------------------------------- */

static void a_script_is_read_line_by_line(void **state)
{
    (void)state;
    assert_read("# a comment\n\nscenario two-words\r\n nodes 4 # four\nrun 2min\n"
                "at 5s cut n0 -> n1 n3\nat 5s\tcut n0 n1 | n2\nat 8000ms heal\nat 9s pause n2 250us\nat 10s "
                "drift n1 -300");
    assert_string_equal("two-words", parsed.scenario);
    assert_int_equal(4, parsed.nodes);
    assert_true(parsed.run_ns == TR_SECONDS(120));
    assert_int_equal(5, parsed.count);
    const sim_step *s = parsed.steps;
    assert_true(s[0].verb == SIM_CUT && s[0].a == 1 && s[0].b == 0xa && !s[0].both && s[0].line == 6);
    assert_true(s[1].verb == SIM_CUT && s[1].a == 3 && s[1].b == 4 && s[1].both);
    assert_true(s[2].verb == SIM_HEAL && s[2].a == 0 && s[2].at_ns == TR_SECONDS(8));
    assert_true(s[3].verb == SIM_PAUSE && s[3].a == 4 && s[3].time_ns == TR_MICROS(250));
    assert_true(s[4].verb == SIM_DRIFT && s[4].ppm == -300);
}

static void what_cant_be_read_is_named_with_its_place_and_what_may_stand_there(void **state)
{
    (void)state;
    assert_refused("nodes 3\nat 1s kill n1\nat 2s frob n1",
                   "line 3, column 7: \"frob\": here stands what happens: cut heal");
    assert_refused("nodes 3\nat 1s kill n3", "line 2, column 12: \"n3\": the nodes are n0 to n2");
    assert_refused("at 1s kill", "column 11: the line ends: here stands a node");
    assert_refused("at 1s kill n1 n1", "column 15: \"n1\": this node is named twice");
    assert_refused("at 1 kill n1", "column 4: \"1\": here stands a time");
    assert_refused("at 1h kill n1", "here stands a time");
    assert_refused("at 61min kill n1", "at most 60min");
    assert_refused("at 99999999999999999999s kill n1", "here stands a time");
    assert_refused("at 1s cut n0 n1", "the line ends: here stands -> (one direction) or | (both)");
    assert_refused("at 1s cut n0 -> n1 n0", "a node stands on both sides");
    assert_refused("at 1s clog n0 | n1 1s", "\"|\": here stands ->");
    assert_refused("at 1s reset n0", "here stand two nodes");
    assert_refused("at 1s kill n1 now", "\"now\": nothing more stands here: kill n1");
    assert_refused("at 1s drift n1 much", "millionths");
    assert_refused("nodes 17", "at most 16");
    assert_refused("nodes 0", "at least one");
    assert_refused("nodes 3\nnodes 3", "line 2, column 1: \"nodes\": this was said above");
    assert_refused("at 1s heal\nrun 3s", "this stands above the first step");
    assert_refused("run 0s", "a run takes some time");
    assert_refused("scenario a/b", "letters, digits and -");
    assert_refused("kill n1", "a line begins with scenario, nodes, run or at");
    assert_refused("\x1b[31m n1", "\"?[31m\"");
}

static void a_step_that_cant_mean_what_it_says_is_refused(void **state)
{
    (void)state;
    assert_refused("at 2s heal\nat 1s heal", "line 2, column 4: \"1s\": the line above is later");
    assert_refused("run 3s\nat 3s heal", "the run is over by then");
    assert_refused("at 1s kill n1\nat 2s kill n1", "n1 was killed above");
    assert_refused("at 1s power n1\nat 2s pause n1 1s", "n1 was killed above");
    assert_refused("at 1s start n1", "n1 runs: it was not killed above");
    assert_read("at 1s kill n1\nat 2s start n1\nat 3s kill n1");
}

static void there_are_bounds(void **state)
{
    tr_error error;
    char *text = malloc(SIM_SCRIPT_BYTES_MAX + 2);
    size_t used = 0;
    (void)state;
    assert_non_null(text);
    for (int i = 0; i <= SIM_SCRIPT_STEPS_MAX; i++)
        used += (size_t)sprintf(text + used, "at 1s heal\n");
    assert_refused(text, "line 257, column 4: \"1s\": a script has at most 256 steps");
    memset(text, ' ', SIM_SCRIPT_BYTES_MAX + 1);
    text[SIM_SCRIPT_BYTES_MAX + 1] = 0;
    assert_refused(text, "at most 65536 bytes");
    text[SIM_SCRIPT_BYTES_MAX] = 0;
    assert_read(text);
    assert_int_equal(TR_EINVAL, sim_script_parse("nodes 4", 3, &parsed, &error));
    assert_non_null(strstr(error.text, "there are 3 nodes"));
    free(text);
}

/* Words of scripts in any order, and any bytes: refused or read, within bounds (the sanitizers look). */
static void any_text_is_read_or_refused(void **state)
{
    static const char *const words[] = {
        "at",   "1s",    "cut",   "n0",    "->",    "|",     "n1",   "n99",      "heal", "\n",
        "kill", "run",   "9us",   "nodes", "3",     "pause", "slow", "scenario", "#",    "-",
        "\n",   "start", "drift", "-1",    "reset", "clog",  "full", "at 1s",    "\t",   "\r\n"};
    tr__random random;
    tr_error error;
    (void)state;
    tr__random_init(&random, 1);
    for (int i = 0; i < 20000; i++) {
        char text[512];
        size_t used = 0, count = tr__random_below(&random, 40);
        for (size_t w = 0; w < count; w++) {
            if (tr__random_below(&random, 10) == 0)
                text[used++] = (char)tr__random_next(&random);
            else
                used += (size_t)snprintf(text + used, sizeof(text) - used, "%s ",
                                         words[tr__random_below(&random, TR_COUNT(words))]);
        }
        text[used] = 0;
        char *exact = strdup(text); /* so that a read beyond its end is seen */
        tr_err err = sim_script_parse(exact, 3, &parsed, &error);
        free(exact);
        assert_true(err == TR_OK || (err == TR_EINVAL && strncmp(error.text, "line ", 5) == 0));
        assert_true(parsed.count <= SIM_SCRIPT_STEPS_MAX);
    }
}

/* ---- the simulator does it ---------------------------------------------------------------------------------- */

static void steps_happen_when_they_are_due(void **state)
{
    (void)state;
    tr_sim *sim = begin(&quiet, "at 1s cut n0 n1 | n2\nat 2s heal n0 -> n2\nat 3s kill n1\nat 4s start n1\n"
                                "at 5s pause n2 1s\nat 7s drift n0 250\nat 7s slow n0 5ms 1s\nat 8s heal");
    tr_sim_step(sim, TR_MILLIS(999));
    assert_false(sim->cut[0][2] || sim->cut[2][0] || sim->cut[1][2] || sim->cut[2][1]);
    tr_sim_step(sim, TR_MILLIS(2));
    assert_true(sim->cut[0][2] && sim->cut[2][0] && sim->cut[1][2] && sim->cut[2][1]);
    assert_false(sim->cut[0][1] || sim->cut[1][0]);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_true(!sim->cut[0][2] && sim->cut[2][0]);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_null(tr_sim_node(sim, 1));
    tr_sim_step(sim, TR_SECONDS(1));
    assert_non_null(tr_sim_node(sim, 1));
    tr_sim_step(sim, TR_SECONDS(1));
    assert_true(sim->nodes[2].paused_until != 0);
    tr_sim_step(sim, TR_SECONDS(2));
    assert_true(sim->nodes[2].paused_until == 0);
    assert_true(sim->nodes[0].clock_ppm == 250 && sim->nodes[0].agents[0].slow_ns == TR_MILLIS(5));
    tr_sim_step(sim, TR_SECONDS(1));
    assert_false(sim->cut[2][0] || sim->cut[1][2] || sim->cut[2][1]);
    tr_sim_destroy(sim);
}

static uint64_t downs(tr_sim *sim, uint32_t node)
{
    tr__endpoint_counters counters;
    tr__endpoint_counters_get(sim->nodes[node].node->remote->endpoint, &counters);
    return counters.peers_down;
}

static void connections_break_as_it_says(void **state)
{
    (void)state;
    tr_sim *sim = begin(&keeps, "at 1s reset n0 n1\nat 3s half-open n1 n2\nat 20s full n0 1s");
    tr_sim_step(sim, TR_SECONDS(2));
    assert_true(downs(sim, 0) == 1 && downs(sim, 1) == 1 && downs(sim, 2) == 0);
    tr_sim_step(sim, TR_MILLIS(1200));
    assert_true(downs(sim, 1) == 2); /* n1 hears at once */
    tr_sim_step(sim, TR_SECONDS(17));
    assert_true(downs(sim, 2) == 1 && sim->nodes[0].disk.space > 0);
    tr_sim_step(sim, TR_SECONDS(1));
    assert_true(sim->nodes[0].disk.space == 0);
    tr_sim_destroy(sim);
}

static void a_clogged_direction_stands_still_for_so_long(void **state)
{
    (void)state;
    tr_sim *sim = begin(&quiet, "at 1s clog n0 -> n1 12s");
    tr_sim_step(sim, TR_MILLIS(4500));
    assert_true(downs(sim, 0) == 0 && downs(sim, 1) == 0);
    tr_sim_step(sim, TR_MILLIS(2500));
    assert_true(downs(sim, 1) == 1 && downs(sim, 2) == 0); /* it hears nothing */
    tr_sim_destroy(sim);
}

static void its_run_time_counts_and_all_is_healed_then(void **state)
{
    tr_sim_result result;
    (void)state;
    tr_sim *sim = begin(&quiet, "scenario quiet\nnodes 3\nrun 5s\nat 1s kill n1\nat 2s cut n0 -> n2");
    tr_sim_run(sim);
    tr_sim_result_get(sim, &result);
    assert_false(result.failed);
    assert_true(result.virtual_ns >= TR_SECONDS(20) && result.virtual_ns < TR_SECONDS(21));
    assert_false(sim->cut[0][2]);
    assert_int_equal(2, sim->nodes[1].life);
    tr_sim_destroy(sim);
}

static void one_that_doesnt_fit_the_simulation_is_refused(void **state)
{
    tr_error error;
    (void)state;
    tr_sim *sim = begin(&quiet, "");
    assert_int_equal(TR_EINVAL, tr_sim_script(sim, "scenario other", &error));
    assert_non_null(strstr(error.text, "for the scenario other, and this is quiet"));
    assert_int_equal(TR_EINVAL, tr_sim_script(sim, "nodes 4", &error));
    assert_int_equal(TR_EINVAL, tr_sim_script(sim, "at 1s kill n3", &error));
    assert_int_equal(TR_EINVAL, tr_sim_script(sim, "at 1s full n0 1s", &error));
    assert_non_null(strstr(error.text, "keep no data"));
    tr_sim_destroy(sim);
}

/* ---- what the docs show ------------------------------------------------------------------------------------- */

/* Each block of docs/scenarios.md that is a script is one, and runs here, whatever scenario it names. */
static void the_examples_of_the_docs_run(void **state)
{
    char path[512], line[256], text[4096];
    const char *source = getenv("TROUPE_SOURCE");
    size_t used = 0, examples = 0;
    bool inside = false;
    (void)state;
    snprintf(path, sizeof(path), "%s/docs/scenarios.md", source ? source : ".");
    FILE *docs = fopen(path, "re");
    assert_non_null(docs);
    while (fgets(line, sizeof(line), docs)) {
        if (inside && strncmp(line, "```", 3) == 0) {
            inside = false;
            tr_sim_result result;
            tr_scenario scenario = keeps;
            assert_read(text);
            scenario.name = parsed.scenario;
            tr_sim *sim = begin(&scenario, strdupa(text));
            tr_sim_run(sim);
            tr_sim_result_get(sim, &result);
            assert_string_equal("", result.what);
            tr_sim_destroy(sim);
            examples++;
        } else if (inside) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", line);
        } else if (strcmp(line, "```scenario\n") == 0) {
            inside = true;
            used = 0;
        }
    }
    fclose(docs);
    assert_int_equal(2, examples);
}

/* The table of commands has a line for each, which says whether real processes can. */
static void the_docs_have_every_command(void **state)
{
    char path[512], line[256];
    bool found[SIM_VERB_COUNT] = {false};
    const char *source = getenv("TROUPE_SOURCE");
    (void)state;
    snprintf(path, sizeof(path), "%s/docs/scenarios.md", source ? source : ".");
    FILE *docs = fopen(path, "re");
    assert_non_null(docs);
    while (fgets(line, sizeof(line), docs))
        for (int v = 0; v < SIM_VERB_COUNT; v++) {
            char begin_of_line[32];
            snprintf(begin_of_line, sizeof(begin_of_line), "| `%s", sim_verb_word((sim_verb)v));
            size_t length = strlen(begin_of_line);
            if (strncmp(line, begin_of_line, length) != 0 || (line[length] != ' ' && line[length] != '`') ||
                found[v])
                continue;
            found[v] = true;
            assert_true((strstr(line, "| no |") == NULL) == sim_verb_is_real((sim_verb)v));
        }
    fclose(docs);
    for (int v = 0; v < SIM_VERB_COUNT; v++)
        if (!found[v])
            fail_msg("docs/scenarios.md has no line for %s", sim_verb_word((sim_verb)v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_script_is_read_line_by_line),
        cmocka_unit_test(what_cant_be_read_is_named_with_its_place_and_what_may_stand_there),
        cmocka_unit_test(a_step_that_cant_mean_what_it_says_is_refused),
        cmocka_unit_test(there_are_bounds),
        cmocka_unit_test(any_text_is_read_or_refused),
        cmocka_unit_test(steps_happen_when_they_are_due),
        cmocka_unit_test(connections_break_as_it_says),
        cmocka_unit_test(a_clogged_direction_stands_still_for_so_long),
        cmocka_unit_test(its_run_time_counts_and_all_is_healed_then),
        cmocka_unit_test(one_that_doesnt_fit_the_simulation_is_refused),
        cmocka_unit_test(the_examples_of_the_docs_run),
        cmocka_unit_test(the_docs_have_every_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
