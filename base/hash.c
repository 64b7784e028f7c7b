/* FNV-1a with murmur3's finalizer: FNV alone leaves the upper bits of short names alike, and tables take
 * their index from some of the bits. Any thread, no failure. */
#include "base/hash.h"

#include <string.h>

uint64_t tr__hash_more(uint64_t hash, const void *bytes, size_t length)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * 1099511628211ull;
    return hash;
}

uint64_t tr__hash_done(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccdull;
    hash ^= hash >> 33;
    hash *= 0xc4ceb9fe1a85ec53ull;
    hash ^= hash >> 33;
    return hash;
}

uint64_t tr__hash(const void *bytes, size_t length)
{
    return tr__hash_done(tr__hash_more(TR__HASH_INIT, bytes, length));
}

uint64_t tr__hash_text(const char *text)
{
    return tr__hash(text, strlen(text));
}

/* SipHash ---- */

static uint64_t secret[2]; /* written before any thread reads it */

void tr__hash_key(const uint8_t key[16])
{
    memcpy(secret, key, sizeof secret);
}

static uint64_t turned(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = turned(v[1], 13) ^ v[0];
    v[3] = turned(v[3], 16) ^ v[2];
    v[0] = turned(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = turned(v[1], 17) ^ v[2];
    v[3] = turned(v[3], 21) ^ v[0];
    v[2] = turned(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t tr__hash_secret(const void *bytes, size_t length)
{
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575ull, secret[1] ^ 0x646f72616e646f6dull,
                     secret[0] ^ 0x6c7967656e657261ull, secret[1] ^ 0x7465646279746573ull};
    const unsigned char *at = bytes;
    uint64_t word;
    for (size_t left = length; left >= 8; left -= 8, at += 8) {
        memcpy(&word, at, 8);
        sip_word(v, word);
    }
    word = (uint64_t)length << 56;
    for (size_t i = 0; i < length % 8; i++)
        word |= (uint64_t)at[i] << 8 * i;
    sip_word(v, word);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
