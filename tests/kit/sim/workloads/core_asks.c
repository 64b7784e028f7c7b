/* Asks: beings on all nodes ask each other, with little time or much, and are answered, late, twice, with an error or not at
 * all, or their asks are handed on, once or twice; they give up, end, and kill each other. Each future settles once, with what its callee did or for a reason that there
 * is; one that was given up never. One being a node is a fiber. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define KEPT  16
#define HOPS  2             /* so often an ask is handed on, at most */
#define LATE  TR_MILLIS(50) /* after its deadline, that an asker whose loop turns may hear of it */
#define FIBER 3             /* the slot of the one that is a fiber */

/* What the callee is to do. */
typedef enum want {
    WANT_REPLY,
    WANT_LATER,
    WANT_ERROR,
    WANT_DROP,
    WANT_KEEP,
    WANT_TWICE,
    WANT_END,
    WANT_FORWARD,
    WANTS
} want;

TR_MESSAGE(asks_question, (u32, asker), (u64, number), (u32, want))
TR_MESSAGE(asks_answer, (u32, callee), (u64, number), (string, text))
TR_MESSAGE(asks_tick)
TR_MESSAGE(asks_later, (u64, number))

typedef enum ask_state { ASK_OPEN, ASK_SETTLED, ASK_GIVEN_UP, ASK_REFUSED } ask_state;

typedef struct ask {
    core_being *asker;
    const core_being *callee; /* who has it: the last of the hops */
    struct {
        const core_being *to;
        uint64_t connection; /* of the asker's node to its */
    } hops[HOPS + 1];
    uint32_t hop; /* how often it was handed on */
    tr_future future;
    uint64_t deadline; /* the asker's clock */
    ask_state state;
    bool heard, replied, error, unanswered; /* what the callee did */
    bool fiber;
} ask;

/* All of a simulation, by number. */
static struct {
    uint64_t simulation;
    ask *all;
    uint64_t count, room;
} asks;

typedef struct desk {
    core_being *being;
    tr_msg *kept[KEPT];
    uint32_t kept_count;
    uint64_t last_asked[TR_SIM_NODES_MAX * CORE_SLOTS]; /* numbers, in CORE_LAST; 0: none */
} desk;

static ask *ask_add(void)
{
    if (asks.simulation != core.simulation) {
        asks.simulation = core.simulation;
        asks.count = 0;
    }
    if (++asks.count >= asks.room) {
        asks.room = asks.room ? 2 * asks.room : 1024;
        asks.all = realloc(asks.all, asks.room * sizeof(*asks.all));
        tr__check(asks.all != NULL, "no memory for a workload");
    }
    asks.all[asks.count] = (ask){0};
    return &asks.all[asks.count];
}

static ask *ask_of(uint64_t number)
{
    return asks.simulation == core.simulation && number > 0 && number <= asks.count ? &asks.all[number]
                                                                                    : NULL;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

static uint64_t any_time(tr_actor *self)
{
    static const uint64_t times[] = {0,
                                     TR_MICROS(200),
                                     TR_MILLIS(5),
                                     TR_MILLIS(60),
                                     TR_MILLIS(500),
                                     TR_MILLIS(1500),
                                     TR_SECONDS(8),
                                     TR_FOREVER};
    return times[tr_random(self) % TR_COUNT(times)];
}

static want any_want(tr_actor *self)
{
    uint64_t what = tr_random(self) % 100;
    return what < 55   ? WANT_REPLY
           : what < 75 ? WANT_LATER
           : what < 80 ? WANT_ERROR
           : what < 85 ? WANT_DROP
           : what < 95 ? WANT_KEEP
           : what < 99 ? WANT_TWICE
                       : WANT_END;
}

static want any_want_or_other(tr_actor *self)
{
    return tr_random(self) % 8 ? any_want(self) : WANT_FORWARD;
}

/* Its number; 0: it failed at once. */
static uint64_t ask_now(tr_actor *self, core_being *me, const core_being *callee, uint64_t timeout, want what)
{
    ask *a = ask_add();
    uint64_t number = asks.count;
    *a = (ask){.asker = me,
               .callee = callee,
               .hops = {{callee, core_connection(me, callee->address)}},
               .deadline = timeout == TR_FOREVER ? TR_FOREVER : tr_now(self) + timeout};
    tr_future future = tr_ask(self, callee->address, timeout, asks_question, .asker = me->number,
                              .number = number, .want = what);
    tr_err err = future.id ? TR_OK : tr_last_error(self)->code;
    if (!sim_counts())
        return 0;
    a->future = future;
    a->state = future.id ? ASK_OPEN : ASK_REFUSED;
    if (err != TR_OK && err != TR_EFULL && err != TR_EAGAIN && err != TR_ENOCONN &&
        !(err == TR_ENOMEM && core_memory_failed()))
        core_wrong("ask %llu is refused: %s", (unsigned long long)number, tr_err_word(err));
    tr_sometimes(self, err == TR_EAGAIN, "an ask is refused without credit");
    tr_sometimes(self, err == TR_ENOCONN, "an ask is refused without a connection");
    return future.id ? number : 0;
}

/* ---- how it ends --------------------------------------------------------------------------------------- */

/* Of those that it went over, or was to go over. */
static bool connection_is_over(const ask *a)
{
    for (uint32_t i = 0; i <= a->hop; i++)
        if (core_connection_is_over(a->asker, a->hops[i].to->address, a->hops[i].connection))
            return true;
    return false;
}

static bool one_has_ended(const ask *a)
{
    for (uint32_t i = 0; i <= a->hop; i++)
        if (!core_lives(a->hops[i].to))
            return true;
    return false;
}

/* Whether an ask may end so. */
static bool there_is_a_reason(tr_actor *self, const ask *a, tr_err err)
{
    switch (err) {
    case TR_EDEADLINE:
        return tr_now(self) >= a->deadline;
    case TR_ENOACTOR:
        return a->unanswered || one_has_ended(a);
    case TR_ENOCONN:
        return connection_is_over(a);
    case TR_EAPP:
        return a->error;
    case TR_EFULL: /* of a remote mailbox, or one that it was handed on to from there */
        return a->hops[0].connection != 0 || a->hop;
    case TR_ENOMEM:
        return core_memory_failed();
    default:
        return false;
    }
}

static void check_answer(const ask *a, uint64_t number, const tr_msg *msg)
{
    const asks_answer *answer = msg ? tr_match(msg, asks_answer) : NULL;
    char text[32];
    snprintf(text, sizeof(text), "answer %llu", (unsigned long long)number);
    bool as_sent = answer && (strcmp(answer->text, text) == 0 ||
                              (!answer->text[0] && core_memory_failed())); /* see tr_fmt */
    if (!as_sent || answer->number != number || answer->callee != a->callee->number ||
        !tr_addr_equal(tr_msg_sender(msg), a->callee->address))
        core_wrong("ask %llu of being %u got the answer to %llu", (unsigned long long)number,
                   a->asker->number, answer ? (unsigned long long)answer->number : 0);
    if (!a->replied)
        core_wrong("ask %llu of being %u was answered by nobody", (unsigned long long)number,
                   a->asker->number);
}

static void settled(tr_actor *self, uint64_t number, tr_err err, const tr_msg *msg)
{
    ask *a = ask_of(number);
    if (!sim_counts() || !a)
        return;
    if (a->state != ASK_OPEN)
        core_wrong("ask %llu of being %u is settled %s", (unsigned long long)number, a->asker->number,
                   a->state == ASK_SETTLED ? "twice" : "though it was given up");
    if (err == TR_OK)
        check_answer(a, number, msg);
    else if (!there_is_a_reason(self, a, err))
        core_wrong("ask %llu of being %u failed without a reason: %s", (unsigned long long)number,
                   a->asker->number, tr_err_word(err));
    if (!a->fiber && a->deadline != TR_FOREVER && tr_now(self) > a->deadline + LATE && !core_time_failed())
        core_wrong("ask %llu of being %u is settled %llu ms after its deadline", (unsigned long long)number,
                   a->asker->number, (unsigned long long)((tr_now(self) - a->deadline) / 1000000u));
    tr_sometimes(self, err == TR_EDEADLINE, "an ask's deadline comes");
    tr_sometimes(self, err == TR_EDEADLINE && a->replied, "an answer is too late");
    tr_sometimes(self, err == TR_OK && a->hop, "an ask is answered by who it was handed on to");
    tr_sometimes(self, err == TR_ENOACTOR, "an ask fails for there is no actor");
    tr_sometimes(self, err == TR_ENOCONN, "an ask fails as its connection breaks");
    a->state = ASK_SETTLED;
}

static void on_settled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)state;
    settled(self, (uint64_t)(uintptr_t)context, result->err, result->msg);
}

static uint64_t ask_then(tr_actor *self, desk *d, const core_being *callee, uint64_t timeout, want what)
{
    uint64_t number = ask_now(self, d->being, callee, timeout, what);
    if (number && tr_then(self, ask_of(number)->future, on_settled, (void *)(uintptr_t)number) != TR_OK)
        core_wrong("ask %llu can't be waited for", (unsigned long long)number);
    return number;
}

/* One of its last asks, if it is open. */
static void give_up_one(tr_actor *self, const desk *d)
{
    for (uint64_t n = asks.count; n > 0 && n + 200 > asks.count; n--) {
        ask *a = ask_of(n);
        if (!a || a->asker != d->being || a->state != ASK_OPEN)
            continue;
        tr_cancel(self, a->future);
        a->state = ASK_GIVEN_UP;
        return;
    }
}

/* ---- being asked --------------------------------------------------------------------------------------- */

static void answer(tr_actor *self, const desk *d, const tr_msg *msg, uint64_t number, bool again)
{
    ask *a = ask_of(number);
    tr_err err = tr_reply(self, msg, asks_answer, .callee = d->being->number, .number = number,
                          .text = tr_fmt(self, "answer %llu", (unsigned long long)number));
    if (!sim_counts())
        return;
    if (again ? err != TR_EINVAL && err != TR_ECANCELED && err != TR_ENOMEM
              : err != TR_OK && err != TR_ECANCELED && err != TR_ENOMEM)
        core_wrong("answering ask %llu: %s", (unsigned long long)number, tr_err_word(err));
    a->replied |= err == TR_OK;
    a->unanswered |= err != TR_OK && !again;
}

static void keep(tr_actor *self, desk *d, const tr_msg *msg, uint64_t number, bool later)
{
    tr_msg *taken = d->kept_count < KEPT ? tr_msg_take(self, msg) : NULL;
    if (!taken ||
        (later && !tr_after(self, tr_random(self) % TR_MILLIS(100), asks_later, .number = number).id)) {
        ask_of(number)->unanswered = true;
        if (taken)
            tr_msg_free(self, &taken);
        return;
    }
    d->kept[d->kept_count++] = taken;
}

static void unkeep(tr_actor *self, desk *d, uint32_t i)
{
    const asks_question *q = tr_match(d->kept[i], asks_question);
    ask_of(q->number)->unanswered = true;
    tr_msg_free(self, &d->kept[i]);
    d->kept[i] = d->kept[--d->kept_count];
}

static void answer_kept(tr_actor *self, desk *d, uint64_t number)
{
    for (uint32_t i = d->kept_count; i-- > 0;) {
        const asks_question *q = tr_match(d->kept[i], asks_question);
        if (number && q->number != number)
            continue;
        answer(self, d, d->kept[i], q->number, false);
        unkeep(self, d, i);
    }
}

static void canceled(tr_actor *self, desk *d, const tr_canceled *c)
{
    for (uint32_t i = 0; i < d->kept_count; i++) {
        const ask *a = ask_of(tr_match(d->kept[i], asks_question)->number);
        if (tr_msg_ask_number(d->kept[i]) != c->ask || !tr_addr_equal(tr_msg_sender(d->kept[i]), c->asker))
            continue;
        if (a->state == ASK_OPEN && core_lives(a->asker) && sim_node_clock(a->asker->node) < a->deadline)
            core_wrong("a callee hears that ask %llu was given up, which is open",
                       (unsigned long long)tr_match(d->kept[i], asks_question)->number);
        tr_sometimes(self, true, "a callee hears that an ask was given up");
        unkeep(self, d, i);
        return;
    }
}

/* To another one; by who has it now, which is its callee until then. */
static bool hand_on(tr_actor *self, const desk *d, const tr_msg *msg, ask *a)
{
    const core_being *other = core_any(self, d->being, true);
    if (!other || a->hop == HOPS || tr_forward(self, msg, other->address) != TR_OK)
        return false;
    if (!sim_counts())
        return true;
    a->hop++;
    a->hops[a->hop].to = a->callee = other;
    a->hops[a->hop].connection = core_connection(a->asker, other->address);
    a->heard = false;
    tr_sometimes(self, a->hop == 2, "an ask is handed on twice");
    return true;
}

static void asked(tr_actor *self, desk *d, const tr_msg *msg, const asks_question *q)
{
    ask *a = ask_of(q->number);
    if (!sim_counts())
        return;
    if (!a || a->asker->number != q->asker || a->state == ASK_REFUSED) {
        core_wrong("being %u is asked %llu, which nobody asked", d->being->number,
                   (unsigned long long)q->number);
        return;
    }
    if (a->callee != d->being)
        core_wrong("ask %llu for being %u reached %u: a stale address resolved",
                   (unsigned long long)q->number, a->callee->number, d->being->number);
    if (a->heard)
        core_wrong("ask %llu came twice", (unsigned long long)q->number);
    a->heard = true;
    if (core.phase == CORE_BUSY && q->want == WANT_FORWARD && hand_on(self, d, msg, a))
        return;
    switch (core.phase == CORE_BUSY ? (want)q->want : WANT_REPLY) {
    case WANT_LATER:
    case WANT_KEEP:
        keep(self, d, msg, q->number, q->want == WANT_LATER);
        break;
    case WANT_ERROR:
        a->error = true;
        tr_reply_error(self, msg, TR_EAPP, "no answer to %llu", (unsigned long long)q->number);
        break;
    case WANT_DROP:
        a->unanswered = true;
        break;
    case WANT_END:
        a->unanswered = true;
        core_exit(self, d->being, TR_EAPP);
        break;
    case WANT_TWICE:
        answer(self, d, msg, q->number, false);
        answer(self, d, msg, q->number, true);
        break;
    default:
        answer(self, d, msg, q->number, false);
    }
}

/* ---- a being ------------------------------------------------------------------------------------------- */

static void something(tr_actor *self, desk *d)
{
    uint64_t what = tr_random(self) % 100;
    const core_being *callee = core_any(self, d->being, true);
    if (what < 10)
        give_up_one(self, d);
    if (what == 99 && tr_random(self) % 4 == 0)
        core_exit(self, d->being, tr_random(self) % 2 ? TR_OK : TR_EAPP);
    if (callee && what == 98 && callee->address.node == d->being->address.node)
        tr_stop(self, callee->address, tr_random(self) % 2 ? TR_EXIT_KILLED : TR_EXIT_SHUTDOWN);
    for (uint64_t n = what < 20 ? 4 : 1; callee && n > 0; n--) {
        uint64_t timeout = any_time(self); /* one draw an expression: S1 */
        if (ask_then(self, d, callee, timeout, any_want_or_other(self)) && what >= 15 && what < 20)
            give_up_one(self, d); /* before anybody reads it */
    }
}

/* All of the others answer now, in good time. True: all have. */
static bool last_round(tr_actor *self, desk *d)
{
    bool all = core_all_there();
    for (uint32_t n = 0; all && n < sim_now_running->node_count; n++)
        for (uint32_t s = 0; s < core.kept; s++) {
            uint64_t *number = &d->last_asked[n * CORE_SLOTS + s];
            const core_being *callee = core.slots[n][s];
            const ask *a = ask_of(*number);
            if (callee == d->being || (a && a->callee == callee && a->state == ASK_SETTLED && a->replied))
                continue;
            all = false;
            if (!a || a->state != ASK_OPEN)
                *number = ask_then(self, d, callee, TR_SECONDS(20), WANT_REPLY);
        }
    return all && core_all_there();
}

static void tick(tr_actor *self, desk *d)
{
    d->being->ticked = sim_now_running->now;
    if (core.phase != CORE_BUSY)
        answer_kept(self, d, 0);
    if (core.phase == CORE_QUIET)
        return;
    if (core.phase == CORE_BUSY)
        something(self, d);
    else if (!d->being->last_done)
        d->being->last_done = last_round(self, d);
    if (!tr_after(self, sim_now_running->faults_on ? tr_random(self) % TR_MILLIS(60) : TR_MILLIS(150),
                  asks_tick)
             .id)
        core_exit(self, d->being, TR_ENOMEM);
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    desk *d = state;
    const asks_question *q;
    const asks_later *l;
    const tr_canceled *c;
    if ((q = tr_match(msg, asks_question)))
        asked(self, d, msg, q);
    else if ((l = tr_match(msg, asks_later)))
        answer_kept(self, d, l->number);
    else if ((c = tr_match(msg, tr_canceled)))
        canceled(self, d, c);
    else if (tr_match(msg, asks_tick))
        tick(self, d);
    else
        core_wrong("being %u got a %s", d->being->number, tr_msg_type_name(msg));
}

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    desk *d = state;
    d->being = core_born(self, (uint32_t)(uintptr_t)arg);
    if (tr_after(self, tr_random(self) % TR_MILLIS(50), asks_tick).id)
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

/* Ask two at once and wait for both, or for one. */
static tr_err ask_two(tr_actor *self, desk *d)
{
    tr_future futures[2];
    uint64_t numbers[2] = {0};
    uint32_t count = 0;
    for (int i = 0; i < 2; i++) {
        const core_being *callee = core_any(self, d->being, true);
        uint64_t timeout = tr_random(self) % TR_MILLIS(300);
        uint64_t number = callee ? ask_now(self, d->being, callee, timeout, any_want_or_other(self)) : 0;
        if (!number)
            continue;
        ask_of(number)->fiber = true;
        futures[count] = ask_of(number)->future;
        numbers[count++] = number;
    }
    if (count == 2 && tr_random(self) % 2) {
        tr_future both = tr_gather(self, futures, 2);
        if (both.id && tr_await_msg(self, both, NULL) == TR_EKILLED)
            return TR_EKILLED;
    }
    for (uint32_t i = 0; i < count; i++) {
        const tr_msg *msg = NULL;
        tr_err err = tr_await_msg(self, futures[i], &msg);
        if (err == TR_EKILLED)
            return err;
        settled(self, numbers[i], err, msg);
    }
    return TR_OK;
}

static tr_err fiber_round(tr_actor *self, desk *d)
{
    uint64_t wait = core.phase == CORE_QUIET ? TR_FOREVER : tr_random(self) % TR_MILLIS(40);
    const tr_msg *msg = tr_receive(self, wait);
    const asks_later *l;
    const tr_canceled *c;
    const asks_question *q = msg ? tr_match(msg, asks_question) : NULL;
    if (!msg && tr_last_error(self)->code == TR_EKILLED)
        return TR_EKILLED;
    if (q)
        asked(self, d, msg, q);
    else if (msg && (l = tr_match(msg, asks_later)))
        answer_kept(self, d, l->number);
    else if (msg && (c = tr_match(msg, tr_canceled)))
        canceled(self, d, c);
    if (core.phase != CORE_BUSY) {
        answer_kept(self, d, 0);
        d->being->last_done = true;
    } else if (!msg) {
        return ask_two(self, d);
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

static const char *open_asks(void)
{
    static char text[160];
    for (uint64_t n = 1; n <= asks.count; n++) {
        const ask *a = ask_of(n);
        if (!a || a->state != ASK_OPEN || !core_lives(a->asker))
            continue;
        snprintf(text, sizeof(text), "ask %llu of being %u on n%u to %u on n%u never settles",
                 (unsigned long long)n, a->asker->number, a->asker->node->index, a->callee->number,
                 a->callee->node->index);
        return text;
    }
    return NULL;
}

static tr_err check(tr_actor *self)
{
    return core_check(self, open_asks, NULL);
}

const tr_scenario sim_core_asks = {.size = sizeof(tr_scenario),
                                   .name = "core-asks",
                                   .nodes = 4,
                                   .run_ns = TR_SECONDS(8),
                                   .start = start,
                                   .check = check};
