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

/* ---- core.c -------------------------------------------------------------------------------------------- */

static inline uint64_t tr__tx_now(const tr__tx *tx)
{
    return tx->io->now(tx->context);
}
static inline uint64_t tr__tx_left(const tr__tx *tx, uint64_t until_ns)
{
    uint64_t now = tr__tx_now(tx);
    return until_ns > now ? until_ns - now : 0;
}
/* The next repetition of something, with jitter. */
void tr__tx_pause(tr__tx *tx, uint64_t *retry_ns, uint64_t *pause_ns);
/* A frame about that transaction; id points into it. */
tr__tx_frame tr__tx_frame_of(tr__tx_kind kind, const tr_tx_id *id);
/* Fills from and clock. */
tr_err tr__tx_send(tr__tx *tx, const char *node, tr__tx_frame *frame, tr_error *error);
/* Somebody's, or one of the log: ours isn't behind it from here on. One far in the future isn't let in, or with it all that
 * we say would be refused by others until then: a clock that was set wrong once would last, and spread. */
void tr__tx_clock_heard(tr__tx *tx, uint64_t clock);
/* The priority of what begins now. */
uint64_t tr__tx_priority_now(tr__tx *tx);
void tr__tx_event(tr__tx *tx, const tr_tx_id *id, const char *actor, const char *what, const char *detail);
void tr__tx_point_at(tr__tx *tx, tr__tx_point point);
void tr__tx_fatal(tr__tx *tx, tr_err code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Record types in the log; their payloads are made and read beside what they are about. */
typedef enum tr__tx_record {
    TR__RECORD_PREPARE = 1,
    TR__RECORD_FINISH, /* a prepared branch: committed or aborted */
    TR__RECORD_COMMIT,
    TR__RECORD_TOMB,    /* aborted by who asked */
    TR__RECORD_END,     /* all parties of a COMMIT have acknowledged */
    TR__RECORD_NAME,    /* the first of each log: whose it is */
    TR__RECORD_LIFE,    /* a start: what follows is that incarnation's */
    TR__RECORD_PEER,    /* what we remember of a peer's log */
    TR__RECORD_LOST,    /* this log is an older copy of itself: a peer has said so */
    TR__RECORD_ACCEPT,  /* an operator goes on with it as another log, of that id */
    TR__RECORD_FORGOT,  /* outcomes of what began until then may be forgotten */
    TR__RECORD_EMITTED, /* an emit was delivered, or refused by its receiver */
} tr__tx_record;

/* Append; with `force`, it is in line and `then` comes when it is durable, soon if `now`, else within
 * TR__TX_FORCE_NS. Frees the buffer. */
tr_err tr__tx_append(tr__tx *tx, tr__tx_record type, bool finishes, tr__tx_buffer *buffer,
                     tr__tx_force *force, bool now, tr_error *error);
void tr__tx_put_id(tr__tx_buffer *buffer, const tr_tx_id *id);
tr_tx_id tr__tx_get_id(tr__tx_reader *reader);
/* What a refused append means to a transaction. */
tr_tx_reason tr__tx_reason_of(tr_err code);

/* A record that was there at start: what the handler of its type makes of it; TR_EMISMATCH by name. */
tr_err tr__tx_replay(void *tx, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                     tr_error *error);

/* ---- restore.c ----------------------------------------------------------------------------------------- */

/* All that a snapshot has, into a fresh tx; base->lsn 0: there is none. Errors by name; tx is then to be closed. */
tr_err tr__tx_restore(tr__tx *tx, tr__snap_store *rows, tr__log_base *base, tr_error *error);
/* Begin a snapshot if it is time; when it is taken, let the segments go. */
void tr__tx_snapshots_go_on(tr__tx *tx);

/* ---- hold.c -------------------------------------------------------------------------------------------- */

bool tr__tx_is_held(const tr__tx *tx);

/* ---- lock.c -------------------------------------------------------------------------------------------- */

/* By priority. */
bool tr__tx_is_older(const tr__tx_branch *branch, const tr__tx_branch *other);
/* True: it has the lock, so or more. False: it is in line, and tr__tx_granted comes, or came within this; who was in its
 * way and could be wounded was. */
bool tr__tx_lock(tr__tx *tx, tr__tx_branch *branch, bool exclusive);
/* For who looks: a younger holder that a waiting branch should have wounded; NULL: W2 holds. */
tr__tx_branch *tr__tx_in_the_way(const tr__tx_branch *branch);
/* Whether the line is too long for it, as it moves, so that it is refused and doesn't wait. Nobody is for the first two; nor who
 * has done something here. */
bool tr__tx_line_is_too_long(tr__tx *tx, const tr__tx_branch *branch);
/* It neither holds nor waits any more; those behind it are granted. */
void tr__tx_unlock(tr__tx *tx, tr__tx_branch *branch);

/* ---- branch.c ------------------------------------------------------------------------------------------ */

/* NULL: there is none. */
tr__tx_branch *tr__tx_branch_find(tr__tx *tx, const tr_tx_id *id, const char *actor);
/* NULL: it has no branch here. */
tr__tx_local *tr__tx_local_find(tr__tx *tx, const tr_tx_id *id);
/* Ready, with nothing in it; NULL: no memory. */
tr__tx_branch *tr__tx_branch_make(tr__tx *tx, const tr_tx_id *id, tr__tx_actor *actor);
/* Made if need be; NULL: no memory. Unused ones go with tr__tx_actor_unused. */
tr__tx_actor *tr__tx_actor_of(tr__tx *tx, const char *name);
void tr__tx_actor_unused(tr__tx *tx, tr__tx_actor *actor);
/* Move it; only as the table allows. */
void tr__tx_branch_go(tr__tx *tx, tr__tx_branch *branch, tr__tx_branch_state state);
/* An unprepared one ends without effect; its calls hear why. */
void tr__tx_branch_drop(tr__tx *tx, tr__tx_branch *branch, tr_tx_reason why);
/* Who takes part, as bytes of frame.h: a copy is kept. False: no memory. */
bool tr__tx_branch_knows(tr__tx_branch *branch, tr_bytes parties);
/* Its writes become committed. */
void tr__tx_branch_apply(tr__tx *tx, tr__tx_branch *branch);
/* Release and forget it, without a word. */
void tr__tx_branch_end(tr__tx *tx, tr__tx_branch *branch);
void tr__tx_call_pop(tr__tx *tx, tr__tx_branch *branch);
/* Those of that transaction that aren't prepared. */
void tr__tx_branches_drop(tr__tx *tx, const tr_tx_id *id, tr_tx_reason why);
void tr__tx_branches_wound(tr__tx *tx, const tr_tx_id *id, const tr_tx_id *wounder);
/* TR_ERROR_TEXT_MAX bytes, in words. */
void tr__tx_wounded_text(const tr_tx_id *wounder, char *out);
void tr__tx_drop_text(const tr__tx_branch *branch, char *out);
/* Answer a call: not done, and why. */
void tr__tx_refuse_call(tr__tx *tx, const tr_tx_id *id, const char *caller, const char *actor,
                        uint32_t number, tr_tx_reason why, const char *text);
bool tr__tx_is_entombed(tr__tx *tx, const tr_tx_id *id, const char *actor);
/* It is over here before anything of it has come: nothing begins until its deadline, which is so far off. */
void tr__tx_entomb(tr__tx *tx, const tr_tx_id *id, const char *actor, uint64_t remaining_ns);
/* Why a branch that should be there isn't. */
tr_tx_reason tr__tx_branch_gone_why(tr__tx *tx, const tr_tx_id *id, const char *actor);
void tr__tx_tombs_tick(tr__tx *tx, uint64_t now_ns);
tr_err tr__tx_replay_prepare(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_replay_finish(tr__tx *tx, tr__tx_reader *reader);
void tr__tx_branches_fini(tr__tx *tx);

/* ---- participant.c ------------------------------------------------------------------------------------- */

void tr__tx_granted(tr__tx *tx, tr__tx_branch *branch);
void tr__tx_on_call(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_prepare(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_decide(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_drop(tr__tx *tx, const tr__tx_frame *frame);
/* A prepared branch ends, as somebody said who knows, or (by_hand) an operator. When the log takes no record now, it stays
 * as it is, and hears of it again. */
void tr__tx_branch_finish(tr__tx *tx, tr__tx_branch *branch, bool committed, uint64_t ts, bool by_hand);
void tr__tx_branches_tick(tr__tx *tx, uint64_t now_ns);
void tr__tx_branches_node_down(tr__tx *tx, const char *node);

/* ---- doubt.c ------------------------------------------------------------------------------------------- */

/* It is in doubt from now on. */
void tr__tx_doubt_begin(tr__tx *tx, tr__tx_branch *branch);
void tr__tx_doubt_tick(tr__tx *tx, tr__tx_branch *branch, uint64_t now_ns);
/* An answer about a branch in doubt. */
void tr__tx_on_answer_branch(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_ask(tr__tx *tx, const tr__tx_frame *frame);
/* Remember what became of it; as long as there is room and memory. */
void tr__tx_heard_put(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts);
void tr__tx_doubts_node_down(tr__tx *tx, const char *node);
void tr__tx_doubts_node_up(tr__tx *tx, const char *node);
void tr__tx_doubts_fini(tr__tx *tx);
void tr__tx_doubts_decided(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts);

/* ---- coordinator.c ------------------------------------------------------------------------------------- */

void tr__tx_on_commit(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_vote(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_ack(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_decisions_tick(tr__tx *tx, uint64_t now_ns);
void tr__tx_decisions_node_down(tr__tx *tx, const char *node);
void tr__tx_decisions_node_up(tr__tx *tx, const char *node);
tr_err tr__tx_replay_commit(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_replay_end(tr__tx *tx, tr__tx_reader *reader);
void tr__tx_decisions_fini(tr__tx *tx);
tr__tx_decision *tr__tx_decision_find(tr__tx *tx, const tr_tx_id *id);
/* NULL: no memory. */
tr__tx_decision *tr__tx_decision_make(tr__tx *tx, const tr_tx_id *id, tr__tx_decision_state state);
void tr__tx_decision_forget(tr__tx *tx, tr__tx_decision *decision);

/* It was proposed: what won. */
void tr__tx_decision_won(tr__tx *tx, tr__tx_decision *decision, bool committed, uint64_t ts);

/* ---- decide.c ------------------------------------------------------------------------------------------ */

extern tr__decision_store tr__decisions_in_log;
/* Propose decision->commits; the record is taken, and is written only if our log is the store. */
tr_err tr__tx_propose(tr__tx *tx, tr__tx_decision *decision, tr__tx_buffer *record, tr_error *error);
/* To a shared store: the answer may have been lost; for a participant that is in doubt, or who asks. */
void tr__tx_propose_again(tr__tx *tx, tr__tx_decision *decision);
void tr__tx_propose_abort(tr__tx *tx, const tr_tx_id *id);

/* ---- outcome.c ----------------------------------------------------------------------------------------- */

/* NULL: there is no record of it, or it is forgotten. */
tr__tx_outcome_at *tr__tx_outcome_find(tr__tx *tx, const tr_tx_id *id);
/* T5. False: no memory. */
bool tr__tx_outcome_put(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts);
/* What somebody had asked for. */
void tr__tx_settled(tr__tx *tx, tr__tx_decision *decision, bool committed, uint64_t ts);
/* It began so long ago that its outcome need not be kept. */
bool tr__tx_is_old(const tr__tx *tx, const tr_tx_id *id);
/* A record says otherwise than one before it: no such log, or snapshot, was ever written. */
bool tr__tx_outcome_contradicts(tr__tx *tx, const tr_tx_id *id, bool committed);
void tr__tx_on_inquire(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_outcomes_forget_token(tr__tx *tx, const void *token);
void tr__tx_outcomes_tick(tr__tx *tx, uint64_t now_ns);
tr_err tr__tx_replay_tomb(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_replay_forgot(tr__tx *tx, tr__tx_reader *reader);
/* In the order in which their transactions began. */
void tr__tx_outcomes_sort(tr__tx *tx);
void tr__tx_outcomes_fini(tr__tx *tx);

/* Our log is lost: what isn't promised yet is given up. */
void tr__tx_branches_lost(tr__tx *tx);
void tr__tx_decisions_lost(tr__tx *tx);

/* ---- remember.c ---------------------------------------------------------------------------------------- */

/* The record that says whose life follows; no other one is written before it. */
tr_err tr__tx_life_begin(tr__tx *tx, tr_error *error);
/* HELLO has left, or leaves now: nothing goes to that node before it. */
tr_err tr__tx_greet(tr__tx *tx, const char *node, tr_error *error);
void tr__tx_on_hello(tr__tx *tx, const tr__tx_frame *frame);
/* Whether a frame that is no HELLO counts: its sender's HELLO has come. Remembers what it says of its log. */
bool tr__tx_heard(tr__tx *tx, const tr__tx_frame *frame);
/* How far that node is told that our log is durable; 0: nothing is said. */
uint64_t tr__tx_durable_for(const tr__tx *tx, const char *node);
void tr__tx_peer_down(tr__tx *tx, const char *node);
/* What our log is called, by others and in tickets. */
static inline const uint8_t *tr__tx_log_id(const tr__tx *tx)
{
    return tx->is_accepted ? tx->log_id : tr__log_id(tx->log);
}
void tr__tx_memories_tick(tr__tx *tx, uint64_t now_ns);
/* In the order in which our log says them. */
void tr__tx_memories_sort(tr__tx *tx);
tr_err tr__tx_replay_life(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_replay_peer(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_replay_lost(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_replay_accept(tr__tx *tx, tr__tx_reader *reader);
void tr__tx_memories_fini(tr__tx *tx);

/* ---- outbox.c ------------------------------------------------------------------------------------------ */

/* Count what the branch's view emits; else why not, and nothing is counted: E3. */
tr_tx_reason tr__tx_emit_reserve(tr__tx *tx, tr__tx_branch *branch, const char **text);
void tr__tx_emit_release(tr__tx *tx, tr__tx_branch *branch);
/* What the view of a participant emits goes to the outbox: its transaction is committed by record `lsn`, in which *index of
 * them came before. E1: it is durable; or it is being replayed, and they leave later. */
void tr__tx_emit_commit(tr__tx *tx, const tr_tx_id *id, const char *actor, tr_txview *view, uint64_t lsn,
                        uint64_t *index);
void tr__tx_on_emitted(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_outbox_tick(tr__tx *tx, uint64_t now_ns);
uint64_t tr__tx_outbox_due(const tr__tx *tx);
void tr__tx_outbox_node_up(tr__tx *tx, const char *node);
void tr__tx_outbox_fini(tr__tx *tx);
tr_err tr__tx_replay_emitted(tr__tx *tx, tr__tx_reader *reader);
tr_err tr__tx_restore_emit(tr__tx *tx, tr_bytes key, tr__tx_reader *reader);

/* ---- inbox.c ------------------------------------------------------------------------------------------- */

void tr__tx_on_emit(tr__tx *tx, const tr__tx_frame *frame);
/* A branch that has executed an emit notes so; else why it can't be committed, as when it had been executed before. */
tr_tx_reason tr__tx_emit_mark(tr__tx *tx, tr__tx_branch *branch, const char **text);
/* False: the token isn't a delivery's. */
bool tr__tx_delivery_called(tr__tx *tx, void *token, const tr__tx_frame *called);
bool tr__tx_delivery_done(tr__tx *tx, void *token, const tr_tx_done *done);
void tr__tx_deliveries_tick(tr__tx *tx);
void tr__tx_inbox_fini(tr__tx *tx);

/* ---- parties.c ----------------------------------------------------------------------------------------- */

/* The place of "node/actor" among the parties, taken if need be; UINT32_MAX: no such path, or too many. */
uint32_t tr__tx_party_of(tr__tx *tx, tr__tx_caller *caller, const char *path);
/* The one that decides; UINT32_MAX: none, for nothing was written. */
uint32_t tr__tx_coordinator_of(const tr__tx_caller *caller);
/* TR_TX_TICKET_MAX bytes; "": none. */
void tr__tx_ticket_of(const tr__tx_caller *caller, char *out);

/* ---- crowd.c ------------------------------------------------------------------------------------------- */

/* It has refused a transaction of that priority, for it has too much to do. */
void tr__tx_crowd_put(tr__tx *tx, const tr__tx_party *party, uint64_t priority);
/* Whether it would refuse one of that priority now, as far as we know. */
bool tr__tx_is_crowded(tr__tx *tx, const tr__tx_party *party, uint64_t priority);
void tr__tx_crowds_fini(tr__tx *tx);

/* ---- caller.c ------------------------------------------------------------------------------------------ */

void tr__tx_on_called(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_on_outcome(tr__tx *tx, const tr__tx_frame *frame);
/* A vote for a read-only transaction of ours: false if it is none. */
bool tr__tx_on_read_vote(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_callers_tick(tr__tx *tx, uint64_t now_ns);
void tr__tx_callers_node_down(tr__tx *tx, const char *node);
void tr__tx_callers_fini(tr__tx *tx);
/* What was asked for with that token is over. */
void tr__tx_answer_done(tr__tx *tx, void *token, tr_tx_status status, tr_tx_reason why, const char *text,
                        const char *ticket, uint64_t ts, uint64_t priority);

/* ---- resolve.c ----------------------------------------------------------------------------------------- */

void tr__tx_on_answer_resolve(tr__tx *tx, const tr__tx_frame *frame);
void tr__tx_resolvers_forget(tr__tx *tx, const void *token);
void tr__tx_resolvers_tick(tr__tx *tx, uint64_t now_ns);
void tr__tx_resolvers_node_up(tr__tx *tx, const char *node);
void tr__tx_resolvers_decided(tr__tx *tx, const tr_tx_id *id, bool committed, uint64_t ts);
void tr__tx_resolvers_fini(tr__tx *tx);

#endif
