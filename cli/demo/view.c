/* What is on the demo's screen: nodes, the web app's latency, a bar a job, lateness, the last events. Pure
 * but for the clock: from the table of facts to a frame. The main thread. Below 60 columns the bars are
 * shorter and the ends of lines are left out; without UTF-8 it is drawn in ASCII. */
#include <inttypes.h>
#include <string.h>

#include "cli/demo/node.h"
#include "cli/demo/screen.h"

#define NARROW    60
#define WITH_PAGE 86 /* columns of the whole head line with a page */

static const demo_ink phase_inks[DEMO_PHASES] = {INK_GREEN, INK_YELLOW, INK_RED};

static bool narrow(const demo_frame *f)
{
    return f->screen->columns < NARROW;
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static void label(demo_frame *f, const char *who, const char *what)
{
    demo_frame_add(f, INK_BOLD, " %-5s ", who);
    demo_frame_add(f, INK_PLAIN, narrow(f) ? "%-8s " : "%-9s ", what);
}

static void bar(demo_frame *f, uint64_t done, uint64_t total, demo_ink ink)
{
    int width = narrow(f) ? 8 : f->screen->columns >= 100 ? 30 : 20;
    int full = total ? (int)(done * (uint64_t)width / total) : 0;
    const char *on = f->screen->utf8 ? "█" : "#", *off = f->screen->utf8 ? "░" : ".";
    for (int i = 0; i < width; i++)
        demo_frame_add(f, i < full ? ink : INK_DIM, "%s", i < full ? on : off);
    demo_frame_add(f, INK_PLAIN, "  ");
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static void title(const demo *d, demo_frame *f)
{
    const char *page = demo_page_url(d);
    demo_frame_add(f, INK_BOLD, " troupe demo");
    if (!page[0] || f->screen->columns >= WITH_PAGE) /* an address must not be cut off */
        demo_frame_add(f, INK_DIM, "  three nodes, one job%s",
                       d->opts.partition ? ", one cut"
                       : d->opts.kill    ? ", one crash"
                                         : "");
    demo_frame_add(f, INK_PLAIN, "  %5.1f s", demo_seconds(d));
    if (page[0])
        demo_frame_add(f, INK_PLAIN, "  page: %s", page);
    else if (d->first_message_ns)
        demo_frame_add(f, INK_DIM, "  first message %.2f s", (double)d->first_message_ns / 1e9);
    demo_frame_end_line(f);
}

static void nodes(const demo *d, demo_frame *f)
{
    for (int i = 0; i < DEMO_NODES; i++) {
        const demo_child *c = &d->children[i];
        bool ended = !c->up && d->ending, dead = !c->up && !ended && c->hellos > 0;
        const char *mark = f->screen->utf8 ? (dead    ? "✖"
                                              : c->up ? "●"
                                                      : "○")
                           : dead          ? "x"
                           : c->up         ? "*"
                                           : "-";
        demo_frame_add(f, dead ? INK_RED : c->up ? INK_GREEN : INK_DIM, " %s %s", mark, c->name);
        const char *port = strrchr(c->listen, ':');
        if (dead)
            demo_frame_add(f, INK_RED, narrow(f) ? " down" : c->pid ? " cut off      " : " killed       ");
        else if (ended)
            demo_frame_add(f, INK_DIM, narrow(f) ? " ended" : " ended        ");
        else if (c->up && narrow(f))
            demo_frame_add(f, INK_DIM, " %s", port ? port : "");
        else if (c->up)
            demo_frame_add(f, INK_DIM, " %s #%04x  ", port ? port : "", (unsigned)(c->incarnation & 0xffff));
        else
            demo_frame_add(f, INK_DIM, " starting   ");
    }
    demo_frame_end_line(f);
}

/* A power of two a step, from 0.1 ms. */
static int spark_level(uint64_t ns)
{
    int level = 0;
    for (uint64_t limit = 100000; level < 7 && ns > limit; limit *= 2)
        level++;
    return level;
}

static void sparks(const demo *d, demo_frame *f)
{
    static const char *const fine[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const rough[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
    uint32_t room = narrow(f) ? 12 : f->screen->columns >= 100 ? 60 : 36;
    uint32_t count = d->spark_count < room ? d->spark_count : room;
    for (uint32_t i = d->spark_count - count; i < d->spark_count; i++) {
        int level = spark_level(d->sparks[i % DEMO_SPARKS]);
        demo_frame_add(f, phase_inks[d->spark_phases[i % DEMO_SPARKS]], "%s",
                       f->screen->utf8 ? fine[level] : rough[level]);
    }
}

static void web(const demo *d, demo_frame *f)
{
    const demo_measure *m = &d->measures[d->phase];
    label(f, "alice", "web app");
    if (m->asked)
        demo_frame_add(f, INK_PLAIN, "p50 %.1f  p99 %.1f ms  ", ms(m->p50_ns), ms(m->p99_ns));
    sparks(d, f);
    demo_frame_end_line(f);
    demo_frame_add(f, INK_DIM, narrow(f) ? "   p99 " : "   asked every 10 ms, p99:");
    for (int i = 0; i < DEMO_PHASES; i++)
        if (d->measures[i].asked)
            demo_frame_add(f, phase_inks[i], narrow(f) ? " %.4s %.1f" : "  %s %.1f ms", demo_phase_names[i],
                           ms(d->measures[i].p99_ns));
    demo_frame_end_line(f);
}

static void downloads(const demo *d, demo_frame *f)
{
    label(f, "bob", "download");
    bar(f, d->fetched_bytes, d->bytes, INK_BLUE);
    demo_frame_add(f, INK_PLAIN, "%" PRIu32 "/%" PRIu32, d->fetched, d->files);
    uint64_t until = d->download_ended_ns ? d->download_ended_ns : demo_now();
    double seconds = d->download_began_ns ? (double)(until - d->download_began_ns) / 1e9 : 0;
    double rate = seconds > 0.2 ? (double)d->fetched_bytes / seconds : 0;
    if (rate > 0)
        demo_frame_add(f, INK_PLAIN, "  %.1f MB/s", rate / 1e6);
    if (rate > 0 && !d->downloaded)
        demo_frame_add(f, INK_PLAIN, "  ETA %.0f s", (double)(d->bytes - d->fetched_bytes) / rate + 0.5);
    if (d->resumed + d->resumed_earlier)
        demo_frame_add(f, INK_GREEN, "  %" PRIu32 " resumed", d->resumed + d->resumed_earlier);
    demo_frame_end_line(f);
}

static void computing(const demo *d, demo_frame *f)
{
    label(f, "carol", "sha256");
    bar(f, d->hashed, d->files, INK_YELLOW);
    demo_frame_add(f, INK_PLAIN, "%" PRIu32 "/%" PRIu32 "  processes", d->hashed, d->files);
    demo_frame_end_line(f);
    label(f, "carol", "picture");
    bar(f, d->tiles, d->tile_total, INK_MAGENTA);
    if (d->tile_total) {
        demo_frame_add(f, INK_PLAIN, "%" PRIu32 "/%" PRIu32, d->tiles, d->tile_total);
        double seconds = (double)(demo_now() - d->render_began_ns) / 1e9;
        if (d->tiles > 8 && !d->rendered)
            demo_frame_add(f, INK_PLAIN, "  ETA %.0f s",
                           seconds * (d->tile_total - d->tiles) / d->tiles + 0.5);
        demo_frame_add(f, INK_PLAIN, "  %" PRIu32 "x%" PRIu32 " on %" PRIu32 " threads", d->width, d->height,
                       d->workers);
    }
    demo_frame_end_line(f);
}

static void pipeline(const demo *d, demo_frame *f)
{
    label(f, "carol", "pipeline");
    bar(f, d->in_order, DEMO_REQUESTS, INK_BLUE);
    if (d->pipelined)
        demo_frame_add(f, INK_PLAIN, "%" PRIu32 "/%" PRIu32 " in order, %" PRIu64 " connection, %.1f ms",
                       d->in_order, d->asked, d->pipe_connections, ms(d->pipe_ns));
    demo_frame_end_line(f);
}

static void journal(const demo *d, demo_frame *f)
{
    label(f, f->screen->utf8 ? "a⇄b  " : "a<>b", "journal");
    bar(f, d->entries, 2 * (uint64_t)d->files, INK_GREEN);
    if (d->entries)
        demo_frame_add(f, INK_PLAIN, "%" PRIu64 " entries, %" PRIu64 " of alice, %" PRIu64 " of bob",
                       d->entries, d->alices, d->bobs);
    demo_frame_end_line(f);
}

static void lateness(const demo *d, demo_frame *f)
{
    demo_frame_add(f, INK_BOLD, " loops ");
    demo_frame_add(f, INK_PLAIN, "late p99 ");
    for (int i = 0; i < DEMO_NODES; i++)
        demo_frame_add(f, INK_PLAIN, narrow(f) ? " %s %.1f" : "  %s %.1f ms", d->children[i].name,
                       ms(d->children[i].late_ns));
    demo_frame_end_line(f);
}

static void events(const demo *d, demo_frame *f, int room)
{
    uint32_t count = d->event_count < DEMO_EVENTS ? d->event_count : DEMO_EVENTS;
    if (room < 0)
        room = 0;
    if (count > (uint32_t)room)
        count = (uint32_t)room;
    for (uint32_t i = d->event_count - count; i < d->event_count; i++) {
        const demo_event *event = &d->events[i % DEMO_EVENTS];
        bool bad = demo_event_is_bad(event);
        demo_frame_add(f, INK_DIM, " %5.1f ", event->at);
        demo_frame_add(f, bad ? INK_RED : INK_PLAIN, "%s", event->text);
        demo_frame_end_line(f);
    }
}

static void keys(const demo *d, demo_frame *f)
{
    bool cut = d->incidents.cut;
    demo_frame_add(f, INK_BOLD, " k");
    demo_frame_add(f, INK_DIM, " kill -9 bob   ");
    demo_frame_add(f, INK_BOLD, "p");
    demo_frame_add(f, INK_DIM,
                   d->net.network ? cut ? " heal   " : " cut bob off   "
                                  : " cut bob off: only with --netns   ");
    demo_frame_add(f, INK_BOLD, "q");
    demo_frame_add(f, INK_DIM, " quit");
    demo_frame_end_line(f);
}

void demo_view_make(const demo *d, demo_frame *f, int rows_max)
{
    static void (*const parts[])(const demo *, demo_frame *) = {title,     nodes,    web,     downloads,
                                                                computing, pipeline, journal, lateness};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && f->lines < rows_max - 2; i++)
        parts[i](d, f);
    if (f->lines < rows_max)
        demo_frame_end_line(f);
    int below = f->screen->keys && f->lines < rows_max ? 1 : 0;
    events(d, f, rows_max - f->lines - below);
    if (below)
        keys(d, f);
}
