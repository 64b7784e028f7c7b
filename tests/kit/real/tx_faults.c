/* What is done to the nodes of a cycle, when it is due. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/kit/real/tx_cycle.h"

#define REARM_MS 100 /* that one is down which is killed to be started with a point */

/* ---- kills ----------------------------------------------------------------------------------------------- */

static void kill_for(tx_cycle *c, uint32_t index, uint32_t ms)
{
    tx_node_kill(c, index);
    c->nodes[index].again_ms = real_now_ms() + ms;
}

static void arm(tx_cycle *c, const tx_step *step)
{
    c->nodes[step->node].next = step;
    if (step->at_ms)
        kill_for(c, step->node, REARM_MS);
}

/* ---- cuts ------------------------------------------------------------------------------------------------ */

/* Several steps may cut the same. */
static void cut_direction(tx_cycle *c, uint32_t from, uint32_t to, bool cut)
{
    tr_error error;
    uint32_t *count = &c->cuts[from][to];
    bool changes = cut ? (*count)++ == 0 : --*count == 0;
    if (changes && real_lan_cut(from, to, cut, &error) != TR_OK)
        tx_fail(c, "%s", error.text);
}

static void cut(tx_cycle *c, const tx_step *step, bool begins)
{
    if (step->what == TX_ONE_WAY) {
        cut_direction(c, step->node, step->other, begins);
        return;
    }
    for (uint32_t i = 0; i < c->plan.nodes; i++)
        if (i != step->node) {
            cut_direction(c, step->node, i, begins);
            cut_direction(c, i, step->node, begins);
        }
}

/* ---- the disk -------------------------------------------------------------------------------------------- */

static void filler(const tx_cycle *c, const tx_step *step, char path[96])
{
    snprintf(path, 96, "%s/n%u/filler", c->home, step->node);
}

/* Whatever is left of it. */
static void fill(tx_cycle *c, const tx_step *step)
{
    static const char zeros[65536];
    char path[96];
    filler(c, step, path);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    ssize_t put = file < 0 ? -1 : 0;
    for (size_t size = sizeof(zeros); file >= 0 && size > 0;) {
        put = write(file, zeros, size);
        if (put < 0 && errno == ENOSPC)
            size /= 2;
        else if (put < 0)
            break;
    }
    if (put < 0 && errno != ENOSPC)
        tx_fail(c, "%s can't be written: %s", path, strerror(errno));
    if (file >= 0)
        close(file);
}

/* ---- when ------------------------------------------------------------------------------------------------ */

static void send_signal(tx_cycle *c, const tx_step *step, int number)
{
    if (c->nodes[step->node].pid > 0)
        kill(c->nodes[step->node].pid, number);
}

static void begin(tx_cycle *c, const tx_step *step)
{
    switch (step->what) {
    case TX_KILL:
        kill_for(c, step->node, step->for_ms);
        break;
    case TX_POINT:
        arm(c, step);
        break;
    case TX_ALL:
        for (uint32_t i = 0; i < c->plan.nodes; i++)
            kill_for(c, i, step->for_ms);
        break;
    case TX_STOP:
        send_signal(c, step, SIGSTOP);
        break;
    case TX_FULL:
        fill(c, step);
        break;
    default:
        cut(c, step, true);
    }
}

static void end(tx_cycle *c, const tx_step *step)
{
    char path[96];
    if (step->what == TX_STOP)
        send_signal(c, step, SIGCONT);
    if (step->what == TX_CUT || step->what == TX_ONE_WAY)
        cut(c, step, false);
    if (step->what == TX_FULL) {
        filler(c, step, path);
        unlink(path);
    }
}

static void end_at(tx_cycle *c, uint64_t at_ms)
{
    for (uint32_t i = 0; i < c->plan.count; i++) {
        const tx_step *step = &c->plan.steps[i];
        if (c->begun[i] && !c->over[i] && step->at_ms + step->for_ms <= at_ms) {
            c->over[i] = true;
            end(c, step);
        }
    }
}

/* A node that finds no place for its first log rightly ends. */
static bool can_begin(const tx_cycle *c, const tx_step *step)
{
    return step->what != TX_FULL || c->nodes[step->node].listened;
}

void tx_faults_step(tx_cycle *c)
{
    uint64_t at_ms = real_now_ms() - c->began_ms;
    end_at(c, at_ms);
    for (uint32_t i = 0; i < c->plan.count; i++)
        if (!c->begun[i] && c->plan.steps[i].at_ms <= at_ms && can_begin(c, &c->plan.steps[i])) {
            c->begun[i] = true;
            begin(c, &c->plan.steps[i]);
        }
}

/* Who would still kill itself is killed. */
void tx_faults_heal(tx_cycle *c)
{
    end_at(c, UINT64_MAX);
    for (uint32_t i = 0; i < c->plan.nodes; i++) {
        tx_node *node = &c->nodes[i];
        if (node->armed)
            tx_node_kill(c, i);
        node->next = NULL;
        if (node->pid == 0)
            tx_node_start(c, i);
    }
    c->healed_ms = real_now_ms();
}
