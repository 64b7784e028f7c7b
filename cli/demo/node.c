/* A node of the demo: its process, its first actor, and the measure of its loop's lateness. The main thread,
 * then the node's loops. It ends when the demo says so, by SIGTERM, and when the demo's process is gone; on
 * standard output it then leaves one line with its sums. Errors go to standard error, which is its log. */
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <troupe/node.h>

#include "actors/driver/stopper_os.h"
#include "actors/node.h"
#include "actors/remote/remote.h"
#include "base/histogram.h"
#include "cli/cli.h"
#include "cli/demo/files.h"
#include "cli/demo/node.h"
#include "cli/demo/sums.h"

#define OBSERVER_WAIT TR_SECONDS(10)

uint64_t demo_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- lateness ------------------------------------------------------------------------------------------ */

TR_MESSAGE(lateness_tick, (u64, due))

#define LATENESS_EVERY  TR_MILLIS(10)
#define LATENESS_REPORT 50 /* ticks */

typedef struct lateness {
    const demo_role_arg *arg;
    tr__histogram window, total;
} lateness;

static tr_err lateness_init(tr_actor *self, void *state, const void *arg)
{
    lateness *l = state;
    l->arg = arg;
    tr_after(self, LATENESS_EVERY, lateness_tick, .due = demo_now() + LATENESS_EVERY);
    return TR_OK;
}

/* For the page: how much goes to whom. This actor is on loop 0, where connections are. */
static void report_traffic(tr_actor *self, const lateness *l)
{
    tr__traffic to[8];
    size_t count = tr__remote_traffic(tr_node_of(self)->remote, to, TR_COUNT(to));
    for (size_t i = 0; i < count; i++)
        tr_send(self, l->arg->observer, demo_traffic, .name = l->arg->args->name, .peer = to[i].peer,
                .node = to[i].node, .sent = to[i].sent);
}

static void lateness_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    lateness *l = state;
    const lateness_tick *tick = tr_match(msg, lateness_tick);
    if (!tick)
        return;
    uint64_t now = demo_now(), late = now > tick->due ? now - tick->due : 0;
    tr__histogram_add(&l->window, late);
    if (l->window.count == LATENESS_REPORT) {
        tr__histogram_merge(&l->total, &l->window);
        /* A report that finds no credit is left out: the next one is half a second away. */
        tr_send(self, l->arg->observer, demo_lateness, .name = l->arg->args->name,
                .p99_ns = tr__histogram_at(&l->window, 990000),
                .total_p99_ns = tr__histogram_at(&l->total, 990000), .max_ns = l->total.max);
        tr__histogram_reset(&l->window);
        report_traffic(self, l);
    }
    tr_after(self, LATENESS_EVERY, lateness_tick, .due = now + LATENESS_EVERY);
}

const tr_actor_def demo_lateness_def = {
    .name = "lateness", .init = lateness_init, .receive = lateness_receive, .state_size = sizeof(lateness)};

/* ---- the first actor ----------------------------------------------------------------------------------- */

static const tr_actor_def *role_of(const char *name)
{
    return strcmp(name, "alice") == 0 ? &demo_alice : strcmp(name, "bob") == 0 ? &demo_bob : &demo_carol;
}

/* In namespaces nodes may lose each other and meet again; who loses the demo then goes on, and ends with its process. */
static bool may_be_cut_off(const demo_node_args *args)
{
    return args->key[0] != 0;
}

/* Until told to stop. Its own memory of `stay` decides what the end of the demo's node means. */
static tr_err serve(tr_actor *self, const demo_role_arg *role)
{
    bool stay = false;
    for (;;) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        if (!msg || tr_match(msg, demo_stop))
            return TR_OK;
        const tr_down *down = tr_match(msg, tr_down);
        const tr_node_event *event = tr_match(msg, tr_node_event);
        if (tr_match(msg, demo_stay)) {
            stay = true;
            prctl(PR_SET_PDEATHSIG, 0); /* this is the main thread, the one that set it */
        } else if (down) {
            fprintf(stderr, "%s: %s\n", role->args->name, down->text);
            tr_send(self, role->observer, demo_trouble, .name = role->args->name, .text = down->text);
        } else if (event && !event->up && !stay && !may_be_cut_off(role->args) &&
                   strcmp(event->name, "demo") == 0) {
            return TR_OK;
        }
    }
}

static tr_err start(tr_actor *self, void *arg)
{
    const demo_node_args *args = arg;
    static demo_role_arg role; /* outlives this fiber: the actors read it until the node has ended */
    role.args = args;
    const tr_found *observer;
    TR_TRY(tr_await(self, tr_lookup(self, "demo/observer", OBSERVER_WAIT), tr_found, &observer));
    role.observer = observer->actor;
    uint64_t monitor;
    tr_addr actor = tr_spawn_with(self, role_of(args->name), &role,
                                  &(tr_spawn_opts){.name = args->name, .monitor = &monitor});
    tr_addr late =
        tr_spawn_with(self, &demo_lateness_def, &role, &(tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 0});
    if (tr_addr_is_none(actor) || tr_addr_is_none(late))
        return tr_last_error(self)->code;
    TR_TRY(tr_watch_nodes(self));
    tr_node *node = tr_node_of(self);
    TR_TRY(tr_send(self, role.observer, demo_hello, .name = args->name, .pid = (uint32_t)getpid(),
                   .node = tr_node_id(node), .listen = tr_node_listen(node), .role = actor));
    return serve(self, &role);
}

/* ---- the process --------------------------------------------------------------------------------------- */

static int run(const demo_node_args *args, tr__stopper *stopper)
{
    tr_error error = {0};
    tr_sums sums;
    char listen[64];
    snprintf(listen, sizeof(listen), "%s:0", args->host);
    tr_node_opts opts = {.name = args->name,
                         .loops = args->loops,
                         .listen = listen,
                         .key = args->key[0] ? args->key : NULL,
                         .join = args->join,
                         .data = args->directory,
                         .operator_socket = args->keep, /* one that goes on is to be looked at */
                         .log_level = TR_LOG_INFO,
                         .start = start,
                         .arg = (void *)args};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node) {
        fprintf(stderr, "%s: %s\n", args->name, error.text);
        return 1;
    }
    tr__stopper_node(stopper, node);
    tr_err err = tr_node_run(node, &error);
    tr__stopper_node(stopper, NULL);
    if (err != TR_OK)
        fprintf(stderr, "%s: %s\n", args->name, error.text);
    tr_node_sums(node, &sums);
    demo_sums_print(&sums, stdout);
    fflush(stdout);
    tr_node_destroy(node);
    return err == TR_OK ? 0 : 1;
}

/* demo-node NAME DIRECTORY SOURCE FILES LOOPS PARALLEL PARENT HOST KEY KEEP JOIN... */
int cli_demo_node(int argc, char **argv)
{
    if (argc < 12) {
        fprintf(stderr, "troupe demo-node is started by `troupe demo` only\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (pid_t)atol(argv[7]))
        return 1;            /* it died before the line above */
    signal(SIGINT, SIG_IGN); /* Ctrl-C is for the demo, which then ends its nodes */
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    demo_node_args args = {.name = argv[1],
                           .directory = argv[2],
                           .source = argv[3],
                           .files = (uint32_t)atol(argv[4]),
                           .loops = (uint32_t)atol(argv[5]),
                           .parallel = (uint32_t)atol(argv[6]),
                           .host = argv[8],
                           .key = argv[9],
                           .keep = argv[10][0] != 0,
                           .join = (const char *const *)(argv + 11)};
    tr__stopper stopper;
    tr_error error;
    if (tr__stopper_open(&stopper, (const int[]){SIGTERM, 0}, &error) != TR_OK) {
        fprintf(stderr, "%s: %s\n", args.name, error.text);
        return 1;
    }
    int status = sodium_init() < 0 ? 1 : run(&args, &stopper);
    tr__stopper_end(&stopper);
    return status;
}
