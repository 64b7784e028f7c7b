/* Histories for tests of the judge (cli/tx/judge.h), from tables: a row an operation, each by a process of its own. They go
 * through JSON lines, as from a file. One thread. */
#ifndef TR_TESTS_JUDGE_KIT_H
#define TR_TESTS_JUDGE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/tx/history.h"

typedef struct row {
    int begin, end; /* times; end 0: never */
    char told;      /* 'o'k, 'f'ail, 'i'nfo */
    const char
        *calls;   /* "ax1": append 1 to x; "rx1,2": read that there; "rx": nothing there; "rx?": not known */
    int ts;       /* 0: none */
    int asked[2]; /* times at which it was resolved */
    char answers[2]; /* and how: 'c'ommitted, 'a'borted */
    int asked_ts;
} row;

typedef struct judged {
    tr_err err;
    tr_error error;
    char kinds[400];  /* of the findings, in order, with spaces between */
    char texts[8000]; /* and what they say, steps as well */
    judge_counts counts;
    history_read read;
} judged;

typedef struct memory_file {
    const char *at;
    size_t left;
} memory_file;

static inline long memory_read(void *context, void *bytes, size_t size)
{
    memory_file *file = context;
    size_t some = size < file->left ? size : file->left;
    some = some > 100 ? 100 : some; /* pieces */
    memcpy(bytes, file->at, some);
    file->at += some;
    file->left -= some;
    return (long)some;
}

static inline void judged_add(void *context, const judge_finding *finding)
{
    judged *j = context;
    size_t kinds = strlen(j->kinds), texts = strlen(j->texts);
    snprintf(j->kinds + kinds, sizeof(j->kinds) - kinds, "%s%s", kinds ? " " : "", finding->kind);
    texts += (size_t)snprintf(j->texts + texts, sizeof(j->texts) - texts, "%s: %s\n", finding->kind,
                              finding->text);
    for (uint32_t i = 0; i < finding->steps_told && texts < sizeof(j->texts); i++)
        texts += (size_t)snprintf(j->texts + texts, sizeof(j->texts) - texts, "  %s %s\n",
                                  finding->steps[i].edge, finding->steps[i].text);
}

/* Files "a", "b" ... with those texts. */
static inline judged judge_texts(const char *const *texts, uint32_t count, FILE *edn)
{
    static const char *const names[] = {"a", "b", "c"};
    static judged j;
    memory_file files[3];
    history_source sources[3];
    memset(&j, 0, sizeof(j));
    for (uint32_t i = 0; i < count; i++) {
        files[i] = (memory_file){texts[i], strlen(texts[i])};
        sources[i] = (history_source){names[i], memory_read, &files[i]};
    }
    j.err = history_load(sources, names, count, edn, &j.read, &j.error);
    if (j.err != TR_OK)
        return j;
    j.err = judge_run(j.read.history, judged_add, &j, &j.counts, &j.error);
    judge_close(j.read.history);
    return j;
}

static inline judged judge_text(const char *text)
{
    return judge_texts(&text, 1, NULL);
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

typedef struct row_event {
    int time, row, what; /* what: 0 invoke, 1 its end, 2 and 3 asked */
} row_event;

static inline int row_event_order(const void *a, const void *b)
{
    const row_event *x = a, *y = b;
    return x->time != y->time ? x->time - y->time : x->row != y->row ? x->row - y->row : x->what - y->what;
}

/* "ax1 rx1,2" as JSON; `answers`: with what was read. */
static inline void row_calls(FILE *out, const char *calls, bool answers)
{
    const char *between = "[";
    while (*calls) {
        size_t length = strcspn(calls, " ");
        int values = (int)length - 2;
        if (calls[0] == 'a')
            fprintf(out, "%s[\"append\",\"%c\",%.*s]", between, calls[1], values, calls + 2);
        else if (!answers || calls[2] == '?')
            fprintf(out, "%s[\"r\",\"%c\",null]", between, calls[1]);
        else
            fprintf(out, "%s[\"r\",\"%c\",[%.*s]]", between, calls[1], values, calls + 2);
        between = ",";
        calls += length + (calls[length] == ' ');
    }
    fprintf(out, "%s]", *between == '[' ? "[" : "");
}

static inline void row_line(FILE *out, const row *rows, const row_event *e, int index)
{
    const row *r = &rows[e->row];
    fprintf(out, "{\"index\":%d,\"time\":%d,\"process\":%d,\"type\":", index, e->time, e->row);
    if (e->what >= 2) {
        fprintf(out, "\"resolved\",\"id\":\"id%d\",\"status\":\"%s\"", e->row,
                r->answers[e->what - 2] == 'c' ? "committed" : "aborted");
        if (r->asked_ts)
            fprintf(out, ",\"ts\":%d", r->asked_ts);
    } else {
        fprintf(out, "\"%s\",\"f\":\"txn\",\"id\":\"id%d\",\"value\":",
                e->what == 0     ? "invoke"
                : r->told == 'o' ? "ok"
                : r->told == 'f' ? "fail"
                                 : "info",
                e->row);
        row_calls(out, r->calls, e->what == 1 && r->told == 'o');
        if (e->what == 1 && r->ts)
            fprintf(out, ",\"ts\":%d", r->ts);
    }
    fprintf(out, "}\n");
}

/* A history of "append", as a text; to be freed. Line n is the n-th event by time, the header is line 1. */
static inline char *rows_text(const row *rows, int count)
{
    row_event events[400];
    int events_count = 0;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i < count; i++) {
        const int times[] = {rows[i].begin, rows[i].end, rows[i].asked[0], rows[i].asked[1]};
        for (int what = 0; what < 4; what++)
            if (times[what])
                events[events_count++] = (row_event){times[what], i, what};
    }
    qsort(events, (size_t)events_count, sizeof(*events), row_event_order);
    fprintf(out, "{\"workload\":\"append\"}\n");
    for (int i = 0; i < events_count; i++)
        row_line(out, rows, &events[i], i);
    fclose(out);
    return text;
}

static inline judged judge_rows(const row *rows, int count)
{
    char *text = rows_text(rows, count);
    judged j = judge_text(text);
    if (j.err != TR_OK)
        fail_msg("%s\n%s", j.error.text, text);
    free(text);
    return j;
}

/* Just these kinds of findings, in that order; each text of `says` (NULL: none) is somewhere in what they say. */
static inline void expect_rows(const row *rows, int count, const char *kinds, const char *says)
{
    judged j = judge_rows(rows, count);
    if (strcmp(j.kinds, kinds) != 0 || (says && !strstr(j.texts, says)))
        fail_msg("expected \"%s\" and \"%s\", found \"%s\":\n%s", kinds, says ? says : "", j.kinds, j.texts);
}
#define EXPECT(rows, kinds, says) expect_rows(rows, (int)(sizeof(rows) / sizeof(*(rows))), kinds, says)

#endif
