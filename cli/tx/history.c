/* Files of histories, line by line, merged by time. See history.h. Of each file one event waits; the earliest goes next, of
 * several at one time that of the file named first. */
#include "cli/tx/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

typedef struct file {
    const history_source *source;
    char *bytes; /* what was read and isn't used: from `from` to `to` */
    size_t from, to, room;
    uint32_t number, at_line;
    bool ended, waits; /* waits: line.event is its next */
    bool any;          /* it had an event */
    int64_t last_index, last_ns;
    json_t *header;
    history_line line;
} file;

#define ROOM_FIRST ((size_t)16 << 10)
#define ROOM_MOST  (2 * (size_t)HISTORY_LINE_MAX)

typedef struct loading {
    file files[JUDGE_FILES_MAX];
    uint32_t count;
    history_read *out;
    history_edn *edn;
    tr_error *error;
} loading;

/* The place before what is wrong. */
static tr_err place(loading *l, const file *f, tr_err err)
{
    if (err == TR_EPROTO || err == TR_ETOOBIG)
        tr__fail(l->error, err, "%s:%u: %s", f->source->name, f->at_line, l->error->text);
    return err;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

/* Lines are short as a rule. */
static bool more_room(file *f)
{
    size_t room = f->room ? 2 * f->room : ROOM_FIRST;
    char *bytes = room <= ROOM_MOST ? tr__realloc(f->bytes, room) : NULL;
    if (!bytes)
        return false;
    f->bytes = bytes;
    f->room = room;
    return true;
}

static tr_err fill(loading *l, file *f)
{
    if (f->from) {
        memmove(f->bytes, f->bytes + f->from, f->to - f->from);
        f->to -= f->from;
        f->from = 0;
    }
    if (f->to == f->room && !more_room(f))
        return tr__fail(l->error, TR_ENOMEM, "no memory to read %s", f->source->name);
    errno = 0;
    long got = f->source->read(f->source->context, f->bytes + f->to, f->room - f->to);
    if (got < 0)
        return tr__fail(l->error, TR_EIO, "%s: can't be read: %s", f->source->name, strerror(errno));
    f->ended = got == 0;
    f->to += (size_t)got;
    return TR_OK;
}

/* The next line, without its end; *text NULL: there is none. *whole: its end was there. */
static tr_err next_line(loading *l, file *f, const char **text, size_t *length, bool *whole)
{
    char *end = f->to > f->from ? memchr(f->bytes + f->from, '\n', f->to - f->from) : NULL;
    while (!end && !f->ended && f->to - f->from <= HISTORY_LINE_MAX) {
        size_t looked = f->to - f->from;
        tr_err err = fill(l, f);
        if (err != TR_OK)
            return err;
        end = memchr(f->bytes + looked, '\n', f->to - looked); /* fill() has moved it to the front */
    }
    *text = f->bytes + f->from;
    *whole = end != NULL;
    *length = end ? (size_t)(end - *text) : f->to - f->from;
    if (!end && !*length) {
        *text = NULL;
        return TR_OK;
    }
    f->at_line++;
    f->from += *length + *whole;
    if (*length > HISTORY_LINE_MAX)
        return place(l, f, tr__fail(l->error, TR_ETOOBIG, "a line of more than %u bytes", HISTORY_LINE_MAX));
    return TR_OK;
}

static tr_err in_order(loading *l, file *f)
{
    const judge_event *event = &f->line.event;
    if (f->any && event->index <= f->last_index)
        return tr__fail(l->error, TR_EPROTO, "\"index\" isn't larger than in the line before");
    if (f->any && event->time_ns < f->last_ns)
        return tr__fail(l->error, TR_EPROTO, "\"time\" is smaller than in the line before");
    f->any = true;
    f->last_index = event->index;
    f->last_ns = event->time_ns;
    return TR_OK;
}

static tr_err next_event(loading *l, file *f)
{
    const char *text;
    size_t length;
    bool whole, is_json;
    tr_err err = next_line(l, f, &text, &length, &whole);
    f->waits = false;
    if (err != TR_OK || !text)
        return err;
    err = history_event(l->out->history, &l->out->options, text, length, &f->line, &is_json, l->error);
    if (err == TR_EPROTO && !is_json && !whole) {
        l->out->torn++;
        return TR_OK;
    }
    if (err == TR_OK)
        err = in_order(l, f);
    f->line.event.file = f->number;
    f->line.event.line = f->at_line;
    f->waits = err == TR_OK;
    return place(l, f, err);
}

/* ---- headers ------------------------------------------------------------------------------------------- */

static tr_err read_header(loading *l, file *f)
{
    const char *text;
    size_t length;
    bool whole;
    judge_options options;
    tr_err err = next_line(l, f, &text, &length, &whole);
    if (err != TR_OK)
        return err;
    f->at_line = 1; /* also of an empty file */
    err = text ? history_header(text, length, &options, &f->header, l->error)
               : tr__fail(l->error, TR_EPROTO, "empty: the first line says the workload");
    if (err == TR_OK && f->number && !json_equal(f->header, l->files[0].header))
        err = tr__fail(l->error, TR_EPROTO, "another header than that of %s", l->files[0].source->name);
    if (err == TR_OK && !f->number)
        l->out->options = options;
    return place(l, f, err);
}

static tr_err begin(loading *l, const history_source *sources, const char *const *names)
{
    tr_err err = TR_OK;
    for (uint32_t i = 0; err == TR_OK && i < l->count; i++) {
        file *f = &l->files[i];
        *f = (file){.source = &sources[i], .number = i};
        err = read_header(l, f);
    }
    if (err != TR_OK)
        return err;
    l->out->options.files = l->count > 1 ? names : NULL;
    l->out->options.files_count = l->count;
    l->out->history = judge_open(&l->out->options);
    if (!l->out->history)
        return tr__fail(l->error, TR_ENOMEM, "no memory for a history");
    return place(l, &l->files[0], history_initial(l->out->history, l->files[0].header, l->error));
}

/* ---- merging ------------------------------------------------------------------------------------------- */

static file *earliest(loading *l)
{
    file *found = NULL;
    for (uint32_t i = 0; i < l->count; i++) {
        file *f = &l->files[i];
        if (f->waits && (!found || f->line.event.time_ns < found->line.event.time_ns))
            found = f;
    }
    return found;
}

static tr_err merge(loading *l)
{
    tr_err err = TR_OK;
    file *f;
    for (uint32_t i = 0; err == TR_OK && i < l->count; i++)
        err = next_event(l, &l->files[i]);
    while (err == TR_OK && (f = earliest(l))) {
        if (l->edn)
            err = history_edn_write(l->edn, l->out->history, &f->line.event, l->error);
        if (err == TR_OK)
            err = place(l, f, judge_add(l->out->history, &f->line.event, l->error));
        if (err == TR_OK)
            err = next_event(l, f);
    }
    return err;
}

tr_err history_load(const history_source *sources, const char *const *names, uint32_t count, FILE *edn,
                    history_read *out, tr_error *error)
{
    tr_error ignored;
    *out = (history_read){0};
    if (count < 1 || count > JUDGE_FILES_MAX)
        return tr__fail(error, TR_ETOOBIG, "%u files: 1 to %u can be", count, JUDGE_FILES_MAX);
    loading *l = tr__zalloc(sizeof(*l));
    if (!l)
        return tr__fail(error, TR_ENOMEM, "no memory for a history");
    l->count = count;
    l->out = out;
    l->error = error ? error : &ignored;
    l->edn = edn ? history_edn_open(edn) : NULL;
    tr_err err =
        edn && !l->edn ? tr__fail(l->error, TR_ENOMEM, "no memory for EDN") : begin(l, sources, names);
    if (err == TR_OK)
        err = merge(l);
    for (uint32_t i = 0; i < count; i++) {
        tr__free(l->files[i].bytes);
        json_decref(l->files[i].header);
        history_line_free(&l->files[i].line);
    }
    history_edn_close(l->edn);
    tr__free(l);
    if (err != TR_OK) {
        judge_close(out->history);
        out->history = NULL;
    }
    return err;
}
