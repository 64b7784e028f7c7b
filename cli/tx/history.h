/* Histories as files: JSON lines (docs/histories.md has the format), one or several merged by time, into what judge.h
 * judges; and the same as Jepsen's EDN. The main thread. */
#ifndef TR_CLI_TX_HISTORY_H
#define TR_CLI_TX_HISTORY_H

#include <jansson.h>
#include <stdio.h>

#include "cli/tx/judge.h"

#define HISTORY_LINE_MAX (1u << 20) /* bytes */
#define HISTORY_NAME_MAX 200u       /* of a key, an account, an id */

/* Where the bytes of a file come from: up to `size` of the next, 0 at the end, -1: errno says why not. */
typedef struct history_source {
    const char *name;
    long (*read)(void *context, void *bytes, size_t size);
    void *context;
} history_source;

typedef struct history_read {
    judge_history *history; /* the caller's, for judge_close() */
    judge_options options;
    uint32_t torn; /* files whose last line was cut off by a kill, and left out */
} history_read;

/* All events of these, as one history; written to `edn` as well, if that isn't NULL. `names` (of the sources) outlives the
 * history. TR_EPROTO, TR_ETOOBIG: malformed, *error begins with FILE:LINE. TR_EIO, TR_ENOMEM. After an error there is
 * nothing to close. */
tr_err history_load(const history_source *sources, const char *const *names, uint32_t count, FILE *edn,
                    history_read *out, tr_error *error);

/* ---- one line (history_json.c) -------------------------------------------------------------------------- */

/* What an event's pointers lead to. Zeroed at first. */
typedef struct history_line {
    judge_item *items;
    int64_t *values;
    size_t items_room, values_room, values_count;
    char id[HISTORY_NAME_MAX + 1];
    judge_event event;
} history_line;

/* The first line of a file. *header: what of it must be the same in all files; the caller's. */
tr_err history_header(const char *text, size_t length, judge_options *options, json_t **header,
                      tr_error *error);
/* The accounts' balances at first, if the header has them one by one. */
tr_err history_initial(judge_history *h, const json_t *header, tr_error *error);
/* line->event, but for `file` and `line`. *whole: it is JSON at least. */
tr_err history_event(judge_history *h, const judge_options *options, const char *text, size_t length,
                     history_line *line, bool *whole, tr_error *error);
void history_line_free(history_line *line);

/* ---- EDN (history_edn.c) -------------------------------------------------------------------------------- */

typedef struct history_edn history_edn;
/* `out` is the caller's and outlives it. NULL: no memory. */
history_edn *history_edn_open(FILE *out);
/* Before the event is added to the history. TR_ENOMEM. */
tr_err history_edn_write(history_edn *edn, judge_history *h, const judge_event *event, tr_error *error);
void history_edn_close(history_edn *edn); /* NULL is fine */

#endif
