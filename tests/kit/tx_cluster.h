/* A few transaction managers in one thread: the state machine of actors/tx/core.h with logs in memory, a network that
 * keeps order per pair and loses what is under way when a connection breaks, and accounts that note in a journal which
 * transactions they took part in. Nothing happens but by cluster_step; which of the things that can happen does is
 * drawn from the seed, so a seed is one interleaving.
 *
 * An account keeps "balance" and "journal" (the ids of the transactions that changed it, in order). tx_cluster_check.c
 * judges what came of it all. */
#ifndef TR_TESTS_TX_CLUSTER_H
#define TR_TESTS_TX_CLUSTER_H

#include "actors/tx/core.h"
#include "base/random.h"
#include "tests/kit/memory_log.h"

#define CLUSTER_NODES     3
#define CLUSTER_TRANSFERS 512
#define CLUSTER_OPS       4
#define CLUSTER_START     1000 /* what an account has before anything happened */

typedef struct cluster cluster;

typedef struct cluster_message {
    struct cluster_message *next;
    tr__tx_frame frame; /* its texts and bytes are copies */
    char *block;
    /* of one that comes late: */
    uint32_t from, to;
    uint64_t from_life, to_life, due_ns;
} cluster_message;

typedef struct cluster_node {
    cluster *cluster;
    char name[8]; /* "n0", "n1" ... */
    tr__tx *tx;   /* NULL: down */
    memory_log log;
    uint64_t id;
    tr__tx_branch *executing[64]; /* given to the actor, in order */
    uint32_t executing_count;
    int kill_at; /* a tr__tx_point; -1: none */
    uint32_t kill_after, kill_seen;
    bool die; /* at the end of this step: it was to be killed within it */
    uint64_t hits[TR__TX_POINT_COUNT];
    tr_error fatal;     /* what it died of by itself */
    uint32_t alarms;    /* told, since the begin */
    tr__tx_doubt alarm; /* the last; its texts are in the manager */
    uint64_t ahead_ms;  /* its host's clock is set wrong by so much */
    bool held;          /* its log does no step: a force that doesn't end */
    bool earlier;       /* of a version that can't be asked by siblings */
    bool unwelcome;     /* it has no right to begin anything elsewhere */
} cluster_node;

/* What a transaction does with one account. */
typedef struct cluster_op {
    char path[16];
    bool writes;
    int64_t amount; /* of a write: what is added */
    uint32_t seen;  /* of a read: how many stood in the journal */
} cluster_op;

typedef struct cluster_transfer cluster_transfer;

/* What the managers give back with an answer. */
typedef struct cluster_token {
    cluster_transfer *transfer;
    bool resolves;
} cluster_token;

/* One transaction, from its begin until it is known what became of it. */
struct cluster_transfer {
    cluster *cluster;
    cluster_token token, resolve_token;
    uint32_t node; /* the caller's */
    uint64_t life; /* that node's incarnation when it began */
    tr__tx_begin begin;
    cluster_op ops[CLUSTER_OPS];
    uint32_t op_count;
    unsigned stage;                /* which op is next; op_count: to commit */
    bool ready;                    /* to do its stage */
    char ticket[TR_TX_TICKET_MAX]; /* as early as there was one */
    tr_tx_outcome outcome;         /* as the commit was answered */
    bool answered;                 /* the commit, or the abort after a refused call */
    bool refused;
    tr_tx_status settled; /* what it came to, by the answer or by resolve */
    bool is_settled, resolving;
    tr_tx_reason resolved; /* why who asked last didn't hear more */
    uint64_t commit_ts;    /* as somebody was told; 0: nobody was, or it wrote nothing */
    uint64_t priority;     /* as its outcome says */
    bool again;            /* a test has begun the same once more */
    uint64_t begun_at,
        told_at;       /* in c->moment: when it began, when somebody heard COMMITTED (0: nobody has) */
    uint32_t resolver; /* the node that asks */
    uint64_t resolver_life;
};

struct cluster {
    tr__random random;
    uint64_t now_ns, moment; /* moment: counts begins and answers */
    cluster_node nodes[CLUSTER_NODES];
    cluster_message *wires[CLUSTER_NODES][CLUSTER_NODES]; /* from, to; oldest first */
    bool cut[CLUSTER_NODES][CLUSTER_NODES];               /* not connected; symmetric */
    bool
        notices_late; /* who is cut off hears so later, each side at another time; what it sends until then is lost */
    bool unheard[CLUSTER_NODES][CLUSTER_NODES]; /* the first hasn't heard that the second is gone */
    bool clogged[CLUSTER_NODES][CLUSTER_NODES]; /* what the first sends the second stands still */
    uint32_t twice, lost; /* one frame of so many comes once more, later; gets lost; 0: none */
    cluster_message *late;
    uint32_t reserve; /* of logs that are opened from now on: small, so that they are full now and then */
    uint32_t segment; /* likewise the size of their segments; 0: the default */
    cluster_transfer transfers[CLUSTER_TRANSFERS];
    uint32_t count;
    uint64_t lives;
};

void cluster_open(cluster *c, uint64_t seed);
void cluster_close(cluster *c);

/* One of the things that can happen now happens; false: nothing can but time. */
bool cluster_step(cluster *c);
/* Steps until nothing can happen, then time in ticks, for that long. */
void cluster_run(cluster *c, uint64_t duration_ns);

void cluster_kill(cluster *c, uint32_t node, bool power_cut);
/* Replays its log; false: it refused, why is in fatal. */
bool cluster_start(cluster *c, uint32_t node);
void cluster_partition(cluster *c, uint32_t a, uint32_t b);
void cluster_heal(cluster *c, uint32_t a, uint32_t b);

/* Put `ops` into it, then let it go: it goes on by itself. */
cluster_transfer *cluster_begin(cluster *c, uint32_t node);
void cluster_op_add(cluster_transfer *transfer, const char *path, bool writes, int64_t amount);
/* "n1/a" and the like: one gives, the other gets. */
cluster_transfer *cluster_transfer_begin(cluster *c, uint32_t node, const char *from, const char *to,
                                         int64_t amount);
/* The same once more, with the priority of that one, whose outcome is known. */
cluster_transfer *cluster_again(cluster *c, const cluster_transfer *before);
/* Ask, by its ticket, from that node. */
void cluster_resolve(cluster *c, cluster_transfer *transfer, uint32_t node);

/* ---- tx_cluster_account.c ------------------------------------------------------------------------------ */

enum { CLUSTER_MOVE = 1, CLUSTER_READ }; /* calls: the body is an i64; the reply to a read is an u32 */

void cluster_execute(cluster_node *n, tr__tx_branch *branch);

/* ---- tx_cluster_check.c -------------------------------------------------------------------------------- */

int64_t cluster_balance(cluster *c, const char *path);
/* How often the transaction stands in that account's journal. */
uint32_t cluster_times_in_journal(cluster *c, const char *path, const tr_tx_id *id);
/* At any time: fails the test unless lines are in the order of priorities, nobody waits for a younger one that could be
 * wounded, and a priority is the same everywhere. */
void cluster_check_locks(cluster *c);
/* Fails the test unless: money is conserved over `paths`; who was told COMMITTED is in all journals that it wrote, once,
 * ABORTED in none; there is one order of all that was committed, that all journals, all that was read and all times of
 * calls and answers agree with (strict serialisability); commit times grow along each journal; nothing is locked or in
 * doubt. */
void cluster_check(cluster *c, const char *const *paths, uint32_t count);

#endif
