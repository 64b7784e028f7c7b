/* Streamed asks: beings on all nodes ask each other for items, take them, pause, keep some, give up and end; who is asked
 * sends as there is demand, answers, fails, hands the ask on, drops it or ends midway. What comes of each stream is the
 * first items that were sent, whole and in order, of whatever sizes and so by whatever lane of a connection, never more at a
 * time than its window, and the answer behind all of them; and each ends. One being a node is a fiber. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define KEPT  16
#define HOPS  2 /* so often an ask is handed on, at most */
#define FIBER 3 /* the slot of the one that is a fiber */

/* What the callee does when it has sent its items. */
typedef enum want { WANT_ANSWER, WANT_ERROR, WANT_DROP, WANT_KEEP, WANT_END, WANT_FORWARD } want;

TR_MESSAGE(streams_ask, (u64, number), (u32, want))
TR_MESSAGE(streams_item, (u64, number), (u64, n), (string, text))
TR_MESSAGE(streams_answer, (u64, number), (u64, items))
TR_MESSAGE(streams_tick)

typedef enum stream_state { STREAM_OPEN, STREAM_SETTLED, STREAM_GIVEN_UP, STREAM_REFUSED } stream_state;

typedef struct stream {
    core_being *asker;
    const core_being *callee; /* who has it now: the last of the hops */
    struct {
        const core_being *to;
        uint64_t connection; /* of the asker's node to its */
    } hops[HOPS + 1];
    uint32_t hop; /* how often it was handed on */
    tr_future future;
    uint64_t deadline; /* the asker's clock */
    stream_state state;
    uint64_t items, sent, taken;
    uint32_t window;
    bool heard, replied, error, unanswered; /* what the callee did */
    bool paused;
} stream;

/* All of a simulation, by number. */
static struct {
    uint64_t simulation;
    stream **all; /* each stays where it is: a fiber holds on to one while it waits */
    uint64_t count, room;
} streams;

typedef struct desk {
    core_being *being;
    tr_msg *kept[KEPT];
    uint32_t kept_count;
    uint64_t last; /* the number of the stream of CORE_LAST */
} desk;

static stream *stream_add(void)
{
    if (streams.simulation != core.simulation) {
        streams.simulation = core.simulation;
        streams.count = 0;
    }
    if (++streams.count >= streams.room) {
        uint64_t before = streams.room;
        streams.room = before ? 2 * before : 1024;
        streams.all = realloc(streams.all, streams.room * sizeof(*streams.all));
        tr__check(streams.all != NULL, "no memory for a workload");
        for (uint64_t n = before; n < streams.room; n++)
            tr__check((streams.all[n] = calloc(1, sizeof(stream))) != NULL, "no memory for a workload");
    }
    return streams.all[streams.count];
}

static stream *stream_of(uint64_t number)
{
    bool is = streams.simulation == core.simulation && number > 0 && number <= streams.count;
    return is ? streams.all[number] : NULL;
}

/* Its n-th item's: of some streams an item in four is large, and of a few of these one is more than a MiB. */
static const char *text_of(uint64_t number, uint64_t n)
{
    enum { LARGE = 40 << 10, HUGE = 1200 << 10 };
    static char large[LARGE + 1], huge[HUGE + 1];
    if (!huge[0]) {
        memset(large, 'l', LARGE);
        memset(huge, 'h', HUGE);
    }
    if (number % 256 == 0 && n == 4)
        return huge;
    if (number % 16 == 0 && n % 4 == 1)
        return large;
    return n % 5 ? "" : "of some length, so that it isn't flat";
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static uint64_t any_time(tr_actor *self)
{
    static const uint64_t times[] = {TR_MILLIS(1),    TR_MILLIS(60), TR_MILLIS(500),
                                     TR_MILLIS(1500), TR_SECONDS(8), TR_FOREVER};
    return times[tr_random(self) % TR_COUNT(times)];
}

static want any_want(tr_actor *self)
{
    uint64_t what = tr_random(self) % 100;
    return what < 60   ? WANT_ANSWER
           : what < 67 ? WANT_ERROR
           : what < 74 ? WANT_DROP
           : what < 79 ? WANT_KEEP
           : what < 81 ? WANT_END
                       : WANT_FORWARD;
}

/* Its number; 0: it failed at once. */
static uint64_t ask_now(tr_actor *self, core_being *me, const core_being *callee, uint64_t timeout, want what)
{
    static const uint32_t windows[] = {1, 2, 3, 8, 16, 255};
    uint32_t window = windows[tr_random(self) % TR_COUNT(windows)];
    uint64_t items = tr_random(self) % 3
                         ? tr_random(self) % 12
                         : tr_random(self) % (window < 16 ? 40 : 400); /* by slow ways a window takes long */
    stream *s = stream_add();
    uint64_t number = streams.count;
    *s = (stream){.asker = me,
                  .callee = callee,
                  .hops = {{callee, core_connection(me, callee->address)}},
                  .deadline = timeout == TR_FOREVER ? TR_FOREVER : tr_now(self) + timeout,
                  .items = items,
                  .window = window};

    tr_future future =
        tr_ask_stream(self, callee->address, timeout, window, streams_ask, .number = number, .want = what);
    tr_err err = future.id ? TR_OK : tr_last_error(self)->code;
    if (!sim_counts())
        return 0;
    s->future = future;
    s->state = future.id ? STREAM_OPEN : STREAM_REFUSED;
    if (err != TR_OK && err != TR_EFULL && err != TR_EAGAIN && err != TR_ENOCONN &&
        !(err == TR_ENOMEM && core_memory_failed()))
        core_wrong("stream %llu is refused: %s", (unsigned long long)number, tr_err_word(err));
    return future.id ? number : 0;
}

/* ---- what comes ---------------------------------------------------------------------------------------- */

/* One of the connections that it went over, or was to go over. */
static bool one_is_over(const stream *s)
{
    for (uint32_t i = 0; i <= s->hop; i++)
        if (core_connection_is_over(s->asker, s->hops[i].to->address, s->hops[i].connection))
            return true;
    return false;
}

static bool one_has_ended(const stream *s)
{
    for (uint32_t i = 0; i <= s->hop; i++)
        if (!core_lives(s->hops[i].to))
            return true;
    return false;
}

static bool there_is_a_reason(tr_actor *self, const stream *s, tr_err err)
{
    switch (err) {
    case TR_EDEADLINE:
        return tr_now(self) >= s->deadline;
    case TR_ENOACTOR:
        return s->unanswered || one_has_ended(s);
    case TR_ENOCONN:
        return one_is_over(s);
    case TR_EAPP:
        return s->error;
    case TR_EFULL: /* of a remote mailbox, or one that it was handed on to */
        return s->hops[0].connection != 0 || s->hop;
    case TR_ENOMEM:
        return core_memory_failed();
    default:
        return false;
    }
}

static void took(tr_actor *self, uint64_t number, const tr_msg *msg)
{
    stream *s = stream_of(number);
    if (!sim_counts() || !s)
        return;
    const streams_item *item = tr_match(msg, streams_item);
    if (!item || item->number != number || item->n != s->taken || item->n >= s->sent)
        core_wrong("stream %llu: item %llu of stream %llu came for item %llu", (unsigned long long)number,
                   item ? (unsigned long long)item->n : 0, item ? (unsigned long long)item->number : 0,
                   (unsigned long long)s->taken);
    size_t length = strlen(text_of(number, s->taken));
    if (item && strlen(item->text) != length)
        core_wrong("stream %llu: item %llu isn't whole", (unsigned long long)number,
                   (unsigned long long)s->taken);
    if (s->state != STREAM_OPEN)
        core_wrong("stream %llu: item %llu came when it was over", (unsigned long long)number,
                   (unsigned long long)s->taken);
    if (!tr_addr_equal(tr_msg_sender(msg), s->callee->address))
        core_wrong("stream %llu: an item came from another", (unsigned long long)number);
    tr_sometimes(self, item && item->n > 255, "a stream is longer than any window");
    bool remote = tr_msg_sender(msg).node != tr_self(self).node;
    tr_sometimes(self, remote && length > 1 << 20, "an item of more than a MiB comes from another node");
    s->taken++;
}

static void settled(tr_actor *self, uint64_t number, tr_err err, const tr_msg *msg)
{
    stream *s = stream_of(number);
    if (!sim_counts() || !s)
        return;
    const streams_answer *answer = msg ? tr_match(msg, streams_answer) : NULL;
    if (s->state != STREAM_OPEN)
        core_wrong("stream %llu is settled %s", (unsigned long long)number,
                   s->state == STREAM_SETTLED ? "twice" : "though it was given up");
    if (err == TR_OK && (!answer || !s->replied || answer->number != number || answer->items != s->taken))
        core_wrong("stream %llu got %llu items, and the answer says %llu", (unsigned long long)number,
                   (unsigned long long)s->taken, answer ? (unsigned long long)answer->items : 0);
    if (err != TR_OK && !there_is_a_reason(self, s, err))
        core_wrong("stream %llu failed without a reason: %s", (unsigned long long)number, tr_err_word(err));
    tr_sometimes(self, err == TR_OK && s->hop, "a stream is answered by who it was handed on to");
    tr_sometimes(self, err == TR_ENOCONN && s->taken, "a stream fails midway as its connection breaks");
    tr_sometimes(self, err == TR_EDEADLINE && s->taken, "a stream's deadline comes midway");
    s->state = STREAM_SETTLED;
}

static void on_settled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    settled(self, (uint64_t)(uintptr_t)context, result->err, result->msg);
}

static void give_up(tr_actor *self, stream *s)
{
    tr_cancel(self, s->future);
    s->state = STREAM_GIVEN_UP;
}

static bool on_item(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    uint64_t number = (uint64_t)(uintptr_t)context, what = tr_random(self) % 64;
    stream *s = stream_of(number);
    (void)state;
    took(self, number, item);
    if (!s || !sim_counts() || core.phase != CORE_BUSY)
        return true;
    if (what < 8) { /* the grant needs a block of its own */
        tr_msg *kept = tr_msg_take(self, item);
        tr_msg_free(self, &kept);
    } else if (what == 8 && s->state == STREAM_OPEN) {
        give_up(self, s);
    }
    s->paused = what > 60;
    return what <= 60;
}

static uint64_t ask_then(tr_actor *self, const desk *d, const core_being *callee, uint64_t timeout, want what)
{
    uint64_t number = ask_now(self, d->being, callee, timeout, what);
    void *context = (void *)(uintptr_t)number;
    if (number && (tr_each(self, stream_of(number)->future, on_item, context) != TR_OK ||
                   tr_then(self, stream_of(number)->future, on_settled, context) != TR_OK))
        core_wrong("stream %llu can't be waited for", (unsigned long long)number);
    return number;
}

/* Its streams that paused go on; now and then one is given up instead. */
static void resume(tr_actor *self, const desk *d)
{
    for (uint64_t n = streams.count; n > 0 && (core.phase != CORE_BUSY || n + 500 > streams.count); n--) {
        stream *s = stream_of(n);
        if (!s || s->asker != d->being || s->state != STREAM_OPEN || !s->paused)
            continue;
        s->paused = false;
        if (core.phase == CORE_BUSY && tr_random(self) % 4 == 0)
            give_up(self, s);
        else if (tr_each(self, s->future, on_item, (void *)(uintptr_t)n) != TR_OK)
            core_wrong("stream %llu can't go on", (unsigned long long)n);
    }
}

/* ---- being asked --------------------------------------------------------------------------------------- */

static void unkeep(tr_actor *self, desk *d, uint32_t i)
{
    stream_of(tr_match(d->kept[i], streams_ask)->number)->unanswered = true;
    tr_msg_free(self, &d->kept[i]);
    d->kept[i] = d->kept[--d->kept_count];
}

static tr_err send_one(tr_actor *self, const tr_msg *ask, uint64_t number)
{
    stream *s = stream_of(number);
    tr_err err = tr_reply_item(self, ask, streams_item, .number = number, .n = s->sent,
                               .text = text_of(number, s->sent));
    if (!sim_counts())
        return TR_EKILLED;
    if (err == TR_OK) {
        s->sent++;
        if (s->sent - s->taken > s->window)
            core_wrong("stream %llu: %llu items are under way, its window is %u", (unsigned long long)number,
                       (unsigned long long)(s->sent - s->taken), s->window);
    } else if (err != TR_EAGAIN && err != TR_ECANCELED && err != TR_EDEADLINE && err != TR_EKILLED &&
               !(err == TR_ENOMEM && core_memory_failed())) {
        core_wrong("stream %llu: sending an item: %s", (unsigned long long)number, tr_err_word(err));
    }
    return err;
}

/* Send what there is demand for, and answer. False: it goes on later. */
static bool produce(tr_actor *self, const tr_msg *ask)
{
    const streams_ask *q = tr_match(ask, streams_ask);
    stream *s = stream_of(q->number);
    uint64_t end = q->want == WANT_ANSWER || core.phase != CORE_BUSY ? s->items : s->items / 2;
    while (s->sent < end) {
        tr_err err = send_one(self, ask, q->number);
        if (err == TR_EAGAIN || err == TR_ENOMEM)
            return false;
        if (err != TR_OK)
            return true;
    }
    if (!sim_counts() || (core.phase == CORE_BUSY && q->want == WANT_KEEP))
        return false;
    if (core.phase == CORE_BUSY && q->want == WANT_DROP)
        return true;
    if (core.phase == CORE_BUSY && q->want == WANT_ERROR) {
        s->error = true;
        tr_reply_error(self, ask, TR_EAPP, "no more of %llu", (unsigned long long)q->number);
        return true;
    }
    tr_err err = tr_reply(self, ask, streams_answer, .number = q->number, .items = s->sent);
    s->replied |= err == TR_OK;
    return true;
}

static void produce_kept(tr_actor *self, desk *d, const tr_demand *demand)
{
    for (uint32_t i = d->kept_count; i-- > 0;) {
        if (demand && (tr_msg_ask_number(d->kept[i]) != demand->ask ||
                       !tr_addr_equal(tr_msg_sender(d->kept[i]), demand->asker)))
            continue;
        tr_sometimes(self, demand != NULL, "who had no demand is told of some");
        if (produce(self, d->kept[i]))
            unkeep(self, d, i);
    }
}

static void canceled(tr_actor *self, desk *d, const tr_canceled *c)
{
    for (uint32_t i = 0; i < d->kept_count; i++) {
        const stream *s = stream_of(tr_match(d->kept[i], streams_ask)->number);
        if (tr_msg_ask_number(d->kept[i]) != c->ask || !tr_addr_equal(tr_msg_sender(d->kept[i]), c->asker))
            continue;
        if (s->state == STREAM_OPEN && s->asker->node == d->being->node && !s->hop && core_lives(s->asker) &&
            sim_node_clock(s->asker->node) < s->deadline)
            core_wrong("a callee hears that stream %llu was given up, which is open",
                       (unsigned long long)tr_match(d->kept[i], streams_ask)->number);
        tr_sometimes(self, s->hops[s->hop].connection != 0 && s->state == STREAM_SETTLED && s->sent,
                     "who sends to a lost node is told");
        unkeep(self, d, i);
        return;
    }
}

static bool hand_on(tr_actor *self, const desk *d, const tr_msg *msg, stream *s)
{
    const core_being *other = core_any(self, d->being, true);
    if (!other || s->hop == HOPS || tr_random(self) % 4 == 0)
        return false;
    if (tr_forward(self, msg, other->address) != TR_OK)
        return false;
    if (!sim_counts())
        return true;
    s->hop++;
    s->hops[s->hop].to = s->callee = other;
    s->hops[s->hop].connection = core_connection(s->asker, other->address);
    s->heard = false;
    return true;
}

/* False: msg is kept, or handed on. */
static bool asked(tr_actor *self, desk *d, const tr_msg *msg, const streams_ask *q)
{
    stream *s = stream_of(q->number);
    if (!sim_counts())
        return true;
    if (!s || s->state == STREAM_REFUSED || s->heard || s->callee != d->being) {
        core_wrong("being %u is asked for stream %llu, which isn't its", d->being->number,
                   (unsigned long long)q->number);
        return true;
    }
    s->heard = true;
    if (core.phase == CORE_BUSY && q->want == WANT_FORWARD && hand_on(self, d, msg, s))
        return false;
    if (core.phase == CORE_BUSY && q->want == WANT_END && produce(self, msg)) {
        core_exit(self, d->being, TR_EAPP);
        return true;
    }
    tr_msg *kept = d->kept_count < KEPT ? tr_msg_take(self, msg) : NULL;
    if (!kept) {
        s->unanswered = true;
        return true;
    }
    d->kept[d->kept_count++] = kept;
    if (produce(self, kept))
        unkeep(self, d, d->kept_count - 1);
    return false;
}

/* ---- a being ------------------------------------------------------------------------------------------- */

/* A stream of each of the others comes whole now. True: it has. */
static bool last_round(tr_actor *self, desk *d)
{
    const stream *s = stream_of(d->last);
    if (s && s->state == STREAM_SETTLED && s->replied)
        return true;
    const core_being *callee = core_any(self, d->being, false);
    if (callee && (!s || s->state != STREAM_OPEN))
        d->last = ask_then(self, d, callee, TR_SECONDS(20), WANT_ANSWER);
    return false;
}

static void tick(tr_actor *self, desk *d)
{
    d->being->ticked = sim_now_running->now;
    resume(self, d);
    if (core.phase != CORE_BUSY || core_memory_failed())
        produce_kept(self, d, NULL);
    if (core.phase == CORE_QUIET)
        return;
    uint64_t what = tr_random(self) % 100;
    const core_being *callee = core_any(self, d->being, true);
    if (core.phase != CORE_BUSY)
        d->being->last_done = d->being->last_done || last_round(self, d);
    else if (what == 99 && tr_random(self) % 4 == 0)
        core_exit(self, d->being, tr_random(self) % 2 ? TR_OK : TR_EAPP);
    else if (callee && what == 98 && callee->address.node == d->being->address.node)
        tr_stop(self, callee->address, tr_random(self) % 2 ? TR_EXIT_KILLED : TR_EXIT_SHUTDOWN);
    else if (callee) {
        uint64_t timeout = any_time(self); /* one draw an expression: S1 */
        ask_then(self, d, callee, timeout, any_want(self));
    }
    if (!tr_after(self, sim_now_running->faults_on ? tr_random(self) % TR_MILLIS(80) : TR_MILLIS(150),
                  streams_tick)
             .id)
        core_exit(self, d->being, TR_ENOMEM);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    desk *d = state;
    const streams_ask *q;
    const tr_canceled *c;
    const tr_demand *more;
    if ((q = tr_match(msg, streams_ask)))
        asked(self, d, msg, q);
    else if ((more = tr_match(msg, tr_demand)))
        produce_kept(self, d, more);
    else if ((c = tr_match(msg, tr_canceled)))
        canceled(self, d, c);
    else if (tr_match(msg, streams_tick))
        tick(self, d);
    else
        core_wrong("being %u got a %s", d->being->number, tr_msg_type_name(msg));
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    desk *d = state;
    d->being = core_born(self, (uint32_t)(uintptr_t)arg);
    if (tr_after(self, tr_random(self) % TR_MILLIS(50), streams_tick).id)
        return TR_OK;
    core_ended(d->being);
    return TR_ENOMEM;
}

static void stop(tr_actor *self, void *state)
{
    (void)self;
    if (((desk *)state)->being)
        core_ended(((desk *)state)->being);
}

/* ---- the fiber ----------------------------------------------------------------------------------------- */

/* Take a stream to its end, or a part of it. */
static tr_err take_one(tr_actor *self, desk *d, const core_being *callee, uint64_t timeout, want what)
{
    uint64_t number = ask_now(self, d->being, callee, timeout, what), most = tr_random(self) % 600;
    if (!number)
        return TR_OK;
    tr_future future = stream_of(number)->future;
    const tr_msg *msg;
    tr_err err;
    while ((err = tr_next_msg(self, future, &msg)) == TR_OK && most--) {
        took(self, number, msg);
        if (tr_random(self) % 32 == 0)
            TR_TRY(tr_sleep(self, TR_MILLIS(5)));
    }
    if (err == TR_EKILLED)
        return err;
    if (err == TR_OK) {
        if (sim_counts())
            give_up(self, stream_of(number));
        return TR_OK;
    }
    err = tr_await_msg(self, future, &msg);
    if (err != TR_EKILLED)
        settled(self, number, err, msg);
    return err == TR_EKILLED ? err : TR_OK;
}

static tr_err fiber_round(tr_actor *self, desk *d)
{
    uint64_t wait = core.phase == CORE_QUIET ? TR_FOREVER : tr_random(self) % TR_MILLIS(40);
    const tr_msg *msg = tr_receive(self, wait);
    const tr_canceled *c;
    const streams_ask *q = msg ? tr_match(msg, streams_ask) : NULL;
    if (!msg && tr_last_error(self)->code == TR_EKILLED)
        return TR_EKILLED;
    if (q)
        asked(self, d, msg, q);
    else if (msg && (c = tr_match(msg, tr_canceled)))
        canceled(self, d, c);
    if (core.phase != CORE_BUSY) {
        produce_kept(self, d, NULL);
        d->being->last_done = true;
    } else if (!msg) {
        const core_being *callee = core_any(self, d->being, true);
        uint64_t timeout = tr_random(self) % TR_MILLIS(300);
        return callee ? take_one(self, d, callee, timeout, any_want(self)) : TR_OK;
    }
    return TR_OK;
}

static tr_err run(tr_actor *self, void *arg)
{
    desk *d = tr_state(self);
    tr_err err = TR_OK;
    d->being = core_born(self, (uint32_t)(uintptr_t)arg);
    while (err == TR_OK)
        err = fiber_round(self, d);
    return TR_OK;
}

/* ---- the scenario -------------------------------------------------------------------------------------- */

static const tr_actor_def desk_def = {
    .name = "desk", .state_size = sizeof(desk), .init = init, .receive = receive, .stop = stop};
static const tr_actor_def fiber_def = {.name = "fiber", .state_size = sizeof(desk), .run = run, .stop = stop};

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&desk_def, &desk_def, &desk_def, [FIBER] = &fiber_def};
    return core_keep(self, index, defs, TR_COUNT(defs));
}

static const char *open_streams(void)
{
    static char text[160];
    for (uint64_t n = 1; n <= streams.count; n++) {
        const stream *s = stream_of(n);
        if (!s || s->state != STREAM_OPEN || !core_lives(s->asker))
            continue;
        snprintf(text, sizeof(text),
                 "stream %llu of being %u on n%u by %u on n%u never settles, at %llu of %llu",
                 (unsigned long long)n, s->asker->number, s->asker->node->index, s->callee->number,
                 s->callee->node->index, (unsigned long long)s->taken, (unsigned long long)s->items);
        return text;
    }
    return NULL;
}

static tr_err check(tr_actor *self)
{
    return core_check(self, open_streams, NULL);
}

const tr_scenario sim_core_streams = {.size = sizeof(tr_scenario),
                                      .name = "core-streams",
                                      .nodes = 4,
                                      .run_ns = TR_SECONDS(8),
                                      .start = start,
                                      .check = check};
