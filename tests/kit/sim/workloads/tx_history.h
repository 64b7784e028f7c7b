/* What all transactions of a run were, did and heard, on all nodes and across their crashes: an oracle in static memory,
 * for the workloads bank and append. One thread; of the simulation that runs now.
 *
 * A participant is a place: a journal of the numbers of the transactions that wrote to it, and a balance. */
#ifndef TR_TESTS_TX_HISTORY_H
#define TR_TESTS_TX_HISTORY_H

#include <troupe/troupe.h>

#define TX_PLACES  6 /* "n0/a", "n0/b", "n1/a", ... */
#define TX_RECORDS 480
#define TX_OPS     8
#define TX_START   100 /* each balance at first */

typedef struct tx_op {
    uint32_t place;
    bool writes;
    int64_t amount;   /* added to the balance */
    uint32_t padding; /* bytes that are written beside it */
    bool answered;
    uint32_t seen; /* entries in the journal before it */
    int64_t balance;
} tx_op;

/* One attempt. */
typedef struct tx_record {
    uint32_t number, node;
    tr_tx_id id;
    uint64_t life; /* its caller's node's */
    tx_op ops[TX_OPS];
    uint32_t count;
    bool patient; /* by the usual deadline, not a short one */
    bool refused; /* it can't commit: what it takes isn't there */
    char ticket[TR_TX_TICKET_MAX];
    uint64_t priority;    /* 0: not seen yet */
    uint64_t begun, told; /* moments, counted: begun before, and told committed; 0: not */
    bool sent;            /* its COMMIT may have left: else it is aborted, whatever happens */
    bool runs;            /* somebody has begun to */
    bool over;            /* nobody waits for its answer */
    bool expired;         /* somebody asked too late */
    bool settled;
    tr_tx_status status;
    uint64_t ts;
    uint32_t resolved;            /* times */
    char text[TR_ERROR_TEXT_MAX]; /* why it isn't committed */
} tx_record;

typedef struct tx_history {
    uint64_t run; /* tr_sim.number */
    tx_record records[TX_RECORDS];
    uint32_t count;
    uint64_t moment;
    uint32_t asked_all;          /* bits: nodes that have resolved all tickets after healing */
    uint32_t quiet;              /* bits: nodes where nobody begins or asks anything while there are faults */
    uint32_t older;              /* bits: nodes whose log is an older copy now, so that it lacks something */
    bool may_lose;               /* logs are put back to older copies */
    bool may_expire;             /* outcomes are forgotten soon */
    bool emits;                  /* each write emits its transaction's number to an audit and to a ledger */
    uint32_t posted[TX_RECORDS]; /* how often each number came to a ledger */
} tx_history;

/* Of this run: empty at its start. */
tx_history *tx_history_now(void);
/* The next attempt, NULL when there is no more room. */
tx_record *tx_record_begin(uint32_t node);
tx_op *tx_op_add(tx_record *record, uint32_t place, bool writes, int64_t amount);
const char *tx_path(uint32_t place);
/* What became of it: by its caller, or who resolved it. Two different answers fail the run. */
void tx_record_told(tx_record *record, const tr_tx_outcome *out);
/* It never commits, whatever was called: its caller gave it up, or was told so. */
void tx_record_aborted(tx_record *record);

/* ---- what must hold (tx_check.c) ----------------------------------------------------------------------- */

/* When a node has started, and any time it is up: what was told to be committed is there or in doubt, what is in doubt
 * is locked. */
void tx_check_node(uint32_t node);
/* At any time, of all nodes: lines are in the order of priorities, nobody waits for a younger one that can be wounded,
 * and a priority is everywhere what its caller says (W1, W2, W3). */
void tx_check_locks(void);
/* To be called while a caller of that node has it under way: one that is run again has the priority of `before`. */
void tx_check_priority(tx_record *record, const tx_record *before);
/* Nothing lives beyond its deadline: to be called every 400 ms on that node. */
void tx_check_deadlines(uint32_t node, uint32_t looks[2]);
/* At the end: each all or nothing and as was told; sums; one order (tx_order.c); nothing is left. */
void tx_check_all(void);
void tx_check_order(void);
/* The same once more, by the judge of files' histories (tx_judge.c). */
void tx_check_judged(void);
/* What was committed is noted by an audit once for each write, what wasn't never is; the same of ledgers but at least once,
 * and but for those of nodes that died; and no outbox has anything. */
void tx_check_emits(void);
/* Where a transaction's number is emitted to. */
uint32_t tx_emit_node(uint32_t number);
/* Moves money between two places, or takes more than there is. */
void tx_plan_moves(tr_actor *self, tx_record *record);
/* Of the journal, as bytes; *length: entries. NULL: none. */
const char *tx_journal(uint32_t place, uint32_t *length);
/* The like for what another participant keeps under that key. */
const char *tx_kept(uint32_t node, const char *actor, const char *key, uint32_t *length);
uint32_t tx_journal_at(const char *journal, uint32_t i);
int64_t tx_balance(uint32_t place);

#endif
