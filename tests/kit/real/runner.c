/* The runner: a process that does to the nodes of one scenario what its script says, in real time. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/kit/real/real.h"
#include "transport/key_os.h"

#define HOME_PREFIX "troupe-scenario-"
#define START_MS    20000 /* for all to have met */
#define SETTLE_MS   15000 /* as in the simulator (sim/run.c) */
#define CHECK_MS    40000
#define STOP_MS     20000

#define EACH_NODE(i, c, mask)                 \
    for (uint32_t i = 0; i < (c)->count; i++) \
        if ((mask) >> i & 1)

typedef struct cuts {
    bool cut[SIM_SCRIPT_NODES_MAX][SIM_SCRIPT_NODES_MAX];
} cuts;

/* ---- a directory of its own ------------------------------------------------------------------------------- */

static void remove_home(const char *home)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", home);
    if (system(command) != 0)
        fprintf(stderr, "%s can't be removed\n", home);
}

/* Those of runners that were killed. */
static void remove_leftovers(void)
{
    DIR *tmp = opendir("/tmp");
    for (struct dirent *entry; tmp && (entry = readdir(tmp));) {
        char path[64];
        long pid = strncmp(entry->d_name, HOME_PREFIX, strlen(HOME_PREFIX)) == 0
                       ? atol(entry->d_name + strlen(HOME_PREFIX))
                       : 0;
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof(path), "/tmp/" HOME_PREFIX "%ld", pid);
        remove_home(path);
    }
    if (tmp)
        closedir(tmp);
}

static tr_err make_home(real_cluster *c, tr_error *error)
{
    snprintf(c->home, sizeof(c->home), "/tmp/" HOME_PREFIX "%ld", (long)getpid());
    snprintf(c->key, sizeof(c->key), "%s/key", c->home);
    remove_leftovers();
    if (mkdir(c->home, 0700) != 0)
        return tr__fail(error, TR_EIO, "%s can't be made: %s", c->home, strerror(errno));
    return tr__key_create(c->key, error);
}

/* ---- what the script does --------------------------------------------------------------------------------- */

static void set_cut(real_cluster *c, cuts *now, uint32_t from, uint32_t to, bool cut)
{
    tr_error error;
    if (from == to || now->cut[from][to] == cut)
        return;
    now->cut[from][to] = cut;
    if (real_lan_cut(from, to, cut, &error) != TR_OK)
        real_fail(c, "%s", error.text);
}

static void cut_or_heal(real_cluster *c, cuts *now, const sim_step *step)
{
    uint32_t a = step->a ? step->a : ~0u, b = step->b ? step->b : ~0u;
    EACH_NODE(from, c, a)
    EACH_NODE(to, c, b)
    {
        set_cut(c, now, from, to, step->verb == SIM_CUT);
        if (step->both)
            set_cut(c, now, to, from, step->verb == SIM_CUT);
    }
}

static void start(real_cluster *c, uint32_t index)
{
    tr_error error;
    if (real_node_start(c, index, &error) != TR_OK)
        real_fail(c, "%s", error.text);
}

static void note_time(real_cluster *c, const sim_step *step)
{
    uint64_t now = real_now_ms();
    if (!c->fault_ms)
        c->fault_ms = now;
    if (step->verb != SIM_CUT && step->verb != SIM_KILL)
        c->over_ms = now + (step->verb == SIM_PAUSE ? step->time_ns / 1000000 : 0);
}

/* TR_ENOTFOUND: it can't be done here, which says nothing about the scenario. */
static tr_err do_step(real_cluster *c, cuts *now, const sim_step *step, tr_error *error)
{
    if (step->verb == SIM_CUT || step->verb == SIM_HEAL)
        cut_or_heal(c, now, step);
    if (step->verb == SIM_RESET || step->verb == SIM_HALF_OPEN)
        return (step->verb == SIM_RESET ? real_lan_reset : real_lan_half_open)(
            &c->lan, (uint32_t)__builtin_ctz(step->a), (uint32_t)__builtin_ctz(step->a & (step->a - 1)),
            error);
    EACH_NODE(i, c, step->a)
    {
        if (step->verb == SIM_KILL)
            real_node_kill(c, i);
        else if (step->verb == SIM_START)
            start(c, i);
        else if (step->verb == SIM_PAUSE)
            real_node_pause(c, i, real_now_ms() + step->time_ns / 1000000);
    }
    return TR_OK;
}

/* ---- a run ------------------------------------------------------------------------------------------------ */

static void start_all(real_cluster *c)
{
    uint64_t until = real_now_ms() + START_MS;
    for (uint32_t i = 0; i < c->count && !c->failed; i++)
        start(c, i);
    for (uint32_t i = 0; i < c->count && !c->failed; i++) {
        real_nodes_listen(c, until, &c->nodes[i].up);
        if (!c->nodes[i].up)
            real_fail(c, "n%u hasn't met all others within %d s", i, START_MS / 1000);
    }
}

static void heal_all(real_cluster *c, cuts *now)
{
    cut_or_heal(c, now, &(sim_step){.verb = SIM_HEAL});
    for (uint32_t i = 0; i < c->count; i++) {
        real_node_resume(c, i);
        if (c->nodes[i].pid == 0)
            start(c, i);
    }
}

static real_outcome run(real_cluster *c, const sim_script *script, tr_error *error)
{
    cuts now = {0};
    start_all(c);
    uint64_t began = real_now_ms();
    uint64_t run_ms = (script->run_ns ? script->run_ns : c->scenario->run_ns) / 1000000;
    for (uint32_t i = 0; i < script->count && !c->failed; i++) {
        real_nodes_listen(c, began + script->steps[i].at_ns / 1000000, NULL);
        note_time(c, &script->steps[i]);
        if (!c->failed && do_step(c, &now, &script->steps[i], error) != TR_OK)
            return REAL_SKIPPED;
    }
    real_nodes_listen(c, began + run_ms, NULL);
    heal_all(c, &now);
    real_nodes_listen(c, real_now_ms() + SETTLE_MS, NULL);
    if (!c->failed)
        real_node_check(c, 0);
    real_nodes_listen(c, real_now_ms() + CHECK_MS, &c->held);
    if (!c->held)
        real_fail(c, "the scenario's check hasn't returned after %d s", CHECK_MS / 1000);
    if (!c->failed)
        real_measure(c, c->measured, sizeof(c->measured));
    if (!c->failed)
        real_nodes_stop(c, real_now_ms() + STOP_MS);
    return c->failed ? REAL_FAILED : REAL_HELD;
}

/* What real processes, or those here, can't have done to them. */
static bool can_be_real(const real_cluster *c, const sim_script *script, tr_error *why)
{
    for (uint32_t i = 0; i < script->count; i++) {
        sim_verb verb = script->steps[i].verb;
        if (!sim_verb_is_real(verb))
            return !tr__fail(why, TR_ENOTFOUND, "line %u: %s is for the simulator only",
                             script->steps[i].line, sim_verb_word(verb));
        if ((verb == SIM_CUT || verb == SIM_RESET || verb == SIM_HALF_OPEN) && !c->lan.split)
            return !tr__fail(why, TR_ENOTFOUND, "line %u: %s needs network namespaces: %s",
                             script->steps[i].line, sim_verb_word(verb), c->lan.why_not);
    }
    return true;
}

static void show_logs(const real_cluster *c)
{
    char command[160];
    for (uint32_t i = 0; i < c->count; i++) {
        fprintf(stderr, "---- n%u, the end of its log\n", i);
        snprintf(command, sizeof(command), "tail -n 30 %s/n%u.log >&2", c->home, i);
        if (system(command) != 0)
            fprintf(stderr, "(none)\n");
    }
}

static void on_term(int signal_number)
{
    (void)signal_number; /* real_nodes_listen returns */
}

static void runner(real_cluster *c, const sim_script *script, int to)
{
    tr_error error = {.code = TR_OK};
    real_outcome outcome = REAL_FAILED;
    struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (make_home(c, &error) != TR_OK || real_lan_open(&c->lan, c->count, &error) != TR_OK)
        real_fail(c, "%s", error.text);
    else if (!can_be_real(c, script, &error))
        outcome = REAL_SKIPPED;
    else
        outcome = run(c, script, &error);
    if (c->logs == REAL_LOGS || (c->logs == REAL_LOGS_IF_FAILED && outcome == REAL_FAILED))
        show_logs(c);
    for (uint32_t i = 0; i < c->count; i++)
        real_node_kill(c, i);
    remove_home(c->home);
    dprintf(to, "%d%s", (int)outcome,
            outcome == REAL_SKIPPED  ? error.text
            : outcome == REAL_FAILED ? c->what
                                     : c->measured);
}

void real_begin(real_run *run_, const char *program, const tr_scenario *scenario, const sim_script *script,
                real_logs logs)
{
    int pipes[2];
    *run_ = (real_run){.pid = -1, .from = -1};
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return;
    run_->from = pipes[0];
    pid_t parent = getpid();
    sigset_t both, before; /* blocked in the runner from its first moment: none is lost */
    sigemptyset(&both);
    sigaddset(&both, SIGTERM);
    sigaddset(&both, SIGINT);
    sigprocmask(SIG_BLOCK, &both, &before);
    run_->pid = fork();
    if (run_->pid == 0) {
        static real_cluster c;
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(1);
        c = (real_cluster){.program = program, .scenario = scenario, .logs = logs, .count = scenario->nodes};
        runner(&c, script, pipes[1]);
        _exit(0);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(pipes[1]);
}

void real_end(real_run *run_, real_result *result)
{
    char text[600] = "";
    size_t used = 0;
    for (ssize_t got;
         run_->from >= 0 &&
         ((got = read(run_->from, text + used, sizeof(text) - 1 - used)) > 0 || (got < 0 && errno == EINTR));)
        used += got > 0 ? (size_t)got : 0;
    if (run_->from >= 0)
        close(run_->from);
    while (run_->pid > 0 && waitpid(run_->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    *result = (real_result){.outcome = REAL_FAILED};
    if (text[0] >= '0' && text[0] <= '2')
        result->outcome = (real_outcome)(text[0] - '0');
    snprintf(result->text, sizeof(result->text), "%.500s",
             text[0] ? text + 1 : "the runner ended without a word");
}
