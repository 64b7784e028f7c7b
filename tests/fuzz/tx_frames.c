/* What a manager of transactions hears from another node's, in any order and of any content: what the invariants T1 to T5
 * say is checked within (actors/tx/core.h). An input is a list of frames, each a few bytes. */
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/kit/tx_cluster.h"

#define STEPS_MAX 32
#define IDS       4

static const char *const actors[] = {"a", "b", "", "no-such-actor-here-but-a-name-that-is-rather-long"};

/* Of what is emitted: a participant that notes ids, who is none, and accounts. */
static const char *const receivers[] = {"audit", "ledger", "a", "b"};

/* The parties of a COMMIT or PREPARE: some of the cluster's accounts. */
static void parties_of(fuzz_bytes *in, tr__tx_buffer *out, uint64_t boot)
{
    static const char *const nodes[] = {"n0", "n1", "n2", "nowhere"};
    tr__tx_party parties[4] = {0};
    uint32_t count = fuzz_byte(in) % 5;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t which = fuzz_byte(in);
        strcpy(parties[i].node, nodes[which & 3]);
        strcpy(parties[i].actor, actors[which >> 2 & 1]);
        parties[i].boot = which & 8 ? boot : which;
        parties[i].reads = which >> 4 & 1;
        parties[i].writes = which >> 5 & 3;
    }
    tr__tx_put_parties(out, parties, count);
}

/* What else an EMIT and an EMITTED say: by its place in the log of who emitted it, to whom. */
static void be_of_emit(tr__tx_frame *frame, uint8_t which, uint8_t what)
{
    frame->actor = receivers[which >> 6];
    frame->text = "a";
    frame->ts = what >> 1;
    frame->number = what & 1;
    if (frame->kind == TR__TX_EMIT && which >> 6 == 0) {
        frame->type = CLUSTER_NOTE;
        frame->body = frame->id;
    }
}

/* What the kit's participants take. */
static bool is_call_of_any(const tr__tx_frame *frame)
{
    bool is_call = frame->kind == TR__TX_CALL || frame->kind == TR__TX_EMIT;
    return !is_call || frame->body.size == (frame->type == CLUSTER_NOTE ? sizeof(tr_tx_id) : sizeof(int64_t));
}

static void hear(cluster *c, const tr_tx_id *ids, fuzz_bytes *in)
{
    cluster_node *n = &c->nodes[1];
    uint8_t kind = fuzz_byte(in), which = fuzz_byte(in), what = fuzz_byte(in);
    uint8_t foreign_log[TR__LOG_ID_BYTES] = {1};
    const memory_log *log = &n->log;
    size_t length;
    tr__tx_buffer buffer = {0};
    tr__tx_frame frame = {
        .kind = (kind & 63) % (TR__TX_KINDS + 1),
        .id = {&ids[which & 3], which == 255 ? 3 : sizeof(tr_tx_id)},
        .from = which & 4 ? "n2" : "n0",
        .log = {which & 8 ? foreign_log : log->cache + 16, which & 16 ? 0 : TR__LOG_ID_BYTES},
        .boot = which & 32 ? n->id : which,
        .clock = what,
        .actor = actors[which >> 6],
        .number = what & 7,
        .remaining = (uint64_t)fuzz_byte(in) * TR_MILLIS(100),
        .wait = TR_MILLIS(50),
        .reads = what >> 3 & 1,
        .writes = what >> 4 & 1,
        .status = fuzz_byte(in) % (TR__TX_VERDICTS + 1),
        .reason = fuzz_byte(in),
        .text = "",
        .ts = what,
        .type = 1 + (what >> 5 & 1)};
    if (kind & 64) {
        frame.schema.present = true;
        frame.schema.value = actors[fuzz_byte(in) & 3];
    }
    if (kind & 128) {
        frame.body.data = fuzz_some(in, fuzz_byte(in), &length);
        frame.body.size = length;
    } else if (frame.kind == TR__TX_CALL || frame.kind == TR__TX_EMIT) {
        static const int64_t amount = 5;
        frame.body = (tr_bytes){&amount, sizeof(amount)};
    } else {
        parties_of(in, &buffer, n->id);
        frame.body = (tr_bytes){buffer.bytes, buffer.length};
    }
    if (frame.kind == TR__TX_EMIT || frame.kind == TR__TX_EMITTED)
        be_of_emit(&frame, which, what);
    if (n->tx && is_call_of_any(&frame))
        tr__tx_receive(n->tx, &frame);
    tr__tx_buffer_free(&buffer);
}

static void one(const uint8_t *bytes, size_t length)
{
    static cluster c;
    fuzz_bytes in = {bytes, bytes + length};
    tr_tx_id ids[IDS];
    memset(&c, 0, sizeof(c));
    cluster_open(&c, 1);
    c.emits = true;
    for (unsigned i = 0; i < IDS; i++)
        ids[i] = tr__tx_id_make(1700000000000ull + 1000 * i, 0x1234 + i, i);
    for (unsigned i = 0; i < STEPS_MAX && fuzz_more(&in); i++) {
        uint8_t what = fuzz_byte(&in);
        if (what & 1)
            cluster_step(&c);
        else if (what & 2)
            cluster_run(&c, TR_MILLIS(100));
        else if (what & 4)
            cluster_transfer_begin(&c, what >> 3 & 1, "n1/a", "n2/b", 10);
        else
            hear(&c, ids, &in);
    }
    cluster_run(&c, TR_SECONDS(1));
    tr__check(c.nodes[1].fatal.code == TR_OK, "a peer's words ended the node: %s", c.nodes[1].fatal.text);
    cluster_kill(&c, 1, false);
    tr__check(cluster_start(&c, 1), "its own log is refused: %s", c.nodes[1].fatal.text);
    cluster_close(&c);
}

const fuzz_target fuzz_tx_frames = {"tx_frames", 48u << 20, 256, one, .slow = true};
