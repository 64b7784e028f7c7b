/* `troupe bench-clients`: some of the client apps of tx-clients, in one process. Each is a node of its own with a thread and a
 * connection of its own; it enters amounts into its journal at the server, and takes them from a second participant there, one
 * transaction after the other, and keeps the same journal itself. What the threads share is under `lock` or atomic. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <troupe/node.h>

#include "cli/bench/tx_clients.h"
#include "cli/cli.h"

#define BEGIN_NS   TR_MINUTES(5) /* until all others are connected */
#define PAUSE_NS   TR_MILLIS(10) /* before one that was aborted is tried again; doubles */
#define PAUSES_MAX 6
#define AT_ONCE    5 /* connect at a time: a node lets 64 from one address, in all hosts' processes, do so */
#define STACK_SIZE (1024u * 1024)

TR_MESSAGE(bench_tx_begin)

typedef struct host {
    uint64_t count, first, moves;
    const char *address, *key;
    _Atomic uint64_t ready;
    _Atomic bool failed;
    pthread_mutex_t lock; /* for `sums` */
    client_sums sums;
} host;

typedef struct client {
    host *host;
    uint64_t number;
    pthread_t thread;
    tr_node *node; /* these two are there once it is ready */
    tr_addr self;
    client_journal journal;
    bench_tally tally;
} client;

/* ---- a client's work ----------------------------------------------------------------------------------- */

typedef struct entry {
    bench_tx_path journal, second;
    uint64_t number;
    int64_t amount;
} entry;

static tr_err body(tr_actor *self, tr_tx *tx, void *arg)
{
    const entry *e = arg;
    (void)self;
    TR_TRY(tr_tx_await(tx, e->journal.text, bench_tx_add, .number = e->number, .amount = e->amount));
    return tr_tx_await(tx, e->second.text, bench_tx_add, .number = 0, .amount = -e->amount);
}

/* Until it is committed: an entry that was aborted hasn't happened, and one that is unknown is asked for. */
static tr_err enter(tr_actor *self, client *c, entry *e)
{
    uint64_t began = bench_now(), pause = PAUSE_NS;
    for (int i = 0; i < 1000; i++) {
        tr_tx_outcome out = tr_tx_run(self, body, e, NULL);
        while (out.status == TR_TX_UNKNOWN && out.ticket[0]) {
            char ticket[TR_TX_TICKET_MAX];
            memcpy(ticket, out.ticket, sizeof(ticket));
            out = tr_tx_outcome_of(self, tr_tx_resolve(self, ticket, TR_SECONDS(10)));
        }
        bench_tally_add(&c->tally, &out, began);
        if (out.status == TR_TX_COMMITTED)
            return TR_OK;
        if (out.status == TR_TX_UNKNOWN || out.reason == TR_TX_APP)
            return tr_fail(self, TR_EAPP, "entry %llu: %s", (unsigned long long)e->number, out.text);
        TR_TRY(tr_sleep(self, pause / 2 + tr_random(self) % pause));
        pause = pause < PAUSE_NS << PAUSES_MAX ? pause * 2 : pause;
    }
    return tr_fail(self, TR_EDEADLINE, "entry %llu was aborted a thousand times",
                   (unsigned long long)e->number);
}

static tr_err make_entries(tr_actor *self, client *c)
{
    client_journal *j = &c->journal;
    entry e = {.journal = bench_tx_account(true, c->number), .second = bench_tx_second(c->number)};
    for (uint64_t n = 1; n <= c->host->moves; n++) {
        e.number = n;
        e.amount = (int64_t)(tr_random(self) % 1000);
        TR_TRY(enter(self, c, &e));
        j->entries = n;
        j->digest = bench_tx_digest(j->digest, n, e.amount);
        j->balance += e.amount;
    }
    return TR_OK;
}

static tr_err start(tr_actor *self, void *arg)
{
    client *c = arg;
    host *h = c->host;
    const tr_found *found;
    TR_TRY(tr_await(self, tr_lookup(self, "peer/a0", CLIENT_PATIENCE), tr_found, &found));
    c->node = tr_node_of(self);
    c->self = tr_self(self);
    atomic_fetch_add(&h->ready, 1);
    if (!tr_receive(self, BEGIN_NS))
        return tr_fail(self, TR_EDEADLINE, "it was never told to begin");
    uint64_t first = bench_now();
    TR_TRY(make_entries(self, c));
    uint64_t last = bench_now();
    pthread_mutex_lock(&h->lock);
    client_sums *sums = &h->sums;
    sums->first_ns = sums->first_ns && sums->first_ns < first ? sums->first_ns : first;
    sums->last_ns = sums->last_ns > last ? sums->last_ns : last;
    bench_tally_merge(&sums->tally, &c->tally);
    pthread_mutex_unlock(&h->lock);
    return TR_OK;
}

/* ---- nodes and threads --------------------------------------------------------------------------------- */

static void *run(void *arg)
{
    client *c = arg;
    char name[24];
    tr_error error = {0};
    const char *join[] = {c->host->address, NULL};
    snprintf(name, sizeof(name), "c%llu", (unsigned long long)c->number);
    /* Never: each would have a thread that looks every 10 ms. */
    tr_node_opts opts = {.name = name,
                         .join = join,
                         .key = c->host->key,
                         .log_level = TR_LOG_ERROR,
                         .watchdog_ns = TR_FOREVER,
                         .start = start,
                         .arg = c};
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK && !atomic_exchange(&c->host->failed, true))
        fprintf(stderr, "troupe bench-clients: %s: %s\n", name, error.text);
    return NULL;
}

static void wait_for_ready(host *h, uint64_t count)
{
    while (atomic_load(&h->ready) < count && !atomic_load(&h->failed))
        usleep(1000);
}

static bool start_all(host *h, client *clients)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    for (uint64_t i = 0; i < h->count; i++) {
        clients[i].host = h;
        clients[i].number = h->first + i;
        tr__histogram_reset(&clients[i].tally.took);
        wait_for_ready(h, i < AT_ONCE ? 0 : i - AT_ONCE + 1);
        if (pthread_create(&clients[i].thread, &attributes, run, &clients[i]) != 0)
            return false;
    }
    pthread_attr_destroy(&attributes);
    return true;
}

/* One byte each way. */
static bool begin_together(host *h, const client *clients)
{
    char byte = 'r';
    wait_for_ready(h, h->count);
    if (atomic_load(&h->failed) || write(STDOUT_FILENO, &byte, 1) != 1 || read(STDIN_FILENO, &byte, 1) != 1)
        return false;
    for (uint64_t i = 0; i < h->count; i++)
        if (tr_post(clients[i].node, clients[i].self, bench_tx_begin) != TR_OK)
            return false;
    return true;
}

static int tell(const host *h, const client *clients)
{
    bool whole = fwrite(&h->sums, sizeof(h->sums), 1, stdout) == 1;
    for (uint64_t i = 0; i < h->count && whole; i++)
        whole = fwrite(&clients[i].journal, sizeof(clients[i].journal), 1, stdout) == 1;
    return whole && fflush(stdout) == 0 ? 0 : 1;
}

/* ADDRESS KEY FIRST COUNT MOVES; KEY "": none. */
int cli_bench_clients(int argc, char **argv)
{
    static host h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_raise_files();
    if (argc != 6)
        return 2;
    h.address = argv[1];
    h.key = argv[2][0] ? argv[2] : NULL;
    h.first = strtoull(argv[3], NULL, 10);
    h.count = strtoull(argv[4], NULL, 10);
    h.moves = strtoull(argv[5], NULL, 10);
    tr__histogram_reset(&h.sums.tally.took);
    client *clients = calloc(h.count, sizeof(*clients));
    if (!clients || !start_all(&h, clients) || !begin_together(&h, clients))
        return 1; /* the threads end with the process */
    for (uint64_t i = 0; i < h.count; i++)
        pthread_join(clients[i].thread, NULL);
    int status = atomic_load(&h.failed) ? 1 : tell(&h, clients);
    free(clients);
    return status;
}
