/* What the parts of the simulator share. One thread; everything happens in an event's `fire`.
 *
 *     events.c   virtual time: what happens next         nodes.c   nodes: their loops' turns, crash, start, pause
 *     net.c      streams between them                    disk.c    their logs; sim_spool.c: files for messages
 *     faults.c   which faults happen, drawn by the seed  trace.c   the hash, the timeline, the first failure
 *     world.c    what is outside: commands, origins      sim_*.c   its parts, twins of what is real there
 *     check.c    what must hold of every node            probe.c   an actor that a test speaks with
 *     sums.c     the sums of both ends of a connection   script.c  a fault script
 *     decisions.c  a store of decisions that nodes share
 *     rows.c     what a fault is to transactions: which row of their crash table
 *     run.c      a scenario from its start to its end
 *
 * S1  The same seed and options are the same run, whatever compiler built it: nothing here depends on addresses, the wall
 *     clock or the environment, nor on an order that C leaves open: one draw an expression.
 * S2  A class of faults draws from its own random streams only; when its faults happen depends on nothing else.
 * S3  Time never goes back; events of one moment happen in the order that was drawn.
 * S4  A node that crashed does nothing more: what its memory still runs to be released reaches nobody.
 * S5  In one direction of one connection bytes arrive once and in order, or not at all, and then nothing after them does. */
#ifndef TR_TESTS_KIT_SIM_H
#define TR_TESTS_KIT_SIM_H

#include <troupe/testkit.h>

#include "actors/loop.h"
#include "actors/tx/decision_store.h"
#include "base/buggify.h"
#include "base/random.h"
#include "base/seams.h"
#include "tests/kit/memory_log.h"
#include "tests/kit/sim/sim_events.h"
#include "transport/stream.h"

#define SIM_LOOPS_MAX  4
#define SIM_OWN_MAX    4                   /* more of them, of actors with threads of their own */
#define SIM_AGENTS_MAX (SIM_LOOPS_MAX + 1) /* that slowness is drawn of: with the control thread */

typedef struct sim_node sim_node;
typedef struct sim_played sim_played;

/* A loop, or the control thread, of a node. */
typedef struct sim_agent {
    sim_node *node;
    uint32_t index;
    bool asleep;                  /* it waits for `at`, or a wake */
    uint64_t at;                  /* when its turn comes, sim time; TR_FOREVER: not by itself */
    uint64_t token;               /* of the event that will turn it; older events are void */
    uint64_t slow_until, slow_ns; /* its turns are so far apart until then */
} sim_agent;

/* A node's own net: the table that its endpoint calls. */
typedef struct sim_net {
    tr__net net;
    sim_node *node;
} sim_net;

struct sim_node {
    tr_sim *sim;
    uint32_t index;
    char name[16];
    char listen[24];
    char join_text[TR_SIM_NODES_MAX][24];
    const char *join[TR_SIM_NODES_MAX + 1];
    const char *plugins[2];
    tr_node *node;  /* NULL: down */
    uint64_t life;  /* counts its starts */
    bool dead;      /* what runs is only to be released: S4 */
    bool shut_down; /* asked to stop, by tr_node_stop */
    bool stopping;  /* in order, at the end of the run: its fibers are asked to end */
    bool dying;     /* it crashes at the end of the turn under way */
    bool dying_of_power;
    bool down_by_power; /* nobody answers for it */
    bool turning;       /* a turn, or an upcall of the net, is under way */
    uint32_t
        crash_after; /* so many more calls of seams, and it dies in the middle of its turn; 0: it doesn't */
    uint64_t paused_until; /* 0: it runs */
    sim_agent agents[SIM_LOOPS_MAX + SIM_OWN_MAX];
    sim_agent control;
    uint32_t loops; /* that it has now, own threads among them */
    /* Its clock: local = local_base + (sim now - base) * (1 + ppm / 1,000,000). */
    uint64_t clock_base, clock_local;
    int64_t clock_ppm;
    int64_t wall_ahead_ms;
    sim_net net;
    memory_log disk;
    void (*disk_wake)(void *context);
    void *disk_wake_context;
    void (*disk_begin)(struct tr__log_store *store, const struct tr__log_batch *batch);
    bool (*snap_begin)(struct tr__snap_store *store, bool (*step)(void *context), void *context);
    uint64_t disk_slow_until;
    tr__decision_store decided_in; /* decisions.c */
    void (*decided_wake)(void *context);
    void *decided_wake_context;
    struct sim_ask *decided;     /* answers that it hasn't looked at */
    bool ended_itself;           /* its last life, for its log couldn't go on */
    bool slots_lost;             /* with the power, and not written again since */
    uint32_t flipped_segment;    /* of the log; 0: of the snapshot */
    size_t flipped_at;           /* a byte of it, while ... */
    uint8_t flipped, wrong;      /* ... these bits of it are wrong (0: none are), so that it is `wrong` */
    uint32_t spool_files;        /* open ones */
    uint64_t fail_allocation_in; /* the n-th one from now; 0: none */
    const char *at_point;        /* where it dies just now; NULL: anywhere */
    uint32_t row_torn;           /* bits: rows that it is if what was written is torn now */
    bool stays_down;             /* killed by hand: until it is started by hand */
};

typedef struct sim_event {
    uint64_t at, order;
    void (*fire)(void *context, uint64_t token); /* NULL: forgotten */
    void *context;
    uint64_t token;
} sim_event;

/* How often what happens: drawn by the seed, for all of the run. A mean time between two of a class; 0: never. */
typedef struct sim_rates {
    uint64_t every_ns[TR_SIM_FAULT_COUNT];
    uint32_t points_per_10000; /* how often a TR_BUGGIFY point is taken */
} sim_rates;

#define SIM_ASSERTIONS_MAX 256
#define SIM_TOGETHER       "together" /* nodes of a scenario of that name decide in a store that they share */

struct tr_sim {
    uint64_t number; /* of this process's simulations: what a scenario keeps in static memory is of one */
    tr_sim_opts opts;
    const tr_scenario *scenario;
    tr_scenario scenario_own; /* that of opts, which may be of an older minor version, and shorter */
    uint64_t now;
    sim_event *heap;
    uint32_t events, events_room;
    uint64_t order;
    tr__random random[TR_SIM_FAULT_COUNT]; /* what one is like; begun anew by each */
    tr__random when[TR_SIM_FAULT_COUNT];   /* when, and what begins the other: drawn for that only (S2) */
    uint64_t fault_at[TR_SIM_FAULT_COUNT]; /* the next one */
    tr__random schedule;                   /* turns: when, and what seeds the nodes */
    sim_rates rates;
    struct sim_kinds *kinds;  /* sim_kinds.h: processes, files and servers, for the shipped kinds */
    struct sim_thing *things; /* world.c: what a test put there */
    uint64_t points_passed[TR__POINT_COUNT], points_taken[TR__POINT_COUNT];
    bool faults_on;
    uint32_t node_count;
    sim_node nodes[TR_SIM_NODES_MAX];
    sim_node *current; /* whose code runs now; NULL: nobody's */
    void (*before_start)(
        sim_node *node); /* for a workload: it is down, and is started anew now; NULL: none */
    /* net.c */
    bool cut[TR_SIM_NODES_MAX][TR_SIM_NODES_MAX]; /* from, to */
    uint64_t cut_since[TR_SIM_NODES_MAX][TR_SIM_NODES_MAX];
    uint64_t cut_until[TR_SIM_NODES_MAX][TR_SIM_NODES_MAX]; /* the longest of those that overlap */
    tr__stream *streams;
    tr__listener *listeners;
    uint64_t connections;      /* so far */
    struct sim_end *half_sums; /* of connections of which one end is gone */
    /* trace.c */
    uint64_t hash;
    tr_sim_assertion assertions[SIM_ASSERTIONS_MAX];
    uint32_t assertion_count;
    uint64_t looked_at; /* when the invariants were */
    tr_sim_result result;
    struct tr_probe *probes;
    sim_played *scripts;
    /* run.c */
    bool check_done;
    tr_err check_err;
};

/* The one that runs in this process; NULL: none. */
extern tr_sim *sim_now_running;

/* Whether what runs now counts, for who keeps in static memory what all nodes do: a node runs, and hasn't crashed (S4). */
static inline bool sim_counts(void)
{
    return sim_now_running && sim_now_running->current && !sim_now_running->current->dead;
}

/* ---- events.c ------------------------------------------------------------------------------------------ */

static inline uint64_t sim_draw(tr_sim *sim, tr_sim_fault stream, uint64_t bound)
{
    return tr__random_below(&sim->random[stream], bound);
}
/* True once in `of` times. */
static inline bool sim_chance(tr_sim *sim, tr_sim_fault stream, uint64_t of)
{
    return of > 0 && sim_draw(sim, stream, of) == 0;
}
/* Exponential, with that mean, at most 21 times it; integers only (S1). */
uint64_t sim_draw_time(tr_sim *sim, tr_sim_fault stream, uint64_t mean_ns);
/* Have fire(context, token) called at that time. */
void sim_event_at(tr_sim *sim, uint64_t at, void (*fire)(void *context, uint64_t token), void *context,
                  uint64_t token);
/* No event of that context any more. */
void sim_event_forget(tr_sim *sim, void *context);
/* The next event; false: there is none before `until`, and now is `until`. */
bool sim_event_next(tr_sim *sim, uint64_t until);
void sim_events_fini(tr_sim *sim);

/* ---- nodes.c ------------------------------------------------------------------------------------------- */

void sim_nodes_init(tr_sim *sim);
tr_err sim_node_start(sim_node *node, tr_error *error);
/* It crashes: now, or when the turn under way is over. */
void sim_node_crash(sim_node *node, bool power);
/* By tr_node_stop, in phases, in its own time; then it is down. */
void sim_node_shut_down(sim_node *node);
/* At once, as when these phases are over: for the end of a run. */
void sim_node_stop(sim_node *node);
void sim_node_pause(sim_node *node, uint64_t until);
void sim_node_resume(sim_node *node);
/* A look at one that stands still, perhaps for ever: when the next. */
static inline uint64_t sim_when_it_goes_on(const sim_node *node)
{
    uint64_t soon = node->sim->now + TR_MILLIS(20);
    return node->paused_until < soon ? node->paused_until : soon;
}
void sim_agent_wake(sim_agent *agent, uint64_t at);
/* Its loops, then the control thread. */
sim_agent *sim_agent_at(sim_node *node, uint32_t index);
/* Around code that runs on behalf of a node (an upcall of the net, a timer of a kind). leave: it may have crashed. */
void sim_node_enter(sim_node *node);
void sim_node_leave(sim_node *node);
/* At each call of a seam: true if what it asks for is to be done; false: it crashed (S4). */
bool sim_node_seam(sim_node *node);
static inline bool sim_node_is_up(const sim_node *node)
{
    return node->node && !node->dead;
}
uint64_t sim_node_clock(const sim_node *node);
/* From now on it drifts by so much. */
void sim_node_drift(sim_node *node, int64_t ppm);

/* ---- net.c --------------------------------------------------------------------------------------------- */

void sim_net_init(sim_net *net, sim_node *node);
/* The process died: its side of every connection is closed by the system, or, without power, by nobody. */
void sim_net_node_died(sim_node *node, bool power);
/* What waited because it stood still, or was cut off, goes on. */
void sim_net_node_resumed(sim_node *node);
void sim_net_healed(tr_sim *sim, uint32_t from, uint32_t to);
/* Break connections of that pair: both sides hear of it, or only the first (half_open). False: there was none. */
bool sim_net_break(tr_sim *sim, uint32_t a, uint32_t b, bool half_open);
/* What is on its way from one to the other stands still until then. False: they have no connection. */
bool sim_net_clog(tr_sim *sim, uint32_t from, uint32_t to, uint64_t until);
/* No direction stands still any more. */
void sim_net_unclog(tr_sim *sim);
/* Any pair of nodes that is connected, drawn; false: none. */
bool sim_net_pick(tr_sim *sim, tr_sim_fault stream, uint32_t *a, uint32_t *b);
void sim_net_fini(tr_sim *sim);

/* ---- disk.c -------------------------------------------------------------------------------------------- */

void sim_disk_init(sim_node *node, uint64_t seed);
struct tr__decision_store *sim_decisions_open(void *node, const char *name, void (*wake)(void *context),
                                              void *wake_context, tr_error *error);
struct tr__log_store *sim_disk_open(void *node, const char *directory, const char *name,
                                    void (*wake)(void *context), void *wake_context, tr_error *error);
/* The logs' sizes: small, so that a run makes them grow. */
extern const struct tr__log_options sim_log_sizes;
/* It takes no more until then. */
void sim_disk_full(sim_node *node, uint64_t until);
/* After its process died. */
void sim_disk_node_died(sim_node *node, bool power);
/* Start it; now and then with a bit of its log flipped, which it may refuse, and is put back then. */
tr_err sim_disk_start_node(sim_node *node, tr_error *error);
void sim_disk_fini(sim_node *node);
/* Files for large messages (actors/remote/spool.h), on the same disk: sim_spool.c. */
extern const struct tr__spool_seam sim_spool_seam;

/* ---- world.c ------------------------------------------------------------------------------------------- */

void sim_world_init(tr_sim *sim, tr__random *seeds);
void sim_world_fini(tr_sim *sim);
/* How often each thing that can go wrong out there does. */
void sim_world_fails(tr_sim *sim, uint32_t per_million);
/* How often something has. */
uint64_t sim_world_failures(const tr_sim *sim);

/* ---- faults.c ------------------------------------------------------------------------------------------ */

void sim_faults_init(tr_sim *sim);
void sim_faults_end(tr_sim *sim);
/* Whether a node dies where transactions have come to just now; how is set. */
bool sim_dies_at_point(sim_node *node);
/* Before a step of its log's disk; true: it is down. */
bool sim_loses_power_writing(sim_node *node);
/* Counted, traced. */
void sim_fault_happened(tr_sim *sim, tr_sim_fault fault, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- trace.c ------------------------------------------------------------------------------------------- */

void sim_hash(tr_sim *sim, uint64_t word);
void sim_hash_text(tr_sim *sim, const char *text);
/* A line of the timeline, hashed too; node NULL: of the world. */
void sim_trace(tr_sim *sim, const sim_node *node, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A turn of a loop, or of the control thread. */
void sim_trace_turn(const sim_agent *agent);
/* The seam: an actor handles a message. */
void sim_trace_message(void *node, tr__loop *loop, tr_actor *actor, const tr_msg *msg);
void sim_trace_log(void *node, tr_log_level level, const char *line);
/* The seam: an always or a sometimes. */
void sim_trace_assertion(void *node, uint32_t kind, bool holds, const char *name);
/* A tr_sometimes of the simulator's own. */
void sim_reaches(tr_sim *sim, bool holds, const char *name);

/* ---- rows.c -------------------------------------------------------------------------------------------- */

/* At the moment of its death, in the middle of a turn or between two. */
void sim_rows_node_dies(sim_node *node);
/* In order. */
void sim_rows_node_ends(sim_node *node);
/* Has its disk lose the power. */
void sim_rows_power_cut(sim_node *node);
void sim_rows_all_lose_power(tr_sim *sim);
/* Some were just cut off. */
void sim_rows_partition(tr_sim *sim);

/* ---- run.c --------------------------------------------------------------------------------------------- */

/* It is down: start it after that time, unless it stays down. */
void sim_restart_in(sim_node *node, uint64_t delay_ns);

/* ---- script.c ------------------------------------------------------------------------------------------ */

void sim_scripts_fini(tr_sim *sim);

/* ---- probe.c ------------------------------------------------------------------------------------------- */

void sim_probes_fini(tr_sim *sim);

/* ---- check.c ------------------------------------------------------------------------------------------- */

/* A node that has been stopped in order: nothing is queued or kept, and its sums add up. */
void sim_check_stopped(sim_node *node);
/* All that run, now and then: bounds, places, sums. */
void sim_check_running(tr_sim *sim);
/* All are up, connected, and have nothing to do: nothing is queued or on its way, all places are free, and both ends of
 * every connection have counted the same. For a scenario that knows that it is at rest. */
void sim_check_at_rest(tr_sim *sim);
/* Of a node that is up: its actors, those of the runtime included; its asks and timers, without the ticks of its
 * own actors. */
uint32_t sim_count_actors(const sim_node *node);
uint32_t sim_count_pendings(const sim_node *node);

/* ---- sums.c -------------------------------------------------------------------------------------------- */

/* Of all connections that are up, at rest. */
void sim_check_connections(tr_sim *sim);

#endif
