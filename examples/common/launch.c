/* See launch.h. Nodes end with this process, however it ends; what they write is in a temporary directory, but for the
 * history if --history says where. */
#include "examples/common/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_BYTES 256
#define LIMIT_MS   60000 /* more than the clients' time that all may take */
#define ARGS_MAX   40

typedef struct node {
    pid_t pid;
    char address[64];
    bool listens, done;
} node;

typedef struct show {
    const workload *w;
    uint32_t nodes, clients, seconds;
    bool kill;
    char directory[PATH_BYTES], history[PATH_BYTES];
    uint64_t since_ms, until_ms;
    int pipe[2];
    char said[4096]; /* a line under way */
    size_t used;
    node node[CLUSTER_NODES_MAX];
    uint64_t committed, aborted, unknown;
} show;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

/* ---- processes ------------------------------------------------------------------------------------------ */

typedef struct words {
    char text[ARGS_MAX][PATH_BYTES];
    char *argv[ARGS_MAX + 1];
    int count;
} words;

__attribute__((format(printf, 2, 3))) static void add(words *all, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(all->text[all->count], PATH_BYTES, format, args);
    all->argv[all->count] = all->text[all->count];
    all->argv[++all->count] = NULL;
    va_end(args);
}

static pid_t run(show *s, const words *all, bool to_us)
{
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* however we end */
    if (getppid() != parent)
        _exit(1);
    if (to_us)
        dup2(s->pipe[1], 1);
    execv("/proc/self/exe", all->argv);
    _exit(127);
}

/* It joins those before it, and they meet it again when it is started again: its address stays. */
static void start(show *s, uint32_t index)
{
    static words all;
    node *n = &s->node[index];
    all.count = 0;
    add(&all, "%s", s->w->name);
    add(&all, "--node");
    add(&all, "--name");
    add(&all, "n%u", index);
    add(&all, "--log");
    add(&all, "error");
    add(&all, "--data");
    add(&all, "%s", s->directory);
    add(&all, "--listen");
    add(&all, "%s", n->address[0] ? n->address : "127.0.0.1:0");
    for (uint32_t i = 0; i < index; i++) {
        add(&all, "--join");
        add(&all, "%s", s->node[i].address);
    }
    add(&all, "%u", index);
    add(&all, "%u", s->nodes);
    add(&all, "%u", s->clients);
    add(&all, "%" PRIu64, s->since_ms);
    add(&all, "%" PRIu64, s->until_ms);
    add(&all, "%s", s->history);
    add(&all, "0");
    n->listens = n->done = false;
    n->pid = run(s, &all, true);
}

static void end(node *n)
{
    if (n->pid <= 0)
        return;
    kill(n->pid, SIGKILL);
    waitpid(n->pid, NULL, 0);
    n->pid = 0;
}

/* True: all is well, in its opinion. */
static bool judge(show *s)
{
    static words all;
    int status = 0;
    add(&all, "%s", s->w->name);
    add(&all, "--judge");
    add(&all, "--name");
    add(&all, "judge");
    add(&all, "--log");
    add(&all, "error");
    for (uint32_t i = 0; i < s->nodes; i++) {
        add(&all, "--join");
        add(&all, "%s", s->node[i].address);
    }
    add(&all, "%u", s->nodes);
    add(&all, "%" PRIu64, s->since_ms);
    add(&all, "%" PRIu64, s->until_ms);
    add(&all, "%s", s->history);
    fflush(stdout);
    pid_t pid = run(s, &all, false);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR && !interrupted) {
    }
    if (interrupted)
        kill(pid, SIGKILL);
    return pid > 0 && !interrupted && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- what they say -------------------------------------------------------------------------------------- */

static void on_line(show *s, const char *line)
{
    uint32_t index;
    char what[16], rest[64] = "";
    uint64_t c = 0, a = 0, u = 0;
    if (sscanf(line, "n%u %15s %63[^\n]", &index, what, rest) < 2 || index >= s->nodes)
        return;
    node *n = &s->node[index];
    if (strcmp(what, "listens") == 0) {
        snprintf(n->address, sizeof(n->address), "%s", rest);
        n->listens = true;
    } else if (strcmp(what, "done") == 0 &&
               sscanf(rest, "%" SCNu64 " %" SCNu64 " %" SCNu64, &c, &a, &u) == 3) {
        n->done = true;
        s->committed += c;
        s->aborted += a;
        s->unknown += u;
    }
}

/* Until *enough, or that time. */
static void listen_to_them(show *s, uint64_t until_ms, const bool *enough)
{
    while (!interrupted && !(enough && *enough)) {
        uint64_t now = cluster_now_ms();
        struct pollfd says = {.fd = s->pipe[0], .events = POLLIN};
        if (now >= until_ms || poll(&says, 1, (int)(until_ms - now)) <= 0)
            return;
        ssize_t got = read(s->pipe[0], s->said + s->used, sizeof(s->said) - 1 - s->used);
        s->used += got > 0 ? (size_t)got : 0;
        s->said[s->used] = '\0';
        char *line = s->said;
        for (char *over; (over = strchr(line, '\n')); line = over + 1) {
            *over = '\0';
            on_line(s, line);
        }
        s->used = strlen(line);
        memmove(s->said, line, s->used + 1);
    }
}

/* ---- the show ------------------------------------------------------------------------------------------- */

static bool play(show *s)
{
    s->since_ms = cluster_now_ms();
    s->until_ms = s->since_ms + s->seconds * 1000;
    for (uint32_t i = 0; i < s->nodes; i++) {
        start(s, i);
        listen_to_them(s, s->until_ms, &s->node[i].listens);
        if (!s->node[i].listens)
            return false;
    }
    if (s->kill) {
        uint32_t index = (uint32_t)(s->since_ms % s->nodes);
        listen_to_them(s, (s->since_ms + s->until_ms) / 2, NULL);
        printf("kill -9 of n%u, which is started again\n", index);
        end(&s->node[index]);
        start(s, index);
    }
    for (uint32_t i = 0; i < s->nodes; i++) {
        listen_to_them(s, s->until_ms + LIMIT_MS, &s->node[i].done);
        if (!s->node[i].done)
            return false;
    }
    printf("%" PRIu64 " committed, %" PRIu64 " aborted, %" PRIu64 " unknown at first\n", s->committed,
           s->aborted, s->unknown);
    return judge(s);
}

static bool number_in(const char *text, uint32_t least, uint32_t most, uint32_t *out)
{
    *out = text ? (uint32_t)strtoul(text, NULL, 10) : 0;
    return *out >= least && *out <= most;
}

static bool options(show *s, char **argv)
{
    for (; *argv; argv++) {
        if (strcmp(*argv, "--kill") == 0)
            s->kill = true;
        else if (!argv[1])
            return false;
        else if (strcmp(*argv, "--nodes") == 0 && number_in(argv[1], 2, CLUSTER_NODES_MAX, &s->nodes))
            argv++;
        else if (strcmp(*argv, "--clients") == 0 && number_in(argv[1], 1, CLUSTER_CLIENTS_MAX, &s->clients))
            argv++;
        else if (strcmp(*argv, "--seconds") == 0 && number_in(argv[1], 2, 600, &s->seconds))
            argv++;
        else if (strcmp(*argv, "--history") == 0 && strlen(argv[1]) < sizeof(s->history))
            snprintf(s->history, sizeof(s->history), "%s", *++argv);
        else
            return false;
    }
    return true;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

static bool make_directories(show *s)
{
    const char *parent = getenv("TMPDIR");
    snprintf(s->directory, sizeof(s->directory), "%.200s/%s-XXXXXX", parent ? parent : "/tmp", s->w->name);
    if (!mkdtemp(s->directory))
        return false;
    if (!s->history[0]) {
        snprintf(s->history, sizeof(s->history), "%s", s->directory);
        return true;
    }
    return mkdir(s->history, 0777) == 0 || errno == EEXIST;
}

int launch(int argc, char **argv, const workload *w)
{
    static show s = {.nodes = 3, .clients = 4, .seconds = 5};
    struct sigaction act = {.sa_handler = on_signal};
    (void)argc;
    s.w = w;
    if (!options(&s, argv + 1)) {
        fprintf(stderr,
                "usage: %s [--nodes 2-%d] [--clients 1-%d] [--seconds 2-600] [--kill] [--history DIR]\n",
                w->name, CLUSTER_NODES_MAX, CLUSTER_CLIENTS_MAX);
        return 2;
    }
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    printf("%u nodes with %s, %u clients each, for %u s\n", s.nodes, w->what, s.clients, s.seconds);
    fflush(stdout); /* or each child would have it, too */
    bool good = make_directories(&s) && pipe2(s.pipe, O_CLOEXEC) == 0 && play(&s);
    for (uint32_t i = 0; i < s.nodes; i++)
        end(&s.node[i]);
    if (s.directory[0])
        nftw(s.directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (!good)
        fprintf(stderr, "%s: %s\n", w->name, interrupted ? "interrupted" : "it failed, or was too slow");
    return good ? 0 : 1;
}
