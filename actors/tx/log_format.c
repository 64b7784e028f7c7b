/* See log_format.h. Pure functions over bytes: any thread, nothing fails but by what is returned. */
#include "actors/tx/log_format.h"

#include <endian.h>
#include <string.h>

#include "base/hash.h"

#define RECORD_MAGIC 0x31725254u /* "TRr1" */
#define SLOT_MAGIC   0x31735254u /* "TRs1" */

static const char head_magic[8] = "TR-TXLOG";

static void put32(uint8_t *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static void put64(uint8_t *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

size_t tr__log_stride(size_t length)
{
    return TR__LOG_RECORD_BYTES + ((length + 7) & ~(size_t)7);
}

/* ---- header and slots ---------------------------------------------------------------------------------- */

static void derive(tr__log_head *head, uint32_t crc)
{
    head->chain = crc;
    head->salt = tr__crc32c(0, head->id, sizeof head->id);
}

void tr__log_head_write(tr__log_head *head, uint8_t bytes[TR__LOG_HEADER_BYTES])
{
    memset(bytes, 0, TR__LOG_HEADER_BYTES);
    memcpy(bytes, head_magic, sizeof head_magic);
    put32(bytes + 8, TR__LOG_VERSION);
    memcpy(bytes + 16, head->id, sizeof head->id);
    put32(bytes + 32, head->segment);
    put64(bytes + 40, head->first_lsn);
    put32(bytes + 48, head->before);
    uint32_t crc = tr__crc32c(0, bytes, TR__LOG_HEADER_BYTES - 4);
    put32(bytes + TR__LOG_HEADER_BYTES - 4, crc);
    derive(head, crc);
}

const char *tr__log_head_read(tr__log_head *head, const uint8_t bytes[TR__LOG_HEADER_BYTES])
{
    if (memcmp(bytes, head_magic, sizeof head_magic) != 0)
        return "it doesn't begin as a transaction log does";
    uint32_t crc = tr__crc32c(0, bytes, TR__LOG_HEADER_BYTES - 4);
    if (crc != get32(bytes + TR__LOG_HEADER_BYTES - 4))
        return "the header's checksum is wrong";
    head->version = get32(bytes + 8);
    if (head->version != TR__LOG_VERSION)
        return NULL;
    memcpy(head->id, bytes + 16, sizeof head->id);
    head->segment = get32(bytes + 32);
    head->first_lsn = get64(bytes + 40);
    head->before = get32(bytes + 48);
    derive(head, crc);
    return NULL;
}

void tr__log_slot_write(const tr__log_head *head, uint64_t durable, uint8_t bytes[TR__LOG_SLOT_BYTES])
{
    memset(bytes, 0, TR__LOG_SLOT_BYTES);
    put32(bytes, SLOT_MAGIC);
    put64(bytes + 8, durable);
    put32(bytes + TR__LOG_SLOT_BYTES - 4, tr__crc32c(head->salt, bytes, TR__LOG_SLOT_BYTES - 4));
}

bool tr__log_slot_read(const tr__log_head *head, const uint8_t bytes[TR__LOG_SLOT_BYTES], uint64_t *durable)
{
    if (get32(bytes) != SLOT_MAGIC ||
        get32(bytes + TR__LOG_SLOT_BYTES - 4) != tr__crc32c(head->salt, bytes, TR__LOG_SLOT_BYTES - 4))
        return false;
    *durable = get64(bytes + 8);
    return true;
}

/* ---- records ------------------------------------------------------------------------------------------- */

static uint32_t record_crc(const tr__log_head *head, uint64_t offset, const uint8_t *bytes)
{
    uint8_t at[8];
    put64(at, offset);
    return tr__crc32c(tr__crc32c(head->salt, at, sizeof at), bytes, TR__LOG_RECORD_BYTES - 4);
}

void tr__log_record_write(const tr__log_head *head, uint64_t offset, tr__log_record *record,
                          uint8_t bytes[TR__LOG_RECORD_BYTES])
{
    memset(bytes, 0, TR__LOG_RECORD_BYTES);
    put32(bytes, RECORD_MAGIC);
    bytes[4] = record->type;
    put32(bytes + 8, record->length);
    put32(bytes + 12, head->segment);
    put64(bytes + 16, record->lsn);
    put64(bytes + 24, record->durable);
    put32(bytes + 32, record->chain);
    put32(bytes + 36, record->payload_crc);
    record->crc = record_crc(head, offset, bytes);
    put32(bytes + 44, record->crc);
}

bool tr__log_record_maybe(const uint8_t *bytes)
{
    return get32(bytes) == RECORD_MAGIC;
}

const char *tr__log_record_read(const tr__log_head *head, uint64_t offset,
                                const uint8_t bytes[TR__LOG_RECORD_BYTES], tr__log_record *record)
{
    if (get32(bytes) != RECORD_MAGIC)
        return "no record begins there";
    record->crc = get32(bytes + 44);
    if (record->crc != record_crc(head, offset, bytes))
        return "the record's header checksum is wrong";
    record->type = bytes[4];
    record->length = get32(bytes + 8);
    record->lsn = get64(bytes + 16);
    record->durable = get64(bytes + 24);
    record->chain = get32(bytes + 32);
    record->payload_crc = get32(bytes + 36);
    if (get32(bytes + 12) != head->segment || record->length > TR__LOG_PAYLOAD_MAX ||
        record->durable >= record->lsn || (record->type == TR__LOG_MARK && record->length > 0))
        return "the record's header makes no sense";
    return NULL;
}
