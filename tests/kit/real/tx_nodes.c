/* The processes of a cycle, and where they live. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "tests/kit/real/tx_cycle.h"
#include "transport/key_os.h"

#define HOME_PREFIX "troupe-tx-"
#define DISK        "size=96m,mode=0700" /* of a node whose disk becomes full: more than its log grows to */
#define STALL_MS    3000                 /* that a wait may take longer than it should */
#define WORDS_MAX   48
#define WORD_BYTES  128

void tx_fail(tx_cycle *c, const char *format, ...)
{
    va_list args;
    if (c->failed)
        return;
    c->failed = true;
    va_start(args, format);
    vsnprintf(c->what, sizeof(c->what), format, args);
    va_end(args);
}

/* ---- home ------------------------------------------------------------------------------------------------ */

static void remove_tree(const char *path)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    if (system(command) != 0)
        fprintf(stderr, "%s can't be removed\n", path);
}

/* Those of cycles that were killed. */
static void remove_leftovers(void)
{
    DIR *tmp = opendir("/tmp");
    for (struct dirent *entry; tmp && (entry = readdir(tmp));) {
        char path[64];
        long pid = strncmp(entry->d_name, HOME_PREFIX, strlen(HOME_PREFIX)) == 0
                       ? atol(entry->d_name + strlen(HOME_PREFIX))
                       : 0;
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        snprintf(path, sizeof(path), "/tmp/" HOME_PREFIX "%ld", pid);
        remove_tree(path);
    }
    if (tmp)
        closedir(tmp);
}

/* A node whose disk is to become full has a small one of its own; nobody else sees it, and it ends with us. */
static bool make_disk(tx_cycle *c, uint32_t node)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/n%u", c->home, node);
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mkdir(path, 0700) == 0 && mount("tmpfs", path, "tmpfs", 0, DISK) == 0)
        return true;
    tx_fail(c, "no small disk for n%u: %s", node, strerror(errno));
    return false;
}

bool tx_home_make(tx_cycle *c)
{
    tr_error error;
    snprintf(c->home, sizeof(c->home), "/tmp/" HOME_PREFIX "%ld", (long)getpid());
    snprintf(c->key, sizeof(c->key), "%s/key", c->home);
    snprintf(c->history, sizeof(c->history), "%s/history", c->home);
    remove_leftovers();
    remove_tree(c->home);
    if (mkdir(c->home, 0700) != 0 || mkdir(c->history, 0700) != 0) {
        tx_fail(c, "%s can't be made: %s", c->home, strerror(errno));
        return false;
    }
    setenv("XDG_RUNTIME_DIR", c->home, 1); /* the operator sockets of these nodes, and of nobody else */
    if (tr__key_create(c->key, &error) != TR_OK)
        tx_fail(c, "%s", error.text);
    for (uint32_t i = 0; i < c->plan.count && !c->failed; i++)
        if (c->plan.steps[i].what == TX_FULL)
            make_disk(c, c->plan.steps[i].node);
    return !c->failed;
}

static void keep(const tx_cycle *c)
{
    char command[512];
    snprintf(command, sizeof(command),
             "mkdir -p '%s' && rm -rf '%s/%" PRIu64 "' && cp -r %s '%s/%" PRIu64 "'", c->keep, c->keep,
             c->plan.seed, c->home, c->keep, c->plan.seed);
    if (system(command) != 0)
        fprintf(stderr, "%s can't be copied to %s\n", c->home, c->keep);
}

void tx_home_remove(tx_cycle *c)
{
    char path[96];
    for (uint32_t i = 0; i < c->plan.nodes; i++)
        tx_node_kill(c, i);
    if (c->failed && c->keep)
        keep(c);
    for (uint32_t i = 0; i < c->plan.count; i++)
        if (c->plan.steps[i].what == TX_FULL) {
            snprintf(path, sizeof(path), "%s/n%u", c->home, c->plan.steps[i].node);
            umount2(path, MNT_DETACH);
        }
    remove_tree(c->home);
}

void tx_logs_show(const tx_cycle *c)
{
    char command[160];
    for (uint32_t i = 0; i < c->plan.nodes; i++) {
        fprintf(stderr, "---- n%u, the end of its log\n", i);
        snprintf(command, sizeof(command), "tail -n 15 %s/n%u.log >&2", c->home, i);
        if (system(command) != 0)
            fprintf(stderr, "(none)\n");
    }
}

/* What a node says only if something is wrong with it, or with another. */
static bool is_bad(const char *line)
{
    return strncmp(line, "error: ", 7) == 0 || strstr(line, "a frame of transactions from ");
}

void tx_logs_check(tx_cycle *c)
{
    char path[96], *line = NULL;
    size_t room = 0;
    for (uint32_t i = 0; i < c->plan.nodes; i++) {
        snprintf(path, sizeof(path), "%s/n%u.log", c->home, i);
        FILE *file = fopen(path, "re");
        while (file && getline(&line, &room, file) > 0)
            if (is_bad(line))
                tx_fail(c, "n%u: %.*s", i, (int)strcspn(line, "\n"), line);
        if (file)
            fclose(file);
    }
    free(line);
}

/* ---- a node ---------------------------------------------------------------------------------------------- */

typedef struct words {
    char text[WORDS_MAX][WORD_BYTES];
    char *argv[WORDS_MAX + 1];
    int count;
} words;

__attribute__((format(printf, 2, 3))) static void add(words *all, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(all->text[all->count], WORD_BYTES, format, args);
    all->argv[all->count] = all->text[all->count];
    all->argv[++all->count] = NULL;
    va_end(args);
}

/* `index`: of the node, or c->plan.nodes for the judge, which joins all. */
static void add_options(words *all, const tx_cycle *c, uint32_t index)
{
    char address[REAL_ADDRESS_MAX];
    add(all, "--cluster");
    add(all, "long-tx");
    if (c->lan.split) {
        add(all, "--key");
        add(all, "%s", c->key);
    }
    if (c->plan.hears_silence) {
        add(all, "--heartbeat");
        add(all, "100");
        add(all, "--silence");
        add(all, "1.5");
    }
    for (uint32_t i = 0; i < c->plan.nodes; i++) {
        if (i == index)
            continue;
        real_lan_address(&c->lan, i, address);
        add(all, "--join");
        add(all, "%s", address);
    }
}

static void node_words(words *all, const tx_cycle *c, uint32_t index)
{
    char address[REAL_ADDRESS_MAX];
    real_lan_address(&c->lan, index, address);
    all->count = 0;
    add(all, "%s/examples/%s", c->bin, c->plan.workload);
    add(all, "--node");
    add(all, "--name");
    add(all, "n%u", index);
    add(all, "--log");
    add(all, "info");
    add(all, "--data");
    add(all, "%s/n%u", c->home, index);
    add(all, "--listen");
    add(all, "%s", address);
    add_options(all, c, index);
    add(all, "%u", index);
    add(all, "%u", c->plan.nodes);
    add(all, "%u", c->plan.clients);
    add(all, "%" PRIu64, c->began_ms);
    add(all, "%" PRIu64, c->began_ms + c->plan.load_ms + 1000);
    add(all, "%s", c->history);
    add(all, "%u", c->plan.note_bytes);
}

/* In the forked child. */
static void become(const tx_cycle *c, uint32_t index, const words *all, int says, const char *kill_at)
{
    char log[96];
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(log, sizeof(log), "%s/n%u.log", c->home, index);
    int file = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (c->lan.split && setns(c->lan.space[index], CLONE_NEWNET) != 0)
        _exit(126);
    if (kill_at)
        setenv("TROUPE_TX_KILL", kill_at, 1);
    if (file >= 0 && dup2(says, 1) >= 0 && dup2(file, 2) >= 0)
        execv(all->argv[0], all->argv);
    _exit(127);
}

void tx_node_start(tx_cycle *c, uint32_t index)
{
    static words all;
    tx_node *node = &c->nodes[index];
    int out[2];
    node_words(&all, c, index);
    if (pipe2(out, O_CLOEXEC) != 0) {
        tx_fail(c, "no pipe for n%u: %s", index, strerror(errno));
        return;
    }
    node->armed = node->next;
    node->next = NULL;
    node->again_ms = 0;
    node->done = false;
    node->used = 0;
    node->says = out[0];
    node->pid = fork();
    if (node->pid == 0)
        become(c, index, &all, out[1], node->armed ? node->armed->point : NULL);
    close(out[1]);
    if (node->pid < 0)
        tx_fail(c, "no process for n%u: %s", index, strerror(errno));
}

static int reap(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* 0, or how it ended. */
static int let_go(tx_node *node)
{
    int status = reap(node->pid);
    close(node->says);
    node->pid = 0;
    return status;
}

void tx_node_kill(tx_cycle *c, uint32_t index)
{
    tx_node *node = &c->nodes[index];
    if (node->pid <= 0)
        return;
    kill(node->pid, SIGKILL);
    let_go(node);
    node->armed = NULL;
}

/* ---- what they say --------------------------------------------------------------------------------------- */

static void ended(tx_cycle *c, uint32_t index)
{
    tx_node *node = &c->nodes[index];
    int status = let_go(node);
    if (node->armed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        c->fired[node->armed - c->plan.steps] = true;
        node->again_ms = real_now_ms() + node->armed->for_ms;
        node->armed = NULL;
        return;
    }
    tx_fail(c, "n%u ended by itself, with %s %d", index, WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static void hear(tx_cycle *c, uint32_t index)
{
    tx_node *node = &c->nodes[index];
    ssize_t got = read(node->says, node->said + node->used, sizeof(node->said) - 1 - node->used);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (got <= 0) {
        ended(c, index);
        return;
    }
    node->used += (size_t)got;
    node->said[node->used] = '\0';
    char *line = node->said;
    for (char *over; (over = strchr(line, '\n')); line = over + 1) {
        *over = '\0';
        node->listened = node->listened || strstr(line, " listens ");
        node->done = node->done || strstr(line, " done ");
    }
    node->used = strlen(line);
    memmove(node->said, line, node->used + 1);
}

/* Wait for one of them for at most a second: as poll. What is blocked elsewhere, signals, comes in here only, so all is
 * always cleaned up. Whether this machine stood still meanwhile, and with it all that is timed, is noted. */
static int wait_for(struct pollfd *all, uint32_t count, uint64_t until)
{
    uint64_t now = real_now_ms(), left = until > now ? until - now : 0;
    sigset_t none;
    sigemptyset(&none);
    left = left < 1000 ? left : 1000;
    struct timespec in = {.tv_sec = (time_t)(left / 1000), .tv_nsec = (long)(left % 1000) * 1000000};
    int ready = ppoll(all, count, &in, &none);
    if (real_now_ms() > now + left + STALL_MS)
        tx_stood_still = true;
    return ready;
}

void tx_nodes_listen(tx_cycle *c, uint32_t ms)
{
    uint64_t until = real_now_ms() + ms;
    if (tx_interrupted) /* while another program ran */
        tx_fail(c, "interrupted");
    if (tx_stood_still)
        tx_fail(c, "the machine stood still");
    while (!c->failed && real_now_ms() < until) {
        struct pollfd all[TX_NODES_MAX];
        for (uint32_t i = 0; i < c->plan.nodes; i++)
            all[i] = (struct pollfd){.fd = c->nodes[i].pid > 0 ? c->nodes[i].says : -1, .events = POLLIN};
        if (wait_for(all, c->plan.nodes, until) < 0) {
            tx_fail(c, "interrupted: %s", strerror(errno));
            return;
        }
        for (uint32_t i = 0; i < c->plan.nodes; i++)
            if (all[i].revents)
                hear(c, i);
    }
    for (uint32_t i = 0; i < c->plan.nodes && !c->failed; i++)
        if (c->nodes[i].again_ms && c->nodes[i].again_ms <= real_now_ms())
            tx_node_start(c, i);
}

/* ---- other programs -------------------------------------------------------------------------------------- */

/* Of what it prints, what fits; all is read, so that it doesn't wait for a reader. False: it takes too long. */
static bool read_all(int from, uint64_t until, char *out, size_t room)
{
    char piece[4096];
    size_t used = 0;
    for (;;) {
        struct pollfd says = {.fd = from, .events = POLLIN};
        int ready = wait_for(&says, 1, until);
        if (ready == 0 && real_now_ms() < until)
            continue;
        ssize_t got = ready == 1 ? read(from, piece, sizeof(piece)) : -1;
        if (got <= 0) {
            out[used] = '\0';
            return got == 0;
        }
        size_t fits = (size_t)got < room - 1 - used ? (size_t)got : room - 1 - used;
        memcpy(out + used, piece, fits);
        used += fits;
    }
}

int tx_run(char *const *argv, uint32_t seconds, char *out, size_t room)
{
    int pipes[2];
    out[0] = '\0';
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        sigset_t none;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        execv(argv[0], argv);
        _exit(127);
    }
    close(pipes[1]);
    if (pid > 0 && !read_all(pipes[0], real_now_ms() + seconds * 1000, out, room))
        kill(pid, SIGKILL);
    close(pipes[0]);
    int status = pid > 0 ? reap(pid) : -1;
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int tx_judge(tx_cycle *c, char *out, size_t room)
{
    static words all;
    all.count = 0;
    add(&all, "%s/examples/%s", c->bin, c->plan.workload);
    add(&all, "--judge");
    add(&all, "--name");
    add(&all, "judge");
    add(&all, "--operator");
    add(&all, "none");
    add_options(&all, c, c->plan.nodes);
    add(&all, "%u", c->plan.nodes);
    add(&all, "%" PRIu64, c->began_ms);
    add(&all, "%" PRIu64, c->began_ms + c->plan.load_ms + 1000);
    add(&all, "%s", c->history);
    return tx_run(all.argv, 60, out, room);
}
