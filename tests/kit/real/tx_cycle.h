/* One cycle of `./dev long tx`: nodes of examples/bank or examples/append as real processes, in network namespaces where
 * they can be had, with load; what a seed says is done to them; then all is healed, and what must hold is looked at.
 *
 *     tx_cycle.c    main: a cycle from its begin to its verdict
 *     tx_plan.c     what a seed says
 *     tx_nodes.c    the processes
 *     tx_faults.c   what is done to them, when
 *     tx_history.c  what must hold of what they have written
 *
 * One thread. The nodes end with this process, the namespaces (of network and mounts) with the processes in them. */
#ifndef TR_TESTS_KIT_TX_CYCLE_H
#define TR_TESTS_KIT_TX_CYCLE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "tests/kit/real/real.h"

#define TX_NODES_MAX 5
#define TX_STEPS_MAX 6

/* Word, and what it is. */
#define TX_FAULTS(X)                                                                      \
    X(KILL, "kill")       /* kill -9, and started again */                                \
    X(POINT, "point")     /* it kills itself at a point of the protocol; started again */ \
    X(ALL, "kill-all")    /* all at once */                                               \
    X(CUT, "cut")         /* nothing reaches it, and nothing leaves it */                 \
    X(ONE_WAY, "one-way") /* nothing of it reaches one other */                           \
    X(STOP, "stop")       /* SIGSTOP, and SIGCONT */                                      \
    X(FULL, "full")       /* the disk of its log is full; that is a small tmpfs */
#define TX__ENUM(name, word) TX_##name,
typedef enum tx_fault { TX_FAULTS(TX__ENUM) TX_FAULT_COUNT } tx_fault;
#undef TX__ENUM
extern const char *const tx_fault_words[TX_FAULT_COUNT];

typedef struct tx_step {
    tx_fault what;
    uint32_t node, other;
    uint32_t at_ms, for_ms; /* since the load began */
    char point[48];         /* TX_POINT: for TROUPE_TX_KILL */
} tx_step;

typedef struct tx_plan {
    uint64_t seed;
    const char *workload; /* the example */
    uint32_t nodes, clients, note_bytes;
    uint32_t load_ms;   /* until all is healed; the clients go on a second longer */
    bool hears_silence; /* a peer that is silent for 1.5 s is down, not 5 s */
    tx_step steps[TX_STEPS_MAX];
    uint32_t count;
} tx_plan;

/* The same for a seed, always. `split`: what needs namespaces can be had. */
void tx_plan_make(tx_plan *plan, uint64_t seed, bool split);
void tx_plan_print(const tx_plan *plan, FILE *to);

typedef struct tx_node {
    pid_t pid; /* 0: it is down */
    int says;
    char said[512];
    size_t used;
    bool listened;        /* once, so it has a log */
    bool done;            /* its clients have ended */
    const tx_step *armed; /* it kills itself there */
    const tx_step *next;  /* how it is armed when it is started again */
    uint64_t again_ms;    /* when it is to be started again; 0: not */
} tx_node;

typedef struct tx_cycle {
    tx_plan plan;
    const char *bin, *keep; /* where the programs are; where what failed is kept */
    char home[64], key[80], history[80];
    real_lan lan;
    tx_node nodes[TX_NODES_MAX];
    uint64_t began_ms, healed_ms; /* the load; 0: not yet */
    bool begun[TX_STEPS_MAX], over[TX_STEPS_MAX];
    bool fired[TX_STEPS_MAX];                    /* TX_POINT: it killed itself there */
    uint32_t cuts[TX_NODES_MAX][TX_NODES_MAX];   /* how many steps cut that direction */
    uint64_t doubt_ms;                           /* after the healing, until nothing was in doubt */
    bool checked;                                /* by `troupe tx check` as well, if there is such a thing */
    uint32_t committed, aborted, unknown, asked; /* operations, and answers about outcomes */
    uint32_t log_full;                           /* of the aborted ones */
    uint32_t receipts;                           /* emitted by a bank's accounts, and executed once */
    bool failed;
    char what[512]; /* the first thing that didn't hold */
} tx_cycle;

/* SIGINT or SIGTERM came: all is cleaned up, and nothing said. */
extern volatile sig_atomic_t tx_interrupted;
/* The machine, or this process, stood still for seconds: times say nothing. */
extern bool tx_stood_still;

void tx_fail(tx_cycle *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- tx_nodes.c ------------------------------------------------------------------------------------------ */

/* Home and namespaces: false, with what failed, if they can't be made. */
bool tx_home_make(tx_cycle *c);
/* Processes and files are gone; copied to c->keep first if it failed. */
void tx_home_remove(tx_cycle *c);
void tx_node_start(tx_cycle *c, uint32_t index);
void tx_node_kill(tx_cycle *c, uint32_t index);
/* Hear what they say for some milliseconds; who has ended is started again in time. */
void tx_nodes_listen(tx_cycle *c, uint32_t ms);
/* Run a program in the nodes' environment, at most so many seconds; what it printed, at most `room`. Its exit status,
 * -1 if it had none. */
int tx_run(char *const *argv, uint32_t seconds, char *out, size_t room);
/* The example's judge: it settles what is unknown, and reads all. As tx_run. */
int tx_judge(tx_cycle *c, char *out, size_t room);
/* Fails the cycle if a node's log has what it shouldn't. */
void tx_logs_check(tx_cycle *c);
/* The last words of a node's log, for who reads why. */
void tx_logs_show(const tx_cycle *c);

/* ---- tx_faults.c ----------------------------------------------------------------------------------------- */

/* Begin and end what is due. */
void tx_faults_step(tx_cycle *c);
/* End all, start who is down. */
void tx_faults_heal(tx_cycle *c);

/* ---- tx_history.c ---------------------------------------------------------------------------------------- */

/* Sums of every reading; lists: each reading the beginning of the longest one, in which each committed entry is once, and
 * no aborted one; answers about one transaction the same. Fails the cycle otherwise. */
void tx_history_check(tx_cycle *c);

#endif
