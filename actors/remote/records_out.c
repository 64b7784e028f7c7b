/* Records that other loops wrote, on their way into a connection's frames: mostly all of a block at once, by one copy. Loop 0
 * only. */
#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "base/plant.h"

static void count_sent(tr__remote_peer *p, uint32_t messages)
{
    p->remote->loop->counts.sent += messages;
    p->sent += messages;
}

/* It can't go, and won't later. */
static void count_dropped(tr__remote_peer *p, const tr__records *r, const tr__record *record, tr_err err)
{
    tr__loop *loop = p->remote->loop;
    tr_drop why = err == TR_ENOMEM ? TR_DROP_NO_MEMORY : TR_DROP_NO_CONNECTION;
    if (err == TR_ENOMEM && record->kind != TR__WIRE_NORMAL)
        tr__remote_cut_for(p, TR_ENOMEM, "no memory for what it must hear");
    loop->counts.dropped[why]++;
    tr__dead_letter(loop, why, tr__records_type(r, record)->name,
                    (tr_addr){r->from_node, record->from_slot, record->from_generation},
                    (tr_addr){r->to_node, record->to_slot, record->to_generation});
}

/* The one at the front, alone. TR_EAGAIN: it is there still. */
static tr_err send_front(tr__remote_peer *p, tr__records *r, tr__record *record, size_t used, tr__pair *pair)
{
    p->bulk_refused = false;
    tr_err err = tr__remote_put_record(p, pair, record, record->body);
    if (err == TR_EAGAIN)
        return err;
    tr__records_passed(r, used);
    if (err == TR_OK)
        count_sent(p, 1);
    else
        count_dropped(p, r, record, err);
    return TR_OK;
}

/* It waits behind what its pair has on the bulk lane. TR_EAGAIN: there is no memory for that, so all wait behind it. */
static tr_err hold_front(tr__remote_peer *p, tr_msg *msg, const tr__record *record, size_t used,
                         tr__pair *pair)
{
    tr_msg *one = tr__records_split(p->remote->loop, msg, record, used);
    if (!one)
        return TR_EAGAIN;
    tr__remote_hold_behind(p, one, pair);
    return TR_OK;
}

/* One after the other, for each may have something of its pair before it on the bulk lane, or there is credit for some. */
static tr_err send_apart(tr__remote_peer *p, tr_msg *msg)
{
    tr__records *r = tr__records_of(msg);
    while (r->count) {
        tr__record record;
        size_t used;
        tr__records_front(r, &record, &used);
        bool alone = !p->pairs.table || TR_PLANT(bulk_overtaken);
        tr__pair *pair = alone ? NULL : tr__pairs_find(&p->pairs, &record, tr__endpoint_bulk_taken(p->peer));
        bool waits = pair && tr__pair_is_held(pair);
        tr_err err = waits ? TR_EAGAIN : send_front(p, r, &record, used, pair);
        if (err == TR_EAGAIN && (waits || p->bulk_refused))
            err = hold_front(p, msg, &record, used, pair);
        if (err != TR_OK)
            return err;
    }
    tr__msg_free(p->remote->loop, msg);
    return TR_OK;
}

tr_err tr__records_send(tr__remote_peer *p, tr_msg *msg)
{
    tr__records *r = tr__records_of(msg);
    if (__builtin_expect(p->pairs.table != NULL, 0) ||
        !tr__endpoint_append(p->remote->endpoint, p->peer, r->bytes + r->at, r->end - r->at, r->count))
        return send_apart(p, msg);
    count_sent(p, r->count);
    tr__msg_free(p->remote->loop, msg);
    return TR_OK;
}

tr_err tr__records_send_one(tr__remote_peer *p, tr_msg *msg, tr__record *record, tr__pair *pair)
{
    tr__records *r = tr__records_of(msg);
    tr_err err = send_front(p, r, record, r->end - r->at, pair);
    if (err == TR_OK)
        tr__msg_free(p->remote->loop, msg);
    return err;
}

bool tr__records_send_held(tr__remote_peer *p)
{
    tr_msg *msg = p->held, *next = msg->next;
    uint32_t before = tr__msg_count(msg);
    bool gone = tr__records_send(p, msg) == TR_OK;
    p->held_count -= gone ? before : before - tr__msg_count(msg);
    if (!gone)
        return false;
    p->remote->loop->counts.sent += TR_PLANT(held_counted_twice);
    p->held = next;
    if (!next)
        p->held_end = &p->held;
    return true;
}
