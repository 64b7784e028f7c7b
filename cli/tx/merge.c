/* See merge.h. */
#include "cli/tx/merge.h"
#include "base/stderr_os.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define ANSWER_WITHIN TR_SECONDS(3)

const char *tx_text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

json_int_t tx_number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

json_t *tx_merge_new(void)
{
    return json_pack("{s:[], s:[], s:[], s:[], s:[], s:[]}", "figures", "in_doubt", "log_lost", "outbox",
                     "versions", "transactions");
}

/* How much a state tells: a decision is one for all, whoever tells it. */
static int certainty(const char *state)
{
    static const char *const states[] = {"open", "unknown", "in doubt", "aborted", "committed"};
    for (int i = 0; i < 5; i++)
        if (strcmp(states[i], state) == 0)
            return i;
    return 0;
}

json_t *tx_merge_find(const json_t *all, const char *id)
{
    json_t *one;
    size_t i;
    json_array_foreach(json_object_get(all, "transactions"), i, one)
    {
        if (strcmp(tx_text(one, "id"), id) == 0)
            return one;
    }
    return NULL;
}

/* In its place by time: they come nearly in order. */
static void insert(json_t *array, json_t *value, const char *time)
{
    size_t at = json_array_size(array);
    while (at > 0 && tx_number(json_array_get(array, at - 1), time) > tx_number(value, time))
        at--;
    json_array_insert_new(array, at, value);
}

static bool is_there(const json_t *events, const json_t *event)
{
    const json_t *other;
    size_t i;
    json_array_foreach(events, i, other)
    {
        if (json_equal(other, event))
            return true;
    }
    return false;
}

static void add_events(json_t *to, const json_t *from, const char *node)
{
    json_t *event, *events = json_object_get(to, "events");
    size_t i;
    json_array_foreach(json_object_get(from, "events"), i, event)
    {
        json_t *copy = json_copy(event);
        json_object_set_new(copy, "node", json_string(node));
        if (is_there(events, copy))
            json_decref(copy);
        else
            insert(events, copy, "at_ns");
    }
}

static void add_node(json_t *nodes, const char *name)
{
    const json_t *node;
    size_t i;
    json_array_foreach(nodes, i, node)
    {
        if (strcmp(json_string_value(node), name) == 0)
            return;
    }
    json_array_append_new(nodes, json_string(name));
}

static void add_one(json_t *all, const json_t *from, const char *node)
{
    json_t *to = tx_merge_find(all, tx_text(from, "id"));
    if (!to) {
        to = json_pack("{s:s, s:s, s:s, s:I, s:[], s:[]}", "id", tx_text(from, "id"), "state",
                       tx_text(from, "state"), "reason", tx_text(from, "reason"), "began_ns",
                       tx_number(from, "began_ns"), "nodes", "events");
        insert(json_object_get(all, "transactions"), to, "began_ns");
    }
    int told = certainty(tx_text(from, "state")), known = certainty(tx_text(to, "state"));
    /* The reason goes with the state: a caller's "unreachable" is none of what was committed after all. */
    if (told > known || (told == known && !*tx_text(to, "reason")))
        json_object_set(to, "reason", json_object_get(from, "reason"));
    if (told > known)
        json_object_set(to, "state", json_object_get(from, "state"));
    if (tx_number(from, "began_ns") < tx_number(to, "began_ns"))
        json_object_set(to, "began_ns", json_object_get(from, "began_ns"));
    add_node(json_object_get(to, "nodes"), node);
    add_events(to, from, node);
}

static void remove_of(json_t *array, const char *node)
{
    for (size_t i = json_array_size(array); i-- > 0;)
        if (strcmp(tx_text(json_array_get(array, i), "node"), node) == 0)
            json_array_remove(array, i);
}

/* Those of its figures that say how long who waits, and what is kept for who asks. */
static void replace_figures(json_t *all, const json_t *told, const char *node)
{
    static const char *const names[][2] = {{"in_doubt", "prepared"},
                                           {"oldest_in_doubt_ns", "oldest_prepared_ns"},
                                           {"alarms", "alarms"},
                                           {"emits", "emits"},
                                           {"oldest_emit_ns", "oldest_emit_ns"},
                                           {"emits_refused", "emits_refused"},
                                           {"outcomes", "outcomes"},
                                           {"outcomes_early", "outcomes_early"}};
    json_t *array = json_object_get(all, "figures");
    const json_t *figures = json_object_get(told, "figures");
    remove_of(array, node);
    json_t *kept = json_pack("{s:s}", "node", node);
    for (size_t i = 0; i < TR_COUNT(names); i++)
        json_object_set_new(kept, names[i][0], json_integer(tx_number(figures, names[i][1])));
    json_array_append_new(array, kept);
}

/* What it tells by that key, each with its node. */
static void replace_rows(json_t *all, const json_t *told, const char *key, const char *node)
{
    json_t *one, *rows = json_object_get(all, key);
    size_t i;
    remove_of(rows, node);
    json_array_foreach(json_object_get(told, key), i, one)
    {
        json_object_set_new(one, "node", json_string(node));
        json_array_append(rows, one);
    }
}

static void replace_lost(json_t *all, const json_t *told, const char *node)
{
    json_t *lost = json_object_get(all, "log_lost");
    for (size_t i = json_array_size(lost); i-- > 0;)
        if (strcmp(tx_text(json_array_get(lost, i), "node"), node) == 0)
            json_array_remove(lost, i);
    if (*tx_text(told, "log_lost"))
        json_array_append_new(lost, json_pack("{s:s, s:s}", "node", node, "text", tx_text(told, "log_lost")));
}

bool tx_merge_add(json_t *all, const char *listing)
{
    json_t *one, *told = json_loads(listing, 0, NULL);
    const char *node = tx_text(told, "node");
    size_t i;
    if (*node)
        replace_figures(all, told, node);
    replace_rows(all, told, "in_doubt", node);
    replace_rows(all, told, "versions", node);
    replace_rows(all, told, "outbox", node);
    replace_lost(all, told, node);
    json_array_foreach(json_object_get(told, "transactions"), i, one) add_one(all, one, node);
    bool good = *node != '\0';
    json_decref(told);
    return good;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

char *tx_merge_ask(operator_client *client, uint64_t timeout_ns, tr_error *error)
{
    json_t *answer = NULL, *request = json_pack("{s:s, s:s, s:{s:{s:i}}}", "do", "ask", "to", "tx", "message",
                                                "tr_tx_list", "most", 0);
    tr_err err = operator_request(client, request, timeout_ns, &answer, error);
    const json_t *listing = json_object_get(json_object_get(answer, "answer"), "tr_tx_listing");
    char *text = err == TR_OK ? tr__strdup(tx_text(listing, "json")) : NULL;
    if (err == TR_OK && !text)
        tr__fail(error, TR_ENOMEM, "no memory for an answer");
    json_decref(request);
    json_decref(answer);
    return text;
}

/* ---- all nodes ----------------------------------------------------------------------------------------- */

typedef struct merging {
    json_t *all;
    int failed;
} merging;

static bool add_node_of(void *context, const char *name)
{
    merging *m = context;
    tr_error error;
    operator_client *client = operator_open(name, &error);
    char *listing = client ? tx_merge_ask(client, ANSWER_WITHIN, &error) : NULL;
    operator_close(client);
    if (listing && !tx_merge_add(m->all, listing)) {
        tr__fail(&error, TR_EPROTO, "an answer that makes no sense");
        tr__free(listing);
        listing = NULL;
    }
    if (!listing && error.code != TR_ENOTFOUND) { /* else: what a killed node left */
        fprintf(stderr, "troupe tx: %s: %s\n", name, error.text);
        m->failed++;
    }
    tr__free(listing);
    return true;
}

json_t *tx_merge_all(int *failed)
{
    tr_error error;
    merging m = {.all = tx_merge_new()};
    if (!m.all) {
        fprintf(stderr, "troupe tx: no memory\n");
        return NULL;
    }
    if (operator_each_node(add_node_of, &m, &error) < 0) {
        tr__stderr_line("troupe tx", error.text);
        json_decref(m.all);
        return NULL;
    }
    *failed = m.failed;
    return m.all;
}
