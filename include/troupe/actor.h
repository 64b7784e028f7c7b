/* Actors: how one is declared, how it ends, and what it hears from the runtime. */
#ifndef TROUPE_ACTOR_H
#define TROUPE_ACTOR_H

#include <stdint.h>

#include <troupe/err.h>
#include <troupe/message.h>

typedef struct tr_actor tr_actor; /* the running actor: `self`; never another one */
typedef struct tr_node tr_node;
/* A participant's view of its state, within one `transact` call: what is committed, with what this transaction wrote on
 * top. (troupe/tx.h) */
typedef struct tr_txview tr_txview;

/* Durations and times are nanoseconds. */
#define TR_MICROS(n)  ((uint64_t)(n)*1000u)
#define TR_MILLIS(n)  ((uint64_t)(n)*1000000u)
#define TR_SECONDS(n) ((uint64_t)(n)*1000000000u)
#define TR_MINUTES(n) ((uint64_t)(n)*60000000000u)
#define TR_FOREVER    UINT64_MAX
/* As an ask's time: at most that, and at most what is left of the ask that this actor handles (a fiber: of the one it
 * received last), unless it has answered that. TR_INHERIT: only the latter; without a limit if there is none. */
#define TR_WITHIN(ns) ((uint64_t)(ns) >> 62 ? TR_INHERIT : (uint64_t)(ns) | 1ull << 63)
#define TR_INHERIT    (UINT64_MAX - 1)

#define TR_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define TR_NAME_MAX 64 /* bytes of an actor's or a node's name, with the NUL */

/* What becomes of a message that finds its receiver's mailbox full (docs/mailboxes.md). Nothing of this is for what comes
 * in reserved space: answers, exits, downs, notices, cancels. */
typedef enum tr_overflow {
    TR_OVERFLOW_DEFAULT, /* of a definition: refuse; of a spawn: as its definition says */
    TR_OVERFLOW_REFUSE,  /* the send fails with TR_EFULL */
    TR_OVERFLOW_DROP_OLDEST, /* the oldest messages in the mailbox make place; an ask among them fails with TR_EFULL. The
                              * send fails only when a mailbox full is under way to it from other loops */
    TR_OVERFLOW_DROP_NEWEST, /* the message is dropped and the send says TR_OK; an ask fails with TR_EFULL */
    TR_OVERFLOW_WAIT, /* a fiber that sends waits for places; who can't wait (a receive actor, a foreign thread,
                              * another node, the receiver itself) is refused as above */
} tr_overflow;

typedef void (*tr_receive_fn)(tr_actor *self, void *state, const tr_msg *msg);

/* An actor's definition: constant data, usually made by TR_ACTOR. Either `receive` (called for each message)
 * or `run` (a fiber: straight-line code that may await). */
typedef struct tr_actor_def {
    const char *name;  /* the kind's, for people */
    size_t state_size; /* zeroed before init; released after stop */
    /* Before the first message. An error ends the actor with that error as its reason. */
    tr_err (*init)(tr_actor *self, void *state, const void *arg);
    /* For each message; `msg` is borrowed for the call. */
    tr_receive_fn receive;
    /* A fiber's body. `arg` as given to tr_spawn (a fiber with state_size gets it by tr_state). What it
     * returns is its exit reason. */
    tr_err (*run)(tr_actor *self, void *arg);
    /* At its end, before `stop`, for each message and ask that is left in its mailbox, in order, if init succeeded; borrowed
     * for the call. An ask that it doesn't answer fails at its asker at once. Without it they are dead letters. */
    tr_receive_fn left;
    /* Last call, whatever the reason, if init succeeded; release what tr_ calls did not give you. */
    void (*stop)(tr_actor *self, void *state);
    /* With it, the spawn's argument is a struct of this message type and is copied, strings and all; without
     * it the pointer itself is passed on, and what it points to must live until init (a fiber: until it is
     * done). */
    tr_type *arg_type;
    uint32_t mailbox_places; /* 0 = 1,024; at most 65,535; a message takes one a started KiB */
    tr_overflow overflow;    /* when there is no place left */
    uint32_t stack_size;     /* a fiber's, bytes; 0 = 64 KiB */
    /* Of what `transact` keeps: the version in which this code reads and writes it, 1 and up; 0: none was ever given. What is there
     * of a lower one goes through `migrate` before init; with a higher one the actor isn't started (TR_EVERSION). */
    uint32_t state_version;
    /* For each call of a transaction (troupe/tx.h); not with `run`. `msg` and `v` are borrowed for the call; the state
     * that counts is what `v` reaches. An error aborts the transaction; tr_refuse gives it a text. Such an actor is
     * spawned under a name, on a node that keeps a log. It may have no `receive`: plain messages are then dropped, and
     * asks refused. */
    tr_err (*transact)(tr_txview *v, void *state, const tr_msg *msg);
    /* Its code blocks (reads, waits for a lock, calls what does): each actor of it gets a thread of its own, wherever it
     * is spawned, as by TR_PLACE_OWN_THREAD. */
    bool own_thread;
    /* Bytes that such an actor may have at a time by way of the API: its state, blocks of tr_alloc (32 bytes more each), messages
     * it keeps (tr_msg_take), futures, timers, watched descriptors and streams that it answers (128 bytes each). A call beyond that fails with
     * TR_ENOMEM, and the actor ends with TR_EXIT_OUT_OF_MEMORY when its handler returns (a fiber: its waits fail from then on).
     * Its mailbox has bounds of its own; counted buffers are the node's. 0: no bound. */
    size_t memory_max;
    uint64_t overrun_ns; /* as tr_node_opts.overrun_ns, for these; 0: as the node says; TR_FOREVER: never */
    /* Bytes of one message or ask to such an actor, as it is encoded between nodes, its buffers among them: a send of a
     * larger one fails with TR_ETOOBIG; from another node an ask fails with that, and a message is a dead letter ("too-big")
     * of its sender's node. 0: no bound but the node's; less than 128 KiB counts as that. */
    size_t message_max;
    /* A field of the kind buffer, of more bytes than that, of a message, ask or answer that comes from another node, comes
     * in a file instead of memory: the handler reads it as any buffer, or by tr_buffer_fd. The file has no name, and is
     * gone with the buffer. Not those in lists or nested structs; at most 4 a message. 0: never; less than 128 KiB counts as
     * that. (tr_node_opts.spool, docs/large-messages.md) */
    size_t spool_above;
    /* With a state_version: makes the state of version `from` one of from + 1, by `v`, in which it may read and write all keys
     * (tr_view_each). Called for each version between, in one transaction, on the actor's loop, while nobody else can have the
     * state; it may be called again if the node dies meanwhile, with the old state. It doesn't wait, and what it does elsewhere isn't
     * undone. An error, or a failed call of `v`, and the actor isn't started; the state stays as it was. */
    tr_err (*migrate)(tr_txview *v, uint32_t from);
} tr_actor_def;

#define TR_ACTOR(def_, ...) static const tr_actor_def def_ = {.name = #def_, __VA_ARGS__}

/* Where a new actor lives. */
typedef enum tr_place {
    TR_PLACE_DEFAULT, /* the spawner's loop; some elsewhere while that has no rest and others have; of a spawner with a thread
                         of its own, and supervisors' children: spread */
    TR_PLACE_HERE,
    TR_PLACE_SPREAD,       /* the loops in turn */
    TR_PLACE_LOOP,         /* the loop given in `loop` */
    TR_PLACE_LEAST_LOADED, /* of the loops with the least to do, by the last 5 ms, one in turn */
    TR_PLACE_OWN_THREAD, /* a thread that is its alone, so its code may block; kept for the next such actor at its end.
                              At most 64 a node, its loops among them: TR_EFULL */
} tr_place;

typedef struct tr_spawn_opts {
    tr_place place;
    uint32_t loop;
    uint32_t mailbox_places; /* 0 = as the definition says */
    tr_overflow overflow;    /* the like */
    const char *name;        /* registered before the address is returned; NULL: none */
    bool link;               /* link the spawner to it at once */
    uint64_t *monitor;       /* monitor it at once; where the monitor's number goes */
} tr_spawn_opts;

/* What is made with tr_spawn_at, in one step: there is no moment in which the new actor's end would go unnoticed. */
typedef struct tr_spawn_at_opts {
    bool link;         /* it and the spawner are linked; it ends too when the spawner gives the future up */
    uint64_t *monitor; /* where the monitor's number goes; none fires if the spawn fails */
} tr_spawn_at_opts;

/* How a message is sent (tr_send_with). */
typedef struct tr_send_opts {
    uint64_t ttl_ns;  /* not handled later than so long from now, but dropped as expired; 0: no limit */
    uint64_t wait_ns; /* for a place in a mailbox with TR_OVERFLOW_WAIT; 0: as long as it takes */
} tr_send_opts;

/* Why an actor ended. */
typedef enum tr_exit_kind {
    TR_EXIT_NORMAL,
    TR_EXIT_SHUTDOWN, /* asked to stop */
    TR_EXIT_KILLED,
    TR_EXIT_ERROR,         /* its own error: code and text */
    TR_EXIT_CRASHED,       /* a signal, in a child process */
    TR_EXIT_NO_CONNECTION, /* the node it lives on can't be reached: an opinion */
    TR_EXIT_OVERRUN,
    TR_EXIT_OUT_OF_MEMORY,
    TR_EXIT_NO_ACTOR, /* it was gone before the monitor or link was made */
} tr_exit_kind;

/* An ask's answer to come. A value; stale ones are refused, never mistaken. Settled once with a message or an
 * error; consumed by the first of await, result, then's callback, cancel. */
typedef struct tr_future {
    uint64_t id; /* 0: none, the ask failed at once: tr_await on it gives that error */
} tr_future;

/* Futures whose results are taken in the order in which they settle. A value. */
typedef struct tr_group {
    uint64_t id; /* 0: no memory for it */
} tr_group;

/* Whether a message is wanted (tr_receive_match). It may look, not keep, and send, not wait: what waits, receives or awaits
 * fails there with TR_EINVAL, and a send that would wait for a place is refused. */
typedef bool (*tr_match_fn)(const tr_msg *msg, void *context);

typedef struct tr_timer {
    uint64_t id;
} tr_timer;

/* How an ask ended, for tr_then's callback. Borrowed for the call. */
typedef struct tr_result {
    tr_err err;
    const tr_msg *msg;     /* NULL on an error */
    const tr_error *error; /* NULL if none */
} tr_result;
typedef void (*tr_then_fn)(tr_actor *self, void *state, const tr_result *result, void *context);
/* Called by tr_each for each item of a streamed ask, borrowed for the call. False: no more for now. */
typedef bool (*tr_each_fn)(tr_actor *self, void *state, const tr_msg *item, void *context);

/* What tr_always and tr_sometimes say of a run. */
typedef enum tr_assertion {
    TR_ALWAYS,    /* it must hold whenever it is said */
    TR_SOMETIMES, /* over many runs it must hold at least once, or they don't test what they seem to */
} tr_assertion;

/* ---- messages from the runtime ------------------------------------------------------------------------- */

/* A monitored actor is gone, or can't be reached. `kind` is a tr_exit_kind, `code` a tr_err. */
TR_MESSAGE(tr_down, (addr, actor), (u64, monitor), (u32, kind), (u32, code), (string, text))
/* A linked actor is gone, and this one traps exits. */
TR_MESSAGE(tr_exited, (addr, actor), (u32, kind), (u32, code), (string, text))
/* The mailbox, or the connection to the node, that refused has places again. */
TR_MESSAGE(tr_writable, (addr, actor))
/* How full a mailbox is, to who asked by tr_notify_level: `high`, it has risen to the mark; else it has fallen to half of
 * that. `taken` of `places`; 0 of 0: it has ended, or can't be watched. */
TR_MESSAGE(tr_mailbox_level, (addr, actor), (bool, high), (u32, taken), (u32, places))
/* A message was dropped on this node; to who called tr_watch_dead_letters. `reason` is a word of TR_DROPS
 * (troupe/node.h); `lost`: so many were not told of since the last one that was, by the same loop. */
TR_MESSAGE(tr_dead_letter, (string, reason), (string, type), (addr, sender), (addr, receiver), (u64, lost))
/* Who asked this (see tr_msg_ask_number) no longer wants the answer. Comes only for a kept ask. */
TR_MESSAGE(tr_canceled, (addr, asker), (u64, ask))
/* Who asked this takes items again; after tr_reply_item said TR_EAGAIN. */
TR_MESSAGE(tr_demand, (addr, asker), (u64, ask))
/* A node came or went; to those who called tr_watch_nodes. `node` is its incarnation, of which each comes and goes: the
 * late last connection of an old one may come, and go, when the next one is up. */
TR_MESSAGE(tr_node_event, (string, name), (u64, node), (bool, up), (string, reason))
/* A descriptor that tr_fd_watch was told of is ready: TR_FD_READ, TR_FD_WRITE, or TR_FD_HANGUP (the other side is gone, or
 * it has an error), which comes whatever was asked for. */
TR_MESSAGE(tr_fd_ready, (i32, fd), (u32, events))
enum { TR_FD_READ = 1, TR_FD_WRITE = 2, TR_FD_HANGUP = 4 };
/* A future given to tr_pipe settled without an answer: how, a tr_err and its text. TR_OK: a gather's. Which: tr_msg_tag. */
TR_MESSAGE(tr_settled, (u32, code), (string, text))
/* tr_spawn_at's answer: it is started, its init is to come. */
TR_MESSAGE(tr_spawned, (addr, actor))
/* tr_send_confirmed's: the message is in its mailbox. */
TR_MESSAGE(tr_confirmed, (addr, receiver))
/* tr_lookup's answer. */
TR_MESSAGE(tr_found, (addr, actor))
/* Somebody has that name (tr_monitor_name) from now on, or has it no more; `actor` is who. */
TR_MESSAGE(tr_name_event, (string, name), (u64, monitor), (bool, up), (addr, actor), (string, reason))
/* Two nodes that hadn't seen each other both had an actor of that name in the cluster (tr_claim_name); to both: `kept` has it,
 * `lost` has it no more. */
TR_MESSAGE(tr_name_conflict, (string, name), (addr, kept), (addr, lost))
/* From tr_every: the `count`-th time is here, at start + count * period; `missed` before it weren't told. */
TR_MESSAGE(tr_tick, (u64, timer), (u64, count), (u64, missed))
/* From tr_idle_after: nothing came for so long. */
TR_MESSAGE(tr_idle, (u64, timer), (u64, idle_ns))
/* This actor is asked to stop (TR_EXIT_SHUTDOWN), and traps that (tr_trap_stop). */
TR_MESSAGE(tr_shutdown)
/* A child of this actor's supervisor is up, the first time or again; `index` is its place in the list. */
TR_MESSAGE(tr_child_up, (addr, supervisor), (u32, index), (string, id), (addr, actor))

/* ---- supervision --------------------------------------------------------------------------------------- */

typedef enum tr_restart {
    TR_PERMANENT, /* always restarted */
    TR_TRANSIENT, /* restarted unless it ended normally or by shutdown */
    TR_TEMPORARY, /* never */
} tr_restart;

/* Who is started again when a child ends that is wanted back. Ended for good are those that aren't. */
typedef enum tr_strategy {
    TR_ONE_FOR_ONE,  /* that child alone */
    TR_ONE_FOR_ALL,  /* all: the others are stopped first, last first */
    TR_REST_FOR_ONE, /* that child and those behind it in the list */
} tr_strategy;

typedef struct tr_child_spec {
    const char
        *id; /* of 1 to 63 bytes, unique in its supervisor; registered as the child's name if `named` */
    const tr_actor_def *def;
    const void *arg; /* as for tr_spawn; must live as long as the supervisor */
    tr_restart restart;
    bool named;
    uint64_t stop_ns; /* how long it has to end when it is asked to; then it is killed. 0 = 5 s */
    /* Instead of `def`: the child is itself a supervisor, of this; it must live as long as its parent. Give it the
     * stop_ns that its own children need. */
    const struct tr_supervisor_spec *supervisor;
} tr_child_spec;

#define TR_CHILDREN_MAX 4000 /* of one supervisor */

/* Children are started in the order of the list, each when the init of the one before has succeeded; if one can't be
 * started those before it are stopped, last first, and the supervisor ends with that error. More than max_restarts within
 * `within_ns` end it as well. It stops its children last first, each when the one behind it has ended.
 *
 * The first restart of a child is at once; each next one, until it has run for within_ns, waits twice as long as the one
 * before, from backoff_min_ns to backoff_max_ns, of which a random half is taken off. */
typedef struct tr_supervisor_spec {
    const tr_child_spec
        *children; /* copied, with the ids; what else they point to must live as long as the supervisor */
    uint32_t count;
    uint32_t max_restarts; /* 0 = 5 */
    uint64_t within_ns;    /* 0 = 10 s */
    tr_strategy strategy;
    uint64_t backoff_min_ns; /* 0 = 10 ms */
    uint64_t backoff_max_ns; /* 0 = 5 s */
    bool tell;               /* who made it hears a tr_child_up whenever a child is up */
} tr_supervisor_spec;

/* tr_supervisor_start_child's answer: its init has succeeded. */
TR_MESSAGE(tr_child_started, (addr, actor))
/* tr_supervisor_stop_child's: it has ended. */
TR_MESSAGE(tr_child_stopped, (string, id))
/* tr_supervisor_child's. `restart` is a tr_restart; `actor` is none while it doesn't run, and `state` says then whether it
 * will: "out" (it won't), "due", "starting", "up", "asked" (to stop), "killed". `count` is of all children. */
TR_MESSAGE(tr_child_is, (string, id), (string, state), (addr, actor), (u32, restart), (u32, restarts),
           (u32, count))

typedef enum tr_log_level { TR_LOG_ERROR, TR_LOG_WARN, TR_LOG_INFO, TR_LOG_DEBUG } tr_log_level;

#endif
