/* The topic: see troupe/groups.h. One actor; it never waits for a subscriber.
 *
 *     subscriber   what is published                              next, when
 *     keeping up   is sent at once                                behind: its mailbox, or its connection, was full
 *     behind       is kept in its room, or lost, by its policy    keeping up: told of places, all was sent and told
 *                                                                 gone: TR_TOPIC_END, and the room is full
 *     any ──► gone: it ended, its node can't be reached, it unsubscribed
 *
 * G1  A subscriber gets what is published in order; where some are lost it is told how many, there.
 * G2  What the topic keeps for a subscriber is bounded by its room; a message that several are to get is kept once. */
#include <string.h>

#include <troupe/groups.h>
#include <troupe/troupe.h>

#include "actors/kinds/message_like.h"
#include "actors/pending.h"
#include "base/mem.h"

#define SUBSCRIBERS     1024
#define SUBSCRIBERS_MAX 4000
#define ROOM            16
#define ROOM_MAX        1024
#define RETRY           TR_MILLIS(20) /* without memory to be told of places */

TR_MESSAGE(tr__topic_retry)

/* Published, and kept for some. */
typedef struct kept {
    tr_msg *msg;
    uint32_t holders;
} kept;

typedef struct subscriber {
    tr_addr actor;
    uint64_t monitor;
    tr_topic_policy policy;
    uint32_t room, first, count; /* of `ring` */
    kept **ring;
    uint64_t lost; /* not told yet: before the ring, or (drop-newest) behind it */
    bool wants;    /* a tr_writable comes */
} subscriber;

typedef struct topic {
    subscriber *subscribers;
    uint32_t count, most, size;
    tr__pending *tick;
    bool retry; /* somebody is behind, and no notice will come */
} topic;

/* ---- what is kept -------------------------------------------------------------------------------------- */

static void let_go(tr_actor *self, kept *k)
{
    if (--k->holders)
        return;
    tr_msg_free(self, &k->msg);
    tr__free(k);
}

static kept *oldest(subscriber *s)
{
    return s->ring[s->first];
}

static void drop_oldest(tr_actor *self, subscriber *s)
{
    let_go(self, oldest(s));
    s->first = (s->first + 1) % s->room;
    s->count--;
}

static void forget(tr_actor *self, topic *t, subscriber *s)
{
    while (s->count)
        drop_oldest(self, s);
    tr__free(s->ring);
    tr_demonitor(self, s->monitor);
    uint32_t index = (uint32_t)(s - t->subscribers);
    memmove(s, s + 1, (--t->count - index) * sizeof(*s)); /* in order: who came first gets it first */
}

/* ---- one subscriber ------------------------------------------------------------------------------------ */

static bool is_behind(const subscriber *s)
{
    return s->count || s->lost;
}

static void want(tr_actor *self, topic *t, subscriber *s)
{
    s->wants = s->wants || tr_notify_writable(self, s->actor) == TR_OK;
    t->retry = t->retry || !s->wants;
}

static tr_err tell_lost(tr_actor *self, subscriber *s, bool ended)
{
    tr_err err = s->lost ? tr_send(self, s->actor, tr_topic_lost, .count = s->lost, .ended = ended) : TR_OK;
    if (err == TR_OK)
        s->lost = 0;
    return err;
}

/* As far as it goes: the loss where it was, before the ring or behind it (G1). */
static void catch_up(tr_actor *self, topic *t, subscriber *s)
{
    tr_err err = s->policy == TR_TOPIC_DROP_NEWEST ? TR_OK : tell_lost(self, s, false);
    while (err == TR_OK && s->count) {
        err = tr__send_like(self, s->actor, oldest(s)->msg);
        if (err == TR_OK)
            drop_oldest(self, s);
    }
    if (err == TR_OK)
        err = tell_lost(self, s, false);
    if (is_behind(s))
        want(self, t, s);
}

/* There is no place in its mailbox. *made: what was kept of this message, for all who are behind. False: it is no
 * subscriber any more. */
static bool keep(tr_actor *self, subscriber *s, const tr_msg *msg, kept **made)
{
    bool no_room = s->count == s->room || (s->policy == TR_TOPIC_DROP_NEWEST && s->lost);
    if (no_room && s->policy == TR_TOPIC_END) {
        s->lost += s->count + 1;
        return false;
    }
    if (!*made && (*made = tr__zalloc(sizeof(kept)))) {
        (*made)->msg = tr_msg_take(self, msg);
        (*made)->holders = 1; /* the publication's own */
    }
    if (!*made || !(*made)->msg || (no_room && s->policy == TR_TOPIC_DROP_NEWEST)) {
        s->lost++;
        return true;
    }
    if (no_room) {
        drop_oldest(self, s);
        s->lost++;
    }
    s->ring[(s->first + s->count++) % s->room] = *made;
    (*made)->holders++;
    return true;
}

/* ---- what it hears ------------------------------------------------------------------------------------- */

static void publish(tr_actor *self, topic *t, const tr_msg *msg)
{
    kept *made = NULL;
    if (tr_msg_ask_number(msg)) /* before it is taken */
        tr_reply(self, msg, tr_published, .subscribers = t->count);
    for (uint32_t i = 0; i < t->count;) {
        subscriber *s = &t->subscribers[i];
        const tr_msg *from = made && made->msg ? made->msg : msg;
        tr_err err = is_behind(s) ? TR_EFULL : tr__send_like(self, s->actor, from);
        if (err == TR_OK) {
            i++;
        } else if (err == TR_ENOMEM || err == TR_ETOOBIG || err == TR_ENOCONN) {
            s->lost++; /* it hears so when it can */
            want(self, t, s);
            i++;
        } else if (keep(self, s, from, &made)) {
            want(self, t, s);
            i++;
        } else {
            tell_lost(self, s, true); /* if even that finds no place, its silence tells it */
            forget(self, t, s);
        }
    }
    if (made)
        let_go(self, made);
}

static subscriber *find(topic *t, tr_addr actor)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (tr_addr_equal(t->subscribers[i].actor, actor))
            return &t->subscribers[i];
    return NULL;
}

static tr_err more_room(topic *t)
{
    if (t->count < t->size)
        return TR_OK;
    uint32_t size = t->size ? 2 * t->size : 8;
    subscriber *all = tr__realloc(t->subscribers, size * sizeof(*all));
    if (!all)
        return TR_ENOMEM;
    t->subscribers = all;
    t->size = size;
    return TR_OK;
}

static tr_err add(tr_actor *self, topic *t, tr_addr actor, const tr_subscribe *how)
{
    uint32_t room = how->room ? how->room : ROOM;
    if (find(t, actor))
        return TR_OK;
    if (tr_addr_is_none(actor) || how->policy > TR_TOPIC_END || room > ROOM_MAX)
        return tr_fail(self, TR_EINVAL,
                       "a subscriber is an actor, its policy one of three, its room at most %d", ROOM_MAX);
    if (t->count >= t->most)
        return tr_fail(self, TR_EFULL, "this topic has its %u subscribers", t->most);
    kept **ring = tr__alloc(room * sizeof(kept *));
    uint64_t monitor = ring && more_room(t) == TR_OK ? tr_monitor(self, actor) : 0;
    if (!monitor) {
        tr__free(ring);
        return tr_fail(self, TR_ENOMEM, "no memory for a subscriber");
    }
    t->subscribers[t->count++] = (subscriber){.actor = actor,
                                              .monitor = monitor,
                                              .policy = (tr_topic_policy)how->policy,
                                              .room = room,
                                              .ring = ring};
    return TR_OK;
}

static void subscribe(tr_actor *self, topic *t, const tr_msg *msg, const tr_subscribe *how)
{
    tr_err err = add(self, t, tr_msg_sender(msg), how);
    if (tr_msg_ask_number(msg) == 0)
        return;
    if (err == TR_OK)
        tr_reply(self, msg, tr_subscribed);
    else
        tr_reply_error(self, msg, err, "%s", tr_last_error(self)->text);
}

static void down(tr_actor *self, topic *t, const tr_down *d)
{
    for (uint32_t i = 0; i < t->count; i++) {
        subscriber *s = &t->subscribers[i];
        if (s->monitor != d->monitor)
            continue;
        bool lives = d->kind == TR_EXIT_NO_ACTOR && d->code == TR_ENOMEM; /* it couldn't be noted there */
        if (!lives || !(s->monitor = tr_monitor(self, s->actor)))
            forget(self, t, s);
        return;
    }
}

static void retry_all(tr_actor *self, topic *t)
{
    tr__tick_back(tr__owner(self), t->tick);
    t->retry = false;
    for (uint32_t i = 0; i < t->count; i++)
        if (is_behind(&t->subscribers[i]) && !t->subscribers[i].wants)
            catch_up(self, t, &t->subscribers[i]);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    topic *t = state;
    const tr_subscribe *how = tr_match(msg, tr_subscribe);
    const tr_writable *writable = tr_match(msg, tr_writable);
    const tr_down *d = tr_match(msg, tr_down);
    subscriber *s;
    if (how) {
        subscribe(self, t, msg, how);
    } else if (tr_match(msg, tr_unsubscribe)) {
        if ((s = find(t, tr_msg_sender(msg))))
            forget(self, t, s);
        if (tr_msg_ask_number(msg))
            tr_reply(self, msg, tr_subscribed);
    } else if (d) {
        down(self, t, d);
    } else if (writable) {
        if ((s = find(t, writable->actor))) {
            s->wants = false;
            catch_up(self, t, s);
        }
    } else if (tr_match(msg, tr__topic_retry)) {
        retry_all(self, t);
    } else if (!tr_match(msg, tr_canceled)) {
        publish(self, t, msg);
    }
    if (t->retry)
        tr__tick_set(tr__owner(self), t->tick, RETRY);
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    topic *t = state;
    const tr_topic_opts *opts = arg;
    t->most = opts && opts->subscribers_max ? opts->subscribers_max : SUBSCRIBERS;
    if (t->most > SUBSCRIBERS_MAX)
        return tr_fail(self, TR_EINVAL, "subscribers_max is at most %d", SUBSCRIBERS_MAX);
    t->tick = tr__tick_make(tr__owner(self), self, &tr__topic_retry_type);
    return t->tick ? TR_OK : tr_fail(self, TR_ENOMEM, "no memory for a topic");
}

static void stop(tr_actor *self, void *state)
{
    topic *t = state;
    while (t->count)
        forget(self, t, &t->subscribers[t->count - 1]);
    tr__free(t->subscribers);
}

const tr_actor_def tr_topic = {.name = "topic",
                               .state_size = sizeof(topic),
                               .arg_type = &tr_topic_opts_type,
                               .init = init,
                               .receive = receive,
                               .stop = stop};
