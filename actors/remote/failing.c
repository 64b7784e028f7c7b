/* What came from another node and can't be had, and asks of either side that come to nothing. The loop of who hears it, or that
 * of the connection. */
#include <stdio.h>
#include <string.h>

#include <troupe/troupe.h>

#include "actors/remote/peer.h"
#include "base/err.h"

void tr__remote_refuse_ask(tr__loop *loop, uint64_t node, const tr__record *r, const tr_error *error)
{
    tr_msg *msg = tr__msg_alloc(&loop->pool, loop->index, TR__FAILURE_ROOM);
    if (!msg)
        return; /* its deadline tells it */
    tr__reason reason = {.code = error->code};
    snprintf(reason.text, sizeof(reason.text), "%.*s", (int)sizeof(reason.text) - 1, error->text);
    msg->sender = (tr_addr){node, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    tr__started_failed(loop, msg, &reason);
}

/* What a message that can't be had is answered with; the text names the field. */
void tr__remote_undecoded(tr__loop *loop, uint64_t node, const char *name, const tr_typeinfo *type,
                          const tr__record *r, tr_drop why, const tr_error *error)
{
    tr_addr from = {node, r->from_slot, r->from_generation};
    tr_addr to = {loop->node->id, r->to_slot, r->to_generation};
    loop->counts.dropped[why]++;
    if (tr__dead_letter(loop, why, type ? type->name : "type that isn't known here", from, to))
        tr__node_log(loop->node, TR_LOG_DEBUG, "from node %s: %s", name, error->text);
    if (r->kind == TR__WIRE_ASK || r->kind == TR__WIRE_STREAM_ASK)
        tr__remote_refuse_ask(loop, node, r, error);
}

void tr__remote_fail_wait(tr__loop *loop, uint64_t node, const tr__record *r, tr_msg *wait, tr_err code,
                          const char *text, size_t length)
{
    length = length < TR_ERROR_TEXT_MAX - 1 ? length : TR_ERROR_TEXT_MAX - 1;
    tr_msg *msg = length ? tr__msg_alloc(&loop->pool, loop->index, sizeof(tr__failure) + length + 1) : NULL;
    if (!msg) {
        tr__fail_ask(loop, wait, node, code);
        return;
    }
    char *copy = (char *)tr__msg_body(msg) + sizeof(tr__failure);
    memcpy(copy, text, length);
    copy[length] = 0;
    *(tr__failure *)tr__msg_body(msg) = (tr__failure){.code = code, .text = copy};
    msg->kind = TR__MSG_FAILURE;
    tr__msg_filled(msg, tr__type_of(&tr__failure_type));
    msg->error = (uint8_t)code;
    msg->sender = (tr_addr){node, r->from_slot, r->from_generation};
    msg->ask = r->ask;
    tr__msg_free(loop, wait);
    tr__submit(loop, (tr_addr){loop->node->id, r->to_slot, r->to_generation}, msg);
}
