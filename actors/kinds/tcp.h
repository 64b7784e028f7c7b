/* TCP connections outwards, as an actor uses them: a table of functions to call, and messages that come back.
 *
 * The happy path: open -> tr__tcp_up -> write, tr__tcp_data, consumed ... -> close. Each connection that was
 * opened is closed exactly once by its owner, whatever happened. Until then at most one tr__tcp_down comes,
 * as its last message. After close nothing is sent any more, but what is in the mailbox already still
 * arrives: the key (chosen by the owner, never used twice) tells them apart.
 *
 * Possible failures: a name that doesn't resolve, no answer, refused, cut, no memory: all are one
 * tr__tcp_down with code and text, and all that was received before comes before it. There is no time-out
 * here: the owner closes when it has waited long enough.
 *
 * Bounds: at most TR__TCP_UNREAD bytes lie in the owner's mailbox; then reading pauses until they are
 * consumed. What is written is buffered without a bound: the owner looks at unsent(), and stops above
 * TR__TCP_UNSENT until tr__tcp_writable. */
#ifndef TR_ACTORS_KINDS_TCP_H
#define TR_ACTORS_KINDS_TCP_H

#include "actors/adapter.h"

#define TR__TCP_UNREAD (256u * 1024)
#define TR__TCP_UNSENT (256u * 1024)

typedef struct tr__tcp tr__tcp;

TR_MESSAGE(tr__tcp_up, (u64, key))
TR_MESSAGE(tr__tcp_data, (u64, key), (bytes, data))
TR_MESSAGE(tr__tcp_writable, (u64, key)) /* unsent() was above TR__TCP_UNSENT and is 0 now */
/* TR_ECLOSED: the other side closed in order. The text says what happened, without the address. */
TR_MESSAGE(tr__tcp_down, (u64, key), (u32, code), (string, text))

/* All of it is called on the thread of the loop that opened the connection. */
typedef struct tr__tcp_seam {
    /* Begin to connect; the messages go to `owner` on this loop. host: a name or a numeric address, without
     * brackets. NULL with *error: TR_ENOMEM, TR_EIO. */
    tr__tcp *(*open)(tr__loop *loop, tr_addr owner, uint64_t key, const char *host, uint16_t port,
                     tr_error *error);
    /* Copies `data` and sends it, in order, gathered with what is written in the same turn; only while up.
     * TR_ENOMEM: nothing of it will be sent. */
    tr_err (*write)(tr__tcp *tcp, const void *data, size_t size);
    /* Bytes written that the system hasn't taken yet. */
    size_t (*unsent)(const tr__tcp *tcp);
    /* The owner is done with this many bytes of tr__tcp_data. */
    void (*consumed)(tr__tcp *tcp, size_t bytes);
    /* Close at once, what is unsent is dropped; it is not yours any more. NULL is fine. */
    void (*close)(tr__tcp *tcp);
} tr__tcp_seam;

#endif
