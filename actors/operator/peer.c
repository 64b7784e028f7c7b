/* The request "why" over connections, so that a chain of who waits for whom goes on at a node that has no operator socket
 * here. The operator actor of loop 0, whose thread this is, and the warden's, which is the same.
 *
 *     a client ──"via": NODE──► this node's operator actor ──ask──► NODE's warden ──► its operator actor
 *                                                                                          │ ▲
 *     its control thread: as a client's request, with what its loop says, or is stuck in   ▼ │
 *
 * So loop 0 of the other node has to run, since it has the connections; of a stuck one of its other loops the control thread
 * there tells. Bounded: PEER_ASKS_MAX at a time, each with a deadline. Only "why" is answered to another node. */
#include <string.h>

#include <troupe/troupe.h>

#include "actors/names/warden.h"
#include "actors/operator/operator.h"
#include "actors/remote/remote.h"
#include "actors/remote/rights.h"
#include "base/err.h"
#include "base/mem.h"
#include "mailbox/json.h"
#include "transport/frame.h"

/* ---- to another node ----------------------------------------------------------------------------------- */

static const char *via_of(const tr__operator_job *job)
{
    const char *name = json_string_value(json_object_get(job->request, "via"));
    return name ? name : "";
}

static void relayed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__operator_job *job = context;
    const tr__operator_peer_told *told = result->msg ? tr_match(result->msg, tr__operator_peer_told) : NULL;
    json_t *answer = told ? json_loads(told->text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    (void)state;
    if (json_is_object(answer)) {
        tr__operator_answer(self, job, answer);
        return;
    }
    json_decref(answer);
    if (result->err == TR_EDEADLINE)
        tr_fail(self, TR_EDEADLINE,
                "node %.63s is connected, so its process runs, and its loop 0, which has the connections, "
                "has not "
                "answered within %u ms: a handler there is stuck, or has much to do",
                via_of(job), (unsigned)(TR__OPERATOR_PEER_WAIT / 1000000u));
    else if (result->err == TR_OK)
        tr_fail(self, TR_EPROTO, "node %.63s answered something else", via_of(job));
    else
        tr_fail(self, result->err, "node %.63s: %s", via_of(job),
                result->error ? result->error->text : tr__err_meaning(result->err));
    tr__operator_fail(self, job);
}

/* TR_OK: `relayed` will be called. */
static tr_err relay(tr_actor *self, tr__operator_job *job)
{
    const tr_node *node = tr_node_of(self);
    uint64_t id = tr__remote_called(node->remote, via_of(job));
    if (!id)
        return tr_fail(self, TR_ENOCONN, "node %s is not connected with node %.63s", node->name, via_of(job));
    uint32_t capabilities;
    tr__remote_connected(node->remote, id, &capabilities);
    if (!(capabilities & TR__CAPABILITY_WHY))
        return tr_fail(self, TR_EVERSION, "node %.63s is of an older version, which answers nobody elsewhere",
                       via_of(job));
    json_t *request = json_copy(job->request);
    json_object_del(request, "via");
    char *text = tr__json_text(request);
    json_decref(request);
    if (!text)
        return tr_fail(self, TR_ENOMEM, "no memory to ask another node");
    tr_future f =
        tr_ask(self, TR__WARDEN_OF(id), TR__OPERATOR_PEER_WAIT, tr__operator_peer_ask, .text = text);
    tr__free(text);
    return f.id ? tr_then(self, f, relayed, job) : tr_last_error(self)->code;
}

void tr__operator_relay(tr_actor *self, tr__operator_job *job)
{
    if (relay(self, job) != TR_OK)
        tr__operator_fail(self, job);
}

/* ---- from another node --------------------------------------------------------------------------------- */

void tr__operator_forward(tr_actor *self, const tr_msg *msg)
{
    const tr_node *node = tr_node_of(self);
    tr_error error;
    if (tr__node_may(tr__owner(self), msg->sender.node, TR__RIGHT_SEND, NULL, &error) != TR_OK)
        tr_reply_error(self, msg, error.code, "%s", error.text);
    else if (!node->operators)
        tr_reply_error(self, msg, TR_ENOTFOUND, "it has no operator socket, so nobody looks into it");
    else if (tr_forward(self, msg, node->operators->actors[0]) != TR_OK)
        tr_reply_error(self, msg, TR_EFULL, "its operator actor can't take it now");
}

static void take_ask(tr_actor *self, tr__operator_peers *p, const tr_msg *msg)
{
    const tr__operators *operators = tr_node_of(self)->operators;
    uint32_t i = 0;
    while (i < TR__PEER_ASKS_MAX && p->asks[i])
        i++;
    if (i == TR__PEER_ASKS_MAX) {
        tr_reply_error(self, msg, TR_EFULL, "%d other nodes are asking it", TR__PEER_ASKS_MAX);
        return;
    }
    const char *request = tr_match(msg, tr__operator_peer_ask)->text;
    if (strlen(request) > TR__OPERATOR_FRAME_MAX) { /* as a client's */
        tr_reply_error(self, msg, TR_ETOOBIG, "a request has %u bytes at most", TR__OPERATOR_FRAME_MAX);
        return;
    }
    char *text = tr__strdup(request);
    if (text && (p->asks[i] = tr_msg_take(self, msg))) {
        p->numbers[i] = ++p->last;
        operators->asked(operators->context, p->last, text);
        return;
    }
    tr__free(text);
    tr_reply_error(self, msg, TR_ENOMEM, "it has no memory to answer");
}

static void answer_ask(tr_actor *self, tr__operator_peers *p, const tr__operator_told *told)
{
    for (uint32_t i = 0; i < TR__PEER_ASKS_MAX; i++)
        if (p->asks[i] && p->numbers[i] == told->number) {
            tr_reply(self, p->asks[i], tr__operator_peer_told, .text = told->text);
            tr_msg_free(self, &p->asks[i]);
        }
}

static void cancel_ask(tr_actor *self, tr__operator_peers *p, const tr_canceled *canceled)
{
    for (uint32_t i = 0; i < TR__PEER_ASKS_MAX; i++)
        if (p->asks[i] && tr_msg_ask_number(p->asks[i]) == canceled->ask &&
            tr_addr_equal(tr_msg_sender(p->asks[i]), canceled->asker))
            tr_msg_free(self, &p->asks[i]);
}

void tr__operator_peers_take(tr_actor *self, tr__operator_peers *p, const tr_msg *msg)
{
    const tr__operator_told *told = tr_match(msg, tr__operator_told);
    const tr_canceled *canceled = tr_match(msg, tr_canceled);
    if (tr_match(msg, tr__operator_peer_ask) && tr_msg_ask_number(msg))
        take_ask(self, p, msg);
    else if (told && msg->kind == TR__MSG_NOTICE)
        answer_ask(self, p, told);
    else if (canceled)
        cancel_ask(self, p, canceled);
}
