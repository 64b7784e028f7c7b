/* What moves messages over an nng socket: one send, one receive, or exchanges with a context and an aio each. See nng_sp.h.
 *
 * Possible failures: of a send or an exchange: it is told with the event that ends it. Of the receive, other than by
 * closing: BROKEN. No memory for what came in: it is counted as lost. */
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/protocol/survey0/survey.h>

#include "actors/kinds/nng_sp.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/nng_err.h"

static nng_duration milliseconds(uint64_t ns)
{
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0);
    return ms > INT32_MAX ? INT32_MAX : (nng_duration)ms;
}

static nng_msg *make_message(tr_bytes data)
{
    nng_msg *msg;
    if (nng_msg_alloc(&msg, data.size))
        return NULL;
    if (data.size)
        memcpy(nng_msg_body(msg), data.data, data.size);
    return msg;
}

/* Locked. May one more message be received? */
static bool has_room(const tr__sp *sp)
{
    return sp->held < sp->opts.receive_ahead && sp->held_bytes < sp->opts.receive_max;
}

static bool has_answer_room(const tr__sp *sp)
{
    return sp->answers < sp->opts.receive_ahead && sp->answer_bytes < sp->opts.receive_max;
}

/* Locked. */
static void keep_incoming(tr__sp *sp, tr__sp_item *item, nng_msg *msg, uint32_t exchange)
{
    item->msg = msg;
    item->event.index = exchange;
    item->event.data = (tr_bytes){nng_msg_body(msg), nng_msg_len(msg)};
    sp->held++;
    sp->held_bytes += item->event.data.size;
    sp->counts.received++;
    tr__sp_push(&sp->incoming, item);
    tr__sp_wake_owner(sp);
}

/* ---- receiving without being asked --------------------------------------------------------------------- */

static void on_received(void *context)
{
    tr__sp *sp = context;
    int result = nng_aio_result(sp->receive_aio);
    nng_msg *msg = result ? NULL : nng_aio_get_msg(sp->receive_aio);
    tr__sp_item *item = msg ? tr__zalloc(sizeof(*item)) : NULL;
    pthread_mutex_lock(&sp->lock);
    bool again = !result && !sp->closed;
    if (item) {
        keep_incoming(sp, item, msg, 0);
        msg = NULL;
    } else if (msg) {
        sp->counts.lost++;
    } else if (!sp->closed && result != NNG_ECLOSED && result != NNG_ECANCELED) {
        tr__sp_tell_new(sp, TR__SP_BROKEN, 0, result, "receiving failed");
    }
    if (again && !has_room(sp)) {
        sp->receive_paused = true;
        again = false;
    }
    pthread_mutex_unlock(&sp->lock);
    if (msg)
        nng_msg_free(msg);
    if (again)
        nng_recv_aio(sp->socket, sp->receive_aio);
}

/* ---- sending ------------------------------------------------------------------------------------------- */

/* Post the head of what is to be sent. */
static void post_send(tr__sp *sp, tr__sp_item *item)
{
    nng_aio_set_timeout(sp->send_aio,
                        item->timeout_ns ? milliseconds(item->timeout_ns) : NNG_DURATION_INFINITE);
    nng_aio_set_msg(sp->send_aio, item->msg);
    nng_send_aio(sp->socket, sp->send_aio);
}

static bool is_lossy(const tr__sp *sp)
{
    return sp->opts.protocol == TR__SP_PUB || sp->opts.protocol == TR__SP_BUS;
}

static void on_sent(void *context)
{
    tr__sp *sp = context;
    int result = nng_aio_result(sp->send_aio);
    pthread_mutex_lock(&sp->lock);
    tr__sp_item *item = tr__sp_pop(&sp->outgoing);
    size_t size = (size_t)item->event.data.size;
    if (!result)
        item->msg = NULL; /* nng's */
    sp->counts.unsent--;
    sp->counts.unsent_bytes -= size;
    sp->counts.sent += !result;
    sp->counts.send_failed += result != 0;
    sp->counts.sent_to_nobody += !result && is_lossy(sp) && sp->peers <= 0;
    if (sp->want_room && (sp->counts.unsent <= sp->opts.send_ahead / 2 || !sp->outgoing.head)) {
        sp->want_room = false;
        tr__sp_tell_new(sp, TR__SP_ROOM, 0, 0, "");
    }
    bool told = item->event.key != 0;
    if (told)
        tr__sp_tell(sp, item, TR__SP_SENT, 0, result,
                    result == NNG_ETIMEDOUT ? "not sent in time, nobody takes it" : "not sent");
    tr__sp_item *next = sp->closed ? NULL : sp->outgoing.head;
    sp->sending = next != NULL;
    pthread_mutex_unlock(&sp->lock);
    if (!told)
        tr__sp_item_free(item);
    if (next)
        post_send(sp, next);
}

tr_err tr__sp_send(tr__sp *sp, uint64_t key, tr_bytes data, uint64_t timeout_ns)
{
    pthread_mutex_lock(&sp->lock);
    bool full = sp->counts.unsent >= sp->opts.send_ahead ||
                (sp->counts.unsent && sp->counts.unsent_bytes + data.size > sp->opts.send_max);
    sp->want_room |= full;
    pthread_mutex_unlock(&sp->lock);
    if (full)
        return TR_EFULL;
    tr__sp_item *item = tr__zalloc(sizeof(*item));
    if (!item)
        return TR_ENOMEM;
    if (!(item->msg = make_message(data))) {
        tr__free(item);
        return TR_ENOMEM;
    }
    item->event.key = key;
    item->event.data.size = data.size;
    item->timeout_ns = timeout_ns;
    pthread_mutex_lock(&sp->lock);
    tr__sp_push(&sp->outgoing, item);
    sp->counts.unsent++;
    sp->counts.unsent_bytes += data.size;
    bool start = !sp->sending;
    sp->sending = true;
    pthread_mutex_unlock(&sp->lock);
    if (start) {
        nng_aio_wait(sp->send_aio); /* N1: the last callback may not have returned */
        post_send(sp, item);
    }
    return TR_OK;
}

/* ---- exchanges ----------------------------------------------------------------------------------------- */

static bool serves(const tr__sp *sp)
{
    return sp->opts.protocol == TR__SP_REP || sp->opts.protocol == TR__SP_RESPONDENT;
}

/* In the callback, or where N1 holds: receive within what is left of its time. */
static void post_exchange_receive(tr__sp_exchange *ex)
{
    nng_duration left = NNG_DURATION_INFINITE;
    if (ex->deadline != UINT64_MAX) {
        nng_time now = nng_clock();
        left = ex->deadline > now ? (nng_duration)(ex->deadline - now) : NNG_DURATION_ZERO;
    }
    nng_aio_set_timeout(ex->aio, left);
    nng_ctx_recv(ex->ctx, ex->aio);
    /* One that was abandoned when nothing was posted yet. */
    pthread_mutex_lock(&ex->sp->lock);
    bool abandoned = ex->abandoned;
    pthread_mutex_unlock(&ex->sp->lock);
    if (abandoned)
        nng_aio_cancel(ex->aio);
}

/* Locked. */
static void end_asking(tr__sp_exchange *ex, int result)
{
    static const char *const said[] = {"no answer came in time",
                                       "the question was not sent in time, nobody takes it",
                                       "the exchange failed"};
    bool survey_over = ex->sp->opts.protocol == TR__SP_SURVEYOR && ex->state == TR__SP_RECEIVING &&
                       (result == NNG_ETIMEDOUT || result == NNG_ESTATE);
    unsigned which = result != NNG_ETIMEDOUT ? 2 : ex->state == TR__SP_ASKING;
    ex->state = TR__SP_FREE;
    tr__sp_tell(ex->sp, &ex->item, TR__SP_OVER, ex->index, survey_over ? 0 : result, said[which]);
}

/* Locked. A message of an asking exchange: is another to be received now? */
static bool take_answer(tr__sp_exchange *ex, nng_msg *msg)
{
    tr__sp *sp = ex->sp;
    tr__sp_item *item = tr__zalloc(sizeof(*item));
    if (item) {
        item->msg = msg;
        item->event.data = (tr_bytes){nng_msg_body(msg), nng_msg_len(msg)};
        sp->answers++;
        sp->answer_bytes += item->event.data.size;
        sp->counts.received++;
        tr__sp_tell(sp, item, TR__SP_ANSWER, ex->index, 0, "");
    } else {
        nng_msg_free(msg);
        sp->counts.lost++;
    }
    if (sp->opts.protocol == TR__SP_REQ) {
        end_asking(ex, item ? 0 : NNG_ENOMEM);
        return false;
    }
    if (has_answer_room(sp))
        return true;
    ex->state = TR__SP_PAUSED;
    return false;
}

/* Locked. What a callback of a serving exchange is followed by. */
static bool next_of_serving(tr__sp_exchange *ex, int result, nng_msg *msg)
{
    if (ex->state == TR__SP_REPLYING) {
        ex->sp->counts.sent += !result;
        ex->sp->counts.send_failed += result != 0;
        ex->state = TR__SP_RECEIVING;
        return true;
    }
    if (msg) {
        ex->state = TR__SP_HELD;
        keep_incoming(ex->sp, &ex->item, msg, ex->index);
    } else if (result != NNG_ECLOSED && result != NNG_ECANCELED) {
        tr__sp_tell_new(ex->sp, TR__SP_BROKEN, ex->index, result, "receiving failed");
    }
    return false;
}

static bool next_of_asking(tr__sp_exchange *ex, int result, nng_msg *msg)
{
    if (!result && ex->state == TR__SP_ASKING && !ex->abandoned) {
        ex->state = TR__SP_RECEIVING;
        return true;
    }
    if (msg && !ex->abandoned)
        return take_answer(ex, msg);
    if (msg)
        nng_msg_free(msg);
    end_asking(ex, result ? result : NNG_ECANCELED);
    return false;
}

static void on_exchange(void *context)
{
    tr__sp_exchange *ex = context;
    tr__sp *sp = ex->sp;
    int result = nng_aio_result(ex->aio);
    nng_msg *unwanted = NULL, *msg = nng_aio_get_msg(ex->aio); /* received; none if it was sent */
    nng_aio_set_msg(ex->aio, NULL);
    if (result) { /* not sent; or, since nng 1.12, received and cancelled then */
        unwanted = msg;
        msg = NULL;
    }
    pthread_mutex_lock(&sp->lock);
    bool again = false;
    if (sp->closed) {
        if (msg)
            nng_msg_free(msg);
    } else {
        again = serves(sp) ? next_of_serving(ex, result, msg) : next_of_asking(ex, result, msg);
    }
    pthread_mutex_unlock(&sp->lock);
    if (unwanted)
        nng_msg_free(unwanted);
    if (again)
        post_exchange_receive(ex);
}

tr_err tr__sp_request(tr__sp *sp, uint32_t index, tr_bytes data, uint64_t timeout_ns)
{
    tr__sp_exchange *ex = &sp->exchanges[index];
    nng_msg *msg = make_message(data);
    if (!msg)
        return TR_ENOMEM;
    bool endless = timeout_ns == TR_FOREVER;
    nng_duration timeout = endless ? NNG_DURATION_INFINITE : milliseconds(timeout_ns);
    nng_aio_wait(ex->aio); /* N1 */
    if (sp->opts.protocol == TR__SP_SURVEYOR)
        nng_ctx_set_ms(ex->ctx, NNG_OPT_SURVEYOR_SURVEYTIME, timeout);
    pthread_mutex_lock(&sp->lock);
    ex->state = TR__SP_ASKING;
    ex->abandoned = false;
    /* A survey ends by its own time: the receive waits a little longer. */
    ex->deadline = endless ? UINT64_MAX : nng_clock() + (nng_time)timeout;
    pthread_mutex_unlock(&sp->lock);
    nng_aio_set_timeout(ex->aio, timeout);
    nng_aio_set_msg(ex->aio, msg);
    nng_ctx_send(ex->ctx, ex->aio);
    return TR_OK;
}

void tr__sp_abandon(tr__sp *sp, uint32_t index)
{
    tr__sp_exchange *ex = &sp->exchanges[index];
    pthread_mutex_lock(&sp->lock);
    ex->abandoned = true;
    if (ex->state == TR__SP_PAUSED)
        end_asking(ex, NNG_ECANCELED); /* nothing is posted that could be ended */
    pthread_mutex_unlock(&sp->lock);
    nng_aio_cancel(ex->aio);
}

tr_err tr__sp_reply(tr__sp *sp, uint32_t index, const tr_bytes *data)
{
    tr__sp_exchange *ex = &sp->exchanges[index];
    nng_msg *msg = data ? make_message(*data) : NULL;
    nng_aio_wait(ex->aio); /* N1 */
    pthread_mutex_lock(&sp->lock);
    ex->state = msg ? TR__SP_REPLYING : TR__SP_RECEIVING;
    pthread_mutex_unlock(&sp->lock);
    if (msg) {
        nng_aio_set_timeout(ex->aio,
                            NNG_DURATION_INFINITE); /* rep and respondent drop what a peer doesn't take */
        nng_aio_set_msg(ex->aio, msg);
        nng_ctx_send(ex->ctx, ex->aio);
    } else {
        post_exchange_receive(ex);
    }
    return data && !msg ? TR_ENOMEM : TR_OK;
}

/* ---- pauses -------------------------------------------------------------------------------------------- */

/* One that is paused, and goes on; NULL: none. */
static tr__sp_exchange *take_paused(tr__sp *sp)
{
    tr__sp_exchange *found = NULL;
    pthread_mutex_lock(&sp->lock);
    for (uint32_t i = 0; has_answer_room(sp) && !found && i < sp->opts.exchanges; i++)
        if (sp->exchanges[i].state == TR__SP_PAUSED)
            found = &sp->exchanges[i];
    if (found)
        found->state = TR__SP_RECEIVING;
    pthread_mutex_unlock(&sp->lock);
    return found;
}

void tr__sp_resume(tr__sp *sp)
{
    pthread_mutex_lock(&sp->lock);
    bool receive = sp->receive_paused && has_room(sp);
    sp->receive_paused &= !receive;
    pthread_mutex_unlock(&sp->lock);
    if (receive) {
        nng_aio_wait(sp->receive_aio); /* N1 */
        nng_recv_aio(sp->socket, sp->receive_aio);
    }
    tr__sp_exchange *ex;
    while (sp->opts.protocol == TR__SP_SURVEYOR && (ex = take_paused(sp))) {
        nng_aio_wait(ex->aio);
        post_exchange_receive(ex);
    }
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static int open_exchange(tr__sp *sp, uint32_t index)
{
    tr__sp_exchange *ex = &sp->exchanges[index];
    int result = nng_aio_alloc(&ex->aio, on_exchange, ex);
    if (result)
        return result;
    ex->sp = sp;
    ex->index = index;
    ex->deadline = UINT64_MAX;
    ex->item.fixed = true;
    ex->state = serves(sp) ? TR__SP_RECEIVING : TR__SP_FREE;
    result = nng_ctx_open(&ex->ctx, sp->socket);
    if (!result && sp->opts.protocol == TR__SP_REQ)
        result =
            nng_ctx_set_ms(ex->ctx, NNG_OPT_REQ_RESENDTIME,
                           sp->opts.resend_ns ? milliseconds(sp->opts.resend_ns) : NNG_DURATION_INFINITE);
    return result;
}

tr_err tr__sp_io_open(tr__sp *sp, tr_error *error)
{
    static const bool sends[TR__SP_PROTOCOLS] = {[TR__SP_PUB] = true,
                                                 [TR__SP_PUSH] = true,
                                                 [TR__SP_PAIR] = true,
                                                 [TR__SP_PAIR1] = true,
                                                 [TR__SP_BUS] = true};
    static const bool receives[TR__SP_PROTOCOLS] = {[TR__SP_SUB] = true,
                                                    [TR__SP_PULL] = true,
                                                    [TR__SP_PAIR] = true,
                                                    [TR__SP_PAIR1] = true,
                                                    [TR__SP_BUS] = true};
    int result = 0;
    if (sends[sp->opts.protocol])
        result = nng_aio_alloc(&sp->send_aio, on_sent, sp);
    if (!result && receives[sp->opts.protocol])
        result = nng_aio_alloc(&sp->receive_aio, on_received, sp);
    if (!result && sp->opts.exchanges) {
        sp->exchanges = tr__zalloc(sp->opts.exchanges * sizeof(*sp->exchanges));
        if (!sp->exchanges)
            result = NNG_ENOMEM;
    }
    for (uint32_t i = 0; !result && i < sp->opts.exchanges; i++)
        result = open_exchange(sp, i);
    return result ? tr__fail(error, tr__nng_err(result), "no socket: %s", nng_strerror(result)) : TR_OK;
}

void tr__sp_io_start(tr__sp *sp)
{
    if (sp->receive_aio) {
        nng_aio_set_timeout(sp->receive_aio, NNG_DURATION_INFINITE);
        nng_recv_aio(sp->socket, sp->receive_aio);
    }
    for (uint32_t i = 0; serves(sp) && i < sp->opts.exchanges; i++)
        post_exchange_receive(&sp->exchanges[i]);
}

static void aio_end(nng_aio *aio)
{
    if (!aio)
        return;
    nng_aio_stop(aio); /* waits for its callback */
    nng_aio_free(aio);
}

void tr__sp_io_close(tr__sp *sp)
{
    aio_end(sp->send_aio);
    aio_end(sp->receive_aio);
    for (uint32_t i = 0; sp->exchanges && i < sp->opts.exchanges; i++)
        aio_end(sp->exchanges[i].aio);
}
