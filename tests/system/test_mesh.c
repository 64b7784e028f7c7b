/* Thirty node processes on one machine that know one address: they learn of each other, and all are connected with all;
 * some are killed, the one with that address too, and come back: all are again. Each node is this same program, run with
 * the word "node"; it says how many others it is connected with, whenever that changes. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "tests/kit/loopback.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NODES 8 /* such a process is ten times as large, and as slow */
#else
#define NODES 30
#endif
#define KILLED (NODES / 6)
#define MEET_MS \
    30000 /* for all to have met: what is promised, on a machine with nothing else to do, is 10 s */
#define OUTPUT_SIZE 256

/* ---- a node ---------------------------------------------------------------------------------------------- */

static tr_err count_peers(tr_actor *self, void *arg)
{
    int peers = 0;
    (void)arg;
    printf("at %s\n", tr_node_listen(tr_node_of(self)));
    fflush(stdout);
    TR_TRY(tr_watch_nodes(self));
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const tr_node_event *event = tr_match(msg, tr_node_event);
        if (!event)
            continue;
        peers += event->up ? 1 : -1;
        printf("peers %d\n", peers);
        fflush(stdout);
    }
    return TR_OK;
}

static int node_main(const char *name, const char *listen, const char *join)
{
    tr_error error = {.code = TR_OK};
    const char *joins[] = {join, NULL};
    tr_node_opts opts = {.name = name,
                         .cluster = "mesh",
                         .listen = listen,
                         .join = *join ? joins : NULL,
                         .learn = true,
                         .log_level = TR_LOG_ERROR,
                         .start = count_peers};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    tr_node *node = tr_node_create(&opts, &error);
    tr_err err = node ? tr_node_run(node, &error) : error.code;
    tr_node_destroy(node);
    if (err != TR_OK)
        fprintf(stderr, "%s: %s\n", name, error.text);
    return err != TR_OK;
}

/* ---- all of them ----------------------------------------------------------------------------------------- */

typedef struct member {
    pid_t pid;
    int from;
    char address[64], said[OUTPUT_SIZE];
    size_t used;
    int peers;
} member;

static member members[NODES];

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Where it was before, if it was. */
static void start(int index)
{
    member *m = &members[index];
    char name[16];
    int out[2];
    snprintf(name, sizeof(name), "m%d", index);
    assert_int_equal(0, pipe2(out, O_CLOEXEC));
    m->pid = fork();
    if (m->pid == 0) {
        dup2(out[1], 1);
        execl("/proc/self/exe", "node", "node", name, m->address[0] ? m->address : LISTENS_AGAIN ":0",
              index ? members[0].address : "", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    m->from = out[0];
    m->used = 0;
    m->peers = 0;
}

static void kill_one(int index)
{
    member *m = &members[index];
    if (m->pid <= 0)
        return;
    kill(m->pid, SIGKILL);
    waitpid(m->pid, NULL, 0);
    close(m->from);
    m->pid = 0;
    m->peers = 0;
}

static void on_line(member *m, const char *line)
{
    if (sscanf(line, "peers %d", &m->peers) != 1)
        sscanf(line, "at %63s", m->address);
}

static void hear(member *m)
{
    ssize_t got = read(m->from, m->said + m->used, sizeof(m->said) - 1 - m->used);
    if (got <= 0)
        fail_msg("a node ended by itself");
    m->used += (size_t)got;
    m->said[m->used] = 0;
    char *line = m->said;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        on_line(m, line);
    }
    m->used = strlen(line);
    memmove(m->said, line, m->used + 1);
}

/* True when each of those that live is connected with all the others, or, before that, says where it is. */
static bool all_are(int peers)
{
    for (int i = 0; i < NODES; i++)
        if (members[i].pid > 0 && (peers < 0 ? !members[i].address[0] : members[i].peers != peers))
            return false;
    return true;
}

/* How long it took. */
static uint64_t await_all(int peers)
{
    uint64_t began = now_ms();
    while (!all_are(peers)) {
        struct pollfd all[NODES];
        for (int i = 0; i < NODES; i++)
            all[i] = (struct pollfd){.fd = members[i].pid > 0 ? members[i].from : -1, .events = POLLIN};
        if (now_ms() - began > MEET_MS)
            fail_msg("not all have met %d others within %d s; the first has met %d", peers, MEET_MS / 1000,
                     members[0].peers);
        poll(all, NODES, 1000);
        for (int i = 0; i < NODES; i++)
            if (all[i].revents)
                hear(&members[i]);
    }
    return now_ms() - began;
}

static int kill_all(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++)
        kill_one(i);
    return 0;
}

static void nodes_that_know_one_address_are_connected_all_with_all_and_are_again_after_kills(void **state)
{
    (void)state;
    start(0);
    await_all(-1);
    for (int i = 1; i < NODES; i++)
        start(i);
    uint64_t formed = await_all(NODES - 1);
    for (int i = 0; i < KILLED; i++) /* the one that all of them join first */
        kill_one(i * 6);
    uint64_t missed = await_all(NODES - 1 - KILLED);
    for (int i = 0; i < KILLED; i++)
        start(i * 6);
    uint64_t healed = await_all(NODES - 1);
    print_message(
        "%d nodes: all connected after %.1f s, %d killed and missed after %.1f s, whole again %.1f s "
        "after they were started\n",
        NODES, (double)formed / 1e3, KILLED, (double)missed / 1e3, (double)healed / 1e3);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "node") == 0)
        return node_main(argv[2], argv[3], argv[4]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            nodes_that_know_one_address_are_connected_all_with_all_and_are_again_after_kills, NULL, kill_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
