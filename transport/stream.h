/* The seam between connections and what carries their bytes: listen, dial, start, send, close; upcalls
 * accepted, dialled, received, sent, down. One set is nng's byte streams (nng_stream.c), another the tests'
 * memory (tests/kit/memory_stream.c); the simulator's network is a third.
 *
 * Threads. The functions are called by the control thread only (one thread for all that one owner made), but
 * for `send` and `send_now`, which any thread may call as long as no send is under way, and `sent` as well. Upcalls come on
 * ANY thread, never from within one of the functions; they pass on what they are given and return without
 * waiting.
 *
 * Life of a stream: accepted or dialled (an upcall hands it over; who takes it owes a close) -> start ->
 * send* -> close -> free. Between start and close it always receives. When anything goes wrong it reports
 * `down` exactly once, behind the last `received`; a `sent` may still come after it and means nothing. The
 * owner closes then as well. close, unlisten and undial wait for upcalls under way; none comes after they
 * return (what was passed on before is still on its way to the owner). */
#ifndef TR_TRANSPORT_STREAM_H
#define TR_TRANSPORT_STREAM_H

#include "transport/address.h"
#include "transport/splitter.h"

typedef struct tr__stream tr__stream;     /* each implementation has its own */
typedef struct tr__listener tr__listener; /* likewise */
typedef struct tr__dial tr__dial;         /* an attempt to connect; likewise */

#define TR__IOV_MAX 8

typedef struct tr__iov {
    const void *bytes;
    size_t length;
} tr__iov;

typedef struct tr__stream_upcalls {
    /* Whole frames (checked as splitter.h says, checksums not). The slice is the callee's. */
    void (*received)(void *context, tr__slice *slice);
    /* All bytes of the one send under way were given away: their memory is the owner's again. It may send the
     * next, as its last act on the stream. */
    void (*sent)(void *context, size_t bytes);
    /* Once; nothing more is received. The stream keeps what it was sending until close. */
    void (*down)(void *context, const tr_error *error);
} tr__stream_upcalls;

/* Somebody connected. True: the stream is the callee's now; false: no room for it, it is closed at once. */
typedef bool tr__accepted_fn(void *context, tr__stream *stream);
/* Once a dial: the stream (the callee's), or NULL and why not (TR_EREFUSED, TR_EDEADLINE, TR_EADDR ...). */
typedef void tr__dialled_fn(void *context, tr__stream *stream, const tr_error *error);

typedef struct tr__net tr__net;
struct tr__net {
    /* Listen; port 0 takes a free one. A name is resolved and refused (TR_EPERM) unless all it resolves to is
     * loopback, or address->anywhere; whether a numeric address may be listened on is the caller's to judge. TR_EADDRINUSE names
     * the option; TR_EADDR, TR_EPERM, TR_ENOMEM, TR_EIO. `accepted` may come before it returns. */
    tr_err (*listen)(tr__net *net, const tr__net_address *address, tr__accepted_fn *accepted, void *context,
                     tr__listener **listener, tr_error *error);
    /* The port it really listens on. */
    uint16_t (*port)(tr__listener *listener);
    /* Stop listening; the listener is gone. */
    void (*unlisten)(tr__listener *listener);
    /* Try once to connect, for at most timeout_ns; names are resolved now. `dialled` comes exactly once,
     * unless undial comes first. */
    tr_err (*dial)(tr__net *net, const tr__net_address *address, uint64_t timeout_ns, tr__dialled_fn *dialled,
                   void *context, tr__dial **dial, tr_error *error);
    /* Give up the attempt, or forget one that is over: owed once for every dial. */
    void (*undial)(tr__dial *dial);

    /* Begin to receive, by the bounds of `limit`, which is called first. TR_ENOMEM: no upcall will come. */
    tr_err (*start)(tr__stream *stream, const tr__stream_upcalls *upcalls, void *context, tr_error *error);
    /* The largest frame to take; holds for what is received from now on. */
    void (*limit)(tr__stream *stream, size_t frame_max);
    /* Send these bytes in order: 1 to TR__IOV_MAX pieces, none empty, borrowed until `sent` or close. One
     * send at a time. An error here means the same as `down`, which still comes; or that it is closed. */
    tr_err (*send)(tr__stream *stream, const tr__iov *iov, unsigned count, tr_error *error);
    /* Close. Bytes that were sent before are still delivered if the other side reads them. Only the sends and
     * free may be called after it, and sends do nothing. */
    void (*close)(tr__stream *stream);
    /* After close, when nobody uses it any more. Any thread. */
    void (*free)(tr__stream *stream);
    /* As `send`, but true if all bytes were given away by the time that it returns: then no `sent` comes of it. An error is
     * told by `down`. May be NULL. */
    bool (*send_now)(tr__stream *stream, const tr__iov *iov, unsigned count);
    /* From where an accepted stream comes: a number that is the same for who could as well be the same (an IPv4 address, an
     * IPv6 network of 64 bits). May be NULL: all come from the same. */
    uint64_t (*origin)(tr__stream *stream);
};

#endif
