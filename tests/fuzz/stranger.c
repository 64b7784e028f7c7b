/* See stranger.h. */
#include "tests/fuzz/stranger.h"

#include <stdlib.h>
#include <string.h>

const tr__keys stranger_keys = {1, {"the key that our nodes share 123"}};

void stranger_say(stranger *s, uint8_t *frame, tr__frame_kind kind, size_t body)
{
    size_t size = TR__FRAME_HEADER + body;
    if (!s->raw)
        return;
    tr__lane lane = kind == TR__FRAME_BATCH   ? TR__LANE_NORMAL
                    : kind == TR__FRAME_CHUNK ? TR__LANE_BULK
                                              : TR__LANE_CONTROL;
    tr__frame_finish(frame, kind, (uint32_t)body, ++s->sequence[lane]);
    if (s->sealing)
        size = tr__seal_close(&s->out, frame);
    memory_raw_write(s->raw, frame, size);
}

static void any_secret(void *context, void *bytes, size_t length)
{
    (void)context;
    memset(bytes, 77, length);
}

static tr__psk stranger_psk(void)
{
    return (tr__psk){.keys = stranger_keys, .secret = any_secret};
}

void stranger_say_key(stranger *s)
{
    uint8_t frame[600];
    tr__psk psk = stranger_psk();
    tr__psk_pair_make(&psk, &s->pair);
    tr__frame_put_key(frame, 1, s->pair.open);
    stranger_say(s, frame, TR__FRAME_KEY, 4 + TR__KEY_SIZE);
}

void stranger_learn_key(stranger *s)
{
    uint8_t bytes[2000], theirs[TR__KEY_SIZE];
    tr__frame frame;
    tr__seals seals[TR__KEYS_MAX];
    tr__psk psk = stranger_psk();
    size_t length = s->raw ? memory_raw_read(s->raw, bytes, sizeof(bytes)) : 0;
    s->sealing = tr__frame_decode(bytes, length, sizeof(bytes), &frame, NULL) == TR_OK &&
                 frame.kind == TR__FRAME_KEY && tr__frame_get_key(&frame, theirs, NULL) == TR_OK &&
                 tr__psk_derive(&psk, &s->pair, theirs, s->dialled, seals, NULL) == TR_OK;
    if (s->sealing) {
        s->out = seals[0].out;
        s->in = seals[0].in;
    }
}

void stranger_say_hello(stranger *s)
{
    uint8_t frame[600];
    tr__hello hello = {.version_min = 1,
                       .version_max = 1,
                       .id = 7,
                       .name = "eve",
                       .capabilities = s->lanes ? TR__CAPABILITY_LANES : 0,
                       .message_max = 1u << 20};
    strcpy(hello.cluster, s->cluster);
    tr__frame_kind kind = s->dialled ? TR__FRAME_HELLO : TR__FRAME_HELLO_ACK;
    stranger_say(s, frame, kind, tr__frame_put_hello(frame, kind, 1, &hello) - TR__FRAME_HEADER);
}

void stranger_say_grant(stranger *s, uint64_t total)
{
    uint8_t frame[600];
    tr__frame_put_grant(frame, 1, total);
    stranger_say(s, frame, TR__FRAME_GRANT, 8);
}

void stranger_read(stranger *s)
{
    uint8_t bytes[4096];
    while (s->raw && memory_raw_read(s->raw, bytes, sizeof(bytes)) > 0)
        continue;
}

void stranger_frame(stranger *s, fuzz_bytes *in, tr__frame_kind kind)
{
    size_t length = fuzz_number(in, 2);
    const uint8_t *body = fuzz_some(in, length, &length);
    uint8_t *frame = malloc(TR__FRAME_HEADER + length + TR__FRAME_TAG);
    memcpy(frame + TR__FRAME_HEADER, body, length);
    stranger_say(s, frame, kind, length);
    free(frame);
}

void stranger_chunk(stranger *s, fuzz_bytes *in)
{
    size_t length = 1 + fuzz_number(in, 2) % STRANGER_CHUNK_MAX, more = fuzz_number(in, 2), got;
    if (!s->unit_left)
        s->unit_left = length + more;
    length = length < s->unit_left ? length : s->unit_left;
    bool last = length == s->unit_left;
    uint32_t messages = last ? 1 + fuzz_byte(in) % length : 0;
    const uint8_t *bytes = fuzz_some(in, length, &got);
    uint8_t *frame = calloc(1, TR__CHUNK_OVERHEAD + length + TR__FRAME_TAG);
    tr__frame_put_chunk(frame, s->unit_left, messages, (uint32_t)length, 0);
    memcpy(frame + TR__CHUNK_OVERHEAD, bytes, got);
    s->unit_left -= length;
    stranger_say(s, frame, TR__FRAME_CHUNK, TR__CHUNK_OVERHEAD - TR__FRAME_HEADER + length);
    free(frame);
}
