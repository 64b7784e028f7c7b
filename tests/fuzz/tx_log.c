/* A transaction log as a node finds it at its start. An input is the log without its empty stretches: the header, the two
 * slots, the records; the first byte says whether checksums and chain are made right. A log that is accepted is accepted
 * again after what the start wrote. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/tx/log_format.h"
#include "base/hash.h"
#include "tests/fuzz/fuzz.h"
#include "tests/kit/tx_cluster.h"

#define HEAD (TR__LOG_HEADER_BYTES + 2 * TR__LOG_SLOT_BYTES)

/* Checksums, LSNs and chain of what looks like records, as a log's owner would have made them. */
static void mend(uint8_t *log, size_t size)
{
    tr__log_head head = {.segment = TR__LOG_SEGMENT, .first_lsn = 1};
    tr__log_record record;
    memcpy(head.id, log + 16, sizeof(head.id));
    tr__log_head_write(&head, log);
    uint64_t lsn = head.first_lsn, durable;
    uint32_t chain = head.chain;
    for (size_t at = TR__LOG_DATA_AT; size - at >= TR__LOG_RECORD_BYTES && tr__log_record_maybe(log + at);) {
        uint8_t *bytes = log + at;
        uint32_t length = bytes[8] | (uint32_t)bytes[9] << 8;
        if (tr__log_stride(length) > size - at)
            break;
        memcpy(&durable, bytes + 24, 8);
        record = (tr__log_record){.type = bytes[4],
                                  .length = length,
                                  .lsn = lsn,
                                  .durable = durable < lsn ? durable : lsn - 1,
                                  .chain = chain,
                                  .payload_crc = tr__crc32c(0, bytes + TR__LOG_RECORD_BYTES, length)};
        tr__log_record_write(&head, at, &record, bytes);
        chain = record.crc;
        lsn++;
        at += tr__log_stride(length);
    }
    tr__log_slot_write(&head, lsn - 1, log + TR__LOG_SLOT_AT(0));
}

/* n1 starts with it; false: it refused, and says where. */
static bool starts(cluster *c)
{
    if (cluster_start(c, 1))
        return true;
    const tr_error *why = &c->nodes[1].fatal;
    tr__check(why->code == TR_EMISMATCH || why->code == TR_EVERSION || why->code == TR_ETOOBIG,
              "refused as %d: %s", why->code, why->text);
    tr__check(why->text[0], "an error without a text");
    return false;
}

static void one(const uint8_t *bytes, size_t length)
{
    static cluster c;
    fuzz_bytes in = {bytes, bytes + length};
    uint8_t how = fuzz_byte(&in);
    size_t got, left = (size_t)(in.end - in.at);
    size_t size = TR__LOG_DATA_AT + (left > HEAD ? left - HEAD : 0);
    uint8_t *log = calloc(1, size + 64);
    const uint8_t *some = fuzz_some(&in, TR__LOG_HEADER_BYTES, &got);
    memcpy(log, some, got);
    for (unsigned slot = 0; slot < 2; slot++) {
        some = fuzz_some(&in, TR__LOG_SLOT_BYTES, &got);
        memcpy(log + TR__LOG_SLOT_AT(slot), some, got);
    }
    some = fuzz_some(&in, SIZE_MAX, &got);
    memcpy(log + TR__LOG_DATA_AT, some, got);
    if (how & 1)
        mend(log, size);
    size += how & 2 ? 64 : 0; /* zeros behind, as they are in a file that was extended */
    memset(&c, 0, sizeof(c));
    cluster_open(&c, 1);
    cluster_kill(&c, 1, false);
    memory_log_set(&c.nodes[1].log, log, how & 4 ? size - (how >> 4) % 16 : size);
    c.nodes[1].log.published = true;
    if (starts(&c)) {
        int64_t balance = cluster_balance(&c, "n1/a");
        cluster_kill(&c, 1, false);
        tr__check(starts(&c), "refused what it had accepted: %s", c.nodes[1].fatal.text);
        tr__check(cluster_balance(&c, "n1/a") == balance, "another state the second time");
        cluster_kill(&c, 1, false);
    }
    cluster_close(&c);
    free(log);
}

const fuzz_target fuzz_tx_log = {"tx_log", 48u << 20, 64, one, .slow = true};
