/* See buffer.h. Any thread; only making one can fail, for memory. */
#include "mailbox/buffer.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"

typedef struct counted {
    tr_buffer seen; /* what actors see */
    _Atomic uint64_t holders;
    tr__buffers *account;
    void (*free_data)(void *data, size_t size,
                      void *context); /* NULL: the bytes are in this block, or free()'s */
    void *context;
    int fd;                  /* a file that has the bytes; -1: none */
    _Alignas(16) char own[]; /* the bytes of one that was copied */
} counted;

const tr_buffer tr__buffer_empty = {"", 0};

static counted *counted_of(const tr_buffer *buffer)
{
    return (counted *)(uintptr_t)buffer;
}

/* ---- accounts ------------------------------------------------------------------------------------------ */

tr__buffers *tr__buffers_open(void)
{
    tr__buffers *account = tr__zalloc(sizeof(*account));
    if (account) {
        atomic_store_explicit(&account->max, UINT64_MAX, memory_order_relaxed);
        atomic_store_explicit(&account->users, 1, memory_order_relaxed);
    }
    return account;
}

void tr__buffers_close(tr__buffers *account)
{
    /* acq_rel: whoever frees it has seen what all others did with it */
    if (account && atomic_fetch_sub_explicit(&account->users, 1, memory_order_acq_rel) == 1)
        tr__free(account);
}

static void charge(counted *buffer, tr__buffers *account)
{
    buffer->account = account;
    if (!account)
        return;
    atomic_fetch_add_explicit(&account->users, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&account->bytes, buffer->seen.size, memory_order_relaxed);
}

/* ---- buffers ------------------------------------------------------------------------------------------- */

const tr_buffer *tr__buffer_make(tr__buffers *account, const void *data, size_t size)
{
    if (size == 0)
        return &tr__buffer_empty;
    counted *buffer = size < SIZE_MAX - sizeof(*buffer) ? tr__large_alloc(sizeof(*buffer) + size) : NULL;
    if (!buffer)
        return NULL;
    *buffer = (counted){.seen = {buffer->own, size}, .holders = 1, .fd = -1};
    memcpy(buffer->own, data, size);
    charge(buffer, account);
    return &buffer->seen;
}

const tr_buffer *tr__buffer_adopt(tr__buffers *account, void *data, size_t size,
                                  void (*free_data)(void *data, size_t size, void *context), void *context)
{
    counted *buffer = tr__alloc(sizeof(*buffer));
    if (!buffer)
        return NULL;
    *buffer =
        (counted){.seen = {data, size}, .holders = 1, .free_data = free_data, .context = context, .fd = -1};
    charge(buffer, account);
    return &buffer->seen;
}

void tr__buffer_set_fd(const tr_buffer *buffer, int fd)
{
    counted_of(buffer)->fd = fd;
}

int tr__buffer_fd(const tr_buffer *buffer)
{
    return !buffer || buffer == &tr__buffer_empty ? -1 : counted_of(buffer)->fd;
}

void tr__buffer_hold(const tr_buffer *buffer)
{
    if (buffer != &tr__buffer_empty)
        /* relaxed: who can hold it once more holds it already, or its message does */
        atomic_fetch_add_explicit(&counted_of(buffer)->holders, 1, memory_order_relaxed);
}

static void uncharge(counted *buffer)
{
    if (!buffer->account)
        return;
    atomic_fetch_sub_explicit(&buffer->account->bytes, buffer->seen.size, memory_order_relaxed);
    tr__buffers_close(buffer->account);
}

void tr__buffer_drop(const tr_buffer *seen)
{
    if (!seen || seen == &tr__buffer_empty)
        return;
    counted *buffer = counted_of(seen);
    /* acq_rel: all have read it before it is freed */
    uint64_t before = atomic_fetch_sub_explicit(&buffer->holders, 1, memory_order_acq_rel);
    tr__check(before > 0, "a buffer of %zu bytes is dropped by one who doesn't hold it", seen->size);
    if (before > 1)
        return;
    uncharge(buffer);
    void *data = (void *)(uintptr_t)seen->data;
    if (buffer->free_data)
        buffer->free_data(data, seen->size, buffer->context);
    else if (data != buffer->own)
        tr__free(data);
    tr__large_free(buffer);
}

void tr__buffer_abandon(const tr_buffer *seen)
{
    counted *buffer = counted_of(seen);
    uncharge(buffer);
    tr__large_free(buffer);
}
