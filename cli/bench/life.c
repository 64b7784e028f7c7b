/* Actors made, alive and gone: spawn, memory, fib. */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/bench/bench.h"

/* ---- spawn: each handles one message and ends ---------------------------------------------------------- */

TR_MESSAGE(bench_hello, (u64, number))
TR_MESSAGE(bench_more, (u64, left))

#define SPAWN_BATCH 64

/* A spawner a loop; its children live beside it, so they may count in its state. */
typedef struct spawner_state {
    tr_addr home;
    uint64_t total, made, handled, wrong;
} spawner_state;

typedef struct child_state {
    spawner_state *spawner;
} child_state;

static tr_err child_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((child_state *)state)->spawner = (spawner_state *)arg;
    return TR_OK;
}

static void child_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    spawner_state *spawner = ((child_state *)state)->spawner;
    const bench_hello *hello = tr_match(msg, bench_hello);
    spawner->wrong += !hello || hello->number >= spawner->made;
    if (++spawner->handled == spawner->total)
        tr_send(self, spawner->home, bench_done, .count = spawner->handled, .wrong = spawner->wrong);
    tr_exit(self, TR_OK, "done");
}
TR_ACTOR(child_def, .init = child_init, .receive = child_receive, .state_size = sizeof(child_state));

/* Its next batch is a message to itself, sent first: what is sent last runs first, so the children come
 * before it. */
static void spawner_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    spawner_state *spawner = state;
    const bench_more *more = tr_match(msg, bench_more);
    if (!more)
        return;
    if (!spawner->total) {
        spawner->home = tr_msg_sender(msg);
        spawner->total = more->left;
    }
    uint64_t batch = more->left < SPAWN_BATCH ? more->left : SPAWN_BATCH;
    if (more->left > batch && tr_send(self, tr_self(self), bench_more, .left = more->left - batch) != TR_OK)
        bench_give_up(self);
    for (uint64_t i = 0; i < batch; i++) {
        tr_addr child = tr_spawn(self, &child_def, spawner);
        if (tr_addr_is_none(child) || tr_send(self, child, bench_hello, .number = spawner->made++) != TR_OK)
            bench_give_up(self);
    }
}
TR_ACTOR(spawner_def, .receive = spawner_receive, .state_size = sizeof(spawner_state));

static uint64_t share(uint64_t total, uint32_t parts, uint32_t part)
{
    return total / parts + (part < total % parts);
}

static tr_err spawn(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t count = run->given[BENCH_ACTORS];
    uint64_t began = bench_now();
    for (uint32_t i = 0; i < run->loops; i++) {
        tr_addr spawner = tr_spawn_with(self, &spawner_def, NULL, &bench_spread);
        if (share(count, run->loops, i))
            TR_TRY(tr_send(self, spawner, bench_more, .left = share(count, run->loops, i)));
    }
    TR_TRY(bench_wait(self, count < run->loops ? (uint32_t)count : run->loops, count));
    run->values[0] = (double)(bench_now() - began) / (double)count;
    return TR_OK;
}

const bench bench_spawn = {
    .name = "spawn",
    .what = "actors made, each handles one message and ends",
    .takes = {{BENCH_ACTORS, 1000000, 1, 1000000000}},
    .metrics = {{"actor", "ns"}},
    .start = spawn,
};

/* ---- memory: many actors that wait --------------------------------------------------------------------- */

typedef struct idle_state {
    uint64_t handled;
} idle_state;

static tr_err idle_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    (void)state;
    atomic_fetch_add_explicit((_Atomic uint64_t *)arg, 1, memory_order_relaxed);
    return TR_OK;
}

static void idle_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)msg;
    ((idle_state *)state)->handled++;
}
TR_ACTOR(idle_def, .init = idle_init, .receive = idle_receive, .state_size = sizeof(idle_state));

static tr_err resident(tr_actor *self, uint64_t *bytes)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    int got = file ? fscanf(file, "%*s %llu", &pages) : 0;
    if (file)
        fclose(file);
    *bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return got == 1 ? TR_OK : tr_fail(self, TR_EIO, "can't read this process's size from /proc/self/statm");
}

static tr_err memory(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t count = run->given[BENCH_ACTORS], before, after;
    /* Not on this stack: an actor that starts after an error here counts as well. */
    static _Atomic uint64_t alive;
    atomic_store(&alive, 0);
    TR_TRY(resident(self, &before));
    for (uint64_t i = 0; i < count; i++)
        if (tr_addr_is_none(tr_spawn_with(self, &idle_def, &alive, &bench_spread)))
            return tr_last_error(self)->code;
    uint64_t until = bench_now() + TR_MINUTES(5);
    while (atomic_load(&alive) < count) {
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
        if (bench_now() > until)
            return tr_fail(self, TR_EDEADLINE, "only %llu of %llu actors have started",
                           (unsigned long long)alive, (unsigned long long)count);
    }
    TR_TRY(resident(self, &after));
    run->values[0] = after > before ? (double)(after - before) / (double)count : 0;
    return TR_OK;
}

const bench bench_memory = {
    .name = "memory",
    .what = "growth of the process by an idle actor with 8 bytes of state",
    .takes = {{BENCH_ACTORS, 1000000, 1, 50000000}},
    .metrics = {{"actor", "bytes"}},
    .start = memory,
};

/* ---- fib: a tree of actors, each spawns two ------------------------------------------------------------ */

TR_MESSAGE(bench_fib_arg, (u32, n), (u32, spread), (addr, parent))
TR_MESSAGE(bench_fib_sum, (u64, sum), (u64, actors))

typedef struct fib_state {
    tr_addr parent;
    uint64_t sum, actors;
    uint32_t waiting;
} fib_state;

/* So many levels from the top, the smaller half goes to the loops in turn; what is below stays there. Both halves in
 * turn would send all the larger ones to the same loop. */
#define FIB_SPREAD 8

static const tr_actor_def fib_def;

static void fib_answer(tr_actor *self, tr_addr parent, uint64_t sum, uint64_t actors)
{
    if (tr_send(self, parent, bench_fib_sum, .sum = sum, .actors = actors) != TR_OK)
        bench_give_up(self);
    tr_exit(self, TR_OK, "done");
}

static tr_err fib_init(tr_actor *self, void *state, const void *arg)
{
    fib_state *fib = state;
    const bench_fib_arg *start = arg;
    if (start->n < 2) {
        fib_answer(self, start->parent, start->n, 1);
        return TR_OK;
    }
    *fib = (fib_state){.parent = start->parent, .actors = 1, .waiting = 2};
    for (uint32_t i = 1; i <= 2; i++) {
        bench_fib_arg child = {start->n - i, start->spread ? start->spread - 1 : 0, tr_self(self)};
        const tr_spawn_opts *place = start->spread && i == 2 ? &bench_spread : NULL;
        if (tr_addr_is_none(tr_spawn_with(self, &fib_def, &child, place)))
            bench_give_up(self);
    }
    return TR_OK;
}

static void fib_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    fib_state *fib = state;
    const bench_fib_sum *part = tr_match(msg, bench_fib_sum);
    if (!part)
        return;
    fib->sum += part->sum;
    fib->actors += part->actors;
    if (--fib->waiting == 0)
        fib_answer(self, fib->parent, fib->sum, fib->actors);
}

static const tr_actor_def fib_def = {
    .name = "fib",
    .init = fib_init,
    .receive = fib_receive,
    .state_size = sizeof(fib_state),
    .arg_type = &bench_fib_arg_type,
};

static tr_err fib(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t n = run->given[BENCH_N], sum = 0, next = 1;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t after = sum + next;
        sum = next;
        next = after;
    }
    uint64_t began = bench_now();
    bench_fib_arg root = {(uint32_t)n, run->loops > 1 ? FIB_SPREAD : 0, tr_self(self)};
    if (tr_addr_is_none(tr_spawn(self, &fib_def, &root)))
        return tr_last_error(self)->code;
    const tr_msg *msg = tr_receive(self, TR_MINUTES(5));
    const bench_fib_sum *result = msg ? tr_match(msg, bench_fib_sum) : NULL;
    if (!result)
        return tr_fail(self, TR_EDEADLINE, "no sum within 5 minutes: choose a smaller --n");
    run->values[0] = (double)(bench_now() - began) / 1e6;
    if (result->sum != sum || result->actors != 2 * next - 1)
        return tr_fail(self, TR_EMISMATCH, "fib(%llu) is %llu by %llu actors, here it is %llu by %llu",
                       (unsigned long long)n, (unsigned long long)sum, (unsigned long long)(2 * next - 1),
                       (unsigned long long)result->sum, (unsigned long long)result->actors);
    return TR_OK;
}

const bench bench_fib = {
    .name = "fib",
    .what = "Fibonacci's number by actors, each spawning two",
    .takes = {{BENCH_N, 25, 1, 40}},
    .metrics = {{"time", "ms"}},
    .start = fib,
};
