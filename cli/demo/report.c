/* The end of the demo: what held and what did not, in words or as one JSON object. The main thread, after the
 * nodes have ended. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/stderr_os.h"
#include "cli/demo/demo.h"
#include "cli/demo/sums.h"
#include "cli/words.h"

typedef struct verdict {
    bool digests, image, pipeline, journals, doubt, crash, sums, clean, ok;
} verdict;

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static double ms_since_kill(const demo *d, uint64_t at_ns)
{
    return at_ns > d->killed_ns ? ms(at_ns - d->killed_ns) : 0;
}

static bool sums_hold(const demo *d)
{
    for (int i = 0; i < DEMO_NODES; i++)
        if (!d->children[i].has_sums || !demo_sums_add_up(&d->children[i].sums))
            return false;
    return d->own_sums_known && demo_sums_add_up(&d->own_sums);
}

static uint32_t resumed(const demo *d)
{
    return d->resumed_earlier + d->resumed;
}

static double resumed_mb(const demo *d)
{
    return (double)(d->resumed_bytes_earlier + d->resumed_bytes) / 1e6;
}

static verdict judge(const demo *d, bool clean)
{
    verdict v = {.clean = clean};
    v.digests = d->files > 0 && d->equal == d->files;
    v.image = d->image_equal;
    v.pipeline = d->asked > 0 && d->in_order == d->asked && d->pipe_connections == 1;
    v.journals = d->journals_equal;
    v.doubt = !d->tx.doubt[0] && (d->tx.settled > 0 || !d->incidents.halts);
    v.crash = d->incidents.healed == d->incidents.kills + d->incidents.cuts &&
              (resumed(d) > 0 || d->parts == 0 || !d->incidents.kills);
    v.sums = d->opts.keep || sums_hold(d);
    v.ok = d->checked && d->trouble.code == TR_OK && v.digests && v.image && v.pipeline && v.journals &&
           v.doubt && v.crash && v.sums && (clean || d->opts.keep);
    return v;
}

/* ---- in words ------------------------------------------------------------------------------------------ */

/* What a death left in doubt, and that nothing is. */
static void print_doubt(const demo *d, const verdict *v)
{
    printf(" %s no transaction in doubt, nothing locked", demo_screen_mark(d, v->doubt));
    if (d->tx.settled)
        printf("; %" PRIu32 " had been: %" PRIu32 " committed on both, %" PRIu32 " aborted on both",
               d->tx.settled, d->tx.settled_committed, d->tx.settled - d->tx.settled_committed);
    printf("\n");
}

/* The last one; the figures of those before were shown as they came. */
static void print_crash(const demo *d, const verdict *v)
{
    const demo_incidents *all = &d->incidents;
    const demo_child *bob = &d->children[DEMO_BOB];
    if (all->kills + all->cuts == 0)
        return;
    printf(" %s bob", demo_screen_mark(d, v->crash));
    if (all->kills)
        printf(" killed %" PRIu32 " time%s%s", all->kills, cli_s(all->kills), all->cuts ? "," : "");
    if (all->cuts)
        printf(" cut off %" PRIu32 " time%s", all->cuts, cli_s(all->cuts));
    printf(", healed %" PRIu32 " time%s; the last after %.0f ms\n", all->healed, cli_s(all->healed),
           ms_since_kill(d, d->healed_ns));
    if (d->failed_asks)
        printf("   %" PRIu32 " of %d open asks failed by name, after %.1f ms\n   (%s)\n",
               d->failed_no_connection, DEMO_ASKS, ms_since_kill(d, d->detected_ns), d->failed_text);
    if (all->kills)
        printf("   incarnation #%04x now, #%04x before", (unsigned)(bob->incarnation & 0xffff),
               (unsigned)(bob->was & 0xffff));
    else
        printf("   incarnation #%04x, the same as before", (unsigned)(bob->incarnation & 0xffff));
    if (resumed(d))
        printf("; %" PRIu32 " half done file%s resumed, %.1f MB", resumed(d), cli_s(resumed(d)),
               resumed_mb(d));
    printf("\n");
}

static void print_sums_of(const char *name, const tr_sums *s)
{
    printf("   %-5s %8" PRIu64 " %7" PRIu64 " %8" PRIu64 " = %7" PRIu64 " %4" PRIu64 " %6" PRIu64 " %6" PRIu64
           " %5" PRIu64 "\n",
           name, s->accepted, s->arrived, s->received, s->handled, demo_sums_dropped(s), s->queued, s->passed,
           s->sent);
}

/* Where those of a demo come from; others have no words here and would be news. */
static const char *const reasons[TR_DROP_COUNT] = {
    [TR_DROP_NO_CONNECTION] = ": for a node that was away",
    [TR_DROP_LATE_REPLY] = ": an answer whose asker had given up",
    [TR_DROP_NO_ACTOR] = ": for an actor that had ended",
    [TR_DROP_LEFT] = ": in the mailbox of an actor as it ended",
    [TR_DROP_SHUTDOWN] = ": notices of the end itself, for actors that had ended before",
};

static void print_dead_letters(const demo *d)
{
    uint64_t total[TR_DROP_COUNT] = {0}, all = 0;
    for (int i = 0; i < TR_DROP_COUNT; i++) {
        total[i] = d->own_sums.dropped[i];
        for (int k = 0; k < DEMO_NODES; k++)
            total[i] += d->children[k].sums.dropped[i];
        all += total[i];
    }
    printf("   %" PRIu64 " dead letter%s, all counted%s\n", all, cli_s(all), all ? ":" : "");
    for (int i = 0; i < TR_DROP_COUNT; i++)
        if (total[i])
            printf("     %" PRIu64 " %s%s\n", total[i], demo_drop_word(i), reasons[i] ? reasons[i] : "");
    if (d->incidents.kills)
        printf("     (what bob counted before he was killed died with him)\n");
}

static void print_sums(const demo *d, const verdict *v)
{
    if (d->opts.keep)
        return;
    printf(" %s the sums of each node's messages add up\n", demo_screen_mark(d, v->sums));
    printf("         accepted arrived received = handled dead queued passed  sent\n");
    for (int i = 0; i < DEMO_NODES; i++)
        print_sums_of(d->children[i].name, &d->children[i].sums);
    print_sums_of("demo", &d->own_sums);
    print_dead_letters(d);
}

static void print_latency(const demo *d)
{
    printf("   alice's web app, ms:  ");
    for (int i = 0; i < DEMO_PHASES; i++)
        printf("  %s", demo_phase_names[i]);
    printf("\n     p50                 ");
    for (int i = 0; i < DEMO_PHASES; i++)
        printf("  %*.2f", (int)strlen(demo_phase_names[i]), ms(d->measures[i].p50_ns));
    printf("\n     p99                 ");
    for (int i = 0; i < DEMO_PHASES; i++)
        printf("  %*.2f", (int)strlen(demo_phase_names[i]), ms(d->measures[i].p99_ns));
    printf("\n   timers late, p99:");
    for (int i = 0; i < DEMO_NODES; i++)
        printf("  %s %.2f ms", d->children[i].name, ms(d->children[i].late_total_ns));
    printf("\n");
}

static bool found_in_path(const char *name)
{
    const char *path = getenv("PATH");
    char file[DEMO_PATH];
    while (path && *path) {
        size_t length = strcspn(path, ":");
        snprintf(file, sizeof(file), "%.*s/%s", (int)length, path, name);
        if (access(file, X_OK) == 0)
            return true;
        path += length + (path[length] == ':');
    }
    return false;
}

/* A path as a shell takes it, which is what these lines are for. */
static void print_path(const char *path)
{
    if (!path[strcspn(path, " \t\n\"'\\$`&|;<>()*?[]#~!{}")]) {
        printf("%s", path);
        return;
    }
    putchar('\'');
    for (; *path; path++)
        if (*path == '\'')
            printf("'\\''");
        else
            putchar(*path);
    putchar('\'');
}

/* Only what is there today, with whole paths: whoever started the demo may be in any directory. */
static void print_next(const demo *d)
{
    char hello[DEMO_PATH + 32];
    const char *display = getenv("DISPLAY");
    int folder = (int)(strrchr(d->program, '/') - d->program);
    bool viewer = display && display[0] && found_in_path("xdg-open");
    snprintf(hello, sizeof(hello), "%.*s/examples/hello", folder, d->program);
    printf("\n look:  %s ", viewer ? "xdg-open" : "ls -l");
    print_path(d->image);
    if (d->opts.keep) {
        static const char *const asks[] = {"ps", "tx list", "ask bob/app '{\"tr_app_query\":{}}'"};
        for (size_t i = 0; i < TR_COUNT(asks); i++) {
            printf("\n try:   ");
            print_path(d->program);
            printf(" %s", asks[i]);
        }
        printf("\n end:   kill");
        for (int i = 0; i < DEMO_NODES; i++)
            printf(" %ld", (long)d->children[i].pid);
        printf(" && rm -r ");
        print_path(d->directory);
    } else {
        printf("\n try:   ");
        print_path(d->program);
        printf(" demo --keep");
    }
    bool has_hello = access(hello, X_OK) == 0;
    printf("\n try:   ");
    print_path(has_hello ? hello : d->program);
    printf("%s\n", has_hello ? "" : " bench --list");
}

static void print_words(const demo *d, const verdict *v)
{
    printf("\n %s %" PRIu32 "/%" PRIu32 " digests equal those computed independently of the originals\n",
           demo_screen_mark(d, v->digests), d->equal, d->files);
    printf(" %s image equals the one-thread one (%" PRIu32 "x%" PRIu32 ", %" PRIu32 " tiles on %" PRIu32
           " threads)\n",
           demo_screen_mark(d, v->image), d->width, d->height, d->tile_total, d->workers);
    printf(" %s %" PRIu32 "/%" PRIu32 " pipelined answers in order over %" PRIu64 " connection\n   (%s)\n",
           demo_screen_mark(d, v->pipeline), d->in_order, d->asked, d->pipe_connections, d->example);
    printf(" %s both journals: %" PRIu64 " entries, %" PRIu32 " of each side, digest %.4s..%s\n",
           demo_screen_mark(d, v->journals), d->journal_last[0], d->files, d->journal_digest[0],
           d->journal_digest[0][0] ? d->journal_digest[0] + 60 : "");
    print_doubt(d, v);
    print_crash(d, v);
    print_sums(d, v);
    print_latency(d);
    if (d->opts.keep)
        printf("   the nodes stay up: alice %s, bob %s, carol %s\n", d->children[DEMO_ALICE].listen,
               d->children[DEMO_BOB].listen, d->children[DEMO_CAROL].listen);
    else
        printf(" %s no process, no temporary file left\n", demo_screen_mark(d, v->clean));
    printf(" %s all of it in %.1f s, first message between nodes after %.2f s\n", demo_screen_mark(d, v->ok),
           demo_seconds(d), (double)d->first_message_ns / 1e9);
    print_next(d);
}

/* ---- as JSON ------------------------------------------------------------------------------------------- */

static json_t *json_latency(const demo *d)
{
    json_t *all = json_object();
    for (int i = 0; i < DEMO_PHASES; i++)
        json_object_set_new(all, demo_phase_names[i],
                            json_pack("{s:f, s:f, s:I, s:I}", "p50_ms", ms(d->measures[i].p50_ns), "p99_ms",
                                      ms(d->measures[i].p99_ns), "asked", (json_int_t)d->measures[i].asked,
                                      "failed", (json_int_t)d->measures[i].failed));
    return all;
}

static json_t *json_sums_of(const tr_sums *s)
{
    json_t *drops = json_object();
    for (int i = 0; i < TR_DROP_COUNT; i++)
        if (s->dropped[i])
            json_object_set_new(drops, demo_drop_word(i), json_integer((json_int_t)s->dropped[i]));
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:b}", "accepted",
                     (json_int_t)s->accepted, "arrived", (json_int_t)s->arrived, "received",
                     (json_int_t)s->received, "handled", (json_int_t)s->handled, "queued",
                     (json_int_t)s->queued, "passed", (json_int_t)s->passed, "posted", (json_int_t)s->posted,
                     "sent", (json_int_t)s->sent, "lost", (json_int_t)s->lost, "dead_letters", drops,
                     "add_up", demo_sums_add_up(s));
}

static json_t *json_nodes(const demo *d)
{
    json_t *nodes = json_object();
    for (int i = 0; i < DEMO_NODES; i++) {
        const demo_child *c = &d->children[i];
        char incarnation[20];
        snprintf(incarnation, sizeof(incarnation), "%016" PRIx64, c->incarnation);
        json_t *node = json_pack("{s:s, s:s, s:f, s:f}", "listen", c->listen, "incarnation", incarnation,
                                 "late_p99_ms", ms(c->late_total_ns), "late_max_ms", ms(c->late_max_ns));
        if (c->has_sums)
            json_object_set_new(node, "sums", json_sums_of(&c->sums));
        if (d->opts.keep)
            json_object_set_new(node, "process", json_integer((json_int_t)c->pid));
        json_object_set_new(nodes, c->name, node);
    }
    if (d->own_sums_known)
        json_object_set_new(nodes, "demo", json_pack("{s:o}", "sums", json_sums_of(&d->own_sums)));
    return nodes;
}

static json_t *json_crash(const demo *d, const verdict *v)
{
    if (d->incidents.kills + d->incidents.cuts == 0)
        return json_null();
    return json_pack("{s:b, s:i, s:i, s:i, s:s, s:f, s:f, s:i, s:i, s:I}", "ok", v->crash, "kills",
                     (int)d->incidents.kills, "cuts", (int)d->incidents.cuts, "asks_failed",
                     (int)d->failed_no_connection, "error", d->failed_text, "detected_ms",
                     ms_since_kill(d, d->detected_ns), "healed_ms", ms_since_kill(d, d->healed_ns),
                     "downloads_half_done", (int)d->parts, "downloads_resumed", (int)resumed(d),
                     "bytes_resumed", (json_int_t)(d->resumed_bytes_earlier + d->resumed_bytes));
}

static void print_json(const demo *d, const verdict *v)
{
    json_t *o = json_pack("{s:s, s:b, s:f, s:f}", "demo", "first-light", "ok", v->ok, "seconds",
                          demo_seconds(d), "first_message_ms", ms(d->first_message_ns));
    json_object_set_new(o, "files",
                        json_pack("{s:i, s:I, s:i}", "count", (int)d->files, "bytes", (json_int_t)d->bytes,
                                  "digests_equal", (int)d->equal));
    json_object_set_new(o, "image",
                        json_pack("{s:b, s:i, s:i, s:s}", "equal", v->image, "width", (int)d->width, "height",
                                  (int)d->height, "path", d->image));
    json_object_set_new(o, "pipeline",
                        json_pack("{s:i, s:i, s:I, s:f, s:s}", "asked", (int)d->asked, "in_order",
                                  (int)d->in_order, "connections", (json_int_t)d->pipe_connections, "ms",
                                  ms(d->pipe_ns), "example", d->example));
    json_object_set_new(o, "journals",
                        json_pack("{s:b, s:I, s:s, s:s}", "equal", v->journals, "entries",
                                  (json_int_t)d->journal_last[0], "alice", d->journal_digest[0], "bob",
                                  d->journal_digest[1]));
    json_object_set_new(o, "transactions",
                        json_pack("{s:b, s:i, s:i}", "ok", v->doubt, "were_in_doubt", (int)d->tx.settled,
                                  "of_those_committed", (int)d->tx.settled_committed));
    json_object_set_new(o, "crash", json_crash(d, v));
    json_object_set_new(o, "namespaces", json_boolean(d->opts.netns));
    json_object_set_new(o, "web_latency", json_latency(d));
    json_object_set_new(o, "nodes", json_nodes(d));
    json_object_set_new(o, "sums_add_up", json_boolean(v->sums));
    json_object_set_new(o, "nothing_left", json_boolean(v->clean));
    if (d->opts.keep)
        json_object_set_new(o, "directory", json_string(d->directory));
    if (d->trouble.code)
        json_object_set_new(o, "error", json_string(d->trouble.text));
    char *line = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));
    printf("%s\n", line ? line : "{\"demo\":\"first-light\",\"ok\":false,\"error\":\"no memory\"}");
    free(line);
    json_decref(o);
}

/* ---- for the page -------------------------------------------------------------------------------------- */

static void add_check(json_t *lines, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add_check(json_t *lines, bool ok, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_array_append_new(lines, json_pack("{s:b, s:s}", "ok", ok, "text", text));
}

json_t *demo_report_checks(const demo *d, bool clean)
{
    verdict v = judge(d, clean);
    json_t *lines = json_array();
    add_check(lines, v.digests, "%" PRIu32 "/%" PRIu32 " digests as of the originals", d->equal, d->files);
    add_check(lines, v.image, "picture equals the one-thread one");
    add_check(lines, v.pipeline, "%" PRIu32 "/%" PRIu32 " pipelined answers in order", d->in_order, d->asked);
    add_check(lines, v.journals, "journals equal, %" PRIu64 " entries", d->journal_last[0]);
    add_check(lines, v.doubt, "no transaction in doubt; %" PRIu32 " settled", d->tx.settled);
    if (d->opts.kill)
        add_check(lines, v.crash, "bob killed, healed in %.0f ms", ms_since_kill(d, d->healed_ns));
    if (d->opts.keep)
        add_check(lines, true, "the nodes stay up (--keep)");
    else
        add_check(lines, v.sums, "each node's message counts add up");
    if (!d->opts.keep)
        add_check(lines, v.clean, "no process, no temporary file left");
    return json_pack("{s:b, s:o}", "ok", v.ok, "lines", lines);
}

bool demo_report(demo *d, bool clean)
{
    verdict v = judge(d, clean);
    if (d->opts.json)
        print_json(d, &v);
    if (d->trouble.code)
        tr__stderr_line("troupe demo", d->trouble.text);
    else if (!d->opts.json)
        print_words(d, &v);
    fflush(stdout);
    return v.ok;
}
