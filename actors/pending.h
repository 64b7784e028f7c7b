/* What an actor waits for: futures and timers, one kind of entry in one table a loop, named by index and
 * generation, so a late answer or a stale handle finds nothing.
 *
 * F1  An entry is settled at most once.
 * F2  An entry is in its owner's list until it is freed; the owner's end frees them all.
 *
 *     WAITING ──answer, failure, deadline, all members──► SETTLED ──await, take_result, then's callback──►
 * free └───────────────cancel, owner's end────────────────────────────────────────────────────────────────┘
 */
#ifndef TR_ACTORS_PENDING_H
#define TR_ACTORS_PENDING_H

#include "actors/loop.h"

typedef enum tr__pending_kind {
    TR__PENDING_FREE,
    TR__PENDING_ASK,
    TR__PENDING_GATHER,
    TR__PENDING_MESSAGE, /* tr_after: its message comes when it is due */
    TR__PENDING_TICK,    /* the like, made once for many times */
    TR__PENDING_WAKE,    /* a fiber's bound on a wait */
    TR__PENDING_GRACE,   /* a killed fiber's */
} tr__pending_kind;

/* Two cache lines; what timers need lies in the first, nearly all. */
typedef struct tr__pending {
    _Alignas(64) tr__timer timer; /* first: the wheel hands this out */
    uint32_t index, generation;
    uint8_t kind;
    bool settled;
    uint8_t error; /* tr_err, when settled without a message */
    uint32_t left; /* of a gather: members not settled */
    tr_actor *owner;
    struct tr__pending *next, *prev; /* in the owner's list; next also in the free list */
    tr_msg *msg;                     /* the answer, the timer's message, or what the deadline will say */
    tr_addr callee;                  /* of an ask */
    const tr_typeinfo *asked;
    tr_then_fn then;
    void *context;
    uint64_t since_ns; /* when it was asked */
    uint64_t gather;   /* the gather it is a member of; 0: none. Of a gather: its first member that failed */
} tr__pending;

static inline uint64_t tr__pending_id(const tr__pending *pending)
{
    return (uint64_t)pending->generation << 32 | (pending->index + 1);
}

/* A new entry in the actor's list; NULL: no memory. */
tr__pending *tr__pending_make(tr__loop *loop, tr_actor *owner, tr__pending_kind kind);
/* The entry of that id if it is the owner's, else NULL. */
tr__pending *tr__pending_get(tr__loop *loop, const tr_actor *owner, uint64_t id);
/* Off its list and back to the table; its message is released, its timer off. */
void tr__pending_free(tr__loop *loop, tr__pending *pending);
/* All of an actor's, with callees told; at its end. */
void tr__pendings_end(tr__loop *loop, tr_actor *owner);
/* Fire what is due, but no more than a turn can handle: true if there may be more. */
bool tr__pendings_fire(tr__loop *loop);
/* Settle by an answer (taken) or, with msg NULL, by an error; tells the fiber, the gather, and calls `then`:
 * so only where the owner's code may run. */
void tr__pending_settle(tr__loop *loop, tr__pending *pending, tr_msg *msg, tr_err error);
/* What an ask's error will say if its deadline comes, instead of the address that was asked. For want of memory it says
 * that. */
void tr__pending_explain(tr__loop *loop, tr_actor *owner, uint64_t id, const char *text);
/* An answer came to its asker's loop. Takes msg. */
void tr__answer(tr__loop *loop, tr_actor *asker, tr_msg *msg);
/* A member is being cancelled, by its owner's code: its gather counts it as failed, and calls nothing now. */
void tr__gather_canceled(tr__loop *loop, const tr__pending *member);
/* Tell the callee of an ask that nobody waits any more. */
void tr__cancel_callee(tr__loop *loop, const tr__pending *pending);
/* A cancel came to its callee's loop. Takes msg. */
void tr__cancel_arrived(tr__loop *loop, tr_actor *callee, tr_msg *msg);
/* Fill *error with how a settled entry failed; TR_OK if it has its answer. */
tr_err tr__pending_error(const tr__pending *pending, tr_error *error);

/* What tr_await and tr_take_result do with a settled future: consume it, *msg (may be NULL) is borrowed by its owner.
 * Else its error, with the text as the owner's last error. */
tr_err tr__pending_take(tr__loop *loop, tr__pending *pending, const tr_msg **msg);
void tr__pendings_fini(tr__loop *loop);

/* A timer of the runtime's own actors that no want of memory loses: entry and message are made once, and the message is
 * given back by who handles it. Freed with its owner. NULL: no memory. */
tr__pending *tr__tick_make(tr__loop *loop, tr_actor *owner, tr_type *type);
/* Its message comes after that time, unless it is set or on its way already. */
void tr__tick_set(tr__loop *loop, tr__pending *tick, uint64_t delay_ns);
/* The same, or earlier if it is set for later. */
void tr__tick_by(tr__loop *loop, tr__pending *tick, uint64_t due_ns);
/* Within the handler of its message: takes it back. */
void tr__tick_back(tr__loop *loop, tr__pending *tick);

#endif
