/* FNV-1a, 64 bits, with a final mix: names of types and actors to ids. Stable for ever: ids travel on the
 * wire. Pure functions, but for the key: any thread, no failure. */
#ifndef TR_BASE_HASH_H
#define TR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define TR__HASH_INIT 14695981039346656037ull

uint64_t tr__hash_more(uint64_t hash, const void *bytes, size_t length); /* no final mix */
uint64_t tr__hash_done(uint64_t hash);                                   /* the final mix (murmur3 fmix64) */
uint64_t tr__hash(const void *bytes, size_t length);
uint64_t tr__hash_text(const char *text);

/* SipHash-1-3 (Aumasson, Bernstein) under this process's own key: for tables whose keys somebody else may choose, who would
 * have them all fall into one place of it. Without tr__hash_key, as in the simulator, the key is zeros. */
uint64_t tr__hash_secret(const void *bytes, size_t length);
/* That key, before there is any table; once a process. */
void tr__hash_key(const uint8_t key[16]);

/* CRC-32C (Castagnoli): start with 0, go on with what came back. The second never uses the processor's own
 * instruction: for tests, which compare the two. */
uint32_t tr__crc32c(uint32_t crc, const void *bytes, size_t length);
uint32_t tr__crc32c_by_table(uint32_t crc, const void *bytes, size_t length);

#endif
