/* Streamed asks: items before the answer, no more at a time than who asked takes. The asker has an inflow, hung on the ask's
 * pending; the callee an outflow, an entry of its own loop's table of pendings, from the first item on.
 *
 *     asker ──ASK, window──► callee          ──ITEM, its outflow's id──► asker
 *                                   callee ◄──DEMAND, count──            an item's own block, when enough were taken
 *                                          ──REPLY or FAILURE──► asker   behind all items
 *
 * W1  Of a stream, what the callee may still send, what is under way, what waits at the asker or is in its hand, and what it
 *     has taken and not granted again, are `window` together.
 * W2  Items come in the order in which they were sent, and the answer behind them all: they go one way, as one kind of mail.
 * W3  A grant needs no memory: it is the block of the item that was taken. Of one that its owner keeps (tr_msg_take) a block
 *     is made; if that can't be, a later item's will do, and if there is none, the ask fails with TR_ENOMEM.
 * W4  The callee hears of a cancel, the asker's end, the deadline and a lost connection, once: by the ask's CANCEL, which was
 *     made with it; for an ask of another node, when that came (remote/in.c).
 * W5  A peer that sends items which weren't demanded is cut off; what it demands beyond the window isn't believed.
 * W6  An outflow ends with its ask's block, which is marked as holding something (TR__HOME_HOLDS), so that no short way of
 *     freeing it misses that. It is found by the block's queued_at, its place in the table, and believed if it knows the
 *     block.
 * W7  An item's block has room for a tr_demand.
 *
 * A large item for another node needs room on its connection, besides demand: a DEMAND of none tells that there is some.
 *
 * The owner's loop only. */
#ifndef TR_ACTORS_FUTURES_FLOW_H
#define TR_ACTORS_FUTURES_FLOW_H

#include "actors/futures/pending.h"

#define TR__WINDOW_DEFAULT 16
#define TR__WINDOW_MAX     255

/* Of an ask with TR__STREAMS. */
typedef struct tr__inflow {
    const tr_typeinfo *asked;
    tr_msg *head, *tail; /* items that came and were not given, oldest first */
    tr_addr from;        /* who sends them; its outflow there */
    uint64_t outflow;
    uint64_t due_ns; /* the ask's deadline */
    tr_msg *cancel;  /* what its callee hears if it is given up; NULL: it was */
    tr_each_fn each; /* receive actors: NULL until tr_each */
    void *context;
    uint8_t window, step; /* granted again by `step` items */
    uint8_t owed;         /* taken, and not granted again */
    bool paused;          /* `each` has said that it takes no more */
    bool skips;           /* its fiber wants the answer only */
} tr__inflow;

/* ---- the asker (inflow.c) ------------------------------------------------------------------------------ */

/* An item came to who asked. Takes msg. In its owner's turn. */
void tr__item_arrived(tr__loop *loop, tr_actor *asker, tr_msg *msg);
/* One that was given is given back: it becomes the demand, or is freed. Takes msg. */
void tr__item_released(tr__loop *loop, tr_msg *msg);
/* Its owner keeps it: it is a message like any other from now on. */
void tr__item_kept(tr__loop *loop, tr_msg *msg);
/* The ask is freed: what wasn't given comes too late. */
void tr__inflow_end(tr__loop *loop, tr__pending *pending);
/* Its fiber takes no more items: those that wait and those that come are dropped as late replies, and demanded again. */
void tr__inflow_skip(tr__loop *loop, tr__pending *pending);
/* Its timer has fired: give what tr_each came too late for. False: it was for another reason. */
bool tr__inflow_turn(tr__loop *loop, tr__pending *pending);

static inline bool tr__inflow_has(const tr__pending *pending)
{
    return pending->inflow->head != NULL;
}
/* Of any future: its result has to wait for items that were stopped by its owner. */
static inline bool tr__inflow_holds(const tr__pending *pending)
{
    return pending->special & TR__STREAMS && pending->inflow->each && pending->inflow->head;
}

/* Within the fiber: wait until it has an item, or is settled; TR_EKILLED. NULL: for nothing. (fibers/wait.c) */
tr_err tr__fiber_item(tr_actor *self, tr__pending *pending, const char *where);

/* ---- the callee (outflow.c) ---------------------------------------------------------------------------- */

/* Of a TR__PENDING_OUTFLOW: `context` is the ask, `left` the demand, `mode` the window, `gather` how many items were sent,
 * `settled` that its actor wants to hear when there is demand, `error` why the last answer failed. */

/* Answering it failed with that: what the asker hears if it is released unanswered. */
void tr__outflow_fails(tr_actor *self, const tr_msg *ask, tr_err error);
/* The like, TR_OK: nothing failed. */
tr_err tr__outflow_error(const tr__loop *loop, const tr_msg *ask);
/* Items were sent. */
bool tr__outflow_has_begun(const tr__loop *loop, const tr_msg *ask);
/* The ask's block ends here: so does its outflow, if it has one. */
void tr__outflow_end(tr__loop *loop, const tr_msg *ask);
/* Its asker has given it up: a fiber that waits for demand goes on. */
void tr__outflow_canceled(tr__loop *loop, const tr_msg *ask);
/* A DEMAND came. Takes msg. */
void tr__demand_arrived(tr__loop *loop, tr_actor *callee, tr_msg *msg);

/* Within the fiber: wait until it has demand or was given up: TR_OK; TR_EDEADLINE, TR_EKILLED, TR_ENOMEM. (fibers/wait.c) */
tr_err tr__fiber_demand(tr_actor *self, const tr__pending *outflow, const char *where);
/* An answer or item for an ask of another node: as what it is told of, msg; NULL, freed: it can't go there, TR_ETOOBIG.
 * (future.c) */
tr_msg *tr__fit_for_connection(tr_actor *self, const tr_msg *ask, tr_msg *msg);

#endif
