/* `troupe fetch` between its two files: fetch.c (options, the actor that asks) and fetch_view.c (what is
 * shown). The main thread, which is the node's only loop. */
#ifndef TR_CLI_FETCH_H
#define TR_CLI_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <troupe/downloader.h>

typedef enum fetch_state { FETCH_WAITING, FETCH_RUNNING, FETCH_DONE, FETCH_FAILED } fetch_state;

typedef struct fetch_task {
    const char *url;
    char *path; /* where it goes; NULL: refused before it was asked */
    fetch_state state;
    uint64_t done, total; /* bytes; total 0 = unknown */
} fetch_task;

typedef struct fetch_view {
    bool json, bars; /* bars: on stderr, a terminal */
    int drawn;       /* lines of bars that are on the screen, above the cursor */
    uint64_t drawn_ns, begun_ns;
} fetch_view;

typedef struct fetch {
    const char *directory; /* as given; NULL: here */
    char *into;            /* the same with '/' at its end */
    uint32_t parallel;
    fetch_task *tasks;
    size_t count, next; /* next: the first that wasn't asked yet */
    size_t running, fetched, failed;
    uint64_t bytes; /* of what is there, whole */
    tr_addr downloader;
    fetch_view view;
} fetch;

/* Where the path is shown as the user would write it. */
const char *fetch_shown_path(const char *path);

void fetch_view_open(fetch *f, bool json);
/* One is there: a line on stdout, as sha256sum prints it, or an object. */
void fetch_view_done(fetch *f, const tr_fetched *fetched);
/* One failed: a line on stderr, or an object on stdout. */
void fetch_view_failed(fetch *f, const char *url, tr_err code, const char *text);
/* Something has moved: draw, if it is time to. */
void fetch_view_moved(fetch *f);
/* All is over, or was interrupted by that signal (0: it wasn't): the sum of it. */
void fetch_view_close(fetch *f, int signal);

#endif
