/* The managers of other nodes: a node's name and its incarnation, and frames to and from them. Loop 0. What comes from
 * outside is looked at here: a frame that passes is from the manager of the node that it names, and its fields are what
 * they can be. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/remote.h"
#include "actors/remote/rights.h"
#include "actors/tx/manager.h"
#include "base/err.h"

/* Early frames, and their bytes; more are dropped, as any may be. */
#define EARLY_MAX       1000
#define EARLY_BYTES_MAX TR__TX_BYTES_MAX

static tr_msg **line_of(const tr__transactions *t, const char *name)
{
    uint64_t hash = tr__hash_secret(name, strlen(name));
    return (tr_msg **)&t->peers[hash % TR__TX_PEER_LINES];
}

/* The one that came last: a node that was started anew may be connected while the last one's end, or even its coming, is
 * still on its way. */
static const tr_node_event *peer_called(const tr__transactions *t, const char *name)
{
    for (const tr_msg *msg = *line_of(t, name); msg; msg = msg->next) {
        const tr_node_event *peer = tr__msg_body(msg);
        if (strcmp(peer->name, name) == 0)
            return peer;
    }
    return NULL;
}

/* 0: it isn't connected. */
static uint64_t id_of(tr__transactions *t, const char *name)
{
    const tr_node_event *peer = peer_called(t, name);
    return strcmp(name, t->node->name) == 0 ? t->node->id : peer ? peer->node : 0;
}

/* An earlier node drops a frame with a kind, or a reason, that it doesn't know. */
static bool knows(tr__transactions *t, uint64_t id, uint32_t capability)
{
    uint32_t capabilities;
    if (id == t->node->id)
        return true;
    tr__remote_connected(t->node->remote, id, &capabilities);
    return capabilities & capability;
}

tr_err tr__peers_send(void *context, const char *node, tr__tx_frame *frame, tr_error *error)
{
    tr__transactions *t = context;
    uint64_t id = id_of(t, node);
    if (!id || !t->self)
        return tr__fail(error, TR_ENOCONN, "node %s isn't connected", node);
    if (frame->kind == TR__TX_ASK && !knows(t, id, TR__CAPABILITY_SIBLINGS))
        return tr__fail(error, TR_EVERSION, "node %s can't be asked: its Troupe is an earlier one", node);
    if (frame->kind == TR__TX_EMIT && !knows(t, id, TR__CAPABILITY_EMIT))
        return tr__fail(error, TR_EVERSION, "node %s takes no emitted messages: its Troupe is an earlier one",
                        node);
    if (frame->kind == TR__TX_HELLO && !knows(t, id, TR__CAPABILITY_LOGS))
        return TR_OK; /* it remembers nothing */
    if (frame->status == TR__TX_EXPIRED && !knows(t, id, TR__CAPABILITY_LOGS))
        frame->status = TR__TX_LOG_LOST; /* which is as unknown */
    if (frame->reason == TR_TX_WOUNDED && !knows(t, id, TR__CAPABILITY_WOUND))
        frame->reason = TR_TX_OVERLOAD; /* which is tried again as well */
    /* To ourselves as well: through the mailbox, in order, never from within. */
    tr_err err = tr_send_body(t->self, TR__TX_MANAGER_OF(id), &tr__tx_frame_type, frame);
    return err == TR_OK
               ? TR_OK
               : tr__fail(error, err, "node %s can't be told now: %s", node, tr_last_error(t->self)->text);
}

bool tr__peers_may_begin(void *context, const char *node, bool asks)
{
    tr__transactions *t = context;
    tr__loop *loop = t->node->loops[0];
    uint64_t id = id_of(t, node);
    return asks ? tr__node_may(loop, id, TR__RIGHT_TRANSACT, NULL, NULL) != TR_EPERM
                : !tr__node_lacks(loop, id, TR__RIGHT_TRANSACT);
}

tr_err tr__peers_may_send(tr__transactions *t, const char *node, tr_addr to, uint64_t type, tr_error *error)
{
    uint64_t id = id_of(t, node);
    return id == t->node->id ? TR_OK : tr__node_may_send(t->node->loops[0], id, to, type, error);
}

/* ---- what came ----------------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
    size_t length = strnlen(name, TR_NAME_MAX);
    return length < TR_NAME_MAX && !strchr(name, '/');
}

/* NULL: it is what it should be. */
static const char *wrong_with(tr__transactions *t, const tr_msg *msg, const tr__tx_frame *frame)
{
    if (!frame->from[0] || !is_name(frame->from))
        return "names no node";
    uint64_t id = id_of(t, frame->from);
    if (!id || !tr_addr_equal(tr_msg_sender(msg), TR__TX_MANAGER_OF(id)))
        return "isn't from the manager of the node that it names";
    if (frame->kind < TR__TX_CALL || frame->kind >= TR__TX_KINDS)
        return "is of no known kind";
    if (frame->id.size != sizeof(tr_tx_id) || (frame->log.size && frame->log.size != TR__LOG_ID_BYTES))
        return "has an id of a wrong size";
    if (!is_name(frame->actor))
        return "names an actor wrongly";
    if (frame->status >= TR__TX_VERDICTS || frame->reason >= TR_TX_REASON_COUNT)
        return "has a status or a reason that is none";
    return NULL;
}

/* Connected, but the event of its coming, which goes by the warden, is still on its way: its frames go straight. */
static bool is_early(tr__transactions *t, const tr_msg *msg, const tr__tx_frame *frame)
{
    tr_addr sender = tr_msg_sender(msg);
    return sender.node != id_of(t, frame->from) && tr_addr_equal(sender, TR__TX_MANAGER_OF(sender.node)) &&
           tr__remote_called(t->node->remote, frame->from) == sender.node;
}

static size_t weight_of(const tr__tx_frame *frame)
{
    return sizeof(*frame) + frame->body.size;
}

/* Hear those of that node, if it has come (true), or forget them. */
static void end_early(tr__transactions *t, uint64_t node, bool came)
{
    for (tr_msg **at = &t->early; *at;) {
        tr_msg *msg = *at;
        if (tr_msg_sender(msg).node != node) {
            at = &msg->next;
            continue;
        }
        *at = msg->next;
        const tr__tx_frame *frame = tr__msg_body(msg);
        t->early_count--;
        t->early_bytes -= weight_of(frame);
        if (came)
            tr__peers_frame(t, msg, frame);
        tr__msg_free(tr__owner(t->self), msg);
    }
}

/* The message is taken. Whoever went before its coming was told isn't told of: its frames are forgotten here. */
static void keep_early(tr__transactions *t)
{
    tr__loop *loop = tr__owner(t->self);
    tr_msg *msg = loop->current, **end = &t->early;
    uint32_t ignored;
    loop->current = NULL;
    for (tr_msg *other = t->early, *next; other; other = next) {
        next = other->next;
        if (!tr__remote_connected(t->node->remote, tr_msg_sender(other).node, &ignored)) {
            end_early(t, tr_msg_sender(other).node, false);
            next = t->early;
        }
    }
    while (*end)
        end = &(*end)->next;
    msg->next = NULL;
    *end = msg;
    t->early_count++;
    t->early_bytes += weight_of(tr__msg_body(msg));
}

static bool has_early_room(const tr__transactions *t, const tr__tx_frame *frame)
{
    return t->early_count < EARLY_MAX && t->early_bytes + weight_of(frame) <= EARLY_BYTES_MAX;
}

void tr__peers_frame(tr__transactions *t, const tr_msg *msg, const tr__tx_frame *frame)
{
    if (has_early_room(t, frame) && is_early(t, msg, frame)) {
        keep_early(t);
        return;
    }
    const char *wrong = wrong_with(t, msg, frame);
    if (!wrong) {
        tr__tx_receive(t->tx, frame);
        return;
    }
    if (frame->kind == TR__TX_HELLO)
        return; /* it may come before we hear of its node: then we ask for another one */
    t->refused++;
    uint64_t now = tr__owner(t->self)->now_ns;
    if (t->refused_logged_ns && now - t->refused_logged_ns < TR_SECONDS(1))
        return;
    t->refused_logged_ns = now;
    char sender[TR_ADDR_TEXT_MAX];
    tr_log(t->self, TR_LOG_WARN, "a frame of transactions from %s %s: dropped, as %llu in all",
           tr_addr_format(tr_msg_sender(msg), sender), wrong, (unsigned long long)t->refused);
}

/* ---- nodes that come and go ---------------------------------------------------------------------------- */

static void came(tr__transactions *t, const tr_node_event *event)
{
    tr__loop *loop = tr__owner(t->self);
    const tr_node_event *before = peer_called(t, event->name);
    if (before && before->node == event->node)
        return;
    tr_msg *msg = loop->current; /* taken */
    loop->current = NULL;
    tr_msg **line = line_of(t, event->name);
    msg->next = *line;
    *line = msg;
    if (before) /* another incarnation of it, before we heard of that one's end */
        tr__tx_node_down(t->tx, event->name);
    tr__tx_node_up(t->tx, event->name);
    end_early(t, event->node, true);
}

static void went(tr__transactions *t, const tr_node_event *event)
{
    const tr_node_event *now = peer_called(t, event->name);
    bool spoken_with = now && now->node == event->node;
    end_early(t, event->node, false);
    tr_msg **at = line_of(t, event->name);
    while (*at && ((const tr_node_event *)tr__msg_body(*at))->node != event->node)
        at = &(*at)->next;
    if (!*at)
        return;
    tr_msg *gone = *at;
    *at = gone->next;
    tr__msg_free(tr__owner(t->self), gone);
    if (!spoken_with)
        return;
    tr__tx_node_down(t->tx, event->name);
    if (peer_called(t, event->name))
        tr__tx_node_up(t->tx, event->name);
}

void tr__peers_changed(tr__transactions *t, const tr_node_event *event)
{
    if (event->up)
        came(t, event);
    else
        went(t, event);
}

void tr__peers_fini(tr__transactions *t)
{
    while (t->early)
        end_early(t, tr_msg_sender(t->early).node, false);
    for (size_t i = 0; i < TR_COUNT(t->peers); i++)
        while (t->peers[i]) {
            tr_msg *msg = t->peers[i];
            t->peers[i] = msg->next;
            tr__msg_free(tr__owner(t->self), msg);
        }
}
