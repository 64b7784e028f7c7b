/* A topic of a cluster, as it hears those of the same name on other nodes: whom it knows of, and the feed that it has from
 * each. Each of them claims "/NAME" (claims.h), so each hears of all others; a feed is a streamed ask, whose items are what
 * is published there. The topic's loop.
 *
 *     unknown ──the warden tells of it──► fed ──the ask fails: it ended, or its node can't be reached──► unknown
 *
 * N1  Of each other topic there is one feed at most, so what is published there comes once.
 * N2  What comes by a feed goes into none: it isn't published again, and two topics don't play it to each other.
 * N3  Whatever failed is tried again: until it knows of all, it asks the warden for all. */
#ifndef TR_ACTORS_KINDS_TOPIC_NODES_H
#define TR_ACTORS_KINDS_TOPIC_NODES_H

#include "actors/futures/pending.h"
#include "actors/names/claims.h"

#define TR__FEED_WINDOW 64 /* items under way from one topic to another */

/* Asked of a topic: what is published there from now on, as items, until the asker gives it up. */
TR_MESSAGE(tr__topic_feed)
TR_MESSAGE(tr__topic_look)

/* The topic's state begins with it. */
typedef struct tr__topic_nodes {
    char name[TR__CLAIM_NAME_MAX]; /* "": it is no topic of a cluster */
    bool claimed, claiming;
    bool stale;       /* of those that the warden told of some have no feed */
    tr_future change; /* of who else there is */
    uint64_t known;
    struct tr__sister *sisters;
    uint32_t count; /* of them: topics that feed this one */
    tr__pending *tick;
    void (*heard)(tr_actor *self, void *state, const tr_msg *item);
} tr__topic_nodes;

/* Find the others of its name, and have `heard` called for what is published there. TR_EINVAL: it has no name; TR_ENOMEM. */
tr_err tr__topic_nodes_begin(tr_actor *self, tr__topic_nodes *nodes,
                             void (*heard)(tr_actor *self, void *state, const tr_msg *item));
/* A tr__topic_look came. */
void tr__topic_nodes_look(tr_actor *self, tr__topic_nodes *nodes);
void tr__topic_nodes_end(tr__topic_nodes *nodes);

#endif
