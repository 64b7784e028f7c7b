/* The simulator: a whole cluster in one thread, under virtual time, from a seed. For tests that link troupe-testkit;
 * `troupe sim` runs the same for scenarios and plugins.
 *
 * The nodes are real ones: the scheduler, the connections and the transactions that production runs. Only what is outside
 * of them is simulated: the clock, the network, the disk. What happens when is drawn from the seed, so the same seed is the
 * same run, to the last message.
 *
 * One simulation runs at a time in a process; everything is called by the thread that made it. */
#ifndef TROUPE_TESTKIT_H
#define TROUPE_TESTKIT_H

#include <troupe/node.h>
#include <troupe/scenario.h>
#include <troupe/troupe.h>

typedef struct tr_sim tr_sim;

/* The classes of faults. Each draws from a random stream of its own, so switching one off changes nothing in the others.
 *   name, word, what it does */
#define TR_SIM_FAULTS(X)                                                                       \
    X(LATENCY, "latency", "bytes and wakes take their time, each connection another")          \
    X(PIECES, "pieces", "bytes arrive cut at any place")                                       \
    X(CLOG, "clog", "a direction of a connection stands still for a while")                    \
    X(PARTITION, "partition", "nodes don't reach each other, in one direction or both")        \
    X(RESET, "reset", "a connection breaks; what was on its way is lost, or a part of it")     \
    X(HALF_OPEN, "half-open", "a connection breaks, and one side isn't told")                  \
    X(DIAL, "dial", "an attempt to connect is refused, or never answered")                     \
    X(CRASH, "crash", "a process dies between two turns or in the middle of one; it restarts") \
    X(POWER, "power", "a host loses power: unforced writes are lost or torn, nobody is told")  \
    X(PAUSE, "pause", "a process stands still, as by SIGSTOP")                                 \
    X(SLOW, "slow", "a loop is slow: its turns are far apart")                                 \
    X(CLOCK, "clock", "clocks drift, and a wall clock jumps")                                  \
    X(DISK, "disk", "forces are slow, or fail; the disk is full")                              \
    X(MEMORY, "memory", "an allocation fails")                                                 \
    X(POINTS, "points", "the runtime takes its rare ways (TR_BUGGIFY)")                        \
    X(WORLD, "world", "a command, a download, a file or a server outside is slow, or fails")

#define TR__ENUM(name, word, text) TR_SIM_##name,
typedef enum tr_sim_fault { TR_SIM_FAULTS(TR__ENUM) TR_SIM_FAULT_COUNT } tr_sim_fault;
#undef TR__ENUM

#define TR_SIM_ALL_FAULTS ((1u << TR_SIM_FAULT_COUNT) - 1)
#define TR_SIM_NODES_MAX  16

typedef struct tr_sim_opts {
    uint64_t seed;
    const tr_scenario *scenario; /* borrowed for the simulation's life */
    const char *plugin;          /* a .so that every node runs; NULL: none */
    uint32_t
        faults; /* bits, 1u << TR_SIM_RESET; 0: none. What is drawn of them, and how often, is the seed's */
    uint64_t run_ns; /* under faults; 0: as the scenario says */
    FILE *timeline;  /* a line for each thing that happens; NULL: none */
    bool logs;       /* the nodes' log lines go into the timeline as well */
    bool turns;      /* so do turns of loops and the runtime's own messages, of which there are many */
} tr_sim_opts;

typedef struct tr_sim_result {
    bool failed;
    char what[512];                      /* the first thing that didn't hold */
    uint64_t failed_at;                  /* virtual time, ns */
    uint64_t hash;                       /* of all that happened */
    uint64_t virtual_ns;                 /* that passed */
    uint64_t turns;                      /* of loops */
    uint64_t handled;                    /* messages, by actors of all nodes */
    uint64_t faults[TR_SIM_FAULT_COUNT]; /* that happened */
} tr_sim_result;

/* NULL with *error: TR_EINVAL (options; another one runs), TR_EVERSION (the scenario's), TR_ENOMEM, or why a node can't be
 * made. Its nodes run from time 0. */
tr_sim *tr_sim_create(const tr_sim_opts *opts, tr_error *error);
/* All of it: run under faults, heal, run until the scenario's check has answered, stop, check the sums. */
void tr_sim_run(tr_sim *sim);
/* What came of it so far. */
void tr_sim_result_get(const tr_sim *sim, tr_sim_result *result);
/* What tr_always or tr_sometimes said under a name, all nodes together. */
typedef struct tr_sim_assertion {
    char name[64];         /* longer ones are cut */
    tr_assertion kind;     /* of the first that said it */
    uint64_t held, broken; /* how often */
} tr_sim_assertion;

/* The i-th, in the order in which they were first said; NULL: there are no more. The simulation's. */
const tr_sim_assertion *tr_sim_assertion_at(const tr_sim *sim, uint32_t i);

/* A place in the runtime where something rare but legal can happen. */
typedef struct tr_sim_point {
    const char *name;       /* static */
    uint64_t passed, taken; /* how often it was come by, and it happened */
} tr_sim_point;

/* The i-th, in an order that doesn't change; false: there are no more. */
bool tr_sim_point_at(const tr_sim *sim, uint32_t i, tr_sim_point *point);

/* Nodes that still run end as by a crash. NULL is fine. */
void tr_sim_destroy(tr_sim *sim);

/* ---- by hand: for tests that say themselves what happens when ------------------------------------------- */

/* Let that much virtual time pass; in a run that has failed none does. */
void tr_sim_step(tr_sim *sim, uint64_t duration_ns);
/* Virtual time since the beginning, ns. */
uint64_t tr_sim_now(const tr_sim *sim);
uint32_t tr_sim_nodes(const tr_sim *sim);
/* The node as it runs; NULL while it is down. */
tr_node *tr_sim_node(tr_sim *sim, uint32_t node);
/* Nothing of `from` reaches `to` any more, until healed. */
void tr_sim_cut(tr_sim *sim, uint32_t from, uint32_t to);
void tr_sim_heal(tr_sim *sim, uint32_t from, uint32_t to);
/* All connections between the two break. */
void tr_sim_reset(tr_sim *sim, uint32_t a, uint32_t b);
/* kill -9, or a power cut. It stays down until tr_sim_start. */
void tr_sim_kill(tr_sim *sim, uint32_t node, bool power);
/* Asked to stop in order, as by SIGTERM: it takes the time that it takes, 10 s at most, and stays down then, until
 * tr_sim_start. */
void tr_sim_stop(tr_sim *sim, uint32_t node);
/* TR_EEXIST: it runs. Or why it can't start. `error` may be NULL. */
tr_err tr_sim_start(tr_sim *sim, uint32_t node, tr_error *error);
/* It does nothing for that long; TR_FOREVER: until tr_sim_resume. */
void tr_sim_pause(tr_sim *sim, uint32_t node, uint64_t duration_ns);
void tr_sim_resume(tr_sim *sim, uint32_t node);
/* No more faults; what is cut heals, who is down starts, who is paused goes on. */
void tr_sim_heal_all(tr_sim *sim);
/* Fail the run, with printf-like text; the first failure counts. */
void tr_sim_fail(tr_sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Do what a fault script says (docs/scenarios.md), in virtual time from now on; what it says of the run's length is
 * tr_sim_run's. `text` is read before this returns. TR_EINVAL: *error names line and column, and nothing of it happens;
 * TR_ENOMEM. */
tr_err tr_sim_script(tr_sim *sim, const char *text, tr_error *error);

/* ---- the world outside: what the shipped kinds (compute, downloader, stream client) find there ----------- */

/* What a command does: writes to `out` what it prints. Its exit status. */
typedef int tr_sim_command_fn(void *context, const char *const *argv, tr_bytes input, FILE *out);
/* All nodes have that command from now on; it takes 1 to 20 ms. Other commands aren't there (TR_ENOTFOUND, as for a real
 * one). The name is copied. */
void tr_sim_command(tr_sim *sim, const char *name, tr_sim_command_fn *command, void *context);
/* An HTTP origin: `size` bytes at every URL that begins with `prefix`, the same at every time. */
void tr_sim_origin(tr_sim *sim, const char *prefix, uint64_t size);
/* What a server answers: given all that came so far and wasn't used up, it says how much of that it uses, and writes its
 * answer to `out`. */
typedef size_t tr_sim_server_fn(void *context, const void *data, size_t size, FILE *out);
/* A TCP server at host:port. The host is copied. */
void tr_sim_server(tr_sim *sim, const char *host, uint16_t port, tr_sim_server_fn *server, void *context);

/* ---- a probe: an actor that the test speaks with -------------------------------------------------------- */

typedef struct tr_probe tr_probe;

/* Spawn one on that node; NULL if the node is down, or out of memory. Gone with the simulation, or when its node crashes. */
tr_probe *tr_probe_open(tr_sim *sim, uint32_t node);
tr_addr tr_probe_address(const tr_probe *probe);
/* Have it send; the macro tr_probe_send makes the body. TR_ENOACTOR: its node crashed; TR_EDEADLINE: its node did nothing
 * for a second; else as tr_send. */
tr_err tr_probe_send_body(tr_probe *probe, tr_addr to, tr_type *type, const void *body);
#define tr_probe_send(probe, to, type, ...) \
    tr_probe_send_body((probe), (to), &type##_type, &(type){__VA_ARGS__})
/* Let time pass until it got a message of that type, at most within_ns; others that came before it are dropped. NULL: none
 * came, and the run has failed. Borrowed until the next call on this probe, or until its node is down. */
const void *tr_probe_expect_type(tr_probe *probe, uint64_t within_ns, tr_type *type);
#define tr_probe_expect(probe, within_ns, type) \
    ((const type *)tr_probe_expect_type((probe), (within_ns), &type##_type))
/* Let that much time pass; the run fails if it gets anything. */
void tr_probe_expect_nothing(tr_probe *probe, uint64_t for_ns);
/* The address of "node/name", found from the probe's node within that time; TR_ADDR_NONE: it wasn't, and the run has
 * failed. */
tr_addr tr_probe_lookup(tr_probe *probe, const char *path, uint64_t within_ns);

#endif
