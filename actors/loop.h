/* A loop: the scheduler of the actors that belong to it. One thread a loop; all that isn't atomic is that
 * thread's.
 *
 * A driver (loop_uv.c, or a test) pumps it by tr__loop_turn() and tr__loop_next_due(); nothing here does I/O.
 *
 *     turn:  stamp the clock ─► take the inbox ─► fire timers ─► run actors, by count and time ─► flush
 * outboxes
 *
 * Order. The outbox of a destination holds its messages newest first, and is pushed on the inbox stack as one
 * chain by one atomic operation; the owner takes the whole stack and reverses it. So order per pair holds
 * (M3).
 *
 * Run queue. What the running actor wakes goes on `fresh`, a stack, and runs next: its data is in the cache.
 * After TR__FRESH_MAX of those in a row, or when a turn was over by the clock, the rest of them goes behind the queue, and
 * the queue's oldest has its turn. What timers wake goes before the queue, so it runs in the turn in which they fire.
 *
 * Q1  While somebody waits in the queue, at most TR__FRESH_MAX runs of fresh ones lie between two of the queue's.
 * Q2  Of those that timers woke at most TR__FIRE_MAX go before one that has waited in the queue.
 *
 * From that, and since the queue is in order otherwise: a runnable actor runs after at most TR__WAIT_MAX(r) runs of others,
 * where r actors were runnable beside it when it was put in the queue. A run is bounded by count and time: TR__BATCH_MAX
 * messages, or the one in which a turn's TR__TURN_NS are over (a fiber: the like of what it receives).
 *
 * Time. The clock is looked at when a turn begins, when it ends, and after every `look_every` steps (messages, or runs of
 * fibers) in between: TR__TURN_CHECK while those are short, fewer as they get longer, so that a turn is over by at most
 * one long handler and not by all of those. */
#ifndef TR_ACTORS_LOOP_H
#define TR_ACTORS_LOOP_H

#include <stdatomic.h>

#include <troupe/node.h>

#include "actors/actor.h"
#include "base/accounting.h"
#include "base/random.h"
#include "base/ring.h"
#include "base/seams.h"

#define TR__FRESH_MAX   256
#define TR__TURN_NS     TR_MICROS(100)
#define TR__TURN_WORK   512           /* messages handled and sent, after which a turn ends */
#define TR__TURN_CHECK  32            /* steps between two looks at the clock, at most */
#define TR__LOOK_NS     TR_MICROS(20) /* that should lie between two looks, at most */
#define TR__FIRE_MAX    256           /* timers a turn */
#define TR__WAIT_MAX(r) ((TR__FRESH_MAX + TR__FIRE_MAX + 1) * ((uint64_t)(r) + 2))
#define TR__BATCH_MAX   2048 /* messages an actor handles in one go */
#define TR__HOLD_SLOTS  64   /* mailboxes of other loops that this one holds places of, at a time */
#define TR__YOUNG_MAX   256  /* asks whose deadlines are not in the wheel yet */
#define TR__STAMP_SHIFT 16   /* a stamp counts 65.5 us, and comes round after 78 hours */

/* What a loop's ring tells: for each run of an actor one record, and for what ends. What `what` points to: a typeinfo
 * (NULL: no type) or a definition. */
#define TR__TRACES(X)                                                \
    X(TR__TRACE_RUN, "handles", "of a run its first message's type") \
    X(TR__TRACE_FIBER, "goes on", "a fiber; NULL")                   \
    X(TR__TRACE_START, "starts", "its definition")                   \
    X(TR__TRACE_END, "ends", "its definition")                       \
    X(TR__TRACE_DROP, "can't get", "the type of a message that is dropped")
#define TR__ENUM(name, word, meaning) name,
typedef enum tr__trace { TR__TRACES(TR__ENUM) TR__TRACE_COUNT } tr__trace;
#undef TR__ENUM

typedef struct tr__chain {
    tr_msg *head, *tail; /* newest first */
    tr_msg *open;        /* records for it that are being written; NULL: none (remote/records.h) */
} tr__chain;

/* Places drawn from another loop's mailbox, not yet used. */
typedef struct tr__hold {
    tr_actor *slot;
    uint32_t generation, places;
} tr__hold;

/* An ask made in this turn: most are answered in it. */
typedef struct tr__young {
    struct tr__pending *pending;
    uint32_t generation;
} tr__young;

/* Temporary text, freed when the handler returns. */
typedef struct tr__scratch {
    struct tr__scratch *next;
    char text[];
} tr__scratch;

typedef struct tr__loop_counts {
    uint64_t accepted, arrived, handled, passed, sent, received, lost;
    uint64_t dropped[TR_DROP_COUNT];
} tr__loop_counts;

/* What the watchdog reads: the actor that runs (NULL: none), how often that has changed, on what message, and when the loop
 * last looked at its clock. Each is only looked at: a mix of two runs can at worst be told for one that is over. */
typedef struct tr__watch {
    _Atomic(tr_actor *) actor;
    _Atomic uint64_t runs;
    _Atomic(const tr_typeinfo *) type;
    _Atomic uint64_t at_ns;
    _Atomic uint64_t
        stop_run; /* which of the `runs` is told to stop; written by the watchdog, before `overrun` */
} tr__watch;

struct tr__loop {
    tr_node *node;
    uint8_t index;
    bool stopping;
    bool turn_over;     /* by the clock */
    bool exclusive;     /* of an actor with a thread of its own, which may block; fixed */
    bool overloaded;    /* what is spawned here may better live elsewhere */
    bool had_more;      /* the last turn left something to do */
    bool in_order;      /* the queue's own oldest had a turn since timers' cut in */
    uint8_t look_every; /* steps between two looks at the clock */
    uint8_t until_look; /* left of them */
    /* By the watchdog: somebody here was told to stop, perhaps one that has given way since (tr__must_stop). */
    _Atomic bool overrun;
    uint64_t now_ns; /* stamped when the turn began, and at each look at the clock since */
    uint64_t turn_until_ns;
    uint64_t coarse_ns,
        long_from_ns; /* tr__now_for: the coarse clock, and the clock when that was seen first */
    uint32_t stamp;   /* of now_ns when the turn began */
    tr__pool pool;

    tr_actor *fresh;
    tr_actor *queue, **queue_end;
    uint32_t stretch; /* of fresh ones in a row; TR__FRESH_MAX more while something is owed */
    uint32_t owed;    /* runs that are the queue's, whatever is fresh */
    uint32_t cut;     /* of the queue's, those at its head that timers woke */
#ifdef TR_BUGGIFY_POINTS
    uint32_t passed_over; /* Q1: how often the queue's oldest was */
#endif
    tr_actor *retell; /* those with an empty mailbox and senders that wait for places */

    tr_actor *running;       /* whose code runs now */
    tr_msg *current;         /* what it handles; NULL once taken */
    bool beyond;             /* that is the one that its mailbox takes beyond the message budget */
    tr_msg *answer;          /* tr_take_result's, borrowed until the handler returns */
    struct tr__taps *taps;   /* actors whose messages somebody watches (meter.h); NULL: none */
    struct tr__meter *meter; /* how long handlers take, while somebody watches; NULL: nobody does */
    tr__reason ending; /* why the running one ends when its handler returns; valid while that is `exiting` */
    tr__scratch *scratch;

    tr__wheel wheel;
    struct tr__pending **pendings; /* segments */
    uint32_t pending_segments, pending_next;
    struct tr__pending *pending_free;
    uint32_t young_count;
    tr__young young[TR__YOUNG_MAX];

    uint8_t spawning; /* tr__trait of those spawned now */
    tr_actor *slots_free;
    uint32_t slots_next, slots_end; /* never used ones of the newest segment */

    tr__chain *outboxes;   /* by destination loop */
    struct tr__far **fars; /* what it writes to other nodes, by route; NULL: nothing yet (remote/far.c) */
    struct tr__far *far_open;
    bool tell_ended;         /* loop 0: to the others, behind what is in their outboxes */
    tr__block **blocks_home; /* chains of foreign blocks, by home loop */
    tr_actor **slots_home;   /* the like of slots, by run_next */
    tr__hold holds[TR__HOLD_SLOTS];
    uint32_t holds_used;

    tr__fiber_pool *fibers;
    struct tr__becoming *becomings; /* definitions of actors that became others (defer.c) */
    tr__random random;
    tr__loop_counts counts;
    uint64_t next_number;                       /* of monitors */
    uint32_t next_place;                        /* of TR_PLACE_SPREAD */
    uint32_t placed_here;                       /* while overloaded */
    uint64_t turn_began_ns, busy_ns, window_ns; /* placement.c */
    tr_error unkept; /* the last error of that actor, for want of memory for its extras */
    tr_addr unkept_of;
    tr_msg *want_budget; /* who was refused for the message budget and wants a notice, newest first */
    uint64_t budget_look_ns;
    bool telling_dead_letters;
    struct tr__dead_letter_watch {
        uint64_t watcher; /* as in the node's list */
        uint64_t lost;    /* not told of since the last one that was */
        uint64_t tokens, filled_ns;
    } dead_letter_watches[8];
    uint8_t stop_phase; /* of the node's end (shutdown.h), as this loop knows it */
    bool stop_walking, stop_coming, stop_news;
    uint32_t stop_next;   /* the slot that is looked at next */
    uint32_t stop_left;   /* actors that were asked to stop and haven't ended */
    uint64_t stop_due_ns; /* loop 0: when to look again; TR__NEVER: the node runs */
    /* By reason: when the last line was logged, and how many were silent since. */
    uint64_t dead_letters_logged_ns[TR_DROP_COUNT], dead_letters_silent[TR_DROP_COUNT];
    void *driver;

    tr__watch watch;
    tr__ring ring;

    /* Any thread */
    char line[64]; /* keeps what others write off the lines above */
    _Atomic(tr_msg *) inbox;
    _Atomic(tr__block *) blocks_back;
    _Atomic(tr_actor *) slots_back;
    _Atomic bool sleeping;
    _Atomic bool ended;        /* connections have: see tr__far_ended */
    _Atomic bool taken;        /* of one that is exclusive: an actor has it */
    _Atomic uint32_t load;     /* busy time, of TR__LOAD_FULL (placement.h) */
    _Atomic uint8_t stop_done; /* the phase of the node's end in which it has nothing left to do */
};

/* ---- life and drive (loop.c) --------------------------------------------------------------------------- */

tr_err tr__loop_init(tr__loop *loop, tr_node *node, uint8_t index);
void tr__loop_fini(tr__loop *loop);
/* One turn; true if actors are still runnable, or messages wait: turn again soon. */
bool tr__loop_turn(tr__loop *loop);
/* When the loop must turn next by its timers: ns, TR__NEVER if there are none. */
uint64_t tr__loop_next_due(const tr__loop *loop);
/* Something came from other threads. */
bool tr__loop_has_news(const tr__loop *loop);
/* Another of the node's loops is awake. */
bool tr__loop_others_work(const tr__loop *loop);
/* Before a driver sleeps: true if it may; from then on who sends to it wakes it. */
bool tr__loop_may_sleep(tr__loop *loop);
void tr__loop_awake(tr__loop *loop);
/* End every actor of this loop, with stop called: at the node's end. */
void tr__loop_end_actors(tr__loop *loop);
/* When all loops have ended theirs: what still came is dropped, and counted. */
void tr__loop_end(tr__loop *loop);

/* Push a chain of messages, newest first, on a loop's inbox, and wake it if it sleeps. Any thread. */
void tr__loop_push(tr__loop *to, tr_msg *newest, tr_msg *oldest);

/* ---- delivery (deliver.c), dead letters (dead_letters.c) ------------------------------------------------------------------------------ */

/* Send a message that needs no place, or has it: takes it, always. Counted as accepted. */
void tr__submit(tr__loop *loop, tr_addr to, tr_msg *msg);
/* The like for one that was counted already (taken from another loop, or sent on). */
void tr__pass(tr__loop *loop, tr_addr to, tr_msg *msg);
/* It can't be delivered: count, report, tell who waits for an answer, free. Takes it. */
void tr__drop(tr__loop *loop, tr_msg *msg, tr_drop why);
/* The same of one whose receiver has ended. */
void tr__drop_nobodys(tr__loop *loop, tr_msg *msg);
/* The like for a message to an actor of another node. */
void tr__drop_for(tr__loop *loop, uint64_t node, tr_msg *msg, tr_drop why);
/* Report one that was dropped: to the log and to who watches. True: the log has a line of it. */
bool tr__dead_letter(tr__loop *loop, tr_drop why, const char *type, tr_addr sender, tr_addr receiver);
/* At its end: it watches no more. */
void tr__dead_letters_unwatch(tr_actor *actor);
/* Make the block of an unanswered ask its own failure and send it back. Takes it; can't fail. */
void tr__fail_ask(tr__loop *loop, tr_msg *ask, uint64_t callee_node, tr_err code);
/* Free a message without counting it; an unanswered ask fails at its asker. */
void tr__release_slow(tr__loop *loop, tr_msg *msg);
static inline void tr__release(tr__loop *loop, tr_msg *msg)
{
    if (__builtin_expect(
            (msg->kind != TR__MSG_ASK || (msg->flags & TR__MSG_ANSWERED)) && msg->home == loop->index, 1))
        tr__pool_give(&loop->pool, msg, msg->size_class);
    else
        tr__release_slow(loop, msg);
}
/* Free the block alone. */
void tr__msg_free(tr__loop *loop, tr_msg *msg);
/* The child of a tr_spawn_ask ended before it was ready. Takes msg. */
void tr__started_failed(tr__loop *loop, tr_msg *msg, const tr__reason *reason);
/* A message that arrives at this loop, its owner's. Takes it. */
void tr__deliver(tr__loop *loop, tr_msg *msg);
/* The like for one whose actor was found already. */
void tr__arrive(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* Into the outbox for another loop. */
void tr__to_loop(tr__loop *loop, uint8_t index, tr_msg *msg);
/* What is in that outbox goes now, before the turn's end. */
void tr__outbox_push(tr__loop *loop, uint32_t index);

/* ---- places (places.c), and who hears of them (fullness.c) --------------------------------------------- */

/* Draw `places` (or, of a smaller mailbox, all) for a message to `to`; *places says how many. TR_OK also for
 * an actor that is gone (0 places: it will be a dead letter); TR_EFULL. */
tr_err tr__reserve(tr__loop *loop, tr_addr to, uint32_t *places);
void tr__unreserve(tr__loop *loop, tr_addr to, uint32_t places);
/* What is in the owner's hand goes back to the word, or behind it. */
void tr__hand_give(tr_actor *actor, uint32_t places);
/* Before mail of other loops is queued by an actor with tr__mail flags; false: it was dropped. */
bool tr__mail_arrives(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* If it is nearly full: drop what has expired, if that wasn't just done. */
void tr__make_place(tr__loop *loop, tr_actor *actor);
/* Give back what other loops' mailboxes this loop holds; at the end of a turn. */
void tr__holds_return(tr__loop *loop);
/* Handled messages give their places back through this; who waits for places is told. */
void tr__places_back_slow(tr__loop *loop, tr_actor *actor);
/* Tell who waits for places, if there are enough. */
void tr__tell_writable(tr__loop *loop, tr_actor *actor);
/* It wanted places, and may try again. Takes msg. */
void tr__writable(tr__loop *loop, tr_msg *msg);
/* Its message came to the mailbox. Takes msg. */
void tr__want_writable_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* Who wants places waits for them. Takes msg. */
void tr__want_places(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* Who asked for a level: it came to the mailbox; or can't be there, which its sender hears. Takes msg. */
void tr__level_arrived(tr__loop *loop, tr_actor *actor, tr_msg *msg);
void tr__level_lost(tr__loop *loop, tr_msg *msg);
/* The places taken may have passed a mark. */
void tr__levels_look(tr__loop *loop, tr_actor *actor);
/* At the actor's end: all that wait are told. */
void tr__fullness_end(tr__loop *loop, tr_actor *actor);
/* Once a turn: those that wait although nothing is queued. */
void tr__retell(tr__loop *loop);
static inline void tr__places_back(tr__loop *loop, tr_actor *actor, uint32_t places)
{
    actor->local += places;
    if (__builtin_expect(actor->local > actor->capacity / 4 || actor->extras != NULL, 0))
        tr__places_back_slow(loop, actor);
}

/* A message came for a fiber that may be waiting for one (fibers/actor.c). */
void tr__fiber_mail(tr__loop *loop, tr_actor *actor);

/* ---- running (run.c) ----------------------------------------------------------------------------------- */

/* Put it in the run queue, to run next. */
static inline void tr__wake(tr__loop *loop, tr_actor *actor)
{
    if (!actor->queued) {
        actor->queued = true;
        actor->run_next = loop->fresh;
        loop->fresh = actor;
    }
}
/* Put it in the run queue, to run after all others. */
void tr__wake_last(tr__loop *loop, tr_actor *actor);
/* Append it to the mailbox of an actor of this loop that takes mail. A coming one (A3) hears of it after init. */
static inline void tr__enqueue(tr__loop *loop, tr_actor *actor, tr_msg *msg)
{
    if (TR__ACCOUNTING)
        msg->queued_at = loop->stamp;
    tr__mailbox_append(actor, msg);
    if (__builtin_expect(actor->state != TR__ACTOR_RUNNING, 0))
        return;
    if (__builtin_expect(actor->fiber != NULL, 0))
        tr__fiber_mail(loop, actor);
    else
        tr__wake(loop, actor);
}
/* Fire the timers that are due, at most TR__FIRE_MAX: true if there may be more. What they wake runs next. */
bool tr__fire_timers(tr__loop *loop);
/* A step of an actor's is done, of a fiber that doesn't wait in between as well: true, the turn's time is over. */
bool tr__count_step(tr__loop *loop);
/* Say what runs, for the watchdog; `type` NULL: no message. */
static inline void tr__watch_run(tr__loop *loop, tr_actor *actor)
{
    /* release: who sees it sees its slot, which may be of a new segment */
    if (TR__ACCOUNTING)
        atomic_store_explicit(&loop->watch.actor, actor, memory_order_release);
    TR__SHOW(loop->watch.runs, loop->watch.runs + 1);
}
static inline void tr__watch_type(tr__loop *loop, const tr_msg *msg)
{
    TR__SHOW(loop->watch.type, msg ? msg->type : NULL);
}
/* For calls that can fail: the watchdog has told the actor, whose code runs, to stop; now it ends when its handler
 * returns, and the call gives TR_EKILLED. In line only a flag is tested that nobody writes otherwise. */
bool tr__must_stop_slow(tr__loop *loop, tr_actor *self);
static inline bool tr__is_overrun(tr__loop *loop)
{
    return __builtin_expect(atomic_load_explicit(&loop->overrun, memory_order_relaxed), 0);
}
static inline bool tr__must_stop(tr__loop *loop, tr_actor *self)
{
    return tr__is_overrun(loop) && tr__must_stop_slow(loop, self);
}
/* The asks made in this turn that aren't settled get their timers (pending.c): at its end. */
void tr__pendings_grown(tr__loop *loop);
/* Run what is runnable, for a turn: until nothing is left, the clock says `until_ns`, or enough was done. */
void tr__run_until(tr__loop *loop, uint64_t until_ns);
/* Only the next one; false: nobody is runnable. For drivers that step. */
bool tr__run_one(tr__loop *loop);
/* A message for the runtime or for the actor's futures. Takes msg. */
void tr__runtime_message(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* A message for the actor's code is off its mailbox. False: it isn't wanted any more (it has expired; its monitor was taken
 * back), and is gone. */
bool tr__msg_reached(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* Hand a message to the actor's code, with all that goes around it. Takes msg. */
void tr__handle(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* A signal that its actor traps, as a notice; within tr__runtime_message. Takes msg. */
void tr__hand_notice(tr__loop *loop, tr_actor *actor, tr_msg *msg);
/* Settle what the handler left: free temporary text, end the actor if it is to end: then false. */
bool tr__after_handler(tr__loop *loop, tr_actor *actor);
/* End it when the running handler returns, or at once if it isn't running: only where no other actor's code
 * runs, since its stop is called. */
void tr__end(tr__loop *loop, tr_actor *actor, const tr__reason *reason);
/* Have the running actor end when its handler returns: where to write why. NULL if it isn't that one, is a fiber, or
 * ends already, for the first reason counts. */
static inline tr__reason *tr__ending_of(tr__loop *loop, tr_actor *actor)
{
    if (loop->running != actor || actor->fiber || actor->exiting || actor->state == TR__ACTOR_STOPPING)
        return NULL;
    actor->exiting = TR__EXITING;
    return &loop->ending;
}
/* It handles nothing more, and ends after its handler or when its turn comes: at any time, also within another
 * actor's handler. */
void tr__kill(tr__loop *loop, tr_actor *actor);
void tr__scratch_free(tr__loop *loop);

/* ---- life of actors (life.c) --------------------------------------------------------------------------- */

/* Start an actor (spawn.c): TR_OK and its address, or TR_ENOMEM, TR_EEXIST, TR_EINVAL. */
tr_err tr__spawn(tr__loop *loop, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts,
                 tr_addr *address, tr_error *error);
/* As tr_spawn_ask, with the address besides; none if there is no future. */
tr_future tr__spawn_ask(tr_actor *self, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts,
                        tr_addr *address);
/* A future that settles when the actor has handled what it was sent by self until now, or with its end. */
tr_future tr__reached(tr_actor *self, tr_addr to);
tr_actor *tr__slot_take(tr__loop *loop);
/* What tr_stop sends, to be submitted; NULL: no memory. */
tr_msg *tr__stop_make(tr_actor *self, tr_exit_kind how);
/* On the owner's loop: state, arg and run queue; false: no memory. */
bool tr__actor_arrive(tr__loop *loop, tr_actor *actor);
/* Its init, or its fiber's start; false: it ended. */
bool tr__actor_init(tr__loop *loop, tr_actor *actor);
/* How an actor that ends with that code ends; the text is its last error's if that had the code. */
tr__reason tr__error_reason(const tr_actor *actor, tr_err code);
/* The arg goes back. */
void tr__arg_free(tr__loop *loop, tr_actor *actor);
/* The whole end: stop, release, tell, free the slot. Not while its code runs. */
void tr__actor_finish(tr__loop *loop, tr_actor *actor, const tr__reason *reason);
/* Its extras, made if need be; NULL: no memory. */
tr__extras *tr__extras_of(tr__loop *loop, tr_actor *actor);
tr_err tr__self_fail(tr_actor *self, tr_err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- fibers as actors (fibers/actor.c) ------------------------------------------------------------------ */

tr_err tr__fiber_start(tr__loop *loop, tr_actor *actor);
void tr__fiber_run(tr__loop *loop, tr_actor *actor);
/* Its waits return TR_EKILLED from now on; the stack is dropped after a grace period. */
void tr__fiber_kill(tr__loop *loop, tr_actor *actor, const tr__reason *reason);
/* At the node's end: let its body return, as far as it does so within a few waits; true: it has ended. */
bool tr__fiber_end(tr__loop *loop, tr_actor *actor, const tr__reason *reason);
void tr__fiber_finish(tr__loop *loop, tr_actor *actor);
/* Within the fiber: wait until that pending is settled; TR_EKILLED, or TR_EINVAL if self is no fiber. */
tr_err tr__fiber_await(tr_actor *self, uint64_t pending, const char *where);
/* Wait until the mailbox that was asked under that number says that it has places; TR_EDEADLINE, TR_EKILLED. */
tr_err tr__fiber_wait_places(tr_actor *self, uint64_t number, uint64_t until_ns);
/* It said so. */
void tr__fiber_places(tr__loop *loop, tr_actor *actor, uint64_t number);
/* What it waits for is there: its turn comes. */
static inline void tr__fiber_soon(tr__loop *loop, tr_actor *actor)
{
    actor->fiber->wake = true;
    tr__wake(loop, actor);
}
/* A future of it settled, or its time is up. */
void tr__fiber_wake(tr__loop *loop, tr_actor *actor, uint64_t pending);

/* ---- relations (relations.c) --------------------------------------------------------------------------- */

void tr__watch_add(tr__loop *loop, tr_actor *target, tr_msg *monitor);
void tr__watch_remove(tr__loop *loop, tr_actor *target, const tr_msg *demonitor);
/* A LINK block for that other side; NULL: no memory. */
tr_msg *tr__link_make(tr__loop *loop, tr_addr other);
void tr__link_add(tr__loop *loop, tr_actor *target, tr_msg *link);
/* An UNLINK, an UNLINKED came to its actor. Takes msg. */
void tr__unlink_arrived(tr__loop *loop, tr_actor *target, tr_msg *unlink);
void tr__unlinked_arrived(tr__loop *loop, tr_actor *target, tr_msg *unlinked);
/* An UNLINK was taken, or there is nobody to take it: its sender hears. Takes msg. */
void tr__unlinked_tell(tr__loop *loop, tr_addr from, tr_msg *unlink);
/* If this actor is linked to that one, it isn't any more, and that one hears this. */
void tr__link_give_up(tr__loop *loop, tr_actor *actor, tr_addr other, const tr__reason *reason);
/* Turn a MONITOR or LINK block into its notice and send it. */
void tr__watch_fire(tr__loop *loop, tr_msg *monitor, tr_addr target, const tr__reason *reason);
/* `connection`: the one that was lost, its number; 0: the actor has ended, or there is none. */
void tr__link_fire(tr__loop *loop, tr_msg *link, tr_addr from, const tr__reason *reason, uint64_t connection);
/* A MONITOR block for that watcher and number; NULL: no memory. */
tr_msg *tr__monitor_make(tr__loop *loop, tr_addr watcher, uint64_t number);
/* At its end: tell all who watch or are linked. */
void tr__relations_end(tr__loop *loop, tr_actor *actor, const tr__reason *reason);
/* A notice is about to be handled: false if its monitor or timer was taken back. */
bool tr__notice_wanted(tr__loop *loop, tr_actor *actor, tr_msg *notice);
/* Of a monitor that this actor makes, in its list; false: too many, no memory. `of_name`: the target is the actor that
 * watches a name for it. */
bool tr__own_monitor_add(tr_actor *self, uint64_t number, tr_addr target, bool of_name);
/* What it monitors is only being started: that ask's answer says who it is (0: it wasn't asked). Then it is known; none: it
 * never will be, and the monitor is over. */
void tr__own_monitor_spawning(tr_actor *self, uint64_t number, uint64_t ask);
void tr__own_monitor_spawned(tr_actor *self, uint64_t ask, tr_addr target);
/* Its monitor fired for want of memory only: the actor may well run. */
static inline bool tr__may_run(const tr_down *down)
{
    return down->kind == TR_EXIT_NO_ACTOR && down->code == TR_ENOMEM;
}
/* An exit signal from a linked actor. Takes msg. */
void tr__exit_signal(tr__loop *loop, tr_actor *actor, tr_msg *msg);

#include "actors/node.h"

/* It is one of the node's own, and what would end it comes from another node. */
static inline bool tr__is_guarded(const tr_actor *actor, const tr_msg *msg)
{
    const tr__loop *loop = atomic_load_explicit(&((tr_actor *)actor)->owner, memory_order_relaxed);
    return actor->traits & TR__SYSTEM && msg->sender.node != 0 && msg->sender.node != loop->node->id;
}

static inline tr_addr tr__addr_of(const tr_actor *actor)
{
    tr__loop *loop = atomic_load_explicit(&((tr_actor *)actor)->owner, memory_order_relaxed);
    return (tr_addr){loop->node->id, actor->index,
                     atomic_load_explicit(&((tr_actor *)actor)->generation, memory_order_relaxed)};
}

/* The clock itself, not the turn's stamp: 24 ns. */
static inline uint64_t tr__now_fresh(const tr__loop *loop)
{
    return loop->node->seams.now(loop->node->seams.context);
}

#define TR__LONG TR_SECONDS(1)

/* What a delay or deadline of that length counts from. A look at the clock costs more than setting a timer does. So for a
 * long one the clock is looked at once in a jump of the coarse one, which is 4 ms on most machines: it may come by that much
 * too early. */
static inline uint64_t tr__now_for(tr__loop *loop, uint64_t delay_ns)
{
    if (delay_ns < TR__LONG)
        return tr__now_fresh(loop);
    uint64_t coarse = loop->node->seams.now_coarse(loop->node->seams.context);
    if (coarse != loop->coarse_ns) {
        loop->coarse_ns = coarse;
        loop->long_from_ns = tr__now_fresh(loop);
    }
    return loop->long_from_ns;
}

static inline uint32_t tr__stamp_of(uint64_t now_ns)
{
    return (uint32_t)(now_ns >> TR__STAMP_SHIFT);
}

/* How long ago that was, ns; too little for what is older than 78 hours. */
static inline uint64_t tr__stamp_age(uint32_t stamp, uint64_t now_ns)
{
    return (uint64_t)(tr__stamp_of(now_ns) - stamp) << TR__STAMP_SHIFT;
}

static inline tr__loop *tr__owner(const tr_actor *actor)
{
    return atomic_load_explicit(&((tr_actor *)actor)->owner, memory_order_relaxed);
}

/* Acquire: if the generation, read after this, is the address's, then it is so until this loop itself ends the actor.
 * Read the other way round, the slot could have come to this loop anew in between. */
static inline bool tr__is_owner(const tr__loop *loop, const tr_actor *actor)
{
    return atomic_load_explicit(&((tr_actor *)actor)->owner, memory_order_acquire) == loop;
}

#endif
