/* A node: its loops, its directory of slots, its names. What its parts share; each field says who may touch
 * it. */
#ifndef TR_ACTORS_NODE_H
#define TR_ACTORS_NODE_H

#include <stdatomic.h>

#include <troupe/node.h>

#include "actors/actor.h"
#include "base/seams.h"
#include "base/spin.h"

#define TR__DEAD_LETTER_WATCHERS 8

struct tr__remote;
struct tr__transactions;

#define TR__LOOPS_MAX 64
/* How far loop 0 has come with stopping the node (shutdown.h). */
typedef struct tr__shutdown {
    uint64_t due_ns;   /* when it has to be over */
    _Atomic bool late; /* it wasn't by then */
    bool first_asked;
    tr_addr *roots; /* what is stopped one after another; NULL: not yet, or no more */
    size_t root_count, root_next;
    tr_addr root;         /* which of them is awaited */
    uint64_t root_due_ns; /* until when */
} tr__shutdown;

struct tr_node {
    /* Fixed once it runs */
    uint64_t id; /* the random incarnation: what addresses carry */
    char name[TR_NAME_MAX];
    char cluster[TR_NAME_MAX];
    tr__seams seams;
    uint32_t loop_count; /* those that actors are spread over; loops of own threads come behind them */
    tr__loop *loops[TR__LOOPS_MAX];
    tr_node_opts opts;
    const struct tr__keys *keys; /* what opts.key holds; until tr__node_begin has returned */
    void (*log)(void *context, tr_log_level level, const char *line);
    void *log_context;
    tr_log_level log_level;
    struct tr__driver_uv *driver;    /* NULL under a test driver */
    struct tr__operators *operators; /* who answers from outside (operator.h); NULL: nobody asks */
    bool ran;
    tr_addr first;                         /* the actor of opts.start */
    tr_addr warden;                        /* the node's own actor, slot 0: names, node events */
    struct tr__transactions *transactions; /* actors/transactions.h; the manager has slot 1 */
    tr_addr confirmer;                     /* actors/remote/confirmed.h; slot 2 */

    /* Any thread: segments are appended only */
    _Atomic(tr_actor *) segments[TR__SEGMENTS_MAX];
    _Atomic uint32_t segment_count;
    _Atomic uint32_t loops_all; /* with those of own threads: never fewer */
    _Atomic bool stop_asked, stop_at_once;
    _Atomic uint8_t stop_phase; /* tr__stop_phase (shutdown.h); loop 0 sets it */
    _Atomic uint64_t dead_letter_watchers[TR__DEAD_LETTER_WATCHERS]; /* generation and slot, 0: none */
    _Atomic uint32_t dead_letter_watcher_count;
    _Atomic bool expiring; /* some message had a time to live: full mailboxes are swept */
    _Atomic uint64_t posted;
    _Atomic uint64_t unconfirmed;           /* bytes of messages that wait to be confirmed (confirmed.h) */
    _Atomic uint32_t posting;               /* calls of tr_post that go on */
    _Atomic uint64_t stuck, claims_refused, /* names that peers claimed and that weren't taken (claims.h) */
        overruns;                /* actors that the watchdog named, and that were told to stop and heard it */
    _Atomic bool budgeted;       /* some definition that was spawned has an overrun_ns of its own */
    struct tr__buffers *buffers; /* the account of counted buffers (mailbox/buffer.h) */

    /* Under the lock */
    tr__spin names_lock;
    struct tr__name *names;
    struct tr__root *roots; /* supervisors, the newest first */
    uint64_t names_order;
    _Atomic uint32_t names_given; /* read by any thread */
    struct tr__offer *offers;     /* what other nodes may spawn (spawn_at.h), the newest first */

    /* Loop 0 */
    struct tr__remote *remote; /* connections to other nodes; NULL: none */
    tr_err outcome;            /* of opts.start */
    tr_error outcome_error;
    tr__shutdown shutdown;
};

static inline uint32_t tr__loops_all(const tr_node *node)
{
    return atomic_load_explicit(&((tr_node *)node)->loops_all, memory_order_acquire);
}

/* The slot of an address on this node; NULL if no such slot was ever made. Any thread. */
static inline tr_actor *tr__slot(const tr_node *node, uint32_t index)
{
    uint32_t segment = index >> TR__SEGMENT_BITS;
    if (segment >= TR__SEGMENTS_MAX)
        return NULL;
    tr_actor *base = atomic_load_explicit(&((tr_node *)node)->segments[segment], memory_order_acquire);
    return base ? base + (index & (TR__SEGMENT_SLOTS - 1)) : NULL;
}

/* Everything but connections and drivers. NULL: see *error. */
tr_node *tr__node_make(const tr_node_opts *opts, const tr__seams *seams, tr_error *error);
void tr__node_unmake(tr_node *node);
/* Spawn the warden, open the transactions, connect and, if there is one, the first actor; on loop 0 before its first turn. */
tr_err tr__node_begin(tr_node *node, tr_error *error);
/* A line for the log, if its level is wanted. Any thread. */
void tr__node_log(tr_node *node, tr_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For tests and demonstrations: raise that signal (SIGSTOP, SIGKILL) in this process when transactions come to that point
 * the next time, a word of TR__TX_POINTS (actors/tx/core.h). A node that libuv drives; any thread, once. */
void tr__node_raise_at(tr_node *node, const char *point, int number);

/* After the stop was asked for, by a loop that has seen that: no tr_post goes on that would still hand on a message or wake a
 * loop (send.c). False: look again soon. */
bool tr__posts_over(tr_node *node);

/* ---- names (names.c): any thread ----------------------------------------------------------------------- */

/* `root`: no supervisor looks after it (roots.h). */
tr_err tr__name_put(tr_node *node, const char *name, tr_addr address, bool root, tr_error *error);
tr_addr tr__name_get(tr_node *node, const char *name);
/* The nth name that address was given, from 0; false: it has no more. A walk over all names. */
bool tr__name_nth(tr_node *node, tr_addr address, uint32_t nth, char name[TR_NAME_MAX]);
static inline bool tr__name_of(tr_node *node, tr_addr address, char name[TR_NAME_MAX])
{
    return tr__name_nth(node, address, 0, name);
}
/* How many names have been given so far. */
static inline uint32_t tr__names_given(const tr_node *node)
{
    return atomic_load_explicit(&((tr_node *)node)->names_given, memory_order_relaxed);
}
/* Every name of that address; at its end. */
void tr__names_drop(tr_node *node, tr_addr address);
void tr__names_fini(tr_node *node);
typedef struct tr__named {
    char name[TR_NAME_MAX];
    tr_addr address;
} tr__named;
/* A copy of the table, at most `room` of it, in order of slots; how many. */
size_t tr__names_copy(tr_node *node, tr__named *into, size_t room);

#endif
