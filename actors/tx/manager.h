/* The manager: the actor around a node's state machine for transactions (core.h), and what its files share.
 *
 *   manager.c    its life, its dispatch, the seam io
 *   peers.c      frames to and from other nodes' managers
 *   door.c       whether one more may begin, before the manager is asked
 *   callers.c    what actors of this node ask: calls, commits, tickets, resolves
 *   execute.c    within participants' actors: their definitions, and a call's execution
 *   migrate.c    before a participant's init: what it keeps is brought to its version
 *   trail.c      what happened lately, for who looks
 *
 * Loop 0 only, unless said otherwise: the manager lives there. */
#ifndef TR_ACTORS_TX_MANAGER_H
#define TR_ACTORS_TX_MANAGER_H

#include <stdatomic.h>

#include <troupe/tx.h>

#include "actors/futures/pending.h"
#include "actors/loop.h"
#include "actors/transactions.h"
#include "actors/tx/core.h"
#include "actors/tx/trail.h"
#include "base/hash_table.h"
#include "base/spin.h"

/* ---- messages ------------------------------------------------------------------------------------------ */

/* The ids are the two halves of a tr_tx_id. Asked by actors of this node. */
TR_MESSAGE(tr__tx_do_call, (u64, id_front), (u64, id_back), (u64, until_ns), (u64, lock_wait_ns),
           (u32, calls), (string, path), (u64, type), (u64, fingerprint), (u32, writes), (u32, read_only),
           (bytes, body))
typedef enum tr__tx_what {
    TR__TX_DO_COMMIT,
    TR__TX_DO_ABORT,
    TR__TX_DO_TICKET,
    TR__TX_DO_BEGIN, /* before the first call of one that is run again: `priority` is the first attempt's */
} tr__tx_what;
/* An abort may also be sent; asked, it says why by a tr_tx_done. */
TR_MESSAGE(tr__tx_do, (u32, what), (u64, id_front), (u64, id_back), (u64, until_ns), (u64, lock_wait_ns),
           (u32, calls), (u64, priority))
TR_MESSAGE(tr__tx_do_resolve, (string, ticket), (u64, until_ns))

/* By an operator of this node: `troupe tx resolve` and `accept`. Answered by a tr_tx_done, a tr_tx_called. */
TR_MESSAGE(tr__tx_do_decide, (string, ticket), (bool, commit))
TR_MESSAGE(tr__tx_do_accept)
/* `troupe tx backup`: as tr__tx_hold and tr__tx_let_go; answered by a tr__tx_is_held_so, a tr_tx_called. */
TR_MESSAGE(tr__tx_do_hold, (u64, token))
TR_MESSAGE(tr__tx_do_let_go, (u64, token))
TR_MESSAGE(tr__tx_is_held_so, (u64, token), (string, path), (u32, first), (u32, last), (u64, end), (u64, lsn),
           (string, log))

/* To a participant's actor as a TR__MSG_EXECUTE, and back as a notice: one block, so nothing can be missing for the
 * answer. `branch` is a pointer. */
TR_MESSAGE(tr__tx_execute, (u64, branch), (u32, reason), (string, text))
#define TR__TX_EXECUTE_ROOM (sizeof(tr__tx_execute) + TR_ERROR_TEXT_MAX)

/* From the log's thread, as a notice. */
TR_MESSAGE(tr__tx_wake)
TR_MESSAGE(tr__tx_tick_now)

/* ---- the manager --------------------------------------------------------------------------------------- */

#define TR__TX_PEER_LINES 256 /* places that need no memory; a node's name says which */

/* A transaction that an actor of this node has begun. */
typedef struct tr__tx_client {
    UT_hash_handle hh;
    tr_tx_id id;
    tr_addr caller;
    uint64_t monitor, until_ns;
    uint64_t priority; /* of its first attempt; 0: it has called nobody yet */
    bool committing;   /* it is decided elsewhere now: the caller's end doesn't matter */
    tr_tx_reason why;  /* the first call that failed */
    char text[TR_ERROR_TEXT_MAX];
} tr__tx_client;

typedef struct tr__transactions {
    tr_node *node;
    bool has_log; /* fixed once the node runs */

    /* Any thread */
    tr__spin defs_lock;
    struct tr__transact_wrap *defs; /* execute.c */
    _Atomic bool versions;          /* something that participants keep here has one, or is about to */
    _Atomic(tr_msg *) wake; /* what the log's thread sends when a batch is over; NULL: it is on its way */
    _Atomic uint32_t client_count; /* of `clients` */
    _Atomic int32_t retry_budget;  /* as tr__retry_earned has it */

    tr__tx *tx;     /* NULL after the manager's end */
    tr_actor *self; /* NULL until its init */
    tr__pending *tick;
    bool watching;                    /* it hears of nodes that come and go */
    tr_msg *peers[TR__TX_PEER_LINES]; /* the tr_node_event of their coming, by name, the last first */
    tr_msg *early;                    /* frames of nodes of whose coming we haven't heard yet, in order */
    uint32_t early_count;
    size_t early_bytes;
    tr__tx_client *clients;
    uint64_t sweep_ns;                   /* when to look for clients that were given up */
    uint64_t refused, refused_logged_ns; /* frames */
    uint64_t alarm_logged_ns;
    uint32_t alarms_unlogged; /* since that line */
    tr__tx_trail trail;
} tr__transactions;

/* ---- peers.c ------------------------------------------------------------------------------------------- */

/* As tr__tx_io.may_begin. */
bool tr__peers_may_begin(void *context, const char *node, bool asks);
tr_err tr__peers_send(void *context, const char *node, tr__tx_frame *frame, tr_error *error);
/* Whether that node, which may be ours, may send such a message to an actor here; else as tr__node_may_send. */
tr_err tr__peers_may_send(tr__transactions *t, const char *node, tr_addr to, uint64_t type, tr_error *error);
/* Within the handler of the frame. */
void tr__peers_frame(tr__transactions *t, const tr_msg *msg, const tr__tx_frame *frame);
/* Within the handler of the tr_node_event, which stays as long as the node does: no memory is needed to know one. */
void tr__peers_changed(tr__transactions *t, const tr_node_event *event);
void tr__peers_fini(tr__transactions *t);

/* ---- door.c: any thread -------------------------------------------------------------------------------- */

void tr__door_open(tr__transactions *t);
/* Whether one more may begin now that is run for the first time, or again. To be asked before anything is sent to the manager,
 * who has the last word. */
bool tr__door_is_open(tr__transactions *t, bool again);
/* A first attempt began; one that was refused for overload may be tried again, and that is counted. */
void tr__retry_earned(tr__transactions *t);
bool tr__retry_spent(tr__transactions *t);

/* ---- callers.c ----------------------------------------------------------------------------------------- */

void tr__callers_call(tr__transactions *t, const tr_msg *msg, const tr__tx_do_call *call);
void tr__callers_do(tr__transactions *t, const tr_msg *msg, const tr__tx_do *what);
void tr__callers_resolve(tr__transactions *t, const tr_msg *msg, const tr__tx_do_resolve *resolve);
void tr__callers_decide(tr__transactions *t, const tr_msg *msg, const tr__tx_do_decide *decide);
void tr__callers_accept(tr__transactions *t, const tr_msg *msg);
void tr__callers_hold(tr__transactions *t, const tr_msg *msg, const tr__tx_do_hold *hold);
void tr__callers_let_go(tr__transactions *t, const tr_msg *msg, const tr__tx_do_let_go *go);
/* core's answers */
void tr__callers_called(void *context, void *token, const tr__tx_frame *answer);
void tr__callers_done(void *context, void *token, const tr_tx_done *done);
void tr__callers_down(tr__transactions *t, const tr_down *down);
void tr__callers_canceled(tr__transactions *t, const tr_canceled *canceled);
void tr__callers_sweep(tr__transactions *t);
void tr__callers_fini(tr__transactions *t);

/* ---- execute.c ----------------------------------------------------------------------------------------- */

void tr__transact_defs_fini(tr__transactions *t);

/* ---- migrate.c ----------------------------------------------------------------------------------------- */

/* Before a call is executed, and when it was: TR_OK, or what is wrong with the version of what is kept, in words. */
tr_err tr__version_check(const tr_actor *actor, const tr_txview *view, const char *name, tr_error *error);
tr_err tr__version_note(const tr_actor *actor, tr_txview *view);
/* Within the participant, with the lock: by its `migrate`, to its version. */
tr_err tr__migrate(const tr_actor *actor, tr_txview *view, const char *name, tr_error *error);

#endif
