/* One actor: its slot in the node's directory. Slots are never unmapped, so an address that is late finds a
 * slot of another generation, never freed memory.
 *
 * States (tr__actor_state), and who moves them:
 *
 *     FREE ──spawn (home loop)──► COMING ──init ok (owner)──► RUNNING ──exit──► STOPPING ──► FREE (next
 * generation) └──────init failed, or no memory───────────────────────►┘
 *
 * A1  An actor runs on one loop, its owner; only that loop's thread touches what isn't atomic here.
 * A2  It is in the run queue iff `queued`.
 * A3  Messages for a COMING actor are queued and handed over after init.
 * R1  A stale address never resolves: the generation is advanced before the slot is free, and a slot whose
 * generation would wrap is retired. */
#ifndef TR_ACTORS_ACTOR_H
#define TR_ACTORS_ACTOR_H

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <troupe/actor.h>

#include "actors/fibers/fiber.h"
#include "base/wheel.h"
#include "mailbox/message.h"
#include "mailbox/places.h"

typedef struct tr__loop tr__loop;

typedef enum tr__actor_state {
    TR__ACTOR_FREE,
    TR__ACTOR_COMING,
    TR__ACTOR_RUNNING,
    TR__ACTOR_STOPPING,
} tr__actor_state;

/* Whether it is about to end. */
typedef enum tr__exiting {
    TR__EXITING_NOT,
    TR__EXITING,        /* when its handler returns, for the reason in its loop's `ending` */
    TR__EXITING_KILLED, /* when its turn comes: it wasn't running */
} tr__exiting;

/* What is true of it. */
typedef enum tr__trait {
    TR__TRAPS_EXIT = 1,
    TR__TRAPS_STOP = 2,
    TR__STOP_ASKED = 4, /* to stop, in order */
    TR__SUPERVISED = 8, /* its supervisor stops it, nobody else */
    TR__SYSTEM = 16,    /* the node's own: stays to the node's end */
    TR__AWAITED = 32,   /* its loop counts its end (shutdown.h) */
    TR__MIGRATING = 64, /* COMING, until what it keeps is of its version (tx/migrate.c) */
} tr__trait;

/* Why it ended, or will end when the handler returns. */
typedef struct tr__reason {
    tr_exit_kind kind;
    tr_err code;
    char text[TR__REASON_TEXT];
} tr__reason;

/* What a fiber waits for. */
typedef enum tr__wait {
    TR__WAIT_NONE,
    TR__WAIT_FUTURE,
    TR__WAIT_MESSAGE,
    TR__WAIT_SLEEP,
    TR__WAIT_PLACES, /* of a mailbox that lets senders wait */
    TR__WAIT_DEMAND, /* of who asked it for a stream */
} tr__wait;

typedef struct tr__fiber_state {
    tr__fiber *fiber;
    tr__wait wait;
    const char *where;          /* "file:line" of the call that waits; static */
    uint64_t since_ns;          /* when that call began to wait */
    bool wake;                  /* what it waits for is there, or its time is up */
    bool killed;                /* every wait returns TR_EKILLED */
    tr_err returned;            /* by its body */
    uint32_t received_in_a_row; /* without stepping aside */
    uint64_t awaited; /* the pending's id, of TR__WAIT_FUTURE and _DEMAND; the number, of TR__WAIT_PLACES */
    uint32_t places_asked; /* asked for at mailboxes, and not heard of yet */
    tr_addr whom;          /* of TR__WAIT_PLACES: whose mailbox; of TR__WAIT_DEMAND: who asked */
    bool beyond;           /* of TR__WAIT_PLACES: it has the one there that may be beyond the budget */
    uint64_t timer;        /* the pending's id that bounds the wait; 0: none */
    uint64_t grace;        /* the pending's id that drops the stack of a killed one */
    uint64_t suspected;    /* the cycle of waiting actors that it was found in, and when (cycle.c) */
    uint64_t suspected_ns;
    uint64_t born_ns; /* when it began */
    bool matching;    /* the match function of a tr_receive_match runs */
    tr_msg *scanned;  /* of a tr_receive_match: the last one that it doesn't want; NULL: none yet */
    tr_msg *received; /* borrowed until the next receive */
    tr_msg *answer;   /* borrowed until the next await */
    tr_msg *sending;  /* waits for places */
} tr__fiber_state;

/* What few actors have: made at first need. */
typedef struct tr__extras {
    tr_msg *watchers; /* TR__MSG_MONITOR blocks of who monitors this actor: each will be the tr_down */
    tr_msg *links;    /* TR__MSG_LINK blocks: each will be the exit signal to that actor */
    tr_msg *kept;     /* ring of taken messages */
    struct tr__held *buffers;         /* counted buffers that it holds (buffers.c) */
    struct tr__own_monitor *monitors; /* monitors made by this actor that haven't fired */
    uint32_t monitor_count;
    tr_msg *want_writable, **want_writable_end; /* who waits for places here, in order of asking */
    tr_msg *levels;                             /* who asked to hear how full it is */
    uint32_t level_count;
    uint32_t kept_back;               /* free places beyond the hand, of a mailbox that drops its oldest */
    tr_msg *deferred, *deferred_last; /* set aside, oldest first (defer.c) */
    uint32_t deferred_count;
    uint32_t withheld;     /* places of those deferred in this batch, counted as freed */
    tr_receive_fn receive; /* the handler, of an actor that became another */
    uint64_t sweep_ns;     /* when what has expired may be looked for again */
    uint32_t link_count;
    uint32_t
        unconfirmed; /* messages that went to the confirmer, and whose answers haven't come (confirmed.h) */
    struct tr_actor *retell_next; /* in the loop's list of those with waiters to tell */
    bool retelling;
    struct tr__owned *owned;  /* blocks of tr_alloc */
    size_t memory_max, taken; /* its budget (memory.h), 0: none */
    bool watches_dead_letters;
    bool refused_by_budget; /* its last refused send */
    tr__reason *reason;     /* set by tr_exit and the like: end when the handler returns */
    tr_error last_error;
} tr__extras;

/* Two cache lines: what senders on other loops read lies apart from what the owner writes with each message. */
struct tr_actor {
    /* The owner's loop only */
    tr_msg *head, *tail; /* the mailbox */
    uint32_t count;      /* of messages in it */
    uint32_t local;      /* free places in the owner's hand */
    uint8_t state;
    bool queued;     /* in the run queue */
    uint8_t traits;  /* tr__trait */
    uint8_t exiting; /* tr__exiting */
    bool named;      /* some name in the node's table is its */
    uint8_t home;    /* the loop whose table the slot is of; fixed */
    uint16_t asks;   /* outstanding */
    const tr_actor_def *def;
    void *state_block;
    struct tr_actor *run_next;
    tr__fiber_state *fiber;

    /* Any thread */
    _Alignas(64) tr__places places;
    _Atomic(tr__loop *) owner;
    _Atomic uint32_t generation;
    uint32_t index; /* fixed */
    uint16_t capacity;
    uint8_t overflow; /* tr_overflow, never the default */
    uint8_t mail;     /* tr__mail flags; the owner's loop only */
    /* The owner's loop only, and seldom */
    uint32_t parent; /* who spawned it, for people: tr__parent_mark; 0: no actor did */
    tr__extras *extras;
    struct tr__pending *pendings; /* futures and timers of this actor */
    union {
        void *
            arg; /* until init, of a fiber always: the pointer, or a tr_msg if the definition has an arg_type */
        uint64_t born_ns; /* since then, of others: when that was */
    };
    uint64_t handled;
};

/* What its loop has to do when mail for it comes from other loops. */
enum tr__mail {
    TR__MAIL_TRANSIT = 1, /* that mail's places are of those for what is under way (mailbox/places.h, B3) */
    TR__MAIL_WATCHED = 2, /* somebody wants to hear how full it is */
};

/* What it is, for a thread that only looks. */
static inline const tr_actor_def *tr__def_seen(const tr_actor *actor)
{
    return __atomic_load_n(&actor->def, __ATOMIC_RELAXED);
}

/* That of a plugin that was built when there was no state_version may end before `migrate`; what was padding is 0 in it. */
static inline void tr__def_copy(tr_actor_def *to, const tr_actor_def *from)
{
    memset(to, 0, sizeof(*to));
    memcpy(to, from, from->state_version ? sizeof(*to) : offsetof(tr_actor_def, migrate));
}

/* Read by any loop that sends, also while the slot's home opens it anew: then the places' word refuses. */
static inline uint32_t tr__capacity(const tr_actor *actor)
{
    return __atomic_load_n(&actor->capacity, __ATOMIC_RELAXED);
}

static inline uint8_t tr__overflow(const tr_actor *actor)
{
    return __atomic_load_n(&actor->overflow, __ATOMIC_RELAXED);
}

/* It can be sent to: not free, and not at its end, when what it still gets would be handled by nobody. */
static inline bool tr__takes_mail(const tr_actor *actor)
{
    return actor->state == TR__ACTOR_RUNNING || actor->state == TR__ACTOR_COMING;
}

/* The address's actor is this one, still. */
static inline bool tr__is_generation(const tr_actor *actor, uint32_t generation)
{
    return atomic_load_explicit(&((tr_actor *)actor)->generation, memory_order_relaxed) == generation;
}

static inline void tr__mailbox_append(tr_actor *actor, tr_msg *msg)
{
    msg->next = NULL;
    if (actor->head)
        actor->tail->next = msg;
    else
        actor->head = msg;
    actor->tail = msg;
    actor->count++;
}

/* Out of the list; `before` is the one before it, NULL: it is the first. */
static inline void tr__mailbox_unlink(tr_actor *actor, tr_msg *before, tr_msg *msg)
{
    *(before ? &before->next : &actor->head) = msg->next;
    if (!msg->next)
        actor->tail = before;
    actor->count--;
    if (actor->fiber && actor->fiber->scanned == msg)
        actor->fiber->scanned = before;
}

/* Behind `before`; NULL: as its next one. */
static inline void tr__mailbox_insert(tr_actor *actor, tr_msg *before, tr_msg *msg)
{
    tr_msg **at = before ? &before->next : &actor->head;
    msg->next = *at;
    if (!msg->next)
        actor->tail = msg;
    *at = msg;
    actor->count++;
}

/* 16,384 slots a segment of TR__HUGE bytes; 4,096 segments. */
#define TR__SEGMENT_BITS  14
#define TR__SEGMENT_SLOTS (1u << TR__SEGMENT_BITS)
#define TR__SEGMENTS_MAX  4096u
_Static_assert((uint64_t)TR__SEGMENTS_MAX << TR__SEGMENT_BITS <= 1ull << 26,
               "a slot's number fits tr__parent_mark");

#define TR__PLACES_DEFAULT 1024u
#define TR__ASKS_MAX       4096u
#define TR__MONITORS_MAX   4096u

/* An actor as its children remember it, in four bytes: its slot, and the low bits of its generation. So a parent that is
 * gone is taken for one that came later in 1 of 64 reuses of its slot; the warden's is 1 << 26, so nobody's is 0. */
#define TR__PARENT_BITS 26
static inline uint32_t tr__parent_mark(uint32_t slot, uint32_t generation)
{
    return slot | generation << TR__PARENT_BITS;
}

struct tr__own_monitor {
    struct tr__own_monitor *next;
    uint64_t number;
    tr_addr target;
    bool of_name;      /* the target is the actor that watches it (name_watch.c) */
    uint64_t spawning; /* the ask whose answer says the target (spawn_at.h); 0: it is known */
};

#endif
