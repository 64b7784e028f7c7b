/* Learned peers: wardens tell each other where nodes are that they are connected with, and a node dials who it is told of.
 * Both only with --learn on, which a node's HELLO says, so who doesn't want it, or is too old, is told nothing. The warden's
 * thread.
 *
 * L1  What is told is the address that a node gave itself, and only while this node is connected with it: so it has proven
 *     that it has the key, if there is one.
 * L2  Only wardens of connected nodes are believed, and no address that tr__endpoint_learn refuses is dialled.
 * L3  Each that learns is told of each other once per coming, in order of coming. What isn't taken for want of credit is told
 *     later; nothing is kept for that but the nodes' records. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/names/warden.h"
#include "actors/remote/remote.h"

void tr__learn_came(tr_actor *self, tr__node_record *record, uint64_t serial)
{
    struct tr__remote *remote = tr__owner(self)->node->remote;
    const char *address = tr__remote_address_of(remote, record->changed.node, &record->learns);
    record->serial = serial;
    snprintf(record->address, sizeof(record->address), "%s", address ? address : "");
}

/* False: no more of it goes now. */
static bool tell_one(tr_actor *self, tr__node_record *to, const tr__node_record *of)
{
    tr_err err = tr_send(self, TR__WARDEN_OF(to->changed.node), tr__node_at, .node = of->changed.node,
                         .address = of->address);
    return err == TR_OK || err == TR_ENOCONN; /* gone: another one comes, which is told anew */
}

/* Of all that came since it was told last. */
static bool tell(tr_actor *self, tr__node_record *to, tr_msg *nodes, uint64_t serial)
{
    for (tr_msg *msg = nodes; msg && to->taught < serial; msg = msg->next) {
        const tr__node_record *of = tr__msg_body(msg);
        if (of->serial <= to->taught)
            continue;
        if (of != to && of->changed.up && of->address[0] && !tell_one(self, to, of))
            return false;
        to->taught = of->serial;
    }
    return true;
}

bool tr__learn_tell(tr_actor *self, tr_msg *nodes, uint64_t serial)
{
    bool all = true;
    for (tr_msg *msg = nodes; msg; msg = msg->next) {
        tr__node_record *to = tr__msg_body(msg);
        if (to->changed.up && to->learns && !tell(self, to, nodes, serial))
            all = false;
    }
    return all;
}

void tr__learn_take(tr_actor *self, const tr_msg *msg)
{
    tr_node *node = tr__owner(self)->node;
    const tr__node_at *at = tr_match(msg, tr__node_at);
    tr_addr sender = tr_msg_sender(msg);
    bool told_by_warden = sender.node != node->id && tr_addr_equal(sender, TR__WARDEN_OF(sender.node));
    if (node->opts.learn && told_by_warden)
        tr__remote_learn(node->remote, at->node, at->address);
}
