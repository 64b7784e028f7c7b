/* Groups: on each node a topic with a publisher, and a pool whose workers end now and then, all supervised; subscribers and
 * askers on all nodes. A subscriber of the topic's node accounts for every number that was published; each ask through a
 * pool has one answer, the right one; and of a pool that pulls no worker has more than one ask at a time. After healing all
 * of it works, from everywhere. */
#include <stdio.h>

#include <troupe/groups.h>
#include <troupe/troupe.h>

#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/workloads/list.h"

#define NODES   3
#define WORKERS 3
#define PAUSE   TR_MILLIS(50)

TR_MESSAGE(groups_tick)
TR_MESSAGE(groups_news, (u64, epoch), (u64, number))
TR_MESSAGE(groups_sum, (u64, a), (u64, b))
TR_MESSAGE(groups_total, (u64, sum))
TR_MESSAGE(groups_hello)

static void path_of(char *path, size_t size, uint32_t node, const char *name)
{
    snprintf(path, size, "n%u/%s", node, name);
}

/* ---- a pool's worker ----------------------------------------------------------------------------------- */

typedef struct worker {
    tr_msg *ask;
    uint64_t sum;
} worker;

static void worker_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    worker *w = state;
    const groups_sum *s = tr_match(msg, groups_sum);
    if (s) {
        tr_always(self, !w->ask, "a worker of a pool that pulls has one ask at a time");
        w->sum = s->a + s->b;
        w->ask = tr_msg_take(self, msg);
        if (tr_random(self) % 30 == 0)
            tr_exit(self, TR_EAPP, "a worker has had enough");
        else if (!w->ask || !tr_after(self, tr_random(self) % TR_MILLIS(5), groups_tick).id)
            tr_exit(self, TR_ENOMEM, "no memory to work with");
    } else if (tr_match(msg, tr_canceled)) {
        tr_msg_free(self, &w->ask);
    } else if (tr_match(msg, groups_tick) && w->ask) {
        (void)tr_reply(self, w->ask, groups_total, .sum = w->sum);
        tr_msg_free(self, &w->ask);
    }
}
static const tr_actor_def worker_def = {
    .name = "worker", .state_size = sizeof(worker), .receive = worker_receive};

/* ---- a publisher --------------------------------------------------------------------------------------- */

typedef struct publisher {
    uint64_t epoch, number; /* of those that were accepted */
} publisher;

static tr_err publisher_init(tr_actor *self, void *state, const void *arg)
{
    ((publisher *)state)->epoch = tr_random(self);
    (void)arg;
    return tr_every(self, TR_MILLIS(25)).id ? TR_OK : TR_ENOMEM;
}

static void publisher_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    publisher *p = state;
    if (!tr_match(msg, tr_tick))
        return;
    uint64_t burst = tr_random(self) % 10 == 0 ? 40 : 1;
    for (uint64_t i = 0; i < burst; i++)
        if (tr_send(self, tr_whereis(self, "news"), groups_news, .epoch = p->epoch,
                    .number = p->number + 1) == TR_OK)
            p->number++;
        else
            tr_sometimes(self, true, "a topic refuses, or isn't there");
}
static const tr_actor_def publisher_def = {.name = "publisher",
                                           .state_size = sizeof(publisher),
                                           .init = publisher_init,
                                           .receive = publisher_receive};

/* ---- a subscriber -------------------------------------------------------------------------------------- */

typedef struct subscriber {
    uint32_t of; /* the topic's node */
    bool here;
    tr_topic_policy policy;
    tr_addr topic;   /* that it is a subscriber of */
    uintptr_t asked; /* it has so often, to subscribe */
    uint64_t watch, epoch, seen, heard;
} subscriber;

static tr_err subscriber_init(tr_actor *self, void *state, const void *arg)
{
    subscriber *s = state;
    char path[2 * TR_NAME_MAX];
    uint32_t number = (uint32_t)(uintptr_t)arg;
    s->of = number % NODES;
    s->here = sim_now_running->current->index == s->of;
    s->policy = (tr_topic_policy)(number / NODES % 2);
    path_of(path, sizeof(path), s->of, "news");
    s->watch = tr_monitor_name(self, path);
    return s->watch ? TR_OK : TR_ENOMEM;
}

static void hear(tr_actor *self, subscriber *s, const groups_news *n, const tr_msg *msg)
{
    if (!tr_addr_equal(tr_msg_sender(msg), s->topic))
        return; /* of the topic that was there before */
    s->heard++;
    if (n->epoch == s->epoch && s->seen) {
        tr_always(self, n->number > s->seen, "what is published comes in order");
        if (s->here && !sim_now_running->result.faults[TR_SIM_MEMORY])
            tr_always(self, n->number == s->seen + 1, "a subscriber misses nothing that it wasn't told of");
    }
    s->epoch = n->epoch;
    s->seen = n->number;
}

/* A topic that has no memory for it says so; one that is lost meanwhile is told by its name. */
static void subscribed(tr_actor *self, void *state, const tr_result *result, void *nth)
{
    const subscriber *s = state;
    bool wanted = s->asked == (uintptr_t)nth && !tr_addr_is_none(s->topic);
    if (result->err != TR_OK && wanted)
        tr_exit(self, TR_EAGAIN, "it can't subscribe now");
}

static void subscribe(tr_actor *self, subscriber *s)
{
    tr_future future = tr_ask(self, s->topic, TR_SECONDS(5), tr_subscribe, .policy = s->policy, .room = 4);
    void *nth = (void *)++s->asked;
    if (!future.id || tr_then(self, future, subscribed, nth) != TR_OK)
        tr_exit(self, TR_EAGAIN, "it can't ask to subscribe now");
}

static void subscriber_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    subscriber *s = state;
    const tr_name_event *e = tr_match(msg, tr_name_event);
    const groups_news *n = tr_match(msg, groups_news);
    const tr_topic_lost *lost = tr_match(msg, tr_topic_lost);
    if (e && e->up) {
        s->topic = e->actor;
        s->seen = 0;
        subscribe(self, s);
    } else if (e) {
        tr_sometimes(self, true, "a watched name is given back");
        s->topic = TR_ADDR_NONE;
    } else if (n) {
        hear(self, s, n, msg);
    } else if (lost && tr_addr_equal(tr_msg_sender(msg), s->topic)) {
        tr_sometimes(self, true, "a slow subscriber is told of what it lost");
        s->seen += s->seen ? lost->count : 0;
    } else if (tr_match(msg, groups_hello)) {
        uint64_t heard = s->heard;
        s->heard = 0;
        (void)tr_reply(self, msg, groups_total, .sum = heard);
    }
}
static const tr_actor_def subscriber_def = {.name = "subscriber",
                                            .state_size = sizeof(subscriber),
                                            .init = subscriber_init,
                                            .receive = subscriber_receive,
                                            .mailbox_places = 8};

/* ---- an asker ------------------------------------------------------------------------------------------ */

static tr_err ask_pool(tr_actor *self, uint32_t node, uint64_t timeout_ns)
{
    const tr_found *found;
    const groups_total *total;
    char path[2 * TR_NAME_MAX];
    path_of(path, sizeof(path), node, "crew");
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(1)), tr_found, &found));
    uint64_t a = tr_random(self) % 1000, b = tr_random(self) % 1000;
    tr_err err = tr_await(self, tr_ask(self, found->actor, timeout_ns, groups_sum, .a = a, .b = b),
                          groups_total, &total);
    if (err == TR_OK)
        tr_always(self, total->sum == a + b, "a pool's answer is the answer to what was asked");
    tr_sometimes(self, err == TR_OK, "a pool answers");
    tr_sometimes(self, err == TR_ENOACTOR, "an ask fails with its worker");
    return err;
}

static tr_err asker(tr_actor *self, void *arg)
{
    (void)arg;
    while (tr_sleep(self, tr_random(self) % PAUSE) == TR_OK) {
        uint32_t node = (uint32_t)(tr_random(self) % NODES);
        (void)ask_pool(self, node, TR_MILLIS(1 + tr_random(self) % 200));
    }
    return TR_OK;
}
static const tr_actor_def asker_def = {.name = "asker", .run = asker};

/* ---- the cluster --------------------------------------------------------------------------------------- */

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_pool_opts crew = {.worker = &worker_def,
                                      .workers = WORKERS,
                                      .routing = TR_POOL_PULL,
                                      .queue_max = 8,
                                      .max_restarts = 1000};
    static const char *const ids[] = {"reads-0", "reads-1", "reads-2", "reads-3", "reads-4", "reads-5"};
    tr_child_spec children[4 + TR_COUNT(ids)] = {
        {.id = "news", .def = &tr_topic, .named = true},
        {.id = "publisher", .def = &publisher_def},
        {.id = "crew", .def = &tr_pool, .arg = &crew, .named = true},
        {.id = "asker", .def = &asker_def},
    };
    (void)index;
    for (uint32_t i = 0; i < TR_COUNT(ids); i++)
        children[4 + i] = (tr_child_spec){
            .id = ids[i], .def = &subscriber_def, .arg = (const void *)(uintptr_t)i, .named = true};
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

/* A small mailbox is full now and then. */
static tr_err heard_since(tr_actor *self, const char *path, uint64_t *count)
{
    const tr_found *found;
    const groups_total *heard;
    tr_err err = TR_EFULL;
    for (int tries = 0; tries < 20 && err == TR_EFULL; tries++) {
        TR_TRY(tr_sleep(self, TR_MILLIS(10)));
        TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(5)), tr_found, &found));
        err = tr_await(self, tr_ask(self, found->actor, TR_SECONDS(5), groups_hello), groups_total, &heard);
    }
    if (err == TR_OK)
        *count = heard->sum;
    return err;
}

static tr_err reads(tr_actor *self, uint32_t node, uint32_t number)
{
    char path[2 * TR_NAME_MAX], name[TR_NAME_MAX];
    uint64_t count;
    snprintf(name, sizeof(name), "reads-%u", number);
    path_of(path, sizeof(path), node, name);
    TR_TRY(heard_since(self, path, &count));
    TR_TRY(tr_sleep(self, TR_MILLIS(300)));
    TR_TRY(heard_since(self, path, &count));
    return count ? TR_OK : tr_fail(self, TR_EAPP, "%s of n%u hears nothing", name, node);
}

static tr_err check(tr_actor *self)
{
    for (uint32_t node = 0; node < NODES; node++) {
        tr_err err = TR_EAGAIN;
        for (int tries = 0; tries < 20 && err != TR_OK; tries++) /* a worker ends now and then */
            err = ask_pool(self, node, TR_SECONDS(5));
        TR_TRY(err);
        for (uint32_t i = 0; i < 6; i++)
            TR_TRY(reads(self, node, i));
    }
    return TR_OK;
}

const tr_scenario sim_groups = {.size = sizeof(tr_scenario),
                                .name = "groups",
                                .nodes = NODES,
                                .run_ns = TR_SECONDS(10),
                                .start = start,
                                .check = check};
