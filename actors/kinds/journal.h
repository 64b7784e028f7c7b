/* The journal of an app: what an entry is as bytes, and where a journal ends. Pure functions, any thread.
 *
 * An entry:
 *
 *     NUMBER ORIGIN LENGTH SHA256 CRC\n  DATA \n
 *
 * Numbers count from 1 without a gap; ORIGIN is the id of the app whose item it is; LENGTH is of the data; SHA256 is
 * the data's; CRC (CRC-32C of what stands before it) is the header's. The digest of a journal is the SHA-256 of all
 * its entries, one behind the other. */
#ifndef TR_ACTORS_KINDS_JOURNAL_H
#define TR_ACTORS_KINDS_JOURNAL_H

#include <sodium.h>

#include <troupe/app.h>

#define TR__DIGEST       crypto_hash_sha256_BYTES
#define TR__DIGEST_TEXT  (2 * TR__DIGEST + 1)
#define TR__APP_ID_MAX   32  /* without the NUL */
#define TR__ENTRY_HEADER 160 /* no header is longer */

typedef struct tr__entry {
    uint64_t number;
    char origin[TR__APP_ID_MAX + 1];
    uint8_t digest[TR__DIGEST]; /* as the header says */
    const uint8_t *data;        /* borrowed from what was parsed */
    size_t size;                /* of the data */
    size_t whole;               /* bytes of the entry, header and all */
} tr__entry;

/* True for 1 to 32 of A-Z a-z 0-9 . _ - */
bool tr__app_id_valid(const char *id);
/* NULL: exactly one whole entry, whose data have the digest that its header says; else what is wrong, static. */
const char *tr__entry_read(const uint8_t *bytes, size_t size, tr__entry *entry);
/* Bytes of an entry of that size, at most (the exact number may be less). */
size_t tr__entry_room(size_t data_size);
/* Write an entry to `out`, which has tr__entry_room(size) bytes; returns how many were written. */
size_t tr__entry_print(uint8_t *out, uint64_t number, const char *origin, const uint8_t *digest,
                       const void *data, size_t size);
/* A digest as text; `text` has TR__DIGEST_TEXT bytes. Returns text. */
char *tr__digest_text(const uint8_t *digest, char *text);

/* Where a journal ends: kept beside the entries, as these bytes. */
typedef struct tr__journal_sum {
    uint64_t last; /* number of the last entry */
    uint64_t own, other;
    char peer[TR__APP_ID_MAX + 1]; /* whose items `other` counts; "": none came yet */
    crypto_hash_sha256_state hash;
} tr__journal_sum;

void tr__journal_sum_init(tr__journal_sum *sum);
/* Count an entry that was printed so. */
void tr__journal_add(tr__journal_sum *sum, bool own, const uint8_t *entry, size_t size);
/* The digest of all so far. */
void tr__journal_digest(const tr__journal_sum *sum, uint8_t *digest);

#endif
