/* A node of `troupe up` as a process: `troupe node` with the options that the file says. It says itself when it is up, by
 * the line of cli/node.c. Failures: no process to be had; the rest shows when it ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/child.h"
#include "cli/cli.h"
#include "cli/up/up.h"

#define ARGUMENTS_MAX (24 + 2 * (UP_NODES_MAX + 2 * UP_LIST_MAX))

void up_child_move(up_child *child, up_state to)
{
    static const bool may[5][5] = {
        [UP_WAITING] = {[UP_COMING] = true, [UP_ENDED] = true},
        [UP_COMING] = {[UP_UP] = true, [UP_WAITING] = true, [UP_ENDING] = true, [UP_ENDED] = true},
        [UP_UP] = {[UP_WAITING] = true, [UP_ENDING] = true, [UP_ENDED] = true},
        [UP_ENDING] = {[UP_ENDED] = true},
    };
    tr__check(may[child->state][to], "node %s: from state %d to %d", child->node->name, child->state, to);
    child->state = to;
}

/* ---- starting ------------------------------------------------------------------------------------------ */

typedef struct arguments {
    const char *list[ARGUMENTS_MAX + 1];
    unsigned count;
    char *own[UP_LIST_MAX + 2]; /* to be freed */
    unsigned own_count;
    char loops[16];
} arguments;

static void add(arguments *a, const char *option, const char *value)
{
    tr__check(a->count + 2 <= ARGUMENTS_MAX, "more than %d arguments", ARGUMENTS_MAX);
    a->list[a->count++] = option;
    a->list[a->count++] = value;
}

/* To each named node whose address is known, and to each address; without a list, to all above it. Those below dial this
 * one. */
static void add_joins(const up *u, const up_child *child, arguments *a)
{
    const up_node *n = child->node;
    for (const up_child *other = u->children; other < child; other++) {
        bool wanted = !n->join;
        for (unsigned k = 0; k < n->join_count; k++)
            wanted = wanted || strcmp(n->join[k], other->node->name) == 0;
        if (wanted && other->listen[0])
            add(a, "--join", other->listen);
    }
    for (unsigned k = 0; k < n->join_count; k++)
        if (strchr(n->join[k], ':'))
            add(a, "--join", n->join[k]);
}

/* A path that the file gives, as one from here; false: no memory. */
static bool add_path(const up *u, arguments *a, const char *option, const char *given)
{
    size_t room = strlen(u->path) + strlen(given) + 2;
    char *path = malloc(room);
    if (!path)
        return false;
    a->own[a->own_count++] = path;
    up_file_beside(u->path, given, path, room);
    add(a, option, path);
    return true;
}

static bool add_paths(const up *u, const up_node *n, arguments *a)
{
    bool added = (!u->file->key || add_path(u, a, "--key", u->file->key)) &&
                 (!n->data || add_path(u, a, "--data", n->data));
    for (unsigned k = 0; added && k < n->plugins_count; k++)
        added = add_path(u, a, "--plugin", n->plugins[k]);
    return added;
}

static bool add_all(const up *u, const up_child *child, arguments *a)
{
    const up_node *n = child->node;
    snprintf(a->loops, sizeof(a->loops), "%u", n->loop_count);
    add(a, "troupe", "node");
    add(a, "--name", n->name);
    if (u->file->cluster)
        add(a, "--cluster", u->file->cluster);
    add(a, "--listen", child->listen[0] ? child->listen : n->listen ? n->listen : "127.0.0.1:0");
    add(a, "--loops", a->loops);
    add(a, "--log", up_file_log(n));
    add_joins(u, child, a);
    return add_paths(u, n, a);
}

bool up_child_start(up *u, unsigned index)
{
    up_child *child = &u->children[index];
    arguments a = {.count = 0};
    int pipes[2] = {-1, -1};
    pid_t pid = -1;
    if (!add_all(u, child, &a))
        errno = ENOMEM;
    else if (pipe2(pipes, O_CLOEXEC) == 0)
        pid = cli_child_start((char *const *)a.list, pipes[1], pipes[1], -1, true);
    int number = errno;
    for (unsigned i = 0; i < a.own_count; i++)
        free(a.own[i]);
    if (pipes[1] >= 0)
        close(pipes[1]);
    if (pid < 0) {
        if (pipes[0] >= 0)
            close(pipes[0]);
        child->ended_badly = true;
        up_say(u, child, "can't be started: %s", strerror(number));
        return false;
    }
    fcntl(pipes[0], F_SETFL, O_NONBLOCK);
    child->pid = pid;
    child->ended_badly = false;
    child->out = pipes[0];
    child->used = 0;
    child->last[0] = '\0';
    up_child_move(child, UP_COMING);
    return true;
}

/* ---- its output ---------------------------------------------------------------------------------------- */

static void came_up(up *u, up_child *child, const char *line)
{
    size_t runs = strlen(CLI_NODE_RUNS), listens = strlen(CLI_NODE_LISTENS);
    if (strncmp(line + runs, CLI_NODE_LISTENS, listens) == 0)
        snprintf(child->listen, sizeof(child->listen), "%.*s", (int)strcspn(line + runs + listens, ";"),
                 line + runs + listens);
    child->ups++;
    up_child_move(child, UP_UP);
    up_say(u, child, "up: pid %ld, listens on %s", (long)child->pid, child->listen);
}

static void take_line(up *u, up_child *child)
{
    child->line[child->used] = '\0';
    child->used = 0;
    if (child->state == UP_COMING && strncmp(child->line, CLI_NODE_RUNS, strlen(CLI_NODE_RUNS)) == 0) {
        came_up(u, child, child->line);
        return;
    }
    snprintf(child->last, sizeof(child->last), "%.199s", child->line);
    up_say_line(u, child, child->line);
}

void up_child_read(up *u, unsigned index)
{
    up_child *child = &u->children[index];
    char bytes[4096];
    ssize_t got = 0;
    while (child->out >= 0 && (got = read(child->out, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < got; i++) {
            if (bytes[i] == '\n' || child->used == sizeof(child->line) - 1)
                take_line(u, child);
            if (bytes[i] != '\n')
                child->line[child->used++] = bytes[i];
        }
    if (got == 0 && child->out >= 0) { /* it closed its outputs; its end will be told */
        close(child->out);
        child->out = -1;
    }
}

bool up_child_reap(up *u, unsigned index, int *status)
{
    up_child *child = &u->children[index];
    if (!child->pid || waitpid(child->pid, status, WNOHANG) != child->pid)
        return false;
    up_child_read(u, index);
    if (child->used)
        take_line(u, child);
    if (child->out >= 0)
        close(child->out);
    child->out = -1;
    child->pid = 0;
    return true;
}
