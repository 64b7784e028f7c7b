/* Histories of transactions, and what is wrong with them. Who has a history (a file's lines, the simulator's records) adds
 * its events in the order of time; then judge_run() tells each finding. No I/O, no clock: memory from base/mem.h only.
 * Any thread; a history is its owner's.
 *
 * What is checked of "append": each read of a key is the beginning of the longest one, which is the order in which it was
 * written. With that and with real time, which transaction must come before which is a graph; a circle in it is a
 * finding, told by its kinds of edges (Adya's names): ww the second appended behind the first, wr it saw the first's, rw it
 * appended what the first didn't see, and in names with "-realtime" that it began after the first had ended. Of "bank":
 * sums, and with known balances at first each one read against real time.
 *
 * What is held: about 150 bytes an operation, 16 an item of it (a call, a balance), 60 a value appended. A list that was
 * read is not held: only how long it was. */
#ifndef TR_CLI_TX_JUDGE_H
#define TR_CLI_TX_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <troupe/err.h>

#define JUDGE_OPS_MAX      (1u << 24)     /* operations */
#define JUDGE_OP_ITEMS_MAX 1024u          /* of one */
#define JUDGE_ACCOUNTS_MAX 1024u          /* of a bank */
#define JUDGE_MONEY_MAX    100000000000ll /* of an amount or a balance, so that no sum overflows */
#define JUDGE_TOTAL_MAX    1000000000000000ll
#define JUDGE_FILES_MAX    64u

typedef enum judge_workload { JUDGE_APPEND, JUDGE_BANK } judge_workload;
typedef enum judge_type { JUDGE_INVOKE, JUDGE_OK, JUDGE_FAIL, JUDGE_INFO, JUDGE_RESOLVED } judge_type;
typedef enum judge_f { JUDGE_TXN, JUDGE_TRANSFER, JUDGE_READ } judge_f;

typedef enum judge_what {
    JUDGE_APPENDS, /* append: value */
    JUDGE_LIST,    /* append: a read, list and count; unknown in an invoke */
    JUDGE_CHANGE,  /* bank, a transfer's: value is added to the account */
    JUDGE_BALANCE, /* bank, a read's: value */
} judge_what;

typedef struct judge_item {
    judge_what what;
    bool known;   /* a list */
    uint32_t key; /* or account: judge_key() */
    uint32_t count;
    int64_t value;
    const int64_t *list; /* borrowed */
} judge_item;

typedef struct judge_event {
    judge_type type;
    judge_f f;
    uint32_t file, line; /* where it stands, for who reads the findings; file < judge_options.files_count */
    int64_t index, time_ns, process;
    const judge_item *items; /* of an invoke and an ok; borrowed */
    uint32_t items_count;
    const char *id; /* NULL: not told. Borrowed */
    bool has_ts, has_of;
    int64_t ts;
    int64_t of;     /* a resolved: the index of the invoke; else by id */
    bool committed; /* a resolved */
} judge_event;

typedef struct judge_options {
    judge_workload workload;
    uint32_t accounts;
    int64_t total;
    bool no_negative;
    bool has_initial; /* `initial` in each, but for judge_initial() */
    int64_t initial;
    const char *const
        *files; /* names, that findings are told with; NULL: "line 7" is enough. They outlive the history */
    uint32_t files_count;
} judge_options;

typedef struct judge_history judge_history;

/* NULL: no memory. */
judge_history *judge_open(const judge_options *options);
void judge_close(judge_history *h); /* NULL is fine */

/* The number of a key or an account; a text begins with '"' if it was a string, so that 1 and "1" are two. TR_ETOOBIG: more accounts
 * than there are. TR_ENOMEM. */
tr_err judge_key(judge_history *h, const char *text, uint32_t *key, tr_error *error);
const char *judge_key_text(const judge_history *h, uint32_t key);
/* What an account has at first. TR_ETOOBIG. */
tr_err judge_initial(judge_history *h, uint32_t account, int64_t balance, tr_error *error);

/* The next event. TR_EPROTO: it makes no sense, and *error says why, without the place. TR_ETOOBIG: beyond a limit above.
 * TR_ENOMEM. After an error the history is of no use but for judge_close(). */
tr_err judge_add(judge_history *h, const judge_event *event, tr_error *error);
/* What the operation of that process had called, while it is under way: for who writes a history down. Its items' lists are
 * NULL. Borrowed until the next event. */
const judge_item *judge_called(judge_history *h, uint32_t file, int64_t process, uint32_t *count);

/* ---- judging ------------------------------------------------------------------------------------------- */

/* One edge of a circle: why `from` comes before `to`. */
typedef struct judge_step {
    const char *edge;    /* "ww", "wr", "rw", "realtime" */
    uint32_t file, line; /* from's invoke, */
    uint32_t end_line;   /* and its end's; 0: none */
    char text[240];      /* a sentence */
} judge_step;

typedef struct judge_finding {
    const char *kind;        /* "G0", "lost update", ... : docs/transactions.md has the list */
    char text[400];          /* one line */
    uint32_t file, line;     /* the first place it tells of */
    const judge_step *steps; /* of a circle; borrowed during the call */
    uint32_t steps_count;    /* all of it */
    uint32_t steps_told;     /* there are so many in `steps` */
} judge_finding;

typedef void judge_report(void *context, const judge_finding *finding);

typedef struct judge_counts {
    uint64_t events, operations, committed, aborted, unknown; /* unknown: and nothing says which */
    uint64_t resolved;                                        /* answers to who asked again */
    uint64_t keys, values, reads;                             /* append; reads: lists or balances */
    uint64_t edges; /* of its graph; of real time, one for each that had ended before another began */
    uint64_t findings;
} judge_counts;

/* Once, after the last event. Each finding is reported, the first JUDGE_OF_A_KIND_MAX of each kind; all are counted.
 * TR_ENOMEM. */
#define JUDGE_OF_A_KIND_MAX 10u
tr_err judge_run(judge_history *h, judge_report *report, void *context, judge_counts *counts,
                 tr_error *error);

#endif
