/* How late timers fire while the loop is busy: each of some actors sets a timer, handles it, sets the next; the others on the
 * loop always have something to do, each handler for a while. */
#include "base/histogram.h"
#include "cli/bench/bench.h"

TR_MESSAGE(bench_late_tick, (u64, due))
TR_MESSAGE(bench_busy_turn, (u64, number))

#define TIMERS      16
#define DELAY_LEAST TR_MICROS(200)
#define DELAY_MOST  TR_MILLIS(3)

typedef struct lateness_arg {
    tr_addr home;
    uint64_t each, busy_ns;
    bool over;
    tr__histogram late;
} lateness_arg;

typedef struct timer_state {
    lateness_arg *arg;
    uint64_t fired, wrong;
} timer_state;

static tr_err timer_next(tr_actor *self)
{
    uint64_t delay = DELAY_LEAST + tr_random(self) % (DELAY_MOST - DELAY_LEAST);
    return tr_after(self, delay, bench_late_tick, .due = bench_now() + delay).id ? TR_OK : TR_ENOMEM;
}

static tr_err timer_init(tr_actor *self, void *state, const void *arg)
{
    ((timer_state *)state)->arg = (lateness_arg *)arg;
    return timer_next(self);
}

static void timer_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    timer_state *t = state;
    const bench_late_tick *tick = tr_match(msg, bench_late_tick);
    uint64_t now = bench_now();
    if (!tick)
        return;
    t->wrong += now < tick->due;
    tr__histogram_add(&t->arg->late, now > tick->due ? now - tick->due : 0);
    if (++t->fired == t->arg->each) {
        tr_send(self, t->arg->home, bench_done, .count = t->fired, .wrong = t->wrong);
        tr_exit(self, TR_OK, "done");
    } else if (timer_next(self) != TR_OK) {
        bench_give_up(self);
    }
}
TR_ACTOR(late_timer_def, .init = timer_init, .receive = timer_receive, .state_size = sizeof(timer_state));

static tr_err busy_init(tr_actor *self, void *state, const void *arg)
{
    *(lateness_arg **)state = (lateness_arg *)arg;
    return tr_send(self, tr_self(self), bench_busy_turn, .number = 0);
}

static void busy_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    lateness_arg *arg = *(lateness_arg **)state;
    const bench_busy_turn *turn = tr_match(msg, bench_busy_turn);
    uint64_t until = bench_now() + arg->busy_ns;
    while (bench_now() < until)
        ;
    if (arg->over || tr_send(self, tr_self(self), bench_busy_turn, .number = turn->number + 1) != TR_OK)
        tr_exit(self, TR_OK, "done");
}
TR_ACTOR(busy_def, .init = busy_init, .receive = busy_receive, .state_size = sizeof(lateness_arg *));

static tr_err lateness(tr_actor *self, void *run_)
{
    static const tr_spawn_opts here = {.place = TR_PLACE_HERE};
    bench_run *run = run_;
    static lateness_arg arg; /* a histogram is large for a fiber's stack; one run at a time */
    arg = (lateness_arg){
        .home = tr_self(self), .each = run->given[BENCH_N] / TIMERS, .busy_ns = run->given[BENCH_WORK]};
    tr__histogram_reset(&arg.late);
    for (uint64_t i = 0; i < run->given[BENCH_ACTORS]; i++)
        if (tr_addr_is_none(tr_spawn_with(self, &busy_def, &arg, &here)))
            return tr_last_error(self)->code;
    for (int i = 0; i < TIMERS; i++)
        if (tr_addr_is_none(tr_spawn_with(self, &late_timer_def, &arg, &here)))
            return tr_last_error(self)->code;
    tr_err err = bench_wait(self, TIMERS, arg.each * TIMERS);
    arg.over = true;
    run->values[0] = (double)tr__histogram_at(&arg.late, 500000) / 1000;
    run->values[1] = (double)tr__histogram_at(&arg.late, 990000) / 1000;
    run->values[2] = (double)tr__histogram_at(&arg.late, 999000) / 1000;
    return err;
}

const bench bench_lateness = {
    .name = "timer-lateness",
    .what =
        "how late timers fire on a loop whose other actors never rest; --work: ns of each of their handlers",
    .takes = {{BENCH_N, 16000, 16, 1000000}, {BENCH_ACTORS, 20, 0, 10000}, {BENCH_WORK, 20000, 0, 1000000}},
    .metrics = {{"p50", "us"}, {"p99", "us"}, {"p99.9", "us"}},
    .start = lateness,
};
