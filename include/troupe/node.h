/* Nodes, for programs that run one by hand (tr_main does it for the others). Not for plugins. */
#ifndef TROUPE_NODE_H
#define TROUPE_NODE_H

#include <stdio.h>

#include <troupe/actor.h>

/* What actors of one peer, a node that has proven that it has the key, may do here (docs/security.md). */
typedef enum tr_may {
    TR_MAY_SEND =
        1, /* to any address: messages, asks, monitors. Without it only to actors with a name of `names` */
    TR_MAY_LINK = 2, /* link themselves to those that they may send to, which ends who doesn't trap exits */
    TR_MAY_STOP = 4, /* tr_stop, of those */
    TR_MAY_TRANSACT = 8,   /* begin transactions with participants here, and list them */
    TR_MAY_SUBSCRIBE = 16, /* to topics that they may send to */
    TR_MAY_ALL = 31,
} tr_may;

typedef struct tr_rights {
    const char *peer; /* a node's name; NULL: every node that has no entry of its own */
    uint32_t may;     /* of tr_may */
    /* Names that may be looked up; '*' stands for any characters. Ends with NULL; NULL: none. */
    const char *const *names;
    /* What of that which is offered (tr_offer) may be spawned, in the same way; and how many at a time, 0 = 100, at most
     * 3,000 of all peers. */
    const char *const *spawn;
    uint32_t spawn_max;
    /* Bytes a second, and at once, that are taken from it; beyond that it waits, and nothing is lost. 0: as many as come.
     * The burst is at least what a connection has under way anyway, 1 MiB a lane. */
    uint64_t rate, burst;
} tr_rights;

typedef struct tr_node_opts {
    const char *name;        /* NULL: "node" */
    const char *cluster;     /* nodes of other clusters are refused; NULL: "troupe" */
    uint32_t loops;          /* 0 = 1 */
    const char *listen;      /* "127.0.0.1:0"; NULL: doesn't listen; beyond loopback only with a key */
    const char *const *join; /* addresses to connect to and stay connected to; ends with NULL; NULL: none */
    tr_log_level log_level;
    /* Each log line, without its newline, from any thread; NULL: stderr. */
    void (*log)(void *context, tr_log_level level, const char *line);
    void *log_context;
    /* The first actor; the node stops when it returns. NULL: it runs until tr_node_stop. */
    tr_err (*start)(tr_actor *self, void *arg);
    void *arg;
    /* Plugins (.so files) that run when `start` begins, in this order, as by tr_plugin_start; one that can't
     * be loaded or started stops the node with that error. Ends with NULL; NULL: none. Must live as long as the
     * node. */
    const char *const *plugins;
    /* The directory of its transaction log, NAME.txlog and what stands beside it: made, for its owner only, if it is
     * missing. What actors with `transact` keep is in there, for the node of that name. NULL: it keeps no log, and runs
     * no such actors. */
    const char *data;
    /* A key file (`troupe key new FILE`): connections are made only with nodes that have the same key, and are
     * encrypted. Read by tr_node_create, and again when `troupe key reload` says so: must live as long as the node.
     * NULL: none. */
    const char *key;
    /* Listen on the operator socket of this node's name (docs/operator.md), for `troupe ps` and the like. If that can't be
     * had (another node of that name has it, say) the log warns, and the node runs without. */
    bool operator_socket;
    /* Where a fault that ends the process (SIGSEGV and the like) leaves a report (docs/debugging.md): a directory that is
     * there. Handlers of these signals are set, and what was to be done follows. NULL: none. */
    const char *crash_dir;
    /* An actor that holds its loop for that long is named in the log, with its stack, at level warn: again at twice, four
     * times that, and when it gave way. Looked at every 10 ms (100 without it and
     * budgets). 0: 50 ms; TR_FOREVER: never. */
    uint64_t watchdog_ns;
    /* One that holds its loop for that long is told to stop: its next call that sends, asks, spawns or sets a
     * timer fails with TR_EKILLED (a fiber's waits then as well), and it ends with TR_EXIT_OVERRUN when its handler
     * returns. One that makes no such call is only named. A definition may say otherwise. 0: never. */
    uint64_t overrun_ns;
    /* Bytes that large messages (beyond 4 KiB) and counted buffers may hold on this node; beyond them a send of one more
     * says TR_EFULL, but for one a mailbox (docs/mailboxes.md). 0: a quarter of the machine's memory, or of what its control
     * group may use. */
    uint64_t message_budget;
    /* Bytes of one message from another node (as it is encoded: some more than what it carries), from 1 MiB to 2 GiB: a send
     * there of a larger one says TR_ETOOBIG. Up to so many bytes of each connected node can wait here to become a message,
     * but for what is spooled. 0: 64 MiB. */
    uint64_t message_max;
    /* The directory of the files in which large buffers of messages from other nodes come (tr_actor_def.spool_above); it must
     * be there, and live as long as the node. A file has mode 0600 and no name, so none is left whatever happens. NULL:
     * "/var/tmp". */
    const char *spool;
    /* Bytes that these files may hold at a time; there are at most 256. Beyond them a message that needs one is refused
     * (TR_ENOSPC). 0: 4 GiB. */
    uint64_t spool_max;
    /* How long it may take to stop in order; what hasn't ended by then is killed, and named in the log. 0 = 10 s. */
    uint64_t stop_timeout_ns;
    /* For a process that is one node: a handler that still holds its loop a second after the node should have stopped ends
     * the process, with status 70. The log names it, with its stack, and so does the crash report. tr_main sets it.
     * Without it such a handler keeps the node from ending. */
    bool exit_if_stuck;
    /* How often it says something to each peer, at least, and how long one may say nothing to it: docs/connections.md. A
     * peer that is silent for silence_ns is down, and before that when so long a pause of it is so unlikely: one of
     * 10^phi pauses. 0: 500 ms, 5 s, 8. Anything else: 10 ms to 60 s; four heartbeats to 1 h; 1 to 16. */
    uint64_t heartbeat_ns, silence_ns;
    uint32_t phi;
    /* Where others reach it, told to them; needed where that isn't what it listens on (0.0.0.0, a translated address). NULL:
     * what it listens on. */
    const char *advertise;
    /* Tell peers the addresses of each other, and connect to those that peers tell of, as to those of `join`, but for ten
     * minutes only if nobody is met there. Peers must have it set as well. Without a key, loopback only. */
    bool learn;
    /* What peers may do; must live as long as the node. A peer for which there is no entry may do nothing. NULL: each may do
     * all but spawn, on any name. Or as a file, which tr_node_create reads (docs/security.md). NULL: none. */
    const tr_rights *rights;
    uint32_t rights_count;
    const char *allow;
    /* For how long after a transaction began its outcome is kept, if this node decided it, for who asks by its ticket
     * (docs/transactions.md). 0: 24 h; else an hour at least. */
    uint64_t outcomes_ns;
} tr_node_opts;

/* Why messages were dropped: the address names no living actor; its actor ended before it handled them; no place in the
 * mailbox (from another node, where the sender can't be told); the mailbox drops its oldest, or its newest, when it is
 * full; their time to live was over; an ask was cancelled while queued; an answer came when nobody waited any more; the
 * connection was down; the type isn't known here; it couldn't be decoded; no memory; the node stopped; the node that
 * it came from has no right to it (tr_rights); it is larger than its receiver takes; its receiver's node had no room in files
 * for it (tr_actor_def.spool_above), or couldn't write them.
 *
 * The sums of one node at rest: accepted + arrived + received == handled + dropped + queued + passed + sent, and over all
 * loops arrived == passed + posted. Counted per loop; this is their total. */
#define TR_DROPS(X)                   \
    X(NO_ACTOR, "no-actor")           \
    X(LEFT, "left-at-exit")           \
    X(FULL, "full")                   \
    X(OLDEST, "dropped-oldest")       \
    X(NEWEST, "dropped-newest")       \
    X(EXPIRED, "expired")             \
    X(CANCELED, "canceled")           \
    X(LATE_REPLY, "late-reply")       \
    X(NO_CONNECTION, "no-connection") \
    X(UNKNOWN_TYPE, "unknown-type")   \
    X(MALFORMED, "malformed")         \
    X(NO_MEMORY, "no-memory")         \
    X(SHUTDOWN, "shutdown")           \
    X(REFUSED, "refused")             \
    X(TOO_BIG, "too-big")             \
    X(SPOOL, "spool")
#define TR__ENUM(name, word) TR_DROP_##name,
typedef enum tr_drop { TR_DROPS(TR__ENUM) TR_DROP_COUNT } tr_drop;
#undef TR__ENUM

typedef struct tr_sums {
    uint64_t accepted; /* sends that returned TR_OK, and the runtime's own messages */
    uint64_t arrived;  /* from other loops and foreign threads */
    uint64_t handled;
    uint64_t dropped[TR_DROP_COUNT];
    uint64_t queued;   /* in the mailboxes */
    uint64_t passed;   /* to other loops */
    uint64_t posted;   /* by foreign threads */
    uint64_t sent;     /* to other nodes: encoded into a connection */
    uint64_t received; /* from other nodes */
    uint64_t lost;     /* sent, but not known to have arrived when its connection broke */
    /* Not of the sums: */
    uint64_t stuck;    /* how often an actor held its loop for tr_node_opts.watchdog_ns */
    uint64_t overruns; /* actors that ended with TR_EXIT_OVERRUN */
    uint64_t
        names_refused; /* that other nodes claimed in the cluster, more than 1,024 a node, or names that are none */
} tr_sums;

/* A node, not yet running. NULL with *error filled: TR_EINVAL, TR_EADDR, TR_EADDRINUSE, TR_EPERM (a listen
 * address that isn't loopback, without a key; a key file that others can read), TR_ENOTFOUND (no key file, no such
 * directory, no file of rights; what is wrong in that is TR_EINVAL, with its line), TR_ENOMEM; of its log, if it keeps one: TR_EADDRINUSE (another node has it), TR_EMISMATCH (damaged),
 * TR_EVERSION, TR_ENOSPC, TR_EIO. It listens when this returns; what its transactions left in doubt is locked by then. */
tr_node *tr_node_create(const tr_node_opts *opts, tr_error *error);
/* Run it on the calling thread (loop 0) and threads of its own until it stops: TR_OK, or what `start`
 * returned, with the text in *error (which may be NULL). */
tr_err tr_node_run(tr_node *node, tr_error *error);
/* The like in a program's own main loop, instead of tr_node_run: start, then a step whenever tr_node_fd is readable, until it
 * gives false, then finish; all four by one thread, which is loop 0's. What takes the program long keeps that loop's actors
 * waiting, but neither the other loops nor the connections.
 *
 * Start the other threads. TR_EAGAIN: none to be had; then only destroy it. */
tr_err tr_node_start(tr_node *node, tr_error *error);
/* To be polled for reading (poll, epoll, select, another event loop): it is readable when a step has something to do, timers
 * too. Level-triggered; owned by the node. */
int tr_node_fd(const tr_node *node);
/* Do what is to be done, for some 100 us and the longest handler; if there is nothing, wait for it for at most timeout_ns (0,
 * TR_FOREVER). False: the node stops, by tr_node_stop or since `start` returned. */
bool tr_node_step(tr_node *node, uint64_t timeout_ns);
/* Stop it, in order, and wait for its threads: what tr_node_run returns. At any time after tr_node_start. A post that meets it
 * is refused, or was accepted and is counted: handled, or a dead letter. */
tr_err tr_node_finish(tr_node *node, tr_error *error);
/* Ask it to stop, in order (docs/supervision.md): first what has no name and no supervisor, then supervisors and actors
 * with a name, the last one started first, then `start`; what is left after stop_timeout_ns is killed. Connections live
 * until then, and say goodbye. Posts are refused from now on. Any thread, also a signal handler. */
void tr_node_stop(tr_node *node);
/* The same, without waiting for anything; also when it stops already. */
void tr_node_stop_now(tr_node *node);
/* After tr_node_run, or instead of it. NULL is fine. */
void tr_node_destroy(tr_node *node);
/* "127.0.0.1:40123" as it listens, "" if it doesn't. Lives as long as the node. */
const char *tr_node_listen(const tr_node *node);
/* The node's incarnation: what tr_addr.node is in its actors' addresses. */
uint64_t tr_node_id(const tr_node *node);
/* For an actor with `run`: load a plugin into this process and start its actors, supervised (plugin.h says which
 * and how they are named); returns when the init of each has succeeded. An error names the file and says what
 * to do: TR_ENOTFOUND, TR_EPERM (others can write to the file or its directory), TR_EVERSION (built for another
 * ABI), TR_EINVAL (no plugin, or a broken one), TR_EEXIST (its name is taken), or that of an init. Later, a
 * plugin whose actors end more than 5 times in 10 s stops the node with an error. */
tr_err tr_plugin_start(tr_actor *self, const char *file);
/* The sums; call after tr_node_run, or within an actor for a snapshot that need not add up. */
void tr_node_sums(const tr_node *node, tr_sums *sums);

#endif
