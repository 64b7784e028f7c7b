/* What a history is made of inside of the judge: judge.c fills it, judge_append.c, judge_bank.c and judge_graph.c look at it.
 * Operations, items, values and keys are numbers: places in arrays. */
#ifndef TR_CLI_TX_JUDGE_STATE_H
#define TR_CLI_TX_JUDGE_STATE_H

#include "cli/tx/judge.h"
#include "cli/tx/judge_graph.h"
#include "cli/tx/judge_table.h"

enum { JUDGE_TELLS_COMMITTED = 1, JUDGE_TELLS_ABORTED = 2 };

typedef struct judge_op {
    int64_t index, invoke_ns, end_ns; /* end: when somebody knew that it is committed, if end_known */
    int64_t ts;
    size_t items; /* where they begin */
    uint32_t items_count;
    uint32_t file, line, end_line, known_file, known_line; /* known: where that stands which end_ns is of */
    uint8_t f;
    uint8_t told;     /* a judge_type: JUDGE_INVOKE, while nothing is */
    uint8_t resolved; /* bits of JUDGE_TELLS_... */
    bool has_ts, end_known;
    bool committed, aborted; /* by judge_settle() */
} judge_op;

/* An item, kept. Of a list: value is its length. */
typedef struct judge_kept {
    int64_t value;
    uint32_t key;
    uint8_t what; /* a judge_what */
    bool known;
    bool split; /* a list that isn't the beginning of the longest, or of which that is not one */
} judge_kept;

/* What was appended, or only seen. */
typedef struct judge_value {
    int64_t value;
    uint32_t key;
    uint32_t writer; /* JUDGE_NONE: nobody */
    uint32_t place;  /* in its key's order; JUDGE_NONE: nobody saw it */
    uint32_t
        seen_by; /* who did first; of one that nobody saw its place in its key's tail (judge_edges.c), or JUDGE_NONE */
    bool more; /* its writer appends to the key again */
} judge_value;

typedef struct judge_key_state {
    char *text;
    int64_t *order;   /* the longest read */
    uint32_t *values; /* the same, as numbers of values */
    size_t length, order_room, values_room;
    uint32_t longest;           /* who read that */
    uint32_t last_read;         /* the read that began last */
    int64_t initial;            /* an account's */
    uint32_t first_tail, tails; /* judge_edges.c: nodes */
} judge_key_state;

/* An answer to who asked again, or a contradiction that was met on the way. */
typedef struct judge_note {
    const char *kind;
    char text[200];
    uint32_t op;
} judge_note;

struct judge_history {
    judge_options options;
    judge_op *ops;
    judge_kept *items;
    judge_value *values;
    judge_key_state *keys;
    judge_note *notes; /* JUDGE_NOTES_MAX at most */
    size_t ops_count, ops_room, items_count, items_room, values_count, values_room, keys_count, keys_room,
        notes_count, notes_room, lists;
    uint64_t notes_more; /* that were not kept */
    judge_table table;   /* all of them: the first number's upper bits say of what */
    judge_item *called;  /* judge_called()'s */
    size_t called_room;
    judge_counts counts;
    int64_t last_ns;
    /* While judge_run() is under way. */
    judge_report *report;
    void *context;
    struct {
        const char *kind;
        uint32_t times;
    } told[32];
};

#define JUDGE_NOTES_MAX 1000

/* "line 7", or "FILE:7" with several files, and that of an operation's invoke. Both return `out`. */
const char *judge_place(const judge_history *h, uint32_t file, uint32_t line, char out[64]);
const char *judge_at(const judge_history *h, uint32_t op, char out[64]);
/* A finding of one line. */
void judge_find(judge_history *h, const char *kind, uint32_t op, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Any finding; its place is op's. */
void judge_tell(judge_history *h, judge_finding *finding, uint32_t op);
/* Kept until judge_run(). */
tr_err judge_note_it(judge_history *h, const char *kind, uint32_t op, tr_error *error, const char *format,
                     ...) __attribute__((format(printf, 5, 6)));
tr_err judge_no_memory(tr_error *error);

/* judge_order.c. A list that an ok of `op` told, item number `item` of all. */
tr_err judge_list(judge_history *h, uint32_t op, size_t item, const judge_item *told, tr_error *error);
/* The number of a value, made if it is new. */
tr_err judge_value_of(judge_history *h, uint32_t key, int64_t value, uint32_t *number, tr_error *error);
/* What is written may be read only so within one transaction. */
tr_err judge_inside(judge_history *h, uint32_t op, const judge_item *items, uint32_t count, tr_error *error);
/* The first `length` of a key's order without what `op` appended at their end. */
size_t judge_outside(const judge_history *h, uint32_t key, size_t length, uint32_t op);
/* judge_append.c */
tr_err judge_append(judge_history *h, tr_error *error);
/* judge_edges.c: of all that is committed. The graph is open, with a node an operation. */
tr_err judge_edges(judge_history *h, judge_graph *graph, tr_error *error);
/* judge_circles.c: finds and tells those in it. */
tr_err judge_circles(judge_history *h, judge_graph *graph, tr_error *error);
/* judge_bank.c */
tr_err judge_bank(judge_history *h, tr_error *error);

/* The first number of a key of the table. */
#define JUDGE_TABLE(tag, number) ((uint64_t)(tag) << 56 | (number))
enum { JUDGE_OF_NAMES = 1, JUDGE_OF_VALUES, JUDGE_OF_PROCESSES, JUDGE_OF_INDICES, JUDGE_OF_IDS };

#endif
