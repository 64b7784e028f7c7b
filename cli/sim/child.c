/* See child.h. A first run is a fork of this process, so all of them begin alike and cost little; a second one executes the
 * program again. */
#include "cli/sim/child.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GRACE_MS 2000 /* to say where it is, before it is killed */

uint64_t sim_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- the command line of a run ------------------------------------------------------------------------- */

void sim_command(const sim_options *o, const sim_job *job, const char *out[SIM_ARGUMENTS_MAX],
                 char room[SIM_TEXT_MAX])
{
    size_t n = 0;
    char *faults = room, *seed = room + 256, *time = room + 288;
    out[n++] = o->program;
    if (o->plugin) {
        out[n++] = o->plugin;
    } else {
        out[n++] = "--scenario";
        out[n++] = job->scenario->name;
    }
    snprintf(seed, 32, "%llu", (unsigned long long)job->seed);
    out[n++] = "--seed";
    out[n++] = seed;
    if (o->script) {
        out[n++] = "--script";
        out[n++] = o->script_file;
    }
    if (job->faults != (o->script ? 0 : TR_SIM_ALL_FAULTS)) {
        sim_faults_format(job->faults, faults);
        out[n++] = "--faults";
        out[n++] = faults;
    }
    if (job->run_ns) {
        snprintf(time, 32, "%.9g", (double)job->run_ns / 1e9);
        out[n++] = "--time";
        out[n++] = time;
    }
    if (job->plant) {
        out[n++] = "--plant";
        out[n++] = job->plant;
    }
    out[n] = NULL;
}

/* ---- in the child -------------------------------------------------------------------------------------- */

static _Noreturn void run_again(sim_child *child, const sim_options *options, bool timeline)
{
    const char *arguments[SIM_ARGUMENTS_MAX + 5];
    char room[SIM_TEXT_MAX], fd[16];
    size_t count = 0;
    sim_command(options, &child->job, arguments, room);
    while (arguments[count])
        count++;
    snprintf(fd, sizeof(fd), "%d", child->record_fd);
    arguments[count++] = "--record-to";
    arguments[count++] = fd;
    if (timeline)
        arguments[count++] = "--timeline";
    if (timeline && options->logs)
        arguments[count++] = "--logs";
    if (timeline && options->turns)
        arguments[count++] = "--turns";
    arguments[count] = NULL;
    execv("/proc/self/exe", (char *const *)arguments);
    _exit(127);
}

static _Noreturn void be_the_child(sim_child *child, const sim_options *options, FILE *timeline, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    /* What a plugin prints is no line of ours. */
    dup2(timeline ? fileno(timeline) : child->errors_fd, STDOUT_FILENO);
    dup2(child->errors_fd, STDERR_FILENO);
    if (child->second)
        run_again(child, options, timeline);
    setvbuf(stdout, NULL, _IOLBF, 0); /* what came before a crash is there */
    sim_seed_run(options, &child->job, timeline ? stdout : NULL, child->record);
    fflush(NULL);
    _exit(0);
}

/* ---- in the parent ------------------------------------------------------------------------------------- */

static bool complain(const char *what)
{
    fprintf(stderr, "troupe sim: %s: %s\n", what, strerror(errno));
    return false;
}

/* The record, and a file of what it writes to stderr; both only in memory. */
static bool make_room(sim_child *child)
{
    child->record_fd = memfd_create("record", 0);
    child->errors_fd = memfd_create("errors", MFD_CLOEXEC);
    if (child->record_fd < 0 || child->errors_fd < 0 || ftruncate(child->record_fd, sizeof(sim_record)) != 0)
        return complain("no memory file for a seed");
    void *at = mmap(NULL, sizeof(sim_record), PROT_READ | PROT_WRITE, MAP_SHARED, child->record_fd, 0);
    child->record = at == MAP_FAILED ? NULL : at;
    return child->record || complain("no memory for a seed's record");
}

static void free_room(sim_child *child)
{
    if (child->record)
        munmap(child->record, sizeof(sim_record));
    if (child->record_fd >= 0)
        close(child->record_fd);
    if (child->errors_fd >= 0)
        close(child->errors_fd);
    *child = (sim_child){.record_fd = -1, .errors_fd = -1};
}

bool sim_child_start(sim_child *child, const sim_options *options, const sim_job *job, bool second,
                     FILE *timeline)
{
    pid_t parent = getpid();
    *child =
        (sim_child){.job = *job, .second = second, .record_fd = -1, .errors_fd = -1, .started = sim_now_ms()};
    fflush(NULL); /* or the child would write it once more */
    if (make_room(child)) {
        child->pid = fork();
        if (child->pid == 0)
            be_the_child(child, options, timeline, parent);
        if (child->pid > 0)
            return true;
        complain("no process for a seed");
    }
    free_room(child);
    return false;
}

void sim_child_look(sim_child *child, const sim_options *options)
{
    double passed = (double)(sim_now_ms() - child->started);
    if (!child->late && passed >= options->limit_s * 1000) {
        child->late = true;
        kill(child->pid, SIGTERM); /* it says where it is */
    } else if (child->late && passed >= options->limit_s * 1000 + GRACE_MS) {
        kill(child->pid, SIGKILL);
    }
}

void sim_child_drop(sim_child *child)
{
    kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    free_room(child);
}

/* ---- what came of it ----------------------------------------------------------------------------------- */

/* Of what a process said before it died: the line that says why, without the pid before a sanitizer's. */
static void line_that_says_why(const char *errors, char *out, size_t size)
{
    static const char *const signs[] = {"check failed", "ERROR: ", "WARNING: ", "runtime error: "};
    const char *line = errors + strspn(errors, "\n");
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        const char *sign = strstr(errors, signs[i]);
        if (!sign)
            continue;
        for (line = sign; i != 1 && i != 2 && line > errors && line[-1] != '\n';)
            line--;
        break;
    }
    snprintf(out, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static void tell_why_it_died(const sim_child *child, int status, sim_outcome *o)
{
    char why[512], how[64], node[24] = "";
    const sim_record *r = child->record;
    line_that_says_why(o->errors, why, sizeof(why));
    if (WIFSIGNALED(status))
        snprintf(how, sizeof(how), "SIG%s", sigabbrev_np(WTERMSIG(status)));
    else
        snprintf(how, sizeof(how), "exit status %d", WEXITSTATUS(status));
    if (r->struck_at && r->struck_node >= 0)
        snprintf(node, sizeof(node), " in n%d", r->struck_node);
    o->at_s = r->struck_at ? (double)r->struck_at / 1e9 : -1;
    if (child->late)
        snprintf(o->what, sizeof(o->what), "it didn't end in time on the wall clock (--limit): it ran%s",
                 node);
    else
        snprintf(o->what, sizeof(o->what), "it crashed%s: %s%s%s", node, how, why[0] ? ": " : "", why);
}

void sim_child_over(sim_child *child, int status, sim_outcome *o)
{
    o->job = child->job;
    o->second = child->second;
    o->wall_ms = (double)(sim_now_ms() - child->started);
    o->record = *child->record;
    o->late = child->late;
    o->what[0] = '\0';
    o->at_s = -1;
    ssize_t length = pread(child->errors_fd, o->errors, sizeof(o->errors) - 1, 0);
    o->errors[length > 0 ? length : 0] = '\0';
    const tr_sim_result *result = &o->record.result;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !o->record.over) {
        tell_why_it_died(child, status, o);
    } else if (result->failed) {
        snprintf(o->what, sizeof(o->what), "%s", result->what);
        o->at_s = (double)result->failed_at / 1e9;
    }
    o->ok = !o->what[0];
    free_room(child);
}
