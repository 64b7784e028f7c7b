/* Transactions over actors of any nodes: they happen entirely or not at all, and any two that touch the same two
 * actors are applied in the same order by both. docs/transactions.md is the tour.
 *
 *     TR_MESSAGE(debit,  TR_WRITES, (i64, amount))
 *     TR_MESSAGE(credit, TR_WRITES, (i64, amount))
 *
 *     static tr_err account(tr_txview *v, void *state, const tr_msg *msg)      a participant
 *     {
 *         int64_t balance = tr_view_i64(v, "balance", 0);
 *         const debit *d = tr_match(msg, debit);
 *         if (d && balance < d->amount)
 *             return tr_refuse(v, "balance %" PRId64 " is less than %" PRId64, balance, d->amount);
 *         ...
 *         return tr_view_put_i64(v, "balance", balance - d->amount);
 *     }
 *     TR_ACTOR(account_def, .transact = account);
 *
 *     static tr_err pay(tr_actor *self, tr_tx *tx, void *arg)                  a body
 *     {
 *         TR_TRY(tr_tx_await(tx, "alice/account", debit, .amount = 40));
 *         return tr_tx_await(tx, "bob/account", credit, .amount = 40);
 *     }
 *     tr_tx_outcome out = tr_tx_run(self, pay, NULL, NULL);                    in a fiber
 *
 * A participant is an actor with `transact`, spawned under a name on a node that keeps a log (tr_node_opts.data,
 * --data DIR). What it keeps by the view belongs to its name on that node: it outlives the actor and the process.
 * The calls are in api_list.h. */
#ifndef TROUPE_TX_H
#define TROUPE_TX_H

#include <troupe/actor.h>

#define TR_TX_PARTICIPANTS_MAX 16
#define TR_TX_REDO_MAX \
    (1024u * 1024u)           /* bytes of keys and values that one participant writes in one transaction */
#define TR_TX_KEY_MAX     255 /* bytes of a key */
#define TR_TX_TICKET_MAX  160 /* bytes of a ticket, with the NUL */
#define TR_TX_EMIT_ID_MAX 128 /* bytes of an emitted message's id, with the NUL */
#define TR_TX_ID_TEXT     27 /* bytes of an id as text (26 characters of Crockford's base 32), with the NUL */

/* Identifies one attempt: 48 bits of milliseconds since 1970, 80 of chance. */
typedef struct tr_tx_id {
    uint8_t bytes[16];
} tr_tx_id;

/* Zero means the default. */
typedef struct tr_tx_opts {
    uint64_t deadline_ns;  /* for all of it, from the begin: 10 s */
    uint64_t lock_wait_ns; /* for each call's wait for another transaction: 2 s */
    bool read_only;        /* a call of a type with TR_WRITES aborts it: not-allowed */
} tr_tx_opts;

/* A transaction under way: a value of the actor that began it. Nothing is to be freed; one that is neither committed
 * nor aborted ends with its actor, or at its deadline, and has no effect then. */
typedef struct tr_tx {
    tr_actor *self;
    tr_tx_id id;
    uint64_t until_ns; /* on the node's clock */
    uint64_t lock_wait_ns;
    uint32_t calls; /* made so far */
    bool committed; /* tr_tx_commit was called: it is, once */
    bool read_only;
} tr_tx;

/* COMMITTED: on the disk of the node that decided, before you hear it. ABORTED: no effect, now or ever. UNKNOWN: one
 * of the two is or will be true; tr_tx_resolve(ticket) says which. */
#define TR_TX_STATUSES(X)           \
    X(TR_TX_COMMITTED, "committed") \
    X(TR_TX_ABORTED, "aborted")     \
    X(TR_TX_UNKNOWN, "unknown")

/* Why not committed: the word, and what it means. */
#define TR_TX_REASONS(X)                                                                              \
    X(TR_TX_NONE, "", "committed")                                                                    \
    X(TR_TX_APP, "app", "a participant or the caller refused")                                        \
    X(TR_TX_LOCK_TIMEOUT, "lock-timeout", "another transaction held a participant for too long")      \
    X(TR_TX_DEADLINE, "deadline", "not decided when its deadline came")                               \
    X(TR_TX_BRANCH_LOST, "branch-lost", "a participant's node or actor ended before it had promised") \
    X(TR_TX_UNREACHABLE, "unreachable", "a participant's node isn't connected")                       \
    X(TR_TX_OVERLOAD, "overload", "a node has too many transactions, or no memory; try again")        \
    X(TR_TX_LOG_FULL, "log-full", "a node's log has no place on the disk")                            \
    X(TR_TX_NOT_ALLOWED, "not-allowed", "not such an actor, not such a call")                         \
    X(TR_TX_TOO_LARGE, "too-large", "more participants, or more written, than the limits")            \
    X(TR_TX_LOG_LOST, "log-lost", "a node's log isn't the one that it had: ask its operator")         \
    X(TR_TX_WOUNDED, "wounded", "an older transaction needed a participant that it held; try again")  \
    X(TR_TX_EXPIRED, "expired", "asked later than promised: what was decided may be forgotten")

#define TR__ENUM(name, word) name,
typedef enum tr_tx_status { TR_TX_STATUSES(TR__ENUM) TR_TX_STATUS_COUNT } tr_tx_status;
#undef TR__ENUM
#define TR__ENUM(name, word, meaning) name,
typedef enum tr_tx_reason { TR_TX_REASONS(TR__ENUM) TR_TX_REASON_COUNT } tr_tx_reason;
#undef TR__ENUM

typedef struct tr_tx_outcome {
    tr_tx_status status;
    tr_tx_reason reason;
    uint64_t
        commit_ts; /* of a committed one that wrote: orders the writers of one actor; 0: it wrote nothing */
    /* Keep it, as text, where it survives you: tr_tx_resolve takes it at any time, from any node of the cluster. ""
     * for one that can't become unknown any more or wrote nothing. */
    char ticket[TR_TX_TICKET_MAX];
    char text[TR_ERROR_TEXT_MAX];
} tr_tx_outcome;

/* What the futures of tr_tx_commit and tr_tx_resolve give; tr_tx_outcome_of reads it. `priority` is what tr_tx_run gives
 * to the next attempt: when the first was begun. */
TR_MESSAGE(tr_tx_done, (u32, status), (u32, reason), (u64, commit_ts), (string, ticket), (string, text),
           (optional, u64, priority))
/* What tr_tx_ticket's future gives. */
TR_MESSAGE(tr_tx_ticket_is, (string, ticket))
/* What a call gives whose participant didn't reply (tr_view_reply). */
TR_MESSAGE(tr_tx_called)

/* What happened lately: asked of a node's manager (the actor "tx" of each node), the last `most` transactions (0: all
 * that it remembers, 64) as JSON:
 * {"node","figures":{...},"in_doubt":[{"id","actor","decider","ticket","since_ns"}],"outbox":[{...}],
 *  "transactions":[{"id","state","reason","began_ns","events":[{"at_ns","actor","what","detail"}]}]},
 * the newest last; times are of that machine's monotonic clock. figures: among others prepared (how many are in doubt
 * here), oldest_prepared_ns (since when; 0: none) and alarms (that were so for 30 s, since the start). in_doubt: what is
 * prepared here and waits for the decision of the node `decider`, with its locks. versions: {"actor","version"} of what is kept
 * here, if it has one, at most 64. `log_lost`, if it is there: its log is an
 * older copy, and what to do. Who asks from another node needs the right `transact` there: TR_EPERM. */
TR_MESSAGE(tr_tx_list, (u32, most))
TR_MESSAGE(tr_tx_listing, (string, json))

/* For tr_view_each: a key and its value, borrowed until it writes that key. Another value than TR_OK ends the walk with it. */
typedef tr_err (*tr_view_each_fn)(tr_txview *v, const char *key, tr_bytes value, void *context);

/* Do all calls of a transaction; an error aborts it (its text is the outcome's). May be run again from the start. */
typedef tr_err (*tr_tx_body)(tr_actor *self, tr_tx *tx, void *arg);

#endif
