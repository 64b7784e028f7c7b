/* Overload: senders offer an actor ten times what it can handle, for a minute. What must hold meanwhile: memory is flat,
 * what was accepted is handled or counted as dropped and the rest was refused to the sender's face, other actors answer in
 * time, and the supervisor can stop and restart the flooded one.
 *
 *     bench-overload [--seconds N] [--loops N] [--json]
 *
 * Prints a verdict a line, or with --json one object. The exit status tells of the counts only: times are a matter of the
 * machine, and whoever runs this judges them. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/loop.h" /* how long a turn is at most */

#define SENDERS     4
#define WORK_NS     10000u /* what the flooded one does for a message: 100,000 a second at the very most */
#define TIMES       10     /* so much more is offered */
#define TICK        TR_MILLIS(1)
#define STOPS       5
#define OTHERS_MAX  32 /* messages that the others may have had when the node ended */
#define SAMPLES_MAX 4096
#define ASKS_MAX    1000000u

TR_MESSAGE(flood_item, (u64, number))
TR_MESSAGE(flood_tick)
TR_MESSAGE(flood_end)
TR_MESSAGE(flood_question, (u64, number))
TR_MESSAGE(flood_answer, (u64, number))

typedef struct sample {
    double at_s, mb;
} sample;

/* All of it; actors of several loops count in it. */
static struct {
    uint64_t seconds;
    uint32_t loops;
    bool json;
    _Atomic uint64_t accepted, refused, handled;
    _Atomic uint64_t began,
        restarted; /* inits of the flooded one, and when the last one's first message came */
    _Atomic bool over;
    _Atomic uint32_t left; /* senders, and who asks */
    uint64_t *asks;        /* ns each, the probe's only */
    uint64_t ask_count, ask_failed;
    double stop_ms[STOPS];
    uint32_t stops;
    sample samples[SAMPLES_MAX];
    uint32_t sample_count;
} all = {.seconds = 60, .loops = 1};

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* ---- the flooded one ------------------------------------------------------------------------------------- */

static tr_err flooded_init(tr_actor *self, void *state, const void *arg)
{
    (void)self, (void)state, (void)arg;
    atomic_fetch_add(&all.began, 1);
    return TR_OK;
}

static void flooded_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    bool *has_begun = state;
    (void)self;
    if (!tr_match(msg, flood_item))
        return;
    if (!*has_begun) {
        *has_begun = true;
        atomic_store(&all.restarted, now());
    }
    for (uint64_t until = now() + WORK_NS; now() < until;)
        ;
    atomic_fetch_add_explicit(&all.handled, 1, memory_order_relaxed);
}
TR_ACTOR(flooded_def, .init = flooded_init, .receive = flooded_receive, .state_size = sizeof(bool));

/* ---- the senders ------------------------------------------------------------------------------------------ */

/* What is due by now, in time slices: a sender that comes late makes up for it. */
static void flood(tr_actor *self, uint64_t *sent, uint64_t due)
{
    uint64_t accepted = 0, refused = 0;
    tr_addr to = tr_whereis(self, "flooded"); /* another one after a restart */
    for (; *sent < due; ++*sent) {
        tr_err err = tr_addr_is_none(to) ? TR_ENOACTOR : tr_send(self, to, flood_item, .number = *sent);
        accepted += err == TR_OK;
        refused += err != TR_OK;
    }
    atomic_fetch_add_explicit(&all.accepted, accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&all.refused, refused, memory_order_relaxed);
}

static tr_err sender(tr_actor *self, void *arg)
{
    uint64_t began = now(), sent = 0, rate = 1000000000u / WORK_NS * TIMES / SENDERS;
    (void)arg;
    while (!atomic_load(&all.over)) {
        flood(self, &sent, (now() - began) / 1000 * rate / 1000000);
        TR_TRY(tr_sleep(self, TICK));
    }
    atomic_fetch_sub(&all.left, 1);
    return TR_OK;
}
TR_ACTOR(sender_def, .run = sender);

/* ---- the others -------------------------------------------------------------------------------------------- */

static void echo_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    const flood_question *question = tr_match(msg, flood_question);
    (void)state;
    if (question)
        tr_reply(self, msg, flood_answer, .number = question->number);
}
TR_ACTOR(echo_def, .receive = echo_receive);

/* Asks an actor beside it every millisecond, while the flooded one lives on the same loop. What counts is the time from
 * when the ask was due to its answer, for each millisecond, also for those that passed while it was waiting. */
static tr_err probe(tr_actor *self, void *arg)
{
    tr_addr echo = tr_spawn(self, &echo_def, NULL);
    uint64_t due = now() + TICK, at;
    (void)arg;
    while (!atomic_load(&all.over)) {
        const flood_answer *answer;
        if ((at = now()) < due)
            TR_TRY(tr_sleep(self, due - at));
        tr_err err = tr_await(self, tr_ask(self, echo, TR_SECONDS(10), flood_question, .number = due),
                              flood_answer, &answer);
        all.ask_failed += err != TR_OK || answer->number != due;
        for (at = now(); due <= at && all.ask_count < ASKS_MAX; due += TICK)
            all.asks[all.ask_count++] = at - due;
    }
    atomic_fetch_sub(&all.left, 1);
    return TR_OK;
}
TR_ACTOR(probe_def, .run = probe);

/* ---- the run ------------------------------------------------------------------------------------------------ */

static void take_sample(double at_s)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%*s %lu", &pages) == 1 && all.sample_count < SAMPLES_MAX)
        all.samples[all.sample_count++] = (sample){at_s, (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6};
    if (file)
        fclose(file);
}

/* Until the next one has handled a message: the time that counts for who sends to it. */
static tr_err stop_and_restart(tr_actor *self)
{
    uint64_t asked = now(), had = atomic_load(&all.began);
    TR_TRY(tr_stop(self, tr_whereis(self, "flooded"), TR_EXIT_SHUTDOWN));
    while (atomic_load(&all.began) == had || atomic_load(&all.restarted) < asked) {
        if (now() - asked > TR_SECONDS(20))
            return tr_fail(self, TR_EDEADLINE, "the flooded actor wasn't restarted within 20 s");
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    }
    all.stop_ms[all.stops++] = (double)(atomic_load(&all.restarted) - asked) / 1e6;
    return TR_OK;
}

static tr_err start(tr_actor *self, void *arg)
{
    static const tr_child_spec child = {
        .id = "flooded", .def = &flooded_def, .restart = TR_PERMANENT, .named = true};
    static const tr_supervisor_spec spec = {&child, 1, .max_restarts = STOPS * 2};
    uint64_t whole = all.seconds * 1000000000u, began;
    (void)arg;
    if (tr_addr_is_none(tr_supervise(self, &spec)))
        return tr_last_error(self)->code;
    while (tr_addr_is_none(tr_whereis(self, "flooded")))
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    atomic_store(&all.left, SENDERS + 1);
    for (int i = 0; i < SENDERS; i++)
        tr_spawn_with(self, &sender_def, NULL, &(tr_spawn_opts){.place = TR_PLACE_SPREAD});
    tr_spawn(self, &probe_def, NULL);
    began = now();
    for (uint64_t at = 0; (at = now() - began) < whole;) {
        take_sample((double)at / 1e9);
        if (all.stops < STOPS && at > whole * (all.stops + 1) / (STOPS + 1))
            TR_TRY(stop_and_restart(self));
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    }
    atomic_store(&all.over, true);
    while (atomic_load(&all.left))
        TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    return TR_OK;
}

/* ---- what came of it ------------------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Most of the last three quarters over the most of the first quarter, in which all that is needed was made. */
static double growth_mb(void)
{
    double first = 0, rest = 0;
    for (uint32_t i = 0; i < all.sample_count; i++) {
        double *most = i < all.sample_count / 4 ? &first : &rest;
        if (all.samples[i].mb > *most)
            *most = all.samples[i].mb;
    }
    return rest > first ? rest - first : 0;
}

typedef struct outcome {
    uint64_t offered, accepted, refused, handled;
    uint64_t dropped; /* what was accepted and not handled: with the actor when it was stopped, or after it */
    double p50_ms, p99_ms, stop_ms, growth_mb;
    bool sums_hold;
} outcome;

/* What was accepted and isn't handled the node has counted as dropped, and no more than that. */
static outcome judge(const tr_sums *sums)
{
    outcome o = {
        .accepted = all.accepted, .refused = all.refused, .handled = all.handled, .growth_mb = growth_mb()};
    uint64_t dropped = 0;
    for (int i = 0; i < TR_DROP_COUNT; i++)
        dropped += sums->dropped[i];
    o.offered = o.accepted + o.refused;
    o.dropped = o.accepted - o.handled;
    o.sums_hold = sums->accepted + sums->arrived + sums->received ==
                      sums->handled + dropped + sums->queued + sums->passed + sums->sent &&
                  o.handled <= o.accepted && dropped >= o.dropped && dropped <= o.dropped + OTHERS_MAX &&
                  all.ask_failed == 0;
    qsort(all.asks, all.ask_count, sizeof(all.asks[0]), by_size);
    if (all.ask_count) {
        o.p50_ms = (double)all.asks[all.ask_count / 2] / 1e6;
        o.p99_ms = (double)all.asks[all.ask_count * 99 / 100] / 1e6;
    }
    for (uint32_t i = 0; i < all.stops; i++)
        if (all.stop_ms[i] > o.stop_ms)
            o.stop_ms = all.stop_ms[i];
    return o;
}

static void print_json(const outcome *o)
{
    printf("{\"offered\":%" PRIu64 ",\"accepted\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"handled\":%" PRIu64
           ",\"dropped\":%" PRIu64 ",\"sums_hold\":%s,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"stop_ms\":%.3f,"
           "\"stops\":%u,\"growth_mb\":%.3f,\"budget_ms\":%.3f,\"seconds\":%" PRIu64
           ",\"loops\":%u,\"samples\":[",
           o->offered, o->accepted, o->refused, o->handled, o->dropped, o->sums_hold ? "true" : "false",
           o->p50_ms, o->p99_ms, o->stop_ms, all.stops, o->growth_mb, (double)TR__TURN_NS / 1e6, all.seconds,
           all.loops);
    for (uint32_t i = 0; i < all.sample_count; i++)
        printf("%s[%.2f,%.3f]", i ? "," : "", all.samples[i].at_s, all.samples[i].mb);
    printf("]}\n");
}

static void print_lines(const outcome *o)
{
    printf("offered      %" PRIu64 ", %.1f times what was handled\n", o->offered,
           o->handled ? (double)o->offered / (double)o->handled : 0.0);
    printf("accepted     %" PRIu64 ": %" PRIu64 " handled, %" PRIu64 " dropped when the actor was stopped\n",
           o->accepted, o->handled, o->dropped);
    printf("refused      %" PRIu64 ", each told to its sender\n", o->refused);
    printf("sums         %s\n", o->sums_hold ? "add up" : "DON'T ADD UP");
    printf("memory       %.1f MB at the end, grown by %.1f MB since the first quarter\n",
           all.sample_count ? all.samples[all.sample_count - 1].mb : 0.0, o->growth_mb);
    printf("other actors an ask was answered %.3f ms after it was due (p50), %.3f ms (p99)\n", o->p50_ms,
           o->p99_ms);
    printf("restart      stopped and restarted %u times, in %.1f ms at most\n", all.stops, o->stop_ms);
}

static bool number_of(const char *text, uint64_t most, uint64_t *out)
{
    char *end = NULL;
    *out = text ? strtoull(text, &end, 10) : 0;
    return end && !*end && *out >= 1 && *out <= most;
}

static bool options(char **argv)
{
    uint64_t loops = 1;
    for (argv++; *argv; argv++) {
        if (strcmp(*argv, "--json") == 0)
            all.json = true;
        else if (strcmp(*argv, "--seconds") == 0 && number_of(argv[1], 400, &all.seconds))
            argv++;
        else if (strcmp(*argv, "--loops") == 0 && number_of(argv[1], 64, &loops))
            argv++;
        else
            return false;
    }
    all.loops = (uint32_t)loops;
    return true;
}

int main(int argc, char **argv)
{
    (void)argc;
    if (!options(argv)) {
        fprintf(stderr, "usage: bench-overload [--seconds 1-400] [--loops 1-64] [--json]\n");
        return 2;
    }
    tr_error error = {0};
    tr_sums sums = {0};
    tr_node_opts opts = {.name = "overload", .loops = all.loops, .log_level = TR_LOG_ERROR, .start = start};
    all.asks = malloc(ASKS_MAX * sizeof(all.asks[0]));
    if (!all.asks)
        return 1;
    memset(all.asks, 1, ASKS_MAX * sizeof(all.asks[0])); /* resident from the start: it is no growth */
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    if (node)
        tr_node_sums(node, &sums);
    tr_node_destroy(node);
    if (err != TR_OK) {
        fprintf(stderr, "bench-overload: %s: %s\n", tr_err_word(err), error.text);
        return 1;
    }
    outcome o = judge(&sums);
    (all.json ? print_json : print_lines)(&o);
    free(all.asks);
    return o.sums_hold ? 0 : 1;
}
