/* The operator socket's private parts: operator/socket_uv.c (the socket, and what comes back from the loops), operator/client_uv.c
 * (one client: its frames, requests, answers). The control thread, but for what says so. */
#ifndef TR_ACTORS_OPERATOR_SOCKET_UV_H
#define TR_ACTORS_OPERATOR_SOCKET_UV_H

#include <pthread.h>
#include <uv.h>

#include "actors/driver/node_uv.h"
#include "actors/operator/operator.h"

#define TR__OPERATOR_READ 16384 /* bytes taken from a client at a time */

struct tr__operator_socket;

typedef struct tr__operator_client {
    struct tr__operator_client *next;
    struct tr__operator_socket *socket;
    uint64_t peer; /* the number of another node's request, which is all it is for; 0: it has a pipe */
    uv_pipe_t pipe;
    uv_timer_t timer;
    uv_write_t write;
    uint8_t open_handles;
    bool closing;
    uint64_t turn_ns; /* since when it is the client's turn: to ask, or to read its answer */
    tr__operator_reader reader;
    char bytes[TR__OPERATOR_READ];
    size_t at, end; /* of `bytes`: read, not yet looked at */
    /* WAITING */
    uint64_t number; /* of its request; 0: none */
    const tr__operator_row *row;
    tr_addr to;           /* of a request for one actor */
    uint32_t first, left; /* the only loop asked; loops that haven't answered */
    bool relayed;         /* it is about another node: loop 0 asks that */
    bool answered[TR__LOOPS_MAX];
    json_t *answers[TR__LOOPS_MAX];
    /* WRITING */
    uint8_t head[4];
    char *text;
    bool last; /* close when it is written */
} tr__operator_client;

/* A loop's answer on its way; or another node's request. */
typedef struct tr__operator_answered {
    struct tr__operator_answered *next;
    uint64_t number;
    uint32_t loop;
    json_t *value;
    char *request; /* NULL: it is an answer */
} tr__operator_answered;

typedef struct tr__operator_socket {
    tr__control *control;
    tr_node *node;
    tr__operators operators;
    uv_pipe_t pipe;
    uv_async_t wake;
    char path[TR__OPERATOR_PATH_MAX];
    tr__operator_client *clients;
    uint32_t client_count;
    tr__operator_client *spare; /* memory for one more */
    bool waiting;               /* a connection waits for it */
    uint64_t next_number, started_ns;
    /* Any thread */
    pthread_mutex_t lock;
    bool shut;
    tr__operator_answered *answers, **answers_end;
} tr__operator_socket;

/* Who gives way to a new client: of those that had their turn for TR__OPERATOR_SILENCE the one that had it longest. A part of a
 * request doesn't count. NULL: nobody. */
tr__operator_client *tr__operator_silent(tr__operator_client *clients, uint64_t now_ns);
/* A connection is there to be accepted (a uv_connection_cb). */
void tr__operator_accept(uv_stream_t *listener, int status);
/* A loop's answer to the request of that number; taken, and dropped if nobody waits for it any more. */
void tr__operator_take_answer(tr__operator_socket *socket, uint64_t number, uint32_t loop, json_t *value);
/* Another node's request of that number. */
void tr__operator_take_request(tr__operator_socket *socket, uint64_t number, const char *text);
/* What a loop that doesn't answer is stuck in (operator/stuck_uv.c), as an answer to "why"; NULL: no memory. */
json_t *tr__operator_stuck(const tr__control *control, uint32_t loop, tr_addr to);
void tr__operator_client_close(tr__operator_client *client);

#endif
