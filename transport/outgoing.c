/* See outgoing.h. The owner's thread; what can fail is memory, and then nothing has changed. */
#include "transport/outgoing.h"

#include "base/check.h"
#include "base/mem.h"

static void free_chain(tr__batch *batch)
{
    while (batch) {
        tr__batch *next = batch->next;
        tr__free(batch);
        batch = next;
    }
}

void tr__outgoing_fini(tr__outgoing *out)
{
    free_chain(out->open);
    free_chain(out->first);
    free_chain(out->sending);
    free_chain(out->spare);
    *out = (tr__outgoing){0};
}

void tr__outgoing_drop(tr__outgoing *out)
{
    free_chain(out->open);
    free_chain(out->first);
    out->open = out->first = out->last = NULL;
    out->queued = 0;
    for (const tr__batch *batch = out->sending; batch; batch = batch->next)
        out->queued += batch->length;
}

static bool fits_open(const tr__outgoing *out, size_t length)
{
    return out->open && length <= out->open->capacity - out->open->length;
}

size_t tr__outgoing_cost(const tr__outgoing *out, size_t length)
{
    bool joins = fits_open(out, length) && out->open->messages > 0;
    return joins ? length : length + TR__BATCH_OVERHEAD;
}

uint8_t *tr__outgoing_reserve(tr__outgoing *out, size_t length)
{
    if (!fits_open(out, length)) {
        size_t capacity = TR__FRAME_SIZE_NORMAL;
        if (length + TR__BATCH_OVERHEAD > capacity)
            capacity = length + TR__BATCH_OVERHEAD;
        tr__batch *batch = capacity == TR__FRAME_SIZE_NORMAL ? out->spare : NULL;
        if (batch)
            out->spare = NULL;
        else if (!(batch = tr__alloc(sizeof *batch + capacity)))
            return NULL;
        tr__outgoing_close_batch(out);
        tr__free(out->open); /* one that was reserved and never committed to */
        *batch = (tr__batch){.capacity = (uint32_t)capacity, .length = TR__BATCH_OVERHEAD};
        out->open = batch;
    }
    return out->open->bytes + out->open->length;
}

void tr__outgoing_commit(tr__outgoing *out, size_t length)
{
    tr__check(length > 0 && fits_open(out, length), "commit of %zu bytes that weren't reserved", length);
    out->queued += tr__outgoing_cost(out, length);
    out->open->length += (uint32_t)length;
    out->open->messages++;
}

void tr__outgoing_close_batch(tr__outgoing *out)
{
    tr__batch *batch = out->open;
    if (!batch || batch->messages == 0)
        return;
    out->open = NULL;
    tr__frame_put_count(batch->bytes + TR__FRAME_HEADER, batch->messages);
    tr__frame_seal(batch->bytes, TR__FRAME_BATCH, batch->length - TR__FRAME_HEADER, ++out->sequence);
    if (out->first)
        out->last->next = batch;
    else
        out->first = batch;
    out->last = batch;
}

unsigned tr__outgoing_take(tr__outgoing *out, tr__iov *iov, unsigned count)
{
    tr__check(!out->sending, "two sends at a time");
    unsigned taken = 0;
    tr__batch **end = &out->sending;
    while (out->first && taken < count) {
        tr__batch *batch = out->first;
        out->first = batch->next;
        batch->next = NULL;
        iov[taken++] = (tr__iov){batch->bytes, batch->length};
        *end = batch;
        end = &batch->next;
    }
    return taken;
}

void tr__outgoing_sent(tr__outgoing *out)
{
    while (out->sending) {
        tr__batch *batch = out->sending;
        out->sending = batch->next;
        out->queued -= batch->length;
        batch->next = NULL;
        if (!out->spare && batch->capacity == TR__FRAME_SIZE_NORMAL)
            out->spare = batch;
        else
            tr__free(batch);
    }
}
