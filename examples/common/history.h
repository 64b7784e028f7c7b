/* What clients of transactions did, as a history that a checker of transactions judges (examples/bank/README.md): a
 * file of JSON lines for each process, DIRECTORY/NODE-PID.jsonl. Beside it NODE-PID.tickets has the tickets of what was
 * about to be committed, so that somebody else can ask what became of it when the process has died.
 *
 * Fibers of one loop write a history; each line is one write, so what a process had written before a kill is there. */
#ifndef TROUPE_EXAMPLES_HISTORY_H
#define TROUPE_EXAMPLES_HISTORY_H

#include <stdint.h>
#include <stdio.h>

#include <troupe/troupe.h>

typedef struct history {
    FILE *lines, *tickets;
    int64_t index;
} history;

/* Of one client, which has one under way at a time. Every attempt of tr_tx_run is one in the history. */
typedef struct operation {
    history *h;
    int64_t process;
    const char *f;                               /* what it is: "transfer", "read", "txn" */
    const char *value;                           /* what it is going to do, as JSON */
    char id[TR_TX_ID_TEXT];                      /* of the attempt under way; "": none */
    uint64_t committed, aborted, unknown, drawn; /* the last: what its client counts */
} operation;

/* Begin the files of this process; `header` is the first line. 0: they can't be written. */
int history_open(history *h, const char *directory, const char *node, const char *header);
/* First thing in the body: another attempt begins. */
void history_attempt(operation *o, const tr_tx *tx);
/* Last thing in the body, after a call that writes: keep the ticket. What tr_tx_ticket fails with. */
tr_err history_ticket(operation *o, tr_tx *tx);
/* It is over: `value` is what it did, if it was committed. An outcome that is unknown is asked for once. */
void history_end(operation *o, tr_actor *self, const tr_tx_outcome *out, const char *value);

typedef struct history_settled {
    uint32_t asked, committed, aborted;
} history_settled;

/* When nobody writes in the directory any more: ask by the tickets for all that a process left behind there, that was
 * unknown, or aborted, and for every 16th that was committed, each twice. The answers go into the history. An error: one
 * isn't known yet, or two answers differ. */
tr_err history_settle(tr_actor *self, history *h, const char *directory, history_settled *out);

#endif
