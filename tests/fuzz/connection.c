/* A connection fed anything in any state: accepted or dialled, without a key, with one or with two. The first byte says which,
 * and how far a right handshake went before; then what the stranger, time, and the node's operator do. */
#include <string.h>

#include "tests/fuzz/stranger.h"
#include "tests/kit/endpoints.h"

#define STEPS_MAX 48
/* Steps: the kinds beyond 9, whose numbers say other things. */
#define SAY_CHUNK      (16 | TR__FRAME_BATCH)
#define SAY_BULK_GRANT (16 | TR__FRAME_GRANT)
#define SAY_RIGHT      (32 | TR__FRAME_BATCH) /* a chunk that goes on where the one before it ended */

typedef struct world {
    test_cluster cluster;
    test_node alice;
    stranger eve;
    tr__listener *listener;
    bool keyed;
} world;

static bool on_accepted(void *context, tr__stream *stream)
{
    world *w = context;
    if (w->eve.raw)
        return false;
    w->eve.raw = stream;
    return true;
}

/* The way to a connection that is up, `steps` of it. */
static void shake_hands(world *w, bool keyed, unsigned steps)
{
    stranger *eve = &w->eve;
    if (keyed && steps > 0) {
        stranger_say_key(eve);
        test_cluster_settle(&w->cluster);
        stranger_learn_key(eve);
    }
    if (steps > 1)
        stranger_say_hello(eve);
    test_cluster_settle(&w->cluster);
    if (steps > 2)
        stranger_say_grant(eve, 1u << 16);
    test_cluster_settle(&w->cluster);
}

/* The stranger's, and if wanted one more: before it if the stranger is to be found out by the second one. */
static tr__keys keys_of_alice(bool two, bool dials)
{
    tr__keys keys = stranger_keys;
    if (two) {
        keys.count = 2;
        memcpy(keys.key[dials ? 0 : 1], stranger_keys.key[0], TR__KEY_SIZE);
        memset(keys.key[dials ? 1 : 0], 9, TR__KEY_SIZE);
    }
    return keys;
}

/* They are changed while she runs: the other one alone, or both. */
static void change_keys(world *w, bool two, bool dials)
{
    tr__keys keys = keys_of_alice(true, dials);
    keys.count = two ? 2 : 1;
    tr__endpoint_set_keys(w->alice.endpoint, &keys);
}

static void open_world(world *w, uint8_t how)
{
    tr_error error = {0};
    tr__endpoint_options options = test_options("alice", 10);
    bool keyed = how & 1, dials = how & 2;
    tr__keys keys = keys_of_alice(how & 32, dials);
    options.keys = keyed ? &keys : NULL;
    w->keyed = keyed;
    test_cluster_init(&w->cluster, 1);
    w->cluster.net.piece_max = how & 4 ? 7 : 0;
    tr_err err = test_cluster_open(&w->cluster, &w->alice, &options, &error);
    tr__check(err == TR_OK, "%s", error.text);
    w->alice.hold = how & 128;
    w->eve = (stranger){.net = &w->cluster.net, .cluster = "test", .dialled = !dials, .lanes = how & 32};
    if (dials) {
        tr__net *net = &w->cluster.net.net;
        const tr__net_address address = {.kind = TR__HOST_IPV4, .host = "127.0.0.1", .port = 9000};
        tr__check(net->listen(net, &address, on_accepted, w, &w->listener, NULL) == TR_OK, "no listener");
        tr__check(tr__endpoint_dial(w->alice.endpoint, "127.0.0.1:9000", NULL) == TR_OK, "no dial");
        test_cluster_settle(&w->cluster);
    } else {
        w->eve.raw = memory_raw_dial(&w->cluster.net, tr__endpoint_port(w->alice.endpoint));
    }
    shake_hands(w, keyed, how >> 3 & 3);
}

static void alice_says(world *w, size_t size)
{
    static const uint8_t message[1 << 16];
    if (w->alice.peer)
        tr__endpoint_send(w->alice.endpoint, w->alice.peer, message, size ? size : 1);
}

/* A header alone, as the input has it but for the magic. */
static void claim(world *w, fuzz_bytes *in)
{
    uint8_t header[TR__FRAME_HEADER];
    size_t got;
    tr__frame_put_header(header, TR__FRAME_BATCH, 0, w->eve.sequence[TR__LANE_NORMAL] + 1);
    const uint8_t *some = fuzz_some(in, 8, &got);
    memcpy(header + 4, some, got);
    if (w->eve.raw)
        memory_raw_write(w->eve.raw, header, sizeof(header));
}

static void step(world *w, fuzz_bytes *in)
{
    stranger *eve = &w->eve;
    size_t length;
    uint8_t what = fuzz_byte(in);
    const uint8_t *bytes;
    switch (what & 15) {
    case 10: /* bytes as they are */
        bytes = fuzz_some(in, fuzz_byte(in), &length);
        if (eve->raw)
            memory_raw_write(eve->raw, bytes, length);
        break;
    case 11:
        test_cluster_advance(&w->cluster, (fuzz_byte(in) & 63) * 100 * MILLISECONDS);
        break;
    case 12:
        alice_says(w, fuzz_number(in, 2));
        break;
    case 13:
        claim(w, in);
        break;
    case 14:
        stranger_read(eve);
        eve->sealing = eve->sealing != (what >> 4 == 1);
        break;
    case 15:
        if (what >> 4 == 0 && w->alice.peer)
            tr__endpoint_disconnect(w->alice.endpoint, w->alice.peer);
        else if (what >> 4 == 1)
            tr__endpoint_close(w->alice.endpoint);
        else if (what >> 4 == 2 && eve->raw)
            memory_net_cut(&w->cluster.net);
        else if (w->keyed && what >> 4 >= 3 && what >> 4 < 7)
            change_keys(w, what >> 4 & 1, what >> 4 & 2);
        break;
    default:
        if (what == SAY_RIGHT)
            stranger_chunk(eve, in);
        else
            stranger_frame(eve, in,
                           what == SAY_CHUNK        ? TR__FRAME_CHUNK
                           : what == SAY_BULK_GRANT ? TR__FRAME_BULK_GRANT
                                                    : what & 15);
    }
    test_cluster_settle(&w->cluster);
}

static void one(const uint8_t *bytes, size_t length)
{
    static world w;
    fuzz_bytes in = {bytes, bytes + length};
    memset(&w, 0, sizeof(w));
    open_world(&w, fuzz_byte(&in));
    for (unsigned i = 0; i < STEPS_MAX && fuzz_more(&in); i++)
        step(&w, &in);
    tr__check(w.alice.downs <= w.alice.ups && w.alice.ups <= w.alice.downs + 1, "%u ups, %u downs",
              w.alice.ups, w.alice.downs);
    tr__check(!w.alice.downs || w.alice.down_why.text[0], "down without a word");
    if (w.eve.raw)
        memory_raw_close(w.eve.raw);
    test_cluster_advance(&w.cluster, 3 * SECONDS);
    tr__check(w.alice.ups == w.alice.downs, "the connection is closed, and still up");
    if (w.listener)
        w.cluster.net.net.unlisten(w.listener);
    test_cluster_fini(&w.cluster);
}

/* A connection may have a window, 1 MiB, gathered; and chunks of 128 KB. */
const fuzz_target fuzz_connection = {"connection", 4u << 20, 64, one};
