/* The short way of a small message to one peer: no block is made of it, it is written from where it stands; on loop 0 into the
 * open frame, on any other into a block of records (far.c). */
#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/plant.h"

__attribute__((noinline)) size_t tr__writer_head(tr__writer *w, uint8_t *at, tr_addr to, tr_addr from,
                                                 const tr_typeinfo *type, size_t room)
{
    tr__record record = {.kind = TR__WIRE_NORMAL,
                         .to_slot = to.slot,
                         .to_generation = to.generation,
                         .from_slot = from.slot,
                         .from_generation = from.generation,
                         .type = w->last_number,
                         .length = room};
    size_t head = tr__wire_put(at, &record);
    record.head = head - tr__wire_number_size(room);
    w->alike_type = tr__alike_keep(&w->alike, at, &record) ? type : w->alike_type;
    return head;
}

size_t tr__writer_put_record(uint8_t *at, tr__record *record, const tr_typeinfo *type, const void *body,
                             size_t room)
{
    record->length = room;
    size_t head = tr__wire_put(at, record);
    record->length = tr__cbor_encode(type, body, at + head, room);
    return tr__wire_resize(at, head, room, record->length) + record->length;
}

/* Whether its pair has something under way on the bulk lane, which it must not overtake. */
static bool goes_behind(tr__remote_peer *p, tr_addr to, tr_addr from)
{
    if (__builtin_expect(!p->pairs.table, 1) || TR_PLANT(bulk_overtaken))
        return false;
    const tr__record record = {.to_slot = to.slot,
                               .to_generation = to.generation,
                               .from_slot = from.slot,
                               .from_generation = from.generation};
    return tr__pairs_find(&p->pairs, &record, tr__endpoint_bulk_taken(p->peer)) != NULL;
}

static bool put_near(tr__loop *loop, tr__remote_peer *p, tr_addr to, tr_addr from, const tr_typeinfo *type,
                     const void *body, size_t size)
{
    uint32_t number;
    bool alike = p && tr__writer_is_alike(&p->writer, to, from, type);
    if (!p || p->cut || p->held || goes_behind(p, to, from) ||
        (!alike && tr__told_number(p, type, &number) != TR_OK))
        return false;
    size_t room = tr__cbor_room(type, body, size), most = TR__WIRE_HEADER_MAX + room;
    uint8_t *at = tr__endpoint_place(p->peer, most), *short_way = at;
    if (!at && tr__endpoint_reserve(p->remote->endpoint, p->peer, most, &at) != TR_OK)
        return false;
    size_t length = tr__writer_put(&p->writer, at, alike, to, from, type, body, room);
    if (short_way)
        tr__endpoint_placed(p->peer, length);
    else
        tr__endpoint_commit(p->remote->endpoint, p->peer, length);
    TR__COUNT(loop->counts.accepted);
    loop->counts.sent++;
    p->sent++;
    return true;
}

bool tr__remote_put(tr__loop *loop, tr_addr to, tr_addr from, const tr_typeinfo *type, const void *body,
                    size_t size)
{
    tr__route *route = tr__remote_ready(loop, to.node);
    if (!route)
        return false;
    return loop->index == 0 ? put_near(loop, route->peer, to, from, type, body, size)
                            : tr__far_put(loop, route, to, from, type, body, size);
}
