/* A thread for each node of `troupe up --page`: while the node is up, asks its operator socket twice a second for what it
 * is connected to and for its transactions (docs/operator.md). An answer counts only if it is from our process of that
 * name: another cluster of this user may have a node of the same name. How it can fail: there is no answer; the facts
 * stay as they were, and their age tells. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/operator_client.h"
#include "cli/tx/merge.h"
#include "cli/up/page.h"

#define ANSWER_WITHIN TR_SECONDS(2) /* a node needs one to find out that a loop of its own is stuck */

static void take_text(char *to, size_t room, const json_t *from, const char *key)
{
    snprintf(to, room, "%s", tx_text(from, key));
}

/* UP_NODES_MAX: none of the file's. */
static unsigned index_of(const up_file *file, const char *name)
{
    unsigned i = 0;
    while (i < file->nodes_count && strcmp(file->nodes[i].name, name) != 0)
        i++;
    return i < file->nodes_count ? i : UP_NODES_MAX;
}

/* From what it had sent on the same connection when it was asked before. */
static double rate_of(const up_page_way *way, const up_page_told *told, const up_page_told *before)
{
    for (unsigned i = 0; before->pid == told->pid && i < before->count; i++) {
        const up_page_way *old = &before->ways[i];
        if (old->to == way->to && strcmp(old->incarnation, way->incarnation) == 0 && old->sent <= way->sent)
            return (double)(way->sent - old->sent) * 1e9 / (double)(told->at_ns - before->at_ns);
    }
    return 0;
}

static void take_ways(const up_file *file, const json_t *loops, up_page_told *told,
                      const up_page_told *before)
{
    const json_t *peer;
    size_t i;
    json_array_foreach(json_object_get(json_array_get(loops, 0), "peers"), i, peer)
    {
        up_page_way way = {.to = index_of(file, tx_text(peer, "name"))};
        if (way.to == UP_NODES_MAX || told->count == UP_NODES_MAX)
            continue;
        take_text(way.incarnation, sizeof(way.incarnation), peer, "incarnation");
        way.sent = (uint64_t)tx_number(peer, "messages_out");
        way.per_s = rate_of(&way, told, before);
        told->ways[told->count++] = way;
    }
}

static void take_silence(const json_t *loops, up_page_told *told)
{
    const json_t *loop;
    size_t i;
    json_array_foreach(loops, i, loop)
    {
        if (json_is_true(json_object_get(loop, "silent")) && !told->silent[0])
            take_text(told->silent, sizeof(told->silent), loop, "why");
    }
}

/* False: no answer, or another's. */
static bool ask_node(const up_file *file, operator_client *client, pid_t pid, up_page_told *told,
                     const up_page_told *before)
{
    tr_error error;
    json_t *answer, *request = json_pack("{s:s}", "do", "nodes");
    tr_err err = operator_request(client, request, ANSWER_WITHIN, &answer, &error);
    const json_t *node = json_object_get(answer, "node"), *loops = json_object_get(answer, "loops");
    bool is_ours = err == TR_OK && tx_number(node, "pid") == pid;
    *told = (up_page_told){.pid = pid, .at_ns = up_now()};
    if (is_ours) {
        take_text(told->incarnation, sizeof(told->incarnation), node, "incarnation");
        take_ways(file, loops, told, before);
        take_silence(loops, told);
    }
    json_decref(request);
    json_decref(answer);
    return is_ours;
}

static void ask_once(up_page_asker *asker, pid_t pid, up_page_told *before)
{
    struct up_page *page = asker->page;
    up_page_told told;
    tr_error error;
    char *listing = NULL;
    operator_client *client = operator_open(page->file->nodes[asker->index].name, &error);
    if (client && ask_node(page->file, client, pid, &told, before)) {
        pthread_mutex_lock(&page->lock);
        page->facts.nodes[asker->index].told = *before = told;
        pthread_mutex_unlock(&page->lock);
        listing = tx_merge_ask(client, ANSWER_WITHIN, &error);
    }
    operator_close(client);
    if (!listing)
        return;
    pthread_mutex_lock(&page->lock);
    char *old = asker->listing;
    asker->listing = listing;
    pthread_mutex_unlock(&page->lock);
    tr__free(old);
}

void *up_page_ask(void *argument)
{
    up_page_asker *asker = argument;
    struct up_page *page = asker->page;
    up_page_told before = {.pid = 0};
    pthread_mutex_lock(&page->lock);
    do {
        const up_page_node *node = &page->facts.nodes[asker->index];
        pid_t pid = node->state == UP_UP || node->state == UP_ENDING ? node->pid : 0;
        uint64_t next = up_now() + UP_PAGE_EVERY;
        if (pid) {
            pthread_mutex_unlock(&page->lock);
            ask_once(asker, pid, &before);
            pthread_mutex_lock(&page->lock);
        }
        if (!up_page_wait(page, next))
            break;
    } while (true);
    pthread_mutex_unlock(&page->lock);
    return NULL;
}
