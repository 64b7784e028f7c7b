/* See page_state.h. */
#include "cli/page_state.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/actor.h>

#include "cli/tx/merge.h"

#define SHOWN      20 /* on the page */
#define KEPT       80
#define REMARKABLE 8 /* of those at most: a death fell into them */

double page_state_ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

json_t *page_state_text(const char *text)
{
    json_t *string = json_string(text);
    char *copy = string ? NULL : strdup(text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c > 126)
            *c = '?';
    if (copy)
        string = json_string(copy);
    free(copy);
    return string;
}

/* ---- transactions -------------------------------------------------------------------------------------- */

static bool is_remarkable(const json_t *one)
{
    const char *state = tx_text(one, "state");
    const json_t *event;
    size_t i;
    json_array_foreach(json_object_get(one, "events"), i, event)
    {
        if (strcmp(tx_text(event, "what"), "recover") == 0)
            return true;
    }
    return strcmp(state, "unknown") == 0 || strcmp(state, "in doubt") == 0;
}

void page_state_prune(json_t *all)
{
    json_t *transactions = json_object_get(all, "transactions");
    size_t count = json_array_size(transactions), remarkable = 0;
    for (size_t i = 0; i < count; i++)
        remarkable += is_remarkable(json_array_get(transactions, i));
    for (size_t i = 0; i < json_array_size(transactions) && json_array_size(transactions) > KEPT;) {
        bool keep = is_remarkable(json_array_get(transactions, i)) && remarkable <= REMARKABLE;
        if (keep) {
            i++;
            continue;
        }
        remarkable -= is_remarkable(json_array_get(transactions, i));
        json_array_remove(transactions, i);
    }
}

/* The caller's own events are its answer. */
static const char *word_of(const char *what)
{
    static const char *const answers[] = {"committed", "aborted", "unknown", "broken"};
    for (size_t i = 0; i < TR_COUNT(answers); i++)
        if (strcmp(what, answers[i]) == 0)
            return i == 3 ? "drop" : "answer";
    return what;
}

static json_t *events_of(const json_t *one, uint64_t start_ns)
{
    json_t *events = json_array();
    const json_t *event;
    size_t i;
    json_array_foreach(json_object_get(one, "events"), i, event)
    {
        double at_ms = (double)(tx_number(event, "at_ns") - (json_int_t)start_ns) / 1e6;
        json_array_append_new(events, json_pack("{s:f, s:s, s:s, s:s}", "at_ms", at_ms, "node",
                                                tx_text(event, "node"), "actor", tx_text(event, "actor"),
                                                "what", word_of(tx_text(event, "what"))));
    }
    return events;
}

json_t *page_state_transactions(const json_t *all, uint64_t start_ns)
{
    const json_t *one, *transactions = json_object_get(all, "transactions");
    size_t i, plain = 0, most = SHOWN;
    json_t *out = json_array();
    json_array_foreach(transactions, i, one)
    {
        bool remarkable = is_remarkable(one);
        most -= remarkable && most > 0;
        plain += !remarkable;
    }
    json_array_foreach(transactions, i, one)
    {
        bool remarkable = is_remarkable(one);
        if (!remarkable && plain-- > most)
            continue;
        const char *state = tx_text(one, "state");
        json_array_append_new(out, json_pack("{s:s, s:s, s:s, s:o}", "id", tx_text(one, "id"), "state",
                                             strcmp(state, "in doubt") == 0 ? "in-doubt" : state, "reason",
                                             tx_text(one, "reason"), "events", events_of(one, start_ns)));
    }
    return out;
}
