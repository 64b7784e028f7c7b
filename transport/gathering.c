/* See gathering.h. */
#include "transport/gathering.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

bool tr__gathering_drop(tr__gathering *g)
{
    bool partial = g->left > 0;
    tr__large_free(g->block);
    *g = (tr__gathering){0};
    return partial;
}

void tr__gathering_refuse(tr__gathering *g)
{
    tr__large_free(g->block);
    g->block = NULL;
    g->length = g->room = 0;
    g->way = TR__UNIT_REFUSED;
}

/* Room for `more` bytes, of `whole` in all. */
static bool grow(tr__gathering *g, size_t more, uint64_t whole, size_t headroom)
{
    size_t needs = g->length + more;
    if (needs <= g->room)
        return true;
    size_t room = 2 * needs > TR__GATHERING_FIRST ? 2 * needs : TR__GATHERING_FIRST;
    if (room > whole)
        room = (size_t)whole;
    uint8_t *bigger = g->block ? tr__realloc(g->block, headroom + room) : tr__large_alloc(headroom + room);
    if (!bigger)
        return false;
    g->block = bigger;
    g->room = room;
    return true;
}

tr_err tr__gathering_look(const tr__gathering *g, const tr__frame *chunk, uint64_t message_max,
                          tr__gathered *unit, bool *first, tr_error *error)
{
    uint64_t left;
    *unit = (tr__gathered){NULL};
    *first = g->left == 0;
    TR_TRY(tr__frame_get_chunk(chunk, &unit->bytes, &unit->length, &left, &unit->messages, error));
    bool goes_on = left == g->left || (g->way == TR__UNIT_REFUSED && left < g->left);
    if (!*first && !goes_on)
        return tr__fail(error, TR_EPROTO, "a chunk came with %llu bytes left where %llu were",
                        (unsigned long long)left, (unsigned long long)g->left);
    if (left > message_max)
        return tr__fail(error, TR_ETOOBIG,
                        "a message of %llu bytes came; this node takes %llu (--message-max)",
                        (unsigned long long)left, (unsigned long long)message_max);
    unit->left = left;
    return TR_OK;
}

tr_err tr__gathering_take(tr__gathering *g, size_t headroom, tr__gathered *unit, tr_error *error)
{
    size_t length = unit->length;
    bool small = !g->left && length == unit->left && unit->left < TR__CHUNK_FRAME_MAX / 2;
    if (g->way == TR__UNIT_GATHERED && !small) { /* bytes of small ones stay where they are */
        if (!grow(g, length, g->length + unit->left, headroom))
            return tr__fail(error, TR_ENOMEM, "no memory to receive a message of %llu bytes",
                            (unsigned long long)(g->length + unit->left));
        memcpy(g->block + headroom + g->length, unit->bytes, length);
        g->length += length;
    }
    g->left = unit->left - length;
    if (g->left == 0) {
        if (g->block)
            *unit = (tr__gathered){g->block, g->block + headroom, g->length, unit->messages};
        *g = (tr__gathering){.units = g->units + 1};
    }
    return TR_OK;
}
