/* What the files of the manager's state machine call of each other; a section each. What they work on is in state.h. One
 * thread at a time, the manager's. */
#ifndef TR_ACTORS_TX_INTERNAL_H
#define TR_ACTORS_TX_INTERNAL_H

#include "actors/tx/state.h"

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
/* Whether the log that the frame names is its sender's, as that has said itself, and no other node before it. */
bool tr__tx_is_log_of(tr__tx *tx, const tr__tx_frame *frame);
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
