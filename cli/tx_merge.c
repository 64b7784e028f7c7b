/* See tx_merge.h. */
#include "cli/tx_merge.h"

#include <stdio.h>
#include <string.h>

#include "cli/operator_client.h"

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
    return json_pack("{s:[], s:[]}", "in_doubt", "transactions");
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

static json_t *find(const json_t *transactions, const char *id)
{
    json_t *one;
    size_t i;
    json_array_foreach(transactions, i, one)
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

static void add_events(json_t *to, const json_t *from, const char *node)
{
    json_t *event;
    size_t i;
    json_array_foreach(json_object_get(from, "events"), i, event)
    {
        json_t *copy = json_copy(event);
        json_object_set_new(copy, "node", json_string(node));
        insert(json_object_get(to, "events"), copy, "at_ns");
    }
}

static void add_one(json_t *transactions, const json_t *from, const char *node)
{
    json_t *to = find(transactions, tx_text(from, "id"));
    if (!to) {
        to = json_pack("{s:s, s:s, s:s, s:I, s:[], s:[]}", "id", tx_text(from, "id"), "state",
                       tx_text(from, "state"), "reason", tx_text(from, "reason"), "began_ns",
                       tx_number(from, "began_ns"), "nodes", "events");
        insert(transactions, to, "began_ns");
    }
    if (certainty(tx_text(from, "state")) > certainty(tx_text(to, "state")))
        json_object_set(to, "state", json_object_get(from, "state"));
    if (!*tx_text(to, "reason"))
        json_object_set(to, "reason", json_object_get(from, "reason"));
    if (tx_number(from, "began_ns") < tx_number(to, "began_ns"))
        json_object_set(to, "began_ns", json_object_get(from, "began_ns"));
    json_array_append_new(json_object_get(to, "nodes"), json_string(node));
    add_events(to, from, node);
}

bool tx_merge_add(json_t *all, const char *listing)
{
    json_t *one, *told = json_loads(listing, 0, NULL);
    const char *node = tx_text(told, "node");
    size_t i;
    json_array_foreach(json_object_get(told, "in_doubt"), i, one)
    {
        json_object_set_new(one, "node", json_string(node));
        json_array_append(json_object_get(all, "in_doubt"), one);
    }
    json_array_foreach(json_object_get(told, "transactions"), i, one)
        add_one(json_object_get(all, "transactions"), one, node);
    bool good = *node != '\0';
    json_decref(told);
    return good;
}

/* ---- all nodes ----------------------------------------------------------------------------------------- */

typedef struct merging {
    json_t *all;
    int failed;
} merging;

static bool add_node(void *context, const char *name)
{
    merging *m = context;
    tr_error error;
    json_t *answer = NULL, *request = json_pack("{s:s, s:s, s:{s:{s:i}}}", "do", "ask", "to", "tx", "message",
                                                "tr_tx_list", "most", 0);
    tr_err err = operator_request_once(name, request, ANSWER_WITHIN, &answer, &error);
    json_decref(request);
    const json_t *listing = json_object_get(json_object_get(answer, "answer"), "tr_tx_listing");
    if (err == TR_OK && tx_merge_add(m->all, tx_text(listing, "json"))) {
        json_decref(answer);
        return true;
    }
    json_decref(answer);
    if (err != TR_ENOTFOUND) { /* else: what a killed node left */
        fprintf(stderr, "troupe tx: %s: %s\n", name,
                err == TR_OK ? "an answer that makes no sense" : error.text);
        m->failed++;
    }
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
    if (operator_each_node(add_node, &m, &error) < 0) {
        fprintf(stderr, "troupe tx: %s\n", error.text);
        json_decref(m.all);
        return NULL;
    }
    *failed = m.failed;
    return m.all;
}
