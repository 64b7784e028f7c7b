/* What an nng socket sends and gets without an answer. See sp_actor.h.
 *
 * Sending: what nng hasn't taken is bounded by the seam; then messages are deferred in this mailbox, which keeps their places,
 * so that it fills and senders hear TR_EFULL. Receiving: the consumer is sent one after the other; when it has no room the
 * rest stays with the seam, which then receives no more. */
#include <string.h>

#include "actors/kinds/sp_actor.h"
#include "base/mem.h"
#include "mailbox/message.h"
#include "mailbox/type.h"

#define AGAIN_NS TR_MILLIS(20)

/* ---- bytes --------------------------------------------------------------------------------------------- */

static tr_err encode(tr__sp_actor *c, const tr_msg *msg, tr_bytes *bytes, void **owned)
{
    const void *body = tr__msg_body(msg);
    if (c->encoding == TR__SP_JSON) {
        char *text = tr__json_encode(msg->type, body);
        *bytes = (tr_bytes){text, text ? strlen(text) : 0};
        *owned = text;
    } else {
        size_t bound = tr__cbor_bound(msg->type, body);
        uint8_t *out = tr__alloc(bound);
        *bytes = (tr_bytes){out, out ? tr__cbor_encode(msg->type, body, out, bound) : 0};
        *owned = out;
    }
    return *owned
               ? TR_OK
               : tr_fail(c->self, TR_ENOMEM, "nng socket: no memory to encode a %s", tr_msg_type_name(msg));
}

tr_err tr__sp_bytes_of(tr__sp_actor *c, const tr_msg *msg, tr_bytes *bytes, void **owned)
{
    const tr_nng_send *send = tr_match(msg, tr_nng_send);
    const tr_nng_request *request = tr_match(msg, tr_nng_request);
    const tr_nng_reply *reply = tr_match(msg, tr_nng_reply);
    *owned = NULL;
    if (send || request || reply)
        *bytes = send ? send->data : request ? request->data : reply->data;
    else if (c->encoding == TR__SP_NONE)
        return tr_fail(c->self, TR_EINVAL,
                       "nng socket: a %s isn't bytes; give the socket an encoding, cbor or json",
                       tr_msg_type_name(msg));
    else
        TR_TRY(encode(c, msg, bytes, owned));
    if (bytes->size <= c->send_max)
        return TR_OK;
    tr__free(*owned);
    *owned = NULL;
    return tr_fail(c->self, TR_ETOOBIG, "nng socket: %zu bytes are more than its send_max, %zu", bytes->size,
                   (size_t)c->send_max);
}

void tr__sp_refuse(tr__sp_actor *c, const tr_msg *msg, tr_err code, const char *text)
{
    if (tr_msg_ask_number(msg) != 0) {
        c->counts.failed++;
        (void)tr_reply_error(c->self, msg, code, "%s", text);
    } else {
        c->counts.refused++;
        tr_log(c->self, TR_LOG_DEBUG, "%s", text);
    }
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* An ask is kept until nng has taken the bytes. */
static tr_err give(tr__sp_actor *c, const tr_msg *msg, tr_bytes bytes)
{
    if (tr_msg_ask_number(msg) == 0)
        return c->seam->send(c->sp, 0, bytes, c->send_timeout_ns);
    tr__sp_given *given = tr__zalloc(sizeof(*given));
    if (!given)
        return TR_ENOMEM;
    uint64_t left = tr_msg_remaining(c->self, msg);
    uint64_t timeout =
        left == TR_FOREVER || (c->send_timeout_ns && c->send_timeout_ns < left) ? c->send_timeout_ns : left;
    given->key = ++c->next_key;
    tr_err err = c->seam->send(c->sp, given->key, bytes, timeout);
    if (err != TR_OK) {
        tr__free(given);
        return err;
    }
    given->msg =
        tr_msg_take(c->self, msg); /* NULL: it is sent, and its asker hears nothing of it but its deadline */
    given->next = c->given;
    c->given = given;
    return TR_OK;
}

void tr__sp_on_send(tr__sp_actor *c, const tr_msg *msg)
{
    tr_bytes bytes;
    void *owned;
    if (!c->role->sends) {
        tr__sp_refuse(c, msg, TR_EINVAL,
                      tr_fmt(c->self, "nng socket: %s doesn't send by itself%s", c->role->word,
                             c->role->asks ? ": ask it a tr_nng_request" : ""));
        return;
    }
    tr_err err = tr__sp_bytes_of(c, msg, &bytes, &owned);
    if (err != TR_OK) {
        tr__sp_refuse(c, msg, err, tr_last_error(c->self)->text);
        return;
    }
    err = c->deferred ? TR_EFULL : give(c, msg, bytes); /* behind those that wait already */
    tr__free(owned);
    if (err == TR_EFULL) {
        c->deferred = true;
        err = tr_defer(c->self, msg);
    }
    if (err != TR_OK)
        tr__sp_refuse(c, msg, err, "nng socket: no memory for a message to send");
}

void tr__sp_on_sent(tr__sp_actor *c, const tr__sp_event *event)
{
    for (tr__sp_given **at = &c->given; *at; at = &(*at)->next) {
        tr__sp_given *given = *at;
        if (given->key != event->key)
            continue;
        *at = given->next;
        if (given->msg && event->error.code == TR_OK) {
            c->counts.answered++;
            (void)tr_reply(c->self, given->msg, tr_nng_sent, .peers = c->seam->counts(c->sp, false).peers);
        } else if (given->msg) {
            c->counts.failed++;
            (void)tr_reply_error(c->self, given->msg, event->error.code, "nng socket: %s", event->error.text);
        }
        if (given->msg)
            tr_msg_free(c->self, &given->msg);
        tr__free(given);
        return;
    }
}

void tr__sp_on_room(tr__sp_actor *c)
{
    if (c->deferred)
        tr_undefer(c->self);
    c->deferred = false;
}

/* ---- receiving ----------------------------------------------------------------------------------------- */

static tr_err hand_on(tr__sp_actor *c, const tr__sp_incoming *incoming)
{
    return c->role->serves ? tr__sp_serve(c, incoming)
                           : tr_send(c->self, c->consumer, tr_nng_message, .data = incoming->data);
}

static void wait_for_consumer(tr__sp_actor *c, tr_err why)
{
    bool told = why != TR_ENOMEM && tr_notify_writable(c->self, c->consumer) == TR_OK;
    if (!told && tr_after(c->self, AGAIN_NS, tr__sp_again, .unused = 0).id == 0)
        tr_exit(c->self, TR_ENOMEM, "nng socket: no memory to wait for its consumer");
    c->consumer_full = true;
}

void tr__sp_pump(tr__sp_actor *c)
{
    tr__sp_incoming incoming;
    while (!c->consumer_full && c->seam->take(c->sp, &incoming)) {
        uint32_t exchange = incoming.exchange;
        tr_err err = hand_on(c, &incoming);
        if (err == TR_EFULL || err == TR_EAGAIN || err == TR_ENOMEM) {
            wait_for_consumer(c, err);
            return;
        }
        c->seam->done(c->sp);
        c->counts.delivered += err == TR_OK;
        c->counts.undeliverable += err != TR_OK;
        if (err != TR_OK && c->role->serves)
            (void)c->seam->reply(c->sp, exchange, NULL);
    }
}

void tr__sp_flow_stop(tr__sp_actor *c)
{
    tr__sp_given *given;
    while ((given = c->given)) {
        c->given = given->next;
        if (given->msg) {
            (void)tr_reply_error(c->self, given->msg, TR_ECLOSED,
                                 "the nng socket ended; this may have been sent");
            tr_msg_free(c->self, &given->msg);
        }
        tr__free(given);
    }
}
