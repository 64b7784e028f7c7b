/* A node with a peer that is up and says anything: batches of records, answers, types, monitors, frames of transactions. The
 * input is a list of what the peer, the node's own actor and time do. */
#include <string.h>

#include "actors/adapter.h"
#include "actors/remote/remote.h"
#include "tests/fuzz/node.h"
#include "tests/fuzz/stranger.h"
#include "transport/endpoint.h"

#define STEPS_MAX 24
#define SAY_RIGHT 31 /* instead of a frame's kind: a chunk that goes on where the one before it ended */

typedef struct world {
    memory_net net;
    fuzz_node node;
    fuzz_node *nodes[1];
    stranger eve;
} world;

static void settle(world *w)
{
    fuzz_node_settle(w->nodes, 1, &w->net);
}

static void open_world(world *w)
{
    memset(w, 0, sizeof(*w));
    memory_net_init(&w->net, 1);
    fuzz_node_open(&w->node, "alice", &w->net);
    w->nodes[0] = &w->node;
    w->eve = (stranger){.net = &w->net, .cluster = w->node.m->node->cluster, .dialled = true, .lanes = true};
    settle(w);
    w->eve.raw = memory_raw_dial(&w->net, w->net.listeners ? 40000 : 0);
    stranger_say_hello(&w->eve);
    settle(w);
    stranger_say_grant(&w->eve, 1u << 24);
    settle(w);
}

/* The node's own actor asks, watches, tells an actor of the peer. */
static void client_goes(world *w, uint8_t what, uint32_t slot)
{
    tr_err err =
        tr__inject(w->node.m->node->loops[0], w->node.client, fuzz_go, .other = {7, slot, 1}, .what = what);
    (void)err; /* it may have ended: for a peer may be told to stop it */
}

static void step(world *w, fuzz_bytes *in)
{
    uint8_t what = fuzz_byte(in);
    switch (what & 7) {
    case 0:
        fuzz_node_advance(w->nodes, 1, &w->net, fuzz_byte(in) * TR_MILLIS(20));
        break;
    case 1:
        client_goes(w, what >> 3, fuzz_byte(in));
        break;
    case 2:
        stranger_read(&w->eve);
        break;
    case 3:
        if (what >> 3 == SAY_RIGHT)
            stranger_chunk(&w->eve, in);
        else
            stranger_frame(&w->eve, in, 1 + (what >> 3) % (TR__FRAME_KINDS - 1));
        break;
    default:
        stranger_frame(&w->eve, in, TR__FRAME_BATCH);
    }
    settle(w);
}

static void one(const uint8_t *bytes, size_t length)
{
    static world w;
    fuzz_bytes in = {bytes, bytes + length};
    open_world(&w);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_more(&in); i++)
        step(&w, &in);
    memory_raw_close(w.eve.raw);
    settle(&w);
    tr__check(w.node.m->fatals == 0, "a peer's words ended the node");
    fuzz_node_close(&w.node);
    memory_net_fini(&w.net);
}

/* A message may lie in memory at 64 times its bytes on the wire; the node itself takes some. */
const fuzz_target fuzz_peer = {"peer", 16u << 20, 256, one, .slow = true};
