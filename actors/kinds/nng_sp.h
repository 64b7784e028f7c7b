/* The inside of the real socket (sp.h), which three files share: nng_sp_uv.c (life, the loop's side), nng_sp_io.c (what
 * moves messages), nng_sp_dial.c (dials, and listeners that are looked after).
 *
 * Threads: the loop's; nng's, which run the callbacks; one a dial that is under way or up; one that looks after listeners;
 * one that closes. What they share is under `lock`, which is never held during a call of nng's that may block or call
 * back.
 *
 * N1  an aio is posted by its own callback, as the last it does with it (but to cancel), or by the loop's thread when none is under way and the callback
 *     has returned (nng_aio_wait)
 * N2  one receive a socket: else the order is lost
 * N3  nothing closes but threads of its own (the closer, a dial's, the keeper): nng's close may hang. A dialer's doesn't:
 *     one whose connection ended is closed by nng's own thread, as it tells of it
 * N4  the struct is freed by the last who refers to it: the loop's handles, the closer, dials, the keeper
 * N5  nng_close comes when all of its dialers and listeners are closed: in 1.5 to close both at a time is a use after free
 * N6  a dialer isn't closed while it dials, unless that takes long: closed in the moment in which it connects, nng 1.5
 *     loses the connection with its descriptor, or the dial never returns */
#ifndef TR_ACTORS_KINDS_NNG_SP_H
#define TR_ACTORS_KINDS_NNG_SP_H

#include <nng/nng.h>
#include <nng/supplemental/util/platform.h>
#include <pthread.h>

#include "actors/kinds/sp.h"

/* What waits to be fetched, or to be sent. */
typedef struct tr__sp_item {
    struct tr__sp_item *next;
    nng_msg *msg; /* NULL: none; freed with it */
    tr__sp_event event;
    uint64_t timeout_ns;
    bool fixed; /* part of what it tells of: not freed, so that it is told without memory */
} tr__sp_item;

typedef struct tr__sp_queue {
    tr__sp_item *head, **end;
} tr__sp_queue;

typedef enum tr__sp_state {
    TR__SP_FREE,
    TR__SP_ASKING,
    TR__SP_RECEIVING,
    TR__SP_PAUSED,
    TR__SP_HELD,
    TR__SP_REPLYING
} tr__sp_state;

/* One context: asking:  FREE -> ASKING -> RECEIVING (<-> PAUSED, a surveyor's) -> FREE
 *              serving: RECEIVING -> HELD (by the owner) -> REPLYING -> RECEIVING */
typedef struct tr__sp_exchange {
    tr__sp *sp;
    nng_ctx ctx;
    nng_aio *aio;
    tr__sp_state state; /* under lock */
    bool abandoned;     /* under lock */
    nng_time deadline;  /* UINT64_MAX: none */
    uint32_t index;
    tr__sp_item item; /* of asking: its OVER; of serving: the request */
} tr__sp_exchange;

typedef struct tr__sp_dial {
    tr__sp *sp;
    uint32_t index;
    char url[TR__SP_URL_MAX];
    /* Under lock */
    nng_dialer dialer;
    bool busy;     /* its thread runs */
    bool dialling; /* ... and it isn't known yet whether it connects */
    bool added, removed;
    bool open; /* whoever clears it closes the dialer */
    tr__sp_item up, end;
} tr__sp_dial;

typedef struct tr__sp_listener {
    nng_listener listener;
    char url[TR__SP_URL_MAX]; /* as bound */
    const char *path;         /* in url, of a Unix socket: it is looked after; else NULL */
    bool renewing;            /* under lock: the keeper closes and opens it */
} tr__sp_listener;

struct tr__sp {
    /* Fixed */
    tr__loop *loop;
    tr_addr owner;
    tr__sp_opts opts;
    nng_socket socket;
    nng_aio *receive_aio, *send_aio; /* NULL: the protocol doesn't, or has exchanges */
    tr__sp_exchange *exchanges;
    /* The loop's */
    void *wake_handles; /* nng_sp_uv.c */
    tr__sp_item *borrowed;
    /* Under lock */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* closed, closing, and of dials */
    uint32_t refs;
    bool closed;
    bool woken; /* a wake is under way, or in the owner's mailbox */
    tr__sp_queue events, incoming, outgoing;
    uint32_t held, answers; /* messages in incoming; answers among the events */
    size_t held_bytes, answer_bytes;
    bool receive_paused, sending, want_room;
    tr__sp_counts counts;
    int32_t
        peers; /* may be negative for a moment: nng tells of a pipe's end and beginning on different threads */
    tr__sp_dial *dials[TR_NNG_URLS_MAX];
    tr__sp_listener listeners[TR_NNG_URLS_MAX];
    uint32_t listener_count;
    bool kept;        /* the keeper runs */
    uint32_t closing; /* dialers that on_pipe closes, N5 */
    bool unlistened;  /* closing: nothing listens any more */
};

/* nng_sp_uv.c. Those that say "locked" are called with the lock held. */
void tr__sp_wake_owner(tr__sp *sp);                       /* locked */
void tr__sp_push(tr__sp_queue *queue, tr__sp_item *item); /* locked */
tr__sp_item *tr__sp_pop(tr__sp_queue *queue);             /* locked; NULL: empty */
void tr__sp_item_free(tr__sp_item *item);                 /* NULL is fine */
/* Locked. Tell the owner by that item: TR_OK, or nng's error behind `what`. */
void tr__sp_tell(tr__sp *sp, tr__sp_item *item, tr__sp_event_kind kind, uint32_t index, int result,
                 const char *what);
/* Locked. By one that is made for it; without memory it is not told. */
void tr__sp_tell_new(tr__sp *sp, tr__sp_event_kind kind, uint32_t index, int result, const char *what);
void tr__sp_unref(tr__sp *sp); /* not locked */
/* A detached thread with all signals blocked; 0 or errno. */
int tr__sp_thread(void *(*run)(void *context), void *context);

/* nng_sp_io.c */
tr_err tr__sp_io_open(tr__sp *sp,
                      tr_error *error); /* make the aios and contexts; nothing is posted if it fails */
void tr__sp_io_start(tr__sp *sp);       /* what receives without being asked begins to */
void tr__sp_io_close(tr__sp *sp);       /* after nng_close: wait for callbacks, free */
tr_err tr__sp_send(tr__sp *sp, uint64_t key, tr_bytes data, uint64_t timeout_ns);
tr_err tr__sp_request(tr__sp *sp, uint32_t index, tr_bytes data, uint64_t timeout_ns);
void tr__sp_abandon(tr__sp *sp, uint32_t index);
tr_err tr__sp_reply(tr__sp *sp, uint32_t index, const tr_bytes *data);
void tr__sp_resume(tr__sp *sp); /* there may be room again: whatever paused goes on */

/* nng_sp_dial.c */
void tr__sp_watch_pipes(tr__sp *sp);   /* before the first listen or dial */
void tr__sp_unwatch_pipes(tr__sp *sp); /* before nng_close */
tr_err tr__sp_listen(tr__sp *sp, const char *url, char *bound, tr_error *error);
void tr__sp_unlisten(tr__sp *sp);     /* the closer's: first this, */
void tr__sp_end_dialling(tr__sp *sp); /* then this, which waits for dials and the keeper; then nng_close */
tr_err tr__sp_begin_dial(tr__sp *sp, uint32_t index, const char *url, tr_error *error);

#endif
