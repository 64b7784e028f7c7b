/* The processes of a real run: started, killed, paused, heard. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/kit/real/real.h"

#define ARGUMENTS (7 + SIM_SCRIPT_NODES_MAX)

uint64_t real_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void real_fail(real_cluster *c, const char *format, ...)
{
    va_list args;
    if (c->failed)
        return;
    c->failed = true;
    va_start(args, format);
    vsnprintf(c->what, sizeof(c->what), format, args);
    va_end(args);
}

/* ---- start and end --------------------------------------------------------------------------------------- */

/* In the forked child. */
static void become(const real_cluster *c, uint32_t index, const char *const *argv, int orders, int says)
{
    char log[96];
    sigset_t none;
    snprintf(log, sizeof(log), "%s/n%u.log", c->home, index);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (c->lan.split && setns(c->lan.space[index], CLONE_NEWNET) != 0)
        _exit(126);
    if (file >= 0 && dup2(orders, 0) >= 0 && dup2(says, 1) >= 0 && dup2(file, 2) >= 0)
        execv(c->program, (char *const *)argv);
    _exit(127);
}

static void let_go(real_node *node)
{
    close(node->orders);
    close(node->says);
    *node = (real_node){.pid = 0};
}

tr_err real_node_start(real_cluster *c, uint32_t index, tr_error *error)
{
    real_node *node = &c->nodes[index];
    char address[SIM_SCRIPT_NODES_MAX][REAL_ADDRESS_MAX], number[8], data[96] = "";
    int in[2], out[2], count = 6;
    for (uint32_t i = 0; i < c->count; i++)
        real_lan_address(&c->lan, i, address[i]);
    snprintf(number, sizeof(number), "%u", index);
    if (c->scenario->data)
        snprintf(data, sizeof(data), "%s/n%u", c->home, index);
    const char *argv[ARGUMENTS] = {c->program,     c->scenario->name,          number,
                                   address[index], c->lan.split ? c->key : "", data};
    for (uint32_t i = 0; i < c->count; i++)
        if (i != index)
            argv[count++] = address[i];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return tr__fail(error, TR_EIO, "no pipe for n%u: %s", index, strerror(errno));
    *node = (real_node){.orders = in[1], .says = out[0]};
    node->pid = fork();
    if (node->pid == 0)
        become(c, index, argv, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    return node->pid > 0 ? TR_OK : tr__fail(error, TR_EIO, "no process for n%u: %s", index, strerror(errno));
}

static int reap(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

void real_node_kill(real_cluster *c, uint32_t index)
{
    real_node *node = &c->nodes[index];
    if (node->pid <= 0)
        return;
    kill(node->pid, SIGKILL);
    reap(node->pid);
    let_go(node);
}

void real_node_pause(real_cluster *c, uint32_t index, uint64_t until_ms)
{
    if (c->nodes[index].pid <= 0)
        return;
    kill(c->nodes[index].pid, SIGSTOP);
    c->nodes[index].paused_until = until_ms;
}

void real_node_resume(real_cluster *c, uint32_t index)
{
    if (!c->nodes[index].paused_until)
        return;
    c->nodes[index].paused_until = 0;
    kill(c->nodes[index].pid, SIGCONT);
}

void real_node_check(real_cluster *c, uint32_t index)
{
    static const char order[] = "check\n";
    if (write(c->nodes[index].orders, order, sizeof(order) - 1) != sizeof(order) - 1)
        real_fail(c, "n%u doesn't take orders: %s", index, strerror(errno));
}

/* ---- what they say --------------------------------------------------------------------------------------- */

static void on_line(real_cluster *c, uint32_t index, const char *line)
{
    if (strncmp(line, "up ", 3) == 0)
        c->nodes[index].up = true;
    else if (strncmp(line, "held ", 5) == 0)
        c->held = true;
    else if (strncmp(line, "failed ", 7) == 0)
        real_fail(c, "%s", line + 7);
}

/* False: that was all. */
static bool hear(real_cluster *c, uint32_t index)
{
    real_node *node = &c->nodes[index];
    ssize_t got = read(node->says, node->said + node->used, sizeof(node->said) - 1 - node->used);
    if (got <= 0)
        return got < 0 && (errno == EINTR || errno == EAGAIN);
    node->used += (size_t)got;
    node->said[node->used] = 0;
    char *line = node->said;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        on_line(c, index, line);
    }
    node->used = strlen(line);
    memmove(node->said, line, node->used + 1);
    if (node->used == sizeof(node->said) - 1)
        node->used = 0; /* no line of ours is so long */
    return true;
}

static void ended(real_cluster *c, uint32_t index)
{
    int status = reap(c->nodes[index].pid);
    real_fail(c, "n%u ended by itself, with %s %d", index, WIFSIGNALED(status) ? "signal" : "status",
              WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    let_go(&c->nodes[index]);
}

static uint64_t resume_who_is_due(real_cluster *c, uint64_t until_ms)
{
    uint64_t now = real_now_ms();
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->nodes[i].paused_until && c->nodes[i].paused_until <= now)
            real_node_resume(c, i);
        if (c->nodes[i].paused_until && c->nodes[i].paused_until < until_ms)
            until_ms = c->nodes[i].paused_until;
    }
    return until_ms > now ? until_ms - now : 0;
}

/* Only while it waits here the runner can be interrupted: so it always cleans up. */
void real_nodes_listen(real_cluster *c, uint64_t until_ms, const bool *enough)
{
    sigset_t none;
    sigemptyset(&none);
    while (!c->failed && !(enough && *enough) && real_now_ms() < until_ms) {
        struct pollfd all[SIM_SCRIPT_NODES_MAX];
        uint64_t wait = resume_who_is_due(c, until_ms);
        for (uint32_t i = 0; i < c->count; i++)
            all[i] = (struct pollfd){.fd = c->nodes[i].pid > 0 ? c->nodes[i].says : -1, .events = POLLIN};
        struct timespec in = {.tv_sec = (time_t)(wait / 1000), .tv_nsec = (long)(wait % 1000) * 1000000};
        if (ppoll(all, c->count, &in, &none) < 0) {
            real_fail(c, "the run was interrupted: %s", strerror(errno));
            return;
        }
        for (uint32_t i = 0; i < c->count; i++)
            if (all[i].revents && !hear(c, i))
                ended(c, i);
    }
}

/* It was told to stop: true if it has. */
static bool stopped(real_cluster *c, uint32_t index, uint64_t until_ms)
{
    real_node *node = &c->nodes[index];
    struct pollfd says = {.fd = node->says, .events = POLLIN};
    for (uint64_t now; (now = real_now_ms()) < until_ms && poll(&says, 1, (int)(until_ms - now)) == 1;)
        if (!hear(c, index)) {
            int status = reap(node->pid);
            if (status != 0)
                real_fail(c, "n%u was to stop, and ended with %s %d", index,
                          WIFSIGNALED(status) ? "signal" : "status",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            close(node->says);
            *node = (real_node){.pid = 0};
            return true;
        }
    return false;
}

void real_nodes_stop(real_cluster *c, uint64_t until_ms)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->nodes[i].pid > 0)
            close(c->nodes[i].orders);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->nodes[i].pid > 0 && !stopped(c, i, until_ms)) {
            real_fail(c, "n%u was to stop, and didn't", i);
            kill(c->nodes[i].pid, SIGKILL);
            reap(c->nodes[i].pid);
            close(c->nodes[i].says);
            c->nodes[i] = (real_node){.pid = 0};
        }
}
