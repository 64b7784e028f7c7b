/* `troupe tx check FILE...`: reads histories, has them judged, says what is wrong with them. The main thread. A text of a file
 * is shown without its control characters. */
#include "cli/tx/check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/printable.h"
#include "base/stderr_os.h"
#include "cli/tx/history.h"
#include "cli/words.h"

/* ---- files --------------------------------------------------------------------------------------------- */

static long read_file(void *context, void *bytes, size_t size)
{
    FILE *file = context;
    size_t got = fread(bytes, 1, size, file);
    return got == 0 && ferror(file) ? -1 : (long)got;
}

static bool open_all(const char *const *names, int count, history_source *sources)
{
    for (int i = 0; i < count; i++) {
        FILE *file = fopen(names[i], "rb");
        sources[i] = (history_source){.name = names[i], .read = read_file, .context = file};
        if (!file) {
            fprintf(stderr, "troupe tx check: %s: can't be read: %s\n", names[i], strerror(errno));
            return false;
        }
    }
    return true;
}

static void close_all(const history_source *sources, int count)
{
    for (int i = 0; i < count; i++)
        if (sources[i].context)
            fclose(sources[i].context);
}

/* The status of `load`, or of the EDN's end. */
static tr_err close_edn(FILE *out, const char *path, tr_err err, tr_error *error)
{
    bool bad = out && ferror(out);
    if (out && (fclose(out) != 0 || bad) && err == TR_OK)
        return tr__fail(error, TR_EIO, "%s: can't be written: %s", path, strerror(errno));
    return err;
}

/* ---- what is told --------------------------------------------------------------------------------------- */

typedef struct telling {
    const char *const *files;
    json_t *findings; /* NULL: for people */
    struct {
        const char *kind;
        uint64_t told;
    } kinds[32];
} telling;

/* Cut texts may end within a character: those bytes become '?'. */
static const char *whole_characters(char *to, size_t room, const char *text)
{
    tr__printable(to, room, text);
    for (unsigned char *at = (unsigned char *)to; *at;) {
        unsigned more = *at < 0x80 ? 0 : *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : *at >= 0xc2 ? 1 : 4, i = 1;
        while (more < 4 && i <= more && (at[i] & 0xc0) == 0x80)
            i++;
        if (i <= more)
            *at++ = '?';
        else
            at += more + 1;
    }
    return to;
}

static json_t *json_text(const char *text)
{
    char out[1024];
    json_t *value = json_string(whole_characters(out, sizeof(out), text));
    return value ? value : json_string("?");
}

static json_t *step_json(const telling *t, const judge_step *step)
{
    return json_pack("{s:s, s:o, s:I, s:I, s:o}", "edge", step->edge, "file", json_text(t->files[step->file]),
                     "line", (json_int_t)step->line, "end_line", (json_int_t)step->end_line, "text",
                     json_text(step->text));
}

static void find_json(telling *t, const judge_finding *finding)
{
    json_t *steps = json_array();
    for (uint32_t i = 0; i < finding->steps_told; i++)
        json_array_append_new(steps, step_json(t, &finding->steps[i]));
    json_array_append_new(t->findings,
                          json_pack("{s:s, s:o, s:I, s:o, s:o}", "kind", finding->kind, "file",
                                    json_text(t->files[finding->file]), "line", (json_int_t)finding->line,
                                    "text", json_text(finding->text), "circle", steps));
}

static void find(void *context, const judge_finding *finding)
{
    telling *t = context;
    char out[1024];
    size_t i = 0;
    while (t->kinds[i].kind && strcmp(t->kinds[i].kind, finding->kind) != 0)
        i++;
    t->kinds[i].kind = finding->kind;
    t->kinds[i].told++;
    if (t->findings) {
        find_json(t, finding);
        return;
    }
    printf("%s: %s\n", finding->kind, whole_characters(out, sizeof(out), finding->text));
    for (uint32_t k = 0; k < finding->steps_told; k++)
        printf("    %-8s  %s\n", finding->steps[k].edge,
               whole_characters(out, sizeof(out), finding->steps[k].text));
}

static void print_counts(const history_read *read, const judge_counts *c)
{
    bool append = read->options.workload == JUDGE_APPEND;
    printf("%" PRIu64 " operation%s: %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64
           " unknown; %" PRIu64 " answer%s to who asked again\n",
           c->operations, cli_s(c->operations), c->committed, c->aborted, c->unknown, c->resolved,
           cli_s(c->resolved));
    if (append)
        printf("%" PRIu64 " value%s in %" PRIu64 " key%s, %" PRIu64 " read%s of them; a graph of %" PRIu64
               " edge%s\n",
               c->values, cli_s(c->values), c->keys, cli_s(c->keys), c->reads, cli_s(c->reads), c->edges,
               cli_s(c->edges));
    else
        printf("%" PRIu64 " balance%s of %" PRIu64 " account%s%s\n", c->reads, cli_s(c->reads), c->keys,
               cli_s(c->keys),
               read->options.has_initial ? ", against the sum and against real time" : ", against the sum");
    if (read->torn)
        printf("%u file%s in a part of a line, which is left out\n", read->torn,
               read->torn == 1 ? " ends" : "s end");
}

static void print_verdict(const telling *t, const judge_counts *counts)
{
    if (!counts->findings) {
        printf("passes\n");
        return;
    }
    uint64_t told = 0;
    for (size_t i = 0; t->kinds[i].kind; i++)
        told += t->kinds[i].told;
    printf("fails: %" PRIu64 " finding%s", counts->findings, cli_s(counts->findings));
    if (told < counts->findings)
        printf(", of which %" PRIu64 " are told", told);
    printf("\n");
}

static void print_json(const telling *t, const history_read *read, const judge_counts *c)
{
    json_t *all = json_pack(
        "{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "workload",
        read->options.workload == JUDGE_APPEND ? "append" : "bank", "passes", c->findings == 0, "operations",
        (json_int_t)c->operations, "committed", (json_int_t)c->committed, "aborted", (json_int_t)c->aborted,
        "unknown", (json_int_t)c->unknown, "resolved", (json_int_t)c->resolved, "keys", (json_int_t)c->keys,
        "values", (json_int_t)c->values, "reads", (json_int_t)c->reads, "edges", (json_int_t)c->edges, "torn",
        (json_int_t)read->torn, "findings_count", (json_int_t)c->findings, "findings", t->findings);
    char *line = json_dumps(all, JSON_COMPACT);
    printf("%s\n", line ? line : "null");
    free(line);
    json_decref(all);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static int judge(const history_read *read, const char *const *files, bool json, tr_error *error)
{
    telling t = {.files = files, .findings = json ? json_array() : NULL};
    judge_counts counts;
    tr_err err = judge_run(read->history, find, &t, &counts, error);
    if (err != TR_OK) {
        tr__stderr_line("troupe tx check", error->text);
    } else if (json) {
        print_json(&t, read, &counts);
    } else {
        print_counts(read, &counts);
        print_verdict(&t, &counts);
    }
    json_decref(t.findings);
    return err != TR_OK || counts.findings ? 1 : 0;
}

int tx_check(const char *const *files, int count, const char *edn, bool json)
{
    history_source sources[JUDGE_FILES_MAX] = {{0}};
    history_read read;
    tr_error error = {.code = TR_OK};
    FILE *out = NULL;
    if (count > (int)JUDGE_FILES_MAX) {
        fprintf(stderr, "troupe tx check: %d files, and %u are the most\n", count, JUDGE_FILES_MAX);
        return 2;
    }
    bool good = open_all(files, count, sources);
    if (good && edn && !(out = fopen(edn, "wb"))) {
        fprintf(stderr, "troupe tx check: %s: can't be written: %s\n", edn, strerror(errno));
        good = false;
    }
    int status = 2;
    if (good) {
        tr_err err = history_load(sources, files, (uint32_t)count, out, &read, &error);
        tr_err closed = close_edn(out, edn, err, &error);
        if (closed == TR_OK)
            status = judge(&read, files, json, &error);
        else
            tr__stderr_line("troupe tx check", error.text);
        status = closed == TR_ENOMEM ? 1 : status;
        if (err == TR_OK)
            judge_close(read.history);
    }
    close_all(sources, count);
    return status;
}
