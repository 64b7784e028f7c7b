/* What the files behind core.h share; the owner's thread. Private to them. */
#ifndef TR_ACTORS_TX_STATE_H
#define TR_ACTORS_TX_STATE_H

#include "actors/tx/core.h"
#include "actors/tx/decision_store.h"
#include "actors/tx/snapshot.h"

/* What waits for an LSN to be durable: in order of LSN. Embedded. */
typedef struct tr__tx_force {
    struct tr__tx_force *next;
    uint64_t lsn; /* 0: not waiting */
    void (*then)(tr__tx *tx, struct tr__tx_force *force);
} tr__tx_force;

#define TR__TX_OF(type, member, pointer) ((type *)((char *)(pointer)-offsetof(type, member)))

/* ---- participants and branches ------------------------------------------------------------------------- */

/* A durable participant of this node: there while it has state or branches. */
typedef struct tr__tx_actor {
    UT_hash_handle hh;
    char name[TR_NAME_MAX];
    uint32_t number;   /* names it in branches' keys */
    uint32_t branches; /* and tombs: what holds a pointer to it */
    tr__store store;
    tr__tx_branch *holders; /* one, or several that share */
    tr__tx_branch *waiting; /* for the lock, the oldest transaction first: W1 */
    uint32_t waiting_count;
    uint64_t moved_ns; /* when the first of the line was granted, or came */
    uint64_t pace_ns;  /* from one grant to the next, on average, while there is a line */
} tr__tx_actor;

typedef enum tr__tx_branch_state {
    TR__BRANCH_WAITING,   /* its next call waits for the lock */
    TR__BRANCH_EXECUTING, /* its next call runs in the actor, which has the view */
    TR__BRANCH_READY,     /* all its calls were answered */
    TR__BRANCH_DECIDING,  /* of a transaction that is decided here: that decision's */
    TR__BRANCH_PREPARING, /* its redo is on the way to the disk */
    TR__BRANCH_PREPARED,  /* in doubt: T2 */
    TR__BRANCH_FINISHING, /* committed and applied; the record isn't durable yet */
    TR__BRANCH_GONE,
    TR__BRANCH_STATES
} tr__tx_branch_state;

typedef struct tr__branch_key {
    tr_tx_id id;
    uint32_t actor;
} tr__branch_key;

/* A transaction that has branches here: what is counted against TR__TX_UNDECIDED_MAX. */
typedef struct tr__tx_local {
    UT_hash_handle hh;
    tr_tx_id id;
    tr__tx_branch *branches; /* by next_local */
    uint32_t count;          /* of them: TR_TX_PARTICIPANTS_MAX at most */
} tr__tx_local;

struct tr__tx_branch {
    UT_hash_handle hh;
    tr__tx_local *local; /* its transaction */
    tr__tx_branch *next_local;
    tr__tx_branch *next_unexecuted;
    tr_tx_reason unexecuted; /* why nobody could; NONE: it is in no such line */
    tr__branch_key key;
    tr__tx_actor *at;
    tr__tx_branch_state state;
    bool holds, exclusive; /* the lock; what it has, or waits for */
    bool wants_exclusive;
    bool dropped; /* while it executed: it goes when that is over */
    bool crowded; /* it goes, for the line was too long for it */
    tr_tx_reason why;
    tr_tx_id wounder;  /* with TR_TX_WOUNDED */
    uint64_t priority; /* W3; of one that came back from the log 0 */
    tr__tx_branch *next_holder;
    tr__tx_branch *prev_waiting, *next_waiting; /* as utlist.h has it; prev NULL: it isn't in line */
    char caller[TR_NAME_MAX];                   /* its node */
    uint64_t deadline_ns;
    tr_txview view;
    size_t bytes;        /* of the view, as counted in tx->bytes */
    uint32_t emit_count; /* of the view, as counted in tx->emit_count */
    size_t emit_bytes;
    uint32_t reads, writes, last_number;
    tr__tx_call_at *calls, **calls_end; /* the front one waits or runs */
    uint32_t call_count;

    /* from PREPARING on */
    tr__tx_force force;
    uint64_t lsn; /* of the FINISH */
    char decider[TR_NAME_MAX];
    uint8_t decider_log[TR__LOG_ID_BYTES];
    uint64_t ts;      /* prepared with; committed with */
    uint8_t *parties; /* all participants, as PREPARE had them: whom else to ask */
    size_t parties_size;
    uint64_t since_ns, retry_ns, pause_ns;
    uint32_t asked;     /* times */
    uint64_t silent_ns; /* since when who decides has been asked without an answer; 0: it has answered */
    bool log_lost;      /* it has another log than it had */
    bool alarmed;       /* that it is in doubt for so long was told */
    uint32_t decided;   /* a verdict that came while preparing; 0: none */
};

/* ---- decisions ----------------------------------------------------------------------------------------- */

typedef enum tr__tx_decision_state {
    TR__DECISION_VOTING,    /* PREPARE is out */
    TR__DECISION_FORCING,   /* COMMIT is on the way to the disk; or it, or ABORT, to the shared store */
    TR__DECISION_COMMITTED, /* the parties are being told */
    TR__DECISION_SETTLING,  /* somebody asked, nothing had decided: ABORT is on the way to the disk */
} tr__tx_decision_state;

typedef struct tr__tx_decision {
    UT_hash_handle hh;
    tr_tx_id id;
    tr__tx_decision_state state;
    char caller[TR_NAME_MAX]; /* its node; of SETTLING: who asked first */
    tr__tx_party parties[TR_TX_PARTICIPANTS_MAX];
    uint8_t
        votes[TR_TX_PARTICIPANTS_MAX]; /* tr__tx_verdict; 0: none yet. A YES that has acknowledged: READ */
    bool local[TR_TX_PARTICIPANTS_MAX];
    uint32_t count;
    uint64_t deadline_ns, prep_ts, ts;
    tr__tx_force force;
    uint64_t lsn; /* of the COMMIT */
    uint64_t retry_ns, pause_ns;
    bool commits;     /* what is proposed; of SETTLING: an operator wants it so */
    bool unrecorded;  /* our log has no COMMIT of it: there was no room */
    tr_tx_reason why; /* an ABORT is proposed: since */
    char text[TR_ERROR_TEXT_MAX];
    void *token; /* SETTLING: that operator's */
} tr__tx_decision;

/* T5 */
typedef struct tr__tx_outcome_at {
    UT_hash_handle hh;
    tr_tx_id id;
    bool committed;
    uint64_t ts;
} tr__tx_outcome_at;

/* A branch that ended, however: a call that comes late, or again, begins no new one until then. */
typedef struct tr__tx_tomb {
    UT_hash_handle hh;
    tr__branch_key key;
    tr__tx_actor *at;
    tr_tx_reason why;
    uint64_t until_ns;
} tr__tx_tomb;
#define TR__TX_TOMBS_MAX 65536
#define TR__TX_HEARD_MAX 65536          /* outcomes of others' decisions that are remembered, for who asks */
#define TR__TX_LATE_NS   TR_SECONDS(10) /* so late, at most, comes what was sent before the deadline */

/* ---- callers ------------------------------------------------------------------------------------------- */

typedef enum tr__tx_caller_state {
    TR__CALLER_CALLING,
    TR__CALLER_COMMITTING, /* COMMIT is with the coordinator */
    TR__CALLER_READING,    /* wrote nothing: PREPARE is with all */
} tr__tx_caller_state;

typedef struct tr__tx_pending_call {
    struct tr__tx_pending_call *next;
    void *token;
    uint32_t party, number;
} tr__tx_pending_call;

typedef struct tr__tx_caller {
    UT_hash_handle hh;
    tr__tx_begin begin;
    tr__tx_caller_state state;
    tr__tx_party parties[TR_TX_PARTICIPANTS_MAX];
    uint32_t numbers[TR_TX_PARTICIPANTS_MAX]; /* calls sent */
    bool wrote[TR_TX_PARTICIPANTS_MAX];       /* not only: was called by what may */
    bool voted[TR_TX_PARTICIPANTS_MAX];       /* while READING */
    uint8_t logs[TR_TX_PARTICIPANTS_MAX][TR__LOG_ID_BYTES];
    uint32_t count, coordinator;
    bool ticketed; /* the coordinator is fixed */
    tr__tx_pending_call *pending;
    void *token; /* of the commit */
    tr_tx_reason broken;
    char text[TR_ERROR_TEXT_MAX];
} tr__tx_caller;

typedef struct tr__crowd_key {
    char node[TR_NAME_MAX], actor[TR_NAME_MAX];
} tr__crowd_key;

/* A participant that had too much to do just now. */
typedef struct tr__tx_crowd {
    UT_hash_handle hh;
    tr__crowd_key key;
    uint64_t priority; /* of the oldest that it refused: older ones may try */
    uint64_t until_ns;
} tr__tx_crowd;

typedef struct tr__tx_resolver {
    struct tr__tx_resolver *next;
    tr_tx_id id;
    char node[TR_NAME_MAX], ticket[TR_TX_TICKET_MAX];
    uint8_t log[TR__LOG_ID_BYTES];
    uint64_t until_ns, retry_ns, pause_ns;
    void *token;
} tr__tx_resolver;

/* ---- what is remembered of logs ------------------------------------------------------------------------ */

/* Of our log: from `lsn` on its records are of the life of that incarnation. */
typedef struct tr__tx_life {
    uint64_t id, lsn;
} tr__tx_life;

typedef struct tr__memory_key {
    char node[TR_NAME_MAX];
    uint8_t log[TR__LOG_ID_BYTES];
} tr__memory_key;

/* Of a peer's: that record of that life was on its disk. */
typedef struct tr__tx_memory {
    UT_hash_handle hh;
    tr__memory_key key;
    uint64_t life, lsn;
    uint64_t kept_life, kept_lsn; /* as our own log says it */
    uint64_t kept_ns;             /* when that was last tried */
    uint64_t at; /* of the log that was opened: the record that says so; 0: none of it does */
} tr__tx_memory;

/* A node that we speak with, until its connection breaks. */
typedef struct tr__tx_peer {
    UT_hash_handle hh;
    char name[TR_NAME_MAX];
    bool greeted, told; /* our HELLO has left; and one that says how far our log is durable */
    bool heard;         /* its has come, and what follows is of it: */
    bool has_log;
    uint8_t log[TR__LOG_ID_BYTES];
    bool anothers; /* which another node has said is its own: it is believed nothing of it */
    uint64_t life;
    uint64_t ask_ns; /* when its HELLO may be asked for again */
} tr__tx_peer;

/* ---- what is emitted (outbox.c, inbox.c) --------------------------------------------------------------- */

/* Who is to get emits: there while there are any. */
typedef struct tr__tx_outlet {
    UT_hash_handle hh;
    char path[TR__EMIT_PATH_MAX], node[TR_NAME_MAX], actor[TR_NAME_MAX];
    tr__emit *first, *last;
    uint64_t retry_ns, pause_ns;
    char why[TR_ERROR_TEXT_MAX]; /* the first wasn't delivered the last time */
} tr__tx_outlet;

/* To a participant of ours, by a transaction that we call. */
typedef struct tr__tx_delivery {
    UT_hash_handle hh;
    tr__tx_begin begin;
    tr_tx_id id; /* the one that emitted it */
    uint8_t log[TR__LOG_ID_BYTES];
    tr__emit_key key;
    char from[TR_NAME_MAX], actor[TR_NAME_MAX];
    bool over; /* it was answered, and is given up with the next tick */
} tr__tx_delivery;

typedef struct tr__seen_key {
    uint8_t log[TR__LOG_ID_BYTES];
    char actor[TR_NAME_MAX];
} tr__seen_key;

/* The last emit of a log that was put into an actor's mailbox. */
typedef struct tr__tx_seen {
    UT_hash_handle hh;
    tr__seen_key key;
    tr__emit_key last;
} tr__tx_seen;

/* ---- all of it ----------------------------------------------------------------------------------------- */

struct tr__tx {
    char node[TR_NAME_MAX];
    uint64_t id; /* the incarnation */
    const tr__tx_io *io;
    void *context;
    tr__log *log;             /* NULL: keeps none */
    tr__log_store *store;     /* the log's */
    tr__snapshot *snapshot;   /* that is being taken; NULL: none is */
    uint64_t snapshot_ns;     /* none is begun before that */
    tr__tx_held held;         /* somebody copies this; token 0: nobody does */
    uint64_t held_ns;         /* until then */
    char log_of[TR_NAME_MAX]; /* while it is replayed: whose it says it is */
    uint64_t clock;
    bool dead;            /* fatal was told */
    uint64_t unforced_ns; /* since when something appended may be unforced; 0: nothing is */
    uint64_t room_ns;     /* when to ask a full disk again */

    tr__tx_actor *actors;
    uint32_t next_actor;
    tr__tx_branch *branches;
    tr__decision_store *decided_in; /* never NULL */
    tr__tx_local *locals;
    tr__tx_branch *unexecuted; /* by next_unexecuted */
    tr__tx_decision *decisions;
    tr__tx_outcome_at *outcomes;
    tr__tx_outcome_at
        *heard;       /* of what was prepared here and decided elsewhere: the last ones, the oldest first */
    uint64_t keep_ms; /* so long after its begin an outcome is kept at least */
    uint64_t forgotten_ms; /* what is forgotten had begun by then, by its id */
    uint64_t outcomes_ns;  /* when to look at them */
    tr__tx_tomb *tombs;
    uint64_t tombs_ns;        /* when to look at them */
    uint64_t tombs_missed_ns; /* until when one counts that couldn't be made */
    tr__tx_caller *callers;
    tr__tx_crowd *crowds;
    tr__tx_resolver *resolvers;
    tr__tx_force *forcing, **forcing_end;

    tr__tx_life *lives;
    uint32_t life_count, life_room;
    uint64_t life_lsn; /* of this life's record; 0: it isn't in the log yet */
    tr__tx_force life_force;
    /* The last record that isn't about peers only: else two logs would make each other grow. */
    uint64_t meant_lsn;
    uint64_t replay_lsn;
    tr__tx_memory *memories;
    bool unkept; /* there are some that our log doesn't say yet */
    tr__tx_peer *peers;
    uint8_t log_id[TR__LOG_ID_BYTES]; /* that an operator gave it */
    bool is_accepted;                 /* he has */
    bool lost;                        /* our log is an older copy of itself */
    char lost_text[TR_ERROR_TEXT_MAX];

    tr__emit *emits; /* the outbox */
    tr__tx_outlet *outlets;
    uint32_t emit_count; /* in it and in branches: E3 */
    size_t emit_bytes;
    uint64_t emitted, emits_refused;
    tr__tx_delivery *deliveries;
    tr__tx_seen *seen;

    size_t bytes; /* TR__TX_BYTES_MAX */
    uint64_t committed, aborted, wounds, snapshots, asked, alarms;
    uint64_t late; /* frames that came twice, or when it was over */
};

#endif
