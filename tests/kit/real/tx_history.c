/* What must hold of the histories, as far as this can be said without a search: `troupe tx check` says more. */
#include <glob.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kit/real/tx_cycle.h"

/* By id: {"f", "value": of the invoke, "done": of the ok, "state": the last word of who ran it, "status": the answer to
 * who asked later}. By list: its longest reading. */
typedef struct histories {
    json_t *operations, *lists;
    json_int_t total; /* of a bank */
} histories;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static void on_answer(tx_cycle *c, json_t *operation, const char *id, const char *status)
{
    const char *before = text_of(operation, "status"), *state = text_of(operation, "state");
    c->asked++;
    if (*before && strcmp(before, status) != 0)
        tx_fail(c, "%s is said to be %s, and then %s", id, before, status);
    if (strcmp(state, "ok") == 0 && strcmp(status, "aborted") == 0)
        tx_fail(c, "%s was committed, and is said to be aborted", id);
    if (strcmp(state, "fail") == 0 && strcmp(status, "committed") == 0)
        tx_fail(c, "%s was aborted, and is said to be committed", id);
    json_object_set_new(operation, "status", json_string(status));
}

static void on_event(tx_cycle *c, histories *h, const json_t *event, int pass)
{
    const char *type = text_of(event, "type"), *id = text_of(event, "id");
    json_t *operation = json_object_get(h->operations, id);
    bool answers = strcmp(type, "resolved") == 0;
    if (strcmp(type, "invoke") == 0) {
        if (pass == 0)
            json_object_set_new(h->operations, id,
                                json_pack("{s:O,s:O,s:s}", "f", json_object_get(event, "f"), "value",
                                          json_object_get(event, "value"), "state", "info"));
    } else if (answers && pass == 0) {
        return;
    } else if (!operation) {
        tx_fail(c, "the history has a %s of %s, which never began", type, id);
    } else if (answers) {
        on_answer(c, operation, id, text_of(event, "status"));
    } else if (pass == 0) {
        c->committed += strcmp(type, "ok") == 0;
        c->aborted += strcmp(type, "fail") == 0;
        c->log_full += strcmp(text_of(event, "error"), "log-full") == 0;
        json_object_set_new(operation, "state", json_string(type));
        json_object_set(operation, "done", json_object_get(event, "value"));
    }
}

/* Answers are looked at when all else is known: pass 1. What a kill cut off isn't looked at. */
static void read_file(tx_cycle *c, histories *h, const char *path, int pass)
{
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "re");
    for (ssize_t length; file && !c->failed && (length = getline(&line, &room, file)) > 0;) {
        json_error_t error;
        json_t *event = line[length - 1] == '\n' ? json_loads(line, 0, &error) : json_null();
        if (!event)
            tx_fail(c, "%s has a line that is no JSON: %s: %.100s", path, error.text, line);
        else if (json_object_get(event, "workload"))
            h->total = json_integer_value(json_object_get(event, "total"));
        else if (json_is_object(event))
            on_event(c, h, event, pass);
        json_decref(event);
    }
    free(line);
    if (file)
        fclose(file);
}

/* ---- what must hold -------------------------------------------------------------------------------------- */

static bool is_in(const json_t *operation, const char *state, const char *status)
{
    return strcmp(text_of(operation, "state"), state) == 0 ||
           strcmp(text_of(operation, "status"), status) == 0;
}

static void check_reading(tx_cycle *c, const histories *h, const char *id, json_t *balances)
{
    const char *name;
    json_t *value;
    json_int_t sum = 0;
    json_object_foreach(balances, name, value)
    {
        sum += json_integer_value(value);
        if (json_integer_value(value) < 0)
            tx_fail(c, "%s reads %" JSON_INTEGER_FORMAT " in %s", id, json_integer_value(value), name);
    }
    if (sum != h->total)
        tx_fail(c, "%s reads a sum of %" JSON_INTEGER_FORMAT ", not %" JSON_INTEGER_FORMAT, id, sum,
                h->total);
}

typedef void each_read(tx_cycle *c, histories *h, const char *id, const char *list, json_t *entries);

static void longest(tx_cycle *c, histories *h, const char *id, const char *list, json_t *entries)
{
    (void)c, (void)id;
    if (json_array_size(entries) >= json_array_size(json_object_get(h->lists, list)))
        json_object_set(h->lists, list, entries);
}

static void is_beginning(tx_cycle *c, histories *h, const char *id, const char *list, json_t *entries)
{
    const json_t *whole = json_object_get(h->lists, list), *entry;
    size_t i;
    json_array_foreach(entries, i, entry)
    {
        if (!json_equal(entry, json_array_get(whole, i)))
            tx_fail(c, "%s reads list %s in another order than others, at %zu", id, list, i);
    }
}

static void each_reading(tx_cycle *c, histories *h, each_read *then)
{
    const char *id;
    json_t *operation, *step;
    char list[32];
    size_t i;
    json_object_foreach(h->operations, id, operation)
    {
        if (strcmp(text_of(operation, "state"), "ok") != 0)
            continue;
        json_array_foreach(json_object_get(operation, "done"), i, step)
        {
            snprintf(list, sizeof(list), "%" JSON_INTEGER_FORMAT,
                     json_integer_value(json_array_get(step, 1)));
            if (strcmp(json_string_value(json_array_get(step, 0)), "r") == 0)
                then(c, h, id, list, json_array_get(step, 2));
        }
    }
}

static size_t times_in(const json_t *list, const json_t *entry)
{
    const json_t *other;
    size_t i, times = 0;
    json_array_foreach(list, i, other) times += (size_t)json_equal(entry, other);
    return times;
}

/* Each committed entry once, no aborted one. */
static void check_entries(tx_cycle *c, const histories *h, const char *id, const json_t *operation)
{
    const json_t *step;
    char list[32];
    size_t i;
    bool committed = is_in(operation, "ok", "committed"), aborted = is_in(operation, "fail", "aborted");
    json_array_foreach(json_object_get(operation, "value"), i, step)
    {
        if (strcmp(json_string_value(json_array_get(step, 0)), "append") != 0)
            continue;
        snprintf(list, sizeof(list), "%" JSON_INTEGER_FORMAT, json_integer_value(json_array_get(step, 1)));
        size_t times = times_in(json_object_get(h->lists, list), json_array_get(step, 2));
        if (times > 1 || (committed && times == 0) || (aborted && times > 0))
            tx_fail(c, "%s is %s, and its entry in list %s is there %zu times", id,
                    committed ? "committed"
                    : aborted ? "aborted"
                              : "unknown",
                    list, times);
    }
}

static void check_lists(tx_cycle *c, histories *h)
{
    const char *id, *list;
    json_t *operation, *entries;
    size_t there = 0, begun = 0;
    each_reading(c, h, longest);
    each_reading(c, h, is_beginning);
    json_object_foreach(h->operations, id, operation)
    {
        const json_t *step;
        size_t i;
        check_entries(c, h, id, operation);
        json_array_foreach(json_object_get(operation, "value"), i, step) begun +=
            (size_t)(strcmp(json_string_value(json_array_get(step, 0)), "append") == 0);
    }
    json_object_foreach(h->lists, list, entries) there += json_array_size(entries);
    if (there > begun)
        tx_fail(c, "the lists have %zu entries, and %zu were appended", there, begun);
}

void tx_history_check(tx_cycle *c)
{
    char pattern[96];
    const char *id;
    json_t *operation;
    glob_t files = {0};
    histories h = {.operations = json_object(), .lists = json_object()};
    snprintf(pattern, sizeof(pattern), "%s/*.jsonl", c->history);
    if (glob(pattern, 0, NULL, &files) != 0)
        tx_fail(c, "no history in %s", c->history);
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < files.gl_pathc; i++)
            read_file(c, &h, files.gl_pathv[i], (int)pass);
    globfree(&files);
    json_object_foreach(h.operations, id, operation)
    {
        c->unknown += strcmp(text_of(operation, "state"), "info") == 0;
        if (strcmp(text_of(operation, "f"), "read") == 0 && strcmp(text_of(operation, "state"), "ok") == 0)
            check_reading(c, &h, id, json_object_get(operation, "done"));
    }
    if (strcmp(c->plan.workload, "append") == 0 && !c->failed)
        check_lists(c, &h);
    json_decref(h.operations);
    json_decref(h.lists);
}
