/* Seeded random numbers (xoshiro256**, Blackman and Vigna 2018, public domain; seeded by splitmix64). Not for
 * secrets. One owner; not thread-safe. The same seed gives the same numbers everywhere. */
#ifndef TR_BASE_RANDOM_H
#define TR_BASE_RANDOM_H

#include <stdint.h>

typedef struct tr__random {
    uint64_t state[4];
} tr__random;

void tr__random_init(tr__random *random, uint64_t seed);
uint64_t tr__random_next(tr__random *random);
/* Uniform in [0, bound); bound 0 gives 0. */
uint64_t tr__random_below(tr__random *random, uint64_t bound);

#endif
