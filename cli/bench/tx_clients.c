/* Client apps at one server: up to ten processes (`troupe bench-clients`, tx_client.c) have so many between them, each a node
 * with a connection of its own. Every entry is a transaction, which writes two participants at the server: the client's journal,
 * and another that the amount is taken from. In the end the journal that each client kept must be what the server has. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bench/tx_clients.h"

#define HOSTS_MAX   10
#define POLL_NS     TR_MILLIS(5)
#define DONE_WITHIN TR_MINUTES(5)
#define FIND_WITHIN TR_SECONDS(10)

typedef struct host {
    pid_t process;
    int in, out; /* its standard input; its output, which doesn't block */
    uint64_t first, count;
    size_t got, due; /* bytes */
    uint8_t *bytes;  /* a byte, a client_sums, so many client_journal */
} host;

typedef struct crowd {
    bench_run *run;
    uint64_t hosts;
    host host[HOSTS_MAX];
    client_sums all;
    double dialled; /* s until all were connected */
    bench_tx_figures before, after;
} crowd;

/* ---- processes ----------------------------------------------------------------------------------------- */

/* After a fork: only what a thread's copy may do. */
static void be_host(char *const argv[], int in, int out)
{
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execv("/proc/self/exe", argv);
    _exit(127);
}

static tr_err open_host(tr_actor *self, const bench_run *run, host *h)
{
    int in[2], out[2];
    char first[24], count[24], messages[24];
    snprintf(first, sizeof(first), "%" PRIu64, h->first);
    snprintf(count, sizeof(count), "%" PRIu64, h->count);
    snprintf(messages, sizeof(messages), "%" PRIu64, run->given[BENCH_MESSAGES]);
    char *argv[] = {"troupe", "bench-clients", (char *)run->peer, run->key ? (char *)run->key : "",
                    first,    count,           messages,          NULL};
    h->due = 1 + sizeof(client_sums) + h->count * sizeof(client_journal);
    h->bytes = malloc(h->due);
    if (!h->bytes || pipe2(in, O_CLOEXEC) != 0)
        return tr_fail(self, TR_ENOMEM, "no memory for a process of clients");
    if (pipe2(out, O_CLOEXEC) != 0 || (h->process = fork()) < 0)
        return tr_fail(self, TR_EIO, "a process of clients can't be started: %s", strerror(errno));
    if (h->process == 0)
        be_host(argv, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    h->in = in[1];
    h->out = out[0];
    fcntl(h->out, F_SETFL, O_NONBLOCK);
    return TR_OK;
}

static void close_host(host *h)
{
    free(h->bytes);
    if (h->process <= 0)
        return;
    kill(h->process, SIGKILL);
    waitpid(h->process, NULL, 0);
    close(h->in);
    close(h->out);
}

/* Until each has told so much. */
static tr_err hear(tr_actor *self, crowd *c, bool all, uint64_t within_ns)
{
    uint64_t until = bench_now() + within_ns, whole;
    do {
        whole = 0;
        for (uint64_t i = 0; i < c->hosts; i++) {
            host *h = &c->host[i];
            size_t due = all ? h->due : 1;
            ssize_t got = h->got < due ? read(h->out, h->bytes + h->got, due - h->got) : 1;
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
                return tr_fail(self, TR_EAPP, "a process of clients has ended: this run is no result");
            h->got += h->got < due && got > 0 ? (size_t)got : 0;
            whole += h->got >= due;
        }
        if (whole < c->hosts)
            TR_TRY(tr_sleep(self, POLL_NS));
    } while (whole < c->hosts && bench_now() < until);
    return whole == c->hosts ? TR_OK
                             : tr_fail(self, TR_EDEADLINE, "the clients didn't %s in time",
                                       all ? "come to an end" : "all connect");
}

/* ---- a run --------------------------------------------------------------------------------------------- */

static tr_err open_hosts(tr_actor *self, crowd *c)
{
    uint64_t clients = c->run->given[BENCH_CLIENTS], first = 0;
    uint64_t hosts = clients < HOSTS_MAX ? clients : HOSTS_MAX;
    for (uint64_t i = 0; i < hosts; i++) {
        host *h = &c->host[c->hosts++];
        h->first = first;
        h->count = clients / hosts + (i < clients % hosts);
        first += h->count;
        TR_TRY(open_host(self, c->run, h));
    }
    return TR_OK;
}

static tr_err play(tr_actor *self, crowd *c)
{
    uint64_t began = bench_now();
    TR_TRY(open_hosts(self, c));
    TR_TRY(hear(self, c, false, CLIENT_PATIENCE));
    c->dialled = (double)(bench_now() - began) / 1e9;
    TR_TRY(bench_tx_figures_now(self, true, &c->before));
    for (uint64_t i = 0; i < c->hosts; i++)
        if (write(c->host[i].in, "g", 1) != 1)
            return tr_fail(self, TR_EIO, "a process of clients has ended: this run is no result");
    TR_TRY(hear(self, c, true, DONE_WITHIN));
    return bench_tx_figures_now(self, true, &c->after);
}

static tr_err audit_client(tr_actor *self, const crowd *c, uint64_t number, const client_journal *theirs)
{
    bench_tx_is ours, second;
    TR_TRY(bench_tx_audited(self, bench_tx_account(true, number), &ours));
    TR_TRY(bench_tx_audited(self, bench_tx_second(number), &second));
    if (ours.entries == c->run->given[BENCH_MESSAGES] && ours.entries == theirs->entries &&
        ours.digest == theirs->digest && ours.balance == theirs->balance && second.entries == ours.entries &&
        second.balance == -ours.balance)
        return TR_OK;
    return tr_fail(self, TR_EMISMATCH,
                   "the journal of client %" PRIu64 " has %" PRIu64 " entries, the server's %" PRIu64
                   ", the second participant %" PRIu64 ", and they aren't the same: this run is no result",
                   number, theirs->entries, ours.entries, second.entries);
}

/* What one process of clients has told. */
static tr_err audit(tr_actor *self, crowd *c, const host *h)
{
    client_sums sums;
    memcpy(&sums, h->bytes + 1, sizeof(sums));
    bench_tally_merge(&c->all.tally, &sums.tally);
    c->all.first_ns = c->all.first_ns && c->all.first_ns < sums.first_ns ? c->all.first_ns : sums.first_ns;
    c->all.last_ns = c->all.last_ns > sums.last_ns ? c->all.last_ns : sums.last_ns;
    for (uint64_t i = 0; i < h->count; i++) {
        client_journal theirs;
        memcpy(&theirs, h->bytes + 1 + sizeof(sums) + i * sizeof(theirs), sizeof(theirs));
        TR_TRY(audit_client(self, c, h->first + i, &theirs));
    }
    return TR_OK;
}

static tr_err check(tr_actor *self, crowd *c)
{
    for (uint64_t i = 0; i < c->hosts; i++)
        TR_TRY(audit(self, c, &c->host[i]));
    uint64_t due = c->run->given[BENCH_CLIENTS] * c->run->given[BENCH_MESSAGES];
    if (c->all.tally.committed == due)
        return TR_OK;
    return tr_fail(self, TR_EMISMATCH,
                   "the clients have heard of %" PRIu64 " entries, the server has %" PRIu64
                   ": this run is no result",
                   c->all.tally.committed, due);
}

static void fill(const crowd *c)
{
    double *values = c->run->values, committed = (double)c->all.tally.committed;
    double forces = (double)(c->after.forces - c->before.forces);
    values[0] = committed * 1e9 / (double)(c->all.last_ns - c->all.first_ns);
    values[1] = (double)tr__histogram_at(&c->all.tally.took, 500000) / 1000;
    values[2] = (double)tr__histogram_at(&c->all.tally.took, 990000) / 1000;
    values[3] = forces / committed;
    values[4] = forces > 0 ? (double)(c->after.records - c->before.records) / forces : 0;
    values[5] = (double)c->run->given[BENCH_CLIENTS]; /* or check has failed */
    bench_tally_aborted(&c->all.tally, values + 6);
    values[10] = c->dialled;
}

static tr_err start(tr_actor *self, void *arg)
{
    static crowd c;
    const tr_found *found;
    c = (crowd){.run = arg};
    tr__histogram_reset(&c.all.tally.took);
    TR_TRY(tr_await(self, tr_lookup(self, "peer/a0", FIND_WITHIN), tr_found, &found));
    tr_err err = play(self, &c);
    if (err == TR_OK)
        err = check(self, &c);
    if (err == TR_OK)
        fill(&c);
    for (uint64_t i = 0; i < c.hosts; i++)
        close_host(&c.host[i]);
    return err;
}

const bench bench_tx_clients = {
    .name = "tx-clients",
    .what = "client apps, each with a connection of its own, at one server; --messages transactions each",
    .takes = {{BENCH_CLIENTS, 10, 1, CLIENTS_MAX}, {BENCH_MESSAGES, 200, 1, 100000}},
    .metrics = {{"rate", "commits/s"},
                {"p50", "us"},
                {"p99", "us"},
                {"forces", "a transaction"},
                {"group", "records/force"},
                {"agree", "journals"},
                BENCH_TX_ABORTED,
                {"connect", "s"}},
    .remote = true,
    .data = true,
    .start = start,
};
