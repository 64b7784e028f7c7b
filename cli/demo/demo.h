/* `troupe demo`: what its parts share. The main thread owns all of it; the probe and the compute actor of the
 * demo's own node live on other loops and send messages. */
#ifndef TR_CLI_DEMO_H
#define TR_CLI_DEMO_H

#include <stdio.h>
#include <sys/types.h>

#include <troupe/node.h>

#include "actors/driver/stopper_os.h"
#include "cli/demo/messages.h"
#include "cli/demo/netns.h"

enum { DEMO_ALICE, DEMO_BOB, DEMO_CAROL, DEMO_NODES };

#define DEMO_REQUESTS 100 /* of the pipeline */
#define DEMO_ASKS     3   /* that bob holds when he is killed */
#define DEMO_EVENTS   64  /* kept */
#define DEMO_SPARKS   120 /* windows of the probe kept, a power of nothing in particular */
#define DEMO_PATH     512

typedef struct demo_opts {
    bool kill, json, keep;
    bool netns, partition; /* partition: cut bob off instead of killing him */
    bool page;             /* to be served */
    uint16_t page_port;    /* 0: a free one */
    uint32_t files, loops;
    const char *source; /* whose files are copied */
    const char *image;  /* where the picture goes; NULL: build/mandelbrot.png or ./mandelbrot.png */
} demo_opts;

typedef struct demo_child {
    const char *name;
    pid_t pid; /* 0: not running */
    int out;   /* its standard output; -1: none */
    bool up, has_sums;
    tr_addr first, role;
    uint64_t incarnation, was; /* now; and before it was killed, or 0 */
    uint32_t hellos;
    char listen[32];
    uint64_t late_ns, late_total_ns, late_max_ns;
    tr_sums sums;
} demo_child;

typedef struct demo_event {
    double at; /* seconds since the start */
    char text[200];
} demo_event;

typedef struct demo_result_row {
    uint64_t size;
    char carol[65], own[65]; /* SHA-256 as carol has it of bob's copy; and as we have it of the original */
} demo_result_row;

typedef struct demo_measure {
    uint64_t p50_ns, p99_ns, asked, failed;
} demo_measure;

/* What happened to bob; incidents.c. */
typedef struct demo_incidents {
    bool allowed, under_way;             /* keys may begin one; one runs */
    bool halted;                         /* bob, in a transaction */
    bool cut, heal;                      /* his interface is down; it is to be up again */
    uint32_t kills, cuts, healed, halts; /* halts: kills in a transaction */
    uint64_t began_ns, spent_ns, phase_until_ns;
} demo_incidents;

#define DEMO_TX_NODES 2 /* alice and bob: whose apps exchange by transactions */

/* What their managers told of them; tx.c. */
typedef struct demo_transactions {
    struct json_t *all; /* put together; tx/merge.h */
    tr_future asking[DEMO_TX_NODES];
    uint64_t asked_ns[DEMO_TX_NODES], told_ns[DEMO_TX_NODES]; /* told: when what was told had been asked */
    uint32_t open[DEMO_TX_NODES];                             /* branches and decisions that aren't over */
    uint64_t killed_ns; /* bob; 0: nothing can be in doubt by that any more */
    char doubt[32];     /* the one that it left in doubt; "" none known */
    uint32_t settled, settled_committed;
} demo_transactions;

typedef struct demo {
    demo_opts opts;
    char program[DEMO_PATH], directory[DEMO_PATH], image[DEMO_PATH];
    char key[DEMO_PATH]; /* the nodes' key file, "" if they are on loopback */
    demo_net net;
    uint64_t start_ns;
    tr__stopper stopper; /* Ctrl-C and the like, from before the first file to behind the last */
    tr_node *node;
    tr_actor *self; /* the observer */
    tr_addr probe;
    demo_child children[DEMO_NODES];
    tr_error trouble; /* the first thing that went wrong */
    /* what they told */
    uint64_t first_message_ns; /* since the start; 0: none yet */
    char web[32];
    uint32_t files;
    uint64_t bytes;
    demo_result_row *results;                                     /* `files` of them */
    uint32_t result_count, fetched, half, parts, hashed, resumed; /* parts: left half done by the crash */
    uint32_t resumed_earlier;                                     /* by lives of bob before this one */
    uint64_t fetched_bytes, resumed_bytes, resumed_bytes_earlier;
    uint64_t download_began_ns, download_ended_ns, render_began_ns;
    bool listed, downloaded, pipelined, rendered;
    uint32_t tiles, tile_total, width, height, samples, workers;
    uint32_t asked, answered, in_order;
    uint64_t pipe_connections, pipe_ns;
    char example[TR_ERROR_TEXT_MAX];
    uint64_t entries, alices, bobs, entries_waiting; /* of the journals, as alice's app says */
    bool together;
    uint32_t recovered;
    uint64_t journal_last[2]; /* at the end, of alice's and bob's */
    char journal_digest[2][65];
    bool journals_equal;
    uint64_t rest_since_ns; /* since when it is waited for that nothing is locked */
    bool armed, asks_failed;
    uint32_t failed_asks, failed_no_connection;
    char failed_text[120];
    uint32_t phase;
    demo_measure measures[DEMO_PHASES];
    uint64_t sparks[DEMO_SPARKS];
    uint8_t spark_phases[DEMO_SPARKS];
    uint32_t spark_count;
    /* the last crash or cut */
    uint64_t killed_ns, detected_ns, down_ns, healed_ns; /* on the clock; 0: not yet */
    demo_incidents incidents;
    demo_transactions tx;
    /* at the end */
    bool ending; /* the nodes were told to end */
    bool checked, image_equal, own_sums_known;
    tr_sums own_sums;
    uint32_t equal;
    /* the screen */
    demo_event events[DEMO_EVENTS];
    uint32_t event_count;
    struct demo_screen *screen;
    struct demo_page *page; /* NULL: none */
} demo;

double demo_seconds(const demo *d); /* since the start */

/* ---- process.c: the nodes as processes ------------------------------------------------------------ */

/* Start it; `join` are the addresses that it is to connect to, up to 3, NULL ends them. TR_EIO, TR_ENOMEM. */
tr_err demo_child_start(demo *d, int index, const char *const *join);
/* Reap it if it ended; true if it did. Its sums are read then. *status as of waitpid. */
bool demo_child_reap(demo *d, int index, int *status);
/* End all that run: SIGTERM, and after a while SIGKILL. False: one had to be killed. */
bool demo_children_end(demo *d);
/* Leave them running: forget them. */
void demo_children_forget(demo *d);
/* The last line of a node's log, "" if there is none. */
const char *demo_child_last_words(const demo *d, int index, char *out, size_t room);

/* ---- script.c: the observer; the whole demo from start to the last check -------------------------- */

/* The first actor of the demo's node; `arg` is the demo. An error's text is in d->trouble. */
tr_err demo_script(tr_actor *self, void *arg);

/* ---- observe.c: what the nodes tell --------------------------------------------------------------- */

void demo_observe(demo *d, const tr_msg *msg);
/* Keep the first trouble; returns its code. */
tr_err demo_trouble_is(demo *d, tr_err code, const char *format, ...) __attribute__((format(printf, 3, 4)));

extern const char *const demo_phase_names[DEMO_PHASES];

/* ---- screen.c: a screen that redraws, or lines ---------------------------------------------------- */

/* Choose by what standard output is. */
tr_err demo_screen_open(demo *d);
/* Something happened: a line of text. */
void demo_screen_event(demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Whether it tells of a crash or a cut, to be marked. */
bool demo_event_is_bad(const demo_event *event);
/* Draw, if it is a screen and a tenth of a second has passed since the last time, or `now`. */
void demo_screen_draw(demo *d, bool now);
/* The screen is left as it is, the cursor below it. */
void demo_screen_close(demo *d);
/* Whether colours may be used; and the mark of what holds or doesn't. */
bool demo_screen_coloured(const demo *d);
const char *demo_screen_mark(const demo *d, bool good);

/* ---- page.c: the page in a browser ---------------------------------------------------------------- */

/* Serve it, if the options want it. An error only if they want a port that isn't to be had. */
tr_err demo_page_open(demo *d);
/* "http://127.0.0.1:7070", "" without a page. */
const char *demo_page_url(const demo *d);
/* Take in what only the page shows; any message. */
void demo_page_observe(demo *d, const tr_msg *msg);
/* Give the page the state of now, if a quarter of a second has passed since the last time. */
void demo_page_refresh(demo *d);
/* Give it the last state, with the verdict. */
void demo_page_end(demo *d, bool clean);
/* Stop serving; who looks at it gets the last state before, for which it may wait a second. */
void demo_page_close(demo *d);

/* ---- report.c: the end ---------------------------------------------------------------------------- */

/* Print the summary; true if all holds. `clean`: no process, no temporary file is left. */
bool demo_report(demo *d, bool clean);
/* The same for the page: {"ok", "lines": [{"ok", "text"}]}. NULL: no memory. */
struct json_t *demo_report_checks(const demo *d, bool clean);

#endif
