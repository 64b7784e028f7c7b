/* Timers of one actor: set, cancelled, fired. */
#include <stdlib.h>

#include "cli/bench/bench.h"

TR_MESSAGE(bench_tick, (u64, number))
TR_MESSAGE(bench_timers_go, (bool, fire))

typedef struct timers_arg {
    tr_addr home;
    uint64_t count;
    tr_timer *timers;
    uint64_t set_ns, cancel_ns, due, fire_ns;
} timers_arg;

typedef struct timers_state {
    timers_arg *arg;
    uint64_t count, sum;
} timers_state;

static tr_err timers_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((timers_state *)state)->arg = (timers_arg *)arg;
    return TR_OK;
}

/* The n-th of a million: spread over a minute, in no order. */
static uint64_t some_delay(uint64_t n)
{
    return TR_SECONDS(1) + n * 0x9e3779b97f4a7c15u % TR_MINUTES(1);
}

static void set_and_cancel(tr_actor *self, timers_arg *arg)
{
    uint64_t began = bench_now();
    for (uint64_t i = 0; i < arg->count; i++) {
        arg->timers[i] = tr_after(self, some_delay(i), bench_tick, .number = i);
        if (!arg->timers[i].id)
            bench_give_up(self);
    }
    arg->set_ns = bench_now() - began;
    began = bench_now();
    uint64_t cancelled = 0;
    for (uint64_t i = 0; i < arg->count; i++)
        cancelled += tr_timer_cancel(self, arg->timers[i]);
    arg->cancel_ns = bench_now() - began;
    tr_send(self, arg->home, bench_done, .count = cancelled);
}

/* All due within one millisecond, which begins when all are set. */
static void set_to_fire(tr_actor *self, timers_arg *arg)
{
    arg->due = bench_now() + TR_MILLIS(20) + arg->count * 250;
    for (uint64_t i = 0; i < arg->count; i++) {
        uint64_t now = bench_now(), due = arg->due + i * 0x9e3779b97f4a7c15u % TR_MILLIS(1);
        if (!tr_after(self, due > now ? due - now : 0, bench_tick, .number = i).id)
            bench_give_up(self);
    }
}

static void timers_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    timers_state *timers = state;
    timers_arg *arg = timers->arg;
    const bench_tick *tick = tr_match(msg, bench_tick);
    const bench_timers_go *go = tick ? NULL : tr_match(msg, bench_timers_go);
    if (go && go->fire) {
        set_to_fire(self, arg);
    } else if (go) {
        set_and_cancel(self, arg);
    } else if (tick) {
        timers->sum += tick->number;
        if (++timers->count < arg->count)
            return;
        arg->fire_ns = bench_now() - arg->due;
        tr_send(self, arg->home, bench_done, .count = timers->count,
                .wrong = timers->sum != arg->count * (arg->count - 1) / 2);
    }
}
TR_ACTOR(timers_def, .init = timers_init, .receive = timers_receive, .state_size = sizeof(timers_state));

static tr_err timers_with(tr_actor *self, bench_run *run, timers_arg *arg)
{
    tr_addr to = tr_spawn(self, &timers_def, arg);
    for (int i = 0; i < 2; i++) { /* the second counts: a new node's memory is new, and so are its pages */
        TR_TRY(tr_send(self, to, bench_timers_go, .fire = false));
        TR_TRY(bench_wait(self, 1, arg->count));
    }
    TR_TRY(tr_send(self, to, bench_timers_go, .fire = true));
    TR_TRY(bench_wait(self, 1, arg->count));
    run->values[0] = (double)arg->set_ns / (double)arg->count;
    run->values[1] = (double)arg->cancel_ns / (double)arg->count;
    run->values[2] = (double)arg->fire_ns / (double)arg->count;
    return TR_OK;
}

static tr_err timers(tr_actor *self, void *run_)
{
    bench_run *run = run_;
    uint64_t count = run->given[BENCH_N];
    timers_arg arg = {.home = tr_self(self), .count = count, .timers = malloc(count * sizeof(tr_timer))};
    tr_err err = arg.timers
                     ? timers_with(self, run, &arg)
                     : tr_fail(self, TR_ENOMEM, "no memory for %llu timers", (unsigned long long)count);
    free(arg.timers);
    return err;
}

const bench bench_timers = {
    .name = "timers",
    .what = "one-shot timers: set, cancelled, and (others, all due in one millisecond) fired",
    .takes = {{BENCH_N, 1000000, 1, 20000000}},
    .metrics = {{"set", "ns"}, {"cancel", "ns"}, {"fire", "ns"}},
    .start = timers,
};
