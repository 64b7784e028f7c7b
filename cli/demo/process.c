/* The demo's nodes as processes of this same program. The main thread only, since the parent-death signal is
 * bound to the thread that forked.
 *
 * Life: start (fork, exec) -> runs -> ended, or killed -> reaped; on standard output it leaves its sums. A
 * child ends by itself when this process is gone. Failures: no process to be had, or it ends by itself: the
 * last line of its log tells why. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/demo/demo.h"
#include "cli/demo/node.h"
#include "cli/demo/sums.h"

#define JOINS_MAX   3
#define END_WITHIN  TR_SECONDS(3)
#define END_STEP_MS 10

static void log_path(const demo *d, int index, char *out, size_t room)
{
    snprintf(out, room, "%s/%s.log", d->directory, d->children[index].name);
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

tr_err demo_child_start(demo *d, int index, const char *const *join)
{
    demo_child *c = &d->children[index];
    char path[DEMO_PATH + 32], own[DEMO_PATH + 32], files[16], loops[16], workers[16], parent[16], host[32];
    const char *keep = d->opts.keep ? "keep" : "";
    const char *argv[12 + JOINS_MAX + 1] = {"troupe", "demo-node", c->name, own,  d->opts.source, files,
                                            loops,    workers,     parent,  host, d->key,         keep};
    int pipes[2];
    snprintf(own, sizeof(own), "%s/%s", d->directory, c->name);
    snprintf(files, sizeof(files), "%u", d->opts.files);
    snprintf(loops, sizeof(loops), "%u", d->opts.loops);
    snprintf(workers, sizeof(workers), "%u", d->workers);
    snprintf(parent, sizeof(parent), "%ld", (long)getpid());
    for (int i = 0; i < JOINS_MAX && join[i]; i++)
        argv[12 + i] = join[i];
    demo_net_address(&d->net, index, host, sizeof(host));
    log_path(d, index, path, sizeof(path));
    mkdir(own, 0700);
    int namespace = demo_net_namespace(&d->net, index);
    if (namespace < 0 && d->net.network)
        return demo_trouble_is(d, TR_EIO, "starting %s: its namespace: %s", c->name, strerror(errno));
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log < 0 || pipe2(pipes, O_CLOEXEC) != 0) {
        demo_trouble_is(d, TR_EIO, "starting %s: %s", c->name, strerror(errno));
        close_if_open(log);
        close_if_open(namespace);
        return TR_EIO;
    }
    pid_t pid = cli_child_start((char *const *)argv, pipes[1], log, namespace, false);
    close(log);
    close(pipes[1]);
    close_if_open(namespace);
    if (pid < 0) {
        close(pipes[0]);
        return demo_trouble_is(d, TR_EIO, "starting %s: fork: %s", c->name, strerror(errno));
    }
    c->pid = pid;
    c->out = pipes[0];
    c->has_sums = false;
    return TR_OK;
}

/* It has ended, so all it wrote is in the pipe. */
static void read_sums(demo_child *c)
{
    char line[2048];
    size_t used = 0;
    struct pollfd ready = {.fd = c->out, .events = POLLIN};
    while (used < sizeof(line) - 1 && poll(&ready, 1, 0) == 1) {
        ssize_t got = read(c->out, line + used, sizeof(line) - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    line[used] = 0;
    c->has_sums = demo_sums_parse(line, &c->sums);
    close(c->out);
    c->out = -1;
}

bool demo_child_reap(demo *d, int index, int *status)
{
    demo_child *c = &d->children[index];
    if (!c->pid || waitpid(c->pid, status, WNOHANG) != c->pid)
        return false;
    c->pid = 0;
    c->up = false;
    read_sums(c);
    return true;
}

/* True when none runs any more. */
static bool wait_all(demo *d, uint64_t until_ns)
{
    int status;
    for (;;) {
        bool all = true;
        for (int i = 0; i < DEMO_NODES; i++)
            if (d->children[i].pid && !demo_child_reap(d, i, &status))
                all = false;
        if (all || demo_now() >= until_ns)
            return all;
        poll(NULL, 0, END_STEP_MS);
    }
}

bool demo_children_end(demo *d)
{
    for (int i = 0; i < DEMO_NODES; i++)
        if (d->children[i].pid)
            kill(d->children[i].pid, SIGTERM);
    if (wait_all(d, demo_now() + END_WITHIN))
        return true;
    for (int i = 0; i < DEMO_NODES; i++)
        if (d->children[i].pid)
            kill(d->children[i].pid, SIGKILL);
    wait_all(d, UINT64_MAX);
    return false;
}

void demo_children_forget(demo *d)
{
    for (int i = 0; i < DEMO_NODES; i++) {
        if (d->children[i].out >= 0)
            close(d->children[i].out);
        d->children[i].out = -1;
        d->children[i].pid = 0;
    }
}

const char *demo_child_last_words(const demo *d, int index, char *out, size_t room)
{
    char path[DEMO_PATH + 32];
    log_path(d, index, path, sizeof(path));
    out[0] = 0;
    FILE *log = fopen(path, "re");
    char line[256];
    while (log && fgets(line, sizeof(line), log)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0])
            snprintf(out, room, "%s", line);
    }
    if (log)
        fclose(log);
    return out;
}
