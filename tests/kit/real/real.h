/* A scenario and its fault script with real processes: each node is one, over nng, in a network namespace of its own
 * where that can be had. See docs/scenarios.md.
 *
 *     runner.c   the script's time: what is done to whom, when, and what came of it
 *     nodes.c    the processes, and what they say
 *     measure.c  how soon they noticed, by their logs
 *     lan.c      their addresses, namespaces, cuts and resets
 *
 * real_begin forks a runner, so that several runs go on at the same time. A runner ends with the process that began it, its
 * nodes end with it, and the namespaces, which have no names, end with those that are in them. */
#ifndef TR_TESTS_KIT_REAL_H
#define TR_TESTS_KIT_REAL_H

#include <sys/types.h>

#include <troupe/scenario.h>

#include "tests/kit/sim/script_format.h"

typedef enum real_outcome { REAL_HELD, REAL_FAILED, REAL_SKIPPED } real_outcome;

typedef struct real_result {
    real_outcome outcome;
    char text
        [512]; /* why it failed, or was skipped; if it held, how soon what was done was noticed and healed */
} real_result;

typedef struct real_run {
    pid_t pid;
    int from;
} real_run;

typedef enum real_logs { REAL_NO_LOGS, REAL_LOGS_IF_FAILED, REAL_LOGS } real_logs;

/* program: scenario_node. logs: when the end of the nodes' logs is shown, on standard error. */
void real_begin(real_run *run, const char *program, const tr_scenario *scenario, const sim_script *script,
                real_logs logs);
/* Waits for it. */
void real_end(real_run *run, real_result *result);

/* ---- of the parts, in the runner's process --------------------------------------------------------------- */

#define REAL_ADDRESS_MAX 24

typedef struct real_lan {
    bool split;        /* each node is in a namespace of its own; else all are here, on loopback */
    char why_not[128]; /* if not */
    int space[SIM_SCRIPT_NODES_MAX]; /* the namespaces */
} real_lan;

/* Whether namespaces can be had shows in lan->split. TR_EIO: one of the steps to them failed. */
tr_err real_lan_open(real_lan *lan, uint32_t nodes, tr_error *error);
void real_lan_address(const real_lan *lan, uint32_t node, char out[REAL_ADDRESS_MAX]);
/* Nothing of one reaches the other, or all does again. */
tr_err real_lan_cut(uint32_t from, uint32_t to, bool cut, tr_error *error);
/* All connections between the two break. TR_ENOTFOUND: nothing here can do that. */
tr_err real_lan_reset(const real_lan *lan, uint32_t a, uint32_t b, tr_error *error);

/* The like; only a hears of it. */
tr_err real_lan_half_open(const real_lan *lan, uint32_t a, uint32_t b, tr_error *error);

typedef struct real_node {
    pid_t pid; /* 0: down */
    int orders, says;
    char said[1024]; /* of a line under way */
    size_t used;
    bool up;               /* it has met all others */
    uint64_t paused_until; /* ms; 0: it runs */
} real_node;

typedef struct real_cluster {
    const char *program;
    const tr_scenario *scenario;
    real_logs logs;
    uint32_t count;
    real_lan lan;
    char home[64], key[80];
    real_node nodes[SIM_SCRIPT_NODES_MAX];
    uint64_t fault_ms,
        over_ms; /* when the first thing was done to it that may be noticed; when the last was over */
    bool held;   /* the check said so */
    bool failed;
    char what[512]; /* the first thing that didn't hold */
    char measured[128];
} real_cluster;

/* What the logs say of the time from the fault to the first node that went down, and from its end to the last that came
 * up, as text; fails the run if that took too long. Empty if nobody noticed anything. */
void real_measure(real_cluster *c, char *text, size_t room);
uint64_t real_now_ms(void);
tr_err real_node_start(real_cluster *c, uint32_t index, tr_error *error);
void real_node_kill(real_cluster *c, uint32_t index);
void real_node_pause(real_cluster *c, uint32_t index, uint64_t until_ms);
void real_node_resume(real_cluster *c, uint32_t index);
void real_node_check(real_cluster *c, uint32_t index);
/* It stops, in order; who hasn't by then is killed, and the run has failed. */
void real_nodes_stop(real_cluster *c, uint64_t until_ms);
/* Hear what they say, and have who is paused go on in time; until then, or until something failed or *enough. */
void real_nodes_listen(real_cluster *c, uint64_t until_ms, const bool *enough);
void real_fail(real_cluster *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
