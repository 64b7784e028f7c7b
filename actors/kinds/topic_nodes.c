/* See topic_nodes.h. */
#include "actors/kinds/topic_nodes.h"

#include <stdio.h>

#include <troupe/troupe.h>

#define RETRY TR_MILLIS(100)

typedef struct tr__sister {
    tr_addr topic;
    tr_future feed;
    struct tr__sister *next;
} sister;

static void try_later(tr_actor *self, tr__topic_nodes *n)
{
    n->stale = true;
    tr__tick_set(tr__owner(self), n->tick, RETRY);
}

/* ---- feeds --------------------------------------------------------------------------------------------- */

static sister *find(const tr__topic_nodes *n, tr_addr topic)
{
    sister *s = n->sisters;
    while (s && !tr_addr_equal(s->topic, topic))
        s = s->next;
    return s;
}

static void forget(tr__topic_nodes *n, sister *s)
{
    sister **at = &n->sisters;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    n->count--;
    tr__free(s);
}

static bool item(tr_actor *self, void *state, const tr_msg *msg, void *context)
{
    (void)context;
    ((tr__topic_nodes *)state)->heard(self, state, msg);
    return true;
}

static void feed_ended(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)result;
    forget(state, context);
    try_later(self, state);
}

/* False: not now. */
static bool open_feed(tr_actor *self, tr__topic_nodes *n, tr_addr topic)
{
    sister *s = tr__zalloc(sizeof(*s));
    if (!s)
        return false;
    s->topic = topic;
    s->feed = tr_ask_stream(self, topic, TR_FOREVER, TR__FEED_WINDOW, tr__topic_feed);
    if (!s->feed.id || tr_each(self, s->feed, item, NULL) != TR_OK ||
        tr_then(self, s->feed, feed_ended, s) != TR_OK) {
        tr_cancel(self, s->feed);
        tr__free(s);
        return false;
    }
    s->next = n->sisters;
    n->sisters = s;
    n->count++;
    return true;
}

/* ---- who there is -------------------------------------------------------------------------------------- */

static void changed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__topic_nodes *n = state;
    const tr__claimed *c = result->msg ? tr_match(result->msg, tr__claimed) : NULL;
    (void)context;
    n->change.id = 0;
    bool all = c != NULL;
    for (size_t i = 0; c && i < c->actors.count; i++)
        if (!tr_addr_equal(c->actors.data[i], tr_self(self)) && !find(n, c->actors.data[i]))
            all = open_feed(self, n, c->actors.data[i]) && all;
    n->known = c ? c->known : 0;
    if (all)
        tr__topic_nodes_look(self, n);
    else
        try_later(self, n);
}

static void claimed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    tr__topic_nodes *n = state;
    (void)context;
    n->claiming = false;
    n->claimed = result->err == TR_OK;
    if (!n->claimed) /* of the one that was here before, the warden hasn't heard yet that it ended */
        try_later(self, n);
}

void tr__topic_nodes_look(tr_actor *self, tr__topic_nodes *n)
{
    tr_addr warden = tr__owner(self)->node->warden;
    if (!n->claimed && !n->claiming) {
        tr_future f = tr_ask(self, warden, TR_FOREVER, tr__claim_name, .name = n->name);
        n->claiming = f.id && tr_then(self, f, claimed, NULL) == TR_OK;
    }
    if (n->stale) { /* all of them, at once */
        tr_cancel(self, n->change);
        n->change.id = n->known = 0;
        n->stale = false;
    }
    if (!n->change.id) {
        n->change = tr_ask(self, warden, TR_FOREVER, tr__await_claim, .name = n->name, .known = n->known);
        if (n->change.id && tr_then(self, n->change, changed, NULL) != TR_OK) {
            tr_cancel(self, n->change);
            n->change.id = 0;
        }
    }
    if (!n->change.id || (!n->claimed && !n->claiming))
        try_later(self, n);
}

tr_err tr__topic_nodes_begin(tr_actor *self, tr__topic_nodes *n,
                             void (*heard)(tr_actor *self, void *state, const tr_msg *item))
{
    char name[TR_NAME_MAX];
    if (!tr__name_of(tr_node_of(self), tr_self(self), name))
        return tr_fail(self, TR_EINVAL,
                       "a topic of a cluster is found by its name: give it one when it is spawned");
    snprintf(n->name, sizeof(n->name), "/%s", name);
    n->heard = heard;
    n->tick = tr__tick_make(tr__owner(self), self, &tr__topic_look_type);
    if (!n->tick)
        return tr_fail(self, TR_ENOMEM, "no memory for a topic");
    tr__topic_nodes_look(self, n);
    return TR_OK;
}

void tr__topic_nodes_end(tr__topic_nodes *n)
{
    while (n->sisters)
        forget(n, n->sisters);
}
