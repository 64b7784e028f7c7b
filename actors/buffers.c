/* The counted buffers that an actor holds: those it made, and those it keeps from messages. What it still holds at its
 * end is dropped for it. The actor's loop. */
#include "actors/buffers.h"

#include <troupe/troupe.h>

#include "actors/loop.h"
#include "base/hash_table.h"

/* However often the actor holds it, the buffer counts it once. */
typedef struct tr__held {
    const tr_buffer *buffer;
    uint64_t times;
    UT_hash_handle hh;
} held;

/* Takes over one hold of the buffer; false: no memory, and it doesn't. */
static bool put(tr_actor *self, const tr_buffer *buffer)
{
    tr__extras *extras = tr__extras_of(tr__owner(self), self);
    held *entry = extras ? tr__zalloc(sizeof(*entry)) : NULL;
    if (!entry)
        return false;
    entry->buffer = buffer;
    entry->times = 1;
    HASH_ADD_PTR(extras->buffers, buffer, entry);
    if (tr__hash_added(entry))
        return true;
    tr__free(entry);
    return false;
}

static held *find(const tr_actor *self, const tr_buffer *buffer)
{
    held *entry = NULL;
    if (self->extras)
        HASH_FIND_PTR(self->extras->buffers, &buffer, entry);
    return entry;
}

const tr_buffer *tr_buffer_make(tr_actor *self, const void *data, size_t size)
{
    const tr_buffer *buffer = tr__buffer_make(tr__owner(self)->node->buffers, data, size);
    if (buffer && (size == 0 || put(self, buffer)))
        return buffer;
    if (buffer)
        tr__buffer_drop(buffer);
    tr__self_fail(self, TR_ENOMEM, "no memory for a buffer of %zu bytes", size);
    return NULL;
}

const tr_buffer *tr_buffer_adopt(tr_actor *self, void *data, size_t size,
                                 void (*free_data)(void *data, size_t size, void *context), void *context)
{
    tr__buffers *account = tr__owner(self)->node->buffers;
    const tr_buffer *buffer = tr__buffer_adopt(account, data, size, free_data, context);
    if (buffer && put(self, buffer))
        return buffer;
    if (buffer)
        tr__buffer_abandon(buffer);
    tr__self_fail(self, TR_ENOMEM, "no memory for a buffer of %zu bytes", size);
    return NULL;
}

tr_err tr_buffer_hold(tr_actor *self, const tr_buffer *buffer)
{
    if (!buffer || buffer == &tr__buffer_empty)
        return TR_OK;
    held *entry = find(self, buffer);
    if (entry) {
        entry->times++;
        return TR_OK;
    }
    if (!put(self, buffer))
        return tr__self_fail(self, TR_ENOMEM, "no memory to hold a buffer");
    tr__buffer_hold(buffer);
    return TR_OK;
}

int tr_buffer_fd(const tr_buffer *buffer)
{
    return tr__buffer_fd(buffer);
}

static void forget(tr__extras *extras, held *entry)
{
    HASH_DEL(extras->buffers, entry);
    tr__buffer_drop(entry->buffer);
    tr__free(entry);
}

tr_err tr_buffer_release(tr_actor *self, const tr_buffer *buffer)
{
    if (!buffer || buffer == &tr__buffer_empty)
        return TR_OK;
    held *entry = find(self, buffer);
    if (!entry)
        return tr__self_fail(self, TR_EINVAL, "tr_buffer_release: %s doesn't hold that buffer",
                             self->def->name);
    if (--entry->times == 0)
        forget(self->extras, entry);
    return TR_OK;
}

void tr__buffers_end(tr__extras *extras)
{
    held *entry, *next;
    HASH_ITER(hh, extras->buffers, entry, next)
    {
        forget(extras, entry);
    }
}
