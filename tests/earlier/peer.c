/* The plugin that test_earlier runs in nodes of earlier landings and of this one. One source, built with the headers of
 * each: so it calls only what all of them have, or says since which minor of the ABI. What is built here with PEER_TODAY
 * has a message with one more field, and one that the others don't know.
 *
 * "peer" does as it is told by `troupe ask`: it visits another node's "peer.service", holds on to it while that node is
 * killed, and says what it saw then. It answers with what was wrong, if anything was. */
#define TR_PLUGIN
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/troupe.h>

#if defined(PEER_TODAY)
TR_MESSAGE(peer_echo, (u64, number), (string, text), (addr, who), (bytes, data), (optional, string, news))
TR_MESSAGE(peer_novelty, (u64, number))
#else
TR_MESSAGE(peer_echo, (u64, number), (string, text), (addr, who), (bytes, data))
#endif
TR_MESSAGE(peer_refuse, (string, why))
TR_MESSAGE(peer_item, (u64, number))
TR_MESSAGE(peer_count) /* answered by: */
/* Of what came since it was asked last; `streams`: it can answer with items. */
TR_MESSAGE(peer_counted, (u64, count), (bool, disorder), (u64, canceled), (bool, streams))
TR_MESSAGE(peer_begin) /* an actor; answered by: */
TR_MESSAGE(peer_begun, (addr, actor))
TR_MESSAGE(peer_end, (string, why))
TR_MESSAGE(peer_keep) /* an ask that isn't answered */
TR_MESSAGE(peer_call_back, (addr, who), (u64, number))
TR_MESSAGE(peer_forward, (addr, to))
TR_MESSAGE(peer_stream, (u64, items))
TR_MESSAGE(peer_add, TR_WRITES, (i64, number), (bool, refuse))
TR_MESSAGE(peer_sum, (i64, sum))
/* What "peer" is told, and its answer to each. */
TR_MESSAGE(visit, (string, node))
TR_MESSAGE(hold, (string, node))
TR_MESSAGE(held, (string, node))
TR_MESSAGE(good, (string, what))

#define WITHIN TR_SECONDS(20)
#define HELD   20
#define ITEMS  20000

#define EXPECT(self, condition)                                                                   \
    do {                                                                                          \
        if (!(condition))                                                                         \
            return tr_fail(self, TR_EAPP, "peer.c:%d: %s (last error: %s)", __LINE__, #condition, \
                           tr_last_error(self)->text);                                            \
    } while (0)

/* ---- peer.service: what is visited ----------------------------------------------------------------------- */

typedef struct service_state {
    uint64_t count, canceled;
    bool disorder;
    tr_msg *stream; /* a streamed ask that has items to come */
    uint64_t sent;
} service_state;

static void ephemeral_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const peer_end *end = tr_match(msg, peer_end);
    (void)state;
    if (end)
        tr_exit(self, TR_EAPP, "%s", end->why);
    else if (tr_match(msg, peer_forward))
        tr_reply(self, msg, good, .what = "by another one");
}
TR_ACTOR(ephemeral, .receive = ephemeral_receive);

#define STREAMS (TR_ABI_MINOR >= 1)
#if STREAMS
/* As many as are wanted; the next tr_demand brings the rest. */
static void send_items(tr_actor *self, service_state *s)
{
    const peer_stream *wanted = tr_match(s->stream, peer_stream);
    while (s->sent < wanted->items && tr_reply_item(self, s->stream, peer_item, .number = s->sent) == TR_OK)
        s->sent++;
    if (s->sent < wanted->items && tr_last_error(self)->code == TR_EAGAIN)
        return;
    tr_reply(self, s->stream, good, .what = "all");
    tr_msg_free(self, &s->stream);
}

static void of_streams(tr_actor *self, service_state *s, const tr_msg *msg)
{
    if (tr_match(msg, peer_stream)) {
        s->stream = tr_msg_take(self, msg);
        s->sent = 0;
        send_items(self, s);
    } else if (tr_match(msg, tr_demand) && s->stream) {
        send_items(self, s);
    }
}
#else
static void of_streams(tr_actor *self, service_state *s, const tr_msg *msg)
{
    (void)self, (void)s, (void)msg;
}
#endif

/* It comes back as it came; what only a newer one knows, it does too. */
static void echo(tr_actor *self, const tr_msg *msg, const peer_echo *e)
{
#if defined(PEER_TODAY)
    tr_reply(self, msg, peer_echo, .number = e->number, .text = e->text, .who = e->who, .data = e->data,
             .news = e->news);
#else
    tr_reply(self, msg, peer_echo, .number = e->number, .text = e->text, .who = e->who, .data = e->data);
#endif
}

static void count(tr_actor *self, service_state *s, const tr_msg *msg)
{
    tr_reply(self, msg, peer_counted, .count = s->count, .disorder = s->disorder, .canceled = s->canceled,
             .streams = STREAMS);
    s->count = s->canceled = 0;
    s->disorder = false;
}

static void service_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    service_state *s = state;
    const peer_echo *e = tr_match(msg, peer_echo);
    const peer_item *item = tr_match(msg, peer_item);
    const peer_refuse *refuse = tr_match(msg, peer_refuse);
    const peer_call_back *back = tr_match(msg, peer_call_back);
    const peer_forward *forward = tr_match(msg, peer_forward);
    if (item)
        s->disorder |= item->number != s->count++;
    else if (e)
        echo(self, msg, e);
    else if (refuse)
        tr_reply_error(self, msg, TR_EAPP, "refused: %s", refuse->why);
    else if (back)
        tr_send(self, back->who, peer_item, .number = back->number);
    else if (forward)
        tr_forward(self, msg, forward->to);
    else if (tr_match(msg, peer_begin))
        tr_reply(self, msg, peer_begun, .actor = tr_spawn(self, &ephemeral, NULL));
    else if (tr_match(msg, peer_keep))
        tr_msg_take(self, msg);
    else if (tr_match(msg, tr_canceled))
        s->canceled++;
    else if (tr_match(msg, peer_count))
        count(self, s, msg);
    else
        of_streams(self, s, msg);
}
TR_ACTOR(service, .receive = service_receive, .state_size = sizeof(service_state), .mailbox_places = 65535);

/* A participant of transactions. */
static tr_err account_transact(tr_txview *v, void *state, const tr_msg *msg)
{
    const peer_add *add = tr_match(msg, peer_add);
    (void)state;
    if (!add || add->refuse)
        return tr_refuse(v, "not by me");
    int64_t sum = tr_view_i64(v, "sum", 0) + add->number;
    TR_TRY(tr_view_put_i64(v, "sum", sum));
    return tr_view_reply(v, peer_sum, .sum = sum);
}
TR_ACTOR(account, .transact = account_transact);

/* ---- a visit --------------------------------------------------------------------------------------------- */

static tr_err find(tr_actor *self, const char *node, const char *name, tr_addr *address)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, tr_fmt(self, "%s/%s", node, name), WITHIN), tr_found, &found));
    *address = found->actor;
    return TR_OK;
}

/* The next message that isn't a notice of a connection's. */
static const tr_msg *next(tr_actor *self)
{
    const tr_msg *msg;
    do
        msg = tr_receive(self, WITHIN);
    while (msg && tr_match(msg, tr_writable));
    return msg;
}

static tr_err names_and_words(tr_actor *self, const char *node, tr_addr to)
{
    const tr_found *found;
    const peer_echo *e;
    EXPECT(self, tr_await(self, tr_lookup(self, tr_fmt(self, "%s/nobody", node), TR_MILLIS(50)), tr_found,
                          &found) == TR_EDEADLINE);
#if defined(PEER_TODAY)
    TR_TRY(tr_await(self,
                    tr_ask(self, to, WITHIN, peer_echo, .number = UINT64_MAX, .text = "h\xc3\xa9llo",
                           .who = tr_self(self), .news = TR_SOME("of today")),
                    peer_echo, &e));
    EXPECT(self, !e->news.present || strcmp(e->news.value, "of today") == 0);
    EXPECT(self, tr_await_msg(self, tr_ask(self, to, WITHIN, peer_novelty, .number = 1), NULL) != TR_OK);
#endif
    TR_TRY(tr_await(self,
                    tr_ask(self, to, WITHIN, peer_echo, .number = UINT64_MAX, .text = "h\xc3\xa9llo",
                           .who = tr_self(self)),
                    peer_echo, &e));
    EXPECT(self, e->number == UINT64_MAX && strcmp(e->text, "h\xc3\xa9llo") == 0);
    EXPECT(self, tr_addr_equal(e->who, tr_self(self)) && e->data.size == 0);
    TR_TRY(tr_send(self, to, peer_call_back, .who = tr_self(self), .number = 7)); /* by the address in it */
    const tr_msg *msg = next(self);
    const peer_item *item = msg ? tr_match(msg, peer_item) : NULL;
    EXPECT(self, item && item->number == 7);
    return TR_OK;
}

static tr_err counted(tr_actor *self, tr_addr to, uint64_t items)
{
    const peer_counted *c;
    TR_TRY(tr_await(self, tr_ask(self, to, WITHIN, peer_count), peer_counted, &c));
    EXPECT(self, c->count == items && !c->disorder);
    return TR_OK;
}

/* When the connection has credit. */
static tr_err send_item(tr_actor *self, tr_addr to, uint64_t number)
{
    tr_err err;
    while ((err = tr_send(self, to, peer_item, .number = number)) == TR_EAGAIN) {
        TR_TRY(tr_notify_writable(self, to));
        EXPECT(self, tr_receive(self, WITHIN));
    }
    return err;
}

/* Many small ones, in order; what a full mailbox there would drop isn't sent. */
static tr_err flood(tr_actor *self, tr_addr to)
{
    TR_TRY(tr_await_msg(self, tr_ask(self, to, WITHIN, peer_count), NULL));
    for (uint64_t i = 0, since = 0; i < ITEMS; i++, since++) {
        if (since == 500) {
            TR_TRY(counted(self, to, since));
            since = 0;
        }
        TR_TRY(send_item(self, to, since));
    }
    return counted(self, to, 500);
}

/* Of each size, there and back, between items whose order counts. */
static tr_err large(tr_actor *self, tr_addr to)
{
    static const size_t sizes[] = {1, 1000, 65536, 1 << 20, 15 << 20};
    const peer_echo *e;
    char *data = tr_alloc(self, 17 << 20);
    EXPECT(self, data);
    for (size_t i = 0; i < 17 << 20; i++)
        data[i] = (char)(i * 2654435761u >> 13);
    TR_TRY(tr_await_msg(self, tr_ask(self, to, WITHIN, peer_count), NULL));
    for (uint64_t i = 0; i < TR_COUNT(sizes); i++) {
        tr_future future = tr_ask(self, to, WITHIN, peer_echo, .number = i, .data = {data, sizes[i]});
        TR_TRY(send_item(self, to, i));
        TR_TRY(tr_await(self, future, peer_echo, &e));
        EXPECT(self, e->number == i && e->data.size == sizes[i] && memcmp(e->data.data, data, sizes[i]) == 0);
    }
    TR_TRY(counted(self, to, TR_COUNT(sizes)));
    /* More than some can take: then it is told, and costs no connection. */
    tr_future future = tr_ask(self, to, WITHIN, peer_echo, .data = {data, 17 << 20});
    tr_err err = tr_await(self, future, peer_echo, &e);
    EXPECT(self, err == TR_ETOOBIG || (err == TR_OK && e->data.size == 17 << 20));
    tr_free(self, data);
    return TR_OK;
}

static tr_err errors(tr_actor *self, tr_addr to)
{
    const peer_counted *c;
    EXPECT(self, tr_await_msg(self, tr_ask(self, to, WITHIN, peer_refuse, .why = "no \xe2\x82\xac"), NULL) ==
                     TR_EAPP);
    EXPECT(self, strcmp(tr_last_error(self)->text, "refused: no \xe2\x82\xac") == 0);
    EXPECT(self, tr_await_msg(self, tr_ask(self, to, WITHIN, good, .what = ""), NULL) == TR_ENOACTOR);
    EXPECT(self, tr_await_msg(self, tr_ask(self, to, TR_MILLIS(50), peer_keep), NULL) == TR_EDEADLINE);
    tr_future kept = tr_ask(self, to, WITHIN, peer_keep);
    TR_TRY(tr_await_msg(self, tr_ask(self, to, WITHIN, peer_count), NULL)); /* it is with the other one now */
    tr_cancel(self, kept);
    TR_TRY(tr_await(self, tr_ask(self, to, WITHIN, peer_count), peer_counted, &c));
    EXPECT(self, c->canceled == 1);
    return TR_OK;
}

static tr_err begin_one(tr_actor *self, tr_addr to, tr_addr *one)
{
    const peer_begun *begun;
    TR_TRY(tr_await(self, tr_ask(self, to, WITHIN, peer_begin), peer_begun, &begun));
    *one = begun->actor;
    return TR_OK;
}

static tr_err monitors(tr_actor *self, tr_addr to)
{
    tr_addr one;
    TR_TRY(begin_one(self, to, &one));
    uint64_t monitor = tr_monitor(self, one);
    TR_TRY(tr_send(self, one, peer_end, .why = "asked to"));
    const tr_msg *msg = next(self);
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    EXPECT(self, down && down->monitor == monitor && tr_addr_equal(down->actor, one));
    EXPECT(self, down->kind == TR_EXIT_ERROR && down->code == TR_EAPP && strcmp(down->text, "asked to") == 0);
    monitor = tr_monitor(self, one); /* of one that is gone */
    msg = next(self);
    down = msg ? tr_match(msg, tr_down) : NULL;
    EXPECT(self, down && down->monitor == monitor && down->kind == TR_EXIT_NO_ACTOR);
    EXPECT(self, tr_await_msg(self, tr_ask(self, one, WITHIN, peer_keep), NULL) == TR_ENOACTOR);
    return TR_OK;
}

/* Handed on there, to an actor there and to one here. */
static tr_err forwards(tr_actor *self, tr_addr to)
{
    tr_addr there, here = tr_spawn(self, &ephemeral, NULL);
    const good *answer;
    TR_TRY(begin_one(self, to, &there));
    TR_TRY(tr_await(self, tr_ask(self, to, WITHIN, peer_forward, .to = there), good, &answer));
    EXPECT(self, strcmp(answer->what, "by another one") == 0);
    TR_TRY(tr_await(self, tr_ask(self, to, WITHIN, peer_forward, .to = here), good, &answer));
    EXPECT(self, strcmp(answer->what, "by another one") == 0);
    TR_TRY(tr_send(self, there, peer_end, .why = "done"));
    return tr_send(self, here, peer_end, .why = "done");
}

/* By demand, if both have streams. */
static tr_err stream(tr_actor *self, tr_addr to)
{
    const peer_counted *c;
    TR_TRY(tr_await(self, tr_ask(self, to, WITHIN, peer_count), peer_counted, &c));
#if STREAMS
    const peer_item *item;
    const good *answer;
    uint64_t came = 0;
    if (!c->streams)
        return TR_OK;
    tr_future future = tr_ask_stream(self, to, WITHIN, 4, peer_stream, .items = 100);
    while (tr_next(self, future, peer_item, &item) == TR_OK)
        EXPECT(self, item->number == came++);
    EXPECT(self, came == 100);
    TR_TRY(tr_await(self, future, good, &answer));
    EXPECT(self, strcmp(answer->what, "all") == 0);
#endif
    return TR_OK;
}

/* Two participants, one here and one there; and each of them refuses in turn. */
typedef struct transfer {
    const char *paths[2];
    int refuses; /* which; -1: none */
    int64_t sums[2];
} transfer;

static tr_err transfer_body(tr_actor *self, tr_tx *tx, void *arg)
{
    transfer *t = arg;
    (void)self;
    for (int i = 0; i < 2; i++) {
        const peer_sum *sum;
        TR_TRY(tr_tx_await_reply(tx, t->paths[i], peer_sum, &sum, peer_add, .number = 1,
                                 .refuse = t->refuses == i));
        t->sums[i] = sum->sum;
    }
    return TR_OK;
}

static tr_err transactions(tr_actor *self, const char *node)
{
    char there[2 * TR_NAME_MAX];
    int64_t before[2] = {0};
    snprintf(there, sizeof(there), "%s/peer.account", node);
    for (int round = 0; round < 4; round++) {
        transfer t = {.paths = {"peer.account", there}, .refuses = round % 3 - 1};
        tr_tx_outcome out = tr_tx_run(self, transfer_body, &t, NULL);
        if (t.refuses >= 0) {
            EXPECT(self, out.status == TR_TX_ABORTED && strstr(out.text, "not by me"));
            continue;
        }
        if (out.status != TR_TX_COMMITTED)
            return tr_fail(self, TR_EAPP, "a transaction of both nodes: %s", out.text);
        EXPECT(self, round == 0 || (t.sums[0] == before[0] + 1 && t.sums[1] == before[1] + 1));
        memcpy(before, t.sums, sizeof(before));
    }
    return TR_OK;
}

static tr_err visit_all(tr_actor *self, const char *node)
{
    tr_addr to;
    TR_TRY(find(self, node, "peer.service", &to));
    TR_TRY(names_and_words(self, node, to));
    TR_TRY(flood(self, to));
    TR_TRY(large(self, to));
    TR_TRY(errors(self, to));
    TR_TRY(monitors(self, to));
    TR_TRY(forwards(self, to));
    TR_TRY(stream(self, to));
    TR_TRY(transactions(self, node));
    return counted(self, to, 0); /* it is the one that it was */
}

/* ---- the other node is killed ---------------------------------------------------------------------------- */

typedef struct holding {
    tr_addr to;
    tr_future asks[HELD];
    uint64_t monitor;
    uint32_t downs; /* heard of it, the last by that kind */
    uint32_t kind;
} holding;

static void note_down(holding *h, const tr_msg *msg)
{
    const tr_down *down = tr_match(msg, tr_down);
    if (!down || down->monitor != h->monitor)
        return;
    h->downs++;
    h->kind = down->kind;
}

static tr_err hold_on(tr_actor *self, holding *h, const char *node)
{
    TR_TRY(find(self, node, "peer.service", &h->to));
    for (int i = 0; i < HELD; i++)
        h->asks[i] = tr_ask(self, h->to, TR_FOREVER, peer_keep);
    h->monitor = tr_monitor(self, h->to);
    h->downs = 0;
    EXPECT(self, h->monitor);
    return tr_await_msg(self, tr_ask(self, h->to, WITHIN, peer_count), NULL); /* behind them */
}

/* All that was held has ended, once, for the connection; and who is there now is another one. */
static tr_err held_on(tr_actor *self, holding *h, const char *node)
{
    tr_addr now;
    for (int i = 0; i < HELD; i++)
        EXPECT(self, tr_await_msg(self, h->asks[i], NULL) == TR_ENOCONN);
    const tr_msg *msg;
    while (h->downs == 0 && (msg = tr_receive(self, WITHIN)))
        note_down(h, msg);
    EXPECT(self, h->downs == 1 && h->kind == TR_EXIT_NO_CONNECTION);
    TR_TRY(find(self, node, "peer.service", &now));
    EXPECT(self, now.node != h->to.node);
    EXPECT(self, tr_send(self, h->to, peer_item, .number = 0) == TR_ENOCONN);
    return counted(self, now, 0);
}

/* ---- peer: what is told ---------------------------------------------------------------------------------- */

static tr_err obey(tr_actor *self, holding *h, const tr_msg *msg)
{
    const visit *v = tr_match(msg, visit);
    const hold *o = tr_match(msg, hold);
    const held *d = tr_match(msg, held);
    return v   ? visit_all(self, v->node)
           : o ? hold_on(self, h, o->node)
           : d ? held_on(self, h, d->node)
               : tr_fail(self, TR_EINVAL, "what is a %s?", tr_msg_type_name(msg));
}

static tr_err peer_run(tr_actor *self, void *arg)
{
    holding h = {0};
    const tr_msg *msg;
    (void)arg;
    while ((msg = tr_receive(self, TR_FOREVER))) {
        note_down(&h, msg);
        if (!tr_msg_ask_number(msg))
            continue;
        tr_msg *told = tr_msg_take(self, msg);
        tr_err err = obey(self, &h, told);
        if (err == TR_OK)
            tr_reply(self, told, good, .what = "all as it should be");
        else
            tr_reply_error(self, told, TR_EAPP, "%s: %s", tr_err_word(err), tr_last_error(self)->text);
        tr_msg_free(self, &told);
    }
    return tr_last_error(self)->code;
}
TR_ACTOR(peer, .run = peer_run);

TR_PLUGIN_EXPORT("peer", "1", &peer, &service, &account);
