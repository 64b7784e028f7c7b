/* Counted buffers: bytes that never change, shared by whoever holds them, on any loop. Messages hold those in their
 * fields, actors those they made or kept (actors/buffers.c). The last holder frees the bytes, on its own thread.
 *
 * C1  A buffer is live while its count is above 0; each holder, a message or an actor, counts once.
 * C2  The bytes of a node's live buffers, and of its large messages, are its account's sum: charged when one is made, taken
 *     off when it ends. One whose bytes are in a file (actors/remote/spool.h) is charged to what files hold instead. */
#ifndef TR_MAILBOX_BUFFER_H
#define TR_MAILBOX_BUFFER_H

#include <stdatomic.h>
#include <stdbool.h>

#include <troupe/message.h>

/* A node's account. It outlives its node by the buffers that another node of the process still holds. */
typedef struct tr__buffers {
    _Atomic uint64_t bytes;              /* of live ones, and of large messages */
    _Atomic uint64_t max;                /* the node's message budget (actors/budget.c) */
    _Atomic uint64_t users;              /* the node, and each live buffer */
    _Atomic uint64_t spooled, spool_max; /* bytes in files, and the most of them; only added to by loop 0 */
    _Atomic uint32_t spool_files;        /* likewise, how many there are */
} tr__buffers;

/* NULL: no memory. */
tr__buffers *tr__buffers_open(void);
/* The node's part is over; NULL is fine. */
void tr__buffers_close(tr__buffers *account);
/* Any thread; a moment later it may be another. */
static inline uint64_t tr__buffers_bytes(const tr__buffers *account)
{
    return atomic_load_explicit(&((tr__buffers *)account)->bytes, memory_order_relaxed);
}
static inline bool tr__buffers_full(const tr__buffers *account)
{
    return tr__buffers_bytes(account) >
           atomic_load_explicit(&((tr__buffers *)account)->max, memory_order_relaxed);
}

static inline uint64_t tr__buffers_max(const tr__buffers *account)
{
    return atomic_load_explicit(&((tr__buffers *)account)->max, memory_order_relaxed);
}
/* With so many bytes more. */
static inline bool tr__buffers_would_exceed(const tr__buffers *account, size_t more)
{
    uint64_t max = tr__buffers_max(account);
    return more > max || tr__buffers_bytes(account) > max - more;
}
/* A large message is made, and is no more. Any thread. */
static inline void tr__buffers_charge(tr__buffers *account, size_t bytes)
{
    atomic_fetch_add_explicit(&account->bytes, bytes, memory_order_relaxed);
}
static inline void tr__buffers_refund(tr__buffers *account, size_t bytes)
{
    atomic_fetch_sub_explicit(&account->bytes, bytes, memory_order_relaxed);
}

/* What a field without a buffer holds once its message was made: of no bytes, and for ever. */
extern const tr_buffer tr__buffer_empty;

/* A buffer with a copy of `data`, held once. NULL: no memory. Of no bytes: tr__buffer_empty. `account` may be NULL:
 * charged to nobody. */
const tr_buffer *tr__buffer_make(tr__buffers *account, const void *data, size_t size);
/* One of memory that is handed over: free_data(data, size, context) ends it, NULL: free(data). NULL: no memory, and it is
 * still the caller's. */
const tr_buffer *tr__buffer_adopt(tr__buffers *account, void *data, size_t size,
                                  void (*free_data)(void *data, size_t size, void *context), void *context);
/* Its bytes are in that file as well, from its beginning on; before anybody else has it. */
void tr__buffer_set_fd(const tr_buffer *buffer, int fd);
/* -1: they are in none. NULL is fine. */
int tr__buffer_fd(const tr_buffer *buffer);
/* One more holder, and one less (NULL is fine). Any thread. */
void tr__buffer_hold(const tr_buffer *buffer);
void tr__buffer_drop(const tr_buffer *buffer);
/* The reverse of adopting, by its only holder: the bytes stay, and are the caller's again. */
void tr__buffer_abandon(const tr_buffer *buffer);

#endif
