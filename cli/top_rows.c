/* What nodes tell for `troupe top`, as rows: asked, compared with the look before, sorted, and set as a table. See top.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/err.h>

#include "cli/operator_client.h"
#include "cli/top.h"
#include "cli/words.h"

#define ANSWER_WITHIN TR_SECONDS(2)
#define LEASE         5 /* seconds: more than from one look to the next */

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

/* What isn't printable would move the cursor. */
static void copy(char *to, size_t room, const char *from)
{
    snprintf(to, room, "%s", from);
    for (char *c = to; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

/* ---- a look -------------------------------------------------------------------------------------------- */

static const top_row *row_before(const top *before, const char *address)
{
    for (size_t i = 0; before && i < before->row_count; i++)
        if (strcmp(before->rows[i].address, address) == 0)
            return &before->rows[i];
    return NULL;
}

static const top_node *node_before(const top *before, const char *name)
{
    for (size_t i = 0; before && i < before->node_count; i++)
        if (strcmp(before->nodes[i].name, name) == 0)
            return &before->nodes[i];
    return NULL;
}

static void add_row(top *now, const top *before, const char *node, const json_t *actor, uint64_t at_ns)
{
    if (now->row_count == TOP_ROWS_MAX) {
        now->left_out++;
        return;
    }
    top_row *r = &now->rows[now->row_count++];
    const char *is = text(actor, "message_is");
    *r = (top_row){.mail = number(actor, "mailbox"),
                   .places = number(actor, "places"),
                   .oldest_ms = number(actor, "oldest_ms"),
                   .handled = number(actor, "handled"),
                   .busy_ns = number(actor, "busy_ns"),
                   .p50_ns = number(actor, "p50_ns"),
                   .p99_ns = number(actor, "p99_ns"),
                   .rate = -1,
                   .busy = -1};
    copy(r->node, sizeof(r->node), node);
    copy(r->name, sizeof(r->name), text(actor, "name"));
    copy(r->address, sizeof(r->address), text(actor, "address"));
    copy(r->definition, sizeof(r->definition), text(actor, "definition"));
    copy(r->state, sizeof(r->state), text(actor, "state"));
    copy(r->message, sizeof(r->message), text(actor, "message"));
    if (*r->message && strcmp(is, "now") != 0)
        strcat(r->message, strcmp(is, "next") == 0 ? " >" : " .");
    const top_row *was = row_before(before, r->address);
    const top_node *then = node_before(before, node);
    if (!then || at_ns <= then->at_ns)
        return;
    double seconds = (double)(at_ns - then->at_ns) / 1e9;
    /* One that wasn't told of had not run: all that was measured of it is new. */
    uint64_t handled = was ? r->handled - was->handled : number(actor, "measured");
    uint64_t busy_before = was && was->busy_ns <= r->busy_ns ? was->busy_ns : 0;
    r->rate = (double)handled / seconds;
    r->busy = (double)(r->busy_ns - busy_before) / 1e9 / seconds;
}

static void add_answer(top *now, const top *before, const char *name, const json_t *answer)
{
    const json_t *loop, *actor;
    size_t i, j;
    if (now->node_count == sizeof(now->nodes) / sizeof(now->nodes[0]))
        return;
    top_node *n = &now->nodes[now->node_count++];
    *n = (top_node){.rate = -1};
    copy(n->name, sizeof(n->name), name);
    json_array_foreach(json_object_get(answer, "loops"), i, loop)
    {
        n->loops++;
        if (json_is_true(json_object_get(loop, "silent"))) {
            copy(n->trouble, sizeof(n->trouble), text(loop, "why"));
            continue;
        }
        n->at_ns = number(loop, "at_ns") > n->at_ns ? number(loop, "at_ns") : n->at_ns;
        n->handled += number(json_object_get(loop, "sums"), "handled");
        n->actors += number(loop, "count");
        now->left_out += number(loop, "count") - json_array_size(json_object_get(loop, "actors"));
        json_array_foreach(json_object_get(loop, "actors"), j, actor)
            add_row(now, before, name, actor, number(loop, "at_ns"));
    }
    const top_node *was = node_before(before, name);
    if (was && n->at_ns > was->at_ns && n->handled >= was->handled)
        n->rate = (double)(n->handled - was->handled) * 1e9 / (double)(n->at_ns - was->at_ns);
}

typedef struct looking {
    top *now;
    const top *before;
    int answered;
    bool named;
} looking;

static bool look(void *context, const char *name)
{
    looking *l = context;
    tr_error error;
    json_t *answer, *request = json_pack("{s:s, s:i}", "do", "top", "lease", LEASE);
    tr_err err = operator_request_once(name, request, ANSWER_WITHIN, &answer, &error);
    json_decref(request);
    if (err == TR_OK) {
        add_answer(l->now, l->before, name, answer);
        l->answered++;
    } else if ((l->named || err != TR_ENOTFOUND) && /* else: what a killed node left */
               l->now->node_count < sizeof(l->now->nodes) / sizeof(l->now->nodes[0])) {
        top_node *n = &l->now->nodes[l->now->node_count++];
        *n = (top_node){.rate = -1};
        copy(n->name, sizeof(n->name), name);
        copy(n->trouble, sizeof(n->trouble), error.text);
    }
    json_decref(answer);
    return true;
}

int top_look(top *now, const top *before, const char *node)
{
    looking l = {.now = now, .before = before, .named = node != NULL};
    tr_error error;
    now->node_count = now->row_count = 0;
    now->left_out = 0;
    if (node)
        look(&l, node);
    else
        operator_each_node(look, &l, &error);
    top_sort(now);
    return l.answered;
}

/* ---- order --------------------------------------------------------------------------------------------- */

static top_key sort_key;

static double value_of(const top_row *r)
{
    switch (sort_key) {
    case TOP_BY_RATE:
        return r->rate;
    case TOP_BY_MAIL:
        return (double)r->mail;
    case TOP_BY_AGE:
        return (double)r->oldest_ms;
    case TOP_BY_P99:
        return (double)r->p99_ns;
    default:
        return r->busy;
    }
}

static int compare(const void *a, const void *b)
{
    const top_row *x = a, *y = b;
    double left = value_of(x), right = value_of(y);
    if (left != right)
        return left < right ? 1 : -1;
    if (x->handled != y->handled)
        return x->handled < y->handled ? 1 : -1;
    return strcmp(x->address, y->address);
}

void top_sort(top *t)
{
    sort_key = t->key;
    qsort(t->rows, t->row_count, sizeof(t->rows[0]), compare);
}

const char *top_key_word(top_key key)
{
    static const char *const words[TOP_KEYS] = {"busy", "rate", "mail", "age", "p99"};
    return words[key];
}

/* ---- a table ------------------------------------------------------------------------------------------- */

/* Six characters at most. */
static const char *count_text(double value, char out[16])
{
    if (value < 0)
        return strcpy(out, "-");
    if (value < 99999.5)
        snprintf(out, 16, "%.0f", value);
    else if (value < 9999.5e3)
        snprintf(out, 16, "%.0fk", value / 1e3);
    else
        snprintf(out, 16, "%.0fM", value / 1e6);
    return out;
}

static const char *time_text(uint64_t ns, char out[16])
{
    double us = (double)ns / 1e3;
    if (ns < 1000)
        snprintf(out, 16, "%uns", (unsigned)ns);
    else if (us < 9999.5)
        snprintf(out, 16, us < 10 ? "%.1fus" : "%.0fus", us);
    else if (us < 9999.5e3)
        snprintf(out, 16, "%.0fms", us / 1e3);
    else
        snprintf(out, 16, "%.0fs", us / 1e6);
    return out;
}

/* A name may be UTF-8: as many characters as fit, and blanks up to the width. */
static size_t put_text(char *to, const char *from, size_t width)
{
    size_t used = 0, columns = 0;
    for (; from[used]; used++) {
        bool begins = ((unsigned char)from[used] & 0xc0) != 0x80;
        if (begins && columns == width)
            break;
        columns += begins;
    }
    memcpy(to, from, used);
    memset(to + used, ' ', width - columns);
    used += width - columns;
    to[used] = '\0';
    return used;
}

/* What the numbers take; the rest is for who it is and for the message. */
#define NUMBERS 44

static void row_line(char *line, const char *who, const char *numbers, const char *message, size_t columns)
{
    size_t whom = columns > NUMBERS + 40   ? (columns - NUMBERS) * 3 / 5
                  : columns > NUMBERS + 12 ? columns - NUMBERS
                                           : 12;
    size_t used = put_text(line, who, whom);
    used += (size_t)snprintf(line + used, 64, "%s", numbers);
    if (columns > whom + NUMBERS + 2) {
        line[used++] = ' ';
        put_text(line + used, message, columns - whom - NUMBERS - 1);
    } else if (columns < whom + NUMBERS) { /* narrow: what is left of it */
        line[columns > whom ? columns : whom] = '\0';
    }
}

static void actor_line(const top_row *r, char *line, size_t columns)
{
    char who[TR_NAME_MAX * 2 + TR_ADDR_TEXT_MAX + 8], numbers[64], mail[16], age[16], rate[16], p50[16],
        p99[16], busy[16];
    if (*r->name)
        snprintf(who, sizeof(who), "%s/%s", r->node, r->name);
    else
        snprintf(who, sizeof(who), "%s/%s%s", r->node, r->definition,
                 strchr(r->address, '.') ? strchr(r->address, '.') : "");
    char *bracket = *r->name ? NULL : strrchr(who, '>');
    if (bracket)
        *bracket = '\0';
    if (r->busy < 0)
        strcpy(busy, "-");
    else
        snprintf(busy, sizeof(busy), "%.0f", r->busy * 100);
    snprintf(numbers, sizeof(numbers), " %5s %6s %7s %5s %7s %7s", busy, count_text((double)r->mail, mail),
             r->mail ? time_text(r->oldest_ms * 1000000u, age) : "-", count_text(r->rate, rate),
             r->p99_ns ? time_text(r->p50_ns, p50) : "-", r->p99_ns ? time_text(r->p99_ns, p99) : "-");
    row_line(line, who, numbers, r->message, columns);
}

void top_table(const top *t, size_t rows, size_t columns,
               void (*put)(void *context, const char *line, int ink), void *context)
{
    char line[1024], rate[16];
    columns = columns > 400 ? 400 : columns;
    for (size_t i = 0; i < t->node_count; i++) {
        const top_node *n = &t->nodes[i];
        if (n->loops)
            snprintf(line, sizeof(line), "%s  %" PRIu64 " loop%s, %" PRIu64 " actor%s, %s messages/s",
                     n->name, n->loops, cli_s(n->loops), n->actors, cli_s(n->actors),
                     count_text(n->rate, rate));
        else
            snprintf(line, sizeof(line), "%s", n->name);
        put(context, line, 1);
        if (*n->trouble)
            put(context, n->trouble, 2);
    }
    char head[64];
    snprintf(head, sizeof(head), " %5s %6s %7s %5s %7s %7s", "BUSY%", "MAIL", "OLDEST", "MSG/S", "P50",
             "P99");
    row_line(line, "ACTOR", head, "MESSAGE (> next, . last)", columns);
    put(context, line, 3);
    for (size_t i = 0; i < t->row_count && i < rows; i++) {
        actor_line(&t->rows[i], line, columns);
        put(context, line, 0);
    }
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static json_t *real_or_null(double value)
{
    return value < 0 ? json_null() : json_real(value);
}

json_t *top_json(const top *t)
{
    json_t *nodes = json_array(), *actors = json_array();
    for (size_t i = 0; i < t->node_count; i++)
        json_array_append_new(nodes,
                              json_pack("{s:s, s:I, s:o, s:s}", "node", t->nodes[i].name, "actors",
                                        (json_int_t)t->nodes[i].actors, "messages_per_s",
                                        real_or_null(t->nodes[i].rate), "trouble", t->nodes[i].trouble));
    for (size_t i = 0; i < t->row_count; i++) {
        const top_row *r = &t->rows[i];
        json_array_append_new(
            actors,
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:s}", "node",
                      r->node, "name", r->name, "address", r->address, "definition", r->definition, "state",
                      r->state, "mailbox", (json_int_t)r->mail, "places", (json_int_t)r->places, "oldest_ms",
                      (json_int_t)r->oldest_ms, "handled", (json_int_t)r->handled, "p50_ns",
                      (json_int_t)r->p50_ns, "p99_ns", (json_int_t)r->p99_ns, "messages_per_s",
                      real_or_null(r->rate), "busy", real_or_null(r->busy), "message", r->message));
    }
    return json_pack("{s:b, s:o, s:I, s:o}", "ok", 1, "nodes", nodes, "left_out", (json_int_t)t->left_out,
                     "actors", actors);
}
