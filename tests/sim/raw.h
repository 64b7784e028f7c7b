/* Raw connections for tests of the simulated network: numbered frames through the seam of transport/stream.h, on nodes of a
 * scenario that does nothing. */
#ifndef TR_TESTS_SIM_RAW_H
#define TR_TESTS_SIM_RAW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kit/sim/net.h"

#define RAW_PORT 9000
#define RAW_BODY 1200 /* bytes of a frame's body: a count, then numbers of 8 bytes */

/* One end. What it receives must be what the other sent, from the first frame on, without a gap: asserted. */
typedef struct raw_end {
    tr__stream *stream;
    uint64_t frames_sent, frames_received;
    uint64_t to_send; /* so many frames in all */
    uint64_t number;  /* of the next that is received */
    uint32_t downs, sents;
    bool broken; /* a send was refused */
    uint8_t frame[TR__FRAME_HEADER + RAW_BODY];
} raw_end;

typedef struct raw {
    tr_sim *sim;
    uint32_t from, to;
    tr__listener *listener;
    tr__dial *dial;
    tr_err dialled; /* TR_EAGAIN: not yet */
    uint64_t dialled_at;
    bool refuse; /* who listens has no room */
    raw_end client, server;
} raw;

static void raw_send_next(raw_end *end)
{
    if (end->frames_sent == end->to_send || end->broken)
        return;
    uint64_t numbers[(RAW_BODY - 4) / 8];
    for (size_t i = 0; i < TR_COUNT(numbers); i++)
        numbers[i] = end->frames_sent * TR_COUNT(numbers) + i;
    uint32_t length = 4 + sizeof(numbers);
    tr__frame_put_count(end->frame + TR__FRAME_HEADER, 1);
    memcpy(end->frame + TR__FRAME_HEADER + 4, numbers, sizeof(numbers));
    tr__frame_finish(end->frame, TR__FRAME_BATCH, length, end->frames_sent + 1);
    end->frames_sent++;
    tr__iov iov[2] = {{end->frame, 10}, {end->frame + 10, TR__FRAME_HEADER + length - 10}};
    end->broken = end->stream->node->net.net.send(end->stream, iov, 2, NULL) != TR_OK;
}

static void raw_received(void *context, tr__slice *slice)
{
    raw_end *end = context;
    for (size_t at = 0; at < slice->length;) {
        tr__frame frame;
        assert_int_equal(
            tr__frame_decode(slice->bytes + at, slice->length - at, TR__FRAME_SIZE_NORMAL, &frame, NULL),
            TR_OK);
        for (size_t i = 4; i + 8 <= frame.length; i += 8) {
            uint64_t number;
            memcpy(&number, frame.body + i, 8);
            assert_int_equal(number, end->number++);
        }
        at += frame.size;
        end->frames_received++;
    }
    assert_int_equal(end->downs, 0);
    tr__slice_destroy(slice);
}

static void raw_sent(void *context, size_t bytes)
{
    raw_end *end = context;
    assert_true(bytes > 0);
    end->sents++;
    raw_send_next(end);
}

static void raw_down(void *context, const tr_error *error)
{
    raw_end *end = context;
    assert_int_not_equal(error->code, TR_OK);
    assert_int_not_equal(error->code, TR_EPROTO); /* a gap */
    end->downs++;
}

static const tr__stream_upcalls raw_upcalls = {raw_received, raw_sent, raw_down};

static void raw_take(raw_end *end, tr__stream *stream)
{
    tr__net *net = &stream->node->net.net;
    end->stream = stream;
    net->limit(stream, TR__FRAME_SIZE_NORMAL);
    assert_int_equal(net->start(stream, &raw_upcalls, end, NULL), TR_OK);
    raw_send_next(end);
}

static bool raw_accepted(void *context, tr__stream *stream)
{
    raw *r = context;
    if (r->refuse)
        return false;
    raw_take(&r->server, stream);
    return true;
}

static void raw_dialled(void *context, tr__stream *stream, const tr_error *error)
{
    raw *r = context;
    r->dialled = error->code;
    r->dialled_at = tr_sim_now(r->sim);
    if (stream)
        raw_take(&r->client, stream);
}

/* Dial; who listens does so already. */
static void raw_dial(raw *r, uint64_t timeout_ns)
{
    tr__net_address address = {.host = "127.0.0.1", .port = RAW_PORT};
    tr__net *net = &r->sim->nodes[r->from].net.net;
    r->dialled = TR_EAGAIN;
    assert_int_equal(net->dial(net, &address, timeout_ns, raw_dialled, r, &r->dial, NULL), TR_OK);
}

static void raw_listen(raw *r)
{
    tr__net_address address = {.host = "127.0.0.1", .port = RAW_PORT};
    tr__net *net = &r->sim->nodes[r->to].net.net;
    assert_int_equal(net->listen(net, &address, raw_accepted, r, &r->listener, NULL), TR_OK);
    assert_int_equal(net->port(r->listener), RAW_PORT);
}

/* A simulation with those faults whose nodes 0 and 1 have a connection; each end sends so many frames. */
static raw *raw_open(uint64_t seed, uint32_t faults, uint64_t frames)
{
    static raw the;
    static const tr_scenario quiet = {.size = sizeof(tr_scenario), .name = "quiet", .nodes = 2};
    tr_error error;
    memset(&the, 0, sizeof(the));
    the.sim = tr_sim_create(&(tr_sim_opts){.seed = seed, .faults = faults, .scenario = &quiet}, &error);
    assert_non_null(the.sim);
    the.to = 1;
    the.client.to_send = the.server.to_send = frames;
    raw_listen(&the);
    raw_dial(&the, TR_SECONDS(5));
    return &the;
}

static void raw_end_close(raw_end *end)
{
    if (!end->stream)
        return;
    end->stream->node->net.net.close(end->stream);
    end->stream->node->net.net.free(end->stream);
    end->stream = NULL;
}

static void raw_close(raw *r)
{
    tr__net *net = &r->sim->nodes[0].net.net;
    if (r->dial)
        net->undial(r->dial);
    raw_end_close(&r->client);
    raw_end_close(&r->server);
    if (r->listener)
        net->unlisten(r->listener);
    tr_sim_destroy(r->sim);
}

#endif
