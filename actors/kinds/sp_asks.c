/* Asks that become requests or surveys, and requests that become asks. See sp_actor.h.
 *
 * Asking: taken -> waits for an exchange -> asked (the seam has it, with what is left of its deadline) -> answered at OVER.
 * Canceled, or past its deadline, while it waits: dropped; while it is asked: its exchange is abandoned, and is free at OVER.
 * Serving: the consumer's answer is the reply. Without one there is none: these protocols have no errors. */
#include <string.h>

#include "actors/kinds/sp_actor.h"
#include "base/mem.h"

#define WAITING_MAX       1024
#define WAITING_BYTES_MAX ((size_t)64 << 20)
#define ANSWERS_MAX       1024
#define ANSWERS_FACTOR    16 /* x receive_max: bytes of a survey's answers */

/* ---- asking -------------------------------------------------------------------------------------------- */

static void forget_answers(tr__sp_ask *ask)
{
    for (size_t i = 0; i < ask->count; i++)
        tr__free((void *)ask->answers[i].data);
    tr__free(ask->answers);
    *ask = (tr__sp_ask){.msg = ask->msg, .busy = ask->busy};
}

/* O1 */
static void end(tr__sp_actor *c, tr_msg *msg, tr_err code, const char *text)
{
    if (code != TR_OK) {
        c->counts.failed++;
        (void)tr_reply_error(c->self, msg, code, "nng socket: %s", text);
    }
    tr_msg_free(c->self, &msg);
}

static bool is_survey(const tr__sp_actor *c)
{
    return c->survey_ns != 0;
}

/* Takes `msg`, which is kept. */
static void begin(tr__sp_actor *c, uint32_t index, tr_msg *msg)
{
    uint64_t left = tr_msg_remaining(c->self, msg);
    tr_bytes bytes;
    void *owned;
    tr_err err = tr__sp_bytes_of(c, msg, &bytes, &owned);
    if (err != TR_OK) {
        end(c, msg, err, tr_last_error(c->self)->text);
        return;
    }
    /* A survey must be over before the ask is. */
    uint64_t timeout = is_survey(c) && left - left / 8 > c->survey_ns ? c->survey_ns
                       : is_survey(c)                                 ? left - left / 8
                                                                      : left;
    err = c->seam->request(c->sp, index, bytes, timeout);
    tr__free(owned);
    if (err != TR_OK) {
        end(c, msg, err, "no memory for a request");
        return;
    }
    c->asks[index].msg = msg;
    c->asks[index].busy = true;
}

static tr_msg *take_waiting(tr__sp_actor *c, tr__sp_waiting **at)
{
    tr__sp_waiting *waiting = *at;
    tr_msg *msg = waiting->msg;
    *at = waiting->next;
    if (c->waiting_end == &waiting->next)
        c->waiting_end = at;
    c->waiting_count--;
    c->waiting_bytes -= msg->size;
    tr__free(waiting);
    return msg;
}

static void begin_waiting(tr__sp_actor *c)
{
    for (uint32_t i = 0; c->waiting && i < c->exchanges; i++) {
        while (c->waiting && !c->asks[i].busy) {
            tr_msg *msg = take_waiting(c, &c->waiting);
            if (tr_msg_remaining(c->self, msg) == 0)
                end(c, msg, TR_EDEADLINE, "its deadline passed before this was sent (raise exchanges)");
            else
                begin(c, i, msg);
        }
    }
}

void tr__sp_on_request(tr__sp_actor *c, const tr_msg *msg)
{
    tr__sp_waiting *waiting = NULL;
    tr_err err = TR_OK;
    if (!c->role->asks)
        err = tr_fail(c->self, TR_EINVAL, "nng socket: %s doesn't ask%s", c->role->word,
                      c->role->sends ? ": send it a tr_nng_send" : "");
    else if (tr_msg_ask_number(msg) == 0)
        err = tr_fail(c->self, TR_EINVAL, "nng socket: a request is to be asked, not sent");
    else if (c->waiting_count >= WAITING_MAX || c->waiting_bytes > WAITING_BYTES_MAX)
        err = tr_fail(c->self, TR_EFULL,
                      "nng socket: %u asks wait already: ask fewer at a time, or raise exchanges",
                      c->waiting_count);
    else if (!(waiting = tr__zalloc(sizeof(*waiting))) || !(waiting->msg = tr_msg_take(c->self, msg)))
        err = tr_fail(c->self, TR_ENOMEM, "nng socket: no memory to keep an ask");
    if (err != TR_OK) {
        tr__free(waiting);
        tr__sp_refuse(c, msg, err, tr_last_error(c->self)->text);
        return;
    }
    c->waiting_count++;
    c->waiting_bytes += waiting->msg->size;
    *c->waiting_end = waiting;
    c->waiting_end = &waiting->next;
    begin_waiting(c);
}

/* A survey's: kept until it is over. */
static bool keep_answer(tr__sp_actor *c, tr__sp_ask *ask, tr_bytes data)
{
    if (ask->count == ANSWERS_MAX || ask->bytes + data.size > c->receive_max * ANSWERS_FACTOR)
        return false;
    if (ask->count == ask->room) {
        size_t room = ask->room ? 2 * ask->room : 8;
        tr_bytes *more = tr__realloc(ask->answers, room * sizeof(*more));
        if (!more)
            return false;
        ask->answers = more;
        ask->room = room;
    }
    void *copy = tr__alloc(data.size);
    if (!copy)
        return false;
    if (data.size)
        memcpy(copy, data.data, data.size);
    ask->answers[ask->count++] = (tr_bytes){copy, data.size};
    ask->bytes += data.size;
    return true;
}

void tr__sp_on_answer(tr__sp_actor *c, const tr__sp_event *event)
{
    tr__sp_ask *ask = &c->asks[event->index];
    if (!ask->msg)
        return; /* abandoned */
    if (is_survey(c)) {
        ask->dropped += !keep_answer(c, ask, event->data);
        return;
    }
    c->counts.answered++;
    (void)tr_reply(c->self, ask->msg, tr_nng_reply, .data = event->data);
    tr_msg_free(c->self, &ask->msg);
}

void tr__sp_on_over(tr__sp_actor *c, const tr__sp_event *event)
{
    tr__sp_ask *ask = &c->asks[event->index];
    if (ask->msg && event->error.code == TR_OK) {
        c->counts.answered++;
        (void)tr_reply(c->self, ask->msg, tr_nng_answers, .answers = {ask->answers, ask->count},
                       .dropped = ask->dropped);
        tr_msg_free(c->self, &ask->msg);
    } else if (ask->msg) {
        end(c, ask->msg, event->error.code, event->error.text);
        ask->msg = NULL;
    }
    forget_answers(ask);
    ask->busy = false;
    begin_waiting(c);
}

static bool is_ask(const tr_msg *msg, const tr_canceled *canceled)
{
    return tr_msg_ask_number(msg) == canceled->ask && tr_addr_equal(tr_msg_sender(msg), canceled->asker);
}

void tr__sp_on_canceled(tr__sp_actor *c, const tr_canceled *canceled)
{
    for (tr__sp_waiting **at = &c->waiting; *at; at = &(*at)->next) {
        if (is_ask((*at)->msg, canceled)) {
            end(c, take_waiting(c, at), TR_OK, "");
            return;
        }
    }
    for (uint32_t i = 0; c->role->asks && i < c->exchanges; i++) {
        if (c->asks[i].msg && is_ask(c->asks[i].msg, canceled)) {
            tr_msg_free(c->self, &c->asks[i].msg);
            c->seam->abandon(c->sp, i);
            return;
        }
    }
}

/* ---- serving ------------------------------------------------------------------------------------------- */

/* The reply to the request of that exchange; false: it gets none. */
static bool reply(tr__sp_actor *c, uint32_t index, const tr_result *result)
{
    tr_bytes bytes;
    void *owned = NULL;
    tr_err err = result->err;
    const char *text = err && result->error ? result->error->text : "";
    if (err == TR_OK && (err = tr__sp_bytes_of(c, result->msg, &bytes, &owned)) != TR_OK)
        text = tr_last_error(c->self)->text;
    if (err == TR_OK && (err = c->seam->reply(c->sp, index, &bytes)) != TR_OK)
        text = "no memory for the reply";
    else if (err != TR_OK)
        (void)c->seam->reply(c->sp, index, NULL);
    tr__free(owned);
    if (err != TR_OK)
        tr_log(c->self, TR_LOG_DEBUG, "nng socket: a request gets no answer: %s: %.150s", tr_err_word(err),
               text);
    return err == TR_OK;
}

static void on_consumer(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__sp_actor *c = state;
    uint32_t index = (uint32_t)(uintptr_t)context;
    c->self = self;
    c->asks[index].busy = false;
    if (reply(c, index, result))
        c->counts.answered++;
    else
        c->counts.unanswered++;
}

tr_err tr__sp_serve(tr__sp_actor *c, const tr__sp_incoming *incoming)
{
    tr_future f = tr_ask(c->self, c->consumer, c->answer_timeout_ns, tr_nng_request, .data = incoming->data);
    if (f.id == 0)
        return tr_last_error(c->self)->code;
    tr_err err = tr_then(c->self, f, on_consumer, (void *)(uintptr_t)incoming->exchange);
    if (err != TR_OK) {
        tr_cancel(c->self, f);
        return err;
    }
    c->asks[incoming->exchange].busy = true;
    return TR_OK;
}

void tr__sp_asks_stop(tr__sp_actor *c)
{
    while (c->waiting)
        end(c, take_waiting(c, &c->waiting), TR_ECLOSED, "it ended; this was not sent");
    for (uint32_t i = 0; c->asks && i < c->exchanges; i++) {
        if (c->asks[i].msg)
            end(c, c->asks[i].msg, TR_ECLOSED, "it ended; this may have been answered");
        c->asks[i].msg = NULL;
        forget_answers(&c->asks[i]);
    }
    tr__free(c->asks);
}
