/* Everybody talks to everybody. Each node has a `sink`, and for each other node a `talker` that finds its sink, watches
 * it, and sends it numbers that grow. What must hold: a sink gets a talker's numbers in order and none twice; a talker
 * hears of the end of what it watches once; what it asked of a node that is gone fails as soon; and in the end each watches
 * the sink that is there, and is heard by it.
 *
 * The scenarios differ in what the talkers must have noticed, which is what their scripts do to the nodes. */
#include <stdio.h>

#include <troupe/troupe.h>

#include "tests/scenarios/list.h"

#define NODES       3
#define TALKERS_MAX 64 /* that a sink remembers: of lives of other nodes */
#define EVERY       TR_MILLIS(10)
#define PATIENCE    TR_SECONDS(20) /* of the check */
#define ASK_FOR     TR_MINUTES(5)  /* longer than any run: an ask never comes to that */
#define ASK_FAILS \
    TR_SECONDS(5) /* after the end of what it was put to was told; looking for it takes a second each time */
#define ASK_TAG 1

TR_MESSAGE(talk_number, (u64, number))
/* To a sink: how many numbers did that talker get through? */
TR_MESSAGE(talk_heard, (addr, talker))
TR_MESSAGE(talk_heard_is, (u64, count), (u64, wrong))
/* To a talker: what does it watch, and what became of what it watched? */
TR_MESSAGE(talk_watch)
TR_MESSAGE(talk_watch_is, (addr, talker), (addr, sink), (u32, downs), (u32, lives), (u64, wrong))
TR_MESSAGE(talk_to, (u32, node))

/* ---- who listens ---------------------------------------------------------------------------------------- */

typedef struct heard {
    tr_addr talker;
    uint64_t last, count;
} heard;

typedef struct sink_state {
    heard from[TALKERS_MAX];
    uint32_t talkers;
    uint64_t wrong;
} sink_state;

/* The oldest is forgotten when there are too many. */
static heard *heard_of(sink_state *state, tr_addr talker)
{
    for (uint32_t i = 0; i < TALKERS_MAX; i++)
        if (tr_addr_equal(state->from[i].talker, talker))
            return &state->from[i];
    heard *place = &state->from[state->talkers++ % TALKERS_MAX];
    *place = (heard){.talker = talker};
    return place;
}

static void sink(tr_actor *self, void *state, const tr_msg *msg)
{
    sink_state *s = state;
    const talk_number *n = tr_match(msg, talk_number);
    const talk_heard *h = tr_match(msg, talk_heard);
    if (n) {
        heard *from = heard_of(s, tr_msg_sender(msg));
        bool holds = n->number > from->last;
        tr_always(self, holds, "a talker's numbers come in order, and none twice");
        s->wrong += !holds;
        from->last = n->number;
        from->count++;
    }
    if (h)
        tr_reply(self, msg, talk_heard_is, .count = heard_of(s, h->talker)->count, .wrong = s->wrong);
}
TR_ACTOR(sink_def, .receive = sink, .state_size = sizeof(sink_state));

/* ---- who talks ------------------------------------------------------------------------------------------ */

typedef struct talker {
    tr_actor *self;
    const char *path;
    tr_addr sink;
    uint64_t monitor; /* 0: none, or its end was told */
    uint32_t downs, lives;
    uint64_t life; /* the incarnation of the last sink */
    uint64_t number, wrong;
    bool asking;
    uint64_t down_ns; /* when the end of the last sink was told */
} talker;

static void on_down(talker *t, const tr_down *down)
{
    bool holds = t->monitor && down->monitor == t->monitor && tr_addr_equal(down->actor, t->sink);
    tr_always(t->self, holds, "the end of what is watched is told once");
    t->wrong += !holds;
    t->monitor = 0;
    t->down_ns = tr_now(t->self);
    t->downs++;
    tr_log(t->self, TR_LOG_INFO, "%s is down: %s", t->path, down->text);
}

/* One ask is under way at any time. */
static void ask(talker *t)
{
    tr_future future = tr_ask(t->self, t->sink, ASK_FOR, talk_heard, .talker = tr_self(t->self));
    t->asking = tr_pipe(t->self, future, ASK_TAG) == TR_OK;
}

static void on_answer(talker *t, const tr_msg *msg)
{
    const tr_settled *settled = tr_match(msg, tr_settled);
    bool holds = !settled || settled->code != TR_EDEADLINE;
    tr_always(t->self, holds, "an ask is answered, or fails before its deadline");
    t->wrong += !holds;
    t->asking = false;
}

/* What was put to a sink that is gone has failed by now. */
static void check_ask(talker *t)
{
    bool holds = t->monitor || !t->asking || tr_now(t->self) - t->down_ns < ASK_FAILS;
    tr_always(t->self, holds, "asks fail when the connection does");
    t->wrong += !holds;
}

static void hear(talker *t, const tr_msg *msg)
{
    const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
    if (down)
        on_down(t, down);
    else if (msg && tr_msg_tag(msg) == ASK_TAG)
        on_answer(t, msg);
    else if (msg && tr_match(msg, talk_watch))
        tr_reply(t->self, msg, talk_watch_is, .talker = tr_self(t->self), .downs = t->downs,
                 .lives = t->lives, .sink = t->monitor ? t->sink : TR_ADDR_NONE, .wrong = t->wrong);
}

/* It is there again, or wasn't within a while. */
static void find(talker *t)
{
    const tr_found *found;
    tr_future future = tr_lookup(t->self, t->path, TR_SECONDS(1));
    if (tr_await(t->self, future, tr_found, &found) != TR_OK)
        return;
    t->sink = found->actor;
    t->monitor = tr_monitor(t->self, t->sink);
    t->lives += t->life != t->sink.node;
    t->life = t->sink.node;
    tr_log(t->self, TR_LOG_INFO, "%s is up", t->path);
}

static tr_err talk(tr_actor *self, void *arg)
{
    char path[16];
    const talk_to *to = arg;
    talker t = {.self = self, .path = path};
    snprintf(path, sizeof(path), "n%u/sink", to->node);
    for (;;) {
        if (!t.monitor)
            find(&t);
        else if (tr_send(self, t.sink, talk_number, .number = t.number + 1) == TR_OK)
            t.number++;
        if (t.monitor && !t.asking)
            ask(&t);
        check_ask(&t);
        const tr_msg *msg = tr_receive(self, EVERY);
        if (!msg && tr_last_error(self)->code == TR_EKILLED)
            return TR_OK;
        hear(&t, msg);
    }
}
TR_ACTOR(talk_def, .run = talk, .arg_type = &talk_to_type);

static tr_err start(tr_actor *self, uint32_t index)
{
    if (tr_addr_is_none(tr_spawn_with(self, &sink_def, NULL, &(tr_spawn_opts){.name = "sink"})))
        return tr_last_error(self)->code;
    for (uint32_t i = 0; i < NODES; i++) {
        char name[16];
        snprintf(name, sizeof(name), "talker-%u", i);
        if (i != index && tr_addr_is_none(tr_spawn_with(self, &talk_def, &(talk_to){.node = i},
                                                        &(tr_spawn_opts){.name = name})))
            return tr_last_error(self)->code;
    }
    return TR_OK;
}

/* ---- what must hold ------------------------------------------------------------------------------------- */

/* Of one node's talker to another: how often it must have heard of an end, at least and at most, and of how many lives. */
typedef struct noticed {
    uint32_t downs_min, downs_max, lives;
} noticed;

static tr_err found(tr_actor *self, const char *path, tr_addr *out)
{
    const tr_found *answer;
    tr_err err = tr_await(self, tr_lookup(self, path, TR_SECONDS(4)), tr_found, &answer);
    *out = err == TR_OK ? answer->actor : TR_ADDR_NONE;
    return err;
}

/* The talker from `at` to `to` watches the sink that is there, and gets through to it. TR_EAGAIN: not yet. */
static tr_err check_one(tr_actor *self, uint32_t at, uint32_t to, talk_watch_is *watch)
{
    const talk_watch_is *answer;
    const talk_heard_is *heard_is;
    tr_addr from, there;
    char talker_path[24], sink_path[24];
    snprintf(talker_path, sizeof(talker_path), "n%u/talker-%u", at, to);
    snprintf(sink_path, sizeof(sink_path), "n%u/sink", to);
    if (found(self, talker_path, &from) != TR_OK || found(self, sink_path, &there) != TR_OK ||
        tr_await(self, tr_ask(self, from, TR_SECONDS(4), talk_watch), talk_watch_is, &answer) != TR_OK)
        return tr_fail(self, TR_EAGAIN, "n%u's talker to n%u isn't there", at, to);
    *watch = *answer;
    if (!tr_addr_equal(watch->sink, there))
        return tr_fail(self, TR_EAGAIN, "n%u doesn't watch n%u's sink, which is there", at, to);
    if (tr_await(self, tr_ask(self, there, TR_SECONDS(4), talk_heard, .talker = from), talk_heard_is,
                 &heard_is) != TR_OK ||
        heard_is->count == 0)
        return tr_fail(self, TR_EAGAIN, "n%u's talker isn't heard by n%u", at, to);
    if (watch->wrong + heard_is->wrong > 0)
        return tr_fail(self, TR_EAPP, "n%u to n%u: an end was told twice, or a number came twice or too late",
                       at, to);
    return TR_OK;
}

static tr_err check_pair(tr_actor *self, uint32_t at, uint32_t to, const noticed *must)
{
    talk_watch_is watch = {.downs = 0};
    uint64_t until = tr_now(self) + PATIENCE;
    for (;;) {
        tr_err err = check_one(self, at, to, &watch);
        if (err == TR_OK)
            break;
        if (err != TR_EAGAIN || tr_now(self) > until)
            return err;
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    }
    if (must &&
        (watch.downs < must->downs_min || watch.downs > must->downs_max || watch.lives != must->lives))
        return tr_fail(
            self, TR_EAPP,
            "n%u heard %u times that n%u's sink is gone, and met %u of its lives: that should be %u to %u "
            "times, and %u",
            at, watch.downs, to, watch.lives, must->downs_min, must->downs_max, must->lives);
    return TR_OK;
}

static tr_err check_all(tr_actor *self, const noticed must[NODES][NODES])
{
    for (uint32_t at = 0; at < NODES; at++)
        for (uint32_t to = 0; to < NODES; to++)
            if (at != to)
                TR_TRY(check_pair(self, at, to, must ? &must[at][to] : NULL));
    return TR_OK;
}

/* ---- the scenarios --------------------------------------------------------------------------------------- */

#define NOTHING \
    {           \
        0, 0, 1 \
    }
#define SILENCE \
    {           \
        1, 2, 1 \
    }
#define SCENARIO(variable, its_name, ...)                                 \
    static tr_err check_##variable(tr_actor *self)                        \
    {                                                                     \
        static const noticed must[NODES][NODES] = __VA_ARGS__;            \
        return check_all(self, must);                                     \
    }                                                                     \
    const tr_scenario scenario_##variable = {.size = sizeof(tr_scenario), \
                                             .name = its_name,            \
                                             .nodes = NODES,              \
                                             .run_ns = TR_SECONDS(3),     \
                                             .start = start,              \
                                             .check = check_##variable};

/* Whatever happens is over too soon to be noticed by anybody. */
SCENARIO(calm, "calm",
         {{NOTHING, NOTHING, NOTHING}, {NOTHING, NOTHING, NOTHING}, {NOTHING, NOTHING, NOTHING}})
/* n1 dies once. */
SCENARIO(killed, "killed",
         {{NOTHING, {1, 1, 2}, NOTHING}, {NOTHING, NOTHING, NOTHING}, {NOTHING, {1, 1, 2}, NOTHING}})
/* n2 is silent for longer than is taken for dead; to it, the others are. */
SCENARIO(silent, "silent",
         {{NOTHING, NOTHING, SILENCE}, {NOTHING, NOTHING, SILENCE}, {SILENCE, SILENCE, NOTHING}})
/* n0 and n1 don't reach n2, nor it them, for as long. */
SCENARIO(parted, "parted",
         {{NOTHING, NOTHING, SILENCE}, {NOTHING, NOTHING, SILENCE}, {SILENCE, SILENCE, NOTHING}})
/* n1 doesn't hear n0 for as long. */
SCENARIO(one_way, "one-way",
         {{NOTHING, SILENCE, NOTHING}, {SILENCE, NOTHING, NOTHING}, {NOTHING, NOTHING, NOTHING}})
/* The connections of n0 and n1 break, once. */
SCENARIO(broken, "broken",
         {{NOTHING, {1, 1, 1}, NOTHING}, {{1, 1, 1}, NOTHING, NOTHING}, {NOTHING, NOTHING, NOTHING}})

/* Anybody dies any number of times. */
static tr_err check_storm(tr_actor *self)
{
    return check_all(self, NULL);
}
const tr_scenario scenario_storm = {.size = sizeof(tr_scenario),
                                    .name = "storm",
                                    .nodes = NODES,
                                    .run_ns = TR_SECONDS(3),
                                    .start = start,
                                    .check = check_storm};
