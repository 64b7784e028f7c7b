/* Few messages in flight, each waiting for the one before: pingpong, ring, ask. Each actor on its own loop.
 */
#include "cli/bench/bench.h"

/* ---- pingpong: two actors, one ball -------------------------------------------------------------------- */

TR_MESSAGE(bench_ball, (u64, number))
TR_MESSAGE(bench_serve, (addr, to), (u64, rounds))

typedef struct ping_state {
    tr_addr to, home;
    uint64_t number, rounds, wrong;
} ping_state;

static void serve(tr_actor *self, ping_state *ping)
{
    if (tr_send(self, ping->to, bench_ball, .number = ping->number) != TR_OK)
        bench_give_up(self);
}

static void ping_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    ping_state *ping = state;
    const bench_ball *ball = tr_match(msg, bench_ball);
    const bench_serve *first = ball ? NULL : tr_match(msg, bench_serve);
    if (ball) {
        ping->wrong += ball->number != ping->number;
        if (++ping->number < ping->rounds)
            serve(self, ping);
        else
            tr_send(self, ping->home, bench_done, .count = ping->number, .wrong = ping->wrong);
    } else if (first) {
        *ping = (ping_state){.to = first->to, .home = tr_msg_sender(msg), .rounds = first->rounds};
        serve(self, ping);
    }
}
TR_ACTOR(ping_def, .receive = ping_receive, .state_size = sizeof(ping_state));

static void pong_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    const bench_ball *ball = tr_match(msg, bench_ball);
    if (ball && tr_send(self, tr_msg_sender(msg), bench_ball, .number = ball->number) != TR_OK)
        bench_give_up(self);
}
TR_ACTOR(pong_def, .receive = pong_receive);

static tr_err pingpong(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t rounds = run->given[BENCH_MESSAGES];
    tr_addr ping = tr_spawn_with(self, &ping_def, NULL, &bench_spread);
    tr_addr pong = tr_spawn_with(self, &pong_def, NULL, &bench_spread);
    uint64_t began = bench_now();
    TR_TRY(tr_send(self, ping, bench_serve, .to = pong, .rounds = rounds));
    TR_TRY(bench_wait(self, 1, rounds));
    run->values[0] = (double)(bench_now() - began) / (double)rounds;
    return TR_OK;
}

const bench bench_pingpong = {
    .name = "pingpong",
    .what = "two actors, one message to and fro",
    .takes = {{BENCH_MESSAGES, 1000000, 1, 1000000000}},
    .metrics = {{"round_trip", "ns"}},
    .start = pingpong,
};

/* ---- ring: one token ----------------------------------------------------------------------------------- */

TR_MESSAGE(bench_neighbour, (addr, next), (addr, home), (u64, hops))
TR_MESSAGE(bench_token, (u64, hop))

typedef struct ring_state {
    tr_addr next, home;
    uint64_t hops;
} ring_state;

static void ring_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    ring_state *ring = state;
    const bench_token *token = tr_match(msg, bench_token);
    const bench_neighbour *meet = token ? NULL : tr_match(msg, bench_neighbour);
    if (meet) {
        ring->next = meet->next;
        ring->home = meet->home;
        ring->hops = meet->hops;
    } else if (token && token->hop == ring->hops) {
        tr_send(self, ring->home, bench_done, .count = token->hop);
    } else if (token && tr_send(self, ring->next, bench_token, .hop = token->hop + 1) != TR_OK) {
        bench_give_up(self);
    }
}
TR_ACTOR(ring_def, .receive = ring_receive, .state_size = sizeof(ring_state));

/* Each gets its neighbour; the last one's is the first. */
static tr_err ring(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t hops = run->given[BENCH_MESSAGES];
    tr_addr first = tr_spawn_with(self, &ring_def, NULL, &bench_spread), next = first;
    for (uint64_t i = 1; i < run->given[BENCH_ACTORS]; i++) {
        tr_addr one = tr_spawn_with(self, &ring_def, NULL, &bench_spread);
        TR_TRY(tr_send(self, one, bench_neighbour, .next = next, .home = tr_self(self), .hops = hops));
        next = one;
    }
    TR_TRY(tr_send(self, first, bench_neighbour, .next = next, .home = tr_self(self), .hops = hops));
    TR_TRY(tr_sleep(self, TR_MILLIS(1))); /* let all have met */
    uint64_t began = bench_now();
    TR_TRY(tr_send(self, first, bench_token, .hop = 0));
    TR_TRY(bench_wait(self, 1, hops));
    run->values[0] = (double)(bench_now() - began) / (double)hops;
    return TR_OK;
}

const bench bench_ring = {
    .name = "ring",
    .what = "actors in a ring hand a token on",
    .takes = {{BENCH_ACTORS, 100, 1, 1000000}, {BENCH_MESSAGES, 1000000, 1, 1000000000}},
    .metrics = {{"hop", "ns"}},
    .start = ring,
};

/* ---- ask: question and answer, awaited ----------------------------------------------------------------- */

TR_MESSAGE(bench_question, (u64, number))
TR_MESSAGE(bench_answer, (u64, number))

static void answer_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    const bench_question *question = tr_match(msg, bench_question);
    if (question && tr_reply(self, msg, bench_answer, .number = question->number + 1) != TR_OK)
        bench_give_up(self);
}
TR_ACTOR(answer_def, .receive = answer_receive);

static tr_err ask(tr_actor *self, void *arg)
{
    bench_run *run = arg;
    uint64_t count = run->given[BENCH_MESSAGES];
    /* On another loop if there is one: this fiber is on the first. */
    tr_spawn_opts far = {.place = TR_PLACE_LOOP, .loop = run->loops - 1};
    tr_addr to = tr_spawn_with(self, &answer_def, NULL, &far);
    uint64_t began = bench_now();
    for (uint64_t i = 0; i < count; i++) {
        const bench_answer *answer;
        TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(10), bench_question, .number = i), bench_answer,
                        &answer));
        if (answer->number != i + 1)
            return tr_fail(self, TR_EMISMATCH, "the answer to question %llu is another's",
                           (unsigned long long)i);
    }
    run->values[0] = (double)(bench_now() - began) / (double)count;
    return TR_OK;
}

const bench bench_ask = {
    .name = "ask",
    .what = "asks with a deadline, one after the other, each awaited",
    .takes = {{BENCH_MESSAGES, 1000000, 1, 1000000000}},
    .metrics = {{"round_trip", "ns"}},
    .start = ask,
};
