/* One node of a scenario as a real process: over nng, on real loops, with a real clock. The runner (runner.c) starts it.
 *
 *     scenario_node SCENARIO INDEX LISTEN KEY DATA JOIN...        KEY, DATA: a path, or ""
 *
 * On standard input: "check" has the scenario's check run; the end of the input stops the node, in order. On standard
 * output a line for each thing that the runner is to know; standard error is the node's log. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/scenarios/list.h"

TR_MESSAGE(scenario_check_now)

typedef struct whole {
    const tr_scenario *scenario;
    uint32_t index;
    uint32_t others; /* nodes that it joins */
    tr_node *node;
    tr_addr driver;
    pthread_t reader;
    bool reads;
} whole;

static void say(const char *what, const char *text)
{
    char line[600];
    int length = snprintf(line, sizeof(line), "%s %s\n", what, text);
    ssize_t ignored = write(1, line, (size_t)length < sizeof(line) ? (size_t)length : sizeof(line) - 1);
    (void)ignored;
}

/* ---- the scenario's two fibers --------------------------------------------------------------------------- */

static tr_err run_start(tr_actor *self, void *arg)
{
    const whole *w = arg;
    tr_err err = w->scenario->start(self, w->index);
    if (err != TR_OK)
        say("failed", tr_fmt(self, "the scenario's start on n%u: %s: %s", w->index, tr_err_word(err),
                             tr_last_error(self)->text));
    return err;
}
TR_ACTOR(scenario, .run = run_start, .stack_size = 256 * 1024);

static tr_err run_check(tr_actor *self, void *arg)
{
    const whole *w = arg;
    tr_err err = w->scenario->check ? w->scenario->check(self) : TR_OK;
    if (err == TR_OK)
        say("held", "");
    else
        say("failed", tr_fmt(self, "the scenario's check: %s", tr_last_error(self)->text));
    return err;
}
TR_ACTOR(check, .run = run_check, .stack_size = 256 * 1024);

/* ---- the node -------------------------------------------------------------------------------------------- */

/* Of a thread of its own: what the runner says. */
static void *read_orders(void *arg)
{
    const whole *w = arg;
    char line[64];
    while (fgets(line, sizeof(line), stdin))
        if (strcmp(line, "check\n") == 0)
            tr_post(w->node, w->driver, scenario_check_now);
    tr_node_stop(w->node);
    return NULL;
}

/* True when it has met all others for the first time. */
static bool met_all(whole *w, const tr_msg *msg)
{
    const tr_node_event *event = tr_match(msg, tr_node_event);
    return event && event->up && w->others > 0 && --w->others == 0;
}

static tr_err drive(tr_actor *self, void *arg)
{
    whole *w = arg;
    w->driver = tr_self(self);
    if (w->scenario->start && tr_addr_is_none(tr_spawn(self, &scenario, w)))
        return tr_last_error(self)->code;
    w->reads = pthread_create(&w->reader, NULL, read_orders, w) == 0;
    if (!w->reads)
        return tr_fail(self, TR_ENOMEM, "no thread for the runner's orders");
    TR_TRY(tr_watch_nodes(self));
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        if (met_all(w, msg))
            say("up", "");
        if (tr_match(msg, scenario_check_now) && tr_addr_is_none(tr_spawn(self, &check, w)))
            return tr_last_error(self)->code;
    }
    return TR_OK;
}

static void log_line(void *context, tr_log_level level, const char *line)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)context;
    fprintf(stderr, "%lld.%03ld %s\n", (long long)now.tv_sec, now.tv_nsec / 1000000, line);
    if (level == TR_LOG_ERROR)
        say("failed", line);
}

static void check_sums(const tr_node *node)
{
    tr_sums s;
    uint64_t in, out;
    tr_node_sums(node, &s);
    in = s.accepted + s.arrived + s.received;
    out = s.handled + s.queued + s.passed + s.sent;
    for (int i = 0; i < TR_DROP_COUNT; i++)
        out += s.dropped[i];
    if (in != out)
        say("failed", "the node's sums don't add up when it has stopped");
}

int main(int argc, char **argv)
{
    tr_error error = {.code = TR_OK};
    whole w = {.scenario = argc > 5 ? scenario_named(argv[1]) : NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!w.scenario) {
        fprintf(stderr, "usage: scenario_node SCENARIO INDEX LISTEN KEY DATA JOIN...\n");
        return 2;
    }
    char name[8];
    w.index = (uint32_t)atoi(argv[2]);
    w.others = (uint32_t)argc - 6;
    snprintf(name, sizeof(name), "n%u", w.index);
    tr_node_opts opts = {.name = name,
                         .cluster = "scenario",
                         .loops = w.scenario->loops ? w.scenario->loops : 1 + w.index % 2,
                         .listen = argv[3],
                         .key = argv[4][0] ? argv[4] : NULL,
                         .data = argv[5][0] ? argv[5] : NULL,
                         .join = (const char *const *)argv + 6,
                         .log = log_line,
                         .log_level = TR_LOG_INFO,
                         .start = drive,
                         .arg = &w};
    w.node = tr_node_create(&opts, &error);
    tr_err err = w.node ? tr_node_run(w.node, &error) : error.code;
    if (err != TR_OK)
        say("failed", error.text);
    if (w.reads)
        pthread_join(w.reader, NULL);
    if (w.node)
        check_sums(w.node);
    tr_node_destroy(w.node);
    return err == TR_OK ? 0 : 1;
}
