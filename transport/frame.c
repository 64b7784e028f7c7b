/* See frame.h. Pure functions: any thread, no allocation; all input is taken for hostile. */
#include "transport/frame.h"

#include <string.h>

#include "base/err.h"
#include "base/hash.h"

static const uint8_t MAGIC[4] = {'T', 'R', 'P', 'E'};

/* A row a kind: its word, its lane, and what its body may measure. */
static const struct kind_row {
    const char *word;
    tr__lane lane;
    uint32_t length_min, length_max;
} KINDS[TR__FRAME_KINDS] = {
    [TR__FRAME_HELLO] = {"hello", TR__LANE_CONTROL, 19, TR__FRAME_SIZE_HELLO - TR__FRAME_HEADER},
    [TR__FRAME_HELLO_ACK] = {"hello-ack", TR__LANE_CONTROL, 19, TR__FRAME_SIZE_HELLO - TR__FRAME_HEADER},
    [TR__FRAME_REFUSE] = {"refuse", TR__LANE_CONTROL, 2, 512},
    [TR__FRAME_HEARTBEAT] = {"heartbeat", TR__LANE_CONTROL, 0, 0},
    [TR__FRAME_ACK] = {"ack", TR__LANE_CONTROL, 16, 16},
    [TR__FRAME_GRANT] = {"grant", TR__LANE_CONTROL, 8, 8},
    [TR__FRAME_GOODBYE] = {"goodbye", TR__LANE_CONTROL, 0, 0},
    [TR__FRAME_BATCH] = {"batch", TR__LANE_NORMAL, 5, TR__FRAME_SIZE_MAX - TR__FRAME_HEADER},
    [TR__FRAME_KEY] = {"key", TR__LANE_CONTROL, 4 + TR__KEY_SIZE, 256},
    [TR__FRAME_CHUNK] = {"chunk", TR__LANE_BULK, 13, TR__CHUNK_FRAME_MAX - TR__FRAME_HEADER},
    [TR__FRAME_BULK_GRANT] = {"bulk-grant", TR__LANE_CONTROL, 8, 8},
};

#define FLAG_SEALED 1
#define SUITE       1 /* how psk.c seals: X25519, BLAKE2b, ChaCha20-Poly1305 */

/* Little-endian numbers ---- */

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get_u64(const uint8_t *at)
{
    return get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

/* Headers ---- */

const char *tr__frame_kind_word(tr__frame_kind kind)
{
    return kind > 0 && kind < TR__FRAME_KINDS ? KINDS[kind].word : "unknown";
}

bool tr__frame_may_begin(const uint8_t *bytes, size_t length)
{
    return memcmp(bytes, MAGIC, length < sizeof MAGIC ? length : sizeof MAGIC) == 0;
}

tr_err tr__frame_header(const uint8_t *bytes, size_t frame_max, tr__frame *frame, tr_error *error)
{
    if (!tr__frame_may_begin(bytes, sizeof MAGIC))
        return tr__fail(
            error, TR_EPROTO,
            "the other side doesn't speak Troupe's protocol (got bytes %02x %02x %02x %02x); is it "
            "another kind of server?",
            bytes[0], bytes[1], bytes[2], bytes[3]);
    if (bytes[4] != TR__FRAME_VERSION)
        return tr__fail(error, TR_EVERSION, "frames of version %u came, this node reads version %d", bytes[4],
                        TR__FRAME_VERSION);
    unsigned kind = bytes[5];
    if (kind == 0 || kind >= TR__FRAME_KINDS)
        return tr__fail(error, TR_EPROTO, "a frame of unknown kind %u came", kind);
    const struct kind_row *row = &KINDS[kind];
    if (bytes[6] != row->lane || (bytes[7] & ~FLAG_SEALED))
        return tr__fail(error, TR_EPROTO, "a %s frame came on lane %u with flags %02x", row->word, bytes[6],
                        bytes[7]);
    bool sealed = bytes[7] & FLAG_SEALED;
    uint32_t length = get_u32(bytes + 8), tag = sealed ? TR__FRAME_TAG : 0;
    if (length < row->length_min + tag || length > row->length_max + tag)
        return tr__fail(error, TR_EPROTO, "a %s frame claims a body of %u bytes; %u to %u are allowed",
                        row->word, length, row->length_min + tag, row->length_max + tag);
    length -= tag;
    if (length + (size_t)TR__FRAME_HEADER > frame_max)
        return tr__fail(error, TR_EPROTO, "a %s frame claims %u bytes; at most %zu are allowed now",
                        row->word, length + TR__FRAME_HEADER, frame_max);
    *frame = (tr__frame){.kind = kind,
                         .lane = row->lane,
                         .length = length,
                         .crc = get_u32(bytes + 12),
                         .size = TR__FRAME_HEADER + (size_t)length + tag,
                         .sealed = sealed,
                         .sequence = get_u64(bytes + 16)};
    return TR_OK;
}

static uint32_t checksum(const uint8_t *bytes, uint32_t body_length)
{
    uint32_t crc = tr__crc32c(0, bytes, 12);
    return tr__crc32c(crc, bytes + 16, (size_t)body_length + TR__FRAME_HEADER - 16);
}

tr_err tr__frame_decode(const uint8_t *bytes, size_t length, size_t frame_max, tr__frame *frame,
                        tr_error *error)
{
    if (length < TR__FRAME_HEADER)
        return tr__fail(error, TR_EPROTO, "a frame's header is cut off after %zu bytes", length);
    TR_TRY(tr__frame_header(bytes, frame_max, frame, error));
    if (length < frame->size)
        return tr__fail(error, TR_EPROTO, "a %s frame of %zu bytes is cut off after %zu",
                        tr__frame_kind_word(frame->kind), frame->size, length);
    uint32_t crc = frame->sealed ? 0 : checksum(bytes, frame->length);
    if (crc != frame->crc)
        return tr__fail(error, TR_EPROTO, "a %s frame arrived damaged (checksum %08x, should be %08x)",
                        tr__frame_kind_word(frame->kind), crc, frame->crc);
    frame->body = bytes + TR__FRAME_HEADER;
    return TR_OK;
}

void tr__frame_put_header(uint8_t *bytes, tr__frame_kind kind, uint32_t body_length, uint64_t sequence)
{
    memcpy(bytes, MAGIC, sizeof MAGIC);
    bytes[4] = TR__FRAME_VERSION;
    bytes[5] = (uint8_t)kind;
    bytes[6] = (uint8_t)KINDS[kind].lane;
    bytes[7] = 0;
    put_u32(bytes + 8, body_length);
    put_u32(bytes + 12, 0);
    put_u64(bytes + 16, sequence);
}

void tr__frame_finish(uint8_t *bytes, tr__frame_kind kind, uint32_t body_length, uint64_t sequence)
{
    tr__frame_put_header(bytes, kind, body_length, sequence);
    put_u32(bytes + 12, checksum(bytes, body_length));
}

size_t tr__frame_mark_sealed(uint8_t *bytes)
{
    uint32_t length = get_u32(bytes + 8) + TR__FRAME_TAG;
    bytes[7] = FLAG_SEALED;
    put_u32(bytes + 8, length);
    put_u32(bytes + 12, 0); /* a checksum would tell about what is encrypted */
    return TR__FRAME_HEADER + (size_t)length;
}

/* Texts in bodies: one byte of length, then the bytes ---- */

static uint8_t *put_text(uint8_t *at, const char *text, size_t length_max)
{
    size_t length = strnlen(text, length_max);
    *at++ = (uint8_t)length;
    memcpy(at, text, length);
    return at + length;
}

/* The text at *at, before end, into text (length_max + 1 bytes); false if it is cut off, too long or has a
 * NUL. */
static bool get_text(const uint8_t **at, const uint8_t *end, char *text, size_t length_max)
{
    if (*at >= end)
        return false;
    size_t length = *(*at)++;
    if (length > (size_t)(end - *at) || length > length_max || memchr(*at, 0, length))
        return false;
    memcpy(text, *at, length);
    text[length] = 0;
    *at += length;
    return true;
}

/* Bodies ---- */

size_t tr__frame_put_empty(uint8_t *bytes, tr__frame_kind kind, uint64_t sequence)
{
    tr__frame_finish(bytes, kind, 0, sequence);
    return TR__FRAME_HEADER;
}

size_t tr__frame_put_hello(uint8_t *bytes, tr__frame_kind kind, uint64_t sequence, const tr__hello *hello)
{
    uint8_t *body = bytes + TR__FRAME_HEADER;
    body[0] = hello->version_min;
    body[1] = hello->version_max;
    body[2] = body[3] = 0;
    put_u32(body + 4, hello->capabilities);
    put_u64(body + 8, hello->id);
    uint8_t *at = body + 16;
    at = put_text(at, hello->cluster, TR__NAME_MAX);
    at = put_text(at, hello->name, TR__NAME_MAX);
    at = put_text(at, hello->address, TR__ADDRESS_MAX);
    if (hello->capabilities & TR__CAPABILITY_LANES) {
        put_u64(at, hello->message_max);
        at += 8;
    }
    tr__frame_finish(bytes, kind, (uint32_t)(at - body), sequence);
    return (size_t)(at - bytes);
}

tr_err tr__frame_get_hello(const tr__frame *frame, tr__hello *hello, tr_error *error)
{
    const uint8_t *body = frame->body, *end = body + frame->length;
    const uint8_t *at = body + 16;
    if (at > end)
        return tr__fail(error, TR_EPROTO, "a hello frame is cut off");
    *hello = (tr__hello){.version_min = body[0],
                         .version_max = body[1],
                         .capabilities = get_u32(body + 4),
                         .id = get_u64(body + 8)};
    if (!get_text(&at, end, hello->cluster, TR__NAME_MAX) || !get_text(&at, end, hello->name, TR__NAME_MAX) ||
        !get_text(&at, end, hello->address, TR__ADDRESS_MAX))
        return tr__fail(error, TR_EPROTO, "a hello frame's texts are cut off, too long, or no texts");
    if (hello->capabilities & TR__CAPABILITY_LANES) {
        if (end - at < 8)
            return tr__fail(error, TR_EPROTO, "a hello frame doesn't say how large a message may be");
        hello->message_max = get_u64(at);
    }
    if (hello->id == 0 || hello->version_min > hello->version_max)
        return tr__fail(error, TR_EPROTO, "a hello frame has no node id, or versions %u to %u",
                        hello->version_min, hello->version_max);
    if (tr__name_check("cluster", hello->cluster, error) || tr__name_check("node", hello->name, error))
        return error ? error->code = TR_EPROTO : TR_EPROTO;
    for (const char *c = hello->address; *c; c++) {
        if (*c <= ' ' || *c > '~')
            return tr__fail(error, TR_EPROTO, "a hello frame has an unprintable address");
    }
    return TR_OK;
}

size_t tr__frame_put_refuse(uint8_t *bytes, uint64_t sequence, const tr_error *why)
{
    uint8_t *body = bytes + TR__FRAME_HEADER;
    uint8_t *at = put_text(body, tr__err_word(why->code), TR__NAME_MAX);
    at = put_text(at, why->text, TR_ERROR_TEXT_MAX - 1);
    tr__frame_finish(bytes, TR__FRAME_REFUSE, (uint32_t)(at - body), sequence);
    return (size_t)(at - bytes);
}

tr_err tr__frame_get_refuse(const tr__frame *frame, tr_error *why, tr_error *error)
{
    const uint8_t *at = frame->body, *end = at + frame->length;
    char word[TR__NAME_MAX + 1];
    if (!get_text(&at, end, word, TR__NAME_MAX) || !get_text(&at, end, why->text, TR_ERROR_TEXT_MAX - 1) ||
        at != end)
        return tr__fail(error, TR_EPROTO, "a refuse frame's texts are cut off or too long");
    why->code = TR_EREFUSED;
    /* Codes travel as words: numbers would change their meaning when a code is added in the middle. */
    for (tr_err code = TR_OK + 1; code < TR_ERR_COUNT; code++) {
        if (strcmp(word, tr__err_word(code)) == 0)
            why->code = code;
    }
    for (char *c = why->text; *c; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) /* bytes of UTF-8 stay */
            *c = '?';
    }
    return TR_OK;
}

size_t tr__frame_put_ack(uint8_t *bytes, uint64_t sequence, const tr__ack *ack)
{
    put_u64(bytes + TR__FRAME_HEADER, ack->sequence);
    put_u64(bytes + TR__FRAME_HEADER + 8, ack->messages);
    tr__frame_finish(bytes, TR__FRAME_ACK, 16, sequence);
    return TR__FRAME_HEADER + 16;
}

tr_err tr__frame_get_ack(const tr__frame *frame, tr__ack *ack, tr_error *error)
{
    if (frame->length != 16)
        return tr__fail(error, TR_EPROTO, "an ack frame has a body of %u bytes", frame->length);
    *ack = (tr__ack){get_u64(frame->body), get_u64(frame->body + 8)};
    return TR_OK;
}

size_t tr__frame_put_grant(uint8_t *bytes, uint64_t sequence, uint64_t bytes_total)
{
    put_u64(bytes + TR__FRAME_HEADER, bytes_total);
    tr__frame_finish(bytes, TR__FRAME_GRANT, 8, sequence);
    return TR__FRAME_HEADER + 8;
}

size_t tr__frame_put_bulk_grant(uint8_t *bytes, uint64_t sequence, uint64_t bytes_total)
{
    put_u64(bytes + TR__FRAME_HEADER, bytes_total);
    tr__frame_finish(bytes, TR__FRAME_BULK_GRANT, 8, sequence);
    return TR__FRAME_HEADER + 8;
}

tr_err tr__frame_get_grant(const tr__frame *frame, uint64_t *bytes_total, tr_error *error)
{
    if (frame->length != 8)
        return tr__fail(error, TR_EPROTO, "a grant frame has a body of %u bytes", frame->length);
    *bytes_total = get_u64(frame->body);
    return TR_OK;
}

size_t tr__frame_put_key(uint8_t *bytes, uint64_t sequence, const uint8_t *public_key)
{
    put_u32(bytes + TR__FRAME_HEADER, SUITE);
    memcpy(bytes + TR__FRAME_HEADER + 4, public_key, TR__KEY_SIZE);
    tr__frame_finish(bytes, TR__FRAME_KEY, 4 + TR__KEY_SIZE, sequence);
    return TR__FRAME_HEADER + 4 + TR__KEY_SIZE;
}

tr_err tr__frame_get_key(const tr__frame *frame, uint8_t *public_key, tr_error *error)
{
    uint32_t suite = frame->length < 4 ? 0 : get_u32(frame->body);
    if (suite != SUITE || frame->length < 4 + TR__KEY_SIZE)
        return tr__fail(error, TR_EVERSION,
                        "one node seals frames by suite %u, the other knows suite %d; upgrade the older",
                        suite, SUITE);
    memcpy(public_key, frame->body + 4, TR__KEY_SIZE);
    return TR_OK;
}

void tr__frame_put_count(uint8_t *body, uint32_t messages)
{
    put_u32(body, messages);
}

tr_err tr__frame_get_batch(const tr__frame *frame, const uint8_t **bytes, size_t *length, uint32_t *messages,
                           tr_error *error)
{
    uint32_t count = frame->length < 4 ? 0 : get_u32(frame->body);
    if (count == 0 || count > frame->length - 4)
        return tr__fail(error, TR_EPROTO, "a batch of %u bytes claims %u messages", frame->length, count);
    *bytes = frame->body + 4;
    *length = frame->length - 4;
    *messages = count;
    return TR_OK;
}

void tr__frame_put_chunk(uint8_t *bytes, uint64_t left, uint32_t messages, uint32_t length, uint64_t sequence)
{
    tr__frame_put_header(bytes, TR__FRAME_CHUNK, TR__CHUNK_OVERHEAD - TR__FRAME_HEADER + length, sequence);
    put_u64(bytes + TR__FRAME_HEADER, left);
    put_u32(bytes + TR__FRAME_HEADER + 8, messages);
}

uint32_t tr__frame_chunk_checksum(const uint8_t *bytes)
{
    return checksum(bytes, TR__CHUNK_OVERHEAD - TR__FRAME_HEADER);
}

void tr__frame_put_checksum(uint8_t *bytes, uint32_t crc)
{
    put_u32(bytes + 12, crc);
}

tr_err tr__frame_get_chunk(const tr__frame *frame, const uint8_t **bytes, size_t *length, uint64_t *left,
                           uint32_t *messages, tr_error *error)
{
    size_t head = TR__CHUNK_OVERHEAD - TR__FRAME_HEADER;
    if (frame->length <= head)
        return tr__fail(error, TR_EPROTO, "a chunk of %u bytes holds nothing", frame->length);
    *bytes = frame->body + head;
    *length = frame->length - head;
    *left = get_u64(frame->body);
    *messages = get_u32(frame->body + 8);
    bool last = *left == *length;
    if (*left < *length || last != (*messages > 0) || *messages > *left)
        return tr__fail(error, TR_EPROTO, "a chunk of %zu bytes claims %llu to be left, and %u messages",
                        *length, (unsigned long long)*left, *messages);
    return TR_OK;
}

tr_err tr__name_check(const char *what, const char *name, tr_error *error)
{
    size_t length = strnlen(name, TR__NAME_MAX + 1);
    if (length == 0 || length > TR__NAME_MAX)
        return tr__fail(error, TR_EINVAL, "the %s's name must have 1 to %d characters, this has %s", what,
                        TR__NAME_MAX, length ? "more" : "none");
    for (const char *c = name; *c; c++) {
        if (!(*c >= '0' && *c <= '9') && !(*c >= 'A' && *c <= 'Z') && !(*c >= 'a' && *c <= 'z') &&
            !strchr("_.-", *c))
            return tr__fail(
                error, TR_EINVAL,
                "the %s's name may have letters, digits, '_', '.' and '-' only; its character %d is "
                "something else",
                what, (int)(c - name) + 1);
    }
    return TR_OK;
}
