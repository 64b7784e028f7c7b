/* Benchmarks: what one is, and what they share. Each is a table entry and a fiber, `start`, that is the first
 * actor of a node made for one run; it spawns the others, takes the time, checks that all that was sent was
 * handled, and fills in the values. Definitions of the work: docs and `troupe bench --list`. */
#ifndef TR_CLI_BENCH_H
#define TR_CLI_BENCH_H

#include <troupe/troupe.h>

typedef enum bench_param {
    BENCH_ACTORS,
    BENCH_SENDERS,
    BENCH_MESSAGES,
    BENCH_N,
    BENCH_SIZE,
    BENCH_OUTSTANDING,
    BENCH_CALLERS,
    BENCH_WORK,
    BENCH_LOAD,
    BENCH_CLIENTS,
    BENCH_PARAMS
} bench_param;

/* A parameter that a benchmark takes, with its default and bounds. */
typedef struct bench_takes {
    bench_param param;
    uint64_t standard, least, most;
} bench_takes;

typedef struct bench_metric {
    const char *name, *unit;
} bench_metric;

#define BENCH_TAKES_MAX   3
#define BENCH_METRICS_MAX 12

typedef struct bench {
    const char *name, *what;
    bench_takes takes[BENCH_TAKES_MAX]; /* the first with most == 0 ends them */
    bench_metric metrics[BENCH_METRICS_MAX];
    bool remote;                                /* a peer process is started, and the node joins it */
    bool data;                                  /* both keep logs, in a folder that goes with the run */
    tr_err (*start)(tr_actor *self, void *run); /* a bench_run; an error: this run is no result */
} bench;

typedef struct bench_run {
    uint32_t loops;
    const char *key;    /* the file of the key that both nodes have; NULL: none */
    const char *folder; /* for data; NULL: it keeps none */
    const char *peer;   /* where the other process listens; NULL: there is none */
    uint64_t given[BENCH_PARAMS];
    double values[BENCH_METRICS_MAX]; /* to be filled in, as `metrics` says */
} bench_run;

extern const bench bench_pingpong, bench_ring, bench_fan_in, bench_counting, bench_spawn, bench_memory,
    bench_fork_join, bench_fib, bench_ask, bench_timers, bench_lateness, bench_remote_rtt, bench_remote_flood,
    bench_remote_asks, bench_remote_load, bench_remote_bulk, bench_remote_mixed, bench_tx_force, bench_tx_two,
    bench_tx_one, bench_tx_read, bench_tx_hot, bench_tx_clients;

/* What an actor tells `start` at its end: how many it handled, and how many of those were not what was due.
 */
TR_MESSAGE(bench_done, (u64, count), (u64, wrong))

extern const tr_spawn_opts bench_spread; /* over the loops in turn */

/* The other process of a remote benchmark. */
typedef struct bench_peer {
    int process;
    char address[64];
} bench_peer;

/* With the run's loops, key and folder. */
tr_err bench_peer_open(bench_peer *peer, const bench_run *run, tr_error *error);
void bench_peer_close(bench_peer *peer);

/* A folder of its own for the data of one run, on a disk: in $TMPDIR, or in /var/tmp. However this process ends, also by
 * a signal, nothing of it stays: a child waits for that and removes it. */
typedef struct bench_folder {
    char path[256];
    int keeper, end; /* the child; what it waits for is that this is closed */
} bench_folder;

tr_err bench_folder_open(bench_folder *folder, tr_error *error);
/* Waits until it is gone. Also of one that was never opened, all zero. */
void bench_folder_close(bench_folder *folder);

/* A process that has many connections may have as many descriptors as it is allowed. */
void bench_raise_files(void);
/* A clock, ns. */
uint64_t bench_now(void);
/* In `start`: wait for so many bench_done, whose counts must add up to `total`. TR_EMISMATCH, TR_EDEADLINE
 * with a text. */
tr_err bench_wait(tr_actor *self, uint64_t parts, uint64_t total);
/* In any other actor: what can't fail in a run that counts has failed. Says so and ends the process. */
void bench_give_up(tr_actor *self) __attribute__((noreturn));
/* A send was refused: ask for the notice if the mailbox was full, give up if it was anything else. */
void bench_refused(tr_actor *self, tr_addr to, tr_err err);

#endif
