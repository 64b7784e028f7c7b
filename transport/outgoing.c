/* See outgoing.h. What can fail is memory, and then nothing has changed. */
#include "transport/outgoing.h"

#include "base/check.h"
#include "base/mem.h"

static tr__batch *batch_of(tr__mpsc_node *node)
{
    return (tr__batch *)((char *)node - offsetof(tr__batch, node));
}

static void free_chain(tr__mpsc_node *node)
{
    while (node) {
        tr__mpsc_node *next = node->next;
        tr__free(batch_of(node));
        node = next;
    }
}

void tr__outgoing_init(tr__outgoing *out, bool sealed)
{
    *out = (tr__outgoing){.overhead = TR__BATCH_OVERHEAD + (sealed ? TR__FRAME_TAG : 0)};
    out->ready_end = &out->ready;
}

void tr__outgoing_fini(tr__outgoing *out)
{
    tr__free(out->open);
    free_chain(tr__mpsc_take(&out->closed));
    free_chain(out->ready);
    free_chain(out->sending);
    tr__spares_fini(&out->spares);
    *out = (tr__outgoing){0};
}

static bool is_sealed(const tr__outgoing *out)
{
    return out->overhead > TR__BATCH_OVERHEAD;
}

static bool fits_open(const tr__outgoing *out, size_t length)
{
    return out->open && length <= out->open->capacity - out->open->length;
}

size_t tr__outgoing_cost(const tr__outgoing *out, size_t length)
{
    bool joins = fits_open(out, length) && out->open->messages > 0;
    return joins ? length : length + out->overhead;
}

uint8_t *tr__outgoing_reserve(tr__outgoing *out, size_t length)
{
    if (!fits_open(out, length)) {
        size_t capacity = TR__FRAME_SIZE_NORMAL;
        if (length + TR__BATCH_OVERHEAD > capacity)
            capacity = length + TR__BATCH_OVERHEAD;
        tr__batch *batch = capacity == TR__FRAME_SIZE_NORMAL ? tr__spares_take(&out->spares) : NULL;
        if (!batch && !(batch = tr__alloc(sizeof *batch + capacity + TR__FRAME_TAG)))
            return NULL;
        tr__outgoing_close_batch(out);
        tr__free(out->open); /* one that was reserved and never committed to */
        *batch = (tr__batch){.capacity = (uint32_t)capacity, .length = TR__BATCH_OVERHEAD};
        out->open = batch;
    }
    return out->open->bytes + out->open->length;
}

size_t tr__outgoing_commit(tr__outgoing *out, size_t length, uint32_t messages)
{
    tr__check(length > 0 && fits_open(out, length), "commit of %zu bytes that weren't reserved", length);
    size_t cost = tr__outgoing_cost(out, length);
    out->room = 0;
    out->open->length += (uint32_t)length;
    out->open->messages += messages;
    return cost;
}

void tr__outgoing_allow(tr__outgoing *out, size_t credit)
{
    size_t left = out->open ? out->open->capacity - out->open->length : 0;
    out->room = !left || !out->open->messages ? 0 : credit < left ? credit : left;
}

void tr__outgoing_close_batch(tr__outgoing *out)
{
    tr__batch *batch = out->open;
    out->room = 0;
    if (!batch || batch->messages == 0)
        return;
    out->open = NULL;
    tr__frame_put_count(batch->bytes + TR__FRAME_HEADER, batch->messages);
    uint32_t body = batch->length - TR__FRAME_HEADER;
    if (is_sealed(out))
        tr__frame_put_header(batch->bytes, TR__FRAME_BATCH, body, ++out->sequence);
    else
        tr__frame_finish(batch->bytes, TR__FRAME_BATCH, body, ++out->sequence);
    /* Before it can be taken, so it is there to be taken off; with the room for a tag, which the sender adds. */
    atomic_fetch_add_explicit(&out->queued, batch->length + out->overhead - TR__BATCH_OVERHEAD,
                              memory_order_relaxed);
    tr__mpsc_push(&out->closed, &batch->node);
}

bool tr__outgoing_waits(const tr__outgoing *out)
{
    return out->ready || !tr__mpsc_is_empty(&out->closed);
}

unsigned tr__outgoing_take(tr__outgoing *out, tr__seal *seal, tr__iov *iov, unsigned count)
{
    tr__check(!out->sending, "two sends at a time");
    unsigned taken = 0;
    *out->ready_end = tr__mpsc_take(&out->closed);
    while (*out->ready_end)
        out->ready_end = &(*out->ready_end)->next;
    tr__mpsc_node **end = &out->sending;
    while (out->ready && taken < count) {
        tr__mpsc_node *node = out->ready;
        out->ready = node->next;
        node->next = NULL;
        tr__batch *batch = batch_of(node);
        if (is_sealed(out))
            batch->length = (uint32_t)tr__seal_close(seal, batch->bytes);
        iov[taken++] = (tr__iov){batch->bytes, batch->length};
        out->taken++;
        *end = node;
        end = &node->next;
    }
    if (!out->ready)
        out->ready_end = &out->ready;
    return taken;
}

void tr__outgoing_sent(tr__outgoing *out)
{
    while (out->sending) {
        tr__batch *batch = batch_of(out->sending);
        out->sending = batch->node.next;
        /* seq_cst: with `blocked`, see channel.h */
        atomic_fetch_sub(&out->queued, batch->length);
        if (batch->capacity == TR__FRAME_SIZE_NORMAL)
            tr__spares_put(&out->spares, batch);
        else
            tr__free(batch);
    }
}
