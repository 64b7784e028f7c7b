/* Messages inside the runtime: their kinds and blocks.
 *
 * M1  A message has one owner: a queue, the handler that borrows it for the call, or the actor that keeps it.
 * M2  An ask is answered exactly once: by a reply, or by being released unanswered, which fails it at the asker. */
#ifndef TR_MAILBOX_MESSAGE_H
#define TR_MAILBOX_MESSAGE_H

#include <troupe/message.h>

#include "mailbox/buffer.h"
#include "mailbox/pool.h"
#include "mailbox/type.h"

typedef enum tr__msg_kind {
    /* For the actor's code: */
    TR__MSG_NORMAL,
    TR__MSG_ASK,
    TR__MSG_NOTICE, /* from the runtime: tr_down, tr_exited, tr_writable, tr_canceled, a timer's, an adapter's */
    /* For its futures: */
    TR__MSG_REPLY,
    TR__MSG_FAILURE, /* body tr__failure if there was room for it, else none; `error` says the code */
    TR__MSG_ITEM, /* of a streamed ask; deadline_ns is its outflow's id (actors/futures/flow.h). Becomes the DEMAND */
    /* For the runtime, in order with the sender's messages: */
    TR__MSG_MONITOR, /* becomes the tr_down */
    TR__MSG_DEMONITOR,
    TR__MSG_LINK, /* becomes the link's end: an EXIT signal. deadline_ns: the connection it goes by (actors/supervision/relations.c) */
    TR__MSG_UNLINK,   /* becomes the UNLINKED */
    TR__MSG_UNLINKED, /* the other side has taken the link back as well */
    TR__MSG_EXIT,     /* a linked actor ended. deadline_ns: the connection that was lost, 0: it did end */
    TR__MSG_SHUTDOWN,
    TR__MSG_STARTED, /* tr_spawn_ask's: answered by the runtime after init */
    TR__MSG_PLACES,  /* a fiber that waits for places may try again */
    TR__MSG_EXECUTE, /* a transaction's call; goes back to the manager as a notice (actors/transactions.h) */
    /* For the runtime, at arrival: */
    TR__MSG_SPAWN,
    TR__MSG_KILL,
    TR__MSG_CANCEL,        /* becomes the tr_canceled */
    TR__MSG_WANT_WRITABLE, /* becomes the tr_writable, or the PLACES */
    TR__MSG_WANT_LEVEL,    /* becomes a tr_mailbox_level */
    TR__MSG_FORWARD,       /* an ask that was handed on; becomes a plain one */
    TR__MSG_MOVED, /* to its asker: who has it now. Becomes a cancel if nobody waits for it any more */
    TR__MSG_PROBE, /* along who waits for whom (actors/futures/cycle.c) */
    TR__MSG_CYCLE, /* the ask that it names is in a cycle; becomes its failure */
    TR__MSG_DEMAND, /* `error` more items may be sent; deadline_ns is the outflow's id. Becomes the tr_demand */
    TR__MSG_REFUSED, /* a message of another node that isn't taken, on its way back there (remote/arrival.c) */
    TR__MSG_RECORDS, /* many messages, between the loop of their actors and that of a connection (remote/records.h) */
} tr__msg_kind;

/* Some share a bit: those are of kinds that are never one another. */
enum tr__msg_flag {
    TR__MSG_ANSWERED = 1, /* an ask that has its reply */
    TR__MSG_KEPT = 2,     /* by tr_msg_take */
    TR__MSG_CANCELED = 4, /* a kept ask that its asker has given up: needs no answer */
    TR__MSG_PIPED = 4,    /* a message in a mailbox that is a future's result: at its front */
    TR__MSG_TICK = 4,     /* a notice of a timer that comes again; `ask` is its pending's id */
    TR__MSG_WAITS = 8,    /* a WANT_WRITABLE of a fiber that waits in its send */
    TR__MSG_DEFERRED = 8, /* a message, ask or notice that its receiver had already, and set aside */
    TR__MSG_EXPIRES = 16, /* a message with a time to live: deadline_ns */
    TR__MSG_STREAM =
        16, /* an ask with items before its answer, `error` is its window; what settles such, or cancels it */
            /* 32: TR__MSG_VERSIONS (troupe/message.h) */
    TR__MSG_CONVERTED = 64, /* there are copies of it as other versions of its type (versions.h) */
    /* Of a message or ask: beyond the budget (actors/budget.c); of a WANT_WRITABLE: who asks was refused for that. */
    TR__MSG_BEYOND = 128,
};
#define TR__MSG_EMITTED \
    1 /* `error` of a message: its emit's id is at the end of its block (actors/remote/letter.c) */
#define TR__MSG_OF_BODY (TR__MSG_VERSIONS | TR__MSG_CONVERTED) /* they stay when it is sent on */

/* Its time is over: an ask's deadline, a message's time to live. */
static inline bool tr__msg_expired(const tr_msg *msg, uint64_t now)
{
    return msg->deadline_ns && msg->deadline_ns <= now;
}

/* A message that needs nothing but to be handled. */
static inline bool tr__msg_is_plain(const tr_msg *msg)
{
    return msg->kind == TR__MSG_NORMAL && msg->flags == 0;
}

#define TR__HOME_NONE 0x7f /* a plain allocation: any thread may free it */
/* Besides: its body holds buffers, or there are copies of it. So no loop takes its end for a plain one. */
#define TR__HOME_HOLDS 0x80

static inline void *tr__msg_body(const tr_msg *msg)
{
    return (void *)(msg + 1);
}

/* A block with room for `size` bytes of body; header zeroed but for size, home and class. NULL: no memory. */
static inline tr_msg *tr__msg_alloc(tr__pool *pool, uint8_t home, size_t size)
{
    uint8_t size_class = tr__pool_class(sizeof(tr_msg) + size);
    tr_msg *msg = tr__pool_take(pool, size_class, sizeof(tr_msg) + size);
    if (__builtin_expect(msg == NULL, 0))
        return NULL;
    bool large = size_class == TR__CLASS_LARGE; /* charged, so its end must not pass unseen */
    *msg = (tr_msg){.size = (uint32_t)size, .home = large ? TR__HOME_NONE : home, .size_class = size_class};
    if (large)
        tr__buffers_charge(pool->account, size);
    return msg;
}

/* The same as a plain allocation, for threads that are no loop; charged to the account whatever its size. */
tr_msg *tr__msg_alloc_plain(tr__buffers *account, size_t size);

/* What TR__HOME_HOLDS says is let go: the body is no more. */
void tr__msg_let_go(tr_msg *msg);

/* It has got a body of that type, or will. */
static inline void tr__msg_filled(tr_msg *msg, const tr_typeinfo *type)
{
    msg->type = type;
    uint8_t special = __atomic_load_n(&type->special, __ATOMIC_RELAXED);
    if (__builtin_expect(special != 0, 0)) {
        msg->home |= special & TR__TYPE_BUFFERS ? TR__HOME_HOLDS : 0;
        msg->flags |= special & TR__TYPE_VERSIONS ? TR__MSG_VERSIONS : 0;
    }
}

/* The places that a body of that size takes: one a started KiB. */
static inline uint32_t tr__msg_places(size_t size)
{
    return size <= 1024 ? 1 : size >= (size_t)64 << 20 ? 65535 : (uint32_t)((size + 1023) / 1024);
}

/* A failed ask's answer; with a text of up to TR__REASON_TEXT bytes behind it where the block has that room. */
TR_MESSAGE(tr__failure, (u32, code), (string, text))
#define TR__REASON_TEXT  128
#define TR__FAILURE_ROOM (sizeof(tr__failure) + TR__REASON_TEXT)

#endif
