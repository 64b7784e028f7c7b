/* The page of `troupe up --page`: its private parts. page.c: what the main thread tells, and the threads' life;
 * page_ask.c: a thread for each node, which asks its operator socket, so that one that doesn't answer holds up nobody;
 * page_state.c: the text (docs/page.md), made by a thread of its own.
 *
 * One lock is between them all. It is held for copies of plain data only: the main thread, which must see to its children,
 * never waits for a node or for a text to be made. */
#ifndef TR_CLI_UP_PAGE_H
#define TR_CLI_UP_PAGE_H

#include <pthread.h>

#include "cli/nng_page.h"
#include "cli/up/up.h"

#define UP_PAGE_EVERY  TR_MILLIS(500) /* asking, and making: as often as the page asks */
#define UP_PAGE_EVENTS 60             /* of more, the last are kept */
#define UP_PAGE_TEXT   200
#define UP_PAGE_GAPS   8 /* times that a node was down; of more, the last are kept */

/* To another node of the file. */
typedef struct up_page_way {
    unsigned to;
    char incarnation[20]; /* of the other */
    uint64_t sent;        /* messages on this connection */
    double per_s;
} up_page_way;

/* What a node tells of itself. */
typedef struct up_page_told {
    pid_t pid;      /* 0: it told nothing yet */
    uint64_t at_ns; /* when */
    char incarnation[20];
    char silent[UP_PAGE_TEXT]; /* why one of its loops doesn't answer; "": all do */
    unsigned count;
    up_page_way ways[UP_NODES_MAX];
} up_page_told;

typedef struct up_page_gap {
    uint64_t from_ns, to_ns; /* since the start; to_ns 0: still */
} up_page_gap;

typedef struct up_page_node {
    up_state state;
    pid_t pid;
    unsigned ups;   /* times that it came up */
    uint64_t up_ns; /* the last time */
    bool ended_badly;
    char listen[280];
    char last[UP_PAGE_TEXT]; /* what was said last of it */
    up_page_gap gaps[UP_PAGE_GAPS];
    uint32_t gap_count;
    up_page_told told;
} up_page_node;

typedef struct up_page_event {
    uint64_t at_ns; /* since the start */
    bool bad;
    char text[UP_PAGE_TEXT + 100];
} up_page_event;

/* All that the text is made of, but for transactions. Plain data. */
typedef struct up_page_facts {
    bool ended, failed;
    unsigned count;
    up_page_node nodes[UP_NODES_MAX];
    up_page_event events[UP_PAGE_EVENTS]; /* a ring */
    uint32_t event_count;
} up_page_facts;

typedef struct up_page_asker {
    struct up_page *page;
    unsigned index;
    pthread_t thread;
    char *listing; /* under the lock: what its transaction manager told, until it is taken */
} up_page_asker;

struct up_page {
    /* As they are from the start: */
    tr__page *server;
    const up_file *file;
    const char *path;
    uint64_t start_ns;
    pthread_mutex_t lock;
    pthread_cond_t stop;
    /* Under the lock: */
    up_page_facts facts;
    bool stopping;
    /* The maker's, and when it has ended the main thread's: */
    up_page_facts copy;
    struct json_t *transactions; /* tx/merge.h */
    /* The main thread's: */
    up_page_asker askers[UP_NODES_MAX];
    unsigned asking; /* of them have a thread */
    pthread_t maker;
    bool making;
};

/* Wait for `until_ns`, or the end, which is false. The lock is held. */
bool up_page_wait(struct up_page *page, uint64_t until_ns);
/* An asker's thread. */
void *up_page_ask(void *asker);
/* Make the state of now, and give it to the server. One thread at a time. */
void up_page_make(struct up_page *page);

#endif
