/* Article 3.4: two apps, two processes; ten clients at a time exchange data with the server as transactions: on both sides
 * or on neither, whoever dies when. This is examples/transfer with all clients on one node.
 *
 *     asyncio-exchange DIR MOVES */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/bench/asyncio/measured.h"

#define CLIENTS 10

TR_MESSAGE(move, TR_WRITES, (string, book), (u64, number), (i64, amount))
TR_MESSAGE(read_book, (string, book))
TR_MESSAGE(book_is, (u64, entries), (u64, digest))
TR_MESSAGE(client_done)

/* ---- a journal: a participant, one on each side ---------------------------------------------------------- */

static const char *entry_key(const char *book, uint64_t number, char key[48])
{
    snprintf(key, 48, "%.16s/%llu", book, (unsigned long long)number);
    return key;
}

static tr_err journal(tr_txview *v, void *state, const tr_msg *msg)
{
    char key[48];
    const move *m = tr_match(msg, move);
    const read_book *r = tr_match(msg, read_book);
    (void)state;
    if (r) {
        uint64_t entries = (uint64_t)tr_view_i64(v, r->book, 0), digest = 0;
        for (uint64_t n = 1; n <= entries; n++)
            digest = digest * 1099511628211u + (uint64_t)tr_view_i64(v, entry_key(r->book, n, key), 0);
        return tr_view_reply(v, book_is, .entries = entries, .digest = digest);
    }
    if (!m || m->number != (uint64_t)tr_view_i64(v, m->book, 0) + 1)
        return tr_refuse(v, "that isn't due now");
    TR_TRY(tr_view_put_i64(v, entry_key(m->book, m->number, key), m->amount));
    return tr_view_put_i64(v, m->book, (int64_t)m->number);
}
TR_ACTOR(journal_def, .transact = journal);

/* ---- the clients ------------------------------------------------------------------------------------------ */

typedef struct job {
    char book[16];
    uint64_t moves;
    tr_addr home;
    uint64_t number;     /* of the move that is made */
    book_is here, there; /* as both sides have it at the end */
} job;

static tr_err one_move(tr_actor *self, tr_tx *tx, void *arg)
{
    const job *j = arg;
    int64_t amount = j->number % 2 ? 10 + (int64_t)(j->number % 7) : -(int64_t)(j->number % 10);
    (void)self;
    TR_TRY(tr_tx_await(tx, "server/journal", move, j->book, j->number, amount));
    return tr_tx_await(tx, "journal", move, j->book, j->number, amount);
}

static tr_err compare(tr_actor *self, tr_tx *tx, void *arg)
{
    job *j = arg;
    const book_is *is;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, "server/journal", book_is, &is, read_book, .book = j->book));
    j->there = *is;
    TR_TRY(tr_tx_await_reply(tx, "journal", book_is, &is, read_book, .book = j->book));
    j->here = *is;
    return TR_OK;
}

static tr_err run_tx(tr_actor *self, tr_tx_body body, job *j)
{
    tr_tx_outcome out = {.status = TR_TX_ABORTED};
    for (int i = 0; i < 100 && out.status == TR_TX_ABORTED; i++)
        out = tr_tx_run(self, body, j, NULL);
    return out.status == TR_TX_COMMITTED ? TR_OK : tr_fail(self, TR_EAPP, "%s: %s", j->book, out.text);
}

static tr_err client(tr_actor *self, void *arg)
{
    job *j = arg;
    for (j->number = 1; j->number <= j->moves; j->number++)
        TR_TRY(run_tx(self, one_move, j));
    TR_TRY(run_tx(self, compare, j));
    if (j->here.entries != j->moves || j->there.entries != j->moves || j->here.digest != j->there.digest)
        return tr_fail(self, TR_EAPP, "%s: the journals differ", j->book);
    return tr_send(self, j->home, client_done);
}
TR_ACTOR(client_def, .run = client);

/* ---- the two nodes ------------------------------------------------------------------------------------------ */

static tr_err open_journal(tr_actor *self)
{
    tr_addr opened = tr_spawn_with(self, &journal_def, NULL, &(tr_spawn_opts){.name = "journal"});
    return tr_addr_is_none(opened) ? tr_last_error(self)->code : TR_OK;
}

static tr_err play(tr_actor *self, void *arg)
{
    static job jobs[CLIENTS];
    uint64_t moves = *(uint64_t *)arg;
    const tr_msg *msg;
    TR_TRY(open_journal(self));
    TR_TRY(tr_await_msg(self, tr_lookup(self, "server/journal", TR_SECONDS(10)), NULL));
    lag_begin(self);
    for (int i = 0; i < CLIENTS; i++) {
        jobs[i] = (job){.moves = moves, .home = tr_self(self)};
        snprintf(jobs[i].book, sizeof(jobs[i].book), "c%d", i);
        tr_spawn_with(self, &client_def, &jobs[i], &(tr_spawn_opts){.link = true});
    }
    for (int done = 0; done < CLIENTS; done += tr_match(msg, client_done) != NULL)
        if (!(msg = tr_receive(self, TR_MINUTES(2))))
            return tr_last_error(self)->code;
    lag.ended = tr_now(self);
    return TR_OK;
}

static tr_err serve(tr_actor *self, void *arg)
{
    int port = *(int *)arg;
    TR_TRY(open_journal(self));
    const char *at = tr_node_listen(tr_node_of(self));
    if (write(port, at, strlen(at) + 1) < 0)
        return TR_EIO;
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

static int run_node(const tr_node_opts *opts)
{
    tr_error error = {0};
    tr_node *node = tr_node_create(opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "asyncio-exchange: %s: %s\n", opts->name, error.text);
    return err == TR_OK ? 0 : 1;
}

static tr_err report(tr_actor *self, void *arg)
{
    return lag_report(self, "transactions", *(uint64_t *)arg * CLIENTS);
}

int main(int argc, char **argv)
{
    int pipes[2], status;
    char address[64] = "";
    uint64_t moves = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (!moves || pipe(pipes) != 0) {
        fprintf(stderr, "usage: asyncio-exchange DIR MOVES\n");
        return 2;
    }
    pid_t server = fork();
    if (server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        return run_node(&(tr_node_opts){.name = "server",
                                        .data = argv[1],
                                        .listen = "127.0.0.1:0",
                                        .start = serve,
                                        .arg = &pipes[1],
                                        .log_level = TR_LOG_ERROR});
    }
    if (server < 0 || read(pipes[0], address, sizeof(address) - 1) <= 0)
        return 1;
    const char *join[] = {address, NULL};
    status = run_node(&(tr_node_opts){.name = "clients",
                                      .data = argv[1],
                                      .join = join,
                                      .start = play,
                                      .arg = &moves,
                                      .log_level = TR_LOG_ERROR});
    kill(server, SIGTERM);
    waitpid(server, NULL, 0); /* its memory counts in the report */
    if (status == 0)
        status = run_node(
            &(tr_node_opts){.name = "report", .start = report, .arg = &moves, .log_level = TR_LOG_ERROR});
    return status;
}
