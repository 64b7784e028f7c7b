/* A transaction as a drawing: a lane a node, in it a row for what its manager did itself and one for each of its participants;
 * time goes to the right, to scale. A mark is an event, its words above it, on as many levels as they need. A bar is a
 * lock that is held, from `lock` to `apply`, `drop` or the end; on it, darker, what is in doubt: from the forced `prepare` to
 * the decision. A dashed line through all lanes is where it was decided. Where nothing happens for much longer than all else
 * takes (an ACK may come 100 ms later), a band stands for that time, and says how long it was. */
#include "cli/tx/svg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/tx/merge.h"

#define WIDTH      1000.0
#define LEFT       170.0 /* of the time axis */
#define RIGHT      975.0
#define TOP        62.0
#define LETTER     6.3 /* of the fixed-width font, at 10.5 */
#define LEVELS     24
#define LEVEL_HIGH 13.0
#define ROW_BASE   30.0 /* of a row, and its levels above it */
#define LANE_GAP   10.0
#define BAR_HIGH   12.0
#define CUTS       3
#define CUT_WIDE   64.0
#define CUT_INSET  22.0 /* the band is so much narrower, on both sides */
#define CUT_TIMES  2    /* a pause so many times as long as all else */

typedef struct row {
    const char *node, *actor;
    double y; /* of its bar's middle */
    int levels;
    double ends[LEVELS]; /* where a level is free from */
} row;

typedef struct mark {
    const json_t *event;
    size_t row;
    double x, begin; /* begin: of its words */
    int level;
    char words[80];
} mark;

/* Between two events, where nothing happens. */
typedef struct cut {
    int64_t from_ns, to_ns;
} cut;

typedef struct drawing {
    FILE *out;
    const json_t *transaction, *events;
    row *rows;
    mark *marks;
    size_t rows_count, marks_count;
    int64_t from_ns, to_ns;
    cut cuts[CUTS]; /* in the order of time */
    int cuts_count;
    double height;
} drawing;

/* ---- words --------------------------------------------------------------------------------------------- */

static void escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '&' || *text == '<' || *text == '>' || *text == '"')
            fputs(*text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : "&quot;", out);
        else
            fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
    }
}

static bool is_one_of(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

static void words_of(const json_t *event, char *out, size_t room)
{
    static const char *const with_detail[] = {"force", "decide", "vote", "recover", "answer", NULL};
    const char *what = tx_text(event, "what"), *detail = tx_text(event, "detail");
    snprintf(out, room, "%s%s%s", what, is_one_of(what, with_detail) && *detail ? " " : "",
             is_one_of(what, with_detail) ? detail : "");
}

static const char *class_of(const json_t *event)
{
    static const char *const disk[] = {"force", NULL}, *const good[] = {"apply", "committed", NULL},
                             *const bad[] = {"drop", "aborted", "wounded", "broken", "unknown", NULL},
                             *const votes[] = {"prepare", "vote", NULL};
    const char *what = tx_text(event, "what"), *detail = tx_text(event, "detail");
    if (strcmp(what, "decide") == 0)
        return strcmp(detail, "committed") == 0 ? "good" : "bad";
    if (strcmp(what, "lock") == 0)
        return "lock";
    return is_one_of(what, disk)    ? "disk"
           : is_one_of(what, good)  ? "good"
           : is_one_of(what, bad)   ? "bad"
           : is_one_of(what, votes) ? "vote"
                                    : "plain";
}

/* ---- places -------------------------------------------------------------------------------------------- */

/* What is drawn of the time up to that one. */
static int64_t shown(const drawing *d, int64_t ns, int *cuts)
{
    int64_t left_out = 0;
    *cuts = 0;
    for (int i = 0; i < d->cuts_count && d->cuts[i].to_ns <= ns; i++, ++*cuts)
        left_out += d->cuts[i].to_ns - d->cuts[i].from_ns;
    return ns - d->from_ns - left_out;
}

static double x_of(const drawing *d, int64_t ns)
{
    int before, all;
    double span = (double)shown(d, d->to_ns, &all), at = (double)shown(d, ns, &before);
    return LEFT + CUT_WIDE * before + (RIGHT - LEFT - CUT_WIDE * all) * at / (span > 0 ? span : 1);
}

static int64_t time_at(const drawing *d, size_t event)
{
    return tx_number(json_array_get(d->events, event), "at_ns");
}

/* The longest pause that isn't cut out yet. */
static cut longest_pause(const drawing *d)
{
    cut longest = {0};
    for (size_t i = 1; i < json_array_size(d->events); i++) {
        cut pause = {time_at(d, i - 1), time_at(d, i)};
        bool is_cut = false;
        for (int k = 0; k < d->cuts_count; k++)
            is_cut = is_cut || d->cuts[k].from_ns == pause.from_ns;
        if (!is_cut && pause.to_ns - pause.from_ns > longest.to_ns - longest.from_ns)
            longest = pause;
    }
    return longest;
}

static void find_cuts(drawing *d)
{
    int all, place;
    while (d->cuts_count < CUTS) {
        cut pause = longest_pause(d);
        int64_t length = pause.to_ns - pause.from_ns, rest = shown(d, d->to_ns, &all) - length;
        if (rest <= 0 || length / CUT_TIMES < rest)
            return;
        for (place = d->cuts_count++; place > 0 && d->cuts[place - 1].from_ns > pause.from_ns; place--)
            d->cuts[place] = d->cuts[place - 1];
        d->cuts[place] = pause;
    }
}

static size_t row_of(drawing *d, const char *node, const char *actor)
{
    for (size_t i = 0; i < d->rows_count; i++)
        if (strcmp(d->rows[i].node, node) == 0 && strcmp(d->rows[i].actor, actor) == 0)
            return i;
    d->rows[d->rows_count] = (row){.node = node, .actor = actor};
    return d->rows_count++;
}

/* All rows: of each node together, its own first, the nodes in the order of their first events. */
static void find_rows(drawing *d)
{
    const json_t *one, *other;
    size_t i, k;
    json_array_foreach(d->events, i, one)
    {
        const char *node = tx_text(one, "node");
        size_t rows = d->rows_count;
        row_of(d, node, "");
        if (d->rows_count == rows)
            continue; /* that node is there already */
        json_array_foreach(d->events, k, other)
        {
            if (strcmp(tx_text(other, "node"), node) == 0)
                row_of(d, node, tx_text(other, "actor"));
        }
    }
}

/* Where the words of a mark there must end: at what is cut out, or the right. */
static double room_ends(const drawing *d, double x)
{
    for (int i = 0; i < d->cuts_count; i++) {
        double band = x_of(d, d->cuts[i].to_ns) - CUT_WIDE + CUT_INSET;
        if (x < band)
            return band;
    }
    return WIDTH - 12;
}

/* Words begin at the mark, or end there if there is no room; on the first level where they meet no others. */
static void place_words(drawing *d, mark *m)
{
    row *r = &d->rows[m->row];
    double width = LETTER * (double)strlen(m->words);
    m->begin = m->x + width > room_ends(d, m->x) ? m->x - width : m->x;
    while (m->level < LEVELS - 1 && r->ends[m->level] > m->begin)
        m->level++;
    r->ends[m->level] = m->begin + width + LETTER;
    if (r->levels <= m->level)
        r->levels = m->level + 1;
}

static void place_all(drawing *d)
{
    const json_t *event;
    size_t i;
    d->from_ns = tx_number(json_array_get(d->events, 0), "at_ns");
    d->to_ns = tx_number(json_array_get(d->events, json_array_size(d->events) - 1), "at_ns");
    if (d->to_ns <= d->from_ns)
        d->to_ns = d->from_ns + 1;
    find_cuts(d);
    find_rows(d);
    json_array_foreach(d->events, i, event)
    {
        mark *m = &d->marks[d->marks_count++];
        *m = (mark){.event = event,
                    .row = row_of(d, tx_text(event, "node"), tx_text(event, "actor")),
                    .x = x_of(d, tx_number(event, "at_ns"))};
        words_of(event, m->words, sizeof(m->words));
        place_words(d, m);
    }
    double y = TOP;
    for (i = 0; i < d->rows_count; i++) {
        row *r = &d->rows[i];
        if (i && strcmp(r->node, d->rows[i - 1].node) != 0)
            y += LANE_GAP;
        r->y = y + LEVEL_HIGH * r->levels + ROW_BASE - BAR_HIGH;
        y += LEVEL_HIGH * r->levels + ROW_BASE;
    }
    d->height = y + 34;
}

/* ---- drawing ------------------------------------------------------------------------------------------- */

static void draw_head(const drawing *d)
{
    const json_t *t = d->transaction;
    fprintf(
        d->out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
        "height=\"%.0f\">\n"
        "<style>text{font:10.5px \"DejaVu Sans Mono\",Menlo,Consolas,monospace;fill:#222}.h{font-size:14px;"
        "font-weight:bold}.n{font-size:12px;font-weight:bold}.s,.t{fill:#666}.w{paint-order:stroke;stroke:#"
        "f6f6f6;stroke-width:3px}.held{fill:#bcd7f5}"
        ".doubt{fill:#f2b84b}.lock{fill:#1f5fa8}.vote{fill:#0b7f86}.disk{fill:#b35900}.good{fill:#1c7c2c}"
        ".bad{fill:#b3261e}.plain{fill:#555}line{stroke:#999;stroke-width:.7}.grid{stroke:#e4e4e4}"
        ".decided{stroke:#1c7c2c;stroke-dasharray:4 "
        "3;stroke-width:1}.not{stroke:#b3261e}.cut{fill:#fff;stroke:#bbb;stroke-dasharray:2 3}</style>\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text class=\"h\" x=\"12\" y=\"22\">",
        WIDTH, d->height, WIDTH, d->height);
    escaped(d->out, tx_text(t, "id"));
    fprintf(d->out, "  ");
    escaped(d->out, tx_text(t, "state"));
    if (*tx_text(t, "reason"))
        fprintf(d->out, ": ");
    escaped(d->out, tx_text(t, "reason"));
    fprintf(
        d->out,
        "</text>\n<text class=\"s\" x=\"12\" y=\"40\">%.3f ms from the first event to the last, to scale%s. "
        "Light bar: a lock is held. Dark: in doubt. Dashed: decided.</text>\n",
        (double)(d->to_ns - d->from_ns) / 1e6, d->cuts_count ? " but for the pause that is cut out" : "");
}

static void draw_upright(const drawing *d, const char *class, double x)
{
    fprintf(d->out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x,
            TOP - 8, x, d->height - 28);
}

/* Lines at 1, 2 or 5 times a power of ten, at most ten of them, and none in what is cut out. */
static void draw_axis(const drawing *d)
{
    int cuts;
    double span = (double)shown(d, d->to_ns, &cuts), step = pow(10, floor(log10(span)) - 1);
    step *= span / step > 50 ? 10 : span / step > 20 ? 5 : span / step > 10 ? 2 : 1;
    for (double at = 0; at <= (double)(d->to_ns - d->from_ns); at += step) {
        for (int i = 0; i < d->cuts_count; i++) {
            double from = (double)(d->cuts[i].from_ns - d->from_ns),
                   to = (double)(d->cuts[i].to_ns - d->from_ns);
            if (at > from && at < to)
                at = step * ceil(to / step);
        }
        double x = x_of(d, d->from_ns + (int64_t)at);
        if (x > RIGHT + 1)
            break;
        draw_upright(d, "grid", x);
        fprintf(d->out, "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g%s</text>\n", x,
                d->height - 14, at / 1e6, at == 0 ? " ms" : "");
    }
}

/* Above the lanes: their rows go on behind it. */
static void draw_cuts(const drawing *d)
{
    for (int i = 0; i < d->cuts_count; i++) {
        double end = x_of(d, d->cuts[i].to_ns), begin = end - CUT_WIDE;
        fprintf(d->out,
                "<rect class=\"cut\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n"
                "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%.3g ms</text>\n",
                begin + CUT_INSET, TOP - 8, CUT_WIDE - 2 * CUT_INSET, d->height - TOP - 20, (begin + end) / 2,
                d->height - 14, (double)(d->cuts[i].to_ns - d->cuts[i].from_ns) / 1e6);
    }
}

static void draw_bar(const drawing *d, const row *r, const char *class, double from, double to, double high)
{
    fprintf(d->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", class,
            from, r->y - high / 2, to - from > 1 ? to - from : 1, high);
}

/* From an event of one of the first words to the next of the others. */
static void draw_spans(const drawing *d, size_t number, const char *class, const char *const *begins,
                       const char *const *ends, double high)
{
    double from = -1;
    for (size_t i = 0; i < d->marks_count; i++) {
        const mark *m = &d->marks[i];
        const char *what = tx_text(m->event, "what");
        if (m->row != number)
            continue;
        if (from < 0 && (is_one_of(what, begins) || is_one_of(m->words, begins))) {
            from = m->x;
        } else if (from >= 0 && is_one_of(what, ends)) {
            draw_bar(d, &d->rows[number], class, from, m->x, high);
            from = -1;
        }
    }
    if (from >= 0)
        draw_bar(d, &d->rows[number], class, from, RIGHT, high);
}

static double words_y(const drawing *d, const mark *m)
{
    return d->rows[m->row].y - BAR_HIGH / 2 - 5 - LEVEL_HIGH * m->level;
}

/* Below all words, so that it strikes none out. */
static void draw_stem(const drawing *d, const mark *m)
{
    fprintf(d->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", m->x, d->rows[m->row].y,
            m->x, words_y(d, m) + 2);
}

static void draw_mark(const drawing *d, const mark *m)
{
    const char *class = class_of(m->event);
    fprintf(d->out, "<g><title>%.3f ms: ", (double)(tx_number(m->event, "at_ns") - d->from_ns) / 1e6);
    escaped(d->out, tx_text(m->event, "what"));
    fputc(' ', d->out);
    escaped(d->out, tx_text(m->event, "detail"));
    fprintf(d->out, "</title><circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\"/>", class, m->x,
            d->rows[m->row].y);
    fprintf(d->out, "<text class=\"w %s\" x=\"%.1f\" y=\"%.1f\">", class,
            m->begin + (m->begin < m->x ? -3 : 2), words_y(d, m));
    escaped(d->out, m->words);
    fprintf(d->out, "</text></g>\n");
}

static void draw_row(const drawing *d, size_t number)
{
    static const char *const locks[] = {"lock", NULL}, *const frees[] = {"apply", "drop", NULL},
                             *const doubts[] = {"force prepare", "recover in doubt", NULL},
                             *const decides[] = {"decide", "apply", "drop", NULL};
    const row *r = &d->rows[number];
    fprintf(d->out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", LEFT, r->y, RIGHT, r->y);
    fprintf(d->out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 8, r->y + 4);
    escaped(d->out, *r->actor ? r->actor : "manager");
    fprintf(d->out, "</text>\n");
    draw_spans(d, number, "held", locks, frees, BAR_HIGH);
    draw_spans(d, number, "doubt", doubts, decides, BAR_HIGH / 2);
    for (int words = 0; words < 2; words++)
        for (size_t i = 0; i < d->marks_count; i++)
            if (d->marks[i].row == number)
                (words ? draw_mark : draw_stem)(d, &d->marks[i]);
}

/* A node's rows, from `first` on; the first behind them. */
static size_t draw_lane(const drawing *d, size_t first)
{
    const row *top = &d->rows[first];
    double begin = top->y - LEVEL_HIGH * top->levels - ROW_BASE + BAR_HIGH;
    size_t end = first;
    while (end < d->rows_count && strcmp(d->rows[end].node, top->node) == 0)
        end++;
    fprintf(d->out, "<g class=\"lane\" data-node=\"");
    escaped(d->out, top->node);
    fprintf(d->out,
            "\">\n<rect x=\"6\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"#000\" "
            "fill-opacity=\".035\"/>\n",
            begin, WIDTH - 12, d->rows[end - 1].y + BAR_HIGH - begin);
    fprintf(d->out, "<text class=\"n\" x=\"14\" y=\"%.1f\">", begin + 16);
    escaped(d->out, top->node);
    fprintf(d->out, "</text>\n");
    for (size_t i = first; i < end; i++)
        draw_row(d, i);
    fprintf(d->out, "</g>\n");
    return end;
}

/* The decision is the first that any node tells. */
static void draw_decision(const drawing *d)
{
    for (size_t i = 0; i < d->marks_count; i++) {
        const mark *m = &d->marks[i];
        if (strcmp(tx_text(m->event, "what"), "decide") != 0)
            continue;
        draw_upright(d, strcmp(tx_text(m->event, "detail"), "committed") == 0 ? "decided" : "decided not",
                     m->x);
        return;
    }
}

bool tx_svg_write(FILE *out, const json_t *transaction)
{
    drawing d = {.out = out, .transaction = transaction, .events = json_object_get(transaction, "events")};
    size_t count = json_array_size(d.events);
    d.rows = tr__alloc((2 * count + 1) * sizeof(*d.rows)); /* each event's, and its node's */
    d.marks = tr__alloc((count + 1) * sizeof(*d.marks));
    bool good = d.rows && d.marks;
    if (good) {
        place_all(&d);
        draw_head(&d);
        draw_axis(&d);
        draw_decision(&d);
        for (size_t i = 0; i < d.rows_count;)
            i = draw_lane(&d, i);
        draw_cuts(&d);
        fprintf(out, "</svg>\n");
    }
    tr__free(d.rows);
    tr__free(d.marks);
    return good;
}
