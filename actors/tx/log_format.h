/* What a transaction log's bytes mean. Pure functions over bytes: any thread, no failure but what they
 * return. A log is a row of segments; each is
 *
 *     0      header: magic, version, log id, segment id, first LSN, chain, CRC; written once. The first segment's
 *            is forced before that has a name, the others' with their first batch
 *     4096   slot 0: a durable LSN; slot 1 is at 8192. Written in turn after each force, themselves unforced
 *     12288  records, each at a multiple of 8, then zeros up to the end of the file
 *
 * All numbers are little-endian. A record is 48 bytes and its payload:
 *
 *     0 magic   4 type, three zeros   8 length   12 segment   16 LSN   24 durable   32 chain   36 payload CRC
 *     40 zero   44 header CRC, over the 44 bytes before
 *
 * LSNs count records from 1 without a gap. `durable` is the LSN that was durable when the record's batch was
 * written. `chain` is the header CRC of the record before (of the log's header for the first): it covers that
 * one's payload CRC and chain, so all before it. A segment's last record is a mark, which has no LSN of its own (it
 * says the next record's) and is forced before anything is written into the next segment, whose header has its
 * chain: so one row of checksums goes through all segments. The header CRC starts from the log id and the record's own
 * offset: bytes of another log, or of a log inside a payload, are not taken for a record. */
#ifndef TR_ACTORS_TX_LOG_FORMAT_H
#define TR_ACTORS_TX_LOG_FORMAT_H

#include "actors/tx/log_store.h"

#define TR__LOG_VERSION      1u
#define TR__LOG_SEGMENT      1u    /* the first one */
#define TR__LOG_MARK         0xffu /* type of a segment's last record; it has no payload */
#define TR__LOG_HEADER_BYTES 64
#define TR__LOG_SLOT_BYTES   32
#define TR__LOG_RECORD_BYTES 48
#define TR__LOG_SLOT_AT(n)   (4096u * (1u + (n)))
#define TR__LOG_DATA_AT      12288u
/* One branch's redo (1 MiB) and what its record says beside it. */
#define TR__LOG_PAYLOAD_MAX (1024u * 1024u + 64u * 1024u)

typedef struct tr__log_head {
    uint32_t version; /* as read; what is written is always TR__LOG_VERSION */
    uint8_t id[TR__LOG_ID_BYTES];
    uint32_t segment;
    uint64_t first_lsn;
    uint32_t before; /* CRC of the segment before's mark; 0 in the first one */
    uint32_t chain;  /* what the first record's chain is */
    uint32_t salt;   /* what CRCs of records and slots start from */
} tr__log_head;

typedef struct tr__log_record {
    uint8_t type;
    uint32_t length;
    uint64_t lsn, durable;
    uint32_t chain, payload_crc;
    uint32_t crc; /* its own header's */
} tr__log_record;

/* Bytes a record takes with a payload of `length`. */
size_t tr__log_stride(size_t length);

/* From id, segment, first_lsn and before; sets the other two. */
void tr__log_head_write(tr__log_head *head, uint8_t bytes[TR__LOG_HEADER_BYTES]);
/* NULL, or what is wrong with it, in words. With another version only `version` is set. */
const char *tr__log_head_read(tr__log_head *head, const uint8_t bytes[TR__LOG_HEADER_BYTES]);

void tr__log_slot_write(const tr__log_head *head, uint64_t durable, uint8_t bytes[TR__LOG_SLOT_BYTES]);
/* False: not a whole slot of this log. */
bool tr__log_slot_read(const tr__log_head *head, const uint8_t bytes[TR__LOG_SLOT_BYTES], uint64_t *durable);

/* The header of `record` as it stands at `offset`; sets record->crc. */
void tr__log_record_write(const tr__log_head *head, uint64_t offset, tr__log_record *record,
                          uint8_t bytes[TR__LOG_RECORD_BYTES]);
/* NULL, or what is wrong with the header, in words; order and payload are not looked at. */
const char *tr__log_record_read(const tr__log_head *head, uint64_t offset,
                                const uint8_t bytes[TR__LOG_RECORD_BYTES], tr__log_record *record);
/* Only the cheap part of it, for looking at every eighth byte: whether a header may begin here. */
bool tr__log_record_maybe(const uint8_t *bytes);

#endif
