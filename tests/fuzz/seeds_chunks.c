/* See seeds.h: units of the bulk lane as a peer would send them, and as no peer does: cut off, announced larger than they are,
 * mixed with each other and with batches. For the targets frames (plain bytes), connection and peer (steps). */
#include <string.h>

#include "actors/remote/wire.h"
#include "mailbox/type.h"
#include "tests/fuzz/node.h"
#include "tests/fuzz/seeds.h"
#include "tests/fuzz/stranger.h"

#define OUT_MAX 4096

/* One frame of a case. */
typedef struct said {
    tr__frame_kind kind;
    uint64_t left;     /* of a chunk: what it announces, or a grant's total */
    uint32_t messages; /* of a chunk */
    size_t from, to;   /* which bytes of the unit it has */
} said;

/* ---- the targets' ways to say a frame -------------------------------------------------------------------- */

static size_t body_of(const said *s, const uint8_t *unit, uint8_t *body)
{
    size_t length = s->to - s->from;
    if (s->kind == TR__FRAME_BULK_GRANT) {
        memcpy(body, &s->left, 8);
        return 8;
    }
    if (s->kind == TR__FRAME_GOODBYE)
        return 0;
    bool chunk = s->kind == TR__FRAME_CHUNK;
    if (chunk)
        memcpy(body, &s->left, 8);
    memcpy(body + (chunk ? 8 : 0), &s->messages, 4);
    memcpy(body + (chunk ? 12 : 4), unit + s->from, length);
    return (chunk ? 12 : 4) + length;
}

static uint8_t connection_step(tr__frame_kind kind)
{
    return (uint8_t)(kind == TR__FRAME_CHUNK        ? 16 | TR__FRAME_BATCH
                     : kind == TR__FRAME_BULK_GRANT ? 16 | TR__FRAME_GRANT
                                                    : kind);
}

static uint8_t peer_step(tr__frame_kind kind)
{
    return (uint8_t)(kind == TR__FRAME_BATCH ? 4 : 3 | (kind - 1) << 3);
}

static void as_steps(const char *target, uint8_t (*step)(tr__frame_kind kind), int how, const said *all,
                     size_t count, const uint8_t *unit)
{
    uint8_t out[OUT_MAX], *at = out;
    if (how >= 0)
        *at++ = (uint8_t)how;
    for (size_t i = 0; i < count; i++) {
        size_t length = body_of(&all[i], unit, at + 3);
        *at++ = step(all[i].kind);
        *at++ = (uint8_t)length;
        *at++ = (uint8_t)(length >> 8);
        at += length;
    }
    seed_write(target, out, (size_t)(at - out));
}

static void as_bytes(const said *all, size_t count, const uint8_t *unit, uint8_t how)
{
    uint8_t out[OUT_MAX], *at = out;
    uint64_t sequence[TR__LANES] = {0};
    *at++ =
        how; /* 5: checksums and sequences are made right, also of what a fuzzer makes of it; 8: chunks as well */
    for (size_t i = 0; i < count; i++) {
        size_t length = body_of(&all[i], unit, at + TR__FRAME_HEADER);
        tr__lane lane = all[i].kind == TR__FRAME_CHUNK   ? TR__LANE_BULK
                        : all[i].kind == TR__FRAME_BATCH ? TR__LANE_NORMAL
                                                         : TR__LANE_CONTROL;
        tr__frame_finish(at, all[i].kind, (uint32_t)length, ++sequence[lane]);
        at += TR__FRAME_HEADER + length;
    }
    seed_write("frames", out, (size_t)(at - out));
}

/* ---- a unit ---------------------------------------------------------------------------------------------- */

static size_t put(uint8_t *at, tr__record record, const void *body)
{
    size_t head = tr__wire_put(at, &record);
    memcpy(at + head, body, record.length);
    return head + record.length;
}

/* A type and two messages of it, to the first actors of a node. */
static size_t make_unit(uint8_t *unit)
{
    static const char text[] = "a text of some length, so that it can be cut where nobody would expect it";
    const tr_typeinfo *type = tr__type_of(&fuzz_word_type);
    uint8_t cbor[256];
    size_t body = tr__cbor_encode(type, &(fuzz_word){.n = 1, .text = text}, cbor, sizeof(cbor));
    size_t length = put(unit,
                        (tr__record){.kind = TR__WIRE_TYPE,
                                     .type_id = type->id,
                                     .fingerprint = type->fingerprint,
                                     .length = strlen(type->schema)},
                        type->schema);
    for (uint32_t i = 0; i < 2; i++)
        length += put(unit + length,
                      (tr__record){.kind = i ? TR__WIRE_ASK : TR__WIRE_NORMAL,
                                   .to_slot = 2 + i,
                                   .to_generation = 1,
                                   .from_slot = 1,
                                   .from_generation = 1,
                                   .ask = i,
                                   .remaining_ns = TR_SECONDS(1),
                                   .length = body},
                      cbor);
    return length;
}

/* The unit in `count` chunks that the stranger makes right. */
static void right(const char *target, int how, uint8_t step, const uint8_t *unit, size_t all, size_t count)
{
    uint8_t out[OUT_MAX], *at = out;
    if (how >= 0)
        *at++ = (uint8_t)how;
    for (size_t i = 0; i < count; i++) {
        size_t from = i * all / count, to = (i + 1) * all / count, more = all - to;
        *at++ = step;
        *at++ = (uint8_t)(to - from - 1);
        *at++ = (uint8_t)((to - from - 1) >> 8);
        *at++ = (uint8_t)more;
        *at++ = (uint8_t)(more >> 8);
        if (!more)
            *at++ = 2; /* and one */
        memcpy(at, unit + from, to - from);
        at += to - from;
    }
    seed_write(target, out, (size_t)(at - out));
}

void seeds_of_chunks(void)
{
    uint8_t unit[1024];
    const size_t all = make_unit(unit), a = all / 3, b = 2 * all / 3;
    enum { C = TR__FRAME_CHUNK, B = TR__FRAME_BATCH, G = TR__FRAME_BULK_GRANT, BYE = TR__FRAME_GOODBYE };
    const uint32_t n = 3; /* records */
    const said cases[][5] = {
        {{C, all, n, 0, all}},                                               /* small: whole */
        {{C, all, 0, 0, a}, {C, all - a, 0, a, b}, {C, all - b, n, b, all}}, /* in three */
        {{C, all, 0, 0, a},
         {C, all - a, n, a, all},
         {C, all, 0, 0, b},
         {C, all - b, n, b, all}}, /* one after another */
        {{G, 1u << 20, 0, 0, 0},
         {C, all, 0, 0, a},
         {B, 0, n, 0, all},
         {C, all - a, n, a, all}},                                       /* a batch between */
        {{C, all, 0, 0, a}},                                             /* the rest never comes */
        {{C, all, 0, 0, a}, {C, all - a, 0, a, b}, {BYE, 0, 0, 0, 0}},   /* nor here */
        {{C, all, 0, 0, a}, {BYE, 0, 0, 0, 0}, {C, all - a, n, a, all}}, /* behind goodbye */
        {{C, 64u << 20, 0, 0, a}, {C, (64u << 20) - a, 0, a, b}},        /* more is announced than comes */
        {{C, 1ull << 63, 0, 0, a}},                                      /* than is taken */
        {{C, UINT64_MAX, 0, 0, all}},
        {{C, all, 0, 0, a}, {C, all, 0, 0, b}, {C, all - a, n, a, all}}, /* two at a time */
        {{C, all, 0, 0, a}, {C, all - b, n, b, all}},                    /* a piece is missing */
        {{C, all, 0, 0, b}, {C, all - a, n, a, all}},                    /* one came twice */
        {{C, all, n, 0, a}},                                             /* messages before the end */
        {{C, all, 0, 0, all}},                                           /* none at the end */
        {{C, a, n, 0, all}},                                             /* less is announced than comes */
        {{C, all, UINT32_MAX, 0, all}},
        {{C, all, n + 1, 0, all}}, /* a message more than there is */
        {{C, a, 2, 0, a}},         /* whole, but its last record is cut off */
        {{C, 0, 0, 0, 0}},         /* nothing */
        {{C, all, 0, 0, a}, {G, 1, 0, 0, 0}},
        {{G, UINT64_MAX, 0, 0, 0}, {C, all, n, 0, all}},
    };
    for (size_t count = 1; count <= 4; count++) {
        right("peer", -1, 3 | 31 << 3, unit, all, count);
        /* which takes any bytes: a fuzzer does more with few */
        right("connection", 32 | 3 << 3, 32 | TR__FRAME_BATCH, (const uint8_t *)"some bytes", 10, count);
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        size_t count = 0;
        while (count < 5 && cases[i][count].kind)
            count++;
        as_bytes(cases[i], count, unit, 5);
        if (i == 2)
            as_bytes(cases[i], count, unit, 5 | 8);
        as_steps("peer", peer_step, -1, cases[i], count, unit);
        as_steps("connection", connection_step, 32 | 3 << 3, cases[i], count, unit);
        if (i % 5 == 2) /* sealed, dialled, in pieces */
            as_steps("connection", connection_step, 32 | 3 << 3 | 7, cases[i], count, unit);
        if (i == 0) /* from who said nothing of the lane */
            as_steps("connection", connection_step, 3 << 3, cases[i], count, unit);
    }
}
