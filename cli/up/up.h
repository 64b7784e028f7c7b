/* `troupe up`: its private parts. up.c: the command and its loop; child.c: a node's process; say.c: what is printed;
 * page.c: the page of --page. One thread, the main one; the page has more (page.h). */
#ifndef TR_CLI_UP_H
#define TR_CLI_UP_H

#include <stdbool.h>
#include <sys/types.h>

#include <troupe/err.h>

#include "cli/up/file.h"

/* Of a node, and who moves it there:
 *
 *     WAITING ──due──► COMING ──its plugins run──► UP
 *        ▲               │                         │
 *        └── ended, and is wanted back ────────────┤
 *                        │     we end it           │
 *                        ├─────────► ENDING ◄──────┤
 *                        └───────► ENDED ◄─────────┘  (ENDING ends there as well; WAITING, when all is over)
 */
typedef enum up_state { UP_WAITING, UP_COMING, UP_UP, UP_ENDING, UP_ENDED } up_state;

typedef struct up_child {
    const up_node *node;
    up_state state;
    int colour;
    pid_t pid;       /* 0: no process */
    int out;         /* both its outputs; -1: none */
    char line[1024]; /* what it printed of its line so far */
    size_t used;
    char last[200];     /* the last whole line: why it ended, as a rule */
    char listen[280];   /* where, since it was up first; kept for its next starts */
    unsigned ups;       /* times that it came up */
    bool ended_badly;   /* the last time: not with status 0 */
    uint64_t due_ns;    /* WAITING: when to start it. ENDING: when to kill it */
    uint64_t *restarts; /* when the last restarts_max were, a ring; 0: none yet */
    uint32_t restart_next;
    unsigned in_a_row; /* restarts, each within the window of the one before */
} up_child;

typedef struct up {
    const char *path;
    up_file *file;
    up_child *children;
    unsigned count;
    bool ending, failed;
    bool colour;
    int name_width;
    struct up_page *page; /* NULL: none */
} up;

uint64_t up_now(void);

/* ---- child.c ---------------------------------------------------------------------------------------- */

/* Start its process, WAITING to COMING; false: none was to be had, and it was said why. */
bool up_child_start(up *u, unsigned index);
/* Print what it has printed; COMING to UP when it says so. */
void up_child_read(up *u, unsigned index);
/* If it has ended: what is left of its output is printed, and *status is as of waitpid. */
bool up_child_reap(up *u, unsigned index, int *status);
/* Every move between states; checked against the drawing above. */
void up_child_move(up_child *child, up_state to);

/* ---- say.c ------------------------------------------------------------------------------------------ */

/* A line about a node (NULL: about the whole), or (`own` false) of its output. */
void up_say(up *u, const up_child *child, const char *format, ...) __attribute__((format(printf, 3, 4)));
void up_say_line(up *u, const up_child *child, const char *line);

/* ---- page.c: without a page these do nothing ---------------------------------------------------------- */

/* Serve the page on that port (0: a free one) and say where. Signals must be blocked already: its threads inherit that.
 * Failures, with *error, and there is no page: as of tr__page_open, TR_ENOMEM. */
tr_err up_page_open(up *u, uint16_t port, tr_error *error);
/* Note how the children are now. */
void up_page_look(up *u);
/* A line as of up_say (`own`) and up_say_line. */
void up_page_event_of(up *u, const up_child *child, const char *text, bool own);
/* Give who looks the last state, and end it; takes up to TR__PAGE_LINGER_MS. */
void up_page_close(up *u);

#endif
