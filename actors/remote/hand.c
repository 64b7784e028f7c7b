/* What came from other nodes for actors of other loops: small messages and asks are handed on as they stand, and their loop
 * decodes them into blocks of its own. All else becomes a message on the connection's loop (in.c). */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "base/buggify.h"

#define HANDED_MAX 1024 /* bytes of a message as it lies in memory: one place */

/* ---- the connection's loop ----------------------------------------------------------------------------- */

/* Where a record of it goes in the block for that loop; NULL: no memory. */
static uint8_t *place(tr__remote_peer *p, tr__loop *to, const tr_typeinfo *type, uint32_t number,
                      size_t length)
{
    tr__loop *loop = p->remote->loop;
    tr__chain *out = &loop->outboxes[to->index];
    /* The numbers of types are one peer's. */
    bool ours = out->open && tr__records_of(out->open)->from_node == p->peer->id;
    uint8_t *at = ours ? tr__records_place(out->open, type, number, length) : NULL;
    if (__builtin_expect(at != NULL, 1))
        return at;
    if (out->open)
        tr__hand_close(loop, out, to->index);
    out->open = tr__records_open(loop, p->peer->id, loop->node->id);
    if (!out->open)
        return NULL;
    out->open->routed = true;
    return tr__records_place(out->open, type, number, length);
}

/* Which it is read as, if it is small enough, and nothing has to be looked at; else NULL. */
static const tr_typeinfo *type_of(const tr__remote_peer *p, const tr__record *r)
{
    bool good = (r->kind == TR__WIRE_NORMAL || r->kind == TR__WIRE_ASK) && r->type < p->heard_count &&
                tr__rights_are_free(p->rights);
    const tr_typeinfo *type = good ? tr__heard_type_of(p, r->type) : NULL;
    return type && !type->notice && type->heads && type->size + r->length <= HANDED_MAX ? type : NULL;
}

bool tr__hand_on(tr__remote_peer *p, const tr__record *r, const uint8_t *bytes, size_t used)
{
    tr__loop *loop = p->remote->loop;
    tr_addr to = {loop->node->id, r->to_slot, r->to_generation};
    tr_actor *slot = tr__slot(loop->node, to.slot);
    tr__loop *owner = slot ? atomic_load_explicit(&slot->owner, memory_order_acquire) : NULL;
    if (!owner || owner == loop)
        return false;
    const tr_typeinfo *type = type_of(p, r);
    uint32_t places = 1;
    if (!type || tr__reserve(loop, to, &places) != TR_OK) /* a full mailbox is told of as any */
        return false;
    uint8_t *at = place(p, owner, type, r->type, used);
    if (!at) {
        tr__unreserve(loop, to, places);
        return false;
    }
    memcpy(at, bytes, used);
    tr__records_placed(loop->outboxes[owner->index].open, used);
    loop->counts.received++;
    return true;
}

void tr__hand_close(tr__loop *loop, tr__chain *out, uint8_t index)
{
    tr_msg *msg = tr__records_fit(loop, out->open);
    out->open = NULL;
    loop->counts.passed += tr__msg_count(msg) - 1;
    tr__to_loop(loop, index, msg);
}

/* ---- the receivers' loop ------------------------------------------------------------------------------- */

/* Its place was drawn. */
static void take(tr__loop *loop, uint64_t node, const tr_typeinfo *type, const tr__record *r)
{
    tr_drop why = TR_DROP_MALFORMED;
    tr_error error;
    tr_msg *msg = tr__remote_decode_small(loop, type, r, &why, &error);
    if (!msg) {
        tr__unreserve(loop, (tr_addr){loop->node->id, r->to_slot, r->to_generation}, 1);
        char name[17];
        snprintf(name, sizeof(name), "%016llx", (unsigned long long)node);
        tr__remote_undecoded(loop, node, name, type, r, why, &error);
        return;
    }
    tr__msg_filled(msg, type);
    tr__remote_fill(loop, node, msg, r);
    msg->places = 1;
    tr__deliver(loop, msg);
}

void tr__handed_take(tr__loop *loop, tr_msg *msg)
{
    tr__records *records = tr__records_of(msg);
    tr__alike alike = {0};
    const tr_typeinfo *type = NULL;
    uint32_t number = UINT32_MAX;
    while (records->count) {
        const uint8_t *bytes = records->bytes + records->at;
        tr__record other;
        const tr__record *r = &alike.record;
        size_t used;
        if (!tr__alike_get(&alike, bytes, records->end - records->at, &used)) {
            tr__records_front(records, &other, &used);
            tr__alike_keep(&alike, bytes, &other);
            r = &other;
        }
        if (r->type != number)
            type = tr__records_type(records, number = r->type);
        tr__records_passed(records, used);
        take(loop, records->from_node, type, r);
    }
    tr__msg_free(loop, msg);
}
