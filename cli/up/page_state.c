/* The facts of `troupe up --page` as the JSON text that the page asks for; docs/page.md describes it. The maker's thread,
 * in the end the main thread. What has no memory is left out, or the whole is: the page keeps what it has. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/page_state.h"
#include "cli/tx/merge.h"
#include "cli/up/page.h"

#define SILENT_AFTER TR_SECONDS(3) /* its process runs, and doesn't answer */

/* ---- nodes and what goes between them ------------------------------------------------------------------ */

/* NULL: it answers, or isn't expected to. */
static const char *silence_of(const up_page_node *n)
{
    uint64_t heard = n->told.pid == n->pid && n->told.at_ns > n->up_ns ? n->told.at_ns : n->up_ns;
    if (n->state != UP_UP)
        return NULL;
    if (up_now() - heard > SILENT_AFTER)
        return "its process runs, but doesn't answer its operator socket";
    return n->told.pid == n->pid && n->told.silent[0] ? n->told.silent : NULL;
}

static const char *state_of(const up_page_node *n)
{
    if (n->state == UP_ENDED)
        return n->ended_badly ? "down" : "ended";
    if (n->state == UP_UP)
        return silence_of(n) ? "silent" : "up";
    return n->state == UP_ENDING ? "up" : n->ups ? "down" : "starting";
}

static const char *reason_of(const up_page_node *n)
{
    const char *silence = silence_of(n);
    return silence ? silence : strcmp(state_of(n), "down") == 0 ? n->last : "";
}

/* What runs in it: its first plugin, and how many more. */
static void part_of(const up_node *node, char *out, size_t room)
{
    const char *path = node->plugins_count ? node->plugins[0] : "", *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (length > 3 && strcmp(name + length - 3, ".so") == 0)
        length -= 3;
    if (node->plugins_count > 1)
        snprintf(out, room, "%.*s +%u", (int)length, name, node->plugins_count - 1);
    else
        snprintf(out, room, "%.*s", (int)length, name);
}

static json_t *gaps_of(const up_page_node *n)
{
    json_t *gaps = json_array();
    for (uint32_t i = n->gap_count > UP_PAGE_GAPS ? n->gap_count - UP_PAGE_GAPS : 0; i < n->gap_count; i++) {
        const up_page_gap *gap = &n->gaps[i % UP_PAGE_GAPS];
        json_array_append_new(gaps,
                              json_pack("[f, o]", page_state_ms(gap->from_ns),
                                        gap->to_ns ? json_real(page_state_ms(gap->to_ns)) : json_null()));
    }
    return gaps;
}

static json_t *nodes_of(const up_page_facts *facts, const up_file *file)
{
    json_t *nodes = json_array();
    for (unsigned i = 0; i < facts->count; i++) {
        const up_page_node *n = &facts->nodes[i];
        char part[64];
        part_of(&file->nodes[i], part, sizeof(part));
        json_array_append_new(nodes, json_pack("{s:s, s:o, s:s, s:s, s:i, s:s, s:o, s:o}", "name",
                                               file->nodes[i].name, "part", page_state_text(part), "state",
                                               state_of(n), "incarnation",
                                               n->told.pid == n->pid || !n->pid ? n->told.incarnation : "",
                                               "incarnations", (int)n->ups, "listen", n->listen, "reason",
                                               page_state_text(reason_of(n)), "down_ms", gaps_of(n)));
    }
    return nodes;
}

static json_t *connections_of(const up_page_facts *facts, const up_file *file)
{
    json_t *ways = json_array();
    for (unsigned i = 0; i < facts->count; i++) {
        const up_page_node *n = &facts->nodes[i];
        for (unsigned k = 0; k < n->told.count; k++) {
            const up_page_way *way = &n->told.ways[k];
            bool both_up = strcmp(state_of(n), "up") == 0 &&
                           strcmp(state_of(&facts->nodes[way->to]), "up") == 0 && n->told.pid == n->pid;
            json_array_append_new(ways,
                                  json_pack("{s:s, s:s, s:I, s:f, s:b}", "from", file->nodes[i].name, "to",
                                            file->nodes[way->to].name, "sent", (json_int_t)way->sent, "per_s",
                                            both_up ? way->per_s : 0.0, "up", both_up));
        }
    }
    return ways;
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static json_t *events_of(const up_page_facts *facts)
{
    json_t *events = json_array();
    uint32_t count = facts->event_count;
    for (uint32_t i = count > UP_PAGE_EVENTS ? count - UP_PAGE_EVENTS : 0; i < count; i++) {
        const up_page_event *event = &facts->events[i % UP_PAGE_EVENTS];
        json_array_append_new(events, json_pack("{s:f, s:o, s:b}", "at_ms", page_state_ms(event->at_ns),
                                                "text", page_state_text(event->text), "bad", event->bad));
    }
    return events;
}

static json_t *verdict_of(const up_page_facts *facts, const up_file *file)
{
    json_t *lines = json_array();
    char text[UP_PAGE_TEXT + 100];
    if (!facts->ended) {
        json_decref(lines);
        return json_null();
    }
    for (unsigned i = 0; i < facts->count; i++) {
        const up_page_node *n = &facts->nodes[i];
        snprintf(text, sizeof(text), "%s %s", file->nodes[i].name,
                 n->last[0] ? n->last : "was never started");
        json_array_append_new(lines, json_pack("{s:b, s:o}", "ok", !n->ended_badly && n->last[0], "text",
                                               page_state_text(text)));
    }
    return json_pack("{s:b, s:s, s:o}", "ok", !facts->failed, "text",
                     facts->failed ? "not all have ended well" : "all have ended well", "lines", lines);
}

static char *text_of(const struct up_page *page)
{
    const up_page_facts *facts = &page->copy;
    const char *slash = strrchr(page->path, '/');
    json_t *o = json_pack("{s:i, s:o, s:f, s:b, s:s}", "schema", 1, "title",
                          page_state_text(slash ? slash + 1 : page->path), "at_ms",
                          page_state_ms(up_now() - page->start_ns), "ended", facts->ended, "trouble", "");
    json_object_set_new(o, "verdict", verdict_of(facts, page->file));
    json_object_set_new(o, "nodes", nodes_of(facts, page->file));
    json_object_set_new(o, "connections", connections_of(facts, page->file));
    json_object_set_new(o, "transactions", page_state_transactions(page->transactions, page->start_ns));
    json_object_set_new(o, "events", events_of(facts));
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(10)) : NULL;
    json_decref(o);
    return text;
}

void up_page_make(struct up_page *page)
{
    char *listings[UP_NODES_MAX];
    pthread_mutex_lock(&page->lock);
    page->copy = page->facts;
    for (unsigned i = 0; i < page->copy.count; i++) {
        listings[i] = page->askers[i].listing;
        page->askers[i].listing = NULL;
    }
    pthread_mutex_unlock(&page->lock);
    for (unsigned i = 0; i < page->copy.count; i++) {
        if (listings[i] && tx_merge_add(page->transactions, listings[i]))
            page_state_prune(page->transactions); /* after each: what one is looked for in stays small */
        tr__free(listings[i]);
    }
    tr__page_set_state(page->server, text_of(page));
}
