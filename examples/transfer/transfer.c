/* Ten clients, each a node and a process of its own, at one server. Each moves money between its purse and the server's
 * till; a move is a transaction, which also enters it in a journal on both sides. It happens on both sides or on
 * neither, whoever is killed when, so at the end no coin is missing and each client's journal is what the server has.
 *
 *     transfer [--clients N] [--moves N] [--kill] [--data DIR]
 *
 * The program starts itself once more for each node; they tell it by lines on one pipe what they do. */
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#define CLIENTS_MAX 64
#define MOVES_MAX   1000
#define PURSE       10000 /* coins that each begins with; the till is empty */

/* ---- accounts: the participants ------------------------------------------------------------------------ */

/* Take `change` into the balance, and enter the move in that book as this number: they count from 1. */
TR_MESSAGE(move, TR_WRITES, (string, book), (u64, number), (i64, amount), (i64, change))
TR_MESSAGE(read_book, (string, book))
TR_MESSAGE(book_is, (i64, balance), (u64, entries), (u64, digest))

static const char *entry_key(const char *book, int64_t number, char key[64])
{
    snprintf(key, 64, "%.32s/%" PRId64, book, number);
    return key;
}

static tr_err account(tr_txview *v, const tr_msg *msg, int64_t begins_with)
{
    char key[64];
    const move *m = tr_match(msg, move);
    const read_book *r = tr_match(msg, read_book);
    if (!m && !r)
        return tr_refuse(v, "an account takes no %s", tr_msg_type_name(msg));
    int64_t balance = tr_view_i64(v, "balance", begins_with);
    int64_t entries = tr_view_i64(v, m ? m->book : r->book, 0);
    if (r) {
        uint64_t digest = 14695981039346656037u; /* FNV-1a, by whole amounts */
        for (int64_t n = 1; n <= entries; n++)
            digest = (digest ^ (uint64_t)tr_view_i64(v, entry_key(r->book, n, key), 0)) * 1099511628211u;
        return tr_view_reply(v, book_is, .balance = balance, .entries = (uint64_t)entries, .digest = digest);
    }
    if (m->number != (uint64_t)entries + 1)
        return tr_refuse(v, "%s: move %" PRIu64 " came where %" PRId64 " was due", m->book, m->number,
                         entries + 1);
    if (balance + m->change < 0)
        return tr_refuse(v, "%" PRId64 " coins are less than %" PRId64, balance, -m->change);
    TR_TRY(tr_view_put_i64(v, entry_key(m->book, entries + 1, key), m->amount));
    TR_TRY(tr_view_put_i64(v, m->book, entries + 1));
    return tr_view_put_i64(v, "balance", balance + m->change);
}

static tr_err purse(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    return account(v, msg, PURSE);
}
TR_ACTOR(purse_def, .transact = purse);

static tr_err till(tr_txview *v, void *state, const tr_msg *msg)
{
    (void)state;
    return account(v, msg, 0);
}
TR_ACTOR(till_def, .transact = till);

/* ---- a book, read in a transaction ---------------------------------------------------------------------- */

typedef struct reading {
    const char *path, *book;
    book_is is;
} reading;

static tr_err read_body(tr_actor *self, tr_tx *tx, void *arg)
{
    reading *r = arg;
    const book_is *is;
    (void)self;
    TR_TRY(tr_tx_await_reply(tx, r->path, book_is, &is, read_book, .book = r->book));
    r->is = *is;
    return TR_OK;
}

/* What is in doubt is locked, and whose node was killed is away for a moment: again then. */
static tr_err read_until_it_works(tr_actor *self, reading *r)
{
    tr_tx_outcome out = {.status = TR_TX_ABORTED};
    for (int i = 0; i < 100; i++) {
        out = tr_tx_run(self, read_body, r, NULL);
        if (out.status == TR_TX_COMMITTED)
            return TR_OK;
        TR_TRY(tr_sleep(self, TR_MILLIS(100)));
    }
    return tr_fail(self, TR_EAPP, "%s can't be read: %s", r->path, out.text);
}

/* ---- a client ------------------------------------------------------------------------------------------ */

typedef struct job {
    const char *name; /* of the node, and of its book */
    uint64_t moves;
} job;

typedef struct one_move {
    const char *book;
    uint64_t number;
    int64_t amount; /* into the till; negative: out of it */
} one_move;

/* The till is called first: so its node decides, and who has it waits for nobody. */
static tr_err move_body(tr_actor *self, tr_tx *tx, void *arg)
{
    const one_move *m = arg;
    (void)self;
    TR_TRY(tr_tx_await(tx, "server/till", move, m->book, m->number, m->amount, .change = m->amount));
    return tr_tx_await(tx, "purse", move, m->book, m->number, m->amount, .change = -m->amount);
}

/* An outcome that isn't known is asked for until it is. */
static tr_tx_outcome settle(tr_actor *self, tr_tx_outcome out)
{
    char ticket[TR_TX_TICKET_MAX];
    memcpy(ticket, out.ticket, sizeof(ticket));
    for (int i = 0; i < 10 && out.status == TR_TX_UNKNOWN; i++)
        out = tr_tx_outcome_of(self, tr_tx_resolve(self, ticket, TR_SECONDS(10)));
    return out;
}

static tr_err make_moves(tr_actor *self, const job *j, uint64_t done)
{
    while (done < j->moves) {
        uint64_t number = done + 1, begun = tr_now(self);
        one_move m = {j->name, number, number % 2 ? 10 + (int64_t)number % 7 : -(int64_t)number % 10};
        tr_tx_outcome out = tr_tx_run(self, move_body, &m, NULL);
        if (out.status == TR_TX_UNKNOWN) {
            printf("%s unknown\n", j->name);
            out = settle(self, out);
        }
        if (out.status == TR_TX_UNKNOWN || out.reason == TR_TX_APP)
            return tr_fail(self, TR_EAPP, "move %" PRIu64 ": %s", number, out.text);
        if (out.status == TR_TX_COMMITTED) {
            printf("%s committed %" PRIu64 "\n", j->name, (tr_now(self) - begun) / 1000);
            done = number;
            continue;
        }
        printf("%s aborted\n", j->name); /* nothing has happened: the same move again */
        tr_await_msg(self, tr_lookup(self, "server/till", TR_SECONDS(10)), NULL);
        TR_TRY(tr_sleep(self, TR_MILLIS(20)));
    }
    return TR_OK;
}

/* Its own journal tells how far it came before it was killed. */
static tr_err client(tr_actor *self, void *arg)
{
    const job *j = arg;
    reading own = {.path = "purse", .book = j->name};
    if (tr_addr_is_none(tr_spawn_with(self, &purse_def, NULL, &(tr_spawn_opts){.name = "purse"})))
        return tr_last_error(self)->code;
    TR_TRY(tr_await_msg(self, tr_lookup(self, "server/till", TR_SECONDS(10)), NULL));
    TR_TRY(read_until_it_works(self, &own));
    TR_TRY(make_moves(self, j, own.is.entries));
    TR_TRY(read_until_it_works(self, &own));
    printf("%s done %" PRIu64 " %" PRId64 " %" PRIu64 "\n", j->name, own.is.entries, own.is.balance,
           own.is.digest);
    return TR_OK;
}

/* ---- the server, and the nodes' processes -------------------------------------------------------------- */

static tr_err server(tr_actor *self, void *arg)
{
    (void)arg;
    if (tr_addr_is_none(tr_spawn_with(self, &till_def, NULL, &(tr_spawn_opts){.name = "till"})))
        return tr_last_error(self)->code;
    printf("server listens %s\n", tr_node_listen(tr_node_of(self)));
    tr_receive(self, TR_FOREVER);
    return TR_OK;
}

/* NAME DIRECTORY ADDRESS MOVES: where the server listens, or is to. */
static int node_main(char **argv)
{
    bool serves = strcmp(argv[0], "server") == 0;
    const char *join[] = {argv[2], NULL};
    job j = {argv[0], strtoull(argv[3], NULL, 10)};
    tr_error error = {0};
    tr_node_opts opts = {.name = argv[0],
                         .data = argv[1],
                         .listen = serves ? argv[2] : NULL,
                         .join = serves ? NULL : join,
                         .start = serves ? server : client,
                         .arg = &j,
                         .log_level = TR_LOG_ERROR};
    setvbuf(stdout, NULL, _IOLBF, 0); /* a line is one write */
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        printf("%s failed %s\n", argv[0], error.text);
    return err == TR_OK ? 0 : 1;
}

/* ---- the parent ---------------------------------------------------------------------------------------- */

typedef struct child {
    char name[16];
    pid_t pid;
    uint64_t moves, aborted, unknown; /* that it told of */
    uint64_t us[MOVES_MAX];           /* how long each took */
    bool done;
    uint64_t entries, digest; /* of its journal, as it has it */
    int64_t balance;
} child;

typedef struct show {
    uint64_t clients, moves, total;
    bool kill, temporary;
    char directory[256], address[64];
    int pipe[2];
    child server, client[CLIENTS_MAX];
    char killed[16], text[TR_ERROR_TEXT_MAX];
    uint64_t equal;
    int64_t in_till;
} show;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void start(show *s, child *c)
{
    char moves[24];
    pid_t parent = getpid();
    snprintf(moves, sizeof(moves), "%" PRIu64, s->moves);
    c->pid = fork();
    if (c->pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* however we end */
    if (getppid() != parent)
        _exit(1);
    dup2(s->pipe[1], 1);
    execl("/proc/self/exe", "transfer", "--node", c->name, s->directory, s->address, moves, (char *)NULL);
    _exit(127);
}

static void end(child *c)
{
    if (c->pid <= 0)
        return;
    kill(c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

/* A third of the way a client is killed, at two thirds the server; both are started again at once. */
static void kill_in_the_middle(show *s, child *c)
{
    uint64_t all = s->clients * s->moves;
    if (!s->killed[0] && s->total >= all / 3 && c->moves < s->moves) {
        snprintf(s->killed, sizeof(s->killed), "%s", c->name);
        end(c);
        start(s, c);
    } else if (s->total == all * 2 / 3) {
        end(&s->server);
        start(s, &s->server);
    }
}

/* False: it is over with this client. */
static bool heard(show *s, child *c, const char *what, const char *rest)
{
    if (strcmp(what, "failed") == 0) {
        snprintf(s->text, sizeof(s->text), "%s: %s", c->name, rest);
        return false;
    }
    c->aborted += strcmp(what, "aborted") == 0;
    c->unknown += strcmp(what, "unknown") == 0;
    if (strcmp(what, "done") == 0)
        c->done = sscanf(rest, "%" SCNu64 " %" SCNd64 " %" SCNu64, &c->entries, &c->balance, &c->digest) == 3;
    if (strcmp(what, "committed") == 0 && c->moves < MOVES_MAX) {
        c->us[c->moves++] = strtoull(rest, NULL, 10);
        s->total++;
        if (s->kill)
            kill_in_the_middle(s, c);
    }
    return true;
}

static bool play(show *s)
{
    char line[512], name[16], what[16];
    uint64_t done = 0;
    FILE *lines = fdopen(s->pipe[0], "r");
    start(s, &s->server);
    while (done < s->clients && fgets(line, sizeof(line), lines)) {
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%15s %15s %n", name, what, &at) != 2)
            continue;
        child *c = &s->server;
        if (name[0] == 'c')
            c = &s->client[(strtoull(name + 1, NULL, 10) - 1) % s->clients];
        bool was_done = c->done; /* one that was done before it was killed says so again */
        if (!heard(s, c, what, line + at))
            break;
        done += c->done && !was_done;
        if (strcmp(what, "listens") == 0 && !s->client[0].pid) {
            snprintf(s->address, sizeof(s->address), "%s", line + at);
            for (uint64_t i = 0; i < s->clients; i++)
                start(s, &s->client[i]);
        }
    }
    fclose(lines);
    return done == s->clients;
}

/* What the server has, by transactions of a node of our own. */
static tr_err judge(tr_actor *self, void *arg)
{
    show *s = arg;
    for (uint64_t i = 0; i < s->clients; i++) {
        const child *c = &s->client[i];
        reading r = {.path = "server/till", .book = c->name};
        TR_TRY(read_until_it_works(self, &r));
        s->in_till = r.is.balance;
        s->equal += r.is.entries == s->moves && r.is.entries == c->entries && r.is.digest == c->digest;
    }
    return TR_OK;
}

static tr_err ask_server(show *s)
{
    tr_error error = {0};
    const char *join[] = {s->address, NULL};
    tr_node *node = tr_node_create(
        &(tr_node_opts){.name = "judge", .join = join, .start = judge, .arg = s, .log_level = TR_LOG_ERROR},
        &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    snprintf(s->text, sizeof(s->text), "%s", error.text);
    return err;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool report(show *s)
{
    int64_t purses = 0, all = (int64_t)s->clients * PURSE;
    for (uint64_t i = 0; i < s->clients; i++) {
        child *c = &s->client[i];
        qsort(c->us, c->moves, sizeof(c->us[0]), by_size);
        printf("%s  %" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64
               " unknown and resolved, p50 %.1f ms\n",
               c->name, c->entries, c->aborted, c->unknown, (double)c->us[c->moves / 2] / 1000);
        purses += c->balance;
    }
    if (s->killed[0])
        printf("kill -9 of %s and, later, of the server; both were started again\n", s->killed);
    printf("%" PRId64 " coins in the purses, %" PRId64 " in the till: %s\n", purses, s->in_till,
           purses + s->in_till == all ? "none is missing" : "THE SUM IS WRONG");
    printf("%" PRIu64 " of %" PRIu64 " journals are the same on both sides\n", s->equal, s->clients);
    return purses + s->in_till == all && s->equal == s->clients;
}

/* ---- options, and what is left ------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

static bool number_in(const char *text, uint64_t most, uint64_t *out)
{
    *out = text ? strtoull(text, NULL, 10) : 0;
    return *out >= 1 && *out <= most;
}

static bool options(show *s, char **argv)
{
    bool good = true;
    for (; *argv && good; argv++) {
        if (strcmp(*argv, "--kill") == 0)
            s->kill = true;
        else if (strcmp(*argv, "--clients") == 0)
            good = number_in(*++argv, CLIENTS_MAX, &s->clients);
        else if (strcmp(*argv, "--moves") == 0)
            good = number_in(*++argv, MOVES_MAX, &s->moves);
        else if (strcmp(*argv, "--data") == 0 && argv[1] && strlen(argv[1]) < sizeof(s->directory))
            snprintf(s->directory, sizeof(s->directory), "%s", *++argv);
        else
            good = false;
        if (!*argv)
            break;
    }
    return good;
}

static bool run(show *s)
{
    if (!s->directory[0]) {
        const char *parent = getenv("TMPDIR");
        snprintf(s->directory, sizeof(s->directory), "%.200s/transfer-XXXXXX", parent ? parent : "/tmp");
        s->temporary = mkdtemp(s->directory) != NULL;
    }
    printf("%" PRIu64 " clients, each a node of its own, make %" PRIu64 " moves each\n", s->clients,
           s->moves);
    fflush(stdout); /* or each child would have it, too */
    bool good = pipe2(s->pipe, O_CLOEXEC) == 0 && play(s) && ask_server(s) == TR_OK;
    good = good && report(s);
    end(&s->server);
    for (uint64_t i = 0; i < s->clients; i++)
        end(&s->client[i]);
    if (s->temporary)
        nftw(s->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!good)
        fprintf(stderr, "transfer: %s\n", interrupted ? "interrupted, or too slow" : s->text);
    return good;
}

int main(int argc, char **argv)
{
    static show s = {.clients = 10, .moves = 20, .address = "127.0.0.1:0", .server.name = "server"};
    if (argc == 6 && strcmp(argv[1], "--node") == 0)
        return node_main(argv + 2);
    if (!options(&s, argv + 1)) {
        fprintf(stderr, "usage: transfer [--clients 1-%d] [--moves 1-%d] [--kill] [--data DIR]\n",
                CLIENTS_MAX, MOVES_MAX);
        return 2;
    }
    for (uint64_t i = 0; i < s.clients; i++)
        snprintf(s.client[i].name, sizeof(s.client[i].name), "c%02u", (unsigned)i % 100 + 1);
    struct sigaction act = {.sa_handler = on_signal}; /* no SA_RESTART: reading ends */
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGALRM, &act, NULL);
    alarm(120);
    return run(&s) ? 0 : 1;
}
