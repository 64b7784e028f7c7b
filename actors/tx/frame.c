/* See frame.h. Pure functions. Numbers are LEB128 varints; bytes and texts have their length in front. */
#include "actors/tx/frame.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "mailbox/type.h"

#define WORD(name, word, ...)     [name] = word,
#define MEANING(name, word, text) [name] = text,

const char *tr__tx_reason_word(uint32_t reason)
{
    static const char *const words[TR_TX_REASON_COUNT] = {TR_TX_REASONS(WORD)};
    return reason < TR_TX_REASON_COUNT ? words[reason] : "unknown";
}

const char *tr__tx_reason_meaning(uint32_t reason)
{
    static const char *const meanings[TR_TX_REASON_COUNT] = {TR_TX_REASONS(MEANING)};
    return reason < TR_TX_REASON_COUNT ? meanings[reason] : "for an unknown reason";
}

const char *tr__tx_status_word(uint32_t status)
{
    static const char *const words[TR_TX_STATUS_COUNT] = {TR_TX_STATUSES(WORD)};
    return status < TR_TX_STATUS_COUNT ? words[status] : "unknown";
}

void tr__tx_put_schema(tr__tx_frame *frame)
{
    const tr_typeinfo *info = frame->type ? tr__type_find(frame->type, frame->fingerprint) : NULL;
    if (info) {
        frame->schema.present = true;
        frame->schema.value = info->schema;
    }
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static uint8_t *grow(tr__tx_buffer *buffer, size_t more)
{
    if (buffer->failed)
        return NULL;
    if (buffer->room - buffer->length < more) {
        size_t room = (buffer->length + more) * 2;
        uint8_t *bigger = tr__realloc(buffer->bytes, room);
        buffer->failed = !bigger;
        if (!bigger)
            return NULL;
        buffer->bytes = bigger;
        buffer->room = room;
    }
    uint8_t *at = buffer->bytes + buffer->length;
    buffer->length += more;
    return at;
}

void tr__tx_put_number(tr__tx_buffer *buffer, uint64_t number)
{
    uint8_t bytes[10];
    size_t length = 0;
    do {
        bytes[length++] = (uint8_t)(number > 127 ? number | 128 : number);
        number >>= 7;
    } while (number);
    uint8_t *at = grow(buffer, length);
    if (at)
        memcpy(at, bytes, length);
}

void tr__tx_put_raw(tr__tx_buffer *buffer, const void *bytes, size_t length)
{
    uint8_t *at = length ? grow(buffer, length) : NULL;
    if (at)
        memcpy(at, bytes, length);
}

void tr__tx_put_bytes(tr__tx_buffer *buffer, const void *bytes, size_t length)
{
    tr__tx_put_number(buffer, length);
    tr__tx_put_raw(buffer, bytes, length);
}

void tr__tx_put_text(tr__tx_buffer *buffer, const char *text)
{
    tr__tx_put_bytes(buffer, text, strlen(text));
}

void tr__tx_buffer_free(tr__tx_buffer *buffer)
{
    tr__free(buffer->bytes);
    *buffer = (tr__tx_buffer){0};
}

/* ---- reading ------------------------------------------------------------------------------------------- */

uint64_t tr__tx_get_number(tr__tx_reader *reader)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && reader->at < reader->end && !reader->failed; shift += 7) {
        uint8_t byte = *reader->at++;
        number |= (uint64_t)(byte & 127) << shift;
        if (byte < 128 && (shift < 63 || byte < 2))
            return number;
    }
    reader->failed = true;
    return 0;
}

tr_bytes tr__tx_get_bytes(tr__tx_reader *reader)
{
    uint64_t length = tr__tx_get_number(reader);
    if (reader->failed || length > (size_t)(reader->end - reader->at)) {
        reader->failed = true;
        return (tr_bytes){reader->at, 0};
    }
    tr_bytes bytes = {reader->at, (size_t)length};
    reader->at += length;
    return bytes;
}

void tr__tx_get_text(tr__tx_reader *reader, char *out, size_t room)
{
    tr_bytes text = tr__tx_get_bytes(reader);
    if (text.size >= room || memchr(text.data, 0, text.size)) {
        reader->failed = true;
        text.size = 0;
    }
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

bool tr__tx_read_all(const tr__tx_reader *reader)
{
    return !reader->failed && reader->at == reader->end;
}

void tr__tx_put_parties(tr__tx_buffer *buffer, const tr__tx_party *parties, uint32_t count)
{
    tr__tx_put_number(buffer, count);
    for (uint32_t i = 0; i < count; i++) {
        tr__tx_put_text(buffer, parties[i].node);
        tr__tx_put_text(buffer, parties[i].actor);
        tr__tx_put_number(buffer, parties[i].boot);
        tr__tx_put_number(buffer, parties[i].reads);
        tr__tx_put_number(buffer, parties[i].writes);
    }
}

bool tr__tx_get_parties(tr_bytes bytes, tr__tx_party *parties, uint32_t *count)
{
    tr__tx_reader reader = {bytes.data, (const uint8_t *)bytes.data + bytes.size, false};
    uint64_t number = tr__tx_get_number(&reader);
    if (number < 1 || number > TR_TX_PARTICIPANTS_MAX)
        return false;
    for (uint64_t i = 0; i < number; i++) {
        tr__tx_get_text(&reader, parties[i].node, sizeof(parties[i].node));
        tr__tx_get_text(&reader, parties[i].actor, sizeof(parties[i].actor));
        parties[i].boot = tr__tx_get_number(&reader);
        parties[i].reads = (uint32_t)tr__tx_get_number(&reader);
        parties[i].writes = (uint32_t)tr__tx_get_number(&reader);
        if (!parties[i].node[0] || !parties[i].actor[0])
            return false;
    }
    *count = (uint32_t)number;
    return tr__tx_read_all(&reader);
}

/* ---- ids and tickets ----------------------------------------------------------------------------------- */

static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; /* Crockford's base 32 */

/* 128 bits as 26 digits of 5: the first holds the top 3. */
char *tr__tx_id_format(const tr_tx_id *id, char *out)
{
    unsigned some = 0, count = 2, digit = 0; /* bits that no digit has yet: two zeros come first */
    for (int i = 0; i < 16; i++) {
        some = some << 8 | id->bytes[i];
        for (count += 8; count >= 5; count -= 5)
            out[digit++] = digits[some >> (count - 5) & 31u];
    }
    out[digit] = '\0';
    return out;
}

bool tr__tx_id_parse(const char *text, tr_tx_id *id)
{
    memset(id, 0, sizeof(*id));
    for (int digit = 0; digit < 26; digit++) {
        const char *found = text[digit] ? strchr(digits, text[digit]) : NULL;
        if (!found)
            return false;
        unsigned value = (unsigned)(found - digits);
        for (int bit = digit * 5 - 2, i = 4; bit < digit * 5 + 3; bit++, i--) {
            unsigned one = value >> i & 1u;
            if (bit < 0 ? one : 0)
                return false;
            if (bit >= 0)
                id->bytes[bit / 8] |= (uint8_t)(one << (7 - bit % 8));
        }
    }
    return text[26] == '\0';
}

uint64_t tr__tx_id_ms(const tr_tx_id *id)
{
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    return ms;
}

tr_tx_id tr__tx_id_make(uint64_t ms, uint64_t chance_high, uint64_t chance_low)
{
    tr_tx_id id;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    id.bytes[6] = (uint8_t)(chance_high >> 8);
    id.bytes[7] = (uint8_t)chance_high;
    memcpy(id.bytes + 8, &chance_low, 8);
    return id;
}

void tr__tx_ticket_format(const tr_tx_id *id, const char *node, const uint8_t *log, char *out)
{
    static const char hex_digits[] = "0123456789abcdef";
    char text[TR_TX_ID_TEXT], hex[2 * TR__LOG_ID_BYTES + 1] = "";
    for (int i = 0; i < TR__LOG_ID_BYTES; i++) {
        hex[2 * i] = hex_digits[log[i] >> 4];
        hex[2 * i + 1] = hex_digits[log[i] & 15];
    }
    snprintf(out, TR_TX_TICKET_MAX, "%s@%s/%s", tr__tx_id_format(id, text), node, hex);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool tr__tx_ticket_parse(const char *text, tr_tx_id *id, char node[TR_NAME_MAX], uint8_t *log)
{
    char id_text[TR_TX_ID_TEXT];
    const char *at = strchr(text, '@'), *slash = at ? strchr(at, '/') : NULL;
    if (!slash || at - text != TR_TX_ID_TEXT - 1 || slash - at < 2 || slash - at > TR_NAME_MAX ||
        strlen(slash + 1) != 2 * TR__LOG_ID_BYTES)
        return false;
    snprintf(id_text, sizeof(id_text), "%s", text);
    snprintf(node, TR_NAME_MAX, "%.*s", (int)(slash - at - 1), at + 1);
    for (int i = 0; i < TR__LOG_ID_BYTES; i++) {
        int high = hex_digit(slash[1 + 2 * i]), low = hex_digit(slash[2 + 2 * i]);
        if (high < 0 || low < 0)
            return false;
        log[i] = (uint8_t)(high << 4 | low);
    }
    return tr__tx_id_parse(id_text, id);
}

/* ---- migrations ---------------------------------------------------------------------------------------- */

bool tr__tx_is_migrate(uint64_t type)
{
    const tr_typeinfo *info = tr__type_of(&tr__tx_migrate_type);
    return info && info->id == type;
}
