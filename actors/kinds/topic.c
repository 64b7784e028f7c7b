/* The topic: see troupe/groups.h. One actor; it never waits for a subscriber. Another node's topic of the same cluster is a
 * subscriber of another kind: it has asked for a feed, so to it goes by its demand what was published here (N2), and what
 * comes from it is for the other subscribers (topic_nodes.h).
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

#include "actors/futures/pending.h"
#include "actors/kinds/message_like.h"
#include "actors/kinds/topic_nodes.h"
#include "base/mem.h"
#include "base/plant.h"

#define SUBSCRIBERS     1024
#define SUBSCRIBERS_MAX 4000
#define ROOM            16
#define ROOM_MAX        1024
#define ROOM_OF_NODE    256
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
    tr_msg *feed; /* another node's topic: its ask; NULL: an actor */
    tr_topic_policy policy;
    uint32_t room, first, count; /* of `ring` */
    kept **ring;
    uint64_t lost; /* not told yet: before the ring, or (drop-newest) behind it */
    bool wants;    /* a tr_writable, or a tr_demand, comes */
} subscriber;

typedef struct topic {
    tr__topic_nodes nodes; /* first */
    subscriber *subscribers;
    uint32_t count, feeds, most, size; /* feeds: those of `count` that are other nodes' topics */
    uint64_t published, lost;
    tr__pending *tick;
    bool retry; /* somebody is behind, and no notice will come, or isn't watched for want of memory */
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

/* Of messages that it stands for: what another node's topic tells of losses is passed on like what it published. */
static uint64_t weight(const tr_msg *msg)
{
    const tr_topic_lost *lost = tr_match(msg, tr_topic_lost);
    return lost ? lost->count : 1;
}

static void lose(topic *t, subscriber *s, uint64_t count)
{
    s->lost += count;
    t->lost += count;
}

static void lose_oldest(tr_actor *self, topic *t, subscriber *s)
{
    lose(t, s, weight(oldest(s)->msg));
    drop_oldest(self, s);
}

static void forget(tr_actor *self, topic *t, subscriber *s)
{
    while (s->count)
        drop_oldest(self, s);
    tr__free(s->ring);
    tr_demonitor(self, s->monitor);
    t->feeds -= s->feed != NULL;
    tr_msg_free(self, &s->feed);
    uint32_t index = (uint32_t)(s - t->subscribers);
    memmove(s, s + 1, (--t->count - index) * sizeof(*s)); /* in order: who came first gets it first */
}

/* ---- one subscriber ------------------------------------------------------------------------------------ */

static bool is_behind(const subscriber *s)
{
    return s->count || s->lost;
}

/* TR_EFULL, TR_EAGAIN: there is no place for it, or no demand. */
static tr_err deliver(tr_actor *self, subscriber *s, const tr_msg *msg)
{
    if (!s->feed)
        return tr__send_like(self, s->actor, msg);
    tr_err err = tr__item_like(self, s->feed, msg);
    s->wants = s->wants || err == TR_EAGAIN;
    return err;
}

static void want(tr_actor *self, topic *t, subscriber *s)
{
    s->wants = s->wants || (!s->feed && tr_notify_writable(self, s->actor) == TR_OK);
    t->retry = t->retry || !s->wants;
}

static tr_err tell_lost(tr_actor *self, subscriber *s, bool ended)
{
    tr_err err = TR_OK;
    if (s->lost && s->feed)
        err = tr_reply_item(self, s->feed, tr_topic_lost, .count = s->lost);
    else if (s->lost)
        err = tr_send(self, s->actor, tr_topic_lost, .count = s->lost, .ended = ended);
    s->wants = s->wants || (s->feed && err == TR_EAGAIN);
    if (err == TR_OK)
        s->lost = 0;
    return err;
}

/* As far as it goes: the loss where it was, before the ring or behind it (G1). */
static void catch_up(tr_actor *self, topic *t, subscriber *s)
{
    tr_err err = s->policy == TR_TOPIC_DROP_NEWEST ? TR_OK : tell_lost(self, s, false);
    while (err == TR_OK && s->count) {
        err = deliver(self, s, oldest(s)->msg);
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
static bool keep(tr_actor *self, topic *t, subscriber *s, const tr_msg *msg, kept **made)
{
    bool no_room = s->count == s->room || (s->policy == TR_TOPIC_DROP_NEWEST && s->lost);
    if (no_room && s->policy == TR_TOPIC_END) {
        lose(t, s, weight(msg));
        for (uint32_t i = 0; i < s->count; i++)
            lose(t, s, weight(s->ring[(s->first + i) % s->room]->msg));
        return false;
    }
    if (!*made && (*made = tr__zalloc(sizeof(kept)))) {
        (*made)->msg = tr_msg_take(self, msg);
        (*made)->holders = 1; /* the publication's own */
    }
    bool no_memory = !*made || !(*made)->msg;
    if (no_memory && s->policy != TR_TOPIC_DROP_NEWEST) /* its room with it, or the loss were told of before that (G1) */
        while (s->count)
            lose_oldest(self, t, s);
    if (no_memory || (no_room && s->policy == TR_TOPIC_DROP_NEWEST)) {
        lose(t, s, weight(msg));
        return true;
    }
    if (no_room)
        lose_oldest(self, t, s);
    s->ring[(s->first + s->count++) % s->room] = *made;
    (*made)->holders++;
    return true;
}

/* ---- what it hears ------------------------------------------------------------------------------------- */

/* For one subscriber. False: it is none any more. */
static bool give(tr_actor *self, topic *t, subscriber *s, const tr_msg *msg, kept **made)
{
    const tr_msg *from = *made && (*made)->msg ? (*made)->msg : msg;
    tr_err err = is_behind(s) ? TR_EFULL : deliver(self, s, from);
    if (err == TR_OK)
        return true;
    if (err == TR_ENOMEM || err == TR_ETOOBIG || err == TR_ENOCONN) {
        lose(t, s, weight(from)); /* it hears so when it can */
    } else if (!keep(self, t, s, from, made)) {
        tell_lost(self, s, true); /* if even that finds no place, its silence tells it */
        forget(self, t, s);
        return false;
    }
    want(self, t, s);
    return true;
}

/* fed: it comes from another node's topic. */
static void publish(tr_actor *self, topic *t, const tr_msg *msg, bool fed)
{
    kept *made = NULL;
    t->published += !fed;
    if (tr_msg_ask_number(msg)) /* before it is taken */
        tr_reply(self, msg, tr_published, .subscribers = t->count);
    for (uint32_t i = 0; i < t->count;) {
        subscriber *s = &t->subscribers[i];
        if ((fed && s->feed && !TR_PLANT(fed_again)) || give(self, t, s, msg, &made))
            i++;
    }
    if (made)
        let_go(self, made);
}

static subscriber *find(topic *t, tr_addr actor)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (!t->subscribers[i].feed && tr_addr_equal(t->subscribers[i].actor, actor))
            return &t->subscribers[i];
    return NULL;
}

static subscriber *find_feed(topic *t, tr_addr asker, uint64_t ask)
{
    for (uint32_t i = 0; i < t->count; i++) {
        subscriber *s = &t->subscribers[i];
        if (s->feed && tr_addr_equal(s->actor, asker) && tr_msg_ask_number(s->feed) == ask)
            return s;
    }
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

/* The next place, with a ring; NULL: no memory. */
static subscriber *add_place(topic *t, tr_addr actor, uint32_t room)
{
    kept **ring = more_room(t) == TR_OK ? tr__alloc(room * sizeof(kept *)) : NULL;
    if (!ring)
        return NULL;
    t->subscribers[t->count] = (subscriber){.actor = actor, .room = room, .ring = ring};
    return &t->subscribers[t->count];
}

static tr_err add(tr_actor *self, topic *t, tr_addr actor, const tr_subscribe *how)
{
    uint32_t room = how->room ? how->room : ROOM;
    if (find(t, actor))
        return TR_OK;
    if (tr_addr_is_none(actor) || how->policy > TR_TOPIC_END || room > ROOM_MAX)
        return tr_fail(self, TR_EINVAL,
                       "a subscriber is an actor, its policy one of three, its room at most %d", ROOM_MAX);
    if (t->count - t->feeds >= t->most)
        return tr_fail(self, TR_EFULL, "this topic has its %u subscribers", t->most);
    subscriber *s = add_place(t, actor, room);
    if (s && (s->monitor = tr_monitor(self, actor))) {
        s->policy = (tr_topic_policy)how->policy;
        t->count++;
        return TR_OK;
    }
    if (s)
        tr__free(s->ring);
    return tr_fail(self, TR_ENOMEM, "no memory for a subscriber");
}

/* One of each node: a second ask of it takes the place of the first. */
static void feed(tr_actor *self, topic *t, const tr_msg *msg)
{
    tr_addr from = tr_msg_sender(msg);
    for (uint32_t i = 0; i < t->count; i++)
        if (t->subscribers[i].feed && t->subscribers[i].actor.node == from.node) {
            forget(self, t, &t->subscribers[i]);
            break;
        }
    subscriber *s = t->nodes.name[0] ? add_place(t, from, ROOM_OF_NODE) : NULL;
    if (s && (s->feed = tr_msg_take(self, msg))) {
        t->count++;
        t->feeds++;
        return;
    }
    if (s)
        tr__free(s->ring);
    tr_reply_error(self, msg, s ? TR_ENOMEM : TR_EINVAL, "this topic feeds no other one, or has no memory");
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

/* Again; without memory for it, later: it stays a subscriber. */
static void watch(tr_actor *self, topic *t, subscriber *s)
{
    s->monitor = tr_monitor(self, s->actor);
    t->retry = t->retry || !s->monitor;
}

static void down(tr_actor *self, topic *t, const tr_down *d)
{
    for (uint32_t i = 0; i < t->count; i++) {
        subscriber *s = &t->subscribers[i];
        if (s->monitor != d->monitor)
            continue;
        bool lives = d->kind == TR_EXIT_NO_ACTOR && d->code == TR_ENOMEM; /* it couldn't be noted there */
        if (!lives)
            forget(self, t, s);
        else
            watch(self, t, s);
        return;
    }
}

static void retry_all(tr_actor *self, topic *t)
{
    tr__tick_back(tr__owner(self), t->tick);
    t->retry = false;
    for (uint32_t i = 0; i < t->count; i++) {
        subscriber *s = &t->subscribers[i];
        if (!s->monitor && !s->feed)
            watch(self, t, s);
        if (is_behind(s) && !s->wants)
            catch_up(self, t, s);
    }
}

static void heard(tr_actor *self, void *state, const tr_msg *item)
{
    publish(self, state, item, true);
}

static void tell_of_itself(tr_actor *self, const topic *t, const tr_msg *msg)
{
    tr_reply(self, msg, tr_topic_is, .subscribers = t->count - t->feeds, .nodes = t->feeds,
             .feeds = t->nodes.count, .published = t->published, .lost = t->lost);
}

/* It may go on with that one, if it is one. */
static void go_on(tr_actor *self, topic *t, subscriber *s)
{
    if (!s)
        return;
    s->wants = false;
    catch_up(self, t, s);
}

static void unsubscribe(tr_actor *self, topic *t, subscriber *s)
{
    if (s)
        forget(self, t, s);
}

/* Whether it was about the subscribers, and not to be published. */
static bool serve(tr_actor *self, topic *t, const tr_msg *msg)
{
    const tr_subscribe *how = tr_match(msg, tr_subscribe);
    const tr_writable *writable = tr_match(msg, tr_writable);
    const tr_demand *demand = tr_match(msg, tr_demand);
    const tr_canceled *canceled = tr_match(msg, tr_canceled);
    const tr_down *d = tr_match(msg, tr_down);
    if (how) {
        subscribe(self, t, msg, how);
    } else if (tr_match(msg, tr_unsubscribe)) {
        unsubscribe(self, t, find(t, tr_msg_sender(msg)));
        if (tr_msg_ask_number(msg))
            tr_reply(self, msg, tr_subscribed);
    } else if (tr_match(msg, tr__topic_feed)) {
        feed(self, t, msg);
    } else if (tr_match(msg, tr_topic_query)) {
        tell_of_itself(self, t, msg);
    } else if (d) {
        down(self, t, d);
    } else if (writable) {
        go_on(self, t, find(t, writable->actor));
    } else if (demand) {
        go_on(self, t, find_feed(t, demand->asker, demand->ask));
    } else if (canceled) {
        unsubscribe(self, t, find_feed(t, canceled->asker, canceled->ask));
    } else if (tr_match(msg, tr__topic_retry)) {
        retry_all(self, t);
    } else if (tr_match(msg, tr__topic_look)) {
        tr__tick_back(tr__owner(self), t->nodes.tick);
        tr__topic_nodes_look(self, &t->nodes);
    } else {
        return false;
    }
    return true;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    topic *t = state;
    if (!serve(self, t, msg))
        publish(self, t, msg, false);
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
    if (!t->tick)
        return tr_fail(self, TR_ENOMEM, "no memory for a topic");
    return opts && opts->cluster ? tr__topic_nodes_begin(self, &t->nodes, heard) : TR_OK;
}

static void stop(tr_actor *self, void *state)
{
    topic *t = state;
    while (t->count)
        forget(self, t, &t->subscribers[t->count - 1]);
    tr__free(t->subscribers);
    tr__topic_nodes_end(&t->nodes);
}

const tr_actor_def tr_topic = {.name = "topic",
                               .state_size = sizeof(topic),
                               .arg_type = &tr_topic_opts_type,
                               .init = init,
                               .receive = receive,
                               .stop = stop};
