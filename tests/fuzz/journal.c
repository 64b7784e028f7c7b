/* Entries of an app's journal, which it exchanges with its peer: the first byte says whether the header's checksum, and the
 * digest, are made right. What is read and printed is the same bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actors/kinds/journal.h"
#include "base/hash.h"
#include "tests/fuzz/fuzz.h"

#define CRC_DIGITS 8

/* The 64 digits before the checksum's: those of the data. */
static void mend_digest(uint8_t *line, size_t header, size_t length)
{
    uint8_t digest[TR__DIGEST];
    char text[TR__DIGEST_TEXT];
    size_t digits = TR__DIGEST_TEXT - 1, behind = 1 + CRC_DIGITS;
    if (header < digits + behind || length < header + 2)
        return;
    crypto_hash_sha256(digest, line + header + 1, length - header - 2);
    memcpy(line + header - behind - digits, tr__digest_text(digest, text), digits);
}

static void mend(uint8_t *bytes, size_t length, bool digest)
{
    char crc[CRC_DIGITS + 1];
    const uint8_t *newline = memchr(bytes, '\n', length < TR__ENTRY_HEADER ? length : TR__ENTRY_HEADER);
    size_t header = newline ? (size_t)(newline - bytes) : 0;
    if (header <= CRC_DIGITS + 1)
        return;
    if (digest)
        mend_digest(bytes, header, length);
    snprintf(crc, sizeof(crc), "%08x", tr__crc32c(0, bytes, header - CRC_DIGITS - 1));
    memcpy(bytes + header - CRC_DIGITS, crc, CRC_DIGITS);
}

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    uint8_t how = fuzz_byte(&in);
    size_t left = (size_t)(in.end - in.at);
    uint8_t *copy = fuzz_copy(in.at, left, false);
    tr__entry entry = {0};
    if (how & 1 && left)
        mend(copy, left, how & 2);
    const char *why = tr__entry_read(copy, left, &entry);
    tr__check(!why || why[0], "an error without a text");
    if (!why) {
        uint8_t *out = malloc(tr__entry_room(entry.size));
        size_t size = tr__entry_print(out, entry.number, entry.origin, entry.digest, entry.data, entry.size);
        tr__check(size == left && memcmp(out, copy, left) == 0, "an entry is printed as another");
        free(out);
    }
    free(copy);
}

const fuzz_target fuzz_journal = {"journal", 64u << 10, 8, one};
