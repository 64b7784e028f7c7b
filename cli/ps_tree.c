/* See ps_tree.h. Children stand below their parent in order of their slots, as the node tells them; a child that its
 * supervisor doesn't run now has a line as well. An actor whose parent isn't told of stands at the left. Without memory:
 * nothing is printed. */
#include "cli/ps_tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDENT_MAX  8 /* levels that are indented */
#define NAME_MIN    24
#define NAME_WIDEST 56
#define ADDRESS     24 /* columns of a whole one; of its slot and generation SHORT */
#define SHORT       7
#define OTHERS      42  /* columns of what stands behind the address, with the spaces */
#define WIDE        100 /* columns of a screen that has room for whole addresses */
#define NO_SCREEN   80  /* columns for a file or a pipe; longer names are left whole there */

typedef struct row {
    const json_t *actor; /* NULL: a supervised child that isn't running */
    const json_t *child; /* as its supervisor tells of it; NULL: it has none */
    const char *address;
    long parent, first, last, next; /* indexes; -1: none */
} row;

typedef struct tree {
    row *rows;
    size_t count, room;
    int width;   /* of the names, with what they are indented by */
    int address; /* columns for one */
    bool cuts;   /* names that are longer */
    bool colour;
} tree;

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

static json_int_t number(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static row *add(tree *t, const json_t *actor)
{
    if (t->count == t->room) {
        size_t room = t->room ? t->room * 2 : 64;
        row *rows = realloc(t->rows, room * sizeof(*rows));
        if (!rows)
            return NULL;
        t->rows = rows;
        t->room = room;
    }
    row *r = &t->rows[t->count++];
    *r = (row){
        .actor = actor, .address = text(actor, "address"), .parent = -1, .first = -1, .last = -1, .next = -1};
    return r;
}

static long find(const tree *t, const char *address)
{
    for (size_t i = 0; *address && i < t->count; i++)
        if (strcmp(t->rows[i].address, address) == 0)
            return (long)i;
    return -1;
}

/* ---- the tree ------------------------------------------------------------------------------------------ */

static void attach(tree *t, long parent, long child)
{
    row *above = &t->rows[parent];
    t->rows[child].parent = parent;
    if (above->first < 0)
        above->first = child;
    else
        t->rows[above->last].next = child;
    above->last = child;
}

/* What the supervisor of `above` tells of its children. */
static bool add_supervised(tree *t, long above)
{
    const json_t *child;
    size_t i;
    json_array_foreach(json_object_get(t->rows[above].actor, "children"), i, child)
    {
        long at = find(t, text(child, "address"));
        if (at < 0 && *text(child, "address"))
            continue; /* of a loop that doesn't answer, or beyond what was told */
        if (at < 0) {
            if (!add(t, NULL))
                return false;
            at = (long)t->count - 1;
            attach(t, above, at);
        }
        t->rows[at].child = child;
    }
    return true;
}

static bool build(tree *t, const json_t *loops)
{
    const json_t *loop, *actor;
    size_t i, j;
    json_array_foreach(loops, i, loop)
    {
        json_array_foreach(json_object_get(loop, "actors"), j, actor)
        {
            if (!add(t, actor))
                return false;
        }
    }
    size_t actors = t->count;
    for (i = 0; i < actors; i++) {
        long parent = find(t, text(t->rows[i].actor, "parent"));
        if (parent >= 0 && parent != (long)i)
            attach(t, parent, (long)i);
    }
    for (i = 0; i < actors; i++)
        if (!add_supervised(t, (long)i))
            return false;
    return true;
}

/* ---- its lines ----------------------------------------------------------------------------------------- */

static void put_label(const char *name, const char *kind, char *out, size_t room)
{
    if (!*name || strcmp(name, kind) == 0)
        snprintf(out, room, "%s", *kind ? kind : name);
    else if (*kind)
        snprintf(out, room, "%s (%s)", name, kind);
    else
        snprintf(out, room, "%s", name);
}

/* To so many columns; whole characters of UTF-8. */
static void cut(char *out, int most)
{
    int at = most - 2;
    while (at > 0 && ((unsigned char)out[at] & 0xc0) == 0x80)
        at--;
    strcpy(out + at, "..");
}

/* Its name, and of what kind it is; if that is too long for `most` columns (0: any are there) without the kind, and cut. A
 * name may be any bytes, so what could move the cursor is shown as "?". */
static int label(const row *r, int most, char *out, size_t room)
{
    const char *kind = text(r->actor, "definition"), *name = text(r->actor, "name");
    const char *strategy = text(r->actor, "strategy");
    char what[96];
    if (!*name)
        name = text(r->child, "id");
    snprintf(what, sizeof(what), "%s%s%s", kind, *strategy ? ", " : "", strategy);
    put_label(name, what, out, room);
    if (most && (int)strlen(out) > most && *name)
        put_label(name, strategy, out, room);
    if (most && (int)strlen(out) > most)
        cut(out, most);
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    return (int)strlen(out);
}

static int indent(int depth)
{
    return 2 + 2 * (depth < INDENT_MAX ? depth : INDENT_MAX);
}

static void measure(tree *t, long at, int depth)
{
    char name[160];
    int width = indent(depth) + label(&t->rows[at], 0, name, sizeof(name));
    t->width = width > t->width ? width : t->width;
}

/* In a word of ten letters at most. */
static const char *state_of(const row *r)
{
    const char *state = text(r->actor ? r->actor : r->child, "state");
    return strcmp(state, "own-thread") == 0         ? "own thread"
           : strcmp(state, "waits for places") == 0 ? "waits"
                                                    : state;
}

/* Seconds, minutes, hours or days, whichever has one to three digits. */
static const char *age_of(const row *r, char out[16])
{
    static const struct {
        json_int_t ms;
        char word;
    } units[] = {{86400000, 'd'}, {3600000, 'h'}, {60000, 'm'}, {1000, 's'}};
    const json_t *age = json_object_get(r->actor, "age_ms");
    json_int_t ms = json_integer_value(age);
    size_t i = 0;
    out[0] = '\0';
    while (i < 3 && ms < units[i].ms)
        i++;
    if (age)
        snprintf(out, 16, "%" JSON_INTEGER_FORMAT "%c", ms / units[i].ms, units[i].word);
    return out;
}

/* On a narrow screen without its node's incarnation, which the head has. */
static const char *address_of(const tree *t, const row *r, char out[64])
{
    size_t dot = t->address < ADDRESS ? strcspn(r->address, ".") : 0;
    snprintf(out, 64, "%s", r->address + dot + (r->address[dot] == '.'));
    if (t->address < ADDRESS)
        out[strcspn(out, ">")] = '\0';
    return out;
}

static void print(tree *t, long at, int depth)
{
    const row *r = &t->rows[at];
    char name[160], address[64], age[16];
    int in = indent(depth);
    label(r, t->cuts ? t->width - in : 0, name, sizeof(name));
    printf("%*s%-*s %-*s %-10s %5s", in, "", t->width - in, name, t->address, address_of(t, r, address),
           state_of(r), age_of(r, age));
    if (json_object_get(r->actor, "mailbox")) {
        bool deep = 2 * number(r->actor, "mailbox") > number(r->actor, "places") && t->colour;
        printf(" %s%5" JSON_INTEGER_FORMAT "%s %9" JSON_INTEGER_FORMAT, deep ? "\033[33m" : "",
               number(r->actor, "mailbox"), deep ? "\033[0m" : "", number(r->actor, "handled"));
    } else if (
        r->child) { /* it isn't running; or has a thread of its own, only it knows more, and it may block */
        printf(" %5s %9s", "", "");
    }
    if (r->child)
        printf(" %8" JSON_INTEGER_FORMAT, number(r->child, "restarts"));
    printf("\n");
}

/* The row and all below it, without recursion: a chain of actors may be long. */
static void walk(tree *t, long top, void (*each)(tree *t, long at, int depth))
{
    long at = top;
    int depth = 0;
    for (;;) {
        each(t, at, depth);
        if (t->rows[at].first >= 0) {
            at = t->rows[at].first;
            depth++;
            continue;
        }
        while (at != top && t->rows[at].next < 0) {
            at = t->rows[at].parent;
            depth--;
        }
        if (at == top)
            return;
        at = t->rows[at].next;
    }
}

/* A parent is told by a mark that can be wrong (actors/actor.h), so that two could stand below each other: those that no
 * top leads to are cut loose. */
static void cut_rings(tree *t)
{
    for (size_t i = 0; i < t->count; i++) {
        long slow = (long)i, steps = 0;
        while (t->rows[slow].parent >= 0 && steps++ <= (long)t->count)
            slow = t->rows[slow].parent;
        if (t->rows[slow].parent < 0)
            continue;
        for (size_t j = 0; j < t->count; j++)
            t->rows[j].parent = t->rows[j].first = t->rows[j].last = t->rows[j].next = -1;
        return;
    }
}

void cli_ps_tree(const json_t *loops, int columns, bool colour)
{
    tree t = {.width = NAME_MIN, .cuts = columns != 0, .colour = colour};
    columns = columns ? columns : NO_SCREEN;
    t.address = columns < WIDE ? SHORT : ADDRESS;
    int most = columns - OTHERS - 1 - t.address;
    most = most > NAME_WIDEST ? NAME_WIDEST : most < NAME_MIN ? NAME_MIN : most;
    if (build(&t, loops)) {
        cut_rings(&t);
        for (size_t i = 0; i < t.count; i++)
            if (t.rows[i].parent < 0)
                walk(&t, (long)i, measure);
        t.width = t.width > most ? most : t.width;
        if (t.count)
            printf("%s  %-*s %-*s %-10s %5s %5s %9s %8s%s\n", colour ? "\033[2m" : "", t.width - 2, "actor",
                   t.address, "address", "state", "age", "mail", "handled", "restarts",
                   colour ? "\033[0m" : "");
        for (size_t i = 0; i < t.count; i++)
            if (t.rows[i].parent < 0)
                walk(&t, (long)i, print);
    }
    free(t.rows);
}
