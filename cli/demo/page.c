/* The demo's page: serves it, and collects what it shows beyond the demo's table of facts. The main thread;
 * the server's threads get finished texts only (nng_page.c).
 *
 * Failures: a port that is asked for by --page and isn't to be had ends the demo; else it goes on without a
 * page, or without the state of a moment when memory ran out. */
#include <stdlib.h>
#include <string.h>

#include "actors/node.h"
#include "actors/remote/remote.h"
#include "base/mem.h"
#include "cli/demo/page.h"
#include "cli/demo/screen.h"

#define MAKE_EVERY  TR_MILLIS(250) /* the page asks twice as rarely */
#define PICTURE_MAX ((size_t)8 << 20)

tr_err demo_page_open(demo *d)
{
    tr_error error;
    if (!d->opts.page)
        return TR_OK;
    struct demo_page *p = tr__zalloc(sizeof(*p));
    if (!p)
        return demo_trouble_is(d, TR_ENOMEM, "the page: no memory");
    p->server = tr__page_open(d->opts.page_port, &error);
    if (!p->server) {
        tr__free(p);
        if (d->opts.page_port)
            return demo_trouble_is(d, error.code, "%s; --page takes another port", error.text);
        demo_screen_event(d, "no page: %s", error.text);
        return TR_OK;
    }
    snprintf(p->url, sizeof(p->url), "http://127.0.0.1:%u", (unsigned)tr__page_port(p->server));
    d->page = p;
    if (d->screen->mode != DEMO_REDRAW) /* there it is in the head line */
        demo_screen_event(d, "page: %s", p->url);
    return TR_OK;
}

const char *demo_page_url(const demo *d)
{
    return d->page ? d->page->url : "";
}

/* ---- what the nodes tell ------------------------------------------------------------------------------- */

/* -1: none of the demo's. */
static int end_of(const demo *d, const char *name)
{
    for (int i = 0; i < DEMO_NODES; i++)
        if (strcmp(d->children[i].name, name) == 0)
            return i;
    return strcmp(name, "demo") == 0 ? DEMO_NODES : -1;
}

static void traffic(demo *d, const char *from, const char *to, uint64_t node, uint64_t sent)
{
    int i = end_of(d, from), k = end_of(d, to);
    if (i < 0 || k < 0)
        return;
    demo_way *way = &d->page->ways[i][k];
    uint64_t now = demo_now();
    uint64_t before = way->node == node && way->sent <= sent ? way->sent : 0;
    if (way->at_ns && now > way->at_ns)
        way->per_s = (double)(sent - before) * 1e9 / (double)(now - way->at_ns);
    way->node = node;
    way->sent = sent;
    way->at_ns = now;
}

/* This node's own, whenever a node reports its. */
static void own_traffic(demo *d)
{
    tr__traffic to[DEMO_ENDS];
    size_t count = tr__remote_traffic(d->node->remote, to, DEMO_ENDS);
    for (size_t i = 0; i < count; i++)
        traffic(d, "demo", to[i].peer, to[i].node, to[i].sent);
}

static void tile(demo *d, const demo_tiles *t)
{
    int by = end_of(d, t->by);
    if (t->tile >= DEMO_TILES || t->shades.size != DEMO_SHADES || by < 0)
        return;
    d->page->tile_by[t->tile] = (uint8_t)(by + 1);
    memcpy(d->page->shades[t->tile], t->shades.data, DEMO_SHADES);
}

void demo_page_observe(demo *d, const tr_msg *msg)
{
    const demo_traffic *sent = tr_match(msg, demo_traffic);
    const demo_lateness *late = tr_match(msg, demo_lateness);
    const demo_tiles *t = tr_match(msg, demo_tiles);
    const demo_latency *l = tr_match(msg, demo_latency);
    struct demo_page *p = d->page;
    if (!p)
        return;
    if (sent)
        traffic(d, sent->name, sent->peer, sent->node, sent->sent);
    else if (late && strcmp(late->name, d->children[0].name) == 0)
        own_traffic(d);
    else if (t)
        tile(d, t);
    else if (l && l->phase < DEMO_PHASES && l->spread.size == sizeof(p->spread[0])) {
        memcpy(p->spread[l->phase], l->spread.data, sizeof(p->spread[0]));
        p->p999_ns[l->phase] = l->p999_ns;
        p->max_ns[l->phase] = l->max_ns;
    }
}

/* ---- state --------------------------------------------------------------------------------------------- */

/* Notes when nodes went down and came back. */
static void note_gaps(demo *d)
{
    struct demo_page *p = d->page;
    uint64_t now = demo_now() - d->start_ns;
    for (int i = 0; i < DEMO_NODES; i++) {
        uint32_t *count = &p->gap_counts[i];
        demo_gap *last = &p->gaps[i][(*count + DEMO_GAPS - 1) % DEMO_GAPS];
        bool down = *count && !last->to_ns;
        if (down && d->children[i].up)
            last->to_ns = now;
        else if (!down && !d->children[i].up && d->children[i].hellos && !d->ending)
            p->gaps[i][(*count)++ % DEMO_GAPS] = (demo_gap){.from_ns = now};
    }
}

static void give_picture(demo *d)
{
    char path[DEMO_PATH + 32];
    struct demo_page *p = d->page;
    snprintf(path, sizeof(path), "%s/carol/mandelbrot.png", d->directory);
    FILE *file = fopen(path, "re");
    uint8_t *bytes = file ? tr__alloc(PICTURE_MAX) : NULL;
    size_t size = bytes ? fread(bytes, 1, PICTURE_MAX, file) : 0;
    if (size > 0 && size < PICTURE_MAX)
        p->has_picture = tr__page_set_picture(p->server, bytes, size);
    tr__free(bytes);
    if (file)
        fclose(file);
}

void demo_page_refresh(demo *d)
{
    struct demo_page *p = d->page;
    if (!p || p->ended)
        return;
    note_gaps(d);
    uint64_t now = demo_now();
    if (now - p->made_ns < MAKE_EVERY)
        return;
    p->made_ns = now;
    if (d->rendered && !p->has_picture)
        give_picture(d);
    tr__page_set_state(p->server, demo_state_text(d));
}

void demo_page_end(demo *d, bool clean)
{
    struct demo_page *p = d->page;
    if (!p)
        return;
    p->ended = true;
    p->verdict = demo_report_checks(d, clean);
    tr__page_set_state(p->server, demo_state_text(d));
}

void demo_page_close(demo *d)
{
    struct demo_page *p = d->page;
    if (!p)
        return;
    tr__page_close(p->server);
    json_decref(p->verdict);
    tr__free(p);
    d->page = NULL;
}
