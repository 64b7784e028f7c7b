/* What only the page shows of the demo: the private part between page.c (collecting, serving) and
 * state.c (the JSON text that docs/page.md describes). The main thread. */
#ifndef TR_CLI_DEMO_PAGE_H
#define TR_CLI_DEMO_PAGE_H

#include <jansson.h>

#include "cli/demo/demo.h"
#include "cli/demo/node.h"
#include "cli/nng_page.h"

#define DEMO_ENDS  (DEMO_NODES + 1) /* of connections: the nodes, and the demo's own node last */
#define DEMO_TILES (DEMO_TILES_EDGE * DEMO_TILES_EDGE)
#define DEMO_GAPS  8 /* times that a node was down; of more, the last are kept */

typedef struct demo_way {
    uint64_t node, sent, at_ns; /* the incarnation it leads to; messages; when that was told */
    double per_s;
} demo_way;

typedef struct demo_gap {
    uint64_t from_ns, to_ns; /* since the start; to_ns 0: still */
} demo_gap;

struct demo_page {
    tr__page *server;
    char url[40];
    uint64_t made_ns;
    bool ended, has_picture;
    struct json_t *verdict; /* NULL: not yet */
    demo_way ways[DEMO_ENDS][DEMO_ENDS];
    demo_gap gaps[DEMO_NODES][DEMO_GAPS];
    uint32_t gap_counts[DEMO_NODES];
    uint8_t tile_by[DEMO_TILES]; /* 0: not drawn yet; else the node's index + 1 */
    uint8_t shades[DEMO_TILES][DEMO_SHADES];
    uint32_t spread[DEMO_PHASES][DEMO_SPREAD];
    uint64_t p999_ns[DEMO_PHASES], max_ns[DEMO_PHASES];
};

/* The whole state as text, for free(); NULL: no memory. */
char *demo_state_text(const demo *d);

#endif
