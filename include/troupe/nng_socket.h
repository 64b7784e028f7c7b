/* The nng socket: an actor that owns one plain socket of nng (or nanomsg), so that Troupe talks to any program that has
 * one, in whatever language. It is for others' programs: between nodes there are connections, which lose nothing
 * silently.
 *
 *     tr_addr ask = tr_spawn(self, &tr_nng_socket,
 *                            &(tr_nng_opts){.protocol = "req", .dial = {(const char *[]){"tcp://127.0.0.1:5555"}, 1}});
 *     tr_future f = tr_ask(self, ask, TR_SECONDS(2), tr_nng_request, .data = {"hello", 5});
 *     const tr_nng_reply *reply;
 *     tr_err err = tr_await(self, f, tr_nng_reply, &reply);
 *
 * What it does, by `protocol`:
 *   req         an ask tr_nng_request is one request; answered by a tr_nng_reply
 *   rep         each request is an ask tr_nng_request to `consumer`, whose tr_nng_reply answers it
 *   surveyor    an ask tr_nng_request is one survey; answered, when its time is over, by a tr_nng_answers
 *   respondent  as rep, of surveys
 *   push, pub   tr_nng_send is given to nng
 *   pull, sub   what comes is a tr_nng_message to `consumer`
 *   pair, pair1, bus   both
 *
 * Nobody on the other side has to prove who he is, so only loopback (tcp, ws) and this machine (ipc, abstract, inproc)
 * may be listened on, unless `listen_anywhere` says that this is meant.
 *
 * Errors of an ask, besides those of any ask:
 *   TR_EINVAL     the protocol doesn't do that
 *   TR_ETOOBIG    more than send_max bytes
 *   TR_EDEADLINE  no answer came, or (tr_nng_send) nng didn't take it, in time: nobody may be connected
 *   TR_ERESET     req: the peer went away, and resend_ns is 0
 *   TR_EFULL      1,024 asks, or 64 MiB of them, wait for one of the `exchanges`
 *   TR_ENOMEM, TR_EIO, TR_ECLOSED */
#ifndef TROUPE_NNG_SOCKET_H
#define TROUPE_NNG_SOCKET_H

#include <troupe/actor.h>

/* The actor; its argument is a tr_nng_opts. A bad option ends it with TR_EINVAL, TR_EADDR or TR_EPERM, and an address
 * that can't be listened on with that error (TR_EADDRINUSE ...), each with a text. */
extern const tr_actor_def tr_nng_socket;

#define TR_NNG_URLS_MAX   16 /* to listen on, and to dial */
#define TR_NNG_TOPICS_MAX 256

/* A zero in a number is the default. URLs: "tcp://127.0.0.1:5555" (port 0 to listen: a free one, see tr_nng_status),
 * "ws://127.0.0.1:80/path", "ipc:///path", "abstract://name", "inproc://name". What is dialled may be a host's name; it is
 * resolved at each dial. */
TR_MESSAGE(
    tr_nng_opts, (string, protocol), (list, string, listen), (list, string, dial),
    (list, string, topics),  /* sub: beginnings of messages; "" is all, none is nothing */
    (addr, consumer),        /* who gets what comes unasked; the socket ends when it does (TR_ENOACTOR) */
    (addr, events),          /* who hears tr_nng_event; may be nobody */
    (bool, listen_anywhere), /* listen beyond loopback: everybody who reaches the port may talk to it */
    (string, encoding),     /* "cbor" or "json": other types of message may be sent, see below; "" for none */
    (u64, receive_max),     /* bytes of one message; a peer that sends more is cut; 1 MiB, at most 256 MiB */
    (u32, receive_ahead),   /* messages taken from nng before the consumer has room for them; 16 */
    (u64, send_max),        /* bytes of one message; 1 MiB, at most 256 MiB */
    (u32, send_ahead),      /* messages given to nng that it hasn't taken; 64, and send_max bytes of them */
    (u64, send_timeout_ns), /* so long nng may take to take one, before it is dropped; 0: for ever */
    (u32, exchanges),       /* asks, or requests, that go on at a time; 16, at most 256 */
    (u64, answer_timeout_ns), /* rep, respondent: so long the consumer may take; 30 s */
    (u64, survey_ns),         /* surveyor: how long answers are gathered; 1 s */
    (u64, resend_ns),         /* req: ask again (perhaps another peer) after so long; 0: never */
    (u64, backoff_ns),        /* before a dial after one that failed; 100 ms; it doubles up to */
    (u64, backoff_max_ns))    /* this; 5 s */

/* Messages to the socket. Sent to one with an encoding, a message of any other type is one, too: its fields as CBOR (an
 * array, by position) or JSON (an object, by name). */
TR_MESSAGE(tr_nng_send, (bytes, data))    /* may be asked: answered by tr_nng_sent when nng has taken it */
TR_MESSAGE(tr_nng_request, (bytes, data)) /* an ask: req and surveyor; to a consumer: rep and respondent */

/* Given to nng. That is all that it says: pub, bus and pair may drop it later. `peers`: so many were connected. */
TR_MESSAGE(tr_nng_sent, (u32, peers))
TR_MESSAGE(tr_nng_reply, (bytes, data))
TR_MESSAGE(tr_nng_answers, (list, bytes, answers),
           (u32, dropped)) /* dropped: beyond 1,024, or 16 receive_max */
/* To the consumer, in order. The next ones wait while its mailbox has no place. */
TR_MESSAGE(tr_nng_message, (bytes, data))

typedef enum tr_nng_event_kind {
    TR_NNG_UP,     /* a dial succeeded */
    TR_NNG_DOWN,   /* that connection ended; it is dialled again */
    TR_NNG_FAILED, /* a dial failed; it is tried again after `retry_ns` */
    TR_NNG_RELISTENED /* nng had stopped to accept on an ipc address: it listens anew, and its peers must dial again */
} tr_nng_event_kind;
/* To `events`; what finds its mailbox full is counted (events_lost). */
TR_MESSAGE(tr_nng_event, (u32, kind), (string, url), (u32, code), (string, text), (u64, retry_ns))

/* Ask how it is doing; answered by tr_nng_status. */
TR_MESSAGE(tr_nng_query, (bool, reset))              /* reset: count from zero again, after this answer */
TR_MESSAGE(tr_nng_status, (list, string, listening), /* where, with the ports that were free */
           (u32, peers),                             /* connections, dialled and accepted */
           (u32, unsent),                            /* given to nng and not taken yet */
           (u32, waiting),                           /* taken from nng, for a consumer that has no room */
           (u32, exchanges),                         /* asks or requests that go on */
           (u64, sent),                              /* taken by nng */
           (u64, sent_to_nobody), /* of these, while no peer was connected: pub and bus drop them */
           (u64, send_failed),    /* not taken in time, or with an error: dropped */
           (u64, received), (u64, delivered), /* from nng; to the consumer */
           (u64, undeliverable),              /* dropped: the consumer is gone, or its node */
           (u64, unanswered),              /* requests that the consumer didn't answer: its peer isn't told */
           (u64, answered), (u64, failed), /* asks */
           (u64, refused),                 /* messages that this protocol can't send, or too large: dropped */
           (u64, dials), (u64, dials_failed), (u64, cuts), (u64, relistened), (u64, events_lost))

#endif
