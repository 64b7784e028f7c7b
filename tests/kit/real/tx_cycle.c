/* A cycle from its begin to its verdict: see tx_cycle.h.
 *
 *     tx_cycle SEED [--plan] [--keep DIR]
 *
 * Prints one line, a JSON object. Exit status 0: all held; 1: something didn't, and its nodes' logs, histories and data
 * are in DIR/SEED; 130: interrupted, or the machine stood still for seconds, and nothing printed. --plan: only say what
 * the seed says. */
#include "tests/kit/real/tx_cycle.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define STEP_MS   10
#define LONGER_MS 1000 /* that the clients go on after the healing */
#define DOUBT_MS  10000
#define DONE_MS   30000
#define ANSWER_S  10 /* for a command */
#define OUT_BYTES 65536

volatile sig_atomic_t tx_interrupted;
bool tx_stood_still;

static void on_signal(int number)
{
    (void)number;
    tx_interrupted = 1;
}

/* ---- what must hold -------------------------------------------------------------------------------------- */

typedef enum doubts { NOTHING_IN_DOUBT, SOMETHING_IN_DOUBT, NO_ANSWER } doubts;

/* Whether something is prepared and waits for a decision, on any node. */
static doubts look_for_doubts(const tx_cycle *c, char *out)
{
    char program[320];
    snprintf(program, sizeof(program), "%s/troupe", c->bin);
    char *argv[] = {program, "tx", "list", "--json", NULL};
    int status = tx_run(argv, ANSWER_S, out, OUT_BYTES);
    if (strstr(out, "\"in_doubt\":[{"))
        return SOMETHING_IN_DOUBT;
    return status == 0 && strstr(out, "\"in_doubt\":[]") ? NOTHING_IN_DOUBT : NO_ANSWER;
}

/* On a machine that has much else to do it may take long to hear that all is well. */
static void wait_for_decisions(tx_cycle *c, char *out)
{
    tx_nodes_listen(c, LONGER_MS);
    while (!c->failed) {
        uint64_t asked_ms = real_now_ms();
        doubts seen = look_for_doubts(c, out);
        if (seen == NOTHING_IN_DOUBT)
            break;
        if (seen == SOMETHING_IN_DOUBT && asked_ms > c->healed_ms + DOUBT_MS)
            tx_fail(c, "something is in doubt %d s after all was healed: %.300s", DOUBT_MS / 1000, out);
        if (seen == NO_ANSWER && asked_ms > c->healed_ms + DONE_MS)
            tx_fail(c, "`troupe tx list` doesn't hear from all nodes: %.300s", out);
        tx_nodes_listen(c, 100);
    }
    c->doubt_ms = real_now_ms() - c->healed_ms;
}

static void wait_for_clients(tx_cycle *c)
{
    uint64_t least = real_now_ms() + DONE_MS / 2, until = c->healed_ms + DONE_MS;
    until = until > least ? until : least; /* who has long waited for answers is patient */
    for (uint32_t i = 0; i < c->plan.nodes; i++)
        while (!c->failed && !c->nodes[i].done) {
            if (real_now_ms() > until)
                tx_fail(c, "the clients of n%u haven't ended %d s after all was healed", i, DONE_MS / 1000);
            tx_nodes_listen(c, STEP_MS);
        }
}

static void ask_judge(tx_cycle *c, char *out)
{
    int status = c->failed ? 0 : tx_judge(c, out, OUT_BYTES);
    if (status != 0)
        tx_fail(c, "the judge ends with %d: %.400s", status, out);
    const char *accounts = strstr(out, "none is missing\n");
    if (accounts)
        sscanf(accounts, "none is missing\n%u receipts", &c->receipts);
}

/* A program that knows all of it, if this one here does. */
static void ask_checker(tx_cycle *c, char *out)
{
    char program[320], pattern[96];
    glob_t files;
    snprintf(program, sizeof(program), "%s/troupe", c->bin);
    char *help[] = {program, "tx", "--help", NULL};
    if (c->failed || tx_run(help, ANSWER_S, out, OUT_BYTES) != 0 || !strstr(out, "tx check"))
        return;
    snprintf(pattern, sizeof(pattern), "%s/*.jsonl", c->history);
    files.gl_offs = 3;
    if (glob(pattern, GLOB_DOOFFS, NULL, &files) != 0) {
        tx_fail(c, "no history in %s", c->history);
        return;
    }
    files.gl_pathv[0] = program;
    files.gl_pathv[1] = "tx";
    files.gl_pathv[2] = "check";
    int status = tx_run(files.gl_pathv, 60, out, OUT_BYTES);
    globfree(&files);
    if (status != 0)
        tx_fail(c, "`troupe tx check` ends with %d: %.400s", status, out);
    c->checked = status == 0;
}

/* ---- a cycle --------------------------------------------------------------------------------------------- */

static void load(tx_cycle *c)
{
    c->began_ms = real_now_ms();
    for (uint32_t i = 0; i < c->plan.count; i++)
        if (c->plan.steps[i].what == TX_POINT && c->plan.steps[i].at_ms == 0) {
            c->nodes[c->plan.steps[i].node].next = &c->plan.steps[i];
            c->begun[i] = true;
        }
    for (uint32_t i = 0; i < c->plan.nodes; i++)
        tx_node_start(c, i);
    while (!c->failed && real_now_ms() < c->began_ms + c->plan.load_ms) {
        tx_faults_step(c);
        tx_nodes_listen(c, STEP_MS);
    }
}

static void cycle(tx_cycle *c)
{
    static char out[OUT_BYTES];
    load(c);
    if (!c->failed)
        tx_faults_heal(c);
    wait_for_decisions(c, out);
    wait_for_clients(c);
    ask_judge(c, out);
    if (!c->failed)
        tx_logs_check(c);
    if (!c->failed)
        tx_history_check(c);
    ask_checker(c, out);
}

/* ---- the report ------------------------------------------------------------------------------------------ */

static json_t *faults_of(const tx_cycle *c)
{
    json_t *faults = json_object(), *fired = json_array();
    for (uint32_t i = 0; i < c->plan.count; i++) {
        const tx_step *step = &c->plan.steps[i];
        const char *word = tx_fault_words[step->what];
        if (step->what == TX_POINT && !c->fired[i])
            continue;
        if (step->what == TX_POINT)
            json_array_append_new(fired, json_stringn(step->point, strcspn(step->point, ":")));
        json_object_set_new(faults, word,
                            json_integer(json_integer_value(json_object_get(faults, word)) + 1));
    }
    json_object_set_new(faults, "points", fired);
    return faults;
}

static void report(const tx_cycle *c, uint64_t ms)
{
    json_t *line = json_pack(
        "{s:I,s:b,s:s,s:i,s:I,s:o,s:i,s:i,s:i,s:i,s:i,s:i,s:I,s:b,s:b}", "seed", (json_int_t)c->plan.seed,
        "ok", !c->failed, "workload", c->plan.workload, "nodes", (int)c->plan.nodes, "ms", (json_int_t)ms,
        "faults", faults_of(c), "committed", (int)c->committed, "aborted", (int)c->aborted, "log_full",
        (int)c->log_full, "unknown", (int)c->unknown, "resolved", (int)c->asked, "receipts", (int)c->receipts,
        "doubt_ms", (json_int_t)c->doubt_ms, "netns", (int)c->lan.split, "checked", (int)c->checked);
    if (c->failed)
        json_object_set_new(line, "why", json_string(c->what));
    char *text = json_dumps(line, JSON_COMPACT);
    if (text)
        dprintf(STDOUT_FILENO, "%s\n", text);
    free(text);
    json_decref(line);
}

static void tell_failure(const tx_cycle *c)
{
    fprintf(stderr, "\n%s\n", c->what);
    tx_plan_print(&c->plan, stderr);
    tx_logs_show(c);
    fprintf(stderr, "its directory: %s/%" PRIu64 "; again: %s/tx_cycle %" PRIu64 "\n",
            c->keep ? c->keep : "(not kept)", c->plan.seed, c->bin, c->plan.seed);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t both;
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    sigprocmask(SIG_BLOCK, &both, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
}

static bool options(tx_cycle *c, char **argv, uint64_t *seed, bool *only_plan)
{
    static char bin[256];
    ssize_t length = readlink("/proc/self/exe", bin, sizeof(bin) - 1);
    char *end, *slash = length > 0 ? strrchr(bin, '/') : NULL;
    if (!slash || !argv[1])
        return false;
    *slash = '\0';
    c->bin = bin;
    *seed = strtoull(argv[1], &end, 10);
    for (char **at = argv + 2; *at; at++) {
        if (strcmp(*at, "--plan") == 0)
            *only_plan = true;
        else if (strcmp(*at, "--keep") == 0 && at[1])
            c->keep = *++at;
        else
            return false;
    }
    return *argv[1] && !*end;
}

int main(int argc, char **argv)
{
    static tx_cycle c;
    uint64_t seed = 0, began = real_now_ms();
    bool only_plan = false;
    tr_error error;
    (void)argc;
    if (!options(&c, argv, &seed, &only_plan)) {
        fprintf(stderr, "usage: tx_cycle SEED [--plan] [--keep DIR]\n");
        return 2;
    }
    if (only_plan) {
        tx_plan_make(&c.plan, seed, geteuid() == 0);
        tx_plan_print(&c.plan, stdout);
        return 0;
    }
    catch_signals();
    bool made = real_lan_open(&c.lan, TX_NODES_MAX, &error) == TR_OK;
    tx_plan_make(&c.plan, seed, c.lan.split);
    if (!made)
        tx_fail(&c, "%s", error.text);
    if (!c.failed && tx_home_make(&c))
        cycle(&c);
    bool counts = !tx_interrupted && !tx_stood_still;
    if (c.failed && counts)
        tell_failure(&c);
    if (!counts)
        c.keep = NULL;
    tx_home_remove(&c);
    if (!counts)
        return 130;
    report(&c, real_now_ms() - began);
    return c.failed ? 1 : 0;
}
