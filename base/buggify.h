/* Fault points: places in the core where something rare but legal can happen. A simulator makes it happen now and then,
 * so that a run of seconds meets what a cluster meets in months (after FoundationDB's BUGGIFY).
 *
 *     if (TR_BUGGIFY(send_eagain))
 *         return TR_EAGAIN;
 *
 * What a point does must keep every promise: the library of users, `troupe`, could do the same at a bad moment. There
 * the macro is the constant false, and nothing of this is in it; `troupe_points` is the same core with
 * TR_BUGGIFY_POINTS. */
#ifndef TR_BASE_BUGGIFY_H
#define TR_BASE_BUGGIFY_H

#include <stdbool.h>

/* Name, and what happens there. */
#define TR__BUGGIFY_POINTS(X)                                                          \
    X(run_of_one, "an actor's run ends after one message")                             \
    X(turn_over, "a turn ends, as if its time were over")                              \
    X(stretch_cut, "the actors woken last don't run before those that wait longer")    \
    X(timers_late, "timers that are due fire in the next turn")                        \
    X(outbox_late, "messages for other loops leave with the next turn")                \
    X(batch_late, "batches for other nodes leave with the next turn")                  \
    X(wake_needless, "a loop is woken that doesn't sleep")                             \
    X(sleep_refused, "a loop with nothing to do turns once more")                      \
    X(draw_few, "no place is drawn from a mailbox beyond those that a message takes")  \
    X(tell_one, "of those that wait for places one is told at a time")                 \
    X(send_eagain, "a message for another node is refused, though there is credit")    \
    X(credit_late, "a message that was accepted waits for credit that is there")       \
    X(batch_of_one, "a batch is closed after its first message")                       \
    X(send_one, "one batch leaves at a time, though several are ready")                \
    X(receive_few, "a few bytes are received at a time")                               \
    X(grant_early, "credit is granted before a quarter of the window was taken up")    \
    X(ack_at_once, "an acknowledgement doesn't wait for a batch to ride with")         \
    X(log_batch_early, "the transaction log begins a batch with what is there")        \
    X(log_busy, "the transaction log takes no record before it has forced")            \
    X(inquire_early, "a prepared branch asks for the decision without waiting for it") \
    X(resolve_twice, "who asks what became of a transaction asks twice")               \
    X(decide_twice, "a participant is told twice that it is committed")                \
    X(wound_untold, "who is wounded isn't told at once")                               \
    X(bulk_late, "a large message that was accepted waits for room that is there")

#ifdef TR_BUGGIFY_POINTS

#define TR__ENUM(name, what) TR__POINT_##name,
typedef enum tr__buggify_point { TR__BUGGIFY_POINTS(TR__ENUM) TR__POINT_COUNT } tr__buggify_point;
#undef TR__ENUM

/* Whether it happens this time: asked at every point that is passed, by the thread that passes it. NULL, as at the
 * start: it never does. Of the process; set it before nodes are made. */
extern bool (*tr__buggify)(tr__buggify_point point);
/* The names, by number: "run_of_one" ... */
extern const char *const tr__buggify_names[TR__POINT_COUNT];

#define TR_BUGGIFY(name) __builtin_expect(tr__buggify &&tr__buggify(TR__POINT_##name), 0)

#else
#define TR_BUGGIFY(name) false
#endif

#endif
