/* The inside of the nng socket's actor, which four files share: sp_socket.c (life, what comes to whom), sp_asks.c (asks and
 * requests), sp_flow.c (what is sent and comes without an answer), sp_dials.c (dials, events).
 *
 * O1  each ask that was taken is answered once: by its exchange's OVER, by a cancel, or at the end
 * O2  what was taken from the seam is handed on in order, and done() before the next
 * O3  a dial is under way, up, or its timer runs */
#ifndef TR_ACTORS_KINDS_SP_ACTOR_H
#define TR_ACTORS_KINDS_SP_ACTOR_H

#include "actors/kinds/sp.h"

typedef struct tr__sp_role {
    const char *word;
    bool asks, serves, sends, receives;
} tr__sp_role;

typedef enum tr__sp_encoding { TR__SP_NONE, TR__SP_CBOR, TR__SP_JSON } tr__sp_encoding;

/* An ask that waits for an exchange. */
typedef struct tr__sp_waiting {
    struct tr__sp_waiting *next;
    tr_msg *msg;
} tr__sp_waiting;

typedef struct tr__sp_ask {
    tr_msg *msg; /* asking: kept; NULL: free, or abandoned (`busy` says) */
    bool busy;   /* the seam has it; serving: the consumer has it */
    tr_bytes *answers;
    size_t count, room, bytes;
    uint32_t dropped;
} tr__sp_ask;

typedef struct tr__sp_target {
    char url[TR__SP_URL_MAX];
    uint64_t backoff_ns, up_since_ns;
} tr__sp_target;

/* A tr_nng_send that was asked: its message waits for the SENT of that key. */
typedef struct tr__sp_given {
    struct tr__sp_given *next;
    tr_msg *msg;
    uint64_t key;
} tr__sp_given;

typedef struct tr__sp_actor {
    tr_actor *self; /* of the call under way */
    const tr__sp_seam *seam;
    tr__sp *sp;
    const tr__sp_role *role;
    tr__sp_encoding encoding;
    tr_addr consumer, events;
    uint64_t consumer_monitor;
    uint64_t receive_max, send_max, send_timeout_ns, answer_timeout_ns, survey_ns, backoff_ns, backoff_max_ns;
    uint32_t exchanges, receive_ahead;
    bool consumer_full; /* a tr_writable or a tr__sp_again will come */
    bool deferred;      /* sends wait for a ROOM */
    tr__sp_ask *asks;   /* one an exchange */
    tr__sp_waiting *waiting, **waiting_end;
    uint32_t waiting_count;
    size_t waiting_bytes;
    tr__sp_given *given;
    uint64_t next_key;
    uint32_t listen_count, dial_count;
    char (*listening)[TR__SP_URL_MAX];
    tr__sp_target *targets;
    tr_nng_status counts; /* what the seam doesn't count */
} tr__sp_actor;

/* A dial's pause is over. */
TR_MESSAGE(tr__sp_redial, (u32, index))
/* Try the consumer again. */
TR_MESSAGE(tr__sp_again, (u32, unused))

/* sp_flow.c */
/* The bytes that a message is; *owned, if not NULL, is to be freed. TR_EINVAL: none, with this encoding; TR_ETOOBIG,
 * TR_ENOMEM; told by tr_last_error. */
tr_err tr__sp_bytes_of(tr__sp_actor *c, const tr_msg *msg, tr_bytes *bytes, void **owned);
void tr__sp_on_send(tr__sp_actor *c, const tr_msg *msg);
void tr__sp_on_sent(tr__sp_actor *c, const tr__sp_event *event);
void tr__sp_on_room(tr__sp_actor *c);
void tr__sp_pump(tr__sp_actor *c); /* hand on what came, while the consumer has room */
void tr__sp_refuse(tr__sp_actor *c, const tr_msg *msg, tr_err code, const char *text);
void tr__sp_flow_stop(tr__sp_actor *c);

/* sp_asks.c */
void tr__sp_on_request(tr__sp_actor *c, const tr_msg *msg);
void tr__sp_on_answer(tr__sp_actor *c, const tr__sp_event *event);
void tr__sp_on_over(tr__sp_actor *c, const tr__sp_event *event);
void tr__sp_on_canceled(tr__sp_actor *c, const tr_canceled *canceled);
/* Ask the consumer; what tr_send would say. */
tr_err tr__sp_serve(tr__sp_actor *c, const tr__sp_incoming *incoming);
void tr__sp_asks_stop(tr__sp_actor *c);

/* sp_dials.c */
void tr__sp_dial_all(tr__sp_actor *c);
void tr__sp_on_redial(tr__sp_actor *c, const tr__sp_redial *redial);
void tr__sp_on_dial(tr__sp_actor *c, const tr__sp_event *event);
void tr__sp_on_relistened(tr__sp_actor *c, const tr__sp_event *event);

#endif
