/* xoshiro256** (Blackman and Vigna), seeded by splitmix64, as their paper says. Works on the caller's struct
 * only, on the caller's thread; cannot fail. */
#include "base/random.h"

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static inline uint64_t rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

void tr__random_init(tr__random *random, uint64_t seed)
{
    /* Never all zero, the one state that xoshiro can't leave: splitmix64 maps four different counters. */
    for (int i = 0; i < 4; i++)
        random->state[i] = splitmix64(&seed);
}

uint64_t tr__random_next(tr__random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Lemire 2019: the upper half of a product, redrawn where the lower half shows a value that would come too
 * often. A division only in the rare case that may need a redraw. */
uint64_t tr__random_below(tr__random *random, uint64_t bound)
{
    unsigned __int128 product = (unsigned __int128)tr__random_next(random) * bound;
    if ((uint64_t)product < bound) {
        uint64_t threshold = -bound % bound;
        while ((uint64_t)product < threshold)
            product = (unsigned __int128)tr__random_next(random) * bound;
    }
    return (uint64_t)(product >> 64);
}
