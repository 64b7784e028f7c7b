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

typedef struct row {
    const json_t *actor; /* NULL: a supervised child that isn't running */
    const json_t *child; /* as its supervisor tells of it; NULL: it has none */
    const char *address;
    long parent, first, last, next; /* indexes; -1: none */
} row;

typedef struct tree {
    row *rows;
    size_t count, room;
    int width;
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

/* Its name, and of what kind it is; a name may be any bytes, so what could move the cursor is shown as "?". */
static int label(const row *r, char *out, size_t room)
{
    const char *kind = text(r->actor, "definition"), *name = text(r->actor, "name");
    const char *strategy = text(r->actor, "strategy");
    char what[96];
    if (*strategy) {
        snprintf(what, sizeof(what), "%s, %s", kind, strategy);
        kind = what;
    }
    if (!*name)
        name = text(r->child, "id");
    if (!*name || strcmp(name, kind) == 0)
        snprintf(out, room, "%s", *kind ? kind : name);
    else if (*kind)
        snprintf(out, room, "%s (%s)", name, kind);
    else
        snprintf(out, room, "%s", name);
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
    int width = indent(depth) + label(&t->rows[at], name, sizeof(name));
    t->width = width > t->width ? width : t->width;
}

static void print(tree *t, long at, int depth)
{
    const row *r = &t->rows[at];
    char name[160];
    int in = indent(depth);
    label(r, name, sizeof(name));
    printf("%*s%-*s ", in, "", t->width - in, name);
    const char *state = r->actor ? json_string_value(json_object_get(r->actor, "state")) : NULL;
    if (state && strcmp(state, "own-thread") == 0) { /* only it knows more, and it may block */
        printf("%-24s %15s", r->address, "own thread");
    } else if (r->actor) {
        bool deep = 2 * number(r->actor, "mailbox") > number(r->actor, "places") && t->colour;
        printf("%-24s %s%5" JSON_INTEGER_FORMAT "%s %9" JSON_INTEGER_FORMAT, r->address,
               deep ? "\033[33m" : "", number(r->actor, "mailbox"), deep ? "\033[0m" : "",
               number(r->actor, "handled"));
    } else {
        printf("%-24s %5s %9s", "(not running)", "", "");
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

void cli_ps_tree(const json_t *loops, bool colour)
{
    tree t = {.width = NAME_MIN, .colour = colour};
    if (build(&t, loops)) {
        cut_rings(&t);
        for (size_t i = 0; i < t.count; i++)
            if (t.rows[i].parent < 0)
                walk(&t, (long)i, measure);
        t.width = t.width > NAME_WIDEST ? NAME_WIDEST : t.width;
        if (t.count)
            printf("%s  %-*s %-24s %5s %9s %8s%s\n", colour ? "\033[2m" : "", t.width - 2, "actor", "address",
                   "mail", "handled", "restarts", colour ? "\033[0m" : "");
        for (size_t i = 0; i < t.count; i++)
            if (t.rows[i].parent < 0)
                walk(&t, (long)i, print);
    }
    free(t.rows);
}
