/* `troupe up FILE`: runs the nodes of a file as processes, starts them again as it says, and ends them in reverse order.
 * The main thread.
 *
 *     each starts when all above it are up ─► run ─► Ctrl-C, SIGTERM, or one that is given up ─► end, the last first
 *
 * What can fail: the file (told with line and column, nothing is started); a node that doesn't come up, or ends too often
 * (all are ended, exit status 1); one that doesn't end within END_WITHIN (it is killed, exit status 1). A second Ctrl-C
 * kills all. No node outlives this process: each is killed with it. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/stderr_os.h"
#include "cli/cli.h"
#include "cli/colour.h"
#include "cli/options.h"
#include "cli/up/up.h"
#include "cli/words.h"

#define END_WITHIN  TR_SECONDS(10)
#define BACKOFF_MIN TR_MILLIS(200)
#define BACKOFF_MAX TR_SECONDS(5)

static const char usage[] = "usage: troupe up FILE [--check | --page [PORT]]\n"
                            "  runs the nodes of a YAML file (docs/up.md describes it), and starts them\n"
                            "  again as it says; Ctrl-C ends them, the last first, a second one kills them\n"
                            "  --check        only tell whether the file is right\n"
                            "  --page [PORT]  show the nodes in a browser as well, on that port of this\n"
                            "                 machine (default: a free one; its address is told)\n";

typedef struct up_opts {
    bool check, page;
    uint16_t port; /* 0: a free one */
} up_opts;

uint64_t up_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool has_process(const up_child *child)
{
    return child->state == UP_COMING || child->state == UP_UP || child->state == UP_ENDING;
}

/* ---- ending -------------------------------------------------------------------------------------------- */

static void end_all(up *u)
{
    if (u->ending)
        return;
    u->ending = true;
    for (unsigned i = 0; i < u->count; i++)
        if (u->children[i].state == UP_WAITING)
            up_child_move(&u->children[i], UP_ENDED);
}

static void give_up(up *u)
{
    u->failed = true;
    end_all(u);
}

/* One at a time, the last first. */
static void end_next(up *u)
{
    for (unsigned i = u->count; i-- > 0;) {
        up_child *child = &u->children[i];
        if (!has_process(child))
            continue;
        if (child->state != UP_ENDING) {
            kill(child->pid, SIGTERM);
            child->due_ns = up_now() + END_WITHIN;
            up_child_move(child, UP_ENDING);
        } else if (up_now() >= child->due_ns) {
            up_say(u, child, "doesn't end: killed");
            kill(child->pid, SIGKILL);
            child->due_ns = UINT64_MAX;
        }
        return;
    }
}

static void kill_all(up *u)
{
    u->failed = true;
    for (unsigned i = 0; i < u->count; i++)
        if (has_process(&u->children[i]))
            kill(u->children[i].pid, SIGKILL);
}

/* ---- one that ended ------------------------------------------------------------------------------------ */

static const char *how(int status, char *out, size_t room)
{
    if (WIFSIGNALED(status))
        snprintf(out, room, "by signal %d", WTERMSIG(status));
    else
        snprintf(out, room, "with status %d", WEXITSTATUS(status));
    return out;
}

static bool wanted_back(const up_child *child, int status)
{
    return child->node->restart == TR_PERMANENT || (child->node->restart == TR_TRANSIENT && status != 0);
}

/* As supervisors count: the oldest of the last restarts_max is within the window. */
static bool too_many(up_child *child, uint64_t now)
{
    uint64_t *oldest = &child->restarts[child->restart_next], window = child->node->within_ns;
    uint32_t newest = (child->restart_next + child->node->restarts_max - 1) % child->node->restarts_max;
    bool over = *oldest && now - *oldest <= window;
    child->in_a_row =
        child->restarts[newest] && now - child->restarts[newest] <= window ? child->in_a_row + 1 : 0;
    *oldest = now;
    child->restart_next = (child->restart_next + 1) % child->node->restarts_max;
    return over;
}

static void start_again(up *u, up_child *child, int status)
{
    char words[32];
    uint64_t now = up_now(), wait = BACKOFF_MIN;
    if (too_many(child, now)) {
        up_say(u, child, "ended %s, and did so more than %u times in %llu s: all are ended",
               how(status, words, sizeof(words)), child->node->restarts_max,
               (unsigned long long)(child->node->within_ns / 1000000000u));
        up_child_move(child, UP_ENDED);
        give_up(u);
        return;
    }
    for (unsigned i = 0; i < child->in_a_row && wait < BACKOFF_MAX; i++)
        wait *= 2;
    wait = wait < BACKOFF_MAX ? wait : BACKOFF_MAX;
    up_say(u, child, "ended %s; starts again in %.1f s", how(status, words, sizeof(words)),
           (double)wait / 1e9);
    child->due_ns = now + wait;
    up_child_move(child, UP_WAITING);
}

static void on_ended(up *u, up_child *child, int status)
{
    char words[32];
    child->ended_badly = status != 0;
    if (child->state == UP_ENDING || u->ending) {
        u->failed = u->failed || status != 0;
        up_say(u, child, "ended %s", how(status, words, sizeof(words)));
        up_child_move(child, UP_ENDED);
    } else if (!child->ups) {
        up_say(u, child, "ended %s before it was up: all are ended%s%s", how(status, words, sizeof(words)),
               child->last[0] ? "; its last words: " : "", child->last);
        up_child_move(child, UP_ENDED);
        give_up(u);
    } else if (wanted_back(child, status)) {
        start_again(u, child, status);
    } else {
        u->failed = u->failed || status != 0;
        up_say(u, child, "ended %s, and isn't started again", how(status, words, sizeof(words)));
        up_child_move(child, UP_ENDED);
    }
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

/* Each that is due; at first only when those above it have been up. */
static void start_due(up *u)
{
    bool above_up = true;
    for (unsigned i = 0; i < u->count && !u->ending; i++) {
        up_child *child = &u->children[i];
        if (child->state == UP_WAITING && up_now() >= child->due_ns && (child->ups || above_up) &&
            !up_child_start(u, i)) {
            up_child_move(child, UP_ENDED);
            give_up(u);
        }
        above_up = above_up && (child->ups || child->state == UP_ENDED);
    }
}

static int wait_ms(const up *u)
{
    uint64_t now = up_now(), due = UINT64_MAX;
    for (unsigned i = 0; i < u->count; i++) {
        const up_child *child = &u->children[i];
        bool timed = child->state == UP_ENDING || (child->state == UP_WAITING && child->ups);
        due = timed && child->due_ns < due ? child->due_ns : due;
    }
    if (due == UINT64_MAX)
        return -1;
    return due <= now ? 0 : (int)((due - now) / 1000000u) + 1;
}

static void take_signals(up *u, int signals)
{
    struct signalfd_siginfo info;
    int status;
    while (read(signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (u->ending && info.ssi_signo == SIGINT) {
            up_say(u, NULL, "killing all");
            kill_all(u);
        } else if (!u->ending) {
            up_say(u, NULL, "ending all, the last first; Ctrl-C again kills them");
            end_all(u);
        }
    }
    for (unsigned i = 0; i < u->count; i++)
        if (up_child_reap(u, i, &status))
            on_ended(u, &u->children[i], status);
}

static bool all_ended(const up *u)
{
    for (unsigned i = 0; i < u->count; i++)
        if (u->children[i].state != UP_ENDED)
            return false;
    return true;
}

static void run(up *u, int signals)
{
    struct pollfd ready[UP_NODES_MAX + 1];
    while (!all_ended(u)) {
        start_due(u);
        if (u->ending)
            end_next(u);
        up_page_look(u);
        ready[0] = (struct pollfd){.fd = signals, .events = POLLIN};
        for (unsigned i = 0; i < u->count; i++)
            ready[i + 1] = (struct pollfd){.fd = u->children[i].out, .events = POLLIN}; /* -1: passed over */
        if (all_ended(u) || (poll(ready, u->count + 1, wait_ms(u)) < 0 && errno != EINTR))
            break;
        for (unsigned i = 0; i < u->count; i++)
            if (ready[i + 1].revents)
                up_child_read(u, i);
        take_signals(u, signals);
        if (ferror(stdout)) /* who reads us is gone */
            give_up(u);
    }
}

/* ---- the command --------------------------------------------------------------------------------------- */

static bool prepare(up *u)
{
    u->count = u->file->nodes_count;
    u->colour = cli_colours(STDOUT_FILENO);
    u->name_width = 2;
    u->children = calloc(u->count, sizeof(*u->children));
    for (unsigned i = 0; u->children && i < u->count; i++) {
        up_child *child = &u->children[i];
        const up_node *node = &u->file->nodes[i];
        *child = (up_child){.node = node, .colour = (int)i, .out = -1};
        child->restarts = calloc(node->restarts_max, sizeof(*child->restarts));
        if (!child->restarts)
            return false;
        int width = (int)strlen(node->name);
        u->name_width = width > u->name_width ? width : u->name_width;
    }
    return u->children != NULL;
}

/* Signals come by a descriptor; those of the terminal are for this process alone (cli/child.h). */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* What runs the file, and the page if it is to be had; false: nothing was started, and it was said why. */
static bool begin(up *u, const up_opts *opts, int *signals)
{
    tr_error error;
    if (!prepare(u) || (*signals = open_signals()) < 0) {
        fprintf(stderr, "troupe up: %s\n", strerror(errno));
        return false;
    }
    up_say(u, NULL, "%u node%s of cluster %s; `troupe ps` shows them", u->count, cli_s(u->count),
           u->file->cluster ? u->file->cluster : "troupe");
    if (opts->page && up_page_open(u, opts->port, &error) != TR_OK) {
        fprintf(stderr, "troupe up: %s; nothing was started%s\n", error.text,
                opts->port ? "; --page PORT takes another port, --page alone a free one" : "");
        return false;
    }
    return true;
}

static int run_file(up *u, const up_opts *opts)
{
    int signals = -1;
    u->failed = !begin(u, opts, &signals);
    if (!u->failed) {
        run(u, signals);
        up_say(u, NULL, u->failed ? "all have ended, not all of them well" : "all have ended well");
        up_page_close(u);
    }
    if (signals >= 0)
        close(signals);
    for (unsigned i = 0; u->children && i < u->count; i++)
        free(u->children[i].restarts);
    free(u->children);
    return u->failed ? 1 : 0;
}

/* `--page` may be followed by a number. */
static bool take_port(int argc, char **argv, up_opts *opts)
{
    double port = 0;
    const char *text = optarg;
    if (!text && optind < argc && argv[optind][0] && !argv[optind][strspn(argv[optind], "0123456789")])
        text = argv[optind++];
    opts->page = true;
    if (text && !cli_number("up", "--page", text, 1, UINT16_MAX, true, &port))
        return false;
    opts->port = (uint16_t)port;
    return true;
}

/* -1: go on; else the exit status. */
static int take_options(int argc, char **argv, up_opts *opts)
{
    static const struct option options[] = {{"check", no_argument, NULL, 'c'},
                                            {"page", optional_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'p' && !take_port(argc, argv, opts))
            return 2;
        if (option == 'c')
            opts->check = true;
        else if (option != 'p') {
            fprintf(option == 'h' ? stdout : stderr, "%s", usage);
            return option == 'h' ? 0 : 2;
        }
    }
    if (argc - optind == 1 && !(opts->check && opts->page))
        return -1;
    fprintf(stderr, "%s", usage);
    return 2;
}

int cli_up(int argc, char **argv)
{
    up u = {.path = NULL};
    up_opts opts = {.check = false};
    tr_error error;
    argv[0] = "troupe up";
    int status = take_options(argc, argv, &opts);
    if (status >= 0)
        return status;
    u.path = argv[optind];
    u.file = up_file_load(u.path, &error);
    if (!u.file) {
        tr__stderr_line("troupe up", error.text);
        return 2;
    }
    if (opts.check)
        printf("%s is right: %u node%s\n", u.path, u.file->nodes_count, cli_s(u.file->nodes_count));
    status = opts.check ? 0 : run_file(&u, &opts);
    up_file_free(u.file);
    return status;
}
