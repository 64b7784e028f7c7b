/* The stream client's inside, shared by its three files: stream_client.c (the actor: options, requests,
 * cancel, the tick), stream_pool.c (connections: opening, sending, what comes back, how they end),
 * stream_queue.c (lists of requests, their end, the timer). All of it runs in the actor's handlers, on its
 * loop's thread. */
#ifndef TR_ACTORS_KINDS_STREAM_POOL_H
#define TR_ACTORS_KINDS_STREAM_POOL_H

#include <troupe/stream_client.h>
#include <troupe/troupe.h>

#include "actors/kinds/codec.h"
#include "actors/kinds/tcp.h"
#include "base/wheel.h"

TR_MESSAGE(tr__stream_tick, (u64, due))

/* A question: in one list from its arrival to its answer. */
typedef struct tr__stream_request {
    struct tr__stream_request *next;
    tr_msg *msg; /* kept; NULL in flight: nobody wants the answer any more, but the order needs its place */
    uint64_t deadline_ns;
    tr__question question;
    uint32_t cuts; /* connections that broke while this was the first in flight */
} tr__stream_request;

typedef struct tr__stream_list {
    tr__stream_request *head, **end;
    uint32_t count;
} tr__stream_list;

typedef enum tr__stream_state { TR__STREAM_CLOSED, TR__STREAM_CONNECTING, TR__STREAM_OPEN } tr__stream_state;

typedef struct tr__stream_connection {
    struct tr__stream *client;
    tr__stream_state state;
    uint64_t key; /* of this connection, while not CLOSED; never used twice */
    tr__tcp *tcp;
    void *parser;
    tr__stream_list in_flight;
    uint64_t sent, answered; /* on this tr__stream_connection */
    uint64_t heard_ns;       /* the last byte came, or the waiting for one began */
    bool last;               /* the server has given its last answer */
    bool ended;              /* it takes nothing any more; tr__tcp_down comes */
} tr__stream_connection;

typedef struct tr__stream {
    tr_actor *self; /* in a handler */
    tr__loop *loop;
    const tr__tcp_seam *tcp;
    const tr__codec *codec;
    tr__codec_limits limits;
    char address[300], host[256];
    uint16_t port;
    uint32_t connections, in_flight, queue, tries;
    uint64_t connect_timeout_ns, answer_timeout_ns, backoff_ns, backoff_max_ns;
    tr__stream_list waiting;
    size_t waiting_bytes;
    tr__stream_connection *pool;
    tr__buf scratch;
    uint64_t next_key;
    uint64_t learned;  /* answers the server gives on one connection; 0: no limit known */
    uint32_t failures; /* connections in a row that gave nothing */
    uint64_t retry_ns; /* no new connection before */
    tr_error last_error;
    tr_timer timer;
    uint64_t tick_ns; /* when it fires; TR__NEVER: not set */
    tr_stream_status counts;
} tr__stream;

/* ---- stream_queue.c ------------------------------------------------------------------------------------ */

void tr__stream_list_init(tr__stream_list *l);
void tr__stream_push(tr__stream_list *l, tr__stream_request *r);
/* Take out the request that *at points to. */
tr__stream_request *tr__stream_take(tr__stream_list *l, tr__stream_request **at);
/* Put all of `front`, which is then empty, before what is in `l`. */
void tr__stream_push_front(tr__stream_list *l, tr__stream_list *front);
/* Free a request that is in no list any more; its asker hears nothing from here. */
void tr__stream_release(tr__stream *c, tr__stream_request *r);
/* The same, and its asker, if it still waits, gets the error. */
void tr__stream_fail(tr__stream *c, tr__stream_request *r, tr_err code, const char *text);
/* tr__stream_take from those that wait. */
tr__stream_request *tr__stream_take_waiting(tr__stream *c, tr__stream_request **at);
void tr__stream_fail_waiting(tr__stream *c, const tr_error *error);
/* Nobody wants the answer of this request in flight any more; its place stays, for the order. */
void tr__stream_abandon(tr__stream *c, tr__stream_request *r);
/* Now and that much; TR__NEVER if it would overflow. */
uint64_t tr__stream_after(tr__stream *c, uint64_t duration_ns);
/* Have a tick not later than this. */
void tr__stream_wake_at(tr__stream *c, uint64_t due_ns);

/* ---- stream_pool.c ------------------------------------------------------------------------------------- */

/* Give what waits to connections with a place, and open as many more as what is left could fill; while the
 * server fails, one at a time. */
void tr__stream_dispatch(tr__stream *c);
void tr__stream_on_up(tr__stream *c, const tr__tcp_up *up);
void tr__stream_on_data(tr__stream *c, const tr__tcp_data *data);
void tr__stream_on_down(tr__stream *c, const tr__tcp_down *down);
/* Time-outs of one connection at the time `now`; lowers *next to when it must be looked at again. */
void tr__stream_sweep(tr__stream *c, tr__stream_connection *k, uint64_t now, uint64_t *next);
/* Close and forget it; requests in flight stay in its list. */
void tr__stream_close(tr__stream_connection *k);

#endif
