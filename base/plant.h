/* Planted bugs: mistakes that a runtime like this one is prone to, each a short line where it could have been made. A
 * property that is checked is worth what it catches: with one of these chosen, the simulator has to find it.
 *
 *     if (TR_PLANT(ask_left))
 *         return;
 *
 * Only `troupe_points` has them, and only in a build with -DTR_PLANTS=ON; else the macro is the constant false. One
 * build serves all: at most one of them is chosen at a time, by its name. */
#ifndef TR_BASE_PLANT_H
#define TR_BASE_PLANT_H

#include <stdbool.h>

/* Name, the property that it breaks first, and what is wrong. */
#define TR__PLANTED_BUGS(X)                                                                                  \
    X(two_swapped, order, "two messages from another loop are handled in the wrong order")                   \
    X(held_overtaken, order, "what is sent while others are held for want of credit overtakes them")         \
    X(bulk_overtaken, order, "a small message overtakes the large one that its sender sent before it")       \
    X(lost_midway, order, "a message is lost in the middle of a connection that stays up")                   \
    X(twice_after_reconnect, at_most_once, "after a reconnection messages are delivered twice")              \
    X(confirmed_twice, confirmed, "who is sent confirmed messages again takes them again")                   \
    X(confirmed_early, confirmed, "a message is confirmed that found the mailbox full")                      \
    X(confirmed_overtaken, confirmed, "what was sent behind a refused confirmed message is taken")           \
    X(fed_again, at_most_once, "what one topic of a cluster hears of another it passes on to all others")    \
    X(reply_to_next, at_most_once, "the reply to an ask that is over settles the owner's next one")          \
    X(down_dropped, down, "monitors don't fire when a connection breaks")                                    \
    X(down_twice, down, "a monitor that fired fires again when the connection breaks")                       \
    X(monitor_late, down, "a monitor that was set after the actor's death never fires")                      \
    X(tie_dropped, down, "links don't fire when a connection breaks")                                        \
    X(exit_unlinked, down, "an exit signal counts though there is no link any more")                         \
    X(link_early, down, "a link to an actor that ends before it has read of it never fires")                 \
    X(slot_reused, stale, "a slot is used again with the same generation")                                   \
    X(old_incarnation, stale, "an address of a node's last run leads to the node that came after it")        \
    X(name_left, stale, "a name stays when its actor has ended")                                             \
    X(claim_left, stale, "a name in the cluster stays another node's when that has given it up")             \
    X(name_kept, stale, "of two nodes that both have a name in the cluster neither gives it up")             \
    X(dead_letter_uncounted, sums, "a message to an actor that has ended isn't counted")                     \
    X(held_counted_twice, sums, "a message that was held for want of credit is counted as sent twice")       \
    X(intensity_ignored, supervisor, "a supervisor starts a child again however often it has ended")         \
    X(child_twice, supervisor, "a supervisor starts a child twice when it has ended")                        \
    X(one_too_many, bound, "a mailbox takes one message more than it has places")                            \
    X(place_lost, bound, "the place of a message that was cancelled in the mailbox is never given back")     \
    X(demand_twice, bound, "who takes items of a stream demands twice as many again")                        \
    X(held_leaked, leak, "what is held for a node that goes down is forgotten")                              \
    X(decision_kept, leak, "a coordinator keeps a decision that all have acknowledged")                      \
    X(ask_left, liveness, "asks whose connection broke don't fail")                                          \
    X(wake_lost, liveness, "a loop that sleeps isn't woken by several messages at once")                     \
    X(credit_kept, liveness, "credit isn't granted again for what was taken up")                             \
    X(inquired_once, liveness, "a branch in doubt asks for the decision once only")                          \
    X(wrote_unsaid, liveness, "a participant that has written something doesn't say so")                     \
    X(presumed_early, tx_atomic, "a coordinator that is still forcing its COMMIT says aborted")              \
    X(yes_unforced, tx_atomic, "a participant votes yes before its PREPARE is forced")                       \
    X(prepared_given_up, tx_atomic, "a prepared branch is given up when its deadline has passed")            \
    X(sibling_presumes, tx_atomic, "a participant that knows nothing of a transaction says aborted")         \
    X(sibling_guesses, tx_atomic, "a participant that is in doubt itself says aborted to one that asks")     \
    X(committed_unforced, tx_durable, "committed is said before the COMMIT is forced")                       \
    X(redo_lost, tx_durable, "what a participant had committed isn't replayed")                              \
    X(snapshot_ahead, tx_durable, "a snapshot says it has what the log may not have forced yet")             \
    X(segment_early, tx_durable, "a segment is dropped before its snapshot is whole")                        \
    X(locks_lost, tx_order, "what is in doubt after a start isn't locked")                                   \
    X(dirty_neighbour, tx_order, "a reader gets the lock while a writer holds it")                           \
    X(read_released, tx_order, "a participant that only read lets go before all calls are answered")         \
    X(reads_unasked, tx_order, "what only reads is committed without asking whether all of it stood")        \
    X(prepared_wounded, tx_atomic, "a prepared branch is wounded by an older transaction")                   \
    X(lock_by_arrival, tx_locks, "who waits for a lock gets it in the order of arrival")                     \
    X(wound_withheld, tx_locks, "an older transaction waits for a younger one as for any other")             \
    X(retry_as_new, tx_locks, "a transaction that is run again has a new priority")                          \
    X(older_unnoticed, tx_lost, "a node goes on with an older copy of its log, whatever peers remember")     \
    X(lives_unsaved, tx_lost,                                                                                \
      "a snapshot doesn't say which of its log's records were written in which life")                        \
    X(peers_unsaved, tx_lost, "a snapshot doesn't say what is remembered of peers' logs")                    \
    X(lost_presumed, tx_lost,                                                                                \
      "a node with an older copy of its log presumes that what it lacks was aborted")                        \
    X(migrated_again, tx_version, "a migration of a participant's state doesn't note the version")           \
    X(migrated_in_doubt, tx_version, "a migration doesn't wait for what is in doubt from before")            \
    X(migration_unawaited, tx_version, "a participant begins while its state is still of an older version")  \
    X(forgotten_aborted, tx_resolve, "who asks later than outcomes are kept hears aborted")                  \
    X(unacknowledged_forgotten, tx_atomic, "a COMMIT is forgotten by its age before all have heard of it")   \
    X(outcome_forgotten, tx_resolve, "a coordinator that was started again has forgotten what it committed") \
    X(outcome_unsaved, tx_resolve, "a snapshot doesn't have what became of transactions")                    \
    X(aborted_unwritten, tx_resolve, "who asks hears aborted, and a COMMIT that comes later goes through")

#ifdef TR_PLANTS

#define TR__ENUM(name, property, what) TR__PLANT_##name,
typedef enum tr__plant_number { TR__PLANT_NONE, TR__PLANTED_BUGS(TR__ENUM) TR__PLANT_COUNT } tr__plant_number;
#undef TR__ENUM

typedef struct tr__plant_row {
    const char *name, *property, *what;
} tr__plant_row;

/* By number; that of TR__PLANT_NONE is empty. */
extern const tr__plant_row tr__plants[TR__PLANT_COUNT];
/* The chosen one. Of the process. */
extern tr__plant_number tr__plant;
/* Choose by name, NULL: none. False: there is no such name, and nothing has changed. Before nodes are made. */
bool tr__plant_choose(const char *name);

#define TR_PLANT(name) __builtin_expect(tr__plant == TR__PLANT_##name, 0)

#else
#define TR_PLANT(name) false
#endif

#endif
