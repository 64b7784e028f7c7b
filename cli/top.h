/* `troupe top`: what the nodes told, as rows, and where they are shown. The main thread. */
#ifndef TR_CLI_TOP_H
#define TR_CLI_TOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <troupe/actor.h>

#define TOP_ROWS_MAX 4096

typedef enum top_key { TOP_BY_BUSY, TOP_BY_RATE, TOP_BY_MAIL, TOP_BY_AGE, TOP_BY_P99, TOP_KEYS } top_key;

typedef struct top_row {
    char node[TR_NAME_MAX], name[TR_NAME_MAX], address[TR_ADDR_TEXT_MAX];
    char definition[TR_NAME_MAX], message[TR_NAME_MAX + 4];
    char state[16];
    uint64_t mail, places, oldest_ms, handled, busy_ns, p50_ns, p99_ns;
    double rate, busy; /* messages a second, share of its loop; < 0: not known yet */
} top_row;

typedef struct top_node {
    char name[TR_NAME_MAX];
    char trouble[512]; /* a loop that doesn't answer, or the node; "": none */
    uint64_t actors, loops, handled, at_ns;
    double rate; /* < 0: not known yet */
} top_node;

/* One look at all of them. */
typedef struct top {
    top_key key;
    top_node nodes[64];
    size_t node_count;
    top_row rows[TOP_ROWS_MAX];
    size_t row_count;
    uint64_t left_out; /* actors that no row is of */
} top;

/* top_rows.c: ask the node of that name (NULL: all that run here) into *now; rates are against *before. How many answered. */
int top_look(top *now, const top *before, const char *node);
void top_sort(top *t);
const char *top_key_word(top_key key);
/* As a table of at most `rows` actors and `columns` wide: calls put(context, line, inverse) for each line. */
void top_table(const top *t, size_t rows, size_t columns,
               void (*put)(void *context, const char *line, int ink), void *context);
json_t *top_json(const top *t);

/* top_screen.c: the terminal, until the user quits (0) or it can't be used (-1: not said to the user yet). */
int top_screen(const char *node, top_key key, double every_s);

#endif
