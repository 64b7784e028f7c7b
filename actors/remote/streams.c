/* What a connection knows of the streamed asks that go over it: of theirs who has it here, for the cancel that waits (waits.h);
 * of ours how many items may come. See remote/peer.h. */
#include "actors/futures/pending.h"
#include "actors/remote/peer.h"

void tr__stream_moved(tr__remote_peer *p, const tr_msg *msg)
{
    tr__loop *loop = p->remote->loop;
    const tr_addr *callee = tr__msg_body(msg);
    tr_msg *cancel = tr__waits_find(&p->waits, TR__MSG_CANCEL, msg->ask, msg->to.slot, msg->to.generation);
    if (!cancel)
        return;
    if (cancel->places ||
        !tr__moved_is_news(msg, cancel->hops)) /* late, of an earlier hand: an item has left, or so */
        return;
    cancel->hops = msg->hops;
    if (callee->node == loop->node->id) {
        cancel->to.slot = callee->slot;
        cancel->to.generation = callee->generation;
        return;
    }
    tr__waits_take(&p->waits, TR__MSG_CANCEL, msg->ask, msg->to.slot, msg->to.generation);
    tr__msg_free(loop, cancel);
}

void tr__stream_began(const tr__remote_peer *p, const tr_msg *item)
{
    tr_msg *cancel = tr__waits_find(&p->waits, TR__MSG_CANCEL, item->ask, item->to.slot, item->to.generation);
    if (!cancel || cancel->places)
        return;
    cancel->places = 1;
    cancel->to.slot = item->sender.slot;
    cancel->to.generation = item->sender.generation;
}

void tr__stream_granted(const tr__remote_peer *p, const tr_msg *demand)
{
    tr_msg *ask =
        tr__waits_find(&p->waits, TR__MSG_ASK, demand->ask, demand->sender.slot, demand->sender.generation);
    if (ask)
        ask->places += demand->error;
}

bool tr__stream_is_given_up(const tr__remote_peer *p, const tr_msg *moved)
{
    return moved->flags & TR__MSG_STREAM &&
           !tr__waits_find(&p->waits, TR__MSG_CANCEL, moved->ask, moved->to.slot, moved->to.generation);
}
