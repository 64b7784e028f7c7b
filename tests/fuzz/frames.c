/* Frames from bytes: the splitter in pieces of any size, the header's and the bodies' decoders. The first byte says how the
 * bytes arrive, and whether checksums, sequences, and what chunks say of their unit are made right, which no fuzzer guesses. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "transport/gathering.h"
#include "transport/splitter.h"

#define UNIT_MAX   (256u << 10) /* bytes of a unit of chunks */
#define CHUNK_HEAD (TR__CHUNK_OVERHEAD - TR__FRAME_HEADER)

/* What a chunk says of its unit, so that it goes on where the one before it ended. */
static void mend_chunk(uint8_t *body, size_t length, uint64_t *left)
{
    if (length <= CHUNK_HEAD)
        return;
    size_t bytes = length - CHUNK_HEAD;
    if (*left < bytes) {
        memcpy(left, body, 8);
        *left = *left % UNIT_MAX + bytes;
    }
    memcpy(body, left, 8);
    *left -= bytes;
    memcpy(body + 8, &(uint32_t){*left == 0}, 4);
}

/* Make a checksum right, and the sequence, of each frame that stands whole in the bytes; chunks too, if they shall be. */
static void mend(uint8_t *bytes, size_t length, bool chunks)
{
    uint64_t sequence[TR__LANES] = {0}, left = 0;
    tr__frame frame;
    for (size_t at = 0; length - at >= TR__FRAME_HEADER; at += frame.size) {
        if (tr__frame_header(bytes + at, TR__FRAME_SIZE_MAX, &frame, NULL) != TR_OK ||
            frame.size > length - at)
            return;
        bool sealed = frame.sealed;
        if (chunks && !sealed && frame.kind == TR__FRAME_CHUNK)
            mend_chunk(bytes + at + TR__FRAME_HEADER, frame.length, &left);
        if (!sealed)
            tr__frame_finish(bytes + at, frame.kind, frame.length, ++sequence[frame.lane]);
        else
            memcpy(bytes + at + 16, &(uint64_t){++sequence[frame.lane]}, 8);
    }
}

static void read_chunk(const tr__frame *frame, tr__gathering *gathering, tr_error *error)
{
    tr__gathered unit = {0};
    uint64_t before = gathering->length;
    bool first;
    tr_err err = tr__gathering_look(gathering, frame, UNIT_MAX, &unit, &first, error);
    if (err == TR_OK) {
        if (first) /* any of the ways, by the unit's size */
            gathering->way = (tr__unit_way)(unit.left % (TR__UNIT_REFUSED + 1));
        err = tr__gathering_take(gathering, 16, &unit, error);
    }
    tr__check(err == TR_OK || error->text[0], "an error without a text");
    tr__check(err || !unit.messages ||
                  (unit.length >= unit.messages && unit.length <= before + frame->length),
              "a unit of %u messages in %zu bytes", unit.messages, unit.length);
    tr__check(err || unit.messages || gathering->left > 0,
              "a unit that isn't whole, and of which nothing is left");
    tr__check(gathering->length + gathering->left <= UNIT_MAX, "a unit is beyond the bound");
    if (!err && unit.messages && unit.block)
        free(fuzz_copy(unit.bytes, unit.length, false)); /* all of it can be read */
    tr__free(unit.block);
    if (err)
        tr__gathering_drop(gathering); /* as the connection does, which ends */
}

static void read_body(const tr__frame *frame, tr__gathering *gathering)
{
    tr_error error = {0}, why;
    tr__hello hello;
    tr__ack ack;
    uint64_t total;
    uint32_t messages;
    const uint8_t *bytes;
    size_t length;
    uint8_t key[TR__KEY_SIZE];
    tr_err err = TR_OK;
    if (frame->kind == TR__FRAME_HELLO || frame->kind == TR__FRAME_HELLO_ACK) {
        err = tr__frame_get_hello(frame, &hello, &error);
        tr__check(err || (tr__name_check("a", hello.name, NULL) == TR_OK && hello.id),
                  "a hello without a name");
    } else if (frame->kind == TR__FRAME_REFUSE) {
        err = tr__frame_get_refuse(frame, &why, &error);
        tr__check(err || (why.code > TR_OK && why.code < TR_ERR_COUNT), "refused by code %d", why.code);
    } else if (frame->kind == TR__FRAME_ACK) {
        err = tr__frame_get_ack(frame, &ack, &error);
    } else if (frame->kind == TR__FRAME_GRANT || frame->kind == TR__FRAME_BULK_GRANT) {
        err = tr__frame_get_grant(frame, &total, &error);
    } else if (frame->kind == TR__FRAME_CHUNK) {
        read_chunk(frame, gathering, &error);
    } else if (frame->kind == TR__FRAME_KEY) {
        err = tr__frame_get_key(frame, key, &error);
    } else if (frame->kind == TR__FRAME_BATCH) {
        err = tr__frame_get_batch(frame, &bytes, &length, &messages, &error);
        tr__check(err ||
                      (messages > 0 && length >= messages && bytes + length == frame->body + frame->length),
                  "a batch of %u messages in %zu bytes", messages, length);
    }
    tr__check(err == TR_OK || error.text[0], "an error without a text");
}

/* Frames as they leave the splitter: whole, by their headers. */
static void read_slice(const tr__slice *slice, size_t frame_max, tr__gathering *gathering)
{
    tr__frame frame;
    tr_error error = {0};
    for (size_t at = 0; at < slice->length; at += frame.size) {
        tr_err err = tr__frame_header(slice->bytes + at, frame_max, &frame, &error);
        tr__check(err == TR_OK && frame.size <= slice->length - at, "the splitter let a header pass: %s",
                  error.text);
        uint8_t *copy = fuzz_copy(slice->bytes + at, frame.size, false);
        err = tr__frame_decode(copy, frame.size, frame_max, &frame, &error);
        tr__check(err == TR_OK || error.text[0], "an error without a text");
        if (err == TR_OK && !frame.sealed)
            read_body(&frame, gathering);
        free(copy);
    }
}

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    uint8_t how = fuzz_byte(&in);
    size_t frame_max = how & 1 ? TR__FRAME_SIZE_MAX : TR__FRAME_SIZE_HELLO;
    size_t piece = how & 2 ? 1 + (size_t)(how >> 4) : SIZE_MAX, left = (size_t)(in.end - in.at);
    uint8_t *copy = fuzz_copy(in.at, left, false), *at;
    if (how & 4)
        mend(copy, left, how & 8);
    tr__splitter splitter = {0};
    tr__gathering gathering = {0};
    tr__slice *slice;
    tr_error error = {0};
    tr_err err = TR_OK;
    for (size_t next = 0; next < left && err == TR_OK;) {
        size_t room;
        err = tr__splitter_room(&splitter, frame_max, &at, &room, &error);
        tr__check(err == TR_OK && room > 0, "no room: %s", error.text);
        size_t take = left - next < piece ? left - next : piece;
        take = take < room ? take : room;
        memcpy(at, copy + next, take);
        next += take;
        err = tr__splitter_took(&splitter, take, frame_max, &slice, &error);
        tr__check(err == TR_OK || error.text[0], "an error without a text");
        if (slice)
            read_slice(slice, frame_max, &gathering);
        tr__slice_destroy(slice);
    }
    tr__gathering_drop(&gathering);
    tr__splitter_fini(&splitter);
    free(copy);
}

const fuzz_target fuzz_frames = {"frames", 768u << 10, 8, one};
