/* FNV-1a with murmur3's finalizer: FNV alone leaves the upper bits of short names alike, and tables take
 * their index from some of the bits. Pure functions: any thread, no failure. */
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
