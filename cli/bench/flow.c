/* Many messages at once: fan-in, counting, fork-join. Who is refused waits for the notice, within the time
 * taken. */
#include <stdlib.h>

#include "cli/bench/bench.h"

/* ---- fan-in: many senders, one receiver ---------------------------------------------------------------- */

TR_MESSAGE(bench_item, (u32, from), (u64, number))
TR_MESSAGE(bench_go, (u32, number), (addr, to), (u64, count), (u64, work))

typedef struct sender_state {
    tr_addr to;
    uint64_t next, count, work;
    uint32_t number;
} sender_state;

/* About a nanosecond a step: a chain of multiplications that nobody can shorten. */
static void work(uint64_t steps)
{
    for (uint64_t i = 0, x = steps; i < steps; i++) {
        x = x * 6364136223846793005u + 1;
        __asm__ volatile("" : "+r"(x));
    }
}

static void send_on(tr_actor *self, sender_state *sender)
{
    while (sender->next < sender->count) {
        if (sender->work)
            work(sender->work);
        tr_err err = tr_send(self, sender->to, bench_item, .from = sender->number, .number = sender->next);
        if (err != TR_OK) {
            bench_refused(self, sender->to, err);
            return;
        }
        sender->next++;
    }
}

static void sender_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    sender_state *sender = state;
    const bench_go *go = tr_match(msg, bench_go);
    if (go)
        *sender = (sender_state){.to = go->to, .count = go->count, .work = go->work, .number = go->number};
    if (go || tr_match(msg, tr_writable))
        send_on(self, sender);
}
TR_ACTOR(sender_def, .receive = sender_receive, .state_size = sizeof(sender_state));

/* What the receiver is to get; belongs to `start`, which waits until it is done with it. */
typedef struct gather_arg {
    tr_addr home;
    uint64_t *next; /* number due, by sender */
    uint64_t senders, total;
} gather_arg;

typedef struct gather_state {
    const gather_arg *arg;
    uint64_t count, wrong;
} gather_state;

static tr_err gather_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((gather_state *)state)->arg = arg;
    return TR_OK;
}

static void gather_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    gather_state *gather = state;
    const bench_item *item = tr_match(msg, bench_item);
    if (!item)
        return;
    gather->wrong += item->from >= gather->arg->senders || gather->arg->next[item->from]++ != item->number;
    if (++gather->count == gather->arg->total)
        tr_send(self, gather->arg->home, bench_done, .count = gather->count, .wrong = gather->wrong);
}
TR_ACTOR(gather_def, .init = gather_init, .receive = gather_receive, .state_size = sizeof(gather_state));

static tr_err fan_in_with(tr_actor *self, bench_run *run, gather_arg *arg, tr_addr *senders)
{
    uint64_t each = run->given[BENCH_MESSAGES];
    tr_addr to = tr_spawn(self, &gather_def, arg);
    for (uint64_t i = 0; i < arg->senders; i++)
        if (tr_addr_is_none(senders[i] = tr_spawn_with(self, &sender_def, NULL, &bench_spread)))
            return tr_last_error(self)->code;
    uint64_t began = bench_now();
    for (uint64_t i = 0; i < arg->senders; i++)
        TR_TRY(tr_send(self, senders[i], bench_go, .number = (uint32_t)i, .to = to, .count = each,
                       .work = run->given[BENCH_WORK]));
    TR_TRY(bench_wait(self, 1, arg->total));
    run->values[0] = (double)arg->total * 1e3 / (double)(bench_now() - began);
    return TR_OK;
}

static tr_err fan_in(tr_actor *self, void *run_)
{
    bench_run *run = run_;
    uint64_t count = run->given[BENCH_SENDERS];
    gather_arg arg = {tr_self(self), calloc(count, sizeof(uint64_t)), count,
                      count * run->given[BENCH_MESSAGES]};
    tr_addr *senders = malloc(count * sizeof(*senders));
    tr_err err = arg.next && senders
                     ? fan_in_with(self, run, &arg, senders)
                     : tr_fail(self, TR_ENOMEM, "no memory for %llu senders", (unsigned long long)count);
    free(senders);
    free(arg.next);
    return err;
}

const bench bench_fan_in = {
    .name = "fan-in",
    .what = "many senders to one receiver; --work: steps of about 1 ns before each message",
    .takes = {{BENCH_SENDERS, 20, 1, 100000},
              {BENCH_MESSAGES, 200000, 1, 100000000},
              {BENCH_WORK, 0, 0, 1000000}},
    .metrics = {{"rate", "M/s"}},
    .start = fan_in,
};

/* ---- counting: one producer, one counter, one question at the end -------------------------------------- */

TR_MESSAGE(bench_increment, (u64, by))
TR_MESSAGE(bench_sum, (u64, sum))
TR_MESSAGE(bench_produce, (addr, to), (u64, count))

static void counter_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    uint64_t *sum = state;
    const bench_increment *increment = tr_match(msg, bench_increment);
    if (increment)
        *sum += increment->by;
    else if (tr_match(msg, bench_sum) && tr_reply(self, msg, bench_sum, .sum = *sum) != TR_OK)
        bench_give_up(self);
}
TR_ACTOR(counter_def, .receive = counter_receive, .state_size = sizeof(uint64_t));

typedef struct producer_state {
    tr_addr to, home;
    uint64_t left;
} producer_state;

static void on_sum(tr_actor *self, void *state, const tr_result *result, void *context)
{
    (void)context;
    producer_state *producer = state;
    const bench_sum *sum = result->msg ? tr_match(result->msg, bench_sum) : NULL;
    if (!sum) {
        tr_fail(self, result->err, "%s",
                result->error ? result->error->text : "the sum's answer is of another type");
        bench_give_up(self);
    }
    tr_send(self, producer->home, bench_done, .count = sum->sum);
}

static void produce(tr_actor *self, producer_state *producer)
{
    while (producer->left) {
        tr_err err = tr_send(self, producer->to, bench_increment, .by = 1);
        if (err != TR_OK) {
            bench_refused(self, producer->to, err);
            return;
        }
        producer->left--;
    }
    tr_future sum = tr_ask(self, producer->to, TR_MINUTES(5), bench_sum, .sum = 0);
    if (!sum.id)
        bench_refused(self, producer->to, tr_last_error(self)->code);
    else if (tr_then(self, sum, on_sum, NULL) != TR_OK)
        bench_give_up(self);
}

static void producer_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    producer_state *producer = state;
    const bench_produce *go = tr_match(msg, bench_produce);
    if (go)
        *producer = (producer_state){.to = go->to, .home = tr_msg_sender(msg), .left = go->count};
    if (go || tr_match(msg, tr_writable))
        produce(self, producer);
}
TR_ACTOR(producer_def, .receive = producer_receive, .state_size = sizeof(producer_state));

static tr_err counting(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t count = run->given[BENCH_MESSAGES];
    tr_addr producer = tr_spawn_with(self, &producer_def, NULL, &bench_spread);
    tr_addr counter = tr_spawn_with(self, &counter_def, NULL, &bench_spread);
    uint64_t began = bench_now();
    TR_TRY(tr_send(self, producer, bench_produce, .to = counter, .count = count));
    TR_TRY(bench_wait(self, 1, count));
    run->values[0] = (double)count * 1e3 / (double)(bench_now() - began);
    return TR_OK;
}

const bench bench_counting = {
    .name = "counting",
    .what = "one producer, one counter, asked for the sum at the end",
    .takes = {{BENCH_MESSAGES, 5000000, 1, 1000000000}},
    .metrics = {{"rate", "M/s"}},
    .start = counting,
};

/* ---- fork-join: one source, many receivers ------------------------------------------------------------- */

TR_MESSAGE(bench_task, (u64, number))
TR_MESSAGE(bench_fork)

typedef struct join_arg {
    tr_addr home;
    uint64_t each;
} join_arg;

typedef struct join_state {
    tr_addr home;
    uint64_t each, count, wrong;
} join_state;

static tr_err join_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    const join_arg *join = arg;
    *(join_state *)state = (join_state){.home = join->home, .each = join->each};
    return TR_OK;
}

static void join_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    join_state *join = state;
    const bench_task *task = tr_match(msg, bench_task);
    if (task) {
        join->wrong += task->number != join->count;
        if (++join->count < join->each)
            return;
    } else if (!tr_match(msg, tr_writable)) {
        return;
    }
    tr_err err = tr_send(self, join->home, bench_done, .count = join->count, .wrong = join->wrong);
    if (err != TR_OK) /* so many are done at once that `start` is flooded */
        bench_refused(self, join->home, err);
}
TR_ACTOR(join_def, .init = join_init, .receive = join_receive, .state_size = sizeof(join_state));

typedef struct target {
    tr_addr to;
    uint64_t sent;
} target;

typedef struct source_arg {
    target *targets;
    uint64_t count, each;
} source_arg;

typedef struct source_state {
    source_arg *arg;
    uint64_t at; /* where the last notice's target was: they come nearly in order */
} source_state;

static tr_err source_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((source_state *)state)->arg = (source_arg *)arg;
    return TR_OK;
}

static void feed(tr_actor *self, target *to, uint64_t each)
{
    while (to->sent < each) {
        tr_err err = tr_send(self, to->to, bench_task, .number = to->sent);
        if (err != TR_OK) {
            bench_refused(self, to->to, err);
            return;
        }
        to->sent++;
    }
}

static void source_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    source_state *source = state;
    source_arg *arg = source->arg;
    const tr_writable *writable = tr_match(msg, tr_writable);
    if (writable) {
        for (uint64_t tried = 0; tried < arg->count; tried++) {
            source->at = (source->at + 1) % arg->count;
            if (tr_addr_equal(arg->targets[source->at].to, writable->actor)) {
                feed(self, &arg->targets[source->at], arg->each);
                return;
            }
        }
    } else if (tr_match(msg, bench_fork)) {
        for (uint64_t i = 0; i < arg->count; i++)
            feed(self, &arg->targets[i], arg->each);
    }
}
TR_ACTOR(source_def, .init = source_init, .receive = source_receive, .state_size = sizeof(source_state));

static tr_err fork_join_with(tr_actor *self, bench_run *run, source_arg *arg)
{
    join_arg join = {tr_self(self), arg->each};
    tr_addr source = tr_spawn(self, &source_def, arg);
    for (uint64_t i = 0; i < arg->count; i++) {
        arg->targets[i].to = tr_spawn_with(self, &join_def, &join, &bench_spread);
        if (tr_addr_is_none(arg->targets[i].to))
            return tr_last_error(self)->code;
    }
    uint64_t began = bench_now();
    TR_TRY(tr_send(self, source, bench_fork));
    TR_TRY(bench_wait(self, arg->count, arg->count * arg->each));
    run->values[0] = (double)(arg->count * arg->each) * 1e3 / (double)(bench_now() - began);
    return TR_OK;
}

static tr_err fork_join(tr_actor *self, void *run_)
{
    bench_run *run = run_;
    uint64_t count = run->given[BENCH_ACTORS];
    source_arg arg = {calloc(count, sizeof(target)), count, run->given[BENCH_MESSAGES]};
    tr_err err = arg.targets
                     ? fork_join_with(self, run, &arg)
                     : tr_fail(self, TR_ENOMEM, "no memory for %llu actors", (unsigned long long)count);
    free(arg.targets);
    return err;
}

const bench bench_fork_join = {
    .name = "fork-join",
    .what = "one source to many actors",
    .takes = {{BENCH_ACTORS, 60, 1, 10000}, {BENCH_MESSAGES, 100000, 1, 100000000}},
    .metrics = {{"rate", "M/s"}},
    .start = fork_join,
};
