/* Between two processes on loopback: the bench's own node, and a peer that run_once starts (`troupe
 * bench-peer`, this same program). The peer's actor counts and checks what it gets.
 *
 * A full mailbox on another node is a dead letter there, so whoever sends one way keeps within a window that
 * the receiver grants, renewed by halves: `outstanding` messages, or fewer if those would take more than its mailbox's
 * places (a message of 1 MiB takes 1,025). */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/node.h>

#include "base/histogram.h"
#include "cli/bench/bench.h"
#include "cli/bench/tx.h"
#include "cli/cli.h"

TR_MESSAGE(bench_parcel, (u64, number), (bytes, data))
TR_MESSAGE(bench_window, (u64, messages), (u64, total))
TR_MESSAGE(bench_grant, (u64, messages))

#define FIND_WITHIN TR_SECONDS(10)
#define SMALL_ASK   64 /* bytes of the asks beside large payloads */

/* ---- the peer ------------------------------------------------------------------------------------------ */

typedef struct sink_state {
    tr_addr from;
    uint64_t window, total, count, wrong, ungranted;
} sink_state;

static void take_item(tr_actor *self, sink_state *sink, const bench_parcel *item)
{
    sink->wrong += item->number != sink->count;
    sink->count++;
    if (++sink->ungranted >= (sink->window + 1) / 2) {
        if (tr_send(self, sink->from, bench_grant, .messages = sink->ungranted) != TR_OK)
            bench_give_up(self);
        sink->ungranted = 0;
    }
    if (sink->count == sink->total &&
        tr_send(self, sink->from, bench_done, .count = sink->count, .wrong = sink->wrong) != TR_OK)
        bench_give_up(self);
}

static void sink_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    sink_state *sink = state;
    const bench_parcel *item = tr_match(msg, bench_parcel);
    const bench_window *window = item ? NULL : tr_match(msg, bench_window);
    if (window)
        *sink = (sink_state){.from = tr_msg_sender(msg), .window = window->messages, .total = window->total};
    else if (item && tr_msg_ask_number(msg))
        tr_reply(self, msg, bench_parcel, .number = item->number, .data = item->data);
    else if (item)
        take_item(self, sink, item);
}
#define SINK_PLACES 32768 /* twice what may be outstanding: loops reserve some ahead */
TR_ACTOR(sink_def, .receive = sink_receive, .state_size = sizeof(sink_state), .mailbox_places = SINK_PLACES);

/* With more than one loop the actors live on the last one: loop 0 has the connections. */
static tr_spawn_opts on_last(uint32_t loops, const char *name)
{
    return (tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = loops - 1, .name = name};
}

typedef struct peer_arg {
    uint32_t loops;
    bool accounts; /* it keeps a log, so it has those of the transactions */
} peer_arg;

static tr_err peer_start(tr_actor *self, void *arg)
{
    const peer_arg *peer = arg;
    tr_spawn_opts sink = on_last(peer->loops, "sink"), echo = on_last(peer->loops, "echo");
    if (peer->accounts)
        TR_TRY(bench_tx_open_accounts(self));
    if (tr_addr_is_none(tr_spawn_with(self, &sink_def, NULL, &sink)) ||
        tr_addr_is_none(tr_spawn_with(self, &sink_def, NULL, &echo)))
        return tr_last_error(self)->code;
    printf("%s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER))
        ;
    return TR_OK;
}

/* LOOPS KEY DATA; "": without that. */
int cli_bench_peer(int argc, char **argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_raise_files();
    tr_error error = {0};
    const char *key = argc > 2 ? argv[2] : "", *data = argc > 3 ? argv[3] : "";
    peer_arg arg = {argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1, data[0] != '\0'};
    tr_node_opts opts = {.name = "peer",
                         .loops = arg.loops,
                         .listen = "127.0.0.1:0",
                         .key = key[0] ? key : NULL,
                         .data = data[0] ? data : NULL,
                         .log_level = TR_LOG_ERROR,
                         .start = peer_start,
                         .arg = &arg};
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "troupe bench-peer: %s\n", error.text);
    return err == TR_OK ? 0 : 1;
}

tr_err bench_peer_open(bench_peer *peer, const bench_run *run, tr_error *error)
{
    int out[2];
    char loops[16];
    snprintf(loops, sizeof(loops), "%u", run->loops);
    *error = (tr_error){TR_EIO, "the other process of this benchmark can't be started"};
    peer->process = -1;
    if (pipe(out) != 0)
        return TR_EIO;
    peer->process = fork();
    if (peer->process == 0) {
        dup2(out[1], STDOUT_FILENO);
        close(out[0]);
        close(out[1]);
        execl("/proc/self/exe", "troupe", "bench-peer", loops, run->key ? run->key : "",
              run->folder ? run->folder : "", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    bool told = lines && fgets(peer->address, sizeof(peer->address), lines) != NULL;
    if (lines)
        fclose(lines);
    peer->address[strcspn(peer->address, "\n")] = 0;
    return told ? TR_OK : TR_EIO;
}

void bench_peer_close(bench_peer *peer)
{
    if (peer->process <= 0)
        return;
    kill(peer->process, SIGKILL);
    waitpid(peer->process, NULL, 0);
}

/* ---- this side ----------------------------------------------------------------------------------------- */

/* The work of a benchmark, as a fiber on the last loop. */
typedef struct errand {
    tr_err (*work)(tr_actor *self, bench_run *run);
    bench_run *run;
} errand;

static tr_err run_errand(tr_actor *self, void *arg)
{
    const errand *e = arg;
    return e->work(self, e->run);
}
TR_ACTOR(errand_def, .run = run_errand);

static tr_err start(tr_actor *self, void *arg, tr_err (*work)(tr_actor *self, bench_run *run))
{
    bench_run *run = arg;
    errand e = {work, run};
    if (run->loops == 1)
        return work(self, run);
    uint64_t monitor;
    tr_spawn_opts opts = on_last(run->loops, NULL);
    opts.monitor = &monitor;
    if (tr_addr_is_none(tr_spawn_with(self, &errand_def, &e, &opts)))
        return tr_last_error(self)->code;
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        const tr_down *down = msg ? tr_match(msg, tr_down) : NULL;
        if (!msg || (down && down->code != TR_OK))
            return tr_fail(self, down ? down->code : TR_EKILLED, "%s", down ? down->text : "the node stops");
        if (down)
            return TR_OK;
    }
}

static tr_err find(tr_actor *self, const char *name, tr_addr *actor)
{
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, name, FIND_WITHIN), tr_found, &found));
    *actor = found->actor;
    return TR_OK;
}

static tr_err find_sink(tr_actor *self, tr_addr *sink)
{
    return find(self, "peer/sink", sink);
}

static tr_bytes payload(uint64_t size)
{
    static char data[1 << 24];
    return (tr_bytes){data, size};
}

static tr_err round_trip(tr_actor *self, tr_addr to, uint64_t number, uint64_t size, tr__histogram *histogram)
{
    uint64_t began = bench_now();
    const bench_parcel *answer;
    tr_future ask = tr_ask(self, to, TR_SECONDS(10), bench_parcel, .number = number, .data = payload(size));
    TR_TRY(tr_await(self, ask, bench_parcel, &answer));
    if (answer->number != number)
        return tr_fail(self, TR_EMISMATCH, "answer %llu to question %llu", (unsigned long long)answer->number,
                       (unsigned long long)number);
    tr__histogram_add(histogram, bench_now() - began);
    return TR_OK;
}

static void tell_round_trips(bench_run *run, const tr__histogram *histogram)
{
    run->values[0] = (double)tr__histogram_at(histogram, 500000) / 1000;
    run->values[1] = (double)tr__histogram_at(histogram, 990000) / 1000;
}

static tr_err round_trips(tr_actor *self, bench_run *run)
{
    static tr__histogram histogram;
    tr_addr sink;
    TR_TRY(find_sink(self, &sink));
    tr__histogram_reset(&histogram);
    for (uint64_t i = 0; i < run->given[BENCH_MESSAGES]; i++)
        TR_TRY(round_trip(self, sink, i, run->given[BENCH_SIZE], &histogram));
    tell_round_trips(run, &histogram);
    return TR_OK;
}

static uint64_t window_of(const bench_run *run)
{
    uint64_t each = run->given[BENCH_SIZE] / 1024 + 1, most = SINK_PLACES / 2 / each;
    return run->given[BENCH_OUTSTANDING] < most ? run->given[BENCH_OUTSTANDING] : most;
}

/* Send `total` within the window; waits for grants and for the connection's credit. */
static tr_err send_all(tr_actor *self, tr_addr sink, const bench_run *run, uint64_t total)
{
    uint64_t window = window_of(run), credit = window, sent = 0;
    TR_TRY(tr_send(self, sink, bench_window, .messages = window, .total = total));
    for (;;) {
        while (sent < total && credit) {
            tr_err err =
                tr_send(self, sink, bench_parcel, .number = sent, .data = payload(run->given[BENCH_SIZE]));
            if (err == TR_EAGAIN && tr_notify_writable(self, sink) == TR_OK)
                break;
            TR_TRY(err);
            sent++;
            credit--;
        }
        const tr_msg *msg = tr_receive(self, TR_SECONDS(60));
        if (!msg)
            return tr_fail(self, TR_EDEADLINE,
                           "%llu of %llu were sent when the peer fell silent: a message was lost",
                           (unsigned long long)sent, (unsigned long long)total);
        const bench_grant *grant = tr_match(msg, bench_grant);
        const bench_done *done = grant ? NULL : tr_match(msg, bench_done);
        if (grant)
            credit += grant->messages;
        if (done)
            return done->count == total && done->wrong == 0
                       ? TR_OK
                       : tr_fail(self, TR_EMISMATCH, "%llu came out of their order",
                                 (unsigned long long)done->wrong);
    }
}

static tr_err one_way(tr_actor *self, bench_run *run, double *seconds)
{
    tr_addr sink;
    TR_TRY(find_sink(self, &sink));
    uint64_t began = bench_now();
    TR_TRY(send_all(self, sink, run, run->given[BENCH_MESSAGES]));
    *seconds = (double)(bench_now() - began) / 1e9;
    return TR_OK;
}

static tr_err flood(tr_actor *self, bench_run *run)
{
    double seconds;
    TR_TRY(one_way(self, run, &seconds));
    run->values[0] = (double)run->given[BENCH_MESSAGES] / seconds / 1e6;
    return TR_OK;
}

static tr_err bulk(tr_actor *self, bench_run *run)
{
    double seconds;
    TR_TRY(one_way(self, run, &seconds));
    run->values[0] = (double)run->given[BENCH_MESSAGES] * (double)run->given[BENCH_SIZE] / seconds / 1e6;
    return TR_OK;
}

/* ---- small asks while large payloads cross ------------------------------------------------------------- */

typedef struct mixed {
    bench_run *run;
    double seconds;
    _Atomic int ended; /* 1: well; 2: not */
} mixed;

static tr_err carry(tr_actor *self, void *arg)
{
    mixed *m = arg;
    tr_err err = one_way(self, m->run, &m->seconds);
    atomic_store(&m->ended, err == TR_OK ? 1 : 2);
    return err;
}
TR_ACTOR(carrier_def, .run = carry);

/* One ask at a time, until all payloads have crossed. */
static tr_err asks_beside(tr_actor *self, bench_run *run)
{
    static tr__histogram histogram;
    mixed m = {.run = run};
    tr_addr echo;
    TR_TRY(find(self, "peer/echo", &echo));
    tr__histogram_reset(&histogram);
    if (tr_addr_is_none(tr_spawn(self, &carrier_def, &m)))
        return tr_last_error(self)->code;
    for (uint64_t i = 0; !atomic_load(&m.ended); i++)
        TR_TRY(round_trip(self, echo, i, SMALL_ASK, &histogram));
    if (atomic_load(&m.ended) != 1)
        return tr_fail(self, TR_EMISMATCH, "the large payloads didn't all arrive");
    tell_round_trips(run, &histogram);
    run->values[2] = (double)run->given[BENCH_MESSAGES] * (double)run->given[BENCH_SIZE] / m.seconds / 1e6;
    return TR_OK;
}

/* ---- many asks outstanding: an actor whose answers ask the next ---------------------------------------- */

TR_MESSAGE(bench_ask_many, (addr, sink), (u64, total), (u64, outstanding), (u64, size), (bool, timed))

typedef struct asker_state {
    tr_addr sink, home;
    uint64_t total, asked, answered, wrong, size;
    struct load *load; /* of this process; NULL: how long each took isn't asked for */
} asker_state;

#define ASKS_MAX 4000

/* When each of those outstanding was asked. Answers come in the order of the asks, so no place is needed twice. */
typedef struct load {
    uint64_t began[ASKS_MAX];
    tr__histogram took;
} load;

static void ask_next(tr_actor *self, asker_state *asker);

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    asker_state *asker = state;
    const bench_parcel *item = result->msg ? tr_match(result->msg, bench_parcel) : NULL;
    asker->wrong += !item || item->number != (uint64_t)(uintptr_t)context;
    if (asker->load)
        tr__histogram_add(&asker->load->took,
                          bench_now() - asker->load->began[(uint64_t)(uintptr_t)context % ASKS_MAX]);
    if (++asker->answered == asker->total)
        tr_send(self, asker->home, bench_done, .count = asker->answered, .wrong = asker->wrong);
    else if (asker->asked < asker->total)
        ask_next(self, asker);
}

static void ask_next(tr_actor *self, asker_state *asker)
{
    uint64_t number = asker->asked++;
    if (asker->load)
        asker->load->began[number % ASKS_MAX] = bench_now();
    tr_future ask = tr_ask(self, asker->sink, TR_SECONDS(30), bench_parcel, .number = number,
                           .data = payload(asker->size));
    if (tr_then(self, ask, answered, (void *)(uintptr_t)number) != TR_OK)
        bench_give_up(self);
}

static load the_load;

static void asker_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    asker_state *asker = state;
    const bench_ask_many *many = tr_match(msg, bench_ask_many);
    if (!many)
        return;
    *asker = (asker_state){.sink = many->sink,
                           .home = tr_msg_sender(msg),
                           .total = many->total,
                           .size = many->size,
                           .load = many->timed ? &the_load : NULL};
    for (uint64_t i = 0; i < many->outstanding && asker->asked < asker->total; i++)
        ask_next(self, asker);
}
TR_ACTOR(asker_def, .receive = asker_receive, .state_size = sizeof(asker_state));

static tr_err ask_many(tr_actor *self, const bench_run *run, bool timed, double *rate)
{
    uint64_t total = run->given[BENCH_MESSAGES];
    tr_addr sink;
    TR_TRY(find_sink(self, &sink));
    tr_addr asker = tr_spawn(self, &asker_def, NULL);
    uint64_t began = bench_now();
    TR_TRY(tr_send(self, asker, bench_ask_many, .sink = sink, .total = total,
                   .outstanding = run->given[BENCH_OUTSTANDING], .size = run->given[BENCH_SIZE],
                   .timed = timed));
    TR_TRY(bench_wait(self, 1, total));
    *rate = (double)total / ((double)(bench_now() - began) / 1e9);
    return TR_OK;
}

static tr_err asks(tr_actor *self, bench_run *run)
{
    return ask_many(self, run, false, &run->values[0]);
}

/* The same, and how long each took: a benchmark of its own, for looking at the clock takes time as well. */
static tr_err asks_timed(tr_actor *self, bench_run *run)
{
    tr__histogram_reset(&the_load.took);
    TR_TRY(ask_many(self, run, true, &run->values[2]));
    tell_round_trips(run, &the_load.took);
    return TR_OK;
}

static tr_err start_round_trips(tr_actor *self, void *run)
{
    return start(self, run, round_trips);
}

static tr_err start_flood(tr_actor *self, void *run)
{
    return start(self, run, flood);
}

static tr_err start_asks(tr_actor *self, void *run)
{
    return start(self, run, asks);
}

static tr_err start_load(tr_actor *self, void *run)
{
    return start(self, run, asks_timed);
}

static tr_err start_bulk(tr_actor *self, void *run)
{
    return start(self, run, bulk);
}

static tr_err start_mixed(tr_actor *self, void *run)
{
    return start(self, run, asks_beside);
}

#define PAYLOAD_MAX (1u << 24)

const bench bench_remote_rtt = {
    .name = "remote-rtt",
    .what = "two processes, an ask and its answer, one outstanding",
    .takes = {{BENCH_MESSAGES, 20000, 1, 10000000}, {BENCH_SIZE, 64, 0, PAYLOAD_MAX}},
    .metrics = {{"p50", "us"}, {"p99", "us"}},
    .remote = true,
    .start = start_round_trips,
};

const bench bench_remote_flood = {
    .name = "remote-flood",
    .what = "two processes, messages one way within a window that the receiver grants",
    .takes = {{BENCH_MESSAGES, 2000000, 1, 1000000000},
              {BENCH_SIZE, 64, 0, PAYLOAD_MAX},
              {BENCH_OUTSTANDING, 16000, 1, 16000}},
    .metrics = {{"rate", "M/s"}},
    .remote = true,
    .start = start_flood,
};

const bench bench_remote_asks = {
    .name = "remote-asks",
    .what = "two processes, many asks outstanding",
    .takes = {{BENCH_MESSAGES, 500000, 1, 1000000000},
              {BENCH_OUTSTANDING, 1000, 1, ASKS_MAX},
              {BENCH_SIZE, 64, 0, 1000}},
    .metrics = {{"rate", "round trips/s"}},
    .remote = true,
    .start = start_asks,
};

const bench bench_remote_load = {
    .name = "remote-load",
    .what = "two processes, many asks outstanding, and how long each took",
    .takes = {{BENCH_MESSAGES, 500000, 1, 1000000000},
              {BENCH_OUTSTANDING, 1000, 1, ASKS_MAX},
              {BENCH_SIZE, 64, 0, 1000}},
    .metrics = {{"p50", "us"}, {"p99", "us"}, {"rate", "round trips/s"}},
    .remote = true,
    .start = start_load,
};

const bench bench_remote_bulk = {
    .name = "remote-bulk",
    .what = "two processes, large payloads one way",
    .takes = {{BENCH_MESSAGES, 500, 1, 1000000},
              {BENCH_SIZE, 1 << 20, 1, PAYLOAD_MAX},
              {BENCH_OUTSTANDING, 4, 1, 8}},
    .metrics = {{"rate", "MB/s"}},
    .remote = true,
    .start = start_bulk,
};

const bench bench_remote_mixed = {
    .name = "remote-mixed",
    .what = "two processes, small asks one at a time while large payloads go one way",
    .takes = {{BENCH_MESSAGES, 1000, 1, 1000000},
              {BENCH_SIZE, 1 << 20, 1, PAYLOAD_MAX},
              {BENCH_OUTSTANDING, 4, 1, 8}},
    .metrics = {{"p50", "us"}, {"p99", "us"}, {"rate", "MB/s"}},
    .remote = true,
    .start = start_mixed,
};
