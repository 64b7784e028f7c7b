/* See page.h. The main thread, but for the maker.
 *
 *     open ─► look, event, look, ... (the main thread) │ ask (a thread a node) │ make (the maker) ─► close
 *
 * Failures: the port isn't to be had, or threads, or memory: open says so, and nothing was started. Later, without memory
 * the page keeps the state that it has. */
#include "cli/up/page.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/tx/merge.h"
#include "mailbox/json.h"

bool up_page_wait(struct up_page *page, uint64_t until_ns)
{
    struct timespec end = {.tv_sec = (time_t)(until_ns / 1000000000u),
                           .tv_nsec = (long)(until_ns % 1000000000u)};
    while (!page->stopping && pthread_cond_timedwait(&page->stop, &page->lock, &end) != ETIMEDOUT)
        ;
    return !page->stopping;
}

/* ---- what the main thread tells ------------------------------------------------------------------------ */

static bool is_down(const up_child *child)
{
    return child->state == UP_ENDED ? child->ended_badly
                                    : child->ups && (child->state == UP_WAITING || child->state == UP_COMING);
}

static void note_gap(up_page_node *node, const up_child *child, uint64_t now)
{
    up_page_gap *last = &node->gaps[(node->gap_count + UP_PAGE_GAPS - 1) % UP_PAGE_GAPS];
    bool was_down = node->gap_count && !last->to_ns;
    if (was_down && child->state == UP_UP)
        last->to_ns = now;
    else if (!was_down && is_down(child))
        node->gaps[node->gap_count++ % UP_PAGE_GAPS] = (up_page_gap){.from_ns = now};
}

void up_page_look(up *u)
{
    struct up_page *page = u->page;
    if (!page)
        return;
    uint64_t now = up_now();
    pthread_mutex_lock(&page->lock);
    for (unsigned i = 0; i < u->count; i++) {
        const up_child *child = &u->children[i];
        up_page_node *node = &page->facts.nodes[i];
        note_gap(node, child, now - page->start_ns);
        if (node->ups != child->ups)
            node->up_ns = now;
        node->ups = child->ups;
        node->state = child->state;
        node->pid = child->pid;
        node->ended_badly = child->ended_badly;
        snprintf(node->listen, sizeof(node->listen), "%s", child->listen);
    }
    pthread_mutex_unlock(&page->lock);
}

/* As much of it as there is room for, without half a letter at its end, and with ? for control characters. */
static void copy_text(char *to, size_t room, const char *from)
{
    size_t length = strlen(from);
    if (length >= room)
        for (length = room - 1; length && ((unsigned char)from[length] & 0xc0) == 0x80;)
            length--;
    for (size_t i = 0; i < length; i++)
        to[i] = ((unsigned char)from[i] < ' ' && from[i] != '\t') || from[i] == 0x7f ? '?' : from[i];
    to[length] = '\0';
}

void up_page_event_of(up *u, const up_child *child, const char *text, bool own)
{
    struct up_page *page = u->page;
    char words[UP_PAGE_TEXT];
    if (!page)
        return;
    copy_text(words, sizeof(words), strncmp(text, "info: ", 6) == 0 ? text + 6 : text);
    pthread_mutex_lock(&page->lock);
    up_page_event *event = &page->facts.events[page->facts.event_count++ % UP_PAGE_EVENTS];
    event->at_ns = up_now() - page->start_ns;
    event->bad = !own ? strncmp(text, "error: ", 7) == 0 : child && child->ended_badly;
    snprintf(event->text, sizeof(event->text), "%s%s%s", child ? child->node->name : "",
             !child ? ""
             : own  ? " "
                    : ": ",
             words);
    if (child && own)
        memcpy(page->facts.nodes[child - u->children].last, words, sizeof(words));
    pthread_mutex_unlock(&page->lock);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static void *make(void *argument)
{
    struct up_page *page = argument;
    bool going = true;
    while (going) {
        up_page_make(page);
        pthread_mutex_lock(&page->lock);
        going = up_page_wait(page, up_now() + UP_PAGE_EVERY);
        pthread_mutex_unlock(&page->lock);
    }
    return NULL;
}

static bool start_threads(struct up_page *page)
{
    page->making = pthread_create(&page->maker, NULL, make, page) == 0;
    while (page->making && page->asking < page->file->nodes_count) {
        up_page_asker *asker = &page->askers[page->asking];
        if (pthread_create(&asker->thread, NULL, up_page_ask, asker) != 0)
            break;
        page->asking++;
    }
    return page->asking == page->file->nodes_count;
}

/* A node that answers late holds this up for as long as a request may take; those that have ended don't. */
static void stop_threads(struct up_page *page)
{
    pthread_mutex_lock(&page->lock);
    page->stopping = true;
    pthread_cond_broadcast(&page->stop);
    pthread_mutex_unlock(&page->lock);
    for (unsigned i = 0; i < page->asking; i++)
        pthread_join(page->askers[i].thread, NULL);
    if (page->making)
        pthread_join(page->maker, NULL);
}

static void dispose(struct up_page *page)
{
    for (unsigned i = 0; i < page->asking; i++)
        tr__free(page->askers[i].listing);
    json_decref(page->transactions);
    tr__page_close(page->server);
    pthread_cond_destroy(&page->stop);
    pthread_mutex_destroy(&page->lock);
    tr__free(page);
}

static struct up_page *create(const up *u)
{
    pthread_condattr_t monotonic;
    struct up_page *page = tr__zalloc(sizeof(*page));
    if (!page)
        return NULL;
    page->file = u->file;
    page->path = u->path;
    page->start_ns = up_now();
    page->facts.count = u->count;
    for (unsigned i = 0; i < u->count; i++)
        page->askers[i] = (up_page_asker){.page = page, .index = i};
    pthread_mutex_init(&page->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&page->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return page;
}

tr_err up_page_open(up *u, uint16_t port, tr_error *error)
{
    struct up_page *page = create(u);
    tr__json_prepare();
    if (!page || !(page->transactions = tx_merge_new()))
        tr__fail(error, TR_ENOMEM, "the page: no memory");
    else if ((page->server = tr__page_open(port, error)) && !start_threads(page))
        tr__fail(error, TR_ENOMEM, "the page: no more threads; `ulimit -u` tells how many there may be");
    else if (page->server) {
        u->page = page;
        up_say(u, NULL, "page: http://127.0.0.1:%u", (unsigned)tr__page_port(page->server));
        return TR_OK;
    }
    if (page) {
        stop_threads(page);
        dispose(page);
    }
    return error->code;
}

void up_page_close(up *u)
{
    struct up_page *page = u->page;
    if (!page)
        return;
    up_page_look(u);
    stop_threads(page);
    page->facts.ended = true;
    page->facts.failed = u->failed;
    up_page_make(page);
    dispose(page);
    u->page = NULL;
}
