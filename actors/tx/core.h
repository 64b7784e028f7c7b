/* Transactions of a node: two-phase commit with presumed abort, as a state machine that does no I/O of its own. What
 * it asks of the world it asks through tr__tx_io; what the world has for it comes by the functions below. One owner
 * (the manager's actor, or a test), one thread.
 *
 *   core.c          open and replay, frames in, time, the table of what is known
 *   lock.c          who may work on a participant, in the order of priorities: wound-wait
 *   branch.c        branches: what one transaction does with one participant here; their states and their end
 *   participant.c   calls, prepare, decisions
 *   doubt.c         what is in doubt: whom it asks, and what who is asked may say
 *   coordinator.c   transactions that are decided here
 *   decide.c        where decisions are: our log, or a store that all nodes share (decision_store.h)
 *   outcome.c       what became of them, and who asks; what an operator decides by hand
 *   caller.c        transactions that were begun here
 *   resolve.c       tickets: what became of them
 *   parties.c       their participants, and who of them decides
 *   outbox.c        messages that leave with a commit
 *   inbox.c         those that come
 *   crowd.c         participants that had too much to do just now
 *   hold.c          what is kept as it is while somebody copies it
 *   remember.c      what peers' logs were heard to hold, and whether ours is what they remember
 *
 * A branch (tr__tx_branch_state; the table is in branch.c):
 *
 *   waiting ─lock─► executing ─► ready ─COMMIT here─► deciding ──────────► gone
 *      │               ▲          │ └─PREPARE─► preparing ─forced─► prepared ─DECIDE─► finishing ─forced─► gone
 *      └─too long      └─CALL─────┘                  └──────────────────────┴─abort─► gone
 *   and from the first three to gone when it is wounded.
 *
 * Invariants; checks cite them:
 *   T1  A branch that wrote holds its participant's lock exclusively until it is gone.
 *   T2  A prepared branch is ended by a decision only, said by who decides or by another participant: no time, no lost
 *       connection ends it.
 *   T3  COMMITTED is said, and redo applied, only after the record that says so is durable (the coordinator's COMMIT).
 *   T4  ABORTED is said of an id without a record only by the log that would have it, and never of one that is being
 *       decided.
 *   T5  A decision never changes: what is in `outcomes` stays as it is.
 *   T6  A participant says of what is decided elsewhere only what its log says; or ABORTED, when it gives up a branch that
 *       has promised nothing and will never promise (a tomb sees to that). Else it doesn't know.
 *   D1 to D3  Where decisions are: decision_store.h.
 *   E1 to E4, I1, I2  What is emitted, and how often it arrives: outbox.c, inbox.c.
 *   W1 to W4  Who waits, and for whom: lock.c.
 *   R1  What a peer remembers of our log is never replaced by less: remember.c. */
#ifndef TR_ACTORS_TX_CORE_H
#define TR_ACTORS_TX_CORE_H

#include <troupe/tx.h>

#include "actors/tx/frame.h"
#include "actors/tx/log.h"
#include "actors/tx/snap_store.h"
#include "actors/tx/store.h"

#define TR__TX_UNDECIDED_MAX 1000                /* transactions of each role at a time */
#define TR__TX_BYTES_MAX     (64u * 1024 * 1024) /* of calls that wait here, and of what branches wrote */
#define TR__TX_EMITS_MAX     10000               /* messages that aren't delivered yet */
#define TR__TX_CALLS_MAX     64                  /* calls of a branch that wait for their turn */
#define TR__TX_SKEW_MS       (10u * 60u * 1000u) /* an id may be that far off our clock */
#define TR__TX_DEADLINE_MAX  TR_MINUTES(10)
#define TR__TX_TICK_NS       TR_MILLIS(20)  /* how exactly time-outs are kept */
#define TR__TX_RETRY_NS      TR_MILLIS(100) /* the first repetition; doubles up to: */
#define TR__TX_RETRY_MAX_NS  TR_SECONDS(5)
#define TR__TX_FORCE_NS      TR_MILLIS(100)      /* nothing stays unforced for longer */
#define TR__TX_SILENT_NS     TR_SECONDS(2)       /* who decides is silent for so long: others are asked */
#define TR__TX_ALARM_NS      TR_SECONDS(30)      /* in doubt for so long: somebody is told */
#define TR__TX_KEEP_NS       TR_MINUTES(24 * 60) /* outcomes, after their transactions began */
#define TR__TX_HOLD_NS       TR_SECONDS(30) /* a copy of the log that nobody goes on with is forgotten after that */
#define TR__TX_ROOM_NS       TR_SECONDS(1) /* a full disk is asked so often whether it has place again */

typedef struct tr__tx tr__tx;
typedef struct tr__tx_branch tr__tx_branch;
typedef struct tr__decision_store tr__decision_store;

/* Where the process may be killed by a test, and the simulator crashes a node: rows of the crash table. */
#define TR__TX_POINTS(X)                                                     \
    X(BEFORE_PREPARE, "before-prepare") /* 2: nothing is written yet */      \
    X(PREPARE_FORCED, "prepare-forced") /* 3: before the vote leaves */      \
    X(VOTED, "voted")                   /* 4 */                              \
    X(BEFORE_COMMIT, "before-commit")   /* 6: all votes are there */         \
    X(COMMIT_FORCED, "commit-forced")   /* 8: before the answer */           \
    X(ANSWERED, "answered")             /* 9: before COMMIT goes out */      \
    X(APPLIED, "applied")               /* 10: the record isn't durable */   \
    X(BEFORE_ACK, "before-ack")         /* 10: it is, and nobody knows it */ \
    X(BEFORE_END, "before-end")         /* 11: all have acknowledged */      \
    X(EMIT_DONE, "emit-done")           /* executed, and its node waits */   \
    X(EMIT_OVER, "emit-over")           /* the record isn't durable */
#define TR__ENUM(name, word) TR__TX_POINT_##name,
typedef enum tr__tx_point { TR__TX_POINTS(TR__ENUM) TR__TX_POINT_COUNT } tr__tx_point;
#undef TR__ENUM

/* A branch here that waits for a decision, with its locks. */
typedef struct tr__tx_doubt {
    tr_tx_id id;
    const char *actor, *decider; /* the participant; the node that decides: borrowed */
    const uint8_t *decider_log;  /* and by which log: as well */
    uint64_t since_ns;
    uint32_t asked;   /* times */
    bool unanswered;  /* the node that decides hasn't answered the last time, or has lost its log */
    uint32_t waiting; /* others, for its lock */
} tr__tx_doubt;

/* A message in our outbox; its texts are borrowed. */
typedef struct tr__tx_emitted {
    tr_tx_id id;           /* the transaction's */
    const char *actor;     /* that emitted it */
    const char *node, *to; /* to whom */
    uint64_t since_ns;
    const char *why; /* it wasn't delivered yet, as was last heard: may be "" */
    bool refused;    /* by its receiver: it isn't sent any more */
} tr__tx_emitted;

typedef struct tr__tx_io {
    uint64_t (*now)(void *context);     /* monotonic, ns */
    uint64_t (*wall_ms)(void *context); /* since 1970 */
    uint64_t (*random)(void *context);
    /* May that node begin transactions here? `asks`: it wants to, so a no is counted and told. NULL: each may. */
    bool (*may_begin)(void *context, const char *node, bool asks);
    /* To the manager of that node, ours included. An error: it has not left, and won't. */
    tr_err (*send)(void *context, const char *node, tr__tx_frame *frame, tr_error *error);
    /* Have the participant's actor execute the call at the branch's front, by `view`; tr__tx_executed follows, later:
     * never from within this. If nobody can, say so by tr__tx_unexecuted, from within this. */
    void (*execute)(void *context, tr__tx_branch *branch);
    /* A call, a commit, a resolve that was given with `token` is answered, once. Neither calls back into this. */
    void (*called)(void *context, void *token, const tr__tx_frame *answer);
    void (*done)(void *context, void *token, const tr_tx_done *done);
    /* For who watches: something happened to that transaction here. */
    void (*event)(void *context, const tr_tx_id *id, const char *actor, const char *what, const char *detail);
    void (*point)(void *context, tr__tx_point point);
    /* A branch has been in doubt for TR__TX_ALARM_NS: once for each. NULL: nobody wants to know. */
    void (*alarm)(void *context, const tr__tx_doubt *doubt);
    /* Put an emit (an EMIT frame) into the mailbox of the actor of that name. TR_EMISMATCH: it is a participant, which executes
     * it instead; TR_ETOOBIG: it never can be; all else: not now. */
    tr_err (*deliver)(void *context, const tr__tx_frame *emit, tr_error *error);
    /* An emit is in the outbox for TR__TX_ALARM_NS, or was refused: once for each. NULL: nobody wants to know. */
    void (*undelivered)(void *context, const tr__tx_emitted *emitted);
    /* Our log is an older copy of itself: an operator has to hear of it. NULL: nobody wants to. */
    void (*lost)(void *context, const char *text);
    /* What is on the disk is unknown, or memory for a decided transaction ran out: the process must end itself. May
     * return (in a test): nothing is done any more then. */
    void (*fatal)(void *context, const tr_error *error);
} tr__tx_io;

/* ---- life (core.c) ------------------------------------------------------------------------------------- */

/* Take the store (success; NULL: this node keeps no log, and only calls others' participants), with its snapshots if it
 * has a store for them, and replay it: locks of
 * what is in doubt are held when this returns, so do it before anybody can connect. `id` is the node's incarnation.
 * NULL with *error: as tr__log_open. */
tr__tx *tr__tx_open(const char *node, uint64_t id, tr__log_store *store, const tr__log_options *options,
                    const tr__tx_io *io, void *context, tr_error *error);
/* Waits for the disk; tokens are forgotten, without an answer. NULL is fine. */
void tr__tx_close(tr__tx *tx);
bool tr__tx_has_log(const tr__tx *tx);
/* Decide in that store, which is closed with this, from the begin on: all nodes of a cluster in the same one. Without this: each in its
 * own log. */
void tr__tx_decide_in(tr__tx *tx, tr__decision_store *store);
/* The store's answer: what was decided of that transaction. Any number of times; not from within a call of the store's. */
void tr__tx_decided(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts);
/* Keep outcomes for so long after their transactions began, instead of TR__TX_KEEP_NS; who asks later hears EXPIRED. To be
 * longer than a transaction lasts and clocks differ, or what is still under way is taken for old. */
void tr__tx_keep_outcomes(tr__tx *tx, uint64_t duration_ns);

/* A frame from the manager of `frame->from`, who is who it says. Borrowed. */
void tr__tx_receive(tr__tx *tx, const tr__tx_frame *frame);
/* A store woke us: look whether a batch is done, and what was decided. */
void tr__tx_poll(tr__tx *tx);
/* Let time act; to be called when tr__tx_due says so (cheap to ask, after each input). */
void tr__tx_tick(tr__tx *tx);
bool tr__tx_waits(const tr__tx *tx);
/* When it is to be called next; UINT64_MAX: nothing waits for time. A node that only calls others has nothing to do before a
 * deadline. */
uint64_t tr__tx_due(const tr__tx *tx, uint64_t now_ns);
/* A node's connection broke: what was under way there is lost, what isn't prepared for its callers is dropped. */
void tr__tx_node_down(tr__tx *tx, const char *node);
void tr__tx_node_up(tr__tx *tx, const char *node);

/* ---- for who calls (caller.c) -------------------------------------------------------------------------- */

typedef struct tr__tx_begin {
    tr_tx_id id;
    uint64_t until_ns, lock_wait_ns;
    uint64_t priority; /* of the first attempt; 0: this is the first */
    uint32_t calls;    /* made so far, as the caller counts them */
    bool read_only;    /* a call that writes is refused */
} tr__tx_begin;

/* Call a participant, "node/actor"; the first call begins the transaction. `call` has type, fingerprint, schema, body, and
 * writes = 1 for a message with TR_WRITES. Answered by `called`: reason 0, or why not. */
void tr__tx_call(tr__tx *tx, const tr__tx_begin *begin, const char *path, const tr__tx_frame *call,
                 void *token);
/* End it; `done` follows. One that called nobody is committed. */
void tr__tx_commit(tr__tx *tx, const tr__tx_begin *begin, void *token);
/* Give it up: dropped everywhere. Also for a caller that is gone. Unknown ids are nothing. */
void tr__tx_abort(tr__tx *tx, const tr_tx_id *id);
/* What was begun with; 0: it isn't under way here. */
uint64_t tr__tx_priority(tr__tx *tx, const tr_tx_id *id);
/* Its ticket, "" if it has none: TR_TX_TICKET_MAX bytes. */
void tr__tx_ticket(tr__tx *tx, const tr_tx_id *id, char *out);
/* Find out, and settle it if nothing had: `done` follows, UNKNOWN if nobody could be asked until then. */
void tr__tx_resolve(tr__tx *tx, const char *ticket, uint64_t until_ns, void *token);
/* An operator decides it. At the node that decides: what its log has no record of, and would not be known to have been
 * aborted; that is written, and whoever asks hears so. At another: its branches here that are in doubt, whatever others
 * do. `done` follows, with what is true now; UNKNOWN with the reason why it isn't decided. */
void tr__tx_decide_by_hand(tr__tx *tx, const char *ticket, bool commits, void *token);
/* An operator goes on with a log that is lost, as another one, of that id (16 bytes that no other log has): what it lacks is
 * given up. Of what the old one decided and it has no record of, who asks hears LOG_LOST. TR_EINVAL: it isn't lost; else
 * as an append. */
tr_err tr__tx_accept_log(tr__tx *tx, const uint8_t *id, tr_error *error);
/* What may be copied: the log up to `lsn`, which ends in segment `last` at offset `end`, and what was put into its snapshot. */
typedef struct tr__tx_held {
    uint64_t token;
    const char *path; /* the log's, from the root; NULL: it is no file. Borrowed */
    uint32_t first, last;
    uint64_t end, lsn;
    const uint8_t *log; /* its id */
} tr__tx_held;
/* Have nothing of that go or change, for TR__TX_HOLD_NS from now: no snapshot is taken meanwhile. `token` 0: begin. Else
 * go on with the one that it names, *held is as it was then. TR_EAGAIN: a snapshot is being taken, or somebody else copies; TR_ENOTFOUND: it isn't
 * held any more, and what was copied may not fit together; TR_EINVAL: this node keeps no log. */
tr_err tr__tx_hold(tr__tx *tx, uint64_t token, tr__tx_held *held, tr_error *error);
/* TR_ENOTFOUND as above. */
tr_err tr__tx_let_go(tr__tx *tx, uint64_t token, tr_error *error);
/* Whoever asked with that token isn't there any more: nothing is answered. */
void tr__tx_forget(tr__tx *tx, void *token);

/* ---- for the participant's actor (participant.c) ------------------------------------------------------- */

struct tr__tx_call_at {
    struct tr__tx_call_at *next;
    uint32_t number;
    bool writes;
    bool
        migrates; /* a tr__tx_migrate of this node's own: the runtime executes it, by the actor's `migrate` */
    uint64_t type, fingerprint, lock_until_ns;
    size_t size, schema_size;
    uint8_t body[]; /* and behind it the schema */
};
typedef struct tr__tx_call_at tr__tx_call_at;

/* What `execute` may read of a branch until tr__tx_executed. */
const tr_tx_id *tr__tx_branch_id(const tr__tx_branch *branch);
const char *tr__tx_branch_actor(const tr__tx_branch *branch);
const tr__tx_call_at *tr__tx_branch_call(const tr__tx_branch *branch);
tr_txview *tr__tx_branch_view(tr__tx_branch *branch);
/* It has been: reason 0, the reply is in the view; or why not. The branch may be gone after this. */
void tr__tx_executed(tr__tx *tx, tr__tx_branch *branch, tr_tx_reason reason, const char *text);
/* Nobody can, for that reason: the branch is kept, for tr__tx_executed. */
void tr__tx_unexecuted(tr__tx *tx, tr__tx_branch *branch, tr_tx_reason reason);
/* The next that is kept so, taken; NULL: none is. To be asked for behind each input. */
tr__tx_branch *tr__tx_unexecuted_next(tr__tx *tx, tr_tx_reason *reason);

/* ---- for who looks ------------------------------------------------------------------------------------- */

/* Whether anything that a participant of this node keeps, or that is in doubt here, has a version. */
bool tr__tx_has_versions(const tr__tx *tx);
/* For each participant whose state has a version. */
void tr__tx_versions(const tr__tx *tx, void (*fn)(void *context, const char *actor, uint32_t version),
                     void *context);

/* What a participant of this node has committed; NULL: no such participant ever wrote. For tests and operators. */
const tr__store *tr__tx_state(const tr__tx *tx, const char *actor);

/* What is wrong with our log, and what to do, in words; NULL: it is what peers remember. */
const char *tr__tx_lost(const tr__tx *tx);

typedef struct tr__tx_figures {
    uint32_t branches, prepared, deciding, calling; /* prepared: in doubt */
    uint64_t committed, aborted;                    /* decided here, since the start */
    uint64_t wounds;                                /* of others, here, since the start */
    uint64_t snapshots;                             /* taken since the start */
    uint64_t oldest_prepared_ns;                    /* since when; 0: none */
    uint64_t forces;                                /* of the log, since the start */
    uint64_t records;                               /* in the log, ever */
    uint64_t asked;                  /* by other nodes' participants in doubt, since the start */
    uint64_t alarms;                 /* branches that were in doubt for too long, since the start */
    uint64_t late;                   /* frames that came twice or when it was over, since the start */
    uint32_t emits;                  /* committed, and not delivered yet */
    uint64_t oldest_emit_ns;         /* since when; 0: none */
    uint64_t emitted, emits_refused; /* delivered; refused by their receivers; since the start */
} tr__tx_figures;
void tr__tx_figures_of(const tr__tx *tx, tr__tx_figures *figures);

/* The oldest ones, at most so many; how many were put. */
uint32_t tr__tx_doubts(const tr__tx *tx, tr__tx_doubt *out, uint32_t most);
/* What is in the outbox, likewise, receiver by receiver. */
uint32_t tr__tx_outbox(const tr__tx *tx, tr__tx_emitted *out, uint32_t most);

#endif
