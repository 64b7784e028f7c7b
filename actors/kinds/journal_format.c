/* Entries of a journal: reading, printing, checking; see journal.h. Pure functions, any thread. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actors/kinds/journal.h"
#include "base/hash.h"

#define CRC_DIGITS 8

bool tr__app_id_valid(const char *id)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = id ? strnlen(id, TR__APP_ID_MAX + 1) : 0;
    return length > 0 && length <= TR__APP_ID_MAX && strspn(id, good) == length;
}

/* ---- the header ---------------------------------------------------------------------------------------- */

/* The word that ends with a blank at *at, which moves behind it; NULL: none before `end`. */
static const char *word(const char **at, const char *end, size_t *length)
{
    const char *start = *at, *blank = memchr(start, ' ', (size_t)(end - start));
    if (!blank || blank == start)
        return NULL;
    *length = (size_t)(blank - start);
    *at = blank + 1;
    return start;
}

/* Decimal as we print it: digits only, no leading zero, at most `max`. */
static bool decimal(const char *text, size_t length, uint64_t max, uint64_t *number)
{
    uint64_t n = 0;
    if (!text || length == 0 || length > 19 || (text[0] == '0' && length > 1))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text[i] - '0');
    }
    *number = n;
    return n <= max;
}

/* Hexadecimal in small letters, exactly so many bytes: another spelling would be another file. */
static bool hexadecimal(const char *text, size_t length, uint8_t *bytes, size_t count)
{
    if (!text || length != 2 * count)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0)
            return false;
        bytes[i / 2] = (uint8_t)(i % 2 ? bytes[i / 2] | digit : digit << 4);
    }
    return true;
}

static const char *header_parse(const char *line, size_t length, tr__entry *entry)
{
    const char *at = line, *end = line + length, *text;
    uint8_t crc[CRC_DIGITS / 2];
    uint64_t size = 0;
    size_t n = 0;
    if (length <= CRC_DIGITS || end[-CRC_DIGITS - 1] != ' ' ||
        !hexadecimal(end - CRC_DIGITS, CRC_DIGITS, crc, sizeof(crc)))
        return "its header is none";
    uint32_t sum = tr__crc32c(0, line, length - CRC_DIGITS - 1);
    if (sum != ((uint32_t)crc[0] << 24 | (uint32_t)crc[1] << 16 | (uint32_t)crc[2] << 8 | crc[3]))
        return "its header doesn't fit its own checksum";
    text = word(&at, end, &n);
    if (!decimal(text, n, INT64_MAX, &entry->number) || entry->number == 0)
        return "its number is none";
    text = word(&at, end, &n);
    if (!text || n > TR__APP_ID_MAX || memchr(text, '\0', n))
        return "its origin is none";
    memcpy(entry->origin, text, n);
    entry->origin[n] = '\0';
    if (!tr__app_id_valid(entry->origin))
        return "its origin is none";
    text = word(&at, end, &n);
    if (!decimal(text, n, TR_APP_ITEM_MAX, &size))
        return "its length is none, or too large";
    entry->size = (size_t)size;
    text = word(&at, end, &n);
    if (!hexadecimal(text, n, entry->digest, TR__DIGEST) || end - at != CRC_DIGITS)
        return "its digest is none";
    return NULL;
}

const char *tr__entry_read(const uint8_t *bytes, size_t size, tr__entry *entry)
{
    uint8_t digest[TR__DIGEST];
    size_t look = size < TR__ENTRY_HEADER ? size : TR__ENTRY_HEADER;
    const uint8_t *newline = look ? memchr(bytes, '\n', look) : NULL;
    if (!newline)
        return "it has no header";
    size_t header = (size_t)(newline - bytes) + 1;
    const char *why = header_parse((const char *)bytes, header - 1, entry);
    if (why)
        return why;
    entry->data = bytes + header;
    entry->whole = header + entry->size + 1;
    if (entry->whole != size || bytes[size - 1] != '\n')
        return "its length is another";
    crypto_hash_sha256(digest, entry->data, entry->size);
    return memcmp(digest, entry->digest, TR__DIGEST) == 0 ? NULL : "its data don't have its digest";
}

size_t tr__entry_room(size_t data_size)
{
    return data_size + TR__ENTRY_HEADER + 1;
}

size_t tr__entry_print(uint8_t *out, uint64_t number, const char *origin, const uint8_t *digest,
                       const void *data, size_t size)
{
    char text[TR__DIGEST_TEXT], *line = (char *)out;
    int n = snprintf(line, TR__ENTRY_HEADER, "%" PRIu64 " %s %zu %s", number, origin, size,
                     tr__digest_text(digest, text));
    uint32_t crc = tr__crc32c(0, line, (size_t)n);
    n += snprintf(line + n, TR__ENTRY_HEADER - (size_t)n, " %08" PRIx32 "\n", crc);
    if (size)
        memcpy(out + n, data, size);
    out[(size_t)n + size] = '\n';
    return (size_t)n + size + 1;
}

char *tr__digest_text(const uint8_t *digest, char *text)
{
    return sodium_bin2hex(text, TR__DIGEST_TEXT, digest, TR__DIGEST);
}

/* ---- the sum ------------------------------------------------------------------------------------------- */

void tr__journal_sum_init(tr__journal_sum *sum)
{
    memset(sum, 0, sizeof(*sum));
    crypto_hash_sha256_init(&sum->hash);
}

void tr__journal_add(tr__journal_sum *sum, bool own, const uint8_t *entry, size_t size)
{
    sum->last++;
    sum->own += own;
    sum->other += !own;
    crypto_hash_sha256_update(&sum->hash, entry, size);
}

void tr__journal_digest(const tr__journal_sum *sum, uint8_t *digest)
{
    crypto_hash_sha256_state hash = sum->hash;
    crypto_hash_sha256_final(&hash, digest);
}
