/* fuzz_seeds FOLDER: writes first inputs for each target to FOLDER/TARGET/. Those of connections and peers are what real nodes
 * say to each other, those of the log what a node wrote; the rest are texts that people and servers write. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "actors/adapter.h"
#include "actors/remote/wire.h"
#include "actors/tx/log_format.h"
#include "actors/tx/log_replay.h"
#include "actors/tx/snap_rows.h"
#include "base/mem.h"
#include "mailbox/type.h"
#include "tests/fuzz/node.h"
#include "tests/fuzz/seeds.h"
#include "tests/fuzz/stranger.h"
#include "tests/kit/endpoints.h"
#include "tests/kit/tx_cluster.h"

static const char *folder;

void seed_write(const char *target, const void *bytes, size_t length)
{
    static unsigned number;
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof(path), "%s/%s/seed-%03u", folder, target, number++);
    FILE *to = fopen(path, "wb");
    if (!to || fwrite(bytes, 1, length, to) != length || fclose(to) != 0) {
        perror(path);
        exit(1);
    }
}

/* ---- what goes over streams ----------------------------------------------------------------------------- */

#define STREAMS_MAX 8
#define BYTES_MAX   (64u << 10)

typedef struct stream_bytes {
    tr__stream *stream;
    size_t length;
    uint8_t bytes[BYTES_MAX];
} stream_bytes;

static struct {
    tr_err (*send)(tr__stream *stream, const tr__iov *iov, unsigned count, tr_error *error);
    unsigned count;
    stream_bytes streams[STREAMS_MAX];
} heard;

static tr_err hear_send(tr__stream *stream, const tr__iov *iov, unsigned count, tr_error *error)
{
    unsigned at = 0;
    while (at < heard.count && heard.streams[at].stream != stream)
        at++;
    if (at == heard.count && at < STREAMS_MAX)
        heard.streams[heard.count++] = (stream_bytes){.stream = stream};
    stream_bytes *to = &heard.streams[at < STREAMS_MAX ? at : 0];
    for (unsigned i = 0; i < count && to->length + iov[i].length <= BYTES_MAX; i++) {
        memcpy(to->bytes + to->length, iov[i].bytes, iov[i].length);
        to->length += iov[i].length;
    }
    return heard.send(stream, iov, count, error);
}

static void hear(memory_net *net)
{
    heard.count = 0;
    heard.send = net->net.send;
    net->net.send = hear_send;
}

/* The frames of a stream as steps of an input: `how` of them, then the body behind two bytes of length. */
static size_t frames_as_steps(const stream_bytes *from, uint8_t *out, uint8_t (*how)(const tr__frame *frame))
{
    size_t length = 0;
    tr__frame frame;
    for (size_t at = 0; at < from->length; at += frame.size) {
        if (tr__frame_header(from->bytes + at, TR__FRAME_SIZE_MAX, &frame, NULL) != TR_OK)
            break;
        uint8_t step = how(&frame);
        if (!step)
            continue;
        out[length++] = step;
        out[length++] = (uint8_t)frame.length;
        out[length++] = (uint8_t)(frame.length >> 8);
        memcpy(out + length, from->bytes + at + TR__FRAME_HEADER, frame.length);
        length += frame.length;
    }
    return length;
}

static uint8_t connection_step(const tr__frame *frame)
{
    return (uint8_t)frame->kind;
}

static void seeds_of_connections(bool keyed)
{
    static test_cluster c;
    static test_node alice, bob;
    static uint8_t out[BYTES_MAX + 1];
    test_cluster_init(&c, 1);
    hear(&c.net);
    tr__endpoint_options a = test_options("alice", 10), b = test_options("bob", 20);
    a.keys = b.keys = keyed ? &stranger_keys : NULL;
    test_cluster_open(&c, &alice, &a, NULL);
    test_cluster_open(&c, &bob, &b, NULL);
    bob.echo = true;
    test_dial(&alice, &bob);
    test_cluster_settle(&c);
    for (unsigned i = 0; i < 4; i++) {
        tr__endpoint_send(alice.endpoint, alice.peer, "hello hello hello", 5 + 4 * i);
        test_cluster_advance(&c, SECONDS);
    }
    tr__endpoint_disconnect(alice.endpoint, alice.peer);
    test_cluster_advance(&c, 3 * SECONDS);
    for (unsigned i = 0; i < heard.count; i++) {
        const stream_bytes *s = &heard.streams[i];
        out[0] = 5;
        memcpy(out + 1, s->bytes, s->length);
        seed_write("frames", out, 1 + s->length);
        bool dialled = s->bytes[5] == TR__FRAME_HELLO || (keyed && i == 0);
        for (uint8_t steps = 0; steps < 4 && !keyed; steps++) {
            out[0] = (uint8_t)((dialled ? 0 : 2) | steps << 3);
            seed_write("connection", out, 1 + frames_as_steps(s, out + 1, connection_step));
        }
    }
    /* The seeds of keyed ones are the same frames, which the stranger seals. */
    static const uint8_t ways[] = {0, 1, 2, 3, 32 | 1, 32 | 3}; /* 32: two keys */
    for (size_t i = 0; i < sizeof(ways); i++) {
        static const uint8_t steps[] = {12,  9,  0,  8,  9,  0, 1, 0, 0, 0, 'h', 'e', 'l', 'l',
                                        'o', 11, 30, 14, 12, 1, 0, 4, 0, 0, 7,   0,   0};
        out[0] = (uint8_t)(ways[i] | 3 << 3);
        memcpy(out + 1, steps, sizeof(steps));
        seed_write("connection", out, 1 + sizeof(steps));
    }
    test_cluster_fini(&c);
}

/* ---- what nodes say ------------------------------------------------------------------------------------- */

static uint8_t peer_step(const tr__frame *frame)
{
    if (frame->kind == TR__FRAME_BATCH)
        return 4;
    bool later =
        frame->kind == TR__FRAME_ACK || frame->kind == TR__FRAME_GRANT || frame->kind == TR__FRAME_GOODBYE;
    return later ? (uint8_t)(3 | (frame->kind - 1) << 3) : 0;
}

static size_t put(uint8_t *at, tr__record record, const void *body)
{
    size_t head = tr__wire_put(at, &record);
    memcpy(at + head, body, record.length);
    return head + record.length;
}

static void go(fuzz_node *n, tr_addr other, uint32_t what)
{
    tr__inject(n->m->node->loops[0], n->client, fuzz_go, .other = other, .what = what);
}

static void seeds_of_peers(void)
{
    static memory_net net;
    static fuzz_node alice, eve;
    static uint8_t out[BYTES_MAX];
    fuzz_node *nodes[] = {&alice, &eve};
    memory_net_init(&net, 1);
    fuzz_node_open(&alice, "alice", &net);
    hear(&net);
    fuzz_node_open(&eve, "eve", &net);
    fuzz_node_join(&eve, "127.0.0.1:40000");
    fuzz_node_settle(nodes, 2, &net);
    for (uint32_t what = 1; what <= 16; what *= 2) {
        go(&eve, alice.echo, what);
        go(&alice, eve.echo, what);
        fuzz_node_settle(nodes, 2, &net);
    }
    for (uint32_t slot = 0; slot < 7; slot++) {
        go(&eve, (tr_addr){alice.echo.node, slot, 1}, 31);
        fuzz_node_advance(nodes, 2, &net, TR_SECONDS(1));
    }
    for (unsigned i = 0; i < heard.count; i++) {
        const stream_bytes *s = &heard.streams[i];
        tr__frame frame;
        out[0] = 1 | 31 << 3; /* so that answers in it find asks */
        out[1] = 2;
        seed_write("peer", out, 2 + frames_as_steps(s, out + 2, peer_step));
        for (size_t at = 0; at < s->length; at += frame.size) {
            if (tr__frame_header(s->bytes + at, TR__FRAME_SIZE_MAX, &frame, NULL) != TR_OK)
                break;
            if (frame.kind == TR__FRAME_BATCH)
                seed_write("wire", s->bytes + at + TR__BATCH_OVERHEAD, frame.length - 4);
        }
    }
    fuzz_node_close(&alice);
    fuzz_node_close(&eve);
    memory_net_fini(&net);
}

/* Everything that the node's own actors take, and what only the runtime sends, told by somebody who has read the source: an
 * empty message of each type, to each of the first actors. */
static void seeds_of_types(void)
{
    static const char *const names[] = {"tr_subscribe",
                                        "tr_unsubscribe",
                                        "tr__find_name",
                                        "tr__watch_nodes",
                                        "tr__node_changed",
                                        "tr__tx_frame",
                                        "tr__tx_do_call",
                                        "tr__tx_do",
                                        "tr__tx_do_resolve",
                                        "tr__tx_execute",
                                        "tr_tx_list",
                                        "tr__supervisor_up",
                                        "tr__child_start_asked",
                                        "tr__child_stop_asked",
                                        "tr__child_at",
                                        "fuzz_go",
                                        "fuzz_word",
                                        "tr_down",
                                        "tr_exited",
                                        "tr_shutdown"};
    static uint8_t out[4096];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const tr_typeinfo *type = tr__type_find_name(names[i]);
        tr_error error = {0};
        void *body;
        size_t size;
        tr__check(type != NULL, "no type %s", names[i]);
        tr_err err = tr__json_decode(type, "{}", NULL, &body, &size, &error);
        tr__check(err == TR_OK, "%s", error.text);
        uint8_t *at = out + 3, cbor[512];
        size_t length = tr__cbor_encode(type, body, cbor, sizeof(cbor));
        memcpy(at, &(uint32_t){8}, 4);
        at += 4;
        at += put(at,
                  (tr__record){.kind = TR__WIRE_TYPE,
                               .type_id = type->id,
                               .fingerprint = type->fingerprint,
                               .length = strlen(type->schema)},
                  type->schema);
        for (uint32_t slot = 0; slot < 7; slot++)
            at += put(at,
                      (tr__record){.kind = slot % 2 ? TR__WIRE_ASK : TR__WIRE_NORMAL,
                                   .to_slot = slot,
                                   .to_generation = 1,
                                   .from_slot = 1,
                                   .from_generation = 1,
                                   .ask = slot,
                                   .remaining_ns = TR_SECONDS(1),
                                   .length = length},
                      cbor);
        out[0] = 4;
        size_t batch = (size_t)(at - out) - 3;
        out[1] = (uint8_t)batch;
        out[2] = (uint8_t)(batch >> 8);
        seed_write("peer", out, batch + 3);
        tr__body_release(type, body);
        tr__free(body);
    }
}

/* ---- what a manager of transactions wrote ---------------------------------------------------------------- */

static void seed_of_log(void)
{
    static cluster c;
    cluster_open(&c, 1);
    for (int i = 0; i < 2; i++) {
        c.emits = i;
        cluster_transfer_begin(&c, 0, "n1/a", "n2/b", 10);
        cluster_transfer_begin(&c, 0, "n2/b", "n1/b", 5);
        cluster_transfer_begin(&c, 1, "n1/a", "n1/b", i ? 9000 : 1);
        cluster_run(&c, TR_SECONDS(3));
        memory_log *log = &c.nodes[1].log;
        size_t used = log->cache_size;
        while (used > TR__LOG_DATA_AT && !log->cache[used - 1])
            used--;
        uint8_t *out = malloc(used + 1), *at = out;
        *at++ = i ? 0 : 1;
        memcpy(at, log->cache, TR__LOG_HEADER_BYTES);
        at += TR__LOG_HEADER_BYTES;
        for (unsigned slot = 0; slot < 2; slot++, at += TR__LOG_SLOT_BYTES)
            memcpy(at, log->cache + TR__LOG_SLOT_AT(slot), TR__LOG_SLOT_BYTES);
        memcpy(at, log->cache + TR__LOG_DATA_AT, used - TR__LOG_DATA_AT);
        at += used - TR__LOG_DATA_AT;
        seed_write("tx_log", out, (size_t)(at - out));
        *out ^= 1;
        seed_write("tx_log", out, (size_t)(at - out));
        free(out);
    }
    cluster_close(&c);
}

/* ---- its snapshots, and the records that they are made of ------------------------------------------------- */

static tr__tx_buffer put_down;

static tr_err put_row(void *context, tr_bytes key, tr_bytes value, tr_error *error)
{
    (void)context, (void)error;
    const uint8_t sizes[] = {(uint8_t)key.size, (uint8_t)value.size, (uint8_t)(value.size >> 8)};
    tr__tx_put_raw(&put_down, sizes, sizeof(sizes));
    tr__tx_put_raw(&put_down, key.data, key.size);
    tr__tx_put_raw(&put_down, value.data, value.size);
    return TR_OK;
}

static tr_err put_record(void *context, uint8_t type, uint64_t lsn, const void *payload, size_t length,
                         tr_error *error)
{
    (void)context, (void)lsn, (void)error;
    const uint8_t front[] = {type, (uint8_t)length, (uint8_t)(length >> 8)};
    tr__tx_put_raw(&put_down, front, sizeof(front));
    tr__tx_put_raw(&put_down, payload, length);
    return TR_OK;
}

static void put_how(uint8_t how)
{
    put_down.length = 0;
    tr__tx_put_raw(&put_down, &how, 1);
}

/* Of n1, while something is in doubt there, and something is owed, and later on emitted; as it is on the disk. */
static void seeds_of_snapshot(cluster *c)
{
    memory_log *disk = &c->nodes[1].log;
    tr__log_found found;
    tr__snap_meta meta;
    tr_error error;
    cluster_kill(c, 1, false);
    tr__log_store *store = memory_log_open(disk);
    put_how(3);
    if (tr__snap_read(store->snap, &meta, put_row, NULL, &error) == TR_OK)
        seed_write("tx_snap", put_down.bytes, put_down.length);
    put_how(1);
    if (store->snap->each(store->snap, put_row, NULL, &error) == TR_OK)
        seed_write("tx_snap", put_down.bytes, put_down.length);
    put_how(0);
    tr__log_base base = {.lsn = meta.lsn};
    memcpy(base.id, meta.id, sizeof(base.id));
    if (tr__log_scan(store, meta.lsn ? &base : NULL, &found, &error) == TR_OK &&
        tr__log_replay(store, &found, 0, put_record, NULL, &error) == TR_OK)
        seed_write("tx_snap", put_down.bytes, put_down.length);
    store->close(store);
    cluster_start(c, 1);
}

static void seeds_of_snapshots(void)
{
    static cluster c;
    cluster_open(&c, 1);
    c.segment = 16384;
    c.no_ledger = true;
    for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
        cluster_kill(&c, i, false);
        cluster_start(&c, i);
    }
    for (int i = 0; i < 40; i++) {
        c.emits = i >= 20;
        cluster_transfer_begin(&c, 0, i % 2 ? "n1/a" : "n2/b", i % 2 ? "n2/b" : "n1/a", 10);
        cluster_run(&c, TR_MILLIS(60));
        if (i % 10 == 9) {
            cluster_transfer_begin(&c, 0, "n2/b", "n1/a", 3);
            for (int step = 0; step < 40 + i; step++)
                cluster_step(&c);
            seeds_of_snapshot(&c);
        }
    }
    cluster_close(&c);
    tr__tx_buffer_free(&put_down);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuzz_seeds FOLDER\n");
        return 2;
    }
    folder = argv[1];
    mkdir(folder, 0777);
    seeds_of_connections(false);
    seeds_of_connections(true);
    seeds_of_peers();
    seeds_of_types();
    seeds_of_chunks();
    seed_of_log();
    seeds_of_snapshots();
    seeds_written();
    return 0;
}
