/* The seams: what the core asks of the world. One set is libuv and the OS; another is a test's manual clock, and later
 * the simulator. The core itself calls no clock, no random source, no thread function. */
#ifndef TR_BASE_SEAMS_H
#define TR_BASE_SEAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <troupe/err.h>

struct tr__fd_seam;
struct tr__file_seam;
struct tr__http_seam;
struct tr__net;
struct tr__process_seam;
struct tr__sp_seam;
struct tr__spool_seam;
struct tr__tcp_seam;
struct tr__workers_seam;
struct tr__log_store;
struct tr__decision_store;
struct tr_error;
struct tr__loop;
struct tr_actor;
struct tr_msg;

/* What the shipped kinds (actors/kinds) do in the world, each a table of functions. NULL: the node has none, and an
 * actor that needs it refuses to start. */
typedef struct tr__kind_seams {
    const struct tr__process_seam *process; /* actors/kinds/process.h */
    const struct tr__workers_seam *workers; /* worker_pool.h */
    const struct tr__http_seam *http;       /* http_source.h */
    const struct tr__file_seam *files;      /* file_sink.h */
    const struct tr__tcp_seam *tcp;         /* tcp.h */
    const struct tr__fd_seam *fds;          /* actors/driver/fd_watch.h */
    const struct tr__sp_seam *sp;           /* sp.h */
    void *context; /* the tables' own, which they find through the loop they are given */
} tr__kind_seams;

typedef struct tr__seams {
    /* Monotonic time in ns. Called by any loop's thread. */
    uint64_t (*now)(void *context);
    /* The like, of some milliseconds ago at most, and cheap: it stands still and then jumps. */
    uint64_t (*now_coarse)(void *context);
    /* Who makes a loop for an actor with a thread of its own has it alone, from `take` on until it isn't: others sleep, for
     * making a thread takes long. Any loop's thread. NULL: all loops share one thread. */
    void (*lock_threads)(void *context, bool take);
    /* A loop was added for an actor with a thread of its own: have it turn, on a thread, until the node stops. By any loop's
     * thread, under that lock. TR_EAGAIN: no thread to be had. */
    tr_err (*start_loop)(void *context, unsigned index, struct tr_error *error);
    /* Make loop `index` turn soon; called by any thread, when that loop said it sleeps. */
    void (*wake)(void *context, unsigned index);
    /* Make the control thread step the connections soon; any thread. Only for a node that has `net`. */
    void (*wake_control)(void *context);
    void *context;
    /* What carries connections (transport/stream.h); NULL: nodes that listen or join can't be made. */
    struct tr__net *net;
    /* Milliseconds since 1970; any loop's thread. */
    uint64_t (*wall_ms)(void *context);
    /* The store (actors/tx/log_store.h) of a node's transaction log, in that directory; it calls wake(wake_context)
     * from a thread of its own when a batch is over. NULL with *error. At the node's start. */
    struct tr__log_store *(*open_log)(void *context, const char *directory, const char *node,
                                      void (*wake)(void *context), void *wake_context,
                                      struct tr_error *error);
    /* Where such a node's transactions are decided (actors/tx/decision_store.h), all nodes of a cluster in one; it calls
     * wake(wake_context) when answers are there. Any thread may. NULL with error->code TR_OK, or no such function: each in its
     * log. At the node's start. */
    struct tr__decision_store *(*open_decisions)(void *context, const char *node, void (*wake)(void *context),
                                                 void *wake_context, struct tr_error *error);
    /* Sizes of that log (actors/tx/log.h), borrowed; NULL: its defaults. */
    const struct tr__log_options *log_options;
    /* Transactions have come to the point of that name, where a test may end the process; loop 0. NULL: nothing. */
    void (*point)(void *context, const char *name);
    /* What is on the disk is unknown: the process must end, to recover at its next start. May return in a test. */
    void (*fatal)(void *context);
    /* An actor is about to handle a message; its loop's thread. Asked only by a build with TR_BUGGIFY_POINTS. NULL: nothing. */
    void (*handled)(void *context, struct tr__loop *loop, struct tr_actor *actor, const struct tr_msg *msg);
    /* An actor said tr_always or tr_sometimes (a tr_assertion); its loop's thread. NULL: one that doesn't hold is logged. */
    void (*assertion)(void *context, uint32_t kind, bool holds, const char *name);
    /* For the node's incarnation and the loops' random sources; a real one is from the OS. */
    uint64_t seed;
    /* Unpredictable bytes, for what must stay secret; the control thread. Only for a node with a key. */
    void (*secret)(void *context, void *bytes, size_t length);
    /* Files for large buffers of messages from other nodes (actors/remote/spool.h). NULL: they stay in memory. */
    const struct tr__spool_seam *spool;
    tr__kind_seams kinds;
} tr__seams;

#endif
