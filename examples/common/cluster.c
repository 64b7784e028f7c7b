/* See cluster.h: the node, the judge, and options; launch.c starts and kills them. */
#include "examples/common/cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <troupe/node.h>

#include "examples/common/launch.h"

#define HEADER_MAX 256

const tr_tx_opts cluster_tx = {.deadline_ns = TR_SECONDS(3), .lock_wait_ns = TR_MILLIS(500)};

TR_MESSAGE(client_done, (u64, committed), (u64, aborted), (u64, unknown))

/* What a process knows. */
typedef struct site {
    const workload *w;
    cluster c;
    uint32_t index; /* of the node */
    history h;
    tr_addr first; /* whom clients tell that they are done */
    uint32_t next; /* the number of the next client */
} site;

static site here;

uint64_t cluster_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static tr_err begin_history(tr_actor *self, const char *node)
{
    char header[HEADER_MAX];
    here.w->header(&here.c, header, sizeof(header));
    if (!history_open(&here.h, here.c.directory, node, header))
        return tr_fail(self, TR_EIO, "no history can be written in %s", here.c.directory);
    return TR_OK;
}

/* ---- a node --------------------------------------------------------------------------------------------- */

static tr_err client(tr_actor *self, void *arg)
{
    (void)arg;
    operation op = {.h = &here.h, .process = (int64_t)getpid() * 64 + ++here.next};
    while (cluster_now_ms() < here.c.until_ms) {
        here.w->operate(self, &here.c, &op);
        TR_TRY(tr_sleep(self, TR_MILLIS(5) + tr_random(self) % TR_MILLIS(30)));
    }
    return tr_send(self, here.first, client_done, op.committed, op.aborted, op.unknown);
}
TR_ACTOR(client_def, .run = client, .stack_size = 128 * 1024);

static tr_err node_start(tr_actor *self, void *arg)
{
    char name[16];
    client_done all = {0};
    (void)arg;
    here.first = tr_self(self);
    snprintf(name, sizeof(name), "n%u", here.index);
    TR_TRY(here.w->open(self, &here.c, here.index));
    TR_TRY(begin_history(self, name));
    printf("%s listens %s\n", name, tr_node_listen(tr_node_of(self)));
    for (uint32_t i = 0; i < here.c.clients; i++)
        if (tr_addr_is_none(tr_spawn(self, &client_def, NULL)))
            return tr_last_error(self)->code;
    for (uint32_t done = 0; done < here.c.clients;) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        const client_done *d = msg ? tr_match(msg, client_done) : NULL;
        if (!msg)
            return TR_OK; /* it is to stop */
        if (!d)
            continue;
        done++;
        all.committed += d->committed;
        all.aborted += d->aborted;
        all.unknown += d->unknown;
    }
    printf("%s done %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", name, all.committed, all.aborted, all.unknown);
    while (tr_receive(self, TR_FOREVER)) {
    }
    return TR_OK;
}

/* ---- the judge ------------------------------------------------------------------------------------------ */

/* Each node has an actor "tx". */
static tr_err meet(tr_actor *self, uint32_t index)
{
    char path[16];
    tr_err err = TR_ENOCONN;
    snprintf(path, sizeof(path), "n%u/tx", index);
    for (int i = 0; i < 200 && err == TR_ENOCONN; i++) {
        err = tr_await_msg(self, tr_lookup(self, path, TR_SECONDS(10)), NULL);
        if (err == TR_ENOCONN)
            TR_TRY(tr_sleep(self, TR_MILLIS(50)));
    }
    return err == TR_OK ? TR_OK : tr_fail(self, err, "node n%u isn't there: %s", index, tr_err_word(err));
}

static tr_err judge_start(tr_actor *self, void *arg)
{
    history_settled sum = {0};
    operation op = {.h = &here.h, .process = (int64_t)getpid() * 64 + 1};
    (void)arg;
    for (uint32_t i = 0; i < here.c.nodes; i++)
        TR_TRY(meet(self, i));
    TR_TRY(begin_history(self, "judge"));
    TR_TRY(history_settle(self, &here.h, here.c.directory, &sum));
    printf("%u were asked for again: %u committed, %u aborted, all the same twice\n", sum.asked,
           sum.committed, sum.aborted);
    return here.w->check(self, &here.c, &op);
}

/* ---- main ----------------------------------------------------------------------------------------------- */

static uint32_t small(const char *text, uint32_t most)
{
    unsigned long number = strtoul(text, NULL, 10);
    return number > most ? most : (uint32_t)number;
}

/* The last ones of argv, behind the options of every program. */
static bool take(char **argv, int argc, int count)
{
    static char note[CLUSTER_NOTE_MAX + 1];
    if (argc < count + 1)
        return false;
    char **at = argv + argc - count;
    if (count == CLUSTER_NODE_ARGUMENTS) {
        here.index = small(*at++, CLUSTER_NODES_MAX - 1);
        memset(note, 'x', small(argv[argc - 1], CLUSTER_NOTE_MAX));
    }
    here.c.nodes = small(*at++, CLUSTER_NODES_MAX);
    if (count == CLUSTER_NODE_ARGUMENTS)
        here.c.clients = small(*at++, CLUSTER_CLIENTS_MAX);
    here.c.since_ms = strtoull(*at++, NULL, 10);
    here.c.until_ms = strtoull(*at++, NULL, 10);
    here.c.directory = *at;
    here.c.note = note;
    return true;
}

int cluster_main(int argc, char **argv, const workload *w)
{
    bool is_node = argc > 1 && strcmp(argv[1], "--node") == 0;
    bool is_judge = argc > 1 && strcmp(argv[1], "--judge") == 0;
    here.w = w;
    if (!is_node && !is_judge)
        return launch(argc, argv, w);
    setvbuf(stdout, NULL, _IOLBF, 0); /* a line is one write */
    argv[1] = argv[0];
    bool asks = argc == 3 && strcmp(argv[2], "--help") == 0;
    if (asks || take(argv, argc, is_node ? CLUSTER_NODE_ARGUMENTS : CLUSTER_JUDGE_ARGUMENTS))
        return tr_main(argc - 1, argv + 1, is_node ? node_start : judge_start, NULL);
    fprintf(stderr, "usage: see examples/common/cluster.h\n");
    return 2;
}
