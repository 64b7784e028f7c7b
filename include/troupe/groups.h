/* Groups of actors: topics (publish and subscribe) and pools (workers behind one address). Actors like others: spawn them,
 * name them, supervise them.
 *
 *     tr_addr prices = tr_spawn(self, &tr_topic, NULL);
 *     tr_ask(subscriber, prices, TR_SECONDS(1), tr_subscribe, .policy = TR_TOPIC_DROP_OLDEST, .room = 16);
 *     tr_send(self, prices, price, .cents = 4200);            to each subscriber
 */
#ifndef TROUPE_GROUPS_H
#define TROUPE_GROUPS_H

#include <troupe/actor.h>

/* ---- topics -------------------------------------------------------------------------------------------- */

/* What a subscriber loses that is slow: its mailbox is full, and so is the room that the topic keeps for it. */
typedef enum tr_topic_policy {
    TR_TOPIC_DROP_OLDEST, /* the oldest in that room */
    TR_TOPIC_DROP_NEWEST, /* what comes, until the room has been emptied */
    TR_TOPIC_END,         /* its subscription */
} tr_topic_policy;

/* A topic's arguments; NULL for all defaults. `subscribers_max`: 0 = 1,024; at most 4,000. `cluster`: what is published at one
 * topic goes to the subscribers of all that are spawned under the same name on nodes that are connected with its own, over
 * each connection once; TR_EINVAL without a name. */
TR_MESSAGE(tr_topic_opts, (u32, subscribers_max), (bool, cluster))

/* Sent, or asked (answers tr_subscribed, or TR_EFULL, TR_EINVAL, TR_ENOMEM), by the subscriber itself, of this node or of
 * another: it gets what is published from now on, with the topic as the sender. `room`: how many messages the topic keeps
 * for it when its mailbox is full (0 = 16, at most 1,024). Once more changes nothing. Its end ends it. */
TR_MESSAGE(tr_subscribe, (u32, policy), (u32, room))
TR_MESSAGE(tr_unsubscribe)
TR_MESSAGE(tr_subscribed)
/* To a subscriber, where they are missing: so many messages were lost. `ended`: so it is no subscriber any more. */
TR_MESSAGE(tr_topic_lost, (u64, count), (bool, ended))
/* Publishing by tr_ask instead of tr_send answers this: how many subscribers there were, another node's topic being one. */
TR_MESSAGE(tr_published, (u32, subscribers))
/* Asked of a topic: answered tr_topic_is. `nodes`: whose topics get what is published here; `feeds`: whose topics this one
 * gets it from. `lost`: messages that didn't find a place in the room of a subscriber, or of a node. */
TR_MESSAGE(tr_topic_query)
TR_MESSAGE(tr_topic_is, (u32, subscribers), (u32, nodes), (u32, feeds), (u64, published), (u64, lost))

/* Any other message is published. Full, a topic refuses as each actor does: TR_EFULL to who publishes. A subscriber of
 * another node whose mailbox is full loses there, as a dead letter of that node: the topic sees its connection only. */
extern const tr_actor_def tr_topic;

/* ---- pools --------------------------------------------------------------------------------------------- */

typedef enum tr_pool_routing {
    TR_POOL_ROUND_ROBIN, /* in turn */
    TR_POOL_LEAST,       /* to the worker with the fewest messages that aren't done */
    TR_POOL_PULL,        /* a worker has `at_once` messages at most; the others wait in the pool */
    TR_POOL_BROADCAST,   /* each message to all; an ask is refused (TR_EINVAL) */
} tr_pool_routing;

/* A pool's arguments, by pointer: `worker` and `arg` must live as long as the pool, the rest is copied. */
typedef struct tr_pool_opts {
    const tr_actor_def
        *worker;      /* with `receive`: of a fiber a message that is no ask is done when it has arrived */
    const void *arg;  /* each worker's */
    uint32_t workers; /* 1 to 1,000 */
    tr_pool_routing routing;
    uint32_t queue_max; /* messages that wait in the pool, when no worker can take one; 0 = 1,024 */
    uint32_t at_once;   /* TR_POOL_PULL; 0 = 1 */
    uint32_t max_restarts;
    uint64_t within_ns; /* as a supervisor's (tr_supervisor_spec): more restarts than that end the pool */
} tr_pool_opts;

/* Hands each message on to a worker, which sees the pool as its sender; asks are answered to who asked. They fail with
 * TR_EFULL, at once, when queue_max wait already (what is no ask is then a dead letter), and with TR_ENOACTOR when their
 * worker ends; the pool goes on with the next one. A cancel and a deadline reach the worker. The workers are supervised,
 * permanent, and end with the pool, in order. Asked to stop it takes no more (TR_ECLOSED), has its workers do what it has, and
 * ends then; if it is killed before, the rest fails with TR_ECLOSED and the pool's name. */
extern const tr_actor_def tr_pool;

/* Asked of a pool: answered tr_pool_is. `done` and `failed` are of asks; `refused` of all. */
TR_MESSAGE(tr_pool_query)
TR_MESSAGE(tr_pool_is, (u32, workers), (u32, waiting), (u32, outstanding), (u64, given), (u64, done),
           (u64, failed), (u64, refused))

#endif
