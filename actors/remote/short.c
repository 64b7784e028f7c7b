/* The short way of a small message to one peer: no block is made of it, it is written into the open frame from where it stands.
 * Loop 0 only. */
#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "actors/remote/wire.h"
#include "base/plant.h"

static bool is_alike(const tr__remote_peer *p, tr_addr to, tr_addr from, const tr_typeinfo *type)
{
    const tr__record *r = &p->alike_out.record;
    return p->alike_type == type && r->to_slot == to.slot && r->to_generation == to.generation &&
           r->from_slot == from.slot && r->from_generation == from.generation;
}

/* The head of one that isn't alike; the next ones may be like it. */
static __attribute__((noinline)) size_t put_head(tr__remote_peer *p, uint8_t *at, tr_addr to, tr_addr from,
                                                 const tr_typeinfo *type, size_t room)
{
    tr__record record = {.kind = TR__WIRE_NORMAL,
                         .to_slot = to.slot,
                         .to_generation = to.generation,
                         .from_slot = from.slot,
                         .from_generation = from.generation,
                         .type = p->last_number,
                         .length = room};
    size_t head = tr__wire_put(at, &record);
    record.head = head - tr__wire_number_size(room);
    p->alike_type = tr__alike_keep(&p->alike_out, at, &record) ? type : p->alike_type;
    return head;
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

bool tr__remote_put(tr__loop *loop, tr_addr to, tr_addr from, const tr_typeinfo *type, const void *body,
                    size_t size)
{
    tr__remote_peer *p = tr__remote_ready(loop, to.node);
    uint32_t number;
    bool alike = p && is_alike(p, to, from, type);
    if (!p || p->cut || p->held || goes_behind(p, to, from) ||
        (!alike && tr__told_number(p, type, &number) != TR_OK))
        return false;
    size_t room = tr__cbor_room(type, body, size), most = TR__WIRE_HEADER_MAX + room;
    uint8_t *at = tr__endpoint_place(p->peer, most), *short_way = at;
    if (!at && tr__endpoint_reserve(p->remote->endpoint, p->peer, most, &at) != TR_OK)
        return false;
    size_t head = alike ? tr__alike_put(at, &p->alike_out, room) : put_head(p, at, to, from, type, room);
    size_t length = tr__cbor_encode(type, body, at + head, room);
    head = tr__wire_resize(at, head, room, length);
    if (short_way)
        tr__endpoint_placed(p->peer, head + length);
    else
        tr__endpoint_commit(p->remote->endpoint, p->peer, head + length);
    TR__COUNT(loop->counts.accepted);
    loop->counts.sent++;
    p->sent++;
    return true;
}
