/* The demo's table of facts as the JSON text that the page asks for; docs/page.md describes it. Pure but for
 * the clock. The main thread. What has no memory is left out, or the whole is NULL: the page keeps what it
 * has. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/demo/page.h"
#include "cli/demo/tx.h"
#include "cli/page_state.h"

/* ---- nodes and what goes between them ------------------------------------------------------------------ */

static json_t *gaps_of(const demo *d, int index)
{
    json_t *gaps = json_array();
    uint32_t count = d->page->gap_counts[index], first = count > DEMO_GAPS ? count - DEMO_GAPS : 0;
    for (uint32_t i = first; i < count; i++) {
        const demo_gap *gap = &d->page->gaps[index][i % DEMO_GAPS];
        json_array_append_new(gaps,
                              json_pack("[f, o]", page_state_ms(gap->from_ns),
                                        gap->to_ns ? json_real(page_state_ms(gap->to_ns)) : json_null()));
    }
    return gaps;
}

static json_t *node_of(const demo *d, int index)
{
    static const char *const parts[DEMO_NODES] = {"web app", "downloads", "computes"};
    const demo_child *c = &d->children[index];
    bool ended = (d->ending || d->page->ended) && !c->pid;
    const char *state = !c->hellos ? "starting" : c->up || ended ? "up" : "down";
    char incarnation[20] = "";
    if (c->hellos)
        snprintf(incarnation, sizeof(incarnation), "%016" PRIx64, c->incarnation);
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s, s:s, s:f, s:o}", "name", c->name, "part", parts[index],
                     "state", ended ? "ended" : state, "incarnation", incarnation, "incarnations",
                     (int)c->hellos, "listen", c->listen, "reason",
                     strcmp(state, "down") != 0 ? ""
                     : c->pid                   ? "cut off by the demo (its interface is down)"
                                                : "killed by the demo (kill -9)",
                     "late_p99_ms", page_state_ms(c->late_ns), "down_ms", gaps_of(d, index));
}

static json_t *nodes_of(const demo *d)
{
    json_t *nodes = json_array();
    for (int i = 0; i < DEMO_NODES; i++)
        json_array_append_new(nodes, node_of(d, i));
    json_array_append_new(nodes, json_pack("{s:s, s:s, s:s, s:b}", "name", "demo", "part", "watches", "state",
                                           d->page->ended ? "ended" : "up", "observer", true));
    return nodes;
}

static bool end_is_up(const demo *d, int index)
{
    return !d->page->ended && (index == DEMO_NODES || d->children[index].up);
}

static json_t *connections_of(const demo *d)
{
    json_t *ways = json_array();
    for (int i = 0; i < DEMO_ENDS; i++)
        for (int k = 0; k < DEMO_ENDS; k++) {
            const demo_way *way = &d->page->ways[i][k];
            bool up = end_is_up(d, i) && end_is_up(d, k);
            if (way->at_ns)
                json_array_append_new(ways, json_pack("{s:s, s:s, s:I, s:f, s:b}", "from",
                                                      i < DEMO_NODES ? d->children[i].name : "demo", "to",
                                                      k < DEMO_NODES ? d->children[k].name : "demo", "sent",
                                                      (json_int_t)way->sent, "per_s", up ? way->per_s : 0.0,
                                                      "up", up));
        }
    return ways;
}

/* ---- jobs ---------------------------------------------------------------------------------------------- */

typedef struct job {
    const char *name, *node, *unit;
    uint64_t done, total;
    bool ended;
    uint64_t began_ns, ended_ns; /* 0: not yet, or it isn't known; then it has no rate */
    char note[160];
} job;

static json_t *job_json(const job *j)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:o}", "name", j->name, "node", j->node, "unit",
                          j->unit, "done", (json_int_t)j->done, "total", (json_int_t)j->total, "state",
                          j->ended  ? "done"
                          : j->done ? "running"
                                    : "waiting",
                          "note", page_state_text(j->note));
    uint64_t until = j->ended_ns ? j->ended_ns : demo_now();
    double seconds = j->began_ns && until > j->began_ns ? (double)(until - j->began_ns) / 1e9 : 0;
    double rate = seconds > 0.2 ? (double)j->done / seconds : 0;
    if (rate > 0 && (!j->ended || j->ended_ns))
        json_object_set_new(o, "per_s", json_real(rate));
    if (rate > 0 && !j->ended && j->total > j->done)
        json_object_set_new(o, "eta_s", json_real((double)(j->total - j->done) / rate));
    return o;
}

static json_t *jobs_of(const demo *d)
{
    job jobs[] = {
        {"download", "bob", "bytes", d->fetched_bytes, d->bytes, d->downloaded, d->download_began_ns,
         d->download_ended_ns, ""},
        {"sha256", "carol", "files", d->hashed, d->files, d->downloaded, d->download_began_ns,
         d->download_ended_ns, ""},
        {"journals", "alice", "entries", d->entries, 2 * (uint64_t)d->files,
         d->files && d->entries == 2 * (uint64_t)d->files, 0, 0, ""},
        {"pipeline", "carol", "answers", d->in_order, DEMO_REQUESTS, d->pipelined, 0, 0, ""},
        {"picture", "carol", "tiles", d->tiles, d->tile_total, d->rendered, d->render_began_ns, 0, ""},
    };
    json_t *all = json_array();
    if (d->files)
        snprintf(jobs[0].note, sizeof(jobs[0].note), "%" PRIu32 " of %" PRIu32 " files", d->fetched,
                 d->files);
    if (d->resumed + d->resumed_earlier)
        snprintf(jobs[0].note + strlen(jobs[0].note), 40, ", %" PRIu32 " resumed",
                 d->resumed + d->resumed_earlier);
    snprintf(jobs[1].note, sizeof(jobs[1].note), "child processes");
    snprintf(jobs[2].note, sizeof(jobs[2].note), "%" PRIu64 " of alice, %" PRIu64 " of bob", d->alices,
             d->bobs);
    if (d->pipelined)
        snprintf(jobs[3].note, sizeof(jobs[3].note), "in order, %" PRIu64 " connection, %.1f ms",
                 d->pipe_connections, page_state_ms(d->pipe_ns));
    if (d->tile_total)
        snprintf(jobs[4].note, sizeof(jobs[4].note), "%" PRIu32 " x %" PRIu32 ", %" PRIu32 " threads",
                 d->width, d->height, d->workers);
    for (size_t i = 0; i < TR_COUNT(jobs); i++)
        json_array_append_new(all, job_json(&jobs[i]));
    return all;
}

/* A letter a tile: . not drawn, A the first node, B the second; and 12 letters a tile that was drawn, 64
 * shades from A (dark) to Z, a to z, 0 to 9, + and /, as in base 64. */
static json_t *picture_of(const demo *d)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const struct demo_page *p = d->page;
    char by[DEMO_TILES + 1] = "", shades[DEMO_TILES * DEMO_SHADES + 1];
    size_t used = 0;
    for (int i = 0; i < DEMO_TILES && d->tile_total; i++) {
        by[i] = p->tile_by[i] ? (char)('A' + p->tile_by[i] - 1) : '.';
        for (int k = 0; k < DEMO_SHADES && p->tile_by[i]; k++)
            shades[used++] = letters[p->shades[i][k] / 4];
    }
    shades[used] = 0;
    return json_pack("{s:i, s:i, s:i, s:[i, i], s:s, s:s, s:b}", "width", (int)d->width, "height",
                     (int)d->height, "edge", DEMO_TILES_EDGE, "shades_of_tile", DEMO_SHADES_ACROSS,
                     DEMO_SHADES_DOWN, "by", by, "shades", shades, "ready", p->has_picture);
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static json_t *latency_of(const demo *d)
{
    json_t *phases = json_array();
    for (int i = 0; i < DEMO_PHASES; i++) {
        const demo_measure *m = &d->measures[i];
        json_t *counts = json_array();
        for (int k = 0; k < DEMO_SPREAD; k++)
            json_array_append_new(counts, json_integer(d->page->spread[i][k]));
        json_array_append_new(
            phases,
            json_pack("{s:s, s:f, s:f, s:f, s:f, s:I, s:I, s:o}", "phase", demo_phase_names[i], "p50_ms",
                      page_state_ms(m->p50_ns), "p99_ms", page_state_ms(m->p99_ns), "p999_ms",
                      page_state_ms(d->page->p999_ns[i]), "max_ms", page_state_ms(d->page->max_ns[i]),
                      "answered", (json_int_t)m->asked, "failed", (json_int_t)m->failed, "counts", counts));
    }
    return json_pack("{s:f, s:i, s:o}", "first_ms", DEMO_SPREAD_FROM_NS / 1e6, "steps_per_octave", 4,
                     "phases", phases);
}

static json_t *events_of(const demo *d)
{
    json_t *events = json_array();
    uint32_t first = d->event_count > DEMO_EVENTS ? d->event_count - DEMO_EVENTS : 0;
    for (uint32_t i = first; i < d->event_count; i++) {
        const demo_event *event = &d->events[i % DEMO_EVENTS];
        json_array_append_new(events,
                              json_pack("{s:f, s:o, s:b}", "at_ms", event->at * 1e3, "text",
                                        page_state_text(event->text), "bad", demo_event_is_bad(event)));
    }
    return events;
}

char *demo_state_text(const demo *d)
{
    json_t *o = json_pack("{s:i, s:s, s:f, s:b, s:O?}", "schema", 1, "title", "demo", "at_ms",
                          demo_seconds(d) * 1e3, "ended", d->page->ended, "verdict", d->page->verdict);
    json_object_set_new(o, "trouble", page_state_text(d->trouble.code ? d->trouble.text : ""));
    json_object_set_new(o, "nodes", nodes_of(d));
    json_object_set_new(o, "connections", connections_of(d));
    json_object_set_new(o, "jobs", jobs_of(d));
    json_object_set_new(o, "picture", picture_of(d));
    json_object_set_new(o, "transactions", demo_tx_state(d));
    json_object_set_new(o, "latency", latency_of(d));
    json_object_set_new(o, "events", events_of(d));
    char *text = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL;
    json_decref(o);
    return text;
}
