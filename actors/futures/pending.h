/* What an actor waits for: futures and timers, one kind of entry in one table a loop, named by index and
 * generation, so a late answer or a stale handle finds nothing.
 *
 * F1  An entry is settled at most once.
 * F2  An entry is in its owner's list until it is freed; the owner's end frees them all.
 *
 *     WAITING ──answer, failure, deadline, all members──► SETTLED ──await, take_result, then's callback──►
 * free └───────────────cancel, owner's end────────────────────────────────────────────────────────────────┘
 */
#ifndef TR_ACTORS_FUTURES_PENDING_H
#define TR_ACTORS_FUTURES_PENDING_H

#include "actors/loop.h"

#define TR__CYCLE_CHECK TR_MILLIS(300) /* after which an ask that a fiber awaits is looked at */

typedef enum tr__pending_kind {
    TR__PENDING_FREE,
    TR__PENDING_ASK,
    TR__PENDING_GATHER,
    TR__PENDING_GROUP,
    TR__PENDING_MESSAGE, /* tr_after: its message comes when it is due */
    TR__PENDING_TICK,    /* the like, made once for many times */
    TR__PENDING_PERIOD,  /* comes again (period.c) */
    TR__PENDING_WAKE,    /* a fiber's bound on a wait */
    TR__PENDING_GRACE,   /* a killed fiber's */
    TR__PENDING_FD,      /* tr_fd_watch: its message comes when the descriptor is ready */
    TR__PENDING_OUTFLOW, /* of a streamed ask that this actor answers (flow.h) */
} tr__pending_kind;

/* What few futures are. */
enum tr__pending_special {
    TR__PIPED = 1,   /* its result comes as a message; `context` is the tr_settled that it may be */
    TR__STREAMS = 2, /* an ask that has items before its answer: `inflow` (flow.h) */
    TR__SPAWNS = 4,  /* a tr_spawn_at (spawn_at.h) */
    TR__CONFIRMS =
        8, /* of tr_send_confirmed: the message goes its way, whoever waits for the answer (confirmed.h) */
};

/* What a gather waits for. */
typedef enum tr__gather_mode {
    TR__GATHER_ALL,     /* all; it fails with the first that fails */
    TR__GATHER_SETTLED, /* all; it doesn't fail */
    TR__GATHER_FIRST,   /* the first that settles */
} tr__gather_mode;

/* Two cache lines. What timers need lies in the first: a million of them lie in memory, and each line is waited for. */
typedef struct tr__pending {
    _Alignas(64) tr__timer timer; /* first: the wheel hands this out */
    tr_actor *owner;
    tr_msg *msg;         /* the answer, the timer's message, or what the deadline will say */
    uint32_t next, prev; /* in the owner's list, next also in the free list: index + 1; 0: none */
    uint32_t index, generation;
    uint8_t kind;
    bool settled;
    uint8_t error;   /* tr_err, when settled without a message */
    uint8_t mode;    /* of a gather: tr__gather_mode */
    uint8_t special; /* tr__pending_special */
    uint16_t
        left; /* of a gather: members not settled. Of an ask: how often it is known to have been handed on here */
    tr_addr callee; /* of an ask */
    union {
        const tr_typeinfo *asked;
        struct tr__inflow *inflow; /* TR__STREAMS; it has the type */
    };
    union {
        tr_then_fn then;   /* not in a fiber */
        uint64_t until_ns; /* a fiber's ask: its deadline; its timer may be earlier, to look for a cycle */
    };
    void *context;
    uint64_t since_ns; /* when it was asked */
    uint64_t
        gather; /* the gather or group it is a member of; 0: none. Of a gather: its first member that failed, or settled */
} tr__pending;

static inline uint64_t tr__pending_id(const tr__pending *pending)
{
    return (uint64_t)pending->generation << 32 | (pending->index + 1);
}

/* A new entry in the actor's list; NULL: no memory. */
tr__pending *tr__pending_make(tr__loop *loop, tr_actor *owner, tr__pending_kind kind);

#define TR__PENDINGS_BITS 14 /* entries of a segment */

/* Of `next`, `prev`: NULL for 0. */
static inline tr__pending *tr__pending_at(const tr__loop *loop, uint32_t place)
{
    return place ? &loop->pendings[(place - 1) >> TR__PENDINGS_BITS]
                                  [(place - 1) & ((1u << TR__PENDINGS_BITS) - 1)]
                 : NULL;
}

/* The entry of that id, NULL if it is gone. */
static inline tr__pending *tr__pending_find(tr__loop *loop, uint64_t id)
{
    uint32_t index = (uint32_t)id - 1;
    if (index >= loop->pending_next) /* also of id 0 */
        return NULL;
    tr__pending *pending =
        &loop->pendings[index >> TR__PENDINGS_BITS][index & ((1u << TR__PENDINGS_BITS) - 1)];
    return pending->generation == (uint32_t)(id >> 32) && pending->kind != TR__PENDING_FREE ? pending : NULL;
}

/* The like if it is the owner's, else NULL. */
static inline tr__pending *tr__pending_get(tr__loop *loop, const tr_actor *owner, uint64_t id)
{
    tr__pending *pending = tr__pending_find(loop, id);
    return pending && pending->owner == owner ? pending : NULL;
}

/* An ask's deadline, which goes into the wheel when the turn is over, if it isn't settled by then. */
static inline void tr__pending_due(tr__loop *loop, tr__pending *pending, uint64_t due_ns)
{
    if (pending->owner->fiber)
        pending->until_ns = due_ns;
    else if (due_ns == TR__NEVER)
        return;
    pending->timer.due_ns = due_ns;
    loop->young[loop->young_count] = (tr__young){pending, pending->generation};
    if (__builtin_expect(++loop->young_count == TR__YOUNG_MAX, 0))
        tr__pendings_grown(loop);
}
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
/* One that settled while its owner took no result yet: pipe it, or call `then`. As tr__pending_settle; it is freed. */
void tr__pending_tell(tr__loop *loop, tr__pending *pending);
/* The type of what an ask asked. */
const tr_typeinfo *tr__pending_asked(const tr__pending *pending);
/* When an ask of self that is made now is due, by the time that was given. */
uint64_t tr__ask_due(tr__loop *loop, const tr_actor *self, uint64_t timeout_ns);
/* Whether it may be answered, TR_OK; else what it is, with self's last error: TR_EINVAL, TR_ECANCELED. */
tr_err tr__check_ask(tr_actor *self, const tr_msg *ask);
/* Fill *error with how a settled entry failed; TR_OK if it has its answer. */
tr_err tr__pending_error(const tr__pending *pending, tr_error *error);

/* What tr_await and tr_take_result do with a settled future: consume it, *msg (may be NULL) is borrowed by its owner.
 * Else its error, with the text as the owner's last error. */
tr_err tr__pending_take(tr__loop *loop, tr__pending *pending, const tr_msg **msg);
/* The actor's future, an ask or a gather; NULL: it isn't one, and self's last error says so. */
tr__pending *tr__future_of(tr_actor *self, tr_future future, const char *what);
void tr__pendings_fini(tr__loop *loop);

/* ---- gathers and groups (gather.c) --------------------------------------------------------------------- */

/* A member settled: its gather, if it waits for that one, may settle as well. Where the owner's code may run. */
void tr__gather_tell(tr__loop *loop, tr_actor *owner, uint64_t id, uint64_t member, tr_err error);
/* A member is being cancelled, by its owner's code: its gather counts it as failed, and calls nothing now. */
void tr__gather_canceled(tr__loop *loop, const tr__pending *member);
/* What a group holds besides its entry. */
void tr__group_free(tr__pending *group);

/* ---- results as messages (pipe.c) ---------------------------------------------------------------------- */

/* A piped one settled: its result becomes a message of its owner, and it is freed. */
void tr__pipe_settled(tr__loop *loop, tr__pending *pending);
/* The block for the result isn't needed. */
void tr__pipe_end(tr__loop *loop, tr__pending *pending);

/* ---- asks that are handed on, or given up (forward.c, cancel.c) ---------------------------------------- */

#define TR__HOPS_MAX 127

/* It came to the asker: whom to tell of a cancel from now on. Takes msg. */
void tr__moved_arrived(tr__loop *loop, tr_actor *asker, tr_msg *msg);
/* It can't come there: the asker, of that node, is gone or out of reach, and doesn't wait. Its new callee, if it has the ask,
 * is told. Takes msg. */
void tr__moved_lost(tr__loop *loop, uint64_t asker_node, tr_msg *msg);
/* What tells an asker that its ask, handed on so often, is handled by another actor: whom a cancel goes to. Of a plain ask
 * best effort, as the cancel. NULL: no memory. */
tr_msg *tr__moved_make(tr__loop *loop, uint64_t ask, tr_addr callee, uint8_t hops);
/* Of that ask, marked if it is a stream. */
tr_msg *tr__moved_of(tr__loop *loop, const tr_msg *ask, tr_addr callee, uint8_t hops);
/* How often it will have been handed on. */
static inline uint8_t tr__one_hop_more(const tr_msg *ask)
{
    return ask->hops < TR__HOPS_MAX ? ask->hops + 1 : TR__HOPS_MAX;
}
/* Two loops may tell of two hops in either order: whether this tells of a later one than that. */
static inline bool tr__moved_is_news(const tr_msg *moved, unsigned known_hops)
{
    return moved->hops > known_hops || moved->hops == TR__HOPS_MAX;
}
/* What will tell a callee, once it has an asker and a number; NULL: no memory. */
tr_msg *tr__cancel_make(tr__loop *loop);
/* Tell the callee of an ask that nobody waits any more. */
void tr__cancel_callee(tr__loop *loop, const tr__pending *pending);
/* A cancel came to its callee's loop. Takes msg. */
void tr__cancel_arrived(tr__loop *loop, tr_actor *callee, tr_msg *msg);

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
