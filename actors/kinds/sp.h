/* A socket of nng's ("scalability protocols"), as an actor uses it: a seam. nng_sp*.c is the real one.
 *
 * The happy path: open -> listen, dial -> send, request -> tr__sp_wake comes -> event, take until there is none -> ...
 * -> close. One tr__sp_wake is in the owner's mailbox at a time; it says that there is something to fetch. A wake that was
 * sent before close may still arrive.
 *
 * Two queues are fetched. Events (event()) are bounded by what the owner has begun: one an outstanding send with a key,
 * exchange, or change of a dial. What came in (take(), then done() when it was handed on) is bounded here: nothing more is
 * received while `receive_ahead` messages, or receive_max bytes of them, are not done.
 *
 * All is called on the thread of the loop that opened it. Nothing here waits for a peer; close() ends later, elsewhere. */
#ifndef TR_ACTORS_KINDS_SP_H
#define TR_ACTORS_KINDS_SP_H

#include <troupe/nng_socket.h>

#include "actors/adapter.h"

#define TR__SP_URL_MAX 128 /* bytes with the NUL: nng's own limit */

typedef struct tr__sp tr__sp;

/* There is something to fetch. */
TR_MESSAGE(tr__sp_wake, (u64, unused))

typedef enum tr__sp_protocol {
    TR__SP_REQ,
    TR__SP_REP,
    TR__SP_PUB,
    TR__SP_SUB,
    TR__SP_PUSH,
    TR__SP_PULL,
    TR__SP_PAIR,
    TR__SP_PAIR1,
    TR__SP_BUS,
    TR__SP_SURVEYOR,
    TR__SP_RESPONDENT,
    TR__SP_PROTOCOLS
} tr__sp_protocol;

typedef struct tr__sp_opts {
    tr__sp_protocol protocol;
    const char *const *topics; /* borrowed for open() */
    size_t topic_count;
    uint64_t receive_max;
    uint32_t receive_ahead;
    uint64_t send_max;
    uint32_t send_ahead;
    uint32_t exchanges; /* 0: the protocol has none */
    uint64_t resend_ns; /* 0: never */
} tr__sp_opts;

typedef enum tr__sp_event_kind {
    TR__SP_SENT,       /* nng took (code TR_OK), or didn't take, the one with this key */
    TR__SP_ANSWER,     /* of exchange `index`: data; req: the only one. Of a surveyor, more may follow */
    TR__SP_OVER,       /* exchange `index` is free again; an error if it has no (more) answer */
    TR__SP_ROOM,       /* send() said TR_EFULL, and half of it has been taken since */
    TR__SP_UP,         /* dial `index` succeeded */
    TR__SP_DOWN,       /* ... its connection ended */
    TR__SP_FAILED,     /* ... or it failed */
    TR__SP_RELISTENED, /* `index` of those listened on had to be renewed; an error: it couldn't be */
    TR__SP_BROKEN      /* nothing is received any more */
} tr__sp_event_kind;

typedef struct tr__sp_event {
    tr__sp_event_kind kind;
    uint32_t index;
    uint64_t key;
    tr_bytes data; /* borrowed until the next call */
    tr_error error;
} tr__sp_event;

/* What came in: a message, or a request (rep, respondent) of that exchange. Data: until done(). */
typedef struct tr__sp_incoming {
    uint32_t exchange;
    tr_bytes data;
} tr__sp_incoming;

typedef struct tr__sp_counts {
    uint32_t peers, unsent, waiting;
    uint64_t unsent_bytes;
    uint64_t sent, sent_to_nobody, send_failed, received;
    uint64_t lost; /* came in, and there was no memory to keep it */
} tr__sp_counts;

typedef struct tr__sp_seam {
    /* NULL with *error. */
    tr__sp *(*open)(tr__loop *loop, tr_addr owner, const tr__sp_opts *opts, tr_error *error);
    /* Listen; `bound` (TR__SP_URL_MAX bytes) is the URL with the port that was free. */
    tr_err (*listen)(tr__sp *sp, const char *url, char *bound, tr_error *error);
    /* Begin one attempt; index: 0, 1, 2 ..., always with the same URL, not before the last one of it FAILED or is DOWN.
     * TR_ENOMEM, TR_EIO. */
    tr_err (*dial)(tr__sp *sp, uint32_t index, const char *url, tr_error *error);
    /* Have a copy of it sent, in order; with a key other than 0 a SENT tells of it. timeout_ns: from when it is the next
     * one; 0: none. TR_EFULL: `send_ahead` of them, or send_max bytes, wait; a ROOM comes. TR_ENOMEM. */
    tr_err (*send)(tr__sp *sp, uint64_t key, tr_bytes data, uint64_t timeout_ns);
    /* req, surveyor: begin exchange `index` (it is free): OVER comes, in that time or a little later. TR_ENOMEM. */
    tr_err (*request)(tr__sp *sp, uint32_t index, tr_bytes data, uint64_t timeout_ns);
    /* Its answer isn't wanted any more: OVER comes soon. */
    void (*abandon)(tr__sp *sp, uint32_t index);
    /* rep, respondent: answer the request that was taken, NULL: don't; then the exchange receives the next. TR_ENOMEM: it
     * wasn't answered. */
    tr_err (*reply)(tr__sp *sp, uint32_t index, const tr_bytes *data);
    /* The next event; false: there is none. */
    bool (*event)(tr__sp *sp, tr__sp_event *event);
    /* The oldest that came in and isn't done; false: there is none. It stays the oldest until done(). */
    bool (*take)(tr__sp *sp, tr__sp_incoming *incoming);
    void (*done)(tr__sp *sp);
    tr__sp_counts (*counts)(tr__sp *sp, bool reset);
    /* Not yours any more; NULL is fine. */
    void (*close)(tr__sp *sp);
} tr__sp_seam;

#endif
