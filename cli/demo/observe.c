/* What the nodes tell the observer, taken into the demo's one table of facts. The main thread. Reports come
 * in any order and may be missing or late (a node that was killed): each message only sets what it is about.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "cli/demo/demo.h"
#include "cli/demo/node.h"

const char *const demo_phase_names[DEMO_PHASES] = {"quiet", "busy", "kill"};

tr_err demo_trouble_is(demo *d, tr_err code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (d->trouble.code == TR_OK)
        tr__vfail(&d->trouble, code, format, args);
    va_end(args);
    return d->trouble.code;
}

static demo_child *child_of(demo *d, const char *name)
{
    for (int i = 0; i < DEMO_NODES; i++)
        if (strcmp(d->children[i].name, name) == 0)
            return &d->children[i];
    return NULL;
}

static void hello(demo *d, const tr_msg *msg, const demo_hello *h)
{
    demo_child *c = child_of(d, h->name);
    if (!c)
        return;
    if (!d->first_message_ns) {
        d->first_message_ns = demo_now() - d->start_ns;
        demo_screen_event(d, "first message between nodes (%s -> demo) after %.2f s", h->name,
                          (double)d->first_message_ns / 1e9);
    }
    if (c->incarnation != h->node)
        c->was = c->incarnation;
    c->incarnation = h->node;
    c->first = tr_msg_sender(msg);
    c->role = h->role;
    c->hellos++;
    c->up = true;
    snprintf(c->listen, sizeof(c->listen), "%s", h->listen);
    if (c->hellos > 1)
        d->healed_ns = demo_now();
    if (c->hellos > 1)
        demo_screen_event(d, "%s up again, incarnation %04x -> %04x", c->name, (unsigned)(c->was & 0xffff),
                          (unsigned)(c->incarnation & 0xffff));
    else
        demo_screen_event(d, "%s up, process %" PRIu32 ", %s", c->name, h->pid, c->listen);
}

static void node_event(demo *d, const tr_node_event *event)
{
    demo_child *c = child_of(d, event->name);
    if (!c || event->node != c->incarnation)
        return;
    c->up = event->up;
    if (!event->up && d->killed_ns && c == &d->children[DEMO_BOB] && !d->down_ns)
        d->down_ns = demo_now();
}

static void web(demo *d, const demo_web *w)
{
    snprintf(d->web, sizeof(d->web), "%s", w->address);
    d->files = w->files;
    d->bytes = w->bytes;
    d->results = tr__zalloc(w->files * sizeof(*d->results));
    if (!d->results)
        demo_trouble_is(d, TR_ENOMEM, "the results: no memory");
    demo_screen_event(d, "alice's web app at http://%s: %" PRIu32 " files of %s, %.1f MB", d->web, d->files,
                      d->opts.source, (double)d->bytes / 1e6);
}

static void result(demo *d, const tr_msg *msg, const demo_result *r)
{
    if (d->results && r->n < d->files && strlen(r->sha256) == 64) {
        demo_result_row *row = &d->results[r->n];
        d->result_count += row->carol[0] == 0;
        row->size = r->size;
        memcpy(row->carol, r->sha256, 65);
    }
    tr_reply(d->self, msg, demo_yes);
}

static void downloads(demo *d, const demo_downloads *m)
{
    d->fetched = m->files;
    d->fetched_bytes = m->bytes;
    d->half = m->half;
    d->resumed = m->resumed;
    d->resumed_bytes = m->resumed_bytes;
    d->hashed = m->hashed;
    if (m->recovered && !d->recovered)
        demo_screen_event(d, "bob's journal had %" PRIu32 " results, the same as alice's", m->recovered);
    d->recovered = m->recovered;
    if (m->done && !d->downloaded) {
        d->downloaded = true;
        d->download_ended_ns = demo_now();
        demo_screen_event(d, "bob has %" PRIu32 " files, %.1f MB; carol has the digest of each", m->files,
                          (double)m->bytes / 1e6);
    }
}

static void latency(demo *d, const demo_latency *l)
{
    if (l->phase >= DEMO_PHASES)
        return;
    d->measures[l->phase] = (demo_measure){l->p50_ns, l->p99_ns, l->asked, l->failed};
    if (!l->window_p99_ns)
        return;
    d->sparks[d->spark_count % DEMO_SPARKS] = l->window_p99_ns;
    d->spark_phases[d->spark_count++ % DEMO_SPARKS] = (uint8_t)l->phase;
}

static void asks_failed(demo *d, const demo_asks_failed *f)
{
    d->asks_failed = true;
    d->failed_asks = f->asks;
    d->failed_no_connection = f->no_connection;
    d->detected_ns = f->at_ns;
    snprintf(d->failed_text, sizeof(d->failed_text), "%s", f->text);
    double took = d->killed_ns && f->at_ns > d->killed_ns ? (double)(f->at_ns - d->killed_ns) / 1e6 : 0;
    demo_screen_event(d, "alice: %" PRIu32 " asks to bob failed %.1f ms after %s: %s", f->asks, took,
                      d->incidents.cut ? "the cut" : "the kill", f->text);
}

static void pipelined(demo *d, const demo_pipelined *p)
{
    d->pipelined = true;
    d->asked = p->asked;
    d->answered = p->answered;
    d->in_order = p->in_order;
    d->pipe_connections = p->connections;
    d->pipe_ns = p->elapsed_ns;
    snprintf(d->example, sizeof(d->example), "%s", p->example);
    demo_screen_event(
        d, "carol: %" PRIu32 "/%" PRIu32 " answers in order over %" PRIu64 " connection in %.1f ms, e.g. %s",
        p->in_order, p->asked, p->connections, (double)p->elapsed_ns / 1e6, p->example);
}

static void tiles(demo *d, const demo_tiles *t)
{
    d->tiles = t->tiles;
    d->tile_total = t->total;
    d->width = t->width;
    d->height = t->height;
    d->samples = t->samples;
    if (t->done && !d->rendered) {
        d->rendered = true;
        demo_screen_event(d, "carol drew %" PRIu32 "x%" PRIu32 " in %" PRIu32 " tiles on %" PRIu32 " threads",
                          t->width, t->height, t->total, t->workers);
    }
}

static void journal(demo *d, const demo_journal *j)
{
    d->entries = j->last;
    d->alices = j->own;
    d->bobs = j->other;
    d->entries_waiting = j->waiting;
    d->together = j->together;
}

static void lateness(demo *d, const demo_lateness *l)
{
    demo_child *c = child_of(d, l->name);
    if (!c)
        return;
    c->late_ns = l->p99_ns;
    c->late_total_ns = l->total_p99_ns;
    c->late_max_ns = l->max_ns;
}

/* bob's and carol's; false: it is none of those. */
static bool observe_work(demo *d, const tr_msg *msg)
{
    const demo_downloads *progress = tr_match(msg, demo_downloads);
    const demo_result *r = tr_match(msg, demo_result);
    const demo_tiles *t = tr_match(msg, demo_tiles);
    const demo_pipelined *p = tr_match(msg, demo_pipelined);
    const demo_listed *list = tr_match(msg, demo_listed);
    if (progress)
        downloads(d, progress);
    else if (r)
        result(d, msg, r);
    else if (t)
        tiles(d, t);
    else if (p)
        pipelined(d, p);
    else if (list && !d->listed)
        demo_screen_event(d, "bob: GET /list -> %" PRIu32 " files, %.1f MB", list->files,
                          (double)list->bytes / 1e6);
    d->listed |= list != NULL;
    return progress || r || t || p || list;
}

void demo_observe(demo *d, const tr_msg *msg)
{
    const demo_latency *l = tr_match(msg, demo_latency);
    const demo_lateness *late = tr_match(msg, demo_lateness);
    const demo_hello *h = tr_match(msg, demo_hello);
    const tr_node_event *event = tr_match(msg, tr_node_event);
    const demo_web *w = tr_match(msg, demo_web);
    const demo_journal *j = tr_match(msg, demo_journal);
    const demo_asks_failed *failed = tr_match(msg, demo_asks_failed);
    const demo_trouble *trouble = tr_match(msg, demo_trouble);
    demo_page_observe(d, msg);
    if (l)
        latency(d, l);
    else if (late)
        lateness(d, late);
    else if (observe_work(d, msg))
        return;
    else if (h)
        hello(d, msg, h);
    else if (event)
        node_event(d, event);
    else if (w && !d->results)
        web(d, w);
    else if (failed)
        asks_failed(d, failed);
    else if (j)
        journal(d, j);
    else if (tr_match(msg, demo_armed))
        d->armed = true;
    else if (trouble)
        demo_trouble_is(d, TR_EAPP, "%s: %s", trouble->name, trouble->text);
}
