/* The cluster as an actor uses it: names that actors on all nodes claim, give up and lose, watched from all, and a topic of
 * all nodes. At any time a watcher hears comings and goings in turn, and of what each publisher says a subscriber hears
 * nothing twice and nothing out of order. After healing all nodes know one holder of the name, who knows that, and what is
 * published anywhere is heard everywhere. */
#include <stdio.h>
#include <string.h>

#include <troupe/groups.h>
#include <troupe/troupe.h>

#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"

#define NODES 3

TR_MESSAGE(cluster_news, (u64, node), (u64, number))
TR_MESSAGE(cluster_have)
TR_MESSAGE(cluster_has, (bool, it), (addr, by))
TR_MESSAGE(cluster_settle)

/* ---- who wants the name -------------------------------------------------------------------------------- */

typedef struct claimer {
    bool has, asks;
    bool settled; /* it gives nothing up any more */
} claimer;

static void claimed(tr_actor *self, void *state, const tr_result *result, void *context)
{
    claimer *c = state;
    (void)context;
    c->asks = false;
    c->has = result->err == TR_OK;
    tr_sometimes(self, c->has, "a name is claimed");
    tr_sometimes(self, result->err == TR_EEXIST, "a name that is claimed is taken");
}

static tr_err claimer_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_every(self, TR_MILLIS(150)).id ? TR_OK : TR_ENOMEM;
}

static void claimer_tick(tr_actor *self, claimer *c)
{
    if (!c->has && !c->asks) {
        tr_future f = tr_claim_name(self, "chief");
        c->asks = f.id && tr_then(self, f, claimed, NULL) == TR_OK;
    } else if (c->has && !c->settled && tr_random(self) % 20 == 0) {
        c->has = tr_release_name(self, "chief") != TR_OK;
    } else if (c->has && !c->settled && tr_random(self) % 40 == 0) {
        tr_exit(self, TR_EAPP, "a holder has had enough");
    }
}

static void claimer_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    claimer *c = state;
    const tr_name_conflict *conflict = tr_match(msg, tr_name_conflict);
    if (tr_match(msg, tr_tick)) {
        claimer_tick(self, c);
    } else if (conflict && tr_addr_equal(conflict->lost, tr_self(self))) {
        tr_sometimes(self, true, "a name is lost to a node that wasn't seen");
        tr_always(self, conflict->kept.node < conflict->lost.node, "the lower node keeps a name");
        c->has = false;
    } else if (conflict) {
        tr_sometimes(self, true, "who keeps a name hears of who lost it");
    } else if (tr_match(msg, cluster_settle)) {
        c->settled = true;
    } else if (tr_match(msg, cluster_have)) {
        (void)tr_reply(self, msg, cluster_has, .it = c->has, .by = tr_self(self));
    }
}
static const tr_actor_def claimer_def = {
    .name = "claimer", .state_size = sizeof(claimer), .init = claimer_init, .receive = claimer_receive};

/* ---- who watches it, and subscribes -------------------------------------------------------------------- */

typedef struct watcher {
    tr_addr holder, topic;
    uint64_t topic_monitor, seen[NODES];
    bool heard[NODES]; /* since it was asked */
} watcher;

/* A topic that has no memory for it says so. */
static void subscribed(tr_actor *self, void *state, const tr_result *result, void *arg)
{
    const watcher *w = state;
    (void)arg;
    if (result->err != TR_OK && !tr_addr_is_none(w->topic))
        tr_exit(self, TR_EAGAIN, "it can't subscribe now");
}

static void subscribe(tr_actor *self, watcher *w)
{
    tr_addr topic = tr_whereis(self, "wire");
    if (!tr_addr_is_none(w->topic) || tr_addr_is_none(topic))
        return;
    w->topic_monitor = tr_monitor(self, topic);
    tr_future future = tr_ask(self, topic, TR_SECONDS(5), tr_subscribe, .room = 8);
    if (!w->topic_monitor || !future.id || tr_then(self, future, subscribed, NULL) != TR_OK)
        tr_exit(self, TR_EAGAIN, "it can't ask to subscribe now");
    w->topic = topic;
    memset(w->seen, 0, sizeof(w->seen)); /* a new one may have feeds that begin earlier than this ended */
}

static tr_err watcher_init(tr_actor *self, void *state, const void *arg)
{
    (void)state;
    (void)arg;
    return tr_every(self, TR_MILLIS(50)).id && tr_monitor_name(self, "*/chief") ? TR_OK : TR_ENOMEM;
}

static void watcher_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    watcher *w = state;
    const tr_name_event *e = tr_match(msg, tr_name_event);
    const cluster_news *n = tr_match(msg, cluster_news);
    const tr_down *down = tr_match(msg, tr_down);
    if (e && e->up) {
        tr_always(self, tr_addr_is_none(w->holder), "one comes when the one before has gone");
        w->holder = e->actor;
    } else if (e) {
        tr_always(self, tr_addr_equal(w->holder, e->actor), "who goes is who came");
        w->holder = TR_ADDR_NONE;
    } else if (n && tr_addr_equal(tr_msg_sender(msg), w->topic)) {
        tr_always(self, n->number > w->seen[n->node], "news come once, and in order");
        w->seen[n->node] = n->number;
        w->heard[n->node] = true;
    } else if (down && down->monitor == w->topic_monitor) {
        w->topic = TR_ADDR_NONE;
    } else if (tr_match(msg, tr_tick)) {
        subscribe(self, w);
    } else if (tr_match(msg, cluster_have)) {
        bool all = true;
        for (uint32_t i = 0; i < NODES; i++)
            all = all && w->heard[i];
        (void)tr_reply(self, msg, cluster_has, .it = all, .by = w->holder);
    }
}
static const tr_actor_def watcher_def = {
    .name = "watcher", .state_size = sizeof(watcher), .init = watcher_init, .receive = watcher_receive};

/* ---- who publishes ------------------------------------------------------------------------------------- */

static tr_err publisher(tr_actor *self, void *arg)
{
    uint64_t node = (uint64_t)(uintptr_t)arg;
    while (tr_sleep(self, TR_MILLIS(5) + tr_random(self) % TR_MILLIS(40)) == TR_OK)
        for (uint64_t burst = tr_random(self) % 20 == 0 ? 200 : 1; burst > 0; burst--)
            (void)tr_send(self, tr_whereis(self, "wire"), cluster_news, .node = node,
                          .number = sim_now_running->now + 200 - burst); /* it rises over restarts as well */
    return TR_OK;
}
static const tr_actor_def publisher_def = {.name = "publisher", .run = publisher};

/* ---- the cluster --------------------------------------------------------------------------------------- */

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_topic_opts wire = {.cluster = true};
    const tr_child_spec children[] = {
        {.id = "wire", .def = &tr_topic, .arg = &wire, .named = true},
        {.id = "claimer", .def = &claimer_def, .named = true},
        {.id = "watcher", .def = &watcher_def, .named = true},
        {.id = "publisher", .def = &publisher_def, .arg = (const void *)(uintptr_t)index},
    };
    tr_supervisor_spec spec = {.children = children, .count = TR_COUNT(children), .max_restarts = 1000};
    tr_trap_exit(self, true);
    for (;;) {
        tr_addr top = tr_supervise(self, &spec);
        const tr_msg *msg;
        while (!tr_addr_is_none(top) && (msg = tr_receive(self, TR_FOREVER)))
            if (tr_match(msg, tr_exited))
                break; /* a first start that failed: no memory just then */
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    }
}

static tr_err find(tr_actor *self, uint32_t node, const char *name, tr_addr *actor)
{
    char path[2 * TR_NAME_MAX];
    const tr_found *found;
    snprintf(path, sizeof(path), "n%u/%s", node, name);
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(5)), tr_found, &found));
    *actor = found->actor;
    return TR_OK;
}

/* All watchers know one holder, which has it, and have heard all publishers. */
static tr_err agree(tr_actor *self)
{
    tr_addr holder = TR_ADDR_NONE, actor;
    const cluster_has *has;
    uint32_t holders = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        TR_TRY(find(self, i, "watcher", &actor));
        TR_TRY(tr_await(self, tr_ask(self, actor, TR_SECONDS(5), cluster_have), cluster_has, &has));
        if (tr_addr_is_none(has->by) || (i && !tr_addr_equal(holder, has->by)))
            return tr_fail(self, TR_EAPP, "the watchers don't know one holder of the name");
        if (!has->it)
            return tr_fail(self, TR_EAPP, "n%u hasn't heard what all publish", i);
        holder = has->by;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        TR_TRY(find(self, i, "claimer", &actor));
        TR_TRY(tr_await(self, tr_ask(self, actor, TR_SECONDS(5), cluster_have), cluster_has, &has));
        if (has->it && !tr_addr_equal(has->by, holder))
            return tr_fail(self, TR_EAPP, "n%u believes that it has the name", i);
        holders += has->it;
    }
    return holders == 1 ? TR_OK : tr_fail(self, TR_EAPP, "%u believe that they have the name", holders);
}

static tr_err check(tr_actor *self)
{
    tr_addr actor;
    tr_err err = TR_EAPP;
    for (uint32_t i = 0; i < NODES; i++) {
        TR_TRY(find(self, i, "claimer", &actor));
        TR_TRY(tr_send(self, actor, cluster_settle));
    }
    for (int tries = 0; tries < 20 && err != TR_OK; tries++) {
        TR_TRY(tr_sleep(self, TR_MILLIS(500)));
        err = agree(self);
    }
    return err;
}

const tr_scenario sim_cluster = {.size = sizeof(tr_scenario),
                                 .name = "cluster",
                                 .nodes = NODES,
                                 .run_ns = TR_SECONDS(15),
                                 .start = start,
                                 .check = check};
