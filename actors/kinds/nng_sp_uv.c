/* The socket of sp.h over nng: how it is opened, wakes its loop, hands over what came, and is closed. See nng_sp.h.
 *
 * What can go wrong: no memory for a wake (tried again every 20 ms), or for an event (it is not told: an exchange's end is
 * told by the block that its beginning made); a close that hangs holds its thread and the socket, nobody else. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <nng/nng.h>
#include <nng/protocol/bus0/bus.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pair1/pair.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/protocol/survey0/respond.h>
#include <nng/protocol/survey0/survey.h>

#include "actors/driver/kinds_uv.h"
#include "actors/kinds/nng_sp.h"
#include "base/err.h"
#include "base/mem.h"
#include "transport/nng_err.h"
#include "transport/nng_start.h"

#define RETRY_MS    20
#define UNLISTEN_MS 100 /* a loop waits so long at most for nng to stop listening */

typedef struct wake_handles {
    uv_async_t async;
    uv_timer_t retry;
    uint32_t open;
    tr__sp *sp;
} wake_handles;

/* ---- queues -------------------------------------------------------------------------------------------- */

void tr__sp_push(tr__sp_queue *queue, tr__sp_item *item)
{
    item->next = NULL;
    *queue->end = item;
    queue->end = &item->next;
}

tr__sp_item *tr__sp_pop(tr__sp_queue *queue)
{
    tr__sp_item *item = queue->head;
    if (item && !(queue->head = item->next))
        queue->end = &queue->head;
    return item;
}

void tr__sp_item_free(tr__sp_item *item)
{
    if (!item)
        return;
    if (item->msg)
        nng_msg_free(item->msg);
    item->msg = NULL;
    if (!item->fixed)
        tr__free(item);
}

static void drain(tr__sp_queue *queue)
{
    tr__sp_item *item;
    while ((item = tr__sp_pop(queue)))
        tr__sp_item_free(item);
}

void tr__sp_tell(tr__sp *sp, tr__sp_item *item, tr__sp_event_kind kind, uint32_t index, int result,
                 const char *what)
{
    item->event.kind = kind;
    item->event.index = index;
    item->event.error.code = TR_OK;
    item->event.error.text[0] = '\0';
    if (result)
        tr__fail(&item->event.error, tr__nng_err(result), "%s%s%s", what, *what ? ": " : "",
                 result == NNG_EADDRINVAL ? "no such host is known" : nng_strerror(result));
    tr__sp_push(&sp->events, item);
    tr__sp_wake_owner(sp);
}

void tr__sp_tell_new(tr__sp *sp, tr__sp_event_kind kind, uint32_t index, int result, const char *what)
{
    tr__sp_item *item = tr__zalloc(sizeof(*item));
    if (item)
        tr__sp_tell(sp, item, kind, index, result, what);
}

/* ---- waking the owner ---------------------------------------------------------------------------------- */

void tr__sp_wake_owner(tr__sp *sp)
{
    wake_handles *handles = sp->wake_handles;
    if (sp->woken || sp->closed)
        return;
    sp->woken = true;
    uv_async_send(&handles->async); /* under the lock: so the handle isn't closed */
}

static void on_retry(uv_timer_t *timer);

static void inject(wake_handles *handles)
{
    if (tr__inject(handles->sp->loop, handles->sp->owner, tr__sp_wake, .unused = 0) != TR_OK)
        (void)uv_timer_start(&handles->retry, on_retry, RETRY_MS, 0);
}

static void on_async(uv_async_t *async)
{
    inject(async->data);
}

static void on_retry(uv_timer_t *timer)
{
    inject(timer->data);
}

static void on_closed(uv_handle_t *handle)
{
    wake_handles *handles = handle->data;
    if (--handles->open)
        return;
    tr__sp_unref(handles->sp);
    tr__free(handles);
}

static tr_err open_handles(tr__sp *sp, tr_error *error)
{
    uv_loop_t *uv = tr__loop_driver(sp->loop);
    wake_handles *handles = tr__zalloc(sizeof(*handles));
    if (!handles)
        return tr__fail(error, TR_ENOMEM, "no memory for a socket");
    int err = uv_async_init(uv, &handles->async, on_async);
    if (err) {
        tr__free(handles);
        return tr__fail(error, TR_EIO, "no wake-up for the socket: %s", uv_strerror(err));
    }
    uv_timer_init(uv, &handles->retry); /* can't fail */
    handles->async.data = handles->retry.data = handles;
    handles->open = 2;
    handles->sp = sp;
    sp->wake_handles = handles;
    return TR_OK;
}

/* ---- what is fetched ----------------------------------------------------------------------------------- */

static bool next_event(tr__sp *sp, tr__sp_event *event)
{
    bool resume = false;
    tr__sp_item_free(sp->borrowed);
    pthread_mutex_lock(&sp->lock);
    tr__sp_item *item = sp->borrowed = tr__sp_pop(&sp->events);
    if (!item) {
        sp->woken = false; /* what comes from now on wakes again */
    } else if (item->event.kind == TR__SP_ANSWER) {
        sp->answers--;
        sp->answer_bytes -= item->event.data.size;
        resume = true;
    }
    pthread_mutex_unlock(&sp->lock);
    if (resume)
        tr__sp_resume(sp);
    if (item)
        *event = item->event;
    return item != NULL;
}

static bool take(tr__sp *sp, tr__sp_incoming *incoming)
{
    pthread_mutex_lock(&sp->lock);
    tr__sp_item *item = sp->incoming.head;
    pthread_mutex_unlock(&sp->lock);
    if (item)
        *incoming = (tr__sp_incoming){item->event.index, item->event.data};
    return item != NULL;
}

static void done(tr__sp *sp)
{
    pthread_mutex_lock(&sp->lock);
    tr__sp_item *item = tr__sp_pop(&sp->incoming);
    if (item) {
        sp->held--;
        sp->held_bytes -= item->event.data.size;
    }
    pthread_mutex_unlock(&sp->lock);
    tr__sp_item_free(item);
    tr__sp_resume(sp);
}

static tr__sp_counts counts(tr__sp *sp, bool reset)
{
    pthread_mutex_lock(&sp->lock);
    tr__sp_counts now = sp->counts;
    now.peers = sp->peers > 0 ? (uint32_t)sp->peers : 0;
    now.waiting = sp->held;
    if (reset)
        sp->counts.sent = sp->counts.sent_to_nobody = sp->counts.send_failed = sp->counts.received =
            sp->counts.lost = 0;
    pthread_mutex_unlock(&sp->lock);
    return now;
}

/* ---- life ---------------------------------------------------------------------------------------------- */

int tr__sp_thread(void *(*run)(void *context), void *context)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, before;
    int err = pthread_attr_init(&attr);
    if (err)
        return err;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all); /* the process's signals are for others */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&thread, &attr, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

static void sp_free(tr__sp *sp)
{
    drain(&sp->events);
    drain(&sp->incoming);
    drain(&sp->outgoing);
    tr__sp_item_free(sp->borrowed);
    for (uint32_t i = 0; i < TR_NNG_URLS_MAX; i++)
        tr__free(sp->dials[i]);
    tr__free(sp->exchanges);
    pthread_cond_destroy(&sp->changed);
    pthread_mutex_destroy(&sp->lock);
    tr__free(sp);
}

void tr__sp_unref(tr__sp *sp)
{
    pthread_mutex_lock(&sp->lock);
    bool last = --sp->refs == 0;
    pthread_mutex_unlock(&sp->lock);
    if (last)
        sp_free(sp);
}

static void *closer(void *context)
{
    tr__sp *sp = context;
    tr__sp_unlisten(sp);
    pthread_mutex_lock(&sp->lock);
    sp->unlistened = true;
    pthread_cond_broadcast(&sp->changed);
    pthread_mutex_unlock(&sp->lock);
    tr__sp_end_dialling(sp);
    tr__sp_unwatch_pipes(sp);
    nng_close(sp->socket);
    tr__sp_io_close(sp);
    tr__sp_unref(sp);
    return NULL;
}

/* Whoever hears that the actor ended may listen where it did. Bounded, as nng may hang. */
static void wait_unlistened(tr__sp *sp)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += UNLISTEN_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&sp->lock);
    while (!sp->unlistened && pthread_cond_timedwait(&sp->changed, &sp->lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&sp->lock);
}

static int open_socket(tr__sp *sp)
{
    static int (*const open[TR__SP_PROTOCOLS])(nng_socket *) = {
        [TR__SP_REQ] = nng_req0_open,
        [TR__SP_REP] = nng_rep0_open,
        [TR__SP_PUB] = nng_pub0_open,
        [TR__SP_SUB] = nng_sub0_open,
        [TR__SP_PUSH] = nng_push0_open,
        [TR__SP_PULL] = nng_pull0_open,
        [TR__SP_PAIR] = nng_pair0_open,
        [TR__SP_PAIR1] = nng_pair1_open,
        [TR__SP_BUS] = nng_bus0_open,
        [TR__SP_SURVEYOR] = nng_surveyor0_open,
        [TR__SP_RESPONDENT] = nng_respondent0_open,
    };
    int result = open[sp->opts.protocol](&sp->socket);
    if (result)
        return result;
    /* Before anything listens or dials: without it a peer may claim any size, and nng allocates that. */
    result = nng_socket_set_size(sp->socket, NNG_OPT_RECVMAXSZ, sp->opts.receive_max);
    for (size_t i = 0; result == 0 && i < sp->opts.topic_count; i++)
        result =
            nng_socket_set(sp->socket, NNG_OPT_SUB_SUBSCRIBE, sp->opts.topics[i], strlen(sp->opts.topics[i]));
    sp->opts.topics = NULL; /* borrowed for this call */
    if (result)
        nng_close(sp->socket); /* nothing is connected: it waits for nobody */
    return result;
}

static tr__sp *sp_open(tr__loop *loop, tr_addr owner, const tr__sp_opts *opts, tr_error *error)
{
    pthread_condattr_t attr;
    int result;
    if (tr__nng_may_start(error) != TR_OK)
        return NULL;
    tr__sp *sp = tr__zalloc(sizeof(*sp));
    if (!sp) {
        tr__fail(error, TR_ENOMEM, "no memory for a socket");
        return NULL;
    }
    sp->loop = loop;
    sp->owner = owner;
    sp->opts = *opts;
    sp->refs = 2; /* the handles, the closer */
    sp->events.end = &sp->events.head;
    sp->incoming.end = &sp->incoming.head;
    sp->outgoing.end = &sp->outgoing.head;
    pthread_mutex_init(&sp->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sp->changed, &attr);
    pthread_condattr_destroy(&attr);
    if ((result = open_socket(sp))) {
        tr__fail(error, tr__nng_err(result), "no socket: %s", nng_strerror(result));
        goto err_socket;
    }
    if (tr__sp_io_open(sp, error) != TR_OK || open_handles(sp, error) != TR_OK)
        goto err_io;
    tr__sp_watch_pipes(sp);
    tr__sp_io_start(sp);
    return sp;
err_io:
    nng_close(sp->socket);
    tr__sp_io_close(sp);
err_socket:
    sp_free(sp);
    return NULL;
}

static void sp_close(tr__sp *sp)
{
    if (!sp)
        return;
    wake_handles *handles = sp->wake_handles;
    pthread_mutex_lock(&sp->lock);
    sp->closed = true;
    pthread_cond_broadcast(&sp->changed);
    uv_close((uv_handle_t *)&handles->async, on_closed);
    uv_close((uv_handle_t *)&handles->retry, on_closed);
    bool listens = sp->listener_count > 0;
    sp->refs++; /* ours, for the wait */
    pthread_mutex_unlock(&sp->lock);
    if (tr__sp_thread(closer, sp)) /* no thread to be had: then here, though it may take a while */
        closer(sp);
    if (listens)
        wait_unlistened(sp);
    tr__sp_unref(sp);
}

const tr__sp_seam tr__sp_nng = {.open = sp_open,
                                .listen = tr__sp_listen,
                                .dial = tr__sp_begin_dial,
                                .send = tr__sp_send,
                                .request = tr__sp_request,
                                .abandon = tr__sp_abandon,
                                .reply = tr__sp_reply,
                                .event = next_event,
                                .take = take,
                                .done = done,
                                .counts = counts,
                                .close = sp_close};
