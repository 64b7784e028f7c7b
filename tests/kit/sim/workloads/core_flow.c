/* Messages, mailboxes, timers: beings on all nodes send each other numbered notes, now and then a flood or some MiB, to
 * those that are there and to those that have ended; they wait for places, set alarms and take them back, and end. */
#include <string.h>

#include "tests/kit/sim/workloads/core.h"
#include "tests/kit/sim/workloads/list.h"

#define ALARMS 6
#define WANTS  8

TR_MESSAGE(flow_tick, (u32, serial))
TR_MESSAGE(flow_alarm, (u32, which), (u32, serial))

typedef struct alarm {
    tr_timer timer;
    uint32_t serial;
    uint64_t due;
    bool set;
} alarm_clock;

/* Whom it asked for a notice, and how many came. */
typedef struct want {
    tr_addr of;
    uint32_t asked, told;
} want;

typedef struct flow {
    core_being *being;
    uint32_t tick;
    uint64_t tick_due;
    alarm_clock alarms[ALARMS];
    want wants[WANTS];
    uint32_t wants_used;
    uint32_t last_sent; /* in CORE_LAST */
} flow;

/* ---- timers -------------------------------------------------------------------------------------------- */

static void tick_in(tr_actor *self, flow *f, uint64_t delay)
{
    f->tick_due = tr_now(self) + delay;
    if (!tr_after(self, delay, flow_tick, .serial = ++f->tick).id)
        core_exit(self, f->being, TR_ENOMEM);
}

static uint64_t until_next_tick(tr_actor *self)
{
    if (core.phase == CORE_LAST)
        return TR_MILLIS(20);
    if (!sim_now_running->faults_on)
        return TR_MILLIS(100 + tr_random(self) % 300);
    return tr_random(self) % TR_MILLIS(80);
}

static void set_alarm(tr_actor *self, flow *f)
{
    uint32_t which = (uint32_t)(tr_random(self) % ALARMS);
    alarm_clock *a = &f->alarms[which];
    if (a->set && !tr_timer_cancel(self, a->timer))
        return; /* its message is in the mailbox */
    tr_sometimes(self, a->set, "a timer is taken back");
    uint64_t delay =
        tr_random(self) % 4 ? tr_random(self) % TR_MILLIS(500) : tr_random(self) % TR_MICROS(300);
    *a = (alarm_clock){.serial = a->serial + 1, .due = tr_now(self) + delay};
    a->timer = tr_after(self, delay, flow_alarm, .which = which, .serial = a->serial);
    a->set = a->timer.id != 0;
}

static void rang(tr_actor *self, flow *f, const flow_alarm *alarm)
{
    alarm_clock *a = &f->alarms[alarm->which];
    if (!a->set || a->serial != alarm->serial)
        core_wrong("alarm %u.%u of being %u rang, which was taken back or rang before", alarm->which,
                   alarm->serial, f->being->number);
    else if (tr_now(self) < a->due)
        core_wrong("alarm %u.%u of being %u rang %llu ns early", alarm->which, alarm->serial,
                   f->being->number, (unsigned long long)(a->due - tr_now(self)));
    a->set = false;
}

/* ---- notes --------------------------------------------------------------------------------------------- */

static void ask_for_notice(tr_actor *self, flow *f, tr_addr of)
{
    uint32_t i = 0;
    while (i < f->wants_used && !tr_addr_equal(f->wants[i].of, of))
        i++;
    if (i == WANTS || tr_notify_writable(self, of) != TR_OK)
        return;
    if (i == f->wants_used)
        f->wants[f->wants_used++] = (want){.of = of};
    f->wants[i].asked++;
}

static void writable(tr_actor *self, flow *f, const tr_writable *notice)
{
    uint32_t i = 0;
    while (i < f->wants_used && !tr_addr_equal(f->wants[i].of, notice->actor))
        i++;
    if (i == f->wants_used || f->wants[i].told == f->wants[i].asked)
        core_wrong("being %u was told of places that it didn't ask for", f->being->number);
    else
        f->wants[i].told++;
    tr_sometimes(self, true, "who was refused is told of places");
}

static void note_to(tr_actor *self, flow *f, const core_being *to, size_t bytes)
{
    tr_err err = core_note_send(self, f->being, to, bytes);
    if ((err == TR_EFULL || err == TR_EAGAIN) && tr_random(self) % 2)
        ask_for_notice(self, f, to->address);
}

static size_t any_size(tr_actor *self)
{
    uint64_t kind = tr_random(self) % 2000;
    return kind == 0    ? tr_random(self) % (2u << 20)
           : kind < 30  ? tr_random(self) % 150000
           : kind < 400 ? tr_random(self) % 20000
                        : tr_random(self) % 100;
}

static void something(tr_actor *self, flow *f)
{
    uint64_t what = tr_random(self) % 100;
    const core_being *to = core_any(self, NULL, true);
    if (what < 10)
        set_alarm(self, f);
    if (what == 99 && tr_random(self) % 3 == 0)
        core_exit(self, f->being, tr_random(self) % 2 ? TR_OK : TR_EAPP);
    if (!to)
        return;
    uint64_t count = what < 3 ? 40 : 1 + tr_random(self) % 3;
    for (uint64_t i = 0; i < count; i++)
        note_to(self, f, to, what < 3 ? 10 : any_size(self));
}

/* To each of another slot than the small ones a note, and from one of them so much that credit has to be granted again. */
static void last_round(tr_actor *self, flow *f)
{
    core_being *me = f->being;
    uint32_t nodes = sim_now_running->node_count, others = core.kept - 1, all = nodes * others;
    bool bulk = me->slot == 1 && sim_now_running->opts.seed % 8 == 3;
    uint32_t count = all + (bulk ? 5 : 0);
    for (; core_all_there() && f->last_sent < count; f->last_sent++) {
        bool large = f->last_sent >= all;
        uint32_t node = large ? (me->node->index + 1) % nodes : f->last_sent / others;
        uint32_t slot = large ? 1 : 1 + f->last_sent % others;
        if (core_note_send(self, me, core.slots[node][slot], large ? 300000 : 20) != TR_OK)
            return; /* again with the next tick */
    }
    me->last_done = f->last_sent == count;
}

static void tick(tr_actor *self, flow *f, const flow_tick *t)
{
    if (t->serial != f->tick)
        core_wrong("tick %u of being %u came, not %u", t->serial, f->being->number, f->tick);
    if (tr_now(self) < f->tick_due)
        core_wrong("tick %u of being %u is early", t->serial, f->being->number);
    f->being->ticked = sim_now_running->now;
    if (core.phase == CORE_QUIET)
        return;
    if (core.phase == CORE_BUSY)
        something(self, f);
    else if (!f->being->last_done)
        last_round(self, f);
    tick_in(self, f, until_next_tick(self));
}

/* ---- a being ------------------------------------------------------------------------------------------- */

static tr_err init(tr_actor *self, void *state, const void *arg)
{
    flow *f = state;
    f->being = core_born(self, (uint32_t)(uintptr_t)arg);
    tick_in(self, f, tr_random(self) % TR_MILLIS(50));
    return TR_OK;
}

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    flow *f = state;
    const flow_tick *t;
    const flow_alarm *a;
    const tr_writable *w;
    if (core_note_take(f->being, self, msg))
        return;
    if ((t = tr_match(msg, flow_tick)))
        tick(self, f, t);
    else if ((a = tr_match(msg, flow_alarm)))
        rang(self, f, a);
    else if ((w = tr_match(msg, tr_writable)))
        writable(self, f, w);
    else
        core_wrong("being %u got a %s", f->being->number, tr_msg_type_name(msg));
}

static void stop(tr_actor *self, void *state)
{
    (void)self;
    core_ended(((flow *)state)->being);
}

#define FLOW(places)                                                                                \
    {                                                                                               \
        .name = "flow", .state_size = sizeof(flow), .init = init, .receive = receive, .stop = stop, \
        .mailbox_places = (places)                                                                  \
    }
static const tr_actor_def small_def = FLOW(16), large_def = FLOW(60000);

static tr_err start(tr_actor *self, uint32_t index)
{
    static const tr_actor_def *const defs[] = {&small_def, &large_def, &large_def, &large_def};
    return core_keep(self, index, defs, TR_COUNT(defs));
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* Ticks never stop: not of one that stood still, not after others were taken back. */
static const char *ticks_missing(void)
{
    for (uint32_t n = 0; n < sim_now_running->node_count; n++)
        for (uint32_t s = 0; s < core.kept; s++)
            if (core.slots[n][s]->ticked + TR_SECONDS(2) < sim_now_running->now)
                return "a being doesn't tick any more";
    return NULL;
}

static void at_rest(void)
{
    for (uint32_t i = 1; i < core.count; i++) {
        const core_being *being = core.beings[i];
        const flow *f = core_lives(being) ? being->state : NULL;
        for (uint32_t w = 0; f && w < f->wants_used; w++)
            if (f->wants[w].asked != f->wants[w].told)
                core_wrong("being %u asked for %u notices of places, and got %u", i, f->wants[w].asked,
                           f->wants[w].told);
        for (uint32_t a = 0; f && a < ALARMS; a++)
            if (f->alarms[a].set)
                core_wrong("alarm %u of being %u hasn't rung", a, i);
    }
}

static tr_err check(tr_actor *self)
{
    return core_check(self, ticks_missing, at_rest);
}

const tr_scenario sim_core_flow = {.size = sizeof(tr_scenario),
                                   .name = "core-flow",
                                   .nodes = 4,
                                   .run_ns = TR_SECONDS(8),
                                   .start = start,
                                   .check = check};
